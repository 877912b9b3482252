//! Parameters that do not reach the loss, and ops at which their paths end: named, with line, scope and reason.

use tracewright::custom::{AttrReader, CustomOp, Fault, call};
use tracewright::events::{Event, capture};
use tracewright::grad::{Barrier, Report, Why};
use tracewright::{
    DType, Literal, Tensor, Type, checkpoint, cond, custom_vjp, fori, grad, jit, scan, scope, while_loop,
};

/// The identity, without derivatives.
#[derive(Clone)]
struct Opaque;

impl CustomOp for Opaque {
    const NAME: &'static str = "test.opaque";
    const PURE: bool = true;
    fn from_attributes(_: &mut AttrReader) -> Result<Opaque, Fault> {
        Ok(Opaque)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![operands[0].clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        Ok(vec![operands[0].clone()])
    }
}

type Six = (Tensor, Tensor, Tensor, Tensor, (Tensor, Tensor));

fn six() -> Six {
    let x = |k: f32| Tensor::from([k, 1.5, -2.0]);
    (x(1.0), x(2.0), x(3.0), x(4.0), (x(5.0), x(6.0)))
}

/// Events of parameters that do not reach the loss.
fn unreached<R>(f: impl FnOnce() -> R) -> Vec<String> {
    let (_, records) = capture(f);
    records.into_iter().filter(|r| r.event == Event::Unreached).map(|r| r.reason).collect()
}

/// The one end of the paths of a parameter.
fn end<'a>(report: &'a Report, path: &str) -> (Barrier, &'a str, &'a str) {
    let Why::Cut(cuts) = &report.unreached.iter().find(|u| u.path == path).unwrap_or_else(|| panic!("{report}")).why
    else {
        panic!("{report}")
    };
    let [cut] = &cuts[..] else { panic!("{cuts:?}") };
    assert_eq!(cut.parameters, [path]);
    let own = report.cuts.iter().find(|c| *c == cut).expect("it is one of all cuts");
    (own.barrier, &own.op, &own.location)
}

#[test]
fn every_kind_of_end_is_told_apart() {
    let first = line!() + 3;
    let f = |(a, b, c, d, (e, g)): &Six| {
        [
            a.to_dtype(DType::I32).to_dtype(DType::F32).sum(..),
            scope("gate", || b.gt(0.0)).where_(1.0, 2.0).sum(..),
            c.argmax(0).to_dtype(DType::F32),
            d.floor().sum(..),
            e.stop_gradient().sum(..),
            call::<_, 1>(&Opaque, &[g])[0].sum(..),
        ]
        .into_iter()
        .reduce(|x, y| x + y)
        .unwrap()
    };
    let report = grad::report(f, &six()).unwrap();
    let want = [
        ("0", Barrier::Integers, "convert"),
        ("1", Barrier::Comparison, "compare"),
        ("2", Barrier::Position, "argmax"),
        ("3", Barrier::Step, "floor"),
        ("4.0", Barrier::Stop, "stop_gradient"),
        ("4.1", Barrier::NoRule, "test.opaque"),
    ];
    for (i, (path, barrier, op)) in want.into_iter().enumerate() {
        let (kind, name, location) = end(&report, path);
        assert_eq!((kind, name), (barrier, op));
        let place = format!("tests/derivatives/reports.rs:{}:", first as usize + i);
        assert!(location.starts_with(&place), "{location} is not {place}");
    }
    assert_eq!(report.cuts[1].scope, "gate");
    assert_eq!((report.unreached.len(), report.cuts.len()), (6, 6));
    let text = report.to_string();
    let line =
        format!("1 does not reach the loss: its paths end at compare at tests/derivatives/reports.rs:{}:", first + 1);
    assert!(text.contains(&line) && text.contains(" in gate: the outcome of a comparison has no derivative"), "{text}");
    // The same as events, eager and while `jit` traces, once. That there is no rule is an error.
    assert!(grad(f)(&six()).0.err().unwrap().rule().contains("test.opaque has no derivative"));
    let five = move |x: &Six| {
        let mut x = x.clone();
        x.4.1 = x.4.1.stop_gradient();
        f(&x)
    };
    let eager = unreached(|| grad(five)(&six()));
    assert_eq!(eager.len(), 6);
    assert!(eager[3].starts_with("parameter 3 does not reach the loss: its paths end at floor at "), "{eager:?}");
    let compiled = jit(move |x: Six| grad(five)(&x));
    assert_eq!(unreached(|| drop(compiled.call(six()).unwrap())).len(), 6);
    assert_eq!(unreached(|| drop(compiled.call(six()).unwrap())).len(), 0);
}

#[test]
fn unused_parameters_and_such_that_are_used_for_something_else() {
    let f = |(a, b, c): &(Tensor, Tensor, Tensor)| {
        let _elsewhere = b.exp();
        let _ = c;
        a.sum(..)
    };
    let x = || Tensor::from([1.0f32, 2.0]);
    let report = grad::report(f, &(x(), x() + 1.0, x() + 2.0)).unwrap();
    let why: Vec<&Why> = report.unreached.iter().map(|u| &u.why).collect();
    assert_eq!(why, [&Why::NotInLoss, &Why::Unused]);
    assert!(report.cuts.is_empty());
    // Integers among the parameters are named, and are no events.
    let f = |(a, n): &(Tensor, Tensor)| (a * n.to_dtype(DType::F32)).sum(..);
    let report = grad::report(f, &(x(), Tensor::from([1i64, 2]))).unwrap();
    assert_eq!(report.unreached[0].why, Why::NotFloat(DType::I64));
    assert_eq!(report.to_string(), "1 is i64, and only floats have gradients\n");
    assert!(unreached(|| grad(f)(&(x(), Tensor::from([1i64, 2])))).is_empty());
}

#[test]
fn a_cut_beside_a_path_that_goes_on_is_no_event() {
    // The condition of a selection, the positions of a sort, a rounding with a straight-through gradient.
    let f = |x: &Tensor| {
        let (sorted, _) = x.sort(0, false);
        let rounded = x + (x.round() - x).stop_gradient();
        (x.gt(0.0).where_(x, &(x * 0.1)) + sorted + rounded).sum(..)
    };
    let x = Tensor::from([0.3f32, -1.2, 2.6]);
    let report = grad::report(f, &x).unwrap();
    assert!(report.unreached.is_empty());
    let kinds: Vec<Barrier> = report.cuts.iter().map(|c| c.barrier).collect();
    for kind in [Barrier::Comparison, Barrier::Position, Barrier::Step, Barrier::Stop] {
        assert!(kinds.contains(&kind), "{report}");
    }
    let (_, records) = capture(|| grad(f)(&x));
    assert!(records.iter().all(|r| !matches!(r.event, Event::Unreached | Event::GradientCut)));
    // With an op without a rule there is no gradient; the report says what there would be.
    let partly = |x: &Tensor| (call::<_, 1>(&Opaque, &[x])[0].sum(..)) + x.sum(..);
    assert!(grad(partly)(&x).err().unwrap().rule().contains("test.opaque"));
    let report = grad::report(partly, &x).unwrap();
    assert!(report.unreached.is_empty() && report.cuts[0].barrier == Barrier::NoRule, "{report}");
}

#[test]
fn the_first_end_of_each_path_counts() {
    let f = |x: &Tensor| (x.floor().gt(0.0).where_(1.0, 2.0) + x.ceil().stop_gradient()).sum(..);
    let report = grad::report(f, &Tensor::from([0.5f32])).unwrap();
    let Why::Cut(cuts) = &report.unreached[0].why else { panic!("{report}") };
    let ops: Vec<&str> = cuts.iter().map(|c| c.op.as_str()).collect();
    assert_eq!(ops, ["floor", "ceil"]);
    assert!(report.to_string().starts_with("(the argument) does not reach the loss: its paths end at floor at "));
}

#[test]
fn ops_without_rules_inside_of_branches_and_loops() {
    let opaque = |x: &Tensor| {
        let [y] = call(&Opaque, &[x]);
        y
    };
    let x = Tensor::from([1.0f32, 2.0]);
    let ends = |report: Report, op: &str, barrier: Barrier| {
        let [cut] = &report.cuts[..] else { panic!("{report}") };
        assert_eq!((cut.op.as_str(), cut.barrier), (op, barrier), "{report}");
        assert!(report.to_string().contains(&format!("(the argument) end at {op} at tests/derivatives")), "{report}");
    };
    let in_a_loop = |x: &Tensor| fori(0..3, |_, y: &Tensor| opaque(y), x).sum(..);
    ends(grad::report(in_a_loop, &x).unwrap(), "test.opaque", Barrier::NoRule);
    let in_a_call = |x: &Tensor| checkpoint(|x: &Tensor| opaque(x).sum(..))(x);
    ends(grad::report(in_a_call, &x).unwrap(), "test.opaque", Barrier::NoRule);
    // What is an error of a gradient is part of its report.
    let double = |x: &Tensor| while_loop(|c: &Tensor| c.sum(..).lt(9.0), |c: &Tensor| c * 2.0, x);
    let report = grad::report(|x: &Tensor| double(x).sum(..), &x).unwrap();
    assert!(matches!(&report.unreached[0].why, Why::Cut(cuts) if cuts[0].op == "while_loop"), "{report}");
    ends(report, "while_loop", Barrier::Unbounded);
    let nested = |x: &Tensor| fori(0..3, |_, y: &Tensor| double(y), x).sum(..);
    ends(grad::report(nested, &x).unwrap(), "while_loop", Barrier::Unbounded);
}

#[test]
fn functions_with_derivatives_of_their_own() {
    let f = |(x, w): &(Tensor, Tensor)| {
        let line = (w * 2.0, w.clone());
        let scaled =
            custom_vjp(|x: &Tensor| x * &line.0, |x: &Tensor| (x * &line.0, ()), |_: &(), g: &Tensor| g * &line.1);
        scaled(x).sum(..)
    };
    let line = line!() - 3;
    let x = || (Tensor::from([1.0f32]), Tensor::from([2.0f32]));
    let report = grad::report(f, &x()).unwrap();
    assert_eq!(report.unreached.len(), 1);
    let place = format!("1 does not reach the loss: its paths end at captured at tests/derivatives/reports.rs:{line}:");
    assert!(report.to_string().starts_with(&place), "{report}");
    assert!(report.cuts.iter().all(|c| c.barrier == Barrier::Captured && c.parameters == ["1"]), "{report}");
    // Behind one a path goes on.
    let report = grad::report(|p| f(p).floor(), &x()).unwrap();
    assert!(report.cuts.iter().any(|c| c.barrier == Barrier::Step && c.parameters == ["0"]), "{report}");
}

#[test]
fn ends_inside_of_branches_and_loops() {
    let line = line!() + 4;
    let f = |(a, b, c): &(Tensor, Tensor, Tensor)| {
        let xs = Tensor::from([1.0f32, 2.0]);
        let step = |sum: &Tensor, x: &Tensor| {
            let next = sum + x * a + b.floor();
            (next.clone(), next)
        };
        let looped = scan(step, &Tensor::from(0.0f32), &xs).0;
        cond(&looped.gt(0.0), || c.round() * &looped, || c.sign() + &looped)
    };
    let parameters = || (Tensor::from(0.5f32), Tensor::from(1.5f32), Tensor::from(2.5f32));
    let report = grad::report(f, &parameters()).unwrap();
    let ended: Vec<(&str, Vec<&str>)> = report
        .unreached
        .iter()
        .map(|u| match &u.why {
            Why::Cut(cuts) => (u.path.as_str(), cuts.iter().map(|c| c.op.as_str()).collect()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ended, [("1", vec!["floor"]), ("2", vec!["sign", "round"])]);
    let floor = report.cuts.iter().find(|c| c.op == "floor").unwrap();
    assert!(floor.location.starts_with(&format!("tests/derivatives/reports.rs:{line}:")), "{}", floor.location);
    // The condition is an end of what goes on elsewhere.
    assert!(report.cuts.iter().any(|c| c.barrier == Barrier::Comparison && c.parameters == ["0"]), "{report}");
    assert_eq!(unreached(|| grad(f)(&parameters())).len(), 2);
}

#[test]
fn ends_that_later_iterations_meet() {
    // Each op is named once, in whatever iteration its path ends.
    let f = |p: &Tensor| {
        let step = |(u, v): &(Tensor, Tensor), x: &Tensor| ((u + p, v + (p * x).floor() + u.ceil()), ());
        let zero = Tensor::from(0.0f32);
        scan(step, &(zero.clone(), zero), &Tensor::from([1.0f32, 2.0])).0.1
    };
    let report = grad::report(f, &Tensor::from(0.5f32)).unwrap();
    let Why::Cut(cuts) = &report.unreached[0].why else { panic!("{report}") };
    assert_eq!(cuts.iter().map(|c| c.op.as_str()).collect::<Vec<_>>(), ["floor", "ceil"]);
    // What a condition compares is no part of the path that goes through its loop.
    let f = |x: &Tensor| {
        let doubled = while_loop(|c: &Tensor| c.sum(..).lt(9.0), |c: &Tensor| c * 2.0, x);
        doubled.to_dtype(DType::I32).to_dtype(DType::F32).sum(..)
    };
    let report = grad::report(f, &Tensor::from([0.5f32])).unwrap();
    assert_eq!(end(&report, "").1, "convert");
}
