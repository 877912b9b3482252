//! Cells: the only mutable state there is.
//!
//! Reading a cell inside a trace adds an input, its last write an output; a compiled function reads its cells at each
//! call and writes them back only after success. Who writes a cell that it has read does both under one lock, so that no
//! update is lost.

use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::trace;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// A cell, as traces see it.
pub(crate) trait CellId: Send + Sync {
    /// Unique in the process.
    fn id(&self) -> u64;
    /// The value outside of every trace.
    fn stored(&self) -> Tensor;
    /// Replaces that value.
    fn store(&self, value: Tensor);
}

static UPDATES: Mutex<()> = Mutex::new(());

/// Held from reading cells until they are written. No function of the user may run meanwhile: it could wait for a thread
/// that waits for this.
pub(crate) fn exclusive() -> MutexGuard<'static, ()> {
    UPDATES.lock().unwrap_or_else(|e| e.into_inner())
}

static NEXT: AtomicU64 = AtomicU64::new(1);

struct Slot {
    id: u64,
    value: Mutex<Tensor>,
}

impl CellId for Slot {
    fn id(&self) -> u64 {
        self.id
    }
    fn stored(&self) -> Tensor {
        self.value.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
    fn store(&self, value: Tensor) {
        *self.value.lock().unwrap_or_else(|e| e.into_inner()) = value;
    }
}

/// A mutable tensor, such as a running mean. Clones share the state.
///
/// ```
/// use tracewright::{jit, nn::Buffer, Tensor};
/// let count = Buffer::new(Tensor::from(0.0f32));
/// let shared = count.clone();
/// let step = jit(move |x: Tensor| {
///     shared.set(shared.get() + 1.0).unwrap();
///     x * shared.get()
/// });
/// step.call(Tensor::from(10.0f32))?;
/// assert_eq!(step.call(Tensor::from(10.0f32))?.item::<f32>()?, 20.0);
/// assert_eq!(count.get().item::<f32>()?, 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone)]
pub struct Buffer(Arc<dyn CellId>);

impl Buffer {
    /// A cell that holds `value`. A cell cannot be made inside a trace, since compiled it would be made once and eager at
    /// every call; it then holds an error value.
    #[track_caller]
    pub fn new(value: Tensor) -> Buffer {
        Buffer::made("Buffer::new", value)
    }

    /// The same for a cell that has another name for users.
    #[track_caller]
    pub(crate) fn made(name: &'static str, value: Tensor) -> Buffer {
        let _here = crate::dispatch::enter();
        let value = match trace::kind() {
            _ if value.error_ref().is_some() => value,
            Some(kind) => {
                let rule = format!("a cell cannot be made while a function is traced by {kind}");
                let legal = "make it before, and capture it or pass it in a tree";
                let e = Error::new(Code::Trace, name, rule, legal);
                Tensor::error(e.at(crate::dispatch::here()).in_scope(&crate::scope::current()))
            }
            None => match value.read(name) {
                Ok(_) => value,
                Err(e) => Tensor::error(e),
            },
        };
        Buffer(Arc::new(Slot { id: NEXT.fetch_add(1, Ordering::Relaxed), value: Mutex::new(value) }))
    }

    /// The value: in a trace, after the writes that the trace has made so far.
    #[track_caller]
    pub fn get(&self) -> Tensor {
        let _here = crate::dispatch::enter();
        trace::read_cell(&self.0)
    }

    /// Replaces the value by one of the same type. In a trace, the cell changes when the compiled call succeeds.
    #[track_caller]
    pub fn set(&self, value: Tensor) -> Result<()> {
        let _here = crate::dispatch::enter();
        let (new, old) = (value.try_type()?, trace::read_cell(&self.0).try_type()?);
        if new != old {
            return Err(Error::new(Code::Argument, "Buffer::set", format!("{new} does not fit"), format!("{old}"))
                .at(crate::dispatch::here())
                .observed());
        }
        if trace::active() {
            trace::write_cell(&self.0, value);
        } else {
            value.read("Buffer::set")?;
            let _exclusive = exclusive();
            self.0.store(value.detach());
        }
        Ok(())
    }

    /// A cell of the process, which may be made while a function is traced: it is made once.
    pub(crate) fn of_process(value: Tensor) -> Buffer {
        Buffer(Arc::new(Slot { id: NEXT.fetch_add(1, Ordering::Relaxed), value: Mutex::new(value) }))
    }

    /// Outside of traces: replaces the value by what `next` makes of it, which yields something beside, as one step.
    pub(crate) fn step<R>(&self, next: impl FnOnce(&Tensor) -> Result<(Tensor, R)>) -> Result<R> {
        let _exclusive = exclusive();
        let (value, out) = next(&self.0.stored())?;
        self.0.store(value);
        Ok(out)
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id()
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({:?})", self.0.stored())
    }
}
