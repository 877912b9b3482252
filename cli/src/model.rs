//! Models in files.

use crate::arguments::{Inputs, Symbols};
use crate::tensors;
use crate::terminal::{lines, own_place, said, visible};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tracewright::io::Exported;
use tracewright::io::onnx::{self, Segment};
use tracewright::options::suggest;
use tracewright::{DType, Dim, Error, Generator, Recording, Tensor, Type};

/// Larger texts are refused.
const LARGEST: u64 = 1 << 30;

/// A model, in any of the forms that files have.
pub enum Model {
    /// A saved graph, or one in text form.
    Graph(Box<Exported>),
    /// Of ONNX, with the name of its file.
    Onnx(Box<onnx::Model>, String),
}

/// An input of a model, as far as its file says what it is.
pub struct Input {
    pub name: String,
    /// `None` of what is no tensor.
    pub dtype: Option<DType>,
    /// `None` where the rank or an extent is not said.
    pub dims: Option<Vec<Option<Dim>>>,
    /// True if it has a default.
    pub optional: bool,
}

type Named = BTreeMap<String, Tensor>;

/// What a model is traced for.
pub struct Examples {
    pub arguments: Named,
    /// False if they are made up: they are no examples of inputs whose values are part of the graph.
    pub given: bool,
}

/// The entry of the metadata that says for which values of other inputs a graph is.
pub const HOLDS_FOR: &str = "holds for";

impl Model {
    /// Reads a model. With `checked`, all of a saved graph is compared with its checksums.
    pub fn open(path: &Path, checked: bool) -> Result<Model, String> {
        let load = || if checked { Exported::load_checked(path) } else { Exported::load(path) };
        let graph = match path.extension().and_then(|e| e.to_str()) {
            Some("onnx") => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return onnx::load(path).map(|m| Model::Onnx(Box::new(m), name)).map_err(said);
            }
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
                    dtype: Some(ty.dtype),
                    dims: dims(&ty),
                    optional: false,
                };
                g.arguments().into_iter().map(input).collect()
            }
            Model::Onnx(m, _) => {
                let input = |i: onnx::Info| Input { name: i.name, dtype: i.dtype, dims: i.dims, optional: i.optional };
                m.inputs().into_iter().map(input).collect()
            }
        }
    }

    /// Names of what a call yields, in order.
    pub fn outputs(&self) -> Vec<String> {
        match self {
            Model::Graph(g) => g.outputs().into_iter().map(|(name, _)| name.into()).collect(),
            Model::Onnx(m, _) => m.outputs().into_iter().map(|o| o.name).collect(),
        }
    }

    /// Runs it; a state stays as it is.
    pub fn call(&self, arguments: &Named) -> Result<Named, String> {
        match self {
            Model::Graph(g) => g.call_named(arguments).map_err(said),
            Model::Onnx(m, file) => m.call(&pairs(arguments)).map_err(|e| said_of_nodes(&e, file)),
        }
    }

    /// The graph, for arguments like these, with what of them it takes; extents that a file of ONNX leaves open stay so.
    pub fn graph(self, examples: &Examples) -> Result<Segment, String> {
        let (model, file) = match self {
            Model::Graph(g) => return Ok(whole(*g, &examples.arguments)),
            Model::Onnx(model, file) => (model, file),
        };
        let hint = if examples.given { "" } else { "\n  note: the inputs are made up; --inputs gives others" };
        let segment = model.first_segment(&pairs(&examples.arguments)).map_err(|e| said_of_nodes(&e, &file) + hint)?;
        if let Some(reason) = &segment.end {
            let rule = "so the model is several graphs; `ir` with --inputs prints each";
            return Err(format!("error: {}, {rule}", visible(reason)));
        }
        match segment.fixed.first().filter(|_| !examples.given) {
            None => Ok(of_file(segment, &file)),
            Some((name, _)) => {
                let name = visible(name);
                Err(format!("error: the value of the input `{name}` is part of the graph; give it by --inputs"))
            }
        }
    }

    /// The graphs that it is for these very arguments; all but the last are run.
    pub fn segments(self, arguments: &Named) -> Result<Vec<Segment>, String> {
        match self {
            Model::Graph(g) => Ok(vec![whole(*g, arguments)]),
            Model::Onnx(model, file) => {
                let segments = model.segments(&pairs(arguments)).map_err(|e| said_of_nodes(&e, &file))?;
                Ok(segments.into_iter().map(|segment| of_file(segment, &file)).collect())
            }
        }
    }
}

fn pairs(arguments: &Named) -> Vec<(&str, Tensor)> {
    arguments.iter().map(|(k, t)| (k.as_str(), t.clone())).collect()
}

fn whole(graph: Exported, arguments: &Named) -> Segment {
    Segment { graph, arguments: arguments.clone(), fixed: Vec::new(), end: None }
}

/// A segment whose ops are of a file, not of this program, and which knows what it is only for.
fn of_file(segment: Segment, file: &str) -> Segment {
    let graph = segment.graph.recorded_in(file);
    let values: Vec<String> = segment.fixed.iter().map(|(name, value)| format!("`{name}` = {value}")).collect();
    let graph = if values.is_empty() { graph } else { graph.with_metadata(HOLDS_FOR, &values.join("; ")) };
    Segment { graph, ..segment }
}

/// For which values of other inputs a graph is, if it is for some.
pub fn holds_for(graph: &Exported) -> Option<String> {
    graph.metadata().get(HOLDS_FOR).map(|values| visible(values))
}

/// An error of a model of ONNX, whose ops are recorded for a line of this file: they are of the model's.
fn said_of_nodes(e: &Error, file: &str) -> String {
    let own = own_place(e);
    let line = |line: String| match own.as_ref().and_then(|own| line.strip_prefix(own.as_str())) {
        Some("") => None,
        Some(scope) => Some(format!("  at {file}{scope}")),
        None => Some(in_file(&line, file)),
    };
    lines(e).into_iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// A text with another file in the place of this one and its lines.
fn in_file(text: &str, file: &str) -> String {
    let mut parts = text.split(concat!(file!(), ":"));
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + file + part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':'))
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
pub fn arguments(path: &Path, model: &Model, inputs: &Inputs) -> Result<Examples, String> {
    let arguments = match &inputs.inputs {
        Some(file) => tensors::load(file)?,
        None => random(model, &inputs.symbols, inputs.seed).map_err(|e| format!("error: {}: {e}", path.display()))?,
    };
    Ok(Examples { arguments, given: inputs.inputs.is_some() })
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
        if let Some(value) = values.get_mut(symbol) {
            *value = i64::try_from(*extent).unwrap_or(i64::MAX);
            continue;
        }
        let known: Vec<&str> = values.keys().map(String::as_str).collect();
        let hint = match suggest(symbol, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "they have none".into(),
            None => format!("they have {}", known.join(", ")),
        };
        return Err(format!("no input has the symbol `{symbol}`; {hint}"));
    }
    Ok(values)
}

/// The arguments that a model is traced for: those of a file, or some of the right types, which have no memory.
pub fn examples(path: &Path, model: &Model, inputs: Option<&Path>, symbols: &Symbols) -> Result<Examples, String> {
    let arguments = match (inputs, model) {
        (Some(_), Model::Graph(_)) => {
            let rule = "a saved graph is what it is for any inputs; --inputs are for a model of ONNX here";
            return Err(format!("error: {}: {rule}", path.display()));
        }
        (Some(file), _) => tensors::load(file)?,
        (None, Model::Onnx(..)) => {
            let zeros = |dtype, dims: &[usize]| Tensor::zeros([0usize; 0], dtype).broadcast_to(dims);
            made_up(model, symbols, zeros).map_err(|e| format!("error: {}: {e}", path.display()))?
        }
        (None, Model::Graph(_)) => BTreeMap::new(),
    };
    Ok(Examples { arguments, given: inputs.is_some() })
}

/// Random arguments.
fn random(model: &Model, symbols: &Symbols, seed: u64) -> Result<Named, String> {
    let generator = Generator::new(seed);
    made_up(model, symbols, |dtype, dims| {
        let numbers = match dtype {
            dtype if dtype.is_float() => generator.normal(dims, 0.0, 1.0),
            DType::Bool => generator.uniform(dims, 0.0, 2.0),
            _ => generator.uniform(dims, 0.0, 8.0),
        };
        // Truncated towards zero, so that a bool is set half of the time.
        let whole = if dtype.is_float() { numbers } else { numbers.to_dtype(DType::I32) };
        whole.to_dtype(dtype)
    })
}

/// Arguments that `make` makes; those that have defaults are left to these.
fn made_up(model: &Model, symbols: &Symbols, make: impl Fn(DType, &[usize]) -> Tensor) -> Result<Named, String> {
    let values = self::symbols(model, symbols)?;
    let tensor = |input: &Input| {
        let extent = |d: &Option<Dim>| {
            let n = d.as_ref()?.eval(&|s| values.get(s.name()).copied())?;
            usize::try_from(n).ok()
        };
        let name = visible(&input.name);
        let dtype = input.dtype.ok_or_else(|| format!("the input `{name}` is no tensor, and files have only these"))?;
        let dims: Option<Vec<usize>> = input.dims.as_ref().and_then(|dims| dims.iter().map(extent).collect());
        let dims = dims.ok_or_else(|| format!("the extents of `{name}` are not known; give it by --inputs"))?;
        make(dtype, &dims).ok().map_err(|e| format!("the input `{name}`: {}", said(e)))
    };
    model.inputs().iter().filter(|i| !i.optional).map(|i| Ok((i.name.clone(), tensor(i)?))).collect()
}
