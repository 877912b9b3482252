//! Derivatives of calls, and of functions whose derivatives the user gave.

use super::{is_float, or_zeros, replace, with_inputs, zeros, zeros_like};
use crate::autodiff::depends::dependent;
use crate::autodiff::{Again, Cut, Residual, append_vjp, partition, reach};
use ir::ops::control::{Fence, Kept, Save};
use ir::ops::{Barrier, GraphEmitter, PerOperand, VjpContext};
use ir::{Emit, Graph, NotDifferentiable, Op, Value};

/// In reverse: the call also yields what it keeps, and what its gradient needs beside is computed again from that.
pub(super) fn pull(
    b: &mut GraphEmitter<'_>,
    op: Op,
    kept: &Kept,
    cx: &VjpContext<'_>,
    cuts: &mut Vec<Cut>,
) -> PerOperand {
    let data = b.graph.op(op).clone();
    let body = b.graph.of_region(data.regions[0]);
    let (params, yields) = (body.inputs().to_vec(), body.outputs().to_vec());
    let mut graph = body.clone();
    let seeded: Vec<usize> =
        (0..yields.len()).filter(|&i| cx.cotangents[i].is_some() && is_float(&body, yields[i])).collect();
    let pairs = with_inputs(&mut graph, seeded.iter().map(|&i| yields[i]));
    let wrt: Vec<usize> = (0..params.len()).filter(|&i| cx.wanted[i] && is_float(&body, params[i])).collect();
    let values: Vec<Value> = wrt.iter().map(|&i| params[i]).collect();
    let found = append_vjp(&mut graph, &pairs, &values);
    cuts.extend(found.cuts);
    let mut all: PerOperand = data.operands.iter().map(|_| None).collect();
    let reached: Vec<(usize, Value)> = wrt.iter().zip(found.values).filter_map(|(&i, g)| Some((i, g?))).collect();
    if reached.is_empty() {
        return all;
    }
    let gradients: Vec<Value> = reached.iter().map(|r| r.1).collect();
    let again = match kept.save {
        Save::Everything => Again::Cheap,
        _ => Again::AllBut(kept),
    };
    let part = partition(&graph, &params, &yields, &gradients, again);
    let region = b.graph.region_from(&part.forward);
    let results = replace(b, op, data.primitive.clone(), &data.operands, &[region], |i| i);
    let mut arguments: Vec<Value> = Vec::new();
    for residual in &part.residuals {
        let v = match *residual {
            Residual::Input(i) => data.operands[i],
            Residual::Output(i) => results[i],
        };
        // Indices stay what they were, so that they are checked once.
        let again = kept.save != Save::Everything && is_float(b.graph, v);
        arguments.push(if again { b.emit(Fence {}.into(), &[v]) } else { v });
    }
    arguments.extend(seeded.iter().map(|&i| cx.cotangents[i].expect("it is there")));
    let made = b.graph.inline(b.region, &part.backward, &arguments);
    reached.iter().zip(made).for_each(|((i, _), g)| all[*i] = Some(g));
    all
}

/// The derivatives by or of those values that are floats, zeros where there are none.
fn of_floats(b: &mut GraphEmitter<'_>, values: &[Value], given: &[Option<Value>]) -> Vec<Value> {
    let floats: Vec<usize> = (0..values.len()).filter(|&i| is_float(b.graph, values[i])).collect();
    floats.into_iter().map(|i| given[i].unwrap_or_else(|| zeros_like(b, values[i]))).collect()
}

/// What there is of floats alone, for all values.
fn spread(b: &GraphEmitter<'_>, values: &[Value], of_floats: impl IntoIterator<Item = Value>) -> PerOperand {
    let mut given = of_floats.into_iter();
    values.iter().map(|&v| if is_float(b.graph, v) { given.next() } else { None }).collect()
}

/// In reverse, where the user gave the gradient.
pub(super) fn pull_custom_vjp(b: &mut GraphEmitter<'_>, op: Op, cx: &VjpContext<'_>) -> PerOperand {
    let data = b.graph.op(op).clone();
    let forward = b.graph.of_region(data.regions[1]);
    let backward = b.graph.of_region(data.regions[2]);
    let region = b.graph.region_from(&forward);
    let call = ir::ops::control::Call { save: Save::Everything, names: String::new() };
    let results = replace(b, op, call.into(), &data.operands, &[region], |i| i);
    let mut arguments = results[data.results.len()..].to_vec();
    arguments.extend(of_floats(b, &data.results, cx.cotangents));
    let made = b.graph.inline(b.region, &backward, &arguments);
    spread(b, &data.operands, made)
}

/// In reverse, where the user gave the tangent: the transpose of that, which is its gradient by the tangents.
pub(super) fn pull_custom_jvp(
    b: &mut GraphEmitter<'_>,
    op: Op,
    cx: &VjpContext<'_>,
    cuts: &mut Vec<Cut>,
) -> Result<PerOperand, NotDifferentiable> {
    let data = b.graph.op(op).clone();
    let mut graph = b.graph.of_region(data.regions[1]);
    let n = data.operands.len();
    let tangents = graph.inputs()[n..].to_vec();
    let outputs = graph.outputs()[data.results.len()..].to_vec();
    let nonlinear = Err(NotDifferentiable(Barrier::NotLinear.reason()));
    // A step or a comparison of a tangent.
    if reach(&graph, &outputs, &tangents, &[]).values.iter().any(|r| !r.cuts.is_empty()) {
        return nonlinear;
    }
    let pairs = with_inputs(&mut graph, outputs);
    let found = append_vjp(&mut graph, &pairs, &tangents);
    cuts.extend(found.cuts);
    let by = found.values.iter().zip(&tangents);
    let gradients: Vec<Value> = by.map(|(&g, &t)| or_zeros(b, &mut graph, g, t)).collect();
    let dependent = dependent(&graph, &tangents);
    if gradients.iter().any(|g| dependent[g.at()]) {
        return nonlinear;
    }
    graph.set_outputs(gradients);
    // What the tangents are makes no difference.
    let mut arguments = data.operands.to_vec();
    for &t in &tangents {
        let ty = graph.ty(t).clone();
        arguments.push(zeros(b, &ty));
    }
    arguments.extend(of_floats(b, &data.results, cx.cotangents));
    let made = b.graph.inline(b.region, &graph, &arguments);
    Ok(spread(b, &data.operands, made))
}

/// Forward, where the user gave the tangent.
pub(super) fn push_custom_jvp(b: &mut GraphEmitter<'_>, op: Op, tangents: &[Option<Value>]) -> PerOperand {
    let data = b.graph.op(op).clone();
    let graph: Graph = b.graph.of_region(data.regions[1]);
    let mut arguments = data.operands.to_vec();
    arguments.extend(of_floats(b, &data.operands, tangents));
    let made = b.graph.inline(b.region, &graph, &arguments);
    spread(b, &data.results, made[data.results.len()..].iter().copied())
}
