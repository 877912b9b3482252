//! Compiled kernels against the kernel interpreter.
#![cfg(all(unix, target_arch = "x86_64"))]

mod code;
#[path = "../cases/data.rs"]
mod data;
#[path = "../cases/exact.rs"]
mod exact;
#[path = "../cases/loops.rs"]
mod loops;
#[path = "../cases/ops.rs"]
mod ops;
mod random;
#[path = "../../../ir/tests/random_kernel/mod.rs"]
mod random_kernel;
mod speed;
mod target;
