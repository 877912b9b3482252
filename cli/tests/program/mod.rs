//! The program in a folder, as a user runs it.
#![allow(dead_code)] // Each test uses a part of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tracewright::Tensor;
use tracewright::io::npz;

/// How it ended, and what it printed.
pub struct Ended {
    /// -1 if a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs it with a text on standard input, and no settings but these.
pub fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracewright"));
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("TRACEWRIGHT_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments).envs(settings.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a line without settings.
pub fn run_line(folder: &Path, line: &str) -> Ended {
    run(folder, &line.split(' ').collect::<Vec<_>>(), &[], "")
}

/// What it prints, where nothing goes wrong.
#[track_caller]
pub fn does(folder: &Path, line: &str) -> String {
    let Ended { code, out, err } = run_line(folder, line);
    assert_eq!((code, err.as_str()), (0, ""), "{line}");
    out
}

/// What it says is wrong with a file or its run.
#[track_caller]
pub fn fails(folder: &Path, line: &str) -> String {
    let Ended { code, out, err } = run_line(folder, line);
    assert_eq!((code, out.as_str()), (1, ""), "{line}: {err}");
    err
}

/// Writes named tensors.
pub fn save(folder: &Path, name: &str, tensors: &[(&str, Tensor)]) {
    let all: BTreeMap<String, Tensor> = tensors.iter().map(|(k, t)| (k.to_string(), t.clone())).collect();
    npz::save(folder.join(name), &all).unwrap();
}
