//! The one table of settings.

use super::{Artefact, Artefacts, CacheFolder, Options, PREFIX, PassSpec, unknown_word};
use crate::device::UnknownDevice;
use crate::pool::MAX_THREADS;
use std::path::PathBuf;

/// A setting.
pub struct Entry {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// What a value may be, for people.
    pub values: &'static str,
    /// What it does.
    pub help: &'static str,
    set: fn(&mut Options, &str) -> Result<(), String>,
    get: fn(&Options) -> String,
}

impl Entry {
    /// Sets it from text; an empty text means the default. The error says what is wrong with the text.
    pub fn set(&self, options: &mut Options, value: &str) -> Result<(), String> {
        let value = value.trim();
        match value.is_empty() {
            true => (self.set)(options, &(self.get)(&Options::default())),
            false => (self.set)(options, value),
        }
    }

    /// Its value as text that `set` reads.
    pub fn get(&self, options: &Options) -> String {
        (self.get)(options)
    }
}

/// Every setting.
pub static REGISTRY: &[Entry] = &[
    Entry {
        name: "LOG",
        values: "list of `trace`, `cache`, `fusion`, `kernels`, `memory`, `passes`; or `all`",
        help: "writes the named artefacts to stderr",
        set: |o, v| artefacts(v).map(|x| o.log = x),
        get: |o| o.log.to_string(),
    },
    Entry {
        name: "DUMP",
        values: "directory",
        help: "makes a numbered folder per compilation in it, with every stage and `index.html` over all of them",
        set: |o, v| {
            o.dump = (!v.is_empty()).then(|| PathBuf::from(v));
            Ok(())
        },
        get: |o| o.dump.as_ref().map_or(String::new(), |path| path.display().to_string()),
    },
    Entry {
        name: "CHECK",
        values: "`0` to `3`",
        help: "verifies: 0 nothing, 1 at boundaries, 2 after each pass, 3 also interprets after each pass, and the \
               kernels, and compares",
        set: |o, v| number(v, 0, 3).map(|x| o.check = x as u8),
        get: |o| o.check.to_string(),
    },
    Entry {
        name: "PASSES",
        values: "list of `-NAME` and `stop=N`",
        help: "leaves passes out, or skips the rest after the first N: bisection; `tracewright inspect FILE --stage timing` lists their names; what lowering needs stays",
        set: |o, v| passes(v).map(|x| o.passes = x),
        get: |o| o.passes.to_string(),
    },
    Entry {
        name: "JIT",
        values: "`on` or `off`",
        help: "off: the interpreter runs everything",
        set: |o, v| switch(v).map(|x| o.jit = x),
        get: |o| on_off(o.jit),
    },
    Entry {
        name: "NAN",
        values: "`on` or `off`",
        help: "names the op that first made a NaN or infinity, by interpreting every call: hundreds of times slower",
        set: |o, v| switch(v).map(|x| o.nan = x),
        get: |o| on_off(o.nan),
    },
    Entry {
        name: "THREADS",
        values: "`1` to `256`, or `cores`",
        help: "how many threads a call uses",
        set: |o, v| {
            let cores = v == "cores";
            let threads = if cores { Ok(None) } else { number(v, 1, MAX_THREADS).map(Some) };
            threads.map(|x| o.threads = x)
        },
        get: |o| o.threads.map_or("cores".to_owned(), |n| n.to_string()),
    },
    Entry {
        name: "STRICT",
        values: "`on` or `off`",
        help: "an ill-typed op panics where it is recorded",
        set: |o, v| switch(v).map(|x| o.strict = x),
        get: |o| on_off(o.strict),
    },
    Entry {
        name: "STRICT16",
        values: "`on` or `off`",
        help: "rounds the result of each 16-bit float op, also within a fused group",
        set: |o, v| switch(v).map(|x| o.strict16 = x),
        get: |o| on_off(o.strict16),
    },
    Entry {
        name: "TF32",
        values: "`on` or `off`",
        help: "on: GPUs may round the operands of f32 matrix products to 11 bits (TF32), which is several times faster",
        set: |o, v| switch(v).map(|x| o.tf32 = x),
        get: |o| on_off(o.tf32),
    },
    Entry {
        name: "CACHE",
        values: "`user`, `off`, or directory",
        help: "where machine code for GPUs is kept from one process to the next; `user` is `$XDG_CACHE_HOME/tracewright`, \
               or `$HOME/.cache/tracewright`",
        set: |o, v| {
            o.cache = match v {
                "user" => CacheFolder::User,
                "off" => CacheFolder::Off,
                path => CacheFolder::At(PathBuf::from(path)),
            };
            Ok(())
        },
        get: |o| match &o.cache {
            CacheFolder::User => "user".to_owned(),
            CacheFolder::Off => "off".to_owned(),
            CacheFolder::At(path) => path.display().to_string(),
        },
    },
    Entry {
        name: "DEVICE",
        values: "`cpu` or `cuda:N`",
        help: "where tensors are made, and functions without tensors among their arguments run",
        set: |o, v| v.parse().map(|device| o.device = device).map_err(|e: UnknownDevice| e.to_string()),
        get: |o| o.device.to_string(),
    },
    Entry {
        name: "GRAPHS",
        values: "`on` or `off`",
        help: "whether GPUs record the second call of a program for the same extents, and replay it as one from then on",
        set: |o, v| switch(v).map(|x| o.graphs = x),
        get: |o| on_off(o.graphs),
    },
];

/// The registry as a table in Markdown.
pub fn markdown() -> String {
    let mut text = "| variable | values | default | meaning |\n|---|---|---|---|\n".to_owned();
    for entry in REGISTRY {
        let default = entry.get(&Options::default());
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        text += &format!("| `{PREFIX}{}` | {} | {default} | {} |\n", entry.name, entry.values, entry.help);
    }
    text
}

fn on_off(x: bool) -> String {
    (if x { "on" } else { "off" }).to_owned()
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "1" | "true" => Ok(true),
        "off" | "0" | "false" => Ok(false),
        other => Err(unknown_word("value", other, ["on", "off"])),
    }
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let n = text.parse().ok().filter(|n| (least..=most).contains(n));
    n.ok_or_else(|| format!("not a number from {least} to {most}"))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn artefacts(text: &str) -> Result<Artefacts, String> {
    words(text)
        .map(|word| match Artefact::ALL.into_iter().find(|a| a.name() == word) {
            Some(artefact) => Ok(Artefacts::NONE.with(artefact)),
            None if word == "all" => Ok(Artefact::ALL.into_iter().collect()),
            None => Err(unknown_word("artefact", word, Artefact::ALL.map(Artefact::name).into_iter().chain(["all"]))),
        })
        .try_fold(Artefacts::NONE, |all, one| Ok(Artefacts(all.0 | one?.0)))
}

fn passes(text: &str) -> Result<PassSpec, String> {
    let mut spec = PassSpec::default();
    for word in words(text) {
        if let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) {
            spec.disabled.push(name.to_owned());
        } else if let Some(n) = word.strip_prefix("stop=") {
            spec.stop = Some(n.parse().map_err(|_| format!("`{n}` in `{word}` is not a count"))?);
        } else {
            return Err(format!("`{word}` is neither `-NAME` nor `stop=N`"));
        }
    }
    Ok(spec)
}
