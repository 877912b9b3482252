//! More elementary functions: pointwise, and composed of others.

use super::arg::Arg;
use super::broadcast::{Operands, pointwise};
use super::prim;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::DType;
use ir::ops::binary;

/// The largest finite number of a float dtype.
fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => 3.3895313892515355e38,
        _ => f32::MAX.into(),
    }
}

fn is_infinite(x: &Tensor) -> Tensor {
    if x.error_ref().is_some() || x.dtype().is_float() { x.abs().eq(f64::INFINITY) } else { x.ne(x) }
}

impl Tensor {
    /// True for infinities.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::NEG_INFINITY, 1.0]).is_inf().to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn is_inf(&self) -> Tensor {
        pointwise("is_inf", true, Operands::Common, &[self.into()], &|t| is_infinite(&t[0]))
    }

    /// True for what is neither infinite nor NaN.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::NAN, f32::INFINITY, 1.0]).is_finite().to_vec::<bool>()?, [false, false, true]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn is_finite(&self) -> Tensor {
        pointwise("is_finite", true, Operands::Common, &[self.into()], &|t| {
            let x = &t[0];
            if x.error_ref().is_some() || x.dtype().is_float() { x.abs().lt(f64::INFINITY) } else { x.eq(x) }
        })
    }

    /// True for positive infinity.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::NEG_INFINITY, f32::INFINITY]).is_posinf().to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn is_posinf(&self) -> Tensor {
        pointwise("is_posinf", true, Operands::Float, &[self.into()], &|t| t[0].eq(f64::INFINITY))
    }

    /// True for negative infinity.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::NEG_INFINITY, f32::INFINITY]).is_neginf().to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn is_neginf(&self) -> Tensor {
        pointwise("is_neginf", true, Operands::Float, &[self.into()], &|t| t[0].eq(f64::NEG_INFINITY))
    }

    /// True where both are equal, or differ by at most `absolute + relative * |other|`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let x = Tensor::from([1.0f32, 1.1, f32::INFINITY]);
    /// let y = Tensor::from([1.0000001f32, 1.0, f32::INFINITY]);
    /// assert_eq!(x.is_close(&y, 1e-5, 1e-8).to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn is_close(&self, other: impl Into<Arg>, relative: f64, absolute: f64) -> Tensor {
        let args = [self.into(), other.into(), relative.into(), absolute.into()];
        pointwise("is_close", true, Operands::Float, &args, &|t| {
            let [x, y] = [&t[0], &t[1]];
            let near = (x - y).abs().le(&t[3] + &t[2] * y.abs()).logical_and(y.abs().lt(f64::INFINITY));
            x.eq(y).logical_or(near)
        })
    }

    /// NaN replaced by a number, infinities by others: by default the largest and the lowest of the dtype.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let x = Tensor::from([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
    /// assert_eq!(x.nan_to_num(0.0, None, Some(-9.0)).to_vec::<f32>()?, [0.0, f32::MAX, -9.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nan_to_num(&self, nan: f64, infinity: Option<f64>, minus_infinity: Option<f64>) -> Tensor {
        if self.error_ref().is_some() || !self.dtype().is_float() {
            return self.clone();
        }
        let most = infinity.unwrap_or(largest(self.dtype()));
        let least = minus_infinity.unwrap_or(-largest(self.dtype()));
        let args = [self.into(), nan.into(), most.into(), least.into()];
        pointwise("nan_to_num", true, Operands::Float, &args, &|t| {
            let x = &t[0];
            let above = x.eq(f64::INFINITY).where_(&t[2], x);
            let finite = x.eq(f64::NEG_INFINITY).where_(&t[3], above);
            x.is_nan().where_(&t[1], finite)
        })
    }

    /// The integer next to it towards zero; integers stay.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.7f32, -1.7]).trunc().to_vec::<f32>()?, [1.0, -1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn trunc(&self) -> Tensor {
        if self.error_ref().is_some() || self.dtype().is_int() {
            return self.clone();
        }
        pointwise("trunc", true, Operands::Float, &[self.into()], &|t| t[0].lt(0.0).where_(t[0].ceil(), t[0].floor()))
    }

    /// What [`Tensor::trunc`] takes away.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.75f32, -1.75]).frac().to_vec::<f32>()?, [0.75, -0.75]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn frac(&self) -> Tensor {
        pointwise("frac", true, Operands::Float, &[self.into()], &|t| &t[0] - t[0].trunc())
    }

    /// The length of the vector with these two legs, without overflow on the way. Infinite if either is.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([3e38f32, 3.0]).hypot(Tensor::from([0.0f32, 4.0])).to_vec::<f32>()?, [3e38, 5.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn hypot(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("hypot", true, Operands::Float, &[self.into(), other.into()], &|t| {
            let (x, y) = (t[0].abs(), t[1].abs());
            let (long, short) = (x.maximum(&y), x.minimum(&y));
            let by = long.eq(0.0).where_(1.0, &long);
            let ratio = short / by;
            let length = long * (&ratio * &ratio + 1.0).sqrt();
            x.eq(f64::INFINITY).logical_or(y.eq(f64::INFINITY)).where_(f64::INFINITY, length)
        })
    }

    /// The angle of the point whose coordinates are the other, then `self`, from -π to π.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32]).atan2(0.0).to_vec::<f32>()?, [std::f32::consts::FRAC_PI_2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn atan2(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("atan2", false, Operands::Float, &[self.into(), other.into()], &|t| {
            record(binary::Atan2 {}, &[&t[0], &t[1]])
        })
    }

    /// The quotient rounded down, as Python's `//`; of integers by zero 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([7i64, -7]).floor_divide(2).to_vec::<i64>()?, [3, -4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn floor_divide(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("floor_divide", true, Operands::Numeric, &[self.into(), other.into()], &|t| {
            let [x, y] = [&t[0], &t[1]];
            if x.error_ref().is_some() || x.dtype().is_float() {
                let rest = record(binary::Rem {}, &[x, y]);
                // A multiple of y but for rounding.
                let multiple = (x - &rest) / y;
                let below = rest.ne(0.0).logical_and(rest.lt(0.0).ne(y.lt(0.0)));
                let whole = below.where_(&multiple - 1.0, &multiple).round();
                let quotient = record(binary::Div {}, &[x, y]);
                let zero = prim::full_like(x, 0.0).copysign(&quotient);
                let whole = whole.eq(0.0).where_(zero, whole);
                return y.eq(0.0).where_(quotient, whole);
            }
            let quotient = record(binary::Div {}, &[x, y]);
            let rest = record(binary::Rem {}, &[x, y]);
            let below = rest.ne(0).logical_and(rest.lt(0).ne(y.lt(0))).logical_and(y.ne(0));
            below.where_(&quotient - 1, &quotient)
        })
    }

    /// `x * log(y)`, 0 where `x` is 0 and `y` no NaN.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 2.0]).xlogy(Tensor::from([0.0f32, 1.0])).to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn xlogy(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("xlogy", true, Operands::Float, &[self.into(), other.into()], &|t| {
            let [x, y] = [&t[0], &t[1]];
            // Where the product would be NaN, its factor becomes harmless, in derivatives too.
            let apart = x.eq(0.0).logical_and(y.le(0.0).logical_or(y.eq(f64::INFINITY)));
            x * apart.where_(1.0, y).log()
        })
    }

    /// `x * log(1 + y)`, 0 where `x` is 0 and `y` no NaN.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 2.0]).xlog1py(Tensor::from([-1.0f32, 0.0])).to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn xlog1py(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("xlog1py", true, Operands::Float, &[self.into(), other.into()], &|t| {
            let [x, y] = [&t[0], &t[1]];
            let apart = x.eq(0.0).logical_and(y.le(-1.0).logical_or(y.eq(f64::INFINITY)));
            x * apart.where_(0.0, y).log1p()
        })
    }

    /// `log(exp(x) + exp(y))`, without overflow.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1000.0f32]).logaddexp(0.0).to_vec::<f32>()?, [1000.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn logaddexp(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("logaddexp", true, Operands::Float, &[self.into(), other.into()], &|t| {
            let [x, y] = [&t[0], &t[1]];
            x.maximum(y) + (-distance(x, y)).exp().log1p()
        })
    }

    /// `log2(2^x + 2^y)`, without overflow.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1000.0f32]).logaddexp2(1000.0).to_vec::<f32>()?, [1001.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn logaddexp2(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("logaddexp2", true, Operands::Float, &[self.into(), other.into()], &|t| {
            let [x, y] = [&t[0], &t[1]];
            x.maximum(y) + (-distance(x, y)).exp2().log1p() * std::f64::consts::LOG2_E
        })
    }

    /// From `self` (weight 0) to `end` (weight 1), both met exactly.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let start = Tensor::from([0.0f32, 10.0]);
    /// assert_eq!(start.lerp(Tensor::from([4.0f32, 20.0]), 0.25).to_vec::<f32>()?, [1.0, 12.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn lerp(&self, end: impl Into<Arg>, weight: impl Into<Arg>) -> Tensor {
        pointwise("lerp", true, Operands::Float, &[self.into(), end.into(), weight.into()], &|t| {
            let [start, end, weight] = [&t[0], &t[1], &t[2]];
            let way = end - start;
            let late = end - &way * (1.0 - weight);
            weight.abs().lt(0.5).where_(start + way * weight, late)
        })
    }

    /// At least `low`; NaN stays.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-1.0f32, 2.0]).clamp_min(0.0).to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp_min(&self, low: impl Into<Arg>) -> Tensor {
        self.maximum(low)
    }

    /// At most `high`; NaN stays.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-1.0f32, 2.0]).clamp_max(0.0).to_vec::<f32>()?, [-1.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp_max(&self, high: impl Into<Arg>) -> Tensor {
        self.minimum(high)
    }

    /// The larger; NaN only if both are.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::NAN, 2.0]).fmax(1.0).to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn fmax(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("fmax", true, Operands::Common, &[self.into(), other.into()], &|t| {
            t[0].is_nan().where_(&t[1], t[1].is_nan().where_(&t[0], t[0].maximum(&t[1])))
        })
    }

    /// The smaller; NaN only if both are.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::NAN, 2.0]).fmin(1.0).to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn fmin(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("fmin", true, Operands::Common, &[self.into(), other.into()], &|t| {
            t[0].is_nan().where_(&t[1], t[1].is_nan().where_(&t[0], t[0].minimum(&t[1])))
        })
    }

    /// `log(x / (1 - x))`, the inverse of [`Tensor::sigmoid`].
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.5f32]).logit().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn logit(&self) -> Tensor {
        pointwise("logit", true, Operands::Float, &[self.into()], &|t| (&t[0] / (1.0 - &t[0])).log())
    }

    /// `sin(π x) / (π x)`, 1 at 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).sinc().to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn sinc(&self) -> Tensor {
        pointwise("sinc", true, Operands::Float, &[self.into()], &|t| {
            let angle = &t[0] * std::f64::consts::PI;
            let by = angle.eq(0.0).where_(1.0, &angle);
            angle.eq(0.0).where_(1.0, angle.sin() / by)
        })
    }

    /// Degrees as radians.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([180.0f32]).deg2rad().to_vec::<f32>()?, [std::f32::consts::PI]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn deg2rad(&self) -> Tensor {
        pointwise("deg2rad", true, Operands::Float, &[self.into()], &|t| &t[0] * 1f64.to_radians())
    }

    /// Radians as degrees.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([std::f32::consts::PI]).rad2deg().to_vec::<f32>()?, [180.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn rad2deg(&self) -> Tensor {
        pointwise("rad2deg", true, Operands::Float, &[self.into()], &|t| &t[0] * 1f64.to_degrees())
    }

    /// 0 below 0, 1 above, the other at 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-2.0f32, 0.0, 3.0]).heaviside(0.5).to_vec::<f32>()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn heaviside(&self, at_zero: impl Into<Arg>) -> Tensor {
        pointwise("heaviside", true, Operands::Numeric, &[self.into(), at_zero.into()], &|t| {
            let x = &t[0];
            let step = x.gt(0).where_(prim::full_like(x, 1.0), prim::full_like(x, 0.0));
            let step = x.eq(0).where_(&t[1], step);
            x.ne(x).where_(x, step)
        })
    }

    /// `x * 2^exponent`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([3.0f32]).ldexp(Tensor::from([4i64])).to_vec::<f32>()?, [48.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn ldexp(&self, exponent: impl Into<Arg>) -> Tensor {
        pointwise("ldexp", true, Operands::Float, &[self.into(), exponent.into()], &|t| &t[0] * t[1].exp2())
    }

    /// `self + value * x * y`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let sum = Tensor::from([1.0f32]).addcmul(Tensor::from([2.0f32]), Tensor::from([3.0f32]), 0.5);
    /// assert_eq!(sum.to_vec::<f32>()?, [4.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn addcmul(&self, x: impl Into<Arg>, y: impl Into<Arg>, value: impl Into<Arg>) -> Tensor {
        let args = [self.into(), x.into(), y.into(), value.into()];
        pointwise("addcmul", true, Operands::Numeric, &args, &|t| &t[0] + &t[3] * &t[1] * &t[2])
    }

    /// `self + value * x / y`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let sum = Tensor::from([1.0f32]).addcdiv(Tensor::from([3.0f32]), Tensor::from([2.0f32]), 2.0);
    /// assert_eq!(sum.to_vec::<f32>()?, [4.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn addcdiv(&self, x: impl Into<Arg>, y: impl Into<Arg>, value: impl Into<Arg>) -> Tensor {
        let args = [self.into(), x.into(), y.into(), value.into()];
        pointwise("addcdiv", true, Operands::Float, &args, &|t| &t[0] + &t[3] * &t[1] / &t[2])
    }

    /// `-x * log(x)`: 0 at 0, -inf below.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 1.0, -1.0]).entr().to_vec::<f32>()?, [0.0, -0.0, f32::NEG_INFINITY]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn entr(&self) -> Tensor {
        pointwise("entr", true, Operands::Float, &[self.into()], &|t| {
            let x = &t[0];
            let inside = x.le(0.0).where_(1.0, x);
            let outside = x.lt(0.0).where_(f64::NEG_INFINITY, 0.0);
            x.le(0.0).where_(outside, -x * inside.log())
        })
    }

    /// The area under the normal distribution's bell up to `x`: `erfc(-x / sqrt(2)) / 2`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, f32::INFINITY]).ndtr().to_vec::<f32>()?, [0.5, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn ndtr(&self) -> Tensor {
        pointwise("ndtr", true, Operands::Float, &[self.into()], &|t| {
            (&t[0] * -std::f64::consts::FRAC_1_SQRT_2).erfc() * 0.5
        })
    }
}

/// `|x - y|`, 0 for two equal infinities.
fn distance(x: &Tensor, y: &Tensor) -> Tensor {
    let same = x.eq(y).logical_and(is_infinite(x));
    same.where_(0.0, x - y).abs()
}
