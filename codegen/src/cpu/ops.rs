//! Operations on vectors.

use super::emit::{Emitter, Result, Val, Vecs};
use super::integer::is_unsigned_lane;
use super::math;
use super::math::tiles;
use super::registers::{is_wide, lane_type, lanes_of, register};
use super::routines::{Routine, TABLE};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, F64, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Value};
use ir::kernel::{BinaryOp, CompareOp, UnaryOp, Var};
use ir::{DType, Scalar};
use smallvec::{SmallVec, smallvec};

impl Emitter<'_, '_> {
    // ---- lanes ----

    /// Computes a vector lane by lane; one lane only, in every lane, if the arguments are uniform.
    pub(super) fn by_lane(
        &mut self,
        result: DType,
        uniform: bool,
        lanes: usize,
        mut f: impl FnMut(&mut Self, u8) -> Result<Value>,
    ) -> Result<Value> {
        let ty = register(result);
        let first = f(self, 0)?;
        if uniform {
            return Ok(self.b.ins().splat(ty, first));
        }
        let mut scalars: SmallVec<[Value; 4]> = smallvec![first];
        for lane in 1..lanes {
            scalars.push(f(self, lane as u8)?);
        }
        let mut vec = self.b.ins().scalar_to_vector(ty, first);
        for (lane, &x) in scalars.iter().enumerate().skip(1) {
            vec = self.b.ins().insertlane(vec, x, lane as u8);
        }
        Ok(vec)
    }

    // ---- unary ----

    pub(super) fn unary(&mut self, op: UnaryOp, a: Var) -> Result<Vecs> {
        let dtype = self.dtype(a);
        let uniform = self.is_uniform(a)?;
        let vecs = self.vecs(a)?;
        if dtype == DType::F32 && vecs.len() * lanes_of(dtype) == tiles::TILE && !uniform && self.has_tile(op) {
            return self.on_tile(op, &vecs);
        }
        vecs.into_iter().map(|x| self.unary_vector(op, dtype, x, uniform)).collect()
    }

    /// Whether functions of that kind are called on whole tiles. They use fused multiply-add, as the emitted code then has
    /// to, for a tile's bits are those of the iterations after the last tile.
    pub(super) fn has_tile(&self, op: UnaryOp) -> bool {
        self.has_fma && self.options.vectorize && TABLE.has_tile(op)
    }

    /// Calls a function on the lanes of a whole tile.
    fn on_tile(&mut self, op: UnaryOp, vecs: &[Value]) -> Result<Vecs> {
        let slot = self.slot(4 * tiles::TILE);
        let mut arguments = vecs.to_vec();
        arguments.push(self.b.ins().stack_addr(I64, slot, 0));
        self.routine(Routine::Tile(op), &arguments, None)?;
        Ok((0..vecs.len()).map(|j| self.b.ins().stack_load(I64, F32X4, slot, 16 * j as i32)).collect())
    }

    fn unary_vector(&mut self, op: UnaryOp, dtype: DType, x: Value, uniform: bool) -> Result<Value> {
        use UnaryOp::*;
        let ty = register(dtype);
        match dtype {
            DType::F32 | DType::F64 => {}
            DType::Bool if op == Not => return Ok(self.b.ins().bnot(x)),
            int if int.is_int() => return self.integer_unary(op, dtype, x, uniform),
            _ => return self.unsupported(op.name(), dtype),
        }
        Ok(match op {
            Neg => self.b.ins().fneg(x),
            Abs => self.b.ins().fabs(x),
            Floor => self.b.ins().floor(x),
            Ceil => self.b.ins().ceil(x),
            Round => self.b.ins().nearest(x),
            Sqrt => self.b.ins().sqrt(x),
            Sign => {
                let zero = self.bits(ty, 0);
                let magnitude = self.b.ins().fabs(x);
                let nonzero = self.b.ins().fcmp(FloatCC::GreaterThan, magnitude, zero);
                let (one, sign) = (self.constant(Scalar::one(dtype)), self.constant(Scalar::of(dtype, -0.0)));
                let sign = self.b.ins().band(x, sign);
                let signed = self.b.ins().bor(sign, one);
                self.blend(dtype, nonzero, signed, x)
            }
            IsNan => {
                let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
                let nan = self.cast(ty, nan);
                let one = self.constant(Scalar::one(dtype));
                self.b.ins().band(nan, one)
            }
            Not | Popcnt => return self.unsupported(op.name(), dtype),
            function => {
                if dtype == DType::F32
                    && let Some(y) = math::emit_f32x4(&mut self.b, self.has_fma, function, x)
                {
                    return Ok(y);
                }
                self.by_lane(dtype, uniform, lanes_of(dtype), |e, lane| {
                    let x = e.b.ins().extractlane(x, lane);
                    let x = if dtype == DType::F32 { e.b.ins().fpromote(F64, x) } else { x };
                    let y = e.routine(Routine::F64(function), &[x], Some(F64))?;
                    let y = y.ok_or_else(|| e.malformed("a routine without a result"))?;
                    Ok(if dtype == DType::F32 { e.b.ins().fdemote(F32, y) } else { y })
                })?
            }
        })
    }

    // ---- binary ----

    pub(super) fn binary(&mut self, op: BinaryOp, a: Var, b: Var) -> Result<Vecs> {
        let dtype = self.dtype(a);
        let uniform = self.is_uniform(a)? && self.is_uniform(b)?;
        let (known_a, known_b) = (self.known(a), self.known(b));
        let (x, y) = (self.vecs(a)?, self.vecs(b)?);
        let n = x.len().max(y.len());
        (0..n)
            .map(|j| {
                let (x, y) = (x[j.min(x.len() - 1)], y[j.min(y.len() - 1)]);
                self.binary_vector(op, dtype, x, y, [known_a, known_b], uniform)
            })
            .collect()
    }

    pub(super) fn binary_vector(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        x: Value,
        y: Value,
        known: [Option<Scalar>; 2],
        uniform: bool,
    ) -> Result<Value> {
        use BinaryOp::*;
        match dtype {
            DType::F16 | DType::BF16 => self.unsupported(op.name(), dtype),
            DType::Bool => match op {
                And | Min => Ok(self.b.ins().band(x, y)),
                Or | Max => Ok(self.b.ins().bor(x, y)),
                Xor => Ok(self.b.ins().bxor(x, y)),
                _ => self.unsupported(op.name(), dtype),
            },
            DType::F32 | DType::F64 => Ok(match op {
                Add => self.b.ins().fadd(x, y),
                Sub => self.b.ins().fsub(x, y),
                Mul => self.b.ins().fmul(x, y),
                Div => self.b.ins().fdiv(x, y),
                Max | Min => match (known[0], known[1]) {
                    (_, Some(c)) if cheap_bound(op, c) => self.bound(op, dtype, y, c, x),
                    (Some(c), _) if cheap_bound(op, c) => self.bound(op, dtype, x, c, y),
                    _ => self.max_min(op, dtype, x, y),
                },
                Pow if dtype == DType::F32 => math::emit_pow_f32x4(&mut self.b, self.has_fma, x, y),
                Atan2 if dtype == DType::F32 => math::emit_atan2_f32x4(&mut self.b, self.has_fma, x, y),
                Rem | Pow | Atan2 | LogGammaSlope => {
                    let wide = dtype == DType::F64;
                    let routine = match (op, wide) {
                        (Rem, true) => Routine::RemF64,
                        (Rem, false) => Routine::RemF32,
                        (Atan2, _) => Routine::Atan2F64,
                        (LogGammaSlope, true) => Routine::LogGammaSlope,
                        (LogGammaSlope, false) => return self.unsupported(op.name(), dtype),
                        _ => Routine::PowF64,
                    };
                    self.by_lane(dtype, uniform, lanes_of(dtype), |e, lane| {
                        let (x, y) = (e.b.ins().extractlane(x, lane), e.b.ins().extractlane(y, lane));
                        let r = e.routine(routine, &[x, y], Some(lane_type(dtype)))?;
                        r.ok_or_else(|| e.malformed("a routine without a result"))
                    })?
                }
                And | Or | Xor | Shl | Shr => return self.unsupported(op.name(), dtype),
            }),
            _ => self.integer_binary(op, dtype, [x, y], known[1], uniform),
        }
    }

    /// `maxps` or `minps`: the second operand if they compare equal or one is NaN.
    fn machine_max_min(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
        // The form that Cranelift turns into the one instruction.
        let (a, b) = if op == BinaryOp::Max { (y, x) } else { (x, y) };
        let less = self.b.ins().fcmp(FloatCC::LessThan, a, b);
        let less = self.cast(register(dtype), less);
        self.b.ins().bitselect(less, x, y)
    }

    /// NaN if either is NaN, else the larger or smaller with -0 below +0.
    fn max_min(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
        let (one, other) = (self.machine_max_min(op, dtype, x, y), self.machine_max_min(op, dtype, y, x));
        // These differ only for two zeros of unlike sign, where the bits decide, and for NaN.
        let ordered = if op == BinaryOp::Max { self.b.ins().band(one, other) } else { self.b.ins().bor(one, other) };
        let nan = self.b.ins().fcmp(FloatCC::Unordered, x, y);
        let nan = self.cast(register(dtype), nan);
        self.b.ins().bor(ordered, nan)
    }

    /// The same where one side is a number `c` as in [`cheap_bound`].
    fn bound(&mut self, op: BinaryOp, dtype: DType, c: Value, known: Scalar, x: Value) -> Value {
        let out = self.machine_max_min(op, dtype, c, x);
        if op == BinaryOp::Max && known == Scalar::zero(dtype) {
            // x is kept if it is a zero; adding makes -0 into +0 and leaves all else.
            return self.b.ins().fadd(out, c);
        }
        out
    }

    /// The scalar of an i64 operation whose operands have scalars, for use in index expressions.
    pub(super) fn scalar_binary(&mut self, op: BinaryOp, a: Var, b: Var) -> Option<Value> {
        let mut scalar = |v: Var| match &self.env[v.at()] {
            Some(Val::Uniform { scalar, .. }) => *scalar,
            &Some(Val::Known(Scalar::I64(n))) => Some(self.int(n)),
            _ => None,
        };
        let (x, y) = (scalar(a)?, scalar(b)?);
        Some(match op {
            BinaryOp::Add => self.b.ins().iadd(x, y),
            BinaryOp::Sub => self.b.ins().isub(x, y),
            BinaryOp::Mul => self.b.ins().imul(x, y),
            BinaryOp::Max => self.b.ins().smax(x, y),
            BinaryOp::Min => self.b.ins().smin(x, y),
            _ => return None,
        })
    }

    // ---- compare and select ----

    pub(super) fn compare(&mut self, op: CompareOp, a: Var, b: Var) -> Result<Vecs> {
        let dtype = self.dtype(a);
        let (x, y) = (self.vecs(a)?, self.vecs(b)?);
        self.compare_vectors(op, dtype, &x, &y)
    }

    /// A bool for each lane.
    pub(super) fn compare_vectors(&mut self, op: CompareOp, dtype: DType, x: &Vecs, y: &Vecs) -> Result<Vecs> {
        let n = x.len().max(y.len());
        let masks: Vecs = (0..n)
            .map(|j| self.compare_vector(op, dtype, x[j.min(x.len() - 1)], y[j.min(y.len() - 1)]))
            .collect::<Result<_>>()?;
        Ok(if is_wide(dtype) { self.narrow(&masks) } else { masks })
    }

    /// A mask of lanes of that dtype's width.
    pub(super) fn compare_vector(&mut self, op: CompareOp, dtype: DType, x: Value, y: Value) -> Result<Value> {
        use CompareOp::*;
        let float = match op {
            Eq => FloatCC::Equal,
            Ne => FloatCC::NotEqual,
            Lt => FloatCC::LessThan,
            Le => FloatCC::LessThanOrEqual,
            Gt => FloatCC::GreaterThan,
            Ge => FloatCC::GreaterThanOrEqual,
        };
        let signed = match op {
            Eq => IntCC::Equal,
            Ne => IntCC::NotEqual,
            Lt => IntCC::SignedLessThan,
            Le => IntCC::SignedLessThanOrEqual,
            Gt => IntCC::SignedGreaterThan,
            Ge => IntCC::SignedGreaterThanOrEqual,
        };
        let int = if is_unsigned_lane(dtype) { signed.unsigned() } else { signed };
        Ok(match dtype {
            DType::F32 | DType::F64 => self.b.ins().fcmp(float, x, y),
            // True is -1: the order turns round.
            DType::Bool => self.b.ins().icmp(int, y, x),
            DType::F16 | DType::BF16 => {
                let one = |e: &mut Self, v| e.widen_half(dtype, v);
                let (x, y) = (one(self, x), one(self, y));
                self.b.ins().fcmp(float, x, y)
            }
            _ => self.b.ins().icmp(int, x, y),
        })
    }

    /// The low halves of 64-bit lanes, two vectors into one.
    pub(super) fn narrow(&mut self, vecs: &[Value]) -> Vecs {
        let pairs = vecs.chunks(2);
        pairs.map(|p| self.shuffle32(I32X4, p[0], *p.last().unwrap_or(&p[0]), [0, 2, 4, 6])).collect()
    }

    pub(super) fn select(&mut self, c: Var, a: Var, b: Var) -> Result<Vecs> {
        let dtype = self.dtype(a);
        let uniform = self.is_uniform(c)? && self.is_uniform(a)? && self.is_uniform(b)?;
        let want = if uniform { 1 } else { self.width() / lanes_of(dtype) };
        let (c, x, y) = (self.vecs(c)?, self.vecs(a)?, self.vecs(b)?);
        Ok(self.choose(dtype, &c, &x, &y, want))
    }

    /// Selects by bools; `want` is the number of vectors of the outcome.
    pub(super) fn choose(&mut self, dtype: DType, c: &Vecs, x: &Vecs, y: &Vecs, want: usize) -> Vecs {
        let masks = if is_wide(dtype) { self.widen_masks(c, want) } else { c.clone() };
        let pick = |v: &Vecs, j: usize| v[j.min(v.len() - 1)];
        (0..want).map(|j| self.blend(dtype, pick(&masks, j), pick(x, j), pick(y, j))).collect()
    }

    /// Selects by a mask of lanes of the dtype's width.
    pub(super) fn blend(&mut self, dtype: DType, mask: Value, x: Value, y: Value) -> Value {
        let ty = if is_wide(dtype) { I64X2 } else { I32X4 };
        let (mask, x, y) = (self.cast(ty, mask), self.cast(ty, x), self.cast(ty, y));
        let out = self.b.ins().bitselect(mask, x, y);
        self.cast(register(dtype), out)
    }
}

/// True if one machine instruction, or two, bound by that constant.
fn cheap_bound(op: BinaryOp, c: Scalar) -> bool {
    let x = c.as_f64();
    let negative_zero = x == 0.0 && x.is_sign_negative();
    !x.is_nan() && (op == BinaryOp::Max || !negative_zero)
}
