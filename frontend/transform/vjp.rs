//! Reverse mode for functions of trees to trees.

use super::append;
use super::traced::{self, Failure, apply, named, with_leaves};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::scope;
use crate::tensor::Tensor;
use crate::tree::Tree;
use ir::{Graph, Type, Value};
use passes::autodiff::{Again, Residual, partition};
use std::panic::Location;

/// The value of a function, and its pullback: the function that takes a cotangent of the value, a tree like it, to the
/// gradient by the argument, a tree like that.
///
/// The function runs once, here; the pullback may be called many times, and only keeps what it needs. Both record into the
/// trace that they are called in, if there is one. Gradients of leaves that are not floats are zeros, and so are not
/// looked at in a cotangent. A tensor at several places of the argument has one gradient, the sum over the places. If
/// there is an error, every leaf of the result holds it.
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
    let (value, pull) = match attempt(&f, x) {
        Ok((value, pull)) => (value, Ok(pull)),
        Err(failure) => {
            let (value, e) = failure.parts(&f, x);
            (value, Err(e))
        }
    };
    let shape = traced::hollow(x);
    let pullback = move |cotangent: &R| {
        let _here = enter_at(made);
        match pull.as_ref().map_err(Clone::clone).and_then(|pull| pull.call(cotangent)) {
            Ok(leaves) => with_leaves(&shape, leaves),
            Err(e) => traced::errors(&shape, &e),
        }
    };
    (value, pullback)
}

/// The second part of a function and its gradient.
struct Pull {
    backward: Graph,
    residuals: Vec<Tensor>,
    /// Path and type of each leaf of the value.
    results: Vec<(String, Type)>,
    /// Which gradient is that of each leaf of the argument.
    leaves: Vec<usize>,
}

fn attempt<M: Tree, R: Tree>(f: &dyn Fn(&M) -> R, x: &M) -> Result<(R, Pull), Failure<R>> {
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
        let gradients = found.or_zeros(graph, wrt, &origins);
        let cut = partition(graph, &known, &outputs, &gradients, Again::Cheap);
        let paths = function.template.leaves().into_iter().map(|(path, _)| path);
        let results = paths.zip(&function.results).map(|(path, &v)| (path, graph.ty(v).clone())).collect();
        let (arguments, mut all) = function.run_at(&cut.forward, function.results.len(), &function.sources(), &[])?;
        let residual = |r: &Residual| match *r {
            Residual::Input(i) => arguments[i].clone(),
            Residual::Output(i) => all[i].clone(),
        };
        let residuals = cut.residuals.iter().map(residual).collect();
        all.truncate(function.results.len());
        let leaves = function.leaves.iter().map(|leaf| leaf.input).collect();
        Ok((all, Pull { backward: cut.backward, residuals, results, leaves }))
    };
    match rest() {
        Ok((results, pull)) => Ok((with_leaves(&function.template, results), pull)),
        Err(e) => Err(Failure::Error(e, Some(function.template))),
    }
}

impl Pull {
    /// The gradient by each leaf of the argument.
    fn call<R: Tree>(&self, cotangent: &R) -> Result<Vec<Tensor>> {
        let given = floats("vjp", "cotangent", cotangent, &self.results)?;
        let arguments: Vec<Tensor> = self.residuals.iter().cloned().chain(given).collect();
        let gradients = apply(&self.backward, &arguments)?;
        Ok(self.leaves.iter().map(|&i| gradients[i].clone()).collect())
    }
}

/// The leaves of a tree where those that it is like are floats; each must have the type of the one that it is like.
pub(super) fn floats<T: Tree>(
    kind: &'static str,
    what: &str,
    tree: &T,
    like: &[(String, Type)],
) -> Result<Vec<Tensor>> {
    let refuse = |rule: String, legal: String| {
        Err(Error::new(Code::Gradient, kind, rule, legal).at(here()).in_scope(&scope::current()))
    };
    let leaves = tree.leaves();
    if leaves.len() != like.len() {
        let rule = format!("the {what} has {} leaves", leaves.len());
        return refuse(rule, format!("one for each of the {} leaves that it belongs to", like.len()));
    }
    let mut found = Vec::new();
    for ((_, t), (path, ty)) in leaves.into_iter().zip(like).filter(|(_, (_, ty))| ty.dtype.is_float()) {
        if let Some(e) = t.error_ref() {
            return Err(e.clone());
        }
        if t.ty() != *ty {
            return refuse(format!("the {what} has type {}", named(path, &t.ty())), named(path, ty));
        }
        found.push(t);
    }
    Ok(found)
}
