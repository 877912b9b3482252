//! Reverse mode against forward mode: both are the same linear map, so `<ct, J t>` is `<Jᵀ ct, t>` for any tangents and
//! cotangents, at kinks and jumps too.

use crate::case::{self, Case, Content};
use crate::random::Random;
use ir::ops::GraphEmitter;
use ir::{DType, Data, Graph, Literal, NotDifferentiable, Op, Value};
use passes::autodiff::append_vjp;
use runtime::interpreter::interpret_observed;
use std::collections::HashMap;

/// How far the two products may be apart, relative to the sums of the sizes of their terms.
const TOLERANCE: f64 = 1e-8;
/// Larger values on the way could cancel and leave nothing but rounding.
const LARGEST: f64 = 1e5;

/// Compares the two derivatives of the f64 outputs of a case by its f64 inputs; `None` where there is nothing to compare.
pub fn check(case: &Case, seed: u64) -> Option<Result<(), String>> {
    let mut graph = case.graph.clone();
    let wide = |g: &Graph, v: &Value| g.ty(*v).dtype == DType::F64;
    let mut outputs: Vec<Value> = graph.outputs().iter().copied().filter(|v| wide(&graph, v)).collect();
    outputs.sort();
    outputs.dedup();
    let inputs: Vec<usize> = (0..graph.inputs().len()).filter(|&i| wide(&graph, &graph.inputs()[i])).collect();
    let wrt: Vec<Value> = inputs.iter().map(|&i| graph.inputs()[i]).collect();
    if outputs.is_empty() || wrt.is_empty() {
        return None;
    }
    let ops = graph.region(graph.root()).ops.clone();
    let add = |g: &mut Graph, vs: &[Value]| -> Vec<Value> {
        vs.iter().map(|&v| g.ty(v).clone()).collect::<Vec<_>>().into_iter().map(|ty| g.add_input(ty)).collect()
    };
    let (tangents, cotangents) = (add(&mut graph, &wrt), add(&mut graph, &outputs));
    let given = wrt.iter().copied().zip(tangents.iter().copied());
    let pushed = push_forward(&mut graph, &ops, given).ok()?;
    let seeds: Vec<(Value, Value)> = outputs.iter().copied().zip(cotangents.iter().copied()).collect();
    // The ops of forward mode are no part of what is differentiated, since nothing flows back into them.
    let pulled = append_vjp(&mut graph, &seeds, &wrt);
    let forward: Vec<Option<Value>> = outputs.iter().map(|v| pushed.get(v).copied()).collect();
    let present = |list: &[Option<Value>]| list.iter().flatten().copied().collect::<Vec<Value>>();
    let results = [present(&forward), present(&pulled.values)].concat();
    graph.set_outputs(results);

    let mut r = Random::new(seed);
    let mut compared = false;
    for (arguments, &batch) in case.arguments.iter().zip(&case.batches) {
        let mut random = |v: &Value| {
            let dims = case::extents(graph.ty(*v), batch);
            case::literal(&mut r, DType::F64, &dims, Content::Uniform)
        };
        let t: Vec<Literal> = tangents.iter().map(&mut random).collect();
        let ct: Vec<Literal> = cotangents.iter().map(&mut random).collect();
        let all = [arguments.as_slice(), t.as_slice(), ct.as_slice()].concat();
        let mut largest = 0.0f64;
        let mut measure = |_: Value, l: &Literal| {
            if let Data::F64(x) = l.data() {
                let size = |x: &f64| if x.is_nan() { f64::INFINITY } else { x.abs() };
                largest = x.iter().map(size).fold(largest, f64::max);
            }
        };
        let Ok(values) = interpret_observed(&graph, &all, &mut measure) else { continue };
        if largest > LARGEST {
            continue;
        }
        let mut values = values.iter();
        let mut product = |found: &[Option<Value>], with: &[Literal]| -> (f64, f64) {
            let mut sums = (0.0, 0.0);
            for (_, w) in found.iter().zip(with).filter(|(v, _)| v.is_some()) {
                let value = values.next().expect("a value for each derivative");
                for (a, b) in value.as_slice::<f64>().iter().zip(w.as_slice::<f64>()) {
                    sums = (sums.0 + a * b, sums.1 + (a * b).abs());
                }
            }
            sums
        };
        let (left, right) = (product(&forward, &ct), product(&pulled.values, &t));
        compared = true;
        if (left.0 - right.0).abs() > TOLERANCE * (left.1 + right.1).max(1.0) {
            return Some(Err(format!("forward mode gives {}, reverse mode {} (B = {batch})", left.0, right.0)));
        }
    }
    compared.then_some(Ok(()))
}

/// Appends the forward-mode derivatives of ops; the tangent of each value that has one.
fn push_forward(
    graph: &mut Graph,
    ops: &[Op],
    given: impl Iterator<Item = (Value, Value)>,
) -> Result<HashMap<Value, Value>, NotDifferentiable> {
    let mut tangents: HashMap<Value, Value> = given.collect();
    for &op in ops {
        let data = graph.op(op).clone();
        let of: Vec<Option<Value>> = data.operands.iter().map(|v| tangents.get(v).copied()).collect();
        if of.iter().all(Option::is_none) {
            continue;
        }
        if data.results.iter().any(|&v| graph.ty(v).dtype.is_float() && graph.ty(v).dtype != DType::F64) {
            return Err(NotDifferentiable("not all of it is f64"));
        }
        let region = graph.root();
        let mut b = GraphEmitter { graph, region, origins: data.origins.clone() };
        if let Ok(Some(t)) = data.primitive.jvp(&mut b, &data.operands, &data.results, &of) {
            tangents.insert(data.results[0], t);
        }
    }
    Ok(tangents)
}
