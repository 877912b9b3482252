//! The parts of a model as graphs, to be looked at, compared, differentiated and saved.

use super::evaluate::at_node;
use super::graph::{Graph, Name};
use super::part::{Given, Part, Then, remember_line, shown};
use super::stage::{self, has_empty, most_parts};
use super::value::{Value, refuse};
use crate::error::{Code, Error, Result};
use crate::io::Exported;
use crate::tensor::{Held, Tensor};
use crate::tree::{Tree, leaves};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A part of a model that is one graph, for some inputs.
pub struct Segment {
    /// The graph. Its inputs and outputs have the names that the model has for them; floats of the file that it reads are
    /// its state.
    pub graph: Exported,
    /// What it is given in this call, by name.
    pub arguments: BTreeMap<String, Tensor>,
    /// What it holds only for: names of inputs, or of values of earlier segments, and what they are.
    pub fixed: Vec<(String, String)>,
    /// Which node ends it, and why; `None` of the last.
    pub end: Option<String>,
}

/// The segments of a graph for inputs; all but the last are run. With `first`, it is only that one, with open extents.
pub(super) fn segments(
    graph: &Arc<Graph>,
    names: Vec<Name>,
    values: Vec<Value>,
    metadata: &BTreeMap<String, String>,
    first: bool,
) -> Result<Vec<Segment>> {
    remember_line();
    let mut part = Part { whole: true, ..stage::first(graph, names, Default::default()) };
    let mut given = Given { names: part.inputs.clone(), values };
    let (mut all, mut fixed): (Vec<Segment>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    for _ in 0..most_parts(graph) {
        let shared = Arc::new(part.clone());
        let parameters = parameters(&part);
        let function = shared.function(first && !has_empty(&given));
        let (graph_of, outcome) =
            function.exported_with("export", &(&given, &parameters), false).map_err(|e| for_values(e, &fixed))?;
        let next = outcome.next.clone();
        let (then, end) = match &next.then {
            Then::Specialise(_) => (Some(outcome), None),
            Then::Done => (None, None),
            Then::Cut(cut) => {
                let run =
                    if first { None } else { Some(function.call(&given, &parameters).map_err(|e| at_node(graph, e))?) };
                (run, Some(cut.reason(graph)))
            }
        };
        if !matches!(next.then, Then::Specialise(_)) {
            let arguments = leaves(&|v| given.visit(v), "").into_iter().collect();
            let graph = named(graph_of, graph, metadata)?;
            all.push(Segment { graph, arguments, fixed: fixed.clone(), end });
        }
        let Some(outcome) = then else { return Ok(all) };
        let following = part.following(given, outcome, &floats(graph))?;
        following.record();
        // Weights that are sizes are what they are in the file.
        let asked = following.found.iter().filter(|(name, _)| !parameters.contains_key(&**name));
        fixed.extend(asked.map(|(name, value)| (name.to_string(), shown(value))));
        (part, given) = (following.part, following.given);
    }
    Err(refuse(Code::Bug, "the segments of the model have no end", "please report it"))
}

/// What went wrong for values that the graph is for.
fn for_values(e: Error, fixed: &[(String, String)]) -> Error {
    fixed.iter().fold(e, |e, (name, value)| e.note(format!("where `{name}` is {value}")))
}

fn floats(graph: &Graph) -> BTreeMap<String, Tensor> {
    let floats = graph.constants.iter().filter(|(_, t)| t.dtype().is_float());
    floats.map(|(name, t)| (name.to_string(), t.clone())).collect()
}

/// The floats of the file that a part reads, all of them where the large ones are.
fn parameters(part: &Part) -> BTreeMap<String, Tensor> {
    let graph = &*part.graph;
    let read = part.nodes.iter().flat_map(|&n| graph.nodes[n].reads()).chain(graph.outputs.iter().map(|p| &p.name));
    let floats = read.filter_map(|name| {
        let t = graph.constants.get(name).filter(|t| t.dtype().is_float())?;
        let replaced = part.inputs.contains(name) || part.known.contains_key(name);
        (!replaced).then(|| (name.to_string(), t.to_device(graph.device)))
    });
    floats.collect()
}

/// With the names of the model, also of those of its weights that are constants.
fn named(exported: Exported, graph: &Graph, metadata: &BTreeMap<String, String>) -> Result<Exported> {
    let place = |t: &Tensor| match t.held() {
        Held::Array(a) if a.byte_len() > 0 => Some((a.device(), a.address(), a.ty())),
        _ => None,
    };
    // Of those that are one tensor, the first by name.
    let sorted: BTreeMap<&Name, &Tensor> = graph.constants.iter().collect();
    let weights: HashMap<_, &Name> = sorted.into_iter().rev().filter_map(|(name, t)| Some((place(t)?, name))).collect();
    let constants: HashMap<String, &Name> =
        exported.constants().into_iter().filter_map(|(name, t)| Some((name, *weights.get(&place(&t)?)?))).collect();
    let of = |name: &str| match constants.get(name) {
        Some(weight) => weight.to_string(),
        None => {
            let rest = ["arguments.0.", "arguments.1.", "result."].iter().find_map(|p| name.strip_prefix(p));
            rest.unwrap_or(name).to_string()
        }
    };
    let named = exported.bound("arguments.1").with_names(of)?;
    Ok(metadata.iter().fold(named, |e, (key, value)| e.with_metadata(key, value)))
}
