//! Distributions over integers: Pearson's statistic against the probabilities.

use crate::distributions::values;
use tracewright::{DType, Key, Tensor, random};

/// Pearson's statistic less what it is on average, in deviations.
fn surplus(counts: &[f64], expected: &[f64]) -> f64 {
    let statistic: f64 = counts.iter().zip(expected).map(|(c, e)| (c - e) * (c - e) / e).sum();
    let freedom = counts.len() as f64 - 1.0;
    (statistic - freedom) / (2.0 * freedom).sqrt()
}

fn counted(x: &Tensor, from: i64, n: usize) -> Vec<f64> {
    let mut counts = vec![0.0; n];
    values(x).iter().for_each(|&v| counts[(v as i64 - from) as usize] += 1.0);
    counts
}

fn fits(name: &str, x: &Tensor, from: i64, probabilities: &[f64]) {
    let n = values(x).len() as f64;
    let expected: Vec<f64> = probabilities.iter().map(|p| p * n).collect();
    let s = surplus(&counted(x, from, probabilities.len()), &expected);
    assert!(s.abs() < 4.0, "{name}: {s}");
}

#[test]
fn integers_in_a_range() {
    for (seed, dtype) in [DType::I64, DType::I32, DType::I8, DType::U8, DType::U64].into_iter().enumerate() {
        let low = if dtype.is_signed() { -3 } else { 2 };
        let x = random::integers(&Key::new(seed as u64), [20_000], dtype, low, low + 13);
        fits(dtype.name(), &x, low, &[1.0 / 13.0; 13]);
    }
    let ends = |x: &Tensor| (x.min(..).item::<i64>().unwrap(), x.max(..).item::<i64>().unwrap());
    // Ranges of more than 32 bits, by their eighths.
    for (low, high) in [(0i64, 1i64 << 40), (-(1 << 62), 1 << 62), (i64::MIN, i64::MAX)] {
        let x = random::integers(&Key::new(9), [20_000], DType::I64, low, high);
        let (least, most) = ends(&x);
        assert!(low <= least && most < high);
        let width = (high as i128 - low as i128) / 8;
        let mut counts = vec![0.0; 8];
        let all = x.to_vec::<i64>().unwrap();
        all.iter().for_each(|&v| counts[((v as i128 - low as i128) / width).min(7) as usize] += 1.0);
        assert!(surplus(&counts, &[2500.0; 8]).abs() < 4.0, "{counts:?}");
    }
    let whole = random::integers(&Key::new(1), [4000], DType::U8, 0, 256);
    assert_eq!((whole.min(0).item::<u8>().unwrap(), whole.max(0).item::<u8>().unwrap()), (0, 255));
    let one = random::integers(&Key::new(1), [10], DType::I16, -7, -6);
    assert_eq!(one.to_vec::<i16>().unwrap(), [-7; 10]);
}

#[test]
fn ranges_of_tensors() {
    let low = Tensor::from([0i64, -10, 5, 7]);
    let high = Tensor::from([3i64, -8, 5, 1]);
    let x = random::integers(&Key::new(2), [3000, 4], DType::I32, &low, &high);
    let column = |i: isize| x.slice(1, i..i + 1);
    fits("0..3", &column(0), 0, &[1.0 / 3.0; 3]);
    fits("-10..-8", &column(1), -10, &[0.5; 2]);
    // Empty ranges give their lower end.
    assert!(column(2).to_vec::<i32>().unwrap().iter().all(|&v| v == 5));
    assert!(column(3).to_vec::<i32>().unwrap().iter().all(|&v| v == 7));
}

#[test]
fn raw_bits() {
    let x = random::bits(&Key::new(3), [20_000], DType::U64).to_vec::<u64>().unwrap();
    for bit in 0..64 {
        let ones = x.iter().filter(|v| *v >> bit & 1 == 1).count() as f64;
        assert!(((ones - 10_000.0) / 70.7).abs() < 4.5, "bit {bit}: {ones}");
    }
    fits("u8", &random::bits(&Key::new(4), [50_000], DType::U8), 0, &[1.0 / 256.0; 256]);
}

#[test]
fn truth_values() {
    for (seed, p) in [0.1, 0.5, 0.93].into_iter().enumerate() {
        let x = random::bernoulli(&Key::new(seed as u64), [20_000], p);
        fits("bernoulli", &x, 0, &[1.0 - p, p]);
    }
    let p = Tensor::from([0.0f64, 1.0, 0.25]);
    let x = random::bernoulli(&Key::new(5), [4000, 3], &p);
    assert_eq!(x.slice(1, 0..2).sum(0).to_vec::<i64>().unwrap(), [0, 4000]);
    fits("bernoulli f64", &x.slice(1, 2..3), 0, &[0.75, 0.25]);
    // The halves of places do not know of each other.
    let x = values(&random::bernoulli(&Key::new(6), [20_000], 0.5));
    let pairs: f64 = x.chunks(2).map(|x| x[0] * x[1]).sum();
    assert!((pairs - 2500.0).abs() < 4.0 * 43.3, "{pairs}");
}

#[test]
fn categories() {
    let p = [0.1, 0.2, 0.0, 0.3, 0.4];
    let logits = Tensor::from(p).log().broadcast_to([20_000, 5]);
    let x = random::categorical(&Key::new(1), &logits, -1);
    let kept = [0.1, 0.2, 0.3, 0.4];
    let dense = Tensor::from(counted(&x, 0, 5)).to_vec::<f64>().unwrap();
    assert_eq!(dense[2], 0.0);
    let counts: Vec<f64> = [0, 1, 3, 4].map(|i| dense[i]).to_vec();
    assert!(surplus(&counts, &kept.map(|p| p * 20_000.0)).abs() < 4.0, "{counts:?}");
    // Along another axis.
    let x = random::categorical(&Key::new(2), &logits.t().to_dtype(DType::F32), 0);
    assert!((values(&x).iter().filter(|&&v| v == 4.0).count() as f64 - 8000.0).abs() < 280.0);
    let drawn = random::multinomial(&Key::new(3), &(Tensor::from(p) * 7.0), 20_000, true);
    assert_eq!(counted(&drawn, 0, 5)[2], 0.0);
    assert!(surplus(&[0, 1, 3, 4].map(|i| counted(&drawn, 0, 5)[i]), &kept.map(|p| p * 20_000.0)).abs() < 4.0);
}

#[test]
fn choices_without_replacement() {
    // The first of two drawn follows the weights, and no two are the same.
    let weights = Tensor::from([1.0f32, 2.0, 0.0, 3.0]).broadcast_to([6000, 4]);
    let x = random::multinomial(&Key::new(4), &weights, 3, false).to_vec::<i64>().unwrap();
    let mut first = [0.0; 4];
    for drawn in x.chunks(3) {
        first[drawn[0] as usize] += 1.0;
        let mut sorted = drawn.to_vec();
        sorted.sort();
        assert_eq!(sorted, [0, 1, 3]);
    }
    assert!(surplus(&[first[0], first[1], first[3]], &[1000.0, 2000.0, 3000.0]).abs() < 4.0, "{first:?}");
    let x = Tensor::arange(10, DType::I64);
    let some = random::choice(&Key::new(5), &x, 0, 10, false, None);
    assert_eq!(some.sort(0, false).0.to_vec::<i64>().unwrap(), (0..10).collect::<Vec<_>>());
    fits("choice", &random::choice(&Key::new(6), &x, 0, 20_000, true, None), 0, &[0.1; 10]);
}

#[test]
fn counts_and_attempts() {
    let factorial = |k: usize| (1..=k).map(|i| i as f64).product::<f64>();
    for (seed, rate) in [0.3f64, 4.0, 9.9, 10.0, 30.0].into_iter().enumerate() {
        let x = random::poisson(&Key::new(seed as u64), [20_000], DType::I64, rate);
        let most = (rate + 3.0 * rate.sqrt() + 1.0) as usize;
        // What is rare is one class.
        let mut p: Vec<f64> = (0..most).map(|k| (-rate + k as f64 * rate.ln()).exp() / factorial(k)).collect();
        p.push(1.0 - p.iter().sum::<f64>());
        fits("poisson", &x.minimum(most as i64), 0, &p);
        let (mean, variance) = (x.mean(..).item::<f32>().unwrap() as f64, x.var(.., 0).item::<f32>().unwrap() as f64);
        assert!((mean - rate).abs() < 4.0 * (rate / 20_000.0).sqrt() && (variance / rate - 1.0).abs() < 0.06);
    }
    let large = random::poisson(&Key::new(8), [4000], DType::F64, 1e6);
    assert!((large.mean(..).item::<f64>().unwrap() - 1e6).abs() < 80.0);
    assert_eq!(random::poisson(&Key::new(8), [3], DType::F32, 0.0).to_vec::<f32>().unwrap(), [0.0; 3]);
    for (seed, p) in [0.2f64, 0.7].into_iter().enumerate() {
        let x = random::geometric(&Key::new(seed as u64), [20_000], DType::I32, p);
        let mut probabilities: Vec<f64> = (0..8).map(|k| p * (1.0 - p).powi(k)).collect();
        probabilities.push((1.0 - p).powi(8));
        fits("geometric", &x.minimum(9), 1, &probabilities);
    }
    assert_eq!(random::geometric(&Key::new(1), [4], DType::I64, 1.0).to_vec::<i64>().unwrap(), [1; 4]);
}

#[test]
fn permutations() {
    // Each number is as often at each place.
    let mut counts = vec![0.0; 25];
    for seed in 0..2000 {
        let order = random::permutation(&Key::new(seed), 5).to_vec::<i64>().unwrap();
        order.iter().enumerate().for_each(|(at, &v)| counts[at * 5 + v as usize] += 1.0);
    }
    assert!(surplus(&counts, &[400.0; 25]).abs() < 4.0, "{counts:?}");
    let x = random::shuffle(&Key::new(1), &Tensor::arange(12, DType::I64).reshape([3, 4]), -1);
    let mut columns = x.t().contiguous_rows(3);
    columns.sort();
    assert_eq!(columns, [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]);
    assert_eq!(random::permutation(&Key::new(1), 0).to_vec::<i64>().unwrap(), [] as [i64; 0]);
}

trait Rows {
    fn contiguous_rows(&self, n: usize) -> Vec<Vec<i64>>;
}
impl Rows for Tensor {
    fn contiguous_rows(&self, n: usize) -> Vec<Vec<i64>> {
        self.to_vec::<i64>().unwrap().chunks(n).map(<[i64]>::to_vec).collect()
    }
}

/// The number beyond all integers of 64 bits is 0 modulo 2^64, which is no empty range.
#[test]
fn integers_up_to_the_last_from_a_tensor_on() {
    let end = |bits: u32| tracewright::Arg::Number(tracewright::Number::Int(1i128 << bits));
    let low = Tensor::from([0u64, 1 << 63, u64::MAX]);
    let x = random::integers(&Key::new(1), [1000, 3], DType::U64, low, end(64)).to_vec::<u64>().unwrap();
    assert!(x.chunks(3).all(|x| x[1] >= 1 << 63 && x[2] == u64::MAX));
    assert!(x.chunks(3).any(|x| x[0] < 1 << 63 && x[1] != 1 << 63) && x.chunks(3).any(|x| x[0] >= 1 << 63));
    let low = Tensor::from([i64::MIN, i64::MAX]);
    let x = random::integers(&Key::new(1), [1000, 2], DType::I64, low, end(63)).to_vec::<i64>().unwrap();
    assert!(x.chunks(2).all(|x| x[1] == i64::MAX) && x.chunks(2).any(|x| x[0] < 0) && x.chunks(2).any(|x| x[0] > 0));
}

#[test]
fn weights_whose_sum_is_not_finite() {
    let drawn = random::multinomial(&Key::new(3), &Tensor::from([3e38f32, 0.0, 3e38]), 200, true);
    let drawn = drawn.to_vec::<i64>().unwrap();
    let firsts = drawn.iter().filter(|&&i| i == 0).count();
    assert!(drawn.iter().all(|&i| i != 1) && (60..140).contains(&firsts), "{firsts} of 200");
}
