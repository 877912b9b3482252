//! The verifier of graphs.
//!
//! Invariants, by number as errors name them:
//!
//! 1. Every op stands in exactly one region, once; every region but the root belongs to exactly one op.
//! 2. Operands and yields are parameters of their region or results of earlier ops in it (regions are isolated).
//! 3. The definition recorded for a value is the place where it is defined.
//! 4. Result types are what the op's type rule says.
//! 5. Every op has at least one origin.
//! 6. Every symbol in a type occurs as a bare dimension of an input, so that a call gives it a value.
//! 7. Declared symbols are distinct, text can hold their names, and their bounds are in order.
//! 8. At [`Stage::Fused`], the root region and those of control flow hold only fused groups, solo ops and reshapes.
//!
//! That extents are not negative and slices stay in their axes for the symbols' values is checked
//! [when they are known](crate::program::shape_checks).

use crate::graph::{Definition, Graph, Op, Region, Value};
use crate::{Dim, Lowering, Primitive, Symbol};
use std::collections::HashSet;
use std::fmt;

/// How far a graph has come; later stages allow fewer ops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// As recorded, or between passes.
    Traced,
    /// After fusion.
    Fused,
}

/// One broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Its number in the list of the [module](self).
    pub invariant: u32,
    /// What is wrong, with the op and its origin.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.message)
    }
}

/// Checks every invariant and reports all that are broken.
pub fn verify(graph: &Graph, stage: Stage) -> Result<(), Vec<Broken>> {
    let mut v = Verifier { graph, broken: Vec::new(), ops: HashSet::new(), regions: HashSet::new() };
    v.regions.insert(graph.root());
    v.region(graph.root());
    v.symbols();
    if stage == Stage::Fused {
        for &op in graph.blocks().iter().flat_map(|&r| &graph.region(r).ops) {
            let primitive = &graph.op(op).primitive;
            let kind = primitive.lowering();
            let left = matches!(kind, Lowering::Fused | Lowering::Contract | Lowering::Scatter(_) | Lowering::Constant)
                || matches!(kind, Lowering::Cumulative | Lowering::Sort | Lowering::Opaque)
                || matches!(kind, Lowering::Control | Lowering::Fence)
                || matches!(primitive, Primitive::Reshape(_));
            if !left {
                v.report(8, op, "stands outside a fused group".into());
            }
        }
    }
    if v.broken.is_empty() { Ok(()) } else { Err(v.broken) }
}

struct Verifier<'a> {
    graph: &'a Graph,
    broken: Vec<Broken>,
    ops: HashSet<Op>,
    regions: HashSet<Region>,
}

impl Verifier<'_> {
    fn report(&mut self, invariant: u32, op: Op, what: String) {
        let data = self.graph.op(op);
        let origin = data.origins.first().map(|&o| format!(" ({})", self.graph.origins.get(o))).unwrap_or_default();
        let message = format!("`{}`{origin} {what}", data.primitive.name());
        self.broken.push(Broken { invariant, message });
    }

    fn region(&mut self, region: Region) {
        let graph = self.graph;
        let data = graph.region(region);
        let mut visible: HashSet<Value> = HashSet::new();
        for (i, &p) in data.params.iter().enumerate() {
            if graph.value(p).def != Definition::Param(region, i as u32) {
                let message = format!("parameter {i} of a region is recorded as {:?}", graph.value(p).def);
                self.broken.push(Broken { invariant: 3, message });
            }
            visible.insert(p);
        }
        for &op in &data.ops {
            if !self.ops.insert(op) {
                self.report(1, op, "stands in two places".into());
                continue;
            }
            let data = graph.op(op);
            for (i, v) in data.operands.iter().enumerate() {
                if !visible.contains(v) {
                    self.report(2, op, format!("reads operand {i}, which is not defined before it in its region"));
                }
            }
            for &r in &data.regions {
                if self.regions.insert(r) {
                    self.region(r);
                } else {
                    self.report(1, op, "has a region that another op has too".into());
                }
            }
            for (i, &r) in data.results.iter().enumerate() {
                if graph.value(r).def != Definition::Result(op, i as u32) {
                    self.report(3, op, format!("has result {i}, recorded as {:?}", graph.value(r).def));
                }
                visible.insert(r);
            }
            match graph.infer(&data.primitive, &data.operands, &data.regions) {
                Err(e) => self.report(4, op, format!("breaks its type rule: {e}")),
                Ok(types) => {
                    let stored: Vec<_> = data.results.iter().map(|&r| graph.ty(r)).collect();
                    if !stored.iter().copied().eq(types.iter()) {
                        self.report(4, op, format!("has result types {stored:?}, its rule says {types:?}"));
                    }
                }
            }
            if data.origins.is_empty() {
                self.report(5, op, "has no origin".into());
            }
        }
        if data.yields.iter().any(|v| !visible.contains(v)) {
            let message = "a region yields a value that is not defined in it".into();
            self.broken.push(Broken { invariant: 2, message });
        }
    }

    fn symbols(&mut self) {
        let graph = self.graph;
        for (i, s) in graph.symbols.iter().enumerate() {
            let message = match () {
                _ if graph.symbols[..i].iter().any(|t| t.symbol == s.symbol) => "is declared twice".into(),
                _ if !Symbol::is_valid(s.symbol.name()) => "is not a name that text can hold".into(),
                _ if s.min > s.max => format!("has bounds {}..={}", s.min, s.max),
                _ => continue,
            };
            self.broken.push(Broken { invariant: 7, message: format!("symbol {:?} {message}", s.symbol.name()) });
        }
        let bare: HashSet<Dim> =
            graph.inputs().iter().flat_map(|&v| graph.ty(v).shape.iter().filter(|d| !d.is_static()).cloned()).collect();
        for &op in &self.ops.clone() {
            for &r in &graph.op(op).results {
                let missing =
                    graph.ty(r).shape.iter().flat_map(Dim::symbols).find(|s| !bare.contains(&Dim::symbol(s.name())));
                if let Some(s) = missing {
                    self.report(6, op, format!("has symbol {s} in its type, which no input gives a value"));
                }
            }
        }
    }
}
