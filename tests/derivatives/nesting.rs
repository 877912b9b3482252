//! Derivatives of derivatives, over captured variables, in and outside of compiled functions.

use crate::{close, f64s, number};
use tracewright::{DType, Generator, Tensor, grad, jit, jvp, linearize, vjp};

type Order = (&'static str, fn(Tensor, Tensor) -> Tensor);

fn f(x: &Tensor) -> Tensor {
    ((x.sin() * x).exp() + x.pow(3.0)).sum(..)
}

fn x() -> Tensor {
    Tensor::from([0.3f64, -0.7, 1.1])
}
fn v() -> Tensor {
    Tensor::from([1.0f64, 0.5, -2.0])
}

/// The Hessian of `f` times a vector, by differences of gradients.
fn hv() -> Vec<f64> {
    let h = 1e-5;
    f64s(&((grad(f)(&(x() + v() * h)) - grad(f)(&(x() - v() * h))) / (2.0 * h)))
}

#[test]
fn the_hessian_times_a_vector_in_every_order_of_modes() {
    let v2 = v();
    let orders: Vec<Order> = vec![
        ("forward over reverse", |x, v| jvp(grad(f), &x, &v).1),
        ("reverse over forward", |x, v| grad(move |x: &Tensor| jvp(f, x, &v).1)(&x)),
        ("reverse over reverse", |x, v| grad(move |x: &Tensor| (grad(f)(x) * &v).sum(..))(&x)),
        ("pullback of a gradient", |x, v| vjp(grad(f), &x).1(&v)),
        ("pullback of a pullback", |x, v| {
            let one = Tensor::from(1.0f64);
            vjp(move |x: &Tensor| vjp(f, x).1(&one), &x).1(&v)
        }),
        ("linear map of a gradient", |x, v| linearize(grad(f), &x).1(&v)),
        ("gradient through a linear map", |x, v| grad(move |x: &Tensor| linearize(f, x).1(&v))(&x)),
    ];
    for (name, order) in orders {
        println!("{name}");
        close(&f64s(&order(x(), v2.clone())), &hv(), 1e-6);
        close(&f64s(&jit(order).call(x(), &v2).unwrap()), &hv(), 1e-6);
    }
}

#[test]
fn third_derivatives() {
    let x = Tensor::from(0.7f64);
    let one = Tensor::from(1.0f64);
    let sine = |x: &Tensor| x.sin();
    let want = -(0.7f64.cos());
    let grads = grad(move |x: &Tensor| grad(move |x: &Tensor| grad(sine)(x))(x))(&x);
    close(&[number(&grads)], &[want], 1e-12);
    let one2 = one.clone();
    let pushed = |x: &Tensor| jvp(|x: &Tensor| jvp(sine, x, &one2).1, x, &one2).1;
    close(&[number(&jvp(pushed, &x, &one).1)], &[want], 1e-12);
    let (_, pullback) = vjp(|x: &Tensor| grad(|x: &Tensor| jvp(sine, x, &one).1)(x), &x);
    close(&[number(&pullback(&one))], &[want], 1e-12);
}

#[test]
fn modes_nest_over_captured_variables_and_trees() {
    // d/dx of x · d/dy (x y²) at y = 3 is 4 x y.
    let y = Tensor::from(3.0f64);
    let one = Tensor::from(1.0f64);
    let inner = |x: &Tensor| vjp(|y: &Tensor| x * y * y, &y).1(&one) * x;
    assert_eq!(number(&grad(inner)(&Tensor::from(2.0f64))), 24.0);
    assert_eq!(number(&jvp(inner, &Tensor::from(2.0f64), &one).1), 24.0);
    let pair = |(x, y): &(Tensor, Tensor)| (x * y, (x * x * y).sin());
    let at = (Tensor::from(2.0f64), Tensor::from(3.0f64));
    let loss = |at: &(Tensor, Tensor)| {
        let (_, pullback) = vjp(pair, at);
        let g = pullback(&(one.clone(), one.clone()));
        g.0 * g.1
    };
    let g = grad(loss)(&at);
    let h = 1e-5;
    let moved = |dx: f64, dy: f64| number(&loss(&(&at.0 + dx, &at.1 + dy)));
    let want = [moved(h, 0.0) - moved(-h, 0.0), moved(0.0, h) - moved(0.0, -h)].map(|d| d / (2.0 * h));
    close(&[number(&g.0), number(&g.1)], &want, 1e-6);
}

#[test]
fn a_network_has_a_hessian() {
    let g = Generator::new(3);
    let draw = |shape: [usize; 2]| g.normal(shape, 0.0, 0.5).to_dtype(DType::F64);
    let (w1, w2, x, v1, v2) = (draw([4, 8]), draw([8, 1]), draw([5, 4]), draw([4, 8]), draw([8, 1]));
    let loss = |(w1, w2): &(Tensor, Tensor)| x.matmul(w1).gelu().matmul(w2).tanh().square().mean(..);
    let at = (w1, w2);
    let (_, hv) = jvp(grad(loss), &at, &(v1.clone(), v2.clone()));
    let h = 1e-5;
    let moved = |h: f64| grad(loss)(&(&at.0 + &v1 * h, &at.1 + &v2 * h));
    let (up, down) = (moved(h), moved(-h));
    close(&f64s(&hv.0), &f64s(&((up.0 - down.0) / (2.0 * h))), 1e-6);
    close(&f64s(&hv.1), &f64s(&((up.1 - down.1) / (2.0 * h))), 1e-6);
}
