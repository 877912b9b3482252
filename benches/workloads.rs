//! Named workloads, timed.
//!
//! `cargo bench --bench workloads` prints a table. With `--workload NAME [--threads N] [--rounds R]` it prints one line of
//! JSON, as `benches/compare/compare.py` reads it: the seconds of the first call and of R further ones.

use std::time::Instant;
use tracewright::{Generator, Result, Tensor, Tree, grad, jit, nn, optim, pool};

const WORKLOADS: &[&str] = &[
    "tiny_call_overhead",
    "deep_chain_1000",
    "deep_chain_10000",
    "mlp_train_step",
    "gelu_chain_64K",
    "softmax_4096x1024",
    "layernorm_8192x768",
];

/// Seconds of the first call and of each further one.
struct Times {
    first: f64,
    rest: Vec<f64>,
}

impl Times {
    fn median(&self) -> f64 {
        let mut sorted = self.rest.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// Times one call, then `rounds` averages over `inner` calls.
fn time(rounds: usize, inner: usize, mut call: impl FnMut() -> Result<()>) -> Result<Times> {
    let start = Instant::now();
    call()?;
    let first = start.elapsed().as_secs_f64();
    let mut rest = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..inner {
            call()?;
        }
        rest.push(start.elapsed().as_secs_f64() / inner as f64);
    }
    Ok(Times { first, rest })
}

fn deep_chain(length: usize, rounds: usize) -> Result<Times> {
    let x = Generator::new(0).normal([1024], 0.0, 1.0);
    let f = jit(move |x: Tensor| (0..length).fold(x, |x, i| if i % 2 == 0 { x * 0.999 } else { x + 0.001 }));
    time(rounds, 20, || f.call(&x).map(drop))
}

#[derive(Tree, Clone)]
struct Mlp {
    layers: Vec<nn::Linear>,
}

fn mlp(rounds: usize) -> Result<Times> {
    let g = Generator::new(0);
    let sizes = [784, 512, 512, 10];
    let model = Mlp { layers: sizes.windows(2).map(|w| nn::Linear::new(w[0], w[1], &g)).collect() };
    let optimizer = optim::Adam::new(&model, 1e-3);
    let x = g.normal([128, 784], 0.0, 1.0);
    let y: Vec<i64> = g.bits(128).iter().map(|b| (b % 10) as i64).collect();
    let batch = (x, Tensor::from_slice(&y, [128]));
    let step = jit(|(model, optimizer): (Mlp, optim::Adam), (x, y): (Tensor, Tensor)| {
        let loss = |m: &Mlp| {
            let last = m.layers.len() - 1;
            let logits = m.layers.iter().enumerate().fold(x.clone(), |x, (i, layer)| {
                let x = layer.forward(&x);
                if i < last { x.relu() } else { x }
            });
            nn::cross_entropy(&logits, &y)
        };
        let (loss, gradients) = grad::value_and_grad(loss)(&model);
        (optimizer.update(model, gradients), loss)
    });
    let mut state = (model, optimizer);
    time(rounds, 1, || step.call_mut(&mut state, &batch).map(drop))
}

fn workload(name: &str, rounds: usize) -> Result<Option<Times>> {
    let g = Generator::new(0);
    Ok(Some(match name {
        "tiny_call_overhead" => {
            let x = g.normal([4], 0.0, 1.0);
            let f = jit(|x: Tensor| x * 2.0 + 1.0);
            time(rounds, 10_000, || f.call(&x).map(drop))?
        }
        "deep_chain_1000" => deep_chain(1000, rounds)?,
        "deep_chain_10000" => deep_chain(10_000, rounds)?,
        "mlp_train_step" => mlp(rounds)?,
        "gelu_chain_64K" => {
            let x = g.normal([65536], 0.0, 1.0);
            let f = jit(|x: Tensor| (x * 1.3 + 0.2).gelu_tanh() * 0.7);
            time(rounds, 20, || f.call(&x).map(drop))?
        }
        "softmax_4096x1024" => {
            let x = g.normal([4096, 1024], 0.0, 1.0);
            let f = jit(|x: Tensor| x.softmax(-1));
            time(rounds, 1, || f.call(&x).map(drop))?
        }
        "layernorm_8192x768" => {
            let x = g.normal([8192, 768], 0.0, 1.0);
            let layer = nn::LayerNorm::new(768);
            let f = jit(|layer: nn::LayerNorm, x: Tensor| layer.forward(&x));
            time(rounds, 1, || f.call(&layer, &x).map(drop))?
        }
        _ => return Ok(None),
    }))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut rounds) = (None, 50);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--workload" => name = Some(value()?),
            "--threads" => pool::global().set_num_threads(value()?.parse()?),
            "--rounds" => rounds = value()?.parse::<usize>()?.max(1),
            // What `cargo bench` passes.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    if let Some(name) = name {
        let Some(t) = workload(&name, rounds)? else {
            return Err(format!("unknown workload {name}; there are {}", WORKLOADS.join(", ")).into());
        };
        println!(r#"{{"workload": "{name}", "first_s": {:e}, "times": {:?}}}"#, t.first, t.rest);
        return Ok(());
    }
    println!("{:<22} {:>14} {:>14}", "workload", "compile", "median call");
    for name in WORKLOADS {
        let Some(t) = workload(name, rounds)? else { continue };
        let median = t.median();
        println!("{name:<22} {:>11.2} ms {:>11.2} us", 1e3 * (t.first - median), 1e6 * median);
    }
    Ok(())
}
