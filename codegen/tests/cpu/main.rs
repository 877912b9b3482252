//! Compiled kernels against the kernel interpreter.
#![cfg(all(unix, target_arch = "x86_64"))]

mod harness;
mod loops;
mod ops;
mod speed;
