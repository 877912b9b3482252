//! A tracing JIT compiler for tensor programs.
#![forbid(unsafe_code)]

extern crate self as tracewright;

mod cell;
mod create;
mod device;
mod dispatch;
mod eager;
mod error;
pub mod event;
mod execute;
mod nested;
mod ops;
mod print;
mod promote;
mod scope;
mod strict;
mod tensor;
mod trace;
pub mod tree;

pub use device::Device;
pub use error::{Code, Error, Result};
pub use ir::{DType, Dim, Element, Literal, Scalar, Shape, Symbol, Type};
pub use nested::Nested;
pub use ops::{Arg, Reduction, concat, keepdims, stack};
pub use promote::{Number, promote};
pub use scope::scope;
pub use strict::set_strict;
pub use tensor::{Tensor, extent};
pub use tree::Tree;

/// Neural networks.
pub mod nn {
    pub use crate::cell::Buffer;
    pub use tracewright_derive::Module;
}
