//! The IRs of tracewright: the tensor IR ([`graph`], [`ops`]) and the kernel IR ([`kernel`]), with their types, text
//! forms and verifiers. This crate depends on nothing else of ours.
#![forbid(unsafe_code)]

pub mod dim;
pub mod dtype;
pub mod error;
mod flow;
pub mod graph;
pub mod kernel;
pub mod literal;
pub mod ops;
pub mod origin;
pub mod program;
pub mod ranges;
pub mod text;
pub mod types;
pub mod verify;

pub use dim::{Dim, Symbol};
pub use dtype::{DType, Element, Scalar};
pub use error::{EvalError, NotDifferentiable, Violation, ViolationKind};
pub use graph::{Graph, Op, Region, Value};
#[doc(hidden)]
pub use half;
pub use literal::{Data, Literal, TypedData};
pub use ops::{Emit, EmitExt, Lowering, OpDef, Primitive};
pub use origin::{Location, Origin};
pub use ranges::Ranges;
pub use types::{Axes, Shape, Type};
