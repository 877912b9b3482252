//! Scalar operations as text.

use ir::kernel::{BinaryOp, Combine, CompareOp, Draw, UnaryOp};
use ir::{DType, Scalar};

/// A constant.
pub(super) fn constant(x: Scalar) -> String {
    match x {
        Scalar::F64(x) if x.is_finite() => format!("{x:?}"),
        Scalar::F64(x) => format!("tw_f64({:#x}ull)", x.to_bits()),
        Scalar::F32(x) if x.is_finite() => format!("{x:?}f"),
        Scalar::F32(x) => format!("tw_f32({:#x}u)", x.to_bits()),
        Scalar::F16(x) => format!("f16{{{:#x}}}", x.to_bits()),
        Scalar::BF16(x) => format!("bf16{{{:#x}}}", x.to_bits()),
        Scalar::I64(i64::MIN) => "(-9223372036854775807ll - 1)".into(),
        Scalar::I64(n) => format!("{n}ll"),
        Scalar::I32(i32::MIN) => "(-2147483647 - 1)".into(),
        Scalar::I32(n) => n.to_string(),
        Scalar::I16(n) => format!("(i16){n}"),
        Scalar::I8(n) => format!("(i8){n}"),
        Scalar::U64(n) => format!("{n}ull"),
        Scalar::U32(n) => format!("{n}u"),
        Scalar::U16(n) => format!("(u16){n}"),
        Scalar::U8(n) => format!("(u8){n}"),
        Scalar::Bool(b) => b.to_string(),
    }
}

/// A unary operation.
pub(super) fn unary(op: UnaryOp, dtype: DType, x: &str) -> String {
    let float = dtype.is_float();
    match op {
        UnaryOp::Neg if float => format!("-{x}"),
        UnaryOp::Sign if float => format!("tw_float_sign({x})"),
        UnaryOp::IsNan => format!("{x} != {x} ? {} : {}", constant(Scalar::one(dtype)), constant(Scalar::zero(dtype))),
        UnaryOp::Not if dtype == DType::Bool => format!("!{x}"),
        UnaryOp::Not => format!("({})~{x}", dtype.name()),
        UnaryOp::Popcnt => format!("tw_popcount({x})"),
        op => format!("tw_{}({x})", op.name()),
    }
}

/// A binary operation.
pub(super) fn binary(op: BinaryOp, dtype: DType, a: &str, b: &str) -> String {
    let (float, bool) = (dtype.is_float(), dtype == DType::Bool);
    match op {
        BinaryOp::Add if float => format!("{a} + {b}"),
        BinaryOp::Sub if float => format!("{a} - {b}"),
        BinaryOp::Mul if float => format!("{a} * {b}"),
        BinaryOp::Div if float => format!("{a} / {b}"),
        BinaryOp::Rem if float => format!("tw_fmod({a}, {b})"),
        BinaryOp::Max if float => format!("tw_larger({a}, {b})"),
        BinaryOp::Min if float => format!("tw_smaller({a}, {b})"),
        BinaryOp::Pow if float => format!("tw_pow({a}, {b})"),
        BinaryOp::Max if bool => format!("{a} || {b}"),
        BinaryOp::Min if bool => format!("{a} && {b}"),
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => format!("tw_{}({a}, {b})", op.name()),
        BinaryOp::Div => format!("tw_quotient({a}, {b})"),
        BinaryOp::Rem => format!("tw_remainder({a}, {b})"),
        BinaryOp::Max => format!("tw_most_of({a}, {b})"),
        BinaryOp::Min => format!("tw_least_of({a}, {b})"),
        BinaryOp::Pow => format!("tw_power({a}, {b})"),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => {
            let sign = match op {
                BinaryOp::And => '&',
                BinaryOp::Or => '|',
                _ => '^',
            };
            format!("({})({a} {sign} {b})", dtype.name())
        }
        BinaryOp::Atan2 | BinaryOp::LogGammaSlope | BinaryOp::Shl | BinaryOp::Shr => {
            format!("tw_{}({a}, {b})", op.name())
        }
    }
}

/// A comparison.
pub(super) fn compare(op: CompareOp, a: &str, b: &str) -> String {
    let sign = match op {
        CompareOp::Eq => "==",
        CompareOp::Ne => "!=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    };
    format!("{a} {sign} {b}")
}

/// A conversion.
pub(super) fn convert(from: DType, to: DType, x: &str) -> String {
    if from == to {
        return x.into();
    }
    if from.is_half() {
        return convert(DType::F32, to, &format!("tw_widen({x})"));
    }
    match to {
        DType::F16 | DType::BF16 => format!("tw_{}({})", to.name(), convert(from, DType::F32, x)),
        DType::Bool => format!("{x} != 0"),
        DType::F64 | DType::F32 => format!("({}){x}", to.name()),
        _ if from.is_float() => format!("tw_int<{}>({x})", to.name()),
        _ => format!("({}){x}", to.name()),
    }
}

/// A number of a random stream.
pub(super) fn draw(draw: Draw, key: [&str; 2], index: &str, parameter: Option<&str>) -> String {
    let [a, b] = key;
    match (draw, parameter) {
        (Draw::Bits { stream }, _) => format!("tw_random_bits({a}, {b}, {index}, {stream}u)"),
        (draw, parameter) => format!("tw_{}({a}, {b}, {index}, {})", draw.name(), parameter.unwrap_or("0.0")),
    }
}

/// What an accumulator starts from: one value, or value and position.
pub(super) fn identity(combine: Combine, dtype: DType) -> Scalar {
    match combine {
        Combine::Sum => Scalar::zero(dtype),
        Combine::Product => Scalar::one(dtype),
        Combine::Max | Combine::ArgMax => Scalar::lowest(dtype),
        Combine::Min | Combine::ArgMin => Scalar::highest(dtype),
        Combine::Any => Scalar::Bool(false),
        Combine::All => Scalar::Bool(true),
    }
}

/// The statement by which the accumulators called `own` take in `other`.
pub(super) fn combine(combine: Combine, dtype: DType, own: &[String], other: &[String]) -> String {
    let op = match combine {
        Combine::Sum => BinaryOp::Add,
        Combine::Product => BinaryOp::Mul,
        Combine::Max => BinaryOp::Max,
        Combine::Min => BinaryOp::Min,
        Combine::Any => BinaryOp::Or,
        Combine::All => BinaryOp::And,
        Combine::ArgMax | Combine::ArgMin => {
            let name = if combine == Combine::ArgMax { "larger" } else { "smaller" };
            return format!("tw_arg_{name}({}, {}, {}, {});", own[0], own[1], other[0], other[1]);
        }
    };
    format!("{} = {};", own[0], binary(op, dtype, &own[0], &other[0]))
}
