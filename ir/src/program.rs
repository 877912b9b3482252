//! A program: what a graph becomes for a target. A flat list of steps over buffers, with a memory plan.
//!
//! Sizes are [`Dim`]s over the graph's symbols; they get their values when the program is bound to the shapes of a
//! call. Buffers are planned at byte offsets of one arena, but for inputs, outputs and constants.

mod control;
pub mod verify;

pub use control::{Block, Branches, Carried, Elements, ScanLoop, WhileLoop, all_steps};

use crate::graph::SymbolDecl;
use crate::kernel::{Access, Kernel};
use crate::{DType, Dim, EvalError, Graph, Literal, Lowering, Origin, Primitive, Type, Value};
use std::collections::HashSet;

/// A buffer of a program, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BufferId(pub u32);

impl BufferId {
    /// The number as an index into the program's table.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// What holds a buffer's bytes.
#[derive(Clone, PartialEq, Debug)]
pub enum Storage {
    /// The program's input of that number; never written.
    Input(usize),
    /// A fresh output of that number.
    Output(usize),
    /// The output of that number, written over the donated input of the other number.
    InPlace {
        /// Output.
        output: usize,
        /// Input whose memory it takes.
        input: usize,
    },
    /// Host data.
    Constant(Literal),
    /// Where the branch or loop around it says.
    Moving,
    /// The arena, in the slot of that number; buffers whose lives do not overlap share slots.
    Slot(usize),
}

/// One buffer.
#[derive(Clone, PartialEq, Debug)]
pub struct Buffer {
    /// What it holds, dense.
    pub ty: Type,
    /// Where.
    pub storage: Storage,
}

/// One launch of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Launch {
    /// Which kernel.
    pub kernel: usize,
    /// Its buffer arguments.
    pub buffers: Vec<BufferId>,
    /// Its extent arguments.
    pub extents: Vec<Dim>,
    /// What its index-check sites stand for.
    pub sites: Vec<Site>,
}

/// What an index check guards, for the error message.
#[derive(Clone, PartialEq, Debug)]
pub struct Site {
    /// Name of the op.
    pub op: &'static str,
    /// The axis indexed.
    pub axis: usize,
    /// Its extent.
    pub extent: Dim,
    /// True if the i64 that the kernel reports holds the bits of a u64.
    pub unsigned: bool,
    /// Where the op was recorded.
    pub origins: Vec<Origin>,
}

impl Site {
    /// The error for the index and the extent that the kernel reports.
    pub fn error(&self, index: i64, extent: i64) -> EvalError {
        let index = if self.unsigned { i128::from(index as u64) } else { index.into() };
        EvalError::IndexOutOfRange { index, axis: self.axis, extent: usize::try_from(extent).unwrap_or(0) }
    }
}

/// What becomes of a sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Activation {
    /// Itself.
    #[default]
    None,
    /// GELU in its approximation by tanh.
    GeluTanh,
}

/// What is done to the sums of a product of floats before they are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Epilogue {
    /// A vector with one element for each column, which is added to every row.
    pub bias: Option<BufferId>,
    /// Then this.
    pub activation: Activation,
}

/// A matrix product `out[b, i, j] = sum over l of lhs[b, i, l] * rhs[b, l, j]`; strides count elements.
#[derive(Clone, PartialEq, Debug)]
pub struct Product {
    /// Element type of operands and result.
    pub dtype: DType,
    /// Extents: batch, rows, columns, summed.
    pub extents: [Dim; 4],
    /// Left operand, strides of batch, row and summed axis.
    pub lhs: (BufferId, [Dim; 3]),
    /// Right operand, strides of batch, summed axis and column.
    pub rhs: (BufferId, [Dim; 3]),
    /// Result, strides of batch, row and column.
    pub out: (BufferId, [Dim; 3]),
    /// What is done to the sums.
    pub epilogue: Epilogue,
}

/// For each row of `input[outer, n, inner]` along the middle axis, the positions in sorted order, as i64 of the same shape:
/// NaN counts as largest, equal elements keep their order.
#[derive(Clone, PartialEq, Debug)]
pub struct Sort {
    /// Extents: outer, n, inner.
    pub extents: [Dim; 3],
    /// What is sorted.
    pub input: BufferId,
    /// The positions.
    pub out: BufferId,
    /// From the largest to the smallest.
    pub descending: bool,
}

/// Runs the code of an op of the kind [`Lowering::Opaque`].
#[derive(Clone, PartialEq, Debug)]
pub struct Opaque {
    /// The op, which has a [body](crate::OpDef::body).
    pub primitive: Primitive,
    /// What it reads.
    pub inputs: Vec<BufferId>,
    /// What it writes; not what it reads.
    pub outputs: Vec<BufferId>,
}

/// What a step does.
#[derive(Clone, PartialEq, Debug)]
pub enum StepKind {
    /// Runs a kernel.
    Launch(Launch),
    /// Multiplies matrices through the target's library.
    Product(Product),
    /// Sorts through the target's library.
    Sort(Sort),
    /// Runs an op's own code.
    Opaque(Opaque),
    /// Runs one of several blocks.
    Switch(Branches),
    /// Runs a block while a condition holds.
    While(WhileLoop),
    /// Runs a block for each element.
    Scan(ScanLoop),
    /// Copies a buffer to another of as many bytes.
    Copy {
        /// Which.
        from: BufferId,
        /// Where to.
        to: BufferId,
    },
    /// Runs a one-op graph in the interpreter, because the op has no kernel; counted and logged with the reason.
    Interpret {
        /// The graph, whose inputs and outputs are the buffers.
        graph: Box<Graph>,
        /// Inputs.
        inputs: Vec<BufferId>,
        /// Outputs.
        outputs: Vec<BufferId>,
        /// Why it has no kernel.
        reason: String,
    },
}

/// One step.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// Lines and scopes it derives from.
    pub origins: Vec<Origin>,
    /// Name for people: the fused group or the op.
    pub name: String,
}

/// A slot of the arena.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Slot {
    /// Sizes in bytes of the buffers that share it; the slot is as large as the largest.
    pub sizes: Vec<Dim>,
}

/// A size in bytes that may depend on symbols: a sum of expressions, each the largest of several.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bytes(Vec<Vec<Dim>>);

impl Bytes {
    /// The number, if no symbol is in it.
    pub fn known(&self) -> Option<u64> {
        let largest = |term: &Vec<Dim>| term.iter().map(|d| Some(d.known()?.max(0) as u64)).max().flatten();
        self.0.iter().map(largest).sum()
    }

    /// Adds the largest of some sizes. Sizes that compare for all values of the symbols become one.
    fn add(&mut self, sizes: &[Dim]) {
        let mut largest: Vec<Dim> = Vec::new();
        for s in sizes {
            if largest.iter().any(|l| (l - s).known().is_some_and(|d| d >= 0)) {
                continue;
            }
            largest.retain(|l| (s - l).known().is_none_or(|d| d < 0));
            largest.push(s.clone());
        }
        match (largest.as_slice(), self.0.iter_mut().find(|term| term.len() == 1)) {
            ([], _) => {}
            ([one], Some(sum)) => sum[0] = &sum[0] + one,
            _ => self.0.push(largest),
        }
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("0");
        }
        for (i, term) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { " + " } else { "" })?;
            match term.as_slice() {
                [one] => write!(f, "{one}")?,
                several => {
                    let list: Vec<String> = several.iter().map(Dim::to_string).collect();
                    write!(f, "max({})", list.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

/// What a call holds at its peak, which is all through it: the plan has no other memory, but for what threads work in
/// and the padding of slots to 64 bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// Inputs.
    pub inputs: Bytes,
    /// Constants.
    pub constants: Bytes,
    /// Outputs in memory of their own.
    pub outputs: Bytes,
    /// Slots of the arena.
    pub arena: Bytes,
    /// All of it.
    pub peak: Bytes,
}

/// What must hold of the values of the symbols before anything runs, by an op of the graph as recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct ShapeCheck {
    /// The op, which may have more to [check](crate::OpDef::check).
    pub primitive: Primitive,
    /// Types of its operands.
    pub operands: Vec<Type>,
    /// Types of its results, whose extents must not be negative.
    pub results: Vec<Type>,
    /// Where it was recorded.
    pub origins: Vec<Origin>,
}

/// The checks that a graph needs; none if nothing in it is symbolic. Of ops that only ask for results of one type, the
/// first is enough.
pub fn shape_checks(graph: &Graph) -> Vec<ShapeCheck> {
    let mut checks = Vec::new();
    if graph.input_types().iter().all(|ty| ty.shape.known().is_some()) {
        return checks;
    }
    let mut seen: HashSet<&Type> = HashSet::new();
    let regions = graph.reachable_regions();
    for data in regions.iter().flat_map(|&r| &graph.region(r).ops).map(|&op| graph.op(op)) {
        let new = data.results.iter().fold(false, |new, &v| {
            let ty = graph.ty(v);
            (ty.shape.known().is_none() && seen.insert(ty)) || new
        });
        let of_elements = matches!(data.primitive.lowering(), Lowering::Pointwise | Lowering::Constant);
        if new || !of_elements {
            let types = |values: &[Value]| values.iter().map(|&v| graph.ty(v).clone()).collect();
            checks.push(ShapeCheck {
                primitive: data.primitive.clone(),
                operands: types(&data.operands),
                results: types(&data.results),
                origins: data.origins.iter().map(|&o| graph.origins.get(o).clone()).collect(),
            });
        }
    }
    checks
}

/// A program. See the [module](self).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Program {
    /// Name of the graph.
    pub name: String,
    /// The symbols that occur in sizes.
    pub symbols: Vec<SymbolDecl>,
    /// Types of the inputs; binding them to a call's shapes gives the symbols their values.
    pub inputs: Vec<Type>,
    /// Types of the outputs.
    pub outputs: Vec<Type>,
    /// The buffer that each output is read from.
    pub output_buffers: Vec<BufferId>,
    /// Buffers.
    pub buffers: Vec<Buffer>,
    /// Distinct kernels.
    pub kernels: Vec<Kernel>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Arena slots.
    pub slots: Vec<Slot>,
    /// What must hold of the symbols' values.
    pub checks: Vec<ShapeCheck>,
    /// Donated inputs whose memory no output takes over, with the reason.
    pub not_taken: Vec<(usize, &'static str)>,
    /// The number of leading steps after which no step can report an error; donated inputs are written only later.
    pub fallible_prefix: usize,
}

impl Program {
    /// The buffers that a step reads, and those that it writes, in the order of its operands. Of a branch or loop, those
    /// that are not moving, and not both written and read inside.
    pub fn accesses(&self, kind: &StepKind) -> [Vec<BufferId>; 2] {
        self.with_blocks(kind, self.own_accesses(kind))
    }

    fn own_accesses(&self, kind: &StepKind) -> [Vec<BufferId>; 2] {
        match kind {
            StepKind::Launch(l) => {
                let params = l.buffers.iter().copied().zip(&self.kernels[l.kernel].params);
                let (inputs, outputs): (Vec<_>, Vec<_>) = params.partition(|(_, p)| p.access == Access::In);
                [inputs, outputs].map(|list| list.into_iter().map(|(b, _)| b).collect())
            }
            StepKind::Product(p) => {
                let operands = [Some(p.lhs.0), Some(p.rhs.0), p.epilogue.bias];
                [operands.into_iter().flatten().collect(), vec![p.out.0]]
            }
            StepKind::Sort(s) => [vec![s.input], vec![s.out]],
            StepKind::Opaque(o) => [o.inputs.clone(), o.outputs.clone()],
            StepKind::Copy { from, to } => [vec![*from], vec![*to]],
            StepKind::Interpret { inputs, outputs, .. } => [inputs.clone(), outputs.clone()],
            StepKind::Switch(s) => [vec![s.choice], s.results.clone()],
            StepKind::While(_) => self.of_carried(kind, vec![], vec![]),
            StepKind::Scan(s) => {
                let written = s.stacked.iter().map(|e| e.whole).chain(s.number);
                self.of_carried(kind, s.scanned.iter().map(|e| e.whole).collect(), written.collect())
            }
        }
    }

    fn of_carried(&self, kind: &StepKind, mut reads: Vec<BufferId>, mut writes: Vec<BufferId>) -> [Vec<BufferId>; 2] {
        reads.extend(kind.carried().iter().map(|c| c.initial));
        writes.extend(kind.carried().iter().flat_map(|c| [c.result, c.spare]));
        [reads, writes]
    }

    /// Adds to what a step with blocks reads what its blocks read from outside.
    fn with_blocks(&self, kind: &StepKind, [mut reads, writes]: [Vec<BufferId>; 2]) -> [Vec<BufferId>; 2] {
        let mut inside: HashSet<BufferId> = writes.iter().copied().collect();
        for block in kind.blocks() {
            for step in &block.steps {
                let [inner, written] = self.accesses(&step.kind);
                for b in inner {
                    if !inside.contains(&b) && !self.is_moving(b) && !reads.contains(&b) {
                        reads.push(b);
                    }
                }
                inside.extend(written);
            }
            for &b in &block.yields {
                if !inside.contains(&b) && !self.is_moving(b) && !reads.contains(&b) {
                    reads.push(b);
                }
            }
        }
        [reads, writes]
    }

    fn is_moving(&self, b: BufferId) -> bool {
        self.buffers[b.at()].storage == Storage::Moving
    }

    /// Every step and those inside of steps, outermost first, with its depth.
    pub fn all_steps(&self) -> Vec<(usize, &Step)> {
        all_steps(&self.steps)
    }

    /// The memory of a call, known before it runs.
    pub fn footprint(&self) -> Footprint {
        let mut all = Footprint::default();
        for b in &self.buffers {
            let kind = match &b.storage {
                Storage::Input(_) => &mut all.inputs,
                Storage::Constant(_) => &mut all.constants,
                Storage::Output(_) => &mut all.outputs,
                Storage::InPlace { .. } | Storage::Slot(_) | Storage::Moving => continue,
            };
            kind.add(&[b.ty.bytes()]);
            all.peak.add(&[b.ty.bytes()]);
        }
        for slot in &self.slots {
            all.arena.add(&slot.sizes);
            all.peak.add(&slot.sizes);
        }
        all
    }
}
