//! Functions that generated code calls, through a table of addresses that it gets as an argument.

use super::math::tiles;
use super::{Status, special};
use ir::kernel::{UnaryOp, draw};
use std::sync::LazyLock;

/// The place of a routine in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Routine {
    /// A function of one f64.
    F64(UnaryOp),
    /// Power of f64.
    PowF64,
    /// Angle of a point of f64.
    Atan2F64,
    /// Power of signed integers.
    PowInt,
    /// Power of unsigned integers.
    PowUint,
    /// Truncated remainder of f64.
    RemF64,
    /// Truncated remainder of f32.
    RemF32,
    /// The derivative of the logarithm of a gamma variate by its shape.
    LogGammaSlope,
    /// The logarithm of a gamma variate.
    LogGamma,
    /// A Poisson variate.
    Poisson,
    /// Records an index out of range.
    Record,
    /// A function of f32 on a tile.
    Tile(UnaryOp),
}

const UNARIES: usize = UNARY.len();
const FIRST_TILE: usize = UNARIES + 10;

impl Routine {
    /// Number in the table; `None` if there is no such routine.
    pub(super) fn slot(self) -> Option<usize> {
        let unary = |op| UNARY.iter().position(|&o| o == op);
        Some(match self {
            Routine::F64(op) => unary(op)?,
            Routine::PowF64 => UNARIES,
            Routine::Atan2F64 => UNARIES + 1,
            Routine::PowInt => UNARIES + 2,
            Routine::PowUint => UNARIES + 3,
            Routine::RemF64 => UNARIES + 4,
            Routine::RemF32 => UNARIES + 5,
            Routine::LogGammaSlope => UNARIES + 6,
            Routine::LogGamma => UNARIES + 7,
            Routine::Poisson => UNARIES + 8,
            Routine::Record => UNARIES + 9,
            Routine::Tile(op) => FIRST_TILE + tiles::OPS.iter().position(|&o| o == op)?,
        })
    }
}

/// Addresses of all routines, by [`Routine::slot`].
#[repr(transparent)]
pub(super) struct Table([*const (); FIRST_TILE + tiles::OPS.len()]);
// SAFETY: the addresses of functions are constants.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

impl Table {
    /// Whether there are functions on tiles, for this operation.
    pub(super) fn has_tile(&self, op: UnaryOp) -> bool {
        Routine::Tile(op).slot().is_some_and(|slot| !self.0[slot].is_null())
    }

    /// The address that generated code gets.
    pub(super) fn address(&'static self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

macro_rules! routines {
    ($($op:ident $name:ident = $x:ident => $e:expr;)*) => {
        /// The unary operations with routines, in the order of the table.
        const UNARY: [UnaryOp; [$(UnaryOp::$op),*].len()] = [$(UnaryOp::$op),*];

        $(extern "C" fn $name($x: f64) -> f64 { $e })*

        /// The table.
        pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
            let mut table = Table([std::ptr::null(); FIRST_TILE + tiles::OPS.len()]);
            let scalar = [
                $($name as *const (),)*
                pow_f64 as *const (),
                atan2_f64 as *const (),
                pow_int as *const (),
                pow_uint as *const (),
                rem_f64 as *const (),
                rem_f32 as *const (),
                log_gamma_slope as *const (),
                log_gamma as *const (),
                poisson as *const (),
                record as *const (),
            ];
            table.0[..FIRST_TILE].copy_from_slice(&scalar);
            for (slot, function) in table.0[FIRST_TILE..].iter_mut().zip(tiles::functions().into_iter().flatten()) {
                *slot = function as *const ();
            }
            table
        });
    };
}
routines! {
    Exp exp_f64 = x => x.exp();
    Log log_f64 = x => x.ln();
    Tanh tanh_f64 = x => x.tanh();
    Logistic logistic_f64 = x => logistic(x);
    Sin sin_f64 = x => x.sin();
    Cos cos_f64 = x => x.cos();
    Erf erf_f64 = x => libm::erf(x);
    Exp2 exp2_f64 = x => libm::exp2(x);
    Expm1 expm1_f64 = x => libm::expm1(x);
    Log1p log1p_f64 = x => libm::log1p(x);
    Log2 log2_f64 = x => libm::log2(x);
    Log10 log10_f64 = x => libm::log10(x);
    Cbrt cbrt_f64 = x => libm::cbrt(x);
    Tan tan_f64 = x => x.tan();
    Asin asin_f64 = x => libm::asin(x);
    Acos acos_f64 = x => libm::acos(x);
    Atan atan_f64 = x => libm::atan(x);
    Sinh sinh_f64 = x => libm::sinh(x);
    Cosh cosh_f64 = x => libm::cosh(x);
    Asinh asinh_f64 = x => libm::asinh(x);
    Acosh acosh_f64 = x => if x < 1.0 { f64::NAN } else { libm::acosh(x) };
    Atanh atanh_f64 = x => libm::atanh(x);
    Erfc erfc_f64 = x => libm::erfc(x);
    ErfInv erf_inv_f64 = x => special::erf_inv(x);
    Lgamma lgamma_f64 = x => libm::lgamma(x);
    Digamma digamma_f64 = x => special::digamma(x);
}

/// `exp(x) / (1 + exp(x))` for negative `x` keeps the relative precision of tiny results.
fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

extern "C" fn pow_f64(x: f64, y: f64) -> f64 {
    x.powf(y)
}
extern "C" fn atan2_f64(y: f64, x: f64) -> f64 {
    libm::atan2(y, x)
}
extern "C" fn rem_f64(x: f64, y: f64) -> f64 {
    x % y
}
extern "C" fn rem_f32(x: f32, y: f32) -> f32 {
    x % y
}

extern "C" fn log_gamma_slope(shape: f64, log: f64) -> f64 {
    draw::log_gamma_slope(shape, log)
}
extern "C" fn log_gamma(k0: u32, k1: u32, index: u64, shape: f64) -> f64 {
    draw::log_gamma([k0, k1], index, shape)
}
extern "C" fn poisson(k0: u32, k1: u32, index: u64, rate: f64) -> f64 {
    draw::poisson([k0, k1], index, rate)
}

/// Power modulo 2^64, which narrower integers truncate.
extern "C" fn pow_int(base: i64, exponent: i64) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 => 1 - 2 * (exponent & 1),
            _ => 0,
        };
    }
    pow_uint(base as u64, exponent as u64) as i64
}

/// As [`pow_int`].
extern "C" fn pow_uint(base: u64, exponent: u64) -> u64 {
    let (mut result, mut square, mut left) = (1u64, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    result
}

/// Keeps the first offence of a site.
///
/// # Safety
/// `status` points at the slot of the site.
unsafe extern "C" fn record(status: *mut Status, task: i64, index: i64, bound: i64, bad: i64) {
    // SAFETY: the caller's promise; a call has its own slots, so nobody else writes them.
    let status = unsafe { &mut *status };
    if bad != 0 && !status.is_set() {
        *status = Status { index, bound, task };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_powers() {
        for (b, e, want) in
            [(2, 10, 1024), (0, 0, 1), (7, -1, 0), (1, -5, 1), (-1, -5, -1), (-1, -4, 1), (0, -1, 0), (3, 64, 0)]
        {
            let want = if (b, e) == (3, 64) { 3i64.wrapping_pow(64) } else { want };
            assert_eq!(pow_int(b, e), want, "{b}^{e}");
        }
    }

    #[test]
    fn every_slot_is_distinct_and_in_the_table() {
        let fixed = [
            Routine::PowF64,
            Routine::Atan2F64,
            Routine::PowInt,
            Routine::PowUint,
            Routine::RemF64,
            Routine::RemF32,
            Routine::LogGammaSlope,
            Routine::LogGamma,
            Routine::Poisson,
            Routine::Record,
        ];
        let all = UNARY.map(Routine::F64).into_iter().chain(fixed).chain(tiles::OPS.map(Routine::Tile));
        let slots: Vec<usize> = all.filter_map(Routine::slot).collect();
        assert_eq!(slots, (0..TABLE.0.len()).collect::<Vec<_>>());
    }
}
