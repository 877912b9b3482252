//! The device that tests run on.

use std::process::Command;
use std::sync::OnceLock;
use tracewright::options::{self, Options};
use tracewright::{Device, Result};

/// The device, or `None`, with a line that says so, where there is neither a GPU nor a C++ compiler for the emulator.
pub fn device() -> Option<Device> {
    static FOUND: OnceLock<std::result::Result<Device, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        if is_real() {
            return Ok(Device::cuda(0).expect("a GPU"));
        }
        // Its machine code is not that of a GPU, and it keeps that itself.
        let mut options = Options::default();
        options.set("CACHE", "off").expect("a setting");
        options::set_default(options);
        emulator::install().map(|()| Device::cuda(0).expect("the emulator has a device"))
    });
    found.as_ref().map_err(|why| emulator::skip(why)).ok().copied()
}

/// True if tests run on a real GPU.
pub fn is_real() -> bool {
    std::env::var("TW_TEST_GPU").is_ok_and(|v| v == "real")
}

/// What `f` makes on the device and on the processor.
pub fn both<R>(f: impl Fn() -> Result<R>) -> Option<(R, R)> {
    let device = device()?;
    Some((device.scope(&f).expect("on the device"), f().expect("on the processor")))
}

/// Runs that ignored test in a process of its own, where the device is the emulator.
pub fn apart(name: &str) {
    if device().is_none() || is_real() {
        return;
    }
    let this = std::env::current_exe().expect("a path");
    let output = Command::new(this).args(["--exact", name, "--ignored", "--nocapture"]).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
