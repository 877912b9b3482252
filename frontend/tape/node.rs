//! The tape: what was computed of tracked tensors, each op with edges to those that made its operands.

use super::plan::{Plan, Saved};
use super::watch::{Kept, Watch};
use crate::error::{Code, Error, Result};
use crate::tensor::{Repr, Tensor};
use ir::Shape;
use smallvec::SmallVec;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A tensor on the tape.
pub(crate) struct Tracked {
    /// The tensor itself: an array or a view of one.
    pub value: Tensor,
    /// What made it.
    pub node: Arc<Node>,
    /// Which of the results it is.
    pub slot: usize,
    /// Its gradient, if that is kept.
    pub kept: OnceLock<Arc<Kept>>,
}

/// A tracked operand: where its gradient goes.
#[derive(Clone)]
pub(crate) struct Edge {
    pub node: Arc<Node>,
    pub slot: usize,
}

impl Edge {
    pub fn of(t: &Tensor) -> Option<Edge> {
        t.tracked().map(|t| Edge { node: t.node.clone(), slot: t.slot })
    }
}

/// What a node does with the gradient of its results.
pub(crate) enum Kind {
    /// Keeps it.
    Leaf,
    /// Hands it on through the rules of ops. Where pointwise ops ran over one axis, the extents of their operands.
    Op(Arc<Plan>, Option<SmallVec<[usize; 4]>>),
    /// Gives it the shape of the operand.
    Reshape(Shape),
}

/// A leaf, or an op that ran on tracked tensors.
pub(crate) struct Node {
    /// Larger than that of every node it has an edge to.
    pub id: u64,
    pub kind: Kind,
    pub name: &'static str,
    /// The user's line.
    pub line: &'static Location<'static>,
    /// Where each gradient goes.
    pub edges: SmallVec<[Option<Edge>; 2]>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// What the gradient needs; `None` once it is freed.
    pub saved: Option<Saved>,
    /// Hooks and kept gradients, which few nodes have.
    pub watch: Option<Box<Watch>>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Node {
    pub fn new(
        kind: Kind,
        name: &'static str,
        line: &'static Location<'static>,
        edges: SmallVec<[Option<Edge>; 2]>,
        saved: Saved,
    ) -> Arc<Node> {
        let state = Mutex::new(State { saved: Some(saved), watch: None });
        Arc::new(Node { id: NEXT.fetch_add(1, Ordering::Relaxed), kind, name, line, edges, state })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_leaf(&self) -> bool {
        matches!(self.kind, Kind::Leaf)
    }

    /// What it saved. Taken unless it is to be kept; what needs nothing can be asked for it again.
    pub fn saved(&self, keep: bool) -> Result<Saved> {
        let mut state = self.state();
        let saved = match keep {
            true => state.saved.clone(),
            false => match &state.saved {
                Some(saved) if saved.is_empty() => Some(saved.clone()),
                _ => state.saved.take(),
            },
        };
        saved.ok_or_else(|| {
            let rule = format!("what {} kept for its gradient was freed by a backward before", self.name);
            let legal = "retain it: tape::Backward::of(&[&loss]).retain()";
            Error::new(Code::Gradient, "backward", rule, legal).at(self.line)
        })
    }

    /// A result of it.
    pub fn result(self: &Arc<Node>, slot: usize, value: Tensor) -> Tensor {
        Tensor(Repr::Tracked(Arc::new(Tracked { value, node: self.clone(), slot, kept: OnceLock::new() })))
    }
}

impl Drop for Node {
    /// Chains are as long as programs run: nodes that nobody else holds go one by one.
    fn drop(&mut self) {
        let mut left: Vec<Edge> = self.edges.drain(..).flatten().collect();
        while let Some(edge) = left.pop() {
            if let Some(mut node) = Arc::into_inner(edge.node) {
                left.extend(node.edges.drain(..).flatten());
            }
        }
    }
}
