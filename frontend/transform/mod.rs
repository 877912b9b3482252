//! Transforms of functions.

pub(crate) mod append;
pub mod grad;
pub(crate) mod traced;
pub mod vmap;
