//! The function of a kernel.

use super::expr::{self, type_name};
use super::vector::{self, Packs};
use super::{BLOCK, RESIDENT, Rows, WARPS, index};
use ir::kernel::*;
use std::collections::HashSet;
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
    let mut e =
        Emitter { kernel, text: String::new(), depth: 0, loops: Vec::new(), lanes: None, packs: Packs::default() };
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
    /// What the vector loop around moves as one.
    packs: Packs,
}

impl Emitter<'_> {
    fn push(&mut self, text: &str) {
        let _ = writeln!(self.text, "{:1$}{text}", "", 4 * self.depth);
    }

    fn open(&mut self, text: &str) {
        self.push(&format!("{text} {{"));
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
            parameters.push(format!("{constant}{}* p{i}", type_name(p.dtype)));
        }
        parameters.extend((0..kernel.extents).map(|i| format!("i64 x{i}")));
        let status = if kernel.sites > 0 { "tw_status*" } else { "void*" };
        parameters.push(format!("{status} statuses"));
        parameters.push("char* scratch".into());
        let name: String = kernel.name.chars().filter(|c| !c.is_control()).collect();
        line!(self, "// {name}");
        self.open(&format!("TW_KERNEL void __launch_bounds__({BLOCK}, {RESIDENT}) {entry}({})", parameters.join(", ")));
        (0..kernel.extents).for_each(|i| line!(self, "const idx e{i} = (idx)x{i};"));
        line!(self, "const int lane = threadIdx.x % 32;");
        line!(self, "const i64 warps = (i64)gridDim.x * {WARPS};");
        line!(self, "const i64 warp = (i64)blockIdx.x * {WARPS} + threadIdx.x / 32;");
        self.scratch(scratch);
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
            line!(self, "const idx i{} = (idx)(task{before});", nest.task.0);
            self.block(&nest.body.0);
            // The next task of this warp has the same scratch rows.
            if !kernel.scratch.is_empty() {
                line!(self, "__syncwarp();");
            }
            if condition.is_some() {
                self.close();
            }
        }
        self.close();
        self.close();
    }

    /// The scratch rows of this warp, one after the other, each at a multiple of 64 bytes.
    fn scratch(&mut self, rows: Rows) {
        let kernel = self.kernel;
        if kernel.scratch.is_empty() {
            return;
        }
        let bytes: Vec<String> = kernel
            .scratch
            .iter()
            .map(|s| format!("(((i64)tw_most({}, 0) * {} + 63) & ~63ll)", self.index(s.len), s.dtype.size()))
            .collect();
        match rows {
            Rows::Shared => {
                let known = |s: &Scratch| kernel.indices.as_const(s.len).unwrap_or(0).max(0) * s.dtype.size() as i64;
                let total: i64 = kernel.scratch.iter().map(|s| (known(s) + 63) & !63).sum();
                line!(self, "alignas(64) TW_SHARED char shared_rows[{WARPS}][{}];", total.max(64));
                line!(self, "char* rows = shared_rows[threadIdx.x / 32];");
            }
            Rows::Global => line!(self, "char* rows = scratch + warp * ({});", bytes.join(" + ")),
        }
        for (i, s) in kernel.scratch.iter().enumerate() {
            let ty = type_name(s.dtype);
            let before: String = bytes[..i].iter().map(|b| format!(" + {b}")).collect();
            line!(self, "{ty}* s{i} = ({ty}*)(rows{before});");
        }
    }

    pub(super) fn index(&self, i: Index) -> String {
        index::text(self.kernel, i, &|it| format!("i{}", it.0))
    }

    /// Memory whose contents change while a task runs.
    fn is_shared(&self, memory: Memory) -> bool {
        match memory {
            Memory::Scratch(_) => true,
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
                    let ty = type_name(self.kernel.vars[var.at()]);
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
            Expr::Bitcast(a, to) => format!("tw_bits<{}>({})", type_name(*to), name(a)),
            Expr::Load { .. } if self.packs.loads(var).is_some() => {
                format!("pack{}.at[part]", self.packs.loads(var).unwrap_or(0))
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
            return line!(self, "pack{pack}.at[part] = v{};", value.0);
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
            .fold(String::from("(i64)0"), |order, (iter, extent)| format!("({order} * ({extent}) + i{})", iter.0));
        line!(self, "if ({wrong}) tw_offence(statuses + {site}, task, {order}, {index}, (i64)({bound}));");
    }

    /// Declares accumulators with what they start from, named after their results.
    fn begin(&mut self, accumulators: &[Accumulator]) {
        for a in accumulators {
            let dtype = self.kernel.vars[a.results[0].at()];
            let start = expr::constant(expr::identity(a.combine, dtype));
            line!(self, "{} v{} = {start};", type_name(dtype), a.results[0].0);
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

    fn serial_loop(&mut self, l: &Loop) {
        let extent = self.index(l.extent);
        self.begin(&l.accumulators);
        let i = format!("i{}", l.iter.0);
        self.open(&format!("for (idx {i} = 0; {i} < {extent}; {i}++)"));
        self.loops.push((l.iter, extent));
        self.block(&l.body.0);
        self.accumulate(l);
        self.loops.pop();
        self.close();
    }

    fn accumulate(&mut self, l: &Loop) {
        for a in &l.accumulators {
            let inputs: Vec<String> = a.inputs.iter().map(|v| format!("v{}", v.0)).collect();
            self.combine(a, &inputs);
        }
    }

    fn lanes_loop(&mut self, l: &Loop) {
        let extent = self.index(l.extent);
        let i = format!("i{}", l.iter.0);
        let meets = self.meets(&l.body.0);
        if meets.loads || meets.stores {
            line!(self, "__syncwarp();");
        }
        self.begin(&l.accumulators);
        self.loops.push((l.iter, extent.clone()));
        self.lanes = Some(l.iter);
        let first = match vector::plan(self.kernel, l) {
            Some(plan) => {
                self.vector_loop(l, &extent, plan);
                format!("head{} + lane", l.iter.0)
            }
            None => "lane".into(),
        };
        self.open(&format!("for (idx {i} = {first}; {i} < {extent}; {i} += 32)"));
        self.block(&l.body.0);
        self.accumulate(l);
        self.close();
        self.lanes = None;
        self.loops.pop();
        for a in &l.accumulators {
            self.open("for (int by = 16; by > 0; by /= 2)");
            // All threads take part before any looks at what it got.
            for r in &a.results {
                line!(self, "const {} d{1} = tw_down(v{1}, by);", type_name(self.kernel.vars[r.at()]), r.0);
            }
            let other: Vec<String> = a.results.iter().map(|r| format!("d{}", r.0)).collect();
            self.combine(a, &other);
            self.close();
            a.results.iter().for_each(|r| line!(self, "v{0} = tw_first(v{0});", r.0));
        }
        if meets.stores {
            line!(self, "__syncwarp();");
        }
    }

    /// The iterations of a lanes loop that threads take several at a time, if the addresses allow it.
    fn vector_loop(&mut self, l: &Loop, extent: &str, plan: Packs) {
        let (kernel, width) = (self.kernel, plan.width());
        let i = format!("i{}", l.iter.0);
        let head = format!("head{}", l.iter.0);
        let start = |index: Index| {
            index::text(kernel, index, &|it| if it == l.iter { "0".into() } else { format!("i{}", it.0) })
        };
        let name = |memory: Memory| match memory {
            Memory::Param(p) => format!("p{p}"),
            Memory::Scratch(s) => format!("s{s}"),
        };
        let aligned: Vec<String> = plan
            .all()
            .map(|p| format!("tw_aligned<{}, {width}>({} + {})", type_name(p.dtype), name(p.memory), start(p.index)))
            .collect();
        let mut distinct: Vec<String> = Vec::new();
        aligned.into_iter().for_each(|a| {
            if !distinct.contains(&a) {
                distinct.push(a)
            }
        });
        line!(self, "const idx {head} = {} ? ({extent}) / {width} * {width} : 0;", distinct.join(" && "));
        self.open(&format!("for (idx at{0} = lane * {width}; at{0} < {head}; at{0} += {1})", l.iter.0, 32 * width));
        let at = |index: Index| {
            index::text(kernel, index, &|it| if it == l.iter { format!("at{}", it.0) } else { format!("i{}", it.0) })
        };
        for (n, p) in plan.all().enumerate() {
            let pack = format!("tw_pack<{}, {width}>", type_name(p.dtype));
            if p.is_load() {
                line!(self, "const {pack} pack{n} = *(const {pack}*)({} + {});", name(p.memory), at(p.index));
            } else {
                line!(self, "{pack} pack{n};");
            }
        }
        line!(self, "#pragma unroll");
        self.open(&format!("for (int part = 0; part < {width}; part++)"));
        line!(self, "const idx {i} = at{} + part;", l.iter.0);
        self.packs = plan;
        self.block(&l.body.0);
        let plan = std::mem::take(&mut self.packs);
        self.close();
        for (n, p) in plan.all().enumerate().filter(|(_, p)| !p.is_load()) {
            let pack = format!("tw_pack<{}, {width}>", type_name(p.dtype));
            line!(self, "*({pack}*)({} + {}) = pack{n};", name(p.memory), at(p.index));
        }
        self.close();
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
