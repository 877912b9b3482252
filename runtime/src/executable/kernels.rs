//! Compiled kernels, shared by all executables of the process: equal kernels compile once.

use crate::events::{self, Event};
use crate::options::Artefact;
use codegen::cpu::{CompileError, CompileOptions, CompiledKernel, Compiler};
use ir::kernel::Kernel;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Kernels kept; beyond that the least recently used ones go.
const KEPT: usize = 4096;

struct Entry {
    kernel: Arc<CompiledKernel>,
    used: u64,
}

#[derive(Default)]
struct Cache {
    entries: HashMap<Kernel, Entry>,
    clock: u64,
}

fn compiler() -> Result<&'static Compiler, CompileError> {
    static COMPILER: OnceLock<Result<Compiler, CompileError>> = OnceLock::new();
    COMPILER.get_or_init(Compiler::new).as_ref().map_err(Clone::clone)
}

/// What the code depends on: everything but the name.
pub(super) fn anonymous(kernel: &Kernel) -> Kernel {
    Kernel { name: String::new(), ..kernel.clone() }
}

/// Those of the kernels that do not compile, without their names, each with the reason. Slow: only for when [`compile_all`] has failed.
pub(super) fn refused(
    kernels: &[Kernel],
    options: CompileOptions,
) -> Result<Vec<(Kernel, CompileError)>, CompileError> {
    let compiler = compiler()?;
    let failure = |k: &Kernel| Some((anonymous(k), compiler.compile_all(std::slice::from_ref(k), options, 1).err()?));
    Ok(kernels.iter().filter_map(failure).collect())
}

/// Compiles kernels, or finds them compiled before.
pub(super) fn compile_all(
    kernels: &[Kernel],
    options: CompileOptions,
    threads: usize,
) -> Result<Vec<Arc<CompiledKernel>>, CompileError> {
    static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
    let cache = CACHE.get_or_init(Mutex::default);
    let mut found: Vec<Option<Arc<CompiledKernel>>> = vec![None; kernels.len()];
    // Text is kept only by compilations that ask for it, so those do not use the cache.
    if !options.keep_text {
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let now = cache.clock;
        for (slot, k) in found.iter_mut().zip(kernels) {
            if let Some(entry) = cache.entries.get_mut(&anonymous(k)) {
                entry.used = now;
                *slot = Some(entry.kernel.clone());
            }
        }
    }
    let missing: Vec<usize> = (0..kernels.len()).filter(|&i| found[i].is_none()).collect();
    let hits = kernels.len() - missing.len();
    (0..hits).for_each(|_| events::count(Event::CacheHit));
    missing.iter().for_each(|_| events::count(Event::CacheMiss));
    events::write(Artefact::Cache, || format!("kernels: {hits} of {} were compiled before", kernels.len()));
    if !missing.is_empty() {
        let new: Vec<Kernel> = missing.iter().map(|&i| kernels[i].clone()).collect();
        let compiled = compiler()?.compile_all(&new, options, threads)?;
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        let now = cache.clock;
        for ((i, kernel), code) in missing.into_iter().zip(new).zip(compiled) {
            let code = Arc::new(code);
            if !options.keep_text {
                cache.entries.insert(anonymous(&kernel), Entry { kernel: code.clone(), used: now });
            }
            found[i] = Some(code);
        }
        if cache.entries.len() > KEPT {
            let mut ages: Vec<u64> = cache.entries.values().map(|e| e.used).collect();
            ages.sort_unstable();
            let limit = ages[ages.len() - KEPT];
            events::record(Event::Eviction, format_args!("kernels: {KEPT} are kept"));
            cache.entries.retain(|_, e| e.used >= limit);
        }
    }
    Ok(found.into_iter().flatten().collect())
}
