//! Element arithmetic of the reference reductions and products.

use crate::TypedData;
use half::{bf16, f16};

/// Numbers that can be summed. f32 accumulates in f64 and rounds once; f16 and bf16 do as f32 does and round that
/// result once more, as their legalised form does; integers wrap.
pub(crate) trait Number: TypedData {
    /// What sums and products of it accumulate in.
    type Acc: Copy;
    /// The accumulator's 0 and 1.
    const UNITS: [Self::Acc; 2];
    /// Into the accumulator.
    fn widen(self) -> Self::Acc;
    /// Out of it.
    fn narrow(acc: Self::Acc) -> Self;
    /// Sum.
    fn add(a: Self::Acc, b: Self::Acc) -> Self::Acc;
    /// Product.
    fn mul(a: Self::Acc, b: Self::Acc) -> Self::Acc;
}

macro_rules! numbers {
    (float $($t:ty, $widen:expr, $narrow:expr;)*) => { $(impl Number for $t {
        type Acc = f64;
        const UNITS: [f64; 2] = [0.0, 1.0];
        fn widen(self) -> f64 { $widen(self) }
        fn narrow(acc: f64) -> $t { $narrow(acc) }
        fn add(a: f64, b: f64) -> f64 { a + b }
        fn mul(a: f64, b: f64) -> f64 { a * b }
    })* };
    (int $($t:ty),*) => { $(impl Number for $t {
        type Acc = $t;
        const UNITS: [$t; 2] = [0, 1];
        fn widen(self) -> $t { self }
        fn narrow(acc: $t) -> $t { acc }
        fn add(a: $t, b: $t) -> $t { a.wrapping_add(b) }
        fn mul(a: $t, b: $t) -> $t { a.wrapping_mul(b) }
    })* };
}
numbers! { float
    f64, |x| x, |a| a;
    f32, f64::from, |a| a as f32;
    f16, f16::to_f64, |a| f16::from_f32(a as f32);
    bf16, bf16::to_f64, |a| bf16::from_f32(a as f32);
}
numbers! { int i64, i32, i16, i8, u64, u32, u16, u8 }

/// How elements add up and multiply one after the other: in the element type, but 16-bit floats in f32, rounded once at
/// the end.
pub(crate) trait InOrder: Number {
    /// What is carried.
    type Running: Copy;
    /// Begins with an element.
    fn start(self) -> Self::Running;
    /// The sum with one more.
    fn add(running: Self::Running, v: Self) -> Self::Running;
    /// The product with one more.
    fn mul(running: Self::Running, v: Self) -> Self::Running;
    /// The element that it makes.
    fn end(running: Self::Running) -> Self;
}
macro_rules! in_order {
    ($($t:ty, $running:ty, $start:expr, $add:expr, $mul:expr, $end:expr;)*) => { $(impl InOrder for $t {
        type Running = $running;
        fn start(self) -> $running { $start(self) }
        fn add(running: $running, v: $t) -> $running { $add(running, $start(v)) }
        fn mul(running: $running, v: $t) -> $running { $mul(running, $start(v)) }
        fn end(running: $running) -> $t { $end(running) }
    })* };
    (wrapping $($t:ty),*) => {
        in_order! { $($t, $t, |x| x, <$t>::wrapping_add, <$t>::wrapping_mul, |x| x;)* }
    };
}
in_order! {
    f64, f64, |x| x, |a, b| a + b, |a, b| a * b, |x| x;
    f32, f32, |x| x, |a, b| a + b, |a, b| a * b, |x| x;
    f16, f32, f16::to_f32, |a, b| a + b, |a, b| a * b, f16::from_f32;
    bf16, f32, bf16::to_f32, |a, b| a + b, |a, b| a * b, bf16::from_f32;
}
in_order! { wrapping i64, i32, i16, i8, u64, u32, u16, u8 }

/// Elements with an order, in which -0 comes before +0 and NaN has no place.
pub(crate) trait Ordered: TypedData {
    /// True for NaN.
    fn is_nan(self) -> bool;
    /// Strictly before.
    fn before(self, other: Self) -> bool;
    /// Strictly before, with zeros of either sign equal.
    fn less(self, other: Self) -> bool;
}

macro_rules! ordered {
    (float $($t:ty, $wide:expr;)*) => { $(impl Ordered for $t {
        fn is_nan(self) -> bool { $wide(self).is_nan() }
        fn before(self, other: $t) -> bool {
            let (a, b): (f64, f64) = ($wide(self), $wide(other));
            a < b || (a == b && a.is_sign_negative() && b.is_sign_positive())
        }
        fn less(self, other: $t) -> bool { $wide(self) < $wide(other) }
    })* };
    (exact $($t:ty),*) => { $(impl Ordered for $t {
        fn is_nan(self) -> bool { false }
        fn before(self, other: $t) -> bool { self < other }
        fn less(self, other: $t) -> bool { self < other }
    })* };
}
ordered! { float
    f64, |x| x;
    f32, f64::from;
    f16, f16::to_f64;
    bf16, bf16::to_f64;
}
ordered! { exact i64, i32, i16, i8, u64, u32, u16, u8, bool }

/// Binds `$t` to the Rust type of a numeric dtype.
macro_rules! with_number {
    ($dtype:expr, $t:ident => $body:expr) => {
        $crate::ops::numeric::with_number!(@ $dtype, $t => $body; F64 f64, F32 f32, F16 half::f16, BF16 half::bf16,
            I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32, U16 u16, U8 u8)
    };
    (@ $dtype:expr, $t:ident => $body:expr; $($v:ident $rust:ty),*) => {
        match $dtype {
            $(crate::DType::$v => { type $t = $rust; $body })*
            crate::DType::Bool => unreachable!("type rules refuse bool here"),
        }
    };
}
pub(crate) use with_number;

/// Binds `$t` to the Rust type of any dtype.
macro_rules! with_any {
    ($dtype:expr, $t:ident => $body:expr) => {
        if $dtype == crate::DType::Bool { type $t = bool; $body } else { crate::ops::numeric::with_number!($dtype, $t => $body) }
    };
}
pub(crate) use with_any;
