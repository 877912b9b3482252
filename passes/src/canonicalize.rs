//! Canonicalisation: the local rules that each op brings.

use crate::pass::{Pass, PassContext, PassError};
use crate::redirect::Redirect;
use ir::ops::{GraphEmitter, Rewriter};
use ir::{Emit, Graph, Op, Primitive, Region, Scalar, Type, Value};

/// How often rules apply to what rules have emitted, starting from one op.
const MAX_STEPS: usize = 8;

/// Applies [`canonicalize`](ir::OpDef::canonicalize) of every op, operands first, and again to what a rule emitted, at
/// most eight times over. One sweep, linear in the size of the graph.
#[derive(Clone, Copy, Debug)]
pub struct Canonicalize;

impl Pass for Canonicalize {
    fn name(&self) -> &'static str {
        "canonicalize"
    }
    fn about(&self) -> &'static str {
        "needs nothing; no local rule of an op applies, short of the bound"
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        let regions = graph.reachable_regions();
        Ok(regions.into_iter().fold(false, |changed, r| sweep(graph, r) | changed))
    }
}

fn sweep(graph: &mut Graph, region: Region) -> bool {
    let ops = std::mem::take(&mut graph.region_mut(region).ops);
    let mut kept: Vec<Op> = Vec::with_capacity(ops.len());
    let mut redirect = Redirect::default();
    let mut reads = Reads::of(graph, &ops, region);
    let mut changed = false;
    let mut waiting: Vec<(Op, usize)> = Vec::new();
    for op in ops {
        waiting.push((op, MAX_STEPS));
        while let Some((op, steps)) = waiting.pop() {
            redirect.apply(&mut graph.op_mut(op).operands);
            let data = graph.op(op);
            let &[result] = data.results.as_slice() else {
                kept.push(op);
                continue;
            };
            if steps == 0 || !data.regions.is_empty() {
                kept.push(op);
                continue;
            }
            let (primitive, operands, ty) = (data.primitive.clone(), data.operands.clone(), graph.ty(result).clone());
            let origins = data.origins.clone();
            let mut b = RuleEmitter { to: GraphEmitter { graph, region, origins }, reads: &reads };
            let new = primitive.canonicalize(&mut b, &operands, &ty);
            let emitted = std::mem::take(&mut graph.region_mut(region).ops);
            let Some(new) = new else {
                kept.push(op);
                continue;
            };
            let new = redirect.resolve(new);
            assert_eq!(*graph.ty(new), ty, "a rule of {} changed the type", primitive.name());
            reads.replace(graph, &operands, &emitted, result, new);
            redirect.set(result, new);
            changed = true;
            waiting.extend(emitted.into_iter().rev().map(|op| (op, steps - 1)));
        }
    }
    let data = graph.region_mut(region);
    data.ops = kept;
    redirect.apply(&mut data.yields);
    changed
}

/// How often each value is read by ops of a region and what that yields.
struct Reads(Vec<u32>);

impl Reads {
    fn of(graph: &Graph, ops: &[Op], region: Region) -> Reads {
        let mut reads = Reads(vec![0; graph.value_count()]);
        ops.iter().for_each(|&op| reads.add(&graph.op(op).operands));
        reads.add(&graph.region(region).yields);
        reads
    }
    fn add(&mut self, values: &[Value]) {
        values.iter().for_each(|v| *self.slot(*v) += 1);
    }
    fn slot(&mut self, v: Value) -> &mut u32 {
        if self.0.len() <= v.at() {
            self.0.resize(v.at() + 1, 0);
        }
        &mut self.0[v.at()]
    }
    /// An op with those operands goes, others come, and its result becomes another value.
    fn replace(&mut self, graph: &Graph, operands: &[Value], emitted: &[Op], result: Value, new: Value) {
        operands.iter().for_each(|v| *self.slot(*v) -= 1);
        emitted.iter().for_each(|&op| self.add(&graph.op(op).operands));
        let moved = std::mem::take(self.slot(result));
        *self.slot(new) += moved;
    }
}

/// What rules see: definitions of operands are canonical already.
struct RuleEmitter<'a> {
    to: GraphEmitter<'a>,
    reads: &'a Reads,
}

impl Emit for RuleEmitter<'_> {
    fn emit(&mut self, primitive: Primitive, operands: &[Value]) -> Value {
        self.to.emit(primitive, operands)
    }
    fn ty(&self, v: Value) -> &Type {
        self.to.ty(v)
    }
    fn inline(&mut self, graph: &Graph, arguments: &[Value]) -> Vec<Value> {
        self.to.inline(graph, arguments)
    }
}

impl Rewriter for RuleEmitter<'_> {
    fn definition(&self, v: Value) -> Option<(&Primitive, &[Value])> {
        let data = self.to.graph.op(self.to.graph.defining_op(v)?.0);
        Some((&data.primitive, &data.operands))
    }
    fn is_read_once(&self, v: Value) -> bool {
        self.reads.0.get(v.at()) == Some(&1)
    }
    fn splat(&self, v: Value) -> Option<Scalar> {
        self.definition(v)?.0.splat()
    }
}
