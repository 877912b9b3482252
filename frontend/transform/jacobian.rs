//! Jacobians: all derivatives of what a function yields by what it takes.
//!
//! A derivative along one tangent or cotangent is a graph; batched over all unit vectors ([`passes::batch`]) it is the
//! Jacobian, and what depends on none of them is computed once.

use super::append;
use super::grad::gradient;
use super::jvp::along;
use super::traced::{self, Failure, Function, named, with_leaves};
use super::vmap::record_apart;
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::tree::Tree;
use crate::{scope, strict};
use ir::ops::GraphEmitter;
use ir::ops::binary::Direction;
use ir::ops::create::Iota;
use ir::origin::OriginId;
use ir::{DType, Dim, Emit, EmitExt, Graph, Scalar, Shape, Type, Value};
use passes::batch::batch;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

/// A tree that a Jacobian may have rows for: in the place of each leaf stands a tree like the argument. For a derived tree
/// the Jacobian is a list with one such tree for each leaf.
pub trait Rows: Tree {
    /// The tree with an `A` for each leaf.
    type Of<A: Tree>: Tree;
    /// Makes it, leaf by leaf in order.
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> Self::Of<A>;
}

impl Rows for Tensor {
    type Of<A: Tree> = A;
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> A {
        next()
    }
}

impl<T: Rows> Rows for Vec<T> {
    type Of<A: Tree> = Vec<T::Of<A>>;
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> Self::Of<A> {
        self.iter().map(|t| t.rows(next)).collect()
    }
}

impl<T: Rows, const N: usize> Rows for [T; N] {
    type Of<A: Tree> = [T::Of<A>; N];
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> Self::Of<A> {
        std::array::from_fn(|i| self[i].rows(next))
    }
}

impl<T: Rows> Rows for Box<T> {
    type Of<A: Tree> = Box<T::Of<A>>;
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> Self::Of<A> {
        Box::new((**self).rows(next))
    }
}

impl<T: Rows> Rows for Option<T> {
    type Of<A: Tree> = Option<T::Of<A>>;
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> Self::Of<A> {
        self.as_ref().map(|t| t.rows(next))
    }
}

impl<K: Ord + Clone + AsRef<str> + Send + Sync + 'static, T: Rows> Rows for BTreeMap<K, T> {
    type Of<A: Tree> = BTreeMap<K, T::Of<A>>;
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> Self::Of<A> {
        self.iter().map(|(k, t)| (k.clone(), t.rows(next))).collect()
    }
}

impl<K, T, S> Rows for HashMap<K, T, S>
where
    K: Ord + Hash + Clone + AsRef<str> + Send + Sync + 'static,
    T: Rows,
    S: BuildHasher + Default + Send + Sync + 'static,
{
    type Of<A: Tree> = HashMap<K, T::Of<A>, S>;
    fn rows<A: Tree>(&self, next: &mut dyn FnMut() -> A) -> Self::Of<A> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(k, _)| *k);
        entries.into_iter().map(|(k, t)| (k.clone(), t.rows(next))).collect()
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),*))*) => { $(
        impl<$($t: Rows),*> Rows for ($($t,)*) {
            type Of<Argument: Tree> = ($($t::Of<Argument>,)*);
            fn rows<Argument: Tree>(&self, next: &mut dyn FnMut() -> Argument) -> Self::Of<Argument> {
                ($(self.$i.rows(next),)*)
            }
        }
    )* };
}
tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// The Jacobian of a function, by reverse mode: best where it yields fewer numbers than it takes.
///
/// For each leaf of the result it has a tree like the argument, each leaf of which has the shape of the result's leaf,
/// followed by that of the argument's. A tensor at several places of the argument counts as one variable.
///
/// If there is an error, every leaf of the result holds it; a panic is one too, or goes on (see [`Code::Panic`]).
///
/// ```
/// use tracewright::{Tensor, jacrev};
/// let f = |(x, s): &(Tensor, Tensor)| x * x * s;
/// let (by_x, by_s) = jacrev(f)(&(Tensor::from([1.0f32, 2.0]), Tensor::from(3.0f32)));
/// assert_eq!((by_x.to_vec::<f32>()?, by_s.to_vec::<f32>()?), (vec![6.0, 0.0, 0.0, 12.0], vec![1.0, 4.0]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn jacrev<A: Tree, R: Rows>(f: impl Fn(&A) -> R) -> impl Fn(&A) -> R::Of<A> {
    let made = Location::caller();
    move |x| jacobian("jacrev", &f, x, Mode::Reverse, made)
}

/// The Jacobian of a function, by forward mode: best where it takes fewer numbers than it yields. See [`jacrev`].
///
/// ```
/// use tracewright::{Tensor, jacfwd};
/// let curve = |t: &Tensor| (t.cos(), t.sin());
/// let (dx, dy) = jacfwd(curve)(&Tensor::from(0.0f32));
/// assert_eq!((dx.item::<f32>()?, dy.item::<f32>()?), (0.0, 1.0));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn jacfwd<A: Tree, R: Rows>(f: impl Fn(&A) -> R) -> impl Fn(&A) -> R::Of<A> {
    let made = Location::caller();
    move |x| jacobian("jacfwd", &f, x, Mode::Forward, made)
}

/// The second derivatives of a function that returns a float scalar: for each leaf of the argument a tree like it, each leaf
/// of which has the shapes of both leaves one after the other.
///
/// ```
/// use tracewright::{Tensor, hessian};
/// let second = hessian(|x: &Tensor| x.prod(..))(&Tensor::from([2.0f32, 3.0]));
/// assert_eq!(second.to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn hessian<A: Rows>(f: impl Fn(&A) -> Tensor) -> impl Fn(&A) -> A::Of<A> {
    const KIND: &str = "hessian";
    let made = Location::caller();
    let slope = gradient(KIND, f, made);
    move |x| jacobian(KIND, &slope, x, Mode::Forward, made)
}

/// The second derivatives of a function that returns a float scalar, times a tree like the argument; the matrix of the
/// second derivatives is never made.
///
/// ```
/// use tracewright::{Tensor, hvp};
/// let (x, v) = (Tensor::from([2.0f32, 3.0]), Tensor::from([1.0f32, 0.0]));
/// assert_eq!(hvp(|x: &Tensor| x.prod(..), &x, &v).to_vec::<f32>()?, [0.0, 1.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn hvp<A: Tree>(f: impl Fn(&A) -> Tensor, x: &A, v: &A) -> A {
    const KIND: &str = "hvp";
    let made = Location::caller();
    along(KIND, &gradient(KIND, f, made), x, v, made).1
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Reverse,
}

fn jacobian<A: Tree, R: Rows>(
    kind: &'static str,
    f: &dyn Fn(&A) -> R,
    x: &A,
    mode: Mode,
    made: &'static Location<'static>,
) -> R::Of<A> {
    let _here = enter_at(made);
    let (template, blocks) = match attempt(kind, f, x, mode) {
        Ok(found) => found,
        Err(failure) => {
            let (template, e) = failure.parts(f, x);
            return template.rows(&mut || traced::errors(x, &e));
        }
    };
    let mut blocks = blocks.into_iter();
    template.rows(&mut || with_leaves(x, blocks.next().expect("a row for each leaf")))
}

/// The result, for all but its leaves; and for each of them the block of each leaf of the argument.
fn attempt<A: Tree, R: Rows>(
    kind: &'static str,
    f: &dyn Fn(&A) -> R,
    x: &A,
    mode: Mode,
) -> Result<(R, Vec<Vec<Tensor>>), Failure<R>> {
    let function = traced::trace(kind, f, x)?;
    match blocks(kind, &function, mode) {
        Ok(blocks) => Ok((function.template, blocks)),
        Err(e) => Err(Failure::Error(e, Some(function.template))),
    }
}

/// For each leaf of the result the blocks of the argument's leaves.
fn blocks<R: Tree>(kind: &'static str, function: &Function<R>, mode: Mode) -> Result<Vec<Vec<Tensor>>> {
    let from = &function.graph;
    for (&v, (path, _)) in function.results.iter().zip(function.template.leaves()) {
        if !from.ty(v).dtype.is_float() {
            let rule = format!("the function returned {}", named(&path, from.ty(v)));
            let e = Error::new(Code::Gradient, kind, rule, "floats");
            return Err(e.at(here()).in_scope(&scope::current()));
        }
    }
    let graph = catch_unwind(AssertUnwindSafe(|| build(kind, function, mode)));
    let graph = graph.map_err(|payload| strict::bug(payload, kind))??;
    let found = function.run(&graph, &function.sources(), &[])?;
    let rows = found.chunks(function.distinct.max(1)).take(function.results.len());
    Ok(rows.map(|row| function.leaves.iter().map(|leaf| row[leaf.input].clone()).collect()).collect())
}

/// The graph of all blocks, those of a result one after the other.
fn build<R: Tree>(kind: &'static str, function: &Function<R>, mode: Mode) -> Result<Graph> {
    let from = &function.graph;
    let (columns, results) = (&from.inputs()[..function.distinct], &function.results);
    let mut to = Builder::new(kind, function, mode);
    let mut all: Vec<Vec<Value>> = vec![Vec::new(); results.len()];
    match mode {
        Mode::Reverse => {
            for (row, &y) in all.iter_mut().zip(results) {
                *row = to.along(y, columns)?;
            }
        }
        Mode::Forward => {
            for &x in columns {
                let column = to.along(x, results)?;
                all.iter_mut().zip(column).for_each(|(row, block)| row.push(block));
            }
        }
    }
    let mut outputs = all.concat();
    if !function.writes.is_empty() {
        let mut writes = from.clone();
        writes.set_outputs(function.writes.clone());
        outputs.extend(to.inline(&writes, None));
    }
    to.graph.set_outputs(outputs);
    Ok(to.graph)
}

struct Builder<'a> {
    /// The transform.
    kind: &'static str,
    from: &'a Graph,
    mode: Mode,
    graph: Graph,
    inputs: Vec<Value>,
    origin: OriginId,
}

impl<'a> Builder<'a> {
    fn new<R>(kind: &'static str, function: &'a Function<R>, mode: Mode) -> Builder<'a> {
        let from = &function.graph;
        let mut graph = Graph::new(&from.name);
        graph.symbols = from.symbols.clone();
        let inputs = from.input_types().into_iter().map(|ty| graph.add_input(ty)).collect();
        let origin = append::origin(&mut graph, here());
        Builder { kind, from, mode, graph, inputs, origin }
    }

    fn emitter(&mut self) -> GraphEmitter<'_> {
        let region = self.graph.root();
        GraphEmitter { graph: &mut self.graph, region, origins: [self.origin].into_iter().collect() }
    }

    fn inline(&mut self, graph: &Graph, seed: Option<Value>) -> Vec<Value> {
        let arguments: Vec<Value> = self.inputs.iter().copied().chain(seed).collect();
        let root = self.graph.root();
        self.graph.inline(root, graph, &arguments)
    }

    /// The blocks of one value, a column or a result, with each of the others.
    fn along(&mut self, seeded: Value, others: &[Value]) -> Result<Vec<Value>> {
        let ty = self.from.ty(seeded).clone();
        let mut graph = self.from.clone();
        let found = if ty.dtype.is_float() {
            let seed = graph.add_input(ty.clone());
            let origins = [append::origin(&mut graph, here())];
            let name = self.kind;
            let found = match self.mode {
                Mode::Forward => append::push(name, &mut graph, &[(seeded, seed)], others)?,
                Mode::Reverse => append::pull(name, &mut graph, &[(seeded, seed)], others, &origins)?,
            };
            append::record_cuts(&found.cuts);
            found.values
        } else {
            vec![None; others.len()]
        };
        graph.set_outputs(found.iter().flatten().copied().collect());
        let mut values = if graph.outputs().is_empty() { Vec::new() } else { self.batched(&graph, &ty)? }.into_iter();
        let mut blocks = Vec::new();
        for (derivative, &other) in found.iter().zip(others) {
            let other = self.from.ty(other).clone();
            blocks.push(match derivative {
                Some(_) => {
                    let v = values.next().expect("one for each derivative");
                    self.block(v, &ty, &other)
                }
                None => self.zeros(&ty, &other),
            });
        }
        Ok(blocks)
    }

    /// The outputs of a graph for all unit vectors as its last argument, along a first axis; without that axis for a
    /// scalar.
    fn batched(&mut self, graph: &Graph, ty: &Type) -> Result<Vec<Value>> {
        if ty.rank() == 0 {
            let one = self.emitter().full(Scalar::of(ty.dtype, 1.0), &ty.shape);
            return Ok(self.inline(graph, Some(one)));
        }
        let n = ty.shape.numel();
        let mut axes = vec![None; graph.inputs().len()];
        axes[self.inputs.len()] = Some(0);
        let batched = batch(graph, &axes, &n).map_err(|e| {
            Error::new(Code::Trace, self.kind, e.to_string(), "").at(here()).in_scope(&scope::current())
        })?;
        record_apart(&batched, &n);
        let units = self.units(ty, &n);
        let values = self.inline(&batched.graph, Some(units));
        let mut b = self.emitter();
        let in_front = values.into_iter().zip(&batched.outputs).map(|(v, axis)| match *axis {
            Some(0) => v,
            Some(axis) => {
                let others = (0..b.ty(v).rank()).filter(|&a| a != axis);
                let permutation: Vec<usize> = [axis].into_iter().chain(others).collect();
                b.transpose(v, &permutation)
            }
            None => {
                let shape = b.ty(v).shape.clone();
                let all: Shape = [n.clone()].into_iter().chain(shape.iter().cloned()).collect();
                b.broadcast_in_dim(v, &all, &(1..=shape.rank()).collect::<Vec<_>>())
            }
        });
        Ok(in_front.collect())
    }

    /// All unit vectors of a type, one after the other.
    fn units(&mut self, ty: &Type, n: &Dim) -> Value {
        let mut b = self.emitter();
        let square = Shape::from([n.clone(), n.clone()]);
        let [row, column] =
            [0, 1].map(|axis| b.emit(Iota { dtype: DType::I64, shape: square.clone(), axis }.into(), &[]));
        let one = b.compare(Direction::Eq, row, column);
        let one = b.convert(one, ty.dtype);
        let all: Shape = [n.clone()].into_iter().chain(ty.shape.iter().cloned()).collect();
        b.reshape(one, &all)
    }

    /// The shape of a block: that of the result, then that of the argument.
    fn shape(&self, seeded: &Type, other: &Type) -> Shape {
        let (first, second) = match self.mode {
            Mode::Reverse => (seeded, other),
            Mode::Forward => (other, seeded),
        };
        first.shape.iter().chain(second.shape.iter()).cloned().collect()
    }

    /// The block of the derivatives along all unit vectors.
    fn block(&mut self, v: Value, seeded: &Type, other: &Type) -> Value {
        let shape: Shape = seeded.shape.iter().chain(other.shape.iter()).cloned().collect();
        let (mode, first, all) = (self.mode, seeded.rank(), shape.rank());
        let mut b = self.emitter();
        let v = b.reshape(v, &shape);
        match mode {
            Mode::Reverse => v,
            Mode::Forward => b.transpose(v, &(first..all).chain(0..first).collect::<Vec<_>>()),
        }
    }

    /// The block of what does not depend on each other.
    fn zeros(&mut self, seeded: &Type, other: &Type) -> Value {
        let shape = self.shape(seeded, other);
        let dtype = match self.mode {
            Mode::Forward if seeded.dtype.is_float() => other.dtype,
            Mode::Forward => seeded.dtype,
            Mode::Reverse => other.dtype,
        };
        self.emitter().full(Scalar::zero(dtype), &shape)
    }
}
