//! Attributes of ops: plain data with a text form.

use super::Primitive;
use crate::{Axes, DType, Dim, Literal, Scalar, Shape, Symbol};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One attribute value, as the text form knows it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// A list of axis numbers, `[0, 2]`.
    Axes(Axes),
    /// A list of dimensions, `[B, 10]`.
    Dims(Vec<Dim>),
    /// One dimension.
    Dim(Dim),
    /// A scalar with its dtype, `1.0:f32`.
    Scalar(Scalar),
    /// A dtype.
    DType(DType),
    /// A word out of a fixed set.
    Word(String),
    /// Any text, in quotes.
    Text(String),
    /// Dense data.
    Literal(Literal),
}

impl fmt::Debug for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Int(x) => write!(f, "{x}"),
            Attr::Axes(x) => write!(f, "{x:?}"),
            Attr::Dims(x) => write!(f, "{x:?}"),
            Attr::Dim(x) => write!(f, "{x}"),
            Attr::Scalar(x) => write!(f, "{x:?}"),
            Attr::DType(x) => write!(f, "{x}"),
            Attr::Word(x) => f.write_str(x),
            Attr::Text(x) => write!(f, "{x:?}"),
            Attr::Literal(x) => write!(f, "{x:?}"),
        }
    }
}

/// The attributes that a reader of text found, to be taken by name.
#[derive(Debug, Default)]
pub struct AttrReader(pub Vec<(String, Attr)>);

impl AttrReader {
    /// Takes an attribute.
    pub fn take<T: Attribute>(&mut self, name: &str) -> Result<T, String> {
        let Some(at) = self.0.iter().position(|(n, _)| n == name) else {
            return T::UNSAID.ok_or_else(|| format!("attribute `{name}` is missing"));
        };
        let (_, attr) = self.0.remove(at);
        T::from_attr(&attr).ok_or_else(|| format!("attribute `{name}` cannot be {attr:?}"))
    }
}

/// A Rust type that can be a field of an op.
pub trait Attribute: Clone + PartialEq {
    /// What its values are, for documentation.
    const KIND: &'static str;
    /// The value that text leaves out.
    const UNSAID: Option<Self> = None;
    /// By name, unless it is the value that text leaves out.
    fn named(&self, name: &'static str) -> Option<(&'static str, Attr)> {
        (Self::UNSAID.as_ref() != Some(self)).then(|| (name, self.to_attr()))
    }
    /// The text-level value.
    fn to_attr(&self) -> Attr;
    /// Back again; a number is also a dimension, and an axis list a dimension list.
    fn from_attr(attr: &Attr) -> Option<Self>;
    /// With symbols replaced.
    fn substitute(&self, _f: &dyn Fn(&Symbol) -> Option<Dim>) -> Self {
        self.clone()
    }
}

/// The attribute of what can be one.
impl<T: Attribute> From<T> for Attr {
    fn from(value: T) -> Attr {
        value.to_attr()
    }
}

/// A flag: `true`, or left out.
impl Attribute for bool {
    const KIND: &'static str = "flag, left out if false";
    const UNSAID: Option<bool> = Some(false);
    fn to_attr(&self) -> Attr {
        Attr::Word(self.to_string())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        matches!(attr, Attr::Word(w) if w == "true").then_some(true)
    }
}
impl Attribute for usize {
    const KIND: &'static str = "number";
    fn to_attr(&self) -> Attr {
        Attr::Int(*self as i64)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Int(n) => usize::try_from(*n).ok(),
            Attr::Dim(d) => d.as_usize(),
            _ => None,
        }
    }
}
impl Attribute for u32 {
    const KIND: &'static str = "number";
    fn to_attr(&self) -> Attr {
        Attr::Int(*self as i64)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Int(n) => u32::try_from(*n).ok(),
            Attr::Dim(d) => d.known().and_then(|n| u32::try_from(n).ok()),
            _ => None,
        }
    }
}
impl Attribute for i64 {
    const KIND: &'static str = "number";
    fn to_attr(&self) -> Attr {
        Attr::Int(*self)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Int(n) => Some(*n),
            Attr::Dim(d) => d.known(),
            _ => None,
        }
    }
}
impl Attribute for f64 {
    const KIND: &'static str = "number of type f64";
    fn to_attr(&self) -> Attr {
        Attr::Scalar(Scalar::F64(*self))
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        if let Attr::Scalar(Scalar::F64(x)) = attr { Some(*x) } else { None }
    }
}
impl Attribute for f32 {
    const KIND: &'static str = "number of type f32";
    fn to_attr(&self) -> Attr {
        Attr::Scalar(Scalar::F32(*self))
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        if let Attr::Scalar(Scalar::F32(x)) = attr { Some(*x) } else { None }
    }
}
impl Attribute for String {
    const KIND: &'static str = "text in quotes";
    fn to_attr(&self) -> Attr {
        Attr::Text(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        if let Attr::Text(x) = attr { Some(x.clone()) } else { None }
    }
}
impl Attribute for Axes {
    const KIND: &'static str = "list of numbers";
    fn to_attr(&self) -> Attr {
        Attr::Axes(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Axes(x) => Some(x.clone()),
            Attr::Dims(x) => x.iter().map(Dim::as_usize).collect(),
            _ => None,
        }
    }
}
impl Attribute for Shape {
    const KIND: &'static str = "list of dimensions";
    fn to_attr(&self) -> Attr {
        Attr::Dims(self.to_vec())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Dims(x) => Some(Shape::from(x.as_slice())),
            Attr::Axes(x) => Some(Shape::from(x.as_slice())),
            _ => None,
        }
    }
    fn substitute(&self, f: &dyn Fn(&Symbol) -> Option<Dim>) -> Self {
        self.iter().map(|d| d.substitute(f)).collect()
    }
}
impl Attribute for Dim {
    const KIND: &'static str = "dimension";
    fn to_attr(&self) -> Attr {
        Attr::Dim(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Dim(d) => Some(d.clone()),
            Attr::Int(n) => Some(Dim::from(*n)),
            // A symbol may be spelled like a word or a dtype.
            Attr::Word(w) => Some(Dim::symbol(w)),
            Attr::DType(d) => Some(Dim::symbol(d.name())),
            _ => None,
        }
    }
    fn substitute(&self, f: &dyn Fn(&Symbol) -> Option<Dim>) -> Self {
        self.substitute(f)
    }
}
impl Attribute for Scalar {
    const KIND: &'static str = "scalar with its dtype";
    fn to_attr(&self) -> Attr {
        Attr::Scalar(*self)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Scalar(s) => Some(*s),
            _ => None,
        }
    }
}
impl Attribute for DType {
    const KIND: &'static str = "dtype";
    fn to_attr(&self) -> Attr {
        Attr::DType(*self)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::DType(d) => Some(*d),
            _ => None,
        }
    }
}
impl Attribute for Literal {
    const KIND: &'static str = "dense data";
    fn to_attr(&self) -> Attr {
        Attr::Literal(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Literal(l) => Some(l.clone()),
            _ => None,
        }
    }
}

/// Makes an enum of words an attribute.
macro_rules! word_attribute {
    ($t:ty { $first:ident = $first_word:literal $(, $v:ident = $word:literal)* $(,)? }) => {
        impl crate::ops::attribute::Attribute for $t {
            const KIND: &'static str = concat!("`", $first_word, "`" $(, ", `", $word, "`")*);
            fn to_attr(&self) -> crate::ops::Attr {
                crate::ops::Attr::Word(match self { Self::$first => $first_word $(, Self::$v => $word)* }.into())
            }
            fn from_attr(attr: &crate::ops::Attr) -> Option<Self> {
                match attr {
                    crate::ops::Attr::Word(w) if w == $first_word => Some(Self::$first),
                    $(crate::ops::Attr::Word(w) if w == $word => Some(Self::$v),)*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use word_attribute;

/// Documentation of an attribute.
#[derive(Clone, Copy, Debug)]
pub struct AttributeDoc {
    /// Its name in text.
    pub name: &'static str,
    /// What its values are.
    pub kind: &'static str,
    /// What it says.
    pub doc: &'static str,
}

/// Name and attributes of an op, in declared order; `op_struct!` writes the `impl`.
pub trait Attributes {
    /// The name in text.
    fn name(&self) -> &'static str;
    /// Attributes by name, in the order in which they print.
    fn attributes(&self) -> Vec<(&'static str, Attr)>;
    /// The same op with symbols in its attributes replaced.
    fn with_symbols(&self, f: &dyn Fn(&Symbol) -> Option<Dim>) -> Primitive;
}

/// Declares an op's struct with its name in text and its attributes.
macro_rules! op_struct {
    ($(#[doc = $doc:literal])* $name:ident = $text:literal {
        $($(#[doc = $fdoc:literal])* $field:ident: $t:ty),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub struct $name { $($(#[doc = $fdoc])* pub $field: $t),* }

        impl $name {
            /// The name in text.
            pub const NAME: &'static str = $text;
            /// What it is.
            pub const DOC: &'static str = concat!($($doc),*);
            /// Its attributes, in declared order.
            pub const ATTRIBUTES: &'static [crate::ops::attribute::AttributeDoc] = &[$(
                crate::ops::attribute::AttributeDoc {
                    name: stringify!($field),
                    kind: <$t as crate::ops::attribute::Attribute>::KIND,
                    doc: concat!($($fdoc),*),
                }
            ),*];
            /// Reads the op from its attributes.
            pub fn read(_attributes: &mut crate::ops::AttrReader) -> Result<Self, String> {
                Ok($name { $($field: _attributes.take(stringify!($field))?),* })
            }
        }

        impl crate::ops::Attributes for $name {
            fn name(&self) -> &'static str { $text }
            fn attributes(&self) -> Vec<(&'static str, crate::ops::Attr)> {
                let all: Vec<Option<(&'static str, crate::ops::Attr)>> =
                    vec![$(crate::ops::attribute::Attribute::named(&self.$field, stringify!($field))),*];
                all.into_iter().flatten().collect()
            }
            fn with_symbols(&self, _f: &dyn Fn(&crate::Symbol) -> Option<crate::Dim>) -> crate::ops::Primitive {
                $name { $($field: crate::ops::attribute::Attribute::substitute(&self.$field, _f)),* }.into()
            }
        }
    };
}
pub(crate) use op_struct;
