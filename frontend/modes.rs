//! The settings that a compiled function depends on, for cache keys.

use crate::error::{Code, Error, Result};
use runtime::options::{self, Options, OptionsError, PassSpec};
use runtime::{Device, device};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

/// The settings in force where something was traced or compiled. Equal if everything that tracing and compilation look at
/// is.
#[derive(Clone, Debug)]
pub(crate) struct Modes(Arc<Options>, Device);

/// An error if the environment or code holds settings that cannot be.
pub(crate) fn current() -> Result<Modes> {
    let found = options::current().map(|options| {
        let device = device::under(&options);
        Modes(options, device)
    });
    found.map_err(|e: OptionsError| {
        let legal = "correct the environment or the options given in code, or call options::set_default";
        Error::new(Code::Argument, "options", e.to_string(), legal)
    })
}

impl Modes {
    /// The device that things are made on.
    pub fn device(&self) -> Device {
        self.1
    }

    /// What counts of the options: all but what is written to stderr, the number of threads, and where files are kept.
    fn parts(&self) -> ([bool; 5], u8, &PassSpec, Option<&Path>) {
        let Options {
            device: _,
            graphs: _,
            log: _,
            threads: _,
            cache: _,
            dump,
            check,
            passes,
            jit,
            nan,
            strict,
            strict16,
            tf32,
        } = &*self.0;
        ([*jit, *nan, *strict, *strict16, *tf32], *check, passes, dump.as_deref())
    }
}

impl PartialEq for Modes {
    fn eq(&self, other: &Modes) -> bool {
        self.1 == other.1 && (Arc::ptr_eq(&self.0, &other.0) || self.parts() == other.parts())
    }
}
impl Eq for Modes {}

impl Hash for Modes {
    fn hash<H: Hasher>(&self, h: &mut H) {
        // The rest is rare, and compared.
        let (flags, check, ..) = self.parts();
        h.write_u8(flags.iter().fold(check, |all, &flag| all << 1 | flag as u8));
    }
}
