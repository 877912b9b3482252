//! Derivatives at the end of a graph: what every transform that differentiates shares.

use crate::dispatch::here;
use crate::error::{Code, Error, Result};
use crate::{scope, strict};
use ir::ops::{Barrier, GraphEmitter, create};
use ir::origin::OriginId;
use ir::{Emit, EmitExt, Graph, Op, Origin, Scalar, Value};
use passes::autodiff::{Cut, append_jvp, append_vjp};
use runtime::events::{self, Event};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

/// Derivatives by or of values of a graph.
pub(crate) struct Derivatives {
    /// One for each value; `None` where nothing depends on it, or it on nothing.
    pub values: Vec<Option<Value>>,
    /// Ops at which derivatives end, with their lines and the reason.
    pub cuts: Vec<String>,
    /// Those that have no rule, by op of the graph.
    pub ruleless: Vec<(Op, &'static str)>,
}

impl Derivatives {
    fn new(values: Vec<Option<Value>>, cuts: &[Cut], ruleless: Vec<(Op, &'static str)>) -> Derivatives {
        let cuts = cuts.iter().map(|c| {
            let line = c.origins.first().map(|o| format!(" at {o}")).unwrap_or_default();
            format!("{}{line}: {}", c.op, c.reason)
        });
        Derivatives { values, cuts: cuts.collect(), ruleless }
    }

    /// Counts where derivatives end.
    pub fn record_cuts(&self) {
        self.cuts.iter().for_each(|cut| events::record(Event::GradientCut, format_args!("the gradient ends at {cut}")));
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
pub(crate) fn gradients(graph: &mut Graph, loss: Value, wrt: &[Value], origins: &[OriginId]) -> Result<Derivatives> {
    let seed = emitter(graph, origins).full_like(loss, 1.0);
    pull("grad", graph, &[(loss, seed)], wrt, origins)
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
    let found = catch_unwind(AssertUnwindSafe(|| append_vjp(graph, &sums, wrt)));
    let found = found.map_err(|payload| strict::bug(payload, kind))?;
    if let Some(cut) = found.cuts.iter().find(|cut| cut.barrier == Barrier::Unbounded) {
        let rule = "a loop of which the number of iterations is not known has no gradient in reverse mode";
        let legal = "scan, or fori over numbers that are no tensors; or forward mode (jvp, jacfwd)";
        let e = Error::new(Code::Gradient, kind, rule, legal).note(format!("asked for at {}", here()));
        return Err(cut.origins.first().map_or_else(|| e.clone().at(here()), |origin| e.clone().at_origin(origin)));
    }
    Ok(Derivatives::new(found.values, &found.cuts, found.ruleless))
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
    Ok(Derivatives::new(found.values, &found.cuts, Vec::new()))
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
