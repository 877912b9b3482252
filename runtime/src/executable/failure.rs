//! Why a graph did not become machine code, which decides what happens then.

use crate::error::ExecError;
use codegen::cpu::CompileError;
use passes::PassError;
use passes::lower::LowerError;

/// A failed compilation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The interpreter could not do it either: the caller gets the error.
    User(ExecError),
    /// There is no code for it here: the interpreter runs it.
    Refused(String),
    /// A bug of ours: the interpreter runs it, and a reproducer is left.
    Bug(String),
}

impl From<PassError> for Failure {
    fn from(e: PassError) -> Failure {
        Failure::Bug(e.to_string())
    }
}

impl From<LowerError> for Failure {
    fn from(e: LowerError) -> Failure {
        match e {
            LowerError::TooLarge(_) | LowerError::Unsupported(_) => Failure::Refused(e.to_string()),
            LowerError::Bug(_) => Failure::Bug(e.to_string()),
        }
    }
}

impl From<CompileError> for Failure {
    fn from(e: CompileError) -> Failure {
        match e {
            CompileError::Host(_) | CompileError::Memory(_) | CompileError::Unsupported { .. } => {
                Failure::Refused(e.to_string())
            }
            CompileError::Malformed { .. } | CompileError::Bug { .. } => Failure::Bug(e.to_string()),
        }
    }
}

impl From<ExecError> for Failure {
    fn from(e: ExecError) -> Failure {
        match e {
            ExecError::Argument(_) | ExecError::Op { .. } | ExecError::Memory(_) | ExecError::Device(_) => {
                Failure::User(e)
            }
            ExecError::Bug(_) => Failure::Bug(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_got_wrong_is_a_bug() {
        let refused = |f: Failure| matches!(f, Failure::Refused(_));
        assert!(refused(CompileError::Host("only x86-64".into()).into()));
        assert!(refused(CompileError::Memory("none".into()).into()));
        assert!(refused(LowerError::TooLarge("a group".into()).into()));
        assert!(refused(LowerError::Unsupported("that".into()).into()));
        assert!(matches!(Failure::from(LowerError::Bug("that".into())), Failure::Bug(_)));
        assert!(matches!(Failure::from(ExecError::Bug("that".into())), Failure::Bug(_)));
        let memory = ExecError::memory("the plan is larger than the address space");
        assert_eq!(Failure::from(memory.clone()), Failure::User(memory));
    }
}
