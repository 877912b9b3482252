//! The `tracewright` program: looks at, runs and differentiates graphs in text form.
//!
//! It exits with 0, with 1 and a message for what a file or its run got wrong, and with 2 for a wrong command line.
#![forbid(unsafe_code)]

mod commands;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::process::ExitCode;

/// Looks at, runs and differentiates tensor graphs in text form.
#[derive(Parser)]
#[command(name = "tracewright", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reads and verifies a graph, and prints it or a stage of its compilation.
    Inspect {
        /// A file with a graph, or `-` for standard input.
        file: String,
        /// What to print.
        #[arg(long, value_enum, default_value = "graph")]
        stage: Stage,
    },
    /// Runs a graph on random inputs and prints its outputs as NumPy prints arrays.
    Run {
        /// A file with a graph, or `-` for standard input.
        file: String,
        #[command(flatten)]
        inputs: Inputs,
        /// Whether to compile it or to run it in the interpreter.
        #[arg(long, value_enum, default_value = "on")]
        jit: Switch,
    },
    /// Prints the graph that also yields the gradient of its only output, a float scalar, by each float input.
    Grad {
        /// A file with a graph, or `-` for standard input.
        file: String,
    },
    /// Prints the settings, which are environment variables.
    Options,
}

/// What a run computes with.
#[derive(Args)]
struct Inputs {
    /// Seed of the random inputs: normal floats, small integers, bools.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The value of a symbol, such as `B=4`; by default 2, or the nearest that its bounds allow.
    #[arg(long, value_name = "SYMBOL=EXTENT", value_parser = extent)]
    dim: Vec<(String, usize)>,
}

/// A stage of a compilation.
#[derive(Clone, Copy, ValueEnum)]
enum Stage {
    /// The graph as it was read, with the origin of each op.
    Graph,
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

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn extent(text: &str) -> Result<(String, usize), String> {
    let (symbol, value) = text.split_once('=').ok_or("not of the form SYMBOL=EXTENT")?;
    let value = value.parse().map_err(|_| format!("`{value}` is not an extent"))?;
    Ok((symbol.into(), value))
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Inspect { file, stage } => commands::inspect(&file, stage),
        Command::Run { file, inputs, jit } => commands::run(&file, &inputs, jit == Switch::On),
        Command::Grad { file } => commands::grad(&file),
        Command::Options => Ok(commands::options()),
    };
    match outcome {
        Ok(text) => {
            // A reader that went away is nobody's fault.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(message) => {
            let _ = writeln!(std::io::stderr().lock(), "{message}");
            ExitCode::FAILURE
        }
    }
}
