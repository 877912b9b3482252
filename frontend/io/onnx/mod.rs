//! ONNX models: read from files, called, differentiated.
//!
//! A model is a function of tensors like any other: its nodes are recorded through the functions of this crate, so it is
//! compiled, batched and differentiated as they are. [`Model::call`] compiles it for the types of its inputs; extents that the
//! file leaves open are symbols, and one compiled function serves all of them. Inside a trace ([`jit`](fn@crate::jit), a
//! gradient) it is recorded there, with other parameters if you like ([`Model::apply`]).
//!
//! What a shape, an axis or a size is computed from is followed while tracing. Inputs that are such are part of what is
//! compiled, by their values. Nodes whose results have shapes that depend on values (`NonZero`, `Unique`, `Compress`, …) run
//! between compiled functions. Both are counted events.

mod attributes;
mod evaluate;
mod graph;
mod ops;
mod part;
mod proto;
mod segments;
mod stage;
mod survey;
mod tensors;
mod unknown;
mod value;

pub use ops::{Arity, AttributeType, Declared, Presence, Signature, Status, Supported, supported};
pub use segments::Segment;
pub use survey::{Survey, survey};
pub use tensors::{read_optional, read_sequence, read_tensor};
pub use value::Value;

use crate::dispatch::enter;
use crate::error::{Code, Error, Result};
use crate::io::file;
use crate::jit::Lowered;
use crate::tensor::Tensor;
use crate::{DType, Device, Dim, device, trace};
use graph::{Graph, Kind, Name, Port, Reader};
use prost::bytes::Bytes;
use runtime::buffer::Map;
use stage::Stage;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tensors::Folder;
use value::refuse;

/// A model that was read from an ONNX file.
pub struct Model {
    graph: Arc<Graph>,
    /// Inputs without defaults, then those with.
    inputs: Vec<Port>,
    required: usize,
    opset: i64,
    metadata: BTreeMap<String, String>,
    /// For calls with the initialisers of the file, of which much can be computed once, and for calls with others.
    first: OnceLock<Arc<Stage>>,
    plain: OnceLock<Arc<Stage>>,
}

/// What an input or output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A tensor, or what the file does not say.
    Tensor,
    /// A list.
    Sequence,
    /// A value or none.
    Optional,
}

/// Name and type of an input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// What it is.
    pub form: Form,
    /// The dtype; `None` of what is no tensor, or where the file does not say.
    pub dtype: Option<DType>,
    /// Extents: a symbol where the file has a name or nothing; `None` where the rank is not said.
    pub dims: Option<Vec<Option<Dim>>>,
    /// True if it has a default and need not be given.
    pub optional: bool,
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        let Some(dtype) = self.dtype else { return Ok(()) };
        write!(f, ": {dtype}")?;
        let Some(dims) = &self.dims else { return write!(f, "[..]") };
        let dims: Vec<String> = dims.iter().map(|d| d.as_ref().map_or("?".into(), Dim::to_string)).collect();
        write!(f, "[{}]", dims.join(", "))
    }
}

/// Reads a model from a file. Data in other files is read if these lie inside the folder of the model.
///
/// Files are mapped: weights are parts of them as far as their elements are aligned there, read when they are first used.
/// Replace such a file by renaming another over it: who makes it shorter ends the processes that use it.
///
/// ```no_run
/// use tracewright::{DType, Tensor, io::onnx};
/// let model = onnx::load("model.onnx")?;
/// let outputs = model.call(&[("x", Tensor::ones([1, 3], DType::F32))])?;
/// println!("{}", outputs["y"]);
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn load(path: impl AsRef<Path>) -> Result<Model> {
    let path = path.as_ref();
    let map = file::open("onnx::load", path).map_err(Error::observed)?;
    let bytes = Bytes::from_owner(Mapped(map.clone()));
    let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }.to_path_buf());
    read(bytes, Folder::new(folder, map)).map_err(|e| e.note(format!("in `{}`", path.display())).observed())
}

/// A file, as the bytes that tensors share.
struct Mapped(Arc<Map>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Reads a model from what a file holds; it must have all of its data.
///
/// ```
/// use tracewright::{Tensor, io::onnx};
/// // One node: y is Relu of x, and both have N elements.
/// let file = b":2\n\x0c\n\x01x\x12\x01y\x22\x04Relu\
///     Z\x10\n\x01x\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01Nb\x10\n\x01y\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01NB\x02\x10\x11";
/// let y = onnx::parse(file)?.call(&[("x", Tensor::from([-1.0f32, 2.0]))])?;
/// assert_eq!(y["y"].to_vec::<f32>()?, [0.0, 2.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn parse(bytes: &[u8]) -> Result<Model> {
    read(Bytes::copy_from_slice(bytes), Folder::default()).map_err(Error::observed)
}

fn read(bytes: Bytes, folder: Folder) -> Result<Model> {
    let mut proto: proto::Model = tensors::decode(bytes)?;
    let Some(graph) = proto.graph.take() else {
        return Err(refuse(Code::File, "the file has no graph", "a whole ONNX model"));
    };
    let mut reader = Reader::new(&mut proto, folder)?;
    unknown::refuse_unknown(&graph, &reader)?;
    let graph = reader.graph(graph, &[])?;
    let (mut inputs, optional): (Vec<Port>, Vec<Port>) =
        graph.inputs.iter().cloned().partition(|p| !graph.constants.contains_key(&p.name));
    let required = inputs.len();
    inputs.extend(optional);
    let graph = match crate::modes::current()?.device() {
        Device::Cpu => graph,
        device => graph.moved(device)?,
    };
    let graph = Arc::new(graph);
    let opset = reader.opsets.get("").copied().unwrap_or(0);
    let metadata = proto.metadata_props.into_iter().map(|e| (e.key, e.value)).collect();
    Ok(Model { graph, inputs, required, opset, metadata, first: OnceLock::new(), plain: OnceLock::new() })
}

/// Outputs by name.
pub type Outputs = BTreeMap<String, Tensor>;

impl Model {
    /// The inputs: those that must be given, then those that have defaults.
    pub fn inputs(&self) -> Vec<Info> {
        self.inputs.iter().enumerate().map(|(i, p)| info(p, i >= self.required)).collect()
    }

    /// The outputs, in the order of the file.
    pub fn outputs(&self) -> Vec<Info> {
        self.graph.outputs.iter().map(|p| info(p, false)).collect()
    }

    /// The name that the file gives the graph.
    pub fn name(&self) -> &str {
        &self.graph.name
    }

    /// The version of ONNX's ops that it is written in.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// How many nodes there are of each op, those of bodies included.
    pub fn ops(&self) -> BTreeMap<&'static str, usize> {
        fn count(graph: &Graph, into: &mut BTreeMap<&'static str, usize>) {
            for node in &graph.nodes {
                *into.entry(node.op.name).or_default() += 1;
                let bodies = node.attributes.values().filter_map(|a| match a {
                    graph::Attribute::Graph(g) => Some(g),
                    _ => None,
                });
                bodies.chain(&node.body).for_each(|g| count(g, into));
            }
        }
        let mut all = BTreeMap::new();
        count(&self.graph, &mut all);
        all
    }

    /// The initialisers that hold floats, by name: what [`Model::apply`] can be given others for.
    pub fn parameters(&self) -> BTreeMap<String, Tensor> {
        let floats = self.graph.constants.iter().filter(|(_, t)| t.dtype().is_float());
        floats.map(|(name, t)| (name.to_string(), t.clone())).collect()
    }

    /// With its weights on a device, where its calls run from then on.
    ///
    /// ```
    /// use tracewright::{Device, io::onnx};
    /// // One node: y is Relu of x, and both have N elements.
    /// let file = b":2\n\x0c\n\x01x\x12\x01y\x22\x04Relu\
    ///     Z\x10\n\x01x\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01Nb\x10\n\x01y\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01NB\x02\x10\x11";
    /// let model = onnx::parse(file)?.to_device(Device::Cpu)?;
    /// assert_eq!(model.inputs()[0].to_string(), "x: f32[N]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn to_device(self, device: Device) -> Result<Model> {
        let graph = Arc::new(self.graph.moved(device).map_err(Error::observed)?);
        Ok(Model { graph, first: OnceLock::new(), plain: OnceLock::new(), ..self })
    }

    /// Runs it on inputs by name. Inside a trace it is recorded there.
    #[track_caller]
    pub fn call(&self, inputs: &[(&str, Tensor)]) -> Result<Outputs> {
        let _here = enter();
        self.tensors(&BTreeMap::new(), inputs).map_err(Error::observed)
    }

    /// Runs it with other tensors in the place of some of its initialisers, such as those of [`Model::parameters`] while they
    /// are trained.
    #[track_caller]
    pub fn apply(&self, parameters: &BTreeMap<String, Tensor>, inputs: &[(&str, Tensor)]) -> Result<Outputs> {
        let _here = enter();
        self.tensors(parameters, inputs).map_err(Error::observed)
    }

    /// Runs it on inputs of any kind, in the order of [`Model::outputs`].
    #[track_caller]
    pub fn run(&self, inputs: &[(&str, Value)]) -> Result<Vec<Value>> {
        let _here = enter();
        self.values(&BTreeMap::new(), inputs).map_err(Error::observed)
    }

    /// The graph for inputs like these, to look at the stages of its compilation. Of a model that is several graphs for them
    /// it is an error.
    #[track_caller]
    pub fn lower(&self, inputs: &[(&str, Tensor)]) -> Result<Lowered> {
        let _here = enter();
        self.in_segments("lower", inputs, true)
            .and_then(|segments| only(segments)?.graph.lower())
            .map_err(Error::observed)
    }

    /// The graph for inputs like these, which it does not run: to be saved, looked at, differentiated. Of a model that is
    /// several graphs for them it is an error, which names the node between the first two.
    ///
    /// Inputs whose values must be known ([`Segment::fixed`]) are no arguments of the graph.
    ///
    /// ```
    /// use tracewright::{Tensor, io::onnx};
    /// // One node: y is Relu of x, and both have N elements.
    /// let file = b":2\n\x0c\n\x01x\x12\x01y\x22\x04Relu\
    ///     Z\x10\n\x01x\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01Nb\x10\n\x01y\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01NB\x02\x10\x11";
    /// let relu = onnx::parse(file)?.export(&[("x", Tensor::from([-1.0f32, 2.0]))])?.graph;
    /// assert_eq!(relu.arguments()[0].1.to_string(), "f32[N]");
    /// let gradient = relu.vjp(&["y"], &["x"])?;
    /// let found = gradient.call(&[Tensor::from([-1.0f32, 2.0]), Tensor::from([1.0f32, 1.0])])?;
    /// assert_eq!(found[1].to_vec::<f32>()?, [0.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn export(&self, inputs: &[(&str, Tensor)]) -> Result<Segment> {
        let _here = enter();
        self.in_segments("export", inputs, true).and_then(only).map_err(Error::observed)
    }

    /// The first of [`Model::segments`], which is not run; if it is the only one, for any extents that the file leaves open.
    #[track_caller]
    pub fn first_segment(&self, inputs: &[(&str, Tensor)]) -> Result<Segment> {
        let _here = enter();
        self.in_segments("first_segment", inputs, true).and_then(first).map_err(Error::observed)
    }

    /// The graphs that the model is for these very inputs, in order; all but the last are run, since what comes after them
    /// depends on what they yield.
    ///
    /// ```
    /// use tracewright::{Tensor, io::onnx};
    /// // One node: y is Relu of x, and both have N elements.
    /// let file = b":2\n\x0c\n\x01x\x12\x01y\x22\x04Relu\
    ///     Z\x10\n\x01x\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01Nb\x10\n\x01y\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01NB\x02\x10\x11";
    /// let segments = onnx::parse(file)?.segments(&[("x", Tensor::from([-1.0f32, 2.0]))])?;
    /// assert_eq!((segments.len(), &segments[0].end), (1, &None));
    /// assert_eq!(segments[0].graph.call_named(&segments[0].arguments)?["y"].to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn segments(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<Segment>> {
        let _here = enter();
        self.in_segments("segments", inputs, false).map_err(Error::observed)
    }

    fn in_segments(&self, what: &'static str, inputs: &[(&str, Tensor)], first: bool) -> Result<Vec<Segment>> {
        trace::refuse_inside(what, trace::CALL_IT)?;
        let inputs: Vec<(&str, Value)> = inputs.iter().map(|(k, t)| (*k, Value::Tensor(t.clone()))).collect();
        let (names, values) = self.arrange(&inputs)?;
        self.graph.there(|| segments::segments(&self.graph, names, values, &self.metadata, first))
    }

    #[track_caller]
    fn tensors(&self, parameters: &BTreeMap<String, Tensor>, inputs: &[(&str, Tensor)]) -> Result<Outputs> {
        let inputs: Vec<(&str, Value)> = inputs.iter().map(|(k, t)| (*k, Value::Tensor(t.clone()))).collect();
        let values = self.values(parameters, &inputs)?;
        let mut outputs = Outputs::new();
        for (port, value) in self.graph.outputs.iter().zip(values) {
            match value {
                Value::Tensor(t) => outputs.insert(port.name.to_string(), t),
                _ => {
                    let rule = format!("the output `{}` is no tensor", port.name);
                    return Err(refuse(Code::Argument, rule, "`run`, which yields values of any kind"));
                }
            };
        }
        Ok(outputs)
    }

    #[track_caller]
    fn values(&self, parameters: &BTreeMap<String, Tensor>, inputs: &[(&str, Value)]) -> Result<Vec<Value>> {
        for (name, t) in parameters {
            let Some(own) = self.graph.constants.get(name.as_str()) else {
                let rule = format!("the model has no initialiser `{name}`");
                return Err(refuse(Code::Argument, rule, "the names of `parameters`"));
            };
            if t.try_type()? != own.ty() {
                let rule = format!("`{name}` has type {}", t.ty());
                return Err(refuse(Code::Shape, rule, format!("{}, as in the file", own.ty())));
            }
        }
        let (names, values) = self.arrange(inputs)?;
        if trace::active() {
            return stage::inline(&self.graph, &names, &values, parameters);
        }
        stage::call(&self.first(&names, parameters.is_empty()), values, parameters)
    }

    /// The inputs in their order, checked.
    fn arrange(&self, inputs: &[(&str, Value)]) -> Result<(Vec<Name>, Vec<Value>)> {
        let ports: HashSet<&str> = self.inputs.iter().map(|p| &*p.name).collect();
        let mut given: HashMap<&str, &Value> = HashMap::new();
        for (name, value) in inputs {
            if !ports.contains(name) {
                let known: Vec<&str> = self.inputs.iter().map(|p| &*p.name).collect();
                let hint = runtime::options::suggest(name, known.iter().copied());
                let hint = hint.map(|s| format!("; did you mean `{s}`?")).unwrap_or_default();
                let rule = format!("the model has no input `{name}`{hint}");
                return Err(refuse(
                    Code::Argument,
                    rule,
                    format!("inputs are {}", listed(known.iter().map(|n| format!("`{n}`")), ", ")),
                ));
            }
            if given.insert(name, value).is_some() {
                return Err(refuse(Code::Argument, format!("the input `{name}` is given twice"), "each input once"));
            }
        }
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (i, port) in self.inputs.iter().enumerate() {
            match given.get(&*port.name) {
                Some(&value) => {
                    check(port, value)?;
                    names.push(port.name.clone());
                    values.push(value.clone());
                }
                None if i < self.required => {
                    let rule = format!("the input `{}` is missing", port.name);
                    let wanted: Vec<String> = self.inputs().iter().map(Info::to_string).collect();
                    return Err(refuse(
                        Code::Argument,
                        rule,
                        format!("the inputs {}", listed(wanted.into_iter(), "; ")),
                    ));
                }
                None => {}
            }
        }
        self.check_symbols(&names, &values)?;
        self.check_places(&names, &values)?;
        Ok((names, values))
    }

    /// An error if an input is elsewhere than the weights.
    fn check_places(&self, names: &[Name], values: &[Value]) -> Result<()> {
        let here = self.graph.device;
        let elsewhere = |v: &Value| v.tensor().and_then(device::fixed_place).filter(|&d| d != here);
        let Some((name, there)) = names.iter().zip(values).find_map(|(n, v)| Some((n, elsewhere(v)?))) else {
            return Ok(());
        };
        match self.graph.constants.values().any(|t| t.read("call").is_ok_and(|a| !value::is_small(a))) {
            true => {
                let rule = format!("the input `{name}` is on {there}, and the weights of the model are on {here}");
                Err(refuse(Code::Argument, rule, "both on one device: `to_device` of tensors, and of the model"))
            }
            false => Ok(()),
        }
    }

    /// An error if a name in the shapes of inputs stands for two extents.
    fn check_symbols(&self, names: &[Name], values: &[Value]) -> Result<()> {
        let mut extents: HashMap<String, (i64, &Name)> = HashMap::new();
        for (name, value) in names.iter().zip(values) {
            let port = self.inputs.iter().find(|p| p.name == *name);
            let (Some(Kind::Tensor(_, Some(dims))), Value::Tensor(t)) = (port.map(|p| &p.kind), value) else {
                continue;
            };
            for (axis, (dim, n)) in dims.iter().zip(t.try_shape()?.iter()).enumerate() {
                let Some(n) = n.known().filter(|_| dim.as_ref().is_none_or(|d| d.known().is_none())) else { continue };
                if n > part::MOST_EXTENT as i64 {
                    let rule = format!("axis {axis} of the input `{name}` has extent {n}");
                    return Err(refuse(Code::Shape, rule, format!("at most {}", part::MOST_EXTENT)));
                }
                let Some(dim) = dim else { continue };
                match extents.get(&dim.to_string()) {
                    Some((m, first)) if *m != n => {
                        let rule = format!("`{dim}` is {m} in the input `{first}` and {n} in `{name}`");
                        return Err(refuse(Code::Shape, rule, format!("one extent for `{dim}`")));
                    }
                    _ => drop(extents.insert(dim.to_string(), (n, name))),
                }
            }
        }
        Ok(())
    }

    /// The first stage for these inputs.
    fn first(&self, names: &[Name], own: bool) -> Arc<Stage> {
        let stage = |known| Arc::new(Stage::new(stage::first(&self.graph, names.to_vec(), known)));
        match (names.len() == self.required, own) {
            (true, true) => self.first.get_or_init(|| stage(stage::computed_once(&self.graph, names))).clone(),
            (true, false) => self.plain.get_or_init(|| stage(Default::default())).clone(),
            // Inputs that have defaults were given: rare enough to be compiled anew by each call.
            (false, _) => stage(Default::default()),
        }
    }
}

fn first(segments: Vec<Segment>) -> Result<Segment> {
    segments.into_iter().next().ok_or_else(|| refuse(Code::Bug, "there is no segment", "please report it"))
}

/// The first, if there are no others.
fn only(segments: Vec<Segment>) -> Result<Segment> {
    let segment = first(segments)?;
    match &segment.end {
        None => Ok(segment),
        Some(reason) => {
            let rule = format!("{reason}, so the model is several graphs");
            Err(refuse(Code::Argument, rule, "a model that is one graph for its inputs; `segments` yields each"))
        }
    }
}

/// An error if a value is not what an input takes.
fn check(port: &Port, value: &Value) -> Result<()> {
    let wrong = |code, found: String| {
        let rule = format!("the input `{}` is {found}", port.name);
        Err(refuse(code, rule, info(port, false).to_string()))
    };
    match (&port.kind, value) {
        (Kind::Tensor(dtype, dims), Value::Tensor(t)) => {
            let ty = t.try_type()?;
            if ty.dtype != *dtype {
                return wrong(Code::DType, format!("{ty}"));
            }
            let Some(dims) = dims else { return Ok(()) };
            if dims.len() != ty.rank() {
                return wrong(Code::Rank, format!("{ty}"));
            }
            let differs = |(d, n): (&Option<Dim>, &Dim)| match (d.as_ref().and_then(Dim::known), n.known()) {
                (Some(d), Some(n)) => d != n,
                _ => false,
            };
            if dims.iter().zip(ty.shape.iter()).any(differs) { wrong(Code::Shape, format!("{ty}")) } else { Ok(()) }
        }
        (Kind::Tensor(..), Value::Sequence(_)) => wrong(Code::Argument, "a sequence".into()),
        (Kind::Tensor(..), Value::Optional(_)) => wrong(Code::Argument, "an optional value".into()),
        (Kind::Sequence(_), Value::Tensor(_) | Value::Optional(_)) => wrong(Code::Argument, "no sequence".into()),
        _ => Ok(()),
    }
}

fn info(port: &Port, optional: bool) -> Info {
    let (dtype, dims) = match &port.kind {
        Kind::Tensor(dtype, dims) => (Some(*dtype), dims.clone()),
        _ => (None, None),
    };
    let form = match port.kind {
        Kind::Sequence(_) => Form::Sequence,
        Kind::Optional(_) => Form::Optional,
        _ => Form::Tensor,
    };
    Info { name: port.name.to_string(), form, dtype, dims, optional }
}

/// As many of them as a message has room for.
fn listed(all: impl ExactSizeIterator<Item = String>, separator: &str) -> String {
    const SHOWN: usize = 64;
    let more = all.len().saturating_sub(SHOWN);
    let some = all.take(SHOWN).collect::<Vec<_>>().join(separator);
    if more == 0 { some } else { format!("{some}{separator}… {more} more") }
}
