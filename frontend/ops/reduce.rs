//! Sums, means, extremes and other reductions over axes.

use super::axes::Reduction;
use super::norm::root;
use super::prim;
use crate::dispatch::{Call, Extents, checked, refuse, run};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::{Repr, Tensor};
use crate::trace::{self, record};
use ir::ops::reduce;
use ir::{Axes, DType, Dim, Primitive, Shape};

/// What dtype a reduction works in.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Input {
    /// That of the tensor.
    Same,
    /// u64 for unsigned integers, i64 for others and bool.
    Wide,
    /// f32 for integers and bool.
    Float,
    /// bool.
    Truth,
}

impl Input {
    fn of(self, d: DType) -> DType {
        match self {
            Input::Same => d,
            Input::Wide if d.is_unsigned() => DType::U64,
            Input::Wide if !d.is_float() => DType::I64,
            Input::Wide => d,
            Input::Float => promote::float(d),
            Input::Truth => DType::Bool,
        }
    }
}

/// The extents of those axes multiplied.
pub(super) fn count(t: &Tensor, axes: &[usize]) -> Dim {
    let shape = t.ty().shape;
    axes.iter().fold(Dim::from(1), |n, &a| n * &shape[a])
}

/// Those axes as one, behind all others.
pub(super) fn merged(x: &Tensor, axes: &[usize]) -> Tensor {
    let back = prim::to_back(x, axes);
    if axes.len() == 1 || back.error_ref().is_some() {
        return back;
    }
    let others = x.ty().shape.without(axes);
    prim::reshape(&back, &others.iter().cloned().chain([count(x, axes)]).collect())
}

/// Puts reduced axes back with extent 1.
pub(super) fn keep(reduced: Tensor, of: &Tensor, axes: &[usize], keep: bool) -> Tensor {
    if !keep || reduced.error_ref().is_some() {
        return reduced;
    }
    let mut shape = of.ty().shape;
    axes.iter().for_each(|&a| shape[a] = Dim::from(1));
    prim::reshape(&reduced, &shape)
}

/// A dimension as a scalar of a dtype: a number if it is one, else read at run time.
pub(crate) fn dim_scalar(d: &Dim, dtype: DType) -> Tensor {
    match d.known() {
        Some(n) => prim::full(ir::Scalar::I64(n).convert(dtype), &ir::Shape::scalar()),
        None => prim::cast(&record(ir::ops::create::DimValue { dim: d.clone() }, &[]), dtype),
    }
}

fn variance(x: &Tensor, axes: &Axes, correction: u32) -> Tensor {
    let all: Vec<isize> = axes.iter().map(|&a| a as isize).collect();
    let centred = x - x.mean(super::keepdims(all.as_slice()));
    let squares = centred.square().sum(all.as_slice());
    let divisor = count(x, axes) - correction as i64;
    squares
        / match divisor.known() {
            Some(n) => dim_scalar(&Dim::from(n.max(0)), x.dtype()),
            None => dim_scalar(&divisor, x.dtype()).maximum(0.0),
        }
}

/// A reduction to which the axes are alike, so that all axes of an array are as good as one: its shape then does not matter,
/// and a long axis is known as one. Otherwise as [`over_axes`].
#[track_caller]
pub(super) fn reduction(
    x: &Tensor,
    name: &'static str,
    spec: Reduction,
    input: Input,
    extra: i64,
    scoped: bool,
    body: &dyn Fn(&Tensor, &Axes) -> Tensor,
) -> Tensor {
    let Repr::Array(a) = &x.plain().0 else { return over_axes(x, name, spec, input, extra, scoped, body) };
    match spec.resolve(a.dims().len(), name) {
        // An empty axis is told by its number.
        Ok((axes, kept)) if axes.len() == a.dims().len() && axes.len() > 1 && a.numel() > 0 && !trace::active() => {
            let flat = x.reshape([a.numel()]);
            let reduced = over_axes(&flat, name, Reduction::from(0), input, extra, scoped, body);
            if kept { reduced.reshape(Shape::from_iter(axes.iter().map(|_| 1usize))) } else { reduced }
        }
        _ => over_axes(x, name, spec, input, extra, scoped, body),
    }
}

/// A reduction, whose body sees the dtype that `input` says (compositions: wide enough to round once, at the end) and
/// takes the axes away. `extra` goes with the axes into the key of what is kept.
#[track_caller]
pub(super) fn over_axes(
    x: &Tensor,
    name: &'static str,
    spec: Reduction,
    input: Input,
    extra: i64,
    scoped: bool,
    body: &dyn Fn(&Tensor, &Axes) -> Tensor,
) -> Tensor {
    if x.error_ref().is_some() {
        return x.clone();
    }
    let (axes, kept) = match spec.resolve(x.rank(), name) {
        Ok(a) => a,
        Err(e) => return refuse(e, &[x]),
    };
    if matches!(name, "max" | "min")
        && let Some(a) = axes.iter().find(|&&a| x.shape()[a].is(0))
    {
        let rule = format!("axis {a} is empty, so there is no element to give");
        return refuse(Error::new(Code::Empty, name, rule, "an axis with elements"), &[x]);
    }
    let mut attributes: smallvec::SmallVec<[i64; 8]> = axes.iter().map(|&a| a as i64).collect();
    attributes.extend([kept as i64, extra]);
    let call = Call { name, attributes: &attributes, extents: Extents::Symbolic, scoped };
    run(call, &[x], &|t| {
        let x = prim::cast(&t[0], input.of(t[0].dtype()));
        if !scoped {
            let reduced = if axes.is_empty() { x.clone() } else { body(&x, &axes) };
            return keep(reduced, &x, &axes, kept);
        }
        // Compositions round once, at their end.
        let wide = prim::cast(&x, x.dtype().accumulator());
        let reduced = prim::cast(&body(&wide, &axes), x.dtype());
        keep(reduced, &x, &axes, kept)
    })
}

macro_rules! reductions {
    ($($(#[$doc:meta])* $method:ident: $input:ident => $prim:ident $({ $field:ident })?;)*) => {
        impl Tensor { $(
            $(#[$doc])*
            #[track_caller]
            pub fn $method(&self, axes: impl Into<Reduction>) -> Tensor {
                reduction(self, stringify!($method), axes.into(), Input::$input, 0, false, &|x, axes| {
                    record(Primitive::from(reduce::$prim { axes: axes.clone() $(, $field: true)? }), &[x])
                })
            }
        )* }
    };
}

reductions! {
    /// Sum over axes; integers and bools sum as i64, unsigned integers as u64, 16-bit floats accumulate in f32.
    ///
    /// ```
    /// use tracewright::{keepdims, Tensor};
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum(..).item::<f32>()?, 10.0);
    /// assert_eq!(x.sum(-1).to_vec::<f32>()?, [3.0, 7.0]);
    /// assert_eq!(x.sum(keepdims([0, 1])).shape().to_string(), "[1, 1]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    sum: Wide => ReduceSum;
    /// Product over axes; integers and bools as i64, unsigned integers as u64.
    prod: Wide => ReduceProd;
    /// The largest element over axes, PyTorch's `amax`; NaN wins. An empty axis is refused; a symbolic one, when a call makes it empty.
    max: Same => ReduceMax { nonempty };
    /// The smallest element over axes, PyTorch's `amin`; NaN wins. An empty axis is refused; a symbolic one, when a call makes it empty.
    min: Same => ReduceMin { nonempty };
    /// True where any element over the axes is not zero.
    any: Truth => ReduceAny;
    /// True where all elements over the axes are not zero.
    all: Truth => ReduceAll;
}

impl Tensor {
    /// Mean over axes; integers give f32. Over no elements it is NaN.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 6.0]]);
    /// assert_eq!(x.mean(0).to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn mean(&self, axes: impl Into<Reduction>) -> Tensor {
        reduction(self, "mean", axes.into(), Input::Float, 0, true, &|x, axes| {
            let sum = if axes.is_empty() { x.clone() } else { record(reduce::ReduceSum { axes: axes.clone() }, &[x]) };
            sum / dim_scalar(&count(x, axes), x.dtype())
        })
    }

    /// Variance over axes, with `n - correction` as divisor, or 0 if that is negative: a correction of 0 as NumPy has it,
    /// of 1 as PyTorch has it.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 3.0]).var(.., 1).item::<f32>()?, 2.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn var(&self, axes: impl Into<Reduction>, correction: u32) -> Tensor {
        reduction(self, "var", axes.into(), Input::Float, correction as i64, true, &|x, axes| {
            variance(x, axes, correction)
        })
    }

    /// Standard deviation over axes: the root of [`Tensor::var`]. The gradient where it is 0 is 0, as in PyTorch.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 3.0]).std(.., 0).item::<f32>()?, 1.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn std(&self, axes: impl Into<Reduction>, correction: u32) -> Tensor {
        reduction(self, "std", axes.into(), Input::Float, correction as i64, true, &|x, axes| {
            root(&variance(x, axes, correction))
        })
    }

    #[track_caller]
    fn arg(&self, name: &'static str, axes: Reduction, body: &dyn Fn(Axes) -> Primitive) -> Tensor {
        checked(&[self], || {
            let (axes, kept) = axes.ordered(self.rank(), name)?;
            if let Some(a) = axes.iter().find(|&&a| self.shape()[a].is(0)) {
                let rule = format!("axis {a} is empty, so there is no position to give");
                return Err(Error::new(Code::Empty, name, rule, "an axis with elements"));
            }
            let mut attributes: smallvec::SmallVec<[i64; 8]> = axes.iter().map(|&a| a as i64).collect();
            attributes.push(kept as i64);
            Ok(run(Call::plain(name, &attributes, Extents::Symbolic), &[self], &|t| {
                let (x, axis) = match axes[..] {
                    [axis] => (t[0].clone(), axis),
                    _ => (merged(&t[0], &axes), t[0].rank() - axes.len()),
                };
                keep(record(body(Axes::from_slice(&[axis])), &[&x]), &t[0], &axes, kept)
            }))
        })
    }

    /// Position (i64) of the first largest element over axes; NaN counts as largest. Over several axes it is the position
    /// in them made one, in the order in which they are given.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1.0f32, 5.0], [7.0, 7.0]]);
    /// assert_eq!(x.argmax(-1).to_vec::<i64>()?, [1, 0]);
    /// assert_eq!(x.argmax(..).item::<i64>()?, 2);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(&self, axes: impl Into<Reduction>) -> Tensor {
        self.arg("argmax", axes.into(), &|axes| reduce::ArgMax { axes }.into())
    }

    /// Position (i64) of the first smallest element over axes, as [`Tensor::argmax`] has it; NaN counts as smallest.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([3i64, 1, 2]).argmin(0).item::<i64>()?, 1);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn argmin(&self, axes: impl Into<Reduction>) -> Tensor {
        self.arg("argmin", axes.into(), &|axes| reduce::ArgMin { axes }.into())
    }

    /// `log(sum(exp(x)))` over axes, without overflow.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1000.0f32, 0.0]).logsumexp(0).item::<f32>()?, 1000.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp(&self, axes: impl Into<Reduction>) -> Tensor {
        reduction(self, "logsumexp", axes.into(), Input::Float, 0, true, &|x, axes| {
            if axes.is_empty() {
                return x.clone();
            }
            let listed: Vec<isize> = axes.iter().map(|&a| a as isize).collect();
            let most = record(reduce::ReduceMax { axes: axes.clone(), nonempty: false }, &[x]);
            let most = keep(most, x, axes, true).stop_gradient();
            // The difference of infinities would be NaN.
            let finite = most.abs().lt(f64::INFINITY).where_(&most, 0.0);
            let sum = (x - &finite).exp().sum(super::keepdims(listed.as_slice())).log() + finite;
            prim::reshape(&sum, &x.ty().shape.without(axes))
        })
    }
}
