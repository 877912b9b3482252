//! Adam and AdamW.

use super::parameters::{check, update, zeros};
use crate::dispatch::enter;
use crate::scope;
use crate::tensor::Tensor;
use crate::tree::Tree;

macro_rules! adam {
    ($(#[$doc:meta])* $name:ident $scope:literal $decay:literal decoupled $decoupled:literal) => {
        $(#[$doc])*
        #[derive(Tree, Clone, Debug)]
        pub struct $name {
            /// Learning rate, an f64 scalar.
            pub lr: Tensor,
            /// Number of updates made, an i64 scalar.
            pub step: Tensor,
            /// `beta^step` for both decay rates, f64 scalars.
            powers: [Tensor; 2],
            betas: [f64; 2],
            eps: f64,
            weight_decay: f64,
            mean: Vec<Tensor>,
            square: Vec<Tensor>,
        }

        impl $name {
            /// For the parameters of a model, with the usual decay rates of 0.9 and 0.999.
            #[track_caller]
            pub fn new<M: Tree>(model: &M, lr: f64) -> $name {
                $name {
                    lr: Tensor::from(lr),
                    step: Tensor::from(0i64),
                    powers: [Tensor::from(1.0f64), Tensor::from(1.0f64)],
                    betas: [0.9, 0.999],
                    eps: 1e-8,
                    weight_decay: $decay,
                    mean: zeros(model),
                    square: zeros(model),
                }
            }

            /// With these decay rates of the means of gradients and their squares.
            pub fn betas(mut self, mean: f64, square: f64) -> $name {
                self.betas = [mean, square];
                self
            }

            /// With this weight decay.
            pub fn weight_decay(mut self, weight_decay: f64) -> $name {
                self.weight_decay = weight_decay;
                self
            }

            /// With this term in the denominator.
            pub fn eps(mut self, eps: f64) -> $name {
                self.eps = eps;
                self
            }

            /// The model and the optimiser after one update.
            #[track_caller]
            pub fn update<M: Tree>(mut self, model: M, gradients: M) -> (M, $name) {
                let _here = enter();
                let _scope = scope::enter($scope);
                if let Err(e) = check($scope, &model, &gradients, Some(&self.mean)) {
                    let error = Tensor::error(e);
                    return (model.map(&mut |_| error.clone()), self);
                }
                let [b1, b2] = self.betas;
                let powers = [&self.powers[0] * b1, &self.powers[1] * b2];
                // Scalars in f64, where 1 - beta^step does not cancel.
                let rate = &self.lr / (1.0 - &powers[0]);
                let root = (1.0 - &powers[1]).sqrt();
                let shrink = 1.0 - &self.lr * self.weight_decay;
                let new = update(&model, &gradients, |at, p, g| {
                    let (mut p, mut g) = (p.clone(), g.clone());
                    if self.weight_decay != 0.0 && $decoupled {
                        p *= shrink.to_dtype(g.dtype());
                    } else if self.weight_decay != 0.0 {
                        g += &p * self.weight_decay;
                    }
                    let mean = &self.mean[at[0]] * b1 + &g * (1.0 - b1);
                    let square = &self.square[at[0]] * b2 + g.square() * (1.0 - b2);
                    let denominator = square.sqrt() / root.to_dtype(p.dtype()) + self.eps;
                    let new = &p - rate.to_dtype(p.dtype()) * (&mean / denominator);
                    for &i in at {
                        self.mean[i] = mean.clone();
                        self.square[i] = square.clone();
                    }
                    new
                });
                self.powers = powers;
                self.step = &self.step + 1;
                (new, self)
            }
        }
    };
}

adam! {
    /// Adam (Kingma and Ba, 2015); weight decay is added to the gradients.
    Adam "adam" 0.0 decoupled false
}
adam! {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019), 0.01 by default.
    AdamW "adamw" 0.01 decoupled true
}
