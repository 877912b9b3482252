//! Tracing: recording one run of a function into a graph.
//!
//! Every thread has a stack of open traces; ops record into the innermost. A traced value carries the trace it belongs
//! to, so a value of an outer trace that is used in an inner one is lifted, and a value whose trace has ended is refused.

mod state;

pub(crate) use state::{CellUse, Guard, Trace};

use crate::cell::CellId;
use crate::dispatch::here;
use crate::error::{Code, Error};
use crate::tensor::{Repr, Tensor};
use crate::{scope, strict, tape};
use ir::ops::gradient::StopGradient;
use ir::{Dim, Lowering, Primitive, Symbol, Type, Value};
use runtime::events::{self, Event};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

/// Which trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceInfo {
    /// Unique in the process, never 0.
    pub id: u64,
    /// The transform that opened it.
    pub kind: &'static str,
    /// The thread that traces.
    thread: ThreadId,
}

/// A value of a trace.
pub(crate) struct Traced {
    pub trace: TraceInfo,
    pub value: Value,
    pub ty: Type,
    /// The line that recorded it.
    pub made: &'static Location<'static>,
}

thread_local! {
    static STACK: RefCell<Vec<Trace>> = const { RefCell::new(Vec::new()) };
    /// How much of the stack was left when the outermost of the open traces was opened.
    static AT_FIRST: Cell<usize> = const { Cell::new(usize::MAX) };
    /// How many traces were open when one more was refused, since the outermost was opened.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
    /// Symbols that became numbers since this was last asked.
    static SPECIALIZED: RefCell<Vec<Symbol>> = const { RefCell::new(Vec::new()) };
}
static NEXT: AtomicU64 = AtomicU64::new(1);

/// True while this thread traces.
pub(crate) fn active() -> bool {
    STACK.with_borrow(|s| !s.is_empty())
}

/// Runs `f` as if no trace were open: what it computes, of values that are known, is known at once.
pub(crate) fn suspended<R>(f: impl FnOnce() -> R) -> R {
    /// Puts the traces back, also in a panic.
    struct Resume(Vec<Trace>, usize, usize);
    impl Drop for Resume {
        fn drop(&mut self) {
            let inner = STACK.replace(std::mem::take(&mut self.0));
            drop(inner);
            AT_FIRST.set(self.1);
            REFUSED.set(self.2);
        }
    }
    let _resume = Resume(STACK.take(), AT_FIRST.get(), REFUSED.get());
    f()
}

/// How many traces are open.
pub(crate) fn depth() -> usize {
    STACK.with_borrow(Vec::len)
}

/// The transform that opened the innermost trace.
pub(crate) fn kind() -> Option<&'static str> {
    STACK.with_borrow(|s| s.last().map(|t| t.info.kind))
}

/// True if the trace is open in this thread.
pub(crate) fn is_open(id: u64) -> bool {
    STACK.with_borrow(|s| s.iter().any(|t| t.info.id == id))
}

/// How many traces may be open, one inside of another.
const DEEPEST: usize = 1000;

/// A function that calls itself under a `cond` is traced without end, whatever the condition is: panics in time, with some of
/// the stack left for what comes after tracing. Until the outermost trace ends every other is refused too, or a function that
/// calls itself twice would get here again and again.
fn refuse_endless(kind: &'static str) {
    let (depth, left) = (depth(), runtime::stack::left().unwrap_or(usize::MAX));
    if depth == 0 {
        AT_FIRST.set(left);
        REFUSED.set(0);
        return;
    }
    let before = REFUSED.get();
    if before == 0 && depth < DEEPEST && left >= AT_FIRST.get() / 2 {
        return;
    }
    let rule = format!("{} functions are traced, one inside of another", before.max(depth));
    let legal = "while_loop, fori or scan in the place of a function that calls itself: all branches are traced, so that \
        does not end; or, if it would end, a thread with a larger stack";
    let error = Error::new(Code::Trace, kind, rule, legal).at(here());
    REFUSED.set(before.max(depth));
    // It is printed once.
    if before == 0 { strict::panic(error) } else { strict::raise(error) }
}

/// Opens a trace; the guard closes it.
pub(crate) fn open(kind: &'static str, name: &str) -> Guard {
    refuse_endless(kind);
    let info = TraceInfo { id: NEXT.fetch_add(1, Ordering::Relaxed), kind, thread: thread::current().id() };
    STACK.with_borrow_mut(|s| {
        s.push(Trace::new(info, name));
        Guard { depth: s.len() - 1 }
    })
}

fn with_top<R>(f: impl FnOnce(&mut Trace) -> R) -> R {
    STACK.with_borrow_mut(|s| f(s.last_mut().expect("called only inside a trace")))
}

/// Adds an input to the innermost trace.
pub(crate) fn input(ty: Type, made: &'static Location<'static>) -> Tensor {
    with_top(|t| {
        let value = t.graph.add_input(ty);
        t.tensor(value, made)
    })
}

/// Declares a symbol of the innermost trace, with the value it has in this call if there is one.
pub(crate) fn declare(decl: ir::graph::SymbolDecl, value: Option<i64>) {
    with_top(|t| {
        t.symbol_values.extend(value.map(|v| (decl.symbol.clone(), v)));
        t.graph.symbols.push(decl);
    })
}

/// The value in the innermost trace that stands for a tensor that the traced function returns.
pub(crate) fn lift(tensor: &Tensor) -> Result<Value, Error> {
    lift_for(kind().unwrap_or("return"), tensor)
}

/// The value in the innermost trace that stands for a tensor, for an op or a function.
fn lift_for(what: &str, tensor: &Tensor) -> Result<Value, Error> {
    // A view runs, which opens a trace of its own.
    tensor.held();
    STACK.with_borrow_mut(|s| {
        let outer_open = |id: u64, s: &[Trace]| s.iter().any(|t| t.info.id == id);
        if let Repr::Traced(t) = &tensor.0
            && !outer_open(t.trace.id, s)
        {
            return Err(ended(what.to_string(), t)
                .with_operands([t.ty.to_string()])
                .at(here())
                .in_scope(&scope::current()));
        }
        s.last_mut().expect("called only inside a trace").lift(tensor)
    })
}

/// Records an op into the innermost trace; its operands may be of any kind.
pub(crate) fn record(primitive: impl Into<Primitive>, operands: &[&Tensor]) -> Tensor {
    let primitive = primitive.into();
    if let Some(e) = operands.iter().find_map(|t| t.error_ref()) {
        return Tensor(Repr::Error(e.clone()));
    }
    let mut values: smallvec::SmallVec<[Value; 4]> = smallvec::SmallVec::new();
    for t in operands {
        match lift_for(primitive.name(), t) {
            Ok(v) => values.push(v),
            Err(e) => return Tensor::error(e),
        }
    }
    let at = here();
    if let Some(e) = undeclared(&primitive) {
        let types = operands.iter().map(|t| t.ty().to_string());
        return Tensor::error(e.with_operands(types).at(at).in_scope(&scope::current()));
    }
    let frozen = tape::frozen() && !matches!(primitive, Primitive::StopGradient(_));
    match with_top(|t| t.append(primitive, &values, at)) {
        Ok(t) if frozen && t.dtype().is_float() => record(StopGradient {}, &[&t]),
        Ok(t) => t,
        Err(v) => Tensor::error(Error::violation(v).at(at).in_scope(&scope::current())),
    }
}

/// The error of an op whose attributes hold a symbol that no open trace knows. What operands hold was recorded before.
fn undeclared(primitive: &Primitive) -> Option<Error> {
    if !matches!(primitive.lowering(), Lowering::View | Lowering::Generate) {
        return None;
    }
    unknown(primitive.name(), &primitive.symbols())
}

/// The error of an op or function that is given a symbol that no open trace knows.
pub(crate) fn unknown(what: &'static str, symbols: &[Symbol]) -> Option<Error> {
    let known =
        |s: &Symbol| STACK.with_borrow(|all| all.iter().any(|t| t.graph.symbols.iter().any(|d| d.symbol == *s)));
    let unknown = symbols.iter().find(|s| !known(s))?;
    let rule = format!("the symbol {unknown} stands for no extent here");
    Some(Error::new(Code::Trace, what, rule, "a dimension of a tensor that this trace knows"))
}

/// The error of using a value after its trace, or on another thread.
pub(crate) fn ended(what: impl Into<Cow<'static, str>>, t: &Traced) -> Error {
    let made = format!("the value was made at {} while {} traced", t.made, t.trace.kind);
    if t.trace.thread == thread::current().id() {
        let legal = "return the value from the traced function instead of keeping it";
        return Error::new(Code::Trace, what, format!("{made}, and that trace has ended"), legal);
    }
    let legal = "compute with traced values on the thread that called the compiled function";
    Error::new(Code::Trace, what, format!("{made} on another thread, where alone it can be used"), legal)
}

/// What to do instead of compiling in a trace.
pub(crate) const CALL_IT: &str = "call the function itself, which is then recorded";

/// An error if this thread traces, for what cannot be recorded.
pub(crate) fn refuse_inside(what: &'static str, legal: &str) -> Result<(), Error> {
    let Some(kind) = kind() else { return Ok(()) };
    let rule = format!("this cannot be done while a function is traced by {kind}");
    Err(Error::new(Code::Trace, what, rule, legal).at(here()))
}

/// The number that a symbolic dimension has in the innermost trace that knows it; recorded as a specialisation.
pub(crate) fn specialize(dim: &Dim, at: &'static Location<'static>) -> Option<i64> {
    let n =
        STACK.with_borrow(|s| s.iter().rev().find_map(|trace| dim.eval(&|x| trace.symbol_values.get(x).copied())))?;
    SPECIALIZED.with_borrow_mut(|all| all.extend(dim.symbols()));
    events::record(Event::Specialised, format_args!("{dim} became {n} at {at}"));
    Some(n)
}

/// True if a symbol became a number since they were last taken.
pub(crate) fn has_specialized() -> bool {
    SPECIALIZED.with_borrow(|all| !all.is_empty())
}

/// The symbols that became numbers since the last call.
pub(crate) fn take_specialized() -> Vec<Symbol> {
    SPECIALIZED.take()
}

/// The value of a cell in the innermost trace, read from the enclosing one the first time.
pub(crate) fn read_cell(cell: &Arc<dyn CellId>) -> Tensor {
    let depth = STACK.with_borrow(Vec::len);
    read_cell_at(cell, depth)
}

fn read_cell_at(cell: &Arc<dyn CellId>, depth: usize) -> Tensor {
    if depth == 0 {
        return cell.stored();
    }
    let known =
        STACK.with_borrow(|s| s[depth - 1].cells.iter().find(|c| c.cell.id() == cell.id()).map(CellUse::current));
    if let Some(t) = known {
        return t;
    }
    let outer = read_cell_at(cell, depth - 1);
    if outer.error_ref().is_some() {
        return outer;
    }
    STACK.with_borrow_mut(|s| {
        let trace = &mut s[depth - 1];
        let ty = outer.ty();
        let value = trace.graph.add_input(ty);
        let input = trace.tensor(value, here());
        trace.cells.push(CellUse {
            cell: cell.clone(),
            input: value,
            source: outer,
            written: None,
            read: input.clone(),
        });
        input
    })
}

/// Writes a cell in the innermost trace.
pub(crate) fn write_cell(cell: &Arc<dyn CellId>, value: Tensor) {
    write_cell_at(cell, value, here());
}

/// The same for a line that wrote it.
pub(crate) fn write_cell_at(cell: &Arc<dyn CellId>, value: Tensor, line: &'static Location<'static>) {
    read_cell(cell);
    with_top(|t| {
        let used = t.cells.iter_mut().find(|c| c.cell.id() == cell.id());
        used.expect("reading registers the cell").written = Some((value, line));
    });
}

/// What every cell of the innermost trace was written with, in their order.
pub(crate) fn cell_writes() -> Vec<Option<Tensor>> {
    with_top(|t| t.cells.iter().map(|c| c.written.as_ref().map(|(value, _)| value.clone())).collect())
}

/// The kind of a trace that stands for a run over many examples.
pub(crate) const VMAP: &str = "vmap";

/// The number (u64) of the example in each of the open traces that stand for many, the outermost first.
pub(crate) fn examples() -> Vec<Tensor> {
    let at = here();
    STACK.with_borrow_mut(|s| {
        let batched = s.iter_mut().filter(|t| t.info.kind == VMAP);
        let number = |t: &mut Trace| {
            if t.example.is_none() {
                let value = t.graph.add_input(Type::new(ir::DType::U64, ir::Shape::scalar()));
                t.example = Some(t.tensor(value, at));
            }
            t.example.clone().expect("it was made")
        };
        batched.map(number).collect()
    })
}

/// Copies a graph into the innermost trace, its inputs bound to tensors of any kind.
pub(crate) fn inline(graph: &ir::Graph, arguments: &[Tensor]) -> Result<Vec<Tensor>, Error> {
    let values: Vec<Value> = arguments.iter().map(|t| lift_for(&graph.name, t)).collect::<Result<_, _>>()?;
    let at = here();
    let outputs: Vec<Tensor> = with_top(|t| {
        let root = t.graph.root();
        let outputs = t.graph.inline(root, graph, &values);
        outputs.into_iter().map(|v| t.tensor(v, at)).collect()
    });
    let constant = |t: Tensor| if t.dtype().is_float() { record(StopGradient {}, &[&t]) } else { t };
    Ok(if tape::frozen() { outputs.into_iter().map(constant).collect() } else { outputs })
}
