//! Element types and scalar constants.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The type of one tensor element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16; arithmetic means: convert to f32, compute, round once.
    F16,
    /// bfloat16; arithmetic as for [`DType::F16`].
    BF16,
    /// Signed 64-bit integer, wrapping.
    I64,
    /// Signed 32-bit integer, wrapping.
    I32,
    /// Signed 16-bit integer, wrapping.
    I16,
    /// Signed 8-bit integer, wrapping.
    I8,
    /// Unsigned 64-bit integer, wrapping.
    U64,
    /// Unsigned 32-bit integer, wrapping.
    U32,
    /// Unsigned 16-bit integer, wrapping.
    U16,
    /// Unsigned 8-bit integer, wrapping.
    U8,
    /// Truth value, one byte, 0 or 1.
    Bool,
}

/// Calls a macro with every `(DType variant, Rust type)` pair.
///
/// ```
/// macro_rules! sizes { ($(($v:ident, $t:ty)),*) => { [$((ir::DType::$v, size_of::<$t>())),*] } }
/// for (dtype, size) in ir::for_each_dtype!(sizes) { assert_eq!(dtype.size(), size) }
/// ```
#[macro_export]
macro_rules! for_each_dtype {
    ($m:ident) => {
        $m! {
            (F64, f64),
            (F32, f32),
            (F16, $crate::half::f16),
            (BF16, $crate::half::bf16),
            (I64, i64),
            (I32, i32),
            (I16, i16),
            (I8, i8),
            (U64, u64),
            (U32, u32),
            (U16, u16),
            (U8, u8),
            (Bool, bool)
        }
    };
}

impl DType {
    /// Every element type.
    pub const ALL: [DType; 13] = {
        use DType::*;
        [F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, Bool]
    };

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 | DType::U64 => 8,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 | DType::I16 | DType::U16 => 2,
            DType::I8 | DType::U8 | DType::Bool => 1,
        }
    }

    /// True for f64, f32, f16 and bf16.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
    }

    /// True for signed and unsigned integers (not for bool).
    pub const fn is_int(self) -> bool {
        self.is_signed() || self.is_unsigned()
    }

    /// True for i64, i32, i16 and i8.
    pub const fn is_signed(self) -> bool {
        matches!(self, DType::I64 | DType::I32 | DType::I16 | DType::I8)
    }

    /// True for u64, u32, u16 and u8 (not for bool).
    pub const fn is_unsigned(self) -> bool {
        matches!(self, DType::U64 | DType::U32 | DType::U16 | DType::U8)
    }

    /// Bits per element.
    pub const fn bits(self) -> usize {
        8 * self.size()
    }

    /// True for f16 and bf16, whose arithmetic happens in f32.
    pub const fn is_half(self) -> bool {
        matches!(self, DType::F16 | DType::BF16)
    }

    /// The type in which reductions and products of this type accumulate.
    pub const fn accumulator(self) -> DType {
        match self {
            DType::F16 | DType::BF16 => DType::F32,
            other => other,
        }
    }

    /// The name used in text: `f32`, `bool`, ….
    pub const fn name(self) -> &'static str {
        match self {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::I16 => "i16",
            DType::I8 => "i8",
            DType::U64 => "u64",
            DType::U32 => "u32",
            DType::U16 => "u16",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        DType::ALL.into_iter().find(|d| d.name() == s).ok_or_else(|| format!("unknown dtype `{s}`"))
    }
}

/// A Rust type that is a tensor element.
pub trait Element: Copy + Send + Sync + Default + PartialEq + fmt::Debug + 'static {
    /// The dtype of this Rust type.
    const DTYPE: DType;
    /// Wraps a value as a [`Scalar`].
    fn to_scalar(self) -> Scalar;
    /// The value of a scalar of exactly this dtype.
    fn from_scalar(s: Scalar) -> Option<Self>;
}

macro_rules! elements {
    ($(($v:ident, $t:ty)),*) => {
        /// One value of any dtype. Equality and hashing are by bits, so NaN equals itself and 0.0 differs from -0.0.
        #[derive(Clone, Copy, Serialize, Deserialize)]
        pub enum Scalar { $(
            #[doc = concat!("A `", stringify!($t), "`.")]
            $v($t)
        ),* }

        impl Scalar {
            /// The dtype of the value.
            pub const fn dtype(self) -> DType {
                match self { $(Scalar::$v(_) => DType::$v),* }
            }
        }

        $(impl Element for $t {
            const DTYPE: DType = DType::$v;
            fn to_scalar(self) -> Scalar { Scalar::$v(self) }
            fn from_scalar(s: Scalar) -> Option<Self> {
                match s { Scalar::$v(x) => Some(x), _ => None }
            }
        })*
    };
}
for_each_dtype!(elements);

impl Scalar {
    /// The raw bits, zero-extended.
    pub fn bits(self) -> u64 {
        match self {
            Scalar::F64(x) => x.to_bits(),
            Scalar::F32(x) => x.to_bits() as u64,
            Scalar::F16(x) => x.to_bits() as u64,
            Scalar::BF16(x) => x.to_bits() as u64,
            Scalar::I64(x) => x as u64,
            Scalar::I32(x) => x as u32 as u64,
            Scalar::I16(x) => x as u16 as u64,
            Scalar::I8(x) => x as u8 as u64,
            Scalar::U64(x) => x,
            Scalar::U32(x) => x as u64,
            Scalar::U16(x) => x as u64,
            Scalar::U8(x) => x as u64,
            Scalar::Bool(x) => x as u64,
        }
    }

    /// The value with those low [bits](Scalar::bits); of a bool, whether any is set.
    pub fn from_bits(dtype: DType, bits: u64) -> Scalar {
        match dtype {
            DType::F64 => Scalar::F64(f64::from_bits(bits)),
            DType::F32 => Scalar::F32(f32::from_bits(bits as u32)),
            DType::F16 => Scalar::F16(f16::from_bits(bits as u16)),
            DType::BF16 => Scalar::BF16(bf16::from_bits(bits as u16)),
            int => Scalar::U64(bits).convert(int),
        }
    }

    /// The value as a float, or as an integer wide enough for any.
    fn number(self) -> Result<f64, i128> {
        match self {
            Scalar::F64(x) => Ok(x),
            Scalar::F32(x) => Ok(x as f64),
            Scalar::F16(x) => Ok(x.to_f64()),
            Scalar::BF16(x) => Ok(x.to_f64()),
            Scalar::I64(x) => Err(x.into()),
            Scalar::I32(x) => Err(x.into()),
            Scalar::I16(x) => Err(x.into()),
            Scalar::I8(x) => Err(x.into()),
            Scalar::U64(x) => Err(x.into()),
            Scalar::U32(x) => Err(x.into()),
            Scalar::U16(x) => Err(x.into()),
            Scalar::U8(x) => Err(x.into()),
            Scalar::Bool(x) => Err(x.into()),
        }
    }

    /// An integer or truth value; `None` for floats.
    pub fn as_i128(self) -> Option<i128> {
        self.number().err()
    }

    /// The value as f64; exact for every dtype but large i64 and u64.
    pub fn as_f64(self) -> f64 {
        self.number().unwrap_or_else(|i| i as f64)
    }

    /// The value as i64: floats truncate and saturate, NaN becomes 0; a large u64 wraps.
    pub fn as_i64(self) -> i64 {
        self.number().map_or_else(|i| i as i64, |x| x as i64)
    }

    /// Converts as the `convert` op does: floats round to nearest even, to 16-bit floats through f32; float to int
    /// truncates and saturates with NaN to 0, int to int wraps, anything to bool is `!= 0`.
    pub fn convert(self, to: DType) -> Scalar {
        macro_rules! int {
            ($v:ident) => {
                match self.number() {
                    Ok(x) => Scalar::$v(x as _),
                    Err(i) => Scalar::$v(i as _),
                }
            };
        }
        let single = || match (self, self.number()) {
            (Scalar::F32(x), _) => x,
            (_, Ok(x)) => x as f32,
            (_, Err(i)) => i as f32,
        };
        match to {
            DType::F64 => Scalar::F64(self.as_f64()),
            DType::F32 => Scalar::F32(single()),
            // f64 and integers go through f32 first, as all 16-bit arithmetic does; `f16::from_f64` rounds once or twice
            // depending on the machine.
            DType::F16 => Scalar::F16(if let Scalar::F16(x) = self { x } else { f16::from_f32(single()) }),
            DType::BF16 => Scalar::BF16(if let Scalar::BF16(x) = self { x } else { bf16::from_f32(single()) }),
            DType::I64 => int!(I64),
            DType::I32 => int!(I32),
            DType::I16 => int!(I16),
            DType::I8 => int!(I8),
            DType::U64 => int!(U64),
            DType::U32 => int!(U32),
            DType::U16 => int!(U16),
            DType::U8 => int!(U8),
            DType::Bool => Scalar::Bool(self.number().map_or_else(|i| i != 0, |x| x != 0.0)),
        }
    }

    /// The value `x` in dtype `dtype`, converted as [`Scalar::convert`] does from f64.
    pub fn of(dtype: DType, x: f64) -> Scalar {
        Scalar::F64(x).convert(dtype)
    }

    /// Zero of a dtype.
    pub fn zero(dtype: DType) -> Scalar {
        Scalar::Bool(false).convert(dtype)
    }

    /// One of a dtype.
    pub fn one(dtype: DType) -> Scalar {
        Scalar::Bool(true).convert(dtype)
    }

    /// The smallest value: -inf for floats, `MIN` for integers, false for bool.
    pub fn lowest(dtype: DType) -> Scalar {
        match dtype {
            DType::I64 => Scalar::I64(i64::MIN),
            DType::I32 => Scalar::I32(i32::MIN),
            DType::I16 => Scalar::I16(i16::MIN),
            DType::I8 => Scalar::I8(i8::MIN),
            float if float.is_float() => Scalar::of(float, f64::NEG_INFINITY),
            unsigned => Scalar::zero(unsigned),
        }
    }

    /// The largest value: +inf for floats, `MAX` for integers, true for bool.
    pub fn highest(dtype: DType) -> Scalar {
        match dtype {
            DType::I64 => Scalar::I64(i64::MAX),
            DType::I32 => Scalar::I32(i32::MAX),
            DType::I16 => Scalar::I16(i16::MAX),
            DType::I8 => Scalar::I8(i8::MAX),
            DType::U64 => Scalar::U64(u64::MAX),
            DType::U32 => Scalar::U32(u32::MAX),
            DType::U16 => Scalar::U16(u16::MAX),
            DType::U8 => Scalar::U8(u8::MAX),
            DType::Bool => Scalar::Bool(true),
            float => Scalar::of(float, f64::INFINITY),
        }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.dtype() == other.dtype() && self.bits() == other.bits()
    }
}
impl Eq for Scalar {}
impl Hash for Scalar {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.dtype().hash(h);
        self.bits().hash(h);
    }
}

/// Prints the value so that reading it back in the same dtype gives the same bits: shortest decimal, `inf`, `-inf`,
/// and `nan:0x…` with the payload for every NaN.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dtype().is_float() && self.as_f64().is_nan() {
            return write!(f, "nan:{:#x}", self.bits());
        }
        match *self {
            Scalar::F64(x) => write!(f, "{x:?}"),
            Scalar::F32(x) => write!(f, "{x:?}"),
            Scalar::F16(x) => write!(f, "{:?}", x.to_f32()),
            Scalar::BF16(x) => write!(f, "{:?}", x.to_f32()),
            Scalar::I64(x) => write!(f, "{x}"),
            Scalar::I32(x) => write!(f, "{x}"),
            Scalar::I16(x) => write!(f, "{x}"),
            Scalar::I8(x) => write!(f, "{x}"),
            Scalar::U64(x) => write!(f, "{x}"),
            Scalar::U32(x) => write!(f, "{x}"),
            Scalar::U16(x) => write!(f, "{x}"),
            Scalar::U8(x) => write!(f, "{x}"),
            Scalar::Bool(x) => write!(f, "{x}"),
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}:{}", self.dtype())
    }
}

impl Scalar {
    /// Reads what `Display` printed, as a value of `dtype`.
    pub fn parse(text: &str, dtype: DType) -> Result<Scalar, String> {
        let bad = || format!("`{text}` is not a {dtype} value");
        if let Some(hex) = text.strip_prefix("nan:0x") {
            let bits = u64::from_str_radix(hex, 16).map_err(|_| bad())?;
            let value = Scalar::from_bits(dtype, bits);
            return if dtype.is_float() && value.bits() == bits { Ok(value) } else { Err(bad()) };
        }
        Ok(match dtype {
            DType::F64 => Scalar::F64(text.parse().map_err(|_| bad())?),
            DType::F32 => Scalar::F32(text.parse().map_err(|_| bad())?),
            DType::F16 => Scalar::F16(f16::from_f32(text.parse().map_err(|_| bad())?)),
            DType::BF16 => Scalar::BF16(bf16::from_f32(text.parse().map_err(|_| bad())?)),
            DType::I64 => Scalar::I64(text.parse().map_err(|_| bad())?),
            DType::I32 => Scalar::I32(text.parse().map_err(|_| bad())?),
            DType::I16 => Scalar::I16(text.parse().map_err(|_| bad())?),
            DType::I8 => Scalar::I8(text.parse().map_err(|_| bad())?),
            DType::U64 => Scalar::U64(text.parse().map_err(|_| bad())?),
            DType::U32 => Scalar::U32(text.parse().map_err(|_| bad())?),
            DType::U16 => Scalar::U16(text.parse().map_err(|_| bad())?),
            DType::U8 => Scalar::U8(text.parse().map_err(|_| bad())?),
            DType::Bool => Scalar::Bool(text.parse().map_err(|_| bad())?),
        })
    }
}
