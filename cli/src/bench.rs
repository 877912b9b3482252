//! `bench`.

use crate::arguments::Inputs;
use crate::model::{self, Model};
use crate::terminal::{Failure, Outcome, said, working};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use tracewright::{Device, Tensor};

pub fn bench(path: &Path, inputs: &Inputs, calls: u32, json: bool) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let model = Model::open(path, false)?;
    let load = start.elapsed().as_secs_f64();
    let arguments = model::arguments(path, &model, inputs)?.arguments;
    // Waits until a device has them.
    arguments.values().for_each(|t| drop(t.to_device(Device::Cpu)));
    let call = || -> Result<f64, String> {
        let start = Instant::now();
        let outputs = model.call(&arguments)?;
        // Waits for the device, if it is one.
        let done: Result<Vec<Tensor>, _> = outputs.values().map(|t| t.to_device(Device::Cpu).ok()).collect();
        done.map_err(said)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let first = working("compiling and running", call)?;
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} calls, {eta} left").map_err(|e| e.to_string())?;
    let bar = ProgressBar::new(calls.into()).with_style(style);
    let mut times = Vec::new();
    for _ in 0..calls {
        times.push(call()?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    times.sort_by(f64::total_cmp);
    let quantile = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize];
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    if json {
        let times = json!({
            "load": load, "first_call": first, "calls": calls, "mean": mean,
            "min": quantile(0.0), "median": quantile(0.5), "p90": quantile(0.9), "max": quantile(1.0),
        });
        return Ok(times.into());
    }
    let show = |seconds: f64| format!("{:.1?}", std::time::Duration::from_secs_f64(seconds));
    Ok(format!(
        "load {}\nfirst call {} (compiles)\n{calls} calls: median {}, fastest {}, nine of ten within {}, slowest {}\n",
        show(load),
        show(first),
        show(quantile(0.5)),
        show(quantile(0.0)),
        show(quantile(0.9)),
        show(quantile(1.0))
    )
    .into())
}
