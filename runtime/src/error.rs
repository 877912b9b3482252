//! What can go wrong in a call.

use ir::{EvalError, Graph, Op, Origin};
use std::fmt;

/// A failed call. The runtime stays usable, and donated inputs are unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecError {
    /// The arguments do not fit the graph.
    Argument(String),
    /// An op failed.
    Op {
        /// Name of the op.
        op: String,
        /// Where it was recorded.
        origins: Vec<Origin>,
        /// What went wrong.
        error: EvalError,
    },
    /// Memory could not be had.
    Memory(String),
    /// The compiler or runtime is at fault.
    Bug(String),
}

impl ExecError {
    /// The failure of an op of a graph.
    pub fn op(graph: &Graph, op: Op, error: EvalError) -> ExecError {
        let data = graph.op(op);
        let origins = data.origins.iter().map(|&o| graph.origins.get(o).clone()).collect();
        ExecError::Op { op: data.primitive.name().into(), origins, error }
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecError::Argument(message) => f.write_str(message),
            ExecError::Op { op, origins, error } => {
                match error {
                    EvalError::Rule(violation) => write!(f, "{violation}")?,
                    error => write!(f, "{op}: {error}")?,
                }
                for origin in origins {
                    write!(f, "\n  at {origin}")?;
                }
                Ok(())
            }
            ExecError::Memory(message) => write!(f, "out of memory: {message}"),
            ExecError::Bug(message) => write!(f, "bug in tracewright: {message}"),
        }
    }
}
impl std::error::Error for ExecError {}
