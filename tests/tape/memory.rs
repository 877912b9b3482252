//! What the tape keeps.

use crate::leaf;
use std::sync::Arc;
use tracewright::tape::Backward;
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
    // Nothing is written in place by the interpreter.
    if !crate::target::compiles() {
        return;
    }
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
    // Nothing is written in place by the interpreter.
    if !crate::target::compiles() {
        return;
    }
    let x = tensor();
    let y = &x + 1.0;
    let z = (&y * &y).sum(..);
    z.backward().unwrap();
    assert!(held_alone(y));
    drop(z);
}

/// Gradients on the tape lead back to the leaves that they are kept with; all is gone with the tensors.
#[test]
fn gradients_with_a_graph_go_with_their_tensors() {
    let probe = Arc::new(());
    let watch = |x: &Tensor| {
        let probe = probe.clone();
        x.on_grad(move |_| (Arc::strong_count(&probe) == 0).then(|| Tensor::from(0.0))).unwrap();
    };
    let (x, other) = (leaf(2.0), leaf(5.0));
    let square = &x * &x;
    square.retain_grad();
    [&x, &square].into_iter().for_each(watch);
    let loss = &square * &square * &other;
    Backward::of(&[&loss]).create_graph().accumulate().unwrap();
    Backward::of(&[&loss]).create_graph().accumulate().unwrap();
    for (t, want) in [(&x, 320.0), (&square, 80.0), (&other, 32.0)] {
        let g = t.grad().unwrap();
        assert!(g.is_tracked());
        assert_eq!(g.item::<f64>().unwrap(), want);
    }
    // A gradient alone is enough for another.
    let g = x.grad().unwrap();
    drop((loss, square));
    Backward::of(&[&g]).retain().by(&[&x]).unwrap()[0].as_ref().unwrap().item::<f64>().unwrap();
    drop(x);
    Backward::of(&[&g]).create_graph().accumulate().unwrap();
    assert!(Arc::strong_count(&probe) > 1);
    drop(g);
    other.clear_grad();
    assert_eq!(Arc::strong_count(&probe), 1);
}

#[test]
fn views_are_not_copied() {
    let x = Tensor::ones([256, 256], DType::F64).requires_grad();
    let y = x.t();
    let z = y.slice(0, 0..100);
    (z.square().sum(..)).backward().unwrap();
    assert_eq!(x.grad().unwrap().sum(..).item::<f64>().unwrap(), 2.0 * 256.0 * 100.0);
}
