//! Settings: one struct, one registry, read from `TRACEWRIGHT_*` once.
//!
//! [`current`] is the only way to the settings in force on a thread: those of the innermost [`with_options`], or else of
//! [`set_default`], or else of the environment, which is read at first use. Nothing else in the project reads the
//! environment. A variable with an unknown name or value is an error, and stays one until [`set_default`] replaces it; an
//! empty value means the default. Values that code gives are held against the same registry.

mod folder;
mod registry;
mod suggest;

pub use folder::CacheFolder;
pub use registry::{Entry, REGISTRY, markdown};
pub use suggest::suggest;

use crate::device::Device;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, PoisonError};

/// What every variable's name begins with.
pub const PREFIX: &str = "TRACEWRIGHT_";

/// The settings. Build one with `Options { check: 2, ..Options::default() }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Where tensors are made, unless code says otherwise.
    pub device: Device,
    /// Whether GPUs record calls, and replay them as one thing.
    pub graphs: bool,
    /// What to write to stderr.
    pub log: Artefacts,
    /// Where to put a numbered folder per compilation.
    pub dump: Option<PathBuf>,
    /// 0: no verifier · 1: at boundaries · 2: after each pass · 3: also the interpreter after each pass, compared.
    pub check: u8,
    /// Which passes run.
    pub passes: PassSpec,
    /// Whether anything is compiled; otherwise the interpreter runs everything.
    pub jit: bool,
    /// Whether to name the op that first made a NaN or infinity.
    pub nan: bool,
    /// How many threads a call uses; `None` is the number of cores.
    pub threads: Option<usize>,
    /// Whether an ill-typed op panics where it is recorded.
    pub strict: bool,
    /// Whether each 16-bit float op rounds its result, also within a fused group.
    pub strict16: bool,
    /// Whether GPUs may round the operands of f32 products to the 11 bits of TF32, which is several times faster.
    pub tf32: bool,
    /// Where machine code of GPUs is kept from one process to the next.
    pub cache: CacheFolder,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            device: Device::Cpu,
            graphs: true,
            log: Artefacts::NONE,
            dump: None,
            check: 1,
            passes: PassSpec::default(),
            jit: true,
            nan: false,
            threads: None,
            strict: false,
            strict16: false,
            tf32: false,
            cache: CacheFolder::User,
        }
    }
}

/// Passes to leave out, and where to stop: `-fuse,stop=17`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PassSpec {
    /// Names of passes that do not run.
    pub disabled: Vec<String>,
    /// How many passes run before the rest is skipped.
    pub stop: Option<u32>,
}

impl PassSpec {
    /// An error if a name is not among those of the pipeline.
    pub fn check<'a>(&self, known: impl IntoIterator<Item = &'a str> + Clone) -> Result<(), OptionsError> {
        let unknown = self.disabled.iter().find(|name| !known.clone().into_iter().any(|k| k == *name));
        match unknown {
            Some(name) => Err(OptionsError::new("PASSES", self, unknown_word("pass", name, known))),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PassSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disabled = self.disabled.iter().map(|name| format!("-{name}"));
        let words: Vec<String> = disabled.chain(self.stop.map(|n| format!("stop={n}"))).collect();
        f.write_str(&words.join(","))
    }
}

/// Something that can be written to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Artefact {
    /// One line per trace, with its reason.
    Trace,
    /// Caches of compiled functions and kernels: misses with the nearest entry, evictions.
    Cache,
    /// Fused groups, and why a neighbour was refused.
    Fusion,
    /// Kernels of each compilation, and steps that have none.
    Kernels,
    /// Memory plans with their peak, donations that were copied or of no use.
    Memory,
    /// Passes with their times.
    Passes,
}

impl Artefact {
    /// All of them.
    pub const ALL: [Artefact; 6] =
        [Artefact::Trace, Artefact::Cache, Artefact::Fusion, Artefact::Kernels, Artefact::Memory, Artefact::Passes];

    /// Its name in `TRACEWRIGHT_LOG`.
    pub const fn name(self) -> &'static str {
        match self {
            Artefact::Trace => "trace",
            Artefact::Cache => "cache",
            Artefact::Fusion => "fusion",
            Artefact::Kernels => "kernels",
            Artefact::Memory => "memory",
            Artefact::Passes => "passes",
        }
    }
}

/// A set of artefacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Artefacts(u8);

impl Artefacts {
    /// None of them.
    pub const NONE: Artefacts = Artefacts(0);

    /// True if the set has it.
    pub const fn contains(self, artefact: Artefact) -> bool {
        self.0 >> artefact as u8 & 1 == 1
    }
    /// The set with one more.
    pub const fn with(self, artefact: Artefact) -> Artefacts {
        Artefacts(self.0 | 1 << artefact as u8)
    }
}

impl FromIterator<Artefact> for Artefacts {
    fn from_iter<I: IntoIterator<Item = Artefact>>(items: I) -> Artefacts {
        items.into_iter().fold(Artefacts::NONE, Artefacts::with)
    }
}

impl fmt::Display for Artefacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Artefact::ALL.into_iter().filter(|&a| self.contains(a)).map(Artefact::name).collect();
        f.write_str(&names.join(","))
    }
}

/// A setting with an unknown name or value; all of them, if there are several.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .lines.join("\n"))]
pub struct OptionsError {
    lines: Vec<String>,
}

impl OptionsError {
    fn new(name: &str, value: impl fmt::Display, problem: impl fmt::Display) -> OptionsError {
        OptionsError { lines: vec![format!("{PREFIX}{name}={value}: {problem}")] }
    }
}

fn unknown_word<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let hint = match suggest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    };
    format!("unknown {what} `{word}`; {hint}")
}

impl Options {
    /// The settings of the environment.
    pub fn from_env() -> Result<Options, OptionsError> {
        Options::from_vars(std::env::vars_os())
    }

    /// The settings among such variables; those without the prefix are ignored.
    pub fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Options, OptionsError> {
        let (mut options, mut lines) = (Options::default(), Vec::new());
        for (name, value) in vars {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let result = match value.to_str() {
                Some(value) => options.set(name, value),
                None => Err(OptionsError::new(name, value.to_string_lossy(), "not UTF-8")),
            };
            lines.extend(result.err().into_iter().flat_map(|error| error.lines));
        }
        // The order of the environment means nothing.
        lines.sort();
        if lines.is_empty() { Ok(options) } else { Err(OptionsError { lines }) }
    }

    /// Changes one setting as the variable `TRACEWRIGHT_{name}` would; the name may carry the prefix.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionsError> {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        let Some(entry) = REGISTRY.iter().find(|entry| entry.name == name) else {
            let hint = match suggest(name, REGISTRY.iter().map(|entry| entry.name)) {
                Some(near) => format!("did you mean {PREFIX}{near}?"),
                None => format!("there are {}", REGISTRY.iter().map(|e| e.name).collect::<Vec<_>>().join(", ")),
            };
            return Err(OptionsError::new(name, value, format!("unknown variable; {hint}")));
        };
        entry.set(self, value).map_err(|problem| OptionsError::new(name, value, problem))
    }

    /// The settings, if the registry takes each of them as text.
    fn in_force(self) -> Settings {
        let lines: Vec<String> = REGISTRY
            .iter()
            .filter_map(|entry| Options::default().set(entry.name, &entry.get(&self)).err())
            .flat_map(|error| error.lines)
            .collect();
        if lines.is_empty() { Ok(Arc::new(self)) } else { Err(OptionsError { lines }) }
    }
}

/// The settings that are not default, as variables: what a reproducer has to set.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Options::default();
        let changed = REGISTRY.iter().map(|entry| (entry, entry.get(self)));
        let changed = changed.filter(|(entry, value)| *value != entry.get(&default));
        let words: Vec<String> = changed.map(|(entry, value)| format!("{PREFIX}{}={value}", entry.name)).collect();
        f.write_str(&words.join(" "))
    }
}

// ---- the settings in force ----

type Settings = Result<Arc<Options>, OptionsError>;

static DEFAULT: Mutex<Option<Settings>> = Mutex::new(None);
/// Counts changes of `DEFAULT`, so that threads know when their copy is old.
static CHANGES: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static SCOPES: RefCell<Vec<Settings>> = const { RefCell::new(Vec::new()) };
    /// The default settings, and the number of changes that they are of; that begins with 1.
    static COPY: RefCell<(u64, Option<Settings>)> = const { RefCell::new((0, None)) };
}

/// The settings in force on this thread.
pub fn current() -> Result<Arc<Options>, OptionsError> {
    read(Arc::clone)
}

/// What `f` makes of them: quicker than [`current`], which counts a reference.
///
/// ```
/// assert!(runtime::options::read(|o| o.jit)?);
/// # Ok::<(), runtime::options::OptionsError>(())
/// ```
pub fn read<R>(f: impl FnOnce(&Arc<Options>) -> R) -> Result<R, OptionsError> {
    let of = |settings: &Settings| settings.as_ref().map(f).map_err(Clone::clone);
    SCOPES.with_borrow(|scopes| match scopes.last() {
        Some(settings) => of(settings),
        None => {
            let change = CHANGES.load(Acquire);
            if COPY.with_borrow(|(at, _)| *at != change) {
                let mut default = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner);
                let settings = default.get_or_insert_with(|| Options::from_env().map(Arc::new)).clone();
                drop(default);
                COPY.set((change, Some(settings)));
            }
            COPY.with_borrow(|(_, settings)| of(settings.as_ref().expect("it was just set")))
        }
    })
}

/// Replaces what the environment says, for all threads. Values that the environment could not have are an error of
/// [`current`].
pub fn set_default(options: Options) {
    *DEFAULT.lock().unwrap_or_else(PoisonError::into_inner) = Some(options.in_force());
    CHANGES.fetch_add(1, Release);
}

/// Calls `f` with those settings in force on this thread. Values that the environment could not have are an error of
/// [`current`].
pub fn with_options<R>(options: Options, f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            SCOPES.with_borrow_mut(Vec::pop);
        }
    }
    SCOPES.with_borrow_mut(|scopes| scopes.push(options.in_force()));
    let _leave = Leave;
    f()
}

#[cfg(test)]
#[path = "options/tests.rs"]
mod tests;
