//! The `tracewright` program.
#![forbid(unsafe_code)]
fn main() {}
