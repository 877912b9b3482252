//! Memory of a device.

use super::gpu::{Gpu, Shortfall};
use super::pinned::{BLOCK, Event};
use crate::device::{Device, DeviceError};
use crate::error::ExecError;
use cudarc::driver::{result, sys};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes up to which data goes to the device in the order of everything else: the driver copies it at once.
const SMALL: usize = 64 << 10;

/// Shared ownership of memory of a device. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Block>);

#[derive(Debug)]
struct Block {
    gpu: &'static Gpu,
    /// Not allocated if there are no bytes.
    address: sys::CUdeviceptr,
    len: usize,
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        self.gpu.used.fetch_sub(self.len as u64, Relaxed);
        // A device that has failed keeps what it has.
        if self.gpu.enter().is_ok() {
            // SAFETY: this was the last owner; what still waits to use the memory is earlier in the same order. A failure
            // leaves it where it is.
            _ = unsafe { result::free_async(self.address, self.gpu.compute) };
        }
    }
}

impl Memory {
    /// Memory with unspecified contents.
    pub fn uninit(gpu: &'static Gpu, len: usize) -> Result<Memory, ExecError> {
        Memory::on(gpu, len, gpu.compute)
    }

    /// For first use in the order of a stream.
    fn on(gpu: &'static Gpu, len: usize, stream: sys::CUstream) -> Result<Memory, ExecError> {
        if len == 0 {
            return Ok(Memory(Arc::new(Block { gpu, address: 0, len })));
        }
        gpu.enter()?;
        // SAFETY: the stream is one of the device.
        let address = gpu.with_memory(|| unsafe { result::malloc_async(stream, len) }).map_err(|e| match e {
            Shortfall::Code(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) => shortage(gpu, len),
            e => e.fault(gpu, format_args!("allocating {len} bytes")).into(),
        })?;
        gpu.used.fetch_add(len as u64, Relaxed);
        Ok(Memory(Arc::new(Block { gpu, address, len })))
    }

    /// Memory with a copy of those bytes, which may still be on their way.
    pub fn upload(gpu: &'static Gpu, bytes: &[u8]) -> Result<Memory, ExecError> {
        if bytes.len() <= SMALL {
            let memory = Memory::uninit(gpu, bytes.len())?;
            if !bytes.is_empty() {
                // SAFETY: the memory has as many bytes; the driver reads those of the host before it returns.
                unsafe { result::memcpy_htod_async(memory.0.address, bytes, gpu.compute) }
                    .map_err(|e| gpu.fault(e.0, "copying data there"))?;
            }
            return Ok(memory);
        }
        let memory = Memory::on(gpu, bytes.len(), gpu.transfers)?;
        match memory.fill(bytes) {
            Ok(()) => Ok(memory),
            Err(e) => {
                // What is under way still writes to it.
                _ = gpu.wait(gpu.transfers);
                Err(e.into())
            }
        }
    }

    /// Brings bytes there through pinned blocks, on the second stream; the first waits for them.
    fn fill(&self, bytes: &[u8]) -> Result<(), DeviceError> {
        let gpu = self.0.gpu;
        for (i, part) in bytes.chunks(BLOCK).enumerate() {
            let block = gpu.take_block()?;
            // SAFETY: the block has room for a part, and nobody else has it.
            let staged = unsafe {
                block.address().copy_from_nonoverlapping(part.as_ptr(), part.len());
                std::slice::from_raw_parts(block.address(), part.len())
            };
            // SAFETY: the memory has room for all parts; the block is not used again before the copy is done.
            unsafe { result::memcpy_htod_async(self.0.address + (i * BLOCK) as u64, staged, gpu.transfers) }
                .map_err(|e| gpu.fault(e.0, "copying data there"))?;
            gpu.return_block(block, gpu.transfers)?;
        }
        // Whatever uses the memory is asked for later.
        let mark = Event::new().map_err(|e| gpu.fault(e, "cuEventCreate"))?;
        // SAFETY: mark and streams are of this device; the driver keeps the mark until the wait is over.
        let waits = unsafe {
            result::event::record(mark.0, gpu.transfers).and_then(|()| {
                let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
                result::stream::wait_event(gpu.compute, mark.0, flags)
            })
        };
        waits.map_err(|e| gpu.fault(e.0, "waiting for data"))
    }

    /// Copies all bytes to the host, after everything that was asked for before.
    pub fn download(&self, to: &mut [u8]) -> Result<(), ExecError> {
        assert_eq!(to.len(), self.0.len, "as many bytes as there are");
        // SAFETY: the memory has as many bytes, and lives.
        unsafe { self.0.gpu.read(self.0.address, to) }.map_err(ExecError::from)
    }

    pub fn device(&self) -> Device {
        Device::Cuda(self.0.gpu.number())
    }

    /// The first byte; of no bytes, an address that nothing else has.
    pub fn address(&self) -> *mut u8 {
        match self.0.len {
            0 => Arc::as_ptr(&self.0) as *mut u8,
            _ => self.0.address as *mut u8,
        }
    }

    pub fn len(&self) -> usize {
        self.0.len
    }

    /// True if this is the only handle.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Gpu {
    /// Copies bytes to the host, after everything that was asked for before.
    ///
    /// # Safety
    /// There are as many bytes at the address.
    pub(super) unsafe fn read(&self, from: sys::CUdeviceptr, to: &mut [u8]) -> Result<(), DeviceError> {
        if to.is_empty() {
            return Ok(());
        }
        self.enter()?;
        for (i, part) in to.chunks_mut(BLOCK).enumerate() {
            let block = self.take_block()?;
            // SAFETY: the block has room for a part, and nobody else has it.
            let staged = unsafe { std::slice::from_raw_parts_mut(block.address(), part.len()) };
            // SAFETY: by the caller; the block lives until the copy is done.
            unsafe { result::memcpy_dtoh_async(staged, from + (i * BLOCK) as u64, self.compute) }
                .map_err(|e| self.fault(e.0, "copying data from there"))?;
            self.wait(self.compute)?;
            part.copy_from_slice(staged);
            self.free_block(block);
        }
        Ok(())
    }
}

fn shortage(gpu: &Gpu, len: usize) -> ExecError {
    let device = Device::Cuda(gpu.number());
    match gpu.memory() {
        Ok(m) => ExecError::memory(format_args!(
            "{device} has no {len} bytes: of {} bytes {} are free, and {} are in use by this process",
            m.total, m.free, m.used
        )),
        Err(_) => ExecError::memory(format_args!("{device} has no {len} bytes")),
    }
}
