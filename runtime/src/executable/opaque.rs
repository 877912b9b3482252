//! Steps that run an op's own code.

use super::cpu::{PARALLEL_WORK, Shared};
use crate::error::ExecError;
use crate::pool;
use ir::ops::custom::{Call, Elements, ElementsMut, Operand, Output, guarded};
use ir::program::{BufferId, Opaque, Program, Step, StepKind};
use ir::{DType, Dim, EvalError, for_each_dtype};
use smallvec::SmallVec;
use std::sync::{Mutex, PoisonError};

/// A tensor in a planned buffer.
struct Place {
    buffer: usize,
    dtype: DType,
    dims: SmallVec<[usize; 4]>,
    numel: usize,
}

/// Such a step with its numbers filled in.
pub(crate) struct BoundOpaque {
    inputs: SmallVec<[Place; 4]>,
    outputs: SmallVec<[Place; 2]>,
    /// Rows of the results; 1 where the body does not split.
    rows: usize,
    /// Elements of a row of each result.
    row: SmallVec<[usize; 2]>,
    work_per_row: u64,
    split: bool,
}

/// The values of a step's extents.
pub(super) type Extent<'a> = dyn Fn(&Dim) -> Result<usize, ExecError> + 'a;

impl BoundOpaque {
    pub fn new(program: &Program, whole: &Step, step: &Opaque, extent: &Extent<'_>) -> Result<BoundOpaque, ExecError> {
        let place = |b: &BufferId| {
            let ty = &program.buffers[b.at()].ty;
            let dims: SmallVec<[usize; 4]> = ty.shape.iter().map(extent).collect::<Result<_, _>>()?;
            Ok(Place { buffer: b.at(), dtype: ty.dtype, numel: dims.iter().product(), dims })
        };
        let inputs: SmallVec<[Place; 4]> = step.inputs.iter().map(place).collect::<Result<_, ExecError>>()?;
        let outputs: SmallVec<[Place; 2]> = step.outputs.iter().map(place).collect::<Result<_, ExecError>>()?;
        let body = step.primitive.body().ok_or_else(|| ExecError::Bug("an op without code of its own".into()))?;
        let fail = |what: String| failure(whole, what);
        let firsts: SmallVec<[Option<usize>; 2]> = outputs.iter().map(|p| p.dims.first().copied()).collect();
        let rows = firsts[0].filter(|&n| firsts.iter().all(|&f| f == Some(n)));
        if body.is_by_rows() && rows.is_none() {
            let dims: Vec<&[usize]> = outputs.iter().map(|p| p.dims.as_slice()).collect();
            let what = "its code works row by row, but the results";
            return Err(fail(format!("{what} {dims:?} have no first axis in common")));
        }
        let Some(rows) = rows.filter(|_| body.is_by_rows()) else {
            let row = outputs.iter().map(|p| p.numel).collect();
            return Ok(BoundOpaque { inputs, outputs, rows: 1, row, work_per_row: 0, split: false });
        };
        let operands: SmallVec<[&[usize]; 4]> = inputs.iter().map(|p| p.dims.as_slice()).collect();
        let work_per_row = guarded("work_per_row", || Ok(body.work_per_row(&operands))).map_err(fail)?;
        drop(operands);
        let row = outputs.iter().map(|p| p.dims[1..].iter().product()).collect();
        Ok(BoundOpaque { inputs, outputs, rows, row, work_per_row, split: true })
    }

    fn all_rows(&self) -> std::ops::Range<usize> {
        0..self.outputs[0].dims.first().copied().unwrap_or(1)
    }

    /// Runs the step over buffers at those addresses.
    pub fn run(&self, step: &Step, pointers: &[*mut u8], threads: usize) -> Result<(), ExecError> {
        let StepKind::Opaque(Opaque { primitive, .. }) = &step.kind else {
            return Err(ExecError::Bug("an op's own code is none".into()));
        };
        let body = primitive.body().ok_or_else(|| ExecError::Bug("an op without code of its own".into()))?;
        for p in self.inputs.iter().filter(|p| p.dtype == DType::Bool && p.numel > 0) {
            // SAFETY: the buffer is live and holds as many bytes as its type says.
            let bytes = unsafe { std::slice::from_raw_parts(pointers[p.buffer], p.numel) };
            if bytes.iter().any(|&b| b > 1) {
                return Err(failure(step, "an operand holds a bool that is neither 0 nor 1".into()));
            }
        }
        let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
        let shared = Shared(pointers.as_ptr());
        let run = |_: usize, begin: u64, end: u64| {
            let at = |p: &Place| {
                // SAFETY: buffers have numbers below the length of the list that this points to.
                unsafe { *shared.get().add(p.buffer) }
            };
            let (begin, end) = (begin as usize, end as usize);
            let operands = self.inputs.iter().map(|p| {
                // SAFETY: the buffer is live and holds as many elements of that dtype as its type says, and nothing
                // writes it while the step runs: the plan lets the results of such a step share no memory with operands.
                let elements = unsafe { elements(p.dtype, at(p), p.numel) };
                Operand { dims: &p.dims, elements }
            });
            let outputs = self.outputs.iter().zip(&self.row).map(|(p, &row)| {
                let (first, n) = (begin * row * p.dtype.size(), (end - begin) * row);
                // SAFETY: as above; rows that different calls of this closure write are apart.
                let elements = unsafe { elements_mut(p.dtype, at(p).add(first), n) };
                Output { dims: &p.dims, elements }
            });
            let mut call =
                Call::new(operands.collect(), outputs, if self.split { begin..end } else { self.all_rows() });
            if let Err(e) = guarded("its CPU body", || body.run(&mut call)) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if failed.as_ref().is_none_or(|(first, _)| begin as u64 <= *first) {
                    *failed = Some((begin as u64, e));
                }
            }
        };
        let (rows, work) = (self.rows as u64, self.work_per_row.saturating_mul(self.rows as u64));
        if rows <= 1 || work < PARALLEL_WORK {
            if rows > 0 {
                run(0, 0, rows);
            }
        } else {
            // Rows of little work go together.
            let grain = (PARALLEL_WORK / 4 / self.work_per_row.max(1)).max(1);
            pool::global().run_on(threads, rows, grain, &run).map_err(|e| ExecError::Bug(e.to_string()))?;
        }
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some((_, e)) => Err(failure(step, e)),
        }
    }
}

/// The failure of a user's code.
fn failure(step: &Step, what: String) -> ExecError {
    ExecError::Op { op: step.name.clone(), origins: step.origins.clone(), error: EvalError::Other(what) }
}

/// The elements at an address.
///
/// # Safety
/// `n` elements of that dtype, not written while the slice lives; bools are 0 or 1.
unsafe fn elements<'a>(dtype: DType, at: *mut u8, n: usize) -> Elements<'a> {
    macro_rules! view {
        ($(($v:ident, $t:ty)),*) => { match dtype { $(DType::$v => Elements::$v(match n {
            0 => &[],
            // SAFETY: by the caller; buffers are aligned for every dtype.
            _ => unsafe { std::slice::from_raw_parts(at.cast::<$t>(), n) },
        })),* } };
    }
    for_each_dtype!(view)
}

/// The elements at an address for writing, set to 0.
///
/// # Safety
/// Room for `n` elements of that dtype, which nothing else reads or writes while the slice lives.
unsafe fn elements_mut<'a>(dtype: DType, at: *mut u8, n: usize) -> ElementsMut<'a> {
    macro_rules! view {
        ($(($v:ident, $t:ty)),*) => { match dtype { $(DType::$v => ElementsMut::$v(match n {
            0 => &mut [],
            // SAFETY: by the caller; buffers are aligned for every dtype, and zeros are elements of every dtype.
            _ => unsafe {
                std::ptr::write_bytes(at.cast::<$t>(), 0, n);
                std::slice::from_raw_parts_mut(at.cast::<$t>(), n)
            },
        })),* } };
    }
    for_each_dtype!(view)
}
