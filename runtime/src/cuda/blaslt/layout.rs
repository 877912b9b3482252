//! Products in the words of cuBLASLt: matrices in columns, each maybe transposed.

use crate::contract::Matmul;
use codegen::cuda::library::Epilogue;
use ir::DType;
use ir::program::Activation;

/// A matrix in columns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stored {
    pub rows: u64,
    pub cols: u64,
    /// Elements from one column to the next.
    pub ld: i64,
    /// Elements from one matrix of the batch to the next.
    pub batch: i64,
    /// Whether the product takes the transposed matrix.
    pub transposed: bool,
}

/// A product as the library is asked for it: `d = a * b`, all in columns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Call {
    pub dtype: DType,
    pub tf32: bool,
    pub batch: i32,
    pub a: Stored,
    pub b: Stored,
    pub d: Stored,
    pub bias: bool,
    pub activation: Activation,
    /// Whether the right operand is `a`: then `d` is the transposed result, whose columns are rows of the result.
    pub exchanged: bool,
}

/// The largest number of rows, columns and matrices that the library counts.
const MOST: u64 = i32::MAX as u64;

impl Call {
    /// How to ask for a product, or why it cannot be asked for.
    pub fn of(product: &Matmul, epilogue: &Epilogue, tf32: bool) -> Result<Call, &'static str> {
        let p = product.fold_batch();
        if !matches!(p.dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
            return Err("it has no products of this dtype that wrap");
        }
        if p.k == 0 {
            return Err("a sum has no terms");
        }
        let batch_of = |strides: [isize; 3]| if p.batch == 1 { 0 } else { strides[0] as i64 };
        let matrix = |rows, cols, strides: [isize; 3], turn: bool| match turn {
            false => stored(rows, cols, [strides[1], strides[2]], batch_of(strides)),
            true => stored(cols, rows, [strides[2], strides[1]], batch_of(strides)),
        };
        let whole = |exchanged: bool| -> Result<Call, &'static str> {
            let d = matrix(p.m, p.n, p.out.strides, exchanged).filter(|d| !d.transposed);
            let d = d.ok_or("neither rows nor columns of the result are contiguous")?;
            let lhs = matrix(p.m, p.k, p.lhs.strides, exchanged);
            let lhs = lhs.ok_or("neither rows nor columns of the left operand are contiguous and apart")?;
            let rhs = matrix(p.k, p.n, p.rhs.strides, exchanged);
            let rhs = rhs.ok_or("neither rows nor columns of the right operand are contiguous and apart")?;
            let (a, b) = if exchanged { (rhs, lhs) } else { (lhs, rhs) };
            let numbers = [a, b, d].into_iter().flat_map(|x| [x.rows, x.cols, x.ld as u64]);
            if numbers.chain([p.batch as u64]).any(|n| n > MOST) {
                return Err("a number is larger than the library counts");
            }
            if [a, b, d].iter().any(|x| x.batch < 0) || (p.batch > 1 && d.batch == 0) {
                return Err("matrices of the batch are in reverse");
            }
            let (dtype, activation) = (p.dtype, epilogue.activation);
            let bias = epilogue.bias.is_some();
            Ok(Call {
                dtype,
                tf32: tf32 && dtype == DType::F32,
                batch: p.batch as i32,
                a,
                b,
                d,
                bias,
                activation,
                exchanged,
            })
        };
        match whole(true) {
            // The library adds a bias to each column.
            Err(_) if epilogue.bias.is_none() => whole(false),
            other => other,
        }
    }
}

/// A matrix by its strides from row to row and column to column.
fn stored(rows: usize, cols: usize, [row, col]: [isize; 2], batch: i64) -> Option<Stored> {
    // Strides along an axis of one element do not matter.
    let ld = |inner: usize, stride: isize, outer: usize, ld: isize| match (inner > 1 && stride != 1, outer > 1) {
        (true, _) => None,
        (false, true) => (ld >= inner.max(1) as isize).then_some(ld as i64),
        (false, false) => Some(inner.max(1) as i64),
    };
    let matrix = |rows: usize, cols: usize, ld, transposed| Stored {
        rows: rows as u64,
        cols: cols as u64,
        ld,
        batch,
        transposed,
    };
    match (ld(rows, row, cols, col), ld(cols, col, rows, row)) {
        (Some(ld), _) => Some(matrix(rows, cols, ld, false)),
        (None, Some(ld)) => Some(matrix(cols, rows, ld, true)),
        (None, None) => None,
    }
}
