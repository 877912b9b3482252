//! Transforms of functions, compiled.

use super::{Mlp, Times, batch, time};
use tracewright::{Generator, Result, Tensor, grad, hvp, jacrev, jit, nn, scan, value_and_grad, vmap};

/// Names of workloads.
pub const NAMES: &[&str] = &["mlp_gradient", "mlp_hvp", "per_example_gradients", "jacobian_64", "rnn_scan_200"];

/// Of a recurrent layer: for its input, for its state, and a bias.
type Weights = (Tensor, Tensor, Tensor);

fn loss(m: &Mlp, x: &Tensor, y: &Tensor) -> Tensor {
    nn::cross_entropy(&m.forward(x, Tensor::tanh), y)
}

/// One of them, if there is one of that name.
pub fn workload(name: &str, rounds: usize) -> Result<Option<Times>> {
    let g = Generator::new(0);
    Ok(Some(match name {
        "mlp_gradient" => {
            let (model, (x, y)) = (Mlp::new(&[784, 512, 512, 10], &g), batch(128, 784, &g));
            let f = jit(|m: Mlp, x: Tensor, y: Tensor| grad(|m: &Mlp| loss(m, &x, &y))(&m));
            time(rounds, 1, || f.call(&model, &x, &y).map(drop))?.of(&f.lower(&model, &x, &y)?)
        }
        "mlp_hvp" => {
            let (model, (x, y)) = (Mlp::new(&[64, 128, 128, 10], &g), batch(64, 64, &g));
            let v = Mlp::new(&[64, 128, 128, 10], &g);
            let f = jit(|m: Mlp, v: Mlp, x: Tensor, y: Tensor| hvp(|m: &Mlp| loss(m, &x, &y), &m, &v));
            time(rounds, 20, || f.call(&model, &v, &x, &y).map(drop))?.of(&f.lower(&model, &v, &x, &y)?)
        }
        "per_example_gradients" => {
            let (model, (x, y)) = (Mlp::new(&[64, 64, 10], &g), batch(64, 64, &g));
            let f = jit(|m: Mlp, x: Tensor, y: Tensor| {
                vmap(|(x, y): &(Tensor, Tensor)| grad(|m: &Mlp| loss(m, &x.unsqueeze(0), &y.unsqueeze(0)))(&m))(&(x, y))
            });
            time(rounds, 20, || f.call(&model, &x, &y).map(drop))?.of(&f.lower(&model, &x, &y)?)
        }
        "jacobian_64" => {
            let (a, b) = (g.normal([128, 64], 0.0, 0.1), g.normal([64, 128], 0.0, 0.1));
            let x = g.normal([64], 0.0, 1.0);
            let f =
                jit(|a: Tensor, b: Tensor, x: Tensor| jacrev(|x: &Tensor| b.matmul(&a.matmul(x).tanh()).tanh())(&x));
            time(rounds, 100, || f.call(&a, &b, &x).map(drop))?.of(&f.lower(&a, &b, &x)?)
        }
        "rnn_scan_200" => {
            let (xs, h) = (g.normal([200, 16, 64], 0.0, 1.0), g.normal([16, 128], 0.0, 0.1));
            let parameters =
                (g.normal([64, 128], 0.0, 0.1), g.normal([128, 128], 0.0, 0.08), g.normal([128], 0.0, 0.1));
            let f = jit(|p: Weights, h: Tensor, xs: Tensor| {
                let loss = |(wx, wh, b): &Weights| {
                    let step = |h: &Tensor, x: &Tensor| {
                        let h = (x.matmul(wx) + h.matmul(wh) + b).tanh();
                        (h.clone(), h)
                    };
                    let (_, all) = scan(step, &h, &xs);
                    (&all * &all).mean(..)
                };
                value_and_grad(loss)(&p)
            });
            time(rounds, 1, || f.call(&parameters, &h, &xs).map(drop))?.of(&f.lower(&parameters, &h, &xs)?)
        }
        _ => return Ok(None),
    }))
}
