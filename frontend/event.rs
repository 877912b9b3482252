//! Events: what happened that somebody may want to know, counted, with reasons.
//!
//! Each is written to the `log` crate under the target `tracewright::<kind>`; counts since the start of the process
//! and the latest reasons can be read back.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What kind of event.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum EventKind { $($(#[$doc])* $name),* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[EventKind] = &[$(EventKind::$name),*];
            /// The name in logs.
            pub fn name(self) -> &'static str {
                match self { $(EventKind::$name => $text),* }
            }
        }
    };
}

kinds! {
    /// A function was traced for the first time.
    Trace = "trace",
    /// A function was traced again; the reason names the nearest cached entry and the difference.
    Retrace = "retrace",
    /// A cached entry had to go.
    Eviction = "eviction",
    /// A symbolic extent became a number.
    Specialization = "specialization",
    /// An eager op was compiled.
    EagerCompile = "eager-compile",
    /// An eager op could not be compiled for symbolic extents.
    EagerStatic = "eager-static",
    /// A donated buffer was copied because somebody else holds it.
    DonationCopy = "donation-copy",
    /// A parameter does not reach the loss.
    Unreached = "unreached",
    /// A gradient ended at an op that has no derivative.
    GradientCut = "gradient-cut",
    /// An error value was dropped before anybody saw it.
    DroppedError = "dropped-error",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: EventKind,
    /// What happened and why.
    pub reason: String,
}

const KEPT: usize = 512;
static COUNTS: [AtomicU64; EventKind::ALL.len()] = [const { AtomicU64::new(0) }; EventKind::ALL.len()];
static LATEST: Mutex<VecDeque<Event>> = Mutex::new(VecDeque::new());

pub(crate) fn record(kind: EventKind, reason: impl FnOnce() -> String) {
    COUNTS[kind as usize].fetch_add(1, Ordering::Relaxed);
    let reason = reason();
    let level = match kind {
        EventKind::Trace | EventKind::EagerCompile => log::Level::Debug,
        EventKind::DroppedError | EventKind::Unreached | EventKind::GradientCut => log::Level::Warn,
        _ => log::Level::Info,
    };
    log::log!(target: "tracewright", level, "{kind}: {reason}");
    let mut latest = LATEST.lock().unwrap_or_else(|e| e.into_inner());
    if latest.len() == KEPT {
        latest.pop_front();
    }
    latest.push_back(Event { kind, reason });
}

/// How many events of a kind there were since the start of the process.
pub fn count(kind: EventKind) -> u64 {
    COUNTS[kind as usize].load(Ordering::Relaxed)
}

/// The latest events, oldest first; at most 512 are kept.
pub fn latest() -> Vec<Event> {
    LATEST.lock().unwrap_or_else(|e| e.into_inner()).iter().cloned().collect()
}
