//! Branches and loops of each example, their derivatives, and draws and writes inside of them.

use super::{close, numbers, shown};
use tracewright::nn::Buffer;
use tracewright::{Code, DType, Generator, Key, Shape, Tensor, random};
use tracewright::{cond, fori, grad, hessian, jacfwd, jacrev, jit, scan, stack, switch, vmap, while_loop};

fn each(xs: &Tensor, f: &dyn Fn(&Tensor) -> Tensor) -> Tensor {
    let n = xs.shape()[0].as_usize().unwrap() as isize;
    stack(&(0..n).map(|i| f(&xs.select(0, i))).collect::<Vec<_>>(), 0)
}

/// The same for each example, alone and compiled, and so is the gradient.
fn agree(xs: &Tensor, f: fn(&Tensor) -> Tensor) {
    let slope = move |x: &Tensor| grad(|x: &Tensor| f(x).square().sum(..))(x);
    let (want, slopes) = (each(xs, &f), each(xs, &slope));
    close(&vmap(f)(xs), &want);
    close(&jit(move |x: Tensor| vmap(f)(&x)).call(xs).unwrap(), &want);
    close(&vmap(slope)(xs), &slopes);
    close(&jit(move |x: Tensor| vmap(slope)(&x)).call(xs).unwrap(), &slopes);
    let through = |xs: &Tensor| vmap(f)(xs).square().sum(..);
    close(&grad(through)(xs), &slopes);
}

#[test]
fn branches() {
    let xs = numbers(&[5, 3]);
    agree(&xs, |x| cond(&x.sum(..).gt(0.0), || x.exp(), || x * 2.0));
    agree(&xs, |x| {
        let i = (x.select(0, 0) * 2.0).round().to_dtype(DType::I64);
        switch(&i, &[&|| x.clone(), &|| x.sin(), &|| x.cumsum(0)])
    });
    // The choice is the same for all.
    let which = Tensor::from(true);
    close(&vmap(|x: &Tensor| cond(&which, || x + 1.0, || x - 1.0))(&xs), &(&xs + 1.0));
}

#[test]
fn loops() {
    let xs = numbers(&[4, 3]);
    agree(&xs, |x| fori(0..4, |i: &Tensor, y: &Tensor| (y * x).sin() + i.to_dtype(DType::F64), x));
    agree(&xs, |x| {
        let step = |c: &Tensor, x: &Tensor| ((c * 0.5 + x).tanh(), c * x);
        let (last, all) = scan(step, &Tensor::from(0.3f64), x);
        all + last
    });
    // As many iterations as each example needs.
    let halve = |x: &Tensor| while_loop(|y: &Tensor| y.abs().gt(0.1), |y: &Tensor| y * 0.5, x);
    let ys = numbers(&[6]);
    close(&vmap(halve)(&ys), &each(&ys, &halve));
    close(&vmap(jacfwd(halve))(&ys), &each(&ys, &jacfwd(halve)));
    // Recurrent, by rows, in loops of either kind.
    let rows = |x: &Tensor| scan(|c: &Tensor, x: &Tensor| ((c + x).tanh(), c.sum(..)), &x.select(0, 0), x).1;
    let zs = numbers(&[2, 4, 3]);
    close(&vmap(rows)(&zs), &each(&zs, &rows));
    close(&vmap::with(2, 1, rows)(&zs.permute(&[1, 2, 0])), &each(&zs, &rows).t());
}

#[test]
fn jacobians_through_them() {
    let x = numbers(&[4]);
    let f = |x: &Tensor| scan(|c: &Tensor, x: &Tensor| ((c * 0.5 + x).tanh(), c * x), &Tensor::from(0.3f64), x).1;
    let g = |x: &Tensor| cond(&x.sum(..).gt(0.0), || x.exp() * x.sum(..), || x.cumsum(0));
    for f in [f as fn(&Tensor) -> Tensor, g] {
        close(&jacrev(f)(&x), &jacfwd(f)(&x));
        let loss = move |x: &Tensor| f(x).square().sum(..);
        close(&hessian(loss)(&x), &jacrev(jacrev(loss))(&x));
    }
}

#[test]
fn draws_in_loops() {
    let g = Generator::new(4);
    let xs = Tensor::zeros([3, 2], DType::F32);
    let noisy = |x: &Tensor| {
        scan(|c: &Tensor, x: &Tensor| (c + x, x + g.normal(Shape::scalar(), 0.0, 1.0)), &Tensor::from(0.0f32), x).1
    };
    let all = vmap(noisy)(&xs);
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [4, 2]);
    // Example 2, element 1: the second draw, for that example.
    let again = Generator::new(4);
    let _first: Key = again.key();
    let one = random::normal(&again.key().fold_in(2), Shape::scalar(), DType::F32, 0.0, 1.0);
    assert_eq!(shown(&all.select(0, 2).select(0, 1)), shown(&one));
}

#[test]
fn writes_in_branches() {
    let count = Buffer::new(Tensor::from(0.0f64));
    let f = |x: &Tensor| {
        let step = || {
            count.set(count.get() + 1.0).unwrap();
            x * 2.0
        };
        cond(&x.sum(..).gt(0.0), step, || x.clone())
    };
    // Whether it is written differs from example to example.
    let e = vmap(f)(&numbers(&[5, 3])).to_vec::<f64>().unwrap_err();
    assert_eq!(e.code(), Code::Trace, "{e}");
    assert!(e.rule().contains("a cell is written with a value that differs"), "{e}");
    assert!(e.location().unwrap().to_string().contains("control.rs"), "{e}");
    assert_eq!(count.get().item::<f64>().unwrap(), 0.0);
}
