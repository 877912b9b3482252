//! Generated CUDA C++, run by threads on the processor, against the kernel interpreter.
#![cfg(unix)]

mod compiler;
#[path = "../cases/data.rs"]
mod data;
#[path = "../cases/exact.rs"]
mod exact;
mod library;
#[path = "../cases/loops.rs"]
mod loops;
mod nvrtc;
#[path = "../cases/ops.rs"]
mod ops;
#[path = "../../../ir/tests/random_kernel/mod.rs"]
mod random_kernel;
mod target;
mod threads;
