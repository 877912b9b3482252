//! Branches and loops: steps with blocks of steps inside.

use super::{LowerError, Lowerer, schedule};
use ir::ops::Control;
use ir::program::{Block, Branches, BufferId, Carried, Elements, ScanLoop, Step, StepKind, Storage, WhileLoop};
use ir::{Op, Region, Value};
use std::collections::HashSet;

impl Lowerer<'_> {
    /// Lowers an op of control flow. What its regions take are the buffers of its operands, or moving ones.
    pub(super) fn control(&mut self, op: Op) -> Result<(), LowerError> {
        let data = self.graph.op(op);
        let control = data.primitive.control().expect("control flow says what it does");
        let operand: Vec<BufferId> = data.operands.iter().map(|v| self.buffer_of[v]).collect();
        let kind = match &control {
            Control::Switch => {
                let mut blocks = Vec::new();
                for &region in &data.regions {
                    let params = &self.graph.region(region).params;
                    self.buffer_of.extend(params.iter().copied().zip(operand[1..].iter().copied()));
                    blocks.push(self.written_block(op, region)?);
                }
                let results = data.results.iter().map(|&v| self.new_buffer(v)).collect();
                StepKind::Switch(Branches { choice: operand[0], blocks, results })
            }
            Control::While { constants } => {
                let [condition, body] = [data.regions[0], data.regions[1]];
                let before = self.enter_loop(op, body, &control);
                let outer = self.graph.region(body).params.iter().map(|p| self.buffer_of[p]).collect::<Vec<_>>();
                self.buffer_of.extend(self.graph.region(condition).params.iter().copied().zip(outer));
                let condition = self.block(condition)?;
                let body = self.written_block(op, body)?;
                let carried = self.carry(op, &operand[*constants..], &before, &body.yields);
                StepKind::While(WhileLoop { condition, body, carried })
            }
            Control::Scan(s) => {
                let region = data.regions[0];
                let before = self.enter_loop(op, region, &control);
                let params = self.graph.region(region).params.clone();
                let reads_number = self.graph.region(region).ops.iter();
                let mut used = reads_number.flat_map(|&op| &self.graph.op(op).operands);
                let number = (used.any(|&v| v == params[0]) || self.graph.region(region).yields.contains(&params[0]))
                    .then(|| self.new_buffer(params[0]));
                let first = s.constants + s.carried;
                let scanned: Vec<Elements> = (first..operand.len())
                    .map(|i| Elements { whole: operand[i], element: self.moving(params[i + 1]) })
                    .collect();
                let body = self.written_block(op, region)?;
                let carried = self.carry(op, &operand[s.constants..first], &before, &body.yields[..s.carried]);
                let stacked = data.results[s.carried..].iter().zip(&body.yields[s.carried..]);
                let stacked = stacked.map(|(&v, &element)| Elements { whole: self.new_buffer(v), element }).collect();
                let (length, reverse) = (s.length.clone(), s.reverse);
                StepKind::Scan(ScanLoop { length, reverse, number, body, carried, scanned, stacked })
            }
            Control::Call(_) | Control::CustomVjp | Control::CustomJvp => {
                return Err(LowerError::Bug(format!("{} was not inlined", data.primitive.name())));
            }
        };
        self.push(op, data.primitive.name().into(), kind);
        Ok(())
    }

    fn moving(&mut self, v: Value) -> BufferId {
        self.add_buffer(v, Storage::Moving)
    }

    /// Gives constants of a loop the buffers of its operands, and carried values moving ones, which it yields.
    fn enter_loop(&mut self, op: Op, body: Region, control: &Control) -> Vec<BufferId> {
        let data = self.graph.op(op);
        let carried: HashSet<usize> = (0..data.results.len()).filter_map(|r| control.carries(r)).collect();
        let mut before = Vec::new();
        for (p, &param) in self.graph.region(body).params.iter().enumerate() {
            match control.operand(p) {
                Some(i) if carried.contains(&i) => before.push(self.moving(param)),
                Some(i) => {
                    self.buffer_of.insert(param, self.buffer_of[&data.operands[i]]);
                }
                None => {}
            }
        }
        before
    }

    /// What a loop carries, with the two places for each value.
    fn carry(&mut self, op: Op, initial: &[BufferId], before: &[BufferId], after: &[BufferId]) -> Vec<Carried> {
        let results = &self.graph.op(op).results;
        let pairs = initial.iter().zip(before).zip(after).zip(results);
        pairs
            .map(|(((&initial, &before), &after), &v)| {
                let spare = self.new_buffer(v);
                let result = self.new_buffer(v);
                Carried { initial, before, after, result, spare }
            })
            .collect()
    }

    /// The steps of a region.
    fn block(&mut self, region: Region) -> Result<Block, LowerError> {
        let outer = std::mem::take(&mut self.steps);
        self.depth += 1;
        for op in schedule(self.graph, region) {
            self.op(op)?;
        }
        self.depth -= 1;
        let steps = std::mem::replace(&mut self.steps, outer);
        let yields = self.graph.region(region).yields.iter().map(|v| self.buffer_of[v]).collect();
        Ok(Block { steps, yields })
    }

    /// The steps of a region, which write what it yields to moving buffers, one for each: what is yielded twice, or comes
    /// from outside, is copied.
    fn written_block(&mut self, op: Op, region: Region) -> Result<Block, LowerError> {
        let mut block = self.block(region)?;
        let mut free: HashSet<BufferId> =
            block.steps.iter().flat_map(|step| self.program.accesses(&step.kind)[1].clone()).collect();
        for (y, &v) in block.yields.iter_mut().zip(&self.graph.region(region).yields) {
            if !free.remove(y) {
                let from = std::mem::replace(y, self.unnamed(v));
                let kind = StepKind::Copy { from, to: *y };
                block.steps.push(Step { kind, origins: self.origins(op), name: "copy".into() });
            }
            self.program.buffers[y.at()].storage = Storage::Moving;
        }
        Ok(block)
    }
}
