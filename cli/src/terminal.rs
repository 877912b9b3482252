//! What a command prints, and how it ends.

use serde_json::Value;
use std::borrow::Cow;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use tracewright::Error;
use tracewright::events::{self, Counters, Event};

/// What a command leaves behind besides files.
pub struct Outcome {
    pub out: Out,
    /// Goes to standard error.
    pub err: String,
    pub code: u8,
}

/// What goes to standard output.
pub enum Out {
    /// For people: control characters are escaped.
    Text(String),
    Json(Value),
}

/// Why a command did not do what it was told to, and the code that the program exits with.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub code: u8,
}

impl Failure {
    /// The command line is wrong.
    pub fn usage(message: String) -> Failure {
        Failure { message, code: 2 }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure { message, code: 1 }
    }
}

impl From<String> for Outcome {
    fn from(text: String) -> Outcome {
        Outcome { out: Out::Text(text), err: String::new(), code: 0 }
    }
}

impl From<Value> for Outcome {
    fn from(value: Value) -> Outcome {
        Outcome { out: Out::Json(value), err: String::new(), code: 0 }
    }
}

/// Prints what a command left.
pub fn finish(outcome: Result<Outcome, Failure>) -> ExitCode {
    let failed = |f: Failure| Outcome { out: Out::Text(String::new()), err: format!("{}\n", f.message), code: f.code };
    let Outcome { out, err, code } = outcome.unwrap_or_else(failed);
    let out = match out {
        Out::Text(text) => printable(&text),
        Out::Json(value) => format!("{value:#}\n"),
    };
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    let err = printable(&(warnings() + &err));
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

/// What the user asked for and did not get, or is to report: the first of each kind, and how many there are.
fn warnings() -> String {
    let concerns = |e: &Event| matches!(e, Event::DumpFailed | Event::CacheRefused | Event::Bug);
    // The library has printed what TRACEWRIGHT_LOG selects.
    let silent = |e: &Event| !events::selected(e.artefact());
    let warning = |event: Event| {
        let all = Counters::process()[event];
        let first = events::recent().into_iter().find(|record| record.event == event)?;
        let more = if all > 1 { format!(" (and {} more)", all - 1) } else { String::new() };
        Some(format!("warning: {}: {}{more}\n", event.name(), first.reason))
    };
    Event::ALL.into_iter().filter(|e| concerns(e) && silent(e)).filter_map(warning).collect()
}

/// A name of a file as it is shown: in one line, and without what a terminal obeys.
pub fn visible(name: &str) -> String {
    escaped(name, |c| c.is_control())
}

/// A text of lines as it is shown.
fn printable(text: &str) -> String {
    escaped(text, |c| c.is_control() && c != '\n')
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> String {
    let show = |c: char| if is_bad(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(show).collect()
}

/// An error of the library, without the line of this program that asked.
pub fn said(e: Error) -> String {
    let own = own_place(&e);
    let line = |line: String| match own.as_ref().and_then(|own| line.strip_prefix(own.as_str())) {
        None => Some(line),
        Some(rest) => rest.strip_prefix(" in ").map(|scope| format!("  in {scope}")),
    };
    lines(&e).into_iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// The place of an error in its text if that is a line of this program: those of others come from files.
pub fn own_place(e: &Error) -> Option<String> {
    let own = e.location().filter(|location| matches!(location.file, Cow::Borrowed(_)));
    own.map(|location| format!("  at {location}"))
}

/// The lines of an error; those of names in it are escaped.
pub fn lines(e: &Error) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in e.to_string().split('\n') {
        let begins = ["  at ", "  legal: ", "  note: "].iter().any(|begin| line.starts_with(begin));
        match lines.last_mut() {
            Some(last) if !begins => *last += &format!("\\n{line}"),
            _ => lines.push(line.into()),
        }
    }
    lines
}

/// Calls `f` while a line on the terminal says what goes on.
pub fn working<R>(what: &str, f: impl FnOnce() -> R) -> R {
    let spinner = indicatif::ProgressBar::new_spinner().with_message(what.to_string());
    spinner.enable_steady_tick(Duration::from_millis(100));
    let result = f();
    spinner.finish_and_clear();
    result
}
