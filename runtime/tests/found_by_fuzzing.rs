//! Graphs that random testing found to be compiled wrongly, each in its smallest form.

#[path = "../../tests/target/mod.rs"]
mod target;

use ir::{DType, Literal, Scalar};
use runtime::interpreter::interpret;
use runtime::options::{Options, with_options};
use runtime::{Executable, Input};

/// Compiles with every check and compares with the interpreter, for extents of the symbol `B` if there is one; with all
/// passes, and without the simplifications and fusion that might hide what lowering does.
fn check(text: &str, batches: &[i64]) {
    for passes in ["", "-canonicalize,-fold,-cse,-dce", "-canonicalize,-fold,-cse,-dce,-fuse"] {
        check_without(passes, text, batches);
    }
}

fn check_without(passes: &str, text: &str, batches: &[i64]) {
    let graph = ir::text::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut options = Options { check: 3, ..target::options() };
    options.set("PASSES", passes).unwrap();
    let executable = with_options(options, || Executable::compile(&graph, &[])).unwrap();
    assert!(executable.is_compiled(), "{:?}\n{text}", executable.artifacts().fallback);
    for &batch in batches {
        let input = |ty: ir::Type| {
            let dims: Vec<usize> = ty.shape.iter().map(|d| d.eval(&|_| Some(batch)).unwrap() as usize).collect();
            Literal::from_fn(&dims, ty.dtype, |i| match ty.dtype {
                DType::I64 | DType::I32 | DType::U8 => Scalar::of(ty.dtype, (i % 2) as f64),
                dtype => Scalar::of(dtype, i as f64 / 4.0 - 1.0),
            })
        };
        let inputs: Vec<Literal> = graph.input_types().into_iter().map(input).collect();
        let want = interpret(&graph, &inputs).unwrap();
        let mut arguments: Vec<Input> = inputs.iter().map(|l| Input::Shared(target::array(l))).collect();
        let got = executable.call(&mut arguments).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let got: Vec<Literal> = got.iter().map(|a| a.to_literal().unwrap()).collect();
        assert_eq!(want, got, "B = {batch}\n{text}");
    }
}

#[test]
fn results_without_elements_have_no_index_arithmetic() {
    check(
        "graph @slice(%0: f32[3, 4, 2, B]) -> (f32[3, 0, 1, B-2]) where B in 2..=5 {
           %1: f32[3, 0, 1, B-2] = slice %0 {starts = [0, 3, 0, 2], limits = [3, 3, 2, B], strides = [1, 1, 3, 1]}
           return %1
         }",
        &[2, 4],
    );
    check(
        "graph @argmax(%0: bf16[0, 3, 0, 14]) -> (i64[0, 0, 14]) {
           %1: i64[0, 0, 14] = argmax %0 {axes = [1]}
           return %1
         }",
        &[1],
    );
}

#[test]
fn loops_that_never_run_load_nothing() {
    for axes in ["[0]", "[1]", "[0, 1]"] {
        let result = if axes == "[0]" { "f64[0]" } else { "f64[3]" };
        let result = if axes == "[0, 1]" { "f64[]" } else { result };
        let text = format!(
            "graph @empty(%0: f64[3, 1, 0]) -> ({result}) {{
               %1: f64[3, 0] = reshape %0 {{shape = [3, 0]}}
               %2: {result} = reduce_max %1 {{axes = {axes}}}
               return %2
             }}"
        );
        check(&text, &[1]);
    }
}

#[test]
fn a_gather_of_a_gather_is_one_kernel() {
    check(
        "graph @rows(%0: bf16[B], %1: u8[5], %2: i32[], %3: bf16[]) -> (bool[]) where B in 2..=5 {
           %4: bf16[5] = gather %0, %1 {axis = 0, batch = 0, mode = error}
           %5: bf16[] = gather %4, %2 {axis = 0, batch = 0, mode = clamp}
           %6: bool[] = compare %5, %3 {direction = lt}
           return %6
         }",
        &[2, 5],
    );
}

#[test]
fn a_scatter_takes_extents_that_are_quotients() {
    check(
        "graph @scatter(%0: f64[B], %1: i32[5], %2: f64[5]) -> (f64[floordiv(B+1, 2)]) where B in 1..=33 {
           %3: f64[floordiv(B+1, 2)] = slice %0 {starts = [0], limits = [B], strides = [2]}
           %4: f64[floordiv(B+1, 2)] = scatter %3, %1, %2 {axis = 0, batch = 0, mode = fill, combine = add}
           return %4
         }",
        &[1, 2, 9],
    );
}

#[test]
fn products_that_change_places_are_a_change() {
    check(
        "graph @order(%0: bool[5, 1], %1: f64[5, 12], %2: f64[2, 12, 5]) -> (f64[5, 2], bool[5]) {
           %3: bool[5] = reshape %0 {shape = [5]}
           %4: f64[5, 2] = dot_general %1, %2 {lhs_batch = [0], rhs_batch = [2], lhs_contract = [1], rhs_contract = [1]}
           return %4, %3
         }",
        &[1],
    );
}

#[test]
fn a_slice_of_a_strided_slice_of_nothing() {
    check(
        "graph @slice(%0: f64[B, 4]) -> (f64[floordiv(B+2, 3), 3]) where B in 0..=7 {
           %1: f64[floordiv(B+2, 3), 4] = slice %0 {starts = [0, 0], limits = [B, 4], strides = [3, 1]}
           %2: f64[floordiv(B+2, 3), 3] = slice %1 {starts = [0, 1], limits = [floordiv(B+2, 3), 4], strides = [1, 1]}
           return %2
         }",
        &[0, 1, 7],
    );
}

#[test]
fn a_sum_of_one_element_read_at_many_indices() {
    check(
        "graph @same(%0: i64[5], %1: f64[]) -> (f64[]) {
           %2: f64[5] = broadcast_in_dim %1 {shape = [5], dims = []}
           %3: f64[5] = gather %2, %0 {axis = 0, batch = 0, mode = clamp}
           %4: f64[] = reduce_sum %3 {axes = [0]}
           return %4
         }",
        &[1],
    );
}

#[test]
fn a_scatter_to_nothing_has_no_index_arithmetic() {
    check(
        "graph @scatter(%0: i32[0, 5, 1, 1], %1: i64[], %2: i32[0, 5, 1]) -> (i32[0, 5, 1, 1]) {
           %3: i32[0, 5, 1, 1] = scatter %0, %1, %2 {axis = 2, batch = 0, mode = clamp, combine = add}
           return %3
         }",
        &[1],
    );
}

#[test]
fn a_read_at_the_one_place_that_a_reduction_says() {
    check(
        "graph @fuzz(%0: i16[17, 1, 1, 1]) -> (i16[17, 1, 1, 1]) {
           %1: i16[1] = reduce_min %0 {axes = [0, 1, 3]}
           %2: i16[17, 1, 1, 1] = gather %0, %1 {axis = 1, batch = 0, mode = clamp}
           return %2
         }",
        &[1],
    );
}
