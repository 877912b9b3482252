//! Products of f32 and f64 within a tile: `gemm`, a packing that `gemm` lacks, and dot products for few rows.

use super::{View, dot};

/// A float with a library kernel.
pub(super) trait Float: Copy + 'static {
    /// Writes the product to `out`, or adds it. The rows of `out` should be contiguous.
    ///
    /// # Safety
    /// The views name memory as for a tile.
    unsafe fn library(mnk: [usize; 3], lhs: View<Self>, rhs: View<Self>, out: View<Self>, add: bool);

    /// The same for contiguous rows of `lhs` and columns of `rhs`.
    ///
    /// # Safety
    /// As `library`, and [`dot::available`].
    unsafe fn dots(mnk: [usize; 3], lhs: View<Self>, rhs: View<Self>, out: View<Self>, add: bool);
}

macro_rules! floats {
    ($($t:ident => $function:path;)*) => { $(impl Float for $t {
        unsafe fn library([m, n, k]: [usize; 3], lhs: View<$t>, rhs: View<$t>, out: View<$t>, add: bool) {
            let (none, alpha) = (gemm_common::Parallelism::None, if add { 1.0 } else { 0.0 });
            // The library prefers contiguous columns of the result, so it gets the transposed product.
            // SAFETY: the caller's promise is the library's requirement.
            unsafe {
                $function()(
                    n, m, k, out.data, out.row, out.col, add, rhs.data, rhs.row, rhs.col, lhs.data, lhs.row, lhs.col,
                    alpha, 1.0, false, false, false, none,
                )
            }
        }

        unsafe fn dots(mnk: [usize; 3], lhs: View<$t>, rhs: View<$t>, out: View<$t>, add: bool) {
            // SAFETY: the caller's promise.
            unsafe { dot::$t(mnk, lhs, rhs, out, add) }
        }
    })* };
}
floats! {
    f32 => gemm_f32::gemm::f32::get_gemm_fn;
    f64 => gemm_f64::gemm::f64::get_gemm_fn;
}

/// With at most so many rows, packing the right operand costs more than multiplying by it.
const FEW_ROWS: usize = 8;
/// Elements of the right operand that are packed at a time: half of a usual second-level cache.
const PACKED: usize = 64 << 10;

/// Terms of the sum that are packed at a time.
fn block(n: usize, k: usize) -> usize {
    (PACKED / n.max(1)).clamp(64, 2048).min(k)
}

/// Elements of working space for a tile.
pub(super) fn scratch_elements([m, n, k]: [usize; 3], lhs: [isize; 2], rhs: [isize; 2], out: [isize; 2]) -> usize {
    match transposed(out) {
        true => packed_elements([n, m, k], swapped(rhs), swapped(lhs)),
        false => packed_elements([m, n, k], lhs, rhs),
    }
}

fn packed_elements([m, n, k]: [usize; 3], lhs: [isize; 2], rhs: [isize; 2]) -> usize {
    if is_dot(m, lhs, rhs) || !is_packed(m, n, rhs) { 0 } else { n * block(n, k) }
}

/// Whether the transposed product is the one with contiguous rows in its result.
fn transposed([row, col]: [isize; 2]) -> bool {
    col.unsigned_abs() > row.unsigned_abs()
}
fn swapped([row, col]: [isize; 2]) -> [isize; 2] {
    [col, row]
}
/// Whether the product is one of dot products of contiguous memory.
fn is_dot(m: usize, lhs: [isize; 2], rhs: [isize; 2]) -> bool {
    m <= FEW_ROWS && lhs[1] == 1 && rhs[0] == 1 && rhs[1] != 1 && dot::available()
}
fn is_packed(m: usize, n: usize, rhs: [isize; 2]) -> bool {
    rhs[1] != 1 && m > FEW_ROWS && n > 1
}

/// Writes a product, or adds it to `out`.
///
/// # Safety
/// The views name memory as for a tile; `scratch` has room for [`scratch_elements`].
pub(super) unsafe fn multiply<T: Float>(
    [m, n, k]: [usize; 3],
    lhs: View<T>,
    rhs: View<T>,
    out: View<T>,
    add: bool,
    scratch: *mut T,
) {
    let ([m, n], lhs, rhs, out) = match transposed(out.strides()) {
        true => ([n, m], rhs.transposed(), lhs.transposed(), out.transposed()),
        false => ([m, n], lhs, rhs, out),
    };
    // SAFETY: the parts lie in the views; the scratch memory has room for a block.
    unsafe {
        if is_dot(m, lhs.strides(), rhs.strides()) {
            return T::dots([m, n, k], lhs, rhs, out, add);
        }
        if k == 0 || !is_packed(m, n, rhs.strides()) {
            return T::library([m, n, k], lhs, rhs, out, add);
        }
        for p in (0..k).step_by(block(n, k)) {
            let terms = block(n, k).min(k - p);
            rhs.from(p, 0).copy(terms, n, scratch);
            let packed = View { data: scratch, row: n as isize, col: 1 };
            T::library([m, n, terms], lhs.from(0, p), packed, out, add || p > 0);
        }
    }
}
