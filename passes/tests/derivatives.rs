//! Forward mode against reverse mode, and graphs cut in two, over the samples of every primitive.

mod graphs;

use graphs::{eval, graph, same, show, try_eval};
use ir::ops::{Sample, contract, reduce, unary};
use ir::verify::{Stage, verify};
use ir::{DType, Dim, Emit, EmitExt, Graph, Literal, Primitive, Scalar, Shape, Type, Value};
use passes::autodiff::{Again, Partition, Residual, append_jvp, append_vjp, partition};
use std::collections::BTreeSet;

/// A graph that yields the results of an op, and its gradients by all float inputs, given a cotangent for each.
struct Pulled {
    graph: Graph,
    primal: Vec<Value>,
    outputs: Vec<Value>,
    cotangents: Vec<Value>,
    wrt: Vec<Value>,
    gradients: Vec<Option<Value>>,
}

fn pulled(mut g: Graph) -> Option<Pulled> {
    let float = |g: &Graph, v: &Value| g.ty(*v).dtype.is_float();
    let (primal, outputs) = (g.inputs().to_vec(), g.outputs().to_vec());
    let wrt: Vec<Value> = primal.iter().copied().filter(|v| float(&g, v)).collect();
    let floats: Vec<Value> = outputs.iter().copied().filter(|v| float(&g, v)).collect();
    if wrt.is_empty() || floats.is_empty() {
        return None;
    }
    let types: Vec<Type> = floats.iter().map(|&v| g.ty(v).clone()).collect();
    let cotangents: Vec<Value> = types.into_iter().map(|ty| g.add_input(ty)).collect();
    let seeds: Vec<(Value, Value)> = floats.iter().copied().zip(cotangents.iter().copied()).collect();
    let found = append_vjp(&mut g, &seeds, &wrt);
    Some(Pulled { graph: g, primal, outputs, cotangents, wrt, gradients: found.values })
}

fn sample_graph(s: &Sample) -> Graph {
    graph(|b| {
        let inputs: Vec<Value> = s.operands.iter().map(|x| b.input(x.ty())).collect();
        vec![b.emit(s.primitive.clone(), &inputs)]
    })
}

fn samples() -> impl Iterator<Item = Sample> {
    Primitive::all_samples().into_iter()
}

fn numbers(ty: &Type, seed: usize) -> Literal {
    let dims = ty.shape.known().expect("a static shape");
    Literal::from_fn(&dims, ty.dtype, |i| Scalar::of(ty.dtype, ((i * 29 + seed * 17) % 23) as f64 / 8.0 - 1.4))
}

/// `<ct, J t>` is `<Jᵀ ct, t>`, whatever `t` and `ct` are.
#[test]
fn forward_and_reverse_mode_are_each_others_transpose() {
    let mut compared = BTreeSet::new();
    for s in samples().filter(|s| s.operands.iter().all(|x| !x.dtype().is_float() || x.dtype() == DType::F64)) {
        let g = sample_graph(&s);
        if g.output_types()[0].dtype != DType::F64 {
            continue;
        }
        let Some(Pulled { graph: mut g, outputs, cotangents, wrt, gradients, .. }) = pulled(g) else { continue };
        let types: Vec<Type> = wrt.iter().map(|&v| g.ty(v).clone()).collect();
        let tangents: Vec<Value> = types.iter().map(|ty| g.add_input(ty.clone())).collect();
        let given: Vec<(Value, Value)> = wrt.iter().copied().zip(tangents).collect();
        let pushed = append_jvp(&mut g, &given, &outputs);
        let (forward, reverse) = (pushed.values[0], &gradients);
        assert_eq!(forward.is_some(), reverse.iter().any(Option::is_some), "{:?}", s.primitive);
        let Some(forward) = forward else { continue };
        g.set_outputs(std::iter::once(forward).chain(reverse.iter().flatten().copied()).collect());
        assert_eq!(verify(&g, Stage::Traced), Ok(()), "{}", show(&g));
        let ct = numbers(g.ty(cotangents[0]), 1);
        let ts: Vec<Literal> = types.iter().enumerate().map(|(i, ty)| numbers(ty, i + 2)).collect();
        let arguments: Vec<Literal> = s.operands.iter().chain([&ct]).chain(&ts).cloned().collect();
        let Ok(values) = try_eval(&g, &arguments) else { continue };
        let product = |a: &Literal, b: &Literal| -> (f64, f64) {
            let terms = a.iter().zip(b.iter()).map(|(x, y)| x.as_f64() * y.as_f64());
            terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
        };
        let left = product(&values[0], &ct);
        let found = ts.iter().zip(reverse).filter_map(|(t, g)| g.map(|_| t));
        let right = values[1..].iter().zip(found).map(|(g, t)| product(g, t));
        let right = right.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        if !left.0.is_finite() || !right.0.is_finite() {
            continue;
        }
        assert!((left.0 - right.0).abs() <= 1e-9 * (left.1 + right.1).max(1e-3), "{s:?}\n{left:?} {right:?}");
        compared.insert(s.primitive.name());
    }
    assert!(compared.len() > 50, "only {compared:?}");
}

fn check(p: &Pulled, again: Again, arguments: &[Literal]) -> Partition {
    let gradients: Vec<Value> = p.gradients.iter().flatten().copied().collect();
    let cut = partition(&p.graph, &p.primal, &p.outputs, &gradients, again);
    for g in [&cut.forward, &cut.backward] {
        assert_eq!(verify(g, Stage::Traced), Ok(()), "{}\nof\n{}", show(g), show(&p.graph));
    }
    let distinct: BTreeSet<String> = cut.residuals.iter().map(|r| format!("{r:?}")).collect();
    assert_eq!(distinct.len(), cut.residuals.len(), "{:?}", cut.residuals);
    let mut whole = p.graph.clone();
    whole.set_outputs(p.outputs.iter().copied().chain(gradients).collect());
    let (primal, late) = arguments.split_at(p.primal.len());
    let Ok(want) = try_eval(&whole, arguments) else { return cut };
    let first = eval(&cut.forward, primal);
    let residual = |r: &Residual| match *r {
        Residual::Input(i) => primal[i].clone(),
        Residual::Output(i) => first[i].clone(),
    };
    let given: Vec<Literal> = cut.residuals.iter().map(residual).chain(late.iter().cloned()).collect();
    let second = eval(&cut.backward, &given);
    let got: Vec<Literal> = first[..p.outputs.len()].iter().chain(&second).cloned().collect();
    assert!(want.iter().zip(&got).all(|(a, b)| same(a, b)), "{}\n{want:?}\n{got:?}", show(&p.graph));
    cut
}

#[test]
fn a_graph_in_two_parts_computes_the_same_bits() {
    for s in samples() {
        let Some(p) = pulled(sample_graph(&s)) else { continue };
        let late = p.cotangents.iter().enumerate().map(|(i, &v)| numbers(p.graph.ty(v), i));
        let arguments: Vec<Literal> = s.operands.iter().cloned().chain(late).collect();
        for again in [Again::Cheap, Again::Free, Again::All] {
            check(&p, again, &arguments);
        }
    }
}

/// What is saved of a function of f64 inputs of those shapes, and how many ops the second part has.
fn saved(
    shapes: &[&[usize]],
    again: Again,
    f: impl FnOnce(&mut graphs::Builder, &[Value]) -> Value,
) -> (Vec<Residual>, usize) {
    let g = graph(|b| {
        let inputs: Vec<Value> = shapes.iter().map(|&s| b.input(Type::new(DType::F64, s))).collect();
        vec![f(b, &inputs)]
    });
    let p = pulled(g).unwrap();
    assert_eq!(p.wrt.len(), shapes.len());
    let arguments: Vec<Literal> = p.graph.input_types().iter().enumerate().map(|(i, ty)| numbers(ty, i)).collect();
    let cut = check(&p, again, &arguments);
    (cut.residuals, cut.backward.region(cut.backward.root()).ops.len())
}

#[test]
fn residuals_are_what_the_gradient_cannot_do_without() {
    use Residual::{Input, Output};
    let cheap = |shapes: &[&[usize]], f: fn(&mut graphs::Builder, &[Value]) -> Value| saved(shapes, Again::Cheap, f).0;
    // The cosine is computed where it is needed, of what is there.
    assert_eq!(cheap(&[&[3]], |b, v| b.sin(v[0])), [Input(0)]);
    // The result itself is enough.
    assert_eq!(cheap(&[&[3]], |b, v| b.exp(v[0])), [Output(0)]);
    assert_eq!(cheap(&[&[3], &[3]], |b, v| b.add(v[0], v[1])), []);
    assert_eq!(cheap(&[&[3], &[3]], |b, v| b.mul(v[0], v[1])), [Input(0), Input(1)]);
    // Views and cheap arithmetic of an input, and what is large, are not saved.
    let broadcast = |b: &mut graphs::Builder, v: &[Value]| {
        let shape: Shape = [64, 3].as_slice().into();
        let wide = b.broadcast_in_dim(v[0], &shape, &[1]);
        let square = b.mul(wide, wide);
        b.sin(square)
    };
    assert_eq!(cheap(&[&[3]], broadcast), [Input(0)]);
    // A product is dear, and so is a function; each is saved once, though two rules ask for the first.
    let dense = |b: &mut graphs::Builder, v: &[Value]| {
        let dot = contract::DotGeneral {
            lhs_batch: Default::default(),
            rhs_batch: Default::default(),
            lhs_contract: [1].as_slice().into(),
            rhs_contract: [0].as_slice().into(),
        };
        let hidden = b.emit(dot.into(), &[v[0], v[1]]);
        let curve = b.emit(unary::Erf {}.into(), &[hidden]);
        b.mul(hidden, curve)
    };
    assert_eq!(cheap(&[&[2, 4], &[4, 5]], dense), [Input(0), Input(1), Output(1), Output(2)]);
    // The maximum of a row is small.
    let row = |b: &mut graphs::Builder, v: &[Value]| {
        let square = b.mul(v[0], v[0]);
        let most = b.emit(reduce::ReduceMax { axes: [1].as_slice().into(), nonempty: false }.into(), &[square]);
        b.exp(most)
    };
    assert_eq!(cheap(&[&[8, 100]], row), [Input(0), Output(1), Output(0)]);
}

#[test]
fn a_second_part_that_runs_often_finds_everything_computed() {
    let sine = |b: &mut graphs::Builder, v: &[Value]| b.sin(v[0]);
    let (residuals, ops) = saved(&[&[3]], Again::Free, sine);
    assert_eq!((residuals.as_slice(), ops), (&[Residual::Output(1)][..], 1));
    assert_eq!(saved(&[&[3]], Again::Cheap, sine).1, 2);
}

#[test]
fn a_caller_that_knows_inputs_and_outputs_alone_is_asked_for_no_more() {
    use Residual::{Input, Output};
    let chain = |b: &mut graphs::Builder, v: &[Value]| {
        let (e, s) = (b.exp(v[0]), b.sin(v[1]));
        let (e, s) = (b.sin(e), b.exp(s));
        b.mul(e, s)
    };
    assert_eq!(saved(&[&[3], &[3]], Again::All, chain).0, [Input(0), Input(1)]);
    assert_eq!(saved(&[&[3]], Again::All, |b, v| b.exp(v[0])).0, [Output(0)]);
}

/// The gradient of a sum has the extents of what was summed, which no cotangent knows.
#[test]
fn extents_come_along_where_no_other_residual_has_them() {
    let mut g = graph(|b| {
        let (rows, columns) = (Dim::symbol("R"), Dim::symbol("C"));
        let x = b.input(Type::new(DType::F32, [rows, columns].into_iter().collect::<Shape>()));
        vec![b.reduce_sum(x, &[0, 1])]
    });
    g.symbols = ["R", "C"].map(|s| ir::graph::SymbolDecl { symbol: ir::Symbol::new(s), min: 0, max: 100 }).to_vec();
    let p = pulled(g).unwrap();
    let gradients: Vec<Value> = p.gradients.iter().flatten().copied().collect();
    let cut = partition(&p.graph, &p.primal, &p.outputs, &gradients, Again::Cheap);
    assert_eq!(cut.residuals, [Residual::Output(1)]);
    assert_eq!(cut.forward.output_types()[1].to_string(), "bool[C, R, 0]");
    assert_eq!(verify(&cut.backward, Stage::Traced), Ok(()), "{}", show(&cut.backward));
    // An input that costs no memory serves as well.
    let mut g = p.graph.clone();
    let dims = [Dim::symbol("R"), Dim::symbol("C"), Dim::from(0)];
    let extents = g.add_input(Type::new(DType::Bool, dims.into_iter().collect::<Shape>()));
    let known = [p.primal[0], extents];
    let cut = partition(&g, &known, &p.outputs, &gradients, Again::Cheap);
    assert_eq!((cut.residuals, cut.forward.outputs().len()), (vec![Residual::Input(1)], 1));
}

/// What stands behind a fence is computed again by the second graph, even where saving it would take no more.
#[test]
fn nothing_behind_a_fence_is_saved() {
    let mut made = Vec::new();
    let g = graph(|b| {
        let [x, cotangent] = [4usize, 4].map(|n| b.input(Type::new(DType::F64, [n])));
        let a = b.exp(x);
        let y = b.emit(unary::Tanh {}.into(), &[a]);
        let fenced = b.emit(ir::ops::control::Fence {}.into(), &[a]);
        let again = b.emit(unary::Tanh {}.into(), &[fenced]);
        let square = b.mul(again, again);
        made = vec![x, y];
        vec![b.mul(square, cotangent)]
    });
    let cut = partition(&g, &made[..1], &made[1..], g.outputs(), Again::Cheap);
    assert_eq!(cut.residuals, [Residual::Output(1)]);
    let ops = |g: &Graph| g.region(g.root()).ops.iter().map(|&op| g.op(op).primitive.name()).collect::<Vec<_>>();
    assert_eq!((ops(&cut.forward), ops(&cut.backward)), (vec!["exp", "tanh"], vec!["fence", "tanh", "mul", "mul"]));
}
