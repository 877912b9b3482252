use super::*;
use crate::buffer::Buffer;
use ir::half::{bf16, f16};
use ir::{Element, Literal, Scalar, for_each_dtype};
use std::sync::Mutex;

/// How the elements of an operand lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Cols,
    /// Rows with a gap behind each, batches in reverse.
    Gap,
    /// One row for all.
    SameRow,
    /// One matrix for the whole batch.
    SameMatrix,
}
use Layout::*;

/// A matrix batch in memory of its own; `first` is the element that index 0 names.
struct Matrices {
    data: Buffer,
    first: usize,
    strides: [isize; 3],
}

impl Matrices {
    fn new(dtype: DType, layout: Layout, [batch, rows, cols]: [usize; 3], seed: u64) -> Matrices {
        let (b, r, c) = (batch as isize, rows as isize, cols as isize);
        let (strides, first, len) = match layout {
            Rows => ([r * c, c, 1], 0, b * r * c),
            Cols => ([r * c, 1, r], 0, b * r * c),
            Gap => ([-(r * (c + 3)), c + 3, 1], (b - 1).max(0) * r * (c + 3), b * r * (c + 3)),
            SameRow => ([c, 0, 1], 0, b * c),
            SameMatrix => ([0, c, 1], 0, r * c),
        };
        let mut state = seed.wrapping_mul(0x9e3779b97f4a7c15) | 1;
        let values = Literal::from_fn(&[len as usize], dtype, |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            match dtype.is_float() {
                // Few bits, so that sums of 16-bit inputs differ from sums rounded on the way.
                true => Scalar::of(dtype, (state >> 57) as f64 / 32.0 - 2.0),
                false => Scalar::I64((state >> 20) as i64).convert(dtype),
            }
        });
        Matrices { data: Buffer::from_literal(&values).unwrap(), first: first as usize, strides }
    }

    fn operand(&self, dtype: DType) -> Operand {
        Operand { data: self.data.ptr().wrapping_add(self.first * dtype.size()), strides: self.strides }
    }

    fn at(&self, [b, i, j]: [usize; 3]) -> usize {
        let [sb, si, sj] = self.strides;
        (self.first as isize + b as isize * sb + i as isize * si + j as isize * sj) as usize
    }
}

fn scratch(threads: usize, product: &Matmul) -> Scratch {
    Scratch::new(threads, Gemm.scratch_bytes(product)).unwrap()
}

struct Case {
    dtype: DType,
    shape: [usize; 4],
    layouts: [Layout; 3],
}

impl Case {
    fn matrices(&self) -> [Matrices; 3] {
        let [batch, m, n, k] = self.shape;
        let lhs = Matrices::new(self.dtype, self.layouts[0], [batch, m, k], 1);
        let rhs = Matrices::new(self.dtype, self.layouts[1], [batch, k, n], 2);
        let out = Matrices::new(self.dtype, self.layouts[2], [batch, m, n], 3);
        [lhs, rhs, out]
    }

    fn run(&self, pool: &Pool, threads: usize, epilogue: Option<&Epilogue>) -> [Matrices; 3] {
        let matrices = self.matrices();
        self.multiply(pool, threads, &matrices, epilogue);
        matrices
    }

    fn multiply(&self, pool: &Pool, threads: usize, matrices: &[Matrices; 3], epilogue: Option<&Epilogue>) {
        let [batch, m, n, k] = self.shape;
        let [l, r, o] = matrices.each_ref().map(|x| x.operand(self.dtype));
        let product = Matmul { dtype: self.dtype, batch, m, n, k, lhs: l, rhs: r, out: o };
        // SAFETY: `Matrices` holds every element that its strides name.
        unsafe { Gemm.multiply(pool, &product, &scratch(threads, &product), epilogue) }.unwrap();
    }

    /// Compares with sums in f64 or in wrapping integers.
    fn check(&self, pool: &Pool) {
        macro_rules! check { ($(($v:ident, $t:ty)),*) => { match self.dtype { $(DType::$v => self.check_as::<$t>(pool)),* } } }
        for_each_dtype!(check)
    }

    fn check_as<T: Element>(&self, pool: &Pool) {
        let [batch, m, n, k] = self.shape;
        let matrices = self.run(pool, 2, None);
        let [x, y, z] = matrices.each_ref().map(|x| x.data.view::<T>().unwrap());
        let [lhs, rhs, out] = &matrices;
        for b in 0..batch {
            for i in 0..m {
                for j in 0..n {
                    let terms = (0..k).map(|p| (x[lhs.at([b, i, p])].to_scalar(), y[rhs.at([b, p, j])].to_scalar()));
                    let got = z[out.at([b, i, j])].to_scalar();
                    let place = || format!("{:?} {:?} {:?} at {:?}", self.dtype, self.shape, self.layouts, [b, i, j]);
                    if self.dtype.is_int() {
                        let sum = terms.fold(0i64, |s, (x, y)| s.wrapping_add(x.as_i64().wrapping_mul(y.as_i64())));
                        assert_eq!(got, Scalar::I64(sum).convert(self.dtype), "{}", place());
                        continue;
                    }
                    let (sum, size) = terms.fold((0.0, 0.0), |(s, a), (x, y)| {
                        let product = x.as_f64() * y.as_f64();
                        (s + product, a + product.abs())
                    });
                    // One rounding to the dtype, and the accumulator's error over the length.
                    let (unit, sums) = match self.dtype {
                        DType::F64 => (0.0, f64::EPSILON),
                        DType::F32 => (0.0, f32::EPSILON as f64),
                        DType::F16 => (f16::EPSILON.to_f64() / 2.0, f32::EPSILON as f64),
                        _ => (bf16::EPSILON.to_f64() / 2.0, f32::EPSILON as f64),
                    };
                    let bound = unit * sum.abs() * 1.001 + sums * size * (k as f64).sqrt().max(1.0);
                    assert!((got.as_f64() - sum).abs() <= bound, "{got} is not {sum} within {bound}: {}", place());
                }
            }
        }
    }
}

#[test]
fn every_dtype_and_layout() {
    let pool = Pool::new(2);
    for dtype in DType::ALL.into_iter().filter(|&d| d != DType::Bool) {
        for lhs in [Rows, Cols, Gap, SameRow, SameMatrix] {
            for rhs in [Rows, Cols, Gap, SameRow, SameMatrix] {
                for out in [Rows, Cols, Gap] {
                    Case { dtype, shape: [2, 5, 9, 7], layouts: [lhs, rhs, out] }.check(&pool);
                }
            }
        }
    }
}

#[test]
fn shapes_with_edges_and_many_blocks() {
    let pool = Pool::new(2);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::I64, DType::U8] {
        for shape in [
            [1, 1, 1, 1],
            [1, 1, 300, 70],
            [1, 300, 1, 70],
            [1, 1, 1, 1500],
            [1, 3, 5, 1100],
            [3, 17, 33, 65],
            [1, 130, 70, 520],
            [40, 6, 6, 6],
            [1, 8, 600, 40],
            [1, 2, 40, 1200],
        ] {
            for rhs in [Rows, Cols] {
                Case { dtype, shape, layouts: [Rows, rhs, Rows] }.check(&pool);
            }
        }
    }
}

#[test]
fn sixteen_bit_sums_round_once() {
    // 4096 ones: a sum in f16 stops at 2048, one in bf16 at 256.
    let pool = Pool::new(2);
    for dtype in [DType::F16, DType::BF16] {
        let ones = Buffer::from_literal(&Literal::filled(&[4096], Scalar::one(dtype))).unwrap();
        let out = Buffer::zeroed(2).unwrap();
        let operand = |buffer: &Buffer| Operand { data: buffer.ptr(), strides: [0, 0, 1] };
        let rhs = Operand { strides: [0, 1, 0], ..operand(&ones) };
        let product = Matmul { dtype, batch: 1, m: 1, n: 1, k: 4096, lhs: operand(&ones), rhs, out: operand(&out) };
        // SAFETY: the buffers hold 4096 and 1 elements.
        unsafe { Gemm.multiply(&pool, &product, &scratch(2, &product), None).unwrap() };
        assert_eq!(out.to_literal(dtype, &[]).unwrap().get(0).as_f64(), 4096.0);
    }
}

#[test]
fn empty_shapes() {
    let pool = Pool::new(2);
    for dtype in DType::ALL.into_iter().filter(|&d| d != DType::Bool) {
        // No terms: zeros, over whatever was there.
        let [_, _, out] = Case { dtype, shape: [2, 3, 4, 0], layouts: [Rows; 3] }.run(&pool, 2, None);
        assert!(out.data.bytes().iter().all(|&b| b == 0), "{dtype}");
        for shape in [[0, 3, 4, 5], [2, 0, 4, 5], [2, 3, 0, 5], [0, 0, 0, 0]] {
            Case { dtype, shape, layouts: [Rows; 3] }.check(&pool);
        }
    }
}

#[test]
fn bools_are_refused() {
    let operand = Operand { data: std::ptr::null_mut(), strides: [0; 3] };
    let product = Matmul { dtype: DType::Bool, batch: 1, m: 1, n: 1, k: 1, lhs: operand, rhs: operand, out: operand };
    // SAFETY: refused before any access.
    let error = unsafe { Gemm.multiply(&Pool::new(1), &product, &scratch(1, &product), None) }.unwrap_err();
    assert_eq!(error.to_string(), "no matrix product of dtype bool");
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let pool = Pool::new(3);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for shape in [[1, 96, 256, 784], [1, 8, 1500, 100], [1, 1, 3000, 200], [1, 200, 2, 3000], [24, 33, 65, 64]] {
            for layouts in [[Rows; 3], [Rows, Cols, Rows], [Cols, Rows, Rows], [SameMatrix, Rows, Cols]] {
                let case = Case { dtype, shape, layouts };
                let matrices = case.matrices();
                case.multiply(&pool, 1, &matrices, None);
                let one = matrices[2].data.bytes().to_vec();
                for threads in [2, 3, 3] {
                    case.multiply(&pool, threads, &matrices, None);
                    assert!(one == matrices[2].data.bytes(), "{dtype} {shape:?} {layouts:?} {threads} threads");
                }
            }
        }
    }
}

#[test]
fn an_epilogue_sees_each_complete_tile_once() {
    let pool = Pool::new(2);
    let (batch, m, n, k) = (2, 200, 700, 64);
    let case = Case { dtype: DType::F32, shape: [batch, m, n, k], layouts: [Rows; 3] };
    let tiles = Mutex::new(Vec::new());
    case.run(&pool, 2, Some(&|tile| tiles.lock().unwrap().push(tile.clone())));
    let tiles = tiles.into_inner().unwrap();
    assert!(tiles.len() > 2);
    assert_eq!(tiles.iter().map(|t| t.rows.len() * t.cols.len()).sum::<usize>(), batch * m * n);
    // Doubling in the epilogue doubles the finished sums.
    let [_, _, plain] = case.run(&pool, 2, None);
    let lhs = Matrices::new(DType::F32, Rows, [batch, m, k], 1);
    let rhs = Matrices::new(DType::F32, Rows, [batch, k, n], 2);
    let out = Matrices::new(DType::F32, Rows, [batch, m, n], 4);
    let [l, r, o] = [&lhs, &rhs, &out].map(|x| x.operand(DType::F32));
    let product = Matmul { dtype: DType::F32, batch, m, n, k, lhs: l, rhs: r, out: o };
    let address = o.data as usize;
    let double = |tile: &Tile| {
        for i in tile.rows.clone() {
            for j in tile.cols.clone() {
                // SAFETY: the element lies in this tile, which no other task touches.
                unsafe { *(address as *mut f32).add((tile.batch * m + i) * n + j) *= 2.0 };
            }
        }
    };
    // SAFETY: `Matrices` holds every element that its strides name.
    unsafe { Gemm.multiply(&pool, &product, &scratch(2, &product), Some(&double)).unwrap() };
    let pairs = plain.data.view::<f32>().unwrap().iter().zip(out.data.view::<f32>().unwrap());
    assert!(pairs.into_iter().all(|(a, b)| a * 2.0 == *b));
    // A panic in it is an error, and the pool goes on.
    // SAFETY: as above.
    let error =
        unsafe { Gemm.multiply(&pool, &product, &scratch(2, &product), Some(&|_| panic!("bad tile"))) }.unwrap_err();
    assert_eq!(error.to_string(), "a task panicked: bad tile");
    case.check(&pool);
}

#[test]
fn a_batch_that_continues_the_rows_is_one_product() {
    let pool = Pool::new(2);
    let case = Case { dtype: DType::F32, shape: [7, 3, 10, 20], layouts: [Rows, SameMatrix, Rows] };
    case.check(&pool);
    let operand = |strides| Operand { data: std::ptr::null_mut(), strides };
    let product = Matmul {
        dtype: DType::F32,
        batch: 7,
        m: 3,
        n: 10,
        k: 20,
        lhs: operand([60, 20, 1]),
        rhs: operand([0, 10, 1]),
        out: operand([30, 10, 1]),
    };
    assert_eq!((product.fold_batch().batch, product.fold_batch().m), (1, 21));
    let apart = Matmul { lhs: operand([61, 20, 1]), ..product };
    assert_eq!(apart.fold_batch(), apart);
}
