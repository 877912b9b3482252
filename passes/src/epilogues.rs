//! Products together with what becomes of their sums.

use crate::lower::epilogue::find;
use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::ops::region::{Fused, FusionKind};
use ir::origin::OriginId;
use ir::{Graph, Lowering, Op, Region, Value};
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};

/// Puts a product into the group that alone reads it, where that group adds a bias, maybe with an activation, which the target's
/// library of products does before sums are rounded. 16-bit floats are rounded once less for that, unless `strict16`.
#[derive(Clone, Copy, Debug)]
pub struct FuseEpilogues;

impl Pass for FuseEpilogues {
    fn name(&self) -> &'static str {
        "epilogues"
    }
    fn about(&self) -> &'static str {
        "needs fused groups; on targets whose library of products takes a bias and an activation, it gets them"
    }
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError> {
        if !cx.options.grain.epilogues {
            return Ok(false);
        }
        let mut changed = false;
        for block in graph.blocks() {
            let products = only_read_once(graph, block);
            if products.is_empty() {
                continue;
            }
            let mut notes = Vec::new();
            changed |= graph.rewrite(block, |graph, op| match products_of(graph, op, &products) {
                Some((product, at))
                    if !(cx.options.strict16 && graph.ty(graph.op(op).operands[at]).dtype.is_half()) =>
                {
                    let Some(joined) = join(graph, block, op, product, at) else { return Rewrite::Keep };
                    notes.push(graph.op(op).origins.first().map(|&o| graph.origins.get(o).to_string()));
                    Rewrite::Replace([joined].into_iter().collect())
                }
                _ => Rewrite::Keep,
            });
            for place in notes {
                cx.note(format!("a product gets an epilogue{}", place.map(|p| format!(" ({p})")).unwrap_or_default()));
            }
        }
        Ok(changed)
    }
}

/// Products of a block whose results one op reads, once, and nothing else does.
fn only_read_once(graph: &Graph, block: Region) -> HashSet<Op> {
    let mut uses: HashMap<Value, usize> = HashMap::new();
    let data = graph.region(block);
    let read = data.ops.iter().flat_map(|&op| graph.op(op).operands.iter().copied());
    read.chain(data.yields.iter().copied()).for_each(|v| *uses.entry(v).or_default() += 1);
    let is_product = |&op: &Op| graph.op(op).primitive.lowering() == Lowering::Contract;
    data.ops.iter().copied().filter(is_product).filter(|&op| uses.get(&graph.op(op).results[0]) == Some(&1)).collect()
}

/// The first of some products that a group reads, and which operand it is.
fn products_of(graph: &Graph, group: Op, products: &HashSet<Op>) -> Option<(Op, usize)> {
    let data = graph.op(group);
    if data.primitive.lowering() != Lowering::Fused {
        return None;
    }
    let product = |&v: &Value| graph.defining_op(v).map(|(op, _)| op).filter(|op| products.contains(op));
    data.operands.iter().enumerate().find_map(|(at, v)| Some((product(v)?, at)))
}

/// The result of a new group of a product and the group that reads it as the operand of that number.
fn join(graph: &mut Graph, block: Region, group: Op, product: Op, at: usize) -> Option<Value> {
    let region = graph.op(group).regions[0];
    let param = graph.region(region).params[at];
    find(graph, region, product, param)?;
    let (outer, inner) = (graph.op(group).clone(), graph.op(product).clone());
    let mut operands = inner.operands.to_vec();
    operands.extend(outer.operands.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, &v)| v));
    let joined = graph.add_region();
    let params: Vec<Value> = operands
        .iter()
        .map(|&v| graph.ty(v).clone())
        .collect::<Vec<_>>()
        .into_iter()
        .map(|ty| graph.add_param(joined, ty))
        .collect();
    let (own, others) = params.split_at(inner.operands.len());
    let mut others = others.iter().copied();
    let lost = |e| panic!("an op lost its type as it joined a product: {e}");
    let dot = graph.append(joined, inner.primitive, own, &[], &inner.origins).unwrap_or_else(lost);
    let old = graph.region(region).clone();
    let mut moved: HashMap<Value, Value> = HashMap::new();
    for (i, &p) in old.params.iter().enumerate() {
        let new = if i == at { Some(graph.op(dot).results[0]) } else { others.next() };
        moved.insert(p, new?);
    }
    for op in old.ops {
        let data = graph.op(op).clone();
        let operands: Vec<Value> = data.operands.iter().map(|v| moved[v]).collect();
        let copy = graph.append(joined, data.primitive, &operands, &[], &data.origins).unwrap_or_else(lost);
        moved.extend(data.results.into_iter().zip(graph.op(copy).results.clone()));
    }
    graph.region_mut(joined).yields = old.yields.iter().map(|v| moved[v]).collect();
    let mut seen: HashSet<OriginId> = HashSet::new();
    let origins: SmallVec<[OriginId; 2]> =
        inner.origins.into_iter().chain(outer.origins).filter(|&o| seen.insert(o)).collect();
    let fused = Fused { kind: FusionKind::Product };
    let op = graph.append(block, fused.into(), &operands, &[joined], &origins).unwrap_or_else(lost);
    Some(graph.op(op).results[0])
}
