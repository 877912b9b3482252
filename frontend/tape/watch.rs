//! What is done with a gradient on its way: hooks, and gradients that are kept.

use super::node::Node;
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

type Function = Arc<dyn Fn(&Tensor) -> Option<Tensor> + Send + Sync>;

/// Hooks and kept gradients of the results of a node.
#[derive(Default)]
pub(crate) struct Watch {
    hooks: Vec<(usize, u64, Function)>,
    next: u64,
    /// Results whose gradient is kept, as long as there is the tensor.
    kept: Vec<(usize, Weak<Kept>)>,
}

/// The gradient that is kept with a tensor, and with the tensor alone: the gradient may be on the tape, and lead back to what made
/// the tensor.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<Tensor>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Option<Tensor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The hooks of a result, in the order in which they were added.
    pub fn hooks(&self, slot: usize) -> Vec<Function> {
        self.hooks.iter().filter(|(s, ..)| *s == slot).map(|(_, _, f)| f.clone()).collect()
    }

    fn kept(&self, slot: usize) -> Option<Arc<Kept>> {
        self.kept.iter().find(|(s, _)| *s == slot)?.1.upgrade()
    }

    pub fn keeps(&self, slot: usize) -> bool {
        self.kept(slot).is_some()
    }

    /// From now on the gradient of a result is kept in what this yields, as long as somebody holds that.
    pub fn keep(&mut self, slot: usize) -> Arc<Kept> {
        self.kept(slot).unwrap_or_else(|| {
            let kept = Arc::new(Kept::default());
            self.kept.retain(|(s, _)| *s != slot);
            self.kept.push((slot, Arc::downgrade(&kept)));
            kept
        })
    }

    pub fn gradient(&self, slot: usize) -> Option<Tensor> {
        self.kept(slot)?.lock().clone()
    }

    /// Yields the gradient that was there before.
    #[must_use = "it is dropped when nothing is locked"]
    pub fn set_gradient(&mut self, slot: usize, gradient: Option<Tensor>) -> Option<Tensor> {
        self.kept(slot).and_then(|kept| std::mem::replace(&mut *kept.lock(), gradient))
    }
}

/// A hook that was added to a tensor. It stays when this is dropped.
pub struct Hook {
    node: Weak<Node>,
    id: u64,
}

impl Hook {
    /// Takes the hook away.
    pub fn remove(self) {
        if let Some(node) = self.node.upgrade()
            && let Some(watch) = &mut node.state().watch
        {
            watch.hooks.retain(|(_, id, _)| *id != self.id);
        }
    }
}

impl Tensor {
    /// Calls `f` with the gradient by this tensor in each backward, once the gradient is complete; if it yields another
    /// of the same type, that one counts in its place. Hooks run in the order in which they were added, before the gradient
    /// is kept.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from(2.0f32).requires_grad();
    /// let y = &x * 3.0;
    /// y.on_grad(|g| Some(g * 10.0))?;
    /// y.backward()?;
    /// assert_eq!(x.grad().unwrap().item::<f32>()?, 30.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ///
    /// A hook lives as long as what made its tensor: one that captures the tensor, or one that was computed of it, keeps
    /// both forever, unless it is [removed](Hook::remove). Capture what [`Tensor::detach`] gives.
    ///
    /// # Errors
    /// If the tensor is not tracked.
    #[track_caller]
    pub fn on_grad(&self, f: impl Fn(&Tensor) -> Option<Tensor> + Send + Sync + 'static) -> Result<Hook> {
        let _here = crate::dispatch::enter();
        let Some(t) = self.tracked() else {
            return Err(untracked("on_grad", self));
        };
        let mut state = t.node.state();
        let watch = state.watch.get_or_insert_default();
        let id = watch.next;
        watch.next += 1;
        watch.hooks.push((t.slot, id, Arc::new(f)));
        Ok(Hook { node: Arc::downgrade(&t.node), id })
    }

    /// Keeps the gradient by this tensor in every backward, as leaves do; nothing if it is not tracked.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from(2.0f32).requires_grad() * 3.0;
    /// y.retain_grad();
    /// (&y * &y).backward()?;
    /// assert_eq!(y.grad().unwrap().item::<f32>()?, 12.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn retain_grad(&self) {
        if let Some(t) = self.tracked() {
            t.kept.get_or_init(|| t.node.state().watch.get_or_insert_default().keep(t.slot));
        }
    }

    /// The sum of the gradients of all backwards since it was last cleared, for leaves and where
    /// [`Tensor::retain_grad`] asked for it.
    pub fn grad(&self) -> Option<Tensor> {
        let t = self.tracked()?;
        t.node.state().watch.as_ref()?.gradient(t.slot)
    }

    /// Forgets the gradient.
    pub fn clear_grad(&self) {
        self.replace_gradient(None);
    }

    /// Replaces the gradient that is kept; nothing where none is.
    ///
    /// # Errors
    /// If the gradient has another type than the tensor, or is a value of a traced function.
    #[track_caller]
    pub fn set_grad(&self, gradient: Option<Tensor>) -> Result<()> {
        let _here = crate::dispatch::enter();
        if let Some(g) = &gradient {
            let ty = g.try_type()?;
            let refuse = |rule: String, legal: String| {
                let e = Error::new(Code::Gradient, "set_grad", rule, legal);
                Err(e.at(crate::dispatch::here()).in_scope(&crate::scope::current()).observed())
            };
            if g.is_traced() {
                return refuse("a traced tensor is no value yet".into(), "a tensor outside of traced functions".into());
            }
            let own = self.try_type()?;
            if ty != own {
                return refuse(format!("the gradient of {own} is set to {ty}"), own.to_string());
            }
        }
        self.replace_gradient(gradient);
        Ok(())
    }

    fn replace_gradient(&self, gradient: Option<Tensor>) {
        let Some(t) = self.tracked() else { return };
        let before = t.node.state().watch.as_mut().and_then(|watch| watch.set_gradient(t.slot, gradient));
        drop(before);
    }
}

/// The error of asking for a gradient where there is none.
#[track_caller]
pub(super) fn untracked(what: &'static str, t: &Tensor) -> Error {
    if let Some(e) = t.error_ref() {
        return e.clone().observed();
    }
    let rule = match t.is_traced() {
        true => "a traced tensor is not on the tape",
        false => "the tensor is not on the tape: no operand of what made it was tracked, or it was made under no_grad",
    };
    let legal = match t.is_traced() {
        true => "grad, vjp or jvp inside of traced functions",
        false => "a tensor that was computed of one with requires_grad",
    };
    let e = Error::new(Code::Gradient, what, rule, legal).with_operands([t.ty().to_string()]);
    e.at(crate::dispatch::here()).in_scope(&crate::scope::current()).observed()
}
