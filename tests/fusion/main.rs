//! What fusion makes of programs: counts of kernels and of bytes moved, golden kernels, and origins at every stage.

mod backwards;
mod batched;
mod boxes;
mod counts;
mod golden;
mod graphs;
mod joins;
mod origins;
mod recompute;
#[path = "../target/mod.rs"]
mod target;

use ir::program::{Program, StepKind};
use tracewright::events::{Event, capture};
use tracewright::jit::Lowered;
use tracewright::{DType, Shape, Tensor};

fn f32s(shape: impl Into<Shape>) -> Tensor {
    Tensor::ones(shape, DType::F32)
}

fn program(lowered: &Lowered) -> &Program {
    let executable = lowered.executable();
    assert!(executable.is_compiled(), "{:?}", executable.artifacts().fallback);
    executable.program().unwrap()
}

/// Kernel launches and matrix products.
fn steps(lowered: &Lowered) -> (usize, usize) {
    let steps = &program(lowered).steps;
    let launches = steps.iter().filter(|s| matches!(s.kind, StepKind::Launch(_))).count();
    (launches, steps.len() - launches)
}

/// Bytes of all operands and results of all steps: what moves if nothing stays in cache between steps.
fn bytes(lowered: &Lowered) -> i64 {
    let p = program(lowered);
    let buffers = p.steps.iter().flat_map(|s| p.accesses(&s.kind).concat());
    buffers.map(|b| p.buffers[b.0 as usize].ty.bytes().known().unwrap()).sum()
}

/// What lowering refused to fuse.
fn refusals(lower: impl FnOnce() -> Lowered) -> Vec<String> {
    let (_, records) = capture(lower);
    records.into_iter().filter(|r| r.event == Event::FusionRefused).map(|r| r.reason).collect()
}
