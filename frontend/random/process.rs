//! Draws from the generator of the process, as in PyTorch. They can be used in traces too.

use super::generator::Generator;
use super::{continuous, order};
use crate::device;
use crate::dispatch::enter;
use crate::error::Result;
use crate::ops::Arg;
use crate::tensor::Tensor;
use ir::Shape;

/// Seeds the generator of the process. In a trace, the compiled function does so at each call.
///
/// ```
/// use tracewright::{manual_seed, rand};
/// manual_seed(3)?;
/// let first = rand([2]).to_vec::<f32>()?;
/// manual_seed(3)?;
/// assert_eq!(rand([2]).to_vec::<f32>()?, first);
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If the trace in which it is called cannot write cells.
#[track_caller]
pub fn manual_seed(seed: u64) -> Result<()> {
    let _here = enter();
    Generator::default().seed(seed)
}

/// Uniform f32 numbers in `0..1`.
///
/// ```
/// assert!(tracewright::rand([100]).max(0).item::<f32>()? < 1.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn rand(shape: impl Into<Shape>) -> Tensor {
    let _here = enter();
    Generator::default().uniform(shape, 0.0, 1.0)
}

/// Standard normal f32 numbers.
///
/// ```
/// assert!(tracewright::randn([1000]).mean(0).item::<f32>()?.abs() < 0.2);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn randn(shape: impl Into<Shape>) -> Tensor {
    let _here = enter();
    Generator::default().normal(shape, 0.0, 1.0)
}

/// Uniform numbers in `0..1` of the shape and dtype of a float tensor.
///
/// ```
/// # use tracewright::{DType, Tensor, rand_like};
/// assert_eq!(rand_like(&Tensor::zeros([2, 3], DType::F64)).try_type()?.to_string(), "f64[2, 3]");
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn rand_like(like: &Tensor) -> Tensor {
    let _here = enter();
    device::among([like], || continuous::uniform_like(&Generator::default().key(), like, 0.0, 1.0))
}

/// Standard normal numbers of the shape and dtype of a float tensor.
///
/// ```
/// # use tracewright::{DType, Tensor, randn_like};
/// assert_eq!(randn_like(&Tensor::zeros([2, 3], DType::BF16)).try_type()?.to_string(), "bf16[2, 3]");
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn randn_like(like: &Tensor) -> Tensor {
    let _here = enter();
    device::among([like], || continuous::normal_like(&Generator::default().key(), like, 0.0, 1.0))
}

/// Integers (i64) from `low` to below `high`.
///
/// ```
/// assert!(tracewright::randint([100], 0, 6).max(0).item::<i64>()? <= 5);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn randint(shape: impl Into<Shape>, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
    let _here = enter();
    Generator::default().integers(shape, low, high)
}

/// The numbers (i64) below `n` in random order.
///
/// ```
/// assert_eq!(tracewright::randperm(3).sum(0).item::<i64>()?, 3);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn randperm(n: usize) -> Tensor {
    let _here = enter();
    order::permutation(&Generator::default().key(), n)
}
