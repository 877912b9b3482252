//! Common subexpressions and dead code.

mod graphs;

use graphs::{apply, check, eval, graph, sample_inputs, show};
use insta::assert_snapshot;
use ir::ops::index::{Gather, IndexMode};
use ir::ops::region::{Fused, FusionKind};
use ir::{DType, Emit, EmitExt, Literal, Scalar, Type};
use passes::cse::EliminateCommonSubexpressions;
use passes::dce::EliminateDeadCode;

#[test]
fn equal_ops_become_one_with_all_origins() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        let y = b.input(Type::new(DType::F32, [3]));
        let (s, t) = (b.add(x, y), b.add(y, x));
        let (d, e) = (b.sub(x, y), b.sub(y, x));
        let (p, q) = (b.mul(s, d), b.mul(t, d));
        vec![p, q, e]
    });
    assert_snapshot!(check(EliminateCommonSubexpressions, &g), @r"
    (%0: f32[3], %1: f32[3])
    %2: f32[3] = add(%0, %1) @1+2
    %3: f32[3] = sub(%0, %1) @3
    %4: f32[3] = sub(%1, %0) @4
    %5: f32[3] = mul(%2, %3) @5+6
    -> %5, %5, %4
    ");
}

#[test]
fn constants_merge_by_bits() {
    let g = graph(|b| {
        let constant = |b: &mut graphs::Builder, last: f32| {
            let mut data = vec![1f32; 100];
            data[99] = last;
            b.emit(ir::ops::create::Constant { value: Literal::from_vec(&[100], data) }.into(), &[])
        };
        let all: Vec<_> = [2.0, 3.0, 2.0].into_iter().map(|last| constant(b, last)).collect();
        let zeros = [0.0, -0.0, 0.0].map(|z| b.full(Scalar::F32(z), &ir::Shape::scalar()));
        all.into_iter().chain(zeros).collect()
    });
    let after = apply(vec![Box::new(EliminateCommonSubexpressions)], &g);
    assert_eq!(after.region(after.root()).ops.len(), 4);
    assert_eq!(eval(&g, &[]), eval(&after, &[]));
}

#[test]
fn a_thousand_equal_ops_keep_few_origins() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        (0..1000).map(|_| b.neg(x)).collect()
    });
    let after = apply(vec![Box::new(EliminateCommonSubexpressions)], &g);
    assert_snapshot!(show(&after).lines().nth(1).unwrap(), @"%1: f32[3] = neg(%0) @1+2+3+4+5+6+7+8");
}

#[test]
fn unused_ops_go_fallible_ones_too() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        let i = b.input(Type::new(DType::I64, [2]));
        let y = b.exp(x);
        let unused = b.emit(Gather { axis: 0, batch: 0, mode: IndexMode::Error }.into(), &[y, i]);
        b.neg(unused);
        vec![b.neg(x)]
    });
    assert_snapshot!(check(EliminateDeadCode, &g), @r"
    (%0: f32[3], %1: i64[2])
    %2: f32[3] = neg(%0) @4
    -> %2
    ");
}

#[test]
fn fused_groups_lose_unused_results_and_operands() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        let y = b.input(Type::new(DType::F32, [3]));
        let z = b.exp(y);
        let results = b.fused(Fused { kind: FusionKind::Loop }, &[x, z], |b, p| {
            let (a, c) = (b.neg(p[0]), b.add(p[0], p[1]));
            vec![a, c, a]
        });
        vec![results[0], results[2]]
    });
    assert_snapshot!(check(EliminateDeadCode, &g), @r"
    (%0: f32[3], %1: f32[3])
    %4: f32[3], %5: f32[3] = fused(%0) kind=loop @4
        (%2: f32[3])
        %3: f32[3] = neg(%2) @2
        -> %3, %3
    -> %4, %5
    ");
    let all_used = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        b.fused(Fused { kind: FusionKind::Loop }, &[x], |b, p| vec![b.neg(p[0])]).to_vec()
    });
    assert_eq!(apply(vec![Box::new(EliminateDeadCode)], &all_used), all_used);
    let none_used = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        b.fused(Fused { kind: FusionKind::Loop }, &[x], |b, p| vec![b.neg(p[0])]);
        vec![x]
    });
    assert_eq!(sample_inputs(&none_used).len(), 1);
    assert_snapshot!(check(EliminateDeadCode, &none_used), @r"
    (%0: f32[3])
    -> %0
    ");
}
