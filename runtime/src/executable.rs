//! Compiled graphs.

use crate::array::Array;
use crate::error::ExecError;
use crate::interpreter;
use ir::{Graph, Literal};
use smallvec::SmallVec;

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

/// A graph made ready to run. `Send`, `Sync` and re-entrant.
#[derive(Debug)]
pub struct Executable {
    graph: Graph,
}

impl Executable {
    /// Compiles a graph. `donations` pairs inputs with the outputs that may take over their memory.
    pub fn compile(graph: &Graph, _donations: &[(usize, usize)]) -> Result<Executable, ExecError> {
        Ok(Executable { graph: graph.clone() })
    }

    /// Runs it. On an error every argument is as it was.
    pub fn call(&self, inputs: &mut [Input]) -> Result<Outputs, ExecError> {
        let literals: Vec<Literal> = inputs
            .iter()
            .map(|i| i.array().ok_or_else(|| ExecError::Bug("a taken argument".into()))?.to_literal())
            .collect::<Result<_, _>>()?;
        interpreter::interpret(&self.graph, &literals)?.iter().map(Array::from_literal).collect()
    }
}

/// Runs a graph in the interpreter.
pub fn interpret(graph: &Graph, inputs: &[Array]) -> Result<Vec<Array>, ExecError> {
    let literals: Vec<Literal> = inputs.iter().map(Array::to_literal).collect::<Result<_, _>>()?;
    interpreter::interpret(graph, &literals)?.iter().map(Array::from_literal).collect()
}
