//! Sorts on a device, by kernels of our own.

use crate::sort::Rows;
use codegen::cuda::library::{Launches, Sort};

/// Bytes of scratch memory for a sort; its addresses do not matter.
pub(super) fn scratch_bytes(rows: &Rows) -> usize {
    described(rows).scratch_bytes().map_or(usize::MAX, |bytes| bytes as usize)
}

/// What a sort launches, one after the other, with scratch memory at a multiple of 16.
pub(super) fn launches(rows: &Rows, scratch: u64) -> Launches {
    described(rows).launches(scratch)
}

fn described(rows: &Rows) -> Sort {
    let [outer, n, inner] = [rows.outer, rows.n, rows.inner].map(|n| n as u64);
    let (data, out) = (rows.data.addr() as u64, rows.out.addr() as u64);
    Sort { dtype: rows.dtype, outer, n, inner, descending: rows.descending, data, out }
}
