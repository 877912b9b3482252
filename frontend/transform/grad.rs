//! Gradients of functions of trees.
//!
//! The function is traced, the trace is differentiated as a graph, and what comes out is recorded into the enclosing
//! trace, or run at once where there is none. So gradients nest: in compiled functions, in gradients, and over values
//! that the function captures, which count as constants. A tensor at several places of the tree has one gradient, the
//! sum over the places.

use super::append;
use crate::dispatch::{enter, enter_at, here, leave};
use crate::error::{Code, Error, Result};
use crate::tensor::{Held, Tensor};
use crate::tree::{Tree, leaves};
use crate::{cell, execute, scope, strict, trace};
use ir::{Graph, Value};
use runtime::Array;
use runtime::events::{self, Event};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

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

/// The value and one gradient per leaf.
fn attempt<M: Tree>(f: &dyn Fn(&M) -> Tensor, model: &M) -> Result<(Tensor, Vec<Tensor>)> {
    let all = model.leaves();
    for (path, t) in &all {
        match t.held() {
            Held::Error(e) => return Err(e),
            Held::Traced(v) if !trace::is_open(v.trace.id) => {
                return Err(trace::ended("grad", v).with_operands([named(path, &v.ty)]).at(here()));
            }
            _ => {}
        }
    }
    let at = here();
    let guard = trace::open("grad", "grad");
    // Leaves that are one tensor are one input.
    let mut sources: Vec<&Tensor> = Vec::new();
    let mut inputs: Vec<Tensor> = Vec::new();
    let mut input_of: Vec<usize> = Vec::new();
    let mut known = HashMap::new();
    for (_, t) in &all {
        let input = *known.entry(t.identity()).or_insert(sources.len());
        input_of.push(input);
        if input == sources.len() {
            sources.push(t);
            inputs.push(trace::input(t.ty(), at));
        }
    }
    let mut numbers = input_of.iter();
    let traced = model.map(&mut |_| inputs[*numbers.next().expect("one number per leaf")].clone());
    let outcome = {
        let _line = leave();
        catch_unwind(AssertUnwindSafe(|| f(&traced)))
    };
    let loss = outcome.map_err(|payload| strict::caught(payload, "grad"))?.ok()?;
    let ty = loss.ty();
    if !ty.dtype.is_float() || ty.rank() != 0 {
        let e =
            Error::new(Code::Gradient, "grad", format!("the function returned {ty}"), "a float scalar, such as f32[]");
        return Err(e.at(at).in_scope(&scope::current()));
    }
    let loss = trace::lift(&loss)?;
    let mut writes: Vec<Option<Value>> = Vec::new();
    for written in trace::cell_writes() {
        writes.push(written.map(|t| trace::lift(&t)).transpose()?);
    }
    let done = guard.finish();
    let mut graph = done.graph;
    let wrt: Vec<Value> = graph.inputs()[..inputs.len()].to_vec();
    let origins = [append::origin(&mut graph, at)];
    let found = append::gradients(&mut graph, loss, &wrt, &origins)?;
    found.record_cuts();
    let reached: Vec<bool> = found.values.iter().map(|g| g.is_some()).collect();
    let found = found.values.into_iter().zip(&wrt);
    let gradients: Vec<Value> =
        found.map(|(g, &v)| g.unwrap_or_else(|| append::zeros(&mut graph, v, &origins))).collect();
    for (i, (path, t)) in all.iter().enumerate() {
        if !reached[input_of[i]] && t.dtype().is_float() {
            events::record(Event::Unreached, format_args!("parameter {path} does not reach the loss at {at}"));
        }
    }
    let mut outputs = vec![loss];
    outputs.extend(writes.iter().flatten());
    outputs.extend(&gradients);
    graph.set_outputs(outputs);

    // What stands behind each input outside of the trace.
    let mut outside: HashMap<Value, Tensor> = wrt.iter().copied().zip(sources.into_iter().cloned()).collect();
    outside.extend(done.captures.iter().map(|(t, v)| (*v, t.clone())));
    // Outside of traces a cell is read when the gradient runs, as in a compiled call: another thread may have written it.
    let inside = trace::active();
    let _exclusive = (!inside && writes.iter().any(Option::is_some)).then(cell::exclusive);
    outside.extend(done.cells.iter().map(|c| (c.input, if inside { c.source.clone() } else { c.cell.stored() })));
    let arguments: Vec<Tensor> = graph.inputs().iter().map(|v| outside[v].clone()).collect();
    let mut results = if inside { trace::inline(&graph, &arguments)? } else { run(&graph, &arguments)? };
    let mut after = results.split_off(1);
    let gradients = after.split_off(after.len() - wrt.len());
    let written = done.cells.iter().zip(&writes).filter(|(_, w)| w.is_some());
    for ((c, _), value) in written.zip(after) {
        if inside {
            trace::write_cell(&c.cell, value);
        } else {
            c.cell.store(value);
        }
    }
    let gradients = input_of.iter().map(|&i| gradients[i].clone()).collect();
    Ok((results.remove(0), gradients))
}

/// The type of a leaf, with its path where the tree is more than the leaf.
fn named(path: &str, ty: &ir::Type) -> String {
    if path.is_empty() { ty.to_string() } else { format!("{path}: {ty}") }
}

fn run(graph: &Graph, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
    let array = |t: &Tensor| match t.held() {
        Held::Array(a) => Ok(a.clone()),
        Held::Traced(v) => Err(trace::ended("grad", v).at(here())),
        Held::Error(e) => Err(e),
    };
    let arrays: Vec<Array> = arguments.iter().map(array).collect::<Result<_>>()?;
    Ok(execute::run(graph, &arrays)?.into_iter().map(Tensor::array).collect())
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
    let at = here();
    let guard = trace::open("grad", "grad");
    let mut inputs: Vec<Value> = Vec::new();
    let mut failed = None;
    let traced = model.map(&mut |t| match t.try_type() {
        Ok(ty) => {
            let input = trace::input(ty, at);
            inputs.extend(trace::lift(&input));
            input
        }
        Err(e) => {
            failed = Some(e);
            t.clone()
        }
    });
    if let Some(e) = failed {
        return Err(e);
    }
    let outcome = {
        let _line = leave();
        catch_unwind(AssertUnwindSafe(|| f(&traced)))
    };
    let loss = outcome.map_err(|payload| strict::caught(payload, "grad"))?.ok()?;
    let loss = trace::lift(&loss)?;
    let mut graph = guard.finish().graph;
    let origins = [append::origin(&mut graph, at)];
    let found = append::gradients(&mut graph, loss, &inputs, &origins)?;
    let paths = leaves(&|v| model.visit(v), "");
    let missing = paths.iter().zip(&found.values).filter(|((_, t), g)| g.is_none() && t.dtype().is_float());
    let unreached = missing.map(|((path, _), _)| path.clone()).collect();
    Ok(Report { unreached, cuts: found.cuts })
}
