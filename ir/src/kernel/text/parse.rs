//! Text to kernel: recursive descent, with bounded nesting, straight into the tables.

use super::print::negated_in_its_number;
use crate::kernel::index::Written;
use crate::kernel::nesting::MAX_NESTING;
use crate::kernel::*;
use crate::{DType, Scalar};
use std::collections::HashMap;
use std::fmt;

/// Why a text is not a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// What was expected, or which rule is broken.
    pub message: String,
    /// Line of the offence, from 1.
    pub line: usize,
    /// Column of the offence in characters, from 1.
    pub column: usize,
    source: String,
}

impl ParseError {
    fn new(text: &str, at: usize, message: String) -> ParseError {
        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let source = text[start..].split(['\n', '\r']).next().unwrap_or_default().to_string();
        let line = 1 + text[..at].matches('\n').count();
        ParseError { message, line, column: 1 + text[start..at].chars().count(), source }
    }
}

/// The message, then the line with a caret under the offence.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.to_string();
        let indent = line.len();
        // Of a very long line, the part around the offence.
        let skip = self.column.saturating_sub(80);
        let shown: String = self.source.chars().skip(skip).take(120).map(|c| if c == '\t' { ' ' } else { c }).collect();
        writeln!(f, "{}", self.message)?;
        writeln!(f, "{:indent$}--> {}:{}", "", self.line, self.column)?;
        writeln!(f, "{:indent$} |", "")?;
        writeln!(f, "{line} | {shown}")?;
        write!(f, "{:indent$} | {:>caret$}", "", "^", caret = self.column - skip)
    }
}
impl std::error::Error for ParseError {}

/// Reads one kernel; the result is in canonical form, and need not be correct: the verifier tells.
pub fn parse(text: &str) -> Result<Kernel, ParseError> {
    let mut p = Parser::new(text);
    p.kernel().map_err(|e| ParseError::new(text, e.at, e.message))
}

pub(super) struct Failure {
    pub at: usize,
    pub message: String,
}
pub(super) type Parse<T> = Result<T, Failure>;

#[derive(Clone, Copy)]
enum Entity {
    Param(u32),
    Scratch(u32),
    Iter(Iter),
    Var(Var),
}

pub(super) struct Parser<'a> {
    pub text: &'a str,
    pub at: usize,
    names: HashMap<&'a str, Entity>,
    extents: HashMap<&'a str, Extent>,
    /// The type of each value, once its definition was read, and where it is first mentioned.
    vars: Vec<(Option<DType>, usize)>,
    iters: u32,
    indices: index::IndexTable,
    written: Vec<Written>,
    parens: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser {
            text,
            at: 0,
            names: HashMap::new(),
            extents: HashMap::new(),
            vars: Vec::new(),
            iters: 0,
            indices: Default::default(),
            written: Vec::new(),
            parens: 0,
        }
    }

    fn kernel(&mut self) -> Parse<Kernel> {
        self.keyword("kernel")?;
        self.expect("@")?;
        let name = self.kernel_name()?;
        self.expect("(")?;
        let mut params = Vec::new();
        while self.peek_is("%") {
            let name = self.declared("a parameter")?;
            self.expect(":")?;
            let access = self.access()?;
            params.push(Param { dtype: self.dtype()?, access });
            self.names.insert(name, Entity::Param(params.len() as u32 - 1));
            if !self.eat(",") {
                break;
            }
        }
        let mut extents = 0;
        if self.eat(";") {
            loop {
                let at = self.start();
                let name = self.word("the name of an extent")?;
                if ["min", "max", "mod"].contains(&name) || !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                    return Err(Failure { at, message: format!("`{name}` cannot name an extent") });
                }
                if self.extents.insert(name, Extent(extents)).is_some() {
                    return Err(Failure { at, message: format!("`{name}` is declared twice") });
                }
                extents += 1;
                if !self.eat(",") {
                    break;
                }
            }
        }
        self.expect(")")?;
        let mut scratch = Vec::new();
        if self.eat_word("scratch") {
            self.expect("(")?;
            loop {
                let name = self.declared("a scratch row")?;
                self.expect(":")?;
                let dtype = self.dtype()?;
                self.expect("[")?;
                scratch.push(Scratch { dtype, len: self.index()? });
                self.expect("]")?;
                self.names.insert(name, Entity::Scratch(scratch.len() as u32 - 1));
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        let sites = if self.eat_word("sites") { self.u32()? } else { 0 };
        self.expect("{")?;
        let mut nests = Vec::new();
        while !self.eat("}") {
            nests.push(self.nest()?);
        }
        if self.start() < self.text.len() {
            return self.expected("the end of the text");
        }
        let mut vars = Vec::new();
        for (i, &(dtype, at)) in self.vars.iter().enumerate() {
            let undefined = || {
                let is_it = |e: &Entity| matches!(e, Entity::Var(v) if v.at() == i);
                let name = self.names.iter().find(|(_, e)| is_it(e)).map_or("", |(n, _)| n);
                Failure { at, message: format!("`%{name}` is defined nowhere") }
            };
            vars.push(dtype.ok_or_else(undefined)?);
        }
        let indices = std::mem::take(&mut self.indices);
        let kernel = Kernel { name, params, extents, scratch, sites, nests, indices, vars, iters: self.iters };
        Ok(kernel.canonical())
    }

    fn nest(&mut self) -> Parse<Nest> {
        self.keyword("nest")?;
        let (task, grid) = self.counter()?;
        self.keyword("work")?;
        let work = self.index()?;
        self.expect("{")?;
        let (body, accumulators) = self.block(0)?;
        debug_assert!(accumulators.is_empty());
        Ok(Nest { task, grid, work, body })
    }

    /// `%i in 0..extent`.
    fn counter(&mut self) -> Parse<(Iter, Index)> {
        let name = self.declared("an iteration variable")?;
        self.keyword("in")?;
        let zero = self.start();
        if self.u32()? != 0 {
            return Err(Failure { at: zero, message: "a range starts at 0".into() });
        }
        self.expect("..")?;
        let extent = self.index()?;
        let iter = Iter(self.iters);
        self.iters += 1;
        self.names.insert(name, Entity::Iter(iter));
        Ok((iter, extent))
    }

    /// Statements up to the closing brace, and the accumulators that follow them in the body of a loop.
    fn block(&mut self, depth: usize) -> Parse<(Block, Vec<Accumulator>)> {
        let (mut stmts, mut accumulators) = (Vec::new(), Vec::new());
        while !self.eat("}") {
            let at = self.start();
            if depth > 0 && self.eat_word("yield") {
                accumulators.push(self.accumulator()?);
                continue;
            }
            if !accumulators.is_empty() {
                return self.expected("`yield` or `}`");
            }
            stmts.push(if self.eat_word("for") {
                if depth == MAX_NESTING {
                    return Err(Failure { at, message: format!("loops nest at most {MAX_NESTING} deep") });
                }
                self.loop_(depth)?
            } else if self.eat_word("store") {
                let memory = self.memory()?;
                let index = self.subscript()?;
                self.expect(",")?;
                Stmt::Store { memory, index, value: self.var()?, mask: self.mask()? }
            } else if self.eat_word("check") {
                let site = self.u32()?;
                self.expect(":")?;
                let index = self.var()?;
                self.keyword("in")?;
                self.expect("0")?;
                self.expect("..")?;
                Stmt::Check { site, index, bound: self.index()?, mask: self.mask()? }
            } else if self.peek_is("%") {
                let (var, dtype) = self.definition()?;
                self.expect("=")?;
                Stmt::Let { var, expr: self.expr(dtype)? }
            } else {
                let yield_ = if depth > 0 { ", `yield`" } else { "" };
                return self.expected(&format!("a definition, `for`, `store`, `check`{yield_} or `}}`"));
            });
        }
        Ok((Block(stmts), accumulators))
    }

    fn loop_(&mut self, depth: usize) -> Parse<Stmt> {
        let (iter, extent) = self.counter()?;
        let kind = if self.eat_word("lanes") { LoopKind::Lanes } else { LoopKind::Serial };
        self.expect("{")?;
        let (body, accumulators) = self.block(depth + 1)?;
        Ok(Stmt::Loop(Loop { iter, extent, kind, accumulators, body }))
    }

    fn accumulator(&mut self) -> Parse<Accumulator> {
        let at = self.start();
        let word = self.word("how to combine")?;
        let Some(combine) = Combine::from_name(word) else {
            return Err(Failure { at, message: format!("there is no accumulator `{word}`") });
        };
        let mut inputs = SmallVec::from_iter([self.var()?]);
        while self.eat(",") {
            inputs.push(self.var()?);
        }
        self.expect("->")?;
        let mut results = SmallVec::from_iter([self.definition()?.0]);
        while self.eat(",") {
            results.push(self.definition()?.0);
        }
        Ok(Accumulator { combine, inputs, results })
    }

    fn expr(&mut self, dtype: DType) -> Parse<Expr> {
        let at = self.start();
        let op = self.word("an operation")?;
        Ok(match op {
            "const" => Expr::Const(self.scalar(dtype)?),
            "index" => Expr::Index(self.index()?),
            "select" => {
                let c = self.var()?;
                self.expect(",")?;
                let (a, b) = self.two_vars()?;
                Expr::Select(c, a, b)
            }
            "convert" | "bitcast" => {
                let to = if self.peek_is("%") { dtype } else { self.dtype()? };
                let x = self.var()?;
                if op == "convert" { Expr::Convert(x, to) } else { Expr::Bitcast(x, to) }
            }
            "load" => {
                let memory = self.memory()?;
                let index = self.subscript()?;
                let mask = match self.mask()? {
                    None => None,
                    Some(m) => {
                        self.keyword("else")?;
                        Some((m, self.scalar(dtype)?))
                    }
                };
                Expr::Load { memory, index, mask }
            }
            _ => {
                if let Some(op) = UnaryOp::from_name(op) {
                    Expr::Unary(op, self.var()?)
                } else if let Some(op) = BinaryOp::from_name(op) {
                    let (a, b) = self.two_vars()?;
                    Expr::Binary(op, a, b)
                } else if let Some(op) = CompareOp::from_name(op) {
                    let (a, b) = self.two_vars()?;
                    Expr::Compare(op, a, b)
                } else if let Some(draw) = Draw::ALL.into_iter().find(|d| d.name() == op) {
                    self.draw(draw)?
                } else {
                    return Err(Failure { at, message: format!("there is no operation `{op}`") });
                }
            }
        })
    }

    fn draw(&mut self, draw: Draw) -> Parse<Expr> {
        let draw = match draw {
            Draw::Bits { .. } => {
                let stream = self.u32()?;
                self.expect(":")?;
                Draw::Bits { stream }
            }
            other => other,
        };
        let (a, b) = self.two_vars()?;
        self.expect(",")?;
        let index = self.var()?;
        let parameter = if self.eat(",") { Some(self.var()?) } else { None };
        Ok(Expr::Draw { draw, key: [a, b], index, parameter })
    }

    fn two_vars(&mut self) -> Parse<(Var, Var)> {
        let a = self.var()?;
        self.expect(",")?;
        Ok((a, self.var()?))
    }

    fn mask(&mut self) -> Parse<Option<Var>> {
        if self.eat_word("if") { self.var().map(Some) } else { Ok(None) }
    }

    fn subscript(&mut self) -> Parse<Index> {
        self.expect("[")?;
        let i = self.index()?;
        self.expect("]")?;
        Ok(i)
    }

    fn scalar(&mut self, dtype: DType) -> Parse<Scalar> {
        let at = self.start();
        let dtype = if self.rest().starts_with(|c: char| c.is_ascii_alphabetic()) {
            let word = self.word("a number")?;
            word.parse().unwrap_or_else(|_| {
                self.at = at;
                dtype
            })
        } else {
            dtype
        };
        let at = self.start();
        let is_part = |c: char| c.is_ascii_alphanumeric() || ['.', ':', '-', '+'].contains(&c);
        let len = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        self.at += len;
        Scalar::parse(&self.text[at..at + len], dtype).map_err(|message| Failure { at, message })
    }

    /// `%name: dtype`, the definition of a value.
    fn definition(&mut self) -> Parse<(Var, DType)> {
        let at = self.start();
        let name = self.percent_name()?;
        let var = self.var_named(name, at)?;
        if self.vars[var.at()].0.is_some() {
            return Err(Failure { at, message: format!("`%{name}` is defined twice") });
        }
        self.expect(":")?;
        let dtype = self.dtype()?;
        self.vars[var.at()].0 = Some(dtype);
        Ok((var, dtype))
    }

    fn var(&mut self) -> Parse<Var> {
        let at = self.start();
        let name = self.percent_name()?;
        self.var_named(name, at)
    }

    /// A value may be mentioned before its definition is read; whether that is correct is the verifier's business.
    fn var_named(&mut self, name: &'a str, at: usize) -> Parse<Var> {
        let next = Var(self.vars.len() as u32);
        match self.names.get(name) {
            Some(Entity::Var(v)) => Ok(*v),
            Some(_) => Err(Failure { at, message: format!("`%{name}` is not a value") }),
            None => {
                self.names.insert(name, Entity::Var(next));
                self.vars.push((None, at));
                Ok(next)
            }
        }
    }

    fn memory(&mut self) -> Parse<Memory> {
        let at = self.start();
        let name = self.percent_name()?;
        match self.names.get(name) {
            Some(Entity::Param(p)) => Ok(Memory::Param(*p)),
            Some(Entity::Scratch(s)) => Ok(Memory::Scratch(*s)),
            _ => Err(Failure { at, message: format!("`%{name}` is not a parameter or scratch row") }),
        }
    }

    /// A name that must be new.
    fn declared(&mut self, what: &str) -> Parse<&'a str> {
        let at = self.start();
        if !self.peek_is("%") {
            return self.expected(what);
        }
        let name = self.percent_name()?;
        if self.names.contains_key(name) {
            return Err(Failure { at, message: format!("`%{name}` is declared twice") });
        }
        Ok(name)
    }

    fn access(&mut self) -> Parse<Access> {
        let at = self.start();
        match self.word("`in`, `out` or `inout`")? {
            "in" => Ok(Access::In),
            "out" => Ok(Access::Out),
            "inout" => Ok(Access::InOut),
            other => Err(Failure { at, message: format!("expected `in`, `out` or `inout`, found `{other}`") }),
        }
    }

    fn dtype(&mut self) -> Parse<DType> {
        let at = self.start();
        self.word("a dtype")?.parse().map_err(|message| Failure { at, message })
    }
}

/// Index expressions.
impl Parser<'_> {
    fn index(&mut self) -> Parse<Index> {
        let mut sum = self.product()?;
        loop {
            let at = self.start();
            if self.eat("+") {
                let b = self.product()?;
                sum = self.node(at, IndexNode::Add(sum, b))?;
            } else if self.eat("-") {
                let b = self.product()?;
                let negated = self.negated(at, b)?;
                sum = self.node(at, IndexNode::Add(sum, negated))?;
            } else {
                return Ok(sum);
            }
        }
    }

    fn negated(&mut self, at: usize, x: Index) -> Parse<Index> {
        let node = self.indices.node(x);
        match node {
            IndexNode::Const(n) if negated_in_its_number(&self.indices, x) => self.node(at, IndexNode::Const(-n)),
            IndexNode::Mul(y, c) if negated_in_its_number(&self.indices, x) => {
                let c = self.negated(at, c)?;
                self.node(at, IndexNode::Mul(y, c))
            }
            _ => {
                let minus_one = self.node(at, IndexNode::Const(-1))?;
                self.node(at, IndexNode::Mul(x, minus_one))
            }
        }
    }

    fn product(&mut self) -> Parse<Index> {
        let mut product = self.factor()?;
        loop {
            let at = self.start();
            product = if self.eat("*") {
                let b = self.factor()?;
                self.node(at, IndexNode::Mul(product, b))?
            } else if self.eat("/") {
                let b = self.factor()?;
                self.node(at, IndexNode::FloorDiv(product, b))?
            } else if self.eat_word("mod") {
                let b = self.factor()?;
                self.node(at, IndexNode::Mod(product, b))?
            } else {
                return Ok(product);
            }
        }
    }

    fn factor(&mut self) -> Parse<Index> {
        let at = self.start();
        if self.eat("(") {
            let inner = self.nested(|p| p.index())?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.peek_is("%") {
            let name = self.percent_name()?;
            let node = match self.names.get(name) {
                Some(Entity::Iter(i)) => IndexNode::Iter(*i),
                _ => IndexNode::Var(self.var_named(name, at)?),
            };
            return self.node(at, node);
        }
        let negative = self.eat("-");
        if negative || self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            self.start();
            let digits = self.digits();
            let text = if negative { format!("-{digits}") } else { digits.to_string() };
            let bad = |_| Failure { at, message: format!("`{text}` is not a 64-bit number") };
            let n = text.parse().map_err(bad)?;
            return self.node(at, IndexNode::Const(n));
        }
        let word = self.word("an index expression")?;
        match (word, self.extents.get(word).copied()) {
            (_, Some(e)) => self.node(at, IndexNode::Extent(e)),
            ("min" | "max", None) => {
                self.expect("(")?;
                let (a, b) = self.nested(|p| {
                    let a = p.index()?;
                    p.expect(",")?;
                    Ok((a, p.index()?))
                })?;
                self.expect(")")?;
                self.node(at, if word == "min" { IndexNode::Min(a, b) } else { IndexNode::Max(a, b) })
            }
            _ => Err(Failure { at, message: format!("there is no extent `{word}`") }),
        }
    }

    fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.parens == Written::MAX.depth as usize {
            return self.fail("index expression nests too deep".into());
        }
        self.parens += 1;
        let out = f(self);
        self.parens -= 1;
        out
    }

    fn node(&mut self, at: usize, node: IndexNode) -> Parse<Index> {
        let written = match node.operands() {
            None => Some(Written { size: 1, depth: 1 }),
            Some([a, b]) => Written::over(self.written[a.0 as usize], self.written[b.0 as usize]),
        };
        let Some(written) = written else {
            return Err(Failure { at, message: "index expression is too large".into() });
        };
        let index = self.indices.intern(node);
        if index.0 as usize == self.written.len() {
            self.written.push(written);
        }
        Ok(index)
    }
}
