//! Compiled functions.
//!
//! A [`Jit`] traces its function for every new kind of arguments and keeps what was compiled. Its key is the tree
//! structure, all fixed data, dtypes and extents or their symbols, and which leaves share memory; every retrace is an
//! event that names the nearest entry and the difference.

mod call;
mod check;
mod compiled;
mod entry;
mod export;
mod key;
mod lowered;
mod record;

pub use call::Stats;
pub use compiled::Compiled;
pub use lowered::{Lowered, Summary};

use crate::dispatch::here;
use crate::tensor::Tensor;
use crate::tree::{Tree, Visit};
use entry::Entry;
use ir::Symbol;
use ir::graph::SymbolDecl;
use key::Dynamic;
pub(crate) use record::{Feed, Recorded, Source, Wiring};
use std::ops::RangeInclusive;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, RwLock};

/// A function that can be traced: `Fn` of one to six trees to a tree. `A` is the tuple of its arguments.
pub trait Function<A>: Send + Sync + 'static {
    /// What it returns.
    type Output: Tree;
    /// Runs it.
    fn run(&self, arguments: A) -> Self::Output;
}

/// Borrowed arguments of a call.
pub(crate) trait Arguments<A> {
    fn visit(&self, v: &mut dyn Visit);
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> A;
}

/// A function that runs compiled. Made by [`jit`].
///
/// It is `Send + Sync` and may be called from many threads at once. Inside another trace it records its function there.
pub struct Jit<A, R> {
    function: Box<dyn Function<A, Output = R>>,
    name: String,
    made: &'static Location<'static>,
    dynamic: Vec<Dynamic>,
    check: bool,
    capacity: usize,
    entries: RwLock<Vec<Arc<Entry<R>>>>,
    /// The entry used last.
    last: AtomicUsize,
    clock: AtomicU64,
    traces: AtomicU64,
    hits: AtomicU64,
    evictions: AtomicU64,
}

/// Makes a function run compiled: it is traced at its first call, and again whenever the kind of its arguments changes.
///
/// Concrete tensors that it captures become hidden inputs; numbers of the host that it computes with, and fixed data in
/// its result, become constants, which [`Jit::check`] can verify. Values cannot be read while it is traced.
///
/// ```
/// use tracewright::{jit, Tensor};
/// let f = jit(|x: Tensor, y: Tensor| (&x * 2.0 + y).sum(..));
/// let out = f.call(Tensor::from([1.0f32, 2.0]), Tensor::from([3.0f32, 4.0]))?;
/// assert_eq!(out.item::<f32>()?, 13.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn jit<A, F: Function<A>>(f: F) -> Jit<A, F::Output> {
    Jit {
        function: Box::new(f),
        name: "f".into(),
        made: here(),
        dynamic: Vec::new(),
        check: false,
        capacity: 64,
        entries: RwLock::new(Vec::new()),
        last: AtomicUsize::new(0),
        clock: AtomicU64::new(0),
        traces: AtomicU64::new(0),
        hits: AtomicU64::new(0),
        evictions: AtomicU64::new(0),
    }
}

impl<A, R> Jit<A, R> {
    /// Gives it a name, for dumps and messages.
    ///
    /// ```
    /// use tracewright::{Tensor, jit};
    /// let f = jit(|x: Tensor| x * 2.0).named("twice");
    /// assert!(f.lower(Tensor::from(1.0f32))?.ir().contains("@twice"));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Traces every time twice, and again at every call that an entry serves, and refuses a function of which two traces
    /// differ: a value of the host, such as a counter or a clock, has become a constant or decides what is computed, a
    /// tensor that the function captures was replaced, or the arguments hold something that their [`Tree`] does not show.
    pub fn check(mut self) -> Self {
        self.check = true;
        self
    }

    /// Keeps an axis of a leaf symbolic, so that one entry serves every extent in the bounds. The path names the leaf:
    /// `arguments.0` is the first argument, `arguments.1.0` the first part of the second. Axes with one symbol have one
    /// extent, and the same bounds. A symbol's name is made of ASCII letters, digits and underscores.
    ///
    /// ```
    /// use tracewright::{jit, DType, Tensor};
    /// let f = jit(|x: Tensor| x.sum(0)).dynamic("arguments.0", 0, "B", 1..=64);
    /// f.call(Tensor::ones([3, 2], DType::F32))?;
    /// f.call(Tensor::ones([7, 2], DType::F32))?;
    /// assert_eq!(f.stats().traces, 1);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn dynamic(mut self, path: &str, axis: usize, symbol: &str, bounds: RangeInclusive<usize>) -> Self {
        let symbol = SymbolDecl {
            symbol: Symbol::new(symbol),
            min: *bounds.start() as i64,
            max: i64::try_from(*bounds.end()).unwrap_or(i64::MAX),
        };
        self.dynamic.push(Dynamic { path: path.into(), axis, symbol });
        self
    }

    /// How many entries are kept; beyond that the least recently used goes. 64 by default, at least 1.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries.max(1);
        self
    }
}

macro_rules! functions {
    ($(($($t:ident $x:ident $i:tt),*))*) => { $(
        impl<Func, Out, $($t),*> Function<($($t,)*)> for Func
        where
            Func: Fn($($t),*) -> Out + Send + Sync + 'static,
            Out: Tree,
            $($t: Tree),*
        {
            type Output = Out;
            fn run(&self, arguments: ($($t,)*)) -> Out {
                let ($($x,)*) = arguments;
                self($($x),*)
            }
        }

        impl<$($t: Tree),*> Arguments<($($t,)*)> for ($(&$t,)*) {
            fn visit(&self, v: &mut dyn Visit) {
                $(v.enter(crate::tree::Step::Index($i)); self.$i.visit(v); v.exit();)*
            }
            fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> ($($t,)*) {
                ($(self.$i.map(f),)*)
            }
        }
    )* };
}
functions! {
    (A a 0)
    (A a 0, B b 1)
    (A a 0, B b 1, C c 2)
    (A a 0, B b 1, C c 2, D d 3)
    (A a 0, B b 1, C c 2, D d 3, E e 4)
    (A a 0, B b 1, C c 2, D d 3, E e 4, F f 5)
}
