//! Optimisers.
//!
//! An optimiser is a tree: its moments, step count and learning rate are tensors, so a training step that takes and
//! returns it compiles once. Decay rates and the like are fixed data.

mod adam;
mod clip;
mod parameters;
mod sgd;

pub use adam::{Adam, AdamW};
pub use clip::clip_grad_norm;
pub use sgd::Sgd;
