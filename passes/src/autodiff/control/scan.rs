//! Derivatives of scans.

use super::{
    Moving, Param, active_carried, beside, empty, is_float, moving_body, or_zeros, region_with, replace,
    settle_origins, zeros_like,
};
use crate::autodiff::{Again, Cut, Residual, append_vjp, partition};
use ir::ops::control::{Scan, Scanning};
use ir::ops::{GraphEmitter, PerOperand, VjpContext};
use ir::{EmitExt, Graph, Op, Type, Value};

/// The type of an element of a stacked tensor.
fn element(ty: &Type) -> Type {
    Type::new(ty.dtype, ir::Shape::from(&ty.shape[1..]))
}

/// The body with the gradients of an iteration.
struct Body {
    graph: Graph,
    params: Vec<Value>,
    yields: Vec<Value>,
    /// Inputs for gradients, each with the number of the yield that it is the gradient by.
    seeds: Vec<(usize, Value)>,
    /// Gradients by the operands.
    found: Vec<Option<Value>>,
}

/// Differentiates one iteration. A carried value has a gradient if its last value has one, or an iteration after makes one.
fn body_gradients(body: &Graph, s: &Scanning, cx: &VjpContext<'_>, active: &[bool], cuts: &mut Vec<Cut>) -> Body {
    let params = body.inputs().to_vec();
    let yields = body.outputs().to_vec();
    let carried = |i: usize| active[1 + s.constants + i];
    let mut flows: Vec<bool> = (0..s.carried).map(|i| carried(i) && cx.cotangents[i].is_some()).collect();
    loop {
        let mut graph = body.clone();
        let mut seeds = Vec::new();
        for (i, &y) in yields.iter().enumerate() {
            let flows = if i < s.carried { flows[i] } else { cx.cotangents[i].is_some() };
            if flows && is_float(body, y) {
                let ty = graph.ty(y).clone();
                seeds.push((i, graph.add_input(ty)));
            }
        }
        let pairs: Vec<(Value, Value)> = seeds.iter().map(|&(i, c)| (yields[i], c)).collect();
        let wrt: Vec<usize> = (1..params.len()).filter(|&p| active[p]).collect();
        let values: Vec<Value> = wrt.iter().map(|&p| params[p]).collect();
        let gradients = append_vjp(&mut graph, &pairs, &values);
        let mut found = vec![None; params.len() - 1];
        wrt.iter().zip(gradients.values).for_each(|(&p, g)| found[p - 1] = g);
        let grown: Vec<usize> = (0..s.carried).filter(|&i| !flows[i] && found[s.constants + i].is_some()).collect();
        if grown.is_empty() {
            cuts.extend(gradients.cuts);
            return Body { graph, params, yields, seeds, found };
        }
        grown.into_iter().for_each(|i| flows[i] = true);
    }
}

/// In reverse: a scan in the other direction.
pub(super) fn pull(
    b: &mut GraphEmitter<'_>,
    op: Op,
    s: &Scanning,
    cx: &VjpContext<'_>,
    cuts: &mut Vec<Cut>,
) -> PerOperand {
    let data = b.graph.op(op).clone();
    let body = b.graph.of_region(data.regions[0]);
    let first_scanned = s.constants + s.carried;
    let wanted = |i: usize| cx.wanted[i] && is_float(b.graph, data.operands[i]);
    let mut active: Vec<bool> = std::iter::once(false).chain((0..data.operands.len()).map(wanted)).collect();
    active_carried(&body, &mut active, 1 + s.constants..1 + first_scanned);
    let Body { mut graph, params, yields, seeds, found } = body_gradients(&body, s, cx, &active, cuts);
    settle_origins(b, &mut graph);

    // Gradients that an iteration yields: of carried values, of constants, of elements.
    let carried: Vec<usize> = seeds.iter().map(|&(i, _)| i).filter(|&i| i < s.carried).collect();
    let constants: Vec<usize> = (0..s.constants).filter(|&i| found[i].is_some()).collect();
    let scanned: Vec<usize> = (first_scanned..data.operands.len()).filter(|&i| found[i].is_some()).collect();
    let mut gradients: Vec<Value> = Vec::new();
    for &i in &carried {
        gradients.push(or_zeros(b, &mut graph, found[s.constants + i], yields[i]));
    }
    gradients.extend(constants.iter().chain(&scanned).map(|&i| found[i].expect("it is there")));
    if gradients.is_empty() {
        return data.operands.iter().map(|_| None).collect();
    }
    let part = partition(&graph, &params, &yields, &gradients, Again::Cheap);

    // The scan also stacks what its gradient needs of each iteration.
    let mut forward = part.forward;
    let mut outputs = forward.outputs().to_vec();
    let own = yields.len();
    let mut stacked_at = |v: Value| {
        let known = outputs[own..].iter().position(|&w| w == v).map(|at| own + at);
        known.unwrap_or_else(|| {
            outputs.push(v);
            outputs.len() - 1
        })
    };
    let sources: Vec<Source> = part
        .residuals
        .iter()
        .map(|r| match *r {
            Residual::Input(0) => Source::Number,
            Residual::Input(p) if p - 1 < s.constants => Source::Constant(data.operands[p - 1]),
            Residual::Input(p) if p - 1 < first_scanned => Source::Stacked(stacked_at(forward.inputs()[p])),
            Residual::Input(p) => Source::Scanned(data.operands[p - 1]),
            Residual::Output(i) if i < s.carried => Source::Stacked(stacked_at(forward.outputs()[i])),
            Residual::Output(i) => Source::Stacked(i),
        })
        .collect();
    forward.set_outputs(outputs);
    let region = b.graph.region_from(&forward);
    let results = replace(b, op, data.primitive.clone(), &data.operands, &[region], |i| i);

    // The other scan.
    let mut operands: [Vec<Value>; 3] = Default::default();
    let mut picks: Vec<Pick> = Vec::new();
    for source in &sources {
        let (list, v) = match *source {
            Source::Number => {
                picks.push(Pick::Number);
                continue;
            }
            Source::Constant(v) => (0, v),
            Source::Scanned(v) => (2, v),
            Source::Stacked(i) => (2, results[i]),
        };
        picks.push(Pick::Operand(list, operands[list].len()));
        operands[list].push(v);
    }
    for &(i, _) in &seeds {
        let list = if i < s.carried { 1 } else { 2 };
        picks.push(Pick::Operand(list, operands[list].len()));
        operands[list].push(cx.cotangents[i].unwrap_or_else(|| zeros_like(b, data.results[i])));
    }
    for &i in &constants {
        operands[1].push(zeros_like(b, data.operands[i]));
    }
    let mut back = empty(b.graph);
    let number = back.add_input(graph.ty(params[0]).clone());
    let mut inputs: [Vec<Value>; 3] = Default::default();
    for (list, values) in operands.iter().enumerate() {
        for &v in values {
            let ty = b.graph.ty(v);
            let ty = if list == 2 { element(ty) } else { ty.clone() };
            inputs[list].push(back.add_input(ty));
        }
    }
    let arguments: Vec<Value> = picks
        .iter()
        .map(|pick| match *pick {
            Pick::Number => number,
            Pick::Operand(list, at) => inputs[list][at],
        })
        .collect();
    let root = back.root();
    let made = back.inline(root, &part.backward, &arguments);
    let (carried_made, rest) = made.split_at(carried.len());
    let (constants_made, scanned_made) = rest.split_at(constants.len());
    let sums: Vec<Value> = inputs[1][carried.len()..].to_vec();
    let mut e = beside(b, &mut back);
    let sums: Vec<Value> = sums.into_iter().zip(constants_made).map(|(sum, &g)| e.add(sum, g)).collect();
    back.set_outputs(carried_made.iter().chain(&sums).chain(scanned_made).copied().collect());
    let region = b.graph.region_from(&back);
    let scan = Scan {
        length: s.length.clone(),
        constants: operands[0].len(),
        carried: operands[1].len(),
        reverse: !s.reverse,
    };
    let other = b.append(scan.into(), &operands.concat(), &[region]);
    let results = b.graph.op(other).results.clone();

    let mut all: PerOperand = data.operands.iter().map(|_| None).collect();
    let places = carried.iter().map(|i| s.constants + i).chain(constants).chain(scanned);
    places.zip(results).for_each(|(i, g)| all[i] = Some(g));
    all
}

/// Where the other scan finds what it needs.
enum Source {
    Number,
    Constant(Value),
    Scanned(Value),
    /// The result of that number.
    Stacked(usize),
}

/// An argument of an iteration of the other scan: the number of the element, or a constant, carried value or element.
enum Pick {
    Number,
    Operand(usize, usize),
}

/// Forward: the same scan, of values and tangents.
pub(super) fn push(
    b: &mut GraphEmitter<'_>,
    op: Op,
    s: &Scanning,
    tangents: &[Option<Value>],
    cuts: &mut Vec<Cut>,
) -> PerOperand {
    let data = b.graph.op(op).clone();
    let body = b.graph.of_region(data.regions[0]);
    let (params, yields) = (body.inputs().to_vec(), body.outputs().to_vec());
    let first_scanned = s.constants + s.carried;
    let Moving { mut graph, inputs, found } =
        moving_body(&body, &params[1..], tangents, s.constants..first_scanned, cuts);
    let carried: Vec<usize> = (0..s.carried).filter(|&i| inputs[s.constants + i].is_some()).collect();
    let stacked: Vec<usize> = (s.carried..yields.len()).filter(|&i| found[i].is_some()).collect();
    if carried.is_empty() && stacked.is_empty() {
        return data.results.iter().map(|_| None).collect();
    }
    let mut outputs = yields[..s.carried].to_vec();
    for &i in &carried {
        outputs.push(or_zeros(b, &mut graph, found[i], yields[i]));
    }
    outputs.extend(&yields[s.carried..]);
    outputs.extend(stacked.iter().map(|&i| found[i].expect("it is there")));
    graph.set_outputs(outputs);

    let mut order = vec![Param::Input(params[0])];
    let mut operands: Vec<Value> = Vec::new();
    for part in [0..s.constants, s.constants..first_scanned, first_scanned..data.operands.len()] {
        for i in part.clone() {
            order.push(Param::Input(params[i + 1]));
            operands.push(data.operands[i]);
        }
        for i in part {
            let Some(input) = inputs[i] else { continue };
            order.push(Param::Input(input));
            operands.push(tangents[i].unwrap_or_else(|| zeros_like(b, data.operands[i])));
        }
    }
    let region = region_with(b, &graph, &order);
    let constants = s.constants + inputs[..s.constants].iter().flatten().count();
    let scan = Scan { length: s.length.clone(), constants, carried: s.carried + carried.len(), reverse: s.reverse };
    let place = |i: usize| if i < s.carried { i } else { i + carried.len() };
    let results = replace(b, op, scan.into(), &operands, &[region], place);
    let mut all: PerOperand = data.results.iter().map(|_| None).collect();
    carried.iter().enumerate().for_each(|(at, &i)| all[i] = Some(results[s.carried + at]));
    let first = carried.len() + yields.len();
    stacked.iter().enumerate().for_each(|(at, &i)| all[i] = Some(results[first + at]));
    all
}
