//! What the compiler knows of a user's op.

use super::{CpuBody, CustomOp, Fault, rules};
use ir::graph::Values;
use ir::ops::custom::{Body, Call, Implementation};
use ir::ops::{Attr, PerOperand, PerResult, Types, VjpContext};
use ir::{Dim, Emit, Literal, NotDifferentiable, Type, Value};
use smallvec::SmallVec;

/// A user's op with its fast code.
pub(super) struct Adapter<T: CustomOp> {
    pub op: T,
    cpu: Option<CpuBody<T>>,
}

impl<T: CustomOp> Adapter<T> {
    pub fn new(op: T) -> Adapter<T> {
        Adapter { op, cpu: T::cpu() }
    }
}

fn words(fault: Fault) -> String {
    fault.to_string()
}

impl<T: CustomOp> Implementation for Adapter<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn version(&self) -> u32 {
        T::VERSION
    }
    fn attributes(&self) -> Vec<(&'static str, Attr)> {
        self.op.attributes()
    }
    fn is_pure(&self) -> bool {
        T::PURE
    }
    fn infer(&self, operands: &[&Type]) -> Result<Types, String> {
        self.op.infer(operands).map(Types::from_vec).map_err(words)
    }
    fn eval(&self, operands: &[&Literal]) -> Result<SmallVec<[Literal; 1]>, String> {
        self.op.eval(operands).map(SmallVec::from_vec).map_err(words)
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        rules::vjp(&self.op, b, cx)
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<PerResult, NotDifferentiable> {
        rules::jvp(&self.op, b, operands, results, tangents)
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Values {
        rules::batch(&self.op, b, operands, axes, size)
    }
    fn body(&self) -> Option<&dyn Body> {
        self.cpu.is_some().then_some(self as &dyn Body)
    }
}

impl<T: CustomOp> Body for Adapter<T> {
    fn is_by_rows(&self) -> bool {
        self.cpu.as_ref().is_some_and(|cpu| cpu.work.is_some())
    }
    fn work_per_row(&self, operands: &[&[usize]]) -> u64 {
        let work = self.cpu.as_ref().and_then(|cpu| cpu.work);
        work.map_or(1, |work| work(&self.op, operands)).max(1)
    }
    fn run(&self, call: &mut Call<'_>) -> Result<(), String> {
        match &self.cpu {
            Some(cpu) => (cpu.run)(&self.op, call).map_err(words),
            None => Err("it has no code for the CPU".into()),
        }
    }
}
