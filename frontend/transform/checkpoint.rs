//! What of a function is kept for its gradient, and what is computed again.
//!
//! The gradient of a function needs values that the function computes on its way. Kept, they take memory from the time they
//! are computed until the gradient comes by; computed again, they take time. A function in [`checkpoint`](fn@checkpoint)
//! keeps its arguments and results only; [`with`] says what else is kept, and [`within`] lets the planner choose.

use super::traced;
use crate::control::region::{Builder, Outside};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::tree::Tree;
use crate::{device, scope, strict};
use ir::Graph;
use ir::ops::control::{Call, Named, Save};
use passes::autodiff::{NoPlan, Plan};
use runtime::Executable;
use runtime::events::{self, Event};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

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
/// If there is an error, every leaf of the result holds it; a panic is one too, or goes on (see [`Code::Panic`]).
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

/// A function that computes again, when its gradient is computed, as little as it takes for both to fit into `bytes` of
/// memory at their peak.
///
/// The function is cut into parts where little is alive. Of these, one after the other, those that save the most memory for
/// the work keep only their products or nothing, until the planned peak of the function with its gradient fits. So it is
/// planned a few dozen times at most, each time that it is traced, and once if everything can be kept. The peak is that of
/// the temporaries, the arena of [`Footprint`](ir::program::Footprint): arguments, results and gradients are there in any
/// case. It is planned for gradients by all float arguments and captured tensors, on the device of the arguments. The choice is an event,
/// [`Event::Checkpoint`].
///
/// Values and gradients are those of the function, as with [`checkpoint`](fn@checkpoint). Checkpoints inside of the function
/// stay as they are. Under [`vmap`](crate::vmap()) and in the body of a loop the budget is that of one example or iteration.
///
/// # Errors
/// Every leaf of the result is an error if no choice fits the budget, which names the smallest that would, or if extents
/// are symbols, as then no sizes are known.
///
/// ```
/// use tracewright::{checkpoint, grad, Tensor};
/// let w = Tensor::eye(64, tracewright::DType::F32);
/// let deep = move |x: &Tensor| (0..16).fold(x.clone(), |x, _| x.matmul(&w).sin()).sum(..);
/// let x = Tensor::zeros([256, 64], tracewright::DType::F32);
/// let slope = grad(checkpoint::within(1 << 20, &deep))(&x);
/// assert_eq!(slope.max(..).item::<f32>()?, 1.0);
/// let e = grad(checkpoint::within(64 << 10, &deep))(&x).err().unwrap();
/// assert!(e.to_string().contains("a budget of 65536 bytes"), "{e}");
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn within<A: Tree, R: Tree>(bytes: u64, f: impl Fn(&A) -> R) -> impl Fn(&A) -> R {
    let made = Location::caller();
    move |model| {
        let _here = enter_at(made);
        let mut function = match traced::trace("checkpoint", &f, model) {
            Ok(function) => function,
            Err(failure) => return failure.result(&f, model),
        };
        function.graph.set_outputs(function.results.iter().chain(&function.writes).copied().collect());
        let planned =
            device::where_leaves_are(&|v| model.visit(v), || plan(&function.graph, function.results.len(), bytes));
        match planned.and_then(|graph| function.run(&graph, &function.sources(), &[])) {
            Ok(results) => traced::with_leaves(&function.template, results),
            Err(e) => traced::errors(&function.template, &e),
        }
    }
}

fn plan(graph: &Graph, results: usize, bytes: u64) -> Result<Graph> {
    let settings = Executable::settings().map_err(Error::exec)?;
    let plan = catch_unwind(AssertUnwindSafe(|| passes::autodiff::within(graph, results, bytes, &settings)));
    let refuse = |rule: String, legal: &str| {
        let e = Error::new(Code::Argument, "checkpoint::within", rule, legal);
        Err(e.at(here()).in_scope(&scope::current()))
    };
    match plan.map_err(|payload| strict::bug(payload, "checkpoint::within"))? {
        Ok(plan) => {
            let Plan { peak, everything, parts, products, nothing, .. } = plan;
            let kept = format!("of {parts} parts {nothing} keep nothing and {products} their products");
            let memory = format!("planned are {peak} of {bytes} bytes, and {everything} if everything is kept");
            events::record(Event::Checkpoint, format_args!("{kept}; {memory}; at {}", here()));
            Ok(plan.graph)
        }
        Err(NoPlan::TooSmall { least, everything }) => refuse(
            format!("a budget of {bytes} bytes"),
            &format!("at least {least}, the least that was planned; {everything} if everything is kept"),
        ),
        Err(NoPlan::Symbolic(size)) => refuse(
            format!("the peak of the function with its gradient is {size} bytes"),
            "extents that are numbers; with symbols the size is not known before a call",
        ),
        Err(NoPlan::Failed(what)) => Err(strict::bug(Box::new(what), "checkpoint::within")),
    }
}

fn call<A: Tree, R: Tree>(f: &dyn Fn(&A) -> R, model: &A, policy: &Policy, made: &'static Location<'static>) -> R {
    let _here = enter_at(made);
    let function = match traced::trace("checkpoint", f, model) {
        Ok(function) => function,
        Err(failure) => return failure.result(f, model),
    };
    let (sources, distinct) = (function.sources(), function.distinct);
    let mut types = function.leaf_types();
    let mut outside = Outside::default();
    let (body, template) = outside.take(function);
    let [_, written] = outside.parts();
    types.extend(outside.all_types());
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
