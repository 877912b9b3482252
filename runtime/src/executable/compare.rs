//! Comparison with the interpreter: after each pass, and of the kernels.

use crate::interpreter::interpret;
use crate::options::PREFIX;
use crate::program_interpreter::{self, ProgramError, RunOptions};
use ir::program::Program;
use ir::{DType, Graph, Literal, Scalar, Symbol, Type};
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
    expected: Vec<Literal>,
}

impl Comparison {
    /// Interprets a graph on sample inputs; `None` where they would be too large or the graph fails on them.
    pub fn new(graph: &Graph) -> Option<Comparison> {
        let (inputs, expected) = expectation(graph)?;
        Some(Comparison { name: graph.name.clone(), inputs, expected })
    }

    /// Interprets the kernels of a program on the sample inputs and compares.
    pub fn check_program(&self, program: &Program) -> Result<(), String> {
        let options = RunOptions { limit: COMPARE_STATEMENTS, ..RunOptions::default() };
        let got = match program_interpreter::run(program, &self.inputs, &options) {
            Ok(got) => got,
            Err(ProgramError::Limit) => {
                log::info!(target: "tracewright", "{}: too long to compare kernels with the interpreter", self.name);
                return Ok(());
            }
            Err(e) => return Err(format!("bug in tracewright: the program cannot be run ({PREFIX}CHECK=3): {e}")),
        };
        match first_difference(&self.expected, &got, false) {
            Some(what) => Err(format!("bug in tracewright: lowering changed {what} ({PREFIX}CHECK=3)")),
            None => Ok(()),
        }
    }
}

impl PassObserver for Comparison {
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String> {
        if !run.changed {
            return Ok(());
        }
        let got =
            interpret(graph, &self.inputs).map_err(|e| format!("made the interpreter fail ({PREFIX}CHECK=3): {e}"))?;
        if let Some(what) = first_difference(&self.expected, &got, !run.exact && computes_in_16_bits(graph)) {
            return Err(format!("changed {what} ({PREFIX}CHECK=3)"));
        }
        if !run.exact {
            self.expected = got;
        }
        Ok(())
    }
}

/// The first element of the outputs that differs, in words.
fn first_difference(want: &[Literal], got: &[Literal], loose: bool) -> Option<String> {
    want.iter().zip(got).enumerate().find_map(|(i, (want, got))| {
        let at = difference(want, got, loose)?;
        if want.ty() != got.ty() {
            return Some(format!("output {i} from {} to {}", want.ty(), got.ty()));
        }
        Some(format!("output {i}, element {at}: {} became {}", want.get(at), got.get(at)))
    })
}

/// Sample inputs and what the graph makes of them; `None` where they would be too large or the graph fails on them.
fn expectation(graph: &Graph) -> Option<(Vec<Literal>, Vec<Literal>)> {
    let symbols: HashMap<Symbol, i64> =
        graph.symbols.iter().map(|s| (s.symbol.clone(), 3.clamp(s.min, s.max.max(s.min)))).collect();
    let value = |s: &Symbol| Some(symbols.get(s).copied().unwrap_or(3));
    let mut total = 0usize;
    let mut inputs = Vec::new();
    for (i, ty) in graph.input_types().iter().enumerate() {
        let dims: Option<Vec<usize>> =
            ty.shape.iter().map(|d| d.eval(&value).and_then(|n| usize::try_from(n).ok())).collect();
        let dims = dims?;
        total = total.checked_add(dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?)?;
        if total > COMPARE_ELEMENTS {
            log::info!(target: "tracewright", "{}: too large to compare passes with the interpreter", graph.name);
            return None;
        }
        inputs.push(sample(ty, &dims, i as u64));
    }
    match interpret(graph, &inputs) {
        Ok(outputs) => Some((inputs, outputs)),
        Err(e) => {
            log::info!(target: "tracewright", "{}: passes are not compared: {e}", graph.name);
            None
        }
    }
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
            DType::I64 | DType::I32 | DType::U8 | DType::Bool => Scalar::of(ty.dtype, (state % 2) as f64),
            float => Scalar::of(float, (state % 4001) as f64 / 1000.0 - 2.0),
        }
    })
}

fn computes_in_16_bits(graph: &Graph) -> bool {
    let ops = graph.reachable_regions().into_iter().flat_map(|r| &graph.region(r).ops);
    ops.flat_map(|&op| &graph.op(op).results).any(|&v| graph.ty(v).dtype.is_half())
}

/// The first element that differs by more than reordered sums and 16-bit rounding explain; with `loose`, 16-bit rounding
/// on the way to a wider output.
fn difference(want: &Literal, got: &Literal, loose: bool) -> Option<usize> {
    let tolerance = match want.dtype() {
        DType::F64 | DType::F32 | DType::F16 if loose => 1e-1,
        DType::F64 => 1e-9,
        DType::F32 => 1e-4,
        DType::F16 => 2e-2,
        DType::BF16 => 1e-1,
        _ => 0.0,
    };
    if want.dims() != got.dims() || want.dtype() != got.dtype() {
        return Some(0);
    }
    let scale = want.iter().map(|s| s.as_f64().abs()).filter(|x| x.is_finite()).fold(1.0, f64::max);
    (0..want.numel()).find(|&i| {
        let (w, g) = (want.get(i), got.get(i));
        let (x, y) = (w.as_f64(), g.as_f64());
        !(w == g || x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * scale)
    })
}
