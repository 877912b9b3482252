//! Random correct kernels; the code generators' tests draw from here too.

use ir::kernel::*;
use ir::{DType, Data, Scalar};

/// Elements per task in every parameter.
const ROW: i64 = 64;

/// Decisions, read off random bytes; zero when those are used up.
struct Draw(std::vec::IntoIter<u8>);

impl Draw {
    fn byte(&mut self) -> u8 {
        self.0.next().unwrap_or(0)
    }
    fn below(&mut self, n: usize) -> usize {
        self.byte() as usize % n
    }
    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
    fn scalar(&mut self, dtype: DType) -> Scalar {
        let x = self.byte() as i8 as f64;
        match self.below(8) {
            0 if dtype.is_float() => Scalar::of(dtype, f64::NAN),
            1 if dtype.is_float() => Scalar::of(dtype, -0.0),
            2 => Scalar::lowest(dtype),
            3 => Scalar::highest(dtype),
            _ => Scalar::of(dtype, x / 4.0),
        }
    }
}

/// Draws a correct kernel over one extent, of which every parameter holds `ROW` elements for each task.
struct Generator {
    draw: Draw,
    k: KernelBuilder,
    n: Index,
    task: Index,
    inputs: Vec<Memory>,
    outputs: Vec<Memory>,
    scratch: Option<Memory>,
    /// Values in scope, and where each open block starts.
    scope: Vec<Var>,
    /// Iteration variables in scope, with a number that they stay below.
    iters: Vec<Index>,
    /// The variable of the open lanes loop.
    lanes: Option<Index>,
    statements: usize,
}

const NUMBERS: [DType; 10] = {
    use DType::*;
    [F64, F32, I64, I32, I16, I8, U64, U32, U16, U8]
};

/// The kernel that those bytes choose.
pub fn kernel(bytes: Vec<u8>) -> Kernel {
    let mut draw = Draw(bytes.into_iter());
    let mut k = KernelBuilder::new("fuzz");
    let inputs = (0..draw.below(3) + 1).map(|_| k.param(draw.of(&DType::ALL), Access::In)).collect();
    let outputs = (0..draw.below(3) + 1)
        .map(|_| {
            let access = draw.of(&[Access::Out, Access::InOut]);
            k.param(draw.of(&DType::ALL), access)
        })
        .collect();
    let n = k.extent();
    let row = k.index(ROW);
    let scratch = (draw.below(2) == 0).then(|| k.scratch(draw.of(&DType::ALL), row));
    let (task, scope, iters) = (n, Vec::new(), Vec::new());
    let mut g = Generator { draw, k, n, task, inputs, outputs, scratch, scope, iters, lanes: None, statements: 0 };
    for _ in 0..g.draw.below(2) + 1 {
        g.nest();
    }
    g.k.finish()
}

impl Generator {
    fn nest(&mut self) {
        // Tasks of different nests must not touch the same elements, so each nest has outputs of its own.
        let outputs = std::mem::take(&mut self.outputs);
        self.outputs = outputs.iter().map(|&o| self.k.param(self.k.memory_dtype(o), Access::InOut)).collect();
        let work = self.k.index(100);
        self.task = self.k.begin_nest(self.n, work);
        self.iters = vec![self.task];
        if let Some(scratch) = self.scratch {
            let row = self.k.index(ROW);
            let i = self.k.begin_loop(row, LoopKind::Lanes);
            let value = self.value(self.k.memory_dtype(scratch));
            self.k.store(scratch, i, value);
            self.k.end_loop();
            self.scope.clear();
        }
        self.block(0);
        self.k.end_nest();
        self.scope.clear();
    }

    fn block(&mut self, depth: usize) {
        for _ in 0..self.draw.below(6) + 1 {
            self.statements += 1;
            if self.statements > 60 {
                return;
            }
            match self.draw.below(8) {
                0 | 1 if depth < 3 => self.loop_(depth),
                2 | 3 => self.store(),
                4 => {
                    let (site, index, bound) = (self.k.site(), self.value(DType::I64), self.bounded());
                    let mask = self.mask();
                    self.k.check(site, index, bound, mask);
                }
                _ => self.operation(),
            }
        }
    }

    fn loop_(&mut self, depth: usize) {
        let extent = match self.draw.below(3) {
            0 => self.bounded(),
            _ => {
                let n = self.draw.below(70) as i64;
                self.k.index(n.min(ROW))
            }
        };
        let lanes = self.lanes.is_none() && self.draw.below(2) == 0;
        let kind = if lanes { LoopKind::Lanes } else { LoopKind::Serial };
        let around = (self.scope.len(), self.iters.len(), self.lanes);
        let i = self.k.begin_loop(extent, kind);
        self.iters.push(i);
        if lanes {
            self.lanes = Some(i);
        }
        self.block(depth + 1);
        let mut results = Vec::new();
        for _ in 0..self.draw.below(3) {
            use Combine::*;
            let how = self.draw.of(&Combine::ALL);
            let dtype = match how {
                Any | All => DType::Bool,
                _ => self.draw.of(&NUMBERS),
            };
            // Inputs must come from the body itself.
            let constant = self.draw.scalar(dtype);
            let (a, b) = (self.value(dtype), self.k.constant(constant));
            let condition = self.value(DType::Bool);
            let mut inputs = vec![self.k.select(condition, a, b)];
            if how.arity() == 2 {
                inputs.push(self.k.index_value(i));
            }
            results.extend(self.k.accumulate(how, &inputs));
        }
        self.k.end_loop();
        self.scope.truncate(around.0);
        self.iters.truncate(around.1);
        self.lanes = around.2;
        self.scope.extend(results);
    }

    fn store(&mut self) {
        let memory = match self.scratch {
            Some(s) if self.lanes.is_none() && self.draw.below(3) == 0 => s,
            _ => self.draw.of(&self.outputs.clone()),
        };
        // Iterations of a lanes loop must not store to the same element.
        let at = match self.lanes {
            Some(i) => i,
            None => self.bounded(),
        };
        let at = if Some(memory) == self.scratch { at } else { self.in_row(at) };
        let value = self.value(self.k.memory_dtype(memory));
        match self.mask() {
            Some(m) => self.k.store_masked(memory, at, value, m),
            None => self.k.store(memory, at, value),
        }
    }

    fn operation(&mut self) {
        let dtype = self.draw.of(&DType::ALL);
        let a = self.value(dtype);
        let v = match self.draw.below(7) {
            0 => {
                let ops: Vec<UnaryOp> = UnaryOp::ALL.iter().copied().filter(|op| op.accepts(dtype)).collect();
                if ops.is_empty() {
                    return;
                }
                let op = self.draw.of(&ops);
                self.k.unary(op, a)
            }
            1 | 2 => {
                let ops: Vec<BinaryOp> = BinaryOp::ALL.iter().copied().filter(|op| op.accepts(dtype)).collect();
                if ops.is_empty() {
                    return;
                }
                let op = self.draw.of(&ops);
                let b = self.value(dtype);
                self.k.binary(op, a, b)
            }
            3 if !dtype.is_half() => {
                let (op, b) = (self.draw.of(CompareOp::ALL), self.value(dtype));
                self.k.compare(op, a, b)
            }
            4 => {
                let (c, b) = (self.value(DType::Bool), self.value(dtype));
                self.k.select(c, a, b)
            }
            5 => {
                let draw = match (self.draw.of(&ir::kernel::Draw::ALL), self.draw.byte()) {
                    (ir::kernel::Draw::Bits { .. }, stream) => ir::kernel::Draw::Bits { stream: stream.into() },
                    (other, _) => other,
                };
                let key = [self.value(DType::U32), self.value(DType::U32)];
                let index = self.value(DType::U64);
                let parameter = draw.has_parameter().then(|| self.value(DType::F64));
                self.k.draw(draw, key, index, parameter)
            }
            _ => {
                let to = self.draw.of(&DType::ALL);
                self.k.convert(a, to)
            }
        };
        self.scope.push(v);
    }

    fn mask(&mut self) -> Option<Var> {
        (self.draw.below(3) == 0).then(|| self.value(DType::Bool))
    }

    /// A value of that type: one in scope, or a new one.
    fn value(&mut self, dtype: DType) -> Var {
        let known: Vec<Var> = self.scope.iter().copied().filter(|&v| self.k.dtype(v) == dtype).collect();
        if !known.is_empty() && self.draw.below(4) > 0 {
            return self.draw.of(&known);
        }
        let v = match self.draw.below(4) {
            0 => {
                let s = self.draw.scalar(dtype);
                self.k.constant(s)
            }
            1 => {
                let i = self.bounded();
                let v = self.k.index_value(i);
                self.k.convert(v, dtype)
            }
            _ => {
                let v = self.load();
                self.k.convert(v, dtype)
            }
        };
        self.scope.push(v);
        v
    }

    fn load(&mut self) -> Var {
        let at = self.bounded();
        let (memory, at) = match self.scratch {
            // A lanes loop may not read what another of its iterations wrote; nothing stores to scratch in one.
            Some(s) if self.k.memory_dtype(s) != DType::Bool && self.draw.below(2) == 0 && self.iters.len() > 1 => {
                (s, at)
            }
            _ => (self.draw.of(&self.inputs.clone()), self.in_row(at)),
        };
        if self.draw.below(3) > 0 || !self.scope.iter().any(|&v| self.k.dtype(v) == DType::Bool) {
            return self.k.load(memory, at);
        }
        let masks: Vec<Var> = self.scope.iter().copied().filter(|&v| self.k.dtype(v) == DType::Bool).collect();
        let (mask, fallback) = (self.draw.of(&masks), self.draw.scalar(self.k.memory_dtype(memory)));
        self.k.load_masked(memory, at, mask, fallback)
    }

    fn in_row(&mut self, at: Index) -> Index {
        let row = self.k.index(ROW);
        let start = self.k.indices.mul(self.task, row);
        self.k.indices.add(start, at)
    }

    /// A random expression, kept in `0..ROW`.
    fn bounded(&mut self) -> Index {
        let e = self.index(0);
        let (row, last, zero) = (self.k.index(ROW), self.k.index(ROW - 1), self.k.index(0));
        if self.draw.below(2) == 0 {
            return self.k.indices.modulo(e, row);
        }
        let e = self.k.indices.max(e, zero);
        self.k.indices.min(e, last)
    }

    fn index(&mut self, depth: usize) -> Index {
        let choice = self.draw.below(if depth < 4 { 10 } else { 4 });
        if choice < 4 {
            let small = self.draw.byte() as i8 as i64;
            return match choice {
                0 => self.k.index(small),
                1 => self.n,
                2 => match self.scope.iter().rev().find(|&&v| self.k.dtype(v) == DType::I64) {
                    // Kept small, so that arithmetic on it cannot overflow.
                    Some(&v) => {
                        let (v, limit) = (self.k.index_of(v), self.k.index(1000));
                        self.k.indices.modulo(v, limit)
                    }
                    None => self.k.index(small),
                },
                _ => self.draw.of(&self.iters.clone()),
            };
        }
        let (a, b) = (self.index(depth + 1), self.index(depth + 1));
        let divisor = self.k.index(1 + self.draw.below(9) as i64);
        match choice {
            4 => self.k.indices.mul(a, divisor),
            5 => self.k.indices.sub(a, b),
            6 => self.k.indices.floor_div(a, divisor),
            7 => self.k.indices.modulo(a, divisor),
            8 => self.k.indices.min(a, b),
            _ => self.k.indices.add(a, b),
        }
    }
}

/// Tasks of each nest: the one extent.
pub const TASKS: i64 = 3;

/// Buffers of a kernel.
pub fn buffers(kernel: &Kernel) -> Vec<Data> {
    let element = |p: usize, i: i64| Scalar::of(kernel.params[p].dtype, ((i * 37 + p as i64) % 23 - 11) as f64 / 2.0);
    let buffer = |p: usize| Data::collect(kernel.params[p].dtype, (0..TASKS * ROW).map(|i| element(p, i)));
    (0..kernel.params.len()).map(buffer).collect()
}
