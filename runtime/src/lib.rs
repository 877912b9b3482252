//! Running graphs: buffers, threads, the interpreter, executables, options.

pub mod buffer;
pub mod error;
pub mod interpreter;
pub mod pool;

pub use error::ExecError;
pub use interpreter::interpret;
