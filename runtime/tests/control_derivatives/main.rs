//! Derivatives of branches and loops: forward and reverse against finite differences in f64, interpreted and compiled, and
//! derivatives of derivatives.

#[path = "../../../tests/target/mod.rs"]
mod target;

mod calls;
mod loops;

use ir::ops::{GraphEmitter, create::Full};
use ir::verify::{Stage, verify};
use ir::{DType, Emit, EmitExt, Graph, Literal, Scalar, Value};
use passes::autodiff::{append_jvp, append_vjp};
use runtime::{Executable, Input, interpreter};

fn emitter(graph: &mut Graph) -> GraphEmitter<'_> {
    let region = graph.root();
    let origins = graph.op(graph.region(region).ops[0]).origins.clone();
    GraphEmitter { graph, region, origins }
}

/// The sum of all float outputs, each element weighted by its place.
fn total(mut g: Graph) -> Graph {
    let outputs = g.outputs().to_vec();
    let mut sum: Option<Value> = None;
    for v in outputs {
        let ty = g.ty(v).clone();
        if !ty.dtype.is_float() {
            continue;
        }
        let mut b = emitter(&mut g);
        let weights = Literal::from_fn(&ty.shape.known().unwrap(), ty.dtype, |i| Scalar::of(ty.dtype, 1.0 + i as f64));
        let weights = b.emit(ir::ops::create::Constant { value: weights }.into(), &[]);
        let product = b.mul(v, weights);
        let axes: Vec<usize> = (0..ty.rank()).collect();
        let part = b.reduce_sum(product, &axes);
        sum = Some(match sum {
            Some(s) => b.add(s, part),
            None => part,
        });
    }
    g.set_outputs(vec![sum.unwrap()]);
    g
}

fn float_inputs(g: &Graph) -> Vec<Value> {
    g.inputs().iter().copied().filter(|&v| g.ty(v).dtype.is_float()).collect()
}

/// The gradients of the only output by every float input.
fn gradient(mut g: Graph) -> Graph {
    let (loss, wrt) = (g.outputs()[0], float_inputs(&g));
    let one = emitter(&mut g).full_like(loss, 1.0);
    let found = append_vjp(&mut g, &[(loss, one)], &wrt);
    assert!(found.cuts.is_empty(), "{:?}", found.cuts);
    let values = found.values.into_iter().zip(&wrt);
    let values: Vec<Value> =
        values.map(|(g, &v)| (g, v)).collect::<Vec<_>>().into_iter().map(|(d, v)| d.unwrap_or(v)).collect();
    g.set_outputs(values);
    verify(&g, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{g}"));
    g
}

/// The derivative of the only output along tangents, which are further inputs.
fn tangent(mut g: Graph) -> Graph {
    let (loss, wrt) = (g.outputs()[0], float_inputs(&g));
    let pairs: Vec<(Value, Value)> = wrt.iter().map(|&v| (v, g.add_input(g.ty(v).clone()))).collect();
    let found = append_jvp(&mut g, &pairs, &[loss]);
    assert!(found.cuts.is_empty(), "{:?}", found.cuts);
    g.set_outputs(vec![found.values[0].expect("a tangent")]);
    verify(&g, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{g}"));
    g
}

fn interpret(g: &Graph, inputs: &[Literal]) -> Vec<Literal> {
    interpreter::interpret(g, inputs).unwrap_or_else(|e| panic!("{e}\n{g}"))
}

fn compiled(g: &Graph, inputs: &[Literal]) -> Vec<Literal> {
    let exe = Executable::compile(g, &[]).unwrap();
    assert!(exe.is_compiled(), "{:?}", exe.artifacts().fallback);
    let mut args: Vec<Input> = inputs.iter().map(|l| Input::Shared(target::array(l))).collect();
    exe.call(&mut args).unwrap().iter().map(|a| a.to_literal().unwrap()).collect()
}

fn close(want: f64, got: f64, what: &str) {
    assert!((want - got).abs() <= 2e-6 * want.abs().max(1.0), "{what}: {got}, not {want}");
}

/// By every element of every float input, the derivative of the only output by differences.
fn differences(g: &Graph, inputs: &[Literal]) -> Vec<Vec<f64>> {
    let at = |i: usize, e: usize, h: f64| {
        let mut moved = inputs.to_vec();
        let x = &inputs[i];
        moved[i] = Literal::from_fn(x.dims(), x.dtype(), |k| {
            Scalar::of(x.dtype(), x.get(k).as_f64() + if k == e { h } else { 0.0 })
        });
        interpret(g, &moved)[0].get(0).as_f64()
    };
    let h = 1e-5;
    let floats = inputs.iter().enumerate().filter(|(_, x)| x.dtype().is_float());
    floats.map(|(i, x)| (0..x.numel()).map(|e| (at(i, e, h) - at(i, e, -h)) / (2.0 * h)).collect()).collect()
}

/// Checks forward and reverse mode of the weighted sum of all outputs, and its second derivatives.
fn check(text: &str, inputs: &[Literal], reverse: bool) {
    let g = total(ir::text::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}")));
    let slopes = differences(&g, inputs);
    // Directions with every element another.
    let directions: Vec<Literal> = inputs
        .iter()
        .filter(|x| x.dtype().is_float())
        .map(|x| Literal::from_fn(x.dims(), x.dtype(), |i| Scalar::of(x.dtype(), 0.5 - 0.3 * (i % 4) as f64)))
        .collect();
    let along = |slopes: &[Vec<f64>]| -> f64 {
        let pairs = slopes.iter().zip(&directions);
        pairs.map(|(s, d)| s.iter().enumerate().map(|(i, s)| s * d.get(i).as_f64()).sum::<f64>()).sum()
    };
    let forward = tangent(g.clone());
    let all: Vec<Literal> = inputs.iter().chain(&directions).cloned().collect();
    close(along(&slopes), interpret(&forward, &all)[0].get(0).as_f64(), "forward, interpreted");
    close(along(&slopes), compiled(&forward, &all)[0].get(0).as_f64(), "forward, compiled");
    if !reverse {
        return;
    }
    let back = gradient(g.clone());
    for (way, found) in [("interpreted", interpret(&back, inputs)), ("compiled", compiled(&back, inputs))] {
        for (want, got) in slopes.iter().zip(&found) {
            for (e, want) in want.iter().enumerate() {
                close(
                    *want,
                    got.get(e).as_f64(),
                    &format!("reverse, {way}, element {e} of {slopes:?} {found:?}\n{back}"),
                );
            }
        }
    }
    // The gradient along the directions, and the gradient of that: forward and reverse over forward and over reverse.
    let second = differences(&with_directions(&forward, &directions), inputs);
    let over = gradient(forward.clone());
    let outs = interpret(&over, &all);
    for (want, got) in second.iter().zip(&outs) {
        want.iter().enumerate().for_each(|(e, w)| close_second(*w, got.get(e).as_f64(), "reverse over forward"));
    }
    let along_gradient = dotted(back, &directions);
    let twice = gradient(along_gradient.clone());
    for (way, outs) in [("interpreted", interpret(&twice, inputs)), ("compiled", compiled(&twice, inputs))] {
        for (want, got) in second.iter().zip(&outs) {
            want.iter()
                .enumerate()
                .for_each(|(e, w)| close_second(*w, got.get(e).as_f64(), &format!("reverse over reverse, {way}")));
        }
    }
    let forward_over = tangent(along_gradient);
    close_second(along(&second), interpret(&forward_over, &all)[0].get(0).as_f64(), "forward over reverse");
}

fn close_second(want: f64, got: f64, what: &str) {
    assert!((want - got).abs() <= 1e-4 * want.abs().max(1.0), "{what}: {got}, not {want}");
}

/// The graph with its last inputs bound to constants.
fn with_directions(g: &Graph, directions: &[Literal]) -> Graph {
    let mut bound = Graph::new("bound");
    let n = g.inputs().len() - directions.len();
    let mut arguments: Vec<Value> = g.inputs()[..n].iter().map(|&v| bound.add_input(g.ty(v).clone())).collect();
    let root = bound.root();
    let origin = g.origins.get(g.op(g.region(g.root()).ops[0]).origins[0]).clone();
    let origin = bound.origins.intern(origin);
    for d in directions {
        let value = ir::ops::create::Constant { value: d.clone() };
        let op = bound.append(root, value.into(), &[], &[], &[origin]).unwrap();
        arguments.push(bound.op(op).results[0]);
    }
    let outputs = bound.inline(root, g, &arguments);
    bound.set_outputs(outputs);
    bound
}

/// The sum of all outputs times directions.
fn dotted(mut g: Graph, directions: &[Literal]) -> Graph {
    let outputs = g.outputs().to_vec();
    let mut b = emitter(&mut g);
    let mut sum = b.emit(Full { value: Scalar::F64(0.0), shape: Default::default() }.into(), &[]);
    for (&v, d) in outputs.iter().zip(directions) {
        let weights = b.emit(ir::ops::create::Constant { value: d.clone() }.into(), &[]);
        let product = b.mul(v, weights);
        let axes: Vec<usize> = (0..d.rank()).collect();
        let part = b.reduce_sum(product, &axes);
        sum = b.add(sum, part);
    }
    g.set_outputs(vec![sum]);
    g
}

fn f64s(dims: &[usize], scale: f64) -> Literal {
    Literal::from_fn(dims, DType::F64, |i| Scalar::F64(((i * 7 + 3) % 11) as f64 * 0.13 * scale - 0.6 * scale))
}
