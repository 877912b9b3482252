//! What the tape keeps.

use crate::leaf;
use tracewright::{DType, Tensor};

const N: usize = 1 << 16;

/// True if nobody but that tensor holds its memory: a compiled call that donates it needs no copy.
fn held_alone(t: Tensor) -> bool {
    let at = t.data_ptr();
    let mut state = t.detach();
    drop(t);
    let step = tracewright::jit(|x: Tensor| (x + 1.0, ()));
    step.call_mut(&mut state).unwrap();
    state.data_ptr() == at
}

fn tensor() -> Tensor {
    Tensor::ones([N], DType::F64).requires_grad()
}

#[test]
fn intermediates_that_no_rule_needs_are_freed_after_forward() {
    let x = tensor();
    let y = &x + 1.0;
    let z = &y * 3.0;
    assert!(held_alone(y), "neither the sum nor the product by a number keeps it");
    let y = z.exp();
    assert!(held_alone(z), "the exponential keeps its result instead");
    let z = &y * &y;
    assert!(!held_alone(y), "a product keeps its factors");
    drop((z, leaf(1.0)));
}

#[test]
fn a_backward_frees_what_was_kept() {
    let x = tensor();
    let y = &x + 1.0;
    let z = (&y * &y).sum(..);
    z.backward().unwrap();
    assert!(held_alone(y));
    drop(z);
}

#[test]
fn views_are_not_copied() {
    let x = Tensor::ones([256, 256], DType::F64).requires_grad();
    let y = x.t();
    let z = y.slice(0, 0..100);
    (z.square().sum(..)).backward().unwrap();
    assert_eq!(x.grad().unwrap().sum(..).item::<f64>().unwrap(), 2.0 * 256.0 * 100.0);
}
