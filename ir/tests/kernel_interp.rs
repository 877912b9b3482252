//! The interpreter of kernels: what each construct means, and what it refuses to do.

use ir::kernel::interp::{self, Offence, Options, Order, Status, scalar};
use ir::kernel::text::parse;
use ir::kernel::*;
use ir::{DType, Data, Scalar, TypedData};

const ORDERS: [Order; 4] = [Order::Forward, Order::Reverse, Order::Shuffled(1), Order::Shuffled(2)];

/// Runs in every order, which must agree to the bit.
#[track_caller]
fn run(text: &str, buffers: &[Data], extents: &[i64]) -> (Vec<Data>, Status) {
    let kernel = parse(text).unwrap_or_else(|e| panic!("{e}"));
    let outcome = |order| {
        let mut buffers = buffers.to_vec();
        let options = Options { order, ..Options::default() };
        let status = interp::run_with(&kernel, &mut buffers, extents, &options).unwrap_or_else(|e| panic!("{e}"));
        (buffers, status)
    };
    let (data, status) = outcome(ORDERS[0]);
    for order in &ORDERS[1..] {
        let (other, other_status) = outcome(*order);
        for (p, (a, b)) in data.iter().zip(&other).enumerate() {
            assert!((0..a.len()).all(|i| a.get(i) == b.get(i)), "%p{p} differs when run {order:?}");
        }
        assert_eq!(status, other_status, "the status differs when run {order:?}");
    }
    (data, status)
}

#[track_caller]
fn fails(text: &str, buffers: &[Data], extents: &[i64]) -> String {
    let kernel = parse(text).unwrap_or_else(|e| panic!("{e}"));
    let mut buffers = buffers.to_vec();
    let limit = Options { limit: 10_000, ..Options::default() };
    interp::run_with(&kernel, &mut buffers, extents, &limit).expect_err("the run should fail").to_string()
}

/// One accumulator over a lanes or serial loop.
fn reduce(how: &str, kind: &str, dtype: DType, input: Data) -> Scalar {
    let text = format!(
        "kernel @reduce(%x: in {dtype}, %o: out {dtype}; N) {{
           nest %t in 0..1 work N {{
             for %i in 0..N {kind} {{ %v: {dtype} = load %x[%i] yield {how} %v -> %r: {dtype} }}
             store %o[0], %r
           }}
         }}"
    );
    let n = input.len() as i64;
    let (data, _) = run(&text, &[input, Data::filled(Scalar::zero(dtype), 1)], &[n]);
    data[1].get(0)
}

/// Value and position over a loop.
fn arg_reduce(how: &str, input: Vec<f32>) -> (f32, i64) {
    let text = format!(
        "kernel @arg(%x: in f32, %v: out f32, %p: out i64; N) {{
           nest %t in 0..1 work N {{
             for %i in 0..N lanes {{
               %a: f32 = load %x[%i]
               %at: i64 = index %i
               yield {how} %a, %at -> %r: f32, %q: i64
             }}
             store %v[0], %r
             store %p[0], %q
           }}
         }}"
    );
    let n = input.len() as i64;
    let (data, _) = run(&text, &[Data::F32(input), Data::F32(vec![0.0]), Data::I64(vec![0])], &[n]);
    (f32::slice(&data[1]).unwrap()[0], i64::slice(&data[2]).unwrap()[0])
}

#[test]
fn a_row_wise_softmax() {
    let text = "
        kernel @softmax(%x: in f32, %y: out f32; R, C) scratch(%row: f32[C]) {
          nest %r in 0..R work C*20 {
            for %i in 0..C lanes { %a: f32 = load %x[%r*C + %i] yield max %a -> %m: f32 }
            for %j in 0..C lanes {
              %b: f32 = load %x[%r*C + %j]
              %d: f32 = sub %b, %m
              %e: f32 = exp %d
              store %row[%j], %e
              yield sum %e -> %s: f32
            }
            for %k in 0..C lanes {
              %f: f32 = load %row[%k]
              %q: f32 = div %f, %s
              store %y[%r*C + %k], %q
            }
          }
        }";
    let x = vec![0.0, 1.0, 2.0, 5.0, 5.0, 5.0];
    let (data, _) = run(text, &[Data::F32(x), Data::F32(vec![0.0; 6])], &[2, 3]);
    let expected = [0.09003057, 0.24472848, 0.6652409, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0];
    for (y, e) in f32::slice(&data[1]).unwrap().iter().zip(expected) {
        assert!((y - e).abs() < 1e-7, "{y} is not {e}");
    }
}

#[test]
fn a_lanes_loop_sums_in_lanes_and_then_as_a_tree() {
    let x: Vec<f32> = (0..101).map(|i| (i * i % 17) as f32 * 1000.0 + 0.1).collect();
    let mut lanes = [0f32; 32];
    x.iter().enumerate().for_each(|(i, v)| lanes[i % 32] += v);
    for half in [16, 8, 4, 2, 1] {
        (0..half).for_each(|l| lanes[l] += lanes[l + half]);
    }
    let serial = x.iter().fold(0f32, |a, b| a + b);
    assert_ne!(lanes[0], serial, "the input must tell the two orders apart");
    assert_eq!(reduce("sum", "lanes", DType::F32, Data::F32(x.clone())), Scalar::F32(lanes[0]));
    assert_eq!(reduce("sum", "", DType::F32, Data::F32(x)), Scalar::F32(serial));
}

#[test]
fn every_monoid_in_both_loops() {
    for kind in ["lanes", ""] {
        let x = || Data::I32((1..=40).collect());
        let product = (1..=40i32).fold(1, i32::wrapping_mul);
        assert_eq!(reduce("sum", kind, DType::I32, x()), Scalar::I32(820));
        assert_eq!(reduce("product", kind, DType::I32, x()), Scalar::I32(product));
        assert_eq!(reduce("max", kind, DType::I32, x()), Scalar::I32(40));
        assert_eq!(reduce("min", kind, DType::I32, x()), Scalar::I32(1));
        for (set, any, all) in [(0, false, false), (3, true, false), (40, true, true)] {
            let x = || Data::Bool((0..40).map(|i| i < set).collect());
            assert_eq!(reduce("any", kind, DType::Bool, x()), Scalar::Bool(any));
            assert_eq!(reduce("all", kind, DType::Bool, x()), Scalar::Bool(all));
        }
    }
}

#[test]
fn an_empty_loop_yields_identities() {
    for kind in ["lanes", ""] {
        let empty = |how| reduce(how, kind, DType::F64, Data::F64(vec![]));
        assert_eq!(empty("sum"), Scalar::F64(0.0));
        assert_eq!(empty("product"), Scalar::F64(1.0));
        assert_eq!(empty("max"), Scalar::F64(f64::NEG_INFINITY));
        assert_eq!(empty("min"), Scalar::F64(f64::INFINITY));
        let none = |how| reduce(how, kind, DType::Bool, Data::Bool(vec![]));
        assert_eq!((none("any"), none("all")), (Scalar::Bool(false), Scalar::Bool(true)));
        assert_eq!(reduce("max", kind, DType::I64, Data::I64(vec![])), Scalar::I64(i64::MIN));
        assert_eq!(reduce("min", kind, DType::U8, Data::U8(vec![])), Scalar::U8(255));
    }
    assert_eq!(arg_reduce("argmax", vec![]), (f32::NEG_INFINITY, i64::MAX));
    assert_eq!(arg_reduce("argmin", vec![]), (f32::INFINITY, i64::MAX));
}

#[test]
fn arg_reductions_prefer_nan_and_then_the_first() {
    let mut x = vec![1.0; 70];
    (x[33], x[40], x[65]) = (7.0, -7.0, 7.0);
    assert_eq!(arg_reduce("argmax", x.clone()), (7.0, 33));
    assert_eq!(arg_reduce("argmin", x.clone()), (-7.0, 40));
    (x[50], x[64]) = (f32::NAN, f32::NAN);
    assert_eq!(arg_reduce("argmax", x.clone()).1, 50);
    assert_eq!(arg_reduce("argmin", x).1, 50);
    assert_eq!(arg_reduce("argmax", vec![-0.0, 0.0]).1, 0);
    assert_eq!(arg_reduce("argmin", vec![0.0, -0.0]).1, 0);
    assert_eq!(arg_reduce("argmax", vec![f32::NEG_INFINITY; 3]), (f32::NEG_INFINITY, 0));
}

#[test]
fn masks_keep_memory_untouched() {
    let text = "
        kernel @k(%x: in i64, %y: inout i64; N) {
          nest %i in 0..N + 2 work 1 {
            %at: i64 = index %i
            %n: i64 = index N
            %m: bool = lt %at, %n
            %a: i64 = load %x[%i] if %m else 7
            store %y[%i], %a if %m
            store %y[N + %i], %a
          }
        }";
    let (data, _) = run(text, &[Data::I64(vec![1, 2, 3]), Data::I64(vec![0; 8])], &[3]);
    assert_eq!(i64::slice(&data[1]).unwrap(), [1, 2, 3, 1, 2, 3, 7, 7]);
}

#[test]
fn checks_record_the_first_offence_of_each_site_in_any_order() {
    let text = "
        kernel @k(%x: in i64; N, Bound) sites 3 {
          nest %i in 0..N work 1 {
            for %j in 0..2 lanes {
              %a: i64 = load %x[%i*2 + %j]
              %zero: i64 = const 0
              %positive: bool = ge %a, %zero
              check 0: %a in 0..Bound
              check 1: %a in 0..Bound if %positive
              check 2: %a in 0..1000
            }
          }
        }";
    let x = Data::I64(vec![3, 4, 0, -5, 9, 8]);
    let (_, status) = run(text, &[x], &[3, 5]);
    let offence = |index| Some(Offence { index, bound: 5 });
    assert_eq!(status.offences[0..2], [offence(-5), offence(9)]);
    assert_eq!(status.offences[2], Some(Offence { index: -5, bound: 1000 }));
}

fn f(x: f32) -> Scalar {
    Scalar::F32(x)
}

#[test]
fn max_and_min_of_floats() {
    use BinaryOp::{Max, Min};
    let nan = |op, a, b| scalar::binary(op, f(a), f(b)).unwrap().as_f64().is_nan();
    for op in [Max, Min] {
        assert!(nan(op, f32::NAN, 1.0) && nan(op, 1.0, f32::NAN) && nan(op, f32::NAN, f32::INFINITY));
    }
    for (a, b) in [(0.0, -0.0), (-0.0, 0.0)] {
        assert_eq!(scalar::binary(Max, f(a), f(b)), Some(f(0.0)));
        assert_eq!(scalar::binary(Min, f(a), f(b)), Some(f(-0.0)));
    }
    assert_eq!(scalar::binary(Max, f(-2.0), f(3.0)), Some(f(3.0)));
    assert_eq!(scalar::binary(Min, f(-2.0), f(3.0)), Some(f(-2.0)));
    assert_eq!(scalar::binary(Max, f(-0.0), f(-0.0)), Some(f(-0.0)));
}

#[test]
fn integers_wrap_and_division_is_total() {
    use BinaryOp::*;
    let i = |op, a, b| match scalar::binary(op, Scalar::I32(a), Scalar::I32(b)) {
        Some(Scalar::I32(x)) => x,
        other => panic!("{other:?}"),
    };
    assert_eq!(i(Add, i32::MAX, 1), i32::MIN);
    assert_eq!(i(Mul, i32::MIN, -1), i32::MIN);
    assert_eq!((i(Div, 7, 0), i(Rem, 7, 0)), (0, 7));
    assert_eq!((i(Div, i32::MIN, -1), i(Rem, i32::MIN, -1)), (i32::MIN, 0));
    assert_eq!((i(Div, -7, 2), i(Rem, -7, 2)), (-3, -1));
    assert_eq!([i(Pow, 3, 4), i(Pow, 2, 32), i(Pow, 2, -1), i(Pow, 0, 0), i(Pow, 0, -1)], [81, 0, 0, 1, 0]);
    assert_eq!([i(Pow, 1, -9), i(Pow, -1, -9), i(Pow, -1, -8), i(Pow, -3, 3)], [1, -1, 1, -27]);
    assert_eq!(scalar::binary(Sub, Scalar::U8(3), Scalar::U8(5)), Some(Scalar::U8(254)));
    assert_eq!(scalar::binary(Pow, Scalar::U8(3), Scalar::U8(200)), {
        let power = (0..200).fold(1u8, |p, _| p.wrapping_mul(3));
        Some(Scalar::U8(power))
    });
    assert_eq!(scalar::unary(UnaryOp::Abs, Scalar::I64(i64::MIN)), Some(Scalar::I64(i64::MIN)));
    assert_eq!(scalar::unary(UnaryOp::Neg, Scalar::U8(1)), Some(Scalar::U8(255)));
    assert_eq!(scalar::unary(UnaryOp::Not, Scalar::I32(5)), Some(Scalar::I32(-6)));
    let signs = [-9i64, 0, 4].map(|x| scalar::unary(UnaryOp::Sign, Scalar::I64(x)));
    assert_eq!(signs, [-1, 0, 1].map(|x| Some(Scalar::I64(x))));
}

#[test]
fn unary_operations_on_floats() {
    use UnaryOp::*;
    let u = |op, x: f32| match scalar::unary(op, f(x)) {
        Some(Scalar::F32(y)) => y,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [u(Round, 0.5), u(Round, 1.5), u(Round, -2.5), u(Floor, -0.5), u(Ceil, 0.2)],
        [0.0, 2.0, -2.0, -1.0, 1.0]
    );
    assert_eq!(u(Sign, -0.0).to_bits(), (-0.0f32).to_bits());
    assert_eq!(u(Neg, 0.0).to_bits(), (-0.0f32).to_bits());
    assert!(u(Sign, f32::NAN).is_nan() && u(Sqrt, -1.0).is_nan() && u(Log, -1.0).is_nan());
    assert_eq!([u(Sign, 7.0), u(Sign, -7.0), u(IsNan, f32::NAN), u(IsNan, 1.0)], [1.0, -1.0, 1.0, 0.0]);
    assert_eq!(
        [u(Exp, f32::NEG_INFINITY), u(Log, 0.0), u(Tanh, 99.0), u(Logistic, -200.0)],
        [0.0, f32::NEG_INFINITY, 1.0, 0.0]
    );
    assert_eq!(
        [u(Exp, 1.0), u(Sin, 1.0), u(Cos, 1.0), u(Logistic, 1.0)],
        [2.7182817, 0.84147096, 0.5403023, 0.7310586]
    );
    for op in UnaryOp::ALL {
        assert_eq!(scalar::unary(*op, Scalar::of(DType::BF16, 1.0)), None, "{op:?} on bf16");
        for dtype in DType::ALL {
            let defined = scalar::unary(*op, Scalar::one(dtype)).is_some();
            assert_eq!(defined, op.accepts(dtype), "{op:?} on {dtype}");
        }
    }
    for op in BinaryOp::ALL {
        for dtype in DType::ALL {
            let defined = scalar::binary(*op, Scalar::one(dtype), Scalar::one(dtype)).is_some();
            assert_eq!(defined, op.accepts(dtype), "{op:?} on {dtype}");
        }
    }
}

#[test]
fn erf_is_accurate() {
    // From Python's math.erf.
    let known = [
        (0.001, 0.0011283787909692365),
        (0.5, 0.5204998778130465),
        (1.0, 0.8427007929497149),
        (2.0, 0.9953222650189527),
        (2.999, 0.9999777698314002),
        (3.0, 0.9999779095030014),
        (3.5, 0.9999992569016276),
        (4.0, 0.9999999845827421),
        (5.5, 0.9999999999999927),
        (6.0, 1.0),
        (f64::INFINITY, 1.0),
        (1e-310, 1.12837916709551e-310),
    ];
    for (x, y) in known {
        for sign in [1.0, -1.0] {
            let found = ir::kernel::interp::special::erf(sign * x);
            assert!((found - sign * y).abs() <= 8.0 * f64::EPSILON * y, "erf({x}) is {y}, found {found}");
        }
    }
    assert!(ir::kernel::interp::special::erf(f64::NAN).is_nan());
    assert_eq!(ir::kernel::interp::special::erf(-0.0).to_bits(), (-0.0f64).to_bits());
}

#[test]
fn comparisons_with_nan_are_false_but_ne() {
    for op in CompareOp::ALL {
        let expected = Some(*op == CompareOp::Ne);
        assert_eq!(scalar::compare(*op, f(f32::NAN), f(1.0)), expected);
        assert_eq!(scalar::compare(*op, f(f32::NAN), f(f32::NAN)), expected);
    }
}

#[test]
fn conversions_and_selection() {
    let text = "
        kernel @k(%x: in f32, %c: in bool, %a: out i32, %b: out bf16, %d: out f32; N) {
          nest %i in 0..N work 1 {
            %v: f32 = load %x[%i]
            %m: bool = load %c[%i]
            %j: i32 = convert %v
            store %a[%i], %j
            %h: bf16 = convert %v
            store %b[%i], %h
            %w: f32 = convert %h
            %s: f32 = select %m, %w, %v
            store %d[%i], %s
          }
        }";
    let x = Data::F32(vec![f32::NAN, 1e20, -2.7, 1.0 + 3.0 / 256.0]);
    let c = Data::Bool(vec![true, false, true, true]);
    let empty = |d| Data::filled(Scalar::zero(d), 4);
    let (data, _) = run(text, &[x, c, empty(DType::I32), empty(DType::BF16), empty(DType::F32)], &[4]);
    assert_eq!(i32::slice(&data[2]).unwrap(), [0, i32::MAX, -2, 1]);
    assert_eq!(f32::slice(&data[4]).unwrap()[1..], [1e20, -2.703125, 1.015625]);
}

#[test]
fn dependent_tasks_and_iterations_are_found() {
    let sums = "
        kernel @k(%x: inout f32; N) {
          nest %i in 0..N work 1 {
            %a: f32 = load %x[%i]
            store %x[%i + 1], %a
          }
        }";
    insta::assert_snapshot!(fails(sums, &[Data::F32(vec![0.0; 4])], &[3]), @"another task uses element 1 of %p0, in `%0: f32 = load %p0[%i0]` (nest 0, task 1)");
    let twice = "kernel @k(%x: out i64; N) { nest %i in 0..N work 1 { %a: i64 = index %i store %x[%i/2], %a } }";
    insta::assert_snapshot!(fails(twice, &[Data::I64(vec![0; 4])], &[3]), @"another task uses element 0 of %p0, in `store %p0[%i0/2], %0` (nest 0, task 1)");
    let later = "
        kernel @k(%x: inout f32; N) {
          nest %i in 0..N work 1 {
            %a: f32 = load %x[%i + 1]
            store %x[%i], %a
          }
        }";
    insta::assert_snapshot!(fails(later, &[Data::F32(vec![0.0; 4])], &[3]), @"another task uses element 1 of %p0, in `store %p0[%i0], %0` (nest 0, task 1)");
    // Iterations that are not independent give another outcome in another order, or read what is not there.
    let carried = parse(
        "kernel @k(%x: out f32; N) scratch(%s: f32[N]) {
          nest %t in 0..1 work 1 {
            %one: f32 = const 1.0
            store %s[0], %one
            for %i in 0..N - 1 lanes {
              %a: f32 = load %s[%i]
              store %s[%i + 1], %a
            }
          }
        }",
    )
    .unwrap();
    let run = |order| interp::run_with(&carried, &mut [Data::F32(vec![])], &[4], &Options { order, limit: 100 });
    assert!(run(Order::Forward).is_ok());
    insta::assert_snapshot!(run(Order::Reverse).unwrap_err(), @"element 2 of %s0 is read before the task wrote it, in `%1: f32 = load %s0[%i1]` (nest 0, task 0)");
}

#[test]
fn a_buffer_may_be_updated_in_place() {
    let text = "
        kernel @k(%x: inout f32; N) {
          nest %i in 0..N work 1 {
            %a: f32 = load %x[%i]
            %b: f32 = add %a, %a
            store %x[%i], %b
            %c: f32 = load %x[%i]
            %d: f32 = add %c, %a
            store %x[%i], %d
          }
        }";
    let (data, _) = run(text, &[Data::F32(vec![1.0, 2.0])], &[2]);
    assert_eq!(f32::slice(&data[0]).unwrap(), [3.0, 6.0]);
}

#[test]
fn what_cannot_run_names_the_statement() {
    let load = "kernel @k(%x: in f32; N) { nest %i in 0..N work 1 { %a: f32 = load %x[%i - 1] } }";
    insta::assert_snapshot!(fails(load, &[Data::F32(vec![0.0; 4])], &[3]), @"element -1 of %p0 is out of range, there are 4, in `%0: f32 = load %p0[%i0 - 1]` (nest 0, task 0)");
    let store = "kernel @k(%x: out i64; N) { nest %i in 0..N work 1 { %a: i64 = index %i store %x[%i], %a } }";
    insta::assert_snapshot!(fails(store, &[Data::I64(vec![0; 2])], &[3]), @"element 2 of %p0 is out of range, there are 2, in `store %p0[%i0], %0` (nest 0, task 2)");
    let scratch = "kernel @k(; N) scratch(%s: f32[N]) { nest %i in 0..N work 1 { %a: f32 = load %s[%i] } }";
    insta::assert_snapshot!(fails(scratch, &[], &[3]), @"element 0 of %s0 is read before the task wrote it, in `%0: f32 = load %s0[%i0]` (nest 0, task 0)");
    insta::assert_snapshot!(fails(scratch, &[], &[-1]), @"a count of -1 cannot be run, in `scratch(%s0: f32[N0])` (nest 0)");
    let stale = "
        kernel @k(; N) scratch(%s: i64[N]) {
          nest %i in 0..N work 1 {
            %a: i64 = index %i
            %zero: i64 = const 0
            %first: bool = eq %a, %zero
            store %s[0], %a if %first
            %b: i64 = load %s[0]
          }
        }";
    insta::assert_snapshot!(fails(stale, &[], &[2]), @"element 0 of %s0 is read before the task wrote it, in `%3: i64 = load %s0[0]` (nest 0, task 1)");
    let overflow = "kernel @k(; N) { nest %i in 0..1 work 1 { %a: i64 = index %i + N*N } }";
    insta::assert_snapshot!(fails(overflow, &[], &[i64::MAX]), @"`%i0 + N0*N0` overflows or has a divisor that is not positive, in `%0: i64 = index %i0 + N0*N0` (nest 0, task 0)");
    let division = "kernel @k(; N) { nest %i in 0..8/N work 1 { } }";
    insta::assert_snapshot!(fails(division, &[], &[0]), @"`8/N0` overflows or has a divisor that is not positive, in `nest %i0 in 0..8/N0 work 1 {` (nest 0)");
    let count = "kernel @k(; N) { nest %i in 0..1 work 1 { for %j in 0..N { } } }";
    insta::assert_snapshot!(fails(count, &[], &[-2]), @"a count of -2 cannot be run, in `for %i1 in 0..N0 {` (nest 0, task 0)");
    insta::assert_snapshot!(fails(count, &[], &[i64::MAX]), @"the limit of statements is reached, in `for %i1 in 0..N0 {` (nest 0, task 0)");
    insta::assert_snapshot!(fails(count, &[], &[]), @"the kernel takes 1 extents, not 0");
    insta::assert_snapshot!(fails(load, &[], &[1]), @"the kernel takes 1 buffers, not 0");
    insta::assert_snapshot!(fails(load, &[Data::F64(vec![])], &[1]), @"%p0 is a buffer of f32, not f64");
    let invalid = "kernel @k(%x: in f32) { nest %i in 0..1 work 1 { %a: f16 = const 1.0 %b: f16 = add %a, %a } }";
    insta::assert_snapshot!(fails(invalid, &[Data::F32(vec![])], &[]), @"
    the kernel is not valid
    add: not defined on f16, in `%1: f16 = add %0, %0` (rule 8)
    ");
}
