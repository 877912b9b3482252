//! Compositions of 16-bit floats are computed in f32 and rounded once: what is too large for the dtype on the way does
//! not show in the result. The same compiled, interpreted and unfused.

mod target;

use tracewright::options::with_options;
use tracewright::{DType, Result, Tensor, grad, jit, nn};

fn half(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, [values.len()]).to_dtype(DType::F16)
}

/// The result in each way of running, as f32.
fn everywhere(x: &Tensor, f: fn(&Tensor) -> Tensor) -> Vec<f32> {
    let run = |name: &str, value: &str| {
        let mut options = target::options();
        options.set(name, value).unwrap();
        with_options(options, || {
            jit(move |x: Tensor| f(&x)).call(x).unwrap().to_dtype(DType::F32).to_vec::<f32>().unwrap()
        })
    };
    let eager: Vec<f32> = f(x).to_dtype(DType::F32).to_vec().unwrap();
    for (name, value) in [("PASSES", ""), ("PASSES", "-fuse"), ("STRICT16", "on"), ("JIT", "off")] {
        assert_eq!(run(name, value), eager, "{name}={value}");
    }
    eager
}

#[test]
fn counts_beyond_the_range() {
    let twos = Tensor::full([70_000], 2.0, DType::F16);
    assert_eq!(everywhere(&twos, |x| x.mean(..)), [2.0]);
    assert_eq!(everywhere(&twos, |x| x.var(.., 0)), [0.0]);
    assert_eq!(everywhere(&twos, |x| x.softmax(0).sum(..).gt(0.9).to_dtype(DType::F32)), [1.0]);
    // ln 70000 + 2
    assert!((everywhere(&twos, |x| x.logsumexp(0))[0] - 13.156).abs() < 0.01);
    assert_eq!(everywhere(&twos, |x| nn::mse_loss(x, &(x + 3.0))), [9.0]);
    let slope = grad(|x: &Tensor| x.mean(..))(&twos).to_dtype(DType::F32).to_vec::<f32>().unwrap()[0];
    assert!((slope - 1.0 / 70_000.0).abs() < 1e-6, "{slope}");
}

#[test]
fn squares_beyond_the_range() -> Result<()> {
    let x = half(&[300.0, -300.0]);
    assert_eq!(everywhere(&x, |x| x.std(.., 0)), [300.0]);
    let norm = nn::LayerNorm::new(2);
    assert_eq!(norm.forward(&x).to_dtype(DType::F32).to_vec::<f32>()?, [1.0, -1.0]);
    Ok(())
}

#[test]
fn variances_of_too_few_elements_and_sums_of_infinities() -> Result<()> {
    let x = Tensor::from([1.0f32, 5.0]);
    assert_eq!(x.var(0, 5).item::<f32>()?, f32::INFINITY);
    assert_eq!(x.std(0, 2).item::<f32>()?, f32::INFINITY);
    assert!(Tensor::zeros([0], DType::F32).var(0, 1).item::<f32>()?.is_nan());
    let f = jit(|x: Tensor| x.var(0, 1)).dynamic("arguments.0", 0, "B", 0..=8);
    assert!(f.call(Tensor::from([2.0f32]))?.item::<f32>()?.is_nan());
    assert_eq!(f.call(&x)?.item::<f32>()?, 8.0);
    for (values, want) in [
        ([f32::INFINITY, 1.0], f32::INFINITY),
        ([f32::INFINITY; 2], f32::INFINITY),
        ([f32::NEG_INFINITY; 2], f32::NEG_INFINITY),
    ] {
        assert_eq!(Tensor::from(values).logsumexp(0).item::<f32>()?, want);
    }
    Ok(())
}

#[test]
fn series_and_losses_round_once() {
    let x = half(&[0.5, 3.0, 9.0, 300.0]);
    let wide = x.to_dtype(DType::F32);
    type Function = fn(&Tensor) -> Tensor;
    let functions: [(&str, Function); 6] = [
        ("i0e", |x| x.i0e()),
        ("k1e", |x| x.k1e()),
        ("log_ndtr", |x| x.log_ndtr()),
        ("legendre_p", |x| (x / 512.0).legendre_p(6)),
        ("rms_norm", |x| nn::rms_norm(x, &x.ones_like(), 1e-5)),
        ("huber_loss", |x| nn::huber_loss(x, &(x * 0.5), 400.0)),
    ];
    for (name, f) in functions {
        let want = f(&wide).to_dtype(DType::F16).to_dtype(DType::F32).to_vec::<f32>().unwrap();
        assert_eq!(everywhere(&x, f), want, "{name}");
    }
}
