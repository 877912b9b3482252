//! What can be wrong with an op.

use crate::Type;
use crate::ops::OpDef;
use crate::ops::rules::violation;
use std::fmt;

/// What a broken rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ViolationKind {
    /// Extents, or anything without a kind of its own.
    Shape,
    /// An element type.
    DType,
    /// An axis that does not exist or is named twice.
    Axis,
    /// A number of axes.
    Rank,
    /// An axis without elements.
    Empty,
    /// A place that is not in its axis.
    Index,
}

/// A broken rule of an op, found by its type rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Name of the op.
    pub op: &'static str,
    /// What the rule is about.
    pub kind: ViolationKind,
    /// Operand types, as text.
    pub operands: String,
    /// The rule broken, in words that name axes and extents.
    pub rule: String,
    /// What would be legal.
    pub legal: String,
}

impl Violation {
    /// The same, of that kind.
    pub(crate) fn of(self, kind: ViolationKind) -> Violation {
        Violation { kind, ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op)?;
        if !self.operands.is_empty() {
            write!(f, "({})", self.operands)?;
        }
        write!(f, ": {}", self.rule)?;
        if !self.legal.is_empty() {
            write!(f, "; {}", self.legal)?;
        }
        Ok(())
    }
}
impl std::error::Error for Violation {}

/// A failure while an op is evaluated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvalError {
    /// An index in error mode is out of range.
    #[error("index {index} is out of range for axis {axis} of extent {extent}")]
    IndexOutOfRange {
        /// The index, of any integer dtype.
        index: i128,
        /// The axis indexed.
        axis: usize,
        /// Its extent.
        extent: usize,
    },
    /// What the type rule would have said, had the symbols had their values.
    #[error("{}", .0.rule)]
    Rule(Box<Violation>),
    /// A dimension does not evaluate to an extent.
    #[error("dimension {0} has no value that can be an extent")]
    BadDim(String),
    /// Anything else, with its reason.
    #[error("{0}")]
    Other(String),
}

impl From<Violation> for EvalError {
    fn from(v: Violation) -> EvalError {
        EvalError::Rule(Box::new(v))
    }
}

impl EvalError {
    /// As the broken rule of an op, if it is about extents.
    pub fn of_op(self, op: &dyn OpDef, operands: &[&Type]) -> EvalError {
        match self {
            EvalError::BadDim(_) => {
                violation(op, operands, self.to_string(), format!("an extent from 0 to {}", i64::MAX)).into()
            }
            other => other,
        }
    }
}

/// Why a primitive has no derivative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotDifferentiable(pub &'static str);
