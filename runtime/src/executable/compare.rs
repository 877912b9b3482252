//! Comparison with the interpreter: after each pass, and of the kernels.

use crate::bounds::{Bounded, analyse};
use crate::events::{self, Event};
use crate::interpreter::interpret;
use crate::options::PREFIX;
use crate::program_interpreter::{self, ProgramError, RunOptions};
use ir::program::Program;
use ir::{Graph, Literal, Scalar, Symbol, Type};
use passes::{PassObserver, PassRun};
use std::collections::HashMap;

/// The most elements of inputs for which anything is compared with the interpreter.
const COMPARE_ELEMENTS: usize = 1 << 20;
/// The most statements of a kernel that are interpreted.
const COMPARE_STATEMENTS: u64 = 1 << 26;

/// What check level 3 does: sample inputs with the outputs that every pass and the kernels must preserve.
pub struct Comparison {
    name: String,
    inputs: Vec<Literal>,
    expected: Vec<Bounded>,
    /// The outputs after the last pass.
    last: Vec<Literal>,
}

impl Comparison {
    /// Interprets a graph on sample inputs; `None` where they would be too large or the graph fails on them. With
    /// `strict16`, 16-bit floats round after every op.
    pub fn new(graph: &Graph, strict16: bool) -> Option<Comparison> {
        let effects = |op: &ir::Op| !graph.op(*op).primitive.traits().pure;
        let regions = graph.reachable_regions();
        if let Some(&op) = regions.iter().flat_map(|&r| &graph.region(r).ops).find(|&op| effects(op)) {
            let name = graph.op(op).primitive.name();
            events::record(
                Event::CheckSkipped,
                format_args!("{}: passes are not compared: {name} is not pure", graph.name),
            );
            return None;
        }
        let inputs = samples(graph)?;
        match analyse(graph, &inputs, strict16) {
            Ok(expected) => {
                let last = expected.iter().map(|b| b.value.clone()).collect();
                Some(Comparison { name: graph.name.clone(), inputs, expected, last })
            }
            Err(e) => {
                events::record(Event::CheckSkipped, format_args!("{}: passes are not compared: {e}", graph.name));
                None
            }
        }
    }

    /// Interprets the kernels of a program on the sample inputs and compares.
    pub fn check_program(&self, program: &Program) -> Result<(), String> {
        let options = RunOptions { limit: COMPARE_STATEMENTS, ..RunOptions::default() };
        let got = match program_interpreter::run(program, &self.inputs, &options) {
            Ok(got) => got,
            Err(ProgramError::Limit) => {
                let name = &self.name;
                events::record(
                    Event::CheckSkipped,
                    format_args!("{name}: too long to compare kernels with the interpreter"),
                );
                return Ok(());
            }
            Err(e) => return Err(format!("bug in tracewright: the program cannot be run ({PREFIX}CHECK=3): {e}")),
        };
        match first_difference(&self.expected, &got) {
            Some(what) => Err(format!("bug in tracewright: lowering changed {what} ({PREFIX}CHECK=3)")),
            None => Ok(()),
        }
    }
}

/// The bits are as before an exact pass, and within the bounds of the first graph after another.
impl PassObserver for Comparison {
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String> {
        if !run.changed {
            return Ok(());
        }
        let got =
            interpret(graph, &self.inputs).map_err(|e| format!("made the interpreter fail ({PREFIX}CHECK=3): {e}"))?;
        let before: Vec<Bounded>;
        let expected = if run.exact {
            before = self.last.iter().cloned().map(Bounded::exact).collect();
            &before
        } else {
            &self.expected
        };
        if let Some(what) = first_difference(expected, &got) {
            return Err(format!("changed {what} ({PREFIX}CHECK=3)"));
        }
        self.last = got;
        Ok(())
    }
}

/// The first element of the outputs that differs, in words.
fn first_difference(want: &[Bounded], got: &[Literal]) -> Option<String> {
    want.iter().zip(got).enumerate().find_map(|(i, (want, got))| {
        let (at, want) = (want.difference(got)?, &want.value);
        if want.ty() != got.ty() {
            return Some(format!("output {i} from {} to {}", want.ty(), got.ty()));
        }
        Some(format!("output {i}, element {at}: {} became {}", want.get(at), got.get(at)))
    })
}

/// Sample inputs; `None` where they would be too large.
fn samples(graph: &Graph) -> Option<Vec<Literal>> {
    let symbols: HashMap<Symbol, i64> =
        graph.symbols.iter().map(|s| (s.symbol.clone(), 3.clamp(s.min, s.max.max(s.min)))).collect();
    let value = |s: &Symbol| Some(symbols.get(s).copied().unwrap_or(3));
    let skip = |reason: &str| {
        events::record(Event::CheckSkipped, format_args!("{}: {reason}", graph.name));
        None
    };
    let mut total = 0usize;
    let mut inputs = Vec::new();
    for (i, ty) in graph.input_types().iter().enumerate() {
        let dims: Option<Vec<usize>> =
            ty.shape.iter().map(|d| d.eval(&value).and_then(|n| usize::try_from(n).ok())).collect();
        let Some(dims) = dims else { return skip("an input has no sample extents") };
        total = dims.iter().fold(1usize, |n, &d| n.saturating_mul(d)).saturating_add(total);
        if total > COMPARE_ELEMENTS {
            return skip("too large to compare passes with the interpreter");
        }
        inputs.push(sample(ty, &dims, i as u64));
    }
    Some(inputs)
}

/// Numbers between -2 and 2 for floats; 0 or 1 for integers, which may be indices.
fn sample(ty: &Type, dims: &[usize], seed: u64) -> Literal {
    let mut state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Literal::from_fn(dims, ty.dtype, |_| {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match ty.dtype {
            float if float.is_float() => Scalar::of(float, (state % 4001) as f64 / 1000.0 - 2.0),
            other => Scalar::of(other, (state % 2) as f64),
        }
    })
}
