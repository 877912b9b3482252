//! Printing graphs.

use crate::graph::{Graph, Op, Region, Value};
use crate::ops::Attr;
use crate::{Literal, Type};
use std::collections::HashMap;
use std::fmt::{self, Write};

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrintOptions {
    /// The origins of each op, as a comment behind it.
    pub origins: bool,
    /// The first elements only of constants with more elements than this; such text does not read back.
    pub elide: Option<usize>,
}

/// A graph with the way to print it.
pub struct Printed<'a> {
    graph: &'a Graph,
    options: PrintOptions,
}

impl Graph {
    /// The graph as text, in a chosen way.
    pub fn display(&self, options: PrintOptions) -> Printed<'_> {
        Printed { graph: self, options }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.display(PrintOptions::default()).fmt(f)
    }
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let g = self.graph;
        let mut p = Printer { g, options: self.options, names: HashMap::new(), f };
        write!(p.f, "graph @{}(", quoted(&g.name))?;
        p.params(g.root())?;
        write!(p.f, ") -> (")?;
        for (i, t) in g.output_types().iter().enumerate() {
            write!(p.f, "{}{t}", if i > 0 { ", " } else { "" })?;
        }
        write!(p.f, ")")?;
        for (i, s) in g.symbols.iter().enumerate() {
            let word = if i == 0 { " where" } else { "," };
            write!(p.f, "{word} {} in {}..={}", s.symbol, s.min, s.max)?;
        }
        writeln!(p.f, " {{")?;
        p.body(g.root(), 1, "return")?;
        writeln!(p.f, "}}")
    }
}

/// A name as it is if it is a plain word, else in quotes.
fn quoted(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if plain { name.into() } else { format!("{name:?}") }
}

struct Printer<'a, 'b, 'c> {
    g: &'a Graph,
    options: PrintOptions,
    names: HashMap<Value, usize>,
    f: &'b mut fmt::Formatter<'c>,
}

impl Printer<'_, '_, '_> {
    fn name(&mut self, v: Value) -> usize {
        let next = self.names.len();
        *self.names.entry(v).or_insert(next)
    }

    fn typed(&mut self, values: &[Value]) -> fmt::Result {
        for (i, &v) in values.iter().enumerate() {
            let n = self.name(v);
            write!(self.f, "{}%{n}: {}", if i > 0 { ", " } else { "" }, self.g.ty(v))?;
        }
        Ok(())
    }

    fn params(&mut self, r: Region) -> fmt::Result {
        let params = self.g.region(r).params.clone();
        self.typed(&params)
    }

    fn uses(&mut self, values: &[Value]) -> fmt::Result {
        for (i, &v) in values.iter().enumerate() {
            match self.names.get(&v) {
                Some(n) => write!(self.f, "{}%{n}", if i > 0 { ", " } else { " " })?,
                // Only in a graph that the verifier rejects.
                None => write!(self.f, "{}%undefined", if i > 0 { ", " } else { " " })?,
            }
        }
        Ok(())
    }

    fn body(&mut self, r: Region, depth: usize, last: &str) -> fmt::Result {
        for &op in &self.g.region(r).ops {
            self.op(op, depth)?;
        }
        write!(self.f, "{:width$}{last}", "", width = depth * 2)?;
        let yields = self.g.region(r).yields.clone();
        self.uses(&yields)?;
        writeln!(self.f)
    }

    fn op(&mut self, op: Op, depth: usize) -> fmt::Result {
        let data = self.g.op(op);
        write!(self.f, "{:width$}", "", width = depth * 2)?;
        self.typed(&data.results)?;
        if !data.results.is_empty() {
            write!(self.f, " = ")?;
        }
        write!(self.f, "{}", data.primitive.name())?;
        self.uses(&data.operands)?;
        let attributes = data.primitive.attributes();
        if !attributes.is_empty() {
            write!(self.f, " {{")?;
            for (i, (name, value)) in attributes.iter().enumerate() {
                write!(self.f, "{}{name} = ", if i > 0 { ", " } else { "" })?;
                self.attribute(value)?;
            }
            write!(self.f, "}}")?;
        }
        for &r in &data.regions {
            writeln!(self.f, " {{")?;
            write!(self.f, "{:width$}^(", "", width = depth * 2 + 2)?;
            self.params(r)?;
            writeln!(self.f, "):")?;
            self.body(r, depth + 1, "yield")?;
            write!(self.f, "{:width$}}}", "", width = depth * 2)?;
        }
        if self.options.origins {
            for (i, &o) in data.origins.iter().enumerate() {
                write!(self.f, "{}{}", if i > 0 { "; " } else { "  // " }, self.g.origins.get(o))?;
            }
        }
        writeln!(self.f)
    }

    fn attribute(&mut self, a: &Attr) -> fmt::Result {
        match a {
            Attr::Literal(l) => self.literal(l),
            other => write!(self.f, "{other:?}"),
        }
    }

    fn literal(&mut self, l: &Literal) -> fmt::Result {
        let ty: Type = l.ty();
        write!(self.f, "{ty} {{")?;
        let shown = self.options.elide.filter(|&n| l.numel() > n).map_or(l.numel(), |n| n.min(8));
        for (i, s) in l.iter().take(shown).enumerate() {
            write!(self.f, "{}{s}", if i > 0 { ", " } else { "" })?;
        }
        if shown < l.numel() {
            write!(self.f, ", … {} more", l.numel() - shown)?;
        }
        self.f.write_char('}')
    }
}
