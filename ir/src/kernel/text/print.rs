//! Kernel to text. Total: what a broken kernel refers to and does not have prints as `undefined`, which does not parse.

use crate::Scalar;
use crate::kernel::canonical::Names;
use crate::kernel::index::Written;
use crate::kernel::nesting::MAX_NESTING;
use crate::kernel::verify::MAX_ARGUMENTS;
use crate::kernel::*;
use std::fmt::{self, Write};

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let w = Writer::new(self);
        f.write_str("kernel @")?;
        write_name(f, &self.name)?;
        f.write_str("(")?;
        for (i, p) in self.params.iter().enumerate() {
            write!(f, "{}%p{i}: {} {}", if i > 0 { ", " } else { "" }, p.access.name(), p.dtype)?;
        }
        if self.extents > MAX_ARGUMENTS {
            write!(f, "; undefined: {} extents", self.extents)?;
        }
        for i in 0..self.extents.min(MAX_ARGUMENTS) {
            write!(f, "{}N{i}", if i > 0 { ", " } else { "; " })?;
        }
        f.write_str(")")?;
        for (i, s) in self.scratch.iter().enumerate() {
            let before = if i > 0 { ", " } else { " scratch(" };
            write!(f, "{before}%s{i}: {}[{}]", s.dtype, w.index(s.len))?;
        }
        if !self.scratch.is_empty() {
            f.write_str(")")?;
        }
        if self.sites > 0 {
            write!(f, " sites {}", self.sites)?;
        }
        f.write_str(" {\n")?;
        for nest in &self.nests {
            writeln!(f, "  {}", w.nest(nest))?;
            w.block(f, &nest.body, 1)?;
            f.write_str("  }\n")?;
        }
        f.write_str("}\n")
    }
}

fn write_name(f: &mut dyn Write, name: &str) -> fmt::Result {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
        return f.write_str(name);
    }
    f.write_char('"')?;
    for c in name.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Prints parts of one kernel under the names that the whole has.
pub(in crate::kernel) struct Writer<'a> {
    kernel: &'a Kernel,
    names: Names,
    written: Vec<Option<Written>>,
}

#[derive(PartialEq, PartialOrd)]
enum Precedence {
    Sum,
    Product,
    Atom,
}

impl<'a> Writer<'a> {
    pub fn new(kernel: &'a Kernel) -> Self {
        Writer { kernel, names: Names::of(kernel), written: kernel.indices.written() }
    }
    pub fn var(&self, v: Var) -> String {
        match self.names.vars.get(v.at()).copied().flatten() {
            Some(n) => format!("%{n}"),
            None => format!("%undefined{}", v.0),
        }
    }
    pub fn iter(&self, i: Iter) -> String {
        match self.names.iters.get(&i) {
            Some(n) => format!("%i{n}"),
            None => format!("%undefined_i{}", i.0),
        }
    }
    pub fn memory(&self, m: Memory) -> String {
        match m {
            Memory::Param(p) => format!("%p{p}"),
            Memory::Scratch(s) => format!("%s{s}"),
        }
    }
    pub fn index(&self, i: Index) -> String {
        let mut text = String::new();
        self.index_in(&mut text, i, Precedence::Sum);
        text
    }
    pub fn nest(&self, n: &Nest) -> String {
        format!("nest {} in 0..{} work {} {{", self.iter(n.task), self.index(n.grid), self.index(n.work))
    }
    /// A statement on one line; of a loop, its head.
    pub fn head(&self, stmt: &Stmt) -> String {
        let masked = |mask: &Option<Var>| mask.map_or(String::new(), |m| format!(" if {}", self.var(m)));
        match stmt {
            Stmt::Let { var, expr } => {
                let dtype = self.kernel.vars.get(var.at()).copied();
                format!("{} = {}", self.definition(*var), self.expr(expr, dtype))
            }
            Stmt::Store { memory, index, value, mask } => {
                let (memory, index, value) = (self.memory(*memory), self.index(*index), self.var(*value));
                format!("store {memory}[{index}], {value}{}", masked(mask))
            }
            Stmt::Check { site, index, bound, mask } => {
                format!("check {site}: {} in 0..{}{}", self.var(*index), self.index(*bound), masked(mask))
            }
            Stmt::Loop(l) => {
                let kind = match l.kind {
                    LoopKind::Serial => "",
                    LoopKind::Lanes => " lanes",
                };
                format!("for {} in 0..{}{kind} {{", self.iter(l.iter), self.index(l.extent))
            }
        }
    }
    pub fn accumulator(&self, a: &Accumulator) -> String {
        let inputs: Vec<_> = a.inputs.iter().map(|&v| self.var(v)).collect();
        let results: Vec<_> = a.results.iter().map(|&v| self.definition(v)).collect();
        format!("yield {} {} -> {}", a.combine.name(), inputs.join(", "), results.join(", "))
    }
    fn definition(&self, v: Var) -> String {
        match self.kernel.vars.get(v.at()) {
            Some(dtype) => format!("{}: {dtype}", self.var(v)),
            None => self.var(v),
        }
    }
    fn block(&self, f: &mut dyn Write, block: &Block, depth: usize) -> fmt::Result {
        let indent = 2 * (depth + 1);
        for stmt in &block.0 {
            writeln!(f, "{:indent$}{}", "", self.head(stmt))?;
            if let Stmt::Loop(l) = stmt {
                if depth <= MAX_NESTING {
                    self.block(f, &l.body, depth + 1)?;
                } else {
                    writeln!(f, "{:indent$}  undefined: nested too deep", "")?;
                }
                for a in &l.accumulators {
                    writeln!(f, "{:indent$}  {}", "", self.accumulator(a))?;
                }
                writeln!(f, "{:indent$}}}", "")?;
            }
        }
        Ok(())
    }
    fn expr(&self, expr: &Expr, defined: Option<DType>) -> String {
        // The type stands at the definition; it is repeated only where a broken kernel contradicts it.
        let scalar = |s: Scalar| if Some(s.dtype()) == defined { s.to_string() } else { format!("{} {s}", s.dtype()) };
        match *expr {
            Expr::Const(s) => format!("const {}", scalar(s)),
            Expr::Index(i) => format!("index {}", self.index(i)),
            Expr::Unary(op, a) => format!("{} {}", op.name(), self.var(a)),
            Expr::Binary(op, a, b) => format!("{} {}, {}", op.name(), self.var(a), self.var(b)),
            Expr::Compare(op, a, b) => format!("{} {}, {}", op.name(), self.var(a), self.var(b)),
            Expr::Select(c, a, b) => format!("select {}, {}, {}", self.var(c), self.var(a), self.var(b)),
            Expr::Convert(a, to) if Some(to) == defined => format!("convert {}", self.var(a)),
            Expr::Convert(a, to) => format!("convert {to} {}", self.var(a)),
            Expr::Bitcast(a, to) if Some(to) == defined => format!("bitcast {}", self.var(a)),
            Expr::Bitcast(a, to) => format!("bitcast {to} {}", self.var(a)),
            Expr::Load { memory, index, mask } => {
                let mask = mask.map_or(String::new(), |(m, s)| format!(" if {} else {}", self.var(m), scalar(s)));
                format!("load {}[{}]{mask}", self.memory(memory), self.index(index))
            }
            Expr::Draw { draw, key: [a, b], index, parameter } => {
                let stream = if let Draw::Bits { stream } = draw { format!(" {stream}:") } else { String::new() };
                let parameter = parameter.map_or(String::new(), |p| format!(", {}", self.var(p)));
                let name = draw.name();
                format!("{name}{stream} {}, {}, {}{parameter}", self.var(a), self.var(b), self.var(index))
            }
        }
    }

    fn index_in(&self, out: &mut String, i: Index, least: Precedence) {
        use IndexNode::*;
        let node = match self.written.get(i.0 as usize) {
            Some(Some(_)) => self.kernel.indices.node(i),
            _ => return out.push_str(&format!("undefined#{}", i.0)),
        };
        let own = match node {
            Add(..) => Precedence::Sum,
            Mul(..) | FloorDiv(..) | Mod(..) => Precedence::Product,
            _ => Precedence::Atom,
        };
        let parens = own < least;
        if parens {
            out.push('(');
        }
        let mut binary = |a, sign: &str, b, left, right| {
            self.index_in(out, a, left);
            out.push_str(sign);
            self.index_in(out, b, right);
        };
        match node {
            Const(n) => out.push_str(&n.to_string()),
            Extent(e) => out.push_str(&format!("N{}", e.0)),
            Iter(i) => out.push_str(&self.iter(i)),
            Var(v) => out.push_str(&self.var(v)),
            Add(a, b) => {
                self.index_in(out, a, Precedence::Sum);
                self.addend(out, b);
            }
            Mul(a, b) => binary(a, "*", b, Precedence::Product, Precedence::Atom),
            FloorDiv(a, b) => binary(a, "/", b, Precedence::Product, Precedence::Atom),
            Mod(a, b) => binary(a, " mod ", b, Precedence::Product, Precedence::Atom),
            Min(a, b) | Max(a, b) => {
                out.push_str(if matches!(node, Min(..)) { "min(" } else { "max(" });
                self.index_in(out, a, Precedence::Sum);
                out.push_str(", ");
                self.index_in(out, b, Precedence::Sum);
                out.push(')');
            }
        }
        if parens {
            out.push(')');
        }
    }

    /// The right side of a sum: ` + b`, or ` - t` for the `t` of which the reader's negation is exactly `b`.
    fn addend(&self, out: &mut String, b: Index) {
        use IndexNode::*;
        let t = &self.kernel.indices;
        match t.get(b) {
            Some(Const(n)) if n < 0 && n != i64::MIN => out.push_str(&format!(" - {}", -n)),
            Some(Mul(x, c)) => match t.get(c) {
                Some(Const(c)) if c < -1 && c != i64::MIN => {
                    out.push_str(" - ");
                    self.index_in(out, x, Precedence::Product);
                    out.push_str(&format!("*{}", -c));
                }
                Some(Const(-1)) if !negated_in_its_number(t, x) => {
                    out.push_str(" - ");
                    self.index_in(out, x, Precedence::Product);
                }
                _ => self.plus(out, b),
            },
            _ => self.plus(out, b),
        }
    }
    fn plus(&self, out: &mut String, b: Index) {
        out.push_str(" + ");
        self.index_in(out, b, Precedence::Product);
    }
}

/// Whether reading `- x` negates a number in `x` instead of multiplying by -1.
pub(super) fn negated_in_its_number(t: &index::IndexTable, x: Index) -> bool {
    let at_least = |i: Index, least| matches!(t.get(i), Some(IndexNode::Const(n)) if n >= least);
    match t.get(x) {
        Some(IndexNode::Const(_)) => at_least(x, 1),
        Some(IndexNode::Mul(_, c)) => at_least(c, 2),
        _ => false,
    }
}
