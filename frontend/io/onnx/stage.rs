//! Calls of a model: one compiled function, or several with what cannot be traced between them.
//!
//! A stage is a part of the model with its compiled functions. Where
//! the value of an input must be known (it is a shape, an axis, a size), the stage goes on as another one for that value;
//! where a value that was computed must be, or where the shape of a result depends on values, the stage ends, and what is
//! left is another stage. Stages are kept by the values that they are for.

use super::evaluate::{Frame, at_node};
use super::graph::{Graph, Name};
use super::part::{Given, Next, Outcome, Part, Then, Traced, remember_line};
use super::value::{Operand, Value, refuse};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::{Literal, trace};
use runtime::events::{self, Event};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Stages after one stage that are kept.
const KEPT: usize = 64;

/// What tells the stages after one stage apart: the trace that ended, and the values that are known since.
#[derive(PartialEq)]
struct Key {
    next: usize,
    literals: Vec<Literal>,
    /// What results of nodes that ran apart are; their extents are told apart by the function of the stage.
    structure: String,
}

/// A stage after another; the trace that ended is kept, since its place tells it apart.
type After = (Key, Arc<Stage>, Arc<Next>);

/// A part with its functions, and the stages after it.
pub(super) struct Stage {
    part: Arc<Part>,
    function: Traced,
    /// For calls with an empty axis, which no symbol stands for.
    exact: Option<Traced>,
    after: Mutex<Vec<After>>,
}

impl Stage {
    pub fn new(part: Part) -> Stage {
        let part = Arc::new(part);
        let exact = (!part.symbols().is_empty()).then(|| part.function(false));
        Stage { function: part.function(true), exact, part, after: Mutex::new(Vec::new()) }
    }

    fn call(&self, given: &Given, parameters: &BTreeMap<String, Tensor>) -> Result<Outcome> {
        let exact = self.exact.as_ref().filter(|_| has_empty(given));
        exact.unwrap_or(&self.function).call(given, parameters).map_err(|e| at_node(&self.part.graph, e))
    }

    /// The stage after this one, with its arguments.
    fn following(
        &self,
        given: Given,
        outcome: Outcome,
        parameters: &BTreeMap<String, Tensor>,
    ) -> Result<(Arc<Stage>, Given)> {
        let next = outcome.next.clone();
        let following = self.part.following(given, outcome, parameters)?;
        let structure = following.given.values.iter().map(structure).collect::<Vec<_>>().join(",");
        let literals = following.found.iter().map(|(_, l)| l.clone()).collect();
        let key = Key { next: Arc::as_ptr(&next) as usize, literals, structure };
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = after.iter().position(|(k, ..)| *k == key) {
            // The last used is the last.
            let found = after.remove(at);
            let stage = found.1.clone();
            after.push(found);
            return Ok((stage, following.given));
        }
        following.record();
        let made = Arc::new(Stage::new(following.part));
        if after.len() >= KEPT {
            after.remove(0);
            let reason = format_args!("a model: {KEPT} stages are kept, one goes");
            events::record(Event::Eviction, reason);
        }
        after.push((key, made.clone(), next));
        Ok((made, following.given))
    }
}

/// True if an axis is empty, which no symbol stands for.
pub(super) fn has_empty(given: &Given) -> bool {
    let empty = |v: &Value| v.tensor().is_some_and(|t| t.ty().shape.iter().any(|d| d.is(0)));
    given.values.iter().any(empty)
}

/// The first part of a graph whose inputs are given in that order.
pub(super) fn first(graph: &Arc<Graph>, inputs: Vec<Name>, known: HashMap<Name, Operand>) -> Part {
    let left = |n: &usize| !graph.nodes[*n].outputs.iter().flatten().all(|o| known.contains_key(o));
    let nodes = needed(graph).into_iter().filter(left).collect();
    Part { graph: graph.clone(), inputs: inputs.into(), nodes, known: Arc::new(known), whole: false }
}

/// What is computed of initialisers alone, once and before any call, unless it is much larger than they are.
pub(super) fn computed_once(graph: &Graph, inputs: &[Name]) -> HashMap<Name, Operand> {
    let bytes = |v: &Operand| match v {
        Operand::Tensor(t) => t.ty().bytes().known().unwrap_or(i64::MAX),
        _ => 0,
    };
    let mut frame = Frame::new(graph, true);
    graph.there(|| {
        for number in needed(graph) {
            let node = &graph.nodes[number];
            let known = |name: &Name| !inputs.contains(name) && frame.get(name).is_some();
            // How much a loop makes is not known before it has run.
            if !node.op.folds || node.op.name == "Expand" || node.has_bodies() || !node.reads().all(known) {
                continue;
            }
            let read: i64 = node.reads().filter_map(|n| frame.get(n)).map(|v| bytes(&v)).fold(0, i64::saturating_add);
            // What fails here fails again where it is recorded, with its message.
            let Ok(results) = frame.step(node) else { continue };
            let made = results.iter().map(bytes).fold(0, i64::saturating_add);
            let most = read.saturating_mul(4).saturating_add(super::evaluate::FOLDED_BYTES);
            if made <= most && results.iter().all(Operand::is_known) {
                frame.keep(node, results);
            }
        }
    });
    frame.values
}

/// More parts than a call can have: every one knows or runs something that those before did not.
pub(super) fn most_parts(graph: &Graph) -> usize {
    2 * graph.nodes.len() + graph.inputs.len() + 2
}

/// The graph's outputs for inputs in the order of the first stage.
pub(super) fn call(
    first: &Arc<Stage>,
    values: Vec<Value>,
    parameters: &BTreeMap<String, Tensor>,
) -> Result<Vec<Value>> {
    remember_line();
    let graph = &first.part.graph;
    let mut stage = first.clone();
    let mut given = Given { names: stage.part.inputs.clone(), values };
    graph.there(|| {
        for _ in 0..most_parts(graph) {
            let outcome = stage.call(&given, parameters)?;
            if let Then::Done = outcome.next.then {
                return outputs(graph, &outcome);
            }
            (stage, given) = stage.following(given, outcome, parameters)?;
        }
        Err(refuse(Code::Bug, "the stages of the model have no end", "please report it"))
    })
}

fn outputs(graph: &Graph, outcome: &Outcome) -> Result<Vec<Value>> {
    let given: HashMap<&Name, &Value> = outcome.given.names.iter().zip(&outcome.given.values).collect();
    let output = |name: &Name| match given.get(name) {
        Some(v) => Ok((*v).clone()),
        None => match outcome.next.known.get(name) {
            Some(v) => v.value(),
            None => Err(refuse(Code::Bug, format!("the output `{name}` has no value"), "please report it")),
        },
    };
    graph.outputs.iter().map(|p| output(&p.name)).collect()
}

fn structure(value: &Value) -> String {
    match value {
        Value::Tensor(_) => "t".into(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(structure).collect::<String>()),
        Value::Optional(item) => format!("?{}", item.as_ref().map(|v| structure(v)).unwrap_or_default()),
    }
}

/// Nodes whose results count, in order.
fn needed(graph: &Graph) -> Vec<usize> {
    let mut wanted: BTreeSet<Name> = graph.outputs.iter().map(|p| p.name.clone()).collect();
    let mut nodes = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().flatten().any(|o| wanted.contains(o)) {
            wanted.extend(node.reads().cloned());
            nodes.push(i);
        }
    }
    nodes.reverse();
    nodes
}

/// The graph's outputs inside of a trace that is open.
pub(super) fn inline(
    graph: &Graph,
    inputs: &[Name],
    values: &[Value],
    parameters: &BTreeMap<String, Tensor>,
) -> Result<Vec<Value>> {
    let mut frame = Frame::new(graph, false);
    frame.values.extend(parameters.iter().map(|(k, t)| (Name::from(k.as_str()), Operand::Tensor(t.clone()))));
    frame.values.extend(inputs.iter().cloned().zip(values.iter().map(Operand::of)));
    let rest = frame.run(&needed(graph))?;
    if let Some(&first) = rest.nodes.first() {
        let node = &graph.nodes[first];
        let kind = trace::kind().unwrap_or("jit");
        let rule = match rest.values.first() {
            Some((name, _)) => format!("the value of `{name}` is not known while the function is traced by {kind}"),
            None => format!("the shape of its results is not known while the function is traced by {kind}"),
        };
        let e: Error = refuse(Code::Read, rule, "call the model outside of traced functions");
        return Err(e.note(format!("in the node `{}` ({})", node.name, node.op.name)));
    }
    let output = |name: &Name| match frame.get(name) {
        Some(v) => v.value(),
        None => Err(refuse(Code::Bug, format!("the output `{name}` has no value"), "please report it")),
    };
    graph.outputs.iter().map(|p| output(&p.name)).collect()
}
