//! Products with what becomes of their sums.

use crate::device::{both, device};
use tracewright::options::{self, Options};
use tracewright::{DType, Generator, Tensor, jit};

type Model = fn(&Tensor, &Tensor, &Tensor) -> Tensor;

/// The rows of a batch, weights and a bias.
fn numbers(dtype: DType, rows: &[usize]) -> [Tensor; 3] {
    let g = Generator::new(3);
    let shape: Vec<usize> = rows.iter().copied().chain([7]).collect();
    [g.normal(&shape[..], 0.0, 1.0), g.normal([7, 6], 0.0, 1.0), g.normal([6], 0.0, 1.0)].map(|t| t.to_dtype(dtype))
}

/// Launches and products of a model on the device, and the lines of its products.
fn steps(dtype: DType, rows: &[usize], model: Model) -> Option<(usize, Vec<String>)> {
    device()?.scope(|| {
        let f = jit(move |(x, w, b): (Tensor, Tensor, Tensor)| model(&x, &w, &b));
        let [x, w, b] = numbers(dtype, rows);
        let lowered = f.lower((x, w, b)).unwrap();
        let (text, program) = (lowered.stage("program.txt").unwrap(), lowered.executable().program().unwrap());
        let products: Vec<String> = text.lines().filter(|l| l.contains(" x b")).map(|l| l.trim().into()).collect();
        Some((program.steps.len() - products.len(), products))
    })
}

/// The same results on the device and on the processor, up to so much.
fn agree(dtype: DType, rows: &[usize], model: Model, within: f64) {
    let run = || {
        let [x, w, b] = numbers(dtype, rows);
        jit(move |(x, w, b): (Tensor, Tensor, Tensor)| model(&x, &w, &b))
            .call((x, w, b))?
            .to_dtype(DType::F64)
            .to_vec::<f64>()
    };
    let Some((got, want)) = both(run) else { return };
    for (g, w) in got.iter().zip(&want) {
        assert!((g - w).abs() <= within * (1.0 + w.abs()), "{dtype}: {g}, not {w}");
    }
}

const LINEAR: Model = |x, w, b| x.matmul(w) + b;
const GELU: Model = |x, w, b| (x.matmul(w) + b).gelu_tanh();
const RELU: Model = |x, w, b| (x.matmul(w) + b).relu();

#[test]
fn a_bias_is_the_products() {
    for (dtype, within) in [(DType::F32, 1e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)] {
        for rows in [&[5][..], &[2, 5], &[1]] {
            for model in [LINEAR, |x, w, b| b + x.matmul(w), |x, w, b| x.matmul(w) + b.reshape([1, 6])] {
                let Some((launches, products)) = steps(dtype, rows, model) else { return };
                assert!(launches == 0 && products.len() == 1 && products[0].contains(" + b"), "{products:?}");
                agree(dtype, rows, model, within);
            }
        }
    }
}

#[test]
fn gelu_is_the_products_where_it_is_rounded_to_16_bits() {
    for (dtype, within) in [(DType::F16, 4e-3), (DType::BF16, 3e-2)] {
        let plain: Model = |x, w, _| x.matmul(w).gelu_tanh();
        // As others write it.
        let other: Model = |x, w, b| {
            let y = x.matmul(w) + b;
            let inner = (&y * &y * &y * 0.044715 + &y) * (2.0 / std::f64::consts::PI).sqrt();
            (inner.tanh() + 1.0) * 0.5 * y
        };
        for model in [GELU, plain, other] {
            let Some((launches, products)) = steps(dtype, &[5], model) else { return };
            assert!(launches == 0 && products.len() == 1 && products[0].contains("gelu_tanh("), "{products:?}");
            agree(dtype, &[5], model, within);
        }
    }
}

#[test]
fn all_else_stays_a_kernel() {
    let other: Model = |x, w, b| {
        let y = x.matmul(w) + b;
        let inner = (&y * &y * &y * 0.05 + &y) * (2.0 / std::f64::consts::PI).sqrt();
        (inner.tanh() + 1.0) * 0.5 * y
    };
    let cases: [(DType, Model); 9] = [
        (DType::F32, GELU),
        (DType::F32, RELU),
        (DType::F16, RELU),
        (DType::F16, other),
        (DType::F64, LINEAR),
        // Not by columns.
        (DType::F32, |x, w, b| x.matmul(w) + b.slice(0, 0..5).unsqueeze(1)),
        (DType::F32, |x, w, b| x.matmul(w) + b.flip(&[0])),
        (DType::F32, |x, w, b| x.matmul(w) - b),
        (DType::F32, |x, w, _| x.matmul(w) + 1.0),
    ];
    for (i, (dtype, model)) in cases.into_iter().enumerate() {
        let Some((launches, products)) = steps(dtype, &[5], model) else { return };
        assert!(launches == 1 && products.len() == 1 && !products[0].contains(" + "), "{i}: {products:?}");
        agree(dtype, &[5], model, 4e-3);
    }
    // The sums themselves are needed too.
    let two: Model = |x, w, b| {
        let y = x.matmul(w);
        (&y + b) / y.sum(..)
    };
    let (_, products) = steps(DType::F32, &[5], two).unwrap();
    assert!(!products[0].contains(" + "), "{products:?}");
}

#[test]
fn with_strict16_sums_are_rounded_first() {
    let Some(device) = device() else { return };
    let strict = Options { strict16: true, ..(*options::current().unwrap()).clone() };
    options::with_options(strict, || {
        let (launches, products) = steps(DType::F16, &[5], LINEAR).unwrap();
        assert!(launches == 1 && !products[0].contains(" + "), "{products:?}");
        assert_eq!(steps(DType::F32, &[5], LINEAR).unwrap().0, 0);
        let bits = || {
            let [x, w, b] = numbers(DType::F16, &[5]);
            (x.matmul(&w) + b).to_dtype(DType::F32).to_vec::<f32>()
        };
        assert_eq!(device.scope(bits).unwrap(), bits().unwrap());
    });
}

#[test]
fn programs_are_checked_with_them() {
    let Some(device) = device() else { return };
    let checked = Options { check: 3, ..(*options::current().unwrap()).clone() };
    options::with_options(checked, || {
        for (dtype, model) in [(DType::F32, LINEAR), (DType::F16, LINEAR), (DType::BF16, GELU), (DType::F16, GELU)] {
            device.scope(|| {
                let [x, w, b] = numbers(dtype, &[2, 5]);
                let f = jit(move |(x, w, b): (Tensor, Tensor, Tensor)| model(&x, &w, &b));
                f.call((x, w, b)).unwrap().to_dtype(DType::F32).to_vec::<f32>().unwrap();
            });
        }
    });
}

#[test]
fn arguments_may_change_from_call_to_call() {
    let Some(device) = device() else { return };
    device.scope(|| {
        let f = jit(|(x, w, b): (Tensor, Tensor, Tensor)| (x.matmul(&w) + b).exp().sum(..));
        let g = Generator::new(4);
        for _ in 0..6 {
            let (x, w, b) = (g.normal([5, 7], 0.0, 0.3), g.normal([7, 6], 0.0, 0.3), g.normal([6], 0.0, 0.3));
            let got = f.call((x.clone(), w.clone(), b.clone())).unwrap().item::<f32>().unwrap();
            let want = (x.matmul(&w) + b).exp().sum(..).item::<f32>().unwrap();
            assert!((got - want).abs() <= 1e-4 * want.abs(), "{got}, not {want}");
        }
    });
}
