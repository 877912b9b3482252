//! Branches and loops: read from text, interpreted, compiled, and run as programs step by step.

#[path = "../../tests/target/mod.rs"]
mod target;

use ir::{Graph, Literal, Scalar};
use runtime::options::{Options, with_options};
use runtime::program_interpreter::{self, RunOptions};
use runtime::{Array, ExecError, Executable, Input, interpreter};

fn parse(text: &str) -> Graph {
    let graph = ir::text::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let printed = graph.to_string();
    assert_eq!(ir::text::parse(&printed).unwrap(), graph, "{printed}");
    graph
}

fn call(exe: &Executable, inputs: &[Literal]) -> Result<Vec<Literal>, ExecError> {
    let mut args: Vec<Input> = inputs.iter().map(|l| Input::Shared(target::array(l))).collect();
    exe.call(&mut args)?.iter().map(Array::to_literal).collect()
}

fn close(want: &[Literal], got: &[Literal]) {
    assert_eq!(want.len(), got.len());
    for (w, g) in want.iter().zip(got) {
        assert_eq!(w.ty(), g.ty());
        for (a, b) in w.iter().zip(g.iter()) {
            let (a, b) = (a.as_f64(), b.as_f64());
            assert!(a == b || (a - b).abs() <= 1e-5 * a.abs().max(1.0), "{want:?} is not {got:?}");
        }
    }
}

/// Runs a graph in every way; yields what came out.
fn all_ways(text: &str, inputs: &[Literal]) -> Vec<Literal> {
    let graph = parse(text);
    let want = interpreter::interpret(&graph, inputs).unwrap();
    for options in [2, 3].map(|check| Options { check, ..target::options() }) {
        let exe = with_options(options, || Executable::compile(&graph, &[]).unwrap());
        assert!(exe.is_compiled(), "{:?}", exe.artifacts().fallback);
        close(&want, &call(&exe, inputs).unwrap());
        close(&want, &call(&exe, inputs).unwrap());
        let program = exe.program().unwrap();
        let outputs = program_interpreter::run(program, inputs, &RunOptions::default());
        close(&want, &outputs.unwrap_or_else(|e| panic!("{e}\n{program:#?}")));
    }
    let mut off = target::options();
    off.set("PASSES", "-fuse,-dce,-cse").unwrap();
    let exe = with_options(off, || Executable::compile(&graph, &[]).unwrap());
    close(&want, &call(&exe, inputs).unwrap());
    want
}

fn f32s(dims: &[usize], values: &[f32]) -> Literal {
    Literal::from_vec(dims, values.to_vec())
}

fn floats(l: &Literal) -> Vec<f32> {
    l.as_slice::<f32>().to_vec()
}

const COUNTED: &str = "graph @sums(%0: f32[N, 3], %1: f32[3]) -> (f32[3], f32[N, 3], i64[N]) where N in 0..=100 {
  %2: f32[3], %3: f32[N, 3], %4: i64[N] = scan %1, %0 {length = N, constants = 0, carried = 1} {
    ^(%5: i64[], %6: f32[3], %7: f32[3]):
    %8: f32[3] = add %6, %7
    %9: f32[3] = neg %8
    yield %8, %9, %5
  }
  return %2, %3, %4
}
";

#[test]
fn a_scan_carries_stacks_and_counts() {
    let (x, c) = (f32s(&[2, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]), f32s(&[3], &[0.5, 0.0, -0.5]));
    let out = all_ways(COUNTED, &[x.clone(), c.clone()]);
    assert_eq!(floats(&out[0]), [11.5, 22.0, 32.5]);
    assert_eq!(floats(&out[1]), [-1.5, -2.0, -2.5, -11.5, -22.0, -32.5]);
    assert_eq!(out[2].as_slice::<i64>(), [0, 1]);
    let backwards = COUNTED.replace("carried = 1}", "carried = 1, reverse = true}");
    let out = all_ways(&backwards, &[x, c.clone()]);
    assert_eq!(floats(&out[1]), [-11.5, -22.0, -32.5, -10.5, -20.0, -29.5]);
    assert_eq!(out[2].as_slice::<i64>(), [0, 1]);
    let none = all_ways(COUNTED, &[f32s(&[0, 3], &[]), c]);
    assert_eq!(floats(&none[0]), [0.5, 0.0, -0.5]);
    assert_eq!(none[1].dims(), [0, 3]);
}

#[test]
fn what_is_carried_may_change_places_stay_or_be_the_same() {
    // Swapped, kept, an element, the number, a constant from outside, one made inside, and one twice.
    let text = "graph @f(%0: f32[4], %1: f32[], %2: f32[]) -> (f32[], f32[], f32[], f32[4], f32[4], f32[], f32[]) {
  %3: f32[], %4: f32[], %5: f32[], %6: f32[4], %7: f32[4], %8: f32[], %9: f32[] = scan %2, %1, %2, %1, %0 {length = 4, constants = 1, carried = 3} {
    ^(%10: i64[], %11: f32[], %12: f32[], %13: f32[], %14: f32[], %15: f32[]):
    %16: f32[] = constant {value = f32[] {7}}
    yield %13, %12, %14, %15, %11
  }
  return %3, %4, %5, %6, %7, %8, %9
}
";
    let text = text
        .replace(", %8: f32[], %9: f32[] = scan", " = scan")
        .replace("return %3, %4, %5, %6, %7, %8, %9", "return %3, %4, %5, %6, %7, %3, %3")
        .replace("    %16: f32[] = constant {value = f32[] {7}}\n", "");
    let inputs = [f32s(&[4], &[1.0, 2.0, 3.0, 4.0]), f32s(&[], &[5.0]), f32s(&[], &[6.0])];
    let out = all_ways(&text, &inputs);
    assert_eq!([floats(&out[0]), floats(&out[1]), floats(&out[2])], [[5.0], [6.0], [5.0]]);
    assert_eq!(floats(&out[3]), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(floats(&out[4]), [6.0; 4]);
}

const POWERS: &str = "graph @f(%0: i64[], %1: i64[]) -> (i64[], i64[]) {
  %2: i64[], %3: i64[] = while_loop %0, %1, %1 {constants = 1} {
    ^(%4: i64[], %5: i64[], %6: i64[]):
    %7: bool[] = compare %5, %4 {direction = lt}
    yield %7
  } {
    ^(%8: i64[], %9: i64[], %10: i64[]):
    %11: i64[] = add %9, %9
    %12: i64[] = full {value = 1:i64, shape = []}
    %13: i64[] = add %10, %12
    yield %11, %13
  }
  return %2, %3
}
";

#[test]
fn a_while_loop_runs_until_its_condition_fails() {
    let number = |n: i64| Literal::scalar(Scalar::I64(n));
    for (limit, want, rounds) in [(100, 128, 7), (1, 1, 0), (2, 2, 1), (3, 4, 2), (64, 64, 6)] {
        let out = all_ways(POWERS, &[number(limit), number(1)]);
        assert_eq!(out[0].get(0), Scalar::I64(want), "{limit}");
        assert_eq!(out[1].get(0), Scalar::I64(1 + rounds), "{limit}");
    }
}

const CHOICE: &str = "graph @f(%0: i64[], %1: f32[4], %2: f32[4]) -> (f32[4], f32[]) {
  %3: f32[4], %4: f32[] = switch %0, %1, %2 {
    ^(%5: f32[4], %6: f32[4]):
    %7: f32[] = reduce_sum %5 {axes = [0]}
    yield %5, %7
  } {
    ^(%8: f32[4], %9: f32[4]):
    %10: f32[4] = exp %9
    %11: f32[4] = mul %10, %8
    %12: f32[] = reduce_max %11 {axes = [0]}
    yield %11, %12
  } {
    ^(%13: f32[4], %14: f32[4]):
    %15: f32[] = full {value = 3:f32, shape = []}
    yield %14, %15
  }
  return %3, %4
}
";

#[test]
fn a_switch_runs_the_branch_that_is_chosen() {
    let (x, y) = (f32s(&[4], &[1.0, 2.0, 3.0, 4.0]), f32s(&[4], &[0.0, 0.0, 0.5, -0.5]));
    for (at, first, second) in [(0, 1.0, 10.0), (-7, 1.0, 10.0), (2, 0.0, 3.0), (9, 0.0, 3.0)] {
        let out = all_ways(CHOICE, &[Literal::scalar(Scalar::I64(at)), x.clone(), y.clone()]);
        assert_eq!((floats(&out[0])[0], floats(&out[1])[0]), (first, second), "{at}");
    }
    let out = all_ways(CHOICE, &[Literal::scalar(Scalar::I64(1)), x.clone(), y.clone()]);
    assert!((floats(&out[1])[0] - 3.0 * 0.5f32.exp()).abs() < 1e-5);
    // Only what is used stays: neither the sum nor the maximum.
    let one = CHOICE.replace("-> (f32[4], f32[])", "-> (f32[4])").replace("return %3, %4", "return %3");
    let graph = parse(&one);
    let exe = Executable::compile(&graph, &[]).unwrap();
    assert_eq!(exe.program().unwrap().kernels.len(), 1);
}

#[test]
fn loops_nest() {
    let text = "graph @f(%0: f32[3, 3], %1: f32[5, 3], %2: f32[3]) -> (f32[3], f32[5, 4, 3]) {
  %3: f32[3], %4: f32[5, 4, 3] = scan %0, %2, %1 {length = 5, constants = 1, carried = 1} {
    ^(%5: i64[], %6: f32[3, 3], %7: f32[3], %8: f32[3]):
    %9: f32[3], %10: f32[4, 3] = scan %6, %8, %7 {length = 4, constants = 2, carried = 1, reverse = true} {
      ^(%11: i64[], %12: f32[3, 3], %13: f32[3], %14: f32[3]):
      %15: f32[3] = dot_general %12, %14 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
      %16: i64[] = full {value = 2:i64, shape = []}
      %17: bool[] = compare %11, %16 {direction = lt}
      %18: f32[3] = switch %17, %15, %13 {
        ^(%19: f32[3], %20: f32[3]):
        %21: f32[3] = tanh %19
        yield %21
      } {
        ^(%22: f32[3], %23: f32[3]):
        %24: f32[3] = add %22, %23
        yield %24
      }
      yield %18, %14
    }
    yield %9, %10
  }
  return %3, %4
}
";
    let m = f32s(&[3, 3], &[0.5, 0.1, 0.0, -0.2, 0.3, 0.4, 0.0, 0.7, 0.2]);
    let x = Literal::from_vec(&[5, 3], (0..15).map(|i| i as f32 / 10.0 - 0.7).collect());
    let out = all_ways(text, &[m, x, f32s(&[3], &[1.0, 2.0, -1.0])]);
    assert_eq!(floats(&out[1])[9..12], [1.0, 2.0, -1.0]);
}

#[test]
fn an_index_error_inside_a_loop_names_its_op() {
    let text = "graph @f(%0: f32[4], %1: i64[3]) -> (f32[]) {
  %2: f32[] = full {value = 0:f32, shape = []}
  %3: f32[] = scan %0, %2, %1 {length = 3, constants = 1, carried = 1} {
    ^(%4: i64[], %5: f32[4], %6: f32[], %7: i64[]):
    %8: f32[] = gather %5, %7 {axis = 0, batch = 0, mode = error}
    %9: f32[] = add %6, %8
    yield %9
  }
  return %3
}
";
    let graph = parse(text);
    let exe = Executable::compile(&graph, &[]).unwrap();
    let x = f32s(&[4], &[1.0, 2.0, 3.0, 4.0]);
    let at = |v: [i64; 3]| Literal::from_vec(&[3], v.to_vec());
    assert_eq!(floats(&call(&exe, &[x.clone(), at([0, 3, 1])]).unwrap()[0]), [7.0]);
    let inputs = [x, at([0, 4, 1])];
    let (compiled, interpreted) =
        (call(&exe, &inputs).unwrap_err(), interpreter::interpret(&graph, &inputs).unwrap_err());
    assert_eq!(compiled.to_string(), interpreted.to_string());
    assert!(compiled.to_string().contains("index 4 is out of range"), "{compiled}");
}

#[test]
fn a_long_scan_is_one_body() {
    let text = |n: usize| {
        COUNTED
            .replace("N, 3", &format!("{n}, 3"))
            .replace("i64[N]", &format!("i64[{n}]"))
            .replace("= N,", &format!("= {n},"))
            .replace(" where N in 0..=100", "")
    };
    let steps = |n| Executable::compile(&parse(&text(n)), &[]).unwrap().program().unwrap().all_steps().len();
    assert_eq!(steps(1000), steps(3));
}

#[test]
fn of_what_leaves_a_loop_one_may_read_the_other() {
    // Both are read inside, and one is made of the other.
    let text = "graph @f(%0: f32[], %1: f32[]) -> (f32[]) {
  %2: f32[] = scan %0, %1 {length = 3, constants = 1, carried = 1} {
    ^(%3: i64[], %4: f32[], %5: f32[]):
    %6: f32[] = exp %4
    %7: f32[] = tanh %6
    %8: f32[] = mul %5, %6
    %9: f32[] = add %8, %7
    yield %9
  }
  return %2
}
";
    let out = all_ways(text, &[f32s(&[], &[0.5]), f32s(&[], &[1.0])]);
    let (a, mut c) = (0.5f32.exp(), 1.0f32);
    (0..3).for_each(|_| c = c * a + a.tanh());
    assert!((floats(&out[0])[0] - c).abs() < 1e-5);
}

#[test]
fn what_may_fail_stays_in_its_loop() {
    // A loop without iterations reads nothing.
    let text = "graph @f(%0: f32[3], %1: i64[], %2: f32[N]) -> (f32[]) where N in 0..=9 {
  %3: f32[] = full {value = 1:f32, shape = []}
  %4: f32[] = scan %0, %1, %3, %2 {length = N, constants = 2, carried = 1} {
    ^(%5: i64[], %6: f32[3], %7: i64[], %8: f32[], %9: f32[]):
    %10: f32[] = gather %6, %7 {axis = 0, batch = 0, mode = error}
    %11: f32[] = mul %10, %9
    %12: f32[] = add %8, %11
    yield %12
  }
  return %4
}
";
    let (x, at) = (f32s(&[3], &[1.0, 2.0, 3.0]), |n: i64| Literal::scalar(Scalar::I64(n)));
    assert_eq!(floats(&all_ways(text, &[x.clone(), at(7), f32s(&[0], &[])])[0]), [1.0]);
    assert_eq!(floats(&all_ways(text, &[x.clone(), at(2), f32s(&[2], &[1.0, 0.5])])[0]), [5.5]);
    let exe = Executable::compile(&parse(text), &[]).unwrap();
    let e = call(&exe, &[x, at(7), f32s(&[1], &[1.0])]).unwrap_err();
    assert!(e.to_string().contains("index 7 is out of range"), "{e}");
}

#[test]
fn a_loop_loses_what_it_carries_for_nothing() {
    // The first value is neither a result nor read by the others.
    let text = "graph @f(%0: f32[2], %1: i64[]) -> (i64[]) {
  %2: f32[2], %3: i64[] = while_loop %0, %1 {constants = 0} {
    ^(%4: f32[2], %5: i64[]):
    %6: i64[] = full {value = 9:i64, shape = []}
    %7: bool[] = compare %5, %6 {direction = lt}
    yield %7
  } {
    ^(%8: f32[2], %9: i64[]):
    %10: f32[2] = exp %8
    %11: i64[] = add %9, %9
    yield %10, %11
  }
  return %3
}
";
    let out = all_ways(text, &[f32s(&[2], &[1.0, 2.0]), Literal::scalar(Scalar::I64(3))]);
    assert_eq!(out[0].get(0), Scalar::I64(12));
    let exe = Executable::compile(&parse(text), &[]).unwrap();
    let steps = exe.program().unwrap().all_steps();
    let carried: Vec<usize> = steps.iter().map(|(_, step)| step.kind.carried().len()).filter(|n| *n > 0).collect();
    assert_eq!(carried, [1]);
}
