//! What goes wrong in the functions that transforms are given, and which transform says so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use tracewright::{
    Code, DType, Error, Tensor, Tree, checkpoint, cond, control, custom_jvp, custom_vjp, fori, grad, hessian, hvp,
    jacfwd, jacrev, jit, jvp, linearize, scan, switch, value_and_grad, vjp, vmap, while_loop,
};

fn x() -> Tensor {
    Tensor::from([1.0f64, 2.0])
}

fn broken(_: &Tensor) -> Tensor {
    panic!("the user's own")
}

/// The one error that is on every leaf.
fn on_all(tree: &impl Tree) -> Error {
    let errors: Vec<Error> =
        tree.leaves().into_iter().map(|(path, t)| t.err().unwrap_or_else(|| panic!("{path}"))).collect();
    assert!(errors.iter().all(|e| e.to_string() == errors[0].to_string()));
    errors[0].clone()
}

#[derive(Tree)]
struct Pair<T> {
    first: T,
    rest: [(Tensor, ()); 2],
}

#[test]
fn a_panic_is_an_error_where_the_type_of_the_result_tells_its_leaves() {
    let line = line!();
    let all: Vec<(&str, Error)> = vec![
        ("grad", on_all(&grad(broken)(&x()))),
        ("grad", on_all(&value_and_grad(broken)(&x()))),
        ("grad", on_all(&grad::with_aux(|x: &Tensor| (broken(x), (x.clone(), [x.clone()])))(&x()))),
        ("vjp", on_all(&vjp(broken, &x()).0)),
        ("vjp", on_all(&vjp(broken, &x()).1(&x()))),
        ("jvp", on_all(&jvp(broken, &x(), &x()))),
        ("linearize", on_all(&linearize(broken, &x()).0)),
        ("linearize", on_all(&linearize(broken, &x()).1(&x()))),
        ("jacfwd", on_all(&jacfwd(broken)(&x()))),
        ("jacrev", on_all(&jacrev(broken)(&x()))),
        ("hessian", on_all(&hessian(broken)(&x()))),
        ("hvp", on_all(&hvp(broken, &x(), &x()))),
        ("vmap", on_all(&vmap(broken)(&x()))),
        ("vmap", on_all(&vmap(|x: &Tensor| Box::new((broken(x), x.clone())))(&x()))),
        ("vmap", on_all(&vmap(|x: &Tensor| Pair { first: broken(x), rest: [(x.clone(), ()), (x.clone(), ())] })(&x()))),
        ("checkpoint", on_all(&checkpoint(broken)(&x()))),
        ("checkpoint", on_all(&checkpoint::within(1000, broken)(&x()))),
        ("custom_vjp", on_all(&custom_vjp(broken, |x: &Tensor| (x.clone(), ()), |_, g| g.clone())(&x()))),
        ("custom_jvp", on_all(&custom_jvp(broken, |x: &Tensor, t: &Tensor| (x.clone(), t.clone()))(&x()))),
        ("cond", on_all(&cond(&Tensor::from(true), || broken(&x()), x))),
        ("switch", on_all(&switch(&Tensor::from(1i64), &[&x, &|| broken(&x())]))),
        ("while_loop", on_all(&while_loop(|c: &Tensor| broken(c), |c: &Tensor| c + 1.0, &x()))),
        ("while_loop", on_all(&while_loop(|c: &Tensor| c.sum(..).lt(9.0), broken, &x()))),
        ("fori", on_all(&fori(0..3, |_, c: &Tensor| broken(c), &x()))),
        ("scan", on_all(&scan(|c: &Tensor, x: &Tensor| (broken(c), x.clone()), &x(), &x()))),
        ("map", on_all(&control::map(broken, &x()))),
    ];
    let last = line!();
    for (kind, e) in all {
        assert_eq!((e.code(), e.op()), (Code::Panic, kind), "{e}");
        assert_eq!(e.rule(), "the function panicked: the user's own");
        let at = e.location().unwrap();
        assert!(at.file == file!() && (line..last).contains(&at.line), "{e}");
    }
    // It is no other within a compiled function.
    let e = jit(|x: Tensor| vmap(broken)(&x)).call(x()).unwrap_err();
    assert_eq!((e.code(), e.op()), (Code::Panic, "vmap"));
}

#[test]
fn a_panic_is_an_error_where_another_function_tells_the_leaves() {
    let list = |x: &Tensor| vec![x.clone(), x * 2.0];
    let rules: [(&str, Vec<Tensor>); 4] = [
        ("custom_vjp", custom_vjp(list, |x| (vec![broken(x)], ()), |_: &(), g: &Vec<Tensor>| g[0].clone())(&x())),
        ("custom_vjp", custom_vjp(list, move |x| (list(x), ()), |_: &(), g: &Vec<Tensor>| broken(&g[0]))(&x())),
        ("custom_jvp", custom_jvp(list, |x: &Tensor, _| (vec![broken(x)], Vec::new()))(&x())),
        ("cond", cond(&Tensor::from(true), || list(&x()), || vec![broken(&x())])),
    ];
    for (kind, result) in rules {
        let e = on_all(&result);
        assert_eq!((e.code(), e.op(), result.len()), (Code::Panic, kind, 2), "{e}");
    }
    // What is carried is like what it begins with.
    assert_eq!(on_all(&fori(0..3, |_, c: &Vec<Tensor>| vec![broken(&c[0])], &vec![x()])).code(), Code::Panic);
}

#[test]
fn a_panic_goes_on_where_nothing_tells_the_leaves() {
    let runs = std::cell::Cell::new(0);
    let list = |x: &Tensor| {
        runs.set(runs.get() + 1);
        vec![broken(x)]
    };
    type Run<'a> = (&'static str, &'a dyn Fn() -> usize);
    let all: [Run<'_>; 9] = [
        ("vmap", &|| vmap(list)(&x()).len()),
        ("checkpoint", &|| checkpoint(list)(&x()).len()),
        ("vjp", &|| vjp(list, &x()).0.len()),
        ("jvp", &|| jvp(list, &x(), &x()).0.len()),
        ("jacrev", &|| jacrev(list)(&x()).len()),
        ("with_aux", &|| grad::with_aux(|x: &Tensor| (x.sum(..), list(x)))(&x()).1.len()),
        ("scan", &|| scan(|c: &Tensor, x: &Tensor| (c.clone(), list(x)), &x(), &x()).1.len()),
        ("cond", &|| cond(&Tensor::from(true), || list(&x()), || vec![x()]).len()),
        ("option", &|| usize::from(vmap(|x: &Tensor| Some(list(x).remove(0)))(&x()).is_some())),
    ];
    let number = all.len();
    for (kind, run) in all {
        let payload = catch_unwind(AssertUnwindSafe(run)).expect_err(kind);
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"the user's own"), "{kind}");
    }
    assert_eq!(runs.get(), number);
    // Nothing is left open, and a compiled function gives the error.
    assert_eq!((x() + 1.0).to_vec::<f64>().unwrap(), [2.0, 3.0]);
    let e = jit(|x: Tensor| vmap(|x: &Tensor| vec![broken(x)])(&x)).call(x()).unwrap_err();
    assert_eq!((e.code(), e.op()), (Code::Panic, "jit"));
}

#[test]
fn an_argument_that_is_an_error_does_not_run_the_function() {
    let wrong = x() + Tensor::from([1.0f64; 3]);
    let all = [
        grad(broken)(&wrong),
        vmap(broken)(&wrong),
        checkpoint(broken)(&wrong),
        jvp(broken, &wrong, &x()).0,
        scan(|c: &Tensor, _: &Tensor| (broken(c), ()), &x(), &wrong).0,
    ];
    assert!(all.iter().all(|t| t.err().unwrap().op() == "add"));
}

#[test]
fn the_transform_that_was_called_is_named() {
    let square = |x: &Tensor| x * x;
    let second = |x: &Tensor| (x * x).sum(..);
    let refused = |e: Error, headline: &str| assert_eq!(e.headline(), format!("error[gradient]: {headline}"));
    refused(on_all(&hvp(square, &x(), &x())), "hvp: the function returned f64[2]");
    refused(on_all(&hvp(second, &x(), &Tensor::from(1.0f64))), "hvp: the tangent has type f64[]");
    refused(
        on_all(&hvp(|x: &Tensor| x + 1, &Tensor::from(1i64), &Tensor::from(1i64))),
        "hvp: the function returned i64[]",
    );
    refused(on_all(&hessian(square)(&x())), "hessian: the function returned f64[2]");
    refused(grad::report(square, &x()).unwrap_err(), "grad::report: the function returned f64[2]");
    let own = custom_vjp(|x: &Tensor| x.clone(), |x: &Tensor| (x.clone(), ()), |_: &(), g: &Tensor| g * x());
    let own =
        move |x: &Tensor| custom_vjp(&own, |x: &Tensor| (x.clone(), ()), |_: &(), g: &Tensor| g.clone())(x).sum(..);
    let e = on_all(&jvp(&own, &x(), &x()).1);
    assert!(e.headline().starts_with("error[gradient]: jvp: a function with a gradient of its own"), "{e}");
    let loop_ = |x: &Tensor| while_loop(|c: &Tensor| c.lt(9.0), |c: &Tensor| c * 2.0, &x.sum(..));
    let e = on_all(&hessian(loop_)(&x()));
    assert!(e.headline().starts_with("error[gradient]: hessian: a loop of which the number"), "{e}");
    let e = on_all(&hvp(loop_, &x(), &x()));
    assert!(e.headline().starts_with("error[gradient]: hvp: a loop of which the number"), "{e}");
}

#[test]
fn a_rule_of_another_dtype_says_dtype() {
    let wide = |x: &Tensor| x.to_dtype(DType::F32);
    let same = |x: &Tensor| (x.clone(), ());
    let forward = custom_vjp(|x: &Tensor| x.clone(), move |x| (wide(x), ()), |_: &(), g: &Tensor| g.clone())(&x());
    let backward = custom_vjp(|x: &Tensor| x.clone(), same, move |_: &(), g: &Tensor| wide(g))(&x());
    let tangent = custom_jvp(|x: &Tensor| x.clone(), move |x: &Tensor, t: &Tensor| (x.clone(), wide(t)))(&x());
    for (result, what) in [(forward, "forward part"), (backward, "backward part"), (tangent, "derivative")] {
        let e = on_all(&result);
        assert_eq!(e.code(), Code::DType, "{e}");
        assert!(e.rule().starts_with(&format!("the {what} returns ")) && e.rule().ends_with("f32[2]"), "{e}");
    }
    let summed = custom_vjp(|x: &Tensor| x.clone(), same, |_: &(), g: &Tensor| g.sum(..))(&x());
    assert_eq!(on_all(&summed).code(), Code::Shape);
}
