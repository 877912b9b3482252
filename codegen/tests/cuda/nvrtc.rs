//! Kernels through NVIDIA's compiler, which needs no GPU: `NVRTC` names `libnvrtc.so.13` of a package such as
//! `nvidia-cuda-nvrtc`.

use crate::data::Random;
use crate::exact::exact;
use crate::loops::{NESTS, SOFTMAX};
use crate::ops::pointwise;
use crate::target::skipped;
use codegen::cuda::{IndexWidth, Source};
use ir::DType;
use ir::kernel::interp::scalar;
use ir::kernel::{BinaryOp, Draw, Kernel, UnaryOp, text::parse};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

/// The compiler.
struct Nvrtc {
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
    fn load() -> Option<Nvrtc> {
        let Some(path) = std::env::var_os("NVRTC") else {
            skipped("NVRTC does not name the library");
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
    fn compile(&self, text: &str, architecture: &str) -> String {
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

    /// Compiles kernels that share preludes together, for each architecture. Yields those that spill.
    fn check(&self, kernels: &[Kernel], widths: &[IndexWidth]) -> Vec<String> {
        let mut spilling = Vec::new();
        for &width in widths {
            let mut parts: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
            for (n, kernel) in kernels.iter().enumerate() {
                let source = Source::new(kernel, &format!("kernel{n}"), width).unwrap();
                *parts.entry(source.prelude).or_default() += &source.function;
            }
            for (prelude, functions) in parts {
                for architecture in ["sm_80", "sm_90"] {
                    let log = self.compile(&format!("{prelude}{functions}"), architecture);
                    spilling
                        .extend(spills(&log, kernels).into_iter().map(|s| format!("{s} ({architecture}, {width:?})")));
                }
            }
        }
        spilling
    }
}

/// The kernels of a log that spill registers.
fn spills(log: &str, kernels: &[Kernel]) -> Vec<String> {
    let mut found = Vec::new();
    let mut name = String::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            name = rest.split('\'').next().unwrap_or_default().to_string();
        }
        if line.contains("bytes spill stores") && !line.contains(" 0 bytes spill stores") {
            let number = name.trim_start_matches("kernel").parse::<usize>().ok();
            let of = number.map_or("", |n| kernels[n].name.as_str());
            found.push(format!("{of}: {}", line.trim()));
        }
    }
    found
}

#[test]
fn every_operation_compiles() {
    let Some(nvrtc) = Nvrtc::load() else { return };
    let mut kernels = Vec::new();
    for dtype in DType::ALL {
        let zero = ir::Scalar::zero(dtype);
        for &op in UnaryOp::ALL {
            if scalar::unary(op, zero).is_some() {
                kernels.push(pointwise(&[dtype], |k, x| k.unary(op, x[0])));
            }
        }
        for &op in BinaryOp::ALL {
            if scalar::binary(op, zero, zero).is_some() {
                kernels.push(pointwise(&[dtype, dtype], |k, x| k.binary(op, x[0], x[1])));
            }
        }
        for to in DType::ALL {
            if to != dtype {
                kernels.push(pointwise(&[dtype], |k, x| k.convert(x[0], to)));
            }
        }
    }
    for draw in Draw::ALL {
        let inputs = [DType::U32, DType::U32, DType::U64, DType::F64];
        let inputs = &inputs[..3 + usize::from(draw.has_parameter())];
        kernels.push(pointwise(inputs, |k, x| k.draw(draw, [x[0], x[1]], x[2], x.get(3).copied())));
    }
    assert!(kernels.len() > 380, "{}", kernels.len());
    assert_eq!(nvrtc.check(&kernels, &[IndexWidth::Bits32]), [""; 0]);
}

#[test]
fn loops_and_random_kernels_compile() {
    let Some(nvrtc) = Nvrtc::load() else { return };
    let mut kernels: Vec<Kernel> = [SOFTMAX, NESTS].iter().map(|text| parse(text).unwrap()).collect();
    for seed in 0..96 {
        let mut random = Random::new(seed);
        kernels.push(exact((0..random.below(600)).map(|_| random.bits() as u8).collect()));
    }
    assert_eq!(nvrtc.check(&kernels, &[IndexWidth::Bits32, IndexWidth::Bits64]), [""; 0]);
}
