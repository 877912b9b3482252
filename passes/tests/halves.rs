//! 16-bit floats: legalisation and widening.

mod graphs;

use graphs::{apply, check, close, eval, graph, sample_inputs, show};
use insta::assert_snapshot;
use ir::ops::contract::DotGeneral;
use ir::ops::create::Iota;
use ir::ops::index::{IndexMode, Scatter, Update};
use ir::ops::region::{Fused, FusionKind};
use ir::{DType, Emit, EmitExt, Graph, Lowering, Primitive, Shape, Type};
use passes::driver::run;
use passes::legalize::Legalize16;
use passes::widen::Widen;
use passes::{Pass, PassOptions, Settings};

#[test]
fn each_op_computes_in_f32_and_rounds_once() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F16, [3]));
        let y = b.exp(x);
        vec![b.add(x, y)]
    });
    assert_snapshot!(check(Legalize16, &g), @r"
    (%0: f16[3])
    %1: f32[3] = convert(%0) dtype=f32 @1
    %2: f32[3] = exp(%1) @1
    %3: f16[3] = convert(%2) dtype=f16 @1
    %4: f32[3] = convert(%0) dtype=f32 @2
    %5: f32[3] = convert(%3) dtype=f32 @2
    %6: f32[3] = add(%4, %5) @2
    %7: f16[3] = convert(%6) dtype=f16 @2
    -> %7
    ");
}

#[test]
fn data_movement_and_products_stay() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::BF16, [2, 2]));
        let axes = |a: usize| [a].as_slice().into();
        let op = DotGeneral {
            lhs_batch: Default::default(),
            rhs_batch: Default::default(),
            lhs_contract: axes(1),
            rhs_contract: axes(0),
        };
        let t = b.transpose(x, &[1, 0]);
        let one = b.full_like(x, 1.0);
        vec![b.emit(op.into(), &[x, t]), one, b.reshape(t, &Shape::from([4]))]
    });
    assert_eq!(apply(vec![Box::new(Legalize16)], &g), g);
}

#[test]
fn conversions_and_generators_stay() {
    let g = graph(|b| {
        let (h, d) = (b.input(Type::new(DType::F16, [3])), b.input(Type::new(DType::F64, [3])));
        let iota = b.emit(Iota { dtype: DType::BF16, shape: [3].into(), axis: 0 }.into(), &[]);
        let f = b.convert(h, DType::F32);
        vec![
            b.convert(h, DType::BF16),
            b.convert(h, DType::I32),
            b.convert(d, DType::F16),
            iota,
            b.convert(f, DType::F16),
        ]
    });
    assert_eq!(apply(vec![Box::new(Legalize16)], &g), g);
}

#[test]
fn reductions_and_updates_accumulate_in_f32() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::BF16, [40]));
        let i = b.input(Type::new(DType::I64, [40]));
        let sum = b.reduce_sum(x, &[0]);
        vec![sum, b.emit(Scatter { axis: 0, batch: 0, mode: IndexMode::Fill, combine: Update::Add }.into(), &[x, i, x])]
    });
    let after = apply(vec![Box::new(Legalize16)], &g);
    assert_snapshot!(show(&after), @r"
    (%0: bf16[40], %1: i64[40])
    %2: f32[40] = convert(%0) dtype=f32 @1
    %3: f32[] = reduce_sum(%2) axes=[0] @1
    %4: bf16[] = convert(%3) dtype=bf16 @1
    %5: f32[40] = convert(%0) dtype=f32 @2
    %6: f32[40] = convert(%0) dtype=f32 @2
    %7: f32[40] = scatter(%5, %1, %6) axis=0 batch=0 mode=fill combine=add @2
    %8: bf16[40] = convert(%7) dtype=bf16 @2
    -> %4, %8
    ");
    let inputs = sample_inputs(&g);
    assert!(eval(&g, &inputs).iter().zip(&eval(&after, &inputs)).all(|(a, b)| close(a, b, 1e-2)));
}

#[test]
fn every_op_is_legal_afterwards_for_every_dtype() {
    let mut seen = std::collections::HashSet::new();
    for sample in Primitive::all_samples() {
        if !sample.operands.iter().any(|o| o.dtype().is_half()) {
            continue;
        }
        let g = graph(|b| {
            let inputs: Vec<_> = sample.operands.iter().map(|o| b.input(o.ty())).collect();
            vec![b.emit(sample.primitive.clone(), &inputs)]
        });
        seen.insert(sample.primitive.name());
        // The driver checks the guarantee.
        apply(vec![Box::new(Legalize16)], &g);
    }
    assert!(seen.len() > 20, "{seen:?}");
}

fn round_trips() -> Graph {
    graph(|b| {
        let x = b.input(Type::new(DType::F16, [3]));
        b.fused(Fused { kind: FusionKind::Loop }, &[x], |b, p| {
            let wide = b.convert(p[0], DType::F32);
            let y = b.exp(wide);
            let y16 = b.convert(y, DType::F16);
            let again = b.convert(y16, DType::F32);
            let z = b.add(again, wide);
            vec![b.convert(z, DType::F16)]
        })
        .to_vec()
    })
}

#[test]
fn inside_a_group_nothing_is_rounded_in_between() {
    let after = apply(vec![Box::new(Widen), Box::new(passes::dce::EliminateDeadCode)], &round_trips());
    assert_snapshot!(show(&after), @r"
    (%0: f16[3])
    %6: f16[3] = fused(%0) kind=loop @7
        (%1: f16[3])
        %2: f32[3] = convert(%1) dtype=f32 @1
        %3: f32[3] = exp(%2) @2
        %4: f32[3] = add(%3, %2) @5
        %5: f16[3] = convert(%4) dtype=f16 @6
        -> %5
    -> %6
    ");
}

#[test]
fn strict16_keeps_every_rounding() {
    let g = round_trips();
    let pipeline: Vec<Box<dyn Pass>> = vec![Box::new(Widen)];
    let options = PassOptions { strict16: true, ..PassOptions::default() };
    let outcome = run(g.clone(), &pipeline, &Settings { options, ..Settings::default() }, None).unwrap();
    assert_eq!(outcome.graph, g);
    // The whole pipeline rounds as the reference does.
    let g = graph(|b| {
        let x = b.input(Type::new(DType::BF16, [50]));
        let y = b.exp(x);
        let z = b.mul(y, x);
        vec![b.sub(z, y)]
    });
    let inputs = sample_inputs(&g);
    let run = |strict16| {
        let settings = Settings { options: PassOptions { strict16, ..PassOptions::default() }, ..Settings::default() };
        eval(&passes::optimize(g.clone(), &settings, None).unwrap().graph, &inputs)
    };
    assert_eq!(run(true), eval(&g, &inputs));
    assert_ne!(run(false), run(true), "widening is expected to show in these numbers");
}

#[test]
fn outside_of_groups_roundings_stay() {
    let g = graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        let h = b.convert(x, DType::F16);
        vec![b.convert(h, DType::F32)]
    });
    assert_eq!(apply(vec![Box::new(Widen)], &g), g);
    assert_eq!(g.op(g.region(g.root()).ops[0]).primitive.lowering(), Lowering::Pointwise);
}
