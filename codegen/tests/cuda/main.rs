//! Generated CUDA C++, run by threads on the processor, against the kernel interpreter.
#![cfg(unix)]

#[path = "../cases/data.rs"]
mod data;
#[path = "../cases/exact.rs"]
mod exact;
#[path = "../cases/loops.rs"]
mod loops;
mod nvrtc;
#[path = "../cases/ops.rs"]
mod ops;
#[path = "../../../ir/tests/random_kernel/mod.rs"]
mod random_kernel;
mod target;
mod threads;
