//! The whole pipeline.

mod graphs;

use graphs::{graph, optimize_and_compare, sample_inputs, show};
use ir::ops::contract::DotGeneral;
use ir::ops::create::Constant;
use ir::ops::reduce::ReduceMax;
use ir::{DType, Dim, Emit, EmitExt, Graph, Literal, Primitive, Scalar, Shape, Type, Value};
use passes::{CheckLevel, PassSpec, Settings, optimize, pipeline};

/// The graph of one sample, with its operands as inputs or as constants.
fn sample_graph(
    primitive: &Primitive,
    operands: &[Literal],
    constant: impl Fn(usize) -> bool,
) -> (Graph, Vec<Literal>) {
    let mut inputs = Vec::new();
    let g = graph(|b| {
        let mut values: Vec<Value> = Vec::new();
        for (i, o) in operands.iter().enumerate() {
            values.push(if constant(i) {
                b.emit(Constant { value: o.clone() }.into(), &[])
            } else {
                inputs.push(o.clone());
                b.input(o.ty())
            });
        }
        vec![b.emit(primitive.clone(), &values)]
    });
    (g, inputs)
}

#[test]
fn every_sample_of_every_op_computes_the_same_after_every_pass() {
    let mut count = 0;
    for s in Primitive::all_samples() {
        for constant in [|_: usize| false, |_| true, |i| i == 0, |i| i == 1] {
            let (g, inputs) = sample_graph(&s.primitive, &s.operands, constant);
            optimize_and_compare(&g, inputs);
            count += 1;
        }
    }
    assert!(count > 1000, "{count} samples");
}

/// Softmax cross entropy of a small network, as tracing would record it.
fn network(dtype: DType) -> Graph {
    graph(|b| {
        let x = b.input(Type::new(dtype, [6, 4]));
        let (w, bias) = (b.input(Type::new(dtype, [4, 5])), b.input(Type::new(dtype, [5])));
        let labels = b.input(Type::new(dtype, [6, 5]));
        let axes = |a: usize| [a].as_slice().into();
        let none = Default::default;
        let op = DotGeneral { lhs_batch: none(), rhs_batch: none(), lhs_contract: axes(1), rhs_contract: axes(0) };
        let h = b.emit(op.into(), &[x, w]);
        let shape = b.ty(h).shape.clone();
        let bias = b.broadcast_in_dim(bias, &shape, &[1]);
        let logits = b.add(h, bias);
        let max = b.emit(ReduceMax { axes: axes(1), nonempty: false }.into(), &[logits]);
        let max = b.broadcast_reduced(max, &shape, &[1]);
        let shifted = b.sub(logits, max);
        let e = b.exp(shifted);
        let sum = b.reduce_sum(e, &[1]);
        let log = b.log(sum);
        let log = b.broadcast_reduced(log, &shape, &[1]);
        let p = b.sub(shifted, log);
        let weighted = b.mul(p, labels);
        let loss = b.reduce_sum(weighted, &[0, 1]);
        vec![b.scale(loss, -1.0 / 6.0), p]
    })
}

#[test]
fn a_network_computes_the_same_after_every_pass_and_keeps_origins() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let g = network(dtype);
        let after = optimize_and_compare(&g, sample_inputs(&g));
        for region in after.reachable_regions() {
            for &op in &after.region(region).ops {
                assert!(!after.op(op).origins.is_empty());
            }
        }
        passes::lower::lower(&after, &[]).unwrap();
    }
}

#[test]
fn any_prefix_and_any_missing_pass_still_lowers() {
    let passes = pipeline();
    let mut specs: Vec<String> = (0..=passes.len()).map(|n| format!("stop={n}")).collect();
    specs.extend(passes.iter().filter(|p| !p.required()).map(|p| format!("-{}", p.name())));
    for spec in specs {
        for dtype in [DType::F32, DType::BF16] {
            let g = network(dtype);
            let parsed = PassSpec::parse(&spec, &passes).unwrap();
            let settings = Settings { spec: parsed, check: CheckLevel::Passes, ..Settings::default() };
            let outcome = optimize(g.clone(), &settings, None).unwrap_or_else(|e| panic!("{spec}: {e}"));
            passes::lower::lower(&outcome.graph, &[]).unwrap_or_else(|e| panic!("{spec}: {e}{}", show(&outcome.graph)));
            let inputs = sample_inputs(&g);
            let (want, got) = (graphs::eval(&g, &inputs), graphs::eval(&outcome.graph, &inputs));
            assert!(want.iter().zip(&got).all(|(a, b)| graphs::close(a, b, 5e-2)), "{spec}");
        }
    }
}

#[test]
fn a_symbolic_batch_goes_through() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [Dim::symbol("B"), Dim::from(4)]));
        let shape = b.ty(x).shape.clone();
        let c = b.full(Scalar::F32(2.0), &Shape::scalar());
        let c = b.broadcast_in_dim(c, &shape, &[]);
        let y = b.mul(x, c);
        let s = b.reduce_sum(y, &[0]);
        vec![y, s]
    });
    let settings = Settings { check: CheckLevel::Passes, ..Settings::default() };
    let outcome = optimize(g, &settings, None).unwrap();
    passes::lower::lower(&outcome.graph, &[]).unwrap();
}

fn chain(length: usize) -> Graph {
    graph(|b| {
        let x = b.input(Type::new(DType::F32, [1024]));
        let mut y = x;
        for i in 0..length / 2 {
            let c = b.full_like(x, 1.0 + i as f64 / length as f64);
            y = b.mul(y, c);
            y = b.add(y, x);
        }
        vec![y]
    })
}

#[test]
fn a_longer_chain_needs_no_more_kernels_and_its_kernel_grows_linearly() {
    let kernels = |length: usize| {
        let settings = Settings { check: CheckLevel::Off, ..Settings::default() };
        let outcome = optimize(chain(length), &settings, None).unwrap();
        let kernels = passes::lower::lower(&outcome.graph, &[]).unwrap().kernels;
        (kernels.len(), kernels.iter().map(|k| k.to_string().len()).sum::<usize>())
    };
    let ((few, short), (many, long)) = (kernels(1_000), kernels(10_000));
    assert_eq!((few, many), (1, 1));
    // Longer numbers print longer.
    assert!(long < 12 * short, "{short} characters of kernel for 1,000 ops, {long} for 10,000");
}

#[test]
fn a_group_that_nobody_reads_is_left_out_also_beside_a_bare_concatenation() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [4]));
        let _dead = b.exp(x);
        let joined = b.emit(ir::ops::view::Concatenate { axis: 0 }.into(), &[x; 5]);
        vec![joined]
    });
    let settings = Settings { check: CheckLevel::Passes, ..Settings::default() };
    let spec = passes::PassSpec::parse("-dce", &passes::pipeline()).unwrap();
    let outcome = optimize(g, &Settings { spec, ..settings }, None).unwrap();
    let lowered = passes::lower::lower(&outcome.graph, &[]).unwrap();
    assert_eq!(lowered.steps.len(), 1);
}
