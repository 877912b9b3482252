//! Memory of the host that devices read and write by themselves.

use super::fault::Code;
use super::gpu::Gpu;
use crate::device::DeviceError;
use cudarc::driver::{result, sys};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Bytes of a block through which large data goes.
pub(super) const BLOCK: usize = 4 << 20;
/// Blocks that may be on their way at a time.
const MOST: usize = 8;

/// A block of such memory.
pub(super) struct Pinned {
    address: *mut u8,
    len: usize,
}

// SAFETY: plain memory; who writes through the address answers for it.
unsafe impl Send for Pinned {}
// SAFETY: as above.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// A block with unspecified contents, for the context of this thread and all others.
    pub fn new(len: usize) -> Result<Pinned, Code> {
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: the block is freed once, when it is dropped.
        let address = unsafe { result::malloc_host(len, flags) }.map_err(|e| e.0)?;
        Ok(Pinned { address: address.cast(), len })
    }

    /// For the host and, as all memory has one space of addresses, for the device.
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// Sets it to zero.
    pub fn clear(&self) {
        // SAFETY: the block has that many bytes; no device knows of it yet.
        unsafe { self.address.write_bytes(0, self.len) };
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the block came from the same allocator. A failure leaves it where it is.
        _ = unsafe { result::free_host(self.address.cast()) };
    }
}

/// A mark in a stream.
pub(super) struct Event(pub sys::CUevent);

// SAFETY: handles of the driver may be used by any thread.
unsafe impl Send for Event {}

impl Event {
    pub fn new() -> Result<Event, Code> {
        result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map(Event).map_err(|e| e.0)
    }

    /// One that knows when it was passed.
    pub fn with_time() -> Result<Event, Code> {
        result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map(Event).map_err(|e| e.0)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle.
        _ = unsafe { result::event::destroy(self.0) };
    }
}

/// Blocks through which large data goes to a device.
#[derive(Default)]
pub(super) struct Pool(Mutex<Blocks>);

#[derive(Default)]
struct Blocks {
    free: Vec<Pinned>,
    /// On their way, the oldest first, until the mark is passed.
    busy: VecDeque<(Event, Pinned)>,
}

impl Gpu {
    /// A block of [`BLOCK`] bytes. Waits for one if all are on their way.
    pub(super) fn take_block(&self) -> Result<Pinned, DeviceError> {
        let mut blocks = self.pinned.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.free.pop() {
            return Ok(block);
        }
        if let Some((mark, _)) = blocks.busy.front() {
            // SAFETY: the mark is set in a stream of this device.
            let passed = match unsafe { result::event::query(mark.0) } {
                Ok(()) => true,
                Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NOT_READY => false,
                Err(e) => return Err(self.fault(e.0, "moving data there")),
            };
            if passed || blocks.busy.len() >= MOST {
                if !passed {
                    // SAFETY: as above.
                    unsafe { result::event::synchronize(mark.0) }.map_err(|e| self.fault(e.0, "moving data there"))?;
                }
                if let Some((_, block)) = blocks.busy.pop_front() {
                    return Ok(block);
                }
            }
        }
        Pinned::new(BLOCK).map_err(|e| self.fault(e, "taking memory of the host to move data through"))
    }

    /// Gives a block back, for when the stream has come so far. The mark stays with it, and is for others to wait for.
    pub(super) fn return_block(&self, block: Pinned, stream: sys::CUstream) -> Result<(), DeviceError> {
        let marked = Event::new().and_then(|mark| {
            // SAFETY: both are of this device.
            unsafe { result::event::record(mark.0, stream) }.map(|()| mark).map_err(|e| e.0)
        });
        let mark = marked.map_err(|e| {
            // The block goes away, and the stream may still use it.
            _ = self.wait(stream);
            self.fault(e, "marking how far data has come")
        })?;
        self.pinned.0.lock().unwrap_or_else(PoisonError::into_inner).busy.push_back((mark, block));
        Ok(())
    }

    /// Gives a block back that no stream uses.
    pub(super) fn free_block(&self, block: Pinned) {
        self.pinned.0.lock().unwrap_or_else(PoisonError::into_inner).free.push(block);
    }
}
