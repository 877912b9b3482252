//! Derivatives of branches and loops: their regions are differentiated, and an op of the same kind runs what comes out.
//!
//! In reverse, an op yields in addition what its gradient needs (a scan stacks it, one element for each iteration), and
//! another op runs the gradients of its regions on that. Forward, one op computes values and tangents together, so that a
//! loop keeps nothing of its iterations. Both change the op in place: its results stay the values they were.

mod call;
mod scan;
mod switch;
mod while_loop;

use super::{Cut, append_jvp};
use ir::graph::Values;
use ir::ops::{Barrier, Control, GraphEmitter, PerOperand, VjpContext};
use ir::{Emit, EmitExt, Graph, NotDifferentiable, Op, Primitive, Region, Type, Value};
use smallvec::SmallVec;

/// The gradient by each wanted operand.
pub(super) fn pull(
    b: &mut GraphEmitter<'_>,
    op: Op,
    cx: &VjpContext<'_>,
    cuts: &mut Vec<Cut>,
) -> Result<PerOperand, NotDifferentiable> {
    match b.graph.op(op).primitive.control().expect("control flow says what it does") {
        Control::Switch => Ok(switch::pull(b, op, cx, cuts)),
        Control::Scan(s) => Ok(scan::pull(b, op, &s, cx, cuts)),
        Control::While { .. } => Err(NotDifferentiable(
            "the number of iterations is not known, so nothing can keep what each of them needs; \
             a loop of known length (fori, scan) has a gradient, and this one has in forward mode",
        )),
        Control::Call(kept) => Ok(call::pull(b, op, &kept, cx, cuts)),
        Control::CustomVjp => Ok(call::pull_custom_vjp(b, op, cx)),
        Control::CustomJvp => call::pull_custom_jvp(b, op, cx, cuts),
    }
}

/// The tangent of each result. The op then stands behind what it reads no more: the region must be sorted.
pub(super) fn push(
    b: &mut GraphEmitter<'_>,
    op: Op,
    tangents: &[Option<Value>],
    cuts: &mut Vec<Cut>,
) -> Result<PerOperand, NotDifferentiable> {
    Ok(match b.graph.op(op).primitive.control().expect("control flow says what it does") {
        Control::Switch => switch::push(b, op, 1, tangents, cuts),
        Control::Call(_) => switch::push(b, op, 0, tangents, cuts),
        Control::Scan(s) => scan::push(b, op, &s, tangents, cuts),
        Control::While { constants } => while_loop::push(b, op, constants, tangents, cuts),
        Control::CustomJvp => call::push_custom_jvp(b, op, tangents),
        Control::CustomVjp => {
            return Err(NotDifferentiable(Barrier::ReverseOnly.reason()));
        }
    })
}

/// An emitter into another graph, for the same lines.
fn beside<'a>(b: &GraphEmitter<'_>, graph: &'a mut Graph) -> GraphEmitter<'a> {
    let origins: SmallVec<_> =
        b.origins.iter().map(|&o| graph.origins.intern(b.graph.origins.get(o).clone())).collect();
    let region = graph.root();
    GraphEmitter { graph, region, origins }
}

/// After reverse mode of a region as a graph. What results that are parameters add up to comes from no op of it, but from
/// the op around it.
fn settle_origins(b: &GraphEmitter<'_>, graph: &mut Graph) {
    let origins = beside(b, graph).origins;
    for op in graph.region(graph.root()).ops.clone() {
        let own = &mut graph.op_mut(op).origins;
        if own.is_empty() {
            *own = origins.clone();
        }
    }
}

fn zeros(b: &mut GraphEmitter<'_>, ty: &Type) -> Value {
    b.full(ir::Scalar::zero(ty.dtype), &ty.shape)
}

fn zeros_like(b: &mut GraphEmitter<'_>, v: Value) -> Value {
    let ty = b.ty(v).clone();
    zeros(b, &ty)
}

/// A derivative by or of a value of a graph beside the emitter's; zeros where there is none.
fn or_zeros(b: &GraphEmitter<'_>, graph: &mut Graph, found: Option<Value>, of: Value) -> Value {
    found.unwrap_or_else(|| zeros_like(&mut beside(b, graph), of))
}

/// Values of a graph, each with a new input for its derivative.
fn with_inputs(graph: &mut Graph, values: impl IntoIterator<Item = Value>) -> Vec<(Value, Value)> {
    let pair = |v: Value| {
        let ty = graph.ty(v).clone();
        (v, graph.add_input(ty))
    };
    values.into_iter().map(pair).collect()
}

/// Makes an op another one, of more operands or results. `place` is where each of its results is among the new ones.
fn replace(
    b: &mut GraphEmitter<'_>,
    op: Op,
    primitive: Primitive,
    operands: &[Value],
    regions: &[Region],
    place: impl Fn(usize) -> usize,
) -> Values {
    let kept: Vec<(usize, Value)> = b.graph.op(op).results.iter().enumerate().map(|(i, &v)| (place(i), v)).collect();
    b.graph
        .replace_op(op, primitive, operands, regions, &kept)
        .unwrap_or_else(|e| panic!("an op that computes a derivative too is ill-typed: {e}"));
    b.graph.op(op).results.clone()
}

/// A graph under construction that becomes a region: an empty one with symbols.
fn empty(like: &Graph) -> Graph {
    let mut graph = Graph::new(&like.name);
    graph.symbols = like.symbols.clone();
    graph
}

/// The same graph as a region whose parameters stand in the order of `params`, each one of its inputs or an unused
/// parameter of that type.
fn region_with(b: &mut GraphEmitter<'_>, graph: &Graph, params: &[Param]) -> Region {
    let mut ordered = empty(graph);
    let mut arguments: Vec<Option<Value>> = vec![None; graph.inputs().len()];
    for param in params {
        match param {
            Param::Input(v) => {
                let new = ordered.add_input(graph.ty(*v).clone());
                let at = graph.inputs().iter().position(|w| w == v).expect("an input of the graph");
                arguments[at] = Some(new);
            }
            Param::Unused(ty) => {
                ordered.add_input(ty.clone());
            }
        }
    }
    let arguments: Vec<Value> = arguments.into_iter().map(|v| v.expect("every input is a parameter")).collect();
    let root = ordered.root();
    let outputs = ordered.inline(root, graph, &arguments);
    ordered.set_outputs(outputs);
    b.graph.region_from(&ordered)
}

/// A parameter of a region.
enum Param {
    Input(Value),
    Unused(Type),
}

pub(super) fn is_float(graph: &Graph, v: Value) -> bool {
    graph.ty(v).dtype.is_float()
}

/// The body of a loop with tangents.
struct Moving {
    graph: Graph,
    /// Inputs for the tangents of operands.
    inputs: Vec<Option<Value>>,
    /// Tangents of what it yields.
    found: Vec<Option<Value>>,
}

/// Pushes tangents through the body of a loop, whose parameters `params` stand for the operands. What it yields first is
/// carried on to the operands `carried`: these have tangents as soon as an iteration makes some.
fn moving_body(
    body: &Graph,
    params: &[Value],
    tangents: &[Option<Value>],
    carried: std::ops::Range<usize>,
    cuts: &mut Vec<Cut>,
) -> Moving {
    let mut moves: Vec<bool> = tangents.iter().map(Option::is_some).collect();
    loop {
        let mut graph = body.clone();
        let moving = params.iter().zip(&moves).filter(|(_, m)| **m).map(|(&p, _)| p);
        let pairs = with_inputs(&mut graph, moving.collect::<Vec<_>>());
        let found = append_jvp(&mut graph, &pairs, body.outputs());
        let grown: Vec<usize> = carried
            .clone()
            .enumerate()
            .filter(|&(i, at)| found.values[i].is_some() && !moves[at])
            .map(|g| g.1)
            .collect();
        if grown.is_empty() {
            cuts.extend(found.cuts);
            let mut given = pairs.into_iter().map(|(_, input)| input);
            let inputs = moves.iter().map(|&m| if m { given.next() } else { None }).collect();
            return Moving { graph, inputs, found: found.values };
        }
        grown.into_iter().for_each(|at| moves[at] = true);
    }
}

/// Which of the carried values depend on what is active, if an iteration is run any number of times: `start` says which
/// parameters of the body are active at first; `yields` of it become the parameters `carried`.
fn active_carried(body: &Graph, start: &mut [bool], carried: std::ops::Range<usize>) {
    loop {
        let params = body.inputs();
        let from = params.iter().zip(start.iter()).filter(|(_, s)| **s).map(|(&v, _)| v);
        let active = super::active(body, body.root(), from);
        let mut grown = false;
        for (i, p) in carried.clone().enumerate() {
            if !start[p] && active[body.outputs()[i].at()] {
                start[p] = true;
                grown = true;
            }
        }
        if !grown {
            return;
        }
    }
}
