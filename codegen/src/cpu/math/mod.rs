//! Transcendental functions as vector code on four f32 lanes.
//!
//! The functions hold over all of f32: NaN gives NaN, infinities and zeros of both signs give what IEEE 754 says, denormal
//! arguments and results are exact to the same bounds (nothing is flushed to zero), and results of `tanh`, `sin`, `cos`,
//! `erf` and `logistic` are never beyond 1. A lane's result depends on that lane alone, so a tail may use the same code.
//!
//! The code has no relocations, calls nothing and needs nothing beyond SSE2; with `has_fma` it uses fused multiply-add,
//! which changes results within the bounds. It is straight-line but for `sin` and `cos`, which end in another block than
//! they began in: arguments of 2^25 and more take a cold loop.
//!
//! # Accuracy
//!
//! Largest distance from the exact value in units of the last place, over all 2^32 arguments; `pow` over 10^9 pairs:
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
//!
//! `TRACEWRIGHT_TEST_ALL_F32=1 cargo test --release -p tracewright-codegen --test math_accuracy -- --nocapture` measures them.
//! The coefficients come from `scripts/fit_math.py`.

mod erf;
mod exp;
mod lanes;
mod log;
mod pow;
mod trig;

use cranelift_codegen::ir::Value;
use cranelift_frontend::FunctionBuilder;
use ir::kernel::UnaryOp;
use lanes::Lanes;

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
        _ => return None,
    })
}

/// Emits `x` to the power of `y` on F32X4 values.
pub fn emit_pow_f32x4(b: &mut FunctionBuilder, has_fma: bool, x: Value, y: Value) -> Value {
    pow::pow(&mut Lanes::new(b, has_fma), x, y)
}
