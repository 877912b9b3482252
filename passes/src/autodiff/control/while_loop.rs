//! Derivatives of loops that a condition ends.

use super::{Moving, Param, moving_body, or_zeros, region_with, replace, zeros_like};
use crate::autodiff::Cut;
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
    let Moving { mut graph, inputs, found } = moving_body(&body, &params, tangents, constants..params.len(), cuts);
    let carried: Vec<usize> = (0..yields.len()).filter(|&i| inputs[constants + i].is_some()).collect();
    if carried.is_empty() {
        return data.results.iter().map(|_| None).collect();
    }
    let mut outputs = yields.clone();
    for &i in &carried {
        outputs.push(or_zeros(b, &mut graph, found[i], yields[i]));
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
            order.push(Param::Input(input));
            seen.push(Param::Unused(b.graph.ty(data.operands[i]).clone()));
            operands.push(tangents[i].unwrap_or_else(|| zeros_like(b, data.operands[i])));
        }
    }
    let regions = [region_with(b, &condition, &seen), region_with(b, &graph, &order)];
    let primitive = While { constants: constants + inputs[..constants].iter().flatten().count() };
    let results = replace(b, op, primitive.into(), &operands, &regions, |i| i);
    let mut all: PerOperand = data.results.iter().map(|_| None).collect();
    carried.iter().enumerate().for_each(|(at, &i)| all[i] = Some(results[yields.len() + at]));
    all
}
