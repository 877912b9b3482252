//! The tape: forward and backward of eager code.

use super::{Mlp, Times, inputs, time};
use tracewright::{Generator, Result, Tensor, nn, no_grad, tape};

/// All of them.
pub const NAMES: &[&str] = &["tape_chain_100", "tape_mlp_step"];

/// The workload of that name.
pub fn workload(name: &str, rounds: usize) -> Result<Option<Times>> {
    let g = Generator::new(0);
    Ok(Some(match name {
        "tape_chain_100" => {
            let (x, w) = (g.normal([64], 0.0, 1.0), g.normal([64], 0.0, 1.0));
            let (x, w) = (x.requires_grad(), w.requires_grad());
            time(rounds, 20, || {
                let y = (0..49).fold(x.clone(), |y, _| (y * &w).sin());
                (y * 0.5).sum(..).backward()?;
                x.clear_grad();
                w.clear_grad();
                Ok(())
            })?
        }
        "tape_mlp_step" => {
            let mut model = inputs().mlp(&[64, 64, 10]);
            let (x, y) = inputs().batch(32, 64);
            time(rounds, 20, || {
                let leaves = tape::track(&model);
                nn::cross_entropy(&leaves.forward(&x, Tensor::relu), &y).backward()?;
                model = no_grad(|| step(&leaves));
                Ok(())
            })?
        }
        _ => return Ok(None),
    }))
}

/// Gradient descent.
fn step(model: &Mlp) -> Mlp {
    use tracewright::Tree;
    model.map(&mut |w| match w.grad() {
        Some(g) => w - g * 0.01,
        None => w.detach(),
    })
}
