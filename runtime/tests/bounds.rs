//! Bounds on what correct executions may differ by.

use ir::{DType, Literal, Primitive};
use runtime::bounds::{Bounded, UNKNOWN, analyse};
use std::collections::BTreeSet;

fn bounded(text: &str, inputs: &[Literal], strict16: bool) -> Bounded {
    let graph = ir::text::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    analyse(&graph, inputs, strict16).unwrap().remove(0)
}

#[test]
fn every_op_has_bounds() {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for sample in Primitive::all_samples() {
        // An op that fails on its sample has no result to bound.
        let Ok(results) = analyse(&sample.graph(), &sample.operands, true) else { continue };
        if results.iter().all(|r| !r.bounds.is_empty() && r.bounds.iter().all(|&b| b != UNKNOWN)) {
            known.insert(sample.primitive.name());
        }
    }
    let missing = |n: &&&str| !known.contains(**n) && !Primitive::has_regions(n);
    let missing: Vec<_> = Primitive::NAMES.iter().filter(missing).collect();
    assert!(missing.is_empty(), "nothing is ever known of the results of {missing:?}");
}

#[test]
fn exact_ops_of_exact_values_are_exact() {
    let x = Literal::from_vec(&[3], vec![0.1f32, 0.2, 0.7]);
    let text = "graph @f(%0: f32[3]) -> (f32[3]) {
      %1: f32[3] = mul %0, %0
      %2: f32[3] = div %1, %0
      %3: f32[3] = sqrt %2
      return %3
    }";
    assert_eq!(bounded(text, &[x], false).bounds, [0.0; 3]);
}

#[test]
fn functions_and_sums_are_known_to_their_last_bits() {
    let x = Literal::from_vec(&[4], vec![0.5f32, 1.0, 2.0, 3.0]);
    let text = "graph @f(%0: f32[4]) -> (f32[]) {
      %1: f32[4] = exp %0
      %2: f32[] = reduce_sum %1 {axes = [0]}
      return %2
    }";
    let sum = bounded(text, &[x], false);
    let relative = sum.bounds[0] / sum.value.get(0).as_f64();
    assert!((1e-8..2e-6).contains(&relative), "{relative:e}");
}

#[test]
fn a_comparison_on_the_edge_is_unknown() {
    // exp(1) compared with itself as the oracle rounds it, and with a number that is clearly less.
    let x = Literal::from_vec(&[2], vec![1.0f32, 1.0]);
    let y = Literal::from_vec(&[2], vec![1f64.exp() as f32, 2.0]);
    let text = "graph @f(%0: f32[2], %1: f32[2]) -> (bool[2]) {
      %2: f32[2] = exp %0
      %3: bool[2] = compare %2, %1 {direction = gt}
      return %3
    }";
    assert_eq!(bounded(text, &[x, y], false).bounds, [UNKNOWN, 0.0]);
}

#[test]
fn halves_are_exact_only_if_every_op_rounds() {
    let x = Literal::from_fn(&[2], DType::BF16, |i| ir::Scalar::of(DType::BF16, 0.3 + i as f64));
    let text = "graph @f(%0: bf16[2]) -> (bf16[2]) {
      %1: bf16[2] = mul %0, %0
      return %1
    }";
    assert_eq!(bounded(text, std::slice::from_ref(&x), true).bounds, [0.0; 2]);
    let loose = bounded(text, &[x], false);
    assert!(loose.bounds.iter().all(|&b| (1e-5..1e-2).contains(&b)), "{:?}", loose.bounds);
}

#[test]
fn differences_beyond_the_bounds_are_found() {
    let value = Literal::from_vec(&[2], vec![1.0f32, 2.0]);
    let bounded = Bounded { value: value.clone(), bounds: vec![0.0, 0.5] };
    assert_eq!(bounded.difference(&value), None);
    assert_eq!(bounded.difference(&Literal::from_vec(&[2], vec![1.0f32, 2.25])), None);
    assert_eq!(bounded.difference(&Literal::from_vec(&[2], vec![1.0f32, 2.75])), Some(1));
    assert_eq!(bounded.difference(&Literal::from_vec(&[2], vec![1.0f32 + f32::EPSILON, 2.0])), Some(0));
    assert_eq!(bounded.difference(&Literal::from_vec(&[2], vec![f32::NAN, 2.0])), Some(0));
}

#[test]
fn zero_times_an_inexact_value_may_have_either_sign() {
    let x = Literal::from_vec(&[3], vec![0.1f32, 0.2, -0.3]);
    let zero = Literal::scalar(ir::Scalar::F32(0.0));
    let text = "graph @f(%0: f32[3], %1: f32[]) -> (f32[]) {
      %2: f32[] = reduce_sum %0 {axes = [0]}
      %3: f32[] = mul %2, %1
      return %3
    }";
    let product = bounded(text, &[x, zero], false);
    assert_eq!(product.difference(&Literal::scalar(ir::Scalar::F32(-0.0))), None);
    assert_eq!(product.difference(&Literal::scalar(ir::Scalar::F32(0.1))), Some(0));
}

/// A loop that sums `f(c) + x`, the choice of a branch, and a loop that a condition on what is carried ends.
const LOOPS: &str = "graph @f(%0: f32[4], %1: f32[], %2: i64[]) -> (f32[], f32[4], f32[], f32[]) {
  %3: f32[], %4: f32[4] = scan %1, %0 {length = 4, constants = 0, carried = 1} {
    ^(%5: i64[], %6: f32[], %7: f32[]):
    %8: f32[] = STEP %6
    %9: f32[] = add %8, %7
    yield %9, %9
  }
  %10: f32[] = switch %2, %3 {
    ^(%11: f32[]):
    %12: f32[] = full {value = 1:f32, shape = []}
    yield %12
  } {
    ^(%13: f32[]):
    yield %13
  }
  %14: f32[] = while_loop %3 {constants = 0} {
    ^(%15: f32[]):
    %16: f32[] = full {value = 9:f32, shape = []}
    %17: bool[] = compare %15, %16 {direction = lt}
    yield %17
  } {
    ^(%18: f32[]):
    %19: f32[] = full {value = 1:f32, shape = []}
    %20: f32[] = add %18, %19
    yield %20
  }
  return %3, %4, %10, %14
}
";

#[test]
fn loops_carry_bounds_through_their_iterations() {
    let inputs = |choice: i64| {
        let x = Literal::from_vec(&[4], vec![0.5f32, -1.0, 0.25, 1.0]);
        vec![x, Literal::from_vec(&[], vec![0.5f32]), Literal::from_vec(&[], vec![choice])]
    };
    let run = |step: &str, choice| {
        let graph = ir::text::parse(&LOOPS.replace("STEP", step)).unwrap();
        let all = analyse(&graph, &inputs(choice), true).unwrap();
        all.into_iter().map(|b| b.bounds).collect::<Vec<_>>()
    };
    for choice in [0, 1] {
        assert_eq!(run("neg", choice), [vec![0.0], vec![0.0; 4], vec![0.0], vec![0.0]]);
    }
    let [last, all, chosen, counted] = &run("sin", 1)[..] else { panic!() };
    assert!(all[0] > 0.0 && all.windows(2).all(|w| w[0] < w[1]) && all[3] < 0.1, "{all:?}");
    assert_eq!((last[0], chosen[0]), (all[3], all[3]));
    assert!(counted[0] >= last[0] && counted[0] < 0.1, "{counted:?}");
    // Rounding decides whether the loop ends at once.
    let graph = |limit: f32| ir::text::parse(&LOOPS.replace("STEP", "sin").replace("9:f32", &format!("{limit:?}:f32")));
    let value = analyse(&graph(9.0).unwrap(), &inputs(1), true).unwrap()[0].value.as_slice::<f32>()[0];
    assert_eq!(analyse(&graph(value).unwrap(), &inputs(1), true).unwrap()[3].bounds, [f64::INFINITY]);
    assert_eq!(run("sin", 0)[2], [0.0]);
}
