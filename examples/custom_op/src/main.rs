//! Finds the masses of bodies from how they attract each other, by gradient descent through an op of our own.

use custom_op::{attraction, step};
use tracewright::{Result, Tensor, jit, manual_seed, rand, randn};

fn main() -> Result<()> {
    manual_seed(7)?;
    let (x, masses) = (randn([24, 3]), rand([24]) + 0.5);
    let observed = attraction(&x, &masses, 0.1);
    let compiled = jit(|(l, x, a, rate): (Tensor, Tensor, Tensor, Tensor)| step(l, x, a, rate)).named("find_masses");
    let mut log_masses = Tensor::zeros([24], tracewright::DType::F32);
    for i in 0..=2000 {
        let (next, loss) = compiled.call((log_masses.clone(), x.clone(), observed.clone(), Tensor::from(0.3f32)))?;
        if i % 500 == 0 {
            println!("step {i:4}: loss {:.6}", loss.item::<f32>()?);
        }
        log_masses = next;
    }
    let error = (log_masses.exp() - &masses).abs().max(..).item::<f32>()?;
    println!("largest error of a mass: {error:.4}");
    Ok(())
}
