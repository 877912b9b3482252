//! The code of nodes: what the pull graph of a nest becomes in its kernel, loop by loop.

use super::{Condition, Kind, MaskId, NodeId, Puller, SiteInfo, extent_argument};
use crate::lower::LowerError;
use ir::dim::Atom;
use ir::graph::Definition;
use ir::kernel::{BinaryOp, CompareOp, Index, KernelBuilder, Var};
use ir::ops::index::IndexMode;
use ir::{DType, Dim, Scalar, Symbol};
use smallvec::SmallVec;
use std::collections::HashMap;

impl Puller<'_> {
    /// Emits those nodes of an order that belong to a loop depth and have no code yet.
    pub fn emit_level(&mut self, order: &[NodeId], level: u32) -> Result<(), LowerError> {
        self.emit_gather_indices(order, level)?;
        self.emit_nodes(order, level)
    }

    /// Says how many loops are open around what is emitted next.
    pub fn set_depth(&mut self, depth: u32) {
        self.depth = depth;
    }

    fn emit_nodes(&mut self, order: &[NodeId], level: u32) -> Result<(), LowerError> {
        for &id in order {
            if self.nodes[id.at()].level == Some(level) && !self.vars.contains_key(&id) {
                let var = self.emit(id)?;
                self.vars.insert(id, var);
            }
        }
        Ok(())
    }

    /// Drops the code of nodes deeper than a loop depth, when their loop closes.
    pub fn close_level(&mut self, level: u32) {
        self.depth = level.saturating_sub(1);
        let nodes = &self.nodes;
        self.vars.retain(|id, _| nodes[id.at()].level.unwrap_or(0) < level);
        self.mask_vars.retain(|_, (_, depth)| *depth < level);
        let levels = &self.levels;
        let replaced = &self.replaced;
        // Index expressions are pure; those over loop variables that ended must not be looked up again.
        self.lowered.retain(|d, _| {
            let d = d.substitute(&|s| replaced.get(s).cloned());
            d.symbols().iter().all(|s| levels.get(s).is_none_or(|&l| l < level))
        });
        self.bound.retain(|s, _| !s.name().starts_with("$g") || levels.get(s).is_none_or(|&l| l < level));
    }

    /// The code of a node, which must have been emitted.
    pub fn var(&self, id: NodeId) -> Var {
        self.vars[&id]
    }

    fn emit(&mut self, id: NodeId) -> Result<Var, LowerError> {
        let node = &self.nodes[id.at()];
        let (v, mask) = (node.value, node.mask);
        let children: SmallVec<[NodeId; 3]> = node.children.clone();
        let dtype = self.graph.ty(v).dtype;
        match &self.nodes[id.at()].kind {
            Kind::Load(memory, linear) => {
                let (memory, linear) = (*memory, linear.clone());
                let at = self.index(&linear)?;
                if self.masks[mask.0 as usize].is_empty() {
                    return Ok(self.k.load(memory, at));
                }
                let m = self.mask_var(mask)?;
                Ok(self.k.load_masked(memory, at, m, Scalar::zero(dtype)))
            }
            Kind::Apply => {
                let Definition::Result(op, _) = self.graph.value(v).def else {
                    return Err(LowerError::Bug("a parameter is no operation".into()));
                };
                let operands: SmallVec<[Var; 3]> = children.iter().map(|c| self.vars[c]).collect();
                Ok(self.graph.op(op).primitive.scalar(self.k, &operands))
            }
            Kind::Generate(index) => {
                let index = index.clone();
                let Definition::Result(op, _) = self.graph.value(v).def else {
                    return Err(LowerError::Bug("a parameter generates nothing".into()));
                };
                // Indices are lowered first, since the op's rule holds the builder.
                let primitive = &self.graph.op(op).primitive;
                let mut wanted: Vec<Dim> = Vec::new();
                let mut failed = None;
                {
                    let mut probe = KernelBuilder::new("");
                    primitive.generate(&mut probe, &index, &mut |k, d| {
                        wanted.push(d.clone());
                        k.constant(Scalar::I64(0))
                    });
                }
                let mut values = HashMap::new();
                for d in wanted {
                    match self.index(&d) {
                        Ok(i) => {
                            let var = self.k.index_value(i);
                            values.insert(d, var);
                        }
                        Err(e) => failed = Some(e),
                    }
                }
                if let Some(e) = failed {
                    return Err(e);
                }
                Ok(primitive.generate(self.k, &index, &mut |_, d| values[d]))
            }
            Kind::Pieces(pieces, fill) => {
                let (pieces, fill) = (pieces.clone(), *fill);
                let mut result = fill.map(|s| self.k.constant(s));
                for (condition, child) in pieces.into_iter().rev() {
                    let element = self.vars[&child];
                    result = Some(match result {
                        Some(rest) if !self.masks[condition.0 as usize].is_empty() => {
                            let m = self.mask_var(condition)?;
                            self.k.select(m, element, rest)
                        }
                        _ => element,
                    });
                }
                result.ok_or_else(|| LowerError::Bug("a view without pieces".into()))
            }
            Kind::Gather { extent, mode, .. } => {
                let (extent, mode) = (extent.clone(), *mode);
                let element = self.vars[&children[1]];
                if mode != IndexMode::Fill {
                    return Ok(element);
                }
                let given = self.k.position(self.vars[&children[0]]);
                let inside = self.in_range(given, &extent)?;
                let zero = self.k.constant(Scalar::zero(dtype));
                Ok(self.k.select(inside, element, zero))
            }
            Kind::Reduced(index) => match self.reduced.get(&v) {
                Some((at, var)) if at == index => Ok(*var),
                _ => Err(LowerError::Bug("a reduction is read where it is not computed".into())),
            },
        }
    }

    fn in_range(&mut self, i: Var, extent: &Dim) -> Result<Var, LowerError> {
        let zero = self.k.constant(Scalar::I64(0));
        let bound = self.index(extent)?;
        let bound = self.k.index_value(bound);
        let low = self.k.compare(CompareOp::Ge, i, zero);
        let high = self.k.compare(CompareOp::Lt, i, bound);
        Ok(self.k.binary(BinaryOp::And, low, high))
    }

    /// Emits the clamped index of each gather at a depth, checks included, before the elements that use it.
    fn emit_gather_indices(&mut self, order: &[NodeId], level: u32) -> Result<(), LowerError> {
        for id in self.gathers(order) {
            let Kind::Gather { index, extent, mode } = &self.nodes[id.at()].kind else { continue };
            let (index, extent, mode) = (index.clone(), extent.clone(), *mode);
            let first = self.nodes[id.at()].children[0];
            if self.nodes[first.at()].level != Some(level) || self.bound.contains_key(&index) {
                continue;
            }
            let needed = self.order(&[first]);
            self.emit_nodes(&needed, level)?;
            // A checked u64 keeps its bits, which are out of range as i64 too where the number is, for the error to name.
            let given = match mode {
                IndexMode::Error => self.k.convert(self.vars[&first], DType::I64),
                IndexMode::Clamp | IndexMode::Fill => self.k.position(self.vars[&first]),
            };
            if mode == IndexMode::Error {
                let site = self.site(id, &extent)?;
                let bound = self.index(&extent)?;
                let mask = self.nodes[id.at()].mask;
                let mask = match self.masks[mask.0 as usize].is_empty() {
                    true => None,
                    false => Some(self.mask_var(mask)?),
                };
                self.k.check(site, given, bound, mask);
            }
            let last = self.index(&(&extent - 1))?;
            let last = self.k.index_value(last);
            let zero = self.k.constant(Scalar::I64(0));
            let low = self.k.binary(BinaryOp::Max, given, zero);
            let clamped = self.k.binary(BinaryOp::Min, low, last);
            let clamped = self.k.index_of(clamped);
            self.bound.insert(index, clamped);
        }
        Ok(())
    }

    /// A check site of the kernel for a gather.
    fn site(&mut self, id: NodeId, extent: &Dim) -> Result<u32, LowerError> {
        let Definition::Result(op, _) = self.graph.value(self.nodes[id.at()].value).def else {
            return Err(LowerError::Bug("a parameter gathers nothing".into()));
        };
        let at = self.graph.op(op).primitive.indexing().expect("a gather says what it indexes");
        self.sites.push(SiteInfo { op, axis: at.axis, extent: extent.clone() });
        Ok(self.k.site())
    }

    fn mask_var(&mut self, m: MaskId) -> Result<Var, LowerError> {
        if let Some(&(v, _)) = self.mask_vars.get(&m) {
            return Ok(v);
        }
        let mut all: Option<Var> = None;
        for c in self.masks[m.0 as usize].clone() {
            let zero = self.k.constant(Scalar::I64(0));
            let (d, direction) = match c {
                Condition::NonNegative(d) => (self.index(&d)?, CompareOp::Ge),
                Condition::Divisible(a, b) => {
                    let (a, b) = (self.index(&a)?, self.index(&b)?);
                    (self.k.indices.modulo(a, b), CompareOp::Eq)
                }
            };
            let d = self.k.index_value(d);
            let holds = self.k.compare(direction, d, zero);
            all = Some(match all {
                Some(rest) => self.k.binary(BinaryOp::And, rest, holds),
                None => holds,
            });
        }
        let var = match all {
            Some(v) => v,
            None => self.k.constant(Scalar::Bool(true)),
        };
        self.mask_vars.insert(m, (var, self.depth));
        Ok(var)
    }

    /// Says what the kernel index of an expression is, in variables that are not merged away.
    pub fn alias(&mut self, d: &Dim, index: Index) {
        self.lowered.insert(d.clone(), index);
    }

    /// The kernel index of an expression.
    pub fn index(&mut self, d: &Dim) -> Result<Index, LowerError> {
        if let Some(n) = d.known() {
            return Ok(self.k.index(n));
        }
        if let Some(&i) = self.lowered.get(d) {
            return Ok(i);
        }
        let replaced = d.substitute(&|s| self.replaced.get(s).cloned());
        if let Some(&i) = self.lowered.get(&replaced) {
            self.lowered.insert(d.clone(), i);
            return Ok(i);
        }
        let mut sum = self.k.index(0);
        for t in replaced.terms() {
            let mut product = self.k.index(1);
            for a in &t.atoms {
                let factor = match a {
                    Atom::Symbol(s) => self.symbol(s)?,
                    Atom::FloorDiv(ab) => {
                        let (a, b) = (self.index(&ab.0)?, self.index(&ab.1)?);
                        self.k.indices.floor_div(a, b)
                    }
                    Atom::Mod(ab) => {
                        let (a, b) = (self.index(&ab.0)?, self.index(&ab.1)?);
                        self.k.indices.modulo(a, b)
                    }
                };
                product = self.k.indices.mul(product, factor);
            }
            let coefficient = self.k.index(t.coefficient);
            let term = self.k.indices.mul(product, coefficient);
            sum = self.k.indices.add(sum, term);
        }
        self.lowered.insert(d.clone(), sum);
        Ok(sum)
    }

    fn symbol(&mut self, s: &Symbol) -> Result<Index, LowerError> {
        if let Some(&i) = self.bound.get(s) {
            return Ok(i);
        }
        if s.name().starts_with('$') {
            return Err(LowerError::Bug(format!("iteration variable {s} is used outside its loop")));
        }
        Ok(extent_argument(self.k, self.extents, s))
    }
}
