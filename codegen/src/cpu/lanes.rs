//! Lanes loops: a block of iterations at once, on vectors.
//!
//! A loop runs in stages: as many whole blocks as fit, then blocks of four, then single iterations. A single iteration
//! is emitted like code outside lanes loops, where every value is uniform. Long bodies have one stage, whose last block
//! may be partial: its missing iterations are computed on anything, and neither load, store nor accumulate. The virtual lanes of accumulators live in
//! registers while a stage has all 32 at once, else in stack slots.

use super::combine::identity;
use super::emit::{Emitter, Result, Val, Vecs, data};
use super::math::tiles;
use super::registers::{is_wide, lane_type, lanes_of, register};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I32X4, I64};
use cranelift_codegen::ir::{InstBuilder, StackSlot, Value};
use ir::DType;
use ir::kernel::{Accumulator, BinaryOp, Draw, Expr, Index, IndexNode, Iter, Kernel, LANES, Loop, Stmt, UnaryOp, Var};
use smallvec::{SmallVec, smallvec};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// The lanes loop that is being emitted on vectors.
pub(super) struct Lanes {
    pub(super) analysis: Rc<Analysis>,
    /// Iterations of a sub-block: the vectors of one value are those of one sub-block.
    pub(super) width: usize,
    /// Sub-blocks of the block.
    pub(super) subs: usize,
    /// The sub-block at hand.
    pub(super) sub: usize,
    /// In a block that may be partial, of one sub-block: how many of its iterations there are.
    pub(super) live: Option<Live>,
}

/// The iterations of a block that may be partial.
#[derive(Clone, Copy)]
pub(super) struct Live {
    /// Iterations from the first of the block to the end of the loop; at least 1.
    pub(super) count: Value,
    /// Whether the whole block is there.
    pub(super) whole: Value,
    /// The count in 32-bit lanes.
    lanes: Value,
}

impl Lanes {
    pub(super) fn varying(&self, v: Var) -> bool {
        self.analysis.varying[v.at()]
    }
}

/// What depends on the variable of a lanes loop.
pub(super) struct Analysis {
    iter: Iter,
    varying: Vec<bool>,
    /// By [`Index`]: 0 not known yet, 1 does not vary, 2 varies.
    indices: RefCell<Vec<u8>>,
    /// Whether every serial loop inside has the same number of iterations for all.
    vectorizable: bool,
    /// Whether a varying value has 64-bit lanes.
    wide: bool,
    /// Vector instructions of one vector of iterations, roughly.
    weight: usize,
    /// Loads and stores.
    accesses: usize,
    /// Whether random bits are drawn, which is best done for four blocks of four at once.
    draws: bool,
    /// Whether every operation is a single instruction.
    plain: bool,
    /// Most varying values that are alive at once, outside serial loops.
    pressure: usize,
    serial_loops: bool,
    /// Vectors that the accumulators of a serial loop take for four iterations.
    serial_vectors: usize,
    /// Functions that can be called on tiles.
    tiles: usize,
}

impl Analysis {
    fn new(kernel: &Kernel, l: &Loop, has_tile: &dyn Fn(UnaryOp) -> bool) -> Analysis {
        let mut a = Analysis {
            iter: l.iter,
            varying: vec![false; kernel.vars.len()],
            indices: RefCell::new(vec![0; kernel.indices.nodes().len()]),
            vectorizable: true,
            wide: false,
            weight: 0,
            accesses: 0,
            draws: false,
            plain: true,
            pressure: 0,
            serial_loops: false,
            serial_vectors: 0,
            tiles: 0,
        };
        a.block(kernel, &l.body.0, has_tile);
        a.pressure = a.most_alive(&l.body.0);
        a
    }

    /// Whether functions are called on tiles: blocks are then as long.
    fn on_tiles(&self) -> bool {
        self.tiles > 0 && !self.wide && !self.serial_loops
    }

    fn most_alive(&self, stmts: &[Stmt]) -> usize {
        let mut alive: HashSet<Var> = HashSet::new();
        let mut most = 0;
        for stmt in stmts.iter().rev() {
            let mut read = |v: &Var| {
                if self.varying[v.at()] {
                    alive.insert(*v);
                }
            };
            match stmt {
                Stmt::Let { expr, .. } => expr.operands().iter().for_each(&mut read),
                Stmt::Store { value, mask, .. } => std::iter::once(value).chain(mask).for_each(&mut read),
                Stmt::Check { index, mask, .. } => std::iter::once(index).chain(mask).for_each(&mut read),
                Stmt::Loop(_) => {}
            }
            most = most.max(alive.len());
            if let Stmt::Let { var, .. } = stmt {
                alive.remove(var);
            }
        }
        most
    }

    fn block(&mut self, kernel: &Kernel, stmts: &[Stmt], has_tile: &dyn Fn(UnaryOp) -> bool) {
        for stmt in stmts {
            self.weight += 1;
            match stmt {
                Stmt::Let { var, expr } => {
                    let tile =
                        matches!(expr, Expr::Unary(op, _) if kernel.vars[var.at()] == DType::F32 && has_tile(*op));
                    self.tiles += tile as usize;
                    self.weight += if tile { TILE_WEIGHT } else { weight(expr) };
                    self.plain &= weight(expr) == 0;
                    self.draws |= matches!(expr, Expr::Draw { draw: Draw::Bits { .. }, .. });
                    self.accesses += matches!(expr, Expr::Load { .. }) as usize;
                    let varying = expr.operands().iter().any(|v| self.varying[v.at()])
                        || match expr {
                            Expr::Index(index) | Expr::Load { index, .. } => self.index_varies(kernel, *index),
                            _ => false,
                        };
                    self.varying[var.at()] = varying;
                    self.wide |= varying && is_wide(kernel.vars[var.at()]);
                }
                Stmt::Loop(l) => {
                    self.serial_loops = true;
                    self.vectorizable &= !self.index_varies(kernel, l.extent);
                    self.block(kernel, &l.body.0, has_tile);
                    let mut vectors = 0;
                    for a in &l.accumulators {
                        let varying = a.inputs.iter().any(|v| self.varying[v.at()]);
                        for r in a.results.iter().filter(|_| varying) {
                            self.varying[r.at()] = true;
                            let wide = is_wide(kernel.vars[r.at()]);
                            self.wide |= wide;
                            vectors += 1 + wide as usize;
                        }
                    }
                    self.serial_vectors = self.serial_vectors.max(vectors);
                }
                Stmt::Store { .. } | Stmt::Check { .. } => self.accesses += 1,
            }
        }
    }

    pub(super) fn index_varies(&self, kernel: &Kernel, i: Index) -> bool {
        use IndexNode::*;
        match self.indices.borrow()[i.0 as usize] {
            1 => return false,
            2 => return true,
            _ => {}
        }
        let go = |i| self.index_varies(kernel, i);
        let varies = match kernel.indices.node(i) {
            Const(_) | Extent(_) => false,
            Iter(it) => it == self.iter,
            // The value may get to vary later in the analysis: its loop ends after its body is looked at.
            Var(v) => return self.varying[v.at()],
            Add(x, y) | Mul(x, y) | FloorDiv(x, y) | Mod(x, y) | Min(x, y) | Max(x, y) => go(x) || go(y),
        };
        self.indices.borrow_mut()[i.0 as usize] = 1 + varies as u8;
        varies
    }
}

/// Instructions of a call on a tile, for each vector.
const TILE_WEIGHT: usize = 4;

/// Instructions of an operation beyond the first.
fn weight(expr: &Expr) -> usize {
    use UnaryOp::*;
    match expr {
        Expr::Unary(Exp | Logistic, _) => 25,
        Expr::Unary(Log | Tanh | Sin | Cos | Erf, _) | Expr::Binary(BinaryOp::Pow, ..) => 50,
        Expr::Unary(Lgamma | Digamma, _) => 300,
        Expr::Unary(op, _) if op.ulps() > 0 => 90,
        Expr::Binary(BinaryOp::Atan2, ..) => 90,
        Expr::Draw { draw: Draw::Bits { .. }, .. } => 100,
        Expr::Draw { .. } | Expr::Binary(BinaryOp::LogGammaSlope, ..) => 15,
        Expr::Binary(BinaryOp::Rem, ..) => 15,
        Expr::Binary(BinaryOp::Max | BinaryOp::Min, ..) => 4,
        Expr::Convert(_, DType::F16 | DType::BF16) => 20,
        Expr::Convert(..) => 5,
        Expr::Unary(Popcnt, _) | Expr::Binary(BinaryOp::Shl | BinaryOp::Shr, ..) => 8,
        _ => 0,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Home {
    Registers,
    Slots,
}

/// Part of the iterations of a lanes loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stage {
    /// Iterations of a block.
    block: usize,
    /// Iterations of a sub-block; 1 for single iterations.
    width: usize,
    home: Home,
    /// Whether the last block may be partial, so that no other stage follows.
    partial: bool,
    /// How often it runs, if the loop's extent is a number.
    trips: Option<i64>,
}

fn stages(a: &Analysis, accumulators: &[SmallVec<[DType; 2]>], extent: Option<i64>, vectorize: bool) -> Vec<Stage> {
    // The processor does not look as far ahead as the next block of a long body, so the block itself has to hold as many
    // independent operations as it takes to hide the latency of one.
    let long = a.weight > 32 && a.plain && a.pressure <= 3 && !a.serial_loops && accumulators.is_empty();
    let width = match a.wide {
        _ if a.draws => 16,
        _ if a.on_tiles() => tiles::TILE,
        true => 4 << long as usize,
        false => 8 << long as usize,
    };
    let stage = |block, width, home| Stage { block, width, home, partial: false, trips: None };
    let mut stages = Vec::new();
    // The whole body is emitted once for each stage. Where that is dear, one stage does it all: then each access asks
    // whether its block is partial.
    let dear = a.weight > 64 && a.weight > 16 * a.accesses && !a.serial_loops;
    let fits = extent.is_some_and(|n| n > 0 && n % width as i64 == 0);
    if vectorize && a.vectorizable {
        let vectors: usize = accumulators.iter().flatten().map(|&d| LANES / lanes_of(d)).sum();
        if dear && !fits {
            stages.push(Stage { partial: true, ..stage(width, width, Home::Slots) });
        } else if accumulators.is_empty() {
            let block = match (a.serial_loops, a.weight) {
                (true, ..=64) => (LANES / a.serial_vectors.next_power_of_two().max(1)).clamp(width, LANES),
                (false, ..=32) => 2 * width,
                _ => width,
            };
            stages.push(stage(block, width, Home::Slots));
        } else if vectors <= 8 && a.weight <= 24 && !a.serial_loops {
            stages.push(stage(LANES, width, Home::Registers));
        } else {
            stages.push(stage(width, width, Home::Slots));
        }
        if stages[0].block > 4 && !stages[0].partial && a.weight <= 64 {
            stages.push(stage(4, 4, Home::Slots));
        }
    }
    if !stages.last().is_some_and(|s| s.partial) {
        stages.push(stage(1, 1, Home::Slots));
    }
    let Some(mut left) = extent else { return stages };
    for stage in &mut stages {
        let block = stage.block as i64;
        stage.trips = Some(if stage.partial { (left.max(0) + block - 1) / block } else { left.max(0) / block });
        left %= block;
    }
    stages.retain(|s| s.trips != Some(0));
    stages
}

/// An accumulator with its virtual lanes.
struct State<'k> {
    accumulator: &'k Accumulator,
    dtypes: SmallVec<[DType; 2]>,
    /// One for each input, if a stage has its home in slots.
    slots: SmallVec<[StackSlot; 2]>,
}

impl Emitter<'_, '_> {
    pub(super) fn lanes_loop(&mut self, l: &Loop) -> Result<()> {
        if self.lanes.is_some() {
            return Err(self.malformed("a lanes loop inside another"));
        }
        let analysis = Rc::new(Analysis::new(self.kernel, l, &|op| self.has_tile(op)));
        let dtypes = l.accumulators.iter().map(|a| self.accumulated(a)).collect::<Result<Vec<_>>>()?;
        let known = self.kernel.indices.as_const(l.extent);
        let stages = stages(&analysis, &dtypes, known, self.options.vectorize);
        let extent = self.index(l.extent)?;
        self.hoist(&l.body)?;
        // Lanes that no iteration reaches stay identities, which change nothing.
        let widest = stages.iter().map(|s| s.width).max().unwrap_or(1).max(4);
        let lanes = known.map_or(LANES, |n| (n.clamp(widest as i64, LANES as i64) as usize).next_power_of_two());
        let in_slots = stages.iter().any(|s| s.home == Home::Slots);
        let mut states: Vec<State> = Vec::new();
        for (accumulator, dtypes) in l.accumulators.iter().zip(dtypes) {
            let slots = match in_slots {
                true => dtypes.iter().map(|&d| self.slot(lanes * lane_type(d).bytes() as usize)).collect(),
                false => smallvec![],
            };
            states.push(State { accumulator, dtypes, slots });
        }
        let mut registers = SmallVec::new();
        if stages.first().is_none_or(|s| s.home == Home::Registers) {
            registers = self.all_identities(&states, lanes);
        } else {
            let start = self.all_identities(&states, lanes);
            self.spill(&states, lanes, &start);
        }
        let mut i = self.int(0);
        for (n, stage) in stages.iter().enumerate() {
            let (next, kept) = self.stage(l, &analysis, &states, *stage, i, extent, &registers)?;
            i = next;
            registers = kept;
            if stage.home == Home::Registers && n + 1 < stages.len() {
                self.spill(&states, lanes, &registers);
                registers.clear();
            }
        }
        if stages.last().is_some_and(|s| s.home == Home::Slots) {
            registers = self.reload(&states, lanes);
        }
        let mut rest = &registers[..];
        for state in &states {
            let vecs = state.split(lanes, &mut rest);
            let results = self.fold(state.accumulator.combine, &state.dtypes, vecs)?;
            for (&result, vec) in state.accumulator.results.iter().zip(results) {
                self.define_val(result, Val::Uniform { vec, scalar: None });
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn stage(
        &mut self,
        l: &Loop,
        analysis: &Rc<Analysis>,
        states: &[State],
        stage: Stage,
        from: Value,
        extent: Value,
        carried: &[Value],
    ) -> Result<(Value, SmallVec<[Value; 16]>)> {
        let body = |e: &mut Self, i: Value, carried: &[Value]| {
            e.iters[l.iter.at()] = Some(i);
            if stage.width > 1 {
                let (width, subs) = (stage.width, stage.block / stage.width);
                let live = if stage.partial { Some(e.live(i, extent, width)) } else { None };
                e.lanes = Some(Lanes { analysis: analysis.clone(), width, subs, sub: 0, live });
            }
            e.hoist(&l.body)?;
            e.statements(&l.body.0)?;
            let kept = match stage.home {
                Home::Registers => e.combine_registers(states, stage, carried)?,
                Home::Slots => {
                    e.combine_slots(states, stage, i)?;
                    smallvec![]
                }
            };
            e.lanes = None;
            e.iters[l.iter.at()] = None;
            Ok(kept)
        };
        if stage.trips == Some(1) {
            let scope = self.scope();
            let kept = body(self, from, carried)?;
            self.leave(scope);
            return Ok((self.b.ins().iadd_imm_s(from, stage.block as i64), kept));
        }
        let to = match stage.partial {
            true => extent,
            false => self.b.ins().iadd_imm_s(extent, 1 - stage.block as i64),
        };
        self.counted(from, to, stage.block as i64, carried, stage.trips.is_some(), body)
    }

    fn live(&mut self, i: Value, extent: Value, width: usize) -> Live {
        let count = self.b.ins().isub(extent, i);
        let width = self.int(width as i64);
        let whole = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, count, width);
        let capped = self.b.ins().smin(count, width);
        let capped = self.b.ins().ireduce(I32, capped);
        Live { count, whole, lanes: self.b.ins().splat(I32X4, capped) }
    }

    /// Which iterations of a partial block there are, as bools; `None` if all are.
    pub(super) fn live_mask(&mut self) -> Option<Vecs> {
        let (live, width) = self.lanes.as_ref().and_then(|l| Some((l.live?, l.width)))?;
        let mut masks = Vecs::new();
        for first in (0..width as u32).step_by(4) {
            let bytes: Vec<u8> = (first..first + 4).flat_map(u32::to_le_bytes).collect();
            let constant = self.b.func.dfg.constants.insert(bytes.into());
            let numbers = self.b.ins().vconst(I32X4, constant);
            masks.push(self.b.ins().icmp(IntCC::SignedGreaterThan, live.lanes, numbers));
        }
        Some(masks)
    }

    /// The vectors of every lane of every accumulator at its identity.
    fn all_identities(&mut self, states: &[State], lanes: usize) -> SmallVec<[Value; 16]> {
        let mut out = SmallVec::new();
        for state in states {
            for (s, &dtype) in identity(state.accumulator.combine, &state.dtypes).into_iter().zip(&state.dtypes) {
                let value = self.constant(s);
                out.extend(std::iter::repeat_n(value, lanes / lanes_of(dtype)));
            }
        }
        out
    }

    fn spill(&mut self, states: &[State], lanes: usize, mut vecs: &[Value]) {
        for state in states {
            for (vecs, &slot) in state.split(lanes, &mut vecs).iter().zip(&state.slots) {
                for (j, &vec) in vecs.iter().enumerate() {
                    let address = self.b.ins().stack_addr(I64, slot, 0);
                    self.b.ins().store(data(), vec, address, 16 * j as i32);
                }
            }
        }
    }

    fn reload(&mut self, states: &[State], lanes: usize) -> SmallVec<[Value; 16]> {
        let mut out = SmallVec::new();
        for state in states {
            for (&slot, &dtype) in state.slots.iter().zip(&state.dtypes) {
                let address = self.b.ins().stack_addr(I64, slot, 0);
                for j in 0..lanes / lanes_of(dtype) {
                    out.push(self.b.ins().load(register(dtype), data(), address, 16 * j as i32));
                }
            }
        }
        out
    }

    fn combine_registers(
        &mut self,
        states: &[State],
        stage: Stage,
        carried: &[Value],
    ) -> Result<SmallVec<[Value; 16]>> {
        let mut rest = carried;
        let mut out = SmallVec::new();
        for state in states {
            let all = state.split(LANES, &mut rest);
            let mut new: Vec<Vecs> = vec![Vecs::new(); all.len()];
            for sub in 0..stage.block / stage.width {
                if let Some(lanes) = &mut self.lanes {
                    lanes.sub = sub;
                }
                let part = |(vecs, &dtype): (&Vecs, &DType)| {
                    let n = stage.width / lanes_of(dtype);
                    Vecs::from(&vecs[sub * n..(sub + 1) * n])
                };
                let into: Vec<Vecs> = all.iter().zip(&state.dtypes).map(part).collect();
                let x = self.inputs(state)?;
                for (k, vecs) in
                    self.combine(state.accumulator.combine, &state.dtypes, &into, &x)?.into_iter().enumerate()
                {
                    new[k].extend(vecs);
                }
            }
            out.extend(new.into_iter().flatten());
        }
        Ok(out)
    }

    fn combine_slots(&mut self, states: &[State], stage: Stage, i: Value) -> Result<()> {
        for state in states {
            let mut places: SmallVec<[Value; 2]> = smallvec![];
            for (&slot, &dtype) in state.slots.iter().zip(&state.dtypes) {
                let address = self.b.ins().stack_addr(I64, slot, 0);
                let lane = self.b.ins().band_imm_s(i, LANES as i64 - 1);
                let bytes = self.b.ins().ishl_imm_u(lane, if is_wide(dtype) { 3 } else { 2 });
                places.push(self.b.ins().iadd(address, bytes));
            }
            for sub in 0..stage.block / stage.width {
                if let Some(lanes) = &mut self.lanes {
                    lanes.sub = sub;
                }
                let at = |dtype: DType| (sub * stage.width * lane_type(dtype).bytes() as usize) as i32;
                let mut into = Vec::new();
                for (&place, &dtype) in places.iter().zip(&state.dtypes) {
                    let mut vecs = Vecs::new();
                    if stage.width == 1 {
                        let lane = self.b.ins().load(lane_type(dtype), data(), place, 0);
                        vecs.push(self.b.ins().splat(register(dtype), lane));
                    }
                    for j in 0..stage.width / lanes_of(dtype) {
                        vecs.push(self.b.ins().load(register(dtype), data(), place, at(dtype) + 16 * j as i32));
                    }
                    into.push(vecs);
                }
                let x = self.inputs(state)?;
                let new = self.combine(state.accumulator.combine, &state.dtypes, &into, &x)?;
                for ((&place, &dtype), vecs) in places.iter().zip(&state.dtypes).zip(new) {
                    for (j, &vec) in vecs.iter().enumerate() {
                        let new = if stage.width == 1 { self.b.ins().extractlane(vec, 0) } else { vec };
                        self.b.ins().store(data(), new, place, at(dtype) + 16 * j as i32);
                    }
                }
            }
        }
        Ok(())
    }

    fn inputs(&mut self, state: &State) -> Result<Vec<Vecs>> {
        let mut inputs = state.accumulator.inputs.iter().map(|&v| self.vecs(v)).collect::<Result<Vec<Vecs>>>()?;
        if let Some(live) = self.live_mask() {
            // Iterations that there are not contribute what changes nothing.
            let neutral = identity(state.accumulator.combine, &state.dtypes);
            for ((x, s), &dtype) in inputs.iter_mut().zip(neutral).zip(&state.dtypes) {
                let s = smallvec![self.constant(s)];
                *x = self.choose(dtype, &live, x, &s, live.len() * 4 / lanes_of(dtype));
            }
        }
        Ok(inputs)
    }
}

impl State<'_> {
    /// Takes the vectors of this accumulator's lanes from the front of `rest`, by input.
    fn split(&self, lanes: usize, rest: &mut &[Value]) -> Vec<Vecs> {
        let mut out = Vec::new();
        for &dtype in &self.dtypes {
            let (vecs, after) = rest.split_at(lanes / lanes_of(dtype));
            *rest = after;
            out.push(Vecs::from(vecs));
        }
        out
    }
}
