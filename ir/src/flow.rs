//! petgraph's visit traits over the root region of a [`Graph`]: nodes are ops, an edge leads from an op to each op
//! that reads one of its results. petgraph's algorithms run on `&Graph` without a copy.
//!
//! ```
//! # let graph = ir::text::parse("graph @g(%0: f32[2]) -> (f32[2]) {\n  %1: f32[2] = neg %0\n  %2: f32[2] = exp %1\n  return %2\n}\n").unwrap();
//! let order = petgraph::algo::toposort(&graph, None).unwrap();
//! assert_eq!(order.len(), 2);
//! ```

use crate::graph::{Graph, Op};
use petgraph::Direction;
use petgraph::visit::{
    GraphBase, IntoNeighbors, IntoNeighborsDirected, IntoNodeIdentifiers, NodeCount, NodeIndexable, Visitable,
};
use std::collections::HashSet;

impl GraphBase for Graph {
    type NodeId = Op;
    /// The reading op and the number of the operand.
    type EdgeId = (Op, usize);
}

impl NodeCount for Graph {
    fn node_count(&self) -> usize {
        self.region(self.root()).ops.len()
    }
}

impl NodeIndexable for Graph {
    fn node_bound(&self) -> usize {
        self.op_count()
    }
    fn to_index(&self, op: Op) -> usize {
        op.at()
    }
    fn from_index(&self, i: usize) -> Op {
        Op(i as u32)
    }
}

impl Visitable for Graph {
    type Map = HashSet<Op>;
    fn visit_map(&self) -> HashSet<Op> {
        HashSet::new()
    }
    fn reset_map(&self, map: &mut HashSet<Op>) {
        map.clear();
    }
}

impl<'a> IntoNodeIdentifiers for &'a Graph {
    type NodeIdentifiers = std::iter::Copied<std::slice::Iter<'a, Op>>;
    fn node_identifiers(self) -> Self::NodeIdentifiers {
        self.region(self.root()).ops.iter().copied()
    }
}

impl IntoNeighbors for &Graph {
    type Neighbors = std::vec::IntoIter<Op>;
    fn neighbors(self, op: Op) -> Self::Neighbors {
        self.neighbors_directed(op, Direction::Outgoing)
    }
}

/// Operands are stored with their op, readers are not: going outwards looks through the region.
impl IntoNeighborsDirected for &Graph {
    type NeighborsDirected = std::vec::IntoIter<Op>;
    fn neighbors_directed(self, op: Op, direction: Direction) -> Self::NeighborsDirected {
        let defining = |op: Op| self.op(op).operands.iter().filter_map(|&v| Some(self.defining_op(v)?.0));
        let found: Vec<Op> = match direction {
            Direction::Incoming => defining(op).collect(),
            Direction::Outgoing => self
                .region(self.root())
                .ops
                .iter()
                .copied()
                .filter(|&reader| defining(reader).any(|d| d == op))
                .collect(),
        };
        found.into_iter()
    }
}
