//! Models in files.

use crate::{Inputs, Symbols, said, tensors};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tracewright::io::Exported;
use tracewright::io::onnx::{self, Segment};
use tracewright::{DType, Dim, Generator, Recording, Tensor, Type};

/// Larger texts are refused.
const LARGEST: u64 = 1 << 30;

/// A model, in any of the forms that files have.
pub enum Model {
    /// A saved graph, or one in text form.
    Graph(Box<Exported>),
    /// Of ONNX.
    Onnx(Box<onnx::Model>),
}

/// An input of a model, as far as its file says what it is.
pub struct Input {
    pub name: String,
    pub dtype: DType,
    /// `None` where the rank or an extent is not said.
    pub dims: Option<Vec<Option<Dim>>>,
    /// True if it has a default.
    pub optional: bool,
}

type Named = BTreeMap<String, Tensor>;

impl Model {
    /// Reads a model. With `checked`, all of a saved graph is compared with its checksums.
    pub fn open(path: &Path, checked: bool) -> Result<Model, String> {
        let load = || if checked { Exported::load_checked(path) } else { Exported::load(path) };
        let graph = match path.extension().and_then(|e| e.to_str()) {
            Some("onnx") => return onnx::load(path).map(|m| Model::Onnx(Box::new(m))).map_err(said),
            Some("tw") => load().map_err(said)?,
            _ => match text(path)? {
                Some(recording) => Exported::of_recording(recording),
                None => load().map_err(said)?,
            },
        };
        Ok(Model::Graph(Box::new(graph)))
    }

    /// What a call takes.
    pub fn inputs(&self) -> Vec<Input> {
        match self {
            Model::Graph(g) => {
                let dims = |ty: &Type| Some(ty.shape.iter().cloned().map(Some).collect());
                let input = |(name, ty): (&str, Type)| Input {
                    name: name.into(),
                    dtype: ty.dtype,
                    dims: dims(&ty),
                    optional: false,
                };
                g.arguments().into_iter().map(input).collect()
            }
            Model::Onnx(m) => {
                let input = |i: onnx::Info| Input {
                    name: i.name,
                    dtype: i.dtype.unwrap_or(DType::F32),
                    dims: i.dims,
                    optional: i.optional,
                };
                m.inputs().into_iter().map(input).collect()
            }
        }
    }

    /// Names of what a call yields, in order.
    pub fn outputs(&self) -> Vec<String> {
        match self {
            Model::Graph(g) => g.outputs().into_iter().map(|(name, _)| name.into()).collect(),
            Model::Onnx(m) => m.outputs().into_iter().map(|o| o.name).collect(),
        }
    }

    /// Runs it; a state stays as it is.
    pub fn call(&self, arguments: &Named) -> Result<Named, String> {
        match self {
            Model::Graph(g) => g.call_named(arguments).map_err(said),
            Model::Onnx(m) => m.call(&pairs(arguments)).map_err(said),
        }
    }

    /// The graph, for arguments like these, with what of them it takes; extents that a file of ONNX leaves open stay so.
    /// Random arguments are no examples of those whose values are part of the graph.
    pub fn graph(self, arguments: &Named, random: bool) -> Result<Segment, String> {
        let model = match self {
            Model::Graph(g) => return Ok(whole(*g, arguments)),
            Model::Onnx(model) => model,
        };
        let hint = if random { "\n  note: the inputs are random ones; --inputs gives others" } else { "" };
        let segment = model.first_segment(&pairs(arguments)).map_err(|e| said(e) + hint)?;
        if let Some(reason) = &segment.end {
            let rule = "so the model is several graphs; `ir` with --inputs prints each";
            return Err(format!("error: {reason}, {rule}"));
        }
        match segment.fixed.first().filter(|_| random) {
            None => Ok(segment),
            Some((name, _)) => {
                Err(format!("error: the value of the input `{name}` is part of the graph; give it by --inputs"))
            }
        }
    }

    /// The graphs that it is for these very arguments; all but the last are run.
    pub fn segments(self, arguments: &Named) -> Result<Vec<Segment>, String> {
        match self {
            Model::Graph(g) => Ok(vec![whole(*g, arguments)]),
            Model::Onnx(model) => model.segments(&pairs(arguments)).map_err(said),
        }
    }
}

fn pairs(arguments: &Named) -> Vec<(&str, Tensor)> {
    arguments.iter().map(|(k, t)| (k.as_str(), t.clone())).collect()
}

fn whole(graph: Exported, arguments: &Named) -> Segment {
    Segment { graph, arguments: arguments.clone(), fixed: Vec::new(), end: None }
}

/// What a graph is only for, as lines.
pub fn fixed(segment: &Segment) -> String {
    segment.fixed.iter().map(|(name, value)| format!("// for `{name}` = {value}\n")).collect()
}

/// A graph in text form.
pub fn recording(path: &Path) -> Result<Recording, String> {
    let legal = "a graph in text form";
    if path.extension().is_some_and(|e| e == "onnx") {
        return Err(format!("error: {}: it is a model of ONNX; this wants {legal}, or --inputs", path.display()));
    }
    text(path)?
        .ok_or_else(|| format!("error: {}: it is a saved graph; this wants {legal}, or --inputs", path.display()))
}

/// A graph in text form; `None` if the file is a saved graph.
fn text(path: &Path) -> Result<Option<Recording>, String> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "<stdin>".into() } else { path.display().to_string() };
    let wrong = |e: &dyn std::fmt::Display| format!("error: {name}: {e}");
    let mut source: Box<dyn Read> = match stdin {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(path).map_err(|e| wrong(&e))?),
    };
    let mut bytes = Vec::new();
    source.by_ref().take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| wrong(&e))?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong(&format!("more than {LARGEST} bytes")));
    }
    if !stdin && bytes.starts_with(b"\x89TW") {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"neither a saved graph nor text"))?;
    Recording::parse(&name, &text).map(Some).map_err(said)
}

/// The arguments of a call: those of a file, or random ones.
pub fn arguments(path: &Path, model: &Model, inputs: &Inputs) -> Result<Named, String> {
    match &inputs.inputs {
        Some(file) => tensors::load(file),
        None => random(model, &inputs.symbols, inputs.seed).map_err(|e| format!("error: {}: {e}", path.display())),
    }
}

/// The value of each symbol: what the command line says, or 2, or the nearest that its bounds allow.
pub fn symbols(model: &Model, given: &Symbols) -> Result<BTreeMap<String, i64>, String> {
    let inputs = model.inputs();
    let dims = inputs.iter().flat_map(|i| i.dims.iter().flatten().flatten());
    let mut values: BTreeMap<String, i64> = dims.flat_map(Dim::symbols).map(|s| (s.name().to_string(), 2)).collect();
    if let Model::Graph(graph) = model {
        for symbol in &graph.graph().symbols {
            if let Some(value) = values.get_mut(symbol.symbol.name()) {
                *value = 2.clamp(symbol.min, symbol.max.max(symbol.min));
            }
        }
    }
    for (symbol, extent) in &given.dim {
        match values.get_mut(symbol) {
            Some(value) => *value = i64::try_from(*extent).unwrap_or(i64::MAX),
            None => return Err(format!("no input has the symbol `{symbol}`")),
        }
    }
    Ok(values)
}

/// The arguments that a model is traced for: those of a file, or random ones, which is said.
pub fn examples(path: &Path, model: &Model, inputs: Option<&Path>, symbols: &Symbols) -> Result<(Named, bool), String> {
    match (inputs, model) {
        (Some(file), _) => Ok((tensors::load(file)?, false)),
        (None, Model::Onnx(_)) => {
            let random = random(model, symbols, 0).map_err(|e| format!("error: {}: {e}", path.display()))?;
            Ok((random, true))
        }
        (None, Model::Graph(_)) => Ok((BTreeMap::new(), false)),
    }
}

/// Random arguments; those that have defaults are left to these.
pub fn random(model: &Model, symbols: &Symbols, seed: u64) -> Result<Named, String> {
    let values = self::symbols(model, symbols)?;
    let generator = Generator::new(seed);
    let tensor = |input: &Input| {
        let extent = |d: &Option<Dim>| {
            let n = d.as_ref()?.eval(&|s| values.get(s.name()).copied())?;
            usize::try_from(n).ok()
        };
        let dims: Option<Vec<usize>> = input.dims.as_ref().and_then(|dims| dims.iter().map(extent).collect());
        let dims = dims.ok_or_else(|| format!("the extents of `{}` are not known; give it by --inputs", input.name))?;
        let numbers = match input.dtype {
            dtype if dtype.is_float() => generator.normal(dims.as_slice(), 0.0, 1.0),
            DType::Bool => generator.uniform(dims.as_slice(), 0.0, 2.0),
            _ => generator.uniform(dims.as_slice(), 0.0, 8.0),
        };
        // Truncated towards zero, so that a bool is set half of the time.
        let whole = if input.dtype.is_float() { numbers } else { numbers.to_dtype(DType::I32) };
        whole.to_dtype(input.dtype).ok().map_err(said)
    };
    model.inputs().iter().filter(|i| !i.optional).map(|i| Ok((i.name.clone(), tensor(i)?))).collect()
}
