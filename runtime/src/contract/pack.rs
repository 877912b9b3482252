//! Copying a matrix to contiguous rows, along its memory.

use super::View;

/// Edge of the squares in which a matrix with contiguous columns is transposed: a cache line of f32.
const SQUARE: usize = 16;

impl<T: Copy + 'static> View<T> {
    /// Copies `rows` by `cols` elements to `to`, row after row, as `f` converts them.
    ///
    /// # Safety
    /// The elements lie in readable memory, and `to` has room for them and does not overlap them.
    #[inline(always)]
    pub(super) unsafe fn pack<U: 'static>(&self, rows: usize, cols: usize, to: *mut U, f: impl Fn(T) -> U) {
        // SAFETY: the caller's promise; squares are cut at the edges.
        unsafe {
            if self.col == 1 {
                for i in 0..rows {
                    let (from, to) = (self.at(i, 0), to.add(i * cols));
                    (0..cols).for_each(|j| to.add(j).write(f(from.add(j).read())));
                }
                return;
            }
            for i0 in (0..rows).step_by(SQUARE) {
                for j0 in (0..cols).step_by(SQUARE) {
                    let (height, width) = (SQUARE.min(rows - i0), SQUARE.min(cols - j0));
                    for j in j0..j0 + width {
                        (i0..i0 + height).for_each(|i| to.add(i * cols + j).write(f(self.at(i, j).read())));
                    }
                }
            }
        }
    }
}

impl<T: Copy + 'static> View<T> {
    /// Copies `rows` by `cols` elements to `to`, row after row.
    ///
    /// # Safety
    /// As [`View::pack`].
    pub(super) unsafe fn copy(&self, rows: usize, cols: usize, to: *mut T) {
        #[cfg(target_arch = "x86_64")]
        if size_of::<T>() == 4 && self.row == 1 && is_x86_feature_detected!("avx2") {
            // SAFETY: the caller's promise; the size and the instructions are as required.
            return unsafe { transpose_words(self, rows, cols, to) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.pack(rows, cols, to, |x| x) }
    }
}

/// [`View::copy`] of contiguous columns of four-byte elements, in squares of eight.
///
/// # Safety
/// As [`View::copy`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn transpose_words<T: Copy + 'static>(from: &View<T>, rows: usize, cols: usize, to: *mut T) {
    use std::arch::x86_64::*;
    const EDGE: usize = 8;
    let (whole_rows, whole_cols) = (rows / EDGE * EDGE, cols / EDGE * EDGE);
    // SAFETY: squares lie within both matrices; the rest is copied element by element.
    unsafe {
        // Down the rows first: the lines of memory that eight columns share are read to their ends.
        for j in (0..whole_cols).step_by(EDGE) {
            for i in (0..whole_rows).step_by(EDGE) {
                let mut x = [_mm256_setzero_ps(); EDGE];
                (0..EDGE).for_each(|c| x[c] = _mm256_loadu_ps(from.at(i, j + c).cast()));
                let mut y = [_mm256_setzero_ps(); EDGE];
                for c in (0..EDGE).step_by(2) {
                    (y[c], y[c + 1]) = (_mm256_unpacklo_ps(x[c], x[c + 1]), _mm256_unpackhi_ps(x[c], x[c + 1]));
                }
                for c in (0..EDGE).step_by(4) {
                    x[c] = _mm256_shuffle_ps::<0x44>(y[c], y[c + 2]);
                    x[c + 1] = _mm256_shuffle_ps::<0xee>(y[c], y[c + 2]);
                    x[c + 2] = _mm256_shuffle_ps::<0x44>(y[c + 1], y[c + 3]);
                    x[c + 3] = _mm256_shuffle_ps::<0xee>(y[c + 1], y[c + 3]);
                }
                for r in 0..4 {
                    let (low, high) = (
                        _mm256_permute2f128_ps::<0x20>(x[r], x[r + 4]),
                        _mm256_permute2f128_ps::<0x31>(x[r], x[r + 4]),
                    );
                    _mm256_storeu_ps(to.add((i + r) * cols + j).cast(), low);
                    _mm256_storeu_ps(to.add((i + r + 4) * cols + j).cast(), high);
                }
            }
        }
        for i in 0..rows {
            let begin = if i < whole_rows { whole_cols } else { 0 };
            (begin..cols).for_each(|j| to.add(i * cols + j).write(from.at(i, j).read()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_rows() {
        for (rows, cols) in [(1, 1), (8, 8), (16, 24), (7, 9), (31, 33), (64, 5), (3, 70)] {
            for (row, col) in [(cols as isize, 1), (1, rows as isize), (1, rows as isize + 3), (2, 2 * rows as isize)] {
                let mut data: Vec<i32> = (0..(rows as isize * row + cols as isize * col) as i32).collect();
                let view = View { data: data.as_mut_ptr(), row, col };
                let mut wide: Vec<i64> = data.iter().map(|&x| x as i64).collect();
                let wide_view = View { data: wide.as_mut_ptr(), row, col };
                let (mut out, mut wide_out) = (vec![-1; rows * cols], vec![-1; rows * cols]);
                // SAFETY: the vectors hold every element that the strides name.
                unsafe {
                    view.copy(rows, cols, out.as_mut_ptr());
                    wide_view.copy(rows, cols, wide_out.as_mut_ptr());
                }
                for i in 0..rows {
                    for j in 0..cols {
                        let expected = i as i32 * row as i32 + j as i32 * col as i32;
                        assert_eq!(out[i * cols + j], expected, "{rows} x {cols}, strides {row}, {col}, at {i}, {j}");
                        assert_eq!(wide_out[i * cols + j], expected as i64);
                    }
                }
            }
        }
    }
}
