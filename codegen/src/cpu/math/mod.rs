//! Transcendental functions as vector code on four f32 lanes.
//!
//! The functions hold over all of f32: NaN gives NaN, infinities and zeros of both signs give what IEEE 754 says, denormal
//! arguments and results are exact to the same bounds (nothing is flushed to zero), and results of `tanh`, `sin`, `cos`,
//! `erf` and `logistic` are never beyond 1. A lane's result depends on that lane alone, so a tail may use the same code.
//!
//! What is below `pow` in the table is computed in f64, two lanes at a time, and rounded once.
//!
//! The functions that kernels use most are also compiled ahead, for wider vectors, from the same text: see [`tiles`].
//!
//! The code has no relocations, calls nothing and needs nothing beyond SSE2; with `has_fma` it uses fused multiply-add,
//! which changes results within the bounds. It is straight-line but for `sin`, `cos` and `tan`, which end in another block than
//! they began in: arguments of 2^25 and more take a cold loop.
//!
//! # Accuracy
//!
//! Largest distance from the exact value in units of the last place, over all 2^32 arguments, of `pow` over 10^9 pairs;
//! below `tan` over each 17th argument (`cbrt` over all) and near the zeros of `lgamma` and `digamma`, of `atan2` over 10^7
//! pairs:
//!
//! | | bound | with FMA | without |
//! |---|---|---|---|
//! | exp | 2 | 0.90 | 1.17 |
//! | log | 2 | 0.89 | 0.96 |
//! | tanh | 2 | 1.34 | 1.36 |
//! | logistic | 2 | 2.00 | 2.00 |
//! | sin, cos | 2 | 1.74 | 2.00 |
//! | erf | 4 | 1.66 | 1.67 |
//! | pow | 4 | 0.54 | 0.54 |
//! | tan | 4 | 1.72 | 1.72 |
//! | erf_inv | 2 | 0.56 | 0.56 |
//! | lgamma | 2 | 0.62 | 0.62 |
//! | exp2, expm1, log1p, log2, log10, cbrt, erfc, digamma | 2 | 0.50 | 0.50 |
//! | asin, acos, atan, atan2 | 2 | 0.50 | 0.50 |
//! | sinh, cosh, asinh, acosh, atanh | 2 | 0.50 | 0.50 |
//!
//! `TRACEWRIGHT_TEST_ALL_F32=1 cargo test --release -p tracewright-codegen --test math_accuracy -- --nocapture` measures them.
//! The coefficients come from `scripts/fit_math.py`.

mod angle;
mod arithmetic;
mod erf;
mod exp;
mod exponents;
mod gamma;
mod hyperbolic;
mod lanes;
mod log;
mod pow;
mod special;
pub mod tiles;
mod trig;
mod wide;

use cranelift_codegen::ir::Value;
use cranelift_frontend::FunctionBuilder;
use ir::kernel::UnaryOp;
use lanes::Lanes;

/// Whether [`emit_f32x4`] has that operation.
pub fn has(op: UnaryOp) -> bool {
    op.ulps() > 0
}

/// Emits `op` on an F32X4 value; `None` for operations that are not functions of this module.
///
/// The builder may be in another block afterwards; blocks made here are sealed.
pub fn emit_f32x4(b: &mut FunctionBuilder, has_fma: bool, op: UnaryOp, x: Value) -> Option<Value> {
    let l = &mut Lanes::new(b, has_fma);
    Some(match op {
        UnaryOp::Exp => exp::exp(l, x),
        UnaryOp::Log => log::log(l, x),
        UnaryOp::Tanh => exp::tanh(l, x),
        UnaryOp::Logistic => exp::logistic(l, x),
        UnaryOp::Sin => trig::sin(l, x),
        UnaryOp::Cos => trig::cos(l, x),
        UnaryOp::Erf => erf::erf(l, x),
        UnaryOp::Exp2 => exponents::exp2(l, x),
        UnaryOp::Expm1 => exponents::expm1(l, x),
        UnaryOp::Log1p => exponents::log1p(l, x),
        UnaryOp::Log2 => exponents::log2(l, x),
        UnaryOp::Log10 => exponents::log10(l, x),
        UnaryOp::Cbrt => special::cbrt(l, x),
        UnaryOp::Tan => angle::tan(l, x),
        UnaryOp::Asin => angle::asin(l, x),
        UnaryOp::Acos => angle::acos(l, x),
        UnaryOp::Atan => angle::atan(l, x),
        UnaryOp::Sinh => hyperbolic::sinh(l, x),
        UnaryOp::Cosh => hyperbolic::cosh(l, x),
        UnaryOp::Asinh => hyperbolic::asinh(l, x),
        UnaryOp::Acosh => hyperbolic::acosh(l, x),
        UnaryOp::Atanh => hyperbolic::atanh(l, x),
        UnaryOp::Erfc => special::erfc(l, x),
        UnaryOp::ErfInv => special::erf_inv(l, x),
        UnaryOp::Lgamma => gamma::lgamma(l, x),
        UnaryOp::Digamma => gamma::digamma(l, x),
        _ => return None,
    })
}

/// Emits `x` to the power of `y` on F32X4 values.
pub fn emit_pow_f32x4(b: &mut FunctionBuilder, has_fma: bool, x: Value, y: Value) -> Value {
    pow::pow(&mut Lanes::new(b, has_fma), x, y)
}

/// Emits the angle of the point `(x, y)` on F32X4 values.
pub fn emit_atan2_f32x4(b: &mut FunctionBuilder, has_fma: bool, y: Value, x: Value) -> Value {
    angle::atan2(&mut Lanes::new(b, has_fma), y, x)
}
