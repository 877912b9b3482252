//! Batching as a graph transform: many runs of a graph as one.
//!
//! [`batch`] walks a graph and lets the rule of each op that reads something batched emit what computes the op for all
//! examples at once ([`OpDef::batch`](ir::OpDef::batch)). What depends on no batched input is copied as it is, and so
//! computed once for all of them.

mod control;

use ir::graph::Values;
use ir::ops::GraphEmitter;
use ir::origin::OriginId;
use ir::{Axes, Dim, Emit, EmitExt, Graph, Lowering, Op, Origin, Region, Value};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt;

/// A batched graph.
#[derive(Clone, Debug)]
pub struct Batched {
    /// The graph. Its inputs are those of the graph that was batched, with the extra axis where it was asked for.
    pub graph: Graph,
    /// For each output which axis is the extra one. Those without are the same for all examples.
    pub outputs: Vec<Option<usize>>,
    /// Branches and loops that run for one example after the other, where running for all at once would be seen: name, and
    /// where it was recorded.
    pub apart: Vec<(&'static str, Vec<Origin>)>,
}

/// An op that cannot be batched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbatchable {
    /// Name of the op.
    pub op: &'static str,
    /// Why.
    pub reason: String,
    /// Where it was recorded.
    pub origins: Vec<Origin>,
}

impl fmt::Display for Unbatchable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        if let Some(origin) = self.origins.first() {
            write!(f, " at {origin}")?;
        }
        write!(f, ": {}", self.reason)
    }
}
impl std::error::Error for Unbatchable {}

/// The graph for `size` examples. Where `axes` gives one, an input has an axis of that extent inserted there, with an
/// example at each position of it; other inputs are common to all examples.
///
/// # Errors
/// If an op cannot be batched.
///
/// # Panics
/// If there is not one entry of `axes` for each input, or an axis is beyond the rank of its input.
pub fn batch(graph: &Graph, axes: &[Option<usize>], size: &Dim) -> Result<Batched, Unbatchable> {
    assert_eq!(axes.len(), graph.inputs().len(), "one axis or none for each input");
    let mut to = Graph::new(&graph.name);
    to.symbols = graph.symbols.clone();
    let mut batcher = Batcher { from: graph, to, size: size.clone(), origins: HashMap::new(), apart: Vec::new() };
    let mut params = Vec::new();
    for (&v, &axis) in graph.inputs().iter().zip(axes) {
        let mut ty = graph.ty(v).clone();
        if let Some(axis) = axis {
            ty.shape.insert(axis, size.clone());
        }
        params.push(Tracked { value: batcher.to.add_input(ty), axis });
    }
    let root = batcher.to.root();
    let yields = batcher.region(graph.root(), root, &params)?;
    batcher.to.set_outputs(yields.iter().map(|t| t.value).collect());
    let outputs = yields.iter().map(|t| t.axis).collect();
    Ok(Batched { graph: batcher.to, outputs, apart: batcher.apart })
}

/// A value of the new graph, and which axis is the extra one, if it has one.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    value: Value,
    axis: Option<usize>,
}

/// The value with its extra axis at a place; one without is repeated along a new axis.
fn at_axis(e: &mut GraphEmitter<'_>, t: Tracked, to: usize, size: &Dim) -> Value {
    let rank = e.ty(t.value).rank();
    let Some(axis) = t.axis else {
        let mut shape = e.ty(t.value).shape.clone();
        shape.insert(to, size.clone());
        let dims: Axes = (0..=rank).filter(|&a| a != to).collect();
        return e.broadcast_in_dim(t.value, &shape, &dims);
    };
    let mut permutation: Axes = (0..rank).filter(|&a| a != axis).collect();
    permutation.insert(to, axis);
    e.transpose(t.value, &permutation)
}

/// Builds a batched graph.
struct Batcher<'a> {
    from: &'a Graph,
    to: Graph,
    size: Dim,
    /// Origins of the old graph in the new one.
    origins: HashMap<OriginId, OriginId>,
    apart: Vec<(&'static str, Vec<Origin>)>,
}

impl Batcher<'_> {
    /// Batches a region of the old graph into one of the new graph, whose parameters exist already; yields what its
    /// results became.
    fn region(&mut self, r: Region, into: Region, params: &[Tracked]) -> Result<Vec<Tracked>, Unbatchable> {
        let from = self.from;
        let data = from.region(r);
        let mut known: HashMap<Value, Tracked> = data.params.iter().copied().zip(params.iter().copied()).collect();
        for &op in &data.ops {
            let operands: SmallVec<[Tracked; 4]> = from.op(op).operands.iter().map(|v| known[v]).collect();
            let results = if operands.iter().all(|t| t.axis.is_none()) {
                self.copied(op, into, &operands)
            } else if from.op(op).regions.is_empty() {
                self.by_rule(op, into, &operands)?
            } else {
                control::batch(self, op, into, &operands)?
            };
            known.extend(from.op(op).results.iter().copied().zip(results));
        }
        Ok(data.yields.iter().map(|v| known[v]).collect())
    }

    /// The op as it was, for operands that are the same for all examples.
    fn copied(&mut self, op: Op, into: Region, operands: &[Tracked]) -> SmallVec<[Tracked; 1]> {
        let of: HashMap<Value, Value> =
            self.from.op(op).operands.iter().copied().zip(operands.iter().map(|t| t.value)).collect();
        let new = self.to.inline_op(self.from, op, &|v| of[&v], &mut self.origins);
        self.to.region_mut(into).ops.push(new);
        self.to.op(new).results.iter().map(|&value| Tracked { value, axis: None }).collect()
    }

    /// What the op's rule makes of it.
    fn by_rule(&mut self, op: Op, into: Region, operands: &[Tracked]) -> Result<SmallVec<[Tracked; 1]>, Unbatchable> {
        let data = self.from.op(op);
        self.possible(op)?;
        if let Some(kept) = self.in_place(op, into, operands) {
            return Ok(SmallVec::from_iter([kept]));
        }
        let origins = self.origins_of(op);
        let values: Values = operands.iter().map(|t| t.value).collect();
        let axes: SmallVec<[Option<usize>; 4]> = operands.iter().map(|t| t.axis).collect();
        let mut b = GraphEmitter { graph: &mut self.to, region: into, origins };
        let results = data.primitive.batch_all(&mut b, &values, &axes, &self.size);
        debug_assert_eq!(data.results.len(), results.len(), "batch of {}", data.primitive.name());
        let mut pairs = data.results.iter().zip(&results);
        debug_assert!(pairs.all(|(&old, &new)| self.fits(old, new, 0)), "batch of {}", data.primitive.name());
        Ok(results.into_iter().map(|value| Tracked { value, axis: Some(0) }).collect())
    }

    /// Where the extra axis is not in front, pointwise ops and reductions leave it where it is.
    fn in_place(&mut self, op: Op, into: Region, operands: &[Tracked]) -> Option<Tracked> {
        let data = self.from.op(op);
        let axis = operands.iter().filter_map(|t| t.axis).find(|&axis| axis > 0)?;
        let (primitive, to) = match data.primitive.lowering() {
            Lowering::Pointwise => (data.primitive.clone(), axis),
            Lowering::Reduce(_) => {
                let over: Axes =
                    data.primitive.reduced_axes().iter().map(|&a| if a < axis { a } else { a + 1 }).collect();
                let before = over.iter().filter(|&&a| a < axis).count();
                (data.primitive.with_axes(over), axis - before)
            }
            _ => return None,
        };
        let (origins, size) = (self.origins_of(op), self.size.clone());
        let mut b = GraphEmitter { graph: &mut self.to, region: into, origins };
        let values: Values = operands.iter().map(|&t| at_axis(&mut b, t, axis, &size)).collect();
        let value = b.emit(primitive, &values);
        debug_assert!(self.fits(data.results[0], value, to), "batch of {} in place", data.primitive.name());
        Some(Tracked { value, axis: Some(to) })
    }

    /// An error if operands or results are too much of one thing for all examples.
    fn possible(&self, op: Op) -> Result<(), Unbatchable> {
        let data = self.from.op(op);
        for &v in data.operands.iter().chain(&data.results) {
            let mut ty = self.from.ty(v).clone();
            ty.shape.insert(0, self.size.clone());
            let rule = ty.shape.too_complex();
            let rule = rule.or_else(|| (!ty.is_addressable()).then(|| "more bytes than any memory has".to_string()));
            if let Some(rule) = rule {
                return Err(self.refused(op, format!("for {} examples it takes {rule}: {ty}", self.size)));
            }
        }
        Ok(())
    }

    fn origins_of(&mut self, op: Op) -> SmallVec<[OriginId; 2]> {
        let (from, to, known) = (self.from, &mut self.to, &mut self.origins);
        let new = |&o: &OriginId| *known.entry(o).or_insert_with(|| to.origins.intern(from.origins.get(o).clone()));
        from.op(op).origins.iter().map(new).collect()
    }

    /// True if the batched value is one for each example of the old one, along that axis.
    fn fits(&self, old: Value, batched: Value, axis: usize) -> bool {
        let (mut shape, new) = (self.from.ty(old).shape.clone(), self.to.ty(batched));
        shape.insert(axis, self.size.clone());
        new.dtype == self.from.ty(old).dtype && new.shape == shape
    }

    /// The error of an op.
    fn refused(&self, op: Op, reason: impl Into<String>) -> Unbatchable {
        let data = self.from.op(op);
        let origins = data.origins.iter().map(|&o| self.from.origins.get(o).clone()).collect();
        Unbatchable { op: data.primitive.name(), reason: reason.into(), origins }
    }
}
