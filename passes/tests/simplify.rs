//! Canonicalisation and folding.

mod graphs;

use graphs::{apply, check, eval, graph, show};
use insta::assert_snapshot;
use ir::ops::create::{Constant, DimValue, Iota};
use ir::ops::index::{Gather, IndexMode};
use ir::ops::reduce::ReduceSum;
use ir::ops::view::Pad;
use ir::{DType, Dim, Emit, EmitExt, Literal, Scalar, Shape, Type, Value};
use passes::canonicalize::Canonicalize;
use passes::driver::run;
use passes::fold::FoldConstants;
use passes::{Pass, PassOptions, Settings};

fn f32s(dims: &[usize]) -> Type {
    Type::new(DType::F32, dims)
}

fn constant(b: &mut graphs::Builder, dims: &[usize], data: Vec<f32>) -> Value {
    b.emit(Constant { value: Literal::from_vec(dims, data) }.into(), &[])
}

fn counting(b: &mut graphs::Builder, dims: &[usize]) -> Value {
    constant(b, dims, (0..dims.iter().product()).map(|i| i as f32).collect())
}

#[test]
fn rules_apply_to_what_rules_emit() {
    let g = graph(|b| {
        let x = b.input(f32s(&[2, 3]));
        let t = b.transpose(x, &[1, 0]);
        let t = b.transpose(t, &[1, 0]);
        let one = b.full_like(t, 1.0);
        let y = b.mul(one, t);
        let y = b.reshape(y, &Shape::from([6]));
        let y = b.reshape(y, &Shape::from([2, 3]));
        let y = b.neg(y);
        vec![b.sub(x, y)]
    });
    assert_snapshot!(check(Canonicalize, &g), @r"
    (%0: f32[2, 3])
    %1: f32[3, 2] = transpose(%0) permutation=[1, 0] @1
    %2: f32[2, 3] = full() value=1.0:f32 shape=[2, 3] @3
    %3: f32[6] = reshape(%0) shape=[6] @5
    %4: f32[2, 3] = neg(%0) @7
    %5: f32[2, 3] = add(%0, %0) @8
    -> %5
    ");
}

#[test]
fn views_of_one_value_are_that_value() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [Dim::symbol("B"), Dim::from(3)]));
        let one = b.full(Scalar::F32(1.0), &Shape::scalar());
        let shape = b.ty(x).shape.clone();
        let ones = b.broadcast_in_dim(one, &shape, &[]);
        vec![b.mul(x, ones)]
    });
    let after = apply(vec![Box::new(Canonicalize), Box::new(passes::dce::EliminateDeadCode)], &g);
    assert_snapshot!(show(&after), @r"
    (%0: f32[B, 3])
    -> %0
    ");
}

#[test]
fn constants_fold_through_the_reference() {
    let g = graph(|b| {
        let c = constant(b, &[2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        let (e, s) = (b.exp(c), b.reduce_sum(c, &[1]));
        let t = b.transpose(c, &[1, 0]);
        let two = b.full_like(c, 2.0);
        vec![e, s, b.mul(t, two)]
    });
    let text = check(FoldConstants, &g);
    assert!(!text.contains("exp") && !text.contains("transpose") && !text.contains("mul("), "{text}");
}

#[test]
fn what_is_the_same_everywhere_stays_small() {
    let g = graph(|b| {
        b.input(Type::new(DType::F32, [Dim::symbol("B")]));
        let shape: Shape = [Dim::symbol("B"), Dim::from(1000)].into();
        let x = b.full(Scalar::F32(3.0), &shape);
        let y = b.mul(x, x);
        let long = b.full(Scalar::F32(0.5), &Shape::from([1000]));
        let sum = b.reduce_sum(long, &[0]);
        let same = constant(b, &[3], vec![7.0; 3]);
        let extent = b.emit(DimValue { dim: Dim::from(12) }.into(), &[]);
        vec![y, sum, same, extent]
    });
    let after = apply(vec![Box::new(FoldConstants), Box::new(passes::dce::EliminateDeadCode)], &g);
    assert_snapshot!(show(&after), @r"
    (%0: f32[B])
    %1: f32[B, 1000] = full() value=9.0:f32 shape=[B, 1000] @2
    %2: f32[] = full() value=500.0:f32 shape=[] @4
    %3: f32[3] = full() value=7.0:f32 shape=[3] @5
    %4: i64[] = full() value=12:i64 shape=[] @6
    -> %1, %2, %3, %4
    ");
}

#[test]
fn generated_data_does_not_become_dense() {
    let g = graph(|b| {
        let i = b.emit(Iota { dtype: DType::F32, shape: [8].into(), axis: 0 }.into(), &[]);
        let one = b.full_like(i, 1.0);
        let shifted = b.add(i, one);
        let none = || -> Shape { [1].into() };
        let padded = b.emit(
            Pad { value: Scalar::F32(0.0), low: none(), high: none(), interior: [0].as_slice().into() }.into(),
            &[one],
        );
        let few = constant(b, &[2], vec![1.0, 2.0]);
        let many = b.broadcast_in_dim(few, &Shape::from([100, 2]), &[1]);
        vec![shifted, padded, many]
    });
    assert_eq!(apply(vec![Box::new(FoldConstants)], &g), g);
}

#[test]
fn an_op_that_would_fail_stays_and_one_that_does_not_folds() {
    let g = |index: i64| {
        graph(|b| {
            let c = constant(b, &[3], vec![5.0, 6.0, 7.0]);
            let i = b.emit(Constant { value: Literal::from_vec(&[1], vec![index]) }.into(), &[]);
            vec![b.emit(Gather { axis: 0, batch: 0, mode: IndexMode::Error }.into(), &[c, i])]
        })
    };
    assert_eq!(apply(vec![Box::new(FoldConstants)], &g(3)).region(ir::Region(0)).ops.len(), 3);
    let folded = apply(vec![Box::new(FoldConstants), Box::new(passes::dce::EliminateDeadCode)], &g(1));
    assert_snapshot!(show(&folded), @r"
    ()
    %0: f32[1] = full() value=6.0:f32 shape=[1] @3
    -> %0
    ");
}

#[test]
fn the_budget_holds_and_says_so() {
    let g = graph(|b| {
        let c = counting(b, &[100, 100]);
        let big = b.neg(c);
        let small = b.emit(ReduceSum { axes: [0, 1].as_slice().into() }.into(), &[c]);
        vec![big, small]
    });
    let pipeline: Vec<Box<dyn Pass>> = vec![Box::new(FoldConstants)];
    let names = |options: PassOptions| {
        let outcome = run(g.clone(), &pipeline, &Settings { options, ..Settings::default() }, None).unwrap();
        let names = |op: &ir::Op| outcome.graph.op(*op).primitive.name();
        let names = outcome.graph.region(outcome.graph.root()).ops.iter().map(names).collect::<Vec<_>>().join(" ");
        (names, outcome.notes.iter().map(|n| n.text.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(PassOptions::default()), ("constant constant full".into(), vec![]));
    let (ops, notes) = names(PassOptions { fold_bytes: 20_000, ..PassOptions::default() });
    assert_eq!(ops, "constant neg full");
    assert_eq!(notes, ["neg of constants at model.rs:2:1 is not folded: 20000 operations, 10000 elements"]);
    let (ops, _) = names(PassOptions { fold_work: 21_000, ..PassOptions::default() });
    assert_eq!(ops, "constant constant reduce_sum");
}

#[test]
fn empty_and_scalar_tensors_fold() {
    let g = graph(|b| {
        let empty = constant(b, &[0, 2], vec![]);
        let s = constant(b, &[], vec![2.0]);
        let (a, c, d) = (b.neg(empty), b.reduce_sum(empty, &[0]), b.exp(s));
        vec![a, c, d]
    });
    let after = apply(vec![Box::new(FoldConstants), Box::new(passes::dce::EliminateDeadCode)], &g);
    assert_snapshot!(show(&after), @r"
    ()
    %0: f32[0, 2] = full() value=0.0:f32 shape=[0, 2] @3
    %1: f32[2] = full() value=0.0:f32 shape=[2] @4
    %2: f32[] = full() value=7.389056:f32 shape=[] @5
    -> %0, %1, %2
    ");
    assert_eq!(eval(&g, &[]), eval(&after, &[]));
}
