//! Where the blocks of buffers come from and go back to.
//!
//! A block is a header and room for data; its room is one of a fixed series of sizes, four to each power of two. Freed
//! blocks of small sizes stay with the thread that freed them, up to a bound per size; the others, and what exceeds the
//! bound, go to the shared cache, which gives the longest unused sizes back to the system when it exceeds its limit.

use super::ALIGN;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, UnsafeCell};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Stands in front of a block's data, in as many bytes as the alignment.
#[repr(C, align(64))]
pub(super) struct Header {
    pub refs: AtomicUsize,
    pub len: AtomicUsize,
    /// The first byte of the data: behind the header, or in a file.
    pub data: Cell<NonNull<u8>>,
    pub class: Cell<u32>,
    /// What the system gave; the header is at the first multiple of its alignment.
    base: Cell<*mut u8>,
    next: Cell<Option<NonNull<Header>>>,
}

impl Header {
    /// Of data that is no block of the cache.
    pub fn of_file(data: NonNull<u8>, len: usize) -> Header {
        Header {
            refs: AtomicUsize::new(1),
            len: AtomicUsize::new(len),
            data: Cell::new(data),
            class: Cell::new(OF_FILE),
            base: Cell::new(null_mut()),
            next: Cell::new(None),
        }
    }
}

/// The class of what is no block of the cache.
pub(super) const OF_FILE: u32 = u32::MAX;

const _: () = assert!(size_of::<Header>() == ALIGN);

/// Sole ownership of a block, with a count of one and a length. Not given back when dropped.
pub(super) struct Block(NonNull<Header>);

/// Memory for a buffer could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for a buffer of {bytes} bytes ({held} held, limit {limit})")]
pub struct AllocError {
    /// Bytes asked for.
    pub bytes: usize,
    /// Bytes held from the system at that time, cached ones included.
    pub held: usize,
    /// The most that may be held.
    pub limit: usize,
}

impl AllocError {
    pub(crate) fn new(bytes: usize) -> AllocError {
        AllocError { bytes, held: HELD.load(Relaxed), limit: memory_limit() }
    }
}

/// What the process has asked of the system for buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks taken from the system so far.
    pub system_allocs: usize,
    /// Blocks given back to the system so far.
    pub system_frees: usize,
    /// Bytes now held from the system, in use or cached.
    pub held: usize,
    /// The most bytes held at any time.
    pub peak: usize,
    /// Bytes now in the shared cache.
    pub cached: usize,
    /// Blocks that the shared cache dropped to keep its limit.
    pub evicted: usize,
}

/// What the current thread has asked of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadStats {
    /// Buffers made.
    pub allocs: usize,
    /// Of these, how many took a block from the system.
    pub system_allocs: usize,
}

// ---- sizes ----

/// Room of the smallest block.
const MIN_ROOM: usize = 128;
const CLASSES: usize = 4 * (usize::BITS - MIN_ROOM.ilog2()) as usize;
/// Classes up to this room are cached by thread.
const SMALL_ROOM: usize = 64 << 10;
const SMALL_CLASSES: usize = class_of(SMALL_ROOM) + 1;
/// Bytes that one thread keeps of one class, but always at least two blocks.
const KEEP: usize = 64 << 10;

/// The class whose room is the smallest of at least `len` bytes.
const fn class_of(len: usize) -> usize {
    if len <= MIN_ROOM {
        return 0;
    }
    // A power of two is the last of its row, hence the -1.
    let top = (len - 1).ilog2();
    let quarter = ((len - 1) >> (top - 2)) & 3;
    (top - MIN_ROOM.ilog2()) as usize * 4 + quarter + 1
}

/// Bytes of data that a block of the class has room for.
const fn room_of(class: usize) -> usize {
    if class == 0 {
        return MIN_ROOM;
    }
    let (row, quarter) = ((class - 1) / 4, (class - 1) % 4);
    (MIN_ROOM << row) / 4 * (5 + quarter)
}

/// The alignment is one for which `alloc_zeroed` leaves new pages untouched; the rest is done by hand.
fn layout_of(class: usize) -> Option<Layout> {
    Layout::from_size_align(room_of(class).checked_add(2 * ALIGN)?, 16).ok()
}

/// The most blocks of a small class that one thread keeps.
const fn keep_of(class: usize) -> u32 {
    let n = (KEEP / room_of(class)) as u32;
    if n < 2 { 2 } else { n }
}

// ---- stacks of free blocks ----

/// Free blocks of one class, linked through their headers.
struct Stack {
    top: Option<NonNull<Header>>,
    len: u32,
}

impl Stack {
    const EMPTY: Stack = Stack { top: None, len: 0 };

    fn push(&mut self, Block(block): Block) {
        // SAFETY: a `Block` is the sole owner of its header.
        unsafe { block.as_ref() }.next.set(self.top);
        (self.top, self.len) = (Some(block), self.len + 1);
    }

    fn pop(&mut self) -> Option<Block> {
        let block = self.top?;
        // SAFETY: the stack owns the blocks in it.
        self.top = unsafe { block.as_ref() }.next.get();
        self.len -= 1;
        Some(Block(block))
    }
}

/// The caches of one thread.
struct Local {
    small: UnsafeCell<[Stack; SMALL_CLASSES]>,
    allocs: Cell<usize>,
    system_allocs: Cell<usize>,
}

impl Drop for Local {
    fn drop(&mut self) {
        for stack in self.small.get_mut() {
            while let Some(block) = stack.pop() {
                shared().give(block);
            }
        }
    }
}

thread_local! {
    static LOCAL: Local = const { Local {
        small: UnsafeCell::new([Stack::EMPTY; SMALL_CLASSES]),
        allocs: Cell::new(0),
        system_allocs: Cell::new(0),
    } };
}

/// Calls `f` with this thread's stack of a small class; `None` while the thread ends.
fn local<R>(class: usize, f: impl FnOnce(&mut Stack) -> R) -> Option<R> {
    // SAFETY: the callers below pass closures that do nothing but push and pop, so the borrow is not taken twice.
    LOCAL.try_with(|local| f(unsafe { &mut (&mut *local.small.get())[class] })).ok()
}

/// The cache that all threads share.
struct Shared {
    stacks: [Stack; CLASSES],
    used: [u64; CLASSES],
    clock: u64,
    bytes: usize,
    limit: Option<usize>,
    evicted: usize,
}

// SAFETY: the blocks in the stacks belong to the cache and to no thread.
unsafe impl Send for Shared {}

static SHARED: Mutex<Shared> = Mutex::new(Shared {
    stacks: [Stack::EMPTY; CLASSES],
    used: [0; CLASSES],
    clock: 0,
    bytes: 0,
    limit: None,
    evicted: 0,
});

fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn take(&mut self, class: usize) -> Option<Block> {
        self.touch(class);
        let block = self.stacks[class].pop()?;
        self.bytes -= room_of(class);
        Some(block)
    }

    fn give(&mut self, block: Block) {
        let class = block.class();
        self.touch(class);
        self.bytes += room_of(class);
        self.stacks[class].push(block);
        self.shrink(self.limit.unwrap_or_else(|| memory_limit() / 4));
    }

    fn touch(&mut self, class: usize) {
        self.clock += 1;
        self.used[class] = self.clock;
    }

    /// Gives blocks back until at most `limit` bytes are cached, the longest unused sizes first.
    fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            let held = (0..CLASSES).filter(|&c| self.stacks[c].len > 0);
            let Some(class) = held.min_by_key(|&c| self.used[c]) else { return };
            let Some(block) = self.stacks[class].pop() else { return };
            self.bytes -= room_of(class);
            self.evicted += 1;
            block.free();
        }
    }
}

// ---- the system ----

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALLOCS: AtomicUsize = AtomicUsize::new(0);
static FREES: AtomicUsize = AtomicUsize::new(0);
/// 0 until first needed.
static MEMORY_LIMIT: AtomicUsize = AtomicUsize::new(0);

fn memory_limit() -> usize {
    match MEMORY_LIMIT.load(Relaxed) {
        0 => {
            let limit = machine_memory();
            MEMORY_LIMIT.store(limit, Relaxed);
            limit
        }
        limit => limit,
    }
}

/// Memory of the machine or of this process's control group, less a sixteenth; no limit if neither is known.
fn machine_memory() -> usize {
    let number = |text: &str| text.split_whitespace().find_map(|w| w.parse::<usize>().ok());
    let total = std::fs::read_to_string("/proc/meminfo").ok();
    let total = total.and_then(|text| number(text.lines().find(|l| l.starts_with("MemTotal:"))?)?.checked_mul(1024));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| number(&text));
    total.into_iter().chain(group).min().map_or(isize::MAX as usize, |n| (n - n / 16).max(1))
}

impl Block {
    pub fn into_raw(self) -> NonNull<Header> {
        self.0
    }

    /// # Safety
    /// `header` came from `into_raw`, and nothing else refers to it any more.
    pub unsafe fn from_raw(header: NonNull<Header>) -> Block {
        Block(header)
    }

    fn header(&self) -> &Header {
        // SAFETY: a `Block` is the sole owner of its header.
        unsafe { self.0.as_ref() }
    }

    fn class(&self) -> usize {
        self.header().class.get() as usize
    }

    /// A zeroed block from the system, or `None`.
    fn from_system(class: usize) -> Option<Block> {
        let layout = layout_of(class)?;
        let held = HELD.fetch_add(layout.size(), Relaxed).saturating_add(layout.size());
        // SAFETY: the layout is not empty.
        let base = NonNull::new(if held <= memory_limit() { unsafe { alloc_zeroed(layout) } } else { null_mut() });
        let Some(base) = base else {
            HELD.fetch_sub(layout.size(), Relaxed);
            return None;
        };
        advise_huge_pages(base, layout.size());
        PEAK.fetch_max(held, Relaxed);
        ALLOCS.fetch_add(1, Relaxed);
        let _ = LOCAL.try_with(|local| local.system_allocs.set(local.system_allocs.get() + 1));
        // SAFETY: the layout has room for two alignments more than the data: the gap before the header, and the header.
        let header = unsafe { base.add(base.align_offset(ALIGN)).cast::<Header>() };
        // SAFETY: as above; data follows the header in the same allocation.
        unsafe {
            header.write(Header {
                refs: AtomicUsize::new(1),
                len: AtomicUsize::new(0),
                data: Cell::new(header.add(1).cast()),
                class: Cell::new(class as u32),
                base: Cell::new(base.as_ptr()),
                next: Cell::new(None),
            })
        };
        Some(Block(header))
    }

    fn free(self) {
        let Some(layout) = layout_of(self.class()) else { unreachable!("a block exists, so its layout does") };
        // SAFETY: allocated in `from_system` with the layout of its class; a `Block` is the sole owner.
        unsafe { dealloc(self.header().base.get(), layout) };
        HELD.fetch_sub(layout.size(), Relaxed);
        FREES.fetch_add(1, Relaxed);
    }
}

/// Asks for large pages: a first touch then costs a fault per 2 MiB instead of one per 4 KiB.
#[cfg(target_os = "linux")]
fn advise_huge_pages(base: NonNull<u8>, size: usize) {
    const HUGE: usize = 2 << 20;
    let begin = base.align_offset(HUGE);
    let Some(len) = size.checked_sub(begin).map(|n| n & !(HUGE - 1)).filter(|&n| n > 0) else { return };
    // SAFETY: the range lies in the allocation, and the advice changes no contents. A refusal changes nothing.
    unsafe { libc::madvise(base.as_ptr().add(begin).cast(), len, libc::MADV_HUGEPAGE) };
}
#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: NonNull<u8>, _: usize) {}

/// A block for `len` bytes, all of them initialised, and zero if `zero`.
pub(super) fn take(len: usize, zero: bool) -> Result<Block, AllocError> {
    // The series of rooms ends before `usize` does.
    if len > isize::MAX as usize / 2 {
        return Err(AllocError::new(len));
    }
    let class = class_of(len);
    let cached = match class < SMALL_CLASSES {
        true => local(class, Stack::pop).flatten().or_else(|| shared().take(class)),
        false => shared().take(class),
    };
    let block = match cached {
        Some(block) => {
            if zero {
                // SAFETY: the class has room for `len` bytes, and the block has one owner.
                unsafe { block.0.as_ptr().add(1).cast::<u8>().write_bytes(0, len) };
            }
            block.header().refs.store(1, Relaxed);
            block
        }
        None => Block::from_system(class)
            .or_else(|| {
                trim();
                Block::from_system(class)
            })
            .ok_or_else(|| AllocError::new(len))?,
    };
    block.header().len.store(len, Relaxed);
    let _ = LOCAL.try_with(|local| local.allocs.set(local.allocs.get() + 1));
    Ok(block)
}

/// Takes a block back.
pub(super) fn give(block: Block) {
    let class = block.class();
    if class >= SMALL_CLASSES {
        return shared().give(block);
    }
    let mut block = Some(block);
    local(class, |stack| {
        if stack.len < keep_of(class)
            && let Some(block) = block.take()
        {
            stack.push(block);
        }
    });
    if let Some(block) = block {
        shared().give(block);
    }
}

/// Gives the shared cache, and what this thread keeps, back to the system.
pub fn trim() {
    for class in 0..SMALL_CLASSES {
        while let Some(block) = local(class, Stack::pop).flatten() {
            block.free();
        }
    }
    let mut shared = shared();
    let evicted = shared.evicted;
    shared.shrink(0);
    shared.evicted = evicted;
}

/// Bounds the bytes in the shared cache; by default a quarter of the memory.
pub fn set_cache_limit(bytes: usize) {
    let mut shared = shared();
    shared.limit = Some(bytes);
    shared.shrink(bytes);
}

/// Bounds the bytes held from the system for buffers; by default most of the memory of the machine or control group.
pub fn set_memory_limit(bytes: usize) {
    MEMORY_LIMIT.store(bytes.max(1), Relaxed);
}

/// An error for more bytes than may be held: asked before memory is taken elsewhere, where a refusal would end the
/// process.
pub fn check_room(bytes: usize) -> Result<(), AllocError> {
    if bytes > memory_limit() { Err(AllocError::new(bytes)) } else { Ok(()) }
}

/// Counts of the whole process.
pub fn stats() -> Stats {
    let (cached, evicted) = {
        let shared = shared();
        (shared.bytes, shared.evicted)
    };
    Stats {
        system_allocs: ALLOCS.load(Relaxed),
        system_frees: FREES.load(Relaxed),
        held: HELD.load(Relaxed),
        peak: PEAK.load(Relaxed),
        cached,
        evicted,
    }
}

/// Counts of this thread.
pub fn thread_stats() -> ThreadStats {
    LOCAL.with(|local| ThreadStats { allocs: local.allocs.get(), system_allocs: local.system_allocs.get() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_tightest_of_the_series() {
        assert_eq!((0..6).map(room_of).collect::<Vec<_>>(), [128, 160, 192, 224, 256, 320]);
        let mut previous = 0;
        for class in 0..200 {
            let room = room_of(class);
            assert!(room > previous && room.is_multiple_of(32));
            assert_eq!(class_of(room), class);
            assert_eq!(class_of(room + 1), class + 1);
            assert_eq!(class_of(previous + 1), class);
            previous = room;
        }
        let most = isize::MAX as usize / 2;
        assert!(room_of(class_of(most)) >= most && layout_of(class_of(most)).is_some() && class_of(most) < CLASSES);
    }
}
