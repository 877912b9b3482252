//! Which dtype a result has.
//!
//! | operands | result |
//! |---|---|
//! | tensor, tensor | the later one in `bool < u8 < i32 < i64 < f16, bf16 < f32 < f64`; f16 with bf16 gives f32 |
//! | tensor, number of the same kind or below | the tensor's dtype: numbers are weakly typed |
//! | integer or bool tensor, float number | f32 |
//! | bool tensor, integer number | i64 |
//! | integers where floats are needed (`exp`, `mean`, `/`, …) | f32 |
//!
//! An integer number that the tensor's integer dtype cannot hold is an error, never another number.
//!
//! The order of tensors is that of PyTorch and JAX; unlike PyTorch's, tensors of rank 0 count as much as others.

use crate::error::{Code, Error};
use ir::{DType, Scalar};

/// A number of the host, used as an operand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// A float.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Number {
    /// The value in a dtype.
    pub(crate) fn scalar(self, dtype: DType) -> Scalar {
        match self {
            Number::Float(x) => Scalar::F64(x).convert(dtype),
            Number::Int(x) => Scalar::I64(x).convert(dtype),
            Number::Bool(x) => Scalar::Bool(x).convert(dtype),
        }
    }

    /// An error of that op if it is an integer that the dtype, an integer too, cannot hold.
    pub(crate) fn fits(self, op: &'static str, dtype: DType) -> Result<(), Error> {
        let (least, most) = match dtype {
            DType::U8 => (0, u8::MAX.into()),
            DType::I32 => (i32::MIN.into(), i32::MAX.into()),
            _ => return Ok(()),
        };
        match self {
            Number::Int(x) if !(least..=most).contains(&x) => {
                let legal = format!("numbers from {least} to {most}, or another dtype");
                Err(Error::new(Code::DType, op, format!("{x} does not fit {dtype}"), legal))
            }
            _ => Ok(()),
        }
    }

    /// The dtype it has with no tensor beside it.
    pub(crate) fn default_dtype(self) -> DType {
        match self {
            Number::Float(_) => DType::F32,
            Number::Int(_) => DType::I64,
            Number::Bool(_) => DType::Bool,
        }
    }
}

macro_rules! numbers {
    ($($t:ty => $variant:ident),*) => { $(
        impl From<$t> for Number {
            fn from(x: $t) -> Number { Number::$variant(x.into()) }
        }
    )* };
}
numbers!(f64 => Float, f32 => Float, i64 => Int, i32 => Int, u8 => Int, bool => Bool);

fn level(d: DType) -> u8 {
    match d {
        DType::Bool => 0,
        DType::U8 => 1,
        DType::I32 => 2,
        DType::I64 => 3,
        DType::F16 | DType::BF16 => 4,
        DType::F32 => 5,
        DType::F64 => 6,
    }
}

/// The dtype of two tensors together.
///
/// ```
/// use tracewright::{DType, promote};
/// assert_eq!(promote(DType::I64, DType::F16), DType::F16);
/// assert_eq!(promote(DType::BF16, DType::F16), DType::F32);
/// ```
pub fn promote(a: DType, b: DType) -> DType {
    match (a, b) {
        (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
        _ if level(a) >= level(b) => a,
        _ => b,
    }
}

/// The dtype of a tensor with a number.
pub(crate) fn with_number(tensor: DType, number: Number) -> DType {
    match number {
        Number::Float(_) if !tensor.is_float() => DType::F32,
        Number::Int(_) if tensor == DType::Bool => DType::I64,
        _ => tensor,
    }
}

/// The dtype in which a float function of that dtype is computed.
pub(crate) fn float(d: DType) -> DType {
    if d.is_float() { d } else { DType::F32 }
}
