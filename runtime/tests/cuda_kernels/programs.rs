//! Canonical programs on their way to a GPU: their CUDA text, with counts of kernels and of accesses to memory, and what
//! their kernels compute. `INSTA_UPDATE=always cargo test -p tracewright-runtime --test cuda_kernels` writes the text anew;
//! read the difference before committing it.

use crate::data::{Random, Within};
use crate::target::{can_run, check, finish, outcomes};
use codegen::cuda::{IndexWidth, Source};
use ir::kernel::{Expr, Kernel, Memory, Stmt};
use ir::program::{Program, StepKind};
use ir::{DType, Data, Graph, Literal, Scalar};
use passes::{CheckLevel, Grain, PassOptions, Settings};
use runtime::bounds::analyse;
use runtime::program_interpreter::{RunOptions, run_watched};
use std::fmt::Write;

/// Names with the graphs as traced, in which extents have letters.
macro_rules! programs {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("programs/", $name, ".ir")))),*] };
}
const PROGRAMS: &[(&str, &str)] = programs![
    "adam",
    "add",
    "argmax",
    "column_sum",
    "concat",
    "cross_entropy",
    "cumsum",
    "cumsum_columns",
    "dropout",
    "gather",
    "gelu",
    "heads",
    "integers",
    "layer_norm",
    "pad",
    "rms_norm_bf16",
    "scatter_add",
    "silu_bf16",
    "softmax",
    "softmax_backward",
    "sum",
    "symbolic",
    "transpose",
    "transpose_add",
    "transpose_u8",
    "where",
];

/// A program with matrices of so many rows and columns.
fn graph(text: &str, n: usize, m: usize) -> Graph {
    let text = text.replace("{N}", &n.to_string()).replace("{M}", &m.to_string());
    let text = text
        .replace("{NM}", &(n * m).to_string())
        .replace("{2N}", &(2 * n).to_string())
        .replace("{N+3}", &(n + 3).to_string());
    ir::text::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The program for a GPU.
pub fn lower(graph: &Graph) -> Program {
    let options = PassOptions { grain: Grain::GPU, ..PassOptions::default() };
    let settings = Settings { check: CheckLevel::Passes, options, ..Settings::default() };
    let outcome = passes::optimize(graph.clone(), &settings, None).unwrap();
    let program = passes::lower::lower_for(Grain::GPU, &outcome.graph, &[], &|_| None).unwrap();
    ir::program::verify::verify(&program).unwrap_or_else(|e| panic!("{e:?}"));
    program
}

/// Loads and stores of buffers that the text of a kernel has.
fn accesses(block: &[Stmt]) -> (usize, usize) {
    block.iter().fold((0, 0), |(loads, stores), stmt| match stmt {
        Stmt::Let { expr: Expr::Load { memory: Memory::Param(_), .. }, .. } => (loads + 1, stores),
        Stmt::Store { memory: Memory::Param(_), .. } => (loads, stores + 1),
        Stmt::Loop(l) => {
            let inner = accesses(&l.body.0);
            (loads + inner.0, stores + inner.1)
        }
        _ => (loads, stores),
    })
}

fn show(program: &Program) -> String {
    let launches = program.steps.iter().filter(|s| matches!(s.kind, StepKind::Launch(_))).count();
    let mut out = format!("launches: {launches}\n");
    for (i, kernel) in program.kernels.iter().enumerate() {
        let nests = kernel.nests.iter().map(|n| accesses(&n.body.0));
        let (loads, stores) = nests.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let source = Source::new(kernel, &format!("kernel{i}"), IndexWidth::Bits32).unwrap();
        let tasks: Vec<String> = kernel
            .nests
            .iter()
            .map(|n| kernel.indices.as_const(n.grid).map_or("?".into(), |n| n.to_string()))
            .collect();
        writeln!(out, "\n// tasks {}; loads {loads}, stores {stores}", tasks.join(" + ")).unwrap();
        out += &source.function;
    }
    out
}

#[test]
fn golden_text() {
    for &(name, text) in PROGRAMS {
        insta::assert_snapshot!(name, show(&lower(&graph(text, 4096, 1024))));
    }
    for (name, columns) in [("softmax", 10), ("softmax", 5000), ("column_sum", 10), ("transpose", 3)] {
        let text = PROGRAMS.iter().find(|p| p.0 == name).unwrap().1;
        insta::assert_snapshot!(format!("{name}_{columns}"), show(&lower(&graph(text, 4096, columns))));
    }
}

/// Numbers for the inputs of a graph: indices where they are i64.
fn inputs(graph: &Graph, rows: usize, most: usize) -> Vec<Literal> {
    let mut random = Random::new(11);
    let types = graph.input_types().into_iter();
    types
        .map(|ty| {
            let dims: Vec<usize> = ty.shape.iter().map(|d| d.known().map_or(rows, |n| n as usize)).collect();
            Literal::from_fn(&dims, ty.dtype, |_| {
                let n = random.below(1000) as f64 / 250.0 - 2.0;
                match ty.dtype {
                    DType::I64 => Scalar::I64(random.below(most as u64) as i64),
                    d if d.is_float() => Scalar::of(d, n),
                    d => Scalar::of(d, n.abs() * 10.0),
                }
            })
        })
        .collect()
}

#[test]
fn programs_compute_what_the_graph_says() {
    for &(name, text) in PROGRAMS {
        for (n, m) in [(5, 9), (70, 45), (3, 256), (67, 132)] {
            let graph = graph(text, n, m);
            let inputs = inputs(&graph, n, n.min(m));
            let program = lower(&graph);
            let options = RunOptions::default();
            let got = run_watched(&program, &inputs, &options, &mut |kernel: &Kernel, buffers, extents| {
                check(kernel, buffers, extents, Within::Ulps(64));
            });
            let got = got.unwrap_or_else(|e| panic!("{name} {n} {m}: {e}"));
            for (i, (want, got)) in analyse(&graph, &inputs, false).unwrap().iter().zip(&got).enumerate() {
                let place = want.difference(got);
                assert_eq!(place, None, "{name} {n} {m}: output {i}: {got:?}");
            }
        }
    }
    finish();
}

/// What goes through memory of the task is read by other threads than wrote it: transposes, and scans along rows.
#[test]
fn a_missing_barrier_in_a_tile_is_caught() {
    if !can_run() {
        return;
    }
    for name in ["transpose", "cumsum"] {
        let text = PROGRAMS.iter().find(|p| p.0 == name).unwrap().1;
        let program = lower(&graph(text, 40, 50));
        let kernel = &program.kernels[0];
        let mut random = Random::new(5);
        let data = [random.data(DType::F32, 2000), Data::F32(vec![0.0; 2000])];
        let mut want = data.to_vec();
        ir::kernel::interp::run(kernel, &mut want, &[]).unwrap();
        let bits = |all: &[Data]| (0..2000).map(|i| all[1].get(i).bits()).collect::<Vec<_>>();
        let right = |edit: &dyn Fn(&str) -> String| {
            let all = outcomes(kernel, &data, &[], 0, edit);
            all.iter().filter(|got| got.as_ref().is_ok_and(|got| bits(got) == bits(&want))).count()
        };
        assert_eq!(right(&|f| f.into()), 4, "{name}");
        assert!(right(&|f| f.replace("__syncwarp();", "")) < 4, "{name}");
    }
}

/// Loops have numbers, and types are called `i8` and `i64`: neither takes the other's name.
#[test]
fn many_loops_over_small_integers() {
    for dtype in ["i8", "i16", "i32", "i64"] {
        let text: String = format!("kernel @many(%x: in {dtype}, %y: out {dtype}) {{ nest %t in 0..1 work 1 {{")
            + &(0..70)
                .map(|n| {
                    format!(
                        "for %i{n} in 0..3 {{ for %j{n} in 0..2 lanes {{
                           %v{n}: {dtype} = load %x[%i{n}*2 + %j{n}]
                           store %y[%i{n}*2 + %j{n}], %v{n}
                         }} }}\n"
                    )
                })
                .collect::<String>()
            + "} }";
        let kernel = ir::kernel::text::parse(&text).unwrap();
        let dtype = kernel.params[0].dtype;
        let data = [Random::new(9).data(dtype, 6), Data::filled(Scalar::zero(dtype), 6)];
        check(&kernel, &data, &[], Within::Bits);
    }
    finish();
}
