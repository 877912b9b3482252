//! Functions that are compositions: with symbolic extents, over any set of axes, on bad input.

mod axes;
mod dtypes;
mod einsums;
mod errors;
mod gradients;
mod symbolic;
