//! Pulling values: from "this value at this index" to the scalar code that computes it.
//!
//! A fused region is ordinary IR. Code for one of its values at an index is found backwards: a pointwise op asks for
//! its operands at the same index, a view at a mapped index, a gather at an index that is itself a value. Each distinct
//! (value, index, mask) becomes one [`Node`]; nodes are expanded and ordered with explicit stacks, since chains of ops
//! can be long.

mod code;
mod levels;
mod line;

use super::LowerError;
use ir::dim::Atom;
use ir::graph::Definition;
use ir::kernel::{Access, Index, IndexNode, KernelBuilder, Memory, Var};
use ir::ops::index::IndexMode;
use ir::{DType, Dim, Graph, Lowering, Ranges, Scalar, Symbol, Value};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;

/// An index, one expression per axis.
pub(super) type IndexVec = SmallVec<[Dim; 4]>;

/// A demanded element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct NodeId(u32);

impl NodeId {
    fn at(self) -> usize {
        self.0 as usize
    }
}

/// A condition under which memory may be touched.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Condition {
    NonNegative(Dim),
    Divisible(Dim, Dim),
}

#[derive(Debug)]
enum Kind {
    /// An element of a buffer or a scratch row.
    Load(Memory, Dim),
    /// A pointwise op on the children.
    Apply,
    /// An op without operands at this index.
    Generate(IndexVec),
    /// Children under conditions, in order; the last resort is the fill value.
    Pieces(SmallVec<[(MaskId, NodeId); 1]>, Option<Scalar>),
    /// Children: the index value, the element there.
    Gather { index: Symbol, extent: Dim, mode: IndexMode },
    /// Computed by a loop before, at that index.
    Reduced(IndexVec),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct MaskId(u32);

#[derive(Debug)]
struct Node {
    value: Value,
    kind: Kind,
    children: SmallVec<[NodeId; 3]>,
    mask: MaskId,
    level: Option<u32>,
}

/// A check site of the kernel.
pub(super) struct SiteInfo {
    pub op: ir::Op,
    pub axis: usize,
    pub extent: Dim,
}

/// Where the values of a region that come from outside are.
pub(super) struct Buffers {
    /// Memory of each region parameter that is read, and of what else is not to be computed.
    pub params: HashMap<Value, Memory>,
}

/// The pull graph of one nest.
pub(super) struct Puller<'a> {
    pub graph: &'a Graph,
    pub k: &'a mut KernelBuilder,
    pub ranges: Ranges,
    pub buffers: &'a Buffers,
    pub extents: &'a mut Vec<Symbol>,
    pub sites: &'a mut Vec<SiteInfo>,
    /// Values that are read back from a scratch row at the canonical index, with the linear index there.
    pub cached: HashMap<Value, (Memory, Dim)>,
    /// The index at which cached values may be read back.
    pub canonical: IndexVec,
    nodes: Vec<Node>,
    index_ids: HashMap<IndexVec, u32>,
    known: HashMap<(Value, u32, MaskId), NodeId>,
    masks: Vec<Vec<Condition>>,
    mask_ids: HashMap<Vec<Condition>, MaskId>,
    /// Loop depth of each iteration variable; 0 is the task.
    levels: HashMap<Symbol, u32>,
    bound: HashMap<Symbol, Index>,
    replaced: HashMap<Symbol, Dim>,
    vars: HashMap<NodeId, Var>,
    /// Results of reductions, with the index at which they were computed.
    pub reduced: HashMap<Value, (IndexVec, Var)>,
    /// Masks with the loop depth at which they were computed.
    mask_vars: HashMap<MaskId, (Var, u32)>,
    depth: u32,
    lowered: HashMap<Dim, Index>,
    gather_count: u32,
}

impl<'a> Puller<'a> {
    pub fn new(
        graph: &'a Graph,
        k: &'a mut KernelBuilder,
        buffers: &'a Buffers,
        extents: &'a mut Vec<Symbol>,
        sites: &'a mut Vec<SiteInfo>,
    ) -> Self {
        let mut ranges = Ranges::new();
        for s in &graph.symbols {
            ranges.declare_minimum(s.symbol.clone(), s.min);
        }
        Puller {
            graph,
            k,
            ranges,
            buffers,
            extents,
            sites,
            cached: HashMap::new(),
            canonical: smallvec![],
            nodes: Vec::new(),
            index_ids: HashMap::new(),
            known: HashMap::new(),
            masks: vec![Vec::new()],
            mask_ids: HashMap::from([(Vec::new(), MaskId(0))]),
            levels: HashMap::new(),
            bound: HashMap::new(),
            replaced: HashMap::new(),
            vars: HashMap::new(),
            reduced: HashMap::new(),
            mask_vars: HashMap::new(),
            depth: 0,
            lowered: HashMap::new(),
            gather_count: 0,
        }
    }

    /// Declares an iteration variable before anything is demanded.
    pub fn declare(&mut self, variable: &Symbol, extent: &Dim) {
        self.ranges.declare(variable.clone(), extent.clone());
    }

    /// Says at which loop depth a variable lives, and what it is there.
    pub fn bind(&mut self, variable: &Symbol, index: Index) {
        self.bound.insert(variable.clone(), index);
    }

    /// Sets the loop depth of a variable, before levels are computed.
    pub fn set_level(&mut self, variable: &Symbol, level: u32) {
        self.levels.insert(variable.clone(), level);
    }

    /// Replaces a variable by an expression in every index from now on (merged axes).
    pub fn replace(&mut self, variable: &Symbol, by: Dim) {
        self.replaced.insert(variable.clone(), by);
    }

    /// Demands a value at an index and expands everything it needs.
    pub fn demand(&mut self, v: Value, index: IndexVec) -> Result<NodeId, LowerError> {
        let mut todo = Vec::new();
        let root = self.node(v, index, MaskId(0), &mut todo)?;
        while let Some((id, index)) = todo.pop() {
            self.expand(id, index, &mut todo)?;
        }
        Ok(root)
    }

    fn node(
        &mut self,
        v: Value,
        index: IndexVec,
        mask: MaskId,
        todo: &mut Vec<(NodeId, IndexVec)>,
    ) -> Result<NodeId, LowerError> {
        let next = self.index_ids.len() as u32;
        let index_id = *self.index_ids.entry(index.clone()).or_insert(next);
        // A cached value gets a node of its own, so that the pass that fills the row keeps the computing one.
        if let Some(&id) = self.known.get(&(v, index_id, mask)) {
            return Ok(id);
        }
        let id = NodeId(self.nodes.len() as u32);
        if id.0 >= 400_000 {
            return Err(LowerError::TooLarge("a fused group expands to more than 400,000 scalar operations".into()));
        }
        self.known.insert((v, index_id, mask), id);
        self.nodes.push(Node { value: v, kind: Kind::Apply, children: smallvec![], mask, level: None });
        todo.push((id, index));
        Ok(id)
    }

    /// Forgets what cached values were expanded to, so that later demands read them from their rows.
    pub fn use_cache(&mut self) {
        self.known.clear();
    }

    fn mask(&mut self, base: MaskId, more: impl IntoIterator<Item = Condition>) -> MaskId {
        let mut all = self.masks[base.0 as usize].clone();
        for c in more {
            if !all.contains(&c) {
                all.push(c);
            }
        }
        let next = MaskId(self.masks.len() as u32);
        let id = *self.mask_ids.entry(all.clone()).or_insert(next);
        if id == next {
            self.masks.push(all);
        }
        id
    }

    fn linear(&self, v: Value, index: &[Dim]) -> Dim {
        let strides = self.graph.ty(v).shape.strides();
        index.iter().zip(strides).fold(Dim::from(0), |sum, (i, s)| sum + i * s)
    }

    fn expand(&mut self, id: NodeId, index: IndexVec, todo: &mut Vec<(NodeId, IndexVec)>) -> Result<(), LowerError> {
        let (v, mask) = (self.nodes[id.at()].value, self.nodes[id.at()].mask);
        if let Some((memory, linear)) = self.cached.get(&v)
            && index == self.canonical
        {
            self.nodes[id.at()].kind = Kind::Load(*memory, linear.clone());
            return Ok(());
        }
        if self.graph.ty(v).shape.iter().any(|d| d.is(0)) {
            // There is no element; a load out of a loop that never runs would read past the end.
            self.nodes[id.at()].kind = Kind::Pieces(smallvec![], Some(Scalar::zero(self.graph.ty(v).dtype)));
            return Ok(());
        }
        if let Some(&memory) = self.buffers.params.get(&v) {
            self.nodes[id.at()].kind = Kind::Load(memory, self.linear(v, &index));
            return Ok(());
        }
        let Definition::Result(op, _) = self.graph.value(v).def else {
            return Err(LowerError::Bug("a parameter without memory".into()));
        };
        let graph = self.graph;
        let data = graph.op(op);
        match data.primitive.lowering() {
            Lowering::Pointwise => {
                for &operand in &data.operands {
                    let child = self.node(operand, index.clone(), mask, todo)?;
                    self.nodes[id.at()].children.push(child);
                }
            }
            Lowering::Generate => self.nodes[id.at()].kind = Kind::Generate(index),
            Lowering::Constant => match data.primitive.splat() {
                Some(s) => self.nodes[id.at()].kind = Kind::Pieces(smallvec![], Some(s)),
                None => return Err(LowerError::Bug("a dense constant inside a fused group".into())),
            },
            Lowering::View => {
                let types: SmallVec<[&ir::Type; 4]> = data.operands.iter().map(|&v| graph.ty(v)).collect();
                let view = data.primitive.view(&types, graph.ty(v), &index, &self.ranges);
                let mut pieces: SmallVec<[(MaskId, NodeId); 1]> = SmallVec::new();
                // Inside a piece of a concatenation, what earlier pieces cover is out of bounds too.
                let mut earlier: Vec<Dim> = Vec::new();
                for piece in view.pieces {
                    let own: Vec<Condition> = piece
                        .non_negative
                        .iter()
                        .cloned()
                        .map(Condition::NonNegative)
                        .chain(piece.divisible.into_iter().map(|(a, b)| Condition::Divisible(a, b)))
                        .collect();
                    let condition = self.mask(MaskId(0), own.iter().cloned());
                    let before = earlier.iter().cloned().map(Condition::NonNegative);
                    let inner = self.mask(mask, own.into_iter().chain(before));
                    let child = self.node(data.operands[piece.operand], piece.index, inner, todo)?;
                    pieces.push((condition, child));
                    for covered in piece.non_negative {
                        let outside = Dim::from(-1) - covered;
                        // To be past this piece is to be past those before it.
                        earlier.retain(|e| !self.ranges.is_non_negative(&(e - &outside)));
                        earlier.push(outside);
                    }
                }
                self.nodes[id.at()].children = pieces.iter().map(|&(_, c)| c).collect();
                self.nodes[id.at()].kind = Kind::Pieces(pieces, view.fill);
            }
            Lowering::Gather => {
                let indexing = data.primitive.indexing().expect("a gather says what it indexes");
                let (operand, indices) = (data.operands[0], data.operands[1]);
                let index_axes = graph.ty(indices).rank() - indexing.batch;
                let mut where_: IndexVec = index[..indexing.batch].into();
                where_.extend(index[indexing.axis..indexing.axis + index_axes].iter().cloned());
                let extent = graph.ty(operand).shape[indexing.axis].clone();
                let symbol = Symbol::new(&format!("$g{}", self.gather_count));
                self.gather_count += 1;
                self.ranges.declare(symbol.clone(), extent.clone());
                let mut read: IndexVec = index[..indexing.axis].into();
                read.push(Dim::from(Atom::Symbol(symbol.clone())));
                read.extend(index[indexing.axis + index_axes..].iter().cloned());
                let first = self.node(indices, where_, mask, todo)?;
                // An empty axis has no element to read, whatever the clamped index.
                let guard = if extent.known().is_some_and(|n| n > 0) {
                    mask
                } else {
                    self.mask(mask, [Condition::NonNegative(&extent - 1)])
                };
                let second = self.node(operand, read, guard, todo)?;
                let node = &mut self.nodes[id.at()];
                node.children = smallvec![first, second];
                node.kind = Kind::Gather { index: symbol, extent, mode: indexing.mode };
            }
            Lowering::Reduce(_) => {
                // An axis of one element is read at 0, whatever variable says so.
                let extents = graph.ty(v).shape.iter();
                let at = index.into_iter().zip(extents).map(|(i, d)| if d.is(1) { Dim::from(0) } else { i });
                self.nodes[id.at()].kind = Kind::Reduced(at.collect());
            }
            other => return Err(LowerError::Bug(format!("{other:?} inside a fused group"))),
        }
        Ok(())
    }

    /// True if a parameter is read, unmasked, at this linear index alone.
    pub fn loads_only_at(&self, param: Value, target: &Dim) -> bool {
        let mut loads = self.nodes.iter().filter(|n| n.value == param).peekable();
        loads.peek().is_some()
            && loads.all(|n| n.mask == MaskId(0) && matches!(&n.kind, Kind::Load(_, linear) if linear == target))
    }

    /// The parameters that these nodes read.
    pub fn params_of(&self, nodes: &[NodeId]) -> impl Iterator<Item = Value> {
        let values = nodes.iter().map(|id| self.nodes[id.at()].value);
        values.filter(|&v| matches!(self.graph.value(v).def, Definition::Param(..)))
    }

    /// Every index expression in the nodes, for deciding which axes merge.
    pub fn polynomials(&self) -> Vec<Dim> {
        let mut all = Vec::new();
        for n in &self.nodes {
            match &n.kind {
                Kind::Load(_, linear) => all.push(linear.clone()),
                Kind::Generate(_) => {
                    let Definition::Result(op, _) = self.graph.value(n.value).def else { continue };
                    // Only a generator that looks at its index ties the axes down.
                    if self.graph.op(op).primitive.splat().is_none()
                        && let Kind::Generate(index) = &n.kind
                    {
                        all.extend(index.iter().cloned());
                    }
                }
                _ => {}
            }
        }
        for c in self.masks.iter().flatten() {
            match c {
                Condition::NonNegative(d) => all.push(d.clone()),
                Condition::Divisible(a, b) => all.extend([a.clone(), b.clone()]),
            }
        }
        all
    }

    /// The expressions that conditions of nodes ask to be at least 0.
    pub fn conditions(&self) -> Vec<Dim> {
        let mut all: Vec<Dim> = Vec::new();
        for c in self.masks.iter().flatten() {
            if let Condition::NonNegative(d) = c
                && !all.contains(d)
            {
                all.push(d.clone());
            }
        }
        all
    }

    /// True if a node comes from memory, other than that of the task.
    pub fn is_loaded(&self, id: NodeId) -> bool {
        let from_memory = |id: &NodeId| matches!(self.nodes[id.at()].kind, Kind::Load(Memory::Param(_), _));
        self.order(&[id]).iter().any(from_memory)
    }

    /// Where a node loads from memory, if it does so without a condition and at an index that is no value.
    pub fn plain_load(&self, id: NodeId) -> Option<&Dim> {
        let node = &self.nodes[id.at()];
        match &node.kind {
            Kind::Load(Memory::Param(_), linear) if node.mask == MaskId(0) => {
                (!linear.symbols().iter().any(|s| s.name().starts_with("$g"))).then_some(linear)
            }
            _ => None,
        }
    }

    /// The memory that a node loads from.
    pub fn memory(&self, id: NodeId) -> Option<Memory> {
        if let Kind::Load(memory, _) = self.nodes[id.at()].kind { Some(memory) } else { None }
    }

    /// Makes a node load from elsewhere.
    pub fn load_from(&mut self, id: NodeId, memory: Memory, linear: Dim) {
        self.nodes[id.at()].kind = Kind::Load(memory, linear);
    }

    /// The type of a node.
    pub fn dtype(&self, id: NodeId) -> DType {
        self.graph.ty(self.nodes[id.at()].value).dtype
    }

    /// An expression with variables that were merged away left out.
    pub fn substituted(&self, d: &Dim) -> Dim {
        d.substitute(&|s| self.replaced.get(s).cloned())
    }

    /// The number of nodes.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The node of a value at an index, if it was demanded without a mask since the last [`Puller::use_cache`].
    pub fn find(&self, v: Value, index: &IndexVec) -> Option<NodeId> {
        let index_id = *self.index_ids.get(index)?;
        self.known.get(&(v, index_id, MaskId(0))).copied()
    }
}

/// The extent argument of a kernel that holds a symbol.
pub(super) fn extent_argument(k: &mut KernelBuilder, extents: &mut Vec<Symbol>, s: &Symbol) -> Index {
    match extents.iter().position(|x| x == s) {
        Some(i) => k.indices.intern(IndexNode::Extent(ir::kernel::Extent(i as u32))),
        None => {
            extents.push(s.clone());
            k.extent()
        }
    }
}

/// Adds the buffer arguments of a group to a kernel.
pub(super) fn input_params(graph: &Graph, k: &mut KernelBuilder, params: &[Value]) -> Buffers {
    let memory = |&v: &Value| (v, k.param(graph.ty(v).dtype, Access::In));
    Buffers { params: params.iter().map(memory).collect() }
}
