//! Building kernels. Types are inferred; the verifier says what is wrong with the outcome.

use super::*;
use crate::Scalar;

/// Builds one [`Kernel`], statement by statement.
///
/// ```
/// use ir::kernel::*;
/// use ir::DType;
/// // o[i] = a[i] + 1 over n elements, in tasks of 1024
/// let mut k = KernelBuilder::new("add_one");
/// let (a, o) = (k.param(DType::F32, Access::In), k.param(DType::F32, Access::Out));
/// let n = k.extent();
/// let block = k.index(1024);
/// let grid = k.indices.ceil_div(n, block);
/// let task = k.begin_nest(grid, block);
/// let start = k.indices.mul(task, block);
/// let left = k.indices.sub(n, start);
/// let len = k.indices.min(left, block);
/// let i = k.begin_loop(len, LoopKind::Lanes);
/// let at = k.indices.add(start, i);
/// let x = k.load(a, at);
/// let one = k.constant(ir::Scalar::F32(1.0));
/// let y = k.binary(BinaryOp::Add, x, one);
/// k.store(o, at, y);
/// k.end_loop();
/// k.end_nest();
/// assert!(verify::verify(&k.finish()).is_ok());
/// ```
#[derive(Default)]
pub struct KernelBuilder {
    name: String,
    params: Vec<Param>,
    extents: u32,
    scratch: Vec<Scratch>,
    sites: u32,
    nests: Vec<Nest>,
    /// The index expressions; arithmetic on indices goes through here.
    pub indices: index::IndexTable,
    vars: Vec<DType>,
    iters: u32,
    open: Vec<OpenLoop>,
    block: Vec<Stmt>,
    nest: Option<(Iter, Index, Index)>,
    cost: u64,
}

struct OpenLoop {
    outer: Vec<Stmt>,
    iter: Iter,
    extent: Index,
    kind: LoopKind,
    accumulators: Vec<Accumulator>,
}

impl KernelBuilder {
    /// An empty kernel.
    pub fn new(name: &str) -> Self {
        KernelBuilder { name: name.into(), ..Default::default() }
    }
    /// Adds a buffer argument.
    pub fn param(&mut self, dtype: DType, access: Access) -> Memory {
        self.params.push(Param { dtype, access });
        Memory::Param(self.params.len() as u32 - 1)
    }
    /// Adds an extent argument.
    pub fn extent(&mut self) -> Index {
        self.extents += 1;
        self.indices.intern(IndexNode::Extent(Extent(self.extents - 1)))
    }
    /// Adds a scratch row.
    pub fn scratch(&mut self, dtype: DType, len: Index) -> Memory {
        self.scratch.push(Scratch { dtype, len });
        Memory::Scratch(self.scratch.len() as u32 - 1)
    }
    /// Adds an index-check site.
    pub fn site(&mut self) -> u32 {
        self.sites += 1;
        self.sites - 1
    }
    /// A constant index.
    pub fn index(&mut self, n: i64) -> Index {
        self.indices.constant(n)
    }
    /// An i64 value used as an index.
    pub fn index_of(&mut self, var: Var) -> Index {
        self.indices.intern(IndexNode::Var(var))
    }
    fn iter(&mut self, extent: Index) -> (Iter, Index) {
        let iter = Iter(self.iters);
        self.iters += 1;
        self.indices.bound(iter, extent);
        (iter, self.indices.intern(IndexNode::Iter(iter)))
    }
    /// Opens a nest and yields its task number.
    pub fn begin_nest(&mut self, grid: Index, work: Index) -> Index {
        assert!(self.nest.is_none(), "a nest is open");
        let (iter, index) = self.iter(grid);
        self.nest = Some((iter, grid, work));
        index
    }
    /// Closes the open nest.
    pub fn end_nest(&mut self) {
        assert!(self.open.is_empty(), "a loop is open");
        let (task, grid, work) = self.nest.take().expect("a nest is open");
        let body = Block(std::mem::take(&mut self.block));
        self.nests.push(Nest { task, grid, work, body });
    }
    /// Opens a loop and yields its variable.
    pub fn begin_loop(&mut self, extent: Index, kind: LoopKind) -> Index {
        let (iter, index) = self.iter(extent);
        let outer = std::mem::take(&mut self.block);
        self.open.push(OpenLoop { outer, iter, extent, kind, accumulators: Vec::new() });
        index
    }
    /// Adds an accumulator to the innermost open loop; the results may be used after the loop ends.
    pub fn accumulate(&mut self, combine: Combine, inputs: &[Var]) -> SmallVec<[Var; 2]> {
        let results: SmallVec<[Var; 2]> = inputs.iter().map(|&v| self.var(self.vars[v.at()])).collect();
        let open = self.open.last_mut().expect("a loop is open");
        open.accumulators.push(Accumulator { combine, inputs: inputs.into(), results: results.clone() });
        results
    }
    /// Closes the innermost loop.
    pub fn end_loop(&mut self) {
        let OpenLoop { outer, iter, extent, kind, accumulators } = self.open.pop().expect("a loop is open");
        let body = Block(std::mem::replace(&mut self.block, outer));
        self.block.push(Stmt::Loop(Loop { iter, extent, kind, accumulators, body }));
    }
    fn var(&mut self, dtype: DType) -> Var {
        self.vars.push(dtype);
        Var(self.vars.len() as u32 - 1)
    }
    /// The type of a value.
    pub fn dtype(&self, v: Var) -> DType {
        self.vars[v.at()]
    }
    /// The type of elements of a memory.
    pub fn memory_dtype(&self, memory: Memory) -> DType {
        match memory {
            Memory::Param(p) => self.params[p as usize].dtype,
            Memory::Scratch(s) => self.scratch[s as usize].dtype,
        }
    }
    /// Defines a value.
    pub fn define(&mut self, expr: Expr) -> Var {
        let dtype = match &expr {
            Expr::Const(s) => s.dtype(),
            Expr::Index(_) => DType::I64,
            Expr::Unary(_, a) | Expr::Binary(_, a, _) | Expr::Select(_, a, _) => self.dtype(*a),
            Expr::Compare(..) => DType::Bool,
            Expr::Convert(_, to) | Expr::Bitcast(_, to) => *to,
            Expr::Load { memory, .. } => self.memory_dtype(*memory),
            Expr::Draw { draw, .. } => draw.dtype(),
        };
        self.cost += expr.cost();
        let var = self.var(dtype);
        self.block.push(Stmt::Let { var, expr });
        var
    }
    /// The summed [`Expr::cost`] of what was defined so far.
    pub fn cost(&self) -> u64 {
        self.cost
    }
    /// The value that is defined next; values come in the order of their definitions.
    pub fn next_var(&self) -> Var {
        Var(self.vars.len() as u32)
    }
    /// A constant value.
    pub fn constant(&mut self, value: Scalar) -> Var {
        self.define(Expr::Const(value))
    }
    /// An index as an i64 value.
    pub fn index_value(&mut self, index: Index) -> Var {
        self.define(Expr::Index(index))
    }
    /// A unary operation.
    pub fn unary(&mut self, op: UnaryOp, a: Var) -> Var {
        self.define(Expr::Unary(op, a))
    }
    /// A binary operation.
    pub fn binary(&mut self, op: BinaryOp, a: Var, b: Var) -> Var {
        self.define(Expr::Binary(op, a, b))
    }
    /// A comparison.
    pub fn compare(&mut self, op: CompareOp, a: Var, b: Var) -> Var {
        self.define(Expr::Compare(op, a, b))
    }
    /// A selection.
    pub fn select(&mut self, c: Var, a: Var, b: Var) -> Var {
        self.define(Expr::Select(c, a, b))
    }
    /// A conversion; none if the type is already right.
    pub fn convert(&mut self, a: Var, to: DType) -> Var {
        if self.dtype(a) == to { a } else { self.define(Expr::Convert(a, to)) }
    }
    /// A random number.
    pub fn draw(&mut self, draw: Draw, key: [Var; 2], index: Var, parameter: Option<Var>) -> Var {
        self.define(Expr::Draw { draw, key, index, parameter })
    }
    /// The same bits as another dtype.
    pub fn bitcast(&mut self, a: Var, to: DType) -> Var {
        if self.dtype(a) == to { a } else { self.define(Expr::Bitcast(a, to)) }
    }
    /// An integer as an i64 position, where a u64 beyond that becomes the largest.
    pub fn position(&mut self, a: Var) -> Var {
        if self.dtype(a) != DType::U64 {
            return self.convert(a, DType::I64);
        }
        let most = self.constant(Scalar::I64(i64::MAX).convert(DType::U64));
        let small = self.binary(BinaryOp::Min, a, most);
        self.convert(small, DType::I64)
    }
    /// An unmasked load.
    pub fn load(&mut self, memory: Memory, index: Index) -> Var {
        self.define(Expr::Load { memory, index, mask: None })
    }
    /// A masked load.
    pub fn load_masked(&mut self, memory: Memory, index: Index, mask: Var, fallback: Scalar) -> Var {
        self.define(Expr::Load { memory, index, mask: Some((mask, fallback)) })
    }
    /// An unmasked store.
    pub fn store(&mut self, memory: Memory, index: Index, value: Var) {
        self.block.push(Stmt::Store { memory, index, value, mask: None });
    }
    /// A masked store.
    pub fn store_masked(&mut self, memory: Memory, index: Index, value: Var, mask: Var) {
        self.block.push(Stmt::Store { memory, index, value, mask: Some(mask) });
    }
    /// An index check.
    pub fn check(&mut self, site: u32, index: Var, bound: Index, mask: Option<Var>) {
        self.block.push(Stmt::Check { site, index, bound, mask });
    }
    /// The kernel.
    pub fn finish(self) -> Kernel {
        assert!(self.nest.is_none() && self.open.is_empty(), "a nest is open");
        let KernelBuilder { name, params, extents, scratch, sites, nests, indices, vars, iters, .. } = self;
        Kernel { name, params, extents, scratch, sites, nests, indices, vars, iters }
    }
}
