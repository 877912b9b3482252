//! A small interpreter of kernels: the meaning of the kernel IR, executed plainly, statement by statement.
//!
//! It is what compiled code is checked against, so it shares nothing with code generation, checks every access, and
//! finds what the verifier cannot: accesses out of range, tasks that depend on one another, scratch that is read before
//! it is written, index arithmetic that overflows. All of those are a [`RunError`], which names the statement.
//!
//! ```
//! use ir::kernel::{interp, text::parse};
//! use ir::{Data, TypedData};
//! let kernel = parse("kernel @double(%x: in f32, %y: out f32; N) {
//!   nest %i in 0..N work 1 {
//!     %a: f32 = load %x[%i]
//!     %b: f32 = add %a, %a
//!     store %y[%i], %b
//!   }
//! }")?;
//! let mut buffers = [Data::F32(vec![1.0, 2.0]), Data::F32(vec![0.0; 2])];
//! interp::run(&kernel, &mut buffers, &[2])?;
//! assert_eq!(f32::slice(&buffers[1]), Some(&[2.0, 4.0][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod combine;
mod memory;
pub mod scalar;
pub mod special;

use super::text::Writer;
use super::verify::{Violation, verify};
use super::*;
use crate::Data;
use combine::Lanes;
use memory::{Buffer, Row};
use std::fmt;

/// In which order tasks run, and the iterations of lanes loops. The outcome of a correct kernel does not depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// As numbered, nest after nest.
    #[default]
    Forward,
    /// The last first.
    Reverse,
    /// Tasks of all nests mixed, by a seed.
    Shuffled(u64),
}

/// How to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The order of tasks and of the iterations of lanes loops.
    pub order: Order,
    /// The most statements executed before the run is given up.
    pub limit: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { order: Order::Forward, limit: 1 << 33 }
    }
}

/// What a run recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// For each check site, the first index out of range: first by nest, then task, then order in the task.
    pub offences: Vec<Option<Offence>>,
}

/// An index that a [`Stmt::Check`] refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offence {
    /// The index.
    pub index: i64,
    /// The first index that is too large.
    pub bound: i64,
}

/// Why a run failed. The buffers then hold what was stored before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunError {
    /// The kernel does not pass the verifier.
    Invalid(Vec<Violation>),
    /// The buffers or extents are not those the kernel takes.
    Arguments(String),
    /// A statement cannot be executed.
    Statement {
        /// The statement as the kernel's text has it.
        statement: String,
        /// The number of the nest.
        nest: usize,
        /// The number of the task; none for an expression that belongs to the launch.
        task: Option<i64>,
        /// Why.
        fault: Fault,
    },
}

/// Why a statement cannot be executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An element outside its memory.
    OutOfRange {
        /// The memory's name in text.
        memory: String,
        /// The element.
        index: i64,
        /// The number of elements.
        len: usize,
    },
    /// Index arithmetic overflows 64 bits or divides by a number that is not positive.
    IndexArithmetic(String),
    /// A count of iterations, tasks or elements is negative or too large to run.
    Count(i64),
    /// Scratch memory is read before the task wrote it.
    Undefined {
        /// The scratch row's name in text.
        memory: String,
        /// The element.
        index: i64,
    },
    /// Two tasks touch one element, and at least one stores to it.
    Conflict {
        /// The parameter's name in text.
        memory: String,
        /// The element.
        index: i64,
    },
    /// [`Options::limit`] is reached.
    Limit,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::OutOfRange { memory, index, len } => {
                write!(f, "element {index} of {memory} is out of range, there are {len}")
            }
            Fault::IndexArithmetic(e) => write!(f, "`{e}` overflows or has a divisor that is not positive"),
            Fault::Count(n) => write!(f, "a count of {n} cannot be run"),
            Fault::Undefined { memory, index } => {
                write!(f, "element {index} of {memory} is read before the task wrote it")
            }
            Fault::Conflict { memory, index } => write!(f, "another task uses element {index} of {memory}"),
            Fault::Limit => f.write_str("the limit of statements is reached"),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Invalid(violations) => {
                f.write_str("the kernel is not valid")?;
                violations.iter().try_for_each(|v| write!(f, "\n{v}"))
            }
            RunError::Arguments(what) => f.write_str(what),
            RunError::Statement { statement, nest, task: Some(task), fault } => {
                write!(f, "{fault}, in `{statement}` (nest {nest}, task {task})")
            }
            RunError::Statement { statement, nest, task: None, fault } => {
                write!(f, "{fault}, in `{statement}` (nest {nest})")
            }
        }
    }
}
impl std::error::Error for RunError {}

/// Runs every task of a verified kernel in order. `buffers` stand for the parameters, one each.
pub fn run(kernel: &Kernel, buffers: &mut [Data], extents: &[i64]) -> Result<Status, RunError> {
    run_with(kernel, buffers, extents, &Options::default())
}

/// Runs as [`run`] does, as the options say.
pub fn run_with(kernel: &Kernel, buffers: &mut [Data], extents: &[i64], options: &Options) -> Result<Status, RunError> {
    verify(kernel).map_err(RunError::Invalid)?;
    let kernel = &kernel.canonical();
    if extents.len() != kernel.extents as usize {
        return Err(RunError::Arguments(format!("the kernel takes {} extents, not {}", kernel.extents, extents.len())));
    }
    if buffers.len() != kernel.params.len() {
        let (wanted, found) = (kernel.params.len(), buffers.len());
        return Err(RunError::Arguments(format!("the kernel takes {wanted} buffers, not {found}")));
    }
    for (i, (p, b)) in kernel.params.iter().zip(&*buffers).enumerate() {
        if p.dtype != b.dtype() {
            return Err(RunError::Arguments(format!("%p{i} is a buffer of {}, not {}", p.dtype, b.dtype())));
        }
    }
    let mut machine = Machine {
        kernel,
        writer: Writer::new(kernel),
        extents,
        params: buffers.iter_mut().zip(&kernel.params).map(|(b, p)| Buffer::new(b, p.access)).collect(),
        scratch: Vec::new(),
        vars: kernel.vars.iter().map(|&d| Scalar::zero(d)).collect(),
        iters: vec![0; kernel.iters as usize],
        nest: 0,
        task: 0,
        number: 0,
        path: Vec::new(),
        sites: vec![None; kernel.sites as usize],
        order: options.order,
        left: options.limit,
    };
    machine.kernel()?;
    Ok(Status { offences: machine.sites.into_iter().map(|s| s.map(|(_, offence)| offence)).collect() })
}

/// Where in the order of execution a check stands: nest, task, then statement and iteration numbers from outside in.
type Path = (usize, i64, Vec<i64>);

struct Machine<'a> {
    kernel: &'a Kernel,
    writer: Writer<'a>,
    extents: &'a [i64],
    params: Vec<Buffer<'a>>,
    scratch: Vec<Row>,
    vars: Vec<Scalar>,
    iters: Vec<i64>,
    nest: usize,
    task: i64,
    /// The running task, counted over all nests from 1.
    number: u32,
    path: Vec<i64>,
    sites: Vec<Option<(Path, Offence)>>,
    order: Order,
    left: u64,
}

/// The most elements of a scratch row and the most tasks.
const MAX_COUNT: i64 = 1 << 28;
/// The most iterations of a loop that are run out of order.
const MAX_REORDERED: i64 = 1 << 22;

impl<'a> Machine<'a> {
    fn kernel(&mut self) -> Result<(), RunError> {
        let kernel = self.kernel;
        for (i, s) in kernel.scratch.iter().enumerate() {
            let len = self.count(s.len).map_err(|fault| {
                let statement = format!("scratch(%s{i}: {}[{}])", s.dtype, self.writer.index(s.len));
                RunError::Statement { statement, nest: 0, task: None, fault }
            })?;
            self.scratch.push(Row::new(s.dtype, len));
        }
        let mut tasks = Vec::new();
        for (nest, n) in kernel.nests.iter().enumerate() {
            let launch = |fault| RunError::Statement { statement: self.writer.nest(n), nest, task: None, fault };
            let grid = self.count(n.grid).map_err(launch)?;
            self.eval(n.work).map_err(launch)?;
            if tasks.len() + grid > MAX_COUNT as usize {
                return Err(launch(Fault::Count(grid as i64)));
            }
            tasks.extend((0..grid as i64).map(|t| (nest, t)));
        }
        self.order.apply(&mut tasks);
        for (number, (nest, task)) in (1..).zip(tasks) {
            (self.nest, self.task, self.number) = (nest, task, number);
            self.scratch.iter_mut().for_each(Row::forget);
            let n = &kernel.nests[nest];
            self.iters[n.task.at()] = task;
            self.block(&n.body)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &'a Block) -> Result<(), RunError> {
        for (i, stmt) in block.0.iter().enumerate() {
            self.path.push(i as i64);
            match stmt {
                Stmt::Loop(l) => self.loop_(stmt, l)?,
                _ => self.simple(stmt).map_err(|fault| self.error(stmt, fault))?,
            }
            self.path.pop();
        }
        Ok(())
    }

    fn error(&self, stmt: &Stmt, fault: Fault) -> RunError {
        let (statement, nest, task) = (self.writer.head(stmt), self.nest, Some(self.task));
        RunError::Statement { statement, nest, task, fault }
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.left = self.left.checked_sub(1).ok_or(Fault::Limit)?;
        Ok(())
    }

    fn simple(&mut self, stmt: &Stmt) -> Result<(), Fault> {
        self.step()?;
        match stmt {
            Stmt::Let { var, expr } => self.vars[var.at()] = self.expr(expr)?,
            Stmt::Store { memory, index, value, mask } => {
                if self.holds(*mask) {
                    let (index, value) = (self.eval(*index)?, self.vars[value.at()]);
                    let stored = match memory {
                        Memory::Param(p) => self.params[*p as usize].store(index, value, self.number),
                        Memory::Scratch(s) => self.scratch[*s as usize].store(index, value),
                    };
                    stored.map_err(|e| e.of(self.writer.memory(*memory), index))?;
                }
            }
            Stmt::Check { site, index, bound, mask } => {
                let (index, bound) = (self.vars[index.at()].as_i64(), self.eval(*bound)?);
                if self.holds(*mask) && !(0..bound).contains(&index) {
                    let here = (self.nest, self.task, self.path.clone());
                    let slot = &mut self.sites[*site as usize];
                    if slot.as_ref().is_none_or(|(first, _)| here < *first) {
                        *slot = Some((here, Offence { index, bound }));
                    }
                }
            }
            Stmt::Loop(_) => unreachable!("loops are run by `block`"),
        }
        Ok(())
    }

    fn loop_(&mut self, stmt: &Stmt, l: &'a Loop) -> Result<(), RunError> {
        let n = self.eval(l.extent).map_err(|fault| self.error(stmt, fault))?;
        if n < 0 {
            return Err(self.error(stmt, Fault::Count(n)));
        }
        let types = |a: &Accumulator| -> Vec<DType> { a.results.iter().map(|v| self.kernel.vars[v.at()]).collect() };
        let mut lanes: Vec<Lanes> = l.accumulators.iter().map(|a| Lanes::new(a.combine, l.kind, &types(a))).collect();
        if l.kind == LoopKind::Serial || self.order == Order::Forward {
            for i in 0..n {
                let values = self.iteration(stmt, l, i)?;
                lanes.iter_mut().zip(values).for_each(|(lane, value)| lane.take(i, value));
            }
        } else {
            if n > MAX_REORDERED {
                return Err(self.error(stmt, Fault::Count(n)));
            }
            let mut order: Vec<i64> = (0..n).collect();
            self.order.apply(&mut order);
            let mut contributed: Vec<(i64, Vec<combine::Value>)> = Vec::new();
            for i in order {
                contributed.push((i, self.iteration(stmt, l, i)?));
            }
            contributed.sort_by_key(|(i, _)| *i);
            for (i, values) in contributed {
                lanes.iter_mut().zip(values).for_each(|(lane, value)| lane.take(i, value));
            }
        }
        for (a, lanes) in l.accumulators.iter().zip(lanes) {
            for (result, value) in a.results.iter().zip(lanes.finish()) {
                self.vars[result.at()] = value;
            }
        }
        Ok(())
    }

    /// Runs one iteration; yields what it contributes to each accumulator.
    fn iteration(&mut self, stmt: &Stmt, l: &'a Loop, i: i64) -> Result<Vec<combine::Value>, RunError> {
        self.step().map_err(|fault| self.error(stmt, fault))?;
        self.iters[l.iter.at()] = i;
        self.path.push(i);
        self.block(&l.body)?;
        self.path.pop();
        Ok(l.accumulators.iter().map(|a| a.inputs.iter().map(|v| self.vars[v.at()]).collect()).collect())
    }

    fn holds(&self, mask: Option<Var>) -> bool {
        mask.is_none_or(|m| self.vars[m.at()] == Scalar::Bool(true))
    }

    fn expr(&mut self, expr: &Expr) -> Result<Scalar, Fault> {
        let typed = "the verifier checks types of operands";
        let var = |v: Var| self.vars[v.at()];
        Ok(match *expr {
            Expr::Const(s) => s,
            Expr::Index(i) => Scalar::I64(self.eval(i)?),
            Expr::Unary(op, a) => scalar::unary(op, var(a)).expect(typed),
            Expr::Binary(op, a, b) => scalar::binary(op, var(a), var(b)).expect(typed),
            Expr::Compare(op, a, b) => Scalar::Bool(scalar::compare(op, var(a), var(b)).expect(typed)),
            Expr::Select(c, a, b) => var(if var(c) == Scalar::Bool(true) { a } else { b }),
            Expr::Convert(a, to) => var(a).convert(to),
            Expr::Bitcast(a, to) => Scalar::from_bits(to, var(a).bits()),
            Expr::Draw { draw, key, index, parameter } => {
                scalar::draw(draw, key.map(var), var(index), parameter.map(var)).expect(typed)
            }
            Expr::Load { mask: Some((m, fallback)), .. } if !self.holds(Some(m)) => fallback,
            Expr::Load { memory, index, .. } => {
                let index = self.eval(index)?;
                let loaded = match memory {
                    Memory::Param(p) => self.params[p as usize].load(index, self.number),
                    Memory::Scratch(s) => self.scratch[s as usize].load(index),
                };
                loaded.map_err(|e| e.of(self.writer.memory(memory), index))?
            }
        })
    }

    fn eval(&self, i: Index) -> Result<i64, Fault> {
        let leaf = |node| match node {
            IndexNode::Extent(e) => self.extents.get(e.at()).copied(),
            IndexNode::Iter(i) => Some(self.iters[i.at()]),
            IndexNode::Var(v) => Some(self.vars[v.at()].as_i64()),
            _ => None,
        };
        self.kernel.indices.eval(i, &leaf).ok_or_else(|| Fault::IndexArithmetic(self.writer.index(i)))
    }

    /// A number of tasks or elements.
    fn count(&self, i: Index) -> Result<usize, Fault> {
        let n = self.eval(i)?;
        if (0..=MAX_COUNT).contains(&n) { Ok(n as usize) } else { Err(Fault::Count(n)) }
    }
}

impl Order {
    fn apply<T>(self, items: &mut [T]) {
        match self {
            Order::Forward => {}
            Order::Reverse => items.reverse(),
            Order::Shuffled(seed) => {
                // Fisher and Yates, with the generator of Steele, Lea and Flood, "Fast splittable pseudorandom number
                // generators", 2014.
                let mut state = seed;
                for i in (1..items.len()).rev() {
                    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    items.swap(i, ((z ^ (z >> 31)) % (i as u64 + 1)) as usize);
                }
            }
        }
    }
}
