//! Whether what is computed goes on the tape.

use crate::trace;
use std::cell::Cell;

thread_local! {
    /// One more than the number of traces that were open where `no_grad` was entered; 0 outside of it.
    static FROZEN: Cell<usize> = const { Cell::new(0) };
}

struct Restore(usize);

impl Drop for Restore {
    fn drop(&mut self) {
        FROZEN.set(self.0);
    }
}

/// Runs `f`; what it computes is not on the tape. In a traced function the results of its ops count as constants.
///
/// It says nothing about functions that are traced inside: a gradient that `f` takes with [`grad`](fn@crate::grad) is
/// what it is elsewhere, and is itself a constant outside.
///
/// ```
/// use tracewright::{Tensor, no_grad};
/// let x = Tensor::from(2.0f32).requires_grad();
/// assert!((&x * 3.0).is_tracked());
/// assert!(!no_grad(|| &x * 3.0).is_tracked());
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    let _before = Restore(FROZEN.replace(trace::depth() + 1));
    f()
}

/// Runs `f` as if it were outside of [`no_grad`].
///
/// ```
/// use tracewright::{Tensor, enable_grad, no_grad};
/// let x = Tensor::from(2.0f32).requires_grad();
/// assert!(no_grad(|| enable_grad(|| &x * 3.0)).is_tracked());
/// ```
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    let _before = Restore(FROZEN.replace(0));
    f()
}

/// True in [`no_grad`], but not in a trace that was opened since.
pub(crate) fn frozen() -> bool {
    let at = FROZEN.get();
    at != 0 && at == trace::depth() + 1
}
