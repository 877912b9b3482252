//! How far results are from those of f64, as norms: on fresh random numbers, into memory that was full of NaN.

use crate::device::{device, is_real};
use tracewright::{DType, Device, Generator, Tensor, grad, jit, keepdims};

type Function = fn(&[Tensor]) -> Tensor;

/// Rounds of a function: the second one is recorded, later ones are replayed.
const ROUNDS: u64 = 4;

fn numbers(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).to_vec().unwrap_or_else(|e| panic!("{e}"))
}

/// ‖got − want‖ / ‖want‖
fn distance(got: &Tensor, want: &Tensor) -> f64 {
    let (got, want) = (numbers(got), numbers(want));
    assert_eq!(got.len(), want.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut got.iter().zip(&want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
}

/// Leaves memory behind that is full of NaN: a result of those dims is put there.
fn poison(result: &Tensor) {
    for _ in 0..3 {
        let (shape, dtype) = (result.shape(), result.dtype());
        drop(Tensor::full(shape, f64::NAN, dtype) * 1.0);
    }
}

/// The function of inputs of those dims on the device, against the same in f64 on the processor.
#[track_caller]
fn check(name: &str, dtype: DType, bound: f64, dims: &[&[usize]], f: Function) {
    let Some(device) = device() else { return };
    let compiled = jit(move |x: Vec<Tensor>| f(&x));
    let mut worst = 0.0f64;
    for round in 0..ROUNDS {
        let generator = Generator::new(0x5eed + round);
        let inputs: Vec<Tensor> = dims.iter().map(|d| generator.normal(*d, 0.0, 1.0).to_dtype(dtype)).collect();
        let exact: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::F64)).collect();
        let want = Device::Cpu.scope(|| f(&exact));
        let got = device.scope(|| {
            poison(&want.to_dtype(dtype));
            let there: Vec<Tensor> = inputs.iter().map(|x| x.to_device(device)).collect();
            compiled.call(there).unwrap_or_else(|e| panic!("{name}: {e}"))
        });
        worst = worst.max(distance(&got, &want));
    }
    println!("{name} {dtype}: {worst:.1e} of the norm, at most {bound:.0e}");
    assert!(worst <= bound, "{name} {dtype}: {worst:e} of the norm, more than {bound:e}");
}

/// Extents of rows and columns: large ones where a GPU has them, and some that are no multiple of anything.
fn extents() -> [usize; 3] {
    if is_real() { [1031, 2048, 515] } else { [13, 48, 35] }
}

/// f32 rounds to 6e-8 and bf16 to 4e-3 of a number; sums and products add up in f32.
fn everywhere(name: &str, dims: &[&[usize]], f: Function) {
    for (dtype, bound) in [(DType::F32, 3e-6), (DType::F16, 2e-3), (DType::BF16, 1.6e-2)] {
        check(name, dtype, bound, dims, f);
    }
}

#[test]
fn pointwise_chains() {
    let [m, n, _] = extents();
    everywhere("chain", &[&[m, n], &[n]], |x| (&x[0] * 0.5).tanh() * &x[1] + x[0].sigmoid().exp());
}

#[test]
fn rows() {
    let [m, n, odd] = extents();
    for n in [n, odd] {
        everywhere("softmax", &[&[m, n]], |x| x[0].softmax(-1));
        everywhere("layer norm", &[&[m, n], &[n]], |x| {
            let centred = &x[0] - x[0].mean(keepdims(-1));
            &centred / (centred.square().mean(keepdims(-1)) + 1e-5).sqrt() * &x[1]
        });
        everywhere("squares of rows", &[&[m, n]], |x| x[0].square().sum(-1));
    }
}

#[test]
fn columns_and_all() {
    let [m, n, odd] = extents();
    for n in [n, odd] {
        everywhere("squares of columns", &[&[m, n]], |x| x[0].square().sum(0));
        everywhere("all squares", &[&[m, n]], |x| x[0].square().mean(..));
        everywhere("transpose", &[&[m, n], &[n, m]], |x| x[0].t() + &x[1]);
    }
}

#[test]
fn products_and_their_gradients() {
    let [m, n, odd] = extents();
    everywhere("product", &[&[m, n], &[n, odd]], |x| x[0].matmul(&x[1]));
    everywhere("layer", &[&[m, n], &[n, odd], &[odd]], |x| (x[0].matmul(&x[1]) + &x[2]).gelu());
    everywhere("gradient of a layer", &[&[m, n], &[n, odd]], |x| {
        let input = x[0].clone();
        grad(move |w: &Tensor| (input.matmul(w) * 0.1).tanh().square().sum(..))(&x[1])
    });
}
