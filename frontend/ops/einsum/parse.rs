//! The string of an einsum, and what it means for operands of given shapes.

use crate::error::{Code, Error, Result};
use ir::{Dim, Shape};
use std::collections::BTreeMap;
use std::fmt;

/// Names axes that are one and the same: a letter, or an axis of the ellipsis, counted from its last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    Dots(usize),
    Letter(char),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Dots(_) => f.write_str("..."),
            Label::Letter(c) => write!(f, "{c}"),
        }
    }
}

/// The letters of an operand or of the output, each with its place in the string.
#[derive(Default)]
struct Term {
    letters: Vec<(char, usize)>,
    /// How many letters stand before the ellipsis.
    dots: Option<usize>,
}

/// The string, read.
pub(super) struct Equation<'a> {
    text: &'a str,
    operands: Vec<Term>,
    output: Option<Term>,
}

/// What is to be computed, for operands of given shapes.
pub(super) struct Contraction {
    /// The label of each axis of each operand.
    pub operands: Vec<Vec<Label>>,
    pub output: Vec<Label>,
    pub extents: BTreeMap<Label, Dim>,
}

fn refused(code: Code, rule: String, legal: impl Into<String>) -> Error {
    Error::new(code, "einsum", rule, legal)
}

impl<'a> Equation<'a> {
    pub fn parse(text: &'a str) -> Result<Equation<'a>> {
        let (mut operands, mut output) = (vec![Term::default()], None);
        let fail = |rule: String, legal: &str| Err(refused(Code::Argument, format!("{rule} of {text:?}"), legal));
        let characters: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < characters.len() {
            let term = match &mut output {
                Some(term) => term,
                None => operands.last_mut().expect("there is one"),
            };
            let begins = |what: &str| what.chars().eq(characters[at..].iter().copied().take(what.len()));
            match characters[at] {
                ' ' => {}
                c if c.is_ascii_alphabetic() => term.letters.push((c, at)),
                '.' if begins("...") && term.dots.is_none() => {
                    term.dots = Some(term.letters.len());
                    at += 2;
                }
                '.' if begins("...") => {
                    return fail(format!("a second ellipsis at position {at}"), "one per operand and in the output");
                }
                ',' if output.is_none() => operands.push(Term::default()),
                '-' if begins("->") && output.is_none() => {
                    output = Some(Term::default());
                    at += 1;
                }
                c => {
                    let legal = "letters for axes, `...`, `,` between operands, and once `->` before the output";
                    return fail(format!("{c:?} at position {at}"), legal);
                }
            }
            at += 1;
        }
        Ok(Equation { text, operands, output })
    }

    /// What it means for operands of those shapes.
    pub fn resolve(&self, shapes: &[Shape]) -> Result<Contraction> {
        let text = self.text;
        if shapes.len() != self.operands.len() {
            let rule = format!("{text:?} is for {} operands, there are {}", self.operands.len(), shapes.len());
            return Err(refused(Code::Argument, rule, "as many, with `,` between them"));
        }
        let mut operands = Vec::new();
        for (i, (term, shape)) in self.operands.iter().zip(shapes).enumerate() {
            let (letters, rank) = (term.letters.len(), shape.rank());
            let fits = if term.dots.is_some() { letters <= rank } else { letters == rank };
            if !fits {
                let rule = format!("{text:?} has {letters} letters for operand {i}, which has {rank} axes");
                let legal = "a letter for each axis, or `...` for those that have none";
                return Err(refused(Code::Rank, rule, legal));
            }
            operands.push(term.labels(rank - letters));
        }
        let most = operands.iter().flatten().filter(|l| matches!(l, Label::Dots(_))).max();
        let dots = most.map_or(0, |l| if let Label::Dots(n) = l { n + 1 } else { 0 });
        let output = self.output(dots)?;
        let extents = extents(text, &operands, shapes)?;
        Ok(Contraction { operands, output, extents })
    }

    fn output(&self, dots: usize) -> Result<Vec<Label>> {
        let text = self.text;
        let Some(term) = &self.output else {
            // The ellipsis, and in the order of the alphabet what occurs once.
            let all: Vec<char> = self.operands.iter().flat_map(|t| &t.letters).map(|l| l.0).collect();
            let mut once: Vec<char> =
                all.iter().copied().filter(|c| all.iter().filter(|d| *d == c).count() == 1).collect();
            once.sort_unstable();
            return Ok((0..dots).rev().map(Label::Dots).chain(once.into_iter().map(Label::Letter)).collect());
        };
        for (i, &(c, at)) in term.letters.iter().enumerate() {
            if !self.operands.iter().flat_map(|t| &t.letters).any(|l| l.0 == c) {
                let rule = format!("`{c}` at position {at} of {text:?} stands in the output and in no operand");
                return Err(refused(Code::Argument, rule, "letters of the operands"));
            }
            if term.letters[..i].iter().any(|l| l.0 == c) {
                let rule = format!("`{c}` at position {at} of {text:?} stands in the output for the second time");
                return Err(refused(Code::Argument, rule, "each letter once in the output"));
            }
        }
        Ok(term.labels(dots))
    }
}

impl Term {
    fn labels(&self, dots: usize) -> Vec<Label> {
        let letters = self.letters.iter().map(|l| Label::Letter(l.0));
        let Some(before) = self.dots else { return letters.collect() };
        let dots = (0..dots).rev().map(Label::Dots);
        letters.clone().take(before).chain(dots).chain(letters.skip(before)).collect()
    }
}

/// The extent that each label stands for: that of all its axes, but for those of extent 1 of other operands.
fn extents(text: &str, operands: &[Vec<Label>], shapes: &[Shape]) -> Result<BTreeMap<Label, Dim>> {
    let mut extents: BTreeMap<Label, (Dim, usize, usize)> = BTreeMap::new();
    for (i, (labels, shape)) in operands.iter().zip(shapes).enumerate() {
        for (axis, (&label, extent)) in labels.iter().zip(shape.iter()).enumerate() {
            if let Some(first) = labels[..axis].iter().position(|&l| l == label)
                && shape[first] != *extent
            {
                let rule = format!(
                    "`{label}` of {text:?} stands for axes {first} and {axis} of operand {i}, of extents {} and {extent}",
                    shape[first]
                );
                return Err(refused(Code::Shape, rule, "both are equal"));
            }
            match extents.get(&label) {
                Some((known, ..)) if known == extent || extent.is(1) => {}
                Some((known, other, at)) if !known.is(1) => {
                    let rule = format!(
                        "`{label}` of {text:?} has extent {known} in operand {other} (axis {at}) and {extent} in \
                         operand {i} (axis {axis})"
                    );
                    return Err(refused(Code::Shape, rule, "both are equal, or one is 1"));
                }
                _ => {
                    extents.insert(label, (extent.clone(), i, axis));
                }
            }
        }
    }
    Ok(extents.into_iter().map(|(label, (extent, ..))| (label, extent)).collect())
}
