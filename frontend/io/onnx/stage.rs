//! Calls of a model: one compiled function, or several with what cannot be traced between them.
//!
//! A stage is a set of nodes with what is known before they run. Its function is traced for the types of its inputs. Where
//! the value of an input must be known (it is a shape, an axis, a size), the stage goes on as another one for that value;
//! where a value that was computed must be, or where the shape of a result depends on values, the stage ends, and what is
//! left is another stage. Stages are kept by the values that they are for.

use super::evaluate::{Frame, Rest, Stop};
use super::graph::{Graph, Kind, Name};
use super::value::{Operand, Value, refuse};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::jit::{Jit, Lowered, jit};
use crate::tensor::Tensor;
use crate::tree::{Tree, Visit};
use crate::{Dim, Literal, extent, trace};
use ir::Symbol;
use runtime::events::{self, Event};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    /// The line that called the model, which ops are recorded for.
    static LINE: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Stages after one stage that are kept.
const KEPT: usize = 64;

/// What a stage yields.
struct Outcome {
    values: Vec<Value>,
    next: Arc<Next>,
}

/// What comes after a stage.
struct Next {
    /// Names of the values that it yields.
    names: Vec<Name>,
    /// What is known.
    known: HashMap<Name, Operand>,
    then: Then,
}

enum Then {
    Done,
    /// Inputs whose values must be known.
    Specialise(BTreeSet<Name>),
    /// Values that must be known, and nodes that run apart.
    Cut {
        values: BTreeSet<Name>,
        apart: Vec<usize>,
        rest: Vec<usize>,
    },
}

impl Tree for Outcome {
    fn visit(&self, v: &mut dyn Visit) {
        self.values.visit(v);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        self.values.visit_mut(f);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        Outcome { values: self.values.map(f), next: self.next.clone() }
    }
}

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

/// A function of inputs, and of parameters in the place of those of the file.
type Traced = Jit<(Vec<Value>, BTreeMap<String, Tensor>), Outcome>;

/// Nodes to run, with what is known before.
pub(super) struct Stage {
    inputs: Vec<Name>,
    nodes: Vec<usize>,
    function: Traced,
    /// For calls with an empty axis, which no symbol stands for.
    exact: Traced,
    dynamic: bool,
    after: Mutex<Vec<After>>,
}

impl Stage {
    /// The first stage of a graph whose inputs are given in that order.
    pub fn first(graph: &Arc<Graph>, inputs: Vec<Name>, known: HashMap<Name, Operand>) -> Stage {
        let left = |n: &usize| !graph.nodes[*n].outputs.iter().flatten().all(|o| known.contains_key(o));
        let nodes = needed(graph).into_iter().filter(left).collect();
        Stage::new(graph, inputs, known, nodes)
    }

    fn new(graph: &Arc<Graph>, inputs: Vec<Name>, known: HashMap<Name, Operand>, nodes: Vec<usize>) -> Stage {
        let dynamic = symbols(graph, &inputs);
        let is_dynamic = !dynamic.is_empty();
        let make = |with: &[(String, usize, Symbol)]| {
            let (graph, inputs, known, nodes) = (graph.clone(), inputs.clone(), known.clone(), nodes.clone());
            let name = if graph.name.is_empty() { "model".to_string() } else { identifier(&graph.name) };
            let run = move |values: Vec<Value>, parameters: BTreeMap<String, Tensor>| {
                traced(&graph, &inputs, &known, &nodes, values, parameters)
            };
            let made = jit(run).named(&name);
            with.iter().fold(made, |f, (path, axis, symbol)| f.dynamic(path, *axis, symbol.name(), 1..=MOST_EXTENT))
        };
        let (function, exact) = (make(&dynamic), make(&[]));
        Stage { inputs, nodes, function, exact, dynamic: is_dynamic, after: Mutex::new(Vec::new()) }
    }

    /// The function for a call.
    fn of(&self, values: &[Value]) -> &Traced {
        let empty = |v: &Value| v.tensor().is_some_and(|t| t.ty().shape.iter().any(|d| d.is(0)));
        if self.dynamic && values.iter().any(empty) { &self.exact } else { &self.function }
    }
}

/// What is computed of initialisers alone, once and before any call, unless it is much larger than they are.
pub(super) fn computed_once(graph: &Graph, inputs: &[Name]) -> HashMap<Name, Operand> {
    let bytes = |v: &Operand| match v {
        Operand::Tensor(t) => t.ty().bytes().known().unwrap_or(i64::MAX),
        _ => 0,
    };
    let mut frame = Frame::new(graph, None, true);
    for number in needed(graph) {
        let node = &graph.nodes[number];
        let known = |name: &Name| !inputs.contains(name) && frame.get(name).is_some();
        if !node.op.folds || node.op.name == "Expand" || !node.reads().all(known) {
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
    frame.values
}

/// The largest extent that a symbol stands for.
pub(super) const MOST_EXTENT: usize = 1 << 29;

/// The graph's outputs for inputs in the order of the first stage.
pub(super) fn call(
    graph: &Arc<Graph>,
    first: &Arc<Stage>,
    mut values: Vec<Value>,
    parameters: &BTreeMap<String, Tensor>,
) -> Result<Vec<Value>> {
    LINE.set(Some(here()));
    let mut stage = first.clone();
    // Every stage knows or runs something that those before did not.
    for _ in 0..2 * graph.nodes.len() + graph.inputs.len() + 2 {
        let outcome: Outcome = stage.of(&values).call(&values, parameters)?;
        if let Then::Done = outcome.next.then {
            return outputs(graph, outcome);
        }
        (stage, values) = following(graph, &stage, values, outcome, parameters)?;
    }
    Err(refuse(Code::Bug, "the stages of the model have no end", "please report it"))
}

/// As [`call`], up to the last stage, which is looked at.
pub(super) fn lower(
    graph: &Arc<Graph>,
    first: &Arc<Stage>,
    mut values: Vec<Value>,
    parameters: &BTreeMap<String, Tensor>,
) -> Result<Lowered> {
    LINE.set(Some(here()));
    let mut stage = first.clone();
    loop {
        let outcome: Outcome = stage.of(&values).call(&values, parameters)?;
        match outcome.next.then {
            Then::Done => return stage.of(&values).lower(&values, parameters),
            Then::Cut { ref apart, ref values, .. } => {
                let node = apart.first().map(|&i| format!("the node `{}` runs", graph.nodes[i].name));
                let value = values.first().map(|v| format!("the value of `{v}` is read"));
                let rule = format!("{} between two graphs", node.or(value).unwrap_or_default());
                return Err(refuse(Code::Argument, rule, "a model that is one graph for its inputs"));
            }
            Then::Specialise(_) => (stage, values) = following(graph, &stage, values, outcome, parameters)?,
        }
    }
}

fn outputs(graph: &Graph, outcome: Outcome) -> Result<Vec<Value>> {
    let given: HashMap<&Name, &Value> = outcome.next.names.iter().zip(&outcome.values).collect();
    let output = |name: &Name| match given.get(name) {
        Some(v) => Ok((*v).clone()),
        None => match outcome.next.known.get(name) {
            Some(v) => v.value(),
            None => Err(refuse(Code::Bug, format!("the output `{name}` has no value"), "please report it")),
        },
    };
    graph.outputs.iter().map(|p| output(&p.name)).collect()
}

/// The stage after one that ended, with its inputs.
fn following(
    graph: &Arc<Graph>,
    stage: &Arc<Stage>,
    values: Vec<Value>,
    outcome: Outcome,
    parameters: &BTreeMap<String, Tensor>,
) -> Result<(Arc<Stage>, Vec<Value>)> {
    let next = outcome.next;
    let mut frame = Frame::new(graph, None, true);
    frame.values.extend(parameters.iter().map(|(k, t)| (Name::from(k.as_str()), Operand::Tensor(t.clone()))));
    frame.values.extend(next.known.iter().map(|(k, v)| (k.clone(), v.clone())));
    let given = match &next.then {
        Then::Specialise(_) => stage.inputs.iter().zip(values).collect::<Vec<_>>(),
        _ => next.names.iter().zip(outcome.values).collect(),
    };
    frame.values.extend(given.iter().map(|(k, v)| ((*k).clone(), Operand::of(v))));
    let mut known = next.known.clone();
    let (wanted, apart, rest): (_, &[usize], Option<&Vec<usize>>) = match &next.then {
        Then::Specialise(names) => (names, &[], None),
        Then::Cut { values, apart, rest } => (values, apart, Some(rest)),
        Then::Done => return Err(refuse(Code::Bug, "there is no stage after the last", "please report it")),
    };
    let mut literals = Vec::new();
    for name in wanted {
        let value = frame.get(name).unwrap_or(Operand::Nothing);
        let literal = match value.literal() {
            Some(l) => l?,
            None => return Err(refuse(Code::Bug, format!("`{name}` has no value"), "please report it")),
        };
        known.insert(name.clone(), Operand::Tensor(super::tensors::known(literal.clone())?));
        literals.push(literal);
    }
    let mut inputs: Vec<(Name, Value)> =
        given.into_iter().filter(|(k, _)| !wanted.contains(*k)).map(|(k, v)| (k.clone(), v)).collect();
    for &number in apart {
        let node = &graph.nodes[number];
        events::record(
            Event::Specialised,
            format_args!("the node `{}` ({}) runs between two graphs", node.name, node.op.name),
        );
        let results = frame.step(node).map_err(|stop| match stop {
            Stop::Error(e) => e,
            _ => refuse(Code::Bug, format!("the node `{}` did not run", node.name), "please report it"),
        })?;
        for (name, result) in node.outputs.iter().zip(&results) {
            if let Some(name) = name {
                inputs.push((name.clone(), result.value()?));
            }
        }
        frame.keep(node, results);
    }
    let structure = inputs.iter().map(|(_, v)| structure(v)).collect::<Vec<_>>().join(",");
    let key = Key { next: Arc::as_ptr(&next) as usize, literals, structure };
    let (names, values): (Vec<Name>, Vec<Value>) = inputs.into_iter().unzip();
    let mut after = stage.after.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = after.iter().position(|(k, ..)| *k == key) {
        // The last used is the last.
        let found = after.remove(at);
        let stage = found.1.clone();
        after.push(found);
        return Ok((stage, values));
    }
    for (name, literal) in wanted.iter().zip(&key.literals) {
        events::record(Event::Specialised, format_args!("`{name}` became {literal:?} at {}", here()));
    }
    let left = |n: &usize| !graph.nodes[*n].outputs.iter().flatten().all(|o| known.contains_key(o));
    let nodes = rest.unwrap_or(&stage.nodes).iter().copied().filter(left).collect();
    let made = Arc::new(Stage::new(graph, names, known, nodes));
    if after.len() >= KEPT {
        after.remove(0);
        let reason = format_args!("a model: {KEPT} stages are kept, one goes");
        events::record(Event::Eviction, reason);
    }
    after.push((key, made.clone(), next));
    Ok((made, values))
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

/// Axes of inputs that symbols stand for, with the path of the input.
fn symbols(graph: &Graph, inputs: &[Name]) -> Vec<(String, usize, Symbol)> {
    let mut all = Vec::new();
    let mut named: HashMap<String, Symbol> = HashMap::new();
    for (i, name) in inputs.iter().enumerate() {
        let Some(port) = graph.inputs.iter().find(|p| p.name == *name) else { continue };
        let Kind::Tensor(_, Some(dims)) = &port.kind else { continue };
        for (axis, dim) in dims.iter().enumerate() {
            let key = match dim {
                Some(d) if d.known().is_some() => continue,
                Some(d) => d.to_string(),
                None => format!("\0{i}_{axis}"),
            };
            let count = named.len();
            let symbol = named.entry(key.clone()).or_insert_with(|| {
                let text = identifier(&key);
                let plain = text == key && Symbol::is_valid(&text);
                Symbol::new(&if plain { text } else { format!("d{count}") })
            });
            all.push((format!("arguments.0.{i}.0"), axis, symbol.clone()));
        }
    }
    all
}

/// A name of letters, digits and underscores.
fn identifier(name: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let text: String = name.chars().take(64).map(word).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) { format!("_{text}") } else { text }
}

/// Records the nodes of a stage.
fn traced(
    graph: &Graph,
    inputs: &[Name],
    known: &HashMap<Name, Operand>,
    nodes: &[usize],
    values: Vec<Value>,
    parameters: BTreeMap<String, Tensor>,
) -> Outcome {
    let _here = enter_at(LINE.get().unwrap_or(here()));
    let symbolic: Vec<Dim> = values
        .iter()
        .filter_map(Value::tensor)
        .flat_map(|t| t.try_shape().map(|s| s.to_vec()).unwrap_or_default())
        .filter(|d| d.known().is_none())
        .collect();
    let mut outcome = record(graph, inputs, known, nodes, values, parameters);
    let stuck = match &outcome {
        Ok(outcome) => !matches!(outcome.next.then, Then::Done),
        Err(_) => true,
    };
    // What does not work for a symbol, or needs a value, is traced again with numbers.
    // Where some symbols became numbers already, the others may do.
    if stuck && !symbolic.is_empty() {
        if !trace::has_specialized() {
            for d in &symbolic {
                let _ = extent(d);
            }
        }
        outcome = outcome.map_err(Error::observed);
    }
    let next = || Arc::new(Next { names: Vec::new(), known: HashMap::new(), then: Then::Done });
    outcome.unwrap_or_else(|e| Outcome { values: vec![Value::Tensor(Tensor::error(e))], next: next() })
}

fn record(
    graph: &Graph,
    inputs: &[Name],
    known: &HashMap<Name, Operand>,
    nodes: &[usize],
    values: Vec<Value>,
    parameters: BTreeMap<String, Tensor>,
) -> Result<Outcome> {
    let mut frame = Frame::new(graph, None, false);
    frame.values.extend(known.iter().map(|(k, v)| (k.clone(), v.clone())));
    frame.values.extend(parameters.into_iter().map(|(k, t)| (Name::from(k), Operand::Tensor(t))));
    frame.values.extend(inputs.iter().cloned().zip(values.iter().map(Operand::of)));
    let Rest { nodes: rest, values: wanted, apart } = frame.run(nodes)?;
    let specialise: BTreeSet<Name> =
        wanted.iter().map(|(name, _)| name).filter(|name| inputs.contains(name)).cloned().collect();
    if !specialise.is_empty() {
        // Nothing but the names of what must be known.
        let next = Next { names: Vec::new(), known: known.clone(), then: Then::Specialise(specialise) };
        return Ok(Outcome { values: Vec::new(), next: Arc::new(next) });
    }
    let mut after: BTreeSet<Name> = graph.outputs.iter().map(|p| p.name.clone()).collect();
    after.extend(rest.iter().flat_map(|&n| graph.nodes[n].reads().cloned()));
    let (mut names, mut values, mut kept) = (Vec::new(), Vec::new(), HashMap::new());
    for name in after {
        let Some(value) = frame.values.get(&name) else {
            if let Some(t) = graph.constants.get(&name).filter(|_| graph.outputs.iter().any(|p| p.name == name)) {
                kept.insert(name, Operand::Tensor(t.clone()));
            }
            continue;
        };
        if value.is_known() {
            kept.insert(name, value.clone());
        } else {
            names.push(name);
            values.push(value.value()?);
        }
    }
    let then = match rest.is_empty() {
        true => Then::Done,
        false => {
            let values = wanted.into_iter().map(|(name, _)| name).collect();
            let rest = rest.into_iter().filter(|n| !apart.contains(n)).collect();
            Then::Cut { values, apart, rest }
        }
    };
    Ok(Outcome { values, next: Arc::new(Next { names, known: kept, then }) })
}

/// The graph's outputs inside of a trace that is open.
pub(super) fn inline(
    graph: &Graph,
    inputs: &[Name],
    values: &[Value],
    parameters: &BTreeMap<String, Tensor>,
) -> Result<Vec<Value>> {
    let mut frame = Frame::new(graph, None, false);
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
