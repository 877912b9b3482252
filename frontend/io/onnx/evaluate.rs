//! Running the nodes of a graph: recording them into the open trace, or at once where all values are known.

use super::graph::{Attribute, Graph, Name, Node};
use super::value::{Ints, Operand, float, integer, refuse};
use crate::error::{Code, Error, Result};
use crate::tensor::{Tensor, number};
use crate::{DType, Device, Dim, Scalar, device, scope, trace};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Why a node did not run.
pub(super) enum Stop {
    Error(Error),
    /// The value of an operand must be known.
    Value(usize),
    /// All of its operands must be known: the shape of a result depends on them.
    Apart,
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Error(e)
    }
}

/// What a node yields.
pub(super) type Out = Result<Vec<Operand>, Stop>;

/// The values of a graph while it runs.
pub(super) struct Frame<'a> {
    pub graph: &'a Graph,
    pub values: HashMap<Name, Operand>,
    pub outer: Option<&'a Frame<'a>>,
    /// True where every value is known and nothing is traced.
    pub eager: bool,
    /// Iterations of loops that ran one by one so far, in this graph and in those around it and inside of it.
    iterations: Rc<Cell<u64>>,
}

/// What could not run yet.
#[derive(Default)]
pub(super) struct Rest {
    /// Nodes that did not run.
    pub nodes: Vec<usize>,
    /// Values that must be known, with the nodes that ask for them.
    pub values: Vec<(Name, usize)>,
    /// Nodes that run between traces.
    pub apart: Vec<usize>,
}

/// Iterations of all loops together that run one by one in a graph, at most; those of attempts to trace them count.
pub(super) const ITERATIONS: u64 = 1 << 16;

/// The largest result that is computed while a graph is traced, in bytes.
pub(super) const FOLDED_BYTES: i64 = 1 << 16;

impl<'a> Frame<'a> {
    pub fn new(graph: &'a Graph, eager: bool) -> Frame<'a> {
        Frame { graph, values: HashMap::new(), outer: None, eager, iterations: Rc::default() }
    }

    /// That of a body, which reads values of this one.
    pub fn body(&'a self, graph: &'a Graph, eager: bool) -> Frame<'a> {
        Frame { outer: Some(self), ..self.function(graph, eager) }
    }

    /// That of a function, which reads what it is given.
    pub fn function(&self, graph: &'a Graph, eager: bool) -> Frame<'a> {
        Frame { iterations: self.iterations.clone(), ..Frame::new(graph, eager) }
    }

    /// Counts an iteration of a loop that runs one by one; false if there were too many.
    pub fn iterate(&self) -> bool {
        self.iterations.set(self.iterations.get() + 1);
        self.iterations.get() <= ITERATIONS
    }

    pub fn get(&self, name: &str) -> Option<Operand> {
        if let Some(v) = self.values.get(name) {
            return Some(v.clone());
        }
        match self.graph.constants.get(name) {
            Some(t) => Some(Operand::Tensor(t.clone())),
            None => self.outer.and_then(|f| f.get(name)),
        }
    }

    /// Runs nodes as far as possible.
    pub fn run(&mut self, nodes: &[usize]) -> Result<Rest> {
        let mut rest = Rest::default();
        let mut missing: std::collections::HashSet<Name> = Default::default();
        for &number in nodes {
            let node = &self.graph.nodes[number];
            let blocked = !missing.is_empty() && node.reads().any(|r| missing.contains(r));
            let outcome = if blocked { None } else { Some(self.step(node)) };
            match outcome {
                Some(Ok(results)) => self.keep(node, results),
                Some(Err(Stop::Error(e))) => return Err(e),
                other => {
                    match other {
                        Some(Err(Stop::Value(i))) => match node.inputs.get(i).cloned().flatten() {
                            Some(name) => rest.values.push((name, number)),
                            None => rest.apart.push(number),
                        },
                        Some(_) => rest.apart.push(number),
                        None => {}
                    }
                    missing.extend(node.outputs.iter().flatten().cloned());
                    rest.nodes.push(number);
                }
            }
        }
        Ok(rest)
    }

    /// Runs all nodes of a body and yields its results.
    pub fn finish(&mut self) -> Out {
        let all: Vec<usize> = (0..self.graph.nodes.len()).collect();
        let rest = self.run(&all)?;
        if !rest.nodes.is_empty() {
            return Err(Stop::Apart);
        }
        self.graph.outputs.iter().map(|p| self.get(&p.name).ok_or(Stop::Apart)).collect()
    }

    pub fn keep(&mut self, node: &Node, results: Vec<Operand>) {
        for (name, value) in node.outputs.iter().zip(results) {
            if let Some(name) = name {
                self.values.insert(name.clone(), value);
            }
        }
    }

    /// Runs a node.
    pub fn step(&self, node: &Node) -> Out {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(match name {
                None => Operand::Nothing,
                Some(name) => self.get(name).ok_or_else(|| {
                    let rule = format!("the node `{}` reads `{name}`, which has no value", node.name);
                    refuse(Code::Text, rule, "")
                })?,
            });
        }
        let operands: Vec<Operand> = inputs.clone();
        let within = |stop: Stop| match stop {
            Stop::Error(e) => Stop::Error(e.in_node(&node.name, node.op.name, named(node, &operands))),
            other => other,
        };
        let _scope = scope::enter(&node.name);
        let mut call = Call { node, inputs, frame: self, eager: self.eager };
        if let Some(host) = node.op.host
            && let Some(ints) = call.followed()
            && let Some(result) = host(&call, &ints)
        {
            return Ok(vec![Operand::Ints(result)]);
        }
        let folds = !self.eager && node.op.folds && call.inputs.iter().all(Operand::is_known) && call.is_small();
        let results = if folds {
            call.eager = true;
            device::on(Some(Device::Cpu), || trace::suspended(|| (node.op.run)(&call)))
        } else {
            (node.op.run)(&call)
        };
        let results = results.map_err(within)?;
        if results.len() < node.outputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1) {
            let rule = format!("the op yields {} results, and {} are asked for", results.len(), node.outputs.len());
            return Err(within(call.fail(rule, "results that the op has")));
        }
        match results.iter().find_map(Operand::error) {
            Some(e) => Err(within(Stop::Error(e))),
            None => Ok(results),
        }
    }
}

/// Operands by the names that the model has for them, with their types.
fn named(node: &Node, operands: &[Operand]) -> Vec<String> {
    let one = |(name, value): (&Option<Name>, &Operand)| match name {
        Some(name) => format!("`{name}`: {}", value.describe()),
        None => value.describe(),
    };
    node.inputs.iter().zip(operands).map(one).collect()
}

/// What went wrong when a compiled function ran, with the node that the op was recorded for.
pub(super) fn at_node(graph: &Graph, e: Error) -> Error {
    if e.is_in_node() {
        return e;
    }
    let scope = e.scope();
    let is_in = |node: &&Node| {
        let mut places = scope.match_indices(node.name.as_str());
        places.any(|(at, text)| {
            let (before, after) = (&scope[..at], &scope[at + text.len()..]);
            (before.is_empty() || before.ends_with('.')) && (after.is_empty() || after.starts_with('.'))
        })
    };
    match graph.nodes.iter().filter(is_in).max_by_key(|n| n.name.len()) {
        Some(node) => {
            let names = node.inputs.iter().flatten().map(|name| format!("`{name}`")).collect();
            e.in_node(&node.name, node.op.name, names)
        }
        None => e,
    }
}

/// A node with its operands.
pub(super) struct Call<'a> {
    pub node: &'a Node,
    pub inputs: Vec<Operand>,
    pub frame: &'a Frame<'a>,
    /// True where nothing is traced.
    pub eager: bool,
}

impl Call<'_> {
    /// True if its operands are so few, and on the host, that it is computed while tracing, where they are known.
    fn is_small(&self) -> bool {
        let known = |name: &Name| self.frame.get(name).is_some_and(|v| v.is_known());
        let bytes = |v: &Operand| match v {
            Operand::Tensor(t) => t.ty().bytes().known().unwrap_or(i64::MAX),
            _ => 0,
        };
        let small = self.inputs.iter().map(bytes).fold(0, i64::saturating_add) <= FOLDED_BYTES;
        small && self.node.reads().all(known) && self.inputs.iter().all(Operand::is_on_host)
    }

    /// The operands, if all of them are integers that are followed.
    fn followed(&self) -> Option<Vec<Option<Ints>>> {
        let one = |v: &Operand| match v {
            Operand::Nothing => Some(None),
            v => v.ints().map(Some),
        };
        let all: Option<Vec<Option<Ints>>> = self.inputs.iter().map(one).collect();
        all.filter(|all| !all.is_empty())
    }

    pub fn version(&self) -> i64 {
        self.node.version
    }

    pub fn has(&self, i: usize) -> bool {
        !matches!(self.inputs.get(i), None | Some(Operand::Nothing))
    }

    /// True if a result is asked for.
    pub fn wants(&self, i: usize) -> bool {
        self.node.outputs.get(i).is_some_and(Option::is_some)
    }

    pub fn fail(&self, rule: impl Into<String>, legal: impl Into<String>) -> Stop {
        let operands: Vec<String> = self.inputs.iter().map(Operand::describe).collect();
        let name = self.node.op.name;
        Stop::Error(Error::new(Code::Argument, name, rule, legal).with_operands(operands))
    }

    fn missing(&self, i: usize, what: &str) -> Stop {
        self.fail(format!("operand {i} is not {what}"), format!("{what} as operand {i}"))
    }

    pub fn tensor(&self, i: usize) -> Result<Tensor, Stop> {
        self.inputs.get(i).and_then(Operand::tensor).ok_or_else(|| self.missing(i, "a tensor"))
    }

    pub fn maybe(&self, i: usize) -> Result<Option<Tensor>, Stop> {
        if self.has(i) { self.tensor(i).map(Some) } else { Ok(None) }
    }

    pub fn tensors(&self) -> Result<Vec<Tensor>, Stop> {
        (0..self.inputs.len()).map(|i| self.tensor(i)).collect()
    }

    /// The elements of an operand, which must be known.
    pub fn literal(&self, i: usize) -> Result<crate::Literal, Stop> {
        match self.inputs.get(i) {
            Some(Operand::Ints(ints)) if ints.known().is_none() => {
                let dims = self.dims(i)?.iter().map(|d| number(d).map(Dim::from)).collect::<Option<_>>();
                let all = Ints { dims: dims.ok_or(Stop::Value(i))?, ..ints.clone() };
                Ok(Operand::Ints(all).literal().ok_or(Stop::Value(i))??)
            }
            Some(v) => match v.literal() {
                Some(literal) => Ok(literal?),
                None => Err(Stop::Value(i)),
            },
            None => Err(self.missing(i, "a tensor")),
        }
    }

    /// Integers of an operand, which must be known but for symbols.
    pub fn dims(&self, i: usize) -> Result<Vec<Dim>, Stop> {
        match self.inputs.get(i) {
            Some(Operand::Ints(ints)) => Ok(ints.dims.clone()),
            _ => Ok(self.literal(i)?.iter().map(|s| Dim::from(integer(s))).collect()),
        }
    }

    /// Integers of an operand, which must be known; symbols become numbers.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>, Stop> {
        Ok(self.literal(i)?.iter().map(integer).collect())
    }

    /// The only element of an operand, which must be known.
    pub fn scalar(&self, i: usize) -> Result<Scalar, Stop> {
        let literal = self.literal(i)?;
        match literal.numel() {
            1 => Ok(literal.get(0)),
            n => Err(self.fail(format!("operand {i} has {n} elements"), "one element")),
        }
    }

    pub fn number(&self, i: usize) -> Result<f64, Stop> {
        self.scalar(i).map(float)
    }

    /// Integers of an attribute, or in later versions of an operand.
    pub fn ints_of(&self, attribute: &str, i: usize) -> Result<Option<Vec<i64>>, Stop> {
        match self.list(attribute) {
            Some(v) => Ok(Some(v)),
            None if self.has(i) => self.ints(i).map(Some),
            None => Ok(None),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.node.attributes.get(name)
    }

    /// The value of an attribute: the reader has seen that it is of the type that the op declares.
    fn value<'a, T>(&'a self, name: &str, of: impl FnOnce(&'a Attribute) -> Option<T>) -> Option<T> {
        self.attribute(name).map(|a| of(a).expect("attributes are of the types that signatures declare"))
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.given_int(name).unwrap_or(default)
    }

    fn given_int(&self, name: &str) -> Option<i64> {
        self.value(name, |a| if let Attribute::Int(n) = a { Some(*n) } else { None })
    }

    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, default as i64) != 0
    }

    pub fn float(&self, name: &str, default: f64) -> f64 {
        self.value(name, |a| if let Attribute::Float(x) = a { Some(*x) } else { None }).unwrap_or(default)
    }

    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.value(name, |a| if let Attribute::Text(t) = a { Some(t.as_str()) } else { None }).unwrap_or(default)
    }

    /// A text that must be one of these, of which the first is the default.
    pub fn choice<'a>(&'a self, name: &str, legal: &[&'static str]) -> Result<&'a str, Stop> {
        match self.text(name, legal[0]) {
            text if legal.contains(&text) => Ok(text),
            other => Err(self.fail(format!("the attribute `{name}` is `{other}`"), legal.join(", "))),
        }
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        self.value(name, |a| if let Attribute::Texts(t) = a { Some(t.clone()) } else { None }).unwrap_or_default()
    }

    pub fn list(&self, name: &str) -> Option<Vec<i64>> {
        self.value(name, |a| if let Attribute::Ints(v) = a { Some(v.clone()) } else { None })
    }

    pub fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.value(name, |a| if let Attribute::Floats(v) = a { Some(v.clone()) } else { None })
    }

    pub fn body(&self, name: &str) -> Result<&Arc<Graph>, Stop> {
        self.value(name, |a| if let Attribute::Graph(g) = a { Some(g) } else { None })
            .ok_or_else(|| self.fail(format!("there is no graph `{name}`"), "a graph in that attribute"))
    }

    /// A dtype that an attribute gives by number.
    pub fn dtype(&self, name: &str) -> Result<Option<DType>, Stop> {
        let Some(n) = self.given_int(name) else { return Ok(None) };
        match i32::try_from(n) {
            Ok(number) => Ok(Some(super::tensors::dtype(number)?)),
            Err(_) => Err(self.fail(format!("the attribute `{name}` is {n}"), "the number of an element type")),
        }
    }

    /// An axis counted from the front.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, Stop> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        match usize::try_from(from_front) {
            Ok(a) if a < rank => Ok(a),
            _ => Err(self.fail(format!("axis {axis} of a tensor of rank {rank}"), "an axis that there is")),
        }
    }

    /// Axes counted from the front, in order, each once.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, Stop> {
        let mut all = axes.iter().map(|&a| self.axis(a, rank)).collect::<Result<Vec<_>, Stop>>()?;
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}
