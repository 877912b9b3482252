//! `grad`.

use crate::model::{self, Model};
use crate::tensors;
use crate::terminal::{Failure, Outcome, said, visible, working};
use std::collections::BTreeMap;
use std::path::Path;
use tracewright::Tensor;
use tracewright::io::onnx::Segment;
use tracewright::options::suggest;

/// The graph that also yields the gradient of its only output, a float scalar, by each float input.
pub fn graph(path: &Path) -> Result<Outcome, Failure> {
    Ok(model::recording(path)?.gradient().map_err(said)?.ir().into())
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| visible(name)).collect::<Vec<_>>().join(", ")
}

/// Gradients by all float arguments, and parameters if they are wanted, for the outputs that have a cotangent.
pub fn compute(path: &Path, inputs: &Path, outputs: &Path, parameters: bool) -> Result<Outcome, Failure> {
    let model = Model::open(path, false)?;
    let arguments = tensors::load(inputs)?;
    let names = model.outputs();
    let cotangent = |name: &String| format!("cot_{name}");
    let wanted: Vec<&str> =
        names.iter().filter(|n| arguments.contains_key(&cotangent(n))).map(String::as_str).collect();
    let taken: Vec<String> = model.inputs().into_iter().map(|i| i.name).chain(names.iter().map(cotangent)).collect();
    if let Some(odd) = arguments.keys().find(|name| name.starts_with("cot_") && !taken.contains(name)) {
        let near = suggest(odd, taken.iter().map(String::as_str).filter(|name| name.starts_with("cot_")));
        let hint = match near {
            Some(near) => format!("did you mean `{}`?", visible(near)),
            None => format!("outputs are {}", listed(&names)),
        };
        let odd = visible(odd);
        return Err(format!("error: {}: `{odd}` is the cotangent of no output; {hint}", inputs.display()).into());
    }
    if let Some(odd) = model.inputs().iter().find(|i| wanted.iter().any(|name| i.name == format!("cot_{name}"))) {
        let odd = visible(&odd.name);
        return Err(
            format!("error: {}: its input `{odd}` is called as the cotangent of an output", path.display()).into()
        );
    }
    if wanted.is_empty() {
        let names: Vec<String> = names.iter().map(cotangent).collect();
        return Err(format!("error: {}: no cotangent; one of {}", inputs.display(), listed(&names)).into());
    }
    let mut own = arguments.clone();
    wanted.iter().for_each(|name| drop(own.remove(&format!("cot_{name}"))));
    let (found, fixed) = working("differentiating and running", || {
        let mut segments = model.segments(&own)?;
        if let Some(reason) = segments.iter().find_map(|s| s.end.as_ref()) {
            let rule = "gradients do not go from one to the other";
            return Err(format!("error: {}: the model is several graphs, and {rule}: {reason}", path.display()));
        }
        let Some(Segment { graph, arguments: mut given, fixed, .. }) = segments.pop() else {
            return Err("error: the model has no graph".to_string());
        };
        let seeds = wanted.iter().map(|name| cotangent(&name.to_string()));
        given.extend(seeds.map(|seed| (seed.clone(), arguments[&seed].clone())));
        let mut by: Vec<String> = graph.arguments().into_iter().map(|(name, _)| name.to_string()).collect();
        if parameters {
            by.extend(graph.state().into_keys());
        }
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        let found = graph.vjp(&wanted, &by).and_then(|f| f.call_named(&given)).map_err(said)?;
        Ok((found, fixed))
    })?;
    let mut gradients: BTreeMap<_, _> = found.into_iter().filter(|(name, _)| !names.contains(name)).collect();
    let float = |name: &String| own.get(name).is_some_and(|t| t.dtype().is_float());
    // Of what nothing in the graph reads.
    for (name, input) in own.iter().filter(|(name, _)| float(name) && fixed.iter().all(|(f, _)| f != *name)) {
        gradients.entry(format!("grad_{name}")).or_insert_with(|| Tensor::zeros(input.shape(), input.dtype()));
    }
    tensors::save(outputs, &gradients)?;
    let constant = |(name, value): &(String, String)| {
        format!("note: there is no gradient by `{}`: the graph holds for its value, {value}\n", visible(name))
    };
    let err = fixed.iter().filter(|(name, _)| float(name)).map(constant).collect();
    Ok(Outcome { err, ..String::new().into() })
}
