//! Training compiled equals training interpreted, and has the same bits for any number of threads.

mod target;

use flate2::read::GzDecoder;
use std::io::Read;
use target::{Target, target};
use tracewright::events::{Counters, Event};
use tracewright::options::with_options;
use tracewright::{Generator, Tensor, Tree, grad, jit, nn, optim, pool};

#[derive(Tree, Clone)]
struct Mlp {
    layers: Vec<nn::Linear>,
}

impl Mlp {
    fn new(widths: &[usize], seed: u64) -> Mlp {
        let generator = Generator::new(seed);
        Mlp { layers: widths.windows(2).map(|w| nn::Linear::new(w[0], w[1], &generator)).collect() }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (last, hidden) = self.layers.split_last().unwrap();
        last.forward(&hidden.iter().fold(x.clone(), |x, layer| layer.forward(&x).gelu()))
    }
}

type State = (Mlp, optim::AdamW);
type Batch = (Tensor, Tensor);

fn step((model, optimizer): State, (x, y): Batch) -> (State, Tensor) {
    let loss = |m: &Mlp| nn::cross_entropy(&m.forward(&x), &y);
    let (loss, gradients) = grad::value_and_grad(loss)(&model);
    let (gradients, _norm) = optim::clip_grad_norm(gradients, 1.0);
    (optimizer.update(model, gradients), loss)
}

fn start(widths: &[usize]) -> State {
    let model = Mlp::new(widths, 7);
    let optimizer = optim::AdamW::new(&model, 3e-3);
    (model, optimizer)
}

/// Real digits, in batches.
fn digits(batch: usize) -> Vec<Batch> {
    let mut text = String::new();
    GzDecoder::new(&include_bytes!("../examples/data/digits.csv.gz")[..]).read_to_string(&mut text).unwrap();
    let rows: Vec<Vec<f32>> = text.lines().map(|l| l.split(',').map(|n| n.parse().unwrap()).collect()).collect();
    let batches = rows.chunks_exact(batch).map(|rows| {
        let pixels: Vec<f32> = rows.iter().flat_map(|r| &r[..64]).map(|p| p / 16.0).collect();
        let labels: Vec<i64> = rows.iter().map(|r| r[64] as i64).collect();
        (Tensor::from_slice(&pixels, [batch, 64]), Tensor::from_slice(&labels, [batch]))
    });
    batches.collect()
}

/// Every leaf of the state with its path, and the losses.
struct Run {
    leaves: Vec<(String, Vec<f64>)>,
    losses: Vec<f32>,
}

fn train(mut state: State, batches: &[Batch], steps: usize) -> Run {
    let compiled = jit(step);
    let losses = (0..steps).map(|i| compiled.call_mut(&mut state, &batches[i % batches.len()]).unwrap());
    let losses = losses.map(|loss| loss.item().unwrap()).collect();
    assert_eq!(compiled.stats().traces, 1);
    let values = |t: &Tensor| t.to_literal().unwrap().iter().map(|s| s.as_f64()).collect();
    Run { leaves: state.leaves().iter().map(|(path, t)| (path.clone(), values(t))).collect(), losses }
}

fn interpreted(state: State, batches: &[Batch], steps: usize) -> Run {
    with_options(target::interpreted(), || train(state, batches, steps))
}

/// The norm of the difference over the norm of `b`.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(x, y)| x - y));
    if difference == 0.0 { 0.0 } else { difference / norm(&mut b.iter().copied()) }
}

#[track_caller]
fn assert_close(compiled: &Run, interpreted: &Run, bound: f64) {
    let moved = |run: &Run| run.losses.first() != run.losses.last();
    assert!(moved(compiled) && moved(interpreted), "the losses do not move");
    for ((path, a), (_, b)) in compiled.leaves.iter().zip(&interpreted.leaves) {
        let off = distance(a, b);
        assert!(off <= bound, "{path} is off by {off:e}");
    }
    let losses = |run: &Run| run.losses.iter().map(|&x| x as f64).collect::<Vec<f64>>();
    assert!(distance(&losses(compiled), &losses(interpreted)) <= bound);
}

#[track_caller]
fn assert_same_bits(one: &Run, other: &Run, what: &str) {
    let bits = |x: &[f64]| x.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
    for ((path, a), (_, b)) in one.leaves.iter().zip(&other.leaves) {
        let differ = bits(a).iter().zip(&bits(b)).filter(|(x, y)| x != y).count();
        assert_eq!(differ, 0, "{differ} elements of {path} differ {what}");
    }
    let losses = |run: &Run| run.losses.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    assert_eq!(losses(one), losses(other), "losses differ {what}");
}

/// Trains with the interpreter and compiled on 1, 2, 3 and 5 threads, and compares everything.
#[track_caller]
fn compare(widths: &[usize], batch: usize, steps: usize) {
    let batches = digits(batch);
    let before = Counters::process();
    let start = || start(widths);
    let one = pool::with_threads(1, || train(start(), &batches, steps));
    let on_cpu = target() == Target::Cpu;
    for threads in [2, 3, 5].into_iter().filter(|_| on_cpu) {
        let many = pool::with_threads(threads, || train(start(), &batches, steps));
        assert_same_bits(&one, &many, &format!("between 1 and {threads} threads"));
    }
    assert_same_bits(&one, &train(start(), &batches, steps), "between two runs");
    let counts = Counters::process().since(&before);
    for event in [Event::Fallback, Event::InterpretedStep, Event::Bug, Event::DonationCopied] {
        assert_eq!(counts[event], 0, "{counts}");
    }
    assert_close(&one, &interpreted(start(), &batches, steps), 1e-5);
}

/// A hundred steps; few where each takes long.
fn steps() -> usize {
    if target() == Target::Emulator { 20 } else { 100 }
}

#[test]
fn a_hundred_steps_of_the_digits_network() {
    compare(&[64, 64, 10], 64, steps());
}

/// Products, updates and the norm of the gradients are large enough to be split among threads.
#[test]
fn a_hundred_steps_of_a_network_whose_work_is_split() {
    compare(&[64, 256, 256, 10], 128, steps());
    if target() != Target::Cpu {
        return;
    }
    // Workers start when a run first needs them.
    let workers = std::fs::read_dir("/proc/self/task").map(|tasks| {
        let names = tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
        names.filter(|name| name.starts_with("tracewright")).count()
    });
    assert!(workers.is_err() || workers.is_ok_and(|n| n >= 4), "no run was split among 5 threads");
}

/// A step of one kind of arguments compiles once, takes its state's memory over, and in the steady state asks the
/// system for no memory.
#[test]
fn parameters_are_updated_in_place() {
    let batches = digits(64);
    let mut state = start(&[64, 64, 10]);
    let compiled = jit(step);
    compiled.call_mut(&mut state, &batches[0]).unwrap();
    // The first calls fill the cache of buffers.
    compiled.call_mut(&mut state, &batches[0]).unwrap();
    let places = |state: &State| state.leaves().iter().map(|(_, t)| t.data_ptr().unwrap()).collect::<Vec<_>>();
    let (before, memory) = (places(&state), runtime::buffer::thread_stats());
    let ((), counts) = Counters::of(|| {
        for batch in &batches[..20] {
            drop(compiled.call_mut(&mut state, batch).unwrap());
            assert_eq!(places(&state), before, "an update moved the state");
        }
    });
    let after = runtime::buffer::thread_stats();
    assert_eq!(after.system_allocs - memory.system_allocs, 0);
    // The arena, the loss, and what the products pack their operands into: of a GPU others keep account.
    let allocs = if target() == Target::Cpu { 20 * 3 } else { 0 };
    assert_eq!(after.allocs - memory.allocs, allocs);
    assert_eq!((counts[Event::Compile], counts[Event::Trace], counts[Event::Retrace]), (0, 0, 0));
    assert_eq!(counts[Event::DonationCopied], 0);
    assert_eq!((compiled.stats().traces, compiled.stats().hits), (1, 21));
    let summary = compiled.summary().unwrap();
    assert!(summary.compiled && summary.fallback.is_none(), "{summary}");
}
