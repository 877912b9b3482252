//! From a graph to an executable.

use super::bind::Bound;
use super::failure::Failure;
use super::inspect::{Inspector, Stage};
use super::machine::Machine;
use super::{Compiled, Executable, Mode, cpu, kernels, report};
use crate::array::Array;
use crate::cuda::{self, Gpu};
use crate::device::{self, Device};
use crate::error::ExecError;
use crate::events::{self, Event};
use crate::options::{self, Artefact, Options};
use crate::signature::{Signature, SymbolValues};
use codegen::cpu::CompileOptions;
use ir::Graph;
use ir::kernel::Kernel;
use ir::program::{Program, Storage};
use passes::{CheckLevel, Grain, PassOptions, PassRun, PassSpec, Settings};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// logged, and a reproducer is written. What the processor or the compiler has no code for is interpreted and
    /// counted too. Errors are unreadable options, and what the interpreter could not do either, such as a plan larger
    /// than the address space.
    pub fn compile(graph: &Graph, donations: &[(usize, usize)]) -> Result<Executable, ExecError> {
        Executable::build(graph, donations, false)
    }

    /// As [`Executable::compile`], and keeps every stage as text in the [`Artifacts`].
    pub fn inspect(graph: &Graph, donations: &[(usize, usize)]) -> Result<Executable, ExecError> {
        Executable::build(graph, donations, true)
    }

    /// What the passes are told under the options in force, for the device that things are made on.
    pub fn settings() -> Result<Settings, ExecError> {
        let (options, device) = in_force()?;
        settings(&options, device)
    }

    fn build(graph: &Graph, donations: &[(usize, usize)], keep: bool) -> Result<Executable, ExecError> {
        let (options, device) = in_force()?;
        let settings = settings(&options, device)?;
        if let Device::Cuda(number) = device {
            Gpu::get(number)?;
        }
        let mut artifacts = Artifacts::default();
        let watch = options.nan.then(|| graph.clone());
        if !options.jit {
            artifacts.fallback = Some("the JIT is off".into());
            return Ok(Executable { mode: Mode::interpreted(graph, true), artifacts, device, watch });
        }
        let start = Instant::now();
        let mut inspector = Inspector::new(graph, &options, keep);
        // A panic of the compiler is a bug of ours as any other.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            compile(graph, donations, (&settings, &options), device, &mut inspector, &mut artifacts)
        }))
        .unwrap_or_else(|panic| Err(Failure::Bug(format!("bug in tracewright: {}", panic_message(&*panic)))));
        artifacts.total = start.elapsed();
        let timing = report::times(&graph.name, &artifacts);
        let reason = match outcome {
            Ok(compiled) => {
                events::count(Event::Compile);
                events::write(Artefact::Passes, || timing.clone());
                artifacts.stages = inspector.finish(&timing);
                return Ok(Executable { mode: Mode::Compiled(Box::new(compiled)), artifacts, device, watch });
            }
            Err(Failure::User(e)) => {
                inspector.finish(&timing);
                return Err(e);
            }
            Err(Failure::Refused(reason)) => reason,
            Err(Failure::Bug(reason)) => {
                report::bug(graph, donations, &reason, &inspector, &options);
                reason
            }
        };
        events::record(Event::Fallback, format!("{} is interpreted: {reason}", graph.name));
        artifacts.fallback = Some(reason);
        artifacts.stages = inspector.finish(&timing);
        Ok(Executable { mode: Mode::interpreted(graph, false), artifacts, device, watch })
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

fn in_force() -> Result<(Arc<Options>, Device), ExecError> {
    let options = options::current().map_err(|e| ExecError::Argument(e.to_string()))?;
    let device = device::current().map_err(|e| ExecError::Argument(e.to_string()))?;
    Ok((options, device))
}

fn settings(options: &Options, device: Device) -> Result<Settings, ExecError> {
    let spec = PassSpec::parse(&options.passes.to_string(), &passes::pipeline())
        .map_err(|e| ExecError::Argument(format!("{}PASSES: {e}", options::PREFIX)))?;
    let check = match options.check {
        0 => CheckLevel::Off,
        1 => CheckLevel::Boundaries,
        2 => CheckLevel::Passes,
        _ => CheckLevel::Compare,
    };
    let grain = match device {
        Device::Cpu => Grain::CPU,
        _ => Grain::GPU,
    };
    let options = PassOptions { strict16: options.strict16, grain, ..PassOptions::default() };
    Ok(Settings { spec, check, options })
}

fn compile(
    graph: &Graph,
    donations: &[(usize, usize)],
    (settings, options): (&Settings, &Options),
    device: Device,
    inspector: &mut Inspector,
    artifacts: &mut Artifacts,
) -> Result<Compiled, Failure> {
    let outcome = passes::optimize(graph.clone(), settings, Some(inspector))?;
    artifacts.passes = outcome.runs;
    report::passes(&graph.name, &artifacts.passes, &outcome.notes);
    let threads = crate::pool::global().num_threads().min(4);
    let code = CompileOptions { keep_text: inspector.keeps_text(), ..CompileOptions::default() };
    // Kernels that do not compile, with the reason: their steps are interpreted.
    let mut refused: HashMap<Kernel, String> = HashMap::new();
    loop {
        let start = Instant::now();
        let reason = |kernel: &Kernel| refused.get(&kernels::anonymous(kernel)).cloned();
        let refuse = |kernel: &Kernel| if refused.is_empty() { None } else { reason(kernel) };
        let mut program = passes::lower::lower_for(settings.options.grain, &outcome.graph, donations, &refuse)?;
        program.checks = ir::program::shape_checks(graph);
        artifacts.lower += start.elapsed();
        if settings.check >= CheckLevel::Boundaries
            && let Err(broken) = ir::program::verify::verify(&program)
        {
            let list: Vec<String> = broken.iter().map(ToString::to_string).collect();
            let list = list.join("; ");
            return Err(Failure::Bug(format!("bug in tracewright: the program is ill-formed: {list}")));
        }
        inspector.program(&program);
        inspector.check_program(&program).map_err(Failure::Bug)?;
        let start = Instant::now();
        if let Device::Cuda(number) = device {
            let gpu = Gpu::get(number).map_err(ExecError::from)?;
            let machine = Machine::Cuda(cuda::Kernels::new(gpu, &program, inspector.keeps_text())?);
            artifacts.codegen += start.elapsed();
            inspector.kernels(&program, &machine);
            report::program(&program, &machine);
            return Ok(Compiled::new(program, machine)?);
        }
        match kernels::compile_all(&program.kernels, code, threads).map(|k| Machine::Cpu(cpu::Kernels(k))) {
            Ok(machine) => {
                artifacts.codegen += start.elapsed();
                inspector.kernels(&program, &machine);
                report::program(&program, &machine);
                return Ok(Compiled::new(program, machine)?);
            }
            Err(first) => {
                let failures = kernels::refused(&program.kernels, code)?;
                let before = refused.len();
                for (kernel, e) in failures {
                    refused.insert(kernel, e.to_string());
                    if let Failure::Bug(reason) = e.into() {
                        report::bug(graph, donations, &reason, inspector, options);
                    }
                }
                if refused.len() == before {
                    return Err(first.into());
                }
            }
        }
    }
}

impl Compiled {
    fn new(program: Program, machine: Machine) -> Result<Compiled, ExecError> {
        let device = machine.device();
        let constants = program
            .buffers
            .iter()
            .map(|b| match &b.storage {
                Storage::Constant(literal) => Array::from_literal(literal)?.to_device(device).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let signature = Signature::of(&program.inputs, &program.symbols);
        let fixed = if signature.is_static() {
            Some(Arc::new(Bound::new(&program, &machine, &signature, SymbolValues::new())?))
        } else {
            None
        };
        Ok(Compiled { program, machine, constants, signature, fixed, bound: Mutex::default() })
    }
}
