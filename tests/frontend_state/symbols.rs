//! Extents that stay symbolic.

use crate::{ones, value};
use tracewright::events::{Counters, Event};
use tracewright::{DType, Tensor, extent, grad, jit};

#[test]
fn one_symbolic_batch_dim_compiles_once() {
    let w = Tensor::arange(12, DType::F32).reshape([3, 4]);
    let f = jit(move |x: Tensor, y: Tensor| {
        let h = x.matmul(&w).gelu().reshape([x.dim(0) * 4]);
        (h.sum(..), (x.mean(0) + y.mean(..)).softmax(0))
    })
    .dynamic("arguments.0", 0, "B", 1..=64)
    .dynamic("arguments.1", 0, "B", 1..=64);
    for n in [1usize, 2, 5, 64, 33] {
        let x = ones([n, 3]) * 0.5;
        let (h, s) = f.call(&x, ones([n])).unwrap();
        let by_hand = x.matmul(&Tensor::arange(12, DType::F32).reshape([3, 4])).gelu().sum(..);
        assert!((value(&h) - value(&by_hand)).abs() <= 1e-4 * value(&by_hand), "{n}");
        assert_eq!(s.shape(), [3].into());
    }
    assert_eq!(f.stats().traces, 1);
    let e = f.call(ones([65, 3]), ones([65])).unwrap_err();
    assert_eq!(e.headline(), "error[shape]: call: B is 65 in axis 0 of arguments.0");
    assert_eq!(e.legal(), "B in 1..=64");
    let e = f.call(ones([2, 3]), ones([3])).unwrap_err();
    assert_eq!(e.headline(), "error[shape]: call: B is 2 in arguments.0 and 3 in arguments.1");
    assert!(f.call(ones([2, 3]), ones([2])).is_ok());
    for name in ["", "2 x", "a-b", "é", "$i0", "mod"] {
        let e = jit(|x: Tensor| x).dynamic("arguments.0", 0, name, 1..=2).call(ones([2])).unwrap_err();
        assert_eq!(e.headline(), format!("error[argument]: call: {name:?} is to be the name of a dimension"));
        assert_eq!(e.legal(), "ASCII letters, digits and `_`, no digit first; not `floordiv` or `mod`");
    }
    let unlike = jit(|x: Tensor, y: Tensor| x + y);
    let unlike = unlike.dynamic("arguments.0", 0, "B", 1..=4).dynamic("arguments.1", 0, "B", 1..=8);
    let e = unlike.call(ones([2]), ones([2])).unwrap_err();
    assert_eq!(e.headline(), "error[argument]: call: B has the bounds 1..=4 for arguments.0 and 1..=8 for arguments.1");
    let wrong = jit(|x: Tensor| x).dynamic("arguments.1", 0, "B", 1..=2);
    let e = wrong.call(ones([2])).unwrap_err();
    assert_eq!(e.headline(), "error[argument]: call: no leaf has the path `arguments.1` that is to be dynamic");
    assert_eq!((e.legal(), e.location().unwrap().line), ("one of arguments.0", line!() - 2));
}

#[test]
fn gradients_through_a_symbolic_batch_dim() {
    let f = jit(|w: Tensor, x: Tensor| grad(|w: &Tensor| x.matmul(w).square().mean(..))(&w)).dynamic(
        "arguments.1",
        0,
        "B",
        1..=8,
    );
    for n in [1usize, 3, 8] {
        let g = f.call(ones([2]), ones([n, 2])).unwrap();
        assert_eq!(g.to_vec::<f32>().unwrap(), [4.0, 4.0], "{n}");
    }
    assert_eq!(f.stats().traces, 1);
}

#[test]
fn a_symbol_that_becomes_a_number_specialises_and_is_counted() {
    let f = jit(|x: Tensor| {
        let n = extent(&x.shape()[0]);
        x.sum(0) * n as f64 + x.size(0) as f64
    })
    .dynamic("arguments.0", 0, "B", 1..=8);
    let ((), counts) = Counters::of(|| {
        assert_eq!(value(&f.call(ones([2])).unwrap()), 6.0);
        assert_eq!(value(&f.call(ones([3])).unwrap()), 12.0);
        assert_eq!(value(&f.call(ones([3])).unwrap()), 12.0);
    });
    assert_eq!(f.stats().traces, 2);
    assert!(counts[Event::Specialised] >= 2);
    assert_eq!(counts[Event::Retrace], 1);
}
