//! Values that nothing looks through, and values with names.

use crate::graph::RegionType;
use crate::kernel::{KernelBuilder, Var};
use crate::ops::attribute::op_struct;
use crate::ops::elementwise::Evaluated;
use crate::ops::rules::{arity, one};
use crate::ops::{
    BadSample, Emit, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Rewriter, Sample, Types, VjpContext,
    pointwise, pointwise_samples,
};
use crate::{Dim, Literal, NotDifferentiable, Type, Value, Violation};
use smallvec::smallvec;

/// What both ops have in common: they are their operand.
macro_rules! identity {
    ($name:ident) => {
        fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
            arity(self, operands, 1)?;
            one(operands[0].dtype, &operands[0].shape)
        }
        fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
            Ok(smallvec![operands[0].clone()])
        }
        fn vjp(&self, _: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
            Ok(smallvec![Some(cx.cotangent())])
        }
        fn jvp(
            &self,
            _: &mut dyn Emit,
            _: &[Value],
            _: &[Value],
            tangents: &[Option<Value>],
        ) -> Result<Option<Value>, NotDifferentiable> {
            Ok(tangents[0])
        }
        fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
            pointwise::batch(b, self.clone(), operands, axes, size)
        }
    };
}

op_struct! {
    /// Its operand, as a value of its own.
    Fence = "fence" {}
}
impl OpDef for Fence {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "`x`, bit for bit, in the same memory. Nothing is merged or fused across it: what is computed again from it is \
                        not what was computed from `x` before.",
            constraints: &["takes 1 operand"],
            gradient: "`g`.",
            example: "fence [1.5, -0]:f32[2] = [1.5, -0]",
        }
    }
    identity!(Fence);
    fn lowering(&self) -> Lowering {
        Lowering::Fence
    }
}
impl OpSamples for Fence {
    fn samples() -> Vec<Sample> {
        pointwise_samples::unary(Fence {}, pointwise::any)
    }
    fn bad_samples() -> Vec<BadSample> {
        pointwise_samples::bad_unary(Fence {}, pointwise::any)
    }
}

op_struct! {
    /// Its operand, with a name by which it can be kept for gradients.
    Named = "named" {
        /// The name.
        name: String,
    }
}
impl OpDef for Named {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "`x`, bit for bit. A `call` that keeps that name keeps it for its gradient.",
            constraints: &["takes 1 operand"],
            gradient: "`g`.",
            example: "named [1.5, -0]:f32[2] {name = \"hidden\"} = [1.5, -0]",
        }
    }
    identity!(Named);
    fn value_name(&self) -> Option<&str> {
        Some(&self.name)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, _: &mut KernelBuilder, operands: &[Var]) -> Var {
        operands[0]
    }
    // Simplification comes after differentiation.
    fn canonicalize(&self, _: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
        Some(operands[0])
    }
}
impl OpSamples for Named {
    fn samples() -> Vec<Sample> {
        pointwise_samples::unary(Named { name: "hidden".into() }, pointwise::any)
    }
    fn bad_samples() -> Vec<BadSample> {
        pointwise_samples::bad_unary(Named { name: "hidden".into() }, pointwise::any)
    }
}
