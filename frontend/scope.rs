//! Scopes: names that ops carry for people, such as `encoder.layer3.attn`.

use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static PATH: RefCell<Arc<str>> = RefCell::new(Arc::from(""));
}

/// Runs `f`; every op that it records, and every error that it makes, has `name` in its scope path.
///
/// ```
/// use tracewright::{DType, Tensor, scope};
/// let bad = scope("encoder", || scope("attn", || Tensor::zeros([2], DType::F32) + Tensor::zeros([3], DType::F32)));
/// assert_eq!(bad.to_vec::<f32>().unwrap_err().scope(), "encoder.attn");
/// ```
pub fn scope<R>(name: &str, f: impl FnOnce() -> R) -> R {
    let _guard = enter(name);
    f()
}

/// Leaves the scope when dropped, also in a panic.
pub(crate) struct ScopeGuard(Arc<str>);

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        PATH.set(self.0.clone());
    }
}

pub(crate) fn enter(name: &str) -> ScopeGuard {
    let outer = current();
    PATH.set(if outer.is_empty() { Arc::from(name) } else { Arc::from(format!("{outer}.{name}")) });
    ScopeGuard(outer)
}

/// The scope path of this thread.
pub(crate) fn current() -> Arc<str> {
    PATH.with_borrow(Arc::clone)
}
