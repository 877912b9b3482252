//! Transforms of functions.

pub mod grad;
