//! Ops on shapes: reshape, transpose, slice, join, pad, repeat, make.

use super::{Op, filled, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::io::onnx::graph::Attribute;
use crate::io::onnx::part::MOST_EXTENT;
use crate::io::onnx::value::{Ints, Operand, float, integer};
use crate::ops::prim;
use crate::tensor::{Tensor, number};
use crate::{DType, Dim, PadMode, Scalar, Shape, broadcast_shapes, concat, extent};

pub(super) const OPS: &[Op] = &[
    Op::new("Shape", &[1, 13, 15, 19, 21, 23], shape).recorded(),
    Op::new("Size", &[1, 13, 19, 21, 23], |c| {
        let n = c.tensor(0)?.try_shape()?.numel();
        Ok(vec![Operand::Ints(Ints { dtype: DType::I64, shape: Vec::new(), dims: vec![n] })])
    })
    .recorded(),
    Op::new("Reshape", &[1, 5, 13, 14, 19, 21, 23], reshape).host(|_, v| {
        let [Some(x), Some(to)] = v else { return None };
        let to = to.known()?;
        let rest = to.iter().filter(|&&d| d >= 0).try_fold(1i64, |n, &d| n.checked_mul(d))?;
        let all = x.dims.len() as i64;
        let shape = to.iter().map(|&d| usize::try_from(if d < 0 { all / rest.max(1) } else { d }).ok());
        let shape: Vec<usize> = shape.collect::<Option<_>>()?;
        let all = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        (all == Some(x.dims.len())).then(|| Ints { shape, ..x.clone() })
    }),
    Op::new("Flatten", &[1, 9, 11, 13, 21, 23], |c| {
        let x = c.tensor(0)?;
        let shape = x.try_shape()?;
        let axis = c.int("axis", 1);
        let rank = shape.rank();
        let axis = if axis == rank as i64 { rank } else { c.axis(axis, rank.max(1))? };
        let product = |dims: &[Dim]| dims.iter().fold(Dim::from(1), |n, d| n * d);
        one(x.reshape(Shape::from_iter([product(&shape[..axis]), product(&shape[axis..])])))
    }),
    Op::new("Squeeze", &[1, 11, 13, 21, 23], |c| {
        let x = c.tensor(0)?;
        let shape = x.try_shape()?;
        let axes = match c.ints_of("axes", 1)? {
            Some(axes) => c.axes(&axes, shape.rank())?,
            // Whether an extent is 1 must be known.
            None => (0..shape.rank()).filter(|&a| extent(&shape[a]) == 1).collect(),
        };
        if let Some(a) = axes.iter().find(|&&a| shape[a].known().is_some_and(|n| n != 1)) {
            return Err(c.fail(format!("axis {a} has extent {}", shape[*a]), "axes of extent 1"));
        }
        one(x.reshape(shape.without(&axes)))
    })
    .host(|c, v| {
        let x = v[0].clone()?;
        let axes = c.ints_of("axes", 1).ok()?;
        let rank = x.shape.len();
        let axes = match axes {
            Some(axes) => c.axes(&axes, rank).ok()?,
            None => (0..rank).filter(|&a| x.shape[a] == 1).collect(),
        };
        axes.iter().all(|&a| x.shape[a] == 1).then(|| {
            let shape = (0..rank).filter(|a| !axes.contains(a)).map(|a| x.shape[a]).collect();
            Ints { shape, ..x }
        })
    }),
    Op::new("Unsqueeze", &[1, 11, 13, 21, 23], |c| {
        let x = c.tensor(0)?;
        let shape = unsqueezed(c, &x.try_shape()?.to_vec(), Dim::from(1))?;
        one(x.reshape(Shape::from_iter(shape)))
    })
    .host(|c, v| {
        let x = v[0].clone()?;
        let shape = unsqueezed(c, &x.shape, 1).ok()?;
        Some(Ints { shape, ..x })
    }),
    Op::new("Transpose", &[1, 13, 21, 23], |c| {
        let x = c.tensor(0)?;
        let rank = x.try_shape()?.rank();
        let permutation: Vec<isize> = match c.list("perm") {
            Some(p) => p.iter().map(|&a| a as isize).collect(),
            None => (0..rank as isize).rev().collect(),
        };
        one(x.permute(&permutation))
    }),
    Op::new("Expand", &[8, 13], |c| {
        let x = c.tensor(0)?;
        let to = extents(c, c.dims(1)?)?;
        let shape = broadcast_shapes(&[x.try_shape()?, to])?;
        one(x.broadcast_to(shape))
    })
    .host(|_, v| {
        let [Some(x), Some(to)] = v else { return None };
        let shape: Vec<usize> = to.known()?.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<_>>()?;
        let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1024)?;
        (x.dims.len() == 1 && x.shape.len() <= shape.len()).then(|| Ints {
            dtype: x.dtype,
            shape,
            dims: vec![x.dims[0].clone(); n],
        })
    }),
    Op::new("Concat", &[1, 4, 11, 13], |c| {
        let all = c.tensors()?;
        one(concat(&all, c.int("axis", 1) as isize))
    })
    .host(|_, v| {
        let all: Vec<&Ints> = v.iter().map(Option::as_ref).collect::<Option<_>>()?;
        let first = all.first()?;
        if !all.iter().all(|x| x.shape.len() == 1 && x.dtype == first.dtype) {
            return None;
        }
        let dims: Vec<Dim> = all.iter().flat_map(|x| x.dims.iter().cloned()).collect();
        Some(Ints { dtype: first.dtype, shape: vec![dims.len()], dims })
    }),
    Op::new("Split", &[1, 2, 11, 13, 18], split),
    Op::new("Slice", &[1, 10, 11, 13], slice).host(slice_ints),
    Op::new("Pad", &[1, 2, 11, 13, 18, 19, 21, 23], pad),
    Op::new("Tile", &[1, 6, 13], |c| {
        if c.version() < 6 {
            return Err(c.fail("the first version of the op", "opset 6 or newer"));
        }
        let times = c.ints(1)?;
        let rank = c.tensor(0)?.try_shape()?.rank();
        if times.len() != rank {
            let rule = format!("{} numbers of repetitions for a tensor of rank {rank}", times.len());
            return Err(c.fail(rule, "one for each axis"));
        }
        let times: Option<Vec<usize>> = times.iter().map(|&n| usize::try_from(n).ok()).collect();
        match times {
            Some(times) => one(c.tensor(0)?.tile(&times)),
            None => Err(c.fail("a number of repetitions is negative", "0 or more")),
        }
    })
    .recorded(),
    Op::new("Constant", &[1, 9, 11, 12, 13, 19, 21, 23], constant).recorded(),
    Op::new("ConstantOfShape", &[9, 20, 21, 23], |c| one(filled(extents(c, c.dims(0)?)?, fill(c)?))).recorded().host(
        |c, v| {
            let shape: Vec<usize> =
                v[0].as_ref()?.known()?.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<_>>()?;
            let value = fill(c).ok()?;
            let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1024)?;
            matches!(value.dtype(), DType::I64 | DType::I32 | DType::Bool).then(|| Ints {
                dtype: value.dtype(),
                shape,
                dims: vec![Dim::from(integer(value)); n],
            })
        },
    ),
    Op::new("Range", &[11], range).recorded().host(|_, v| {
        let [Some(start), Some(limit), Some(step)] = v else { return None };
        let first = |v: &Ints| v.dims.first()?.known();
        let (start, limit, step) = (first(start)?, first(limit)?, first(step)?);
        let n = count(start, limit, step).filter(|&n| n <= 1024)?;
        let dims: Vec<Dim> = (0..n).map(|i| Dim::from(start + i * step)).collect();
        Some(Ints { dtype: v[0].as_ref()?.dtype, shape: vec![dims.len()], dims })
    }),
    Op::new("EyeLike", &[9, 22], |c| {
        let ty = c.tensor(0)?.try_type()?;
        if ty.rank() != 2 {
            return Err(c.fail("the tensor is no matrix", "rank 2"));
        }
        let dtype = c.dtype("dtype")?.unwrap_or(ty.dtype);
        let index = |axis| Tensor::iota(ty.shape.clone(), axis, DType::I64);
        one((index(0) + c.int("k", 0)).eq(index(1)).to_dtype(dtype))
    })
    .recorded(),
    Op::new("Trilu", &[14], |c| {
        let k = if c.has(1) { integer(c.scalar(1)?) } else { 0 } as isize;
        let x = c.tensor(0)?;
        one(if c.flag("upper", true) { x.triu(k) } else { x.tril(k) })
    }),
    Op::new("DepthToSpace", &[1, 11, 13], |c| {
        let x = c.tensor(0)?;
        let (b, d) = (c.int("blocksize", 1), x.try_shape()?);
        if d.rank() != 4 || !(1..1 << 16).contains(&b) {
            return Err(
                c.fail("the tensor has no height and width, or blocks have no extent", "rank 4, blocks of 1 to 65535")
            );
        }
        let deep =
            || d[1].exact_div(&Dim::from(b * b)).ok_or_else(|| c.fail("blocks do not fit", "channels in blocks"));
        let (b, deep) = (Dim::from(b), deep()?);
        let out = Shape::from_iter([d[0].clone(), deep.clone(), &d[2] * &b, &d[3] * &b]);
        let (split, order): (_, [isize; 6]) = match c.choice("mode", &["DCR", "CRD"])? {
            "DCR" => ([&d[0], &b, &b, &deep, &d[2], &d[3]], [0, 3, 4, 1, 5, 2]),
            _ => ([&d[0], &deep, &b, &b, &d[2], &d[3]], [0, 1, 4, 2, 5, 3]),
        };
        one(x.reshape(Shape::from_iter(split.map(Dim::clone))).permute(&order).reshape(out))
    }),
    Op::new("SpaceToDepth", &[1, 13], |c| {
        let x = c.tensor(0)?;
        let (b, d) = (Dim::from(c.int("blocksize", 1).clamp(1, 1 << 16)), x.try_shape()?);
        let part = |n: &Dim| n.exact_div(&b).ok_or_else(|| c.fail("blocks do not fit", "extents in blocks"));
        if d.rank() != 4 {
            return Err(c.fail("the tensor has no height and width", "rank 4"));
        }
        let (h, w) = (part(&d[2])?, part(&d[3])?);
        let split = Shape::from_iter([&d[0], &d[1], &h, &b, &w, &b].map(Dim::clone));
        let out = Shape::from_iter([d[0].clone(), &(&d[1] * &b) * &b, h, w]);
        one(x.reshape(split).permute(&[0, 3, 5, 1, 2, 4]).reshape(out))
    }),
    Op::new("CenterCropPad", &[18], |c| {
        let mut x = c.tensor(0)?;
        let shape = x.try_shape()?;
        let axes = c.list("axes").unwrap_or_else(|| (0..shape.rank() as i64).collect());
        let wanted = c.ints(1)?;
        if wanted.len() != axes.len() {
            let rule = format!("{} extents for {} axes", wanted.len(), axes.len());
            return Err(c.fail(rule, "one for each axis"));
        }
        for (&a, wanted) in axes.iter().zip(wanted) {
            let axis = c.axis(a, shape.rank())?;
            let (n, wanted) = (extent(&shape[axis]) as i64, wanted.max(0));
            if wanted <= n {
                let start = (n - wanted) / 2;
                x = x.slice(axis as isize, start as isize..(start + wanted) as isize);
            } else {
                let before = (wanted - n) / 2;
                let mut ends = vec![(0, 0); shape.rank()];
                ends[axis] = (before as usize, (wanted - n - before) as usize);
                x = x.pad(&ends, 0);
            }
        }
        one(x)
    }),
];

fn shape(c: &Call) -> Out {
    let dims = c.tensor(0)?.try_shape()?.to_vec();
    let n = dims.len() as i64;
    let place = |at: i64| (if at < 0 { at + n } else { at }).clamp(0, n) as usize;
    let (start, end) = (place(c.int("start", 0)), place(c.int("end", n)));
    Ok(vec![Operand::Ints(Ints::list(dims[start..end.max(start)].to_vec()))])
}

/// A shape of extents that are not negative.
pub(super) fn extents(c: &Call, dims: Vec<Dim>) -> Result<Shape, Stop> {
    match dims.iter().find(|d| d.known().is_some_and(|n| n < 0)) {
        Some(d) => Err(c.fail(format!("an extent is {d}"), "0 or more")),
        None => Ok(Shape::from_iter(dims)),
    }
}

fn reshape(c: &Call) -> Out {
    let x = c.tensor(0)?;
    let to = match c.list("shape") {
        Some(to) if c.version() < 5 => to.into_iter().map(Dim::from).collect(),
        _ => c.dims(1)?,
    };
    let (from, mut to) = (x.try_shape()?, to);
    let keeps = !c.flag("allowzero", false);
    for (i, d) in to.iter_mut().enumerate().filter(|(_, d)| keeps && d.is(0)) {
        *d = from.get(i).cloned().ok_or_else(|| c.fail(format!("axis {i} is to be kept"), "an axis that there is"))?;
    }
    let open: Vec<usize> = (0..to.len()).filter(|&i| to[i].is(-1)).collect();
    if let [at] = open[..] {
        let rest = to.iter().enumerate().filter(|(i, _)| *i != at).fold(Dim::from(1), |n, (_, d)| n * d);
        let found = if rest.is(0) { None } else { from.numel().exact_div(&rest) };
        to[at] = match found {
            Some(d) => d,
            None => {
                let n: i64 = from.iter().map(extent_of).fold(1, i64::saturating_mul);
                let others = (0..to.len()).filter(|&i| i != at);
                let rest: i64 = others.map(|i| extent_of(&to[i])).fold(1, i64::saturating_mul);
                if rest <= 0 || n % rest != 0 {
                    return Err(c.fail(format!("{n} elements are no multiple of {rest}"), "a shape that fits"));
                }
                Dim::from(n / rest)
            }
        };
    }
    one(x.reshape(extents(c, to)?))
}

fn unsqueezed<T: Clone>(c: &Call, shape: &[T], single: T) -> Result<Vec<T>, Stop> {
    let Some(axes) = c.ints_of("axes", 1)? else { return Err(c.fail("there are no axes", "axes")) };
    let rank = shape.len() + axes.len();
    let all = c.axes(&axes, rank)?;
    if all.len() != axes.len() {
        return Err(c.fail(format!("axes {axes:?}"), "each axis once"));
    }
    let mut rest = shape.iter();
    Ok((0..rank)
        .map(|a| if all.contains(&a) { single.clone() } else { rest.next().cloned().unwrap_or(single.clone()) })
        .collect())
}

fn split(c: &Call) -> Out {
    let x = c.tensor(0)?;
    let shape = x.try_shape()?;
    let axis = c.axis(c.int("axis", 0), shape.rank())?;
    let sizes: Vec<usize> = match c.ints_of("split", 1)? {
        Some(sizes) => {
            let sizes: Option<Vec<usize>> = sizes.iter().map(|&n| usize::try_from(n).ok()).collect();
            sizes.ok_or_else(|| c.fail("a part has a negative extent", "0 or more"))?
        }
        None => {
            let parts = c.node.outputs.len().max(1);
            let asked = c.int("num_outputs", parts as i64);
            if asked != parts as i64 {
                return Err(c.fail(format!("num_outputs is {asked}"), format!("{parts}, as many as the node has")));
            }
            let n = extent(&shape[axis]);
            let size = n.div_ceil(parts);
            (0..parts).map(|i| size.min(n.saturating_sub(i * size))).collect()
        }
    };
    Ok(x.split(&sizes, axis as isize)?.into_iter().map(Operand::Tensor).collect())
}

/// Starts, ends, axes and steps, which early versions have as attributes.
fn bounds(c: &Call, rank: usize) -> Result<[Vec<Dim>; 4], Stop> {
    let from = |ints: Vec<i64>| ints.into_iter().map(Dim::from).collect::<Vec<_>>();
    let (starts, ends, axes, steps) = if c.version() < 10 {
        (
            from(c.list("starts").unwrap_or_default()),
            from(c.list("ends").unwrap_or_default()),
            c.list("axes").map(from),
            None,
        )
    } else {
        let maybe = |i: usize| if c.has(i) { c.ints(i).map(|v| Some(from(v))) } else { Ok(None) };
        (c.dims(1)?, c.dims(2)?, maybe(3)?, maybe(4)?)
    };
    let n = starts.len();
    let axes = axes.unwrap_or_else(|| (0..n).map(Dim::from).collect());
    let steps = steps.unwrap_or_else(|| vec![Dim::from(1); n]);
    if ends.len() != n || axes.len() != n || steps.len() != n || n > rank {
        return Err(c.fail("starts, ends, axes and steps differ in number", "one of each for an axis"));
    }
    Ok([starts, ends, axes, steps])
}

fn slice(c: &Call) -> Out {
    let mut x = c.tensor(0)?;
    let rank = x.try_shape()?.rank();
    let [starts, ends, axes, steps] = bounds(c, rank)?;
    for i in 0..starts.len() {
        let axis = c.axis(extent_of(&axes[i]), rank)?;
        let n = x.try_shape()?[axis].clone();
        let step = extent_of(&steps[i]);
        if step == 0 || step == i64::MIN {
            return Err(c.fail(format!("the step is {step}"), "another number"));
        }
        if let (1.., Some(start), Some(end)) = (step, place(&starts[i], &n), place(&ends[i], &n)) {
            x = sliced(&x, axis, start, end, step as usize);
            continue;
        }
        let n = extent(&n) as i64;
        let (start, end) = (extent_of(&starts[i]), extent_of(&ends[i]));
        x = stepped(&x, axis, n, start, end, step);
    }
    one(x)
}

/// The number that a dimension is, or in this call becomes.
fn extent_of(d: &Dim) -> i64 {
    number(d).unwrap_or_else(|| extent(d) as i64)
}

/// Where a place given as ONNX gives it is in an axis, if that can be said without the value of a symbol.
fn place(at: &Dim, n: &Dim) -> Option<Dim> {
    if let (Some(at), Some(n)) = (at.known(), n.known()) {
        return Some(Dim::from((if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n)));
    }
    match at.known() {
        // A symbol is at least 1.
        Some(0) => Some(Dim::from(0)),
        Some(-1) if is_symbol(n) => Some(n - 1),
        Some(1) if is_symbol(n) => Some(Dim::from(1)),
        Some(at) if at >= i32::MAX as i64 || at >= MOST_EXTENT as i64 && is_symbol(n) => Some(n.clone()),
        Some(_) => None,
        None => {
            (n - at).known().filter(|&rest| rest >= 0 && is_symbol(n)).filter(|&rest| rest == 0).map(|_| at.clone())
        }
    }
}

fn is_symbol(d: &Dim) -> bool {
    matches!(d.symbols().as_slice(), [s] if *d == Dim::symbol(s.name()))
}

/// A slice, also where nothing is traced.
pub(super) fn sliced(x: &Tensor, axis: usize, start: Dim, end: Dim, step: usize) -> Tensor {
    match (start.as_usize(), end.as_usize()) {
        (Some(start), Some(end)) => x.slice_step(axis as isize, start as isize..end.max(start) as isize, step),
        _ => prim::slice(x, axis, start, end, step),
    }
}

/// With numbers for everything, and a step of either sign.
fn stepped(x: &Tensor, axis: usize, n: i64, start: i64, end: i64, step: i64) -> Tensor {
    let from_front = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    if step > 0 {
        let (start, end) = (from_front(start).clamp(0, n), from_front(end).clamp(0, n));
        return x.slice_step(axis as isize, start as isize..end.max(start) as isize, step as usize);
    }
    let (start, end) = (from_front(start).clamp(0, (n - 1).max(0)), from_front(end).clamp(-1, n - 1));
    // Place i from the front is n - 1 - i of the flipped axis.
    let (first, last) = (n - 1 - start, n - 1 - end);
    let flipped = x.flip(&[axis as isize]);
    flipped.slice_step(axis as isize, first as isize..last.max(first) as isize, step.unsigned_abs() as usize)
}

fn slice_ints(c: &Call, v: &[Option<Ints>]) -> Option<Ints> {
    let x = v[0].as_ref().filter(|x| x.shape.len() == 1)?;
    let [starts, ends, _, steps] = bounds(c, 1).ok()?;
    let ([start], [end], [step]) = (&starts[..], &ends[..], &steps[..]) else { return None };
    let (n, step) = (x.dims.len() as i64, step.known()?);
    let from_front = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let (start, end) = (from_front(start.known()?), from_front(end.known()?));
    let mut dims = Vec::new();
    if step > 0 {
        let (mut at, end) = (start.clamp(0, n), end.clamp(0, n));
        while at < end {
            dims.push(x.dims[at as usize].clone());
            at = at.saturating_add(step);
        }
    } else if step < 0 {
        let (mut at, end) = (start.clamp(0, (n - 1).max(0)), end.clamp(-1, n - 1));
        while at > end {
            dims.push(x.dims[at as usize].clone());
            at = at.saturating_add(step);
        }
    }
    (step != 0).then(|| Ints { dtype: x.dtype, shape: vec![dims.len()], dims })
}

fn pad(c: &Call) -> Out {
    let mut x = c.tensor(0)?;
    let shape = x.try_shape()?;
    let rank = shape.rank();
    let (pads, value) = match c.list("pads").or(c.list("paddings")) {
        Some(pads) => (pads, Some(Scalar::F64(c.float("value", 0.0)))),
        None => (c.ints(1)?, if c.has(2) { Some(c.scalar(2)?) } else { None }),
    };
    let axes: Vec<usize> = match c.has(3) {
        true => c.ints(3)?.iter().map(|&a| c.axis(a, rank)).collect::<Result<_, Stop>>()?,
        false => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(c.fail(format!("there are {} pads for {} axes", pads.len(), axes.len()), "two for each axis"));
    }
    let (mut ends, mut cuts) = (vec![(0usize, 0usize); rank], vec![(0i64, 0i64); rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let (low, high) = (pads[i], pads[i + axes.len()]);
        ends[axis] = (low.max(0) as usize, high.max(0) as usize);
        cuts[axis] = (low.min(0).saturating_neg(), high.min(0).saturating_neg());
    }
    for (axis, &(low, high)) in cuts.iter().enumerate().filter(|(_, cut)| **cut != (0, 0)) {
        let n = extent(&shape[axis]) as i64;
        x = x.slice(axis as isize, low.min(n) as isize..n.saturating_sub(high).max(low.min(n)) as isize);
    }
    let mode = match c.text("mode", "constant") {
        "constant" => {
            let value = value.map(|s| s.convert(x.dtype())).unwrap_or(Scalar::zero(x.dtype()));
            return one(x.pad(&ends, PadMode::Constant(super::number(value))));
        }
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Replicate,
        "wrap" => PadMode::Circular,
        other => return Err(c.fail(format!("the mode is `{other}`"), "constant, reflect, edge or wrap")),
    };
    one(x.pad(&ends, mode))
}

fn constant(c: &Call) -> Out {
    // The reader has seen that there is one.
    match c.node.attributes.values().next() {
        Some(Attribute::Tensor(t)) => one(t.clone()),
        Some(Attribute::Int(n)) => {
            Ok(vec![Operand::Ints(Ints { dtype: DType::I64, shape: Vec::new(), dims: vec![Dim::from(*n)] })])
        }
        Some(Attribute::Ints(v)) => one(host(v.iter().map(|&n| Scalar::I64(n)), &[v.len()], DType::I64)?),
        Some(Attribute::Float(x)) => one(host([Scalar::F32(*x as f32)].into_iter(), &[], DType::F32)?),
        Some(Attribute::Floats(v)) => one(host(v.iter().map(|&x| Scalar::F32(x as f32)), &[v.len()], DType::F32)?),
        _ => Err(c.fail("the constant is of text", "numbers")),
    }
}

/// Host data outside of any trace.
pub(super) fn host(data: impl Iterator<Item = Scalar>, dims: &[usize], dtype: DType) -> Result<Tensor, Stop> {
    let all: Vec<Scalar> = data.collect();
    Ok(crate::io::onnx::tensors::known(crate::Literal::from_fn(dims, dtype, |i| all[i].convert(dtype)))?)
}

/// What `ConstantOfShape` fills with.
fn fill(c: &Call) -> Result<Scalar, Stop> {
    match c.attribute("value") {
        Some(Attribute::Tensor(t)) => {
            let shape = t.try_shape()?;
            t.to_scalar().map_err(|_| c.fail(format!("the value has shape {shape}"), "one element"))
        }
        _ => Ok(Scalar::F32(0.0)),
    }
}

fn count(start: i64, limit: i64, step: i64) -> Option<i64> {
    let (span, step) = (limit.checked_sub(start)?, (step != 0).then_some(step)?);
    Some(if (span > 0) == (step > 0) { span.unsigned_abs().div_ceil(step.unsigned_abs()) as i64 } else { 0 })
}

fn range(c: &Call) -> Out {
    let dtype = c.tensor(0)?.try_type()?.dtype;
    if dtype.is_float() {
        let (start, limit, step) = (c.number(0)?, c.number(1)?, c.number(2)?);
        let n = ((limit - start) / step).ceil().max(0.0);
        if !n.is_finite() || n > (1u64 << 31) as f64 {
            return Err(c.fail(format!("from {start} to {limit} by {step}"), "a range that has an end"));
        }
        let place = Tensor::arange(n as usize, if dtype == DType::F64 { DType::F64 } else { DType::F32 });
        return one((place * step + start).to_dtype(dtype));
    }
    let first =
        |i: usize| c.dims(i)?.first().cloned().ok_or_else(|| c.fail(format!("operand {i} is empty"), "a number"));
    let (start, limit) = (first(0)?, first(1)?);
    let step = float(c.scalar(2)?) as i64;
    let n = match (start.known(), limit.known()) {
        (Some(a), Some(b)) => count(a, b, step).map(Dim::from),
        _ if step > 0 => Some((&limit - &start).ceil_div(&Dim::from(step))),
        _ => None,
    };
    let Some(n) = n else { return Err(c.fail(format!("from {start} to {limit} by {step}"), "a step that is not 0")) };
    let place = Tensor::iota(Shape::from_iter([n]), 0, dtype);
    let scaled = if step == 1 { place } else { place * step };
    one(match start.known() {
        Some(0) => scaled,
        Some(start) => scaled + start,
        None => scaled + prim::extent(&start).to_dtype(dtype),
    })
}
