//! Ops without operands.

use super::attribute::op_struct;
use super::elementwise::Evaluated;
use super::pending::{pending_rest, pending_samples};
use super::rules::{arity, one, valid_axes, violation};
use super::{EvalContext, Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::kernel::{KernelBuilder, Var};
use crate::literal::strides_of;
use crate::{DType, Dim, Literal, Scalar, Shape, Type, Violation};
use smallvec::smallvec;

op_struct! {
    /// Dense data.
    Constant = "constant" {
        /// The data.
        value: Literal,
    }
}
impl OpDef for Constant {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 0)?;
        one(self.value.dtype(), self.value.dims())
    }
    fn lowering(&self) -> Lowering {
        Lowering::Constant
    }
    fn literal(&self) -> Option<&Literal> {
        Some(&self.value)
    }
    fn splat(&self) -> Option<Scalar> {
        // Longer literals are not scanned at each look.
        if self.value.numel() <= 64 { self.value.splat() } else { None }
    }
    fn eval(&self, _: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        Ok(smallvec![self.value.clone()])
    }
    pending_rest!();
}

op_struct! {
    /// One value everywhere.
    Full = "full" {
        /// The value.
        value: Scalar,
        /// The shape.
        shape: Shape,
    }
}
impl OpDef for Full {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 0)?;
        one(self.value.dtype(), &self.shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Generate
    }
    fn generate(&self, k: &mut KernelBuilder, _: &[Dim], _: &mut dyn FnMut(&mut KernelBuilder, &Dim) -> Var) -> Var {
        k.constant(self.value)
    }
    fn splat(&self) -> Option<Scalar> {
        Some(self.value)
    }
    fn eval(&self, _: &[&Literal], cx: &mut EvalContext<'_>) -> Evaluated {
        Ok(smallvec![Literal::filled(&cx.results[0], self.value)])
    }
    pending_rest!();
}

op_struct! {
    /// The index along an axis.
    Iota = "iota" {
        /// Element type, not bool.
        dtype: DType,
        /// The shape.
        shape: Shape,
        /// The axis counted along.
        axis: usize,
    }
}
impl OpDef for Iota {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 0)?;
        valid_axes(self, operands, &[self.axis], self.shape.rank())?;
        if self.dtype == DType::Bool {
            return Err(violation(self, operands, "the dtype is bool", "it must be a number"));
        }
        one(self.dtype, &self.shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Generate
    }
    fn generate(
        &self,
        k: &mut KernelBuilder,
        index: &[Dim],
        value: &mut dyn FnMut(&mut KernelBuilder, &Dim) -> Var,
    ) -> Var {
        let i = value(k, &index[self.axis]);
        k.convert(i, self.dtype)
    }
    fn eval(&self, _: &[&Literal], cx: &mut EvalContext<'_>) -> Evaluated {
        let dims = &cx.results[0];
        let (stride, extent) = (strides_of(dims)[self.axis], dims[self.axis]);
        let index = |i: usize| Scalar::I64((i / stride % extent) as i64).convert(self.dtype);
        Ok(smallvec![Literal::from_fn(dims, self.dtype, index)])
    }
    pending_rest!();
}

op_struct! {
    /// An extent as an i64 scalar.
    DimValue = "dim_value" {
        /// The extent.
        dim: Dim,
    }
}
impl OpDef for DimValue {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 0)?;
        one(DType::I64, Shape::scalar())
    }
    fn lowering(&self) -> Lowering {
        Lowering::Generate
    }
    fn generate(
        &self,
        k: &mut KernelBuilder,
        _: &[Dim],
        value: &mut dyn FnMut(&mut KernelBuilder, &Dim) -> Var,
    ) -> Var {
        value(k, &self.dim)
    }
    fn splat(&self) -> Option<Scalar> {
        self.dim.known().map(Scalar::I64)
    }
    fn eval(&self, _: &[&Literal], cx: &mut EvalContext<'_>) -> Evaluated {
        Ok(smallvec![Literal::scalar(Scalar::I64((cx.dim)(&self.dim)?))])
    }
    pending_rest!();
}
pending_samples!(Constant, Full, Iota, DimValue);
