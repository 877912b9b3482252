//! Products of few rows as dot products of contiguous memory, which needs no packing.
//!
//! Each sum has as many partial sums as a 256-bit vector has lanes, added up in a fixed order.

use super::View;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use absent::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::*;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::View;
    use std::arch::x86_64::*;

    /// Whether the processor has the instructions.
    pub fn available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    macro_rules! dots {
        ($name:ident, $t:ty, $lanes:literal, $zero:ident, $load:ident, $store:ident, $fma:ident, |$s:ident| $total:expr) => {
            /// Writes a product, or adds it to `out`.
            ///
            /// # Safety
            /// The views name memory as for a tile, rows of `lhs` and columns of `rhs` are contiguous, and the processor
            /// has the instructions.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe fn $name(mnk: [usize; 3], lhs: View<$t>, rhs: View<$t>, out: View<$t>, add: bool) {
                /// Rows of `lhs` by columns of `rhs`.
                ///
                /// # Safety
                /// As for the whole.
                #[inline]
                #[target_feature(enable = "avx2,fma")]
                unsafe fn columns<const R: usize, const C: usize>(
                    [m, n, k]: [usize; 3],
                    lhs: View<$t>,
                    rhs: View<$t>,
                    out: View<$t>,
                    add: bool,
                ) {
                    let whole = k / $lanes * $lanes;
                    for j in (0..n).step_by(C) {
                        for i in (0..m).step_by(R) {
                            // Rows and columns past the end are the last one again, and are not written.
                            let mut rows = [std::ptr::null_mut::<$t>(); R];
                            let mut cols = [std::ptr::null_mut::<$t>(); C];
                            (0..R).for_each(|r| rows[r] = lhs.at((i + r).min(m - 1), 0));
                            (0..C).for_each(|c| cols[c] = rhs.at(0, (j + c).min(n - 1)));
                            let mut sums = [[$zero(); C]; R];
                            for p in (0..whole).step_by($lanes) {
                                let mut b = [$zero(); C];
                                for c in 0..C {
                                    // SAFETY: `p + lanes <= k`.
                                    b[c] = unsafe { $load(cols[c].add(p)) };
                                }
                                for r in 0..R {
                                    // SAFETY: as above.
                                    let a = unsafe { $load(rows[r].add(p)) };
                                    for c in 0..C {
                                        sums[r][c] = $fma(a, b[c], sums[r][c]);
                                    }
                                }
                            }
                            for r in 0..R.min(m - i) {
                                for c in 0..C.min(n - j) {
                                    let mut $s = [0.0; $lanes];
                                    // SAFETY: the array has that many lanes; offsets are below `k`; the place is the tile's.
                                    unsafe {
                                        $store($s.as_mut_ptr(), sums[r][c]);
                                        for p in whole..k {
                                            $s[p - whole] =
                                                rows[r].add(p).read().mul_add(cols[c].add(p).read(), $s[p - whole]);
                                        }
                                        let place = out.at(i + r, j + c);
                                        place.write(if add { place.read() + $total } else { $total });
                                    }
                                }
                            }
                        }
                    }
                }
                // Sums and operands fill the 16 vector registers.
                // SAFETY: the caller's promise.
                unsafe {
                    match mnk[0] {
                        1 => columns::<1, 8>(mnk, lhs, rhs, out, add),
                        2 => columns::<2, 4>(mnk, lhs, rhs, out, add),
                        3 => columns::<3, 4>(mnk, lhs, rhs, out, add),
                        _ => columns::<4, 3>(mnk, lhs, rhs, out, add),
                    }
                }
            }
        };
    }
    dots!(f32, f32, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, |s| ((s[0] + s[4])
        + (s[2] + s[6]))
        + ((s[1] + s[5]) + (s[3] + s[7])));
    dots!(f64, f64, 4, _mm256_setzero_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, |s| (s[0] + s[2])
        + (s[1] + s[3]));
}

#[cfg(not(target_arch = "x86_64"))]
mod absent {
    use super::View;

    /// Whether the processor has the instructions.
    pub fn available() -> bool {
        false
    }

    /// # Safety
    /// Never called, because not [`available`].
    pub unsafe fn f32(_: [usize; 3], _: View<f32>, _: View<f32>, _: View<f32>, _: bool) {
        unreachable!("not available")
    }

    /// # Safety
    /// Never called, because not [`available`].
    pub unsafe fn f64(_: [usize; 3], _: View<f64>, _: View<f64>, _: View<f64>, _: bool) {
        unreachable!("not available")
    }
}
