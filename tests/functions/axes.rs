//! Every reduction over every set of axes, negative axes and the empty list, with and without keeping them.

use tracewright::{DType, Interpolation, Reduction, Result, Tensor, jit, keepdims};

type Function = fn(&Tensor, Reduction) -> Tensor;
type OfList = fn(&[f64]) -> f64;

/// A reduction, and what it gives for one list of numbers.
const REDUCTIONS: &[(&str, Function, OfList)] = &[
    ("sum", |x, a| x.sum(a), |v| v.iter().sum()),
    ("mean", |x, a| x.mean(a), mean),
    ("prod", |x, a| x.prod(a), |v| v.iter().product()),
    ("max", |x, a| x.max(a), |v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
    ("min", |x, a| x.min(a), |v| v.iter().copied().fold(f64::INFINITY, f64::min)),
    ("var", |x, a| x.var(a, 0), |v| v.iter().map(|x| (x - mean(v)).powi(2)).sum::<f64>() / v.len() as f64),
    ("std", |x, a| x.std(a, 0), |v| (v.iter().map(|x| (x - mean(v)).powi(2)).sum::<f64>() / v.len() as f64).sqrt()),
    ("any", |x, a| x.any(a).to_dtype(DType::F64), |v| v.iter().any(|x| *x != 0.0) as u8 as f64),
    ("all", |x, a| x.all(a).to_dtype(DType::F64), |v| v.iter().all(|x| *x != 0.0) as u8 as f64),
    ("logsumexp", |x, a| x.logsumexp(a), |v| v.iter().map(|x| x.exp()).sum::<f64>().ln()),
    ("norm", |x, a| x.norm(2.0, a), |v| v.iter().map(|x| x * x).sum::<f64>().sqrt()),
    ("norm 0", |x, a| x.norm(0.0, a), |v| v.iter().filter(|x| **x != 0.0).count() as f64),
    ("norm inf", |x, a| x.norm(f64::INFINITY, a), |v| v.iter().fold(0.0, |m, x| x.abs().max(m))),
    (
        "count_nonzero",
        |x, a| x.count_nonzero(a).to_dtype(DType::F64),
        |v| v.iter().filter(|x| **x != 0.0).count() as f64,
    ),
    ("nansum", |x, a| x.nansum(a), |v| v.iter().sum()),
    ("nanmean", |x, a| x.nanmean(a), mean),
    ("median", |x, a| x.median(a).0, |v| sorted(v)[(v.len() - 1) / 2]),
    ("nanmedian", |x, a| x.nanmedian(a).0, |v| sorted(v)[(v.len() - 1) / 2]),
    ("quantile", |x, a| x.quantile_with(0.5, a, Interpolation::Higher), |v| sorted(v)[v.len() / 2]),
    ("nanquantile", |x, a| x.nanquantile(1.0, a, Interpolation::Linear), |v| sorted(v)[v.len() - 1]),
    ("argmax", |x, a| x.argmax(a).to_dtype(DType::F64), |v| first(v, |a, b| a > b)),
    ("argmin", |x, a| x.argmin(a).to_dtype(DType::F64), |v| first(v, |a, b| a < b)),
    (
        "median index",
        |x, a| x.median(a).1.to_dtype(DType::F64),
        |v| {
            let middle = sorted(v)[(v.len() - 1) / 2];
            v.iter().position(|x| *x == middle).unwrap() as f64
        },
    ),
    ("aminmax", |x, a| x.aminmax(a).0, |v| sorted(v)[0]),
    ("var_mean", |x, a| x.var_mean(a, 0).1, mean),
];

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

fn sorted(v: &[f64]) -> Vec<f64> {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    v
}

fn first(v: &[f64], better: fn(f64, f64) -> bool) -> f64 {
    (1..v.len()).fold(0, |best, i| if better(v[i], v[best]) { i } else { best }) as f64
}

/// By walking over all elements.
fn expected(values: &[f64], dims: &[usize], axes: &[usize], f: OfList) -> Vec<f64> {
    let index = |mut flat: usize| {
        let mut at = vec![0; dims.len()];
        for a in (0..dims.len()).rev() {
            at[a] = flat % dims[a];
            flat /= dims[a];
        }
        at
    };
    let kept = |flat: usize| {
        let at = index(flat);
        (0..dims.len()).filter(|a| !axes.contains(a)).fold(0, |n, a| n * dims[a] + at[a])
    };
    let groups = (0..dims.len()).filter(|a| !axes.contains(a)).map(|a| dims[a]).product();
    let mut lists: Vec<Vec<f64>> = vec![Vec::new(); groups];
    for (flat, &v) in values.iter().enumerate() {
        lists[kept(flat)].push(v);
    }
    lists.iter().map(|list| f(list)).collect()
}

#[test]
fn every_reduction_over_every_set_of_axes() -> Result<()> {
    let dims = [2, 3, 4];
    let x = ((Tensor::arange(24, DType::F64) * 2.3).sin() * 2.0).reshape(dims.as_slice());
    let values = x.to_vec::<f64>()?;
    for &(name, function, by_hand) in REDUCTIONS {
        for set in 0..8usize {
            let axes: Vec<usize> = (0..3).filter(|a| set >> a & 1 == 1).collect();
            let signed: Vec<isize> = axes.iter().map(|&a| if a == 1 { a as isize } else { a as isize - 3 }).collect();
            let want = expected(&values, &dims, &axes, by_hand);
            let kept: Vec<usize> = (0..3).map(|a| if axes.contains(&a) { 1 } else { dims[a] }).collect();
            let left: Vec<usize> = (0..3).filter(|a| !axes.contains(a)).map(|a| dims[a]).collect();
            let list = Reduction::from(signed.as_slice());
            for (reduction, shape) in [(list.clone(), left), (keepdims(list), kept)] {
                let given = reduction.clone();
                let compiled = jit(move |x: Tensor| function(&x, given.clone())).call(&x)?;
                for y in [function(&x, reduction.clone()), compiled] {
                    assert_eq!(y.try_shape()?, shape.as_slice().into(), "{name} over {axes:?}");
                    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
                    let y = y.to_vec::<f64>()?;
                    assert!(y.iter().zip(&want).all(close), "{name} over {axes:?}: {y:?} instead of {want:?}");
                }
            }
        }
        // `..` is all of them.
        let want = expected(&values, &dims, &[0, 1, 2], by_hand)[0];
        assert!(
            (function(&x, Reduction::from(..)).item::<f64>()? - want).abs() <= 1e-12 * (1.0 + want.abs()),
            "{name}"
        );
    }
    Ok(())
}

/// The order of axes is that of the position within them.
#[test]
fn positions_count_in_the_order_of_the_axes() -> Result<()> {
    let x = Tensor::from([[0i64, 5, 1], [2, 3, 4]]);
    assert_eq!(x.argmax([0, 1]).item::<i64>()?, 1);
    assert_eq!(x.argmax([1, 0]).item::<i64>()?, 2);
    assert_eq!(x.median([1, 0]).1.item::<i64>()?, 1);
    Ok(())
}

/// Half precision is widened, computed and rounded once; integers give f32, or count.
#[test]
fn dtypes_of_reductions() -> Result<()> {
    for dtype in [DType::F16, DType::BF16] {
        let x = Tensor::full([4000], 8.0, dtype);
        assert_eq!(x.norm(2.0, ..).to_dtype(DType::F32).item::<f32>()?, 506.0);
        assert_eq!(
            (x.norm(2.0, ..).dtype(), x.nanmean(..).dtype(), x.quantile(0.5, ..).dtype()),
            (dtype, dtype, dtype)
        );
        assert_eq!(x.nanmean(..).to_dtype(DType::F32).item::<f32>()?, 8.0);
        let unit = x.normalize(2.0, 0, 1e-12).to_dtype(DType::F32).max(..).item::<f32>()?;
        assert!((unit - 1.0 / 4000f32.sqrt()).abs() < 1e-4, "{unit}");
    }
    let x = Tensor::from([3i64, 0, 4]);
    assert_eq!(x.norm(2.0, ..).item::<f32>()?, 5.0);
    assert_eq!(x.nansum(..).item::<i64>()?, 7);
    assert_eq!(x.quantile(0.5, ..).item::<f32>()?, 3.0);
    assert_eq!(Tensor::from([true, false]).count_nonzero(..).item::<i64>()?, 1);
    assert!(Tensor::from([true, false]).trace().err().is_some());
    assert_eq!(Tensor::from([[true, false], [true, true]]).trace().item::<i64>()?, 2);
    assert_eq!(Tensor::from([[200u8, 0], [0, 100]]).trace().item::<u64>()?, 300);
    Ok(())
}
