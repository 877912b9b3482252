//! `compare`.

use crate::arguments::Inputs;
use crate::model::{self, Model};
use crate::terminal::{Failure, Outcome, said, visible, working};
use serde_json::{Value, json};
use std::path::Path;
use tracewright::io::Compared;
use tracewright::{Tensor, options};

/// Exit code where they differ.
pub const DIFFERENT: u8 = 3;

/// What was found of a segment: its outputs, and its ops.
struct Found {
    outputs: Vec<Compared>,
    ops: Vec<Compared>,
    /// Why it ends before the model does.
    end: Option<String>,
}

pub fn compare(path: &Path, inputs: &Inputs, json: bool) -> Result<Outcome, Failure> {
    if !options::current().map_err(|e| format!("error: {e}"))?.jit {
        let rule = "nothing is compiled, and the interpreter would be compared with itself";
        return Err(Failure::usage(format!("error: TRACEWRIGHT_JIT=off: {rule}")));
    }
    let model = Model::open(path, false)?;
    let arguments = model::arguments(path, &model, inputs)?.arguments;
    // A call says what is wrong with the names, and what there is to compare.
    let results = model.call(&arguments)?;
    let mut found = Vec::new();
    for segment in working("tracing", || model.segments(&arguments))? {
        let given = |name: &str| {
            segment.arguments.get(name).cloned().ok_or_else(|| format!("error: `{}` has no value", visible(name)))
        };
        let in_order = segment.graph.arguments().iter().map(|(name, _)| given(name)).collect::<Result<Vec<_>, _>>()?;
        let [outputs, ops] = working("comparing", || segment.graph.compare(&in_order)).map_err(said)?;
        found.push(Found { outputs, ops, end: segment.end });
    }
    // What a loop that runs apart yields, and nothing reads, is in none of them.
    let between = |name: &str| found.iter().all(|f| f.outputs.iter().all(|o| o.name != name));
    let apart: Vec<Compared> = results.iter().filter(|(name, _)| between(name)).map(not_compared).collect();
    found.push(Found { outputs: apart, ops: Vec::new(), end: None });
    Ok(report(&path.display().to_string(), &found, json))
}

fn not_compared((name, result): (&String, &Tensor)) -> Compared {
    Compared {
        name: name.clone(),
        place: String::new(),
        ty: result.try_type().map_or_else(|_| "?".into(), |ty| ty.to_string()),
        largest: 0.0,
        wrong: None,
        skipped: Some("it is computed between graphs, op by op".into()),
    }
}

fn report(path: &str, found: &[Found], json: bool) -> Outcome {
    let ops = || found.iter().enumerate().flat_map(|(i, f)| f.ops.iter().map(move |c| (i, c)));
    let outputs = || found.iter().enumerate().flat_map(|(i, f)| f.outputs.iter().map(move |c| (i, c)));
    let wrong = ops().chain(outputs()).find(|(_, c)| c.wrong.is_some());
    let code = if wrong.is_some() { DIFFERENT } else { 0 };
    if json {
        let all = json!({
            "same": wrong.is_none(),
            "first": wrong.map(item),
            "outputs": outputs().map(item).collect::<Vec<_>>(),
            "ops": ops().map(item).collect::<Vec<_>>(),
            "cuts": found.iter().filter_map(|f| f.end.as_deref()).collect::<Vec<_>>(),
        });
        return Outcome { code, ..all.into() };
    }
    if let Some((_, first)) = wrong {
        let place = if first.place.is_empty() { String::new() } else { format!("\n  at {}", first.place) };
        let what = first.wrong.as_deref().unwrap_or_default();
        return Outcome {
            err: format!("error: {path}: {} differs: {what}{place}\n", visible(&first.name)),
            code,
            ..String::new().into()
        };
    }
    let show = |c: &Compared| format!("{}: {}, largest difference {:e}\n", visible(&c.name), c.ty, c.largest);
    let why = |c: &Compared| {
        let at = if c.place.is_empty() { String::new() } else { format!(" at {}", c.place) };
        let reason = c.skipped.as_deref().unwrap_or("?");
        format!("{}{at}: {}, not compared: {reason}\n", visible(&c.name), c.ty)
    };
    let mut out = String::new();
    for f in found {
        let (skipped, compared): (Vec<_>, Vec<_>) = f.outputs.iter().partition(|c| c.skipped.is_some());
        out.extend(compared.into_iter().map(show));
        out.extend(skipped.into_iter().chain(f.ops.iter().filter(|c| c.skipped.is_some())).map(why));
        out.extend(f.end.iter().map(|reason| format!("the graph ends here: {}\n", visible(reason))));
    }
    let count = outputs().chain(ops()).filter(|(_, c)| c.skipped.is_none()).count();
    out += &format!("{count} results of ops and outputs are as interpreted, up to rounding\n");
    Outcome { code, ..out.into() }
}

fn item((segment, c): (usize, &Compared)) -> Value {
    json!({
        "segment": segment, "name": c.name, "at": c.place, "type": c.ty, "largest": c.largest, "wrong": c.wrong,
        "skipped": c.skipped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Out;

    fn result(name: &str, wrong: Option<&str>) -> Compared {
        Compared {
            name: name.into(),
            place: "m.onnx in the_tanh".into(),
            ty: "f32[2]".into(),
            largest: 0.5,
            wrong: wrong.map(Into::into),
            skipped: None,
        }
    }

    fn text(outcome: &Outcome) -> &str {
        match &outcome.out {
            Out::Text(text) => text,
            Out::Json(_) => panic!("it is JSON"),
        }
    }

    #[test]
    fn what_differs_has_a_code_of_its_own() {
        let fine =
            Found { outputs: vec![result("mid", None)], ops: vec![result("add", None)], end: Some("cut".into()) };
        let last = |wrong| Found { outputs: vec![result("y", wrong)], ops: vec![result("tanh", wrong)], end: None };
        let same = report("m.onnx", &[fine, last(None)], false);
        assert_eq!((same.code, same.err.as_str()), (0, ""));
        let end = "the graph ends here: cut\ny: f32[2], largest difference 5e-1\n4 results of ops and outputs are as interpreted, \
                   up to rounding\n";
        assert!(text(&same).ends_with(end), "{}", text(&same));
        let differs = report("m.onnx", &[last(Some("element 1"))], false);
        assert_eq!((differs.code, text(&differs)), (DIFFERENT, ""));
        assert_eq!(differs.err, "error: m.onnx: tanh differs: element 1\n  at m.onnx in the_tanh\n");
        let json = report("m.onnx", &[last(None), last(Some("element 1"))], true);
        let Out::Json(all) = &json.out else { panic!("it is text") };
        assert_eq!((json.code, json.err.as_str(), &all["same"]), (DIFFERENT, "", &false.into()));
        assert_eq!((&all["first"]["segment"], &all["first"]["name"]), (&1.into(), &"tanh".into()));
    }
}
