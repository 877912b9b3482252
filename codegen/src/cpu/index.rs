//! Index expressions as 64-bit scalars, and what they do along a lanes loop.

use super::emit::{Emitter, Result, Val, Vecs, visit};
use super::registers::{register, register_bits};
use cranelift_codegen::ir::types::I64X2;
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use ir::kernel::{Block, Expr, Index, IndexNode, Stmt};
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};

/// The most constants that a loop keeps in registers.
const MAX_CONSTANTS: usize = 6;

/// Index expressions and constants that are at hand; expressions by iteration of the block; 0 for those that do not vary.
#[derive(Default)]
pub(super) struct Cache {
    known: HashMap<Key, Value>,
    log: Vec<Key>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Node(Index, usize),
    /// Floored quotient, which a quotient and a remainder share.
    Quotient(Index, Index, usize),
    /// A vector constant that was hoisted.
    Constant(Type, u64),
}

impl Cache {
    pub(super) fn mark(&self) -> usize {
        self.log.len()
    }
    pub(super) fn forget(&mut self, mark: usize) {
        for key in self.log.drain(mark..) {
            self.known.remove(&key);
        }
    }
    pub(super) fn constant(&self, ty: Type, bits: u64) -> Option<Value> {
        self.known.get(&Key::Constant(ty, bits)).copied()
    }
    fn insert(&mut self, key: Key, value: Value) {
        if self.known.insert(key, value).is_none() {
            self.log.push(key);
        }
    }
}

/// How an index moves from one iteration of the lanes loop to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stride {
    /// By a number of elements.
    Elements(i64),
    /// By an expression that does not vary, times a number.
    Times(Index, i64),
    /// Not by the same amount each time.
    Irregular,
}

impl Emitter<'_, '_> {
    /// True if the expression differs between the iterations at hand.
    pub(super) fn index_varies(&self, i: Index) -> bool {
        self.lanes.as_ref().is_some_and(|l| l.analysis.index_varies(self.kernel, i))
    }

    /// The value of an expression that does not vary.
    pub(super) fn index(&mut self, i: Index) -> Result<Value> {
        self.index_at(i, 0)
    }

    /// The value of an expression in one iteration of the block, counted from the first of the block.
    pub(super) fn index_at(&mut self, i: Index, lane: usize) -> Result<Value> {
        let lane = if self.index_varies(i) { lane } else { 0 };
        let key = Key::Node(i, lane);
        if let Some(&value) = self.indices.known.get(&key) {
            return Ok(value);
        }
        use IndexNode::*;
        let value = match self.kernel.indices.node(i) {
            Const(n) => self.int(n),
            Extent(e) => {
                let found = self.extents.get(e.at()).copied();
                found.ok_or_else(|| self.malformed(format!("extent {} does not exist", e.0)))?
            }
            Iter(it) => {
                let first = self.iter(it)?;
                if lane == 0 { first } else { self.b.ins().iadd_imm_s(first, lane as i64) }
            }
            Var(v) => match self.val(v)?.clone() {
                Val::Uniform { scalar: Some(scalar), .. } => scalar,
                Val::Uniform { vec, .. } => self.b.ins().extractlane(vec, 0),
                Val::Known(s) => self.int(s.as_i64()),
                Val::Varying(subs) => {
                    let width = self.width();
                    let vecs = subs.get(lane / width).ok_or_else(|| self.malformed("an index before its value"))?;
                    let at = lane % width;
                    self.b.ins().extractlane(vecs[at / 2], (at % 2) as u8)
                }
            },
            Add(x, y) => {
                let (x, y) = (self.index_at(x, lane)?, self.index_at(y, lane)?);
                self.b.ins().iadd(x, y)
            }
            Mul(x, y) => {
                let (x, y) = (self.index_at(x, lane)?, self.index_at(y, lane)?);
                self.b.ins().imul(x, y)
            }
            Min(x, y) => {
                let (x, y) = (self.index_at(x, lane)?, self.index_at(y, lane)?);
                self.b.ins().smin(x, y)
            }
            Max(x, y) => {
                let (x, y) = (self.index_at(x, lane)?, self.index_at(y, lane)?);
                self.b.ins().smax(x, y)
            }
            FloorDiv(x, y) => self.quotient(x, y, lane)?,
            Mod(x, y) => match self.kernel.indices.as_const(y) {
                Some(n) if n > 0 && n & (n - 1) == 0 => {
                    let x = self.index_at(x, lane)?;
                    self.b.ins().band_imm_s(x, n - 1)
                }
                _ => {
                    let quotient = self.quotient(x, y, lane)?;
                    let (x, y) = (self.index_at(x, lane)?, self.index_at(y, lane)?);
                    let whole = self.b.ins().imul(quotient, y);
                    self.b.ins().isub(x, whole)
                }
            },
        };
        self.indices.insert(key, value);
        Ok(value)
    }

    /// Floored quotient. A divisor below 1 counts as 1: code that is hoisted over a loop of no iterations may meet one.
    fn quotient(&mut self, x: Index, y: Index, lane: usize) -> Result<Value> {
        let lane = if self.index_varies(x) || self.index_varies(y) { lane } else { 0 };
        let key = Key::Quotient(x, y, lane);
        if let Some(&value) = self.indices.known.get(&key) {
            return Ok(value);
        }
        let positive = self.not_negative(x);
        let dividend = self.index_at(x, lane)?;
        let value = match self.kernel.indices.as_const(y) {
            Some(n) if n > 0 && n & (n - 1) == 0 => self.b.ins().sshr_imm_u(dividend, n.trailing_zeros() as i64),
            Some(n) if n > 0 => {
                // Below zero, floor(x / n) is !(!x / n).
                let sign = (!positive).then(|| self.b.ins().sshr_imm_u(dividend, 63));
                let x = sign.map_or(dividend, |sign| self.b.ins().bxor(dividend, sign));
                let quotient = self.divide_by(x, n as u64);
                sign.map_or(quotient, |sign| self.b.ins().bxor(quotient, sign))
            }
            _ => {
                let (y, one) = (self.index_at(y, lane)?, self.int(1));
                let divisor = self.b.ins().smax(y, one);
                if positive {
                    self.b.ins().udiv(dividend, divisor)
                } else {
                    let truncated = self.b.ins().sdiv(dividend, divisor);
                    let whole = self.b.ins().imul(truncated, divisor);
                    let rest = self.b.ins().isub(dividend, whole);
                    let below = self.b.ins().sshr_imm_u(rest, 63);
                    self.b.ins().iadd(truncated, below)
                }
            }
        };
        self.indices.insert(key, value);
        Ok(value)
    }

    /// The quotient of a number below 2^63 by a constant that is no power of two, as a product (Granlund and Montgomery,
    /// "Division by invariant integers using multiplication", 1994).
    fn divide_by(&mut self, x: Value, n: u64) -> Value {
        let log = u64::BITS - (n - 1).leading_zeros();
        let factor = ((1u128 << (63 + log)) / n as u128 + 1) as u64;
        let factor = self.int(factor as i64);
        let high = self.b.ins().umulhi(x, factor);
        self.b.ins().ushr_imm_u(high, log as i64 - 1)
    }

    /// True if the expression is known not to be negative. Extents are not.
    fn not_negative(&self, i: Index) -> bool {
        use IndexNode::*;
        let go = |i| self.not_negative(i);
        match self.kernel.indices.node(i) {
            Const(n) => n >= 0,
            Extent(_) | Iter(_) => true,
            Var(_) => false,
            Add(x, y) | Mul(x, y) | Min(x, y) => go(x) && go(y),
            Max(x, y) => go(x) || go(y),
            FloorDiv(x, _) => go(x),
            Mod(..) => true,
        }
    }

    /// How the expression moves along the lanes loop at hand.
    pub(super) fn stride(&self, i: Index) -> Stride {
        use IndexNode::*;
        use Stride::*;
        if !self.index_varies(i) {
            return Elements(0);
        }
        match self.kernel.indices.node(i) {
            Iter(_) => Elements(1),
            Add(x, y) => match (self.stride(x), self.stride(y)) {
                (Elements(s), Elements(t)) => s.checked_add(t).map_or(Irregular, Elements),
                (Elements(0), other) | (other, Elements(0)) => other,
                _ => Irregular,
            },
            Mul(x, y) => {
                let (x, y) = if self.index_varies(x) { (x, y) } else { (y, x) };
                match (self.stride(x), self.kernel.indices.as_const(y)) {
                    _ if self.index_varies(y) => Irregular,
                    (Elements(s), Some(n)) => s.checked_mul(n).map_or(Irregular, Elements),
                    (Times(e, s), Some(n)) => s.checked_mul(n).map_or(Irregular, |s| Times(e, s)),
                    (Elements(s), None) => Times(y, s),
                    _ => Irregular,
                }
            }
            _ => Irregular,
        }
    }

    /// A varying expression as the i64 vectors of the sub-block at hand.
    pub(super) fn index_vectors(&mut self, i: Index) -> Result<Vecs> {
        let width = self.width();
        let first = self.lanes.as_ref().map_or(0, |l| l.sub * width);
        if let Stride::Elements(s) = self.stride(i) {
            let base = self.index_at(i, 0)?;
            let base = self.b.ins().splat(I64X2, base);
            let mut vecs = Vecs::new();
            for lane in (first..first + width).step_by(2) {
                let offsets = [lane as i64 * s, (lane as i64 + 1) * s];
                let bytes: Vec<u8> = offsets.iter().flat_map(|n| n.to_le_bytes()).collect();
                let constant = self.b.func.dfg.constants.insert(bytes.into());
                let offsets = self.b.ins().vconst(I64X2, constant);
                vecs.push(self.b.ins().iadd(base, offsets));
            }
            return Ok(vecs);
        }
        let mut vecs = Vecs::new();
        for lane in (first..first + width).step_by(2) {
            let (x, y) = (self.index_at(i, lane)?, self.index_at(i, lane + 1)?);
            let x = self.b.ins().scalar_to_vector(I64X2, x);
            vecs.push(self.b.ins().insertlane(x, y, 1));
        }
        Ok(vecs)
    }

    /// Emits what the loop that is about to begin would compute anew each time: the index expressions of its body
    /// whose operands are at hand, and its constants if they are few. Cranelift runs without its own such pass, which
    /// takes a third of the time to compile.
    pub(super) fn hoist(&mut self, body: &Block) -> Result<()> {
        let mut roots = Vec::new();
        let mut constants: SmallVec<[(Type, u64); MAX_CONSTANTS]> = SmallVec::new();
        visit(body, &mut |stmt| match stmt {
            Stmt::Let { expr: Expr::Const(s), .. } => {
                let constant = (register(s.dtype()), register_bits(*s));
                if constants.len() <= MAX_CONSTANTS && !constants.contains(&constant) {
                    constants.push(constant);
                }
            }
            Stmt::Let { expr: Expr::Index(i) | Expr::Load { index: i, .. }, .. } | Stmt::Store { index: i, .. } => {
                roots.push(*i)
            }
            Stmt::Check { bound, .. } => roots.push(*bound),
            Stmt::Loop(l) => roots.push(l.extent),
            Stmt::Let { .. } => {}
        });
        if constants.len() <= MAX_CONSTANTS {
            for (ty, bits) in constants {
                let value = self.bits(ty, bits);
                self.indices.insert(Key::Constant(ty, bits), value);
            }
        }
        let mut seen = HashSet::new();
        for root in roots {
            self.hoist_index(root, &mut seen)?;
        }
        Ok(())
    }

    fn hoist_index(&mut self, i: Index, seen: &mut HashSet<Index>) -> Result<()> {
        use IndexNode::*;
        if !seen.insert(i) {
            return Ok(());
        }
        match self.kernel.indices.node(i) {
            Const(_) | Extent(_) | Iter(_) | Var(_) => Ok(()),
            _ if self.at_hand(i) => self.index(i).map(|_| ()),
            Add(x, y) | Mul(x, y) | Min(x, y) | Max(x, y) | FloorDiv(x, y) | Mod(x, y) => {
                self.hoist_index(x, seen)?;
                self.hoist_index(y, seen)
            }
        }
    }

    /// True if everything that the expression refers to is defined and does not vary.
    fn at_hand(&self, i: Index) -> bool {
        use IndexNode::*;
        if self.index_varies(i) {
            return false;
        }
        match self.kernel.indices.node(i) {
            Const(_) | Extent(_) => true,
            Iter(it) => self.iters.get(it.at()).is_some_and(Option::is_some),
            Var(v) => matches!(self.env.get(v.at()), Some(Some(Val::Uniform { .. } | Val::Known(_)))),
            Add(x, y) | Mul(x, y) | Min(x, y) | Max(x, y) | FloorDiv(x, y) | Mod(x, y) => {
                self.at_hand(x) && self.at_hand(y)
            }
        }
    }
}
