//! Rewrites a region by a partition.

use super::{Class, FusionReport, Unit};
use ir::graph::Definition;
use ir::ops::region::{Fused, FusionKind};
use ir::origin::OriginId;
use ir::{Graph, Op, Region, Value};
use smallvec::SmallVec;
use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) fn build(
    graph: &mut Graph,
    block: Region,
    (units, order): (Vec<Unit>, Vec<usize>),
    class: &HashMap<Op, Class>,
    report: &mut FusionReport,
) {
    let position: HashMap<Op, usize> = graph.region(block).ops.iter().enumerate().map(|(i, &op)| (op, i)).collect();
    let needed = needed_outside(graph, block, &units, class);
    let before = std::mem::take(&mut graph.region_mut(block).ops);
    let mut b = Builder { graph, block, class, moved: HashMap::new(), groups: Vec::new() };
    for u in order {
        let unit = &units[u];
        if unit.solo {
            b.solo(unit.ops[0]);
        } else {
            let mut ops = unit.ops.clone();
            ops.sort_by_key(|op| position[op]);
            b.group(unit, &ops, &needed);
        }
    }
    let yields = b.graph.region(block).yields.clone();
    let yields = yields.into_iter().map(|v| b.in_memory(v)).collect();
    b.graph.region_mut(block).yields = yields;
    report.groups.append(&mut b.groups);
    report.changed |= graph.region(block).ops != before;
}

/// Values of members that some other unit, an alias in memory, or the caller reads.
fn needed_outside(graph: &Graph, block: Region, units: &[Unit], class: &HashMap<Op, Class>) -> HashSet<Value> {
    let mut unit_of: HashMap<Op, usize> = HashMap::new();
    for (u, unit) in units.iter().enumerate() {
        unit_of.extend(unit.ops.iter().map(|&op| (op, u)));
    }
    let block = graph.region(block);
    // For each value, the units that read it through free ops; usize::MAX stands for memory.
    let mut readers: HashMap<Value, SmallVec<[usize; 2]>> = HashMap::new();
    let add = |readers: &mut HashMap<Value, SmallVec<[usize; 2]>>, v: Value, who: usize| {
        let list = readers.entry(v).or_default();
        if !list.contains(&who) {
            list.push(who);
        }
    };
    for &v in &block.yields {
        add(&mut readers, v, usize::MAX);
    }
    for &op in block.ops.iter().rev() {
        let data = graph.op(op);
        let who: SmallVec<[usize; 2]> = match class[&op] {
            Class::Solo => SmallVec::from_iter([usize::MAX]),
            Class::Member | Class::Sealed => SmallVec::from_iter([unit_of[&op]]),
            Class::Free | Class::Alias => readers.get(&data.results[0]).cloned().unwrap_or_default(),
        };
        for &v in &data.operands {
            for &w in &who {
                add(&mut readers, v, w);
            }
        }
    }
    readers
        .into_iter()
        .filter(|(v, who)| {
            let Definition::Result(op, _) = graph.value(*v).def else { return false };
            matches!(class[&op], Class::Member | Class::Sealed) && who.iter().any(|w| *w != unit_of[&op])
        })
        .map(|(v, _)| v)
        .collect()
}

/// Live units, each after those it depends on, otherwise by position; `None` if they depend on each other in a circle.
pub(super) fn topological(units: &[Unit]) -> Option<Vec<usize>> {
    let find = |mut u: usize| {
        while let Some(into) = units[u].into {
            u = into;
        }
        u
    };
    let mut waiting: HashMap<usize, usize> = HashMap::new();
    let mut successors: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut ready: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (u, unit) in units.iter().enumerate().filter(|(_, unit)| unit.into.is_none()) {
        let preds: HashSet<usize> = unit.preds.iter().map(|&p| find(p)).filter(|&p| p != u).collect();
        if preds.is_empty() {
            ready.insert((unit.first, u));
        }
        waiting.insert(u, preds.len());
        for p in preds {
            successors.entry(p).or_default().push(u);
        }
    }
    let mut order = Vec::new();
    while let Some((_, u)) = ready.pop_first() {
        order.push(u);
        for &s in successors.get(&u).map(Vec::as_slice).unwrap_or_default() {
            let left = waiting.get_mut(&s).expect("a successor waits");
            *left -= 1;
            if *left == 0 {
                ready.insert((units[s].first, s));
            }
        }
    }
    (order.len() == waiting.len()).then_some(order)
}

struct Builder<'a> {
    graph: &'a mut Graph,
    /// The region that is rewritten.
    block: Region,
    class: &'a HashMap<Op, Class>,
    /// Where values of the old region are now.
    moved: HashMap<Value, Value>,
    /// Names of the members of each group.
    groups: Vec<Vec<&'static str>>,
}

impl Builder<'_> {
    /// The value in memory: the result of a unit, an input, or an alias of one, made where it is first needed.
    fn in_memory(&mut self, v: Value) -> Value {
        if let Some(&m) = self.moved.get(&v) {
            return m;
        }
        let mut chain = Vec::new();
        let mut at = v;
        let base = loop {
            if let Some(&m) = self.moved.get(&at) {
                break m;
            }
            match self.graph.defining_op(at) {
                Some((op, _)) if self.class[&op] == Class::Alias => {
                    chain.push((op, at));
                    at = self.graph.op(op).operands[0];
                }
                _ => break at,
            }
        };
        let mut value = base;
        for (op, old) in chain.into_iter().rev() {
            let data = self.graph.op(op).clone();
            let new = self
                .graph
                .append(self.block, data.primitive, &[value], &[], &data.origins)
                .unwrap_or_else(|e| panic!("a reshape lost its type: {e}"));
            value = self.graph.op(new).results[0];
            self.moved.insert(old, value);
        }
        value
    }

    fn solo(&mut self, op: Op) {
        let operands = self.graph.op(op).operands.clone();
        let operands = operands.into_iter().map(|v| self.in_memory(v)).collect();
        self.graph.op_mut(op).operands = operands;
        self.graph.region_mut(self.block).ops.push(op);
    }

    fn group(&mut self, unit: &Unit, ops: &[Op], needed: &HashSet<Value>) {
        // Where dead code stayed, a group may have no reader.
        if !ops.iter().any(|&op| self.graph.op(op).results.iter().any(|r| needed.contains(r))) {
            return;
        }
        let region = self.graph.add_region();
        let mut g =
            GroupBuilder { region, inner: HashMap::new(), operands: Vec::new(), own: ops.iter().copied().collect() };
        let mut origins: SmallVec<[OriginId; 2]> = SmallVec::new();
        let mut seen: HashSet<OriginId> = HashSet::new();
        let (mut yields, mut results) = (Vec::new(), Vec::new());
        for &op in ops {
            let data = self.graph.op(op).clone();
            origins.extend(data.origins.iter().copied().filter(|&o| seen.insert(o)));
            g.copy(self, op);
            for &r in &data.results {
                if needed.contains(&r) {
                    yields.push(g.inner[&r]);
                    results.push(r);
                }
            }
        }
        let kind = match (&unit.reduced, yields.iter().any(|&y| self.graph.ty(y).shape != unit.space)) {
            (Some(_), _) => FusionKind::Reduce,
            (None, true) => FusionKind::Many,
            (None, false) => FusionKind::Loop,
        };
        self.groups.push(ops.iter().map(|&op| self.graph.op(op).primitive.name()).collect());
        self.graph.region_mut(region).yields = yields;
        let operands: Vec<Value> = g.operands.iter().map(|&v| self.in_memory(v)).collect();
        let fused = self
            .graph
            .append(self.block, Fused { kind }.into(), &operands, &[region], &origins)
            .unwrap_or_else(|e| panic!("a fused group lost its type: {e}"));
        let new = self.graph.op(fused).results.clone();
        self.moved.extend(results.into_iter().zip(new));
    }
}

struct GroupBuilder {
    region: Region,
    /// Old values as they are inside the region.
    inner: HashMap<Value, Value>,
    /// Old values that the region takes as parameters.
    operands: Vec<Value>,
    own: HashSet<Op>,
}

impl GroupBuilder {
    /// Copies an op with the free ops it reads through; whatever else it reads becomes a parameter.
    fn copy(&mut self, b: &mut Builder<'_>, op: Op) {
        let mut stack = vec![(op, 0usize)];
        while let Some((op, next)) = stack.pop() {
            if self.inner.contains_key(&b.graph.op(op).results[0]) {
                continue;
            }
            if let Some(&v) = b.graph.op(op).operands.get(next) {
                stack.push((op, next + 1));
                if self.inner.contains_key(&v) {
                    continue;
                }
                match b.graph.value(v).def {
                    Definition::Result(def, _)
                        if self.own.contains(&def) || matches!(b.class[&def], Class::Free | Class::Alias) =>
                    {
                        stack.push((def, 0));
                    }
                    _ => {
                        let ty = b.graph.ty(v).clone();
                        let param = b.graph.add_param(self.region, ty);
                        self.inner.insert(v, param);
                        self.operands.push(v);
                    }
                }
                continue;
            }
            let data = b.graph.op(op).clone();
            let operands: Vec<Value> = data.operands.iter().map(|v| self.inner[v]).collect();
            let copy = b
                .graph
                .append(self.region, data.primitive, &operands, &[], &data.origins)
                .unwrap_or_else(|e| panic!("an op lost its type in fusion: {e}"));
            let results = b.graph.op(copy).results.clone();
            self.inner.extend(data.results.iter().copied().zip(results));
        }
    }
}
