//! Which axes the examples have, and what is refused.

use super::{close, numbers, shown};
use std::collections::BTreeMap;
use tracewright::{Code, DType, Error, Tensor, Tree, jit, keepdims, stack, vmap};

#[test]
fn every_axis_in_and_out() {
    let x = numbers(&[2, 3, 4]);
    let f = |x: &Tensor| x.cumsum(0) * x.sum(keepdims(-1));
    for axis in 0..3 {
        let rows: Vec<Tensor> =
            (0..x.shape()[axis].as_usize().unwrap()).map(|i| f(&x.select(axis as isize, i as isize))).collect();
        for out in 0..3i32 {
            let want = stack(&rows, out as isize);
            for (axis, out) in [(axis as i32, out), (axis as i32 - 3, out - 3)] {
                close(&vmap::with(axis, out, f)(&x), &want);
                let compiled = jit(move |x: Tensor| vmap::with(axis, out, f)(&x));
                close(&compiled.call(&x).unwrap(), &want);
            }
        }
    }
}

#[derive(Tree, Clone)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
    factor: f32,
}

#[test]
fn trees_and_parts_of_them() {
    let layer = Layer { weight: numbers(&[3, 4, 5]), bias: numbers(&[5, 3]), factor: 2.0 };
    let x = numbers(&[4]);
    let f = |(l, x): &(Layer, Tensor)| {
        let y = x.matmul(&l.weight) + &l.bias * l.factor;
        BTreeMap::from([("sum".to_string(), y.sum(..)), ("y".to_string(), y), ("x".to_string(), x * 2.0)])
    };
    let got = vmap::with(((0, 1, None), None), vec![Some(0), None, Some(1)], f)(&(layer.clone(), x.clone()));
    for i in 0..3 {
        let one = Layer { weight: layer.weight.select(0, i), bias: layer.bias.select(1, i), factor: 2.0 };
        let want = f(&(one, x.clone()));
        close(&got["sum"].select(0, i), &want["sum"]);
        close(&got["y"].select(1, i), &want["y"]);
        close(&got["x"], &want["x"]);
    }
    let lists = vmap(|(x, y): &(Vec<Tensor>, Option<Tensor>)| x.iter().fold(y.clone().unwrap(), |s, x| s + x));
    let sum = lists(&(vec![numbers(&[2, 3]), numbers(&[2, 3])], Some(numbers(&[2, 3]))));
    close(&sum, &(numbers(&[2, 3]) * 3.0));
}

#[test]
fn results_that_are_common() {
    let x = numbers(&[3, 2]);
    let same = vmap(|_: &Tensor| Tensor::from([1.0f64, 2.0]))(&x);
    assert_eq!(shown(&same), ("[3, 2]".into(), vec![1.0, 2.0, 1.0, 2.0, 1.0, 2.0]));
    // As many examples as elements.
    let square = vmap::with(0, 0, |_: &Tensor| Tensor::from([1.0f64, 2.0, 3.0]))(&x);
    assert_eq!(square.to_vec::<f64>().unwrap(), [1.0, 2.0, 3.0].repeat(3));
    let outside = numbers(&[2]);
    close(
        &vmap::with(0, 1, |_: &Tensor| outside.clone())(&x),
        &stack(&[outside.clone(), outside.clone(), outside.clone()], 1),
    );
    close(&vmap::with(0, None, |_: &Tensor| outside.clone())(&x), &outside);
    close(&vmap(|x: &Tensor| x.clone())(&x), &x);
    close(&vmap::with(1, 0, |x: &Tensor| x.clone())(&x), &x.t());
}

#[test]
fn tied_leaves_may_have_other_axes() {
    let x = numbers(&[3, 3]);
    let f = vmap::with((0, 1), 0, |(a, b): &(Tensor, Tensor)| a * b);
    close(&f(&(x.clone(), x.clone())), &(&x * x.t()));
    let g = vmap::with((0, None), 0, |(a, b): &(Tensor, Tensor)| b.matmul(a));
    close(&g(&(x.clone(), x.clone())), &x.matmul(&x.t()));
}

#[test]
fn no_examples_and_one() {
    for n in [0, 1] {
        let got = vmap(|x: &Tensor| x.softmax(0).matmul(&numbers(&[2, 4])))(&numbers(&[n, 2]));
        assert_eq!(got.shape().to_string(), format!("[{n}, 4]"));
        assert_eq!(got.to_vec::<f64>().unwrap().len(), 4 * n);
    }
}

#[test]
fn symbolic_numbers_of_examples() {
    let f = jit(|x: Tensor| vmap(|x: &Tensor| x.cumsum(0) / x.sum(..))(&x)).dynamic("arguments.0", 0, "B", 0..=64);
    for n in [1, 5, 64] {
        let x = numbers(&[n, 3]) + 3.0;
        close(&f.call(&x).unwrap(), &(x.cumsum(1) / x.sum(keepdims(1))));
    }
    assert_eq!(f.stats().traces, 1);
    let g = jit(|x: Tensor, y: Tensor| vmap(|(x, y): &(Tensor, Tensor)| x * y)(&(x, y)));
    let g = g.dynamic("arguments.0", 0, "B", 0..=64);
    let e = g.call(numbers(&[3]), numbers(&[4])).unwrap_err();
    assert_eq!(e.code(), Code::Shape, "{e}");
}

fn refused(t: Tensor) -> Error {
    t.to_vec::<f64>().unwrap_err()
}

#[test]
fn what_is_refused() {
    let pair = |a: &[usize], b: &[usize]| (numbers(a), numbers(b));
    let add = |(x, y): &(Tensor, Tensor)| x + y;
    let e = refused(vmap(add)(&pair(&[3, 2], &[4, 2])));
    assert_eq!(e.code(), Code::Shape);
    assert_eq!(
        e.rule(),
        "the number of examples is 3 along axis 0 of 0: f64[3, 2], but 4 along axis 0 of 1: f64[4, 2]"
    );
    assert!(e.location().unwrap().to_string().contains("axes.rs"), "{e}");
    let e = refused(vmap::with((0, 2), 0, add)(&pair(&[3, 2], &[3, 2])));
    assert_eq!((e.code(), e.rule()), (Code::Axis, "axis 2 of 1: f64[3, 2] does not exist"));
    assert_eq!(e.legal(), "axes from -2 to 1");
    let e = refused(vmap::with((0, -3), 0, add)(&pair(&[3, 2], &[3, 2])));
    assert_eq!(e.rule(), "axis -3 of 1: f64[3, 2] does not exist");
    let e = refused(vmap(add)(&pair(&[3], &[])));
    assert_eq!(e.rule(), "1: f64[] has no axis that the examples could have");
    let e = refused(vmap::with(None, 0, add)(&pair(&[3], &[3])));
    assert_eq!((e.code(), e.rule()), (Code::Argument, "nothing has an axis of the examples"));
    let e = refused(vmap::with((0, 0, 0), 0, add)(&pair(&[3], &[3])));
    assert_eq!(e.rule(), "the argument has 2 parts, and axes are given for 3");
    let e = refused(vmap::with([0], 0, add)(&pair(&[3], &[3])));
    assert_eq!(e.rule(), "the argument has more than the 1 parts that axes are given for");
    let e = refused(vmap::with((0, (0, 1)), 0, add)(&pair(&[3], &[3])));
    assert_eq!(e.rule(), "1 of the argument is a tensor, and axes are given for 2 parts");
    let e = refused(vmap::with(0, 2, add)(&pair(&[3, 2], &[3, 2])));
    assert_eq!((e.code(), e.legal()), (Code::Axis, "axes from -2 to 1"));
    let e = refused(vmap::with(0, None, add)(&pair(&[3, 2], &[3, 2])));
    assert!(e.rule().ends_with("differs from example to example"), "{e}");
}

#[test]
fn examples_that_no_memory_holds() {
    let x = numbers(&[1 << 20]);
    let long = |x: &Tensor| x + Tensor::zeros([1usize << 42], DType::F64);
    let e = refused(vmap(|x: &Tensor| long(x).select(0, 7))(&x));
    assert_eq!(e.code(), Code::Trace, "{e}");
    assert!(e.rule().contains("for 1048576 examples it takes more bytes than any memory has"), "{e}");
    // One axis more than there can be.
    let e = refused(vmap(|x: &Tensor| x.unsqueeze(0) * 2.0)(&numbers(&[1; 64])));
    assert_eq!(e.code(), Code::Trace, "{e}");
    assert!(e.rule().contains("a shape of 65 axes"), "{e}");
}

#[test]
fn errors_are_on_every_leaf() {
    let x = numbers(&[3, 2]);
    // Of the function itself: the leaf that has none has it too.
    let f = |x: &Tensor| (x + Tensor::from([1.0f64, 2.0, 3.0]), x * 2.0);
    let (a, b) = vmap(f)(&x);
    assert_eq!((refused(a).code(), refused(b).code()), (Code::Shape, Code::Shape));
    // Of the argument.
    let (a, b) = vmap(|x: &Tensor| (x.clone(), Tensor::from(1.0f64)))(&Tensor::from(1.0f64));
    assert_eq!((refused(a).code(), refused(b).code()), (Code::Axis, Code::Axis));
    let (a, _) = vmap(f)(&x.reshape([7]));
    assert_eq!(refused(a).op(), "reshape");
}

#[test]
fn indices_out_of_range_stay_errors() {
    let (x, i) = (numbers(&[3, 4]), Tensor::from([0i64, 3, 4]));
    let pick = |(x, i): &(Tensor, Tensor)| x.index_select(0, &i.unsqueeze(0));
    let e = vmap(pick)(&(x.clone(), i.clone())).to_vec::<f64>().unwrap_err();
    assert_eq!(e.code(), Code::Index, "{e}");
    let e = jit(move |x: Tensor, i: Tensor| vmap(pick)(&(x, i))).call(&x, &i).unwrap_err();
    assert_eq!(e.code(), Code::Index, "{e}");
    let good = vmap(pick)(&(x.clone(), Tensor::from([0i64, 3, 1])));
    close(&good, &x.take_along(&Tensor::from([[0i64], [3], [1]]), 1));
}
