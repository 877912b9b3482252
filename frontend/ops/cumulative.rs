//! Cumulative operations along one axis.

use super::axes::resolve;
use super::prim;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::{binary, create, cumulative, view};
use ir::{DType, Dim, Primitive, Scalar, Shape};

/// Along the axis, the position of the last element so far that is the running extremum, or of the last NaN.
fn positions(x: &Tensor, extrema: &Tensor, axis: usize) -> Tensor {
    let compare = |direction, y: &Tensor| record(binary::Compare { direction }, &[x, y]);
    let hit = record(binary::Or {}, &[&compare(binary::Direction::Eq, extrema), &compare(binary::Direction::Ne, x)]);
    let shape = x.ty().shape;
    let position = record(create::Iota { dtype: DType::I64, shape: shape.clone(), axis }, &[]);
    // The first element hits, so the zeros never stand in the outcome.
    let hits = record(binary::Select {}, &[&hit, &position, &prim::full(Scalar::I64(0), &shape)]);
    record(cumulative::CumMax { axis, reverse: false }, &[&hits])
}

/// The element before each along the axis, or the number for the first.
fn before(x: &Tensor, axis: usize, first: Scalar) -> Tensor {
    let rank = x.rank();
    let nothing: Shape = (0..rank).map(|_| 0).collect();
    let (low, high) = (nothing.with_axis(axis, Dim::from(1)), nothing.with_axis(axis, Dim::from(-1)));
    record(view::Pad { value: first, low, high, interior: (0..rank).map(|_| 0).collect() }, &[x])
}

impl Tensor {
    #[track_caller]
    fn scan(&self, call: &'static str, axis: isize, body: &dyn Fn(&Tensor, usize) -> Tensor) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        match resolve(axis, self.rank(), call) {
            Ok(axis) => run(Call::plain(call, &[axis as i64], Extents::Symbolic), &[self], &|t| body(&t[0], axis)),
            Err(e) => refuse(e, &[self]),
        }
    }

    /// Running sum along an axis, one element after the other; unsigned integers sum as u64, others and
    /// bools as i64.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.cumsum(0).to_vec::<f32>()?, [1.0, 2.0, 4.0, 6.0]);
    /// assert_eq!(x.cumsum(-1).to_vec::<f32>()?, [1.0, 3.0, 3.0, 7.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Tensor {
        self.scan("cumsum", axis, &|x, axis| record(cumulative::CumSum { axis, reverse: false }, &[&wide(x)]))
    }

    /// Running product along an axis, one element after the other; unsigned integers multiply as u64,
    /// others and bools as i64.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2i64, 3, 4]).cumprod(0).to_vec::<i64>()?, [2, 6, 24]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cumprod(&self, axis: isize) -> Tensor {
        self.scan("cumprod", axis, &|x, axis| record(cumulative::CumProd { axis, reverse: false }, &[&wide(x)]))
    }

    /// The largest element so far along an axis, and its position (i64): the last one that is as large. NaN counts as
    /// largest.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (values, indices) = Tensor::from([1.0f32, 5.0, 3.0, 5.0]).cummax(0);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 5.0, 5.0, 5.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [0, 1, 1, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cummax(&self, axis: isize) -> (Tensor, Tensor) {
        self.extrema(["cummax", "cummax_indices"], axis, &|axis| cumulative::CumMax { axis, reverse: false }.into())
    }

    /// The smallest element so far along an axis, and its position (i64): the last one that is as small. NaN counts as
    /// smallest.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (values, indices) = Tensor::from([3i64, 1, 2, 1]).cummin(0);
    /// assert_eq!(values.to_vec::<i64>()?, [3, 1, 1, 1]);
    /// assert_eq!(indices.to_vec::<i64>()?, [0, 1, 1, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cummin(&self, axis: isize) -> (Tensor, Tensor) {
        self.extrema(["cummin", "cummin_indices"], axis, &|axis| cumulative::CumMin { axis, reverse: false }.into())
    }

    #[track_caller]
    fn extrema(&self, names: [&'static str; 2], axis: isize, op: &dyn Fn(usize) -> Primitive) -> (Tensor, Tensor) {
        let _here = enter();
        let values = self.scan(names[0], axis, &|x, axis| record(op(axis), &[x]));
        if values.error_ref().is_some() {
            return (values.clone(), values);
        }
        let axis = resolve(axis, self.rank(), names[0]).expect("it was resolved for the values");
        let attributes = [axis as i64];
        let call = Call::plain(names[1], &attributes, Extents::Symbolic);
        let indices = run(call, &[self, &values], &|t| positions(&t[0], &t[1], axis));
        (values, indices)
    }

    /// `y[i] = decay[i] * y[i-1] + x[i]` along an axis, with 0 before the first: the recurrence of state-space models and
    /// of moving averages. `decay` has the shape of the tensor.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (x, decay) = (Tensor::from([1.0f32, 1.0, 1.0]), Tensor::from([0.5f32, 0.5, 0.5]));
    /// assert_eq!(x.linear_recurrence(&decay, 0).to_vec::<f32>()?, [1.0, 1.5, 1.75]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn linear_recurrence(&self, decay: &Tensor, axis: isize) -> Tensor {
        let _here = enter();
        if let Some(t) = [self, decay].into_iter().find(|t| t.error_ref().is_some()) {
            return t.clone();
        }
        let axis = match resolve(axis, self.rank(), "linear_recurrence") {
            Ok(a) => a,
            Err(e) => return refuse(e, &[self, decay]),
        };
        let dtype = promote::promote(self.dtype(), decay.dtype());
        run(Call::plain("linear_recurrence", &[axis as i64], Extents::Symbolic), &[self, decay], &|t| {
            let [x, decay] = [0, 1].map(|i| prim::cast(&t[i], dtype));
            record(cumulative::LinearRecurrence { axis, reverse: false }, &[&decay, &x])
        })
    }

    /// `log(cumsum(exp(x)))` along an axis, without overflow.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([1000.0f64, 1000.0, -1000.0]).logcumsumexp(0).to_vec::<f64>()?;
    /// assert_eq!(y, [1000.0, 1000.0 + 2f64.ln(), 1000.0 + 2f64.ln()]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn logcumsumexp(&self, axis: isize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let axis = match resolve(axis, self.rank(), "logcumsumexp") {
            Ok(a) => a,
            Err(e) => return refuse(e, &[self]),
        };
        run(Call::composed("logcumsumexp", &[axis as i64], Extents::Symbolic), &[self], &|t| {
            // Sums of exp(x - m) for the largest m so far, scaled whenever that grows; it has no part in the derivative.
            let given = prim::cast(&t[0], promote::float(t[0].dtype()));
            let dtype = given.dtype();
            let x = prim::cast(&given, if dtype.is_half() { DType::F32 } else { dtype });
            let most = record(
                cumulative::CumMax { axis, reverse: false },
                &[&record(ir::ops::gradient::StopGradient {}, &[&x])],
            );
            let most_before = before(&most, axis, Scalar::of(x.dtype(), f64::NEG_INFINITY));
            let finite = most.abs().lt(f64::INFINITY);
            let shift = finite.where_(&most, 0.0);
            let decay = (&most_before - &shift).exp();
            let terms = (&x - &shift).exp();
            let sums = record(cumulative::LinearRecurrence { axis, reverse: false }, &[&decay, &terms]);
            prim::cast(&(sums.log() + shift), dtype)
        })
    }
}

/// u64 for unsigned integers, i64 for others and bool.
fn wide(x: &Tensor) -> Tensor {
    let dtype = match x.dtype() {
        d if d.is_float() => d,
        d if d.is_unsigned() => DType::U64,
        _ => DType::I64,
    };
    prim::cast(x, dtype)
}
