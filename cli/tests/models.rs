//! The program on models of ONNX that are several graphs, or graphs for values, and on what goes wrong while models run.

#[path = "../../tests/onnx/file.rs"]
#[allow(dead_code)]
mod file;
mod program;

use file::*;
use program::{Ended, does, fails, run_line, save};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tracewright::io::{Exported, npz};
use tracewright::{DType, Tensor};

/// `picked.onnx`: those elements of x that are not 0, times w. `reshaped.onnx`: x in another shape, times w.
fn models() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let picked = graph(
        &[
            node("Mul", &["x", "w"], &["d"], &[]),
            node("NonZero", &["x"], &["at"], &[]),
            node("Squeeze", &["at", "zero"], &["flat"], &[]),
            node("Gather", &["d", "flat"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Named("n")])],
        &[port("y", FLOAT, &[Open])],
        &[ints("zero", &[1], &[0]), floats("w", &[1], &[2.0])],
    );
    let reshaped = graph(
        &[node("Reshape", &["x", "to"], &["r"], &[]), node("Mul", &["r", "w"], &["y"], &[])],
        &[port("x", FLOAT, &[Named("n")]), port("to", INT64, &[Is(2)])],
        &[port("y", FLOAT, &[Open, Open])],
        &[floats("w", &[1], &[3.0])],
    );
    let at = folder.path();
    std::fs::write(at.join("picked.onnx"), file::file(picked)).unwrap();
    std::fs::write(at.join("reshaped.onnx"), file::file(reshaped)).unwrap();
    save(at, "x.npz", &[("x", Tensor::from([0.0f32, 2.0, 0.0, 3.0]))]);
    save(at, "to.npz", &[("x", Tensor::ones([6], DType::F32)), ("to", Tensor::from([2i64, 3]))]);
    folder
}

const CUT: &str = "the node `the_nonzero` (NonZero) makes a shape that depends on values";

#[test]
fn models_that_are_several_graphs() {
    let folder = models();
    let at = folder.path();
    assert_eq!(does(at, "run picked.onnx --inputs x.npz"), "[4. 6.]\n");
    let text = does(at, "ir picked.onnx --inputs x.npz");
    let parts = ["// segment 1 of 2\n", "mul ", &format!("// it ends here: {CUT}\n"), "// segment 2 of 2\n", "gather "];
    let places: Vec<Option<usize>> = parts.iter().map(|p| text.find(p)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {text}");
    assert!(text.contains("  // picked.onnx in the_gather\n") && !text.contains("model.rs"), "{text}");
    for line in ["ir picked.onnx", "convert picked.onnx p.tw", "inspect picked.onnx --stage program"] {
        let message = fails(at, line);
        assert_eq!(message, format!("error: {CUT}, so the model is several graphs; `ir` with --inputs prints each\n"));
    }
    let text = does(at, "compare picked.onnx --inputs x.npz");
    assert!(text.contains(&format!("the graph ends here: {CUT}\n")) && text.contains("y: f32[2], "), "{text}");
    let json: serde_json::Value = serde_json::from_str(&does(at, "compare picked.onnx --inputs x.npz --json")).unwrap();
    assert_eq!((&json["same"], &json["first"], &json["cuts"][0]), (&true.into(), &().into(), &CUT.into()));
    let ops: Vec<(&str, u64, &str)> = json["ops"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|op| Some((op["name"].as_str()?, op["segment"].as_u64()?, op["at"].as_str()?)))
        .collect();
    assert!(ops.contains(&("mul", 0, "picked.onnx in the_mul")), "{ops:?}");
    assert!(ops.iter().any(|op| op.1 == 1 && op.2 == "picked.onnx in the_gather"), "{ops:?}");
    save(at, "cot.npz", &[("x", Tensor::from([0.0f32, 2.0])), ("cot_y", Tensor::ones([1], DType::F32))]);
    let message = fails(at, "grad picked.onnx --inputs cot.npz --outputs g.npz");
    let rule = "the model is several graphs, and gradients do not go from one to the other";
    assert_eq!(message, format!("error: picked.onnx: {rule}: {CUT}\n"));
}

#[test]
fn models_that_are_graphs_for_values() {
    let folder = models();
    let at = folder.path();
    let fixed = "holds for: `to` = i64[2] [2, 3]\n";
    assert!(does(at, "ir reshaped.onnx --inputs to.npz").starts_with(&format!("// {fixed}")));
    assert!(does(at, "inspect reshaped.onnx --inputs to.npz").contains("parameters: 1, 4 bytes"));
    assert!(does(at, "compare reshaped.onnx --inputs to.npz").contains("y: f32[2, 3], "));
    let note = |file: &str| (0, String::new(), format!("note: {file} holds for `to` = i64[2] [2, 3]\n"));
    for line in ["convert reshaped.onnx r.tw --inputs to.npz", "convert reshaped.onnx r.ir --inputs to.npz --freeze"] {
        let Ended { code, out, err } = run_line(at, line);
        assert_eq!((code, out, err), note(line.split(' ').nth(2).unwrap()));
    }
    for line in ["inspect r.tw", "inspect reshaped.onnx --inputs to.npz"] {
        assert!(does(at, line).contains(&format!("\n{fixed}")), "{line}");
    }
    for command in ["inspect", "ir"] {
        let message = fails(at, &format!("{command} r.tw --inputs to.npz"));
        assert!(message.contains("r.tw: a saved graph is what it is for any inputs"), "{message}");
    }
    assert!(does(at, "ir r.tw").starts_with(&format!("// {fixed}")));
    assert!(std::fs::read_to_string(at.join("r.ir")).unwrap().starts_with(&format!("// {fixed}graph @")));
    assert_eq!(does(at, "run r.ir"), does(at, "run r.tw"));
    let saved = Exported::load(at.join("r.tw")).unwrap();
    assert_eq!(saved.arguments().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["x"]);
    for line in ["convert reshaped.onnx s.tw", "ir reshaped.onnx"] {
        let message = fails(at, line);
        assert!(message.contains("--inputs") && message.contains("`to`"), "{message}");
    }
    let x = Tensor::ones([6], DType::F32);
    save(at, "cot.npz", &[("x", x), ("to", Tensor::from([2i64, 3])), ("cot_y", Tensor::ones([2, 3], DType::F32))]);
    does(at, "grad reshaped.onnx --inputs cot.npz --outputs g.npz --parameters");
    let g = npz::load(at.join("g.npz")).unwrap();
    assert_eq!(g["grad_x"].to_vec::<f32>().unwrap(), [3.0; 6]);
    assert_eq!(g["grad_w"].to_vec::<f32>().unwrap(), [6.0]);
    // A float too may be a size.
    let counted = graph(
        &[node("Range", &["zero", "count", "one"], &["r"], &[]), node("Mul", &["x", "r"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(1)]), port("count", FLOAT, &[])],
        &[port("y", FLOAT, &[Open])],
        &[floats("zero", &[], &[0.0]), floats("one", &[], &[1.0])],
    );
    std::fs::write(at.join("counted.onnx"), file::file(counted)).unwrap();
    let three = Tensor::ones([3], DType::F32);
    save(at, "counted.npz", &[("x", Tensor::from([2.0f32])), ("count", Tensor::from(3.0f32)), ("cot_y", three)]);
    let Ended { code, err, .. } = run_line(at, "grad counted.onnx --inputs counted.npz --outputs g.npz");
    let note = "note: there is no gradient by `count`: the graph holds for its value, f32[] [3.0]\n";
    assert_eq!((code, err.as_str()), (0, note));
    assert_eq!(npz::load(at.join("g.npz")).unwrap()["grad_x"].to_vec::<f32>().unwrap(), [3.0]);
    // What nothing reads has a gradient of zeros; what is called as a cotangent cannot be told from it.
    let alone = |name: &'static str| {
        let ports = [port("x", FLOAT, &[Named("n")]), port("to", INT64, &[Is(1)]), port(name, FLOAT, &[Is(2)])];
        let nodes = [node("Reshape", &["x", "to"], &["y"], &[])];
        std::fs::write(at.join("alone.onnx"), file::file(graph(&nodes, &ports, &[port("y", FLOAT, &[Open])], &[])))
            .unwrap();
        let (ones, two) = (|n: usize| Tensor::ones([n], DType::F32), Tensor::from([2i64]));
        save(at, "alone.npz", &[("x", ones(2)), ("to", two), (name, ones(2)), ("cot_y", ones(2))]);
        "grad alone.onnx --inputs alone.npz --outputs g.npz"
    };
    does(at, alone("z"));
    assert_eq!(npz::load(at.join("g.npz")).unwrap()["grad_z"].to_vec::<f32>().unwrap(), [0.0; 2]);
    let message = fails(at, alone("cot_y"));
    assert!(message.contains("alone.onnx: its input `cot_y` is called as the cotangent of an output"), "{message}");
    let message = fails(at, "grad reshaped.onnx");
    assert!(message.contains("it is a model of ONNX") && message.contains("--inputs"), "{message}");
}

/// Names of extents are whatever a file has.
#[test]
fn extents_of_odd_names() {
    let folder = tempfile::tempdir().unwrap();
    let sum = graph(
        &[node("Add", &["x", "x"], &["y"], &[])],
        &[port("x", FLOAT, &[Named("batch size"), Is(4)])],
        &[port("y", FLOAT, &[Named("batch size"), Is(4)])],
        &[],
    );
    std::fs::write(folder.path().join("m.onnx"), file::file(sum)).unwrap();
    let text = does(folder.path(), "inspect m.onnx");
    for part in ["  x: f32[d0, 4]\n", "operations: 8 for d0 = 2\n", "bytes in and out: 32 and 32 for d0 = 2\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_index_out_of_range_names_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let take = graph(
        &[node("Exp", &["x"], &["e"], &[]), node("Gather", &["e", "at"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(3)]), port("at", INT64, &[Is(2)])],
        &[port("y", FLOAT, &[Is(2)])],
        &[],
    );
    std::fs::write(folder.path().join("m.onnx"), file::file(take)).unwrap();
    save(folder.path(), "in.npz", &[("x", Tensor::ones([3], DType::F32)), ("at", Tensor::from([0i64, 3]))]);
    for line in [
        "run m.onnx --inputs in.npz",
        "run m.onnx --inputs in.npz --mode interpreted",
        "bench m.onnx --inputs in.npz",
        "compare m.onnx --inputs in.npz",
    ] {
        let message = fails(folder.path(), line);
        for part in ["error[index]: Gather(`e`, `at`): ", "indices go from 0 to 2", "in the node `the_gather` (Gather)"]
        {
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}

/// A saved graph of a text.
fn saved(folder: &Path, name: &str, text: &str) {
    let text = tracewright::Recording::parse(name, text).unwrap();
    Exported::of_recording(text).save(folder.join(name)).unwrap();
}

/// What is absurdly large is refused before it is made.
#[test]
fn outputs_of_absurd_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let big = 1i64 << 45;
    saved(
        at,
        "fixed.tw",
        &format!(
            "graph @f() -> (f32[{big}]) {{ %0: f32[{big}] = full {{value = 1.0:f32, shape = [{big}]}} return %0 }}"
        ),
    );
    saved(
        at,
        "open.tw",
        "graph @f(%0: f32[N]) -> (f32[N*N*N*N]) where N in 1..=1000000 {
            %1: f32[N*N*N*N] = broadcast_in_dim %0 {shape = [N, N, N, N], dims = [0]} return %1 }"
            .replace("(f32[N*N*N*N])", "(f32[N, N, N, N])")
            .replace("%1: f32[N*N*N*N]", "%1: f32[N, N, N, N]")
            .as_str(),
    );
    save(at, "x.npz", &[("0", Tensor::ones([4000], DType::F32))]);
    for line in ["run fixed.tw", "run open.tw --inputs x.npz"] {
        for mode in ["compiled", "interpreted"] {
            let begin = Instant::now();
            let message = fails(at, &format!("{line} --mode {mode}"));
            assert!(message.starts_with("error[memory]: "), "{line}: {message}");
            assert!(begin.elapsed() < Duration::from_secs(20), "{line}: {:?}", begin.elapsed());
        }
    }
}

#[test]
fn a_loop_without_end_ends_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let text = "graph @f(%0: f32[]) -> (f32[]) {
        %1: f32[] = while_loop %0 {constants = 0} {
            ^(%2: f32[]):
            %3: bool[] = compare %2, %2 {direction = eq}
            yield %3
        } {
            ^(%4: f32[]):
            %5: f32[] = neg %4
            yield %5
        }
        return %1 }";
    saved(folder.path(), "endless.tw", text);
    save(folder.path(), "x.npz", &[("0", Tensor::from(1.0f32))]);
    for command in ["run", "run --mode interpreted", "compare", "bench"] {
        let begin = Instant::now();
        let message = fails(folder.path(), &format!("{command} endless.tw --inputs x.npz --limit 0.5"));
        assert_eq!(message, "error: it did not end within 500ms; --limit allows no more\n");
        assert!(begin.elapsed() < Duration::from_secs(20), "{command}: {:?}", begin.elapsed());
    }
    let wrong = run_line(folder.path(), "run endless.tw --limit soon");
    assert!(wrong.code == 2 && wrong.err.contains("`soon` is no number of seconds"), "{}", wrong.err);
    assert!(does(folder.path(), "inspect endless.tw").contains("while_loop"));
}

/// A loop of an unknown length with a stack runs between graphs, and what it yields is in none of them.
#[test]
fn outputs_that_no_graph_has_are_said_not_to_be_compared() {
    let body = graph(
        &[
            node("Add", &["s", "x"], &["more"], &[]),
            node("Less", &["more", "most"], &["on"], &[]),
            node("Identity", &["more"], &["seen"], &[]),
        ],
        &[port("i", INT64, &[]), port("c", BOOL, &[]), port("s", FLOAT, &[])],
        &[port("on", BOOL, &[]), port("more", FLOAT, &[]), port("seen", FLOAT, &[])],
        &[floats("most", &[], &[9.0])],
    );
    let looped = graph(
        &[node("Loop", &["", "", "x"], &["last", "all"], &[file::body("body", body)])],
        &[port("x", FLOAT, &[])],
        &[port("last", FLOAT, &[]), port("all", FLOAT, &[Open])],
        &[],
    );
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("looped.onnx"), file::file(looped)).unwrap();
    save(at, "x.npz", &[("x", Tensor::from(2.0f32))]);
    let text = does(at, "compare looped.onnx --inputs x.npz");
    for line in ["all: f32[4], not compared: it is computed between graphs", "last: f32[], not compared: "] {
        assert!(text.contains(line), "{text}");
    }
}
