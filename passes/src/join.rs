//! Long concatenations in stages.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::ops::GraphEmitter;
use ir::{Emit, Graph, Op, Region, Value};

/// Operands of a concatenation above which its readers do not choose among them for every element: its operands are
/// copied into one memory first, by a loop each.
pub(crate) const MANY: usize = 4;
/// Operands of one stage: the time to compile a kernel grows faster than the number of its loops.
const MOST: usize = 64;

/// True if an op joins so many operands that it gets a kernel of its own.
pub(crate) fn joins_many(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    data.operands.len() > MANY && data.primitive.joined_axis().is_some()
}

/// Makes concatenations of very many operands concatenations of concatenations.
#[derive(Clone, Copy, Debug)]
pub struct StageJoins;

impl Pass for StageJoins {
    fn name(&self) -> &'static str {
        "join"
    }
    fn about(&self) -> &'static str {
        "needs that canonicalize does not run after it; no concatenation has more than 64 operands"
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        let mut changed = false;
        for region in graph.reachable_regions() {
            changed |= graph.rewrite(region, |graph, op| {
                let data = graph.op(op);
                if data.operands.len() <= MOST || data.primitive.joined_axis().is_none() {
                    return Rewrite::Keep;
                }
                Rewrite::Replace([staged(graph, region, op)].into_iter().collect())
            });
        }
        Ok(changed)
    }
}

fn staged(graph: &mut Graph, region: Region, op: Op) -> Value {
    let data = graph.op(op).clone();
    let mut b = GraphEmitter { graph, region, origins: data.origins };
    let mut parts = data.operands.to_vec();
    while parts.len() > MOST {
        // As even as can be, so that stages of equal shape share a kernel.
        let stages = parts.len().div_ceil(MOST);
        let even = parts.len() / stages;
        let longer = parts.len() % stages;
        let mut rest = parts.as_slice();
        let take = |stage: usize| {
            let (these, later) = rest.split_at(even + usize::from(stage < longer));
            rest = later;
            b.emit(data.primitive.clone(), these)
        };
        parts = (0..stages).map(take).collect();
    }
    b.emit(data.primitive.clone(), &parts)
}
