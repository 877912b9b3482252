//! Views, reductions, products and indexed reads beyond what the samples show: values that are easy to get wrong,
//! errors, rewrites, gradients at corners, and symbolic extents.

mod support;

use ir::graph::Graph;
use ir::ops::contract::DotGeneral;
use ir::ops::index::{Gather, IndexMode, Scatter, Update};
use ir::ops::reduce::*;
use ir::ops::view::*;
use ir::{Axes, DType, Dim, Emit, EmitExt, EvalError, Literal, Primitive, Scalar, Shape, Symbol, Type, Value};
use smallvec::smallvec;
use support::gradients::append_gradients;
use support::rewriting::canonicalize;
use support::{call, emitter, evaluate, graph_of, same, weights};

fn f32s(dims: &[usize], data: &[f32]) -> Literal {
    Literal::from_vec(dims, data.to_vec())
}
fn f64s(dims: &[usize], data: &[f64]) -> Literal {
    Literal::from_vec(dims, data.to_vec())
}
fn i64s(dims: &[usize], data: &[i64]) -> Literal {
    Literal::from_vec(dims, data.to_vec())
}
fn axes(list: &[usize]) -> Axes {
    Axes::from_slice(list)
}
fn shape(dims: &[&str]) -> Shape {
    dims.iter().map(|d| d.parse::<Dim>().unwrap()).collect()
}

#[test]
fn reductions_of_odd_values() {
    let row = |data: &[f32]| f32s(&[data.len()], data);
    let max = |data: &[f32]| call(ReduceMax { axes: axes(&[0]), nonempty: false }, &[row(data)]).unwrap().get(0);
    let min = |data: &[f32]| call(ReduceMin { axes: axes(&[0]), nonempty: false }, &[row(data)]).unwrap().get(0);
    assert_eq!(max(&[-0.0, 0.0, -0.0]), Scalar::F32(0.0));
    assert_eq!(min(&[0.0, -0.0, 0.0]), Scalar::F32(-0.0));
    assert!(max(&[1.0, f32::NAN, f32::INFINITY]).as_f64().is_nan());
    assert!(min(&[f32::NEG_INFINITY, f32::NAN]).as_f64().is_nan());
    assert_eq!(max(&[]), Scalar::F32(f32::NEG_INFINITY));
    assert_eq!(min(&[]), Scalar::F32(f32::INFINITY));
    let none = |dtype| Literal::from_fn(&[0], dtype, |_| unreachable!());
    let over = |op: Primitive, dtype| call(op, &[none(dtype)]).unwrap().get(0);
    assert_eq!(over(ReduceMax { axes: axes(&[0]), nonempty: false }.into(), DType::I32), Scalar::I32(i32::MIN));
    assert_eq!(over(ReduceMin { axes: axes(&[0]), nonempty: false }.into(), DType::U8), Scalar::U8(255));
    assert_eq!(over(ReduceMax { axes: axes(&[0]), nonempty: false }.into(), DType::Bool), Scalar::Bool(false));
    assert_eq!(over(ReduceSum { axes: axes(&[0]) }.into(), DType::F16).as_f64(), 0.0);
    assert_eq!(over(ReduceProd { axes: axes(&[0]) }.into(), DType::I64), Scalar::I64(1));
    assert_eq!(over(ReduceAny { axes: axes(&[0]) }.into(), DType::Bool), Scalar::Bool(false));
    assert_eq!(over(ReduceAll { axes: axes(&[0]) }.into(), DType::Bool), Scalar::Bool(true));
    let sum = call(ReduceSum { axes: axes(&[0]) }, &[Literal::from_vec(&[3], vec![200u8, 100, 1])]).unwrap();
    assert_eq!(sum.get(0), Scalar::U8(45));
    // f16 holds no odd integer above 2048, so a sum that rounded at each step would stay there.
    let many = Literal::filled(&[4096], Scalar::of(DType::F16, 1.0));
    assert_eq!(call(ReduceSum { axes: axes(&[0]) }, &[many]).unwrap().get(0).as_f64(), 4096.0);
    assert_eq!(call(ReduceSum { axes: axes(&[]) }, &[f32s(&[1], &[-0.0])]).unwrap().get(0), Scalar::F32(-0.0));
}

#[test]
fn positions_of_extremes() {
    let arg = |larger: bool, data: &[f64]| {
        let x = f64s(&[data.len()], data);
        let out =
            if larger { call(ArgMax { axes: axes(&[0]) }, &[x]) } else { call(ArgMin { axes: axes(&[0]) }, &[x]) };
        out.unwrap().get(0).as_i64()
    };
    let nan = f64::NAN;
    assert_eq!(arg(true, &[1.0, 3.0, 3.0]), 1);
    assert_eq!(arg(false, &[2.0, 1.0, 1.0]), 1);
    assert_eq!(arg(true, &[1.0, nan, 9.0, nan]), 1);
    assert_eq!(arg(false, &[1.0, 0.0, nan]), 2);
    assert_eq!(arg(true, &[-0.0, 0.0]), 0);
    assert_eq!(arg(false, &[0.0, -0.0]), 0);
    assert_eq!(arg(true, &[f64::NEG_INFINITY, f64::NEG_INFINITY]), 0);
}

#[test]
fn products_wrap_and_accumulate_wide() {
    let dot =
        DotGeneral { lhs_batch: axes(&[]), rhs_batch: axes(&[]), lhs_contract: axes(&[0]), rhs_contract: axes(&[0]) };
    let wrapped = call(dot.clone(), &[i64s(&[2], &[i64::MAX, 1]), i64s(&[2], &[2, 5])]).unwrap();
    assert_eq!(wrapped.get(0), Scalar::I64(3));
    let ones = Literal::filled(&[4096], Scalar::of(DType::BF16, 1.0));
    assert_eq!(call(dot.clone(), &[ones.clone(), ones]).unwrap().get(0).as_f64(), 4096.0);
    let nothing = call(dot, &[f32s(&[0], &[]), f32s(&[0], &[])]).unwrap();
    assert_eq!(nothing.get(0), Scalar::F32(0.0));
}

#[test]
fn an_index_out_of_range_is_named() {
    let x = f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let at = |axis, mode| Gather { axis, batch: 0, mode };
    let bad = i64s(&[3], &[2, 7, -1]);
    let e = call(at(1, IndexMode::Error), &[x.clone(), bad.clone()]).unwrap_err();
    assert_eq!(e, EvalError::IndexOutOfRange { index: 7, axis: 1, extent: 3 });
    assert_eq!(e.to_string(), "index 7 is out of range for axis 1 of extent 3");
    let read = |mode| call(at(1, mode), &[x.clone(), bad.clone()]).unwrap();
    assert_eq!(read(IndexMode::Clamp), f32s(&[2, 3], &[3.0, 3.0, 1.0, 6.0, 6.0, 4.0]));
    assert_eq!(read(IndexMode::Fill), f32s(&[2, 3], &[3.0, 0.0, 0.0, 6.0, 0.0, 0.0]));
    // The first in row-major order of the result; nothing reads the index where the result is empty.
    let rows = Gather { axis: 1, batch: 1, mode: IndexMode::Error };
    let e = call(rows, &[x.clone(), i64s(&[2], &[-4, 9])]).unwrap_err();
    assert_eq!(e, EvalError::IndexOutOfRange { index: -4, axis: 1, extent: 3 });
    assert!(call(at(0, IndexMode::Error), &[f32s(&[3, 0], &[]), i64s(&[1], &[5])]).is_ok());
    let scatter = |mode| {
        let op = Scatter { axis: 0, batch: 0, mode, combine: Update::Add };
        call(op, &[f32s(&[2], &[1.0, 2.0]), i64s(&[3], &[1, 5, -1]), f32s(&[3], &[10.0, 20.0, 30.0])])
    };
    let e = scatter(IndexMode::Error).unwrap_err();
    assert_eq!(e, EvalError::IndexOutOfRange { index: 5, axis: 0, extent: 2 });
    assert_eq!(scatter(IndexMode::Clamp).unwrap(), f32s(&[2], &[31.0, 32.0]));
    assert_eq!(scatter(IndexMode::Fill).unwrap(), f32s(&[2], &[1.0, 12.0]));
}

/// The gradient by the first input of a graph with one output, for a cotangent of ones.
fn gradient(build: impl Fn(&mut dyn Emit, &[Value]) -> Value, inputs: &[Literal]) -> Literal {
    let (mut graph, values) = graph_of(inputs.iter().map(Literal::ty));
    let output = build(&mut emitter(&mut graph), &values);
    let ones = emitter(&mut graph).full_like(output, 1.0);
    let gradients = append_gradients(&mut graph, output, ones, &values[..1]).expect("differentiable");
    graph.set_outputs(vec![gradients[0].expect("a gradient")]);
    evaluate(&graph, inputs).unwrap().remove(0)
}

#[test]
fn gradients_at_corners() {
    let product = |b: &mut dyn Emit, v: &[Value]| b.emit(ReduceProd { axes: axes(&[0]) }.into(), v);
    for (x, by_hand) in [
        (vec![2.0, 3.0, 4.0], vec![12.0, 8.0, 6.0]),
        (vec![2.0, 0.0, 4.0], vec![0.0, 8.0, 0.0]),
        (vec![0.0, 0.0, 4.0], vec![0.0, 0.0, 0.0]),
        (vec![5.0], vec![1.0]),
        (vec![1e200, 1e200, 1e-200, 1e-200, 2.0], vec![2e-200, 2e-200, 2e200, 2e200, 1.0]),
    ] {
        let got = gradient(product, &[f64s(&[x.len()], &x)]);
        for (a, b) in got.iter().zip(&by_hand) {
            assert!((a.as_f64() - b).abs() <= 1e-12 * b.abs(), "{x:?}: {got:?}");
        }
    }
    let max = |b: &mut dyn Emit, v: &[Value]| b.emit(ReduceMax { axes: axes(&[0]), nonempty: false }.into(), v);
    assert_eq!(gradient(max, &[f64s(&[4], &[3.0, 1.0, 3.0, 2.0])]), f64s(&[4], &[0.5, 0.0, 0.5, 0.0]));
    let with_nan = gradient(max, &[f64s(&[2], &[f64::NAN, 1.0])]);
    assert!(with_nan.iter().all(|s| s.as_f64().is_nan()), "{with_nan:?}");
    // An index out of range in a gradient has failed the call already; clamped, it goes to the edge.
    for batch in [0, 1] {
        let dims: &[usize] = if batch == 1 { &[1, 3] } else { &[3] };
        let x = f64s(dims, &[1.0, 2.0, 3.0]);
        let index = i64s(&[1], &[9]);
        let read = |mode| {
            let op = Gather { axis: batch, batch, mode };
            gradient(move |b, v| b.emit(op.clone().into(), v), &[x.clone(), index.clone()])
        };
        assert_eq!(read(IndexMode::Clamp), f64s(dims, &[0.0, 0.0, 1.0]));
        assert_eq!(read(IndexMode::Fill), f64s(dims, &[0.0, 0.0, 0.0]));
    }
}

#[test]
fn gradients_of_updates_that_share_a_place() {
    let (x, index) = (f64s(&[3], &[1.0, 2.0, 3.0]), i64s(&[4], &[1, 1, 0, 1]));
    let both = |combine, updates: &[f64]| {
        let op = Scatter { axis: 0, batch: 0, mode: IndexMode::Error, combine };
        let call = |b: &mut dyn Emit, v: [Value; 3]| b.emit(op.clone().into(), &v);
        let u = f64s(&[4], updates);
        let of_x = gradient(|b, v| call(b, [v[0], v[1], v[2]]), &[x.clone(), index.clone(), u.clone()]);
        (of_x, gradient(|b, v| call(b, [v[1], v[2], v[0]]), &[u, x.clone(), index.clone()]))
    };
    let expect = |x: &[f64], u: &[f64]| (f64s(&[3], x), f64s(&[4], u));
    // The last of those that write to place 1 stays.
    assert_eq!(both(Update::Set, &[5.0, 6.0, 7.0, 8.0]), expect(&[0.0, 0.0, 1.0], &[0.0, 0.0, 1.0, 1.0]));
    assert_eq!(both(Update::Add, &[5.0, 6.0, 7.0, 8.0]), expect(&[1.0; 3], &[1.0; 4]));
    assert_eq!(both(Update::Mul, &[5.0, 0.0, 7.0, 8.0]), expect(&[7.0, 0.0, 1.0], &[0.0, 80.0, 1.0, 0.0]));
    assert_eq!(both(Update::Mul, &[0.0, 0.0, 7.0, 8.0]), expect(&[7.0, 0.0, 1.0], &[0.0, 0.0, 1.0, 0.0]));
    assert_eq!(
        both(Update::Max, &[2.0, 1.0, 0.5, 2.0]),
        expect(&[1.0, 1.0 / 3.0, 1.0], &[1.0 / 3.0, 0.0, 0.0, 1.0 / 3.0])
    );
    assert_eq!(both(Update::Min, &[0.5, 1.0, 9.0, 0.5]), expect(&[1.0, 0.0, 1.0], &[0.5, 0.0, 0.0, 0.5]));
}

#[test]
fn second_derivatives_of_products_hold_at_zeros() {
    // d²(x·y·z) / dx dy = z, also where all of x and y are 0.
    let x = f64s(&[3], &[0.0, 0.0, 7.0]);
    let (mut graph, v) = graph_of([x.ty()]);
    let p = emitter(&mut graph).emit(ReduceProd { axes: axes(&[0]) }.into(), &v);
    let one = emitter(&mut graph).full_like(p, 1.0);
    let first = append_gradients(&mut graph, p, one, &v).unwrap()[0].unwrap();
    let only_x =
        emitter(&mut graph).emit(ir::ops::create::Constant { value: f64s(&[3], &[1.0, 0.0, 0.0]) }.into(), &[]);
    let second = append_gradients(&mut graph, first, only_x, &v).unwrap()[0].unwrap();
    graph.set_outputs(vec![second]);
    assert_eq!(evaluate(&graph, &[x]).unwrap()[0], f64s(&[3], &[0.0, 7.0, 0.0]));
}

/// In mode `error` the gradient checks for itself, since the forward pass may be dead code; without a check it is a
/// comparison along the axis, which fuses.
#[test]
fn the_gradient_of_a_gather_of_one_index_each() {
    for mode in [IndexMode::Error, IndexMode::Clamp, IndexMode::Fill] {
        let (mut graph, v) = graph_of([Type::new(DType::F32, [4, 10]), Type::new(DType::I64, [4])]);
        let read = emitter(&mut graph).emit(Gather { axis: 1, batch: 1, mode }.into(), &v);
        let ct = emitter(&mut graph).full_like(read, 1.0);
        let before = graph.region(graph.root()).ops.len();
        let g = append_gradients(&mut graph, read, ct, &v[..1]).unwrap()[0].unwrap();
        graph.set_outputs(vec![g]);
        let added = &graph.region(graph.root()).ops[before..];
        let fallible = added.iter().any(|&op| graph.op(op).primitive.traits().fallible);
        let scatters = added.iter().any(|&op| graph.op(op).primitive.name() == "scatter");
        assert_eq!((fallible, scatters), (mode == IndexMode::Error, mode == IndexMode::Error), "{mode:?}");
    }
}

/// Names of the ops that are left after canonicalisation, with the types of the outputs.
fn simplified(inputs: &[Type], build: impl Fn(&mut dyn Emit, &[Value]) -> Value) -> (String, Graph) {
    let (mut graph, v) = graph_of(inputs.iter().cloned());
    let output = build(&mut emitter(&mut graph), &v);
    graph.set_outputs(vec![output]);
    canonicalize(&mut graph);
    graph.compact();
    let ops: Vec<String> =
        graph.region(graph.root()).ops.iter().map(|&op| format!("{:?}", graph.op(op).primitive)).collect();
    (ops.join("; "), graph)
}

#[test]
fn rewrites() {
    let f = |dims: &[&str]| Type::new(DType::F32, shape(dims));
    let x = || f(&["B", "3", "4"]);
    let check = |ty: Type, expected: &str, build: &dyn Fn(&mut dyn Emit, &[Value]) -> Value| {
        let (ops, _) = simplified(std::slice::from_ref(&ty), build);
        assert_eq!(ops, expected, "on {ty}");
    };
    check(x(), "", &|b, v| {
        let t = b.transpose(v[0], &[2, 0, 1]);
        b.transpose(t, &[1, 2, 0])
    });
    check(x(), r#"transpose{"permutation": [0, 2, 1]}"#, &|b, v| {
        let t = b.transpose(v[0], &[2, 0, 1]);
        b.transpose(t, &[1, 0, 2])
    });
    check(f(&["B", "1", "4"]), r#"reshape{"shape": [1, B, 4]}"#, &|b, v| b.transpose(v[0], &[1, 0, 2]));
    check(x(), "", &|b, v| {
        let r = b.reshape(v[0], &shape(&["3*B", "4"]));
        b.reshape(r, &shape(&["B", "3", "4"]))
    });
    check(x(), r#"reshape{"shape": [12*B]}"#, &|b, v| {
        let r = b.reshape(v[0], &shape(&["B", "12"]));
        b.reshape(r, &shape(&["12*B"]))
    });
    check(f(&["4"]), r#"broadcast_in_dim{"shape": [B, 3, 4], "dims": [2]}"#, &|b, v| {
        let r = b.broadcast_in_dim(v[0], &shape(&["3", "4"]), &[1]);
        b.broadcast_in_dim(r, &shape(&["B", "3", "4"]), &[1, 2])
    });
    check(f(&["B"]), r#"broadcast_in_dim{"shape": [B, 4], "dims": [0]}"#, &|b, v| {
        let r = b.reshape(v[0], &shape(&["B", "1"]));
        b.broadcast_in_dim(r, &shape(&["B", "4"]), &[0, 1])
    });
    check(f(&["B"]), r#"full{"value": 2.0:f32, "shape": [B, 4]}"#, &|b, _| {
        let c = b.full(Scalar::F32(2.0), &Shape::scalar());
        b.broadcast_in_dim(c, &shape(&["B", "4"]), &[])
    });
    let slice = |starts: &[&str], limits: &[&str], strides: &[usize]| -> Primitive {
        Slice { starts: shape(starts), limits: shape(limits), strides: axes(strides) }.into()
    };
    check(f(&["B"]), "", &|b, v| b.emit(slice(&["0"], &["B"], &[1]), v));
    check(f(&["B"]), r#"slice{"starts": [3], "limits": [B-1], "strides": [1]}"#, &|b, v| {
        let s = b.emit(slice(&["1"], &["B"], &[1]), v);
        b.emit(slice(&["2"], &["B-2"], &[1]), &[s])
    });
    check(f(&["20"]), r#"slice{"starts": [3], "limits": [16], "strides": [6]}"#, &|b, v| {
        let s = b.emit(slice(&["1"], &["20"], &[2]), v);
        b.emit(slice(&["1"], &["8"], &[3]), &[s])
    });
    check(f(&["B"]), "", &|b, v| {
        let c = b.emit(Concatenate { axis: 0 }.into(), &[v[0], v[0]]);
        b.emit(slice(&["B"], &["2*B"], &[1]), &[c])
    });
    let pad = |low: i64, high: i64, interior: usize| -> Primitive {
        Pad { value: Scalar::F32(0.0), low: [low].into(), high: [high].into(), interior: smallvec![interior] }.into()
    };
    check(f(&["B"]), "", &|b, v| b.emit(pad(0, 0, 0), v));
    check(f(&["1"]), "", &|b, v| b.emit(pad(0, 0, 3), v));
    check(f(&["B"]), r#"slice{"starts": [1], "limits": [B-2], "strides": [1]}"#, &|b, v| b.emit(pad(-1, -2, 0), v));
    check(f(&["B"]), r#"full{"value": 0.0:f32, "shape": [B+3]}"#, &|b, v| {
        let z = b.full_like(v[0], 0.0);
        b.emit(pad(1, 2, 0), &[z])
    });
    check(f(&["B"]), "", &|b, v| b.emit(Concatenate { axis: 0 }.into(), v));
    check(f(&["B"]), "", &|b, v| {
        let empty = b.full(Scalar::F32(0.0), &shape(&["0"]));
        b.emit(Concatenate { axis: 0 }.into(), &[empty, v[0], empty])
    });
    let reverse = |list: &[usize]| -> Primitive { Reverse { axes: axes(list) }.into() };
    check(x(), "", &|b, v| {
        let r = b.emit(reverse(&[0, 2]), v);
        b.emit(reverse(&[2, 0]), &[r])
    });
    check(x(), r#"reverse{"axes": [1, 2]}"#, &|b, v| {
        let r = b.emit(reverse(&[0, 2]), v);
        b.emit(reverse(&[0, 1]), &[r])
    });
    check(f(&["1", "1"]), "", &|b, v| b.emit(reverse(&[0, 1]), v));
    check(x(), r#"reduce_max{"axes": [0, 1]}"#, &|b, v| {
        let r = b.emit(ReduceMax { axes: axes(&[1]), nonempty: false }.into(), v);
        b.emit(ReduceMax { axes: axes(&[0]), nonempty: false }.into(), &[r])
    });
    check(x(), r#"reduce_sum{"axes": [1]}; reduce_sum{"axes": [0]}"#, &|b, v| {
        let r = b.reduce_sum(v[0], &[1]);
        b.reduce_sum(r, &[0])
    });
    check(x().with_dtype(DType::I32), r#"reduce_sum{"axes": [0, 1, 2]}"#, &|b, v| {
        let r = b.reduce_sum(v[0], &[0, 2]);
        b.reduce_sum(r, &[0])
    });
    check(x(), "", &|b, v| b.emit(ReduceSum { axes: axes(&[]) }.into(), v));
    check(f(&["B", "1"]), r#"reshape{"shape": [B]}"#, &|b, v| {
        b.emit(ReduceMin { axes: axes(&[1]), nonempty: false }.into(), v)
    });
    check(f(&["B", "1"]), r#"reduce_sum{"axes": [1]}"#, &|b, v| b.reduce_sum(v[0], &[1]));
}

#[test]
fn products_absorb_transposes_that_keep_free_axes_in_order() {
    let dot = |lb: &[usize], rb: &[usize], lc: &[usize], rc: &[usize]| -> Primitive {
        DotGeneral { lhs_batch: axes(lb), rhs_batch: axes(rb), lhs_contract: axes(lc), rhs_contract: axes(rc) }.into()
    };
    let f = |dims: &[usize]| Type::new(DType::F32, dims);
    let count = |ops: &str| ops.matches("transpose").count();
    let (ops, _) = simplified(&[f(&[3, 2]), f(&[4, 3])], |b, v| {
        let (x, y) = (b.transpose(v[0], &[1, 0]), b.transpose(v[1], &[1, 0]));
        b.emit(dot(&[], &[], &[1], &[0]), &[x, y])
    });
    assert_eq!(count(&ops), 0, "{ops}");
    // The free axes would change places.
    let (ops, _) = simplified(&[f(&[3, 2, 5]), f(&[5, 4])], |b, v| {
        let x = b.transpose(v[0], &[1, 0, 2]);
        b.emit(dot(&[], &[], &[2], &[0]), &[x, v[1]])
    });
    assert_eq!(count(&ops), 1, "{ops}");
    let inputs = [weights(&[5, 3, 2, 4], DType::F64, 1), weights(&[4, 5, 2, 6], DType::F64, 2)];
    let build = |b: &mut dyn Emit, v: &[Value]| {
        let (x, y) = (b.transpose(v[0], &[2, 3, 1, 0]), b.transpose(v[1], &[3, 0, 1, 2]));
        b.emit(dot(&[0], &[3], &[3, 1], &[2, 1]), &[x, y])
    };
    let types = [inputs[0].ty(), inputs[1].ty()];
    let (mut plain, v) = graph_of(types.clone());
    let output = build(&mut emitter(&mut plain), &v);
    plain.set_outputs(vec![output]);
    let (ops, simple) = simplified(&types, build);
    assert_eq!(count(&ops), 0, "{ops}");
    assert!(same(&evaluate(&plain, &inputs).unwrap()[0], &evaluate(&simple, &inputs).unwrap()[0]));
}

/// What symbols stand for.
type Values<'a> = &'a dyn Fn(&Symbol) -> Option<Dim>;

/// The graph with its symbols replaced, all types inferred again.
fn bound(graph: &Graph, value: Values<'_>) -> Graph {
    let types = graph.inputs().iter().map(|&v| {
        let ty = graph.ty(v);
        Type::new(ty.dtype, ty.shape.iter().map(|d| d.substitute(value)).collect::<Shape>())
    });
    let (mut out, inputs) = graph_of(types);
    let mut map: std::collections::HashMap<Value, Value> = graph.inputs().iter().copied().zip(inputs).collect();
    for &op in &graph.region(graph.root()).ops {
        let data = graph.op(op);
        let operands: Vec<Value> = data.operands.iter().map(|v| map[v]).collect();
        let new = emitter(&mut out).append(data.primitive.with_symbols(value), &operands, &[]);
        map.extend(data.results.iter().copied().zip(out.op(new).results.clone()));
    }
    out.set_outputs(graph.outputs().iter().map(|v| map[v]).collect());
    out
}

#[test]
fn symbolic_gradients_are_those_of_each_extent() {
    let f = |dims: &[&str]| Type::new(DType::F64, shape(dims));
    let x = || f(&["B", "C", "4"]);
    let indices = || Type::new(DType::I64, shape(&["B"]));
    let slice = |starts: &[&str], limits: &[&str], strides: &[usize]| -> Primitive {
        Slice { starts: shape(starts), limits: shape(limits), strides: axes(strides) }.into()
    };
    let pad = |low: &[&str], high: &[&str], interior: &[usize]| -> Primitive {
        Pad { value: Scalar::F64(1.0), low: shape(low), high: shape(high), interior: axes(interior) }.into()
    };
    let dot = |lb: &[usize], rb: &[usize], lc: &[usize], rc: &[usize]| -> Primitive {
        DotGeneral { lhs_batch: axes(lb), rhs_batch: axes(rb), lhs_contract: axes(lc), rhs_contract: axes(rc) }.into()
    };
    let gather = |axis, batch, mode| -> Primitive { Gather { axis, batch, mode }.into() };
    let cases: Vec<(Vec<Type>, Primitive)> = vec![
        (vec![f(&["C", "1"])], BroadcastInDim { shape: shape(&["B", "C", "4"]), dims: axes(&[1, 2]) }.into()),
        (vec![x()], Reshape { shape: shape(&["4*B", "C"]) }.into()),
        (vec![x()], Transpose { permutation: axes(&[2, 0, 1]) }.into()),
        (vec![x()], slice(&["0", "1", "1"], &["B", "C", "4"], &[1, 1, 2])),
        (vec![x()], slice(&["0", "0", "0"], &["B", "C", "4"], &[2, 3, 1])),
        (vec![x()], pad(&["1", "C", "-1"], &["B", "0", "2"], &[0, 0, 0])),
        (vec![x()], pad(&["1", "0", "0"], &["B", "2", "0"], &[1, 2, 0])),
        (vec![x()], pad(&["1", "-1", "0"], &["1-B", "C", "0"], &[1, 1, 0])),
        (vec![x(), f(&["B", "2*C", "4"])], Concatenate { axis: 1 }.into()),
        (vec![x()], Reverse { axes: axes(&[0, 2]) }.into()),
        (vec![x()], ReduceSum { axes: axes(&[0, 2]) }.into()),
        (vec![x()], ReduceProd { axes: axes(&[0]) }.into()),
        (vec![x()], ReduceProd { axes: axes(&[1, 2]) }.into()),
        (vec![x()], ReduceProd { axes: axes(&[2]) }.into()),
        (vec![x()], ReduceMax { axes: axes(&[1]), nonempty: false }.into()),
        (vec![x(), f(&["4", "B", "C"])], dot(&[0], &[1], &[1, 2], &[2, 0])),
        (vec![x(), f(&["4", "C", "3"])], dot(&[], &[], &[2, 1], &[0, 1])),
        (vec![x(), indices()], gather(2, 1, IndexMode::Error)),
        (vec![x(), indices()], gather(1, 1, IndexMode::Clamp)),
        (vec![x(), indices()], gather(1, 0, IndexMode::Clamp)),
        (vec![x(), indices()], gather(0, 0, IndexMode::Fill)),
    ];
    for (case, (types, op)) in cases.iter().enumerate() {
        let differentiated = |types: Vec<Type>, value: Option<Values<'_>>| -> Graph {
            let (mut graph, v) = graph_of(types);
            let output = emitter(&mut graph).emit(op.clone(), &v);
            graph.set_outputs(vec![output]);
            // A static graph is bound before it is differentiated, a symbolic one after.
            let mut graph = match value {
                Some(value) => bound(&graph, value),
                None => graph,
            };
            let (v, output) = (graph.inputs().to_vec(), graph.outputs()[0]);
            let ct = graph.add_input(graph.ty(output).clone());
            let g = append_gradients(&mut graph, output, ct, &v).expect("differentiable");
            graph.set_outputs(g.into_iter().flatten().collect());
            graph
        };
        let symbolic = differentiated(types.clone(), None);
        for (b, c) in [(1, 1), (2, 3), (3, 1), (4, 2)] {
            let value = move |s: &Symbol| Some(Dim::from(if s.name() == "B" { b } else { c }));
            let fixed = differentiated(types.clone(), Some(&value));
            let later = bound(&symbolic, &value);
            let inputs: Vec<Literal> = fixed
                .input_types()
                .iter()
                .enumerate()
                .map(|(i, ty)| {
                    let dims = ty.shape.known().expect("bound");
                    match ty.dtype {
                        DType::I64 => Literal::from_fn(&dims, DType::I64, |k| Scalar::I64(k as i64 % b.min(c))),
                        dtype => weights(&dims, dtype, i as u64 + 1),
                    }
                })
                .collect();
            assert_eq!(fixed.output_types(), later.output_types(), "case {case}");
            let (a, b) = (evaluate(&fixed, &inputs).unwrap(), evaluate(&later, &inputs).unwrap());
            for (a, b) in a.iter().zip(&b) {
                let close = a.iter().zip(b.iter()).all(|(x, y)| (x.as_f64() - y.as_f64()).abs() < 1e-9);
                assert!(close, "case {case}: {a:?} and {b:?}");
            }
        }
    }
}
