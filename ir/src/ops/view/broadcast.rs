//! `broadcast_in_dim`.

use super::emit_same;
use super::moved;
use crate::graph::RegionType;
use crate::graph::Value;
use crate::ops::attribute::op_struct;
use crate::ops::batching::{in_front, shifted, with_front};
use crate::ops::elements::{offsets, pick, signed_strides};
use crate::ops::rules::{arity, one, valid_axes, valid_shape, violation};
use crate::ops::samples::{bad, for_each, sample, values};
use crate::ops::{
    BadSample, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive, Rewriter, Sample,
    Types, View, VjpContext,
};
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Ranges, Shape, Type, Violation, ViolationKind};
use smallvec::{SmallVec, smallvec};

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
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Repeats elements: `result[.., j, ..]` is the operand's element whose index along axis `i` is that of the result along `dims[i]`, or 0 where the operand's extent is 1.",
            constraints: &[
                "`dims` has one entry per axis of the operand and increases",
                "an operand axis has extent 1 or that of its result axis",
            ],
            gradient: "The cotangent summed over the axes that were added or stretched.",
            example: "broadcast_in_dim [1, 2]:f32[2] {shape = [2, 2], dims = [1]} = [[1, 2], [1, 2]]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        valid_shape(self, operands, &self.shape)?;
        let x = operands[0];
        if self.dims.len() != x.rank() {
            let rule = format!("dims has {} entries for {} axes", self.dims.len(), x.rank());
            return Err(violation(self, operands, rule, "one entry per axis of the operand").of(ViolationKind::Rank));
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
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        let dims = &cx.results[0];
        let mut strides: SmallVec<[isize; 4]> = smallvec![0; dims.len()];
        for (i, (&d, stride)) in self.dims.iter().zip(signed_strides(x.dims())).enumerate() {
            strides[d] = if x.dims()[i] == 1 { 0 } else { stride };
        }
        Ok(smallvec![pick(x, dims, offsets(dims, &strides, 0))])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let x = b.ty(cx.operands[0]).shape.clone();
        let repeated: Axes = (0..self.shape.rank())
            .filter(|&d| self.dims.iter().position(|&to| to == d).is_none_or(|i| x[i] != self.shape[d]))
            .collect();
        let sum = b.reduce_sum(cx.cotangent(), &repeated);
        Ok(smallvec![Some(b.reshape(sum, &x))])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(tangents[0].map(|t| b.emit(self.clone().into(), &[t])))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        let x = in_front(b, operands[0], axes[0], size);
        let shape = Shape(with_front(size.clone(), &self.shape));
        b.broadcast_in_dim(x, &shape, &with_front(0, &shifted(&self.dims)))
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        let x = operands[0];
        if b.ty(x) == result {
            return Some(x);
        }
        if let Some(value) = b.splat(x) {
            return Some(b.full(value, &result.shape));
        }
        // Where each axis of the inner operand stands in `x`.
        let (inner, placed): (Value, Axes) = match b.definition(x)? {
            (Primitive::BroadcastInDim(op), v) => (v[0], op.dims.clone()),
            (Primitive::Reshape(_), v) => (v[0], inserted_axes(&b.ty(v[0]).shape, &b.ty(x).shape)?),
            _ => return None,
        };
        let dims = placed.iter().map(|&d| self.dims[d]).collect();
        emit_same(b, BroadcastInDim { shape: self.shape.clone(), dims }, &[inner], result)
    }
}

/// Where the axes of `old` stand in `new`, if `new` is `old` with axes of extent 1 put in.
fn inserted_axes(old: &Shape, new: &Shape) -> Option<Axes> {
    let mut next = 0;
    let mut placed = Axes::new();
    for (i, extent) in new.iter().enumerate() {
        if next < old.rank() && old[next] == *extent {
            placed.push(i);
            next += 1;
        } else if !extent.is(1) {
            return None;
        }
    }
    (next == old.rank()).then_some(placed)
}

impl OpSamples for BroadcastInDim {
    fn samples() -> Vec<Sample> {
        let op = |shape: &[usize], dims: &[usize]| BroadcastInDim { shape: shape.into(), dims: dims.into() };
        let mut all = vec![
            sample(op(&[3, 2], &[1]), &[values(DType::F64, &[2])]),
            sample(op(&[2, 3], &[0, 1]), &[values(DType::F64, &[2, 1])]),
            sample(op(&[2, 2, 3, 2], &[1, 3]), &[values(DType::F64, &[1, 2])]),
            sample(op(&[4], &[]), &[values(DType::F64, &[])]),
            sample(op(&[], &[]), &[values(DType::F32, &[])]),
            sample(op(&[2, 3], &[0, 1]), &[values(DType::F32, &[2, 3])]),
            sample(op(&[0, 3], &[1]), &[values(DType::F32, &[3])]),
            sample(op(&[3, 0], &[0, 1]), &[values(DType::F32, &[1, 0])]),
        ];
        all.extend(for_each(DType::ALL, |_| op(&[2, 12], &[1]).into(), &[12]));
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |shape: &[usize], dims: &[usize]| BroadcastInDim { shape: shape.into(), dims: dims.into() };
        vec![
            bad(BroadcastInDim { shape: [-1].into(), dims: Axes::new() }, [&[]], "shape [-1] has the extent -1"),
            bad(op(&[2], &[]), [], "takes 1 operand, not 0"),
            bad(op(&[2, 3], &[1]), [&[2, 3]], "dims has 1 entries for 2 axes"),
            bad(op(&[3], &[1]), [&[3]], "axis 1 does not exist"),
            bad(op(&[3, 3], &[0, 0]), [&[3, 3]], "axis 0 is named twice"),
            bad(op(&[3, 2], &[1, 0]), [&[2, 3]], "do not increase"),
            bad(op(&[4], &[0]), [&[3]], "axis 0 of extent 3 cannot become axis 0 of extent 4"),
        ]
    }
}
