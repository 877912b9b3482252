//! Graph to graph, and graph to program.
#![forbid(unsafe_code)]

pub mod autodiff;
pub mod cse;
pub mod dce;
pub mod driver;
pub mod fuse;
pub mod lower;
pub mod pass;
pub mod pipeline;
pub mod spec;
mod verify;

pub use driver::{CheckLevel, Outcome, PassObserver, PassRun, Settings};
pub use pass::{Note, Pass, PassContext, PassError, PassOptions};
pub use pipeline::{optimize, pipeline};
pub use spec::{PassSpec, Skip, SpecError};
