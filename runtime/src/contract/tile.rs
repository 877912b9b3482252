//! How a product is cut into tiles.

use super::Matmul;
use std::ops::Range;

/// A part of a product's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Which matrix of the batch.
    pub batch: usize,
    /// Its rows.
    pub rows: Range<usize>,
    /// Its columns.
    pub cols: Range<usize>,
}

/// A product cut into tiles. Depends on the shape alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    batch: usize,
    m: usize,
    n: usize,
    /// Rows of every tile but the last.
    pub rows: usize,
    /// Columns of every tile but the last.
    pub cols: usize,
    /// Operations, as if thin tiles were thicker.
    cost: u64,
}

/// A task of fewer operations is not worth a thread: 5 to 10 µs.
const SMALL: u64 = 1 << 20;
/// The largest tile: beyond this, packing an operand again for the next tile no longer shows.
const EDGE: usize = 512;
/// Cutting goes on until there are that many tiles, as long as they do not become small.
const WANTED: u64 = 4;
/// And until there are that many while they are still large, so that more cores than two have work.
const WANTED_LARGE: u64 = 16;
const LARGE: u64 = 48 << 20;
/// Edges are multiples of this where they can be: the widest vector, and what kernels unroll by.
const STEP: usize = 16;
/// Thinner tiles take about as long as ones of this thickness.
const THIN: usize = 32;
/// The narrowest tile that cutting makes.
const NARROW: usize = 32;

impl Tiling {
    pub fn of(product: &Matmul) -> Tiling {
        let Matmul { batch, m, n, k, .. } = *product;
        let mut tiling = Tiling { batch, m, n, rows: even(m, EDGE), cols: even(n, EDGE), cost: 0 };
        let edge = |n: usize| n.max(THIN) as u64;
        let cost =
            |t: &Tiling| 2u64.saturating_mul(edge(t.rows)).saturating_mul(edge(t.cols)).saturating_mul(k.max(1) as u64);
        loop {
            tiling.cost = cost(&tiling);
            let (count, half) = (tiling.count(), tiling.cost / 2);
            if !(count < WANTED && half >= SMALL || count < WANTED_LARGE && half >= LARGE) {
                return tiling;
            }
            if tiling.rows > tiling.cols && tiling.rows > NARROW {
                tiling.rows = even(m, tiling.rows.div_ceil(2).next_multiple_of(STEP));
            } else if tiling.cols > NARROW {
                tiling.cols = even(n, tiling.cols.div_ceil(2).next_multiple_of(STEP));
            } else {
                return tiling;
            }
        }
    }

    fn across(&self) -> [u64; 2] {
        [self.m.div_ceil(self.rows) as u64, self.n.div_ceil(self.cols) as u64]
    }

    pub fn count(&self) -> u64 {
        let [down, right] = self.across();
        (self.batch as u64).saturating_mul(down).saturating_mul(right)
    }

    /// Tiles that make one task.
    pub fn grain(&self) -> u64 {
        (SMALL / self.cost.max(1)).max(1)
    }

    pub fn tile(&self, index: u64) -> Tile {
        let [down, right] = self.across();
        let (rest, j) = ((index / right), (index % right) as usize);
        let (batch, i) = ((rest / down) as usize, (rest % down) as usize);
        let part = |i: usize, size: usize, all: usize| i * size..(i * size + size).min(all);
        Tile { batch, rows: part(i, self.rows, self.m), cols: part(j, self.cols, self.n) }
    }
}

/// The edge that cuts `all` into as many equal parts as edges of at most `edge` would, rounded up to a step.
fn even(all: usize, edge: usize) -> usize {
    if all <= edge {
        return all.max(1);
    }
    all.div_ceil(all.div_ceil(edge)).next_multiple_of(STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Operand;
    use ir::DType;

    fn tiling(batch: usize, m: usize, n: usize, k: usize) -> Tiling {
        let operand = Operand { data: std::ptr::null_mut(), strides: [0; 3] };
        Tiling::of(&Matmul { dtype: DType::F32, batch, m, n, k, lhs: operand, rhs: operand, out: operand })
    }

    #[test]
    fn tiles_cover_the_result_once() {
        for (batch, m, n, k) in
            [(1, 1, 1, 1), (3, 65, 7, 900), (1, 700, 1300, 64), (2, 1, 5000, 700), (1, 5000, 3, 700), (2, 33, 33, 5000)]
        {
            let tiling = tiling(batch, m, n, k);
            let mut seen = vec![0u8; batch * m * n];
            for tile in (0..tiling.count()).map(|i| tiling.tile(i)) {
                assert!(!tile.rows.is_empty() && !tile.cols.is_empty(), "{tile:?}");
                for i in tile.rows.clone() {
                    for j in tile.cols.clone() {
                        seen[(tile.batch * m + i) * n + j] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{tiling:?}");
        }
    }

    #[test]
    fn sizes() {
        let edges = |batch, m, n, k| {
            let t = tiling(batch, m, n, k);
            (t.rows, t.cols, t.count())
        };
        assert_eq!(edges(1, 64, 64, 64), (64, 64, 1));
        assert_eq!(edges(1, 128, 128, 128), (64, 64, 4));
        assert_eq!(edges(1, 128, 512, 784), (128, 128, 4));
        assert_eq!(edges(1, 512, 512, 512), (256, 256, 4));
        assert_eq!(edges(1, 1024, 1024, 1024), (256, 256, 16));
        assert_eq!(edges(1, 8, 3072, 768), (8, 512, 6));
        assert_eq!(edges(1, 1, 1 << 20, 64), (1, 512, 2048));
        assert_eq!(edges(1, 1, 3072, 768), (1, 512, 6));
        assert_eq!(edges(1, 128, 10, 512), (32, 10, 4));
        assert_eq!(edges(1, 10, 10, 20), (10, 10, 1));
        assert_eq!(edges(12, 64, 64, 64), (64, 64, 12));
        assert_eq!(edges(12, 512, 512, 64), (512, 512, 12));
    }
}
