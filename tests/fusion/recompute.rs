//! Programs that read what they compute at several places, again and again: fusing all of it would compute it
//! exponentially often.

use crate::{program, refusals, steps};
use tracewright::events::{Counters, Event};
use tracewright::options::with_options;
use tracewright::{DType, Tensor, concat, grad, jit};

type Step = fn(&Tensor) -> Tensor;

fn roll(x: &Tensor, by: isize, axis: isize) -> Tensor {
    concat(&[x.slice(axis, -by..), x.slice(axis, ..-by)], axis)
}

/// The mean of the neighbours on a torus.
fn heat(x: &Tensor) -> Tensor {
    (roll(x, 1, 0) + roll(x, 63, 0) + roll(x, 1, 1) + roll(x, 63, 1)) * 0.25
}

/// A convolution of 3 by 3, and a function that costs more than memory.
fn stencil(x: &Tensor) -> Tensor {
    let padded = x.pad(&[(1, 1), (1, 1)], 0.0);
    let tap = |i: isize, j: isize| padded.slice(0, i..i + 64).slice(1, j..j + 64) * (0.1 + 0.01 * (3 * i + j) as f64);
    (0..3).flat_map(|i| (0..3).map(move |j| (i, j))).map(|(i, j)| tap(i, j)).reduce(|a, b| a + b).unwrap().tanh()
}

fn symmetric(x: &Tensor) -> Tensor {
    (x + x.t()).tanh() * 0.5
}

fn taken(x: &Tensor) -> Tensor {
    let places = (Tensor::arange(64, DType::I64) * 7 + 3).remainder(64);
    x.take(&places, 0) + x * 0.5
}

fn reshaped(x: &Tensor) -> Tensor {
    x.reshape([16, 256]).t().reshape([64, 64]) + x * 0.5
}

const STEPS: [(&str, Step); 5] =
    [("heat", heat), ("stencil", stencil), ("symmetric", symmetric), ("taken", taken), ("reshaped", reshaped)];

fn input() -> Tensor {
    Tensor::linspace(-1.0, 1.0, 64 * 64).reshape([64, 64])
}

/// Definitions in all kernels, as many times as they are launched.
fn work(step: Step, times: usize) -> (usize, usize) {
    let lowered = jit(move |x: Tensor| (0..times).fold(x, |x, _| step(&x))).lower(input()).unwrap();
    let p = program(&lowered);
    let definitions = |kernel: usize| p.kernels[kernel].to_string().matches(" = ").count();
    let launched = p.steps.iter().filter_map(|s| match &s.kind {
        ir::program::StepKind::Launch(l) => Some(definitions(l.kernel)),
        _ => None,
    });
    (launched.sum(), steps(&lowered).0)
}

#[test]
fn work_grows_linearly_with_the_steps() {
    for (name, step) in STEPS {
        let ((once, _), (some, _), (many, launches)) = (work(step, 1), work(step, 8), work(step, 32));
        assert!(some <= 40 * once && many <= 6 * some, "{name}: {once}, {some}, {many} definitions");
        assert!(launches <= 32, "{name}: {launches} launches for 32 steps");
    }
}

#[test]
fn results_are_those_of_ops_one_by_one() {
    for (name, step) in STEPS {
        let run = |passes: &str| {
            let mut options = crate::target::options();
            options.set("PASSES", passes).unwrap();
            let f = jit(move |x: Tensor| {
                let value = |x: &Tensor| (0..4).fold(x.clone(), |x, _| step(&x)).sum(..);
                (value(&x), grad(value)(&x))
            });
            let (result, counts) = with_options(options, || Counters::of(|| f.call(input())));
            assert_eq!(
                (counts[Event::Fallback], counts[Event::Bug], counts[Event::InterpretedStep]),
                (0, 0, 0),
                "{name}"
            );
            let (value, gradient) = result.unwrap();
            (value.item::<f32>().unwrap(), gradient.to_vec::<f32>().unwrap())
        };
        let ((value, gradient), (want, slopes)) = (run(""), run("-fuse"));
        assert!((value - want).abs() <= 1e-3 * want.abs().max(1.0), "{name}: {value}, not {want}");
        for (g, s) in gradient.iter().zip(&slopes) {
            assert!((g - s).abs() <= 1e-4 * s.abs().max(1.0), "{name}: {g}, not {s}");
        }
    }
}

#[test]
fn refusals_say_why() {
    let reasons = refusals(|| jit(|x: Tensor| stencil(&stencil(&x))).lower(input()).unwrap());
    let why = "what is read at several places would be computed again for each";
    assert!(!reasons.is_empty() && reasons.iter().all(|r| r.contains(why)), "{reasons:?}");
}

/// An index through many views is a tree that grows with each.
#[test]
fn long_chains_of_views_are_put_in_memory_now_and_then() {
    for views in [8, 12, 24, 60] {
        let f = jit(move |x: Tensor| {
            let through = |y: Tensor, i| y.reshape(if i % 2 == 0 { [12, 30] } else { [20, 18] }).t().reshape([360]);
            (0..views).fold(x, through) * 2.0
        });
        let x = Tensor::arange(360, DType::F32);
        let (result, counts) = Counters::of(|| f.call(&x));
        assert_eq!((counts[Event::Fallback], counts[Event::Bug], counts[Event::InterpretedStep]), (0, 0, 0));
        let mut want: Vec<usize> = (0..360).collect();
        for i in 0..views {
            let [rows, columns] = if i % 2 == 0 { [12, 30] } else { [20, 18] };
            want = (0..360).map(|at| want[at % rows * columns + at / rows]).collect();
        }
        let want: Vec<f32> = want.into_iter().map(|n| 2.0 * n as f32).collect();
        assert_eq!(result.unwrap().to_vec::<f32>().unwrap(), want, "{views} views");
    }
}

/// Functions are many instructions, and some of them many blocks: groups of them stay short enough to be compiled in
/// time that is linear in their number.
#[test]
fn long_chains_of_functions_are_several_kernels() {
    let launches = |times: usize| {
        let wave = move |x: &Tensor| (0..times).fold(x.clone(), |y, _| (y * 0.999).sin()).sum(..);
        steps(&jit(move |x: Tensor| grad(wave)(&x)).lower(Tensor::zeros([64], DType::F32)).unwrap()).0
    };
    assert_eq!(launches(20), 1);
    let (some, many) = (launches(200), launches(400));
    assert!((2..=8).contains(&some) && many <= 2 * some + 1, "{some} and {many} launches");
}

/// A small member that is only read through views joins a group of another rank.
#[test]
fn a_member_of_another_rank_reads_a_group_that_is_merged() {
    let f = jit(|x: Tensor| {
        let part = x.diag_embed(-2).select(0, 0);
        (&part + part.t()).triu(3)
    });
    let x = Tensor::from([[-1i64], [5], [-4], [6]]);
    let ((), counts) = Counters::of(|| assert_eq!(f.call(&x).unwrap().to_vec::<i64>().unwrap(), [0; 9]));
    assert_eq!(counts[Event::Fallback], 0);
}
