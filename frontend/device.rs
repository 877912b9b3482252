//! Devices: where things are made, and what an op runs on.

use crate::dispatch::enter;
use crate::error::{Error, Result};
use crate::tensor::{Identity, Repr, Tensor};
use crate::tree::{Fixed, Tree, Visit};
use runtime::Array;
use std::collections::HashMap;

pub use runtime::Device;
pub use runtime::device::Mark;

/// The array on the device that things are made on.
pub(crate) fn made_here(array: Array) -> Result<Array> {
    match crate::modes::current()?.device() {
        Device::Cpu => Ok(array),
        device => array.to_device(device).map_err(Error::exec),
    }
}

/// The device of what a tensor holds, without running a view; `None` for traced values and errors. And whether it is
/// light, and goes where others are.
fn place(tensor: &Tensor) -> Option<(Device, bool)> {
    match &tensor.0 {
        Repr::Array(a) => Some((a.device(), is_light(a))),
        Repr::View(v) => Some((v.device, false)),
        Repr::Tracked(t) => place(&t.value),
        Repr::Traced(_) | Repr::Error(_) => None,
    }
}

/// The device that a tensor stays on: none of what is light, and goes where others are.
pub(crate) fn fixed_place(tensor: &Tensor) -> Option<Device> {
    place(tensor).filter(|(_, light)| !light).map(|(device, _)| device)
}

/// Scalars and what has no elements.
fn is_light(array: &Array) -> bool {
    array.dims().is_empty() || array.byte_len() == 0
}

/// Finds where the leaves of a tree are: those that are not light say it, and a device before the processor.
#[derive(Default)]
struct Finder {
    light: Option<Device>,
    found: Option<Device>,
}

impl Finder {
    fn look(&mut self, tensor: &Tensor) {
        if let Some((device, light)) = place(tensor) {
            let slot = if light { &mut self.light } else { &mut self.found };
            *slot = slot.filter(|&d| d != Device::Cpu).or(Some(device));
        }
    }

    /// What is light on the processor goes wherever things are made.
    fn device(&self) -> Option<Device> {
        self.found.or(self.light.filter(|&d| d != Device::Cpu))
    }
}

impl Visit for Finder {
    fn leaf(&mut self, tensor: &Tensor) {
        self.look(tensor);
    }
    fn fixed(&mut self, _: Fixed<'_>) {}
}

/// Where the tensors are.
pub(crate) fn of_tensors<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Option<Device> {
    let mut finder = Finder::default();
    tensors.into_iter().for_each(|t| finder.look(t));
    finder.device()
}

/// Calls `f` where the tensors are: things that it makes are made there.
pub(crate) fn among<'a, R>(tensors: impl IntoIterator<Item = &'a Tensor>, f: impl FnOnce() -> R) -> R {
    on(of_tensors(tensors), f)
}

/// The same for arrays.
pub(crate) fn among_arrays<R>(arrays: &[Array], f: impl FnOnce() -> R) -> R {
    let of = |light: bool| {
        let places = arrays.iter().filter(move |a| is_light(a) == light).map(Array::device);
        places.reduce(|first, d| if first == Device::Cpu { d } else { first })
    };
    on(of(false).or_else(|| of(true)), f)
}

/// Where the leaves are that a visitor is shown.
pub(crate) fn of(walk: &dyn Fn(&mut dyn Visit)) -> Option<Device> {
    let mut finder = Finder::default();
    walk(&mut finder);
    finder.device()
}

/// Calls `f` there.
pub(crate) fn where_leaves_are<R>(walk: &dyn Fn(&mut dyn Visit), f: impl FnOnce() -> R) -> R {
    on(of(walk), f)
}

/// Calls `f` with things made on that device, if there is one.
pub(crate) fn on<R>(device: Option<Device>, f: impl FnOnce() -> R) -> R {
    match device {
        Some(device) if runtime::device::current().is_ok_and(|now| now != device) => device.scope(f),
        _ => f(),
    }
}

/// The tree with every tensor on a device; what is there already stays as it is. Leaves that are one tensor (tied weights) are one
/// there too. Cells are shared with the tree, and their values follow the functions that use them.
///
/// ```
/// use tracewright::{Device, Tensor, device};
/// let pair = (Tensor::from(1.0f32), Tensor::from([2.0f32]));
/// let (a, _) = device::to(&pair, Device::Cpu);
/// assert_eq!(a.device(), Device::Cpu);
/// ```
#[track_caller]
pub fn to<T: Tree>(tree: &T, device: Device) -> T {
    let _here = enter();
    let mut moved: HashMap<Identity, Tensor> = HashMap::new();
    tree.map(&mut |t| match t.device() == device {
        true => t.clone(),
        false => match t.identity() {
            Some(identity) => moved.entry(identity).or_insert_with(|| t.to_device(device)).clone(),
            None => t.to_device(device),
        },
    })
}
