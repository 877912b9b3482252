//! Elementary functions, comparison and selection, element by element.

use super::arg::Arg;
use super::broadcast::{Operands, pointwise};
use super::prim;
use crate::dispatch::{Call, Extents, checked, run};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use crate::trace::record;
use ir::DType;
use ir::ops::binary::{self, Direction};
use ir::ops::{gradient, unary};

macro_rules! unary {
    ($($(#[$doc:meta])* $method:ident: $operands:ident => $prim:expr;)*) => {
        impl Tensor { $(
            $(#[$doc])*
            #[track_caller]
            pub fn $method(&self) -> Tensor {
                pointwise(stringify!($method), false, Operands::$operands, &[self.into()], &|t| record($prim, &[&t[0]]))
            }
        )* }
    };
}

unary! {
    /// Absolute value.
    abs: Numeric => unary::Abs {};
    /// -1, 0 or 1; zeros keep their sign, NaN stays.
    sign: Numeric => unary::Sign {};
    /// Square root.
    sqrt: Float => unary::Sqrt {};
    /// Exponential.
    exp: Float => unary::Exp {};
    /// Natural logarithm.
    log: Float => unary::Log {};
    /// Hyperbolic tangent.
    tanh: Float => unary::Tanh {};
    /// `1 / (1 + exp(-x))`.
    sigmoid: Float => unary::Logistic {};
    /// Sine.
    sin: Float => unary::Sin {};
    /// Cosine.
    cos: Float => unary::Cos {};
    /// Error function.
    erf: Float => unary::Erf {};
    /// 2 to the power `x`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([3.0f32, -1.0]).exp2().to_vec::<f32>()?, [8.0, 0.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    exp2: Float => unary::Exp2 {};
    /// `exp(x) - 1`, accurate near 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1e-30f64]).expm1().to_vec::<f64>()?, [1e-30]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    expm1: Float => unary::Expm1 {};
    /// `log(1 + x)`, accurate near 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1e-30f64]).log1p().to_vec::<f64>()?, [1e-30]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    log1p: Float => unary::Log1p {};
    /// Logarithm to base 2.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([8.0f32, 0.5]).log2().to_vec::<f32>()?, [3.0, -1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    log2: Float => unary::Log2 {};
    /// Logarithm to base 10.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1000.0f64]).log10().to_vec::<f64>()?, [3.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    log10: Float => unary::Log10 {};
    /// Cube root, of negative numbers too.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([27.0f32, -8.0]).cbrt().to_vec::<f32>()?, [3.0, -2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    cbrt: Float => unary::Cbrt {};
    /// Tangent.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).tan().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    tan: Float => unary::Tan {};
    /// Inverse sine, within ±π/2; NaN beyond 1.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 1.0]).asin().to_vec::<f32>()?, [0.0, std::f32::consts::FRAC_PI_2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    asin: Float => unary::Asin {};
    /// Inverse cosine, from 0 to π; NaN beyond 1.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 0.0]).acos().to_vec::<f32>()?, [0.0, std::f32::consts::FRAC_PI_2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    acos: Float => unary::Acos {};
    /// Inverse tangent, within ±π/2.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32]).atan().to_vec::<f32>()?, [std::f32::consts::FRAC_PI_4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    atan: Float => unary::Atan {};
    /// Hyperbolic sine.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).sinh().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    sinh: Float => unary::Sinh {};
    /// Hyperbolic cosine.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).cosh().to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    cosh: Float => unary::Cosh {};
    /// Inverse hyperbolic sine.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).asinh().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    asinh: Float => unary::Asinh {};
    /// Inverse hyperbolic cosine; NaN below 1.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32]).acosh().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    acosh: Float => unary::Acosh {};
    /// Inverse hyperbolic tangent; infinite at ±1, NaN beyond.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 1.0]).atanh().to_vec::<f32>()?, [0.0, f32::INFINITY]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    atanh: Float => unary::Atanh {};
    /// `1 - erf(x)`, accurate where that is small.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).erfc().to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    erfc: Float => unary::Erfc {};
    /// Inverse of [`Tensor::erf`]; infinite at ±1, NaN beyond.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, -1.0]).erfinv().to_vec::<f32>()?, [0.0, f32::NEG_INFINITY]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    erfinv: Float => unary::ErfInv {};
    /// Logarithm of the absolute value of the gamma function.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 0.0]).lgamma().to_vec::<f32>()?, [0.0, f32::INFINITY]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    lgamma: Float => unary::Lgamma {};
    /// Derivative of [`Tensor::lgamma`].
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).digamma().to_vec::<f32>()?, [f32::NEG_INFINITY]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    digamma: Float => unary::Digamma {};
    /// Complement: logical of bool, bitwise of integers.
    logical_not: Integral => unary::Not {};
    /// Negation.
    neg: Numeric => unary::Neg {};
    /// The tensor itself, which counts as a constant when it is differentiated.
    ///
    /// ```
    /// use tracewright::{Tensor, grad};
    /// let f = |x: &Tensor| (x * x.stop_gradient()).sum(..);
    /// let (_, slope) = grad::value_and_grad(f)(&Tensor::from([3.0f32]));
    /// assert_eq!(slope.to_vec::<f32>()?, [3.0]); // not 6
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    stop_gradient: Common => gradient::StopGradient {};
}

/// The tensor itself, captured by a function with a derivative of its own.
pub(crate) fn captured(t: &Tensor) -> Tensor {
    pointwise("captured", false, Operands::Common, &[t.into()], &|t| record(gradient::Captured {}, &[&t[0]]))
}

impl Tensor {
    /// The elements of another tensor of this type, differentiated as if they were those of this one: a straight-through
    /// estimator. The derivative is 0 where this one is not finite.
    ///
    /// ```
    /// use tracewright::{Tensor, grad};
    /// let round = |x: &Tensor| x.straight_through(&x.round());
    /// let slope = grad(move |x: &Tensor| (round(x) * 3.0).sum(..))(&Tensor::from([0.8f32]));
    /// assert_eq!(slope.to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the types differ, or are not floats.
    #[track_caller]
    pub fn straight_through(&self, elements: &Tensor) -> Tensor {
        const NAME: &str = "straight_through";
        checked(&[self, elements], || {
            if self.ty() != elements.ty() || !self.dtype().is_float() {
                let rule = format!("the elements of {} are to stand for those of {}", elements.ty(), self.ty());
                return Err(Error::new(Code::Shape, NAME, rule, "two floats of one type"));
            }
            Ok(run(Call::composed(NAME, &[], Extents::Flat), &[self, elements], &|t| {
                let zero = prim::full_like(&t[0], 0.0);
                let change = t[0].is_finite().where_(t[0].stop_gradient() - &t[0], &zero);
                t[1].stop_gradient() - change
            }))
        })
    }
}

macro_rules! rounding {
    ($($(#[$doc:meta])* $method:ident => $prim:expr;)*) => {
        impl Tensor { $(
            $(#[$doc])*
            #[track_caller]
            pub fn $method(&self) -> Tensor {
                if self.error_ref().is_some() || self.dtype().is_int() {
                    return self.clone();
                }
                let name = stringify!($method);
                pointwise(name, false, Operands::Float, &[self.into()], &|t| record($prim, &[&t[0]]))
            }
        )* }
    };
}

rounding! {
    /// The largest integer not above; integers stay.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.5f32, -1.5]).floor().to_vec::<f32>()?, [1.0, -2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    floor => unary::Floor {};
    /// The smallest integer not below; integers stay.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.5f32, -1.5]).ceil().to_vec::<f32>()?, [2.0, -1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ceil => unary::Ceil {};
    /// The nearest integer, half to even; integers stay.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.5f32, 1.5, -2.5]).round().to_vec::<f32>()?, [0.0, 2.0, -2.0]);
    /// assert_eq!(Tensor::from([i64::MAX]).round().to_vec::<i64>()?, [i64::MAX]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    round => unary::Round {};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $method:ident: $operands:ident => $prim:expr;)*) => {
        impl Tensor { $(
            $(#[$doc])*
            #[track_caller]
            pub fn $method(&self, other: impl Into<Arg>) -> Tensor {
                pointwise(stringify!($method), false, Operands::$operands, &[self.into(), other.into()], &|t| {
                    record($prim, &[&t[0], &t[1]])
                })
            }
        )* }
    };
}

binary! {
    /// The larger; NaN wins.
    maximum: Common => binary::Max {};
    /// The smaller; NaN wins.
    minimum: Common => binary::Min {};
    /// Power; integers by an integer stay integers.
    pow: Numeric => binary::Pow {};
    /// Remainder with the sign of the dividend, as in Rust and C.
    fmod: Numeric => binary::Rem {};
    /// Quotient of integers rounded towards zero; of floats the quotient.
    div_trunc: Numeric => binary::Div {};
    /// True where equal; NaN equals nothing.
    eq: Common => binary::Compare { direction: Direction::Eq };
    /// True where not equal.
    ne: Common => binary::Compare { direction: Direction::Ne };
    /// True where less.
    lt: Common => binary::Compare { direction: Direction::Lt };
    /// True where less or equal.
    le: Common => binary::Compare { direction: Direction::Le };
    /// True where greater.
    gt: Common => binary::Compare { direction: Direction::Gt };
    /// True where greater or equal.
    ge: Common => binary::Compare { direction: Direction::Ge };
    /// Logical and of bools, bitwise of integers.
    logical_and: Integral => binary::And {};
    /// Logical or of bools, bitwise of integers.
    logical_or: Integral => binary::Or {};
    /// Exclusive or.
    logical_xor: Integral => binary::Xor {};
}

/// The body of [`Tensor::remainder`], on operands of one type.
pub(super) fn remainder(x: &Tensor, y: &Tensor) -> Tensor {
    let rest = record(binary::Rem {}, &[x, y]);
    let zero = prim::full_like(y, 0.0);
    let wrong = rest.ne(&zero).logical_and(rest.lt(&zero).ne(y.lt(&zero)));
    wrong.where_(&rest + y, &rest)
}

impl Tensor {
    /// Remainder with the sign of the divisor, as in Python; the `%` operator.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!((Tensor::from([-7i64, 7]) % 3).to_vec::<i64>()?, [2, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn remainder(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("remainder", true, Operands::Numeric, &[self.into(), other.into()], &|t| remainder(&t[0], &t[1]))
    }

    /// `self` where the condition `self` is true, else the other; `self` is bool.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([-1.0f32, 2.0]);
    /// assert_eq!(x.gt(0.0).where_(&x, 0.0).to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn where_(&self, yes: impl Into<Arg>, no: impl Into<Arg>) -> Tensor {
        pointwise("where", false, Operands::Select, &[self.into(), yes.into(), no.into()], &|t| {
            record(binary::Select {}, &[&t[0], &t[1], &t[2]])
        })
    }

    /// Brought into `low..=high`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-1.0f32, 0.5, 9.0]).clamp(0.0, 1.0).to_vec::<f32>()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp(&self, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
        pointwise("clamp", true, Operands::Numeric, &[self.into(), low.into(), high.into()], &|t| {
            let above = record(binary::Max {}, &[&t[0], &t[1]]);
            record(binary::Min {}, &[&above, &t[2]])
        })
    }

    /// `x * x`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-3.0f32]).square().to_vec::<f32>()?, [9.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn square(&self) -> Tensor {
        pointwise("square", false, Operands::Numeric, &[self.into()], &|t| record(binary::Mul {}, &[&t[0], &t[0]]))
    }

    /// `1 / x`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([4.0f32]).recip().to_vec::<f32>()?, [0.25]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn recip(&self) -> Tensor {
        pointwise("recip", false, Operands::Float, &[self.into()], &|t| {
            record(binary::Div {}, &[&prim::full_like(&t[0], 1.0), &t[0]])
        })
    }

    /// `1 / sqrt(x)`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([4.0f32]).rsqrt().to_vec::<f32>()?, [0.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn rsqrt(&self) -> Tensor {
        pointwise("rsqrt", true, Operands::Float, &[self.into()], &|t| t[0].sqrt().recip())
    }

    /// True for NaN.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::NAN, 1.0]).is_nan().to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn is_nan(&self) -> Tensor {
        pointwise("is_nan", false, Operands::Common, &[self.into()], &|t| {
            record(binary::Compare { direction: Direction::Ne }, &[&t[0], &t[0]])
        })
    }

    /// Converted to a dtype: floats round to nearest even, floats to integers truncate and saturate with NaN to 0,
    /// integers to narrower ones wrap, anything to bool is `!= 0`. The same tensor if it has the dtype already.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::from([1.9f32, -3.0, 300.0]).to_dtype(DType::U8).to_vec::<u8>()?, [1, 0, 255]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        if self.error_ref().is_some() || self.dtype() == dtype {
            return self.clone();
        }
        run(Call::plain("to_dtype", &[dtype as i64], Extents::Flat), &[self], &|t| prim::cast(&t[0], dtype))
    }
}
