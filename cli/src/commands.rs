//! What each command does: text out, or a message.

use crate::{Inputs, Stage};
use std::fs::File;
use std::io::Read;
use tracewright::options::{self, with_options};
use tracewright::{DType, Generator, Recording, Tensor, Type};

/// Larger files are refused.
const LARGEST: u64 = 1 << 30;

pub fn inspect(file: &str, stage: Stage) -> Result<String, String> {
    let recording = read(file)?;
    let wanted = |name: &str| match stage {
        Stage::Graph => false,
        Stage::Passes => name.ends_with(".ir"),
        Stage::Program => name == "program.txt",
        Stage::Kernels => name.ends_with(".kir"),
        Stage::Clif => name.ends_with(".clif"),
        Stage::Asm => name.ends_with(".asm"),
        Stage::Timing => name == "timing.txt",
    };
    if let Stage::Graph = stage {
        return Ok(recording.annotated());
    }
    let lowered = recording.lower().map_err(|e| e.to_string())?;
    if let Some(reason) = &lowered.artifacts().fallback {
        return Err(format!("error: {file}: there are no stages, the interpreter runs it: {reason}"));
    }
    let stages = lowered.stages().iter().filter(|s| wanted(&s.name));
    let heading =
        |name: &str| if let Stage::Program | Stage::Timing = stage { String::new() } else { format!("// {name}\n") };
    Ok(stages.map(|s| format!("{}{}\n", heading(&s.name), s.text.trim_end())).collect())
}

pub fn run(file: &str, inputs: &Inputs, jit: bool) -> Result<String, String> {
    let recording = read(file)?;
    let mut settings = (*options::current().map_err(|e| format!("error: {e}"))?).clone();
    settings.jit &= jit;
    let arguments = arguments(&recording, inputs).map_err(|e| format!("error: {file}: {e}"))?;
    let outputs = with_options(settings, || recording.call(&arguments)).map_err(|e| e.to_string())?;
    Ok(outputs.iter().map(|t| format!("{t}\n")).collect())
}

pub fn grad(file: &str) -> Result<String, String> {
    Ok(read(file)?.gradient().map_err(|e| e.to_string())?.ir())
}

pub fn options() -> String {
    options::markdown()
}

fn read(file: &str) -> Result<Recording, String> {
    let (name, mut source): (&str, Box<dyn Read>) = match file {
        "-" => ("<stdin>", Box::new(std::io::stdin())),
        _ => (file, Box::new(File::open(file).map_err(|e| format!("error: {file}: {e}"))?)),
    };
    let mut text = String::new();
    let length =
        source.by_ref().take(LARGEST + 1).read_to_string(&mut text).map_err(|e| format!("error: {name}: {e}"))?;
    if length as u64 > LARGEST {
        return Err(format!("error: {name}: more than {LARGEST} bytes"));
    }
    Recording::parse(name, &text).map_err(|e| e.to_string())
}

/// Random inputs of the graph's types.
fn arguments(recording: &Recording, inputs: &Inputs) -> Result<Vec<Tensor>, String> {
    let types = recording.inputs();
    let used =
        |symbol: &str| types.iter().any(|t| t.shape.iter().flat_map(|d| d.symbols()).any(|s| s.name() == symbol));
    if let Some((unknown, _)) = inputs.dim.iter().find(|(s, _)| !used(s)) {
        return Err(format!("no input has the symbol `{unknown}`"));
    }
    let value = |symbol: &str| {
        let bounds = recording.symbols().find(|s| s.0 == symbol).map_or((0, i64::MAX), |(_, min, max)| (min, max));
        let given = inputs.dim.iter().rev().find(|(s, _)| s == symbol).map(|d| d.1 as i64);
        given.unwrap_or(2.clamp(bounds.0, bounds.1.max(bounds.0)))
    };
    let generator = Generator::new(inputs.seed);
    let tensor = |ty: &Type| {
        let extent = |d: &tracewright::Dim| d.eval(&|s| Some(value(s.name()))).and_then(|n| usize::try_from(n).ok());
        let dims: Option<Vec<usize>> = ty.shape.iter().map(extent).collect();
        let dims = dims.ok_or_else(|| format!("an extent of {ty} is not a size"))?;
        let numbers = match ty.dtype {
            dtype if dtype.is_float() => generator.normal(dims.as_slice(), 0.0, 1.0),
            DType::Bool => generator.uniform(dims.as_slice(), 0.0, 2.0),
            _ => generator.uniform(dims.as_slice(), 0.0, 8.0),
        };
        // Truncated towards zero, so that a bool is set half of the time.
        let whole = if ty.dtype.is_float() { numbers } else { numbers.to_dtype(DType::I32) };
        whole.to_dtype(ty.dtype).ok().map_err(|e| e.to_string())
    };
    types.iter().map(tensor).collect()
}
