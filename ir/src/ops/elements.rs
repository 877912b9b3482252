//! Walking the elements of literals: what the reference evaluations share.

use crate::literal::strides_of;
use crate::{Data, Dim, EvalError, Literal, Scalar, Shape, for_each_dtype};
use smallvec::SmallVec;

/// Offsets `base + sum of index[i] * strides[i]` of every index below `dims`, in row-major order.
pub(crate) fn offsets<'a>(dims: &'a [usize], strides: &'a [isize], base: usize) -> impl Iterator<Item = usize> + 'a {
    debug_assert_eq!(dims.len(), strides.len());
    let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, dims.len());
    let mut at = base as isize;
    let n: usize = dims.iter().product();
    (0..n).map(move |_| {
        let here = at as usize;
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            at -= strides[axis] * dims[axis] as isize;
            index[axis] = 0;
        }
        here
    })
}

/// Row-major strides, signed.
pub(crate) fn signed_strides(dims: &[usize]) -> SmallVec<[isize; 4]> {
    strides_of(dims).into_iter().map(|s| s as isize).collect()
}

macro_rules! pickers {
    ($(($v:ident, $t:ty)),*) => {
        /// The elements of `from` at row-major positions, in that order.
        pub(crate) fn pick(from: &Literal, dims: &[usize], at: impl Iterator<Item = usize>) -> Literal {
            let data = match from.data() { $(Data::$v(x) => Data::$v(at.map(|i| x[i]).collect())),* };
            Literal::new(dims, data)
        }

        /// As [`pick`], with `fill` where there is no position.
        pub(crate) fn pick_or(
            from: &Literal,
            dims: &[usize],
            fill: Scalar,
            at: impl Iterator<Item = Option<usize>>,
        ) -> Literal {
            let data = match (from.data(), fill) {
                $((Data::$v(x), Scalar::$v(fill)) => Data::$v(at.map(|i| i.map_or(fill, |i| x[i])).collect()),)*
                _ => panic!("a {} fills {}", fill.dtype(), from.dtype()),
            };
            Literal::new(dims, data)
        }

        /// The elements at (operand, position), in that order; all operands have one dtype.
        pub(crate) fn pick_among(
            from: &[&Literal],
            dims: &[usize],
            at: impl Iterator<Item = (usize, usize)>,
        ) -> Literal {
            let data = match from[0].data() { $(Data::$v(_) => {
                let all: Vec<&[$t]> = from.iter().map(|l| l.as_slice::<$t>()).collect();
                Data::$v(at.map(|(operand, i)| all[operand][i]).collect())
            }),* };
            Literal::new(dims, data)
        }
    };
}
for_each_dtype!(pickers);

/// The values of dimensions.
pub(crate) fn dims_of(
    shape: &Shape,
    dim: &dyn Fn(&Dim) -> Result<i64, EvalError>,
) -> Result<SmallVec<[i64; 4]>, EvalError> {
    shape.iter().map(dim).collect()
}

/// Every index below `dims`, in row-major order.
pub(crate) fn indices(dims: &[usize]) -> impl Iterator<Item = SmallVec<[usize; 4]>> + '_ {
    let n: usize = dims.iter().product();
    let strides = strides_of(dims);
    (0..n).map(move |at| strides.iter().zip(dims).map(|(s, d)| at / s % d).collect())
}
