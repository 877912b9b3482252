//! Trains a small network on handwritten digits: forward, backward, clipping and AdamW's update as one compiled step
//! whose parameters are updated in place.
//!
//! `cargo run --release --example digits` prints the accuracy on 360 held-out images, the compile time, the time per
//! step compiled and interpreted, and the kernels of a step. It fails below 95 % or if anything was interpreted.

use flate2::read::GzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::io::Read;
use std::time::{Duration, Instant};
use tracewright::events::{Counters, Event};
use tracewright::options::{Options, with_options};
use tracewright::{Generator, Tensor, Tree, grad, jit, nn, optim};

const DATA: &[u8] = include_bytes!("data/digits.csv.gz");
const HELD_OUT: usize = 360;
const BATCH: usize = 64;
const EPOCHS: usize = 40;
const CLASSES: usize = 10;
const PIXELS: usize = 64;

#[derive(Tree, Clone)]
struct Mlp {
    hidden: nn::Linear,
    out: nn::Linear,
}

impl Mlp {
    fn new(generator: &Generator) -> Mlp {
        Mlp { hidden: nn::Linear::new(PIXELS, 64, generator), out: nn::Linear::new(64, CLASSES, generator) }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.out.forward(&self.hidden.forward(x).gelu())
    }
}

type State = (Mlp, optim::AdamW);

fn step((model, optimizer): State, (x, y): (Tensor, Tensor)) -> (State, Tensor) {
    let loss = |m: &Mlp| nn::cross_entropy(&m.forward(&x), &y);
    let (loss, gradients) = grad::value_and_grad(loss)(&model);
    let (gradients, _norm) = optim::clip_grad_norm(gradients, 1.0);
    let (model, optimizer) = optimizer.update(model, gradients);
    ((model, optimizer), loss)
}

struct Digits {
    images: Vec<f32>,
    labels: Vec<i64>,
}

impl Digits {
    fn load() -> Result<Digits, Box<dyn Error>> {
        let mut text = String::new();
        GzDecoder::new(DATA).read_to_string(&mut text)?;
        let mut digits = Digits { images: Vec::new(), labels: Vec::new() };
        for line in text.lines() {
            let numbers: Vec<f32> = line.split(',').map(str::parse).collect::<Result<_, _>>()?;
            let (label, pixels) = numbers.split_last().ok_or("an empty line")?;
            digits.images.extend(pixels.iter().map(|p| p / 16.0));
            digits.labels.push(*label as i64);
        }
        Ok(digits)
    }

    /// Held-out and training images, with each digit in both in proportion.
    fn split(&self, generator: &Generator) -> tracewright::Result<(Vec<usize>, Vec<usize>)> {
        let order = generator.permutation(self.labels.len()).to_vec::<i64>()?;
        let (mut held_out, mut training) = (Vec::new(), Vec::new());
        for class in 0..CLASSES as i64 {
            let own: Vec<usize> = order.iter().map(|&i| i as usize).filter(|&i| self.labels[i] == class).collect();
            let share = (own.len() * HELD_OUT + self.labels.len() / 2) / self.labels.len();
            held_out.extend(&own[..share]);
            training.extend(&own[share..]);
        }
        // Rounding per class may miss the total by a few.
        while held_out.len() < HELD_OUT {
            held_out.extend(training.pop());
        }
        while held_out.len() > HELD_OUT {
            training.extend(held_out.pop());
        }
        Ok((held_out, training))
    }

    fn batch(&self, indices: &[usize]) -> (Tensor, Tensor) {
        let images: Vec<f32> =
            indices.iter().flat_map(|&i| &self.images[i * PIXELS..(i + 1) * PIXELS]).copied().collect();
        let labels: Vec<i64> = indices.iter().map(|&i| self.labels[i]).collect();
        (Tensor::from_slice(&images, [indices.len(), PIXELS]), Tensor::from_slice(&labels, [indices.len()]))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let digits = Digits::load()?;
    let generator = Generator::new(2);
    let (held_out, training) = digits.split(&generator)?;
    let model = Mlp::new(&generator);
    let optimizer = optim::AdamW::new(&model, 3e-3);
    let mut state: State = (model, optimizer);

    let train = jit(step).named("digits_step");
    let first_batch = digits.batch(&training[..BATCH]);
    let before = Counters::process();

    let batches = training.len() / BATCH;
    let bar = ProgressBar::new((EPOCHS * batches) as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {msg}")?);
    let mut first_call = None;
    let mut times: Vec<Duration> = Vec::new();
    for epoch in 0..EPOCHS {
        let order = generator.permutation(training.len()).to_vec::<i64>()?;
        let mut loss = Tensor::from(0.0f32);
        for chunk in order.chunks_exact(BATCH) {
            let indices: Vec<usize> = chunk.iter().map(|&i| training[i as usize]).collect();
            let batch = digits.batch(&indices);
            let start = Instant::now();
            loss = train.call_mut(&mut state, &batch)?;
            match first_call {
                None => first_call = Some(start.elapsed()),
                Some(_) => times.push(start.elapsed()),
            }
            bar.inc(1);
        }
        bar.set_message(format!("epoch {}, loss {:.4}", epoch + 1, loss.item::<f32>()?));
    }
    bar.finish();
    times.sort();
    let per_step = times[times.len() / 2];
    let compile_time = first_call.unwrap_or_default().saturating_sub(per_step);

    let compiled = train.summary().ok_or("the step was never compiled")?;
    let (x, y) = digits.batch(&held_out);
    let predict = jit(|model: Mlp, x: Tensor| model.forward(&x).argmax(-1));
    let predicted = predict.call(&state.0, &x)?.to_vec::<i64>()?;
    let right = predicted.iter().zip(y.to_vec::<i64>()?).filter(|(p, y)| **p == *y).count();
    let accuracy = 100.0 * right as f64 / held_out.len() as f64;

    let happened = Counters::process().since(&before);
    let interpreted_parts = happened[Event::Fallback] + happened[Event::InterpretedStep];
    let interpreted = interpreted_step(&state, &first_batch)?;

    println!("accuracy            {accuracy:.2} % ({right} of {} held out)", held_out.len());
    println!("compile             {:.1} ms (first call minus median call)", 1e3 * compile_time.as_secs_f64());
    println!("step, compiled      {:.1} us (median of {})", 1e6 * per_step.as_secs_f64(), times.len());
    println!("step, interpreted   {:.1} us", 1e6 * interpreted.as_secs_f64());
    println!("kernels per step    {} and {} matrix products", compiled.launches, compiled.products);

    if let Some(reason) = compiled.fallback {
        return Err(format!("the step was interpreted: {reason}").into());
    }
    if !compiled.compiled || interpreted_parts > 0 {
        return Err(format!("a part of the step was interpreted: {happened}").into());
    }
    if accuracy < 95.0 {
        return Err(format!("accuracy {accuracy:.2} % is below 95 %").into());
    }
    Ok(())
}

/// The median time of a step in the interpreter.
fn interpreted_step(state: &State, batch: &(Tensor, Tensor)) -> Result<Duration, Box<dyn Error>> {
    with_options(Options { jit: false, ..Options::default() }, || {
        let train = jit(step);
        let mut state = state.clone();
        let mut times = Vec::new();
        for _ in 0..6 {
            let start = Instant::now();
            train.call_mut(&mut state, batch)?;
            times.push(start.elapsed());
        }
        times.remove(0);
        times.sort();
        Ok(times[times.len() / 2])
    })
}
