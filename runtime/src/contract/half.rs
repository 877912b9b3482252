//! Products of 16-bit floats: widened to f32 by blocks, summed in f32, rounded once.

use super::{View, float};
use ir::half::{bf16, f16};

/// Terms of the sum that are widened at a time.
const BLOCK: usize = 512;

pub(super) trait Half: Copy + 'static {
    /// Copies a matrix to contiguous f32 rows.
    ///
    /// # Safety
    /// As [`View::pack`].
    unsafe fn widen(from: &View<Self>, rows: usize, cols: usize, to: *mut f32);
    /// Rounds to nearest even.
    fn round(x: f32) -> Self;
}

impl Half for f16 {
    unsafe fn widen(from: &View<f16>, rows: usize, cols: usize, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            if from.col == 1 {
                use ir::half::slice::HalfFloatSliceExt;
                for i in 0..rows {
                    let row = std::slice::from_raw_parts(from.at(i, 0), cols);
                    row.convert_to_f32_slice(std::slice::from_raw_parts_mut(to.add(i * cols), cols));
                }
            } else {
                from.pack(rows, cols, to, f16::to_f32);
            }
        }
    }
    fn round(x: f32) -> f16 {
        f16::from_f32(x)
    }
}

impl Half for bf16 {
    unsafe fn widen(from: &View<bf16>, rows: usize, cols: usize, to: *mut f32) {
        // SAFETY: the caller's promise. `bf16::to_f32` would quiet NaNs, which a product does anyway.
        unsafe { from.pack(rows, cols, to, |x| f32::from_bits((x.to_bits() as u32) << 16)) }
    }
    fn round(x: f32) -> bf16 {
        bf16::from_f32(x)
    }
}

/// Bytes of working space for a tile.
pub(super) fn scratch_bytes([m, n, k]: [usize; 3], rhs: [isize; 2]) -> usize {
    let k = k.min(BLOCK);
    // What the product of the widened operands needs: nothing, or its right operand packed.
    let packed = if along_rows(rhs) { 0 } else { k * n };
    4 * (m * k + k * n + m * n + packed)
}

/// Whether memory runs along the rows; widening keeps that.
fn along_rows([row, col]: [isize; 2]) -> bool {
    row.unsigned_abs() >= col.unsigned_abs()
}

/// # Safety
/// As for a tile; `scratch` holds [`scratch_bytes`].
pub(super) unsafe fn multiply<T: Half>(
    [m, n, k]: [usize; 3],
    lhs: View<T>,
    rhs: View<T>,
    out: View<T>,
    scratch: *mut f32,
) {
    let block = k.min(BLOCK);
    // SAFETY: the four areas lie behind one another in the scratch memory; the operands' elements are the caller's
    // promise.
    unsafe {
        let (left, right, sums) = (scratch, scratch.add(m * block), scratch.add((m + n) * block));
        let rest = sums.add(m * n);
        let sums_view = View { data: sums, row: n as isize, col: 1 };
        sums.write_bytes(0, m * n);
        for p in (0..k).step_by(BLOCK) {
            let len = block.min(k - p);
            let left_view = widen(lhs.from(0, p), m, len, left);
            let right_view = widen(rhs.from(p, 0), len, n, right);
            float::multiply([m, n, len], left_view, right_view, sums_view, p > 0, rest);
        }
        for i in 0..m {
            for j in 0..n {
                out.at(i, j).write(T::round(sums.add(i * n + j).read()));
            }
        }
    }
}

/// Widens a matrix to `to` in the order of its memory.
///
/// # Safety
/// As [`View::pack`].
unsafe fn widen<T: Half>(from: View<T>, rows: usize, cols: usize, to: *mut f32) -> View<f32> {
    // SAFETY: the caller's promise.
    unsafe {
        if along_rows(from.strides()) {
            T::widen(&from, rows, cols, to);
            View { data: to, row: cols as isize, col: 1 }
        } else {
            T::widen(&from.transposed(), cols, rows, to);
            View { data: to, row: 1, col: rows as isize }
        }
    }
}
