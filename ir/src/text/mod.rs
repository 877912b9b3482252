//! The text form of graphs: a contract, `parse(print(g)) == g`.
//!
//! ```
//! let text = "\
//! graph @scale(%0: f32[B, 2]) -> (f32[B, 2]) where B in 1..=64 {
//!   %1: f32[B, 2] = full {value = 2.0:f32, shape = [B, 2]}
//!   %2: f32[B, 2] = mul %0, %1
//!   return %2
//! }
//! ";
//! let graph = ir::text::parse(text).unwrap();
//! assert_eq!(graph.to_string(), text);
//! ```
//!
//! Values are numbered densely in order of definition, nested regions included. Attributes print in declared order.
//! Floats print so that they read back to the same bits. Origins print on request, as comments.

mod parse;
mod print;

pub use parse::{ParseError, parse};
pub use print::{PrintOptions, Printed};
