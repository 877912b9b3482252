//! Ops without operands.

use super::attribute::op_struct;
use super::batching::with_front;
use super::elementwise::Evaluated;
use super::rules::{arity, one, valid_axes, valid_shape, violation};
use super::{
    BadSample, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive, Rewriter, Sample,
    Types, VjpContext, pointwise, pointwise_samples,
};
use crate::graph::{RegionType, Value};
use crate::kernel::{KernelBuilder, Var};
use crate::literal::strides_of;
use crate::{DType, Dim, Literal, NotDifferentiable, Scalar, Shape, Type, Violation, ViolationKind};
use smallvec::smallvec;

/// What these ops are.
pub(super) const FAMILY: &str = "Ops without operands";

macro_rules! no_derivative {
    () => {
        fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
            Ok(PerOperand::new())
        }
        fn jvp(
            &self,
            _: &mut dyn Emit,
            _: &[Value],
            _: &[Value],
            _: &[Option<Value>],
        ) -> Result<Option<Value>, NotDifferentiable> {
            Ok(None)
        }
    };
}

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
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Fixed data, part of the program.",
            constraints: &["takes no operands"],
            gradient: "None: there is no operand.",
            example: "constant {value = [3, -1]:i32[2]} = [3, -1]",
        }
    }
    no_derivative!();
    fn batch(&self, b: &mut dyn Emit, _: &[Value], _: &[Option<usize>], size: &Dim) -> Value {
        pointwise::batch_created(b, self.clone(), size)
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, _: &[Value], result: &Type) -> Option<Value> {
        let value = self.splat()?;
        Some(b.full(value, &result.shape))
    }
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
        valid_shape(self, operands, &self.shape)?;
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
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The value of the attribute everywhere.",
            constraints: &["takes no operands"],
            gradient: "None: there is no operand.",
            example: "full {value = 0.5:f32, shape = [2, 2]} = [[0.5, 0.5], [0.5, 0.5]]",
        }
    }
    no_derivative!();
    fn batch(&self, b: &mut dyn Emit, _: &[Value], _: &[Option<usize>], size: &Dim) -> Value {
        b.full(self.value, &Shape(with_front(size.clone(), &self.shape)))
    }
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
        valid_shape(self, operands, &self.shape)?;
        valid_axes(self, operands, &[self.axis], self.shape.rank())?;
        if self.dtype == DType::Bool {
            return Err(violation(self, operands, "the dtype is bool", "it must be a number").of(ViolationKind::DType));
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
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "At each index, its position along the axis, converted from i64 as the convert op does.",
            constraints: &["takes no operands", "the axis exists in the shape", "the dtype is not bool"],
            gradient: "None: there is no operand.",
            example: "iota {dtype = i32, shape = [2, 3], axis = 1} = [[0, 1, 2], [0, 1, 2]]",
        }
    }
    no_derivative!();
    fn batch(&self, b: &mut dyn Emit, _: &[Value], _: &[Option<usize>], size: &Dim) -> Value {
        let shape = Shape(with_front(size.clone(), &self.shape));
        b.emit(Iota { dtype: self.dtype, shape, axis: self.axis + 1 }.into(), &[])
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, _: &[Value], _: &Type) -> Option<Value> {
        self.shape[self.axis].is(1).then(|| b.full(Scalar::zero(self.dtype), &self.shape))
    }
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
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The value of a dimension, or of an expression of dimensions, at this call.",
            constraints: &["takes no operands"],
            gradient: "None: there is no operand.",
            example: "dim_value {dim = 9} = 9",
        }
    }
    no_derivative!();
    fn batch(&self, b: &mut dyn Emit, _: &[Value], _: &[Option<usize>], size: &Dim) -> Value {
        pointwise::batch_created(b, self.clone(), size)
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, _: &[Value], _: &Type) -> Option<Value> {
        let value = self.splat()?;
        Some(b.full(value, &Shape::scalar()))
    }
}

fn sample(op: impl Into<Primitive>) -> Sample {
    Sample { primitive: op.into(), operands: Vec::new() }
}

fn bad(op: impl Into<Primitive>, operands: &[Type], message: &'static str) -> BadSample {
    BadSample { primitive: op.into(), operands: operands.to_vec(), message }
}

impl OpSamples for Constant {
    fn samples() -> Vec<Sample> {
        let shapes: [&[usize]; 4] = [&[], &[5], &[0, 2], &[2, 1, 3]];
        let odd = |dtype| sample(Constant { value: pointwise_samples::odd(dtype) });
        let same = |dtype| sample(Constant { value: Literal::filled(&[2, 2], pointwise_samples::odd(dtype).get(1)) });
        let plain = |(dtype, dims)| sample(Constant { value: pointwise_samples::ordinary(dtype, dims, 0) });
        let all = DType::ALL.into_iter();
        let plain = all.clone().flat_map(|d| shapes.map(|dims| (d, dims))).map(plain);
        plain.chain(all.clone().map(odd)).chain(all.map(same)).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        let value = Literal::scalar(Scalar::F32(1.0));
        vec![bad(Constant { value }, &[Type::scalar(DType::F32)], "takes 0 operands, not 1")]
    }
}

impl OpSamples for Full {
    fn samples() -> Vec<Sample> {
        let shapes = [Shape::scalar(), Shape::from([3]), Shape::from([2, 0]), Shape::from([2, 1, 2])];
        let values = DType::ALL.into_iter().flat_map(|dtype| pointwise_samples::odd(dtype).iter().collect::<Vec<_>>());
        values.enumerate().map(|(i, value)| sample(Full { value, shape: shapes[i % shapes.len()].clone() })).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |shape: Shape| Full { value: Scalar::F32(0.0), shape };
        vec![
            bad(op(Shape::from([2])), &[Type::scalar(DType::F32)], "takes 0 operands, not 1"),
            bad(op(Shape::from([-2])), &[], "shape [-2] has the extent -2; an extent is not negative"),
        ]
    }
}

impl OpSamples for Iota {
    fn samples() -> Vec<Sample> {
        let shapes =
            [(Shape::from([5]), 0), (Shape::from([2, 3]), 1), (Shape::from([3, 1, 2]), 0), (Shape::from([1, 4]), 0)];
        // Long enough to wrap in u8 and to be rounded in bf16.
        let long = (Shape::from([300]), 0);
        let empty = (Shape::from([0, 2]), 1);
        let numbers = DType::ALL.into_iter().filter(|&d| pointwise::number(d));
        let shapes = shapes.into_iter().chain([long, empty]).collect::<Vec<_>>();
        numbers
            .flat_map(|dtype| shapes.iter().map(move |(shape, axis)| Iota { dtype, shape: shape.clone(), axis: *axis }))
            .map(sample)
            .collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |dtype, shape, axis| Iota { dtype, shape, axis };
        vec![
            bad(op(DType::I32, Shape::from([2]), 0), &[Type::scalar(DType::F32)], "takes 0 operands, not 1"),
            bad(op(DType::I32, Shape::from([-2]), 0), &[], "shape [-2] has the extent -2; an extent is not negative"),
            bad(op(DType::I32, Shape::from([2]), 1), &[], "axis 1 does not exist; axes go from 0 to 0"),
            bad(op(DType::I32, Shape::scalar(), 0), &[], "axis 0 does not exist; a scalar has no axes"),
            bad(op(DType::Bool, Shape::from([2]), 0), &[], "the dtype is bool; it must be a number"),
        ]
    }
}

impl OpSamples for DimValue {
    fn samples() -> Vec<Sample> {
        [0, 1, 7, 1 << 40].map(|n: i64| sample(DimValue { dim: Dim::from(n) })).to_vec()
    }
    fn bad_samples() -> Vec<BadSample> {
        vec![bad(DimValue { dim: Dim::from(2) }, &[Type::scalar(DType::I64)], "takes 0 operands, not 1")]
    }
}
