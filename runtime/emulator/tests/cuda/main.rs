//! The emulator through cudarc, the way the runtime uses it.
#![cfg(target_os = "linux")]
// Every such block is a call of the driver with handles that it gave and that still live.
#![allow(clippy::undocumented_unsafe_blocks)]

mod compiler;
mod device;
mod driver;
mod graphs;
