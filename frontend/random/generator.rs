//! Random generators: keys that count.

use super::key::Key;
use super::source::{FOLD, words_of};
use super::{continuous, discrete, order};
use crate::cell::Buffer;
use crate::device::Device;
use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::ops::Arg;
use crate::tensor::Tensor;
use crate::trace::{self, record};
use crate::tree::{Tree, Visit};
use crate::{DType, scope};
use ir::ops::create::Iota;
use ir::{Literal, Shape};
use std::sync::LazyLock;

/// A stream of random draws, of which each is different: a cell that holds a key and the number of draws so far. Clones
/// share it. [`Generator::default`] is that of the process.
///
/// It can be used in traces. A compiled function takes the state as an input and writes it back after a call that
/// succeeded, so it draws the numbers that the function would draw if it were not compiled. Under
/// [`vmap`](fn@crate::vmap) a draw counts once, and each example gets numbers of its own: its number is folded into the key
/// of the draw.
///
/// ```
/// use tracewright::{Generator, Tensor, jit};
/// let (g, same) = (Generator::new(7), Generator::new(7));
/// let noise = jit(move |x: Tensor| x + g.normal([2], 0.0, 1.0));
/// for _ in 0..2 {
///     let drawn = noise.call(Tensor::from([0.0f32, 0.0]))?;
///     assert_eq!(drawn.to_vec::<f32>()?, same.normal([2], 0.0, 1.0).to_vec::<f32>()?);
/// }
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// Its state is a tensor, which can be kept and put back:
///
/// ```
/// use tracewright::Generator;
/// let g = Generator::new(7);
/// let state = g.state();
/// let first = g.uniform([3], 0.0, 1.0).to_vec::<f32>()?;
/// g.set_state(state)?;
/// assert_eq!(g.uniform([3], 0.0, 1.0).to_vec::<f32>()?, first);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone)]
pub struct Generator(Buffer);

static PROCESS: LazyLock<Generator> = LazyLock::new(|| Generator(Buffer::of_process(state(0, 0))));

/// The generator of the process.
impl Default for Generator {
    fn default() -> Generator {
        PROCESS.clone()
    }
}

/// A generator is no leaf: which it is, is fixed, and its state goes in and out by itself.
impl Tree for Generator {
    fn visit(&self, v: &mut dyn Visit) {
        v.cell(&self.0);
    }
    fn visit_mut(&mut self, _: &mut dyn FnMut(&mut Tensor)) {}
    fn map(&self, _: &mut dyn FnMut(&Tensor) -> Tensor) -> Generator {
        self.clone()
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generator({:?})", self.0)
    }
}

/// A key and a number of draws as an array, inside of traces too.
/// In the host's memory, where draws outside of traces read it.
fn state(key: u64, draws: u64) -> Tensor {
    Device::Cpu.scope(|| Tensor::literal(Literal::from_vec(&[2], vec![key, draws])))
}

impl Generator {
    /// The generator of a seed. As other cells it cannot be made inside a trace: there it makes error values.
    #[track_caller]
    pub fn new(seed: u64) -> Generator {
        let _here = enter();
        Generator(Buffer::made(
            "Generator::new",
            if trace::active() { Tensor::from([seed, 0]) } else { state(seed, 0) },
        ))
    }

    /// The key of the next draw. With it every function of [`random`](crate::random) draws from this generator.
    ///
    /// ```
    /// use tracewright::{DType, Generator, random};
    /// let g = Generator::new(0);
    /// let x = random::gamma(&g.key(), [3], DType::F64, 2.0, 1.0);
    /// assert!(x.min(0).item::<f64>()? > 0.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn key(&self) -> Key {
        let _here = enter();
        if trace::active() {
            let state = self.0.get();
            if state.error_ref().is_some() {
                return Key::from_tensor(&state);
            }
            let part = |i: isize| state.slice(0, i..i + 1).reshape(Shape::scalar());
            let (key, draws) = (Key::from_tensor(&part(0)), part(1));
            let step = record(Iota { dtype: DType::U64, shape: Shape::from([2]), axis: 0 }, &[]);
            return match self.0.set(&state + step) {
                // Under vmap each example has a key of its own.
                Ok(()) => trace::examples().iter().fold(key.fold_in(&draws), |key, number| key.fold_in(number)),
                Err(e) => Key::from_tensor(&Tensor::error(e)),
            };
        }
        let drawn = self.0.step(|now| {
            let now = now.to_vec::<u64>()?;
            let [key, draws] = now[..] else { unreachable!("a state has two numbers") };
            Ok((state(key, draws.wrapping_add(1)), words_of(key, draws, FOLD)))
        });
        match drawn {
            Ok(key) => Key::from_tensor(&Tensor::from(key)),
            Err(e) => Key::from_tensor(&Tensor::error(e)),
        }
    }

    /// The state, a tensor of type `u64[2]`: the key and the number of draws.
    #[track_caller]
    pub fn state(&self) -> Tensor {
        let _here = enter();
        self.0.get()
    }

    /// Puts back a state.
    ///
    /// # Errors
    /// If the tensor is not of type `u64[2]`.
    #[track_caller]
    pub fn set_state(&self, state: Tensor) -> Result<()> {
        let _here = enter();
        let ty = state.try_type()?;
        if ty.dtype != DType::U64 || ty.shape != Shape::from([2]) {
            let e = Error::new(
                Code::Argument,
                "Generator::set_state",
                format!("a state is not {ty}"),
                "a tensor of type u64[2]",
            );
            return Err(e.at(here()).in_scope(&scope::current()).observed());
        }
        self.0.set(state)
    }

    /// Begins again, with that seed.
    #[track_caller]
    pub fn seed(&self, seed: u64) -> Result<()> {
        let _here = enter();
        self.set_state(Tensor::from([seed, 0]))
    }

    /// A generator of its own, seeded by the next draw of this one.
    ///
    /// ```
    /// use tracewright::Generator;
    /// let (a, b) = (Generator::new(0).fork(), Generator::new(0).fork());
    /// assert_eq!(a.uniform([1], 0.0, 1.0).item::<f32>()?, b.uniform([1], 0.0, 1.0).item::<f32>()?);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn fork(&self) -> Generator {
        let _here = enter();
        match self.key().tensor().item::<u64>() {
            Ok(seed) => Generator::new(seed),
            Err(e) => Generator(Buffer::of_process(Tensor::error(e))),
        }
    }

    /// Uniform f32 numbers in `low..high`; see [`random::uniform`](crate::random::uniform).
    ///
    /// ```
    /// use tracewright::Generator;
    /// let x = Generator::new(1).uniform([1000], -1.0, 1.0);
    /// assert!(x.abs().max(..).item::<f32>()? <= 1.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn uniform(&self, shape: impl Into<Shape>, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
        let _here = enter();
        continuous::uniform(&self.key(), shape, DType::F32, low, high)
    }

    /// Normal f32 numbers; see [`random::normal`](crate::random::normal).
    ///
    /// ```
    /// use tracewright::Generator;
    /// let x = Generator::new(1).normal([1000], 5.0, 0.1);
    /// assert!((x.mean(..).item::<f32>()? - 5.0).abs() < 0.05);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn normal(&self, shape: impl Into<Shape>, mean: impl Into<Arg>, deviation: impl Into<Arg>) -> Tensor {
        let _here = enter();
        continuous::normal(&self.key(), shape, DType::F32, mean, deviation)
    }

    /// True with that probability; see [`random::bernoulli`](crate::random::bernoulli).
    #[track_caller]
    pub fn bernoulli(&self, shape: impl Into<Shape>, probability: impl Into<Arg>) -> Tensor {
        let _here = enter();
        discrete::bernoulli(&self.key(), shape, probability)
    }

    /// Integers (i64) from `low` to below `high`; see [`random::integers`](crate::random::integers).
    #[track_caller]
    pub fn integers(&self, shape: impl Into<Shape>, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
        let _here = enter();
        discrete::integers(&self.key(), shape, DType::I64, low, high)
    }

    /// The numbers (i64) below `n` in random order.
    ///
    /// ```
    /// use tracewright::Generator;
    /// let order = Generator::new(1).permutation(4);
    /// assert_eq!(order.sort(0, false).0.to_vec::<i64>()?, [0, 1, 2, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn permutation(&self, n: usize) -> Tensor {
        let _here = enter();
        order::permutation(&self.key(), n)
    }
}
