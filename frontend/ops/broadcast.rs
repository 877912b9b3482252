//! Broadcasting, and the pointwise ops of several operands that rest on it.

use super::arg::Arg;
use super::prim;
use crate::dispatch::{Call, Extents, enter, here, run};
use crate::error::{Code, Error};
use crate::promote::{self, promote, with_number};
use crate::tensor::{Repr, Tensor};
use crate::{scope, trace};
use ir::{DType, Dim, Literal, Shape, Type};
use smallvec::SmallVec;

/// The shape that shapes broadcast to, as NumPy has it: aligned at the last axis, extents equal or 1.
pub(crate) fn common_shape<'a>(
    op: &'static str,
    shapes: impl Iterator<Item = &'a Shape> + Clone,
) -> Result<Shape, Error> {
    let mut shapes = shapes.filter(|s| s.rank() > 0);
    let Some(first) = shapes.next() else { return Ok(Shape::scalar()) };
    let mut common = first.clone();
    for s in shapes {
        if *s == common {
            continue;
        }
        let missing = s.rank().saturating_sub(common.rank());
        if missing > 0 {
            common = s[..missing].iter().chain(common.iter()).cloned().collect();
        }
        let offset = common.rank() - s.rank();
        for (i, d) in s.iter().enumerate() {
            let c: &mut Dim = &mut common[offset + i];
            if c.is(1) {
                *c = d.clone();
            } else if !d.is(1) && d != c {
                let axis = offset + i;
                return Err(Error::new(
                    Code::Shape,
                    op,
                    format!("extents {c} and {d} of axis {axis} do not broadcast"),
                    "aligned at the last axis, extents are equal or one of them is 1",
                ));
            }
        }
    }
    Ok(common)
}

/// What dtype the operands of a pointwise op are brought to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operands {
    /// Their common dtype.
    Common,
    /// Their common dtype, which must be a number; a bool becomes i64.
    Numeric,
    /// Their common dtype, f32 if that is not a float.
    Float,
    /// Their common dtype, which must not be a float.
    Integral,
    /// The first is bool, the others are of their common dtype.
    Select,
}

impl Operands {
    fn dtype(self, op: &'static str, args: &[Arg]) -> Result<DType, Error> {
        let args = if self == Operands::Select { &args[1..] } else { args };
        let tensors = args.iter().filter_map(|a| match a {
            Arg::Tensor(t) => Some(t.dtype()),
            Arg::Number(_) => None,
        });
        let numbers = args.iter().filter_map(|a| match a {
            Arg::Number(n) => Some(*n),
            Arg::Tensor(_) => None,
        });
        let common = match tensors.reduce(promote) {
            Some(d) => numbers.fold(d, with_number),
            None => numbers.map(|n| n.default_dtype()).reduce(promote).unwrap_or(DType::F32),
        };
        Ok(match self {
            Operands::Common | Operands::Select => common,
            Operands::Numeric if common == DType::Bool => DType::I64,
            Operands::Numeric => common,
            Operands::Float => promote::float(common),
            Operands::Integral if common.is_float() => {
                return Err(Error::new(
                    Code::DType,
                    op,
                    format!("operands of dtype {common}"),
                    "integers and bool; convert with to_dtype",
                ));
            }
            Operands::Integral => common,
        })
    }
}

/// True if all operands are arrays of the same extents, scalars or numbers, which is often so and quickly seen.
fn alike(args: &[Arg]) -> bool {
    let mut dims: Option<&[usize]> = None;
    args.iter().all(|a| match a {
        Arg::Number(_) => true,
        Arg::Tensor(t) => match &t.plain().0 {
            Repr::Array(a) => a.dims().is_empty() || *dims.get_or_insert(a.dims()) == a.dims(),
            _ => false,
        },
    })
}

/// A pointwise op: operands are brought to one dtype and shape, then the body records.
#[track_caller]
pub(crate) fn pointwise(
    name: &'static str,
    scoped: bool,
    operands: Operands,
    args: &[Arg],
    body: &dyn Fn(&[Tensor]) -> Tensor,
) -> Tensor {
    let _here = enter();
    for a in args {
        if let Arg::Tensor(Tensor(Repr::Error(e))) = a {
            return Tensor(Repr::Error(e.clone()));
        }
    }
    let checked = operands.dtype(name, args).and_then(|dtype| {
        if operands == Operands::Select && args[0].dtype() != DType::Bool {
            let rule = format!("the condition has dtype {}", args[0].dtype());
            return Err(Error::new(Code::DType, name, rule, "a bool; compare, or convert with to_dtype"));
        }
        for (i, a) in args.iter().enumerate() {
            if let Arg::Number(n) = a
                && (i > 0 || operands != Operands::Select)
            {
                n.fits(name, dtype)?;
            }
        }
        if alike(args) {
            return Ok((dtype, None));
        }
        let shapes: SmallVec<[Shape; 3]> = args.iter().map(Arg::shape).collect();
        let shape = common_shape(name, shapes.iter())?;
        let flat = shapes.iter().all(|s| s.rank() == 0 || *s == shape);
        Ok((dtype, Some((shape, flat))))
    });
    let (dtype, shape) = match checked {
        Ok(x) => x,
        Err(e) => {
            let e = e.with_operands(args.iter().map(Arg::text)).at(here()).in_scope(&scope::current());
            return Tensor::error(e);
        }
    };
    let target = |i: usize| if operands == Operands::Select && i == 0 { DType::Bool } else { dtype };
    if trace::active() {
        let shape = match shape {
            Some((shape, _)) => shape,
            None => args.iter().map(Arg::shape).find(|s| s.rank() > 0).unwrap_or_default(),
        };
        let _scope = scoped.then(|| scope::enter(name));
        let ready: SmallVec<[Tensor; 3]> = args
            .iter()
            .enumerate()
            .map(|(i, a)| match a {
                Arg::Tensor(t) => prim::broadcast(&prim::cast(t, target(i)), &shape),
                Arg::Number(n) => prim::full(n.scalar(target(i)), &shape),
            })
            .collect();
        if let Some(e) = ready.iter().find_map(|t| t.error_ref()) {
            return Tensor(Repr::Error(e.clone()));
        }
        return body(&ready);
    }
    // Numbers become operands, so that one executable serves them all.
    let numbers = args.iter().enumerate().filter_map(|(i, a)| match a {
        Arg::Tensor(_) => None,
        Arg::Number(n) => Some(Tensor::literal(Literal::scalar(n.scalar(target(i))))),
    });
    let numbers: SmallVec<[Tensor; 1]> = numbers.collect();
    let mut rest = numbers.iter();
    let mut refs: SmallVec<[&Tensor; 3]> = SmallVec::new();
    for a in args {
        refs.push(match a {
            Arg::Tensor(t) => t,
            Arg::Number(_) => rest.next().expect("one for each number"),
        });
    }
    let extents = if shape.is_none_or(|(_, flat)| flat) { Extents::Flat } else { Extents::Symbolic };
    let call = Call { name, attributes: &[dtype as i64], extents, scoped };
    run(call, &refs, &|t| {
        let types: SmallVec<[Type; 3]> = t.iter().map(Tensor::ty).collect();
        let shape = match common_shape(name, types.iter().map(|t| &t.shape)) {
            Ok(s) => s,
            Err(e) => return Tensor::error(e.at(here())),
        };
        let ready: SmallVec<[Tensor; 3]> =
            t.iter().enumerate().map(|(i, t)| prim::broadcast(&prim::cast(t, target(i)), &shape)).collect();
        body(&ready)
    })
}
