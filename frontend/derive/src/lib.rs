//! Derive macros.
#![forbid(unsafe_code)]
