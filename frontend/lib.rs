//! A tracing JIT compiler for tensor programs.
#![forbid(unsafe_code)]

extern crate self as tracewright;

mod cache;
mod cell;
pub mod control;
mod create;
pub mod custom;
pub mod device;
mod dispatch;
mod eager;
mod error;
mod execute;
pub mod io;
pub mod jit;
mod modes;
mod nested;
pub mod nn;
mod ops;
pub mod optim;
mod print;
mod promote;
pub mod random;
mod recording;
mod scope;
pub mod signal;
mod strict;
pub mod tape;
mod tensor;
mod trace;
mod transform;
pub mod tree;
mod view;

pub use control::{cond, fori, scan, switch, while_loop};
pub use device::Device;
pub use error::{Code, Error, Result};
pub use ir::{DType, Dim, Element, Literal, Scalar, Shape, Symbol, Type};
pub use jit::jit;
pub use nested::Nested;
pub use ops::{
    Arg, Ellipsis, Index, Indexing, Indices, Interpolation, MatrixNorm, Merge, NewAxis, PadMode, Reduction, Shares,
    Summed, Unique, Update,
};
pub use ops::{
    block_diag, broadcast_shapes, broadcast_tensors, cartesian_prod, column_stack, concat, dstack, einsum, every,
    hstack, keepdims, meshgrid, multi_dot, stack, vstack,
};
pub use promote::{Number, promote};
pub use random::{Generator, Key, manual_seed, rand, rand_like, randint, randn, randn_like, randperm};
pub use recording::Recording;
pub use runtime::{Array, DeviceError, events, options, pool};
pub use scope::scope;
pub use tape::{enable_grad, no_grad};
pub use tensor::{Tensor, extent};
pub use transform::checkpoint::{self, checkpoint};
pub use transform::derivative::{custom_jvp, custom_vjp};
pub use transform::grad::{self, grad, value_and_grad};
pub use transform::jacobian::{self, hessian, hvp, jacfwd, jacrev};
pub use transform::jvp::{jvp, linearize};
pub use transform::vjp::vjp;
pub use transform::vmap::{self, vmap};
pub use tree::Tree;

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// So do those of the page on transforms.
#[cfg(doctest)]
#[doc = include_str!("../docs/transforms.md")]
pub struct Transforms;

/// And that of the page on saved graphs.
#[cfg(doctest)]
#[doc = include_str!("../docs/saved_graphs.md")]
pub struct SavedGraphs;
