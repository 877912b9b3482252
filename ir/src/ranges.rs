//! Index expressions: polynomials ([`Dim`]) over iteration variables, with the bounds that simplify them.

use crate::{Dim, Shape, Symbol};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Bounds of the variables in index expressions. A variable goes from 0 to its extent, exclusive; every other symbol
/// is an extent, at least `min`.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    extents: HashMap<Symbol, Dim>,
    minima: HashMap<Symbol, i64>,
}

impl Ranges {
    /// No variables.
    pub fn new() -> Ranges {
        Ranges::default()
    }
    /// Declares an iteration variable in `0..extent`.
    pub fn declare(&mut self, variable: Symbol, extent: Dim) {
        self.extents.insert(variable, extent);
    }
    /// Declares the least value of a symbolic extent (0 if undeclared).
    pub fn declare_minimum(&mut self, symbol: Symbol, min: i64) {
        self.minima.insert(symbol, min);
    }
    /// The extent of a variable.
    pub fn extent(&self, variable: &Symbol) -> Option<&Dim> {
        self.extents.get(variable)
    }

    /// True if the expression is provably at least 0 over all values of its variables.
    pub fn is_non_negative(&self, d: &Dim) -> bool {
        if let Some(n) = d.known() {
            return n >= 0;
        }
        // A lower bound of each term, in terms of extents: variables that count negatively are set to their last value.
        let lower = d.substitute(&|s| {
            let extent = self.extents.get(s)?;
            let negative = d.terms().iter().any(|t| {
                t.coefficient < 0 && t.atoms.iter().any(|a| matches!(a, crate::dim::Atom::Symbol(x) if x == s))
            });
            Some(if negative { extent - 1 } else { Dim::from(0) })
        });
        let at_minimum = lower.substitute(&|s| Some(Dim::symbol(s.name()) + self.minima.get(s).copied().unwrap_or(0)));
        at_minimum.terms().iter().all(|t| {
            t.coefficient >= 0
                && t.atoms.iter().all(|a| matches!(a, crate::dim::Atom::Symbol(s) if !self.extents.contains_key(s)))
        })
    }

    /// `floor(a / b)` for a positive `b`, simplified by the bounds.
    pub fn floor_div(&self, a: &Dim, b: &Dim) -> Dim {
        let (quotient, rest) = self.split(a, b);
        if self.is_non_negative(&rest) && self.is_non_negative(&(b - 1 - &rest)) {
            return quotient;
        }
        quotient + rest.floor_div(b)
    }

    /// `a mod b` for a positive `b`, simplified by the bounds.
    pub fn modulo(&self, a: &Dim, b: &Dim) -> Dim {
        let (_, rest) = self.split(a, b);
        if self.is_non_negative(&rest) && self.is_non_negative(&(b - 1 - &rest)) {
            return rest;
        }
        rest.modulo(b)
    }

    /// `a = quotient * b + rest`, with every term that `b` divides in the quotient.
    fn split(&self, a: &Dim, b: &Dim) -> (Dim, Dim) {
        let (mut quotient, mut rest) = (Dim::from(0), Dim::from(0));
        for t in a.terms() {
            let term = t.atoms.iter().fold(Dim::from(t.coefficient), |p, x| p * Dim::from(x.clone()));
            match term.exact_div(b) {
                Some(q) => quotient = quotient + q,
                None => rest = rest + term,
            }
        }
        (quotient, rest)
    }

    /// The index into a tensor of shape `old` of the element that has `index` in shape `new`, both row-major.
    pub fn reshape(&self, index: &[Dim], new: &Shape, old: &Shape) -> SmallVec<[Dim; 4]> {
        let linear = index.iter().zip(new.strides()).fold(Dim::from(0), |sum, (i, s)| sum + i * s);
        let strides = old.strides();
        let mut out = SmallVec::new();
        for (axis, extent) in old.iter().enumerate() {
            if extent.is(1) {
                out.push(Dim::from(0));
                continue;
            }
            let outer = self.floor_div(&linear, &strides[axis]);
            // The leading axis cannot overflow its extent.
            let first = old[..axis].iter().all(|d| d.is(1));
            out.push(if first { outer } else { self.modulo(&outer, extent) });
        }
        out
    }
}
