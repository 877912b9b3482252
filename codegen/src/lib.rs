//! Kernel IR to machine code.

pub mod cpu;
pub mod cuda;
mod sizes;
