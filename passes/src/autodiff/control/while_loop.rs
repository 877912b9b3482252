//! Derivatives of loops that a condition ends.

use super::{Param, beside, region_with, ty, zeros};
use crate::autodiff::{Cut, append_jvp};
use ir::ops::control::While;
use ir::ops::{GraphEmitter, PerOperand};
use ir::{Op, Value};

/// Forward: the same loop, of values and tangents; the condition looks at values alone.
pub(super) fn push(
    b: &mut GraphEmitter<'_>,
    op: Op,
    constants: usize,
    tangents: &[Option<Value>],
    cuts: &mut Vec<Cut>,
) -> PerOperand {
    let data = b.graph.op(op).clone();
    let condition = b.graph.of_region(data.regions[0]);
    let body = b.graph.of_region(data.regions[1]);
    let (params, yields) = (body.inputs().to_vec(), body.outputs().to_vec());
    let mut moves: Vec<bool> = tangents.iter().map(Option::is_some).collect();
    let (mut graph, inputs, found) = loop {
        let mut graph = body.clone();
        let mut inputs: Vec<Option<Value>> = vec![None; moves.len()];
        for (i, _) in moves.iter().enumerate().filter(|(_, m)| **m) {
            let ty = graph.ty(params[i]).clone();
            inputs[i] = Some(graph.add_input(ty));
        }
        let pairs: Vec<(Value, Value)> = inputs.iter().zip(&params).filter_map(|(t, &p)| Some((p, (*t)?))).collect();
        let found = append_jvp(&mut graph, &pairs, &yields);
        let grown: Vec<usize> =
            (0..yields.len()).filter(|&i| found.values[i].is_some() && !moves[constants + i]).collect();
        if grown.is_empty() {
            cuts.extend(found.cuts);
            break (graph, inputs, found.values);
        }
        grown.into_iter().for_each(|i| moves[constants + i] = true);
    };
    let carried: Vec<usize> = (0..yields.len()).filter(|&i| moves[constants + i]).collect();
    if carried.is_empty() {
        return data.results.iter().map(|_| None).collect();
    }
    let mut outputs = yields.clone();
    for &i in &carried {
        let ty = graph.ty(yields[i]).clone();
        outputs.push(found[i].unwrap_or_else(|| zeros(&mut beside(b, &mut graph), &ty)));
    }
    graph.set_outputs(outputs);

    let (mut order, mut seen): (Vec<Param>, Vec<Param>) = Default::default();
    let mut operands: Vec<Value> = Vec::new();
    for part in [0..constants, constants..data.operands.len()] {
        for i in part.clone() {
            order.push(Param::Input(params[i]));
            seen.push(Param::Input(condition.inputs()[i]));
            operands.push(data.operands[i]);
        }
        for i in part {
            let Some(input) = inputs[i] else { continue };
            let ty = ty(b, data.operands[i]);
            order.push(Param::Input(input));
            seen.push(Param::Unused(ty.clone()));
            operands.push(tangents[i].unwrap_or_else(|| zeros(b, &ty)));
        }
    }
    let regions = [region_with(b, &condition, &seen), region_with(b, &graph, &order)];
    let primitive = While { constants: constants + inputs[..constants].iter().flatten().count() };
    let kept: Vec<(usize, Value)> = data.results.iter().copied().enumerate().collect();
    b.graph
        .replace_op(op, primitive.into(), &operands, &regions, &kept)
        .unwrap_or_else(|e| panic!("a loop of values and tangents is ill-typed: {e}"));
    let results = b.graph.op(op).results.clone();
    let mut all: PerOperand = data.results.iter().map(|_| None).collect();
    carried.iter().enumerate().for_each(|(at, &i)| all[i] = Some(results[yields.len() + at]));
    all
}
