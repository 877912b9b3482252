//! Gradients at the end of a graph: what every reverse-mode transform shares.

use crate::error::Result;
use crate::{scope, strict};
use ir::ops::{GraphEmitter, create};
use ir::origin::OriginId;
use ir::{Emit, EmitExt, Graph, Origin, Scalar, Value};
use passes::autodiff::append_vjp;
use runtime::events::{self, Event};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

/// Gradients by values of a graph.
pub(crate) struct Gradients {
    /// One for each value; `None` where the loss does not depend on it.
    pub values: Vec<Option<Value>>,
    /// Ops at which gradients end, with their lines and the reason.
    pub cuts: Vec<String>,
}

impl Gradients {
    /// Counts where gradients end.
    pub fn record_cuts(&self) {
        self.cuts.iter().for_each(|cut| events::record(Event::GradientCut, format_args!("the gradient ends at {cut}")));
    }
}

/// The origin of a line that asks for a gradient.
pub(crate) fn origin(graph: &mut Graph, at: &'static Location<'static>) -> OriginId {
    let scope = scope::current().to_string().into();
    graph.origins.intern(Origin { location: at.into(), scope, gradient: true })
}

/// Appends the gradients of a scalar by values of the root region.
pub(crate) fn gradients(graph: &mut Graph, loss: Value, wrt: &[Value], origins: &[OriginId]) -> Result<Gradients> {
    let found = catch_unwind(AssertUnwindSafe(|| {
        let seed = emitter(graph, origins).full_like(loss, 1.0);
        append_vjp(graph, &[(loss, seed)], wrt)
    }))
    .map_err(|payload| strict::bug(payload, "grad"))?;
    let cuts = found.cuts.iter().map(|c| {
        let line = c.origins.first().map(|o| format!(" at {o}")).unwrap_or_default();
        format!("{}{line}: {}", c.op, c.reason)
    });
    Ok(Gradients { values: found.values, cuts: cuts.collect() })
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
