//! Graph to program: fused groups become kernels, products library calls, reshapes aliases; buffers get a memory plan.

mod axes;
mod boxes;
pub mod contract;
mod control;
mod cumulative;
pub mod epilogue;
mod loops;
mod nest;
mod passes;
mod plan;
mod pull;
mod reduce;
mod running;
mod scatter;
mod tiles;

use crate::grain::Grain;
use epilogue::Found;
use ir::graph::Definition;
use ir::kernel::Kernel;
use ir::ops::Sorting;
use ir::program::{Buffer, BufferId, Epilogue, Launch, Opaque, Program, Site, Sort, Step, StepKind, Storage};
use ir::{DType, Dim, Graph, Lowering, Op, Origin, Region, Value};
use nest::GroupKernel;
use scatter::product;
use std::collections::{HashMap, HashSet};

/// Why a graph could not be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// A limit was reached.
    #[error("too large: {0}")]
    TooLarge(String),
    /// There is no lowering for this.
    #[error("cannot lower {0}")]
    Unsupported(String),
    /// The compiler is at fault.
    #[error("bug in tracewright: {0}")]
    Bug(String),
}

/// Lowers a graph whose fusible ops all stand in fused groups. `donations` pairs inputs with the outputs that may be
/// written over them. A group that has no kernel becomes a step of the interpreter.
pub fn lower(graph: &Graph, donations: &[(usize, usize)]) -> Result<Program, LowerError> {
    lower_except(graph, donations, &|_| None)
}

/// As [`lower`], but where `refuse` has a reason against the kernel of a group, that is left to the interpreter.
pub fn lower_except(
    graph: &Graph,
    donations: &[(usize, usize)],
    refuse: &dyn Fn(&Kernel) -> Option<String>,
) -> Result<Program, LowerError> {
    lower_for(Grain::CPU, graph, donations, refuse)
}

/// As [`lower_except`], with tasks of that grain, which the passes before should have had as well.
pub fn lower_for(
    grain: Grain,
    graph: &Graph,
    donations: &[(usize, usize)],
    refuse: &dyn Fn(&Kernel) -> Option<String>,
) -> Result<Program, LowerError> {
    let mut l = Lowerer::new(graph, grain, refuse);
    for op in schedule(graph, graph.root()) {
        l.op(op)?;
    }
    l.finish(donations)
}

/// True if running an op can report an error.
pub fn is_fallible(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    data.primitive.traits().fallible
        || data.regions.iter().any(|&r| graph.region(r).ops.iter().any(|&inner| is_fallible(graph, inner)))
}

/// The ops of a region, everything that fallible ops need (and they themselves) first, otherwise in order.
fn schedule(graph: &Graph, region: Region) -> Vec<Op> {
    let ops = &graph.region(region).ops;
    let mut early: HashSet<Op> = HashSet::new();
    for &op in ops.iter().rev() {
        let needed = is_fallible(graph, op) || early.contains(&op);
        if needed {
            early.insert(op);
            early.extend(graph.op(op).operands.iter().filter_map(|&v| graph.defining_op(v)).map(|(op, _)| op));
        }
    }
    let (first, rest): (Vec<Op>, Vec<Op>) = ops.iter().partition(|op| early.contains(op));
    first.into_iter().chain(rest).collect()
}

/// Parameters and results of a kernel that may be one memory, by step.
type Elementwise = HashMap<usize, HashSet<(usize, usize)>>;

struct Lowerer<'a> {
    graph: &'a Graph,
    grain: Grain,
    refuse: &'a dyn Fn(&Kernel) -> Option<String>,
    program: Program,
    buffer_of: HashMap<Value, BufferId>,
    kernels: HashMap<Kernel, usize>,
    elementwise: Elementwise,
    /// Steps of the block at work.
    steps: Vec<Step>,
    /// Blocks around it.
    depth: usize,
    /// True if a step of the top-level step at work takes memory.
    interprets: bool,
    fallible_prefix: usize,
}

impl<'a> Lowerer<'a> {
    fn new(graph: &'a Graph, grain: Grain, refuse: &'a dyn Fn(&Kernel) -> Option<String>) -> Self {
        let mut l = Lowerer {
            graph,
            grain,
            refuse,
            program: Program {
                name: graph.name.clone(),
                symbols: graph.symbols.clone(),
                inputs: graph.input_types(),
                outputs: graph.output_types(),
                ..Program::default()
            },
            buffer_of: HashMap::new(),
            kernels: HashMap::new(),
            elementwise: HashMap::new(),
            steps: Vec::new(),
            depth: 0,
            interprets: false,
            fallible_prefix: 0,
        };
        for (i, &v) in graph.inputs().iter().enumerate() {
            l.add_buffer(v, Storage::Input(i));
        }
        l
    }

    fn add_buffer(&mut self, v: Value, storage: Storage) -> BufferId {
        let id = self.unnamed(v);
        self.program.buffers[id.at()].storage = storage;
        self.buffer_of.insert(v, id);
        id
    }

    /// A buffer for a value of that type.
    fn unnamed(&mut self, like: Value) -> BufferId {
        let id = BufferId(self.program.buffers.len() as u32);
        let storage = Storage::Slot(usize::MAX);
        self.program.buffers.push(Buffer { ty: self.graph.ty(like).clone(), storage });
        id
    }

    /// A buffer whose place the plan decides.
    fn new_buffer(&mut self, v: Value) -> BufferId {
        self.add_buffer(v, Storage::Slot(usize::MAX))
    }

    fn origins(&self, op: Op) -> Vec<Origin> {
        self.graph.op(op).origins.iter().map(|&o| self.graph.origins.get(o).clone()).collect()
    }

    fn push(&mut self, op: Op, name: String, kind: StepKind) {
        let origins = self.origins(op);
        // Interpreting takes memory.
        self.interprets |= matches!(kind, StepKind::Interpret { .. });
        self.steps.push(Step { kind, origins, name });
        if self.depth == 0 && (std::mem::take(&mut self.interprets) || is_fallible(self.graph, op)) {
            self.fallible_prefix = self.steps.len();
        }
    }

    fn op(&mut self, op: Op) -> Result<(), LowerError> {
        let data = self.graph.op(op);
        let name = data.primitive.name();
        match data.primitive.lowering() {
            Lowering::Fused => {
                let region = data.regions[0];
                let name = group_name(self.graph, region);
                if let Some((product, found)) = epilogue::of_group(self.graph, region) {
                    return self.product_group(op, name, product, found);
                }
                let group = nest::lower_group(self.graph, self.grain, region, &name);
                self.kernel(op, name, group)?;
            }
            Lowering::Scatter(combine) => {
                self.kernel(op, name.into(), Ok(scatter::lower_scatter(self.graph, self.grain, op, combine)))?;
            }
            Lowering::Cumulative => {
                let kernel = cumulative::Scan::new(self.graph, op).lower(self.grain);
                self.kernel(op, name.into(), Ok(kernel))?;
            }
            Lowering::Sort => {
                let Sorting { axis, descending } = data.primitive.sorting().expect("a sort says along what");
                let shape = &self.graph.ty(data.operands[0]).shape;
                let extents = [product(&shape[..axis]), shape[axis].clone(), product(&shape[axis + 1..])];
                let input = self.buffer_of[&data.operands[0]];
                let out = self.new_buffer(data.results[0]);
                self.push(op, name.into(), StepKind::Sort(Sort { extents, input, out, descending }));
            }
            Lowering::Opaque if data.primitive.body().is_some() => {
                let primitive = data.primitive.clone();
                let (inputs, outputs) = self.buffers(op);
                self.push(op, name.into(), StepKind::Opaque(Opaque { primitive, inputs, outputs }));
            }
            Lowering::Opaque => self.interpret(op, name.into(), "the op has no code but its `eval`".into()),
            Lowering::Contract => {
                let [lhs, rhs] = [0, 1].map(|i| self.buffer_of[&data.operands[i]]);
                let out = self.new_buffer(data.results[0]);
                let product = contract::lower_product(self.graph, op, lhs, rhs, out)?;
                self.push(op, name.into(), StepKind::Product(product));
            }
            Lowering::Constant => {
                let literal = data.primitive.literal().expect("a constant has data").clone();
                self.add_buffer(data.results[0], Storage::Constant(literal));
            }
            Lowering::Control => self.control(op)?,
            Lowering::Fence => {
                let buffer = self.buffer_of[&data.operands[0]];
                self.buffer_of.insert(data.results[0], buffer);
            }
            // Fusion leaves only reshapes bare: the same bytes under another shape.
            Lowering::View
                if self.graph.ty(data.operands[0]).shape.numel() == self.graph.ty(data.results[0]).shape.numel() =>
            {
                let buffer = self.buffer_of[&data.operands[0]];
                self.buffer_of.insert(data.results[0], buffer);
            }
            other => return Err(LowerError::Bug(format!("{name} ({other:?}) outside a fused group"))),
        }
        Ok(())
    }

    /// A group of a product and what becomes of its sums.
    fn product_group(&mut self, op: Op, name: String, product: Op, found: Found) -> Result<(), LowerError> {
        let (data, inner) = (self.graph.op(op), self.graph.op(product));
        let params = &self.graph.region(data.regions[0]).params;
        let outside = |v: Value| {
            let at = params.iter().position(|&p| p == v);
            let at = at.ok_or_else(|| LowerError::Bug("a product of what its group computes".into()))?;
            Ok::<_, LowerError>(self.buffer_of[&data.operands[at]])
        };
        let (lhs, rhs) = (outside(inner.operands[0])?, outside(inner.operands[1])?);
        let bias = found.bias.map(outside).transpose()?;
        let out = self.new_buffer(data.results[0]);
        let mut product = contract::lower_product(self.graph, product, lhs, rhs, out)?;
        product.epilogue = Epilogue { bias, activation: found.activation };
        self.push(op, name, StepKind::Product(product));
        Ok(())
    }

    /// The buffers that an op reads, and new ones for what it writes.
    fn buffers(&mut self, op: Op) -> (Vec<BufferId>, Vec<BufferId>) {
        let data = self.graph.op(op);
        let inputs = data.operands.iter().map(|v| self.buffer_of[v]).collect();
        (inputs, data.results.iter().map(|&v| self.new_buffer(v)).collect())
    }

    fn interpret(&mut self, op: Op, name: String, reason: String) {
        let (inputs, outputs) = self.buffers(op);
        let graph = Box::new(single(self.graph, op, &name));
        self.push(op, name, StepKind::Interpret { graph, inputs, outputs, reason });
    }

    fn kernel(&mut self, op: Op, name: String, group: Result<GroupKernel, LowerError>) -> Result<(), LowerError> {
        match group {
            Err(bug @ LowerError::Bug(_)) => return Err(bug),
            Err(reason) => self.interpret(op, name, reason.to_string()),
            Ok(group) => match (self.refuse)(&group.kernel) {
                Some(reason) => self.interpret(op, name, reason),
                None => self.launch(op, name, group),
            },
        }
        Ok(())
    }

    fn launch(&mut self, op: Op, name: String, group: GroupKernel) {
        let (mut buffers, results) = self.buffers(op);
        buffers.extend(results);
        let next = self.program.kernels.len();
        let mut identity = group.kernel.clone();
        identity.name.clear();
        let kernel = *self.kernels.entry(identity).or_insert(next);
        if kernel == next {
            self.program.kernels.push(group.kernel);
        }
        let sites = group
            .sites
            .into_iter()
            .map(|s| Site {
                op: self.graph.op(s.op).primitive.name(),
                axis: s.axis,
                extent: s.extent,
                unsigned: self.graph.ty(self.graph.op(s.op).operands[1]).dtype == DType::U64,
                origins: self.origins(s.op),
            })
            .collect();
        let extents = group.extents.iter().map(|s| Dim::symbol(s.name())).collect();
        if self.depth == 0 {
            self.elementwise.insert(self.steps.len(), group.elementwise);
        }
        self.push(op, name, StepKind::Launch(Launch { kernel, buffers, extents, sites }));
    }

    fn finish(mut self, donations: &[(usize, usize)]) -> Result<Program, LowerError> {
        self.program.fallible_prefix = self.fallible_prefix;
        self.program.steps = self.steps;
        self.program.output_buffers = self.graph.outputs().iter().map(|v| self.buffer_of[v]).collect();
        plan::plan(&mut self.program, donations, &self.elementwise);
        Ok(self.program)
    }
}

/// A graph of one op of the root region.
fn single(graph: &Graph, op: Op, name: &str) -> Graph {
    let mut alone = Graph::new(name);
    alone.symbols = graph.symbols.clone();
    let mut inputs: HashMap<Value, Value> = HashMap::new();
    // An op may take a value twice: the graph takes it twice too, as the step's buffers do.
    for &v in &graph.op(op).operands {
        inputs.insert(v, alone.add_input(graph.ty(v).clone()));
    }
    let op = alone.inline_op(graph, op, &|v| inputs[&v], &mut HashMap::new());
    let root = alone.root();
    alone.region_mut(root).ops.push(op);
    let results = alone.op(op).results.to_vec();
    alone.set_outputs(results);
    alone
}

/// A short name for a group: the ops that say most about it.
fn group_name(graph: &Graph, region: ir::Region) -> String {
    let mut names: Vec<&str> = Vec::new();
    for &op in graph.region(region).ops.iter().rev() {
        let primitive = &graph.op(op).primitive;
        let telling = matches!(
            primitive.lowering(),
            Lowering::Pointwise | Lowering::Reduce(_) | Lowering::Gather | Lowering::Contract
        );
        if telling && !names.contains(&primitive.name()) {
            names.push(primitive.name());
        }
        if names.len() == 4 {
            break;
        }
    }
    if names.is_empty() {
        names.extend(graph.region(region).ops.last().map(|&op| graph.op(op).primitive.name()));
    }
    names.reverse();
    names.join("_")
}

/// The value itself or, through reshapes that stayed bare, the value whose memory it shares.
pub fn storage_root(graph: &Graph, mut v: Value) -> Value {
    while let Definition::Result(op, _) = graph.value(v).def {
        let data = graph.op(op);
        if data.primitive.lowering() != Lowering::View {
            break;
        }
        v = data.operands[0];
    }
    v
}
