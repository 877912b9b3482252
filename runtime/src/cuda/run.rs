//! Running programs on a device.

use super::checks::Checks;
use super::fault::{Code, outcome};
use super::graph::Outcome;
use super::kernels::Kernels;
use super::loaded::{self, Arguments, Function, Loaded};
use super::memory::Memory;
use super::product::ProductError;
use super::sort;
use crate::array::Array;
use crate::buffer::Buffer;
use crate::contract::Matmul;
use crate::device::Device;
use crate::error::ExecError;
use crate::events::{self, Event};
use crate::executable::Compiled;
use crate::executable::bind::{Bound, BoundKind, BoundLaunch, BoundStep};
use crate::executable::control::Steps;
use crate::executable::cpu::index_error;
use crate::executable::interpreted;
use crate::options;
use crate::pool;
use codegen::cuda::Run;
use codegen::cuda::library::{Epilogue, Launch};
use cudarc::driver::{result, sys};
use ir::DType;
use ir::program::{Opaque, Program, Step, StepKind, Storage};
use smallvec::SmallVec;
use std::sync::Arc;

impl Kernels {
    /// Runs a program over buffers at those addresses of the device. Where nothing can fail it does not wait for what it has
    /// asked for.
    pub fn run(&self, compiled: &Compiled, bound: &Bound, pointers: &mut [*mut u8]) -> Result<(), ExecError> {
        let loaded = self.of_width(bound.largest)?;
        if !bound.replays.is_ready() {
            self.load_routines(&bound.steps)?;
            bound.replays.set_ready();
        }
        // Loading may drop what belongs to another device.
        self.gpu.enter()?;
        if self.replayable && options::read(|o| o.graphs).unwrap_or(false) {
            match self.replay((compiled, bound), loaded, pointers)? {
                Outcome::Done(checks) => return self.judge((compiled, bound), checks),
                Outcome::Busy => {}
            }
        }
        let room = self.room(compiled, bound)?;
        let checks = self.checks_for(bound)?;
        let place = (self.gpu.compute, self.gpu.journal.enter(&self.labels));
        let mut call = Call::new((self, compiled, bound), loaded, (&room, checks.as_ref()), place, Sink::Run);
        match call.all(&room, pointers) {
            Ok(()) => self.judge((compiled, bound), checks),
            Err(Stop::Error(ExecError::Device(mut e))) if call.overwrites => {
                e.message += "; what the call overwrites may be half written";
                Err(e.into())
            }
            Err(Stop::Error(e)) => Err(e),
            Err(Stop::Moved) => Err(ExecError::Bug("a call that runs cannot be changed".into())),
        }
    }

    /// Loads what steps launch of the library: a call that cannot do so fails before it has written anything.
    fn load_routines(&self, steps: &[BoundStep]) -> Result<(), ExecError> {
        // Which routines they are depends on shapes alone.
        let anywhere: *mut u8 = std::ptr::null_mut();
        for step in steps {
            let launches = match &step.kind {
                BoundKind::Product(p) => {
                    let bias = p.epilogue.bias.map(|_| 0);
                    let epilogue = Epilogue { bias, activation: p.epilogue.activation };
                    let (product, products) = (p.on([anywhere; 3]), self.gpu.products());
                    let own = !products.asks_library(&product, &epilogue);
                    own.then(|| products.own_launches(&product, &epilogue, 0)).flatten()
                }
                BoundKind::Sort(s) => Some(sort::launches(&s.on([anywhere; 2]), 0)),
                BoundKind::Switch { blocks } => {
                    blocks.iter().try_for_each(|b| self.load_routines(b))?;
                    None
                }
                BoundKind::While { condition, body, .. } => {
                    self.load_routines(condition)?;
                    self.load_routines(body)?;
                    None
                }
                BoundKind::Scan { body, .. } => {
                    self.load_routines(body)?;
                    None
                }
                BoundKind::Launch(_) | BoundKind::Opaque(_) | BoundKind::Interpret | BoundKind::Copy { .. } => None,
            };
            for launch in launches.iter().flatten() {
                loaded::routine(self.gpu, launch.routine)?;
            }
        }
        Ok(())
    }

    /// Memory for temporaries and to work in.
    pub(super) fn room(&self, compiled: &Compiled, bound: &Bound) -> Result<Memory, ExecError> {
        let bytes = bound
            .arena
            .checked_add(bound.scratch)
            .ok_or_else(|| ExecError::memory("the plan is larger than the address space"))?;
        Memory::uninit(self.gpu, bytes).map_err(|e| compiled.planned(bound, e))
    }

    pub(super) fn checks_for(&self, bound: &Bound) -> Result<Option<Checks>, ExecError> {
        (bound.sites > 0).then(|| self.take_checks(bound.sites)).transpose()
    }

    /// Waits where something can fail, and says what did.
    fn judge(&self, (compiled, bound): (&Compiled, &Bound), checks: Option<Checks>) -> Result<(), ExecError> {
        let Some(checks) = checks else { return Ok(()) };
        if checks.look()? {
            return Err(offence(compiled, bound, &checks)?);
        }
        self.return_checks(checks);
        Ok(())
    }
}

/// The error of the first offence.
fn offence(compiled: &Compiled, bound: &Bound, checks: &Checks) -> Result<ExecError, ExecError> {
    let offences = checks.offences()?;
    // Launches after an offence do nothing, so all are of one launch, or in steps that can run in any order.
    let mut launches = Vec::new();
    collect(&compiled.program.steps, &bound.steps, &mut launches);
    for (step, launch) in launches {
        let StepKind::Launch(l) = &step.kind else { continue };
        let own = launch.first_site..launch.first_site + l.sites.len();
        let first = offences.iter().filter(|(site, _)| own.contains(site)).min_by_key(|(_, s)| s.task);
        if let Some((site, status)) = first {
            return Ok(index_error(step, site - launch.first_site, status.index, status.bound));
        }
    }
    Ok(ExecError::Bug("an index check failed that no launch has".into()))
}

/// All launches, in order.
fn collect<'a>(steps: &'a [Step], numbers: &'a [BoundStep], into: &mut Vec<(&'a Step, &'a BoundLaunch)>) {
    for (step, numbers) in steps.iter().zip(numbers) {
        match (&step.kind, &numbers.kind) {
            (_, BoundKind::Launch(l)) => into.push((step, l)),
            (StepKind::Switch(s), BoundKind::Switch { blocks }) => {
                s.blocks.iter().zip(blocks).for_each(|(b, numbers)| collect(&b.steps, numbers, into));
            }
            (StepKind::While(w), BoundKind::While { condition, body, .. }) => {
                collect(&w.condition.steps, condition, into);
                collect(&w.body.steps, body, into);
            }
            (StepKind::Scan(s), BoundKind::Scan { body, .. }) => collect(&s.body.steps, body, into),
            _ => {}
        }
    }
}

/// What becomes of a step.
pub(super) enum Sink<'a> {
    /// It runs.
    Run,
    /// The stream records it; what it was is noted.
    Record(&'a mut Vec<Noted>),
    /// A recording is to do it as this call has it.
    Change { recording: sys::CUgraphExec, noted: &'a mut [Noted], next: usize },
}

/// A step of a recording.
pub(super) struct Noted {
    /// The launch that it is, if it is one that can be changed.
    node: Option<sys::CUgraphNode>,
    words: SmallVec<[u64; 16]>,
}

/// Why steps stop.
pub(super) enum Stop {
    Error(ExecError),
    /// A recording cannot be changed to do them.
    Moved,
}

/// One call of a program, the recording of one, or the change of a recording.
pub(super) struct Call<'a> {
    kernels: &'a Kernels,
    compiled: &'a Compiled,
    bound: &'a Bound,
    loaded: &'a [Arc<Loaded>],
    scratch: u64,
    checks: Option<&'a Checks>,
    stream: sys::CUstream,
    /// The number of the first step.
    first: u32,
    /// Launches so far.
    launches: u32,
    sink: Sink<'a>,
    /// True once a step could not be changed.
    moved: bool,
    /// True once a step was asked for that writes to what the call was given.
    overwrites: bool,
}

impl<'a> Call<'a> {
    /// A call with its temporaries in `room`, whose steps have numbers from `first`.
    pub fn new(
        (kernels, compiled, bound): (&'a Kernels, &'a Compiled, &'a Bound),
        loaded: &'a [Arc<Loaded>],
        (room, checks): (&Memory, Option<&'a Checks>),
        (stream, first): (sys::CUstream, u32),
        sink: Sink<'a>,
    ) -> Call<'a> {
        let scratch = room.address() as u64 + bound.arena as u64;
        Call {
            kernels,
            compiled,
            bound,
            loaded,
            scratch,
            checks,
            stream,
            first,
            launches: 0,
            sink,
            moved: false,
            overwrites: false,
        }
    }

    /// All steps, or why not; see [`Stop`].
    pub fn all(&mut self, room: &Memory, pointers: &mut [*mut u8]) -> Result<(), Stop> {
        self.bound.place_arena(room.address(), pointers);
        let outcome = self.whole(pointers);
        match (self.moved, outcome) {
            (true, _) => Err(Stop::Moved),
            (false, outcome) => outcome.map_err(Stop::Error),
        }
    }

    /// All steps.
    fn whole(&mut self, pointers: &mut [*mut u8]) -> Result<(), ExecError> {
        let (program, bound) = (&self.compiled.program, self.bound);
        let at = program.fallible_prefix;
        self.block(&program.steps[..at], &bound.steps[..at], pointers)?;
        if self.kernels.waits_to_write {
            self.stop_if_failed()?;
        }
        self.block(&program.steps[at..], &bound.steps[at..], pointers)
    }

    /// An error if there was an offence so far; waits to know.
    fn stop_if_failed(&mut self) -> Result<(), ExecError> {
        match self.checks {
            Some(checks) if checks.look()? => Err(offence(self.compiled, self.bound, checks)?),
            _ => Ok(()),
        }
    }

    fn failed(&self, step: &Step, e: Code) -> ExecError {
        let at = step.origins.first().map(|o| format!(" at {o}")).unwrap_or_default();
        self.kernels.gpu.fault(e, format_args!("starting {}{at}", step.name)).into()
    }

    fn place(&mut self, number: u32, gated: bool) -> Run {
        self.launches += 1;
        Run {
            failed: self.checks.map_or(0, Checks::failed),
            progress: self.kernels.gpu.progress_word(),
            step: self.first + number,
            gated: u32::from(gated && self.checks.is_some()),
            launch: self.launches,
        }
    }

    /// Asks for a launch, or changes what was recorded of it.
    ///
    /// # Safety
    /// As for [`Function::launch`].
    unsafe fn enqueue(&mut self, function: &Function, blocks: u32, arguments: &Arguments) -> Result<(), Code> {
        match &mut self.sink {
            // SAFETY: by the caller.
            Sink::Run => unsafe { function.launch(self.stream, blocks, arguments) },
            Sink::Record(noted) => {
                // SAFETY: by the caller.
                unsafe { function.launch(self.stream, blocks, arguments) }?;
                let node = Some(last_node(self.stream)?);
                noted.push(Noted { node, words: SmallVec::from_slice(arguments.words) });
                Ok(())
            }
            Sink::Change { recording, noted, next } => {
                let noted = &mut noted[*next];
                *next += 1;
                if noted.words[..] != *arguments.words {
                    let node = noted.node.ok_or(sys::CUresult::CUDA_ERROR_INVALID_HANDLE)?;
                    // SAFETY: by the caller; steps are noted in the order in which they come.
                    unsafe { function.change(*recording, node, blocks, arguments) }?;
                    noted.words = SmallVec::from_slice(arguments.words);
                }
                Ok(())
            }
        }
    }

    /// Asks for something that a recording cannot change, with the addresses that it is about.
    fn fixed(&mut self, words: &[u64], ask: impl FnOnce(sys::CUstream) -> Result<(), Code>) -> Result<(), Code> {
        match &mut self.sink {
            Sink::Run => ask(self.stream),
            Sink::Record(noted) => {
                noted.push(Noted { node: None, words: SmallVec::from_slice(words) });
                ask(self.stream)
            }
            Sink::Change { noted, next, .. } => {
                self.moved |= noted[*next].words[..] != *words;
                *next += 1;
                Ok(())
            }
        }
    }

    fn launch(
        &mut self,
        step: &Step,
        number: u32,
        launch: &BoundLaunch,
        pointers: &[*mut u8],
    ) -> Result<(), ExecError> {
        if launch.tasks == 0 {
            return Ok(());
        }
        let StepKind::Launch(l) = &step.kind else { return Err(ExecError::Bug("a launch is no launch".into())) };
        let outside =
            |b: &usize| matches!(self.compiled.program.buffers[*b].storage, Storage::InPlace { .. } | Storage::Moving);
        let gated = !l.sites.is_empty() || launch.buffers.iter().any(outside);
        let status = self.checks.map_or(0, |c| c.status(launch.first_site));
        let mut words: SmallVec<[u64; 24]> = launch.buffers.iter().map(|&b| pointers[b] as u64).collect();
        words.extend(launch.extents.iter().map(|&e| e as u64));
        words.extend([status, self.scratch]);
        let arguments = Arguments { words: &words, apart: true, run: self.place(number, gated) };
        let function = &self.loaded[launch.kernel].function;
        // SAFETY: the arguments are those of the kernel: addresses of live buffers of the sizes that the program's types say,
        // which the verified kernel stays in, extents, statuses, and memory to work in of the size that was planned. All of it
        // is freed in the order of the stream, or lives as long as what was recorded.
        unsafe { self.enqueue(function, self.kernels.blocks(launch.tasks), &arguments) }
            .map_err(|e| self.failed(step, e))?;
        let in_place = |b: &usize| matches!(self.compiled.program.buffers[*b].storage, Storage::InPlace { .. });
        self.overwrites |= launch.buffers.iter().any(in_place);
        Ok(())
    }

    fn routines(&mut self, step: &Step, number: u32, launches: &[Launch]) -> Result<(), ExecError> {
        for launch in launches {
            let function = loaded::routine(self.kernels.gpu, launch.routine)?;
            let arguments = Arguments { words: &launch.words, apart: false, run: self.place(number, false) };
            // SAFETY: the library made the launch for buffers of the sizes that the program's types say, and the scratch
            // memory that it asked for.
            unsafe { self.enqueue(&function, launch.blocks, &arguments) }.map_err(|e| self.failed(step, e))?;
        }
        Ok(())
    }

    fn product(&mut self, step: &Step, number: u32, product: &Matmul, epilogue: &Epilogue) -> Result<(), ExecError> {
        let bias = epilogue.bias.unwrap_or_default();
        let words = [product.lhs.data as u64, product.rhs.data as u64, product.out.data as u64, bias];
        if let Sink::Change { noted, next, .. } = &mut self.sink
            && noted.get(*next).is_some_and(|n| n.node.is_none())
        {
            // It is the library's, whose launches nobody else can change.
            self.moved |= noted[*next].words[..] != words;
            *next += 1;
            return Ok(());
        }
        if matches!(self.sink, Sink::Change { .. }) {
            let launches = self.kernels.gpu.products().own_launches(product, epilogue, self.scratch);
            let launches = launches.ok_or_else(|| ExecError::Bug("no product of that dtype".into()))?;
            return self.routines(step, number, &launches);
        }
        let kernels = self.kernels;
        let (scratch, stream) = (self.scratch, self.stream);
        let mut own = false;
        let mut launch = |l: &Launch| {
            own = true;
            self.routines(step, number, std::slice::from_ref(l))
        };
        // SAFETY: buffers are live and of the sizes that the program's types say, which the verified step stays in; the
        // scratch memory is of the size that was planned; the device's context is current.
        unsafe { kernels.gpu.products().multiply(product, epilogue, kernels.tf32, scratch, stream, &mut launch) }
            .map_err(|e| match e {
                ProductError::Launch(e) => e,
                ProductError::Unsupported => ExecError::Bug("no product of that dtype".into()),
                ProductError::Library(why) => kernels.gpu.failed(format_args!("{}: {why}", step.name)).into(),
            })?;
        if let Sink::Record(noted) = &mut self.sink
            && !own
        {
            noted.push(Noted { node: None, words: SmallVec::from_slice(&words) });
        }
        Ok(())
    }

    /// The bytes at an address, in memory of the host.
    fn fetch(&self, from: *mut u8, len: usize) -> Result<Buffer, ExecError> {
        let mut buffer = Buffer::try_alloc(len).map_err(ExecError::memory)?;
        if let Some(bytes) = buffer.get_mut() {
            // SAFETY: the buffer at the address has as many bytes.
            unsafe { self.kernels.gpu.read(from as u64, bytes) }?;
        }
        Ok(buffer)
    }

    fn send(&self, step: &Step, to: *mut u8, bytes: &[u8]) -> Result<(), ExecError> {
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the buffer at the address has as many bytes.
        unsafe { result::memcpy_htod_async(to as u64, bytes, self.stream) }.map_err(|e| self.failed(step, e.0))?;
        // Large data that is not pinned may still be read.
        Ok(self.kernels.gpu.wait(self.stream)?)
    }

    /// Runs an op's own code, on the processor.
    fn opaque(&self, step: &Step, numbers: &BoundStep, pointers: &[*mut u8]) -> Result<(), ExecError> {
        let (StepKind::Opaque(Opaque { inputs, outputs, primitive }), BoundKind::Opaque(opaque)) =
            (&step.kind, &numbers.kind)
        else {
            return Err(ExecError::Bug("an op's own code is none".into()));
        };
        let device = self.kernels.device();
        events::record(
            Event::Fallback,
            format_args!("{} has code for the processor, and runs there, not on {device}", primitive.name()),
        );
        let mut held: SmallVec<[(usize, Buffer); 8]> = SmallVec::new();
        for b in inputs {
            held.push((b.at(), self.fetch(pointers[b.at()], self.bytes(b.at())?)?));
        }
        for b in outputs {
            held.push((b.at(), Buffer::zeroed(self.bytes(b.at())?).map_err(ExecError::memory)?));
        }
        let mut host = vec![std::ptr::null_mut(); pointers.len()];
        held.iter().for_each(|(b, buffer)| host[*b] = buffer.ptr());
        opaque.run(step, &host, pool::global().num_threads())?;
        // It may have used another device.
        self.kernels.gpu.enter()?;
        for (b, buffer) in &held[inputs.len()..] {
            self.send(step, pointers[*b], buffer.bytes())?;
        }
        Ok(())
    }

    fn bytes(&self, b: usize) -> Result<usize, ExecError> {
        let bytes = self.compiled.dim(self.bound, &self.compiled.program.buffers[b].ty.bytes());
        bytes.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| ExecError::Bug("a size is unknown".into()))
    }
}

/// The last thing that a stream has recorded.
fn last_node(stream: sys::CUstream) -> Result<sys::CUgraphNode, Code> {
    let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
    let (mut nodes, mut count) = (std::ptr::null(), 0);
    // SAFETY: the driver writes what it is asked for, and takes null for what it is not.
    outcome(unsafe {
        sys::cuStreamGetCaptureInfo_v3(
            stream,
            &raw mut status,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut nodes,
            std::ptr::null_mut(),
            &raw mut count,
        )
    })?;
    if count != 1 || nodes.is_null() {
        return Err(sys::CUresult::CUDA_ERROR_ILLEGAL_STATE);
    }
    // SAFETY: there is one, until the stream records the next.
    Ok(unsafe { *nodes })
}

impl Steps for Call<'_> {
    fn program(&self) -> &Program {
        &self.compiled.program
    }

    fn simple(&mut self, step: &Step, numbers: &BoundStep, pointers: &[*mut u8]) -> Result<(), ExecError> {
        match &numbers.kind {
            BoundKind::Launch(launch) => self.launch(step, numbers.number, launch, pointers),
            BoundKind::Product(product) => {
                let bias = product.epilogue.bias.map(|b| pointers[b.at()] as u64);
                let epilogue = Epilogue { bias, activation: product.epilogue.activation };
                self.product(step, numbers.number, &product.on(product.buffers.map(|b| pointers[b])), &epilogue)
            }
            BoundKind::Sort(sort) => {
                let rows = sort.on(sort.buffers.map(|b| pointers[b]));
                self.routines(step, numbers.number, &sort::launches(&rows, self.scratch))
            }
            BoundKind::Opaque(_) => {
                self.stop_if_failed()?;
                self.opaque(step, numbers, pointers)
            }
            BoundKind::Copy { from, to, bytes } => self.copy(pointers[*from], pointers[*to], *bytes),
            BoundKind::Interpret => {
                self.stop_if_failed()?;
                let call = &*self;
                interpreted::step(
                    (call.compiled, call.bound),
                    step,
                    &mut |b, array: &Array| {
                        let bytes = call.fetch(pointers[b.at()], array.byte_len())?;
                        // SAFETY: the new array is as large, and not shared.
                        unsafe { array.address().copy_from_nonoverlapping(bytes.ptr(), bytes.len()) };
                        Ok(())
                    },
                    &mut |b, array: &Array| {
                        let host = array.to_device(Device::Cpu)?;
                        let bytes = host.buffer().map(Buffer::bytes).unwrap_or_default();
                        call.send(step, pointers[b.at()], bytes)
                    },
                )
            }
            BoundKind::Switch { .. } | BoundKind::While { .. } | BoundKind::Scan { .. } => {
                Err(ExecError::Bug("a step that holds others is run as one that does not".into()))
            }
        }
    }

    fn read_number(&mut self, at: *mut u8, dtype: DType) -> Result<i64, ExecError> {
        // After an offence nothing goes on, and a loop would not end.
        self.stop_if_failed()?;
        let mut bytes = [0u8; 8];
        let n = dtype.size();
        // SAFETY: a live buffer of one element.
        unsafe { self.kernels.gpu.read(at as u64, &mut bytes[..n]) }?;
        Ok(match dtype {
            DType::Bool => i64::from(bytes[0] != 0),
            _ => i64::from_le_bytes(bytes),
        })
    }

    fn write_number(&mut self, at: *mut u8, number: i64) -> Result<(), ExecError> {
        for (i, half) in [number as u32, (number >> 32) as u32].into_iter().enumerate() {
            let to = at as u64 + 4 * i as u64;
            let outcome = self.fixed(&[to, u64::from(half)], |stream| {
                // SAFETY: the buffer is an i64 of the arena, whose slots are aligned.
                outcome(unsafe { sys::cuMemsetD32Async(to, half, 1, stream) })
            });
            outcome.map_err(|e| self.kernels.gpu.fault(e, "writing the number of an iteration"))?;
        }
        Ok(())
    }

    fn copy(&mut self, from: *mut u8, to: *mut u8, bytes: usize) -> Result<(), ExecError> {
        if bytes == 0 {
            return Ok(());
        }
        let outcome = self.fixed(&[to as u64, from as u64], |stream| {
            // SAFETY: both are live buffers of that many bytes, and the plan gives them different memory.
            unsafe { result::memcpy_dtod_async(to as u64, from as u64, bytes, stream) }.map_err(|e| e.0)
        });
        outcome.map_err(|e| self.kernels.gpu.fault(e, "copying a tensor").into())
    }
}
