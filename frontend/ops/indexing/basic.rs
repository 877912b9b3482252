//! Numbers, ranges and new axes: views.

use super::Index;
use crate::error::{Code, Error, Result};
use crate::ops::{broadcast::common_shape, prim};
use crate::tensor::Tensor;
use crate::trace::record;
use crate::view::Step;
use ir::ops::{binary, view};
use ir::{Axes, DType, Dim, Scalar, Shape};
use smallvec::SmallVec;
use std::ops::Bound;

/// What becomes of one axis of the tensor.
#[derive(Clone, Debug)]
struct Cut {
    start: Dim,
    /// Elements that are kept.
    count: Dim,
    /// None of them is there or beyond.
    limit: Dim,
    stride: usize,
    reversed: bool,
    /// The axis falls away.
    single: bool,
}

/// An axis of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Out {
    /// That axis of the tensor.
    Axis(usize),
    New,
}

/// An index, worked out for a shape.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    shape: Shape,
    cuts: Vec<Cut>,
    /// Axes of the result, where axes that tensors index stand for themselves.
    out: Vec<Out>,
    /// Axes that tensors index, in the order of the tensors.
    pub(super) indexed: Axes,
    /// Tensors of indices are not all side by side, so their axes come first.
    pub(super) in_front: bool,
}

fn fail<T>(code: Code, rule: String, legal: impl Into<String>) -> Result<T> {
    Err(Error::new(code, "index", rule, legal))
}

impl Plan {
    pub fn of(shape: &Shape, parts: &[Index]) -> Result<Plan> {
        let named = parts.iter().filter(|p| !matches!(p, Index::NewAxis | Index::Ellipsis)).count();
        let rank = shape.rank();
        if named > rank {
            return fail(
                Code::Rank,
                format!("{named} axes are indexed, the tensor has {rank}"),
                "at most one index per axis",
            );
        }
        if parts.iter().filter(|p| matches!(p, Index::Ellipsis)).count() > 1 {
            return fail(Code::Argument, "there are two ellipses".into(), "at most one");
        }
        let mut plan =
            Plan { shape: shape.clone(), cuts: Vec::new(), out: Vec::new(), indexed: Axes::new(), in_front: false };
        // Whether the last part was a tensor or a number, and how many runs of them there are.
        let (mut inside, mut runs) = (false, 0);
        let any_tensor = parts.iter().any(|p| matches!(p, Index::Tensor(_)));
        for part in parts {
            let advanced = any_tensor && matches!(part, Index::Tensor(_) | Index::At(_));
            runs += (advanced && !inside) as usize;
            inside = advanced;
            match part {
                Index::NewAxis => plan.out.push(Out::New),
                Index::Ellipsis => (0..rank - named).for_each(|_| plan.whole()),
                Index::Tensor(_) => {
                    plan.indexed.push(plan.cuts.len());
                    plan.whole();
                }
                &Index::At(at) => plan.single(at)?,
                &Index::Range(start, end, step) => plan.range(start, end, step)?,
            }
        }
        while plan.cuts.len() < rank {
            plan.whole();
        }
        plan.in_front = runs > 1;
        Ok(plan)
    }

    fn extent(&self) -> Dim {
        self.shape[self.cuts.len()].clone()
    }

    fn whole(&mut self) {
        let (count, limit) = (self.extent(), self.extent());
        self.out.push(Out::Axis(self.cuts.len()));
        self.cuts.push(Cut { start: Dim::from(0), count, limit, stride: 1, reversed: false, single: false });
    }

    fn single(&mut self, at: isize) -> Result<()> {
        let (axis, extent) = (self.cuts.len(), self.extent());
        let start = position(at, &extent);
        if let (Some(i), Some(n)) = (start.known(), extent.known())
            && !(0..n).contains(&i)
        {
            let legal =
                if n == 0 { "an axis with elements".into() } else { format!("indices go from -{n} to {}", n - 1) };
            return fail(Code::Index, format!("index {at} is out of range for axis {axis} of extent {n}"), legal);
        }
        let limit = &start + 1;
        self.cuts.push(Cut { start, count: Dim::from(1), limit, stride: 1, reversed: false, single: true });
        Ok(())
    }

    fn range(&mut self, start: Bound<isize>, end: Bound<isize>, step: isize) -> Result<()> {
        let (axis, extent) = (self.cuts.len(), self.extent());
        if step == 0 {
            return fail(Code::Index, format!("the step of axis {axis} is 0"), "a step of at least 1 or at most -1");
        }
        let place = |b, included: i64, excluded: i64| match b {
            Bound::Included(n) => Some(position(n, &extent) + included),
            Bound::Excluded(n) => Some(position(n, &extent) + excluded),
            Bound::Unbounded => None,
        };
        let stride = step.unsigned_abs();
        let width = Dim::from(i64::try_from(stride).unwrap_or(i64::MAX));
        // The first element, and one beyond the last in the direction of the steps.
        let (first, beyond) = if step > 0 {
            (place(start, 0, 1).unwrap_or(Dim::from(0)), place(end, 1, 0).unwrap_or(extent.clone()))
        } else {
            (place(start, 0, -1).unwrap_or(&extent - 1), place(end, -1, 0).unwrap_or(Dim::from(-1)))
        };
        let span = if step > 0 { &beyond - &first } else { &first - &beyond };
        let (low, high) = if step > 0 { (first.clone(), beyond.clone()) } else { (&beyond + 1, &first + 1) };
        let negative = |d: &Dim| d.known().is_some_and(|n| n < 0);
        if negative(&low) || negative(&span) || negative(&(&extent - &high)) {
            let (rule, legal) = if step > 0 {
                let rule = format!("range {low}..{high} does not lie in axis {axis} of extent {extent}");
                (rule, format!("a range within 0..{extent}"))
            } else {
                let rule = format!("from {first} down to above {beyond}, in axis {axis} of extent {extent}");
                (rule, format!("a start below {extent}, and an end that is not above it"))
            };
            return fail(Code::Index, rule, legal);
        }
        let count = span.ceil_div(&width);
        // The lowest element that is taken.
        let start = if step > 0 { first } else { &first - (&count - 1) * &width };
        let start = if count.is(0) { Dim::from(0) } else { start };
        self.out.push(Out::Axis(axis));
        let limit = if count.is(0) { start.clone() } else { high };
        self.cuts.push(Cut { start, count, limit, stride, reversed: step < 0, single: false });
        Ok(())
    }

    /// What makes the executable of an eager call another one, but for the sizes.
    pub fn key(&self) -> SmallVec<[i64; 16]> {
        let mut key: SmallVec<[i64; 16]> = SmallVec::new();
        for c in &self.cuts {
            key.extend([c.stride as i64, c.reversed as i64 + 2 * c.single as i64]);
        }
        key.extend(self.out.iter().map(|o| if let Out::Axis(a) = o { *a as i64 } else { -1 }));
        key.push(self.in_front as i64);
        key.extend(self.indexed.iter().map(|&a| a as i64));
        key
    }

    /// Where ranges begin, and their lengths.
    pub fn sizes(&self) -> SmallVec<[Dim; 8]> {
        self.cuts.iter().flat_map(|c| [c.start.clone(), c.count.clone()]).collect()
    }

    /// The same for a tensor of another shape, with other sizes.
    pub fn with_sizes(&self, shape: &Shape, sizes: &[Dim]) -> Plan {
        let mut plan = Plan { shape: shape.clone(), ..self.clone() };
        for (cut, size) in plan.cuts.iter_mut().zip(sizes.chunks(2)) {
            (cut.start, cut.count) = (size[0].clone(), size[1].clone());
            cut.limit = match cut.count.is(0) {
                true => cut.start.clone(),
                false => &cut.start + (&cut.count - 1) * cut.stride + 1,
            };
        }
        plan
    }

    /// Extents after the ranges, with the axes that fall away at extent 1.
    fn kept(&self) -> Shape {
        self.cuts.iter().map(|c| c.count.clone()).collect()
    }

    /// Takes ranges and applies numbers; new axes are not there yet.
    pub fn steps(&self) -> SmallVec<[Step; 4]> {
        let mut steps = SmallVec::new();
        let moved = |c: &Cut| !c.start.is(0) || c.stride != 1;
        if self.cuts.iter().any(moved) || self.kept() != self.shape {
            let starts = self.cuts.iter().map(|c| c.start.clone()).collect();
            let strides = self.cuts.iter().map(|c| c.stride).collect();
            let limits = self.cuts.iter().map(|c| c.limit.clone()).collect();
            steps.push(Step::Slice { starts, counts: self.kept(), strides, limits });
        }
        let reversed = self.reversed();
        if !reversed.is_empty() {
            steps.push(Step::Flip(reversed));
        }
        if self.cuts.iter().any(|c| c.single) {
            steps.push(Step::Reshape(self.left()));
        }
        steps
    }

    fn reversed(&self) -> Axes {
        (0..self.cuts.len()).filter(|&i| self.cuts[i].reversed).collect()
    }

    /// The number of an axis among those that do not fall away.
    pub fn axis_left(&self, axis: usize) -> usize {
        self.cuts[..axis].iter().filter(|c| !c.single).count()
    }

    /// Puts in the new axes of the index.
    pub fn new_axes(&self, shape: &Shape) -> Option<Step> {
        self.out.contains(&Out::New).then(|| Step::Reshape(self.shape_with_new_axes(shape)))
    }

    /// A shape with the new axes of the index put in. Axes of tensors of indices, if any, stand in the place of those they
    /// index, or in front.
    fn shape_with_new_axes(&self, shape: &Shape) -> Shape {
        let axes = self.out.iter().filter(|o| matches!(o, Out::Axis(_))).count();
        let spread = shape.rank() - (axes - self.indexed.len());
        let mut rest = shape.iter().cloned();
        let mut new = Shape::scalar();
        let mut placed = self.indexed.is_empty();
        if self.in_front && !placed {
            new.extend(rest.by_ref().take(spread));
            placed = true;
        }
        for o in &self.out {
            match o {
                Out::New => new.push(Dim::from(1)),
                Out::Axis(a) if self.indexed.contains(a) => {
                    if !placed {
                        new.extend(rest.by_ref().take(spread));
                        placed = true;
                    }
                }
                Out::Axis(_) => new.extend(rest.by_ref().take(1)),
            }
        }
        new
    }

    /// Extents after numbers and ranges.
    fn left(&self) -> Shape {
        self.cuts.iter().filter(|c| !c.single).map(|c| c.count.clone()).collect()
    }

    /// The shape of the result, with tensors of indices of that common shape.
    pub fn result(&self, common: &Shape) -> Shape {
        let left = self.left();
        let axes: Axes = self.indexed.iter().map(|&a| self.axis_left(a)).collect();
        let others = left.without(&axes);
        let first = if self.in_front { 0 } else { axes.first().copied().unwrap_or(0) };
        let gathered = others[..first].iter().chain(common.iter()).chain(&others[first..]).cloned().collect();
        self.shape_with_new_axes(&gathered)
    }

    pub fn check_value(&self, value: &Tensor, common: &Shape) -> Result<()> {
        let wanted = self.result(common);
        let found = value.shape();
        match common_shape("set_at", [&wanted, &found].into_iter()) {
            Ok(common) if common == wanted => Ok(()),
            _ => {
                let rule = format!("a value of shape {found} for a part of shape {wanted}");
                Err(Error::new(Code::Shape, "set_at", rule, format!("a shape that broadcasts to {wanted}")))
            }
        }
    }

    /// The tensor with the part replaced: where a mask of the part's elements is set, the value spread over the tensor.
    pub fn write(&self, x: &Tensor, value: &Tensor) -> Tensor {
        if self.cuts.iter().any(|c| c.count.is(0)) {
            return x.clone();
        }
        let dtype = x.dtype();
        let value = prim::broadcast(&prim::cast(value, dtype), &self.result(&Shape::scalar()));
        let mut value = prim::reshape(&value, &self.kept());
        let reversed = self.reversed();
        if !reversed.is_empty() {
            value = record(view::Reverse { axes: reversed }, &[&value]);
        }
        let mark = prim::full(Scalar::Bool(true), &self.kept());
        let low: Shape = self.cuts.iter().map(|c| c.start.clone()).collect();
        let used = |c: &Cut| &c.start + (&c.count - 1) * c.stride + 1;
        let high: Shape = self.cuts.iter().zip(self.shape.iter()).map(|(c, extent)| extent - used(c)).collect();
        let interior: Axes = self.cuts.iter().map(|c| c.stride - 1).collect();
        let spread = |t: &Tensor, value: Scalar| {
            record(view::Pad { value, low: low.clone(), high: high.clone(), interior: interior.clone() }, &[t])
        };
        let (value, mark) = (spread(&value, Scalar::zero(dtype)), spread(&mark, Scalar::zero(DType::Bool)));
        record(binary::Select {}, &[&mark, &value, x])
    }
}

/// An index from the end if negative.
fn position(n: isize, extent: &Dim) -> Dim {
    if n < 0 { extent + n as i64 } else { Dim::from(n as i64) }
}
