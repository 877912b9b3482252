//! Edits of ops with regions: regions as graphs and graphs as regions, ops that become others in their place.

use super::{Definition, Graph, Op, Region, Value, ValueData, Values};
use crate::ops::Primitive;
use crate::{Type, Violation};
use std::collections::{HashMap, HashSet};

impl Graph {
    /// A region as a graph of its own: parameters are the inputs, yields the outputs. Symbols that no input gives a value
    /// stay what they are outside.
    pub fn of_region(&self, region: Region) -> Graph {
        let mut graph = Graph::new(&self.name);
        graph.symbols = self.symbols.clone();
        let root = graph.root();
        graph.copy_region(self, region, root, &mut HashMap::new());
        graph
    }

    /// Copies the root region of another graph into a new region, to be given to an op.
    pub fn region_from(&mut self, other: &Graph) -> Region {
        let region = self.add_region();
        self.copy_region(other, other.root(), region, &mut HashMap::new());
        region
    }

    /// Adds a parameter to a region in front of the one of that number.
    pub fn insert_param(&mut self, region: Region, at: usize, ty: Type) -> Value {
        let v = self.add_value(ty, Definition::Param(region, at as u32));
        self.region_mut(region).params.insert(at, v);
        let later = self.region(region).params[at + 1..].to_vec();
        for (i, p) in later.into_iter().enumerate() {
            self.values[p.at()].def = Definition::Param(region, (at + 1 + i) as u32);
        }
        v
    }

    /// Has the ops of a region read a value in the place of another, and the region yield it.
    pub fn redirect(&mut self, region: Region, from: Value, to: Value) {
        let ops = std::mem::take(&mut self.region_mut(region).ops);
        for &op in &ops {
            self.op_mut(op).operands.iter_mut().filter(|v| **v == from).for_each(|v| *v = to);
        }
        let data = self.region_mut(region);
        data.ops = ops;
        data.yields.iter_mut().filter(|v| **v == from).for_each(|v| *v = to);
    }

    /// Makes an op another one in the same place. `kept` says which of the new results are old ones, by number; others are
    /// new values. Operands may be defined later: [`Graph::sort`] then brings the region in order.
    pub fn replace_op(
        &mut self,
        op: Op,
        primitive: Primitive,
        operands: &[Value],
        regions: &[Region],
        kept: &[(usize, Value)],
    ) -> Result<(), Violation> {
        let types = self.infer(&primitive, operands, regions)?;
        let mut results = Values::new();
        for (i, ty) in types.into_iter().enumerate() {
            let def = Definition::Result(op, i as u32);
            results.push(match kept.iter().find(|(at, _)| *at == i) {
                Some(&(_, old)) => {
                    self.values[old.at()] = ValueData { ty, def };
                    old
                }
                None => self.add_value(ty, def),
            });
        }
        let data = self.op_mut(op);
        (data.primitive, data.results) = (primitive, results);
        (data.operands, data.regions) = (operands.into(), regions.into());
        Ok(())
    }

    /// Brings the ops of a region in topological order, otherwise as they are.
    pub fn sort(&mut self, region: Region) {
        let ops = std::mem::take(&mut self.region_mut(region).ops);
        let here: HashSet<Op> = ops.iter().copied().collect();
        let mut sorted: Vec<Op> = Vec::with_capacity(ops.len());
        let mut done: HashSet<Op> = HashSet::new();
        let mut stack: Vec<(Op, usize)> = Vec::new();
        for &op in &ops {
            stack.push((op, 0));
            while let Some((op, next)) = stack.pop() {
                if done.contains(&op) {
                    continue;
                }
                match self.op(op).operands.get(next) {
                    Some(&v) => {
                        stack.push((op, next + 1));
                        let before = self.defining_op(v).map(|(before, _)| before);
                        stack.extend(before.filter(|b| here.contains(b) && !done.contains(b)).map(|b| (b, 0)));
                    }
                    None => {
                        done.insert(op);
                        sorted.push(op);
                    }
                }
            }
        }
        self.region_mut(region).ops = sorted;
    }
}
