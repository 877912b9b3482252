//! Calls that were recorded: all their steps are one thing to ask the device for.
//!
//! The second call for the same extents is recorded. Later ones replay the recording; where arguments and results are at other
//! addresses than before, the launches that know of them are changed first. Temporaries of all replays are in the same memory.

use super::checks::Checks;
use super::fault::outcome;
use super::gpu::Gpu;
use super::kernels::Kernels;
use super::loaded::Loaded;
use super::memory::Memory;
use super::run::{Call, Noted, Sink, Stop};
use crate::error::ExecError;
use crate::events::{self, Event};
use crate::executable::Compiled;
use crate::executable::bind::{Bound, Place};
use cudarc::driver::{result, sys};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};

/// Recordings that are made again, because they could not be changed, before no more are made.
const AGAIN: u32 = 64;

/// Addresses of buffers, by their numbers.
type Addresses = SmallVec<[usize; 16]>;

/// What was recorded for some extents.
#[derive(Default)]
pub(crate) struct Replays {
    state: Arc<Mutex<State>>,
    /// True once the library's routines are loaded.
    ready: AtomicBool,
}

impl Replays {
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Recordings that hold memory, of all programs of a device.
#[derive(Default)]
pub(super) struct Recordings(Mutex<Vec<Weak<Mutex<State>>>>);

impl Recordings {
    fn enter(&self, replays: &Replays) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&replays.state));
    }

    /// Takes their memory from those that no call uses, and says from how many. Their next calls are recorded anew.
    pub fn give_back(&self) -> usize {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut count, mut busy) = (0, Vec::new());
        for weak in all {
            let Some(one) = weak.upgrade() else { continue };
            match one.try_lock() {
                Ok(mut state) => {
                    *state = State { seen: true, again: state.again + 1, ..State::default() };
                    count += 1;
                }
                Err(_) => busy.push(weak),
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(busy);
        if count > 0 {
            events::record(
                Event::ReplayRefused,
                format_args!("memory is short: {count} recordings are made again when they are next called"),
            );
        }
        count
    }
}

#[derive(Default)]
struct State {
    /// True once a call ran step by step, so that everything is loaded.
    seen: bool,
    recorded: Option<Replay>,
    room: Option<Memory>,
    checks: Option<Checks>,
    /// What stands for arguments and results that have moved, and that steps know of which a recording cannot change.
    staged: Vec<(usize, Memory)>,
    again: u32,
}

struct Replay {
    /// Of all buffers of the call that was recorded, or that it was last changed for.
    addresses: Addresses,
    /// What was recorded; changes name its nodes.
    graph: sys::CUgraph,
    recording: sys::CUgraphExec,
    noted: Vec<Noted>,
    /// The number of the first step, which the device's journal keeps as long.
    first: u32,
    gpu: &'static Gpu,
}

// SAFETY: handles of the driver may be used by any thread.
unsafe impl Send for Replay {}

impl Drop for Replay {
    fn drop(&mut self) {
        self.gpu.journal.forget(self.first);
        // A device that has failed keeps what it has.
        if self.gpu.enter().is_err() {
            return;
        }
        // SAFETY: nobody else has the handles; the driver keeps what still runs.
        unsafe {
            _ = result::graph::exec_destroy(self.recording);
            _ = result::graph::destroy(self.graph);
        }
    }
}

/// A stream that records until this ends it, or goes away in a panic.
struct Recorder(sys::CUstream);

impl Recorder {
    fn end(self) -> Result<sys::CUgraph, result::DriverError> {
        let stream = self.0;
        std::mem::forget(self);
        // SAFETY: the stream records.
        unsafe { result::stream::end_capture(stream) }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // SAFETY: the stream records; nobody else has what it has recorded.
        _ = unsafe { result::stream::end_capture(self.0).and_then(|graph| result::graph::destroy(graph)) };
    }
}

/// What became of a call.
pub(super) enum Outcome {
    /// It was asked for, with these statuses to look at.
    Done(Option<Checks>),
    /// It has to be run step by step.
    Busy,
}

impl Kernels {
    /// Asks for a call by its recording.
    pub(super) fn replay(
        &self,
        at: (&Compiled, &Bound),
        loaded: &[Arc<Loaded>],
        pointers: &mut [*mut u8],
    ) -> Result<Outcome, ExecError> {
        // Another call of the same extents would use the same temporaries.
        let mut state = match at.1.replays.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::WouldBlock) => return Ok(Outcome::Busy),
            Err(TryLockError::Poisoned(e)) => {
                // A panic may have left a recording half changed.
                let mut state = e.into_inner();
                *state = State { again: AGAIN, ..State::default() };
                state
            }
        };
        let state = &mut *state;
        if !std::mem::replace(&mut state.seen, true) || state.again >= AGAIN {
            return Ok(Outcome::Busy);
        }
        let given: Addresses = pointers.iter().map(|&p| p as usize).collect();
        let why = match self.make_ready(state, at, loaded, pointers) {
            Ok(()) => return self.launch_recorded(state, at.1, &given),
            Err(Stop::Error(e)) if self.gpu.alive().is_err() => return Err(e),
            // Step by step it may go.
            Err(Stop::Error(e)) => e.to_string(),
            Err(Stop::Moved) => "what it copies is at other addresses at every call".into(),
        };
        events::record(Event::ReplayRefused, format_args!("{} is no longer recorded: {why}", at.0.program.name));
        *state = State { again: AGAIN, ..State::default() };
        pointers.iter_mut().zip(given).for_each(|(p, before)| *p = before as *mut u8);
        Ok(Outcome::Busy)
    }

    /// Sees to it that there is a recording for buffers at those addresses, some of which become those of their stand-ins.
    fn make_ready(
        &self,
        state: &mut State,
        (compiled, bound): (&Compiled, &Bound),
        loaded: &[Arc<Loaded>],
        pointers: &mut [*mut u8],
    ) -> Result<(), Stop> {
        let gpu = self.gpu;
        if state.room.is_none() {
            state.room = Some(self.room(compiled, bound).map_err(Stop::Error)?);
            gpu.recordings.enter(&bound.replays);
        }
        if state.checks.is_none() {
            state.checks = self.checks_for(bound).map_err(Stop::Error)?;
        }
        self.stage(state, (compiled, bound), pointers).map_err(Stop::Error)?;
        state.staged.iter().for_each(|(b, memory)| pointers[*b] = memory.address());
        let place = |(p, &address): (&Place, &*mut u8)| match p {
            // Temporaries are in the recording's own memory.
            Place::Arena(_) | Place::Moving => 0,
            _ => address as usize,
        };
        let addresses: Addresses = bound.places.iter().zip(pointers.iter()).map(place).collect();
        let Some(room) = &state.room else {
            return Err(Stop::Error(ExecError::Bug("a recording has no memory".into())));
        };
        let memory = (room, state.checks.as_ref());
        if let Some(replay) = state.recorded.as_mut().filter(|r| r.addresses != addresses) {
            let Replay { recording, noted, first, .. } = replay;
            let sink = Sink::Change { recording: *recording, noted, next: 0 };
            let mut call = Call::new((self, compiled, bound), loaded, memory, (gpu.compute, *first), sink);
            match call.all(room, pointers) {
                Ok(()) => replay.addresses.clone_from(&addresses),
                Err(Stop::Moved) if state.again + 1 < AGAIN => {
                    state.recorded = None;
                    state.again += 1;
                }
                Err(stop) => return Err(stop),
            }
        }
        if state.recorded.is_none() {
            let replay = self.record((compiled, bound), loaded, memory, pointers, addresses).map_err(Stop::Error)?;
            state.recorded = Some(replay);
        }
        Ok(())
    }

    /// Gives stand-ins to buffers that have moved since they were recorded, if steps know of them which cannot be changed. What
    /// stays where it is, such as the weights of a model, needs none.
    fn stage(
        &self,
        state: &mut State,
        (compiled, bound): (&Compiled, &Bound),
        pointers: &[*mut u8],
    ) -> Result<(), ExecError> {
        let Some(replay) = &state.recorded else { return Ok(()) };
        let moved = |b: &usize| {
            replay.addresses[*b] != pointers[*b] as usize && !state.staged.iter().any(|(staged, _)| staged == b)
        };
        let moved: SmallVec<[usize; 8]> = self.staged.iter().copied().filter(moved).collect();
        for &b in &moved {
            let bytes = compiled.dim(bound, &compiled.program.buffers[b].ty.bytes());
            let bytes = bytes.and_then(|n| usize::try_from(n).ok());
            let bytes = bytes.ok_or_else(|| ExecError::Bug("a size is unknown".into()))?;
            state.staged.push((b, Memory::uninit(self.gpu, bytes)?));
        }
        if !moved.is_empty() {
            state.recorded = None;
        }
        Ok(())
    }

    /// Asks for what is recorded, with the caller's buffers at those addresses.
    fn launch_recorded(&self, state: &mut State, bound: &Bound, given: &Addresses) -> Result<Outcome, ExecError> {
        let gpu = self.gpu;
        let Some(replay) = &state.recorded else { return Err(ExecError::Bug("a recording is gone".into())) };
        events::count(Event::Replay);
        let is_argument = |b: usize| matches!(bound.places[b], Place::Input(_));
        for (b, memory) in state.staged.iter().filter(|(b, _)| is_argument(*b)) {
            self.copy(given[*b], memory.address() as usize, memory.len())?;
        }
        // SAFETY: what the recording uses lives: arguments and results are the caller's, the rest is kept beside it.
        unsafe { result::graph::launch(replay.recording, gpu.compute) }
            .map_err(|e| gpu.fault(e.0, "replaying a call"))?;
        for (b, memory) in state.staged.iter().filter(|(b, _)| !is_argument(*b)) {
            self.copy(memory.address() as usize, given[*b], memory.len())?;
        }
        match &state.checks {
            None => Ok(Outcome::Done(None)),
            // Looked at before the next call may begin.
            Some(checks) if !checks.look()? => Ok(Outcome::Done(None)),
            // The recording knows of these statuses only.
            Some(_) => {
                state.recorded = None;
                Ok(Outcome::Done(state.checks.take()))
            }
        }
    }

    fn copy(&self, from: usize, to: usize, bytes: usize) -> Result<(), ExecError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both are of the buffer's size and live until the stream has come so far.
        let asked = unsafe { result::memcpy_dtod_async(to as u64, from as u64, bytes, self.gpu.compute) };
        asked.map_err(|e| self.gpu.fault(e.0, "copying a tensor").into())
    }

    /// Records a call.
    fn record(
        &self,
        (compiled, bound): (&Compiled, &Bound),
        loaded: &[Arc<Loaded>],
        (room, checks): (&Memory, Option<&Checks>),
        pointers: &mut [*mut u8],
        addresses: Addresses,
    ) -> Result<Replay, ExecError> {
        let gpu = self.gpu;
        let recorder = gpu.recorder();
        let (stream, first) = (recorder.0, gpu.journal.enter(&self.labels));
        // Other threads go on as they like.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is the device's, and nobody else records.
        unsafe { result::stream::begin_capture(stream, mode) }.map_err(|e| gpu.fault(e.0, "recording a call"))?;
        let recording = Recorder(stream);
        let mut noted = Vec::new();
        let place = (stream, first);
        let mut call = Call::new((self, compiled, bound), loaded, (room, checks), place, Sink::Record(&mut noted));
        let ran = call.all(room, pointers);
        let graph = recording.end();
        drop(recorder);
        let graph = graph.map_err(|e| gpu.fault(e.0, "recording a call"));
        let failed = match ran {
            Err(Stop::Error(e)) => Some(e),
            Err(Stop::Moved) => Some(ExecError::Bug("a call that is recorded cannot be changed".into())),
            Ok(()) => None,
        };
        if let Some(e) = failed {
            // SAFETY: nobody else has the handle.
            _ = graph.map(|graph| unsafe { result::graph::destroy(graph) });
            return Err(e);
        }
        let graph = graph?;
        let instantiate = || {
            let mut recording = std::ptr::null_mut();
            // SAFETY: the graph was just recorded.
            let made = outcome(unsafe { sys::cuGraphInstantiateWithFlags(&raw mut recording, graph, 0) });
            made.map(|()| recording).map_err(result::DriverError)
        };
        let made = gpu.with_memory(instantiate);
        if made.is_err() {
            // SAFETY: nobody else has the handle.
            _ = unsafe { result::graph::destroy(graph) };
        }
        let recording = made.map_err(|e| e.fault(gpu, "making a recording ready"))?;
        gpu.journal.keep(first, &self.labels);
        Ok(Replay { addresses, graph, recording, noted, first, gpu })
    }
}
