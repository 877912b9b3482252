//! The cases of ONNX's backend suite, which we did not write: each model runs interpreted and compiled on the inputs that come
//! with it, and its outputs are compared with those that come with it.
//!
//! `TW_ONNX_CASES=$(scripts/onnx-cases) cargo test --test conformance` fetches and runs them; `TW_ONNX_ONLY=words` runs those
//! whose names hold one of the words, and prints what goes wrong. The table by op is `target/onnx-conformance.md`.
//! `known.txt` names the cases that are known to fail; one that passes has to leave it.

mod compare;

use compare::differences;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};
use tracewright::io::onnx::{self, Form, Info, Value};
use tracewright::options::{Options, with_options};
use tracewright::{DType, Tensor};

const KINDS: [&str; 5] = ["node", "simple", "light", "pytorch-operator", "pytorch-converted"];
const KNOWN: &str = include_str!("known.txt");
/// What a case may take, in both ways.
const TIME: Duration = Duration::from_secs(20);

/// Ops that are to come with convolutions: they move windows over images, or resample them.
const IMAGES: &[&str] = &[
    "AffineGrid",
    "AveragePool",
    "Col2Im",
    "Conv",
    "ConvTranspose",
    "DeformConv",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GridSample",
    "ImageDecoder",
    "LpPool",
    "MaxPool",
    "MaxRoiPool",
    "MaxUnpool",
    "Resize",
    "RoiAlign",
    "Upsample",
];

struct Case {
    name: String,
    /// The model, and the folders with data.
    model: PathBuf,
    data: Vec<PathBuf>,
}

#[derive(Clone, Default)]
struct Outcome {
    /// What went wrong.
    error: Option<String>,
    ops: BTreeSet<String>,
    /// Why it does not count towards the goal, if so.
    outside: Option<&'static str>,
}

fn cases(folder: &Path) -> Vec<Case> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let all = std::fs::read_dir(folder).map(|all| all.flatten().map(|e| e.path()).collect());
        let mut all: Vec<PathBuf> = all.unwrap_or_default();
        all.sort();
        all
    };
    let name = |p: &Path| p.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for path in KINDS.iter().flat_map(|kind| entries(&folder.join(kind))) {
        if path.extension().is_some_and(|e| e == "onnx") {
            // A large network of constants, with its output beside it.
            found.push(Case { name: name(&path), model: path, data: Vec::new() });
        } else if path.join("model.onnx").exists() {
            let data = entries(&path).into_iter().filter(|p| name(p).starts_with("test_data_set")).collect();
            found.push(Case { name: name(&path), model: path.join("model.onnx"), data });
        }
    }
    found
}

/// A value of a file of the suite, of the form of an input or output.
fn read(path: &Path, info: &Info) -> Result<Value, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    // NumPy has no bf16, so the suite has the bits.
    let bits = |t: Tensor| match (info.dtype, t.dtype()) {
        (Some(DType::BF16), DType::U16) => t.bitcast(DType::BF16),
        _ => t,
    };
    let value = match info.form {
        Form::Sequence => onnx::read_sequence(&bytes).map(|v| v.1),
        Form::Optional => onnx::read_optional(&bytes).map(|v| v.1),
        _ => onnx::read_tensor(&bytes).map(|(_, t)| Value::Tensor(bits(t))),
    };
    value.map_err(|e| e.to_string())
}

/// Runs a case in one way.
fn run(case: &Case, options: Options) -> Result<(), String> {
    with_options(options, || {
        let model = onnx::load(&case.model).map_err(|e| e.to_string())?;
        let (inputs, outputs) = (model.inputs(), model.outputs());
        if case.data.is_empty() {
            return Err("there are no inputs".into());
        }
        for folder in &case.data {
            let mut given = Vec::new();
            for (i, info) in inputs.iter().enumerate() {
                let path = folder.join(format!("input_{i}.pb"));
                if path.exists() {
                    given.push((info.name.as_str(), read(&path, info)?));
                }
            }
            let found = model.run(&given).map_err(|e| e.to_string())?;
            for (i, (info, found)) in outputs.iter().zip(&found).enumerate() {
                let expected = read(&folder.join(format!("output_{i}.pb")), info)?;
                differences(&case.name, found, &expected).map_err(|e| format!("output `{}`: {e}", info.name))?;
            }
        }
        Ok(())
    })
}

fn attempt(case: &Case) -> Outcome {
    let survey =
        std::fs::read(&case.model).map_err(|e| e.to_string()).and_then(|b| onnx::survey(&b).map_err(|e| e.to_string()));
    let survey = match survey {
        Ok(survey) => survey,
        Err(e) => return Outcome { error: Some(e), ..Default::default() },
    };
    let outside = if survey.ops.keys().any(|op| IMAGES.contains(&op.as_str())) {
        Some("images")
    } else if survey.opsets.iter().any(|(domain, version)| domain.is_empty() && *version > 21) {
        Some("opset above 21")
    } else if survey.ops.keys().any(|op| op.contains('.')) {
        Some("another domain")
    } else if !survey.plain {
        Some("no plain tensors of common dtypes")
    } else {
        None
    };
    let with = |name: &str, value: &str| {
        let mut options = Options::default();
        options.set(name, value).map(|()| options).map_err(|e| e.to_string())
    };
    let mut error = None;
    for (way, options) in [("interpreted", with("TRACEWRIGHT_JIT", "off")), ("compiled", with("TRACEWRIGHT_JIT", "on"))]
    {
        let result = options.and_then(|options| {
            let caught = catch_unwind(|| run(case, options));
            caught.unwrap_or_else(|p| {
                let text =
                    p.downcast_ref::<String>().cloned().or_else(|| p.downcast_ref::<&str>().map(|s| s.to_string()));
                Err(format!("panicked: {}", text.unwrap_or_default()))
            })
        });
        if let Err(e) = result {
            error.get_or_insert(format!("{way}: {e}"));
        }
    }
    Outcome { error, ops: survey.ops.into_keys().collect(), outside }
}

/// Runs a case on a thread of its own, which is left behind if it does not end.
fn bounded(case: Case) -> Outcome {
    let (send, receive) = channel();
    let runner = thread::Builder::new().stack_size(16 << 20).spawn(move || drop(send.send(attempt(&case))));
    match (runner, receive.recv_timeout(TIME)) {
        (Ok(_), Ok(outcome)) => outcome,
        (Ok(_), Err(e)) => Outcome { error: Some(format!("did not end in {TIME:?}: {e}")), ..Default::default() },
        (Err(e), _) => Outcome { error: Some(e.to_string()), ..Default::default() },
    }
}

/// Cases that are known to fail, with the reason.
fn known() -> BTreeMap<&'static str, &'static str> {
    let lines = KNOWN.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|l| l.split_once(':').map_or((l, ""), |(name, reason)| (name.trim(), reason.trim()))).collect()
}

fn table(outcomes: &BTreeMap<String, Outcome>) -> String {
    let mut ops: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let (mut passed, mut inside, mut good) = (0, 0, 0);
    for o in outcomes.values() {
        let ok = o.error.is_none() as usize;
        o.ops.iter().for_each(|op| {
            let entry = ops.entry(op).or_default();
            entry[0] += ok;
            entry[1] += 1;
        });
        passed += ok;
        if o.outside.is_none() {
            inside += 1;
            good += ok;
        }
    }
    let mut text = format!(
        "# ONNX's backend suite\n\n{passed} of {} cases pass, {good} of {inside} ({:.1} %) of those with plain tensors, common \
         dtypes, the default domain and opsets up to 21 without ops on images.\n\n| op | pass | cases |\n|---|---|---|\n",
        outcomes.len(),
        100.0 * good as f64 / inside.max(1) as f64,
    );
    for (op, [ok, all]) in ops {
        writeln!(text, "| {op} | {ok} | {all} |").expect("a string takes all");
    }
    text.push_str("\n| case that fails | counts | why |\n|---|---|---|\n");
    for (name, o) in outcomes.iter().filter(|(_, o)| o.error.is_some()) {
        let why = o.error.as_deref().unwrap_or_default().replace('\n', " ").replace('|', "/");
        let why: String = why.chars().take(300).collect();
        writeln!(text, "| {name} | {} | {why} |", o.outside.unwrap_or("yes")).expect("a string takes all");
    }
    text
}

#[test]
fn the_backend_suite() {
    let Some(folder) = std::env::var_os("TW_ONNX_CASES").map(PathBuf::from) else {
        let why = "TW_ONNX_CASES names no folder with the cases, which scripts/onnx-cases fetches";
        println!("skipped: {why}");
        assert!(std::env::var_os("TW_TEST_SKIPS").is_none_or(|v| v != "fail"), "skipped: {why}");
        return;
    };
    let only = std::env::var("TW_ONNX_ONLY").ok();
    let words: Option<Vec<&str>> = only.as_deref().map(|w| w.split_whitespace().collect());
    let mut all = cases(&folder);
    all.retain(|c| words.as_ref().is_none_or(|w| w.iter().any(|w| c.name.contains(w))));
    assert!(!all.is_empty(), "there are no cases in {}", folder.display());
    let start = Instant::now();
    let queue = Mutex::new(all.into_iter());
    let outcomes = Mutex::new(BTreeMap::new());
    std::panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().expect("no panic").next() else { return };
                    let name = case.name.clone();
                    let begin = Instant::now();
                    let outcome = bounded(case);
                    if begin.elapsed() > TIME / 10 {
                        println!("{name} took {:.1?}", begin.elapsed());
                    }
                    outcomes.lock().expect("no panic").insert(name, outcome);
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let outcomes = outcomes.into_inner().expect("no panic");
    let known = known();
    let mut wrong = String::new();
    for (name, o) in &outcomes {
        match (&o.error, known.get(name.as_str())) {
            (Some(e), None) => writeln!(wrong, "{name}: {e}").expect("a string takes all"),
            (None, Some(_)) => {
                writeln!(wrong, "{name}: passes now, so it has to leave known.txt").expect("a string takes all");
            }
            _ => {}
        }
    }
    let text = table(&outcomes);
    println!("{} in {:.0?}", text.lines().nth(2).unwrap_or_default(), start.elapsed());
    if words.is_none() {
        let gone = known.keys().filter(|k| !outcomes.contains_key(**k));
        gone.for_each(|k| writeln!(wrong, "{k}: there is no such case").expect("a string takes all"));
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in target").join("onnx-conformance.md");
        std::fs::write(&path, text).expect("the table can be written");
    } else {
        for (name, o) in outcomes.iter().filter(|(_, o)| o.error.is_some()) {
            println!("{name}: {}", o.error.as_deref().unwrap_or_default());
        }
    }
    assert!(wrong.is_empty(), "{} cases are not as known.txt says:\n{wrong}", wrong.lines().count());
}
