//! Iteration spaces: whether a member fits a group.
//!
//! A group that reduces computes, for each point of its kept axes, passes over the reduced axes. A member of it is
//! computed at one index per point of the space (its level), so it may read another member that depends on a reduction
//! only at that member's own index. Members that depend on no reduction of the group can be computed anywhere.

use super::{Level, Partition};
use ir::dim::Atom;
use ir::{Axes, Dim, Graph, Lowering, Op, Ranges, Shape, Symbol, Value};
use smallvec::SmallVec;

pub(super) type IndexVec = SmallVec<[Dim; 4]>;

/// How a member would stand in a group.
pub(super) struct Fit {
    pub level: Level,
    pub space: Shape,
    pub reduced: Option<Axes>,
    pub tainted: bool,
    /// The group's space changes to the member's; earlier members are only read through it.
    pub retarget: bool,
}

/// The space of a group that holds only this op.
pub(super) fn own_space(graph: &Graph, op: Op) -> (Shape, Option<Axes>) {
    let data = graph.op(op);
    match data.primitive.lowering() {
        Lowering::Reduce(_) => {
            let axes = Axes::from_slice(data.primitive.reduced_axes());
            (graph.ty(data.operands[0]).shape.clone(), Some(axes))
        }
        // A loop may have no results, and effects alone.
        _ => (data.results.first().map_or_else(Shape::scalar, |&v| graph.ty(v).shape.clone()), None),
    }
}

impl Partition<'_> {
    pub(super) fn fit(&self, op: Op, g: usize) -> Result<Fit, &'static str> {
        let (own, own_reduced) = own_space(self.graph, op);
        let unit = &self.units[g];
        match (&unit.reduced, own_reduced) {
            (None, own_reduced) => {
                let level = if own_reduced.is_some() { Level::Kept } else { Level::Full };
                let tainted = own_reduced.is_some();
                let retarget = own != unit.space;
                if retarget && !self.may_retarget(op, g, &own) {
                    return Err("the iteration spaces differ");
                }
                Ok(Fit { level, space: own, reduced: own_reduced, tainted, retarget })
            }
            (Some(axes), Some(own_axes)) => {
                if own != unit.space || *axes != own_axes {
                    return Err("the group reduces over other axes");
                }
                if !self.aligned(op, g, Level::Kept) {
                    return Err("a reduction of the group is read at another index");
                }
                Ok(Fit { level: Level::Kept, space: own, reduced: Some(own_axes), tainted: true, retarget: false })
            }
            (Some(axes), None) => {
                let kept = unit.space.without(axes);
                let ones: Shape = (0..unit.space.rank())
                    .map(|i| if axes.contains(&i) { Dim::from(1) } else { unit.space[i].clone() })
                    .collect();
                let levels = [(Level::Full, &unit.space), (Level::Kept, &kept), (Level::KeptOnes, &ones)];
                let mut reason = "the iteration spaces differ";
                for (level, shape) in levels {
                    if own == *shape {
                        if self.aligned(op, g, level) {
                            let tainted = self.reads_tainted(op, g);
                            let reduced = Some(axes.clone());
                            return Ok(Fit { level, space: unit.space.clone(), reduced, tainted, retarget: false });
                        }
                        reason = "a reduction of the group is read at another index";
                    }
                }
                Err(reason)
            }
        }
    }

    /// True if everything in a loop group is read by `op` alone, and computing it once per point of the new space
    /// does not cost more than writing and reading it would.
    fn may_retarget(&self, op: Op, g: usize, new: &Shape) -> bool {
        let unit = &self.units[g];
        let mut own = unit.ops.iter().flat_map(|&m| self.graph.op(m).results.iter());
        let read_only_here = own.all(|v| {
            let readers = self.readers.get(v).map(Vec::as_slice).unwrap_or_default();
            readers
                .iter()
                .all(|r| r.is_some_and(|r| r == op || self.unit_of.get(&r).is_some_and(|&u| self.find(u) == g)))
        });
        if !read_only_here {
            return false;
        }
        let no_larger = match (new.known(), unit.space.known()) {
            (Some(a), Some(b)) => a.iter().product::<usize>() <= b.iter().product::<usize>(),
            _ => new.numel() == unit.space.numel(),
        };
        no_larger || unit.ops.len() <= 4 && unit.ops.iter().all(|&m| self.is_cheap(m))
    }

    fn is_cheap(&self, op: Op) -> bool {
        let data = self.graph.op(op);
        match data.primitive.lowering() {
            Lowering::Pointwise => {
                let mut probe = ir::kernel::KernelBuilder::new("");
                let operands: Vec<_> =
                    data.operands.iter().map(|&v| probe.constant(ir::Scalar::zero(self.graph.ty(v).dtype))).collect();
                // 16-bit floats have no scalar code before legalisation.
                if data.operands.iter().any(|&v| self.graph.ty(v).dtype.is_half()) {
                    return false;
                }
                data.primitive.scalar(&mut probe, &operands);
                probe.cost() <= 2
            }
            Lowering::View | Lowering::Generate => true,
            _ => false,
        }
    }

    fn reads_tainted(&self, op: Op, g: usize) -> bool {
        self.graph
            .op(op)
            .operands
            .iter()
            .any(|&v| self.sources_of(v).iter().any(|s| self.tainted.contains(s) && self.unit_of_value(*s) == Some(g)))
    }

    /// True if `op`, computed at `level` of group `g`, reads the tainted members of `g` at their own indices.
    fn aligned(&self, op: Op, g: usize, level: Level) -> bool {
        self.reads_tainted_aligned(op, g, g, level)
    }

    /// True if the members of `g` read the tainted members of `h` at their own indices; the groups have one space.
    pub(super) fn reads_aligned(&self, g: usize, h: usize) -> bool {
        self.units[g].ops.iter().all(|&op| {
            let level = self.level[&self.graph.op(op).results[0]];
            if level == Level::Pulled {
                return !self.reads_tainted(op, h);
            }
            self.reads_tainted_aligned(op, g, h, level)
        })
    }

    fn reads_tainted_aligned(&self, op: Op, g: usize, owner: usize, level: Level) -> bool {
        if !self.reads_tainted(op, owner) {
            return true;
        }
        let space = &self.units[owner].space;
        let Some(axes) = self.units[owner].reduced.as_ref().or(self.units[g].reduced.as_ref()) else { return true };
        let mut walk = Walk::new(self, owner, space, axes);
        let at = match self.graph.op(op).primitive.lowering() {
            Lowering::Reduce(_) => walk.full.clone(),
            _ => walk.canonical(level),
        };
        walk.reads(op, &at)
    }
}

/// Follows reads through free ops, with the index at each.
pub(super) struct Walk<'a> {
    p: &'a Partition<'a>,
    owner: usize,
    ranges: Ranges,
    full: IndexVec,
    axes: &'a Axes,
    fresh: u32,
}

impl<'a> Walk<'a> {
    /// Over a space whose axes are named `$i0`, `$i1` and so on.
    pub(super) fn new(p: &'a Partition<'a>, owner: usize, space: &Shape, axes: &'a Axes) -> Walk<'a> {
        let mut walk = Walk { p, owner, ranges: Ranges::new(), full: IndexVec::new(), axes, fresh: 0 };
        for (i, extent) in space.iter().enumerate() {
            if extent.is(1) {
                walk.full.push(Dim::from(0));
            } else {
                let variable = Symbol::new(&format!("$i{i}"));
                walk.ranges.declare(variable.clone(), extent.clone());
                walk.full.push(Dim::from(Atom::Symbol(variable)));
            }
        }
        walk
    }

    /// The index of a member at that level, for the point of the space at hand.
    pub(super) fn canonical(&self, level: Level) -> IndexVec {
        let each = self.full.iter().enumerate();
        match level {
            Level::Full | Level::Pulled => self.full.clone(),
            Level::Kept => each.filter(|(i, _)| !self.axes.contains(i)).map(|(_, d)| d.clone()).collect(),
            Level::KeptOnes => {
                each.map(|(i, d)| if self.axes.contains(&i) { Dim::from(0) } else { d.clone() }).collect()
            }
        }
    }

    /// The values that `op` reads through free ops, and where, for its element at `at`.
    pub(super) fn sources(&mut self, op: Op, at: &IndexVec) -> Vec<(Value, IndexVec)> {
        let mut found = Vec::new();
        let mut stack: Vec<(Value, IndexVec)> = self.operands(op, at);
        while let Some((v, index)) = stack.pop() {
            if self.p.sources_of(v).as_slice() == [v] {
                found.push((v, index));
            } else {
                let (op, _) = self.p.graph.defining_op(v).expect("a free value has an op");
                stack.extend(self.operands(op, &index));
            }
        }
        found
    }

    fn reads(&mut self, op: Op, at: &IndexVec) -> bool {
        for (v, index) in self.sources(op, at) {
            if !self.p.tainted.contains(&v) || self.p.unit_of_value(v) != Some(self.owner) {
                continue;
            }
            let level = self.p.level[&v];
            let own = self.canonical(level);
            let fits = match level {
                // Along the reduced axes a full member may be recomputed anywhere.
                Level::Full => {
                    index.len() == own.len() && (0..own.len()).all(|i| self.axes.contains(&i) || index[i] == own[i])
                }
                Level::Pulled => false,
                Level::Kept | Level::KeptOnes => index == own,
            };
            if !fits {
                return false;
            }
        }
        true
    }

    /// Which elements of its operands an op reads for the element at `index` (for a reduction, of its operand).
    fn operands(&mut self, op: Op, index: &IndexVec) -> Vec<(Value, IndexVec)> {
        let graph = self.p.graph;
        let data = graph.op(op);
        match data.primitive.lowering() {
            Lowering::View => {
                let types: Vec<&ir::Type> = data.operands.iter().map(|&v| graph.ty(v)).collect();
                let view = data.primitive.view(&types, graph.ty(data.results[0]), index, &self.ranges);
                view.pieces.into_iter().map(|p| (data.operands[p.operand], p.index)).collect()
            }
            Lowering::Gather => {
                let at = data.primitive.indexing().expect("a gather says what it indexes");
                let count = graph.ty(data.operands[1]).rank() - at.batch;
                let mut indices: IndexVec = index[..at.batch].into();
                indices.extend(index[at.axis..at.axis + count].iter().cloned());
                let gathered = Symbol::new(&format!("$f{}", self.fresh));
                self.fresh += 1;
                self.ranges.declare(gathered.clone(), graph.ty(data.operands[0]).shape[at.axis].clone());
                let mut read: IndexVec = index[..at.axis].into();
                read.push(Dim::from(Atom::Symbol(gathered)));
                read.extend(index[at.axis + count..].iter().cloned());
                vec![(data.operands[1], indices), (data.operands[0], read)]
            }
            _ => data.operands.iter().map(|&v| (v, index.clone())).collect(),
        }
    }
}
