//! Kernels to machine code with Cranelift.

pub mod math;
