//! Reverse mode for functions of trees to trees.

use super::append;
use super::later::{self, Later, Takes};
use super::traced::{self, Failure, with_leaves};
use crate::dispatch::{enter_at, here};
use crate::error::Result;
use crate::tree::Tree;
use ir::Value;
use passes::autodiff::{Again, partition};
use std::panic::Location;

/// The value of a function, and its pullback: the function that takes a cotangent of the value, a tree like it, to the
/// gradient by the argument, a tree like that.
///
/// The function runs once, here; the pullback may be called many times, and only keeps what it needs. Both record into the
/// trace that they are called in, if there is one. Gradients of leaves that are not floats are zeros, and so are not
/// looked at in a cotangent. A tensor at several places of the argument has one gradient, the sum over the places.
///
/// If there is an error, every leaf of the result holds it; a panic is one too, or goes on (see [`Code::Panic`](crate::Code::Panic)).
///
/// ```
/// use tracewright::{Tensor, vjp};
/// let x = Tensor::from([1.0f32, 2.0, 3.0]);
/// let (y, pullback) = vjp(|x: &Tensor| (x * x, x.sum(..)), &x);
/// assert_eq!(y.1.item::<f32>()?, 6.0);
/// let dx = pullback(&(Tensor::from([1.0f32, 0.0, 1.0]), Tensor::from(10.0f32)));
/// assert_eq!(dx.to_vec::<f32>()?, [12.0, 10.0, 16.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn vjp<M: Tree, R: Tree>(f: impl Fn(&M) -> R, x: &M) -> (R, impl Fn(&R) -> M + Send + Sync + 'static) {
    let made = Location::caller();
    let _here = enter_at(made);
    let (value, pull) = traced::settled(attempt(&f, x), &f, x);
    (value, later::function(pull, traced::hollow(x), made))
}

fn attempt<M: Tree, R: Tree>(f: &dyn Fn(&M) -> R, x: &M) -> Result<(R, Later), Failure<R>> {
    let mut function = traced::trace("vjp", f, x)?;
    let mut rest = || -> Result<_> {
        let graph = &mut function.graph;
        let known = graph.inputs().to_vec();
        let wrt = &known[..function.distinct];
        let outputs: Vec<Value> = function.results.iter().chain(&function.writes).copied().collect();
        let mut seeds = Vec::new();
        for &v in &function.results {
            let ty = graph.ty(v).clone();
            if ty.dtype.is_float() {
                seeds.push((v, graph.add_input(ty)));
            }
        }
        let origins = [append::origin(graph, here())];
        let found = append::pull("vjp", graph, &seeds, wrt, &origins)?;
        append::record_cuts(&found.cuts);
        let by_input = found.or_zeros(graph, wrt, &origins);
        let gradients: Vec<Value> = function.leaves.iter().map(|leaf| by_input[leaf.input]).collect();
        let cut = partition(graph, &known, &outputs, &gradients, Again::Cheap);
        let paths = function.template.leaves().into_iter().map(|(path, _)| path);
        let like = paths.zip(&function.results).map(|(path, &v)| (path, graph.ty(v).clone())).collect();
        Later::new(&function, cut, Takes { kind: "vjp", what: "cotangent", like })
    };
    match rest() {
        Ok((results, pull)) => Ok((with_leaves(&function.template, results), pull)),
        Err(e) => Err(Failure::Error(e, Some(function.template))),
    }
}
