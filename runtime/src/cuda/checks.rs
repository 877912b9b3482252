//! What the index checks of a call report.

use super::fault::Code;
use super::gpu::Gpu;
use super::memory::Memory;
use super::pinned::Pinned;
use crate::device::DeviceError;
use crate::error::ExecError;
use codegen::cuda::Status;
use cudarc::driver::{result, sys};

/// Where the statuses begin; before them is the word that says whether there is an offence.
const FIRST: usize = 64;

/// A status for each check of a program, for one call at a time.
pub(super) struct Checks {
    gpu: &'static Gpu,
    memory: Memory,
    sites: usize,
    /// Where the host reads the word.
    word: Pinned,
}

impl Drop for Checks {
    fn drop(&mut self) {
        // The word is freed after this, in this thread's context.
        _ = self.gpu.enter();
    }
}

impl Checks {
    /// As many statuses, without an offence.
    pub fn new(gpu: &'static Gpu, sites: usize) -> Result<Checks, ExecError> {
        let mut clean = vec![0u8; FIRST + sites * size_of::<Status>()];
        for slot in clean[FIRST..].chunks_exact_mut(size_of::<Status>()) {
            slot.copy_from_slice(&Status::NONE.to_bytes());
        }
        gpu.enter()?;
        let word = Pinned::new(FIRST).map_err(|e: Code| gpu.fault(e, "taking memory of the host"))?;
        Ok(Checks { gpu, memory: Memory::upload(gpu, &clean)?, sites, word })
    }

    /// The address of the word that says whether there is an offence.
    pub fn failed(&self) -> u64 {
        self.memory.address() as u64
    }

    /// The address of a status.
    pub fn status(&self, site: usize) -> u64 {
        self.failed() + (FIRST + site * size_of::<Status>()) as u64
    }

    /// Whether there is an offence among what a stream was asked for, which is done then.
    pub fn look(&self) -> Result<bool, DeviceError> {
        // SAFETY: the block is that large, and nobody else has it.
        let word = unsafe { std::slice::from_raw_parts_mut(self.word.address(), 4) };
        let from = self.failed() as sys::CUdeviceptr;
        // SAFETY: both have four bytes and live until the copy is done, which is waited for.
        unsafe { result::memcpy_dtoh_async(word, from, self.gpu.compute) }
            .map_err(|e| self.gpu.fault(e.0, "reading whether an index is out of range"))?;
        self.gpu.wait(self.gpu.compute)?;
        Ok(word.iter().any(|&b| b != 0))
    }

    /// The offence of the first task among those of each check: its number, and what it reports.
    pub fn offences(&self) -> Result<Vec<(usize, Status)>, ExecError> {
        let mut bytes = vec![0u8; self.memory.len()];
        self.memory.download(&mut bytes)?;
        let statuses = bytes[FIRST..].chunks_exact(size_of::<Status>()).map(Status::from_bytes);
        Ok(statuses.enumerate().take(self.sites).filter(|(_, s)| s.is_set()).collect())
    }
}
