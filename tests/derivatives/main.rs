//! Derivatives of functions: reverse and forward mode, their nesting, what they are by and of.

mod mistakes;
mod modes;
mod nesting;
mod parts;
mod reports;
mod samples;
#[path = "../target/mod.rs"]
mod target;

use tracewright::Tensor;

fn f64s(t: &Tensor) -> Vec<f64> {
    t.to_vec().unwrap()
}
fn number(t: &Tensor) -> f64 {
    t.item().unwrap()
}
fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0), "{a} {b}");
    }
}
fn dot(a: &Tensor, b: &Tensor) -> f64 {
    f64s(a).iter().zip(f64s(b)).map(|(a, b)| a * b).sum()
}
