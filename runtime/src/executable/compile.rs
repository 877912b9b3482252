//! From a graph to an executable.

use super::bind::{Bound, Signature, SymbolValues};
use super::{Compiled, Executable, Mode, kernels};
use crate::array::Array;
use crate::error::ExecError;
use codegen::cpu::CompileOptions;
use ir::Graph;
use ir::program::{Program, Storage};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a pass took and whether it changed anything.
#[derive(Clone, Debug)]
pub struct PassTime {
    /// Name of the pass.
    pub name: &'static str,
    /// Wall time.
    pub elapsed: Duration,
    /// Whether the graph changed.
    pub changed: bool,
}

/// What a compilation leaves to look at.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    /// Time of each pass, lowering and code generation, in order.
    pub times: Vec<PassTime>,
    /// The graph after the passes, before lowering.
    pub optimized: Option<Graph>,
    /// Why the graph is interpreted, if it is.
    pub fallback: Option<String>,
}

impl Executable {
    /// Compiles a graph. `donations` pairs inputs with the outputs that may take over their memory.
    ///
    /// A failure inside the compiler does not fail the call: the graph is then interpreted, which is counted and logged.
    pub fn compile(graph: &Graph, donations: &[(usize, usize)]) -> Result<Executable, ExecError> {
        let mut artifacts = Artifacts::default();
        match compile(graph, donations, &mut artifacts) {
            Ok(compiled) => Ok(Executable { mode: Mode::Compiled(compiled), artifacts }),
            Err(reason) => {
                log::warn!(target: "tracewright::fallback", "{} is interpreted: {reason}", graph.name);
                artifacts.fallback = Some(reason);
                Ok(Executable { mode: Mode::Interpreted(graph.clone()), artifacts })
            }
        }
    }
}

fn compile(graph: &Graph, donations: &[(usize, usize)], artifacts: &mut Artifacts) -> Result<Compiled, String> {
    let mut graph = graph.clone();
    let mut timed = |name, changed, start: Instant| {
        artifacts.times.push(PassTime { name, elapsed: start.elapsed(), changed });
    };
    let start = Instant::now();
    passes::fuse::fuse(&mut graph, true);
    timed("fuse", true, start);
    let start = Instant::now();
    let program = passes::lower::lower(&graph, donations).map_err(|e| e.to_string())?;
    timed("lower", true, start);
    let start = Instant::now();
    let threads = crate::pool::global().num_threads().min(4);
    let kernels =
        kernels::compile_all(&program.kernels, CompileOptions::default(), threads).map_err(|e| e.to_string())?;
    timed("codegen", true, start);
    artifacts.optimized = Some(graph);
    Compiled::new(program, kernels).map_err(|e| e.to_string())
}

impl Compiled {
    fn new(program: Program, kernels: Vec<Arc<codegen::cpu::CompiledKernel>>) -> Result<Compiled, ExecError> {
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
