//! Control flow in control flow and in other traces.

use super::{bits, close, every_way, numbers};
use tracewright::{DType, Tensor, cond, control, fori, jit, scan, switch, while_loop};

#[test]
fn scan_in_scan() {
    // A recurrent network over a batch of sequences, one step at a time: f(outer carry, row) scans the row.
    let w = numbers(&[3, 3]) * 0.5;
    let f = move |xs: &Tensor| {
        let outer = |c: &Tensor, row: &Tensor| {
            let inner = |h: &Tensor, x: &Tensor| {
                let h = w.matmul(h) * x + c;
                (h.clone(), h.sum(..))
            };
            let (h, sums) = scan(inner, c, row);
            (h, sums)
        };
        scan(outer, &numbers(&[3]), xs)
    };
    let xs = numbers(&[4, 5]);
    let (last, sums) = f(&xs);
    let w = numbers(&[3, 3]) * 0.5;
    let (mut c, mut rows) = (numbers(&[3]), Vec::new());
    for i in 0..4 {
        let mut h = c.clone();
        for j in 0..5 {
            h = w.matmul(&h) * xs.select(0, i).select(0, j) + &c;
            rows.push(h.sum(..));
        }
        c = h;
    }
    close(&last, &c);
    close(&sums.reshape([-1]), &tracewright::stack(&rows, 0));
    close(&jit(move |xs: Tensor| f(&xs).0).call(&xs).unwrap(), &c);
}

#[test]
fn everything_in_everything() {
    let f = |x: &Tensor| {
        let step = |c: &Tensor, x: &Tensor| {
            let collatz = while_loop(
                |(n, _): &(Tensor, Tensor)| n.gt(1),
                |(n, k)| (cond(&n.remainder(2).eq(0), || n.floor_divide(2), || n * 3 + 1), k + 1),
                &(x.clone(), Tensor::from(0i64)),
            )
            .1;
            let chosen = switch(
                &collatz.remainder(3),
                &[&|| c + &collatz, &|| fori(0..4, |i: &Tensor, c: &Tensor| c + i, c), &|| c - x],
            );
            (chosen.clone(), (chosen, collatz))
        };
        scan(step, &Tensor::from(0i64), x)
    };
    let (mut c, mut want) = (0i64, Vec::new());
    for x in 1..9i64 {
        let (mut n, mut k) = (x, 0);
        while n > 1 {
            (n, k) = (if n % 2 == 0 { n / 2 } else { 3 * n + 1 }, k + 1);
        }
        c = [c + k, c + 6, c - x][(k % 3) as usize];
        want.push((c, k));
    }
    let (last, (chosen, steps)) = every_way(f, &(Tensor::arange(8, DType::I64) + 1));
    assert_eq!(last.item::<i64>().unwrap(), c);
    let (a, b): (Vec<i64>, Vec<i64>) = want.into_iter().unzip();
    assert_eq!((chosen.to_vec::<i64>().unwrap(), steps.to_vec::<i64>().unwrap()), (a, b));
}

#[test]
fn sixty_four_levels() {
    fn level(n: usize, x: &Tensor) -> Tensor {
        match n {
            0 => x * 0.5,
            _ if n.is_multiple_of(3) => fori(0..1, |_, c: &Tensor| level(n - 1, c) + 1.0, x),
            _ if n % 3 == 1 => cond(&x.sum(..).lt(1e9), || level(n - 1, x) + 1.0, || x.clone()),
            _ => scan(|c: &Tensor, x: &Tensor| (level(n - 1, c) + x, ()), x, &Tensor::ones([1], DType::F64)).0,
        }
    }
    let x = numbers(&[2]);
    let want = &x * 0.5 + 64.0;
    close(&level(64, &x), &want);
    close(&jit(|x: Tensor| level(64, &x)).call(&x).unwrap(), &want);
}

#[test]
fn values_of_every_enclosing_trace_are_captured() {
    let f = |x: &Tensor| {
        let a = x * 2.0;
        let outer = |i: &Tensor, c: &Tensor| {
            let b = &a + i.to_dtype(DType::F64);
            let inner = |d: &Tensor, y: &Tensor| {
                let e = d + &a * y;
                (cond(&e.sum(..).gt(0.0), || &e + &b + c, || &e - &a), y * c.sum(..))
            };
            let (d, ys) = scan(inner, c, x);
            d + ys.sum(..)
        };
        fori(0..3, outer, x)
    };
    let x = numbers(&[4]);
    every_way(f, &x);
    let a = &x * 2.0;
    let mut c = x.clone();
    for i in 0..3 {
        let b = &a + i as f64;
        let (mut d, mut sum) = (c.clone(), 0.0);
        for j in 0..4 {
            let y = x.select(0, j);
            sum += (&y * c.sum(..)).item::<f64>().unwrap();
            let e = &d + &a * &y;
            d = if e.sum(..).item::<f64>().unwrap() > 0.0 { &e + &b + &c } else { &e - &a };
        }
        c = d + sum;
    }
    assert_eq!(bits(&f(&x)), bits(&c));
}

#[test]
fn a_compiled_function_inside() {
    let f = jit(|x: Tensor, y: Tensor| (x * 2.0 + y).tanh());
    let g = move |x: &Tensor| fori(0..3, |_, c: &Tensor| f.call(c, x).unwrap(), x);
    let x = numbers(&[3]);
    let mut want = x.clone();
    for _ in 0..3 {
        want = (want * 2.0 + &x).tanh();
    }
    let got = g(&x);
    assert_eq!(got.shape(), want.shape());
    for (a, b) in got.to_vec::<f64>().unwrap().iter().zip(want.to_vec::<f64>().unwrap()) {
        assert!((a - b).abs() < 1e-14);
    }
    assert_eq!(bits(&jit(move |x: Tensor| g(&x)).call(&x).unwrap()), bits(&got));
}

#[test]
fn loops_on_many_threads() {
    let f = std::sync::Arc::new(jit(|x: Tensor| control::scan::times(50, |c: &Tensor| (c * 0.9 + 1.0, ()), &x).0));
    let want = bits(&f.call(numbers(&[100])).unwrap());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (f, want) = (f.clone(), want.clone());
            std::thread::spawn(move || (0..20).for_each(|_| assert_eq!(bits(&f.call(numbers(&[100])).unwrap()), want)))
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}
