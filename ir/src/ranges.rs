//! Index expressions: polynomials ([`Dim`]) over iteration variables, with the bounds that simplify them.
//!
//! An answer about a variable of extent 0 is vacuous; other variables do not matter to it. Divisors are extents or
//! products of extents and therefore positive. What cannot be proved is left as it is.

use crate::dim::{Atom, Term};
use crate::{Dim, Shape, Symbol};
use smallvec::SmallVec;
use std::cell::Cell;
use std::collections::HashMap;

/// Bounds of the variables in index expressions. A variable goes from 0 to its extent, exclusive; every other symbol
/// is an extent, at least `min`.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    extents: HashMap<Symbol, Dim>,
    minima: HashMap<Symbol, i64>,
}

/// Steps that one proof may take; what needs more stays unproved.
const PROOF_STEPS: u32 = 400;

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
        Proof { ranges: self, steps: Cell::new(PROOF_STEPS) }.non_negative(d)
    }

    /// True if the expression is provably less than 0 over all values of its variables.
    pub fn is_negative(&self, d: &Dim) -> bool {
        self.is_non_negative(&(Dim::from(-1) - d))
    }

    /// `floor(a / b)` for a positive `b`, simplified by the bounds.
    pub fn floor_div(&self, a: &Dim, b: &Dim) -> Dim {
        if b.is(1) {
            return a.clone();
        }
        let (quotient, rest) = self.split(a, b);
        if let Some(offset) = self.constant_quotient(&rest, b) {
            return quotient + offset;
        }
        // floor((inner / c) / b) = floor(inner / (c * b)).
        if let Some(Atom::FloorDiv(parts)) = only_atom(&rest) {
            return quotient + self.floor_div(&parts.0, &(&parts.1 * b));
        }
        // floor((inner mod c) / b) = floor(inner / b) mod (c / b) where b divides c.
        if let Some(Atom::Mod(parts)) = only_atom(&rest)
            && let Some(times) = parts.1.exact_div(b)
        {
            return quotient + self.modulo(&self.floor_div(&parts.0, b), &times);
        }
        if let Some((whole, _, factor)) = self.split_factor(&rest, b) {
            let divisor = b.exact_div(&factor).expect("the factor divides");
            return quotient + self.floor_div(&whole, &divisor);
        }
        quotient + rest.floor_div(b)
    }

    /// `a mod b` for a positive `b`, simplified by the bounds.
    pub fn modulo(&self, a: &Dim, b: &Dim) -> Dim {
        if b.is(1) {
            return Dim::from(0);
        }
        let (_, mut rest) = self.split(a, b);
        loop {
            if let Some(offset) = self.constant_quotient(&rest, b) {
                return rest - offset * b;
            }
            // (f * (inner mod c)) mod b = (f * inner) mod b where b divides c.
            let terms = rest.terms();
            let Some(opened) = terms.iter().find_map(|t| {
                let (i, parts) = t.atoms.iter().enumerate().find_map(|(i, a)| match a {
                    Atom::Mod(parts) if parts.1.exact_div(b).is_some() => Some((i, parts)),
                    _ => None,
                })?;
                let factor = without_atom(t, i);
                Some(&rest - &factor * Dim::from(t.atoms[i].clone()) + factor * &parts.0)
            }) else {
                break;
            };
            (_, rest) = opened.split_multiples(b);
        }
        if let Some((whole, small, factor)) = self.split_factor(&rest, b) {
            let divisor = b.exact_div(&factor).expect("the factor divides");
            return self.modulo(&whole, &divisor) * factor + small;
        }
        rest.modulo(b)
    }

    /// The expression with its variables replaced, quotients and remainders simplified again.
    pub fn substitute(&self, d: &Dim, f: &dyn Fn(&Symbol) -> Option<Dim>) -> Dim {
        let mut sum = Dim::from(0);
        for t in d.terms() {
            let mut product = Dim::from(t.coefficient);
            for a in &t.atoms {
                product = product
                    * match a {
                        Atom::Symbol(s) => f(s).unwrap_or_else(|| Dim::from(a.clone())),
                        Atom::FloorDiv(p) => self.floor_div(&self.substitute(&p.0, f), &self.substitute(&p.1, f)),
                        Atom::Mod(p) => self.modulo(&self.substitute(&p.0, f), &self.substitute(&p.1, f)),
                    };
            }
            sum = sum + product;
        }
        self.simplify_sums(&sum)
    }

    /// The index into a tensor of shape `old` of the element that has `index` in shape `new`, both row-major.
    pub fn reshape(&self, index: &[Dim], new: &Shape, old: &Shape) -> SmallVec<[Dim; 4]> {
        let mut out: SmallVec<[Dim; 4]> = SmallVec::from_elem(Dim::from(0), old.rank());
        if old.iter().chain(new.iter()).any(|d| d.is(0)) {
            return out;
        }
        // Where products of leading extents agree, what follows is a reshape of its own.
        let (mut i, mut j) = (0, 0);
        while i < old.rank() || j < new.rank() {
            let (mut next_i, mut next_j) = (old.rank(), new.rank());
            let mut product = Dim::from(1);
            'search: for end_i in i + 1..=old.rank() {
                product = product * &old[end_i - 1];
                let mut other = Dim::from(1);
                for end_j in j..=new.rank() {
                    if end_j > j {
                        other = other * &new[end_j - 1];
                    }
                    if other == product {
                        (next_i, next_j) = (end_i, end_j);
                        break 'search;
                    }
                }
            }
            self.reshape_group(&index[j..next_j], &new[j..next_j], &old[i..next_i], &mut out[i..next_i]);
            (i, j) = (next_i, next_j);
        }
        out
    }

    /// A reshape in terms of placeholders for the index, of which it is known that they are below their extents.
    fn reshape_group(&self, index: &[Dim], new: &[Dim], old: &[Dim], out: &mut [Dim]) {
        let mut local = self.clone();
        let names: SmallVec<[Symbol; 4]> = (0..index.len()).map(|k| Symbol::new(&format!("index {k}"))).collect();
        for (name, extent) in names.iter().zip(new) {
            local.declare(name.clone(), extent.clone());
        }
        let linear = names.iter().zip(new).fold(Dim::from(0), |sum, (name, extent)| {
            let place = if extent.is(1) { Dim::from(0) } else { Dim::from(Atom::Symbol(name.clone())) };
            sum * extent + place
        });
        let actual = |s: &Symbol| names.iter().position(|n| n == s).map(|k| index[k].clone());
        let mut stride = Dim::from(1);
        for axis in (0..old.len()).rev() {
            if old[axis].is(1) {
                continue;
            }
            let outer = local.floor_div(&linear, &stride);
            // The leading axis cannot overflow its extent.
            let leading = old[..axis].iter().all(|d| d.is(1));
            let here = if leading { outer } else { local.modulo(&outer, &old[axis]) };
            out[axis] = self.substitute(&here, &actual);
            stride = stride * &old[axis];
        }
    }

    /// `a = quotient * b + rest`. A divisor of several terms is taken out by long division if the rest is then known to
    /// be small.
    fn split(&self, a: &Dim, b: &Dim) -> (Dim, Dim) {
        let a = self.simplify_sums(a);
        if b.terms().len() > 1 {
            let (quotient, rest) = long_division(&a, b);
            if !quotient.is(0) && self.constant_quotient(&rest, b).is_some() {
                return (quotient, rest);
            }
        }
        a.split_multiples(b)
    }

    /// `q` where `q * b <= a < (q + 1) * b` for a number `q`.
    fn constant_quotient(&self, a: &Dim, b: &Dim) -> Option<Dim> {
        if let (Some(_), Some(_)) = (a.known(), b.known()) {
            return a.floor_div(b).is_static().then(|| a.floor_div(b));
        }
        let inside = |a: &Dim| self.is_non_negative(a) && self.is_non_negative(&(b - 1 - a));
        if inside(a) {
            return Some(Dim::from(0));
        }
        // The constant part alone may lie several divisors away.
        let constant = a.terms().iter().find(|t| t.atoms.is_empty()).map_or(0, |t| t.coefficient);
        let around = b.known().map_or(constant.signum(), |b| constant.div_euclid(b.max(1)));
        [around, around - 1, around + 1].into_iter().find(|&q| q != 0 && inside(&(a - b * q))).map(Dim::from)
    }

    /// `a = whole * factor + small` with `0 <= small < factor`, where `factor` is not 1 and divides `b`.
    fn split_factor(&self, a: &Dim, b: &Dim) -> Option<(Dim, Dim, Dim)> {
        let terms = a.terms();
        let mut tried: SmallVec<[Dim; 4]> = SmallVec::new();
        for t in terms.iter().filter(|t| !t.atoms.is_empty()) {
            let factor = common_factor(t, b);
            if factor.is(1) || factor == *b || tried.contains(&factor) {
                continue;
            }
            let (whole, small) = a.split_multiples(&factor);
            if !whole.is(0) && self.is_non_negative(&small) && self.is_non_negative(&(&factor - 1 - &small)) {
                return Some((whole, small, factor));
            }
            tried.push(factor);
        }
        None
    }

    /// Puts quotients and remainders of the same division together: `b * floor(a / b) + a mod b = a`.
    fn simplify_sums(&self, d: &Dim) -> Dim {
        let mut d = d.clone();
        'again: loop {
            let terms = d.terms();
            for t in &terms {
                for (i, atom) in t.atoms.iter().enumerate() {
                    let Atom::Mod(parts) = atom else { continue };
                    let factor = without_atom(t, i);
                    let quotient = Dim::from(Atom::FloorDiv(parts.clone()));
                    for quotient in [quotient, self.floor_div(&parts.0, &parts.1)] {
                        let both = Dim::from(atom.clone()) + &parts.1 * quotient;
                        let joined = &d - &factor * both + &factor * &parts.0;
                        if divisions(&joined) < divisions(&d) {
                            d = joined;
                            continue 'again;
                        }
                    }
                }
            }
            return d;
        }
    }
}

/// The term as an expression, without one of its atoms.
fn without_atom(t: &Term, i: usize) -> Dim {
    let others = t.atoms.iter().enumerate().filter(|&(j, _)| j != i);
    others.fold(Dim::from(t.coefficient), |p, (_, a)| p * Dim::from(a.clone()))
}

/// `a = quotient * b + rest`, where the leading term of `b` divides no term of the rest (or after 16 steps).
fn long_division(a: &Dim, b: &Dim) -> (Dim, Dim) {
    let (mut quotient, mut rest) = (Dim::from(0), a.clone());
    let terms = b.terms();
    let Some(lead) = terms.iter().max_by_key(|t| (t.atoms.len(), &t.atoms)) else { return (quotient, rest) };
    let lead = monomial(lead);
    for _ in 0..16 {
        let Some(q) = rest.terms().iter().rev().find_map(|t| monomial(t).exact_div(&lead)) else { break };
        rest = rest - &q * b;
        quotient = quotient + q;
    }
    (quotient, rest)
}

fn monomial(t: &Term) -> Dim {
    t.atoms.iter().fold(Dim::from(t.coefficient), |p, a| p * Dim::from(a.clone()))
}

/// The atom that is the whole expression.
fn only_atom(d: &Dim) -> Option<Atom> {
    match d.terms().as_slice() {
        [t] if t.coefficient == 1 && t.atoms.len() == 1 => Some(t.atoms[0].clone()),
        _ => None,
    }
}

/// The number of quotients and remainders at the top of an expression.
fn divisions(d: &Dim) -> usize {
    d.terms().iter().flat_map(|t| &t.atoms).filter(|a| !matches!(a, Atom::Symbol(_))).count()
}

/// The largest product of a number and atoms that divides both; 1 for a divisor of several terms that does not divide.
fn common_factor(t: &Term, b: &Dim) -> Dim {
    let terms = b.terms();
    let [b] = terms.as_slice() else { return Dim::from(1) };
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        i64::try_from(a).unwrap_or(1)
    };
    let number = gcd(t.coefficient.unsigned_abs(), b.coefficient.unsigned_abs());
    let mut left = t.atoms.clone();
    b.atoms.iter().fold(Dim::from(number), |p, a| match left.iter().position(|x| x == a) {
        Some(i) => {
            left.remove(i);
            p * Dim::from(a.clone())
        }
        None => p,
    })
}

/// `d = slope * atom + base`, unless a term has the atom twice.
fn linear_in(d: &Dim, atom: &Atom) -> Option<(Dim, Dim)> {
    let (mut slope, mut base) = (Dim::from(0), Dim::from(0));
    for t in d.terms() {
        match t.atoms.iter().position(|a| a == atom) {
            Some(i) => slope = slope + without_atom(&t, i),
            None => base = base + monomial(&t),
        }
    }
    let once = !slope.terms().iter().any(|t| t.atoms.contains(atom));
    once.then_some((slope, base))
}

/// One search for a proof.
struct Proof<'a> {
    ranges: &'a Ranges,
    steps: Cell<u32>,
}

impl Proof<'_> {
    /// An expression is linear in an atom that occurs once in its terms, so over the atom's range it is lowest at one
    /// of the two ends. Atoms are taken as independent of each other, which only widens the range.
    fn non_negative(&self, d: &Dim) -> bool {
        if let Some(n) = d.known() {
            return n >= 0;
        }
        let Some(steps) = self.steps.get().checked_sub(1) else { return false };
        self.steps.set(steps);
        let Some(atom) = self.bounded_atom(d) else { return self.non_negative_symbols(d) };
        let Some((slope, base)) = linear_in(d, &atom) else { return false };
        let at = |end: &Dim| self.non_negative(&(&slope * end + &base));
        let rising = self.non_negative(&slope);
        let falling = !rising && self.non_negative(&(Dim::from(0) - &slope));
        // The tighter bounds of a quotient: a - b + 1 <= b * floor(a / b) <= a.
        if let Atom::FloorDiv(parts) = &atom
            && let Some(per) = slope.exact_div(&parts.1)
        {
            if falling && self.non_negative(&(&per * &parts.0 + &base)) {
                return true;
            }
            if rising && self.non_negative(&(&per * (&parts.0 - &parts.1 + 1) + &base)) {
                return true;
            }
        }
        let low = self.lowest(&atom);
        if rising {
            return low.is_some_and(|low| at(&low));
        }
        let high = self.highest(&atom);
        if falling {
            return high.is_some_and(|high| at(&high));
        }
        low.is_some_and(|low| at(&low)) && high.is_some_and(|high| at(&high))
    }

    /// A quotient, a remainder or a variable; those whose bounds may hold variables come first.
    fn bounded_atom(&self, d: &Dim) -> Option<Atom> {
        let terms = d.terms();
        let atoms = || terms.iter().flat_map(|t| &t.atoms);
        let division = atoms().find(|a| !matches!(a, Atom::Symbol(_)));
        let variable = || atoms().find(|a| matches!(a, Atom::Symbol(s) if self.ranges.extents.contains_key(s)));
        division.or_else(variable).cloned()
    }

    fn lowest(&self, atom: &Atom) -> Option<Dim> {
        match atom {
            Atom::FloorDiv(parts) => self.non_negative(&parts.0).then(|| Dim::from(0)),
            _ => Some(Dim::from(0)),
        }
    }

    fn highest(&self, atom: &Atom) -> Option<Dim> {
        match atom {
            Atom::Symbol(s) => Some(self.ranges.extents.get(s)? - 1),
            Atom::Mod(parts) => Some(&parts.1 - 1),
            // At most the quotient of the highest numerator, if that divides out.
            Atom::FloorDiv(parts) => {
                let top = self.upper_bound(&parts.0)?;
                let quotient = top.floor_div(&parts.1);
                (divisions(&quotient) == 0).then_some(quotient)
            }
        }
    }

    /// An expression of symbols that is nowhere below `d`.
    fn upper_bound(&self, d: &Dim) -> Option<Dim> {
        let steps = self.steps.get().checked_sub(1)?;
        self.steps.set(steps);
        let Some(atom) = self.bounded_atom(d) else { return Some(d.clone()) };
        let (slope, base) = linear_in(d, &atom)?;
        let end = if self.non_negative(&slope) {
            self.highest(&atom)?
        } else if self.non_negative(&(Dim::from(0) - &slope)) {
            self.lowest(&atom)?
        } else {
            return None;
        };
        self.upper_bound(&(slope * end + base))
    }

    /// For an expression of symbols: written in what each exceeds its least value by, no term is negative.
    fn non_negative_symbols(&self, d: &Dim) -> bool {
        let least = |s: &Symbol| self.ranges.minima.get(s).copied().unwrap_or(0);
        let above = d.substitute(&|s| Some(Dim::from(Atom::Symbol(s.clone())) + least(s)));
        above.terms().iter().all(|t| t.coefficient >= 0)
    }
}
