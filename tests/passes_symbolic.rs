//! Graphs with a symbolic batch: every pass keeps what they compute for every batch size, and one executable runs all.

mod target;

use ir::{DType, Graph, Literal, Scalar, Symbol};
use passes::{CheckLevel, PassObserver, PassRun, Settings};
use runtime::interpreter::interpret;
use runtime::{Executable, Input};

const GRAPHS: &[(&str, &str)] = &[
    (
        "softmax",
        "graph @softmax(%0: f32[B, 5]) -> (f32[B, 5]) where B in 1..=64 {
           %1: f32[B] = reduce_max %0 {axes = [1]}
           %2: f32[B, 5] = broadcast_in_dim %1 {shape = [B, 5], dims = [0]}
           %3: f32[B, 5] = sub %0, %2
           %4: f32[B, 5] = exp %3
           %5: f32[B] = reduce_sum %4 {axes = [1]}
           %6: f32[B, 5] = broadcast_in_dim %5 {shape = [B, 5], dims = [0]}
           %7: f32[B, 5] = div %4, %6
           return %7
         }",
    ),
    (
        "product with scattered axes",
        "graph @product(%0: f32[B, 3, 4], %1: f32[3, 5]) -> (f32[B, 4, 5]) where B in 1..=64 {
           %2: f32[B, 4, 5] = dot_general %0, %1 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
           %3: f32[] = full {value = 1.0:f32, shape = []}
           %4: f32[B, 4, 5] = broadcast_in_dim %3 {shape = [B, 4, 5], dims = []}
           %5: f32[B, 4, 5] = mul %2, %4
           return %5
         }",
    ),
    (
        "mean over the batch",
        "graph @mean(%0: f64[B, 3]) -> (f64[3]) where B in 1..=64 {
           %1: f64[3] = reduce_sum %0 {axes = [0]}
           %2: i64[] = dim_value {dim = B}
           %3: f64[] = convert %2 {dtype = f64}
           %4: f64[3] = broadcast_in_dim %3 {shape = [3], dims = []}
           %5: f64[3] = div %1, %4
           return %5
         }",
    ),
    (
        "16-bit floats",
        "graph @half(%0: bf16[B, 4], %1: bf16[4]) -> (bf16[B], f32[B, 4]) where B in 1..=64 {
           %2: bf16[B, 4] = broadcast_in_dim %1 {shape = [B, 4], dims = [1]}
           %3: bf16[B, 4] = mul %0, %2
           %4: bf16[B, 4] = tanh %3
           %5: bf16[B] = reduce_sum %4 {axes = [1]}
           %6: f32[B, 4] = convert %4 {dtype = f32}
           return %5, %6
         }",
    ),
    (
        "rows by index, equal twice",
        "graph @rows(%0: f32[7, 3], %1: i64[B]) -> (f32[B, 3]) where B in 1..=64 {
           %2: f32[B, 3] = gather %0, %1 {axis = 0, batch = 0, mode = error}
           %3: f32[B, 3] = gather %0, %1 {axis = 0, batch = 0, mode = error}
           %4: f32[B, 3] = add %2, %3
           return %4
         }",
    ),
    (
        "flattened and back",
        "graph @flat(%0: f32[B, 2, 3]) -> (f32[3, 2*B]) where B in 1..=64 {
           %1: f32[2*B, 3] = reshape %0 {shape = [2*B, 3]}
           %2: f32[3, 2*B] = transpose %1 {permutation = [1, 0]}
           %3: f32[3, 2*B] = neg %2
           %4: f32[3, 2*B] = neg %3
           %5: f32[3, 2*B] = abs %4
           return %5
         }",
    ),
];

fn inputs(graph: &Graph, batch: i64) -> Vec<Literal> {
    let value = |_: &Symbol| Some(batch);
    let of = |(i, ty): (usize, ir::Type)| {
        let dims: Vec<usize> = ty.shape.iter().map(|d| d.eval(&value).unwrap() as usize).collect();
        Literal::from_fn(&dims, ty.dtype, |k| match ty.dtype {
            DType::I64 => Scalar::I64((k * 3 % 7) as i64),
            float => Scalar::of(float, ((k * 29 + i * 7) % 41) as f64 / 8.0 - 2.5),
        })
    };
    graph.input_types().into_iter().enumerate().map(of).collect()
}

fn assert_close(want: &[Literal], got: &[Literal], half: bool, place: &str) {
    for (want, got) in want.iter().zip(got) {
        assert_eq!(want.ty(), got.ty(), "{place}");
        for (x, y) in want.iter().zip(got.iter()) {
            let (x, y) = (x.as_f64(), y.as_f64());
            let tolerance = if half { 2e-2 } else { 2e-6 };
            assert!((x - y).abs() <= tolerance * x.abs().max(1.0), "{place}: {want:?} became {got:?}");
        }
    }
}

/// Interprets after every pass, for several batch sizes.
struct Compare {
    name: &'static str,
    half: bool,
    expected: Vec<(Vec<Literal>, Vec<Literal>)>,
}
impl PassObserver for Compare {
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String> {
        for (inputs, want) in &self.expected {
            let got = interpret(graph, inputs).map_err(|e| e.to_string())?;
            if run.exact && !self.half {
                assert_eq!(*want, got, "{} after {}", self.name, run.name);
            }
            assert_close(want, &got, self.half, &format!("{} after {}", self.name, run.name));
        }
        Ok(())
    }
}

#[test]
fn every_pass_keeps_the_results_for_every_batch_size() {
    for &(name, text) in GRAPHS {
        let graph = ir::text::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let half = text.contains("bf16");
        let cases = [1, 2, 7].map(|batch| inputs(&graph, batch));
        let expected = cases.map(|i| (i.clone(), interpret(&graph, &i).unwrap())).to_vec();
        let mut compare = Compare { name, half, expected: expected.clone() };
        let settings = Settings { check: CheckLevel::Compare, ..Settings::default() };
        passes::optimize(graph.clone(), &settings, Some(&mut compare)).unwrap_or_else(|e| panic!("{name}: {e}"));

        let compiled = Executable::compile(&graph, &[]).unwrap();
        assert_eq!(compiled.is_compiled(), target::compiles(), "{name}: {:?}", compiled.artifacts().fallback);
        for (inputs, want) in &expected {
            let mut arguments: Vec<Input> = inputs.iter().map(|l| Input::Shared(target::array(l))).collect();
            let outputs = compiled.call(&mut arguments).unwrap_or_else(|e| panic!("{name}: {e}"));
            let got: Vec<Literal> = outputs.iter().map(|a| a.to_literal().unwrap()).collect();
            assert_close(want, &got, half, &format!("{name}, compiled"));
        }
    }
}

#[test]
fn an_index_out_of_range_is_reported_after_all_passes() {
    let (_, text) = GRAPHS.iter().find(|(name, _)| name.starts_with("rows")).unwrap();
    let graph = ir::text::parse(text).unwrap();
    let compiled = Executable::compile(&graph, &[]).unwrap();
    let mut bad = inputs(&graph, 3);
    bad[1] = Literal::from_vec(&[3], vec![0i64, 7, 1]);
    let mut arguments: Vec<Input> = bad.iter().map(|l| Input::Shared(target::array(l))).collect();
    let message = compiled.call(&mut arguments).unwrap_err().to_string();
    assert!(message.contains("index 7 is out of range for axis 0 of extent 7"), "{message}");
}
