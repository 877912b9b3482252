//! Branches and loops for one example after the other: where an op has effects, or may fail and no mask keeps it from that,
//! it must run for those examples alone that come by.

use super::{Batched, Batcher, Tracked, at_axis, emitter, tracked};
use ir::ops::control::Scan;
use ir::{DType, Graph, Op, Region, Shape, Type, Value};
use std::collections::HashMap;

/// True if running the ops of a region for examples that do not come by would be seen.
pub(super) fn is_seen(graph: &Graph, region: Region) -> bool {
    graph.region(region).ops.iter().any(|&op| {
        let data = graph.op(op);
        let traits = data.primitive.traits();
        !traits.pure
            || traits.fallible && data.primitive.indexing().is_none()
            || data.regions.iter().any(|&r| is_seen(graph, r))
    })
}

/// A loop over the examples, with the op as it was in its body.
pub(super) fn one_by_one(b: &mut Batcher<'_>, op: Op, into: Region, operands: &[Tracked]) -> Batched {
    let size = b.size.clone();
    let data = b.from.op(op);
    let found = (data.primitive.name(), data.origins.iter().map(|&o| b.from.origins.get(o).clone()).collect());
    // A body is batched more than once where it has to be found out what of it differs.
    if !b.apart.contains(&found) {
        b.apart.push(found);
    }
    let (scanned, common): (Vec<usize>, Vec<usize>) = (0..operands.len()).partition(|&i| operands[i].axis.is_some());
    let mut e = emitter(b, op, into);
    let mut values: Vec<Value> = common.iter().map(|&i| operands[i].value).collect();
    values.extend(scanned.iter().map(|&i| at_axis(&mut e, operands[i], 0, &size)));
    let region = b.to.add_region();
    b.to.add_param(region, Type::new(DType::I64, Shape::scalar()));
    let mut inside: HashMap<Value, Value> = HashMap::new();
    for i in common.iter().chain(&scanned).copied() {
        let outer = b.from.op(op).operands[i];
        let ty = b.from.ty(outer).clone();
        inside.insert(outer, b.to.add_param(region, ty));
    }
    let from = b.from;
    let one = b.to.inline_op(from, op, &|v| inside[&v], &mut b.origins);
    let yields = b.to.op(one).results.to_vec();
    let body = b.to.region_mut(region);
    body.ops.push(one);
    body.yields = yields;
    let scan = Scan { length: size, constants: common.len(), carried: 0, reverse: false };
    let mut e = emitter(b, op, into);
    let new = e.append(scan.into(), &values, &[region]);
    let results = e.graph.op(new).results.clone();
    Ok(tracked(&results, results.iter().map(|_| Some(0))))
}
