//! Tests that cannot run.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Says that a test cannot run, and how many could not so far, on the standard error, which shows it when the test passes
/// too. It is a panic if `TW_TEST_SKIPS` is `fail`.
pub fn skip(why: &str) {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    assert!(std::env::var_os("TW_TEST_SKIPS").is_none_or(|v| v != "fail"), "skipped: {why}");
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // Not by a macro of print, which the runner of tests would keep for itself.
    _ = writeln!(std::io::stderr(), "skipped: {count} tests so far, since {why}");
}
