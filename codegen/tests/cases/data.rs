//! Data for kernels, and what results are compared within.

use crate::target::{LONG_BODIES, check};
use ir::kernel::text::parse;
use ir::{DType, Data, Scalar};

pub fn scalar_of_bits(dtype: DType, bits: u64) -> Scalar {
    assert!(dtype != DType::Bool || bits < 2, "a bool of {bits}");
    Scalar::from_bits(dtype, bits)
}

/// The elements as they stand in memory.
pub fn to_bytes(data: &Data) -> Vec<u8> {
    let size = data.dtype().size();
    (0..data.len()).flat_map(|i| data.get(i).bits().to_le_bytes()[..size].to_vec()).collect()
}

/// The elements that stand in memory like that.
pub fn from_bytes(dtype: DType, bytes: &[u8]) -> Data {
    let scalar = |b: &[u8]| {
        let mut bits = [0; 8];
        bits[..b.len()].copy_from_slice(b);
        scalar_of_bits(dtype, u64::from_le_bytes(bits))
    };
    Data::collect(dtype, bytes.chunks(dtype.size()).map(scalar))
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

pub fn near(a: Scalar, b: Scalar, within: Within) -> bool {
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
        Scalar::F16(_) | Scalar::BF16(_) => {
            let low = (s.bits() & 0x7fff) as i128;
            if s.bits() >> 15 == 1 { -low } else { low }
        }
        other => other.as_i64() as i128,
    };
    order(a).abs_diff(order(b)) <= n as u128
}

/// The same of a kernel's text, as it is and, for targets that look, with lanes loops whose bodies seem long.
pub fn check_text(text: &str, data: &[Data], extents: &[i64], within: Within) {
    let (mut long, mut loops) = (String::new(), text.split("lanes {"));
    long += loops.next().unwrap_or_default();
    for (n, rest) in loops.enumerate() {
        long += &format!("lanes {{\n%long{n}: f32 = const 1\n");
        (0..20).for_each(|j| long += &format!("%long{n}_{j}: f32 = log %long{n}\n"));
        long += rest;
    }
    if LONG_BODIES {
        check(&parse(&long).unwrap_or_else(|e| panic!("{e}\n{long}")), data, extents, within);
    }
    check(&parse(text).unwrap_or_else(|e| panic!("{e}\n{text}")), data, extents, within);
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
