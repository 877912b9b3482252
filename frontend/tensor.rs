//! The tensor type and its boundaries: where values and errors come out.

use crate::device::made_here;
use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::tape::Tracked;
use crate::trace::{self, Traced};
use crate::view::View;
use crate::{Device, strict};
use ir::{DType, Dim, Element, Literal, Scalar, Shape, Type};
use runtime::Array;
use std::panic::Location;
use std::sync::Arc;

/// A tensor: an array of numbers, or inside a trace a value to be computed, or an error value.
///
/// Cloning is cheap and shares the elements, which never change. Operators broadcast as NumPy's do; their operands
/// may be tensors, references to tensors, and numbers on either side. An ill-typed op yields an error value that the
/// next boundary ([`Tensor::to_vec`], [`Tensor::item`], a compiled call, …) returns as `Err`.
///
/// ```
/// use tracewright::Tensor;
/// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
/// let y = (&x * 2.0 + 1.0).sum(0);
/// assert_eq!(y.to_vec::<f32>()?, [10.0, 14.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(pub(crate) Repr);

// Nothing can be seen half changed: a tensor never changes.
impl std::panic::UnwindSafe for Tensor {}
impl std::panic::RefUnwindSafe for Tensor {}

/// Which tensor.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The trace that it is a value of, or the op on the tape, or 0.
    trace: u64,
    /// The value, or where the memory is.
    at: usize,
    /// Of an array, since arrays of other extents may lie in the same memory.
    ty: Option<Type>,
}

#[derive(Clone)]
pub(crate) enum Repr {
    Array(Array),
    /// A view of an array that nothing was computed for.
    View(Arc<View>),
    Traced(Arc<Traced>),
    /// An array or a view of one, on the tape.
    Tracked(Arc<Tracked>),
    Error(Error),
}

/// What a tensor holds once its elements are in memory of their own.
pub(crate) enum Held<'a> {
    Array(&'a Array),
    Traced(&'a Arc<Traced>),
    Error(Error),
}

impl Tensor {
    pub(crate) fn array(array: Array) -> Tensor {
        Tensor(Repr::Array(array))
    }

    pub(crate) fn literal(literal: Literal) -> Tensor {
        match Array::from_literal(&literal) {
            Ok(a) => Tensor::made(a),
            Err(e) => Tensor::error(Error::exec(e).at(here())),
        }
    }

    /// An array of the host, on the device that things are made on.
    pub(crate) fn made(array: Array) -> Tensor {
        match made_here(array) {
            Ok(a) => Tensor::array(a),
            Err(e) => Tensor::error(e.at(here())),
        }
    }

    /// An error value; in strict mode a panic.
    pub(crate) fn error(error: Error) -> Tensor {
        if strict::enabled() {
            strict::panic(error);
        }
        Tensor(Repr::Error(error))
    }

    /// The error, if it is an error value.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let sum = Tensor::from([1.0f32, 2.0]) + Tensor::from([1.0f32, 2.0, 3.0]);
    /// assert_eq!(sum.err().unwrap().op(), "add");
    /// ```
    pub fn err(&self) -> Option<Error> {
        self.error_ref().map(|e| e.clone().observed())
    }

    pub(crate) fn error_ref(&self) -> Option<&Error> {
        match &self.0 {
            Repr::Error(e) => Some(e),
            _ => None,
        }
    }

    /// The tensor without its place on the tape.
    pub(crate) fn plain(&self) -> &Tensor {
        match &self.0 {
            Repr::Tracked(t) => &t.value,
            _ => self,
        }
    }

    /// Its place on the tape, if it has one.
    pub(crate) fn tracked(&self) -> Option<&Arc<Tracked>> {
        match &self.0 {
            Repr::Tracked(t) => Some(t),
            _ => None,
        }
    }

    /// What it holds; runs a view.
    pub(crate) fn held(&self) -> Held<'_> {
        match &self.0 {
            Repr::Array(a) => Held::Array(a),
            Repr::View(v) => v.settle().map_or_else(Held::Error, Held::Array),
            Repr::Traced(t) => Held::Traced(t),
            Repr::Tracked(t) => t.value.held(),
            Repr::Error(e) => Held::Error(e.clone()),
        }
    }

    /// Its array, if it has one; runs a view.
    pub(crate) fn into_array(self) -> Option<Array> {
        match self.0 {
            Repr::Array(a) => Some(a),
            _ => match self.held() {
                Held::Array(a) => Some(a.clone()),
                _ => None,
            },
        }
    }

    /// The tensor, or the error that it holds.
    pub fn ok(self) -> Result<Tensor> {
        match self.error_ref() {
            Some(e) => Err(e.clone().observed()),
            None => Ok(self),
        }
    }

    /// True while it is a value of a trace.
    pub fn is_traced(&self) -> bool {
        matches!(self.0, Repr::Traced(_))
    }

    /// Where its memory is, if it has any: a tensor that a call updated in place is where it was.
    pub fn data_ptr(&self) -> Option<usize> {
        match self.held() {
            Held::Array(a) => Some(a.address() as usize),
            _ => None,
        }
    }

    /// Element type and shape, or the error that it holds.
    pub fn try_type(&self) -> Result<Type> {
        match &self.0 {
            Repr::Array(a) => Ok(Type::new(a.dtype(), a.dims())),
            Repr::View(v) => Ok(Type::new(v.dtype, v.shape.clone())),
            Repr::Traced(t) => Ok(t.ty.clone()),
            Repr::Tracked(t) => t.value.try_type(),
            Repr::Error(e) => Err(e.clone().observed()),
        }
    }

    /// The type, for error messages and rules, which look at it only after they looked for errors.
    pub(crate) fn ty(&self) -> Type {
        match &self.0 {
            Repr::Array(a) => Type::new(a.dtype(), a.dims()),
            Repr::View(v) => Type::new(v.dtype, v.shape.clone()),
            Repr::Traced(t) => t.ty.clone(),
            Repr::Tracked(t) => t.value.ty(),
            Repr::Error(e) => strict::panic(e.clone()),
        }
    }

    /// The extents; panics with the error's message if it is an error value.
    pub fn shape(&self) -> Shape {
        self.ty().shape
    }

    /// The extents, or the error that it holds.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1.0f32, 2.0]]).try_shape()?.to_string(), "[1, 2]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn try_shape(&self) -> Result<Shape> {
        self.try_type().map(|t| t.shape)
    }

    /// Number of axes; panics with the error's message if it is an error value.
    pub fn rank(&self) -> usize {
        match &self.0 {
            Repr::Array(a) => a.dims().len(),
            Repr::View(v) => v.shape.rank(),
            Repr::Traced(t) => t.ty.rank(),
            Repr::Tracked(t) => t.value.rank(),
            Repr::Error(e) => strict::panic(e.clone()),
        }
    }

    /// Element type; panics with the error's message if it is an error value.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Repr::Array(a) => a.dtype(),
            Repr::View(v) => v.dtype,
            Repr::Traced(t) => t.ty.dtype,
            Repr::Tracked(t) => t.value.dtype(),
            Repr::Error(e) => strict::panic(e.clone()),
        }
    }

    /// Number of elements; panics with the error's message if it is an error value.
    pub fn numel(&self) -> Dim {
        self.shape().numel()
    }

    /// The extent of an axis, as a dimension; negative axes count from the last. Panics if there is no such axis.
    #[track_caller]
    pub fn dim(&self, axis: isize) -> Dim {
        let shape = self.shape();
        let rank = shape.rank() as isize;
        match usize::try_from(if axis < 0 { axis + rank } else { axis }) {
            Ok(a) if (a as isize) < rank => shape[a].clone(),
            _ => strict::panic(
                Error::new(Code::Axis, "dim", format!("axis {axis} does not exist in shape {shape}"), "")
                    .at(Location::caller()),
            ),
        }
    }

    /// The extent of an axis as a number. In a trace a symbolic extent becomes the number it has in this call: the
    /// function is specialised to it, which is a counted event. Panics if there is no such axis.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1.0f32, 2.0]]).size(-1), 2);
    /// ```
    #[track_caller]
    pub fn size(&self, axis: isize) -> usize {
        let dim = self.dim(axis);
        extent(&dim)
    }

    /// The device it lives on: of a traced value, the one that the function is traced for.
    pub fn device(&self) -> Device {
        match &self.0 {
            Repr::Array(a) => a.device(),
            Repr::View(v) => v.device,
            Repr::Tracked(t) => t.value.device(),
            Repr::Traced(_) | Repr::Error(_) => runtime::device::current().unwrap_or_default(),
        }
    }

    /// A copy on a device; the same tensor if it is there already. A traced value stays where the function runs, and a
    /// tensor on the tape where it is: another device is an error.
    ///
    /// ```
    /// use tracewright::{Device, Tensor};
    /// let x = Tensor::from([1.0f32, 2.0]).to_device(Device::Cpu);
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn to_device(&self, device: Device) -> Tensor {
        let _here = enter();
        let refuse = |rule: String, legal: &str| {
            let e = Error::new(Code::Device, "to_device", rule, legal).with_operands([self.ty().to_string()]);
            Tensor::error(e.at(here()).in_scope(&crate::scope::current()))
        };
        if self.error_ref().is_some() || self.device() == device {
            return self.clone();
        }
        if self.tracked().is_some() {
            return refuse("a tensor on the tape cannot move".into(), "detach it, or move it before requires_grad");
        }
        match self.held() {
            Held::Array(a) => match a.to_device(device) {
                Ok(moved) => Tensor::array(moved),
                Err(e) => Tensor::error(Error::exec(e).at(here()).in_scope(&crate::scope::current())),
            },
            Held::Traced(_) => {
                let rule =
                    format!("the function is traced for {}, and a value of it cannot move to {device}", self.device());
                refuse(rule, "move arguments before the call, and results after it")
            }
            Held::Error(e) => Tensor::error(e),
        }
    }

    #[track_caller]
    pub(crate) fn read(&self, what: &'static str) -> Result<&Array> {
        match self.held() {
            Held::Array(a) => Ok(a),
            Held::Error(e) => Err(e.observed()),
            Held::Traced(t) => {
                let e = if trace::is_open(t.trace.id) {
                    Error::new(
                        Code::Read,
                        what,
                        format!("the value is not known while the function is traced by {}", t.trace.kind),
                        "return the tensor and read it after the call, or compute with it as a tensor",
                    )
                } else {
                    trace::ended(what, t)
                };
                Err(e.with_operands([t.ty.to_string()]).at(here()).in_scope(&crate::scope::current()).observed())
            }
        }
    }

    /// Its array in the host's memory.
    #[track_caller]
    fn on_host(&self, what: &'static str) -> Result<Array> {
        let located = |e| Error::exec(e).at(here()).in_scope(&crate::scope::current()).observed();
        self.read(what)?.to_device(Device::Cpu).map_err(located)
    }

    /// Its array, on its device: the elements without a copy.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2]).to_array()?.as_slice::<i64>(), Some(&[1, 2][..]));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn to_array(&self) -> Result<Array> {
        let _here = enter();
        self.read("to_array").cloned()
    }

    /// The elements in row-major order; `T` must be the Rust type of the dtype.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 2], [3, 4]]).to_vec::<i64>()?, [1, 2, 3, 4]);
    /// assert!(Tensor::from([1i64]).to_vec::<f32>().is_err());
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let array = self.on_host("to_vec")?;
        Ok(self.typed::<T>("to_vec", &array)?.to_vec())
    }

    /// The only element of a tensor that has one; `T` must be the Rust type of the dtype.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[2.5f32]]).item::<f32>()?, 2.5);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        let array = self.on_host("item")?;
        match self.typed::<T>("item", &array)? {
            [x] => Ok(*x),
            other => Err(Error::new(
                if other.is_empty() { Code::Empty } else { Code::Shape },
                "item",
                format!("the tensor has {} elements", other.len()),
                "exactly one element",
            )
            .with_operands([self.ty().to_string()])
            .at(here())
            .observed()),
        }
    }

    #[track_caller]
    fn typed<'a, T: Element>(&self, what: &'static str, array: &'a Array) -> Result<&'a [T]> {
        let at = here();
        array.as_slice::<T>().ok_or_else(|| {
            Error::new(
                Code::DType,
                what,
                format!("elements of dtype {} are read as {}", array.dtype(), T::DTYPE),
                format!(
                    "read them as {}, or convert with to_dtype(DType::{:?}) before",
                    array.dtype(),
                    Variant(T::DTYPE)
                ),
            )
            .with_operands([self.ty().to_string()])
            .at(at)
            .observed()
        })
    }

    /// The elements with their extents.
    #[track_caller]
    pub fn to_literal(&self) -> Result<Literal> {
        self.on_host("to_literal")?.to_literal().map_err(|e| Error::exec(e).observed())
    }

    /// The only element, whatever its dtype, as a number.
    #[track_caller]
    pub fn to_scalar(&self) -> Result<Scalar> {
        self.read("to_scalar")?;
        let literal = self.to_literal()?;
        if literal.numel() != 1 {
            let code = if literal.numel() == 0 { Code::Empty } else { Code::Shape };
            let rule = format!("the tensor has {} elements", literal.numel());
            let e = Error::new(code, "to_scalar", rule, "exactly one element");
            return Err(e.with_operands([literal.ty().to_string()]).at(here()).observed());
        }
        Ok(literal.get(0))
    }

    /// What two tensors share exactly if they are the same tensor; `None` for error values.
    pub(crate) fn identity(&self) -> Option<Identity> {
        if let Repr::Tracked(t) = &self.0 {
            return Some(Identity { trace: t.node.id | 1 << 63, at: t.slot, ty: Some(self.ty()) });
        }
        match self.held() {
            Held::Array(a) => Some(Identity { trace: 0, at: a.address() as usize, ty: Some(a.ty()) }),
            Held::Traced(t) => Some(Identity { trace: t.trace.id, at: t.value.at(), ty: None }),
            Held::Error(_) => None,
        }
    }
}

/// A dimension as a number. In a trace a symbolic one becomes the number it has in this call: the function is
/// specialised to it, which is a counted event. Panics if it has no value that can be an extent.
#[track_caller]
pub fn extent(dim: &Dim) -> usize {
    match dim.as_usize() {
        Some(n) => n,
        None => match number(dim).map(usize::try_from) {
            Some(Ok(n)) => n,
            _ => {
                let rule = format!("the dimension {dim} has no value here that is an extent");
                strict::panic(Error::new(Code::Trace, "size", rule, "use it as a Dim").at(here()))
            }
        },
    }
}

/// As [`extent`], of what may be negative; `None` if it has no value here.
#[track_caller]
pub(crate) fn number(dim: &Dim) -> Option<i64> {
    dim.known().or_else(|| trace::specialize(dim, here()))
}

/// Names a dtype as its Rust variant.
struct Variant(DType);
impl std::fmt::Debug for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.name().to_uppercase().replace("BOOL", "Bool"))
    }
}
