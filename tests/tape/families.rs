//! Gradients of the tape are those of `grad`, for every family of functions, and so are their gradients.

use crate::{close, f64s};
use tracewright::tape::Backward;
use tracewright::{DType, Generator, Tensor, concat, einsum, grad, keepdims, nn, random, stack};

type Named = (&'static str, fn(&Tensor) -> Tensor);

fn families() -> Vec<Named> {
    vec![
        ("arithmetic", |x| (x * 2.0 - 1.0) / (x * x + 3.0) + x.pow(3.0)),
        ("broadcasting", |x| x * x.sum(0) + x.sum(keepdims(1))),
        ("elementary", |x| x.exp() + x.sin() * x.cos() + (x * x + 1.0).log() + x.tanh() + x.erf()),
        ("activations", |x| x.gelu() + x.silu() + x.softplus() + x.elu(1.0) + x.relu()),
        ("softmax", |x| x.softmax(-1) * x.log_softmax(0)),
        ("reductions", |x| x.mean(0) + x.var(0, 1) + x.logsumexp(0) + x.max(0) + x.prod(0)),
        ("products", |x| x.matmul(&x.t()) + x.t().matmul(x).sum(..)),
        ("einsum", |x| einsum("ij,kj->ik", &[x, x]) + einsum("ij->j", &[x]).sum(..)),
        ("views", |x| x.t().reshape([2, 6]).slice(1, 1..5).flip(&[0]).unsqueeze(0).broadcast_to([3, 2, 4])),
        ("rows", |x| (0..3).fold(Tensor::zeros([4], DType::F64), |sum, i| sum * 2.0 + x.select(0, i).square())),
        ("joins", |x| concat(&[x.clone(), x * 2.0], 0).matmul(&stack(&[x.sum(0), x.mean(0)], 1))),
        ("indices", |x| {
            let at = Tensor::from([2i64, 0, 2]);
            x.take(&at, 1).cumsum(0) + x.index_select(0, &at).sum(1).unsqueeze(1)
        }),
        ("order", |x| x.sort(1, false).0 * x.cummax(1).0),
        ("choice", |x| x.gt(0.0).where_(x * 3.0, x.exp()) + x.maximum(x * x) + x.clamp(-0.5, 0.5)),
        ("padding", |x| x.pad(&[(1, 2), (0, 1)], 0.5).square().roll(&[1], 0)),
        ("diagonals", |x| x.matmul(&x.t()).diagonal(0, 0, 1) * 2.0 + x.tril(0).sum(1)),
        ("layer norm", |x| nn::LayerNorm::new(4).forward(&x.to_dtype(DType::F32)).to_dtype(DType::F64)),
        ("numbers that are converted", |x| x.to_dtype(DType::F32).exp().to_dtype(DType::F64) * x),
        ("nothing", |x| x.clone()),
        ("many operands", |x| {
            let parts: Vec<Tensor> = (0..100).map(|i| x.select(0, i % 3) * (i as f64)).collect();
            concat(&parts, 0).tanh()
        }),
        ("a view twice", |x| {
            let y = x.t();
            y.matmul(&y.t()) + (&y * &y).sum(..) + y.slice(0, 1..3).square().sum(..)
        }),
        ("a view that was looked at", |x| {
            let y = x.t();
            let z = &y * &y;
            if !y.is_traced() {
                assert_eq!(y.to_vec::<f64>().unwrap().len(), 12);
            }
            z * y.exp()
        }),
        ("updates", |x| {
            let at = Tensor::from([[0i64, 1, 1, 2], [2, 0, 1, 1], [0, 0, 0, 0]]);
            x.scatter_add(0, &at, &(x * 2.0)) * x.take_along(&at, 1)
        }),
        ("masks", |x| x.masked_fill(&x.gt(0.5), 0.0) * x.t().t() + x.tril(0)),
        ("half", |x| (x.to_dtype(DType::F16) * 2.0).exp().to_dtype(DType::F64)),
        ("losses", |x| {
            let classes = Tensor::from([1i64, 0, 3]);
            nn::cross_entropy(&x.to_dtype(DType::F32), &classes).to_dtype(DType::F64) + nn::mse_loss(x, &x.sin())
        }),
        ("draws", |x| {
            x * random::uniform(&random::Key::new(3), [3, 4], DType::F64, 0.0, 1.0).gt(0.5).to_dtype(DType::F64)
        }),
        ("empty", |x| x.slice(0, 1..1).sum(..) + x.sum(..)),
        ("special", |x| (x.abs() + 1.5).lgamma() + x.sigmoid().logit() + x.sinc()),
    ]
}

/// How far two ways to compute it in its dtypes may be apart, where f64 would give that.
fn tolerance(name: &str, double: f64) -> f64 {
    match name {
        "half" => 4e-3,
        "layer norm" | "numbers that are converted" | "losses" => 1e-4,
        _ => double,
    }
}

fn at() -> Tensor {
    Generator::new(7).normal([3, 4], 0.0, 1.0).to_dtype(DType::F64)
}

/// A sum in which every element counts differently.
fn weighed(y: &Tensor) -> Tensor {
    let n = y.shape().iter().map(|d| d.as_usize().unwrap()).product::<usize>();
    (y.reshape([n]) * Tensor::arange(n, DType::F64).sin()).sum(..)
}

#[test]
fn gradients_are_those_of_grad() {
    for (name, f) in families() {
        println!("{name}");
        let x = at().requires_grad();
        let y = weighed(&f(&x));
        y.backward().unwrap();
        close(&f64s(&x.grad().unwrap()), &f64s(&grad(|x: &Tensor| weighed(&f(x)))(&at())), tolerance(name, 1e-9));
    }
}

#[test]
fn gradients_of_gradients_are_those_of_grad() {
    for (name, f) in families() {
        println!("{name}");
        let x = at().requires_grad();
        let first = Backward::of(&[&weighed(&f(&x))]).create_graph().by(&[&x]).unwrap()[0].clone().unwrap();
        let want = grad(|x: &Tensor| weighed(&grad(|x: &Tensor| weighed(&f(x)))(x)))(&at());
        let second = match Backward::of(&[&weighed(&first)]).by(&[&x]) {
            Ok(found) => found[0].clone().map(|g| f64s(&g)).unwrap_or(vec![0.0; 12]),
            // A linear function has a constant gradient.
            Err(_) => vec![0.0; 12],
        };
        close(&second, &f64s(&want), tolerance(name, 1e-8));
    }
}
