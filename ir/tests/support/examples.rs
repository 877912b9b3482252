//! Reads the examples in the documentation of ops: `name operand, operand {attribute = value} = result`.

use ir::ops::{Attr, AttrReader, Sample};
use ir::{Axes, DType, Dim, Literal, Primitive, Scalar};

/// A call and the text of its result.
pub fn parse(example: &str) -> Result<(Sample, String), String> {
    let (call, result) = example.rsplit_once(" = ").ok_or("no result")?;
    let (name, rest) = call.split_once(' ').ok_or("no name")?;
    let (operands, attributes) = match rest.split_once('{') {
        Some((operands, attributes)) => (operands, attributes.strip_suffix('}').ok_or("no closing brace")?),
        None => (rest, ""),
    };
    let operands: Result<Vec<Literal>, String> = split(operands).iter().map(|s| literal(s)).collect();
    let mut reader = AttrReader::default();
    for attribute in split(attributes) {
        let (name, value) = attribute.split_once(" = ").ok_or_else(|| format!("`{attribute}` has no value"))?;
        reader.0.push((name.into(), attr(value)?));
    }
    let primitive = Primitive::from_text(name, &mut reader)?;
    if !reader.0.is_empty() {
        return Err(format!("unknown attributes {reader:?}"));
    }
    Ok((Sample { primitive, operands: operands? }, result.into()))
}

/// Splits at the commas outside brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|p| !p.is_empty());
    parts
}

/// The numbers of nested brackets, in order.
pub fn elements(text: &str, dtype: DType) -> Result<Vec<Scalar>, String> {
    let words = text.split(['[', ']', ',', ' ']).filter(|w| !w.is_empty());
    words.map(|w| if w == "nan" { Ok(Scalar::of(dtype, f64::NAN)) } else { Scalar::parse(w, dtype) }).collect()
}

fn literal(text: &str) -> Result<Literal, String> {
    let (values, ty) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` has no type"))?;
    let (dtype, dims) = ty.split_once('[').ok_or_else(|| format!("`{ty}` has no shape"))?;
    let dims: Vec<usize> = numbers(dims.trim_end_matches(']'))?;
    let elements = elements(values, dtype.parse()?)?;
    if elements.len() != dims.iter().product::<usize>() {
        return Err(format!("`{text}` has {} elements", elements.len()));
    }
    Ok(Literal::from_fn(&dims, dtype.parse()?, |i| elements[i]))
}

fn numbers<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, String> {
    text.split(", ").filter(|w| !w.is_empty()).map(|w| w.parse().map_err(|_| format!("`{w}`"))).collect()
}

fn attr(text: &str) -> Result<Attr, String> {
    if let Some((value, dtype)) = text.rsplit_once(':') {
        return match dtype.parse::<DType>() {
            Ok(dtype) => Ok(Attr::Scalar(Scalar::parse(value, dtype)?)),
            Err(_) => Ok(Attr::Literal(literal(text)?)),
        };
    }
    if let Some(list) = text.strip_prefix('[') {
        let list = list.trim_end_matches(']');
        return Ok(match numbers::<usize>(list) {
            Ok(axes) => Attr::Axes(Axes::from_vec(axes)),
            Err(_) => Attr::Dims(numbers::<Dim>(list)?),
        });
    }
    if let Some(quoted) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return Ok(Attr::Text(quoted.into()));
    }
    if let Ok(n) = text.parse() {
        return Ok(Attr::Int(n));
    }
    Ok(text.parse().map(Attr::DType).unwrap_or_else(|_| Attr::Word(text.into())))
}
