//! Running graphs: buffers, threads, the interpreter, executables, options.

pub mod array;
pub mod bounds;
pub mod buffer;
pub mod contract;
#[cfg_attr(not(feature = "cuda"), path = "cuda/absent.rs")]
mod cuda;
pub mod device;
pub mod error;
pub mod events;
pub mod executable;
pub mod interpreter;
pub mod options;
pub mod pool;
pub mod program_interpreter;
pub mod scratch;
mod signature;
pub mod sort;
pub mod stack;

pub use array::Array;
pub use device::{Device, DeviceError};
pub use error::ExecError;
pub use executable::{Executable, Input, Outputs, interpret};
