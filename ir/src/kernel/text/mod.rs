//! The text form of kernels.
//!
//! ```
//! use ir::kernel::text::parse;
//! let text = "\
//! kernel @row_sum(%p0: in f32, %p1: out f32; N0, N1) {
//!   nest %i0 in 0..N0 work N1 {
//!     for %i1 in 0..N1 lanes {
//!       %0: f32 = load %p0[%i0*N1 + %i1]
//!       yield sum %0 -> %1: f32
//!     }
//!     store %p1[%i0], %1
//!   }
//! }
//! ";
//! assert_eq!(parse(text)?.to_string(), text);
//! # Ok::<(), ir::kernel::text::ParseError>(())
//! ```
//!
//! Printing numbers values, iteration variables, parameters (`%p0`), scratch rows (`%s0`) and extents (`N0`) densely, in
//! order of definition; reading takes any names. `parse(print(k))` is [`super::Kernel::canonical`] of `k`, for every
//! kernel whose values and iteration variables are each defined once. `//` starts a comment.

mod parse;
mod print;
mod words;

pub use parse::{ParseError, parse};
pub(super) use print::Writer;

use super::Combine;

impl Combine {
    /// Every monoid.
    pub const ALL: [Combine; 8] = [
        Combine::Sum,
        Combine::Product,
        Combine::Max,
        Combine::Min,
        Combine::Any,
        Combine::All,
        Combine::ArgMax,
        Combine::ArgMin,
    ];
    /// The name in text.
    pub const fn name(self) -> &'static str {
        match self {
            Combine::Sum => "sum",
            Combine::Product => "product",
            Combine::Max => "max",
            Combine::Min => "min",
            Combine::Any => "any",
            Combine::All => "all",
            Combine::ArgMax => "argmax",
            Combine::ArgMin => "argmin",
        }
    }
    /// The monoid of that name.
    pub fn from_name(name: &str) -> Option<Combine> {
        Combine::ALL.into_iter().find(|c| c.name() == name)
    }
    /// How many values it combines: the value, and for [`Combine::ArgMax`] and [`Combine::ArgMin`] its position.
    pub const fn arity(self) -> usize {
        match self {
            Combine::ArgMax | Combine::ArgMin => 2,
            _ => 1,
        }
    }
}

impl super::Access {
    /// The name in text.
    pub const fn name(self) -> &'static str {
        match self {
            super::Access::In => "in",
            super::Access::Out => "out",
            super::Access::InOut => "inout",
        }
    }
}
