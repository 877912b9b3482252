//! The settings that a compiled function depends on, for cache keys.

use crate::error::{Code, Error, Result};
use runtime::options::{self, Options, PassSpec};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

/// The settings in force where something was traced or compiled. Equal if everything that tracing and compilation look at
/// is.
#[derive(Clone, Debug)]
pub(crate) struct Modes(Arc<Options>);

/// An error if the environment or code holds settings that cannot be.
pub(crate) fn current() -> Result<Modes> {
    options::current().map(Modes).map_err(|e| {
        let legal = "correct the environment or the options given in code, or call options::set_default";
        Error::new(Code::Argument, "options", e.to_string(), legal)
    })
}

impl Modes {
    /// What counts: all but what is written to stderr, and the number of threads.
    fn parts(&self) -> ([bool; 4], u8, &PassSpec, Option<&Path>) {
        let Options { log: _, threads: _, dump, check, passes, jit, nan, strict, strict16 } = &*self.0;
        ([*jit, *nan, *strict, *strict16], *check, passes, dump.as_deref())
    }
}

impl PartialEq for Modes {
    fn eq(&self, other: &Modes) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.parts() == other.parts()
    }
}
impl Eq for Modes {}

impl Hash for Modes {
    fn hash<H: Hasher>(&self, h: &mut H) {
        // The rest is rare, and compared.
        let ([jit, nan, strict, strict16], check, ..) = self.parts();
        h.write_u8(jit as u8 | (nan as u8) << 1 | (strict as u8) << 2 | (strict16 as u8) << 3 | check << 4);
    }
}
