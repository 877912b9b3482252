//! Files: tensors and graphs in formats that other programs read and write.
//!
//! Tensors have names: in a tree ([`Tree`](crate::Tree)) the path of each leaf, such as `hidden.weight`, and of each cell
//! ([`nn::Buffer`](crate::nn::Buffer), [`Generator`](crate::Generator)). What is wrong with a file is an
//! [`Error`](crate::Error) of [`Code::File`](crate::Code::File) that names it.

pub(crate) mod exported;
mod file;
mod fit;
pub mod npy;
pub mod npz;
pub mod onnx;
pub mod safetensors;

pub use exported::{Compared, Cost, Exported};
pub use fit::{Fit, Fitted};
