//! Errors: what they carry and how they read.
//!
//! An ill-typed op yields an *error value*: a [`Tensor`](crate::Tensor) that holds an [`Error`]. Whatever uses it stays
//! that error, and the next boundary (`to_vec`, `item`, `call`, …) returns it as `Err`. One that is dropped before
//! anybody saw it is a logged event.

use ir::{Location, Violation, ViolationKind};
use runtime::events::{self, Event};
use runtime::{DeviceError, ExecError};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an error; its name stands in brackets in every message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Code {
    /// Extents do not fit.
    Shape,
    /// An element type is not legal.
    DType,
    /// An axis does not exist or is named twice.
    Axis,
    /// The number of axes is not legal.
    Rank,
    /// An index is out of range.
    Index,
    /// A value has no elements where some are needed.
    Empty,
    /// An argument is not legal.
    Argument,
    /// A traced value is used outside its trace.
    Trace,
    /// The value of a traced tensor is read.
    Read,
    /// A derivative does not exist.
    Gradient,
    /// A function given to `jit` or to a transform panicked.
    ///
    /// The error is on every leaf of the result where something says which leaves there are: an argument that the result
    /// is like (gradients, what loops carry), another branch of a `cond`, or the result's type alone (tensors, tuples,
    /// arrays, boxes, derived structs of these). Where only the function could say so (vectors, maps, options, enums,
    /// structs with fixed data) the panic goes on, to be the error of the `jit` around it if there is one. The function is
    /// not run again.
    Panic,
    /// A value of the host became a constant and changes from trace to trace.
    HostConstant,
    /// A text is not a graph.
    Text,
    /// A file cannot be read or written, or does not hold what it should.
    File,
    /// Memory could not be had.
    Memory,
    /// A device is not there, has failed, or is another than that of other tensors.
    Device,
    /// The compiler or runtime is at fault.
    Bug,
}

impl Code {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Code::Shape => "shape",
            Code::DType => "dtype",
            Code::Axis => "axis",
            Code::Rank => "rank",
            Code::Index => "index",
            Code::Empty => "empty",
            Code::Argument => "argument",
            Code::Trace => "trace",
            Code::Read => "read",
            Code::Gradient => "gradient",
            Code::Panic => "panic",
            Code::HostConstant => "host-constant",
            Code::Text => "text",
            Code::File => "file",
            Code::Memory => "memory",
            Code::Device => "device",
            Code::Bug => "bug",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong, where, and what would be legal. Cloning is cheap.
///
/// ```
/// use tracewright::{Code, Tensor};
/// let sum = Tensor::zeros([2, 3], tracewright::DType::F32) + Tensor::zeros([4], tracewright::DType::F32);
/// let error = sum.to_vec::<f32>().unwrap_err();
/// assert_eq!(error.code(), Code::Shape);
/// assert!(error.to_string().starts_with("error[shape]: add(f32[2, 3], f32[4]): extents 3 and 4 of axis 1"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Fault>);

struct Fault {
    code: Code,
    op: Cow<'static, str>,
    operands: Option<Vec<String>>,
    rule: String,
    legal: String,
    location: Option<Location>,
    scope: String,
    notes: Vec<String>,
    observed: AtomicBool,
}

impl Drop for Fault {
    fn drop(&mut self) {
        if !*self.observed.get_mut() {
            events::record(Event::ErrorDropped, &*self);
        }
    }
}

impl Error {
    /// An error of an op or function, at a line.
    pub(crate) fn new(
        code: Code,
        op: impl Into<Cow<'static, str>>,
        rule: impl Into<String>,
        legal: impl Into<String>,
    ) -> Error {
        Error(Arc::new(Fault {
            code,
            op: op.into(),
            operands: None,
            rule: rule.into(),
            legal: legal.into(),
            location: None,
            scope: String::new(),
            notes: Vec::new(),
            observed: AtomicBool::new(false),
        }))
    }

    /// From a broken type rule.
    pub(crate) fn violation(v: Violation) -> Error {
        let code = match v.kind {
            ViolationKind::Shape => Code::Shape,
            ViolationKind::DType => Code::DType,
            ViolationKind::Axis => Code::Axis,
            ViolationKind::Rank => Code::Rank,
            ViolationKind::Empty => Code::Empty,
            ViolationKind::Index => Code::Index,
        };
        Error::new(code, v.op, v.rule, v.legal).edit(|f| f.operands = Some(vec![v.operands]))
    }

    /// From a failed run of a graph.
    pub(crate) fn exec(e: ExecError) -> Error {
        match e {
            ExecError::Argument(m) => Error::new(Code::Argument, "call", m, ""),
            ExecError::Memory(shortage) => {
                let mut e = Error::new(Code::Memory, "call", shortage.message, "");
                for (i, wanted) in shortage.largest.iter().enumerate() {
                    let most = if i == 0 { "the most is wanted for" } else { "then for" };
                    e = e.note(format!("{most} {wanted}"));
                }
                e
            }
            ExecError::Device(e) => Error::device(e),
            ExecError::Bug(m) => Error::new(Code::Bug, "call", m, "this is a bug in tracewright, please report it"),
            ExecError::Op { op, origins, error } => {
                let rule = error.to_string();
                let failed = match error {
                    ir::EvalError::Rule(violation) => Error::violation(*violation),
                    ir::EvalError::IndexOutOfRange { extent: 0, .. } => {
                        Error::new(Code::Index, op, rule, "an empty axis has no index")
                    }
                    ir::EvalError::IndexOutOfRange { extent, .. } => {
                        Error::new(Code::Index, op, rule, format!("indices go from 0 to {}", extent - 1))
                    }
                    _ => Error::new(Code::Argument, op, rule, ""),
                };
                let at = origins.first().cloned();
                failed.edit(|f| {
                    if let Some(origin) = at {
                        f.location = Some(origin.location);
                        f.scope = origin.scope.into_owned();
                        if origin.gradient {
                            f.notes.push("in the gradient of that line".into());
                        }
                    }
                    f.notes.extend(origins.iter().skip(1).map(|o| format!("also from {o}")));
                })
            }
        }
    }

    /// From a device that is not there or has failed.
    pub(crate) fn device(e: DeviceError) -> Error {
        let rule = format!("{}: {}", e.device, e.message);
        let legal = if e.usable { "" } else { "the process cannot use the device any more" };
        Error::new(Code::Device, "device", rule, legal)
    }

    fn edit(mut self, f: impl FnOnce(&mut Fault)) -> Error {
        if let Some(fault) = Arc::get_mut(&mut self.0) {
            f(fault);
            return self;
        }
        let mut fault = self.0.copy();
        // The copy speaks for both.
        self.0.observed.store(true, Ordering::Relaxed);
        f(&mut fault);
        Error(Arc::new(fault))
    }

    pub(crate) fn with_operands(self, operands: impl IntoIterator<Item = String>) -> Error {
        self.edit(|f| f.operands = Some(operands.into_iter().collect()))
    }
    pub(crate) fn at(self, location: &'static std::panic::Location<'static>) -> Error {
        self.edit(|f| f.location = Some(location.into()))
    }
    /// At the place where an op was recorded.
    pub(crate) fn at_origin(self, origin: &ir::Origin) -> Error {
        self.edit(|f| {
            f.location = Some(origin.location.clone());
            f.scope = origin.scope.to_string();
        })
    }
    pub(crate) fn in_file(self, file: &str, line: usize, column: usize) -> Error {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let location = Location { file: file.to_string().into(), line: number(line), column: number(column) };
        self.edit(|f| f.location = Some(location))
    }
    pub(crate) fn in_scope(self, scope: &str) -> Error {
        self.edit(|f| f.scope = scope.into())
    }
    pub(crate) fn note(self, note: impl Into<String>) -> Error {
        self.edit(|f| f.notes.push(note.into()))
    }
    /// Of a node of a model: its op and operands in the place of ours, unless it is that of a node inside of it already.
    pub(crate) fn in_node(self, name: &str, op: &'static str, operands: Vec<String>) -> Error {
        let inside = self.is_in_node();
        self.edit(|f| {
            if !inside {
                let ours = f.operands.as_ref().map(|o| o.join(", ")).filter(|o| !o.is_empty());
                if f.op != op && f.op != "onnx" {
                    f.notes.push(format!("computed by {}{}", f.op, ours.map(|o| format!("({o})")).unwrap_or_default()));
                }
                f.op = op.into();
                f.operands = Some(operands);
            }
            f.notes.push(format!("in the node `{name}` ({op})"));
        })
    }
    /// True if it says in which node of a model it is.
    pub(crate) fn is_in_node(&self) -> bool {
        self.0.notes.iter().any(|n| n.starts_with("in the node `"))
    }
    /// Without what it says about lines, of a graph that others made before.
    pub(crate) fn without_lines(self) -> Error {
        self.edit(|f| {
            f.location = None;
            f.notes.clear();
        })
    }
    /// Marks it as seen, which a boundary does when it returns it.
    pub(crate) fn observed(self) -> Error {
        self.0.observed.store(true, Ordering::Relaxed);
        self
    }

    /// The class of the error.
    pub fn code(&self) -> Code {
        self.0.code
    }
    /// The op or function that refused.
    pub fn op(&self) -> &str {
        &self.0.op
    }
    /// The types of its operands.
    pub fn operands(&self) -> &[String] {
        self.0.operands.as_deref().unwrap_or_default()
    }
    /// The rule that was broken.
    pub fn rule(&self) -> &str {
        &self.0.rule
    }
    /// What would be legal; may be empty.
    pub fn legal(&self) -> &str {
        &self.0.legal
    }
    /// The user's line.
    pub fn location(&self) -> Option<&Location> {
        self.0.location.as_ref()
    }
    /// The scope path; empty at top level.
    pub fn scope(&self) -> &str {
        &self.0.scope
    }
    /// The message without the place, for tests and tables.
    pub fn headline(&self) -> String {
        self.0.headline()
    }
}

impl Fault {
    fn copy(&self) -> Fault {
        Fault {
            code: self.code,
            op: self.op.clone(),
            operands: self.operands.clone(),
            rule: self.rule.clone(),
            legal: self.legal.clone(),
            location: self.location.clone(),
            scope: self.scope.clone(),
            notes: self.notes.clone(),
            observed: AtomicBool::new(self.observed.load(Ordering::Relaxed)),
        }
    }

    fn headline(&self) -> String {
        let operands = self.operands.as_ref().map(|o| o.join(", ")).filter(|o| !o.is_empty());
        let operands = operands.map(|o| format!("({o})")).unwrap_or_default();
        format!("error[{}]: {}{operands}: {}", self.code, self.op, self.rule)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(location) = &self.location {
            write!(f, "\n  at {location}")?;
            if !self.scope.is_empty() {
                write!(f, " in {}", self.scope)?;
            }
        }
        if !self.legal.is_empty() {
            write!(f, "\n  legal: {}", self.legal)?;
        }
        self.notes.iter().try_for_each(|n| write!(f, "\n  note: {n}"))
    }
}

impl From<DeviceError> for Error {
    fn from(e: DeviceError) -> Error {
        Error::device(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.observed.store(true, Ordering::Relaxed);
        fmt::Display::fmt(&self.0, f)
    }
}
/// As `Display`: it is what `unwrap` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::strict::unwrapped(self);
        fmt::Display::fmt(self, f)
    }
}
impl std::error::Error for Error {}
