//! Looking on during a compilation: stages as text, dumps to a folder, comparison with the interpreter after each
//! pass, reproducers.

use super::compare::Comparison;
use super::page::page;
use crate::options::Options;
use codegen::cpu::CompiledKernel;
use ir::Graph;
use ir::program::{Program, StepKind};
use ir::text::PrintOptions;
use passes::{PassObserver, PassRun};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = options.dump.as_ref().map(|dir| {
            let name: String =
                graph.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
            dir.join(format!("{:04}-{name}", NUMBER.fetch_add(1, Ordering::Relaxed)))
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

    pub fn kernels(&mut self, program: &Program, kernels: &[Arc<CompiledKernel>]) {
        for (i, k) in kernels.iter().enumerate().take(program.kernels.len()) {
            if let (Some(clif), Some(assembly)) = (k.clif(), k.disassembly()) {
                self.stage(format!("kernel{i}.clif"), || clif.into());
                self.stage(format!("kernel{i}.asm"), || assembly.into());
            }
        }
    }

    /// Writes the dump and hands out the stages.
    pub fn finish(mut self, timing: &str) -> Vec<Stage> {
        self.stage("timing.txt".into(), || timing.into());
        if let Some(folder) = &self.folder
            && let Err(e) = write_all(folder, &self.title, &self.stages)
        {
            log::error!(target: "tracewright", "cannot write the dump to {}: {e}", folder.display());
        }
        if self.keep { self.stages } else { Vec::new() }
    }

    /// Writes the graph, the failure and the settings to a file and names it.
    pub fn reproducer(&self, graph: &Graph, reason: &str, options: &Options) -> String {
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        let path = folder.join(format!("tracewright-reproducer-{:016x}.ir", graph.structural_hash()));
        let comment = reason.lines().fold(String::new(), |mut s, l| {
            let _ = writeln!(s, "// {l}");
            s
        });
        let text = format!("{comment}// settings: {options}\n{graph}");
        match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text)) {
            Ok(()) => path.display().to_string(),
            Err(e) => format!("could not be written to {}: {e}", path.display()),
        }
    }
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

/// A program for people: buffers with their places, steps with what they read and write, the planned peak.
fn describe(p: &Program) -> String {
    let mut text = format!("program {}\n", p.name);
    for (i, b) in p.buffers.iter().enumerate() {
        let place = match &b.storage {
            ir::program::Storage::Constant(_) => "constant".to_string(),
            other => format!("{other:?}"),
        };
        let _ = writeln!(text, "  b{i}: {} in {place}", b.ty);
    }
    for (i, slot) in p.slots.iter().enumerate() {
        let _ = writeln!(text, "  slot {i}: the largest of {:?} bytes", slot.sizes);
    }
    for (i, step) in p.steps.iter().enumerate() {
        let what = match &step.kind {
            StepKind::Launch(l) => {
                let buffers: Vec<String> = l.buffers.iter().map(|b| format!("b{}", b.0)).collect();
                format!("kernel{}({}; {:?})", l.kernel, buffers.join(", "), l.extents)
            }
            StepKind::Product(m) => {
                let [batch, rows, columns, sum] = &m.extents;
                format!("b{} = b{} x b{} [{batch}, {rows}, {columns}, {sum}]", m.out.0.0, m.lhs.0.0, m.rhs.0.0)
            }
            StepKind::Interpret { reason, .. } => format!("interpreted: {reason}"),
        };
        let fallible = if i < p.fallible_prefix { " (may fail)" } else { "" };
        let _ = writeln!(text, "  {i}: {} {what}{fallible}", step.name);
        for o in step.origins.iter().take(4) {
            let _ = writeln!(text, "       {o}");
        }
    }
    text
}
