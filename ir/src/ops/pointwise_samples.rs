//! Operands and calls for the samples of pointwise ops.

use super::{BadSample, Primitive, Sample};
use crate::{DType, Literal, Scalar, Type};

/// Extents of the ordinary samples: rank 0 to 4, empty in two ways.
const SHAPES: [&[usize]; 6] = [&[], &[3], &[2, 3], &[0], &[2, 0, 3], &[1, 2, 1, 3]];

/// Values at which something may go wrong in some dtype: zeros of both signs, NaN, infinities, subnormals, extremes,
/// halves, and numbers that round, wrap or saturate when converted.
pub(super) fn odd(dtype: DType) -> Literal {
    let floats = match dtype {
        DType::F64 => vec![f64::MAX, f64::MIN_POSITIVE, 5e-324, -5e-324, 1e300, -1e-310, 1.0 + f64::EPSILON],
        DType::F32 => {
            [f32::MAX, f32::MIN_POSITIVE, 1e-45, -1e-45, 1e-40, 1.0 + f32::EPSILON, 65519.996].map(f64::from).to_vec()
        }
        DType::F16 => {
            let (normal, least) = (half::f16::MIN_POSITIVE.to_f64(), half::f16::from_bits(1).to_f64());
            vec![65504.0, normal, least, -least, 1.0009765625]
        }
        _ => vec![
            3.3895313892515355e38,
            1.1754943508222875e-38,
            9.183549615799121e-41,
            -9.183549615799121e-41,
            1.0078125,
        ],
    };
    // 1 + 2^-11 + 2^-40 lies just above a tie of f16; as f32 it is that tie.
    let tie = 1.0 + 0.5f64.powi(11) + 0.5f64.powi(40);
    let plain = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 2.5, -3.25, 40.0, -300.7, 16777217.0, 3e9, -1e19, tie];
    let outside = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let ints = [0, 1, -1, 2, -2, 3, 7, -7, 31, 63, 64, 127, -128, 255, 256, 16777217, -2049];
    let wide = [i32::MIN as i64, i32::MAX as i64, i64::MIN, i64::MAX, (1 << 53) + 1];
    let mut scalars: Vec<Scalar> = match dtype {
        DType::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        _ if dtype.is_float() => plain.iter().chain(&outside).chain(&floats).map(|&x| Scalar::of(dtype, x)).collect(),
        _ => ints.iter().chain(&wide).map(|&x| Scalar::I64(x).convert(dtype)).collect(),
    };
    let mut seen = std::collections::HashSet::new();
    scalars.retain(|&s| seen.insert(s));
    Literal::from_fn(&[scalars.len()], dtype, |i| scalars[i])
}

/// Moderate values of both signs away from integers; other values for another `salt`.
pub(super) fn ordinary(dtype: DType, dims: &[usize], salt: usize) -> Literal {
    Literal::from_fn(dims, dtype, |i| {
        let n = ((i * 7 + salt * 5 + 3) % 19) as f64 - 9.0;
        match dtype {
            DType::Bool => Scalar::Bool((i + salt) % 3 != 1),
            _ if dtype.is_unsigned() => Scalar::of(dtype, n + 9.0),
            _ if dtype.is_float() => Scalar::of(dtype, n * 0.3125 + 0.0625),
            _ => Scalar::of(dtype, n),
        }
    })
}

fn dtypes(legal: fn(DType) -> bool) -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(move |&d| legal(d))
}

/// Calls with one operand, over every legal dtype.
pub(super) fn unary(op: impl Into<Primitive>, legal: fn(DType) -> bool) -> Vec<Sample> {
    let primitive = op.into();
    dtypes(legal).flat_map(|d| unary_of(primitive.clone(), d)).collect()
}

/// Calls with one operand of that dtype.
pub(super) fn unary_of(op: impl Into<Primitive>, dtype: DType) -> Vec<Sample> {
    let primitive = op.into();
    let shaped = SHAPES.iter().enumerate().map(|(salt, dims)| ordinary(dtype, dims, salt));
    let operands = std::iter::once(odd(dtype)).chain(shaped);
    operands.map(|x| Sample { primitive: primitive.clone(), operands: vec![x] }).collect()
}

/// Calls with two operands of one type, over every legal dtype: every pair of odd values, and ordinary ones.
pub(super) fn binary(op: impl Into<Primitive>, legal: fn(DType) -> bool) -> Vec<Sample> {
    let primitive = op.into();
    let operands = dtypes(legal).flat_map(|d| {
        let odd = odd(d);
        let n = odd.numel();
        let pairs = [
            Literal::from_fn(&[n, n], d, |i| odd.get(i / n)), //
            Literal::from_fn(&[n, n], d, |i| odd.get(i % n)),
        ];
        let shaped =
            SHAPES.iter().enumerate().map(move |(salt, dims)| [ordinary(d, dims, salt), ordinary(d, dims, salt + 2)]);
        std::iter::once(pairs).chain(shaped)
    });
    operands.map(|operands| Sample { primitive: primitive.clone(), operands: operands.to_vec() }).collect()
}

/// Calls of a selection over every dtype.
pub(super) fn select(op: impl Into<Primitive>) -> Vec<Sample> {
    let primitive = op.into();
    let of = |condition, x, y| Sample { primitive: primitive.clone(), operands: vec![condition, x, y] };
    DType::ALL
        .into_iter()
        .flat_map(|d| {
            let odd = odd(d);
            let reversed = Literal::from_fn(odd.dims(), d, |i| odd.get(odd.numel() - 1 - i));
            let mut samples = vec![of(ordinary(DType::Bool, odd.dims(), 0), odd, reversed)];
            samples.extend(SHAPES.iter().enumerate().map(|(salt, dims)| {
                of(ordinary(DType::Bool, dims, salt), ordinary(d, dims, salt), ordinary(d, dims, salt + 1))
            }));
            samples
        })
        .collect()
}

fn bad(primitive: &Primitive, operands: &[(DType, &[usize])], message: &'static str) -> BadSample {
    let operands = operands.iter().map(|(d, dims)| Type::new(*d, *dims)).collect();
    BadSample { primitive: primitive.clone(), operands, message }
}

/// A legal dtype, and each illegal one with a part of the message.
fn illegal(legal: fn(DType) -> bool) -> (DType, Vec<(DType, &'static str)>) {
    macro_rules! messages {
        ($d:expr; $($v:ident $name:literal $legal:literal,)*) => {
            match $d { $(DType::$v => concat!("operand 0 has dtype ", $name, "; legal are ", $legal)),* }
        };
    }
    let message = |d: DType| {
        messages! { d;
            F64 "f64" "i64, i32, i16, i8, u64, u32, u16, u8",
            F32 "f32" "i64, i32, i16, i8, u64, u32, u16, u8",
            F16 "f16" "i64, i32, i16, i8, u64, u32, u16, u8",
            BF16 "bf16" "i64, i32, i16, i8, u64, u32, u16, u8",
            I64 "i64" "f64, f32, f16, bf16",
            I32 "i32" "f64, f32, f16, bf16",
            I16 "i16" "f64, f32, f16, bf16",
            I8 "i8" "f64, f32, f16, bf16",
            U64 "u64" "f64, f32, f16, bf16",
            U32 "u32" "f64, f32, f16, bf16",
            U16 "u16" "f64, f32, f16, bf16",
            U8 "u8" "f64, f32, f16, bf16",
            Bool "bool" "",
        }
    };
    let first = dtypes(legal).next().expect("an op has a legal dtype");
    (first, DType::ALL.into_iter().filter(|&d| !legal(d)).map(|d| (d, message(d))).collect())
}

/// Illegal calls of an op that takes one operand.
pub(super) fn bad_unary(op: impl Into<Primitive>, legal: fn(DType) -> bool) -> Vec<BadSample> {
    let op = &op.into();
    let (d, illegal) = illegal(legal);
    let mut all = vec![
        bad(op, &[], "takes 1 operand, not 0"),
        bad(op, &[(d, &[2]), (d, &[2])], "takes 1 operand, not 2"), //
    ];
    all.extend(illegal.into_iter().map(|(d, message)| bad(op, &[(d, &[2])], message)));
    all
}

/// Illegal calls of an op that takes two operands of one type.
pub(super) fn bad_binary(op: impl Into<Primitive>, legal: fn(DType) -> bool) -> Vec<BadSample> {
    let op = &op.into();
    let (d, illegal) = illegal(legal);
    let other = if d == DType::F64 { DType::F32 } else { DType::I32 };
    let mixed = if d == DType::F64 { "operands 0 and 1 have dtypes f64 and f32" } else { "have dtypes i64 and i32" };
    let mut all = vec![
        bad(op, &[(d, &[2])], "takes 2 operands, not 1"),
        bad(op, &[(d, &[2]), (other, &[2])], mixed),
        bad(op, &[(d, &[2]), (d, &[3])], "operands 0 and 1 have shapes [2] and [3]; both must be the same"),
        bad(op, &[(d, &[2]), (d, &[2, 1])], "operands 0 and 1 have shapes [2] and [2, 1]"),
        bad(op, &[(d, &[2]), (d, &[])], "operands 0 and 1 have shapes [2] and []"),
    ];
    all.extend(illegal.into_iter().map(|(d, message)| bad(op, &[(d, &[2]), (d, &[2])], message)));
    all
}

/// Illegal calls of a selection.
pub(super) fn bad_select(op: impl Into<Primitive>) -> Vec<BadSample> {
    use DType::{Bool, F32, F64};
    let op = &op.into();
    vec![
        bad(op, &[(Bool, &[2]), (F32, &[2])], "takes 3 operands, not 2"),
        bad(op, &[(F32, &[2]), (F32, &[2]), (F32, &[2])], "the condition has dtype f32; it must be bool"),
        bad(op, &[(Bool, &[2]), (F32, &[2]), (F64, &[2])], "operands 1 and 2 have dtypes f32 and f64"),
        bad(op, &[(Bool, &[2]), (F32, &[2]), (F32, &[3])], "operands 1 and 2 have shapes [2] and [3]"),
        bad(op, &[(Bool, &[]), (F32, &[2]), (F32, &[2])], "operands 0 and 1 have shapes [] and [2]"),
    ]
}
