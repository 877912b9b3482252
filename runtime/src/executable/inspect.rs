//! Looking on during a compilation: stages as text, dumps to a folder, comparison with the interpreter after each
//! pass, reproducers.

use super::compare::Comparison;
use super::machine::Machine;
use super::page::page;
use super::report::describe;
use crate::events::{self, Event};
use crate::options::Options;
use ir::Graph;
use ir::program::Program;
use ir::text::PrintOptions;
use passes::{PassObserver, PassRun};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// One stage of a compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// File name in a dump: `00-trace.ir`, `03-after-fuse.ir`, `program.txt`, `kernel0.kir`, `kernel0.clif`, ….
    pub name: String,
    /// The stage.
    pub text: String,
}

pub(super) struct Inspector {
    stages: Vec<Stage>,
    keep: bool,
    title: String,
    folder: Option<PathBuf>,
    comparison: Option<Comparison>,
}

const READABLE: PrintOptions = PrintOptions { origins: true, elide: Some(64) };

impl Inspector {
    pub fn new(graph: &Graph, options: &Options, keep: bool) -> Inspector {
        let folder = options.dump.as_ref().map(|dir| {
            let name: String =
                graph.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
            dir.join(format!("{:04}-{name}", next_number(dir)))
        });
        let comparison = if options.check >= 3 { Comparison::new(graph, options.strict16) } else { None };
        let mut inspector = Inspector { stages: Vec::new(), keep, title: graph.name.clone(), folder, comparison };
        inspector.stage("00-trace.ir".into(), || graph.display(READABLE).to_string());
        inspector
    }

    /// True if CLIF and disassembly are wanted.
    pub fn keeps_text(&self) -> bool {
        self.keep || self.folder.is_some()
    }

    fn stage(&mut self, name: String, text: impl FnOnce() -> String) {
        if self.keeps_text() {
            self.stages.push(Stage { name, text: text() });
        }
    }

    pub fn program(&mut self, program: &Program) {
        self.stage("program.txt".into(), || describe(program));
        for (i, kernel) in program.kernels.iter().enumerate() {
            self.stage(format!("kernel{i}.kir"), || kernel.to_string());
        }
    }

    /// At check level 3, runs the program through the interpreter of kernels and compares.
    pub fn check_program(&self, program: &Program) -> Result<(), String> {
        self.comparison.as_ref().map_or(Ok(()), |c| c.check_program(program))
    }

    pub fn kernels(&mut self, program: &Program, machine: &Machine) {
        for i in 0..program.kernels.len() {
            for (kind, text) in machine.texts(i) {
                self.stage(format!("kernel{i}.{kind}"), || text.into());
            }
        }
    }

    /// Writes the dump and hands out the stages.
    pub fn finish(mut self, timing: &str) -> Vec<Stage> {
        self.stage("timing.txt".into(), || timing.into());
        if let Some(folder) = &self.folder
            && let Err(e) = write_all(folder, &self.title, &self.stages)
        {
            events::record(Event::DumpFailed, format_args!("cannot write to {}: {e}", folder.display()));
        }
        if self.keep { self.stages } else { Vec::new() }
    }

    /// Writes the graph, the failure and the settings to a file and names it.
    pub fn reproducer(&self, graph: &Graph, donations: &[(usize, usize)], reason: &str, options: &Options) -> String {
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        make_room(&folder, MOST_REPRODUCERS);
        let path = folder.join(format!("{REPRODUCER}{:016x}.ir", graph.structural_hash()));
        let comment = reason.lines().fold(String::new(), |mut s, l| {
            let _ = writeln!(s, "// {l}");
            s
        });
        let pairs: Vec<String> = donations.iter().map(|(input, output)| format!("{input} to {output}")).collect();
        let donations = if pairs.is_empty() { "none".into() } else { pairs.join(", ") };
        let text = format!("{comment}// settings: {options}\n// donations, input to output: {donations}\n{graph}");
        match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text)) {
            Ok(()) => path.display().to_string(),
            Err(e) => format!("could not be written to {}: {e}", path.display()),
        }
    }
}

/// What the names of reproducers begin with.
const REPRODUCER: &str = "tracewright-reproducer-";

/// Reproducers that a folder holds at most: one of them is looked at, and the next run of a broken program writes the same.
const MOST_REPRODUCERS: usize = 32;

/// Removes the oldest reproducers of a folder until there is room for one more.
fn make_room(folder: &Path, most: usize) {
    let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_one = name.to_str().is_some_and(|n| n.starts_with(REPRODUCER) && n.ends_with(".ir"));
        let written = entry.metadata().ok().filter(|m| is_one && m.is_file()).and_then(|m| m.modified().ok());
        all.extend(written.map(|at| (at, entry.path())));
    }
    all.sort();
    for (_, old) in all.iter().rev().skip(most.saturating_sub(1)) {
        // Another process may have been faster, and another user's stay.
        let _ = std::fs::remove_file(old);
    }
}

/// The number of the next dump in a folder: after the highest there, also where an earlier process left it.
fn next_number(dir: &Path) -> u32 {
    static NEXT: Mutex<BTreeMap<PathBuf, u32>> = Mutex::new(BTreeMap::new());
    let mut all = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let next = all.entry(dir.to_path_buf()).or_insert_with(|| {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
        let number = |name: std::ffi::OsString| name.to_str()?.split_once('-')?.0.parse::<u32>().ok();
        names.filter_map(number).max().map_or(0, |n| n.saturating_add(1))
    });
    *next = next.saturating_add(1);
    *next - 1
}

fn write_all(folder: &Path, title: &str, stages: &[Stage]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("index.html"), page(title, stages))?;
    stages.iter().try_for_each(|s| std::fs::write(folder.join(&s.name), &s.text))
}

impl PassObserver for Inspector {
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String> {
        if !run.changed {
            return Ok(());
        }
        self.stage(format!("{:02}-after-{}.ir", run.number, run.name), || {
            let mut dense = graph.clone();
            dense.compact();
            dense.display(READABLE).to_string()
        });
        match &mut self.comparison {
            Some(c) => c.after_pass(run, graph),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_reproducers_go() {
        let folder = std::env::temp_dir().join(format!("tracewright-room-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, seconds: u64| {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        for (name, seconds) in [("1", 10), ("2", 40), ("3", 20), ("4", 30)] {
            write(&format!("{REPRODUCER}{name}.ir"), seconds);
        }
        write("notes.ir", 0);
        write(&format!("{REPRODUCER}5.txt"), 0);
        make_room(&folder, 3);
        let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        std::fs::remove_dir_all(&folder).unwrap();
        let want =
            ["notes.ir", "tracewright-reproducer-2.ir", "tracewright-reproducer-4.ir", "tracewright-reproducer-5.txt"];
        assert_eq!(left, want);
    }
}
