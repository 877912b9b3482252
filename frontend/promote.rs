//! Which dtype a result has.
//!
//! | operands | result |
//! |---|---|
//! | tensor, tensor | the least that holds both: `bool < u8 < u16 < u32 < u64`, `i8 < i16 < i32 < i64`, an unsigned integer under the next wider signed one, all integers under `f16, bf16 < f32 < f64`; f16 with bf16, and u64 with a signed integer, give f32 |
//! | tensor, number of the same kind or below | the tensor's dtype: numbers are weakly typed |
//! | integer or bool tensor, float number | f32 |
//! | bool tensor, integer number | i64 |
//! | integers where floats are needed (`exp`, `mean`, `/`, …) | f32 |
//!
//! An integer number that the tensor's integer dtype cannot hold is an error, never another number.
//!
//! This is JAX's lattice, with f32 for its weak float. PyTorch's agrees where it is defined, but for tensors of rank 0,
//! which count there as numbers do here.

use crate::error::{Code, Error};
use ir::{DType, Scalar};

/// A number of the host, used as an operand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// A float.
    Float(f64),
    /// An integer.
    Int(i128),
    /// A truth value.
    Bool(bool),
}

impl Number {
    /// The value in a dtype.
    pub(crate) fn scalar(self, dtype: DType) -> Scalar {
        match self {
            Number::Float(x) => Scalar::F64(x).convert(dtype),
            Number::Int(x) => match i64::try_from(x) {
                Ok(x) => Scalar::I64(x).convert(dtype),
                Err(_) => Scalar::U64(x as u64).convert(dtype),
            },
            Number::Bool(x) => Scalar::Bool(x).convert(dtype),
        }
    }

    /// An error of that op if it is an integer that the dtype, an integer too, cannot hold.
    pub(crate) fn fits(self, op: &'static str, dtype: DType) -> Result<(), Error> {
        if !dtype.is_int() {
            return Ok(());
        }
        let [least, most] = [Scalar::lowest(dtype), Scalar::highest(dtype)].map(|s| s.as_i128().unwrap_or(0));
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
            Number::Int(x) if i64::try_from(x).is_err() => DType::U64,
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
numbers!(f64 => Float, f32 => Float, bool => Bool);
numbers!(i64 => Int, i32 => Int, i16 => Int, i8 => Int, u64 => Int, u32 => Int, u16 => Int, u8 => Int);

/// The dtype of two tensors together.
///
/// ```
/// use tracewright::{DType, promote};
/// assert_eq!(promote(DType::I64, DType::F16), DType::F16);
/// assert_eq!(promote(DType::BF16, DType::F16), DType::F32);
/// assert_eq!(promote(DType::U8, DType::I8), DType::I16);
/// ```
pub fn promote(a: DType, b: DType) -> DType {
    use DType::*;
    // Bool below integers below floats; within a kind, by size.
    let kind = |d: DType| (d.is_float() as u8 + (d != Bool) as u8, d.size());
    let (small, large) = if kind(a) <= kind(b) { (a, b) } else { (b, a) };
    match (small, large) {
        _ if small == large => large,
        // f16 with bf16.
        _ if small.is_half() && large.is_half() => F32,
        // A signed one holds what is unsigned and smaller, and no unsigned one holds what is signed.
        _ if large.is_signed() && small.is_unsigned() && small.size() == large.size() => wider(large),
        _ if large.is_unsigned() && small.is_signed() => wider(large),
        _ => large,
    }
}

/// The signed integer that holds every integer of that size.
fn wider(d: DType) -> DType {
    match d.size() {
        1 => DType::I16,
        2 => DType::I32,
        4 => DType::I64,
        _ => DType::F32,
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
