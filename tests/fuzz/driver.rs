//! Runs a program step by step through the interpreter of kernels, and watches the memory plan.

use ir::kernel::interp::{self, Offence, Order, RunError};
use ir::program::{BufferId, Launch, Product, Program, StepKind, Storage};
use ir::{DType, Data, Dim, Literal, Scalar};
use std::collections::HashMap;

/// Memory that a buffer stands in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    Input(usize),
    Output(usize),
    Constant(usize),
    Slot(usize),
}

/// How a run ends.
pub enum Ended {
    Outputs(Vec<Literal>),
    /// An index out of range: op, axis, index and extent.
    Index {
        op: &'static str,
        axis: usize,
        offence: Offence,
    },
}

struct Machine<'a> {
    program: &'a Program,
    batch: i64,
    order: u64,
    /// What each place holds, and for which buffer.
    memory: HashMap<Place, (BufferId, Data)>,
}

/// Runs a program on arguments; an `Err` is a fault of the program.
pub fn run(program: &Program, arguments: &[Literal], batch: i64, order: u64) -> Result<Ended, String> {
    let mut m = Machine { program, batch, order, memory: HashMap::new() };
    for (i, b) in program.buffers.iter().enumerate() {
        let held = match &b.storage {
            Storage::Input(n) => arguments[*n].data().clone(),
            Storage::Constant(literal) => literal.data().clone(),
            _ => continue,
        };
        let id = BufferId(i as u32);
        let place = m.place(id);
        m.memory.insert(place, (id, held));
    }
    for (number, step) in program.steps.iter().enumerate() {
        let at = |e: String| format!("step {number} ({}): {e}", step.name);
        match &step.kind {
            StepKind::Launch(launch) => {
                if let Some(ended) = m.launch(launch).map_err(at)? {
                    if number >= program.fallible_prefix {
                        return Err(at("reports an error after the part of the program that may".into()));
                    }
                    return Ok(ended);
                }
            }
            StepKind::Product(product) => m.product(product).map_err(at)?,
            StepKind::Interpret { reason, .. } => return Err(at(format!("has no kernel: {reason}"))),
        }
    }
    let mut outputs = Vec::new();
    for (ty, &b) in program.outputs.iter().zip(&program.output_buffers) {
        let dims: Vec<usize> = ty.shape.iter().map(|d| m.eval(d) as usize).collect();
        outputs.push(Literal::new(&dims, m.read(b)?.clone()));
    }
    Ok(Ended::Outputs(outputs))
}

impl Machine<'_> {
    fn eval(&self, d: &Dim) -> i64 {
        d.eval(&|_| Some(self.batch)).expect("one symbol")
    }

    fn place(&self, b: BufferId) -> Place {
        match &self.program.buffers[b.at()].storage {
            Storage::Input(n) => Place::Input(*n),
            Storage::Output(n) => Place::Output(*n),
            Storage::InPlace { input, .. } => Place::Input(*input),
            Storage::Constant(_) => Place::Constant(b.at()),
            Storage::Slot(n) => Place::Slot(*n),
        }
    }

    fn read(&self, b: BufferId) -> Result<&Data, String> {
        match self.memory.get(&self.place(b)) {
            Some((owner, data)) if *owner == b => Ok(data),
            Some((owner, _)) => Err(format!("reads b{}, which b{} has overwritten", b.0, owner.0)),
            None => Err(format!("reads b{}, which nothing has written", b.0)),
        }
    }

    /// Fresh memory for a buffer, full of what nobody would write.
    fn poison(&self, b: BufferId) -> Data {
        let ty = &self.program.buffers[b.at()].ty;
        let n = ty.shape.iter().map(|d| self.eval(d) as usize).product();
        let value = match ty.dtype {
            DType::Bool => Scalar::Bool(true),
            DType::U8 => Scalar::U8(0xa5),
            d if d.is_int() => Scalar::I64(-0x5a5a_5a5a).convert(d),
            float => Scalar::of(float, -13131.0),
        };
        Data::filled(value, n)
    }

    fn launch(&mut self, launch: &Launch) -> Result<Option<Ended>, String> {
        let kernel = &self.program.kernels[launch.kernel];
        let extents: Vec<i64> = launch.extents.iter().map(|d| self.eval(d)).collect();
        let mut buffers = Vec::new();
        for (&b, p) in launch.buffers.iter().zip(&kernel.params) {
            buffers.push(match p.access {
                ir::kernel::Access::In => self.read(b)?.clone(),
                _ => self.poison(b),
            });
        }
        let order = if self.order.is_multiple_of(2) { Order::Forward } else { Order::Shuffled(self.order) };
        let options = interp::Options { order, ..Default::default() };
        let status = interp::run_with(kernel, &mut buffers, &extents, &options)
            .map_err(|e: RunError| format!("{e}\n{kernel}"))?;
        for ((&b, p), data) in launch.buffers.iter().zip(&kernel.params).zip(buffers) {
            if p.access != ir::kernel::Access::In {
                let place = self.place(b);
                self.memory.insert(place, (b, data));
            }
        }
        let first = status.offences.iter().zip(&launch.sites).find_map(|(o, s)| o.map(|o| (o, s)));
        Ok(first.map(|(offence, site)| Ended::Index { op: site.op, axis: site.axis, offence }))
    }

    fn product(&mut self, p: &Product) -> Result<(), String> {
        let [batch, rows, columns, terms] = p.extents.each_ref().map(|d| self.eval(d));
        let strides = |s: &[Dim; 3]| s.each_ref().map(|d| self.eval(d));
        let (ls, rs, os) = (strides(&p.lhs.1), strides(&p.rhs.1), strides(&p.out.1));
        let (lhs, rhs) = (self.read(p.lhs.0)?, self.read(p.rhs.0)?);
        let mut out: Vec<Option<Scalar>> = vec![None; self.poison(p.out.0).len()];
        let element = |data: &Data, at: i64| {
            let at = usize::try_from(at).ok().filter(|&i| i < data.len());
            at.map(|i| data.get(i)).ok_or_else(|| "a product reads out of range".to_string())
        };
        for b in 0..batch {
            for i in 0..rows {
                for j in 0..columns {
                    let mut sum = Sum::new(p.dtype);
                    for l in 0..terms {
                        let x = element(lhs, b * ls[0] + i * ls[1] + l * ls[2])?;
                        sum.add(x, element(rhs, b * rs[0] + l * rs[1] + j * rs[2])?);
                    }
                    let at = usize::try_from(b * os[0] + i * os[1] + j * os[2]).ok().filter(|&i| i < out.len());
                    let slot = &mut out[at.ok_or("a product writes out of range")?];
                    if slot.replace(sum.end(p.dtype)).is_some() {
                        return Err("a product writes an element twice".into());
                    }
                }
            }
        }
        if out.contains(&None) {
            return Err("a product leaves elements unwritten".into());
        }
        let data = Data::collect(p.dtype, out.into_iter().flatten());
        let place = self.place(p.out.0);
        self.memory.insert(place, (p.out.0, data));
        Ok(())
    }
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
    fn end(self, dtype: DType) -> Scalar {
        match self {
            Sum::F64(s) => Scalar::F64(s),
            Sum::F32(s) => Scalar::F32(s).convert(dtype),
            Sum::Int(s) => Scalar::I64(s).convert(dtype),
        }
    }
}
