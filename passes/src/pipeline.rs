//! The pipeline, in one list.

use crate::canonicalize::Canonicalize;
use crate::checks::CheckOnce;
use crate::contractions::StrideContractions;
use crate::cse::EliminateCommonSubexpressions;
use crate::dce::EliminateDeadCode;
use crate::driver::{Outcome, PassObserver, Settings, run};
use crate::epilogues::FuseEpilogues;
use crate::fold::FoldConstants;
use crate::fuse::{Fuse, Isolate};
use crate::hoist::Hoist;
use crate::inline::Inline;
use crate::join::StageJoins;
use crate::legalize::Legalize16;
use crate::pass::{Pass, PassError};
use crate::split::SplitReductions;
use crate::widen::Widen;
use ir::Graph;

/// From a graph as traced to one that [`lower`](crate::lower::lower) takes. Each pass says in
/// [`about`](Pass::about) what it needs and guarantees.
pub fn pipeline() -> Vec<Box<dyn Pass>> {
    vec![
        // Before everything: calls are for transforms.
        Box::new(Inline),
        // Tracing and differentiation leave much that nobody uses: it goes before time is spent on it.
        Box::new(EliminateDeadCode),
        // After dead code went, with whatever it checked; before the rules for ops that check nothing.
        Box::new(CheckOnce),
        // Views of constants become constants here, so that folding sees them.
        Box::new(Canonicalize),
        // Before 16-bit floats are legalised, so that they fold by their own reference evaluation.
        Box::new(FoldConstants),
        // After folding, which would have to see through conversions.
        Box::new(Legalize16),
        // What folding and legalisation opened up. The last one: it would undo `split`, `join` and `contractions`.
        Box::new(Canonicalize),
        // Before the merge, for what several loops compute.
        Box::new(Hoist),
        // Last of the simplifications: whatever they made equal is merged.
        Box::new(EliminateCommonSubexpressions),
        // Before passes that decide by what is there.
        Box::new(EliminateDeadCode),
        // Before fusion, so that a first stage fuses with what it reads.
        Box::new(SplitReductions),
        // Before fusion, which leaves each stage alone.
        Box::new(StageJoins),
        // Before fusion, so that the transposes fuse with what computes the operand.
        Box::new(StrideContractions),
        // After everything that adds ops.
        Box::new(Fuse),
        // Whatever fusion left, or everything if it is switched off.
        Box::new(Isolate),
        // Inside groups only, so after them.
        Box::new(Widen),
        // By what groups compute once rounding in between is gone.
        Box::new(FuseEpilogues),
        // Conversions that `widen` left without use, and products that have moved.
        Box::new(EliminateDeadCode),
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
