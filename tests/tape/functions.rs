//! Compiled functions and transforms of functions, called on tracked tensors.

use crate::{close, f64s, leaf, number, slope};
use tracewright::events::{Counters, Event};
use tracewright::tape::Backward;
use tracewright::{Code, DType, Tensor, Tree, cond, fori, grad, jit, jvp, linearize, nn, no_grad, scan, vjp, vmap};

#[test]
fn compiled_functions_are_differentiated_as_graphs() {
    let f = jit(|x: Tensor, (w, n): (Tensor, Tensor)| {
        let hidden = x.matmul(&w).tanh();
        (hidden.softmax(-1).sum(0), hidden * 2.0, n + 1)
    });
    let n = Tensor::from(3i64);
    let x = Tensor::from([[1.0f64, 2.0], [3.0, -4.0]]).requires_grad();
    let w = Tensor::from([[0.1f64, 0.2, 0.3], [-0.3, 0.2, 0.1]]).requires_grad();
    let run = |x: &Tensor, w: &Tensor| f.call(x, (w.clone(), n.clone())).unwrap();
    let (a, b, m) = run(&x, &w);
    assert!(a.is_tracked() && b.is_tracked() && !m.is_tracked());
    (a.square().sum(..) + b.sum(..)).backward().unwrap();
    let loss = |(x, w): &(Tensor, Tensor)| {
        let (a, b, _) = run(x, w);
        a.square().sum(..) + b.sum(..)
    };
    let (gx, gw) = grad(loss)(&(x.detach(), w.detach()));
    close(&f64s(&x.grad().unwrap()), &f64s(&gx), 1e-12);
    close(&f64s(&w.grad().unwrap()), &f64s(&gw), 1e-12);
    // Only one is tracked; then none.
    w.clear_grad();
    let (a, b, _) = run(&x.detach(), &w);
    (a.square().sum(..) + b.sum(..)).backward().unwrap();
    close(&f64s(&w.grad().unwrap()), &f64s(&gw), 1e-12);
    assert!(!run(&x.detach(), &w.detach()).0.is_tracked());
    assert!(!no_grad(|| run(&x, &w)).0.is_tracked());
    assert!(!no_grad(|| grad(|x: &Tensor| x.square().sum(..))(&x)).is_tracked());
    assert_eq!(f.stats().traces, 1);
    let step = || {
        let (a, _, _) = run(&x, &w);
        a.square().sum(..).backward().unwrap();
    };
    step();
    let (_, counts) = Counters::of(step);
    assert_eq!((counts[Event::Compile], counts[Event::Trace], counts[Event::CacheMiss]), (0, 0, 0));
}

#[test]
fn compiled_functions_have_second_derivatives() {
    let f = jit(|x: Tensor| (x.sin().exp() * &x).sum(..));
    let x = Tensor::from([0.3f64, -0.8]).requires_grad();
    let first = Backward::of(&[&f.call(&x).unwrap()]).create_graph().by(&[&x]).unwrap()[0].clone().unwrap();
    first.square().sum(..).backward().unwrap();
    let plain = |x: &Tensor| (x.sin().exp() * x).sum(..);
    let want = grad(|x: &Tensor| grad(plain)(x).square().sum(..))(&x.detach());
    close(&f64s(&x.grad().unwrap()), &f64s(&want), 1e-10);
}

#[test]
fn captured_tensors_get_gradients_too() {
    let w = leaf(3.0);
    let captured = w.clone();
    let f = jit(move |x: Tensor| x * &captured);
    let y = f.call(Tensor::from(2.0f64)).unwrap();
    assert!(y.is_tracked());
    y.backward().unwrap();
    assert_eq!(slope(&w), 2.0);
    // In a transform as well.
    let g = grad(|x: &Tensor| x * x * &w)(&Tensor::from(5.0f64));
    w.clear_grad();
    g.backward().unwrap();
    assert_eq!(slope(&w), 10.0);
}

#[test]
fn transforms_of_functions_are_on_the_tape() {
    let x = Tensor::from([0.5f64, 1.5]).requires_grad();
    let f = |x: &Tensor| (x.exp() * x).sum(..);
    let second = |x: &Tensor| grad(|x: &Tensor| grad(f)(x).sum(..))(x);
    let want = f64s(&second(&x.detach()));
    let check = |y: Tensor| {
        x.clear_grad();
        y.sum(..).backward().unwrap();
        close(&f64s(&x.grad().unwrap()), &want, 1e-10);
    };
    let one = Tensor::from(1.0f64);
    check(grad(f)(&x));
    check(vjp(f, &x).1(&one));
    let ones = Tensor::ones([2], DType::F64);
    check(jvp(f, &x, &ones).1);
    check(linearize(f, &x).1(&ones));
    check(vmap(|x: &Tensor| grad(|x: &Tensor| x.exp() * x)(x))(&x));
}

#[test]
fn one_graph_for_other_tracked_arguments() {
    let f = |(a, b): &(Tensor, Tensor)| (a * a * b).sin();
    let g = |a: &Tensor, b: &Tensor| vjp(f, &(a.clone(), b.clone())).0;
    let (slope_a, slope_b) = (24.0 * 36.0f64.cos(), 9.0 * 36.0f64.cos());
    for _ in 0..2 {
        let (a, b) = (leaf(3.0), leaf(4.0));
        g(&a, &b.detach()).backward().unwrap();
        close(&[slope(&a)], &[slope_a], 1e-12);
        g(&a.detach(), &b).backward().unwrap();
        close(&[slope(&b)], &[slope_b], 1e-12);
        a.clear_grad();
        b.clear_grad();
        g(&a, &b).backward().unwrap();
        close(&[slope(&a), slope(&b)], &[slope_a, slope_b], 1e-12);
    }
}

#[test]
fn one_tensor_that_is_tracked_at_one_place_only() {
    let x = leaf(3.0);
    let f = |(a, b): &(Tensor, Tensor)| a * b;
    let g = jit(|a: Tensor, b: Tensor| a * b);
    for y in [
        vjp(f, &(x.clone(), x.detach())).0,
        vjp(f, &(x.detach(), x.clone())).0,
        g.call(&x, x.detach()).unwrap(),
        g.call(x.detach(), &x).unwrap(),
    ] {
        x.clear_grad();
        y.backward().unwrap();
        assert_eq!(slope(&x), 3.0);
    }
    x.clear_grad();
    g.call(&x, &x).unwrap().backward().unwrap();
    assert_eq!(slope(&x), 6.0);
}

#[test]
fn state_that_a_call_overwrites_is_not_tracked() {
    let step = jit(|w: Tensor, x: Tensor| (&w - &x, w * x));
    let mut w = leaf(3.0);
    let e = step.call_mut(&mut w, Tensor::from(1.0f64)).unwrap_err();
    assert_eq!((e.code(), e.location().unwrap().line), (Code::Gradient, line!() - 1));
    assert_eq!(number(&w), 3.0);
    let mut w = w.detach();
    assert_eq!(number(&step.call_mut(&mut w, Tensor::from(1.0f64)).unwrap()), 3.0);
}

#[test]
fn cells_of_tracked_calls_keep_no_tape() {
    #[derive(Tree)]
    struct Pair(Tensor, Tensor);
    let seen = nn::Buffer::new(Tensor::from(0.0f64));
    let inner = seen.clone();
    let f = jit(move |p: Pair| {
        inner.set(inner.get() + &p.0).unwrap();
        &p.0 * &p.1 * inner.get()
    });
    let x = leaf(2.0);
    let y = f.call(Pair(x.clone(), Tensor::from(5.0f64))).unwrap();
    assert_eq!((number(&y), number(&seen.get())), (20.0, 2.0));
    assert!(!seen.get().is_tracked());
    y.backward().unwrap();
    assert_eq!(slope(&x), 20.0);
}

#[test]
fn branches_and_loops_are_on_the_tape() {
    let (x, w) = (Tensor::from([0.5f64, -1.0, 2.0]).requires_grad(), leaf(0.7));
    let f = |x: &Tensor, w: &Tensor| {
        let (last, all) = scan(
            |c: &Tensor, x: &Tensor| {
                let next = (c * w + x).tanh();
                (next.clone(), &next * &next)
            },
            &Tensor::from(0.1f64),
            x,
        );
        let power = fori(0..3, |_: &Tensor, c: &Tensor| c * w, &last);
        let chosen = cond(&x.sum(..).gt(0.0), || &power * 2.0, || power.exp());
        chosen + all.sum(..)
    };
    let y = f(&x, &w);
    let first = Backward::of(&[&y]).create_graph().by(&[&x, &w]).unwrap();
    let (gx, gw) = grad(|(x, w): &(Tensor, Tensor)| f(x, w))(&(x.detach(), w.detach()));
    let [tx, tw] = [0, 1].map(|i| first[i].clone().unwrap());
    close(&f64s(&tx), &f64s(&gx), 1e-12);
    close(&f64s(&tw), &f64s(&gw), 1e-12);
    (tx.square().sum(..) + tw.square()).backward().unwrap();
    let twice = |(x, w): &(Tensor, Tensor)| {
        let (gx, gw) = grad(|(x, w): &(Tensor, Tensor)| f(x, w))(&(x.clone(), w.clone()));
        gx.square().sum(..) + gw.square()
    };
    let (hx, hw) = grad(twice)(&(x.detach(), w.detach()));
    close(&f64s(&x.grad().unwrap()), &f64s(&hx), 1e-10);
    close(&f64s(&w.grad().unwrap()), &f64s(&hw), 1e-10);
}

#[test]
fn symbolic_axes_stay_symbolic_on_the_tape() {
    let f = jit(|x: Tensor| x.sum(0).exp()).dynamic("arguments.0", 0, "B", 1..=64);
    for n in [3, 7, 5] {
        let x = Tensor::zeros([n, 2], DType::F64).requires_grad();
        f.call(&x).unwrap().sum(..).backward().unwrap();
        assert_eq!(f64s(&x.grad().unwrap()), vec![1.0; 2 * n]);
    }
    assert_eq!(f.stats().traces, 1);
}
