//! Ops of users: eager and compiled, differentiated, batched, as text, and with every mistake that one can make.

mod effects;
mod mistakes;
mod ops;

use ops::{Counted, Halves, Parts, RUNS, Sine, Twice, counting};
use std::sync::atomic::Ordering;
use tracewright::custom::{call, register};
use tracewright::events::{Event, capture};
use tracewright::options::{Options, current, with_options};
use tracewright::{Recording, Tensor, cond, fori, grad, jit, jvp, linearize, scan, vjp, vmap, while_loop};

fn sine(x: &Tensor) -> Tensor {
    let [y] = call(&Sine { frequency: 2.0 }, &[x]);
    y
}

fn twice(x: &Tensor) -> Tensor {
    let [y] = call(&Twice, &[x]);
    y
}

fn with(name: &str, value: &str) -> Options {
    let mut options = (*current().unwrap()).clone();
    options.set(name, value).unwrap();
    options
}

fn close(got: &Tensor, want: impl IntoIterator<Item = f64>) {
    let (got, want): (Vec<f64>, Vec<f64>) = (got.to_vec().unwrap(), want.into_iter().collect());
    let near = |(g, w): (&f64, &f64)| (g - w).abs() <= 1e-12 * (1.0 + w.abs());
    assert!(got.len() == want.len() && got.iter().zip(&want).all(near), "{got:?} instead of {want:?}");
}

const POINTS: [f64; 6] = [-1.5, -0.25, 0.0, 0.5, 2.0, 3.0];

fn points() -> Tensor {
    Tensor::from(POINTS)
}

#[test]
fn values_eager_compiled_and_interpreted() {
    close(&sine(&points()), POINTS.map(|x| (2.0 * x).sin()));
    close(&twice(&points()), POINTS.map(|x| 2.0 * x));
    let f = || jit(|x: Tensor| twice(&sine(&(x * 1.0))) + 1.0);
    let want = POINTS.map(|x| 2.0 * (2.0 * x).sin() + 1.0);
    close(&f().call(points()).unwrap(), want);
    for (name, value) in [("JIT", "off"), ("CHECK", "3"), ("THREADS", "2"), ("NAN", "on")] {
        let (got, records) = capture(|| with_options(with(name, value), || f().call(points()).unwrap()));
        close(&got, want);
        assert!(records.iter().all(|r| r.event != Event::Bug), "{records:?}");
    }
}

#[test]
fn an_op_with_eval_alone_is_an_interpreted_step() {
    let f = jit(|x: Tensor| sine(&x));
    let (_, records) = capture(|| f.call(points()).unwrap());
    let fallback = records.iter().find(|r| r.event == Event::Fallback).expect("a fallback");
    assert!(fallback.reason.contains("test.sine") && fallback.reason.contains("no code but its `eval`"));
    let (_, counted) = tracewright::events::Counters::of(|| f.call(points()).unwrap());
    assert_eq!(counted[Event::InterpretedStep], 1);
    let f = jit(|x: Tensor| twice(&x));
    f.call(points()).unwrap();
    let (_, counted) = tracewright::events::Counters::of(|| f.call(points()).unwrap());
    assert_eq!(counted[Event::InterpretedStep], 0);
}

#[test]
fn several_results_of_several_types() {
    let halves = |x: &Tensor| -> [Tensor; 2] { call(&Halves, &[x]) };
    let x = Tensor::from([5.0f64, 8.0, -3.0]);
    let [q, odd] = halves(&x);
    close(&q, [2.0, 4.0, -2.0]);
    assert_eq!(odd.to_vec::<bool>().unwrap(), [true, false, true]);
    let f = jit(move |x: Tensor| {
        let [q, odd] = halves(&(x + 1.0));
        odd.where_(&q, 0.0)
    });
    close(&f.call(x.clone()).unwrap(), [0.0, 4.0, 0.0]);
    // One of them alone.
    let f = jit(move |x: Tensor| halves(&x)[1].clone());
    assert_eq!(f.call(x).unwrap().to_vec::<bool>().unwrap(), [true, false, true]);
}

#[test]
fn derivatives_of_any_order() {
    let first = grad(|x: &Tensor| sine(x).sum(..));
    close(&first(&points()), POINTS.map(|x| 2.0 * (2.0 * x).cos()));
    let second = grad(|x: &Tensor| grad(|x: &Tensor| sine(x).sum(..))(x).sum(..));
    let want = POINTS.map(|x| -4.0 * (2.0 * x).sin());
    close(&second(&points()), want);
    close(&jit(move |x: Tensor| second(&x)).call(points()).unwrap(), want);
    // A rule that is another op of ours, composed with a primitive, twice.
    let cube = |x: &Tensor| twice(&(x * x * x)).sum(..);
    let second = grad(move |x: &Tensor| grad(cube)(x).sum(..));
    close(&second(&points()), POINTS.map(|x| 12.0 * x));
    let interpreted = with_options(with("JIT", "off"), || jit(move |x: Tensor| second(&x)).call(points()).unwrap());
    close(&interpreted, POINTS.map(|x| 12.0 * x));
}

#[test]
fn forward_mode_by_the_reverse_rule() {
    // Neither op has a rule of its own; the one's is made of primitives, the other's of itself.
    let f = |x: &Tensor| twice(&sine(&(x * x)));
    let slope = POINTS.map(|x| 2.0 * 2.0 * (2.0 * x * x).cos() * 2.0 * x);
    let tangent = Tensor::from([1.0f64, 2.0, -1.0, 0.5, 3.0, 0.25]);
    let want: Vec<f64> = slope.iter().zip(tangent.to_vec::<f64>().unwrap()).map(|(s, t)| s * t).collect();
    let (_, got) = jvp(f, &points(), &tangent);
    close(&got, want.clone());
    let inside = jit(move |(x, t): (Tensor, Tensor)| jvp(f, &x, &t).1);
    close(&inside.call((points(), tangent.clone())).unwrap(), want);
    // Forward over reverse.
    let (_, curvature) = jvp(|x: &Tensor| grad(|x: &Tensor| sine(x).sum(..))(x), &points(), &tangent);
    let t = tangent.to_vec::<f64>().unwrap();
    close(&curvature, POINTS.iter().zip(t).map(|(x, t)| -4.0 * (2.0 * x).sin() * t));
}

#[test]
fn results_and_operands_without_derivatives() {
    let parts = |x: &Tensor, y: &Tensor| -> [Tensor; 3] { call(&Parts, &[x, y]) };
    let (x, y) = (Tensor::from([1.5f64, 2.5]), Tensor::from([3.0f64, -1.0]));
    let product = |(x, y): &(Tensor, Tensor)| parts(x, y)[0].sum(..);
    let (by_x, by_y) = grad(product)(&(x.clone(), y.clone()));
    close(&by_x, [3.0, -1.0]);
    close(&by_y, [1.5, 2.5]);
    let sum = |(x, y): &(Tensor, Tensor)| parts(x, y)[2].sum(..);
    close(&grad(sum)(&(x.clone(), y.clone())).0, [1.0, 1.0]);
    // Forward, along the first operand alone.
    let (_, change) = jvp(|x: &Tensor| parts(x, &y), &x, &Tensor::from([1.0f64, 2.0]));
    close(&change[0], [3.0, -2.0]);
    assert_eq!(change[1].to_vec::<i64>().unwrap(), [0, 0]);
    close(&change[2], [1.0, 2.0]);
    let scaled = |x: &Tensor| {
        let [product, whole, _] = parts(x, &y);
        product * whole.to_dtype(tracewright::DType::F64)
    };
    close(&jvp(scaled, &x, &Tensor::from([1.0f64, 2.0])).1, [3.0, -4.0]);
    close(&grad(|x: &Tensor| scaled(x).sum(..))(&x), [3.0, -2.0]);
}

#[test]
fn what_is_dear_is_computed_once() {
    // An op with eval alone is a counted step.
    let steps = |f: &dyn Fn() -> Tensor| {
        let (t, counted) = tracewright::events::Counters::of(|| {
            let t = f();
            t.to_vec::<f64>().unwrap();
            t
        });
        (t, counted[Event::InterpretedStep])
    };
    let f = |x: &Tensor| sine(x).square();
    let want = POINTS.map(|x| 4.0 * (2.0 * x).sin() * (2.0 * x).cos());
    let (_, push) = linearize(f, &points());
    let ones = Tensor::from([1.0f64; 6]);
    let (slope, count) = steps(&|| push(&ones));
    assert_eq!(count, 0);
    close(&slope, want);
    let (_, pull) = vjp(f, &points());
    assert_eq!(steps(&|| pull(&ones)).1, 0);
    let compiled = jit(move |x: Tensor| f(&x));
    let leaf = points().requires_grad();
    let y = compiled.call(&leaf).unwrap();
    let (slope, count) = steps(&|| {
        y.backward_with(&ones).unwrap();
        leaf.grad().unwrap()
    });
    assert_eq!(count, 0);
    close(&slope, want);
}

#[test]
fn batches_by_rule_and_by_a_loop() {
    let rows = Tensor::from([[1.0f64, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let all = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0];
    let (by_rule, records) = capture(|| vmap(|x: &Tensor| twice(x))(&rows));
    close(&by_rule, all.map(|x| 2.0 * x));
    assert!(records.iter().all(|r| r.event != Event::BatchedByLoop));
    let (by_loop, records) = capture(|| vmap(|x: &Tensor| sine(x))(&rows));
    close(&by_loop, all.map(|x| (2.0 * x).sin()));
    let event = records.iter().find(|r| r.event == Event::BatchedByLoop).expect("an event");
    assert!(event.reason.contains("test.sine has no rule for batching, and runs for each of 3 examples"));
    let per_example = vmap(|x: &Tensor| grad(|x: &Tensor| sine(x).sum(..))(x))(&rows);
    close(&per_example, all.map(|x| 2.0 * (2.0 * x).cos()));
    let through = grad(|x: &Tensor| vmap(|x: &Tensor| sine(x))(x).sum(..))(&rows);
    close(&through, all.map(|x| 2.0 * (2.0 * x).cos()));
}

#[test]
fn pure_ops_merge_and_vanish_others_do_not() {
    let _alone = counting();
    let same = |x: &Tensor| &sine(x) + &sine(x);
    let lowered = jit(move |x: Tensor| same(&x)).lower(points()).unwrap();
    let steps = &lowered.executable().program().unwrap().steps;
    assert_eq!(steps.iter().filter(|s| s.name == "test.sine").count(), 1);

    let f = jit(|x: Tensor| {
        let [unused] = call(&Counted, &[&x]);
        drop(unused);
        let [a] = call(&Counted, &[&x]);
        let [b] = call(&Counted, &[&x]);
        b - a
    });
    let before = RUNS.load(Ordering::SeqCst);
    close(&f.call(points()).unwrap(), [1.0; 6]);
    assert_eq!(RUNS.load(Ordering::SeqCst) - before, 3);
    close(&f.call(points()).unwrap(), [1.0; 6]);
    // Checks do not run it, and say so.
    let before = RUNS.load(Ordering::SeqCst);
    let g = jit(|x: Tensor| -> Tensor {
        let [a] = call(&Counted, &[&x]);
        a * 0.0
    });
    let (_, records) = capture(|| with_options(with("CHECK", "3"), || g.call(points()).unwrap()));
    assert_eq!(RUNS.load(Ordering::SeqCst) - before, 1);
    assert!(records.iter().any(|r| r.event == Event::CheckSkipped && r.reason.contains("test.counted is not pure")));
}

#[test]
fn rows_run_on_threads_with_the_same_bits() {
    let x: Vec<f64> = (0..200_000).map(|i| i as f64 * 0.37 - 1e4).collect();
    let t = Tensor::from(x.clone()).reshape([2000, 100]);
    for threads in ["1", "2", "7"] {
        let got = with_options(with("THREADS", threads), || jit(|x: Tensor| twice(&x)).call(t.clone()).unwrap());
        assert_eq!(got.to_vec::<f64>().unwrap(), x.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    }
    // No rows at all, and no axis to split.
    assert_eq!(twice(&Tensor::zeros([0, 3], tracewright::DType::F64)).to_vec::<f64>().unwrap(), [0.0; 0]);
    let error = twice(&Tensor::from(1.0f64)).to_vec::<f64>().unwrap_err().to_string();
    assert!(error.contains("test.twice") && error.contains("no first axis in common"), "{error}");
}

#[test]
fn text_reads_back_through_the_registry() {
    register::<Sine>().unwrap();
    register::<Twice>().unwrap();
    let text = "\
graph @f(%0: f64[B, 2]) -> (f64[B, 2]) where B in 1..=64 {
  %1: f64[B, 2] = test.sine %0 {version = 1, frequency = 0.5:f64}
  %2: f64[B, 2] = test.twice %1 {version = 3}
  return %2
}
";
    let recording = Recording::parse("text", text).unwrap();
    assert_eq!(recording.ir(), text);
    for rows in [1usize, 3] {
        let x: Vec<f64> = (0..2 * rows).map(|i| i as f64).collect();
        let y = recording.call(&[Tensor::from(x.clone()).reshape([rows, 2])]).unwrap();
        close(&y[0], x.iter().map(|x| 2.0 * (0.5 * x).sin()));
    }
}

#[test]
fn for_each_example_where_examples_differ() {
    let _alone = counting();
    let counted = |x: &Tensor| {
        let [y] = call(&Counted, &[x]);
        y
    };
    let runs = |f: &dyn Fn() -> Tensor, want: &[f64]| {
        let before = RUNS.load(Ordering::SeqCst);
        close(&f(), want.to_vec());
        RUNS.load(Ordering::SeqCst) - before
    };
    let x = Tensor::from([1.0f64, -1.0, -2.0, 30.0]);
    let branch = move |x: &Tensor| cond(&x.gt(0.0), || counted(x) * 0.0 + x, || -x);
    assert_eq!(runs(&|| vmap(branch)(&x), &[1.0, 1.0, 2.0, 30.0]), 2);
    assert_eq!(
        runs(&|| vmap(move |x: &Tensor| cond(&x.gt(0.0), || branch(x), || x * x))(&x), &[1.0, 1.0, 4.0, 30.0]),
        2
    );
    let doubled =
        move |x: &Tensor| while_loop(|c: &Tensor| c.abs().lt(9.0), |c: &Tensor| counted(c) * 0.0 + c * 2.0, x);
    assert_eq!(runs(&|| vmap(doubled)(&x), &[16.0, -16.0, -16.0, 30.0]), 4 + 4 + 3);
    // The loop alone does not say where an example goes round.
    let inside = move |x: &Tensor| cond(&x.gt(0.0), || fori(0..2, |_, c: &Tensor| counted(c) * 0.0 + c, x), || -x);
    assert_eq!(runs(&|| vmap(inside)(&x), &[1.0, 1.0, 2.0, 30.0]), 4);
    // An op that may fail is asked for nothing else, though it has no effects.
    let picky = |x: &Tensor| cond(&x.gt(0.0), || mistakes::positive(x), || -x);
    let (y, events) = capture(|| vmap(picky)(&x));
    close(&y, [1.0, 1.0, 2.0, 30.0]);
    let said: Vec<&str> =
        events.iter().filter(|e| e.event == Event::BatchedByLoop).map(|e| e.reason.as_str()).collect();
    assert!(
        said.len() == 1 && said[0].starts_with("switch at ") && said[0].contains("for each of 4 examples"),
        "{said:?}"
    );
    let slope = grad(move |x: &Tensor| cond(&x.gt(0.0), || sine(x), || -x));
    close(&vmap(slope)(&x), [2.0 * 2.0f64.cos(), -1.0, -1.0, 2.0 * 60.0f64.cos()]);
}

#[test]
fn in_branches_and_loops() {
    let _alone = counting();
    let x = points();
    // A loop of an op with code and one without, whose results go on.
    let step = |c: &Tensor, e: &Tensor| (twice(&(c * 0.25)) + sine(e), c.clone());
    let looped = move |x: &Tensor| {
        let rows = x.reshape([6, 1]);
        scan(step, &rows.select(0, 0), &rows).0.sum(..)
    };
    let by_hand = |x: &[f64]| x.iter().fold(x[0], |c, e| 0.5 * c + (2.0 * e).sin());
    let compiled = jit(move |x: Tensor| looped(&x));
    close(&compiled.call(x.clone()).unwrap(), [by_hand(&POINTS)]);
    let slope = grad(move |x: &Tensor| looped(x));
    let n = POINTS.len() as i32;
    let want: Vec<f64> = (0..n)
        .map(|i| {
            let own = 0.5f64.powi(n - 1 - i) * 2.0 * (2.0 * POINTS[i as usize]).cos();
            own + if i == 0 { 0.5f64.powi(n) } else { 0.0 }
        })
        .collect();
    close(&slope(&x), want.clone());
    close(&jit(move |x: Tensor| slope(&x)).call(x.clone()).unwrap(), want.clone());
    let interpreted = with_options(with("JIT", "off"), || {
        jit(move |x: Tensor| grad(move |x: &Tensor| looped(x))(&x)).call(x.clone()).unwrap()
    });
    close(&interpreted, want.clone());
    let (checked, records) = capture(|| {
        with_options(with("CHECK", "3"), || {
            jit(move |x: Tensor| grad(move |x: &Tensor| looped(x))(&x)).call(x.clone()).unwrap()
        })
    });
    close(&checked, want);
    assert!(records.iter().all(|r| r.event != Event::Bug), "{records:?}");
    // Only the branch that is taken runs.
    let before = RUNS.load(Ordering::SeqCst);
    let chosen = jit(|p: Tensor, x: Tensor| {
        cond(
            &p,
            || {
                let [y] = call(&Counted, &[&x]);
                y * 0.0
            },
            || twice(&x),
        )
    });
    close(&chosen.call(Tensor::from(false), x.clone()).unwrap(), POINTS.map(|x| 2.0 * x));
    assert_eq!(RUNS.load(Ordering::SeqCst), before);
    close(&chosen.call(Tensor::from(true), x).unwrap(), [0.0; 6]);
    assert_eq!(RUNS.load(Ordering::SeqCst), before + 1);
}

#[test]
fn symbolic_numbers_of_examples() {
    let batched = jit(|x: Tensor| vmap(|x: &Tensor| sine(x))(&x)).dynamic("arguments.0", 0, "B", 0..=64);
    for rows in [1usize, 3, 0] {
        let x: Vec<f64> = (0..2 * rows).map(|i| i as f64).collect();
        let got = batched.call(Tensor::from(x.clone()).reshape([rows, 2])).unwrap();
        close(&got, x.iter().map(|x| (2.0 * x).sin()));
    }
    assert_eq!(batched.stats().traces, 1);
    // Examples of examples.
    let x = Tensor::from((0..12).map(|i| i as f64).collect::<Vec<_>>()).reshape([2, 3, 2]);
    let twofold = vmap(|x: &Tensor| vmap(|x: &Tensor| sine(x))(x))(&x);
    close(&twofold, (0..12).map(|i| (2.0 * i as f64).sin()));
}
