//! Values, against the same loop in Rust.

use super::{bits, every_way, numbers};
use std::collections::BTreeMap;
use tracewright::{DType, Tensor, Tree, cond, control, fori, scan, switch, while_loop};

#[test]
fn cond_takes_the_function_that_the_predicate_says() {
    let f = |(p, x): &(Tensor, Tensor)| cond(p, || (x * 2.0, x.sum(..)), || (x - 1.0, x.max(..)));
    let x = numbers(&[3]);
    for p in [true, false] {
        let want = if p { (&x * 2.0, x.sum(..)) } else { (&x - 1.0, x.max(..)) };
        assert_eq!(bits(&every_way(f, &(Tensor::from(p), x.clone()))), bits(&want));
    }
    // Numbers count as true unless they are 0, as in JAX.
    for (p, want) in
        [(Tensor::from(0i64), 1), (Tensor::from(-3i64), 2), (Tensor::from(0u8), 1), (Tensor::from(7u64), 2)]
    {
        let f = |p: &Tensor| cond(p, || Tensor::from(2i64), || Tensor::from(1i64));
        assert_eq!(every_way(f, &p).item::<i64>().unwrap(), want);
    }
    for (p, want) in [(0.0f32, 1), (-0.0, 1), (0.5, 2), (f32::NAN, 2)] {
        let f = |p: &Tensor| cond(p, || Tensor::from(2i64), || Tensor::from(1i64));
        assert_eq!(every_way(f, &Tensor::from(p)).item::<i64>().unwrap(), want);
    }
}

#[test]
fn switch_clamps() {
    let x = numbers(&[4]);
    let f = |(i, x): &(Tensor, Tensor)| switch(i, &[&|| x.sum(..), &|| x.max(..), &|| x.min(..)]);
    let want = [x.sum(..), x.max(..), x.min(..)].map(|t| t.item::<f64>().unwrap());
    for (i, at) in [(-5i64, 0), (0, 0), (1, 1), (2, 2), (3, 2), (i64::MAX, 2), (i64::MIN, 0)] {
        assert_eq!(every_way(f, &(Tensor::from(i), x.clone())).item::<f64>().unwrap(), want[at]);
    }
    for (i, at) in
        [(Tensor::from(u64::MAX), 2), (Tensor::from(1u64), 1), (Tensor::from(-1i8), 0), (Tensor::from(9u8), 2)]
    {
        assert_eq!(every_way(f, &(i, x.clone())).item::<f64>().unwrap(), want[at]);
    }
    // One function is no choice.
    let only = |i: &Tensor| switch(i, &[&|| Tensor::from(5i64)]);
    assert_eq!(every_way(only, &Tensor::from(3i64)).item::<i64>().unwrap(), 5);
}

#[test]
fn a_while_loop_runs_until_its_condition_fails() {
    // Greatest common divisors.
    let gcd = |pair: &(Tensor, Tensor)| {
        while_loop(|(_, b): &(Tensor, Tensor)| b.ne(0), |(a, b)| (b.clone(), a.remainder(b)), pair).0
    };
    for (a, b, want) in [(54i64, 24i64, 6), (17, 5, 1), (0, 9, 9), (9, 0, 9)] {
        assert_eq!(every_way(gcd, &(Tensor::from(a), Tensor::from(b))).item::<i64>().unwrap(), want);
    }
}

#[test]
fn fori_is_the_loop() {
    let x = numbers(&[5]);
    let step = |i: i64, c: &Tensor, x: &Tensor| c * 0.5 + x * Tensor::from(i as f64) - 1.0;
    for (start, end) in [(0i64, 7i64), (3, 5), (-2, 1), (4, 4), (4, 1)] {
        let range = start..end;
        let mut want = x.clone();
        for i in range.clone() {
            want = step(i, &want, &x);
        }
        let known = range.clone();
        let f = move |x: &Tensor| {
            fori(known.clone(), |i: &Tensor, c: &Tensor| c * 0.5 + x * i.to_dtype(DType::F64) - 1.0, x)
        };
        assert_eq!(bits(&every_way(f, &x)), bits(&want), "{range:?}");
        let computed = |(start, end, x): &(Tensor, Tensor, Tensor)| {
            fori(start..end, |i: &Tensor, c: &Tensor| c * 0.5 + x * i.to_dtype(DType::F64) - 1.0, x)
        };
        let bounds = (Tensor::from(range.start as i32), Tensor::from(range.end), x.clone());
        assert_eq!(bits(&every_way(computed, &bounds)), bits(&want), "{range:?}");
    }
    // The other kinds of numbers.
    let count = |i: &Tensor, c: &Tensor| c + i;
    let zero = Tensor::from(0i64);
    let lowest = fori(i64::MIN..i64::MIN + 2, |i: &Tensor, c: &Tensor| c * 3 + i, &zero);
    assert_eq!(lowest.item::<i64>().unwrap(), i64::MIN.wrapping_mul(3).wrapping_add(i64::MIN + 1));
    let highest = fori(i64::MAX - 2..i64::MAX, |i: &Tensor, c: &Tensor| c * 3 + i, &zero);
    assert_eq!(highest.item::<i64>().unwrap(), (i64::MAX - 2).wrapping_mul(3).wrapping_add(i64::MAX - 1));
    let sums = [fori(0..4, count, &zero), fori(0..4usize, count, &zero), fori(0..4u32, count, &zero)];
    sums.iter().for_each(|s| assert_eq!(s.item::<i64>().unwrap(), 6));
    let tensors = fori(Tensor::from(0u8)..Tensor::from(4u8), count, &zero);
    assert_eq!(tensors.item::<i64>().unwrap(), 6);
}

#[test]
fn scan_is_the_loop() {
    let step = |c: &Tensor, x: &Tensor| (c * 0.5 + x, (c.clone(), x * c));
    let xs = numbers(&[6, 3]);
    let init = numbers(&[3]) - 0.25;
    for reverse in [false, true] {
        let (mut carry, mut firsts, mut seconds) = (init.clone(), Vec::new(), Vec::new());
        for i in 0..6 {
            let (next, (a, b)) = step(&carry, &xs.select(0, if reverse { 5 - i } else { i }));
            carry = next;
            firsts.push(a);
            seconds.push(b);
        }
        if reverse {
            firsts.reverse();
            seconds.reverse();
        }
        let stack = |all: &[Tensor]| tracewright::stack(all, 0);
        let want = (carry, (stack(&firsts), stack(&seconds)));
        let f = move |(init, xs): &(Tensor, Tensor)| match reverse {
            true => control::scan::reverse(step, init, xs),
            false => scan(step, init, xs),
        };
        assert_eq!(bits(&every_way(f, &(init.clone(), xs.clone()))), bits(&want), "reverse: {reverse}");
    }
}

#[test]
fn a_scan_may_have_no_elements_or_carry_nothing() {
    let f = |x: &Tensor| {
        let (c, ys) = control::scan::times(5, |c: &Tensor| (c * 2.0, c + 1.0), x);
        let mapped = control::map(|(a, b): &(Tensor, Tensor)| a.sum(..) * b, &(numbers(&[3, 2]), numbers(&[3])));
        let only = scan(|c: &Tensor, x: &Tensor| (c + x.sum(..), ()), x, &numbers(&[4, 2])).0;
        (c, ys, mapped, only)
    };
    let x = Tensor::from(1.5f64);
    let (c, ys, mapped, only) = every_way(f, &x);
    assert_eq!(c.item::<f64>().unwrap(), 48.0);
    assert_eq!(ys.to_vec::<f64>().unwrap(), [2.5, 4.0, 7.0, 13.0, 25.0]);
    assert_eq!(bits(&mapped), bits(&(numbers(&[3, 2]).sum(1) * numbers(&[3]))));
    let mut want = x;
    for i in 0..4 {
        want += numbers(&[4, 2]).select(0, i).sum(..);
    }
    assert_eq!(bits(&only), bits(&want));
}

#[test]
fn no_elements_at_all() {
    let f =
        |xs: &Tensor| scan(|c: &Tensor, x: &Tensor| (c + x.sum(..), (x * 2.0, c.clone())), &Tensor::from(7.0f64), xs);
    let (c, (ys, cs)) = every_way(f, &numbers(&[0, 3]));
    assert_eq!(c.item::<f64>().unwrap(), 7.0);
    assert_eq!((ys.shape().to_string(), cs.shape().to_string()), ("[0, 3]".into(), "[0]".into()));
    let none = control::scan::times(0, |c: &Tensor| (c + 1, ()), &Tensor::from(3i64)).0;
    assert_eq!(none.item::<i64>().unwrap(), 3);
    // Elements without elements.
    let empty = control::map(|x: &Tensor| x.sum(..), &numbers(&[3, 0]));
    assert_eq!(empty.to_vec::<f64>().unwrap(), [0.0; 3]);
}

/// Everything that a tree can be.
#[derive(Tree)]
struct State {
    weight: Tensor,
    list: Vec<Tensor>,
    named: BTreeMap<String, Tensor>,
    scale: f32,
    nothing: Option<Tensor>,
}

#[test]
fn what_is_carried_is_any_tree() {
    let state = || State {
        weight: numbers(&[2]),
        list: vec![Tensor::from(1i64), Tensor::from(true)],
        named: BTreeMap::from([("a".into(), Tensor::from(2.0f32))]),
        scale: 0.5,
        nothing: None,
    };
    let step = |s: &State, x: &Tensor| State {
        weight: &s.weight * x + s.scale,
        list: vec![&s.list[0] + 1, s.list[1].logical_not()],
        named: s.named.iter().map(|(k, v)| (k.clone(), v * 2.0)).collect(),
        scale: s.scale,
        nothing: None,
    };
    let xs = numbers(&[5]);
    let mut want = state();
    for i in 0..5 {
        want = step(&want, &xs.select(0, i));
    }
    let f = move |xs: &Tensor| scan(|s: &State, x: &Tensor| (step(s, x), ()), &state(), xs).0;
    assert_eq!(bits(&every_way(f, &xs)), bits(&want));
    let g = move |xs: &Tensor| {
        fori(0..5, |i: &Tensor, s: &State| step(s, &xs.index_select(0, &i.reshape([1])).reshape([0usize; 0])), &state())
    };
    assert_eq!(bits(&every_way(g, &xs)), bits(&want));
    let h =
        move |xs: &Tensor| cond(&xs.sum(..).gt(1e9), || step(&state(), &xs.sum(..)), || step(&state(), &xs.max(..)));
    assert_eq!(bits(&every_way(h, &xs)), bits(&step(&state(), &xs.max(..))));
}

#[test]
fn one_tensor_at_two_places_becomes_two() {
    let x = Tensor::from(1.0f64);
    let f = |x: &Tensor| fori(0..3, |_, (a, b): &(Tensor, Tensor)| (a + 1.0, b * 3.0), &(x.clone(), x.clone()));
    let (a, b) = every_way(f, &x);
    assert_eq!((a.item::<f64>().unwrap(), b.item::<f64>().unwrap()), (4.0, 27.0));
    let g = |x: &Tensor| {
        while_loop(|(a, _)| a.lt(4.0), |(a, b): &(Tensor, Tensor)| (a + 1.0, b * 3.0), &(x.clone(), x.clone()))
    };
    let (a, b) = every_way(g, &x);
    assert_eq!((a.item::<f64>().unwrap(), b.item::<f64>().unwrap()), (4.0, 27.0));
    let xs = numbers(&[4]);
    let h = |xs: &Tensor| {
        scan(|c: &Tensor, (a, b): &(Tensor, Tensor)| (c + a * b, ()), &Tensor::from(0.0f64), &(xs.clone(), xs.clone()))
            .0
    };
    let mut want = Tensor::from(0.0f64);
    for i in 0..4 {
        want += xs.select(0, i) * xs.select(0, i);
    }
    assert_eq!(bits(&every_way(h, &xs)), bits(&want));
}

#[test]
fn what_is_captured_is_an_operand_once() {
    let (a, b) = (numbers(&[3]), numbers(&[3]) + 1.0);
    let (of, other) = (a.clone(), b.clone());
    let f = move |p: Tensor| cond(&p, || (&of + &other) * &of, || &of - &other);
    let lowered = tracewright::jit(f).lower(Tensor::from(true)).unwrap();
    // The predicate and the two tensors, used in both functions.
    assert_eq!(lowered.graph().inputs().len(), 3);
    let text = lowered.ir();
    assert!(text.contains("switch %0, %1, %2 {"), "{text}");
    // A value of the trace, made of an argument.
    let w = numbers(&[3, 3]);
    let g = move |x: Tensor| {
        let scaled = (&w * 2.0).tanh();
        scan(|c: &Tensor, x: &Tensor| (scaled.matmul(c) + x, ()), &(&x.select(0, 0) * 2.0), &x).0
    };
    let lowered = tracewright::jit(g).lower(numbers(&[4, 3])).unwrap();
    let text = lowered.ir();
    let (outside, inside) = text.split_once("scan").unwrap();
    assert!(outside.contains("tanh") && !inside.contains("tanh"), "{text}");
    assert!(inside.contains("constants = 1, carried = 1"), "{text}");
}

#[test]
fn tensors_of_other_kinds_are_captured() {
    // A view that waits, a constant, a captured scalar, all in one.
    let base = numbers(&[4, 3]);
    let f = move |x: &Tensor| {
        let view = base.transpose(0, 1).slice(1, 1..3);
        let two = Tensor::from(2.0f64);
        fori(0..3, |i: &Tensor, c: &Tensor| c * &two + view.sum(..) + i.to_dtype(DType::F64), x)
    };
    let x = numbers(&[2]);
    let sum = numbers(&[4, 3]).slice(0, 1..3).sum(..);
    let mut want = x.clone();
    for i in 0..3 {
        want = want * 2.0 + &sum + i as f64;
    }
    let got = every_way(f, &x);
    for (a, b) in got.to_vec::<f64>().unwrap().iter().zip(want.to_vec::<f64>().unwrap()) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}
