//! Gradients of functions of trees.
//!
//! The function is traced, the trace is differentiated as a graph, and what comes out is recorded into the enclosing
//! trace, or run at once where there is none. So gradients nest: in compiled functions, in gradients, and over values
//! that the function captures, which count as constants. A tensor at several places of the tree has one gradient, the
//! sum over the places.

use super::traced::{self, Failure, Function, named, with_leaves};
use super::{append, report};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::scope;
use crate::tensor::Tensor;
use crate::tree::Tree;
use ir::Value;
use runtime::events::{self, Event};
use std::collections::HashMap;
use std::panic::Location;

pub use super::report::{Barrier, Cut, Report, Unreached, Why, report};

/// The gradient of a function of a tree, which returns a float scalar: a tree of the same form.
///
/// Gradients of leaves that are not floats are zeros. If the function makes an error or panics, every leaf of the result
/// holds the error.
///
/// ```
/// use tracewright::{grad, Tensor};
/// let cube = |x: &Tensor| x * x * x;
/// let second = grad(move |x: &Tensor| grad(cube)(x));
/// assert_eq!(second(&Tensor::from(2.0f32)).item::<f32>()?, 12.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn grad<M: Tree>(f: impl Fn(&M) -> Tensor) -> impl Fn(&M) -> M {
    gradient(GRAD, f, Location::caller())
}

const GRAD: &str = "grad";

/// [`grad`] for a transform that errors name in its place.
pub(super) fn gradient<M: Tree>(
    kind: &'static str,
    f: impl Fn(&M) -> Tensor,
    made: &'static Location<'static>,
) -> impl Fn(&M) -> M {
    move |model| scalar(kind, &f, model, &Choice::all(), made).1
}

/// The value and the gradient of a function of a tree; see [`grad`].
///
/// ```
/// use tracewright::{Tensor, grad};
/// let (value, slope) = grad::value_and_grad(|x: &Tensor| (x * x).sum(..))(&Tensor::from([3.0f32]));
/// assert_eq!((value.item::<f32>()?, slope.to_vec::<f32>()?), (9.0, vec![6.0]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn value_and_grad<M: Tree>(f: impl Fn(&M) -> Tensor) -> impl Fn(&M) -> (Tensor, M) {
    let made = Location::caller();
    move |model| scalar(GRAD, &f, model, &Choice::all(), made)
}

/// As [`grad`], by a part of the tree only: everything else counts as a constant, and has zeros in the result.
///
/// ```
/// use tracewright::{Tensor, grad};
/// let f = |(a, b): &(Tensor, Tensor)| a * a * b;
/// let (a, b) = grad::by(1, f)(&(Tensor::from(3.0f32), Tensor::from(5.0f32)));
/// assert_eq!((a.item::<f32>()?, b.item::<f32>()?), (0.0, 9.0));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn by<M: Tree>(choice: impl Into<Choice>, f: impl Fn(&M) -> Tensor) -> impl Fn(&M) -> M {
    let (made, choice) = (Location::caller(), choice.into());
    move |model| scalar(GRAD, &f, model, &choice, made).1
}

/// The value with the gradient of [`by`].
#[track_caller]
pub fn value_and_grad_by<M: Tree>(choice: impl Into<Choice>, f: impl Fn(&M) -> Tensor) -> impl Fn(&M) -> (Tensor, M) {
    let (made, choice) = (Location::caller(), choice.into());
    move |model| scalar(GRAD, &f, model, &choice, made)
}

/// As [`grad`], for a function that returns something beside the scalar, which is passed on. A panic is an error, or goes on
/// (see [`Code::Panic`]).
///
/// ```
/// use tracewright::{Tensor, grad};
/// let f = |x: &Tensor| { let y = x.exp(); (y.sum(..), y) };
/// let (slope, y) = grad::with_aux(f)(&Tensor::from([0.0f32]));
/// assert_eq!((slope.to_vec::<f32>()?, y.to_vec::<f32>()?), (vec![1.0], vec![1.0]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn with_aux<M: Tree, A: Tree>(f: impl Fn(&M) -> (Tensor, A)) -> impl Fn(&M) -> (M, A) {
    let made = Location::caller();
    move |model| {
        let ((_, aux), gradient) = differentiate(&f, model, &Choice::all(), made);
        (gradient, aux)
    }
}

/// The value, what the function returns beside it, and the gradient; see [`with_aux`].
#[track_caller]
pub fn value_and_grad_with_aux<M: Tree, A: Tree>(f: impl Fn(&M) -> (Tensor, A)) -> impl Fn(&M) -> ((Tensor, A), M) {
    let made = Location::caller();
    move |model| differentiate(&f, model, &Choice::all(), made)
}

/// A part of a tree: an argument by its number, a leaf or a part with leaves by its path, or several of these.
///
/// ```
/// use tracewright::{Tensor, grad};
/// let f = |t: &(Tensor, (Tensor, Tensor))| &t.0 * &t.1.0 * &t.1.1;
/// let at = (Tensor::from(2.0f32), (Tensor::from(3.0f32), Tensor::from(5.0f32)));
/// let g = grad::by(["0", "1.1"], f)(&at);
/// assert_eq!((g.0.item::<f32>()?, g.1.0.item::<f32>()?, g.1.1.item::<f32>()?), (15.0, 0.0, 6.0));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Choice(Option<Vec<String>>);

impl Choice {
    fn all() -> Choice {
        Choice(None)
    }

    /// For each leaf whether it is chosen.
    fn of(&self, paths: &[String]) -> Result<Vec<bool>> {
        let Some(parts) = &self.0 else { return Ok(vec![true; paths.len()]) };
        let within = |path: &str, part: &str| {
            path.strip_prefix(part).is_some_and(|rest| part.is_empty() || rest.is_empty() || rest.starts_with('.'))
        };
        if let Some(part) = parts.iter().find(|part| !paths.iter().any(|path| within(path, part))) {
            let legal = format!("a part of {}", paths.join(", "));
            return Err(Error::new(Code::Argument, "grad", format!("the argument has no part `{part}`"), legal));
        }
        Ok(paths.iter().map(|path| parts.iter().any(|part| within(path, part))).collect())
    }
}

impl From<&str> for Choice {
    fn from(path: &str) -> Choice {
        Choice(Some(vec![path.into()]))
    }
}
impl From<usize> for Choice {
    fn from(argument: usize) -> Choice {
        Choice(Some(vec![argument.to_string()]))
    }
}
impl<T: Into<Choice>, const N: usize> From<[T; N]> for Choice {
    fn from(parts: [T; N]) -> Choice {
        parts.into_iter().collect()
    }
}
impl<T: Into<Choice>> FromIterator<T> for Choice {
    fn from_iter<I: IntoIterator<Item = T>>(parts: I) -> Choice {
        Choice(Some(parts.into_iter().filter_map(|part| part.into().0).flatten().collect()))
    }
}

/// For a function of which only the scalar is wanted: a panic of it is an error.
fn scalar<M: Tree>(
    kind: &'static str,
    f: &dyn Fn(&M) -> Tensor,
    model: &M,
    choice: &Choice,
    made: &'static Location<'static>,
) -> (Tensor, M) {
    let _here = enter_at(made);
    match attempt(kind, &|m: &M| (f(m), ()), model, choice) {
        Ok(((value, ()), gradients)) => (value, gradients),
        Err(failure) => {
            let e = failure.error();
            (Tensor::error(e.clone()), traced::errors(model, &e))
        }
    }
}

/// `made` is the line that asked for the transform; the line of the call cannot be known, since a closure has no
/// `#[track_caller]`.
fn differentiate<M: Tree, A: Tree>(
    f: &dyn Fn(&M) -> (Tensor, A),
    model: &M,
    choice: &Choice,
    made: &'static Location<'static>,
) -> ((Tensor, A), M) {
    let _here = enter_at(made);
    match attempt(GRAD, f, model, choice) {
        Ok(both) => both,
        Err(failure) => {
            let (value, e) = failure.parts(f, model);
            (value, traced::errors(model, &e))
        }
    }
}

type Both<M, A> = ((Tensor, A), M);

/// The value and one gradient per leaf.
fn attempt<M: Tree, A: Tree>(
    kind: &'static str,
    f: &dyn Fn(&M) -> (Tensor, A),
    model: &M,
    choice: &Choice,
) -> Result<Both<M, A>, Failure<(Tensor, A)>> {
    let paths: Vec<String> = model.leaves().into_iter().map(|(path, _)| path).collect();
    let chosen = choice.of(&paths).map_err(|e| Failure::Error(e.at(here()).in_scope(&scope::current()), None))?;
    // A leaf that is not chosen is no part of a tensor that is.
    let seen = &mut |number: usize, t: &Tensor| Ok((t.ty(), chosen[number] as usize));
    let mut function = traced::trace_as(kind, f, model, seen)?;
    match complete(kind, &mut function, &chosen) {
        Ok((results, gradients)) => {
            let gradients = function.leaves.iter().map(|leaf| gradients[leaf.input].clone());
            Ok((with_leaves(&function.template, results), with_leaves(model, gradients)))
        }
        Err(e) => Err(Failure::Error(e, Some(function.template))),
    }
}

/// An error unless the first result of a function is a float scalar, and some leaf a float.
pub(super) fn check<R>(kind: &'static str, function: &Function<R>) -> Result<()> {
    let refuse =
        |rule, legal| Err(Error::new(Code::Gradient, kind, rule, legal).at(here()).in_scope(&scope::current()));
    let ty = function.graph.ty(function.results[0]);
    if !ty.dtype.is_float() || ty.rank() != 0 {
        return refuse(format!("the function returned {ty}"), "a float scalar, such as f32[]; vjp takes any result");
    }
    match &function.leaves[..] {
        [leaf, ..] if function.leaves.iter().all(|leaf| !leaf.tensor.dtype().is_float()) => {
            let ty = named(&leaf.path, &leaf.tensor.ty());
            refuse(format!("no leaf of the argument is a float, such as {ty}"), "a float, such as f32[]")
        }
        _ => Ok(()),
    }
}

/// The results of the function, and the gradient by each distinct leaf.
fn complete<R: Tree>(
    kind: &'static str,
    function: &mut Function<R>,
    chosen: &[bool],
) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    check(kind, function)?;
    let (at, loss, graph) = (here(), function.results[0], &mut function.graph);
    let inputs: Vec<Value> = graph.inputs()[..function.distinct].to_vec();
    let mut wanted = vec![false; function.distinct];
    function.leaves.iter().zip(chosen).for_each(|(leaf, chosen)| wanted[leaf.input] |= chosen);
    let wrt: Vec<Value> = inputs.iter().copied().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(v, _)| v).collect();
    let origins = [append::origin(graph, at)];
    let found = append::gradients(kind, graph, loss, &wrt, &origins)?;
    append::record_cuts(&found.cuts);
    let missing: Vec<(Value, String)> = function
        .leaves
        .iter()
        .zip(chosen)
        .filter(|(leaf, chosen)| **chosen && leaf.tensor.dtype().is_float())
        .map(|(leaf, _)| (inputs[leaf.input], leaf.path.clone()))
        .filter(|(v, _)| wrt.iter().zip(&found.values).any(|(w, g)| w == v && g.is_none()))
        .collect();
    for unreached in report::unreached(graph, loss, &missing, &found.cuts) {
        events::record(Event::Unreached, format_args!("parameter {unreached}; the gradient is asked for at {at}"));
    }
    let found: HashMap<Value, Value> = wrt.into_iter().zip(found.values).filter_map(|(v, g)| Some((v, g?))).collect();
    let mut outputs = function.results.clone();
    for v in inputs {
        outputs.push(found.get(&v).copied().unwrap_or_else(|| append::zeros(graph, v, &origins)));
    }
    outputs.extend(&function.writes);
    graph.set_outputs(outputs);
    let mut results = function.run(&function.graph, &function.sources(), &[])?;
    let gradients = results.split_off(function.results.len());
    Ok((results, gradients))
}
