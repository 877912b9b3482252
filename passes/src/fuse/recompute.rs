//! What a fused group computes more than once.
//!
//! Code for a member is found by pulling: whoever reads it at its own index shares one computation with all others who
//! do, and whoever reads it at another index, through a view or a gather, has it computed there once more, with all that
//! it reads in turn. Chains of such reads multiply, so what is computed again must stay small beside the group itself:
//! beyond that, storing and loading the value is cheaper.

use super::space::{Fit, IndexVec, Walk, own_space};
use super::{Class, FUNCTION, Level, Partition};
use ir::kernel::KernelBuilder;
use ir::{Axes, Lowering, Op, Scalar, Value};
use std::collections::HashSet;

/// Additions for each point of a group's space that may always be spent on computing again: about what it costs to
/// store a value and to load it again.
const ALWAYS: u64 = 16;
/// A read through a view: index arithmetic, and often a mask.
const READ: u64 = 2;
/// The most in any group, however large: bounds the time of compilation.
const AT_MOST: u64 = 256;

/// The reads of group members by one member: the indices of each that are not the member's own.
pub(super) type MovedReads = Vec<(Value, Vec<IndexVec>)>;

impl Partition<'_> {
    /// What may be spent in a group of that cost.
    pub(super) fn allowance(plain: u64) -> u64 {
        (plain / 4).clamp(ALWAYS, AT_MOST)
    }

    /// Notes how much a free view reads.
    pub(super) fn count_reads(&mut self, op: Op) {
        let data = self.graph.op(op);
        if data.primitive.lowering() == Lowering::View && matches!(self.class[&op], Class::Free | Class::Alias) {
            let reads = data.operands.iter().map(|v| self.reads.get(v).copied().unwrap_or(1));
            self.reads.insert(data.results[0], reads.sum());
        }
    }

    /// The cost of one element of a member with its reads through views, in additions.
    pub(super) fn cost(&mut self, op: Op) -> u64 {
        let reads = self.graph.op(op).operands.iter().filter_map(|v| self.reads.get(v));
        READ * reads.sum::<u64>() + self.own_cost(op)
    }

    /// The cost of an op that is many instructions, else 0.
    pub(super) fn function_cost(&mut self, op: Op) -> u64 {
        let cost = self.own_cost(op);
        if cost >= FUNCTION { cost } else { 0 }
    }

    fn own_cost(&mut self, op: Op) -> u64 {
        let data = self.graph.op(op);
        let Some(&first) = data.operands.first().or(data.results.first()) else { return 0 };
        let dtype = self.graph.ty(first).dtype;
        if let Some(&known) = self.costs.get(&(data.primitive.name(), dtype)) {
            return known;
        }
        let cost = match data.primitive.lowering() {
            // 16-bit floats have no scalar code before legalisation.
            Lowering::Pointwise if data.operands.iter().all(|&v| !self.graph.ty(v).dtype.is_half()) => {
                let mut probe = KernelBuilder::new("");
                let zero = |&v: &Value| Scalar::zero(self.graph.ty(v).dtype);
                let operands: Vec<_> = data.operands.iter().map(zero).collect();
                let operands: Vec<_> = operands.into_iter().map(|s| probe.constant(s)).collect();
                data.primitive.scalar(&mut probe, &operands);
                probe.cost().max(1)
            }
            _ => 1,
        };
        self.costs.insert((data.primitive.name(), dtype), cost);
        cost
    }

    /// The reads of members of `owner` by `op`, standing as `fit` says, at other indices than its own.
    pub(super) fn moved_reads(&self, op: Op, owner: usize, fit: &Fit) -> MovedReads {
        let data = self.graph.op(op);
        let gathers = data.primitive.lowering() == Lowering::Gather;
        let of_owner = |v: Value| self.sources_of(v).iter().any(|&s| self.unit_of_value(s) == Some(owner));
        let through_view = |&v: &Value| self.is_free(v) && of_owner(v);
        if !(gathers && data.operands.iter().any(|&v| of_owner(v)) || data.operands.iter().any(through_view)) {
            return Vec::new();
        }
        let none = Axes::new();
        // A member that is read through others has indices of its own, which are none of the space.
        let pulled = fit.level == Level::Pulled;
        let space = if pulled { own_space(self.graph, op).0 } else { fit.space.clone() };
        let mut walk = Walk::new(self, owner, &space, fit.reduced.as_ref().unwrap_or(&none));
        let at = match data.primitive.lowering() {
            Lowering::Reduce(_) => walk.canonical(Level::Full),
            _ => walk.canonical(fit.level),
        };
        let mut moved: MovedReads = Vec::new();
        for (v, index) in walk.sources(op, &at) {
            if self.unit_of_value(v) != Some(owner) {
                continue;
            }
            // Before the space changes, members have another index than any of the new one.
            let own = !fit.retarget && !pulled && index == walk.canonical(self.level[&v]);
            if own {
                continue;
            }
            match moved.iter_mut().find(|(w, _)| *w == v) {
                Some((_, indices)) if indices.contains(&index) => {}
                Some((_, indices)) => indices.push(index),
                None => moved.push((v, vec![index])),
            }
        }
        moved
    }

    /// What those reads by `op` cost beyond computing each value once.
    pub(super) fn again(&mut self, op: Op, reads: &MovedReads) -> u64 {
        let mut sum = 0;
        for (v, indices) in reads {
            let alone = self.readers.get(v).is_none_or(|readers| readers.iter().all(|r| *r == Some(op)));
            let times = indices.len() as u64 - (alone && self.reads_only_moved(op, *v)) as u64;
            if times > 0 {
                sum += times * self.pulled(*v, AT_MOST);
            }
            if sum > AT_MOST {
                break;
            }
        }
        sum
    }

    /// True if no operand of `op` is that value itself.
    fn reads_only_moved(&self, op: Op, v: Value) -> bool {
        let data = self.graph.op(op);
        data.primitive.lowering() == Lowering::Gather || !data.operands.contains(&v)
    }

    /// The cost of an element of a member with all that it reads in its group, or more than `limit`.
    fn pulled(&mut self, v: Value, limit: u64) -> u64 {
        let Some(unit) = self.unit_of_value(v) else { return 0 };
        let mut sum = 0;
        // What is read at another index is computed anew, even if it was seen.
        let mut frames = vec![v];
        while let Some(root) = frames.pop() {
            let mut seen: HashSet<Value> = HashSet::new();
            let mut stack = vec![root];
            while let Some(v) = stack.pop() {
                let Some((op, _)) = self.graph.defining_op(v) else { continue };
                let computed_by_a_loop = matches!(self.graph.op(op).primitive.lowering(), Lowering::Reduce(_));
                if self.unit_of_value(v) != Some(unit) || !seen.insert(v) || computed_by_a_loop {
                    continue;
                }
                sum += self.cost(op);
                if sum > limit {
                    return sum;
                }
                let moved = self.moved.get(&op);
                for (w, indices) in moved.into_iter().flatten() {
                    frames.extend(std::iter::repeat_n(*w, indices.len()));
                }
                for &w in &self.graph.op(op).operands {
                    let moved = |s: &Value| moved.is_some_and(|m| m.iter().any(|(w, _)| w == s));
                    stack.extend(self.sources_of(w).into_iter().filter(|s| !moved(s) || *s == w));
                }
            }
        }
        sum
    }

    /// True for the result of a view that is copied into its readers.
    fn is_free(&self, v: Value) -> bool {
        let view = |op| self.graph.op(op).primitive.lowering() == Lowering::View;
        let free = |op| matches!(self.class[&op], Class::Free | Class::Alias);
        self.graph.defining_op(v).is_some_and(|(op, _)| free(op) && view(op))
    }

    /// The members of group `g` that read members of group `h`.
    pub(super) fn readers_between(&self, g: usize, h: usize) -> Vec<Op> {
        let results = self.units[h].ops.iter().flat_map(|&op| &self.graph.op(op).results);
        let readers = results.flat_map(|v| self.readers.get(v).map(Vec::as_slice).unwrap_or_default());
        let mut all: Vec<Op> = readers.flatten().copied().collect();
        all.retain(|r| self.unit_of.get(r).is_some_and(|&u| self.find(u) == g));
        all.sort();
        all.dedup();
        all
    }
}
