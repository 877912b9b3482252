//! Batched functions compile to what one would write for all examples by hand.

use crate::target::{Target, target};
use crate::{bytes, f32s, steps};
use tracewright::jit::Lowered;
use tracewright::{Tensor, einsum, grad, jit, vmap};

/// As many kernels and products that move as many bytes.
#[track_caller]
fn alike(batched: &Lowered, by_hand: &Lowered) {
    let of = |l: &Lowered| (steps(l), bytes(l));
    let texts = [batched, by_hand].map(|l| l.stage("program.txt").unwrap());
    assert_eq!(of(batched), of(by_hand), "{} {}", texts[0], texts[1]);
}

fn weights() -> (Tensor, Tensor, Tensor, Tensor) {
    (f32s([64, 128]), f32s([128]), f32s([128, 10]), f32s([10]))
}

fn mlp((w1, b1, w2, b2): &(Tensor, Tensor, Tensor, Tensor), x: &Tensor) -> Tensor {
    (x.matmul(w1) + b1).tanh().matmul(w2) + b2
}

#[test]
fn forward_of_an_mlp() {
    let x = f32s([32, 64]);
    type Weights = (Tensor, Tensor, Tensor, Tensor);
    let by_hand = jit(|w: Weights, x: Tensor| mlp(&w, &x)).lower(weights(), &x).unwrap();
    // Products of GPUs take the last bias.
    let launches = if target() == Target::Cpu { 2 } else { 1 };
    assert_eq!(steps(&by_hand), (launches, 2));
    let batched = jit(|w: Weights, x: Tensor| vmap(|x: &Tensor| mlp(&w, x))(&x));
    alike(&batched.lower(weights(), &x).unwrap(), &by_hand);
    let columns = jit(|(w1, b1, w2, b2): Weights, x: Tensor| {
        vmap(|x: &Tensor| w2.t().matmul(&(w1.t().matmul(x) + &b1).tanh()) + &b2)(&x)
    });
    alike(&columns.lower(weights(), &x).unwrap(), &by_hand);
    let symbolic = batched.dynamic("arguments.1", 0, "B", 1..=64).lower(weights(), &x).unwrap();
    assert_eq!(steps(&symbolic), (launches, 2));
}

#[test]
fn gradients_of_each_example() {
    let x = f32s([32, 64]);
    let f = jit(|w: (Tensor, Tensor, Tensor, Tensor), x: Tensor| {
        vmap(|x: &Tensor| grad(|w: &(Tensor, Tensor, Tensor, Tensor)| mlp(w, x).square().sum(..))(&w))(&x)
    });
    // The gradients of the weights are products of a column and a row for each example, which kernels do.
    let lowered = f.lower(weights(), &x).unwrap();
    assert_eq!(steps(&lowered), (4, 3), "{}", lowered.stage("program.txt").unwrap());
    // Their mean never has all of them in memory.
    let mean = jit(|w: (Tensor, Tensor, Tensor, Tensor), x: Tensor| {
        vmap(|x: &Tensor| grad(|w: &(Tensor, Tensor, Tensor, Tensor)| mlp(w, x).square().sum(..))(&w).0)(&x).mean(0)
    });
    let lowered = mean.lower(weights(), &x).unwrap();
    assert!(bytes(&lowered) < 32 * 64 * 128 * 4, "{}", lowered.stage("program.txt").unwrap());
}

#[test]
fn rows_and_reads() {
    let x = f32s([32, 64]);
    let by_hand = jit(|x: Tensor| x.softmax(1)).lower(&x).unwrap();
    alike(&jit(|x: Tensor| vmap(|x: &Tensor| x.softmax(0))(&x)).lower(&x).unwrap(), &by_hand);
    // Columns stay columns.
    let by_hand = jit(|x: Tensor| x.softmax(0)).lower(&x).unwrap();
    alike(&jit(|x: Tensor| vmap::with(1, 1, |x: &Tensor| x.softmax(0))(&x)).lower(&x).unwrap(), &by_hand);
    let i = x.argsort(1, false);
    let f = jit(|x: Tensor, i: Tensor| vmap(|(x, i): &(Tensor, Tensor)| x.index_select(0, i))(&(x, i)));
    let by_hand = jit(|x: Tensor, i: Tensor| x.take_along(&i, 1)).lower(&x, &i).unwrap();
    alike(&f.lower(&x, &i).unwrap(), &by_hand);
}

#[test]
fn attention() {
    let of = |q: &Tensor, k: &Tensor, v: &Tensor| {
        einsum("...qk,...kd->...qd", &[&einsum("...qd,...kd->...qk", &[q, k]).softmax(-1), v])
    };
    let f = jit(move |q: Tensor, k: Tensor, v: Tensor| {
        vmap(vmap(move |(q, k, v): &(Tensor, Tensor, Tensor)| of(q, k, v)))(&(q, k, v))
    });
    let by_hand = jit(move |q: Tensor, k: Tensor, v: Tensor| of(&q, &k, &v));
    let q = f32s([3, 2, 8, 4]);
    let by_hand = by_hand.lower(&q, &q, &q).unwrap();
    assert_eq!(steps(&by_hand), (1, 2));
    alike(&f.lower(&q, &q, &q).unwrap(), &by_hand);
}
