//! Compiled kernels against the kernel interpreter.
#![cfg(all(unix, target_arch = "x86_64"))]

mod harness;
mod loops;
mod ops;
mod random;
#[path = "../../../ir/tests/random_kernel/mod.rs"]
mod random_kernel;
mod speed;
