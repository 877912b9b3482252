//! The tape: gradients of eager code.

mod families;
mod functions;
mod memory;
mod semantics;
#[path = "../target/mod.rs"]
mod target;

use tracewright::Tensor;

fn number(t: &Tensor) -> f64 {
    t.item().unwrap()
}
fn f64s(t: &Tensor) -> Vec<f64> {
    t.to_vec().unwrap()
}
fn leaf(x: f64) -> Tensor {
    Tensor::from(x).requires_grad()
}
fn slope(t: &Tensor) -> f64 {
    number(&t.grad().expect("a gradient"))
}
fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        let near = (x - y).abs() <= tolerance * x.abs().max(y.abs()).max(1.0) || (x.is_nan() && y.is_nan());
        assert!(near, "{a:?} {b:?}");
    }
}
