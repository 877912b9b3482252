//! Printing as NumPy prints.

use crate::tensor::{Held, Tensor};
use ir::{Literal, Scalar};
use std::fmt;

/// Tensors with more elements are abbreviated,
const THRESHOLD: usize = 1000;
/// to this many entries at each end of each axis.
const EDGE: usize = 3;
/// Digits after the point, at most.
const PRECISION: usize = 8;
/// Columns of a line.
const WIDTH: usize = 75;

/// Prints the elements as NumPy does; a traced value prints its type, an error value its error.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.held() {
            Held::Array(a) => f.write_str(&text(&literal(a)?, 0)),
            Held::Traced(t) => write!(f, "traced {}", t.ty),
            Held::Error(e) => fmt::Display::fmt(&e, f),
        }
    }
}

/// As [`Display`](fmt::Display), with the dtype.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.held() {
            Held::Array(a) => {
                let literal = literal(a)?;
                let body = text(&literal, "tensor(".len());
                if literal.numel() == 0 {
                    return write!(f, "tensor([], {})", literal.ty());
                }
                write!(f, "tensor({body}, {})", literal.dtype())
            }
            _ => fmt::Display::fmt(self, f),
        }
    }
}

fn literal(a: &runtime::Array) -> Result<Literal, fmt::Error> {
    a.to_literal().map_err(|_| fmt::Error)
}

fn text(literal: &Literal, indent: usize) -> String {
    if literal.numel() == 0 {
        return "[]".into();
    }
    let abbreviate = literal.numel() > THRESHOLD;
    let mut shown = Vec::new();
    collect(literal, abbreviate, 0, 0, &mut shown);
    let rank = literal.rank();
    let mut cells = cells(&shown, rank > 0).into_iter();
    let mut out = String::new();
    write_axis(literal.dims(), abbreviate, 0, indent, &mut cells, &mut out);
    out
}

/// Entries of an axis that are shown; `None` stands for the dots.
fn entries(extent: usize, abbreviate: bool) -> impl Iterator<Item = Option<usize>> {
    let cut = abbreviate && extent > 2 * EDGE;
    (0..extent).filter_map(move |i| match i {
        _ if !cut || i < EDGE || i >= extent - EDGE => Some(Some(i)),
        _ if i == EDGE => Some(None),
        _ => None,
    })
}

fn collect(literal: &Literal, abbreviate: bool, axis: usize, at: usize, out: &mut Vec<Scalar>) {
    match literal.dims().get(axis) {
        None => out.push(literal.get(at)),
        Some(&extent) => {
            for i in entries(extent, abbreviate).flatten() {
                collect(literal, abbreviate, axis + 1, at * extent + i, out);
            }
        }
    }
}

fn write_axis(
    dims: &[usize],
    abbreviate: bool,
    depth: usize,
    indent: usize,
    cells: &mut impl Iterator<Item = String>,
    out: &mut String,
) {
    let Some((&extent, inner)) = dims.split_first() else {
        out.push_str(&cells.next().unwrap_or_default());
        return;
    };
    out.push('[');
    let margin = " ".repeat(indent + depth + 1);
    let mut column = indent + depth + 1;
    for (n, entry) in entries(extent, abbreviate).enumerate() {
        if inner.is_empty() {
            let cell = entry.map_or("...".into(), |_| cells.next().unwrap_or_default());
            let width = cell.chars().count();
            if n > 0 {
                if column + 1 + width + depth + 1 > WIDTH {
                    out.push('\n');
                    out.push_str(&margin);
                    column = margin.len();
                } else {
                    out.push(' ');
                    column += 1;
                }
            }
            out.push_str(&cell);
            column += width;
        } else {
            if n > 0 {
                out.push_str(&"\n".repeat(inner.len()));
                out.push_str(&margin);
            }
            match entry {
                Some(_) => write_axis(inner, abbreviate, depth + 1, indent, cells, out),
                None => out.push_str("..."),
            }
        }
    }
    out.push(']');
}

/// The texts of all shown elements, brought to one width if they stand in a list.
fn cells(shown: &[Scalar], list: bool) -> Vec<String> {
    let float = shown.iter().all(|s| s.dtype().is_float());
    let texts: Vec<String> = match (float, list) {
        (true, true) => floats(shown),
        (true, false) => shown.iter().map(|s| scalar(*s)).collect(),
        _ => shown.iter().map(|s| if let Scalar::Bool(b) = s { title(*b) } else { s.to_string() }).collect(),
    };
    if !list {
        return texts;
    }
    let width = texts.iter().map(String::len).max().unwrap_or(0);
    texts.into_iter().map(|t| format!("{t:>width$}")).collect()
}

fn title(b: bool) -> String {
    if b { "True".into() } else { "False".into() }
}

/// The shortest digits that read back as the same value: `(digits without point, exponent of the first)`.
fn digits(s: Scalar) -> (String, i32) {
    let sci = match s {
        Scalar::F64(x) => format!("{:e}", x.abs()),
        other => format!("{:e}", other.as_f64().abs() as f32),
    };
    let (mantissa, exponent) = sci.split_once('e').unwrap_or((&sci, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// One value on its own.
fn scalar(s: Scalar) -> String {
    let x = s.as_f64();
    if !x.is_finite() {
        return special(x);
    }
    let sign = if x.is_sign_negative() { "-" } else { "" };
    let (d, e) = digits(s);
    if x != 0.0 && !(-4..16).contains(&e) {
        let rest = if d.len() > 1 { format!(".{}", &d[1..]) } else { String::new() };
        return format!("{sign}{}{rest}e{}{:02}", &d[..1], if e < 0 { '-' } else { '+' }, e.abs());
    }
    let places = (d.len() as i32 - 1 - e).max(1) as usize;
    format!("{sign}{}", fixed(s, places))
}

fn special(x: f64) -> String {
    match () {
        _ if x.is_nan() => "nan".into(),
        _ if x < 0.0 => "-inf".into(),
        _ => "inf".into(),
    }
}

/// The magnitude with that many places, its unique digits padded with zeros.
fn fixed(s: Scalar, places: usize) -> String {
    let (d, e) = digits(s);
    // Where unique digits end before the wanted place, the rest are zeros, not the digits of the binary value.
    if d.len() as i32 - 1 - e <= places as i32 {
        let mut text = String::new();
        if e < 0 {
            text.push_str("0.");
            text.push_str(&"0".repeat((-e - 1) as usize));
            text.push_str(&d);
        } else {
            for i in 0..=(e as usize).max(d.len() - 1) {
                if i == e as usize + 1 {
                    text.push('.');
                }
                text.push_str(d.get(i..i + 1).unwrap_or("0"));
            }
        }
        if !text.contains('.') {
            text.push('.');
        }
        let have = text.len() - 1 - text.find('.').unwrap_or(0);
        text.push_str(&"0".repeat(places.saturating_sub(have)));
        return text;
    }
    match s {
        Scalar::F64(x) => format!("{:.places$}", x.abs()),
        other => format!("{:.places$}", other.as_f64().abs()),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').to_string()
}

/// Floats of one list: fixed point, or scientific where magnitudes ask for it, with as many digits as the value that
/// needs most, cut at the precision.
fn floats(shown: &[Scalar]) -> Vec<String> {
    let finite: Vec<Scalar> = shown.iter().copied().filter(|s| s.as_f64().is_finite()).collect();
    let magnitudes = finite.iter().map(|s| s.as_f64().abs()).filter(|&x| x != 0.0);
    let (low, high) = magnitudes.fold((f64::INFINITY, 0.0f64), |(l, h), x| (l.min(x), h.max(x)));
    let scientific = high > 0.0 && (high >= 1e8 || low < 1e-4 || ratio(low, high));
    let sign = |s: &Scalar| if s.as_f64().is_sign_negative() { "-" } else { "" };
    if scientific {
        let places = finite.iter().map(|s| digits(*s).0.len() - 1).max().unwrap_or(0).min(PRECISION);
        let one = |s: &Scalar| {
            let text = match s {
                Scalar::F64(x) => format!("{:.places$e}", x.abs()),
                other => format!("{:.places$e}", other.as_f64().abs()),
            };
            let (m, e) = text.split_once('e').unwrap_or((&text, "0"));
            let e: i32 = e.parse().unwrap_or(0);
            let point = if places == 0 { "." } else { "" };
            format!("{}{m}{point}e{}{:02}", sign(s), if e < 0 { '-' } else { '+' }, e.abs())
        };
        return shown.iter().map(|s| if s.as_f64().is_finite() { one(s) } else { special(s.as_f64()) }).collect();
    }
    // As many places as the value that needs most.
    let needed = |s: &Scalar| {
        let (d, e) = digits(*s);
        let places = (d.len() as i32 - 1 - e).clamp(0, PRECISION as i32) as usize;
        let text = trimmed(fixed(*s, places.max(1)));
        text.len() - 1 - text.find('.').unwrap_or(text.len() - 1)
    };
    let places = finite.iter().map(needed).max().unwrap_or(0);
    let one = |s: &Scalar| {
        let text = trimmed(fixed(*s, places.max(1)));
        let have = text.len() - 1 - text.find('.').unwrap_or(text.len() - 1);
        format!("{}{text}{}", sign(s), " ".repeat(places.saturating_sub(have)))
    };
    shown.iter().map(|s| if s.as_f64().is_finite() { one(s) } else { special(s.as_f64()) }).collect()
}

/// NumPy goes scientific where the largest magnitude is over a thousand times the smallest.
fn ratio(low: f64, high: f64) -> bool {
    high / low > 1000.0
}
