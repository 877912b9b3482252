//! Named workloads, timed.
//!
//! `cargo bench --bench workloads` prints a table. With `--workload NAME [--threads N] [--device D] [--rounds R]` it prints one line of
//! JSON, as `benches/compare/compare.py` reads it: the seconds of the first call and of R further ones (each an average over
//! so many calls), and how many kernels were compiled and how many steps a call has. `--eager` prints the table of single
//! ops outside of `jit`, `--tape` of eager code with gradients. With `--device cuda` all of it runs on a GPU, and a timing
//! is over when the GPU is done; it takes so many calls that it lasts 5 ms.

mod eager;
mod programs;
mod tape;

use programs::{Inputs, Mlp};
use std::time::{Duration, Instant};
use tracewright::jit::Lowered;
use tracewright::{Device, Generator, Result, options};

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

/// Times one call, then `rounds` averages over `inner` calls, or over more on a GPU.
fn time(rounds: usize, inner: usize, mut call: impl FnMut() -> Result<()>) -> Result<Times> {
    let device = device();
    let mut timing = |calls: usize| -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        device.synchronize()?;
        Ok(start.elapsed())
    };
    device.synchronize()?;
    let first = timing(1)?.as_secs_f64();
    let mut calls = inner;
    if device != Device::Cpu {
        timing(3)?;
        calls = 1;
        loop {
            let took = (0..5).map(|_| timing(calls)).collect::<Result<Vec<_>>>()?.into_iter().min().unwrap_or_default();
            if took >= LEAST || calls >= 1 << 20 {
                break;
            }
            calls *= (LEAST.as_secs_f64() / took.as_secs_f64()).ceil().clamp(2.0, 100.0) as usize;
        }
    }
    let rest = (0..rounds).map(|_| Ok(timing(calls)?.as_secs_f64() / calls as f64)).collect::<Result<_>>()?;
    Ok(Times { first, rest, calls, kernels: 0, steps: 0 })
}

/// What a timing on a GPU lasts at least.
const LEAST: Duration = Duration::from_millis(5);

/// What all runs on.
fn device() -> Device {
    options::current().map_or(Device::Cpu, |options| options.device)
}

fn inputs() -> Inputs {
    // On a GPU, so many that no call finds its inputs in the cache.
    let sets = |bytes: usize| match device() {
        Device::Cpu => 1,
        _ => ((512 << 20) / bytes.max(1)).clamp(2, 32),
    };
    Inputs { generator: Some(Generator::new(0)), sets }
}

fn workload(name: &str, rounds: usize) -> Result<Option<Times>> {
    if let Some(mut work) = programs::make(name, &inputs()) {
        return Ok(Some(time(rounds, work.calls, &mut work.call)?.of(&(work.lower)()?)));
    }
    if name.starts_with("tape_") { tape::workload(name, rounds) } else { eager::workload(name, rounds) }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut rounds) = (None, 50);
    let mut names: Vec<String> = programs::NAMES.iter().map(|w| w.to_string()).collect();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--workload" => name = Some(value()?),
            "--threads" | "--device" => {
                let mut options = (*options::current()?).clone();
                options.set(&flag[2..].to_uppercase(), &value()?)?;
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
    if let Device::Cuda(n) = options::current()?.device {
        Device::cuda(n)?;
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
