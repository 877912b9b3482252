//! The kernels of every op, as CUDA run by threads on the processor, launch by launch against the kernel interpreter.
#![cfg(unix)]

// Shared with the tests of code generation, which use all of it.
#[allow(dead_code)]
#[path = "../../../codegen/tests/cases/data.rs"]
mod data;
mod programs;
#[allow(dead_code)]
#[path = "../../../codegen/tests/cuda/target.rs"]
mod target;

use data::Within;
use ir::{Graph, Literal, Primitive};
use passes::{Grain, PassOptions, Settings};
use runtime::program_interpreter::{RunOptions, run_watched};
use std::collections::BTreeSet;
use target::{check, finish};

/// Notes every launch of a graph's program.
fn note(graph: &Graph, grain: Grain, arguments: &[Literal]) -> usize {
    let options = PassOptions { grain, ..PassOptions::default() };
    let outcome = passes::optimize(graph.clone(), &Settings { options, ..Settings::default() }, None).unwrap();
    let program = passes::lower::lower_for(grain, &outcome.graph, &[], &|_| None).unwrap();
    let (mut launches, options) = (0, RunOptions::default());
    // An error of the sample, such as an index out of range, is one that the launch reports too.
    let _ = run_watched(&program, arguments, &options, &mut |kernel, buffers, extents| {
        // Sums in which much cancels.
        let unsure = kernel.to_string().contains("log_gamma_slope");
        check(kernel, buffers, extents, Within::Ulps(if unsure { 1 << 20 } else { 64 }));
        launches += 1;
    });
    launches
}

#[test]
fn every_op_on_its_samples() {
    let mut seen = BTreeSet::new();
    for sample in Primitive::all_samples() {
        for grain in [Grain::CPU, Grain::GPU] {
            if note(&sample.graph(), grain, &sample.operands) > 0 {
                seen.insert(sample.primitive.name());
            }
        }
    }
    assert!(seen.len() > 70, "{} ops have kernels: {seen:?}", seen.len());
    finish();
}
