//! Binding: from a program with symbols to sizes, offsets and launch ranges for the extents of one call.

use super::Compiled;
use super::machine::Machine;
use super::opaque::BoundOpaque;
use super::shortage::{largest, wanted};
use crate::array::byte_length;
use crate::contract::{Matmul, Operand};
use crate::cuda::Replays;
use crate::error::{ExecError, Shortage};
use crate::interpreter::Bindings;
use crate::signature::{Signature, SymbolValues};
use crate::sort::Rows;
use ir::program::{BufferId, Carried, Elements, Epilogue, Program, Step, StepKind, Storage};
use ir::{DType, Dim, EvalError};
use smallvec::SmallVec;
use std::sync::Arc;

/// Where a buffer's memory is during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Input(usize),
    Output(usize),
    /// The output, or the donated input if its memory may be taken.
    Donated {
        output: usize,
        input: usize,
    },
    Constant(usize),
    Arena(usize),
    /// Where the step around it says.
    Moving,
}

/// A step with its numbers filled in.
pub(crate) struct BoundStep {
    /// Its place among all steps, those inside of steps included.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "errors of GPUs name steps"))]
    pub number: u32,
    pub kind: BoundKind,
}

/// What a step does, in numbers.
pub(crate) enum BoundKind {
    Launch(BoundLaunch),
    Product(BoundProduct),
    Sort(BoundSort),
    Opaque(Box<BoundOpaque>),
    Interpret,
    Copy {
        from: usize,
        to: usize,
        bytes: usize,
    },
    Switch {
        blocks: Vec<Vec<BoundStep>>,
    },
    While {
        condition: Vec<BoundStep>,
        body: Vec<BoundStep>,
        carried: BoundCarried,
    },
    Scan {
        length: usize,
        body: Vec<BoundStep>,
        carried: BoundCarried,
        /// Tensors with their elements, and the bytes of one.
        elements: SmallVec<[(Elements, usize); 8]>,
    },
}

/// What a loop carries, with its bytes.
pub(crate) type BoundCarried = SmallVec<[(Carried, usize); 4]>;

/// A launch with its numbers filled in.
pub(crate) struct BoundLaunch {
    pub kernel: usize,
    pub buffers: SmallVec<[usize; 8]>,
    pub extents: SmallVec<[i64; 4]>,
    pub tasks: u64,
    pub work: u64,
    /// The number of its first index check among those of all launches.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "GPUs report all checks at once"))]
    pub first_site: usize,
}

/// A sort with its numbers filled in.
pub(crate) struct BoundSort {
    dtype: DType,
    extents: [usize; 3],
    descending: bool,
    /// Operand, result.
    pub buffers: [usize; 2],
}

impl BoundSort {
    /// The sort of what lies at those addresses.
    pub fn on(&self, data: [*mut u8; 2]) -> Rows {
        let [outer, n, inner] = self.extents;
        let (dtype, descending) = (self.dtype, self.descending);
        Rows { dtype, outer, n, inner, descending, data: data[0], out: data[1].cast() }
    }
}

/// A matrix product with its numbers filled in.
pub(crate) struct BoundProduct {
    dtype: DType,
    /// batch, m, n, k
    extents: [usize; 4],
    /// Left operand, right operand, result.
    pub buffers: [usize; 3],
    /// What becomes of the sums: GPUs alone do it here.
    pub epilogue: Epilogue,
    strides: [[isize; 3]; 3],
}

impl BoundProduct {
    /// The product of what lies at those addresses.
    pub fn on(&self, data: [*mut u8; 3]) -> Matmul {
        let operand = |i: usize| Operand { data: data[i], strides: self.strides[i] };
        let [batch, m, n, k] = self.extents;
        Matmul { dtype: self.dtype, batch, m, n, k, lhs: operand(0), rhs: operand(1), out: operand(2) }
    }
}

/// A program bound to extents.
pub(crate) struct Bound {
    pub symbols: SymbolValues,
    pub places: Vec<Place>,
    pub steps: Vec<BoundStep>,
    pub arena: usize,
    /// Working memory that a part of the machine needs at most in a step: a thread, or all of a GPU.
    pub scratch: usize,
    /// Index checks of all launches.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "GPUs report all checks at once"))]
    pub sites: usize,
    /// The largest number of elements, or extent of a launch.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(dead_code, reason = "kernels for GPUs have 32-bit indices where they can")
    )]
    pub largest: u64,
    /// What a GPU has recorded of calls.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only GPUs record"))]
    pub replays: Replays,
    /// Type and extents of each output.
    pub outputs: Vec<(DType, SmallVec<[usize; 4]>)>,
}

const ALIGN: usize = 64;

impl Bound {
    pub fn new(
        program: &Program,
        machine: &Machine,
        signature: &Signature,
        symbols: SymbolValues,
    ) -> Result<Bound, ExecError> {
        let eval = |d: &Dim| {
            signature.dim(&symbols, d).ok_or_else(|| ExecError::Argument(EvalError::BadDim(d.to_string()).to_string()))
        };
        let extent = |d: &Dim| {
            usize::try_from(eval(d)?).map_err(|_| ExecError::Argument(EvalError::BadDim(d.to_string()).to_string()))
        };
        let bindings = Bindings::known(signature.named(&symbols));
        for check in &program.checks {
            bindings.check(check)?;
        }
        let mut arena = 0usize;
        let mut offsets = Vec::new();
        for slot in &program.slots {
            let mut size = 0;
            for s in &slot.sizes {
                size = size.max(extent(s)?);
            }
            offsets.push(arena);
            arena = size.checked_next_multiple_of(ALIGN).and_then(|s| arena.checked_add(s)).ok_or_else(|| {
                let message = "the plan is larger than the address space".into();
                ExecError::Memory(Shortage { message, largest: largest(program, signature, &symbols) })
            })?;
        }
        let places = program
            .buffers
            .iter()
            .enumerate()
            .map(|(i, b)| match &b.storage {
                Storage::Input(n) => Place::Input(*n),
                Storage::Output(n) => Place::Output(*n),
                Storage::InPlace { output, input } => Place::Donated { output: *output, input: *input },
                Storage::Constant(_) => Place::Constant(i),
                Storage::Moving => Place::Moving,
                // A buffer that no step writes is never read either.
                Storage::Slot(n) => Place::Arena(offsets.get(*n).copied().unwrap_or(0)),
            })
            .collect();
        let mut outputs = Vec::new();
        for ty in &program.outputs {
            let dims: SmallVec<[usize; 4]> = ty.shape.iter().map(extent).collect::<Result<_, _>>()?;
            outputs.push((ty.dtype, dims));
        }
        let mut largest = 0;
        for (i, b) in program.buffers.iter().enumerate() {
            let dims: SmallVec<[usize; 4]> = b.ty.shape.iter().map(extent).collect::<Result<_, _>>()?;
            let bytes = byte_length(b.ty.dtype, &dims)
                .map_err(|e| e.wanting(|| wanted(program, BufferId(i as u32), signature, &symbols)))?;
            largest = largest.max((bytes / b.ty.dtype.size()) as u64);
        }
        outputs.iter().try_for_each(|(dtype, dims)| byte_length(*dtype, dims).map(drop))?;
        let mut binder =
            Binder { program, machine, signature, symbols: &symbols, scratch: 0, sites: 0, steps: 0, largest };
        let steps = binder.block(&program.steps)?;
        let Binder { scratch, sites, largest, .. } = binder;
        Ok(Bound { symbols, places, steps, arena, scratch, sites, largest, replays: Replays::default(), outputs })
    }
}

impl Bound {
    /// Fills in where the buffers of the arena are.
    pub fn place_arena(&self, arena: *mut u8, pointers: &mut [*mut u8]) {
        for (pointer, place) in pointers.iter_mut().zip(&self.places) {
            if let Place::Arena(offset) = place {
                *pointer = arena.wrapping_add(*offset);
            }
        }
    }
}

/// Fills in the numbers of steps.
struct Binder<'a> {
    program: &'a Program,
    machine: &'a Machine,
    signature: &'a Signature,
    symbols: &'a SymbolValues,
    /// Working memory that a part of the machine needs at most.
    scratch: usize,
    sites: usize,
    /// How many were met.
    steps: u32,
    largest: u64,
}

impl Binder<'_> {
    fn eval(&self, d: &Dim) -> Result<i64, ExecError> {
        let value = self.signature.dim(self.symbols, d);
        value.ok_or_else(|| ExecError::Argument(EvalError::BadDim(d.to_string()).to_string()))
    }

    fn extent(&self, d: &Dim) -> Result<usize, ExecError> {
        usize::try_from(self.eval(d)?).map_err(|_| ExecError::Argument(EvalError::BadDim(d.to_string()).to_string()))
    }

    fn bytes(&self, b: BufferId) -> Result<usize, ExecError> {
        self.extent(&self.program.buffers[b.at()].ty.bytes())
    }

    fn block(&mut self, steps: &[Step]) -> Result<Vec<BoundStep>, ExecError> {
        steps.iter().map(|step| self.step(step)).collect()
    }

    fn step(&mut self, step: &Step) -> Result<BoundStep, ExecError> {
        let number = self.steps;
        self.steps += 1;
        let kind = match &step.kind {
            StepKind::Launch(l) => {
                let extents: SmallVec<[i64; 4]> = l.extents.iter().map(|d| self.eval(d)).collect::<Result<_, _>>()?;
                let Some(size) = self.machine.launch(l.kernel, &extents) else {
                    let message = format!("a size in kernel {} overflows", step.name);
                    let largest = largest(self.program, self.signature, self.symbols);
                    return Err(ExecError::Memory(Shortage { message, largest }));
                };
                self.scratch = self.scratch.max(size.scratch);
                self.largest = extents.iter().fold(self.largest, |most, e| most.max(e.unsigned_abs()));
                let kernel = &self.program.kernels[l.kernel];
                if matches!(self.machine, Machine::Cuda(_)) && !codegen::cuda::is_narrow(kernel, &extents) {
                    self.largest = u64::MAX;
                }
                let first_site = self.sites;
                self.sites += l.sites.len();
                BoundKind::Launch(BoundLaunch {
                    kernel: l.kernel,
                    buffers: l.buffers.iter().map(|b| b.at()).collect(),
                    tasks: size.tasks,
                    work: size.work,
                    extents,
                    first_site,
                })
            }
            StepKind::Product(p) => {
                let strides = |s: &[Dim; 3]| {
                    let s: SmallVec<[isize; 3]> =
                        s.iter().map(|d| self.eval(d).map(|n| n as isize)).collect::<Result<_, _>>()?;
                    Ok::<[isize; 3], ExecError>([s[0], s[1], s[2]])
                };
                let e: SmallVec<[usize; 4]> = p.extents.iter().map(|d| self.extent(d)).collect::<Result<_, _>>()?;
                let product = BoundProduct {
                    dtype: p.dtype,
                    extents: [e[0], e[1], e[2], e[3]],
                    buffers: [p.lhs.0.at(), p.rhs.0.at(), p.out.0.at()],
                    epilogue: p.epilogue,
                    strides: [strides(&p.lhs.1)?, strides(&p.rhs.1)?, strides(&p.out.1)?],
                };
                let sizes = product.on([std::ptr::null_mut(); 3]);
                self.scratch = self.scratch.max(self.machine.product_scratch(&sizes));
                BoundKind::Product(product)
            }
            StepKind::Sort(s) => {
                let e: SmallVec<[usize; 3]> = s.extents.iter().map(|d| self.extent(d)).collect::<Result<_, _>>()?;
                let sort = BoundSort {
                    dtype: self.program.buffers[s.input.at()].ty.dtype,
                    extents: [e[0], e[1], e[2]],
                    descending: s.descending,
                    buffers: [s.input.at(), s.out.at()],
                };
                let rows = sort.on([std::ptr::null_mut(); 2]);
                self.scratch = self.scratch.max(self.machine.sort_scratch(&rows));
                BoundKind::Sort(sort)
            }
            StepKind::Opaque(o) => {
                let extent = |d: &Dim| self.extent(d);
                BoundKind::Opaque(Box::new(BoundOpaque::new(self.program, step, o, &extent)?))
            }
            StepKind::Interpret { .. } => BoundKind::Interpret,
            StepKind::Copy { from, to } => BoundKind::Copy { from: from.at(), to: to.at(), bytes: self.bytes(*to)? },
            StepKind::Switch(s) => {
                BoundKind::Switch { blocks: s.blocks.iter().map(|b| self.block(&b.steps)).collect::<Result<_, _>>()? }
            }
            StepKind::While(w) => BoundKind::While {
                condition: self.block(&w.condition.steps)?,
                body: self.block(&w.body.steps)?,
                carried: self.carried(&w.carried)?,
            },
            StepKind::Scan(s) => BoundKind::Scan {
                length: self.extent(&s.length)?,
                body: self.block(&s.body.steps)?,
                carried: self.carried(&s.carried)?,
                elements: s
                    .scanned
                    .iter()
                    .chain(&s.stacked)
                    .map(|e| Ok((*e, self.bytes(e.element)?)))
                    .collect::<Result<_, ExecError>>()?,
            },
        };
        Ok(BoundStep { number, kind })
    }

    fn carried(&self, carried: &[Carried]) -> Result<BoundCarried, ExecError> {
        carried.iter().map(|c| Ok((*c, self.bytes(c.result)?))).collect()
    }
}

impl Compiled {
    /// The plan for a call.
    pub(super) fn bound_for(&self, inputs: &[super::Input]) -> Result<Arc<Bound>, ExecError> {
        let given = |i: usize| inputs[i].array().map(|a| (a.dtype(), a.dims()));
        let values = self.signature.bind(inputs.len(), given)?;
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let mut plans = self.bound.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(at) = plans.iter().position(|b| b.symbols == values) {
            plans[..=at].rotate_right(1);
            return Ok(plans[0].clone());
        }
        drop(plans);
        let new = Arc::new(Bound::new(&self.program, &self.machine, &self.signature, values)?);
        let mut plans = self.bound.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        plans.insert(0, new.clone());
        plans.truncate(super::BOUND_PLANS);
        Ok(new)
    }
}
