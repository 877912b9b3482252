//! `convert`.

use crate::model::{self, Model};
use crate::{Symbols, said, tensors, working};
use std::path::Path;

pub fn convert(from: &Path, to: &Path, freeze: bool, inputs: Option<&Path>) -> Result<String, String> {
    if tensors::format(from).is_some() {
        if freeze {
            return Err(format!("error: {}: only models can be frozen", from.display()));
        }
        tensors::check_format(to)?;
        tensors::save(to, &tensors::load(from)?)?;
        return Ok(String::new());
    }
    let model = Model::open(from, true)?;
    let (arguments, random) = model::examples(from, &model, inputs, &Symbols::default())?;
    let segment = working("converting", || model.graph(&arguments, random))?;
    let notes = model::fixed(&segment);
    let mut model = segment.graph;
    let failed = said;
    if freeze {
        for name in model.state().into_keys() {
            model = model.freeze(&name).map_err(failed)?;
        }
    }
    match to.extension().and_then(|e| e.to_str()) {
        Some("tw") => model.save(to).map_err(failed)?,
        Some("ir") => {
            let more: Vec<String> = model.state().into_keys().chain(model.constants().into_keys()).collect();
            if !more.is_empty() {
                let legal = "convert to .tw";
                return Err(format!(
                    "error: {}: text holds no tensors, and the model has {}; {legal}",
                    from.display(),
                    more.join(", ")
                ));
            }
            std::fs::write(to, model.graph().to_string()).map_err(|e| format!("error: {}: {e}", to.display()))?;
        }
        _ if tensors::format(to).is_some() => {
            let mut all = model.state();
            all.append(&mut model.constants());
            tensors::save(to, &all)?;
        }
        _ => {
            return Err(format!(
                "error: {}: a model becomes .tw or .ir, its tensors .safetensors or .npz",
                to.display()
            ));
        }
    }
    Ok(notes)
}
