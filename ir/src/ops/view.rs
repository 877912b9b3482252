//! Views: ops whose elements are the operand's, elsewhere.

use super::attribute::op_struct;
use super::pending::{pending, pending_samples};
use super::rules::{arity, one, valid_axes, violation};
use super::{Lowering, OpDef, Types, View, ViewPiece};
use crate::graph::RegionType;
use crate::{Axes, Dim, Ranges, Scalar, Shape, Type, Violation};
use smallvec::{SmallVec, smallvec};

fn moved(index: impl IntoIterator<Item = Dim>) -> View {
    let index = index.into_iter().collect();
    let piece = ViewPiece { operand: 0, index, non_negative: smallvec![], divisible: smallvec![] };
    View { pieces: smallvec![piece], fill: None }
}

op_struct! {
    /// Axis `i` of the operand becomes axis `dims[i]` of the result; an axis of extent 1 is repeated.
    BroadcastInDim = "broadcast_in_dim" {
        /// The shape of the result.
        shape: Shape,
        /// Where each axis goes; strictly increasing.
        dims: Axes,
    }
}
impl OpDef for BroadcastInDim {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if self.dims.len() != x.rank() {
            let rule = format!("dims has {} entries for {} axes", self.dims.len(), x.rank());
            return Err(violation(self, operands, rule, "one entry per axis of the operand"));
        }
        valid_axes(self, operands, &self.dims, self.shape.rank())?;
        if self.dims.windows(2).any(|w| w[0] >= w[1]) {
            return Err(violation(self, operands, format!("dims {:?} do not increase", self.dims), "transpose first"));
        }
        for (i, &d) in self.dims.iter().enumerate() {
            if x.shape[i] != self.shape[d] && !x.shape[i].is(1) {
                let rule =
                    format!("axis {i} of extent {} cannot become axis {d} of extent {}", x.shape[i], self.shape[d]);
                return Err(violation(self, operands, rule, "extents must be equal, or 1 in the operand"));
            }
        }
        one(x.dtype, &self.shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let x = &operands[0].shape;
        moved(self.dims.iter().enumerate().map(|(i, &d)| if x[i].is(1) { Dim::from(0) } else { index[d].clone() }))
    }
    pending!();
}

op_struct! {
    /// The same elements in row-major order under another shape.
    Reshape = "reshape" {
        /// The shape of the result.
        shape: Shape,
    }
}
impl OpDef for Reshape {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let (old, new) = (operands[0].shape.numel(), self.shape.numel());
        if old != new {
            let rule = format!("{old} elements cannot take shape {}, which has {new}", self.shape);
            return Err(violation(self, operands, rule, "the number of elements must stay"));
        }
        one(operands[0].dtype, &self.shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], result: &Type, index: &[Dim], ranges: &Ranges) -> View {
        moved(ranges.reshape(index, &result.shape, &operands[0].shape))
    }
    pending!();
}

op_struct! {
    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    Transpose = "transpose" {
        /// The axes of the operand in their new order.
        permutation: Axes,
    }
}
impl OpDef for Transpose {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if self.permutation.len() != x.rank() {
            let rule = format!("a permutation of {} axes for {}", self.permutation.len(), x.rank());
            return Err(violation(self, operands, rule, "name every axis once"));
        }
        valid_axes(self, operands, &self.permutation, x.rank())?;
        one(x.dtype, self.permutation.iter().map(|&p| x.shape[p].clone()).collect::<Shape>())
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, _: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let mut moved_index: SmallVec<[Dim; 4]> = SmallVec::from_elem(Dim::from(0), index.len());
        for (i, &p) in self.permutation.iter().enumerate() {
            moved_index[p] = index[i].clone();
        }
        moved(moved_index)
    }
    pending!();
}

op_struct! {
    /// Elements `starts[i], starts[i] + strides[i], …` below `limits[i]` of each axis.
    Slice = "slice" {
        /// First index of each axis.
        starts: Shape,
        /// End of each axis, exclusive.
        limits: Shape,
        /// Positive step of each axis.
        strides: Axes,
    }
}
impl OpDef for Slice {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if [self.starts.rank(), self.limits.rank(), self.strides.len()] != [x.rank(); 3] {
            return Err(violation(
                self,
                operands,
                "starts, limits and strides do not fit the rank",
                "one entry per axis",
            ));
        }
        let mut shape = Shape::scalar();
        for i in 0..x.rank() {
            let (start, limit, extent) = (&self.starts[i], &self.limits[i], &x.shape[i]);
            if self.strides[i] == 0 {
                return Err(violation(self, operands, format!("stride 0 on axis {i}"), "strides are positive"));
            }
            // What is symbolic is checked where it gets its value.
            let ordered = |a: &Dim, b: &Dim| (b - a).known().is_none_or(|d| d >= 0);
            if !(ordered(&Dim::from(0), start) && ordered(start, limit) && ordered(limit, extent)) {
                let rule = format!("slice {start}..{limit} of axis {i}, which has extent {extent}");
                return Err(violation(self, operands, rule, "0 <= start <= limit <= extent"));
            }
            shape.push((limit - start).ceil_div(&Dim::from(self.strides[i])));
        }
        one(x.dtype, shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, _: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        moved(index.iter().enumerate().map(|(i, d)| d * self.strides[i] + &self.starts[i]))
    }
    pending!();
}

op_struct! {
    /// Adds elements of one value: `low[i]` before, `high[i]` after and `interior[i]` between the elements of axis `i`;
    /// negative `low` and `high` cut elements off.
    Pad = "pad" {
        /// The added value.
        value: Scalar,
        /// Before the first element.
        low: Shape,
        /// After the last.
        high: Shape,
        /// Between neighbours.
        interior: Axes,
    }
}
impl OpDef for Pad {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if [self.low.rank(), self.high.rank(), self.interior.len()] != [x.rank(); 3] {
            return Err(violation(self, operands, "low, high and interior do not fit the rank", "one entry per axis"));
        }
        if self.value.dtype() != x.dtype {
            let rule = format!("the padding value {:?} is not of dtype {}", self.value, x.dtype);
            return Err(violation(self, operands, rule, "both must be the same"));
        }
        let mut shape = Shape::scalar();
        for i in 0..x.rank() {
            let n = &x.shape[i];
            let spread =
                if n.is(0) || self.interior[i] == 0 { n.clone() } else { (n - 1) * (self.interior[i] + 1) + 1 };
            let extent = spread + &self.low[i] + &self.high[i];
            if extent.known().is_some_and(|e| e < 0) {
                let rule = format!("padding leaves axis {i} with extent {extent}");
                return Err(violation(self, operands, rule, "an extent is not negative"));
            }
            shape.push(extent);
        }
        one(x.dtype, shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], ranges: &Ranges) -> View {
        let mut piece = ViewPiece { operand: 0, index: smallvec![], non_negative: smallvec![], divisible: smallvec![] };
        for (i, d) in index.iter().enumerate() {
            let shifted = d - &self.low[i];
            let step = Dim::from(self.interior[i] + 1);
            let inner = ranges.floor_div(&shifted, &step);
            if !step.is(1) {
                piece.divisible.push((shifted.clone(), step));
            }
            for bound in [shifted, &operands[0].shape[i] - 1 - &inner] {
                if !ranges.is_non_negative(&bound) {
                    piece.non_negative.push(bound);
                }
            }
            piece.index.push(inner);
        }
        View { pieces: smallvec![piece], fill: Some(self.value) }
    }
    pending!();
}

op_struct! {
    /// Operands one after the other along an axis.
    Concatenate = "concatenate" {
        /// The axis.
        axis: usize,
    }
}
impl OpDef for Concatenate {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        let Some(first) = operands.first() else {
            return Err(violation(self, operands, "no operands", "at least one"));
        };
        valid_axes(self, operands, &[self.axis], first.rank())?;
        let mut extent = Dim::from(0);
        for (i, x) in operands.iter().enumerate() {
            if x.dtype != first.dtype
                || x.shape.without(&[self.axis]) != first.shape.without(&[self.axis])
                || x.rank() != first.rank()
            {
                let rule = format!("operand {i} has type {x}, operand 0 has {first}");
                return Err(violation(self, operands, rule, format!("only axis {} may differ", self.axis)));
            }
            extent = extent + &x.shape[self.axis];
        }
        one(first.dtype, first.shape.with_axis(self.axis, extent))
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let mut pieces = SmallVec::new();
        let mut start = Dim::from(0);
        for (operand, x) in operands.iter().enumerate() {
            let mut inner: SmallVec<[Dim; 4]> = index.into();
            inner[self.axis] = &index[self.axis] - &start;
            start = start + &x.shape[self.axis];
            // Pieces are tried in order, so only the upper end needs a test; the last needs none.
            let non_negative =
                if operand + 1 == operands.len() { smallvec![] } else { smallvec![&start - 1 - &index[self.axis]] };
            pieces.push(ViewPiece { operand, index: inner, non_negative, divisible: smallvec![] });
        }
        View { pieces, fill: None }
    }
    pending!();
}

op_struct! {
    /// Elements in reverse order along axes.
    Reverse = "reverse" {
        /// The axes.
        axes: Axes,
    }
}
impl OpDef for Reverse {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        valid_axes(self, operands, &self.axes, operands[0].rank())?;
        one(operands[0].dtype, &operands[0].shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let x = &operands[0].shape;
        moved(index.iter().enumerate().map(|(i, d)| if self.axes.contains(&i) { &x[i] - 1 - d } else { d.clone() }))
    }
    pending!();
}
pending_samples!(BroadcastInDim, Reshape, Transpose, Slice, Pad, Concatenate, Reverse);
