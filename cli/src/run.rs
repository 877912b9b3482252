//! `run`.

use crate::arguments::Inputs;
use crate::model::{self, Model};
use crate::tensors;
use crate::terminal::{Failure, Outcome, said, working};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Where results go.
pub struct To<'a> {
    pub outputs: Option<&'a Path>,
    pub save: Option<&'a Path>,
    pub json: bool,
}

pub fn run(path: &Path, inputs: &Inputs, to: &To<'_>) -> Result<Outcome, Failure> {
    let model = Model::open(path, false)?;
    let examples = model::arguments(path, &model, inputs)?;
    let start = Instant::now();
    let mut stepped = None;
    let names = model.outputs();
    let outputs = working("running", || match (to.save, model) {
        (None, model) => model.call(&examples.arguments),
        (Some(_), model) => {
            let mut segment = model.graph(&examples)?;
            let outputs = segment.graph.call_mut_named(&segment.arguments).map_err(said);
            stepped = Some(segment.graph);
            outputs
        }
    })?;
    for tensor in outputs.values() {
        // Waits for a device, and reports an index out of range.
        tensor.to_device(tracewright::Device::Cpu).ok().map_err(said)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if let Some(file) = to.outputs {
        tensors::save(file, &outputs)?;
    }
    if let (Some(file), Some(graph)) = (to.save, stepped) {
        graph.save(file).map_err(said)?;
    }
    // In the order of the model, not of the names.
    let in_order = names.iter().filter_map(|name| Some((name, outputs.get(name)?)));
    if to.json {
        let list: Vec<_> = in_order
            .map(|(name, t)| json!({ "name": name, "type": t.try_type().map_or("?".into(), |ty| ty.to_string()) }))
            .collect();
        return Ok(json!({ "outputs": list, "seconds": seconds }).into());
    }
    let text: String =
        if to.outputs.is_some() { String::new() } else { in_order.map(|(_, t)| format!("{t}\n")).collect() };
    Ok(text.into())
}
