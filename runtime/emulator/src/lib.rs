//! CUDA's driver, NVRTC and the products of cuBLASLt on the processor, for tests: the very code that runs on a GPU runs here.
//!
//! The libraries are C++ that g++ builds at first use, and keeps. [`install`] loads them under the names that `cudarc` looks
//! for, so it must come before anything else that asks for CUDA. Programs are compiled by g++ too: text that is written in
//! what `shim.h` offers, with its kernels declared by `TW_KERNEL`.
//!
//! It is stricter than a device, so that tests find what a device would hide:
//!
//! - What is enqueued runs when something asks for it, see [`Pace`]; threads go on in an order of choice, see [`Schedule`].
//! - Fresh memory, freed memory and shared memory are full of rubbish, and addresses come back from pools only, see [`set_reuse`].
//! - Memory around an allocation must stay as it is: else the process ends, with a message. What is farther away is an illegal
//!   address.
//! - Calls can be made to fail, see [`fail`] and [`break_device`].
//!
//! It does not say how fast anything is, and neither warps nor blocks ever run at the same time.
#![cfg(target_os = "linux")]

mod libraries;
mod skip;

pub use skip::skip;

use std::ffi::{CStr, CString, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Which thread of a block goes on where several can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The first one; blocks in order.
    FirstIn,
    /// The last one; blocks from the end, and so do branches of a graph.
    LastIn,
    /// One by chance, blocks too.
    Shuffled(u32),
}

/// When what is enqueued runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Not before something waits for it; whoever only asks whether it has run lets one thing run.
    Lazy,
    /// At once.
    Eager,
    /// By chance, some time between both.
    Chance(u32),
}

/// What has happened since [`reset`] or [`reset_counters`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counters {
    /// Calls that launch a kernel.
    pub launches: u64,
    /// Kernels that ran, those of graphs too.
    pub kernels: u64,
    pub graph_launches: u64,
    pub graph_instantiations: u64,
    pub graph_updates: u64,
    pub captures: u64,
    pub copies_to_device: u64,
    pub bytes_to_device: u64,
    pub copies_to_host: u64,
    pub bytes_to_host: u64,
    pub copies_on_device: u64,
    pub bytes_on_device: u64,
    pub sets: u64,
    pub stream_syncs: u64,
    pub event_syncs: u64,
    pub context_syncs: u64,
    pub modules: u64,
    pub allocations: u64,
    pub live_allocations: u64,
    pub live_bytes: u64,
    pub peak_bytes: u64,
    pub live_host_allocations: u64,
}

/// The libraries.
struct Loaded {
    driver: usize,
    compiler: usize,
}

static LOADED: OnceLock<Result<Loaded, String>> = OnceLock::new();

/// Makes the emulator the CUDA of this process, or says why that cannot be: there is no g++.
///
/// ```no_run
/// emulator::install()?;
/// emulator::set_memory(1 << 20);
/// # Ok::<(), String>(())
/// ```
pub fn install() -> Result<(), String> {
    let loaded = LOADED.get_or_init(|| {
        let folder = libraries::folder()?;
        let open = |name: &str| open(&folder.join(name));
        let (driver, compiler) = (open(libraries::DRIVER)?, open(libraries::COMPILER)?);
        open(libraries::PRODUCTS)?;
        Ok(Loaded { driver, compiler })
    });
    loaded.as_ref().map(|_| ()).map_err(String::clone)
}

/// As [`install`]; false, after [`skip`], where that cannot be.
///
/// ```
/// if emulator::ready() {
///     emulator::set_memory(1 << 20);
/// }
/// ```
pub fn ready() -> bool {
    install().map_err(|why| skip(&why)).is_ok()
}

/// Where the libraries are, which are built if they are not there yet: a process that finds it in its library path has the
/// emulator as its CUDA.
pub fn folder() -> Result<PathBuf, String> {
    libraries::folder()
}

/// Loads a library; whoever asks for its name later gets the same one.
fn open(path: &Path) -> Result<usize, String> {
    let name = CString::new(path.to_string_lossy().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: the library is ours; it does nothing as it is loaded.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        // SAFETY: after a failure it is a text, which is copied at once.
        let why = unsafe { CStr::from_ptr(libc::dlerror()) };
        return Err(why.to_string_lossy().into_owned());
    }
    Ok(library.expose_provenance())
}

fn function(of: impl Fn(&Loaded) -> usize, name: &CStr) -> *mut c_void {
    let loaded = LOADED.get().and_then(|l| l.as_ref().ok()).expect("the emulator is installed");
    // SAFETY: the library stays loaded.
    let found = unsafe { libc::dlsym(std::ptr::with_exposed_provenance_mut(of(loaded)), name.as_ptr()) };
    assert!(!found.is_null(), "the emulator has no {name:?}");
    found
}

/// Calls a function of the driver library, of that type.
macro_rules! control {
    ($name:literal, fn($($type:ty),*), $($value:expr),*) => {{
        let found = function(|l| l.driver, $name);
        // SAFETY: controls.h declares the function so.
        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*)>(found)($($value),*) }
    }};
}

/// Keeps other tests of the process, which ask for the same, from the emulator's settings and counters; these are as in the
/// beginning, now and when it goes away.
pub fn alone() -> Alone {
    static LOCK: Mutex<()> = Mutex::new(());
    let held = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    reset();
    Alone { _held: held }
}

/// See [`alone`].
pub struct Alone {
    _held: MutexGuard<'static, ()>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        reset();
    }
}

/// Says in which order threads run from now on.
pub fn set_schedule(schedule: Schedule) {
    let (order, seed) = match schedule {
        Schedule::FirstIn => (0, 0),
        Schedule::LastIn => (1, 0),
        Schedule::Shuffled(seed) => (2, seed),
    };
    control!(c"emulator_schedule", fn(c_int, c_uint), order, seed)
}

/// Says when what is enqueued from now on runs.
pub fn set_pace(pace: Pace) {
    let (pace, seed) = match pace {
        Pace::Lazy => (0, 0),
        Pace::Eager => (1, 0),
        Pace::Chance(seed) => (2, seed),
    };
    control!(c"emulator_pace", fn(c_int, c_uint), pace, seed)
}

/// How many devices there are for who initializes the driver from now on; at first 1.
pub fn set_devices(count: u32) {
    control!(c"emulator_devices", fn(c_int), count as c_int)
}

/// How much memory each device has; at first a GiB.
pub fn set_memory(bytes: u64) {
    control!(c"emulator_memory", fn(u64), bytes)
}

/// Whether a pool hands out freed memory again, at first true: to whoever asks for as many bytes, at once in the order of the
/// stream that freed it. Otherwise no address is used twice, and whoever uses freed memory finds an illegal address.
pub fn set_reuse(yes: bool) {
    control!(c"emulator_reuse", fn(c_int), c_int::from(yes))
}

/// How many multiprocessors each device has; at first 2.
pub fn set_multiprocessors(count: u32) {
    control!(c"emulator_multiprocessors", fn(c_int), count as c_int)
}

/// Lets the `nth` call (from 1) of that function from now on fail, with that `CUresult`. `kernel` and `copy` are not calls but
/// the nth kernel or copy that runs: then the device is broken, as with [`break_device`].
pub fn fail(function: &str, nth: u32, code: i32) {
    plan(function, nth, code, false);
}

/// The same, but from then on nearly every call on that device fails so, as after an illegal address.
pub fn break_device(function: &str, nth: u32, code: i32) {
    plan(function, nth, code, true);
}

fn plan(name: &str, nth: u32, code: i32, sticky: bool) {
    let name = CString::new(name).expect("no zero in a name");
    let at = name.as_ptr();
    control!(c"emulator_fail", fn(*const std::ffi::c_char, c_uint, c_int, c_int), at, nth, code, c_int::from(sticky))
}

/// What has happened.
pub fn counters() -> Counters {
    let mut counters = Counters::default();
    control!(c"emulator_counters_now", fn(*mut Counters), &mut counters);
    counters
}

/// Lets counters begin anew; memory that is live stays counted.
pub fn reset_counters() {
    control!(c"emulator_reset_counters", fn(),)
}

/// Runs what is enqueued, takes back what was set, and heals broken devices. Counters begin anew.
pub fn reset() {
    control!(c"emulator_reset", fn(),)
}

/// How often a compiler was started by this process; what is known from before needs none.
pub fn compilations() -> u32 {
    let found = function(|l| l.compiler, c"emulator_compilations");
    // SAFETY: nvrtc.cpp defines the function so.
    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_uint>(found)() }
}
