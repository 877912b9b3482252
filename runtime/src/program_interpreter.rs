//! The interpreter of programs: runs every step through the interpreter of kernels, and watches the memory plan.
//!
//! It is what executables are checked against. What the program's verifier cannot see it finds while it runs: memory
//! that is read after another buffer has taken its place, elements that no kernel has written, accesses out of range,
//! tasks that depend on one another.

use crate::error::ExecError;
use crate::interpreter::{Bindings, interpret};
use ir::kernel::interp::{self, Fault, Order, RunError};
use ir::kernel::{Access, Kernel};
use ir::ops::EvalContext;
use ir::ops::control::chosen;
use ir::program::{
    Activation, Block, Branches, BufferId, Carried, Launch, Opaque, Product, Program, ScanLoop, Sort, Step, StepKind,
    Storage, WhileLoop,
};
use ir::{DType, Data, Dim, Literal, Origin, Scalar};
use smallvec::SmallVec;
use std::collections::HashMap;

/// How to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunOptions {
    /// The order of the tasks of a kernel.
    pub order: Order,
    /// The most statements or products of numbers that a step executes before the run is given up.
    pub limit: u64,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions { order: Order::Forward, limit: 1 << 33 }
    }
}

/// Why a run has no outputs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProgramError {
    /// The call is at fault, as it is for an executable.
    #[error("{0}")]
    Call(#[from] ExecError),
    /// The program is at fault.
    #[error("{0}")]
    Fault(String),
    /// [`RunOptions::limit`] is reached.
    #[error("the limit of statements is reached")]
    Limit,
}

/// Memory that a buffer stands in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    Input(usize),
    Output(usize),
    Constant(usize),
    Slot(usize),
    /// One that moves, by the buffer.
    Moving(usize),
}

struct Machine<'a> {
    program: &'a Program,
    bindings: Bindings,
    options: &'a RunOptions,
    /// What each place holds, and for which buffer.
    memory: HashMap<Place, (BufferId, Data)>,
    watch: &'a mut Watch<'a>,
}

/// Looks at each launch before it runs: the kernel, its buffers and its extents.
pub type Watch<'a> = dyn FnMut(&Kernel, &[Data], &[i64]) + 'a;

/// Runs a program that passes its verifier.
pub fn run(program: &Program, arguments: &[Literal], options: &RunOptions) -> Result<Vec<Literal>, ProgramError> {
    run_watched(program, arguments, options, &mut |_, _, _| {})
}

/// As [`run`], with somebody who looks at launches: a target without a device is compared launch by launch.
pub fn run_watched<'a>(
    program: &'a Program,
    arguments: &[Literal],
    options: &'a RunOptions,
    watch: &'a mut Watch<'a>,
) -> Result<Vec<Literal>, ProgramError> {
    let bindings = Bindings::of(&program.inputs, &program.symbols, arguments)?;
    for check in &program.checks {
        bindings.check(check)?;
    }
    let mut m = Machine { program, bindings, options, memory: HashMap::new(), watch };
    for (i, b) in program.buffers.iter().enumerate() {
        let held = match &b.storage {
            Storage::Input(n) => arguments[*n].data().clone(),
            Storage::Constant(literal) => literal.data().clone(),
            _ => continue,
        };
        let id = BufferId(i as u32);
        m.memory.insert(m.place(id), (id, held));
    }
    for (number, step) in program.steps.iter().enumerate() {
        m.step(step).map_err(|e| match e {
            ProgramError::Fault(what) => ProgramError::Fault(format!("step {number} ({}) {what}", step.name)),
            ProgramError::Call(e) if number >= program.fallible_prefix => {
                let what = "fails after the part of the program that may";
                ProgramError::Fault(format!("step {number} ({}) {what}: {e}", step.name))
            }
            other => other,
        })?;
    }
    let outputs = program.outputs.iter().zip(&program.output_buffers);
    outputs.map(|(ty, &b)| Ok(Literal::new(&m.extents(ty)?, m.read(b)?.clone()))).collect()
}

fn fault<T>(what: impl Into<String>) -> Result<T, ProgramError> {
    Err(ProgramError::Fault(what.into()))
}

impl Machine<'_> {
    fn step(&mut self, step: &Step) -> Result<(), ProgramError> {
        match &step.kind {
            StepKind::Launch(launch) => self.launch(launch),
            StepKind::Product(product) => self.product(product),
            StepKind::Sort(sort) => self.sort(sort),
            StepKind::Opaque(opaque) => self.opaque(opaque, &step.origins),
            StepKind::Interpret { graph, inputs, outputs, .. } => self.interpret(graph, inputs, outputs),
            StepKind::Copy { from, to } => {
                let data = self.read(*from)?.clone();
                self.write(*to, data);
                Ok(())
            }
            StepKind::Switch(s) => self.switch(s),
            StepKind::While(w) => self.while_loop(w),
            StepKind::Scan(s) => self.scan(s),
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), ProgramError> {
        block.steps.iter().try_for_each(|step| self.step(step))
    }

    fn switch(&mut self, s: &Branches) -> Result<(), ProgramError> {
        let at = chosen(self.read(s.choice)?.get(0), s.blocks.len());
        self.block(&s.blocks[at])?;
        for (&inner, &outer) in s.blocks[at].yields.iter().zip(&s.results) {
            let data = self.read(inner)?.clone();
            self.write(outer, data);
        }
        Ok(())
    }

    fn while_loop(&mut self, w: &WhileLoop) -> Result<(), ProgramError> {
        self.start(&w.carried)?;
        loop {
            self.block(&w.condition)?;
            if chosen(self.read(w.condition.yields[0])?.get(0), 2) == 0 {
                return self.finish(&w.carried);
            }
            self.block(&w.body)?;
            self.go_on(&w.carried)?;
        }
    }

    fn scan(&mut self, s: &ScanLoop) -> Result<(), ProgramError> {
        let length = usize::try_from(self.eval(&s.length)?).unwrap_or(0);
        self.start(&s.carried)?;
        for e in &s.stacked {
            let poison = self.poison(e.whole)?;
            self.write(e.whole, poison);
        }
        for iteration in 0..length {
            let at = if s.reverse { length - 1 - iteration } else { iteration };
            if let Some(number) = s.number {
                self.write(number, Data::I64(vec![at as i64]));
            }
            for e in &s.scanned {
                let n = self.poison(e.element)?.len();
                let data = self.read(e.whole)?.part(at * n, n);
                self.write(e.element, data);
            }
            self.block(&s.body)?;
            for e in &s.stacked {
                let element = self.read(e.element)?.clone();
                let whole = self.read(e.whole)?;
                let n = element.len();
                let items =
                    (0..whole.len()).map(|i| if i / n.max(1) == at { element.get(i % n) } else { whole.get(i) });
                let data = Data::collect(whole.dtype(), items);
                self.write(e.whole, data);
            }
            self.go_on(&s.carried)?;
        }
        self.finish(&s.carried)
    }

    /// The two places of what is carried are taken from the start, so that nothing else may be in them.
    fn start(&mut self, carried: &[Carried]) -> Result<(), ProgramError> {
        for c in carried {
            let data = self.read(c.initial)?.clone();
            self.write(c.before, data);
            for place in [c.spare, c.result] {
                let poison = self.poison(place)?;
                self.write(place, poison);
            }
        }
        Ok(())
    }

    fn go_on(&mut self, carried: &[Carried]) -> Result<(), ProgramError> {
        for c in carried {
            let data = self.read(c.after)?.clone();
            self.write(c.before, data);
        }
        Ok(())
    }

    fn finish(&mut self, carried: &[Carried]) -> Result<(), ProgramError> {
        for c in carried {
            let data = self.read(c.before)?.clone();
            self.read(c.spare)?;
            self.read(c.result)?;
            self.write(c.result, data);
        }
        Ok(())
    }

    fn eval(&self, d: &Dim) -> Result<i64, ProgramError> {
        self.bindings.dim(d).map_err(|e| ProgramError::Fault(e.to_string()))
    }

    fn extents(&self, ty: &ir::Type) -> Result<Vec<usize>, ProgramError> {
        let extents = self.bindings.extents(ty).map_err(|e| ProgramError::Fault(e.to_string()))?;
        Ok(extents.to_vec())
    }

    fn place(&self, b: BufferId) -> Place {
        match &self.program.buffers[b.at()].storage {
            Storage::Input(n) => Place::Input(*n),
            Storage::Output(n) => Place::Output(*n),
            Storage::InPlace { input, .. } => Place::Input(*input),
            Storage::Constant(_) => Place::Constant(b.at()),
            Storage::Slot(n) => Place::Slot(*n),
            Storage::Moving => Place::Moving(b.at()),
        }
    }

    fn read(&self, b: BufferId) -> Result<&Data, ProgramError> {
        match self.memory.get(&self.place(b)) {
            Some((owner, data)) if *owner == b => Ok(data),
            Some((owner, _)) => fault(format!("reads b{}, which b{} has overwritten", b.0, owner.0)),
            None => fault(format!("reads b{}, which nothing has written", b.0)),
        }
    }

    fn write(&mut self, b: BufferId, data: Data) {
        self.memory.insert(self.place(b), (b, data));
    }

    /// Fresh memory for a buffer, full of what nobody would write.
    fn poison(&self, b: BufferId) -> Result<Data, ProgramError> {
        let ty = &self.program.buffers[b.at()].ty;
        let value = match ty.dtype {
            DType::Bool => Scalar::Bool(true),
            DType::U8 => Scalar::U8(0xa5),
            d if d.is_int() => Scalar::I64(-0x5a5a_5a5a).convert(d),
            float => Scalar::of(float, -13131.0),
        };
        Ok(Data::filled(value, self.extents(ty)?.iter().product()))
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), ProgramError> {
        let kernel = &self.program.kernels[launch.kernel];
        let extents: Vec<i64> = launch.extents.iter().map(|d| self.eval(d)).collect::<Result<_, _>>()?;
        let mut buffers = Vec::new();
        for (&b, p) in launch.buffers.iter().zip(&kernel.params) {
            buffers.push(if p.access == Access::In { self.read(b)?.clone() } else { self.poison(b)? });
        }
        (self.watch)(kernel, &buffers, &extents);
        let options = interp::Options { order: self.options.order, limit: self.options.limit };
        let status = interp::run_with(kernel, &mut buffers, &extents, &options).map_err(|e| match e {
            RunError::Statement { fault: Fault::Limit, .. } => ProgramError::Limit,
            e => ProgramError::Fault(format!("runs a faulty kernel: {e}")),
        })?;
        for ((&b, p), data) in launch.buffers.iter().zip(&kernel.params).zip(buffers) {
            if p.access != Access::In {
                self.write(b, data);
            }
        }
        let first = status.offences.iter().zip(&launch.sites).find_map(|(o, s)| o.map(|o| (o, s)));
        let Some((offence, site)) = first else { return Ok(()) };
        let error = site.error(offence.index, offence.bound);
        Err(ExecError::Op { op: site.op.into(), origins: site.origins.clone(), error }.into())
    }

    fn interpret(&mut self, graph: &ir::Graph, inputs: &[BufferId], outputs: &[BufferId]) -> Result<(), ProgramError> {
        let mut literals = Vec::new();
        for (&b, ty) in inputs.iter().zip(graph.input_types()) {
            literals.push(Literal::new(&self.extents(&ty)?, self.read(b)?.clone()));
        }
        for (&b, literal) in outputs.iter().zip(interpret(graph, &literals)?) {
            self.write(b, literal.data().clone());
        }
        Ok(())
    }

    /// By the op's reference evaluation.
    fn opaque(&mut self, o: &Opaque, origins: &[Origin]) -> Result<(), ProgramError> {
        let extents = |buffers: &[BufferId]| -> Result<Vec<Vec<usize>>, ProgramError> {
            buffers.iter().map(|b| self.extents(&self.program.buffers[b.at()].ty)).collect()
        };
        let (given, made) = (extents(&o.inputs)?, extents(&o.outputs)?);
        let operands: Vec<Literal> = o
            .inputs
            .iter()
            .zip(&given)
            .map(|(&b, dims)| Ok(Literal::new(dims, self.read(b)?.clone())))
            .collect::<Result<_, ProgramError>>()?;
        let results: Vec<SmallVec<[usize; 4]>> = made.iter().map(|dims| SmallVec::from_slice(dims)).collect();
        let bindings = &self.bindings;
        let no_region = &mut |_: usize, _: &[Literal]| Err(ir::EvalError::Other("it has no regions".into()));
        let mut cx = EvalContext { dim: &|d| bindings.dim(d), results: &results, regions: &[], region: no_region };
        let outcome = o.primitive.eval(&operands.iter().collect::<Vec<_>>(), &mut cx);
        let op = o.primitive.name().to_string();
        let outcome = outcome.map_err(|error| ExecError::Op { op, origins: origins.to_vec(), error })?;
        for (&b, literal) in o.outputs.iter().zip(outcome) {
            self.write(b, literal.data().clone());
        }
        Ok(())
    }

    fn sort(&mut self, s: &Sort) -> Result<(), ProgramError> {
        let extents: Vec<i64> = s.extents.iter().map(|d| self.eval(d)).collect::<Result<_, _>>()?;
        let (n, inner) = (extents[1].max(0) as usize, extents[2].max(0) as usize);
        let data = self.read(s.input)?;
        if data.len() != extents.iter().map(|&e| e.max(0) as usize).product() {
            return fault(format!("sorts {} elements in rows of {extents:?}", data.len()));
        }
        let mut out = vec![0i64; data.len()];
        // By insertion: each element goes behind those that are not after it.
        for row in 0..data.len() / n.max(1) {
            let at = |k: usize| (row / inner * n + k) * inner + row % inner;
            let mut order: Vec<usize> = Vec::new();
            for k in 0..n {
                let place = order.partition_point(|&other| !after(data.get(at(other)), data.get(at(k)), s.descending));
                order.insert(place, k);
            }
            order.into_iter().enumerate().for_each(|(k, position)| out[at(k)] = position as i64);
        }
        self.write(s.out, Data::I64(out));
        Ok(())
    }

    fn product(&mut self, p: &Product) -> Result<(), ProgramError> {
        let numbers = |list: &[Dim]| list.iter().map(|d| self.eval(d)).collect::<Result<Vec<i64>, _>>();
        let (extents, ls, rs, os) = (numbers(&p.extents)?, numbers(&p.lhs.1)?, numbers(&p.rhs.1)?, numbers(&p.out.1)?);
        let work = extents.iter().fold(1u64, |n, &e| n.saturating_mul(e.max(0) as u64));
        if work > self.options.limit {
            return Err(ProgramError::Limit);
        }
        let (lhs, rhs) = (self.read(p.lhs.0)?, self.read(p.rhs.0)?);
        let mut out: Vec<Option<Scalar>> = vec![None; self.poison(p.out.0)?.len()];
        let bias = p.epilogue.bias.map(|b| self.read(b)).transpose()?;
        let element = |data: &Data, at: i64| {
            let at = usize::try_from(at).ok().filter(|&i| i < data.len());
            at.map_or_else(|| fault("reads out of range"), |i| Ok(data.get(i)))
        };
        for b in 0..extents[0] {
            for i in 0..extents[1] {
                for j in 0..extents[2] {
                    let mut sum = Sum::new(p.dtype);
                    for l in 0..extents[3] {
                        let x = element(lhs, b * ls[0] + i * ls[1] + l * ls[2])?;
                        sum.add(x, element(rhs, b * rs[0] + l * rs[1] + j * rs[2])?);
                    }
                    if let Some(bias) = bias {
                        sum.increase(element(bias, j)?);
                    }
                    if p.epilogue.activation == Activation::GeluTanh {
                        sum.apply(gelu_tanh);
                    }
                    let at = usize::try_from(b * os[0] + i * os[1] + j * os[2]).ok();
                    let Some(slot) = at.and_then(|at| out.get_mut(at)) else { return fault("writes out of range") };
                    if slot.replace(sum.end(p.dtype)).is_some() {
                        return fault("writes an element twice");
                    }
                }
            }
        }
        if out.contains(&None) {
            return fault("leaves elements unwritten");
        }
        self.write(p.out.0, Data::collect(p.dtype, out.into_iter().flatten()));
        Ok(())
    }
}

/// True if the first stands after the second in an order in which NaN is largest.
fn after(x: Scalar, y: Scalar, descending: bool) -> bool {
    let larger = |x: Scalar, y: Scalar| match x.dtype() {
        DType::U64 => x.bits() > y.bits(),
        d if d.is_float() => (x.as_f64().is_nan() && !y.as_f64().is_nan()) || x.as_f64() > y.as_f64(),
        _ => x.as_i64() > y.as_i64(),
    };
    if descending { larger(y, x) } else { larger(x, y) }
}

/// D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units", 2016.
fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
}

/// A sum of products in the accumulation type of a dtype.
enum Sum {
    F64(f64),
    F32(f32),
    Int(i64),
}

impl Sum {
    fn new(dtype: DType) -> Sum {
        match dtype {
            DType::F64 => Sum::F64(0.0),
            d if d.is_float() => Sum::F32(0.0),
            _ => Sum::Int(0),
        }
    }
    fn add(&mut self, x: Scalar, y: Scalar) {
        match self {
            Sum::F64(s) => *s += x.as_f64() * y.as_f64(),
            Sum::F32(s) => *s += x.as_f64() as f32 * y.as_f64() as f32,
            Sum::Int(s) => *s = s.wrapping_add(x.as_i64().wrapping_mul(y.as_i64())),
        }
    }
    fn increase(&mut self, x: Scalar) {
        match self {
            Sum::F64(s) => *s += x.as_f64(),
            Sum::F32(s) => *s += x.as_f64() as f32,
            Sum::Int(s) => *s = s.wrapping_add(x.as_i64()),
        }
    }
    fn apply(&mut self, f: impl Fn(f64) -> f64) {
        match self {
            Sum::F64(s) => *s = f(*s),
            Sum::F32(s) => *s = f(f64::from(*s)) as f32,
            // Only floats have activations.
            Sum::Int(_) => {}
        }
    }
    fn end(self, dtype: DType) -> Scalar {
        match self {
            Sum::F64(s) => Scalar::F64(s),
            Sum::F32(s) => Scalar::F32(s).convert(dtype),
            Sum::Int(s) => Scalar::I64(s).convert(dtype),
        }
    }
}
