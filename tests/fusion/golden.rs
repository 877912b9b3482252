//! Golden kernels. `INSTA_UPDATE=always cargo test --test fusion` writes them anew; read the difference before
//! committing it.

use crate::{f32s, graphs, origins::assert_origins};
use insta::assert_snapshot;
use tracewright::jit::Lowered;
use tracewright::options::{Options, with_options};
use tracewright::{DType, Tensor, jit, nn, value_and_grad};

/// The program and its kernels, those of the processor. The graph is in a file.
fn show(name: &str, lower: impl FnOnce() -> Lowered) -> String {
    let lowered = &with_options(Options::default(), lower);
    assert_origins(lowered);
    graphs::agree(name, lowered);
    let wanted = |name: &str| name.ends_with(".kir") || name == "program.txt";
    let stages = lowered.stages().iter().filter(|s| wanted(&s.name));
    stages.map(|s| format!("---- {}\n{}\n", s.name, s.text.trim_end())).collect()
}

#[test]
fn scale_and_shift() {
    assert_snapshot!(show("scale_and_shift", || jit(|x: Tensor| x * 2.0 + 1.0).lower(f32s([1000])).unwrap()));
}

#[test]
fn softmax_of_rows() {
    assert_snapshot!(show("softmax_of_rows", || jit(|x: Tensor| x.softmax(-1)).lower(f32s([8, 100])).unwrap()));
}

#[test]
fn sums_of_columns() {
    assert_snapshot!(show("sums_of_columns", || jit(|x: Tensor| x.sum(0)).lower(f32s([100, 70])).unwrap()));
}

#[test]
fn transpose_and_add() {
    assert_snapshot!(show("transpose_and_add", || jit(|x: Tensor, y: Tensor| x.t() + y)
        .lower(f32s([30, 20]), f32s([20, 30]))
        .unwrap()));
}

/// 7 columns are no multiple of a vector, and padding is a condition on the load.
#[test]
fn padding_with_a_tail() {
    assert_snapshot!(show("padding_with_a_tail", || jit(|x: Tensor| x.pad(&[(0, 0), (2, 1)], 9.0) * 2.0)
        .lower(f32s([5, 7]))
        .unwrap()));
}

#[test]
fn a_symbolic_batch() {
    let f = jit(|x: Tensor| (x.softmax(-1), x.sum(0))).dynamic("arguments.0", 0, "B", 1..=64);
    assert_snapshot!(show("a_symbolic_batch", || f.lower(f32s([5, 7])).unwrap()));
}

#[test]
fn rows_by_index() {
    let f = jit(|x: Tensor, i: Tensor| x.take(&i, 0) * 2.0);
    assert_snapshot!(show("rows_by_index", || f.lower(f32s([5, 7]), Tensor::zeros([3], DType::I64)).unwrap()));
}

#[test]
fn halves() {
    let x = || Tensor::ones([4, 33], DType::BF16);
    assert_snapshot!(show("halves", || jit(|x: Tensor| (&x * 2.0 + &x).sum(-1)).lower(x()).unwrap()));
}

#[test]
fn cross_entropy_and_its_gradient() {
    let f = jit(|x: Tensor, y: Tensor| value_and_grad(|x: &Tensor| nn::cross_entropy(x, &y))(&x));
    assert_snapshot!(show("cross_entropy_and_its_gradient", || f
        .lower(f32s([64, 10]), Tensor::zeros([64], DType::I64))
        .unwrap()));
}
