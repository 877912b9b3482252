//! Runs tests on a target: `cargo run -p tracewright-emulator --example on -- emulator cargo test --features cuda --test eager`.
//!
//! Targets are `interpreter`, `cpu`, `cuda` (a GPU) and `emulator`. The command sees them as a user would choose them, so it may
//! be any that has tensors. Where there is no GPU the tests of `cargo test` are counted and skipped; `TW_TEST_SKIPS=fail` makes that
//! a failure.
#![cfg(target_os = "linux")]

use cudarc::driver::{result, sys};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

const TARGETS: &str = "interpreter, cpu, cuda, emulator";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(target), Some(program)) = (arguments.next(), arguments.next()) else {
        eprintln!("on: a target ({TARGETS}) and a command are needed");
        return ExitCode::from(2);
    };
    let arguments: Vec<OsString> = arguments.collect();
    let mut command = Command::new(&program);
    command.args(&arguments);
    match target.to_str() {
        Some("interpreter") => _ = command.env("TRACEWRIGHT_JIT", "off"),
        Some("cpu") => {}
        Some("cuda") => {
            if let Err(why) = gpu() {
                return skip(&program, &arguments, &why);
            }
            command.env("TRACEWRIGHT_DEVICE", "cuda:0").env("TW_TEST_GPU", "real");
        }
        Some("emulator") => match library_path() {
            // The emulator keeps what it compiles; its machine code is not that of a GPU.
            Ok(path) => {
                command
                    .env("LD_LIBRARY_PATH", path)
                    .env("TRACEWRIGHT_DEVICE", "cuda:0")
                    .env("TRACEWRIGHT_CACHE", "off");
            }
            Err(why) => return skip(&program, &arguments, &why),
        },
        _ => {
            eprintln!("on: {} is no target; there are {TARGETS}", target.display());
            return ExitCode::from(2);
        }
    }
    let why = command.exec();
    eprintln!("on: {} does not start: {why}", program.display());
    ExitCode::FAILURE
}

/// Why there is no GPU.
fn gpu() -> Result<(), String> {
    // SAFETY: it only looks whether the library is there.
    if !unsafe { sys::is_culib_present() } {
        return Err("there is no driver of CUDA".into());
    }
    let count = result::init().and_then(|()| result::device::get_count());
    match count {
        Ok(n) if n > 0 => Ok(()),
        Ok(_) => Err("there is no GPU".into()),
        Err(e) => Err(format!("there is no GPU: {e:?}")),
    }
}

/// Where libraries are looked for: the emulator's before what is there, since cargo needs its own.
fn library_path() -> Result<OsString, String> {
    let mut folders = vec![emulator::folder()?];
    folders.extend(std::env::var_os("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths));
    std::env::join_paths(folders).map_err(|e| e.to_string())
}

/// Counts the tests of a command that cannot run.
fn skip(program: &OsString, arguments: &[OsString], why: &str) -> ExitCode {
    let own = arguments.iter().any(|a| a == "--");
    let listed = Command::new(program)
        .args(arguments)
        .args((!own).then_some("--"))
        .args(["--list", "--format=terse"])
        .stderr(Stdio::inherit())
        .output();
    let Ok(listed) = listed.inspect_err(|e| eprintln!("on: {} does not start: {e}", program.display())) else {
        return ExitCode::FAILURE;
    };
    if !listed.status.success() {
        eprintln!("on: {} lists no tests", program.display());
        return ExitCode::FAILURE;
    }
    let count = String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.ends_with(": test")).count();
    println!("skipped: {count} tests, since {why}");
    match std::env::var_os("TW_TEST_SKIPS").is_some_and(|v| v == "fail") {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
