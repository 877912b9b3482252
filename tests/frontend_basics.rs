//! Eager tensors: constructors, broadcasting, promotion, methods against known values, printing.

use std::f64::consts::LN_2;
use tracewright::{Arg, DType, Generator, Tensor, concat, jit, keepdims, stack};

fn f32s(t: &Tensor) -> Vec<f32> {
    t.to_dtype(DType::F32).to_vec().unwrap()
}

#[test]
fn operators_take_numbers_and_references_on_both_sides() {
    let x = Tensor::from([1.0f32, 2.0]);
    let y = 1.0 - &x * 2 + (2.0 * &x) / 4.0f32 - 1i64 * &x + &x;
    assert_eq!(f32s(&y), [-0.5, -2.0]);
    assert_eq!((1.0 - &x).exp().dtype(), DType::F32);
    assert_eq!((-&x).to_vec::<f32>().unwrap(), [-1.0, -2.0]);
    let owned = x.clone() + x.clone();
    assert_eq!(f32s(&owned), [2.0, 4.0]);
}

#[test]
fn operators_that_assign() {
    let (mut x, y) = (Tensor::from([1.0f32, 2.0]), Tensor::from([10.0f32, 20.0]));
    let before = x.clone();
    x += &y;
    x -= 1.0;
    x *= y.clone();
    x /= 2;
    assert_eq!(f32s(&x), [50.0, 210.0]);
    assert_eq!(f32s(&before), [1.0, 2.0]);
    // As the operator: another type and shape.
    let mut n = Tensor::from(7i64);
    n %= 4;
    n <<= 2;
    n |= 1;
    n ^= Tensor::from([1i64, 0]);
    assert_eq!(n.to_vec::<i64>().unwrap(), [12, 13]);
    n >>= 1;
    n &= 2;
    n /= 4;
    assert_eq!((f32s(&n), n.dtype()), (vec![0.5, 0.5], DType::F32));
    // On the tape and in traces it is an op as any other.
    let leaf = Tensor::from(3.0f32).requires_grad();
    let mut power = leaf.clone();
    power *= &leaf;
    power.backward().unwrap();
    assert_eq!(f32s(&leaf.grad().unwrap()), [6.0]);
    let doubled = jit(|mut x: Tensor| {
        x += x.clone();
        x
    });
    assert_eq!(f32s(&doubled.call(&y).unwrap()), [20.0, 40.0]);
    x += Tensor::from([1.0f32; 3]);
    let e = x.err().unwrap();
    assert_eq!((e.op(), e.location().unwrap().line), ("add", line!() - 2));
}

#[test]
fn numbers_take_the_dtype_of_the_tensor() {
    for (dtype, arg, result) in [
        (DType::F16, Arg::from(2.5), DType::F16),
        (DType::F64, Arg::from(2), DType::F64),
        (DType::U8, Arg::from(2), DType::U8),
        (DType::I32, Arg::from(2.5), DType::F32),
        (DType::Bool, Arg::from(1), DType::I64),
    ] {
        assert_eq!((Tensor::ones([2], dtype) + arg).dtype(), result, "{dtype}");
    }
}

#[test]
fn broadcasting_is_that_of_numpy() {
    let x = Tensor::arange(6, DType::F32).reshape([2, 1, 3]);
    let y = Tensor::arange(4, DType::F32).reshape([4, 1]);
    let z = &x * &y;
    assert_eq!(z.shape(), [2, 4, 3].into());
    assert_eq!(f32s(&z.select(0, 1).select(0, 3)), [9.0, 12.0, 15.0]);
    assert_eq!((Tensor::zeros([0, 3], DType::F32) + Tensor::ones([1, 3], DType::F32)).shape(), [0, 3].into());
}

#[test]
fn division_and_remainder_are_those_of_python() {
    let x = Tensor::from([7i64, -7, 7, -7]);
    let y = Tensor::from([2i64, 2, -2, -2]);
    assert_eq!(f32s(&(&x / &y)), [3.5, -3.5, -3.5, 3.5]);
    assert_eq!((&x % &y).to_vec::<i64>().unwrap(), [1, 1, -1, -1]);
    assert_eq!(x.fmod(&y).to_vec::<i64>().unwrap(), [1, -1, 1, -1]);
    assert_eq!(x.div_trunc(&y).to_vec::<i64>().unwrap(), [3, -3, -3, 3]);
    assert_eq!(f32s(&(Tensor::from([5.5f32, -5.5]) % 2.0)), [1.5, 0.5]);
}

#[test]
fn reductions_with_axes_and_keepdims() {
    let x = Tensor::from([[3.0f32, 1.0, 2.0], [4.0, 6.0, 5.0]]);
    assert_eq!(f32s(&x.sum(0)), [7.0, 7.0, 7.0]);
    assert_eq!(f32s(&x.sum([0, -1])), [21.0]);
    assert_eq!(x.max(keepdims(-1)).shape(), [2, 1].into());
    assert_eq!(f32s(&x.mean(1)), [2.0, 5.0]);
    assert_eq!(f32s(&x.var(1, 1)), [1.0, 1.0]);
    assert_eq!(f32s(&x.std(.., 0)).len(), 1);
    assert_eq!(x.argmax(1).to_vec::<i64>().unwrap(), [0, 1]);
    assert_eq!(x.argmin(0).to_vec::<i64>().unwrap(), [0, 0, 0]);
    assert_eq!(x.gt(2.5).any(0).to_vec::<bool>().unwrap(), [true, true, true]);
    assert_eq!(x.gt(2.5).all(1).to_vec::<bool>().unwrap(), [false, true]);
    assert_eq!(Tensor::from([true, true]).sum(..).item::<i64>().unwrap(), 2);
    assert_eq!(Tensor::zeros([0], DType::F32).sum(..).item::<f32>().unwrap(), 0.0);
    assert!(Tensor::zeros([0], DType::F32).mean(..).item::<f32>().unwrap().is_nan());
    assert_eq!(f32s(&x.prod(1)), [6.0, 120.0]);
}

#[test]
fn layout_and_parts() {
    let x = Tensor::arange(24, DType::I64).reshape([2, 3, -1]);
    assert_eq!(x.shape(), [2, 3, 4].into());
    assert_eq!(x.permute(&[2, 0, 1]).shape(), [4, 2, 3].into());
    assert_eq!(x.t().select(0, 0).select(0, 1).to_vec::<i64>().unwrap(), [1, 5, 9]);
    assert_eq!(x.flatten(1, -1).shape(), [2, 12].into());
    assert_eq!(x.slice(2, 1..3).select(0, 0).select(0, 0).to_vec::<i64>().unwrap(), [1, 2]);
    assert_eq!(x.slice_step(2, .., 2).select(0, 0).select(0, 0).to_vec::<i64>().unwrap(), [0, 2]);
    assert_eq!(x.narrow(1, 1, 2).shape(), [2, 2, 4].into());
    assert_eq!(x.select(-1, -1).select(0, 0).to_vec::<i64>().unwrap(), [3, 7, 11]);
    assert_eq!(x.unsqueeze(0).squeeze(0).shape(), x.shape());
    let parts = x.split(&[1, 3], 2).unwrap();
    assert_eq!(parts[1].shape(), [2, 3, 3].into());
    assert_eq!(concat(&parts, 2).to_vec::<i64>().unwrap(), x.to_vec::<i64>().unwrap());
    assert_eq!(stack(&x.unbind(0).unwrap(), 0).to_vec::<i64>().unwrap(), x.to_vec::<i64>().unwrap());
    let y = Tensor::from([1i64, 2]);
    assert_eq!(y.pad(&[(1, 2)], 9).to_vec::<i64>().unwrap(), [9, 1, 2, 9, 9]);
    assert_eq!(y.flip(&[0]).to_vec::<i64>().unwrap(), [2, 1]);
    assert_eq!(y.broadcast_to([2, 2]).to_vec::<i64>().unwrap(), [1, 2, 1, 2]);
}

#[test]
fn matmul_of_all_ranks() {
    let a = Tensor::arange(6, DType::F32).reshape([2, 3]);
    let b = Tensor::arange(12, DType::F32).reshape([3, 4]);
    let v = Tensor::from([1.0f32, 0.0, -1.0]);
    assert_eq!(f32s(&a.matmul(&b)), [20.0, 23.0, 26.0, 29.0, 56.0, 68.0, 80.0, 92.0]);
    assert_eq!(f32s(&a.matmul(&v)), [-2.0, -2.0]);
    assert_eq!(f32s(&v.matmul(&b)), [-8.0, -8.0, -8.0, -8.0]);
    assert_eq!(v.matmul(&v).item::<f32>().unwrap(), 2.0);
    let batch = stack(&[b.clone(), &b * 2.0], 0);
    assert_eq!(a.matmul(&batch).shape(), [2, 2, 4].into());
    assert_eq!(f32s(&a.matmul(&batch).select(0, 1)), f32s(&(a.matmul(&b) * 2.0)));
    assert_eq!(f32s(&v.matmul(&batch).select(0, 1)), [-16.0; 4]);
    let wide = Tensor::ones([5, 1, 2, 3], DType::F32).matmul(&batch);
    assert_eq!(wide.shape(), [5, 2, 2, 4].into());
}

#[test]
fn indexing() {
    let x = Tensor::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let i = Tensor::from([[2i64, 0], [1, 1]]);
    assert_eq!(x.take(&i, 1).shape(), [2, 2, 2].into());
    assert_eq!(f32s(&x.take_along(&i, 1)), [3.0, 1.0, 5.0, 5.0]);
    assert_eq!(f32s(&x.take_along(&Tensor::from([[1i64, 0, 1]]), 0)), [4.0, 2.0, 6.0]);
    assert_eq!(f32s(&x.index_select(0, &Tensor::from([1i64]))), [4.0, 5.0, 6.0]);
    let added = Tensor::zeros([3], DType::F32).index_add(0, &Tensor::from([2i64, 2]), &Tensor::from([1.0f32, 2.0]));
    assert_eq!(f32s(&added), [0.0, 0.0, 3.0]);
    assert_eq!(f32s(&Tensor::from([2i64, 0]).one_hot(3, DType::F32)), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn activations_against_known_values() {
    let x = Tensor::from([-2.0f64, -0.5, 0.0, 1.0]);
    let close = |t: Tensor, expected: [f64; 4]| {
        for (a, b) in t.to_vec::<f64>().unwrap().into_iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    };
    close(x.relu(), [0.0, 0.0, 0.0, 1.0]);
    close(x.gelu(), [-0.04550026389635842, -0.1542687693629994, 0.0, 0.8413447460685429]);
    close(x.silu(), [-0.2384058440442351, -0.1887703343990727, 0.0, 0.7310585786300049]);
    close(x.softplus(), [0.1269280110429726, 0.4740769841801067, LN_2, 1.3132616875182228]);
    let s = x.softmax(0).sum(..).item::<f64>().unwrap();
    assert!((s - 1.0).abs() < 1e-12);
    let l = Tensor::from([1000.0f64, 1000.0]).logsumexp(0).item::<f64>().unwrap();
    assert!((l - 1000.6931471805599).abs() < 1e-9);
    assert_eq!(Tensor::full([2], f64::NEG_INFINITY, DType::F64).logsumexp(0).item::<f64>().unwrap(), f64::NEG_INFINITY);
    assert!(Tensor::from(f32::NAN).relu().item::<f32>().unwrap().is_nan());
}

#[test]
fn printing_is_that_of_numpy() {
    let shown = |t: Tensor| t.to_string();
    assert_eq!(shown(Tensor::from([1.0f32, 2.5, -3.25])), "[ 1.    2.5  -3.25]");
    assert_eq!(shown(Tensor::from([1.0f32, 2.0])), "[1. 2.]");
    assert_eq!(shown(Tensor::from(1.5f32)), "1.5");
    assert_eq!(shown(Tensor::from(0.1f32)), "0.1");
    assert_eq!(shown(Tensor::from([[1i64, -10], [100, 3]])), "[[  1 -10]\n [100   3]]");
    assert_eq!(shown(Tensor::from([true, false])), "[ True False]");
    assert_eq!(shown(Tensor::from([f32::NAN, 1.0, f32::INFINITY])), "[nan  1. inf]");
    assert_eq!(shown(Tensor::from([1e-10f64, 1.0])), "[1.e-10 1.e+00]");
    assert_eq!(shown(Tensor::from([0.1f64, 1.0 / 3.0])), "[0.1        0.33333333]");
    assert_eq!(shown(Tensor::zeros([0], DType::F32)), "[]");
    assert_eq!(shown(Tensor::arange(2000, DType::I64)), "[   0    1    2 ... 1997 1998 1999]");
    assert_eq!(
        shown(Tensor::arange(8, DType::F32).reshape([2, 2, 2])),
        "[[[0. 1.]\n  [2. 3.]]\n\n [[4. 5.]\n  [6. 7.]]]"
    );
    assert_eq!(
        shown(Tensor::arange(30, DType::I64)),
        "[ 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23\n 24 25 26 27 28 29]"
    );
    assert_eq!(format!("{:?}", Tensor::from([1.0f32])), "tensor([1.], f32)");
    let traced = jit(|x: Tensor| {
        assert_eq!(x.to_string(), "traced f32[2]");
        x
    });
    traced.call(Tensor::from([1.0f32, 2.0])).unwrap();
}

#[test]
fn a_generator_gives_the_same_numbers_for_a_seed() {
    let g = Generator::new(1);
    let x = g.uniform([1000], -1.0, 1.0).to_vec::<f32>().unwrap();
    assert!(x.iter().all(|v| (-1.0..1.0).contains(v)));
    assert_ne!(x, g.uniform([1000], -1.0, 1.0).to_vec::<f32>().unwrap());
    assert_eq!(x, Generator::new(1).uniform([1000], -1.0, 1.0).to_vec::<f32>().unwrap());
    let n = Generator::new(2).normal([20000], 3.0, 2.0);
    assert!((n.mean(..).item::<f32>().unwrap() - 3.0).abs() < 0.1);
    assert!((n.std(.., 0).item::<f32>().unwrap() - 2.0).abs() < 0.1);
}
