//! In which order nodes are emitted, and in which loop.

use super::{Condition, Kind, MaskId, NodeId, Puller};
use ir::Dim;

impl Puller<'_> {
    /// Nodes that the roots need, each after its children.
    pub fn order(&self, roots: &[NodeId]) -> Vec<NodeId> {
        let mut done = vec![false; self.nodes.len()];
        let mut order = Vec::new();
        let mut stack: Vec<(NodeId, usize)> = roots.iter().rev().map(|&r| (r, 0)).collect();
        while let Some((id, next)) = stack.pop() {
            if done[id.at()] {
                continue;
            }
            match self.nodes[id.at()].children.get(next) {
                Some(&child) => {
                    stack.push((id, next + 1));
                    stack.push((child, 0));
                }
                None => {
                    done[id.at()] = true;
                    order.push(id);
                }
            }
        }
        order
    }

    /// The gathers among the nodes of an order: each after those that its indices come from, and before those that are
    /// read at its index.
    pub(super) fn gathers(&self, order: &[NodeId]) -> Vec<NodeId> {
        let mut gathers = Vec::new();
        if self.gather_count == 0 {
            return gathers;
        }
        let mut done = vec![false; self.nodes.len()];
        // From the end, so that every node is reached through what reads it.
        for &root in order.iter().rev() {
            let mut stack: Vec<(NodeId, usize)> = vec![(root, 0)];
            while let Some((id, next)) = stack.pop() {
                let node = &self.nodes[id.at()];
                if next == 0 && std::mem::replace(&mut done[id.at()], true) {
                    continue;
                }
                if next == 1 && matches!(node.kind, Kind::Gather { .. }) {
                    gathers.push(id);
                }
                if let Some(&child) = node.children.get(next) {
                    stack.push((id, next + 1));
                    stack.push((child, 0));
                }
            }
        }
        gathers
    }

    pub(super) fn dim_level(&self, d: &Dim) -> u32 {
        let d = d.substitute(&|s| self.replaced.get(s).cloned());
        d.symbols().iter().filter_map(|s| self.levels.get(s)).max().copied().unwrap_or(0)
    }

    fn mask_level(&self, m: MaskId) -> u32 {
        let dims = self.masks[m.0 as usize].iter().flat_map(|c| match c {
            Condition::NonNegative(d) => vec![d],
            Condition::Divisible(a, b) => vec![a, b],
        });
        dims.map(|d| self.dim_level(d)).max().unwrap_or(0)
    }

    /// Computes the loop depth of every node in an order.
    pub fn compute_levels(&mut self, order: &[NodeId]) {
        // A gathered index is as deep as the value it comes from.
        for id in self.gathers(order) {
            let node = &self.nodes[id.at()];
            if let Kind::Gather { index, .. } = &node.kind {
                let (index, first) = (index.clone(), node.children[0]);
                for id in self.order(&[first]) {
                    self.compute_level(id);
                }
                let level = self.nodes[first.at()].level.unwrap_or(0);
                self.levels.insert(index, level);
            }
        }
        for &id in order {
            self.compute_level(id);
        }
    }

    fn compute_level(&mut self, id: NodeId) {
        let node = &self.nodes[id.at()];
        if node.level.is_some() {
            return;
        }
        let children = node.children.iter().filter_map(|c| self.nodes[c.at()].level).max().unwrap_or(0);
        let own = match &node.kind {
            Kind::Load(_, linear) => self.dim_level(linear).max(self.mask_level(node.mask)),
            Kind::Generate(index) => index.iter().map(|d| self.dim_level(d)).max().unwrap_or(0),
            Kind::Pieces(pieces, _) => pieces.iter().map(|p| self.mask_level(p.0)).max().unwrap_or(0),
            Kind::Gather { .. } => self.mask_level(node.mask),
            Kind::Apply | Kind::Reduced(_) => 0,
        };
        self.nodes[id.at()].level = Some(children.max(own));
    }
}
