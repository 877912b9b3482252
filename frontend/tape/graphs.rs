//! Graphs on the tape: compiled functions and transforms of functions, called on tracked tensors.

use super::modes::frozen;
use super::plan::Plan;
use crate::cache::Bounded;
use crate::device;
use crate::error::Result;
use crate::modes::Modes;
use crate::tensor::Tensor;
use ir::Graph;
use passes::autodiff::Again;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// A graph by its structure, with the inputs that want a gradient.
struct Key {
    modes: Modes,
    hash: u64,
    wanted: Vec<bool>,
    graph: Graph,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.hash == other.hash && self.wanted == other.wanted && self.modes == other.modes && self.graph == other.graph
    }
}
impl Eq for Key {}
impl Hash for Key {
    fn hash<H: Hasher>(&self, h: &mut H) {
        (self.hash, &self.wanted).hash(h);
    }
}
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:016x}", self.graph.name, self.hash)
    }
}

static CACHE: LazyLock<Bounded<Key, Arc<Plan>>> = LazyLock::new(|| Bounded::new("graphs on the tape", 256));

/// True if a call with these arguments, outside of traces, goes on the tape.
pub(crate) fn wants<'a>(mut arguments: impl Iterator<Item = &'a Tensor>) -> bool {
    arguments.any(|t| t.tracked().is_some()) && !frozen()
}

/// The plan of a graph for tracked inputs.
pub(crate) fn plan(graph: &Graph, wanted: &[bool]) -> Result<Arc<Plan>> {
    let by: Vec<usize> = (0..wanted.len()).filter(|&i| wanted[i]).collect();
    Ok(Arc::new(Plan::new(graph, &by, Again::Cheap, None)?))
}

/// The outputs of a graph for tensors some of which are tracked.
pub(crate) fn apply(name: &'static str, graph: &Graph, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
    device::among(arguments, || apply_here(name, graph, arguments))
}

fn apply_here(name: &'static str, graph: &Graph, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
    let wanted: Vec<bool> = arguments.iter().map(|t| t.tracked().is_some()).collect();
    let hash = graph.structural_hash();
    let key = Key { modes: crate::modes::current()?, hash, wanted, graph: graph.clone() };
    let plan = match CACHE.get(&key) {
        Some(plan) => plan,
        None => {
            let made = plan(graph, &key.wanted)?;
            CACHE.insert(key, made.clone());
            made
        }
    };
    run(name, &plan, arguments)
}

/// Runs a plan on tensors.
pub(crate) fn run(name: &'static str, plan: &Arc<Plan>, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(plan.run(name, arguments, None)?.into_vec())
}
