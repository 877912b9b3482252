//! Checkpoints, and functions whose derivatives the user gives: values, gradients, memory, errors.

mod budget;
#[path = "../target/mod.rs"]
mod target;

use checkpoint::Policy;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracewright::custom::{AttrReader, CustomOp, Fault, Reverse, call};
use tracewright::{
    DType, Error, Generator, Literal, Tensor, Tree, Type, checkpoint, cond, control, custom_jvp, custom_vjp, fori,
    grad, hvp, jit, jvp, nn, scan, switch, value_and_grad, vjp, vmap,
};

fn floats(t: &Tensor) -> Vec<f64> {
    t.to_vec().unwrap()
}

fn close(a: &Tensor, b: &Tensor) {
    let (x, y) = (floats(a), floats(b));
    assert!(x.len() == y.len() && x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= 1e-12 * x.abs().max(1.0)), "{a} {b}");
}

fn layer(w: &Tensor, x: &Tensor) -> Tensor {
    let h = x.matmul(w).named("product").tanh().named("wave");
    (&h * h.exp()).sin() + x
}

fn policies() -> [Policy; 5] {
    let named = |names: &[&str]| Policy::Named(names.iter().map(|n| n.to_string()).collect());
    [Policy::Everything, Policy::Nothing, Policy::Products, named(&["wave"]), named(&["other", "product"])]
}

#[test]
fn gradients_are_those_of_the_function() {
    let g = Generator::new(4);
    let (w, x) = (g.normal([3, 3], 0.0, 0.4).to_dtype(DType::F64), g.normal([5, 3], 0.0, 1.0));
    let x = x.to_dtype(DType::F64);
    let plain = move |(w, x): &(Tensor, Tensor)| layer(w, &layer(w, x)).sum(..);
    let (value, slopes) = value_and_grad(plain)(&(w.clone(), x.clone()));
    for policy in policies() {
        let f = checkpoint::with(policy, |(w, x): &(Tensor, Tensor)| layer(w, x));
        let loss = move |(w, x): &(Tensor, Tensor)| f(&(w.clone(), f(&(w.clone(), x.clone())))).sum(..);
        let both = value_and_grad(&loss)(&(w.clone(), x.clone()));
        close(&value, &both.0);
        close(&slopes.0, &both.1.0);
        close(&slopes.1, &both.1.1);
        // Along a direction, and differentiated twice.
        let tangent = (w.cos(), x.sin());
        let want = jvp(plain, &(w.clone(), x.clone()), &tangent).1;
        close(&want, &jvp(&loss, &(w.clone(), x.clone()), &tangent).1);
        let curved = hvp(plain, &(w.clone(), x.clone()), &tangent);
        let again = hvp(&loss, &(w.clone(), x.clone()), &tangent);
        close(&curved.0, &again.0);
        close(&curved.1, &again.1);
    }
}

/// The peak that is planned for a gradient through twelve layers.
fn peak(policy: Option<Policy>) -> i64 {
    let step = jit(move |(ws, x): (Vec<Tensor>, Tensor)| {
        let policy = policy.clone();
        let loss = move |ws: &Vec<Tensor>| {
            ws.iter()
                .fold(x.clone(), |x, w| match &policy {
                    None => layer(w, &x),
                    Some(p) => checkpoint::with(p.clone(), |(w, x): &(Tensor, Tensor)| layer(w, x))(&(w.clone(), x)),
                })
                .sum(..)
        };
        value_and_grad(loss)(&ws)
    });
    let ws: Vec<Tensor> = (0..12).map(|_| Tensor::zeros([16, 16], DType::F64)).collect();
    let x = Tensor::zeros([512, 16], DType::F64);
    let lowered = step.lower((ws, x)).unwrap();
    lowered.executable().program().unwrap().footprint().arena.to_string().parse().unwrap()
}

#[test]
fn less_memory_is_planned_where_less_is_kept() {
    // The interpreter plans no memory.
    if !target::compiles() {
        return;
    }
    let [plain, everything, nothing, products] =
        [None, Some(Policy::Everything), Some(Policy::Nothing), Some(Policy::Products)].map(peak);
    assert!(nothing < products && products < everything, "{plain} {everything} {nothing} {products}");
    assert!(nothing * 3 < plain * 2, "{nothing} of {plain}");
    // Any of the names is kept, and no other.
    let named = |names: &[&str]| peak(Some(Policy::Named(names.iter().map(|n| n.to_string()).collect())));
    assert_eq!(named(&["other", "product"]), products);
    assert_eq!(named(&["other"]), nothing);
}

#[test]
fn random_numbers_are_the_same_again_and_cells_are_written_once() {
    let g = Generator::new(9);
    let count = nn::Buffer::new(Tensor::from(0.0f64));
    let (drawn, counted) = (g.clone(), count.clone());
    let block = checkpoint(move |x: &Tensor| {
        counted.set(counted.get() + 1.0).unwrap();
        let noise = drawn.uniform([4], 0.0, 1.0).to_dtype(DType::F64);
        (x * noise).sin()
    });
    let f = jit(move |x: Tensor| value_and_grad(|x: &Tensor| block(x).sum(..))(&x));
    let (value, slope) = f.call(Tensor::from([0.1f64, 0.2, 0.3, 0.4])).unwrap();
    assert_eq!(count.get().item::<f64>().unwrap(), 1.0);
    let again = Generator::new(9).uniform([4], 0.0, 1.0).to_dtype(DType::F64);
    let x = Tensor::from([0.1f64, 0.2, 0.3, 0.4]);
    close(&value, &(&x * &again).sin().sum(..));
    close(&slope, &(&again * (&x * &again).cos()));
}

#[test]
fn checkpoints_stand_in_loops_and_maps() {
    let body = checkpoint::with(Policy::Nothing, |(h, x): &(Tensor, Tensor)| (h * x).sin() + h.tanh());
    let f = move |xs: &Tensor| {
        scan(|h: &Tensor, x: &Tensor| (body(&(h.clone(), x.clone())), ()), &Tensor::from(0.5f64), xs).0
    };
    let plain =
        |xs: &Tensor| scan(|h: &Tensor, x: &Tensor| ((h * x).sin() + h.tanh(), ()), &Tensor::from(0.5f64), xs).0;
    let xs = Tensor::from([[0.3f64, -0.2, 0.9], [1.0, 0.1, -0.4]]);
    close(&vmap(grad(plain))(&xs), &vmap(grad(&f))(&xs));
    close(&vmap(grad(plain))(&xs), &jit(move |xs: Tensor| vmap(grad(&f))(&xs)).call(&xs).unwrap());
}

#[derive(Tree)]
struct Pair {
    x: Tensor,
    n: Tensor,
}

#[test]
fn gradients_of_the_users() {
    // The gradient is ten times what it is; an integer goes in and out; a tensor is captured.
    let scale = Tensor::from(3.0f64);
    let inner = scale.clone();
    let f = custom_vjp(
        move |p: &Pair| (&p.x * &p.x * &scale, &p.n + 1),
        move |p: &Pair| ((&p.x * &p.x * &inner, &p.n + 1), (p.x.clone(), inner.clone())),
        |(x, scale): &(Tensor, Tensor), (g, n): &(Tensor, Tensor)| Pair { x: x * 20.0 * g * scale, n: n.clone() },
    );
    let f = std::sync::Arc::new(f);
    let loss = {
        let f = f.clone();
        move |p: &Pair| f(p).0.sum(..)
    };
    let at = || Pair { x: Tensor::from([1.0f64, 2.0]), n: Tensor::from([4i64, 5]) };
    assert_eq!(f(&at()).1.to_vec::<i64>().unwrap(), [5, 6]);
    assert_eq!(floats(&grad(&loss)(&at()).x), [60.0, 120.0]);
    let many = Pair { x: Tensor::from([[1.0f64, 2.0], [3.0, 4.0]]), n: Tensor::from([[4i64, 5], [6, 7]]) };
    assert_eq!(floats(&vmap(grad(&loss))(&many).x), [60.0, 120.0, 180.0, 240.0]);
    let second = grad(|x: &Tensor| {
        let n = Tensor::from([4i64, 5]);
        grad(&loss)(&Pair { x: x.clone(), n }).x.sum(..)
    });
    assert_eq!(floats(&second(&Tensor::from([1.0f64, 2.0]))), [60.0, 60.0]);
    // One tensor at two places has the sum.
    let both = custom_vjp(
        |(a, b): &(Tensor, Tensor)| a * b,
        |(a, b): &(Tensor, Tensor)| (a * b, (a.clone(), b.clone())),
        |(a, b): &(Tensor, Tensor), g: &Tensor| (b * g, a * g),
    );
    assert_eq!(floats(&grad(move |x: &Tensor| both(&(x.clone(), x.clone())))(&Tensor::from(3.0f64))), [6.0]);
}

#[test]
fn functions_of_the_users_that_nothing_differentiates() {
    // One operand and one result are not used; the function stands in one that is cut in two.
    let f = custom_vjp(
        |(a, _): &(Tensor, Tensor)| (a.exp(), a * 2.0),
        |(a, b): &(Tensor, Tensor)| ((a.exp(), a * 2.0), b.clone()),
        |b: &Tensor, (g, h): &(Tensor, Tensor)| (g * b + h, b.clone()),
    );
    let loss = move |x: &Tensor| x * f(&(x.stop_gradient(), x.cos().stop_gradient())).1;
    let (y, pull) = vjp(&loss, &Tensor::from(3.0f64));
    assert_eq!((floats(&y), floats(&pull(&Tensor::from(1.0f64)))), (vec![18.0], vec![6.0]));
    let x = Tensor::from(3.0f64).requires_grad();
    loss(&x).backward().unwrap();
    assert_eq!(floats(&x.grad().unwrap()), [6.0]);
}

#[test]
fn gradients_of_the_users_by_what_examples_share() {
    // The second result is the same for all examples, and so may be its gradient.
    let f = custom_vjp(
        |(x, w): &(Tensor, Tensor)| (x + 0.0, w * 2.0),
        |(x, w): &(Tensor, Tensor)| ((x + 0.0, w * 2.0), ()),
        |_: &(), (g, h): &(Tensor, Tensor)| (g.clone(), h * 2.0),
    );
    let loss = |w: &Tensor| {
        let one = |x: &Tensor| {
            let (a, b) = f(&(x.clone(), w.clone()));
            a * b
        };
        vmap(one)(&Tensor::from([1.0f64, 2.0, 3.0])).sum(..)
    };
    assert_eq!(floats(&grad(loss)(&Tensor::from(1.0f64))), [12.0]);
    // A result that depends on no example, or on nothing at all.
    let xs = Tensor::from([1.0f64, 2.0, 3.0]);
    let f = custom_vjp(
        |(_, w): &(Tensor, Tensor)| w * 1.0,
        |(_, w): &(Tensor, Tensor)| (w * 1.0, ()),
        |_: &(), g: &Tensor| (g * 0.0, g.clone()),
    );
    let loss = |w: &Tensor| vmap(|x: &Tensor| f(&(x.clone(), w.clone())))(&xs).sum(..);
    assert_eq!(floats(&grad(loss)(&Tensor::from(5.0f64))), [3.0]);
    let two = || Tensor::from(2.0f64);
    let straight = custom_vjp(|_: &Tensor| two(), |_: &Tensor| (two(), ()), |_: &(), g: &Tensor| g.clone());
    let loss = |xs: &Tensor| (vmap(&straight)(xs) * Tensor::from([1.0f64, 10.0, 100.0])).sum(..);
    assert_eq!(floats(&grad(loss)(&xs)), [1.0, 10.0, 100.0]);
}

#[derive(Clone)]
struct Counted;

static RUNS: AtomicUsize = AtomicUsize::new(0);

/// The identity, with an effect.
impl CustomOp for Counted {
    const NAME: &'static str = "test.counted";
    fn from_attributes(_: &mut AttrReader) -> Result<Counted, Fault> {
        Ok(Counted)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![operands[0].clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        RUNS.fetch_add(1, Ordering::SeqCst);
        Ok(vec![operands[0].clone()])
    }
    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        Some(vec![Some(cx.cotangents[0].clone())])
    }
}

#[test]
fn effects_happen_once() {
    let counted = |x: &Tensor| {
        let [y] = call(&Counted, &[x]);
        y
    };
    let runs = |f: &dyn Fn(&Tensor) -> Tensor, plain: &dyn Fn(&Tensor) -> Tensor| {
        let x = Tensor::from([0.5f64, 1.0]);
        let before = RUNS.load(Ordering::SeqCst);
        close(&grad(|x: &Tensor| f(x).sum(..))(&x), &grad(|x: &Tensor| plain(x).sum(..))(&x));
        RUNS.load(Ordering::SeqCst) - before
    };
    let in_a_row = checkpoint(move |x: &Tensor| (0..7).fold(x.clone(), |y, _| counted(&y.sin()).exp()));
    assert_eq!(runs(&in_a_row, &|x| (0..7).fold(x.clone(), |y, _| y.sin().exp())), 7);
    let in_a_loop = checkpoint(move |x: &Tensor| fori(0..3, |_, y: &Tensor| counted(&y.sin()), x).exp());
    assert_eq!(runs(&in_a_loop, &|x| x.sin().sin().sin().exp()), 3);
}

#[test]
fn tangents_of_the_users() {
    let f = custom_jvp(|x: &Tensor| x.exp(), |x: &Tensor, t: &Tensor| (x.exp(), x.exp() * t * 2.0));
    let x = Tensor::from([0.0f64, 1.0]);
    assert_eq!(floats(&jvp(&f, &x, &Tensor::from([1.0f64, 0.0])).1), [2.0, 0.0]);
    close(&grad(|x: &Tensor| f(x).sum(..))(&x), &(x.exp() * 2.0));
    let many = Tensor::from([[0.0f64, 1.0], [2.0, 3.0]]);
    close(&vmap(grad(|x: &Tensor| f(x).sum(..)))(&many), &(many.exp() * 2.0));
}

/// The gradient of a function whose tangent is that at the point `x`.
fn by_tangent(x: f64, tangent: impl Fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
    let f = custom_jvp(|x: &Tensor| x * 1.0, |x: &Tensor, t: &Tensor| (x * 1.0, tangent(x, t)));
    let x = Tensor::from(x);
    let (slope, along) = (grad(&f)(&x), jvp(&f, &x, &Tensor::from(1.0f64)).1);
    if slope.err().is_none() {
        close(&slope, &along);
    }
    slope
}

#[test]
fn tangents_through_branches_and_loops() {
    let xs = Tensor::from([1.0f64, 2.0, 3.0]);
    let last = |x: f64, tangent: &dyn Fn(&Tensor, &Tensor) -> Tensor| by_tangent(x, tangent).item::<f64>().unwrap();
    for (x, want) in [(1.0, 3.0), (-1.0, 2.0)] {
        assert_eq!(last(x, &|x, t| cond(&x.gt(0.0), || t * 3.0, || t * 2.0)), want);
        assert_eq!(last(x, &|x, t| cond(&x.gt(0.0), || t * 3.0, || cond(&x.gt(9.0), || t.clone(), || t * 2.0))), want);
        assert_eq!(last(x, &|x, t| switch(&x.to_dtype(DType::I64), &[&|| t * 2.0, &|| t * 3.0])), want);
    }
    assert_eq!(last(3.0, &|_, t| scan(|c: &Tensor, k: &Tensor| (c * k + t, ()), t, &xs).0), 16.0);
    assert_eq!(last(3.0, &|x, t| fori(0..3, |_, c: &Tensor| c * x, t)), 27.0);
    assert_eq!(last(3.0, &|_, t| control::map(|k: &Tensor| t * k, &xs).sum(..)), 6.0);
    assert_eq!(last(3.0, &|_, t| checkpoint(|t: &Tensor| t * 2.0)(t)), 2.0);
    // A loop that carries what the tangent is multiplied with, as that of a derivative does.
    let waves = |(x, t): &(Tensor, Tensor), k: &Tensor| ((x.sin(), x.cos() * t * k), ());
    let want = last(3.0, &|x, t| scan(waves, &(x.clone(), t.clone()), &xs).0.1);
    assert!((want - -5.822_831_227_789_99).abs() < 1e-12, "{want}");
    let step = |x: &Tensor| cond(&x.gt(0.0), || fori(0..2, |_, y: &Tensor| y.sin() * x, x), || x.exp());
    let want = grad(step)(&Tensor::from(0.5f64)).item::<f64>().unwrap();
    let slope = last(0.5, &|x, t| jvp(step, x, t).1);
    assert!((slope - want).abs() < 1e-12, "{slope} {want}");
    // Once more.
    let f = custom_jvp(step, |x: &Tensor, t: &Tensor| jvp(step, x, t));
    let second = |f: &dyn Fn(&Tensor) -> Tensor| grad(|x: &Tensor| grad(f)(x))(&Tensor::from(0.5f64));
    close(&second(&f), &second(&step));
    let many = Tensor::from([0.5f64, -0.5, 1.0]);
    close(&vmap(grad(&f))(&many), &vmap(grad(step))(&many));
    close(&grad(|x: &Tensor| vmap(&f)(x).sum(..))(&many), &vmap(grad(step))(&many));
}

#[test]
fn tangents_that_are_not_linear_have_no_gradient() {
    let refused = |tangent: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
        let e = by_tangent(1.0, tangent).err().expect("an error");
        assert!(e.rule().contains("what was given is not linear in the tangents"), "{e}");
        assert!(e.location().unwrap().to_string().starts_with("tests/checkpoint/main.rs:"), "{e}");
    };
    let xs = Tensor::from([1.0f64, 2.0, 3.0]);
    refused(&|_, t| t * t);
    refused(&|_, t| t * (t * 0.0));
    refused(&|x, t| cond(&x.gt(0.0), || t * t, || t.clone()));
    refused(&|x, t| cond(&x.gt(0.0), || t.clone(), || t * t));
    refused(&|_, t| cond(&t.gt(0.0), || t.clone(), || t * 2.0));
    refused(&|_, t| scan(|c: &Tensor, _: &Tensor| (c * c, ()), t, &xs).0);
    refused(&|_, t| {
        scan(|(a, b): &(Tensor, Tensor), k: &Tensor| ((b * k, a * b), ()), &(t.clone(), t.clone()), &xs).0.1
    });
    refused(&|x, t| t.gt(0.0).where_(x, &(x * 2.0)));
    refused(&|_, t| t.round() * 2.0);
    refused(&|_, t| t.stop_gradient() * 2.0);
    // A sum with something else counts as linear, as in JAX, and so does what no tangent is part of.
    let f = custom_jvp(|x: &Tensor| x * 2.0, |x: &Tensor, t: &Tensor| (x * 2.0, t * 2.0 + 1.0));
    assert_eq!(floats(&grad(f)(&Tensor::from(1.0f64))), [2.0]);
    let f = custom_jvp(|x: &Tensor| x * 2.0, |x: &Tensor, _: &Tensor| (x * 2.0, x * 0.0));
    assert_eq!(floats(&grad(f)(&Tensor::from(1.0f64))), [0.0]);
}

#[test]
fn derivatives_by_what_is_captured_are_errors() {
    let refused = |e: Error, line: u32| {
        assert!(e.rule().contains("captures a tensor, by which it has no derivative"), "{e}");
        assert!(e.legal().contains("a part of the function's argument"), "{e}");
        let place = format!("tests/checkpoint/main.rs:{line}:");
        assert!(e.location().unwrap().to_string().starts_with(&place), "{line}: {e}");
    };
    let at = || Tensor::from(2.0f64);
    let line = line!() + 2;
    let by_gradient = move |w: &Tensor| {
        let f = custom_vjp(|x: &Tensor| x * w, |x: &Tensor| (x * w, ()), |_: &(), g: &Tensor| g.clone());
        f(&at())
    };
    refused(grad(by_gradient)(&at()).err().unwrap(), line);
    refused(jit(move |w: Tensor| grad(by_gradient)(&w)).call(at()).unwrap_err(), line);
    refused(
        grad(|w: &Tensor| vmap(|x: &Tensor| by_gradient(w) * x)(&at().reshape([1])).sum(..))(&at()).err().unwrap(),
        line,
    );
    let tracked = at().requires_grad();
    let y = by_gradient(&tracked);
    assert_eq!(floats(&y), [4.0]);
    refused(y.backward().unwrap_err(), line);
    // The gradient alone captures it.
    let line = line!() + 2;
    let behind =
        |w: &Tensor| custom_vjp(|x: &Tensor| x * 2.0, |x: &Tensor| (x * 2.0, ()), |_: &(), g: &Tensor| g * w)(&at());
    refused(grad(behind)(&at()).err().unwrap(), line);
    let line = line!() + 1;
    let by_tangent = |w: &Tensor| custom_jvp(|x: &Tensor| x * w, |x: &Tensor, t: &Tensor| (x * w, t * w))(&at());
    refused(grad(by_tangent)(&at()).err().unwrap(), line);
    refused(jvp(by_tangent, &at(), &at()).1.err().unwrap(), line);
    // A constant it may be, and values need no derivative.
    let w = at();
    let slope = grad(|x: &Tensor| {
        custom_jvp(|x: &Tensor| x * &w, |x: &Tensor, t: &Tensor| (x * &w, t * &w))(x) * by_gradient(&w)
    });
    assert_eq!(floats(&slope(&at())), [8.0]);
    assert_eq!(floats(&grad(|w: &Tensor| by_gradient(&w.stop_gradient()) * w)(&at())), [4.0]);
    assert_eq!(floats(&jit(move |w: Tensor| by_gradient(&w)).call(at()).unwrap()), [4.0]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let rule = |t: Tensor| t.err().unwrap().to_string();
    let x = Tensor::from([1.0f32, 2.0]);
    let forward = custom_vjp(|x: &Tensor| x.sum(..), |x: &Tensor| (x.clone(), ()), |_: &(), g: &Tensor| g.clone());
    assert!(rule(forward(&x)).contains("custom_vjp: the forward part returns f32[2]"), "{}", rule(forward(&x)));
    let back = custom_vjp(|x: &Tensor| x.sum(..), |x: &Tensor| (x.sum(..), ()), |_: &(), g: &Tensor| g.clone());
    assert!(rule(back(&x)).contains("the backward part returns f32[]"), "{}", rule(back(&x)));
    let bent = custom_jvp(|x: &Tensor| x.clone(), |x: &Tensor, t: &Tensor| (x.clone(), t * t));
    let report = grad::report(|x: &Tensor| bent(x).sum(..), &x).unwrap();
    assert!(format!("{report:?}").contains("not linear in the tangents"), "{report:?}");
    let none = custom_vjp(|x: &Tensor| x.clone(), |x: &Tensor| (x.clone(), ()), |_: &(), g: &Tensor| g.clone());
    let e = rule(jvp(&none, &Tensor::from([1.0f64]), &Tensor::from([1.0f64])).1);
    assert!(e.contains("a function with a gradient of its own (custom_vjp) has no derivative in forward mode"), "{e}");
    assert!(e.contains("custom_jvp, which serves both modes"), "{e}");
    assert!(rule(x.named("a,b")).contains("the name \"a,b\""));
}
