//! Branches and loops of tensors: `cond`, `switch`, `while_loop`, `fori`, `scan`, `map`.

mod batching;
mod cells;
mod derivatives;
mod errors;
mod loops;
mod nesting;
#[path = "../target/mod.rs"]
mod target;
mod values;

use target::interpreted;
use tracewright::events::{Event, capture};
use tracewright::options::{Options, with_options};
use tracewright::{DType, Element, Tensor, Tree, jit};

/// Dtype, shape and bits of every leaf.
fn bits(tree: &impl Tree) -> Vec<String> {
    fn of<T: Element>(t: &Tensor) -> String {
        format!("{:?}", t.to_vec::<T>().unwrap_or_else(|e| panic!("{e}")))
    }
    let leaf = |(path, t): (String, Tensor)| {
        let ty = t.try_type().unwrap_or_else(|e| panic!("{e}"));
        // Debug of floats is exact but for the bits of NaN.
        let values = match ty.dtype {
            DType::F64 => of::<f64>(&t),
            DType::F32 => of::<f32>(&t),
            DType::Bool => of::<bool>(&t),
            DType::U64 => of::<u64>(&t),
            _ => of::<i64>(&t.to_dtype(DType::I64)),
        };
        format!("{path}: {ty} {values}")
    };
    tree.leaves().into_iter().map(leaf).collect()
}

/// What a function makes of its argument eager, in `jit`, and both interpreted: the same bits. Yields it.
fn every_way<A: Tree, R: Tree>(f: impl Fn(&A) -> R + Clone + Send + Sync + 'static, x: &A) -> R {
    let out = f(x);
    let want = bits(&out);
    let compiled = || {
        let f = f.clone();
        let call = || jit(move |x: A| f(&x)).call(x).unwrap_or_else(|e| panic!("{e}"));
        // A bug would be interpreted, to the same bits.
        let (out, records) = capture(call);
        assert!(records.iter().all(|r| r.event != Event::Bug), "{records:?}");
        out
    };
    assert_eq!(bits(&compiled()), want, "in jit");
    assert_eq!(bits(&with_options(interpreted(), || f(x))), want, "interpreted");
    assert_eq!(bits(&with_options(interpreted(), compiled)), want, "in jit, interpreted");
    let checked = Options { check: 3, ..target::options() };
    assert_eq!(bits(&with_options(checked, compiled)), want, "checked after every pass");
    out
}

/// Numbers (f64) of a shape: quarters between -2.5 and 2.5, so that short sums and products of them are exact.
fn numbers(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    (((Tensor::arange(n, DType::F64) * 8.0 + 6.0).remainder(21.0) - 10.0) / 4.0).reshape(shape)
}

/// The same but for rounding.
fn close(a: &impl Tree, b: &impl Tree) {
    for ((path, a), (_, b)) in a.leaves().into_iter().zip(b.leaves()) {
        assert_eq!(a.shape().to_string(), b.shape().to_string(), "{path}");
        let values = |t: &Tensor| t.to_dtype(DType::F64).to_vec::<f64>().unwrap_or_else(|e| panic!("{e}"));
        for (x, y) in values(&a).iter().zip(values(&b)) {
            assert!((x - y).abs() <= 1e-12 * y.abs().max(1.0), "{path}: {a} {b}");
        }
    }
}
