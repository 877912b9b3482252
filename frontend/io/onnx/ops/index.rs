//! Ops at computed indices: gather, scatter, select, sort.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::io::onnx::value::{Ints, Operand, float, integer};
use crate::ops::prim;
use crate::tensor::Tensor;
use crate::{DType, Dim, Merge, Scalar, Shape, Update, extent};

pub(super) const OPS: &[Op] = &[
    Op::new("Gather", &[1, 11, 13], |c| {
        let x = c.tensor(0)?;
        let shape = x.try_shape()?;
        let axis = c.axis(c.int("axis", 0), shape.rank())?;
        one(x.take(&from_front(&c.tensor(1)?, &shape[axis]), axis as isize))
    })
    .host(|c, v| {
        let [Some(x), Some(at)] = v else { return None };
        if x.shape.len() != 1 || !matches!(c.int("axis", 0), 0 | -1) {
            return None;
        }
        let n = x.dims.len() as i64;
        let place = |i: i64| usize::try_from(if i < 0 { i + n } else { i }).ok().filter(|&i| i < x.dims.len());
        let dims = at.known()?.into_iter().map(|i| Some(x.dims[place(i)?].clone())).collect::<Option<_>>()?;
        Some(Ints { dtype: x.dtype, shape: at.shape.clone(), dims })
    }),
    Op::new("GatherElements", &[11, 13], |c| {
        let (mut x, at) = (c.tensor(0)?, c.tensor(1)?);
        let (shape, places) = (x.try_shape()?, at.try_shape()?);
        let axis = c.axis(c.int("axis", 0), shape.rank())?;
        if places.rank() != shape.rank() {
            return Err(c.fail("the indices have another rank", "indices of the rank of the tensor"));
        }
        // Indices may leave out what lies at the end of other axes.
        for a in (0..shape.rank()).filter(|&a| a != axis && shape[a] != places[a]) {
            x = x.slice(a as isize, 0..extent(&places[a]) as isize);
        }
        one(x.take_along(&from_front(&at, &shape[axis]), axis as isize))
    }),
    Op::new("GatherND", &[11, 12, 13], |c| {
        let (x, at) = (c.tensor(0)?, c.tensor(1)?);
        let (shape, places) = (x.try_shape()?, at.try_shape()?);
        let batch = usize::try_from(c.int("batch_dims", 0)).unwrap_or(usize::MAX);
        let k = places.last().map(extent).unwrap_or(0);
        if places.rank() <= batch || k == 0 || batch.saturating_add(k) > shape.rank() {
            return Err(c.fail("the indices do not fit the tensor", "indices of some of its axes"));
        }
        let (flat, many) = flat_places(&at, &shape, batch, k);
        let rest: Shape = shape[batch + k..].iter().cloned().collect();
        let all = product(&shape[..batch + k]);
        let merged = x.reshape(Shape::from_iter([all].into_iter().chain(rest.iter().cloned())));
        let taken = merged.take(&flat, 0);
        one(taken.reshape(Shape::from_iter(many.iter().cloned().chain(rest.iter().cloned()))))
    }),
    Op::new("Scatter", &[9, 11], scatter_elements),
    Op::new("ScatterElements", &[11, 13, 16, 18], scatter_elements),
    Op::new("ScatterND", &[11, 13, 16, 18], |c| {
        let (x, at, updates) = (c.tensor(0)?, c.tensor(1)?, c.tensor(2)?);
        let (shape, places) = (x.try_shape()?, at.try_shape()?);
        let k = places.last().map(extent).unwrap_or(0);
        if k == 0 || k > shape.rank() {
            return Err(c.fail("the indices do not fit the tensor", "indices of some of its axes"));
        }
        let (flat, _) = flat_places(&at, &shape, 0, k);
        let rest = &shape[k..];
        let merged = |lead: Dim| Shape::from_iter([lead].into_iter().chain(rest.iter().cloned()));
        let n = flat.try_shape()?[0].clone();
        let into = x.reshape(merged(product(&shape[..k])));
        let updates = updates.reshape(merged(n));
        let done = match how(c)? {
            None => into.index_copy(0, &flat, &updates),
            Some(how) => into.index_reduce(0, &flat, &updates, how),
        };
        one(done.reshape(shape))
    }),
    Op::new("OneHot", &[9, 11], |c| {
        let (at, values) = (c.tensor(0)?, c.tensor(2)?);
        let depth = float(c.scalar(1)?) as i64;
        if depth < 0 {
            return Err(c.fail(format!("the depth is {depth}"), "0 or more"));
        }
        let rank = at.try_shape()?.rank();
        let axis = c.axis(c.int("axis", -1), rank + 1)?;
        let at = from_front(&at.to_dtype(DType::I64), &Dim::from(depth)).unsqueeze(axis as isize);
        let mut classes = vec![1usize; rank + 1];
        classes[axis] = depth as usize;
        let classes = Tensor::arange(depth as usize, DType::I64).reshape(classes.as_slice());
        one(at.eq(classes).where_(values.select(0, 1), values.select(0, 0)))
    })
    .recorded(),
    Op::new("ReverseSequence", &[10], |c| {
        let (x, lengths) = (c.tensor(0)?, c.tensor(1)?);
        let shape = x.try_shape()?;
        let rank = shape.rank();
        let (batch, time) = (c.axis(c.int("batch_axis", 1), rank)?, c.axis(c.int("time_axis", 0), rank)?);
        let mut along = vec![1usize; rank];
        let steps = prim_iota(&shape, time);
        along[batch] = extent(&shape[batch]);
        let lengths = lengths.to_dtype(DType::I64).reshape(along.as_slice());
        let at = steps.lt(&lengths).where_(&lengths - 1 - &steps, &steps);
        one(x.take_along(&at.broadcast_to(shape), time as isize))
    }),
    Op::new("TopK", &[1, 10, 11], |c| {
        let x = c.tensor(0)?;
        let rank = x.try_shape()?.rank();
        let axis = c.axis(c.int("axis", -1), rank)? as isize;
        let k = if c.version() < 10 { c.int("k", 1) } else { integer(c.scalar(1)?) };
        let Ok(k) = usize::try_from(k) else { return Err(c.fail(format!("k is {k}"), "0 or more")) };
        let (values, at) = x.topk(k, axis, c.flag("largest", true));
        Ok(vec![values.into(), at.to_dtype(DType::I64).into()])
    }),
    Op::new("NonZero", &[9, 13], |c| {
        apart(c)?;
        one(c.tensor(0)?.nonzero()?.t())
    }),
    Op::new("Compress", &[9, 11], |c| {
        let kept = apart(c).and_then(|_| c.literal(1))?;
        let x = c.tensor(0)?;
        let (x, axis) = match c.attribute("axis") {
            Some(_) => {
                let axis = c.axis(c.int("axis", 0), x.try_shape()?.rank())?;
                (x, axis)
            }
            None => (x.reshape(Shape::from_iter([x.try_shape()?.numel()])), 0),
        };
        let at: Vec<i64> = (0..kept.numel() as i64).filter(|&i| integer(kept.get(i as usize)) != 0).collect();
        one(x.take(&Tensor::from(at), axis as isize))
    }),
    Op::new("Unique", &[11], unique),
    Op::new("NonMaxSuppression", &[10, 11], non_max_suppression),
];

/// The index along an axis at every place of a shape.
fn prim_iota(shape: &Shape, axis: usize) -> Tensor {
    let mut single: Vec<Dim> = vec![Dim::from(1); shape.rank()];
    single[axis] = shape[axis].clone();
    Tensor::iota(Shape::from_iter(single), axis, DType::I64)
}

fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::from(1), |n, d| n * d)
}

/// Ops whose results have shapes that depend on values run where these are known.
fn apart(c: &Call) -> Result<(), Stop> {
    if c.eager { Ok(()) } else { Err(Stop::Apart) }
}

/// An extent as a tensor or a number of that dtype.
fn plus_extent(x: Tensor, n: &Dim) -> Tensor {
    match n.known() {
        Some(n) => x + n,
        None => {
            let dtype = x.dtype();
            x + prim::extent(n).to_dtype(dtype)
        }
    }
}

/// Indices counted from the front; what is out of range stays as it is, to be named when it is read.
fn from_front(at: &Tensor, extent: &Dim) -> Tensor {
    if at.error_ref().is_some() || at.dtype().is_unsigned() {
        return at.clone();
    }
    let at = at.to_dtype(DType::I64);
    let front = plus_extent(at.clone(), extent);
    at.lt(0).logical_and(front.ge(0)).where_(front, &at)
}

/// Indices of several axes as one index of these axes merged, with the shape that they have without their last axis.
fn flat_places(at: &Tensor, shape: &Shape, batch: usize, k: usize) -> (Tensor, Shape) {
    let places = at.shape();
    let many: Shape = places[..places.rank() - 1].iter().cloned().collect();
    let last = places.rank() as isize - 1;
    let mut flat: Option<Tensor> = None;
    for i in 0..k {
        let axis = batch + i;
        let n = &shape[axis];
        let part = from_front(&at.select(last, i as isize), n);
        // An index that is out of range must not become one of another row: it is one of all that there are.
        let part = prim_iota(shape, axis).take(&part, axis as isize).reshape(many.clone());
        flat = Some(match flat {
            Some(before) => times_extent(before, n) + part,
            None => part,
        });
    }
    let mut flat = flat.expect("there is an axis");
    for b in 0..batch {
        // Each example has its own part.
        let row = prim_iota(&many, b);
        let size = product(&shape[b + 1..batch + k]);
        flat += times_extent(row, &size);
    }
    (flat.reshape(Shape::from_iter([many.numel()])), many)
}

fn times_extent(x: Tensor, n: &Dim) -> Tensor {
    match n.known() {
        Some(n) => x * n,
        None => x * prim::extent(n),
    }
}

/// How updates are combined; `None` for taking their place.
fn how(c: &Call) -> Result<Option<Merge>, Stop> {
    Ok(match c.text("reduction", "none") {
        "none" => None,
        "add" => Some(Update::Add.into()),
        "mul" => Some(Update::Mul.into()),
        "max" => Some(Update::Max.into()),
        "min" => Some(Update::Min.into()),
        other => return Err(c.fail(format!("the reduction is `{other}`"), "none, add, mul, max or min")),
    })
}

fn scatter_elements(c: &Call) -> Out {
    let (x, at, updates) = (c.tensor(0)?, c.tensor(1)?, c.tensor(2)?);
    let (shape, places) = (x.try_shape()?, at.try_shape()?);
    if places.rank() != shape.rank() {
        return Err(c.fail("the indices have another rank", "indices of the rank of the tensor"));
    }
    let axis = c.axis(c.int("axis", 0), shape.rank())?;
    let mut part = x.clone();
    let others: Vec<usize> = (0..shape.rank()).filter(|&a| a != axis && shape[a] != places[a]).collect();
    for &a in &others {
        part = part.slice(a as isize, 0..extent(&places[a]) as isize);
    }
    let at = from_front(&at, &shape[axis]);
    let done = match how(c)? {
        None => part.scatter(axis as isize, &at, &updates),
        Some(how) => part.scatter_reduce(axis as isize, &at, &updates, how),
    };
    if others.is_empty() {
        return one(done);
    }
    let starts: Vec<Tensor> = (0..shape.rank()).map(|_| Tensor::from(0i64)).collect();
    one(x.dynamic_update_slice(&done, &starts))
}

fn unique(c: &Call) -> Out {
    apart(c)?;
    let x = c.tensor(0)?;
    let shape = x.try_shape()?;
    let (rows, axis) = match c.attribute("axis") {
        Some(_) => (x.clone(), c.axis(c.int("axis", 0), shape.rank())?),
        None => (x.reshape(Shape::from_iter([shape.numel()])), 0),
    };
    let lines = rows.movedim(&[axis as isize], &[0]).to_literal()?;
    let n = lines.dims().first().copied().unwrap_or(0);
    let width = lines.numel() / n.max(1);
    let row = |i: usize| (0..width).map(move |j| i * width + j);
    let order = |a: usize, b: usize| {
        let pairs = row(a).zip(row(b)).map(|(i, j)| compared(lines.get(i), lines.get(j)));
        pairs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    };
    let mut sorted: Vec<usize> = (0..n).collect();
    sorted.sort_by(|&a, &b| order(a, b).then(a.cmp(&b)));
    // The first row of each kind, in ascending order.
    let mut firsts: Vec<usize> = Vec::new();
    let mut kind = vec![0usize; n];
    for &i in &sorted {
        if firsts.last().is_none_or(|&f| order(f, i).is_ne()) {
            firsts.push(i);
        }
        kind[i] = firsts.len() - 1;
    }
    if !c.flag("sorted", true) {
        let mut by_place: Vec<usize> = (0..firsts.len()).collect();
        by_place.sort_by_key(|&k| firsts[k]);
        let mut rank = vec![0; firsts.len()];
        by_place.iter().enumerate().for_each(|(new, &old)| rank[old] = new);
        kind.iter_mut().for_each(|k| *k = rank[*k]);
        firsts.sort_unstable();
    }
    let mut counts = vec![0i64; firsts.len()];
    kind.iter().for_each(|&k| counts[k] += 1);
    let ints = |v: Vec<usize>| Tensor::from(v.into_iter().map(|i| i as i64).collect::<Vec<i64>>());
    let firsts = ints(firsts);
    let y = rows.take(&firsts, axis as isize);
    Ok(vec![y.into(), firsts.into(), ints(kind).into(), Tensor::from(counts).into()])
}

/// The order of two elements: exact for integers, zeros of both signs are one, NaN is the largest.
fn compared(a: Scalar, b: Scalar) -> std::cmp::Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let (a, b) = (float(a), float(b));
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
    }
}

fn non_max_suppression(c: &Call) -> Out {
    apart(c)?;
    let (boxes, scores) = (c.tensor(0)?.to_dtype(DType::F32), c.tensor(1)?.to_dtype(DType::F32));
    let [boxes_shape, scores_shape] = [boxes.try_shape()?.known(), scores.try_shape()?.known()];
    let (Some(b), Some(s)) = (boxes_shape, scores_shape) else { return Err(Stop::Apart) };
    if b.len() != 3 || s.len() != 3 || b[2] != 4 || s[0] != b[0] || s[2] != b[1] {
        return Err(c.fail("boxes and scores do not fit", "[batch, boxes, 4] and [batch, classes, boxes]"));
    }
    let (boxes, scores) = (boxes.to_vec::<f32>()?, scores.to_vec::<f32>()?);
    let most = if c.has(2) { integer(c.scalar(2)?).max(0) } else { 0 } as usize;
    let overlap = if c.has(3) { c.number(3)? as f32 } else { 0.0 };
    let least = if c.has(4) { c.number(4)? as f32 } else { f32::NEG_INFINITY };
    let centred = c.flag("center_point_box", false);
    let corners = |i: usize| {
        let [a, b, w, d] = [boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]];
        match centred {
            true => [b - d / 2.0, a - w / 2.0, b + d / 2.0, a + w / 2.0],
            false => [a.min(w), b.min(d), a.max(w), b.max(d)],
        }
    };
    let area = |[y1, x1, y2, x2]: [f32; 4]| (y2 - y1).max(0.0) * (x2 - x1).max(0.0);
    let share = |a: [f32; 4], b: [f32; 4]| {
        let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
        let union = area(a) + area(b) - common;
        if union > 0.0 { common / union } else { 0.0 }
    };
    let mut chosen: Vec<i64> = Vec::new();
    for (batch, class) in (0..s[0]).flat_map(|batch| (0..s[1]).map(move |class| (batch, class))) {
        let score = |i: usize| scores[(batch * s[1] + class) * s[2] + i];
        let mut order: Vec<usize> = (0..s[2]).filter(|&i| score(i) > least).collect();
        order.sort_by(|&i, &j| score(j).total_cmp(&score(i)).then(i.cmp(&j)));
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            if kept.len() >= most {
                break;
            }
            let this = corners(batch * b[1] + i);
            if kept.iter().all(|&k| share(this, corners(batch * b[1] + k)) <= overlap) {
                kept.push(i);
            }
        }
        chosen.extend(kept.iter().flat_map(|&i| [batch as i64, class as i64, i as i64]));
    }
    let n = chosen.len() / 3;
    Ok(vec![Operand::Tensor(Tensor::from_slice(&chosen, [n, 3]))])
}
