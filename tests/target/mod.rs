//! The target that a suite runs on. It is what the options in force say, so the environment chooses it for any suite:
//! `cargo run -p tracewright-emulator --example on -- emulator cargo test --features cuda --test vmap`.
#![allow(dead_code, reason = "no suite needs all of it")]

use ir::Literal;
use runtime::options::{self, Options};
use runtime::{Array, Device};

/// What runs a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Interpreter,
    Cpu,
    /// A GPU.
    Cuda,
    /// The code that drives GPUs and the code made for them, on the processor.
    Emulator,
}

/// The target of this suite.
pub fn target() -> Target {
    let options = options();
    match options.device {
        _ if !options.jit => Target::Interpreter,
        Device::Cpu => Target::Cpu,
        device if device.name().expect("a device").contains("Emulator") => Target::Emulator,
        _ => Target::Cuda,
    }
}

/// True if things are compiled there.
pub fn compiles() -> bool {
    target() != Target::Interpreter
}

/// The options in force: what a test does not change is that of the target.
pub fn options() -> Options {
    (*options::current().expect("options")).clone()
}

/// Those under which the interpreter runs everything.
pub fn interpreted() -> Options {
    Options { jit: false, ..options() }
}

/// An array where the target has its arrays.
pub fn array(literal: &Literal) -> Array {
    let there = Array::from_literal(literal).and_then(|a| a.to_device(options().device));
    there.unwrap_or_else(|e| panic!("{e}"))
}
