//! Loops over what is carried alone.

use super::region::{Builder, Outside};
use super::scan::{Round, scanned};
use super::{Step, Words, located};
use crate::dispatch::{enter, enter_at, here};
use crate::error::{Code, Error, Result};
use crate::ops::prim;
use crate::tensor::Tensor;
use crate::trace;
use crate::transform::traced::{self, Failure, Function, errors, with_leaves};
use crate::tree::Tree;
use ir::ops::control::While;
use ir::{DType, Dim, Graph, Shape, Type, Value};
use std::ops::Range;

/// What is carried: by users, and before that a number of ours or nothing.
#[derive(Tree)]
struct Loop<N, C> {
    number: N,
    carry: C,
}

/// Runs the body as long as the condition holds: `while condition(&c) { c = body(&c) }` beginning with `init`.
///
/// What is carried keeps its structure and its types. The condition yields a scalar bool, and writes no cells.
///
/// The number of iterations is not known before, so there is no reverse mode through it: for that there are [`fori`] and
/// [`scan`](fn@super::scan).
///
/// ```
/// use tracewright::{while_loop, Tensor};
/// // The first power of two above a limit.
/// let limit = Tensor::from(1000i64);
/// let power = while_loop(|p: &Tensor| p.le(&limit), |p: &Tensor| p * 2, &Tensor::from(1i64));
/// assert_eq!(power.item::<i64>()?, 1024);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn while_loop<C: Tree>(condition: impl Fn(&C) -> Tensor, body: impl Fn(&C) -> C, init: &C) -> C {
    let _here = enter();
    let step = |l: &Loop<(), C>| Loop { number: (), carry: body(&l.carry) };
    repeat("while_loop", &|l| condition(&l.carry), &step, (), init)
}

/// Runs the body for each number of a range, on the number (an i64 scalar) and what is carried, beginning with `init`. An empty
/// range yields `init`.
///
/// The range is one of integers, of [`Dim`]s, or of integer scalars. With the first two the number of iterations is known
/// before, so there is a reverse mode; a range of symbolic dimensions must not end before it begins. With tensors it is a
/// [`while_loop`].
///
/// ```
/// use tracewright::{fori, Tensor};
/// let factorial = |n: i64| fori(1..n + 1, |i: &Tensor, product: &Tensor| product * i, &Tensor::from(1i64));
/// assert_eq!(factorial(10).item::<i64>()?, 3628800);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn fori<C: Tree>(range: impl Bounds, body: impl Fn(&Tensor, &C) -> C, init: &C) -> C {
    let _here = enter();
    let line = here();
    match range.limits() {
        Limits::Known(start, end) => {
            let length = match length(&start, &end) {
                Ok(length) => length,
                Err(e) => return errors(init, &e),
            };
            let body = |round: &Round<C, ()>| {
                let number = {
                    let _here = enter_at(line);
                    if start.is(0) { round.number.clone() } else { &round.number + prim::extent(&start) }
                };
                (body(&number, &round.carry), ())
            };
            if let Some(e) = trace::unknown("fori", &[start.symbols(), end.symbols()].concat()) {
                return errors(init, &located(e));
            }
            scanned("fori", &body, init, &(), Some(length), false).0
        }
        Limits::Computed(start, end) => match number("start", &start).and_then(|s| Ok((s, number("end", &end)?))) {
            Err(e) => errors(init, &e),
            Ok((start, end)) => {
                let condition = |l: &Loop<Tensor, C>| {
                    let _here = enter_at(line);
                    l.number.lt(&end)
                };
                let step = |l: &Loop<Tensor, C>| {
                    let number = {
                        let _here = enter_at(line);
                        &l.number + 1
                    };
                    Loop { number, carry: body(&l.number, &l.carry) }
                };
                repeat("fori", &condition, &step, start, init)
            }
        },
    }
}

/// How many numbers a range has.
fn length(start: &Dim, end: &Dim) -> Result<Dim> {
    // A sum of dimensions saturates.
    let Some((first, last)) = start.known().zip(end.known()) else {
        let length = end - start;
        return Ok(length.known().map_or(length, |n| Dim::from(n.max(0))));
    };
    let count = (i128::from(last) - i128::from(first)).max(0);
    i64::try_from(count).map(Dim::from).map_err(|_| {
        let rule = format!("the range {start}..{end} has {count} numbers");
        located(Error::new(Code::Argument, "fori", rule, format!("at most {}", i64::MAX)))
    })
}

/// A scalar of integers as an i64.
fn number(what: &str, t: &Tensor) -> Result<Tensor> {
    let ty = t.try_type()?;
    if !ty.dtype.is_int() || ty.rank() != 0 {
        let rule = format!("the {what} of the range has type {ty}");
        return Err(located(Error::new(Code::Argument, "fori", rule, "a scalar of integers, such as i64[]")));
    }
    Ok(t.to_dtype(DType::I64))
}

/// A range of numbers for [`fori`]: of integers, [`Dim`]s or tensors.
pub trait Bounds {
    /// Where it begins and ends.
    fn limits(self) -> Limits;
}

/// Where a range begins, and before which number it ends.
#[derive(Clone)]
pub enum Limits {
    /// Known before it runs.
    Known(Dim, Dim),
    /// Computed.
    Computed(Tensor, Tensor),
}

macro_rules! bounds {
    ($($t:ty: $limits:ident $x:ident => $value:expr;)*) => { $(
        impl Bounds for Range<$t> {
            fn limits(self) -> Limits {
                let value = |$x: $t| $value;
                Limits::$limits(value(self.start), value(self.end))
            }
        }
    )* };
}
bounds! {
    i32: Known n => Dim::from(n);
    i64: Known n => Dim::from(n);
    u32: Known n => Dim::from(n as i64);
    usize: Known n => Dim::from(n);
    Dim: Known n => n;
    Tensor: Computed t => t;
    &Tensor: Computed t => t.clone();
}

fn repeat<N: Tree, C: Tree>(
    kind: &'static str,
    condition: &Step<'_, Loop<N, C>, Tensor>,
    step: &Step<'_, Loop<N, C>, Loop<N, C>>,
    number: N,
    init: &C,
) -> C {
    let start = Loop { number, carry: init.map(&mut |t| t.clone()) };
    match attempt(kind, condition, step, &start) {
        Ok(last) => last.carry,
        Err(failure) => errors(init, &failure.error()),
    }
}

fn attempt<N: Tree, C: Tree>(
    kind: &'static str,
    condition: &Step<'_, Loop<N, C>, Tensor>,
    step: &Step<'_, Loop<N, C>, Loop<N, C>>,
    start: &Loop<N, C>,
) -> Result<Loop<N, C>, Failure<()>> {
    // Leaves that are one tensor at first may differ later.
    let seen = &mut |number: usize, t: &Tensor| Ok((t.ty(), number));
    let goes_on = traced::trace_as(kind, condition, start, seen).map_err(|f| f.map(drop))?;
    let next = traced::trace_as(kind, step, start, seen).map_err(|f| f.map(drop))?;
    let results = check(kind, start, &goes_on, &next).and_then(|types| run(kind, start, types, goes_on, next));
    Ok(with_leaves(start, results.map_err(|e| Failure::Error(e, None))?))
}

/// The types of what is carried.
fn check<N: Tree, C: Tree>(
    kind: &'static str,
    start: &Loop<N, C>,
    condition: &Function<Tensor>,
    next: &Function<Loop<N, C>>,
) -> Result<Vec<Type>> {
    let refuse = |code, rule: String, legal: &str| Err(located(Error::new(code, kind, rule, legal)));
    let ty = condition.graph.ty(condition.results[0]);
    if *ty != Type::new(DType::Bool, Shape::scalar()) {
        let code = if ty.dtype == DType::Bool { Code::Rank } else { Code::DType };
        return refuse(code, format!("the condition yields {ty}"), "bool[]");
    }
    if let Some(line) = condition.written_at.first() {
        let e = Error::new(Code::Trace, kind, "the condition writes a cell", "write it in the body");
        return Err(located(e).at(line).note(format!("in the condition of the loop at {}", here())));
    }
    let types = |f: &Graph, values: &[Value]| values.iter().map(|&v| f.ty(v).clone()).collect::<Vec<_>>();
    let before = types(&next.graph, &next.graph.inputs()[..next.distinct]);
    let after = types(&next.graph, &next.results);
    let words = Words { function: kind, root: "carry", places: ["at first", "after an iteration"] };
    let own = start.number.leaves().len();
    words.alike((&start.carry, &before[own..]), (&next.template.carry, &after[own..]))?;
    if before.is_empty() && next.written.is_empty() {
        let rule = "nothing is carried, so the condition never changes";
        return refuse(Code::Argument, rule.into(), "at least one tensor, or a cell that the body writes");
    }
    Ok(before)
}

fn run<N: Tree, C: Tree>(
    kind: &'static str,
    start: &Loop<N, C>,
    carried: Vec<Type>,
    condition: Function<Tensor>,
    next: Function<Loop<N, C>>,
) -> Result<Vec<Tensor>> {
    let mut outside = Outside::default();
    let ((condition, _), (next, _)) = (outside.take(condition), outside.take(next));
    let [read, written] = outside.parts();
    let cells = read.len() + carried.len();
    let types: Vec<Type> = outside.types(&read).chain(carried.iter().cloned()).chain(outside.types(&written)).collect();
    let leaves: Vec<usize> = (read.len()..cells).collect();
    let place = |i: usize| match read.iter().position(|&r| r == i) {
        Some(at) => at,
        None => cells + written.iter().position(|&w| w == i).expect("it is one of both"),
    };
    let mut builder = Builder::new(kind);
    let inside = builder.region(&types, &condition, &leaves, &place);
    builder.yields(&inside, inside.results.clone());
    let inside = builder.region(&types, &next, &leaves, &place);
    let states = written.iter().map(|i| inside.writes[i]);
    builder.yields(&inside, inside.results.iter().copied().chain(states).collect());
    let given: Vec<Tensor> = start.leaves().into_iter().map(|(_, t)| t).collect();
    let operands = |outside: &[Tensor]| {
        let part = |numbers: &[usize]| numbers.iter().map(|&i| outside[i].clone()).collect::<Vec<_>>();
        [part(&read), given.clone(), part(&written)].concat()
    };
    builder.run(While { constants: read.len() }, &outside, &operands, carried.len())
}
