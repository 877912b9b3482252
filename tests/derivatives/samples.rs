//! The samples of every primitive, compiled: reverse mode against forward mode, and both again one order higher.

use crate::target::array;
use ir::ops::{GraphEmitter, Sample};
use ir::{DType, EmitExt, Graph, Literal, Location, Origin, Primitive, Scalar, Type, Value};
use passes::autodiff::{append_jvp, append_vjp};
use runtime::interpreter::interpret;
use runtime::{Executable, Input};
use std::collections::BTreeSet;

fn numbers(ty: &Type, seed: usize) -> Literal {
    let dims = ty.shape.known().expect("a static shape");
    Literal::from_fn(&dims, ty.dtype, |i| Scalar::of(ty.dtype, ((i * 29 + seed * 17) % 23) as f64 / 8.0 - 1.4))
}

fn emitter(graph: &mut Graph) -> GraphEmitter<'_> {
    let location = Location { file: "sample.rs".into(), line: 1, column: 1 };
    let origin = graph.origins.intern(Origin { location, scope: "".into(), gradient: false });
    let region = graph.root();
    GraphEmitter { graph, region, origins: [origin].into_iter().collect() }
}

/// The two sides of `<ct, J t> = <Jᵀ ct, t>` for a function, as scalars, and all that was added to the inputs.
struct Sides {
    graph: Graph,
    sides: [Value; 2],
}

fn sum_of_products(b: &mut GraphEmitter<'_>, pairs: &[(Value, Value)]) -> Option<Value> {
    let mut sum = None;
    for &(x, y) in pairs {
        let product = b.mul(x, y);
        let axes: Vec<usize> = (0..b.graph.ty(product).rank()).collect();
        let term = b.reduce_sum(product, &axes);
        sum = Some(sum.map_or(term, |s| b.add(s, term)));
    }
    sum
}

/// By the first `inputs` inputs. `None` if there is nothing to compare.
fn sides(mut graph: Graph, output: Value, inputs: usize) -> Option<Sides> {
    let wrt: Vec<Value> = graph.inputs()[..inputs].to_vec();
    let wrt: Vec<Value> = wrt.into_iter().filter(|v| graph.ty(*v).dtype.is_float()).collect();
    let ct = graph.add_input(graph.ty(output).clone());
    let types: Vec<Type> = wrt.iter().map(|&v| graph.ty(v).clone()).collect();
    let tangents: Vec<Value> = types.into_iter().map(|ty| graph.add_input(ty)).collect();
    let given: Vec<(Value, Value)> = wrt.iter().copied().zip(tangents.iter().copied()).collect();
    let forward = append_jvp(&mut graph, &given, &[output]).values[0];
    let reverse = append_vjp(&mut graph, &[(output, ct)], &wrt).values;
    let mut b = emitter(&mut graph);
    let pairs: Vec<(Value, Value)> = reverse.iter().zip(&tangents).filter_map(|(g, t)| Some(((*g)?, *t))).collect();
    let sides = [sum_of_products(&mut b, &[(forward?, ct)])?, sum_of_products(&mut b, &pairs)?];
    graph.set_outputs(sides.to_vec());
    Some(Sides { graph, sides })
}

fn sample_graph(s: &Sample) -> Graph {
    let mut graph = Graph::new("sample");
    let inputs: Vec<Value> = s.operands.iter().map(|x| graph.add_input(x.ty())).collect();
    let y = ir::Emit::emit(&mut emitter(&mut graph), s.primitive.clone(), &inputs);
    graph.set_outputs(vec![y]);
    graph
}

/// Compares the sides, interpreted and compiled; false where there is no finite number to compare.
fn agree(s: &Sample, sides: &Sides, tolerance: f64) -> bool {
    let types = sides.graph.input_types();
    let given = s.operands.iter().cloned();
    let others = types[s.operands.len()..].iter().enumerate().map(|(i, ty)| numbers(ty, i));
    let inputs: Vec<Literal> = given.chain(others).collect();
    let Ok(interpreted) = interpret(&sides.graph, &inputs) else { return false };
    let executable = Executable::compile(&sides.graph, &[]).unwrap();
    let mut arrays: Vec<Input> = inputs.iter().map(|x| Input::Shared(array(x))).collect();
    let compiled = executable.call(&mut arrays).unwrap();
    let number = |l: &Literal| l.get(0).as_f64();
    let [a, b] = [0, 1].map(|i| number(&interpreted[i]));
    let [c, d] = [0, 1].map(|i| number(&compiled[i].to_literal().unwrap()));
    if ![a, b, c, d].iter().all(|x| x.is_finite() && x.abs() < 1e12) {
        return false;
    }
    let close = |x: f64, y: f64| (x - y).abs() <= tolerance * x.abs().max(y.abs()).max(1.0);
    assert!(close(a, b) && close(c, d) && close(a, c), "{s:?}\ninterpreted {a} {b}, compiled {c} {d}");
    true
}

fn samples() -> impl Iterator<Item = Sample> {
    let wide = |x: &Literal| !x.dtype().is_float() || x.dtype() == DType::F64;
    Primitive::all_samples()
        .into_iter()
        .filter(move |s| s.operands.iter().all(wide) && sample_graph(s).output_types()[0].dtype == DType::F64)
}

#[test]
fn compiled_and_interpreted_modes_are_each_others_transpose() {
    let mut compared = BTreeSet::new();
    for s in samples() {
        let graph = sample_graph(&s);
        let (output, inputs) = (graph.outputs()[0], s.operands.len());
        let Some(sides) = sides(graph, output, inputs) else { continue };
        if agree(&s, &sides, 1e-9) {
            compared.insert(s.primitive.name());
        }
    }
    assert!(compared.len() > 50, "only {compared:?}");
}

/// The function that is differentiated is a derivative itself: `<ct, J t>` of the op by its inputs, as both modes give it.
#[test]
fn derivatives_of_derivatives_are_each_others_transpose() {
    let mut compared = BTreeSet::new();
    for s in samples() {
        let graph = sample_graph(&s);
        let (output, inputs) = (graph.outputs()[0], s.operands.len());
        let Some(first) = sides(graph, output, inputs) else { continue };
        for side in first.sides {
            let Some(second) = sides(first.graph.clone(), side, inputs) else { continue };
            if agree(&s, &second, 1e-7) {
                compared.insert(s.primitive.name());
            }
        }
    }
    assert!(compared.len() > 30, "only {compared:?}");
}
