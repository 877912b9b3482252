//! Runs an ONNX model on arrays of NumPy: `cargo run --release --example onnx -- MODEL.onnx IN.npz OUT.npz`. Prints, as one line of
//! JSON, how many seconds it took to load the model, to its first result, and for each of the next calls.

use std::time::Instant;
use tracewright::io::{npz, onnx};
use tracewright::{Result, Tensor};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, inputs, outputs] = arguments.as_slice() else {
        eprintln!("usage: onnx MODEL.onnx IN.npz OUT.npz");
        std::process::exit(2);
    };
    let inputs = npz::load(inputs)?;
    let inputs: Vec<(&str, Tensor)> = inputs.iter().map(|(name, t)| (name.as_str(), t.clone())).collect();
    let begin = Instant::now();
    let model = onnx::load(model)?;
    let loaded = begin.elapsed();
    let run = || -> Result<_> {
        let results = model.call(&inputs)?;
        results.values().try_for_each(|t| t.clone().ok().map(drop))?;
        Ok(results)
    };
    let results = run()?;
    let first = begin.elapsed();
    let mut calls: Vec<f64> = Vec::new();
    while calls.len() < 5 || (begin.elapsed() - first).as_secs() < 2 && calls.len() < 1000 {
        let begin = Instant::now();
        run()?;
        calls.push(begin.elapsed().as_secs_f64());
    }
    calls.sort_by(f64::total_cmp);
    npz::save(outputs, &results)?;
    let (loaded, first, call) = (loaded.as_secs_f64(), first.as_secs_f64(), calls[calls.len() / 2]);
    println!("{{\"load\": {loaded}, \"first\": {first}, \"call\": {call}}}");
    Ok(())
}
