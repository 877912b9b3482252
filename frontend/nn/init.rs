//! Initial values of parameters.

use crate::random::Generator;
use crate::tensor::Tensor;
use ir::Shape;

/// The numbers of inputs and outputs of a weight of shape `[outputs, inputs, ..]`.
fn fans(shape: &Shape) -> (usize, usize) {
    let known = shape.known().unwrap_or_default();
    let receptive: usize = known.iter().skip(2).product();
    let at = |i: usize| known.get(i).copied().unwrap_or(1) * receptive;
    (at(1), at(0))
}

/// Uniform in ±`gain * sqrt(3 / inputs)`, for weights of shape `[outputs, inputs, ..]` (He et al., 2015).
///
/// ```
/// use tracewright::{Generator, nn};
/// let w = nn::kaiming_uniform([8, 3], 1.0, &Generator::new(0)); // within ±1
/// assert!(w.abs().max(..).item::<f32>()? <= 1.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn kaiming_uniform(shape: impl Into<Shape>, gain: f32, generator: &Generator) -> Tensor {
    let shape = shape.into();
    let bound = gain * (3.0 / fans(&shape).0.max(1) as f32).sqrt();
    generator.uniform(shape, -bound, bound)
}

/// Uniform in ±`gain * sqrt(6 / (inputs + outputs))`, for weights of shape `[outputs, inputs, ..]` (Glorot and
/// Bengio, 2010).
///
/// ```
/// use tracewright::{Generator, nn};
/// let w = nn::xavier_uniform([3, 3], 1.0, &Generator::new(0)); // within ±1
/// assert!(w.abs().max(..).item::<f32>()? <= 1.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn xavier_uniform(shape: impl Into<Shape>, gain: f32, generator: &Generator) -> Tensor {
    let shape = shape.into();
    let (inputs, outputs) = fans(&shape);
    let bound = gain * (6.0 / (inputs + outputs).max(1) as f32).sqrt();
    generator.uniform(shape, -bound, bound)
}
