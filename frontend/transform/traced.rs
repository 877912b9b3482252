//! A function of a tree as a graph: what every transform of functions begins and ends with.
//!
//! A transform traces the user's function with [`trace`], makes another graph of the one it gets, and runs that with
//! [`Function::run`]: recorded into the enclosing trace, or at once where there is none. So transforms nest, in
//! compiled functions and in each other, and over values that the function captures.

use crate::cell::{self, CellId};
use crate::device;
use crate::dispatch::{here, leave};
use crate::error::{Error, Result};
use crate::tensor::{Held, Repr, Tensor};
use crate::tree::Tree;
use crate::{execute, strict, tape, trace};
use ir::{Graph, Literal, Type, Value};
use runtime::{Array, Device};
use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock};

/// A leaf of the argument.
pub(crate) struct Leaf {
    /// Its path in the tree; empty if the tree is a tensor.
    pub path: String,
    /// The tensor.
    pub tensor: Tensor,
    /// The input that stands for it. Leaves that are one tensor are one input.
    pub input: usize,
}

/// What stands behind an input that is no leaf.
#[derive(Clone)]
pub(crate) enum Behind {
    /// A tensor that the function captures.
    Capture(Tensor),
    /// A cell, with its value in the enclosing trace.
    Cell(Arc<dyn CellId>, Tensor),
}

impl Behind {
    pub fn ty(&self) -> Type {
        match self {
            Behind::Capture(t) | Behind::Cell(_, t) => t.ty(),
        }
    }

    /// Values, for a graph that runs on those tensors. Outside of traces a cell is read when the graph runs, as in a compiled
    /// call: another thread may have written it, wherever it ran.
    pub fn values(all: &[Behind], beside: &[Tensor]) -> Vec<Tensor> {
        let captures = all.iter().filter_map(|b| match b {
            Behind::Capture(t) => Some(t),
            Behind::Cell(..) => None,
        });
        let place = device::of_tensors(beside.iter().chain(captures));
        let value = |b: &Behind| match b {
            Behind::Capture(t) => t.clone(),
            Behind::Cell(_, source) if trace::active() => source.clone(),
            Behind::Cell(cell, _) => match place {
                Some(place) => cell.stored().to_device(place),
                None => cell.stored(),
            },
        };
        all.iter().map(value).collect()
    }
}

/// Writes a cell in the enclosing trace, or where there is none at once; `line` is the one that did so.
pub(crate) fn write(cell: &Arc<dyn CellId>, value: &Tensor, line: &'static Location<'static>) {
    match trace::active() {
        true => trace::write_cell_at(cell, value.clone(), line),
        false => cell.store(value.detach()),
    }
}

/// A traced function.
pub(crate) struct Function<R> {
    /// The graph. Its inputs are the distinct leaves, then captures and cells; its outputs are left to the transform.
    pub graph: Graph,
    /// The leaves of the argument.
    pub leaves: Vec<Leaf>,
    /// As many inputs are leaves.
    pub distinct: usize,
    /// The result, for all but its leaves.
    pub template: R,
    /// The value of each leaf of the result.
    pub results: Vec<Value>,
    /// What each written cell becomes.
    pub writes: Vec<Value>,
    /// The line that last wrote each of them.
    pub written_at: Vec<&'static Location<'static>>,
    /// Under vmap, if it was asked for: the input that stands for the number of the example. Nothing stands behind it.
    pub example: Option<Value>,
    /// The written cells.
    pub written: Vec<Arc<dyn CellId>>,
    /// What stands behind each of the inputs that are no leaves.
    pub behind: Vec<Behind>,
}

/// Why there is no graph.
pub(crate) enum Failure<R> {
    /// The function that this transform was given panicked.
    Panic(&'static str, Box<dyn Any + Send>),
    /// An error of an argument, or one that the function made. In that case there is its result, for all but its leaves.
    Error(Error, Option<R>),
}

impl<R> Failure<R> {
    /// The error alone, for who knows the result's leaves.
    pub fn error(self) -> Error {
        match self {
            Failure::Panic(kind, payload) => strict::caught(payload, kind),
            Failure::Error(e, _) => e,
        }
    }
}

impl<R: Tree> Failure<R> {
    /// The error on every leaf of the result. A panic goes on where nobody knows what leaves there are.
    pub fn result<M: Tree>(self, f: &dyn Fn(&M) -> R, model: &M) -> R {
        self.parts(f, model).0
    }

    /// The same, and the error.
    pub fn parts<M: Tree>(self, f: &dyn Fn(&M) -> R, model: &M) -> (R, Error) {
        match self {
            Failure::Panic(kind, payload) => match is_of_type::<R>() {
                true => {
                    let e = strict::caught(payload, kind);
                    (of_type(&e).expect("it is known"), e)
                }
                false => resume_unwind(payload),
            },
            Failure::Error(e, Some(template)) => (errors(&template, &e), e),
            Failure::Error(e, None) => (of_type(&e).unwrap_or_else(|| errors(&f(&errors(model, &e)), &e)), e),
        }
    }

    /// The same failure of a function of which that is the result.
    pub fn map<S>(self, f: impl FnOnce(R) -> S) -> Failure<S> {
        match self {
            Failure::Panic(kind, payload) => Failure::Panic(kind, payload),
            Failure::Error(e, template) => Failure::Error(e, template.map(f)),
        }
    }
}

/// The value of a function with something beside it. After a failure the error is on every leaf of the value, and beside it.
pub(crate) fn settled<M: Tree, R: Tree, T>(
    outcome: Result<(R, T), Failure<R>>,
    f: &dyn Fn(&M) -> R,
    model: &M,
) -> (R, Result<T>) {
    match outcome {
        Ok((value, beside)) => (value, Ok(beside)),
        Err(failure) => {
            let (value, e) = failure.parts(f, model);
            (value, Err(e))
        }
    }
}

/// The tree with an error on every leaf.
pub(crate) fn errors<T: Tree>(tree: &T, e: &Error) -> T {
    tree.map(&mut |_| Tensor::error(e.clone()))
}

/// A tree of a type that says which leaves there are, with an error on each of them.
pub(crate) fn of_type<T: Tree>(e: &Error) -> Option<T> {
    T::of_type(&mut || Tensor::error(e.clone()))
}

/// True if the type says which leaves there are.
pub(crate) fn is_of_type<T: Tree>() -> bool {
    T::of_type(&mut nothing).is_some()
}

fn nothing() -> Tensor {
    static NOTHING: LazyLock<Tensor> =
        LazyLock::new(|| Device::Cpu.scope(|| Tensor::literal(Literal::from_vec::<bool>(&[0], Vec::new()))));
    NOTHING.clone()
}

/// The tree with leaves that hold nothing.
pub(crate) fn hollow<T: Tree>(tree: &T) -> T {
    tree.map(&mut |_| nothing())
}

/// The tree with other leaves.
pub(crate) fn with_leaves<T: Tree>(tree: &T, leaves: impl IntoIterator<Item = Tensor>) -> T {
    let mut leaves = leaves.into_iter();
    tree.map(&mut |_| leaves.next().expect("one tensor for each leaf"))
}

/// The type as which a function sees a leaf, by number, and a tag.
pub(crate) type Seen<'a> = dyn FnMut(usize, &Tensor) -> Result<(Type, usize)> + 'a;

/// Runs the function once on traced values of its argument's types.
pub(crate) fn trace<M: Tree, R: Tree>(
    kind: &'static str,
    f: &dyn Fn(&M) -> R,
    model: &M,
) -> Result<Function<R>, Failure<R>> {
    trace_as(kind, f, model, &mut |_, t| Ok((t.ty(), 0)))
}

/// As [`trace`], the function seeing another type for each leaf. Leaves that are one tensor are one input only if they
/// have the same type and tag.
pub(crate) fn trace_as<M: Tree, R: Tree>(
    kind: &'static str,
    f: &dyn Fn(&M) -> R,
    model: &M,
    seen: &mut Seen<'_>,
) -> Result<Function<R>, Failure<R>> {
    let early = |e| Failure::Error(e, None);
    let at = here();
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut types = Vec::new();
    let mut known = HashMap::new();
    for (number, (path, tensor)) in model.leaves().into_iter().enumerate() {
        match tensor.held() {
            Held::Error(e) => return Err(early(e)),
            Held::Traced(v) if !trace::is_open(v.trace.id) => {
                let e = trace::ended(kind, v).with_operands([named(&path, &v.ty)]).at(at);
                return Err(early(e));
            }
            _ => {}
        }
        let (ty, tag) = seen(number, &tensor).map_err(early)?;
        let input = *known.entry((tensor.identity(), ty.clone(), tag)).or_insert(types.len());
        if input == types.len() {
            types.push(ty);
        }
        leaves.push(Leaf { path, tensor, input });
    }
    let guard = trace::open(kind, kind);
    let inputs: Vec<Tensor> = types.into_iter().map(|ty| trace::input(ty, at)).collect();
    let traced = with_leaves(model, leaves.iter().map(|leaf| inputs[leaf.input].clone()));
    let outcome = {
        let _line = leave();
        catch_unwind(AssertUnwindSafe(|| device::among(leaves.iter().map(|l| &l.tensor), || f(&traced))))
    };
    let template = outcome.map_err(|payload| Failure::Panic(kind, payload))?;
    let lifted = || -> Result<_> {
        let results: Vec<Value> = template.leaves().iter().map(|(_, t)| trace::lift(t)).collect::<Result<_>>()?;
        let writes: Vec<Option<Value>> =
            trace::cell_writes().iter().map(|w| w.as_ref().map(trace::lift).transpose()).collect::<Result<_>>()?;
        Ok((results, writes))
    };
    let (results, writes) = match lifted() {
        Ok(values) => values,
        Err(e) => return Err(Failure::Error(e, Some(template))),
    };
    let done = guard.finish();
    let mut behind: HashMap<Value, Behind> = done.captures.into_iter().map(|(t, v)| (v, Behind::Capture(t))).collect();
    let (mut written, mut written_at) = (Vec::new(), Vec::new());
    for c in done.cells {
        if let Some((_, line)) = c.written {
            written.push(c.cell.clone());
            written_at.push(line);
        }
        behind.insert(c.input, Behind::Cell(c.cell, c.source));
    }
    let example = done.example.map(|t| match &t.0 {
        Repr::Traced(t) => t.value,
        _ => unreachable!("it is an input of the trace"),
    });
    let others = done.graph.inputs()[inputs.len()..].iter().filter(|v| Some(**v) != example);
    let behind = others.map(|v| behind.remove(v).expect("other inputs are captures and cells")).collect();
    Ok(Function {
        graph: done.graph,
        leaves,
        distinct: inputs.len(),
        template,
        results,
        writes: writes.into_iter().flatten().collect(),
        written_at,
        example,
        written,
        behind,
    })
}

impl<R: Tree> Function<R> {
    /// The type of each of the inputs that are leaves.
    pub fn leaf_types(&self) -> Vec<Type> {
        self.graph.inputs()[..self.distinct].iter().map(|&v| self.graph.ty(v).clone()).collect()
    }

    /// The tensor behind each of the inputs that are leaves.
    pub fn sources(&self) -> Vec<Tensor> {
        let mut sources: Vec<Tensor> = Vec::new();
        for leaf in &self.leaves {
            if leaf.input == sources.len() {
                sources.push(leaf.tensor.clone());
            }
        }
        sources
    }

    /// Runs a graph that was made of this one. Its inputs are in the place of the leaves what `sources` says, then the
    /// captures and cells, then `more`. Its last outputs are what the written cells become; they are written, and the
    /// others are the result.
    pub fn run(&self, graph: &Graph, sources: &[Tensor], more: &[Tensor]) -> Result<Vec<Tensor>> {
        let count = graph.outputs().len() - self.written.len();
        let (_, mut results) = self.run_at(graph, count, sources, more)?;
        results.truncate(count);
        Ok(results)
    }

    /// As [`Function::run`], for a graph that has outputs behind what the cells become, which stands at `writes`. Yields all
    /// arguments and all outputs.
    pub fn run_at(
        &self,
        graph: &Graph,
        writes: usize,
        sources: &[Tensor],
        more: &[Tensor],
    ) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let _exclusive = (!trace::active() && !self.written.is_empty()).then(cell::exclusive);
        let behind = Behind::values(&self.behind, sources);
        let arguments: Vec<Tensor> = sources.iter().cloned().chain(behind).chain(more.iter().cloned()).collect();
        let results = apply(graph, &arguments)?;
        for ((cell, line), value) in self.written.iter().zip(&self.written_at).zip(&results[writes..]) {
            write(cell, value, line);
        }
        Ok((arguments, results))
    }
}

/// The outputs of a graph for arguments of any kind: recorded into the enclosing trace, or computed at once where there
/// is none.
pub(crate) fn apply(graph: &Graph, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
    if trace::active() {
        return trace::inline(graph, arguments);
    }
    if tape::wants(arguments.iter()) {
        return tape::apply("apply", graph, arguments);
    }
    let array = |t: &Tensor| match t.held() {
        Held::Array(a) => Ok(a.clone()),
        Held::Traced(v) => Err(trace::ended(graph.name.clone(), v).at(here())),
        Held::Error(e) => Err(e),
    };
    let arrays: Vec<Array> = arguments.iter().map(array).collect::<Result<_>>()?;
    Ok(execute::run(graph, &arrays)?.into_iter().map(Tensor::array).collect())
}

/// The type of a leaf, with its path where the tree is more than the leaf.
pub(crate) fn named(path: &str, ty: &Type) -> String {
    if path.is_empty() { ty.to_string() } else { format!("{path}: {ty}") }
}
