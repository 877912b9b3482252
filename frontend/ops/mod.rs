//! The methods of tensors, by family. Everything that is not a primitive is a composition of other methods, recorded
//! under a scope of its name.

mod activation;
mod arg;
mod axes;
mod bits;
pub(crate) mod broadcast;
mod count;
mod dynamic;
mod elementary;
mod index;
mod indexing;
pub(crate) mod join;
mod layout;
mod matmul;
mod nonzero;
mod operators;
mod pointwise;
pub(crate) mod prim;
mod reduce;
mod scan;
mod scatter;
mod slice;
mod sort;

pub use arg::Arg;
pub use axes::{Reduction, keepdims};
pub use count::Unique;
pub use indexing::{Ellipsis, Index, Indices, NewAxis, every};
pub use join::{concat, stack};
pub use scatter::Update;
