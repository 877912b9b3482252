//! `compare`.

use crate::model::{self, Model};
use crate::{Inputs, said, working};
use serde_json::{Value, json};
use std::path::Path;
use tracewright::io::Compared;

pub fn compare(path: &Path, inputs: &Inputs, json: bool) -> Result<String, String> {
    let model = Model::open(path, false)?;
    let arguments = model::arguments(path, &model, inputs)?;
    // A call says what is wrong with the names; its result is of no use.
    model.call(&arguments)?;
    let model = model.graph(&arguments, false)?;
    let in_order: Vec<_> = model.arguments().iter().map(|(name, _)| arguments[*name].clone()).collect();
    let [outputs, ops] = working("comparing", || model.compare(&in_order)).map_err(said)?;
    let wrong = ops.iter().chain(&outputs).find(|c| c.wrong.is_some());
    if json {
        let text = format!("{:#}\n", json!({ "same": wrong.is_none(), "outputs": list(&outputs), "ops": list(&ops) }));
        return if wrong.is_none() { Ok(text) } else { Err(text.trim_end().into()) };
    }
    let show = |c: &Compared| format!("{}: {}, largest difference {:e}", c.name, c.ty, c.largest);
    if let Some(first) = wrong {
        let place = if first.place.is_empty() { String::new() } else { format!("\n  at {}", first.place) };
        let what = first.wrong.as_deref().unwrap_or_default();
        return Err(format!("error: {}: {} differs: {what}{place}", path.display(), first.name));
    }
    let (compared, skipped): (Vec<_>, Vec<_>) = outputs.iter().chain(&ops).partition(|c| c.skipped.is_none());
    let why =
        skipped.iter().map(|c| format!("{}: {}, not compared: {}", c.name, c.ty, c.skipped.as_deref().unwrap_or("?")));
    let lines = outputs.iter().filter(|c| c.skipped.is_none()).map(show).chain(why).map(|line| line + "\n");
    let lines: String = lines.collect();
    Ok(format!("{lines}{} results of ops and outputs are as interpreted, up to rounding\n", compared.len()))
}

fn list(all: &[Compared]) -> Vec<Value> {
    let item = |c: &Compared| json!({ "name": c.name, "at": c.place, "type": c.ty, "largest": c.largest, "wrong": c.wrong, "skipped": c.skipped });
    all.iter().map(item).collect()
}
