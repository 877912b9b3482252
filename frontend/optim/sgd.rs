//! Stochastic gradient descent.

use super::parameters::{check, update, zeros};
use crate::dispatch::enter;
use crate::scope;
use crate::tensor::Tensor;
use crate::tree::Tree;

/// Gradient descent with momentum, as PyTorch has it: `v = momentum * v + g`, `p = p - lr * v`.
///
/// ```
/// use tracewright::{Tensor, optim};
/// let optimizer = optim::Sgd::new(0.5);
/// let (p, _optimizer) = optimizer.update(Tensor::from([1.0f32]), Tensor::from([0.2f32]));
/// assert_eq!(p.to_vec::<f32>()?, [0.9]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Tree, Clone, Debug)]
pub struct Sgd {
    /// Learning rate, an f64 scalar.
    pub lr: Tensor,
    /// Number of updates made, an i64 scalar.
    pub step: Tensor,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    velocity: Vec<Tensor>,
}

impl Sgd {
    /// Without momentum.
    #[track_caller]
    pub fn new(lr: f64) -> Sgd {
        Sgd {
            lr: Tensor::from(lr),
            step: Tensor::from(0i64),
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            velocity: Vec::new(),
        }
    }

    /// With momentum for the parameters of a model.
    #[track_caller]
    pub fn momentum<M: Tree>(mut self, model: &M, momentum: f64, nesterov: bool) -> Sgd {
        (self.momentum, self.nesterov, self.velocity) = (momentum, nesterov, zeros(model));
        self
    }

    /// Adds `weight_decay * p` to the gradients.
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.weight_decay = weight_decay;
        self
    }

    /// The model and the optimiser after one update.
    #[track_caller]
    pub fn update<M: Tree>(mut self, model: M, gradients: M) -> (M, Sgd) {
        let _here = enter();
        let _scope = scope::enter("sgd");
        let moments = (!self.velocity.is_empty()).then_some(&self.velocity[..]);
        if let Err(e) = check("sgd", &model, &gradients, moments) {
            let error = Tensor::error(e);
            return (model.map(&mut |_| error.clone()), self);
        }
        let new = update(&model, &gradients, |at, p, g| {
            let lr = self.lr.to_dtype(p.dtype());
            let g = if self.weight_decay != 0.0 { g + p * self.weight_decay } else { g.clone() };
            if self.velocity.is_empty() {
                return p - lr * g;
            }
            let v = &self.velocity[at[0]] * self.momentum + &g;
            at.iter().for_each(|&i| self.velocity[i] = v.clone());
            let direction = if self.nesterov { g + &v * self.momentum } else { v };
            p - lr * direction
        });
        self.step = &self.step + 1;
        (new, self)
    }
}
