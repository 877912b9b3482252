//! Ops of your own: what the ops of this crate cannot be composed to, or not well.
//!
//! One `impl` of [`CustomOp`] says all that there is to know of an op: its name, version and attributes, its type rule and
//! its values on host data; and, where wanted, its derivatives, what it does to many examples at once, and fast code for
//! the CPU. [`call`] applies it, eagerly or in a trace: it works in `jit`, `grad`, `vmap` and the other transforms as any op
//! does. `examples/custom_op` is a tutorial.
//!
//! - An op is identified by name, version and attributes. Text and files hold these alone; who reads them needs the op
//!   [registered](register).
//! - An op that does not say that it is pure has effects: it runs once for each time it is called, in order, even if nobody
//!   uses its results.
//! - What goes wrong in an op's code, a panic included, is an error of the call that names the op and the line that
//!   called it.
//! - An op may have any number of results, at least one.

mod adapter;
mod rules;

pub use ir::ops::custom::{Call, SliceOf};
pub use ir::ops::{Attr, AttrReader};
pub use rules::{Batching, Forward, Reverse};

use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::scope;
use crate::tensor::Tensor;
use crate::trace;
use crate::transform::traced::apply;
use adapter::Adapter;
use ir::ops::custom::{self, Custom};
use ir::{Graph, Literal, Origin, Primitive, Type, Value};
use std::any::{TypeId, type_name};
use std::sync::Arc;

/// An error in the code of an op: `"words".into()`, or any other error, with `?`.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// An op of your own. Its fields are its attributes.
///
/// ```
/// use tracewright::custom::{Attr, AttrReader, CustomOp, Fault, Reverse, call};
/// use tracewright::{Literal, Tensor, Type, grad};
///
/// /// `x` to the third power, times a factor.
/// #[derive(Clone)]
/// struct Cube { factor: f32 }
///
/// impl CustomOp for Cube {
///     const NAME: &'static str = "doc.cube";
///     const PURE: bool = true;
///     fn attributes(&self) -> Vec<(&'static str, Attr)> {
///         vec![("factor", self.factor.into())]
///     }
///     fn from_attributes(from: &mut AttrReader) -> Result<Cube, Fault> {
///         Ok(Cube { factor: from.take("factor")? })
///     }
///     fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
///         let [x] = operands else { return Err("takes one operand".into()) };
///         Ok(vec![(*x).clone()])
///     }
///     fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
///         let cubes = operands[0].as_slice::<f32>().iter().map(|x| self.factor * x * x * x).collect();
///         Ok(vec![Literal::from_vec(operands[0].dims(), cubes)])
///     }
///     fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
///         let x = &cx.operands[0];
///         Some(vec![Some(&cx.cotangents[0] * x * x * (3.0 * self.factor))])
///     }
/// }
///
/// let cube = |x: &Tensor| { let [y] = call(&Cube { factor: 2.0 }, &[x]); y };
/// assert_eq!(cube(&Tensor::from(2.0f32)).item::<f32>()?, 16.0);
/// assert_eq!(grad(cube)(&Tensor::from(2.0f32)).item::<f32>()?, 24.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
pub trait CustomOp: Clone + Send + Sync + 'static {
    /// The name: words with dots between them, the first of which says whose op it is, as in `lab.swiglu`.
    const NAME: &'static str;
    /// Goes up when the op computes something else than before; text and files name it.
    const VERSION: u32 = 1;
    /// True if equal operands give equal results and nothing else happens. Such an op is left out where nobody uses its
    /// results, and equal calls become one.
    const PURE: bool = false;

    /// What distinguishes this op from others of its name, as text can hold it: numbers, words in quotes, dtypes,
    /// dimensions, shapes, dense data.
    fn attributes(&self) -> Vec<(&'static str, Attr)> {
        Vec::new()
    }
    /// The op with those attributes.
    fn from_attributes(from: &mut AttrReader) -> Result<Self, Fault>;
    /// The type rule: types of the results for types of operands, or what is wrong with these. Extents may be symbols.
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault>;
    /// The results on host data: what the op means. It runs where there is no [`cpu`](CustomOp::cpu) code, and in the
    /// interpreter.
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault>;
    /// The gradient by each operand, `None` where it is 0. `None` as a whole, or no rule: the op has no derivative, and to
    /// ask for one is an error. Rules may use anything that tensors can do, other ops of yours too, which need rules of their
    /// own for second derivatives.
    fn vjp(&self, _cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        None
    }
    /// The tangent of each result, `None` where it is 0. Without a rule it comes from [`vjp`](CustomOp::vjp), transposed.
    fn jvp(&self, _cx: &Forward<'_>) -> Option<Vec<Option<Tensor>>> {
        None
    }
    /// The results for many examples at once, each with the axis of the examples in front. Without a rule the op runs for
    /// one example after the other, which is a counted event.
    fn batch(&self, _cx: &Batching<'_>) -> Option<Vec<Tensor>> {
        None
    }
    /// Fast code for the CPU.
    fn cpu() -> Option<CpuBody<Self>> {
        None
    }
}

/// A function that fills the results of a call.
type Run<T> = fn(&T, &mut Call<'_>) -> Result<(), Fault>;

/// A function that says about how many additions a row takes, given the operands' extents.
type Work<T> = fn(&T, &[&[usize]]) -> u64;

/// Fast code of an op, over slices. What it is given is dense and row-major; results hold zeros to begin with.
pub struct CpuBody<T> {
    run: Run<T>,
    work: Option<Work<T>>,
}

impl<T> CpuBody<T> {
    /// Code that fills whole results.
    pub fn whole(run: Run<T>) -> CpuBody<T> {
        CpuBody { run, work: None }
    }
    /// Code that fills the rows [`Call::rows`] of the results, along their first axis, which all must have in common. Rows
    /// run on several threads where that pays: `work` says about how many additions a row takes, given the operands'
    /// extents. What a row becomes must not depend on which others are asked for.
    pub fn rows(run: Run<T>, work: Work<T>) -> CpuBody<T> {
        CpuBody { run, work: Some(work) }
    }
}

/// Makes an op known to readers of text and files; [`call`] does so by itself.
///
/// # Errors
/// If the name is none, or stands for another op of the same version.
pub fn register<T: CustomOp>() -> Result<()> {
    let read = |from: &mut AttrReader| match T::from_attributes(from) {
        Ok(op) => Ok(Arc::new(Adapter::new(op)) as Arc<dyn custom::Implementation>),
        Err(e) => Err(e.to_string()),
    };
    custom::register(T::NAME, T::VERSION, (TypeId::of::<T>(), type_name::<T>()), read).map_err(|e| {
        let legal = match custom::is_name(T::NAME) {
            true => "one type for each name and version",
            false => "a name such as `lab.swiglu`",
        };
        Error::new(Code::Argument, T::NAME, e, legal)
    })
}

/// Applies an op, which has `N` results for these operands. If it makes an error, every result holds it.
#[track_caller]
pub fn call<T: CustomOp, const N: usize>(op: &T, operands: &[&Tensor]) -> [Tensor; N] {
    let _here = enter();
    let results = attempt(op, operands).and_then(|results| {
        <[Tensor; N]>::try_from(results).map_err(|all| {
            let plural = if all.len() == 1 { "" } else { "s" };
            let rule = format!("it has {} result{plural}, and the call names {N}", all.len());
            Error::new(Code::Argument, T::NAME, rule, "").at(here()).in_scope(&scope::current())
        })
    });
    results.unwrap_or_else(|e| {
        let first = Tensor::error(e);
        std::array::from_fn(|_| first.clone())
    })
}

/// All results of an op.
fn attempt<T: CustomOp>(op: &T, operands: &[&Tensor]) -> Result<Vec<Tensor>> {
    let (at, scope) = (here(), scope::current());
    let types: Vec<Type> = operands.iter().map(|t| t.try_type()).collect::<Result<_>>()?;
    let refuse = |e: Error| e.with_operands(types.iter().map(Type::to_string)).at(at).in_scope(&scope);
    register::<T>().map_err(refuse)?;
    let op = Custom::new(Arc::new(Adapter::new(op.clone())))
        .map_err(|e| refuse(Error::new(Code::Argument, T::NAME, e, "")))?;
    let mut graph = Graph::new(T::NAME);
    let inputs: Vec<Value> = types.iter().map(|ty| graph.add_input(ty.clone())).collect();
    let origin = Origin { location: at.into(), scope: scope.to_string().into(), gradient: false };
    let origin = graph.origins.intern(origin);
    let root = graph.root();
    let op = graph
        .append(root, Primitive::from(op), &inputs, &[], &[origin])
        .map_err(|v| Error::violation(v).at(at).in_scope(&scope))?;
    graph.set_outputs(graph.op(op).results.to_vec());
    let operands: Vec<Tensor> = operands.iter().map(|&t| t.clone()).collect();
    // Outside of traces equal graphs share an executable, which has the line of the first.
    let place = |e: Error| if trace::active() { e } else { e.at(at).in_scope(&scope) };
    apply(&graph, &operands).map_err(place)
}
