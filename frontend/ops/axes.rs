//! Axes as arguments: single axes, lists, all; negative ones count from the last.

use crate::error::{Code, Error};
use ir::Axes;
use std::ops::RangeFull;

/// Which axes a reduction takes away, and whether it leaves extents of 1 in their place.
///
/// Made from an axis, an array or slice of axes, or `..` for all; [`keepdims`] keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// The axes; `None` for all.
    axes: Option<Vec<isize>>,
    keep: bool,
}

/// Keeps the reduced axes with extent 1.
///
/// ```
/// use tracewright::{keepdims, Tensor};
/// let x = Tensor::from([[1.0f32, 2.0], [3.0, 5.0]]);
/// assert_eq!((&x - x.mean(keepdims(-1))).to_vec::<f32>()?, [-0.5, 0.5, -1.0, 1.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn keepdims(axes: impl Into<Reduction>) -> Reduction {
    Reduction { keep: true, ..axes.into() }
}

impl From<RangeFull> for Reduction {
    fn from(_: RangeFull) -> Reduction {
        Reduction { axes: None, keep: false }
    }
}
impl From<isize> for Reduction {
    fn from(axis: isize) -> Reduction {
        Reduction { axes: Some(vec![axis]), keep: false }
    }
}
impl From<i32> for Reduction {
    fn from(axis: i32) -> Reduction {
        Reduction::from(axis as isize)
    }
}
impl From<&[isize]> for Reduction {
    fn from(axes: &[isize]) -> Reduction {
        Reduction { axes: Some(axes.to_vec()), keep: false }
    }
}
impl<const N: usize> From<[isize; N]> for Reduction {
    fn from(axes: [isize; N]) -> Reduction {
        Reduction::from(axes.as_slice())
    }
}
impl<const N: usize> From<[i32; N]> for Reduction {
    fn from(axes: [i32; N]) -> Reduction {
        Reduction { axes: Some(axes.iter().map(|&a| a as isize).collect()), keep: false }
    }
}

impl Reduction {
    /// The axes of a tensor of that rank in the order given, and whether they are kept.
    pub(crate) fn ordered(&self, rank: usize, op: &'static str) -> Result<(Axes, bool), Error> {
        match &self.axes {
            Some(axes) => Ok((resolve_all(axes, rank, op)?, self.keep)),
            None => Ok(((0..rank).collect(), self.keep)),
        }
    }

    /// The axes as given; `None` for all.
    pub(crate) fn listed(&self) -> Option<&[isize]> {
        self.axes.as_deref()
    }

    /// The axes of a tensor of that rank, sorted, and whether they are kept.
    pub(crate) fn resolve(&self, rank: usize, op: &'static str) -> Result<(Axes, bool), Error> {
        let Some(axes) = &self.axes else { return Ok(((0..rank).collect(), self.keep)) };
        let mut resolved = resolve_all(axes, rank, op)?;
        resolved.sort();
        Ok((resolved, self.keep))
    }
}

/// The axis of a tensor of that rank.
pub(crate) fn resolve(axis: isize, rank: usize, op: &'static str) -> Result<usize, Error> {
    let at = if axis < 0 { axis + rank as isize } else { axis };
    if (0..rank as isize).contains(&at) {
        return Ok(at as usize);
    }
    let legal = match rank {
        0 => "a scalar has no axes".to_string(),
        _ => format!("axes go from {} to {}", -(rank as isize), rank - 1),
    };
    Err(Error::new(Code::Axis, op, format!("axis {axis} does not exist"), legal))
}

/// The axes of a tensor of that rank, in the order given, each at most once.
pub(crate) fn resolve_all(axes: &[isize], rank: usize, op: &'static str) -> Result<Axes, Error> {
    let mut out = Axes::new();
    for &a in axes {
        let at = resolve(a, rank, op)?;
        if out.contains(&at) {
            return Err(Error::new(Code::Axis, op, format!("axis {a} is named twice"), "name each axis once"));
        }
        out.push(at);
    }
    Ok(out)
}
