//! Derivatives at the end of a graph: what every transform that differentiates shares.

use crate::dispatch::here;
use crate::error::{Code, Error, Result};
use crate::{scope, strict};
use ir::ops::{Barrier, GraphEmitter, create};
use ir::origin::OriginId;
use ir::{Emit, EmitExt, Graph, Origin, Scalar, Value};
use passes::autodiff::{Cut, append_jvp, append_vjp};
use runtime::events::{self, Event};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

/// Derivatives by or of values of a graph.
pub(crate) struct Derivatives {
    /// One for each value; `None` where nothing depends on it, or it on nothing.
    pub values: Vec<Option<Value>>,
    /// Ops at which derivatives end for want of a rule.
    pub cuts: Vec<Cut>,
}

/// Counts where derivatives end.
pub(crate) fn record_cuts(cuts: &[Cut]) {
    cuts.iter().for_each(|cut| events::record(Event::GradientCut, format_args!("the gradient ends at {cut}")));
}

/// The error of a derivative that may not be 0, but could not be had: zeros in its place would be wrong.
pub(crate) fn refusal(kind: &'static str, cuts: &[Cut]) -> Option<Error> {
    let (cut, rule, legal) = cuts.iter().find_map(|cut| {
        let (rule, legal) = match cut.barrier {
            Barrier::Unbounded => (
                "a loop of which the number of iterations is not known has no gradient in reverse mode".into(),
                "scan, or fori over numbers that are no tensors; or forward mode (jvp, jacfwd)",
            ),
            Barrier::ReverseOnly => (
                "a function with a gradient of its own (custom_vjp) has no derivative in forward mode".into(),
                "custom_jvp, which serves both modes; or reverse mode (grad, vjp, jacrev)",
            ),
            Barrier::NotLinear => (
                "a function with a forward derivative of its own (custom_jvp) has no gradient: what was given is not linear in \
                 the tangents"
                    .into(),
                "sums and multiples of the tangents; steps, comparisons and products of them have no transpose",
            ),
            Barrier::Captured => (
                "a function with a derivative of its own (custom_vjp, custom_jvp) captures a tensor, by which it has no derivative"
                    .into(),
                "the tensor as a part of the function's argument; or its stop_gradient(), if it is to count as a constant",
            ),
            Barrier::NoRule => (
                format!("{} has no derivative: {}", cut.op, cut.reason),
                "a rule for it (a CustomOp says that its derivative is 0 with Some(vec![None])); or stop_gradient() of what it \
                 reads, if that is to count as a constant",
            ),
            Barrier::Comparison | Barrier::Position | Barrier::Integers | Barrier::Step | Barrier::Stop => return None,
        };
        Some((cut, rule, legal))
    })?;
    let e = Error::new(Code::Gradient, kind, rule, legal);
    Some(match cut.origins.first() {
        Some(origin) => e.at_origin(origin),
        None => e.at(here()),
    })
}

impl Derivatives {
    /// An error where a derivative that there is could not be had.
    fn complete(self, kind: &'static str) -> Result<Derivatives> {
        match refusal(kind, &self.cuts) {
            Some(e) => Err(e.note(format!("asked for at {}", here()))),
            None => Ok(self),
        }
    }

    /// The values, with zeros of the type of `like` where there is none.
    pub fn or_zeros(&self, graph: &mut Graph, like: &[Value], origins: &[OriginId]) -> Vec<Value> {
        let all = self.values.iter().zip(like);
        all.map(|(found, &v)| found.unwrap_or_else(|| zeros(graph, v, origins))).collect()
    }
}

/// The origin of a line that asks for a gradient.
pub(crate) fn origin(graph: &mut Graph, at: &'static Location<'static>) -> OriginId {
    let scope = scope::current().to_string().into();
    graph.origins.intern(Origin { location: at.into(), scope, gradient: true })
}

/// Appends the gradients of a scalar by values of the root region.
pub(crate) fn gradients(
    kind: &'static str,
    graph: &mut Graph,
    loss: Value,
    wrt: &[Value],
    origins: &[OriginId],
) -> Result<Derivatives> {
    possible_gradients(kind, graph, loss, wrt, origins)?.complete(kind)
}

/// As [`gradients`], also where some have no reverse mode: the cuts say so.
pub(crate) fn possible_gradients(
    kind: &'static str,
    graph: &mut Graph,
    loss: Value,
    wrt: &[Value],
    origins: &[OriginId],
) -> Result<Derivatives> {
    let seed = emitter(graph, origins).full_like(loss, 1.0);
    reverse(kind, graph, &[(loss, seed)], wrt)
}

/// Appends the gradients by values of the root region, given `(output, cotangent)` pairs.
pub(crate) fn pull(
    kind: &'static str,
    graph: &mut Graph,
    seeds: &[(Value, Value)],
    wrt: &[Value],
    origins: &[OriginId],
) -> Result<Derivatives> {
    // One value may stand at several places of the result.
    let mut sums: Vec<(Value, Value)> = Vec::new();
    for &(output, seed) in seeds {
        match sums.iter_mut().find(|(v, _)| *v == output) {
            Some((_, sum)) => *sum = emitter(graph, origins).add(*sum, seed),
            None => sums.push((output, seed)),
        }
    }
    reverse(kind, graph, &sums, wrt)?.complete(kind)
}

fn reverse(kind: &'static str, graph: &mut Graph, seeds: &[(Value, Value)], wrt: &[Value]) -> Result<Derivatives> {
    let found = catch_unwind(AssertUnwindSafe(|| append_vjp(graph, seeds, wrt)));
    let found = found.map_err(|payload| strict::bug(payload, kind))?;
    Ok(Derivatives { values: found.values, cuts: found.cuts })
}

/// Appends the tangents of values of the root region, given `(value, tangent)` pairs.
pub(crate) fn push(
    kind: &'static str,
    graph: &mut Graph,
    tangents: &[(Value, Value)],
    outputs: &[Value],
) -> Result<Derivatives> {
    let found = catch_unwind(AssertUnwindSafe(|| append_jvp(graph, tangents, outputs)));
    let found = found.map_err(|payload| strict::bug(payload, kind))?;
    Derivatives { values: found.values, cuts: found.cuts }.complete(kind)
}

/// Appends zeros of the type of a value.
pub(crate) fn zeros(graph: &mut Graph, like: Value, origins: &[OriginId]) -> Value {
    let ty = graph.ty(like).clone();
    let full = create::Full { value: Scalar::zero(ty.dtype), shape: ty.shape };
    emitter(graph, origins).emit(full.into(), &[])
}

fn emitter<'a>(graph: &'a mut Graph, origins: &[OriginId]) -> GraphEmitter<'a> {
    let region = graph.root();
    GraphEmitter { graph, region, origins: origins.iter().copied().collect() }
}
