//! Indices are checked once.

mod graphs;

use graphs::{check, graph};
use insta::assert_snapshot;
use ir::ops::index::{Gather, IndexMode, Scatter, Update};
use ir::{DType, Emit, EmitExt, Type};
use passes::checks::CheckOnce;

const MODE: IndexMode = IndexMode::Error;

#[test]
fn later_ops_trust_the_first_check() {
    let g = graph(|b| {
        let (x, i) = (b.input(Type::new(DType::F32, [8, 3])), b.input(Type::new(DType::I64, [2])));
        let picked = b.emit(Gather { axis: 0, batch: 0, mode: MODE }.into(), &[x, i]);
        let added = b.emit(Scatter { axis: 0, batch: 0, mode: MODE, combine: Update::Add }.into(), &[x, i, picked]);
        let again = b.emit(Gather { axis: 0, batch: 0, mode: MODE }.into(), &[added, i]);
        vec![again]
    });
    assert_snapshot!(check(CheckOnce, &g), @r"
    (%0: f32[8, 3], %1: i64[2])
    %2: f32[2, 3] = gather(%0, %1) axis=0 batch=0 mode=error @1
    %3: f32[8, 3] = scatter(%0, %1, %2) axis=0 batch=0 mode=fill combine=add @2
    %4: f32[2, 3] = gather(%3, %1) axis=0 batch=0 mode=fill @3
    -> %4
    ");
}

/// Another extent, other indices, or elements that the first does not read.
#[test]
fn checks_that_say_something_else_stay() {
    let g = graph(|b| {
        let (x, y) = (b.input(Type::new(DType::F32, [8, 3])), b.input(Type::new(DType::F32, [7, 3])));
        let empty = b.input(Type::new(DType::F32, [8, 0]));
        let (i, j) = (b.input(Type::new(DType::I64, [2])), b.input(Type::new(DType::I64, [2])));
        let gather = Gather { axis: 0, batch: 0, mode: MODE };
        let nothing = b.emit(gather.clone().into(), &[empty, i]);
        let first = b.emit(gather.clone().into(), &[x, i]);
        let shorter = b.emit(gather.clone().into(), &[y, i]);
        let others = b.emit(gather.into(), &[x, j]);
        let sum = b.add(first, shorter);
        vec![nothing, b.add(sum, others)]
    });
    assert_snapshot!(check(CheckOnce, &g), @r"
    (%0: f32[8, 3], %1: f32[7, 3], %2: f32[8, 0], %3: i64[2], %4: i64[2])
    %5: f32[2, 0] = gather(%2, %3) axis=0 batch=0 mode=error @1
    %6: f32[2, 3] = gather(%0, %3) axis=0 batch=0 mode=error @2
    %7: f32[2, 3] = gather(%1, %3) axis=0 batch=0 mode=error @3
    %8: f32[2, 3] = gather(%0, %4) axis=0 batch=0 mode=error @4
    %9: f32[2, 3] = add(%6, %7) @5
    %10: f32[2, 3] = add(%9, %8) @6
    -> %5, %10
    ");
}
