//! Running graphs that are not cached by their caller: those of eager gradients.

use crate::cache::Bounded;
use crate::device;
use crate::dispatch::here;
use crate::error::{Error, Result};
use crate::scope;
use ir::Graph;
use runtime::events::{self, Event};
use runtime::{Array, ExecError, Executable, Input, Outputs};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// A graph by its structure.
struct Structure {
    modes: crate::modes::Modes,
    hash: u64,
    graph: Graph,
}

impl PartialEq for Structure {
    fn eq(&self, other: &Structure) -> bool {
        self.hash == other.hash && self.modes == other.modes && self.graph == other.graph
    }
}
impl Eq for Structure {}
impl Hash for Structure {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.hash.hash(h);
    }
}

impl std::fmt::Display for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:016x}", self.graph.name, self.hash)
    }
}

static CACHE: LazyLock<Bounded<Structure, Arc<Executable>>> = LazyLock::new(|| Bounded::new("eager gradients", 256));

/// What no op is to blame for happens at the line that asked.
fn failed(e: ExecError) -> Error {
    let e = Error::exec(e);
    if e.location().is_some() { e } else { e.at(here()).in_scope(&scope::current()) }
}

/// True if a second run changes nothing.
fn is_pure(graph: &Graph) -> bool {
    let regions = graph.reachable_regions();
    regions.iter().flat_map(|&r| &graph.region(r).ops).all(|&op| graph.op(op).primitive.traits().pure)
}

/// Runs a graph, compiled once for its structure.
///
/// The lines in what is kept are those of the first graph of that structure. A call that fails at an op or for want of memory
/// is therefore repeated with its own graph compiled, for the error to name its own lines.
pub(crate) fn run(graph: &Graph, inputs: &[Array]) -> Result<Outputs> {
    device::among_arrays(inputs, || run_here(graph, inputs))
}

fn run_here(graph: &Graph, inputs: &[Array]) -> Result<Outputs> {
    let key = Structure { modes: crate::modes::current()?, hash: graph.structural_hash(), graph: graph.clone() };
    let call = |executable: &Executable| {
        let mut inputs: Vec<Input> = inputs.iter().cloned().map(Input::Shared).collect();
        executable.call(&mut inputs)
    };
    if let Some(executable) = CACHE.get(&key) {
        match call(&executable) {
            Err(ExecError::Memory(_)) => {}
            Err(ExecError::Op { .. }) if is_pure(graph) => {
                events::record(Event::Compile, format_args!("an eager gradient that failed, for its lines"));
            }
            other => return other.map_err(failed),
        }
    }
    let executable = Arc::new(Executable::compile(graph, &[]).map_err(failed)?);
    CACHE.insert(key, executable.clone());
    call(&executable).map_err(failed)
}
