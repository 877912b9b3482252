//! Derivatives through branches and loops, against the loop in Rust that is unrolled.

use super::{close, interpreted, numbers};
use tracewright::options::with_options;
use tracewright::tape::Backward;
use tracewright::{
    Code, DType, Tensor, Tree, cond, control, fori, grad, hessian, hvp, jacfwd, jacrev, jit, jvp, linearize, nn, scan,
    switch, vjp, while_loop,
};

/// A function and the same without control flow of tensors have the same derivatives of every kind: eager, compiled and
/// interpreted. The second one may look at numbers.
fn same<A: Tree>(
    f: impl Fn(&A) -> Tensor + Clone + Send + Sync + 'static,
    unrolled: impl Fn(&A) -> Tensor,
    x: &A,
    reverse: bool,
) {
    close(&f(x), &unrolled(x));
    let along = x.map(&mut |t| if t.dtype().is_float() { (t * 0.7 + 0.3).cos() } else { t.clone() });
    let (y, dy) = jvp(&f, x, &along);
    let (want, dwant) = jvp(&unrolled, x, &along);
    close(&y, &want);
    close(&dy, &dwant);
    let (_, push) = linearize(&f, x);
    close(&push(&along), &dwant);
    let inside = f.clone();
    let compiled = jit(move |x: A, along: A| jvp(&inside, &x, &along));
    close(&compiled.call(x, &along).unwrap_or_else(|e| panic!("{e}")), &(want, dwant));
    if !reverse {
        return;
    }
    let want = grad(|x: &A| unrolled(x))(x);
    close(&grad(&f)(x), &want);
    close(&with_options(interpreted(), || grad(&f)(x)), &want);
    let inside = f.clone();
    let compiled = jit(move |x: A| grad(&inside)(&x));
    close(&compiled.call(x).unwrap_or_else(|e| panic!("{e}")), &want);
    let (_, pull) = vjp(&f, x);
    close(&pull(&Tensor::from(1.0f64)), &want);
    // Forward over reverse, and reverse over reverse.
    close(&hvp(&f, x, &along), &hvp(&unrolled, x, &along));
    let slope = |g: &dyn Fn(&A) -> Tensor, x: &A| {
        let all = grad(|x: &A| g(x))(x);
        let parts = all.leaves().into_iter().filter(|(_, t)| t.dtype().is_float()).map(|(_, t)| (&t * &t).sum(..));
        parts.reduce(|a, b| a + b).unwrap()
    };
    let second = grad(|x: &A| slope(&f, x))(x);
    close(&second, &grad(|x: &A| slope(&unrolled, x))(x));
    let inside = f.clone();
    let compiled = jit(move |x: A| grad(|x: &A| slope(&inside, x))(&x));
    close(&compiled.call(x).unwrap_or_else(|e| panic!("{e}")), &second);
}

#[test]
fn through_cond_and_switch() {
    let yes = |x: &Tensor, w: &Tensor| (x * w).tanh().sum(..);
    let no = |x: &Tensor, w: &Tensor| (x * x * x).sum(..) - w.sum(..);
    for p in [true, false] {
        let f = move |(x, w): &(Tensor, Tensor)| cond(&Tensor::from(p), || yes(x, w), || no(x, w)) * 2.0;
        same(f, |(x, w)| if p { yes(x, w) * 2.0 } else { no(x, w) * 2.0 }, &(numbers(&[3]), numbers(&[3]) + 1.0), true);
    }
    for i in 0..3i64 {
        let f = move |x: &Tensor| {
            let y = x.exp();
            switch(&Tensor::from(i), &[&|| (&y * x).sum(..), &|| y.max(..), &|| Tensor::from(3.0f64)])
        };
        let unrolled = move |x: &Tensor| {
            let y = x.exp();
            match i {
                0 => (&y * x).sum(..),
                1 => y.max(..),
                _ => x.sum(..) * 0.0 + 3.0,
            }
        };
        same(f, unrolled, &numbers(&[3]), true);
    }
    // The predicate depends on what is differentiated.
    let f = |x: &Tensor| cond(&x.sum(..).gt(0.0), || (x * x).sum(..), || x.sum(..));
    let abs = |x: &Tensor| match x.to_vec::<f64>() {
        _ if x.is_traced() => (x * x).sum(..),
        _ => (x * x).sum(..),
    };
    same(f, abs, &numbers(&[3]).abs(), true);
}

#[test]
fn through_fori() {
    let f = |(x, w): &(Tensor, Tensor)| {
        let body = |i: &Tensor, c: &Tensor| (c * w).tanh() + x * i.to_dtype(DType::F64) * 0.1;
        fori(1..5, body, x).sum(..)
    };
    let unrolled = |(x, w): &(Tensor, Tensor)| {
        let mut c = x.clone();
        for i in 1..5 {
            c = (&c * w).tanh() + x * i as f64 * 0.1;
        }
        c.sum(..)
    };
    same(f, unrolled, &(numbers(&[3]) * 0.3, numbers(&[3]) * 0.5), true);
    // None at all: the gradient is that of the beginning.
    same(|x: &Tensor| fori(0..0, |_, c: &Tensor| c.exp(), x).sum(..), |x| x.sum(..) * 1.0, &numbers(&[2]), true);
}

/// A recurrent cell, scanned: weights captured, inputs and outputs along the first axis.
fn network(reverse: bool) -> impl Fn(&(Tensor, Tensor, Tensor)) -> Tensor + Clone + Send + Sync + 'static {
    move |(w, h, xs)| {
        let step = |h: &Tensor, x: &Tensor| {
            let h = (w.matmul(h) + x).tanh();
            (h.clone(), &h * &h)
        };
        let (last, all) = if reverse { control::scan::reverse(step, h, xs) } else { scan(step, h, xs) };
        last.sum(..) + (all * xs).sum(..)
    }
}

#[test]
fn through_scan() {
    for reverse in [false, true] {
        let unrolled = move |(w, h, xs): &(Tensor, Tensor, Tensor)| {
            let (mut h, mut all) = (h.clone(), Tensor::from(0.0f64));
            for i in 0..5 {
                let x = xs.select(0, if reverse { 4 - i } else { i });
                h = (w.matmul(&h) + &x).tanh();
                all += (&h * &h * x).sum(..);
            }
            h.sum(..) + all
        };
        let at = (numbers(&[3, 3]) * 0.3, numbers(&[3]) * 0.2, numbers(&[5, 3]) * 0.4);
        same(network(reverse), unrolled, &at, true);
    }
}

#[test]
fn through_a_scan_that_carries_integers_and_constants() {
    // Counts, an element that is chosen by number, something that passes through, something that is thrown away.
    let f = |(x, k): &(Tensor, Tensor)| {
        let step = |(n, c, same): &(Tensor, Tensor, Tensor), (x, k): &(Tensor, Tensor)| {
            let c = cond(&k.remainder(2).eq(0), || c * x + same, || (c - x).sin());
            ((n + k, c.clone(), same.clone()), (c * n.to_dtype(DType::F64), x.exp()))
        };
        let init = (Tensor::from(1i64), x.sum(..), x.select(0, 0));
        let ((_, c, same), (ys, _)) = scan(step, &init, &(x.clone(), k.clone()));
        c + ys.sum(..) + same
    };
    let k = Tensor::from([2i64, 3, 4, 1]);
    let unrolled = |(x, _): &(Tensor, Tensor)| {
        let (mut n, mut c, same, mut ys) = (1i64, x.sum(..), x.select(0, 0), Tensor::from(0.0f64));
        for (i, k) in [2i64, 3, 4, 1].into_iter().enumerate() {
            let x = x.select(0, i as isize);
            c = if k % 2 == 0 { &c * x + &same } else { (&c - x).sin() };
            ys += &c * n as f64;
            n += k;
        }
        c + ys + same
    };
    same(f, unrolled, &(numbers(&[4]) * 0.5, k), true);
}

#[test]
fn nested() {
    let f = |(w, xs): &(Tensor, Tensor)| {
        let outer = |c: &Tensor, row: &Tensor| {
            let inner = |h: &Tensor, x: &Tensor| {
                let h = (h * w + x * c).tanh();
                (cond(&x.gt(0.0), || h.clone(), || &h * 0.5), h.sum(..))
            };
            let (h, sums) = scan(inner, c, row);
            (fori(0..2, |_, h: &Tensor| h * w, &h), sums.sum(..))
        };
        let (c, sums) = scan(outer, &(w * 2.0), xs);
        c.sum(..) + sums.sum(..)
    };
    let values = (numbers(&[2, 3]) * 0.3).to_vec::<f64>().unwrap();
    let unrolled = move |(w, xs): &(Tensor, Tensor)| {
        let (mut c, mut total) = (w * 2.0, Tensor::from(0.0f64));
        for i in 0..2 {
            let mut h = c.clone();
            for j in 0..3 {
                let x = xs.select(0, i).select(0, j);
                h = (h * w + x * &c).tanh();
                total += h.sum(..);
                if values[(3 * i + j) as usize] <= 0.0 {
                    h *= 0.5;
                }
            }
            c = h * w * w;
        }
        c.sum(..) + total
    };
    same(f, unrolled, &(numbers(&[2]) * 0.4, numbers(&[2, 3]) * 0.3), true);
}

#[test]
fn forward_through_while_loop() {
    // Newton's method for a square root, and a loop over numbers that are tensors.
    let root = |x: &Tensor| {
        let step = |(r, n): &(Tensor, Tensor)| ((r + x / r) * 0.5, n + 1);
        while_loop(|(_, n): &(Tensor, Tensor)| n.lt(6), step, &(x.clone(), Tensor::from(0i64))).0
    };
    let unrolled = |x: &Tensor| {
        let mut r = x.clone();
        for _ in 0..6 {
            r = (&r + x / &r) * 0.5;
        }
        r
    };
    let x = Tensor::from(2.0f64);
    same(root, unrolled, &x, false);
    close(&jacfwd(root)(&x), &Tensor::from(0.5 / 2f64.sqrt()));
    let counted =
        |x: &Tensor| fori(Tensor::from(0)..Tensor::from(3), |i: &Tensor, c: &Tensor| c * x + i.to_dtype(DType::F64), x);
    let unrolled = |x: &Tensor| ((x * x + 0.0) * x + 1.0) * x + 2.0;
    same(counted, unrolled, &x, false);
}

#[test]
fn reverse_through_while_loop_is_an_error() {
    let double = |x: &Tensor| while_loop(|c: &Tensor| c.lt(100.0), |c: &Tensor| c * 2.0, x);
    let line = line!() - 1;
    let x = Tensor::from(3.0f64);
    let check = |e: tracewright::Error| {
        assert_eq!(e.code(), Code::Gradient);
        assert_eq!(e.rule(), "a loop of which the number of iterations is not known has no gradient in reverse mode");
        assert_eq!(e.legal(), "scan, or fori over numbers that are no tensors; or forward mode (jvp, jacfwd)");
        assert!(e.location().unwrap().to_string().contains(&format!("derivatives.rs:{line}:")), "{e}");
        assert!(e.to_string().contains("asked for at tests/control/derivatives.rs"), "{e}");
    };
    check(grad(double)(&x).item::<f64>().unwrap_err());
    check(jit(move |x: Tensor| grad(double)(&x)).call(&x).unwrap_err());
    check(jacrev(double)(&x).item::<f64>().unwrap_err());
    // Inside a loop of which the number is known.
    check(grad(move |x: &Tensor| fori(0..2, |_, c: &Tensor| double(c) * 0.1, x))(&x).item::<f64>().unwrap_err());
    check(grad(move |x: &Tensor| cond(&x.gt(0.0), || double(x), || x.clone()))(&x).item::<f64>().unwrap_err());
    // No gradient goes through it: there is none to ask for.
    let stopped = move |x: &Tensor| x * double(&x.detach());
    assert_eq!(grad(stopped)(&x).item::<f64>().unwrap(), 192.0);
    let integers = |x: &Tensor| {
        let n = while_loop(|n: &Tensor| n.lt(10), |n: &Tensor| n * 2, &x.to_dtype(DType::I64));
        x * n.to_dtype(DType::F64)
    };
    assert_eq!(grad(integers)(&x).item::<f64>().unwrap(), 12.0);
}

#[test]
fn cells_in_a_loop_that_is_differentiated() {
    let count = nn::Buffer::new(Tensor::from(0.0f64));
    let held = count.clone();
    let f = move |x: &Tensor| {
        let step = |c: &Tensor, x: &Tensor| {
            held.set(held.get() + x).unwrap();
            (c * x + held.get(), ())
        };
        scan(step, &Tensor::from(1.0f64), x).0
    };
    let x = numbers(&[4]);
    let unrolled = |x: &Tensor| {
        let (mut held, mut c) = (Tensor::from(0.0f64), Tensor::from(1.0f64));
        for i in 0..4 {
            let x = x.select(0, i);
            held = &held + &x;
            c = c * &x + &held;
        }
        c
    };
    close(&grad(&f)(&x), &grad(unrolled)(&x));
    close(&count.get(), &x.sum(..));
}

#[test]
fn jacobians_and_hessians() {
    let f = |x: &Tensor| {
        scan(
            |c: &Tensor, x: &Tensor| {
                let c = (c * x).sin() + x;
                (c.clone(), c)
            },
            &x.sum(..),
            x,
        )
        .1
    };
    let unrolled = |x: &Tensor| {
        let (mut c, mut all) = (x.sum(..), Vec::new());
        for i in 0..3 {
            let x = x.select(0, i);
            c = (c * &x).sin() + x;
            all.push(c.clone());
        }
        tracewright::stack(&all, 0)
    };
    let x = numbers(&[3]) * 0.4;
    close(&jacfwd(f)(&x), &jacfwd(unrolled)(&x));
    close(&jacrev(f)(&x), &jacfwd(unrolled)(&x));
    let g = move |x: &Tensor| (f(x) * x).sum(..);
    close(&hessian(g)(&x), &hessian(move |x: &Tensor| (unrolled(x) * x).sum(..))(&x));
}

#[test]
fn the_tape() {
    let at = (numbers(&[3, 3]) * 0.3, numbers(&[3]) * 0.2, numbers(&[5, 3]) * 0.4);
    let want = grad(network(false))(&at);
    let tracked = at.map(&mut |t| t.clone().requires_grad());
    network(false)(&tracked).backward().unwrap();
    let got = (tracked.0.grad().unwrap(), tracked.1.grad().unwrap(), tracked.2.grad().unwrap());
    close(&got, &want);
    let x = Tensor::from(3.0f64).requires_grad();
    let y = while_loop(|c: &Tensor| c.lt(100.0), |c: &Tensor| c * 2.0, &x);
    // A gradient past the loop alone would be wrong.
    for loss in [&y * 1.0, &y * &x] {
        let twice = Backward::of(&[&loss]).create_graph().by(&[&x]).unwrap_err();
        for e in [twice, loss.backward().unwrap_err()] {
            assert_eq!(
                e.rule(),
                "a loop of which the number of iterations is not known has no gradient in reverse mode"
            );
        }
        assert!(x.grad().is_none());
    }
    // By what does not come through the loop there is one.
    let w = Tensor::from(2.0f64).requires_grad();
    let found = Backward::of(&[&(&w * &w + &y)]).by(&[&w]).unwrap();
    close(found[0].as_ref().unwrap(), &Tensor::from(4.0f64));
}

#[test]
fn a_long_scan_is_differentiated_in_one_body() {
    let steps = |n: usize| {
        let f = jit(|w: Tensor, h: Tensor, xs: Tensor| grad(network(false))(&(w, h, xs)));
        let lowered = f.lower(numbers(&[3, 3]), numbers(&[3]), numbers(&[n, 3])).unwrap();
        let program = lowered.executable().program().unwrap();
        (program.kernels.len(), program.all_steps().len())
    };
    assert_eq!(steps(200), steps(4));
}

#[test]
fn a_body_that_computes_nothing() {
    // The carried value comes out three times: its gradients add up in a body without ops.
    let f = |x: &Tensor| {
        let (c, (a, b)) = control::scan::times(3, |c: &Tensor| (c.clone(), (c.clone(), c.clone())), x);
        c.sum(..) + a.sum(..) * 2.0 + b.sum(..)
    };
    same(f, |x| x.sum(..) * 10.0, &numbers(&[2]), true);
    let g = |x: &Tensor| {
        let (a, b) = cond(&Tensor::from(true), || (x.clone(), x.clone()), || (x.clone(), x.clone()));
        a.sum(..) + b.sum(..)
    };
    same(g, |x| x.sum(..) * 2.0, &numbers(&[2]), true);
}
