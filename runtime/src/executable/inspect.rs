//! Looking on during a compilation: stages as text, dumps to a folder, comparison with the interpreter after each
//! pass, reproducers.

use crate::interpreter::interpret;
use crate::options::{Options, PREFIX};
use codegen::cpu::CompiledKernel;
use ir::program::{Program, StepKind};
use ir::text::PrintOptions;
use ir::{DType, Graph, Literal, Scalar, Symbol, Type};
use passes::{PassObserver, PassRun};
use std::collections::HashMap;
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

/// The most elements of inputs for which passes are compared with the interpreter.
const COMPARE_ELEMENTS: usize = 1 << 20;

pub(super) struct Inspector {
    stages: Vec<Stage>,
    keep: bool,
    folder: Option<PathBuf>,
    /// Sample inputs with the outputs that every pass must preserve.
    expected: Option<(Vec<Literal>, Vec<Literal>)>,
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
        let expected = if options.check >= 3 { expectation(graph) } else { None };
        let mut inspector = Inspector { stages: Vec::new(), keep, folder, expected };
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
            && let Err(e) = write_all(folder, &self.stages)
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

fn write_all(folder: &Path, stages: &[Stage]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
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
        let Some((inputs, expected)) = &mut self.expected else { return Ok(()) };
        let got = interpret(graph, inputs).map_err(|e| format!("made the interpreter fail ({PREFIX}CHECK=3): {e}"))?;
        for (i, (want, got)) in expected.iter().zip(&got).enumerate() {
            if let Some(at) = difference(want, got, !run.exact && computes_in_16_bits(graph)) {
                let (w, g) = (want.get(at), got.get(at));
                return Err(format!("changed output {i}, element {at}: {w} became {g} ({PREFIX}CHECK=3)"));
            }
        }
        if !run.exact {
            *expected = got;
        }
        Ok(())
    }
}

/// Sample inputs and what the graph makes of them; `None` where they would be too large or the graph fails on them.
fn expectation(graph: &Graph) -> Option<(Vec<Literal>, Vec<Literal>)> {
    let symbols: HashMap<Symbol, i64> =
        graph.symbols.iter().map(|s| (s.symbol.clone(), 3.clamp(s.min, s.max.max(s.min)))).collect();
    let value = |s: &Symbol| Some(symbols.get(s).copied().unwrap_or(3));
    let mut total = 0usize;
    let mut inputs = Vec::new();
    for (i, ty) in graph.input_types().iter().enumerate() {
        let dims: Option<Vec<usize>> =
            ty.shape.iter().map(|d| d.eval(&value).and_then(|n| usize::try_from(n).ok())).collect();
        let dims = dims?;
        total = total.checked_add(dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?)?;
        if total > COMPARE_ELEMENTS {
            log::info!(target: "tracewright", "{}: too large to compare passes with the interpreter", graph.name);
            return None;
        }
        inputs.push(sample(ty, &dims, i as u64));
    }
    match interpret(graph, &inputs) {
        Ok(outputs) => Some((inputs, outputs)),
        Err(e) => {
            log::info!(target: "tracewright", "{}: passes are not compared: {e}", graph.name);
            None
        }
    }
}

/// Numbers between -2 and 2 for floats; 0 or 1 for integers, which may be indices.
fn sample(ty: &Type, dims: &[usize], seed: u64) -> Literal {
    let mut state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Literal::from_fn(dims, ty.dtype, |_| {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match ty.dtype {
            DType::I64 | DType::I32 | DType::U8 | DType::Bool => Scalar::of(ty.dtype, (state % 2) as f64),
            float => Scalar::of(float, (state % 4001) as f64 / 1000.0 - 2.0),
        }
    })
}

fn computes_in_16_bits(graph: &Graph) -> bool {
    let ops = graph.reachable_regions().into_iter().flat_map(|r| &graph.region(r).ops);
    ops.flat_map(|&op| &graph.op(op).results).any(|&v| graph.ty(v).dtype.is_half())
}

/// The first element that differs by more than reordered sums and 16-bit rounding explain; with `loose`, 16-bit rounding
/// on the way to a wider output.
fn difference(want: &Literal, got: &Literal, loose: bool) -> Option<usize> {
    let tolerance = match want.dtype() {
        DType::F64 | DType::F32 | DType::F16 if loose => 1e-1,
        DType::F64 => 1e-9,
        DType::F32 => 1e-4,
        DType::F16 => 2e-2,
        DType::BF16 => 1e-1,
        _ => 0.0,
    };
    if want.dims() != got.dims() || want.dtype() != got.dtype() {
        return Some(0);
    }
    let scale = want.iter().map(|s| s.as_f64().abs()).filter(|x| x.is_finite()).fold(1.0, f64::max);
    (0..want.numel()).find(|&i| {
        let (w, g) = (want.get(i), got.get(i));
        let (x, y) = (w.as_f64(), g.as_f64());
        !(w == g || x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * scale)
    })
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
