//! Devices.

use super::fault::{Code, Journal, described, outcome};
use super::graph::Recordings;
use super::pinned::{Pinned, Pool};
use super::product::Products;
use crate::device::{Device, DeviceError, DeviceMemory};
use codegen::cuda::nvrtc::Arch;
use cudarc::driver::{result, sys};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Devices that a process can have open.
const MOST: usize = 64;
/// The oldest driver that will do, as it counts: CUDA 12.8, which has all functions that are asked for.
const OLDEST_DRIVER: i32 = 12_080;
/// The oldest architecture that will do: what kernels are written in needs it.
const OLDEST_ARCH: (u32, u32) = (7, 0);

/// An NVIDIA GPU.
pub(crate) struct Gpu {
    number: usize,
    name: String,
    arch: Arch,
    multiprocessors: u32,
    context: sys::CUcontext,
    pool: sys::CUmemoryPool,
    /// Everything that is computed, in order.
    pub(super) compute: sys::CUstream,
    /// What comes from the host in large parts.
    pub(super) transfers: sys::CUstream,
    /// Where work is recorded, by one at a time.
    recorder: Mutex<Stream>,
    /// The number of the last step that began.
    progress: Pinned,
    pub(super) journal: Journal,
    /// The failure after which it cannot be used.
    pub(super) lost: OnceLock<String>,
    pub(super) pinned: Pool,
    pub(super) recordings: Recordings,
    products: OnceLock<Products>,
    /// Bytes that tensors and running calls hold.
    pub(super) used: AtomicU64,
}

/// Why there is no memory, or what else is wrong.
pub(super) enum Shortfall {
    Code(Code),
    /// The device failed meanwhile.
    Device(DeviceError),
}

impl Shortfall {
    /// The error of what was done.
    pub fn fault(self, gpu: &Gpu, doing: impl fmt::Display) -> DeviceError {
        match self {
            Shortfall::Code(code) => gpu.fault(code, doing),
            Shortfall::Device(e) => e,
        }
    }
}

/// A stream of the driver.
pub(super) struct Stream(pub sys::CUstream);

// SAFETY: handles of the driver may be used by any thread.
unsafe impl Send for Stream {}
// SAFETY: as above; what is behind the pointers is the driver's, which has its own locks.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({}, {})", self.number, self.name)
    }
}

/// The number of devices, once the driver is found.
fn driver() -> Result<usize, String> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    let look = || -> Result<usize, String> {
        // SAFETY: looks whether a library can be opened.
        if !unsafe { sys::is_culib_present() } {
            return Err("NVIDIA's driver is not installed: libcuda.so.1 cannot be opened".into());
        }
        let failed = |what: &str, e: result::DriverError| format!("{what} fails: {}", described(e.0));
        result::init().map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_NO_DEVICE => "there is no NVIDIA GPU".into(),
            _ => failed("cuInit", e),
        })?;
        let mut version = 0;
        // SAFETY: the driver writes a number.
        outcome(unsafe { sys::cuDriverGetVersion(&raw mut version) })
            .map_err(|e| failed("cuDriverGetVersion", result::DriverError(e)))?;
        if version < OLDEST_DRIVER {
            let dotted = |v: i32| format!("{}.{}", v / 1000, v % 1000 / 10);
            let (has, needs) = (dotted(version), dotted(OLDEST_DRIVER));
            return Err(format!("NVIDIA's driver is too old: it knows CUDA {has}, and {needs} is needed"));
        }
        let count = result::device::get_count().map_err(|e| failed("cuDeviceGetCount", e))?;
        Ok(usize::try_from(count).unwrap_or(0))
    };
    // The bindings panic where a library lacks a function.
    let careful = || {
        catch_unwind(AssertUnwindSafe(look))
            .unwrap_or_else(|_| Err("NVIDIA's driver lacks a function that is needed".into()))
    };
    FOUND.get_or_init(careful).clone()
}

impl Gpu {
    /// The number of devices.
    pub fn count() -> Result<usize, DeviceError> {
        driver().map_err(|why| Device::Cuda(0).error(why))
    }

    /// The device of that number, opened if it is not yet.
    pub fn get(number: usize) -> Result<&'static Gpu, DeviceError> {
        static OPEN: [OnceLock<Result<Gpu, DeviceError>>; MOST] = [const { OnceLock::new() }; MOST];
        let Some(slot) = OPEN.get(number) else {
            return Err(Device::Cuda(number).error(format_args!("numbers go to {}", MOST - 1)));
        };
        let open = || {
            let count = driver().map_err(|why| Device::Cuda(number).error(why))?;
            if number >= count {
                let there = if count == 1 { "there is one GPU".into() } else { format!("there are {count} GPUs") };
                return Err(Device::Cuda(number).error(format_args!("{there}, numbered from 0")));
            }
            catch_unwind(|| Gpu::open(number))
                .unwrap_or_else(|_| Err((sys::CUresult::CUDA_ERROR_NOT_FOUND, "the driver lacks a function")))
                .map_err(|(code, doing)| Device::Cuda(number).error(format_args!("{doing}: {}", described(code))))
        };
        slot.get_or_init(open).as_ref().map_err(Clone::clone)
    }

    fn open(number: usize) -> Result<Gpu, (Code, &'static str)> {
        let doing = |what: &'static str| move |e: result::DriverError| (e.0, what);
        let device = result::device::get(number as i32).map_err(doing("cuDeviceGet"))?;
        let name = result::device::get_name(device).map_err(doing("cuDeviceGetName"))?;
        let attribute = |a: sys::CUdevice_attribute| {
            // SAFETY: the device is one of the driver's.
            let value = unsafe { result::device::get_attribute(device, a) };
            value.map(|n| n as u32).map_err(doing("cuDeviceGetAttribute"))
        };
        use sys::CUdevice_attribute::*;
        let major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        if (major, minor) < OLDEST_ARCH {
            return Err((sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU, "the GPU is older than compute capability 7.0"));
        }
        if attribute(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? == 0 {
            return Err((sys::CUresult::CUDA_ERROR_NOT_SUPPORTED, "the GPU has no pools of memory"));
        }
        // SAFETY: the device is one of the driver's; the context is never released, as devices stay open.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(doing("cuDevicePrimaryCtxRetain"))?;
        // SAFETY: the context was just retained.
        unsafe { result::ctx::set_current(context) }.map_err(doing("cuCtxSetCurrent"))?;
        let stream =
            || result::stream::create(result::stream::StreamKind::NonBlocking).map_err(doing("cuStreamCreate"));
        // SAFETY: the device is one of the driver's.
        let pool =
            unsafe { result::device::get_default_mem_pool(device) }.map_err(doing("cuDeviceGetDefaultMemPool"))?;
        // Freed memory stays with the process: to ask the system for it again costs more than most calls.
        let mut all = u64::MAX;
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: the attribute is a u64.
        outcome(unsafe { sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut all).cast()) })
            .map_err(|e| (e, "cuMemPoolSetAttribute"))?;
        let progress = Pinned::new(64).map_err(|e| (e, "cuMemHostAlloc"))?;
        progress.clear();
        Ok(Gpu {
            number,
            name,
            arch: Arch { major, minor },
            multiprocessors,
            context,
            pool,
            compute: stream()?,
            transfers: stream()?,
            recorder: Mutex::new(Stream(stream()?)),
            progress,
            journal: Journal::default(),
            lost: OnceLock::new(),
            pinned: Pool::default(),
            recordings: Recordings::default(),
            products: OnceLock::new(),
            used: AtomicU64::new(0),
        })
    }

    pub fn number(&self) -> usize {
        self.number
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What its code is compiled for.
    pub fn arch(&self) -> Arch {
        self.arch
    }
    pub fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// Makes this thread's calls of the driver calls for this device.
    pub(super) fn enter(&self) -> Result<(), DeviceError> {
        self.alive()?;
        // SAFETY: the context is never released.
        unsafe { result::ctx::set_current(self.context) }.map_err(|e| self.fault(e.0, "cuCtxSetCurrent"))
    }

    /// Waits until everything that was asked of it is done.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.enter()?;
        for stream in [self.transfers, self.compute] {
            self.wait(stream)?;
        }
        Ok(())
    }

    /// Waits until a stream is empty.
    pub(super) fn wait(&self, stream: sys::CUstream) -> Result<(), DeviceError> {
        // SAFETY: the stream is one of this device, which are never destroyed.
        unsafe { result::stream::synchronize(stream) }.map_err(|e| self.fault(e.0, "running what was asked of it"))
    }

    /// What multiplies matrices. The library behind it is opened when it is first asked for.
    pub(super) fn products(&self) -> &Products {
        self.products.get_or_init(|| match self.enter() {
            Ok(()) => Products::new(),
            // Nothing will be multiplied.
            Err(_) => Products::own(),
        })
    }

    /// The stream to record work on. Nobody else records meanwhile.
    pub(super) fn recorder(&self) -> MutexGuard<'_, Stream> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of the word that gets the number of the step that begins.
    pub(super) fn progress_word(&self) -> u64 {
        self.progress.address() as u64
    }

    /// The number of the last step that began, if any did.
    pub(super) fn progress(&self) -> Option<u32> {
        // SAFETY: the memory is the host's, of more than a word, and aligned; the device may write it meanwhile.
        let number = unsafe { self.progress.address().cast::<u32>().read_volatile() };
        (number != 0).then_some(number)
    }

    /// Gives memory that nobody holds back to the system.
    pub(super) fn trim(&self) -> Result<(), DeviceError> {
        self.synchronize()?;
        // SAFETY: the pool is the device's own.
        unsafe { result::mem_pool::trim_to(self.pool, 0) }.map_err(|e| self.fault(e.0, "cuMemPoolTrimTo"))
    }

    /// Tries what takes memory; if there is none, again with what the pool has free, and then with what recordings keep for
    /// speed.
    pub(super) fn with_memory<T>(&self, attempt: impl Fn() -> Result<T, result::DriverError>) -> Result<T, Shortfall> {
        const SHORT: Code = Code::CUDA_ERROR_OUT_OF_MEMORY;
        let attempt = || attempt().map_err(|e| e.0);
        let mut outcome = attempt();
        if matches!(outcome, Err(SHORT)) {
            self.trim().map_err(Shortfall::Device)?;
            outcome = attempt();
        }
        if matches!(outcome, Err(SHORT)) && self.recordings.give_back() > 0 {
            self.trim().map_err(Shortfall::Device)?;
            outcome = attempt();
        }
        outcome.map_err(Shortfall::Code)
    }

    /// Its memory.
    pub fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        self.enter()?;
        let (free, total) = result::mem_get_info().map_err(|e| self.fault(e.0, "cuMemGetInfo"))?;
        Ok(DeviceMemory { total: total as u64, free: free as u64, used: self.used.load(Relaxed) })
    }
}
