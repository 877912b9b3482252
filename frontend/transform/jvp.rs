//! Forward mode for functions of trees to trees.

use super::append;
use super::later::{self, Later, Takes};
use super::traced::{self, Failure, Function, named, with_leaves};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::scope;
use crate::tree::Tree;
use ir::{Graph, Type, Value};
use passes::autodiff::{Again, partition};
use std::panic::Location;

/// The value of a function, and how it changes along a tangent of the argument: a tree like the value.
///
/// Tangents of leaves that are not floats are not looked at, and are zeros in the result.
///
/// If there is an error, every leaf of the result holds it; a panic is one too, or goes on (see [`Code::Panic`]).
///
/// ```
/// use tracewright::{Tensor, grad, jvp};
/// let (x, v) = (Tensor::from([1.0f32, 2.0]), Tensor::from([1.0f32, 0.0]));
/// let (y, dy) = jvp(|x: &Tensor| x * x, &x, &v);
/// assert_eq!((y.to_vec::<f32>()?, dy.to_vec::<f32>()?), (vec![1.0, 4.0], vec![2.0, 0.0]));
/// // The Hessian of a function times a vector.
/// let (_, hv) = jvp(grad(|x: &Tensor| (x * x * x).sum(..)), &x, &v);
/// assert_eq!(hv.to_vec::<f32>()?, [6.0, 0.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn jvp<M: Tree, R: Tree>(f: impl Fn(&M) -> R, x: &M, tangent: &M) -> (R, R) {
    along("jvp", &f, x, tangent, Location::caller())
}

/// [`jvp`] for a transform that errors name in its place.
pub(super) fn along<M: Tree, R: Tree>(
    kind: &'static str,
    f: &dyn Fn(&M) -> R,
    x: &M,
    tangent: &M,
    made: &'static Location<'static>,
) -> (R, R) {
    let _here = enter_at(made);
    let (value, change) = traced::settled(push(kind, f, x, tangent), f, x);
    let change = change.unwrap_or_else(|e| traced::errors(&value, &e));
    (value, change)
}

const LINEARIZE: &str = "linearize";

/// A function with tangents for all its float leaves.
struct Linear<R> {
    function: Function<R>,
    /// Path and type of each leaf of the argument.
    leaves: Vec<(String, Type)>,
    /// The tangent of each leaf of the value.
    tangents: Vec<Value>,
    /// As many inputs are no tangents.
    primal: usize,
    /// To be cut in two and with branches or loops in it, whose values and tangents are now of one op: the function before.
    before: Option<Graph>,
}

impl<R: Tree> Linear<R> {
    fn new<M: Tree>(kind: &'static str, f: &dyn Fn(&M) -> R, x: &M) -> Result<Linear<R>, Failure<R>> {
        // Leaves that are one tensor may have tangents of their own.
        let mut function = traced::trace_as(kind, f, x, &mut |number, t| Ok((t.ty(), number)))?;
        let graph = &mut function.graph;
        let primal = graph.inputs().len();
        let mut given = Vec::new();
        for leaf in &function.leaves {
            let v = graph.inputs()[leaf.input];
            let ty = graph.ty(v).clone();
            if ty.dtype.is_float() {
                given.push((v, graph.add_input(ty)));
            }
        }
        let leaves: Vec<_> = function.leaves.iter().map(|l| (l.path.clone(), l.tensor.ty())).collect();
        if given.is_empty() {
            let rule = match &leaves[..] {
                [] => "the argument has no leaves".into(),
                [(path, ty), ..] => format!("no leaf of the argument is a float, such as {}", named(path, ty)),
            };
            let e = Error::new(Code::Gradient, kind, rule, "a float, such as f32[]").at(here());
            return Err(Failure::Error(e.in_scope(&scope::current()), Some(function.template)));
        }
        let origins = [append::origin(graph, here())];
        let ops = &graph.region(graph.root()).ops;
        let control = ops.iter().any(|&op| graph.op(op).primitive.control().is_some());
        let before = (kind == LINEARIZE && control).then(|| {
            let mut before = graph.clone();
            before.set_outputs(function.results.iter().chain(&function.writes).copied().collect());
            before
        });
        match append::push(kind, graph, &given, &function.results) {
            Ok(found) => {
                append::record_cuts(&found.cuts);
                let tangents = found.or_zeros(graph, &function.results, &origins);
                Ok(Linear { function, leaves, tangents, primal, before })
            }
            Err(e) => Err(Failure::Error(e, Some(function.template))),
        }
    }
}

fn push<M: Tree, R: Tree>(kind: &'static str, f: &dyn Fn(&M) -> R, x: &M, tangent: &M) -> Result<(R, R), Failure<R>> {
    let Linear { mut function, leaves, tangents, .. } = Linear::new(kind, f, x)?;
    let rest = || -> Result<_> {
        let given = Takes { kind, what: "tangent", like: leaves }.floats(tangent)?;
        let outputs = function.results.iter().chain(&tangents).chain(&function.writes);
        function.graph.set_outputs(outputs.copied().collect());
        let mut results = function.run(&function.graph, &function.sources(), &given)?;
        let changes = results.split_off(function.results.len());
        Ok((results, changes))
    };
    match rest() {
        Ok((results, changes)) => {
            Ok((with_leaves(&function.template, results), with_leaves(&function.template, changes)))
        }
        Err(e) => Err(Failure::Error(e, Some(function.template))),
    }
}

/// The value of a function, and the linear function that is nearest to it there: what [`jvp`] gives for each tangent.
///
/// All that does not depend on the tangent is computed here, once. Errors are those of [`jvp`].
///
/// ```
/// use tracewright::{Tensor, linearize};
/// let (y, push) = linearize(|x: &Tensor| x.exp(), &Tensor::from([0.0f32, 0.0]));
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.0]);
/// assert_eq!(push(&Tensor::from([2.0f32, 3.0])).to_vec::<f32>()?, [2.0, 3.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn linearize<M: Tree, R: Tree>(f: impl Fn(&M) -> R, x: &M) -> (R, impl Fn(&M) -> R + Send + Sync + 'static) {
    let made = Location::caller();
    let _here = enter_at(made);
    let (value, map) = traced::settled(linear(&f, x), &f, x);
    let shape = traced::hollow(&value);
    (value, later::function(map, shape, made))
}

fn linear<M: Tree, R: Tree>(f: &dyn Fn(&M) -> R, x: &M) -> Result<(R, Later), Failure<R>> {
    let Linear { mut function, leaves, tangents, primal, before } = Linear::new(LINEARIZE, f, x)?;
    let rest = || -> Result<_> {
        let known = function.graph.inputs()[..primal].to_vec();
        let mut outputs: Vec<Value> = function.results.iter().chain(&function.writes).copied().collect();
        if let Some(before) = before {
            let arguments: Vec<Value> = function.graph.inputs()[..before.inputs().len()].to_vec();
            let root = function.graph.root();
            outputs = function.graph.inline(root, &before, &arguments);
        }
        let cut = partition(&function.graph, &known, &outputs, &tangents, Again::Free);
        Later::new(&function, cut, Takes { kind: LINEARIZE, what: "tangent", like: leaves })
    };
    match rest() {
        Ok((results, map)) => Ok((with_leaves(&function.template, results), map)),
        Err(e) => Err(Failure::Error(e, Some(function.template))),
    }
}
