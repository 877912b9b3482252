//! Random kernels: they are correct, read back as they print, and mean the same in every order of tasks. Random damage
//! to their text and to their bytes never makes anything panic.

use ir::kernel::interp::{self, Options, Order};
use ir::kernel::text::parse;
use ir::kernel::verify::verify;
use ir::kernel::*;
use ir::{DType, Data, Scalar};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

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

const NUMBERS: [DType; 5] = [DType::F64, DType::F32, DType::I64, DType::I32, DType::U8];

fn kernel(bytes: Vec<u8>) -> Kernel {
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
        let v = match self.draw.below(6) {
            0 => {
                let op = self.draw.of(UnaryOp::ALL);
                if !op.accepts(dtype) {
                    return;
                }
                self.k.unary(op, a)
            }
            1 | 2 => {
                let op = self.draw.of(BinaryOp::ALL);
                if !op.accepts(dtype) {
                    return;
                }
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

const TASKS: i64 = 3;

fn buffers(kernel: &Kernel) -> Vec<Data> {
    let element = |p: usize, i: i64| Scalar::of(kernel.params[p].dtype, ((i * 37 + p as i64) % 23 - 11) as f64 / 2.0);
    let buffer = |p: usize| Data::collect(kernel.params[p].dtype, (0..TASKS * ROW).map(|i| element(p, i)));
    (0..kernel.params.len()).map(buffer).collect()
}

fn run(kernel: &Kernel, order: Order) -> Result<(Vec<Data>, interp::Status), interp::RunError> {
    let mut data = buffers(kernel);
    let status = interp::run_with(kernel, &mut data, &[TASKS], &Options { order, limit: 3_000_000 })?;
    Ok((data, status))
}

fn bits(data: &[Data]) -> Vec<Vec<u64>> {
    // Which NaN an operation yields is left open.
    let bits = |s: Scalar| if s.dtype().is_float() && s.as_f64().is_nan() { u64::MAX } else { s.bits() };
    data.iter().map(|d| (0..d.len()).map(|i| bits(d.get(i))).collect()).collect()
}

/// Everything that takes kernels from outside.
fn survives(kernel: &Kernel) {
    let text = kernel.to_string();
    let canonical = kernel.canonical();
    if verify(kernel).is_ok() {
        assert_eq!(canonical, canonical.canonical());
        assert_eq!(parse(&text).unwrap(), canonical);
        let mut data = buffers(kernel);
        let extents = vec![2; kernel.extents as usize];
        let _ = interp::run_with(kernel, &mut data, &extents, &Options { limit: 20_000, ..Default::default() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..Default::default() })]

    #[test]
    fn random_kernels_are_correct_and_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let kernel = kernel(bytes);
        prop_assert_eq!(verify(&kernel), Ok(()));
        let text = kernel.to_string();
        let read = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        prop_assert_eq!(&read, &kernel.canonical());
        prop_assert_eq!(read.key(), kernel.key());
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(verify(&read), Ok(()));
        let bytes = postcard::to_allocvec(&kernel).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Kernel>(&bytes).unwrap(), kernel);
    }

    #[test]
    fn the_order_of_tasks_and_lanes_does_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let kernel = kernel(bytes);
        let run = |order| match run(&kernel, order) {
            Ok((data, status)) => Some((bits(&data), status)),
            Err(interp::RunError::Statement { fault: interp::Fault::Limit, .. }) => None,
            Err(e) => panic!("{e}\n{kernel}"),
        };
        let forward = run(Order::Forward);
        for order in [Order::Reverse, Order::Shuffled(7)] {
            prop_assert_eq!(&run(order), &forward, "{}", kernel);
        }
    }

    #[test]
    fn damaged_text_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        damage in proptest::collection::vec((any::<u32>(), any::<u32>(), 0..6u8), 1..6),
    ) {
        let words = ["%0", "%i0", "N0", "}", "{", "(", "[", "-", "9223372036854775807", "lanes", "yield sum", "f16", "\u{e9}", " if %1"];
        let mut text: Vec<char> = kernel(bytes).to_string().chars().collect();
        for (a, b, how) in damage {
            let (at, to) = (a as usize % (text.len() + 1), b as usize % (text.len() + 1));
            let (from, until) = (at.min(to), at.max(to).min(at.min(to) + 40));
            let word = words[b as usize % words.len()].chars();
            match how {
                0 => drop(text.splice(at..at, word)),
                1 => drop(text.drain(from..until)),
                2 => text.truncate(at.max(20)),
                3 => {
                    let piece: Vec<char> = text[from..until].to_vec();
                    drop(text.splice(from..from, piece));
                }
                4 if at < text.len() => text[at] = char::from(32 + (b % 95) as u8),
                _ => drop(text.splice(at..(at + 1).min(text.len()), word)),
            }
        }
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(kernel) => survives(&kernel),
            Err(e) => {
                prop_assert!(e.line <= text.lines().count() + 1);
                e.to_string();
            }
        }
    }

    #[test]
    fn damaged_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        damage in proptest::collection::vec((any::<u32>(), any::<u8>()), 1..4),
    ) {
        let mut stored = postcard::to_allocvec(&kernel(bytes)).unwrap();
        for (at, byte) in damage {
            let at = at as usize % stored.len();
            stored[at] = byte;
        }
        if let Ok(kernel) = postcard::from_bytes::<Kernel>(&stored) {
            survives(&kernel);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[ %a-z0-9(){}@:;,.\\[\\]\n-]{0,200}") {
        prop_assert!(parse(&text).is_err());
        let (headed, closed) = (format!("kernel @k{text}"), text.contains('}'));
        prop_assert!(parse(&headed).is_err() || closed);
    }
}

/// The generator must reach every construct, or the properties above say little.
#[test]
fn random_kernels_cover_every_construct() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::collection::vec(any::<u8>(), 600..601);
    let texts: String =
        (0..400).map(|_| kernel(strategy.new_tree(&mut runner).unwrap().current()).to_string()).collect();
    let mut words: Vec<String> =
        ["const ", "index ", "select ", "convert ", "load ", "store ", "check ", "lanes {", " else "]
            .map(String::from)
            .to_vec();
    words.extend([" mod ", "/", "min(", "max(", "inout", "scratch(", "nan:", "-inf", "] if "].map(String::from));
    words.extend(UnaryOp::ALL.iter().map(|op| format!("= {} ", op.name())));
    words.extend(BinaryOp::ALL.iter().map(|op| format!("= {} ", op.name())));
    words.extend(CompareOp::ALL.iter().map(|op| format!("= {} ", op.name())));
    words.extend(Combine::ALL.iter().map(|c| format!("yield {} ", c.name())));
    for word in words {
        assert!(texts.contains(&word), "no random kernel has `{word}`");
    }
}
