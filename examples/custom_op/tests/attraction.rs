//! How to test an op: against a composition, against differences, compiled, batched, in training.

use custom_op::{attraction, step};
use tracewright::events::{Counters, Event, capture};
use tracewright::options::{current, with_options};
use tracewright::{DType, Tensor, grad, jit, manual_seed, rand, randn, vmap};

const SOFTENING: f32 = 0.1;

/// The same as a composition, which takes memory for all pairs.
fn composed(x: &Tensor, m: &Tensor) -> Tensor {
    let r = x.unsqueeze(-3) - x.unsqueeze(-2);
    let square = r.square().sum(-1) + SOFTENING * SOFTENING;
    let weight = m.unsqueeze(-2) * square.pow(-1.5);
    (weight.unsqueeze(-1) * r).sum(-2)
}

fn system(n: usize) -> (Tensor, Tensor) {
    manual_seed(3).unwrap();
    (randn([n, 3]), rand([n]) + 0.5)
}

fn close(got: &Tensor, want: &Tensor) {
    assert_eq!(got.shape(), want.shape());
    let (got, want) = (got.to_vec::<f32>().unwrap(), want.to_vec::<f32>().unwrap());
    let size = want.iter().fold(1e-3f32, |s, w| s.max(w.abs()));
    for (g, w) in got.iter().zip(&want) {
        assert!((g - w).abs() <= 2e-5 * size, "{g} instead of {w}, among numbers up to {size}");
    }
}

#[test]
fn code_and_eval_give_what_the_composition_gives() {
    for n in [1, 2, 37, 200] {
        let (x, m) = system(n);
        let want = composed(&x, &m);
        close(&attraction(&x, &m, SOFTENING), &want);
        let mut options = (*current().unwrap()).clone();
        options.set("JIT", "off").unwrap();
        let f = || jit(|(x, m): (Tensor, Tensor)| attraction(&x, &m, SOFTENING)).call((x.clone(), m.clone())).unwrap();
        close(&with_options(options, f), &want);
    }
}

#[test]
fn the_gradient_is_that_of_the_composition() {
    let (x, m) = system(23);
    let loss = |a: Tensor| (a.sin() * 3.0).sum(..);
    let want = grad(|(x, m): &(Tensor, Tensor)| loss(composed(x, m)))(&(x.clone(), m.clone()));
    let got = grad(move |(x, m): &(Tensor, Tensor)| loss(attraction(x, m, SOFTENING)));
    let eager = got(&(x.clone(), m.clone()));
    close(&eager.0, &want.0);
    close(&eager.1, &want.1);
    let compiled = jit(move |(x, m): (Tensor, Tensor)| got(&(x, m)));
    let (by_x, by_m) = compiled.call((x.clone(), m.clone())).unwrap();
    close(&by_x, &want.0);
    close(&by_m, &want.1);
    // In steady state nothing of it is interpreted.
    let (_, counted) = Counters::of(|| compiled.call((x, m)).unwrap());
    assert_eq!(counted[Event::InterpretedStep], 0);
}

#[test]
fn vmap_takes_many_systems_at_once() {
    let systems: Vec<(Tensor, Tensor)> = (0..3).map(|_| system(9)).collect();
    let x = tracewright::stack(&systems.iter().map(|s| &s.0 * 1.5).collect::<Vec<_>>(), 0);
    let m = tracewright::stack(&systems.iter().map(|s| s.1.clone()).collect::<Vec<_>>(), 0);
    let (got, records) =
        capture(|| vmap(|(x, m): &(Tensor, Tensor)| attraction(x, m, SOFTENING))(&(x.clone(), m.clone())));
    close(&got, &composed(&x, &m));
    assert!(records.iter().all(|r| r.event != Event::BatchedByLoop));
    let per_system = |f: fn(&Tensor, &Tensor) -> Tensor| {
        vmap(move |(x, m): &(Tensor, Tensor)| grad(|x: &Tensor| f(x, m).square().sum(..))(x))(&(x.clone(), m.clone()))
    };
    close(&per_system(|x, m| attraction(x, m, SOFTENING)), &per_system(composed));
}

#[test]
fn training_finds_the_masses() {
    let (x, m) = system(12);
    let observed = attraction(&x, &m, SOFTENING);
    let compiled = jit(|(l, x, a, rate): (Tensor, Tensor, Tensor, Tensor)| step(l, x, a, rate));
    let mut log_masses = Tensor::zeros([12], DType::F32);
    let mut losses = Vec::new();
    for _ in 0..300 {
        let arguments = (log_masses, x.clone(), observed.clone(), Tensor::from(0.2f32));
        let (next, loss) = compiled.call(arguments).unwrap();
        losses.push(loss.item::<f32>().unwrap());
        log_masses = next;
    }
    assert!(losses[299] < 0.02 * losses[0], "{} after {}", losses[299], losses[0]);
}

#[test]
fn what_does_not_fit_is_an_error_with_its_line() {
    let (x, m) = system(4);
    let error = attraction(&x, &m.reshape([2, 2]), SOFTENING).to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains("example.attraction") && error.contains("tests/attraction.rs"), "{error}");
    assert!(error.contains("positions f32[4, 3] and masses f32[2, 2] are not [.., n, d] and [.., n]"), "{error}");
    // There is no second derivative, since one op has no rule, and that is said.
    let second = |x: &Tensor| grad(|x: &Tensor| attraction(x, &m, SOFTENING).sum(..))(x).square().sum(..);
    let error = grad(second)(&x).to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains("example.attraction_pull has no derivative"), "{error}");
}
