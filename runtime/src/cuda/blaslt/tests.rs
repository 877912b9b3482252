use super::*;
use crate::buffer::Buffer;
use crate::contract;
use crate::cuda::product::{ProductError, Products};
use crate::cuda::sort;
use crate::pool::Pool;
use crate::scratch::Scratch;
use codegen::cuda::library::Launch;
use codegen::cuda::nvrtc::{Arch, Nvrtc};
use codegen::cuda::{BLOCK, Run};
use cudarc::driver::{result, sys as driver};
use ir::{Literal, Scalar};

/// An emulated device, for one test at a time.
struct Device {
    stream: driver::CUstream,
    blank: u64,
    modules: HashMap<String, driver::CUfunction>,
    launches: usize,
    _alone: emulator::Alone,
}

impl Device {
    fn new() -> Option<Device> {
        if !emulator::ready() {
            return None;
        }
        let alone = emulator::alone();
        result::init().unwrap();
        let device = result::device::get(0).unwrap();
        // SAFETY: the device is there; the context is never released.
        let context = unsafe { result::primary_ctx::retain(device) }.unwrap();
        // SAFETY: as above.
        unsafe { result::ctx::set_current(context) }.unwrap();
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).unwrap();
        let mut device = Device { stream, blank: 0, modules: HashMap::new(), launches: 0, _alone: alone };
        device.blank = device.put(&[0; 64]);
        Some(device)
    }

    /// Memory with those bytes.
    fn put(&self, bytes: &[u8]) -> u64 {
        // SAFETY: asks for memory, and fills it.
        unsafe {
            let at = result::malloc_sync(bytes.len().max(1)).unwrap();
            result::memcpy_htod_sync(at, bytes).unwrap();
            at
        }
    }

    fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        // SAFETY: the memory was filled by `put`, with so many bytes.
        unsafe {
            result::stream::synchronize(self.stream).unwrap();
            result::memcpy_dtoh_sync(&mut bytes, at).unwrap();
        }
        bytes
    }

    fn launch(&mut self, l: &Launch) -> Result<(), String> {
        self.launches += 1;
        let name = l.routine.entry();
        let function = *self.modules.entry(name.clone()).or_insert_with(|| {
            let code = Nvrtc::open().unwrap().compile(&l.routine.text(), Arch { major: 9, minor: 0 }).unwrap();
            let name = std::ffi::CString::new(name).unwrap();
            // SAFETY: the module is the compiler's, and is never unloaded.
            unsafe {
                let module = result::module::load_data(code.bytes.as_ptr().cast()).unwrap();
                result::module::get_function(module, name).unwrap()
            }
        });
        let mut words = l.words.clone();
        let mut run = Run { failed: self.blank, progress: self.blank + 8, step: 1, gated: 1, launch: 1 };
        let mut arguments: [Pointer; 2] = [words.as_mut_ptr().cast(), std::ptr::from_mut(&mut run).cast()];
        let (blocks, threads) = ((l.blocks, 1, 1), (BLOCK, 1, 1));
        // SAFETY: these are the function's parameters.
        unsafe { result::launch_kernel(function, blocks, threads, 0, self.stream, &mut arguments) }
            .map_err(|e| e.to_string())
    }
}

/// How the elements of a matrix lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Rows,
    Cols,
    /// Columns with gaps behind them.
    Gaps,
    /// One matrix for the whole batch.
    Same,
    /// One row for the whole matrix.
    SameRow,
    /// Neither rows nor columns are contiguous.
    Apart,
    /// Axes in any order, with gaps; for operands some with a stride of 0.
    Chance(u64),
}
use Order::*;

struct Matrices {
    data: Buffer,
    strides: [isize; 3],
}

impl Matrices {
    fn new(dtype: DType, order: Order, [b, r, c]: [usize; 3], seed: u64) -> Matrices {
        let [_, y, z] = [b, r, c].map(|n| n as isize);
        let (strides, len) = match order {
            Rows => ([y * z, z, 1], b * r * c),
            Cols => ([y * z, 1, y], b * r * c),
            Gaps => ([(y + 3) * z + 5, 1, y + 3], b * ((r + 3) * c + 5)),
            Same => ([0, z, 1], r * c),
            SameRow => ([z, 0, 1], b * c),
            Apart => ([y * z * 6, z * 3, 2], b * r * c * 6),
            Chance(seed) => by_chance(seed, [b, r, c]),
        };
        let mut state = seed | 1;
        let values = Literal::from_fn(&[len], dtype, |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Few bits, so that every sum is exact.
            match dtype.is_float() {
                true => Scalar::of(dtype, (state >> 59) as f64 / 4.0 - 4.0),
                false => Scalar::I64((state >> 20) as i64).convert(dtype),
            }
        });
        Matrices { data: Buffer::from_literal(&values).unwrap(), strides }
    }

    fn at(&self, data: *mut u8) -> Operand {
        Operand { data, strides: self.strides }
    }
}

/// The next of some numbers by chance.
fn next(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 33) % below
}

/// Strides, and elements of the memory that they reach.
fn by_chance(seed: u64, extents: [usize; 3]) -> ([isize; 3], usize) {
    let mut state = seed;
    let (mut strides, mut len, mut axes) = ([0; 3], 1, [0, 1, 2]);
    (0..3).for_each(|i| axes.swap(i, next(&mut state, 3) as usize));
    for axis in axes {
        let (zero, gap) = (next(&mut state, 8) == 0, next(&mut state, 4));
        if !zero {
            strides[axis] = len as isize;
            len = len * extents[axis].max(1) + gap.saturating_sub(1) as usize;
        }
    }
    (strides, len)
}

#[derive(Clone, Copy, Debug)]
struct Case {
    dtype: DType,
    shape: [usize; 4],
    orders: [Order; 3],
    bias: bool,
    activation: Activation,
    tf32: bool,
    /// Elements before each matrix in its memory.
    before: usize,
}

impl Case {
    fn new(dtype: DType, shape: [usize; 4], orders: [Order; 3]) -> Case {
        Case { dtype, shape, orders, bias: false, activation: Activation::None, tf32: false, before: 0 }
    }

    fn matrices(&self) -> [Matrices; 3] {
        let [b, m, n, k] = self.shape;
        let shapes = [[b, m, k], [b, k, n], [b, m, n]];
        [0, 1, 2].map(|i| Matrices::new(self.dtype, self.orders[i], shapes[i], i as u64 * 77 + 5))
    }

    fn product(&self, matrices: &[Matrices; 3], at: [*mut u8; 3]) -> Matmul {
        let [batch, m, n, k] = self.shape;
        let [lhs, rhs, out] = [0, 1, 2].map(|i| matrices[i].at(at[i]));
        Matmul { dtype: self.dtype, batch, m, n, k, lhs, rhs, out }
    }

    fn epilogue(&self, bias: u64) -> Epilogue {
        Epilogue { bias: self.bias.then_some(bias), activation: self.activation }
    }

    fn is_expressible(&self) -> bool {
        let product = self.product(&self.matrices(), [std::ptr::null_mut(); 3]);
        expressible(&product, &self.epilogue(0)).is_ok()
    }

    /// The bytes of the result, with all that lies between its elements.
    fn run(&self, device: &mut Device, products: &Products) -> Result<Vec<u8>, ProductError<String>> {
        let (matrices, size) = (self.matrices(), self.dtype.size());
        let bias = Matrices::new(self.dtype, Rows, [1, 1, self.shape[2]], 99);
        let gap = vec![0xa5; self.before * size];
        let put = |m: &Matrices| device.put(&[&gap, m.data.bytes()].concat()) + gap.len() as u64;
        let at = [put(&matrices[0]), put(&matrices[1]), put(&matrices[2])];
        // Of another alignment than all others.
        let bias = device.put(&[&gap, &vec![0xa5; size], bias.data.bytes()].concat()) + (gap.len() + size) as u64;
        let product = self.product(&matrices, at.map(|at| std::ptr::without_provenance_mut(at as usize)));
        let scratch = device.put(&vec![0xa5; products.scratch_bytes(&product)]);
        let stream = device.stream;
        let mut launch = |l: &Launch| device.launch(l);
        // SAFETY: the memory was just filled, with what the product reads and room for what it writes.
        unsafe { products.multiply(&product, &self.epilogue(bias), self.tf32, scratch, stream, &mut launch) }?;
        Ok(device.get(at[2], matrices[2].data.bytes().len()))
    }

    /// What the CPU makes of it, then the epilogue.
    fn want(&self) -> Vec<u8> {
        let matrices = self.matrices();
        let wide = if self.dtype.is_float() { DType::F64 } else { self.dtype };
        let widened = matrices.each_ref().map(|m| {
            let len = m.data.bytes().len() / self.dtype.size();
            let literal = m.data.to_literal(self.dtype, &[len]).unwrap();
            let wide = Literal::from_fn(&[len], wide, |i| literal.get(i).convert(wide));
            Matrices { data: Buffer::from_literal(&wide).unwrap(), strides: m.strides }
        });
        let product = Case { dtype: wide, ..*self }.product(&widened, widened.each_ref().map(|m| m.data.ptr()));
        let library = contract::library();
        let scratch = Scratch::new(1, library.scratch_bytes(&product)).unwrap();
        // SAFETY: `Matrices` holds every element that its strides name.
        unsafe { library.multiply(&Pool::new(1), &product, &scratch, None) }.unwrap();
        let [b, m, n, _] = self.shape;
        let bias = Matrices::new(self.dtype, Rows, [1, 1, n], 99).data.to_literal(self.dtype, &[n]).unwrap();
        let len = matrices[2].data.bytes().len() / self.dtype.size();
        let (before, sums) = (
            matrices[2].data.to_literal(self.dtype, &[len]).unwrap(),
            widened[2].data.to_literal(wide, &[len]).unwrap(),
        );
        let mut out: Vec<Scalar> = (0..len).map(|i| before.get(i)).collect();
        for (b, i, j) in (0..b).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j)))) {
            let [sb, si, sj] = matrices[2].strides;
            let at = (b as isize * sb + i as isize * si + j as isize * sj) as usize;
            let sum = sums.get(at);
            out[at] = match self.dtype.is_float() {
                false => sum,
                true => {
                    let x = sum.as_f64() + if self.bias { bias.get(j).as_f64() } else { 0.0 };
                    Scalar::of(
                        self.dtype,
                        match self.activation {
                            Activation::None => x,
                            Activation::GeluTanh => gelu_tanh(x),
                        },
                    )
                }
            };
        }
        let out = Literal::from_fn(&[len], self.dtype, |i| out[i]);
        Buffer::from_literal(&out).unwrap().bytes().to_vec()
    }
}

/// With the numbers of the emulator.
fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + (0.7978845608028654 * (x + 0.044715 * x * x * x)).tanh())
}

const FLOATS: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];

#[test]
fn the_library_multiplies_all_layouts_that_it_can_express() {
    let Some(mut device) = Device::new() else { return };
    let products = Products::new();
    let mut cases = Vec::new();
    for dtype in FLOATS {
        for (a, b) in [Rows, Cols, Gaps, Same].into_iter().flat_map(|a| [Rows, Cols, Gaps, Same].map(|b| (a, b))) {
            for d in [Rows, Cols, Gaps] {
                cases.push(Case::new(dtype, [3, 5, 7, 6], [a, b, d]));
            }
        }
        for shape in [[1, 1, 1, 1], [1, 1, 9, 5], [2, 9, 1, 5], [1, 4, 4, 200], [7, 1, 1, 3], [1, 3, 2, 1]] {
            cases.push(Case::new(dtype, shape, [Rows, Rows, Rows]));
            cases.push(Case { before: 1, ..Case::new(dtype, shape, [Cols, Cols, Rows]) });
        }
        for activation in [Activation::None, Activation::GeluTanh] {
            for before in [0, 3] {
                let case =
                    Case { activation, bias: true, before, ..Case::new(dtype, [2, 5, 7, 6], [Rows, Cols, Rows]) };
                cases.extend([case, Case { bias: false, ..case }]);
            }
        }
    }
    for case in &cases {
        assert!(case.is_expressible(), "{case:?}");
        assert_eq!(case.run(&mut device, &products).unwrap(), case.want(), "{case:?}");
    }
    assert_eq!(device.launches, 0, "kernels of our own had nothing to do");
}

#[test]
fn products_by_chance() {
    let Some(mut device) = Device::new() else { return };
    let products = Products::new();
    let (mut state, mut expressible) = (3, 0);
    for n in 0..200 {
        let dtype = FLOATS[next(&mut state, 4) as usize];
        let mut extent = |most: u64| 1 + next(&mut state, most) as usize;
        let shape = [extent(3), extent(9), extent(9), extent(70)];
        // Elements of a result have places of their own.
        let out = (n..).step_by(1000).find(|&seed| by_chance(seed, [2; 3]).0.iter().all(|&s| s != 0)).unwrap();
        let orders = [Chance(n + 200), Chance(n + 400), Chance(out)];
        let bias = next(&mut state, 3) == 0;
        let case = Case { bias, before: next(&mut state, 3) as usize, ..Case::new(dtype, shape, orders) };
        let before = device.launches;
        assert_eq!(case.run(&mut device, &products).unwrap(), case.want(), "{case:?}");
        assert_eq!(device.launches == before, case.is_expressible(), "{case:?}");
        expressible += usize::from(case.is_expressible());
    }
    assert!((40..160).contains(&expressible), "{expressible}");
}

#[test]
fn what_the_library_cannot_express_is_for_kernels_of_our_own() {
    let Some(mut device) = Device::new() else { return };
    let products = Products::new();
    let cases = [
        Case::new(DType::F32, [2, 5, 7, 6], [Apart, Rows, Rows]),
        Case::new(DType::F32, [2, 5, 7, 6], [SameRow, Rows, Rows]),
        Case::new(DType::F32, [2, 5, 7, 6], [Rows, SameRow, Rows]),
        Case::new(DType::F32, [2, 5, 7, 6], [Rows, Rows, Apart]),
        Case::new(DType::F32, [2, 5, 7, 0], [Rows, Rows, Rows]),
        Case { bias: true, ..Case::new(DType::F32, [1, 5, 7, 6], [Rows, Rows, Cols]) },
        Case::new(DType::I32, [2, 5, 7, 6], [Rows, Rows, Rows]),
        Case::new(DType::I64, [1, 5, 7, 600], [Rows, Cols, Rows]),
    ];
    for (n, case) in cases.iter().enumerate() {
        assert!(!case.is_expressible(), "{case:?}");
        assert_eq!(case.run(&mut device, &products).unwrap(), case.want(), "{case:?}");
        assert!(device.launches > n, "{case:?}");
    }
    assert_eq!(
        Case::new(DType::Bool, [1, 1, 1, 1], [Rows; 3]).run(&mut device, &products),
        Err(ProductError::Unsupported)
    );
    let empty = Case::new(DType::F32, [2, 0, 7, 6], [Rows; 3]);
    assert_eq!(empty.run(&mut device, &products).unwrap(), [0u8; 0]);
}

#[test]
fn without_the_library_all_products_are_kernels_of_our_own() {
    let Some(mut device) = Device::new() else { return };
    let products = Products::own();
    for case in [
        Case { bias: true, ..Case::new(DType::F32, [2, 5, 7, 6], [Rows, Cols, Gaps]) },
        Case::new(DType::F32, [1, 4, 4, 2000], [Rows, Rows, Rows]),
    ] {
        assert_eq!(case.run(&mut device, &products).unwrap(), case.want(), "{case:?}");
    }
    assert!(device.launches >= 2);
}

#[test]
fn gelu_is_close_to_its_definition() {
    let Some(mut device) = Device::new() else { return };
    let plain = Case { bias: true, ..Case::new(DType::F32, [2, 5, 7, 6], [Rows; 3]) };
    let gelu = Case { activation: Activation::GeluTanh, ..plain };
    for products in [Products::new(), Products::own()] {
        let numbers =
            |bytes: Vec<u8>| bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>();
        let got = numbers(gelu.run(&mut device, &products).unwrap());
        for (x, y) in numbers(plain.want()).into_iter().zip(got) {
            let x = x as f64;
            let want = 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh());
            assert!((y as f64 - want).abs() <= 1e-6 * (1.0 + want.abs()), "gelu({x}) is {want}, not {y}");
        }
    }
}

#[test]
fn sums_have_the_same_bits_at_every_run() {
    let Some(mut device) = Device::new() else { return };
    let products = Products::new();
    let case = Case::new(DType::F32, [1, 3, 5, 300], [Rows; 3]);
    let first = case.run(&mut device, &products).unwrap();
    // The emulator adds parts in another order at every other run, if it may.
    (0..3).for_each(|_| assert_eq!(case.run(&mut device, &products).unwrap(), first));
}

#[test]
fn tf32_is_for_those_who_ask() {
    let Some(mut device) = Device::new() else { return };
    let products = Products::new();
    // One product of numbers of 24 bits.
    let case = Case::new(DType::F32, [1, 1, 1, 1], [Rows; 3]);
    let (x, y) = (1.0 + f32::EPSILON, 3.0f32);
    let mut results = Vec::new();
    for tf32 in [false, true] {
        let matrices = case.matrices();
        let at = [device.put(&x.to_le_bytes()), device.put(&y.to_le_bytes()), device.put(&[0xa5; 4])];
        let product = case.product(&matrices, at.map(|at| std::ptr::without_provenance_mut(at as usize)));
        let scratch = device.put(&vec![0; products.scratch_bytes(&product)]);
        let stream = device.stream;
        let mut launch = |l: &Launch| device.launch(l);
        // SAFETY: the memory was just filled.
        unsafe { products.multiply(&product, &Epilogue::default(), tf32, scratch, stream, &mut launch) }.unwrap();
        results.push(f32::from_le_bytes(device.get(at[2], 4).try_into().unwrap()));
    }
    assert_eq!(results, [x * y, y]);
}

#[test]
fn an_algorithm_is_chosen_once_for_each_shape() {
    let Some(mut device) = Device::new() else { return };
    let products = Products::new();
    let case = |n: usize| Case::new(DType::F32, [1, 5, n, 6], [Rows; 3]);
    case(7).run(&mut device, &products).unwrap();
    // The next question is refused.
    emulator::fail("cublasLtMatmulAlgoGetHeuristic", 1, 15);
    case(7).run(&mut device, &products).unwrap();
    assert_eq!(device.launches, 0);
    let before = events::Counters::thread();
    assert_eq!(case(8).run(&mut device, &products).unwrap(), case(8).want());
    assert_eq!((device.launches, events::Counters::thread().since(&before)[Event::Fallback]), (1, 1));
    // That is known from then on.
    case(8).run(&mut device, &products).unwrap();
    assert_eq!((device.launches, events::Counters::thread().since(&before)[Event::Fallback]), (2, 1));
    emulator::fail("cublasLtMatmul", 1, 13);
    let failed = case(7).run(&mut device, &products);
    assert_eq!(failed, Err(ProductError::Library("cublasLtMatmul fails with code 13".into())));
    assert_eq!(case(7).run(&mut device, &products).unwrap(), case(7).want());
}

#[test]
fn products_are_recorded_in_graphs() {
    let Some(device) = Device::new() else { return };
    let products = Products::new();
    let case = Case { bias: true, ..Case::new(DType::F32, [1, 5, 7, 100], [Rows; 3]) };
    let (matrices, bias) = (case.matrices(), device.put(&[0; 28]));
    let at = matrices.each_ref().map(|m| device.put(m.data.bytes()));
    let product = case.product(&matrices, at.map(|at| std::ptr::without_provenance_mut(at as usize)));
    let scratch = device.put(&vec![0; products.scratch_bytes(&product)]);
    let bytes = matrices[2].data.bytes().len();
    let mut graph: driver::CUgraph = std::ptr::null_mut();
    let mut executable: driver::CUgraphExec = std::ptr::null_mut();
    let mut launch = |_: &Launch| Err("the library does it".to_string());
    // SAFETY: the memory was just filled; the driver writes handles.
    unsafe {
        let mode = driver::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        driver::cuStreamBeginCapture_v2(device.stream, mode).result().unwrap();
        products.multiply(&product, &case.epilogue(bias), false, scratch, device.stream, &mut launch).unwrap();
        driver::cuStreamEndCapture(device.stream, &raw mut graph).result().unwrap();
        driver::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0).result().unwrap();
        assert_eq!(device.get(at[2], bytes), matrices[2].data.bytes(), "nothing has run");
        driver::cuGraphLaunch(executable, device.stream).result().unwrap();
        assert_eq!(device.get(at[2], bytes), Case { bias: false, ..case }.want());
        // Other operands at the same addresses.
        result::memcpy_htod_sync(at[0], &vec![0u8; matrices[0].data.bytes().len()]).unwrap();
        driver::cuGraphLaunch(executable, device.stream).result().unwrap();
        assert!(device.get(at[2], bytes).chunks(4).all(|b| f32::from_le_bytes(b.try_into().unwrap()) == 0.0));
    }
}

#[test]
fn rows_are_sorted() {
    let Some(mut device) = Device::new() else { return };
    for (n, inner) in [(70, 3), (5000, 1)] {
        let data = Matrices::new(DType::F32, Rows, [2, n, inner], 3).data;
        let want = Buffer::zeroed(2 * n * inner * 8).unwrap();
        let rows = |data: *const u8, out: *mut i64| crate::sort::Rows {
            dtype: DType::F32,
            outer: 2,
            n,
            inner,
            descending: true,
            data,
            out,
        };
        let on_cpu = rows(data.ptr(), want.ptr().cast());
        let scratch = Scratch::new(1, crate::sort::library().scratch_bytes(&on_cpu)).unwrap();
        // SAFETY: the buffers hold that many elements and positions.
        unsafe { crate::sort::library().argsort(&Pool::new(1), &on_cpu, &scratch) }.unwrap();
        let (from, to) = (device.put(data.bytes()), device.put(&vec![0xa5; want.bytes().len()]));
        let at = |address: u64| std::ptr::without_provenance_mut::<u8>(address as usize);
        let on_device = rows(at(from), at(to).cast());
        let scratch = device.put(&vec![0xa5; sort::scratch_bytes(&on_device)]);
        let launches = sort::launches(&on_device, scratch);
        launches.iter().for_each(|l| device.launch(l).unwrap());
        assert!(device.get(to, want.bytes().len()) == want.bytes(), "{n} x {inner}");
    }
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn in_a_process_without_the_emulator() {
    let before = events::Counters::thread();
    let why = BlasLt::open().err().expect("no library, or no device that is current");
    assert!(why.contains("cublasLt"), "{why}");
    (0..2).for_each(|_| _ = Products::new());
    assert_eq!(events::Counters::thread().since(&before)[Event::Fallback], 1);
}

#[test]
fn a_library_that_is_missing_is_an_event() {
    let name = "cuda::blaslt::tests::in_a_process_without_the_emulator";
    let mut process = std::process::Command::new(std::env::current_exe().unwrap());
    let output = process.args(["--exact", name, "--include-ignored"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
