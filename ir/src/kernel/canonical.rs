//! One numbering for equal kernels, so that they compare equal and print alike.

use super::index::IndexTable;
use super::nesting::MAX_NESTING;
use super::*;
use std::collections::HashMap;

/// What a kernel does, without its name: equal for kernels that differ only in names and numbering.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KernelKey(Kernel);

impl Kernel {
    /// The same kernel with values and iteration variables numbered in order of definition, index expressions in order
    /// of use, and nothing unused. Two kernels of the same text have the same canonical form.
    pub fn canonical(&self) -> Kernel {
        let names = Names::of(self);
        let mut vars = vec![DType::Bool; names.var_count as usize];
        for (dtype, name) in self.vars.iter().zip(&names.vars) {
            if let Some(to) = name {
                vars[*to as usize] = *dtype;
            }
        }
        let iters = names.iters.len() as u32;
        let map = vec![None; self.indices.nodes().len()];
        let mut r = Renumber { names, old: &self.indices, map, indices: IndexTable::default() };
        let scratch = self.scratch.iter().map(|s| Scratch { dtype: s.dtype, len: r.index(s.len) }).collect();
        let nests = self.nests.iter().map(|n| Nest {
            task: r.iter(n.task),
            grid: r.index(n.grid),
            work: r.index(n.work),
            body: r.block(&n.body, 0),
        });
        let nests = nests.collect();
        Kernel {
            name: self.name.clone(),
            params: self.params.clone(),
            extents: self.extents,
            scratch,
            sites: self.sites,
            nests,
            indices: r.indices,
            vars,
            iters,
        }
    }

    /// The identity of the code: equal keys mean kernels that do the same in the same way. The name is left out.
    pub fn key(&self) -> KernelKey {
        KernelKey(Kernel { name: String::new(), ..self.canonical() })
    }
}

/// The number under which each value and iteration variable is printed: order of definition.
pub(super) struct Names {
    pub vars: Vec<Option<u32>>,
    pub iters: HashMap<Iter, u32>,
    pub var_count: u32,
}

impl Names {
    pub fn of(kernel: &Kernel) -> Names {
        let mut names = Names { vars: vec![None; kernel.vars.len()], iters: HashMap::new(), var_count: 0 };
        for nest in &kernel.nests {
            names.define_iter(nest.task);
            names.block(&nest.body, 0);
        }
        names
    }
    fn block(&mut self, block: &Block, depth: usize) {
        for stmt in &block.0 {
            match stmt {
                Stmt::Let { var, .. } => self.define_var(*var),
                Stmt::Loop(l) => {
                    self.define_iter(l.iter);
                    if depth < MAX_NESTING {
                        self.block(&l.body, depth + 1);
                    }
                    l.accumulators.iter().flat_map(|a| &a.results).for_each(|&v| self.define_var(v));
                }
                Stmt::Store { .. } | Stmt::Check { .. } => {}
            }
        }
    }
    fn define_var(&mut self, v: Var) {
        if let Some(name @ None) = self.vars.get_mut(v.at()) {
            *name = Some(self.var_count);
            self.var_count += 1;
        }
    }
    fn define_iter(&mut self, i: Iter) {
        let next = self.iters.len() as u32;
        self.iters.entry(i).or_insert(next);
    }
}

struct Renumber<'a> {
    names: Names,
    old: &'a IndexTable,
    map: Vec<Option<Index>>,
    indices: IndexTable,
}

/// What stands for an entity that the kernel does not define; the verifier refuses it.
const NOWHERE: u32 = u32::MAX;

impl Renumber<'_> {
    fn var(&self, v: Var) -> Var {
        Var(self.names.vars.get(v.at()).copied().flatten().unwrap_or(NOWHERE))
    }
    fn iter(&self, i: Iter) -> Iter {
        Iter(self.names.iters.get(&i).copied().unwrap_or(NOWHERE))
    }
    // Not recursive: the table of a kernel that was not verified may nest deeper than the stack.
    fn index(&mut self, root: Index) -> Index {
        let mut todo = vec![root];
        while let Some(&i) = todo.last() {
            if self.mapped(i).is_some() {
                todo.pop();
                continue;
            }
            let Some(node) = self.old.get(i) else { return Index(NOWHERE) };
            let node = match (node, node.operands()) {
                (_, Some([a, b])) if a >= i || b >= i => return Index(NOWHERE),
                (_, Some([a, b])) => match (self.mapped(a), self.mapped(b)) {
                    (Some(a), Some(b)) => node.with_operands([a, b]),
                    (Some(_), None) => {
                        todo.push(b);
                        continue;
                    }
                    (None, _) => {
                        todo.push(a);
                        continue;
                    }
                },
                (IndexNode::Iter(i), None) => IndexNode::Iter(self.iter(i)),
                (IndexNode::Var(v), None) => IndexNode::Var(self.var(v)),
                (_, None) => node,
            };
            self.map[i.0 as usize] = Some(self.indices.intern(node));
        }
        self.mapped(root).unwrap_or(Index(NOWHERE))
    }
    fn mapped(&self, i: Index) -> Option<Index> {
        self.map.get(i.0 as usize).copied().flatten()
    }
    fn vars(&self, vars: &[Var]) -> SmallVec<[Var; 2]> {
        vars.iter().map(|&v| self.var(v)).collect()
    }
    fn block(&mut self, block: &Block, depth: usize) -> Block {
        Block(block.0.iter().map(|s| self.stmt(s, depth)).collect())
    }
    fn stmt(&mut self, stmt: &Stmt, depth: usize) -> Stmt {
        match stmt {
            Stmt::Let { var, expr } => Stmt::Let { var: self.var(*var), expr: self.expr(expr) },
            Stmt::Store { memory, index, value, mask } => Stmt::Store {
                memory: *memory,
                index: self.index(*index),
                value: self.var(*value),
                mask: mask.map(|m| self.var(m)),
            },
            Stmt::Check { site, index, bound, mask } => Stmt::Check {
                site: *site,
                index: self.var(*index),
                bound: self.index(*bound),
                mask: mask.map(|m| self.var(m)),
            },
            Stmt::Loop(l) => Stmt::Loop(Loop {
                iter: self.iter(l.iter),
                extent: self.index(l.extent),
                kind: l.kind,
                body: if depth < MAX_NESTING { self.block(&l.body, depth + 1) } else { l.body.clone() },
                accumulators: (l.accumulators.iter())
                    .map(|a| Accumulator {
                        combine: a.combine,
                        inputs: self.vars(&a.inputs),
                        results: self.vars(&a.results),
                    })
                    .collect(),
            }),
        }
    }
    fn expr(&mut self, expr: &Expr) -> Expr {
        match *expr {
            Expr::Const(s) => Expr::Const(s),
            Expr::Index(i) => Expr::Index(self.index(i)),
            Expr::Unary(op, a) => Expr::Unary(op, self.var(a)),
            Expr::Binary(op, a, b) => Expr::Binary(op, self.var(a), self.var(b)),
            Expr::Compare(op, a, b) => Expr::Compare(op, self.var(a), self.var(b)),
            Expr::Select(c, a, b) => Expr::Select(self.var(c), self.var(a), self.var(b)),
            Expr::Convert(a, to) => Expr::Convert(self.var(a), to),
            Expr::Bitcast(a, to) => Expr::Bitcast(self.var(a), to),
            Expr::Load { memory, index, mask } => {
                Expr::Load { memory, index: self.index(index), mask: mask.map(|(m, s)| (self.var(m), s)) }
            }
            Expr::Draw { draw, key, index, parameter } => Expr::Draw {
                draw,
                key: key.map(|k| self.var(k)),
                index: self.var(index),
                parameter: parameter.map(|p| self.var(p)),
            },
        }
    }
}
