//! The kernel verifier.
//!
//! # Invariants
//!
//! Each [`Violation`] names the rule it breaks by its number here.
//!
//! 1. **Index table.** The operands of an index expression come before it in the table, and an expression that is used
//!    is in the table and, written out, not larger than [`Written::MAX`].
//! 2. **Numbers.** Every extent, parameter, scratch row and check site that is used is one the kernel has; there are at
//!    most [`MAX_ARGUMENTS`] extents and sites.
//! 3. **Definitions.** Each value and each iteration variable that is mentioned is one the kernel has; none is defined
//!    twice.
//! 4. **Dominance.** A value is used only after its definition, in the same block or one nested in it; the results of
//!    an accumulator only after the loop.
//! 5. **Index scope.** An index expression uses values in scope, of type i64, and the variables of loops around it and
//!    of its nest. Divisors that are numbers are positive.
//! 6. **Launch shape.** The grid and work of a nest and the length of a scratch row are made of numbers and extents.
//! 7. **Access.** Nothing is stored to a parameter that is `in`, or loaded from one that is `out`.
//! 8. **Types of operations.** Operands and result of each operation have the types that its documentation names; so
//!    there is no arithmetic on f16 and bf16.
//! 9. **Types of memory.** A load, its fallback and a store have the element type of their memory.
//! 10. **Masks** are bool.
//! 11. **Checks** look at an i64 value.
//! 12. **Lanes.** A lanes loop is not inside another, at any depth.
//! 13. **Accumulators.** They have as many inputs and results as [`Combine::arity`]; inputs are defined in the body of
//!     the loop, not around it; results have the types of the inputs; those suit the monoid, and positions are i64.
//! 14. **Nesting.** Loops nest at most [`MAX_NESTING`] deep.
//!
//! Not checked, because it depends on extents and data: that accesses are in range, that iterations of a lanes loop and
//! tasks do not depend on one another, that index arithmetic does not overflow. The interpreter checks those as it runs.

use super::index::Written;
use super::nesting::MAX_NESTING;
use super::text::Writer;
use super::*;
use std::collections::HashMap;
use std::fmt;

/// The most extents, and the most check sites, that a verified kernel has.
pub const MAX_ARGUMENTS: u32 = 1 << 16;

/// One broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its number in the list of the module.
    pub rule: u8,
    /// What breaks it, under the name it has in the kernel's text: `%3`, `%p0`, `%i1[...]`.
    pub entity: String,
    /// How.
    pub message: String,
    /// The statement or part of the kernel, as its text has it.
    pub statement: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, in `{}` (rule {})", self.entity, self.message, self.statement, self.rule)
    }
}

/// Checks every invariant of the list above. Yields all violations, in the order of the text.
pub fn verify(kernel: &Kernel) -> Result<(), Vec<Violation>> {
    let v = &mut Verifier {
        kernel,
        writer: Writer::new(kernel),
        written: kernel.indices.written(),
        vars: vec![State::Undefined; kernel.vars.len()],
        iters: HashMap::new(),
        opened: Vec::new(),
        depth: 0,
        in_lanes: false,
        violations: Vec::new(),
    };
    v.kernel();
    if v.violations.is_empty() { Ok(()) } else { Err(std::mem::take(&mut v.violations)) }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Undefined,
    /// Defined in the open block of that depth.
    Visible(usize),
    Left,
}

struct Verifier<'a> {
    kernel: &'a Kernel,
    writer: Writer<'a>,
    written: Vec<Option<Written>>,
    vars: Vec<State>,
    iters: HashMap<Iter, State>,
    /// What each open block defined.
    opened: Vec<Vec<Var>>,
    depth: usize,
    in_lanes: bool,
    violations: Vec<Violation>,
}

/// The part of the kernel that a violation quotes; rendered only when there is one.
#[derive(Clone, Copy)]
enum Place<'a> {
    Kernel,
    Table,
    Scratch(usize),
    Nest(&'a Nest),
    Stmt(&'a Stmt),
    Accumulator(&'a Accumulator),
}

impl<'a> Verifier<'a> {
    fn report(&mut self, rule: u8, place: Place, entity: String, message: impl Into<String>) {
        let w = &self.writer;
        let statement = match place {
            Place::Kernel => format!("kernel @{}", self.kernel.name),
            Place::Table => "index table".into(),
            Place::Scratch(i) => {
                let s = &self.kernel.scratch[i];
                format!("scratch(%s{i}: {}[{}])", s.dtype, w.index(s.len))
            }
            Place::Nest(n) => w.nest(n),
            Place::Stmt(s) => w.head(s),
            Place::Accumulator(a) => w.accumulator(a),
        };
        self.violations.push(Violation { rule, entity, message: message.into(), statement });
    }

    fn kernel(&mut self) {
        let kernel = self.kernel;
        for (what, n) in [("extents", kernel.extents), ("sites", kernel.sites)] {
            if n > MAX_ARGUMENTS {
                self.report(2, Place::Kernel, format!("{n} {what}"), format!("at most {MAX_ARGUMENTS} are allowed"));
            }
        }
        for (i, node) in kernel.indices.nodes().iter().enumerate() {
            if node.operands().is_some_and(|ops| ops.iter().any(|o| o.0 as usize >= i)) {
                self.report(1, Place::Table, format!("index #{i}"), "an operand does not come before its user");
            }
        }
        for (i, s) in kernel.scratch.iter().enumerate() {
            self.launch_shape(Place::Scratch(i), s.len);
        }
        for nest in &kernel.nests {
            self.launch_shape(Place::Nest(nest), nest.grid);
            self.launch_shape(Place::Nest(nest), nest.work);
            self.define_iter(Place::Nest(nest), nest.task);
            self.block(&nest.body);
            self.leave_iter(nest.task);
        }
    }

    fn block(&mut self, block: &'a Block) {
        self.open();
        block.0.iter().for_each(|s| self.stmt(s));
        self.close();
    }
    fn open(&mut self) {
        self.opened.push(Vec::new());
    }
    fn close(&mut self) {
        for v in self.opened.pop().unwrap_or_default() {
            self.vars[v.at()] = State::Left;
        }
    }

    fn stmt(&mut self, stmt: &'a Stmt) {
        let place = Place::Stmt(stmt);
        match stmt {
            Stmt::Let { var, expr } => {
                if let Some(dtype) = self.expr(place, expr)
                    && let Some(&defined) = self.kernel.vars.get(var.at())
                    && dtype != defined
                {
                    let rule = if matches!(expr, Expr::Load { .. }) { 9 } else { 8 };
                    self.report(rule, place, self.writer.var(*var), format!("the result is {dtype}, not {defined}"));
                }
                self.define(place, *var);
            }
            Stmt::Store { memory, index, value, mask } => {
                let element = self.memory(place, *memory, Access::In, "stored to");
                self.index(place, *index);
                let value_type = self.value(place, *value);
                if let (Some(element), Some(value_type)) = (element, value_type)
                    && element != value_type
                {
                    let memory = self.writer.memory(*memory);
                    self.report(9, place, memory, format!("{value_type} is stored to memory of {element}"));
                }
                self.mask(place, *mask);
            }
            Stmt::Check { site, index, bound, mask } => {
                if *site >= self.kernel.sites {
                    self.report(2, place, format!("site {site}"), format!("there are {} sites", self.kernel.sites));
                }
                if let Some(dtype) = self.value(place, *index)
                    && dtype != DType::I64
                {
                    self.report(11, place, self.writer.var(*index), format!("the index is {dtype}, not i64"));
                }
                self.index(place, *bound);
                self.mask(place, *mask);
            }
            Stmt::Loop(l) => self.loop_(place, l),
        }
    }

    fn loop_(&mut self, place: Place, l: &'a Loop) {
        self.index(place, l.extent);
        self.define_iter(place, l.iter);
        let lanes = l.kind == LoopKind::Lanes;
        if lanes && self.in_lanes {
            self.report(12, place, self.writer.iter(l.iter), "a lanes loop inside a lanes loop");
        }
        let around = self.in_lanes;
        self.in_lanes |= lanes;
        self.depth += 1;
        self.open();
        if self.depth > MAX_NESTING {
            let message = format!("loops nest more than {MAX_NESTING} deep");
            self.report(14, place, self.writer.iter(l.iter), message);
        } else {
            l.body.0.iter().for_each(|s| self.stmt(s));
            l.accumulators.iter().for_each(|a| self.accumulator(a));
        }
        self.close();
        self.depth -= 1;
        self.in_lanes = around;
        self.leave_iter(l.iter);
        for a in &l.accumulators {
            a.results.iter().for_each(|&v| self.define(Place::Accumulator(a), v));
        }
    }

    /// Runs while the body of the loop is still open.
    fn accumulator(&mut self, a: &'a Accumulator) {
        let place = Place::Accumulator(a);
        let (name, arity) = (a.combine.name(), a.combine.arity());
        if a.inputs.len() != arity || a.results.len() != arity {
            let (inputs, results) = (a.inputs.len(), a.results.len());
            let message = format!("takes {arity} inputs and results, found {inputs} and {results}");
            return self.report(13, place, name.into(), message);
        }
        for (position, (&input, &result)) in a.inputs.iter().zip(&a.results).enumerate() {
            let Some(dtype) = self.value(place, input) else { continue };
            if self.vars[input.at()] != State::Visible(self.opened.len()) {
                let message = "an input of an accumulator is defined outside the body of the loop";
                self.report(13, place, self.writer.var(input), message);
            }
            let legal = match (position, a.combine) {
                (1, _) => dtype == DType::I64,
                (_, Combine::Any | Combine::All) => dtype == DType::Bool,
                (_, Combine::Sum | Combine::Product) => is_number(dtype),
                _ => is_number(dtype) || dtype == DType::Bool,
            };
            if !legal {
                let what = if position == 1 { "a position" } else { "a value" };
                self.report(13, place, self.writer.var(input), format!("{what} of `{name}` cannot be {dtype}"));
            }
            if let Some(&out) = self.kernel.vars.get(result.at())
                && out != dtype
            {
                let message = format!("the result of an accumulator over {dtype} cannot be {out}");
                self.report(13, place, self.writer.var(result), message);
            }
        }
    }

    fn define(&mut self, place: Place, var: Var) {
        let depth = self.opened.len();
        match self.vars.get_mut(var.at()) {
            None => {
                let message = format!("there are {} values", self.kernel.vars.len());
                self.report(3, place, self.writer.var(var), message);
            }
            Some(state @ State::Undefined) => {
                *state = State::Visible(depth);
                if let Some(block) = self.opened.last_mut() {
                    block.push(var);
                }
            }
            Some(_) => self.report(3, place, self.writer.var(var), "the value is defined twice"),
        }
    }
    fn define_iter(&mut self, place: Place, iter: Iter) {
        if iter.0 >= self.kernel.iters {
            let message = format!("there are {} iteration variables", self.kernel.iters);
            self.report(3, place, self.writer.iter(iter), message);
        } else if self.iters.insert(iter, State::Visible(0)).is_some() {
            self.report(3, place, self.writer.iter(iter), "the iteration variable is defined twice");
        }
    }
    fn leave_iter(&mut self, iter: Iter) {
        self.iters.insert(iter, State::Left);
    }

    /// The type of a value in use, if it may be used here.
    fn value(&mut self, place: Place, var: Var) -> Option<DType> {
        let message = match self.vars.get(var.at()) {
            Some(State::Visible(_)) => return self.kernel.vars.get(var.at()).copied(),
            Some(State::Undefined) => "the value is used before it is defined",
            Some(State::Left) => "the value is used outside the block that defines it",
            None => {
                let message = format!("there are {} values", self.kernel.vars.len());
                self.report(3, place, self.writer.var(var), message);
                return None;
            }
        };
        self.report(4, place, self.writer.var(var), message);
        None
    }

    fn mask(&mut self, place: Place, mask: Option<Var>) {
        if let Some(m) = mask
            && let Some(dtype) = self.value(place, m)
            && dtype != DType::Bool
        {
            self.report(10, place, self.writer.var(m), format!("a mask is bool, not {dtype}"));
        }
    }

    /// The element type of a memory in use.
    fn memory(&mut self, place: Place, memory: Memory, forbidden: Access, use_: &str) -> Option<DType> {
        let name = self.writer.memory(memory);
        match memory {
            Memory::Param(p) => match self.kernel.params.get(p as usize) {
                Some(param) => {
                    if param.access == forbidden {
                        let message = format!("the parameter is `{}` but {use_}", param.access.name());
                        self.report(7, place, name, message);
                    }
                    Some(param.dtype)
                }
                None => {
                    self.report(2, place, name, format!("there are {} parameters", self.kernel.params.len()));
                    None
                }
            },
            Memory::Scratch(s) => match self.kernel.scratch.get(s as usize) {
                Some(scratch) => Some(scratch.dtype),
                None => {
                    self.report(2, place, name, format!("there are {} scratch rows", self.kernel.scratch.len()));
                    None
                }
            },
        }
    }

    fn index(&mut self, place: Place, i: Index) {
        self.walk_index(place, i, &mut |v, leaf| match leaf {
            IndexNode::Iter(iter) if v.iters.get(&iter) != Some(&State::Visible(0)) => {
                let message = "the iteration variable is used outside its loop or nest";
                v.report(5, place, v.writer.iter(iter), message);
            }
            IndexNode::Var(var) => {
                if let Some(dtype) = v.value(place, var)
                    && dtype != DType::I64
                {
                    v.report(5, place, v.writer.var(var), format!("an index cannot be {dtype}"));
                }
            }
            _ => {}
        });
    }
    fn launch_shape(&mut self, place: Place, i: Index) {
        self.walk_index(place, i, &mut |v, leaf| {
            let entity = match leaf {
                IndexNode::Iter(iter) => v.writer.iter(iter),
                IndexNode::Var(var) => v.writer.var(var),
                _ => return,
            };
            v.report(6, place, entity, "only numbers and extents may shape a launch");
        });
    }
    fn walk_index(&mut self, place: Place, i: Index, leaf: &mut dyn FnMut(&mut Self, IndexNode)) {
        if self.written.get(i.0 as usize).copied().flatten().is_none() {
            let known = self.kernel.indices.get(i).is_some();
            let message = if known { "the expression is too large or malformed" } else { "not in the index table" };
            return self.report(1, place, format!("index #{}", i.0), message);
        }
        let node = self.kernel.indices.node(i);
        if let IndexNode::FloorDiv(_, by) | IndexNode::Mod(_, by) = node
            && let Some(IndexNode::Const(n)) = self.kernel.indices.get(by)
            && n <= 0
        {
            self.report(5, place, self.writer.index(i), format!("the divisor {n} is not positive"));
        }
        match (node, node.operands()) {
            (_, Some([a, b])) => {
                self.walk_index(place, a, leaf);
                self.walk_index(place, b, leaf);
            }
            (IndexNode::Extent(e), None) => {
                if e.0 >= self.kernel.extents {
                    self.report(2, place, format!("N{}", e.0), format!("there are {} extents", self.kernel.extents));
                }
            }
            (node, None) => leaf(self, node),
        }
    }

    /// The type of the result, if the operands have legal types.
    fn expr(&mut self, place: Place, expr: &Expr) -> Option<DType> {
        match *expr {
            Expr::Const(s) => Some(s.dtype()),
            Expr::Index(i) => {
                self.index(place, i);
                Some(DType::I64)
            }
            Expr::Unary(op, a) => {
                let dtype = self.value(place, a)?;
                self.legal(place, op.accepts(dtype), op.name(), dtype)
            }
            Expr::Binary(op, a, b) => {
                let dtype = self.same_type(place, op.name(), a, b)?;
                self.legal(place, op.accepts(dtype), op.name(), dtype)
            }
            Expr::Compare(op, a, b) => {
                let dtype = self.same_type(place, op.name(), a, b)?;
                self.legal(place, !dtype.is_half(), op.name(), dtype)?;
                Some(DType::Bool)
            }
            Expr::Select(c, a, b) => {
                let condition = self.value(place, c);
                if let Some(dtype) = condition
                    && dtype != DType::Bool
                {
                    self.report(8, place, self.writer.var(c), format!("the condition is {dtype}, not bool"));
                }
                self.same_type(place, "select", a, b)
            }
            Expr::Convert(a, to) => {
                self.value(place, a)?;
                Some(to)
            }
            Expr::Bitcast(a, to) => {
                let from = self.value(place, a)?;
                let legal = from.size() == to.size() && from != DType::Bool && to != DType::Bool;
                self.legal(place, legal, &format!("bitcast to {to}"), from)?;
                Some(to)
            }
            Expr::Load { memory, index, mask } => {
                let element = self.memory(place, memory, Access::Out, "loaded from");
                self.index(place, index);
                if let Some((m, fallback)) = mask {
                    self.mask(place, Some(m));
                    if let Some(element) = element
                        && fallback.dtype() != element
                    {
                        let message = format!("the fallback is {}, the memory {element}", fallback.dtype());
                        self.report(9, place, self.writer.memory(memory), message);
                    }
                }
                element
            }
            Expr::Draw { draw, key, index, parameter } => {
                let mut operand = |v: Var, want: DType| {
                    let dtype = self.value(place, v)?;
                    self.legal(place, dtype == want, draw.name(), dtype)
                };
                let [a, b] = key.map(|k| operand(k, DType::U32));
                let index = operand(index, DType::U64);
                let given = parameter.map(|p| operand(p, DType::F64));
                if given.is_some() != draw.has_parameter() {
                    let message =
                        if draw.has_parameter() { "the parameter is missing" } else { "there is no parameter" };
                    self.report(8, place, draw.name().into(), message);
                    return None;
                }
                (a.is_some() && b.is_some() && index.is_some() && given != Some(None)).then(|| draw.dtype())
            }
        }
    }
    fn same_type(&mut self, place: Place, op: &str, a: Var, b: Var) -> Option<DType> {
        let (a, b) = (self.value(place, a), self.value(place, b));
        let (a, b) = (a?, b?);
        if a != b {
            self.report(8, place, op.into(), format!("the operands are {a} and {b}"));
            return None;
        }
        Some(a)
    }
    fn legal(&mut self, place: Place, legal: bool, op: &str, dtype: DType) -> Option<DType> {
        if !legal {
            self.report(8, place, op.into(), format!("not defined on {dtype}"));
        }
        legal.then_some(dtype)
    }
}

fn is_number(dtype: DType) -> bool {
    dtype.is_int() || is_float(dtype)
}
/// The floats that have arithmetic.
fn is_float(dtype: DType) -> bool {
    dtype.is_float() && !dtype.is_half()
}

impl UnaryOp {
    /// Whether the operation is defined on a type.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign => is_number(dtype),
            UnaryOp::Popcnt => dtype.is_int(),
            UnaryOp::Not => dtype.is_int() || dtype == DType::Bool,
            _ => is_float(dtype),
        }
    }
}

impl BinaryOp {
    /// Whether the operation is defined on a type.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            BinaryOp::Atan2 => is_float(dtype),
            BinaryOp::LogGammaSlope => dtype == DType::F64,
            BinaryOp::Max | BinaryOp::Min => is_number(dtype) || dtype == DType::Bool,
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => dtype.is_int() || dtype == DType::Bool,
            BinaryOp::Shl | BinaryOp::Shr => dtype.is_int(),
            _ => is_number(dtype),
        }
    }
}
