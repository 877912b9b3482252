//! Long reductions in two stages.

use crate::grain::Grain;
use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::kernel::Combine;
use ir::ops::GraphEmitter;
use ir::ops::view::{Concatenate, Pad, Slice};
use ir::{Axes, DType, Dim, Emit, EmitExt, Graph, Lowering, Op, Ranges, Region, Scalar, Shape, Value};
use smallvec::smallvec;

/// Extent of a symbolic axis from which it is worth a second stage.
const LONG: usize = 1 << 16;

/// Splits reductions of many elements to few into two stages, so that they run on several threads. Where to split is a
/// function of the shape alone, so results do not depend on the number of threads. Not `argmax` and `argmin`; of symbolic
/// extents only those that are known to be long.
#[derive(Clone, Copy, Debug)]
pub struct SplitReductions;

impl Pass for SplitReductions {
    fn name(&self) -> &'static str {
        "split"
    }
    fn about(&self) -> &'static str {
        "needs legal 16-bit floats, and no canonicalize after it; long reductions have independent parts"
    }
    fn is_exact(&self) -> bool {
        false
    }
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError> {
        let grain = cx.options.grain;
        let mut changed = false;
        for region in graph.reachable_regions() {
            changed |= graph.rewrite(region, |graph, op| match plan(graph, grain, op) {
                Some(split) => Rewrite::Replace([apply(graph, region, op, &split)].into_iter().collect()),
                None => match symbolic(graph, grain, op) {
                    Some(split) => Rewrite::Replace([apply_symbolic(graph, region, op, split)].into_iter().collect()),
                    None => Rewrite::Keep,
                },
            });
        }
        Ok(changed)
    }
}

/// A reduction in two stages.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Split {
    /// Extents with neighbouring reduced axes merged, and whether each is reduced.
    axes: Vec<(usize, bool)>,
    /// The axis that is split.
    at: usize,
    /// Into how many parts,
    parts: usize,
    /// of how many elements each; together they may be longer than the axis.
    part: usize,
    identity: Scalar,
}

fn identity(combine: Combine, dtype: DType) -> Option<Scalar> {
    Some(match combine {
        // -0 is neutral too, but the sum of nothing is +0 and this is what sums start from.
        Combine::Sum => Scalar::zero(dtype),
        Combine::Product => Scalar::one(dtype),
        Combine::Max => Scalar::lowest(dtype),
        Combine::Min => Scalar::highest(dtype),
        Combine::Any => Scalar::Bool(false),
        Combine::All => Scalar::Bool(true),
        Combine::ArgMax | Combine::ArgMin => return None,
    })
}

fn plan(graph: &Graph, grain: Grain, op: Op) -> Option<Split> {
    let data = graph.op(op);
    let Lowering::Reduce(combine) = data.primitive.lowering() else { return None };
    let ty = graph.ty(data.operands[0]);
    let identity = identity(combine, ty.dtype)?;
    split(grain, &ty.shape.known()?, data.primitive.reduced_axes(), identity)
}

fn split(grain: Grain, dims: &[usize], reduced: &[usize], identity: Scalar) -> Option<Split> {
    let mut axes: Vec<(usize, bool)> = Vec::new();
    for (a, &n) in dims.iter().enumerate() {
        let falls = reduced.contains(&a);
        match axes.last_mut() {
            Some((extent, true)) if falls => *extent *= n,
            _ => axes.push((n, falls)),
        }
    }
    let total: usize = dims.iter().product();
    let last = axes.iter().rposition(|&(_, falls)| falls)?;
    let kept = |axes: &[(usize, bool)]| axes.iter().filter(|(_, falls)| !falls).map(|(n, _)| n).product::<usize>();
    let independent = kept(&axes[..last]) * kept(&axes[last..]).div_ceil(grain.columns as usize);
    let rule = grain.split;
    if total < rule.elements || independent >= rule.enough || total <= rule.each * independent {
        return None;
    }
    let (at, &(extent, _)) = axes
        .iter()
        .enumerate()
        .filter(|(_, (_, falls))| *falls)
        .max_by_key(|(i, (n, _))| (*n, std::cmp::Reverse(*i)))?;
    let wanted = (total / rule.part).min(rule.most / independent).min(extent / 2);
    let wanted = if rule.balanced { wanted.min(extent.isqrt()) } else { wanted };
    if wanted < 2 {
        return None;
    }
    // A number of parts that divides the axis needs no padding.
    let parts = (wanted..=2 * wanted).find(|p| extent % p == 0).unwrap_or(wanted);
    Some(Split { axes, at, parts, part: extent.div_ceil(parts), identity })
}

/// A reduction along a symbolic axis in parts of a number of elements and a rest.
struct Symbolic {
    /// Extents with neighbouring reduced axes merged, and whether each is reduced.
    axes: Vec<(Dim, bool)>,
    /// The axis that is split.
    at: usize,
    /// Elements of a part.
    part: usize,
}

fn symbolic(graph: &Graph, grain: Grain, op: Op) -> Option<Symbolic> {
    let data = graph.op(op);
    let Lowering::Reduce(combine) = data.primitive.lowering() else { return None };
    let ty = graph.ty(data.operands[0]);
    identity(combine, ty.dtype)?;
    if ty.shape.known().is_some() {
        return None;
    }
    let mut ranges = Ranges::new();
    graph.symbols.iter().for_each(|s| ranges.declare_minimum(s.symbol.clone(), s.min));
    let mut axes: Vec<(Dim, bool)> = Vec::new();
    for (a, n) in ty.shape.iter().enumerate() {
        let falls = data.primitive.reduced_axes().contains(&a);
        match axes.last_mut() {
            Some((extent, true)) if falls => *extent = &*extent * n,
            _ => axes.push((n.clone(), falls)),
        }
    }
    let long = |(n, falls): &(Dim, bool)| *falls && ranges.is_non_negative(&(n - LONG));
    let at = axes.iter().rposition(long)?;
    Some(Symbolic { axes, at, part: grain.split.part })
}

fn apply_symbolic(graph: &mut Graph, region: Region, op: Op, split: Symbolic) -> Value {
    let data = graph.op(op).clone();
    let mut b = GraphEmitter { graph, region, origins: data.origins.clone() };
    let Symbolic { axes, at, part } = split;
    let merged: Shape = axes.iter().map(|(n, _)| n.clone()).collect();
    let x = b.reshape(data.operands[0], &merged);
    let parts = merged[at].floor_div(&Dim::from(part));
    let end = &parts * part;
    let slice = |b: &mut GraphEmitter<'_>, from: Dim, to: Dim| {
        let none: Shape = axes.iter().map(|_| 0usize).collect();
        let op = Slice {
            starts: none.with_axis(at, from),
            limits: merged.with_axis(at, to),
            strides: smallvec![1; axes.len()],
        };
        b.emit(op.into(), &[x])
    };
    let (whole, rest) = (slice(&mut b, Dim::from(0), end.clone()), slice(&mut b, end, merged[at].clone()));
    let mut shape = merged.with_axis(at, parts);
    shape.insert(at + 1, Dim::from(part));
    let whole = b.reshape(whole, &shape);
    let falls = (0..axes.len()).filter(|&a| axes[a].1);
    let place = at - falls.clone().filter(|&a| a < at).count();
    let inner: Axes = falls.clone().map(|a| if a >= at { a + 1 } else { a }).collect();
    let whole = b.emit(data.primitive.with_axes(inner), &[whole]);
    // The rest is one part more.
    let rest = b.emit(data.primitive.with_axes(falls.collect()), &[rest]);
    let mut one = b.ty(rest).shape.clone();
    one.insert(place, Dim::from(1));
    let rest = b.reshape(rest, &one);
    let all = b.emit(Concatenate { axis: place }.into(), &[whole, rest]);
    b.emit(data.primitive.with_axes(smallvec![place]), &[all])
}

fn apply(graph: &mut Graph, region: Region, op: Op, split: &Split) -> Value {
    let data = graph.op(op).clone();
    let mut b = GraphEmitter { graph, region, origins: data.origins.clone() };
    let merged: Shape = split.axes.iter().map(|&(n, _)| n).collect();
    let mut x = data.operands[0];
    let missing = split.parts * split.part - split.axes[split.at].0;
    if missing > 0 {
        x = b.reshape(x, &merged);
        let none: Shape = split.axes.iter().map(|_| 0usize).collect();
        let high = none.with_axis(split.at, Dim::from(missing));
        let pad = Pad { value: split.identity, low: none, high, interior: smallvec![0; split.axes.len()] };
        x = b.emit(pad.into(), &[x]);
    }
    let mut parts = merged;
    parts[split.at] = Dim::from(split.parts);
    parts.insert(split.at + 1, Dim::from(split.part));
    x = b.reshape(x, &parts);
    // The axis of parts is kept, the axis inside a part takes the place of the one that was split.
    let falls = (0..split.axes.len()).filter(|&a| split.axes[a].1).map(|a| if a >= split.at { a + 1 } else { a });
    let first: Axes = falls.collect();
    let place = split.at - first.iter().filter(|&&a| a < split.at).count();
    x = b.emit(data.primitive.with_axes(first), &[x]);
    b.emit(data.primitive.with_axes(smallvec![place]), &[x])
}
