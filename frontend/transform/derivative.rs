//! Functions whose derivatives the user gives.

use super::traced::{self, Failure, Function, errors, hollow, named, with_leaves};
use crate::control::region::{Builder, Inside, Outside};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::ops::captured;
use crate::scope;
use crate::tensor::Tensor;
use crate::tree::Tree;
use ir::Type;
use ir::ops::control::{CustomJvp, CustomVjp};
use std::panic::Location;

const VJP: &str = "custom_vjp";
const JVP: &str = "custom_jvp";

/// A function with a gradient of its own, for reverse mode.
///
/// `forward` returns what `f` returns, and something that the gradient needs; `backward` gets that and the gradient by the
/// result, and returns the gradient by the argument. Where no gradient is asked for, `f` runs alone. Leaves that are not
/// floats have no gradients: `backward` gets the result's own, and what it returns for the argument's does not count.
/// There is no gradient by tensors that the functions capture: to ask for one is an error, so what it is wanted by has to be
/// part of the argument. There is no forward mode; `backward` itself may be differentiated.
///
/// If there is an error, every leaf of the result holds it; a panic is one too, or goes on (see [`Code::Panic`]).
///
/// ```
/// use tracewright::{custom_vjp, grad, Tensor};
/// // The identity, whose gradient is clipped.
/// let clipped = custom_vjp(
///     |x: &Tensor| x.clone(),
///     |x: &Tensor| (x.clone(), ()),
///     |_: &(), g: &Tensor| g.clamp(-1.0, 1.0),
/// );
/// let slope = grad(move |x: &Tensor| (clipped(x) * 5.0).sum(..))(&Tensor::from([1.0f32]));
/// assert_eq!(slope.to_vec::<f32>()?, [1.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn custom_vjp<A: Tree, R: Tree, S: Tree>(
    f: impl Fn(&A) -> R,
    forward: impl Fn(&A) -> (R, S),
    backward: impl Fn(&S, &R) -> A,
) -> impl Fn(&A) -> R {
    let made = Location::caller();
    move |model| {
        let _here = enter_at(made);
        let pull = |pair: &(S, R)| backward(&pair.0, &pair.1);
        with_derivative(VJP, &f, model, |primal| by_gradient(primal, &forward, &pull, model))
    }
}

/// A function with a forward derivative of its own; its gradient is the transpose of that.
///
/// `derivative` gets the argument and its tangent, and returns the result and its tangent, which must be linear in the
/// tangent that it gets. Leaves that are not floats have no tangents: in their place it gets the values, and what it returns
/// for them does not count. There is no derivative by tensors that the functions capture: to ask for one is an error. Errors
/// are those of [`custom_vjp`].
///
/// ```
/// use tracewright::{custom_jvp, grad, jvp, Tensor};
/// // log(1 + exp(x)), differentiated without overflow.
/// let softplus = custom_jvp(
///     |x: &Tensor| (x.exp() + 1.0).log(),
///     |x: &Tensor, dx: &Tensor| ((x.exp() + 1.0).log(), x.sigmoid() * dx),
/// );
/// let x = Tensor::from(100.0f32);
/// assert_eq!(grad(&softplus)(&x).item::<f32>()?, 1.0);
/// assert_eq!(jvp(&softplus, &x, &Tensor::from(2.0f32)).1.item::<f32>()?, 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn custom_jvp<A: Tree, R: Tree>(f: impl Fn(&A) -> R, derivative: impl Fn(&A, &A) -> (R, R)) -> impl Fn(&A) -> R {
    let made = Location::caller();
    move |model| {
        let _here = enter_at(made);
        let push = |pair: &(A, A)| derivative(&pair.0, &pair.1);
        with_derivative(JVP, &f, model, |primal| by_tangent(primal, &push, model))
    }
}

/// Of an argument and its tangent.
type Derivative<'a, A, R> = dyn Fn(&(A, A)) -> (R, R) + 'a;

type Attempt<T> = std::result::Result<T, Failure<()>>;

/// The result of a function that is recorded with its derivative.
fn with_derivative<A: Tree, R: Tree>(
    kind: &'static str,
    f: &dyn Fn(&A) -> R,
    model: &A,
    record: impl FnOnce(Function<R>) -> Attempt<Vec<Tensor>>,
) -> R {
    let primal = match traced::trace(kind, f, model) {
        Ok(function) => function,
        Err(failure) => return failure.result(f, model),
    };
    let template = hollow(&primal.template);
    match record(primal) {
        Ok(results) => with_leaves(&template, results),
        Err(failure) => errors(&template, &failure.error()),
    }
}

fn located(code: Code, op: &'static str, rule: String, legal: impl Into<String>) -> Failure<()> {
    Failure::Error(Error::new(code, op, rule, legal).at(here()).in_scope(&scope::current()), None)
}

/// Types of what a function returns, with the paths of the leaves.
fn result_types<R: Tree>(f: &Function<R>) -> Vec<(String, Type)> {
    let paths = f.template.leaves().into_iter().map(|(path, _)| path);
    paths.zip(f.results.iter().map(|&v| f.graph.ty(v).clone())).collect()
}

/// An error unless a function returns these types.
fn same_types(op: &'static str, what: &str, found: &[(String, Type)], wanted: &[(String, Type)]) -> Attempt<()> {
    if found.len() != wanted.len() {
        let rule = format!("{what} returns {} leaves", found.len());
        return Err(located(Code::Argument, op, rule, format!("{}, as the function", wanted.len())));
    }
    match found.iter().zip(wanted).find(|(f, w)| f.1 != w.1) {
        Some((f, w)) => {
            let rule = format!("{what} returns {}", named(&w.0, &f.1));
            let code = if f.1.dtype == w.1.dtype { Code::Shape } else { Code::DType };
            Err(located(code, op, rule, format!("{}", w.1)))
        }
        None => Ok(()),
    }
}

/// A function that is part of one with a derivative writes no cells.
fn no_writes<R>(op: &'static str, f: &Function<R>) -> Attempt<()> {
    match f.written_at.first() {
        None => Ok(()),
        Some(line) => {
            let rule = format!("a cell is written at {line}");
            Err(located(Code::Trace, op, rule, "a function with a derivative of its own only reads cells"))
        }
    }
}

fn leaf_types<A: Tree>(model: &A) -> Vec<(String, Type)> {
    model.leaves().into_iter().map(|(path, t)| (path, t.ty())).collect()
}

/// There is no derivative by captured tensors: those that may be asked for it are marked.
fn marked(outside: &[Tensor]) -> Vec<Tensor> {
    let may_be_asked = |t: &Tensor| t.dtype().is_float() && (t.is_traced() || t.is_tracked());
    outside.iter().map(|t| if may_be_asked(t) { captured(t) } else { t.clone() }).collect()
}

fn by_gradient<A: Tree, R: Tree, S: Tree>(
    primal: Function<R>,
    forward: &dyn Fn(&A) -> (R, S),
    backward: &dyn Fn(&(S, R)) -> A,
    model: &A,
) -> Attempt<Vec<Tensor>> {
    let forward = traced::trace(VJP, forward, model).map_err(|f| f.map(|_| ()))?;
    no_writes(VJP, &primal)?;
    no_writes(VJP, &forward)?;
    let n = primal.results.len();
    let (results, both) = (result_types(&primal), result_types(&forward));
    same_types(VJP, "the forward part", &both[..n.min(both.len())], &results)?;
    // Leaves that hold nothing stand for one tensor: the number keeps them apart.
    let (kept, template) = (hollow(&forward.template.1), hollow(&forward.template.0));
    let given: Vec<Type> = both[n..].iter().chain(&results).map(|(_, ty)| ty.clone()).collect();
    let pair = (kept, template);
    let backward =
        traced::trace_as(VJP, backward, &pair, &mut |i, _| Ok((given[i].clone(), i))).map_err(|f| f.map(|_| ()))?;
    no_writes(VJP, &backward)?;
    let wanted = leaf_types(model);
    same_types(VJP, "the backward part", &result_types(&backward), &wanted)?;

    let (sources, distinct) = (primal.sources(), primal.distinct);
    let inputs: Vec<usize> = primal.leaves.iter().map(|leaf| leaf.input).collect();
    let own = primal.leaf_types();
    let mut outside = Outside::default();
    let (first, _) = outside.take(primal);
    let (second, _) = outside.take(forward);
    let (third, _) = outside.take(backward);
    let all = outside.parts()[0].len();
    let types: Vec<Type> = own.iter().cloned().chain(outside.all_types()).collect();
    let leaves: Vec<usize> = (0..distinct).collect();
    let mut builder = Builder::new(VJP);
    let inside = builder.region(&types, &first, &leaves, &|i| distinct + i);
    let yields = inside.results.clone();
    builder.yields(&inside, yields);
    // Behind the results: what is kept, results that are not floats, and what the gradient captures.
    let inside = builder.region(&types, &second, &leaves, &|i| distinct + i);
    let integers: Vec<usize> = (0..n).filter(|&i| !results[i].1.dtype.is_float()).collect();
    let mut yields = inside.results.clone();
    yields.extend(integers.iter().map(|&i| inside.results[i]));
    let captured: Vec<usize> = (0..all).collect();
    yields.extend(captured.iter().map(|&i| inside.parameters[distinct + i]));
    builder.yields(&inside, yields);
    let kept = both.len() - n;
    let floats: Vec<usize> = (0..n).filter(|&i| results[i].1.dtype.is_float()).collect();
    let mut given: Vec<Type> = both[n..].iter().map(|(_, ty)| ty.clone()).collect();
    given.extend(integers.iter().map(|&i| results[i].1.clone()));
    given.extend(types[distinct..].iter().cloned());
    given.extend(floats.iter().map(|&i| results[i].1.clone()));
    let place_of = |i: usize| match integers.iter().position(|&at| at == i) {
        Some(at) => kept + at,
        None => kept + integers.len() + all + floats.iter().position(|&at| at == i).expect("a float"),
    };
    let leaves: Vec<usize> = (0..kept).chain((0..n).map(place_of)).collect();
    let inside = builder.region(&given, &third, &leaves, &|i| kept + integers.len() + i);
    let gradients = Gradients { own: &own, inputs: &inputs, more: &types[distinct..] };
    gradients.yields(&mut builder, &inside);
    run(builder, CustomVjp {}.into(), &outside, &sources, n)
}

/// Gradients by the operands of an op, of those by the leaves of a tree.
struct Gradients<'a> {
    /// Types of the operands that are leaves.
    own: &'a [Type],
    /// The operand that each leaf is.
    inputs: &'a [usize],
    /// Types of the others.
    more: &'a [Type],
}

impl Gradients<'_> {
    /// By each float operand: the sum over the leaves that it is, zeros by what was captured.
    fn yields(&self, builder: &mut Builder, inside: &Inside) {
        let mut values = Vec::new();
        for (i, _) in self.own.iter().enumerate().filter(|(_, ty)| ty.dtype.is_float()) {
            let of = (0..self.inputs.len()).filter(|&leaf| self.inputs[leaf] == i).map(|leaf| inside.results[leaf]);
            values.push(builder.sum(inside, of.collect()));
        }
        for ty in self.more.iter().filter(|ty| ty.dtype.is_float()) {
            values.push(builder.zeros(inside, ty));
        }
        builder.yields(inside, values);
    }
}

fn by_tangent<A: Tree, R: Tree>(
    primal: Function<R>,
    derivative: &Derivative<'_, A, R>,
    model: &A,
) -> Attempt<Vec<Tensor>> {
    no_writes(JVP, &primal)?;
    let copy = |t: &Tensor| t.clone();
    let pair = (model.map(&mut { copy }), model.map(&mut { copy }));
    let half = primal.leaves.len();
    let mut seen = |i: usize, t: &Tensor| -> Result<(Type, usize)> {
        Ok((t.ty(), usize::from(i >= half && t.dtype().is_float())))
    };
    let both = traced::trace_as(JVP, derivative, &pair, &mut seen).map_err(|f| f.map(|_| ()))?;
    no_writes(JVP, &both)?;
    let n = primal.results.len();
    let results = result_types(&primal);
    let twice: Vec<(String, Type)> = results.iter().chain(&results).cloned().collect();
    same_types(JVP, "the derivative", &result_types(&both), &twice)?;
    let (sources, distinct) = (primal.sources(), primal.distinct);
    let own = primal.leaf_types();
    let more = both.distinct;
    let mut outside = Outside::default();
    let (first, _) = outside.take(primal);
    let (second, _) = outside.take(both);
    let types: Vec<Type> = own.iter().cloned().chain(outside.all_types()).collect();
    let mut builder = Builder::new(JVP);
    let leaves: Vec<usize> = (0..distinct).collect();
    let inside = builder.region(&types, &first, &leaves, &|i| distinct + i);
    let yields = inside.results.clone();
    builder.yields(&inside, yields);
    // The tangents, in the order in which the leaves were seen, stand behind everything.
    let floats = types.iter().filter(|ty| ty.dtype.is_float());
    let given: Vec<Type> = types.iter().chain(floats).cloned().collect();
    let leaves: Vec<usize> = (0..distinct).chain((0..more - distinct).map(|i| types.len() + i)).collect();
    let inside = builder.region(&given, &second, &leaves, &|i| distinct + i);
    let tangents = (0..n).filter(|&i| results[i].1.dtype.is_float()).map(|i| inside.results[n + i]);
    let yields = inside.results[..n].iter().copied().chain(tangents).collect();
    builder.yields(&inside, yields);
    run(builder, CustomJvp {}.into(), &outside, &sources, n)
}

fn run(builder: Builder, op: ir::Primitive, outside: &Outside, sources: &[Tensor], n: usize) -> Attempt<Vec<Tensor>> {
    let place = |outside: &[Tensor]| sources.iter().cloned().chain(marked(outside)).collect();
    builder.run(op, outside, &place, n).map_err(|e| Failure::Error(e, None))
}
