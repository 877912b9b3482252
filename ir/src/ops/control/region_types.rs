//! Checks of regions that the type rules here share.

use crate::graph::RegionType;
use crate::ops::rules::violation;
use crate::ops::{OpDef, Types};
use crate::{Type, Violation};

/// Types as a list.
fn list<'a>(types: impl IntoIterator<Item = &'a Type>) -> String {
    types.into_iter().map(|t| t.to_string()).collect::<Vec<_>>().join(", ")
}

/// Checks the number of regions.
pub(super) fn regions(op: &dyn OpDef, operands: &[&Type], regions: &[RegionType], n: usize) -> Result<(), Violation> {
    match regions.len() == n {
        true => Ok(()),
        false => Err(violation(op, operands, format!("{} regions", regions.len()), format!("exactly {n}"))),
    }
}

/// Checks that a region takes values of these types.
pub(super) fn takes<'a>(
    op: &dyn OpDef,
    operands: &[&Type],
    what: &str,
    region: &RegionType,
    types: impl Iterator<Item = &'a Type> + Clone,
) -> Result<(), Violation> {
    match region.params.iter().eq(types.clone()) {
        true => Ok(()),
        false => {
            let rule = format!("{what} takes ({})", list(&region.params));
            Err(violation(op, operands, rule, format!("it is given ({})", list(types))))
        }
    }
}

/// Checks that a region yields first what goes round.
pub(super) fn yields_carried(
    op: &dyn OpDef,
    operands: &[&Type],
    body: &RegionType,
    carried: &[&Type],
) -> Result<(), Violation> {
    if let Some((i, (&before, after))) =
        carried.iter().zip(&body.yields).enumerate().find(|(_, (before, after))| **before != *after)
    {
        let rule = format!("the carried value {i} is {before} at first and {after} after an iteration");
        return Err(violation(op, operands, rule, "it must keep its type"));
    }
    match body.yields.len() >= carried.len() {
        true => Ok(()),
        false => {
            let rule = format!("the body yields {} values and {} are carried", body.yields.len(), carried.len());
            Err(violation(op, operands, rule, "it yields each of them"))
        }
    }
}

/// Checks that a region yields values of these types.
pub(super) fn yields_types<'a>(
    op: &dyn OpDef,
    operands: &[&Type],
    what: &str,
    region: &RegionType,
    types: impl Iterator<Item = &'a Type> + Clone,
) -> Result<(), Violation> {
    match region.yields.iter().eq(types.clone()) {
        true => Ok(()),
        false => {
            let rule = format!("{what} yields ({})", list(&region.yields));
            Err(violation(op, operands, rule, format!("({})", list(types))))
        }
    }
}

/// Those of floats.
pub(super) fn float_types<'a>(
    types: impl IntoIterator<Item = &'a Type, IntoIter: Clone>,
) -> impl Iterator<Item = &'a Type> + Clone {
    types.into_iter().filter(|ty| ty.dtype.is_float())
}

/// What a region yields, as result types.
pub(super) fn results(region: &RegionType) -> Types {
    region.yields.iter().cloned().collect()
}
