//! Gamma variates and what is made of them.

use crate::distributions::{distance, values};
use tracewright::{DType, Key, Tensor, grad, jit, random};

/// The regularised incomplete gamma function: by its series below the middle, by the continued fraction above (Abramowitz
/// and Stegun 6.5.29 and 6.5.31).
fn p(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (a * x.ln() - x - libm::lgamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..10_000 {
            term *= x / (a + n as f64);
            sum += term;
        }
        return front * sum;
    }
    let tail = (1..500).rev().fold(0.0, |inner, n| {
        let n = n as f64;
        n * (a - n) / (x + 2.0 * n + 1.0 - a + inner)
    });
    1.0 - front / (x + 1.0 - a + tail)
}

/// The number below which a share of the variates lie.
fn quantile(a: f64, share: f64) -> f64 {
    let (mut low, mut high) = (0.0, 50.0 + 10.0 * a);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        *(if p(a, middle) < share { &mut low } else { &mut high }) = middle;
    }
    0.5 * (low + high)
}

#[test]
fn gamma_numbers() {
    for (seed, a) in [0.01, 0.3, 0.999, 1.0, 2.5, 20.0, 1000.0].into_iter().enumerate() {
        for dtype in [DType::F64, DType::F32] {
            let x = random::gamma(&Key::new(seed as u64), [10_000], dtype, a, 2.0);
            // Of small shapes many variates are 0 in f32.
            let x: Vec<f64> = values(&x).into_iter().filter(|&x| x > 0.0 || a > 0.1).collect();
            let least = if a > 0.1 { 0.0 } else { p(a, 2.0 * x.iter().copied().fold(1.0, f64::min)) };
            let d = distance(&x, |x| (p(a, 2.0 * x) - least) / (1.0 - least));
            assert!(d < 1.9, "{a} {dtype}: {d}");
        }
    }
}

#[test]
fn numbers_made_of_gamma_numbers() {
    let n = 20_000;
    let d = distance(&values(&random::chi2(&Key::new(1), [n], DType::F32, 3.0)), |x| p(1.5, 0.5 * x));
    assert!(d < 1.9, "chi2: {d}");
    // Of one degree of freedom it is Cauchy's distribution.
    let t = random::student_t(&Key::new(2), [n], DType::F64, 1.0);
    let d = distance(&values(&t), |x| 0.5 + x.atan() / std::f64::consts::PI);
    assert!(d < 1.9, "student_t: {d}");
    // With a second parameter of 1 it is a power of a uniform number.
    let d = distance(&values(&random::beta(&Key::new(3), [n], DType::F32, 2.5, 1.0)), |x| x.powf(2.5));
    assert!(d < 1.9, "beta: {d}");
    let d = distance(&values(&random::beta(&Key::new(4), [n], DType::F64, 1.0, 0.2)), |x| 1.0 - (1.0 - x).powf(0.2));
    assert!(d < 1.9, "beta: {d}");
    // Parts of Dirichlet's distribution follow beta's.
    let parts = random::dirichlet(&Key::new(5), [n], DType::F64, &Tensor::from([1.0f64, 0.5, 2.0]));
    let d = distance(&values(&parts.slice(-1, 0..1)), |x| 1.0 - (1.0 - x).powf(2.5));
    assert!(d < 1.9, "dirichlet: {d}");
    assert!((parts.sum(-1) - 1.0).abs().max(0).item::<f64>().unwrap() < 1e-12);
    // Tiny shapes still give parts of 1.
    let tiny = random::dirichlet(&Key::new(6), [100], DType::F32, &Tensor::from([1e-4f32, 1e-4]));
    assert!((tiny.sum(-1) - 1.0).abs().max(0).item::<f32>().unwrap() < 1e-6);
}

/// The gradient moves a variate so that its share stays.
#[test]
fn gradients_are_those_of_the_quantile() {
    for (seed, a) in [0.2, 0.9, 1.0, 3.0, 12.0, 150.0].into_iter().enumerate() {
        let key = Key::new(seed as u64);
        let draw = move |a: &Tensor| random::gamma(&key, [20], DType::F64, a, 1.0);
        let x = values(&draw(&Tensor::from(a)));
        for (i, &x) in x.iter().enumerate() {
            let one = draw.clone();
            let slope = grad(move |a: &Tensor| one(a).select(0, i as isize))(&Tensor::from(a)).item::<f64>().unwrap();
            let share = p(a, x);
            if !(1e-6..1.0 - 1e-6).contains(&share) {
                continue;
            }
            let h = 1e-4 * a;
            let difference = (quantile(a + h, share) - quantile(a - h, share)) / (2.0 * h);
            assert!((slope - difference).abs() < 1e-4 * (difference.abs() + 1e-3), "{a} at {x}: {slope}, {difference}");
        }
    }
}

/// Means of variates have the derivatives of the means.
#[test]
fn gradients_of_means() {
    let n = 20_000;
    let of = |f: fn(&Key, usize, &Tensor) -> Tensor, at: f64| {
        let g = jit(move |key: Key, a: Tensor| grad(move |a: &Tensor| f(&key, n, a).mean(..))(&a));
        g.call(Key::new(3), Tensor::from(at)).unwrap().item::<f64>().unwrap()
    };
    // E gamma(a) = a, E gamma(1, r) = 1 / r, E beta(a, 2) = a / (a + 2), E normal(0, s)² = s².
    let by_shape = of(|k, n, a| random::gamma(k, [n], DType::F64, a, 1.0), 0.7);
    assert!((by_shape - 1.0).abs() < 0.03, "{by_shape}");
    let by_rate = of(|k, n, r| random::gamma(k, [n], DType::F64, 1.0, r), 2.0);
    assert!((by_rate + 0.25).abs() < 0.01, "{by_rate}");
    let beta = of(|k, n, a| random::beta(k, [n], DType::F64, a, 2.0), 1.5);
    assert!((beta - 2.0 / (3.5 * 3.5)).abs() < 0.01, "{beta}");
    let normal = of(|k, n, s| random::normal(k, [n], DType::F64, 0.0, s).square(), 3.0);
    assert!((normal - 6.0).abs() < 0.2, "{normal}");
    let uniform = of(|k, n, high| random::uniform(k, [n], DType::F64, 1.0, high), 3.0);
    assert!((uniform - 0.5).abs() < 0.01, "{uniform}");
}

#[test]
fn odd_shapes_of_tensors() {
    let a = Tensor::from([0.0f64, -1.0, f64::NAN, f64::INFINITY, 1e-300]);
    let x = random::gamma(&Key::new(1), [5], DType::F64, &a, 1.0).to_vec::<f64>().unwrap();
    assert!(x[0] == 0.0 && x[1].is_nan() && x[2].is_nan() && x[3] == f64::INFINITY && x[4] == 0.0, "{x:?}");
    let x = random::poisson(&Key::new(1), [4], DType::F64, Tensor::from([0.0f64, -1.0, f64::NAN, f64::INFINITY]));
    let x = x.to_vec::<f64>().unwrap();
    assert!(x[0] == 0.0 && x[1].is_nan() && x[2].is_nan() && x[3] == f64::INFINITY, "{x:?}");
}
