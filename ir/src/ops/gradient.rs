//! Ops that say something about gradients alone.

use super::attribute::op_struct;
use super::elementwise::Evaluated;
use super::rules::{arity, one};
use super::{
    BadSample, Barrier, Emit, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Rewriter, Sample, Types,
    VjpContext, pointwise, pointwise_samples,
};
use crate::graph::{RegionType, Value};
use crate::kernel::{KernelBuilder, Var};
use crate::{Dim, Literal, NotDifferentiable, Type, Violation};
use smallvec::smallvec;

/// What these ops are.
pub(super) const FAMILY: &str = "Ops that say something about gradients alone";

/// What the identity has beside its derivatives.
macro_rules! identity_rules {
    () => {
        fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
            arity(self, operands, 1)?;
            one(operands[0].dtype, &operands[0].shape)
        }
        fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
            Ok(smallvec![operands[0].clone()])
        }
        fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
            pointwise::batch(b, self.clone(), operands, axes, size)
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
    };
}

macro_rules! identity_samples {
    ($name:ident) => {
        impl OpSamples for $name {
            fn samples() -> Vec<Sample> {
                pointwise_samples::unary($name {}, pointwise::any)
            }
            fn bad_samples() -> Vec<BadSample> {
                pointwise_samples::bad_unary($name {}, pointwise::any)
            }
        }
    };
}

op_struct! {
    /// Its operand, which counts as a constant when it is differentiated.
    StopGradient = "stop_gradient" {}
}
impl OpDef for StopGradient {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "`x`, bit for bit.",
            constraints: &["takes 1 operand"],
            gradient: "0 by definition: what it is for.",
            example: "stop_gradient [1.5, -0]:f32[2] = [1.5, -0]",
        }
    }
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Ok(smallvec![None])
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
    fn barrier(&self) -> Option<Barrier> {
        Some(Barrier::Stop)
    }
    identity_rules!();
}
identity_samples!(StopGradient);

op_struct! {
    /// Its operand, which a function with a derivative of its own captures.
    Captured = "captured" {}
}
impl OpDef for Captured {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "`x`, bit for bit.",
            constraints: &["takes 1 operand"],
            gradient: "None: what the user gave is the derivative by the argument of the function, and says nothing of this. To \
                ask for it is an error.",
            example: "captured [1.5, -0]:f32[2] = [1.5, -0]",
        }
    }
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Err(NotDifferentiable(Barrier::Captured.reason()))
    }
    fn jvp(
        &self,
        _: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        _: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Err(NotDifferentiable(Barrier::Captured.reason()))
    }
    fn barrier(&self) -> Option<Barrier> {
        Some(Barrier::Captured)
    }
    identity_rules!();
}
identity_samples!(Captured);
