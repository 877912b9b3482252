//! Reverse mode against forward mode: both are the same linear map, so `<ct, J t>` is `<Jᵀ ct, t>` for any tangents and
//! cotangents, at kinks and jumps too.

use crate::case::{self, Case, Content};
use crate::random::Random;
use ir::{DType, Data, Graph, Literal, Primitive, Region, Value};
use passes::autodiff::{append_jvp, append_vjp};
use runtime::interpreter::interpret_observed;
use std::collections::HashSet;

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
    // A loop of unknown length has one derivative only.
    let regions = graph.reachable_regions();
    let mut ops = regions.iter().flat_map(|&r| &graph.region(r).ops);
    if mixes(&graph, &wrt) || ops.any(|&op| matches!(graph.op(op).primitive, Primitive::While(_))) {
        return None;
    }
    let add = |g: &mut Graph, vs: &[Value]| -> Vec<Value> {
        vs.iter().map(|&v| g.ty(v).clone()).collect::<Vec<_>>().into_iter().map(|ty| g.add_input(ty)).collect()
    };
    let (tangents, cotangents) = (add(&mut graph, &wrt), add(&mut graph, &outputs));
    let given: Vec<(Value, Value)> = wrt.iter().copied().zip(tangents.iter().copied()).collect();
    let forward = append_jvp(&mut graph, &given, &outputs).values;
    let seeds: Vec<(Value, Value)> = outputs.iter().copied().zip(cotangents.iter().copied()).collect();
    // The ops of forward mode are no part of what is differentiated, since nothing flows back into them.
    let pulled = append_vjp(&mut graph, &seeds, &wrt);
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

/// True if a region has a float of another dtype.
fn narrow(graph: &Graph, region: Region) -> bool {
    let data = graph.region(region);
    let other = |v: &Value| graph.ty(*v).dtype.is_float() && graph.ty(*v).dtype != DType::F64;
    data.params.iter().any(other)
        || data
            .ops
            .iter()
            .map(|&op| graph.op(op))
            .any(|op| op.results.iter().any(other) || op.regions.iter().any(|&r| narrow(graph, r)))
}

/// True if a float of another dtype lies on the way from those inputs.
fn mixes(graph: &Graph, inputs: &[Value]) -> bool {
    let mut reached: HashSet<Value> = inputs.iter().copied().collect();
    graph.region(graph.root()).ops.iter().any(|&op| {
        let data = graph.op(op);
        let on_the_way = data.operands.iter().any(|v| reached.contains(v));
        let floats = data.results.iter().filter(|v| on_the_way && graph.ty(**v).dtype.is_float());
        reached.extend(floats.clone());
        floats.clone().any(|v| graph.ty(*v).dtype != DType::F64)
            || (on_the_way && data.regions.iter().any(|&r| narrow(graph, r)))
    })
}
