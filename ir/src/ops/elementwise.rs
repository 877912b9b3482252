//! The arithmetic of the reference evaluation, one Rust type at a time.
//!
//! Plain scalar functions and loops over host data. Nothing here is shared with the lowering to kernels: the two are
//! checked against each other. Transcendental functions come from the `libm` crate (the msun algorithms, within 1 ulp
//! in f64), so that the reference has the same bits on every platform; f32 and 16-bit results are rounded from f64.

pub(super) mod random;
mod special;

use crate::kernel::CompareOp;
use crate::{DType, Data, EvalError, Literal, TypedData, for_each_dtype};
use half::{bf16, f16};
use smallvec::{SmallVec, smallvec};

/// What an `eval` yields.
pub(super) type Evaluated = Result<SmallVec<[Literal; 1]>, EvalError>;

/// Arithmetic that every number has.
pub(super) trait Number: TypedData {
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    fn add(self, y: Self) -> Self;
    fn sub(self, y: Self) -> Self;
    fn mul(self, y: Self) -> Self;
    fn div(self, y: Self) -> Self;
    fn rem(self, y: Self) -> Self;
    fn pow(self, y: Self) -> Self;
}

/// Functions of floats.
pub(super) trait Real: TypedData {
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round(self) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    fn log(self) -> Self;
    fn tanh(self) -> Self;
    fn logistic(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn erf(self) -> Self;
    fn exp2(self) -> Self;
    fn expm1(self) -> Self;
    fn log1p(self) -> Self;
    fn log2(self) -> Self;
    fn log10(self) -> Self;
    fn cbrt(self) -> Self;
    fn tan(self) -> Self;
    fn asin(self) -> Self;
    fn acos(self) -> Self;
    fn atan(self) -> Self;
    fn sinh(self) -> Self;
    fn cosh(self) -> Self;
    fn asinh(self) -> Self;
    fn acosh(self) -> Self;
    fn atanh(self) -> Self;
    fn erfc(self) -> Self;
    fn erf_inv(self) -> Self;
    fn lgamma(self) -> Self;
    fn digamma(self) -> Self;
    fn atan2(self, x: Self) -> Self;
}

/// Bitwise operations of integers, logical ones of bool.
pub(super) trait Bits: TypedData {
    fn not(self) -> Self;
    fn and(self, y: Self) -> Self;
    fn or(self, y: Self) -> Self;
    fn xor(self, y: Self) -> Self;
}

/// Bits of integers as such.
pub(super) trait Int: TypedData {
    fn popcnt(self) -> Self;
    fn shift_left(self, y: Self) -> Self;
    fn shift_right(self, y: Self) -> Self;
}

/// A total choice of the larger and the smaller.
pub(super) trait Extremum: TypedData {
    fn max(self, y: Self) -> Self;
    fn min(self, y: Self) -> Self;
}

fn logistic(x: f64) -> f64 {
    // The exponential never overflows, and a small result keeps its precision.
    let e = libm::exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

macro_rules! floats {
    ($($t:ty),*) => { $(
        impl Number for $t {
            fn neg(self) -> Self { -self }
            fn abs(self) -> Self { <$t>::abs(self) }
            fn sign(self) -> Self {
                if self > 0.0 { 1.0 } else if self < 0.0 { -1.0 } else { self }
            }
            fn add(self, y: Self) -> Self { self + y }
            fn sub(self, y: Self) -> Self { self - y }
            fn mul(self, y: Self) -> Self { self * y }
            fn div(self, y: Self) -> Self { self / y }
            fn rem(self, y: Self) -> Self { self % y }
            fn pow(self, y: Self) -> Self { libm::pow(self as f64, y as f64) as $t }
        }
        impl Real for $t {
            fn floor(self) -> Self { <$t>::floor(self) }
            fn ceil(self) -> Self { <$t>::ceil(self) }
            fn round(self) -> Self { self.round_ties_even() }
            fn sqrt(self) -> Self { <$t>::sqrt(self) }
            fn exp(self) -> Self { libm::exp(self as f64) as $t }
            fn log(self) -> Self { libm::log(self as f64) as $t }
            fn tanh(self) -> Self { libm::tanh(self as f64) as $t }
            fn logistic(self) -> Self { logistic(self as f64) as $t }
            fn sin(self) -> Self { libm::sin(self as f64) as $t }
            fn cos(self) -> Self { libm::cos(self as f64) as $t }
            fn erf(self) -> Self { libm::erf(self as f64) as $t }
            fn exp2(self) -> Self { libm::exp2(self as f64) as $t }
            fn expm1(self) -> Self { libm::expm1(self as f64) as $t }
            fn log1p(self) -> Self { libm::log1p(self as f64) as $t }
            fn log2(self) -> Self { libm::log2(self as f64) as $t }
            fn log10(self) -> Self { libm::log10(self as f64) as $t }
            fn cbrt(self) -> Self { libm::cbrt(self as f64) as $t }
            fn tan(self) -> Self { libm::tan(self as f64) as $t }
            fn asin(self) -> Self { libm::asin(self as f64) as $t }
            fn acos(self) -> Self { libm::acos(self as f64) as $t }
            fn atan(self) -> Self { libm::atan(self as f64) as $t }
            fn sinh(self) -> Self { libm::sinh(self as f64) as $t }
            fn cosh(self) -> Self { libm::cosh(self as f64) as $t }
            fn asinh(self) -> Self { libm::asinh(self as f64) as $t }
            fn acosh(self) -> Self { special::acosh(self as f64) as $t }
            fn atanh(self) -> Self { libm::atanh(self as f64) as $t }
            fn erfc(self) -> Self { libm::erfc(self as f64) as $t }
            fn erf_inv(self) -> Self { special::erf_inv(self as f64) as $t }
            fn lgamma(self) -> Self { libm::lgamma(self as f64) as $t }
            fn digamma(self) -> Self { special::digamma(self as f64) as $t }
            fn atan2(self, x: Self) -> Self { libm::atan2(self as f64, x as f64) as $t }
        }
        impl Extremum for $t {
            fn max(self, y: Self) -> Self {
                if self.is_nan() || self > y || (self == y && self.is_sign_positive()) { self } else { y }
            }
            fn min(self, y: Self) -> Self {
                if self.is_nan() || self < y || (self == y && self.is_sign_negative()) { self } else { y }
            }
        }
    )* };
}
floats!(f64, f32);

macro_rules! halves {
    ($($t:ty),*) => { $(
        impl Number for $t {
            halves!(@one Number: neg, abs, sign);
            halves!(@two Number: add, sub, mul, div, rem, pow);
        }
        impl Real for $t {
            halves!(@one Real: floor, ceil, round, sqrt, exp, log, tanh, logistic, sin, cos, erf, exp2, expm1, log1p, log2,
                log10, cbrt, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh, erfc, erf_inv, lgamma, digamma);
            halves!(@two Real: atan2);
        }
        impl Extremum for $t {
            halves!(@two Extremum: max, min);
        }
    )* };
    (@one $trait:ident: $($f:ident),*) => { $(
        fn $f(self) -> Self { Self::from_f32(<f32 as $trait>::$f(self.to_f32())) }
    )* };
    (@two $trait:ident: $($f:ident),*) => { $(
        fn $f(self, y: Self) -> Self { Self::from_f32(<f32 as $trait>::$f(self.to_f32(), y.to_f32())) }
    )* };
}
halves!(f16, bf16);

macro_rules! integers {
    ($($t:ty),*) => { $(
        // Comparisons with 0 and -1 that an unsigned type cannot meet.
        #[allow(unused_comparisons, clippy::absurd_extreme_comparisons)]
        impl Number for $t {
            fn neg(self) -> Self { self.wrapping_neg() }
            fn abs(self) -> Self { if self < 0 { self.wrapping_neg() } else { self } }
            fn sign(self) -> Self { if self > 0 { 1 } else if self < 0 { (0 as $t).wrapping_sub(1) } else { 0 } }
            fn add(self, y: Self) -> Self { self.wrapping_add(y) }
            fn sub(self, y: Self) -> Self { self.wrapping_sub(y) }
            fn mul(self, y: Self) -> Self { self.wrapping_mul(y) }
            fn div(self, y: Self) -> Self { if y == 0 { 0 } else { self.wrapping_div(y) } }
            fn rem(self, y: Self) -> Self { if y == 0 { self } else { self.wrapping_rem(y) } }
            fn pow(self, y: Self) -> Self {
                if y < 0 {
                    return match self {
                        1 => 1,
                        x if x.wrapping_add(1) == 0 => if y % 2 == 0 { 1 } else { x },
                        _ => 0,
                    };
                }
                let (mut power, mut base, mut exponent) = (1 as $t, self, y);
                while exponent > 0 {
                    if exponent % 2 == 1 {
                        power = power.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    exponent /= 2;
                }
                power
            }
        }
        impl Bits for $t {
            fn not(self) -> Self { !self }
            fn and(self, y: Self) -> Self { self & y }
            fn or(self, y: Self) -> Self { self | y }
            fn xor(self, y: Self) -> Self { self ^ y }
        }
        impl Int for $t {
            fn popcnt(self) -> Self { self.count_ones() as $t }
            fn shift_left(self, y: Self) -> Self {
                if (0..<$t>::BITS as i128).contains(&(y as i128)) { self << y } else { 0 }
            }
            fn shift_right(self, y: Self) -> Self {
                // By one less than all, and by one more: what is left is the sign.
                let inside = (0..<$t>::BITS as i128).contains(&(y as i128));
                if inside { self >> y } else { self >> (<$t>::BITS - 1) >> 1 }
            }
        }
        impl Extremum for $t {
            fn max(self, y: Self) -> Self { Ord::max(self, y) }
            fn min(self, y: Self) -> Self { Ord::min(self, y) }
        }
    )* };
}
integers!(i64, i32, i16, i8, u64, u32, u16, u8);

impl Bits for bool {
    fn not(self) -> Self {
        !self
    }
    fn and(self, y: Self) -> Self {
        self && y
    }
    fn or(self, y: Self) -> Self {
        self || y
    }
    fn xor(self, y: Self) -> Self {
        self != y
    }
}
impl Extremum for bool {
    fn max(self, y: Self) -> Self {
        self || y
    }
    fn min(self, y: Self) -> Self {
        self && y
    }
}

/// Runs `$body` with `$T` as the Rust type of a dtype, which must be one of the class.
macro_rules! with_type {
    (number $dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::elementwise::with_type!(@ $dtype, $T => $body; F64 f64, F32 f32, F16 half::f16, BF16 half::bf16,
            I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32, U16 u16, U8 u8)
    };
    (float $dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::elementwise::with_type!(@ $dtype, $T => $body; F64 f64, F32 f32, F16 half::f16, BF16 half::bf16)
    };
    (integral $dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::elementwise::with_type!(@ $dtype, $T => $body; I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32, U16 u16, U8 u8, Bool bool)
    };
    (int $dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::elementwise::with_type!(@ $dtype, $T => $body; I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32,
            U16 u16, U8 u8)
    };
    (any $dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::elementwise::with_type!(@ $dtype, $T => $body; F64 f64, F32 f32, F16 half::f16, BF16 half::bf16,
            I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32, U16 u16, U8 u8, Bool bool)
    };
    (@ $dtype:expr, $T:ident => $body:expr; $($v:ident $t:ty),*) => {
        match $dtype {
            $($crate::DType::$v => { type $T = $t; $body })*
            #[allow(unreachable_patterns)]
            other => unreachable!("the type rule admitted {other}"),
        }
    };
}
pub(super) use with_type;

/// One result from one operand, element by element.
pub(super) fn map<T: TypedData, R: TypedData>(x: &Literal, f: impl Fn(T) -> R) -> Evaluated {
    let elements = x.as_slice::<T>().iter().map(|&a| f(a)).collect();
    Ok(smallvec![Literal::from_vec(x.dims(), elements)])
}

/// One result from two operands of the same extents, element by element.
pub(super) fn zip<T: TypedData, R: TypedData>(x: &Literal, y: &Literal, f: impl Fn(T, T) -> R) -> Evaluated {
    let elements = x.as_slice::<T>().iter().zip(y.as_slice::<T>()).map(|(&a, &b)| f(a, b)).collect();
    Ok(smallvec![Literal::from_vec(x.dims(), elements)])
}

/// A comparison; any with NaN but `Ne` is false.
pub(super) fn compare(direction: CompareOp, x: &Literal, y: &Literal) -> Evaluated {
    fn typed<T: TypedData + PartialOrd>(direction: CompareOp, x: &Literal, y: &Literal) -> Evaluated {
        let f: fn(&T, &T) -> bool = match direction {
            CompareOp::Eq => T::eq,
            CompareOp::Ne => T::ne,
            CompareOp::Lt => T::lt,
            CompareOp::Le => T::le,
            CompareOp::Gt => T::gt,
            CompareOp::Ge => T::ge,
        };
        zip(x, y, |a: T, b: T| f(&a, &b))
    }
    with_type!(any x.dtype(), T => typed::<T>(direction, x, y))
}

/// The element of `x` where the condition holds, else that of `y`.
pub(super) fn select(condition: &Literal, x: &Literal, y: &Literal) -> Evaluated {
    let condition = condition.as_slice::<bool>();
    macro_rules! typed {
        ($(($v:ident, $t:ty)),*) => { match (x.data(), y.data()) {
            $((Data::$v(a), Data::$v(b)) => {
                Data::$v(condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c { a } else { b }).collect())
            })*
            _ => unreachable!("the type rule admitted {} and {}", x.dtype(), y.dtype()),
        } };
    }
    Ok(smallvec![Literal::new(x.dims(), for_each_dtype!(typed))])
}

/// Each element converted as [`Scalar::convert`](crate::Scalar::convert) defines it.
pub(super) fn convert(x: &Literal, to: DType) -> Evaluated {
    Ok(smallvec![Literal::from_fn(x.dims(), to, |i| x.get(i).convert(to))])
}
