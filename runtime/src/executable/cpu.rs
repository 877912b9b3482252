//! Programs on the processor.

use super::Compiled;
use super::bind::{Bound, BoundKind, BoundLaunch, BoundStep};
use super::control::Steps;
use super::interpreted;
use super::machine::LaunchSize;
use crate::buffer::{AllocError, Buffer};
use crate::contract;
use crate::error::ExecError;
use crate::pool;
use crate::scratch::Scratch;
use crate::sort;
use codegen::cpu::{CompiledKernel, Status};
use ir::DType;
use ir::program::{Epilogue, Launch, Program, Step, StepKind};
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, PoisonError};

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

/// The kernels of a program as machine code.
pub(crate) struct Kernels(pub Vec<Arc<CompiledKernel>>);

impl Kernels {
    pub fn launch(&self, kernel: usize, extents: &[i64]) -> Option<LaunchSize> {
        let kernel = &self.0[kernel];
        let (grids, works) = (kernel.grids(extents)?, kernel.works(extents)?);
        let tasks = grids.iter().map(|&g| g.max(0) as u64).sum();
        let work = grids.iter().zip(&works).map(|(&g, &w)| (g.max(0) as u64).saturating_mul(w.max(0) as u64));
        Some(LaunchSize { tasks, work: work.fold(0, u64::saturating_add), scratch: kernel.scratch_bytes(extents)? })
    }

    /// Runs a program over buffers at those addresses.
    pub fn run(&self, compiled: &Compiled, bound: &Bound, pointers: &mut [*mut u8]) -> Result<(), ExecError> {
        let memory = |e: AllocError| compiled.shortage(bound, e);
        let arena = Buffer::try_alloc(bound.arena).map_err(memory)?;
        let scratch = Scratch::new(pool::global().num_threads(), bound.scratch).map_err(memory)?;
        bound.place_arena(arena.ptr(), pointers);
        let mut call = Call { kernels: &self.0, compiled, bound, scratch };
        call.block(&compiled.program.steps, &bound.steps, pointers)
    }
}

/// One call of a program.
struct Call<'a> {
    kernels: &'a [Arc<CompiledKernel>],
    compiled: &'a Compiled,
    bound: &'a Bound,
    scratch: Scratch,
}

impl Steps for Call<'_> {
    fn program(&self) -> &Program {
        &self.compiled.program
    }

    fn simple(&mut self, step: &Step, numbers: &BoundStep, pointers: &[*mut u8]) -> Result<(), ExecError> {
        match &numbers.kind {
            BoundKind::Launch(launch) => self.launch(step, launch, pointers),
            BoundKind::Product(product) => {
                if product.epilogue != Epilogue::default() {
                    return Err(ExecError::Bug("a product on the processor has an epilogue".into()));
                }
                let product = product.on(product.buffers.map(|b| pointers[b]));
                // SAFETY: the strides were derived from the buffers' dense types, and the plan gives the result memory
                // of its own; scratch memory is enough for every step.
                unsafe { contract::library().multiply(pool::global(), &product, &self.scratch, None) }
                    .map_err(|e| ExecError::Bug(e.to_string()))
            }
            BoundKind::Sort(sort) => {
                let rows = sort.on(sort.buffers.map(|b| pointers[b]));
                // SAFETY: the extents are those of the buffers' dense types, and the plan gives the result memory of its
                // own; scratch memory is enough for every step.
                unsafe { sort::library().argsort(pool::global(), &rows, &self.scratch) }
                    .map_err(|e| ExecError::Bug(e.to_string()))
            }
            BoundKind::Opaque(opaque) => opaque.run(step, pointers, self.scratch.threads()),
            BoundKind::Copy { from, to, bytes } => self.copy(pointers[*from], pointers[*to], *bytes),
            BoundKind::Interpret => interpreted::step(
                (self.compiled, self.bound),
                step,
                &mut |b, array| {
                    let (from, buffer) = (pointers[b.at()], array.address());
                    // SAFETY: the buffer holds a dense tensor of that type, the new array is as large and not shared.
                    unsafe { std::ptr::copy_nonoverlapping(from, buffer, array.byte_len()) };
                    Ok(())
                },
                &mut |b, array| {
                    // SAFETY: as above, the other way.
                    unsafe { std::ptr::copy_nonoverlapping(array.address(), pointers[b.at()], array.byte_len()) };
                    Ok(())
                },
            ),
            BoundKind::Switch { .. } | BoundKind::While { .. } | BoundKind::Scan { .. } => {
                Err(ExecError::Bug("a step that holds others is run as one that does not".into()))
            }
        }
    }

    fn read_number(&mut self, at: *mut u8, dtype: DType) -> Result<i64, ExecError> {
        Ok(match dtype {
            // SAFETY: a live buffer of one bool, which is a byte.
            DType::Bool => i64::from(unsafe { at.read() } != 0),
            // SAFETY: a live buffer of one i64; elements of tensors of i64 are aligned.
            _ => unsafe { at.cast::<i64>().read() },
        })
    }

    fn write_number(&mut self, at: *mut u8, number: i64) -> Result<(), ExecError> {
        // SAFETY: the buffer is an i64 of the arena, whose slots are aligned, and no task runs.
        unsafe { at.cast::<i64>().write(number) };
        Ok(())
    }

    fn copy(&mut self, from: *mut u8, to: *mut u8, bytes: usize) -> Result<(), ExecError> {
        // SAFETY: both are live buffers of that many bytes, and the plan gives them different memory.
        unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
        Ok(())
    }
}

impl Call<'_> {
    fn launch(&self, step: &Step, launch: &BoundLaunch, pointers: &[*mut u8]) -> Result<(), ExecError> {
        if launch.tasks == 0 {
            return Ok(());
        }
        let kernel = &self.kernels[launch.kernel];
        let params: SmallVec<[*mut u8; 8]> = launch.buffers.iter().map(|&b| pointers[b]).collect();
        let sites = kernel.sites();
        let failed = Mutex::new(SmallVec::<[Status; 2]>::from_elem(Status::NONE, sites));
        let shared = Shared((params.as_ptr(), launch.extents.as_ptr(), &self.scratch));
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
        if launch.work < PARALLEL_WORK || launch.tasks == 1 {
            run(0, 0, launch.tasks);
        } else {
            let threads = self.scratch.threads();
            pool::global().run_on(threads, launch.tasks, 1, &run).map_err(|e| ExecError::Bug(e.to_string()))?;
        }
        let statuses = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (0..sites).filter(|&s| statuses[s].is_set()).min_by_key(|&s| statuses[s].task) {
            None => Ok(()),
            Some(at) => Err(index_error(step, at, statuses[at].index, statuses[at].bound)),
        }
    }
}

/// The error for an index out of range that a launch has met at one of its sites.
pub(crate) fn index_error(step: &Step, site: usize, index: i64, bound: i64) -> ExecError {
    match &step.kind {
        StepKind::Launch(Launch { sites, .. }) => {
            let site = &sites[site];
            ExecError::Op { op: site.op.into(), origins: site.origins.clone(), error: site.error(index, bound) }
        }
        _ => ExecError::Bug("a launch is no launch".into()),
    }
}
