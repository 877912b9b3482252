//! How far a correct result may be from the interpreter's: bounds by running error analysis.
//!
//! Every element of every value carries a bound on the absolute difference between the interpreter and any correct
//! execution. 0 means that the bits are the same (but for the payload of a NaN); infinity means that nothing is known,
//! because a difference in rounding decides a comparison, an overflow or a position. Differences begin only where the
//! project allows them: transcendental functions by their ulps, sums and products of many elements by a bound that grows
//! with their number, and 16-bit floats where rounding between the ops of a kernel is left out. Everything else passes
//! them on, by the rules of Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., 2002, chapters 3 and 4.

mod control;
mod cumulative;
mod elements;
mod reductions;

use crate::error::ExecError;
use crate::interpreter::{Bindings, interpret_limited};
use ir::graph::OpData;
use ir::ops::EvalContext;
use ir::ops::index::{Scatter, Update};
use ir::ops::view::Pad;
use ir::{DType, EvalError, Graph, Literal, Lowering, Op, Primitive, Scalar, Value};

use std::cell::Cell;
use std::collections::HashMap;

/// For the rounding of the bounds themselves.
const SLACK: f64 = 1.0001;
/// The bound of what may be anything.
pub const UNKNOWN: f64 = f64::INFINITY;

/// What the bounds depend on.
struct Rules {
    /// 16-bit floats round after every op.
    strict16: bool,
    /// Values of the symbols.
    bindings: Bindings,
    /// How often regions may be analysed yet.
    runs: Cell<u64>,
}

/// A value with a bound for each element.
#[derive(Clone, Debug)]
pub struct Bounded {
    /// What the interpreter gives.
    pub value: Literal,
    /// How far another execution may be from it, absolutely.
    pub bounds: Vec<f64>,
}

impl Bounded {
    /// A value that every execution must give to the bit.
    pub fn exact(value: Literal) -> Bounded {
        Bounded { bounds: vec![0.0; value.numel()], value }
    }
    fn dtype(&self) -> DType {
        self.value.dtype()
    }
    fn at(&self, i: usize) -> (f64, f64) {
        (self.value.get(i).as_f64(), self.bounds[i])
    }
    fn is_exact(&self) -> bool {
        self.bounds.iter().all(|&e| e == 0.0)
    }
    fn any_unknown(&self) -> bool {
        self.bounds.contains(&UNKNOWN)
    }
    /// The bounds as a tensor.
    fn bounds_literal(&self) -> Literal {
        Literal::from_vec(self.value.dims(), self.bounds.clone())
    }

    /// The first element that is not what it has to be; the first of all where types differ.
    pub fn difference(&self, got: &Literal) -> Option<usize> {
        if (self.value.dtype(), self.value.dims()) != (got.dtype(), got.dims()) {
            return Some(0);
        }
        (0..got.numel()).find(|&i| {
            let (want, got, bound) = (self.value.get(i), got.get(i), self.bounds[i]);
            let nan = |s: Scalar| s.dtype().is_float() && s.as_f64().is_nan();
            let fits = bound == UNKNOWN
                || want == got
                || (nan(want) && nan(got))
                || (bound > 0.0 && (want.as_f64() - got.as_f64()).abs() <= bound * SLACK);
            !fits
        })
    }
}

/// Iterations of loops after which an analysis is given up: on made-up inputs they may have no end.
const RUNS: u64 = 1 << 16;

/// Interprets a graph and bounds the differences that its outputs may have. With `strict16`, 16-bit floats round after
/// every op. Nothing is known of what fused groups and unknown ops yield.
pub fn analyse(graph: &Graph, inputs: &[Literal], strict16: bool) -> Result<Vec<Bounded>, ExecError> {
    let bindings = Bindings::of(&graph.input_types(), &graph.symbols, inputs)?;
    let rules = Rules { strict16, bindings, runs: Cell::new(RUNS) };
    let mut values: HashMap<Value, Bounded> =
        graph.inputs().iter().copied().zip(inputs.iter().cloned().map(Bounded::exact)).collect();
    // The results of an op come one by one.
    let mut results: Vec<Literal> = Vec::new();
    let outputs = interpret_limited(graph, inputs, RUNS, &mut |v, literal| {
        let (op, _) = graph.defining_op(v).expect("an op has run");
        let data = graph.op(op);
        results.push(literal.clone());
        if results.len() < data.results.len() {
            return;
        }
        let operands: Vec<&Bounded> = data.operands.iter().map(|v| &values[v]).collect();
        let bounds = of_results(graph, op, &operands, &results, &rules);
        for ((&v, value), mut bounds) in data.results.iter().zip(results.drain(..)).zip(bounds) {
            settle(&value, &mut bounds);
            values.insert(v, Bounded { value, bounds });
        }
    })?;
    for (v, literal) in graph.outputs().iter().zip(&outputs) {
        assert_eq!(&values[v].value, literal, "the interpreter's observer and its outputs");
    }
    Ok(graph.outputs().iter().map(|v| values[v].clone()).collect())
}

/// The largest finite number.
fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        DType::F32 => f32::MAX as f64,
        DType::F16 => 65504.0,
        _ => 3.3895313892515355e38,
    }
}

/// The distance of neighbouring numbers around `x`.
fn ulp(x: f64, dtype: DType) -> f64 {
    let (bits, least) = match dtype {
        DType::F64 => (52, -1022),
        DType::F32 => (23, -126),
        DType::F16 => (10, -14),
        _ => (7, -126),
    };
    let exponent = ((x.abs().to_bits() >> 52) as i32 - 1023).max(least);
    2f64.powi(exponent) * 2f64.powi(-bits)
}

/// The bound after a result is rounded in both executions, one way or the other.
fn rounded(bound: f64, x: f64, dtype: DType, strict16: bool) -> f64 {
    match dtype.is_float() {
        _ if x.is_nan() => bound,
        true if bound > 0.0 => bound + ulp(x, dtype),
        // The other execution may not round at all, and then not overflow either.
        true if dtype.is_half() && !strict16 => {
            if x.is_infinite() {
                UNKNOWN
            } else {
                0.5 * ulp(x, dtype)
            }
        }
        _ => bound,
    }
}

/// Makes a bound unknown where it does not bound.
fn settle(value: &Literal, bounds: &mut [f64]) {
    assert_eq!(bounds.len(), value.numel());
    for (i, e) in bounds.iter_mut().enumerate() {
        if *e == 0.0 {
            continue;
        }
        let x = value.get(i).as_f64();
        let bounded = value.dtype().is_float() && x.is_finite() && x.abs() + *e <= largest(value.dtype());
        if !bounded || e.is_nan() {
            *e = UNKNOWN;
        }
    }
}

/// Evaluates an op on other operands that have the shapes of its own.
fn evaluate(primitive: &Primitive, operands: &[&Literal], result: &Literal) -> Literal {
    let dims = [result.dims().into()];
    let known = |d: &ir::Dim| d.known().ok_or_else(|| EvalError::BadDim(d.to_string()));
    let mut cx =
        EvalContext { dim: &known, results: &dims, regions: &[], region: &mut |_, _| unreachable!("no regions") };
    let mut results = primitive.eval(operands, &mut cx).expect("it was evaluated before");
    results.remove(0)
}

/// The bounds of each result of an op.
fn of_results(graph: &Graph, op: Op, operands: &[&Bounded], results: &[Literal], rules: &Rules) -> Vec<Vec<f64>> {
    let data = graph.op(op);
    if data.primitive.lowering() == Lowering::Control
        && let Some(bounds) = control::bounds(graph, op, operands, results, rules)
    {
        return bounds;
    }
    results.iter().map(|result| bounds_of(data, operands, result, rules)).collect()
}

fn bounds_of(data: &OpData, operands: &[&Bounded], result: &Literal, rules: &Rules) -> Vec<f64> {
    let strict16 = rules.strict16;
    let n = result.numel();
    match data.primitive.lowering() {
        Lowering::Constant | Lowering::Generate => match (&data.primitive, result.dtype()) {
            // Counts are converted to 16 bits, or stay in 32.
            (Primitive::Iota(_), dtype) => result.iter().map(|s| rounded(0.0, s.as_f64(), dtype, strict16)).collect(),
            _ => vec![0.0; n],
        },
        _ if operands.iter().all(|o| o.is_exact()) && moves(&data.primitive) => vec![0.0; n],
        Lowering::Fence => operands[0].bounds.clone(),
        Lowering::View => moved(&data.primitive, operands, result, rules),
        Lowering::Gather => {
            if operands[1].any_unknown() {
                return vec![UNKNOWN; n];
            }
            let bounds = operands[0].bounds_literal();
            floats(&evaluate(&data.primitive, &[&bounds, &operands[1].value], result))
        }
        Lowering::Scatter(combine) => scattered(&data.primitive, combine, operands, result, strict16),
        Lowering::Pointwise => elements::bounds(data.primitive.name(), operands, result, strict16),
        Lowering::Reduce(combine) => {
            reductions::bounds(combine, data.primitive.reduced_axes(), operands[0], result, strict16)
        }
        Lowering::Contract => contracted(&data.primitive, operands, result, strict16),
        Lowering::Cumulative => cumulative::bounds(&data.primitive, operands, result, strict16),
        // Without a body the same code runs everywhere.
        Lowering::Opaque if data.primitive.body().is_none() && operands.iter().all(|o| o.is_exact()) => vec![0.0; n],
        // A position is sure where what is sorted is.
        Lowering::Sort if operands[0].is_exact() => vec![0.0; n],
        Lowering::Fused | Lowering::Control | Lowering::Sort | Lowering::Opaque => vec![UNKNOWN; n],
    }
}

/// True for ops that only move elements.
fn moves(p: &Primitive) -> bool {
    matches!(p.lowering(), Lowering::View | Lowering::Gather)
}

fn floats(l: &Literal) -> Vec<f64> {
    l.as_slice::<f64>().to_vec()
}

/// Views move bounds as they move elements; what pads is exact.
fn moved(primitive: &Primitive, operands: &[&Bounded], result: &Literal, rules: &Rules) -> Vec<f64> {
    let bounds: Vec<Literal> = operands.iter().map(|o| o.bounds_literal()).collect();
    let bounds: Vec<&Literal> = bounds.iter().collect();
    let fixed = match primitive.with_symbols(&|s| rules.bindings.get(s).map(ir::Dim::from)) {
        Primitive::Pad(pad) => Pad { value: Scalar::F64(0.0), ..pad }.into(),
        other => other,
    };
    floats(&evaluate(&fixed, &bounds, result))
}

fn scattered(
    primitive: &Primitive,
    combine: Update,
    operands: &[&Bounded],
    result: &Literal,
    strict16: bool,
) -> Vec<f64> {
    let [x, indices, updates] = operands else { unreachable!("three operands") };
    let n = result.numel();
    if indices.any_unknown() {
        return vec![UNKNOWN; n];
    }
    let with = |how: Update, a: &Literal, b: &Literal| match primitive.clone() {
        Primitive::Scatter(op) => {
            floats(&evaluate(&Scatter { combine: how, ..op }.into(), &[a, &indices.value, b], result))
        }
        other => unreachable!("{} scatters", other.name()),
    };
    let add = |a: &Literal, b: &Literal| with(Update::Add, a, b);
    if combine != Update::Add {
        let how = if combine.moves() { Update::Set } else { Update::Max };
        let largest = with(how, &x.bounds_literal(), &updates.bounds_literal());
        let bound = |(i, e): (usize, f64)| match combine {
            Update::Mul if e > 0.0 => UNKNOWN,
            Update::Mul => rounded(0.0, result.get(i).as_f64(), result.dtype(), strict16),
            _ => e,
        };
        return largest.into_iter().enumerate().map(bound).collect();
    }
    let passed = add(&x.bounds_literal(), &updates.bounds_literal());
    let of = |o: &Bounded, f: fn(f64) -> f64| {
        Literal::from_vec(o.value.dims(), o.value.iter().map(|s| f(s.as_f64())).collect::<Vec<f64>>())
    };
    let sizes = add(&of(x, f64::abs), &of(updates, f64::abs));
    let counts = add(&of(x, |_| 1.0), &of(updates, |_| 1.0));
    let dtype = result.dtype();
    (0..n)
        .map(|i| match passed[i] > 0.0 {
            // Updates come in order, so sums of the same numbers are the same.
            false => rounded(0.0, result.get(i).as_f64(), dtype, strict16),
            true => {
                let order = counts[i] * epsilon(dtype) * (sizes[i] + passed[i]);
                rounded(passed[i] + order, result.get(i).as_f64(), dtype, strict16)
            }
        })
        .collect()
}

/// The relative rounding error of sums, which accumulate in f32 at least.
fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::EPSILON } else { f32::EPSILON as f64 }
}

fn contracted(primitive: &Primitive, operands: &[&Bounded], result: &Literal, strict16: bool) -> Vec<f64> {
    let [x, y] = operands else { unreachable!("two operands") };
    let dtype = result.dtype();
    let dot = |a: &Literal, b: &Literal| floats(&evaluate(primitive, &[a, b], result));
    let (ex, ey) = (x.bounds_literal(), y.bounds_literal());
    // What is not finite decides only whether a result is finite; 1 keeps it visible in the sums.
    let size = |o: &Bounded| {
        let sizes = o.value.iter().map(|s| s.as_f64().abs()).map(|a| if a.is_finite() { a } else { 1.0 });
        Literal::from_vec(o.value.dims(), sizes.collect::<Vec<f64>>())
    };
    let (ax, ay) = (size(x), size(y));
    let (passed_x, passed_y, passed_both) = (dot(&ex, &ay), dot(&ax, &ey), dot(&ex, &ey));
    let sizes = dot(&ax, &ay);
    let axes = primitive.contract_axes().expect("a product");
    let terms: usize = axes.contract[0].iter().map(|&a| x.value.dims()[a]).product();
    (0..result.numel())
        .map(|i| {
            let passed = passed_x[i] + passed_y[i] + passed_both[i];
            let z = result.get(i).as_f64();
            if !dtype.is_float() {
                return if passed == 0.0 { 0.0 } else { UNKNOWN };
            }
            if passed.is_nan() || sizes[i] > largest(dtype) / 4.0 || (passed > 0.0 && !z.is_finite()) {
                return UNKNOWN;
            }
            // One product of two numbers is what it is; more come in any order, with or without rounding each.
            let order = terms as f64 * (epsilon(dtype) * (sizes[i] + passed) + ulp(0.0, dtype));
            let order = match terms {
                _ if !z.is_finite() => 0.0,
                // The library may not begin its sums with a zero, so that one of -0 stays -0.
                0 | 1 if z != 0.0 => 0.0,
                0 | 1 => ulp(0.0, dtype),
                _ => order,
            };
            rounded(passed + order, z, dtype, strict16)
        })
        .collect()
}
