//! Losses.

use super::{Op, one};
use crate::DType;
use crate::io::onnx::evaluate::{Call, Stop};
use crate::io::onnx::graph::Attribute;
use crate::io::onnx::value::Operand;
use crate::tensor::Tensor;

pub(super) const OPS: &[Op] = &[
    Op::new("NegativeLogLikelihoodLoss", &[12, 13, 22], |c| {
        let (x, targets) = (c.tensor(0)?, c.tensor(1)?);
        one(likelihood(c, &x, &targets, c.maybe(2)?)?)
    }),
    Op::new("SoftmaxCrossEntropyLoss", &[12, 13], |c| {
        let (x, targets) = (c.tensor(0)?, c.tensor(1)?);
        let logs = x.log_softmax(1);
        let loss = likelihood(c, &logs, &targets, c.maybe(2)?)?;
        Ok(vec![Operand::Tensor(loss), Operand::Tensor(logs)])
    }),
];

/// The mean, sum or all of the negative logarithms of the targets' probabilities, along axis 1.
fn likelihood(c: &Call, logs: &Tensor, targets: &Tensor, weights: Option<Tensor>) -> Result<Tensor, Stop> {
    let ty = logs.try_type()?;
    if ty.rank() < 2 {
        return Err(c.fail("there is no axis of classes", "rank 2 or more"));
    }
    let targets = targets.to_dtype(DType::I64);
    let ignored = match c.attribute("ignore_index") {
        Some(Attribute::Int(n)) => Some(targets.eq(*n)),
        _ => None,
    };
    let safe = match &ignored {
        Some(ignored) => ignored.where_(0i64, &targets),
        None => targets,
    };
    let picked = -logs.take_along(&safe.unsqueeze(1), 1).squeeze(1);
    let reduction = c.choice("reduction", &["mean", "sum", "none"])?;
    let weight = weights.as_ref().map(|w| w.take(&safe, 0));
    let weight = match (weight, &ignored) {
        (Some(w), Some(ignored)) => Some(ignored.where_(0.0, w)),
        (None, Some(ignored)) => Some(ignored.logical_not().to_dtype(ty.dtype)),
        (w, None) => w,
    };
    let loss = match &weight {
        Some(w) => picked * w,
        None => picked,
    };
    Ok(match (reduction, &weight) {
        ("none", _) => loss,
        ("sum", _) => loss.sum(..),
        (_, Some(w)) => loss.sum(..) / w.sum(..),
        (_, None) => loss.mean(..),
    })
}
