//! Steps without a kernel.

use super::Compiled;
use super::bind::Bound;
use crate::array::Array;
use crate::error::ExecError;
use crate::events::{self, Event};
use crate::interpreter::{self, Bindings};
use ir::program::{BufferId, Step, StepKind};
use smallvec::SmallVec;

/// Moves a buffer to or from an array of the host.
pub(crate) type Move<'a> = dyn FnMut(BufferId, &Array) -> Result<(), ExecError> + 'a;

/// Interprets a step: loads its inputs, and stores its outputs.
pub(crate) fn step(
    (compiled, bound): (&Compiled, &Bound),
    step: &Step,
    load: &mut Move<'_>,
    store: &mut Move<'_>,
) -> Result<(), ExecError> {
    let StepKind::Interpret { graph, inputs, outputs, .. } = &step.kind else {
        return Err(ExecError::Bug("an interpreted step is none".into()));
    };
    events::count(Event::InterpretedStep);
    let bindings = Bindings::known(compiled.signature.named(&bound.symbols));
    let mut literals = Vec::new();
    for (&b, ty) in inputs.iter().zip(graph.input_types()) {
        let dims: Option<SmallVec<[usize; 4]>> =
            ty.shape.iter().map(|d| usize::try_from(bindings.dim(d).ok()?).ok()).collect();
        let dims = dims.ok_or_else(|| ExecError::Bug(format!("an extent of {ty} is unknown")))?;
        let array = Array::uninit(ty.dtype, &dims)?;
        load(b, &array)?;
        literals.push(array.to_literal()?);
    }
    for (&b, result) in outputs.iter().zip(interpreter::interpret_bound(graph, &bindings, &literals)?) {
        store(b, &Array::from_literal(&result)?)?;
    }
    Ok(())
}
