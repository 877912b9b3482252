//! Branches and loops for many examples at once against one run for each, interpreted and compiled.

#[path = "../../tests/target/mod.rs"]
mod target;

use ir::verify::{Stage, verify};
use ir::{DType, Dim, Graph, Literal, Scalar};
use passes::batch::batch;
use runtime::{Executable, Input, interpreter};

const SIZE: usize = 3;

/// The examples along an axis of one tensor.
fn joined(examples: &[Literal], axis: usize) -> Literal {
    let dims = examples[0].dims();
    let mut all = dims.to_vec();
    all.insert(axis, examples.len());
    let inner: usize = dims[axis..].iter().product();
    Literal::from_fn(&all, examples[0].dtype(), |i| {
        let (outer, rest) = (i / (inner * examples.len()), i % (inner * examples.len()));
        examples[rest / inner].get(outer * inner + rest % inner)
    })
}

fn part(all: &Literal, axis: Option<usize>, example: usize) -> Literal {
    let Some(axis) = axis else { return all.clone() };
    let mut dims = all.dims().to_vec();
    let size = dims.remove(axis);
    let inner: usize = dims[axis..].iter().product();
    Literal::from_fn(&dims, all.dtype(), |i| all.get((i / inner.max(1) * size + example) * inner + i % inner.max(1)))
}

fn compiled(g: &Graph, inputs: &[Literal]) -> Vec<Literal> {
    let exe = Executable::compile(g, &[]).unwrap();
    assert!(exe.is_compiled(), "{:?}", exe.artifacts().fallback);
    let mut args: Vec<Input> = inputs.iter().map(|l| Input::Shared(target::array(l))).collect();
    exe.call(&mut args).unwrap_or_else(|e| panic!("{e}\n{g}")).iter().map(|a| a.to_literal().unwrap()).collect()
}

/// Checks every choice of batched inputs, along the first and the last axis. `inputs` holds examples of each input.
fn check(text: &str, inputs: &[[Literal; SIZE]]) {
    let g = ir::text::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    for chosen in 1..1usize << inputs.len() {
        for last in [false, true] {
            let axes: Vec<Option<usize>> = (0..inputs.len())
                .map(|i| (chosen >> i & 1 == 1).then(|| if last { inputs[i][0].rank() } else { 0 }))
                .collect();
            let batched = batch(&g, &axes, &Dim::from(SIZE as i64)).unwrap();
            verify(&batched.graph, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{}", batched.graph));
            let all: Vec<Literal> =
                inputs.iter().zip(&axes).map(|(x, a)| a.map_or(x[0].clone(), |a| joined(x, a))).collect();
            let ways = [interpreter::interpret(&batched.graph, &all).unwrap(), compiled(&batched.graph, &all)];
            for example in 0..SIZE {
                let own: Vec<Literal> =
                    inputs.iter().zip(&axes).map(|(x, a)| x[if a.is_some() { example } else { 0 }].clone()).collect();
                let want = interpreter::interpret(&g, &own).unwrap();
                for got in &ways {
                    for ((want, got), axis) in want.iter().zip(got).zip(&batched.outputs) {
                        let got = part(got, *axis, example);
                        assert_eq!(want.dims(), got.dims());
                        let same = want
                            .iter()
                            .zip(got.iter())
                            .all(|(a, b)| (a.as_f64() - b.as_f64()).abs() <= 1e-6 * a.as_f64().abs().max(1.0));
                        assert!(same, "example {example} of {axes:?}: {got:?}, not {want:?}\n{}", batched.graph);
                    }
                }
            }
        }
    }
}

fn floats(dims: &[usize]) -> [Literal; SIZE] {
    [1, 5, 8].map(|k| Literal::from_fn(dims, DType::F32, |i| Scalar::F32(((i * 7 + 3 * k) % 11) as f32 * 0.2 - 1.0)))
}

fn numbers(values: [i64; SIZE]) -> [Literal; SIZE] {
    values.map(|v| Literal::scalar(Scalar::I64(v)))
}

#[test]
fn scans() {
    let text = "graph @f(%0: f32[2, 3], %1: f32[2], %2: f32[4, 3]) -> (f32[2], f32[3], f32[4, 2], i64[4]) {
  %3: f32[3] = full {value = 0.5:f32, shape = [3]}
  %4: f32[2], %5: f32[3], %6: f32[4, 2], %7: i64[4] = scan %0, %1, %3, %2 {length = 4, constants = 1, carried = 2, reverse = true} {
    ^(%8: i64[], %9: f32[2, 3], %10: f32[2], %11: f32[3], %12: f32[3]):
    %13: f32[2] = dot_general %9, %12 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
    %14: f32[2] = mul %13, %10
    %15: f32[2] = sin %14
    %16: f32[3] = dot_general %15, %9 {lhs_batch = [], rhs_batch = [], lhs_contract = [0], rhs_contract = [0]}
    yield %15, %16, %14, %8
  }
  return %4, %5, %6, %7
}
";
    check(text, &[floats(&[2, 3]), floats(&[2]), floats(&[4, 3])]);
}

#[test]
fn branches() {
    let text = |ty: &str| {
        format!(
            "graph @f(%0: {ty}[], %1: f32[4], %2: i64[]) -> (f32[], f32[4], f32[4]) {{
  %3: f32[], %4: f32[4], %5: f32[4] = switch %0, %1, %2 {{
    ^(%6: f32[4], %7: i64[]):
    %8: f32[] = gather %6, %7 {{axis = 0, batch = 0, mode = error}}
    yield %8, %6, %6
  }} {{
    ^(%9: f32[4], %10: i64[]):
    %11: f32[] = convert %10 {{dtype = f32}}
    %12: f32[4] = exp %9
    %13: f32[4] = broadcast_in_dim %11 {{shape = [4], dims = []}}
    yield %11, %12, %13
  }}
  return %3, %4, %5
}}
"
        )
    };
    // Where the index is out of range, the branch that would read there is not taken.
    let choices = [true, false, true].map(|c| Literal::scalar(Scalar::Bool(c)));
    check(&text("bool"), &[choices, floats(&[4]), numbers([3, 2, -9])]);
    check(&text("i64"), &[numbers([1, 0, 7]), floats(&[4]), numbers([3, 2, 100])]);
    // Numbers beyond the branches choose the nearest.
    check(&text("i64"), &[numbers([-4, 1, 9]), floats(&[4]), numbers([3, 2, 1])]);
    // A choice that is common stays one.
    let g = ir::text::parse(&text("i64")).unwrap();
    let batched = |axes: [Option<usize>; 3]| batch(&g, &axes, &Dim::from(SIZE as i64)).unwrap().graph.to_string();
    assert!(batched([None, Some(0), Some(0)]).contains(" = switch "));
    assert!(!batched([Some(0), None, None]).contains(" = switch "));
}

#[test]
fn while_loops() {
    let text = "graph @f(%0: i64[], %1: i64[], %2: f32[3]) -> (i64[], f32[3], i64[]) {
  %3: i64[] = full {value = 0:i64, shape = []}
  %4: i64[], %5: f32[3], %6: i64[] = while_loop %0, %1, %2, %3 {constants = 1} {
    ^(%7: i64[], %8: i64[], %9: f32[3], %10: i64[]):
    %11: bool[] = compare %8, %7 {direction = lt}
    yield %11
  } {
    ^(%12: i64[], %13: i64[], %14: f32[3], %15: i64[]):
    %16: i64[] = add %13, %13
    %17: i64[] = full {value = 1:i64, shape = []}
    %18: i64[] = add %15, %17
    %19: f32[] = gather %14, %15 {axis = 0, batch = 0, mode = error}
    %20: f32[3] = broadcast_in_dim %19 {shape = [3], dims = []}
    %21: f32[3] = sub %14, %20
    yield %16, %21, %18
  }
  return %4, %5, %6
}
";
    // Every example reads one element in each of its iterations, and none beyond the last.
    check(text, &[numbers([5, 1, 8]), numbers([2, 1, 3]), floats(&[3])]);
}

#[test]
fn examples_that_are_done_read_nothing() {
    // The index counts down; of an example that is done it is out of range.
    let text = "graph @f(%0: i64[], %1: f32[3]) -> (i64[], f32[]) {
  %2: f32[] = full {value = 0:f32, shape = []}
  %3: i64[], %4: f32[] = while_loop %1, %0, %2 {constants = 1} {
    ^(%5: f32[3], %6: i64[], %7: f32[]):
    %8: i64[] = full {value = 0:i64, shape = []}
    %9: bool[] = compare %6, %8 {direction = ge}
    yield %9
  } {
    ^(%10: f32[3], %11: i64[], %12: f32[]):
    %13: f32[] = gather %10, %11 {axis = 0, batch = 0, mode = error}
    %14: f32[] = add %12, %13
    %15: i64[] = full {value = 1:i64, shape = []}
    %16: i64[] = sub %11, %15
    yield %16, %14
  }
  return %3, %4
}
";
    check(text, &[numbers([1, -2, 2]), floats(&[3])]);
}

#[test]
fn what_a_loop_of_common_length_carries() {
    // All examples go round alike, and what is theirs comes into one carried value after the other.
    let text = "graph @f(%0: i64[], %1: f32[2]) -> (i64[], f32[2], f32[2], f32[2]) {
  %2: f32[2] = full {value = 0.5:f32, shape = [2]}
  %3: i64[], %4: f32[2], %5: f32[2], %6: f32[2] = while_loop %1, %0, %2, %2, %2 {constants = 1} {
    ^(%7: f32[2], %8: i64[], %9: f32[2], %10: f32[2], %11: f32[2]):
    %12: i64[] = full {value = 7:i64, shape = []}
    %13: bool[] = compare %8, %12 {direction = lt}
    yield %13
  } {
    ^(%14: f32[2], %15: i64[], %16: f32[2], %17: f32[2], %18: f32[2]):
    %19: i64[] = full {value = 2:i64, shape = []}
    %20: i64[] = add %15, %19
    %21: f32[2] = mul %16, %14
    %22: f32[2] = add %17, %21
    %23: f32[2] = sin %18
    yield %20, %21, %22, %23
  }
  return %3, %4, %5, %6
}
";
    check(text, &[numbers([1, 4, 6]), floats(&[2])]);
    // What depends on no example has no axis of theirs.
    let g = ir::text::parse(text).unwrap();
    let batched = batch(&g, &[None, Some(0)], &Dim::from(SIZE as i64)).unwrap();
    assert_eq!(batched.outputs, [None, Some(0), Some(0), None]);
}

#[test]
fn loops_and_branches_in_each_other() {
    let text = "graph @f(%0: bool[], %1: f32[3], %2: i64[]) -> (f32[3]) {
  %3: f32[3] = switch %0, %1, %2 {
    ^(%4: f32[3], %5: i64[]):
    yield %4
  } {
    ^(%6: f32[3], %7: i64[]):
    %8: f32[3] = scan %7, %6 {length = 2, constants = 1, carried = 1} {
      ^(%9: i64[], %10: i64[], %11: f32[3]):
      %12: i64[] = add %9, %10
      %13: f32[] = gather %11, %12 {axis = 0, batch = 0, mode = error}
      %14: f32[3] = broadcast_in_dim %13 {shape = [3], dims = []}
      %15: f32[3] = add %11, %14
      yield %15
    }
    yield %8
  }
  return %3
}
";
    let choices = [false, false, true].map(|c| Literal::scalar(Scalar::Bool(c)));
    check(text, &[choices, floats(&[3]), numbers([1, 50, 0])]);
}

#[test]
fn calls_and_functions_with_derivatives_of_the_users() {
    let call = "graph @f(%0: f32[3], %1: f32[3]) -> (f32[3], f32[3]) {
  %2: f32[3], %3: f32[3] = call %0, %1 {save = nothing, names = \"\"} {
    ^(%4: f32[3], %5: f32[3]):
    %6: f32[3] = mul %4, %5
    yield %6, %5
  }
  return %2, %3
}
";
    check(call, &[floats(&[3]), floats(&[3])]);
    let gradient = "graph @f(%0: f32[3], %1: f32[3]) -> (f32[3]) {
  %2: f32[3] = custom_vjp %0, %1 {
    ^(%3: f32[3], %4: f32[3]):
    %5: f32[3] = mul %3, %4
    yield %5
  } {
    ^(%6: f32[3], %7: f32[3]):
    %8: f32[3] = mul %6, %7
    yield %8, %6, %7
  } {
    ^(%9: f32[3], %10: f32[3], %11: f32[3]):
    %12: f32[3] = mul %11, %10
    %13: f32[3] = mul %11, %9
    yield %12, %13
  }
  return %2
}
";
    check(gradient, &[floats(&[3]), floats(&[3])]);
    let tangent = "graph @f(%0: f32[3], %1: f32[3]) -> (f32[3]) {
  %2: f32[3] = custom_jvp %0, %1 {
    ^(%3: f32[3], %4: f32[3]):
    %5: f32[3] = mul %3, %4
    yield %5
  } {
    ^(%6: f32[3], %7: f32[3], %8: f32[3], %9: f32[3]):
    %10: f32[3] = mul %6, %7
    %11: f32[3] = mul %6, %9
    %12: f32[3] = mul %8, %7
    %13: f32[3] = add %11, %12
    yield %10, %13
  }
  return %2
}
";
    check(tangent, &[floats(&[3]), floats(&[3])]);
    // The gradient of the batched function: what one operand is for all examples gets the sum.
    for (text, axes) in [(gradient, [Some(0), None]), (tangent, [Some(0), None]), (gradient, [None, Some(0)])] {
        let mut g = batch(&ir::text::parse(text).unwrap(), &axes, &Dim::from(SIZE as i64)).unwrap().graph;
        let (out, wrt) = (g.outputs()[0], g.inputs().to_vec());
        let seed = g.add_input(g.ty(out).clone());
        let found = passes::autodiff::append_vjp(&mut g, &[(out, seed)], &wrt);
        g.set_outputs(found.values.into_iter().map(|v| v.unwrap()).collect());
        verify(&g, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{g}"));
        let pick = |x: &[Literal; SIZE], axis: Option<usize>| axis.map_or(x[0].clone(), |a| joined(x, a));
        let (x, y, c) = (pick(&floats(&[3]), axes[0]), pick(&floats(&[3]), axes[1]), joined(&floats(&[3]), 0));
        let outs = interpreter::interpret(&g, &[x.clone(), y.clone(), c.clone()]).unwrap();
        let at = |l: &Literal, axis: Option<usize>, k: usize, i: usize| {
            l.get(if axis.is_some() { k * 3 + i } else { i }).as_f64()
        };
        for (operand, other) in [(0, 1), (1, 0)] {
            let values = [&x, &y];
            for i in 0..3 {
                let terms: Vec<f64> =
                    (0..SIZE).map(|k| at(&c, Some(0), k, i) * at(values[other], axes[other], k, i)).collect();
                match axes[operand] {
                    Some(_) => (0..SIZE).for_each(|k| {
                        assert!((outs[operand].get(k * 3 + i).as_f64() - terms[k]).abs() < 1e-6);
                    }),
                    None => assert!((outs[operand].get(i).as_f64() - terms.iter().sum::<f64>()).abs() < 1e-5),
                }
            }
        }
    }
}

#[test]
fn functions_whose_derivatives_alone_differ_from_example_to_example() {
    // The values are constants.
    let tangent = "graph @f(%0: f32[3]) -> (f32[3]) {
  %1: f32[3] = custom_jvp %0 {
    ^(%2: f32[3]):
    %3: f32[3] = full {value = 2:f32, shape = [3]}
    yield %3
  } {
    ^(%4: f32[3], %5: f32[3]):
    %6: f32[3] = full {value = 2:f32, shape = [3]}
    %7: f32[3] = mul %4, %5
    yield %6, %7
  }
  return %1
}
";
    let gradient = "graph @f(%0: f32[3]) -> (f32[3]) {
  %1: f32[3] = custom_vjp %0 {
    ^(%2: f32[3]):
    %3: f32[3] = full {value = 2:f32, shape = [3]}
    yield %3
  } {
    ^(%4: f32[3]):
    %5: f32[3] = full {value = 2:f32, shape = [3]}
    yield %5, %4
  } {
    ^(%6: f32[3], %7: f32[3]):
    %8: f32[3] = mul %6, %7
    yield %8
  }
  return %1
}
";
    let x = joined(&floats(&[3]), 0);
    let c = Literal::from_fn(x.dims(), DType::F32, |i| Scalar::F32(1.0 - 0.3 * i as f32));
    for text in [tangent, gradient] {
        check(text, &[floats(&[3])]);
        let mut g = batch(&ir::text::parse(text).unwrap(), &[Some(0)], &Dim::from(SIZE as i64)).unwrap().graph;
        let (out, wrt) = (g.outputs()[0], g.inputs().to_vec());
        let seed = g.add_input(g.ty(out).clone());
        let found = passes::autodiff::append_vjp(&mut g, &[(out, seed)], &wrt);
        g.set_outputs(vec![found.values[0].unwrap()]);
        verify(&g, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{g}"));
        let got = interpreter::interpret(&g, &[x.clone(), c.clone()]).unwrap();
        for i in 0..x.numel() {
            let want = x.get(i).as_f64() * c.get(i).as_f64();
            assert!((got[0].get(i).as_f64() - want).abs() < 1e-6, "{text}");
        }
    }
}

#[test]
fn a_gradient_that_is_a_constant_counts_for_each_example() {
    // The second operand is common to all examples, and what the user says is its gradient depends on nothing.
    let text = "graph @f(%0: f32[], %1: f32[]) -> (f32[]) {
  %2: f32[] = custom_vjp %0, %1 {
    ^(%3: f32[], %4: f32[]):
    %5: f32[] = mul %3, %4
    yield %5
  } {
    ^(%6: f32[], %7: f32[]):
    %8: f32[] = mul %6, %7
    yield %8
  } {
    ^(%9: f32[]):
    %10: f32[] = full {value = 2:f32, shape = []}
    yield %9, %10
  }
  return %2
}
";
    let mut g = batch(&ir::text::parse(text).unwrap(), &[Some(0), None], &Dim::from(SIZE as i64)).unwrap().graph;
    let (out, wrt) = (g.outputs()[0], g.inputs().to_vec());
    let seed = g.add_input(g.ty(out).clone());
    let found = passes::autodiff::append_vjp(&mut g, &[(out, seed)], &wrt);
    g.set_outputs(found.values.into_iter().map(|v| v.unwrap()).collect());
    verify(&g, Stage::Traced).unwrap_or_else(|e| panic!("{e:?}\n{g}"));
    let (x, y) = (joined(&floats(&[]), 0), Literal::scalar(Scalar::F32(3.0)));
    let outs = interpreter::interpret(&g, &[x.clone(), y, x.clone()]).unwrap();
    assert_eq!(outs[0], x);
    assert_eq!(outs[1], Literal::scalar(Scalar::F32(2.0 * SIZE as f32)));
}
