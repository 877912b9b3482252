//! Graph to graph, and graph to program.
#![forbid(unsafe_code)]

pub mod autodiff;
pub mod fuse;
pub mod lower;
