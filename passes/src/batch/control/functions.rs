//! Batching of functions whose derivatives the user gave: all of their regions, for the same examples.

use super::{Batched, Batcher, Tracked, at_axis, emitter, extended, graph_into, parameter, set_yields, tracked};
use ir::ops::control::{CustomJvp, CustomVjp};
use ir::{EmitExt, Graph, Op, Region, Type, Value};

fn is_float(graph: &Graph, v: Value) -> bool {
    graph.ty(v).dtype.is_float()
}

/// Parameters of a region for one example's types, batched along a first axis where that is said.
fn params(b: &mut Batcher<'_>, region: Region, types: &[Type], batched: &[bool]) -> Vec<Tracked> {
    let size = b.size.clone();
    let pairs = types.iter().zip(batched);
    let add = |(ty, &batched): (&Type, &bool)| {
        let ty = if batched { extended(ty, &size) } else { ty.clone() };
        Tracked { value: b.to.add_param(region, ty), axis: batched.then_some(0) }
    };
    pairs.map(add).collect()
}

/// A gradient by an operand that all examples share is the sum of theirs.
fn yield_gradients(b: &mut Batcher<'_>, op: Op, region: Region, gradients: &[Tracked], operands: &[Tracked]) {
    let size = b.size.clone();
    let mut e = emitter(b, op, region);
    let pairs = gradients.iter().zip(operands);
    let values = pairs
        .map(|(g, operand)| match (g.axis, operand.axis) {
            (Some(axis), None) => e.reduce_sum(g.value, &[axis]),
            (None, None) => {
                // The same for each of them.
                let all = at_axis(&mut e, *g, 0, &size);
                e.reduce_sum(all, &[0])
            }
            (_, Some(axis)) => at_axis(&mut e, *g, axis, &size),
        })
        .collect();
    b.to.region_mut(region).yields = values;
}

pub(super) fn custom_vjp(b: &mut Batcher<'_>, op: Op, into: Region, operands: &[Tracked], bodies: &[Graph]) -> Batched {
    let [primal, forward, backward] = bodies else { unreachable!("three regions") };
    let n = primal.outputs().len();
    let (first, second, third) = (b.to.add_region(), b.to.add_region(), b.to.add_region());
    let given: Vec<Tracked> = operands.iter().map(|&t| parameter(b, first, t)).collect();
    let plain = graph_into(b, primal, first, &given)?;
    let given: Vec<Tracked> = operands.iter().map(|&t| parameter(b, second, t)).collect();
    let kept = graph_into(b, forward, second, &given)?;
    // Gradients by results are those of each example, whatever the results depend on.
    let varies = |i: usize| plain[i].axis.is_some() || kept[i].axis.is_some();
    let results: Vec<bool> = (0..n).map(|i| is_float(primal, primal.outputs()[i]) || varies(i)).collect();
    set_yields(b, op, first, &plain, &results);
    let all: Vec<bool> = results.iter().copied().chain(kept[n..].iter().map(|t| t.axis.is_some())).collect();
    set_yields(b, op, second, &kept, &all);
    let floats: Vec<usize> = (0..n).filter(|&i| is_float(primal, primal.outputs()[i])).collect();
    let types: Vec<Type> = backward.inputs().iter().map(|&v| backward.ty(v).clone()).collect();
    let batched: Vec<bool> = all[n..].iter().copied().chain(floats.iter().map(|&i| results[i])).collect();
    let given = params(b, third, &types, &batched);
    let gradients = graph_into(b, backward, third, &given)?;
    let by: Vec<Tracked> =
        operands.iter().zip(primal.inputs()).filter(|(_, v)| is_float(primal, **v)).map(|(&t, _)| t).collect();
    yield_gradients(b, op, third, &gradients, &by);
    let values: Vec<Value> = operands.iter().map(|t| t.value).collect();
    let mut e = emitter(b, op, into);
    let new = e.append(CustomVjp {}.into(), &values, &[first, second, third]);
    Ok(tracked(&e.graph.op(new).results, results.iter().map(|b| b.then_some(0))))
}

pub(super) fn custom_jvp(b: &mut Batcher<'_>, op: Op, into: Region, operands: &[Tracked], bodies: &[Graph]) -> Batched {
    let [primal, tangent] = bodies else { unreachable!("two regions") };
    let n = primal.outputs().len();
    let (first, second) = (b.to.add_region(), b.to.add_region());
    let given: Vec<Tracked> = operands.iter().map(|&t| parameter(b, first, t)).collect();
    let plain = graph_into(b, primal, first, &given)?;
    let mut given: Vec<Tracked> = operands.iter().map(|&t| parameter(b, second, t)).collect();
    let moving = operands.iter().zip(primal.inputs()).filter(|(_, v)| is_float(primal, **v)).map(|(&t, _)| t);
    for t in moving.collect::<Vec<_>>() {
        given.push(parameter(b, second, t));
    }
    let both = graph_into(b, tangent, second, &given)?;
    let floats: Vec<usize> = (0..n).filter(|&i| is_float(primal, primal.outputs()[i])).collect();
    let tangent_of = |i: usize| floats.iter().position(|&f| f == i).map(|at| both[n + at]);
    let results: Vec<bool> = (0..n)
        .map(|i| [Some(plain[i]), Some(both[i]), tangent_of(i)].into_iter().flatten().any(|t| t.axis.is_some()))
        .collect();
    set_yields(b, op, first, &plain, &results);
    let all: Vec<bool> = results.iter().copied().chain(floats.iter().map(|&i| results[i])).collect();
    set_yields(b, op, second, &both, &all);
    let values: Vec<Value> = operands.iter().map(|t| t.value).collect();
    let mut e = emitter(b, op, into);
    let new = e.append(CustomJvp {}.into(), &values, &[first, second]);
    Ok(tracked(&e.graph.op(new).results, results.iter().map(|b| b.then_some(0))))
}
