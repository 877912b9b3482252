//! Values that NumPy and PyTorch computed, against ours.

mod case;
mod json;
mod primitives;
