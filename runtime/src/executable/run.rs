//! Running the steps of a bound program.

use super::bind::{Bound, BoundStep, Place};
use super::{Compiled, Input, Outputs};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::contract;
use crate::error::ExecError;
use crate::events::{self, Event};
use crate::interpreter::{self, Bindings};
use crate::pool;
use crate::scratch::Scratch;
use crate::sort;
use codegen::cpu::Status;
use ir::program::{Launch, Step, StepKind};
use smallvec::SmallVec;
use std::sync::{Mutex, PoisonError};

/// Work (in additions, roughly) below which a launch stays on the calling thread: about 10 µs.
pub(super) const PARALLEL_WORK: u64 = 60_000;

/// A raw pointer that the tasks of one launch share.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(pub T);
// SAFETY: what tasks do with the pointers is the kernel's business: tasks write disjoint elements.
unsafe impl<T> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    pub fn get(&self) -> T {
        self.0
    }
}

impl Compiled {
    pub(super) fn call(&self, inputs: &mut [Input]) -> Result<Outputs, ExecError> {
        let bound = self.bound_for(inputs)?;
        let memory = |e: crate::buffer::AllocError| self.shortage(&bound, e);
        let arena = Buffer::try_alloc(bound.arena).map_err(memory)?;
        let scratch = Scratch::new(pool::global().num_threads(), bound.scratch).map_err(memory)?;

        // Which outputs take over a donated input's memory in this call.
        let mut takes: SmallVec<[Option<usize>; 8]> = SmallVec::from_elem(None, bound.outputs.len());
        for place in &bound.places {
            if let Place::Donated { output, input } = *place
                && let Input::Donated(a) = &inputs[input]
            {
                if a.is_unique() {
                    takes[output] = Some(input);
                } else {
                    let reason =
                        format!("input {input} of {} is shared; its output gets new memory", self.program.name);
                    events::record(Event::DonationCopied, reason);
                }
            }
        }
        let mut fresh: SmallVec<[Option<Array>; 8]> = SmallVec::from_elem(None, bound.outputs.len());
        for place in &bound.places {
            let (Place::Output(o) | Place::Donated { output: o, .. }) = *place else { continue };
            if takes[o].is_none() {
                let (dtype, dims) = &bound.outputs[o];
                let output = Array::uninit(*dtype, dims);
                fresh[o] = Some(output.map_err(|e| e.wanting(|| self.wanted_output(&bound, o)))?);
            }
        }
        let mut pointers: SmallVec<[*mut u8; 32]> = bound
            .places
            .iter()
            .enumerate()
            .map(|(b, place)| match *place {
                Place::Input(i) => inputs[i].array().map_or(std::ptr::null_mut(), |a| a.buffer().ptr()),
                Place::Output(o) | Place::Donated { output: o, .. } => match (takes[o], &fresh[o]) {
                    (Some(i), _) => inputs[i].array().map_or(std::ptr::null_mut(), |a| a.buffer().ptr()),
                    (None, Some(a)) => a.buffer().ptr(),
                    (None, None) => std::ptr::null_mut(),
                },
                Place::Constant(_) => self.constants[b].as_ref().map_or(std::ptr::null_mut(), |a| a.buffer().ptr()),
                // SAFETY: the plan keeps offsets inside the arena.
                Place::Arena(offset) => unsafe { arena.ptr().add(offset) },
                Place::Moving => std::ptr::null_mut(),
            })
            .collect();
        self.block((&self.program.steps, &bound.steps), &bound, &mut pointers, &scratch)?;

        // Nothing fails from here on: outputs leave, donated arrays are taken.
        let mut taken: SmallVec<[Option<Array>; 8]> = SmallVec::from_elem(None, bound.outputs.len());
        for (o, input) in takes.iter().enumerate() {
            if let Some(i) = *input
                && let Input::Donated(a) = std::mem::replace(&mut inputs[i], Input::Taken)
            {
                taken[o] = Some(a);
            }
        }
        let mut results = Outputs::new();
        for (o, &b) in self.program.output_buffers.iter().enumerate() {
            let (_, dims) = &bound.outputs[o];
            let array = match bound.places[b.at()] {
                Place::Input(i) => inputs[i].array().cloned(),
                Place::Output(p) | Place::Donated { output: p, .. } if p == o => {
                    taken[p].take().or_else(|| fresh[p].take())
                }
                // The same buffer is an earlier output.
                Place::Output(p) | Place::Donated { output: p, .. } => results.get(p).cloned(),
                Place::Constant(_) => self.constants[b.at()].clone(),
                Place::Arena(_) | Place::Moving => None,
            };
            let array = array.ok_or_else(|| ExecError::Bug(format!("output {o} has no memory")))?;
            results.push(if array.dims() == dims.as_slice() { array } else { array.reshaped(dims)? });
        }
        Ok(results)
    }

    /// Runs steps one after the other.
    pub(super) fn block(
        &self,
        (steps, numbers): (&[Step], &[BoundStep]),
        bound: &Bound,
        pointers: &mut [*mut u8],
        scratch: &Scratch,
    ) -> Result<(), ExecError> {
        steps.iter().zip(numbers).try_for_each(|pair| self.step(pair, bound, pointers, scratch))
    }

    fn step(
        &self,
        (step, numbers): (&Step, &BoundStep),
        bound: &Bound,
        pointers: &mut [*mut u8],
        scratch: &Scratch,
    ) -> Result<(), ExecError> {
        match numbers {
            BoundStep::Launch { kernel, buffers, extents, tasks, work } => {
                if *tasks == 0 {
                    return Ok(());
                }
                let kernel = &self.kernels[*kernel];
                let params: SmallVec<[*mut u8; 8]> = buffers.iter().map(|&b| pointers[b]).collect();
                let sites = kernel.sites();
                let failed = Mutex::new(SmallVec::<[Status; 2]>::from_elem(Status::NONE, sites));
                let shared = Shared((params.as_ptr(), extents.as_ptr(), scratch));
                let run = |worker: usize, begin: u64, end: u64| {
                    let (params, extents, scratch) = shared.get();
                    let scratch = scratch.of(worker);
                    let mut own: SmallVec<[Status; 2]> = SmallVec::from_elem(Status::NONE, sites);
                    // SAFETY: the pointers are those of live buffers of the sizes that the program's types say, which the
                    // verified kernel stays in; this part of the scratch memory and the status are this worker's own.
                    unsafe { kernel.call(params, extents, begin as i64, end as i64, scratch, own.as_mut_ptr()) }
                    if own.iter().any(Status::is_set) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.iter_mut().zip(own).for_each(|(all, own)| all.merge(own));
                    }
                };
                if *work < PARALLEL_WORK || *tasks == 1 {
                    run(0, 0, *tasks);
                } else {
                    pool::global()
                        .run_on(scratch.threads(), *tasks, 1, &run)
                        .map_err(|e| ExecError::Bug(e.to_string()))?;
                }
                let statuses = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
                if let Some(at) = (0..sites).filter(|&s| statuses[s].is_set()).min_by_key(|&s| statuses[s].task) {
                    let StepKind::Launch(launch) = &step.kind else {
                        return Err(ExecError::Bug("a launch is no launch".into()));
                    };
                    return Err(index_error(launch, at, statuses[at]));
                }
                Ok(())
            }
            BoundStep::Product(product) => {
                let product = product.on(product.buffers.map(|b| pointers[b]));
                // SAFETY: the strides were derived from the buffers' dense types, and the plan gives the result memory
                // of its own; scratch memory is enough for every step.
                unsafe { contract::library().multiply(pool::global(), &product, scratch, None) }
                    .map_err(|e| ExecError::Bug(e.to_string()))
            }
            BoundStep::Sort(sort) => {
                let rows = sort.on(sort.buffers.map(|b| pointers[b]));
                // SAFETY: the extents are those of the buffers' dense types, and the plan gives the result memory of its
                // own; scratch memory is enough for every step.
                unsafe { sort::library().argsort(pool::global(), &rows, scratch) }
                    .map_err(|e| ExecError::Bug(e.to_string()))
            }
            BoundStep::Opaque(opaque) => opaque.run(step, pointers, scratch.threads()),
            BoundStep::Copy { from, to, bytes } => {
                // SAFETY: both are live buffers of that many bytes, and the plan gives them different memory.
                unsafe { std::ptr::copy_nonoverlapping(pointers[*from], pointers[*to], *bytes) };
                Ok(())
            }
            BoundStep::Switch { .. } | BoundStep::While { .. } | BoundStep::Scan { .. } => {
                self.control((step, numbers), bound, pointers, scratch)
            }
            BoundStep::Interpret => {
                let StepKind::Interpret { graph, inputs, outputs, .. } = &step.kind else {
                    return Err(ExecError::Bug("an interpreted step is none".into()));
                };
                events::count(Event::InterpretedStep);
                self.interpret(bound, graph, inputs, outputs, pointers)
            }
        }
    }

    /// Runs a step without a kernel: copies its inputs, interprets, copies the outputs back.
    fn interpret(
        &self,
        bound: &Bound,
        graph: &ir::Graph,
        inputs: &[ir::program::BufferId],
        outputs: &[ir::program::BufferId],
        pointers: &[*mut u8],
    ) -> Result<(), ExecError> {
        let bindings = Bindings::known(self.signature.named(&bound.symbols));
        let mut literals = Vec::new();
        for (&b, ty) in inputs.iter().zip(graph.input_types()) {
            let dims: Option<SmallVec<[usize; 4]>> =
                ty.shape.iter().map(|d| usize::try_from(bindings.dim(d).ok()?).ok()).collect();
            let dims = dims.ok_or_else(|| ExecError::Bug(format!("an extent of {ty} is unknown")))?;
            let array = Array::uninit(ty.dtype, &dims)?;
            let bytes = array.buffer().len();
            // SAFETY: the buffer holds a dense tensor of that type, the new array is as large and not shared.
            unsafe { std::ptr::copy_nonoverlapping(pointers[b.at()], array.buffer().ptr(), bytes) };
            literals.push(array.to_literal()?);
        }
        for (&b, result) in outputs.iter().zip(interpreter::interpret_bound(graph, &bindings, &literals)?) {
            let array = Array::from_literal(&result)?;
            // SAFETY: as above, the other way.
            unsafe {
                std::ptr::copy_nonoverlapping(array.buffer().ptr(), pointers[b.at()], array.buffer().len());
            }
        }
        Ok(())
    }
}

fn index_error(launch: &Launch, site: usize, status: Status) -> ExecError {
    let site = &launch.sites[site];
    ExecError::Op { op: site.op.into(), origins: site.origins.clone(), error: site.error(status.index, status.bound) }
}
