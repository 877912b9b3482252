//! Kernels and products of values with their gradients, one by one.

use crate::{f32s, steps};
use tracewright::jit::Lowered;
use tracewright::{DType, Result, Tensor, grad, jit, nn, value_and_grad};

#[track_caller]
fn count(lowered: &Lowered, launches: usize, products: usize) {
    assert_eq!(steps(lowered), (launches, products), "{}", lowered.stage("program.txt").unwrap());
}

type Layer = (Tensor, Tensor);

fn layer(from: usize, to: usize) -> Layer {
    (f32s([to, from]), f32s([to]))
}

fn apply((weight, bias): &Layer, x: &Tensor) -> Tensor {
    nn::linear(x, weight, Some(bias))
}

/// Forward: bias and activation. Backward: the loss's gradient with the last bias and the loss's rows; the mean of these;
/// the last bias's gradient; the activation's with its layer's bias's. Gradients of weights come out of the products as
/// they are.
#[test]
fn a_multilayer_perceptron() -> Result<()> {
    let y = || Tensor::zeros([16], DType::I64);
    for activation in [Tensor::relu as fn(&Tensor) -> Tensor, Tensor::gelu] {
        let step = jit(move |m: (Layer, Layer), x: Tensor, y: Tensor| {
            let loss = |(a, b): &(Layer, Layer)| nn::cross_entropy(&apply(b, &activation(&apply(a, &x))), &y);
            value_and_grad(loss)(&m)
        });
        let model = || (layer(20, 32), layer(32, 10));
        count(&step.lower(model(), f32s([16, 20]), y())?, 5, 5);
        let step = step.dynamic("arguments.1", 0, "B", 2..=64).dynamic("arguments.2", 0, "B", 2..=64);
        count(&step.lower(model(), f32s([16, 20]), y())?, 5, 5);
    }
    // Each further layer: one kernel and one product forward, one kernel and two products backward.
    let step = jit(move |m: (Layer, Layer, Layer), x: Tensor, y: Tensor| {
        let loss = |(a, b, c): &(Layer, Layer, Layer)| {
            nn::cross_entropy(&apply(c, &apply(b, &apply(a, &x).relu()).relu()), &y)
        };
        value_and_grad(loss)(&m)
    });
    count(&step.lower((layer(20, 32), layer(32, 24), layer(24, 10)), f32s([16, 20]), y())?, 7, 8);
    Ok(())
}

/// Rows of the operand's gradient, recomputing the forward rows; and a sum over rows for each weight.
#[test]
fn norms_of_rows() -> Result<()> {
    let norm = jit(|x: Tensor, w: Tensor, b: Tensor, g: Tensor| {
        let layer = |w: &Tensor, b: &Tensor| nn::LayerNorm { weight: w.clone(), bias: b.clone(), eps: 1e-5 };
        grad(|(x, w, b): &(Tensor, Tensor, Tensor)| (layer(w, b).forward(x) * &g).sum(..))(&(x, w, b))
    });
    count(&norm.lower(f32s([16, 24]), f32s([24]), f32s([24]), f32s([16, 24]))?, 3, 0);
    let norm = jit(|x: Tensor, w: Tensor, g: Tensor| {
        grad(|(x, w): &(Tensor, Tensor)| (nn::rms_norm(x, w, 1e-5) * &g).sum(..))(&(x, w))
    });
    count(&norm.lower(f32s([16, 24]), f32s([24]), f32s([16, 24]))?, 2, 0);
    let softmax = jit(|x: Tensor, g: Tensor| grad(|x: &Tensor| (x.softmax(-1) * &g).sum(..))(&x));
    count(&softmax.lower(f32s([16, 24]), f32s([16, 24]))?, 1, 0);
    Ok(())
}

/// One pass over rows for loss and gradient, and the mean of the loss.
#[test]
fn cross_entropy() -> Result<()> {
    let both = jit(|x: Tensor, y: Tensor| value_and_grad(|x: &Tensor| nn::cross_entropy(x, &y))(&x));
    count(&both.lower(f32s([16, 24]), Tensor::zeros([16], DType::I64))?, 2, 0);
    let alone = jit(|x: Tensor, y: Tensor| grad(|x: &Tensor| nn::cross_entropy(x, &y))(&x));
    // The positions are checked by the scatter that no gather before it has spared.
    count(&alone.lower(f32s([16, 24]), Tensor::zeros([16], DType::I64))?, 4, 0);
    Ok(())
}

/// The scores, the gradient of the weights, softmax with its gradient in one kernel, and a product for each operand.
#[test]
fn attention() -> Result<()> {
    for masked in [false, true] {
        let gradient = jit(move |q: Tensor, k: Tensor, v: Tensor, g: Tensor| {
            let attention = |(q, k, v): &(Tensor, Tensor, Tensor)| {
                let scores = q.matmul(&k.transpose(-1, -2)) / 4.0;
                let later = Tensor::ones([8, 8], DType::Bool).triu(1);
                let scores = if masked { scores.masked_fill(&later, f64::NEG_INFINITY) } else { scores };
                (scores.softmax(-1).matmul(v) * &g).sum(..)
            };
            grad(attention)(&(q, k, v))
        });
        let t = || f32s([2, 3, 8, 16]);
        // The mask is made once for all heads.
        count(&gradient.lower(t(), t(), t(), t())?, 1 + usize::from(masked), 5);
    }
    Ok(())
}

#[test]
fn a_transposed_product_exchanges_its_sides() -> Result<()> {
    let transposed = jit(|x: Tensor, y: Tensor| x.matmul(&y).transpose(-1, -2));
    count(&transposed.lower(f32s([3, 4]), f32s([4, 5]))?, 0, 1);
    count(&transposed.lower(f32s([2, 3, 4]), f32s([2, 4, 5]))?, 0, 1);
    let x = Tensor::arange(12, DType::F32).reshape([3, 4]);
    let y = (Tensor::arange(20, DType::F32) * 0.5 - 3.0).reshape([4, 5]);
    let want = x.matmul(&y).to_vec::<f32>()?;
    let got = transposed.call(&x, &y)?;
    assert_eq!(got.shape(), [5, 3].into());
    assert_eq!(got.t().to_vec::<f32>()?, want);
    // Not where the product is also needed as it is: that would compute it twice.
    let both = jit(|x: Tensor, y: Tensor| {
        let z = x.matmul(&y);
        (z.t() + 1.0, z)
    });
    count(&both.lower(&x, &y)?, 1, 1);
    // Nor where batch axes move.
    let moved = jit(|x: Tensor, y: Tensor| x.matmul(&y).transpose(0, 2));
    count(&moved.lower(f32s([2, 3, 4]), f32s([2, 4, 5]))?, 1, 1);
    Ok(())
}
