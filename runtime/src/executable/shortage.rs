//! What of a plan takes the most memory, for the error when there is none.

use super::Compiled;
use super::bind::Bound;
use crate::array::byte_length;
use crate::buffer::AllocError;
use crate::error::{ExecError, Shortage, Wanted};
use crate::signature::{Signature, SymbolValues};
use ir::program::{BufferId, Program, Storage};
use ir::{Dim, Type};
use smallvec::SmallVec;
use std::collections::HashMap;

/// The most that an error lists.
const LISTED: usize = 3;

impl Compiled {
    /// The error of a call for which there is no memory.
    pub(super) fn shortage(&self, bound: &Bound, e: AllocError) -> ExecError {
        let largest = largest(&self.program, &self.signature, &bound.symbols);
        ExecError::Memory(Shortage { message: e.to_string(), largest })
    }

    /// The error of what a call asked for, with the plan behind it if it is a lack of memory.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "GPUs have errors of their own"))]
    pub(crate) fn planned(&self, bound: &Bound, mut e: ExecError) -> ExecError {
        if let ExecError::Memory(shortage) = &mut e {
            let (arena, scratch) = (bound.arena, bound.scratch);
            shortage.message += &format!("; the plan has {arena} bytes of temporaries, and {scratch} to work in");
            shortage.largest = largest(&self.program, &self.signature, &bound.symbols);
        }
        e
    }

    /// The value of a dimension in a call.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "GPUs move buffers of steps that run elsewhere"))]
    pub(crate) fn dim(&self, bound: &Bound, dim: &Dim) -> Option<i64> {
        self.signature.dim(&bound.symbols, dim)
    }

    /// An output for which there is none.
    pub(super) fn wanted_output(&self, bound: &Bound, output: usize) -> Wanted {
        wanted(&self.program, self.program.output_buffers[output], &self.signature, &bound.symbols)
    }
}

/// What takes the most of the memory that a program asks for, which is not that of its arguments.
pub(super) fn largest(program: &Program, signature: &Signature, symbols: &SymbolValues) -> Vec<Wanted> {
    // One for each place: what shares one is not there at once.
    let mut places: HashMap<(bool, usize), Wanted> = HashMap::new();
    for (i, buffer) in program.buffers.iter().enumerate() {
        let place = match buffer.storage {
            Storage::Output(n) => (true, n),
            Storage::Slot(n) => (false, n),
            _ => continue,
        };
        let new = wanted(program, BufferId(i as u32), signature, symbols);
        let known = places.entry(place).or_insert_with(|| new.clone());
        if new.size() > known.size() {
            *known = new;
        }
    }
    let mut all: Vec<Wanted> = places.into_values().collect();
    all.sort_by(|a, b| b.size().cmp(&a.size()).then_with(|| (&a.op, &a.origins).cmp(&(&b.op, &b.origins))));
    // What takes a small part of it says nothing.
    let first = all.first().map_or(0, Wanted::size);
    all.retain(|w| w.size() > first / 8);
    all.truncate(LISTED);
    all
}

/// A buffer, with the step that makes it.
pub(super) fn wanted(program: &Program, b: BufferId, signature: &Signature, symbols: &SymbolValues) -> Wanted {
    let ty = &program.buffers[b.at()].ty;
    let extent = |d| usize::try_from(signature.dim(symbols, d)?).ok();
    let dims: Option<SmallVec<[usize; 4]>> = ty.shape.iter().map(extent).collect();
    let steps = program.all_steps();
    let maker = steps.iter().map(|(_, step)| *step).find(|step| program.accesses(&step.kind)[1].contains(&b));
    Wanted {
        ty: dims.as_ref().map_or(ty.clone(), |dims| Type::new(ty.dtype, dims.as_slice())),
        bytes: dims.and_then(|dims| byte_length(ty.dtype, &dims).ok()),
        op: maker.map(|step| step.name.clone()).unwrap_or_default(),
        origins: maker.map(|step| step.origins.clone()).unwrap_or_default(),
    }
}
