//! Loops over the elements of tensors.

use super::region::{Builder, Outside};
use super::{Step, Words, below, located};
use crate::dispatch::{enter, leave};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::trace;
use crate::transform::traced::{self, Failure, Function, errors, named, with_leaves};
use crate::tree::Tree;
use ir::ops::control::Scan;
use ir::{Dim, Literal, Scalar, Type, Value};
use std::panic::resume_unwind;

/// What one iteration gets.
#[derive(Tree)]
pub(super) struct Round<C, X> {
    /// Which it is, counted along the elements.
    pub number: Tensor,
    pub carry: C,
    pub xs: X,
}

/// What one iteration yields.
#[derive(Tree)]
struct Next<C, Y> {
    carry: C,
    ys: Y,
}

/// Runs a function once for each element along the first axes of `xs`, in order. It gets what is carried and the element, and
/// yields what is carried on and something that is stacked: `scan` yields the last carried value and the stack.
///
/// Every leaf of `xs` has the same first extent, which may be symbolic. Each leaf of the stack has it as its first axis. What
/// is carried keeps its structure and its types. The function is traced once and compiled as one loop, however many elements there
/// are; with none, the result is `init` and empty stacks.
///
/// ```
/// use tracewright::{scan, Tensor};
/// // A running balance, with interest.
/// let paid = Tensor::from([100.0f64, -50.0, 0.0]);
/// let (last, all) = scan(
///     |balance: &Tensor, paid: &Tensor| {
///         let next = balance * 1.1 + paid;
///         (next.clone(), next)
///     },
///     &Tensor::from(0.0f64),
///     &paid,
/// );
/// assert_eq!(all.shape().to_string(), "[3]");
/// assert!((last.item::<f64>()? - 66.0).abs() < 1e-9);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn scan<C: Tree, X: Tree, Y: Tree>(f: impl Fn(&C, &X) -> (C, Y), init: &C, xs: &X) -> (C, Y) {
    let _here = enter();
    scanned("scan", &|round: &Round<C, X>| f(&round.carry, &round.xs), init, xs, None, false)
}

/// As [`scan`](fn@scan) from the last element to the first. What is stacked stands where the element stands that it comes
/// from.
///
/// ```
/// use tracewright::{control, Tensor};
/// // Sums of all that is still to come.
/// let sum = |later: &Tensor, x: &Tensor| (later + x, later.clone());
/// let (_, after) = control::scan::reverse(sum, &Tensor::from(0i64), &Tensor::from([1i64, 2, 3]));
/// assert_eq!(after.to_vec::<i64>()?, [5, 3, 0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn reverse<C: Tree, X: Tree, Y: Tree>(f: impl Fn(&C, &X) -> (C, Y), init: &C, xs: &X) -> (C, Y) {
    let _here = enter();
    scanned("scan", &|round: &Round<C, X>| f(&round.carry, &round.xs), init, xs, None, true)
}

/// As [`scan`](fn@scan) with no elements, a number of times.
///
/// ```
/// use tracewright::{control, Tensor};
/// let (_, squares) = control::scan::times(4, |i: &Tensor| (i + 1, i * i), &Tensor::from(0i64));
/// assert_eq!(squares.to_vec::<i64>()?, [0, 1, 4, 9]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn times<C: Tree, Y: Tree>(length: impl Into<Dim>, f: impl Fn(&C) -> (C, Y), init: &C) -> (C, Y) {
    let _here = enter();
    scanned("scan", &|round: &Round<C, ()>| f(&round.carry), init, &(), Some(length.into()), false)
}

/// Runs a function once for each element along the first axes of `xs`, and stacks what it returns.
///
/// One element is computed after the other, so it needs the memory of one. [`vmap`](fn@crate::vmap) computes all of them at
/// once, which is faster.
///
/// ```
/// use tracewright::{control, Tensor};
/// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
/// let sums = control::map(|row: &Tensor| row.sum(..), &x);
/// assert_eq!(sums.to_vec::<f32>()?, [3.0, 7.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn map<X: Tree, Y: Tree>(f: impl Fn(&X) -> Y, xs: &X) -> Y {
    let _here = enter();
    scanned("map", &|round: &Round<(), X>| ((), f(&round.xs)), &(), xs, None, false).1
}

/// Without a length, elements say how many there are.
pub(super) fn scanned<C: Tree, X: Tree, Y: Tree>(
    kind: &'static str,
    f: &Step<'_, Round<C, X>, (C, Y)>,
    init: &C,
    xs: &X,
    length: Option<Dim>,
    reverse: bool,
) -> (C, Y) {
    let copy = |t: &Tensor| t.clone();
    let number = Tensor::literal(Literal::scalar(Scalar::I64(0)));
    let start = Round { number, carry: init.map(&mut { copy }), xs: xs.map(&mut { copy }) };
    let step = |round: &Round<C, X>| {
        let (carry, ys) = f(round);
        Next { carry, ys }
    };
    let next = match attempt(kind, &step, &start, length, reverse) {
        Ok(next) => next,
        Err(Failure::Error(e, Some(template))) => errors(&template, &e),
        Err(failure) => match (traced::is_of_type::<Y>(), failure) {
            (true, failure) => {
                let e = failure.error();
                Next { carry: errors(init, &e), ys: traced::of_type(&e).expect("it is known") }
            }
            (false, Failure::Panic(_, payload)) => resume_unwind(payload),
            // Only the function knows what it would stack. What it records is thrown away.
            (false, Failure::Error(e, _)) => {
                let _trace = trace::open(kind, kind);
                let _line = leave();
                errors(&step(&errors(&start, &e)), &e)
            }
        },
    };
    (next.carry, next.ys)
}

fn attempt<C: Tree, X: Tree, Y: Tree>(
    kind: &'static str,
    step: &Step<'_, Round<C, X>, Next<C, Y>>,
    start: &Round<C, X>,
    length: Option<Dim>,
    reverse: bool,
) -> Result<Next<C, Y>, Failure<Next<C, Y>>> {
    let length = match length {
        Some(n) => counted(kind, n),
        None => extent(kind, &start.xs),
    };
    let length = length.map_err(|e| Failure::Error(e, None))?;
    let carried = start.carry.leaves().len();
    // Leaves that are one tensor at first may differ later.
    let seen = &mut |number: usize, t: &Tensor| {
        let mut ty = t.ty();
        if number > carried {
            ty.shape.remove(0);
        }
        Ok((ty, number))
    };
    let function = traced::trace_as(kind, step, start, seen)?;
    let types = |values: &[Value]| values.iter().map(|&v| function.graph.ty(v).clone()).collect::<Vec<_>>();
    let leaves = types(&function.graph.inputs()[..function.distinct]);
    let words = Words { function: kind, root: "carry", places: ["at first", "after an iteration"] };
    let carry = &function.template.carry;
    let after = types(&function.results[..carry.leaves().len()]);
    if let Err(e) = words.alike((&start.carry, &leaves[1..=carried]), (carry, &after)) {
        return Err(Failure::Error(e, Some(function.template)));
    }
    let (template, results) = run(kind, start, &leaves, carried, function, (length, reverse));
    match results {
        Ok(results) => Ok(with_leaves(&template, results)),
        Err(e) => Err(Failure::Error(e, Some(template))),
    }
}

/// A number of iterations.
fn counted(kind: &'static str, n: Dim) -> Result<Dim> {
    if n.known().is_some_and(|n| n < 0) {
        let rule = format!("the number of iterations is {n}");
        return Err(located(Error::new(Code::Argument, kind, rule, "a number that is not negative")));
    }
    match trace::unknown(kind, &n.symbols()) {
        Some(e) => Err(located(e)),
        None => Ok(n),
    }
}

/// The first extent of all leaves.
fn extent(kind: &'static str, xs: &impl Tree) -> Result<Dim> {
    let refuse = |code, rule: String, legal: &str| Err(located(Error::new(code, kind, rule, legal)));
    let mut found: Option<(String, Dim)> = None;
    for (path, t) in xs.leaves() {
        if let Some(e) = t.error_ref() {
            return Err(e.clone());
        }
        let ty = t.ty();
        let leaf = named(&below("xs", &path), &ty);
        let Some(extent) = ty.shape.first() else {
            return refuse(Code::Rank, format!("{leaf} is a scalar"), "a first axis that the elements are taken along");
        };
        match &found {
            Some((first, n)) if n != extent => {
                let rule = format!("the first extents of {first} and {leaf} differ");
                return refuse(Code::Shape, rule, "the same number of elements in all leaves");
            }
            Some(_) => {}
            None => found = Some((leaf, extent.clone())),
        }
    }
    match found {
        Some((_, n)) => Ok(n),
        None => {
            let rule = "xs has no leaves that would say how many iterations there are";
            refuse(Code::Argument, rule.into(), "at least one tensor; or scan::times, which takes the number")
        }
    }
}

/// `types` are those of the number, of what is carried and of the elements.
fn run<C: Tree, X: Tree, Y: Tree>(
    kind: &'static str,
    start: &Round<C, X>,
    types: &[Type],
    carried: usize,
    function: Function<Next<C, Y>>,
    (length, reverse): (Dim, bool),
) -> (Next<C, Y>, Result<Vec<Tensor>>) {
    let mut outside = Outside::default();
    let (body, template) = outside.take(function);
    let [read, written] = outside.parts();
    let (number, rest) = types.split_first().expect("the first is the number");
    let (carry, elements) = rest.split_at(carried);
    // Parameters: the number, constants, carried values, cells, elements.
    let first = 1 + read.len();
    let cells = first + carried;
    let scanned = cells + written.len();
    let parameters: Vec<Type> = std::iter::once(number.clone())
        .chain(outside.types(&read))
        .chain(carry.iter().cloned())
        .chain(outside.types(&written))
        .chain(elements.iter().cloned())
        .collect();
    let leaves: Vec<usize> = std::iter::once(0).chain(first..cells).chain(scanned..parameters.len()).collect();
    let place = |i: usize| match read.iter().position(|&r| r == i) {
        Some(at) => 1 + at,
        None => cells + written.iter().position(|&w| w == i).expect("it is one of both"),
    };
    let mut builder = Builder::new(kind);
    let inside = builder.region(&parameters, &body, &leaves, &place);
    let (next, stacked) = inside.results.split_at(carried);
    let states = written.iter().map(|i| inside.writes[i]);
    builder.yields(&inside, next.iter().copied().chain(states).chain(stacked.iter().copied()).collect());
    let of = |tree: Vec<(String, Tensor)>| tree.into_iter().map(|(_, t)| t).collect::<Vec<_>>();
    let (given, elements) = (of(start.carry.leaves()), of(start.xs.leaves()));
    let operands = |outside: &[Tensor]| {
        let part = |numbers: &[usize]| numbers.iter().map(|&i| outside[i].clone()).collect::<Vec<_>>();
        [part(&read), given.clone(), part(&written), elements.clone()].concat()
    };
    let op = Scan { length, constants: read.len(), carried: carried + written.len(), reverse };
    (template, builder.run(op, &outside, &operands, carried))
}
