//! Index expressions: hash-consed, simplified while they are built.

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

/// The index expressions of one kernel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<IndexNode>", into = "Vec<IndexNode>")]
pub struct IndexTable {
    nodes: Vec<IndexNode>,
    known: HashMap<IndexNode, Index>,
}

impl From<Vec<IndexNode>> for IndexTable {
    fn from(nodes: Vec<IndexNode>) -> Self {
        let known = nodes.iter().enumerate().map(|(i, &n)| (n, Index(i as u32))).collect();
        IndexTable { nodes, known }
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
    /// Sum. Constants go right and are gathered.
    pub fn add(&mut self, a: Index, b: Index) -> Index {
        use IndexNode::*;
        match (self.node(a), self.node(b)) {
            (Const(x), Const(y)) => self.constant(x + y),
            (Const(0), _) => b,
            (_, Const(0)) => a,
            (Const(_), _) => self.add(b, a),
            (Add(x, c), Const(y)) if self.as_const(c).is_some() => {
                let sum = self.as_const(c).unwrap_or(0) + y;
                let sum = self.constant(sum);
                self.add(x, sum)
            }
            (_, Add(y, c)) if self.as_const(c).is_some() => {
                let inner = self.add(a, y);
                self.add(inner, c)
            }
            _ => self.intern(Add(a, b)),
        }
    }
    /// Product. Constants go right and are gathered.
    pub fn mul(&mut self, a: Index, b: Index) -> Index {
        use IndexNode::*;
        match (self.node(a), self.node(b)) {
            (Const(x), Const(y)) => self.constant(x * y),
            (Const(0), _) | (_, Const(1)) => a,
            (_, Const(0)) | (Const(1), _) => b,
            (Const(_), _) => self.mul(b, a),
            (Mul(x, c), Const(y)) if self.as_const(c).is_some() => {
                let product = self.as_const(c).unwrap_or(1) * y;
                let product = self.constant(product);
                self.mul(x, product)
            }
            _ => self.intern(Mul(a, b)),
        }
    }
    /// Difference.
    pub fn sub(&mut self, a: Index, b: Index) -> Index {
        if a == b {
            return self.constant(0);
        }
        let minus_one = self.constant(-1);
        let negated = self.mul(b, minus_one);
        self.add(a, negated)
    }
    /// Floored quotient.
    pub fn floor_div(&mut self, a: Index, b: Index) -> Index {
        use IndexNode::*;
        match (self.node(a), self.node(b)) {
            (Const(x), Const(y)) if y > 0 => self.constant(x.div_euclid(y)),
            (Const(0), _) | (_, Const(1)) => a,
            (Mul(x, y), _) if y == b => x,
            _ => self.intern(FloorDiv(a, b)),
        }
    }
    /// Quotient rounded up.
    pub fn ceil_div(&mut self, a: Index, b: Index) -> Index {
        let one_less = self.constant(-1);
        let top = self.add(b, one_less);
        let top = self.add(a, top);
        self.floor_div(top, b)
    }
    /// Floored remainder.
    pub fn modulo(&mut self, a: Index, b: Index) -> Index {
        use IndexNode::*;
        match (self.node(a), self.node(b)) {
            (Const(x), Const(y)) if y > 0 => self.constant(x.rem_euclid(y)),
            (Const(0), _) => a,
            (_, Const(1)) => self.constant(0),
            (Mul(_, y), _) if y == b => self.constant(0),
            _ => self.intern(Mod(a, b)),
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
