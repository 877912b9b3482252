//! Gradients with something beside, by parts of an argument, and of what has none.

use crate::{f64s, number};
use tracewright::events::{Counters, Event};
use tracewright::{Code, Tensor, Tree, grad, jit};

#[test]
fn what_a_function_returns_beside_the_scalar_is_passed_on() {
    let f = |(x, w): &(Tensor, Tensor)| {
        let y = x * w;
        (y.sum(..), vec![y.clone(), y.gt(3.0)])
    };
    let at = (Tensor::from([1.0f64, 2.0]), Tensor::from([3.0f64, 4.0]));
    let ((loss, aux), g) = grad::value_and_grad_with_aux(f)(&at);
    assert_eq!((number(&loss), f64s(&aux[0])), (11.0, vec![3.0, 8.0]));
    assert_eq!(aux[1].to_vec::<bool>().unwrap(), [false, true]);
    assert_eq!((f64s(&g.0), f64s(&g.1)), (vec![3.0, 4.0], vec![1.0, 2.0]));
    let (g, aux) = jit(move |at: (Tensor, Tensor)| grad::with_aux(f)(&at)).call(&at).unwrap();
    assert_eq!((f64s(&g.0), f64s(&aux[0])), (vec![3.0, 4.0], vec![3.0, 8.0]));
    // What is beside can be differentiated by an outer gradient.
    let outer = grad(move |at: &(Tensor, Tensor)| grad::with_aux(f)(at).1[0].square().sum(..))(&at);
    assert_eq!(f64s(&outer.0), [2.0 * 3.0 * 3.0, 2.0 * 8.0 * 4.0]);
}

#[test]
fn an_error_is_on_every_leaf() {
    let line = line!() + 1;
    let f = |x: &Tensor| (x.sum(0), vec![x.clone()]);
    let ((loss, aux), g) = grad::value_and_grad_with_aux(f)(&Tensor::from([[1.0f32], [2.0]]));
    for t in [&loss, &aux[0], &g] {
        let e = t.err().unwrap();
        assert_eq!(e.headline(), "error[gradient]: grad: the function returned f32[1]");
        assert_eq!((e.code(), e.location().unwrap().line), (Code::Gradient, line + 1));
    }
}

#[derive(Tree)]
struct Model {
    hidden: (Tensor, Tensor),
    hidden2: Tensor,
}

#[test]
fn parts_of_an_argument_are_chosen_by_number_or_path() {
    let n = |x: f64| Tensor::from(x);
    let f = |(a, m): &(Tensor, Model)| a * &m.hidden.0 * &m.hidden.1 * &m.hidden2;
    let at = || (n(2.0), Model { hidden: (n(3.0), n(5.0)), hidden2: n(7.0) });
    let all = |g: &(Tensor, Model)| [&g.0, &g.1.hidden.0, &g.1.hidden.1, &g.1.hidden2].map(number);
    assert_eq!(all(&grad(f)(&at())), [105.0, 70.0, 42.0, 30.0]);
    assert_eq!(all(&grad::by(0, f)(&at())), [105.0, 0.0, 0.0, 0.0]);
    assert_eq!(all(&grad::by([0, 1], f)(&at())), [105.0, 70.0, 42.0, 30.0]);
    assert_eq!(all(&grad::by("1.hidden", f)(&at())), [0.0, 70.0, 42.0, 0.0]);
    assert_eq!(all(&grad::by(["0", "1.hidden.1", "1.hidden2"], f)(&at())), [105.0, 0.0, 42.0, 30.0]);
    let (value, g) = grad::value_and_grad_by("", f)(&at());
    assert_eq!((number(&value), number(&g.0)), (210.0, 105.0));
    let e = grad::by("1.hiddenn", f)(&at()).0.err().unwrap();
    assert_eq!(e.headline(), "error[argument]: grad: the argument has no part `1.hiddenn`");
    assert_eq!(e.legal(), "a part of 0, 1.hidden.0, 1.hidden.1, 1.hidden2");
    assert_eq!(e.location().unwrap().line, line!() - 3);
    // A tensor that is chosen at one place only is a constant at the other.
    let x = n(3.0);
    let square = |(a, b): &(Tensor, Tensor)| a * b;
    assert_eq!(number(&grad::by(0, square)(&(x.clone(), x.clone())).0), 3.0);
    assert_eq!(number(&grad(square)(&(x.clone(), x)).0), 6.0);
}

#[test]
fn parts_that_are_not_chosen_are_not_missed() {
    let f = |(a, _): &(Tensor, Tensor)| a * a;
    let at = (Tensor::from(2.0f64), Tensor::from(3.0f64));
    let (_, counts) = Counters::of(|| grad::by(0, f)(&at));
    assert_eq!(counts[Event::Unreached], 0);
    let (_, counts) = Counters::of(|| grad(f)(&at));
    assert_eq!(counts[Event::Unreached], 1);
}

#[test]
fn what_has_no_gradient_says_so() {
    let line = line!() + 1;
    let g = grad(|x: &Tensor| x.to_dtype(tracewright::DType::F32).sum(..))(&Tensor::from([1i64, 2]));
    let e = g.err().unwrap();
    assert_eq!(e.headline(), "error[gradient]: grad: no leaf of the argument is a float, such as i64[2]");
    assert_eq!(e.location().unwrap().line, line);
    let e = grad(|x: &Tensor| x.argmax(0))(&Tensor::from([1.0f32, 2.0])).err().unwrap();
    assert_eq!(e.headline(), "error[gradient]: grad: the function returned i64[]");
    assert_eq!(e.legal(), "a float scalar, such as f32[]; vjp takes any result");
}

#[test]
fn straight_through_estimators_pass_the_gradient_by() {
    let round = |x: &Tensor| x.straight_through(&x.round());
    let x = Tensor::from([0.3f64, 1.6, -2.5]);
    assert_eq!(f64s(&round(&x)), [0.0, 2.0, -2.0]);
    let g = grad(move |x: &Tensor| (round(x) * Tensor::from([1.0f64, 2.0, 3.0])).sum(..))(&x);
    assert_eq!(f64s(&g), [1.0, 2.0, 3.0]);
    // The elements count as constants, and where this tensor is not finite it is one too.
    let f = |(x, e): &(Tensor, Tensor)| x.straight_through(&(e * e));
    let at = (Tensor::from([1.0f64, f64::INFINITY, f64::NAN]), Tensor::from([2.0f64, 3.0, 4.0]));
    assert_eq!(f64s(&f(&at)), [4.0, 9.0, 16.0]);
    let (by_x, by_e) = grad(move |at: &(Tensor, Tensor)| f(at).sum(..))(&at);
    assert_eq!((f64s(&by_x), f64s(&by_e)), (vec![1.0, 0.0, 0.0], vec![0.0; 3]));
}
