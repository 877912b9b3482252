//! Buffers: reference-counted byte storage from a caching allocator.
//!
//! A page that is new to the process costs several times more to touch than arithmetic on what it holds, so freed
//! blocks are kept and handed out again: small ones by thread, large ones in one shared cache of bounded size.
//!
//! Invariants:
//! - Data begins at a multiple of [`ALIGN`] bytes, unless it is part of a file; then at one of its elements' alignment.
//! - Every byte is initialised, with unspecified contents unless the buffer was made zeroed or from data.
//! - A request that cannot be met is an error, before the operating system is driven out of memory.

mod cache;
mod map;

pub use cache::{
    AllocError, Stats, ThreadStats, check_room, set_cache_limit, set_memory_limit, stats, thread_stats, trim,
};

pub use map::Map;

use cache::{Block, Header, OF_FILE};
use ir::{DType, Data, Element, Literal, TypedData, for_each_dtype};
use std::any::TypeId;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

/// The alignment of a buffer's first byte, unless it is part of a file.
pub const ALIGN: usize = 64;

/// Why the bytes of a buffer could not become a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BufferError {
    /// There was no memory for it.
    #[error(transparent)]
    Alloc(#[from] AllocError),
    /// The number of bytes is another.
    #[error("a buffer of {bytes} bytes cannot hold {dtype}{dims:?}, which takes {needed}")]
    Size {
        /// Bytes of the buffer.
        bytes: usize,
        /// Element type asked for.
        dtype: DType,
        /// Extents asked for.
        dims: Vec<usize>,
        /// Bytes needed, as text because it may not fit a number.
        needed: String,
    },
    /// The first byte is not where an element may begin.
    #[error("a buffer at a byte that is no multiple of {0} holds no elements of that size")]
    Misaligned(usize),
    /// A byte that should be a truth value is neither 0 nor 1.
    #[error("byte {at} of a bool buffer is {value}, neither 0 nor 1")]
    Bool {
        /// Position.
        at: usize,
        /// The byte.
        value: u8,
    },
}

/// Shared ownership of a block of bytes. Cloning shares the block.
pub struct Buffer {
    block: NonNull<Header>,
}

// SAFETY: a block is plain memory with an atomic count. References into it are handed out only as borrows of a buffer,
// mutable ones only by the sole owner; who writes through `ptr` answers for its own exclusion.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of `len` bytes with unspecified contents.
    pub fn try_alloc(len: usize) -> Result<Buffer, AllocError> {
        Ok(Buffer::own(cache::take(len, false)?))
    }

    /// A buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Result<Buffer, AllocError> {
        Ok(Buffer::own(cache::take(len, true)?))
    }

    /// A buffer with a copy of those elements.
    pub fn from_slice<T: Element>(data: &[T]) -> Result<Buffer, AllocError> {
        require_plain::<T>();
        let buffer = Buffer::try_alloc(size_of_val(data))?;
        // SAFETY: the block is new, so nothing else refers to it, and has the size of `data`, which has no padding.
        unsafe { buffer.ptr().copy_from_nonoverlapping(data.as_ptr().cast(), buffer.len()) };
        Ok(buffer)
    }

    /// A buffer of `len` elements, made by position.
    pub fn from_fn<T: Element>(len: usize, mut element: impl FnMut(usize) -> T) -> Result<Buffer, AllocError> {
        require_plain::<T>();
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(|| AllocError::new(usize::MAX))?;
        let buffer = Buffer::try_alloc(bytes)?;
        let start = buffer.ptr().cast::<T>();
        for i in 0..len {
            // SAFETY: the block is new, so nothing else refers to it, has room for `len` elements, and is aligned to
            // `ALIGN`.
            unsafe { start.add(i).write(element(i)) };
        }
        Ok(buffer)
    }

    /// A buffer with a copy of the elements of `literal`.
    pub fn from_literal(literal: &Literal) -> Result<Buffer, AllocError> {
        macro_rules! copy { ($(($v:ident, $t:ty)),*) => { match literal.data() { $(Data::$v(x) => Buffer::from_slice(x)),* } } }
        for_each_dtype!(copy)
    }

    /// A literal with a copy of the elements.
    pub fn to_literal(&self, dtype: DType, dims: &[usize]) -> Result<Literal, BufferError> {
        let bytes = dims.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
        if bytes != Some(self.len()) {
            let needed = bytes.map_or("more than can be counted".to_owned(), |n| n.to_string());
            return Err(BufferError::Size { bytes: self.len(), dtype, dims: dims.to_vec(), needed });
        }
        macro_rules! copy { ($(($v:ident, $t:ty)),*) => { match dtype { $(DType::$v => <$t>::wrap(self.to_vec::<$t>()?)),* } } }
        Ok(Literal::new(dims, for_each_dtype!(copy)))
    }

    /// A copy of the elements; the buffer must hold a whole number of them.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, BufferError> {
        let view = self.view::<T>()?;
        let mut out = Vec::new();
        let size = size_of_val(view);
        out.try_reserve_exact(view.len()).map_err(|_| AllocError::new(size))?;
        out.extend_from_slice(view);
        Ok(out)
    }

    /// The elements; the buffer must hold a whole number of them, and bools must be 0 or 1.
    pub fn view<T: Element>(&self) -> Result<&[T], BufferError> {
        self.check::<T>()?;
        // SAFETY: initialised, and `check` found whole, aligned and valid elements.
        Ok(unsafe { std::slice::from_raw_parts(self.ptr().cast(), self.len() / size_of::<T>()) })
    }

    /// The elements for writing, as [`Buffer::view`]; `None` if somebody else holds the buffer.
    pub fn view_mut<T: Element>(&mut self) -> Result<Option<&mut [T]>, BufferError> {
        self.check::<T>()?;
        if !self.is_unique() {
            return Ok(None);
        }
        // SAFETY: as in `view`, and this is the only handle, borrowed mutably.
        Ok(Some(unsafe { std::slice::from_raw_parts_mut(self.ptr().cast(), self.len() / size_of::<T>()) }))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the block holds `len` initialised bytes.
        unsafe { std::slice::from_raw_parts(self.ptr(), self.len()) }
    }

    /// The bytes for writing, unless somebody else holds the buffer.
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        // SAFETY: as in `bytes`; a sole owner, borrowed mutably, excludes every other reference.
        self.is_unique().then(|| unsafe { std::slice::from_raw_parts_mut(self.ptr(), self.len()) })
    }

    /// True if this is the only handle, of memory that may be written: that of a file never is. Stays true while the
    /// caller holds it and does not clone it.
    pub fn is_unique(&self) -> bool {
        self.header().refs.load(Acquire) == 1 && !self.is_of_file()
    }

    /// True if the memory is part of a file.
    pub fn is_of_file(&self) -> bool {
        self.header().class.get() == OF_FILE
    }

    /// True if both are handles of one block.
    pub fn same(&self, other: &Buffer) -> bool {
        self.block == other.block
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.header().len.load(Relaxed)
    }

    /// True if the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first byte. Compiled code writes through it; whoever does so sees to it that no view of the bytes that are
    /// written is alive in any thread, and that the buffer is not part of a file. Valid while a handle of the block exists.
    pub fn ptr(&self) -> *mut u8 {
        self.header().data.get().as_ptr()
    }

    fn own(block: Block) -> Buffer {
        Buffer { block: block.into_raw() }
    }

    fn header(&self) -> &Header {
        // SAFETY: the block lives while this handle does.
        unsafe { self.block.as_ref() }
    }

    fn check<T: Element>(&self) -> Result<(), BufferError> {
        require_plain::<T>();
        let (bytes, size) = (self.len(), size_of::<T>());
        if !bytes.is_multiple_of(size) {
            let dims = vec![bytes.div_ceil(size)];
            let needed = (dims[0] * size).to_string();
            return Err(BufferError::Size { bytes, dtype: T::DTYPE, dims, needed });
        }
        if !self.ptr().addr().is_multiple_of(align_of::<T>()) {
            return Err(BufferError::Misaligned(align_of::<T>()));
        }
        if T::DTYPE == DType::Bool
            && let Some(at) = self.bytes().iter().position(|&b| b > 1)
        {
            return Err(BufferError::Bool { at, value: self.bytes()[at] });
        }
        Ok(())
    }
}

/// Panics unless `T` is the very type that its dtype stands for: anybody may implement [`Element`], but only these may
/// be made of bytes. Costs nothing where it holds.
fn require_plain<T: Element>() {
    macro_rules! plain { ($(($v:ident, $t:ty)),*) => { match T::DTYPE { $(DType::$v => TypeId::of::<$t>()),* } } }
    let plain = for_each_dtype!(plain);
    assert!(TypeId::of::<T>() == plain, "{} is not how {} is stored", std::any::type_name::<T>(), T::DTYPE);
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        let before = self.header().refs.fetch_add(1, Relaxed);
        // As `Arc` does: an overflow would need memory leaked on purpose.
        if before > isize::MAX as usize {
            std::process::abort();
        }
        Buffer { block: self.block }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.header().refs.fetch_sub(1, Release) != 1 {
            return;
        }
        // Everything that other handles did to the bytes comes before their next use.
        fence(Acquire);
        if self.is_of_file() {
            // SAFETY: the count fell to zero, so this was the last handle.
            return unsafe { map::close(self.block) };
        }
        // SAFETY: the count fell to zero, so this was the last handle.
        cache::give(unsafe { Block::from_raw(self.block) });
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

#[cfg(test)]
#[path = "buffer/tests.rs"]
mod tests;
