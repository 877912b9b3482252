//! Everything that users do, on a GPU: a real one where there is one, or the emulator.
//!
//! `TW_TEST_GPU=real` asks for a real one.

mod accuracy;
mod calls;
mod device;
mod epilogues;
mod failures;
mod products;
mod programs;
