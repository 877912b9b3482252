//! Working memory of the threads of one call.

use crate::buffer::{ALIGN, AllocError, Buffer};

/// A part of memory for each of some threads. A call takes it before its first step, so that no step can fail for want
/// of it.
#[derive(Debug)]
pub struct Scratch {
    memory: Option<Buffer>,
    part: usize,
    threads: usize,
}

impl Scratch {
    /// Parts of at least `bytes` for each of `threads` threads.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub fn new(threads: usize, bytes: usize) -> Result<Scratch, AllocError> {
        let part = bytes.checked_next_multiple_of(ALIGN);
        let all = part.and_then(|part| part.checked_mul(threads)).ok_or_else(|| AllocError::new(usize::MAX))?;
        let memory = if all == 0 { None } else { Some(Buffer::try_alloc(all)?) };
        Ok(Scratch { memory, part: part.unwrap_or(0), threads })
    }

    /// The number of parts.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of each part.
    pub fn bytes(&self) -> usize {
        self.part
    }

    /// The part of a thread.
    pub fn of(&self, thread: usize) -> *mut u8 {
        debug_assert!(thread < self.threads);
        let first = self.memory.as_ref().map_or(std::ptr::without_provenance_mut(ALIGN), Buffer::ptr);
        first.wrapping_add(thread * self.part)
    }
}
