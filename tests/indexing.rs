//! Indexing, against what NumPy gives for the same expressions.

use tracewright::events::{Counters, Event};
use tracewright::{Code, DType, Ellipsis, Error, NewAxis, Result, Tensor, at, every, grad, jit};

fn x() -> Tensor {
    Tensor::arange(24, DType::I64).reshape([2, 3, 4])
}

/// Expressions with the shape and elements that NumPy 2 gives for them.
#[rustfmt::skip]
#[allow(clippy::reversed_empty_ranges)]
fn cases() -> Vec<(&'static str, Tensor, &'static str, &'static [i64])> {
    let x = x();
    let (a, b, c) = (Tensor::from([2i64, 0]), Tensor::from([[1i32], [-1]]), Tensor::from([1u8, 1, 0]));
    let (z, a1, a2) = (Tensor::from(-2i64), Tensor::from([2i64, 0, 1]), Tensor::from([3i16, -1]));
    let m1 = Tensor::from([true, false, true]);
    let m2 = Tensor::from([[true, false, true], [false, false, true]]);
    vec![
        ("x.i((1, .., -1))", x.i((1, .., -1)), "[3]", &[15, 19, 23]),
        ("x.i((Ellipsis, 1..3, NewAxis))", x.i((Ellipsis, 1..3, NewAxis)), "[2, 3, 2, 1]", &[1, 2, 5, 6, 9, 10, 13, 14, 17, 18, 21, 22]),
        ("x.i(at!(..; -1, every(.., 2), -1))", x.i(at!(..; -1, every(.., 2), -1)), "[2, 2]", &[15, 23, 3, 11]),
        ("x.i((.., .., every(..1, -2)))", x.i((.., .., every(..1, -2))), "[2, 3, 1]", &[3, 7, 11, 15, 19, 23]),
        ("x.i((.., .., every(1..3, 2)))", x.i((.., .., every(1..3, 2))), "[2, 3, 1]", &[1, 5, 9, 13, 17, 21]),
        ("x.i((.., .., every(-2..-4, -1)))", x.i((.., .., every(-2..-4, -1))), "[2, 3, 2]", &[2, 1, 6, 5, 10, 9, 14, 13, 18, 17, 22, 21]),
        ("x.i((NewAxis, 0, NewAxis, .., 3))", x.i((NewAxis, 0, NewAxis, .., 3)), "[1, 1, 3]", &[3, 7, 11]),
        ("x.i(())", x.i(()), "[2, 3, 4]", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]),
        ("x.i((.., &a))", x.i((.., &a)), "[2, 2, 4]", &[8, 9, 10, 11, 0, 1, 2, 3, 20, 21, 22, 23, 12, 13, 14, 15]),
        ("x.i((.., &a, 0))", x.i((.., &a, 0)), "[2, 2]", &[8, 0, 20, 12]),
        ("x.i((0, .., &a))", x.i((0, .., &a)), "[2, 3]", &[2, 6, 10, 0, 4, 8]),
        ("x.i((.., &b, &c))", x.i((.., &b, &c)), "[2, 2, 3]", &[5, 5, 4, 9, 9, 8, 17, 17, 16, 21, 21, 20]),
        ("x.i((&c, .., &b))", x.i((&c, .., &b)), "[2, 3, 3]", &[13, 17, 21, 13, 17, 21, 1, 5, 9, 15, 19, 23, 15, 19, 23, 3, 7, 11]),
        ("x.i((&c, NewAxis, &a1))", x.i((&c, NewAxis, &a1)), "[3, 1, 4]", &[20, 21, 22, 23, 12, 13, 14, 15, 4, 5, 6, 7]),
        ("x.i((1, &a, NewAxis, 1..))", x.i((1, &a, NewAxis, 1..)), "[2, 1, 3]", &[21, 22, 23, 13, 14, 15]),
        ("x.i((.., 1.., &b))", x.i((.., 1.., &b)), "[2, 2, 2, 1]", &[5, 7, 9, 11, 17, 19, 21, 23]),
        ("x.i((&z, &a))", x.i((&z, &a)), "[2, 4]", &[8, 9, 10, 11, 0, 1, 2, 3]),
        ("x.i((every(.., -1), &a, every(.., 3)))", x.i((every(.., -1), &a, every(.., 3))), "[2, 2, 2]", &[20, 23, 12, 15, 8, 11, 0, 3]),
        ("x.i((&m2, 1))", x.i((&m2, 1)), "[3]", &[1, 9, 21]),
        ("x.i((.., &m1))", x.i((.., &m1)), "[2, 2, 4]", &[0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23]),
        ("x.i((1, &m1, &a2))", x.i((1, &m1, &a2)), "[2]", &[15, 23]),
        ("x.i(x.gt(20))", x.i(x.gt(20)), "[3]", &[21, 22, 23]),
    ]
}

#[test]
fn as_numpy_has_it() {
    for (text, got, shape, elements) in cases() {
        let got = got.ok().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(got.shape().to_string(), shape, "{text}");
        assert_eq!(got.to_vec::<i64>().unwrap(), elements, "{text}");
    }
}

#[test]
fn the_same_in_a_trace_and_with_a_symbolic_axis() -> Result<()> {
    let part = |x: &Tensor, a: &Tensor, c: &Tensor| {
        let views = x.i((.., every(.., -1), 1..3)).sum(1);
        (views, x.i((a, .., c)) * 2, x.i((NewAxis, -1, Ellipsis, a)))
    };
    let f = jit(move |x: Tensor, (a, c): (Tensor, Tensor)| part(&x, &a, &c));
    let f = f.dynamic("arguments.0", 0, "B", 2..=9);
    let (a, c) = (Tensor::from([-1i64, 0]), Tensor::from([3i64, -3]));
    for batch in [2usize, 5] {
        let x = Tensor::arange(batch * 12, DType::I64).reshape([batch, 3, 4]);
        let (got, want) = (f.call(x.clone(), (a.clone(), c.clone()))?, part(&x, &a, &c));
        for (got, want) in [(got.0, want.0), (got.1, want.1), (got.2, want.2)] {
            assert_eq!((got.shape(), got.to_vec::<i64>()?), (want.shape(), want.to_vec::<i64>()?));
        }
    }
    assert_eq!(f.stats().traces, 1);
    Ok(())
}

#[test]
fn parts_are_replaced() -> Result<()> {
    let value = Tensor::from([100i64, 200]);
    let y = x().set_at((1, every(.., -2), 0), value);
    let mut want: Vec<i64> = (0..24).collect();
    (want[20], want[12]) = (100, 200);
    assert_eq!(y.to_vec::<i64>()?, want);
    let y = x().set_at((.., 1.., every(1.., 2)), -1i64);
    let want: Vec<i64> = (0..24).map(|i| if i / 4 % 3 >= 1 && i % 2 == 1 { -1 } else { i }).collect();
    assert_eq!(y.to_vec::<i64>()?, want);
    assert_eq!(x().set_at((.., 1..1), 5i64).to_vec::<i64>()?, (0..24).collect::<Vec<_>>());
    // Computed places, of which one comes twice; a mask; a new axis.
    let (rows, columns) = (Tensor::from([1i64, 0, 1]), Tensor::from([-1i64, 0, 2]));
    let y = x().set_at((&rows, NewAxis, &columns, 3), Tensor::from([[7i64], [8], [9]]));
    let mut want: Vec<i64> = (0..24).collect();
    (want[23], want[3]) = (9, 8);
    assert_eq!(y.to_vec::<i64>()?, want);
    let y = x().add_at((&rows, NewAxis, &columns, 3), Tensor::from([[7i64], [8], [9]]));
    (want[23], want[3]) = (23 + 16, 11);
    assert_eq!(y.to_vec::<i64>()?, want);
    let even = x().remainder(2).eq(0);
    let y = x().set_at(&even, 0i64);
    assert_eq!(y.to_vec::<i64>()?, (0..24).map(|i| if i % 2 == 0 { 0 } else { i }).collect::<Vec<_>>());
    let y = x().add_at((1, .., every(.., -3)), Tensor::from([10i64, 20]));
    let added = |i: i64| {
        if i >= 12 && i % 4 == 3 {
            10
        } else if i >= 12 && i % 4 == 0 {
            20
        } else {
            0
        }
    };
    assert_eq!(y.to_vec::<i64>()?, (0..24).map(|i| i + added(i)).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn gradients_flow_to_what_is_read_and_written() {
    let x = Tensor::arange(6, DType::F32).reshape([2, 3]);
    let ids = Tensor::from([0i64, 2, 2]);
    let g = grad(|x: &Tensor| (x.i((1, &ids)) * Tensor::from([1.0f32, 2.0, 4.0])).sum(..))(&x);
    assert_eq!(g.to_vec::<f32>().unwrap(), [0.0, 0.0, 0.0, 1.0, 0.0, 6.0]);
    let rows = Tensor::from([1i64, 0, 1]);
    let g = grad(|x: &Tensor| (x.i((&rows, &ids)) * Tensor::from([1.0f32, 2.0, 4.0])).sum(..))(&x);
    assert_eq!(g.to_vec::<f32>().unwrap(), [0.0, 0.0, 2.0, 1.0, 0.0, 4.0]);
    let g = grad(|x: &Tensor| (x.set_at((0, 1..), 0.0) * 3.0).sum(..))(&x);
    assert_eq!(g.to_vec::<f32>().unwrap(), [3.0, 0.0, 0.0, 3.0, 3.0, 3.0]);
    let v = Tensor::from([1.0f32, 2.0]);
    let g = grad(|v: &Tensor| (x.set_at((.., 1), v.clone()).square()).sum(..))(&v);
    assert_eq!(g.to_vec::<f32>().unwrap(), [2.0, 4.0]);
}

#[test]
fn views_run_as_one_kernel() -> Result<()> {
    let f = jit(|x: Tensor| x.i((.., every(.., -2), NewAxis, 1..)).exp() + 1.0);
    let lowered = f.lower(Tensor::zeros([4, 6, 5], DType::F32))?;
    assert_eq!(lowered.executable().program().unwrap().steps.len(), 1);
    let f = jit(|x: Tensor| (x * 2.0).set_at((1, 2..), 0.0) + 1.0);
    let lowered = f.lower(Tensor::zeros([4, 6], DType::F32))?;
    assert_eq!(lowered.executable().program().unwrap().steps.len(), 1);
    Ok(())
}

fn refused(t: Tensor) -> String {
    let e: Error = t.ok().unwrap_err();
    assert!(e.location().unwrap().to_string().starts_with(file!()), "{e}");
    e.headline()
}

#[test]
fn bad_indices() {
    let x = x();
    let ids = |v: [i64; 2]| Tensor::from(v);
    assert_eq!(
        refused(x.i(Tensor::from(true))),
        "error[rank]: index(i64[2, 3, 4]): a mask without axes stands for none"
    );
    let reversed = "error[index]: index(i64[2, 3, 4]): from 0 down to above 2, in axis 0 of extent 2";
    assert_eq!(refused(x.i(every(0..2, -1))), reversed);
    assert_eq!(refused(x.i((0, 0, 0, 0))), "error[rank]: index(i64[2, 3, 4]): 4 axes are indexed, the tensor has 3");
    assert_eq!(refused(x.i((Ellipsis, Ellipsis))), "error[argument]: index(i64[2, 3, 4]): there are two ellipses");
    assert_eq!(
        refused(x.i((.., 3))),
        "error[index]: index(i64[2, 3, 4]): index 3 is out of range for axis 1 of extent 3"
    );
    assert_eq!(
        refused(x.i((.., .., 2..6))),
        "error[index]: index(i64[2, 3, 4]): range 2..6 does not lie in axis 2 of extent 4"
    );
    assert_eq!(refused(x.i(every(.., 0))), "error[index]: index(i64[2, 3, 4]): the step of axis 0 is 0");
    assert_eq!(refused(x.i(Tensor::from([1.0f32]))), "error[dtype]: index(i64[2, 3, 4]): the indices have dtype f32");
    assert_eq!(
        refused(x.i(Tensor::from([true]))),
        "error[shape]: index(i64[2, 3, 4]): a mask of shape [1] for axes of extents [2]"
    );
    assert_eq!(
        refused(x.i((Tensor::from([0i64, 1]), Tensor::from([0i64, 1, 2])))),
        "error[shape]: index(i64[2, 3, 4]): extents 2 and 3 of axis 0 do not broadcast"
    );
    // Of several tensors each has its own range.
    assert!(refused(x.i((ids([0, 1]), ids([0, 3])))).contains("index 3 is out of range for axis 1 of extent 3"));
    assert!(refused(x.i((ids([0, -3]), ids([0, 1])))).contains("index -3 is out of range for axis 0 of extent 2"));
    assert!(refused(x.i((.., .., ids([4, 1])))).contains("index 4 is out of range for axis 2 of extent 4"));
    assert_eq!(
        refused(x.set_at(0, Tensor::zeros([5], DType::I64))),
        "error[shape]: set_at(i64[2, 3, 4], i64[5]): a value of shape [5] for a part of shape [3, 4]"
    );
    assert_eq!(
        refused(x.add_at(0, 1.5)),
        "error[dtype]: add_at(i64[2, 3, 4], f32[]): a value of dtype f32 for elements of dtype i64"
    );
    let masked = jit(|x: Tensor| x.i(x.gt(3)));
    assert_eq!(masked.call(&x).unwrap_err().code(), Code::Read);
    assert_eq!(x.i((1, 2, 3)).item::<i64>().unwrap(), 23);
}

#[test]
fn eager_indices_are_served_from_the_cache() {
    let x = x();
    let read = || x.i((1, every(.., -1), at!(0..2)[0].clone())).to_vec::<i64>().unwrap();
    let first = read();
    let (again, counts) = Counters::of(read);
    assert_eq!((again, counts[Event::Compile]), (first, 0));
}

#[test]
fn an_index_before_the_start_is_named_as_it_is() {
    let x = Tensor::arange(6, DType::F32);
    for at in [-7i64, i64::MIN, 6] {
        let e = x.i(Tensor::from([at])).err().unwrap();
        assert!(e.to_string().contains(&format!("index {at} is out of range")), "{e}");
    }
    assert_eq!(x.i(Tensor::from([-6i64, 5, -1])).to_vec::<f32>().unwrap(), [0.0, 5.0, 5.0]);
}

#[test]
fn one_value_where_a_traced_mask_is_true() {
    let x = Tensor::from([[1.0f32, 5.0], [3.0, -2.0]]);
    let set = jit(|x: Tensor| x.set_at(x.gt(2.0), 0.0));
    assert_eq!(set.call(&x).unwrap().to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0, -2.0]);
    let rows = jit(|x: Tensor| x.add_at(x.min(1).gt(0.0), 10.0));
    assert_eq!(rows.call(&x).unwrap().to_vec::<f32>().unwrap(), [11.0, 15.0, 3.0, -2.0]);
    let eager = x.add_at(x.min(1).gt(0.0), 10.0);
    assert_eq!(eager.to_vec::<f32>().unwrap(), [11.0, 15.0, 3.0, -2.0]);
    // Several values need to know where they go.
    assert!(jit(|x: Tensor| x.set_at(x.gt(2.0), Tensor::from([1.0f32, 2.0]))).call(&x).is_err());
}

#[test]
fn steps_over_an_axis_that_a_call_makes_empty() {
    let f = jit(|x: Tensor| x.slice_step(0, .., 2) + x.i(every(.., 2))).dynamic("arguments.0", 0, "B", 0..=9);
    assert_eq!(f.call(Tensor::arange(5, DType::F32)).unwrap().to_vec::<f32>().unwrap(), [0.0, 4.0, 8.0]);
    assert_eq!(f.call(Tensor::arange(0, DType::F32)).unwrap().to_vec::<f32>().unwrap(), [0.0f32; 0]);
}
