//! Branches and loops for many examples, against one example after the other.

use super::{close, interpreted, numbers};
use std::sync::Arc;
use tracewright::options::with_options;
use tracewright::vmap::Axes;
use tracewright::{
    DType, Tensor, Tree, cond, control, custom_vjp, fori, grad, jit, jvp, scan, switch, vmap, while_loop,
};

/// The function for all examples, along the axes that are given, is the function for each of them.
fn same<A: Tree, R: Tree>(f: impl Fn(&A) -> R + Clone + Send + Sync + 'static, x: &A, axes: &[bool]) {
    let n = x.leaves().iter().zip(axes).find(|(_, b)| **b).map(|((_, t), _)| t.size(0)).unwrap();
    let one = |i: usize| {
        let mut leaf = 0;
        x.map(&mut |t| {
            leaf += 1;
            if axes[leaf - 1] { t.select(0, i as isize) } else { t.clone() }
        })
    };
    let each: Vec<R> = (0..n).map(|i| f(&one(i))).collect();
    let mut leaf = 0;
    let want = each[0].map(&mut |_| {
        leaf += 1;
        let of: Vec<Tensor> = each.iter().map(|r| r.leaves()[leaf - 1].1.clone()).collect();
        tracewright::stack(&of, 0)
    });
    let choice = || match axes {
        [true] => Axes::At(0),
        _ => Axes::Parts(axes.iter().map(|&b| if b { Axes::At(0) } else { Axes::Common }).collect()),
    };
    close(&vmap::with(choice(), 0, &f)(x), &want);
    close(&with_options(interpreted(), || vmap::with(choice(), 0, &f)(x)), &want);
    let (inside, axes) = (f.clone(), choice());
    let compiled = jit(move |x: A| vmap::with(axes.clone(), 0, &inside)(&x));
    close(&compiled.call(x).unwrap_or_else(|e| panic!("{e}")), &want);
}

#[test]
fn choices() {
    let f = |(p, x, y): &(Tensor, Tensor, Tensor)| cond(p, || (x * 2.0 + y, x.sum(..)), || (y - x, y.max(..)));
    let p = Tensor::from([true, false, true, false]);
    let at = (p, numbers(&[4, 3]), numbers(&[4, 3]) + 1.0);
    same(f, &at, &[true, true, true]);
    let one = |p: bool| (Tensor::from(p), at.1.clone(), at.2.clone());
    same(f, &one(true), &[false, true, true]);
    same(f, &one(false), &[false, true, true]);
    let one = (at.0.clone(), numbers(&[3]), numbers(&[4, 3]));
    same(f, &one, &[true, false, true]);
    same(f, &(at.0.clone(), numbers(&[3]), numbers(&[3]) + 1.0), &[true, false, false]);
    let g = |(i, x): &(Tensor, Tensor)| switch(i, &[&|| x.exp(), &|| Tensor::zeros([3], DType::F64), &|| x.clone()]);
    same(g, &(Tensor::from([0i64, 1, 2, 9, -3]), numbers(&[5, 3])), &[true, true]);
    same(g, &(Tensor::from(2i64), numbers(&[5, 3])), &[false, true]);
}

#[test]
fn what_may_fail_is_asked_for_only_where_it_is_chosen() {
    let table = numbers(&[3]);
    let held = table.clone();
    let f =
        move |i: &Tensor| cond(&i.lt(3), || held.index_select(0, &i.reshape([1])).sum(..), || Tensor::from(-1.0f64));
    let out = vmap(&f)(&Tensor::from([0i64, 7, 2, 100]));
    let want = table.to_vec::<f64>().unwrap();
    assert_eq!(out.to_vec::<f64>().unwrap(), [want[0], -1.0, want[2], -1.0]);
    // And there it fails.
    let g =
        move |i: &Tensor| cond(&i.lt(9), || table.index_select(0, &i.reshape([1])).sum(..), || Tensor::from(-1.0f64));
    let e = vmap(g)(&Tensor::from([0i64, 7, 2])).to_vec::<f64>().unwrap_err();
    assert!(e.rule().contains("index 7 is out of range"), "{e}");
}

#[test]
fn what_an_example_does_not_run_does_not_fail_inside_of_functions_with_derivatives() {
    let table = numbers(&[3]);
    let read = move |i: &Tensor| table.index_select(0, &i.reshape([1])).sum(..);
    let (f, forward) = (read.clone(), read.clone());
    let looked_up = Arc::new(custom_vjp(
        move |(i, x): &(Tensor, Tensor)| f(i) * x,
        move |(i, x): &(Tensor, Tensor)| (forward(i) * x, (i.clone(), x.clone())),
        // The gradient reads too.
        move |(i, x): &(Tensor, Tensor), g: &Tensor| (i.clone(), read(i) * g + x * 0.0),
    ));
    let f = move |(i, x): &(Tensor, Tensor)| cond(&i.lt(3), || looked_up(&(i.clone(), x.clone())), || x * 10.0);
    let at = (Tensor::from([0i64, 7, 2, 100]), numbers(&[4]));
    same(f.clone(), &at, &[true, true]);
    same(move |at: &(Tensor, Tensor)| grad(&f)(at), &at, &[true, true]);
}

#[test]
fn a_loop_that_an_example_does_not_run_ends() {
    // Doubling a negative number never ends.
    let above = |x: &Tensor| while_loop(|c: &Tensor| c.lt(100.0), |c: &Tensor| c * 2.0, x);
    let chosen = move |x: &Tensor| cond(&x.gt(0.0), || above(x), || -x);
    same(chosen, &Tensor::from([1.0f64, -1.0, 30.0]), &[true]);
    let deeper = move |x: &Tensor| cond(&x.gt(0.0), || fori(0..2, |_, c: &Tensor| above(c) * 0.5, x), || -x);
    same(deeper, &Tensor::from([1.0f64, -1.0, 30.0]), &[true]);
    // An example that is done waits for the others.
    let nested = move |x: &Tensor| while_loop(|c: &Tensor| c.abs().lt(500.0), |c: &Tensor| above(c) * 3.0, x);
    same(nested, &Tensor::from([1.0f64, -1000.0, 3.0]), &[true]);
}

#[test]
fn loops() {
    let f = |(c, w): &(Tensor, Tensor)| fori(0..4, |i: &Tensor, c: &Tensor| (c * w).sin() + i.to_dtype(DType::F64), c);
    same(f, &(numbers(&[5, 3]), numbers(&[5, 3])), &[true, true]);
    // Only the constant: what is carried becomes one for each example.
    same(f, &(numbers(&[3]), numbers(&[5, 3])), &[false, true]);
    same(f, &(numbers(&[5, 3]), numbers(&[3])), &[true, false]);
    let g = |(c, xs): &(Tensor, Tensor)| scan(|c: &Tensor, x: &Tensor| (c * 0.5 + x, (c * x, x.exp())), c, xs);
    same(g, &(numbers(&[5]), numbers(&[5, 4])), &[true, true]);
    same(g, &(numbers(&[]), numbers(&[5, 4])), &[false, true]);
    same(g, &(numbers(&[5]), numbers(&[4])), &[true, false]);
    let r = |(c, xs): &(Tensor, Tensor)| control::scan::reverse(|c: &Tensor, x: &Tensor| (c * 0.5 + x, c * x), c, xs);
    same(r, &(numbers(&[5]), numbers(&[5, 4])), &[true, true]);
}

#[test]
fn every_example_has_its_own_number_of_iterations() {
    // Powers of two above each number, with the number of doublings.
    let f = |limit: &Tensor| {
        let start = (Tensor::from(1i64), Tensor::from(0i64));
        while_loop(|(p, _): &(Tensor, Tensor)| p.le(limit), |(p, n)| (p * 2, n + 1), &start)
    };
    same(f, &Tensor::from([5i64, 0, 1000, 1, 64]), &[true]);
    let g = |(n, x): &(Tensor, Tensor)| fori(Tensor::from(0)..n.clone(), |_, c: &Tensor| c * 0.5 + x, x);
    same(g, &(Tensor::from([0i64, 3, 1, 7]), numbers(&[4, 2])), &[true, true]);
    same(g, &(Tensor::from(3i64), numbers(&[4, 2])), &[false, true]);
    same(g, &(Tensor::from([0i64, 3, 1, 7]), numbers(&[2])), &[true, false]);
}

#[test]
fn nested_and_with_derivatives() {
    let net = |(w, xs): &(Tensor, Tensor)| {
        let step = |h: &Tensor, x: &Tensor| {
            let h = (w.matmul(h) + x).tanh();
            (cond(&x.sum(..).gt(0.0), || h.clone(), || &h * 0.5), h.sum(..))
        };
        let (h, sums) = scan(step, &Tensor::zeros([3], DType::F64), xs);
        h.sum(..) + sums.sum(..)
    };
    let (w, xs) = (numbers(&[3, 3]) * 0.3, numbers(&[4, 5, 3]) * 0.4);
    same(net, &(w.clone(), xs.clone()), &[false, true]);
    same(move |at: &(Tensor, Tensor)| grad(net)(at), &(w.clone(), xs.clone()), &[false, true]);
    same(move |at: &(Tensor, Tensor)| grad(net)(at), &(numbers(&[4, 3, 3]) * 0.2, xs.clone()), &[true, true]);
    // The gradient of a batch is the sum of the gradients.
    let batch = move |(w, xs): &(Tensor, Tensor)| vmap::with((None, 0), 0, net)(&(w.clone(), xs.clone())).sum(..);
    let each = vmap::with((None, 0), 0, grad(net))(&(w.clone(), xs.clone()));
    let whole = grad(batch)(&(w.clone(), xs.clone()));
    close(&whole.0, &each.0.sum(0));
    close(&whole.1, &each.1);
    // Second derivatives, forward over the batch.
    let along = (w.cos(), xs.cos());
    let (_, change) = jvp(grad(batch), &(w.clone(), xs.clone()), &along);
    let by_each = vmap::with(
        Axes::Parts(vec![Axes::Parts(vec![Axes::Common, Axes::At(0)]), Axes::Parts(vec![Axes::Common, Axes::At(0)])]),
        0,
        |(at, along): &((Tensor, Tensor), (Tensor, Tensor))| jvp(grad(net), at, along).1,
    )(&((w.clone(), xs.clone()), along.clone()));
    close(&change.0, &by_each.0.sum(0));
    close(&change.1, &by_each.1);
    // A loop over batches.
    let looped =
        control::map(move |xs: &Tensor| vmap(|x: &Tensor| fori(0..3, |_, c: &Tensor| c * x, x))(xs), &numbers(&[3, 4]));
    let x = numbers(&[3, 4]);
    close(&looped, &(&x * &x * &x * &x));
    // Two batches.
    let two = vmap(|r: &Tensor| vmap(|x: &Tensor| cond(&x.gt(0.0), || x * 2.0, || x - 1.0))(r));
    let want = x.gt(0.0);
    close(&two(&x), &want.where_(&x * 2.0, &x - 1.0));
}
