//! Branches and loops on values of tensors.
//!
//! An ordinary `if` or `for` of Rust runs while a function is traced: it decides once, on numbers of the host, and a loop is
//! recorded as often as it runs. The functions here record one op whose branches or body are traced once each. What
//! decides is a tensor, and a loop is compiled as one body, however often it runs.
//!
//! | | |
//! |---|---|
//! | [`cond`] | one of two functions, by a truth value |
//! | [`switch`](fn@switch) | one of several, by a number |
//! | [`while_loop`] | as long as a condition of what is carried holds |
//! | [`fori`] | a number of times |
//! | [`scan`](fn@scan) | once for each element along the first axes of tensors, with something carried and something stacked |
//! | [`map`] | the same with nothing carried |
//!
//! The functions that they take may capture tensors, also of traces around them, and read and write cells
//! ([`nn::Buffer`](crate::nn::Buffer), [`Generator`](crate::Generator)): what they write is written when the op has run. A
//! captured tensor is the same in every iteration. A branch that is not taken writes nothing.
//!
//! Inside a trace the op is recorded into it. Outside of traces it is compiled, once for its structure, and runs at once; the
//! functions are traced then too, all branches of a [`cond`] included, so they cannot read values or count their own
//! calls.
//!
//! Under [`vmap`](fn@crate::vmap), where each example chooses for itself, all branches are computed and each example takes
//! its own; a loop goes on as long as any example does. Indices that an example would not have read do not count, loops that
//! it would not have run end for it, and branches and loops with [ops of users](crate::custom) in them run for one example
//! after the other: nothing fails, hangs or has effects that would not have. What a branch computes for an example that
//! does not take it may be infinite, and then the gradient through the batched function is NaN, as that of `where_` is; the
//! batched gradient, `vmap(grad(f))`, chooses between gradients and is not.
//!
//! If there is an error, every leaf of the result holds it. A panic of one of the functions is an error too, or goes on; see
//! [`Code::Panic`].

mod choice;
mod loops;
pub(crate) mod region;
pub mod scan;

pub use choice::{cond, switch};
pub use loops::{Bounds, Limits, fori, while_loop};
pub use scan::{map, scan};

use crate::dispatch::here;
use crate::error::{Code, Error, Result};
use crate::scope;
use crate::tree::{Skeleton, Tree};
use ir::Type;

/// One step, as a function.
type Step<'a, A, B> = dyn Fn(&A) -> B + 'a;

/// The error at the user's line.
fn located(e: Error) -> Error {
    e.at(here()).in_scope(&scope::current())
}

/// The name of a leaf below `root`.
fn below(root: &str, path: &str) -> String {
    if path.is_empty() { root.into() } else { format!("{root}.{path}") }
}

/// What two trees that must be alike are, in words.
struct Words<'a> {
    /// The function.
    function: &'static str,
    /// What the trees are, which paths begin with.
    root: &'a str,
    /// Where each of the trees is from.
    places: [&'a str; 2],
}

impl Words<'_> {
    /// An error unless two trees are alike but for the values of their leaves, whose types are given.
    fn alike<T: Tree>(&self, (a, first): (&T, &[Type]), (b, second): (&T, &[Type])) -> Result<()> {
        let &Words { function, root, places: [here, there] } = self;
        let differ = |code, path: &str, [x, y]: [String; 2], legal: String| {
            let rule = format!("{path} is {x} {here} and {y} {there}");
            Err(located(Error::new(code, function, rule, legal)))
        };
        if let Some((path, [x, y])) = Skeleton::of(root, a).difference(&Skeleton::of(root, b)) {
            let (x, y) = if x == y { (x, "another".into()) } else { (x, y) };
            return differ(Code::Argument, &path, [x, y], "the same structure, with the same fixed data".into());
        }
        let Some(i) = first.iter().zip(second).position(|(x, y)| x != y) else { return Ok(()) };
        let (x, y) = (&first[i], &second[i]);
        let (code, legal) = match (x.dtype == y.dtype, x.rank() == y.rank()) {
            (false, _) => {
                let variant = x.dtype.name().to_uppercase().replace("BOOL", "Bool");
                (Code::DType, format!("one dtype; convert, such as with to_dtype(DType::{variant})"))
            }
            (true, true) => (Code::Shape, "one shape".into()),
            (true, false) => (Code::Rank, "one shape".into()),
        };
        let path = below(root, &a.leaves()[i].0);
        differ(code, &path, [x.to_string(), y.to_string()], legal)
    }
}
