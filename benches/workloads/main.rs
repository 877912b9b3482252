//! Named workloads, timed.
//!
//! `cargo bench --bench workloads` prints a table. With `--workload NAME [--threads N] [--rounds R]` it prints one line of
//! JSON, as `benches/compare/compare.py` reads it: the seconds of the first call and of R further ones (each an average over
//! so many calls), and how many kernels were compiled and how many steps a call has. `--eager` prints the table of single
//! ops outside of `jit`, `--tape` of eager code with gradients.

mod derivatives;
mod eager;
mod tape;

use std::time::Instant;
use tracewright::jit::Lowered;
use tracewright::{Generator, Result, Tensor, Tree, concat, grad, jit, nn, optim, options, stack};

const WORKLOADS: &[&str] = &[
    "tiny_call_overhead",
    "deep_chain_1000",
    "deep_chain_10000",
    "digits_step",
    "mlp_train_step",
    "gelu_chain_64K",
    "softmax_4096x1024",
    "layernorm_8192x768",
    "stencil_1024",
    "stack_8x1M",
    "concat_64",
    "concat_1000",
    "concat_3000",
];

/// Seconds of the first call and of each further one, and what was compiled.
struct Times {
    first: f64,
    rest: Vec<f64>,
    /// Calls that each of those is an average over.
    calls: usize,
    kernels: usize,
    steps: usize,
}

impl Times {
    fn median(&self) -> f64 {
        let mut sorted = self.rest.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// With the counts of the function that was timed.
    fn of(mut self, lowered: &Lowered) -> Times {
        if let Some(program) = lowered.executable().program() {
            (self.kernels, self.steps) = (program.kernels.len(), program.steps.len());
        }
        self
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
    Ok(Times { first, rest, calls: inner, kernels: 0, steps: 0 })
}

fn deep_chain(length: usize, rounds: usize) -> Result<Times> {
    let x = Generator::new(0).normal([1024], 0.0, 1.0);
    let f = jit(move |x: Tensor| (0..length).fold(x, |x, i| if i % 2 == 0 { x * 0.999 } else { x + 0.001 }));
    Ok(time(rounds, 20, || f.call(&x).map(drop))?.of(&f.lower(&x)?))
}

/// Pieces of different lengths, so that no two of them share code.
fn concatenation(count: usize, rounds: usize) -> Result<Times> {
    let g = Generator::new(0);
    let xs: Vec<Tensor> = (0..count).map(|i| g.normal([1 + i % 61], 0.0, 1.0)).collect();
    let f = jit(|xs: Vec<Tensor>| concat(&xs, 0).tanh());
    Ok(time(rounds, 20, || f.call(&xs).map(drop))?.of(&f.lower(&xs)?))
}

#[derive(Tree, Clone)]
struct Mlp {
    layers: Vec<nn::Linear>,
}

impl Mlp {
    fn new(sizes: &[usize], g: &Generator) -> Mlp {
        Mlp { layers: sizes.windows(2).map(|w| nn::Linear::new(w[0], w[1], g)).collect() }
    }

    fn forward(&self, x: &Tensor, activation: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(x.clone(), |x, (i, layer)| {
            let x = layer.forward(&x);
            if i < last { activation(&x) } else { x }
        })
    }
}

/// Random inputs with random classes out of ten.
fn batch(rows: usize, columns: usize, g: &Generator) -> (Tensor, Tensor) {
    let y = g.integers([rows], 0, 10);
    (g.normal([rows, columns], 0.0, 1.0), y)
}

/// The step of `examples/digits.rs`.
fn digits(rounds: usize) -> Result<Times> {
    let g = Generator::new(0);
    let model = Mlp::new(&[64, 64, 10], &g);
    let optimizer = optim::AdamW::new(&model, 3e-3);
    let batch = batch(64, 64, &g);
    let step = jit(|(model, optimizer): (Mlp, optim::AdamW), (x, y): (Tensor, Tensor)| {
        let loss = |m: &Mlp| nn::cross_entropy(&m.forward(&x, Tensor::gelu), &y);
        let (loss, gradients) = grad::value_and_grad(loss)(&model);
        let (gradients, _norm) = optim::clip_grad_norm(gradients, 1.0);
        (optimizer.update(model, gradients), loss)
    });
    let mut state = (model, optimizer);
    let times = time(rounds, 1, || step.call_mut(&mut state, &batch).map(drop))?;
    Ok(times.of(&step.lower_mut(&state, &batch)?))
}

fn mlp(rounds: usize) -> Result<Times> {
    let g = Generator::new(0);
    let model = Mlp::new(&[784, 512, 512, 10], &g);
    let optimizer = optim::Adam::new(&model, 1e-3);
    let batch = batch(128, 784, &g);
    let step = jit(|(model, optimizer): (Mlp, optim::Adam), (x, y): (Tensor, Tensor)| {
        let loss = |m: &Mlp| nn::cross_entropy(&m.forward(&x, Tensor::relu), &y);
        let (loss, gradients) = grad::value_and_grad(loss)(&model);
        (optimizer.update(model, gradients), loss)
    });
    let mut state = (model, optimizer);
    let times = time(rounds, 1, || step.call_mut(&mut state, &batch).map(drop))?;
    Ok(times.of(&step.lower_mut(&state, &batch)?))
}

fn workload(name: &str, rounds: usize) -> Result<Option<Times>> {
    let g = Generator::new(0);
    Ok(Some(match name {
        "tiny_call_overhead" => {
            let x = g.normal([4], 0.0, 1.0);
            let f = jit(|x: Tensor| x * 2.0 + 1.0);
            time(rounds, 10_000, || f.call(&x).map(drop))?.of(&f.lower(&x)?)
        }
        "deep_chain_1000" => deep_chain(1000, rounds)?,
        "deep_chain_10000" => deep_chain(10_000, rounds)?,
        "digits_step" => digits(rounds)?,
        "mlp_train_step" => mlp(rounds)?,
        "concat_64" => concatenation(64, rounds)?,
        "concat_1000" => concatenation(1000, rounds)?,
        "concat_3000" => concatenation(3000, rounds)?,
        "gelu_chain_64K" => {
            let x = g.normal([65536], 0.0, 1.0);
            let f = jit(|x: Tensor| (x * 1.3 + 0.2).gelu_tanh() * 0.7);
            time(rounds, 20, || f.call(&x).map(drop))?.of(&f.lower(&x)?)
        }
        "softmax_4096x1024" => {
            let x = g.normal([4096, 1024], 0.0, 1.0);
            let f = jit(|x: Tensor| x.softmax(-1));
            time(rounds, 1, || f.call(&x).map(drop))?.of(&f.lower(&x)?)
        }
        "layernorm_8192x768" => {
            let x = g.normal([8192, 768], 0.0, 1.0);
            let layer = nn::LayerNorm::new(768);
            let f = jit(|layer: nn::LayerNorm, x: Tensor| layer.forward(&x));
            time(rounds, 1, || f.call(&layer, &x).map(drop))?.of(&f.lower(&layer, &x)?)
        }
        "stencil_1024" => {
            let x = g.normal([1024, 1024], 0.0, 1.0);
            let f = jit(|x: Tensor| {
                let padded = x.pad(&[(1, 1), (1, 1)], 0.0);
                let shifted = |i: usize| padded.narrow(0, i / 3, 1024).narrow(1, i % 3, 1024) * (1.0 + i as f64);
                (1..9).fold(shifted(0), |sum, i| sum + shifted(i))
            });
            time(rounds, 1, || f.call(&x).map(drop))?.of(&f.lower(&x)?)
        }
        "stack_8x1M" => {
            let xs: Vec<Tensor> = (0..8).map(|_| g.normal([1 << 20], 0.0, 1.0)).collect();
            let f = jit(|xs: Vec<Tensor>| stack(&xs, -1));
            time(rounds, 1, || f.call(&xs).map(drop))?.of(&f.lower(&xs)?)
        }
        _ if name.starts_with("tape_") => return tape::workload(name, rounds),
        _ => match derivatives::workload(name, rounds)? {
            Some(times) => times,
            None => return eager::workload(name, rounds),
        },
    }))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut rounds) = (None, 50);
    let mut names: Vec<String> = WORKLOADS.iter().chain(derivatives::NAMES).map(|w| w.to_string()).collect();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--workload" => name = Some(value()?),
            "--threads" => {
                let mut options = (*options::current()?).clone();
                options.set("THREADS", &value()?)?;
                options::set_default(options);
            }
            "--rounds" => rounds = value()?.parse::<usize>()?.max(1),
            "--eager" => names = eager::names().collect(),
            "--tape" => names = tape::NAMES.iter().map(|w| w.to_string()).collect(),
            // What `cargo bench` passes.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    if let Some(name) = name {
        let Some(t) = workload(&name, rounds)? else {
            return Err(format!("unknown workload {name}; there are {}", names.join(", ")).into());
        };
        let Times { calls, kernels, steps, .. } = t;
        print!(r#"{{"workload": "{name}", "first_s": {:e}, "times": {:?}, "#, t.first, t.rest);
        println!(r#""calls": {calls}, "kernels": {kernels}, "steps": {steps}}}"#);
        return Ok(());
    }
    println!("{:<22} {:>14} {:>14} {:>8} {:>6}", "workload", "compile", "median call", "kernels", "steps");
    for name in &names {
        let Some(t) = workload(name, rounds)? else { continue };
        let median = t.median();
        let (compile, call) = (1e3 * (t.first - median), 1e6 * median);
        println!("{name:<22} {compile:>11.2} ms {call:>11.2} us {:>8} {:>6}", t.kernels, t.steps);
    }
    Ok(())
}
