//! Batching of branches and loops.
//!
//! Where the choice is the same for all examples, or the length of a loop, one op runs the batched regions. Where each
//! example chooses for itself, all branches run and each example takes its own; and a loop goes on as long as any example
//! does, those that are done keeping what they have. Indices that an example would not have read are replaced by 0, so that
//! what does not count cannot fail, and a loop that an example would not have run does not go on for it, so that it cannot
//! go on forever. Where neither helps, as with ops of users, examples run one after the other.

mod apart;
mod functions;

use super::{Batcher, Tracked, Unbatchable, at_axis};
use ir::ops::binary::{self, Direction};
use ir::ops::control::{Scan, Scanning, While};
use ir::ops::reduce::ReduceAny;
use ir::ops::{Control, GraphEmitter};
use ir::{Axes, DType, Dim, Emit, EmitExt, Graph, Op, Region, Scalar, Shape, Type, Value};
use smallvec::SmallVec;
use std::collections::HashMap;

type Batched = Result<SmallVec<[Tracked; 1]>, Unbatchable>;

/// Batches an op with regions, of whose operands at least one is batched.
pub(super) fn batch(b: &mut Batcher<'_>, op: Op, into: Region, operands: &[Tracked]) -> Batched {
    let data = b.from.op(op);
    let bodies: Vec<Graph> = data.regions.iter().map(|&r| b.from.of_region(r)).collect();
    match data.primitive.control() {
        Some(Control::Switch) if operands[0].axis.is_none() => switch(b, op, into, operands, 1, &bodies),
        Some(Control::Call(_)) => switch(b, op, into, operands, 0, &bodies),
        Some(Control::CustomVjp) => functions::custom_vjp(b, op, into, operands, &bodies),
        Some(Control::CustomJvp) => functions::custom_jvp(b, op, into, operands, &bodies),
        Some(Control::Switch) if data.regions.iter().any(|&r| apart::is_seen(b.from, r)) => {
            apart::one_by_one(b, op, into, operands)
        }
        Some(Control::Switch) => select_among(b, op, into, operands, bodies),
        Some(Control::While { constants }) => while_loop(b, op, into, operands, constants, bodies),
        Some(Control::Scan(s)) => scan(b, op, into, operands, &s, &bodies[0]),
        None => Err(b.refused(op, "groups are formed after batching")),
    }
}

/// Batches a graph into a region of the new one.
fn graph_into(
    b: &mut Batcher<'_>,
    body: &Graph,
    into: Region,
    params: &[Tracked],
) -> Result<Vec<Tracked>, Unbatchable> {
    let to = std::mem::replace(&mut b.to, Graph::new(""));
    let apart = std::mem::take(&mut b.apart);
    let mut inner = Batcher { from: body, to, size: b.size.clone(), origins: HashMap::new(), apart };
    let yields = inner.region(body.root(), into, params);
    (b.to, b.apart) = (inner.to, inner.apart);
    yields
}

fn emitter<'a>(b: &'a mut Batcher<'_>, op: Op, region: Region) -> GraphEmitter<'a> {
    let origins = b.origins_of(op);
    GraphEmitter { graph: &mut b.to, region, origins }
}

/// The type with an extra axis in front.
fn extended(ty: &Type, size: &Dim) -> Type {
    Type::new(ty.dtype, std::iter::once(size).chain(ty.shape.iter()).cloned().collect::<Shape>())
}

/// Sets what a region yields: with the extra axis in front where `batched` says so.
fn set_yields(b: &mut Batcher<'_>, op: Op, region: Region, yields: &[Tracked], batched: &[bool]) {
    let size = b.size.clone();
    let mut e = emitter(b, op, region);
    let values = yields.iter().zip(batched);
    let values = values.map(|(t, batched)| if *batched { at_axis(&mut e, *t, 0, &size) } else { t.value }).collect();
    b.to.region_mut(region).yields = values;
}

fn tracked(results: &[Value], axes: impl IntoIterator<Item = Option<usize>>) -> SmallVec<[Tracked; 1]> {
    results.iter().zip(axes).map(|(&value, axis)| Tracked { value, axis }).collect()
}

/// A parameter of a region for a value outside.
fn parameter(b: &mut Batcher<'_>, region: Region, t: Tracked) -> Tracked {
    let ty = b.to.ty(t.value).clone();
    Tracked { value: b.to.add_param(region, ty), axis: t.axis }
}

/// A switch or call, the same for all examples; so many operands come before those of the regions.
fn switch(b: &mut Batcher<'_>, op: Op, into: Region, operands: &[Tracked], first: usize, bodies: &[Graph]) -> Batched {
    let mut branches: Vec<(Region, Vec<Tracked>)> = Vec::new();
    for body in bodies {
        let region = b.to.add_region();
        let params: Vec<Tracked> = operands[first..].iter().map(|&t| parameter(b, region, t)).collect();
        branches.push((region, graph_into(b, body, region, &params)?));
    }
    let results = b.from.op(op).results.len();
    let batched: Vec<bool> =
        (0..results).map(|i| branches.iter().any(|(_, yields)| yields[i].axis.is_some())).collect();
    for (region, yields) in &branches {
        set_yields(b, op, *region, yields, &batched);
    }
    let regions: Vec<Region> = branches.iter().map(|(r, _)| *r).collect();
    let values: Vec<Value> = operands.iter().map(|t| t.value).collect();
    let primitive = b.from.op(op).primitive.clone();
    let mut e = emitter(b, op, into);
    let new = e.append(primitive, &values, &regions);
    Ok(tracked(&e.graph.op(new).results, batched.iter().map(|b| b.then_some(0))))
}

/// Every branch for all examples, each of which takes what its own choice yields.
fn select_among(b: &mut Batcher<'_>, op: Op, into: Region, operands: &[Tracked], bodies: Vec<Graph>) -> Batched {
    let (size, n) = (b.size.clone(), bodies.len() as i64);
    let mut e = emitter(b, op, into);
    let choice = at_axis(&mut e, operands[0], 0, &size);
    let is_bool = e.ty(choice).dtype == DType::Bool;
    let shape = e.ty(choice).shape.clone();
    let chosen: Vec<Value> = (0..n)
        .map(|k| {
            if is_bool {
                return if k == 0 { e.not(choice) } else { choice };
            }
            let number = e.full(Scalar::I64(k), &shape);
            let direction = match k {
                // Beyond the branches there are, the nearest runs.
                0 if n == 1 => return e.full(Scalar::Bool(true), &shape),
                0 => Direction::Le,
                _ if k == n - 1 => Direction::Ge,
                _ => Direction::Eq,
            };
            e.compare(direction, choice, number)
        })
        .collect();
    let mut results: Vec<Value> = Vec::new();
    for (mut body, mask) in bodies.into_iter().zip(chosen) {
        let mut params = operands[1..].to_vec();
        if guard_graph(&mut body) {
            params.push(Tracked { value: mask, axis: Some(0) });
        }
        let yields = graph_into(b, &body, into, &params)?;
        let mut e = emitter(b, op, into);
        let yields: Vec<Value> = yields.into_iter().map(|t| at_axis(&mut e, t, 0, &size)).collect();
        results = match results.is_empty() {
            true => yields,
            false => results.into_iter().zip(yields).map(|(old, new)| choose(&mut e, mask, new, old)).collect(),
        };
    }
    Ok(tracked(&results, results.iter().map(|_| Some(0))))
}

/// For each example the one or the other.
fn choose(e: &mut GraphEmitter<'_>, mask: Value, yes: Value, no: Value) -> Value {
    let shape = e.ty(yes).shape.clone();
    let mask = e.broadcast_in_dim(mask, &shape, &[0]);
    e.select(mask, yes, no)
}

fn while_loop(
    b: &mut Batcher<'_>,
    op: Op,
    into: Region,
    operands: &[Tracked],
    constants: usize,
    bodies: Vec<Graph>,
) -> Batched {
    let size = b.size.clone();
    let [condition, plain]: [Graph; 2] = bodies.try_into().expect("a condition and a body");
    let mut guarded = plain.clone();
    let guards = guard_graph(&mut guarded);
    let mut batched: Vec<bool> = operands[constants..].iter().map(|t| t.axis.is_some()).collect();
    loop {
        let params = |b: &mut Batcher<'_>, region: Region| -> Vec<Tracked> {
            let mut all: Vec<Tracked> = operands[..constants].iter().map(|&t| parameter(b, region, t)).collect();
            for (i, &batched) in batched.iter().enumerate() {
                let ty = plain.ty(plain.inputs()[constants + i]).clone();
                let ty = if batched { extended(&ty, &size) } else { ty };
                all.push(Tracked { value: b.to.add_param(region, ty), axis: batched.then_some(0) });
            }
            all
        };
        let test = b.to.add_region();
        let given = params(b, test);
        let goes_on = graph_into(b, &condition, test, &given)?[0];
        if goes_on.axis.is_some() && !batched.iter().all(|&b| b) {
            batched.iter_mut().for_each(|b| *b = true);
            continue;
        }
        if goes_on.axis.is_some() && b.from.op(op).regions.iter().any(|&r| apart::is_seen(b.from, r)) {
            return apart::one_by_one(b, op, into, operands);
        }
        let round = b.to.add_region();
        let mut given = params(b, round);
        // Examples that are done keep what they have.
        let mask = match goes_on.axis {
            Some(_) => {
                let mask = graph_into(b, &condition, round, &given)?[0];
                let mut e = emitter(b, op, round);
                Some(at_axis(&mut e, mask, 0, &size))
            }
            None => None,
        };
        let before = given[constants..].to_vec();
        let body = match mask {
            Some(value) if guards => {
                given.push(Tracked { value, axis: Some(0) });
                &guarded
            }
            _ => &plain,
        };
        let mut yields = graph_into(b, body, round, &given)?;
        let grown: Vec<usize> = (0..yields.len()).filter(|&i| yields[i].axis.is_some() && !batched[i]).collect();
        if !grown.is_empty() {
            grown.into_iter().for_each(|i| batched[i] = true);
            continue;
        }
        if let Some(mask) = mask {
            let mut e = emitter(b, op, round);
            for (after, before) in yields.iter_mut().zip(before) {
                let new = at_axis(&mut e, *after, 0, &size);
                *after = Tracked { value: choose(&mut e, mask, new, before.value), axis: Some(0) };
            }
        }
        set_yields(b, op, round, &yields, &batched);
        let mut e = emitter(b, op, test);
        let any = match goes_on.axis {
            Some(axis) => e.emit(ReduceAny { axes: Axes::from_slice(&[axis]) }.into(), &[goes_on.value]),
            None => goes_on.value,
        };
        b.to.region_mut(test).yields = vec![any];
        let mut e = emitter(b, op, into);
        let mut values: Vec<Value> = operands[..constants].iter().map(|t| t.value).collect();
        for (t, batched) in operands[constants..].iter().zip(&batched) {
            values.push(if *batched { at_axis(&mut e, *t, 0, &size) } else { t.value });
        }
        let new = e.append(While { constants }.into(), &values, &[test, round]);
        return Ok(tracked(&e.graph.op(new).results, batched.iter().map(|b| b.then_some(0))));
    }
}

fn scan(b: &mut Batcher<'_>, op: Op, into: Region, operands: &[Tracked], s: &Scanning, body: &Graph) -> Batched {
    let size = b.size.clone();
    let first_scanned = s.constants + s.carried;
    // An example's elements stand along the first axis behind the one that is scanned.
    let mut e = emitter(b, op, into);
    let scanned: Vec<Tracked> = operands[first_scanned..]
        .iter()
        .map(|&t| match t.axis {
            None => t,
            Some(_) => Tracked { value: at_axis(&mut e, t, 1, &size), axis: Some(1) },
        })
        .collect();
    let mut batched: Vec<bool> = operands[s.constants..first_scanned].iter().map(|t| t.axis.is_some()).collect();
    loop {
        let region = b.to.add_region();
        let number = b.to.add_param(region, body.ty(body.inputs()[0]).clone());
        let mut params = vec![Tracked { value: number, axis: None }];
        for &t in &operands[..s.constants] {
            params.push(parameter(b, region, t));
        }
        for (i, &batched) in batched.iter().enumerate() {
            let ty = body.ty(body.inputs()[1 + s.constants + i]).clone();
            let ty = if batched { extended(&ty, &size) } else { ty };
            params.push(Tracked { value: b.to.add_param(region, ty), axis: batched.then_some(0) });
        }
        for t in &scanned {
            let whole = b.to.ty(t.value);
            let ty = Type::new(whole.dtype, Shape::from(&whole.shape[1..]));
            params.push(Tracked { value: b.to.add_param(region, ty), axis: t.axis.map(|axis| axis - 1) });
        }
        let yields = graph_into(b, body, region, &params)?;
        let grown: Vec<usize> = (0..s.carried).filter(|&i| yields[i].axis.is_some() && !batched[i]).collect();
        if !grown.is_empty() {
            grown.into_iter().for_each(|i| batched[i] = true);
            continue;
        }
        let stacked = yields[s.carried..].iter().map(|t| t.axis.is_some());
        let all: Vec<bool> = batched.iter().copied().chain(stacked).collect();
        set_yields(b, op, region, &yields, &all);
        let mut e = emitter(b, op, into);
        let mut values: Vec<Value> = operands[..s.constants].iter().map(|t| t.value).collect();
        for (t, batched) in operands[s.constants..first_scanned].iter().zip(&batched) {
            values.push(if *batched { at_axis(&mut e, *t, 0, &size) } else { t.value });
        }
        values.extend(scanned.iter().map(|t| t.value));
        let Scanning { length, reverse, constants, carried } = s.clone();
        let new = e.append(Scan { length, reverse, constants, carried }.into(), &values, &[region]);
        let axes = all.iter().enumerate().map(|(i, b)| b.then_some(usize::from(i >= s.carried)));
        return Ok(tracked(&e.graph.op(new).results, axes));
    }
}

/// True if running the ops of a region can report an error, or may have no end.
fn needs_guard(graph: &Graph, region: Region) -> bool {
    graph.region(region).ops.iter().any(|&op| {
        let data = graph.op(op);
        data.primitive.traits().fallible || is_while(graph, op) || data.regions.iter().any(|&r| needs_guard(graph, r))
    })
}

fn is_while(graph: &Graph, op: Op) -> bool {
    matches!(graph.op(op).primitive.control(), Some(Control::While { .. }))
}

/// Adds an input, a bool scalar, without which no index counts and no loop goes on; false if there is nothing that reads at
/// indices and may fail, and no loop that a condition ends.
fn guard_graph(graph: &mut Graph) -> bool {
    let root = graph.root();
    if !needs_guard(graph, root) {
        return false;
    }
    let mask = graph.add_input(Type::new(DType::Bool, Shape::scalar()));
    guard(graph, root, mask);
    true
}

fn guard(graph: &mut Graph, region: Region, mask: Value) {
    for op in std::mem::take(&mut graph.region_mut(region).ops) {
        let data = graph.op(op).clone();
        if is_while(graph, op) || data.regions.iter().any(|&r| needs_guard(graph, r)) {
            with_mask(graph, op, mask);
        } else if data.primitive.indexing().is_some() && data.primitive.traits().fallible {
            let mut e = GraphEmitter { graph, region, origins: data.origins };
            let ty = e.ty(data.operands[1]).clone();
            let zeros = e.full(Scalar::zero(ty.dtype), &ty.shape);
            let mask = e.broadcast_in_dim(mask, &ty.shape, &[]);
            let indices = e.select(mask, data.operands[1], zeros);
            graph.op_mut(op).operands[1] = indices;
        }
        graph.region_mut(region).ops.push(op);
    }
}

/// Hands the mask to the regions of an op of control flow: behind its constants, else behind all operands.
fn with_mask(graph: &mut Graph, op: Op, mask: Value) {
    let data = graph.op(op).clone();
    let control = data.primitive.control().expect("control flow says what it does");
    let at = control.constants().unwrap_or(data.operands.len());
    let parameter = control.parameter(at).unwrap_or(at);
    let mut inside: Vec<Value> = Vec::new();
    for (number, &region) in data.regions.iter().enumerate() {
        let mut parameter = parameter;
        if control == Control::CustomVjp && number == 2 {
            // What the gradient runs on comes from the forward part.
            parameter = graph.region(data.regions[1]).yields.len() - data.results.len();
            graph.region_mut(data.regions[1]).yields.push(inside[1]);
        }
        let inner = graph.insert_param(region, parameter, Type::new(DType::Bool, Shape::scalar()));
        guard(graph, region, inner);
        inside.push(inner);
    }
    if let Control::While { .. } = control {
        let region = data.regions[0];
        let goes_on = graph.region(region).yields[0];
        let mut e = GraphEmitter { graph, region, origins: data.origins.clone() };
        let goes_on = e.emit(binary::And {}.into(), &[goes_on, inside[0]]);
        graph.region_mut(region).yields[0] = goes_on;
    }
    let mut operands = data.operands.to_vec();
    operands.insert(at, mask);
    let primitive = match control.constants() {
        Some(constants) => data.primitive.with_constants(constants + 1),
        None => data.primitive,
    };
    let kept: Vec<(usize, Value)> = data.results.iter().copied().enumerate().collect();
    graph
        .replace_op(op, primitive, &operands, &data.regions, &kept)
        .unwrap_or_else(|e| panic!("control flow with a mask is ill-typed: {e}"));
}
