//! Products of integers: exact, wrapping.

use super::View;
use ir::DType;

/// Terms of the sum and columns that are packed at a time.
const TERMS: usize = 256;
const COLS: usize = 256;
/// Terms that are added in one pass over the sums.
const AT_ONCE: usize = 8;

/// Wrapping arithmetic of one integer type.
pub(super) trait Integer: Copy + Default + 'static {
    /// `self + a * b`.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + b`.
    fn add(self, b: Self) -> Self;
}
macro_rules! integers {
    ($($t:ty),*) => { $(impl Integer for $t {
        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self { self.wrapping_add(a.wrapping_mul(b)) }
        #[inline(always)]
        fn add(self, b: Self) -> Self { self.wrapping_add(b) }
    })* };
}
integers!(u64, u32, u16, u8);

/// Bytes of working space for a tile.
pub(super) fn scratch_bytes(dtype: DType, n: usize, k: usize) -> usize {
    dtype.size() * n.min(COLS) * k.min(TERMS)
}

/// # Safety
/// As for a tile; `scratch` holds [`scratch_bytes`].
pub(super) unsafe fn multiply<T: Integer>(mnk: [usize; 3], lhs: View<T>, rhs: View<T>, out: View<T>, scratch: *mut T) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        unsafe fn wide<T: Integer>(mnk: [usize; 3], lhs: View<T>, rhs: View<T>, out: View<T>, scratch: *mut T) {
            // SAFETY: the caller's promise.
            unsafe { narrow(mnk, lhs, rhs, out, scratch) }
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions.
            return unsafe { wide(mnk, lhs, rhs, out, scratch) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { narrow(mnk, lhs, rhs, out, scratch) }
}

/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn narrow<T: Integer>([m, n, k]: [usize; 3], lhs: View<T>, rhs: View<T>, out: View<T>, scratch: *mut T) {
    // SAFETY: indices stay within the tile and the scratch area; the rest is the caller's promise.
    unsafe {
        for j0 in (0..n).step_by(COLS) {
            let cols = COLS.min(n - j0);
            for i in 0..m {
                (0..cols).for_each(|j| out.at(i, j0 + j).write(T::default()));
            }
            for p0 in (0..k).step_by(TERMS) {
                let terms = TERMS.min(k - p0);
                rhs.from(p0, j0).copy(terms, cols, scratch);
                for i in 0..m {
                    let mut sums = [T::default(); COLS];
                    let sums = &mut sums[..cols];
                    // Several terms at a time, to go through the sums less often.
                    for p in (0..terms).step_by(AT_ONCE) {
                        let last = |q: usize| (p + q).min(terms - 1);
                        let a: [T; AT_ONCE] = std::array::from_fn(|q| match p + q < terms {
                            true => lhs.at(i, p0 + p + q).read(),
                            false => T::default(),
                        });
                        let rows: [*const T; AT_ONCE] =
                            std::array::from_fn(|q| scratch.add(last(q) * cols).cast_const());
                        for (j, sum) in sums.iter_mut().enumerate() {
                            *sum = (0..AT_ONCE).fold(*sum, |sum, q| sum.add_product(a[q], rows[q].add(j).read()));
                        }
                    }
                    for (j, &sum) in sums.iter().enumerate() {
                        let place = out.at(i, j0 + j);
                        place.write(place.read().add(sum));
                    }
                }
            }
        }
    }
}
