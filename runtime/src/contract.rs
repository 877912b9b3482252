//! Matrix products: one trait, and its implementation over the `gemm` crate.
//!
//! A product is cut into tiles by its shape and strides alone, and the tiles are the tasks of one pool run, so the
//! result has the same bits for any number of threads. Within a tile, f32 and f64 are `gemm`'s, called single-threaded;
//! f16 and bf16 are widened to f32 by blocks, summed in f32 and rounded once; integers wrap.
//!
//! `gemm` fuses multiplication and addition and blocks the sum by the sizes of the caches, so its bits differ between
//! machines, and from the reference evaluation within a bound that grows with the length of the sum.

mod dot;
mod float;
mod half;
mod integer;
mod pack;
mod tile;

pub use tile::Tile;

use crate::pool::{Pool, TaskPanic};
use crate::scratch::Scratch;
use ir::DType;
use tile::Tiling;

/// One matrix in each of a batch of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The first element of the first matrix.
    pub data: *mut u8,
    /// Elements from one matrix, row and column to the next. May be zero or negative, except in the result.
    pub strides: [isize; 3],
}

/// `out[b, i, j] = sum over p of lhs[b, i, p] * rhs[b, p, j]`, with `k` values of `p`. The result is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matmul {
    /// Element type of all three.
    pub dtype: DType,
    /// Number of products.
    pub batch: usize,
    /// Rows of the left operand and the result.
    pub m: usize,
    /// Columns of the right operand and the result.
    pub n: usize,
    /// Columns of the left operand and rows of the right. With 0 the result is zeros.
    pub k: usize,
    /// Left operand; only read.
    pub lhs: Operand,
    /// Right operand; only read.
    pub rhs: Operand,
    /// Result.
    pub out: Operand,
}

/// Called once for each tile of the result, on the thread that computed it, right after it is complete.
pub type Epilogue<'a> = dyn Fn(&Tile) + Sync + 'a;

/// Why a product failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatmulError {
    /// The library cannot multiply this dtype.
    #[error("no matrix product of dtype {0}")]
    Dtype(DType),
    /// A task panicked.
    #[error(transparent)]
    Panic(#[from] TaskPanic),
}

/// A library of matrix products.
pub trait MatmulLibrary: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Bytes of working memory that each thread needs for a product; its pointers do not matter.
    fn scratch_bytes(&self, product: &Matmul) -> usize;

    /// Computes a product on threads of `pool`, as many as `scratch` has parts, with the same bits for any number of them.
    ///
    /// # Safety
    /// Each part of `scratch` has the [bytes](MatmulLibrary::scratch_bytes) that the product asks for.
    /// Every element that the shape and strides name lies in memory valid for reads, and for the result for writes; all
    /// are aligned to their dtype; the result has no element twice, and nothing else accesses it meanwhile; the operands
    /// may share memory with each other, not with the result.
    unsafe fn multiply(
        &self,
        pool: &Pool,
        product: &Matmul,
        scratch: &Scratch,
        epilogue: Option<&Epilogue>,
    ) -> Result<(), MatmulError>;
}

/// The library that executables use on the CPU.
pub fn library() -> &'static dyn MatmulLibrary {
    &Gemm
}

/// [`MatmulLibrary`] over the `gemm` crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gemm;

impl MatmulLibrary for Gemm {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn scratch_bytes(&self, product: &Matmul) -> usize {
        // Whether the product is folded depends on the epilogue.
        let need = |product: &Matmul| match product.batch == 0 || product.m == 0 || product.n == 0 {
            true => 0,
            false => tile_scratch_bytes(product, &Tiling::of(product)),
        };
        need(product).max(need(&product.fold_batch()))
    }

    unsafe fn multiply(
        &self,
        pool: &Pool,
        product: &Matmul,
        scratch: &Scratch,
        epilogue: Option<&Epilogue>,
    ) -> Result<(), MatmulError> {
        if product.dtype == DType::Bool {
            return Err(MatmulError::Dtype(product.dtype));
        }
        // Tiles are named in the rows of the product as it was asked for, so an epilogue forbids folding.
        let product = if epilogue.is_some() { *product } else { product.fold_batch() };
        if product.batch == 0 || product.m == 0 || product.n == 0 {
            return Ok(());
        }
        let tiling = Tiling::of(&product);
        debug_assert!(tile_scratch_bytes(&product, &tiling) <= scratch.bytes());
        let shared = Shared((product, scratch));
        pool.run_on(scratch.threads(), tiling.count(), tiling.grain(), &|worker, begin, end| {
            let (product, scratch) = shared.get();
            let scratch = scratch.of(worker);
            for index in begin..end {
                let tile = tiling.tile(index);
                // SAFETY: the caller vouches for the operands; tiles lie inside the shape and do not overlap; each worker
                // has its own part of the scratch memory, of the size that its dtype asked for.
                unsafe { multiply_tile(product, &tile, scratch) };
                if let Some(epilogue) = epilogue {
                    epilogue(&tile);
                }
            }
        })?;
        Ok(())
    }
}

/// Pointers that tasks share.
struct Shared<T>(T);
// SAFETY: tasks use disjoint parts of what they point to.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> &T {
        &self.0
    }
}

impl Matmul {
    /// The same product with the batch as further rows, where the strides allow it.
    pub(crate) fn fold_batch(&self) -> Matmul {
        let rows_go_on =
            |operand: &Operand| Some(operand.strides[0]) == operand.strides[1].checked_mul(self.m as isize);
        let rows = self.batch.checked_mul(self.m);
        match rows {
            Some(m) if self.rhs.strides[0] == 0 && rows_go_on(&self.lhs) && rows_go_on(&self.out) => {
                Matmul { batch: 1, m, ..*self }
            }
            _ => *self,
        }
    }
}

impl Operand {
    /// The element at a place, for elements of `size` bytes.
    fn at(&self, size: usize, batch: usize, row: usize, col: usize) -> *mut u8 {
        let [b, r, c] = self.strides;
        let elements = batch as isize * b + row as isize * r + col as isize * c;
        self.data.wrapping_offset(elements * size as isize)
    }
}

fn tile_scratch_bytes(product: &Matmul, tiling: &Tiling) -> usize {
    let mnk = [tiling.rows, tiling.cols, product.k];
    let [lhs, rhs, out] = [product.lhs, product.rhs, product.out].map(|x| [x.strides[1], x.strides[2]]);
    match product.dtype {
        DType::F16 | DType::BF16 => half::scratch_bytes(mnk, rhs),
        // The last tiles may have so few rows or columns that they go another way than the others; take the larger need.
        DType::F64 | DType::F32 => {
            let elements =
                edges(tiling.rows, product.m).into_iter().flat_map(|m| edges(tiling.cols, product.n).map(|n| [m, n]));
            let elements = elements.map(|[m, n]| float::scratch_elements([m, n, product.k], lhs, rhs, out)).max();
            product.dtype.size() * elements.unwrap_or(0)
        }
        DType::Bool => 0,
        int => integer::scratch_bytes(int, tiling.cols, product.k),
    }
}

/// The edge of most tiles, and that of the last.
fn edges(edge: usize, all: usize) -> [usize; 2] {
    [edge, all - (all - 1) / edge * edge]
}

/// # Safety
/// As [`MatmulLibrary::multiply`], for the elements of the tile; `scratch` is aligned and holds [`tile_scratch_bytes`].
unsafe fn multiply_tile(product: &Matmul, tile: &Tile, scratch: *mut u8) {
    let (size, b, i, j) = (product.dtype.size(), tile.batch, tile.rows.start, tile.cols.start);
    let (m, n, k) = (tile.rows.len(), tile.cols.len(), product.k);
    let lhs = View::new(product.lhs.at(size, b, i, 0), product.lhs);
    let rhs = View::new(product.rhs.at(size, b, 0, j), product.rhs);
    let out = View::new(product.out.at(size, b, i, j), product.out);
    // SAFETY: the caller's promise, restricted to this tile.
    unsafe {
        match product.dtype {
            DType::F32 => float::multiply::<f32>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), false, scratch.cast()),
            DType::F64 => float::multiply::<f64>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), false, scratch.cast()),
            DType::F16 => {
                half::multiply::<ir::half::f16>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), scratch.cast())
            }
            DType::BF16 => {
                half::multiply::<ir::half::bf16>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), scratch.cast())
            }
            DType::Bool => unreachable!("refused before"),
            // Wrapping sums of products have the same bits with and without a sign.
            int => match int.size() {
                8 => integer::multiply::<u64>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), scratch.cast()),
                4 => integer::multiply::<u32>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), scratch.cast()),
                2 => integer::multiply::<u16>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), scratch.cast()),
                _ => integer::multiply::<u8>([m, n, k], lhs.cast(), rhs.cast(), out.cast(), scratch.cast()),
            },
        }
    }
}

/// A matrix in memory: first element, and elements from one row and column to the next.
#[derive(Clone, Copy)]
struct View<T> {
    data: *mut T,
    row: isize,
    col: isize,
}

impl View<u8> {
    fn new(data: *mut u8, operand: Operand) -> View<u8> {
        View { data, row: operand.strides[1], col: operand.strides[2] }
    }
    fn cast<T>(self) -> View<T> {
        View { data: self.data.cast(), row: self.row, col: self.col }
    }
}

impl<T: Copy> View<T> {
    fn at(&self, row: usize, col: usize) -> *mut T {
        self.data.wrapping_offset(row as isize * self.row + col as isize * self.col)
    }
    /// The part that begins at a row and column.
    fn from(&self, row: usize, col: usize) -> View<T> {
        View { data: self.at(row, col), ..*self }
    }
    fn strides(&self) -> [isize; 2] {
        [self.row, self.col]
    }
    fn transposed(self) -> View<T> {
        View { data: self.data, row: self.col, col: self.row }
    }
}

#[cfg(test)]
#[path = "contract/tests.rs"]
mod tests;
