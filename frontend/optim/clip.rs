//! Gradient clipping.

use crate::dispatch::enter;
use crate::promote::Number;
use crate::scope;
use crate::tensor::Tensor;
use crate::tree::Tree;
use ir::DType;
use std::collections::HashSet;

/// Scales gradients so that the root of the sum of all their squares is at most `max_norm`; yields them and the norm
/// before, an f32 scalar, or f64 if a gradient is. A tensor at several places counts once.
///
/// ```
/// use tracewright::{Tensor, optim};
/// let (clipped, norm) = optim::clip_grad_norm(Tensor::from([3.0f32, 4.0]), 1.0);
/// assert_eq!(norm.item::<f32>()?, 5.0);
/// assert!((clipped.to_vec::<f32>()?[0] - 0.6).abs() < 1e-5);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn clip_grad_norm<M: Tree>(gradients: M, max_norm: impl Into<Number>) -> (M, Tensor) {
    let _here = enter();
    let _scope = scope::enter("clip_grad_norm");
    let limit = match max_norm.into() {
        Number::Float(x) => x,
        Number::Int(x) => x as f64,
        Number::Bool(x) => x as u8 as f64,
    };
    let mut seen = HashSet::new();
    let leaves = gradients.leaves();
    let distinct = leaves.iter().filter(|(_, t)| t.identity().is_none_or(|id| seen.insert(id)));
    let floats = distinct.filter(|(_, t)| t.error_ref().is_some() || t.dtype().is_float());
    let double = leaves.iter().any(|(_, t)| t.error_ref().is_none() && t.dtype() == DType::F64);
    let dtype = if double { DType::F64 } else { DType::F32 };
    let squares = floats.map(|(_, t)| t.to_dtype(dtype).square().sum(..)).reduce(|a, b| a + b);
    let norm = squares.unwrap_or_else(|| Tensor::from(0.0f32)).sqrt();
    let scale = (limit / (&norm + 1e-6)).minimum(1.0);
    let clipped = gradients.map(&mut |t| match t.error_ref() {
        None if t.dtype().is_float() => t * scale.to_dtype(t.dtype()),
        _ => t.clone(),
    });
    (clipped, norm)
}
