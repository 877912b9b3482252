//! Lists of tensors, and values that may be absent. How many there are is known while tracing.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Stop};
use crate::io::onnx::value::{Operand, integer};
use crate::tensor::Tensor;
use crate::{DType, Dim, concat, extent, stack};

pub(super) const OPS: &[Op] = &[
    Op::new("SequenceConstruct", &[11], |c| Ok(vec![Operand::Sequence(c.inputs.clone())])).recorded(),
    Op::new("SequenceEmpty", &[11], |_| Ok(vec![Operand::Sequence(Vec::new())])).recorded(),
    Op::new("SequenceAt", &[11], |c| {
        let mut items = items(c, 0)?;
        let at = place(c, 1, items.len())?;
        if at >= items.len() {
            return Err(c.fail(format!("there are {} parts", items.len()), "the place of one"));
        }
        Ok(vec![items.swap_remove(at)])
    })
    .recorded(),
    Op::new("SequenceInsert", &[11], |c| {
        let mut items = items(c, 0)?;
        let at = if c.has(2) { place(c, 2, items.len())? } else { items.len() };
        items.insert(at, c.inputs.get(1).cloned().unwrap_or(Operand::Nothing));
        Ok(vec![Operand::Sequence(items)])
    })
    .recorded(),
    Op::new("SequenceErase", &[11], |c| {
        let mut items = items(c, 0)?;
        let at = if c.has(1) { place(c, 1, items.len())? } else { items.len().saturating_sub(1) };
        if at >= items.len() {
            return Err(c.fail(format!("there are {} parts", items.len()), "the place of one"));
        }
        items.remove(at);
        Ok(vec![Operand::Sequence(items)])
    })
    .recorded(),
    Op::new("SequenceLength", &[11], |c| Ok(vec![count(items(c, 0)?.len())])).recorded(),
    Op::new("SplitToSequence", &[11], |c| {
        let x = c.tensor(0)?;
        let shape = x.try_shape()?;
        let axis = c.axis(c.int("axis", 0), shape.rank())?;
        let n = extent(&shape[axis]);
        let split = if c.has(1) { Some(c.literal(1)?) } else { None };
        let sizes: Vec<i64> = match &split {
            Some(sizes) if sizes.rank() == 0 => {
                let size = integer(sizes.get(0)).max(1);
                (0..n as i64).step_by(size as usize).map(|at| size.min(n as i64 - at)).collect()
            }
            Some(sizes) => sizes.iter().map(integer).collect(),
            None => vec![1; n],
        };
        let sizes: Option<Vec<usize>> = sizes.iter().map(|&n| usize::try_from(n).ok()).collect();
        let sizes = sizes.ok_or_else(|| c.fail("a part has a negative extent", "0 or more"))?;
        let drop = split.is_none() && !c.flag("keepdims", true);
        let parts = x.split(&sizes, axis as isize)?;
        let parts = parts.into_iter().map(|t| Operand::Tensor(if drop { t.squeeze(axis as isize) } else { t }));
        Ok(vec![Operand::Sequence(parts.collect())])
    }),
    Op::new("ConcatFromSequence", &[11], |c| {
        let parts: Option<Vec<Tensor>> = items(c, 0)?.iter().map(Operand::tensor).collect();
        let parts = parts.ok_or_else(|| c.fail("a part is no tensor", "tensors"))?;
        let axis = c.int("axis", 0) as isize;
        one(if c.flag("new_axis", false) { stack(&parts, axis) } else { concat(&parts, axis) })
    }),
    Op::new("SequenceMap", &[17], |c| {
        let body = c.body("body")?;
        let first = items(c, 0)?;
        let mut results: Vec<Vec<Operand>> = vec![Vec::new(); body.outputs.len()];
        for (i, item) in first.iter().enumerate() {
            let mut frame = c.frame.body(body, c.eager);
            for (k, port) in body.inputs.iter().enumerate() {
                let value = match c.inputs.get(k) {
                    _ if k == 0 => item.clone(),
                    Some(Operand::Sequence(others)) => {
                        others.get(i).cloned().ok_or_else(|| c.fail("sequences differ in length", "equal lengths"))?
                    }
                    Some(other) => other.clone(),
                    None => Operand::Nothing,
                };
                frame.values.insert(port.name.clone(), value);
            }
            results.iter_mut().zip(frame.finish()?).for_each(|(list, value)| list.push(value));
        }
        Ok(results.into_iter().map(Operand::Sequence).collect())
    })
    .recorded(),
    Op::new("Optional", &[15], |c| {
        let value = c.inputs.first().filter(|v| !matches!(v, Operand::Nothing));
        Ok(vec![Operand::Optional(value.map(|v| Box::new(v.clone())))])
    })
    .recorded(),
    Op::new("OptionalHasElement", &[15, 18], |c| {
        let there = !matches!(c.inputs.first(), None | Some(Operand::Nothing | Operand::Optional(None)));
        let truth =
            crate::io::onnx::value::Ints { dtype: DType::Bool, shape: Vec::new(), dims: vec![(there as i64).into()] };
        Ok(vec![Operand::Ints(truth)])
    })
    .recorded(),
    Op::new("OptionalGetElement", &[15, 18], |c| match c.inputs.first() {
        Some(Operand::Optional(Some(v))) => Ok(vec![(**v).clone()]),
        None | Some(Operand::Nothing | Operand::Optional(None)) => Err(c.fail("there is no value", "a value")),
        Some(v) => Ok(vec![v.clone()]),
    })
    .recorded(),
];

fn count(n: usize) -> Operand {
    let dims = vec![Dim::from(n)];
    Operand::Ints(crate::io::onnx::value::Ints { dtype: DType::I64, shape: Vec::new(), dims })
}

fn items(c: &Call, i: usize) -> Result<Vec<Operand>, Stop> {
    match c.inputs.get(i) {
        Some(Operand::Sequence(items)) => Ok(items.clone()),
        Some(Operand::Optional(Some(v))) => match &**v {
            Operand::Sequence(items) => Ok(items.clone()),
            _ => Err(c.fail(format!("operand {i} is no sequence"), "a sequence")),
        },
        _ => Err(c.fail(format!("operand {i} is no sequence"), "a sequence")),
    }
}

/// A place in a list, counted from its end if negative.
fn place(c: &Call, i: usize, n: usize) -> Result<usize, Stop> {
    let at = integer(c.scalar(i)?);
    let from_front = if at < 0 { at + n as i64 } else { at };
    match usize::try_from(from_front) {
        Ok(at) if at <= n => Ok(at),
        _ => Err(c.fail(format!("place {at} of {n}"), "a place that there is")),
    }
}
