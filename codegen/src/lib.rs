//! Kernel IR to machine code.

pub mod cpu;
