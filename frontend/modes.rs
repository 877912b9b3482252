//! The settings that a compiled function depends on, as one number for cache keys.

use crate::error::{Code, Error, Result};
use runtime::options;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A number that two settings share if they compile alike. An error if the environment holds settings that cannot be
/// read.
pub(crate) fn current() -> Result<u64> {
    let o = options::current().map_err(|e| {
        Error::new(Code::Argument, "options", e.to_string(), "correct the environment, or call options::set_default")
    })?;
    let plain = o.passes.disabled.is_empty() && o.passes.stop.is_none() && o.dump.is_none();
    let bits = o.jit as u64 | (o.strict16 as u64) << 1 | (o.nan as u64) << 2 | (o.check as u64) << 3;
    if plain {
        return Ok(bits);
    }
    let mut h = DefaultHasher::new();
    (&o.passes, &o.dump).hash(&mut h);
    Ok(bits | h.finish() << 8)
}
