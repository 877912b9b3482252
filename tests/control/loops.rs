//! What is compiled, and how often.

use super::numbers;
use tracewright::jit::Lowered;
use tracewright::{DType, Dim, Tensor, cond, control, events, fori, jit, scan};

/// Kernels, steps and bytes of machine code.
fn size(lowered: &Lowered) -> (usize, usize, usize) {
    let program = lowered.executable().program().expect("compiled");
    let code = (0..program.kernels.len()).filter_map(|i| lowered.executable().kernel(i)).map(|k| k.code_size()).sum();
    (program.kernels.len(), program.all_steps().len(), code)
}

#[test]
fn a_long_loop_is_as_much_code_as_a_short_one() {
    let scanned = |n: usize| {
        let step = |c: &Tensor, x: &Tensor| ((c * 0.5 + x).tanh(), c * x);
        let f = jit(move |init: Tensor, xs: Tensor| scan(step, &init, &xs));
        size(&f.lower(numbers(&[3]), numbers(&[n, 3])).unwrap())
    };
    assert_eq!(scanned(1000), scanned(3));
    let counted = |n: i64| {
        let f = jit(move |x: Tensor| fori(0..n, |i: &Tensor, c: &Tensor| c * 0.5 + i.to_dtype(DType::F64), &x));
        size(&f.lower(numbers(&[3])).unwrap())
    };
    assert_eq!(counted(1_000_000), counted(2));
}

#[test]
fn a_body_fuses() {
    let step = |c: &Tensor, x: &Tensor| {
        let next = ((c * 0.5 + x).tanh() * 2.0 - 1.0).exp();
        (next.clone(), next * 3.0)
    };
    let f = jit(move |init: Tensor, xs: Tensor| scan(step, &init, &xs));
    let (kernels, ..) = size(&f.lower(numbers(&[3]), numbers(&[8, 3])).unwrap());
    assert_eq!(kernels, 1);
    let g = jit(|p: Tensor, x: Tensor| cond(&p, || (&x * 2.0).exp() + 1.0, || (&x - 1.0).tanh() * 3.0));
    let (kernels, ..) = size(&g.lower(Tensor::from(true), numbers(&[3])).unwrap());
    assert_eq!(kernels, 2);
}

#[test]
fn a_range_of_tensors_serves_every_number() {
    let f = jit(|n: Tensor, x: Tensor| fori(Tensor::from(0)..n, |_, c: &Tensor| c * 2.0, &x));
    for n in [0i64, 1, 5] {
        let out = f.call(Tensor::from(n), Tensor::from(1.0f64)).unwrap();
        assert_eq!(out.item::<f64>().unwrap(), 2f64.powi(n as i32));
    }
    assert_eq!(f.stats().traces, 1);
    let g = jit(|p: Tensor| cond(&p, || Tensor::from(1.0f64), || Tensor::from(2.0f64)));
    for (p, want) in [(true, 1.0), (false, 2.0), (true, 1.0)] {
        assert_eq!(g.call(Tensor::from(p)).unwrap().item::<f64>().unwrap(), want);
    }
    assert_eq!(g.stats().traces, 1);
}

#[test]
fn eager_loops_compile_once_for_their_structure() {
    let run = |xs: &Tensor, scale: &Tensor| {
        scan(|c: &Tensor, x: &Tensor| (c * scale + x, ()), &Tensor::from(0.0f64), xs).0.item::<f64>().unwrap()
    };
    let xs = numbers(&[6]);
    let mut want = 0.0;
    for x in xs.to_vec::<f64>().unwrap() {
        want = want * 0.5 + x;
    }
    assert_eq!(run(&xs, &Tensor::from(0.5f64)), want);
    let before = events::Counters::thread();
    assert_ne!(run(&xs, &Tensor::from(0.25f64)), want);
    assert_ne!(run(&(&xs + 1.0), &Tensor::from(0.5f64)), want);
    let after = events::Counters::thread();
    // The sum may be compiled, the loop is not.
    let compiled = after.since(&before)[events::Event::Compile];
    assert!(compiled <= 1, "{compiled}");
}

#[test]
fn the_number_of_iterations_may_be_symbolic() {
    let f = jit(|init: Tensor, xs: Tensor| {
        let (c, ys) = scan(|c: &Tensor, x: &Tensor| (c * 0.5 + x, c + x), &init, &xs);
        let n = xs.dim(0);
        let counted = fori(Dim::from(0)..n.clone(), |i: &Tensor, c: &Tensor| c + i, &Tensor::from(0i64));
        let later = fori(Dim::from(2)..n.clone() + 2, |i: &Tensor, c: &Tensor| c + i, &Tensor::from(0i64));
        let timed = control::scan::times(n, |c: &Tensor| (c * 2.0, c.clone()), &Tensor::from(1.0f64));
        (c, ys, counted, later, timed)
    })
    .dynamic("arguments.1", 0, "N", 0..=64);
    for n in [4usize, 1, 9, 0] {
        let (init, xs) = (numbers(&[3]), numbers(&[n, 3]));
        let (c, ys, counted, later, (last, powers)) = f.call(&init, &xs).unwrap();
        let (mut want, mut rows) = (init.clone(), Vec::new());
        for i in 0..n as isize {
            let x = xs.select(0, i);
            rows.push(&want + &x);
            want = want * 0.5 + x;
        }
        assert_eq!(c.to_vec::<f64>().unwrap(), want.to_vec::<f64>().unwrap());
        assert_eq!(ys.shape().to_string(), format!("[{n}, 3]"));
        if n > 0 {
            let rows = tracewright::stack(&rows, 0);
            assert_eq!(ys.to_vec::<f64>().unwrap(), rows.to_vec::<f64>().unwrap());
        }
        let sum = (n * n.saturating_sub(1) / 2) as i64;
        assert_eq!(counted.item::<i64>().unwrap(), sum);
        assert_eq!(later.item::<i64>().unwrap(), sum + 2 * n as i64);
        assert_eq!(last.item::<f64>().unwrap(), 2f64.powi(n as i32));
        assert_eq!(powers.shape().to_string(), format!("[{n}]"));
    }
    assert_eq!(f.stats().traces, 1);
}

#[test]
fn every_op_has_its_line() {
    let f = jit(|x: Tensor| fori(0..3, |i: &Tensor, c: &Tensor| c * 2.0 + i.to_dtype(DType::F64), &x));
    let line = line!() - 1;
    let text = f.lower(numbers(&[2])).unwrap().ir();
    // The origin of an op with regions stands behind them.
    for op in text.lines().filter(|l| l.contains(" = ") && !l.ends_with('{') || l.contains("  }")) {
        assert!(op.contains(&format!("tests/control/loops.rs:{line}:")), "{op}\n{text}");
    }
    let scoped =
        jit(|x: Tensor| tracewright::scope("outer", || scan(|c: &Tensor, x: &Tensor| (c + x, ()), &x.sum(..), &x).0));
    let text = scoped.lower(numbers(&[2])).unwrap().ir();
    assert_eq!(text.matches("outer").count(), 3, "{text}");
}
