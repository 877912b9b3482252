//! `inspect` and `ir`.

use crate::arguments::{Stage, Symbols};
use crate::model::{self, Model};
use crate::terminal::{Failure, Outcome, said, visible, working};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use tracewright::Dim;
use tracewright::io::Exported;
use tracewright::io::onnx::Segment;

/// What the graph is, or what it is after a pass; of each segment, where inputs are given.
pub fn graph(path: &Path, after: Option<&str>, inputs: Option<&Path>) -> Result<Outcome, Failure> {
    let model = Model::open(path, false)?;
    let examples = model::examples(path, &model, inputs, &Symbols::default())?;
    let segments = working("tracing", || match inputs {
        Some(_) => model.segments(&examples.arguments),
        None => model.graph(&examples).map(|segment| vec![segment]),
    })?;
    let mut text = String::new();
    let count = segments.len();
    for (i, segment) in segments.iter().enumerate() {
        if count > 1 {
            let _ = writeln!(text, "// segment {} of {count}", i + 1);
        }
        if let Some(values) = model::holds_for(&segment.graph) {
            let _ = writeln!(text, "// holds for: {values}");
        }
        text += &match after {
            None => segment.graph.ir(),
            Some(pass) => after_pass(path, segment, pass)?,
        };
        if let Some(reason) = &segment.end {
            let _ = writeln!(text, "// it ends here: {}\n", visible(reason));
        }
    }
    Ok(text.into())
}

fn after_pass(path: &Path, segment: &Segment, pass: &str) -> Result<String, String> {
    let lowered = working("compiling", || segment.graph.lower()).map_err(said)?;
    // `03-after-fuse.ir`
    let name = |stage: &str| Some(stage.strip_suffix(".ir")?.split_once("-after-")?.1.to_string());
    let mut known: Vec<String> = lowered.stages().iter().filter_map(|s| name(&s.name)).collect();
    match lowered.stages().iter().rev().find(|s| name(&s.name).as_deref() == Some(pass)) {
        Some(stage) => Ok(format!("{}\n", stage.text.trim_end())),
        None => {
            known.dedup();
            let known = if known.is_empty() { "none did".into() } else { known.join(", ") };
            Err(format!("error: {}: no pass `{pass}` changed the graph; these did: {known}", path.display()))
        }
    }
}

/// A stage of the compilation.
pub fn stage(path: &Path, stage: Stage, symbols: &Symbols, inputs: Option<&Path>) -> Result<Outcome, Failure> {
    let wanted = |name: &str| match stage {
        Stage::Passes => name.ends_with(".ir"),
        Stage::Program => name == "program.txt",
        Stage::Kernels => name.ends_with(".kir"),
        Stage::Clif => name.ends_with(".clif"),
        Stage::Asm => name.ends_with(".asm"),
        Stage::Timing => name == "timing.txt",
    };
    let model = Model::open(path, false)?;
    let examples = model::examples(path, &model, inputs, symbols)?;
    let model = working("tracing", || model.graph(&examples))?.graph;
    let lowered = working("compiling", || model.lower()).map_err(said)?;
    if let Some(reason) = &lowered.artifacts().fallback {
        let path = path.display();
        return Err(format!("error: {path}: there are no stages, the interpreter runs it: {reason}").into());
    }
    let stages = lowered.stages().iter().filter(|s| wanted(&s.name));
    let heading =
        |name: &str| if let Stage::Program | Stage::Timing = stage { String::new() } else { format!("// {name}\n") };
    Ok(stages.map(|s| format!("{}{}\n", heading(&s.name), s.text.trim_end())).collect::<String>().into())
}

/// What there is to know of a model.
pub fn summary(path: &Path, symbols: &Symbols, inputs: Option<&Path>, json: bool) -> Result<Outcome, Failure> {
    let model = working("reading", || Model::open(path, true))?;
    let wrong = |e: String| format!("error: {}: {e}", path.display());
    let extents = model::symbols(&model, symbols).map_err(wrong)?;
    let nodes = match &model {
        Model::Onnx(model, _) => Some((model.opset(), model.ops())),
        Model::Graph(_) => None,
    };
    let examples = match model::examples(path, &model, inputs, symbols) {
        Err(wrong) if inputs.is_some() => return Err(wrong.into()),
        examples => examples,
    };
    let ends = json!({ "inputs": ends(model.inputs()), "outputs": named(model.outputs()) });
    let mut about = match examples.and_then(|examples| working("tracing", || model.graph(&examples))) {
        Ok(segment) if nodes.is_some() => describe(&segment.graph, &bound(&segment))?,
        Ok(segment) => describe(&segment.graph, &extents)?,
        // Its nodes are still of interest.
        Err(reason) if nodes.is_some() => {
            json!({ "inputs": ends["inputs"], "outputs": ends["outputs"], "no_graph": reason })
        }
        Err(reason) => return Err(reason.into()),
    };
    if let Some((opset, nodes)) = nodes {
        about["opset"] = opset.into();
        about["nodes"] = json!(nodes);
    }
    Ok(if json { about.into() } else { text(&about).into() })
}

/// What the symbols of a graph are in its arguments; names in a file of ONNX may be none of symbols.
fn bound(segment: &Segment) -> BTreeMap<String, i64> {
    let mut extents = BTreeMap::new();
    for (name, ty) in segment.graph.arguments() {
        let shape = segment.arguments.get(name).and_then(|t| t.try_shape().ok());
        for (dim, n) in ty.shape.iter().zip(shape.iter().flat_map(|s| s.iter())) {
            if let ([symbol], Some(n)) = (dim.symbols().as_slice(), n.known())
                && *dim == Dim::symbol(symbol.name())
            {
                extents.insert(symbol.name().to_string(), n);
            }
        }
    }
    extents
}

/// Inputs as a file of ONNX has them.
fn ends(inputs: Vec<model::Input>) -> Vec<Value> {
    let dims = |dims: Option<Vec<Option<Dim>>>| match dims {
        Some(dims) => dims.iter().map(|d| d.as_ref().map_or("?".into(), Dim::to_string)).collect::<Vec<_>>().join(", "),
        None => "..".into(),
    };
    let ty = |i: &model::Input| match i.dtype {
        Some(dtype) => format!("{dtype}[{}]", dims(i.dims.clone())),
        None => "no tensor".into(),
    };
    inputs.iter().map(|i| json!({ "name": i.name, "type": ty(i) })).collect()
}

fn named(names: Vec<String>) -> Vec<Value> {
    names.into_iter().map(|name| json!({ "name": name, "type": "of a shape that is not known" })).collect()
}

fn describe(model: &Exported, extents: &BTreeMap<String, i64>) -> Result<Value, String> {
    let cost = model.cost(extents);
    let lowered = working("compiling", || model.lower()).map_err(said)?;
    let program = lowered.executable().program();
    let names = |list: Vec<(&str, tracewright::Type)>| -> Vec<Value> {
        list.into_iter().map(|(name, ty)| json!({ "name": name, "type": ty.to_string() })).collect()
    };
    let values = |list: BTreeMap<String, tracewright::Tensor>| -> Vec<Value> {
        let ty = |t: &tracewright::Tensor| t.try_type().map_or("?".into(), |ty| ty.to_string());
        list.iter().map(|(name, t)| json!({ "name": name, "type": ty(t) })).collect()
    };
    let bounds = model.graph().symbols.iter();
    let bounds: Vec<Value> = bounds.map(|s| json!({ "name": s.symbol.name(), "min": s.min, "max": s.max })).collect();
    let footprint = program.map(|p| p.footprint());
    Ok(json!({
        "name": model.graph().name,
        "inputs": names(model.arguments()),
        "outputs": names(model.outputs()),
        "state": values(model.state()),
        "constants": values(model.constants()),
        "symbols": bounds,
        "metadata": model.metadata(),
        "ops": cost.ops,
        "parameters": cost.parameters,
        "extents": extents,
        "operations": cost.operations,
        "bytes": {
            "inputs": cost.argument_bytes, "outputs": cost.output_bytes, "parameters": cost.parameter_bytes
        },
        "peak_bytes": footprint.as_ref().map(|f| f.peak.to_string()),
        "arena_bytes": footprint.as_ref().map(|f| f.arena.to_string()),
        "kernels": program.map_or(0, |p| p.kernels.len()),
        "fallback": lowered.artifacts().fallback,
    }))
}

fn text(about: &Value) -> String {
    let mut out = String::new();
    let plain = |v: &Value| v.as_str().map_or_else(|| v.to_string(), visible);
    let mut list = |title: &str, key: &str| {
        let items = about[key].as_array().map(Vec::as_slice).unwrap_or_default();
        if !items.is_empty() {
            let _ = writeln!(out, "{title}");
            for item in items {
                let _ = writeln!(out, "  {}: {}", plain(&item["name"]), plain(&item["type"]));
            }
        }
    };
    list("inputs", "inputs");
    list("outputs", "outputs");
    list("state", "state");
    list("constants", "constants");
    let all = |v: &Value| -> Vec<(String, Value)> {
        v.as_object().map(|o| o.iter().map(|(k, v)| (k.clone(), v.clone())).collect()).unwrap_or_default()
    };
    for symbol in about["symbols"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "symbol {} in {}..={}", plain(&symbol["name"]), symbol["min"], symbol["max"]);
    }
    for (key, value) in all(&about["metadata"]) {
        let key = if key == model::HOLDS_FOR { key } else { format!("metadata {}", visible(&key)) };
        let _ = writeln!(out, "{key}: {}", plain(&value));
    }
    let counted = |key: &str| {
        let mut ops: Vec<(String, u64)> =
            all(&about[key]).into_iter().map(|(name, n)| (name, n.as_u64().unwrap_or(0))).collect();
        ops.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), name.clone()));
        let total: u64 = ops.iter().map(|op| op.1).sum();
        let ops: Vec<String> = ops.into_iter().map(|(name, n)| format!("{n} {name}")).collect();
        format!("{total}: {}", ops.join(", "))
    };
    if let Some(opset) = about["opset"].as_i64() {
        let _ = writeln!(out, "nodes of opset {opset}: {}", counted("nodes"));
    }
    if let Some(reason) = about["no_graph"].as_str() {
        let _ = writeln!(out, "no graph of its own: {}", reason.lines().next().unwrap_or(reason));
        return out;
    }
    let _ = writeln!(out, "ops: {}", counted("ops"));
    let bytes = &about["bytes"];
    let _ = writeln!(out, "parameters: {}, {} bytes", about["parameters"], bytes["parameters"]);
    let extents: Vec<String> = all(&about["extents"]).into_iter().map(|(name, n)| format!("{name} = {n}")).collect();
    let extents = if extents.is_empty() { String::new() } else { format!(" for {}", extents.join(", ")) };
    let number = |v: &Value| format!("{}", v.as_f64().unwrap_or(f64::NAN));
    let _ = writeln!(out, "operations: {}{extents}", number(&about["operations"]));
    let _ = writeln!(out, "bytes in and out: {} and {}{extents}", number(&bytes["inputs"]), number(&bytes["outputs"]));
    match about["fallback"].as_str() {
        Some(reason) => {
            let _ = writeln!(out, "kernels: none, the interpreter runs it: {reason}");
        }
        None => {
            let _ = writeln!(
                out,
                "planned peak: {} bytes, arena {}",
                plain(&about["peak_bytes"]),
                plain(&about["arena_bytes"])
            );
            let _ = writeln!(out, "kernels: {}", about["kernels"]);
        }
    }
    out
}
