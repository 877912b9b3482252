//! Pointwise ops: values known by other means, gradients where functions are not smooth, and which rules apply where.

mod support;

use ir::DType::{BF16, Bool, F16, F32, F64, I32, I64, U8};
use ir::half::{bf16, f16};
use ir::ops::binary::{Add, And, Compare, Direction, Div, Max, Min, Mul, Or, Pow, Rem, Select, Sub, Xor};
use ir::ops::convert::Convert;
use ir::ops::create::{Constant, DimValue, Iota};
use ir::ops::unary::{Abs, Ceil, Cos, Erf, Exp, Floor, Log, Logistic, Neg, Not, Round, Sign, Sin, Sqrt, Tanh};
use ir::ops::{GraphEmitter, Sample};
use ir::{DType, Dim, Emit, EmitExt, Graph, Literal, Primitive, Scalar, Shape, Type, TypedData, Value};
use support::gradients::differentiate;
use support::rewriting::canonicalize;
use support::{call, emitter, evaluate, graph_of, tensor};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn of<T: TypedData>(xs: &[T]) -> Literal {
    Literal::from_vec(&[xs.len()], xs.to_vec())
}

#[track_caller]
fn gives<T: TypedData>(primitive: impl Into<Primitive>, operands: &[Literal], expected: &[T]) {
    let result = call(primitive, operands).unwrap();
    assert!(support::same(&result, &of(expected)), "{result:?}, not {:?}", of(expected));
}

#[test]
fn integers_wrap_and_never_trap() {
    let (min, max) = (i32::MIN, i32::MAX);
    gives(Neg {}, &[of(&[min, max, 0])], &[min, -max, 0]);
    gives(Neg {}, &[of(&[1u8, 0, 255])], &[255u8, 0, 1]);
    gives(Abs {}, &[of(&[min, -5, 5])], &[min, 5, 5]);
    gives(Sign {}, &[of(&[min, 0, 9])], &[-1, 0, 1]);
    gives(Sign {}, &[of(&[0u8, 200])], &[0u8, 1]);
    gives(Add {}, &[of(&[max, 250]), of(&[1, 10])], &[min, 260]);
    gives(Add {}, &[of(&[250u8]), of(&[10u8])], &[4u8]);
    gives(Sub {}, &[of(&[0u8]), of(&[1u8])], &[255u8]);
    gives(Mul {}, &[of(&[i64::MAX, i64::MIN]), of(&[2i64, -1])], &[-2, i64::MIN]);
    gives(Div {}, &[of(&[7, -7, 7, min, 5]), of(&[2, 2, -2, -1, 0])], &[3, -3, -3, min, 0]);
    gives(Rem {}, &[of(&[7, -7, 7, min, 5]), of(&[3, 3, -3, -1, 0])], &[1, -1, 1, 0, 5]);
    gives(Not {}, &[of(&[0u8, 0b1010_0000])], &[255u8, 0b0101_1111]);
    gives(And {}, &[of(&[-1i64, 12]), of(&[5i64, 10])], &[5i64, 8]);
    gives(Or {}, &[of(&[0i64, 12]), of(&[5i64, 10])], &[5i64, 14]);
    gives(Xor {}, &[of(&[-1i64, 12]), of(&[5i64, 10])], &[-6i64, 6]);
}

#[test]
fn integer_powers() {
    let (base, exponent) = ([2, 3, -2, 0, 0, 1, -1, -1, 2, 2, 7], [10, 0, 3, 0, 5, -3, -3, -2, -1, 31, 40]);
    gives(Pow {}, &[of(&base), of(&exponent)], &[1024, 1, -8, 1, 0, 1, -1, 1, 0, i32::MIN, 7i32.wrapping_pow(40)]);
    gives(Pow {}, &[of(&[3u8, 2]), of(&[5u8, 8])], &[243u8, 0]);
    gives(Pow {}, &[of(&[0i64, i64::MIN]), of(&[-1i64, i64::MAX])], &[0i64, 0]);
}

#[test]
fn truth_values_are_ordered_and_combine() {
    let (x, y) = (of(&[false, false, true, true]), of(&[false, true, false, true]));
    gives(And {}, &[x.clone(), y.clone()], &[false, false, false, true]);
    gives(Or {}, &[x.clone(), y.clone()], &[false, true, true, true]);
    gives(Xor {}, &[x.clone(), y.clone()], &[false, true, true, false]);
    gives(Max {}, &[x.clone(), y.clone()], &[false, true, true, true]);
    gives(Min {}, &[x.clone(), y.clone()], &[false, false, false, true]);
    gives(Compare { direction: Direction::Lt }, &[x.clone(), y.clone()], &[false, true, false, false]);
    gives(Not {}, &[x], &[true, true, false, false]);
}

#[test]
fn extrema_keep_nan_and_order_zeros() {
    let (x, y) = ([NAN, 1.0, -0.0, 0.0, -INF, 3.0], [1.0, NAN, 0.0, -0.0, INF, 2.0]);
    gives(Max {}, &[of(&x), of(&y)], &[NAN, NAN, 0.0, 0.0, INF, 3.0]);
    gives(Min {}, &[of(&x), of(&y)], &[NAN, NAN, -0.0, -0.0, -INF, 2.0]);
    let halves = |xs: &[f64]| tensor(F16, &[xs.len()], xs);
    let result = call(Max {}, &[halves(&x), halves(&y)]).unwrap();
    assert!(support::same(&result, &halves(&[NAN, NAN, 0.0, 0.0, INF, 3.0])), "{result:?}");
}

#[test]
fn comparisons_with_nan_are_false_but_ne() {
    let (x, y) = (of(&[NAN, 1.0, NAN, -0.0]), of(&[1.0, NAN, NAN, 0.0]));
    for direction in [Direction::Lt, Direction::Gt] {
        gives(Compare { direction }, &[x.clone(), y.clone()], &[false; 4]);
    }
    for direction in [Direction::Eq, Direction::Le, Direction::Ge] {
        gives(Compare { direction }, &[x.clone(), y.clone()], &[false, false, false, true]);
    }
    gives(Compare { direction: Direction::Ne }, &[x, y], &[true, true, true, false]);
}

#[test]
fn rounding_keeps_the_sign_of_zero() {
    let x = of(&[0.5, 1.5, 2.5, -0.5, -1.5, -0.2, 1e300, -INF, NAN]);
    gives(Round {}, std::slice::from_ref(&x), &[0.0, 2.0, 2.0, -0.0, -2.0, -0.0, 1e300, -INF, NAN]);
    gives(Floor {}, std::slice::from_ref(&x), &[0.0, 1.0, 2.0, -1.0, -2.0, -1.0, 1e300, -INF, NAN]);
    gives(Ceil {}, &[x], &[1.0, 2.0, 3.0, -0.0, -1.0, -0.0, 1e300, -INF, NAN]);
    gives(Sign {}, &[of(&[-0.0f32, 0.0, -3.0, f32::NAN])], &[-0.0f32, 0.0, -1.0, f32::NAN]);
    gives(Neg {}, &[of(&[0.0f32, -0.0])], &[-0.0f32, 0.0]);
    gives(Rem {}, &[of(&[-6.0, 5.5, 5.0, INF, 5.0]), of(&[3.0, 2.0, INF, 2.0, 0.0])], &[-0.0, 1.5, 5.0, NAN, NAN]);
}

#[test]
fn sixteen_bit_floats_round_once_from_f32() {
    let (h, b) = (f16::from_f32, bf16::from_f32);
    // The next f16 above 2048 is 2050, and ties go to even.
    gives(
        Add {},
        &[of(&[h(2048.0), h(2048.0), h(65504.0)]), of(&[h(1.0), h(3.0), h(65504.0)])],
        &[h(2048.0), h(2052.0), f16::INFINITY],
    );
    gives(Add {}, &[of(&[b(256.0)]), of(&[b(1.0)])], &[b(256.0)]);
    // The square overflows f16, so the order of operations is visible: each op rounds.
    gives(Mul {}, &[of(&[h(300.0)]), of(&[h(300.0)])], &[f16::INFINITY]);
    gives(Exp {}, &[of(&[h(1.0)])], &[h(std::f32::consts::E)]);
    gives(Sqrt {}, &[of(&[b(2.0)])], &[b(std::f32::consts::SQRT_2)]);
}

/// Values of mpmath at 40 digits, rounded to f64.
#[test]
fn transcendental_functions() {
    let close = |primitive: Primitive, x: f64, expected: f64| {
        let double = call(primitive.clone(), &[of(&[x])]).unwrap().get(0).as_f64();
        assert!((double - expected).abs() <= 4.0 * f64::EPSILON * expected.abs(), "{primitive:?} {x}: {double:?}");
        let single = call(primitive.clone(), &[of(&[x as f32])]).unwrap().get(0);
        assert_eq!(single, Scalar::F32(expected as f32), "{primitive:?} {x}");
    };
    close(Exp {}.into(), 1.0, std::f64::consts::E);
    close(Exp {}.into(), -10.0, 4.5399929762484854e-5);
    close(Log {}.into(), 10.0, std::f64::consts::LN_10);
    close(Tanh {}.into(), 0.5, 0.46211715726000974);
    close(Logistic {}.into(), -3.0, 0.04742587317756678);
    close(Sin {}.into(), 1.0, 0.8414709848078965);
    close(Sin {}.into(), 1048576.0, 0.3304931400217347);
    close(Cos {}.into(), 2.0, -0.4161468365471424);
    close(Erf {}.into(), 0.5, 0.5204998778130465);
    close(Erf {}.into(), 2.0, 0.9953222650189527);
    gives(Logistic {}, &[of(&[-800.0, -40.0, 40.0])], &[0.0, 4.248354255291589e-18, 1.0]);
    let (x, y) = ([2.0, NAN, 1.0, -8.0, -8.0, 0.0, -0.0, 4.0], [0.5, 0.0, NAN, 1.0 / 3.0, 3.0, -1.0, -1.0, INF]);
    gives(Pow {}, &[of(&x), of(&y)], &[std::f64::consts::SQRT_2, 1.0, 1.0, NAN, -512.0, INF, -INF, INF]);
}

#[test]
fn conversions_saturate_wrap_and_round() {
    let to = |dtype| Convert { dtype };
    let x = [1.9, -1.9, 300.7, -5.0, 1e19, -1e19, NAN, INF];
    gives(to(U8), &[of(&x)], &[1u8, 0, 255, 0, 255, 0, 0, 255]);
    gives(to(I32), &[of(&x)], &[1, -1, 300, -5, i32::MAX, i32::MIN, 0, i32::MAX]);
    gives(to(I64), &[of(&x)], &[1i64, -1, 300, -5, i64::MAX, i64::MIN, 0, i64::MAX]);
    gives(to(Bool), &[of(&[0.0, -0.0, 0.1, NAN])], &[false, false, true, true]);
    gives(to(U8), &[of(&[256i64, -1, 511])], &[0u8, 255, 255]);
    gives(to(I32), &[of(&[1i64 << 32, i64::MAX])], &[0, -1]);
    gives(to(F32), &[of(&[16777217i64, i64::MAX])], &[16777216f32, 9223372036854775807f32]);
    // Through f32, a tie of f16, although the f64 lies above it.
    gives(to(F16), &[of(&[1.0 + 0.5f64.powi(11) + 0.5f64.powi(40)])], &[f16::from_f32(1.0)]);
    gives(to(F16), &[of(&[65519.0f32, 65520.0])], &[f16::MAX, f16::INFINITY]);
    gives(to(BF16), &[tensor(F32, &[2], &[1.00390625, 1.01171875])], &[bf16::from_f32(1.0), bf16::from_f32(1.015625)]);
    gives(to(F64), &[of(&[true, false])], &[1.0, 0.0]);
}

#[test]
fn selection_copies_bits() {
    let payload = f32::from_bits(0xffc0_1234);
    let result = call(Select {}, &[of(&[true, false]), of(&[payload, 1.0]), of(&[2.0f32, payload])]).unwrap();
    assert_eq!(result, of(&[payload, payload]));
}

/// Gradients of an op by its operands for a cotangent of ones.
fn gradients(primitive: impl Into<Primitive>, operands: &[Literal]) -> Vec<Vec<f64>> {
    let sample = Sample { primitive: primitive.into(), operands: operands.to_vec() };
    let d = differentiate(sample.graph()).unwrap();
    let one = Literal::filled(operands[0].dims(), Scalar::one(d.graph.output_types()[0].dtype));
    let arguments: Vec<Literal> = operands.iter().cloned().chain([one]).collect();
    let outputs = evaluate(&d.graph, &arguments).unwrap();
    outputs[1..].iter().map(|g| g.iter().map(Scalar::as_f64).collect()).collect()
}

#[test]
fn gradients_at_kinks() {
    assert_eq!(gradients(Abs {}, &[of(&[0.0, -0.0, -2.0])])[0], [0.0, 0.0, -1.0]);
    assert_eq!(gradients(Sqrt {}, &[of(&[0.0, 4.0])])[0], [INF, 0.25]);
    assert_eq!(gradients(Log {}, &[of(&[0.0])])[0], [INF]);
    for op in [Primitive::from(Max {}), Primitive::from(Min {})] {
        let both = gradients(op, &[of(&[1.0, 0.0, NAN]), of(&[1.0, -0.0, 1.0])]);
        assert_eq!(both, [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]);
    }
    assert_eq!(gradients(Max {}, &[of(&[1.0, 2.0]), of(&[3.0, 0.0])]), [[0.0, 1.0], [1.0, 0.0]]);
    // 6 = 2 * 3 + 0, although 6 / 3.0000000000000004 rounds to 2 as well.
    assert_eq!(
        gradients(Rem {}, &[of(&[7.0, -7.0, 6.0]), of(&[3.0, 3.0, 3.0000000000000004])]),
        [[1.0, 1.0, 1.0], [-2.0, 2.0, -1.0]]
    );
}

#[test]
fn gradients_of_powers_at_zero() {
    // x: 0^0, 0^1, 0^2, 0^3, and the same below by exponent.
    let (x, y) = (of(&[0.0, 0.0, 0.0, 0.0, 2.0]), of(&[0.0, 1.0, 2.0, 0.5, 0.0]));
    let both = gradients(Pow {}, &[x, y]);
    assert_eq!(both[0], [0.0, 1.0, 0.0, INF, 0.0]);
    assert_eq!(both[1], [0.0, 0.0, 0.0, 0.0, 2f64.ln()]);
    assert!(gradients(Pow {}, &[of(&[-2.0]), of(&[2.0])])[1][0].is_nan());
}

#[test]
fn second_derivatives_of_powers_at_zero() {
    let sample = Sample { primitive: Pow {}.into(), operands: vec![of(&[0.0, 0.0, 0.0]), of(&[2.0, 0.0, 1.0])] };
    let first = differentiate(sample.graph()).unwrap();
    let mut by_base = first.graph.clone();
    by_base.set_outputs(vec![first.graph.outputs()[1]]);
    let second = differentiate(by_base).unwrap();
    let ones = of(&[1.0, 1.0, 1.0]);
    let arguments: Vec<Literal> = sample.operands.iter().cloned().chain([ones.clone(), ones]).collect();
    let outputs = evaluate(&second.graph, &arguments).unwrap();
    // By the base again: 2, 0 and 0 for x^2, x^0 and x^1.
    assert_eq!(outputs[1].as_slice::<f64>(), [2.0, 0.0, 0.0]);
}

#[test]
fn conversions_pass_gradients_between_floats_only() {
    let by = |from: DType, to: DType| {
        let sample =
            Sample { primitive: Convert { dtype: to }.into(), operands: vec![tensor(from, &[2], &[1.0, 2.0])] };
        differentiate(sample.graph()).unwrap().graph.output_types().get(1).cloned()
    };
    assert_eq!(by(F32, F16), Some(Type::new(F32, [2])));
    assert_eq!(by(BF16, F64), Some(Type::new(BF16, [2])));
    assert_eq!(by(F32, I32), None);
    assert_eq!(by(I64, F32), None);
}

#[test]
fn ops_between_integers_have_no_gradient() {
    for primitive in [Primitive::from(And {}), Add {}.into(), Max {}.into()] {
        let (mut graph, inputs) = graph_of([Type::new(I32, [2]), Type::new(I32, [2])]);
        let mut b = emitter(&mut graph);
        let result = b.emit(primitive.clone(), &inputs);
        let refused = primitive.jvp(&mut b, &inputs, &[result], &[Some(inputs[0]), None]);
        assert_eq!(refused.unwrap_err().0, "only floats have gradients");
    }
}

/// What an expression over two inputs becomes, written as a term.
fn simplified(dtype: DType, f: impl Fn(&mut GraphEmitter<'_>, Value, Value) -> Value) -> String {
    let (mut graph, inputs) = graph_of([Type::new(dtype, [2]), Type::new(dtype, [2])]);
    let out = f(&mut emitter(&mut graph), inputs[0], inputs[1]);
    graph.set_outputs(vec![out]);
    canonicalize(&mut graph);
    term(&graph, graph.outputs()[0])
}

fn term(graph: &Graph, v: Value) -> String {
    let Some((op, _)) = graph.defining_op(v) else {
        return ["x", "y"][graph.inputs().iter().position(|&i| i == v).unwrap()].into();
    };
    let data = graph.op(op);
    if let Some(value) = data.primitive.splat() {
        return value.to_string();
    }
    let operands: Vec<String> = data.operands.iter().map(|&v| term(graph, v)).collect();
    let name = match &data.primitive {
        Primitive::Compare(c) => c.direction.name().to_string(),
        Primitive::Convert(c) => c.dtype.to_string(),
        p => p.name().to_string(),
    };
    format!("{name}({})", operands.join(", "))
}

#[test]
fn neutral_elements() {
    let with = |dtype, op: fn() -> Primitive, c: f64| {
        simplified(dtype, |b, x, _| {
            let c = b.full_like(x, c);
            b.emit(op(), &[x, c])
        })
    };
    let (add, sub, mul) = (|| Add {}.into(), || Sub {}.into(), || Mul {}.into());
    let (div, pow) = (|| Div {}.into(), || Pow {}.into());
    assert_eq!(with(F32, add, -0.0), "x");
    // -0 + 0 is +0.
    assert_eq!(with(F32, add, 0.0), "add(x, 0.0)");
    assert_eq!(with(I32, add, 0.0), "x");
    assert_eq!(with(F32, sub, 0.0), "x");
    assert_eq!(with(F32, sub, -0.0), "sub(x, -0.0)");
    assert_eq!(with(F16, mul, 1.0), "x");
    assert_eq!(with(F32, mul, -1.0), "neg(x)");
    assert_eq!(with(U8, mul, 255.0), "mul(x, 255)");
    assert_eq!(with(F32, mul, 0.0), "mul(x, 0.0)");
    assert_eq!(with(I64, mul, 0.0), "0");
    assert_eq!(with(F32, div, 1.0), "x");
    assert_eq!(with(I32, div, -1.0), "neg(x)");
    assert_eq!(with(F32, div, 8.0), "mul(x, 0.125)");
    assert_eq!(with(F32, div, -0.25), "mul(x, -4.0)");
    assert_eq!(with(F32, div, 3.0), "div(x, 3.0)");
    assert_eq!(with(I32, div, 8.0), "div(x, 8)");
    // Its reciprocal is subnormal.
    assert_eq!(with(F32, div, 2f64.powi(127)), "div(x, 1.7014118e38)");
    assert_eq!(with(F32, pow, 0.0), "1.0");
    assert_eq!(with(F32, pow, 1.0), "x");
    assert_eq!(with(F32, pow, 2.0), "mul(x, x)");
    assert_eq!(with(I32, pow, 2.0), "mul(x, x)");
    assert_eq!(with(F64, pow, -1.0), "div(1.0, x)");
    assert_eq!(with(F32, pow, 0.5), "pow(x, 0.5)");
    assert_eq!(with(F32, || Max {}.into(), -INF), "x");
    assert_eq!(with(F32, || Max {}.into(), INF), "max(x, inf)");
    assert_eq!(with(I32, || Max {}.into(), i32::MAX as f64), "2147483647");
    assert_eq!(with(I32, || Rem {}.into(), 1.0), "0");
    assert_eq!(with(F32, || Rem {}.into(), 1.0), "rem(x, 1.0)");
    assert_eq!(with(U8, || And {}.into(), 255.0), "x");
    assert_eq!(with(I32, || Xor {}.into(), -1.0), "not(x)");
    assert_eq!(with(Bool, || Or {}.into(), 1.0), "true");
}

#[test]
fn constants_go_right_and_gather() {
    let left = simplified(F32, |b, x, _| {
        let c = b.full_like(x, 2.0);
        b.mul(c, x)
    });
    assert_eq!(left, "mul(x, 2.0)");
    let compared = simplified(F32, |b, x, _| {
        let c = b.full_like(x, 2.0);
        b.compare(Direction::Le, c, x)
    });
    assert_eq!(compared, "ge(x, 2.0)");
    let twice = |b: &mut GraphEmitter<'_>, x, _| {
        let (c, d) = (b.full_like(x, 2.0), b.full_like(x, 3.0));
        let sum = b.add(c, x);
        b.add(sum, d)
    };
    assert_eq!(simplified(I32, twice), "add(x, add(2, 3))");
    // Floats would round elsewhere.
    assert_eq!(simplified(F32, twice), "add(add(x, 2.0), 3.0)");
}

#[test]
fn negations() {
    assert_eq!(
        simplified(F32, |b, x, _| {
            let n = b.neg(x);
            b.neg(n)
        }),
        "x"
    );
    assert_eq!(
        simplified(F32, |b, x, y| {
            let n = b.neg(y);
            b.add(x, n)
        }),
        "sub(x, y)"
    );
    assert_eq!(
        simplified(F32, |b, x, y| {
            let n = b.neg(x);
            b.add(n, y)
        }),
        "sub(y, x)"
    );
    assert_eq!(
        simplified(F32, |b, x, y| {
            let n = b.neg(y);
            b.sub(x, n)
        }),
        "add(x, y)"
    );
    assert_eq!(
        simplified(F32, |b, x, y| {
            let (n, m) = (b.neg(x), b.neg(y));
            b.mul(n, m)
        }),
        "mul(x, y)"
    );
    assert_eq!(
        simplified(F32, |b, x, y| {
            let d = b.sub(x, y);
            b.neg(d)
        }),
        "neg(sub(x, y))"
    );
    assert_eq!(
        simplified(I32, |b, x, y| {
            let d = b.sub(x, y);
            b.neg(d)
        }),
        "sub(y, x)"
    );
    assert_eq!(
        simplified(F32, |b, x, _| {
            let z = b.full_like(x, 0.0);
            b.sub(z, x)
        }),
        "sub(0.0, x)"
    );
    assert_eq!(
        simplified(F32, |b, x, _| {
            let z = b.full_like(x, -0.0);
            b.sub(z, x)
        }),
        "neg(x)"
    );
    assert_eq!(simplified(F32, |b, x, _| b.sub(x, x)), "sub(x, x)");
    assert_eq!(simplified(I32, |b, x, _| b.sub(x, x)), "0");
}

#[test]
fn repeated_ops() {
    let chain =
        |dtype, ps: &[Primitive]| simplified(dtype, |b, x, _| ps.iter().fold(x, |v, p| b.emit(p.clone(), &[v])));
    assert_eq!(chain(F32, &[Abs {}.into(), Abs {}.into()]), "abs(x)");
    assert_eq!(chain(F32, &[Neg {}.into(), Abs {}.into()]), "abs(x)");
    assert_eq!(chain(U8, &[Abs {}.into()]), "x");
    assert_eq!(chain(F32, &[Sign {}.into(), Sign {}.into()]), "sign(x)");
    assert_eq!(chain(F32, &[Floor {}.into(), Round {}.into()]), "floor(x)");
    assert_eq!(chain(F32, &[Neg {}.into(), Cos {}.into()]), "cos(x)");
    assert_eq!(chain(I32, &[Not {}.into(), Not {}.into()]), "x");
    assert_eq!(chain(I64, &[Convert { dtype: F32 }.into(), Ceil {}.into()]), "f32(x)");
}

#[test]
fn comparisons() {
    let not = |dtype, direction| {
        simplified(dtype, move |b, x, y| {
            let c = b.compare(direction, x, y);
            b.not(c)
        })
    };
    assert_eq!(not(F32, Direction::Eq), "ne(x, y)");
    // With NaN on either side, neither holds.
    assert_eq!(not(F32, Direction::Lt), "not(lt(x, y))");
    assert_eq!(not(I32, Direction::Lt), "ge(x, y)");
    let itself = |dtype, direction| simplified(dtype, move |b, x, _| b.compare(direction, x, x));
    assert_eq!(itself(I32, Direction::Le), "true");
    assert_eq!(itself(I32, Direction::Ne), "false");
    assert_eq!(itself(F32, Direction::Lt), "false");
    assert_eq!(itself(F32, Direction::Eq), "eq(x, x)");
    let truth = |direction, c| {
        simplified(Bool, move |b, x, _| {
            let c = b.full_like(x, c);
            b.compare(direction, x, c)
        })
    };
    assert_eq!(truth(Direction::Eq, 1.0), "x");
    assert_eq!(truth(Direction::Ne, 1.0), "not(x)");
    assert_eq!(truth(Direction::Eq, 0.0), "not(x)");
}

#[test]
fn selections() {
    let constant = |c| {
        simplified(F32, move |b, x, y| {
            let c = b.full(Scalar::Bool(c), &Shape::from([2]));
            b.select(c, x, y)
        })
    };
    assert_eq!((constant(true), constant(false)), ("x".into(), "y".into()));
    assert_eq!(
        simplified(F32, |b, x, y| {
            let c = b.compare(Direction::Lt, x, y);
            b.select(c, x, x)
        }),
        "x"
    );
    let opposite = simplified(F32, |b, x, y| {
        let c = b.compare(Direction::Lt, x, y);
        let n = b.not(c);
        b.select(n, x, y)
    });
    assert_eq!(opposite, "select(lt(x, y), y, x)");
    let truth = simplified(Bool, |b, x, _| {
        let (on, off) = (b.full_like(x, 1.0), b.full_like(x, 0.0));
        b.select(x, off, on)
    });
    assert_eq!(truth, "not(x)");
}

#[test]
fn conversions_in_a_row() {
    let via = |from, there, to| {
        simplified(from, move |b, x, _| {
            let v = b.convert(x, there);
            b.convert(v, to)
        })
    };
    assert_eq!(via(F16, F32, F16), "x");
    assert_eq!(via(F32, F16, F32), "f32(f16(x))");
    assert_eq!(via(F16, BF16, F32), "f32(bf16(x))");
    assert_eq!(via(U8, I32, F32), "f32(x)");
    assert_eq!(via(I32, F64, F32), "f32(x)");
    assert_eq!(via(I32, F32, F64), "f64(f32(x))");
    assert_eq!(via(F32, I32, F32), "f32(i32(x))");
    // A float saturates where a wider integer wraps.
    assert_eq!(via(I32, F64, U8), "u8(f64(x))");
    assert_eq!(via(I32, F64, I64), "i64(x)");
    assert_eq!(via(I32, U8, I32), "i32(u8(x))");
    assert_eq!(via(Bool, F16, I64), "i64(x)");
}

#[test]
fn created_values() {
    let create = |p: Primitive| simplified(F32, move |b, _, _| b.emit(p.clone(), &[]));
    assert_eq!(create(Constant { value: tensor(F32, &[3], &[2.0; 3]) }.into()), "2.0");
    assert_eq!(create(Constant { value: tensor(F32, &[2], &[0.0, -0.0]) }.into()), "constant()");
    assert_eq!(create(Iota { dtype: I32, shape: Shape::from([1, 4]), axis: 0 }.into()), "0");
    assert_eq!(create(DimValue { dim: Dim::from(7) }.into()), "7");
    assert_eq!(create(DimValue { dim: Dim::symbol("B") }.into()), "dim_value()");
}
