//! Index-set splitting: an iteration space is cut where the conditions of its loads change, so that inside of a box
//! nothing is asked element by element. Padding, rolling and concatenation become plain copies that way, and a stencil
//! reads its inner part without masks.

use super::axes::Axis;
use super::pull::IndexVec;
use ir::{Dim, Ranges, Shape};
use smallvec::SmallVec;

/// Boxes that a space is cut into at most.
const MAX_BOXES: usize = 16;
/// Scalar operations of all boxes together, at most.
const MAX_NODES: usize = 1500;
/// Elements from which the code for several boxes is worth it.
const MIN_ELEMENTS: i64 = 2048;

/// Part of an iteration space.
pub(super) struct Part {
    /// Its first element.
    pub start: IndexVec,
    /// Its extents.
    pub extents: Shape,
}

impl Part {
    /// All of a space.
    pub fn whole(shape: &Shape) -> Part {
        Part { start: shape.iter().map(|_| Dim::from(0)).collect(), extents: shape.clone() }
    }
}

/// Where a condition `expression >= 0` begins or ceases to hold along an axis.
fn border(expression: &Dim, axis: &Axis) -> Option<Dim> {
    let variable = Dim::symbol(axis.variable.name());
    let rest = |slope: i64| {
        let rest = expression - &variable * slope;
        (!rest.symbols().iter().any(|s| s.name().starts_with('$'))).then_some(rest)
    };
    rest(1).map(|r| Dim::from(0) - r).or_else(|| rest(-1).map(|r| r + 1))
}

/// The borders of an axis in ascending order, with its ends; `None` if their order is not known.
fn borders(axis: &Axis, conditions: &[Dim], ranges: &Ranges) -> Option<Vec<Dim>> {
    let mut inside: Vec<Dim> = Vec::new();
    for b in conditions.iter().filter_map(|c| border(c, axis)) {
        let outside = ranges.is_non_negative(&(Dim::from(0) - &b)) || ranges.is_non_negative(&(&b - &axis.extent));
        if outside || inside.contains(&b) {
            continue;
        }
        let within = ranges.is_non_negative(&b) && ranges.is_non_negative(&(&axis.extent - &b));
        if !within {
            return None;
        }
        let at = inside.iter().position(|other| ranges.is_non_negative(&(other - &b))).unwrap_or(inside.len());
        if !inside[..at].iter().all(|other| ranges.is_non_negative(&(&b - other))) {
            return None;
        }
        inside.insert(at, b);
    }
    let mut all = vec![Dim::from(0)];
    all.extend(inside);
    all.push(axis.extent.clone());
    Some(all)
}

/// The boxes of a space with those axes, under conditions that its `nodes` operations ask; the whole if that is better.
pub(super) fn boxes(
    shape: &Shape,
    axes: &[(usize, Axis)],
    conditions: &[Dim],
    nodes: usize,
    ranges: &Ranges,
) -> Vec<Part> {
    let mut parts = vec![Part::whole(shape)];
    if conditions.is_empty() || shape.numel().known().is_some_and(|n| n < MIN_ELEMENTS) {
        return parts;
    }
    // The innermost axis first: it gains the most.
    for (at, axis) in axes.iter().rev() {
        let Some(borders) = borders(axis, conditions, ranges) else { continue };
        let count = parts.len() * (borders.len() - 1);
        if borders.len() == 2 || count > MAX_BOXES || count * nodes > MAX_NODES {
            continue;
        }
        let cut = |part: &Part| {
            let pieces = borders.windows(2).map(|ends| {
                let mut start = part.start.clone();
                start[*at] = ends[0].clone();
                Part { start, extents: part.extents.with_axis(*at, &ends[1] - &ends[0]) }
            });
            pieces.collect::<SmallVec<[Part; 3]>>()
        };
        parts = parts.iter().flat_map(cut).collect();
    }
    parts
}
