//! Strict mode, and panics that carry an error.

use crate::dispatch::here;
use crate::error::Error;
use std::any::Any;
use std::cell::RefCell;

thread_local! {
    /// The error of the panic that is unwinding, with its message.
    static PANICKING: RefCell<Option<(String, Error)>> = const { RefCell::new(None) };
    /// The error that was last formatted as `unwrap` does.
    static UNWRAPPED: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Keeps an error that the message of a panic may be made of.
pub(crate) fn unwrapped(error: &Error) {
    let _ = UNWRAPPED.try_with(|u| u.replace(Some(error.clone())));
}

/// True if an ill-typed op is to panic, with the message its error value would have: the option `strict`. Not while an
/// eager op is tried with symbolic extents, which may fail without being the user's mistake.
pub(crate) fn enabled() -> bool {
    runtime::options::read(|o| o.strict).unwrap_or(false) && crate::trace::kind() != Some("eager")
}

/// Panics with the error's message; a transform that catches the panic finds the error again.
pub(crate) fn panic(error: Error) -> ! {
    let message = error.to_string();
    PANICKING.set(Some((message.clone(), error)));
    std::panic::panic_any(message)
}

/// Unwinds with an error to the transform that asked for what failed, which gives the error. Nothing is printed.
pub(crate) fn raise(error: Error) -> ! {
    let message = error.to_string();
    PANICKING.set(Some((message.clone(), error)));
    std::panic::resume_unwind(Box::new(message))
}

/// The error of a caught panic.
pub(crate) fn caught(payload: Box<dyn Any + Send>, function: &'static str) -> Error {
    let message = match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
        (Some(s), _) => s.clone(),
        (_, Some(s)) => s.to_string(),
        _ => "a value that is not text".into(),
    };
    if let Some((text, error)) = PANICKING.take()
        && text == message
    {
        return error;
    }
    // `unwrap` on a `Result<_, Error>` quotes the error, which says more than that somebody unwrapped it.
    if let Some(error) = UNWRAPPED.take()
        && message.ends_with(&error.to_string())
    {
        return error;
    }
    let legal = "a function that returns; see the panic's own message for its line";
    Error::new(crate::Code::Panic, function, format!("the function panicked: {message}"), legal).at(here())
}

/// The error of a panic in the compiler itself; or the error that a rule of a user's op panicked with.
pub(crate) fn bug(payload: Box<dyn Any + Send>, stage: &'static str) -> Error {
    let inner = caught(payload, stage);
    if inner.code() != crate::Code::Panic {
        return inner;
    }
    let inner = inner.observed();
    let rule = inner.rule().replacen("the function panicked: ", "the compiler panicked: ", 1);
    Error::new(crate::Code::Bug, stage, rule, "").note("this is a bug in tracewright, please report it")
}
