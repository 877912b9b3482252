//! Views of tracked tensors: what they read stays where it is, and their gradients are those of the ops they stand for.

use super::node::{Edge, Kind, Node};
use super::plan::Saved;
use crate::dispatch::here;
use crate::eager;
use crate::tensor::{Repr, Tensor};
use crate::view::Step;
use smallvec::SmallVec;

/// `x`, which is tracked, reshaped: `value` are the elements.
pub(crate) fn reshaped(name: &'static str, x: &Tensor, value: Tensor) -> Tensor {
    if value.error_ref().is_some() {
        return value;
    }
    let edges = [Edge::of(x)].into_iter().collect();
    Node::new(Kind::Reshape(x.shape()), name, here(), edges, Saved::default()).result(0, value)
}

/// Steps from `x`, which is tracked, to a view of it: `value` is that view.
pub(crate) fn viewed(name: &'static str, x: &Tensor, value: Tensor, steps: SmallVec<[Step; 2]>) -> Tensor {
    if value.error_ref().is_some() || steps.is_empty() {
        return if steps.is_empty() { x.clone() } else { value };
    }
    match eager::view_plan(name, x, steps) {
        Ok((plan, inputs)) => {
            let saved = plan.saved(&inputs, None, &|_| None);
            let results = [value].into_iter().collect();
            plan.tensors(name, &|_| Edge::of(x), results, saved, None).remove(0)
        }
        Err(e) => Tensor(Repr::Error(e)),
    }
}
