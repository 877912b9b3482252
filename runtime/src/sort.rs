//! Sorting of rows: one trait, and its implementation over the standard library.
//!
//! Keys become unsigned integers that compare as the elements do, each with the position of its element below it. So no
//! two are equal, an unstable sort in place is stable, and the outcome is the same for any number of threads.

use crate::pool::{Pool, TaskPanic};
use crate::scratch::Scratch;
use ir::DType;
use ir::half::{bf16, f16};

/// For each row of `x[outer, n, inner]` along the middle axis, the positions in sorted order, as i64 of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Element type.
    pub dtype: DType,
    /// Rows before the axis.
    pub outer: usize,
    /// Length of a row.
    pub n: usize,
    /// Elements from one of a row to the next.
    pub inner: usize,
    /// From the largest to the smallest.
    pub descending: bool,
    /// The first element; only read.
    pub data: *const u8,
    /// The first position.
    pub out: *mut i64,
}

/// A library that sorts.
pub trait SortLibrary: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Bytes of working memory that each thread needs; pointers do not matter.
    fn scratch_bytes(&self, rows: &Rows) -> usize;

    /// Sorts on threads of `pool`, as many as `scratch` has parts. NaN counts as largest, zeros of either sign as equal;
    /// equal elements keep their order.
    ///
    /// # Safety
    /// Each part of `scratch` has the [bytes](SortLibrary::scratch_bytes) that the rows ask for. `data` and `out` lie in
    /// memory valid for reads and writes of all rows, aligned to their types, which nothing else accesses meanwhile, and
    /// which do not overlap.
    unsafe fn argsort(&self, pool: &Pool, rows: &Rows, scratch: &Scratch) -> Result<(), TaskPanic>;
}

/// The library that executables use on the CPU.
pub fn library() -> &'static dyn SortLibrary {
    &Std
}

/// [`SortLibrary`] over the standard library's sort.
#[derive(Clone, Copy, Debug, Default)]
pub struct Std;

/// Elements below which a sort stays on the calling thread: about 20 µs.
const ALONE: usize = 1000;

/// The largest key position that a 32-bit key leaves room for.
const NARROW: usize = u32::MAX as usize;

fn is_narrow(rows: &Rows) -> bool {
    rows.dtype.size() <= 4 && rows.n <= NARROW
}

impl SortLibrary for Std {
    fn name(&self) -> &'static str {
        "std"
    }

    fn scratch_bytes(&self, rows: &Rows) -> usize {
        let each = if is_narrow(rows) { size_of::<u64>() } else { size_of::<(u64, u64)>() };
        if rows.outer == 0 || rows.inner == 0 { 0 } else { rows.n.saturating_mul(each) }
    }

    unsafe fn argsort(&self, pool: &Pool, rows: &Rows, scratch: &Scratch) -> Result<(), TaskPanic> {
        let tasks = rows.outer * rows.inner;
        if tasks == 0 || rows.n == 0 {
            return Ok(());
        }
        let shared = Shared((*rows, scratch));
        let run = |worker: usize, begin: u64, end: u64| {
            let (rows, scratch) = shared.get();
            for row in begin as usize..end as usize {
                // SAFETY: the caller vouches for the memory; rows are disjoint, and the part of the scratch memory is
                // this worker's own.
                unsafe { sort_row(rows, row, scratch.of(worker)) }
            }
        };
        if tasks == 1 || tasks * rows.n < ALONE {
            run(0, 0, tasks as u64);
            return Ok(());
        }
        pool.run_on(scratch.threads(), tasks as u64, 1, &run)
    }
}

/// What the tasks of one sort share.
#[derive(Clone, Copy)]
struct Shared<'a>((Rows, &'a Scratch));
// SAFETY: tasks read what nobody writes, and write rows of their own.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    fn get(&self) -> &(Rows, &'a Scratch) {
        &self.0
    }
}

/// # Safety
/// As for [`SortLibrary::argsort`], with `scratch` of that many bytes.
unsafe fn sort_row(rows: &Rows, row: usize, scratch: *mut u8) {
    macro_rules! keys {
        ($(($v:ident, $t:ty)),*) => { match rows.dtype {
            $(DType::$v => {
                let key = |at: usize| {
                    // SAFETY: `at` is a position of the row.
                    let x: $t = unsafe { *rows.data.cast::<$t>().add(at) };
                    Key::key(x)
                };
                // SAFETY: passed on.
                unsafe { sort_keys(rows, row, scratch, key) }
            })*
        } };
    }
    ir::for_each_dtype!(keys)
}

/// # Safety
/// As for [`sort_row`].
unsafe fn sort_keys(rows: &Rows, row: usize, scratch: *mut u8, key: impl Fn(usize) -> u64) {
    let (n, inner) = (rows.n, rows.inner);
    let first = row / inner * n * inner + row % inner;
    // Descending order of keys that were turned round is stable too.
    let keyed = |k: usize| {
        let key = key(first + k * inner);
        if rows.descending { !key } else { key }
    };
    let put = |k: usize, position: usize| {
        // SAFETY: the row is this task's own.
        unsafe { *rows.out.add(first + k * inner) = position as i64 }
    };
    if is_narrow(rows) {
        let items = scratch.cast::<u64>();
        for k in 0..n {
            // SAFETY: there is room for n; the memory is aligned to 64 bytes.
            unsafe { items.add(k).write((keyed(k) & NARROW as u64) << 32 | k as u64) };
        }
        // SAFETY: all n were just written.
        let items = unsafe { std::slice::from_raw_parts_mut(items, n) };
        items.sort_unstable();
        items.iter().enumerate().for_each(|(k, &item)| put(k, item as u32 as usize));
    } else {
        let items = scratch.cast::<(u64, u64)>();
        for k in 0..n {
            // SAFETY: there is room for n; the memory is aligned to 64 bytes.
            unsafe { items.add(k).write((keyed(k), k as u64)) };
        }
        // SAFETY: all n were just written.
        let items = unsafe { std::slice::from_raw_parts_mut(items, n) };
        items.sort_unstable();
        items.iter().enumerate().for_each(|(k, &(_, item))| put(k, item as usize));
    }
}

/// Elements as unsigned integers of their size in the same order.
trait Key: Copy {
    fn key(self) -> u64;
}

macro_rules! float_keys {
    ($($t:ty, $bits:ty, $nan:expr;)*) => { $(impl Key for $t {
        fn key(self) -> u64 {
            if $nan(self) {
                return <$bits>::MAX.into();
            }
            let sign: $bits = 1 << (<$bits>::BITS - 1);
            let bits = self.to_bits();
            // Zeros of either sign are one.
            let bits = if bits == sign { 0 } else { bits };
            (if bits & sign == 0 { bits | sign } else { !bits }).into()
        }
    })* };
}
float_keys! {
    f64, u64, f64::is_nan;
    f32, u32, f32::is_nan;
    f16, u16, f16::is_nan;
    bf16, u16, bf16::is_nan;
}

macro_rules! integer_keys {
    (signed $($t:ty, $bits:ty;)*) => { $(impl Key for $t {
        fn key(self) -> u64 {
            (self as $bits ^ (1 << (<$bits>::BITS - 1))).into()
        }
    })* };
    (unsigned $($t:ty),*) => { $(impl Key for $t {
        fn key(self) -> u64 {
            self.into()
        }
    })* };
}
integer_keys! { signed i64, u64; i32, u32; i16, u16; i8, u8; }
integer_keys! { unsigned u64, u32, u16, u8, bool }
