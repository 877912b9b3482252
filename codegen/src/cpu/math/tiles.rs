//! Functions of f32 on tiles, compiled ahead for vectors that are wider than Cranelift has them.
//!
//! The text is that of the emitted code and so are the bits, NaN apart: both use fused multiply-add.

// The registers are those of the System V convention, which the emitted calls follow.
#![allow(improper_ctypes_definitions)]

use super::arithmetic::Arithmetic;
use super::{erf, exp, log};
use cranelift_codegen::ir::condcodes::FloatCC;
use ir::kernel::UnaryOp;

/// Elements of a tile.
pub const TILE: usize = 32;
/// Elements that are worked on at once.
const WIDTH: usize = 16;

/// Four elements in a register.
#[cfg(target_arch = "x86_64")]
pub type Four = std::arch::x86_64::__m128;
/// Four elements; without meaning on this processor.
#[cfg(not(target_arch = "x86_64"))]
pub type Four = [f32; 4];

/// A function of a tile, which comes in registers: read from memory that was just written in smaller parts, it would have to
/// wait until they are all there. The results are written.
///
/// # Safety
/// The last argument points at room for a tile, which nobody else uses.
pub type Function = unsafe extern "C" fn(Four, Four, Four, Four, Four, Four, Four, Four, *mut f32);

/// Arithmetic that is done, on the bits of its numbers.
struct Done;

type Bits = [u32; WIDTH];

/// Methods that compute lane by lane. The loops are written out: a function of the standard library around them would be
/// compiled without the vectors of the function that all of this becomes part of.
macro_rules! by_lane {
    ($($name:ident($($x:ident: $t:ty),*) |$i:ident| $lane:expr;)*) => { $(
        #[inline(always)]
        fn $name(&mut self, $($x: $t),*) -> Bits {
            let mut out = [0; WIDTH];
            let mut $i = 0;
            while $i < WIDTH {
                out[$i] = $lane;
                $i += 1;
            }
            out
        }
    )* };
}

impl Arithmetic for Done {
    type V = Bits;

    by_lane! {
        f32(x: f32) |i| x.to_bits();
        i32(x: u32) |i| x;
        add(x: Bits, y: Bits) |i| (f32::from_bits(x[i]) + f32::from_bits(y[i])).to_bits();
        sub(x: Bits, y: Bits) |i| (f32::from_bits(x[i]) - f32::from_bits(y[i])).to_bits();
        mul(x: Bits, y: Bits) |i| (f32::from_bits(x[i]) * f32::from_bits(y[i])).to_bits();
        div(x: Bits, y: Bits) |i| (f32::from_bits(x[i]) / f32::from_bits(y[i])).to_bits();
        mul_add(x: Bits, y: Bits, z: Bits) |i| {
            f32::from_bits(x[i]).mul_add(f32::from_bits(y[i]), f32::from_bits(z[i])).to_bits()
        };
        sub_mul(z: Bits, x: Bits, y: Bits) |i| {
            (-f32::from_bits(x[i])).mul_add(f32::from_bits(y[i]), f32::from_bits(z[i])).to_bits()
        };
        neg(x: Bits) |i| x[i] ^ 1 << 31;
        abs(x: Bits) |i| x[i] & !(1 << 31);
        compare(how: FloatCC, x: Bits, y: Bits) |i| {
            let (x, y) = (f32::from_bits(x[i]), f32::from_bits(y[i]));
            let holds = match how {
                FloatCC::LessThan => x < y,
                FloatCC::GreaterThan => x > y,
                FloatCC::Equal => x == y,
                other => unreachable!("no function compares by {other}"),
            };
            if holds { u32::MAX } else { 0 }
        };
        pick(mask: Bits, x: Bits, y: Bits) |i| if mask[i] != 0 { x[i] } else { y[i] };
        f32_from_int(x: Bits) |i| (x[i] as i32 as f32).to_bits();
        isub(x: Bits, y: Bits) |i| x[i].wrapping_sub(y[i]);
        shl(x: Bits, by: i64) |i| x[i] << by;
        shr(x: Bits, by: i64) |i| x[i] >> by;
        sar(x: Bits, by: i64) |i| (x[i] as i32 >> by) as u32;
        and(x: Bits, y: Bits) |i| x[i] & y[i];
        or(x: Bits, y: Bits) |i| x[i] | y[i];
    }

    #[inline(always)]
    fn bits(&mut self, x: Bits) -> Bits {
        x
    }
    #[inline(always)]
    fn f32_from_bits(&mut self, x: Bits) -> Bits {
        x
    }
}

/// Applies a function to the parts of a tile.
macro_rules! on_parts {
    ([$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident], $out:ident, $function:path) => {
        // SAFETY: sixteen bytes each, of any bits.
        let parts: [Bits; TILE / WIDTH] = unsafe { std::mem::transmute([$a, $b, $c, $d, $e, $f, $g, $h]) };
        // SAFETY: the caller's promise.
        let out: &mut [Bits; TILE / WIDTH] = unsafe { &mut *$out.cast() };
        let mut i = 0;
        while i < TILE / WIDTH {
            out[i] = $function(&mut Done, parts[i]);
            i += 1;
        }
    };
}

/// The function of an operation for this processor, if there is one.
pub fn function(op: UnaryOp) -> Option<Function> {
    OPS.iter().position(|&o| o == op).and_then(|at| Some(functions()?[at]))
}

macro_rules! tiles {
    ($($op:ident $name:ident $function:path;)*) => {
        /// The operations that have functions on tiles.
        pub(in crate::cpu) const OPS: [UnaryOp; [$(UnaryOp::$op),*].len()] = [$(UnaryOp::$op),*];

        $(#[cfg(target_arch = "x86_64")]
        mod $name {
            use super::*;

            /// # Safety
            /// The processor has AVX2 and FMA; otherwise as [`Function`] says.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe extern "C" fn avx2(
                a: Four, b: Four, c: Four, d: Four, e: Four, f: Four, g: Four, h: Four, out: *mut f32,
            ) {
                on_parts!([a b c d e f g h], out, $function);
            }

            /// # Safety
            /// The processor has these parts of AVX-512, and FMA; otherwise as [`Function`] says.
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
            pub unsafe extern "C" fn avx512(
                a: Four, b: Four, c: Four, d: Four, e: Four, f: Four, g: Four, h: Four, out: *mut f32,
            ) {
                on_parts!([a b c d e f g h], out, $function);
            }
        })*

        /// The functions for this processor, in the order of [`OPS`]; `None` if its vectors are not wider.
        #[cfg(target_arch = "x86_64")]
        pub(in crate::cpu) fn functions() -> Option<[Function; OPS.len()]> {
            let has = |feature| match feature {
                "avx512" => {
                    is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512bw")
                }
                _ => is_x86_feature_detected!("avx2"),
            };
            let fused = is_x86_feature_detected!("fma");
            if fused && has("avx512") {
                Some([$($name::avx512),*])
            } else {
                (fused && has("avx2")).then_some([$($name::avx2),*])
            }
        }

        /// There are none for this processor.
        #[cfg(not(target_arch = "x86_64"))]
        pub(in crate::cpu) fn functions() -> Option<[Function; OPS.len()]> {
            None
        }
    };
}
tiles! {
    Exp exp_tile exp::exp;
    Tanh tanh_tile exp::tanh;
    Logistic logistic_tile exp::logistic;
    Log log_tile log::log;
    Erf erf_tile erf::erf;
}
