//! Gradients, of gradients too, against finite differences.

mod graphs;

use graphs::{eval, graph, optimize_and_compare, sample_inputs};
use ir::ops::contract::DotGeneral;
use ir::{DType, Emit, EmitExt, Graph, Literal, Scalar, Type, Value};
use passes::autodiff::append_vjp;

/// Makes the gradients of the first output by every input the outputs.
fn gradient(mut g: Graph) -> Graph {
    let (loss, wrt) = (g.outputs()[0], g.inputs().to_vec());
    let origins = g.op(g.defining_op(loss).unwrap().0).origins.clone();
    let root = g.root();
    let one = ir::ops::create::Full { value: Scalar::one(g.ty(loss).dtype), shape: g.ty(loss).shape.clone() };
    let one = g.append(root, one.into(), &[], &[], &origins).unwrap();
    let seed = g.op(one).results[0];
    let gradients = append_vjp(&mut g, &[(loss, seed)], &wrt);
    assert!(gradients.cuts.is_empty(), "{:?}", gradients.cuts);
    g.set_outputs(gradients.values.into_iter().map(|v| v.expect("a gradient by every input")).collect());
    g
}

/// The sum over all elements of `output * (1, 2, 3, …)`, so that every element counts differently.
fn weighted_sum(mut g: Graph, output: usize) -> Graph {
    let v = g.outputs()[output];
    let origins = g.op(g.defining_op(v).unwrap().0).origins.clone();
    let (root, ty) = (g.root(), g.ty(v).clone());
    let mut b = ir::ops::GraphEmitter { graph: &mut g, region: root, origins };
    let dims = ty.shape.known().unwrap();
    let weights = Literal::from_fn(&dims, ty.dtype, |i| Scalar::of(ty.dtype, 1.0 + i as f64));
    let weights = b.emit(ir::ops::create::Constant { value: weights }.into(), &[]);
    let product = b.mul(v, weights);
    let axes: Vec<usize> = (0..dims.len()).collect();
    let sum = b.reduce_sum(product, &axes);
    g.set_outputs(vec![sum]);
    g
}

fn check_gradient(g: &Graph) {
    let derived = gradient(g.clone());
    let inputs = sample_inputs(g);
    let gradients = eval(&derived, &inputs);
    for (i, input) in inputs.iter().enumerate() {
        for e in 0..input.numel() {
            let at = |h: f64| {
                let mut moved = inputs.clone();
                moved[i] = Literal::from_fn(input.dims(), DType::F64, |k| {
                    Scalar::F64(input.get(k).as_f64() + if k == e { h } else { 0.0 })
                });
                eval(g, &moved)[0].get(0).as_f64()
            };
            let h = 1e-5;
            let (want, got) = ((at(h) - at(-h)) / (2.0 * h), gradients[i].get(e).as_f64());
            assert!(
                (want - got).abs() <= 1e-6 * want.abs().max(1.0),
                "input {i} element {e}: {got}, differences give {want}, in\n{}",
                graphs::show(g)
            );
        }
    }
}

fn scalar_function(shapes: &[&[usize]], f: impl FnOnce(&mut graphs::Builder, &[Value]) -> Value) -> Graph {
    graph(|b| {
        let inputs: Vec<Value> = shapes.iter().map(|&s| b.input(Type::new(DType::F64, s))).collect();
        let y = f(b, &inputs);
        let axes: Vec<usize> = (0..b.ty(y).rank()).collect();
        vec![b.reduce_sum(y, &axes)]
    })
}

fn functions() -> Vec<Graph> {
    let none = Default::default;
    let dot = DotGeneral {
        lhs_batch: none(),
        rhs_batch: none(),
        lhs_contract: [1].as_slice().into(),
        rhs_contract: [0].as_slice().into(),
    };
    vec![
        scalar_function(&[&[3]], |b, v| {
            let s = b.sin(v[0]);
            let e = b.exp(s);
            b.mul(e, v[0])
        }),
        scalar_function(&[&[2, 3], &[3]], |b, v| {
            let shape = b.ty(v[0]).shape.clone();
            let y = b.broadcast_in_dim(v[1], &shape, &[1]);
            let p = b.mul(v[0], y);
            let q = b.mul(p, y);
            b.sin(q)
        }),
        scalar_function(&[&[2, 3], &[3, 4]], move |b, v| {
            let p = b.emit(dot.into(), &[v[0], v[1]]);
            let s = b.cos(p);
            b.mul(s, p)
        }),
        scalar_function(&[&[2, 4]], |b, v| {
            let shape = b.ty(v[0]).shape.clone();
            let sines = b.sin(v[0]);
            let e = b.exp(sines);
            let sum = b.reduce_sum(e, &[1]);
            let sum = b.broadcast_reduced(sum, &shape, &[1]);
            let p = b.div(e, sum);
            b.mul(p, v[0])
        }),
        scalar_function(&[&[4], &[4]], |b, v| {
            let x2 = b.mul(v[0], v[0]);
            let one = b.full_like(x2, 1.0);
            let base = b.add(x2, one);
            // Away from the exponent 0, where the rule for powers gives up mixed second derivatives.
            let shift = b.full_like(base, 0.03);
            let exponent = b.add(v[1], shift);
            let p = b.pow(base, exponent);
            let root = b.sqrt(base);
            let l = b.log(p);
            b.div(l, root)
        }),
    ]
}

#[test]
fn first_and_second_gradients_agree_with_differences() {
    for g in functions() {
        check_gradient(&g);
        let first = gradient(g);
        for i in 0..first.outputs().len() {
            check_gradient(&weighted_sum(first.clone(), i));
        }
    }
}

#[test]
fn gradients_go_through_the_pipeline() {
    for g in functions() {
        let first = gradient(g);
        let second = gradient(weighted_sum(first.clone(), 0));
        for g in [first, second] {
            let inputs = sample_inputs(&g);
            let after = optimize_and_compare(&g, inputs);
            passes::lower::lower(&after, &[]).unwrap();
        }
    }
}

#[test]
fn gradient_ops_say_so() {
    let g = gradient(functions().remove(0));
    let after = passes::optimize(g, &passes::Settings::default(), None).unwrap().graph;
    let fused = after.op(*after.region(after.root()).ops.last().unwrap());
    let text: Vec<String> = fused.origins.iter().map(|&o| after.origins.get(o).to_string()).collect();
    assert!(text.iter().any(|t| t.starts_with("gradient of model.rs:")), "{text:?}");
}

#[test]
fn a_gradient_that_ends_names_the_op_and_its_line() {
    let mut g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        let i = b.emit(ir::ops::reduce::ArgMax { axes: [0].as_slice().into() }.into(), &[x]);
        let y = b.convert(i, DType::F32);
        let z = b.input(Type::new(DType::F32, [] as [usize; 0]));
        vec![b.mul(y, z)]
    });
    let (loss, x, z) = (g.outputs()[0], g.inputs()[0], g.inputs()[1]);
    let found = append_vjp(&mut g, &[(loss, z)], &[x, z]);
    assert!(found.values[0].is_none() && found.values[1].is_some());
}
