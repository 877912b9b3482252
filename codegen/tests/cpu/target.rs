//! Runs a kernel compiled and interpreted, and compares.

use crate::data::{Within, from_bytes, near, to_bytes};
use codegen::cpu::{CompileOptions, CompiledKernel, Compiler, Status};
use ir::Data;
use ir::kernel::{Kernel, interp};
use std::sync::OnceLock;

/// Long bodies of lanes loops are compiled in another way.
pub const LONG_BODIES: bool = true;
/// How exact random numbers are that need functions.
pub const DRAWN: Within = Within::Bits;

/// The compiler of this process.
pub fn compiler() -> &'static Compiler {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    COMPILER.get_or_init(|| Compiler::new().expect("a compiler for this machine"))
}

/// Memory that ends at a page that cannot be touched, so that an access past the end stops the test.
struct Guarded {
    map: *mut u8,
    pages: usize,
    at: *mut u8,
    len: usize,
}

const PAGE: usize = 4096;

impl Guarded {
    fn new(bytes: &[u8]) -> Guarded {
        let pages = bytes.len().div_ceil(PAGE) * PAGE;
        // SAFETY: a fresh map of `pages + PAGE` bytes, of which the first `pages` stay writable, holds the copy.
        unsafe {
            let rw = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), pages + PAGE, rw, flags, -1, 0).cast::<u8>();
            assert_ne!(map.cast(), libc::MAP_FAILED);
            assert_eq!(libc::mprotect(map.add(pages).cast(), PAGE, libc::PROT_NONE), 0);
            let at = map.add(pages - bytes.len());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
            Guarded { map, pages, at, len: bytes.len() }
        }
    }
    fn bytes(&self) -> &[u8] {
        // SAFETY: `new` mapped and filled these bytes, and nothing writes while they are looked at.
        unsafe { std::slice::from_raw_parts(self.at, self.len) }
    }
}
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: `new` made this map, and nothing refers to it any more.
        unsafe { libc::munmap(self.map.cast(), self.pages + PAGE) };
    }
}

/// Runs compiled code on copies of the buffers, over the tasks in those parts.
pub fn execute(
    kernel: &CompiledKernel,
    data: &[Data],
    extents: &[i64],
    parts: &[(i64, i64)],
) -> (Vec<Data>, Vec<Status>) {
    let buffers: Vec<Guarded> = data.iter().map(|d| Guarded::new(&to_bytes(d))).collect();
    let pointers: Vec<*mut u8> = buffers.iter().map(|b| b.at).collect();
    let scratch = kernel.scratch_bytes(extents).expect("a scratch size");
    let mut statuses = vec![Status::NONE; kernel.sites()];
    for &(begin, end) in parts {
        // Rows start undefined: make that visible.
        let row = Guarded::new(&vec![0xa5; scratch]);
        let mut own = vec![Status::NONE; kernel.sites()];
        // SAFETY: each buffer is as long as the test says; an access beyond hits the guard page. Scratch and statuses are
        // this call's own.
        unsafe { kernel.call(pointers.as_ptr(), extents.as_ptr(), begin, end, row.at, own.as_mut_ptr()) };
        statuses.iter_mut().zip(own).for_each(|(s, o)| s.merge(o));
    }
    (data.iter().zip(&buffers).map(|(d, b)| from_bytes(d.dtype(), b.bytes())).collect(), statuses)
}

pub fn options(vectorize: bool) -> CompileOptions {
    CompileOptions { keep_text: false, vectorize }
}

/// Compiled with and without vectors, run as a whole and task by task from the last: always the same bits, and the
/// interpreter's outcome.
pub fn check(kernel: &Kernel, data: &[Data], extents: &[i64], within: Within) {
    let mut want = data.to_vec();
    let recorded = interp::run(kernel, &mut want, extents).unwrap_or_else(|e| panic!("{kernel}\n{e}"));
    let mut first: Option<Vec<Data>> = None;
    for vectorize in [true, false] {
        let compiled = compiler().compile_with(kernel, options(vectorize)).unwrap_or_else(|e| panic!("{e}"));
        let tasks: i64 = compiled.grids(extents).expect("grids").iter().sum();
        let each: Vec<(i64, i64)> = (0..tasks).rev().map(|t| (t, t + 1)).collect();
        for parts in [&[(0, tasks)][..], &each] {
            let (got, statuses) = execute(&compiled, data, extents, parts);
            for (p, (got, want)) in got.iter().zip(&want).enumerate() {
                for i in 0..got.len() {
                    let (got, want) = (got.get(i), want.get(i));
                    let how = if vectorize { "vectors" } else { "single iterations" };
                    assert!(near(got, want, within), "buffer {p}[{i}]: {got:?}, not {want:?} ({how})\n{kernel}");
                }
            }
            for (site, (got, want)) in statuses.iter().zip(&recorded.offences).enumerate() {
                let got = got.is_set().then_some((got.index, got.bound));
                assert_eq!(got, want.map(|o| (o.index, o.bound)), "site {site}\n{kernel}");
            }
            match &first {
                None => first = Some(got),
                Some(first) => {
                    for (p, (a, b)) in first.iter().zip(&got).enumerate() {
                        // Which of two NaN operands gives its payload is not fixed.
                        let same = (0..a.len()).all(|i| near(a.get(i), b.get(i), Within::Bits));
                        assert!(same, "buffer {p} depends on how the kernel runs\n{kernel}");
                    }
                }
            }
        }
    }
}

/// Why a kernel is refused.
pub fn refusal(kernel: &Kernel) -> Option<String> {
    compiler().compile(kernel).err().map(|e| e.to_string())
}

/// Compiled kernels ran at once.
pub fn finish() {}
