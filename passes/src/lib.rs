//! Graph to graph, and graph to program.
#![forbid(unsafe_code)]

pub mod autodiff;
pub mod batch;
pub mod canonicalize;
pub mod checks;
pub mod contractions;
pub mod cse;
pub mod dce;
pub mod driver;
pub mod epilogues;
pub mod fold;
pub mod fuse;
pub mod grain;
pub mod hoist;
pub mod inline;
pub mod join;
pub mod legalize;
pub mod lower;
pub mod pass;
pub mod pipeline;
mod redirect;
pub mod spec;
pub mod split;
pub mod widen;

pub use driver::{CheckLevel, Outcome, PassObserver, PassRun, Settings};
pub use grain::Grain;
pub use pass::{Note, NoteKind, Pass, PassContext, PassError, PassOptions};
pub use pipeline::{optimize, pipeline};
pub use spec::{PassSpec, Skip, SpecError};
