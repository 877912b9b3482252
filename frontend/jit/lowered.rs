//! The stages of a compilation, as values.

use ir::Graph;

/// A traced function on its way to code.
pub struct Lowered {
    graph: Graph,
}

impl Lowered {
    pub(crate) fn new(graph: Graph) -> Lowered {
        Lowered { graph }
    }

    /// The graph as traced.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}
