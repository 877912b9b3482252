//! Functions in the memory of a device.

use super::cache;
use super::fault::{Code, outcome};
use super::gpu::Gpu;
use crate::device::Device;
use crate::error::ExecError;
use crate::events::{self, Event};
use codegen::cuda::library::Routine;
use codegen::cuda::nvrtc::NvrtcError;
use codegen::cuda::{BLOCK, IndexWidth, Run, Source, SourceError};
use cudarc::driver::{result, sys};
use ir::kernel::Kernel;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Functions kept; beyond that the least recently used ones go.
const KEPT: usize = 4096;
/// The name of the function of every generated kernel.
const ENTRY: &str = "tw_kernel";

/// A function that can be launched.
pub(super) struct Function {
    gpu: &'static Gpu,
    module: sys::CUmodule,
    function: sys::CUfunction,
    /// What the compiler said about it.
    pub log: String,
    /// Bytes of the file it came in.
    pub bytes: usize,
    /// How long it took to find or compile, and to load.
    pub time: Duration,
}

// SAFETY: handles of the driver may be used by any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    fn load(gpu: &'static Gpu, text: &str, entry: &str) -> Result<Function, ExecError> {
        let start = Instant::now();
        let cubin = cache::cubin(text, gpu.arch()).map_err(|e| match e {
            NvrtcError::Refused(log) => ExecError::Bug(format!("NVRTC refuses {entry}: {log}")),
            // Nothing can run there, and everything else can go on.
            e => ExecError::Device(Device::Cuda(gpu.number()).error(e)),
        })?;
        gpu.enter()?;
        let doing = format_args!("loading {entry}");
        // SAFETY: the image is a whole file, which the driver copies.
        let load = || unsafe { result::module::load_data(cubin.bytes.as_ptr().cast()) };
        let module = gpu.with_memory(load).map_err(|e| e.fault(gpu, doing))?;
        let name = CString::new(entry).map_err(|e| ExecError::Bug(e.to_string()))?;
        // SAFETY: the module was just loaded.
        let function = unsafe { result::module::get_function(module, name) }.map_err(|e| gpu.fault(e.0, doing))?;
        let (log, bytes, time) = (cubin.log.clone(), cubin.bytes.len(), start.elapsed());
        Ok(Function { gpu, module, function, log, bytes, time })
    }

    /// Asks for a launch.
    ///
    /// # Safety
    /// The arguments are those of the function, and what they point to is as large as it takes it to be and lives until the
    /// stream has come so far.
    pub unsafe fn launch(&self, stream: sys::CUstream, blocks: u32, arguments: &Arguments) -> Result<(), Code> {
        let (mut run, mut pointers) = (arguments.run, arguments.pointers());
        pointers.push((&raw mut run).cast());
        // SAFETY: the function is loaded; the driver copies the arguments; the rest by the caller.
        unsafe { result::launch_kernel(self.function, (blocks, 1, 1), (BLOCK, 1, 1), 0, stream, &mut pointers) }
            .map_err(|e| e.0)
    }

    /// Gives a launch that was recorded other arguments.
    ///
    /// # Safety
    /// As for [`launch`](Function::launch); the node is of the graph that the recording was made of, and launches this
    /// function.
    pub unsafe fn change(
        &self,
        recording: sys::CUgraphExec,
        node: sys::CUgraphNode,
        blocks: u32,
        arguments: &Arguments,
    ) -> Result<(), Code> {
        let (mut run, mut pointers) = (arguments.run, arguments.pointers());
        pointers.push((&raw mut run).cast());
        let parameters = sys::CUDA_KERNEL_NODE_PARAMS {
            func: self.function,
            gridDimX: blocks,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: BLOCK,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            kernelParams: pointers.as_mut_ptr(),
            extra: std::ptr::null_mut(),
            kern: std::ptr::null_mut(),
            ctx: std::ptr::null_mut(),
        };
        // SAFETY: by the caller; the driver copies the arguments.
        outcome(unsafe { sys::cuGraphExecKernelNodeSetParams_v2(recording, node, &raw const parameters) })
    }
}

/// What a launch is given.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub words: &'a [u64],
    /// True if each word is a parameter of its own, otherwise they are one structure.
    pub apart: bool,
    /// The last parameter.
    pub run: Run,
}

impl Arguments<'_> {
    /// Where the parameters are, without the last one.
    fn pointers(&self) -> SmallVec<[*mut c_void; 26]> {
        let at = |word: &u64| std::ptr::from_ref(word).cast_mut().cast();
        match self.apart {
            true => self.words.iter().map(at).collect(),
            false => self.words.first().map(at).into_iter().collect(),
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Launches may still wait for it. A device that has failed keeps what it has.
        if self.gpu.enter().is_ok() && self.gpu.wait(self.gpu.compute).is_ok() {
            // SAFETY: nothing uses the function any more.
            _ = unsafe { result::module::unload(self.module) };
        }
    }
}

/// A generated kernel that can be launched.
pub(super) struct Loaded {
    pub source: Source,
    pub function: Function,
}

struct Cache<K, V>(Option<Entries<K, V>>);

struct Entries<K, V> {
    all: HashMap<K, (Arc<V>, u64)>,
    clock: u64,
}

impl<K: std::hash::Hash + Eq, V> Cache<K, V> {
    fn entries(&mut self) -> &mut Entries<K, V> {
        self.0.get_or_insert_with(|| Entries { all: HashMap::new(), clock: 0 })
    }

    fn find(&mut self, key: &K) -> Option<Arc<V>> {
        let entries = self.entries();
        entries.clock += 1;
        let (value, used) = entries.all.get_mut(key)?;
        *used = entries.clock;
        Some(value.clone())
    }

    fn keep(&mut self, key: K, value: &Arc<V>) {
        let entries = self.entries();
        entries.all.insert(key, (value.clone(), entries.clock));
        if entries.all.len() > KEPT {
            let mut ages: Vec<u64> = entries.all.values().map(|(_, used)| *used).collect();
            ages.sort_unstable();
            let limit = ages[ages.len() - KEPT];
            events::record(Event::Eviction, format_args!("kernels of GPUs: {KEPT} are kept"));
            entries.all.retain(|_, (_, used)| *used >= limit);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a generated function depends on: the device, the kernel without its name, how wide its indices are.
type Key = (usize, Kernel, IndexWidth);

/// The functions of kernels without names.
pub(super) fn load(gpu: &'static Gpu, kernels: &[&Kernel], width: IndexWidth) -> Result<Vec<Arc<Loaded>>, ExecError> {
    static KNOWN: Mutex<Cache<Key, Loaded>> = Mutex::new(Cache(None));
    let one = |kernel: &Kernel| {
        let key = (gpu.number(), kernel.clone(), width);
        if let Some(found) = lock(&KNOWN).find(&key) {
            events::count(Event::CacheHit);
            return Ok(found);
        }
        let source = Source::new(kernel, ENTRY, width).map_err(|SourceError::Invalid(e)| ExecError::Bug(e))?;
        let function = Function::load(gpu, &source.text(), ENTRY)?;
        let loaded = Arc::new(Loaded { source, function });
        lock(&KNOWN).keep(key, &loaded);
        Ok(loaded)
    };
    kernels.iter().map(|kernel| one(kernel)).collect()
}

/// Functions of routines, by their devices.
type Routines = HashMap<(usize, Routine), Arc<Function>>;

/// The function of a routine of the library.
pub(super) fn routine(gpu: &'static Gpu, routine: Routine) -> Result<Arc<Function>, ExecError> {
    // There are not many; recordings rely on them.
    static KNOWN: Mutex<Option<Routines>> = Mutex::new(None);
    let key = (gpu.number(), routine);
    if let Some(found) = lock(&KNOWN).get_or_insert_default().get(&key) {
        return Ok(found.clone());
    }
    let function = Arc::new(Function::load(gpu, &routine.text(), &routine.entry())?);
    Ok(lock(&KNOWN).get_or_insert_default().entry(key).or_insert(function).clone())
}
