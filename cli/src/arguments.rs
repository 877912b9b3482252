//! The command line.

use crate::tensors;
use crate::terminal::Failure;
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tracewright::Device;
use tracewright::options::{self, Options, REGISTRY, with_options};

/// Looks at, runs, differentiates, converts, measures and compares models in files.
///
/// Models are functions of tensors. They are compiled for the machine that the program runs on, and need neither Python nor the
/// source that made them.
#[derive(Parser)]
#[command(name = "tracewright", version, about, after_help = AFTER)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
A MODEL is
  model.tw     a saved graph, which `Exported::save` or `tracewright convert` wrote
  model.onnx   a model of ONNX
  graph.ir     a graph in text form, as `tracewright convert` writes it; - reads it from standard input
Tensors are in .safetensors and .npz files, by the names that `inspect` lists.

Examples:
  tracewright inspect model.onnx                                what it takes and yields, ops, memory, kernels
  tracewright ir model.onnx --inputs in.npz                     its graphs for these inputs
  tracewright run model.onnx --inputs in.npz --outputs out.npz
  tracewright grad model.tw --inputs in.npz --outputs g.npz     in.npz also has cot_<output>
  tracewright convert model.onnx model.tw
  tracewright bench model.tw --dim batch=8 --threads 4
  tracewright compare model.tw --inputs in.npz                  compiled code against the interpreter, op by op

Settings are environment variables: `tracewright options` lists them.

Exit codes:
  0  done
  1  something is wrong with a file or its run
  2  the command line is wrong
  3  `compare` found a difference";

#[derive(Subcommand)]
pub enum Command {
    /// Says what a model takes and yields, its ops, parameters, operations, memory and kernels.
    #[command(after_help = "\
Examples:
  tracewright inspect model.onnx --dim batch=8
  tracewright inspect model.tw --stage kernels")]
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
        #[command(flatten)]
        form: Form,
    },
    /// Prints the graph, with the origin of each op.
    ///
    /// A model of ONNX whose shapes depend on values is several graphs; all are printed for the inputs that are given.
    #[command(after_help = "\
Examples:
  tracewright ir model.tw --after fuse
  tracewright ir model.onnx --inputs in.npz")]
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
    ///
    /// With --json it prints names and types of the outputs, and how long the run took.
    #[command(after_help = "\
Examples:
  tracewright run model.onnx --inputs in.npz --outputs out.safetensors
  tracewright run step.tw --inputs batch.npz --save step.tw")]
    Run {
        #[command(flatten)]
        model: Model,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        how: How,
        /// Writes the outputs under their names to a .safetensors or .npz file, instead of printing them.
        #[arg(long, value_name = "FILE", value_parser = checked(tensors::writable))]
        outputs: Option<PathBuf>,
        /// Writes the model with the state that the run leaves, as a saved graph (.tw).
        #[arg(long, value_name = "FILE", value_parser = checked(saved_graph))]
        save: Option<PathBuf>,
        #[command(flatten)]
        form: Form,
    },
    /// Gradients: prints the graph that yields that of a scalar output, or with --inputs computes those of any outputs.
    ///
    /// The inputs then also have a cotangent `cot_<output>` for each output to differentiate, and the outputs `grad_<input>` for
    /// every float argument.
    #[command(after_help = "\
Examples:
  tracewright grad loss.ir
  tracewright grad model.onnx --inputs in.npz --outputs gradients.npz --parameters")]
    Grad {
        #[command(flatten)]
        model: Model,
        /// Arguments and cotangents, a .safetensors or .npz file.
        #[arg(long, value_name = "FILE", requires = "outputs", value_parser = checked(tensors::readable))]
        inputs: Option<PathBuf>,
        /// Where gradients go, a .safetensors or .npz file.
        #[arg(long, value_name = "FILE", requires = "inputs", value_parser = checked(tensors::writable))]
        outputs: Option<PathBuf>,
        /// Gradients by the state of the model too, which its parameters are.
        #[arg(long, requires = "inputs")]
        parameters: bool,
        #[command(flatten)]
        how: How,
    },
    /// Writes a model as a saved graph (.tw) or text (.ir), or tensors as .safetensors or .npz.
    #[command(after_help = "\
Examples:
  tracewright convert model.onnx model.tw --freeze
  tracewright convert model.safetensors.index.json model.npz")]
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
    #[command(after_help = "\
Examples:
  tracewright bench model.onnx --dim batch=8 --threads 4
  tracewright bench model.tw --inputs in.npz --calls 1000 --json")]
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
        #[command(flatten)]
        form: Form,
    },
    /// Compares compiled code with the interpreter, op by op, and names the first op that differs by more than rounding.
    ///
    /// It exits with 3 if one does, and then prints what does to standard error, or with --json all to standard output.
    #[command(after_help = "\
Examples:
  tracewright compare model.onnx --inputs in.npz
  tracewright compare model.tw --dim batch=3 --json

Exit codes:
  0  they are the same, up to rounding
  1  something is wrong with a file or its run
  2  the command line is wrong
  3  they differ")]
    Compare {
        #[command(flatten)]
        model: Model,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        form: Form,
    },
    /// Prints the settings, which are environment variables.
    #[command(after_help = "\
Example:
  TRACEWRIGHT_LOG=passes,memory tracewright run model.tw")]
    Options,
}

#[derive(Args)]
pub struct Model {
    /// A saved graph (.tw), a model of ONNX (.onnx), or a graph in text form (`-` for standard input).
    #[arg(value_name = "MODEL")]
    pub path: PathBuf,
}

/// What a run computes with.
#[derive(Args)]
pub struct Inputs {
    /// Inputs by name, a .safetensors or .npz file; random ones if there is none.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "dim"], value_parser = checked(tensors::readable))]
    pub inputs: Option<PathBuf>,
    /// Seed of random inputs: normal floats, small integers, bools.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub symbols: Symbols,
}

/// What a model of ONNX is traced for.
#[derive(Args)]
pub struct Examples {
    /// Inputs by name, a .safetensors or .npz file, that a model of ONNX is traced for. They are needed where shapes depend on
    /// their values; all else is traced for types alone.
    #[arg(long = "inputs", value_name = "FILE", value_parser = checked(tensors::readable))]
    pub examples: Option<PathBuf>,
}

#[derive(Args, Default)]
pub struct Symbols {
    /// The value of a symbol, such as `B=4`; by default 2, or the nearest that its bounds allow.
    #[arg(long, value_name = "SYMBOL=EXTENT", value_parser = extent)]
    pub dim: Vec<(String, usize)>,
}

#[derive(Args)]
pub struct Form {
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where a model runs, and for how long.
#[derive(Args)]
pub struct Place {
    /// Where it runs: `cpu` or `cuda:N`.
    #[arg(long, value_parser = device)]
    device: Option<String>,
    /// How many threads it uses: 1 to 256, or `cores`.
    #[arg(long, value_name = "N", value_parser = |text: &str| setting("THREADS", text))]
    threads: Option<String>,
    /// Ends with an error after so many seconds: a loop of a model may have no end.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    limit: Option<Duration>,
}

/// Where and by what a model is run.
#[derive(Args)]
pub struct How {
    #[command(flatten)]
    place: Place,
    /// Compiled, or op by op in the interpreter.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Compiled,
    Interpreted,
}

/// A stage of a compilation.
#[derive(Clone, Copy, ValueEnum)]
pub enum Stage {
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

impl Place {
    /// Calls `f` there.
    pub fn apply<R>(&self, f: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
        self.with(None, f)
    }

    fn with<R>(&self, mode: Option<Mode>, f: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
        if let Some(limit) = self.limit {
            end_after(limit);
        }
        let mut settings = (*options::current().map_err(|e| format!("error: {e}"))?).clone();
        let jit = mode.map(|mode| if mode == Mode::Compiled { "on" } else { "off" }.to_string());
        for (name, value) in [("DEVICE", &self.device), ("THREADS", &self.threads), ("JIT", &jit)] {
            if let Some(value) = value {
                settings.set(name, value).map_err(|e| format!("error: {e}"))?;
            }
        }
        with_options(settings, f)
    }
}

impl How {
    /// Calls `f` there, and in that way.
    pub fn apply<R>(&self, f: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
        self.place.with(self.mode, f)
    }

    /// An error if something is said of a run, which there is only with that option.
    pub fn unused(&self, without: &str) -> Result<(), Failure> {
        let Place { device, threads, limit } = &self.place;
        let given = [
            ("--device", device.is_some()),
            ("--threads", threads.is_some()),
            ("--limit", limit.is_some()),
            ("--mode", self.mode.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => {
                Err(Failure::usage(format!("error: nothing runs without {without}, and {name} is for a run")))
            }
            None => Ok(()),
        }
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

/// Paths that `check` takes.
fn checked(check: fn(PathBuf) -> Result<PathBuf, String>) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(check)
}

fn saved_graph(path: PathBuf) -> Result<PathBuf, String> {
    if path.extension().is_some_and(|e| e == "tw") { Ok(path) } else { Err("a saved graph is a .tw file".into()) }
}

/// A value that the setting of that name takes.
fn setting(name: &str, text: &str) -> Result<String, String> {
    let entry = REGISTRY.iter().find(|entry| entry.name == name);
    entry.map_or(Ok(()), |entry| entry.set(&mut Options::default(), text)).map(|()| text.to_string())
}

fn device(text: &str) -> Result<String, String> {
    device_of(text, cfg!(feature = "cuda"))
}

/// A device that a program with or without GPUs knows.
fn device_of(text: &str, gpus: bool) -> Result<String, String> {
    match text.parse() {
        Ok(Device::Cuda(_)) if !gpus => {
            let how = "`cargo install --path cli --features cuda` builds it with them";
            Err(format!("this program was built without GPUs; {how}"))
        }
        _ => setting("DEVICE", text),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn programs_without_gpus_say_how_to_get_them() {
        assert_eq!(device_of("cuda:1", true), Ok("cuda:1".into()));
        assert_eq!(device_of("cpu", false), Ok("cpu".into()));
        let message = device_of("cuda:1", false).unwrap_err();
        assert!(message.contains("without GPUs; `cargo install --path cli --features cuda`"), "{message}");
    }
}
