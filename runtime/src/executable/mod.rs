//! Compiled graphs: a flat list of steps over planned buffers.
//!
//! [`Executable::compile`] runs the passes, lowers the graph and compiles its kernels. A call binds the symbols to the
//! arguments' extents (the outcome is kept for the next call with the same extents), gets memory for outputs and the
//! arena, and runs the steps. In a steady state it allocates nothing but its outputs and the arena, both from the buffer
//! cache, and hashes nothing.

pub(crate) mod bind;
mod compare;
mod compile;
pub(crate) mod control;
pub(crate) mod cpu;
mod failure;
mod inspect;
pub(crate) mod interpreted;
mod kernels;
pub(crate) mod machine;
mod non_finite;
pub(crate) mod opaque;
mod page;
mod report;
mod run;
mod shortage;

use crate::array::Array;
use crate::device::Device;
use crate::error::ExecError;
use crate::events::{self, Event};
use crate::interpreter::{self, Bindings};
use crate::signature::Signature;
use bind::Bound;
use codegen::cpu::CompiledKernel;
use ir::program::{Program, ShapeCheck};
use ir::{Graph, Literal};
use machine::Machine;
use smallvec::SmallVec;
use std::sync::{Arc, Mutex};

pub use compare::Comparison;
pub use compile::Artifacts;
pub use inspect::Stage;

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Input {
    /// Read only.
    Shared(Array),
    /// May be overwritten by the output it is paired with, if nobody else holds it.
    Donated(Array),
    /// A donated argument whose memory became an output's; only after a call that succeeded.
    Taken,
}

impl Input {
    /// The array, unless it was taken.
    pub fn array(&self) -> Option<&Array> {
        match self {
            Input::Shared(a) | Input::Donated(a) => Some(a),
            Input::Taken => None,
        }
    }
}

/// Results of a call.
pub type Outputs = SmallVec<[Array; 4]>;

/// Distinct sets of extents whose bound plans are kept.
const BOUND_PLANS: usize = 64;

/// A graph made ready to run. `Send`, `Sync` and re-entrant.
pub struct Executable {
    mode: Mode,
    artifacts: Artifacts,
    device: Device,
    /// The graph as traced, if calls look for the first NaN or infinity.
    watch: Option<Graph>,
}

enum Mode {
    Compiled(Box<Compiled>),
    /// Runs op by op, because the user asked for it or, if not `wanted`, because compilation failed.
    Interpreted {
        /// Without dead ops: nobody asks for their elements, as in compiled code.
        graph: Box<Graph>,
        /// Those of the whole graph.
        checks: Vec<ShapeCheck>,
        wanted: bool,
    },
}

pub(crate) struct Compiled {
    pub program: Program,

    constants: Vec<Option<Array>>,
    signature: Signature,
    /// The plan when no extent is symbolic.
    fixed: Option<Arc<Bound>>,
    /// Plans by the values of the symbols, the last used first.
    bound: Mutex<Vec<Arc<Bound>>>,
    /// Recordings in the plans launch its kernels, so it goes last.
    machine: Machine,
}

impl std::fmt::Debug for Executable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.mode {
            Mode::Compiled(c) => {
                write!(
                    f,
                    "Executable({}: {} steps, {} kernels)",
                    c.program.name,
                    c.program.steps.len(),
                    c.program.kernels.len()
                )
            }
            Mode::Interpreted { graph, .. } => write!(f, "Executable({}, interpreted)", graph.name),
        }
    }
}

impl Mode {
    fn interpreted(graph: &Graph, wanted: bool) -> Mode {
        let mut live = graph.clone();
        passes::dce::sweep_dead(&mut live);
        Mode::Interpreted { graph: Box::new(live), checks: ir::program::shape_checks(graph), wanted }
    }
}

impl Executable {
    /// Runs it. On an error every argument is as it was.
    pub fn call(&self, inputs: &mut [Input]) -> Result<Outputs, ExecError> {
        let mut before = SmallVec::new();
        let outcome = self.gather(inputs, &mut before).and_then(|()| self.run(inputs));
        if outcome.is_err() {
            before.into_iter().for_each(|(i, input)| inputs[i] = input);
        }
        outcome
    }

    fn run(&self, inputs: &mut [Input]) -> Result<Outputs, ExecError> {
        if let Some(graph) = &self.watch {
            non_finite::find(graph, inputs)?;
        }
        match &self.mode {
            Mode::Compiled(c) => c.call(inputs),
            Mode::Interpreted { graph, checks, wanted } => {
                if !wanted {
                    events::count(Event::InterpretedStep);
                }
                let literals: Vec<Literal> = inputs
                    .iter()
                    .map(|i| i.array().ok_or_else(|| ExecError::Bug("a taken argument".into()))?.to_literal())
                    .collect::<Result<_, _>>()?;
                let bindings = Bindings::of(&graph.input_types(), &graph.symbols, &literals)?;
                checks.iter().try_for_each(|check| bindings.check(check))?;
                let results = interpreter::interpret_bound(graph, &bindings, &literals)?;
                results.iter().map(|l| Array::from_literal(l)?.to_device(self.device)).collect()
            }
        }
    }

    /// Sees to it that the arguments are where the executable runs. Scalars of the processor, and what has no
    /// elements, are taken along; `before` gets what they were.
    fn gather(&self, inputs: &mut [Input], before: &mut SmallVec<[(usize, Input); 4]>) -> Result<(), ExecError> {
        for (i, input) in inputs.iter_mut().enumerate() {
            let Some(array) = input.array().filter(|a| a.device() != self.device) else { continue };
            if array.device() != Device::Cpu || !(array.dims().is_empty() || array.byte_len() == 0) {
                let (at, here) = (array.device(), self.device);
                let what = format!("argument {i}, {}, is on {at}, and the function runs on {here}", array.ty());
                return Err(ExecError::Argument(format!("{what}; move it there before the call")));
            }
            let there = Input::Shared(array.to_device(self.device)?);
            before.push((i, std::mem::replace(input, there)));
        }
        Ok(())
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.device
    }

    /// True if no part of it runs in the interpreter.
    pub fn is_compiled(&self) -> bool {
        match &self.mode {
            Mode::Compiled(c) => {
                !c.program.all_steps().iter().any(|(_, s)| matches!(s.kind, ir::program::StepKind::Interpret { .. }))
            }
            Mode::Interpreted { .. } => false,
        }
    }

    /// The program, unless the graph is interpreted.
    pub fn program(&self) -> Option<&Program> {
        match &self.mode {
            Mode::Compiled(c) => Some(&c.program),
            Mode::Interpreted { .. } => None,
        }
    }

    /// Machine code of a kernel of the program.
    pub fn kernel(&self, number: usize) -> Option<&CompiledKernel> {
        match &self.mode {
            Mode::Compiled(c) => c.machine.cpu().get(number).map(|k| &**k),
            Mode::Interpreted { .. } => None,
        }
    }

    /// What compilation left to look at.
    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }
}

/// Runs a graph in the interpreter.
pub fn interpret(graph: &Graph, inputs: &[Array]) -> Result<Vec<Array>, ExecError> {
    let literals: Vec<Literal> = inputs.iter().map(Array::to_literal).collect::<Result<_, _>>()?;
    interpreter::interpret(graph, &literals)?.iter().map(Array::from_literal).collect()
}
