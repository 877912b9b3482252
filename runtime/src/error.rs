//! What can go wrong in a call.

use crate::device::DeviceError;
use ir::{EvalError, Graph, Op, Origin, Type};
use std::fmt;

/// A failed call. The runtime stays usable, and donated inputs are unchanged; but those of a GPU that refuses a launch, or breaks,
/// after the call has begun to write to them may be half written, which the error says.
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
    Memory(Shortage),
    /// A device failed, or is not there.
    Device(DeviceError),
    /// The compiler or runtime is at fault.
    Bug(String),
}

/// Memory that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// How much it was.
    pub message: String,
    /// What of a plan takes the most, the largest first.
    pub largest: Vec<Wanted>,
}

/// A part of the memory that a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What is to be there.
    pub ty: Type,
    /// Its bytes, if they can be addressed.
    pub bytes: Option<usize>,
    /// The op or fused group that makes it.
    pub op: String,
    /// Where that was recorded.
    pub origins: Vec<Origin>,
}

impl Wanted {
    pub(crate) fn size(&self) -> usize {
        self.bytes.unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ty)?;
        if let Some(bytes) = self.bytes {
            write!(f, ", {bytes} bytes,")?;
        }
        if !self.op.is_empty() {
            write!(f, " of {}", self.op)?;
        }
        match &self.origins[..] {
            [] => Ok(()),
            [origin] => write!(f, " at {origin}"),
            [origin, rest @ ..] => write!(f, " at {origin} and {} more lines", rest.len()),
        }
    }
}

impl ExecError {
    /// A lack of memory for something that no plan is behind.
    pub(crate) fn memory(what: impl fmt::Display) -> ExecError {
        ExecError::Memory(Shortage { message: what.to_string(), largest: Vec::new() })
    }

    /// The error, with what a lack of memory is for.
    pub(crate) fn wanting(mut self, wanted: impl FnOnce() -> Wanted) -> ExecError {
        if let ExecError::Memory(shortage) = &mut self {
            shortage.largest.push(wanted());
        }
        self
    }

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
            ExecError::Memory(shortage) => {
                write!(f, "out of memory: {}", shortage.message)?;
                shortage.largest.iter().try_for_each(|wanted| write!(f, "\n  {wanted}"))
            }
            ExecError::Device(e) => write!(f, "{e}"),
            ExecError::Bug(message) => write!(f, "bug in tracewright: {message}"),
        }
    }
}
impl std::error::Error for ExecError {}

impl From<DeviceError> for ExecError {
    fn from(e: DeviceError) -> ExecError {
        ExecError::Device(e)
    }
}
