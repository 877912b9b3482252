//! Running branches and loops: the pointers of moving buffers change, all else is as at the top.

use super::Compiled;
use super::bind::{Bound, BoundCarried, BoundStep};
use crate::error::ExecError;
use crate::scratch::Scratch;
use ir::DType;
use ir::program::{BufferId, Step, StepKind};

impl Compiled {
    pub(super) fn control(
        &self,
        (step, numbers): (&Step, &BoundStep),
        bound: &Bound,
        pointers: &mut [*mut u8],
        scratch: &Scratch,
    ) -> Result<(), ExecError> {
        match (&step.kind, numbers) {
            (StepKind::Switch(s), BoundStep::Switch { blocks }) => {
                let at = self.chosen(s.choice, blocks.len(), pointers);
                for (inner, outer) in s.blocks[at].yields.iter().zip(&s.results) {
                    pointers[inner.at()] = pointers[outer.at()];
                }
                self.block((&s.blocks[at].steps, &blocks[at]), bound, pointers, scratch)
            }
            (StepKind::While(w), BoundStep::While { condition, body, carried }) => {
                start(carried, pointers);
                let mut iteration = 0;
                loop {
                    self.block((&w.condition.steps, condition), bound, pointers, scratch)?;
                    if self.chosen(w.condition.yields[0], 2, pointers) == 0 {
                        break;
                    }
                    write_to(carried, iteration % 2 == 0, pointers);
                    self.block((&w.body.steps, body), bound, pointers, scratch)?;
                    go_on(carried, pointers);
                    iteration += 1;
                }
                finish(carried, pointers);
                Ok(())
            }
            (StepKind::Scan(s), BoundStep::Scan { length, body, carried, elements }) => {
                start(carried, pointers);
                for iteration in 0..*length {
                    let at = if s.reverse { length - 1 - iteration } else { iteration };
                    if let Some(number) = s.number {
                        // SAFETY: the buffer is an i64 of the arena, whose slots are aligned, and no task runs.
                        unsafe { pointers[number.at()].cast::<i64>().write(at as i64) };
                    }
                    for (e, bytes) in elements {
                        // SAFETY: the tensor has `length` elements of that many bytes.
                        pointers[e.element.at()] = unsafe { pointers[e.whole.at()].add(at * bytes) };
                    }
                    // So that the last one is written to the result.
                    write_to(carried, (length - 1 - iteration) % 2 == 0, pointers);
                    self.block((&s.body.steps, body), bound, pointers, scratch)?;
                    go_on(carried, pointers);
                }
                finish(carried, pointers);
                Ok(())
            }
            _ => Err(ExecError::Bug("a step of control flow is none".into())),
        }
    }

    /// The block that a scalar chooses.
    fn chosen(&self, choice: BufferId, n: usize, pointers: &[*mut u8]) -> usize {
        let pointer = pointers[choice.at()];
        match self.program.buffers[choice.at()].ty.dtype {
            // SAFETY: a live buffer of one bool, which is a byte.
            DType::Bool => usize::from(unsafe { pointer.read() } != 0),
            // SAFETY: a live buffer of one i64; elements of tensors of i64 are aligned.
            _ => usize::try_from(unsafe { pointer.cast::<i64>().read() }).unwrap_or(0).min(n - 1),
        }
    }
}

/// The first iteration reads what the loop was given.
fn start(carried: &BoundCarried, pointers: &mut [*mut u8]) {
    carried.iter().for_each(|(c, _)| pointers[c.before.at()] = pointers[c.initial.at()]);
}

/// The next iteration writes to the result, or to the other place.
fn write_to(carried: &BoundCarried, result: bool, pointers: &mut [*mut u8]) {
    for (c, _) in carried {
        pointers[c.after.at()] = pointers[if result { c.result } else { c.spare }.at()];
    }
}

/// The next iteration reads what this one has written.
fn go_on(carried: &BoundCarried, pointers: &mut [*mut u8]) {
    carried.iter().for_each(|(c, _)| pointers[c.before.at()] = pointers[c.after.at()]);
}

/// Brings the last values to the results, where they are elsewhere.
fn finish(carried: &BoundCarried, pointers: &mut [*mut u8]) {
    for (c, bytes) in carried {
        let (last, result) = (pointers[c.before.at()], pointers[c.result.at()]);
        if last != result {
            // SAFETY: both are live buffers of that many bytes; the plan gives the result memory of its own.
            unsafe { std::ptr::copy_nonoverlapping(last, result, *bytes) };
        }
    }
}
