//! The one thread pool: a parallel loop over a range of tasks.
//!
//! [`Pool::run`] splits `0..tasks` into chunks of whole grains; the caller and the workers claim chunks from one atomic
//! counter until none is left. A run allocates nothing. Workers spin for a bounded time after a run, because waking a
//! parked thread costs several times more than a spinning one, and then park.
//!
//! Invariants:
//! - A run returns only after every worker that joined it has left it, so a task may borrow from the caller's stack.
//! - At most one run at a time uses the workers. A run that starts meanwhile on another thread, or from inside a task,
//!   is carried out by its caller alone.
//! - A worker number is unique within a run and less than the number of threads the run was allowed.
//! - A panic in a task ends the run with an error; the pool stays usable.
//!
//! The pool promises nothing about which thread does which chunk. Where results must not depend on the number of
//! threads, a task must fix everything that it computes.

use crate::options;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// The most threads a pool uses.
pub const MAX_THREADS: usize = 256;

/// How long an idle worker spins before it parks, when nothing else wants its core.
const SPIN: Duration = Duration::from_micros(120);
/// The same when threads outnumber cores, or after the operating system took the core away during a spin.
const SPIN_CROWDED: Duration = Duration::from_micros(2);
/// A gap between two looks at the clock that only losing the core explains.
const LOST_CORE: Duration = Duration::from_micros(60);
/// Chunks per thread that a run aims at: enough to even out, few enough that claiming is free.
const CHUNKS_PER_THREAD: u64 = 8;

/// A task panicked; the rest of that run was abandoned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task panicked: {message}")]
pub struct TaskPanic {
    /// What the panic said.
    pub message: String,
}

/// The body of a parallel loop: worker number, first task, one past the last task.
pub type Body<'a> = dyn Fn(usize, u64, u64) + Sync + 'a;

/// A pool of worker threads.
pub struct Pool {
    shared: Arc<Shared>,
    /// `None` is what the options in force say.
    threads: Option<usize>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

thread_local! {
    /// True while this thread executes a task of any pool.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Limit set by [`with_threads`]; 0 is none.
    static LIMIT: Cell<usize> = const { Cell::new(0) };
}

/// The pool that executables use. How many threads a run uses is up to the options in force, or else the number of cores.
pub fn global() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool::of(None))
}

/// The number of cores available to this process.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS))
}

/// Calls `f` with at most `threads` threads for every run that this thread starts in it, whatever the options say.
pub fn with_threads<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            LIMIT.set(self.0);
        }
    }
    let _restore = Restore(LIMIT.replace(threads.clamp(1, MAX_THREADS)));
    f()
}

impl Pool {
    /// A pool of that many threads, the caller of a run included. Workers start when a run first needs them.
    pub fn new(threads: usize) -> Pool {
        Pool::of(Some(threads.clamp(1, MAX_THREADS)))
    }

    fn of(threads: Option<usize>) -> Pool {
        Pool { shared: Arc::new(Shared::new()), threads, workers: Mutex::new(Vec::new()) }
    }

    /// The threads that the next run from this thread may use: the limit of [`with_threads`] (which may exceed the size
    /// of the pool), or else the size of the pool; for the [global](global()) one, that is the option `threads`, or else
    /// the number of cores.
    pub fn num_threads(&self) -> usize {
        match (LIMIT.get(), self.threads) {
            (0, Some(threads)) => threads,
            // Options that cannot be read are reported by whoever compiles; the pool does without.
            (0, None) => options::read(|o| o.threads).ok().flatten().unwrap_or_else(cores),
            (limit, _) => limit,
        }
    }

    /// Calls `body` on ranges that together cover `0..tasks` once, using [`Pool::num_threads`] threads.
    pub fn run(&self, tasks: u64, grain: u64, body: &Body) -> Result<(), TaskPanic> {
        self.run_on(self.num_threads(), tasks, grain, body)
    }

    /// As [`Pool::run`], with at most `threads` threads; worker numbers are below `threads`. Every range begins at a
    /// multiple of `grain` and ends at one or at `tasks`.
    pub fn run_on(&self, threads: usize, tasks: u64, grain: u64, body: &Body) -> Result<(), TaskPanic> {
        let grain = grain.max(1);
        let grains = tasks.div_ceil(grain);
        let threads = (threads.clamp(1, MAX_THREADS) as u64).min(grains) as usize;
        if tasks == 0 {
            return Ok(());
        }
        if threads == 1 || INSIDE.get() {
            return run_alone(tasks, body);
        }
        let Some(_turn) = self.shared.take_turn() else { return run_alone(tasks, body) };
        let per_chunk = (grains / (threads as u64 * CHUNKS_PER_THREAD)).max(1);
        // Saturation means that one chunk holds all tasks.
        let chunk = per_chunk.saturating_mul(grain);
        let helpers = (threads - 1).min(self.start_workers(threads - 1));
        // SAFETY: `_turn` makes this the only publisher, and `finish` below returns only when no worker holds the job.
        unsafe { self.shared.publish(body, tasks, chunk, helpers) };
        self.shared.wake(helpers);
        self.shared.work(0, body, tasks, chunk);
        self.shared.finish()
    }

    /// Makes `wanted` workers exist if the system allows, and returns how many do.
    fn start_workers(&self, wanted: usize) -> usize {
        let have = self.shared.started.load(Acquire);
        if have >= wanted {
            return have;
        }
        let mut workers = lock(&self.workers);
        while workers.len() < wanted {
            let (shared, index) = (self.shared.clone(), workers.len());
            let name = format!("tracewright-{}", index + 1);
            match std::thread::Builder::new().name(name).spawn(move || shared.serve(index)) {
                Ok(handle) => {
                    // Only this thread, under the lock, fills the seat.
                    let _ = self.shared.seats[index].thread.set(handle.thread().clone());
                    workers.push(handle);
                    self.shared.started.store(workers.len(), Release);
                }
                Err(error) => {
                    log::warn!("worker thread {index} of {wanted} did not start, going on without it: {error}");
                    break;
                }
            }
        }
        workers.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.wake(MAX_THREADS);
        for worker in self.workers.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A worker catches the panics of its tasks; there is nothing to report here.
            let _ = worker.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_alone(tasks: u64, body: &Body) -> Result<(), TaskPanic> {
    catch_unwind(AssertUnwindSafe(|| inside(|| body(0, 0, tasks))))
        .map_err(|payload| TaskPanic { message: text(payload) })
}

/// Calls `f` with [`INSIDE`] set.
fn inside<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _restore = Restore(INSIDE.replace(true));
    f()
}

/// The text of a panic's payload. Forgets payloads it does not know: dropping them could panic again.
fn text(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<&'static str>() {
        Ok(message) => message.to_string(),
        Err(payload) => match payload.downcast::<String>() {
            Ok(message) => *message,
            Err(payload) => {
                std::mem::forget(payload);
                "(no message)".to_owned()
            }
        },
    }
}

/// Keeps what it holds on cache lines of its own (two, because processors prefetch pairs).
#[repr(align(128))]
struct Alone<T>(T);

// The state word: open, someone waits for the end, workers that joined, workers that have not left, and a number that
// changes with every job. A job's fields are read only by who joined it, and joining is a compare-and-swap on this word.
const OPEN: u64 = 1;
const WAITING: u64 = 2;
const JOINED: u64 = 1 << 2;
const ACTIVE: u64 = 1 << 12;
const NUMBER: u64 = 1 << 22;
const FIELD: u64 = (1 << 10) - 1;

fn joined(state: u64) -> usize {
    ((state / JOINED) & FIELD) as usize
}
fn active(state: u64) -> usize {
    ((state / ACTIVE) & FIELD) as usize
}
fn number(state: u64) -> u64 {
    state / NUMBER
}

/// What the workers of a run need. Written by the publisher while the state is closed with no active worker.
struct Job {
    body: *const Body<'static>,
    tasks: u64,
    chunk: u64,
}

struct Seat {
    thread: OnceLock<Thread>,
    parked: AtomicBool,
}

struct Shared {
    state: Alone<AtomicU64>,
    next_chunk: Alone<AtomicU64>,
    job: Alone<UnsafeCell<Job>>,
    helpers: AtomicU32,
    failed: AtomicBool,
    busy: AtomicBool,
    stop: AtomicBool,
    started: AtomicUsize,
    panic: Mutex<Option<String>>,
    end: Mutex<()>,
    ended: Condvar,
    seats: Box<[Alone<Seat>]>,
}

// SAFETY: `job` is written by the one publisher while nobody can have joined, and read by workers that joined; the
// release store and the acquiring compare-and-swap on `state` order the two. The body it points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

impl std::ops::Deref for Alone<Seat> {
    type Target = Seat;
    fn deref(&self) -> &Seat {
        &self.0
    }
}

/// The right to publish a job.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

fn no_body(_: usize, _: u64, _: u64) {}

impl Shared {
    fn new() -> Shared {
        let body: &'static Body<'static> = &no_body;
        Shared {
            state: Alone(AtomicU64::new(0)),
            next_chunk: Alone(AtomicU64::new(0)),
            job: Alone(UnsafeCell::new(Job { body, tasks: 0, chunk: 1 })),
            helpers: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            started: AtomicUsize::new(0),
            panic: Mutex::new(None),
            end: Mutex::new(()),
            ended: Condvar::new(),
            seats: (0..MAX_THREADS)
                .map(|_| Alone(Seat { thread: OnceLock::new(), parked: AtomicBool::new(false) }))
                .collect(),
        }
    }

    fn take_turn(&self) -> Option<Turn<'_>> {
        self.busy.compare_exchange(false, true, Acquire, Relaxed).is_ok().then(|| Turn(&self.busy))
    }

    /// Opens a job for up to `helpers` workers.
    ///
    /// # Safety
    /// The caller holds the turn, and keeps `body` alive until `finish` has returned.
    unsafe fn publish(&self, body: &Body, tasks: u64, chunk: u64, helpers: usize) {
        let state = self.state.0.load(Relaxed);
        debug_assert_eq!((state & OPEN, active(state)), (0, 0));
        // SAFETY: only the lifetime changes, and the caller keeps `body` alive for as long as a worker can use it. No
        // worker reads the job now: the state is closed and `finish` saw the last one leave.
        unsafe {
            let body = std::mem::transmute::<*const Body<'_>, *const Body<'static>>(body);
            *self.job.0.get() = Job { body, tasks, chunk };
        }
        self.next_chunk.0.store(0, Relaxed);
        self.failed.store(false, Relaxed);
        self.helpers.store(helpers as u32, Relaxed);
        // Sequentially consistent, as are the accesses to `parked`: either the worker that goes to sleep sees this job,
        // or `wake` sees it asleep.
        self.state.0.store(number(state).wrapping_add(1).wrapping_mul(NUMBER) | OPEN, SeqCst);
    }

    /// Wakes parked workers until `wanted` are awake.
    fn wake(&self, wanted: usize) {
        let seats = &self.seats[..self.started.load(Acquire)];
        let asleep = seats.iter().filter(|seat| seat.parked.load(SeqCst)).count();
        let mut missing = wanted.saturating_sub(seats.len() - asleep);
        for seat in seats {
            if missing == 0 {
                break;
            }
            if seat.parked.load(SeqCst) && seat.parked.swap(false, SeqCst) {
                missing -= 1;
                if let Some(thread) = seat.thread.get() {
                    thread.unpark();
                }
            }
        }
    }

    /// Claims and executes chunks until none is left.
    fn work(&self, worker: usize, body: &Body, tasks: u64, chunk: u64) {
        let chunks = tasks.div_ceil(chunk);
        let result = catch_unwind(AssertUnwindSafe(|| {
            inside(|| {
                loop {
                    let index = self.next_chunk.0.fetch_add(1, Relaxed);
                    if index >= chunks || self.failed.load(Relaxed) {
                        return;
                    }
                    let begin = index * chunk;
                    body(worker, begin, begin + chunk.min(tasks - begin));
                }
            })
        }));
        if let Err(payload) = result {
            self.failed.store(true, Relaxed);
            lock(&self.panic).get_or_insert(text(payload));
        }
    }

    /// Closes the job and waits for the workers in it to leave.
    fn finish(&self) -> Result<(), TaskPanic> {
        let mut state = self.state.0.fetch_and(!OPEN, AcqRel);
        let mut spin = Spin::new(Duration::from_micros(30));
        while active(state) > 0 {
            if spin.again() {
                state = self.state.0.load(Acquire);
                continue;
            }
            let mut guard = lock(&self.end);
            state = self.state.0.fetch_or(WAITING, AcqRel);
            while active(state) > 0 {
                guard = self.ended.wait(guard).unwrap_or_else(PoisonError::into_inner);
                state = self.state.0.load(Acquire);
            }
        }
        if !self.failed.load(Relaxed) {
            return Ok(());
        }
        let message = lock(&self.panic).take().unwrap_or_default();
        Err(TaskPanic { message })
    }

    /// The life of a worker.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        let mut budget = SPIN;
        while !self.stop.load(SeqCst) {
            let state = self.state.0.load(Acquire);
            if number(state) != seen {
                if self.join(state) {
                    seen = number(state);
                }
                continue;
            }
            if index + 1 >= cores() {
                budget = SPIN_CROWDED;
            }
            let mut spin = Spin::new(budget);
            let found = loop {
                if number(self.state.0.load(Relaxed)) != seen || self.stop.load(Relaxed) {
                    break true;
                }
                if !spin.again() {
                    break false;
                }
            };
            budget = if spin.lost_core { SPIN_CROWDED } else { (budget * 2).min(SPIN) };
            if !found {
                self.park(index, seen);
            }
        }
    }

    /// Works on the job of `state` if it still takes workers. Returns false if the state had changed.
    fn join(&self, state: u64) -> bool {
        if state & OPEN == 0 || joined(state) >= self.helpers.load(Relaxed) as usize {
            return self.state.0.load(Relaxed) == state;
        }
        if self.state.0.compare_exchange(state, state + JOINED + ACTIVE, Acquire, Relaxed).is_err() {
            return false;
        }
        // SAFETY: this worker joined, so the job stays as it is and the body alive until it leaves.
        let (body, tasks, chunk) = unsafe {
            let job = &*self.job.0.get();
            (&*job.body, job.tasks, job.chunk)
        };
        self.work(joined(state) + 1, body, tasks, chunk);
        let before = self.state.0.fetch_sub(ACTIVE, AcqRel);
        if before & WAITING != 0 && active(before) == 1 {
            // The lock orders this after the check of the caller that goes to sleep.
            drop(lock(&self.end));
            self.ended.notify_all();
        }
        true
    }

    /// Sleeps until a job other than `seen` may be there.
    fn park(&self, index: usize, seen: u64) {
        let seat = &self.seats[index];
        seat.parked.store(true, SeqCst);
        if number(self.state.0.load(SeqCst)) != seen || self.stop.load(SeqCst) {
            seat.parked.store(false, SeqCst);
            return;
        }
        while seat.parked.load(SeqCst) {
            std::thread::park();
        }
    }
}

/// A bounded busy wait that notices when its thread lost the core.
struct Spin {
    budget: Duration,
    start: Option<Instant>,
    last: Duration,
    rounds: u32,
    lost_core: bool,
}

impl Spin {
    fn new(budget: Duration) -> Spin {
        Spin { budget, start: None, last: Duration::ZERO, rounds: 0, lost_core: false }
    }

    /// Pauses for a moment; false when the time is used up.
    fn again(&mut self) -> bool {
        std::hint::spin_loop();
        self.rounds += 1;
        if !self.rounds.is_multiple_of(16) {
            return true;
        }
        let elapsed = self.start.get_or_insert_with(Instant::now).elapsed();
        if elapsed - self.last > LOST_CORE {
            self.lost_core = true;
        }
        self.last = elapsed;
        !self.lost_core && elapsed < self.budget
    }
}

#[cfg(test)]
#[path = "pool/tests.rs"]
mod tests;
