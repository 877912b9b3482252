//! The IRs of tracewright.
pub mod dim;
pub mod dtype;
pub mod kernel;
pub mod literal;
pub mod types;

pub use dim::{Dim, Symbol};
pub use dtype::{DType, Element, Scalar};
#[doc(hidden)]
pub use half;
pub use literal::{Data, Literal, TypedData};
pub use types::{Axes, Shape, Type};
