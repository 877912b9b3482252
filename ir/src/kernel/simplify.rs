//! How index expressions are simplified: sums as terms, exact quotients, and bounds of iteration variables.
//!
//! Every step is an identity of integers, for divisors that are positive; bounds are those promised by
//! [`IndexTable::bound`].

use super::index::{Index, IndexNode, IndexTable};
use smallvec::SmallVec;

/// How far proofs look into an expression.
pub(super) const DEPTH: u32 = 8;

/// A sum that takes more steps to gather is left as it is.
const MAX_STEPS: u32 = 64;

/// `base * coefficient + … + constant`, each base once, in order of appearance.
#[derive(Default)]
pub(super) struct Sum {
    terms: SmallVec<[(Index, i64); 4]>,
    constant: i64,
    steps: u32,
}

/// The least and the largest value, each if it is known.
type Range = (Option<i64>, Option<i64>);

impl IndexTable {
    /// Adds `i * factor` to a sum; `None` if that overflows or is too long.
    pub(super) fn terms(&self, i: Index, factor: i64, sum: &mut Sum) -> Option<()> {
        sum.steps += 1;
        if sum.steps > MAX_STEPS {
            return None;
        }
        match self.node(i) {
            IndexNode::Const(n) => sum.constant = sum.constant.checked_add(n.checked_mul(factor)?)?,
            IndexNode::Add(a, b) => {
                self.terms(a, factor, sum)?;
                self.terms(b, factor, sum)?;
            }
            IndexNode::Mul(x, c) if self.as_const(c).is_some() => {
                self.terms(x, factor.checked_mul(self.as_const(c)?)?, sum)?;
            }
            _ => match sum.terms.iter_mut().find(|(base, _)| *base == i) {
                Some((_, coefficient)) => *coefficient = coefficient.checked_add(factor)?,
                None => sum.terms.push((i, factor)),
            },
        }
        Some(())
    }

    pub(super) fn of_sum(&mut self, mut sum: Sum) -> Index {
        self.rejoin(&mut sum);
        let mut total = None;
        for (base, coefficient) in sum.terms {
            let term = match coefficient {
                0 => continue,
                1 => base,
                c => {
                    let c = self.constant(c);
                    self.intern(IndexNode::Mul(base, c))
                }
            };
            total = Some(match total {
                None => term,
                Some(total) => self.intern(IndexNode::Add(total, term)),
            });
        }
        match (total, sum.constant) {
            (Some(total), 0) => total,
            (None, c) => self.constant(c),
            (Some(total), c) => {
                let c = self.constant(c);
                self.intern(IndexNode::Add(total, c))
            }
        }
    }

    /// `x / c * (c * k) + x % c * k` is `x * k`.
    fn rejoin(&self, sum: &mut Sum) {
        let found = sum.terms.iter().enumerate().find_map(|(m, &(base, k))| {
            let IndexNode::Mod(x, c) = self.node(base) else { return None };
            let whole = self.as_const(c)?.checked_mul(k)?;
            let quotient = |&(q, by): &(Index, i64)| by == whole && self.node(q) == IndexNode::FloorDiv(x, c);
            Some((m, sum.terms.iter().position(quotient)?, x, k))
        });
        if let Some((m, q, x, k)) = found {
            let before = (sum.terms.clone(), sum.constant);
            sum.terms.remove(m.max(q));
            sum.terms.remove(m.min(q));
            if self.terms(x, k, sum).is_none() {
                (sum.terms, sum.constant) = before;
            }
        }
    }

    /// `a` as `quotient * b + rest`, with as much as possible in the quotient; `None` if `b` is a number that is not
    /// positive, or on overflow.
    pub(super) fn divide(&mut self, a: Index, b: Index) -> Option<(Index, Index)> {
        if self.as_const(b).is_some_and(|b| b <= 0) {
            return None;
        }
        let mut sum = Sum::default();
        self.terms(a, 1, &mut sum)?;
        let (mut quotient, mut rest) = (Sum::default(), Sum::default());
        for (base, coefficient) in sum.terms {
            let scale = self.constant(coefficient);
            let exact = match self.as_const(b) {
                Some(b) if coefficient % b == 0 => Some((base, coefficient / b)),
                Some(_) => None,
                None => self.exact_quotient(base, b).map(|q| (q, coefficient)),
            };
            match exact {
                Some((q, c)) => self.terms(q, c, &mut quotient)?,
                None => {
                    let term = self.mul(base, scale);
                    self.terms(term, 1, &mut rest)?;
                }
            }
        }
        match self.as_const(b) {
            Some(b) if sum.constant % b == 0 => {
                quotient.constant = quotient.constant.checked_add(sum.constant / b)?;
            }
            _ => rest.constant = rest.constant.checked_add(sum.constant)?,
        }
        Some((self.of_sum(quotient), self.of_sum(rest)))
    }

    /// `a / b` where that is exact for all values.
    pub(super) fn exact_quotient(&mut self, a: Index, b: Index) -> Option<Index> {
        if a == b {
            return Some(self.constant(1));
        }
        if let (Some(x), Some(y)) = (self.as_const(a), self.as_const(b)) {
            return (y > 0 && x % y == 0).then(|| self.constant(x / y));
        }
        match self.node(a) {
            IndexNode::Mul(x, y) => {
                if let Some(q) = self.exact_quotient(y, b) {
                    return Some(self.mul(x, q));
                }
                let q = self.exact_quotient(x, b)?;
                Some(self.mul(q, y))
            }
            _ => None,
        }
    }

    /// Whether `0 <= a < b` for certain.
    pub(super) fn is_below(&self, a: Index, b: Index, depth: u32) -> bool {
        if let ((Some(low), Some(high)), (Some(least), _)) = (self.range(a, depth), self.range(b, depth))
            && low >= 0
            && high < least
        {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else { return false };
        match self.node(a) {
            IndexNode::Iter(i) => self.bound_of(i) == Some(b),
            IndexNode::Mod(_, m) => m == b,
            // x*n + y with x < m and y < n is below m*n.
            IndexNode::Add(p, q) => [(p, q), (q, p)].into_iter().any(|(p, y)| {
                let (IndexNode::Mul(x, n), IndexNode::Mul(m1, m2)) = (self.node(p), self.node(b)) else { return false };
                [(x, n), (n, x)].into_iter().any(|(x, n)| {
                    let m = if m2 == n { Some(m1) } else { (m1 == n).then_some(m2) };
                    m.is_some_and(|m| self.is_below(x, m, depth) && self.is_below(y, n, depth))
                })
            }),
            _ => false,
        }
    }

    fn range(&self, i: Index, depth: u32) -> Range {
        let Some(depth) = depth.checked_sub(1) else { return (None, None) };
        let of = |i| self.range(i, depth);
        let both = |a: Option<i64>, b: Option<i64>, f: fn(i64, i64) -> Option<i64>| f(a?, b?);
        match self.node(i) {
            IndexNode::Const(n) => (Some(n), Some(n)),
            IndexNode::Extent(_) | IndexNode::Var(_) => (None, None),
            IndexNode::Iter(iter) => {
                let high = self.bound_of(iter).and_then(|extent| of(extent).1);
                (Some(0), high.and_then(|h| h.checked_sub(1)))
            }
            IndexNode::Add(a, b) => {
                let ((a0, a1), (b0, b1)) = (of(a), of(b));
                (both(a0, b0, i64::checked_add), both(a1, b1, i64::checked_add))
            }
            IndexNode::Mul(a, b) => {
                let (of_a, Some(b)) = (of(a), self.as_const(b)) else { return (None, None) };
                let (low, high) = if b < 0 { (of_a.1, of_a.0) } else { of_a };
                (low.and_then(|x| x.checked_mul(b)), high.and_then(|x| x.checked_mul(b)))
            }
            IndexNode::FloorDiv(a, b) => {
                let ((low, high), Some(b)) = (of(a), self.as_const(b).filter(|&b| b > 0)) else { return (None, None) };
                (low.map(|x| x.div_euclid(b)), high.map(|x| x.div_euclid(b)))
            }
            IndexNode::Mod(_, b) => (Some(0), of(b).1.and_then(|b| b.checked_sub(1))),
            IndexNode::Min(a, b) => {
                let ((a0, a1), (b0, b1)) = (of(a), of(b));
                let high = both(a1, b1, |a, b| Some(a.min(b)));
                (both(a0, b0, |a, b| Some(a.min(b))), high.or(a1).or(b1))
            }
            IndexNode::Max(a, b) => {
                let ((a0, a1), (b0, b1)) = (of(a), of(b));
                let low = both(a0, b0, |a, b| Some(a.max(b)));
                (low.or(a0).or(b0), both(a1, b1, |a, b| Some(a.max(b))))
            }
        }
    }
}
