//! The dtype of two operands together, as a table: JAX's, but for u64 with a signed integer, which is its weak float there
//! and f32 here. Where PyTorch has a dtype, its table is the same.

use tracewright::{DType, Tensor, jit, promote};

const TABLE: &str = "
      bool   u8  u16  u32  u64   i8  i16  i32  i64  f16 bf16  f32  f64
 bool bool   u8  u16  u32  u64   i8  i16  i32  i64  f16 bf16  f32  f64
   u8   u8   u8  u16  u32  u64  i16  i16  i32  i64  f16 bf16  f32  f64
  u16  u16  u16  u16  u32  u64  i32  i32  i32  i64  f16 bf16  f32  f64
  u32  u32  u32  u32  u32  u64  i64  i64  i64  i64  f16 bf16  f32  f64
  u64  u64  u64  u64  u64  u64  f32  f32  f32  f32  f16 bf16  f32  f64
   i8   i8  i16  i32  i64  f32   i8  i16  i32  i64  f16 bf16  f32  f64
  i16  i16  i16  i32  i64  f32  i16  i16  i32  i64  f16 bf16  f32  f64
  i32  i32  i32  i32  i64  f32  i32  i32  i32  i64  f16 bf16  f32  f64
  i64  i64  i64  i64  i64  f32  i64  i64  i64  i64  f16 bf16  f32  f64
  f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f32  f32  f64
 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16  f32 bf16  f32  f64
  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f64
  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64
";

fn table() -> Vec<(DType, DType, DType)> {
    let mut lines = TABLE.trim().lines().map(str::split_whitespace);
    let dtype = |word: &str| word.parse::<DType>().expect("a dtype");
    let heads: Vec<DType> = lines.next().expect("a head").map(dtype).collect();
    let row = |mut words: std::str::SplitWhitespace<'static>| {
        let left = dtype(words.next().expect("a dtype"));
        let entries: Vec<_> = heads.iter().zip(words).map(|(&right, word)| (left, right, dtype(word))).collect();
        assert_eq!(entries.len(), heads.len());
        entries
    };
    lines.flat_map(row).collect()
}

#[test]
fn the_table_covers_all_pairs() {
    let table = table();
    assert_eq!(table.len(), DType::ALL.len() * DType::ALL.len());
    for (a, b, both) in table {
        assert_eq!(promote(a, b), both, "{a} with {b}");
    }
}

#[test]
fn operators_follow_the_table_eager_and_compiled() {
    let one = |dtype| Tensor::from([1.0f32]).to_dtype(dtype);
    for (a, b, both) in table() {
        let together = |x: Tensor, y: Tensor| x.maximum(&y);
        assert_eq!(together(one(a), one(b)).dtype(), both, "{a} with {b}");
        let compiled = jit(move |(x, y): (Tensor, Tensor)| together(x, y));
        if a.size() + b.size() < 4 {
            assert_eq!(compiled.call((one(a), one(b))).unwrap().dtype(), both, "{a} with {b}, compiled");
        }
        // Bool counts as i64 where numbers are needed, integers as f32 where floats are.
        let number = if both == DType::Bool { DType::I64 } else { both };
        assert_eq!((one(a) + one(b)).dtype(), number, "{a} + {b}");
        let float = if both.is_float() { both } else { DType::F32 };
        assert_eq!((one(a) / one(b)).dtype(), float, "{a} / {b}");
        assert_eq!(one(a).atan2(one(b)).dtype(), float, "atan2 of {a} and {b}");
    }
}

#[test]
fn numbers_are_weak() {
    for dtype in DType::ALL {
        let x = Tensor::from([1.0f32]).to_dtype(dtype);
        let float = if dtype.is_float() { dtype } else { DType::F32 };
        let number = if dtype == DType::Bool { DType::I64 } else { dtype };
        assert_eq!((&x * 2).dtype(), number, "{dtype} and an integer");
        assert_eq!((&x * 0.5).dtype(), float, "{dtype} and a float");
        assert_eq!((0.5 * &x).dtype(), float, "a float and {dtype}");
        assert_eq!(x.exp().dtype(), float, "exp of {dtype}");
        assert_eq!(x.tan().dtype(), float, "tan of {dtype}");
    }
}
