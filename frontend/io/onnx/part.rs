//! A part of a model as a function that is traced: nodes, with what is known before they run, and what comes after them.

use super::evaluate::{Frame, Rest, Stop};
use super::graph::{Graph, Kind, Name, Node};
use super::ops;
use super::value::{Operand, Value, refuse};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::jit::{Jit, jit};
use crate::tensor::Tensor;
use crate::tree::{Fixed, Step, Tree, Visit};
use crate::{DType, Dim, Literal, device, extent, trace};
use ir::Symbol;
use runtime::events::{self, Event};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;

thread_local! {
    /// The line that called the model, which ops are recorded for.
    static LINE: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Ops are recorded for the line that calls now.
pub(super) fn remember_line() {
    LINE.set(Some(here()));
}

/// Elements of an input at most that sizes are computed of.
const MOST_SIZES: i64 = 64;

/// The largest extent that a symbol stands for.
pub(super) const MOST_EXTENT: usize = 1 << 29;

/// Values with the names that the model has for them.
#[derive(Clone)]
pub(super) struct Given {
    pub names: Arc<[Name]>,
    pub values: Vec<Value>,
}

impl Tree for Given {
    fn visit(&self, v: &mut dyn Visit) {
        v.fixed(Fixed::Length(self.values.len()));
        for (name, value) in self.names.iter().zip(&self.values) {
            v.enter(Step::Key(name));
            value.visit(v);
            v.exit();
        }
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        self.values.visit_mut(f);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        Given { names: self.names.clone(), values: self.values.map(f) }
    }
}

/// What a part yields.
pub(super) struct Outcome {
    pub given: Given,
    pub next: Arc<Next>,
}

/// What comes after a part.
pub(super) struct Next {
    /// What is known.
    pub known: HashMap<Name, Operand>,
    pub then: Then,
}

pub(super) enum Then {
    Done,
    /// Inputs whose values must be known.
    Specialise(BTreeSet<Name>),
    /// The part ends here.
    Cut(Cut),
}

/// Where a part ends.
pub(super) struct Cut {
    /// Values that must be known, with the nodes that ask for them.
    values: Vec<(Name, usize)>,
    /// Nodes that run apart.
    apart: Vec<usize>,
    rest: Vec<usize>,
}

impl Cut {
    /// Which node ends the part, and why.
    pub fn reason(&self, graph: &Graph) -> String {
        let node = |i: usize| format!("the node `{}` ({})", graph.nodes[i].name, graph.nodes[i].op.name);
        let value = |(name, i): &(Name, usize)| format!("{} reads the value of `{name}`", node(*i));
        let apart = |&i: &usize| format!("{} makes a shape that depends on values", node(i));
        self.apart.first().map(apart).or(self.values.first().map(value)).unwrap_or_default()
    }
}

impl Tree for Outcome {
    fn visit(&self, v: &mut dyn Visit) {
        self.given.visit(v);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        self.given.visit_mut(f);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        Outcome { given: self.given.map(f), next: self.next.clone() }
    }
}

/// A function of inputs, and of parameters in the place of those of the file.
pub(super) type Traced = Jit<(Given, BTreeMap<String, Tensor>), Outcome>;

/// Nodes to run, with what is known before.
#[derive(Clone)]
pub(super) struct Part {
    pub graph: Arc<Graph>,
    pub inputs: Arc<[Name]>,
    pub nodes: Vec<usize>,
    pub known: Arc<HashMap<Name, Operand>>,
    /// True if outputs of the graph that are known are results too.
    pub whole: bool,
}

/// What the part after another is, with its arguments.
pub(super) struct Following {
    pub part: Part,
    pub given: Given,
    /// Values that are known since.
    pub found: Vec<(Name, Literal)>,
}

impl Following {
    /// Says that it is for values.
    pub fn record(&self) {
        for (name, literal) in &self.found {
            events::record(Event::Specialised, format_args!("`{name}` became {} at {}", shown(literal), here()));
        }
    }
}

impl Part {
    /// The function, with symbols for open extents if it is `open`.
    pub fn function(self: &Arc<Part>, open: bool) -> Traced {
        let part = self.clone();
        let name = if part.graph.name.is_empty() { "model".to_string() } else { identifier(&part.graph.name) };
        let made = jit(move |given: Given, parameters: BTreeMap<String, Tensor>| part.traced(given, parameters));
        let symbols = if open { self.symbols() } else { Vec::new() };
        symbols.iter().fold(made.named(&name), |f, (name, axis, symbol)| {
            f.dynamic(&format!("arguments.0.{name}"), *axis, symbol.name(), 1..=MOST_EXTENT)
        })
    }

    /// Axes of inputs that symbols stand for.
    pub fn symbols(&self) -> Vec<(Name, usize, Symbol)> {
        let mut all = Vec::new();
        let mut named: HashMap<String, Symbol> = HashMap::new();
        let ports: HashMap<&Name, &Kind> = self.graph.inputs.iter().map(|p| (&p.name, &p.kind)).collect();
        let dims = |kind: &&Kind| match kind {
            Kind::Tensor(_, Some(dims)) => dims.iter().flatten().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        let taken: HashSet<String> = ports.values().flat_map(dims).collect();
        let mut free = (0..).map(|n| format!("d{n}")).filter(|name| !taken.contains(name));
        for (i, name) in self.inputs.iter().enumerate() {
            let Some(Kind::Tensor(_, Some(dims))) = ports.get(name) else { continue };
            for (axis, dim) in dims.iter().enumerate() {
                let key = match dim {
                    Some(d) if d.known().is_some() => continue,
                    Some(d) => d.to_string(),
                    None => format!("\0{i}_{axis}"),
                };
                let symbol = named.entry(key.clone()).or_insert_with(|| {
                    let plain = identifier(&key) == key && Symbol::is_valid(&key);
                    let text = if plain { Some(key) } else { free.next() };
                    Symbol::new(&text.expect("there are names without end"))
                });
                all.push((name.clone(), axis, symbol.clone()));
            }
        }
        all
    }

    /// Records the nodes; what goes wrong is a result.
    fn traced(&self, given: Given, parameters: BTreeMap<String, Tensor>) -> Outcome {
        let _here = enter_at(LINE.get().unwrap_or(here()));
        let tensors = given.values.iter().filter_map(Value::tensor);
        let symbolic: Vec<Dim> = tensors
            .flat_map(|t| t.try_shape().map(|s| s.to_vec()).unwrap_or_default())
            .filter(|d| d.known().is_none())
            .collect();
        let mut outcome = self.record(&given, parameters);
        let stuck = match &outcome {
            Ok(outcome) => matches!(outcome.next.then, Then::Cut(_)),
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
        outcome.unwrap_or_else(|e| {
            let given = Given { names: Arc::new(["error".into()]), values: vec![Value::Tensor(Tensor::error(e))] };
            Outcome { given, next: Arc::new(Next { known: HashMap::new(), then: Then::Done }) }
        })
    }

    fn record(&self, given: &Given, parameters: BTreeMap<String, Tensor>) -> Result<Outcome> {
        let graph = &*self.graph;
        let again: HashSet<Name> = parameters.keys().map(|k| Name::from(k.as_str())).collect();
        let mut frame = Frame::new(graph, false);
        frame.values.extend(self.known.iter().map(|(k, v)| (k.clone(), v.clone())));
        let open = parameters.into_iter().map(|(k, t)| (Name::from(k), Operand::Tensor(t)));
        frame.values.extend(open.filter(|(k, _)| !self.known.contains_key(k)));
        frame.values.extend(self.inputs.iter().cloned().zip(given.values.iter().map(Operand::of)));
        let Rest { nodes: rest, values: wanted, apart } = frame.run(&self.nodes)?;
        let mut specialise = self.sources(&frame, given, &wanted);
        specialise.extend(wanted.iter().map(|(name, _)| name).filter(|name| again.contains(*name)).cloned());
        if !specialise.is_empty() {
            // Nothing but the names of what must be known.
            let next = Next { known: (*self.known).clone(), then: Then::Specialise(specialise) };
            return Ok(Outcome { given: Given { names: Arc::new([]), values: Vec::new() }, next: Arc::new(next) });
        }
        let outputs: BTreeSet<&Name> = graph.outputs.iter().map(|p| &p.name).collect();
        let mut after: Vec<Name> = graph.outputs.iter().map(|p| p.name.clone()).collect();
        after.extend(rest.iter().flat_map(|&n| graph.nodes[n].reads().cloned()));
        let mut seen = HashSet::new();
        after.retain(|name| seen.insert(name.clone()));
        let (mut names, mut values, mut known) = (Vec::new(), Vec::new(), HashMap::new());
        for name in after {
            // Parameters are given to every part.
            if again.contains(&name) && !outputs.contains(&name) {
                continue;
            }
            let Some(value) = frame.get(&name).filter(|_| frame.values.contains_key(&name) || outputs.contains(&name))
            else {
                continue;
            };
            if value.is_known() && !(self.whole && rest.is_empty()) {
                known.insert(name, value);
            } else {
                values.push(value.value()?);
                names.push(name);
            }
        }
        let then = match rest.is_empty() {
            true => Then::Done,
            false => {
                let rest = rest.into_iter().filter(|n| apart.binary_search(n).is_err()).collect();
                Then::Cut(Cut { values: wanted, apart, rest })
            }
        };
        let given = Given { names: names.into(), values };
        Ok(Outcome { given, next: Arc::new(Next { known, then }) })
    }

    /// The inputs among these values, and those that sizes among them are computed of, if these are few integers and the ops
    /// such that other inputs mostly mean other sizes. Where they do not (a reduction, a large input, a condition), the part
    /// ends, and the next is for the value; so it does for floats, which then keep their gradients.
    fn sources<'a>(&'a self, frame: &Frame, given: &Given, wanted: &'a [(Name, usize)]) -> BTreeSet<Name> {
        if wanted.is_empty() {
            return BTreeSet::new();
        }
        let few = |v: &Value| {
            let ty = v.tensor().and_then(|t| t.try_type().ok());
            ty.is_some_and(|ty| ty.dtype.is_int() && ty.shape.numel().known().is_some_and(|n| n <= MOST_SIZES))
        };
        let inputs: HashSet<&Name> = self.inputs.iter().collect();
        let sizes = self.inputs.iter().zip(&given.values).filter(|(_, v)| few(v));
        // Each size with what computes it.
        let mut of: HashMap<&Name, Option<&Node>> = sizes.map(|(name, _)| (name, None)).collect();
        let is_known = |name: &Name| frame.get(name).is_some_and(|v| v.is_known() || v.ints().is_some());
        for node in self.nodes.iter().map(|&n| &self.graph.nodes[n]) {
            let of_sizes = |name: &Name| of.contains_key(name) || !inputs.contains(name) && is_known(name);
            if !node.has_bodies() && ops::computes_sizes(node.op) && node.reads().all(of_sizes) {
                let new: Vec<&Name> = node.outputs.iter().flatten().filter(|o| !is_known(o)).collect();
                of.extend(new.into_iter().map(|o| (o, Some(node))));
            }
        }
        let (mut found, mut seen) = (BTreeSet::new(), HashSet::new());
        let is_condition =
            |name: &Name| frame.get(name).and_then(|v| v.tensor()).is_some_and(|t| t.dtype() == DType::Bool);
        let is_size = |name: &Name| of.contains_key(name) && !is_condition(name);
        let mut open: Vec<&Name> =
            wanted.iter().map(|(name, _)| name).filter(|n| inputs.contains(n) || is_size(n)).collect();
        while let Some(name) = open.pop() {
            if inputs.contains(name) {
                found.insert(name.clone());
            } else if let Some(Some(node)) = of.get(name)
                && seen.insert(name)
            {
                open.extend(node.reads());
            }
        }
        found
    }

    /// The part after this one, of what it was given and what it yielded. Nodes that run apart run here.
    pub fn following(
        &self,
        given: Given,
        outcome: Outcome,
        parameters: &BTreeMap<String, Tensor>,
    ) -> Result<Following> {
        let graph = &*self.graph;
        let next = outcome.next;
        let mut frame = Frame::new(graph, true);
        frame.values.extend(parameters.iter().map(|(k, t)| (Name::from(k.as_str()), Operand::Tensor(t.clone()))));
        frame.values.extend(next.known.iter().map(|(k, v)| (k.clone(), v.clone())));
        let (given, wanted, apart, rest): (Given, BTreeSet<Name>, &[usize], &[usize]) = match &next.then {
            Then::Specialise(names) => (given, names.clone(), &[], &self.nodes),
            Then::Cut(c) => {
                let wanted = c.values.iter().map(|(name, _)| name.clone()).collect();
                (outcome.given, wanted, &c.apart, &c.rest)
            }
            Then::Done => return Err(refuse(Code::Bug, "there is nothing after the last part", "please report it")),
        };
        let pairs = || given.names.iter().zip(&given.values);
        frame.values.extend(pairs().map(|(k, v)| (k.clone(), Operand::of(v))));
        let mut known = next.known.clone();
        let mut found = Vec::new();
        for name in &wanted {
            // There is no gradient by what must be known.
            let value = match frame.get(name) {
                Some(Operand::Tensor(t)) => Operand::Tensor(t.plain().clone()),
                value => value.unwrap_or(Operand::Nothing),
            };
            let literal = match value.literal() {
                Some(l) => l?,
                None => return Err(refuse(Code::Bug, format!("`{name}` has no value"), "please report it")),
            };
            known.insert(name.clone(), Operand::Tensor(super::tensors::known(literal.clone())?));
            found.push((name.clone(), literal));
        }
        let mut inputs: Vec<(Name, Value)> =
            pairs().filter(|(k, _)| !wanted.contains(*k)).map(|(k, v)| (k.clone(), v.clone())).collect();
        for &number in apart {
            let node = &graph.nodes[number];
            let reason = format_args!("the node `{}` ({}) runs between two graphs", node.name, node.op.name);
            events::record(Event::Specialised, reason);
            let place = || device::of_tensors(given.values.iter().filter_map(Value::tensor));
            let results = device::on(place(), || frame.step(node)).map_err(|stop| match stop {
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
        let left = |n: &usize| !graph.nodes[*n].outputs.iter().flatten().all(|o| known.contains_key(o));
        let nodes: Vec<usize> = rest.iter().copied().filter(left).collect();
        let mut read: HashSet<&Name> = nodes.iter().flat_map(|&n| graph.nodes[n].reads()).collect();
        read.extend(graph.outputs.iter().map(|p| &p.name));
        inputs.retain(|(name, _)| read.contains(name));
        let (names, values): (Vec<Name>, Vec<Value>) = inputs.into_iter().unzip();
        let names: Arc<[Name]> = names.into();
        let part =
            Part { graph: self.graph.clone(), inputs: names.clone(), nodes, known: Arc::new(known), whole: self.whole };
        Ok(Following { part, given: Given { names, values }, found })
    }
}

/// Elements of a value that are shown.
const SHOWN: usize = 64;

/// A value in words, the first of its elements if there are many.
pub(super) fn shown(literal: &Literal) -> String {
    let n = literal.numel();
    let all: Vec<String> = literal.iter().take(SHOWN).map(|s| s.to_string()).collect();
    let more = if n > SHOWN { format!(", … {} more", n - SHOWN) } else { String::new() };
    format!("{} [{}{more}]", literal.ty(), all.join(", "))
}

/// A name of letters, digits and underscores.
fn identifier(name: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let text: String = name.chars().take(64).map(word).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) { format!("_{text}") } else { text }
}
