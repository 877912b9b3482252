//! Dimensions: normal form, division, text, and arithmetic at the edge of the range.

use ir::{Dim, Symbol};
use proptest::prelude::*;

fn d(text: &str) -> Dim {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn equal_polynomials_are_equal() {
    let (b, c) = (d("B"), d("C"));
    assert_eq!((&b + &c) * (&b - &c), &b * &b - &c * &c);
    assert_eq!((&b + 1) * (&c + 2), d("B*C+2*B+C+2"));
    assert_eq!(&b - &b, Dim::from(0));
    assert_eq!((&b * 2 - &b).to_string(), "B");
}

#[test]
fn division_is_exact_or_kept() {
    assert_eq!(d("6*B").exact_div(&d("2*B")), Some(Dim::from(3)));
    assert_eq!(d("B*C+2*B+C+2").exact_div(&d("C+2")), Some(d("B+1")));
    assert_eq!(d("B*C+2*B+C+2").exact_div(&d("B+1")), Some(d("C+2")));
    assert_eq!(d("B*B-1").exact_div(&d("B-1")), Some(d("B+1")));
    assert_eq!(d("B*B+1").exact_div(&d("B-1")), None);
    assert_eq!(d("3*B").exact_div(&d("2")), None);
    assert_eq!(d("B").exact_div(&d("0")), None);
    assert_eq!(d("0").exact_div(&d("B")), Some(Dim::from(0)));
    assert_eq!(d("4*B+3").floor_div(&d("4")), d("B"));
    assert_eq!(d("4*B-1").floor_div(&d("4")), d("B-1"));
    assert_eq!(d("4*B-1").modulo(&d("4")), d("3"));
    assert_eq!(d("4*B+C").modulo(&d("4")), d("mod(C, 4)"));
    assert_eq!(d("B").ceil_div(&d("2")).to_string(), "floordiv(B+1, 2)");
    assert_eq!(d("2*B").ceil_div(&d("2")), d("B"));
    assert_eq!(Dim::from(-7).floor_div(&Dim::from(2)), Dim::from(-4));
    assert_eq!(Dim::from(-7).modulo(&Dim::from(2)), Dim::from(1));
    assert_eq!(Dim::from(7).modulo(&Dim::from(-2)), Dim::from(-1));
}

#[test]
fn division_by_zero_has_no_value() {
    for text in ["floordiv(5, 0)", "mod(5, 0)", "floordiv(B, 0)", "mod(B, 0)"] {
        assert_eq!(d(text).eval(&|_| Some(3)), None, "{text}");
        assert_eq!(d(text).to_string(), text);
    }
}

#[test]
fn the_edge_of_the_range_does_not_panic_or_wrap() {
    let (max, min) = (Dim::from(i64::MAX), Dim::from(i64::MIN));
    let huge = Dim::from(1i64 << 40);
    assert!((&huge * &huge).known().unwrap() > 1 << 50, "does not become small");
    assert_eq!((&max + 1).known(), Some(i64::MAX));
    assert_eq!((&min - 1).known(), Some(i64::MIN));
    for a in [&max, &min, &d("B"), &(&min * d("B")), &(&max * d("B") + &min)] {
        for b in [&Dim::from(-1), &Dim::from(0), &min, &max, &d("B"), &(d("B") * -1)] {
            let all = [a + b, a - b, a * b, a.floor_div(b), a.modulo(b), a.ceil_div(b)];
            for x in all {
                let _ = x.eval(&|_| Some(i64::MIN));
                let _ = x.substitute(&|_| Some(Dim::from(-1)));
                let _ = a.exact_div(b);
            }
        }
    }
    assert_eq!((d("B") * i64::MAX + 1).eval(&|_| Some(2)), None, "an overflow has no value");
}

#[test]
fn substitution_simplifies() {
    let to = |n: i64| move |s: &Symbol| (s.name() == "B").then(|| Dim::from(n));
    assert_eq!(d("floordiv(B+1, 2)").substitute(&to(7)), Dim::from(4));
    assert_eq!(d("floordiv(B*C, 4)").substitute(&to(8)), d("2*C"));
    assert_eq!(d("mod(B*C, 4)").substitute(&to(8)), Dim::from(0));
    assert_eq!(d("mod(C, B)").substitute(&to(8)).to_string(), "mod(C, 8)");
}

#[test]
fn text_that_is_no_dimension_is_refused() {
    for (text, message) in [
        ("", "expected a number or symbol"),
        ("B+", "expected a number or symbol"),
        ("2x", "found `2x`"),
        ("B C", "unexpected `C`"),
        ("floordiv(B)", "floordiv"),
        ("mod", "found `mod`"),
        ("B)", "unexpected `)`"),
        ("99999999999999999999", "found `99999999999999999999`"),
        ("B*-2", "expected a number or symbol"),
    ] {
        let e = text.parse::<Dim>().expect_err(text);
        assert!(e.contains(message), "{text}: {e}");
    }
    let deep = format!("{}B{}", "mod(".repeat(100_000), ", 2)".repeat(100_000));
    assert_eq!(deep.parse::<Dim>(), Err("dimension nests too deep".into()));
    for (name, valid) in
        [("B", true), ("_x1", true), ("é", false), ("", false), ("1B", false), ("a b", false), ("mod", false)]
    {
        assert_eq!(Symbol::is_valid(name), valid, "{name}");
        assert_eq!(name.parse::<Dim>().is_ok_and(|d| d == Dim::symbol(name)), valid, "{name}");
    }
}

#[test]
fn serialised_text_is_checked() {
    // The binary form is a variant number and a number or a string.
    let hostile = |text: &str| postcard::to_stdvec(&(1u32, text)).unwrap();
    assert_eq!(postcard::from_bytes::<Dim>(&hostile("2*B+B")).unwrap(), d("3*B"));
    assert!(postcard::from_bytes::<Dim>(&hostile("B+")).is_err());
    assert!(postcard::from_bytes::<Dim>(&hostile(&"mod(".repeat(1_000_000))).is_err());
}

/// A dimension of that depth, with small numbers.
fn dims() -> impl Strategy<Value = Dim> {
    let leaf = prop_oneof![
        (-5i64..6).prop_map(Dim::from),
        prop::sample::select(vec!["A", "B", "N_1"]).prop_map(Dim::symbol),
        prop::sample::select(vec![i64::MIN, i64::MAX]).prop_map(Dim::from),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), inner, 0..5).prop_map(|(a, b, op)| match op {
            0 => a + b,
            1 => a - b,
            2 => a * b,
            3 => a.floor_div(&b),
            _ => a.modulo(&b),
        })
    })
}

/// The same expressions, computed with numbers.
fn small() -> impl Strategy<Value = (Dim, Option<i64>)> {
    let leaf = prop_oneof![
        (-5i64..6).prop_map(|n| (Dim::from(n), Some(n))),
        Just((Dim::symbol("A"), Some(3))),
        Just((Dim::symbol("B"), Some(5))),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        (inner.clone(), inner, 0..5).prop_map(|((a, x), (b, y), op)| {
            let number = x.zip(y).and_then(|(x, y)| {
                let quotient = || (y != 0).then(|| x.div_euclid(y) - (x.rem_euclid(y) != 0 && y < 0) as i64);
                match op {
                    0 => x.checked_add(y),
                    1 => x.checked_sub(y),
                    2 => x.checked_mul(y),
                    3 => quotient(),
                    _ => Some(x - y * quotient()?),
                }
            });
            let dim = match op {
                0 => a + b,
                1 => a - b,
                2 => a * b,
                3 => a.floor_div(&b),
                _ => a.modulo(&b),
            };
            (dim, number)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

    #[test]
    fn text_and_bytes_read_back(d in dims()) {
        prop_assert_eq!(d.to_string().parse::<Dim>(), Ok(d.clone()));
        let bytes = postcard::to_stdvec(&d).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Dim>(&bytes).unwrap(), d);
    }

    #[test]
    fn simplification_keeps_the_value((dim, number) in small()) {
        // Where a division by 0 is multiplied away or divides out, the simplified expression may have a value.
        if let Some(n) = number {
            let value = |s: &Symbol| Some(if s.name() == "A" { 3 } else { 5 });
            prop_assert_eq!(dim.eval(&value), Some(n), "{}", dim);
            let known = dim.substitute(&|s| value(s).map(Dim::from));
            prop_assert_eq!(known, Dim::from(n), "{}", dim);
        }
    }
}
