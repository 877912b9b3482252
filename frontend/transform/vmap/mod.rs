//! Functions of one example as functions of many.
//!
//! The function is traced for one example, and the batching rules of its ops make a graph for all of them at once; see
//! [`passes::batch`]. What depends on no example is computed once.

mod axes;

pub use axes::Axes;

use super::traced::{self, Failure, Function, named, with_leaves};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::tree::Tree;
use crate::{scope, strict, trace};
use ir::ops::GraphEmitter;
use ir::ops::create::Iota;
use ir::origin::OriginId;
use ir::{Dim, Emit, EmitExt, Graph, Origin, Shape, Type, Value};
use runtime::events::{self, Event};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

/// A function of one example as a function of many: every leaf of the argument has the examples along its first axis, and
/// so has every leaf of the result. [`with`] takes other axes, and arguments that are common to all examples.
///
/// The function sees the types of one example. Tensors that it captures are common to all; a function of several tensors
/// takes a tuple. It composes with the other transforms, in any order.
///
/// ```
/// use tracewright::{Tensor, grad, vmap};
/// let loss = |(w, x): &(Tensor, Tensor)| (w * x).sum(..).tanh();
/// let w = Tensor::from([0.5f32, -1.0]);
/// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
/// let per_example = vmap(|x: &Tensor| grad(|w: &Tensor| loss(&(w.clone(), x.clone())))(&w))(&x);
/// assert_eq!(per_example.shape().to_string(), "[3, 2]");
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// Draws from a [`Generator`](crate::Generator) give each example its own numbers. A cell that the function writes must
/// get a value that is the same for all examples.
///
/// If there is an error, every leaf of the result holds it; a panic is one too, or goes on (see [`Code::Panic`]).
#[track_caller]
pub fn vmap<A: Tree, R: Tree>(f: impl Fn(&A) -> R) -> impl Fn(&A) -> R {
    let made = Location::caller();
    move |argument| batched(&f, argument, &Axes::At(0), &Axes::At(0), made)
}

/// As [`vmap`](fn@vmap), with the axis of the examples for each leaf of the argument and of the result. `None` is for what
/// is the same for all examples.
///
/// ```
/// use tracewright::{Tensor, vmap};
/// let (m, x) = (Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]), Tensor::from([[1.0f32, 0.0, 1.0], [0.0, 1.0, 1.0]]));
/// // The columns of `x` are the examples, and those of the result.
/// let products = vmap::with((None, 1), 1, |(m, x): &(Tensor, Tensor)| m.matmul(x))(&(m.clone(), x.clone()));
/// assert_eq!(products.to_vec::<f32>()?, m.matmul(&x).to_vec::<f32>()?);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn with<A: Tree, R: Tree>(
    in_axes: impl Into<Axes>,
    out_axes: impl Into<Axes>,
    f: impl Fn(&A) -> R,
) -> impl Fn(&A) -> R {
    let (made, ins, outs) = (Location::caller(), in_axes.into(), out_axes.into());
    move |argument| batched(&f, argument, &ins, &outs, made)
}

fn batched<A: Tree, R: Tree>(
    f: &dyn Fn(&A) -> R,
    argument: &A,
    ins: &Axes,
    outs: &Axes,
    made: &'static Location<'static>,
) -> R {
    let _here = enter_at(made);
    attempt(f, argument, ins, outs).unwrap_or_else(|failure| failure.result(f, argument))
}

/// Where the examples are in each leaf of an argument.
struct Examples {
    axes: Vec<Option<usize>>,
    /// How many there are.
    size: Dim,
}

fn attempt<A: Tree, R: Tree>(f: &dyn Fn(&A) -> R, argument: &A, ins: &Axes, outs: &Axes) -> Result<R, Failure<R>> {
    let located = |e: Error| e.at(here()).in_scope(&scope::current());
    let leaves = argument.leaves();
    if let Some((_, t)) = leaves.iter().find(|(_, t)| t.error_ref().is_some()) {
        return Err(Failure::Error(t.try_type().expect_err("it holds one"), None));
    }
    let examples = ins.of_leaves("the argument", argument).and_then(|choice| examples(&leaves, &choice));
    let examples = examples.map_err(|e| Failure::Error(located(e), None))?;
    // The extra axis is a part of what two leaves must share to be one input.
    let mut seen = |number: usize, t: &Tensor| {
        let mut ty = t.ty();
        let axis = examples.axes[number];
        if let Some(axis) = axis {
            ty.shape.remove(axis);
        }
        Ok((ty, axis.map_or(0, |a| a + 1)))
    };
    let mut function = traced::trace_as(trace::VMAP, f, argument, &mut seen)?;
    match results(&mut function, &examples, outs) {
        Ok(results) => Ok(with_leaves(&function.template, results)),
        Err(e) => Err(Failure::Error(e, Some(function.template))),
    }
}

/// The axis of the examples in each leaf, and how many there are.
fn examples(leaves: &[(String, Tensor)], choice: &[Option<isize>]) -> Result<Examples> {
    let refuse = |code, rule: String, legal: &str| Err(Error::new(code, "vmap", rule, legal));
    let mut axes = Vec::new();
    let mut sizes: Vec<(String, Dim)> = Vec::new();
    for ((path, t), &choice) in leaves.iter().zip(choice) {
        let ty = t.ty();
        let leaf = named(path, &ty);
        let axis = match choice.map(|axis| (axis, in_range(axis, ty.rank()))) {
            None => None,
            Some((_, Some(axis))) => Some(axis),
            Some((_, None)) if ty.rank() == 0 => {
                let rule = format!("{leaf} has no axis that the examples could have");
                return refuse(Code::Axis, rule, "None for what is the same for all examples, with vmap::with");
            }
            Some((axis, None)) => {
                let (rank, rule) = (ty.rank(), format!("axis {axis} of {leaf} does not exist"));
                return refuse(Code::Axis, rule, &format!("axes from -{rank} to {}", rank - 1));
            }
        };
        if let Some(axis) = axis {
            let size = ty.shape[axis].clone();
            sizes.push((format!("{size} along axis {axis} of {leaf}"), size));
        }
        axes.push(axis);
    }
    let Some((first, size)) = sizes.first() else {
        return refuse(Code::Argument, "nothing has an axis of the examples".into(), "at least one leaf with an axis");
    };
    if let Some((other, _)) = sizes.iter().find(|(_, other)| other != size) {
        let rule = format!("the number of examples is {first}, but {other}");
        return refuse(Code::Shape, rule, "the same number of examples in all leaves");
    }
    Ok(Examples { axes, size: size.clone() })
}

fn in_range(axis: isize, rank: usize) -> Option<usize> {
    let from_front = if axis < 0 { axis.checked_add_unsigned(rank)? } else { axis };
    usize::try_from(from_front).ok().filter(|&a| a < rank)
}

/// The results of a traced function for all examples.
fn results<R: Tree>(function: &mut Function<R>, examples: &Examples, outs: &Axes) -> Result<Vec<Tensor>> {
    let located = |e: Error| e.at(here()).in_scope(&scope::current());
    let choice = outs.of_leaves("the result", &function.template).map_err(located)?;
    let mut outputs = function.results.clone();
    outputs.extend(&function.writes);
    function.graph.set_outputs(outputs);

    let mut axes: Vec<Option<usize>> = vec![None; function.graph.inputs().len()];
    for (leaf, &axis) in function.leaves.iter().zip(&examples.axes) {
        axes[leaf.input] = axis;
    }
    let number = function.graph.inputs().iter().position(|v| Some(*v) == function.example);
    if let Some(number) = number {
        axes[number] = Some(0);
    }
    let batched = catch_unwind(AssertUnwindSafe(|| passes::batch::batch(&function.graph, &axes, &examples.size)))
        .map_err(|payload| strict::bug(payload, "vmap"))?
        .map_err(|e| located(Error::new(Code::Trace, "vmap", e.to_string(), "")))?;
    record_apart(&batched, &examples.size);

    let (of_results, of_writes) = batched.outputs.split_at(choice.len());
    if let Some(i) = of_writes.iter().position(Option::is_some) {
        let rule = "a cell is written with a value that differs from example to example";
        let legal = "a value that is the same for all examples; return the others from the function";
        let e = Error::new(Code::Trace, "vmap", rule, legal).at(function.written_at[i]).in_scope(&scope::current());
        return Err(e.note(format!("under vmap at {}", here())));
    }
    let mut graph = batched.graph;
    let origin = {
        let scope = scope::current().to_string().into();
        graph.origins.intern(Origin { location: here().into(), scope, gradient: false })
    };
    let paths = function.template.leaves();
    let mut outputs = graph.outputs().to_vec();
    for (i, (&wanted, &axis)) in choice.iter().zip(of_results).enumerate() {
        let rank = graph.ty(outputs[i]).rank() + axis.is_none() as usize;
        let path = || named(&paths[i].0, function.graph.ty(function.results[i]));
        outputs[i] = match (wanted, axis) {
            (None, None) => outputs[i],
            (None, Some(_)) => {
                let rule = format!("{} of the result differs from example to example", path());
                return Err(located(Error::new(Code::Argument, "vmap", rule, "an axis for it, not None")));
            }
            (Some(wanted), axis) => {
                let Some(to) = in_range(wanted, rank) else {
                    let rule = format!("{} of the result has no axis {wanted} for the examples", path());
                    let legal = format!("axes from -{rank} to {}", rank - 1);
                    return Err(located(Error::new(Code::Axis, "vmap", rule, legal)));
                };
                moved(&mut graph, origin, outputs[i], axis, to, &examples.size)
            }
        };
    }
    graph.set_outputs(outputs);
    if let Some(number) = number {
        graph = numbered(&graph, number, &examples.size, origin);
    }
    function.run(&graph, &function.sources(), &[])
}

/// The value with its extra axis, now at `axis`, moved to `to`; one without is repeated along a new axis.
fn moved(graph: &mut Graph, origin: OriginId, v: Value, axis: Option<usize>, to: usize, size: &Dim) -> Value {
    let shape = graph.ty(v).shape.clone();
    let region = graph.root();
    let mut b = GraphEmitter { graph, region, origins: [origin].into_iter().collect() };
    let others = |n: usize, but: usize| (0..n).filter(move |&a| a != but);
    match axis {
        None => {
            let mut all = shape.clone();
            all.insert(to, size.clone());
            b.broadcast_in_dim(v, &all, &others(shape.rank() + 1, to).collect::<Vec<_>>())
        }
        Some(axis) => {
            let mut permutation: Vec<usize> = others(shape.rank(), axis).collect();
            permutation.insert(to, axis);
            b.transpose(v, &permutation)
        }
    }
}

/// The graph with an input less, which becomes the number of each example.
fn numbered(graph: &Graph, input: usize, size: &Dim, origin: OriginId) -> Graph {
    let mut out = Graph::new(&graph.name);
    let origin = out.origins.intern(graph.origins.get(origin).clone());
    let (root, mut arguments) = (out.root(), Vec::new());
    for (i, &v) in graph.inputs().iter().enumerate() {
        let ty: Type = graph.ty(v).clone();
        arguments.push(if i == input {
            let iota = Iota { dtype: ty.dtype, shape: Shape::from([size.clone()]), axis: 0 };
            let origins = [origin].into_iter().collect();
            GraphEmitter { graph: &mut out, region: root, origins }.emit(iota.into(), &[])
        } else {
            out.add_input(ty)
        });
    }
    let outputs = out.inline(root, graph, &arguments);
    out.set_outputs(outputs);
    out
}

/// Counts what runs for one example after the other.
pub(super) fn record_apart(batched: &passes::batch::Batched, size: &Dim) {
    for (op, origins) in &batched.apart {
        let at = origins.first().map(|origin| format!(" at {origin}")).unwrap_or_default();
        let why = "as an op in it has effects or may fail, and not all examples may ask for it";
        events::record(Event::BatchedByLoop, format_args!("{op}{at} runs for each of {size} examples, {why}"));
    }
}
