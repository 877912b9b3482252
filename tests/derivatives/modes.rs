//! vjp, jvp and linearize of functions of trees, beside each other and beside finite differences.

use crate::{close, dot, f64s};
use tracewright::events::{Counters, Event};
use tracewright::{Code, DType, Generator, Shape, Tensor, jit, jvp, keepdims, linearize, nn, vjp};

type Pair = (Tensor, Tensor);
type Named = (&'static str, fn(&Pair) -> Pair);
type Pullback = Box<dyn Fn(&Tensor) -> Tensor + Send>;

/// Functions of two matrices to two tensors.
fn functions() -> Vec<Named> {
    vec![
        ("products", |(a, b)| (a.matmul(&b.t()).tanh(), (a * b).sum(0))),
        ("softmax", |(a, b)| (a.softmax(-1) * b, a.logsumexp(0))),
        ("views", |(a, b)| (a.t().reshape([6, 2]).slice(0, 1..5), b.flip(&[1]).permute(&[1, 0]) * 2.0)),
        ("scans", |(a, b)| (a.cumsum(1) * b.cumprod(0), (a + b).cummax(1).0)),
        ("choice", |(a, b)| (a.gt(0.0).where_(a.exp(), b.sin()), a.maximum(b).pow(2.0))),
        ("deviations", |(a, b)| (a / (a.square().mean(keepdims(1)) + 1e-5).sqrt(), b.var(1, 1))),
        ("constant", |(a, _)| (a * 3.0, Tensor::ones([2], DType::F64))),
        ("gather", |(a, b)| (a.index_select(1, &Tensor::from([3i64, 0, 0])), b.sort(1, false).0)),
    ]
}

fn normal(seed: u64, shape: impl Into<Shape>) -> Tensor {
    Generator::new(seed).normal(shape, 0.0, 1.0).to_dtype(DType::F64)
}

fn at() -> (Pair, Pair) {
    ((normal(1, [3, 4]), normal(2, [3, 4])), (normal(3, [3, 4]), normal(4, [3, 4])))
}

#[test]
fn modes_agree_with_each_other_and_with_differences() {
    let ((a, b), (ta, tb)) = at();
    for (name, f) in functions() {
        println!("{name}");
        let x = (a.clone(), b.clone());
        let (y, dy) = jvp(f, &x, &(ta.clone(), tb.clone()));
        let (z, pullback) = vjp(f, &x);
        assert_eq!((f64s(&y.0), f64s(&y.1)), (f64s(&z.0), f64s(&z.1)));
        let (w, push) = linearize(f, &x);
        assert_eq!((f64s(&y.0), f64s(&y.1)), (f64s(&w.0), f64s(&w.1)));
        let pushed = push(&(ta.clone(), tb.clone()));
        close(&f64s(&pushed.0), &f64s(&dy.0), 1e-12);
        close(&f64s(&pushed.1), &f64s(&dy.1), 1e-12);

        let ct = (normal(5, y.0.shape()), normal(6, y.1.shape()));
        let g = pullback(&ct);
        let (forward, reverse) = (dot(&dy.0, &ct.0) + dot(&dy.1, &ct.1), dot(&g.0, &ta) + dot(&g.1, &tb));
        close(&[forward], &[reverse], 1e-10);

        let h = 1e-6;
        let moved = |h: f64| f(&(&a + &ta * h, &b + &tb * h));
        let (up, down) = (moved(h), moved(-h));
        close(&f64s(&((up.0 - down.0) / (2.0 * h))), &f64s(&dy.0), 1e-6);
        close(&f64s(&((up.1 - down.1) / (2.0 * h))), &f64s(&dy.1), 1e-6);
    }
}

#[test]
fn inside_and_outside_of_compiled_functions_they_agree() {
    let (x, t) = at();
    for (name, f) in functions() {
        println!("{name}");
        let all = move |x: &Pair, t: &Pair| {
            let (y, dy) = jvp(f, x, t);
            let (_, pullback) = vjp(f, x);
            let (_, push) = linearize(f, x);
            (pullback(&y), pullback(&dy), push(t), dy)
        };
        let eager = all(&x, &t);
        let compiled = jit(move |x: Pair, t: Pair| all(&x, &t)).call(&x, &t).unwrap();
        for (a, b) in [(eager.0, compiled.0), (eager.1, compiled.1), (eager.2, compiled.2), (eager.3, compiled.3)] {
            close(&f64s(&a.0), &f64s(&b.0), 1e-12);
            close(&f64s(&a.1), &f64s(&b.1), 1e-12);
        }
    }
}

#[test]
fn a_pullback_is_called_often_and_compiles_once() {
    let x = Tensor::from([1.0f32, 2.0]);
    let (_, pullback) = vjp(|x: &Tensor| x.exp() * x, &x);
    pullback(&x);
    let cotangents = [[3.0f32, 4.0], [0.0, 1.0]].map(Tensor::from);
    let (_, counts) = Counters::of(|| cotangents.iter().for_each(|ct| drop(pullback(ct).to_vec::<f32>().unwrap())));
    assert_eq!(counts[Event::CacheMiss], 0, "{counts:?}");
    // In another trace it is recorded there.
    let f = jit(move |ct: Tensor| pullback(&ct));
    let (e, ct) = (x.exp().to_vec::<f32>().unwrap(), Tensor::from([1.0f32, 1.0]));
    let want = [2.0 * e[0], 3.0 * e[1]];
    assert!(f.call(&ct).unwrap().to_vec::<f32>().unwrap().iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn a_linear_map_runs_the_primal_part_once() {
    let draws = Generator::new(0);
    let x = Tensor::from([1.0f32, 2.0]);
    let f = |x: &Tensor| x * draws.uniform([2], 1.0, 2.0);
    let (y, push) = linearize(f, &x);
    let factors = (&y / &x).to_vec::<f32>().unwrap();
    for _ in 0..2 {
        assert_eq!(push(&Tensor::from([1.0f32, 1.0])).to_vec::<f32>().unwrap(), factors);
    }
    // The generator moved on by one draw.
    assert_ne!((draws.uniform([2], 1.0, 2.0) * &x).to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());
}

#[test]
fn cells_are_read_and_written_once() {
    let count = nn::Buffer::new(Tensor::from(0.0f32));
    let f = |x: &Tensor| {
        count.set(count.get() + 1.0).unwrap();
        x * x * count.get()
    };
    let x = Tensor::from(3.0f32);
    let (y, pullback) = vjp(f, &x);
    assert_eq!(y.item::<f32>().unwrap(), 9.0);
    assert_eq!(pullback(&Tensor::from(1.0f32)).item::<f32>().unwrap(), 6.0);
    assert_eq!(pullback(&Tensor::from(2.0f32)).item::<f32>().unwrap(), 12.0);
    assert_eq!(count.get().item::<f32>().unwrap(), 1.0);
    let (_, dy) = jvp(f, &x, &Tensor::from(1.0f32));
    assert_eq!((dy.item::<f32>().unwrap(), count.get().item::<f32>().unwrap()), (12.0, 2.0));
    let (_, push) = linearize(f, &x);
    assert_eq!((push(&x).item::<f32>().unwrap(), count.get().item::<f32>().unwrap()), (54.0, 3.0));
}

#[test]
fn integers_have_zeros_and_are_not_looked_at() {
    let f = |(x, n): &(Tensor, Tensor)| (x * n.to_dtype(DType::F32), n + 1);
    let at = (Tensor::from(2.0f32), Tensor::from(3i64));
    let (y, pullback) = vjp(f, &at);
    assert_eq!(y.1.item::<i64>().unwrap(), 4);
    let g = pullback(&(Tensor::from(1.0f32), Tensor::from("no cotangent".len() as i64)));
    assert_eq!((g.0.item::<f32>().unwrap(), g.1.item::<i64>().unwrap()), (3.0, 0));
    let (_, dy) = jvp(f, &at, &(Tensor::from(1.0f32), Tensor::from(7i64)));
    assert_eq!((dy.0.item::<f32>().unwrap(), dy.1.item::<i64>().unwrap()), (3.0, 0));
}

#[test]
fn one_tensor_at_two_places() {
    let x = Tensor::from(3.0f32);
    let f = |(a, b): &(Tensor, Tensor)| a * b * b;
    let tied = (x.clone(), x.clone());
    // Reverse mode sums over the places, as gradients do; tangents are each place's own.
    let (_, pullback) = vjp(f, &tied);
    let g = pullback(&Tensor::from(1.0f32));
    assert_eq!((g.0.item::<f32>().unwrap(), g.1.item::<f32>().unwrap()), (27.0, 27.0));
    let along = |a: f32, b: f32| jvp(f, &tied, &(Tensor::from(a), Tensor::from(b))).1.item::<f32>().unwrap();
    assert_eq!((along(1.0, 0.0), along(0.0, 1.0), along(1.0, 1.0)), (9.0, 18.0, 27.0));
}

#[test]
fn one_value_at_two_places_of_the_result() {
    let f = |x: &Tensor| {
        let y = x * x;
        (y.clone(), x * 5.0, y)
    };
    let (_, pullback) = vjp(f, &Tensor::from(3.0f64));
    let ct = (Tensor::from(1.0f64), Tensor::from(100.0f64), Tensor::from(10.0f64));
    assert_eq!(f64s(&pullback(&ct)), [11.0 * 6.0 + 500.0]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let x = Tensor::from([1.0f32, 2.0]);
    let line = line!() + 1;
    let (_, pullback) = vjp(|x: &Tensor| x * 2.0, &x);
    let e = pullback(&Tensor::from([1.0f32, 2.0, 3.0])).err().unwrap();
    assert_eq!((e.code(), e.location().unwrap().line), (Code::Gradient, line));
    assert_eq!(e.headline(), "error[gradient]: vjp: the cotangent has type f32[3]");
    assert_eq!(e.legal(), "f32[2]");
    let e = jvp(|x: &Tensor| (x * 2.0, x + 1.0), &x, &Tensor::from([1i64, 2])).1.0.err().unwrap();
    assert_eq!(e.headline(), "error[gradient]: jvp: the tangent has type i64[2]");
    assert_eq!(e.location().unwrap().line, line!() - 2);
    let e = jvp(|x: &Tensor| x + 1, &Tensor::from(1i64), &Tensor::from(1i64)).1.err().unwrap();
    assert_eq!(e.headline(), "error[gradient]: jvp: no leaf of the argument is a float, such as i64[]");
    // An op that fails in the function is named with its own line, on every leaf and by the pullback.
    let (y, pullback) = vjp(|x: &Tensor| (x + Tensor::from([1.0f32; 3]), x * 2.0), &x);
    for e in [y.0.err().unwrap(), y.1.err().unwrap(), pullback(&(x.clone(), x.clone())).err().unwrap()] {
        assert_eq!((e.op(), e.location().unwrap().line), ("add", line!() - 2));
    }
    // Trees of another size.
    let (_, pullback) = vjp(|x: &Tensor| vec![x.clone(), x * 2.0], &x);
    let e = pullback(&vec![x.clone()]).err().unwrap();
    assert_eq!(e.headline(), "error[gradient]: vjp: the cotangent has 1 leaves");
}

#[test]
fn a_pullback_of_an_ended_trace_is_refused() {
    use std::sync::Mutex;
    static KEPT: Mutex<Option<Pullback>> = Mutex::new(None);
    let f = jit(|x: Tensor| {
        let (y, pullback) = vjp(|x: &Tensor| x.exp(), &x);
        *KEPT.lock().unwrap() = Some(Box::new(pullback));
        y
    });
    f.call(Tensor::from(1.0f32)).unwrap();
    let e = KEPT.lock().unwrap().as_ref().unwrap()(&Tensor::from(1.0f32)).err().unwrap();
    assert_eq!(e.code(), Code::Trace, "{e}");
}
