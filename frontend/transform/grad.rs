//! Gradients of functions of trees.
//!
//! The function is traced, the trace is differentiated as a graph, and what comes out is recorded into the enclosing
//! trace, or run at once where there is none. So gradients nest: in compiled functions, in gradients, and over values
//! that the function captures, which count as constants. A tensor at several places of the tree has one gradient, the
//! sum over the places.

use super::append;
use super::traced::{self, Failure, Function};
use crate::dispatch::{enter, enter_at, here};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::tree::Tree;
use crate::{scope, strict};
use ir::Value;
use runtime::events::{self, Event};
use std::panic::Location;

/// The gradient of a function of a tree, which returns a float scalar: a tree of the same form.
///
/// Gradients of leaves that are not floats are zeros. If the function makes an error, every leaf of the result holds it.
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
    let made = Location::caller();
    move |model| differentiate(&f, model, made).1
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
    move |model| differentiate(&f, model, made)
}

/// `made` is the line that asked for the transform; the line of the call cannot be known, since a closure has no
/// `#[track_caller]`.
fn differentiate<M: Tree>(f: &dyn Fn(&M) -> Tensor, model: &M, made: &'static Location<'static>) -> (Tensor, M) {
    let _here = enter_at(made);
    match attempt(f, model) {
        Ok((value, gradients)) => {
            let mut gradients = gradients.into_iter();
            (value, model.map(&mut |_| gradients.next().expect("one gradient per leaf")))
        }
        Err(e) => {
            let value = Tensor::error(e);
            let gradients = model.map(&mut |_| value.clone());
            (value, gradients)
        }
    }
}

/// Traces a function whose result is to be differentiated; a panic of it is an error.
fn record<M: Tree>(f: &dyn Fn(&M) -> Tensor, model: &M) -> Result<Function<Tensor>> {
    let function = traced::trace("grad", f, model).map_err(|failure| match failure {
        Failure::Panic(payload) => strict::caught(payload, "grad"),
        Failure::Error(e, _) => e,
    })?;
    let ty = function.graph.ty(function.results[0]);
    if !ty.dtype.is_float() || ty.rank() != 0 {
        let e =
            Error::new(Code::Gradient, "grad", format!("the function returned {ty}"), "a float scalar, such as f32[]");
        return Err(e.at(here()).in_scope(&scope::current()));
    }
    Ok(function)
}

/// The value and one gradient per leaf.
fn attempt<M: Tree>(f: &dyn Fn(&M) -> Tensor, model: &M) -> Result<(Tensor, Vec<Tensor>)> {
    let mut function = record(f, model)?;
    let (at, loss, graph) = (here(), function.results[0], &mut function.graph);
    let wrt: Vec<Value> = graph.inputs()[..function.distinct].to_vec();
    let origins = [append::origin(graph, at)];
    let found = append::gradients(graph, loss, &wrt, &origins)?;
    found.record_cuts();
    for leaf in &function.leaves {
        if found.values[leaf.input].is_none() && leaf.tensor.dtype().is_float() {
            events::record(Event::Unreached, format_args!("parameter {} does not reach the loss at {at}", leaf.path));
        }
    }
    let mut outputs = vec![loss];
    for (g, &v) in found.values.into_iter().zip(&wrt) {
        outputs.push(g.unwrap_or_else(|| append::zeros(graph, v, &origins)));
    }
    outputs.extend(&function.writes);
    graph.set_outputs(outputs);
    let mut results = function.run(&function.graph, &function.sources(), &[])?;
    let gradients = results.split_off(1);
    Ok((results.remove(0), function.leaves.iter().map(|leaf| gradients[leaf.input].clone()).collect()))
}

/// What a gradient could not say in its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Paths of the parameters that do not reach the loss.
    pub unreached: Vec<String>,
    /// Ops at which gradients end, with their lines and the reason.
    pub cuts: Vec<String>,
}

/// Which parameters do not reach the loss, and where gradients end at ops without a derivative. Runs nothing but the
/// trace.
#[track_caller]
pub fn report<M: Tree>(f: impl Fn(&M) -> Tensor, model: &M) -> Result<Report> {
    let _here = enter();
    let mut function = record(&f, model)?;
    let wrt: Vec<Value> = function.graph.inputs()[..function.distinct].to_vec();
    let origins = [append::origin(&mut function.graph, here())];
    let found = append::gradients(&mut function.graph, function.results[0], &wrt, &origins)?;
    let missing =
        function.leaves.iter().filter(|leaf| found.values[leaf.input].is_none() && leaf.tensor.dtype().is_float());
    let unreached = missing.map(|leaf| leaf.path.clone()).collect();
    Ok(Report { unreached, cuts: found.cuts })
}
