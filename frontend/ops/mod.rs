//! The methods of tensors, by family. Everything that is not a primitive is a composition of other methods, recorded
//! under a scope of its name.

mod activation;
mod arg;
mod arrange;
mod axes;
mod bits;
pub(crate) mod broadcast;
mod count;
mod diagonal;
mod dynamic;
mod einsum;
mod elementary;
mod grid;
mod index;
mod indexing;
pub(crate) mod join;
mod layout;
mod matmul;
mod nonzero;
mod norm;
mod operators;
mod pad;
mod pointwise;
pub(crate) mod prim;
mod products;
mod quantile;
mod reduce;
mod repeat;
mod scan;
mod scatter;
mod slice;
mod sort;
mod statistics;
mod windows;

pub use arg::Arg;
pub use axes::{Reduction, keepdims};
pub use count::Unique;
pub use einsum::einsum;
pub use grid::{Indexing, cartesian_prod, meshgrid};
pub use indexing::{Ellipsis, Index, Indices, NewAxis, every};
pub use join::{block_diag, column_stack, concat, dstack, hstack, stack, vstack};
pub use norm::MatrixNorm;
pub use pad::PadMode;
pub use products::{Summed, multi_dot};
pub use quantile::{Interpolation, Shares};
pub use scatter::{Merge, Update};
