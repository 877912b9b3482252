//! Rows of scratch memory that threads keep in registers: those of which each thread reads what it has itself written.

use ir::kernel::*;
use std::collections::{HashMap, HashSet};

/// Registers that the rows of a thread take, at most.
const MOST: i64 = 64;

/// A row in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    /// Iterations of each lanes loop over it.
    extent: i64,
    /// Elements of one iteration.
    parts: i64,
}

/// The rows of a kernel that are in registers.
#[derive(Debug, Default)]
pub(super) struct Registers {
    rows: HashMap<u32, Row>,
    loops: HashSet<Iter>,
    /// 32-bit registers of a thread.
    pub taken: i64,
}

/// How far an iteration of each loop around reaches, if that is known, and which of them are lanes loops.
type Around = Vec<(Iter, Option<i64>, LoopKind)>;

#[derive(Default)]
struct Found {
    /// Of each row, how its accesses go; none where one is not as it must be.
    rows: HashMap<u32, Option<Row>>,
    /// Rows that a lanes loop touches.
    touched: HashMap<Iter, HashSet<u32>>,
}

impl Registers {
    /// Chooses the rows.
    pub fn of(kernel: &Kernel) -> Registers {
        let mut found = Found::default();
        kernel.nests.iter().for_each(|n| found.block(kernel, &n.body.0, &mut Vec::new()));
        let mut chosen = Registers::default();
        for (s, scratch) in kernel.scratch.iter().enumerate() {
            let Some(Some(row)) = found.rows.get(&(s as u32)) else { continue };
            let words = row.count() * scratch.dtype.size().div_ceil(4) as i64;
            if chosen.taken + words <= MOST {
                chosen.taken += words;
                chosen.rows.insert(s as u32, *row);
            }
        }
        let touches = |rows: &HashSet<u32>| rows.iter().any(|s| chosen.rows.contains_key(s));
        chosen.loops = found.touched.iter().filter(|(_, rows)| touches(rows)).map(|(&l, _)| l).collect();
        chosen
    }

    /// Elements of a row that a thread has, if it has them in registers.
    pub fn count(&self, scratch: u32) -> Option<i64> {
        self.rows.get(&scratch).map(|row| row.count())
    }

    /// Elements of a row in one iteration of a lanes loop.
    pub fn parts(&self, scratch: u32) -> Option<i64> {
        self.rows.get(&scratch).map(|row| row.parts)
    }

    /// True if a lanes loop goes over such rows.
    pub fn unrolls(&self, lanes: Iter) -> bool {
        self.loops.contains(&lanes)
    }
}

impl Row {
    fn count(&self) -> i64 {
        (self.extent + LANES as i64 - 1) / LANES as i64 * self.parts
    }
}

impl Found {
    fn block(&mut self, kernel: &Kernel, block: &[Stmt], around: &mut Around) {
        for stmt in block {
            match stmt {
                Stmt::Let { expr: Expr::Load { memory: Memory::Scratch(s), index, mask }, .. } => {
                    self.access(kernel, *s, *index, mask.is_some(), around);
                }
                Stmt::Store { memory: Memory::Scratch(s), index, mask, .. } => {
                    self.access(kernel, *s, *index, mask.is_some(), around);
                }
                Stmt::Loop(l) => {
                    around.push((l.iter, longest(kernel, l.extent), l.kind));
                    self.block(kernel, &l.body.0, around);
                    around.pop();
                }
                _ => {}
            }
        }
    }

    fn access(&mut self, kernel: &Kernel, s: u32, index: Index, masked: bool, around: &Around) {
        let row = if masked { None } else { row(kernel, index, around) };
        self.rows.entry(s).and_modify(|known| *known = known.filter(|known| row == Some(*known))).or_insert(row);
        if let Some((lanes, ..)) = around.iter().find(|l| l.2 == LoopKind::Lanes) {
            self.touched.entry(*lanes).or_default().insert(s);
        }
    }
}

/// What the extent of a loop is at most, if that is known: a number, or no more than one iteration for each thread.
pub(super) fn longest(kernel: &Kernel, extent: Index) -> Option<i64> {
    let few = |i: Index| kernel.indices.as_const(i).filter(|&n| n <= LANES as i64);
    match kernel.indices.node(extent) {
        IndexNode::Min(a, b) => few(a).or(few(b)),
        _ => kernel.indices.as_const(extent),
    }
}

/// The row that an access goes over: element `i` of a lanes loop, or `i * parts + j` of a loop over parts inside.
fn row(kernel: &Kernel, index: Index, around: &Around) -> Option<Row> {
    let (at, &(lanes, extent, _)) = around.iter().enumerate().find(|(_, l)| l.2 == LoopKind::Lanes)?;
    // A loop around would have the row more than once, which is fine; but it must not be longer than what unrolls.
    let extent = extent.filter(|&n| n > 0)?;
    let is = |i: Index, iter: Iter| kernel.indices.node(i) == IndexNode::Iter(iter);
    if is(index, lanes) {
        return Some(Row { extent, parts: 1 });
    }
    let &[(part, Some(parts), LoopKind::Serial)] = &around[at + 1..] else { return None };
    let scaled = |i: Index| match kernel.indices.node(i) {
        IndexNode::Mul(x, c) => is(x, lanes) && kernel.indices.as_const(c) == Some(parts),
        _ => false,
    };
    match kernel.indices.node(index) {
        IndexNode::Add(a, b) if (scaled(a) && is(b, part)) || (scaled(b) && is(a, part)) => Some(Row { extent, parts }),
        _ => None,
    }
}

/// Bytes of the rows of a task that are not in registers; none if their lengths are not known.
pub(super) fn in_memory(kernel: &Kernel) -> Option<i64> {
    let registers = Registers::of(kernel);
    let rest = kernel.scratch.iter().enumerate().filter(|(s, _)| registers.count(*s as u32).is_none());
    rest.map(|(_, s)| {
        let bytes = kernel.indices.as_const(s.len)?.max(0).checked_mul(s.dtype.size() as i64)?;
        Some(bytes.checked_add(63)? & !63)
    })
    .try_fold(0i64, |total, bytes| total.checked_add(bytes?))
}
