//! Derivatives of branches.

use super::{beside, empty, is_float, or_zeros, replace, settle_origins, with_inputs, zeros};
use crate::autodiff::{Again, Cut, Partition, Residual, append_jvp, append_vjp, partition};
use ir::ops::control::Switch;
use ir::ops::{GraphEmitter, PerOperand, VjpContext};
use ir::{Graph, Op, Type, Value};

/// In reverse: a switch of the branches' gradients. Each branch yields what its own needs, and zeros in the place of what
/// the others need.
pub(super) fn pull(b: &mut GraphEmitter<'_>, op: Op, cx: &VjpContext<'_>, cuts: &mut Vec<Cut>) -> PerOperand {
    let data = b.graph.op(op).clone();
    let bodies: Vec<Graph> = data.regions.iter().map(|&r| b.graph.of_region(r)).collect();
    let wrt: Vec<usize> =
        (1..data.operands.len()).filter(|&i| cx.wanted[i] && is_float(b.graph, data.operands[i])).collect();
    let seeded: Vec<usize> =
        (0..data.results.len()).filter(|&i| cx.cotangents[i].is_some() && is_float(b.graph, data.results[i])).collect();
    let mut all: PerOperand = data.operands.iter().map(|_| None).collect();
    let mut differentiated: Vec<(Graph, Vec<Option<Value>>)> = Vec::new();
    for body in &bodies {
        let mut graph = body.clone();
        let pairs = with_inputs(&mut graph, seeded.iter().map(|&i| body.outputs()[i]));
        let values: Vec<Value> = wrt.iter().map(|&i| body.inputs()[i - 1]).collect();
        let found = append_vjp(&mut graph, &pairs, &values);
        settle_origins(b, &mut graph);
        cuts.extend(found.cuts);
        differentiated.push((graph, found.values));
    }
    let reached: Vec<usize> =
        (0..wrt.len()).filter(|&at| differentiated.iter().any(|(_, found)| found[at].is_some())).collect();
    if reached.is_empty() {
        return all;
    }
    let parts: Vec<Partition> = bodies
        .iter()
        .zip(differentiated)
        .map(|(body, (mut graph, found))| {
            let mut gradients = Vec::new();
            for &at in &reached {
                gradients.push(or_zeros(b, &mut graph, found[at], body.inputs()[wrt[at] - 1]));
            }
            partition(&graph, body.inputs(), body.outputs(), &gradients, Again::Cheap)
        })
        .collect();

    // Branches share the places for what they save, by type.
    let own = data.results.len();
    let mut slots: Vec<Type> = Vec::new();
    let mut slot_of: Vec<Vec<usize>> = Vec::new();
    for part in &parts {
        let mut taken: Vec<usize> = Vec::new();
        for &v in &part.forward.outputs()[own..] {
            let ty = part.forward.ty(v);
            let free = (0..slots.len()).find(|at| !taken.contains(at) && slots[*at] == *ty);
            taken.push(free.unwrap_or_else(|| {
                slots.push(ty.clone());
                slots.len() - 1
            }));
        }
        slot_of.push(taken);
    }
    let mut regions = Vec::new();
    for (part, taken) in parts.iter().zip(&slot_of) {
        let mut forward = part.forward.clone();
        let mut outputs = forward.outputs().to_vec();
        let saved = outputs.split_off(own);
        for (at, ty) in slots.iter().enumerate() {
            let filled = taken.iter().position(|&slot| slot == at).map(|i| saved[i]);
            outputs.push(filled.unwrap_or_else(|| zeros(&mut beside(b, &mut forward), ty)));
        }
        forward.set_outputs(outputs);
        regions.push(b.graph.region_from(&forward));
    }
    let results = replace(b, op, data.primitive.clone(), &data.operands, &regions, |i| i);

    // Operands of the other switch: those of this one, its results, and the gradients by them.
    let cotangents: Vec<Value> = seeded.iter().map(|&i| cx.cotangents[i].expect("it is there")).collect();
    let given: Vec<Value> = data.operands[1..].iter().chain(&results).chain(&cotangents).copied().collect();
    let mut regions = Vec::new();
    for (part, taken) in parts.iter().zip(&slot_of) {
        let mut back = empty(b.graph);
        let inputs: Vec<Value> = given.iter().map(|&v| back.add_input(b.graph.ty(v).clone())).collect();
        let (operands, rest) = inputs.split_at(data.operands.len() - 1);
        let (results, cotangents) = rest.split_at(results.len());
        let residual = |r: &Residual| match *r {
            Residual::Input(i) => operands[i],
            Residual::Output(i) if i < own => results[i],
            Residual::Output(i) => results[own + taken[i - own]],
        };
        let arguments: Vec<Value> = part.residuals.iter().map(residual).chain(cotangents.iter().copied()).collect();
        let root = back.root();
        let outputs = back.inline(root, &part.backward, &arguments);
        back.set_outputs(outputs);
        regions.push(b.graph.region_from(&back));
    }
    let operands: Vec<Value> = std::iter::once(data.operands[0]).chain(given).collect();
    let other = b.append(Switch {}.into(), &operands, &regions);
    let gradients = b.graph.op(other).results.clone();
    reached.iter().zip(gradients).for_each(|(&at, g)| all[wrt[at]] = Some(g));
    all
}

/// Forward: the same switch, or call, of values and tangents. So many operands come before those of the regions.
pub(super) fn push(
    b: &mut GraphEmitter<'_>,
    op: Op,
    first: usize,
    tangents: &[Option<Value>],
    cuts: &mut Vec<Cut>,
) -> PerOperand {
    let data = b.graph.op(op).clone();
    let moving: Vec<usize> = (first..tangents.len()).filter(|&i| tangents[i].is_some()).collect();
    let mut branches: Vec<(Graph, Vec<Option<Value>>)> = Vec::new();
    for &region in &data.regions {
        let mut graph = b.graph.of_region(region);
        let (params, yields) = (graph.inputs().to_vec(), graph.outputs().to_vec());
        let pairs = with_inputs(&mut graph, moving.iter().map(|&i| params[i - first]));
        let found = append_jvp(&mut graph, &pairs, &yields);
        cuts.extend(found.cuts);
        branches.push((graph, found.values));
    }
    let mut all: PerOperand = data.results.iter().map(|_| None).collect();
    let reached: Vec<usize> =
        (0..data.results.len()).filter(|&i| branches.iter().any(|(_, found)| found[i].is_some())).collect();
    if reached.is_empty() {
        return all;
    }
    let mut regions = Vec::new();
    for (mut graph, found) in branches {
        let mut outputs = graph.outputs().to_vec();
        for &i in &reached {
            outputs.push(or_zeros(b, &mut graph, found[i], outputs[i]));
        }
        graph.set_outputs(outputs);
        regions.push(b.graph.region_from(&graph));
    }
    let tangents = moving.iter().filter_map(|&i| tangents[i]);
    let operands: Vec<Value> = data.operands.iter().copied().chain(tangents).collect();
    let results = replace(b, op, data.primitive.clone(), &operands, &regions, |i| i);
    reached.iter().enumerate().for_each(|(at, &i)| all[i] = Some(results[data.results.len() + at]));
    all
}
