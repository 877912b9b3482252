//! Every misuse: its message, its line, and that it is an error value and no panic.

use super::numbers;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tracewright::{Code, DType, Error, Tensor, Tree, cond, control, fori, grad, jit, scan, switch, while_loop};

/// The error on the leaves of a result: the same on all of them, and at that line of this file.
fn error(tree: impl Tree, line: u32) -> Error {
    let leaves = tree.leaves();
    let e = leaves[0].1.err().expect("an error");
    for (path, t) in &leaves {
        assert_eq!(t.err().expect(path).to_string(), e.to_string());
    }
    let place = e.location().expect("a line").to_string();
    assert!(place.contains(&format!("tests/control/errors.rs:{line}:")), "{line}: {e}");
    e
}

#[test]
fn the_choice() {
    let x = || Tensor::from(1.0f32);
    let e = error(cond(&numbers(&[2]), x, x), line!());
    assert_eq!(e.headline(), "error[rank]: cond(f64[2]): the predicate has shape [2]");
    assert_eq!(e.legal(), "a scalar of bools or numbers, such as bool[]");
    let e = error(switch(&numbers(&[1]), &[&x]), line!());
    assert_eq!(e.headline(), "error[rank]: switch(f64[1]): the index has shape [1]");
    let e = error(switch(&Tensor::from(1.0f32), &[&x, &x]), line!());
    assert_eq!(e.headline(), "error[dtype]: switch(f32[]): the index has dtype f32");
    let e = error(switch(&Tensor::from(true), &[&x, &x]), line!());
    assert_eq!(e.headline(), "error[dtype]: switch(bool[]): the index has dtype bool");
    let none = catch_unwind(|| switch::<Tensor>(&Tensor::from(1i64), &[])).unwrap_err();
    assert!(none.downcast_ref::<String>().unwrap().contains("there are no functions"));
    let e = jit(|i: Tensor| switch::<Tensor>(&i, &[])).call(Tensor::from(1i64)).unwrap_err();
    assert_eq!(e.headline(), "error[argument]: switch: there are no functions");
}

/// On a thread with so many bytes of stack.
fn with_stack<R: Send + 'static>(bytes: usize, f: impl FnOnce() -> R + Send + 'static) -> std::thread::Result<R> {
    std::thread::Builder::new().stack_size(bytes).spawn(f).unwrap().join()
}

#[test]
fn functions_that_call_themselves_without_end() {
    fn factorial(n: &Tensor) -> Tensor {
        cond(&n.le(1.0), || n * 0.0 + 1.0, || n * factorial(&(n - 1.0)))
    }
    fn fibonacci(n: &Tensor) -> Tensor {
        cond(&n.le(1.0), || n.clone(), || fibonacci(&(n - 1.0)) + fibonacci(&(n - 2.0)))
    }
    fn looped(n: &Tensor) -> Tensor {
        scan(|c: &Tensor, x: &Tensor| (c * looped(x), ()), n, &n.reshape([1])).0
    }
    fn sloped(n: &Tensor) -> Tensor {
        grad(|n: &Tensor| sloped(n) * n)(n)
    }
    let at = || Tensor::from(3.0f64);
    let said = |message: &str| {
        assert!(message.contains("functions are traced, one inside of another"), "{message}");
        assert!(
            message.contains("at tests/control/errors.rs:") && message.contains("all branches are traced"),
            "{message}"
        );
    };
    for stack in [1 << 20, 64 << 20] {
        for f in [factorial, fibonacci, looped] {
            said(&with_stack(stack, move || f(&at()).err().unwrap().to_string()).unwrap());
            let error = with_stack(stack, move || jit(move |n: Tensor| f(&n)).call(at()).unwrap_err().to_string());
            said(&error.unwrap());
        }
        said(&with_stack(stack, move || sloped(&at()).err().unwrap().to_string()).unwrap());
    }
    // One that ends.
    fn halved(n: usize, x: &Tensor) -> Tensor {
        if n == 0 { x.sin() } else { cond(&x.gt(0.0), || halved(n - 1, &(x * 0.5)), || x.clone()) }
    }
    let y = with_stack(8 << 20, move || halved(600, &at()).to_vec::<f64>().unwrap()).unwrap();
    assert!(y[0] < 1e-100, "{y:?}");
}

#[test]
fn branches_that_differ() {
    let p = Tensor::from(true);
    let dtypes =
        || cond(&p, || (Tensor::from(1.0f32), Tensor::from(1i64)), || (Tensor::from(2.0f64), Tensor::from(1i64)));
    let e = error(dtypes(), line!() - 1);
    assert_eq!(
        e.headline(),
        "error[dtype]: cond: result.0 is f32[] where the predicate holds and f64[] where it does not"
    );
    assert_eq!(e.legal(), "one dtype; convert, such as with to_dtype(DType::F32)");
    let e = error(cond(&p, || numbers(&[2]), || numbers(&[3])), line!());
    assert_eq!(
        e.headline(),
        "error[shape]: cond: result is f64[2] where the predicate holds and f64[3] where it does not"
    );
    let e = error(cond(&p, || numbers(&[2]), || numbers(&[2, 1])), line!());
    assert_eq!(e.code(), Code::Rank);
    let e = error(cond(&p, || vec![numbers(&[2])], || vec![numbers(&[2]), numbers(&[2])]), line!());
    assert_eq!(
        e.headline(),
        "error[argument]: cond: result is 1 entry where the predicate holds and 2 entries where it does not"
    );
    let e = error(cond(&p, || (numbers(&[2]), 1usize), || (numbers(&[2]), 2usize)), line!());
    assert_eq!(e.rule(), "result.1 is 1 where the predicate holds and 2 where it does not");
    let i = Tensor::from(0i64);
    let e = error(switch(&i, &[&|| numbers(&[2]), &|| numbers(&[2]), &|| numbers(&[4])]), line!());
    assert_eq!(e.rule(), "result is f64[2] from function 0 and f64[4] from function 2");
}

#[test]
fn what_is_carried_and_changes() {
    #[derive(Tree)]
    struct Layer {
        weight: Tensor,
        steps: usize,
    }
    let init = (Layer { weight: numbers(&[3]), steps: 1 }, Tensor::from(1.0f32));
    let body = |_: &Tensor, (l, c): &(Layer, Tensor)| {
        (Layer { weight: l.weight.to_dtype(DType::F32), steps: l.steps }, c.clone())
    };
    let e = error(fori(0..3, body, &init), line!());
    assert_eq!(e.headline(), "error[dtype]: fori: carry.0.weight is f64[3] at first and f32[3] after an iteration");
    assert_eq!(e.legal(), "one dtype; convert, such as with to_dtype(DType::F64)");
    let e = error(fori(Tensor::from(0)..Tensor::from(3), body, &init), line!());
    assert_eq!(e.rule(), "carry.0.weight is f64[3] at first and f32[3] after an iteration");
    let body = |(l, c): &(Layer, Tensor)| (Layer { weight: l.weight.clone(), steps: l.steps + 1 }, c.clone());
    let e = error(while_loop(|(_, c): &(Layer, Tensor)| c.lt(3.0), body, &init), line!());
    assert_eq!(e.headline(), "error[argument]: while_loop: carry.0.steps is 1 at first and 2 after an iteration");
    // A dtype that grows by promotion.
    let wide = numbers(&[4]);
    let step = |c: &Tensor, x: &Tensor| (c + x, ());
    let e = error(scan(step, &Tensor::from(0.0f32), &wide), line!());
    assert_eq!(e.headline(), "error[dtype]: scan: carry is f32[] at first and f64[] after an iteration");
    let grows = |c: &Vec<Tensor>, x: &Tensor| ([&c[..], std::slice::from_ref(x)].concat(), x.clone());
    let e = error(scan(grows, &vec![Tensor::from(0.0f64)], &wide), line!());
    assert_eq!(e.rule(), "carry is 1 entry at first and 2 entries after an iteration");
    let e = error(scan(|c: &Tensor, x: &Tensor| (c + x, ()), &numbers(&[1, 1]), &numbers(&[3, 2])), line!());
    assert_eq!(e.headline(), "error[shape]: scan: carry is f64[1, 1] at first and f64[1, 2] after an iteration");
}

#[test]
fn conditions() {
    let one = Tensor::from(1.0f32);
    let e = error(while_loop(|c: &Tensor| c - 1.0, |c: &Tensor| c - 1.0, &one), line!());
    assert_eq!(e.headline(), "error[dtype]: while_loop: the condition yields f32[]");
    assert_eq!(e.legal(), "bool[]");
    let e = error(while_loop(|c: &Tensor| c.gt(0.0), |c: &Tensor| c - 1.0, &numbers(&[2])), line!());
    assert_eq!(e.headline(), "error[rank]: while_loop: the condition yields bool[2]");
    let endless = while_loop(|_: &Vec<Tensor>| Tensor::from(true), |_| vec![], &vec![]);
    assert!(endless.is_empty());
    // There is no leaf to hold the error, so it is an event and the loop does not run.
}

#[test]
fn what_a_scan_runs_over() {
    let step = |c: &Tensor, (a, b): &(Tensor, Tensor)| (c + a.sum(..) + b.sum(..), a.clone());
    let zero = Tensor::from(0.0f64);
    let e = error(scan(step, &zero, &(numbers(&[3]), numbers(&[4, 2]))), line!());
    assert_eq!(e.headline(), "error[shape]: scan: the first extents of xs.0: f64[3] and xs.1: f64[4, 2] differ");
    assert_eq!(e.legal(), "the same number of elements in all leaves");
    let e = error(scan(step, &zero, &(numbers(&[3]), zero.clone())), line!());
    assert_eq!(e.headline(), "error[rank]: scan: xs.1: f64[] is a scalar");
    let e = error(scan(|c: &Tensor, _: &()| (c + 1.0, c.clone()), &zero, &()), line!());
    assert_eq!(e.rule(), "xs has no leaves that would say how many iterations there are");
    assert_eq!(e.legal(), "at least one tensor; or scan::times, which takes the number");
    let e = error(control::scan::times(-2, |c: &Tensor| (c + 1.0, c.clone()), &zero), line!());
    assert_eq!(e.headline(), "error[argument]: scan: the number of iterations is -2");
    let e = error(control::map(|x: &Tensor| x + 1.0, &zero), line!());
    assert_eq!(e.headline(), "error[rank]: map: xs: f64[] is a scalar");
    let e =
        error(control::scan::times(tracewright::Dim::symbol("N"), |c: &Tensor| (c + 1.0, c.clone()), &zero), line!());
    assert_eq!(e.headline(), "error[trace]: scan: the symbol N stands for no extent here");
    let n = tracewright::Dim::symbol("N");
    let e = error(fori(tracewright::Dim::from(0)..n, |_, c: &Tensor| c + 1.0, &zero), line!());
    assert_eq!(e.headline(), "error[trace]: fori: the symbol N stands for no extent here");
}

#[test]
fn bounds_of_fori() {
    let zero = Tensor::from(0.0f64);
    let e = error(fori(Tensor::from(0.0f32)..Tensor::from(3.0f32), |_, c: &Tensor| c + 1.0, &zero), line!());
    assert_eq!(e.headline(), "error[argument]: fori: the start of the range has type f32[]");
    let e = error(fori(Tensor::from(0)..Tensor::from([3]), |_, c: &Tensor| c + 1.0, &zero), line!());
    assert_eq!(e.headline(), "error[argument]: fori: the end of the range has type i32[1]");
}

#[test]
fn errors_that_come_in_or_arise_inside_stay_what_they_are() {
    let bad = || numbers(&[2]) + numbers(&[3]);
    let line = line!() - 1;
    let (x, xs) = (numbers(&[2]), numbers(&[3, 2]));
    let same = |t: Tensor| {
        let e = t.err().expect("an error");
        assert_eq!(e.op(), "add");
        assert!(e.location().unwrap().to_string().contains(&format!("errors.rs:{line}:")), "{e}");
    };
    same(cond(&bad(), || x.clone(), || x.clone()));
    same(cond(&Tensor::from(true), bad, || x.clone()));
    same(cond(&Tensor::from(true), || x.clone(), || &x * bad()));
    same(switch(&bad(), &[&|| x.clone()]));
    same(while_loop(|c: &Tensor| c.sum(..).lt(1.0), |c: &Tensor| c + bad(), &x));
    same(while_loop(|_: &Tensor| bad(), |c: &Tensor| c + 1.0, &x));
    same(while_loop(|c: &Tensor| c.sum(..).lt(1.0), |c: &Tensor| c + 1.0, &bad()));
    same(fori(0..3, |_, c: &Tensor| c + bad(), &x));
    same(fori(bad()..Tensor::from(3), |_, c: &Tensor| c + 1.0, &x));
    let step = |c: &Tensor, x: &Tensor| (c + x, x * 2.0);
    let (c, ys) = scan(step, &bad(), &xs);
    same(c);
    same(ys);
    same(scan(step, &x, &bad()).1);
    same(scan(|c: &Tensor, x: &Tensor| (c + x, bad()), &x, &xs).0);
    // A capture.
    let captured = bad();
    same(scan(|c: &Tensor, x: &Tensor| (c + x, &captured * 2.0), &x, &xs).1);
    let inside = jit(move |x: Tensor| fori(0..3, |_, c: &Tensor| c + bad(), &x)).call(&x).unwrap_err();
    assert!(inside.location().unwrap().to_string().contains(&format!("errors.rs:{line}:")), "{inside}");
}

#[test]
fn values_cannot_be_read_inside() {
    let x = numbers(&[2]);
    let line = line!() + 1;
    let read = |t: &Tensor| t.to_vec::<f64>().unwrap();
    for (kind, outcome) in [
        ("cond", cond(&Tensor::from(true), || Tensor::from(read(&(&x + numbers(&[2])))), || x.clone())),
        ("fori", fori(0..2, |_, c: &Tensor| Tensor::from(read(c)), &x)),
        ("while_loop", while_loop(|c: &Tensor| Tensor::from(read(c)[0] < 1.0), |c| c + 1.0, &x)),
        ("scan", scan(|c: &Tensor, _: &Tensor| (Tensor::from(read(c)), ()), &x, &x).0),
    ] {
        let e = outcome.err().unwrap_or_else(|| panic!("{kind}"));
        assert_eq!((e.code(), e.location().unwrap().line), (Code::Read, line));
        assert!(e.rule().contains(&format!("the value is not known while the function is traced by {kind}")), "{e}");
    }
    // Nothing is left open.
    assert_eq!(x.sum(..).to_vec::<f64>().unwrap().len(), 1);
}

#[test]
fn a_value_that_is_kept_is_refused_later() {
    let kept = std::sync::Mutex::new(None);
    fori(
        0..2,
        |_, c: &Tensor| {
            *kept.lock().unwrap() = Some(c * 2.0);
            c + 1.0
        },
        &numbers(&[2]),
    )
    .to_vec::<f64>()
    .unwrap();
    let late = kept.lock().unwrap().take().unwrap();
    let e = (&late + 1.0).to_vec::<f64>().unwrap_err();
    assert!(e.rule().contains("while fori traced, and that trace has ended"), "{e}");
    let e = fori(0..2, |_, c: &Tensor| c + &late, &numbers(&[2])).to_vec::<f64>().unwrap_err();
    assert!(e.rule().contains("that trace has ended"), "{e}");
    let e = cond(&late.sum(..), || numbers(&[1]), || numbers(&[1])).to_vec::<f64>().unwrap_err();
    assert!(e.rule().contains("that trace has ended"), "{e}");
}

#[test]
fn strict_mode_panics_at_the_op() {
    use tracewright::options::{Options, with_options};
    let strict = Options { strict: true, ..crate::target::options() };
    let x = numbers(&[2]);
    let run = || with_options(strict.clone(), || fori(0..3, |_, c: &Tensor| c.to_dtype(DType::F32), &x));
    let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().contains("carry is f64[2] at first"));
}

#[test]
fn ranges_that_are_too_long() {
    let count = |_: &Tensor, c: &Tensor| c + 1;
    let e = error(fori(i64::MIN..i64::MAX, count, &Tensor::from(0i64)), line!());
    assert_eq!(
        e.headline(),
        "error[argument]: fori: the range -9223372036854775808..9223372036854775807 has 18446744073709551615 numbers"
    );
}
