//! Calls, which say what is kept, and functions with derivatives of the users.

use super::{check, close, compiled, dotted, emitter, f64s, float_inputs, gradient, interpret, total};
use ir::{EmitExt, Literal, Scalar};
use passes::autodiff::{append_jvp, append_vjp};
use runtime::Executable;

const BLOCK: &str = "graph @f(%0: f64[3, 3], %1: f64[3], %2: i64[]) -> (f64[3]) {
  %3: f64[3] = call %0, %1, %2 {save = SAVE, names = \"hidden\"} {
    ^(%4: f64[3, 3], %5: f64[3], %6: i64[]):
    %7: f64[3] = dot_general %4, %5 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
    %8: f64[3] = tanh %7
    %9: f64[3] = named %8 {name = \"hidden\"}
    %10: f64[3] = exp %9
    %11: f64[3] = sin %10
    %12: f64[] = gather %11, %6 {axis = 0, batch = 0, mode = error}
    %13: f64[3] = broadcast_in_dim %12 {shape = [3], dims = []}
    %14: f64[3] = mul %11, %13
    yield %14
  }
  return %3
}
";

#[test]
fn calls_keep_what_they_are_told() {
    let inputs = [f64s(&[3, 3], 1.0), f64s(&[3], 0.7), Literal::scalar(Scalar::I64(1))];
    for (save, kept) in [("everything", None), ("nothing", Some(0)), ("products", Some(1)), ("named", Some(1))] {
        let text = BLOCK.replace("SAVE", save);
        check(&text, &inputs, true);
        let g = gradient(total(ir::text::parse(&text).unwrap()));
        let call = g.to_string().lines().find(|l| l.contains(" = call ")).unwrap().matches("f64[").count();
        // One result, and what is kept.
        assert!(kept.is_none_or(|kept| call == 1 + kept), "{save}: {g}");
        let twice = g.to_string().matches(" = exp ").count();
        assert_eq!(twice, if save == "everything" { 1 } else { 2 }, "{save}: {g}");
    }
}

#[test]
fn what_is_computed_again_is_computed_twice_when_compiled() {
    let count = |save: &str| {
        let g = gradient(total(ir::text::parse(&BLOCK.replace("SAVE", save)).unwrap()));
        let mut g = g.clone();
        // The loss too, so that the forward part is needed.
        let loss = total(ir::text::parse(&BLOCK.replace("SAVE", save)).unwrap()).outputs()[0];
        let outputs = g.outputs().iter().copied().chain([loss]).collect();
        g.set_outputs(outputs);
        let exe = Executable::inspect(&g, &[]).unwrap();
        let last = exe.artifacts().stages.iter().rfind(|s| s.name.contains("after")).unwrap().text.clone();
        (last.matches(" = exp ").count(), last)
    };
    assert_eq!(count("everything").0, 1);
    let (twice, text) = count("nothing");
    assert_eq!(twice, 2, "{text}");
}

const CUSTOM: &str = "graph @f(%0: f64[3], %1: i64[]) -> (f64[3], i64[]) {
  %2: f64[3], %3: i64[] = custom_vjp %0, %1 {
    ^(%4: f64[3], %5: i64[]):
    %6: f64[3] = mul %4, %4
    yield %6, %5
  } {
    ^(%7: f64[3], %8: i64[]):
    %9: f64[3] = mul %7, %7
    %10: f64[3] = add %7, %7
    yield %9, %8, %10
  } {
    ^(%11: f64[3], %12: f64[3]):
    %13: f64[3] = mul %11, %12
    yield %13
  }
  return %2, %3
}
";

#[test]
fn gradients_of_the_users() {
    let inputs = [f64s(&[3], 1.0), Literal::scalar(Scalar::I64(4))];
    // Forward there is none.
    let mut g = total(ir::text::parse(CUSTOM).unwrap());
    let (loss, x) = (g.outputs()[0], g.inputs()[0]);
    let t = g.add_input(g.ty(x).clone());
    let found = append_jvp(&mut g, &[(x, t)], &[loss]);
    assert!(found.cuts[0].reason.contains("none was given for forward mode"), "{:?}", found.cuts);
    // Three times the slope, so that it is seen that it counts.
    let text = CUSTOM.replace("%13: f64[3] = mul %11, %12", "%13: f64[3] = add %11, %12");
    for (text, slope) in [(CUSTOM, [2.0, 0.0]), (text.as_str(), [2.0, 1.0])] {
        let back = gradient(total(ir::text::parse(text).unwrap()));
        for outs in [interpret(&back, &inputs), compiled(&back, &inputs)] {
            for e in 0..3 {
                let (x, weight) = (inputs[0].get(e).as_f64(), 1.0 + e as f64);
                let want = if slope[1] == 0.0 { 2.0 * x * weight } else { 2.0 * x + weight };
                close(want, outs[0].get(e).as_f64(), text);
            }
        }
    }
}

#[test]
fn tangents_of_the_users() {
    let text = "graph @f(%0: f64[3], %1: f64[3]) -> (f64[3]) {
  %2: f64[3] = custom_jvp %0, %1 {
    ^(%3: f64[3], %4: f64[3]):
    %5: f64[3] = exp %3
    %6: f64[3] = mul %5, %4
    yield %6
  } {
    ^(%7: f64[3], %8: f64[3], %9: f64[3], %10: f64[3]):
    %11: f64[3] = exp %7
    %12: f64[3] = mul %11, %8
    %13: f64[3] = mul %12, %9
    %14: f64[3] = mul %11, %10
    %15: f64[3] = add %13, %14
    yield %12, %15
  }
  return %2
}
";
    check(text, &[f64s(&[3], 1.0), f64s(&[3], -0.5)], true);
    let bent = text.replace("%14: f64[3] = mul %11, %10", "%14: f64[3] = mul %10, %10");
    let mut g = total(ir::text::parse(&bent).unwrap());
    let (loss, wrt) = (g.outputs()[0], float_inputs(&g));
    let one = emitter(&mut g).full_like(loss, 1.0);
    let found = append_vjp(&mut g, &[(loss, one)], &wrt);
    assert!(found.cuts[0].reason.contains("not linear in the tangents"), "{:?}", found.cuts);
}

#[test]
fn indices_that_are_read_again_are_checked_once() {
    for save in ["everything", "nothing", "products", "named"] {
        let g = total(ir::text::parse(&BLOCK.replace("SAVE", save)).unwrap());
        let loss = g.outputs()[0];
        let mut g = gradient(g);
        let outputs = g.outputs().iter().copied().chain([loss]).collect();
        g.set_outputs(outputs);
        let exe = Executable::inspect(&g, &[]).unwrap();
        let last = &exe.artifacts().stages.iter().rfind(|s| s.name.contains("after")).unwrap().text;
        assert_eq!(last.matches("mode = error").count(), 1, "{save}: {last}");
    }
}

#[test]
fn of_several_results_some_have_no_cotangent() {
    // What the user's gradient makes of the second result would be seen.
    let text = "graph @f(%0: f64[3]) -> (f64[3]) {
  %1: f64[3], %2: f64[3] = custom_vjp %0 {
    ^(%3: f64[3]):
    %4: f64[3] = mul %3, %3
    %5: f64[3] = exp %3
    yield %4, %5
  } {
    ^(%6: f64[3]):
    %7: f64[3] = mul %6, %6
    %8: f64[3] = exp %6
    yield %7, %8, %6
  } {
    ^(%9: f64[3], %10: f64[3], %11: f64[3]):
    %12: f64[3] = add %9, %9
    %13: f64[3] = mul %12, %10
    %14: f64[3] = add %13, %11
    yield %14
  }
  return RESULT
}
";
    let x = f64s(&[3], 1.0);
    for (result, slope) in [("%1", (|x| 2.0 * x) as fn(f64) -> f64), ("%2", |_| 1.0)] {
        let back = gradient(total(ir::text::parse(&text.replace("RESULT", result)).unwrap()));
        for outs in [interpret(&back, std::slice::from_ref(&x)), compiled(&back, std::slice::from_ref(&x))] {
            (0..3).for_each(|e| close((1.0 + e as f64) * slope(x.get(e).as_f64()), outs[0].get(e).as_f64(), result));
        }
    }
}

/// A function of two operands, of which the derivative that is given uses the first's tangent alone.
const PARTIAL: &str = "graph @f(%0: f64[3], %1: f64[3]) -> (f64[3]) {
  %2: f64[3] = custom_jvp %0, %1 {
    ^(%3: f64[3], %4: f64[3]):
    %5: f64[3] = mul %3, %4
    yield %5
  } {
    ^(%6: f64[3], %7: f64[3], %8: f64[3], %9: f64[3]):
    %10: f64[3] = mul %6, %7
    %11: f64[3] = mul %8, %7
    yield %10, %11
  }
  return %2
}
";

#[test]
fn tangents_that_a_derivative_does_not_use() {
    let (x, y) = (f64s(&[3], 1.0), f64s(&[3], -0.5));
    let back = gradient(total(ir::text::parse(PARTIAL).unwrap()));
    let outs = interpret(&back, &[x.clone(), y.clone()]);
    for e in 0..3 {
        close((1.0 + e as f64) * y.get(e).as_f64(), outs[0].get(e).as_f64(), "by the first");
        close(0.0, outs[1].get(e).as_f64(), "by the second");
    }
    // Along the second operand alone nothing moves.
    let mut g = ir::text::parse(PARTIAL).unwrap();
    let (out, y_in) = (g.outputs()[0], g.inputs()[1]);
    let t = g.add_input(g.ty(y_in).clone());
    let found = append_jvp(&mut g, &[(y_in, t)], &[out]);
    g.set_outputs(vec![found.values[0].unwrap()]);
    let outs = interpret(&g, &[x, y, f64s(&[3], 1.0)]);
    (0..3).for_each(|e| close(0.0, outs[0].get(e).as_f64(), "along the second"));
}

#[test]
fn the_forward_part_of_a_user_keeps_what_its_own_gradient_needs() {
    let text = "graph @f(%0: f64[3]) -> (f64[3]) {
  %1: f64[3] = custom_vjp %0 {
    ^(%2: f64[3]):
    %3: f64[3] = tanh %2
    %4: f64[3] = exp %3
    yield %4
  } {
    ^(%5: f64[3]):
    %6: f64[3] = tanh %5
    %7: f64[3] = exp %6
    yield %7, %7
  } {
    ^(%8: f64[3], %9: f64[3]):
    %10: f64[3] = mul %8, %9
    yield %10
  }
  return %1
}
";
    let once = gradient(total(ir::text::parse(text).unwrap()));
    let twice = gradient(dotted(once, &[f64s(&[3], 0.5)]));
    let x = f64s(&[3], 1.0);
    let outs = interpret(&twice, std::slice::from_ref(&x));
    for e in 0..3 {
        let t = x.get(e).as_f64().tanh();
        let want = (1.0 + e as f64) * f64s(&[3], 0.5).get(e).as_f64() * t.exp() * (1.0 - t * t);
        close(want, outs[0].get(e).as_f64(), "the gradient of the gradient");
    }
    // In the function itself, which nothing needs any more, and in the forward part.
    assert_eq!(twice.to_string().matches(" = tanh ").count(), 1, "{twice}");
}

#[test]
fn what_no_output_needs_has_no_tangent() {
    let mut g = ir::text::parse(CUSTOM).unwrap();
    let x = g.inputs()[0];
    let square = emitter(&mut g).mul(x, x);
    let t = g.add_input(g.ty(x).clone());
    let before = g.region(g.root()).ops.len();
    // The function of the user has no forward mode, and is not asked for it.
    let found = append_jvp(&mut g, &[(x, t)], &[square]);
    assert!(found.cuts.is_empty() && found.values[0].is_some(), "{:?}", found.cuts);
    assert!(g.region(g.root()).ops.len() - before <= 3, "{g}");
}
