//! Gradients at points where a formula alone would give NaN, or one of several: as PyTorch 2 has them.

use tracewright::{Interpolation, Tensor, grad, jit};

fn both(f: fn(&Tensor) -> Tensor, x: &Tensor) -> Vec<f64> {
    let eager = grad(f)(x).to_vec::<f64>().unwrap();
    let compiled = jit(move |x: Tensor| grad(f)(&x)).call(x).unwrap();
    assert_eq!(compiled.to_vec::<f64>().unwrap(), eager);
    eager
}

#[test]
fn deviations_of_equal_numbers() {
    let x = Tensor::from([[3.0f64, 3.0, 3.0], [1.0, 2.0, 3.0]]);
    let slopes = both(|x| x.std(1, 0).sum(..), &x);
    let side = (2.0f64 / 3.0).sqrt().recip() / 3.0;
    assert_eq!(slopes[..3], [0.0; 3]);
    assert!((slopes[3] + side).abs() < 1e-12 && slopes[4] == 0.0 && (slopes[5] - side).abs() < 1e-12);
}

#[test]
fn quantiles_between_equal_numbers() {
    let x = Tensor::from([1.0f64, 5.0, 5.0, 1.0]);
    assert_eq!(both(|x| x.quantile(0.25, 0), &x), [0.25, 0.0, 0.0, 0.75]);
    assert_eq!(both(|x| x.quantile_with(1.0, 0, Interpolation::Midpoint), &x), [0.0, 0.0, 1.0, 0.0]);
    let infinite = Tensor::from([f64::INFINITY, f64::INFINITY, 0.0]);
    assert_eq!(infinite.quantile(0.75, 0).item::<f64>().unwrap(), f64::INFINITY);
}
