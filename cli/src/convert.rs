//! `convert`.

use crate::arguments::Symbols;
use crate::model::{self, Model};
use crate::tensors;
use crate::terminal::{Failure, Outcome, said, visible, working};
use std::path::{Path, PathBuf};

/// What a model is written as.
enum Target {
    Saved,
    Text,
    /// State and constants alone.
    Tensors,
}

pub fn convert(from: PathBuf, to: PathBuf, freeze: bool, inputs: Option<&Path>) -> Result<Outcome, Failure> {
    let wrong = |path: &Path, rule: &str| Failure::usage(format!("error: {}: {rule}", path.display()));
    if let Ok(from) = tensors::readable(from.clone()) {
        if freeze || inputs.is_some() {
            return Err(wrong(&from, "it has tensors; --freeze and --inputs are for models"));
        }
        let to = tensors::writable(to.clone()).map_err(|rule| wrong(&to, &rule))?;
        tensors::save(&to, &tensors::load(&from)?)?;
        return Ok(String::new().into());
    }
    let target = match to.extension().and_then(|e| e.to_str()) {
        Some("tw") => Target::Saved,
        Some("ir") => Target::Text,
        _ if tensors::writable(to.clone()).is_ok() => Target::Tensors,
        _ => return Err(wrong(&to, "a model becomes .tw or .ir, its tensors .safetensors or .npz")),
    };
    let model = Model::open(&from, true)?;
    let examples = model::examples(&from, &model, inputs, &Symbols::default())?;
    let mut graph = working("converting", || model.graph(&examples))?.graph;
    if freeze {
        for name in graph.state().into_keys() {
            graph = graph.freeze(&name).map_err(said)?;
        }
    }
    let holds_for = model::holds_for(&graph).filter(|_| !matches!(target, Target::Tensors));
    match target {
        Target::Saved => graph.save(&to).map_err(said)?,
        Target::Text => {
            let more: Vec<String> = graph.state().into_keys().chain(graph.constants().into_keys()).collect();
            if !more.is_empty() {
                let more = more.iter().map(|name| visible(name)).collect::<Vec<_>>().join(", ");
                let path = from.display();
                let rule = "text holds no tensors, and the model has";
                return Err(format!("error: {path}: {rule} {more}; convert to .tw").into());
            }
            let head = holds_for.as_ref().map(|values| format!("// holds for: {values}\n")).unwrap_or_default();
            std::fs::write(&to, head + &graph.graph().to_string())
                .map_err(|e| format!("error: {}: {e}", to.display()))?;
        }
        Target::Tensors => {
            let mut all = graph.state();
            all.append(&mut graph.constants());
            tensors::save(&to, &all)?;
        }
    }
    let note = holds_for.map(|values| format!("note: {} holds for {values}\n", to.display()));
    Ok(Outcome { err: note.unwrap_or_default(), ..String::new().into() })
}
