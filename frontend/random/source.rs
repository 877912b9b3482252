//! What every draw does: from a key, a shape and parameters to random bits and unit numbers of that shape.
//!
//! One less a unit number is exact, so its logarithm needs no `log1p`.

use super::key::Key;
use crate::dispatch::{Call, Extents, here, run};
use crate::error::{Code, Error};
use crate::ops::broadcast::common_shape;
use crate::ops::{Arg, prim};
use crate::promote::Number;
use crate::scope;
use crate::tensor::Tensor;
use crate::trace::{self, record};
use ir::ops::convert::{BitcastConvert, Convert};
use ir::ops::create::Iota;
use ir::ops::random::{Philox, RandomLogGamma, RandomPoisson};
use ir::ops::view::BroadcastInDim;
use ir::{Axes, DType, Literal, Scalar, Shape};
use runtime::Array;

/// Streams of derived keys. Those of bits are small numbers.
pub(super) const SPLIT: u32 = 0x5350_4C54;
pub(super) const FOLD: u32 = 0x464F_4C44;

/// A second word for the same element.
const SECOND: u64 = 1 << 63;

/// The two words (u32) of a key, everywhere in a shape. What follows a broadcast fuses with the draw.
fn halves(key: &Tensor, shape: &Shape) -> [Tensor; 2] {
    let key = match shape.rank() {
        0 => key.clone(),
        _ => record(BroadcastInDim { shape: shape.clone(), dims: Axes::new() }, &[key]),
    };
    [prim::cast(&key, DType::U32), prim::cast(&(&key >> 32), DType::U32)]
}

/// Two words as one number (u64).
fn joined(high: &Tensor, low: &Tensor) -> Tensor {
    prim::cast(high, DType::U64) << 32 | prim::cast(low, DType::U64)
}

/// The words `2 numbers` and `2 numbers + 1` of a stream as one number (u64).
pub(super) fn pair(key: &Tensor, numbers: &Tensor, stream: u32, shape: &Shape) -> Tensor {
    let [k0, k1] = halves(key, shape);
    let first = numbers << 1;
    let word = |at: &Tensor| record(Philox { stream }, &[&k0, &k1, at]);
    joined(&word(&first), &word(&(&first | 1)))
}

/// The same on the host.
pub(super) fn words_of(key: u64, number: u64, stream: u32) -> u64 {
    let word = |index| ir::kernel::draw::bits([key as u32, (key >> 32) as u32], index, stream) as u64;
    let first = number << 1;
    word(first) << 32 | word(first | 1)
}

/// Random numbers for every element of a shape, inside a trace.
pub(super) struct Source {
    key: Tensor,
    pub shape: Shape,
}

impl Source {
    /// The number (u64) of each element, in row-major order.
    fn numbers(&self) -> Tensor {
        let flat = Shape::from([self.shape.numel()]);
        prim::reshape(&record(Iota { dtype: DType::U64, shape: flat, axis: 0 }, &[]), &self.shape)
    }

    fn keys(&self) -> [Tensor; 2] {
        halves(&self.key, &self.shape)
    }

    /// A word (u32) of a stream for each element.
    pub fn word(&self, stream: u32) -> Tensor {
        let [a, b] = self.keys();
        record(Philox { stream }, &[&a, &b, &self.numbers()])
    }

    /// Another word for each element.
    fn second(&self, stream: u32) -> Tensor {
        let [a, b] = self.keys();
        record(Philox { stream }, &[&a, &b, &(self.numbers() | SECOND)])
    }

    /// 64 random bits (u64).
    pub fn wide(&self, stream: u32) -> Tensor {
        joined(&self.word(stream), &self.second(stream))
    }

    /// The upper bits of the word as a float.
    fn upper(&self, word: &Tensor, bits: u32, dtype: DType) -> Tensor {
        let whole = record(BitcastConvert { dtype: DType::I32 }, &[&(word >> (32 - bits))]);
        record(Convert { dtype }, &[&whole])
    }

    /// In `[0, 1)`, of as many bits as the dtype holds: 53, 24, 11 or 8. 16-bit floats come as the f32 they are.
    pub fn unit(&self, stream: u32, dtype: DType) -> Tensor {
        match dtype {
            DType::F64 => {
                let (high, low) = (self.word(stream), self.second(stream));
                let whole = self.upper(&high, 27, DType::F64) * 2f64.powi(26) + self.upper(&low, 26, DType::F64);
                whole * 0.5f64.powi(53)
            }
            _ => {
                let bits = match dtype {
                    DType::F16 => 11,
                    DType::BF16 => 8,
                    _ => 24,
                };
                self.upper(&self.word(stream), bits, DType::F32) * 0.5f64.powi(bits as i32)
            }
        }
    }

    /// In `(0, 1)`, symmetric about the middle: f64 or f32.
    pub fn open(&self, stream: u32, dtype: DType) -> Tensor {
        if dtype == DType::F64 {
            let (high, low) = (self.word(stream), self.second(stream));
            let whole = self.upper(&high, 27, DType::F64) * 2f64.powi(25) + self.upper(&low, 25, DType::F64);
            return (whole + 0.5) * 0.5f64.powi(52);
        }
        (self.upper(&self.word(stream), 23, DType::F32) + 0.5) * 0.5f64.powi(23)
    }

    /// In `(-1, 1)`, symmetric about 0 and never 0: f64 or f32.
    pub fn symmetric(&self, stream: u32, dtype: DType) -> Tensor {
        if dtype == DType::F64 {
            let (high, low) = (self.word(stream), self.second(stream));
            let whole = self.upper(&high, 27, DType::F64) * 2f64.powi(26) + self.upper(&low, 26, DType::F64);
            return (whole - 2f64.powi(52) + 0.5) * 0.5f64.powi(52);
        }
        let whole = record(BitcastConvert { dtype: DType::I32 }, &[&(self.word(stream) >> 8)]);
        // An odd number of 25 bits with its sign, which f32 holds.
        prim::cast(&(whole * 2 + (1 - (1 << 24))), DType::F32) * 0.5f64.powi(24)
    }

    /// Standard normal: f64 or f32.
    pub fn normal(&self, stream: u32, dtype: DType) -> Tensor {
        self.symmetric(stream, dtype).erfinv() * std::f64::consts::SQRT_2
    }

    /// The logarithm (f64) of gamma variates; other numbers with `second`.
    pub fn log_gamma(&self, shape: &Tensor, second: bool) -> Tensor {
        let [a, b] = self.keys();
        let numbers = if second { self.numbers() | SECOND } else { self.numbers() };
        record(RandomLogGamma {}, &[&a, &b, &numbers, &prim::cast(shape, DType::F64)])
    }

    /// Poisson variates (f64).
    pub fn poisson(&self, rate: &Tensor) -> Tensor {
        let [a, b] = self.keys();
        record(RandomPoisson {}, &[&a, &b, &self.numbers(), &prim::cast(rate, DType::F64)])
    }

    /// A parameter broadcast to the shape.
    pub fn fit(&self, parameter: &Tensor) -> Tensor {
        prim::broadcast(parameter, &self.shape)
    }
}

/// A kind of draw.
pub(super) struct Draw<'a> {
    pub name: &'static str,
    /// What fixes the body beside the name.
    pub attributes: &'a [i64],
    /// In which parameters come.
    pub dtype: DType,
}

/// The error value of a draw.
#[track_caller]
pub(super) fn refused(name: &'static str, code: Code, rule: impl Into<String>, legal: impl Into<String>) -> Tensor {
    Tensor::error(Error::new(code, name, rule, legal).at(here()).in_scope(&scope::current()))
}

/// An error value unless the dtype is a float.
#[track_caller]
pub(super) fn check_float(name: &'static str, dtype: DType) -> Option<Tensor> {
    (!dtype.is_float())
        .then(|| refused(name, Code::DType, format!("the dtype is {dtype}"), "a float: f64, f32, f16 or bf16"))
}

/// The value of a parameter that is a number.
pub(super) fn known(parameter: &Arg) -> Option<f64> {
    match parameter {
        Arg::Number(n) => Some(n.as_f64()),
        Arg::Tensor(_) => None,
    }
}

/// True if both are numbers, and those.
pub(super) fn are(parameters: [&Arg; 2], values: [f64; 2]) -> bool {
    parameters.map(known) == values.map(Some)
}

/// An error value if the parameter is a number that is not legal.
#[track_caller]
pub(super) fn check(
    name: &'static str,
    what: &str,
    parameter: &Arg,
    legal: &str,
    holds: impl Fn(f64) -> bool,
) -> Option<Tensor> {
    let x = known(parameter)?;
    (!holds(x)).then(|| refused(name, Code::Argument, format!("the {what} is {x}"), legal))
}

/// Runs a draw: the body gets its source, and the parameters, which broadcast to its shape but do not have it yet.
#[track_caller]
pub(super) fn draw(
    call: Draw<'_>,
    key: &Key,
    shape: &Shape,
    parameters: &[Arg],
    body: &dyn Fn(&Source, &[Tensor]) -> Tensor,
) -> Tensor {
    let name = call.name;
    let mut tensors: Vec<Tensor> = vec![key.tensor().clone()];
    for p in parameters {
        tensors.push(match p {
            Arg::Tensor(t) => t.clone(),
            Arg::Number(n) if trace::active() => prim::full(n.scalar(call.dtype), &Shape::scalar()),
            Arg::Number(n) => Tensor::literal(Literal::scalar(n.scalar(call.dtype))),
        });
    }
    if let Some(t) = tensors.iter().find(|t| t.error_ref().is_some()) {
        return t.clone();
    }
    for t in &tensors[1..] {
        let ty = t.ty();
        let fits = common_shape(name, [shape, &ty.shape].into_iter()).is_ok_and(|s| s == *shape || ty.rank() == 0);
        if !fits {
            let rule = format!("a parameter of shape {} does not broadcast to {shape}", ty.shape);
            return refused(name, Code::Shape, rule, "parameters that broadcast to the shape");
        }
    }
    let with_source = |key: &Tensor, shape: &Shape, parameters: &[Tensor]| {
        let source = Source { key: key.clone(), shape: shape.clone() };
        let parameters: Vec<Tensor> = parameters.iter().map(|p| prim::cast(p, call.dtype)).collect();
        body(&source, &parameters)
    };
    if trace::active() {
        let _scope = scope::enter(name);
        return with_source(&tensors[0], shape, &tensors[1..]);
    }
    let Some(dims) = shape.known() else {
        return refused(name, Code::Shape, format!("shape {shape}"), "extents that are numbers, and not negative");
    };
    let numel = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= isize::MAX as usize / 16);
    let Some(numel) = numel else {
        return refused(name, Code::Shape, format!("shape {shape}"), "not too many elements");
    };
    if let Err(e) = runtime::buffer::check_room(numel * call.dtype.size()) {
        return refused(name, Code::Memory, e.to_string(), "a smaller shape");
    }
    // Without elements it says the shape and costs nothing, so that one executable serves all shapes.
    let carrier: Vec<usize> = [0].into_iter().chain(dims).collect();
    match Array::filled(&carrier, Scalar::Bool(false)) {
        Ok(array) => tensors.push(Tensor::array(array)),
        Err(e) => return Tensor::error(Error::exec(e).at(here())),
    }
    let operands: Vec<&Tensor> = tensors.iter().collect();
    let attributes: Vec<i64> = [call.dtype as i64].iter().chain(call.attributes).copied().collect();
    run(Call::composed(name, &attributes, Extents::Symbolic), &operands, &|t| {
        let (carrier, rest) = t.split_last().expect("there is a key and a shape");
        let shape: Shape = carrier.ty().shape[1..].iter().cloned().collect();
        with_source(&rest[0], &shape, &rest[1..])
    })
}

impl Number {
    /// The number as a float.
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Number::Float(x) => x,
            Number::Int(x) => x as f64,
            Number::Bool(x) => x as u8 as f64,
        }
    }
    /// Whether it is an integer that can be folded into a key.
    pub(super) fn is_natural(self) -> bool {
        matches!(self, Number::Int(n) if (0..1 << 63).contains(&n))
    }
}
