//! Dimensions: numbers, symbols and polynomials over symbols.

use crate::types::MAX_TERMS;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// The name of a symbolic dimension, such as `B`. Text forms can hold it if [`Symbol::is_valid`] says so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// A symbol of that name.
    pub fn new(name: &str) -> Self {
        Symbol(name.into())
    }
    /// True for ASCII letters, digits and underscores that do not begin with a digit and are not `floordiv` or `mod`.
    pub fn is_valid(name: &str) -> bool {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.chars().all(word)
            && name.starts_with(|c: char| word(c) && !c.is_ascii_digit())
            && !matches!(name, "floordiv" | "mod")
    }
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a monomial multiplies: a symbol, or a quotient or remainder that does not divide out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A symbol.
    Symbol(Symbol),
    /// `floor(a / b)`.
    FloorDiv(Arc<(Dim, Dim)>),
    /// `a - b * floor(a / b)`.
    Mod(Arc<(Dim, Dim)>),
}

/// `coefficient * product of atoms`; the atoms are sorted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// The product.
    pub atoms: SmallVec<[Atom; 1]>,
    /// The factor, never 0.
    pub coefficient: i64,
}

/// The extent of one axis: a number, or a polynomial over symbols in normal form, so that equal polynomials are equal
/// values. A `Dim` may be negative in the middle of a computation; an axis is never negative. Arithmetic saturates, so
/// that shapes too large for memory stay large.
///
/// ```
/// use ir::Dim;
/// let b = Dim::symbol("B");
/// assert_eq!((&b + 1) * 2, &b * 2 + 2);
/// assert_eq!((&b * 2 + 2).to_string(), "2*B+2");
/// assert_eq!("2*B+2".parse::<Dim>().unwrap(), b * 2 + 2);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Known(i64),
    /// Sorted by atoms, at least one term with atoms.
    Sum(Arc<[Term]>),
}

/// The serialised form. Expressions travel as text, so that what a file holds is in normal form and of limited depth.
#[derive(Serialize, Deserialize)]
enum Form {
    Known(i64),
    Text(String),
}
impl From<Dim> for Form {
    fn from(d: Dim) -> Form {
        d.known().map_or_else(|| Form::Text(d.to_string()), Form::Known)
    }
}
impl TryFrom<Form> for Dim {
    type Error = String;
    fn try_from(form: Form) -> Result<Dim, String> {
        match form {
            Form::Known(n) => Ok(Dim::from(n)),
            Form::Text(text) => text.parse(),
        }
    }
}

impl Dim {
    /// The symbol of that name as a dimension.
    pub fn symbol(name: &str) -> Dim {
        Dim::from(Atom::Symbol(Symbol::new(name)))
    }

    /// The number, if it is one.
    pub fn known(&self) -> Option<i64> {
        match self.0 {
            Repr::Known(n) => Some(n),
            Repr::Sum(_) => None,
        }
    }

    /// The number as an extent, if it is a number that is not negative.
    pub fn as_usize(&self) -> Option<usize> {
        self.known().and_then(|n| usize::try_from(n).ok())
    }

    /// True for the number `n`.
    pub fn is(&self, n: i64) -> bool {
        self.known() == Some(n)
    }

    /// True if it is a number.
    pub fn is_static(&self) -> bool {
        self.known().is_some()
    }

    /// The terms of the polynomial, constants included.
    pub fn terms(&self) -> SmallVec<[Term; 2]> {
        match &self.0 {
            Repr::Known(0) => SmallVec::new(),
            Repr::Known(n) => SmallVec::from_iter([Term { atoms: SmallVec::new(), coefficient: *n }]),
            Repr::Sum(terms) => terms.iter().cloned().collect(),
        }
    }

    fn from_terms(mut terms: SmallVec<[Term; 2]>) -> Dim {
        terms.sort();
        let mut merged: SmallVec<[Term; 2]> = SmallVec::new();
        for t in terms {
            match merged.last_mut() {
                Some(last) if last.atoms == t.atoms => {
                    last.coefficient = last.coefficient.saturating_add(t.coefficient)
                }
                _ => merged.push(t),
            }
        }
        merged.retain(|t| t.coefficient != 0);
        match merged.as_slice() {
            [] => Dim(Repr::Known(0)),
            [t] if t.atoms.is_empty() => Dim(Repr::Known(t.coefficient)),
            _ => Dim(Repr::Sum(merged.into_vec().into())),
        }
    }

    /// Every symbol that occurs, sorted, without repetition.
    pub fn symbols(&self) -> Vec<Symbol> {
        fn collect(d: &Dim, out: &mut Vec<Symbol>) {
            if let Repr::Sum(terms) = &d.0 {
                for atom in terms.iter().flat_map(|t| &t.atoms) {
                    match atom {
                        Atom::Symbol(s) => out.push(s.clone()),
                        Atom::FloorDiv(ab) | Atom::Mod(ab) => {
                            collect(&ab.0, out);
                            collect(&ab.1, out);
                        }
                    }
                }
            }
        }
        let mut out = Vec::new();
        collect(self, &mut out);
        out.sort();
        out.dedup();
        out
    }

    /// The value under an assignment of the symbols; `None` when a symbol is missing, on overflow, or on division by 0.
    pub fn eval(&self, value_of: &dyn Fn(&Symbol) -> Option<i64>) -> Option<i64> {
        match &self.0 {
            Repr::Known(n) => Some(*n),
            Repr::Sum(terms) => terms.iter().try_fold(0i64, |sum, t| {
                let product = t.atoms.iter().try_fold(t.coefficient, |p, a| {
                    let v = match a {
                        Atom::Symbol(s) => value_of(s)?,
                        Atom::FloorDiv(ab) => floor_div(ab.0.eval(value_of)?, ab.1.eval(value_of)?)?,
                        Atom::Mod(ab) => floor_mod(ab.0.eval(value_of)?, ab.1.eval(value_of)?)?,
                    };
                    p.checked_mul(v)
                })?;
                sum.checked_add(product)
            }),
        }
    }

    /// Replaces symbols by dimensions; a symbol that `f` answers `None` for stays.
    pub fn substitute(&self, f: &dyn Fn(&Symbol) -> Option<Dim>) -> Dim {
        match &self.0 {
            Repr::Known(_) => self.clone(),
            Repr::Sum(terms) => terms.iter().fold(Dim::from(0), |sum, t| {
                let product = t.atoms.iter().fold(Dim::from(t.coefficient), |p, a| {
                    p * match a {
                        Atom::Symbol(s) => f(s).unwrap_or_else(|| Dim::from(a.clone())),
                        Atom::FloorDiv(ab) => ab.0.substitute(f).floor_div(&ab.1.substitute(f)),
                        Atom::Mod(ab) => ab.0.substitute(f).modulo(&ab.1.substitute(f)),
                    }
                });
                sum + product
            }),
        }
    }

    /// `self / by` where that is a polynomial, that is, where the division has no remainder for any symbol.
    pub fn exact_div(&self, by: &Dim) -> Option<Dim> {
        if let (Some(a), Some(b)) = (self.known(), by.known()) {
            return (a.checked_rem(b) == Some(0)).then(|| Dim::from(a / b));
        }
        if self == by {
            return Some(Dim::from(1));
        }
        // A divisor of one term divides each term; longer divisors are tried by matching leading terms.
        let divisor = by.terms();
        let mut rest = self.clone();
        let mut quotient = Dim::from(0);
        let lead = divisor.iter().max_by_key(|t| t.atoms.len())?;
        for _ in 0..64 {
            let terms = rest.terms();
            let Some(top) = terms.iter().max_by_key(|t| t.atoms.len()) else {
                return Some(quotient);
            };
            if top.coefficient.checked_rem(lead.coefficient) != Some(0) {
                return None;
            }
            let mut atoms = top.atoms.clone();
            for a in &lead.atoms {
                let at = atoms.iter().position(|x| x == a)?;
                atoms.remove(at);
            }
            let q =
                Dim::from_terms(SmallVec::from_iter([Term { atoms, coefficient: top.coefficient / lead.coefficient }]));
            rest = rest - &q * by;
            quotient = quotient + q;
        }
        None
    }

    /// `self = quotient * by + rest`, with every term that `by` divides in the quotient.
    pub fn split_multiples(&self, by: &Dim) -> (Dim, Dim) {
        let (mut quotient, mut rest) = (Dim::from(0), Dim::from(0));
        for term in self.terms() {
            let term = Dim::from_terms(SmallVec::from_iter([term]));
            match term.exact_div(by) {
                Some(q) => quotient = quotient + q,
                None => rest = rest + term,
            }
        }
        (quotient, rest)
    }

    /// `floor(self / by)`.
    pub fn floor_div(&self, by: &Dim) -> Dim {
        if let Some(q) = self.exact_div(by) {
            return q;
        }
        if let (Some(a), Some(b)) = (self.known(), by.known())
            && let Some(q) = floor_div(a, b)
        {
            return Dim::from(q);
        }
        let (quotient, rest) = self.split_multiples(by);
        if !quotient.is(0) {
            return quotient + rest.floor_div(by);
        }
        Dim::from(Atom::FloorDiv(Arc::new((rest, by.clone()))))
    }

    /// `ceil(self / by)`.
    pub fn ceil_div(&self, by: &Dim) -> Dim {
        match self.known() {
            // No sum that may saturate.
            Some(_) => (self - 1).floor_div(by) + 1,
            None => (self + by - 1).floor_div(by),
        }
    }

    /// `self - by * floor(self / by)`.
    pub fn modulo(&self, by: &Dim) -> Dim {
        if self.exact_div(by).is_some() {
            return Dim::from(0);
        }
        if let (Some(a), Some(b)) = (self.known(), by.known())
            && let Some(r) = floor_mod(a, b)
        {
            return Dim::from(r);
        }
        let (quotient, rest) = self.split_multiples(by);
        if !quotient.is(0) {
            return rest.modulo(by);
        }
        Dim::from(Atom::Mod(Arc::new((rest, by.clone()))))
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
}

fn floor_mod(a: i64, b: i64) -> Option<i64> {
    // The remainder is in range even where the product is not.
    floor_div(a, b).map(|q| a.wrapping_sub(b.wrapping_mul(q)))
}

impl From<Atom> for Dim {
    fn from(a: Atom) -> Dim {
        Dim(Repr::Sum(Arc::new([Term { atoms: SmallVec::from_iter([a]), coefficient: 1 }])))
    }
}
impl From<i64> for Dim {
    fn from(n: i64) -> Dim {
        Dim(Repr::Known(n))
    }
}
impl From<i32> for Dim {
    fn from(n: i32) -> Dim {
        Dim(Repr::Known(n as i64))
    }
}
impl From<usize> for Dim {
    fn from(n: usize) -> Dim {
        Dim(Repr::Known(i64::try_from(n).unwrap_or(i64::MAX)))
    }
}
impl From<&Dim> for Dim {
    fn from(d: &Dim) -> Dim {
        d.clone()
    }
}
impl PartialEq<usize> for Dim {
    fn eq(&self, n: &usize) -> bool {
        self.as_usize() == Some(*n)
    }
}

fn add(a: &Dim, b: &Dim) -> Dim {
    match (a.known(), b.known()) {
        (Some(a), Some(b)) => Dim::from(a.saturating_add(b)),
        (Some(0), _) => b.clone(),
        (_, Some(0)) => a.clone(),
        _ => {
            let mut terms = a.terms();
            terms.extend(b.terms());
            Dim::from_terms(terms)
        }
    }
}

fn mul(a: &Dim, b: &Dim) -> Dim {
    match (a.known(), b.known()) {
        (Some(a), Some(b)) => Dim::from(a.saturating_mul(b)),
        (Some(1), _) => b.clone(),
        (_, Some(1)) => a.clone(),
        _ => {
            let mut terms = SmallVec::new();
            for s in a.terms() {
                for t in b.terms() {
                    let mut atoms = s.atoms.clone();
                    atoms.extend(t.atoms.iter().cloned());
                    atoms.sort();
                    let coefficient = s.coefficient.saturating_mul(t.coefficient);
                    terms.push(Term { atoms, coefficient });
                }
            }
            Dim::from_terms(terms)
        }
    }
}

fn sub(a: &Dim, b: &Dim) -> Dim {
    add(a, &mul(b, &Dim::from(-1)))
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident $f:ident),*) => { $(
        impl<T: Into<Dim>> std::ops::$trait<T> for Dim {
            type Output = Dim;
            fn $method(self, rhs: T) -> Dim { $f(&self, &rhs.into()) }
        }
        impl<T: Into<Dim>> std::ops::$trait<T> for &Dim {
            type Output = Dim;
            fn $method(self, rhs: T) -> Dim { $f(self, &rhs.into()) }
        }
    )* };
}
arithmetic!(Add add add, Sub sub sub, Mul mul mul);

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = match &self.0 {
            Repr::Known(n) => return write!(f, "{n}"),
            Repr::Sum(terms) => terms,
        };
        // Sorted storage puts the constant first; people read it last.
        let (constant, symbolic): (Vec<_>, Vec<_>) = terms.iter().partition(|t| t.atoms.is_empty());
        for (i, t) in symbolic.into_iter().chain(constant).enumerate() {
            if t.coefficient < 0 {
                f.write_str("-")?;
            } else if i > 0 {
                f.write_str("+")?;
            }
            let magnitude = t.coefficient.unsigned_abs();
            if t.atoms.is_empty() {
                write!(f, "{magnitude}")?;
            } else if magnitude != 1 {
                write!(f, "{magnitude}*")?;
            }
            for (j, a) in t.atoms.iter().enumerate() {
                if j > 0 {
                    f.write_str("*")?;
                }
                match a {
                    Atom::Symbol(s) => write!(f, "{s}")?,
                    Atom::FloorDiv(ab) => write!(f, "floordiv({}, {})", ab.0, ab.1)?,
                    Atom::Mod(ab) => write!(f, "mod({}, {})", ab.0, ab.1)?,
                }
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads what `Display` prints; nesting is limited to 64.
impl std::str::FromStr for Dim {
    type Err = String;
    fn from_str(text: &str) -> Result<Dim, String> {
        let mut p = DimParser { text, at: 0 };
        let d = p.sum(0)?;
        p.skip_space();
        if p.at < text.len() {
            return Err(format!("unexpected `{}` in dimension `{text}`", &text[p.at..]));
        }
        Ok(d)
    }
}

struct DimParser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> DimParser<'a> {
    fn skip_space(&mut self) {
        while self.text[self.at..].starts_with(' ') {
            self.at += 1;
        }
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn sum(&mut self, depth: u32) -> Result<Dim, String> {
        if depth > 64 {
            return Err("dimension nests too deep".into());
        }
        let mut terms: SmallVec<[Term; 2]> = SmallVec::new();
        let mut negative = self.eat('-');
        loop {
            terms.extend(self.product(negative, depth)?.terms());
            if terms.len() > MAX_TERMS {
                return Err(format!("a dimension has more than {MAX_TERMS} terms"));
            }
            negative = if self.eat('+') {
                false
            } else if self.eat('-') {
                true
            } else {
                return Ok(Dim::from_terms(terms));
            };
        }
    }

    fn product(&mut self, negative: bool, depth: u32) -> Result<Dim, String> {
        let mut d = self.factor(negative, depth)?;
        let mut factors = 1;
        while self.eat('*') {
            let f = self.factor(false, depth)?;
            factors += 1;
            if factors > MAX_TERMS || d.terms().len().saturating_mul(f.terms().len()) > MAX_TERMS {
                return Err(format!("a dimension has more than {MAX_TERMS} factors or terms"));
            }
            d = d * f;
        }
        Ok(d)
    }

    fn factor(&mut self, negative: bool, depth: u32) -> Result<Dim, String> {
        let text = self.text;
        let bad = |what: &str| Err(format!("expected a number or symbol, found `{what}` in dimension `{text}`"));
        let word = self.word();
        let factor = match word {
            "" => return bad(&text[self.at..]),
            "floordiv" | "mod" => {
                if !self.eat('(') {
                    return bad(word);
                }
                let a = self.sum(depth + 1)?;
                let comma = self.eat(',');
                let b = self.sum(depth + 1)?;
                if !comma || !self.eat(')') {
                    return bad(word);
                }
                if word == "mod" { a.modulo(&b) } else { a.floor_div(&b) }
            }
            w if w.starts_with(|c: char| c.is_ascii_digit()) => {
                // The sign goes with the number, because that of the lowest i64 has no positive partner.
                let Ok(n) = format!("{}{w}", if negative { "-" } else { "" }).parse::<i64>() else { return bad(w) };
                return Ok(Dim::from(n));
            }
            w => Dim::symbol(w),
        };
        Ok(if negative { Dim::from(0) - factor } else { factor })
    }
}
