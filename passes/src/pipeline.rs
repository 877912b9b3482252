//! The pipeline, in one list.

use crate::cse::EliminateCommonSubexpressions;
use crate::dce::EliminateDeadCode;
use crate::driver::{Outcome, PassObserver, Settings, run};
use crate::fuse::{Fuse, Isolate};
use crate::pass::{Pass, PassError};
use ir::Graph;

/// From a graph as traced to one that [`lower`](crate::lower::lower) takes. Each pass says in
/// [`about`](Pass::about) what it needs and guarantees.
pub fn pipeline() -> Vec<Box<dyn Pass>> {
    vec![
        // Duplicates and leftovers of tracing and differentiation go before anything looks at them.
        Box::new(EliminateCommonSubexpressions),
        Box::new(EliminateDeadCode),
        // Kernels: from here on the root region is a list of groups and library calls.
        Box::new(Fuse),
        Box::new(Isolate),
    ]
}

/// Runs the [`pipeline`] on a graph.
pub fn optimize(
    graph: Graph,
    settings: &Settings,
    observer: Option<&mut dyn PassObserver>,
) -> Result<Outcome, PassError> {
    run(graph, &pipeline(), settings, observer)
}
