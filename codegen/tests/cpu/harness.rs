//! Runs a kernel compiled and interpreted, and compares.

use codegen::cpu::{CompileOptions, CompiledKernel, Compiler, Status};
use ir::kernel::{Kernel, interp, text::parse};
use ir::{DType, Data, Scalar};
use std::sync::OnceLock;

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

fn to_bytes(data: &Data) -> Vec<u8> {
    let size = data.dtype().size();
    (0..data.len()).flat_map(|i| data.get(i).bits().to_le_bytes()[..size].to_vec()).collect()
}

fn from_bytes(dtype: DType, bytes: &[u8]) -> Data {
    let scalar = |b: &[u8]| {
        let mut bits = [0; 8];
        bits[..b.len()].copy_from_slice(b);
        scalar_of_bits(dtype, u64::from_le_bytes(bits))
    };
    Data::collect(dtype, bytes.chunks(dtype.size()).map(scalar))
}

pub fn scalar_of_bits(dtype: DType, bits: u64) -> Scalar {
    assert!(dtype != DType::Bool || bits < 2, "a bool of {bits}");
    Scalar::from_bits(dtype, bits)
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

/// How far compiled and interpreted results may be apart.
#[derive(Clone, Copy)]
pub enum Within {
    Bits,
    Ulps(u64),
}

pub fn is_nan(s: Scalar) -> bool {
    s.dtype().is_float() && s.as_f64().is_nan()
}

fn near(a: Scalar, b: Scalar, within: Within) -> bool {
    if is_nan(a) || is_nan(b) {
        return is_nan(a) && is_nan(b);
    }
    let Within::Ulps(n) = within else { return a.bits() == b.bits() };
    let order = |s: Scalar| match s {
        Scalar::F32(x) => {
            (if x.to_bits() >> 31 == 1 { -((x.to_bits() & 0x7fff_ffff) as i64) } else { x.to_bits() as i64 }) as i128
        }
        Scalar::F64(x) => {
            let low = (x.to_bits() & (u64::MAX >> 1)) as i128;
            if x.is_sign_negative() { -low } else { low }
        }
        other => other.as_i64() as i128,
    };
    order(a).abs_diff(order(b)) <= n as u128
}

pub fn options(vectorize: bool) -> CompileOptions {
    CompileOptions { keep_text: false, vectorize }
}

/// Compiled with and without vectors, run as a whole and task by task from the last: always the same bits, and the
/// interpreter's outcome. Yields the buffers afterwards.
pub fn check(kernel: &Kernel, data: &[Data], extents: &[i64], within: Within) -> Vec<Data> {
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
    first.expect("it ran")
}

/// The same of a kernel's text, as it is and with lanes loops whose bodies seem long.
pub fn check_text(text: &str, data: &[Data], extents: &[i64], within: Within) -> Vec<Data> {
    let (mut long, mut loops) = (String::new(), text.split("lanes {"));
    long += loops.next().unwrap_or_default();
    for (n, rest) in loops.enumerate() {
        long += &format!("lanes {{\n%long{n}: f32 = const 1\n");
        (0..20).for_each(|j| long += &format!("%long{n}_{j}: f32 = log %long{n}\n"));
        long += rest;
    }
    check(&parse(&long).unwrap_or_else(|e| panic!("{e}\n{long}")), data, extents, within);
    check(&parse(text).unwrap_or_else(|e| panic!("{e}\n{text}")), data, extents, within)
}

/// A small generator of test data (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.bits() >> 11) % n
    }
    /// A value between -8 and 8, or of small integers.
    pub fn plain(&mut self, dtype: DType) -> Scalar {
        let x = (self.bits() >> 11) as f64 / (1u64 << 53) as f64 * 16.0 - 8.0;
        match dtype {
            _ if dtype.is_unsigned() => Scalar::U64(self.below(16)).convert(dtype),
            DType::Bool => Scalar::Bool(self.below(2) == 1),
            DType::I64 | DType::I32 => Scalar::of(dtype, x.round()),
            _ => Scalar::of(dtype, x),
        }
    }
    pub fn data(&mut self, dtype: DType, n: usize) -> Data {
        Data::collect(dtype, (0..n).map(|_| self.plain(dtype)))
    }
}

/// Values at which operations go wrong.
pub fn unusual(dtype: DType) -> Vec<Scalar> {
    let bits: Vec<u64> = match dtype {
        DType::Bool => vec![0, 1],
        DType::U8 => vec![0, 1, 2, 127, 128, 254, 255],
        DType::I8 => [0i8, 1, -1, 2, -2, 3, 7, -7, 126, 127, -127, -128].map(|x| x as u8 as u64).to_vec(),
        DType::I16 => [0i16, 1, -1, 2, -3, 7, 127, -128, 255, 256, 32_766, i16::MAX, -32_767, i16::MIN]
            .map(|x| x as u16 as u64)
            .to_vec(),
        DType::U16 => vec![0, 1, 2, 3, 7, 127, 255, 256, 0x7fff, 0x8000, 0xfffe, 0xffff],
        DType::U32 => {
            vec![0, 1, 2, 3, 7, 255, 65_535, 65_536, (1 << 24) + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]
        }
        DType::U64 => vec![
            0,
            1,
            2,
            3,
            7,
            u32::MAX as u64,
            1 << 32,
            (1 << 53) + 1,
            i64::MAX as u64,
            1 << 63,
            (1 << 63) + 1,
            0xffff_ff7f_ffff_ffff,
            u64::MAX - 1,
            u64::MAX,
        ],
        DType::I32 => [0, 1, -1, 2, -2, 3, 7, -7, i32::MAX, i32::MIN, i32::MIN + 1, 255, 256, 65_535]
            .map(|x: i32| x as u32 as u64)
            .to_vec(),
        DType::I64 => [
            0,
            1,
            -1,
            2,
            -3,
            7,
            i64::MAX,
            i64::MIN,
            i64::MIN + 1,
            1 << 31,
            -(1 << 31) - 1,
            1 << 53,
            (1 << 53) + 1,
            (1 << 24) + 1,
            0x1_0000_00ff,
            -0x4000_0080_0000_0001,
        ]
        .map(|x: i64| x as u64)
        .to_vec(),
        DType::F32 => {
            let mut all: Vec<f32> = vec![
                0.0,
                1.0,
                0.5,
                1.5,
                2.5,
                0.1,
                3.0,
                1e-3,
                255.5,
                256.0,
                65504.0,
                65519.9,
                65520.0,
                65536.0,
                2.147_483_6e9,
                2.147_484e9,
                9.3e18,
                1e30,
                f32::MAX,
                f32::MIN_POSITIVE,
                f32::EPSILON,
                f32::INFINITY,
                f32::NAN,
            ];
            all.extend(
                [
                    1u32,
                    0x0000_0123,
                    0x007f_ffff,
                    0x3380_0000,
                    0x3300_0000,
                    0x3300_0001,
                    0x387f_e000,
                    0x387f_f000,
                    0x3f80_8000,
                    0x3f81_8000,
                    0x7f80_0001,
                ]
                .map(f32::from_bits),
            );
            all.iter().flat_map(|x| [x.to_bits() as u64, (-x).to_bits() as u64]).collect()
        }
        DType::F64 => {
            let mut all: Vec<f64> = vec![
                0.0,
                1.0,
                0.5,
                1.5,
                2.5,
                0.1,
                3.0,
                255.5,
                256.0,
                65519.999,
                65520.0,
                65536.0,
                2147483647.0,
                2147483648.5,
                9.3e18,
                1e40,
                1e300,
                f64::MAX,
                f64::MIN_POSITIVE,
                f64::INFINITY,
                f64::NAN,
            ];
            all.extend([
                1.0 + 2f64.powi(-11) + 2f64.powi(-45),
                1.0 + 2f64.powi(-11),
                1.0 + 3.0 * 2f64.powi(-11),
                1.0 + 2f64.powi(-8) + 2f64.powi(-40),
                2f64.powi(-25),
                2f64.powi(-25) * (1.0 + 2f64.powi(-50)),
                2f64.powi(-134),
                2f64.powi(-133),
                2f64.powi(-140),
                2f64.powi(-149),
                3.5 * 2f64.powi(-133),
                2f64.powi(-200),
                f32::MAX as f64 * (1.0 + 2f64.powi(-25)),
                5e-324,
            ]);
            all.iter().flat_map(|x| [x.to_bits(), (-x).to_bits()]).collect()
        }
        DType::F16 => [0, 1, 0x3ff, 0x400, 0x3c00, 0x3555, 0x7bff, 0x7c00, 0x7e00, 0x7c01, 0x5bf8]
            .iter()
            .flat_map(|&b: &u64| [b, b | 0x8000])
            .collect(),
        DType::BF16 => [0, 1, 0x7f, 0x80, 0x3f80, 0x3eab, 0x7f7f, 0x7f80, 0x7fc0, 0x7f81, 0x4f00]
            .iter()
            .flat_map(|&b: &u64| [b, b | 0x8000])
            .collect(),
    };
    bits.into_iter().map(|b| scalar_of_bits(dtype, b)).collect()
}

/// The lengths that meet every stage of a lanes loop.
pub const LENGTHS: [usize; 9] = [0, 1, 3, 4, 5, 31, 32, 33, 100];
