//! Values between nodes: tensors, integers that shapes are made of, lists, and values that may be absent.

use crate::error::{Code, Error, Result};
use crate::ops::prim;
use crate::tensor::{Repr, Tensor};
use crate::tree::{Fixed, Tree, Visit};
use crate::{DType, Device, Dim, Literal, Scalar, concat, trace};
use runtime::Array;

/// An input or output of a model: a tensor, a list, or something that may be absent.
#[derive(Clone)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A list.
    Sequence(Vec<Value>),
    /// A value or none.
    Optional(Option<Box<Value>>),
}

/// A tensor has the path of the value.
impl Tree for Value {
    fn visit(&self, v: &mut dyn Visit) {
        let variant = match self {
            Value::Tensor(_) => "Tensor",
            Value::Sequence(_) => "Sequence",
            Value::Optional(_) => "Optional",
        };
        v.fixed(Fixed::Variant(variant));
        match self {
            Value::Tensor(t) => t.visit(v),
            Value::Sequence(items) => items.visit(v),
            Value::Optional(item) => item.visit(v),
        }
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        match self {
            Value::Tensor(t) => t.visit_mut(f),
            Value::Sequence(items) => items.visit_mut(f),
            Value::Optional(item) => item.visit_mut(f),
        }
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        match self {
            Value::Tensor(t) => Value::Tensor(t.map(f)),
            Value::Sequence(items) => Value::Sequence(items.map(f)),
            Value::Optional(item) => Value::Optional(item.map(f)),
        }
    }
}

impl Value {
    /// The tensor, if it is one.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Value::Tensor(t) => Some(t),
            _ => None,
        }
    }
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Value {
        Value::Tensor(t)
    }
}

/// Integers, or truth values as 0 and 1, that are known while a graph is traced, but for symbols that stand for extents.
#[derive(Clone, Debug)]
pub(super) struct Ints {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub dims: Vec<Dim>,
}

/// Integers that are followed while tracing, at most.
const MOST_INTS: usize = 1024;

/// Beyond this their arithmetic could leave the numbers of 64 bits; but for ends of slices, which are such that none is reached.
const MOST_INT: u64 = 1 << 40;

impl Ints {
    pub fn list(dims: Vec<Dim>) -> Ints {
        Ints { dtype: DType::I64, shape: vec![dims.len()], dims }
    }

    /// As numbers, if there are no symbols.
    pub fn known(&self) -> Option<Vec<i64>> {
        self.dims.iter().map(Dim::known).collect()
    }

    fn tensor(&self) -> Tensor {
        if let Some(known) = self.known() {
            let data = Literal::from_fn(&self.shape, self.dtype, |i| Scalar::I64(known[i]).convert(self.dtype));
            return Tensor::constant(data);
        }
        let parts: Vec<Tensor> = self.dims.iter().map(|d| prim::extent(d).reshape([1usize])).collect();
        concat(&parts, 0).reshape(self.shape.as_slice()).to_dtype(self.dtype)
    }
}

/// What a node is given and yields.
#[derive(Clone)]
pub(super) enum Operand {
    /// An optional input that is left out.
    Nothing,
    Tensor(Tensor),
    Ints(Ints),
    Sequence(Vec<Operand>),
    Optional(Option<Box<Operand>>),
}

impl From<Tensor> for Operand {
    fn from(t: Tensor) -> Operand {
        Operand::Tensor(t)
    }
}
impl From<Ints> for Operand {
    fn from(i: Ints) -> Operand {
        Operand::Ints(i)
    }
}

/// Bytes of a known tensor that becomes a constant of the graph; a larger one is an input of it.
const CONSTANT_BYTES: usize = 1024;

/// True if it becomes a constant of the graph.
pub(super) fn is_small(array: &Array) -> bool {
    array.byte_len() <= CONSTANT_BYTES
}

impl Operand {
    pub fn of(value: &Value) -> Operand {
        match value {
            Value::Tensor(t) => Operand::Tensor(t.clone()),
            Value::Sequence(items) => Operand::Sequence(items.iter().map(Operand::of).collect()),
            Value::Optional(item) => Operand::Optional(item.as_ref().map(|v| Box::new(Operand::of(v)))),
        }
    }

    /// The value for the outside.
    pub fn value(&self) -> Result<Value> {
        Ok(match self {
            Operand::Nothing => Value::Optional(None),
            Operand::Tensor(t) => Value::Tensor(t.clone()),
            Operand::Ints(i) => Value::Tensor(i.tensor()),
            Operand::Sequence(items) => Value::Sequence(items.iter().map(Operand::value).collect::<Result<_>>()?),
            Operand::Optional(item) => Value::Optional(match item {
                Some(v) => Some(Box::new(v.value()?)),
                None => None,
            }),
        })
    }

    /// True if nothing in it is a value of a trace or a symbol.
    pub fn is_known(&self) -> bool {
        match self {
            Operand::Nothing => true,
            Operand::Tensor(t) => t.tracked().is_none() && !t.is_traced() && t.error_ref().is_none(),
            Operand::Ints(i) => i.known().is_some(),
            Operand::Sequence(items) => items.iter().all(Operand::is_known),
            Operand::Optional(item) => item.as_ref().is_none_or(|v| v.is_known()),
        }
    }

    /// True if none of it is on another device than the processor.
    pub fn is_on_host(&self) -> bool {
        match self {
            Operand::Tensor(t) => t.device() == Device::Cpu,
            Operand::Sequence(items) => items.iter().all(Operand::is_on_host),
            Operand::Optional(Some(item)) => item.is_on_host(),
            _ => true,
        }
    }

    /// As a tensor to compute with: what is known and small is a constant of the open trace, and what else is of the file goes
    /// where it is computed with.
    pub fn tensor(&self) -> Option<Tensor> {
        match self {
            Operand::Tensor(t) => Some(match &t.0 {
                Repr::Array(a) if trace::active() && is_small(a) => match a.to_literal() {
                    Ok(literal) => Tensor::constant(literal),
                    Err(_) => t.clone(),
                },
                Repr::Array(a) if a.device() == Device::Cpu => match runtime::device::current() {
                    Ok(device) if device != Device::Cpu => t.to_device(device),
                    _ => t.clone(),
                },
                _ => t.clone(),
            }),
            Operand::Ints(i) => Some(i.tensor()),
            Operand::Optional(Some(item)) => item.tensor(),
            _ => None,
        }
    }

    /// The elements, if they are known.
    pub fn literal(&self) -> Option<Result<Literal>> {
        match self {
            Operand::Tensor(t) if self.is_known() => Some(t.to_literal()),
            Operand::Ints(i) => {
                let known = i.known()?;
                Some(Ok(Literal::from_fn(&i.shape, i.dtype, |at| Scalar::I64(known[at]).convert(i.dtype))))
            }
            Operand::Optional(Some(item)) => item.literal(),
            _ => None,
        }
    }

    /// As integers, if it is few integers that are known, but for symbols.
    pub fn ints(&self) -> Option<Ints> {
        match self {
            Operand::Ints(i) => Some(i.clone()),
            Operand::Tensor(t) if self.is_known() => {
                let ty = t.ty();
                let few = ty.shape.numel().as_usize().is_some_and(|n| n <= MOST_INTS);
                let followed = matches!(ty.dtype, DType::I64 | DType::I32 | DType::Bool);
                if !followed || !few || t.device() != Device::Cpu {
                    return None;
                }
                let literal = t.to_literal().ok()?;
                let dim = |s: Scalar| (integer(s).unsigned_abs() < MOST_INT).then(|| Dim::from(integer(s)));
                let dims = literal.iter().map(dim).collect::<Option<_>>()?;
                Some(Ints { dtype: ty.dtype, shape: literal.dims().to_vec(), dims })
            }
            _ => None,
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Operand::Nothing => "nothing".into(),
            Operand::Tensor(t) => t.try_type().map_or("an error".into(), |ty| ty.to_string()),
            Operand::Ints(i) => format!("{}{:?}", i.dtype, i.shape),
            Operand::Sequence(items) => format!("a sequence of {}", items.len()),
            Operand::Optional(item) => format!("optional {}", item.as_ref().map_or("nothing".into(), |v| v.describe())),
        }
    }

    /// The first error in it.
    pub fn error(&self) -> Option<Error> {
        match self {
            Operand::Tensor(t) => t.error_ref().cloned(),
            Operand::Sequence(items) => items.iter().find_map(Operand::error),
            Operand::Optional(Some(item)) => item.error(),
            _ => None,
        }
    }
}

/// A scalar of integers or truth values as a number; floats are cut off.
pub(super) fn integer(s: Scalar) -> i64 {
    match s.convert(DType::I64) {
        Scalar::I64(n) => n,
        _ => 0,
    }
}

/// A scalar as a float.
pub(super) fn float(s: Scalar) -> f64 {
    match s.convert(DType::F64) {
        Scalar::F64(x) => x,
        _ => 0.0,
    }
}

/// An error of importing or running a model.
pub(super) fn refuse(code: Code, rule: impl Into<String>, legal: impl Into<String>) -> Error {
    Error::new(code, "onnx", rule, legal)
}
