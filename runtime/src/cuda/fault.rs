//! What goes wrong on a device.

use super::gpu::Gpu;
use crate::device::{Device, DeviceError};
use cudarc::driver::sys::CUresult;
use ir::program::Program;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Calls whose steps are remembered: more than can wait in a stream at a time.
const REMEMBERED: usize = 1024;

/// A failed call of the driver.
pub(super) type Code = CUresult;

/// The outcome of a call of the driver.
pub(super) fn outcome(code: CUresult) -> Result<(), Code> {
    if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(code) }
}

/// The driver's name for a failure, and its words.
pub(super) fn described(code: Code) -> String {
    let text = |get: unsafe fn(CUresult, *mut *const c_char) -> CUresult| {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the driver writes the address of a constant string, or fails.
        let known = unsafe { get(code, &raw mut text) } == CUresult::CUDA_SUCCESS && !text.is_null();
        // SAFETY: such a string lives as long as the driver, which is never closed.
        known.then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    };
    let name = text(cudarc::driver::sys::cuGetErrorName).unwrap_or_else(|| format!("{code:?}"));
    match text(cudarc::driver::sys::cuGetErrorString) {
        Some(words) => format!("{name} ({words})"),
        None => name,
    }
}

/// True if the failure is known to stay: the context cannot be used after it.
fn is_fatal(code: Code) -> bool {
    use CUresult::*;
    matches!(
        code,
        CUDA_ERROR_ILLEGAL_ADDRESS
            | CUDA_ERROR_LAUNCH_TIMEOUT
            | CUDA_ERROR_ASSERT
            | CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUDA_ERROR_MISALIGNED_ADDRESS
            | CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUDA_ERROR_INVALID_PC
            | CUDA_ERROR_LAUNCH_FAILED
            | CUDA_ERROR_ECC_UNCORRECTABLE
            | CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUDA_ERROR_DEINITIALIZED
            | CUDA_ERROR_SYSTEM_NOT_READY
            | CUDA_ERROR_CONTAINED
            | CUDA_ERROR_TENSOR_MEMORY_LEAK
            | CUDA_ERROR_MPS_CLIENT_TERMINATED
    )
}

/// True if the failure says something about what was asked for, and nothing about the device.
fn is_plain(code: Code) -> bool {
    use CUresult::*;
    matches!(
        code,
        CUDA_ERROR_OUT_OF_MEMORY | CUDA_ERROR_INVALID_VALUE | CUDA_ERROR_INVALID_HANDLE | CUDA_ERROR_NOT_FOUND
    )
}

/// The steps of a program as people know them.
pub(super) struct Labels(Vec<String>);

impl Labels {
    pub fn of(program: &Program) -> Labels {
        let label = |name: &str, at: Option<String>| match at {
            Some(at) => format!("{name} of {} at {at}", program.name),
            None => format!("{name} of {}", program.name),
        };
        let steps = program.all_steps();
        Labels(steps.iter().map(|(_, s)| label(&s.name, s.origins.first().map(ToString::to_string))).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Which steps the last calls have asked for. Each has a number of the device, which its launch writes down when it begins.
#[derive(Default)]
pub(super) struct Journal(Mutex<Calls>);

/// The number of the next step, and the calls by the number of their first one.
#[derive(Default)]
struct Calls {
    next: u32,
    last: VecDeque<(u32, Arc<Labels>)>,
    /// Those that were recorded, and come again.
    recorded: Vec<(u32, Arc<Labels>)>,
}

impl Journal {
    /// The number of a call's first step; the others follow.
    pub fn enter(&self, labels: &Arc<Labels>) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Calls { next, last, .. } = &mut *all;
        // 0 stands for no step.
        let first = if *next == 0 || next.checked_add(labels.len() as u32).is_none() { 1 } else { *next };
        *next = first + labels.len() as u32;
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back((first, labels.clone()));
        first
    }

    /// Remembers a call until it is [forgotten](Journal::forget): its recording has the same numbers whenever it runs.
    pub fn keep(&self, first: u32, labels: &Arc<Labels>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.recorded.push((first, labels.clone()));
    }

    /// See [`Journal::keep`].
    pub fn forget(&self, first: u32) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.recorded.retain(|call| call.0 != first);
    }

    /// The step of that number.
    fn step(&self, number: u32) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = |(first, labels): &&(u32, Arc<Labels>)| (*first..first + labels.len() as u32).contains(&number);
        let (first, labels) = all.last.iter().rev().find(held).or_else(|| all.recorded.iter().find(held))?;
        labels.0.get((number - first) as usize).cloned()
    }
}

impl Gpu {
    /// The error of a failure while something was done. After a fatal one every further use of the device is an error.
    pub(super) fn fault(&self, code: Code, doing: impl fmt::Display) -> DeviceError {
        let fatal = is_fatal(code) || (!is_plain(code) && self.stays_broken());
        let mut message = format!("{doing}: {}", described(code));
        if fatal {
            // Without a driver, what it allocated is gone too.
            let over = matches!(code, Code::CUDA_ERROR_DEINITIALIZED | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED);
            let step = (!over).then(|| self.progress().map(|number| self.journal.step(number)));
            message += &match step {
                Some(Some(Some(step))) => format!("; the last step that began is {step}"),
                Some(Some(None)) => "; the last step that began is of a call long ago".into(),
                Some(None) => "; no step of a program had begun".into(),
                None => String::new(),
            };
            message = self.lost.get_or_init(|| message).clone();
        }
        DeviceError { device: Device::Cuda(self.number()), message, usable: !fatal }
    }

    /// True if the context fails at whatever it is asked for.
    fn stays_broken(&self) -> bool {
        // SAFETY: the stream is the device's, and never destroyed.
        let again = unsafe { cudarc::driver::sys::cuStreamQuery(self.compute) };
        !matches!(again, Code::CUDA_SUCCESS | Code::CUDA_ERROR_NOT_READY)
    }

    /// The error of a library that has failed; whether the device has, its next call says.
    pub(super) fn failed(&self, what: impl fmt::Display) -> DeviceError {
        DeviceError { device: Device::Cuda(self.number()), message: what.to_string(), usable: true }
    }

    /// An error if the device has failed before.
    pub(super) fn alive(&self) -> Result<(), DeviceError> {
        match self.lost.get() {
            None => Ok(()),
            Some(first) => Err(DeviceError {
                device: Device::Cuda(self.number()),
                message: format!("it has failed before and cannot be used by this process any more: {first}"),
                usable: false,
            }),
        }
    }
}
