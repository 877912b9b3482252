//! What stands for GPUs where the feature `cuda` is not compiled in: types without values.

use crate::contract::Matmul;
use crate::device::{Device, DeviceError, DeviceMemory};
use crate::error::ExecError;
use crate::executable::Compiled;
use crate::executable::bind::Bound;
use crate::executable::machine::LaunchSize;
use crate::sort::Rows;
use ir::program::Program;
use std::time::Duration;

#[derive(Debug)]
pub(crate) enum Gpu {}

impl Gpu {
    pub fn get(number: usize) -> Result<&'static Gpu, DeviceError> {
        Err(Device::Cuda(number).error("this program was built without the feature `cuda`"))
    }
    pub fn count() -> Result<usize, DeviceError> {
        Gpu::get(0).map(|gpu| match *gpu {})
    }
    pub fn name(&self) -> &str {
        match *self {}
    }
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        match *self {}
    }
    pub fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        match *self {}
    }
    pub fn mark(&self) -> Result<Mark, DeviceError> {
        match *self {}
    }
}

pub(crate) enum Mark {}

impl Mark {
    pub fn is_passed(&self) -> Result<bool, DeviceError> {
        match *self {}
    }
    pub fn wait(&self) -> Result<(), DeviceError> {
        match *self {}
    }
    pub fn since(&self, _: &Mark) -> Result<Duration, DeviceError> {
        match *self {}
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Memory {}

impl Memory {
    pub fn uninit(gpu: &'static Gpu, _: usize) -> Result<Memory, ExecError> {
        match *gpu {}
    }
    pub fn upload(gpu: &'static Gpu, _: &[u8]) -> Result<Memory, ExecError> {
        match *gpu {}
    }
    pub fn download(&self, _: &mut [u8]) -> Result<(), ExecError> {
        match *self {}
    }
    pub fn device(&self) -> Device {
        match *self {}
    }
    pub fn address(&self) -> *mut u8 {
        match *self {}
    }
    pub fn len(&self) -> usize {
        match *self {}
    }
    pub fn is_unique(&self) -> bool {
        match *self {}
    }
}

#[derive(Default)]
pub(crate) struct Replays {}

pub(crate) enum Kernels {}

impl Kernels {
    pub fn device(&self) -> Device {
        match *self {}
    }
    pub fn new(gpu: &'static Gpu, _: &Program, _: bool) -> Result<Kernels, ExecError> {
        match *gpu {}
    }
    pub fn texts(&self, _: usize) -> Vec<(&'static str, &str)> {
        match *self {}
    }
    pub fn describe(&self, _: usize) -> String {
        match *self {}
    }
    pub fn launch(&self, _: usize, _: &[i64]) -> Option<LaunchSize> {
        match *self {}
    }
    pub fn product_scratch(&self, _: &Matmul) -> usize {
        match *self {}
    }
    pub fn sort_scratch(&self, _: &Rows) -> usize {
        match *self {}
    }
    pub fn run(&self, _: &Compiled, _: &Bound, _: &mut [*mut u8]) -> Result<(), ExecError> {
        match *self {}
    }
}
