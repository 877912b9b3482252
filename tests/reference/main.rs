//! Values that NumPy and PyTorch computed, against ours.

mod arranged;
mod case;
mod composites;
mod contracted;
mod elementary;
mod functions;
mod json;
mod kinks;
mod losses;
mod optimizers;
mod ordered;
mod primitives;
mod reduced;
mod special;
#[path = "../target/mod.rs"]
mod target;
