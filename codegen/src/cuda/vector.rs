//! Which accesses of a lanes loop move several elements at once.

use super::emit::defined;
use super::index::stride;
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
}

impl Pack {
    pub fn is_load(&self) -> bool {
        self.var.is_some()
    }
}

/// The packs of a loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Packs {
    packs: Vec<Pack>,
    width: usize,
}

impl Packs {
    /// Iterations that a thread does at once.
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn all(&self) -> impl Iterator<Item = &Pack> {
        self.packs.iter()
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
pub(super) fn plan(kernel: &Kernel, l: &Loop) -> Option<Packs> {
    if !l.accumulators.is_empty() || l.body.0.iter().any(|s| matches!(s, Stmt::Loop(_))) {
        return None;
    }
    let mut inside = HashSet::new();
    defined(&l.body.0, &mut inside);
    let steps = |index: Index| stride(kernel, index, l.iter, &inside) == Some(1);
    let dtype = |memory: Memory| match memory {
        Memory::Param(p) => kernel.params[p as usize].dtype,
        Memory::Scratch(s) => kernel.scratch[s as usize].dtype,
    };
    let mut packs: Vec<Pack> = Vec::new();
    let stored: Vec<(Memory, Index)> = l
        .body
        .0
        .iter()
        .filter_map(|s| match s {
            Stmt::Store { memory, index, .. } => Some((*memory, *index)),
            _ => None,
        })
        .collect();
    for stmt in &l.body.0 {
        match stmt {
            // What is stored as well keeps its place in the order.
            Stmt::Let { var, expr: Expr::Load { memory, index, mask: None } }
                if steps(*index) && stored.iter().all(|s| s.0 != *memory) =>
            {
                packs.push(Pack { var: Some(*var), memory: *memory, index: *index, dtype: dtype(*memory) });
            }
            Stmt::Store { memory, index, mask: None, .. }
                if steps(*index) && stored.iter().filter(|s| s.0 == *memory).count() == 1 && !is_loaded(l, *memory) =>
            {
                packs.push(Pack { var: None, memory: *memory, index: *index, dtype: dtype(*memory) });
            }
            _ => {}
        }
    }
    let width = ACCESS / packs.iter().map(|p| p.dtype.size()).max()?;
    (width > 1).then_some(Packs { packs, width })
}

fn is_loaded(l: &Loop, memory: Memory) -> bool {
    l.body.0.iter().any(|s| matches!(s, Stmt::Let { expr: Expr::Load { memory: m, .. }, .. } if *m == memory))
}
