//! Random numbers: the same bits in every execution, the right distributions, state, gradients, errors.

mod bits;
mod distributions;
mod dropout;
mod errors;
mod gamma;
mod integers;
mod kernels;
mod state;
#[path = "../target/mod.rs"]
mod target;
