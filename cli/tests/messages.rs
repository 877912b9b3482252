//! What is said of models and inputs: which names, which places, and without what a terminal obeys.

#[path = "../../tests/onnx/file.rs"]
#[allow(dead_code)]
mod file;
mod program;

use file::*;
use program::{Ended, does, fails, run_line, save};
use std::path::Path;
use tempfile::TempDir;
use tracewright::io::Exported;
use tracewright::{DType, Recording, Tensor};

fn folder(models: &[(&str, Message)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, model) in models {
        std::fs::write(folder.path().join(name), file::file(model.clone())).unwrap();
    }
    folder
}

/// A row of `x`, by a number, with another one added.
fn taken(x: &str, y: &str, sum: &str) -> Message {
    let named = |op: &str, inputs: &[&str], outputs: &[&str], name: &str| node(op, inputs, outputs, &[]).text(3, name);
    graph(
        &[named("Gather", &[x, "at"], &["row"], "the_gather"), named("Add", &["row", "one"], &[y], sum)],
        &[port(x, FLOAT, &[Is(3), Named("n")]), port("at", INT64, &[])],
        &[port(y, FLOAT, &[Named("n")])],
        &[floats("one", &[1], &[1.0])],
    )
}

fn rows(at: i64) -> [(&'static str, Tensor); 2] {
    [("x", Tensor::ones([3, 2], DType::F32)), ("at", Tensor::from(at))]
}

/// Ops of a model are of its file, in every text.
#[test]
fn ops_of_a_model_are_recorded_in_its_file() {
    let huge = graph(
        &[node("Exp", &["x"], &["e"], &[]), node("Expand", &["e", "to"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(1)])],
        &[port("y", FLOAT, &[Open])],
        &[ints("to", &[1], &[1 << 45])],
    );
    let folder = folder(&[("m.onnx", taken("x", "y", "the_sum")), ("huge.onnx", huge)]);
    let at = folder.path();
    save(at, "in.npz", &rows(1));
    save(at, "out.npz", &rows(7));
    does(at, "convert m.onnx m.tw");
    for line in [
        "ir m.onnx",
        "ir m.onnx --after fuse",
        "ir m.onnx --inputs in.npz",
        "inspect m.onnx --stage passes",
        "ir m.tw",
        "ir m.tw --after fuse",
        "compare m.onnx --inputs in.npz --json",
        "compare m.tw --inputs in.npz --json",
    ] {
        let text = does(at, line);
        assert!(text.contains("m.onnx in the_gather") && !text.contains(".rs:"), "{line}: {text}");
    }
    for line in
        ["run m.onnx --inputs out.npz", "run m.tw --inputs out.npz", "run m.onnx --inputs out.npz --mode interpreted"]
    {
        let text = fails(at, line);
        assert!(text.contains("  at m.onnx in the_gather\n") && !text.contains(".rs:"), "{line}: {text}");
    }
    let text = fails(at, "run huge.onnx");
    assert!(text.starts_with("error[memory]: ") && !text.contains(".rs:"), "{text}");
    assert!(text.contains("at huge.onnx in the_expand"), "{text}");
}

/// The lines of a graph that others recorded stay, also if their files are called as ours are.
#[test]
fn places_of_saved_graphs_are_those_of_who_saved_them() {
    let folder = folder(&[]);
    let at = folder.path();
    let text = "graph @f(%0: f32[3], %1: i64[2]) -> (f32[2]) {
        %2: f32[2] = gather %0, %1 {axis = 0, batch = 0, mode = error}
        return %2 }";
    let recording = Recording::parse("cli/src/model.rs", text).unwrap();
    Exported::of_recording(recording).save(at.join("f.tw")).unwrap();
    save(at, "in.npz", &[("0", Tensor::ones([3], DType::F32)), ("1", Tensor::from([0i64, 3]))]);
    let place = "cli/src/model.rs:2:1\n";
    assert!(does(at, "ir f.tw").contains(&format!("  // {place}")));
    assert!(fails(at, "run f.tw --inputs in.npz").contains(&format!("\n  at {place}")));
    save(at, "few.npz", &[("0", Tensor::ones([3], DType::F32))]);
    let text = fails(at, "run f.tw --inputs few.npz");
    assert!(!text.contains("  at "), "the line of a call is that of the program: {text}");
}

/// Names that would colour a terminal, or begin a line of their own.
#[test]
fn names_are_escaped_for_people() {
    let (x, sum) = ("\u{1b}[31mx\n", "the\u{1b}[0m\n sum");
    let folder = folder(&[("m.onnx", taken(x, "y\u{9b}2J", sum))]);
    let at = folder.path();
    save(at, "other.npz", &[("z", Tensor::from(1.0f32)), ("at", Tensor::from(0i64))]);
    save(at, "flat.npz", &[("z", Tensor::from(1.0f32))]);
    does(at, "convert m.onnx m.tw");
    let shown = r"\u{1b}[31mx\n";
    for line in ["inspect m.onnx", "inspect m.tw"] {
        let text = does(at, line);
        assert!(text.contains(&format!("\n  {shown}: f32[3, n]\n")) && text.contains(r"  y\u{9b}2J: "), "{text}");
    }
    for line in ["ir m.onnx", "ir m.tw", "inspect m.onnx --stage passes"] {
        assert!(does(at, line).contains(r"m.onnx in the\u{1b}[0m\n sum"), "{line}");
    }
    for line in ["run m.onnx --inputs other.npz", "run m.tw --inputs other.npz", "compare m.tw --inputs flat.npz"] {
        assert!(fails(at, line).contains(shown), "{line}: {}", fails(at, line));
    }
    let lines =
        ["inspect m.onnx", "ir m.onnx", "run m.onnx", "run m.tw", "compare m.onnx", "run m.onnx --inputs other.npz"];
    for line in lines {
        let Ended { out, err, .. } = run_line(at, line);
        assert!(!(out + &err).contains(|c: char| c.is_control() && c != '\n'), "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&does(at, "inspect m.onnx --json")).unwrap();
    assert_eq!(json["inputs"][0]["name"], x);
}

/// Which input does not fit, and what would.
#[test]
fn inputs_that_do_not_fit_a_model() {
    let folder = folder(&[("m.onnx", taken("rows", "y", "the_sum"))]);
    let at = folder.path();
    does(at, "convert m.onnx m.tw");
    let (rows, number) = (Tensor::ones([3, 2], DType::F32), Tensor::from(1i64));
    let said = |model: &str, inputs: &[(&str, Tensor)]| {
        save(at, "in.npz", inputs);
        fails(at, &format!("run {model} --inputs in.npz"))
    };
    let both = |model: &str, inputs: &[(&str, Tensor)], parts: &[&str]| {
        let text = said(model, inputs);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let at_one = ("at", number.clone());
    let few = std::slice::from_ref(&at_one);
    both("m.onnx", few, &["the input `rows` is missing", "rows: f32[3, n]; at: i64[]"]);
    both("m.tw", few, &["1 are missing", "legal: arguments rows, at", "missing: rows: f32[3, n]"]);
    let misnamed = [at_one.clone(), ("row", rows.clone())];
    both("m.onnx", &misnamed, &["no input `row`; did you mean `rows`?", "inputs are `rows`, `at`"]);
    both("m.tw", &misnamed, &["unexpected: row: f32[3, 2]; did you mean `rows`?"]);
    let extra = [at_one.clone(), ("rows", rows.clone()), ("bias", rows.clone())];
    both("m.onnx", &extra, &["no input `bias`", "inputs are `rows`, `at`"]);
    both("m.tw", &extra, &["0 are missing and 1 unexpected", "unexpected: bias: f32[3, 2]\n"]);
    for (wrong, found) in [(rows.to_dtype(DType::F64), "f64[3, 2]"), (Tensor::ones([3], DType::F32), "f32[3]")] {
        let inputs = [at_one.clone(), ("rows", wrong)];
        both("m.onnx", &inputs, &[&format!("the input `rows` is {found}"), "legal: rows: f32[3, n]"]);
        both("m.tw", &inputs, &[&format!("rows is {found}, wanted f32[3, n]")]);
    }
    let cotangent = |name| [at_one.clone(), ("rows", rows.clone()), (name, Tensor::ones([2], DType::F32))];
    for model in ["m.onnx", "m.tw"] {
        let grad = |inputs: &[(&str, Tensor)]| {
            save(at, "cot.npz", inputs);
            fails(at, &format!("grad {model} --inputs cot.npz --outputs g.npz"))
        };
        let all = [cotangent("cot_y").as_slice(), &[("cot_z", number.clone())]].concat();
        let rule = "error: cot.npz: `cot_z` is the cotangent of no output; did you mean `cot_y`?\n";
        assert_eq!(grad(&all), rule);
        assert_eq!(
            grad(&cotangent("cot_other")),
            rule.replace("cot_z", "cot_other").replace("did you mean `cot_y`?", "outputs are y")
        );
        let mut wrong = cotangent("cot_y");
        wrong[2].1 = Tensor::ones([5], DType::F32);
        let text = grad(&wrong);
        assert!(text.contains("cot_y is f32[5], wanted f32[") && !text.contains(".rs:"), "{text}");
    }
}

/// Files of tensors hold no lists of them.
#[test]
fn inputs_that_are_no_tensors() {
    let tensor = Message::default().int(1, FLOAT).message(2, Message::default().message(1, Message::default()));
    let list = Message::default().message(4, Message::default().message(1, Message::default().message(1, tensor)));
    let lists = graph(
        &[node("SequenceLength", &["xs"], &["n"], &[])],
        &[Message::default().text(1, "xs").message(2, list)],
        &[port("n", INT64, &[])],
        &[],
    );
    let folder = folder(&[("m.onnx", lists)]);
    let rule = "error: m.onnx: the input `xs` is no tensor, and files have only these\n";
    assert_eq!(fails(folder.path(), "run m.onnx"), rule);
    let text = does(folder.path(), "inspect m.onnx");
    assert!(
        text.contains("\n  xs: no tensor\n") && text.ends_with(&format!("\nno graph of its own: {rule}")),
        "{text}"
    );
}

/// What is looked at needs no memory for its inputs.
#[test]
fn inputs_of_absurd_sizes_are_looked_at() {
    let sum = |dims: &[Extent]| {
        graph(
            &[node("Add", &["x", "x"], &["d"], &[]), node("ReduceSum", &["d"], &["y"], &[int("keepdims", 0)])],
            &[port("x", FLOAT, dims)],
            &[port("y", FLOAT, &[])],
            &[],
        )
    };
    let folder = folder(&[("big.onnx", sum(&[Is(1 << 45)])), ("none.onnx", sum(&[Is(1 << 40), Is(1 << 40)]))]);
    let at = folder.path();
    let text = does(at, "inspect big.onnx");
    assert!(text.contains("\n  x: f32[35184372088832]\n"), "{text}");
    assert!(text.contains("bytes in and out: 140737488355328 and 4\n"), "{text}");
    assert!(does(at, "ir big.onnx").contains("reduce_sum "));
    does(at, "inspect big.onnx --stage program");
    does(at, "convert big.onnx big.tw");
    assert!(does(at, "ir big.tw").contains("reduce_sum "));
    assert!(fails(at, "run big.onnx").starts_with("error: big.onnx: the input `x`: error[memory]: "));
    let rule = "error: none.onnx: the input `x`: error[";
    for line in ["ir none.onnx", "run none.onnx", "convert none.onnx none.tw"] {
        let text = fails(at, line);
        assert!(text.starts_with(rule) && !text.contains(".rs:"), "{line}: {text}");
    }
    let text = does(at, "inspect none.onnx");
    assert!(text.contains(&format!("\nno graph of its own: {rule}")) && text.contains("1 ReduceSum\n"), "{text}");
}

/// The cache of Hugging Face holds links to files that lie elsewhere.
#[cfg(unix)]
#[test]
fn links_to_data_elsewhere() {
    use std::os::unix::fs::symlink;
    let model = graph(
        &[node("Add", &["x", "w"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(2)])],
        &[port("y", FLOAT, &[Is(2)])],
        &[external("w", &[2], &[("location", "model.onnx_data")])],
    );
    let folder = folder(&[]);
    let at = folder.path();
    let [blobs, snapshot] = ["blobs", "snapshots/main"].map(|name| at.join(name));
    for folder in [&blobs, &snapshot] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let data: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(blobs.join("a1"), file::file(model)).unwrap();
    std::fs::write(blobs.join("b2"), data).unwrap();
    tracewright::io::safetensors::save(
        blobs.join("c3.safetensors"),
        &std::collections::BTreeMap::from([("x".to_string(), Tensor::ones([2], DType::F32))]),
    )
    .unwrap();
    let files = [("a1", "model.onnx"), ("b2", "model.onnx_data"), ("c3.safetensors", "in.safetensors")];
    for (blob, name) in files {
        symlink(Path::new("../../blobs").join(blob), snapshot.join(name)).unwrap();
    }
    let text = fails(at, "run snapshots/main/model.onnx --inputs snapshots/main/in.safetensors");
    let rule = "the external data of `w` lies in `model.onnx_data`, a link that leaves the folder";
    let copy = "note: a copy of the folder with the files that its links name: cp -rL snapshots/main COPY\n";
    assert!(text.contains(rule) && text.contains(copy), "{text}");
    let copied = std::process::Command::new("cp").args(["-rL", "snapshots/main", "COPY"]).current_dir(at).status();
    assert!(copied.unwrap().success());
    assert_eq!(does(at, "run COPY/model.onnx --inputs snapshots/main/in.safetensors"), "[2. 3.]\n");
}
