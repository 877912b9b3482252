//! Functions that generated code calls, through a table of addresses that it gets as an argument.

use super::Status;
use ir::kernel::UnaryOp;

/// The place of a routine in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Routine {
    /// A function of one f64.
    F64(UnaryOp),
    /// Power of f64.
    PowF64,
    /// Power of signed integers.
    PowInt,
    /// Power of unsigned integers.
    PowUint,
    /// Truncated remainder of f64.
    RemF64,
    /// Truncated remainder of f32.
    RemF32,
    /// Records an index out of range.
    Record,
}

/// The unary operations with routines, in the order of the table.
const UNARY: [UnaryOp; 7] =
    [UnaryOp::Exp, UnaryOp::Log, UnaryOp::Tanh, UnaryOp::Logistic, UnaryOp::Sin, UnaryOp::Cos, UnaryOp::Erf];
const UNARIES: usize = UNARY.len();

impl Routine {
    /// Number in the table; `None` if there is no such routine.
    pub(super) fn slot(self) -> Option<usize> {
        let unary = |op| UNARY.iter().position(|&o| o == op);
        Some(match self {
            Routine::F64(op) => unary(op)?,
            Routine::PowF64 => UNARIES,
            Routine::PowInt => UNARIES + 1,
            Routine::PowUint => UNARIES + 2,
            Routine::RemF64 => UNARIES + 3,
            Routine::RemF32 => UNARIES + 4,
            Routine::Record => UNARIES + 5,
        })
    }
}

/// Addresses of all routines, by [`Routine::slot`].
#[repr(transparent)]
pub(super) struct Table([*const (); UNARIES + 6]);
// SAFETY: the addresses of functions are constants.
unsafe impl Sync for Table {}

impl Table {
    /// The address that generated code gets.
    pub(super) fn address(&'static self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

/// The table.
pub(super) static TABLE: Table = Table([
    exp_f64 as *const (),
    log_f64 as *const (),
    tanh_f64 as *const (),
    logistic_f64 as *const (),
    sin_f64 as *const (),
    cos_f64 as *const (),
    erf_f64 as *const (),
    pow_f64 as *const (),
    pow_int as *const (),
    pow_uint as *const (),
    rem_f64 as *const (),
    rem_f32 as *const (),
    record as *const (),
]);

macro_rules! unary {
    ($($name:ident = $x:ident => $e:expr;)*) => { $(
        extern "C" fn $name($x: f64) -> f64 { $e }
    )* };
}
unary! {
    exp_f64 = x => x.exp();
    log_f64 = x => x.ln();
    tanh_f64 = x => x.tanh();
    logistic_f64 = x => logistic(x);
    sin_f64 = x => x.sin();
    cos_f64 = x => x.cos();
    erf_f64 = x => libm::erf(x);
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
extern "C" fn rem_f64(x: f64, y: f64) -> f64 {
    x % y
}
extern "C" fn rem_f32(x: f32, y: f32) -> f32 {
    x % y
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
        let fixed =
            [Routine::PowF64, Routine::PowInt, Routine::PowUint, Routine::RemF64, Routine::RemF32, Routine::Record];
        let all = UNARY.map(Routine::F64).into_iter().chain(fixed);
        let slots: Vec<usize> = all.filter_map(Routine::slot).collect();
        assert_eq!(slots, (0..TABLE.0.len()).collect::<Vec<_>>());
    }
}
