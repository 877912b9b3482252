//! The scalar operations of the kernel IR, one value at a time, as its documentation defines them.
//!
//! Transcendental functions are computed in f64 with the standard library and rounded once to f32; in f64 they are as
//! good as the standard library's.

use super::special;
use crate::Scalar;
use crate::kernel::{BinaryOp, CompareOp, Draw, UnaryOp, draw};

/// The result of a unary operation; `None` if it is not defined on that type.
pub fn unary(op: UnaryOp, x: Scalar) -> Option<Scalar> {
    use UnaryOp::*;
    macro_rules! int {
        ($v:ident, $x:ident, $negative:expr) => {
            Some(Scalar::$v(match op {
                Neg => $x.wrapping_neg(),
                Abs if $negative => $x.wrapping_neg(),
                Abs => $x,
                Sign if $negative => -1i64 as _,
                Sign => ($x != 0) as _,
                Not => !$x,
                Popcnt => $x.count_ones() as _,
                _ => return None,
            }))
        };
    }
    macro_rules! float {
        ($v:ident, $x:ident, $t:ty) => {
            Some(Scalar::$v(match op {
                Neg => -$x,
                Abs => $x.abs(),
                Sign if $x.is_nan() || $x == 0.0 => $x,
                Sign => $x.signum(),
                Floor => $x.floor(),
                Ceil => $x.ceil(),
                Round => $x.round_ties_even(),
                Sqrt => $x.sqrt(),
                IsNan => $x.is_nan() as u8 as $t,
                Not | Popcnt => return None,
                function => transcendental(function, $x as f64)? as $t,
            }))
        };
    }
    match x {
        Scalar::F64(x) => float!(F64, x, f64),
        Scalar::F32(x) => float!(F32, x, f32),
        Scalar::I64(x) => int!(I64, x, x < 0),
        Scalar::I32(x) => int!(I32, x, x < 0),
        Scalar::I16(x) => int!(I16, x, x < 0),
        Scalar::I8(x) => int!(I8, x, x < 0),
        Scalar::U64(x) => int!(U64, x, false),
        Scalar::U32(x) => int!(U32, x, false),
        Scalar::U16(x) => int!(U16, x, false),
        Scalar::U8(x) => int!(U8, x, false),
        Scalar::Bool(x) => (op == Not).then_some(Scalar::Bool(!x)),
        Scalar::F16(_) | Scalar::BF16(_) => None,
    }
}

fn transcendental(op: UnaryOp, x: f64) -> Option<f64> {
    Some(match op {
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Logistic if x < 0.0 => x.exp() / (1.0 + x.exp()),
        UnaryOp::Logistic => 1.0 / (1.0 + (-x).exp()),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Erf => special::erf(x),
        UnaryOp::Exp2 => x.exp2(),
        UnaryOp::Expm1 => x.exp_m1(),
        UnaryOp::Log1p => x.ln_1p(),
        UnaryOp::Log2 => x.log2(),
        UnaryOp::Log10 => x.log10(),
        UnaryOp::Cbrt => x.cbrt(),
        UnaryOp::Tan => x.tan(),
        UnaryOp::Asin => x.asin(),
        UnaryOp::Acos => x.acos(),
        UnaryOp::Atan => x.atan(),
        UnaryOp::Sinh => x.sinh(),
        UnaryOp::Cosh => x.cosh(),
        UnaryOp::Asinh => special::asinh(x),
        UnaryOp::Acosh => special::acosh(x),
        UnaryOp::Atanh => 0.5 * (x.ln_1p() - (-x).ln_1p()),
        UnaryOp::Erfc => special::erfc(x),
        UnaryOp::ErfInv => special::erf_inv(x),
        UnaryOp::Lgamma => special::lgamma(x),
        UnaryOp::Digamma => special::digamma(x),
        _ => return None,
    })
}

/// The result of a binary operation on two scalars of one type; `None` if it is not defined on their types.
pub fn binary(op: BinaryOp, a: Scalar, b: Scalar) -> Option<Scalar> {
    use BinaryOp::*;
    macro_rules! int {
        ($v:ident, $a:ident, $b:ident) => {
            Some(Scalar::$v(match op {
                Add => $a.wrapping_add($b),
                Sub => $a.wrapping_sub($b),
                Mul => $a.wrapping_mul($b),
                Div if $b == 0 => 0,
                Div => $a.wrapping_div($b),
                Rem if $b == 0 => $a,
                Rem => $a.wrapping_rem($b),
                Max => $a.max($b),
                Min => $a.min($b),
                And => $a & $b,
                Or => $a | $b,
                Xor => $a ^ $b,
                Shl | Shr => shift(op, $a as i128, $b as i128, Scalar::$v($a).dtype().bits()) as _,
                Pow => int_pow($a as i64, $b as i128) as _,
                Atan2 | LogGammaSlope => return None,
            }))
        };
    }
    macro_rules! float {
        ($v:ident, $a:ident, $b:ident, $t:ty) => {
            Some(Scalar::$v(match op {
                Add => $a + $b,
                Sub => $a - $b,
                Mul => $a * $b,
                Div => $a / $b,
                Rem => $a % $b,
                Max | Min if $a.is_nan() => $a,
                Max | Min if $b.is_nan() => $b,
                // Equal values differ at most in the sign of zero.
                Max if $a > $b || ($a == $b && $b.is_sign_negative()) => $a,
                Min if $a < $b || ($a == $b && $a.is_sign_negative()) => $a,
                Max | Min => $b,
                Pow => ($a as f64).powf($b as f64) as $t,
                Atan2 => ($a as f64).atan2($b as f64) as $t,
                LogGammaSlope if size_of::<$t>() < 8 => return None,
                LogGammaSlope => draw::log_gamma_slope($a as f64, $b as f64) as $t,
                And | Or | Xor | Shl | Shr => return None,
            }))
        };
    }
    match (a, b) {
        (Scalar::F64(a), Scalar::F64(b)) => float!(F64, a, b, f64),
        (Scalar::F32(a), Scalar::F32(b)) => float!(F32, a, b, f32),
        (Scalar::I64(a), Scalar::I64(b)) => int!(I64, a, b),
        (Scalar::I32(a), Scalar::I32(b)) => int!(I32, a, b),
        (Scalar::I16(a), Scalar::I16(b)) => int!(I16, a, b),
        (Scalar::I8(a), Scalar::I8(b)) => int!(I8, a, b),
        (Scalar::U64(a), Scalar::U64(b)) => int!(U64, a, b),
        (Scalar::U32(a), Scalar::U32(b)) => int!(U32, a, b),
        (Scalar::U16(a), Scalar::U16(b)) => int!(U16, a, b),
        (Scalar::U8(a), Scalar::U8(b)) => int!(U8, a, b),
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(Scalar::Bool(match op {
            Max | Or => a | b,
            Min | And => a & b,
            Xor => a ^ b,
            _ => return None,
        })),
        _ => None,
    }
}

/// A random number; `None` if it is not defined on operands of these types.
pub fn draw(draw: Draw, key: [Scalar; 2], index: Scalar, parameter: Option<Scalar>) -> Option<Scalar> {
    let ([Scalar::U32(a), Scalar::U32(b)], Scalar::U64(index)) = (key, index) else { return None };
    Some(match (draw, parameter) {
        (Draw::Bits { stream }, None) => Scalar::U32(draw::bits([a, b], index, stream)),
        (Draw::LogGamma, Some(Scalar::F64(shape))) => Scalar::F64(draw::log_gamma([a, b], index, shape)),
        (Draw::Poisson, Some(Scalar::F64(rate))) => Scalar::F64(draw::poisson([a, b], index, rate)),
        _ => return None,
    })
}

/// A shift of a number of so many bits, by any number; the low bits of the outcome count.
fn shift(op: BinaryOp, a: i128, by: i128, bits: usize) -> i128 {
    match (op, (0..bits as i128).contains(&by)) {
        (BinaryOp::Shl, true) => a << by,
        (BinaryOp::Shl, false) => 0,
        (_, true) => a >> by,
        (_, false) => {
            if a < 0 {
                -1
            } else {
                0
            }
        }
    }
}

/// Power modulo 2^64, which is also the power modulo any smaller width.
fn int_pow(base: i64, exponent: i128) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut result, mut square, mut left) = (1i64, base, exponent);
    while left > 0 {
        if left % 2 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left /= 2;
    }
    result
}

/// The outcome of a comparison of two scalars of one type; `None` if it is not defined on their types.
pub fn compare(op: CompareOp, a: Scalar, b: Scalar) -> Option<bool> {
    macro_rules! by {
        ($a:expr, $b:expr) => {
            Some(match op {
                CompareOp::Eq => $a == $b,
                CompareOp::Ne => $a != $b,
                CompareOp::Lt => $a < $b,
                CompareOp::Le => $a <= $b,
                CompareOp::Gt => $a > $b,
                CompareOp::Ge => $a >= $b,
            })
        };
    }
    match (a, b) {
        (Scalar::F64(a), Scalar::F64(b)) => by!(a, b),
        (Scalar::F32(a), Scalar::F32(b)) => by!(a, b),
        (Scalar::I64(a), Scalar::I64(b)) => by!(a, b),
        (Scalar::I32(a), Scalar::I32(b)) => by!(a, b),
        (Scalar::I16(a), Scalar::I16(b)) => by!(a, b),
        (Scalar::I8(a), Scalar::I8(b)) => by!(a, b),
        (Scalar::U64(a), Scalar::U64(b)) => by!(a, b),
        (Scalar::U32(a), Scalar::U32(b)) => by!(a, b),
        (Scalar::U16(a), Scalar::U16(b)) => by!(a, b),
        (Scalar::U8(a), Scalar::U8(b)) => by!(a, b),
        (Scalar::Bool(a), Scalar::Bool(b)) => by!(a as u8, b as u8),
        _ => None,
    }
}
