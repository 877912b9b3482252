//! Dropout layers.

use crate::dispatch::enter;
use crate::random::{self, Generator, Key};
use crate::tensor::Tensor;
use crate::tree::Tree;

/// [`random::dropout`] by the generator of the process while `training`, else the tensor as it is.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let x = Tensor::from([1.0f32, 2.0]);
/// assert_eq!(nn::dropout(&x, 0.5, false).to_vec::<f32>()?, [1.0, 2.0]);
/// assert_eq!(nn::dropout(&x, 1.0, true).to_vec::<f32>()?, [0.0, 0.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn dropout(x: &Tensor, probability: f64, training: bool) -> Tensor {
    let _here = enter();
    layer(random::dropout, x, probability, training, &Generator::default())
}

#[track_caller]
fn layer(
    drop: fn(&Key, &Tensor, f64) -> Tensor,
    x: &Tensor,
    probability: f64,
    training: bool,
    generator: &Generator,
) -> Tensor {
    // What needs no numbers takes none.
    if training && probability != 0.0 { drop(&generator.key(), x, probability) } else { x.clone() }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident => $drop:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Tree, Clone, Debug)]
        pub struct $name {
            /// The probability to be dropped.
            pub probability: f64,
            /// Whether anything is dropped. It is fixed in a compiled function, which is traced anew where it changes.
            pub training: bool,
            /// Where random numbers come from.
            pub generator: Generator,
        }

        impl $name {
            /// In training, with the generator of the process.
            pub fn new(probability: f64) -> $name {
                $name { probability, training: true, generator: Generator::default() }
            }

            /// The same with another generator.
            pub fn with_generator(self, generator: &Generator) -> $name {
                $name { generator: generator.clone(), ..self }
            }

            /// The layer applied to `x`.
            #[track_caller]
            pub fn forward(&self, x: &Tensor) -> Tensor {
                let _here = enter();
                layer($drop, x, self.probability, self.training, &self.generator)
            }
        }
    )* };
}
layers! {
    /// Drops single elements while in training; see [`random::dropout`].
    ///
    /// ```
    /// use tracewright::{DType, Generator, Tensor, nn};
    /// let mut layer = nn::Dropout::new(0.5).with_generator(&Generator::new(0));
    /// let x = Tensor::ones([100], DType::F32);
    /// assert_ne!(layer.forward(&x).to_vec::<f32>()?, layer.forward(&x).to_vec::<f32>()?);
    /// layer.training = false;
    /// assert_eq!(layer.forward(&x).to_vec::<f32>()?, vec![1.0; 100]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    Dropout => random::dropout;
    /// Drops whole features while in training; see [`random::feature_dropout`].
    ///
    /// ```
    /// use tracewright::{DType, Tensor, nn};
    /// let y = nn::FeatureDropout::new(0.5).forward(&Tensor::ones([1, 4, 2, 2], DType::F32));
    /// assert!(y.reshape([4, 4]).sum(1).to_vec::<f32>()?.iter().all(|&sum| sum == 0.0 || sum == 8.0));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    FeatureDropout => random::feature_dropout;
    /// Dropout for networks of SELU units while in training; see [`random::alpha_dropout`].
    ///
    /// ```
    /// use tracewright::{nn, randn};
    /// let y = nn::AlphaDropout::new(0.2).forward(&randn([4000]));
    /// assert!((y.var(0, 0).item::<f32>()? - 1.0).abs() < 0.15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    AlphaDropout => random::alpha_dropout;
    /// Drops whole features of networks of SELU units while in training; see [`random::feature_alpha_dropout`].
    FeatureAlphaDropout => random::feature_alpha_dropout;
}
