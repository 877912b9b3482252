//! Attention and positions that are rotations, of opset 23.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::io::onnx::value::Operand;
use crate::tensor::Tensor;
use crate::{DType, Dim, Shape, concat, extent, keepdims};

pub(super) const OPS: &[Op] = &[Op::new("Attention", &[23], attention), Op::new("RotaryEmbedding", &[23], rotary)];

/// Heads as an axis of their own: [batch, length, heads * size] to [batch, heads, length, size].
fn heads(t: &Tensor, heads: i64) -> Tensor {
    if t.error_ref().is_some() || t.rank() != 3 {
        return t.clone();
    }
    let shape = t.shape();
    let size = shape[2].exact_div(&Dim::from(heads)).unwrap_or(Dim::from(-1));
    t.reshape(Shape::from_iter([shape[0].clone(), shape[1].clone(), heads.into(), size])).transpose(1, 2)
}

/// A mask for so many keys: one that is shorter, and is not the same for all, masks the rest.
fn longer(mask: Tensor, keys: &Dim) -> Result<Tensor, Stop> {
    let shape = mask.try_shape()?;
    let Some(last) = shape.rank().checked_sub(1).filter(|&a| !shape[a].is(1) && shape[a] != *keys) else {
        return Ok(mask);
    };
    let mut ends = vec![(0, 0); shape.rank()];
    ends[last].1 = extent(keys).saturating_sub(extent(&shape[last]));
    Ok(match mask.dtype() {
        DType::Bool => mask.pad(&ends, false),
        _ => mask.pad(&ends, f64::NEG_INFINITY),
    })
}

fn attention(c: &Call) -> Out {
    let (q, k, v) = (c.tensor(0)?, c.tensor(1)?, c.tensor(2)?);
    let past = (c.maybe(4)?, c.maybe(5)?);
    let rank = |t: &Tensor| Ok::<_, Stop>(t.try_shape()?.rank());
    let ranks = [rank(&q)?, rank(&k)?, rank(&v)?];
    if !(3..=4).contains(&ranks[0]) || ranks.iter().any(|&r| r != ranks[0]) {
        let found = ranks.map(|r| r.to_string()).join(", ");
        return Err(c.fail(format!("queries, keys and values of ranks {found}"), "all of rank 3, or all of rank 4"));
    }
    let past = match past {
        (Some(k), Some(v)) if rank(&k)? == 4 && rank(&v)? == 4 => Some((k, v)),
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(c.fail("past keys or values that are not of rank 4", "[batch, heads, length, size]"));
        }
        _ => return Err(c.fail("past keys without values, or values without keys", "both or neither")),
    };
    let flat = ranks[0] == 3;
    let (of_q, of_k) = (c.int("q_num_heads", 0), c.int("kv_num_heads", 0));
    if flat && (of_q < 1 || of_k < 1) {
        return Err(c.fail(format!("{of_q} and {of_k} heads"), "the numbers of heads of tensors of rank 3"));
    }
    let (q, mut k, mut v) = (heads(&q, of_q), heads(&k, of_k), heads(&v, of_k));
    let dtype = q.try_type()?.dtype;
    let before = past.as_ref().map(|(p, _)| p.try_shape().map(|s| s[2].clone())).transpose()?.unwrap_or(Dim::from(0));
    if let Some((past_k, past_v)) = past {
        (k, v) = (concat(&[past_k, k], 2), concat(&[past_v, v], 2));
    }
    let (present_k, present_v) = (k.clone(), v.clone());
    let (sq, sk) = (q.try_shape()?, k.try_shape()?);
    let groups = extent(&sq[1]) / extent(&sk[1]).max(1);
    if groups > 1 {
        (k, v) = (k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1));
    }
    let size = extent(&sq[3]) as f64;
    let scale = c.float("scale", 1.0 / size.sqrt()).sqrt();
    let wide = |t: &Tensor| if dtype.is_half() { t.to_dtype(DType::F32) } else { t.clone() };
    let product = (wide(&q) * scale).matmul(&(wide(&k) * scale).transpose(-1, -2));
    let cap = c.float("softcap", 0.0);
    // Before what is masked, which would become finite by it and count.
    let capped = if cap > 0.0 { (&product / cap).tanh() * cap } else { product.clone() };
    let mut scores = capped.clone();
    // Which keys count, if a mask says so.
    let mut open = None;
    if let Some(mask) = c.maybe(3)? {
        let mask = longer(mask, &sk[2])?;
        (scores, open) = match mask.dtype() {
            DType::Bool => (mask.where_(&scores, f64::NEG_INFINITY), Some(mask)),
            _ => (scores + wide(&mask), Some(mask.ne(f64::NEG_INFINITY))),
        };
    }
    if c.flag("is_causal", false) {
        let shape = scores.try_shape()?;
        let (n, m) = (shape[2].clone(), shape[3].clone());
        let place = |axis| Tensor::iota(Shape::from_iter([n.clone(), m.clone()]), axis, DType::I64);
        let now = place(0) + super::dim_scalar(&before, DType::I64);
        let past = place(1).le(now);
        scores = past.where_(&scores, f64::NEG_INFINITY);
        open = open.map(|open| open.logical_and(past));
    }
    let masked = scores.clone();
    let precise = c.dtype("softmax_precision")?;
    let softmax = |t: &Tensor| match precise {
        Some(precise) => t.to_dtype(precise).softmax(-1).to_dtype(t.dtype()),
        None => t.softmax(-1),
    };
    let shares = match open {
        // A row without any has no shares.
        Some(open) => {
            let some = open.any(keepdims(-1));
            some.where_(softmax(&some.where_(&scores, 0.0)), 0.0)
        }
        None => softmax(&scores),
    };
    let y = shares.matmul(&wide(&v)).to_dtype(dtype);
    let y = match flat {
        true => {
            let s = y.try_shape()?;
            y.transpose(1, 2).reshape(Shape::from_iter([s[0].clone(), s[2].clone(), &s[1] * &s[3]]))
        }
        false => y,
    };
    let seen = match c.int("qk_matmul_output_mode", 0) {
        0 => product,
        1 => capped,
        2 => masked,
        _ => shares,
    };
    Ok([y, present_k, present_v, seen.to_dtype(dtype)].into_iter().map(Operand::Tensor).collect())
}

fn rotary(c: &Call) -> Out {
    let (x, cosines, sines) = (c.tensor(0)?, c.tensor(1)?, c.tensor(2)?);
    let given = x.try_shape()?;
    if !(3..=4).contains(&given.rank()) {
        return Err(c.fail(format!("positions of rank {}", given.rank()), "rank 3 or 4"));
    }
    // Of positions that are looked up, or of each place of each example.
    let tables = if c.has(3) { 2 } else { 3 };
    for table in [&cosines, &sines] {
        let rank = table.try_shape()?.rank();
        if rank != tables {
            return Err(c.fail(format!("a table of rank {rank}"), format!("rank {tables}")));
        }
    }
    let count = c.int("num_heads", 0);
    if given.rank() == 3 && count < 1 {
        return Err(c.fail(format!("{count} heads"), "the number of heads of a tensor of rank 3"));
    }
    // [batch, heads, length, size]
    let x = heads(&x, count);
    let size = extent(&x.try_shape()?[3]) as isize;
    let turned = match c.int("rotary_embedding_dim", 0) as isize {
        0 => size,
        n => n,
    };
    if turned > size || turned < 0 || turned % 2 != 0 {
        return Err(c.fail(format!("{turned} of {size} places are turned"), "an even number of places that there are"));
    }
    let of = |table: &Tensor| -> Result<Tensor, Stop> {
        let table = match c.maybe(3)? {
            Some(places) => table.take(&places, 0),
            None => table.clone(),
        };
        Ok(table.slice(-1, 0..turned / 2).unsqueeze(1))
    };
    let (cosines, sines) = (of(&cosines)?, of(&sines)?);
    let (moving, rest) = (x.slice(3, 0..turned), x.slice(3, turned..));
    let interleaved = c.flag("interleaved", false);
    let (a, b) = match interleaved {
        true => (moving.slice_step(3, 0.., 2), moving.slice_step(3, 1.., 2)),
        false => (moving.slice(3, 0..turned / 2), moving.slice(3, turned / 2..)),
    };
    let (re, im) = (&a * &cosines - &b * &sines, &a * &sines + &b * &cosines);
    let moved = match interleaved {
        true => concat(&[re.unsqueeze(-1), im.unsqueeze(-1)], -1).flatten(3, 4),
        false => concat(&[re, im], 3),
    };
    let y = concat(&[moved, rest], 3);
    one(if given.rank() == 3 { y.transpose(1, 2).reshape(given) } else { y })
}
