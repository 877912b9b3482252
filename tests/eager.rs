//! Eager ops: what they compile, and that views wait for the op that reads them.

use tracewright::events::{Counters, Event, capture};
use tracewright::{DType, Generator, NewAxis, PadMode, Tensor, every, options};

fn normal(dims: &[usize]) -> Tensor {
    Generator::new(dims.iter().sum::<usize>() as u64).normal(dims, 0.0, 1.0)
}

/// How often something is compiled in a function that observes what it makes.
fn compiled(f: impl FnOnce() -> Tensor) -> usize {
    let ((), counts) = Counters::of(|| {
        f().to_literal().unwrap();
    });
    counts[Event::Compile] as usize
}

type Op = fn(usize, usize) -> Tensor;

/// Ops on tensors of any two extents.
const OPS: &[(&str, Op)] = &[
    ("add", |a, b| normal(&[a, b]) + normal(&[a, b])),
    ("add a row", |a, b| normal(&[a, b]) + normal(&[b])),
    ("exp", |a, b| normal(&[a, b]).exp()),
    ("sum", |a, b| normal(&[a, b]).sum(..)),
    ("sum of an axis", |a, b| normal(&[a, b]).sum(0)),
    ("softmax", |a, b| normal(&[a, b]).softmax(-1)),
    ("matmul", |a, b| normal(&[a, b]).matmul(&normal(&[b, a]))),
    ("take", |a, b| normal(&[a, b]).take(&Tensor::from([1i64, 0, 1]), 0)),
    ("slice", |a, b| normal(&[a, b]).slice(0, 2..a as isize - 2).exp()),
    ("index", |a, b| normal(&[a, b]).i((every(3.., -2), 4)).exp()),
    ("index by tensors", |a, b| normal(&[a, b]).i((&Tensor::from([1i64, 0]), 2..b))),
    ("set_at", |a, b| normal(&[a, b]).set_at((2..a - 1, 3), 1.0)),
    ("set_at of tensors", |a, b| normal(&[a, b]).set_at((&Tensor::from([1i64, 0]), 2..b - 1), 1.0)),
    ("broadcast_to", |a, b| normal(&[b]).broadcast_to([a, b])),
    ("transpose", |a, b| normal(&[a, b]).t()),
    ("pad", |a, b| normal(&[a, b]).pad(&[(a, 2), (3, b)], 0.0)),
    ("roll", |a, b| normal(&[a, b]).roll(&[a as isize / 2 + 2], [0])),
    ("pad in a circle", |a, b| normal(&[a, b]).pad(&[(3, 2), (0, b - 2)], PadMode::Circular)),
    ("eye", |a, _| Tensor::eye(a, DType::F32)),
    ("glu", |a, b| normal(&[a, 2 * b]).glu(-1)),
    ("cumsum", |a, b| normal(&[a, b]).cumsum(1)),
    ("sort", |a, b| normal(&[a, b]).sort(1, false).0),
    ("searchsorted", |a, b| normal(&[4 * 3 + a % 3]).searchsorted(&normal(&[b]), false)),
];

#[test]
fn new_shapes_compile_nothing() {
    for (name, op) in OPS {
        assert_ne!(compiled(|| op(7, 11)), 0, "{name}: nothing is compiled at first");
        for (a, b) in [(8, 12), (9, 21), (50, 13), (16, 31)] {
            assert_eq!(compiled(|| op(a, b)), 0, "{name} with extents {a} and {b}");
        }
    }
}

#[test]
fn slices_of_a_loop_compile_once() {
    let x = normal(&[100, 5]);
    let mean = |at: usize| x.i(at..at + 10).mean(..);
    compiled(|| mean(20));
    for at in [30, 40, 77] {
        assert_eq!(compiled(|| mean(at)), 0, "from {at}");
    }
}

/// What is compiled in a function, by the reasons of the events.
fn names(f: impl FnOnce()) -> Vec<String> {
    let ((), records) = capture(f);
    let mine = records.into_iter().filter(|r| r.event == Event::Compile && r.reason.starts_with("eager "));
    mine.map(|r| r.reason).collect()
}

#[test]
fn views_are_read_where_they_lie() {
    let x = normal(&[40, 30]);
    let y = normal(&[30, 20]);
    let view = x.t().slice_step(1, .., 2).flip(&[0]);
    let mut sum = None;
    // Nothing runs for the view, whose steps are part of the kernel of the sum.
    assert_eq!(names(|| sum = Some(&view + &y)), ["eager add"]);
    let sum = sum.unwrap();
    assert_eq!(view.shape(), [30, 20].into());
    let (xs, ys, sums) = (x.to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap(), sum.to_vec::<f32>().unwrap());
    for i in 0..30 {
        for j in 0..20 {
            assert_eq!(sums[i * 20 + j], xs[2 * j * 30 + 29 - i] + ys[i * 20 + j]);
        }
    }
    // The view itself, asked for.
    assert_eq!(view.i((3, 4)).item::<f32>().unwrap(), xs[8 * 30 + 26]);
    assert_eq!(view.to_vec::<f32>().unwrap()[3 * 20 + 4], xs[8 * 30 + 26]);
    assert_eq!(view.i((3, NewAxis, 4)).to_vec::<f32>().unwrap(), [xs[8 * 30 + 26]]);
}

#[test]
fn long_reductions_of_unknown_length() {
    use tracewright::keepdims;
    for n in [65_536usize, 65_537, 81_920, 100_001, 262_144] {
        let x = Tensor::iota([n], 0, DType::I64);
        let all = (n as i64 - 1) * n as i64 / 2;
        assert_eq!(x.sum(..).item::<i64>().unwrap(), all);
        assert_eq!(x.max(..).item::<i64>().unwrap(), n as i64 - 1);
        assert_eq!(x.min(keepdims(..)).to_vec::<i64>().unwrap(), [0]);
        // Columns, of which the long axis is reduced.
        let columns = Tensor::iota([n, 3], 0, DType::I64) + Tensor::from([0i64, 1, 2]);
        let sums = columns.sum(0).to_vec::<i64>().unwrap();
        assert_eq!(sums, [all, all + n as i64, all + 2 * n as i64]);
        assert_eq!(columns.t().sum(1).to_vec::<i64>().unwrap(), sums);
    }
    // The parts run on several threads, and the rest is no part of its own.
    let x = normal(&[1 << 18]);
    let (whole, twice) = (x.sum(..).item::<f32>().unwrap(), x.reshape([512, 512]).sum(..).item::<f32>().unwrap());
    let exact: f64 = x.to_vec::<f32>().unwrap().iter().map(|&x| x as f64).sum();
    assert_eq!(whole, twice);
    assert!((whole as f64 - exact).abs() < 0.01, "{whole} and {exact}");
}

/// Discontiguous operands, on one thread and on several.
#[test]
fn views_of_many_elements_run_in_parallel() {
    let x = normal(&[700, 900]);
    let y = normal(&[800, 700]);
    let run = |threads| {
        let mut options = (*options::current().unwrap()).clone();
        options.threads = Some(threads);
        let made = || (x.t().slice(0, 50..850).flip(&[1]) * &y - x.i((every(.., -1), 3)).exp()).tanh();
        options::with_options(options, || made().to_vec::<f32>().unwrap())
    };
    assert_eq!(names(|| drop(run(1))).len(), 4, "mul, exp, sub and tanh");
    let (one, several) = (run(1), run(5));
    assert!(one.iter().zip(&several).all(|(a, b)| a.to_bits() == b.to_bits()));
    let (xs, ys) = (x.to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());
    for (i, j) in [(0, 0), (799, 699), (123, 456)] {
        let product = xs[(699 - j) * 900 + 50 + i] * ys[i * 700 + j];
        let want = (product - xs[(699 - j) * 900 + 3].exp()).tanh();
        assert!((one[i * 700 + j] - want).abs() < 1e-5, "at {i}, {j}");
    }
}

/// A view that a trace captures is run while the trace is open; no kernel for its like is there yet.
#[test]
fn a_view_that_a_compiled_function_captures() {
    let x = Tensor::arange(24, DType::I16).reshape([2, 3, 4]);
    let view = x.permute(&[2, 0, 1]).flip(&[1]);
    let compiled = tracewright::jit(move |y: Tensor| y * &view);
    let got = compiled.call(Tensor::from(2i16)).unwrap();
    let twice = (x * 2).permute(&[2, 0, 1]).flip(&[1]);
    assert_eq!(got.to_vec::<i16>().unwrap(), twice.to_vec::<i16>().unwrap());
    let x = twice;
    let view = x.t().flip(&[0, 2]);
    let slope = tracewright::grad(move |y: &Tensor| (y * view.to_dtype(DType::F32)).sum(..))(&Tensor::from(1.0f32));
    assert_eq!(slope.item::<f32>().unwrap(), 552.0);
}

#[test]
fn a_view_without_room_for_its_elements_stays_a_view() {
    let huge = Tensor::from([1.5f32]).broadcast_to([1i64 << 44]);
    assert!(huge.to_vec::<f32>().unwrap_err().to_string().contains("memory"));
    assert_eq!((&huge.slice(0, 7..9) * 2.0).to_vec::<f32>().unwrap(), [3.0, 3.0]);
    assert_eq!(huge.shape(), [1i64 << 44].into());
}

/// Ops of hundreds of operands, also where more would be another number of 8 bits.
#[test]
fn hundreds_of_operands() {
    for n in [256usize, 300] {
        let parts: Vec<Tensor> = (0..n).map(|i| Tensor::from([i as i64, -(i as i64)])).collect();
        let found = tracewright::stack(&parts, 0).to_vec::<i64>().unwrap();
        assert_eq!(found, (0..n as i64).flat_map(|i| [i, -i]).collect::<Vec<i64>>());
    }
    let parts: Vec<Tensor> = (0..300).map(|i| Tensor::full([2usize], i as f32, DType::F32).requires_grad()).collect();
    (tracewright::stack(&parts, 0) * Tensor::iota([300usize, 2], 0, DType::F32)).sum(..).backward().unwrap();
    assert_eq!(parts[299].grad().unwrap().to_vec::<f32>().unwrap(), [299.0, 299.0]);
}
