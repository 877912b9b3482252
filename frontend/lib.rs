//! tracewright
#![forbid(unsafe_code)]
