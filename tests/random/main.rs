//! Random numbers: the same bits in every execution, the right distributions, state, gradients, errors.

mod bits;
