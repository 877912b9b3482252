//! One compiled function for every extent gives what a function compiled for that extent gives, and so do its gradients.

use tracewright::events::{Counters, Event};
use tracewright::{DType, Interpolation, MatrixNorm, Merge, PadMode, Tensor, Update, einsum, grad, jit, keepdims, nn};
use tracewright::{Indexing, block_diag, cartesian_prod, meshgrid, multi_dot, stack, vmap};

type Function = fn(&Tensor) -> Tensor;

/// Distinct numbers, `[n, 3]`.
fn input(n: usize) -> Tensor {
    let x = Tensor::arange(3 * n, DType::F64);
    ((&x * 1.7).sin() * 3.0 + 0.1).reshape([n, 3])
}

/// From which extent on a function is defined, and the function.
const FUNCTIONS: &[(&str, usize, Function)] = &[
    ("pad", 0, |x| x.pad(&[(1, 2), (0, 1)], 0.5)),
    ("pad_reflect", 3, |x| x.pad(&[(2, 1), (1, 2)], PadMode::Reflect)),
    ("pad_replicate", 1, |x| x.pad(&[(2, 1), (1, 2)], PadMode::Replicate)),
    ("pad_circular", 2, |x| x.pad(&[(2, 1), (1, 2)], PadMode::Circular)),
    ("roll", 1, |x| x.roll(&[2, -1], [0, 1])),
    ("roll all", 1, |x| x.roll(&[5], ..)),
    ("tile", 0, |x| x.tile(&[2, 1, 2])),
    ("repeat_interleave", 0, |x| x.repeat_interleave(2, 0)),
    ("unflatten", 0, |x| x.tile(&[2]).unflatten(1, [2, 3])),
    ("movedim", 0, |x| x.movedim(&[0], &[1])),
    ("rot90", 0, |x| x.rot90(1, 0, 1)),
    ("diagonal", 0, |x| einsum("ij,kj->ik", &[x, x]).diagonal(0, 0, 1)),
    ("diagonal beside", 1, |x| einsum("ij,kj->ik", &[x, x]).diagonal(-1, 0, 1)),
    ("diag_embed", 0, |x| x.select(1, 1).diag_embed(1)),
    ("trace", 0, |x| einsum("ij,kj->ik", &[x, x]).trace()),
    ("tril", 0, |x| x.tril(-1)),
    ("triu", 0, |x| x.triu(1)),
    ("unfold", 2, |x| x.unfold(0, 2, 1)),
    ("unfold apart", 2, |x| x.unfold(0, 2, 3)),
    ("im2col", 2, |x| x.unsqueeze(0).im2col([2, 2], [1, 1])),
    ("meshgrid", 0, |x| meshgrid(&[x.select(1, 0), x.select(1, 1)], Indexing::Xy)[1].clone()),
    ("cartesian_prod", 0, |x| cartesian_prod(&[x.select(1, 0), x.select(1, 1)])),
    ("block_diag", 0, |x| block_diag(&[x.clone(), x.t()])),
    ("vander", 0, |x| x.vander(3, false)),
    ("norm 2", 0, |x| x.norm(2.0, 0)),
    ("norm 3", 0, |x| x.norm(3.0, keepdims(..))),
    ("norm inf", 1, |x| x.norm(f64::INFINITY, 0)),
    ("matrix_norm", 1, |x| x.matrix_norm(MatrixNorm::One, ..)),
    ("normalize", 0, |x| x.normalize(2.0, 0, 1e-12)),
    ("cosine_similarity", 0, |x| x.cosine_similarity(&x.flip(&[1]), 0, 1e-8)),
    ("cdist", 0, |x| x.cdist(&(x.flip(&[1]) + 0.3), 2.0)),
    ("quantile", 1, |x| x.quantile([0.2, 0.7], 0)),
    ("quantile of all", 1, |x| x.quantile_with(0.4, keepdims(..), Interpolation::Hazen)),
    ("nanquantile", 1, |x| x.nanquantile(0.4, 0, Interpolation::Linear)),
    ("median", 1, |x| x.median(..).0),
    ("logsumexp", 0, |x| x.logsumexp([0, 1])),
    ("nanmean", 1, |x| x.nanmean(0)),
    ("diff", 1, |x| x.diff(1, 0)),
    ("trapezoid", 1, |x| x.trapezoid(0.5, 0)),
    ("cross", 0, |x| x.cross(&(x + 1.0), 1)),
    ("cov", 2, |x| x.t().cov(1)),
    ("var", 2, |x| x.var(0, 1)),
    ("einsum", 0, |x| einsum("ij,kj,kl->il", &[x, x, x])),
    ("einsum diagonal", 0, |x| einsum("ii->i", &[&einsum("ij,kj->ik", &[x, x])])),
    ("einsum broadcast", 0, |x| einsum("...j,j->...", &[x, &Tensor::arange(3, DType::F64)])),
    ("einsum of rows", 0, |x| einsum("bi,bi->b", &[x, x])),
    ("tensordot", 0, |x| x.tensordot(x, ([0], [0]))),
    ("outer", 0, |x| x.select(1, 0).outer(&x.select(1, 2))),
    ("kron", 0, |x| x.kron(x)),
    ("multi_dot", 0, |x| multi_dot(&[x, &x.t(), x])),
    ("matrix_power", 0, |x| (einsum("ij,kj->ik", &[x, x]) * 0.1).matrix_power(3)),
    ("masked_fill", 0, |x| x.masked_fill(&x.gt(0.5), 2.0)),
    ("masked_scatter", 2, |x| x.masked_scatter(&x.gt(0.5), &(x.flip(&[0]) * 2.0))),
    ("nonzero_static", 0, |x| x.gt(0.5).nonzero_static(4, -1).to_dtype(DType::F64) * x.sum(..)),
    ("isin", 1, |x| x.isin(&x.narrow(0, 0, 1)).to_dtype(DType::F64) * x),
    ("isin all", 1, |x| x.isin(x).to_dtype(DType::F64) * x),
    ("diagonal_scatter", 3, |x| einsum("ij,kj->ik", &[x, x]).diagonal_scatter(&x.slice(0, 1..).select(1, 1), 1, 0, 1)),
    ("as_strided", 3, |x| x.as_strided(&[2, 3], &[1, 2], 1)),
    ("mode", 1, |x| x.round().mode(0).0 + x.sum(0)),
    ("renorm", 1, |x| x.renorm(2.0, 0, 1.0)),
    ("gradient", 2, |x| x.gradient(0.5, 0)),
    ("cumulative_trapezoid", 1, |x| x.cumulative_trapezoid(0.5, 0)),
    ("vecdot", 0, |x| x.vecdot(x, 0)),
    ("pixel_shuffle", 1, |x| x.tile(&[4, 1]).unsqueeze(0).movedim(&[1], &[0]).pixel_shuffle(2)),
    ("scatter_reduce", 2, |x| {
        let at = Tensor::zeros([1, 3], DType::I64) + 1;
        x.index_reduce(
            0,
            &at.select(0, 0),
            &(x.narrow(0, 0, 1).expand_as(&Tensor::zeros([3, 3], DType::F64)) * 2.0),
            Merge::MEAN,
        )
    }),
    ("scatter_reduce alone", 2, |x| {
        let at = Tensor::zeros([2], DType::I64);
        x.index_reduce(0, &at, &(x.narrow(0, 0, 2) * 2.0), Merge::from(Update::Max).without_self())
    }),
    ("mse_loss", 0, |x| nn::mse_loss(x, &x.flip(&[1]))),
    ("binary_cross_entropy", 1, |x| nn::binary_cross_entropy(&x.sigmoid(), &x.flip(&[1]).sigmoid())),
    ("gaussian_nll_loss", 1, |x| nn::gaussian_nll_loss(x, &x.flip(&[1]), &(x.square() + 0.1), 1e-6)),
    ("triplet_margin_loss", 1, |x| nn::triplet_margin_loss(x, &x.flip(&[1]), &(x * 0.3), 1.0, 2.0)),
    ("multi_margin_loss", 1, |x| nn::multi_margin_loss(x, &x.argmin(1), 2.0, 1.0)),
    ("rms_norm", 0, |x| nn::rms_norm(x, &Tensor::arange(3, DType::F64), 1e-5)),
    ("group_norm", 0, |x| nn::group_norm(&x.unsqueeze(2).tile(&[1, 1, 2]).cumsum(2), 3, None, None, 1e-2)),
    ("local_response_norm", 0, |x| nn::local_response_norm(x, 2, 0.5, 0.75, 1.0)),
    ("bilinear", 0, |x| nn::bilinear(x, x, &Tensor::arange(18, DType::F64).reshape([2, 3, 3]), None)),
    ("legendre_p", 0, |x| x.legendre_p(4)),
    ("i1", 0, |x| x.i1()),
    ("k1e", 0, |x| (x.abs() + 0.1).k1e()),
    ("log_ndtr", 0, |x| x.log_ndtr()),
    ("polygamma", 0, |x| (x.abs() + 0.1).polygamma(2)),
    ("mvlgamma", 0, |x| (x.abs() + 2.0).mvlgamma(3)),
    ("frexp", 0, |x| x.frexp().0),
];

fn close(name: &str, n: usize, got: &Tensor, want: &Tensor) {
    assert_eq!(got.ty_text(), want.ty_text(), "{name} for {n}");
    let (got, want) = (got.to_vec::<f64>().unwrap(), want.to_vec::<f64>().unwrap());
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let near = (g - w).abs() <= 1e-12 * (1.0 + w.abs()) || g == w || (g.is_nan() && w.is_nan());
        assert!(near, "{name} for {n}: element {i} is {g} instead of {w}");
    }
}

trait Described {
    fn ty_text(&self) -> String;
}
impl Described for Tensor {
    fn ty_text(&self) -> String {
        self.try_type().unwrap().to_string()
    }
}

#[test]
fn one_symbolic_function_serves_every_extent() {
    for &(name, least, function) in FUNCTIONS {
        let both = move |x: Tensor| {
            let weighed = |x: &Tensor| {
                let y = function(x);
                let weights = (Tensor::iota([y.numel()], 0, DType::F64) * 0.7).cos().reshape(y.shape());
                (y * weights).sum(..)
            };
            (function(&x), grad(weighed)(&x))
        };
        let symbolic = jit(both).dynamic("arguments.0", 0, "B", least..=64);
        let ((), counts) = Counters::of(|| {
            for n in [least, least + 1, 5, 7] {
                let x = input(n);
                let (y, g) = symbolic.call(&x).unwrap_or_else(|e| panic!("{name} for {n}: {e}"));
                let (want, gradient) = jit(both).call(&x).unwrap_or_else(|e| panic!("{name} for {n} alone: {e}"));
                close(name, n, &y, &want);
                close(name, n, &function(&x), &want);
                close(name, n, &g, &gradient);
            }
        });
        assert_eq!(symbolic.stats().traces, 1, "{name}");
        assert_eq!((counts[Event::Fallback], counts[Event::Bug], counts[Event::Specialised]), (0, 0, 0), "{name}");
    }
}

/// As many examples as a call has, each of any extent, by one function.
#[test]
fn symbolic_numbers_of_examples() {
    for &(name, least, function) in FUNCTIONS {
        let whole = move |x: &Tensor| {
            let size = |x: &Tensor| (function(x) * 0.5).sum(..);
            (function(x), grad(size)(x))
        };
        let batched = jit(move |x: Tensor| vmap(whole)(&x));
        let batched = batched.dynamic("arguments.0", 0, "N", 0..=64).dynamic("arguments.0", 1, "B", least..=64);
        for (examples, n) in [(3, least + 2), (1, least), (2, 5), (0, 4)] {
            let all: Vec<Tensor> = (0..examples).map(|k| input(n) * (1.0 - 0.3 * k as f64)).collect();
            let x = if examples == 0 { Tensor::zeros([0, n, 3], DType::F64) } else { stack(&all, 0) };
            let (y, g) = batched.call(&x).unwrap_or_else(|e| panic!("{name} for {examples} of {n}: {e}"));
            assert_eq!(y.shape()[0].as_usize(), Some(examples), "{name}");
            for (k, x) in all.iter().enumerate() {
                let (want, gradient) = jit(move |x: Tensor| whole(&x)).call(x).unwrap();
                close(name, n, &y.select(0, k as isize), &want);
                close(name, n, &g.select(0, k as isize), &gradient);
            }
        }
        assert_eq!(batched.stats().traces, 1, "{name}");
    }
}

/// What has no value for an axis without elements is an error of the call that makes it empty, never a wrong number.
#[test]
fn an_axis_that_a_call_makes_empty() {
    let functions: &[(&str, Function)] = &[
        ("median", |x| x.median(0).0),
        ("median index", |x| x.median(0).1),
        ("nanmedian", |x| x.nanmedian(0).0),
        ("quantile", |x| x.quantile(0.5, 0)),
        ("mode", |x| x.mode(0).0),
        ("argmax", |x| x.argmax([0, 1])),
        ("aminmax", |x| x.aminmax(0).1),
        ("norm", |x| x.norm(f64::INFINITY, 0)),
        ("pad_reflect", |x| x.pad(&[(1, 0), (0, 0)], PadMode::Reflect)),
        ("pad_replicate", |x| x.pad(&[(1, 0), (0, 0)], PadMode::Replicate)),
        ("unfold", |x| x.unfold(0, 2, 1)),
        ("gradient", |x| x.gradient(1.0, 0)),
        ("diff", |x| x.diff(1, 0)),
    ];
    for &(name, function) in functions {
        let f = jit(move |x: Tensor| function(&x)).dynamic("arguments.0", 0, "B", 0..=8);
        assert!(f.call(input(3)).is_ok(), "{name}");
        let y = f.call(input(0));
        assert!(y.is_err(), "{name} gives {:?}", y.map(|y| y.to_literal()));
        assert!(f.call(input(3)).is_ok(), "{name}");
    }
}
