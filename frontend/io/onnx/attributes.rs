//! Nodes beside what their ops take: numbers of operands and results, and attributes with their types. What does not fit is
//! refused when a file is read.

use super::ops::{Arity, AttributeType, Declared, Op, Presence, Signature};
use super::proto;
use super::value::refuse;
use crate::error::{Code, Error, Result};
use std::collections::HashSet;

/// True for marks that tools leave behind, which no op reads: ONNX lets every node have them.
pub(super) fn is_mark(name: &str) -> bool {
    name.starts_with("__")
}

/// A node of a file, for messages.
struct Site<'a> {
    name: &'a str,
    /// The op with its opset, or the function.
    op: String,
}

impl Site<'_> {
    fn refuse(&self, rule: impl std::fmt::Display, legal: impl Into<String>) -> Error {
        refuse(Code::File, format!("the node `{}` ({}): {rule}", self.name, self.op), legal)
    }

    /// An error if there are too few or too many names, or if one is left out of those that are needed.
    fn check_count(&self, names: &[String], arity: &Arity, needed: usize, what: &str) -> Result<()> {
        let n = names.len();
        if n < arity.least || arity.most.is_some_and(|most| n > most) {
            return Err(self.refuse(format!("there {}", counted(n, what)), arity.to_string()));
        }
        match (arity.open..needed).find(|&i| names[i].is_empty()) {
            Some(i) => Err(self.refuse(format!("{what} {i} is left out"), format!("a name for {what} {i}"))),
            None => Ok(()),
        }
    }

    /// An error if references or attributes that are given twice are among them.
    fn check_names(&self, attributes: &[proto::Attribute]) -> Result<()> {
        let mut seen = HashSet::new();
        for a in attributes {
            if !seen.insert(a.name.as_str()) {
                return Err(self.refuse(format!("the attribute `{}` is given twice", a.name), "each attribute once"));
            }
            // Those of functions have been replaced.
            if !a.ref_attr_name.is_empty() {
                let rule = format!("the attribute `{}` refers to `{}` of a function", a.name, a.ref_attr_name);
                return Err(self.refuse(rule, "values; references are for attributes of the function around them"));
            }
        }
        Ok(())
    }

    /// An error if an attribute has no value of a type.
    fn check_type(&self, a: &proto::Attribute, legal: AttributeType) -> Result<()> {
        let wrong = |rule: String| self.refuse(format!("the attribute `{}` {rule}", a.name), a_or_an(legal));
        let filled = filled(a);
        if let [first, second, ..] = filled[..] {
            return Err(wrong(format!("has values of several types, {} and {}", a_or_an(first), a_or_an(second))));
        }
        let said = match a.r#type {
            // Old files leave out the type.
            0 => None,
            n => Some(AttributeType::of(n).ok_or_else(|| wrong(format!("is of a type with number {n}")))?),
        };
        match (said, filled.first().copied()) {
            (Some(said), Some(found)) if said != found => {
                Err(wrong(format!("is {} by its type and {} by its value", a_or_an(said), a_or_an(found))))
            }
            (Some(found), _) | (None, Some(found)) if found != legal => Err(wrong(format!("is {}", a_or_an(found)))),
            (_, Some(_)) => Ok(()),
            // A number that is 0, a string or list that is empty: some writers leave them out.
            (said, None) if legal.is_list() || said.is_some() && legal.has_default() => Ok(()),
            _ => Err(wrong("has no value".into())),
        }
    }
}

/// An error if operands, results or attributes of a node are not such as its op has in an opset.
pub(super) fn check(proto: &proto::Node, name: &str, opset: i64, op: &Op, signature: &Signature) -> Result<()> {
    let site = Site { name, op: format!("{}-{opset}", op.name) };
    let Signature { operands, results, .. } = signature;
    site.check_count(&proto.input, operands, operands.least, "operand")?;
    // Of results in any number, each may be one that nobody needs.
    site.check_count(&proto.output, results, if results.most.is_some() { results.least } else { 0 }, "result")?;
    site.check_names(&proto.attribute)?;
    for a in proto.attribute.iter().filter(|a| !is_mark(&a.name)) {
        let Some(declared) = signature.attribute(&a.name) else {
            let elsewhere = opsets_with(op, &a.name).map(|opsets| format!(", which {opsets} have"));
            let rule = format!("there is no attribute `{}`{}", a.name, elsewhere.unwrap_or_default());
            return Err(site.refuse(rule, all_of(signature.attributes.iter().map(|d| d.name))));
        };
        site.check_type(a, declared.r#type)?;
    }
    let with = |presence: Presence| signature.attributes.iter().filter(move |d| d.presence == presence);
    let given = |d: &&Declared| proto.attribute.iter().any(|a| a.name == d.name);
    if let Some(d) = with(Presence::Required).find(|d| !given(d)) {
        return Err(site.refuse(format!("the attribute `{}` is missing", d.name), a_or_an(d.r#type)));
    }
    let either = || with(Presence::OneOf);
    if either().next().is_some() && either().filter(given).count() != 1 {
        let rule = match either().filter(given).count() {
            0 => "no value is given".into(),
            _ => format!("values are given by {}", all_of(either().filter(given).map(|d| d.name))),
        };
        return Err(site.refuse(rule, format!("one of {}", all_of(either().map(|d| d.name)))));
    }
    Ok(())
}

/// An error if a node calls a function with operands, results or attributes that it does not have.
pub(super) fn check_call(proto: &proto::Node, name: &str, function: &proto::Function) -> Result<()> {
    let site = Site { name, op: function.name.clone() };
    let (operands, results) = (function.input.len(), function.output.len());
    for (n, most, what) in [(proto.input.len(), operands, "operand"), (proto.output.len(), results, "result")] {
        if n > most {
            return Err(
                site.refuse(format!("there {}", counted(n, what)), format!("up to {most}, as the function has"))
            );
        }
    }
    site.check_names(&proto.attribute)?;
    let declared = function.attribute.iter().chain(function.attribute_proto.iter().map(|a| &a.name));
    let declared: Vec<&str> = declared.map(String::as_str).collect();
    let known = |name: &str| is_mark(name) || declared.contains(&name);
    match proto.attribute.iter().find(|a| !known(&a.name)) {
        None => Ok(()),
        Some(a) => Err(site.refuse(format!("there is no attribute `{}`", a.name), all_of(declared.into_iter()))),
    }
}

/// The types of the fields that have a value.
fn filled(a: &proto::Attribute) -> Vec<AttributeType> {
    let all = [
        (AttributeType::Float, a.f.is_some()),
        (AttributeType::Int, a.i.is_some()),
        (AttributeType::String, a.s.is_some()),
        (AttributeType::Tensor, a.t.is_some()),
        (AttributeType::Graph, a.g.is_some()),
        (AttributeType::Floats, !a.floats.is_empty()),
        (AttributeType::Ints, !a.ints.is_empty()),
        (AttributeType::Strings, !a.strings.is_empty()),
        (AttributeType::Tensors, !a.tensors.is_empty()),
        (AttributeType::Graphs, !a.graphs.is_empty()),
        (AttributeType::SparseTensor, a.sparse_tensor.is_some()),
        (AttributeType::Type, a.tp.is_some()),
    ];
    all.into_iter().filter_map(|(r#type, filled)| filled.then_some(r#type)).collect()
}

/// The opsets in which an op has an attribute, if it has it in any.
fn opsets_with(op: &Op, attribute: &str) -> Option<String> {
    let runs = op.signatures().chunk_by(|a, b| a.attribute(attribute).is_some() == b.attribute(attribute).is_some());
    let mut starts = runs.map(|run| (run[0].since, run[0].attribute(attribute).is_some())).peekable();
    let mut spans = Vec::new();
    while let Some((since, there)) = starts.next() {
        match starts.peek() {
            _ if !there => {}
            Some((next, _)) => spans.push(format!("{since} to {}", next - 1)),
            None => spans.push(format!("{since} and newer")),
        }
    }
    (!spans.is_empty()).then(|| format!("opsets {}", spans.join(", ")))
}

/// Names of attributes.
fn all_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if all.is_empty() { "no attributes".into() } else { all.join(", ") }
}

fn counted(n: usize, what: &str) -> String {
    match n {
        0 => format!("are no {what}s"),
        1 => format!("is 1 {what}"),
        _ => format!("are {n} {what}s"),
    }
}

fn a_or_an(r#type: AttributeType) -> String {
    format!("{} {type}", if r#type == AttributeType::Int { "an" } else { "a" })
}
