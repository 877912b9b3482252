//! CUDA C++ to machine code, by NVIDIA's run-time compiler: a library that is opened when it is first needed.
//!
//! It needs no GPU. Nothing here panics where the library, or a function of it, is missing, and nothing is printed. Its
//! functions are called through pointers with plain integers as results, since a library may return codes that no list knows.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::sync::OnceLock;

/// The generation of a GPU: compute capability 9.0 is `sm_90`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Arch {
    /// 9 of 9.0.
    pub major: u32,
    /// 0 of 9.0.
    pub minor: u32,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.major, self.minor)
    }
}

/// Machine code of a GPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cubin {
    /// The file that the driver loads.
    pub bytes: Vec<u8>,
    /// What the compiler said, with the registers of each function.
    pub log: String,
}

/// What a function takes of a multiprocessor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// The function.
    pub entry: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of registers that a thread keeps in memory.
    pub spilled: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
}

/// Why there is no machine code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NvrtcError {
    /// There is no library.
    #[error("NVRTC is not installed: none of {0} can be loaded")]
    Missing(String),
    /// The library lacks a function.
    #[error("this NVRTC cannot be used: {library} has no {symbol}")]
    Incomplete {
        /// The library.
        library: String,
        /// The function.
        symbol: String,
    },
    /// The library does not know the GPU.
    #[error("NVRTC {version} cannot compile for {arch}; it knows {known}")]
    Unknown {
        /// The GPU.
        arch: Arch,
        /// The library's version.
        version: String,
        /// What it compiles for.
        known: String,
    },
    /// The text is refused, with the first lines of the log.
    #[error("bug in tracewright: NVRTC refuses a kernel: {0}")]
    Refused(String),
    /// Another failure.
    #[error("NVRTC has failed: {0}")]
    Failed(String),
}

/// Flags of every compilation. No contraction to fused multiply-add, and none of what `--use_fast_math` asks for: results are
/// those of every other target.
pub const FLAGS: [&str; 4] = ["--fmad=false", "--std=c++17", "--ptxas-options=-v", "--disable-warnings"];

/// Lines of a log that an error shows.
const SHOWN: usize = 6;
const SUCCESS: c_int = 0;
/// The code of a text that is refused.
const COMPILATION: c_int = 6;

type Program = *mut c_void;

macro_rules! functions {
    ($($field:ident: $symbol:literal $(, $argument:ty)*;)+) => {
        struct Functions { $($field: unsafe extern "C" fn($($argument),*) -> c_int,)+ }

        impl Functions {
            fn find(library: &Library) -> Result<Functions, NvrtcError> {
                Ok(Functions { $($field: {
                    let found = library.symbol($symbol)?;
                    // SAFETY: the function has this type in every version of the library.
                    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> c_int>(found) }
                },)+ })
            }
        }
    };
}

functions! {
    version: c"nvrtcVersion", *mut c_int, *mut c_int;
    count: c"nvrtcGetNumSupportedArchs", *mut c_int;
    known: c"nvrtcGetSupportedArchs", *mut c_int;
    create: c"nvrtcCreateProgram", *mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char;
    compile: c"nvrtcCompileProgram", Program, c_int, *const *const c_char;
    destroy: c"nvrtcDestroyProgram", *mut Program;
    log_size: c"nvrtcGetProgramLogSize", Program, *mut usize;
    log: c"nvrtcGetProgramLog", Program, *mut c_char;
    code_size: c"nvrtcGetCUBINSize", Program, *mut usize;
    code: c"nvrtcGetCUBIN", Program, *mut c_char;
}

/// The compiler.
pub struct Nvrtc {
    functions: Functions,
    version: (u32, u32),
    known: Vec<Arch>,
}

/// An opened library, never closed.
struct Library {
    name: String,
    handle: *mut c_void,
}

impl Library {
    fn open(names: &[String]) -> Option<Library> {
        names.iter().find_map(|name| {
            let text = CString::new(name.as_str()).ok()?;
            // SAFETY: the library is NVIDIA's; loading it changes nothing of this process.
            let handle = unsafe { libc::dlopen(text.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
            (!handle.is_null()).then(|| Library { name: name.clone(), handle })
        })
    }

    fn symbol(&self, symbol: &CStr) -> Result<*mut c_void, NvrtcError> {
        // SAFETY: the library is open.
        let found = unsafe { libc::dlsym(self.handle, symbol.as_ptr()) };
        let missing =
            || NvrtcError::Incomplete { library: self.name.clone(), symbol: symbol.to_string_lossy().into_owned() };
        if found.is_null() { Err(missing()) } else { Ok(found) }
    }
}

impl Nvrtc {
    /// The compiler of this process; the library is looked for once.
    ///
    /// ```
    /// use codegen::cuda::nvrtc::{Arch, Nvrtc};
    /// match Nvrtc::open() {
    ///     Ok(nvrtc) => {
    ///         let text = "extern \"C\" __global__ void nothing() {}";
    ///         assert!(!nvrtc.compile(text, Arch { major: 9, minor: 0 })?.bytes.is_empty());
    ///     }
    ///     Err(error) => assert!(error.to_string().contains("libnvrtc")),
    /// }
    /// # Ok::<(), codegen::cuda::nvrtc::NvrtcError>(())
    /// ```
    pub fn open() -> Result<&'static Nvrtc, NvrtcError> {
        static OPENED: OnceLock<Result<Nvrtc, NvrtcError>> = OnceLock::new();
        OPENED.get_or_init(|| Nvrtc::find(&cudarc::get_lib_name_candidates("nvrtc"))).as_ref().map_err(Clone::clone)
    }

    /// The compiler in the first of these libraries that there is.
    fn find(names: &[String]) -> Result<Nvrtc, NvrtcError> {
        let library = Library::open(names).ok_or_else(|| NvrtcError::Missing(names.join(", ")))?;
        let functions = Functions::find(&library)?;
        let (mut major, mut minor, mut count) = (0, 0, 0);
        // SAFETY: pointers to what the functions write.
        check("nvrtcVersion", unsafe { (functions.version)(&mut major, &mut minor) })?;
        // SAFETY: as above.
        check("nvrtcGetNumSupportedArchs", unsafe { (functions.count)(&mut count) })?;
        let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: there is room for as many as there are.
        check("nvrtcGetSupportedArchs", unsafe { (functions.known)(known.as_mut_ptr()) })?;
        let number = |n: c_int| u32::try_from(n).unwrap_or(0);
        let arch = |n: c_int| Arch { major: number(n) / 10, minor: number(n) % 10 };
        let mut known: Vec<Arch> = known.into_iter().map(arch).collect();
        known.sort_unstable();
        Ok(Nvrtc { functions, version: (number(major), number(minor)), known })
    }

    /// Its version: (13, 0).
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// What to compile for, for such a GPU: of its generation the newest that the library knows and that is not newer than the
    /// GPU.
    pub fn target(&self, gpu: Arch) -> Result<Arch, NvrtcError> {
        let older = self.known.iter().rev().find(|a| a.major == gpu.major && a.minor <= gpu.minor);
        older.copied().ok_or_else(|| {
            let known: Vec<String> = self.known.iter().map(ToString::to_string).collect();
            let (major, minor) = self.version;
            NvrtcError::Unknown { arch: gpu, version: format!("{major}.{minor}"), known: known.join(", ") }
        })
    }

    /// The machine code of all functions of a text, for such a GPU.
    pub fn compile(&self, text: &str, gpu: Arch) -> Result<Cubin, NvrtcError> {
        let inner = |_| NvrtcError::Failed("a zero in a text".into());
        let target = format!("--gpu-architecture={}", self.target(gpu)?);
        let options: Result<Vec<CString>, _> =
            std::iter::once(target.as_str()).chain(FLAGS).map(CString::new).collect();
        let options = options.map_err(inner)?;
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let text = CString::new(text).map_err(inner)?;
        let mut program = Created { functions: &self.functions, program: std::ptr::null_mut() };
        let none = std::ptr::null();
        // SAFETY: the text and the name live until the program is destroyed; there are no headers.
        let created = unsafe {
            (self.functions.create)(&mut program.program, text.as_ptr(), c"kernels.cu".as_ptr(), 0, none, none)
        };
        check("nvrtcCreateProgram", created)?;
        // SAFETY: the program was created, and the options live through the call.
        let compiled = unsafe { (self.functions.compile)(program.program, options.len() as c_int, options.as_ptr()) };
        let log = program.bytes("nvrtcGetProgramLog", self.functions.log_size, self.functions.log)?;
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_string();
        if compiled == COMPILATION {
            let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).take(SHOWN).collect();
            return Err(NvrtcError::Refused(lines.join("\n")));
        }
        check("nvrtcCompileProgram", compiled)?;
        let bytes = program.bytes("nvrtcGetCUBIN", self.functions.code_size, self.functions.code)?;
        Ok(Cubin { bytes, log })
    }
}

/// A program that is destroyed when it is dropped.
struct Created<'a> {
    functions: &'a Functions,
    program: Program,
}

type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

impl Created<'_> {
    /// What a pair of functions gives.
    fn bytes(&self, name: &str, size: Size, get: Get) -> Result<Vec<u8>, NvrtcError> {
        let mut len = 0;
        // SAFETY: the program is alive.
        check(name, unsafe { size(self.program, &mut len) })?;
        let mut bytes = vec![0; len];
        // SAFETY: there is room for as much as there is.
        check(name, unsafe { get(self.program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for Created<'_> {
    fn drop(&mut self) {
        if !self.program.is_null() {
            // SAFETY: it was created and is used no more.
            unsafe { (self.functions.destroy)(&mut self.program) };
        }
    }
}

fn check(function: &str, code: c_int) -> Result<(), NvrtcError> {
    let what = match code {
        SUCCESS => return Ok(()),
        1 => "out of memory".to_string(),
        5 => "an option is not known to it".to_string(),
        COMPILATION => "the text is refused".to_string(),
        7 => "libnvrtc-builtins is missing, or of another version".to_string(),
        code => format!("code {code}"),
    };
    Err(NvrtcError::Failed(format!("{function}: {what}")))
}

impl Cubin {
    /// What each function takes, as the log says it, in the order of the log.
    pub fn usage(&self) -> Vec<Usage> {
        let mut all: Vec<Usage> = Vec::new();
        let number_before = |line: &str, what: &str| -> Option<u32> {
            line.split_once(what)?.0.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        for line in self.log.lines() {
            if let Some((_, rest)) = line.split_once("Compiling entry function '") {
                let entry = rest.split('\'').next().unwrap_or_default();
                all.push(Usage { entry: entry.into(), ..Usage::default() });
            }
            let Some(last) = all.last_mut() else { continue };
            let find = |what: &str| number_before(line, what);
            // Functions that are not inlined stand behind the one that calls them.
            let spilled = find(" bytes spill stores").unwrap_or(0).max(find(" bytes spill loads").unwrap_or(0));
            last.spilled = last.spilled.max(spilled);
            last.registers = last.registers.max(find(" registers").unwrap_or(0));
            last.shared = last.shared.max(find(" bytes smem").unwrap_or(0));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let error = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Nvrtc::find(&names).err().map(|e| e.to_string())
        };
        let none = error(&["libnone.so", "libnone.so.1"]).unwrap();
        assert_eq!(none, "NVRTC is not installed: none of libnone.so, libnone.so.1 can be loaded");
        let other = error(&["libnone.so", "libc.so.6"]).unwrap();
        assert_eq!(other, "this NVRTC cannot be used: libc.so.6 has no nvrtcVersion");
    }

    #[test]
    fn usage_is_read_from_the_log() {
        let log = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'a' for 'sm_90'\n\
            ptxas info    : Function properties for a\n\
                8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n\
            ptxas info    : Used 64 registers, used 1 barriers, 2048 bytes smem\n\
            ptxas info    : Compiling entry function 'b' for 'sm_90'\n\
                0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
            ptxas info    : Used 10 registers, used 0 barriers\n";
        let a = Usage { entry: "a".into(), registers: 64, spilled: 16, shared: 2048 };
        let b = Usage { entry: "b".into(), registers: 10, spilled: 0, shared: 0 };
        assert_eq!(Cubin { bytes: Vec::new(), log: log.into() }.usage(), [a, b]);
    }
}
