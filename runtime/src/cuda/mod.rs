//! NVIDIA GPUs: devices, their memory, and programs that run on them.
//!
//! All work of a device is in the order of one stream. Memory is allocated and freed in that order too, so that what a
//! call leaves behind may be used by the next before it has run. Data that is brought there in large parts comes on a
//! second stream, which the first waits for.
//!
//! CUDA's libraries are opened when the first device is asked for; a process that asks for none needs none of them.

mod blaslt;
mod cache;
mod checks;
mod fault;
mod gpu;
mod graph;
mod kernels;
mod loaded;
mod mark;
mod memory;
mod pinned;
mod product;
mod run;
mod sort;

pub(crate) use gpu::Gpu;
pub(crate) use graph::Replays;
pub(crate) use kernels::Kernels;
pub(crate) use mark::Mark;
pub(crate) use memory::Memory;
