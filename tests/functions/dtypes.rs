//! The same functions in every dtype, against f64.

use tracewright::{DType, Interpolation, MatrixNorm, PadMode, Tensor, block_diag, einsum, hstack, jit, multi_dot};

type Function = fn(&Tensor) -> Tensor;

/// These move elements, or put zeros and ones beside them.
const MOVES: &[(&str, Function)] = &[
    ("pad", |x| x.pad(&[(1, 0), (2, 1)], 1)),
    ("pad_reflect", |x| x.pad(&[(1, 2), (0, 3)], PadMode::Reflect)),
    ("pad_replicate", |x| x.pad(&[(1, 2), (0, 3)], PadMode::Replicate)),
    ("pad_circular", |x| x.pad(&[(1, 2), (0, 3)], PadMode::Circular)),
    ("roll", |x| x.roll(&[1, -1], [0, 1])),
    ("tile", |x| x.tile(&[2, 1, 2])),
    ("repeat_interleave", |x| x.repeat_interleave(2, 0)),
    ("repeat_each", |x| x.repeat_each(&Tensor::from([2i64, 0, 1]), 0, 3)),
    ("diagonal", |x| x.diagonal(1, 0, 1)),
    ("diag_embed", |x| x.diag_embed(-1)),
    ("diagonal_scatter", |x| x.diagonal_scatter(&x.select(1, 0), 0, 0, 1)),
    ("tril", |x| x.tril(0)),
    ("triu", |x| x.triu(1)),
    ("unfold", |x| x.unfold(1, 2, 1)),
    ("unfold apart", |x| x.unfold(1, 2, 3)),
    ("im2col", |x| x.unsqueeze(0).im2col([2, 2], [1, 1])),
    ("rot90", |x| x.rot90(3, 0, 1)),
    ("block_diag", |x| block_diag(&[x.clone(), x.t()])),
    ("hstack", |x| hstack(&[x.clone(), x.clone()])),
    ("as_strided", |x| x.as_strided(&[2, 3], &[4, 2], 1)),
    ("masked_fill", |x| x.masked_fill(&Tensor::from([true, false, false, true]), 1)),
    ("masked_scatter", |x| x.masked_scatter(&Tensor::from([true, false, false, true]), &x.t())),
    ("take_flat", |x| x.take_flat(&Tensor::from([11i64, 0]))),
    ("einsum", |x| einsum("ij->ji", &[x])),
    ("einsum diagonal", |x| einsum("iji->ji", &[&x.slice(1, ..3).unsqueeze(1)])),
    ("median", |x| x.median([0, 1]).0),
    ("max", |x| x.max(0)),
    ("aminmax", |x| x.aminmax(..).0),
    ("mode", |x| x.mode(1).0),
];

/// These add and multiply, in the dtype of the tensor.
const ARITHMETIC: &[(&str, Function)] = &[
    ("kron", |x| x.kron(x)),
    ("outer", |x| x.select(0, 0).outer(&x.select(0, 1))),
    ("cross", |x| x.cross(&(x + 1), 0)),
    ("diff", |x| x.diff(1, 1)),
    ("einsum", |x| einsum("ij,kj->ik", &[x, x])),
    ("einsum of rows", |x| einsum("ij,ij->i", &[x, x])),
    ("einsum of three", |x| einsum("ij,kj,kl->il", &[x, x, x])),
    ("tensordot", |x| x.tensordot(x, ([0], [0]))),
    ("vander", |x| x.vander(3, true)),
    ("matrix_power", |x| x.slice(1, ..3).matrix_power(3)),
    ("multi_dot", |x| multi_dot(&[x, &x.t(), x])),
    ("addmm", |x| x.slice(1, ..3).addmm(x, &x.t(), 2, 3)),
    ("vecdot", |x| x.vecdot(x, 1)),
];

/// These give floats.
const FLOATS: &[(&str, Function)] = &[
    ("norm 1", |x| x.norm(1.0, 1)),
    ("norm 2", |x| x.norm(2.0, ..)),
    ("norm 3", |x| x.norm(3.0, 0)),
    ("norm inf", |x| x.norm(f64::INFINITY, 0)),
    ("matrix_norm", |x| x.matrix_norm(MatrixNorm::One, ..)),
    ("normalize", |x| x.normalize(2.0, 1, 1e-12)),
    ("cosine_similarity", |x| x.cosine_similarity(&x.flip(&[0]), 1, 1e-8)),
    ("cdist", |x| x.cdist(&x.flip(&[1]), 2.0)),
    ("renorm", |x| x.renorm(2.0, 0, 2.0)),
    ("quantile", |x| x.quantile([0.3, 0.9], 1)),
    ("nanquantile", |x| x.nanquantile(0.3, .., Interpolation::Hazen)),
    ("nanmean", |x| x.nanmean(1)),
    ("logsumexp", |x| x.logsumexp(..)),
    ("var", |x| x.var(.., 1)),
    ("trapezoid", |x| x.trapezoid(0.5, 1)),
    ("cumulative_trapezoid", |x| x.cumulative_trapezoid(0.5, 1)),
    ("gradient", |x| x.gradient(0.5, 1)),
    ("cov", |x| x.cov(1)),
    ("corrcoef", |x| x.corrcoef()),
];

/// Small numbers, `[3, 4]`, that every dtype holds.
fn input(dtype: DType) -> Tensor {
    let most = if dtype == DType::Bool { 2 } else { 3 };
    ((Tensor::arange(12, DType::I64) * 7 + 2).remainder(5).remainder(most)).to_dtype(dtype).reshape([3, 4])
}

fn both(name: &str, function: Function, dtype: DType, check: impl Fn(&Tensor, &Tensor)) {
    let x = input(dtype);
    let want = function(&x.to_dtype(DType::F64));
    assert!(want.err().is_none(), "{name}: {:?}", want.err());
    for got in [function(&x), jit(move |x: Tensor| function(&x)).call(&x).unwrap_or_else(|e| panic!("{name}: {e}"))] {
        assert_eq!(got.try_shape().unwrap_or_else(|e| panic!("{name} of {dtype}: {e}")), want.shape(), "{name}");
        check(&got, &want);
    }
}

#[test]
fn moves_keep_every_dtype() {
    for dtype in DType::ALL {
        for &(name, function) in MOVES {
            both(name, function, dtype, |got, want| {
                assert_eq!(got.dtype(), dtype, "{name}");
                let exact = got.to_dtype(DType::F64).to_vec::<f64>().unwrap() == want.to_vec::<f64>().unwrap();
                assert!(exact, "{name} of {dtype}: {got} instead of {want}");
            });
        }
    }
}

#[test]
fn arithmetic_wraps_in_its_dtype() {
    for dtype in DType::ALL.into_iter().filter(|d| *d != DType::Bool) {
        for &(name, function) in ARITHMETIC {
            both(name, function, dtype, |got, want| {
                assert_eq!(got.dtype(), dtype, "{name}");
                // Small enough for i8, and for the digits of bf16; differences of unsigned integers wrap.
                let want = want.to_dtype(DType::I64).to_dtype(dtype).to_dtype(DType::F64).to_vec::<f64>().unwrap();
                let got = got.to_dtype(DType::F64).to_vec::<f64>().unwrap();
                assert!(got == want, "{name} of {dtype}: {got:?} instead of {want:?}");
            });
        }
    }
}

#[test]
fn floats_are_rounded_once() {
    for dtype in DType::ALL {
        for &(name, function) in FLOATS {
            both(name, function, dtype, |got, want| {
                assert_eq!(got.dtype(), if dtype.is_float() { dtype } else { DType::F32 }, "{name} of {dtype}");
                let bits = [(DType::F64, 52), (DType::F16, 10), (DType::BF16, 7)];
                let bits = bits.iter().find(|b| b.0 == dtype).map_or(23, |b| b.1);
                // Half a unit in the last place, and what f32 adds to it.
                let epsilon = 0.5f64.powi(bits + 1) + if bits < 23 { 1e-6 } else { 8.0 * 0.5f64.powi(bits) };
                let (got, want) = (got.to_dtype(DType::F64).to_vec::<f64>().unwrap(), want.to_vec::<f64>().unwrap());
                for (g, w) in got.iter().zip(&want) {
                    let near = (g - w).abs() <= epsilon * w.abs() + 1e-7 || (g.is_nan() && w.is_nan());
                    assert!(near, "{name} of {dtype}: {got:?} instead of {want:?}");
                }
            });
        }
    }
}
