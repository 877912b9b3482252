//! The semantics that are written down, on the interpreter and on compiled code.

mod target;

use ir::half::bf16;
use ir::literal::TypedData;
use ir::ops::GraphEmitter;
use ir::ops::{binary, reduce, unary};
use ir::{Emit, EmitExt, Graph, Literal, Location, Origin, Primitive, Scalar, Value};
use runtime::{Executable, Input, interpreter};
use smallvec::SmallVec;
use target::{array, compiles, interpreted, options};
use tracewright::options::{Options, with_options};
use tracewright::{Code, DType, Error, Tensor, grad, jit, keepdims, pool};

/// Runs a graph of these inputs in the interpreter and compiled; both must give the same.
#[track_caller]
fn both(inputs: &[Literal], f: impl FnOnce(&mut GraphEmitter<'_>, &[Value]) -> Value) -> Literal {
    let mut graph = Graph::new("semantics");
    let values: Vec<Value> = inputs.iter().map(|x| graph.add_input(x.ty())).collect();
    let origin = graph.origins.intern(Origin { location: Location::caller(), scope: "".into(), gradient: false });
    let region = graph.root();
    let mut b = GraphEmitter { graph: &mut graph, region, origins: SmallVec::from_iter([origin]) };
    let output = f(&mut b, &values);
    graph.set_outputs(vec![output]);
    let want = interpreter::interpret(&graph, inputs).unwrap().remove(0);
    let executable = Executable::compile(&graph, &[]).unwrap();
    assert_eq!(executable.is_compiled(), compiles(), "{:?}", executable.artifacts().fallback);
    let mut arguments: Vec<Input> = inputs.iter().map(|x| Input::Shared(array(x))).collect();
    let got = executable.call(&mut arguments).unwrap()[0].to_literal().unwrap();
    for (i, (x, y)) in want.iter().zip(got.iter()).enumerate() {
        assert!(same(x, y), "element {i}: interpreted {x}, compiled {y}");
    }
    want
}

/// Equal bits, or NaN twice.
fn same(x: Scalar, y: Scalar) -> bool {
    let nan = |s: Scalar| s.dtype().is_float() && s.as_f64().is_nan();
    x.bits() == y.bits() || nan(x) && nan(y)
}

/// Applies an op to columns of operands, which are repeated so that whole vectors and tails both see each of them, and
/// expects that column of results.
#[track_caller]
fn expect<T: TypedData + Copy, R: TypedData + Copy>(op: impl Into<Primitive>, operands: &[&[T]], results: &[R]) {
    const TIMES: usize = 5;
    let repeated = |x: &[T]| Literal::from_vec(&[x.len() * TIMES], x.repeat(TIMES));
    let inputs: Vec<Literal> = operands.iter().map(|x| repeated(x)).collect();
    let op = op.into();
    let got = both(&inputs, |b, v| b.emit(op.clone(), v));
    let want = Literal::from_vec(&[results.len() * TIMES], results.repeat(TIMES));
    for i in 0..want.numel() {
        let (x, y) = (want.get(i), got.get(i));
        let of: Vec<Scalar> = inputs.iter().map(|o| o.get(i)).collect();
        assert!(same(x, y), "{} of {of:?} is {y}, not {x}", op.name());
    }
}

#[test]
fn maxima_and_minima_propagate_nan() {
    let (x, y) = ([1.0, f32::NAN, 2.0, f32::NAN, -0.0, 0.0], [f32::NAN, 1.0, 3.0, f32::NAN, 0.0, -0.0]);
    expect(binary::Max {}, &[&x, &y], &[f32::NAN, f32::NAN, 3.0, f32::NAN, 0.0, 0.0]);
    expect(binary::Min {}, &[&x, &y], &[f32::NAN, f32::NAN, 2.0, f32::NAN, -0.0, -0.0]);
    let (x, y) = (x.map(f64::from), y.map(f64::from));
    expect(binary::Max {}, &[&x, &y], &[f64::NAN, f64::NAN, 3.0, f64::NAN, 0.0, 0.0]);
    expect(binary::Min {}, &[&x, &y], &[f64::NAN, f64::NAN, 2.0, f64::NAN, -0.0, -0.0]);
    // In reductions over rows and columns, with the NaN at every place.
    for length in [1, 5, 33, 70] {
        for at in [0, length / 2, length - 1] {
            for axis in [0usize, 1] {
                let dims = if axis == 1 { [3, length] } else { [length, 3] };
                let place = |i: usize| if axis == 1 { (i / length, i % length) } else { (i % 3, i / 3) };
                let value = |i: usize| {
                    let (row, k) = place(i);
                    if row == 1 && k == at { f32::NAN } else { (k * 7 % 13) as f32 - 6.0 }
                };
                let x = Literal::from_vec(&dims, (0..3 * length).map(value).collect::<Vec<f32>>());
                let axes = || [axis].as_slice().into();
                let max = both(std::slice::from_ref(&x), |b, v| {
                    b.emit(reduce::ReduceMax { axes: axes(), nonempty: false }.into(), v)
                });
                let min = both(std::slice::from_ref(&x), |b, v| {
                    b.emit(reduce::ReduceMin { axes: axes(), nonempty: false }.into(), v)
                });
                let nans = |l: &Literal| l.as_slice::<f32>().iter().map(|x| x.is_nan()).collect::<Vec<bool>>();
                assert_eq!((nans(&max), nans(&min)), (vec![false, true, false], vec![false, true, false]));
                let first = both(&[x], |b, v| b.emit(reduce::ArgMax { axes: axes() }.into(), v));
                assert_eq!(first.get(1), Scalar::I64(at as i64));
            }
        }
    }
}

#[test]
fn integers_wrap() {
    let (big, least) = (i64::MAX, i64::MIN);
    expect(binary::Add {}, &[&[big, least, -1], &[1, -1, 1]], &[least, big, 0]);
    expect(binary::Sub {}, &[&[least, big, 0], &[1, -1, least]], &[big, least, least]);
    expect(binary::Mul {}, &[&[big, least, 1 << 40], &[2, -1, 1 << 40]], &[-2, least, 0]);
    expect(unary::Neg {}, &[&[least, big, 0]], &[least, -big, 0]);
    expect(unary::Abs {}, &[&[least, -big, 5]], &[least, big, 5]);
    expect(binary::Mul {}, &[&[i32::MAX, i32::MIN, 65536], &[2, -1, 65536]], &[-2, i32::MIN, 0]);
    expect(unary::Abs {}, &[&[i32::MIN, -1]], &[i32::MIN, 1]);
    expect(binary::Add {}, &[&[255u8, 200], &[1, 100]], &[0u8, 44]);
    expect(binary::Sub {}, &[&[0u8, 5], &[1, 10]], &[255u8, 251]);
    expect(binary::Mul {}, &[&[16u8, 255], &[16, 255]], &[0u8, 1]);
    let sum = both(&[Literal::from_vec(&[4], vec![big, 1, 5, 6])], |b, v| b.reduce_sum(v[0], &[0]));
    assert_eq!(sum.get(0), Scalar::I64(least + 11));
}

#[test]
fn integer_division_never_traps() {
    let (x, y) = ([7, -7, 7, 0, i64::MIN, i64::MIN, 5], [2, 2, -2, 0, -1, 0, i64::MIN]);
    expect(binary::Div {}, &[&x, &y], &[3, -3, -3, 0, i64::MIN, 0, 0]);
    expect(binary::Rem {}, &[&x, &y], &[1, -1, 1, 0, 0, i64::MIN, 5]);
    let (x, y) = ([7, -7, i32::MIN, i32::MIN, 1], [0, 3, -1, 0, i32::MIN]);
    expect(binary::Div {}, &[&x, &y], &[0, -2, i32::MIN, 0, 0]);
    expect(binary::Rem {}, &[&x, &y], &[7, -1, 0, i32::MIN, 1]);
    expect(binary::Div {}, &[&[200u8, 7, 0], &[0, 2, 0]], &[0u8, 3, 0]);
    expect(binary::Rem {}, &[&[200u8, 7, 0], &[0, 2, 0]], &[200u8, 1, 0]);
    expect(binary::Div {}, &[&[1.0f32, -1.0, 0.0], &[0.0, 0.0, 0.0]], &[f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
}

#[test]
fn shifts_by_any_number() {
    let (x, y) = ([1i32, -8, i32::MIN, 7, -1, 3], [31, 1, 31, 32, i32::MAX, -1]);
    expect(binary::Shl {}, &[&x, &y], &[i32::MIN, -16, 0, 0, 0, 0]);
    expect(binary::Shr {}, &[&x, &y], &[0, -4, -1, 0, -1, 0]);
    expect(binary::Shl {}, &[&[200u8, 1, 255], &[1, 8, 7]], &[144u8, 0, 128]);
    expect(binary::Shr {}, &[&[200u8, 1, 255], &[1, 8, 255]], &[100u8, 0, 0]);
    let (x, y) = ([1i64, i64::MIN, -5], [63, 63, i64::MIN]);
    expect(binary::Shl {}, &[&x, &y], &[i64::MIN, 0, 0]);
    expect(binary::Shr {}, &[&x, &y], &[0i64, -1, -1]);
}

#[test]
fn conversions_saturate_and_nan_becomes_zero() {
    use ir::ops::convert::Convert;
    let to = |dtype| Convert { dtype };
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 2.9, -2.9, 300.0, -0.5];
    let least = [i64::MIN, i32::MIN as i64];
    expect(to(DType::I64), &[&x], &[0, i64::MAX, least[0], i64::MAX, least[0], 2, -2, 300, 0i64]);
    expect(to(DType::I32), &[&x], &[0, i32::MAX, i32::MIN, i32::MAX, i32::MIN, 2, -2, 300, 0i32]);
    expect(to(DType::U8), &[&x], &[0, 255, 0, 255, 0, 2, 0, 255, 0u8]);
    expect(to(DType::Bool), &[&x], &[true, true, true, true, true, true, true, true, true]);
    let wide = x.map(f64::from);
    expect(to(DType::I64), &[&wide], &[0, i64::MAX, least[0], i64::MAX, least[0], 2, -2, 300, 0i64]);
    expect(to(DType::I32), &[&wide], &[0, i32::MAX, i32::MIN, i32::MAX, i32::MIN, 2, -2, 300, 0i32]);
    expect(to(DType::U8), &[&wide], &[0, 255, 0, 255, 0, 2, 0, 255, 0u8]);
    expect(to(DType::I32), &[&[bf16::NAN, bf16::INFINITY, bf16::from_f32(-3.5)]], &[0, i32::MAX, -3]);
    // Integers keep their low bits; a wide float rounds to the nearest, ties to even.
    expect(to(DType::U8), &[&[-1i64, 256, 511]], &[255u8, 0, 255]);
    expect(to(DType::I32), &[&[i64::MAX, i64::MIN, 1 << 31]], &[-1, 0, i32::MIN]);
    expect(to(DType::F32), &[&[16_777_217i64, i64::MAX]], &[16_777_216f32, 9.223_372e18]);
    expect(to(DType::F32), &[&[1e300f64, 1e-300, 1.0 + 1e-9]], &[f32::INFINITY, 0.0, 1.0]);
    let bf = |x: f32| bf16::from_f32(x);
    expect(
        to(DType::BF16),
        &[&[1.0f32 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f32::MAX]],
        &[bf(1.0), bf(1.015625), bf16::INFINITY],
    );
}

#[test]
fn no_contraction_and_no_flush_to_zero() {
    // (1 + e)(1 - e) - 1 is 0 with the product rounded, and -e² without.
    let e = f32::EPSILON;
    let inputs = [1.0 + e, 1.0 - e, -1.0].map(|x| Literal::from_vec(&[37], vec![x; 37]));
    let got = both(&inputs, |b, v| {
        let p = b.mul(v[0], v[1]);
        b.add(p, v[2])
    });
    assert!(got.as_slice::<f32>().iter().all(|&x| x == (1.0 + e) * (1.0 - e) - 1.0));
    let least = f32::from_bits(1);
    expect(binary::Add {}, &[&[least, 0.0], &[least, least]], &[f32::from_bits(2), least]);
    expect(binary::Mul {}, &[&[f32::MIN_POSITIVE, least], &[0.5, 1.0]], &[f32::MIN_POSITIVE / 2.0, least]);
    expect(binary::Sub {}, &[&[f64::MIN_POSITIVE], &[f64::MIN_POSITIVE / 2.0]], &[f64::MIN_POSITIVE / 2.0]);
}

/// In a fused group a chain of 16-bit ops rounds once, at its end; with `strict16` each op rounds, as eager ops do.
#[test]
fn sixteen_bit_floats_round() {
    // 1 + 1/256 rounds to 1 in bf16, whose next number is 1 + 1/128.
    let f = jit(|x: Tensor, y: Tensor| &x + &y + &y);
    let (x, y) = (Tensor::ones([37], DType::BF16), Tensor::full([37], 1.0 / 256.0, DType::BF16));
    let values = |t: Tensor| t.to_dtype(DType::F32).to_vec::<f32>().unwrap();
    let strict = || Options { strict16: true, ..options() };
    // The interpreter has no groups.
    let chain = if compiles() { 1.0 + 1.0 / 128.0 } else { 1.0 };
    assert_eq!(values(f.call(&x, &y).unwrap()), [chain; 37]);
    assert_eq!(values(with_options(strict(), || f.call(&x, &y)).unwrap()), [1.0; 37]);
    assert_eq!(values(with_options(interpreted(), || f.call(&x, &y)).unwrap()), [1.0; 37]);
    assert_eq!(values(&x + &y + &y), [1.0; 37]);
    // What leaves the group is rounded, also where the group goes on with it.
    let g = jit(|x: Tensor, y: Tensor| {
        let sum = &x + &y;
        (sum.clone(), sum.to_dtype(DType::F32))
    });
    let (a, b) = g.call(&x, &y).unwrap();
    assert_eq!((values(a), values(b.clone())), (vec![1.0; 37], values(b)));
    // Reductions and products accumulate in f32: in bf16 the sum would stop at 256.
    let ones = Tensor::ones([4, 1000], DType::BF16);
    for options in [options(), strict(), interpreted()] {
        with_options(options, || {
            let sums = jit(|x: Tensor| x.sum(1)).call(&ones).unwrap();
            assert_eq!(values(sums), [1000.0; 4]);
            let product = jit(|x: Tensor| x.matmul(&x.t())).call(&ones).unwrap();
            assert_eq!(values(product), [1000.0; 16]);
        });
    }
}

/// Nobody asks for the elements of a dead op, interpreted or compiled; extents are checked all the same.
#[test]
fn dead_ops_read_nothing() {
    for jit_on in [true, false] {
        let options = Options { jit: jit_on, ..options() };
        with_options(options, || {
            let f = tracewright::jit(|x: Tensor, at: Tensor| {
                let _ = x.take(&at, 0) * 2.0;
                x + 1.0
            });
            assert_eq!(f.call(Tensor::from([1.0f32]), Tensor::from([7i64])).unwrap().to_vec::<f32>().unwrap(), [2.0]);
            let f = tracewright::jit(|x: Tensor| {
                let _ = x.select(0, 3);
                x + 1.0
            });
            let f = f.dynamic("arguments.0", 0, "B", 1..=8);
            assert!(f.call(Tensor::from([1.0f32])).is_err());
        });
    }
}

#[test]
fn index_errors_name_index_and_extent() {
    let f = jit(|x: Tensor, i: Tensor| x.take(&i, 0) * 2.0);
    let x = Tensor::arange(6, DType::F32).reshape([3, 2]);
    for options in [options(), interpreted()] {
        with_options(options, || {
            for (bad, at) in
                [(vec![0i64, 3, -1], 3), (vec![-1], -1), (vec![i64::MIN], i64::MIN), (vec![2, 1, 0, 99], 99)]
            {
                let e = f.call(&x, Tensor::from(bad)).unwrap_err();
                assert_eq!(e.code(), Code::Index);
                let headline = format!("error[index]: gather: index {at} is out of range for axis 0 of extent 3");
                assert_eq!(e.headline(), headline);
            }
            assert_eq!(f.call(&x, Tensor::from([2i64])).unwrap().to_vec::<f32>().unwrap(), [8.0, 10.0]);
            let nothing: [i64; 0] = [];
            assert_eq!(f.call(&x, Tensor::from(nothing)).unwrap().shape(), [0, 2].into());
        });
    }
}

/// Compiled, interpreted and eager.
#[test]
fn an_index_beyond_i64_is_reported_as_it_is() {
    let headline = |f: &dyn Fn() -> Result<Tensor, Error>| f().unwrap_err().headline();
    let x = Tensor::arange(6, DType::F32).reshape([3, 2]);
    for at in [3, 1 << 63, u64::MAX - 1, u64::MAX] {
        let i = Tensor::from([1, at]);
        let out_of_range = format!("index {at} is out of range for axis 0 of extent 3");
        for options in [options(), interpreted()] {
            with_options(options, || {
                let read = jit(|x: Tensor, i: Tensor| x.take(&i, 0) * 2.0);
                let gradient = jit(|x: Tensor, i: Tensor| grad(|x: &Tensor| x.take(&i, 0).sum(..))(&x));
                assert_eq!(headline(&|| read.call(&x, &i)), format!("error[index]: gather: {out_of_range}"));
                // The forward pass is dead in a compiled gradient, which checks for itself.
                assert!(headline(&|| gradient.call(&x, &i)).ends_with(&out_of_range));
                assert_eq!(headline(&|| x.take(&i, 0).ok()), format!("error[index]: gather: {out_of_range}"));
            });
        }
    }
}

/// The first offence in row-major order is the one reported, also where several threads see one.
#[test]
fn the_first_index_error_is_reported_for_any_number_of_threads() {
    let f = jit(|x: Tensor, i: Tensor| x.take(&i, 0).exp().tanh());
    let x = Tensor::ones([100, 16], DType::F32);
    let mut indices: Vec<i64> = (0..20_000).map(|i| i % 100).collect();
    for (at, bad) in [(19_999, 105), (12_000, 104), (7_001, 103), (7_000, 102)] {
        indices[at] = bad;
    }
    let indices = Tensor::from(indices);
    for threads in [1, 2, 3, 7] {
        let e = pool::with_threads(threads, || f.call(&x, &indices)).unwrap_err();
        assert!(e.headline().contains("index 102 "), "{threads} threads: {}", e.headline());
    }
}

/// The same bits at every run and for any number of threads, in reductions and products of awkward sizes.
#[test]
fn results_are_deterministic() {
    let noise = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        (Tensor::arange(n, DType::F32) * 0.7311).sin().reshape(shape) * 1e3
    };
    let f = jit(|x: Tensor, y: Tensor| {
        let p = x.matmul(&y);
        let rows = (p.softmax(-1) * &p).sum(-1);
        (x.sum(..), x.sum(0), x.square().mean(1), p.max(0), p.var(0, 1), rows, (&x - x.mean(keepdims(0))).std(.., 0))
    });
    let bits = |t: &Tensor| t.to_vec::<f32>().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    for (m, k, n) in [(1, 1, 1), (7, 33, 65), (257, 129, 300), (1000, 300, 17), (3, 100_003, 2)] {
        let (x, y) = (noise(&[m, k]), noise(&[k, n]));
        let run = |threads| {
            let (a, b, c, d, e, f, g) = pool::with_threads(threads, || f.call(&x, &y)).unwrap();
            [a, b, c, d, e, f, g].map(|t| bits(&t))
        };
        let one = run(1);
        for threads in [1, 2, 3, 5] {
            assert!(run(threads) == one, "{m} {k} {n} on {threads} threads");
        }
    }
}
