//! In any order with itself and with the other transforms.

use super::{close, numbers};
use tracewright::{DType, Tensor, grad, jacrev, jit, nn, stack, value_and_grad, vmap};

fn each(n: usize, f: impl Fn(isize) -> Tensor) -> Tensor {
    let all: Vec<Tensor> = (0..n as isize).map(f).collect();
    stack(&all, 0)
}

#[test]
fn in_itself() {
    let (x, y) = (numbers(&[3, 4]), numbers(&[2, 4]));
    // All pairs of rows.
    let outer = vmap(|x: &Tensor| vmap(|y: &Tensor| (x * y).sum(0).tanh())(&y));
    close(&outer(&x), &x.matmul(&y.t()).tanh());
    let compiled = jit(|x: Tensor, y: Tensor| vmap(|x: &Tensor| vmap(|y: &Tensor| (x * y).sum(0).tanh())(&y))(&x));
    close(&compiled.call(&x, &y).unwrap(), &x.matmul(&y.t()).tanh());
    // Two axes, either first.
    let z = numbers(&[2, 3, 4]);
    let f = |x: &Tensor| x.softmax(0).cumsum(0);
    close(&vmap(vmap(f))(&z), &z.softmax(2).cumsum(2));
    let other = vmap::with(1, 1, vmap::with(1, 1, |x: &Tensor| x.softmax(0)));
    close(&other(&z), &z.softmax(0));
}

fn loss(w: &Tensor, x: &Tensor) -> Tensor {
    (x.matmul(w).tanh() * 0.7).exp().sum(..)
}

#[test]
fn gradients_of_each_example() {
    let (w, x) = (numbers(&[4, 2]), numbers(&[3, 4]));
    let want = each(3, |i| grad(|w: &Tensor| loss(w, &x.select(0, i)))(&w));
    let w_of = w.clone();
    let per_example = vmap(move |x: &Tensor| grad(|w: &Tensor| loss(w, x))(&w_of));
    close(&per_example(&x), &want);
    let compiled = jit(|w: Tensor, x: Tensor| vmap(|x: &Tensor| grad(|w: &Tensor| loss(w, x))(&w))(&x));
    close(&compiled.call(&w, &x).unwrap(), &want);
    // The value too, by the input.
    let (values, slopes) = vmap(|x: &Tensor| value_and_grad(|x: &Tensor| loss(&w, x))(x))(&x);
    close(&values, &each(3, |i| loss(&w, &x.select(0, i))));
    close(&slopes, &each(3, |i| grad(|x: &Tensor| loss(&w, x))(&x.select(0, i))));
}

#[test]
fn gradients_through_it() {
    let (w, x) = (numbers(&[4, 2]), numbers(&[3, 4]));
    let f = |w: &Tensor| vmap(|x: &Tensor| loss(w, x))(&x).sum(..);
    let want = grad(|w: &Tensor| (x.matmul(w).tanh() * 0.7).exp().sum(..))(&w);
    close(&grad(f)(&w), &want);
    let by_x = grad(|x: &Tensor| vmap(|x: &Tensor| loss(&w, x))(x).square().sum(..));
    close(&by_x(&x), &each(3, |i| grad(|x: &Tensor| loss(&w, x).square())(&x.select(0, i))));
}

#[test]
fn second_derivatives() {
    let x = numbers(&[5]);
    let f = |x: &Tensor| (x * x).sin() * x;
    let second = vmap(|x: &Tensor| grad(|x: &Tensor| grad(f)(x))(x))(&x);
    let formula = |x: f64| {
        let (s, c) = (x * x).sin_cos();
        6.0 * x * c - 4.0 * x * x * x * s
    };
    let want: Vec<f64> = x.to_vec::<f64>().unwrap().into_iter().map(formula).collect();
    close(&second, &Tensor::from(want));
    let third = vmap(grad(grad(grad(|x: &Tensor| x * x * x * x))));
    close(&third(&x), &(&x * 24.0));
}

#[test]
fn compiled_functions_inside() {
    let inner = jit(|x: Tensor, y: Tensor| (x * y).sum(0));
    let (x, y) = (numbers(&[3, 4]), numbers(&[4]));
    let f = vmap(|x: &Tensor| inner.call(x, &y).unwrap() + 1.0);
    close(&f(&x), &(x.matmul(&y) + 1.0));
}

#[test]
fn models_as_arguments() {
    #[derive(nn::Module, Clone)]
    struct Mlp {
        hidden: nn::Linear,
        out: nn::Linear,
    }
    let g = tracewright::Generator::new(1);
    let model = Mlp { hidden: nn::Linear::new(4, 8, &g), out: nn::Linear::new(8, 3, &g) };
    let x = g.normal([5, 4], 0.0, 1.0);
    let y = x.argmax(1).clamp(0, 2);
    let loss = |m: &Mlp, x: &Tensor, y: &Tensor| {
        let logits = m.out.forward(&m.hidden.forward(&x.unsqueeze(0)).gelu());
        nn::cross_entropy(&logits, &y.unsqueeze(0))
    };
    let m = model.clone();
    let per_example = vmap(move |(x, y): &(Tensor, Tensor)| grad(|m: &Mlp| loss(m, x, y))(&m));
    let all = per_example(&(x.clone(), y.clone()));
    assert_eq!(all.hidden.weight.shape()[0].as_usize(), Some(5));
    let mean = grad(|m: &Mlp| nn::cross_entropy(&m.out.forward(&m.hidden.forward(&x).gelu()), &y))(&model);
    let (a, b) = (all.hidden.weight.mean(0).to_vec::<f32>().unwrap(), mean.hidden.weight.to_vec::<f32>().unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
}

#[test]
fn on_the_tape() {
    let (w, x) = (numbers(&[4, 2]).requires_grad(), numbers(&[3, 4]));
    vmap(|x: &Tensor| loss(&w, x))(&x).sum(..).backward().unwrap();
    close(&w.grad().unwrap(), &grad(|w: &Tensor| (x.matmul(w).tanh() * 0.7).exp().sum(..))(&w.detach()));
    let y = numbers(&[3]).requires_grad();
    jacrev(|y: &Tensor| y * y * y)(&y).sum(..).backward().unwrap();
    close(&y.grad().unwrap(), &(y.detach() * 6.0));
}

#[test]
fn views_and_results_that_wait() {
    let x = numbers(&[3, 4]).t();
    close(&vmap(|x: &Tensor| x * 2.0)(&x), &(&x * 2.0));
    let integers = Tensor::arange(6, DType::I64).reshape([3, 2]);
    close(&vmap(|x: &Tensor| x.sum(..))(&integers), &integers.sum(1));
}
