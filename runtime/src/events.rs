//! Counted events: nothing that a user could be surprised by happens silently.
//!
//! [`record`] counts an event, for the thread and for the process, hands its reason to the `log` crate, writes it to
//! stderr if its artefact is selected in the options, and keeps the last reasons. [`count`] only counts: for what happens
//! at every call. Work on the threads of a pool counts for those threads.

use crate::options::{self, Artefact};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::ops::Index;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $artefact:ident, $level:ident;)+) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Event { $($(#[doc = $doc])+ $variant),+ }

        impl Event {
            /// All of them.
            pub const ALL: [Event; [$(Event::$variant),+].len()] = [$(Event::$variant),+];

            /// Its name, as reports print it.
            pub const fn name(self) -> &'static str {
                match self { $(Event::$variant => $name),+ }
            }
            /// The artefact of `TRACEWRIGHT_LOG` that shows it.
            pub const fn artefact(self) -> Artefact {
                match self { $(Event::$variant => Artefact::$artefact),+ }
            }
            /// Its level in the `log` crate.
            pub const fn level(self) -> log::Level {
                match self { $(Event::$variant => log::Level::$level),+ }
            }
        }
    };
}

events! {
    /// A function was traced for the first time.
    Trace = "trace", Trace, Debug;
    /// A function was traced again; the reason names the nearest earlier trace and the difference.
    Retrace = "retrace", Trace, Info;
    /// A symbolic dim was turned into a number while tracing.
    Specialised = "specialised", Trace, Info;
    /// A loop of a model made elsewhere is recorded iteration by iteration, since no loop of a compiled function does the same.
    Unrolled = "unrolled", Trace, Info;
    /// An error value was dropped without anybody having looked at it.
    ErrorDropped = "error dropped", Trace, Warn;
    /// A parameter does not reach the loss, so its gradient is zero.
    Unreached = "unreached parameter", Trace, Warn;
    /// A gradient ended at an op that has no derivative.
    GradientCut = "gradient cut", Trace, Warn;
    /// A user's op without a rule for batching runs for one example after the other.
    BatchedByLoop = "batched by a loop", Trace, Info;
    /// A compiled function, or a kernel, was found in a cache.
    CacheHit = "cache hit", Cache, Trace;
    /// A compiled function, or a kernel, was not in a cache.
    CacheMiss = "cache miss", Cache, Debug;
    /// An entry left a cache that was full.
    Eviction = "eviction", Cache, Info;
    /// A folder or file of the cache on disk is not used.
    CacheRefused = "cache refused", Cache, Warn;
    /// Check level 3 could not compare with the interpreter, and did not.
    CheckSkipped = "check skipped", Passes, Info;
    /// A graph was compiled.
    Compile = "compile", Passes, Debug;
    /// A dump could not be written.
    DumpFailed = "dump failed", Passes, Warn;
    /// A pass was left out on request.
    PassSkipped = "pass skipped", Passes, Info;
    /// Two ops that stand side by side were not fused.
    FusionRefused = "fusion refused", Fusion, Debug;
    /// An op has no kernel, or a kernel could not be compiled; the interpreter does it.
    Fallback = "fallback", Kernels, Warn;
    /// A step of an executable ran in the interpreter, or a whole graph that could not be compiled.
    InterpretedStep = "interpreted step", Kernels, Trace;
    /// The memory of a donated input is of no use to the output it was meant for, which gets memory of its own.
    DonationRefused = "donation refused", Memory, Debug;
    /// A donated buffer was held by somebody else and had to be copied.
    DonationCopied = "donation copied", Memory, Info;
    /// A call was one recording that a GPU replayed.
    Replay = "replay", Kernels, Trace;
    /// The calls of a program are not recorded for a GPU.
    ReplayRefused = "replay refused", Kernels, Info;
    /// What a function keeps for its gradient was chosen, to fit a budget of memory.
    Checkpoint = "checkpoint", Memory, Info;
    /// The compiler or runtime failed and went on another way; the reason names the reproducer.
    Bug = "bug", Passes, Error;
}

const COUNT: usize = Event::ALL.len();

/// How often each event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; COUNT]);

/// An event that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub event: Event,
    /// Why, or to what.
    pub reason: String,
}

/// Reasons that are kept of the whole process.
const RECENT: usize = 256;

static TOTAL: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];
static LATEST: Mutex<VecDeque<Record>> = Mutex::new(VecDeque::new());

thread_local! {
    static HERE: [Cell<u64>; COUNT] = const { [const { Cell::new(0) }; COUNT] };
    /// One list per [`capture`] under way on this thread.
    static CAPTURES: RefCell<Vec<Vec<Record>>> = const { RefCell::new(Vec::new()) };
    /// Where this thread's text goes instead of stderr.
    static SINK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Counts an event.
#[inline]
pub fn count(event: Event) {
    TOTAL[event as usize].fetch_add(1, Relaxed);
    // A thread that is ending has no counters of its own any more.
    let _ = HERE.try_with(|here| here[event as usize].set(here[event as usize].get() + 1));
}

/// Counts an event and reports its reason.
pub fn record(event: Event, reason: impl fmt::Display) {
    count(event);
    let reason = reason.to_string();
    log::log!(target: "tracewright", event.level(), "{}: {reason}", event.name());
    write(event.artefact(), || format!("{}: {reason}", event.name()));
    let record = Record { event, reason };
    let _ = CAPTURES.try_with(|captures| {
        captures.borrow_mut().iter_mut().for_each(|records| records.push(record.clone()));
    });
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    if latest.len() == RECENT {
        latest.pop_front();
    }
    latest.push_back(record);
}

/// The last events of the process that had a reason, oldest first; at most 256.
pub fn recent() -> Vec<Record> {
    LATEST.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Calls `f`, and returns with its result the events with a reason that it recorded on this thread.
pub fn capture<R>(f: impl FnOnce() -> R) -> (R, Vec<Record>) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CAPTURES.with_borrow_mut(Vec::pop);
        }
    }
    CAPTURES.with_borrow_mut(|captures| captures.push(Vec::new()));
    let leave = Leave;
    let result = f();
    let records = CAPTURES.with_borrow_mut(|captures| captures.last_mut().map(std::mem::take)).unwrap_or_default();
    drop(leave);
    (result, records)
}

/// True if the options in force ask for the artefact on stderr.
pub fn selected(artefact: Artefact) -> bool {
    // Options that cannot be read are reported by whoever compiles.
    options::read(|options| options.log.contains(artefact)).unwrap_or(false)
}

/// Writes text to stderr if its artefact is selected, each line behind the artefact's name. The only writer of stderr.
pub fn write(artefact: Artefact, text: impl FnOnce() -> String) {
    if !selected(artefact) {
        return;
    }
    let mut lines = String::new();
    for line in text().lines() {
        lines += &format!("[{}] {line}\n", artefact.name());
    }
    let kept = SINK.try_with(|sink| {
        let mut sink = sink.borrow_mut();
        sink.as_mut().map(|sink| sink.push_str(&lines)).is_some()
    });
    if !kept.unwrap_or(false) {
        // In one piece, so that threads do not mix. A closed stderr is nobody's fault.
        let _ = std::io::stderr().lock().write_all(lines.as_bytes());
    }
}

/// Calls `f`, and returns with its result what this thread would have written to stderr.
pub fn written<R>(f: impl FnOnce() -> R) -> (R, String) {
    struct Restore(Option<String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SINK.set(self.0.take());
        }
    }
    let restore = Restore(SINK.replace(Some(String::new())));
    let result = f();
    let text = SINK.with_borrow_mut(|sink| sink.take()).unwrap_or_default();
    drop(restore);
    (result, text)
}

impl Counters {
    /// Counts of this thread.
    pub fn thread() -> Counters {
        Counters(HERE.with(|here| std::array::from_fn(|i| here[i].get())))
    }

    /// Counts of the process.
    pub fn process() -> Counters {
        Counters(std::array::from_fn(|i| TOTAL[i].load(Relaxed)))
    }

    /// What happened after `earlier`.
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters(std::array::from_fn(|i| self.0[i].saturating_sub(earlier.0[i])))
    }

    /// What `f` counts on this thread, with its result.
    pub fn of<R>(f: impl FnOnce() -> R) -> (R, Counters) {
        let before = Counters::thread();
        let result = f();
        (result, Counters::thread().since(&before))
    }
}

impl Index<Event> for Counters {
    type Output = u64;
    fn index(&self, event: Event) -> &u64 {
        &self.0[event as usize]
    }
}

/// The events that happened: `2 retrace, 1 fallback`.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happened = Event::ALL.into_iter().filter(|&event| self[event] > 0);
        let words: Vec<String> = happened.map(|event| format!("{} {}", self[event], event.name())).collect();
        f.write_str(if words.is_empty() { "no events" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
