//! Recorded norms, quantiles, statistics and scattered means.

use crate::case::Case;
use crate::functions::Function;
use crate::json::Json;
use tracewright::{Interpolation, MatrixNorm, Merge, Reduction, Shares, Tensor, Update, keepdims};

/// A function of a tensor over axes.
type Over = Box<dyn Fn(&Tensor, Reduction) -> Tensor + Send + Sync>;

fn interpolation(word: &str) -> Interpolation {
    use Interpolation::*;
    match word {
        "linear" => Linear,
        "lower" => Lower,
        "higher" => Higher,
        "midpoint" => Midpoint,
        "nearest" => Nearest,
        "inverted_cdf" => InvertedCdf,
        "averaged_inverted_cdf" => AveragedInvertedCdf,
        "closest_observation" => ClosestObservation,
        "interpolated_inverted_cdf" => InterpolatedInvertedCdf,
        "hazen" => Hazen,
        "weibull" => Weibull,
        "median_unbiased" => MedianUnbiased,
        "normal_unbiased" => NormalUnbiased,
        other => panic!("interpolation {other}"),
    }
}

fn merge(case: &Case) -> Merge {
    let merge = match case.attrs.get("reduce").text() {
        "sum" => Update::Add.into(),
        "prod" => Update::Mul.into(),
        "amax" => Update::Max.into(),
        "amin" => Update::Min.into(),
        _ => Merge::MEAN,
    };
    if *case.attrs.get("include_self") == Json::Bool(true) { merge } else { merge.without_self() }
}

/// The function of `reduced.jsonl` with that name.
pub fn function(case: &Case) -> Option<Function> {
    let int = |key: &str| case.attrs.get(key).int() as isize;
    let number = |json: &Json| match json {
        Json::Float(x) => *x,
        Json::Int(n) => *n as f64,
        Json::Text(x) => x.parse().expect("a number"),
        other => panic!("{}: {other:?} is no number", case.name),
    };
    let float = |key: &str| number(case.attrs.get(key));
    let over = |f: Over| -> Option<Function> {
        let axes: Vec<isize> = case.attrs.get("dim").ints().iter().map(|&a| a as isize).collect();
        let keep = case.attrs.find("keepdim") == Some(&Json::Bool(true));
        let axes = if keep { keepdims(axes.as_slice()) } else { axes.as_slice().into() };
        Some(Box::new(move |x| f(&x[0], axes.clone())))
    };
    let shares = || -> Shares {
        let all: Vec<f64> = case.attrs.get("q").list().iter().map(number).collect();
        if case.attrs.find("one").is_some() { all[0].into() } else { all.as_slice().into() }
    };
    let mode = || interpolation(case.attrs.get("mode").text());
    match case.op.as_str() {
        "norm" if case.attrs.find("p").is_none() => Some(Box::new(|x| x[0].norm(2.0, ..))),
        "norm" => {
            let p = float("p");
            over(Box::new(move |x, axes| x.norm(p, axes)))
        }
        "matrix_norm" => {
            let norm = match case.attrs.get("norm").text() {
                "Frobenius" => MatrixNorm::Frobenius,
                "One" => MatrixNorm::One,
                "MinusOne" => MatrixNorm::MinusOne,
                "Infinity" => MatrixNorm::Infinity,
                _ => MatrixNorm::MinusInfinity,
            };
            over(Box::new(move |x, axes| x.matrix_norm(norm, axes)))
        }
        "normalize" => {
            let (p, dim, eps) = (float("p"), int("dim"), float("eps"));
            Some(Box::new(move |x| x[0].normalize(p, dim, eps)))
        }
        "cosine_similarity" => {
            let (dim, eps) = (int("dim"), float("eps"));
            Some(Box::new(move |x| x[0].cosine_similarity(&x[1], dim, eps)))
        }
        "pairwise_distance" => {
            let (p, eps) = (float("p"), float("eps"));
            Some(Box::new(move |x| x[0].pairwise_distance(&x[1], p, eps)))
        }
        "cdist" => {
            let p = float("p");
            Some(Box::new(move |x| x[0].cdist(&x[1], p)))
        }
        "quantile_with" => {
            let (q, mode) = (shares(), mode());
            over(Box::new(move |x, axes| x.quantile_with(q.clone(), axes, mode)))
        }
        "nanquantile" => {
            let (q, mode) = (shares(), mode());
            over(Box::new(move |x, axes| x.nanquantile(q.clone(), axes, mode)))
        }
        "nanmedian" => over(Box::new(|x, axes| x.nanmedian(axes).0)),
        "nanmedian_indices" => over(Box::new(|x, axes| x.nanmedian(axes).1)),
        "median_over" => over(Box::new(|x, axes| x.median(axes).0)),
        "argmax" => over(Box::new(|x, axes| x.argmax(axes))),
        "argmin" => over(Box::new(|x, axes| x.argmin(axes))),
        "count_nonzero" => over(Box::new(|x, axes| x.count_nonzero(axes))),
        "nansum" => over(Box::new(|x, axes| x.nansum(axes))),
        "nanmean" => over(Box::new(|x, axes| x.nanmean(axes))),
        "logsumexp" => over(Box::new(|x, axes| x.logsumexp(axes))),
        "diff" => {
            let (n, dim) = (int("n") as usize, int("dim"));
            Some(Box::new(move |x| x[0].diff(n, dim)))
        }
        "trapezoid" => {
            let (dx, dim) = (float("dx"), int("dim"));
            Some(Box::new(move |x| x[0].trapezoid(dx, dim)))
        }
        "gradient" | "cumulative_trapezoid" => {
            let (dx, dim, slopes) = (float("dx"), int("dim"), case.op == "gradient");
            Some(Box::new(move |x| if slopes { x[0].gradient(dx, dim) } else { x[0].cumulative_trapezoid(dx, dim) }))
        }
        "mode" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].mode(dim).0))
        }
        "renorm" => {
            let (p, dim, most) = (float("p"), int("dim"), float("most"));
            Some(Box::new(move |x| x[0].renorm(p, dim, most)))
        }
        "pdist" | "dist" => {
            let (p, pairs) = (float("p"), case.op == "pdist");
            Some(Box::new(move |x| if pairs { x[0].pdist(p) } else { x[0].dist(&x[1], p) }))
        }
        "vecdot" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].vecdot(&x[1], dim)))
        }
        "trapezoid_at" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].trapezoid_at(&x[1], dim)))
        }
        "cross" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].cross(&x[1], dim)))
        }
        "cov" => {
            let correction = int("correction") as u32;
            Some(Box::new(move |x| x[0].cov(correction)))
        }
        "corrcoef" => Some(Box::new(|x| x[0].corrcoef())),
        "scatter_reduce" => {
            let (dim, merge) = (int("dim"), merge(case));
            Some(Box::new(move |x| x[0].scatter_reduce(dim, &x[1], &x[2], merge)))
        }
        "index_reduce" => {
            let (dim, merge) = (int("dim"), merge(case));
            Some(Box::new(move |x| x[0].index_reduce(dim, &x[1], &x[2], merge)))
        }
        _ => None,
    }
}
