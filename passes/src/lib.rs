//! Graph to graph, and graph to program.
#![forbid(unsafe_code)]
#![forbid(unsafe_code)]

pub mod autodiff;
