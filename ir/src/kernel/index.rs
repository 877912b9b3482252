//! Index expressions: hash-consed, simplified while they are built by the rules in `simplify`.

use super::simplify::{DEPTH, Sum};
use super::{Extent, Iter, Var};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// An expression of a kernel's [`IndexTable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Index(pub u32);

/// One node of an index expression. Arithmetic is on i64 and does not overflow in a verified program; quotient and
/// remainder are floored and their divisor is positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum IndexNode {
    /// A number.
    Const(i64),
    /// An extent argument.
    Extent(Extent),
    /// A loop or task variable.
    Iter(Iter),
    /// An i64 value.
    Var(Var),
    /// Sum.
    Add(Index, Index),
    /// Product.
    Mul(Index, Index),
    /// Floored quotient.
    FloorDiv(Index, Index),
    /// Floored remainder.
    Mod(Index, Index),
    /// Smaller.
    Min(Index, Index),
    /// Larger.
    Max(Index, Index),
}

impl IndexNode {
    /// The operands, left and right, of a node that has them; [`IndexNode::with_operands`] undoes it.
    pub fn operands(self) -> Option<[Index; 2]> {
        use IndexNode::*;
        match self {
            Const(_) | Extent(_) | Iter(_) | Var(_) => None,
            Add(a, b) | Mul(a, b) | FloorDiv(a, b) | Mod(a, b) | Min(a, b) | Max(a, b) => Some([a, b]),
        }
    }
    /// The same operation on other operands; a node without operands is itself.
    pub fn with_operands(self, [a, b]: [Index; 2]) -> IndexNode {
        use IndexNode::*;
        match self {
            Const(_) | Extent(_) | Iter(_) | Var(_) => self,
            Add(..) => Add(a, b),
            Mul(..) => Mul(a, b),
            FloorDiv(..) => FloorDiv(a, b),
            Mod(..) => Mod(a, b),
            Min(..) => Min(a, b),
            Max(..) => Max(a, b),
        }
    }
}

/// How large an expression is when it is written out as a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Nodes of the tree.
    pub size: u32,
    /// Nodes on its longest path.
    pub depth: u32,
}

impl Written {
    /// The largest tree that a verified kernel may hold; everything that walks expressions relies on it.
    pub const MAX: Written = Written { size: 4096, depth: 128 };
    /// A node over these operands; `None` if it is too large.
    pub(super) fn over(a: Written, b: Written) -> Option<Written> {
        let w = Written { size: 1 + a.size + b.size, depth: 1 + a.depth.max(b.depth) };
        (w.size <= Self::MAX.size && w.depth <= Self::MAX.depth).then_some(w)
    }
}

/// The index expressions of one kernel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<IndexNode>", into = "Vec<IndexNode>")]
pub struct IndexTable {
    nodes: Vec<IndexNode>,
    known: HashMap<IndexNode, Index>,
    bounds: HashMap<Iter, Index>,
}

impl From<Vec<IndexNode>> for IndexTable {
    fn from(nodes: Vec<IndexNode>) -> Self {
        let known = nodes.iter().enumerate().map(|(i, &n)| (n, Index(i as u32))).collect();
        IndexTable { nodes, known, bounds: HashMap::new() }
    }
}
impl From<IndexTable> for Vec<IndexNode> {
    fn from(t: IndexTable) -> Self {
        t.nodes
    }
}
impl PartialEq for IndexTable {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
    }
}
impl Eq for IndexTable {}
impl std::hash::Hash for IndexTable {
    fn hash<H: std::hash::Hasher>(&self, h: &mut H) {
        self.nodes.hash(h);
    }
}

impl IndexTable {
    /// The node of an expression.
    pub fn node(&self, i: Index) -> IndexNode {
        self.nodes[i.0 as usize]
    }
    /// All nodes; operands come before their users.
    pub fn nodes(&self) -> &[IndexNode] {
        &self.nodes
    }
    /// The node of an expression that may come from another table.
    pub fn get(&self, i: Index) -> Option<IndexNode> {
        self.nodes.get(i.0 as usize).copied()
    }
    /// For each node, how large it is when written out; `None` for one that exceeds [`Written::MAX`] or whose operands
    /// do not come before it.
    pub fn written(&self) -> Vec<Option<Written>> {
        let mut all: Vec<Option<Written>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let of = |i: Index| all.get(i.0 as usize).copied().flatten();
            let written = match node.operands() {
                None => Some(Written { size: 1, depth: 1 }),
                Some([a, b]) => of(a).zip(of(b)).and_then(|(a, b)| Written::over(a, b)),
            };
            all.push(written);
        }
        all
    }
    /// The number that an iteration variable stays below, where it was promised.
    pub(super) fn bound_of(&self, iter: Iter) -> Option<Index> {
        self.bounds.get(&iter).copied()
    }
    /// The number, if the expression is one.
    pub fn as_const(&self, i: Index) -> Option<i64> {
        match self.node(i) {
            IndexNode::Const(n) => Some(n),
            _ => None,
        }
    }
    /// The expression of exactly that node, without simplification; the text reader uses it.
    pub fn intern(&mut self, node: IndexNode) -> Index {
        let next = Index(self.nodes.len() as u32);
        *self.known.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            next
        })
    }
    /// A number.
    pub fn constant(&mut self, n: i64) -> Index {
        self.intern(IndexNode::Const(n))
    }
    /// Promises that an iteration variable stays in `0..extent`; quotients and remainders are simplified by it. Only for
    /// building: it is not part of the table's identity or of its stored form.
    pub fn bound(&mut self, iter: Iter, extent: Index) {
        self.bounds.insert(iter, extent);
    }
    /// Sum. Terms of one base are gathered, numbers go right; what would overflow is left as it is.
    pub fn add(&mut self, a: Index, b: Index) -> Index {
        let mut sum = Sum::default();
        let gathered = self.terms(a, 1, &mut sum).and_then(|()| self.terms(b, 1, &mut sum));
        match gathered {
            Some(()) => self.of_sum(sum),
            None => self.intern(IndexNode::Add(a, b)),
        }
    }
    /// Product. Numbers go right and into sums; what would overflow is left as it is.
    pub fn mul(&mut self, a: Index, b: Index) -> Index {
        match (self.as_const(a), self.as_const(b)) {
            (Some(_), None) => self.mul(b, a),
            (_, Some(c)) => {
                let mut sum = Sum::default();
                match self.terms(a, c, &mut sum) {
                    Some(()) => self.of_sum(sum),
                    None => self.intern(IndexNode::Mul(a, b)),
                }
            }
            (None, None) => self.intern(IndexNode::Mul(a, b)),
        }
    }
    /// Difference.
    pub fn sub(&mut self, a: Index, b: Index) -> Index {
        let minus_one = self.constant(-1);
        let negated = self.mul(b, minus_one);
        self.add(a, negated)
    }
    /// Floored quotient, by a divisor that is positive. Terms that it divides are taken out.
    pub fn floor_div(&mut self, a: Index, b: Index) -> Index {
        let Some((quotient, rest)) = self.divide(a, b) else { return self.intern(IndexNode::FloorDiv(a, b)) };
        if self.as_const(rest) == Some(0) || self.is_below(rest, b, DEPTH) {
            return quotient;
        }
        let rest = match (self.node(rest), self.as_const(b)) {
            (IndexNode::Const(x), Some(y)) => self.constant(x.div_euclid(y)),
            (IndexNode::FloorDiv(x, c), Some(y)) if self.as_const(c).and_then(|c| c.checked_mul(y)).is_some() => {
                let product = self.mul(c, b);
                self.floor_div(x, product)
            }
            _ => self.intern(IndexNode::FloorDiv(rest, b)),
        };
        self.add(quotient, rest)
    }
    /// Quotient rounded up, by a divisor that is positive.
    pub fn ceil_div(&mut self, a: Index, b: Index) -> Index {
        let one_less = self.constant(-1);
        let top = self.add(b, one_less);
        let top = self.add(a, top);
        self.floor_div(top, b)
    }
    /// Floored remainder, by a divisor that is positive. Terms that it divides are left out.
    pub fn modulo(&mut self, a: Index, b: Index) -> Index {
        let Some((_, rest)) = self.divide(a, b) else { return self.intern(IndexNode::Mod(a, b)) };
        if self.as_const(rest) == Some(0) || self.is_below(rest, b, DEPTH) {
            return rest;
        }
        match (self.node(rest), self.as_const(b)) {
            (IndexNode::Const(x), Some(y)) => self.constant(x.rem_euclid(y)),
            (IndexNode::Mod(x, c), _) if self.exact_quotient(c, b).is_some() => self.modulo(x, b),
            _ => self.intern(IndexNode::Mod(rest, b)),
        }
    }
    /// Smaller.
    pub fn min(&mut self, a: Index, b: Index) -> Index {
        match (self.as_const(a), self.as_const(b)) {
            (Some(x), Some(y)) => self.constant(x.min(y)),
            _ if a == b => a,
            _ => self.intern(IndexNode::Min(a, b)),
        }
    }
    /// Larger.
    pub fn max(&mut self, a: Index, b: Index) -> Index {
        match (self.as_const(a), self.as_const(b)) {
            (Some(x), Some(y)) => self.constant(x.max(y)),
            _ if a == b => a,
            _ => self.intern(IndexNode::Max(a, b)),
        }
    }
    /// The value of an expression that holds only constants and extents; `None` on another node or on overflow.
    pub fn eval_extents(&self, i: Index, extents: &[i64]) -> Option<i64> {
        self.eval(i, &|n| match n {
            IndexNode::Extent(e) => extents.get(e.at()).copied(),
            _ => None,
        })
    }
    /// The value of an expression, given its extents, iteration variables and values; `None` on overflow or division by
    /// zero, or where `leaf` has no answer.
    pub fn eval(&self, i: Index, leaf: &dyn Fn(IndexNode) -> Option<i64>) -> Option<i64> {
        use IndexNode::*;
        let go = |i| self.eval(i, leaf);
        match self.node(i) {
            Const(n) => Some(n),
            n @ (Extent(_) | Iter(_) | Var(_)) => leaf(n),
            Add(a, b) => go(a)?.checked_add(go(b)?),
            Mul(a, b) => go(a)?.checked_mul(go(b)?),
            FloorDiv(a, b) => {
                let (a, b) = (go(a)?, go(b)?);
                (b > 0).then(|| a.div_euclid(b))
            }
            Mod(a, b) => {
                let (a, b) = (go(a)?, go(b)?);
                (b > 0).then(|| a.rem_euclid(b))
            }
            Min(a, b) => Some(go(a)?.min(go(b)?)),
            Max(a, b) => Some(go(a)?.max(go(b)?)),
        }
    }
}
