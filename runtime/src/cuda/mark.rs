//! Marks in the work of a device, with its time.

use super::gpu::Gpu;
use super::pinned::Event;
use crate::device::DeviceError;
use cudarc::driver::{result, sys};
use std::time::Duration;

/// See [`crate::device::Mark`].
pub(crate) struct Mark {
    gpu: &'static Gpu,
    event: Event,
}

impl Drop for Mark {
    fn drop(&mut self) {
        // The event is destroyed after this, in this thread's context.
        _ = self.gpu.enter();
    }
}

// SAFETY: handles of the driver may be used by any thread.
unsafe impl Sync for Mark {}

impl Gpu {
    /// Marks what was asked for so far.
    pub fn mark(&'static self) -> Result<Mark, DeviceError> {
        self.enter()?;
        let event = Event::with_time().map_err(|e| self.fault(e, "cuEventCreate"))?;
        // SAFETY: event and stream are of this device.
        unsafe { result::event::record(event.0, self.compute) }.map_err(|e| self.fault(e.0, "cuEventRecord"))?;
        Ok(Mark { gpu: self, event })
    }
}

impl Mark {
    pub fn is_passed(&self) -> Result<bool, DeviceError> {
        self.gpu.enter()?;
        // SAFETY: the event was recorded.
        match unsafe { result::event::query(self.event.0) } {
            Ok(()) => Ok(true),
            Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            Err(e) => Err(self.gpu.fault(e.0, "running what was asked of it")),
        }
    }

    pub fn wait(&self) -> Result<(), DeviceError> {
        self.gpu.enter()?;
        // SAFETY: the event was recorded.
        unsafe { result::event::synchronize(self.event.0) }
            .map_err(|e| self.gpu.fault(e.0, "running what was asked of it"))
    }

    /// Both are of one device.
    pub fn since(&self, earlier: &Mark) -> Result<Duration, DeviceError> {
        earlier.wait()?;
        self.wait()?;
        // SAFETY: both were recorded, with their times.
        let milliseconds = unsafe { result::event::elapsed(earlier.event.0, self.event.0) }
            .map_err(|e| self.gpu.fault(e.0, "cuEventElapsedTime"))?;
        Ok(Duration::try_from_secs_f32(milliseconds / 1e3).unwrap_or_default())
    }
}
