//! The one open door of the op table: ops that users define.
//!
//! A user's op is an [`Implementation`], which the frontend makes of what the user wrote. It is identified by name, version
//! and attributes; graphs hold it as [`Custom`], and text and files find it again through the [registry](register). What
//! a user's code does wrong, a panic included, is an error of the call that names op and line.

mod body;
mod registry;

pub use body::{Body, Call, Elements, ElementsMut, Operand, Output, SliceOf};
pub(crate) use registry::read;
pub use registry::{Read, is_name, missing, register};

use super::rules::violation;
use super::{
    Attr, Attributes, Emit, EvalContext, Lowering, OpDef, OpDoc, PerOperand, PerResult, Primitive, Traits, Types,
    VjpContext,
};
use crate::graph::{RegionType, Value, Values};
use crate::{Dim, EvalError, Literal, NotDifferentiable, Symbol, Type, Violation};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::any::Any;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The attribute that holds an op's version.
const VERSION: &str = "version";

/// A user's op with its attributes. Errors are words; panics of [`infer`](Implementation::infer),
/// [`eval`](Implementation::eval) and of bodies are caught by whoever calls.
pub trait Implementation: Send + Sync + 'static {
    /// Name, with at least one dot in it.
    fn name(&self) -> &'static str;
    /// Version.
    fn version(&self) -> u32;
    /// Attributes, in the order in which they print.
    fn attributes(&self) -> Vec<(&'static str, Attr)>;
    /// See [`Traits::pure`].
    fn is_pure(&self) -> bool;
    /// The type rule: at least one result.
    fn infer(&self, operands: &[&Type]) -> Result<Types, String>;
    /// The reference evaluation.
    fn eval(&self, operands: &[&Literal]) -> Result<SmallVec<[Literal; 1]>, String>;
    /// See [`OpDef::vjp`].
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable>;
    /// See [`OpDef::jvp_all`].
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<PerResult, NotDifferentiable>;
    /// See [`OpDef::batch_all`].
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Values;
    /// Code of its own, if it has more than `eval`.
    fn body(&self) -> Option<&dyn Body>;
}

/// A user's op in a graph.
#[derive(Clone)]
pub struct Custom {
    implementation: Arc<dyn Implementation>,
    attributes: Vec<(&'static str, Attr)>,
}

impl Custom {
    /// An op of an implementation, whose name should be [registered](register).
    pub fn new(implementation: Arc<dyn Implementation>) -> Result<Custom, String> {
        let name = implementation.name();
        let mut attributes = vec![(VERSION, Attr::Int(implementation.version().into()))];
        let own = guarded("listing its attributes", || Ok(implementation.attributes()));
        for (attribute, value) in own.map_err(|e| format!("`{name}`: {e}"))? {
            if !Symbol::is_valid(attribute) || attributes.iter().any(|(a, _)| *a == attribute) {
                return Err(format!("`{name}`: an attribute cannot be called `{attribute}`, or not twice"));
            }
            attributes.push((attribute, value));
        }
        Ok(Custom { implementation, attributes })
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.implementation.version()
    }

    fn same(&self, other: &Custom) -> bool {
        self.implementation.name() == other.implementation.name() && self.attributes == other.attributes
    }
}

/// The value of a hook of a user; a panic is an error in words.
pub fn guarded<T>(hook: &str, f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| Err(format!("{hook} panicked: {}", message(&*payload))))
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
        (Some(s), _) => s.clone(),
        (_, Some(s)) => s.to_string(),
        _ => "a value that is not text".into(),
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        self.same(other)
    }
}
impl Eq for Custom {}
impl Hash for Custom {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.implementation.name().hash(h);
        self.attributes.hash(h);
    }
}

/// As name, version and attributes; reading looks the name up.
impl Serialize for Custom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own: Vec<(&str, &Attr)> = self.attributes[1..].iter().map(|(n, a)| (*n, a)).collect();
        (self.implementation.name(), self.version(), own).serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Custom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Custom, D::Error> {
        let (name, version, own): (String, u32, Vec<(String, Attr)>) = Deserialize::deserialize(deserializer)?;
        registry::from_attributes(&name, version, own).map_err(serde::de::Error::custom)
    }
}

impl Attributes for Custom {
    fn name(&self) -> &'static str {
        self.implementation.name()
    }
    fn attributes(&self) -> Vec<(&'static str, Attr)> {
        self.attributes.clone()
    }
    fn with_symbols(&self, f: &dyn Fn(&Symbol) -> Option<Dim>) -> Primitive {
        let replaced = |a: &Attr| match a {
            Attr::Dim(d) => Attr::Dim(d.substitute(f)),
            Attr::Dims(all) => Attr::Dims(all.iter().map(|d| d.substitute(f)).collect()),
            other => other.clone(),
        };
        let own = self.attributes[1..].iter().map(|(n, a)| (n.to_string(), replaced(a))).collect::<Vec<_>>();
        if own.iter().zip(&self.attributes[1..]).all(|((_, new), (_, old))| new == old) {
            return self.clone().into();
        }
        let name = self.implementation.name();
        registry::from_attributes(name, self.version(), own).unwrap_or_else(|e| panic!("{e}")).into()
    }
}

impl OpDef for Custom {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "What its `eval` says.",
            constraints: &["what its type rule says"],
            gradient: "What its rule says; without one there is none, and to ask for it is an error.",
            example: "",
        }
    }
    fn traits(&self) -> Traits {
        Traits { pure: self.implementation.is_pure(), commutative: false, fallible: true }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        let types = guarded("its type rule", || self.implementation.infer(operands));
        match types {
            Ok(types) if types.is_empty() => Err(violation(self, operands, "its type rule gives no result", "")),
            Ok(types) => Ok(types),
            Err(e) => Err(violation(self, operands, e, "")),
        }
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let results = guarded("eval", || self.implementation.eval(operands)).map_err(EvalError::Other)?;
        let types: SmallVec<[Type; 4]> = operands.iter().map(|x| x.ty()).collect();
        let said = self.infer(&types.iter().collect::<SmallVec<[&Type; 4]>>(), &[])?;
        let wrong = |what: String| EvalError::Other(format!("eval gave {what}"));
        if results.len() != said.len() || cx.results.len() != said.len() {
            return Err(wrong(format!("{} results, its type rule says {}", results.len(), cx.results.len())));
        }
        for (i, ((result, ty), dims)) in results.iter().zip(&said).zip(cx.results).enumerate() {
            if result.dtype() != ty.dtype || result.dims() != dims.as_slice() {
                let ty = Type::new(ty.dtype, dims.as_slice());
                return Err(wrong(format!("{} as result {i}, its type rule says {ty}", result.ty())));
            }
        }
        Ok(results)
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        self.implementation.vjp(b, cx)
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(self.jvp_all(b, operands, results, tangents)?[0])
    }
    fn jvp_all(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<PerResult, NotDifferentiable> {
        self.implementation.jvp(b, operands, results, tangents)
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        self.batch_all(b, operands, axes, size)[0]
    }
    fn batch_all(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Values {
        self.implementation.batch(b, operands, axes, size)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Opaque
    }
    fn body(&self) -> Option<&dyn Body> {
        self.implementation.body()
    }
}
