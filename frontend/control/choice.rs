//! One of several functions, chosen by a tensor.

use super::region::{Builder, Outside};
use super::{Words, located};
use crate::dispatch::enter;
use crate::error::{Code, Error, Result};
use crate::strict;
use crate::tensor::Tensor;
use crate::transform::traced::{self, Function, errors, with_leaves};
use crate::tree::Tree;
use ir::ops::control::Switch;
use ir::{DType, Scalar, Type};

/// What the first function returns if the predicate is true, else what the second does.
///
/// The predicate is a scalar; a number counts as true unless it is 0. Both functions are traced, always, and what they
/// return must have the same structure and types; only the chosen one runs. They take what they need by capturing it.
///
/// ```
/// use tracewright::{cond, jit, Tensor};
/// let safe = jit(|x: Tensor| cond(&x.gt(0.0), || x.log(), || &x * 0.0));
/// assert_eq!(safe.call(Tensor::from(1.0f32))?.item::<f32>()?, 0.0);
/// assert_eq!(safe.call(Tensor::from(-3.0f32))?.item::<f32>()?, -0.0);
/// assert_eq!(safe.stats().traces, 1);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn cond<R: Tree>(predicate: &Tensor, yes: impl Fn() -> R, no: impl Fn() -> R) -> R {
    let _here = enter();
    let choice = || {
        let ty = scalar("cond", "the predicate", predicate, "a scalar of bools or numbers, such as bool[]")?;
        Ok(if ty.dtype == DType::Bool { predicate.clone() } else { predicate.ne(0) })
    };
    let words = ["where the predicate holds".into(), "where it does not".into()];
    choose("cond", &choice, &[&yes, &no], &words, true)
}

/// What the function of that number returns. A number below 0 chooses the first function, and one that is too large the last,
/// as in JAX.
///
/// The index is a scalar of integers. All functions are traced, and what they return must have the same structure and types;
/// only the chosen one runs. With no function there is nothing to return, which is a panic.
///
/// ```
/// use tracewright::{switch, Tensor};
/// let x = Tensor::from([1.0f32, 4.0]);
/// let chosen = |i: i64| switch(&Tensor::from(i), &[&|| x.sum(..), &|| x.max(..), &|| x.mean(..)]);
/// assert_eq!(chosen(1).item::<f32>()?, 4.0);
/// assert_eq!(chosen(7).item::<f32>()?, 2.5);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn switch<R: Tree>(index: &Tensor, branches: &[&dyn Fn() -> R]) -> R {
    let _here = enter();
    if branches.is_empty() {
        strict::panic(located(Error::new(Code::Argument, "switch", "there are no functions", "at least one")));
    }
    let choice = || {
        let legal = "a scalar of integers, such as i64[]";
        let ty = scalar("switch", "the index", index, legal)?;
        let e = || Error::new(Code::DType, "switch", format!("the index has dtype {}", ty.dtype), legal);
        match ty.dtype {
            dtype if !dtype.is_int() => Err(located(e().with_operands([ty.to_string()]))),
            DType::I64 => Ok(index.clone()),
            // Beyond the numbers of an i64 there is no function either.
            DType::U64 => {
                let last = Tensor::constant(ir::Literal::scalar(Scalar::U64(branches.len() as u64 - 1)));
                Ok(index.minimum(&last).to_dtype(DType::I64))
            }
            _ => Ok(index.to_dtype(DType::I64)),
        }
    };
    let words: Vec<String> = (0..branches.len()).map(|i| format!("from function {i}")).collect();
    choose("switch", &choice, branches, &words, false)
}

/// The type of a scalar.
fn scalar(function: &'static str, what: &str, t: &Tensor, legal: &str) -> Result<Type> {
    if let Some(e) = t.error_ref() {
        return Err(e.clone());
    }
    let ty = t.ty();
    match ty.rank() {
        0 => Ok(ty),
        _ => {
            let e = Error::new(Code::Rank, function, format!("{what} has shape {}", ty.shape), legal);
            Err(located(e.with_operands([ty.to_string()])))
        }
    }
}

/// `words` say from which function something is. Regions have the order of the functions, or the opposite one.
fn choose<R: Tree>(
    kind: &'static str,
    choice: &dyn Fn() -> Result<Tensor>,
    branches: &[&dyn Fn() -> R],
    words: &[String],
    reversed: bool,
) -> R {
    let mut functions: Vec<Function<R>> = Vec::with_capacity(branches.len());
    for f in branches {
        match traced::trace(kind, &|(): &()| f(), &()) {
            Ok(function) => functions.push(function),
            Err(failure) => match functions.first() {
                Some(first) => return errors(&first.template, &failure.error()),
                None => return failure.result(&|(): &()| f(), &()),
            },
        }
    }
    if let Err(e) = alike(kind, &functions, words) {
        return errors(&functions[0].template, &e);
    }
    if reversed {
        functions.reverse();
    }
    let (template, results) = run(kind, choice, functions);
    match results {
        Ok(results) => with_leaves(&template, results),
        Err(e) => errors(&template, &e),
    }
}

fn alike<R: Tree>(kind: &'static str, functions: &[Function<R>], words: &[String]) -> Result<()> {
    let types = |f: &Function<R>| f.results.iter().map(|&v| f.graph.ty(v).clone()).collect::<Vec<_>>();
    let (first, all) = (&functions[0], functions.iter().zip(words));
    all.skip(1).try_for_each(|(f, place)| {
        let words = Words { function: kind, root: "result", places: [&words[0], place] };
        words.alike((&first.template, &types(first)), (&f.template, &types(f)))
    })
}

fn run<R: Tree>(
    kind: &'static str,
    choice: &dyn Fn() -> Result<Tensor>,
    functions: Vec<Function<R>>,
) -> (R, Result<Vec<Tensor>>) {
    let mut outside = Outside::default();
    let (bodies, templates): (Vec<_>, Vec<R>) = functions.into_iter().map(|f| outside.take(f)).unzip();
    let template = templates.into_iter().next().expect("there is a function");
    let [read, written] = outside.parts();
    let types: Vec<Type> = outside.types(&(0..read.len() + written.len()).collect::<Vec<_>>()).collect();
    let mut builder = Builder::new(kind);
    for body in &bodies {
        let inside = builder.region(&types, body, &[], &|i| i);
        let cells = written.iter().map(|i| inside.writes.get(i).copied().unwrap_or(inside.parameters[*i]));
        builder.yields(&inside, inside.results.iter().copied().chain(cells).collect());
    }
    let first = template.leaves().len();
    let results = choice().and_then(|choice| {
        let place = |outside: &[Tensor]| std::iter::once(&choice).chain(outside).cloned().collect();
        builder.run(Switch {}, &outside, &place, first)
    });
    (template, results)
}
