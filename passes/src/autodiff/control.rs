//! Derivatives of branches and loops: their regions are differentiated, and an op of the same kind runs what comes out.
//!
//! In reverse, an op yields in addition what its gradient needs (a scan stacks it, one element for each iteration), and
//! another op runs the gradients of its regions on that. Forward, one op computes values and tangents together, so that a
//! loop keeps nothing of its iterations. Both change the op in place: its results stay the values they were.

mod call;
mod scan;
mod switch;
mod while_loop;

use super::Cut;
use ir::ops::{Barrier, Control, GraphEmitter, PerOperand, VjpContext};
use ir::{Emit, EmitExt, Graph, NotDifferentiable, Op, Region, Type, Value};
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

fn ty(b: &GraphEmitter<'_>, v: Value) -> Type {
    Emit::ty(b, v).clone()
}
