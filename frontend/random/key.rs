//! Random keys: streams that split.

use super::source::{FOLD, SPLIT, pair, words_of};
use crate::dispatch::{Call, Extents, enter, here, refuse, run};
use crate::error::{Code, Error};
use crate::ops::{Arg, prim};
use crate::tensor::{Repr, Tensor};
use crate::trace::{self, record};
use crate::tree::{Tree, Visit};
use ir::ops::create::Iota;
use ir::{DType, Scalar, Shape};

/// The key of a random stream: a tensor of one u64. It is a leaf of a tree, so it can be an argument and a result of a
/// compiled function.
///
/// ```
/// use tracewright::{DType, Key, Tensor, jit, random};
/// let noisy = jit(|key: Key, x: Tensor| &x + random::normal(&key, x.shape(), DType::F32, 0.0, 0.1));
/// let key = Key::new(7);
/// let (a, b) = (key.fold_in(0), key.fold_in(1)); // one key per step
/// let x = Tensor::from([1.0f32, 2.0]);
/// assert_ne!(noisy.call(a, x.clone())?.to_vec::<f32>()?, noisy.call(b, x)?.to_vec::<f32>()?);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone)]
pub struct Key(Tensor);

impl Tree for Key {
    fn visit(&self, v: &mut dyn Visit) {
        v.leaf(&self.0);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        f(&mut self.0);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Key {
        Key(f(&self.0))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?})", self.0)
    }
}

impl Key {
    /// The key of a seed.
    #[track_caller]
    pub fn new(seed: u64) -> Key {
        let _here = enter();
        Key(Tensor::from(seed))
    }

    /// The key that a tensor of one u64 holds; any other tensor gives an error where the key is used.
    #[track_caller]
    pub fn from_tensor(tensor: &Tensor) -> Key {
        let _here = enter();
        if tensor.error_ref().is_some() {
            return Key(tensor.clone());
        }
        let ty = tensor.ty();
        if ty.dtype != DType::U64 || ty.rank() != 0 {
            let rule = format!("a key is not {ty}");
            return Key(refuse(
                Error::new(Code::Argument, "Key::from_tensor", rule, "a tensor of type u64[]"),
                &[tensor],
            ));
        }
        Key(tensor.clone())
    }

    /// The tensor of one u64 that the key is.
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }

    /// The key where a tensor is.
    pub(crate) fn beside(&self, tensor: &Tensor) -> Key {
        Key(self.0.to_device(tensor.device()))
    }

    /// `N` new keys, for which this one is used up.
    ///
    /// ```
    /// # use tracewright::Key;
    /// let [a, b, c] = Key::new(1).split();
    /// assert_ne!(a.tensor().item::<u64>()?, b.tensor().item::<u64>()?);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn split<const N: usize>(&self) -> [Key; N] {
        let _here = enter();
        std::array::from_fn(|i| self.derived(SPLIT, "split", &Arg::from(i as u64)))
    }

    /// As many new keys as asked for, the first of them those of [`Key::split`], as a tensor of type u64.
    ///
    /// ```
    /// # use tracewright::{Key, Tensor};
    /// let keys = Key::new(1).split_tensor(3);
    /// let [first] = Key::new(1).split();
    /// assert_eq!(keys.to_vec::<u64>()?[0], first.tensor().item::<u64>()?);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn split_tensor(&self, n: usize) -> Tensor {
        let _here = enter();
        run(Call::composed("split", &[n as i64], Extents::Exact), &[&self.0], &|t| {
            let shape = Shape::from([n]);
            let numbers = record(Iota { dtype: DType::U64, shape: shape.clone(), axis: 0 }, &[]);
            pair(&t[0], &numbers, SPLIT, &shape)
        })
    }

    /// A new key for a number, such as that of a step: below 2^63, and not negative. A tensor must have one element.
    ///
    /// ```
    /// # use tracewright::{Key, Tensor};
    /// let key = Key::new(1);
    /// let (number, tensor) = (key.fold_in(3), key.fold_in(Tensor::from(3i64)));
    /// assert_eq!(number.tensor().item::<u64>()?, tensor.tensor().item::<u64>()?);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn fold_in(&self, data: impl Into<Arg>) -> Key {
        let _here = enter();
        self.derived(FOLD, "fold_in", &data.into())
    }

    #[track_caller]
    fn derived(&self, stream: u32, name: &'static str, data: &Arg) -> Key {
        let rule = match data {
            Arg::Number(n) => match n.scalar(DType::U64) {
                // Known numbers need no kernel.
                Scalar::U64(number) if n.is_natural() => {
                    if let (Repr::Array(_), false) = (&self.0.0, trace::active())
                        && let Ok(key) = self.0.item::<u64>()
                    {
                        return Key(Tensor::from(words_of(key, number, stream)));
                    }
                    None
                }
                _ => Some(format!("the number {} cannot be folded in", data.text())),
            },
            Arg::Tensor(t) if t.error_ref().is_some() => return Key(t.clone()),
            Arg::Tensor(t) => {
                let ty = t.ty();
                (!ty.dtype.is_int() || ty.rank() != 0).then(|| format!("{ty} cannot be folded in"))
            }
        };
        if let Some(rule) = rule {
            let e =
                Error::new(Code::Argument, name, rule, "an integer from 0 to below 2^63, or a tensor of one integer");
            return Key(Tensor::error(e.at(here()).in_scope(&crate::scope::current())));
        }
        let data = match data {
            Arg::Number(n) => Tensor::constant(ir::Literal::scalar(n.scalar(DType::U64))),
            Arg::Tensor(t) => t.clone(),
        };
        Key(run(Call::composed(name, &[], Extents::Exact), &[&self.0, &data], &|t| {
            pair(&t[0], &prim::cast(&t[1], DType::U64), stream, &Shape::scalar())
        }))
    }
}
