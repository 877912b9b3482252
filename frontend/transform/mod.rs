//! Transforms of functions.

pub(crate) mod append;
pub mod checkpoint;
pub mod derivative;
pub mod grad;
pub mod jacobian;
pub(crate) mod jvp;
mod later;
mod report;
pub(crate) mod traced;
pub(crate) mod vjp;
pub mod vmap;
