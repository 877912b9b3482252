//! Keys, retraces, captures, cells, donation, symbolic extents, the check mode, threads.

mod check_mode;
mod symbols;
#[path = "../target/mod.rs"]
mod target;

use ir::program::Storage;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tracewright::events::{Counters, Event, capture};
use tracewright::{DType, Tensor, Tree, grad, jit, keepdims, nn::Buffer};

fn scalar(x: f32) -> Tensor {
    Tensor::from(x)
}
fn ones(shape: impl Into<tracewright::Shape>) -> Tensor {
    Tensor::ones(shape, DType::F32)
}
fn value(t: &Tensor) -> f32 {
    t.item().unwrap()
}

#[test]
fn a_retrace_names_the_nearest_entry_and_the_difference() {
    let f = jit(|x: Tensor, y: Tensor| x + y).named("sum");
    f.call(ones([2]), ones([2])).unwrap();
    let (_, records) = capture(|| f.call(ones([2]), ones([1])).unwrap());
    let retrace = records.iter().find(|r| r.event == Event::Retrace).unwrap();
    assert!(retrace.reason.starts_with("sum (tests/frontend_state/main.rs:"), "{}", retrace.reason);
    assert!(retrace.reason.ends_with(": arguments.1 was f32[2] and is f32[1]"), "{}", retrace.reason);
    assert_eq!(f.call(ones([2]), ones([1])).unwrap().to_vec::<f32>().unwrap(), [2.0, 2.0]);
    assert_eq!((f.stats().traces, f.stats().hits), (2, 1));
}

/// Every part of the key, changed in turn, traces once more, and both entries stay.
#[test]
fn every_part_of_the_key_counts() {
    #[derive(Tree, Clone)]
    struct Config {
        rate: f64,
        training: bool,
        name: String,
        layers: Vec<usize>,
        extra: Option<Tensor>,
        map: BTreeMap<String, Tensor>,
    }
    let base = || Config {
        rate: 0.5,
        training: true,
        name: "a".into(),
        layers: vec![1, 2],
        extra: None,
        map: [("k".to_string(), scalar(1.0))].into(),
    };
    let f = jit(|c: Config, x: Tensor| x * c.rate + c.map.values().next().unwrap());
    let mut traces = 0;
    let mut case = |c: Config, x: &Tensor| {
        traces += 1;
        f.call(&c, x).unwrap();
        assert_eq!(f.stats().traces, traces);
        f.call(&c, x).unwrap();
        assert_eq!(f.stats().traces, traces);
    };
    let x = ones([2]);
    case(base(), &x);
    case(Config { rate: 0.25, ..base() }, &x);
    case(Config { rate: -0.0, ..base() }, &x);
    case(Config { rate: 0.0, ..base() }, &x);
    case(Config { training: false, ..base() }, &x);
    case(Config { name: "b".into(), ..base() }, &x);
    case(Config { layers: vec![1], ..base() }, &x);
    case(Config { extra: Some(scalar(1.0)), ..base() }, &x);
    case(Config { map: [("l".to_string(), scalar(1.0))].into(), ..base() }, &x);
    case(base(), &ones([3]));
    case(base(), &ones([2, 1]));
    case(base(), &x.to_dtype(DType::F64));
    // The leaf of the map and the argument are one tensor.
    let tied = ones([2]);
    case(Config { map: [("k".to_string(), tied.clone())].into(), ..base() }, &tied);
    case(Config { map: [("k".to_string(), ones([2]))].into(), ..base() }, &tied);
}

/// Values, and not hashes of them.
#[test]
fn fixed_data_of_any_type_counts() {
    #[derive(Clone, PartialEq, Eq)]
    struct Power(i32);
    impl std::hash::Hash for Power {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    #[derive(Tree)]
    struct Raised {
        x: Tensor,
        #[tree(fixed)]
        power: Power,
    }
    let f = jit(|r: Raised| (0..r.power.0).fold(r.x.ones_like(), |y, _| y * &r.x)).named("raise");
    let raise = |n| value(&f.call(Raised { x: scalar(3.0), power: Power(n) }).unwrap());
    assert_eq!((raise(2), raise(2), f.stats().traces), (9.0, 9.0, 1));
    let (cube, records) = capture(|| raise(3));
    assert_eq!(cube, 27.0);
    let retrace = records.iter().find(|r| r.event == Event::Retrace).unwrap();
    assert!(retrace.reason.ends_with(": arguments.0.power is other fixed data than before"), "{}", retrace.reason);
    assert_eq!((raise(2), f.stats().traces), (9.0, 2));
}

#[test]
fn settings_are_part_of_the_key() {
    use tracewright::options::with_options;
    let f = jit(|x: Tensor| x * 2.0);
    f.call(scalar(1.0)).unwrap();
    assert!(f.summary().unwrap().compiled);
    let off = target::interpreted();
    with_options(off, || f.call(scalar(1.0))).unwrap();
    assert_eq!(f.summary().unwrap().fallback.as_deref(), Some("the JIT is off"));
    f.call(scalar(1.0)).unwrap();
    assert_eq!(f.stats().traces, 2);
}

#[test]
fn the_cache_is_bounded_and_evictions_are_counted() {
    let f = jit(|x: Tensor| x + 1.0).capacity(2);
    let ((), counts) = Counters::of(|| {
        for n in [1usize, 2, 1, 3, 1, 2] {
            f.call(ones([n])).unwrap();
        }
    });
    // 3 drives out 2, the least recently used; 2 then drives out 3.
    assert_eq!((f.stats().traces, f.stats().evictions, f.stats().entries), (4, 2, 2));
    assert_eq!(counts[Event::Eviction], 2);
}

#[test]
fn captured_tensors_are_hidden_inputs_and_not_constants() {
    let w = Tensor::from([2.0f32, 3.0]);
    let kept = w.clone();
    let f = jit(move |x: Tensor| &x * &w + &w);
    let lowered = f.lower(ones([2])).unwrap();
    assert_eq!(lowered.graph().inputs().len(), 2);
    assert!(!lowered.ir().contains("constant"), "{}", lowered.ir());
    assert_eq!(f.call(ones([2])).unwrap().to_vec::<f32>().unwrap(), [4.0, 6.0]);
    drop(kept);
    assert_eq!(f.call(ones([2])).unwrap().to_vec::<f32>().unwrap(), [4.0, 6.0]);
}

#[test]
fn constructors_in_a_trace_record_ops() {
    let f = jit(|x: Tensor| {
        x + Tensor::zeros([2], DType::F32) + Tensor::iota([2], 0, DType::F32) + Tensor::eye(2, DType::F32)
    });
    let ir = f.lower(ones([2])).unwrap().ir();
    assert!(ir.contains("full") && ir.contains("iota"), "{ir}");
    assert_eq!(f.call(ones([2])).unwrap().to_vec::<f32>().unwrap(), [2.0, 2.0, 1.0, 3.0]);
}

#[test]
fn cells_are_read_at_each_call_and_written_after_success() {
    let total = Buffer::new(scalar(0.0));
    let shared = total.clone();
    let f = jit(move |x: Tensor, i: Tensor| {
        shared.set(shared.get() + x.sum(..)).unwrap();
        shared.set(shared.get() * 1.0).unwrap();
        x.take(&i, 0) + shared.get()
    });
    let at = |i: i64| Tensor::from([i]);
    assert_eq!(f.call(ones([2]), at(0)).unwrap().to_vec::<f32>().unwrap(), [3.0]);
    assert_eq!(value(&total.get()), 2.0);
    total.set(scalar(10.0)).unwrap();
    assert_eq!(f.call(ones([2]), at(1)).unwrap().to_vec::<f32>().unwrap(), [13.0]);
    assert!(f.call(ones([2]), at(5)).is_err());
    assert_eq!(value(&total.get()), 12.0);
    assert_eq!(f.stats().traces, 1);
    assert!(total.set(ones([2])).is_err());
}

#[test]
fn cells_in_gradients_become_inputs_and_outputs() {
    let mean = Buffer::new(scalar(1.0));
    let inner = mean.clone();
    let loss = move |x: &Tensor| {
        let m = inner.get();
        inner.set(&m * 0.5 + x.mean(..) * 0.5).unwrap();
        (x * inner.get()).sum(..)
    };
    let eager = grad(&loss)(&ones([2]));
    // d/dx of sum(x) * (m/2 + mean(x)/2): (m/2 + mean/2) + sum * 1/4.
    assert_eq!(eager.to_vec::<f32>().unwrap(), [1.5, 1.5]);
    assert_eq!(value(&mean.get()), 1.0);
    mean.set(scalar(3.0)).unwrap();
    let f = jit(move |x: Tensor| grad(&loss)(&x));
    assert_eq!(f.call(ones([2])).unwrap().to_vec::<f32>().unwrap(), [2.5, 2.5]);
    assert_eq!(value(&mean.get()), 2.0);
    f.call(ones([2])).unwrap();
    assert_eq!(value(&mean.get()), 1.5);
}

#[test]
fn which_cell_it_is_belongs_to_the_key() {
    #[derive(Tree)]
    struct Counted {
        count: Buffer,
    }
    let f = jit(|c: Counted, x: Tensor| {
        c.count.set(c.count.get() + 1.0).unwrap();
        x
    });
    let (a, b) = (Buffer::new(scalar(0.0)), Buffer::new(scalar(10.0)));
    for _ in 0..2 {
        f.call(Counted { count: a.clone() }, scalar(0.0)).unwrap();
        f.call(Counted { count: b.clone() }, scalar(0.0)).unwrap();
    }
    assert_eq!((value(&a.get()), value(&b.get())), (2.0, 12.0));
    assert_eq!(f.stats().traces, 2);
}

#[test]
fn donated_state_is_updated_in_place() {
    let step = jit(|w: Tensor, g: Tensor| (&w - &g * 0.1, g.sum(..)));
    let mut w = ones([1000]);
    let g = ones([1000]);
    step.call_mut(&mut w, &g).unwrap();
    let place = w.to_vec::<f32>().unwrap()[0];
    assert!((place - 0.9).abs() < 1e-6);
    let ((), counts) = Counters::of(|| {
        for _ in 0..3 {
            step.call_mut(&mut w, &g).unwrap();
        }
    });
    assert_eq!(counts[Event::DonationCopied], 0);
    // Somebody else holds the state: it is copied, and the other keeps what it had.
    let other = w.clone();
    let before = other.to_vec::<f32>().unwrap();
    let ((), counts) = Counters::of(|| drop(step.call_mut(&mut w, &g).unwrap()));
    assert_eq!(counts[Event::DonationCopied], 1);
    assert_eq!(other.to_vec::<f32>().unwrap(), before);
    assert_ne!(w.to_vec::<f32>().unwrap(), before);
}

#[test]
fn a_state_without_tensors_is_served_by_its_entry() {
    let empty = jit(|_: (), x: Tensor| ((), x + 1.0));
    let count = Buffer::new(scalar(0.0));
    let cells = jit(|count: Buffer, x: Tensor| {
        count.set(count.get() + x).unwrap();
        (count, ())
    });
    for _ in 0..5 {
        empty.call_mut(&mut (), scalar(1.0)).unwrap();
        cells.call_mut(&mut count.clone(), scalar(1.0)).unwrap();
    }
    assert_eq!((empty.stats().traces, cells.stats().traces, value(&count.get())), (1, 1, 5.0));
}

#[test]
fn lowering_shows_what_an_update_in_place_runs() {
    let step = jit(|(w, n): (Tensor, Tensor), g: Tensor| ((&w - &g * 0.1, n + 1.0), g.sum(..)));
    let state = (ones([1000]), scalar(0.0));
    let in_place = |l: tracewright::jit::Lowered| {
        let buffers = &l.executable().program().expect("it is compiled").buffers;
        buffers.iter().filter(|b| matches!(b.storage, Storage::InPlace { .. })).count()
    };
    assert_eq!(in_place(step.lower(&state, ones([1000])).unwrap()), 0);
    assert_eq!(in_place(step.lower_mut(&state, ones([1000])).unwrap()), 2);
    assert_eq!((step.stats().traces, value(&state.1)), (0, 0.0));
}

/// Panics when it is visited the second time.
struct Moody {
    x: Tensor,
    visits: AtomicU32,
}

impl Tree for Moody {
    fn visit(&self, v: &mut dyn tracewright::tree::Visit) {
        assert_ne!(self.visits.fetch_add(1, Ordering::Relaxed), 1, "not again");
        self.x.visit(v);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        f(&mut self.x);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Moody {
        Moody { x: f(&self.x), visits: AtomicU32::new(9) }
    }
}

#[test]
fn a_panic_in_a_call_puts_the_state_back() {
    let step = jit(|(a, b): (Tensor, Tensor), x: Moody| ((a + &x.x, b * &x.x), ()));
    let x = |visits| Moody { x: ones([3]), visits: AtomicU32::new(visits) };
    let all = |s: &(Tensor, Tensor)| [&s.0, &s.1].map(|t| (t.to_vec::<f32>().unwrap(), t.data_ptr()));
    let a = ones([3]);
    for mut state in [(a.clone(), a), (ones([3]), ones([3]))] {
        step.call_mut(&mut state.clone(), x(2)).unwrap();
        let before = all(&state);
        for _ in 0..2 {
            let call = std::panic::AssertUnwindSafe(|| step.call_mut(&mut state, x(0)));
            let message = std::panic::catch_unwind(call).err().unwrap().downcast::<String>().unwrap();
            assert!(message.contains("not again"), "{message}");
            assert_eq!(all(&state), before);
        }
        step.call_mut(&mut state, x(2)).unwrap();
        assert_eq!((value(&state.0.sum(..)), value(&state.1.sum(..))), (6.0, 3.0));
    }
    assert_eq!(step.stats().traces, 2);
}

/// A kernel with reductions may overwrite its input only where no later pass over the row reads it.
#[test]
fn donations_to_kernels_with_reductions() {
    let x = |shape: &[usize]| (Tensor::arange(shape.iter().product(), DType::F32) * 0.37).sin().reshape(shape);
    let numbers = |t: &Tensor| t.to_vec::<f32>().unwrap();
    for shape in [[7, 40], [40, 7], [1, 300], [300, 1]] {
        for axis in [0, 1] {
            let softmax = jit(move |x: Tensor| (x.softmax(axis), ()));
            let early = jit(move |x: Tensor| {
                let y = &x * 2.0;
                let shifted = &y - y.max(keepdims(axis));
                (y, shifted.square().sum(axis))
            });
            let both = jit(move |(x, y): (Tensor, Tensor)| {
                let shifted = &x - x.mean(keepdims(axis));
                ((&shifted * &y, &y + shifted.square().sum(keepdims(axis))), x.sum(axis))
            });
            let flipped = jit(move |x: Tensor| (x.flip(&[axis]) + x.sum(keepdims(axis)), ()));
            let (mut a, mut b, mut c, mut d) = (x(&shape), x(&shape), (x(&shape), x(&shape).cos()), x(&shape));
            let want_a = softmax.call(&a).unwrap().0;
            let want_b = early.call(&b).unwrap();
            let want_c = both.call(&c).unwrap();
            let want_d = flipped.call(&d).unwrap().0;
            let place = a.data_ptr();
            softmax.call_mut(&mut a).unwrap();
            let rest_b = early.call_mut(&mut b).unwrap();
            let rest_c = both.call_mut(&mut c).unwrap();
            flipped.call_mut(&mut d).unwrap();
            assert_eq!(a.data_ptr(), place, "softmax of {shape:?} over {axis} is not in place");
            assert_eq!(numbers(&a), numbers(&want_a), "{shape:?} {axis}");
            assert_eq!((numbers(&b), numbers(&rest_b)), (numbers(&want_b.0), numbers(&want_b.1)), "{shape:?} {axis}");
            assert_eq!(numbers(&c.0), numbers(&want_c.0.0), "{shape:?} {axis}");
            assert_eq!(numbers(&c.1), numbers(&want_c.0.1), "{shape:?} {axis}");
            assert_eq!(numbers(&rest_c), numbers(&want_c.1), "{shape:?} {axis}");
            assert_eq!(numbers(&d), numbers(&want_d), "{shape:?} {axis}");
        }
    }
}

#[test]
fn a_state_that_passes_through_or_swaps_places() {
    let swap = jit(|(a, b): (Tensor, Tensor)| ((b, a), ()));
    let mut state = (scalar(1.0), scalar(2.0));
    for _ in 0..3 {
        swap.call_mut(&mut state).unwrap();
    }
    assert_eq!((value(&state.0), value(&state.1)), (2.0, 1.0));
    let half = jit(|(a, b): (Tensor, Tensor), x: Tensor| ((&a + &x, b.clone()), b * x));
    assert_eq!(value(&half.call_mut(&mut state, scalar(3.0)).unwrap()), 3.0);
    assert_eq!((value(&state.0), value(&state.1)), (5.0, 1.0));
}

#[test]
fn the_state_may_also_be_an_argument() {
    let f = jit(|w: Tensor, x: Tensor| (&w + &x, &x * 1.0));
    let mut w = ones([4]);
    let same = w.clone();
    let out = f.call_mut(&mut w, same).unwrap();
    assert_eq!(w.to_vec::<f32>().unwrap(), [2.0; 4]);
    assert_eq!(out.to_vec::<f32>().unwrap(), [1.0; 4]);
}

#[test]
fn a_compiled_function_is_shared_by_threads() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    let count = Buffer::new(scalar(0.0));
    let inner = count.clone();
    let f = jit(move |x: Tensor| {
        inner.set(inner.get() + 1.0).unwrap();
        x * 2.0
    });
    assert_shared(&f);
    std::thread::scope(|s| {
        for t in 0..4 {
            let f = &f;
            s.spawn(move || {
                for i in 0..50 {
                    let n = (t * 50 + i) as f32;
                    assert_eq!(value(&f.call(scalar(n)).unwrap()), 2.0 * n);
                }
            });
        }
    });
    assert_eq!(value(&count.get()), 200.0);
}

/// Neither of compiled calls nor of eager gradients.
#[test]
fn no_update_of_a_cell_is_lost() {
    let count = Buffer::new(scalar(0.0));
    let (first, second) = (count.clone(), count.clone());
    let compiled = jit(move |x: Tensor| {
        first.set(first.get() + &x).unwrap();
        x
    });
    let gradient = grad(move |x: &Tensor| {
        second.set(second.get() + x).unwrap();
        x * 2.0
    });
    std::thread::scope(|s| {
        for t in 0..4 {
            let (compiled, gradient) = (&compiled, &gradient);
            s.spawn(move || {
                for _ in 0..50 {
                    match t % 2 {
                        0 => compiled.call(scalar(1.0)).unwrap(),
                        _ => gradient(&scalar(1.0)).ok().unwrap(),
                    };
                }
            });
        }
    });
    assert_eq!(value(&count.get()), 200.0);
}

#[test]
fn scopes_and_lines_are_in_the_ir() {
    let f = jit(|x: Tensor| tracewright::scope("block", || x.softmax(0)));
    let lowered = f.lower(ones([2])).unwrap();
    let g = lowered.graph();
    let scopes: Vec<String> = g.origins.iter().map(|o| o.to_string()).collect();
    assert!(scopes.iter().all(|s| s.contains("frontend_state/main.rs") && s.contains("block.softmax")), "{scopes:?}");
    assert!(lowered.stages().iter().any(|s| s.name.contains("trace")));
}

#[test]
fn eager_ops_compile_once_for_every_shape() {
    let run = |n: usize| (ones([n, 3]) * 1.5f32).cos().softmax(-1).sum(0).to_vec::<f32>().unwrap();
    run(4);
    let ((), counts) = Counters::of(|| (5..12).for_each(|n| drop(run(n))));
    assert_eq!(counts[Event::Compile], 0);
}

/// Two threads that trace one function at the same time leave one entry.
#[test]
fn the_first_of_two_threads_to_compile_keeps_its_entry() {
    let both = std::sync::Barrier::new(2);
    let f = jit(move |x: Tensor| {
        both.wait();
        x + 1.0
    });
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| assert_eq!(value(&f.call(scalar(1.0)).unwrap()), 2.0));
        }
    });
    let stats = f.stats();
    assert_eq!((stats.traces, stats.entries, stats.evictions), (2, 1, 0));
}
