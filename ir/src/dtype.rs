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
            (U8, u8),
            (Bool, bool)
        }
    };
}

impl DType {
    /// Every element type.
    pub const ALL: [DType; 8] =
        [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::I32, DType::U8, DType::Bool];

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::U8 | DType::Bool => 1,
        }
    }

    /// True for f64, f32, f16 and bf16.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
    }

    /// True for i64, i32 and u8 (not for bool).
    pub const fn is_int(self) -> bool {
        matches!(self, DType::I64 | DType::I32 | DType::U8)
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
            Scalar::U8(x) => x as u64,
            Scalar::Bool(x) => x as u64,
        }
    }

    /// The value as f64; exact for every dtype but large i64.
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::F64(x) => x,
            Scalar::F32(x) => x as f64,
            Scalar::F16(x) => x.to_f64(),
            Scalar::BF16(x) => x.to_f64(),
            Scalar::I64(x) => x as f64,
            Scalar::I32(x) => x as f64,
            Scalar::U8(x) => x as f64,
            Scalar::Bool(x) => x as u8 as f64,
        }
    }

    /// The value as i64: floats truncate and saturate, NaN becomes 0.
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::I64(x) => x,
            Scalar::I32(x) => x as i64,
            Scalar::U8(x) => x as i64,
            Scalar::Bool(x) => x as i64,
            float => float.as_f64() as i64,
        }
    }

    /// Converts as the `convert` op does: floats round to nearest even, to 16-bit floats through f32; float to int
    /// truncates and saturates with NaN to 0, int to narrower int wraps, anything to bool is `!= 0`.
    pub fn convert(self, to: DType) -> Scalar {
        let float_source = self.dtype().is_float();
        match to {
            DType::F64 => Scalar::F64(match self {
                Scalar::I64(x) => x as f64,
                s => s.as_f64(),
            }),
            DType::F32 => Scalar::F32(match self {
                Scalar::F32(x) => x,
                Scalar::I64(x) => x as f32,
                s => s.as_f64() as f32,
            }),
            // f64 and integers go through f32 first, as all 16-bit arithmetic does; `f16::from_f64` rounds once or twice
            // depending on the machine.
            DType::F16 => Scalar::F16(match self {
                Scalar::F16(x) => x,
                Scalar::I64(x) => f16::from_f32(x as f32),
                s => f16::from_f32(s.as_f64() as f32),
            }),
            DType::BF16 => Scalar::BF16(match self {
                Scalar::BF16(x) => x,
                Scalar::I64(x) => bf16::from_f32(x as f32),
                s => bf16::from_f32(s.as_f64() as f32),
            }),
            DType::I64 => Scalar::I64(self.as_i64()),
            DType::I32 => Scalar::I32(if float_source { self.as_f64() as i32 } else { self.as_i64() as i32 }),
            DType::U8 => Scalar::U8(if float_source { self.as_f64() as u8 } else { self.as_i64() as u8 }),
            DType::Bool => Scalar::Bool(match self {
                Scalar::I64(x) => x != 0,
                s => s.as_f64() != 0.0,
            }),
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
            DType::U8 | DType::Bool => Scalar::zero(dtype),
            float => Scalar::of(float, f64::NEG_INFINITY),
        }
    }

    /// The largest value: +inf for floats, `MAX` for integers, true for bool.
    pub fn highest(dtype: DType) -> Scalar {
        match dtype {
            DType::I64 => Scalar::I64(i64::MAX),
            DType::I32 => Scalar::I32(i32::MAX),
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
            return match dtype {
                DType::F64 => Ok(Scalar::F64(f64::from_bits(bits))),
                DType::F32 => Ok(Scalar::F32(f32::from_bits(u32::try_from(bits).map_err(|_| bad())?))),
                DType::F16 => Ok(Scalar::F16(f16::from_bits(u16::try_from(bits).map_err(|_| bad())?))),
                DType::BF16 => Ok(Scalar::BF16(bf16::from_bits(u16::try_from(bits).map_err(|_| bad())?))),
                _ => Err(bad()),
            };
        }
        Ok(match dtype {
            DType::F64 => Scalar::F64(text.parse().map_err(|_| bad())?),
            DType::F32 => Scalar::F32(text.parse().map_err(|_| bad())?),
            DType::F16 => Scalar::F16(f16::from_f32(text.parse().map_err(|_| bad())?)),
            DType::BF16 => Scalar::BF16(bf16::from_f32(text.parse().map_err(|_| bad())?)),
            DType::I64 => Scalar::I64(text.parse().map_err(|_| bad())?),
            DType::I32 => Scalar::I32(text.parse().map_err(|_| bad())?),
            DType::U8 => Scalar::U8(text.parse().map_err(|_| bad())?),
            DType::Bool => Scalar::Bool(text.parse().map_err(|_| bad())?),
        })
    }
}
