//! Derivatives of calls, and of functions whose derivatives the user gave.

use super::{beside, is_float, ty, zeros};
use crate::autodiff::{Again, Cut, Residual, append_vjp, needed, partition};
use ir::ops::control::{Fence, Kept, Save};
use ir::ops::{GraphEmitter, PerOperand, VjpContext};
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
    let pairs: Vec<(Value, Value)> = seeded
        .iter()
        .map(|&i| {
            let ty = graph.ty(yields[i]).clone();
            (yields[i], graph.add_input(ty))
        })
        .collect();
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
    let old: Vec<(usize, Value)> = data.results.iter().copied().enumerate().collect();
    b.graph
        .replace_op(op, data.primitive.clone(), &data.operands, &[region], &old)
        .unwrap_or_else(|e| panic!("a call that yields more is ill-typed: {e}"));
    let results = b.graph.op(op).results.clone();
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

/// The gradients by the float results, zeros where there are none.
fn cotangents(b: &mut GraphEmitter<'_>, results: &[Value], given: &[Option<Value>]) -> Vec<Value> {
    let mut all = Vec::new();
    for (&r, c) in results.iter().zip(given) {
        let ty = ty(b, r);
        if ty.dtype.is_float() {
            all.push(c.unwrap_or_else(|| zeros(b, &ty)));
        }
    }
    all
}

/// In reverse, where the user gave the gradient.
pub(super) fn pull_custom_vjp(b: &mut GraphEmitter<'_>, op: Op, cx: &VjpContext<'_>) -> PerOperand {
    let data = b.graph.op(op).clone();
    let forward = b.graph.of_region(data.regions[1]);
    let backward = b.graph.of_region(data.regions[2]);
    let region = b.graph.region_from(&forward);
    let call = ir::ops::control::Call { save: Save::Everything, names: String::new() };
    let old: Vec<(usize, Value)> = data.results.iter().copied().enumerate().collect();
    b.graph
        .replace_op(op, call.into(), &data.operands, &[region], &old)
        .unwrap_or_else(|e| panic!("the forward part of a function is ill-typed: {e}"));
    let mut arguments = b.graph.op(op).results[data.results.len()..].to_vec();
    arguments.extend(cotangents(b, &data.results, cx.cotangents));
    let mut made = b.graph.inline(b.region, &backward, &arguments).into_iter();
    let float = |v: &Value| is_float(b.graph, *v);
    data.operands.iter().map(|v| if float(v) { made.next() } else { None }).collect()
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
    let pairs: Vec<(Value, Value)> = outputs
        .iter()
        .map(|&v| {
            let ty = graph.ty(v).clone();
            (v, graph.add_input(ty))
        })
        .collect();
    let found = append_vjp(&mut graph, &pairs, &tangents);
    cuts.extend(found.cuts);
    let mut e = beside(b, &mut graph);
    let gradients: Vec<Value> = found
        .values
        .iter()
        .zip(&tangents)
        .map(|(g, &t)| {
            g.unwrap_or_else(|| {
                let ty = ty(&e, t);
                zeros(&mut e, &ty)
            })
        })
        .collect();
    let all = needed(&graph, &graph.region(graph.root()).ops, &gradients);
    if tangents.iter().any(|t| all[t.at()]) {
        return Err(NotDifferentiable("the derivative that was given is not linear in the tangents"));
    }
    graph.set_outputs(gradients);
    let mut arguments = data.operands.to_vec();
    for &t in &tangents {
        let ty = graph.ty(t).clone();
        arguments.push(zeros(b, &ty));
    }
    arguments.extend(cotangents(b, &data.results, cx.cotangents));
    let mut made = b.graph.inline(b.region, &graph, &arguments).into_iter();
    let float = |v: &Value| is_float(b.graph, *v);
    Ok(data.operands.iter().map(|v| if float(v) { made.next() } else { None }).collect())
}

/// Forward, where the user gave the tangent.
pub(super) fn push_custom_jvp(b: &mut GraphEmitter<'_>, op: Op, tangents: &[Option<Value>]) -> PerOperand {
    let data = b.graph.op(op).clone();
    let graph: Graph = b.graph.of_region(data.regions[1]);
    let mut arguments = data.operands.to_vec();
    arguments.extend(cotangents(b, &data.operands, tangents));
    let made = b.graph.inline(b.region, &graph, &arguments);
    let mut made = made[data.results.len()..].iter().copied();
    let float = |v: &Value| is_float(b.graph, *v);
    data.results.iter().map(|v| if float(v) { made.next() } else { None }).collect()
}
