//! Binding: from a program with symbols to sizes, offsets and launch ranges for the extents of one call.

use super::Compiled;
use super::opaque::BoundOpaque;
use super::shortage::{largest, wanted};
use crate::array::byte_length;
use crate::contract::{self, Matmul, Operand};
use crate::error::{ExecError, Shortage};
use crate::interpreter::Bindings;
use crate::signature::{Signature, SymbolValues};
use crate::sort::{self, Rows};
use codegen::cpu::CompiledKernel;
use ir::program::{BufferId, Carried, Elements, Program, Step, StepKind, Storage};
use ir::{DType, Dim, EvalError};
use smallvec::SmallVec;
use std::sync::Arc;

/// Where a buffer's memory is during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
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
pub(super) enum BoundStep {
    Launch {
        kernel: usize,
        buffers: SmallVec<[usize; 8]>,
        extents: SmallVec<[i64; 4]>,
        tasks: u64,
        work: u64,
    },
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
pub(super) type BoundCarried = SmallVec<[(Carried, usize); 4]>;

/// A sort with its numbers filled in.
pub(super) struct BoundSort {
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
pub(super) struct BoundProduct {
    dtype: DType,
    /// batch, m, n, k
    extents: [usize; 4],
    /// Left operand, right operand, result.
    pub buffers: [usize; 3],
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
pub(super) struct Bound {
    pub symbols: SymbolValues,
    pub places: Vec<Place>,
    pub steps: Vec<BoundStep>,
    pub arena: usize,
    /// Working memory that a thread needs at most in a step.
    pub scratch: usize,
    /// Type and extents of each output.
    pub outputs: Vec<(DType, SmallVec<[usize; 4]>)>,
}

const ALIGN: usize = 64;

impl Bound {
    pub fn new(
        program: &Program,
        kernels: &[Arc<CompiledKernel>],
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
        for (i, b) in program.buffers.iter().enumerate() {
            let dims: SmallVec<[usize; 4]> = b.ty.shape.iter().map(extent).collect::<Result<_, _>>()?;
            byte_length(b.ty.dtype, &dims)
                .map_err(|e| e.wanting(|| wanted(program, BufferId(i as u32), signature, &symbols)))?;
        }
        outputs.iter().try_for_each(|(dtype, dims)| byte_length(*dtype, dims).map(drop))?;
        let mut binder = Binder { program, kernels, signature, symbols: &symbols, scratch: 0 };
        let steps = binder.block(&program.steps)?;
        let scratch = binder.scratch;
        Ok(Bound { symbols, places, steps, arena, scratch, outputs })
    }
}

/// Fills in the numbers of steps.
struct Binder<'a> {
    program: &'a Program,
    kernels: &'a [Arc<CompiledKernel>],
    signature: &'a Signature,
    symbols: &'a SymbolValues,
    /// Working memory that a thread needs at most.
    scratch: usize,
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
        Ok(match &step.kind {
            StepKind::Launch(l) => {
                let extents: SmallVec<[i64; 4]> = l.extents.iter().map(|d| self.eval(d)).collect::<Result<_, _>>()?;
                let kernel = &self.kernels[l.kernel];
                let too_large = || {
                    let message = format!("a size in kernel {} overflows", step.name);
                    let largest = largest(self.program, self.signature, self.symbols);
                    ExecError::Memory(Shortage { message, largest })
                };
                let grids = kernel.grids(&extents).ok_or_else(too_large)?;
                let works = kernel.works(&extents).ok_or_else(too_large)?;
                let tasks = grids.iter().map(|&g| g.max(0) as u64).sum();
                let work = grids.iter().zip(&works).map(|(&g, &w)| (g.max(0) as u64).saturating_mul(w.max(0) as u64));
                self.scratch = self.scratch.max(kernel.scratch_bytes(&extents).ok_or_else(too_large)?);
                BoundStep::Launch {
                    kernel: l.kernel,
                    buffers: l.buffers.iter().map(|b| b.at()).collect(),
                    tasks,
                    work: work.fold(0, u64::saturating_add),
                    extents,
                }
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
                    strides: [strides(&p.lhs.1)?, strides(&p.rhs.1)?, strides(&p.out.1)?],
                };
                let sizes = product.on([std::ptr::null_mut(); 3]);
                self.scratch = self.scratch.max(contract::library().scratch_bytes(&sizes));
                BoundStep::Product(product)
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
                self.scratch = self.scratch.max(sort::library().scratch_bytes(&rows));
                BoundStep::Sort(sort)
            }
            StepKind::Opaque(o) => {
                let extent = |d: &Dim| self.extent(d);
                BoundStep::Opaque(Box::new(BoundOpaque::new(self.program, step, o, &extent)?))
            }
            StepKind::Interpret { .. } => BoundStep::Interpret,
            StepKind::Copy { from, to } => BoundStep::Copy { from: from.at(), to: to.at(), bytes: self.bytes(*to)? },
            StepKind::Switch(s) => {
                BoundStep::Switch { blocks: s.blocks.iter().map(|b| self.block(&b.steps)).collect::<Result<_, _>>()? }
            }
            StepKind::While(w) => BoundStep::While {
                condition: self.block(&w.condition.steps)?,
                body: self.block(&w.body.steps)?,
                carried: self.carried(&w.carried)?,
            },
            StepKind::Scan(s) => BoundStep::Scan {
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
        })
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
        let new = Arc::new(Bound::new(&self.program, &self.kernels, &self.signature, values)?);
        let mut plans = self.bound.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        plans.insert(0, new.clone());
        plans.truncate(super::BOUND_PLANS);
        Ok(new)
    }
}
