//! What of a function is kept for its gradient, and what is computed again.
//!
//! The gradient of a function needs values that the function computes on its way. Kept, they take memory from the time they
//! are computed until the gradient comes by; computed again, they take time. A function in [`checkpoint`](fn@checkpoint)
//! keeps its arguments and results only; [`with`] says what else is kept.

use super::traced;
use crate::control::region::{Builder, Outside};
use crate::dispatch::enter_at;
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use crate::tree::Tree;
use ir::Type;
use ir::ops::control::{Call, Named, Save};
use std::panic::Location;

/// What is kept for the gradient, beside arguments and results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Whatever the gradient needs and is not cheap to compute again, as without a checkpoint.
    Everything,
    /// Nothing.
    Nothing,
    /// The results of matrix products.
    Products,
    /// What [`Tensor::named`] has given one of these names.
    Named(Vec<String>),
}

/// A function that computes again, when its gradient is computed, what that needs: between the two it keeps its arguments and
/// results only.
///
/// Values and gradients are those of the function, to the bit where it is compiled alike. It may capture tensors and use
/// generators: random numbers are the same again. Cells that it writes are written once.
///
/// ```
/// use tracewright::{checkpoint, grad, Tensor};
/// let block = checkpoint(|x: &Tensor| x.sin().exp());
/// let slope = grad(move |x: &Tensor| block(&block(x)).sum(..))(&Tensor::from([0.0f64]));
/// assert!((slope.item::<f64>()? - 0.5403023058681398 * 2.319776824715853).abs() < 1e-12);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn checkpoint<A: Tree, R: Tree>(f: impl Fn(&A) -> R) -> impl Fn(&A) -> R {
    let made = Location::caller();
    move |model| call(&f, model, &Policy::Nothing, made)
}

/// As [`checkpoint`](fn@checkpoint), keeping what the policy says.
///
/// ```
/// use tracewright::{checkpoint, grad, Tensor};
/// use checkpoint::Policy;
/// let w = Tensor::from([[0.5f64, 0.25], [0.0, 1.0]]);
/// let layer = checkpoint::with(Policy::Products, move |x: &Tensor| x.matmul(&w).tanh());
/// let slope = grad(move |x: &Tensor| layer(x).sum(..))(&Tensor::from([[0.0f64, 0.0]]));
/// assert_eq!(slope.to_vec::<f64>()?, [0.75, 1.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn with<A: Tree, R: Tree>(policy: Policy, f: impl Fn(&A) -> R) -> impl Fn(&A) -> R {
    let made = Location::caller();
    move |model| call(&f, model, &policy, made)
}

fn call<A: Tree, R: Tree>(f: &dyn Fn(&A) -> R, model: &A, policy: &Policy, made: &'static Location<'static>) -> R {
    let _here = enter_at(made);
    let function = match traced::trace("checkpoint", f, model) {
        Ok(function) => function,
        Err(failure) => return failure.result(f, model),
    };
    let (sources, distinct) = (function.sources(), function.distinct);
    let leaf = |i: usize| function.graph.ty(function.graph.inputs()[i]).clone();
    let mut types: Vec<Type> = (0..distinct).map(leaf).collect();
    let mut outside = Outside::default();
    let (body, template) = outside.take(function);
    let [read, written] = outside.parts();
    types.extend(outside.types(&(0..read.len() + written.len()).collect::<Vec<_>>()));
    let mut builder = Builder::new("checkpoint");
    let leaves: Vec<usize> = (0..distinct).collect();
    let inside = builder.region(&types, &body, &leaves, &|i| distinct + i);
    let cells = written.iter().map(|i| inside.writes[i]);
    let first = inside.results.len();
    builder.yields(&inside, inside.results.iter().copied().chain(cells).collect());
    let (save, names) = match policy {
        Policy::Everything => (Save::Everything, String::new()),
        Policy::Nothing => (Save::Nothing, String::new()),
        Policy::Products => (Save::Products, String::new()),
        Policy::Named(names) => (Save::Named, names.join(",")),
    };
    let place = |outside: &[Tensor]| sources.iter().chain(outside).cloned().collect();
    match builder.run(Call { save, names }, &outside, &place, first) {
        Ok(results) => traced::with_leaves(&template, results),
        Err(e) => traced::errors(&template, &e),
    }
}

impl Tensor {
    /// The tensor itself, with a name by which [`Policy::Named`] keeps it for gradients. A name has no commas.
    ///
    /// ```
    /// use tracewright::{checkpoint, grad, Tensor};
    /// use checkpoint::Policy;
    /// let block = checkpoint::with(Policy::Named(vec!["wave".into()]), |x: &Tensor| x.sin().named("wave").exp());
    /// assert_eq!(grad(move |x: &Tensor| block(x).sum(..))(&Tensor::from([0.0f32])).to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn named(&self, name: &str) -> Tensor {
        let _here = crate::dispatch::enter();
        if name.is_empty() || name.contains(',') {
            let e = Error::new(Code::Argument, "named", format!("the name {name:?}"), "a name, without commas");
            return crate::dispatch::refuse(e, &[self]);
        }
        // Outside of a trace nobody asks for the name.
        match crate::trace::active() {
            true => crate::trace::record(Named { name: name.into() }, &[self]),
            false => self.clone(),
        }
    }
}
