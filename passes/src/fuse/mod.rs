//! Fusion: partitions a region into groups that become one kernel each.
//!
//! Every op belongs to one of three classes. **Members** are pointwise ops, reductions and gathers: they form groups.
//! **Free** ops are views and generators: they cost nothing and are copied into every group that reads through them,
//! unless their result is needed in memory. **Solo** ops (products, scatters, dense constants, long concatenations) stay
//! as they are. A member joins a group of one of its operands where
//!
//! 1. no other operand depends on that group (the graph of groups stays acyclic), and
//! 2. it fits the group's iteration space, as `space.rs` decides, and
//! 3. the group does not compute much more than once for it, as `recompute.rs` decides.
//!
//! What comes out is ordinary IR: a `fused` op whose region holds the members, so the interpreter runs it as it is.

mod build;
mod pass;
mod recompute;
mod space;

pub use pass::{Fuse, Isolate};

use crate::dce::is_droppable;
use crate::join::joins_many;
use ir::graph::Definition;
use ir::{Axes, DType, Graph, Lowering, Op, Origin, Region, Shape, Value};
use recompute::MovedReads;
use smallvec::SmallVec;
use space::Fit;
use std::collections::{HashMap, HashSet};

/// Most members of one group: bounds the time of register allocation.
const MAX_MEMBERS: usize = 16_384;
/// Most cost of functions that are many instructions each, for the same reason.
const MAX_FUNCTIONS: u64 = 4096;
/// The least cost of such a function.
const FUNCTION: u64 = 8;

const COMPUTED_AGAIN: &str = "what is read at several places would be computed again for each";

/// A fusion of an op with the group of an operand that did not happen, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The op.
    pub op: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Where the op was recorded.
    pub origins: Vec<Origin>,
}

/// What fusion did.
#[derive(Clone, Debug, Default)]
pub struct FusionReport {
    /// Names of the members of each group.
    pub groups: Vec<Vec<&'static str>>,
    /// What was refused.
    pub refused: Vec<Refusal>,
    /// Regions whose groups were formed a second time, by exact dependencies.
    pub exact: usize,
    /// True if there are groups, or if ops stand in another order.
    pub changed: bool,
}

/// Fuses the ops of the root region, and those of every body and branch of control flow for themselves. With `enabled`
/// false every op gets a group of its own, which is what lowering needs at least.
pub fn fuse(graph: &mut Graph, enabled: bool) -> FusionReport {
    let mut report = FusionReport::default();
    for region in graph.blocks() {
        let mut p = Partition::of(graph, region, enabled, false);
        let order = build::topological(&p.units).unwrap_or_else(|| {
            // Rare: the quick look at positions missed a dependency between groups whose ops stand among each other.
            report.exact += 1;
            p = Partition::of(graph, region, enabled, true);
            build::topological(&p.units).expect("groups that depend on each other are not joined")
        });
        let (units, refused, class) = (p.units, p.refused, p.class);
        report.refused.extend(refused);
        build::build(graph, region, (units, order), &class, &mut report);
    }
    graph.compact();
    report
}

/// What an op is to fusion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Solo,
    Member,
    /// A view that is put in memory, by a group of its own: what reads through it would be too long to write out.
    Sealed,
    /// Copied into its readers.
    Free,
    /// A reshape whose result is needed in memory: another name for its operand's memory. Free to members.
    Alias,
}

/// Where a member's value lives in its group's iteration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    /// One element per point of the space.
    Full,
    /// One per point of the kept axes.
    Kept,
    /// As `Kept`, with the reduced axes still there at extent 1.
    KeptOnes,
    /// Only computed where others read it, at whatever index.
    Pulled,
}

/// A group of members, or a solo op.
#[derive(Clone, Debug)]
struct Unit {
    ops: Vec<Op>,
    solo: bool,
    /// Nothing joins it, solo or not.
    alone: bool,
    space: Shape,
    /// The reduced axes, if the group reduces.
    reduced: Option<Axes>,
    /// Units that operands come from.
    preds: HashSet<usize>,
    /// Positions of the first and last op.
    first: usize,
    last: usize,
    /// What one point of the space costs, with every member computed once, and what is computed again.
    plain: u64,
    again: u64,
    /// The part of the former that is functions of many instructions.
    functions: u64,
    /// Merged into that unit.
    into: Option<usize>,
}

struct Partition<'a> {
    graph: &'a Graph,
    enabled: bool,
    /// Positions do not say what depends on what.
    exact: bool,
    class: HashMap<Op, Class>,
    units: Vec<Unit>,
    unit_of: HashMap<Op, usize>,
    level: HashMap<Value, Level>,
    /// Members that depend on a reduction of their own group.
    tainted: HashSet<Value>,
    /// For values of members and solo ops: the ops that read them, through free ops; outputs count as `None`.
    readers: HashMap<Value, Vec<Option<Op>>>,
    sources: HashMap<Value, SmallVec<[Value; 2]>>,
    /// What members read in their groups at other indices than their own.
    moved: HashMap<Op, MovedReads>,
    /// How many elements a free view reads for one of its own.
    reads: HashMap<Value, u64>,
    /// Costs of ops by name and dtype, without their reads.
    costs: HashMap<(&'static str, DType), u64>,
    refused: Vec<Refusal>,
    /// The last solo op with effects.
    last_effect: Option<usize>,
}

impl<'a> Partition<'a> {
    /// The partition of a region. If `exact`, dependencies between groups are followed to the end.
    fn of(graph: &'a Graph, region: Region, enabled: bool, exact: bool) -> Self {
        let mut p = Partition::new(graph, region, enabled);
        p.exact = exact;
        for (position, &op) in graph.region(region).ops.iter().enumerate() {
            p.place(op, position);
        }
        if enabled {
            p.merge_sinks();
        }
        p
    }

    fn new(graph: &'a Graph, region: Region, enabled: bool) -> Self {
        let mut p = Partition {
            graph,
            enabled,
            exact: false,
            class: classify(graph, region, enabled),
            units: Vec::new(),
            unit_of: HashMap::new(),
            level: HashMap::new(),
            tainted: HashSet::new(),
            readers: HashMap::new(),
            sources: HashMap::new(),
            moved: HashMap::new(),
            reads: HashMap::new(),
            costs: HashMap::new(),
            refused: Vec::new(),
            last_effect: None,
        };
        let block = graph.region(region);
        for &op in &block.ops {
            p.count_reads(op);
            let data = graph.op(op);
            let mut all: SmallVec<[Value; 2]> = SmallVec::new();
            for &v in &data.operands {
                for &s in p.sources_of(v).iter() {
                    if !all.contains(&s) {
                        all.push(s);
                    }
                }
            }
            match p.class[&op] {
                Class::Free | Class::Alias => {
                    p.sources.insert(data.results[0], all);
                }
                Class::Solo | Class::Member | Class::Sealed => {
                    for s in all {
                        p.readers.entry(s).or_default().push(Some(op));
                    }
                }
            }
        }
        for &v in &block.yields {
            for s in p.sources_of(v) {
                p.readers.entry(s).or_default().push(None);
            }
        }
        p
    }

    /// The values of members, solo ops and inputs that a value is read from, through free ops.
    fn sources_of(&self, v: Value) -> SmallVec<[Value; 2]> {
        self.sources.get(&v).cloned().unwrap_or_else(|| SmallVec::from_iter([v]))
    }

    fn find(&self, mut unit: usize) -> usize {
        while let Some(into) = self.units[unit].into {
            unit = into;
        }
        unit
    }

    /// The unit that defines a source value.
    fn unit_of_value(&self, v: Value) -> Option<usize> {
        match self.graph.value(v).def {
            Definition::Result(op, _) => self.unit_of.get(&op).map(|&u| self.find(u)),
            Definition::Param(..) => None,
        }
    }

    fn place(&mut self, op: Op, position: usize) {
        let (solo, alone) = match self.class[&op] {
            Class::Free | Class::Alias => return,
            Class::Solo => (true, true),
            Class::Sealed => (false, true),
            Class::Member => (false, false),
        };
        let data = self.graph.op(op);
        let mut preds: Vec<usize> = Vec::new();
        for &v in &data.operands {
            for s in self.sources_of(v) {
                if let Some(u) = self.unit_of_value(s)
                    && !preds.contains(&u)
                {
                    preds.push(u);
                }
            }
        }
        // What has effects keeps its order.
        if !is_droppable(self.graph, op) {
            let unit = self.units.len();
            preds.extend(self.last_effect.replace(unit).map(|u| self.find(u)).filter(|u| !preds.contains(u)));
        }
        if !alone && self.enabled {
            // Later groups first: the earlier ones are then among their predecessors.
            let mut candidates: Vec<usize> = preds.iter().copied().filter(|&u| !self.units[u].alone).collect();
            candidates.sort_by_key(|&u| std::cmp::Reverse(self.units[u].last));
            let mut reason = None;
            let mut joined = false;
            for &g in &candidates {
                match self.try_join(op, position, g, &preds) {
                    Ok(()) => {
                        joined = true;
                        for &h in &candidates {
                            reason = self.try_merge(g, h).err().or(reason);
                        }
                        break;
                    }
                    Err(why) => reason = reason.or(Some(why)),
                }
            }
            if let Some(reason) = reason {
                let origins = data.origins.iter().map(|&o| self.graph.origins.get(o).clone()).collect();
                self.refused.push(Refusal { op: data.primitive.name(), reason, origins });
            }
            if joined {
                return;
            }
        }
        let (space, reduced) = space::own_space(self.graph, op);
        let level = if reduced.is_some() { Level::Kept } else { Level::Full };
        if let Some(&result) = data.results.first() {
            self.level.insert(result, level);
            if reduced.is_some() {
                self.tainted.insert(result);
            }
        }
        self.unit_of.insert(op, self.units.len());
        let (plain, functions) = (self.cost(op), self.function_cost(op));
        self.units.push(Unit {
            plain,
            again: 0,
            functions,
            ops: vec![op],
            solo,
            alone,
            space,
            reduced,
            preds: preds.into_iter().collect(),
            first: position,
            last: position,
            into: None,
        });
    }

    fn try_join(&mut self, op: Op, position: usize, g: usize, preds: &[usize]) -> Result<(), &'static str> {
        if self.units[g].ops.len() >= MAX_MEMBERS {
            return Err("the group is full");
        }
        if preds.iter().any(|&u| u != g && self.depends(u, g)) {
            return Err("another operand depends on the group");
        }
        let functions = self.units[g].functions + self.function_cost(op);
        if functions > MAX_FUNCTIONS {
            return Err("the group is too long to be compiled quickly");
        }
        let fit = self.fit(op, g)?;
        let moved = self.moved_reads(op, g, &fit);
        let (plain, again) = (self.units[g].plain + self.cost(op), self.units[g].again + self.again(op, &moved));
        if !moved.is_empty() && again > Self::allowance(plain) {
            return Err(COMPUTED_AGAIN);
        }
        if !moved.is_empty() {
            self.moved.insert(op, moved);
        }
        let result = self.graph.op(op).results[0];
        if fit.tainted {
            self.tainted.insert(result);
        }
        if fit.retarget {
            let members: Vec<Op> = self.units[g].ops.clone();
            for m in members {
                self.level.insert(self.graph.op(m).results[0], Level::Pulled);
            }
        }
        self.level.insert(result, fit.level);
        self.unit_of.insert(op, g);
        let unit = &mut self.units[g];
        unit.ops.push(op);
        (unit.plain, unit.again, unit.functions) = (plain, again, functions);
        unit.space = fit.space;
        unit.reduced = fit.reduced;
        unit.preds.extend(preds.iter().copied().filter(|&u| u != g));
        unit.last = position;
        Ok(())
    }

    /// True if unit `u` depends on unit `g`, directly or not.
    fn depends(&self, u: usize, g: usize) -> bool {
        let earliest = self.units[g].first;
        let mut seen = HashSet::new();
        let mut stack = vec![u];
        while let Some(u) = stack.pop() {
            for &p in &self.units[u].preds {
                let p = self.find(p);
                if p == g {
                    return true;
                }
                // A unit whose ops all come before the first of `g` does not depend on it, but through a group of which
                // other ops come later.
                if p != u && (self.exact || self.units[p].last > earliest) && seen.insert(p) {
                    stack.push(p);
                }
            }
        }
        false
    }

    /// Merges group `h` into `g` where their spaces agree and no third unit lies between them.
    fn try_merge(&mut self, g: usize, h: usize) -> Result<(), &'static str> {
        let (g, h) = (self.find(g), self.find(h));
        if g == h {
            return Ok(());
        }
        let (a, b) = (&self.units[g], &self.units[h]);
        if a.ops.len() + b.ops.len() > MAX_MEMBERS || a.functions + b.functions > MAX_FUNCTIONS {
            return Err("the groups are too large together");
        }
        if a.space != b.space {
            return Err("the iteration spaces differ");
        }
        if a.reduced != b.reduced {
            if b.reduced.is_some() {
                return Err("the groups reduce over different axes");
            }
            if b.ops.iter().any(|&op| self.level[&self.graph.op(op).results[0]] == Level::Pulled) {
                return Err("an operand's group is only read through the other");
            }
        }
        // Members of `g` may read members of `h` at other indices only if those are plain recomputation.
        if b.reduced.is_some() && !self.reads_aligned(g, h) {
            return Err("a reduction of the group is read at another index");
        }
        let between = |from: usize, to: usize| {
            self.units[from].preds.iter().map(|&p| self.find(p)).any(|p| p != to && p != from && self.depends(p, to))
        };
        if between(g, h) || between(h, g) {
            return Err("another operand depends on the group");
        }
        let readers = self.readers_between(g, h);
        let mut again = self.units[g].again + self.units[h].again;
        let plain = self.units[g].plain + self.units[h].plain;
        let mut moved = Vec::new();
        for op in readers {
            let (space, reduced) = (self.units[g].space.clone(), self.units[g].reduced.clone());
            let level = self.level[&self.graph.op(op).results[0]];
            let reads = self.moved_reads(op, h, &Fit { level, space, reduced, tainted: false, retarget: false });
            again += self.again(op, &reads);
            moved.push((op, reads));
            if again > Self::allowance(plain) {
                return Err(COMPUTED_AGAIN);
            }
        }
        for (op, reads) in moved {
            self.moved.entry(op).or_default().extend(reads);
        }
        self.absorb(g, h);
        (self.units[g].plain, self.units[g].again) = (plain, again);
        Ok(())
    }

    fn absorb(&mut self, g: usize, h: usize) {
        let b = self.units[h].clone();
        self.units[h].into = Some(g);
        self.units[h].ops.clear();
        let a = &mut self.units[g];
        a.ops.extend(b.ops);
        a.functions += b.functions;
        a.first = a.first.min(b.first);
        a.last = a.last.max(b.last);
        a.preds.extend(b.preds);
        a.preds.remove(&g);
        a.preds.remove(&h);
    }

    /// Puts loop groups that nobody reads into one: parameter updates then share a launch.
    fn merge_sinks(&mut self) {
        let live: Vec<usize> = (0..self.units.len()).filter(|&u| self.units[u].into.is_none()).collect();
        let read: HashSet<usize> = live
            .iter()
            .flat_map(|&u| self.units[u].preds.iter().map(|&p| self.find(p)).filter(move |&p| p != u))
            .collect();
        let mut sinks =
            live.into_iter().filter(|u| !read.contains(u) && !self.units[*u].alone && self.units[*u].reduced.is_none());
        let Some(mut first) = sinks.next() else { return };
        for other in sinks.collect::<Vec<_>>() {
            if self.units[first].functions + self.units[other].functions > MAX_FUNCTIONS {
                first = other;
            } else {
                self.absorb(first, other);
            }
        }
    }
}

/// Sorts ops into classes. A view or generator whose result must be in memory becomes a member, a reshape an alias.
fn classify(graph: &Graph, region: Region, enabled: bool) -> HashMap<Op, Class> {
    let block = graph.region(region);
    let mut class: HashMap<Op, Class> = HashMap::new();
    for &op in &block.ops {
        let data = graph.op(op);
        let c = match data.primitive.lowering() {
            Lowering::Pointwise if enabled && of_extents(graph, op, &class) => Class::Free,
            Lowering::Pointwise | Lowering::Reduce(_) | Lowering::Gather => Class::Member,
            Lowering::View if enabled && joins_many(graph, op) => Class::Solo,
            Lowering::View | Lowering::Generate if enabled => Class::Free,
            Lowering::View if is_alias(graph, op) => Class::Alias,
            Lowering::View | Lowering::Generate => Class::Member,
            Lowering::Constant if data.primitive.splat().is_some() && enabled => Class::Free,
            _ => Class::Solo,
        };
        class.insert(op, c);
    }
    if enabled {
        seal(graph, region, &mut class);
    }
    let mut needed: Vec<Value> = block.yields.clone();
    for &op in &block.ops {
        if class[&op] == Class::Solo {
            needed.extend(graph.op(op).operands.iter().copied());
        }
    }
    while let Some(v) = needed.pop() {
        let Some((op, _)) = graph.defining_op(v) else { continue };
        if class[&op] != Class::Free {
            continue;
        }
        if is_alias(graph, op) {
            class.insert(op, Class::Alias);
            needed.push(graph.op(op).operands[0]);
        } else if graph.op(op).primitive.lowering() == Lowering::Constant {
            class.insert(op, Class::Solo);
        } else {
            class.insert(op, Class::Member);
        }
    }
    class
}

/// Most reads that a chain of views may make for one element.
const MAX_READS: usize = 32;
/// Most reshapes in a chain of views: each may divide indices once more.
const MAX_RESHAPES: usize = 4;

/// Puts views in memory where chains of them become too long to write out as one index.
fn seal(graph: &Graph, region: Region, class: &mut HashMap<Op, Class>) {
    // Reads and reshapes of each view so far; other values are read once.
    let mut chains: HashMap<Value, (usize, usize)> = HashMap::new();
    for &op in &graph.region(region).ops {
        let data = graph.op(op);
        if class[&op] != Class::Free || data.primitive.lowering() != Lowering::View {
            continue;
        }
        let of = |v: &Value| chains.get(v).copied().unwrap_or((1, 0));
        let reads: usize = data.operands.iter().map(|v| of(v).0).sum();
        let reshapes = data.operands.iter().map(|v| of(v).1).max().unwrap_or(0);
        let result = data.results[0];
        let divides = |v: &Value| is_alias(graph, op) && without_ones(graph, *v) != without_ones(graph, result);
        let reshapes = reshapes + data.operands.iter().any(divides) as usize;
        if reads > MAX_READS || reshapes > MAX_RESHAPES {
            class.insert(op, Class::Sealed);
        } else {
            chains.insert(result, (reads, reshapes));
        }
    }
}

/// True for a number that is computed from nothing but extents and constants: each group does so itself.
fn of_extents(graph: &Graph, op: Op, class: &HashMap<Op, Class>) -> bool {
    let data = graph.op(op);
    let free = |v: &Value| {
        let def = graph.defining_op(*v).map(|(def, _)| def);
        def.is_some_and(|d| class[&d] == Class::Free && graph.op(d).primitive.lowering() != Lowering::View)
    };
    data.results.iter().all(|&r| graph.ty(r).rank() == 0) && data.operands.iter().all(free)
}

fn without_ones(graph: &Graph, v: Value) -> Shape {
    graph.ty(v).shape.iter().filter(|d| !d.is(1)).cloned().collect()
}

/// True for a view of all elements of its operand in the same row-major order.
fn is_alias(graph: &Graph, op: Op) -> bool {
    matches!(graph.op(op).primitive, ir::Primitive::Reshape(_))
}
