//! Cross entropy and other losses of scores by class; all are means over everything. Here is also what the other losses stand on.

use crate::dispatch::{Call, Extents, checked, enter, refuse, run};
use crate::error::{Code, Error};
use crate::ops::prim;
use crate::promote;
use crate::tensor::Tensor;

/// Checks scores `[.., classes]` against class indices `[..]`.
fn check(name: &'static str, scores: &Tensor, targets: &Tensor) -> Result<(), Error> {
    let (s, t) = (scores.shape(), targets.shape());
    if !targets.dtype().is_int() {
        let rule = format!("the targets have dtype {}", targets.dtype());
        return Err(Error::new(Code::DType, name, rule, "class indices, which are integers"));
    }
    if s.rank() == 0 || s[..s.rank() - 1] != t[..] {
        let rule = format!("scores and targets have shapes {s} and {t}");
        return Err(Error::new(
            Code::Shape,
            name,
            rule,
            "the targets have the shape of the scores without the last axis",
        ));
    }
    if s[s.rank() - 1].is(0) {
        return Err(Error::new(Code::Empty, name, "there are no classes", "a last axis with elements"));
    }
    Ok(())
}

pub(super) fn bits(numbers: &[f64]) -> Vec<i64> {
    numbers.iter().map(|x| x.to_bits() as i64).collect()
}

/// The mean over everything of what a body makes of tensors of one shape; it reads no numbers but those given.
#[track_caller]
pub(super) fn averaged(
    name: &'static str,
    operands: &[&Tensor],
    numbers: &[f64],
    body: &dyn Fn(&[Tensor]) -> Tensor,
) -> Tensor {
    checked(operands, || {
        let shape = operands[0].shape();
        if let Some(other) = operands.iter().find(|t| t.shape() != shape) {
            let rule = format!("the shapes are {shape} and {}", other.shape());
            return Err(Error::new(Code::Shape, name, rule, "one shape"));
        }
        Ok(run(Call::composed(name, &bits(numbers), Extents::Symbolic), operands, &|t| {
            let common = t.iter().map(Tensor::dtype).reduce(promote::promote).expect("there is an operand");
            let dtype = promote::float(common);
            // Rounded once, at the end.
            let wide: Vec<Tensor> = t.iter().map(|t| prim::cast(t, dtype.accumulator())).collect();
            prim::cast(&body(&wide).mean(..), dtype)
        }))
    })
}

#[track_caller]
pub(super) fn loss(
    name: &'static str,
    numbers: &[f64],
    scores: &Tensor,
    targets: &Tensor,
    body: &dyn Fn(&Tensor, &Tensor) -> Tensor,
) -> Tensor {
    let operands = [scores, targets];
    if let Some(t) = operands.into_iter().find(|t| t.error_ref().is_some()) {
        return t.clone();
    }
    if let Err(e) = check(name, scores, targets) {
        return refuse(e, &operands);
    }
    run(Call::composed(name, &bits(numbers), Extents::Symbolic), &operands, &|t| {
        let dtype = promote::float(t[0].dtype());
        // Rounded once, at the end.
        prim::cast(&body(&prim::cast(&t[0], dtype.accumulator()), &t[1].unsqueeze(-1)), dtype)
    })
}

/// The mean over all rows of `-log softmax(logits)[target]`; `logits` has shape `[.., classes]`, `targets` are class
/// indices of shape `[..]`. A target out of range is an error of the call.
///
/// ```
/// use tracewright::{DType, Tensor, nn};
/// let loss = nn::cross_entropy(&Tensor::zeros([2, 4], DType::F32), &Tensor::from([0i64, 3]));
/// assert!((loss.item::<f32>()? - 4.0f32.ln()).abs() < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    let _here = enter();
    loss("cross_entropy", &[], logits, targets, &|x, i| (x.logsumexp(-1) - x.take_along(i, -1).squeeze(-1)).mean(..))
}

/// The mean over all rows of `-log_probabilities[target]`, shapes as in [`cross_entropy`].
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::nll_loss(&Tensor::from([[-0.5f32, -1.0]]), &Tensor::from([1i64]));
/// assert_eq!(loss.item::<f32>()?, 1.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn nll_loss(log_probabilities: &Tensor, targets: &Tensor) -> Tensor {
    let _here = enter();
    loss("nll_loss", &[], log_probabilities, targets, &|x, i| -x.take_along(i, -1).mean(..))
}
