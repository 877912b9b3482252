//! Branches and loops.

use super::{check, close, compiled, emitter, f64s, gradient, interpret, total};
use ir::{EmitExt, Literal, Scalar};
use passes::autodiff::append_vjp;
use runtime::Executable;

const RECURRENT: &str = "graph @rnn(%0: f64[3, 3], %1: f64[3], %2: f64[4, 3]) -> (f64[3], f64[4, 3]) {
  %3: f64[3], %4: f64[4, 3] = scan %0, %1, %2 {length = 4, constants = 1, carried = 1} {
    ^(%5: i64[], %6: f64[3, 3], %7: f64[3], %8: f64[3]):
    %9: f64[3, 3] = sin %6
    %10: f64[3] = dot_general %9, %7 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
    %11: f64[3] = add %10, %8
    %12: f64[3] = tanh %11
    %13: f64[] = convert %5 {dtype = f64}
    %14: f64[3] = broadcast_in_dim %13 {shape = [3], dims = []}
    %15: f64[3] = mul %12, %14
    %16: f64[3] = exp %15
    yield %12, %16
  }
  return %3, %4
}
";

#[test]
fn a_recurrence_over_elements() {
    let inputs = [f64s(&[3, 3], 1.0), f64s(&[3], 0.7), f64s(&[4, 3], 1.0)];
    check(RECURRENT, &inputs, true);
    check(&RECURRENT.replace("carried = 1}", "carried = 1, reverse = true}"), &inputs, true);
}

#[test]
fn what_only_later_iterations_differentiate() {
    // The tangent moves from one carried value to the next; one carried value is an integer, one is never read.
    let text = "graph @f(%0: f64[2], %1: i64[]) -> (f64[2], f64[2], i64[]) {
  %2: f64[2] = full {value = 1:f64, shape = [2]}
  %3: f64[2], %4: f64[2], %5: f64[2], %6: i64[] = scan %0, %2, %2, %1 {length = 3, constants = 0, carried = 4} {
    ^(%7: i64[], %8: f64[2], %9: f64[2], %10: f64[2], %11: i64[]):
    %12: f64[2] = mul %8, %9
    %13: f64[2] = sin %9
    %14: i64[] = add %11, %7
    yield %12, %8, %13, %14
  }
  return %4, %5, %6
}
";
    check(text, &[f64s(&[2], 1.0), Literal::scalar(Scalar::I64(5))], true);
}

#[test]
fn branches() {
    for (choice, at) in
        [("bool", Scalar::Bool(false)), ("bool", Scalar::Bool(true)), ("i64", Scalar::I64(0)), ("i64", Scalar::I64(9))]
    {
        let text = format!(
            "graph @f(%0: {choice}[], %1: f64[3], %2: f64[3]) -> (f64[3], f64[]) {{
  %3: f64[3], %4: f64[] = switch %0, %1, %2 {{
    ^(%5: f64[3], %6: f64[3]):
    %7: f64[3] = exp %5
    %8: f64[3] = mul %7, %6
    %9: f64[3] = mul %8, %5
    %10: f64[] = reduce_sum %8 {{axes = [0]}}
    yield %9, %10
  }} {{
    ^(%11: f64[3], %12: f64[3]):
    %13: f64[3] = sin %12
    %14: f64[] = reduce_max %13 {{axes = [0]}}
    yield %12, %14
  }}
  return %3, %4
}}
"
        );
        check(&text, &[Literal::scalar(at), f64s(&[3], 1.0), f64s(&[3], -0.8)], true);
    }
}

#[test]
fn loops_with_branches_inside() {
    let text = "graph @f(%0: f64[2], %1: f64[5, 2]) -> (f64[2]) {
  %2: f64[2] = scan %0, %1 {length = 5, constants = 0, carried = 1} {
    ^(%3: i64[], %4: f64[2], %5: f64[2]):
    %6: i64[] = full {value = 2:i64, shape = []}
    %7: bool[] = compare %3, %6 {direction = lt}
    %8: f64[2] = scan %4, %5 {length = 2, constants = 0, carried = 1} {
      ^(%9: i64[], %10: f64[2], %11: f64[]):
      %12: f64[2] = broadcast_in_dim %11 {shape = [2], dims = []}
      %13: f64[2] = mul %10, %12
      %14: f64[2] = cos %13
      yield %14
    }
    %15: f64[2] = switch %7, %8, %4 {
      ^(%16: f64[2], %17: f64[2]):
      %18: f64[2] = mul %16, %17
      yield %18
    } {
      ^(%19: f64[2], %20: f64[2]):
      %21: f64[2] = sin %19
      yield %21
    }
    yield %15
  }
  return %2
}
";
    check(text, &[f64s(&[2], 1.0), f64s(&[5, 2], 1.0)], true);
}

#[test]
fn a_while_loop_has_tangents_and_no_gradient() {
    let text = "graph @f(%0: f64[], %1: f64[]) -> (f64[], f64[]) {
  %2: f64[], %3: f64[] = while_loop %0, %1, %1 {constants = 1} {
    ^(%4: f64[], %5: f64[], %6: f64[]):
    %7: f64[] = full {value = 20:f64, shape = []}
    %8: bool[] = compare %5, %7 {direction = lt}
    yield %8
  } {
    ^(%9: f64[], %10: f64[], %11: f64[]):
    %12: f64[] = mul %10, %9
    %13: f64[] = log %12
    %14: f64[] = mul %11, %13
    yield %12, %14
  }
  return %2, %3
}
";
    check(text, &[Literal::scalar(Scalar::F64(1.7)), Literal::scalar(Scalar::F64(0.9))], false);
    let mut g = total(ir::text::parse(text).unwrap());
    let (loss, wrt) = (g.outputs()[0], g.inputs().to_vec());
    let one = emitter(&mut g).full_like(loss, 1.0);
    let found = append_vjp(&mut g, &[(loss, one)], &wrt);
    assert_eq!((found.cuts.len(), found.cuts[0].op), (1, "while_loop"));
    assert!(found.cuts[0].reason.contains("the number of iterations is not known"), "{}", found.cuts[0].reason);
}

#[test]
fn what_an_iteration_needs_is_stacked_and_what_none_changes_is_not() {
    let g = gradient(total(ir::text::parse(RECURRENT).unwrap()));
    let exe = Executable::inspect(&g, &[]).unwrap();
    let optimised = &exe.artifacts().stages.iter().rfind(|s| s.name.contains("after")).unwrap().text;
    // The sine of the constant stands before the loop, once.
    let scans: Vec<&str> = optimised.lines().filter(|l| l.contains(" = scan ")).collect();
    assert_eq!(scans.len(), 2, "{optimised}");
    let sine = optimised.lines().position(|l| l.contains("= sin ")).unwrap();
    let scan = optimised.lines().position(|l| l.contains(" = scan ")).unwrap();
    assert!(sine < scan, "{optimised}");
    assert!(!optimised.contains("f64[4, 3, 3]"), "{optimised}");
}

/// A block that a call may compute again, with a product, a gather and a name inside.

#[test]
fn what_would_be_large_in_memory_stays_in_the_loop() {
    let text = |n: usize| {
        format!(
            "graph @f(%0: f64[{n}], %1: f64[]) -> (f64[]) {{
  %2: f64[] = scan %0, %1 {{length = 3, constants = 1, carried = 1}} {{
    ^(%3: i64[], %4: f64[{n}], %5: f64[]):
    %6: f64[{n}, {n}] = broadcast_in_dim %4 {{shape = [{n}, {n}], dims = [0]}}
    %7: f64[{n}, {n}] = broadcast_in_dim %4 {{shape = [{n}, {n}], dims = [1]}}
    %8: f64[{n}, {n}] = mul %6, %7
    %9: f64[{n}, {n}] = exp %8
    %10: f64[{n}, {n}] = broadcast_in_dim %5 {{shape = [{n}, {n}], dims = []}}
    %11: f64[{n}, {n}] = mul %9, %10
    %12: f64[] = reduce_sum %11 {{axes = [0, 1]}}
    %13: f64[] = log %12
    yield %13
  }}
  return %2
}}
"
        )
    };
    let optimised = |n: usize| {
        let exe = Executable::inspect(&ir::text::parse(&text(n)).unwrap(), &[]).unwrap();
        exe.artifacts().stages.iter().rfind(|s| s.name.contains("after")).unwrap().text.clone()
    };
    let leaves = |text: &str| text.find("= exp ").unwrap() < text.find("= scan ").unwrap();
    assert!(leaves(&optimised(16)), "{}", optimised(16));
    assert!(!leaves(&optimised(500)), "{}", optimised(500));
    let inputs = [f64s(&[100], 0.1), Literal::scalar(Scalar::F64(0.3))];
    let g = ir::text::parse(&text(100)).unwrap();
    close(interpret(&g, &inputs)[0].get(0).as_f64(), compiled(&g, &inputs)[0].get(0).as_f64(), "in the loop");
}

#[test]
fn what_stops_to_move_has_no_tangent_any_more() {
    // The first value is carried into each iteration and replaced by a constant; the second begins as one.
    let text = "graph @f(%0: f64[2], %1: f64[3, 2]) -> (f64[2], f64[2], f64[3, 2]) {
  %2: f64[2] = full {value = 3:f64, shape = [2]}
  %3: f64[2], %4: f64[2], %5: f64[3, 2] = scan %0, %2, %1 {length = 3, constants = 0, carried = 2} {
    ^(%6: i64[], %7: f64[2], %8: f64[2], %9: f64[2]):
    %10: f64[2] = full {value = 2:f64, shape = [2]}
    %11: f64[2] = mul %7, %9
    %12: f64[2] = mul %11, %8
    yield %10, %11, %12
  }
  return %3, %4, %5
}
";
    check(text, &[f64s(&[2], 1.0), f64s(&[3, 2], 0.7)], true);
}

#[test]
fn tangents_of_a_while_loop_come_and_go() {
    // One value moves from the first iteration on, the next two each an iteration later, and one only in the first.
    let text = "graph @f(%0: f64[], %1: f64[]) -> (f64[], f64[], f64[], f64[]) {
  %2: f64[] = full {value = 0:f64, shape = []}
  %3: f64[] = full {value = 0.75:f64, shape = []}
  %4: f64[], %5: f64[], %6: f64[], %7: f64[], %8: f64[] = while_loop %2, %0, %3, %3, %1 {constants = 0} {
    ^(%9: f64[], %10: f64[], %11: f64[], %12: f64[], %13: f64[]):
    %14: f64[] = full {value = 4:f64, shape = []}
    %15: bool[] = compare %9, %14 {direction = lt}
    yield %15
  } {
    ^(%16: f64[], %17: f64[], %18: f64[], %19: f64[], %20: f64[]):
    %21: f64[] = full {value = 1:f64, shape = []}
    %22: f64[] = add %16, %21
    %23: f64[] = mul %17, %20
    %24: f64[] = sin %23
    %25: f64[] = mul %17, %18
    %26: f64[] = add %18, %19
    %27: f64[] = full {value = 2:f64, shape = []}
    yield %22, %24, %25, %26, %27
  }
  return %5, %6, %7, %8
}
";
    check(text, &[Literal::scalar(Scalar::F64(0.4)), Literal::scalar(Scalar::F64(0.9))], false);
}

#[test]
fn what_nothing_wanted_reaches_has_no_cotangent() {
    // The second value is carried, and a part of the outcome, but depends on no input.
    let text = "graph @f(%0: f64[2], %1: f64[3, 2]) -> (f64[2], f64[2]) {
  %2: f64[2] = full {value = 1:f64, shape = [2]}
  %3: f64[2], %4: f64[2] = scan %0, %2, %1 {length = 3, constants = 0, carried = 2} {
    ^(%5: i64[], %6: f64[2], %7: f64[2], %8: f64[2]):
    %9: f64[2] = mul %6, %8
    %10: f64[2] = mul %9, %7
    %11: f64[2] = exp %7
    %12: f64[2] = sin %11
    yield %10, %12
  }
  return %3, %4
}
";
    check(text, &[f64s(&[2], 1.0), f64s(&[3, 2], 0.7)], true);
    let g = gradient(total(ir::text::parse(text).unwrap())).to_string();
    let scans: Vec<&str> = g.lines().filter(|l| l.contains(" = scan ")).collect();
    assert!(scans.len() == 2 && scans[1].contains("carried = 1,"), "{g}");
}

#[test]
fn branches_keep_several_values_of_one_type() {
    // One branch keeps two of them, the other one.
    let text = "graph @f(%0: bool[], %1: f64[3], %2: f64[3]) -> (f64[3]) {
  %3: f64[3] = switch %0, %1, %2 {
    ^(%4: f64[3], %5: f64[3]):
    %6: f64[3] = exp %4
    %7: f64[3] = tanh %5
    %8: f64[3] = mul %6, %7
    %9: f64[3] = tanh %8
    yield %9
  } {
    ^(%10: f64[3], %11: f64[3]):
    %12: f64[3] = tanh %10
    %13: f64[3] = mul %12, %11
    yield %13
  }
  return %3
}
";
    for at in [false, true] {
        check(text, &[Literal::scalar(Scalar::Bool(at)), f64s(&[3], 1.0), f64s(&[3], -0.8)], true);
    }
    let g = gradient(total(ir::text::parse(text).unwrap())).to_string();
    let kept =
        g.lines().find(|l| l.contains(" = switch ")).unwrap().split(" = ").next().unwrap().matches("f64[3]").count();
    assert_eq!(kept, 1 + 2, "{g}");
}
