//! Trees: values made of tensors and of fixed data, which can be arguments and results of compiled functions.

mod impls;
mod skeleton;
mod walk;

pub(crate) use skeleton::{Owned, Skeleton};
pub use walk::{Data, Fixed, Step, Visit};
pub(crate) use walk::{Named, Paths, leaves, named};

use crate::tensor::Tensor;

/// A value made of tensors (its leaves) and of fixed data: structs, tuples, arrays, vectors, options, maps of such.
///
/// Derive it for structs and enums; every field must be a tree, or carry `#[tree(fixed)]` and be `Eq + Clone`. Numbers, bools and strings are fixed data: part of a compiled function's identity, not inputs. Leaves come in one
/// order in all methods: that of the fields, and of sorted keys in maps.
///
/// ```
/// use tracewright::{Tensor, Tree};
/// #[derive(Tree)]
/// struct Scaled { weight: Tensor, eps: f32 }
///
/// let s = Scaled { weight: Tensor::from([1.0f32, 2.0]), eps: 1e-5 };
/// assert_eq!(s.leaves()[0].0, "weight");
/// let doubled = s.map(&mut |t| t * 2.0);
/// assert_eq!(doubled.weight.to_vec::<f32>()?, [2.0, 4.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
pub trait Tree: Sized + Send + Sync + 'static {
    /// Shows every leaf and all fixed data.
    fn visit(&self, v: &mut dyn Visit);

    /// Shows every leaf for change.
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor));

    /// The same tree with other leaves.
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self;

    /// The tree with leaves that `leaf` makes, if the type alone says which leaves there are and there is no fixed data.
    #[doc(hidden)]
    fn of_type(_leaf: &mut dyn FnMut() -> Tensor) -> Option<Self> {
        None
    }

    /// The leaves with their paths, such as `hidden.weight`.
    fn leaves(&self) -> Vec<(String, Tensor)> {
        leaves(&|v| self.visit(v), "")
    }

    /// Number of elements of all leaves, a tensor at several places counted once; symbolic extents count as 1.
    fn parameter_count(&self) -> usize {
        let mut seen = std::collections::HashSet::new();
        let all = self.leaves();
        let distinct = all.iter().filter(|(_, t)| t.identity().is_some_and(|id| seen.insert(id)));
        distinct.map(|(_, t)| t.shape().iter().map(|d| d.as_usize().unwrap_or(1)).product::<usize>()).sum()
    }
}

/// Derives [`Tree`].
pub use tracewright_derive::Tree;
