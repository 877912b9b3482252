//! Counts of terms: runs of numbers, with gaps, that a list holds.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out};
use crate::tensor::Tensor;
use crate::{DType, Literal, Scalar, extent, stack};

pub(super) const OPS: &[Op] = &[Op::new("TfIdfVectorizer", &[9], counted)];

fn counted(c: &Call) -> Out {
    let x = c.tensor(0)?;
    let shape = x.try_shape()?;
    let Some(pool) = c.list("pool_int64s") else { return Err(c.fail("the terms are texts", "terms of integers")) };
    let (starts, places) = (c.list("ngram_counts").unwrap_or_default(), c.list("ngram_indexes").unwrap_or_default());
    let [shortest, longest, skips] = ["min_gram_length", "max_gram_length", "max_skip_count"].map(|a| c.int(a, 1));
    let rank = shape.rank();
    let width = places.iter().max().map_or(0, |&m| m + 1);
    if !(1..=2).contains(&rank) || width > 1 << 20 || !(0..1 << 10).contains(&skips) || pool.len() > 1 << 16 {
        return Err(c.fail("the terms or their places are too many", "a list, or one for each row"));
    }
    let n = extent(&shape[rank - 1]) as isize;
    // Terms of one length stand together; the number of those before says where theirs begin.
    let mut terms: Vec<&[i64]> = Vec::new();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(pool.len() as i64);
        let part = usize::try_from(start).ok().zip(usize::try_from(end).ok()).and_then(|(a, b)| pool.get(a..b));
        let Some(part) = part else { return Err(c.fail(format!("terms begin at {start}"), "places of the pool")) };
        terms.extend(part.chunks_exact(i + 1));
    }
    if terms.len() != places.len() {
        return Err(c.fail(format!("{} terms have {} places", terms.len(), places.len()), "one for each"));
    }
    let weights = c.floats("weights");
    let rows = if rank == 1 { x.unsqueeze(0) } else { x };
    let none = || (rows.slice(-1, 0..0)).to_dtype(DType::F32).sum(-1);
    let mut columns: Vec<Tensor> = vec![none(); width as usize];
    let mut scales = vec![1.0; width as usize];
    for (i, (term, &place)) in terms.iter().zip(&places).enumerate() {
        let length = term.len() as i64;
        if !(shortest..=longest).contains(&length) {
            continue;
        }
        let Some(column) = usize::try_from(place).ok().and_then(|p| columns.get_mut(p)) else {
            return Err(c.fail(format!("a term has place {place}"), "0 or more"));
        };
        scales[place as usize] = weights.as_ref().and_then(|w| w.get(i)).copied().unwrap_or(1.0);
        // A single number has no gaps.
        for step in 1..=if length == 1 { 1 } else { skips as isize + 1 } {
            let last = (length as isize - 1) * step;
            if last >= n {
                break;
            }
            let here = |k: usize| {
                let at = k as isize * step;
                rows.slice(-1, at..n - last + at).eq(term[k])
            };
            let found = (0..term.len()).map(here).reduce(|a, b| a.logical_and(b)).expect("a term has a number");
            *column = &*column + found.to_dtype(DType::F32).sum(-1);
        }
    }
    if columns.is_empty() {
        return Err(c.fail("there are no terms", "terms"));
    }
    let counts = stack(&columns, -1);
    let scales = Tensor::from_literal(Literal::from_fn(&[scales.len()], DType::F32, |i| Scalar::F32(scales[i] as f32)));
    let y = match c.text("mode", "TF") {
        "TF" => counts,
        "IDF" => counts.gt(0.0).to_dtype(DType::F32) * scales,
        "TFIDF" => counts * scales,
        other => return Err(c.fail(format!("the mode is `{other}`"), "TF, IDF or TFIDF")),
    };
    one(if rank == 1 { y.squeeze(0) } else { y })
}
