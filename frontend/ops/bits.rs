//! Bits: reinterpreting, counting and shifting them.

use super::arg::Arg;
use super::broadcast::{Operands, pointwise};
use super::prim;
use crate::dispatch::{Call, Extents, refuse, run};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use crate::trace::record;
use ir::DType;
use ir::ops::binary::{self, Direction};
use ir::ops::{convert, unary};

/// The signed integer of a dtype's size.
fn integer(dtype: DType) -> DType {
    match dtype.size() {
        1 => DType::I8,
        2 => DType::I16,
        4 => DType::I32,
        _ => DType::I64,
    }
}

/// The bits of a number as a signed integer, inside a trace.
fn bits(x: &Tensor) -> Tensor {
    if x.error_ref().is_some() || x.dtype() == integer(x.dtype()) {
        return x.clone();
    }
    record(convert::BitcastConvert { dtype: integer(x.dtype()) }, &[x])
}

/// Whether the sign bit is set, on the operand of a pointwise body.
fn is_negative(x: &Tensor) -> Tensor {
    if x.error_ref().is_some() || x.dtype().is_float() {
        let bits = bits(x);
        return record(binary::Compare { direction: Direction::Lt }, &[&bits, &prim::full_like(&bits, 0.0)]);
    }
    record(binary::Compare { direction: Direction::Lt }, &[x, &prim::full_like(x, 0.0)])
}

impl Tensor {
    /// The same bits as another dtype of the same size; not bool.
    ///
    /// ```
    /// # use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::from([1.0f32]).bitcast(DType::U32).to_vec::<u32>()?, [0x3f80_0000]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn bitcast(&self, dtype: DType) -> Tensor {
        let _here = crate::dispatch::enter();
        if self.error_ref().is_some() || self.dtype() == dtype {
            return self.clone();
        }
        let from = self.dtype();
        if from.size() != dtype.size() || from == DType::Bool || dtype == DType::Bool {
            let rule = format!("the bits of {from} as {dtype}");
            return refuse(Error::new(Code::DType, "bitcast", rule, "dtypes of one size, and not bool"), &[self]);
        }
        run(Call::plain("bitcast", &[dtype as i64], Extents::Flat), &[self], &|t| {
            record(convert::BitcastConvert { dtype }, &[&t[0]])
        })
    }

    /// The number of bits that are 1, of integers.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([5i32, -1]).count_ones().to_vec::<i32>()?, [2, 32]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn count_ones(&self) -> Tensor {
        pointwise("count_ones", false, Operands::Integral, &[self.into()], &|t| record(unary::Popcnt {}, &[&t[0]]))
    }

    /// The bits moved left, of integers; the `<<` operator. By more bits than there are gives 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!((Tensor::from([1i32, 3]) << 4).to_vec::<i32>()?, [16, 48]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn shift_left(&self, by: impl Into<Arg>) -> Tensor {
        pointwise("shift_left", false, Operands::Integral, &[self.into(), by.into()], &|t| {
            record(binary::Shl {}, &[&t[0], &t[1]])
        })
    }

    /// The bits moved right, of integers, copies of the sign coming in for signed ones; the `>>` operator.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!((Tensor::from([-8i32, 48]) >> 2).to_vec::<i32>()?, [-2, 12]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn shift_right(&self, by: impl Into<Arg>) -> Tensor {
        pointwise("shift_right", false, Operands::Integral, &[self.into(), by.into()], &|t| {
            record(binary::Shr {}, &[&t[0], &t[1]])
        })
    }

    /// True where the sign bit is set, that of -0 and NaN too; of integers, below 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-0.0f32, 0.0, -2.0]).signbit().to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn signbit(&self) -> Tensor {
        pointwise("signbit", true, Operands::Numeric, &[self.into()], &|t| is_negative(&t[0]))
    }

    /// The magnitude of `self` with the sign bit of the other.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, -2.0]).copysign(-0.0).to_vec::<f32>()?, [-1.0, -2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn copysign(&self, sign: impl Into<Arg>) -> Tensor {
        pointwise("copysign", true, Operands::Float, &[self.into(), sign.into()], &|t| {
            let size = t[0].abs();
            is_negative(&t[1]).where_(-&size, &size)
        })
    }

    /// The next number of the dtype from `self` on the way to the other. It has no gradient.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let next = Tensor::from([1.0f32, 0.0]).nextafter(Tensor::from([2.0f32, -1.0]));
    /// assert_eq!(next.to_vec::<f32>()?, [1.0 + f32::EPSILON, -1e-45]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nextafter(&self, other: impl Into<Arg>) -> Tensor {
        pointwise("nextafter", true, Operands::Float, &[self.into(), other.into()], &|t| {
            let [x, y] = [&t[0], &t[1]];
            if let Some(failed) = t.iter().find(|t| t.error_ref().is_some()) {
                return failed.clone();
            }
            let back = |bits: &Tensor| record(convert::BitcastConvert { dtype: x.dtype() }, &[bits]);
            // Numbers are in the order of their bits, away from zero.
            let away = y.gt(x).eq(x.gt(0.0));
            let one = prim::full_like(&bits(x), 1.0);
            let next = back(&(bits(x) + away.where_(&one, -&one)));
            let least = back(&one);
            let from_zero = y.gt(0.0).where_(&least, -&least);
            let moved = x.eq(0.0).where_(from_zero, next);
            let still = x.eq(y).where_(y, moved);
            x.is_nan().logical_or(y.is_nan()).where_(f64::NAN, still)
        })
    }
}
