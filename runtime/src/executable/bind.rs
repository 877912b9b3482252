//! Binding: from a program with symbols to sizes, offsets and launch ranges for the extents of one call.

use super::Compiled;
use crate::array::byte_length;
use crate::contract::{self, Matmul, Operand};
use crate::error::ExecError;
use crate::interpreter::Bindings;
use codegen::cpu::CompiledKernel;
use ir::program::{Program, StepKind, Storage};
use ir::{DType, Dim, EvalError, Symbol};
use smallvec::SmallVec;
use std::sync::Arc;

/// What arguments must look like.
pub(super) struct Signature {
    inputs: Vec<(DType, Vec<Extent>)>,
    /// The symbols, in the order in which their values are kept.
    pub symbols: Vec<(Symbol, i64, i64)>,
}

enum Extent {
    Known(usize),
    /// A bare symbol, by number.
    Symbol(usize),
    Expression(Dim),
}

/// Values of the symbols of a signature.
pub(super) type SymbolValues = SmallVec<[i64; 4]>;

impl Signature {
    pub fn of(program: &Program) -> Signature {
        let mut symbols: Vec<(Symbol, i64, i64)> =
            program.symbols.iter().map(|s| (s.symbol.clone(), s.min, s.max)).collect();
        for ty in &program.inputs {
            for s in ty.shape.iter().flat_map(Dim::symbols) {
                if !symbols.iter().any(|(x, ..)| *x == s) {
                    symbols.push((s, 0, i64::MAX));
                }
            }
        }
        let extent = |d: &Dim| match d.as_usize() {
            Some(n) => Extent::Known(n),
            None => match symbols.iter().position(|(s, ..)| *d == Dim::symbol(s.name())) {
                Some(i) => Extent::Symbol(i),
                None => Extent::Expression(d.clone()),
            },
        };
        let inputs = program.inputs.iter().map(|t| (t.dtype, t.shape.iter().map(extent).collect())).collect();
        Signature { inputs, symbols }
    }

    /// Checks the arguments' types and reads the symbols' values from them.
    pub fn bind(&self, inputs: &[super::Input], program: &Program) -> Result<SymbolValues, ExecError> {
        let mut values: SymbolValues = SmallVec::from_elem(i64::MIN, self.symbols.len());
        if inputs.len() != self.inputs.len() {
            let message = format!("{} inputs given, the graph takes {}", inputs.len(), self.inputs.len());
            return Err(ExecError::Argument(message));
        }
        for (i, (input, (dtype, extents))) in inputs.iter().zip(&self.inputs).enumerate() {
            let array = input.array().ok_or_else(|| ExecError::Argument(format!("input {i} was given away before")))?;
            let fits = array.dtype() == *dtype
                && array.dims().len() == extents.len()
                && extents.iter().zip(array.dims()).all(|(e, &n)| match e {
                    Extent::Known(k) => *k == n,
                    Extent::Symbol(s) => {
                        let slot = &mut values[*s];
                        if *slot == i64::MIN {
                            *slot = n as i64;
                        }
                        *slot == n as i64
                    }
                    Extent::Expression(_) => true,
                });
            if !fits {
                let given = array.ty();
                let takes = &program.inputs[i];
                return Err(ExecError::Argument(format!("input {i} has type {given}, the graph takes {takes}")));
            }
        }
        for ((symbol, min, max), &v) in self.symbols.iter().zip(&values) {
            if v != i64::MIN && !(*min..=*max).contains(&v) {
                return Err(ExecError::Argument(format!("{symbol} is {v}, outside its bounds {min}..={max}")));
            }
        }
        for (i, (input, (_, extents))) in inputs.iter().zip(&self.inputs).enumerate() {
            for (axis, e) in extents.iter().enumerate() {
                if let Extent::Expression(d) = e {
                    let wanted = d.eval(&|s| self.value(&values, s));
                    let given = input.array().map_or(0, |a| a.dims()[axis]);
                    if wanted != Some(given as i64) {
                        let message = format!("input {i} has extent {given} on axis {axis}, the graph takes {d}");
                        return Err(ExecError::Argument(message));
                    }
                }
            }
        }
        Ok(values)
    }

    fn value(&self, values: &[i64], symbol: &Symbol) -> Option<i64> {
        let at = self.symbols.iter().position(|(s, ..)| s == symbol)?;
        (values[at] != i64::MIN).then_some(values[at])
    }
}

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
}

/// A step with its numbers filled in.
pub(super) enum BoundStep {
    Launch { kernel: usize, buffers: SmallVec<[usize; 8]>, extents: SmallVec<[i64; 4]>, tasks: u64, work: u64 },
    Product(BoundProduct),
    Interpret(usize),
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
            d.eval(&|s| signature.value(&symbols, s))
                .ok_or_else(|| ExecError::Argument(EvalError::BadDim(d.to_string()).to_string()))
        };
        let extent = |d: &Dim| {
            usize::try_from(eval(d)?).map_err(|_| ExecError::Argument(EvalError::BadDim(d.to_string()).to_string()))
        };
        let names = signature.symbols.iter().map(|(s, ..)| s.clone());
        let bindings = Bindings::known(names.zip(symbols.iter().copied()));
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
            arena = size
                .checked_next_multiple_of(ALIGN)
                .and_then(|s| arena.checked_add(s))
                .ok_or_else(|| ExecError::Memory("the plan is larger than the address space".into()))?;
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
                // A buffer that no step writes is never read either.
                Storage::Slot(n) => Place::Arena(offsets.get(*n).copied().unwrap_or(0)),
            })
            .collect();
        let mut outputs = Vec::new();
        for ty in &program.outputs {
            let dims: SmallVec<[usize; 4]> = ty.shape.iter().map(extent).collect::<Result<_, _>>()?;
            byte_length(ty.dtype, &dims)?;
            outputs.push((ty.dtype, dims));
        }
        for b in &program.buffers {
            let dims: SmallVec<[usize; 4]> = b.ty.shape.iter().map(extent).collect::<Result<_, _>>()?;
            byte_length(b.ty.dtype, &dims)?;
        }
        let mut steps = Vec::new();
        let mut scratch = 0;
        for (number, step) in program.steps.iter().enumerate() {
            steps.push(match &step.kind {
                StepKind::Launch(l) => {
                    let extents: SmallVec<[i64; 4]> = l.extents.iter().map(eval).collect::<Result<_, _>>()?;
                    let kernel = &kernels[l.kernel];
                    let too_large = || ExecError::Memory(format!("a size in kernel {} overflows", step.name));
                    let grids = kernel.grids(&extents).ok_or_else(too_large)?;
                    let works = kernel.works(&extents).ok_or_else(too_large)?;
                    let tasks = grids.iter().map(|&g| g.max(0) as u64).sum();
                    let work =
                        grids.iter().zip(&works).map(|(&g, &w)| (g.max(0) as u64).saturating_mul(w.max(0) as u64));
                    scratch = scratch.max(kernel.scratch_bytes(&extents).ok_or_else(too_large)?);
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
                            s.iter().map(|d| eval(d).map(|n| n as isize)).collect::<Result<_, _>>()?;
                        Ok::<[isize; 3], ExecError>([s[0], s[1], s[2]])
                    };
                    let e: SmallVec<[usize; 4]> = p.extents.iter().map(extent).collect::<Result<_, _>>()?;
                    let product = BoundProduct {
                        dtype: p.dtype,
                        extents: [e[0], e[1], e[2], e[3]],
                        buffers: [p.lhs.0.at(), p.rhs.0.at(), p.out.0.at()],
                        strides: [strides(&p.lhs.1)?, strides(&p.rhs.1)?, strides(&p.out.1)?],
                    };
                    let sizes = product.on([std::ptr::null_mut(); 3]);
                    scratch = scratch.max(contract::library().scratch_bytes(&sizes));
                    BoundStep::Product(product)
                }
                StepKind::Interpret { .. } => BoundStep::Interpret(number),
            });
        }
        Ok(Bound { symbols, places, steps, arena, scratch, outputs })
    }
}

impl Compiled {
    /// The plan for a call.
    pub(super) fn bound_for(&self, inputs: &[super::Input]) -> Result<Arc<Bound>, ExecError> {
        let values = self.signature.bind(inputs, &self.program)?;
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
