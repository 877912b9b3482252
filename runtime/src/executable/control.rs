//! Running branches and loops: the pointers of moving buffers change, all else is as at the top.

use super::bind::{BoundCarried, BoundKind, BoundStep};
use crate::error::ExecError;
use ir::DType;
use ir::program::{BufferId, Program, Step, StepKind};

/// Runs steps one after the other; how, is the machine's business.
pub(crate) trait Steps {
    /// The program.
    fn program(&self) -> &Program;
    /// Runs a step that holds no others.
    fn simple(&mut self, step: &Step, numbers: &BoundStep, pointers: &[*mut u8]) -> Result<(), ExecError>;
    /// The scalar at an address, a bool or an i64.
    fn read_number(&mut self, at: *mut u8, dtype: DType) -> Result<i64, ExecError>;
    /// Writes an i64 to an address of the arena.
    fn write_number(&mut self, at: *mut u8, number: i64) -> Result<(), ExecError>;
    /// Copies what a buffer holds to another one.
    fn copy(&mut self, from: *mut u8, to: *mut u8, bytes: usize) -> Result<(), ExecError>;

    /// Runs steps one after the other.
    fn block(&mut self, steps: &[Step], numbers: &[BoundStep], pointers: &mut [*mut u8]) -> Result<(), ExecError> {
        steps.iter().zip(numbers).try_for_each(|(step, numbers)| match numbers.kind {
            BoundKind::Switch { .. } | BoundKind::While { .. } | BoundKind::Scan { .. } => {
                self.control(step, numbers, pointers)
            }
            _ => self.simple(step, numbers, pointers),
        })
    }

    /// Runs a branch or loop.
    fn control(&mut self, step: &Step, numbers: &BoundStep, pointers: &mut [*mut u8]) -> Result<(), ExecError> {
        match (&step.kind, &numbers.kind) {
            (StepKind::Switch(s), BoundKind::Switch { blocks }) => {
                let at = self.chosen(s.choice, blocks.len(), pointers)?;
                for (inner, outer) in s.blocks[at].yields.iter().zip(&s.results) {
                    pointers[inner.at()] = pointers[outer.at()];
                }
                self.block(&s.blocks[at].steps, &blocks[at], pointers)
            }
            (StepKind::While(w), BoundKind::While { condition, body, carried }) => {
                start(carried, pointers);
                let mut iteration = 0;
                loop {
                    self.block(&w.condition.steps, condition, pointers)?;
                    if self.chosen(w.condition.yields[0], 2, pointers)? == 0 {
                        break;
                    }
                    write_to(carried, iteration % 2 == 0, pointers);
                    self.block(&w.body.steps, body, pointers)?;
                    go_on(carried, pointers);
                    iteration += 1;
                }
                self.finish(carried, pointers)
            }
            (StepKind::Scan(s), BoundKind::Scan { length, body, carried, elements }) => {
                start(carried, pointers);
                for iteration in 0..*length {
                    let at = if s.reverse { length - 1 - iteration } else { iteration };
                    if let Some(number) = s.number {
                        self.write_number(pointers[number.at()], at as i64)?;
                    }
                    for (e, bytes) in elements {
                        pointers[e.element.at()] = pointers[e.whole.at()].wrapping_add(at * bytes);
                    }
                    // So that the last one is written to the result.
                    write_to(carried, (length - 1 - iteration) % 2 == 0, pointers);
                    self.block(&s.body.steps, body, pointers)?;
                    go_on(carried, pointers);
                }
                self.finish(carried, pointers)
            }
            _ => Err(ExecError::Bug("a step of control flow is none".into())),
        }
    }

    /// The block that a scalar chooses.
    fn chosen(&mut self, choice: BufferId, n: usize, pointers: &[*mut u8]) -> Result<usize, ExecError> {
        let dtype = self.program().buffers[choice.at()].ty.dtype;
        let number = self.read_number(pointers[choice.at()], dtype)?;
        Ok(usize::try_from(number).unwrap_or(0).min(n - 1))
    }

    /// Brings the last values to the results, where they are elsewhere.
    fn finish(&mut self, carried: &BoundCarried, pointers: &[*mut u8]) -> Result<(), ExecError> {
        for (c, bytes) in carried {
            let (last, result) = (pointers[c.before.at()], pointers[c.result.at()]);
            if last != result {
                self.copy(last, result, *bytes)?;
            }
        }
        Ok(())
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
