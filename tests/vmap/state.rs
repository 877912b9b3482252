//! Cells under vmap.

use super::numbers;
use tracewright::{Code, DType, Tensor, grad, jit, nn::Buffer, vmap};

#[test]
fn a_value_that_is_common_is_written() {
    let count = Buffer::new(Tensor::from(0.0f64));
    let f = |x: &Tensor| {
        count.set(count.get() + 1.0).unwrap();
        x * count.get()
    };
    let x = numbers(&[3]);
    assert_eq!(vmap(f)(&x).to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap());
    assert_eq!(vmap(f)(&x).to_vec::<f64>().unwrap(), (&x * 2.0).to_vec::<f64>().unwrap());
    assert_eq!(count.get().item::<f64>().unwrap(), 2.0);
}

#[test]
fn one_that_differs_is_refused_and_the_line_named() {
    let sum = Buffer::new(Tensor::from(0.0f64));
    let inner = sum.clone();
    let line = line!() + 2;
    let f = move |x: &Tensor| {
        inner.set(inner.get() + x.sum(..)).unwrap();
        x * 2.0
    };
    let x = numbers(&[3, 2]);
    let e = vmap(f.clone())(&x).to_vec::<f64>().unwrap_err();
    assert_eq!(e.code(), Code::Trace);
    assert_eq!(e.rule(), "a cell is written with a value that differs from example to example");
    assert!(e.location().unwrap().to_string().contains(&format!("state.rs:{line}")), "{e}");
    assert_eq!(sum.get().item::<f64>().unwrap(), 0.0);
    // Within other transforms the line is that of the write, too.
    let e = vmap(vmap(f.clone()))(&x.unsqueeze(0)).to_vec::<f64>().unwrap_err();
    assert!(e.location().unwrap().to_string().contains(&format!("state.rs:{line}")), "{e}");
    let inside = f.clone();
    let e = vmap(grad(move |x: &Tensor| inside(x).sum(..)))(&x).to_vec::<f64>().unwrap_err();
    assert!(e.location().unwrap().to_string().contains(&format!("state.rs:{line}")), "{e}");
    let e = jit(move |x: Tensor| vmap(f.clone())(&x)).call(&x).unwrap_err();
    assert!(e.location().unwrap().to_string().contains(&format!("state.rs:{line}")), "{e}");
    assert_eq!(sum.get().item::<f64>().unwrap(), 0.0);
    // The inner examples differ, the outer ones do not.
    let kept = sum.clone();
    let outer = vmap(move |x: &Tensor| {
        let of = x.clone();
        kept.set(kept.get() + vmap(|y: &Tensor| y * 2.0)(&Tensor::ones([2], DType::F64)).sum(..)).unwrap();
        of
    });
    outer(&x).to_vec::<f64>().unwrap();
    assert_eq!(sum.get().item::<f64>().unwrap(), 4.0);
}
