//! Kernels written by hand, run by threads on the processor.

mod product;
mod sort;

use crate::target;
use codegen::cuda::Run;
use codegen::cuda::library::{Launch, Launches, Routine};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int, c_uint, c_void};

/// Routines as a shared object.
struct Library {
    library: *mut c_void,
}

impl Library {
    fn new(routines: &[Routine]) -> Library {
        Library::edited(routines, &|text| text.into())
    }

    /// With changes.
    fn edited(routines: &[Routine], edit: &dyn Fn(&str) -> String) -> Library {
        let mut parts: BTreeMap<String, Vec<Routine>> = BTreeMap::new();
        for routine in routines {
            let list = parts.entry(routine.prelude()).or_default();
            if !list.contains(routine) {
                list.push(*routine);
            }
        }
        let mut text = String::from("#include \"shim.h\"\n");
        for (n, (prelude, routines)) in parts.iter().enumerate() {
            let functions: String = routines.iter().map(Routine::function).collect();
            text += &format!("#undef TW_INDEX\nnamespace part{n} {{\n{}{functions}}}\n", edit(prelude));
            routines.iter().for_each(|r| text += &format!("TW_LAUNCHER({}, part{n})\n", r.entry()));
        }
        Library { library: target::load(&text) }
    }

    /// Runs the launches with at most so many blocks each.
    fn run(&self, launches: &Launches, most: u32, (schedule, seed): (c_int, c_uint)) -> Result<(), String> {
        for Launch { routine, blocks, words } in launches {
            let name = CString::new(format!("{}_launch", routine.entry())).expect("no zero in a name");
            // SAFETY: the library exports that function, of that type, for each of its routines.
            let launch: target::Launch = unsafe {
                let symbol = libc::dlsym(self.library, name.as_ptr());
                assert!(!symbol.is_null(), "{name:?} was not compiled");
                std::mem::transmute(symbol)
            };
            let (mut failed, mut progress, mut words) = (0u32, 0u32, words.clone());
            let [failed, at_progress] = [&mut failed, &mut progress].map(|word| std::ptr::from_mut(word).addr() as u64);
            let mut place = Run { failed, progress: at_progress, step: 7, gated: 0, launch: 1 };
            let mut arguments: [*mut c_void; 2] = [words.as_mut_ptr().cast(), std::ptr::from_mut(&mut place).cast()];
            // SAFETY: the arguments are those of the kernel; the words hold addresses of memory that is large enough.
            let failure = unsafe { launch(arguments.as_mut_ptr(), (*blocks).min(most), schedule, seed) };
            if !failure.is_null() {
                // SAFETY: it is a constant of the library.
                return Err(unsafe { CStr::from_ptr(failure) }.to_string_lossy().into_owned());
            }
            // SAFETY: a word of this function.
            assert_eq!(unsafe { (&raw const progress).read_volatile() }, 7, "the step is known");
        }
        Ok(())
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: nothing of the library is in use any more.
        unsafe { libc::dlclose(self.library) };
    }
}

/// The number of barriers of a text.
fn barriers(text: &str) -> usize {
    text.matches(BARRIER).count()
}

const BARRIER: &str = "__syncthreads();";

/// The text without one of its barriers.
fn without_barrier(text: &str, number: usize) -> String {
    let (at, _) = text.match_indices(BARRIER).nth(number).expect("a barrier of that number");
    format!("{}{}", &text[..at], &text[at + BARRIER.len()..])
}
