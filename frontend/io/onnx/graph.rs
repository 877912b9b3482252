//! A graph of nodes, checked: every name has one meaning, nodes come after what they read, every op is known.

use super::attributes;
use super::ops::{self, AttributeType, Op};
use super::proto::{self, DimValue, TypeValue};
use super::tensors::{self, Folder};
use super::value::{is_small, refuse};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::{DType, Device, Dim, device};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) type Name = Arc<str>;

/// A graph, or the body of a node.
#[derive(Clone)]
pub(super) struct Graph {
    pub name: String,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub constants: HashMap<Name, Tensor>,
    /// In an order in which they can be run.
    pub nodes: Vec<Node>,
    /// What is read from the graphs around it.
    pub outer: Vec<Name>,
    /// Where its constants are, but for those that become constants of what is compiled.
    pub device: Device,
}

impl Graph {
    /// With its constants on a device.
    pub fn moved(&self, device: Device) -> Result<Graph> {
        let to = |t: &Tensor| match t.read("to_device")? {
            a if is_small(a) => Ok(t.clone()),
            _ => t.to_device(device).ok(),
        };
        let mut graph = Graph { device, ..self.clone() };
        for t in graph.constants.values_mut() {
            *t = to(t)?;
        }
        for node in &mut graph.nodes {
            for a in node.attributes.values_mut() {
                match a {
                    Attribute::Tensor(t) => *t = to(t)?,
                    Attribute::Graph(g) => *g = Arc::new(g.moved(device)?),
                    _ => {}
                }
            }
            if let Some(body) = &mut node.body {
                *body = Arc::new(body.moved(device)?);
            }
        }
        Ok(graph)
    }

    /// Calls `f` where the constants are.
    pub fn there<R>(&self, f: impl FnOnce() -> R) -> R {
        device::on(Some(self.device).filter(|&d| d != Device::Cpu), f)
    }
}

/// An op with its operands.
#[derive(Clone)]
pub(super) struct Node {
    /// Its name, or its op and number.
    pub name: String,
    pub op: &'static Op,
    /// The version of the op, the newest of the opset.
    pub version: i64,
    pub inputs: Vec<Option<Name>>,
    pub outputs: Vec<Option<Name>>,
    pub attributes: HashMap<&'static str, Attribute>,
    /// Of a node that calls a function of the model.
    pub body: Option<Arc<Graph>>,
}

impl Node {
    /// True if it runs graphs.
    pub fn has_bodies(&self) -> bool {
        self.body.is_some() || self.attributes.values().any(|a| matches!(a, Attribute::Graph(_)))
    }

    /// Everything that it reads, also in its bodies.
    pub fn reads(&self) -> impl Iterator<Item = &Name> {
        let bodies = self.attributes.values().filter_map(|a| match a {
            Attribute::Graph(g) => Some(g),
            _ => None,
        });
        self.inputs.iter().flatten().chain(bodies.flat_map(|g| &g.outer))
    }
}

/// A value of an attribute.
#[derive(Clone)]
pub(super) enum Attribute {
    Int(i64),
    Float(f64),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
    Tensor(Tensor),
    Graph(Arc<Graph>),
    /// A type, which no op needs.
    Type,
}

/// An input or output.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub name: Name,
    pub kind: Kind,
}

/// What an input or output is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Extents are `None` where the file does not say how many there are, or what one is.
    Tensor(DType, Option<Vec<Option<Dim>>>),
    Sequence(Option<Box<Kind>>),
    Optional(Option<Box<Kind>>),
    /// Not said.
    Any,
}

/// What a file is read with.
pub(super) struct Reader {
    pub folder: Folder,
    /// Version of each domain.
    pub opsets: HashMap<String, i64>,
    /// Functions of the model.
    pub functions: HashMap<(String, String), proto::Function>,
    /// Functions that are being read, one inside of the other.
    calling: Vec<(String, String)>,
    /// Nodes, inputs and outputs read so far.
    nodes: usize,
    /// Bytes of tensors in functions so far.
    copied: usize,
}

/// Nodes, inputs and outputs of a model at most, with those of functions at every call.
const MOST_NODES: usize = 1 << 18;

/// Functions that call each other, at most.
const MOST_CALLS: usize = 32;

/// Bytes of the tensors in functions at most, counted at every call.
const MOST_COPIED: usize = 1 << 30;

impl Reader {
    pub fn new(model: &mut proto::Model, folder: Folder) -> Result<Reader> {
        let opsets = opsets(&model.opset_import)?;
        let mut functions = HashMap::new();
        for f in std::mem::take(&mut model.functions) {
            let name = f.name.clone();
            if functions.insert((proto::domain(&f.domain).to_string(), f.name.clone()), f).is_some() {
                let rule = format!("the function `{name}` is given twice");
                return Err(refuse(Code::File, rule, "one function of a name; overloads are not read"));
            }
        }
        Ok(Reader { folder, opsets, functions, calling: Vec::new(), nodes: 0, copied: 0 })
    }

    /// Reads a graph; `around` has the names of the graphs around it.
    pub fn graph(&mut self, proto: proto::Graph, around: &[&HashSet<Name>]) -> Result<Graph> {
        let mut known: HashSet<Name> = HashSet::new();
        let mut constants = HashMap::new();
        let twice =
            |name: &str| refuse(Code::File, format!("the name `{name}` is given twice"), "one value for a name");
        for tensor in &proto.initializer {
            let name: Name = tensor.name.as_str().into();
            constants.insert(name.clone(), tensors::tensor(tensor, &self.folder)?);
            if !known.insert(name) {
                return Err(twice(&tensor.name));
            }
        }
        for sparse in &proto.sparse_initializer {
            let (name, value) = self.sparse(sparse)?;
            constants.insert(name.clone(), value);
            if !known.insert(name.clone()) {
                return Err(twice(&name));
            }
        }
        self.count(proto.input.len() + proto.output.len())?;
        let (mut inputs, mut names) = (Vec::new(), HashSet::new());
        for info in &proto.input {
            let port = port(info)?;
            // An initialiser of that name is its default.
            if !names.insert(port.name.clone()) {
                return Err(twice(&port.name));
            }
            known.insert(port.name.clone());
            inputs.push(port);
        }
        let outputs = proto.output.iter().map(port).collect::<Result<Vec<_>>>()?;
        let (nodes, outer) = self.nodes(proto.node, &mut known, around)?;
        let mut outer: Vec<Name> = outer;
        for port in &outputs {
            if known.contains(&port.name) {
                continue;
            }
            if !around.iter().any(|names| names.contains(&port.name)) {
                let rule = format!("the output `{}` is the result of no node", port.name);
                return Err(refuse(Code::File, rule, "results, inputs and initialisers"));
            }
            outer.push(port.name.clone());
        }
        outer.sort();
        outer.dedup();
        Ok(Graph { name: proto.name, inputs, outputs, constants, nodes, outer, device: Device::Cpu })
    }

    /// Takes note of nodes, inputs and outputs.
    fn count(&mut self, more: usize) -> Result<()> {
        self.nodes += more;
        if self.nodes > MOST_NODES {
            let rule = format!("the model has more than {MOST_NODES} nodes, inputs and outputs");
            return Err(refuse(Code::Argument, rule, "fewer"));
        }
        Ok(())
    }

    fn sparse(&self, sparse: &proto::SparseTensor) -> Result<(Name, Tensor)> {
        let values = sparse.values.as_ref().map(|t| t.name.as_str()).unwrap_or_default();
        let rule = format!("the initialiser `{values}` is sparse");
        Err(refuse(Code::Argument, rule, "dense initialisers"))
    }

    /// Nodes in an order in which they can be run, and what they read from around.
    fn nodes(
        &mut self,
        protos: Vec<proto::Node>,
        known: &mut HashSet<Name>,
        around: &[&HashSet<Name>],
    ) -> Result<(Vec<Node>, Vec<Name>)> {
        self.count(protos.len())?;
        let given: HashSet<Name> = known.clone();
        for node in &protos {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                if !known.insert(output.as_str().into()) {
                    let rule = format!("the name `{output}` is given twice, again by a node {}", node.op_type);
                    return Err(refuse(Code::File, rule, "one value for a name"));
                }
            }
        }
        let mut outer = HashSet::new();
        let mut nodes = Vec::with_capacity(protos.len());
        let inside: Vec<&HashSet<Name>> = around.iter().copied().chain([&*known]).collect();
        for (number, proto) in protos.into_iter().enumerate() {
            let node = self.node(number, proto, &inside)?;
            for name in node.reads().filter(|name| !known.contains(*name)) {
                if !around.iter().any(|names| names.contains(name)) {
                    let rule = format!("the node `{}` reads `{name}`, which nothing gives", node.name);
                    return Err(refuse(Code::File, rule, "results of nodes, inputs and initialisers"));
                }
                outer.insert(name.clone());
            }
            nodes.push(node);
        }
        Ok((ordered(nodes, given)?, outer.into_iter().collect()))
    }

    fn node(&mut self, number: usize, proto: proto::Node, around: &[&HashSet<Name>]) -> Result<Node> {
        let name = node_name(&proto, number);
        let domain = proto::domain(&proto.domain).to_string();
        let within = |e: Error| e.note(format!("in the node `{name}` ({})", proto.op_type));
        let optional = |names: Vec<String>| {
            names.into_iter().map(|n| (!n.is_empty()).then(|| n.as_str().into())).collect::<Vec<Option<Name>>>()
        };
        if let Some(f) = self.functions.get(&(domain.clone(), proto.op_type.clone())).cloned() {
            attributes::check_call(&proto, &name, &f)?;
            let given = proto.attribute.into_iter().map(|a| (a.name.clone(), a)).collect();
            let body = Some(Arc::new(self.function(f, given).map_err(within)?));
            let (inputs, outputs) = (optional(proto.input), optional(proto.output));
            return Ok(Node { name, op: &ops::CALL, version: 1, inputs, outputs, attributes: HashMap::new(), body });
        }
        let opset = self.opsets.get(&domain).copied();
        let Some((opset, (op, version))) = opset.and_then(|n| Some((n, ops::find(&domain, &proto.op_type, n)?))) else {
            // All of them were listed before.
            return Err(within(refuse(Code::Argument, "the op is not known", "the ops of docs/onnx.md")));
        };
        let signature = op.signature(version);
        attributes::check(&proto, &name, opset, op, signature)?;
        let mut attributes = HashMap::new();
        for a in proto.attribute {
            if let Some(declared) = signature.attribute(&a.name) {
                let value = self.attribute(a, declared.r#type, around).map_err(within)?;
                attributes.insert(declared.name, value);
            }
        }
        let (inputs, outputs) = (optional(proto.input), optional(proto.output));
        Ok(Node { name, op, version, inputs, outputs, attributes, body: None })
    }

    /// The value of an attribute that is of that type.
    fn attribute(
        &mut self,
        a: proto::Attribute,
        r#type: AttributeType,
        around: &[&HashSet<Name>],
    ) -> Result<Attribute> {
        let text = |s: &[u8]| String::from_utf8_lossy(s).into_owned();
        Ok(match r#type {
            AttributeType::Float => Attribute::Float(a.f.unwrap_or_default().into()),
            AttributeType::Int => Attribute::Int(a.i.unwrap_or_default()),
            AttributeType::String => Attribute::Text(text(&a.s.unwrap_or_default())),
            AttributeType::Tensor => {
                let tensor = tensors::tensor(&a.t.unwrap_or_default(), &self.folder)?;
                if !self.calling.is_empty() {
                    self.copied = self.copied.saturating_add(tensor.ty().bytes().as_usize().unwrap_or(usize::MAX));
                }
                if self.copied > MOST_COPIED {
                    let rule = format!("tensors in functions have more than {MOST_COPIED} bytes, at all calls of them");
                    return Err(refuse(Code::Argument, rule, "initialisers"));
                }
                Attribute::Tensor(tensor)
            }
            AttributeType::Graph => Attribute::Graph(Arc::new(self.graph(a.g.unwrap_or_default(), around)?)),
            AttributeType::Floats => Attribute::Floats(a.floats.into_iter().map(f64::from).collect()),
            AttributeType::Ints => Attribute::Ints(a.ints),
            AttributeType::Strings => Attribute::Texts(a.strings.iter().map(|s| text(s)).collect()),
            AttributeType::Type => Attribute::Type,
            other => {
                let rule = format!("the attribute `{}` is a {other}", a.name);
                return Err(refuse(Code::Argument, rule, "numbers, texts, tensors, graphs and lists of the first two"));
            }
        })
    }

    /// The body of a function with the attributes of a call.
    fn function(&mut self, f: proto::Function, given: HashMap<String, proto::Attribute>) -> Result<Graph> {
        let key = (f.domain.clone(), f.name.clone());
        if self.calling.contains(&key) {
            let rule = format!("the function `{}` calls itself", f.name);
            return Err(refuse(Code::File, rule, "functions that do not call themselves"));
        }
        if self.calling.len() >= MOST_CALLS {
            let rule = format!("more than {MOST_CALLS} functions call each other, `{}` too", f.name);
            return Err(refuse(Code::Argument, rule, "fewer"));
        }
        let mut attributes: HashMap<String, proto::Attribute> =
            f.attribute_proto.into_iter().map(|a| (a.name.clone(), a)).collect();
        attributes.extend(given);
        let mut nodes = f.node;
        nodes.iter_mut().for_each(|n| substitute(n, &attributes));
        let before = std::mem::replace(&mut self.opsets, opsets(&f.opset_import)?);
        self.calling.push(key);
        let info = |name: String| proto::ValueInfo { name, r#type: None };
        let graph = proto::Graph {
            node: nodes,
            name: f.name,
            input: f.input.into_iter().map(info).collect(),
            output: f.output.into_iter().map(info).collect(),
            ..Default::default()
        };
        let read = self.graph(graph, &[]);
        self.calling.pop();
        self.opsets = before;
        read
    }
}

/// Attributes of a function in the place of references to them; one that was not given falls away.
fn substitute(node: &mut proto::Node, attributes: &HashMap<String, proto::Attribute>) {
    node.attribute.retain_mut(|a| {
        if let Some(g) = &mut a.g {
            g.node.iter_mut().for_each(|n| substitute(n, attributes));
        }
        if a.ref_attr_name.is_empty() {
            return true;
        }
        match attributes.get(&a.ref_attr_name) {
            Some(value) => {
                *a = proto::Attribute { name: std::mem::take(&mut a.name), ..value.clone() };
                true
            }
            None => false,
        }
    });
}

/// The name of a node, or its op and number.
pub(super) fn node_name(node: &proto::Node, number: usize) -> String {
    if node.name.is_empty() { format!("{}_{number}", node.op_type) } else { node.name.clone() }
}

/// Versions of domains, `""` for that of ONNX itself.
pub(super) fn opsets(imports: &[proto::OpsetId]) -> Result<HashMap<String, i64>> {
    let all: HashMap<String, i64> = imports.iter().map(|o| (proto::domain(&o.domain).to_string(), o.version)).collect();
    match all.get("") {
        Some(&version) if !ops::OPSETS.contains(&version) => {
            let rule = format!("the model is of opset {version}");
            let (first, last) = (ops::OPSETS.start(), ops::OPSETS.end());
            Err(refuse(Code::Argument, rule, format!("opsets {first} to {last}")))
        }
        _ => Ok(all),
    }
}

/// Nodes after what they read; the order of the file where that is one.
fn ordered(nodes: Vec<Node>, given: HashSet<Name>) -> Result<Vec<Node>> {
    let maker: HashMap<Name, usize> =
        nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().flatten().map(move |o| (o.clone(), i))).collect();
    let sources = |n: &Node| {
        n.reads().filter(|r| !given.contains(*r)).filter_map(|r| maker.get(r).copied()).collect::<HashSet<usize>>()
    };
    let mut missing: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, n) in nodes.iter().enumerate() {
        let from = sources(n);
        missing.push(from.len());
        from.into_iter().for_each(|s| readers[s].push(i));
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..nodes.len()).filter(|&i| missing[i] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for &r in &readers[i] {
            missing[r] -= 1;
            if missing[r] == 0 {
                ready.insert(r);
            }
        }
    }
    if order.len() < nodes.len() {
        let circle: Vec<&str> =
            nodes.iter().zip(&missing).filter(|(_, m)| **m > 0).map(|(n, _)| n.name.as_str()).take(8).collect();
        let rule = format!("nodes read each other's results in a circle: `{}`", circle.join("`, `"));
        return Err(refuse(Code::File, rule, "a graph without cycles"));
    }
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|i| nodes[i].take()).collect())
}

fn port(info: &proto::ValueInfo) -> Result<Port> {
    let kind = kind(info.r#type.as_ref()).map_err(|e| e.note(format!("of `{}`", info.name)))?;
    Ok(Port { name: info.name.as_str().into(), kind })
}

fn kind(r#type: Option<&proto::Type>) -> Result<Kind> {
    let element = |e: &proto::Element| kind(e.r#type.as_deref()).map(|k| Some(Box::new(k)));
    Ok(match r#type.and_then(|t| t.value.as_ref()) {
        None => Kind::Any,
        Some(TypeValue::Tensor(t)) if t.elem_type == 0 => Kind::Any,
        Some(TypeValue::Tensor(t)) => {
            let dim = |d: &proto::Dim| match &d.value {
                Some(DimValue::Value(n)) if *n >= 0 => Ok(Some(Dim::from(*n))),
                Some(DimValue::Value(n)) => Err(refuse(Code::Shape, format!("an extent is {n}"), "0 or more")),
                Some(DimValue::Param(p)) if !p.is_empty() => Ok(Some(Dim::symbol(p))),
                _ => Ok(None),
            };
            let dims = t.shape.as_ref().map(|s| s.dim.iter().map(dim).collect::<Result<_>>()).transpose()?;
            Kind::Tensor(tensors::dtype(t.elem_type)?, dims)
        }
        Some(TypeValue::Sequence(e)) => Kind::Sequence(element(e)?),
        Some(TypeValue::Optional(e)) => Kind::Optional(element(e)?),
        Some(TypeValue::Map(_) | TypeValue::Sparse(_)) => {
            return Err(refuse(Code::DType, "a value is a map or a sparse tensor", "tensors, sequences and optionals"));
        }
    })
}
