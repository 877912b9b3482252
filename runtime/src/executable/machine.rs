//! What runs the steps of a program: the processor or a GPU.

use super::bind::Bound;
use super::{Compiled, cpu};
use crate::array::Array;
use crate::contract::{self, Matmul};
use crate::cuda;
use crate::device::Device;
use crate::error::ExecError;
use crate::sort::{self, Rows};
use codegen::cpu::CompiledKernel;
use ir::DType;
use std::sync::Arc;

/// A program's kernels on a machine.
pub(crate) enum Machine {
    Cpu(cpu::Kernels),
    Cuda(cuda::Kernels),
}

/// What a launch needs to know of a kernel, for extents.
pub(crate) struct LaunchSize {
    /// Tasks of all nests.
    pub tasks: u64,
    /// Their work, in additions, roughly.
    pub work: u64,
    /// Bytes of working memory of a part of the machine.
    pub scratch: usize,
}

impl Machine {
    pub fn device(&self) -> Device {
        match self {
            Machine::Cpu(_) => Device::Cpu,
            Machine::Cuda(k) => k.device(),
        }
    }

    /// Machine code for the processor, if that is what it is.
    pub fn cpu(&self) -> &[Arc<CompiledKernel>] {
        match self {
            Machine::Cpu(k) => &k.0,
            Machine::Cuda(_) => &[],
        }
    }

    /// What kernels are written in on their way to the machine, where that was kept: a name of the kind, and the text.
    pub fn texts(&self, kernel: usize) -> Vec<(&'static str, &str)> {
        match self {
            Machine::Cpu(k) => {
                let kernel = &k.0[kernel];
                let texts = [("clif", kernel.clif()), ("asm", kernel.disassembly())];
                texts.into_iter().filter_map(|(kind, text)| Some((kind, text?))).collect()
            }
            Machine::Cuda(k) => k.texts(kernel),
        }
    }

    /// A line on a kernel.
    pub fn describe(&self, kernel: usize) -> String {
        match self {
            Machine::Cpu(k) => {
                let kernel = &k.0[kernel];
                format!("{} bytes of code, compiled in {:.1?}", kernel.code_size(), kernel.compile_time())
            }
            Machine::Cuda(k) => k.describe(kernel),
        }
    }

    /// `None` if a number overflows.
    pub fn launch(&self, kernel: usize, extents: &[i64]) -> Option<LaunchSize> {
        match self {
            Machine::Cpu(k) => k.launch(kernel, extents),
            Machine::Cuda(k) => k.launch(kernel, extents),
        }
    }

    /// Bytes of working memory for a product, whose pointers do not matter.
    pub fn product_scratch(&self, product: &Matmul) -> usize {
        match self {
            Machine::Cpu(_) => contract::library().scratch_bytes(product),
            Machine::Cuda(k) => k.product_scratch(product),
        }
    }

    /// Bytes of working memory for a sort, whose pointers do not matter.
    pub fn sort_scratch(&self, rows: &Rows) -> usize {
        match self {
            Machine::Cpu(_) => sort::library().scratch_bytes(rows),
            Machine::Cuda(k) => k.sort_scratch(rows),
        }
    }

    /// A tensor with unspecified elements.
    pub fn uninit(&self, dtype: DType, dims: &[usize]) -> Result<Array, ExecError> {
        match self {
            Machine::Cpu(_) => Array::uninit(dtype, dims),
            Machine::Cuda(k) => Array::uninit_on(k.device(), dtype, dims),
        }
    }

    /// Runs a program over buffers at those addresses; those of the arena are its own business.
    pub fn run(&self, compiled: &Compiled, bound: &Bound, pointers: &mut [*mut u8]) -> Result<(), ExecError> {
        match self {
            Machine::Cpu(k) => k.run(compiled, bound, pointers),
            Machine::Cuda(k) => k.run(compiled, bound, pointers),
        }
    }
}
