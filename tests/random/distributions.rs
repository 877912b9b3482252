//! Distributions over the real numbers: the Kolmogorov-Smirnov distance from the distribution function, and moments. Seeds
//! are fixed, so a test that passes always does.

use tracewright::{DType, Key, Tensor, random};

const N: usize = 20_000;

/// The largest distance between the share of numbers up to `x` and `cdf(x)`, times the root of how many there are: above
/// 1.95 for one of a thousand seeds.
pub fn distance(numbers: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let off = sorted.iter().enumerate().map(|(i, &x)| {
        let p = cdf(x);
        (p - i as f64 / n).max((i + 1) as f64 / n - p)
    });
    off.fold(0.0, f64::max) * n.sqrt()
}

pub fn values(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).to_vec::<f64>().unwrap()
}

fn follows(name: &str, draw: impl Fn(&Key, DType) -> Tensor, cdf: impl Fn(f64) -> f64) {
    for (seed, dtype) in [(1, DType::F32), (2, DType::F64), (3, DType::F32)] {
        let d = distance(&values(&draw(&Key::new(seed), dtype)), &cdf);
        assert!(d < 1.9, "{name} {dtype}, seed {seed}: {d}");
    }
}

fn phi(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

#[test]
fn uniform_numbers() {
    follows("uniform", |k, d| random::uniform(k, [N], d, 0.0, 1.0), |x| x);
    follows("uniform", |k, d| random::uniform(k, [N], d, -3.0, 5.0), |x| (x + 3.0) / 8.0);
    // 16-bit floats have as many steps as they have bits.
    for (dtype, steps) in [(DType::F16, 2048.0), (DType::BF16, 256.0)] {
        let x = values(&random::uniform(&Key::new(4), [N], dtype, 0.0, 1.0));
        assert!(x.iter().all(|x| (x * steps).fract() == 0.0 && *x < 1.0));
        assert!(x.contains(&(1.0 - 1.0 / steps)) && x.contains(&0.0), "{dtype}");
    }
}

#[test]
fn the_upper_end_of_a_range_never_comes() {
    // A range of few numbers, so that rounding often reaches the end.
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let high = 1.0 + 2f64.powi(-5);
        for ends in [[1.0, high], [-high, -1.0], [0.0, 2f64.powi(-14)], [-1e-3, 1e-3]] {
            let x = values(&random::uniform(&Key::new(5), [N], dtype, ends[0], ends[1]));
            let end = Tensor::from(ends).to_dtype(dtype).to_dtype(DType::F64).to_vec::<f64>().unwrap();
            assert!(x.iter().all(|&x| end[0] <= x && x < end[1]), "{dtype} {ends:?}");
        }
        let (low, high) = (Tensor::from([1.0f64, 2.0]).to_dtype(dtype), Tensor::from([1.0f64, 2.5]).to_dtype(dtype));
        let x = values(&random::uniform(&Key::new(6), [N, 2], dtype, &low, &high));
        assert!(x.chunks(2).all(|x| x[0] == 1.0 && (2.0..2.5).contains(&x[1])), "{dtype}");
    }
}

#[test]
fn normal_numbers() {
    follows("normal", |k, d| random::normal(k, [N], d, 0.0, 1.0), phi);
    follows("normal", |k, d| random::normal(k, [100, N / 100], d, 3.0, 0.5), |x| phi((x - 3.0) / 0.5));
    follows("log_normal", |k, d| random::log_normal(k, [N], d, 0.5, 2.0), |x| phi((x.ln() - 0.5) / 2.0));
    let x = values(&random::normal(&Key::new(9), [200_000], DType::F64, 0.0, 1.0));
    let moment = |p: i32| x.iter().map(|x| x.powi(p)).sum::<f64>() / x.len() as f64;
    assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.01, "{} {}", moment(1), moment(2));
    assert!(moment(3).abs() < 0.03 && (moment(4) - 3.0).abs() < 0.06, "{} {}", moment(3), moment(4));
    let half = values(&random::normal(&Key::new(9), [N], DType::BF16, 0.0, 1.0));
    assert!(half.iter().sum::<f64>().abs() / (N as f64) < 0.03);
}

#[test]
fn truncated_normal_numbers() {
    for (low, high) in [(-2.0, 2.0), (-0.5, 3.0), (1.0, 1.5), (2.0, 3.0), (-4.0, -3.0), (0.0, f64::INFINITY)] {
        let inside = |x: f64| (phi(x) - phi(low)) / (phi(high) - phi(low));
        follows("truncated_normal", |k, d| random::truncated_normal(k, [N], d, low, high), inside);
        let x = values(&random::truncated_normal(&Key::new(8), [N], DType::F16, low, high));
        assert!(x.iter().all(|x| (low..=high).contains(x)));
    }
}

#[test]
fn numbers_by_a_closed_formula() {
    follows("exponential", |k, d| random::exponential(k, [N], d, 2.5), |x| -(-2.5 * x).exp_m1());
    follows("gumbel", |k, d| random::gumbel(k, [N], d, 1.0, 2.0), |x| (-(-(x - 1.0) / 2.0).exp()).exp());
    follows(
        "laplace",
        |k, d| random::laplace(k, [N], d, -1.0, 0.5),
        |x| {
            let z = (x + 1.0) / 0.5;
            if z < 0.0 { 0.5 * z.exp() } else { 1.0 - 0.5 * (-z).exp() }
        },
    );
    follows(
        "cauchy",
        |k, d| random::cauchy(k, [N], d, 2.0, 3.0),
        |x| 0.5 + ((x - 2.0) / 3.0).atan() / std::f64::consts::PI,
    );
}

/// Uniform numbers of 24 bits are 0 now and then.
#[test]
fn exponential_numbers_are_not_negative() {
    let zeros = (0..16).map(|seed| {
        let x = random::exponential(&Key::new(seed), [1 << 21], DType::F32, 1.0);
        assert!(!x.signbit().any(..).item::<bool>().unwrap());
        x.eq(0.0).sum(..).item::<i64>().unwrap()
    });
    assert!((1..8).contains(&zeros.sum::<i64>()));
    assert!(random::gumbel(&Key::new(3), [1 << 22], DType::F32, 0.0, 1.0).is_finite().all(..).item::<bool>().unwrap());
    assert!(random::normal(&Key::new(3), [1 << 22], DType::F32, 0.0, 1.0).is_finite().all(..).item::<bool>().unwrap());
}

#[test]
fn split_and_folded_keys_are_independent() {
    let key = Key::new(11);
    let [a, b] = key.split();
    let keys = [key.clone(), a, b, key.fold_in(0), key.fold_in(1), key.fold_in(1i64 << 40), Key::new(12)];
    let drawn: Vec<Vec<f64>> = keys.iter().map(|k| values(&random::normal(k, [N], DType::F64, 0.0, 1.0))).collect();
    for (i, x) in drawn.iter().enumerate() {
        for (j, y) in drawn.iter().enumerate() {
            // At the same place, and one place on.
            let correlation =
                |shift: usize| x.iter().zip(&y[shift..]).map(|(a, b)| a * b).sum::<f64>() / (N as f64).sqrt();
            assert!(i == j || correlation(0).abs() < 4.0, "{i} {j}: {}", correlation(0));
            assert!(correlation(1).abs() < 4.0, "{i} {j} shifted: {}", correlation(1));
        }
    }
}

#[test]
fn the_first_numbers_do_not_depend_on_how_many_there_are() {
    let key = Key::new(3);
    for dtype in [DType::F32, DType::F64] {
        let long = values(&random::normal(&key, [64, 3], dtype, 0.0, 1.0));
        assert_eq!(values(&random::normal(&key, [7], dtype, 0.0, 1.0)), long[..7]);
    }
}

#[test]
fn parameters_are_tensors_that_broadcast() {
    let (mean, deviation) = (Tensor::from([[0.0f32], [100.0]]), Tensor::from([1.0f32, 2.0, 3.0]));
    let x = random::normal(&Key::new(1), [2000, 2, 3], DType::F32, &mean, &deviation);
    let means = x.mean(0).to_vec::<f32>().unwrap();
    let deviations = x.std(0, 0).to_vec::<f32>().unwrap();
    for i in 0..6 {
        assert!((means[i] - [0.0, 100.0][i / 3]).abs() < 0.3, "{means:?}");
        assert!((deviations[i] - [1.0, 2.0, 3.0][i % 3]).abs() < 0.15, "{deviations:?}");
    }
    let like = Tensor::zeros([2, 5], DType::F64);
    assert_eq!(random::uniform_like(&Key::new(1), &like, 0.0, 1.0).ty_text(), "f64[2, 5]");
    assert_eq!(random::normal_like(&Key::new(1), &like, 0.0, 1.0).ty_text(), "f64[2, 5]");
    assert_eq!(random::normal(&Key::new(1), [0, 3], DType::F32, 0.0, 1.0).ty_text(), "f32[0, 3]");
    let empty: [usize; 0] = [];
    assert_eq!(random::gamma(&Key::new(1), empty, DType::F32, 1.0, 1.0).ty_text(), "f32[]");
}

trait TyText {
    fn ty_text(&self) -> String;
}
impl TyText for Tensor {
    fn ty_text(&self) -> String {
        self.try_type().unwrap().to_string()
    }
}
