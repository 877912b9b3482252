//! Functions of one example as functions of many.

mod axes;
mod control;
mod nesting;
mod primitives;
mod random;
mod state;
#[path = "../target/mod.rs"]
mod target;

use tracewright::Tensor;

/// The elements and the shape.
fn shown(t: &Tensor) -> (String, Vec<f64>) {
    (t.shape().to_string(), t.to_dtype(tracewright::DType::F64).to_vec().unwrap())
}

/// Distinct numbers (f64) of a shape.
fn numbers(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    ((Tensor::arange(n, tracewright::DType::F64) * 1.7 + 0.3).sin() * 2.0).reshape(shape)
}

fn close(a: &Tensor, b: &Tensor) {
    let ((shape, a), (want, b)) = (shown(a), shown(b));
    assert_eq!(shape, want);
    for (x, y) in a.iter().zip(&b) {
        assert!((x - y).abs() <= 1e-12 * y.abs().max(1.0), "{a:?} {b:?}");
    }
}
