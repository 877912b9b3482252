//! Loops as text: who does which iterations, how many at once, and what is unrolled so that loads are under way together.

use super::{Emitter, defined};
use crate::cuda::index::{self, divisor};
use crate::cuda::rows::longest;
use crate::cuda::vector::{self, Packs};
use ir::kernel::*;
use std::collections::HashSet;

/// A line of the function.
macro_rules! line {
    ($e:expr, $($text:tt)*) => {{
        let text = format!($($text)*);
        $e.push(&text);
    }};
}

/// Statements of a loop body that is unrolled, at most; of all its copies together.
const UNROLLED: usize = 96;
/// Copies of a loop body at most.
const COPIES: usize = 8;
/// Iterations of a loop that is unrolled as a whole, at most.
const PARTS: i64 = 16;
/// Accesses that a thread begins before it goes on with the first.
const UNDER_WAY: usize = 4;
/// Elements that a thread has at once, and their work in additions, at most: more would need more registers than there are,
/// since each element takes one, however small it is.
const AT_ONCE: usize = 32;
const WORK_AT_ONCE: usize = 128;

impl Emitter<'_> {
    pub(super) fn serial_loop(&mut self, l: &Loop) {
        let extent = self.index(l.extent);
        self.begin(&l.accumulators);
        let parts = self.parts(l);
        let plan = match (parts, self.lanes) {
            (Some(parts), Some(_)) => vector::parts(self.kernel, &self.registers, l, parts),
            _ => None,
        };
        let packs: Vec<(usize, vector::Pack)> = plan.iter().flat_map(Packs::all).cloned().enumerate().collect();
        let at = |e: &Self, index| e.index_with(index, l.iter, "0");
        if !packs.is_empty() {
            // Other loops number theirs in the same way.
            self.open("");
        }
        for (n, p) in &packs {
            let pack = p.name();
            if p.is_load() {
                let read = self.read(p, &at(self, p.index));
                line!(self, "const {pack} pack{n} = {read};");
            } else {
                line!(self, "{pack} pack{n};");
            }
        }
        if parts.is_some() {
            line!(self, "#pragma unroll");
        } else {
            self.unroll(l);
        }
        let i = format!("n{}", l.iter.0);
        self.open(&format!("for (idx {i} = 0; {i} < {extent}; {i}++)"));
        self.loops.push((l.iter, extent));
        let outer = plan.map(|plan| std::mem::replace(&mut self.packs, plan));
        self.block(&l.body.0);
        self.accumulate(l);
        if let Some(outer) = outer {
            self.packs = outer;
        }
        self.loops.pop();
        self.close();
        for (n, p) in packs.iter().filter(|(_, p)| !p.is_load()) {
            let write = self.write(p, &at(self, p.index), &format!("pack{n}"));
            self.push(&write);
        }
        if !packs.is_empty() {
            self.close();
        }
    }

    /// The number of iterations of a loop that is unrolled as a whole.
    fn parts(&self, l: &Loop) -> Option<i64> {
        let parts = self.kernel.indices.as_const(l.extent).filter(|n| (2..=PARTS).contains(n));
        parts.filter(|_| l.kind == LoopKind::Serial && is_straight(l))
    }

    /// True if each thread has one iteration of a lanes loop at most.
    fn is_single(&self, l: &Loop) -> bool {
        longest(self.kernel, l.extent).is_some_and(|n| n <= LANES as i64)
    }

    /// Several iterations of a short body at once: their loads do not wait for one another.
    fn unroll(&mut self, l: &Loop) {
        let size = size(&l.body.0);
        let copies = (UNROLLED / size.max(1)).min(COPIES);
        let is_short = |stmt: &Stmt| match stmt {
            Stmt::Check { .. } => false,
            Stmt::Loop(l) => self.parts(l).is_some(),
            Stmt::Let { .. } | Stmt::Store { .. } => true,
        };
        if copies > 1 && l.body.0.iter().all(is_short) {
            line!(self, "#pragma unroll {}", 1 << copies.ilog2());
        }
    }

    fn index_with(&self, i: Index, iter: Iter, is: &str) -> String {
        index::text(self.kernel, i, &|it| if it == iter { is.into() } else { format!("n{}", it.0) })
    }

    /// True if the elements at multiples of `width` of a loop start where a whole access may.
    fn fits(&self, p: &vector::Pack, iter: Iter, width: usize) -> bool {
        divisor(self.kernel, p.index, iter) % width as i64 == 0
    }

    fn name(memory: Memory) -> String {
        match memory {
            Memory::Param(p) => format!("p{p}"),
            Memory::Scratch(s) => format!("s{s}"),
        }
    }

    /// Whether a memory begins at a multiple of so many bytes: `aligned` says it of the buffers, rows always do.
    fn begins(&mut self, p: &vector::Pack) -> &'static str {
        match p.memory {
            Memory::Param(number) => {
                self.wide.insert((number, p.bytes()));
                "aligned"
            }
            Memory::Scratch(_) => "true",
        }
    }

    fn read(&mut self, p: &vector::Pack, at: &str) -> String {
        let (name, aligned) = (Self::name(p.memory), self.begins(p));
        format!("tw_read<{}, {}>({name} + {at}, {aligned})", p.dtype.name(), p.width)
    }

    fn write(&mut self, p: &vector::Pack, at: &str, value: &str) -> String {
        let (name, aligned) = (Self::name(p.memory), self.begins(p));
        format!("tw_write<{}, {}>({name} + {at}, {value}, {aligned});", p.dtype.name(), p.width)
    }

    fn accumulate(&mut self, l: &Loop) {
        for a in &l.accumulators {
            let inputs: Vec<String> = a.inputs.iter().map(|v| format!("v{}", v.0)).collect();
            self.combine(a, &inputs);
        }
    }

    pub(super) fn lanes_loop(&mut self, l: &Loop) {
        let extent = self.index(l.extent);
        let meets = self.meets(&l.body.0);
        // A mask is the same for all threads here: they pass by together.
        let guard = only_if(l);
        if let Some(mask) = guard {
            self.open(&format!("if (v{})", mask.0));
        }
        if meets.loads || meets.stores {
            line!(self, "__syncwarp();");
        }
        self.begin(&l.accumulators);
        self.loops.push((l.iter, extent.clone()));
        self.lanes = Some(l.iter);
        if self.registers.unrolls(l.iter) {
            self.turns(l);
        } else {
            let i = format!("n{}", l.iter.0);
            let single = self.is_single(l);
            // Groups of neighbours would leave most threads without any.
            let plan = if single { None } else { vector::plan(self.kernel, &self.registers, l) };
            let first = match plan {
                Some(plan) => {
                    self.vector_loop(l, &extent, plan);
                    format!("head{} + lane", l.iter.0)
                }
                None => {
                    if !single {
                        self.unroll(l);
                    }
                    "lane".into()
                }
            };
            if single && first == "lane" {
                line!(self, "const idx {i} = lane;");
                self.open(&format!("if ({i} < {extent})"));
            } else {
                self.open(&format!("for (idx {i} = {first}; {i} < {extent}; {i} += 32)"));
            }
            self.block(&l.body.0);
            self.accumulate(l);
            self.close();
        }
        self.lanes = None;
        self.loops.pop();
        for a in &l.accumulators {
            self.open("for (int by = 16; by > 0; by /= 2)");
            // All threads take part before any looks at what it got.
            for r in &a.results {
                line!(self, "const {} d{1} = tw_down(v{1}, by);", self.kernel.vars[r.at()].name(), r.0);
            }
            let other: Vec<String> = a.results.iter().map(|r| format!("d{}", r.0)).collect();
            self.combine(a, &other);
            self.close();
            a.results.iter().for_each(|r| line!(self, "v{0} = tw_first(v{0});", r.0));
        }
        if meets.stores {
            line!(self, "__syncwarp();");
        }
        if guard.is_some() {
            self.close();
        }
    }

    /// A loop over rows in registers, written out: which register an iteration has is known then.
    fn turns(&mut self, l: &Loop) {
        let most = longest(self.kernel, l.extent).unwrap_or(0);
        let turns = most.div_euclid(32) + i64::from(most % 32 > 0);
        let (i, extent) = (l.iter.0, self.index(l.extent));
        line!(self, "#pragma unroll");
        self.open(&format!("for (int turn = 0; turn < {turns}; turn++)"));
        line!(self, "const idx n{i} = turn * 32 + lane;");
        let partial = most % 32 > 0 || self.kernel.indices.as_const(l.extent).is_none();
        if partial {
            self.open(&format!("if (n{i} < {extent})"));
        }
        self.block(&l.body.0);
        self.accumulate(l);
        if partial {
            self.close();
        }
        self.close();
    }

    /// The iterations of a lanes loop that threads take several at a time, if the addresses allow it.
    fn vector_loop(&mut self, l: &Loop, extent: &str, plan: Packs) {
        let width = plan.width();
        let i = format!("n{}", l.iter.0);
        let (head, at) = (format!("head{}", l.iter.0), format!("at{}", l.iter.0));
        let mut tests: Vec<String> = Vec::new();
        let packs: Vec<(usize, vector::Pack)> = plan.all().cloned().enumerate().collect();
        for (_, p) in &packs {
            let test = match self.fits(p, l.iter, width) {
                true => self.begins(p).to_string(),
                false => {
                    let start = self.index_with(p.index, l.iter, "0");
                    format!("tw_aligned<{}, {width}>({} + {start})", p.dtype.name(), Self::name(p.memory))
                }
            };
            if !tests.contains(&test) && test != "true" {
                tests.push(test);
            }
        }
        let whole = format!("({extent}) / {width} * {width}");
        match tests.is_empty() {
            true => line!(self, "const idx {head} = {whole};"),
            false => line!(self, "const idx {head} = {} ? {whole} : 0;", tests.join(" && ")),
        }
        let step = 32 * width;
        let loads = packs.iter().filter(|(_, p)| p.is_load()).count();
        let known = self.kernel.indices.as_const(l.extent);
        let turns = (UNDER_WAY / loads.max(1)).max(1);
        let turns =
            turns.min(AT_ONCE / (width * packs.len())).min(WORK_AT_ONCE / (width * size(&l.body.0).max(1))).max(1);
        let turns = known.map_or(turns, |n| turns.min((n as usize / step).max(1)));
        // Where all turns have all their iterations, none asks.
        let full = known.is_some_and(|n| (n as usize).is_multiple_of(step * turns));
        self.open(&format!("for (idx base = lane * {width}; base < {head}; base += {})", step * turns));
        let place = format!("(base + turn * {step})");
        let more = if full { String::new() } else { format!("if ({place} < {head}) ") };
        for (n, p) in &packs {
            line!(self, "{} pack{n}[{turns}];", p.name());
        }
        if loads > 0 {
            line!(self, "#pragma unroll");
            self.open(&format!("for (int turn = 0; turn < {turns}; turn++)"));
            for (n, p) in packs.iter().filter(|(_, p)| p.is_load()) {
                let from = self.index_with(p.index, l.iter, &place);
                let (pack, name) = (p.name(), Self::name(p.memory));
                line!(self, "{more}pack{n}[turn] = *(const {pack}*)({name} + {from});");
            }
            self.close();
        }
        line!(self, "#pragma unroll");
        self.open(&format!("for (int turn = 0; turn < {turns}; turn++)"));
        line!(self, "const idx {at} = {place};");
        if !full {
            line!(self, "if ({at} >= {head}) break;");
        }
        line!(self, "#pragma unroll");
        self.open(&format!("for (int part = 0; part < {width}; part++)"));
        line!(self, "const idx {i} = {at} + part;");
        self.packs = plan;
        self.block(&l.body.0);
        self.packs = Packs::default();
        self.close();
        for (n, p) in packs.iter().filter(|(_, p)| !p.is_load()) {
            let to = self.index_with(p.index, l.iter, &at);
            line!(self, "*({}*)({} + {to}) = pack{n}[turn];", p.name(), Self::name(p.memory));
        }
        self.close();
        self.close();
    }
}

fn is_straight(l: &Loop) -> bool {
    !l.body.0.iter().any(|s| matches!(s, Stmt::Loop(_) | Stmt::Check { .. }))
}

/// Statements, with those of loops inside as often as they run, where that is known.
fn size(block: &[Stmt]) -> usize {
    let of = |s: &Stmt| match s {
        Stmt::Let { expr, .. } => expr.cost().max(1) as usize,
        Stmt::Loop(l) => UNROLLED.min(size(&l.body.0) * 4),
        _ => 1,
    };
    block.iter().map(of).sum()
}

/// The mask without which a loop does nothing, if it has one from outside.
fn only_if(l: &Loop) -> Option<Var> {
    let mut inside = HashSet::new();
    defined(&l.body.0, &mut inside);
    let mut masks = l.body.0.iter().filter_map(|s| match s {
        Stmt::Let { .. } => None,
        Stmt::Store { mask, .. } => Some(*mask),
        Stmt::Loop(_) | Stmt::Check { .. } => Some(None),
    });
    let first = masks.next()??;
    (l.accumulators.is_empty() && masks.all(|m| m == Some(first)) && !inside.contains(&first)).then_some(first)
}
