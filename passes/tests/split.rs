//! Long reductions in two stages.

mod graphs;

use graphs::{apply, close, eval, graph, same, sample_inputs, show};
use insta::assert_snapshot;
use ir::ops::reduce::{ArgMax, ReduceAll, ReduceAny, ReduceMax, ReduceMin, ReduceProd, ReduceSum};
use ir::{Axes, DType, Dim, Emit, Graph, Primitive, Type};
use passes::split::SplitReductions;
use passes::{Grain, Pass, PassContext, PassOptions};

fn reduction(dtype: DType, dims: &[usize], op: impl Into<Primitive>) -> Graph {
    graph(|b| {
        let x = b.input(Type::new(dtype, dims));
        vec![b.emit(op.into(), &[x])]
    })
}

fn sum(dims: &[usize], axes: &[usize]) -> Graph {
    reduction(DType::F64, dims, ReduceSum { axes: Axes::from_slice(axes) })
}

fn check(g: &Graph) -> String {
    let after = apply(vec![Box::new(SplitReductions)], g);
    assert_eq!(apply(vec![Box::new(SplitReductions)], &after), after, "split again: {}", show(&after));
    let inputs = sample_inputs(g);
    assert!(eval(g, &inputs).iter().zip(&eval(&after, &inputs)).all(|(a, b)| close(a, b, 1e-12)), "{}", show(&after));
    show(&after)
}

#[test]
fn short_and_wide_reductions_stay() {
    let unchanged = |g: Graph| assert_eq!(apply(vec![Box::new(SplitReductions)], &g), g);
    unchanged(sum(&[1000], &[0]));
    unchanged(sum(&[64, 4096], &[1]));
    unchanged(sum(&[400, 1024], &[0]));
    unchanged(sum(&[0, 1 << 20], &[1]));
    unchanged(sum(&[1 << 20, 0], &[0]));
    unchanged(sum(&[1 << 20], &[]));
    unchanged(reduction(DType::F32, &[1 << 18], ArgMax { axes: Axes::from_slice(&[0]) }));
    unchanged(graph(|b| {
        let x = b.input(Type::new(DType::F32, [Dim::symbol("B"), Dim::from(1 << 20)]));
        vec![b.emit(ReduceSum { axes: Axes::from_slice(&[0, 1]) }.into(), &[x])]
    }));
}

#[test]
fn a_long_sum_has_two_stages() {
    assert_snapshot!(check(&sum(&[1 << 20], &[0])), @r"
    (%0: f64[1048576])
    %1: f64[64, 16384] = reshape(%0) shape=[64, 16384] @1
    %2: f64[64] = reduce_sum(%1) axes=[1] @1
    %3: f64[] = reduce_sum(%2) axes=[0] @1
    -> %3
    ");
    // 784 * 512: a divisor near the wanted number of parts is found.
    assert_snapshot!(check(&sum(&[784, 512], &[0, 1])), @r"
    (%0: f64[784, 512])
    %1: f64[28, 14336] = reshape(%0) shape=[28, 14336] @1
    %2: f64[28] = reduce_sum(%1) axes=[1] @1
    %3: f64[] = reduce_sum(%2) axes=[0] @1
    -> %3
    ");
}

#[test]
fn a_prime_length_is_padded() {
    assert_snapshot!(check(&sum(&[131_101], &[0])), @r"
    (%0: f64[131101])
    %1: f64[131104] = pad(%0) value=0.0:f64 low=[0] high=[3] interior=[0] @1
    %2: f64[8, 16388] = reshape(%1) shape=[8, 16388] @1
    %3: f64[8] = reduce_sum(%2) axes=[1] @1
    %4: f64[] = reduce_sum(%3) axes=[0] @1
    -> %4
    ");
}

#[test]
fn columns_and_axes_around_kept_ones() {
    assert_snapshot!(check(&sum(&[4096, 64], &[0])), @r"
    (%0: f64[4096, 64])
    %1: f64[16, 256, 64] = reshape(%0) shape=[16, 256, 64] @1
    %2: f64[16, 64] = reduce_sum(%1) axes=[1] @1
    %3: f64[64] = reduce_sum(%2) axes=[0] @1
    -> %3
    ");
    assert_snapshot!(check(&sum(&[300, 2, 500], &[0, 2])), @r"
    (%0: f64[300, 2, 500])
    %1: f64[300, 2, 20, 25] = reshape(%0) shape=[300, 2, 20, 25] @1
    %2: f64[2, 20] = reduce_sum(%1) axes=[0, 3] @1
    %3: f64[2] = reduce_sum(%2) axes=[1] @1
    -> %3
    ");
    assert_snapshot!(check(&sum(&[2, 90_000], &[1])), @r"
    (%0: f64[2, 90000])
    %1: f64[2, 10, 9000] = reshape(%0) shape=[2, 10, 9000] @1
    %2: f64[2, 10] = reduce_sum(%1) axes=[2] @1
    %3: f64[2] = reduce_sum(%2) axes=[1] @1
    -> %3
    ");
}

#[test]
fn padding_changes_no_other_monoid() {
    let axes = || Axes::from_slice(&[0]);
    let n = 131_101;
    for (dtype, op) in [
        (DType::F32, Primitive::from(ReduceMax { axes: axes(), nonempty: false })),
        (DType::F32, ReduceMin { axes: axes(), nonempty: false }.into()),
        (DType::I32, ReduceMax { axes: axes(), nonempty: false }.into()),
        (DType::I64, ReduceMin { axes: axes(), nonempty: false }.into()),
        (DType::I64, ReduceSum { axes: axes() }.into()),
        (DType::U8, ReduceProd { axes: axes() }.into()),
        (DType::Bool, ReduceAny { axes: axes() }.into()),
        (DType::Bool, ReduceAll { axes: axes() }.into()),
    ] {
        let g = reduction(dtype, &[n], op);
        let after = apply(vec![Box::new(SplitReductions)], &g);
        assert_ne!(after, g);
        let inputs = sample_inputs(&g);
        assert!(same(&eval(&g, &inputs)[0], &eval(&after, &inputs)[0]), "{}", show(&after));
    }
}

/// On a GPU there are thousands of tasks, and a second stage is a launch: short reductions stay.
#[test]
fn tasks_for_a_gpu() {
    let settings = PassOptions { grain: Grain::GPU, ..PassOptions::default() };
    let stages = |dims: &[usize], axes: &[usize]| {
        let mut g = sum(dims, axes);
        let mut cx = PassContext::new(settings);
        SplitReductions.run(&mut g, &mut cx).unwrap();
        assert!(!SplitReductions.run(&mut g, &mut cx).unwrap(), "split again: {}", show(&g));
        let root = g.region(g.root());
        let reduces = root.ops.iter().filter(|&&op| g.op(op).primitive.name() == "reduce_sum");
        reduces.map(|&op| g.ty(g.op(op).operands[0]).shape.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(stages(&[1 << 26], &[0]), "[4096, 16384] [4096]");
    assert_eq!(stages(&[8192], &[0]), "[8192]");
    assert_eq!(stages(&[64, 100_000], &[1]), "[64, 80, 1250] [64, 80]");
    assert_eq!(stages(&[512, 100_000], &[1]), "[512, 100000]");
    // 16 warps take 32 columns each.
    assert_eq!(stages(&[65_536, 512], &[0]), "[256, 256, 512] [256, 512]");
    assert_eq!(stages(&[256, 512], &[0]), "[256, 512]");
    assert_eq!(stages(&[65_536, 10_000], &[0]), "[65536, 10000]");
}
