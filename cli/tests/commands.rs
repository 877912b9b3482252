//! The program, as a user runs it.

mod program;

use program::Ended;
use std::path::Path;

const MLP: &str = "\
graph @mlp(%0: f32[B, 4], %1: f32[4, 3]) -> (f32[]) where B in 1..=64 {
  %2: f32[B, 3] = dot_general %0, %1 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
  %3: f32[B, 3] = tanh %2
  %4: f32[] = reduce_sum %3 {axes = [0, 1]}
  return %4
}
";

/// Runs the program with a text on standard input.
fn tracewright(arguments: &[&str], input: &str) -> Ended {
    program::run(Path::new("."), arguments, &[], input)
}

#[track_caller]
fn prints(arguments: &[&str], input: &str) -> String {
    let outcome = tracewright(arguments, input);
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{arguments:?}");
    outcome.out
}

#[track_caller]
fn fails(arguments: &[&str], input: &str) -> String {
    let outcome = tracewright(arguments, input);
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""), "{arguments:?}: {}", outcome.err);
    outcome.err
}

#[test]
fn inspecting() {
    let text = prints(&["ir", "-"], MLP);
    assert!(text.contains("tanh %2  // <stdin>:3:1\n"), "{text}");
    let text = prints(&["ir", "-", "--after", "fuse"], MLP);
    assert!(text.contains("fused ") && text.contains("dot_general"), "{text}");
    assert_eq!(
        prints(&["inspect", "-", "--dim", "B=8"], MLP),
        "\
inputs
  0: f32[B, 4]
  1: f32[4, 3]
outputs
  0: f32[]
symbol B in 1..=64
ops: 3: 1 dot_general, 1 reduce_sum, 1 tanh
parameters: 0, 0 bytes
operations: 240 for B = 8
bytes in and out: 176 and 4 for B = 8
planned peak: 28*B+52 bytes, arena 12*B
kernels: 1
"
    );
    let about: serde_json::Value = serde_json::from_str(&prints(&["inspect", "-", "--json"], MLP)).unwrap();
    assert_eq!((&about["ops"]["tanh"], &about["inputs"][1]["type"]), (&1.into(), &"f32[4, 3]".into()));
    let begins = [
        ("passes", "// 00-trace.ir\ngraph @mlp("),
        ("program", "program mlp\n"),
        ("kernels", "// kernel0.kir\nkernel @tanh_reduce_sum("),
        ("clif", "// kernel0.clif\nfunction u0:0("),
        ("asm", "// kernel0.asm\n"),
        ("timing", "mlp: compiled in "),
    ];
    for (stage, begin) in begins {
        let text = prints(&["inspect", "-", "--stage", stage], MLP);
        assert!(text.starts_with(begin), "{stage}: {text}");
    }
}

#[test]
fn running() {
    let text = |more: &[&str]| prints(&[&["run", "-"], more].concat(), MLP);
    assert_eq!(text(&[]), text(&["--dim", "B=2", "--seed", "0"]));
    assert_ne!(text(&[]), text(&["--seed", "1"]));
    assert_ne!(text(&[]), text(&["--dim", "B=3"]));
    let number = |more: &[&str]| text(more).trim().parse::<f64>().unwrap();
    assert!((number(&[]) - number(&["--mode", "interpreted"])).abs() < 1e-5);
    let mask = "graph @f(%0: i64[3], %1: bool[2]) -> (i64[3], bool[2]) { return %0, %1 }";
    let printed = prints(&["run", "-"], mask);
    assert!(printed.starts_with('[') && printed.lines().count() == 2, "{printed}");
}

#[test]
fn a_gradient_is_a_graph_again() {
    let gradient = prints(&["grad", "-"], MLP);
    assert!(gradient.starts_with("graph @mlp_grad(%0: f32[B, 4], %1: f32[4, 3]) -> (f32[], f32[B, 4], f32[4, 3])"));
    let [loss, both] = [prints(&["run", "-"], MLP), prints(&["run", "-"], &gradient)];
    assert!(both.starts_with(&loss), "{loss} {both}");
    // Each line of a matrix, after the loss.
    assert_eq!(both.lines().count(), 1 + 2 + 4);
}

#[test]
fn the_options() {
    assert!(prints(&["options"], "").contains("| `TRACEWRIGHT_THREADS` |"));
}

/// Messages name the file, line and column.
#[test]
fn bad_texts() {
    let cases = [
        ("hello", "error[text]: parse: expected `graph`, found `hello`\n  at <stdin>:1:1\n  note: `hello`\n"),
        ("", "error[text]: parse: expected `graph`, found the end\n  at <stdin>:1:1\n  note: ``\n"),
        (
            &MLP.replace("tanh %2", "tanhh %2"),
            "error[text]: parse: unknown op `tanhh`\n  at <stdin>:3:19\n  note: `%3: f32[B, 3] = tanhh %2`\n",
        ),
        (
            &MLP.replace("tanh %2", "tanh %9"),
            "error[text]: parse: %9 is not defined here\n  at <stdin>:3:26\n  note: `%3: f32[B, 3] = tanh %9`\n",
        ),
        (
            &MLP.replace("[0, 1]}", "[0, 2]}"),
            "error[text]: parse: reduce_sum(f32[B, 3]): axis 2 does not exist; axes go from 0 to 1\n  at <stdin>:4:15\n  \
             note: `%4: f32[] = reduce_sum %3 {axes = [0, 2]}`\n",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(fails(&["inspect", "-"], text), message);
    }
    assert_eq!(
        fails(&["run", "-", "--dim", "B=99"], MLP),
        "error[argument]: call: B is 99, outside its bounds 1..=64\n"
    );
    assert_eq!(fails(&["run", "-", "--dim", "C=1"], MLP), "error: -: no input has the symbol `C`; did you mean `B`?\n");
    assert!(fails(&["run", "/nonexistent"], "").starts_with("error: /nonexistent: "));
    let vector = "graph @f(%0: f32[2]) -> (f32[2]) { return %0 }";
    assert_eq!(
        fails(&["grad", "-"], vector),
        "error[gradient]: grad: the output has type f32[2]\n  legal: one output, a float scalar such as f32[]\n"
    );
    let gather = "graph @f(%0: f32[3], %1: i64[99]) -> (f32[99]) {
        %2: f32[99] = gather %0, %1 {axis = 0, batch = 0, mode = error}
        return %2 }";
    for mode in ["compiled", "interpreted"] {
        let message = fails(&["run", "-", "--mode", mode], gather);
        assert!(message.starts_with("error[index]: gather: index "), "{message}");
        assert!(message.contains("\n  at <stdin>:2:1\n"), "{message}");
    }
}

#[test]
fn bad_command_lines() {
    for arguments in [&["fly"][..], &[], &["run"], &["run", "-", "--dim", "B"], &["inspect", "-", "--stage", "moon"]] {
        let outcome = tracewright(arguments, MLP);
        assert_eq!((outcome.code, outcome.out.as_str()), (2, ""), "{arguments:?}");
    }
}

/// Whatever a text asks for, the program ends with a code of its own.
#[test]
fn hostile_texts() {
    let big = 1i64 << 40;
    let texts = [
        format!("graph @f(%0: f32[{big}, {big}]) -> (f32[{big}, {big}]) {{ return %0 }}"),
        format!("graph @f(%0: f32[{big}]) -> (f32[{big}]) {{ return %0 }}"),
        format!(
            "graph @f() -> (f32[{big}]) {{ %0: f32[{big}] = full {{value = 1.0:f32, shape = [{big}]}} return %0 }}"
        ),
        format!(
            "graph @f() -> (i64[{big}]) {{ %0: i64[{big}] = iota {{dtype = i64, shape = [{big}], axis = 0}} return %0 }}"
        ),
        format!(
            "graph @f(%0: f32[2]) -> (f32[{big}, 2]) {{
               %1: f32[{big}, 2] = broadcast_in_dim %0 {{shape = [{big}, 2], dims = [1]}}
               %2: f32[{big}, 2] = exp %1 return %2 }}"
        ),
        format!(
            "graph @f(%0: f32[2]) -> (f32[{max}, 2]) {{
               %1: f32[{max}, 2] = broadcast_in_dim %0 {{shape = [{max}, 2], dims = [1]}} return %1 }}",
            max = i64::MAX
        ),
        format!("graph @f(%0: f32[B]) -> (f32[B]) where B in {big}..={big} {{ return %0 }}"),
        "graph @f(%0: f32[B]) -> (f32[B]) where B in 9..=1 { return %0 }".into(),
        "graph @f(%0: f32[B - 7]) -> (f32[B - 7]) { return %0 }".into(),
        "graph @f(%0: f32[99999999999999999999]) -> () { return }".into(),
        format!("graph @f(%0: f32[{}]) -> () {{ return }}", "1, ".repeat(100_000)),
        format!("graph @f(%0: f32[{}1]) -> () {{ return }}", "B*".repeat(10_000)),
        format!("graph @f(%0: f32[{}1{}]) -> () {{ return }}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("graph @f() -> () {{ {}", "%0: f32[] = fused {kind = loop} { ^(): ".repeat(10_000)),
        format!("graph @f(%{}: f32[]) -> () {{ return }}", "9".repeat(1000)),
        "graph @\"".into(),
        "graph @f() -> () { return } extra".into(),
        "\u{0}\u{ffff}\u{1F600}".repeat(1000),
    ];
    for text in &texts {
        let head: String = text.chars().take(120).collect();
        for arguments in [&["inspect", "-"][..], &["run", "-"], &["run", "-", "--mode", "interpreted"], &["grad", "-"]]
        {
            let outcome = tracewright(arguments, text);
            assert!([0, 1].contains(&outcome.code), "{arguments:?} of {head}: {}", outcome.err);
            assert!(!outcome.err.contains("panicked"), "{arguments:?} of {head}: {}", outcome.err);
            assert!(!outcome.err.contains("error[bug]"), "{arguments:?} of {head}: {}", outcome.err);
        }
    }
}
