//! Checks that type rules share.

use super::{OpDef, Types};
use crate::{DType, Shape, Type, Violation, ViolationKind};
use smallvec::SmallVec;

/// Builds a [`Violation`] of a shape; [`Violation::of`] gives it another kind.
pub(crate) fn violation(
    op: &dyn OpDef,
    operands: &[&Type],
    rule: impl Into<String>,
    legal: impl Into<String>,
) -> Violation {
    let operands = operands.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(", ");
    Violation { op: op.name(), kind: ViolationKind::Shape, operands, rule: rule.into(), legal: legal.into() }
}

/// Checks the number of operands.
pub(crate) fn arity(op: &dyn OpDef, operands: &[&Type], n: usize) -> Result<(), Violation> {
    if operands.len() == n {
        return Ok(());
    }
    let plural = if n == 1 { "" } else { "s" };
    Err(violation(op, operands, format!("takes {n} operand{plural}, not {}", operands.len()), ""))
}

/// Checks that an operand's dtype is one of a class.
pub(crate) fn dtype_is(
    op: &dyn OpDef,
    operands: &[&Type],
    which: usize,
    legal: impl Fn(DType) -> bool,
) -> Result<(), Violation> {
    let dtype = operands[which].dtype;
    if legal(dtype) {
        return Ok(());
    }
    let names: Vec<_> = DType::ALL.into_iter().filter(|&d| legal(d)).map(DType::name).collect();
    let legal = format!("legal are {}", names.join(", "));
    Err(violation(op, operands, format!("operand {which} has dtype {dtype}"), legal).of(ViolationKind::DType))
}

/// Checks that two operands have one type.
pub(crate) fn same_type(op: &dyn OpDef, operands: &[&Type], a: usize, b: usize) -> Result<(), Violation> {
    let (x, y) = (operands[a], operands[b]);
    if x.dtype != y.dtype {
        let rule = format!("operands {a} and {b} have dtypes {} and {}", x.dtype, y.dtype);
        return Err(
            violation(op, operands, rule, "both must be the same; convert one of them").of(ViolationKind::DType)
        );
    }
    same_shape(op, operands, a, b)
}

/// Checks that two operands have one shape.
pub(crate) fn same_shape(op: &dyn OpDef, operands: &[&Type], a: usize, b: usize) -> Result<(), Violation> {
    let (x, y) = (operands[a], operands[b]);
    if x.shape != y.shape {
        let rule = format!("operands {a} and {b} have shapes {} and {}", x.shape, y.shape);
        return Err(violation(op, operands, rule, "both must be the same; broadcast one of them"));
    }
    Ok(())
}

/// Checks that axes are in range and distinct.
pub(crate) fn valid_axes(op: &dyn OpDef, operands: &[&Type], axes: &[usize], rank: usize) -> Result<(), Violation> {
    for (i, &a) in axes.iter().enumerate() {
        if a >= rank {
            let legal = match rank {
                0 => "a scalar has no axes".into(),
                _ => format!("axes go from 0 to {}", rank - 1),
            };
            return Err(violation(op, operands, format!("axis {a} does not exist"), legal).of(ViolationKind::Axis));
        }
        if axes[..i].contains(&a) {
            let rule = format!("axis {a} is named twice");
            return Err(violation(op, operands, rule, "name each axis once").of(ViolationKind::Axis));
        }
    }
    Ok(())
}

/// Checks that no extent of a shape in the attributes is negative.
pub(crate) fn valid_shape(op: &dyn OpDef, operands: &[&Type], shape: &Shape) -> Result<(), Violation> {
    if let Some(rule) = shape.too_complex() {
        return Err(violation(op, operands, rule, ""));
    }
    match shape.iter().find(|d| d.known().is_some_and(|n| n < 0)) {
        Some(d) => {
            Err(violation(op, operands, format!("shape {shape} has the extent {d}"), "an extent is not negative"))
        }
        None => Ok(()),
    }
}

/// One result type.
pub(crate) fn one(dtype: DType, shape: impl Into<Shape>) -> Result<Types, Violation> {
    Ok(SmallVec::from_iter([Type::new(dtype, shape)]))
}
