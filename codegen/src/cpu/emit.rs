//! The frame of a function: arguments, nests, statements, serial loops.

use super::index::Cache;
use super::lanes::Lanes;
use super::registers::lanes_of;
use super::routines::Routine;
use super::{CompileError, CompileOptions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{
    AbiParam, Block as ClifBlock, BlockArg, Function, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData,
    StackSlotKind, Type, Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use ir::kernel::{Block, Expr, Iter, Kernel, Loop, LoopKind, Memory, Stmt, Var};
use ir::{DType, Scalar};
use smallvec::{SmallVec, smallvec};

/// The vectors of a value: one if it is uniform, else as many as the sub-block of iterations needs.
pub(super) type Vecs = SmallVec<[Value; 4]>;
pub(super) type Result<T> = std::result::Result<T, CompileError>;

/// A kernel value in the code.
#[derive(Clone)]
pub(super) enum Val {
    /// The same in every iteration at hand.
    Uniform {
        /// The value in every lane.
        vec: Value,
        /// An i64 also as a scalar.
        scalar: Option<Value>,
    },
    /// A constant. It is loaded where it is used, unless it is hoisted: it may be far from its definition.
    Known(Scalar),
    /// Vectors of each sub-block.
    Varying(SmallVec<[Vecs; 4]>),
}

/// Emits one kernel as a function.
pub(super) struct Emitter<'k, 'f> {
    pub(super) kernel: &'k Kernel,
    pub(super) b: FunctionBuilder<'f>,
    pub(super) options: CompileOptions,
    pub(super) has_fma: bool,
    /// By [`Var`]; those in scope.
    pub(super) env: Vec<Option<Val>>,
    /// Values defined since the function began, to leave scopes with.
    pub(super) defined: Vec<Var>,
    /// By [`Iter`]; those in scope. Within a lanes loop on vectors, the first iteration of the block.
    pub(super) iters: Vec<Option<Value>>,
    pub(super) extents: Vec<Value>,
    pub(super) indices: Cache,
    /// The lanes loop that runs on vectors, if one does.
    pub(super) lanes: Option<Lanes>,
    /// By [`Var`]: of a 64-bit integer that goes up by one from lane to lane, the sub-block that this was seen in and the
    /// first lane. Empty in a kernel that draws no random bits, which alone asks.
    pub(super) runs: Vec<Option<(usize, Value)>>,
    args: Args,
    params: Vec<Option<Value>>,
    scratch: Vec<Option<Value>>,
    /// Where masked accesses go that must not touch their memory.
    nowhere: Option<StackSlot>,
    /// Number of the first task of the nest, and the task.
    first_task: Option<Value>,
    task: Option<Value>,
}

#[derive(Clone, Copy)]
struct Args {
    params: Value,
    scratch: Value,
    status: Value,
    table: Value,
}

/// Emits `kernel` into `func`.
pub(super) fn function(
    kernel: &Kernel,
    options: CompileOptions,
    isa: &dyn TargetIsa,
    func: &mut Function,
    context: &mut FunctionBuilderContext,
) -> Result<()> {
    let pointer = AbiParam::new(I64);
    func.signature = Signature::new(isa.default_call_conv());
    func.signature.params = vec![pointer; 7];
    let mut b = FunctionBuilder::new(func, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let p: SmallVec<[Value; 7]> = b.block_params(entry).into();
    let flags = MemFlagsData::trusted().with_readonly();
    let extents = (0..kernel.extents).map(|i| b.ins().load(I64, flags, p[1], 8 * i as i32)).collect();
    let mut e = Emitter {
        kernel,
        b,
        options,
        has_fma: isa.isa_flags().iter().any(|f| f.name == "has_fma" && f.as_bool() == Some(true)),
        env: vec![None; kernel.vars.len()],
        defined: Vec::new(),
        iters: vec![None; kernel.iters as usize],
        extents,
        indices: Cache::default(),
        lanes: None,
        runs: if super::draw::draws_bits(kernel) { vec![None; kernel.vars.len()] } else { Vec::new() },
        args: Args { params: p[0], scratch: p[4], status: p[5], table: p[6] },
        params: vec![None; kernel.params.len()],
        scratch: vec![None; kernel.scratch.len()],
        nowhere: None,
        first_task: None,
        task: None,
    };
    e.nests(p[2], p[3])?;
    e.b.ins().return_(&[]);
    e.b.seal_all_blocks();
    e.b.finalize(isa.frontend_config());
    Ok(())
}

/// Memory flags of data: accesses do not trap, and need no alignment.
pub(super) fn data() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// Emitted code that may be left: what it defined is forgotten.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    vars: usize,
    indices: usize,
}

impl Emitter<'_, '_> {
    pub(super) fn malformed(&self, what: impl Into<String>) -> CompileError {
        CompileError::Malformed { kernel: self.kernel.name.clone(), what: what.into() }
    }

    pub(super) fn unsupported<T>(&self, op: &str, dtype: DType) -> Result<T> {
        Err(CompileError::Unsupported { kernel: self.kernel.name.clone(), op: op.into(), dtype })
    }

    // ---- nests ----

    fn nests(&mut self, begin: Value, end: Value) -> Result<()> {
        let zero = self.int(0);
        let mut first = zero;
        let last = self.kernel.nests.len().saturating_sub(1);
        for (n, nest) in self.kernel.nests.iter().enumerate() {
            let outer = self.scope();
            let grid = self.index(nest.grid)?;
            let grid = self.b.ins().smax(grid, zero);
            let next = self.b.ins().iadd(first, grid);
            let low = self.b.ins().isub(begin, first);
            let low = self.b.ins().smax(low, zero);
            let high = self.b.ins().isub(end, first);
            let high = self.b.ins().smin(high, grid);
            let (enter, after) = (self.b.create_block(), self.b.create_block());
            let some = self.b.ins().icmp(IntCC::SignedLessThan, low, high);
            self.b.ins().brif(some, enter, &[], after, &[]);
            self.b.switch_to_block(enter);
            self.first_task = Some(first);
            let scope = self.scope();
            self.memories(&nest.body);
            self.hoist(&nest.body)?;
            self.counted(low, high, 1, &[], true, |e, task, _| {
                e.iters[nest.task.at()] = Some(task);
                e.task = Some(task);
                e.hoist(&nest.body)?;
                e.statements(&nest.body.0)?;
                e.iters[nest.task.at()] = None;
                Ok(smallvec![])
            })?;
            self.leave(scope);
            self.params.fill(None);
            self.scratch.fill(None);
            self.b.ins().jump(after, &[]);
            self.b.switch_to_block(after);
            self.leave(outer);
            if n < last {
                first = next;
            }
        }
        Ok(())
    }

    /// Loads the pointers of the memories that a nest uses.
    fn memories(&mut self, body: &Block) {
        let (mut params, mut scratch) = (vec![false; self.params.len()], vec![false; self.scratch.len()]);
        let mut note = |m: Memory| match m {
            Memory::Param(p) => params[p as usize] = true,
            Memory::Scratch(s) => scratch[s as usize] = true,
        };
        visit(body, &mut |s| match s {
            Stmt::Store { memory, .. } | Stmt::Let { expr: Expr::Load { memory, .. }, .. } => note(*memory),
            _ => {}
        });
        let flags = MemFlagsData::trusted().with_readonly();
        for p in (0..params.len()).filter(|&p| params[p]) {
            self.params[p] = Some(self.b.ins().load(I64, flags, self.args.params, 8 * p as i32));
        }
        let Some(last) = scratch.iter().rposition(|&used| used) else { return };
        let mut at = self.args.scratch;
        for (s, row) in self.kernel.scratch.iter().enumerate().take(last + 1) {
            self.scratch[s] = Some(at);
            // A length is made of constants and extents, which are always at hand.
            let Ok(len) = self.index(row.len) else { return };
            let zero = self.int(0);
            let len = self.b.ins().smax(len, zero);
            let size = self.int(row.dtype.size() as i64);
            let bytes = self.b.ins().imul(len, size);
            let bytes = self.b.ins().iadd_imm_s(bytes, 63);
            let bytes = self.b.ins().band_imm_s(bytes, !63);
            at = self.b.ins().iadd(at, bytes);
        }
    }

    /// The address of the first element of a memory.
    pub(super) fn pointer(&self, memory: Memory) -> Result<Value> {
        let found = match memory {
            Memory::Param(p) => self.params.get(p as usize),
            Memory::Scratch(s) => self.scratch.get(s as usize),
        };
        found.copied().flatten().ok_or_else(|| self.malformed(format!("{memory:?} does not exist")))
    }

    pub(super) fn memory_dtype(&self, memory: Memory) -> Result<DType> {
        match memory {
            Memory::Param(p) => self.kernel.params.get(p as usize).map(|p| p.dtype),
            Memory::Scratch(s) => self.kernel.scratch.get(s as usize).map(|s| s.dtype),
        }
        .ok_or_else(|| self.malformed(format!("{memory:?} does not exist")))
    }

    // ---- scopes and values ----

    pub(super) fn scope(&self) -> Scope {
        Scope { vars: self.defined.len(), indices: self.indices.mark() }
    }

    pub(super) fn leave(&mut self, scope: Scope) {
        for var in self.defined.drain(scope.vars..) {
            self.env[var.at()] = None;
        }
        self.indices.forget(scope.indices);
    }

    pub(super) fn dtype(&self, v: Var) -> DType {
        self.kernel.vars[v.at()]
    }

    pub(super) fn val(&self, v: Var) -> Result<&Val> {
        self.env
            .get(v.at())
            .and_then(Option::as_ref)
            .ok_or_else(|| self.malformed(format!("value {} is used where it is not defined", v.0)))
    }

    pub(super) fn is_uniform(&self, v: Var) -> Result<bool> {
        Ok(!matches!(self.val(v)?, Val::Varying(_)))
    }

    /// The vectors of a value at the sub-block at hand.
    pub(super) fn vecs(&mut self, v: Var) -> Result<Vecs> {
        Ok(match self.val(v)? {
            Val::Uniform { vec, .. } => smallvec![*vec],
            &Val::Known(s) => smallvec![self.constant(s)],
            Val::Varying(subs) => subs[self.lanes.as_ref().map_or(0, |l| l.sub)].clone(),
        })
    }

    pub(super) fn known(&self, v: Var) -> Option<Scalar> {
        match self.env[v.at()] {
            Some(Val::Known(s)) => Some(s),
            _ => None,
        }
    }

    /// Defines a value at the sub-block at hand.
    pub(super) fn define(&mut self, var: Var, vecs: Vecs, varying: bool) {
        let new = match (&mut self.env[var.at()], varying) {
            (Some(Val::Varying(subs)), true) if self.lanes.as_ref().is_some_and(|l| l.sub > 0) => {
                subs.push(vecs);
                return;
            }
            (_, true) => Val::Varying(smallvec![vecs]),
            (_, false) => Val::Uniform { vec: vecs[0], scalar: None },
        };
        self.define_val(var, new);
    }

    pub(super) fn define_val(&mut self, var: Var, val: Val) {
        self.env[var.at()] = Some(val);
        self.defined.push(var);
    }

    pub(super) fn int(&mut self, n: i64) -> Value {
        self.b.ins().iconst(I64, n)
    }

    /// A stack slot aligned to 16 bytes.
    pub(super) fn slot(&mut self, bytes: usize) -> StackSlot {
        self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes as u32, 4))
    }

    /// The address of memory that nobody reads for a result.
    pub(super) fn nowhere(&mut self) -> Value {
        let slot = match self.nowhere {
            Some(slot) => slot,
            None => {
                let slot = self.slot(16);
                *self.nowhere.insert(slot)
            }
        };
        self.b.ins().stack_addr(I64, slot, 0)
    }

    // ---- statements ----

    /// Emits statements at the iterations at hand.
    pub(super) fn statements(&mut self, stmts: &[Stmt]) -> Result<()> {
        let mut rest = stmts;
        while !rest.is_empty() {
            let plain = rest.iter().position(|s| matches!(s, Stmt::Loop(_))).unwrap_or(rest.len());
            let (segment, tail) = rest.split_at(plain);
            let subs = self.lanes.as_ref().map_or(1, |l| l.subs);
            for sub in 0..subs {
                if let Some(lanes) = &mut self.lanes {
                    lanes.sub = sub;
                }
                for stmt in segment {
                    if sub == 0 || self.varies(stmt) {
                        self.statement(stmt)?;
                    }
                }
            }
            if let Some(lanes) = &mut self.lanes {
                lanes.sub = 0;
            }
            rest = tail;
            if let Some((Stmt::Loop(l), tail)) = rest.split_first() {
                match l.kind {
                    LoopKind::Serial => self.serial_loop(l)?,
                    LoopKind::Lanes => self.lanes_loop(l)?,
                }
                rest = tail;
            }
        }
        Ok(())
    }

    /// True if the statement's outcome depends on the variable of the lanes loop at hand.
    fn varies(&self, stmt: &Stmt) -> bool {
        let Some(lanes) = &self.lanes else { return false };
        match stmt {
            Stmt::Let { var, .. } => lanes.varying(*var),
            Stmt::Store { .. } => true,
            Stmt::Check { index, bound, mask, .. } => {
                lanes.varying(*index) || mask.is_some_and(|m| lanes.varying(m)) || self.index_varies(*bound)
            }
            Stmt::Loop(_) => true,
        }
    }

    fn statement(&mut self, stmt: &Stmt) -> Result<()> {
        match stmt {
            Stmt::Let { var, expr } => self.expression(*var, expr),
            Stmt::Store { memory, index, value, mask } => self.store(*memory, *index, *value, *mask),
            Stmt::Check { site, index, bound, mask } => self.check(*site, *index, *bound, *mask),
            Stmt::Loop(_) => Ok(()),
        }
    }

    fn expression(&mut self, var: Var, expr: &Expr) -> Result<()> {
        self.pass_run_on(var, expr);
        let varying = self.lanes.as_ref().is_some_and(|l| l.varying(var));
        let vecs: Vecs = match expr {
            Expr::Const(s) => {
                self.define_val(var, Val::Known(*s));
                return Ok(());
            }
            Expr::Index(i) if !varying => {
                let scalar = self.index(*i)?;
                let vec = self.b.ins().splat(I64X2, scalar);
                self.define_val(var, Val::Uniform { vec, scalar: Some(scalar) });
                return Ok(());
            }
            Expr::Index(i) => {
                self.note_run(var, *i)?;
                self.index_vectors(*i)?
            }
            Expr::Load { memory, index, mask } => return self.load(var, *memory, *index, *mask, varying),
            Expr::Unary(op, a) => self.unary(*op, *a)?,
            Expr::Binary(op, a, b) => {
                let vecs = self.binary(*op, *a, *b)?;
                if let Some(scalar) = self.scalar_binary(*op, *a, *b) {
                    self.define_val(var, Val::Uniform { vec: vecs[0], scalar: Some(scalar) });
                    return Ok(());
                }
                vecs
            }
            Expr::Compare(op, a, b) => self.compare(*op, *a, *b)?,
            Expr::Select(c, a, b) => self.select(*c, *a, *b)?,
            Expr::Convert(a, to) => {
                if let Some(known) = self.known(*a) {
                    self.define_val(var, Val::Known(known.convert(*to)));
                    return Ok(());
                }
                let from = self.dtype(*a);
                let vecs = self.vecs(*a)?;
                let want = if varying { self.width() / lanes_of(*to) } else { 1 };
                self.convert(&vecs, from, *to, want)?
            }
            Expr::Bitcast(a, to) => {
                if let Some(known) = self.known(*a) {
                    self.define_val(var, Val::Known(Scalar::from_bits(*to, known.bits())));
                    return Ok(());
                }
                let from = self.dtype(*a);
                let vecs = self.vecs(*a)?;
                self.bitcast(from, *to, &vecs)
            }
            Expr::Draw { draw, key, index, parameter } => self.draw(*draw, *key, *index, *parameter)?,
        };
        self.define(var, vecs, varying);
        Ok(())
    }

    /// Iterations of the sub-block at hand; 1 outside lanes loops on vectors.
    pub(super) fn width(&self) -> usize {
        self.lanes.as_ref().map_or(1, |l| l.width)
    }

    // ---- loops ----

    /// A loop of `i` from `from` to below `to` by `step`, with values carried from one iteration to the next; yields
    /// the first `i` that did not run, and the carried values. `sure` says that the first iteration runs.
    pub(super) fn counted(
        &mut self,
        from: Value,
        to: Value,
        step: i64,
        carried: &[Value],
        sure: bool,
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Result<SmallVec<[Value; 16]>>,
    ) -> Result<(Value, SmallVec<[Value; 16]>)> {
        let (head, exit) = (self.b.create_block(), self.b.create_block());
        let params = |e: &mut Self, block: ClifBlock| -> SmallVec<[Value; 16]> {
            let types: SmallVec<[Type; 16]> = carried.iter().map(|&v| e.b.func.dfg.value_type(v)).collect();
            std::iter::once(I64).chain(types).map(|t| e.b.append_block_param(block, t)).collect()
        };
        let (inner, outer) = (params(self, head), params(self, exit));
        let start: SmallVec<[BlockArg; 16]> = std::iter::once(&from).chain(carried).map(|&v| v.into()).collect();
        if sure {
            self.b.ins().jump(head, &start);
        } else {
            let some = self.b.ins().icmp(IntCC::SignedLessThan, from, to);
            self.b.ins().brif(some, head, &start, exit, &start);
        }
        self.b.switch_to_block(head);
        let scope = self.scope();
        let out = body(self, inner[0], &inner[1..])?;
        self.leave(scope);
        let next = self.b.ins().iadd_imm_s(inner[0], step);
        let args: SmallVec<[BlockArg; 16]> = std::iter::once(&next).chain(&out).map(|&v| v.into()).collect();
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, to);
        self.b.ins().brif(more, head, &args, exit, &args);
        self.b.switch_to_block(exit);
        Ok((outer[0], outer[1..].into()))
    }

    fn serial_loop(&mut self, l: &Loop) -> Result<()> {
        let extent = self.index(l.extent)?;
        self.hoist(&l.body)?;
        // Accumulators of each sub-block, then of each accumulator's inputs, in that order of vectors.
        let start = self.identities(l)?;
        let zero = self.int(0);
        let sure = self.kernel.indices.as_const(l.extent).is_some_and(|n| n > 0);
        let (_, ends) = self.counted(zero, extent, 1, &start, sure, |e, i, carried| {
            e.iters[l.iter.at()] = Some(i);
            e.hoist(&l.body)?;
            e.statements(&l.body.0)?;
            let next = e.combine_all(l, carried)?;
            e.iters[l.iter.at()] = None;
            Ok(next)
        })?;
        self.define_results(l, &ends)
    }

    // ---- routines ----

    /// Calls a routine.
    pub(super) fn routine(&mut self, routine: Routine, args: &[Value], result: Option<Type>) -> Result<Option<Value>> {
        let slot = routine.slot().ok_or_else(|| self.malformed(format!("there is no routine {routine:?}")))?;
        let mut signature = Signature::new(self.b.func.signature.call_conv);
        signature.params = args.iter().map(|&a| AbiParam::new(self.b.func.dfg.value_type(a))).collect();
        signature.returns = result.into_iter().map(AbiParam::new).collect();
        let signature = self.b.import_signature(signature);
        let flags = MemFlagsData::trusted().with_readonly();
        let callee = self.b.ins().load(I64, flags, self.args.table, 8 * slot as i32);
        let call = self.b.ins().call_indirect(signature, callee, args);
        Ok(self.b.inst_results(call).first().copied())
    }

    /// The address of a site's slot of the status, and the number of the task.
    pub(super) fn site(&mut self, site: u32) -> Result<(Value, Value)> {
        let (Some(first), Some(task)) = (self.first_task, self.task) else {
            return Err(self.malformed("a check outside a nest"));
        };
        let slot = self.b.ins().iadd_imm_s(self.args.status, size_of::<super::Status>() as i64 * site as i64);
        Ok((slot, self.b.ins().iadd(first, task)))
    }

    /// The first lane of a mask, as something to branch on.
    pub(super) fn condition(&mut self, mask: Value) -> Value {
        let mask = self.cast(I32X4, mask);
        let lane = self.b.ins().extractlane(mask, 0);
        debug_assert_eq!(self.b.func.dfg.value_type(lane), I32);
        lane
    }

    pub(super) fn iter(&self, i: Iter) -> Result<Value> {
        self.iters
            .get(i.at())
            .copied()
            .flatten()
            .ok_or_else(|| self.malformed(format!("variable {} is used outside its loop", i.0)))
    }
}

/// Calls `f` with every statement of a block, at any depth, outer before inner.
pub(super) fn visit<'a>(block: &'a Block, f: &mut impl FnMut(&'a Stmt)) {
    for stmt in &block.0 {
        f(stmt);
        if let Stmt::Loop(l) = stmt {
            visit(&l.body, f);
        }
    }
}
