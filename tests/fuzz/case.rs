//! What a run of the fuzzer is about: a graph with inputs for some extents of its symbols.

use crate::random::Random;
use ir::{DType, Dim, Graph, Literal, Scalar, Symbol, Type};
use runtime::{Array, Device, ExecError, Input};

/// The symbol of graphs with a symbolic batch.
pub const BATCH: &str = "B";

/// A graph with everything that is needed to run it.
#[derive(Clone)]
pub struct Case {
    pub graph: Graph,
    /// Arguments, for each value of the symbol once.
    pub arguments: Vec<Vec<Literal>>,
    /// Those values.
    pub batches: Vec<i64>,
    /// Pairs of inputs and outputs that may share memory.
    pub donations: Vec<(usize, usize)>,
    /// 16-bit floats round after every op.
    pub strict16: bool,
    /// Which passes are left out, as `TRACEWRIGHT_PASSES` has it.
    pub passes: String,
    /// The level at which the executable checks itself.
    pub check: u8,
    /// In which order the tasks of interpreted kernels run.
    pub order: u64,
    /// Where it runs.
    pub device: Device,
}

impl Case {
    /// An argument where the case runs.
    pub fn array(&self, literal: &Literal) -> Result<Array, ExecError> {
        Array::from_literal(literal)?.to_device(self.device)
    }

    /// Arguments that calls leave as they are.
    pub fn shared(&self, arguments: &[Literal]) -> Result<Vec<Input>, ExecError> {
        arguments.iter().map(|l| self.array(l).map(Input::Shared)).collect()
    }
}

/// What the elements of an input are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Content {
    /// Multiples of an eighth, with ties and zeros.
    Eighths,
    /// Between -2 and 2.
    Uniform,
    /// Between 1/4 and 4.
    Positive,
    /// Everything: NaN, infinities, zeros of both signs, subnormals, extremes.
    Odd,
}

pub fn extent(d: &Dim, batch: i64) -> i64 {
    d.eval(&|_: &Symbol| Some(batch)).expect("an extent of the one symbol")
}

/// Extents of a type, where the symbol is `batch`.
pub fn extents(ty: &Type, batch: i64) -> Vec<usize> {
    ty.shape.iter().map(|d| usize::try_from(extent(d, batch)).expect("extents are not negative")).collect()
}

pub fn literal(r: &mut Random, dtype: DType, dims: &[usize], content: Content) -> Literal {
    Literal::from_fn(dims, dtype, |_| scalar(r, dtype, content))
}

/// Indices below `limit`; now and then one that is not, if `wrong`.
pub fn indices(r: &mut Random, dtype: DType, dims: &[usize], limit: usize, wrong: bool) -> Literal {
    Literal::from_fn(dims, dtype, |_| {
        let inside = r.below(limit.max(1)) as i64;
        let outside = r.of(&[limit as i64, -1, limit as i64 + 3, 127]);
        Scalar::I64(if wrong && r.percent(12) { outside } else { inside }).convert(dtype)
    })
}

pub fn scalar(r: &mut Random, dtype: DType, content: Content) -> Scalar {
    let odd_floats = [f64::NAN, f64::INFINITY, -f64::INFINITY, -0.0, 0.0, 1e-45, -1e-40, 65504.0, -3e38, 1e300];
    match (dtype, content) {
        (DType::Bool, _) => Scalar::Bool(r.percent(50)),
        (d, _) if d.is_unsigned() && content != Content::Odd => Scalar::of(d, r.below(12) as f64),
        (d, Content::Odd) if d.is_int() => {
            let wild = r.bits() as i64;
            Scalar::I64(r.of(&[i64::MIN, i64::MAX, i32::MIN as i64, -1, 0, wild, wild >> 40])).convert(dtype)
        }
        (d, _) if d.is_int() => Scalar::I64(r.below(17) as i64 - 8).convert(dtype),
        (_, Content::Odd) if r.percent(40) => Scalar::of(dtype, r.of(&odd_floats)),
        (_, Content::Eighths | Content::Odd) => Scalar::of(dtype, r.below(49) as f64 / 8.0 - 3.0),
        (_, Content::Uniform) => Scalar::of(dtype, r.unit() * 4.0 - 2.0),
        (_, Content::Positive) => Scalar::of(dtype, 0.25 + r.unit() * 3.75),
    }
}
