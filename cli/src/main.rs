//! The `tracewright` program: looks at, runs, differentiates, converts and measures models in files.
//!
//! It exits with 0, with 1 and a message for what a file or its run got wrong, with 2 for a wrong command line, and with 3 if
//! `compare` found a difference.
#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod compare;
mod convert;
mod grad;
mod inspect;
mod model;
mod run;
mod tensors;
mod terminal;

use arguments::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;
use terminal::{Failure, finish};
use tracewright::options;

fn main() -> ExitCode {
    finish(match Cli::parse().command {
        Command::Inspect { symbols, examples, .. } if examples.examples.is_some() && !symbols.dim.is_empty() => {
            Err(Failure::usage("error: --inputs say all extents, and leave nothing to --dim".into()))
        }
        Command::Inspect { model, symbols, examples, stage: None, form } => {
            inspect::summary(&model.path, &symbols, examples.examples.as_deref(), form.json)
        }
        Command::Inspect { model, symbols, examples, stage: Some(stage), .. } => {
            inspect::stage(&model.path, stage, &symbols, examples.examples.as_deref())
        }
        Command::Ir { model, examples, after } => {
            inspect::graph(&model.path, after.as_deref(), examples.examples.as_deref())
        }
        Command::Run { model, inputs, how, outputs, save, form } => {
            let to = run::To { outputs: outputs.as_deref(), save: save.as_deref(), json: form.json };
            how.apply(|| run::run(&model.path, &inputs, &to))
        }
        Command::Grad { model, inputs: Some(inputs), outputs: Some(outputs), parameters, how } => {
            how.apply(|| grad::compute(&model.path, &inputs, &outputs, parameters))
        }
        Command::Grad { model, how, .. } => how.unused("--inputs").and_then(|()| grad::graph(&model.path)),
        Command::Convert { from, to, examples, freeze } => {
            convert::convert(from, to, freeze, examples.examples.as_deref())
        }
        Command::Bench { model, inputs, how, calls, form } => {
            how.apply(|| bench::bench(&model.path, &inputs, calls, form.json))
        }
        Command::Compare { model, inputs, place, form } => {
            place.apply(|| compare::compare(&model.path, &inputs, form.json))
        }
        Command::Options => Ok(options::markdown().into()),
    })
}
