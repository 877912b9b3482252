//! The stages of a compilation, as values.

use ir::Graph;
use ir::program::StepKind;
use ir::text::PrintOptions;
use runtime::Executable;
use runtime::executable::{Artifacts, Stage};
use std::fmt;
use std::time::Duration;

/// A function with all stages of its compilation.
///
/// ```
/// use tracewright::{Tensor, jit};
/// let lowered = jit(|x: Tensor| x.exp() + 1.0).lower(Tensor::from([1.0f32, 2.0]))?;
/// assert!(lowered.ir().contains("exp"));
/// assert!(lowered.stage("kernel0.kir").is_some());
/// # Ok::<(), tracewright::Error>(())
/// ```
pub struct Lowered {
    graph: Graph,
    executable: Executable,
}

impl Lowered {
    pub(crate) fn new(graph: Graph, executable: Executable) -> Lowered {
        Lowered { graph, executable }
    }

    /// The graph as traced.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph as traced, as text, with the line and scope of each op. Long constants are shortened.
    pub fn ir(&self) -> String {
        self.graph.display(PrintOptions { origins: true, elide: Some(64) }).to_string()
    }

    /// Every stage as text, in order: the graph as traced and after each pass that changed it, the program, and for each
    /// kernel its IR, CLIF and disassembly.
    pub fn stages(&self) -> &[Stage] {
        &self.artifacts().stages
    }

    /// The stage of that name, such as `program.txt`.
    pub fn stage(&self, name: &str) -> Option<&str> {
        self.stages().iter().find(|s| s.name == name).map(|s| s.text.as_str())
    }

    /// Times of passes, lowering and code generation.
    pub fn artifacts(&self) -> &Artifacts {
        self.executable.artifacts()
    }

    /// What runs.
    pub fn executable(&self) -> &Executable {
        &self.executable
    }
}

/// What became of a function for one kind of arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// True if no part of it runs in the interpreter.
    pub compiled: bool,
    /// Why it is interpreted, if all of it is.
    pub fallback: Option<String>,
    /// Kernels in it.
    pub kernels: usize,
    /// Kernel launches of a call; those of a loop count once.
    pub launches: usize,
    /// Matrix products of a call.
    pub products: usize,
    /// Time of tracing.
    pub trace: Duration,
    /// Time of compiling what was traced.
    pub compile: Duration,
}

impl Summary {
    pub(crate) fn of(executable: &Executable, trace: Duration) -> Summary {
        let program = executable.program();
        let steps = program.map(|p| p.all_steps()).unwrap_or_default();
        let count = |wanted: fn(&StepKind) -> bool| steps.iter().filter(|(_, s)| wanted(&s.kind)).count();
        Summary {
            compiled: executable.is_compiled(),
            fallback: executable.artifacts().fallback.clone(),
            kernels: program.map_or(0, |p| p.kernels.len()),
            launches: count(|k| matches!(k, StepKind::Launch(_))),
            products: count(|k| matches!(k, StepKind::Product(_))),
            trace,
            compile: executable.artifacts().total,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (&self.fallback, self.compiled) {
            (Some(reason), _) => return write!(f, "interpreted: {reason}"),
            (None, true) => "compiled",
            (None, false) => "compiled in part",
        };
        write!(
            f,
            "{kind}: {} launches of {} kernels, {} matrix products, ",
            self.launches, self.kernels, self.products
        )?;
        write!(f, "traced in {:.1?}, compiled in {:.1?}", self.trace, self.compile)
    }
}
