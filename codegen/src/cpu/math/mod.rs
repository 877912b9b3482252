//! Transcendental functions as straight-line vector code on four f32 lanes.

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
