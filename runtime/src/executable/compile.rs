//! From a graph to an executable.

use super::bind::{Bound, Signature, SymbolValues};
use super::inspect::{Inspector, Stage};
use super::{Compiled, Executable, Mode, kernels};
use crate::array::Array;
use crate::error::ExecError;
use crate::events::{self, Event};
use crate::options::{self, Artefact, Options};
use codegen::cpu::{CompileOptions, CompiledKernel};
use ir::Graph;
use ir::program::{Program, Storage};
use passes::{CheckLevel, PassOptions, PassRun, PassSpec, Settings};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a compilation leaves to look at.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    /// Every pass with its time.
    pub passes: Vec<PassRun>,
    /// Time of lowering to a program.
    pub lower: Duration,
    /// Time of code generation.
    pub codegen: Duration,
    /// Time of everything.
    pub total: Duration,
    /// The stages as text, if they were asked for: the graph as traced and after each pass that changed it, the
    /// program, kernel IR, CLIF and disassembly.
    pub stages: Vec<Stage>,
    /// Why the graph is interpreted, if it is.
    pub fallback: Option<String>,
}

impl Executable {
    /// Compiles a graph under the options in force. `donations` pairs inputs with the outputs that may take over their
    /// memory.
    ///
    /// A failure inside the compiler does not fail the call: the graph is then interpreted, which is counted and
    /// logged, and a reproducer is written. The only errors are unreadable options.
    pub fn compile(graph: &Graph, donations: &[(usize, usize)]) -> Result<Executable, ExecError> {
        Executable::build(graph, donations, false)
    }

    /// As [`Executable::compile`], and keeps every stage as text in the [`Artifacts`].
    pub fn inspect(graph: &Graph, donations: &[(usize, usize)]) -> Result<Executable, ExecError> {
        Executable::build(graph, donations, true)
    }

    fn build(graph: &Graph, donations: &[(usize, usize)], keep: bool) -> Result<Executable, ExecError> {
        let options = options::current().map_err(|e| ExecError::Argument(e.to_string()))?;
        let settings = settings(&options)?;
        let mut artifacts = Artifacts::default();
        let watch = options.nan.then(|| graph.clone());
        if !options.jit {
            artifacts.fallback = Some("the JIT is off".into());
            return Ok(Executable { mode: Mode::Interpreted(graph.clone()), artifacts, watch });
        }
        let start = Instant::now();
        let mut inspector = Inspector::new(graph, &options, keep);
        let outcome = compile(graph, donations, &settings, &mut inspector, &mut artifacts);
        artifacts.total = start.elapsed();
        let mode = match outcome {
            Ok(compiled) => {
                events::count(Event::Compile);
                events::write(Artefact::Passes, || times(&graph.name, &artifacts));
                Mode::Compiled(Box::new(compiled))
            }
            Err(reason) => {
                let file = inspector.reproducer(graph, &reason, &options);
                events::record(Event::Bug, format!("{}: {reason}; reproducer: {file}", graph.name));
                events::record(Event::Fallback, format!("{} is interpreted: {reason}", graph.name));
                artifacts.fallback = Some(reason);
                Mode::Interpreted(graph.clone())
            }
        };
        artifacts.stages = inspector.finish(&times(&graph.name, &artifacts));
        Ok(Executable { mode, artifacts, watch })
    }
}

fn settings(options: &Options) -> Result<Settings, ExecError> {
    let spec = PassSpec::parse(&options.passes.to_string(), &passes::pipeline())
        .map_err(|e| ExecError::Argument(format!("{}PASSES: {e}", options::PREFIX)))?;
    let check = match options.check {
        0 => CheckLevel::Off,
        1 => CheckLevel::Boundaries,
        2 => CheckLevel::Passes,
        _ => CheckLevel::Compare,
    };
    Ok(Settings { spec, check, options: PassOptions { strict16: options.strict16, ..PassOptions::default() } })
}

fn compile(
    graph: &Graph,
    donations: &[(usize, usize)],
    settings: &Settings,
    inspector: &mut Inspector,
    artifacts: &mut Artifacts,
) -> Result<Compiled, String> {
    let outcome = passes::optimize(graph.clone(), settings, Some(inspector)).map_err(|e| e.to_string())?;
    artifacts.passes = outcome.runs;
    for note in &outcome.notes {
        if note.text.starts_with("refused") {
            events::record(Event::FusionRefused, &note.text);
        } else {
            events::write(Artefact::Fusion, || format!("{}: {}", note.pass, note.text));
        }
    }
    let start = Instant::now();
    let program = passes::lower::lower(&outcome.graph, donations).map_err(|e| e.to_string())?;
    artifacts.lower = start.elapsed();
    if settings.check >= CheckLevel::Boundaries {
        for k in &program.kernels {
            if let Err(broken) = ir::kernel::verify::verify(k) {
                let list = broken.iter().fold(String::new(), |mut s, b| {
                    let _ = write!(s, "\n{b}");
                    s
                });
                return Err(format!("bug in tracewright: kernel {} is ill-formed:{list}", k.name));
            }
        }
        if let Err(broken) = ir::program::verify::verify(&program) {
            let list: Vec<String> = broken.iter().map(ToString::to_string).collect();
            return Err(format!("bug in tracewright: the program is ill-formed: {}", list.join("; ")));
        }
    }
    inspector.program(&program);
    inspector.check_program(&program)?;
    let start = Instant::now();
    let threads = crate::pool::global().num_threads().min(4);
    let keep_text = inspector.keeps_text();
    let code = CompileOptions { keep_text, ..CompileOptions::default() };
    let kernels = kernels::compile_all(&program.kernels, code, threads).map_err(|e| e.to_string())?;
    artifacts.codegen = start.elapsed();
    inspector.kernels(&program, &kernels);
    Compiled::new(program, kernels).map_err(|e| e.to_string())
}

/// Times of one compilation, a line each.
fn times(name: &str, a: &Artifacts) -> String {
    let mut text = format!("{name}: compiled in {:.2?}\n", a.total);
    for run in &a.passes {
        let what = match (&run.skipped, run.changed) {
            (Some(_), _) => "skipped",
            (None, true) => "changed",
            (None, false) => "",
        };
        let _ = writeln!(text, "  {:2} {:<16} {:>10.1?} {what}", run.number, run.name, run.elapsed);
    }
    let _ = writeln!(text, "     {:<16} {:>10.1?}", "lower", a.lower);
    let _ = writeln!(text, "     {:<16} {:>10.1?}", "codegen", a.codegen);
    text
}

impl Compiled {
    fn new(program: Program, kernels: Vec<Arc<CompiledKernel>>) -> Result<Compiled, ExecError> {
        let constants = program
            .buffers
            .iter()
            .map(|b| match &b.storage {
                Storage::Constant(literal) => Array::from_literal(literal).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let signature = Signature::of(&program);
        let fixed = if signature.symbols.is_empty() {
            Some(Arc::new(Bound::new(&program, &kernels, &signature, SymbolValues::new())?))
        } else {
            None
        };
        Ok(Compiled { program, kernels, constants, signature, fixed, bound: Mutex::default() })
    }
}
