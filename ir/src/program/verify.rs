//! The verifier of programs: steps read what was written, and the memory plan holds.
//!
//! Invariants, by number as errors name them:
//!
//! 1. What is named by number exists.
//! 2. A launch has the buffers, extents and check sites that its kernel takes, of the kernel's dtypes.
//! 3. Inputs and constants are never written; every other buffer is written by at most one step.
//! 4. A buffer is written before it is read.
//! 5. Buffers that share a slot are not needed at the same time.
//! 6. A slot has room for every buffer in it.
//! 7. An output is read from an input, a constant, or memory of an output, of as many bytes as its type; memory of an
//!    output belongs to one buffer.
//! 8. An output over a donated input has the input's type; it is written by a step that cannot fail any more, after
//!    which nothing reads the input, not even as another output. A product, sort or op with
//!    code of its own does not write over what it reads.
//! 9. Steps that can report an error lie in the fallible prefix: kernels with check sites, ops with code of their own and
//!    interpreted steps.
//! 10. A sort writes i64, of as many elements as it reads, which are those that its extents name.
//! 11. What branches yield, and what loops carry, take apart and stack, are buffers of the types that belong together, and
//!     those that change place from iteration to iteration are moving. A copy is of as many bytes.
//! 12. The bias of a product has its dtype, and one element for each column. Only products of floats have an epilogue.
//!
//! Steps are numbered depth first, so that those inside a branch or loop come after it. What a loop reads from outside is
//! needed until its last step.
//!
//! Not checked: what kernels do with their buffers, which their own verifier and interpreter see to.

use super::{BufferId, Carried, Epilogue, Program, Step, StepKind, Storage};
use crate::DType;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// One broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Its number in the list of the [module](self).
    pub invariant: u32,
    /// What is wrong, with the step or buffer.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.message)
    }
}

/// Checks every invariant and reports all that are broken.
pub fn verify(program: &Program) -> Result<(), Vec<Broken>> {
    let steps = program.all_steps().into_iter().map(|(_, step)| step).collect();
    let mut v = Verifier { program, broken: Vec::new(), steps, lives: vec![Life::default(); program.buffers.len()] };
    v.names();
    // What follows looks things up by number.
    if v.broken.is_empty() {
        v.block(&program.steps, 0, None);
        v.slots();
        v.outputs();
        v.in_place();
    }
    if v.broken.is_empty() { Ok(()) } else { Err(v.broken) }
}

/// The step that writes a buffer, and the last step that reads it.
#[derive(Clone, Copy, Default)]
struct Life {
    written: Option<usize>,
    read: Option<usize>,
}

impl Life {
    /// The last step that needs the buffer's memory.
    fn end(&self) -> Option<usize> {
        self.read.max(self.written)
    }
}

struct Verifier<'a> {
    program: &'a Program,
    broken: Vec<Broken>,
    /// All of them, by number.
    steps: Vec<&'a Step>,
    lives: Vec<Life>,
}

impl Verifier<'_> {
    fn report(&mut self, invariant: u32, message: String) {
        self.broken.push(Broken { invariant, message });
    }

    fn step_name(&self, step: usize) -> String {
        format!("step {step} ({})", self.steps[step].name)
    }

    /// The top-level step that holds a step.
    fn top_of(&self, step: usize) -> usize {
        let depths = self.program.all_steps();
        depths[..=step].iter().filter(|(depth, _)| *depth == 0).count() - 1
    }

    fn names(&mut self) {
        let p = self.program;
        let buffer = |b: &BufferId| b.at() < p.buffers.len();
        for (i, step) in self.steps.clone().into_iter().enumerate() {
            let inside = step.kind.blocks().into_iter().flat_map(|b| &b.yields).all(buffer);
            let exists = match &step.kind {
                StepKind::Launch(l) => l.kernel < p.kernels.len() && l.buffers.iter().all(buffer),
                StepKind::Product(m) => [m.lhs.0, m.rhs.0, m.out.0].iter().chain(&m.epilogue.bias).all(buffer),
                StepKind::Sort(s) => [s.input, s.out].iter().all(buffer),
                StepKind::Opaque(o) => o.inputs.iter().chain(&o.outputs).all(buffer),
                StepKind::Interpret { inputs, outputs, .. } => inputs.iter().chain(outputs).all(buffer),
                StepKind::Copy { from, to } => [from, to].into_iter().all(buffer),
                StepKind::Switch(s) => inside && s.results.iter().chain([&s.choice]).all(buffer),
                StepKind::While(_) => {
                    inside && step.kind.carried().iter().flat_map(Carried::buffers).all(|b| buffer(&b))
                }
                StepKind::Scan(s) => {
                    let carried = s.carried.iter().flat_map(Carried::buffers);
                    let elements = s.scanned.iter().chain(&s.stacked).flat_map(|e| [e.whole, e.element]);
                    inside && carried.chain(elements).chain(s.number).all(|b| buffer(&b))
                }
            };
            if !exists {
                self.report(1, format!("{} names a buffer or kernel that does not exist", self.step_name(i)));
            }
        }
        for (i, b) in p.buffers.iter().enumerate() {
            let exists = match b.storage {
                Storage::Input(n) => n < p.inputs.len(),
                Storage::Output(n) => n < p.outputs.len(),
                Storage::InPlace { output, input } => output < p.outputs.len() && input < p.inputs.len(),
                // Slots are for buffers that some step writes.
                Storage::Constant(_) | Storage::Slot(usize::MAX) | Storage::Moving => true,
                Storage::Slot(n) => n < p.slots.len(),
            };
            if !exists {
                self.report(1, format!("b{i} lies in {:?}, which does not exist", b.storage));
            }
        }
        if p.output_buffers.len() != p.outputs.len() || !p.output_buffers.iter().all(buffer) {
            self.report(1, format!("{} outputs are read from {:?}", p.outputs.len(), p.output_buffers));
        }
    }

    /// Steps of a block that begins with that number, inside a top-level step if not at the top; yields the number after
    /// the last.
    fn block(&mut self, steps: &[Step], first: usize, top: Option<usize>) -> usize {
        let p = self.program;
        let mut number = first;
        for (position, step) in steps.iter().enumerate() {
            let i = number;
            number += 1;
            let top = top.unwrap_or(position);
            self.shape_of(i, step);
            let fallible = match &step.kind {
                StepKind::Launch(l) => p.kernels[l.kernel].sites > 0,
                StepKind::Opaque(_) | StepKind::Interpret { .. } => true,
                _ => false,
            };
            if fallible && top >= p.fallible_prefix {
                let prefix = p.fallible_prefix;
                self.report(9, format!("{} can fail, but only the first {prefix} may", self.step_name(i)));
            }
            let [reads, writes] = p.accesses(&step.kind);
            for b in reads {
                let storage = &p.buffers[b.at()].storage;
                let held = matches!(storage, Storage::Input(_) | Storage::Constant(_) | Storage::Moving);
                // A loop may write inside what it reads there.
                if !held && self.lives[b.at()].written.is_none() && step.kind.blocks().is_empty() {
                    self.report(
                        4,
                        format!("{} reads b{}, which no step before it has written", self.step_name(i), b.0),
                    );
                }
                self.lives[b.at()].read = Some(i);
            }
            for b in writes {
                let held = matches!(p.buffers[b.at()].storage, Storage::Input(_) | Storage::Constant(_));
                if held || self.lives[b.at()].written.is_some() {
                    let what = if held { "is not to be written" } else { "was written before" };
                    self.report(3, format!("{} writes b{}, which {what}", self.step_name(i), b.0));
                }
                self.lives[b.at()].written.get_or_insert(i);
            }
            let inside = step.kind.blocks();
            if inside.is_empty() {
                continue;
            }
            for block in inside {
                number = self.block(&block.steps, number, Some(top));
                for b in &block.yields {
                    self.lives[b.at()].read = Some(number - 1);
                }
            }
            // What comes from outside, and what the step itself writes, is needed until its last iteration is over.
            let [reads, writes] = p.accesses(&step.kind);
            for b in reads.into_iter().chain(writes) {
                self.lives[b.at()].read = Some(number - 1);
            }
        }
        number
    }

    /// What a step says of its buffers.
    fn shape_of(&mut self, i: usize, step: &Step) {
        let p = self.program;
        let ty = |b: BufferId| &p.buffers[b.at()].ty;
        match &step.kind {
            StepKind::Launch(l) => {
                let kernel = &p.kernels[l.kernel];
                let given: Vec<_> = l.buffers.iter().map(|&b| ty(b).dtype).collect();
                let taken: Vec<_> = kernel.params.iter().map(|p| p.dtype).collect();
                let counts = [(l.extents.len(), kernel.extents as usize), (l.sites.len(), kernel.sites as usize)];
                if given != taken || counts.iter().any(|(given, taken)| given != taken) {
                    let what = format!("gives {given:?}, {counts:?}; its kernel takes {taken:?}");
                    self.report(2, format!("{} {what} (extents and sites given, taken)", self.step_name(i)));
                }
            }
            StepKind::Product(m) => {
                let fits = |b: BufferId| ty(b).dtype == m.dtype && ty(b).shape.numel() == m.extents[2];
                let plain = m.epilogue == Epilogue::default();
                if !(plain || m.dtype.is_float()) || !m.epilogue.bias.is_none_or(fits) {
                    let bias = m.epilogue.bias.map_or("none".into(), |b| ty(b).to_string());
                    let what = format!("gives {} columns of {} the bias {bias}", m.extents[2], m.dtype);
                    self.report(12, format!("{} {what}", self.step_name(i)));
                }
            }
            StepKind::Sort(s) => {
                let [from, to] = [s.input, s.out].map(ty);
                let elements = &(&s.extents[0] * &s.extents[1]) * &s.extents[2];
                if to.dtype != DType::I64 || [from, to].iter().any(|t| t.shape.numel() != elements) {
                    let what = format!("sorts {from} to {to} in rows of {:?}", s.extents);
                    self.report(10, format!("{} {what}", self.step_name(i)));
                }
            }
            StepKind::Copy { from, to } if ty(*from).bytes() != ty(*to).bytes() => {
                self.report(11, format!("{} copies {} to {}", self.step_name(i), ty(*from), ty(*to)));
            }
            StepKind::Switch(s) => {
                for block in &s.blocks {
                    let pairs = block.yields.iter().copied().zip(s.results.iter().copied());
                    let pairs: Vec<_> = pairs.collect();
                    if block.yields.len() != s.results.len() {
                        self.report(11, format!("{} has branches of different results", self.step_name(i)));
                    }
                    pairs.into_iter().for_each(|(inner, outer)| self.moves(i, inner, ty(outer).bytes()));
                }
            }
            _ => {}
        }
        for c in step.kind.carried() {
            let bytes = ty(c.result).bytes();
            if ty(c.initial).bytes() != bytes || ty(c.spare).bytes() != bytes {
                self.report(11, format!("{} carries values of different sizes", self.step_name(i)));
            }
            self.moves(i, c.before, bytes.clone());
            self.moves(i, c.after, bytes);
        }
        if let StepKind::Scan(s) = &step.kind {
            for e in s.scanned.iter().chain(&s.stacked) {
                self.moves(i, e.element, ty(e.element).bytes());
                if ty(e.whole).bytes() != &ty(e.element).bytes() * &s.length {
                    let (whole, element) = (ty(e.whole), ty(e.element));
                    let what = format!("takes {} elements {element} of {whole}", s.length);
                    self.report(11, format!("{} {what}", self.step_name(i)));
                }
            }
        }
    }

    /// Checks that a buffer is moving, and of that size.
    fn moves(&mut self, i: usize, b: BufferId, bytes: crate::Dim) {
        let buffer = &self.program.buffers[b.at()];
        if buffer.storage != Storage::Moving || buffer.ty.bytes() != bytes {
            let what = format!("moves b{} of type {}, which is {:?}", b.0, buffer.ty, buffer.storage);
            self.report(11, format!("{} {what}", self.step_name(i)));
        }
    }

    fn slots(&mut self) {
        let p = self.program;
        let mut tenants: HashMap<usize, Vec<(usize, usize, usize)>> = HashMap::new();
        for (i, b) in p.buffers.iter().enumerate() {
            let Storage::Slot(slot) = b.storage else { continue };
            let (Some(begin), Some(end)) = (self.lives[i].written, self.lives[i].end()) else { continue };
            if slot == usize::MAX {
                self.report(1, format!("b{i} is written, but has no place"));
                continue;
            }
            tenants.entry(slot).or_default().push((begin, end, i));
            let (bytes, sizes) = (b.ty.bytes(), &p.slots[slot].sizes);
            let fits = |size: &crate::Dim| (size - &bytes).known().is_some_and(|rest| rest >= 0);
            if !sizes.iter().any(fits) {
                self.report(6, format!("b{i} of {bytes} bytes lies in slot {slot} of {sizes:?}"));
            }
        }
        let mut tenants: Vec<_> = tenants.into_iter().collect();
        tenants.sort();
        for (slot, mut lives) in tenants {
            lives.sort_unstable();
            for pair in lives.windows(2) {
                let ((_, end, a), (begin, _, b)) = (pair[0], pair[1]);
                if begin <= end {
                    let (step, last) = (self.step_name(begin), self.step_name(end));
                    let what = format!("{step} writes b{b} over b{a} in slot {slot}, which is needed until {last}");
                    self.report(5, what);
                }
            }
        }
    }

    fn outputs(&mut self) {
        let p = self.program;
        let mut owners: HashMap<usize, usize> = HashMap::new();
        for (i, b) in p.buffers.iter().enumerate() {
            let (Storage::Output(n) | Storage::InPlace { output: n, .. }) = b.storage else { continue };
            if let Some(other) = owners.insert(n, i) {
                self.report(7, format!("b{other} and b{i} both lie in the memory of output {n}"));
            }
        }
        for (n, (ty, b)) in p.outputs.iter().zip(&p.output_buffers).enumerate() {
            let buffer = &p.buffers[b.at()];
            if buffer.ty.bytes() != ty.bytes() || buffer.ty.dtype != ty.dtype {
                self.report(7, format!("output {n} of type {ty} is read from b{} of type {}", b.0, buffer.ty));
            }
            let written = self.lives[b.at()].written.is_some();
            let has_memory = match buffer.storage {
                Storage::Input(_) | Storage::Constant(_) => true,
                Storage::Output(_) | Storage::InPlace { .. } => written,
                Storage::Slot(_) | Storage::Moving => false,
            };
            if !has_memory {
                self.report(7, format!("output {n} is read from b{}, which is temporary or never written", b.0));
            }
        }
    }

    fn in_place(&mut self) {
        let p = self.program;
        let mut taken: HashMap<usize, usize> = HashMap::new();
        let outputs: HashSet<usize> = p.output_buffers.iter().map(|b| b.at()).collect();
        let mut sources: HashMap<usize, Vec<usize>> = HashMap::new();
        for (i, b) in p.buffers.iter().enumerate() {
            if let Storage::Input(n) = b.storage {
                sources.entry(n).or_default().push(i);
            }
        }
        for (i, b) in p.buffers.iter().enumerate() {
            let Storage::InPlace { input, .. } = b.storage else { continue };
            if b.ty != p.inputs[input] {
                self.report(8, format!("b{i} of type {} takes the memory of input {input}: {}", b.ty, p.inputs[input]));
            }
            if let Some(other) = taken.insert(input, i) {
                self.report(8, format!("b{other} and b{i} both take the memory of input {input}"));
            }
            let Some(written) = self.lives[i].written else { continue };
            if self.top_of(written) < p.fallible_prefix {
                let what = format!("{} writes over input {input} before the last step", self.step_name(written));
                self.report(8, format!("{what} that can fail"));
            }
            for &source in sources.get(&input).map(Vec::as_slice).unwrap_or_default() {
                let product = !matches!(self.steps[written].kind, StepKind::Launch(_) | StepKind::Interpret { .. });
                let late = self.lives[source].read.is_some_and(|r| r > written || (product && r == written));
                if late || outputs.contains(&source) {
                    let step = self.step_name(written);
                    self.report(8, format!("{step} writes b{i} over input {input}, which is read afterwards"));
                }
            }
        }
    }
}
