//! Running graphs: buffers, threads, the interpreter, executables, options.

pub mod error;
pub mod interpreter;

pub use error::ExecError;
pub use interpreter::interpret;
