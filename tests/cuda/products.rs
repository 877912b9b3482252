//! Matrix products and sorts, on the device against the processor.

use crate::device::{both, device, is_real};
use tracewright::options::{self, Options};
use tracewright::{DType, Generator, Result, Tensor, einsum, jit, vmap};

/// The same numbers, up to so many units in the last place of sums of few bits.
fn near(f: impl Fn(&Generator) -> Tensor, within: f64) {
    let Some((got, want)) = both(|| f(&Generator::new(5)).to_dtype(DType::F64).to_vec::<f64>()) else { return };
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((g - w).abs() <= within * (1.0 + w.abs()), "{i}: {g}, not {w}");
    }
}

/// Integers between -8 and 8 as that dtype: their sums are exact.
fn whole(g: &Generator, shape: &[usize], dtype: DType) -> Tensor {
    g.integers(shape, -8, 9).to_dtype(dtype)
}

#[test]
fn products_of_every_dtype() {
    use DType::*;
    for dtype in [F64, F32, F16, BF16, I64, I32, I16, I8, U8, U16, U32, U64] {
        near(|g| whole(g, &[5, 7], dtype).matmul(&whole(g, &[7, 6], dtype)), 0.0);
        // Sums of columns, and of one column.
        near(|g| whole(g, &[40, 3], dtype).t().matmul(&whole(g, &[40, 2], dtype)), 0.0);
        near(|g| whole(g, &[9, 40], dtype).matmul(&whole(g, &[40], dtype)), 0.0);
    }
}

#[test]
fn products_of_views() {
    for dtype in [DType::F32, DType::I32] {
        near(|g| whole(g, &[3, 5, 7], dtype).matmul(&whole(g, &[3, 6, 7], dtype).transpose(1, 2)), 0.0);
        near(|g| whole(g, &[3, 5, 7], dtype).matmul(&whole(g, &[7, 6], dtype)), 0.0);
        near(|g| whole(g, &[1, 7], dtype).broadcast_to([5, 7]).matmul(&whole(g, &[7, 6], dtype)), 0.0);
        near(|g| whole(g, &[5, 7], dtype).flip(&[0, 1]).matmul(&whole(g, &[7, 6], dtype).flip(&[0])), 0.0);
        near(|g| einsum("bqhd,bkhd->bhqk", &[&whole(g, &[2, 3, 2, 4], dtype), &whole(g, &[2, 5, 2, 4], dtype)]), 0.0);
        near(|g| whole(g, &[5, 0], dtype).matmul(&whole(g, &[0, 6], dtype)), 0.0);
        near(|g| whole(g, &[0, 4], dtype).matmul(&whole(g, &[4, 6], dtype)), 0.0);
    }
    near(
        |g| {
            let (x, w) = (whole(g, &[4, 5], DType::F32), whole(g, &[4, 5, 3], DType::F32));
            vmap(|(x, w): &(Tensor, Tensor)| x.matmul(w))(&(x, w))
        },
        0.0,
    );
}

#[test]
fn long_sums_and_many_rows() {
    near(|g| g.normal([3, 2000], 0.0, 1.0).matmul(&g.normal([2000, 4], 0.0, 1.0)), 1e-4);
    near(|g| g.normal([130, 70], 0.0, 1.0).matmul(&g.normal([70, 66], 0.0, 1.0)), 1e-5);
    near(
        |g| g.normal([130, 70], 0.0, 1.0).to_dtype(DType::BF16).matmul(&g.normal([70], 0.0, 1.0).to_dtype(DType::BF16)),
        1e-2,
    );
}

#[test]
fn the_same_bits_again_and_again() {
    let Some(device) = device() else { return };
    device.scope(|| {
        let g = Generator::new(7);
        let (x, y) = (g.normal([9, 333], 0.0, 1.0), g.normal([333, 11], 0.0, 1.0));
        let f = jit(|(x, y): (Tensor, Tensor)| x.matmul(&y));
        let bits = || -> Result<Vec<f32>> { f.call((x.clone(), y.clone()))?.to_vec() };
        let first = bits().unwrap();
        (0..4).for_each(|_| assert_eq!(bits().unwrap(), first));
    });
}

#[test]
fn f32_is_not_rounded_unless_asked() {
    let Some(device) = device() else { return };
    let product = || {
        // The square of 1 + 2^-23, eight times.
        let x = Tensor::full([4, 8], 1.0 + f32::EPSILON, DType::F32);
        let f = jit(|x: Tensor| x.matmul(&x.t()));
        device.scope(|| f.call(x.to_device(device))?.to_vec::<f32>()).unwrap()[0]
    };
    let exact = product();
    assert!(exact > 8.0 && exact < 8.0 * (1.0 + 4.0 * f32::EPSILON), "{exact}");
    let options = Options { tf32: true, ..(*options::current().unwrap()).clone() };
    // A GPU may round, and need not.
    let rounded = options::with_options(options, product);
    assert!(rounded == 8.0 || (is_real() && rounded == exact), "{rounded}");
    assert_eq!(product(), exact);
}

#[test]
fn rows_are_sorted() {
    for descending in [false, true] {
        // Few different numbers: equal ones keep their order.
        near(|g| g.integers([3, 700], 0, 50).argsort(1, descending), 0.0);
        near(|g| g.integers([2, 50, 3], 0, 9).to_dtype(DType::F16).argsort(1, descending), 0.0);
        near(|g| g.normal([5000], 0.0, 1.0).sort(0, descending).0, 1e-5);
        near(|g| g.normal([1500], 0.0, 1.0).to_dtype(DType::F64).sort(0, descending).0, 1e-5);
        near(|g| g.normal([4, 300], 0.0, 1.0).topk(5, 1, descending).1, 0.0);
    }
    let Some((got, want)) = both(|| {
        let x = Tensor::from([f32::NAN, 0.0, -0.0, f32::INFINITY, -1.0, f32::NAN, f32::NEG_INFINITY]);
        x.argsort(0, false).to_vec::<i64>()
    }) else {
        return;
    };
    assert_eq!((got.as_slice(), got == want), ([6, 4, 1, 2, 3, 0, 5].as_slice(), true));
}
