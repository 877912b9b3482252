//! The axes of a nest: which of them merge, and how tasks and loops cover them.

use ir::{Dim, Symbol, dim::Atom};

/// One iteration axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Its variable.
    pub variable: Symbol,
    /// Its extent.
    pub extent: Dim,
    /// True if the nest reduces over it.
    pub reduced: bool,
}

/// Merges neighbouring axes of one class wherever every index expression sees them as one longer axis; tells `merged`
/// of each variable that is replaced (the outer one becomes 0, the inner one runs over both extents).
pub(super) fn merge(axes: Vec<Axis>, polynomials: &[Dim], mut merged: impl FnMut(&Symbol)) -> Vec<Axis> {
    let mut out: Vec<Axis> = Vec::new();
    for inner in axes.into_iter().rev() {
        let Some(outer) = out.last_mut() else {
            out.push(inner);
            continue;
        };
        // `outer` here is the axis inside; the one in hand lies outside of it.
        let (outside, inside) = (inner, outer);
        let fits = outside.reduced == inside.reduced
            && polynomials.iter().all(|p| {
                match (coefficient(p, &outside.variable), coefficient(p, &inside.variable)) {
                    (Some(a), Some(b)) => a == b * &inside.extent,
                    _ => false,
                }
            });
        if fits {
            merged(&outside.variable);
            inside.extent = &outside.extent * &inside.extent;
        } else {
            out.push(outside);
        }
    }
    out.reverse();
    out
}

/// The factor of a variable in an expression that is linear in it; `None` where it is not.
pub(super) fn coefficient(d: &Dim, variable: &Symbol) -> Option<Dim> {
    let mut sum = Dim::from(0);
    for t in d.terms() {
        let mut count = 0;
        let mut rest = Dim::from(t.coefficient);
        for a in &t.atoms {
            match a {
                Atom::Symbol(s) if s == variable => count += 1,
                Atom::FloorDiv(ab) | Atom::Mod(ab)
                    if ab.0.symbols().contains(variable) || ab.1.symbols().contains(variable) =>
                {
                    return None;
                }
                other => rest = rest * Dim::from(other.clone()),
            }
        }
        match count {
            0 => {}
            1 => sum = sum + rest,
            _ => return None,
        }
    }
    Some(sum)
}
