//! ONNX models: what is done with them, and what is wrong with files and inputs.

mod attributes;
mod bad;
#[cfg(feature = "cuda")]
mod device;
mod exact;
mod file;
mod page;
mod segments;
mod used;
