//! Which kernels a sort launches.

use super::{Launch, Launches, Routine, blocks};
use ir::DType;
use smallvec::SmallVec;

/// For each row of `x[outer, n, inner]` along the middle axis, the positions in sorted order, as i64 of the same shape.
/// NaN counts as largest, zeros of either sign as equal; equal elements keep their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    /// Element type.
    pub dtype: DType,
    /// Rows before the axis.
    pub outer: u64,
    /// Length of a row.
    pub n: u64,
    /// Elements from one of a row to the next.
    pub inner: u64,
    /// From the largest to the smallest.
    pub descending: bool,
    /// The address of the first element.
    pub data: u64,
    /// The address of the first position.
    pub out: u64,
}

/// Items that a block sorts at least, if there are as many.
const LEAST: u64 = 256;
/// Blocks that fill a device.
const ENOUGH: u64 = 256;

impl Sort {
    /// Whether an item has 128 bits: where key and position together have more than 64.
    fn is_wide(&self) -> bool {
        self.dtype.size() > 4 || self.n >= u64::from(u32::MAX)
    }

    /// Items that a block holds.
    fn items(&self) -> u64 {
        if self.is_wide() { 1024 } else { 2048 }
    }

    fn elements(&self) -> Option<u64> {
        self.outer.checked_mul(self.inner)?.checked_mul(self.n)
    }

    /// Bytes of memory that the launches need besides; addresses do not matter. `None` if the number overflows.
    pub fn scratch_bytes(&self) -> Option<u64> {
        match self.n <= self.items() {
            true => Some(0),
            // The result is the other half of the memory for narrow items.
            false => self.elements()?.checked_mul(if self.is_wide() { 32 } else { 8 }),
        }
    }

    /// What to launch, with scratch memory at that address, a multiple of 16.
    ///
    /// ```
    /// use codegen::cuda::library::Sort;
    /// let rows = |n: u64| Sort { dtype: ir::DType::F32, outer: 7, n, inner: 1, descending: true, data: 0x1000, out: 0x9000 };
    /// assert_eq!((rows(100).launches(0).len(), rows(100).scratch_bytes()), (1, Some(0)));
    /// assert_eq!((rows(9000).launches(0x20000).len(), rows(9000).scratch_bytes()), (4, Some(7 * 9000 * 8)));
    /// ```
    pub fn launches(&self, scratch: u64) -> Launches {
        let mut launches = Launches::new();
        let (rows, items, wide) = (self.outer.saturating_mul(self.inner), self.items(), self.is_wide());
        let dtype = if self.dtype == DType::Bool { DType::U8 } else { self.dtype };
        if rows == 0 || self.n == 0 {
            return launches;
        }
        let piece = self.n.next_power_of_two().min(items);
        let pieces = self.n.div_ceil(piece).saturating_mul(rows);
        let together = match self.n <= items {
            true => pieces.div_ceil(ENOUGH).max(LEAST / piece).next_power_of_two().clamp(1, items / piece),
            false => 1,
        };
        let merges = self.n.div_ceil(piece).next_power_of_two().trailing_zeros();
        let half = self.elements().unwrap_or(0).saturating_mul(16);
        // The last merge reads the first half and writes the result; those before take turns.
        let half_after = |passes_left: u32| match passes_left % 2 == 1 {
            true => scratch,
            false if wide => scratch.saturating_add(half),
            false => self.out,
        };
        let words = |from: u64, to: u64, run: u64, last: bool| -> SmallVec<[u64; 28]> {
            let shape = [self.outer, self.n, self.inner, u64::from(self.descending)];
            let places = [self.data, self.out, from, to];
            places.into_iter().chain(shape).chain([piece, together, run, u64::from(last)]).collect()
        };
        launches.push(Launch {
            routine: Routine::Sort { dtype, wide },
            blocks: blocks(pieces.div_ceil(together)),
            words: words(0, half_after(merges), 0, merges == 0),
        });
        for pass in 0..merges {
            let left = merges - pass;
            launches.push(Launch {
                routine: Routine::Merge { wide },
                blocks: blocks(pieces),
                words: words(half_after(left), half_after(left - 1), piece << pass, left == 1),
            });
        }
        launches
    }
}
