//! Products in strided form.

mod graphs;

use graphs::{apply, close, eval, graph, sample_inputs, show};
use insta::assert_snapshot;
use ir::ops::contract::DotGeneral;
use ir::{DType, Dim, Emit, EmitExt, Graph, Primitive, Type};
use passes::canonicalize::Canonicalize;
use passes::contractions::StrideContractions;

fn dot(lb: &[usize], rb: &[usize], lc: &[usize], rc: &[usize]) -> DotGeneral {
    DotGeneral { lhs_batch: lb.into(), rhs_batch: rb.into(), lhs_contract: lc.into(), rhs_contract: rc.into() }
}

fn product(op: DotGeneral, lhs: &[usize], rhs: &[usize]) -> Graph {
    graph(|b| {
        let (x, y) = (b.input(Type::new(DType::F64, lhs)), b.input(Type::new(DType::F64, rhs)));
        vec![b.emit(op.into(), &[x, y])]
    })
}

/// The graph after the pass, which must compute the same and change nothing the second time.
fn check(g: &Graph) -> String {
    let after = apply(vec![Box::new(StrideContractions)], g);
    assert_eq!(apply(vec![Box::new(StrideContractions)], &after), after);
    let inputs = sample_inputs(g);
    assert!(eval(g, &inputs).iter().zip(&eval(&after, &inputs)).all(|(a, b)| close(a, b, 1e-12)), "{}", show(&after));
    show(&after)
}

#[test]
fn strided_products_stay() {
    for (op, lhs, rhs) in [
        (dot(&[], &[], &[1], &[0]), &[2, 3][..], &[3, 4][..]),
        (dot(&[], &[], &[0], &[1]), &[3, 2], &[4, 3]),
        (dot(&[], &[], &[2], &[0]), &[2, 5, 3], &[3, 4]),
        (dot(&[0], &[0], &[2], &[1]), &[2, 5, 3], &[2, 3, 4]),
        (dot(&[1], &[1], &[2], &[2]), &[5, 2, 3], &[4, 2, 3]),
        (dot(&[], &[], &[1], &[0]), &[2, 0], &[0, 3]),
        (dot(&[], &[], &[], &[]), &[2], &[3]),
    ] {
        let g = product(op, lhs, rhs);
        check(&g);
        assert_eq!(apply(vec![Box::new(StrideContractions)], &g), g);
    }
}

#[test]
fn scattered_axes_are_gathered() {
    // Free axes of the left operand around the summed one.
    assert_snapshot!(check(&product(dot(&[], &[], &[1], &[0]), &[2, 3, 4], &[3, 5])), @r"
    (%0: f64[2, 3, 4], %1: f64[3, 5])
    %2: f64[2, 4, 3] = transpose(%0) permutation=[0, 2, 1] @1
    %3: f64[2, 4, 5] = dot_general(%2, %1) lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[0] @1
    -> %3
    ");
    // Summed axes of the right operand around a free one, in another order than the left ones.
    assert_snapshot!(check(&product(dot(&[], &[], &[1, 2], &[2, 0]), &[5, 3, 4], &[4, 6, 3])), @r"
    (%0: f64[5, 3, 4], %1: f64[4, 6, 3])
    %2: f64[3, 4, 6] = transpose(%1) permutation=[2, 0, 1] @1
    %3: f64[5, 6] = dot_general(%0, %2) lhs_batch=[] rhs_batch=[] lhs_contract=[1, 2] rhs_contract=[0, 1] @1
    -> %3
    ");
}

#[test]
fn an_order_of_the_summed_pairs_saves_transposes() {
    let text = check(&product(dot(&[], &[], &[2, 1], &[1, 0]), &[5, 3, 4], &[3, 4, 6]));
    assert_snapshot!(text, @r"
    (%0: f64[5, 3, 4], %1: f64[3, 4, 6])
    %2: f64[5, 6] = dot_general(%0, %1) lhs_batch=[] rhs_batch=[] lhs_contract=[1, 2] rhs_contract=[0, 1] @1
    -> %2
    ");
}

#[test]
fn an_operand_used_twice_is_transposed_once() {
    let g = graph(|b| {
        let (x, y) = (b.input(Type::new(DType::F64, [2, 3, 4])), b.input(Type::new(DType::F64, [3, 5])));
        let p = b.emit(dot(&[], &[], &[1], &[0]).into(), &[x, y]);
        let y = b.neg(y);
        let q = b.emit(dot(&[], &[], &[1], &[0]).into(), &[x, y]);
        vec![b.add(p, q)]
    });
    assert_eq!(check(&g).matches("transpose(").count(), 1);
}

#[test]
fn symbolic_extents_are_walked_too() {
    let g = graph(|b| {
        let batch = Dim::symbol("B");
        let x = b.input(Type::new(DType::F32, [batch, Dim::from(3), Dim::from(4)]));
        let y = b.input(Type::new(DType::F32, [3, 5]));
        vec![b.emit(dot(&[], &[], &[1], &[0]).into(), &[x, y])]
    });
    assert_snapshot!(show(&apply(vec![Box::new(StrideContractions)], &g)), @r"
    (%0: f32[B, 3, 4], %1: f32[3, 5])
    %2: f32[B, 4, 3] = transpose(%0) permutation=[0, 2, 1] @1
    %3: f32[B, 4, 5] = dot_general(%2, %1) lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[0] @1
    -> %3
    ");
}

#[test]
fn transposes_of_operands_become_axis_numbers() {
    let g = graph(|b| {
        let (x, y) = (b.input(Type::new(DType::F32, [3, 2])), b.input(Type::new(DType::F32, [5, 3])));
        let (xt, yt) = (b.transpose(x, &[1, 0]), b.transpose(y, &[1, 0]));
        vec![b.emit(dot(&[], &[], &[1], &[0]).into(), &[xt, yt])]
    });
    let after =
        apply(vec![Box::new(Canonicalize), Box::new(passes::dce::EliminateDeadCode), Box::new(StrideContractions)], &g);
    assert_snapshot!(show(&after), @r"
    (%0: f32[3, 2], %1: f32[5, 3])
    %2: f32[2, 5] = dot_general(%0, %1) lhs_batch=[] rhs_batch=[] lhs_contract=[0] rhs_contract=[1] @3
    -> %2
    ");
}

#[test]
fn all_samples_become_strided() {
    for s in Primitive::all_samples().into_iter().filter(|s| s.primitive.contract_axes().is_some()) {
        let g = graph(|b| {
            let inputs: Vec<_> = s.operands.iter().map(|o| b.input(o.ty())).collect();
            vec![b.emit(s.primitive.clone(), &inputs)]
        });
        // The driver checks the guarantee.
        let after = apply(vec![Box::new(StrideContractions)], &g);
        let (want, got) = (eval(&g, &s.operands), eval(&after, &s.operands));
        assert!(close(&want[0], &got[0], if want[0].dtype().is_half() { 1e-2 } else { 1e-5 }), "{}", show(&g));
    }
}
