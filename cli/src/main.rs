//! The `tracewright` program: looks at, runs, differentiates, converts and measures models in files.
//!
//! It exits with 0, with 1 and a message for what a file or its run got wrong, with 2 for a wrong command line, and with 3 if
//! `compare` found a difference.
#![forbid(unsafe_code)]

mod bench;
mod compare;
mod convert;
mod grad;
mod inspect;
mod model;
mod run;
mod tensors;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tracewright::options::{self, with_options};

/// Looks at, runs, differentiates, converts and measures models: saved graphs (.tw), ONNX (.onnx), graphs in text form (.ir).
#[derive(Parser)]
#[command(name = "tracewright", version, about, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Tensors are read from and written to .safetensors and .npz, by the names that `inspect` lists.
Settings are environment variables: `tracewright options` lists them.
Exit codes: 0 done; 1 something is wrong with a file or its run; 2 a wrong command line; 3 `compare` found a difference.";

#[derive(Subcommand)]
enum Command {
    /// Says what a model takes and yields, its ops, parameters, operations, memory and kernels.
    Inspect {
        #[command(flatten)]
        model: Model,
        #[command(flatten)]
        symbols: Symbols,
        #[command(flatten)]
        examples: Examples,
        /// Prints a stage of its compilation instead.
        #[arg(long, value_enum, conflicts_with = "json")]
        stage: Option<Stage>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints the graph, with the origin of each op.
    ///
    /// A model of ONNX whose shapes depend on values is several graphs; all are printed for the inputs that are given.
    Ir {
        #[command(flatten)]
        model: Model,
        #[command(flatten)]
        examples: Examples,
        /// After the last run of a pass, such as `fuse`, that changed it; `inspect --stage timing` lists the passes.
        #[arg(long, value_name = "PASS")]
        after: Option<String>,
    },
    /// Runs a model on inputs from a file, or on random ones.
    Run {
        #[command(flatten)]
        model: Model,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        how: How,
        /// Writes the outputs under their names to a .safetensors or .npz file, instead of printing them.
        #[arg(long, value_name = "FILE")]
        outputs: Option<PathBuf>,
        /// Writes the model with the state that the run leaves, as a saved graph.
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Prints JSON: the outputs' names, types, and how long the run took.
        #[arg(long)]
        json: bool,
    },
    /// Gradients: prints the graph that yields that of a scalar output, or with --inputs computes those of any outputs.
    ///
    /// The inputs then also have a cotangent `cot_<output>` for each output to differentiate, and the outputs `grad_<input>` for
    /// every float argument.
    Grad {
        #[command(flatten)]
        model: Model,
        /// Arguments and cotangents, a .safetensors or .npz file.
        #[arg(long, value_name = "FILE", requires = "outputs")]
        inputs: Option<PathBuf>,
        /// Where gradients go, a .safetensors or .npz file.
        #[arg(long, value_name = "FILE", requires = "inputs")]
        outputs: Option<PathBuf>,
        /// Gradients by the state of the model too, which its parameters are.
        #[arg(long, requires = "inputs")]
        parameters: bool,
        #[command(flatten)]
        how: How,
    },
    /// Writes a model as a saved graph (.tw) or text (.ir), or tensors as .safetensors or .npz.
    Convert {
        /// A model, or tensors: .safetensors, an index of shards, .npz.
        from: PathBuf,
        /// What to write; the ending says as what.
        to: PathBuf,
        #[command(flatten)]
        examples: Examples,
        /// Makes the state of a model constants.
        #[arg(long)]
        freeze: bool,
    },
    /// Measures loading, compiling, the first call and later ones.
    Bench {
        #[command(flatten)]
        model: Model,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        how: How,
        /// How many calls are timed.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        calls: u32,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compares compiled code with the interpreter, op by op, and names the first op that differs by more than rounding.
    ///
    /// It exits with 3 if one does, and then prints what does to standard error, or with --json all to standard output.
    Compare {
        #[command(flatten)]
        model: Model,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        how: How,
        /// Prints JSON, with all ops.
        #[arg(long)]
        json: bool,
    },
    /// Prints the settings, which are environment variables.
    Options,
}

#[derive(Args)]
struct Model {
    /// A saved graph (.tw), a model of ONNX (.onnx), or a graph in text form (`-` for standard input).
    #[arg(value_name = "MODEL")]
    path: PathBuf,
}

/// What a run computes with.
#[derive(Args)]
struct Inputs {
    /// Inputs by name, a .safetensors or .npz file; random ones if there is none.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "dim"])]
    inputs: Option<PathBuf>,
    /// Seed of random inputs: normal floats, small integers, bools.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    symbols: Symbols,
}

/// What a model of ONNX is traced for.
#[derive(Args)]
struct Examples {
    /// Inputs by name, a .safetensors or .npz file, that a model of ONNX is traced for; random ones if there is none. They are
    /// needed where shapes depend on their values.
    #[arg(long = "inputs", value_name = "FILE")]
    examples: Option<PathBuf>,
}

#[derive(Args, Default)]
struct Symbols {
    /// The value of a symbol, such as `B=4`; by default 2, or the nearest that its bounds allow.
    #[arg(long, value_name = "SYMBOL=EXTENT", value_parser = extent)]
    dim: Vec<(String, usize)>,
}

#[derive(Args, Default)]
struct How {
    /// Where it runs: `cpu` or `cuda:N`.
    #[arg(long)]
    device: Option<String>,
    /// How many threads it uses.
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// Compiled, or op by op in the interpreter.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Ends with an error after so many seconds: a loop of a model may have no end.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    limit: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Compiled,
    Interpreted,
}

/// A stage of a compilation.
#[derive(Clone, Copy, ValueEnum)]
enum Stage {
    /// The graph after each pass that changed it.
    Passes,
    /// The program: buffers and steps.
    Program,
    /// Kernels.
    Kernels,
    /// Kernels as Cranelift IR.
    Clif,
    /// Kernels as machine code.
    Asm,
    /// Times of passes, lowering and code generation.
    Timing,
}

impl How {
    /// Calls `f` with the settings in force.
    fn apply<R>(&self, f: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
        if let Some(limit) = self.limit {
            end_after(limit);
        }
        let mut settings = (*options::current().map_err(|e| format!("error: {e}"))?).clone();
        let jit = self.mode.map(|mode| if mode == Mode::Compiled { "on" } else { "off" }.to_string());
        for (name, value) in [("DEVICE", &self.device), ("THREADS", &self.threads), ("JIT", &jit)] {
            if let Some(value) = value {
                settings.set(name, value).map_err(|e| format!("error: {e}"))?;
            }
        }
        with_options(settings, f)
    }
}

/// Ends the program with an error, whatever it does then.
fn end_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        let _ = writeln!(std::io::stderr().lock(), "error: it did not end within {limit:?}; --limit allows no more");
        std::process::exit(1);
    });
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

fn extent(text: &str) -> Result<(String, usize), String> {
    let (symbol, value) = text.split_once('=').ok_or("not of the form SYMBOL=EXTENT")?;
    let value = value.parse().map_err(|_| format!("`{value}` is not an extent"))?;
    Ok((symbol.into(), value))
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Inspect { model, symbols, examples, stage: None, json } => {
            inspect::summary(&model.path, &symbols, examples.examples.as_deref(), json)
        }
        Command::Inspect { model, examples, stage: Some(stage), .. } => {
            inspect::stage(&model.path, stage, examples.examples.as_deref())
        }
        Command::Ir { model, examples, after } => {
            inspect::graph(&model.path, after.as_deref(), examples.examples.as_deref())
        }
        Command::Run { model, inputs, how, outputs, save, json } => {
            let to = run::To { outputs: outputs.as_deref(), save: save.as_deref(), json };
            how.apply(|| run::run(&model.path, &inputs, &to))
        }
        Command::Grad { model, inputs: Some(inputs), outputs: Some(outputs), parameters, how } => {
            how.apply(|| grad::compute(&model.path, &inputs, &outputs, parameters))
        }
        Command::Grad { model, .. } => grad::graph(&model.path),
        Command::Convert { from, to, examples, freeze } => {
            convert::convert(&from, &to, freeze, examples.examples.as_deref())
        }
        Command::Bench { model, inputs, how, calls, json } => {
            how.apply(|| bench::bench(&model.path, &inputs, calls, json))
        }
        Command::Compare { model, inputs, how, json } => {
            return finish(how.apply(|| compare::compare(&model.path, &inputs, json)));
        }
        Command::Options => Ok(options::markdown()),
    };
    finish(outcome.map(|out| Outcome { out, err: String::new(), code: 0 }))
}

/// What a command prints, and the code that it exits with.
struct Outcome {
    out: String,
    err: String,
    code: u8,
}

fn finish(outcome: Result<Outcome, String>) -> ExitCode {
    let Outcome { out, err, code } =
        outcome.unwrap_or_else(|message| Outcome { out: String::new(), err: format!("{message}\n"), code: 1 });
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    let _ = std::io::stderr().lock().write_all(err.as_bytes());
    match written {
        // A reader that went away is nobody's fault.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "error: standard output: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(code),
    }
}

/// An error of the library, without the line of this program that asked.
fn said(e: tracewright::Error) -> String {
    let own = concat!("  at ", env!("CARGO_MANIFEST_DIR"));
    let text = e.to_string();
    // A node of a model is a scope.
    let line = |line: &str| match line.starts_with("  at cli/src/") || line.starts_with(own) {
        true => line.split_once(" in ").map(|(_, scope)| format!("  in {scope}")),
        false => Some(line.to_string()),
    };
    text.lines().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Calls `f` while a line on the terminal says what goes on.
fn working<R>(what: &str, f: impl FnOnce() -> R) -> R {
    let spinner = indicatif::ProgressBar::new_spinner().with_message(what.to_string());
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    let result = f();
    spinner.finish_and_clear();
    result
}
