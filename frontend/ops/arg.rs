//! Tensors and numbers as operands.

use crate::promote::Number;
use crate::tensor::Tensor;
use ir::{DType, Shape};

/// An operand: a tensor, or a number that takes the dtype of the tensor beside it.
#[derive(Clone)]
pub enum Arg {
    /// A tensor.
    Tensor(Tensor),
    /// A number.
    Number(Number),
}

impl Arg {
    /// The dtype of a tensor, or what a number has by itself.
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Arg::Tensor(t) => t.dtype(),
            Arg::Number(n) => n.default_dtype(),
        }
    }

    /// Extents.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Arg::Tensor(t) => t.ty().shape,
            Arg::Number(_) => Shape::scalar(),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Arg::Tensor(t) => t.ty().to_string(),
            Arg::Number(Number::Float(x)) => format!("{x:?}"),
            Arg::Number(Number::Int(x)) => x.to_string(),
            Arg::Number(Number::Bool(x)) => x.to_string(),
        }
    }
}

impl From<Tensor> for Arg {
    fn from(t: Tensor) -> Arg {
        Arg::Tensor(t)
    }
}
impl From<&Tensor> for Arg {
    fn from(t: &Tensor) -> Arg {
        Arg::Tensor(t.clone())
    }
}
macro_rules! numbers {
    ($($t:ty),*) => { $(impl From<$t> for Arg {
        fn from(x: $t) -> Arg { Arg::Number(x.into()) }
    })* };
}
numbers!(f64, f32, i64, i32, i16, i8, u64, u32, u16, u8, bool);
