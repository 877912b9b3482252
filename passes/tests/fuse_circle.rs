//! Groups whose ops stand among each other's.

mod graphs;

use ir::verify::{Stage, verify};
use passes::fuse::fuse;

/// Shrunk from the derivatives of a random program. By positions alone, groups are joined of which one depends on the other
/// through a third.
const CIRCLE: &str = "graph @g(%0: f64[3], %1: f64[3], %2: f64[3], %3: f64[3], %4: f64[3], %5: f64[3], %6: f64[3], %7: f64[3], %8: f64[3], %9: f64[3], %10: f64[3], %11: f64[3], %12: f64[3], %13: f64[], %14: f64[3], %15: f64[3], %16: f64[3], %17: i64[3], %18: f64[3], %19: f64[3], %20: f64[3, 3], %21: f64[3], %22: i64[3], %23: f64[3]) -> (f64[], f64[3], f64[3]) {
  %24: f64[3] = mul %4, %5
  %25: f64[3] = add %24, %7
  %26: f64[3] = add %25, %3
  %27: i64[3] = argsort %26 {axis = 0}
  %28: f64[3] = gather %26, %27 {axis = 0, batch = 0, mode = fill}
  %29: f64[3] = max %8, %28
  %30: f64[3] = mul %29, %6
  %31: f64[3] = add %24, %30
  %32: f64[3] = add %9, %31
  %33: f64[3] = mul %32, %5
  %34: f64[3] = add %33, %10
  %35: f64[3] = mul %34, %6
  %36: f64[3] = add %12, %35
  %37: f64[3] = sin %14
  %38: f64[3] = mul %37, %2
  %39: f64[3] = sin %38
  %40: f64[1] = slice %36 {starts = [0], limits = [1], strides = [1]}
  %41: f64[] = reshape %40 {shape = []}
  %42: f64[3] = broadcast_in_dim %41 {shape = [3], dims = []}
  %43: f64[3] = mul %42, %0
  %44: f64[3] = sub %43, %15
  %45: f64[3] = exp %44
  %46: f64[3] = div %45, %16
  %47: f64[3] = mul %46, %46
  %48: f64[3] = add %47, %11
  %49: f64[3] = div %0, %48
  %50: f64[3] = gather %49, %17 {axis = 0, batch = 0, mode = fill}
  %51: f64[3] = mul %50, %5
  %52: f64[3] = mul %49, %6
  %53: f64[3] = add %51, %52
  %54: f64[3] = add %9, %53
  %55: f64[3] = mul %54, %5
  %56: f64[3] = mul %39, %6
  %57: f64[3] = add %55, %56
  %58: f64[3] = mul %37, %18
  %59: f64[] = reduce_sum %58 {axes = [0]}
  %60: f64[] = add %13, %59
  %61: f64[3] = sin %19
  %62: f64[3] = mul %61, %0
  %63: f64[3] = tanh %62
  %64: f64[3, 3] = broadcast_in_dim %63 {shape = [3, 3], dims = [1]}
  %65: f64[3, 3] = mul %20, %64
  %66: f64[3] = reduce_sum %65 {axes = [1]}
  %67: f64[3] = mul %66, %1
  %68: f64[3] = add %67, %3
  %69: f64[3] = gather %68, %22 {axis = 0, batch = 0, mode = fill}
  %70: f64[3] = max %21, %69
  %71: f64[3] = mul %70, %6
  %72: f64[3] = add %24, %71
  %73: f64[3] = mul %61, %23
  %74: f64[] = reduce_sum %73 {axes = [0]}
  %75: f64[] = add %60, %74
  return %75, %57, %72
}
";

#[test]
fn groups_in_a_circle_are_formed_again() {
    let graph = ir::text::parse(CIRCLE).unwrap();
    let mut fused = graph.clone();
    let report = fuse(&mut fused, true);
    assert_eq!(report.exact, 1, "the graph makes no circle any more: find another");
    verify(&fused, Stage::Fused).unwrap();
    let inputs = graphs::sample_inputs(&graph);
    let (want, got) = (graphs::eval(&graph, &inputs), graphs::eval(&fused, &inputs));
    assert!(want.iter().zip(&got).all(|(a, b)| graphs::same(a, b)), "{want:?} {got:?}");
}
