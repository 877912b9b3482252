//! Derivatives of branches and loops: forward and reverse against finite differences in f64, interpreted and compiled, and
//! derivatives of derivatives.

use ir::ops::{GraphEmitter, create::Full};
use ir::verify::{Stage, verify};
use ir::{DType, Emit, EmitExt, Graph, Literal, Scalar, Value};
use passes::autodiff::{append_jvp, append_vjp};
use runtime::{Array, Executable, Input, interpreter};

fn emitter(graph: &mut Graph) -> GraphEmitter<'_> {
    let region = graph.root();
    let origins = graph.op(graph.region(region).ops[0]).origins.clone();
    GraphEmitter { graph, region, origins }
}

/// The sum of all float outputs, each element weighted by its place.
fn total(mut g: Graph) -> Graph {
    let outputs = g.outputs().to_vec();
    let mut sum: Option<Value> = None;
    for v in outputs {
        let ty = g.ty(v).clone();
        if !ty.dtype.is_float() {
            continue;
        }
        let mut b = emitter(&mut g);
        let weights = Literal::from_fn(&ty.shape.known().unwrap(), ty.dtype, |i| Scalar::of(ty.dtype, 1.0 + i as f64));
        let weights = b.emit(ir::ops::create::Constant { value: weights }.into(), &[]);
        let product = b.mul(v, weights);
        let axes: Vec<usize> = (0..ty.rank()).collect();
        let part = b.reduce_sum(product, &axes);
        sum = Some(match sum {
            Some(s) => b.add(s, part),
            None => part,
        });
    }
    g.set_outputs(vec![sum.unwrap()]);
    g
}

fn float_inputs(g: &Graph) -> Vec<Value> {
    g.inputs().iter().copied().filter(|&v| g.ty(v).dtype.is_float()).collect()
}

/// The gradients of the only output by every float input.
fn gradient(mut g: Graph) -> Graph {
    let (loss, wrt) = (g.outputs()[0], float_inputs(&g));
    let one = emitter(&mut g).full_like(loss, 1.0);
    let found = append_vjp(&mut g, &[(loss, one)], &wrt);
    assert!(found.cuts.is_empty(), "{:?}", found.cuts);
    let values = found.values.into_iter().zip(&wrt);
    let values: Vec<Value> =
        values.map(|(g, &v)| (g, v)).collect::<Vec<_>>().into_iter().map(|(d, v)| d.unwrap_or(v)).collect();
    g.set_outputs(values);
    verify(&g, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{g}"));
    g
}

/// The derivative of the only output along tangents, which are further inputs.
fn tangent(mut g: Graph) -> Graph {
    let (loss, wrt) = (g.outputs()[0], float_inputs(&g));
    let pairs: Vec<(Value, Value)> = wrt.iter().map(|&v| (v, g.add_input(g.ty(v).clone()))).collect();
    let found = append_jvp(&mut g, &pairs, &[loss]);
    assert!(found.cuts.is_empty(), "{:?}", found.cuts);
    g.set_outputs(vec![found.values[0].expect("a tangent")]);
    verify(&g, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{g}"));
    g
}

fn interpret(g: &Graph, inputs: &[Literal]) -> Vec<Literal> {
    interpreter::interpret(g, inputs).unwrap_or_else(|e| panic!("{e}\n{g}"))
}

fn compiled(g: &Graph, inputs: &[Literal]) -> Vec<Literal> {
    let exe = Executable::compile(g, &[]).unwrap();
    assert!(exe.is_compiled(), "{:?}", exe.artifacts().fallback);
    let mut args: Vec<Input> = inputs.iter().map(|l| Input::Shared(Array::from_literal(l).unwrap())).collect();
    exe.call(&mut args).unwrap().iter().map(|a| a.to_literal().unwrap()).collect()
}

fn close(want: f64, got: f64, what: &str) {
    assert!((want - got).abs() <= 2e-6 * want.abs().max(1.0), "{what}: {got}, not {want}");
}

/// By every element of every float input, the derivative of the only output by differences.
fn differences(g: &Graph, inputs: &[Literal]) -> Vec<Vec<f64>> {
    let at = |i: usize, e: usize, h: f64| {
        let mut moved = inputs.to_vec();
        let x = &inputs[i];
        moved[i] = Literal::from_fn(x.dims(), x.dtype(), |k| {
            Scalar::of(x.dtype(), x.get(k).as_f64() + if k == e { h } else { 0.0 })
        });
        interpret(g, &moved)[0].get(0).as_f64()
    };
    let h = 1e-5;
    let floats = inputs.iter().enumerate().filter(|(_, x)| x.dtype().is_float());
    floats.map(|(i, x)| (0..x.numel()).map(|e| (at(i, e, h) - at(i, e, -h)) / (2.0 * h)).collect()).collect()
}

/// Checks forward and reverse mode of the weighted sum of all outputs, and its second derivatives.
fn check(text: &str, inputs: &[Literal], reverse: bool) {
    let g = total(ir::text::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}")));
    let slopes = differences(&g, inputs);
    // Directions with every element another.
    let directions: Vec<Literal> = inputs
        .iter()
        .filter(|x| x.dtype().is_float())
        .map(|x| Literal::from_fn(x.dims(), x.dtype(), |i| Scalar::of(x.dtype(), 0.5 - 0.3 * (i % 4) as f64)))
        .collect();
    let along = |slopes: &[Vec<f64>]| -> f64 {
        let pairs = slopes.iter().zip(&directions);
        pairs.map(|(s, d)| s.iter().enumerate().map(|(i, s)| s * d.get(i).as_f64()).sum::<f64>()).sum()
    };
    let forward = tangent(g.clone());
    let all: Vec<Literal> = inputs.iter().chain(&directions).cloned().collect();
    close(along(&slopes), interpret(&forward, &all)[0].get(0).as_f64(), "forward, interpreted");
    close(along(&slopes), compiled(&forward, &all)[0].get(0).as_f64(), "forward, compiled");
    if !reverse {
        return;
    }
    let back = gradient(g.clone());
    for (way, found) in [("interpreted", interpret(&back, inputs)), ("compiled", compiled(&back, inputs))] {
        for (want, got) in slopes.iter().zip(&found) {
            for (e, want) in want.iter().enumerate() {
                close(
                    *want,
                    got.get(e).as_f64(),
                    &format!("reverse, {way}, element {e} of {slopes:?} {found:?}\n{back}"),
                );
            }
        }
    }
    // The gradient along the directions, and the gradient of that: forward and reverse over forward and over reverse.
    let second = differences(&with_directions(&forward, &directions), inputs);
    let over = gradient(forward.clone());
    let outs = interpret(&over, &all);
    for (want, got) in second.iter().zip(&outs) {
        want.iter().enumerate().for_each(|(e, w)| close_second(*w, got.get(e).as_f64(), "reverse over forward"));
    }
    let along_gradient = dotted(back, &directions);
    let twice = gradient(along_gradient.clone());
    for (way, outs) in [("interpreted", interpret(&twice, inputs)), ("compiled", compiled(&twice, inputs))] {
        for (want, got) in second.iter().zip(&outs) {
            want.iter()
                .enumerate()
                .for_each(|(e, w)| close_second(*w, got.get(e).as_f64(), &format!("reverse over reverse, {way}")));
        }
    }
    let forward_over = tangent(along_gradient);
    close_second(along(&second), interpret(&forward_over, &all)[0].get(0).as_f64(), "forward over reverse");
}

fn close_second(want: f64, got: f64, what: &str) {
    assert!((want - got).abs() <= 1e-4 * want.abs().max(1.0), "{what}: {got}, not {want}");
}

/// The graph with its last inputs bound to constants.
fn with_directions(g: &Graph, directions: &[Literal]) -> Graph {
    let mut bound = Graph::new("bound");
    let n = g.inputs().len() - directions.len();
    let mut arguments: Vec<Value> = g.inputs()[..n].iter().map(|&v| bound.add_input(g.ty(v).clone())).collect();
    let root = bound.root();
    let origin = g.origins.get(g.op(g.region(g.root()).ops[0]).origins[0]).clone();
    let origin = bound.origins.intern(origin);
    for d in directions {
        let value = ir::ops::create::Constant { value: d.clone() };
        let op = bound.append(root, value.into(), &[], &[], &[origin]).unwrap();
        arguments.push(bound.op(op).results[0]);
    }
    let outputs = bound.inline(root, g, &arguments);
    bound.set_outputs(outputs);
    bound
}

/// The sum of all outputs times directions.
fn dotted(mut g: Graph, directions: &[Literal]) -> Graph {
    let outputs = g.outputs().to_vec();
    let mut b = emitter(&mut g);
    let mut sum = b.emit(Full { value: Scalar::F64(0.0), shape: Default::default() }.into(), &[]);
    for (&v, d) in outputs.iter().zip(directions) {
        let weights = b.emit(ir::ops::create::Constant { value: d.clone() }.into(), &[]);
        let product = b.mul(v, weights);
        let axes: Vec<usize> = (0..d.rank()).collect();
        let part = b.reduce_sum(product, &axes);
        sum = b.add(sum, part);
    }
    g.set_outputs(vec![sum]);
    g
}

fn f64s(dims: &[usize], scale: f64) -> Literal {
    Literal::from_fn(dims, DType::F64, |i| Scalar::F64(((i * 7 + 3) % 11) as f64 * 0.13 * scale - 0.6 * scale))
}

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
