//! Functions that are compositions: with symbolic extents, over any set of axes, on bad input.

mod axes;
mod errors;
mod symbolic;
