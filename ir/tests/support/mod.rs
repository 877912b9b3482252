//! Graphs of one op, evaluated by its reference evaluation: what the op tests stand on.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod examples;
pub mod gradients;
pub mod kernels;
pub mod rewriting;

use ir::graph::Region;
use ir::ops::{EvalContext, GraphEmitter, Sample};
use ir::origin::{Location, Origin, OriginId};
use ir::{DType, EvalError, Graph, Literal, Primitive, Scalar, Type, Value};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;

/// The origin of everything a test records.
pub fn origin(graph: &mut Graph) -> OriginId {
    let location = Location { file: "test.rs".into(), line: 1, column: 1 };
    graph.origins.intern(Origin { location, scope: "".into(), gradient: false })
}

/// Appends to the root region of a graph.
pub fn emitter(graph: &mut Graph) -> GraphEmitter<'_> {
    let (region, origins) = (graph.root(), smallvec![origin(graph)]);
    GraphEmitter { graph, region, origins }
}

/// A graph with one input for each operand.
pub fn graph_of(types: impl IntoIterator<Item = Type>) -> (Graph, Vec<Value>) {
    let mut graph = Graph::new("test");
    let inputs = types.into_iter().map(|ty| graph.add_input(ty)).collect();
    (graph, inputs)
}

/// Runs a graph with static shapes op by op, each through its reference evaluation. Panics where a result does not
/// have the type that was inferred.
pub fn evaluate(graph: &Graph, inputs: &[Literal]) -> Result<Vec<Literal>, EvalError> {
    run_region(graph, graph.root(), inputs)
}

fn run_region(graph: &Graph, region: Region, inputs: &[Literal]) -> Result<Vec<Literal>, EvalError> {
    let data = graph.region(region);
    let mut values: HashMap<Value, Literal> = data.params.iter().copied().zip(inputs.iter().cloned()).collect();
    for &op in &data.ops {
        let data = graph.op(op);
        let operands: Vec<&Literal> = data.operands.iter().map(|v| &values[v]).collect();
        let extents: Vec<SmallVec<[usize; 4]>> =
            data.results.iter().map(|&v| graph.ty(v).shape.known().expect("a static shape")).collect();
        let regions: Vec<_> = data.regions.iter().map(|&r| graph.region_type(r)).collect();
        let mut cx = EvalContext {
            dim: &|d| d.known().ok_or_else(|| EvalError::BadDim(d.to_string())),
            results: &extents,
            regions: &regions,
            region: &mut |i, arguments| run_region(graph, data.regions[i], arguments),
        };
        let results = data.primitive.eval(&operands, &mut cx)?;
        let found: Vec<Type> = results.iter().map(Literal::ty).collect();
        let inferred: Vec<Type> = data.results.iter().map(|&v| graph.ty(v).clone()).collect();
        assert_eq!(found, inferred, "{:?} of {operands:?}", data.primitive);
        values.extend(data.results.iter().copied().zip(results));
    }
    Ok(data.yields.iter().map(|v| values[v].clone()).collect())
}

/// Evaluates a call.
pub fn call(primitive: impl Into<Primitive>, operands: &[Literal]) -> Result<Literal, EvalError> {
    let sample = Sample { primitive: primitive.into(), operands: operands.to_vec() };
    Ok(evaluate(&sample.graph(), operands)?.remove(0))
}

/// The same bits, except that any NaN equals any other: arithmetic leaves their sign and payload open.
pub fn same_scalar(a: Scalar, b: Scalar) -> bool {
    a == b || (a.dtype() == b.dtype() && a.as_f64().is_nan() && b.as_f64().is_nan())
}

/// [`same_scalar`] for every element.
pub fn same(a: &Literal, b: &Literal) -> bool {
    a.ty() == b.ty() && a.iter().zip(b.iter()).all(|(x, y)| same_scalar(x, y))
}

/// A tensor of numbers in a dtype.
pub fn tensor(dtype: DType, dims: &[usize], elements: &[f64]) -> Literal {
    assert_eq!(dims.iter().product::<usize>(), elements.len());
    Literal::from_fn(dims, dtype, |i| Scalar::of(dtype, elements[i]))
}

/// Moderate numbers without pattern, other ones for each `salt`; a linear congruential generator, Knuth, *The Art of
/// Computer Programming* 2, 3.3.4, line 26.
pub fn weights(dims: &[usize], dtype: DType, salt: u64) -> Literal {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Literal::from_fn(dims, dtype, |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        Scalar::of(dtype, ((state >> 40) as f64 / (1u64 << 24) as f64 - 0.5) * 3.0)
    })
}

/// `n` tensors of one type side by side along a new axis.
pub fn stack(parts: &[Literal], axis: usize) -> Literal {
    let inner: usize = parts[0].dims()[axis..].iter().product();
    let mut dims = parts[0].dims().to_vec();
    dims.insert(axis, parts.len());
    Literal::from_fn(&dims, parts[0].dtype(), |i| {
        let (outer, part, at) = (i / (inner * parts.len()).max(1), i / inner.max(1) % parts.len(), i % inner.max(1));
        parts[part].get(outer * inner + at)
    })
}

/// The part of a tensor at index `i` of its first axis.
pub fn unstack(x: &Literal, i: usize) -> Literal {
    let inner: usize = x.dims()[1..].iter().product();
    Literal::from_fn(&x.dims()[1..], x.dtype(), |at| x.get(i * inner + at))
}

/// Collects what went wrong, so that a test shows all of it at once.
#[derive(Default)]
pub struct Failures(Vec<String>);

impl Failures {
    /// Notes a failure.
    pub fn add(&mut self, message: String) {
        self.0.push(message);
    }
    /// Notes a failure unless the condition holds.
    pub fn check(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(message());
        }
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        if !self.0.is_empty() && !std::thread::panicking() {
            panic!("{} failures:\n{}", self.0.len(), self.0[..self.0.len().min(12)].join("\n"));
        }
    }
}

/// A sample in words.
pub fn describe(s: &Sample) -> String {
    let types: Vec<_> = s.operands.iter().map(|o| format!("{o:?}")).collect();
    format!("{:?}({})", s.primitive, types.join(", "))
}
