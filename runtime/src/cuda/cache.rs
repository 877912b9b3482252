//! Machine code of kernels, found in memory, or else on disk, or else compiled.
//!
//! Each kernel is a text of its own, so that programs share kernels. NVRTC 13.0 on two cores: 40 ms for the first text of a
//! process and 20 ms for each later one before it looks at a kernel, then 30 to 100 ms a kernel; 36 kernels take 3.8 s apart,
//! 2.6 s as one text; threads change nothing.

mod folder;

use crate::events::{self, Event};
use crate::options::{self, Artefact};
use codegen::cuda::nvrtc::{Arch, Cubin, FLAGS, Nvrtc, NvrtcError};
use folder::Folder;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What files are made of, and what keys are made of.
const FORMAT: u32 = 1;
/// Bytes kept in memory.
const IN_MEMORY: usize = 128 << 20;
/// Bytes kept on disk.
const ON_DISK: u64 = 1 << 30;

/// What machine code depends on.
type Key = [u8; 32];

/// The machine code of a text, for a GPU of that generation.
pub(crate) fn cubin(text: &str, gpu: Arch) -> Result<Arc<Cubin>, NvrtcError> {
    Ok(cubins(&[text], gpu)?.swap_remove(0))
}

/// The machine code of texts, in their order.
pub(crate) fn cubins(texts: &[&str], gpu: Arch) -> Result<Vec<Arc<Cubin>>, NvrtcError> {
    static CACHE: Cache = Cache::new();
    let nvrtc = Nvrtc::open()?;
    let target = Target { arch: nvrtc.target(gpu)?, version: nvrtc.version() };
    CACHE.get(texts, target, folder_in_force().as_deref(), &|text| nvrtc.compile(text, target.arch))
}

/// The folder that the options in force name. One that cannot be used is an event, once.
fn folder_in_force() -> Option<Arc<Folder>> {
    static KNOWN: Mutex<Vec<(PathBuf, Option<Arc<Folder>>)>> = Mutex::new(Vec::new());
    // Options that cannot be read are reported by whoever compiles.
    let path = options::current().ok()?.cache.path()?;
    let mut known = lock(&KNOWN);
    let name = path.clone().unwrap_or_default();
    if let Some((_, folder)) = known.iter().find(|(path, _)| *path == name) {
        return folder.clone();
    }
    let folder = match path.and_then(|path| Folder::open(path, ON_DISK)) {
        Ok(folder) => Some(Arc::new(folder)),
        Err(reason) => {
            events::record(Event::CacheRefused, reason);
            None
        }
    };
    known.push((name, folder.clone()));
    folder
}

/// What a text is compiled for, and by what.
#[derive(Clone, Copy)]
struct Target {
    arch: Arch,
    version: (u32, u32),
}

impl Target {
    fn key(self, text: &str) -> Key {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(&FORMAT.to_le_bytes());
        part(self.arch.to_string().as_bytes());
        part(format!("{}.{}", self.version.0, self.version.1).as_bytes());
        part(FLAGS.join("\n").as_bytes());
        part(text.as_bytes());
        hash.finalize().into()
    }
}

/// Machine code of this process.
struct Cache {
    memory: Mutex<Option<Memory>>,
    /// What some thread looks for on disk or compiles, so that nothing is compiled twice.
    claimed: Mutex<Vec<Key>>,
    released: Condvar,
}

/// A key that is of one thread until this goes away.
struct Claim<'a> {
    cache: &'a Cache,
    key: Key,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.cache.claimed).retain(|key| *key != self.key);
        self.cache.released.notify_all();
    }
}

#[derive(Default)]
struct Memory {
    entries: HashMap<Key, (Arc<Cubin>, u64)>,
    bytes: usize,
    clock: u64,
}

impl Cache {
    const fn new() -> Cache {
        Cache { memory: Mutex::new(None), claimed: Mutex::new(Vec::new()), released: Condvar::new() }
    }

    /// Waits until no other thread has the key.
    fn claim(&self, key: Key) -> Claim<'_> {
        let taken = |claimed: &mut Vec<Key>| claimed.contains(&key);
        let claimed = self.released.wait_while(lock(&self.claimed), taken);
        claimed.unwrap_or_else(PoisonError::into_inner).push(key);
        Claim { cache: self, key }
    }

    fn get(
        &self,
        texts: &[&str],
        target: Target,
        folder: Option<&Folder>,
        compile: &dyn Fn(&str) -> Result<Cubin, NvrtcError>,
    ) -> Result<Vec<Arc<Cubin>>, NvrtcError> {
        let keys: Vec<Key> = texts.iter().map(|text| target.key(text)).collect();
        let mut found: Vec<Option<Arc<Cubin>>> = keys.iter().map(|key| self.find(key)).collect();
        let (mut on_disk, mut compiled) = (0, 0);
        for ((slot, key), text) in found.iter_mut().zip(&keys).zip(texts).filter(|((slot, _), _)| slot.is_none()) {
            let _claim = self.claim(*key);
            let cubin = match self.find(key) {
                // Another thread has compiled it meanwhile, or the same text stands twice.
                Some(cubin) => cubin,
                None => {
                    let cubin = match folder.and_then(|folder| folder.read(key)) {
                        Some(cubin) => {
                            on_disk += 1;
                            Arc::new(cubin)
                        }
                        None => {
                            events::count(Event::CacheMiss);
                            compiled += 1;
                            let cubin = Arc::new(compile(text)?);
                            folder.iter().for_each(|folder| folder.write(key, &cubin));
                            cubin
                        }
                    };
                    self.keep(*key, cubin.clone());
                    cubin
                }
            };
            *slot = Some(cubin);
        }
        (compiled..texts.len()).for_each(|_| events::count(Event::CacheHit));
        let all = texts.len();
        events::write(Artefact::Cache, || {
            format!("machine code for {}: {compiled} of {all} compiled, {on_disk} found on disk", target.arch)
        });
        Ok(found.into_iter().flatten().collect())
    }

    fn find(&self, key: &Key) -> Option<Arc<Cubin>> {
        let mut memory = lock(&self.memory);
        let memory = memory.get_or_insert_default();
        memory.clock += 1;
        let (cubin, used) = memory.entries.get_mut(key)?;
        *used = memory.clock;
        Some(cubin.clone())
    }

    fn keep(&self, key: Key, cubin: Arc<Cubin>) {
        let mut memory = lock(&self.memory);
        let memory = memory.get_or_insert_default();
        memory.bytes += size(&cubin);
        memory.entries.insert(key, (cubin, memory.clock));
        if memory.bytes <= IN_MEMORY {
            return;
        }
        let mut ages: Vec<(u64, Key)> = memory.entries.iter().map(|(key, (_, used))| (*used, *key)).collect();
        ages.sort_unstable();
        let mut gone = 0;
        for (_, key) in ages {
            if memory.bytes <= IN_MEMORY / 2 {
                break;
            }
            gone += 1;
            memory.bytes -= memory.entries.remove(&key).map_or(0, |(cubin, _)| size(&cubin));
        }
        let kept = IN_MEMORY >> 20;
        events::record(Event::Eviction, format_args!("machine code of {gone} kernels: {kept} MiB are kept in memory"));
    }
}

fn size(cubin: &Cubin) -> usize {
    cubin.bytes.len() + cubin.log.len()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
