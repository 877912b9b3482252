//! The ops of ONNX, by family: name, the versions in which it changed, and what records it.

mod activation;
mod attention;
mod control;
mod elementwise;
mod index;
mod loss;
mod matmul;
mod normalise;
mod quantised;
mod random;
mod recurrent;
mod reduce;
mod sequence;
mod shape;
mod signal;
mod signatures;
mod terms;
mod window;

pub use signatures::{Arity, AttributeType, Declared, Presence, Signature};

use super::evaluate::{Call, Out};
use super::value::{Ints, Operand, float};
use crate::promote::Number;
use crate::tensor::Tensor;
use crate::{DType, Dim, Scalar, Shape};
use std::ops::RangeInclusive;

/// The opsets that are read.
pub(super) const OPSETS: RangeInclusive<i64> = 1..=23;

type Run = fn(&Call) -> Out;
type Host = fn(&Call, &[Option<Ints>]) -> Option<Ints>;

/// An op.
pub(super) struct Op {
    pub domain: &'static str,
    pub name: &'static str,
    /// The opsets in which it changed.
    pub since: &'static [i64],
    pub run: Run,
    /// Computes it on integers that are followed, if it can.
    pub host: Option<Host>,
    /// True if it is computed while tracing where its operands are known.
    pub folds: bool,
}

impl Op {
    const fn new(name: &'static str, since: &'static [i64], run: Run) -> Op {
        Op { domain: "", name, since, run, host: None, folds: true }
    }
    const fn host(self, host: Host) -> Op {
        Op { host: Some(host), ..self }
    }
    /// Other at every run, or quickly recorded and large when computed.
    const fn recorded(self) -> Op {
        Op { folds: false, ..self }
    }

    /// What it takes and yields, each from an opset on.
    pub fn signatures(&self) -> &'static [Signature] {
        signatures::of(self.name)
    }

    /// What it takes and yields in a version of it.
    pub fn signature(&self, version: i64) -> &'static Signature {
        self.signatures().iter().rfind(|s| s.since <= version).expect("every version of an op has a signature")
    }
}

/// A node that calls a function of its model.
pub(super) static CALL: Op = Op::new("function", &[1], call).recorded();

fn call(c: &Call) -> Out {
    let Some(body) = &c.node.body else {
        return Err(c.fail("the op is not known", "ops of docs/onnx.md"));
    };
    let mut frame = c.frame.function(body, c.eager);
    for (i, port) in body.inputs.iter().enumerate() {
        frame.values.insert(port.name.clone(), c.inputs.get(i).cloned().unwrap_or(Operand::Nothing));
    }
    frame.finish()
}

/// All ops, by family.
static FAMILIES: &[(&str, &[Op])] = &[
    ("Elements", elementwise::OPS),
    ("Activations", activation::OPS),
    ("Reductions", reduce::OPS),
    ("Shapes", shape::OPS),
    ("Indices", index::OPS),
    ("Products", matmul::OPS),
    ("Attention", attention::OPS),
    ("Normalisation", normalise::OPS),
    ("Quantised", quantised::OPS),
    ("Recurrent", recurrent::OPS),
    ("Control flow", control::OPS),
    ("Sequences and optional values", sequence::OPS),
    ("Random", random::OPS),
    ("Losses", loss::OPS),
    ("Signals", signal::OPS),
    ("Terms", terms::OPS),
    ("Windows", window::OPS),
];

/// Ops that are not there yet: those that move windows over images or resample them, and those of texts.
static MISSING: &[(&str, &[i64])] = &[
    ("AffineGrid", &[20]),
    ("Col2Im", &[18]),
    ("ConvTranspose", &[1, 11, 22]),
    ("DeformConv", &[19, 22]),
    ("GridSample", &[16, 20, 22]),
    ("ImageDecoder", &[20]),
    ("MaxRoiPool", &[1, 22]),
    ("MaxUnpool", &[9, 11, 22]),
    ("RegexFullMatch", &[20]),
    ("Resize", &[10, 11, 13, 18, 19]),
    ("RoiAlign", &[10, 16, 22]),
    ("StringConcat", &[20]),
    ("StringNormalizer", &[10]),
    ("StringSplit", &[20]),
    ("Upsample", &[7, 9]),
];

/// The op of that name in an opset, with its version.
pub(super) fn find(domain: &str, name: &str, opset: i64) -> Option<(&'static Op, i64)> {
    let op = FAMILIES.iter().flat_map(|(_, ops)| *ops).find(|op| op.name == name && op.domain == domain)?;
    let version = op.since.iter().copied().filter(|&v| v <= opset).max()?;
    Some((op, version))
}

/// True if an op computes or arranges sizes, one of one: other operands mostly mean other results.
pub(super) fn computes_sizes(op: &Op) -> bool {
    let reduces = op.name.starts_with("Reduce");
    op.host.is_some() && !reduces || matches!((op.domain, op.name), ("", "Identity" | "Split"))
}

/// True if an op can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can.
    Supported,
    /// It cannot yet.
    Missing,
}

/// An op of ONNX, for tables.
#[derive(Clone, Debug)]
pub struct Supported {
    /// Its family.
    pub family: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The opsets in which it changed.
    pub since: &'static [i64],
    /// What it takes and yields, each from an opset on; nothing is said of ops that cannot be imported.
    pub signatures: &'static [Signature],
    /// Whether it can be imported.
    pub status: Status,
}

/// Every op of ONNX's own domain that is known.
///
/// ```
/// use tracewright::io::onnx;
///
/// let clip = onnx::supported().into_iter().find(|op| op.name == "Clip").unwrap();
/// let [.., old, new] = clip.signatures else { panic!() };
/// assert_eq!((old.since, old.operands.to_string()), (6, "1".into()));
/// assert!(old.attribute("min").is_some());
/// // Later the bounds are operands.
/// assert_eq!((new.since, new.operands.to_string()), (11, "1 to 3".into()));
/// assert!(new.attribute("min").is_none());
/// ```
pub fn supported() -> Vec<Supported> {
    let there = FAMILIES.iter().flat_map(|(family, ops)| {
        ops.iter().map(|op| Supported {
            family,
            name: op.name,
            since: op.since,
            signatures: op.signatures(),
            status: Status::Supported,
        })
    });
    let missing = MISSING.iter().map(|(name, since)| Supported {
        family: "Not supported yet",
        name,
        since,
        signatures: &[],
        status: Status::Missing,
    });
    there.chain(missing).collect()
}

/// A tensor of one value.
fn filled(shape: Shape, value: Scalar) -> Tensor {
    Tensor::full(shape, number(value), value.dtype())
}

/// A dimension as a scalar, also where nothing is traced.
fn dim_scalar(d: &Dim, dtype: DType) -> Tensor {
    match d.known() {
        Some(n) => filled(Shape::scalar(), Scalar::I64(n).convert(dtype)),
        None => crate::ops::dim_scalar(d, dtype),
    }
}

/// A scalar as a number of the host.
fn number(value: Scalar) -> Number {
    match (value, value.as_i128()) {
        (Scalar::Bool(b), _) => Number::Bool(b),
        (_, Some(n)) => Number::Int(n),
        _ => Number::Float(float(value)),
    }
}

/// One result.
fn one(t: Tensor) -> Out {
    Ok(vec![Operand::Tensor(t)])
}
