//! Comparing outputs as the suite's own runner does: dtypes and shapes are equal, elements close.

use tracewright::io::onnx::Value;
use tracewright::{DType, Scalar, Tensor};

/// |found - expected| is at most this, plus this much of |expected|.
const CLOSE: [f64; 2] = [1e-7, 1e-3];

/// Cases whose outputs are random: what is compared is their types.
const RANDOM: &[&str] = &["test_bernoulli", "test_training_dropout"];

pub fn differences(case: &str, found: &Value, expected: &Value) -> Result<(), String> {
    match (found, expected) {
        (Value::Tensor(a), Value::Tensor(b)) => tensors(case, a, b),
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .try_for_each(|(i, (a, b))| differences(case, a, b).map_err(|e| format!("part {i}: {e}"))),
        (Value::Sequence(a), Value::Sequence(b)) => Err(format!("{} parts, expected {}", a.len(), b.len())),
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => differences(case, a, b),
        (Value::Optional(None), Value::Optional(None)) => Ok(()),
        (a, Value::Optional(Some(b))) => differences(case, a, b),
        _ => Err("a tensor for a sequence, or nothing for a value".into()),
    }
}

fn tensors(case: &str, found: &Tensor, expected: &Tensor) -> Result<(), String> {
    let (ty, wanted) = (found.try_type().map_err(|e| e.to_string())?, expected.try_type().map_err(|e| e.to_string())?);
    if ty != wanted {
        return Err(format!("type {ty}, expected {wanted}"));
    }
    let (a, b) = (found.to_literal().map_err(|e| e.to_string())?, expected.to_literal().map_err(|e| e.to_string())?);
    if RANDOM.iter().any(|r| case.starts_with(r)) {
        return Ok(());
    }
    let float = |s: Scalar| match s.convert(DType::F64) {
        Scalar::F64(x) => x,
        _ => f64::NAN,
    };
    let differs = |i: &usize| {
        let (x, y) = (float(a.get(*i)), float(b.get(*i)));
        let close = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= CLOSE[0] + CLOSE[1] * y.abs();
        !close
    };
    match (0..a.numel()).find(differs) {
        Some(i) => Err(format!("element {i} is {}, expected {}", a.get(i), b.get(i))),
        None => Ok(()),
    }
}
