//! The function of a kernel.

mod loops;

use super::expr;
use super::rows::Registers;
use super::vector::Packs;
use super::{BLOCK, RESIDENT, Rows, WARPS, index};
use ir::kernel::*;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

/// A line of the function.
macro_rules! line {
    ($e:expr, $($text:tt)*) => {{
        let text = format!($($text)*);
        $e.push(&text);
    }};
}

/// The function as text.
pub(super) fn function(kernel: &Kernel, entry: &str, scratch: Rows) -> String {
    let mut e = Emitter {
        kernel,
        text: String::new(),
        depth: 0,
        loops: Vec::new(),
        lanes: None,
        packs: Packs::default(),
        registers: Registers::of(kernel),
        wide: BTreeSet::new(),
    };
    e.whole(entry, scratch);
    e.text
}

/// What of a block meets other threads in memory.
#[derive(Clone, Copy, Default)]
struct Meets {
    loads: bool,
    stores: bool,
}

struct Emitter<'a> {
    kernel: &'a Kernel,
    text: String,
    depth: usize,
    /// The loops around, with their extents as text, outermost first.
    loops: Vec<(Iter, String)>,
    /// The lanes loop around.
    lanes: Option<Iter>,
    /// What the loop around moves as one.
    packs: Packs,
    /// Scratch rows that are in registers.
    registers: Registers,
    /// Parameters of which several elements are moved as one, with the bytes of that.
    wide: BTreeSet<(u32, usize)>,
}

impl Emitter<'_> {
    fn push(&mut self, text: &str) {
        let _ = writeln!(self.text, "{:1$}{text}", "", 4 * self.depth);
    }

    fn open(&mut self, text: &str) {
        self.push(format!("{text} {{").trim_start());
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.push("}");
    }

    fn whole(&mut self, entry: &str, scratch: Rows) {
        let kernel = self.kernel;
        let mut parameters: Vec<String> = Vec::new();
        for (i, p) in kernel.params.iter().enumerate() {
            let constant = if p.access == Access::In { "const " } else { "" };
            parameters.push(format!("{constant}{}* p{i}", p.dtype.name()));
        }
        parameters.extend((0..kernel.extents).map(|i| format!("i64 x{i}")));
        let status = if kernel.sites > 0 { "tw_status*" } else { "void*" };
        parameters.push(format!("{status} statuses"));
        parameters.push("char* scratch".into());
        parameters.push("tw_run run".into());
        let name: String = kernel.name.chars().filter(|c| !c.is_control()).collect();
        line!(self, "// {name}");
        let resident = if self.registers.taken > 16 { RESIDENT / 2 } else { RESIDENT };
        self.open(&format!("TW_KERNEL void __launch_bounds__({BLOCK}, {resident}) {entry}({})", parameters.join(", ")));
        line!(self, "if (tw_begin(run)) return;");
        (0..kernel.extents).for_each(|i| line!(self, "const idx e{i} = (idx)x{i};"));
        line!(self, "const int lane = threadIdx.x % 32;");
        line!(self, "const i64 warps = (i64)gridDim.x * {WARPS};");
        line!(self, "const i64 warp = (i64)blockIdx.x * {WARPS} + threadIdx.x / 32;");
        self.scratch(scratch);
        let start = self.text.len();
        let mut ends: Vec<String> = Vec::new();
        for (n, nest) in kernel.nests.iter().enumerate() {
            let grid = self.index(nest.grid);
            let before = ends.last().map_or(String::new(), |end| format!("{end} + "));
            line!(self, "const i64 end{n} = {before}tw_most({grid}, 0);");
            ends.push(format!("end{n}"));
        }
        let Some(last) = ends.last() else { return self.close() };
        self.open(&format!("for (i64 task = warp; task < {last}; task += warps)"));
        for (n, nest) in kernel.nests.iter().enumerate() {
            let condition = match n {
                0 if kernel.nests.len() == 1 => None,
                0 => Some(format!("if (task < {})", ends[0])),
                _ if n + 1 == kernel.nests.len() => Some("else".into()),
                _ => Some(format!("else if (task < {})", ends[n])),
            };
            if let Some(condition) = &condition {
                self.open(condition);
            }
            let before = if n == 0 { String::new() } else { format!(" - {}", ends[n - 1]) };
            line!(self, "const idx n{} = (idx)(task{before});", nest.task.0);
            self.block(&nest.body.0);
            // The next task of this warp has the same scratch rows.
            if (0..kernel.scratch.len()).any(|s| self.registers.count(s as u32).is_none()) {
                line!(self, "__syncwarp();");
            }
            if condition.is_some() {
                self.close();
            }
        }
        self.close();
        self.close();
        let tests: Vec<String> = self.wide.iter().map(|(p, bytes)| format!("tw_multiple(p{p}, {bytes})")).collect();
        if !tests.is_empty() {
            self.text.insert_str(start, &format!("    const bool aligned = {};\n", tests.join(" && ")));
        }
    }

    /// The scratch rows of this warp, one after the other, each at a multiple of 64 bytes.
    fn scratch(&mut self, rows: Rows) {
        let kernel = self.kernel;
        for (i, s) in kernel.scratch.iter().enumerate() {
            if let Some(count) = self.registers.count(i as u32) {
                line!(self, "{} s{i}[{count}];", s.dtype.name());
            }
        }
        let in_memory = |i: usize| self.registers.count(i as u32).is_none();
        let rest: Vec<(usize, &Scratch)> = kernel.scratch.iter().enumerate().filter(|(i, _)| in_memory(*i)).collect();
        if rest.is_empty() {
            return;
        }
        let bytes: Vec<String> = rest
            .iter()
            .map(|(_, s)| format!("(((i64)tw_most({}, 0) * {} + 63) & ~63ll)", self.index(s.len), s.dtype.size()))
            .collect();
        match rows {
            Rows::Shared => {
                let known = |s: &Scratch| kernel.indices.as_const(s.len).unwrap_or(0).max(0) * s.dtype.size() as i64;
                let total: i64 = rest.iter().map(|(_, s)| (known(s) + 63) & !63).sum();
                line!(self, "alignas(64) TW_SHARED char shared_rows[{WARPS}][{}];", total.max(64));
                line!(self, "char* rows = shared_rows[threadIdx.x / 32];");
            }
            Rows::Global => line!(self, "char* rows = scratch + warp * ({});", bytes.join(" + ")),
        }
        for (n, (i, s)) in rest.into_iter().enumerate() {
            let ty = s.dtype.name();
            let before: String = bytes[..n].iter().map(|b| format!(" + {b}")).collect();
            line!(self, "{ty}* s{i} = ({ty}*)(rows{before});");
        }
    }

    pub(super) fn index(&self, i: Index) -> String {
        index::text(self.kernel, i, &|it| format!("n{}", it.0))
    }

    /// Memory whose contents change while a task runs.
    fn is_shared(&self, memory: Memory) -> bool {
        match memory {
            Memory::Scratch(s) => self.registers.count(s).is_none(),
            Memory::Param(p) => self.kernel.params[p as usize].access == Access::InOut,
        }
    }

    fn meets(&self, block: &[Stmt]) -> Meets {
        block.iter().fold(Meets::default(), |all, stmt| {
            let one = match stmt {
                Stmt::Let { expr: Expr::Load { memory, .. }, .. } => {
                    Meets { loads: self.is_shared(*memory), stores: false }
                }
                Stmt::Store { memory, .. } => Meets { loads: false, stores: self.is_shared(*memory) },
                Stmt::Loop(l) => self.meets(&l.body.0),
                _ => Meets::default(),
            };
            Meets { loads: all.loads || one.loads, stores: all.stores || one.stores }
        })
    }

    fn block(&mut self, block: &[Stmt]) {
        for stmt in block {
            match stmt {
                Stmt::Let { var, expr } => {
                    let ty = self.kernel.vars[var.at()].name();
                    let value = self.expr(*var, expr);
                    line!(self, "const {ty} v{} = {value};", var.0);
                }
                Stmt::Store { memory, index, value, mask } => self.store(*memory, *index, *value, *mask),
                Stmt::Check { site, index, bound, mask } => self.check(*site, *index, *bound, *mask),
                Stmt::Loop(l) if l.kind == LoopKind::Lanes => self.lanes_loop(l),
                Stmt::Loop(l) => self.serial_loop(l),
            }
        }
    }

    fn place(&self, memory: Memory, index: Index) -> String {
        match memory {
            Memory::Param(p) => format!("p{p}[{}]", self.index(index)),
            Memory::Scratch(s) if self.registers.count(s).is_some() => {
                match (self.registers.parts(s), self.loops.last()) {
                    (Some(parts @ 2..), Some((part, _))) => format!("s{s}[turn * {parts} + n{}]", part.0),
                    _ => format!("s{s}[turn]"),
                }
            }
            Memory::Scratch(s) => format!("s{s}[{}]", self.index(index)),
        }
    }

    fn expr(&self, var: Var, e: &Expr) -> String {
        let name = |v: &Var| format!("v{}", v.0);
        let dtype = |v: &Var| self.kernel.vars[v.at()];
        match e {
            Expr::Const(x) => expr::constant(*x),
            Expr::Index(i) => format!("(i64)({})", self.index(*i)),
            Expr::Unary(op, a) => expr::unary(*op, dtype(a), &name(a)),
            Expr::Binary(op, a, b) => expr::binary(*op, dtype(a), &name(a), &name(b)),
            Expr::Compare(op, a, b) => expr::compare(*op, &name(a), &name(b)),
            Expr::Select(c, a, b) => format!("{} ? {} : {}", name(c), name(a), name(b)),
            Expr::Convert(a, to) => expr::convert(dtype(a), *to, &name(a)),
            Expr::Bitcast(a, to) => format!("tw_bits<{}>({})", to.name(), name(a)),
            Expr::Load { .. } if self.packs.loads(var).is_some() => {
                format!("pack{}{}", self.packs.loads(var).unwrap_or(0), self.packs.part())
            }
            Expr::Load { memory, index, mask: None } => self.place(*memory, *index),
            Expr::Load { memory, index, mask: Some((m, other)) } => {
                format!("{} ? {} : {}", name(m), self.place(*memory, *index), expr::constant(*other))
            }
            Expr::Draw { draw, key: [a, b], index, parameter } => {
                let parameter = parameter.as_ref().map(name);
                expr::draw(*draw, [&name(a), &name(b)], &name(index), parameter.as_deref())
            }
        }
    }

    fn store(&mut self, memory: Memory, index: Index, value: Var, mask: Option<Var>) {
        let mask = mask.map(|m| format!("v{}", m.0));
        if let Some(pack) = self.packs.stores(memory, index) {
            return line!(self, "pack{pack}{} = v{};", self.packs.part(), value.0);
        }
        let place = self.place(memory, index);
        if self.lanes.is_some() {
            let mask = mask.map_or(String::new(), |m| format!("if ({m}) "));
            return line!(self, "{mask}{place} = v{};", value.0);
        }
        // The other threads have loaded what was there before, and wait until it is written.
        let mask = mask.map_or(String::new(), |m| format!(" && {m}"));
        line!(self, "__syncwarp();");
        line!(self, "if (lane == 0{mask}) {place} = v{};", value.0);
        if self.is_shared(memory) {
            line!(self, "__syncwarp();");
        }
    }

    fn check(&mut self, site: u32, index: Var, bound: Index, mask: Option<Var>) {
        let bound = self.index(bound);
        let index = format!("v{}", index.0);
        let mut wrong = format!("({index} < 0 || {index} >= (i64)({bound}))");
        if let Some(m) = mask {
            wrong = format!("v{} && {wrong}", m.0);
        }
        if self.lanes.is_none() {
            wrong = format!("lane == 0 && {wrong}");
        }
        let order = self
            .loops
            .iter()
            .fold(String::from("(i64)0"), |order, (iter, extent)| format!("({order} * ({extent}) + n{})", iter.0));
        line!(self, "if ({wrong}) tw_offence(run, statuses + {site}, task, {order}, {index}, (i64)({bound}));");
    }

    /// Declares accumulators with what they start from, named after their results.
    fn begin(&mut self, accumulators: &[Accumulator]) {
        for a in accumulators {
            let dtype = self.kernel.vars[a.results[0].at()];
            let start = expr::constant(expr::identity(a.combine, dtype));
            line!(self, "{} v{} = {start};", dtype.name(), a.results[0].0);
            if let Some(position) = a.results.get(1) {
                line!(self, "i64 v{} = 9223372036854775807ll;", position.0);
            }
        }
    }

    fn combine(&mut self, a: &Accumulator, other: &[String]) {
        let own: Vec<String> = a.results.iter().map(|r| format!("v{}", r.0)).collect();
        let text = expr::combine(a.combine, self.kernel.vars[a.results[0].at()], &own, other);
        self.push(&text);
    }
}

/// The values that a block defines, those of blocks inside included.
pub(super) fn defined(block: &[Stmt], into: &mut HashSet<Var>) {
    for stmt in block {
        match stmt {
            Stmt::Let { var, .. } => _ = into.insert(*var),
            Stmt::Loop(l) => {
                l.accumulators.iter().for_each(|a| into.extend(&a.results));
                defined(&l.body.0, into);
            }
            Stmt::Store { .. } | Stmt::Check { .. } => {}
        }
    }
}
