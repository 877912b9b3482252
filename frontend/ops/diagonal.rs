//! Diagonals and triangles of matrices.

use super::axes::resolve;
use super::prim;
use crate::dispatch::{Call, Extents, checked, enter, refuse, run};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use ir::{Dim, Scalar, Shape};

/// Places of a matrix that are listed at most.
const MOST_PLACES: usize = 1 << 28;

/// Two different axes.
fn two(a: isize, b: isize, rank: usize, op: &'static str) -> Result<[usize; 2], Error> {
    let (a, b) = (resolve(a, rank, op)?, resolve(b, rank, op)?);
    if a == b {
        return Err(Error::new(Code::Axis, op, format!("axis {a} is named twice"), "two axes"));
    }
    Ok([a, b])
}

/// Where a diagonal of a matrix ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// With its rows.
    Rows,
    /// With its columns.
    Columns,
    /// It has no elements.
    Nowhere,
}

/// The first row and column of a diagonal, and how many there are.
fn start(offset: isize) -> (usize, usize) {
    (offset.min(0).unsigned_abs(), offset.max(0).unsigned_abs())
}

fn end(op: &'static str, rows: &Dim, columns: &Dim, offset: isize) -> Result<End, Error> {
    let (row, column) = start(offset);
    let (rows_left, columns_left) = (rows - &Dim::from(row), columns - &Dim::from(column));
    if [&rows_left, &columns_left].iter().any(|d| d.known().is_some_and(|n| n <= 0)) {
        return Ok(End::Nowhere);
    }
    match (&columns_left - &rows_left).known() {
        Some(n) => Ok(if n >= 0 { End::Rows } else { End::Columns }),
        None => {
            let rule = format!("which of the extents {rows} and {columns} ends the diagonal is not known");
            Err(Error::new(Code::Shape, op, rule, "extents whose difference is a number"))
        }
    }
}

/// The diagonal of the last two axes as one last axis.
fn diagonal(x: &Tensor, offset: isize, end: End) -> Tensor {
    let shape = x.ty().shape;
    let k = shape.rank() - 2;
    let (row, column) = start(offset);
    let n = match end {
        End::Rows => &shape[k] - &Dim::from(row),
        End::Columns => &shape[k + 1] - &Dim::from(column),
        End::Nowhere => Dim::from(0),
    };
    let leading = || shape[..k].iter().cloned();
    if n.is(0) {
        let none = prim::slice(&prim::slice(x, k, 0, 0, 1), k + 1, 0, 0, 1);
        return prim::reshape(&none, &leading().chain([n]).collect());
    }
    let square = prim::slice(x, k, row, n.clone() + row, 1);
    let square = prim::slice(&square, k + 1, column, n.clone() + column, 1);
    let flat = prim::reshape(&square, &leading().chain([&n * &n]).collect());
    if let Some(step) = n.as_usize() {
        return prim::slice(&flat, k, 0, &n * &n, step + 1);
    }
    // With one more element per row, the diagonal is the first column.
    let wider = prim::pad(&flat, k, 0, n.clone(), Scalar::zero(x.dtype()));
    let wider = prim::reshape(&wider, &leading().chain([n.clone(), &n + 1]).collect());
    prim::reshape(&prim::slice(&wider, k + 1, 0, 1, 1), &leading().chain([n]).collect())
}

/// The diagonal of two axes of one extent, as a last axis.
pub(super) fn main_diagonal(x: &Tensor, a: usize, b: usize) -> Tensor {
    if x.error_ref().is_some() {
        return x.clone();
    }
    let empty = x.ty().shape[a].is(0);
    diagonal(&prim::to_back(x, &[a, b]), 0, if empty { End::Nowhere } else { End::Rows })
}

/// How far each element of a matrix is to the right of the main diagonal.
fn distance(rows: &Dim, columns: &Dim) -> Tensor {
    let shape = Shape::from([rows.clone(), columns.clone()]);
    prim::iota(&shape, 1) - prim::iota(&shape, 0)
}

impl Tensor {
    /// The elements of a diagonal of two axes, which fall away, as a last axis: those whose index along `b` is `offset`
    /// more than that along `a`. It has no elements if the offset leads out of the matrix.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(6, DType::I64).reshape([2, 3]);
    /// assert_eq!(x.diagonal(0, 0, 1).to_vec::<i64>()?, [0, 4]);
    /// assert_eq!(x.diagonal(1, 0, 1).to_vec::<i64>()?, [1, 5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn diagonal(&self, offset: isize, a: isize, b: isize) -> Tensor {
        self.named_diagonal("diagonal", offset, a, b)
    }

    #[track_caller]
    fn named_diagonal(&self, name: &'static str, offset: isize, a: isize, b: isize) -> Tensor {
        checked(&[self], || {
            let shape = self.shape();
            let [a, b] = two(a, b, shape.rank(), name)?;
            let end = end(name, &shape[a], &shape[b], offset)?;
            let attributes = [offset as i64, a as i64, b as i64, end as i64];
            Ok(run(Call::composed(name, &attributes, Extents::Symbolic), &[self], &|t| {
                diagonal(&prim::to_back(&t[0], &[a, b]), offset, end)
            }))
        })
    }

    /// A copy in which a diagonal of two axes ([`Tensor::diagonal`]) is that of `values`, whose last axis goes along it.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3], DType::I64).diagonal_scatter(&Tensor::from([5i64, 6]), 1, 0, 1);
    /// assert_eq!(x.to_vec::<i64>()?, [0, 5, 0, 0, 0, 6]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn diagonal_scatter(&self, values: &Tensor, offset: isize, a: isize, b: isize) -> Tensor {
        let operands = [self, values];
        checked(&operands, || {
            let wanted = self.diagonal(offset, a, b);
            if wanted.error_ref().is_some() {
                return Ok(wanted);
            }
            if wanted.shape() != values.shape() {
                let rule = format!("the values have shape {}", values.shape());
                let legal = format!("that of the diagonal, {}", wanted.shape());
                return Err(Error::new(Code::Shape, "diagonal_scatter", rule, legal));
            }
            let [a, b] = two(a, b, self.rank(), "diagonal_scatter")?;
            let attributes = [offset as i64, a as i64, b as i64];
            Ok(run(Call::composed("diagonal_scatter", &attributes, Extents::Symbolic), &operands, &|t| {
                let x = prim::to_back(&t[0], &[a, b]);
                let (shape, last) = (x.ty().shape, x.rank() - 2);
                let u = prim::cast(&t[1], x.dtype());
                let (row, _) = start(offset);
                let after = &shape[last] - &u.ty().shape[last] - &Dim::from(row);
                // Each row reads its element.
                let rows = prim::pad(&u, last, row, after, Scalar::zero(x.dtype()));
                let rows = prim::spread(&rows, &shape, &(0..=last).collect::<Vec<_>>());
                let on = distance(&shape[last], &shape[last + 1]).eq(offset as i64);
                let y = prim::broadcast(&on, &shape).where_(rows, x);
                let others: Vec<isize> = (0..shape.rank() as isize).collect();
                y.movedim(&others[last..], &[a as isize, b as isize])
            }))
        })
    }

    /// Matrices that have the last axis on a diagonal and zeros elsewhere, in the last two axes; `offset` above 0 is right
    /// of the main diagonal, below 0 left of it. With [`Tensor::movedim`] they become other axes.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([1i64, 2]);
    /// assert_eq!(x.diag_embed(0).to_vec::<i64>()?, [1, 0, 0, 2]);
    /// assert_eq!(x.diag_embed(1).to_vec::<i64>()?, [0, 1, 0, 0, 0, 2, 0, 0, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn diag_embed(&self, offset: isize) -> Tensor {
        self.embedded("diag_embed", offset)
    }

    #[track_caller]
    fn embedded(&self, name: &'static str, offset: isize) -> Tensor {
        checked(&[self], || {
            let Some(last) = self.rank().checked_sub(1) else {
                return Err(Error::new(Code::Rank, name, "the tensor is a scalar", "at least one axis"));
            };
            Ok(run(Call::composed(name, &[offset as i64], Extents::Symbolic), &[self], &|t| {
                let old = t[0].ty().shape;
                let n = &old[last] + &Dim::from(offset.unsigned_abs());
                let square: Shape = old[..last].iter().cloned().chain([n.clone(), n.clone()]).collect();
                let (row, column) = start(offset);
                // Each row reads its element.
                let rows = prim::pad(&t[0], last, row, column, Scalar::zero(t[0].dtype()));
                let kept: Vec<usize> = (0..=last).collect();
                let rows = prim::spread(&rows, &square, &kept);
                let on = prim::broadcast(&distance(&n, &n).eq(offset as i64), &square);
                on.where_(rows, prim::full(Scalar::zero(t[0].dtype()), &square))
            }))
        })
    }

    /// Of a matrix a diagonal ([`Tensor::diagonal`]), of a vector the matrix that has it on one ([`Tensor::diag_embed`]).
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 2], [3, 4]]).diag(0).to_vec::<i64>()?, [1, 4]);
    /// assert_eq!(Tensor::from([5i64, 6]).diag(0).to_vec::<i64>()?, [5, 0, 0, 6]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn diag(&self, offset: isize) -> Tensor {
        checked(&[self], || match self.rank() {
            1 => Ok(self.embedded("diag", offset)),
            2 => Ok(self.named_diagonal("diag", offset, 0, 1)),
            rank => Err(Error::new(Code::Rank, "diag", format!("the tensor has rank {rank}"), "a vector or a matrix")),
        })
    }

    /// The sum of the main diagonal of a matrix; integers sum as [`Tensor::sum`] has them.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 2], [3, 4]]).trace().item::<i64>()?, 5);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn trace(&self) -> Tensor {
        checked(&[self], || {
            if self.rank() != 2 {
                let rule = format!("the tensor has rank {}", self.rank());
                return Err(Error::new(Code::Rank, "trace", rule, "a matrix"));
            }
            let shape = self.shape();
            let end = end("trace", &shape[0], &shape[1], 0)?;
            Ok(run(Call::composed("trace", &[end as i64], Extents::Symbolic), &[self], &|t| {
                diagonal(&t[0], 0, end).sum(..)
            }))
        })
    }

    #[track_caller]
    fn triangle(&self, name: &'static str, offset: isize) -> Tensor {
        checked(&[self], || {
            let Some(k) = self.rank().checked_sub(2) else {
                let rule = format!("the tensor has rank {}", self.rank());
                return Err(Error::new(Code::Rank, name, rule, "at least two axes"));
            };
            Ok(run(Call::composed(name, &[offset as i64], Extents::Symbolic), &[self], &|t| {
                let shape = t[0].ty().shape;
                let distance = distance(&shape[k], &shape[k + 1]);
                let kept = if name == "tril" { distance.le(offset as i64) } else { distance.ge(offset as i64) };
                let zero = prim::full(Scalar::zero(t[0].dtype()), &shape);
                prim::broadcast(&kept, &shape).where_(&t[0], zero)
            }))
        })
    }

    /// Zeros right of a diagonal of the last two axes, `offset` right of the main one.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::ones([2, 3], DType::I64).tril(0).to_vec::<i64>()?, [1, 0, 0, 1, 1, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn tril(&self, offset: isize) -> Tensor {
        self.triangle("tril", offset)
    }

    /// Zeros left of a diagonal of the last two axes, `offset` right of the main one.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::ones([2, 3], DType::I64).triu(1).to_vec::<i64>()?, [0, 1, 1, 0, 0, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn triu(&self, offset: isize) -> Tensor {
        self.triangle("triu", offset)
    }

    /// The rows and the columns (i64) of what [`Tensor::tril`] keeps of a matrix of that size, in row-major order: two
    /// rows of one shape.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::tril_indices(2, 2, 0).to_vec::<i64>()?, [0, 1, 1, 0, 0, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn tril_indices(rows: usize, columns: usize, offset: isize) -> Tensor {
        let _here = enter();
        kept("tril_indices", rows, columns, |row, column| column - row <= offset as i64)
    }

    /// The rows and the columns (i64) of what [`Tensor::triu`] keeps of a matrix of that size, in row-major order.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::triu_indices(2, 2, 0).to_vec::<i64>()?, [0, 0, 1, 0, 1, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn triu_indices(rows: usize, columns: usize, offset: isize) -> Tensor {
        let _here = enter();
        kept("triu_indices", rows, columns, |row, column| column - row >= offset as i64)
    }
}

#[track_caller]
fn kept(name: &'static str, rows: usize, columns: usize, keep: impl Fn(i64, i64) -> bool) -> Tensor {
    if rows.checked_mul(columns).is_none_or(|n| n > MOST_PLACES) || rows.max(columns) > MOST_PLACES {
        let rule = format!("the places of {rows} rows and {columns} columns");
        return refuse(Error::new(Code::Memory, name, rule, format!("at most {MOST_PLACES}")), &[]);
    }
    let all = (0..rows as i64).flat_map(|row| (0..columns as i64).map(move |column| (row, column)));
    let (mut found, below): (Vec<i64>, Vec<i64>) = all.filter(|&(row, column)| keep(row, column)).unzip();
    let count = found.len();
    found.extend(below);
    Tensor::from_slice(&found, [2, count])
}
