//! The tape: gradients of eager code, through whatever it did.
//!
//! Ops on tensors with [`requires_grad`](Tensor::requires_grad) run the forward part of their graph and keep only what
//! its gradient needs; [`backward`](Tensor::backward) runs the backward parts, compiled once for all shapes. The rules are
//! those of [`grad`](fn@crate::grad): a graph with its gradient is cut in two by [`passes::autodiff::partition`]. Compiled
//! functions, `grad`, `vmap` and the others are differentiated as the graphs that they are.
//!
//! It behaves as PyTorch's does. A backward frees what was kept, unless it is [retained](Backward::retain), and a second one
//! over it is an error; gradients of leaves add up until they are [cleared](Tensor::clear_grad); what runs under
//! [`no_grad`] is not on the tape. In traced functions there is no tape: a tracked tensor that one captures is an input
//! of it.

mod engine;
mod graphs;
mod modes;
mod node;
mod plan;
mod views;
mod watch;

pub use engine::Backward;
pub use modes::{enable_grad, no_grad};
pub use watch::Hook;

pub(crate) use graphs::{apply, plan, run, wants};
pub(crate) use modes::frozen;
pub(crate) use node::{Edge, Tracked};
pub(crate) use plan::{Inputs, Plan};
pub(crate) use views::{reshaped, viewed};

use crate::dispatch::{enter, here, refuse};
use crate::error::{Code, Error, Result};
use crate::tensor::{Repr, Tensor};
use crate::trace;
use crate::tree::Tree;
use node::{Kind, Node};
use plan::Saved;
use smallvec::SmallVec;

/// True if an op on the tensor goes on the tape.
pub(crate) fn records(t: &Tensor) -> bool {
    t.tracked().is_some() && !trace::active() && !frozen()
}

/// Which operands want a gradient, a bit for each; nothing if none does.
pub(crate) fn wanted(operands: &[&Tensor]) -> SmallVec<[u64; 1]> {
    let mut bits: SmallVec<[u64; 1]> = SmallVec::new();
    for (i, _) in operands.iter().enumerate().filter(|(_, t)| t.tracked().is_some()) {
        if bits.is_empty() && frozen() {
            return bits;
        }
        if bits.len() <= i / 64 {
            bits.resize(i / 64 + 1, 0);
        }
        bits[i / 64] |= 1 << (i % 64);
    }
    bits
}

impl Tensor {
    /// The tensor as a leaf of the tape: gradients by it are kept. One that is on the tape is returned as it is.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([1.0f32, 2.0]).requires_grad();
    /// let mut y = x.clone();
    /// while y.sum(..).item::<f32>()? < 10.0 {
    ///     y = &y * &x + 1.0;
    /// }
    /// y.sum(..).backward()?;
    /// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [4.0, 13.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the elements are no floats, and in traced functions, whose gradients are [`grad`](fn@crate::grad)'s.
    #[track_caller]
    pub fn requires_grad(&self) -> Tensor {
        const NAME: &str = "requires_grad";
        let _here = enter();
        if self.error_ref().is_some() || self.tracked().is_some() && !trace::active() {
            return self.clone();
        }
        if let Repr::Traced(t) = &self.0
            && !trace::is_open(t.trace.id)
        {
            return refuse(trace::ended(NAME, t), &[self]);
        }
        if trace::active() {
            let legal = "grad, vjp or jvp; or make it a leaf before, and capture it";
            return refuse(
                Error::new(Code::Trace, NAME, "there is no tape while a function is traced", legal),
                &[self],
            );
        }
        if !self.dtype().is_float() {
            return refuse(Error::new(Code::Gradient, NAME, "only floats have gradients", "a float"), &[self]);
        }
        let node = Node::new(Kind::Leaf, NAME, here(), SmallVec::new(), Saved::default());
        let leaf = node.result(0, self.clone());
        leaf.retain_grad();
        leaf
    }

    /// The same elements, not on the tape; in a traced function a constant of gradients.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from(3.0f32).requires_grad();
    /// (&x * x.detach()).backward()?;
    /// assert_eq!(x.grad().unwrap().item::<f32>()?, 3.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        match &self.0 {
            Repr::Traced(_) => self.stop_gradient(),
            _ => self.plain().clone(),
        }
    }

    /// True if it is on the tape.
    pub fn is_tracked(&self) -> bool {
        self.tracked().is_some()
    }

    /// True if no op on the tape made it.
    pub fn is_leaf(&self) -> bool {
        self.tracked().is_none_or(|t| t.node.is_leaf())
    }

    /// Adds the gradients of this scalar to those of all leaves that it was computed of. What the tape kept is freed; see
    /// [`Backward`] for more.
    ///
    /// ```
    /// use tracewright::{Tensor, no_grad};
    /// let mut w = Tensor::from(1.0f32).requires_grad();
    /// for _ in 0..20 {
    ///     (&w - 3.0).square().backward()?;
    ///     w = no_grad(|| &w - w.grad().unwrap() * 0.3).requires_grad();
    /// }
    /// assert!((w.item::<f32>()? - 3.0).abs() < 1e-3);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn backward(&self) -> Result<()> {
        let _here = enter();
        Backward::of(&[self]).accumulate()
    }

    /// As [`Tensor::backward`], of a tensor of any shape, for a cotangent of its type.
    #[track_caller]
    pub fn backward_with(&self, cotangent: &Tensor) -> Result<()> {
        let _here = enter();
        Backward::of(&[self]).with(&[cotangent]).accumulate()
    }
}

/// The tree with all its float leaves as leaves of the tape.
///
/// ```
/// use tracewright::{Generator, nn, no_grad, optim, tape};
/// let g = Generator::new(0);
/// let mut layer = nn::Linear::new(3, 2, &g);
/// let mut optimizer = optim::Sgd::new(0.1);
/// let x = g.normal([5, 3], 0.0, 1.0);
/// for _ in 0..3 {
///     layer = tape::track(&layer);
///     layer.forward(&x).square().mean(..).backward()?;
///     (layer, optimizer) = no_grad(|| optimizer.update(tape::detach(&layer), tape::gradients(&layer)));
/// }
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn track<T: Tree>(tree: &T) -> T {
    let _here = enter();
    tree.map(&mut |t| match t.error_ref().is_none() && t.dtype().is_float() {
        true => t.requires_grad(),
        false => t.clone(),
    })
}

/// The tree without its place on the tape.
pub fn detach<T: Tree>(tree: &T) -> T {
    tree.map(&mut Tensor::detach)
}

/// The gradient of each leaf, zeros where there is none.
#[track_caller]
pub fn gradients<T: Tree>(tree: &T) -> T {
    let _here = enter();
    tree.map(&mut |t| t.grad().unwrap_or_else(|| no_grad(|| t.plain().zeros_like())))
}

/// Forgets the gradients of all leaves.
pub fn clear<T: Tree>(tree: &T) {
    tree.leaves().iter().for_each(|(_, t)| t.clear_grad());
}
