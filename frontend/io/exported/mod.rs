//! Compiled functions as values and files, which run without the source that made them.

mod call;
mod constants;
mod container;
mod inspect;
mod make;
mod specialize;
mod vjp;

use crate::error::{Code, Error, Result};
use crate::jit::{Lowered, Source};
use crate::modes::Modes;
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::tree::leaves;
use ir::text::PrintOptions;
use ir::{Graph, Location, Origin, Type};
use runtime::{Device, Executable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

pub use inspect::{Compared, Cost};
pub(crate) use make::Traced;

/// A function that was traced, with its inputs and outputs by name: to be saved, and called where the source is not.
///
/// [`Jit::export`](crate::jit::Jit::export) makes one of a function and example arguments,
/// [`Jit::export_mut`](crate::jit::Jit::export_mut) one of a step that updates a state. Inputs are *arguments*, which each call
/// gives; *state*, whose values are in the file and which [`Exported::call_mut`] updates; and *constants*, such as the tensors
/// that the function captures. An axis that is [dynamic](crate::jit::Jit::dynamic) stays so. Cells that the function touches
/// are state.
///
/// Names are paths: `arguments.0.weight`, `result.1`, `state.0` (of a step's first argument), `captured.0`. Leaves that are one
/// tensor are one input under the name of the first.
///
/// ```
/// use tracewright::{Generator, Tensor, DType, io::Exported, jit, nn};
/// let layer = nn::Linear::new(3, 2, &Generator::new(0));
/// let f = jit(|l: nn::Linear, x: Tensor| l.forward(&x).relu()).dynamic("arguments.1", 0, "B", 1..=64);
/// let path = std::env::temp_dir().join("tracewright-doc.tw");
/// f.export(&layer, Tensor::ones([1, 3], DType::F32))?
///     .bind("arguments.0")? // its values go along
///     .rename("arguments.0", "layer")?
///     .rename("arguments.1", "image")?
///     .save(&path)?;
///
/// let loaded = Exported::load(&path)?;
/// assert_eq!(loaded.arguments()[0].0, "image");
/// let x = Tensor::ones([5, 3], DType::F32);
/// assert_eq!(loaded.call(&[&x])?[0].to_vec::<f32>()?, f.call(&layer, &x)?.to_vec::<f32>()?);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), tracewright::Error>(())
/// ```
pub struct Exported {
    graph: Graph,
    /// As many as the graph has.
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    metadata: BTreeMap<String, String>,
    executables: Mutex<Vec<Made>>,
}

/// What runs under some options, on a device, and whether it writes over the state.
type Made = (Modes, bool, Arc<Executable>);

/// An input of the graph.
#[derive(Clone)]
struct Input {
    name: String,
    /// Other names of the same tensor.
    also: Vec<String>,
    role: Role,
    /// The value that it has, or for arguments an example; `None` for arguments of a file.
    value: Option<Tensor>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Argument,
    /// With what a call makes of it, if it does.
    State(Option<Source>),
    Constant,
}

#[derive(Clone)]
struct Output {
    name: String,
    source: Source,
}

/// Frozen values up to this size become part of the graph.
const SMALL: usize = 4096;

impl Exported {
    fn new(graph: Graph, inputs: Vec<Input>, outputs: Vec<Output>) -> Exported {
        Exported { graph, inputs, outputs, metadata: BTreeMap::new(), executables: Mutex::default() }
    }

    /// A graph that was read from text; inputs and outputs are called by their number, each from 0 on.
    ///
    /// ```
    /// use tracewright::{Recording, Tensor, io::Exported};
    /// let text = "graph @double(%0: f32[B]) -> (f32[B]) { %1: f32[B] = add %0, %0 return %1 }";
    /// let double = Exported::of_recording(Recording::parse("double.ir", text)?).rename("0", "x")?;
    /// assert_eq!(double.call(&[Tensor::from([1.5f32])])?[0].to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn of_recording(recording: Recording) -> Exported {
        let graph = recording.into_graph();
        let name = |i: usize| i.to_string();
        let input = |i| Input { name: name(i), also: Vec::new(), role: Role::Argument, value: None };
        let inputs = (0..graph.inputs().len()).map(input).collect();
        let outputs = (0..graph.outputs().len()).map(|i| Output { name: name(i), source: Source::Output(i) }).collect();
        Exported::new(graph, inputs, outputs)
    }

    fn input_type(&self, i: usize) -> &Type {
        self.graph.ty(self.graph.inputs()[i])
    }

    fn source_type(&self, source: Source) -> &Type {
        match source {
            Source::Input(i) => self.input_type(i),
            Source::Output(i) => self.graph.ty(self.graph.outputs()[i]),
        }
    }

    /// Names and types of what a call takes, in order.
    pub fn arguments(&self) -> Vec<(&str, Type)> {
        let inputs = self.inputs.iter().enumerate().filter(|(_, input)| input.role == Role::Argument);
        inputs.map(|(i, input)| (input.name.as_str(), self.input_type(i).clone())).collect()
    }

    /// Names and types of what a call returns, in order.
    pub fn outputs(&self) -> Vec<(&str, Type)> {
        self.outputs.iter().map(|o| (o.name.as_str(), self.source_type(o.source).clone())).collect()
    }

    /// The state, by name.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        self.values(|role| matches!(role, Role::State(_)))
    }

    /// Constants that are no part of the graph, by name.
    pub fn constants(&self) -> BTreeMap<String, Tensor> {
        self.values(|role| role == Role::Constant)
    }

    fn values(&self, wanted: impl Fn(Role) -> bool) -> BTreeMap<String, Tensor> {
        let inputs = self.inputs.iter().filter(|input| wanted(input.role));
        inputs.filter_map(|input| Some((input.name.clone(), input.value.clone()?))).collect()
    }

    /// Replaces values of the state, on the devices of those; all names and types must be right.
    pub fn set_state(&mut self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut wrong = Vec::new();
        let mut new = Vec::new();
        for (name, value) in values {
            let found = self.inputs.iter().position(|i| matches!(i.role, Role::State(_)) && i.is_called(name));
            let (Some(i), ty) = (found, value.try_type()?) else {
                wrong.push(format!("unexpected: {name}"));
                continue;
            };
            let old = self.inputs[i].value.as_ref();
            match old.map(Tensor::try_type).transpose()? {
                Some(old) if old != ty => wrong.push(format!("type: {name} is {ty}, wanted {old}")),
                _ => {
                    let there = old.map_or_else(|| value.clone(), |old| value.to_device(old.device()));
                    new.push((i, Tensor::array(there.read("set_state")?.clone())));
                }
            }
        }
        if !wrong.is_empty() {
            let rule = format!("{} values do not fit the state", wrong.len());
            let e = Error::new(Code::Argument, "set_state", rule, "names and types as in state()");
            return Err(wrong.into_iter().fold(e, Error::note).observed());
        }
        new.into_iter().for_each(|(i, value)| self.inputs[i].value = Some(value));
        Ok(())
    }

    /// Makes arguments state: those of that name, or below that path. They have the values of the example.
    pub fn bind(self, path: &str) -> Result<Exported> {
        Ok(self.with_roles("bind", path, Role::State(None))?.0)
    }

    /// Makes arguments and state constants: those of that name, or below that path. Small ones become part of the graph.
    pub fn freeze(self, path: &str) -> Result<Exported> {
        let (mut frozen, chosen) = self.with_roles("freeze", path, Role::Constant)?;
        frozen.embed_small(&chosen);
        Ok(frozen)
    }

    fn with_roles(mut self, op: &'static str, path: &str, role: Role) -> Result<(Exported, Vec<usize>)> {
        let refuse = |rule: String, legal: String| Err(Error::new(Code::Argument, op, rule, legal).observed());
        let chosen: Vec<usize> =
            (0..self.inputs.len()).filter(|&i| below(&self.inputs[i].name, path).is_some()).collect();
        if chosen.is_empty() {
            let names: Vec<&str> = self.inputs.iter().map(|i| i.name.as_str()).collect();
            return refuse(format!("no input is `{path}` or below it"), format!("one of {}", names.join(", ")));
        }
        for &i in &chosen {
            let input = &mut self.inputs[i];
            match (input.role, &input.value) {
                (Role::State(Some(_)), _) => {
                    let rule = format!("`{}` is updated by each call", input.name);
                    return refuse(rule, "state that no call updates".into());
                }
                (_, None) => {
                    let rule = format!("`{}` has no value", input.name);
                    return refuse(rule, "before it is saved: an argument of a file has none".into());
                }
                _ => input.role = role,
            }
        }
        self.executables = Mutex::default();
        Ok((self, chosen))
    }

    /// Gives inputs and outputs of that name, or below that path, another one; an empty one takes the path away.
    pub fn rename(mut self, path: &str, new: &str) -> Result<Exported> {
        let mut found = false;
        let mut change = |name: &mut String| {
            if let Some(rest) = below(name, path) {
                *name = if new.is_empty() { rest.trim_start_matches('.').into() } else { format!("{new}{rest}") };
                found = true;
            }
        };
        for input in &mut self.inputs {
            change(&mut input.name);
            input.also.iter_mut().for_each(&mut change);
        }
        self.outputs.iter_mut().for_each(|o| change(&mut o.name));
        let problem = match found {
            false => Some(format!("no input or output is `{path}` or below it")),
            true => self.names_problem(),
        };
        match problem {
            Some(rule) => Err(Error::new(Code::Argument, "rename", rule, "names that differ").observed()),
            None => Ok(self),
        }
    }

    /// As [`Exported::bind`], of whatever is below the path.
    pub(crate) fn bound(mut self, path: &str) -> Exported {
        let below = |input: &&mut Input| below(&input.name, path).is_some();
        self.inputs.iter_mut().filter(below).for_each(|input| input.role = Role::State(None));
        self
    }

    /// With other names of inputs and outputs.
    pub(crate) fn with_names(mut self, of: impl Fn(&str) -> String) -> Result<Exported> {
        for input in &mut self.inputs {
            input.name = of(&input.name);
            input.also.iter_mut().for_each(|name| *name = of(name));
        }
        self.outputs.iter_mut().for_each(|o| o.name = of(&o.name));
        match self.names_problem() {
            Some(rule) => Err(Error::new(Code::Argument, "export", rule, "names that differ")),
            None => Ok(self),
        }
    }

    /// What is wrong with the names.
    fn names_problem(&self) -> Option<String> {
        let inputs = self.inputs.iter().flat_map(|i| std::iter::once(&i.name).chain(&i.also));
        let (mut seen_in, mut seen_out) = (BTreeSet::new(), BTreeSet::new());
        let twice = |name: &&String| format!("two are called `{name}`");
        let first = |name: &&String| if name.is_empty() { Some("one has no name".into()) } else { None };
        let inputs = inputs.map(|n| (n, seen_in.insert(n)));
        let outputs = self.outputs.iter().map(|o| (&o.name, seen_out.insert(&o.name)));
        inputs.chain(outputs).find_map(|(name, new)| first(&name).or_else(|| (!new).then(|| twice(&name))))
    }

    /// What the file says besides.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Adds to what the file says besides.
    pub fn with_metadata(mut self, key: &str, value: &str) -> Exported {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// With that file as the place where its ops were recorded, in the scopes that they have: for programs that read models of
    /// others, who do not know the lines of the program.
    ///
    /// ```
    /// use tracewright::{Tensor, io::Exported, jit, scope};
    /// let f = jit(|x: Tensor| scope("layer", || x.exp())).export(Tensor::from([1.0f32]))?;
    /// assert!(f.recorded_in("model.onnx").ir().contains("exp %0  // model.onnx in layer\n"));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn recorded_in(mut self, file: &str) -> Exported {
        let origins: Vec<Origin> = std::mem::take(&mut self.graph.origins).into();
        let place = Location { file: file.to_string().into(), line: 0, column: 0 };
        let moved = origins.into_iter().map(|o| Origin { location: place.clone(), ..o });
        self.graph.origins = moved.collect::<Vec<_>>().into();
        self.executables = Mutex::default();
        self
    }

    /// The graph; its inputs are arguments, state and constants.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph as text, with the line and scope of each op. Long constants are shortened.
    pub fn ir(&self) -> String {
        self.graph.display(PrintOptions { origins: true, elide: Some(64) }).to_string()
    }

    /// Compiles it, and keeps every stage.
    #[track_caller]
    pub fn lower(&self) -> Result<Lowered> {
        let _here = crate::dispatch::enter();
        let executable = Executable::inspect(&self.graph, &self.donations());
        Ok(Lowered::new(self.graph.clone(), executable.map_err(|e| Error::exec(e).observed())?))
    }

    /// With state and constants on a device.
    pub fn to_device(mut self, device: Device) -> Result<Exported> {
        for input in &mut self.inputs {
            if let Some(value) = &mut input.value {
                *value = value.to_device(device).ok()?;
            }
        }
        Ok(self)
    }

    /// Elements of state and constants.
    pub fn parameter_count(&self) -> usize {
        let values = self.inputs.iter().filter(|i| i.role != Role::Argument).filter_map(|i| i.value.clone());
        let values: Vec<Tensor> = values.collect();
        let all = leaves(&|v| crate::tree::Tree::visit(&values, v), "");
        all.iter().filter_map(|(_, t)| Some(t.read("parameter_count").ok()?.numel())).sum()
    }
}

impl Input {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.also.iter().any(|a| a == name)
    }
}

/// What of a name is left below a path.
fn below<'a>(name: &'a str, path: &str) -> Option<&'a str> {
    name.strip_prefix(path).filter(|rest| rest.is_empty() || rest.starts_with('.'))
}
