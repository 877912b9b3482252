//! NVIDIA's compiler, for tests: `NVRTC` names `libnvrtc.so.13` of a package such as `nvidia-cuda-nvrtc`.

use codegen::cuda::Source;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

/// The compiler.
pub struct Nvrtc {
    library: *mut c_void,
}

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

impl Nvrtc {
    /// None, with a line that says so, where `NVRTC` is not set.
    pub fn load() -> Option<Nvrtc> {
        let Some(path) = std::env::var_os("NVRTC") else {
            emulator::skip("NVRTC does not name the library");
            return None;
        };
        let path = Path::new(&path);
        let open = |path: &Path| {
            let name = CString::new(path.to_str().expect("a path in UTF-8")).expect("no zero in a path");
            // SAFETY: the libraries are NVIDIA's; loading them changes nothing of this process.
            let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
            assert!(!library.is_null(), "{} cannot be loaded", path.display());
            library
        };
        // It finds its headers by name once they are loaded.
        let folder = path.parent().expect("a folder").read_dir().expect("a folder that can be read");
        let mut names = folder.filter_map(|entry| Some(entry.ok()?.path()));
        let builtins = names.find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().contains("nvrtc-builtins.so")));
        builtins.iter().for_each(|p| _ = open(p));
        Some(Nvrtc { library: open(path) })
    }

    fn symbol(&self, name: &str) -> *mut c_void {
        let name = CString::new(name).expect("no zero in a name");
        // SAFETY: the library stays loaded.
        let symbol = unsafe { libc::dlsym(self.library, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?} is not in the library");
        symbol
    }

    /// The log of a compilation to machine code; panics if that fails.
    pub fn compile(&self, text: &str, architecture: &str) -> String {
        let text_of = CString::new(text).expect("no zero in a text");
        let options = [format!("--gpu-architecture={architecture}"), "--fmad=false".into(), "--std=c++17".into()];
        let options = options.into_iter().chain(["--ptxas-options=-v".into(), "--disable-warnings".into()]);
        let options: Vec<CString> = options.map(|o| CString::new(o).expect("no zero in an option")).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        let mut log = Vec::new();
        // SAFETY: the functions have these types in every version of the library, and the pointers live through the calls.
        let failed = unsafe {
            let create: Create = std::mem::transmute(self.symbol("nvrtcCreateProgram"));
            let compile: Compile = std::mem::transmute(self.symbol("nvrtcCompileProgram"));
            let size: Size = std::mem::transmute(self.symbol("nvrtcGetProgramLogSize"));
            let get: Get = std::mem::transmute(self.symbol("nvrtcGetProgramLog"));
            let (none, name) = (std::ptr::null(), c"kernel.cu".as_ptr());
            assert_eq!(create(&mut program, text_of.as_ptr(), name, 0, none, none), 0);
            let failed = compile(program, pointers.len() as c_int, pointers.as_ptr());
            let mut length = 0;
            assert_eq!(size(program, &mut length), 0);
            log.resize(length, 0u8);
            assert_eq!(get(program, log.as_mut_ptr().cast()), 0);
            let destroy: unsafe extern "C" fn(*mut Program) -> c_int =
                std::mem::transmute(self.symbol("nvrtcDestroyProgram"));
            destroy(&mut program);
            failed
        };
        let log = String::from_utf8_lossy(&log).into_owned();
        assert!(failed == 0, "{log}\n{text}");
        log
    }

    /// The functions that spill registers.
    pub fn spills(&self, unit: &Unit, architecture: &str) -> Vec<Spill> {
        let logs = unit.parts.iter().map(|(prelude, all)| self.compile(&format!("{prelude}{all}"), architecture));
        let mut found: Vec<Spill> = logs.flat_map(|log| spills(&log)).collect();
        for spill in &mut found {
            spill.name.clone_from(&unit.names[&spill.name]);
        }
        found
    }
}

/// The functions of a log that spill registers, by their entries.
pub fn spills(log: &str) -> Vec<Spill> {
    let mut found: Vec<Spill> = Vec::new();
    let mut entry = "";
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            entry = rest.split('\'').next().unwrap_or_default();
        }
        let bytes = |what: &str| -> u32 {
            let number = line.split_once(what).and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
            number.unwrap_or(0)
        };
        let bytes = bytes(" bytes spill stores").max(bytes(" bytes spill loads"));
        if bytes > 0 {
            found.push(Spill { name: entry.into(), bytes });
        }
    }
    found
}

/// Functions that are compiled together where they have one prelude: a program of its own for each takes 20 ms more.
#[derive(Default)]
pub struct Unit {
    parts: BTreeMap<String, String>,
    names: HashMap<String, String>,
}

impl Unit {
    /// Adds a function, under a name for people. Its entry must be its own.
    pub fn add(&mut self, name: &str, source: Source) {
        *self.parts.entry(source.prelude).or_default() += &source.function;
        assert!(self.names.insert(source.entry, name.into()).is_none(), "a function of that entry is there already");
    }

    /// True if a function has that name.
    #[allow(dead_code, reason = "not all tests ask")]
    pub fn has(&self, name: &str) -> bool {
        self.names.values().any(|n| n == name)
    }
}

/// A function that keeps registers in memory.
#[derive(Debug)]
pub struct Spill {
    /// Its name for people.
    pub name: String,
    /// So many bytes of each thread.
    pub bytes: u32,
}
