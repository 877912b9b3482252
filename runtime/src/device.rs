//! Where tensors live and programs run.

mod mark;

pub use mark::Mark;

use crate::cuda::Gpu;
use crate::options;
use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

/// Where a tensor lives and is computed with.
///
/// ```
/// use runtime::Device;
/// assert_eq!("cuda:1".parse::<Device>()?, Device::Cuda(1));
/// assert_eq!(Device::Cpu.to_string(), "cpu");
/// # Ok::<(), runtime::device::UnknownDevice>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor, with its memory.
    #[default]
    Cpu,
    /// The NVIDIA GPU of that number, which may not be there: [`Device::cuda`] looks.
    Cuda(usize),
}

/// A device that is not there, or that has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{device}: {message}")]
pub struct DeviceError {
    /// Which.
    pub device: Device,
    /// What is wrong with it.
    pub message: String,
    /// False if the process cannot use the device any more.
    pub usable: bool,
}

/// The memory of a device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    /// All of it.
    pub total: u64,
    /// What no process holds.
    pub free: u64,
    /// What tensors and running calls of this process hold.
    pub used: u64,
}

impl Device {
    /// The NVIDIA GPU of that number.
    ///
    /// # Errors
    /// One line that says why there is none: the feature `cuda` is not compiled in, the driver is not installed, or there
    /// are fewer GPUs.
    pub fn cuda(number: usize) -> Result<Device, DeviceError> {
        Gpu::get(number).map(|_| Device::Cuda(number))
    }

    /// The number of NVIDIA GPUs. The errors are those of [`Device::cuda`].
    pub fn cuda_count() -> Result<usize, DeviceError> {
        Gpu::count()
    }

    /// What its maker calls it.
    pub fn name(self) -> Result<String, DeviceError> {
        match self {
            Device::Cpu => Ok("cpu".into()),
            Device::Cuda(n) => Ok(Gpu::get(n)?.name().into()),
        }
    }

    /// Waits until everything that was asked of it is done. Reading a tensor does so by itself.
    pub fn synchronize(self) -> Result<(), DeviceError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Cuda(n) => Gpu::get(n)?.synchronize(),
        }
    }

    /// Its memory; of the processor nothing is known here.
    pub fn memory(self) -> Result<DeviceMemory, DeviceError> {
        match self {
            Device::Cpu => Ok(DeviceMemory::default()),
            Device::Cuda(n) => Gpu::get(n)?.memory(),
        }
    }

    /// Calls `f` with this device as the one that new tensors of this thread are made on.
    ///
    /// ```
    /// use runtime::{Device, device};
    /// assert_eq!(Device::Cpu.scope(device::current)?, Device::Cpu);
    /// # Ok::<(), runtime::options::OptionsError>(())
    /// ```
    pub fn scope<R>(self, f: impl FnOnce() -> R) -> R {
        struct Leave(Option<Device>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _leave = Leave(CURRENT.replace(Some(self)));
        f()
    }

    pub(crate) fn error(self, message: impl fmt::Display) -> DeviceError {
        DeviceError { device: self, message: message.to_string(), usable: true }
    }
}

thread_local! {
    static CURRENT: Cell<Option<Device>> = const { Cell::new(None) };
}

/// The device that new tensors of this thread are made on: that of the innermost [`Device::scope`], or else of the options.
pub fn current() -> Result<Device, options::OptionsError> {
    match CURRENT.get() {
        Some(device) => Ok(device),
        None => options::read(|o| o.device),
    }
}

/// As [`current`], under options that are known to be in force.
pub fn under(options: &options::Options) -> Device {
    CURRENT.get().unwrap_or(options.device)
}

/// A text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of cpu, cuda, cuda:N")]
pub struct UnknownDevice(String);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Device, UnknownDevice> {
        let number = match text {
            "cpu" => return Ok(Device::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        number.map(Device::Cuda).ok_or_else(|| UnknownDevice(text.into()))
    }
}
