//! Ops with effects: each call of them runs once, wherever it stands.

use super::{POINTS, close, points, twice, with};
use crate::ops::{Counted, Loud, RUNS, counting};
use std::sync::atomic::Ordering;
use tracewright::custom::call;
use tracewright::events::{Event, capture};
use tracewright::options::with_options;
use tracewright::{Tensor, fori, jit, linearize, vjp, while_loop};

fn counted(x: &Tensor) -> Tensor {
    let [y] = call(&Counted, &[x]);
    y
}

/// How often ops with effects ran while `f` did.
fn runs(f: impl FnOnce()) -> usize {
    let before = RUNS.load(Ordering::SeqCst);
    f();
    RUNS.load(Ordering::SeqCst) - before
}

#[test]
fn effects_happen_once_in_functions_cut_in_two() {
    let _alone = counting();
    let f = |x: &Tensor| {
        let [unused] = call(&Counted, &[x]);
        drop(unused);
        let [y] = call(&Counted, &[x]);
        (&y * &y).sum(..)
    };
    let before = RUNS.load(Ordering::SeqCst);
    let (_, pull) = vjp(f, &points());
    assert_eq!(RUNS.load(Ordering::SeqCst) - before, 2);
    let n = (before + 1) as f64;
    for _ in 0..2 {
        close(&pull(&Tensor::from(1.0f64)), POINTS.map(|x| 2.0 * (x + n)));
    }
    let (_, push) = linearize(f, &points());
    assert_eq!(RUNS.load(Ordering::SeqCst) - before, 4);
    push(&points()).item::<f64>().unwrap();
    let leaf = points().requires_grad();
    f(&leaf).backward().unwrap();
    close(&leaf.grad().unwrap(), POINTS.map(|x| 2.0 * (x + n + 4.0)));
    assert_eq!(RUNS.load(Ordering::SeqCst) - before, 6);
}

#[test]
fn effects_of_gradients_happen_in_the_second_part() {
    let _alone = counting();
    let loud = |x: &Tensor| {
        let [y] = call(&Loud, &[x]);
        y
    };
    let (_, pull) = vjp(loud, &points());
    let ones = Tensor::from([1.0f64; 6]);
    for _ in 0..2 {
        assert_eq!(runs(|| close(&pull(&ones), [1.0; 6])), 3);
    }
}

#[test]
fn loops_with_effects_inside_stay() {
    let _alone = counting();
    // Nobody uses what the loop yields, and nothing in it changes from iteration to iteration.
    let x = points();
    let unused = |x: &Tensor| {
        let start = Tensor::from(0.0f64);
        drop(fori(0..3, |_, c: &Tensor| c + counted(x).sum(..) * 0.0, &start));
        x * x
    };
    let f = jit(move |x: Tensor| unused(&x));
    assert_eq!(runs(|| close(&f.call(x.clone()).unwrap(), POINTS.map(|x| x * x))), 3);
    let interpreted = || jit(move |x: Tensor| unused(&x)).call(x.clone()).unwrap();
    assert_eq!(runs(|| close(&with_options(with("JIT", "off"), interpreted), POINTS.map(|x| x * x))), 3);
    let (_, records) = capture(|| f.call(x.clone()).unwrap());
    assert!(records.iter().all(|r| r.event != Event::Fallback || r.reason.contains("test.counted")), "{records:?}");
    let mut pull = None;
    assert_eq!(runs(|| pull = Some(vjp(unused, &x).1)), 3);
    let ones = Tensor::from([1.0f64; 6]);
    assert_eq!(runs(|| close(&pull.unwrap()(&ones), POINTS.map(|x| 2.0 * x))), 0);
}

#[test]
fn a_condition_may_have_effects() {
    let _alone = counting();
    // What comes after the flag in the condition does not overwrite it.
    let f = jit(|x: Tensor| {
        let condition = |c: &Tensor| {
            let goes_on = c.sum(..).lt(20.0);
            drop(counted(&(c * goes_on.to_dtype(tracewright::DType::F64))));
            goes_on
        };
        while_loop(condition, |c: &Tensor| twice(c), &x)
    });
    let x = Tensor::from([1.0f64, 2.0, 3.0]);
    let (_, records) = capture(|| assert_eq!(runs(|| close(&f.call(x).unwrap(), [4.0, 8.0, 12.0])), 3));
    assert!(records.iter().all(|r| r.event != Event::Bug), "{records:?}");
}

#[test]
fn effects_of_loops_keep_their_order() {
    let _alone = counting();
    let f = jit(|x: Tensor| {
        let first = counted(&x);
        // The loop reads nothing of what stands before it, and nobody reads it.
        drop(fori(0..2, |_, c: &Tensor| c + counted(&x).sum(..), &Tensor::from(0.0f64)));
        counted(&x) - first
    });
    assert_eq!(runs(|| close(&f.call(points()).unwrap(), [3.0; 6])), 4);
    // What comes after the loop would like to stand in one group with what the loop reads.
    let f = jit(|x: Tensor| {
        let read = &x * 2.0;
        drop(fori(0..2, |_, c: &Tensor| c + counted(&read).sum(..), &Tensor::from(0.0f64)));
        read + counted(&x)
    });
    let n = RUNS.load(Ordering::SeqCst) as f64 + 2.0;
    close(&f.call(points()).unwrap(), POINTS.map(|x| 3.0 * x + n));
}
