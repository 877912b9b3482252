//! Points in the work of a device.

use super::{Device, DeviceError};
use crate::cuda;
use std::fmt;
use std::time::{Duration, Instant};

/// A point in what a device was asked to do, which it passes once all that was asked for before is done. What lies between two
/// of them is what the device worked on, however long the calls took that asked for it.
///
/// ```
/// use runtime::Device;
/// let device = Device::Cpu;
/// let before = device.mark()?;
/// // … calls …
/// let after = device.mark()?;
/// println!("{:?} on {}", after.since(&before)?, after.device());
/// # Ok::<(), runtime::DeviceError>(())
/// ```
pub struct Mark {
    device: Device,
    at: At,
}

enum At {
    Host(Instant),
    Device(cuda::Mark),
}

impl Device {
    /// Marks what was asked of it so far. On the processor calls are done when they return, and so is the mark.
    pub fn mark(self) -> Result<Mark, DeviceError> {
        let at = match self {
            Device::Cpu => At::Host(Instant::now()),
            Device::Cuda(n) => At::Device(cuda::Gpu::get(n)?.mark()?),
        };
        Ok(Mark { device: self, at })
    }
}

impl Mark {
    /// The device whose work it marks.
    pub fn device(&self) -> Device {
        self.device
    }

    /// True once the device has passed it. Does not wait.
    pub fn is_passed(&self) -> Result<bool, DeviceError> {
        match &self.at {
            At::Host(_) => Ok(true),
            At::Device(mark) => mark.is_passed(),
        }
    }

    /// Waits until the device has passed it.
    pub fn wait(&self) -> Result<(), DeviceError> {
        match &self.at {
            At::Host(_) => Ok(()),
            At::Device(mark) => mark.wait(),
        }
    }

    /// How long after another mark the device passed this one, by its own clock; nothing if it was before. Waits for both.
    ///
    /// # Errors
    /// The marks are of different devices, or the device has failed.
    pub fn since(&self, earlier: &Mark) -> Result<Duration, DeviceError> {
        match (&self.at, &earlier.at) {
            (At::Host(to), At::Host(from)) => Ok(to.saturating_duration_since(*from)),
            (At::Device(to), At::Device(from)) if self.device == earlier.device => to.since(from),
            _ => Err(self.device.error(format_args!("a mark of {} is not on its clock", earlier.device))),
        }
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({})", self.device)
    }
}
