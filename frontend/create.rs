//! Making tensors: zeros, ones, ranges, data of the host. Inside a trace these record ops.

use crate::device;
use crate::dispatch::{Call, Extents, enter, here, run_sized};
use crate::error::{Code, Error};
use crate::ops::prim;
use crate::promote::Number;
use crate::tensor::Tensor;
use crate::trace::{active, record};
use ir::ops::{binary, create};
use ir::{DType, Element, Literal, Scalar, Shape, TypedData};
use runtime::{Array, ExecError};

/// A tensor outside of a trace, in memory that `fill` gets once, under the limit.
#[track_caller]
fn made(
    op: &'static str,
    shape: &Shape,
    dtype: DType,
    fill: impl FnOnce(&[usize]) -> std::result::Result<Array, ExecError>,
) -> Tensor {
    let outcome = match shape.known() {
        Some(dims) => fill(&dims).map_err(|e| match e {
            ExecError::Memory(_) => {
                Error::new(Code::Memory, op, format!("there is no memory for {dtype}{shape}"), "a smaller shape")
            }
            other => Error::exec(other),
        }),
        None => {
            let legal = "extents are numbers outside of a trace, and not negative";
            Err(Error::new(Code::Shape, op, format!("shape {shape}"), legal))
        }
    };
    match outcome {
        Ok(array) => Tensor::made(array),
        Err(e) => Tensor::error(e.at(here()).in_scope(&crate::scope::current())),
    }
}

/// The values of a function of the host at 0, 1, … below `n`.
#[track_caller]
pub(crate) fn sequence(op: &'static str, n: usize, dtype: DType, value: impl Fn(usize) -> f64) -> Tensor {
    let fill = |dims: &[usize]| Array::from_fn(dims, dtype, |i| Scalar::F64(value(i)));
    let all = made(op, &[n].into(), dtype, fill);
    match all.to_literal() {
        Ok(literal) if active() => Tensor::constant(literal),
        _ => all,
    }
}

#[track_caller]
fn filled(op: &'static str, shape: Shape, value: Scalar) -> Tensor {
    let _here = enter();
    if active() && !shape.iter().any(|d| d.known().is_some_and(|n| n < 0)) {
        return prim::full(value, &shape);
    }
    made(op, &shape, value.dtype(), |dims| Array::filled(dims, value))
}

#[track_caller]
fn number(op: &'static str, shape: Shape, value: Number, dtype: DType) -> Tensor {
    let _here = enter();
    match value.fits(op, dtype) {
        Ok(()) => filled(op, shape, value.scalar(dtype)),
        Err(e) => Tensor::error(e.at(here()).in_scope(&crate::scope::current())),
    }
}

impl Tensor {
    /// Zeros.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 1], DType::F32).to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>, dtype: DType) -> Tensor {
        filled("zeros", shape.into(), Scalar::zero(dtype))
    }

    /// Ones.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::ones([2], DType::I64).to_vec::<i64>()?, [1, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>, dtype: DType) -> Tensor {
        filled("ones", shape.into(), Scalar::one(dtype))
    }

    /// One value everywhere, converted to the dtype.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::full([2], 2.5, DType::F64).to_vec::<f64>()?, [2.5, 2.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: impl Into<Number>, dtype: DType) -> Tensor {
        number("full", shape.into(), value.into(), dtype)
    }

    /// Zeros of the type of this tensor.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2]).zeros_like().to_vec::<i64>()?, [0, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        self.full_like(0.0)
    }

    /// Ones of the type of this tensor.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.5f32]).ones_like().to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        self.full_like(1.0)
    }

    /// One value everywhere, of the type of this tensor.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.5f32]).full_like(3).to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn full_like(&self, value: impl Into<Number>) -> Tensor {
        if self.error_ref().is_some() {
            return self.clone();
        }
        let ty = self.ty();
        device::among([self], || number("full_like", ty.shape, value.into(), ty.dtype))
    }

    /// The index along an axis at every place of a shape.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::iota([2, 2], 0, DType::I64).to_vec::<i64>()?, [0, 0, 1, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn iota(shape: impl Into<Shape>, axis: usize, dtype: DType) -> Tensor {
        let _here = enter();
        let shape = shape.into();
        let refuse = |e: Error| Tensor::error(e.at(here()).in_scope(&crate::scope::current()));
        if axis >= shape.rank() {
            let rule = format!("axis {axis} does not exist in shape {shape}");
            return refuse(Error::new(Code::Axis, "iota", rule, "an axis of the shape"));
        }
        if dtype == DType::Bool {
            return refuse(Error::new(Code::DType, "iota", "the dtype is bool", "a number"));
        }
        if active() {
            return record(create::Iota { dtype, shape, axis }, &[]);
        }
        made("iota", &shape, dtype, |dims| {
            let (inner, extent) = (dims[axis + 1..].iter().product::<usize>(), dims[axis]);
            Array::from_fn(dims, dtype, |i| Scalar::I64((i / inner % extent) as i64))
        })
    }

    /// `0, 1, …` below `n`.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::arange(3, DType::F32).to_vec::<f32>()?, [0.0, 1.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn arange(n: usize, dtype: DType) -> Tensor {
        Tensor::iota([n], 0, dtype)
    }

    /// `n` values from `start` to `end` inclusive, at equal distances, f32.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::linspace(0.0, 1.0, 3).to_vec::<f32>()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn linspace(start: f64, end: f64, n: usize) -> Tensor {
        let _here = enter();
        let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
        let value = |i: usize| if i + 1 == n && n > 1 { end } else { start + step * i as f64 };
        sequence("linspace", n, DType::F32, value)
    }

    /// `base` to the power of [`Tensor::linspace`], f32.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::logspace(0.0, 2.0, 3, 10.0).to_vec::<f32>()?, [1.0, 10.0, 100.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn logspace(start: f64, end: f64, n: usize, base: f64) -> Tensor {
        let _here = enter();
        let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
        let value = |i: usize| base.powf(if i + 1 == n && n > 1 { end } else { start + step * i as f64 });
        sequence("logspace", n, DType::F32, value)
    }

    /// The identity matrix.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::eye(2, DType::F32).to_vec::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn eye(n: usize, dtype: DType) -> Tensor {
        let _here = enter();
        run_sized(Call::composed("eye", &[dtype as i64], Extents::Symbolic), &[], &[n.into()], &|_, n| {
            let shape: Shape = [&n[0], &n[0]].into_iter().cloned().collect();
            let index = |axis| record(create::Iota { dtype: DType::I64, shape: shape.clone(), axis }, &[]);
            let equal = binary::Compare { direction: binary::Direction::Eq };
            prim::cast(&record(equal, &[&index(0), &index(1)]), dtype)
        })
    }

    /// From elements in row-major order; an error value if their number does not fit the shape.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2]);
    /// assert_eq!(x.sum(0).to_vec::<f32>()?, [4.0, 6.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice<T: Element + TypedData>(data: &[T], shape: impl Into<Shape>) -> Tensor {
        let _here = enter();
        let shape = shape.into();
        let fits = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) == Some(data.len());
        match shape.known() {
            Some(dims) if fits(&dims) && active() => Tensor::constant(Literal::from_vec(&dims, data.to_vec())),
            Some(dims) if fits(&dims) => made("from_slice", &shape, T::DTYPE, |dims| Array::from_slice(dims, data)),
            _ => {
                let rule = format!("{} elements do not fit shape {shape}", data.len());
                let e = Error::new(Code::Shape, "from_slice", rule, "as many elements as the shape has");
                Tensor::error(e.at(here()).in_scope(&crate::scope::current()))
            }
        }
    }

    /// From host data with its extents.
    #[track_caller]
    pub fn from_literal(literal: Literal) -> Tensor {
        let _here = enter();
        Tensor::constant(literal)
    }

    /// Host data: a constant inside a trace.
    pub(crate) fn constant(literal: Literal) -> Tensor {
        match literal.splat() {
            _ if !active() => Tensor::literal(literal),
            Some(value) => prim::full(value, &literal.dims().into()),
            None => record(create::Constant { value: literal }, &[]),
        }
    }
}
