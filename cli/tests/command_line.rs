//! Options, help and exit codes, and what is printed besides results.

mod program;

use program::{Ended, does, run, run_line, save};
use std::path::Path;
use tempfile::TempDir;
use tracewright::io::npz;
use tracewright::{Tensor, jit};

const EXP: &str = "graph @f(%0: f32[B]) -> (f32[B], f32[B]) { %1: f32[B] = exp %0 return %1, %0 }";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("g.ir"), EXP).unwrap();
    folder
}

/// Command lines that are wrong, whatever is in the files, which are not there.
#[test]
fn wrong_command_lines() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = "tensors are written to .safetensors and .npz files";
    for (line, message) in [
        ("run m.tw --threads 0", "'0' for '--threads <N>': not a number from 1 to 256"),
        ("bench m.tw --threads many", "'many' for '--threads <N>': "),
        ("run m.tw --device gpu", "'gpu' for '--device <DEVICE>': `gpu` is none of cpu, cuda, cuda:N"),
        ("run m.tw --mode fast", "'fast' for '--mode <MODE>'\n  [possible values: compiled, interpreted]"),
        ("bench m.tw --calls 0", "'0' for '--calls <CALLS>'"),
        ("compare m.tw --mode interpreted", "unexpected argument '--mode'"),
        ("inspect m.tw --dim B", "'B' for '--dim <SYMBOL=EXTENT>': not of the form SYMBOL=EXTENT"),
        ("run m.tw --outputs x.safetensors.index.json", tensors),
        ("run m.tw --outputs x.txt", tensors),
        ("grad m.tw --inputs in.npz --outputs x", tensors),
        ("run m.tw --save m.onnx", "a saved graph is a .tw file"),
        ("run m.tw --inputs m.tw", "tensors are read from .safetensors, .safetensors.index.json and .npz files"),
        ("grad m.tw --inputs in.npz", "--outputs <FILE>"),
        ("inspect m.onnx --inputs in.npz --dim B=2", "error: --inputs say all extents, and leave nothing to --dim\n"),
        ("grad m.tw --mode interpreted", "error: nothing runs without --inputs, and --mode is for a run\n"),
        ("convert in.npz x.safetensors.index.json", tensors),
        ("convert in.npz x.tw", tensors),
        ("convert in.npz x.npz --freeze", "it has tensors; --freeze and --inputs are for models"),
        ("convert m.tw x.onnx", "error: x.onnx: a model becomes .tw or .ir, its tensors .safetensors or .npz\n"),
        ("convert m.tw x.safetensors.index.json", "its tensors .safetensors or .npz\n"),
    ] {
        let Ended { code, out, err } = run_line(folder.path(), line);
        assert_eq!((code, out.as_str()), (2, ""), "{line}: {err}");
        assert!(err.contains(message), "{line}: {err}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn nothing_is_compared_with_itself() {
    let folder = folder();
    let Ended { code, err, .. } = run(folder.path(), &["compare", "g.ir"], &[("TRACEWRIGHT_JIT", "off")], "");
    let rule = "nothing is compiled, and the interpreter would be compared with itself";
    assert_eq!((code, err), (2, format!("error: TRACEWRIGHT_JIT=off: {rule}\n")));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let folder = folder();
    let all = does(folder.path(), "--help");
    for part in
        ["model.tw ", "model.onnx ", "graph.ir ", "  0  done\n", "  1  ", "  2  the command line is wrong\n", "  3  "]
    {
        assert!(all.contains(part), "{part} in {all}");
    }
    let commands = ["inspect", "ir", "run", "grad", "convert", "bench", "compare", "options"];
    for command in commands {
        let help = does(folder.path(), &format!("{command} --help"));
        let (_, examples) = help.split_once("\nExample").unwrap_or_else(|| panic!("{command}: {help}"));
        let example = format!("tracewright {command}");
        assert!(examples.contains(&example) || command == "options", "{help}");
        assert!(all.contains(&example), "{command}: {all}");
    }
    assert!(does(folder.path(), "compare --help").contains("  3  they differ\n"));
}

/// The files that examples in help are about.
fn files_of_examples(folder: &Path) {
    let step = jit(|w: Tensor, x: Tensor| (&w - &x, w.sum(..)));
    let (w, x) = (Tensor::from([1.0f32, 2.0]), Tensor::from([1.0f32, 1.0]));
    step.export_mut(&w, &x).unwrap().rename("arguments.1", "x").unwrap().save(folder.join("step.tw")).unwrap();
    let double = jit(|x: Tensor| x * 2.0).dynamic("arguments.0", 0, "batch", 1..=64);
    let model = double.export(&x).unwrap().rename("arguments.0", "x").unwrap().rename("result", "y").unwrap();
    model.save(folder.join("model.tw")).unwrap();
    save(folder, "batch.npz", &[("x", x.clone())]);
    save(folder, "in.npz", &[("x", x.clone())]);
}

/// What the help says about a saved graph can be typed.
#[test]
fn examples_of_help_run() {
    let folder = folder();
    files_of_examples(folder.path());
    let mut count = 0;
    for command in ["inspect", "ir", "run", "bench", "compare"] {
        let help = does(folder.path(), &format!("{command} --help"));
        let (_, examples) = help.split_once("\nExamples:\n").unwrap();
        for line in examples.lines().filter_map(|l| l.strip_prefix("  tracewright ")).filter(|l| l.contains(".tw")) {
            does(folder.path(), line);
            count += 1;
        }
    }
    assert!(count >= 5, "{count}");
}

/// Outputs without names have those that `inspect` prints.
#[test]
fn outputs_without_names() {
    let folder = folder();
    let two = jit(|x: Tensor| (x.exp(), x.sum(..)));
    two.call(Tensor::from([1.0f32, 2.0])).unwrap();
    two.save(folder.path().join("two.tw")).unwrap();
    does(folder.path(), "convert g.ir g.tw");
    for (file, names) in [("g.ir", ["0", "1"]), ("g.tw", ["0", "1"]), ("two.tw", ["result.0", "result.1"])] {
        let about = does(folder.path(), &format!("inspect {file}"));
        let (_, outputs) = about.split_once("outputs\n").unwrap();
        let listed: Vec<&str> = outputs.lines().filter_map(|l| l.strip_prefix("  ")?.split(':').next()).collect();
        assert_eq!(listed, names, "{about}");
        does(folder.path(), &format!("run {file} --outputs out.npz"));
        let out = npz::load(folder.path().join("out.npz")).unwrap();
        assert_eq!(out.keys().collect::<Vec<_>>(), names, "{file}");
        let json: serde_json::Value =
            serde_json::from_str(&does(folder.path(), &format!("run {file} --json"))).unwrap();
        assert_eq!((&json["outputs"][0]["name"], &json["outputs"][1]["name"]), (&names[0].into(), &names[1].into()));
    }
}

#[test]
fn dumps_that_cannot_be_written_are_warned_of_once() {
    let folder = folder();
    let setting = [("TRACEWRIGHT_DUMP", "g.ir/dump")];
    let Ended { code, out, err } = run(folder.path(), &["run", "g.ir"], &setting, "");
    assert!(code == 0 && !out.is_empty(), "{err}");
    let first = "warning: dump failed: cannot write to g.ir/dump/0000-";
    assert!(err.starts_with(first) && err.ends_with(" more)\n") && err.lines().count() == 1, "{err}");
    assert_eq!(run_line(folder.path(), "run g.ir").err, "");
}

#[test]
fn symbols_that_no_input_has() {
    let folder = folder();
    let text = EXP.replace('B', "batch");
    std::fs::write(folder.path().join("h.ir"), text).unwrap();
    std::fs::write(folder.path().join("k.ir"), "graph @f(%0: f32[2]) -> (f32[2]) { return %0 }").unwrap();
    for (line, hint) in [
        ("run h.ir --dim bach=3", "`bach`; did you mean `batch`?"),
        ("bench h.ir --dim n=3", "`n`; they have batch"),
        ("inspect k.ir --dim n=3", "`n`; they have none"),
    ] {
        let Ended { code, err, .. } = run_line(folder.path(), line);
        let path = line.split(' ').nth(1).unwrap();
        assert_eq!((code, err), (1, format!("error: {path}: no input has the symbol {hint}\n")), "{line}");
    }
}
