//! Which accesses of a lanes loop move several elements at once.

use super::emit::defined;
use super::index::{divisor, stride};
use super::rows::Registers;
use ir::DType;
use ir::kernel::*;
use std::collections::HashSet;

/// Bytes that one access moves at most.
const ACCESS: usize = 16;

/// Loads or stores of neighbouring elements by neighbouring iterations.
#[derive(Clone, Debug)]
pub(super) struct Pack {
    /// What is loaded; none for a store.
    var: Option<Var>,
    pub memory: Memory,
    pub index: Index,
    pub dtype: DType,
    /// Elements.
    pub width: usize,
}

impl Pack {
    pub fn is_load(&self) -> bool {
        self.var.is_some()
    }

    /// Bytes of the access.
    pub fn bytes(&self) -> usize {
        self.width * self.dtype.size()
    }

    /// The type of what is moved.
    pub fn name(&self) -> String {
        format!("tw_pack<{}, {}>", self.dtype.name(), self.width)
    }
}

/// The packs of a loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Packs {
    packs: Vec<Pack>,
    width: usize,
    /// How an element of a pack is called.
    part: String,
}

impl Packs {
    /// Iterations that a thread does at once.
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn all(&self) -> impl Iterator<Item = &Pack> {
        self.packs.iter()
    }

    /// What stands behind the name of a pack for the element of an iteration.
    pub fn part(&self) -> &str {
        &self.part
    }

    /// The pack of a load.
    pub fn loads(&self, var: Var) -> Option<usize> {
        self.packs.iter().position(|p| p.var == Some(var))
    }

    /// The pack of a store.
    pub fn stores(&self, memory: Memory, index: Index) -> Option<usize> {
        self.packs.iter().position(|p| p.var.is_none() && p.memory == memory && p.index == index)
    }
}

/// The packs of a lanes loop, if there are any. A loop with accumulators has none: each iteration belongs to its thread.
pub(super) fn plan(kernel: &Kernel, registers: &Registers, l: &Loop) -> Option<Packs> {
    if !l.accumulators.is_empty() || l.body.0.iter().any(|s| matches!(s, Stmt::Loop(_))) {
        return None;
    }
    let mut packs = neighbours(kernel, registers, l);
    let width = ACCESS / packs.iter().map(|p| p.dtype.size()).max()?;
    packs.iter_mut().for_each(|p| p.width = width);
    (width > 1).then(|| Packs { packs, width, part: "[turn].at[part]".into() })
}

/// The packs of a loop of so many iterations that one thread does, if there are any: those that begin at a multiple of
/// their length.
pub(super) fn parts(kernel: &Kernel, registers: &Registers, l: &Loop, count: i64) -> Option<Packs> {
    let mut packs = neighbours(kernel, registers, l);
    packs.retain(|p| p.dtype.size() * count as usize <= ACCESS && count & (count - 1) == 0);
    packs.retain(|p| divisor(kernel, p.index, l.iter) % count == 0);
    packs.iter_mut().for_each(|p| p.width = count as usize);
    let part = format!(".at[n{}]", l.iter.0);
    (!packs.is_empty()).then_some(Packs { packs, width: count as usize, part })
}

/// Accesses that move by one element with each iteration, of memories that a pack may move.
fn neighbours(kernel: &Kernel, registers: &Registers, l: &Loop) -> Vec<Pack> {
    let mut inside = HashSet::new();
    defined(&l.body.0, &mut inside);
    let steps = |index: Index| stride(kernel, index, l.iter, &inside) == Some(1);
    let dtype = |memory: Memory| match memory {
        Memory::Param(p) => kernel.params[p as usize].dtype,
        Memory::Scratch(s) => kernel.scratch[s as usize].dtype,
    };
    let pack = |var, memory, index| Pack { var, memory, index, dtype: dtype(memory), width: 1 };
    let stored: Vec<(Memory, Index)> = l
        .body
        .0
        .iter()
        .filter_map(|s| match s {
            Stmt::Store { memory, index, .. } => Some((*memory, *index)),
            _ => None,
        })
        .collect();
    let mut packs: Vec<Pack> = Vec::new();
    for stmt in &l.body.0 {
        match stmt {
            // What is stored as well keeps its place in the order.
            Stmt::Let { var, expr: Expr::Load { memory, index, mask: None } }
                if steps(*index) && stored.iter().all(|s| s.0 != *memory) =>
            {
                packs.push(pack(Some(*var), *memory, *index));
            }
            Stmt::Store { memory, index, mask: None, .. }
                if steps(*index) && stored.iter().filter(|s| s.0 == *memory).count() == 1 && !is_loaded(l, *memory) =>
            {
                packs.push(pack(None, *memory, *index));
            }
            _ => {}
        }
    }
    packs.retain(|p| !matches!(p.memory, Memory::Scratch(s) if registers.count(s).is_some()));
    packs
}

fn is_loaded(l: &Loop, memory: Memory) -> bool {
    l.body.0.iter().any(|s| matches!(s, Stmt::Let { expr: Expr::Load { memory: m, .. }, .. } if *m == memory))
}
