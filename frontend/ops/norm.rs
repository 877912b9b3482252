//! Norms. Where a norm has no derivative, these have the one that PyTorch gives: 0 at 0.

use super::axes::Reduction;
use super::keepdims;
use super::prim;
use super::reduce::{Input, keep, over_axes, reduction};
use crate::dispatch::{Call, Extents, checked, run};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::Tensor;
use ir::Axes;

/// A norm of matrices that needs no singular values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MatrixNorm {
    /// The root of the sum of all squares.
    Frobenius,
    /// The largest sum of absolute values in a column.
    One,
    /// The smallest one in a column.
    MinusOne,
    /// The largest sum of absolute values in a row.
    Infinity,
    /// The smallest one in a row.
    MinusInfinity,
}

fn listed(axes: &Axes) -> Vec<isize> {
    axes.iter().map(|&a| a as isize).collect()
}

/// The root, with derivative 0 at 0.
pub(super) fn root(x: &Tensor) -> Tensor {
    let zero = x.eq(0.0);
    zero.where_(0.0, zero.where_(1.0, x).sqrt())
}

/// The `p`-norm over axes, which fall away.
pub(super) fn p_norm(x: &Tensor, p: f64, axes: &Axes) -> Tensor {
    if x.error_ref().is_some() {
        return x.clone();
    }
    let all = listed(axes);
    let all = all.as_slice();
    let zero = || x.eq(0.0);
    if p == 0.0 {
        return zero().where_(x.zeros_like(), 1.0).sum(all);
    }
    let size = x.abs();
    if axes.is_empty() {
        return size;
    }
    if p == f64::INFINITY {
        return size.max(all);
    }
    if p == f64::NEG_INFINITY {
        return size.min(all);
    }
    if p == 1.0 {
        return size.sum(all);
    }
    if p == 2.0 {
        return root(&x.square().sum(all));
    }
    let powers = if p < 1.0 {
        // The derivative of a power below 1 is infinite at 0.
        let at_zero = if p > 0.0 { 0.0 } else { f64::INFINITY };
        zero().where_(at_zero, zero().where_(1.0, &size).pow(p))
    } else {
        size.pow(p)
    };
    let sum = powers.sum(all);
    let nothing = sum.eq(0.0);
    nothing.where_(0.0, nothing.where_(1.0, &sum).pow(1.0 / p))
}

/// An error if a norm without a value for no elements is taken over an empty axis.
fn check(name: &'static str, x: &Tensor, p: f64, axes: &Axes) -> Result<(), Error> {
    if p.is_nan() {
        return Err(Error::new(Code::Argument, name, "the order is NaN", "a number or an infinity"));
    }
    let empty = axes.iter().find(|&&a| x.shape()[a].is(0));
    match empty {
        Some(a) if p < 0.0 || p.is_infinite() => {
            let rule = format!("axis {a} is empty, and the norm of order {p} has no value for no elements");
            Err(Error::new(Code::Empty, name, rule, "an axis with elements, or a finite order of at least 0"))
        }
        _ => Ok(()),
    }
}

impl Tensor {
    /// The norm of order `p` of vectors along axes, or of all their elements: `sum(|x|^p)^(1/p)`; for order 0 the number of
    /// elements that are not 0, for the infinities the largest and the smallest absolute value. Integers give f32.
    ///
    /// The gradient at 0 is 0, as in PyTorch. Elements that are equally large share that of the infinite orders.
    ///
    /// ```
    /// use tracewright::{Tensor, grad};
    /// let x = Tensor::from([3.0f32, -4.0]);
    /// assert_eq!(x.norm(2.0, ..).item::<f32>()?, 5.0);
    /// assert_eq!(x.norm(f64::INFINITY, ..).item::<f32>()?, 4.0);
    /// assert_eq!(grad(|x: &Tensor| x.norm(2.0, ..))(&Tensor::from([0.0f32, 0.0])).to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ///
    /// # Errors
    /// If an axis is empty and the order is infinite or below 0.
    #[track_caller]
    pub fn norm(&self, p: f64, axes: impl Into<Reduction>) -> Tensor {
        checked(&[self], || {
            let axes = axes.into();
            check("norm", self, p, &axes.resolve(self.rank(), "norm")?.0)?;
            Ok(reduction(self, "norm", axes, Input::Float, p.to_bits() as i64, true, &|x, axes| p_norm(x, p, axes)))
        })
    }

    /// A norm of matrices; `axes` are that of the rows and that of the columns, `..` the axes of a matrix. Norms that need
    /// singular values (the 2-norm, the nuclear norm) are not among these.
    ///
    /// ```
    /// use tracewright::{MatrixNorm, Tensor};
    /// let x = Tensor::from([[1.0f32, -2.0], [3.0, 4.0]]);
    /// assert_eq!(x.matrix_norm(MatrixNorm::One, ..).item::<f32>()?, 6.0);
    /// assert_eq!(x.matrix_norm(MatrixNorm::Infinity, [0, 1]).item::<f32>()?, 7.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn matrix_norm(&self, norm: MatrixNorm, axes: impl Into<Reduction>) -> Tensor {
        checked(&[self], || {
            let axes = axes.into();
            let (both, _) = axes.ordered(self.rank(), "matrix_norm")?;
            let &[row, column] = both.as_slice() else {
                let rule = format!("{} axes are named", both.len());
                return Err(Error::new(
                    Code::Argument,
                    "matrix_norm",
                    rule,
                    "that of the rows and that of the columns",
                ));
            };
            let (summed, picked, p) = match norm {
                MatrixNorm::Frobenius => (row, column, 2.0),
                MatrixNorm::One => (row, column, f64::INFINITY),
                MatrixNorm::MinusOne => (row, column, f64::NEG_INFINITY),
                MatrixNorm::Infinity => (column, row, f64::INFINITY),
                MatrixNorm::MinusInfinity => (column, row, f64::NEG_INFINITY),
            };
            check("matrix_norm", self, p, &Axes::from_slice(&[picked]))?;
            let extra = norm as i64 * 2 + (row < column) as i64;
            Ok(over_axes(self, "matrix_norm", axes, Input::Float, extra, true, &|x, axes| {
                if norm == MatrixNorm::Frobenius {
                    return p_norm(x, p, axes);
                }
                let sums = x.abs().sum(summed as isize);
                let picked = picked - usize::from(picked > summed);
                if p > 0.0 { sums.max(picked as isize) } else { sums.min(picked as isize) }
            }))
        })
    }

    /// Divided by the norm of order `p` along an axis, or by `eps` where that is larger; PyTorch's defaults are 2 and
    /// 1e-12.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[3.0f32, 4.0], [0.0, 0.0]]);
    /// assert_eq!(x.normalize(2.0, 1, 1e-12).to_vec::<f32>()?, [0.6, 0.8, 0.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn normalize(&self, p: f64, axis: isize, eps: f64) -> Tensor {
        checked(&[self], || {
            let (axes, _) = Reduction::from(axis).resolve(self.rank(), "normalize")?;
            check("normalize", self, p, &axes)?;
            let attributes = [axes[0] as i64, p.to_bits() as i64, eps.to_bits() as i64];
            Ok(run(Call::composed("normalize", &attributes, Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let x = prim::cast(&t[0], dtype.accumulator());
                let norm = keep(p_norm(&x, p, &axes), &x, &axes, true);
                prim::cast(&(x / norm.clamp_min(eps)), dtype)
            }))
        })
    }

    /// The cosine of the angle between vectors along an axis of both tensors, which broadcast; norms below `eps` count as
    /// `eps`, for which PyTorch has 1e-8. `axis` is one of the shape to which both broadcast.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (x, y) = (Tensor::from([1.0f32, 0.0]), Tensor::from([1.0f32, 0.0]));
    /// assert_eq!(x.cosine_similarity(&y, 0, 1e-8).item::<f32>()?, 1.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Tensor, axis: isize, eps: f64) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            let shapes = [self.shape(), other.shape()];
            let common = super::broadcast::common_shape("cosine_similarity", shapes.iter())?;
            let (axes, _) = Reduction::from(axis).resolve(common.rank(), "cosine_similarity")?;
            let attributes = [axes[0] as i64, eps.to_bits() as i64];
            Ok(run(Call::composed("cosine_similarity", &attributes, Extents::Symbolic), &operands, &|t| {
                let shapes = [t[0].ty().shape, t[1].ty().shape];
                let dtype = promote::float(promote::promote(t[0].dtype(), t[1].dtype()));
                let shape = match super::broadcast::common_shape("cosine_similarity", shapes.iter()) {
                    Ok(shape) => shape,
                    Err(e) => return Tensor::error(e.at(crate::dispatch::here())),
                };
                let unit = |i: usize| {
                    let x = prim::broadcast(&prim::cast(&t[i], dtype.accumulator()), &shape);
                    let norm = keep(p_norm(&x, 2.0, &axes), &x, &axes, true);
                    x / norm.clamp_min(eps)
                };
                prim::cast(&(unit(0) * unit(1)).sum(axes[0] as isize), dtype)
            }))
        })
    }

    /// The norm of order `p` of the differences along the last axis, to each of which `eps` is added, for which PyTorch has
    /// 1e-6. The tensors broadcast.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (x, y) = (Tensor::from([[1.0f32, 2.0]]), Tensor::from([[4.0f32, 6.0]]));
    /// assert_eq!(x.pairwise_distance(&y, 2.0, 0.0).to_vec::<f32>()?, [5.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn pairwise_distance(&self, other: &Tensor, p: f64, eps: f64) -> Tensor {
        checked(&[self, other], || Ok((self - other + eps).norm(p, keepdims(-1)).squeeze(-1)))
    }

    /// The distances, in the norm of order `p`, of each row of `[.., n, k]` from each of `[.., m, k]`, as `[.., n, m]`; the
    /// axes before them broadcast. The gradient of a distance 0 is 0.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[0.0f32, 0.0], [3.0, 4.0]]);
    /// assert_eq!(x.cdist(&x, 2.0).to_vec::<f32>()?, [0.0, 5.0, 5.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cdist(&self, other: &Tensor, p: f64) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            let (a, b) = (self.shape(), other.shape());
            if a.rank() < 2 || b.rank() < 2 || a[a.rank() - 1] != b[b.rank() - 1] {
                let rule = format!("the tensors have shapes {a} and {b}");
                return Err(Error::new(Code::Shape, "cdist", rule, "[.., n, k] and [.., m, k]"));
            }
            if p < 0.0 || p.is_nan() {
                return Err(Error::new(Code::Argument, "cdist", format!("the order is {p}"), "at least 0"));
            }
            let leading = |s: &ir::Shape| ir::Shape::from(&s[..s.rank() - 2]);
            super::broadcast::common_shape("cdist", [&leading(&a), &leading(&b)].into_iter())?;
            Ok(run(Call::composed("cdist", &[p.to_bits() as i64], Extents::Symbolic), &operands, &|t| {
                let dtype = promote::float(promote::promote(t[0].dtype(), t[1].dtype()));
                let [x, y] = [0, 1].map(|i| prim::cast(&t[i], dtype.accumulator()));
                let apart = x.unsqueeze(-2) - y.unsqueeze(-3);
                let last = Axes::from_slice(&[apart.rank() - 1]);
                // Without elements every norm is 0.
                let p = if apart.ty().shape[last[0]].is(0) { 1.0 } else { p };
                prim::cast(&p_norm(&apart, p, &last), dtype)
            }))
        })
    }

    /// The norm of order `p` of the difference of two tensors, which broadcast.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 2.0]).dist(&Tensor::from([4.0f32, 6.0]), 2.0).item::<f32>()?, 5.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn dist(&self, other: &Tensor, p: f64) -> Tensor {
        checked(&[self, other], || Ok((self - other).norm(p, ..)))
    }

    /// The distances, in the norm of order `p`, of each row of a matrix from each that comes behind it. The number of rows
    /// must be a number.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[0.0f32, 0.0], [3.0, 4.0], [0.0, 1.0]]);
    /// assert_eq!(x.pdist(1.0).to_vec::<f32>()?, [7.0, 1.0, 6.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn pdist(&self, p: f64) -> Tensor {
        checked(&[self], || {
            if self.rank() != 2 {
                let rule = format!("the tensor has rank {}", self.rank());
                return Err(Error::new(Code::Rank, "pdist", rule, "a matrix"));
            }
            if p < 0.0 || p.is_nan() {
                return Err(Error::new(Code::Argument, "pdist", format!("the order is {p}"), "at least 0"));
            }
            let n = self.size(0);
            let pairs = Tensor::triu_indices(n, n, 1);
            let p = if self.shape()[1].is(0) { 1.0 } else { p };
            Ok((self.take(&pairs.select(0, 0), 0) - self.take(&pairs.select(0, 1), 0)).norm(p, 1))
        })
    }

    /// With every part along an axis scaled down to a norm of order `p` of at most `most`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[3.0f64, 4.0], [0.3, 0.4]]).renorm(2.0, 0, 1.0).to_vec::<f64>()?;
    /// assert!((x[0] - 0.6).abs() < 1e-6 && x[2] == 0.3);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn renorm(&self, p: f64, axis: isize, most: f64) -> Tensor {
        checked(&[self], || {
            let at = super::axes::resolve(axis, self.rank(), "renorm")?;
            let others: Axes = (0..self.rank()).filter(|&a| a != at).collect();
            check("renorm", self, p, &others)?;
            let attributes = [at as i64, p.to_bits() as i64, most.to_bits() as i64];
            Ok(run(Call::composed("renorm", &attributes, Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let x = prim::cast(&t[0], dtype.accumulator());
                let norm = keep(p_norm(&x, p, &others), &x, &others, true);
                // PyTorch's guard against rounding up.
                let factor = norm.gt(most).where_((&norm + 1e-7).recip() * most, 1.0);
                prim::cast(&(x * factor), dtype)
            }))
        })
    }

    /// The sums of products along an axis of both tensors, which broadcast.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.vecdot(&x, -1).to_vec::<i64>()?, [5, 25]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn vecdot(&self, other: &Tensor, axis: isize) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            super::matmul::numbers("vecdot", &operands)?;
            let shapes = [self.shape(), other.shape()];
            let common = super::broadcast::common_shape("vecdot", shapes.iter())?;
            let axis = super::axes::resolve(axis, common.rank(), "vecdot")? as isize - common.rank() as isize;
            let dtype = promote::promote(self.dtype(), other.dtype());
            Ok(run(Call::composed("vecdot", &[axis as i64], Extents::Symbolic), &operands, &|t| {
                let [x, y] = [0, 1].map(|i| prim::cast(&t[i], dtype.accumulator()));
                prim::cast(&(x * y).sum(axis), dtype)
            }))
        })
    }
}
