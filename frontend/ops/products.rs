//! Products of vectors, matrices and tensors: dot, outer, tensordot and others, over [`Tensor::matmul`].

use super::arg::Arg;
use super::axes::resolve_all;
use super::matmul::numbers;
use super::prim;
use crate::dispatch::{Call, Extents, checked, enter, run};
use crate::error::{Code, Error};
use crate::promote::{Number, promote};
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::contract::DotGeneral;
use ir::{Axes, Dim, Shape};
use smallvec::SmallVec;

/// Which axes [`Tensor::tensordot`] sums. A number is [`Summed::Last`], a pair of lists is [`Summed::Pairs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Summed {
    /// That many last axes of the left operand with as many first ones of the right, in order.
    Last(usize),
    /// These axes of the left operand with these of the right, in pairs.
    Pairs(Vec<isize>, Vec<isize>),
}

impl From<usize> for Summed {
    fn from(count: usize) -> Summed {
        Summed::Last(count)
    }
}
impl<const N: usize> From<([isize; N], [isize; N])> for Summed {
    fn from((left, right): ([isize; N], [isize; N])) -> Summed {
        Summed::Pairs(left.to_vec(), right.to_vec())
    }
}
impl From<(&[isize], &[isize])> for Summed {
    fn from((left, right): (&[isize], &[isize])) -> Summed {
        Summed::Pairs(left.to_vec(), right.to_vec())
    }
}

/// An error if an operand has another number of axes.
fn ranks(name: &'static str, operands: &[(&Tensor, usize)]) -> Result<(), Error> {
    let Some(i) = operands.iter().position(|(t, rank)| t.rank() != *rank) else { return Ok(()) };
    let rule = format!("operand {i} has rank {}", operands[i].0.rank());
    Err(Error::new(Code::Rank, name, rule, format!("rank {}", operands[i].1)))
}

/// The sum of products over pairs of axes.
fn contracted(x: &Tensor, y: &Tensor, left: &Axes, right: &Axes) -> Tensor {
    let none = Axes::new();
    let (lhs_contract, rhs_contract) = (left.clone(), right.clone());
    record(DotGeneral { lhs_batch: none.clone(), rhs_batch: none, lhs_contract, rhs_contract }, &[x, y])
}

impl Tensor {
    /// Sums products over pairs of axes. The result has the other axes of this tensor, then those of the other.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([2, 3, 4], DType::F32), Tensor::ones([4, 3, 5], DType::F32));
    /// assert_eq!(a.tensordot(&b, ([1, 2], [1, 0])).shape().to_string(), "[2, 5]");
    /// assert_eq!(a.tensordot(&b, 1).shape().to_string(), "[2, 3, 3, 5]");
    /// ```
    ///
    /// # Errors
    /// If paired axes differ in extent, there is no such axis, or both operands are bool.
    #[track_caller]
    pub fn tensordot(&self, other: &Tensor, axes: impl Into<Summed>) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            let (a, b) = (self.shape(), other.shape());
            let (left, right) = match axes.into() {
                Summed::Last(n) if n > a.rank() || n > b.rank() => {
                    let rule = format!("{n} axes of operands of ranks {} and {}", a.rank(), b.rank());
                    return Err(Error::new(Code::Rank, "tensordot", rule, "as many axes as both have, or fewer"));
                }
                Summed::Last(n) => ((a.rank() - n..a.rank()).collect::<Axes>(), (0..n).collect::<Axes>()),
                Summed::Pairs(left, right) => {
                    (resolve_all(&left, a.rank(), "tensordot")?, resolve_all(&right, b.rank(), "tensordot")?)
                }
            };
            if left.len() != right.len() {
                let rule = format!("{} axes of the left operand, {} of the right", left.len(), right.len());
                return Err(Error::new(Code::Argument, "tensordot", rule, "axes in pairs"));
            }
            if let Some((&i, &j)) = left.iter().zip(&right).find(|(i, j)| a[**i] != b[**j]) {
                let rule = format!("axis {i} of the left operand has extent {}, axis {j} of the right {}", a[i], b[j]);
                return Err(Error::new(Code::Shape, "tensordot", rule, "paired axes have one extent"));
            }
            numbers("tensordot", &operands)?;
            let dtype = promote(self.dtype(), other.dtype());
            let mut attributes: SmallVec<[i64; 8]> = left.iter().chain(&right).map(|&a| a as i64).collect();
            attributes.push(left.len() as i64);
            Ok(run(Call::composed("tensordot", &attributes, Extents::Symbolic), &operands, &|t| {
                let [x, y] = [0, 1].map(|i| prim::cast(&t[i], dtype));
                if !left.is_empty() {
                    return contracted(&x, &y, &left, &right);
                }
                let wide: Shape = x.ty().shape.iter().cloned().chain(t[1].shape().iter().map(|_| 1.into())).collect();
                prim::reshape(&x, &wide) * y
            }))
        })
    }

    /// The sum of the products of two vectors' elements; PyTorch's `vdot` too.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2]).dot(&Tensor::from([3i64, 4])).item::<i64>()?, 11);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Tensor {
        checked(&[self, other], || {
            ranks("dot", &[(self, 1), (other, 1)])?;
            Ok(self.multiplied("dot", other))
        })
    }

    /// The products of every element of one vector with every element of another; PyTorch's `ger` too.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([1i64, 2]).outer(&Tensor::from([3i64, 4, 5]));
    /// assert_eq!(y.to_vec::<i64>()?, [3, 4, 5, 6, 8, 10]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Tensor {
        checked(&[self, other], || {
            ranks("outer", &[(self, 1), (other, 1)])?;
            Ok(self.unsqueeze(1) * other)
        })
    }

    /// Sums products over the last axis of both; with a scalar, the product.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.inner(&x).to_vec::<i64>()?, [5, 11, 11, 25]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn inner(&self, other: &Tensor) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            let (a, b) = (self.shape(), other.shape());
            let (Some(i), Some(j)) = (a.rank().checked_sub(1), b.rank().checked_sub(1)) else {
                return Ok(self * other);
            };
            if a[i] != b[j] {
                let rule = format!("the last axes have extents {} and {}", a[i], b[j]);
                return Err(Error::new(Code::Shape, "inner", rule, "both are equal"));
            }
            numbers("inner", &operands)?;
            let dtype = promote(self.dtype(), other.dtype());
            Ok(run(Call::plain("inner", &[], Extents::Symbolic), &operands, &|t| {
                let [x, y] = [0, 1].map(|i| prim::cast(&t[i], dtype));
                contracted(&x, &y, &Axes::from_slice(&[i]), &Axes::from_slice(&[j]))
            }))
        })
    }

    /// Every element times the whole other tensor, in its place: block matrices, for matrices. The tensor with fewer axes
    /// gets more in front.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([1i64, 2]).kron(&Tensor::from([1i64, 10]));
    /// assert_eq!(y.to_vec::<i64>()?, [1, 10, 2, 20]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn kron(&self, other: &Tensor) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            numbers("kron", &operands)?;
            Ok(run(Call::composed("kron", &[], Extents::Symbolic), &operands, &|t| {
                let rank = t[0].rank().max(t[1].rank());
                let shapes = [0, 1].map(|i| t[i].ty().shape);
                let extent = |i: usize, axis: usize| match (axis + shapes[i].rank()).checked_sub(rank) {
                    Some(a) => shapes[i][a].clone(),
                    None => Dim::from(1),
                };
                let one = |_: usize| Dim::from(1);
                let blocks: Shape = (0..rank).flat_map(|a| [extent(0, a), one(a)]).collect();
                let inside: Shape = (0..rank).flat_map(|a| [one(a), extent(1, a)]).collect();
                let product = prim::reshape(&t[0], &blocks) * prim::reshape(&t[1], &inside);
                let shape: Shape = (0..rank).map(|a| extent(0, a) * extent(1, a)).collect();
                prim::reshape(&product, &shape)
            }))
        })
    }

    /// A matrix times a vector.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([[1i64, 2], [3, 4]]).mv(&Tensor::from([5i64, 6]));
    /// assert_eq!(y.to_vec::<i64>()?, [17, 39]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn mv(&self, vector: &Tensor) -> Tensor {
        checked(&[self, vector], || {
            ranks("mv", &[(self, 2), (vector, 1)])?;
            Ok(self.multiplied("mv", vector))
        })
    }

    /// The product of two matrices.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.mm(&x).to_vec::<i64>()?, [7, 10, 15, 22]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn mm(&self, other: &Tensor) -> Tensor {
        checked(&[self, other], || {
            ranks("mm", &[(self, 2), (other, 2)])?;
            Ok(self.multiplied("mm", other))
        })
    }

    /// The products of matrices in pairs, which do not broadcast.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([5, 2, 3], DType::F32), Tensor::ones([5, 3, 4], DType::F32));
    /// assert_eq!(a.bmm(&b).shape().to_string(), "[5, 2, 4]");
    /// ```
    #[track_caller]
    pub fn bmm(&self, other: &Tensor) -> Tensor {
        checked(&[self, other], || {
            pairs("bmm", self, other)?;
            Ok(self.multiplied("bmm", other))
        })
    }

    /// `beta * self + alpha * (a @ b)` for matrices; this tensor broadcasts, and does not count if `beta` is 0.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (a, b) = (Tensor::from([[1i64, 2]]), Tensor::from([[3i64], [4]]));
    /// assert_eq!(Tensor::from([100i64]).addmm(&a, &b, 1, 2).to_vec::<i64>()?, [122]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn addmm(&self, a: &Tensor, b: &Tensor, beta: impl Into<Number>, alpha: impl Into<Number>) -> Tensor {
        checked(&[self, a, b], || {
            ranks("addmm", &[(self, self.rank()), (a, 2), (b, 2)])?;
            self.added("addmm", a.multiplied("addmm", b), beta.into(), alpha.into())
        })
    }

    /// `beta * self + alpha * (matrix @ vector)`; this tensor broadcasts, and does not count if `beta` is 0.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (a, b) = (Tensor::from([[1i64, 2]]), Tensor::from([3i64, 4]));
    /// assert_eq!(Tensor::from([1i64]).addmv(&a, &b, 1, 1).to_vec::<i64>()?, [12]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn addmv(&self, matrix: &Tensor, vector: &Tensor, beta: impl Into<Number>, alpha: impl Into<Number>) -> Tensor {
        checked(&[self, matrix, vector], || {
            ranks("addmv", &[(self, self.rank()), (matrix, 2), (vector, 1)])?;
            self.added("addmv", matrix.multiplied("addmv", vector), beta.into(), alpha.into())
        })
    }

    /// `beta * self + alpha * outer(a, b)`; this tensor broadcasts, and does not count if `beta` is 0.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (a, b) = (Tensor::from([1i64, 2]), Tensor::from([3i64, 4]));
    /// assert_eq!(Tensor::from(1i64).addr(&a, &b, 1, 1).to_vec::<i64>()?, [4, 5, 7, 9]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn addr(&self, a: &Tensor, b: &Tensor, beta: impl Into<Number>, alpha: impl Into<Number>) -> Tensor {
        checked(&[self, a, b], || {
            ranks("addr", &[(self, self.rank()), (a, 1), (b, 1)])?;
            self.added("addr", a.outer(b), beta.into(), alpha.into())
        })
    }

    /// `beta * self + alpha * (a @ b)` for matrices in pairs; this tensor broadcasts, and does not count if `beta` is 0.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([5, 2, 3], DType::F32), Tensor::ones([5, 3, 4], DType::F32));
    /// let y = Tensor::ones([4], DType::F32).baddbmm(&a, &b, 0.5, 2.0);
    /// assert_eq!((y.shape().to_string(), y.max(..).item::<f32>()?), ("[5, 2, 4]".into(), 6.5));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn baddbmm(&self, a: &Tensor, b: &Tensor, beta: impl Into<Number>, alpha: impl Into<Number>) -> Tensor {
        checked(&[self, a, b], || {
            pairs("baddbmm", a, b)?;
            self.added("baddbmm", a.multiplied("baddbmm", b), beta.into(), alpha.into())
        })
    }

    /// `beta * self + alpha * (the sum of a[i] @ b[i])` for matrices in pairs; this tensor broadcasts, and does not count
    /// if `beta` is 0.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([5, 2, 3], DType::F32), Tensor::ones([5, 3, 4], DType::F32));
    /// assert_eq!(Tensor::ones([4], DType::F32).addbmm(&a, &b, 1, 1).max(..).item::<f32>()?, 16.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn addbmm(&self, a: &Tensor, b: &Tensor, beta: impl Into<Number>, alpha: impl Into<Number>) -> Tensor {
        checked(&[self, a, b], || {
            pairs("addbmm", a, b)?;
            self.added("addbmm", a.tensordot(b, ([0, 2], [0, 1])), beta.into(), alpha.into())
        })
    }

    /// `beta * self + alpha * product`, this tensor broadcast to the shape of the product.
    #[track_caller]
    fn added(&self, name: &'static str, product: Tensor, beta: Number, alpha: Number) -> Result<Tensor, Error> {
        if product.error_ref().is_some() {
            return Ok(product);
        }
        let (x, shape) = (self.shape(), product.shape());
        let offset = shape.rank().checked_sub(x.rank());
        if !offset.is_some_and(|o| x.iter().zip(&shape[o..]).all(|(d, s)| d.is(1) || d == s)) {
            let rule = format!("shape {x} does not broadcast to {shape}, that of the product");
            return Err(Error::new(Code::Shape, name, rule, "aligned at the last axis, extents are equal or 1"));
        }
        let is = |n: Number, k: i128| n == Number::Int(k) || n == Number::Float(k as f64);
        let scaled = |t: &Tensor, by: Number| if is(by, 1) { t.clone() } else { t * Arg::Number(by) };
        if is(beta, 0) {
            return Ok(scaled(&product, alpha).to_dtype(promote(self.dtype(), product.dtype())));
        }
        Ok(scaled(self, beta) + scaled(&product, alpha))
    }

    /// A square matrix, or each of several, multiplied with itself until there are `n` factors; the identity if `n` is 0.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 1], [1, 0]]).matrix_power(10).to_vec::<i64>()?, [89, 55, 55, 34]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn matrix_power(&self, n: usize) -> Tensor {
        checked(&[self], || {
            let shape = self.shape();
            let k = shape.rank().saturating_sub(2);
            if shape.rank() < 2 || shape[k] != shape[k + 1] {
                let rule = format!("the shape is {shape}");
                return Err(Error::new(Code::Shape, "matrix_power", rule, "square matrices in the last two axes"));
            }
            numbers("matrix_power", &[self])?;
            Ok(run(Call::composed("matrix_power", &[n as i64], Extents::Symbolic), &[self], &|t| {
                if n == 0 {
                    let shape = t[0].ty().shape;
                    let square = Shape::from([shape[k].clone(), shape[k].clone()]);
                    let same = prim::iota(&square, 0).eq(prim::iota(&square, 1));
                    return prim::broadcast(&prim::cast(&same, t[0].dtype()), &shape);
                }
                let (mut square, mut power, mut left) = (t[0].clone(), None::<Tensor>, n);
                loop {
                    if left & 1 == 1 {
                        power = Some(power.map_or(square.clone(), |p| p.matmul(&square)));
                    }
                    left >>= 1;
                    match power {
                        Some(power) if left == 0 => return power,
                        _ => square = square.matmul(&square),
                    }
                }
            }))
        })
    }
}

/// An error if these are not batches of as many matrices.
fn pairs(name: &'static str, a: &Tensor, b: &Tensor) -> Result<(), Error> {
    ranks(name, &[(a, 3), (b, 3)])?;
    let (x, y) = (a.shape(), b.shape());
    if x[0] != y[0] {
        let rule = format!("there are {} matrices on the left and {} on the right", x[0], y[0]);
        return Err(Error::new(Code::Shape, name, rule, "as many on both sides; matmul broadcasts"));
    }
    Ok(())
}

/// The product of several matrices, in the order that takes the fewest multiplications. The first may be a vector, as a
/// row, and the last, as a column; its axis falls away. PyTorch's `chain_matmul` too.
///
/// ```
/// use tracewright::{DType, Tensor, multi_dot};
/// let (a, b) = (Tensor::ones([2, 30], DType::F32), Tensor::ones([30, 2], DType::F32));
/// assert_eq!(multi_dot(&[&a, &b, &a]).shape().to_string(), "[2, 30]");
/// ```
#[track_caller]
pub fn multi_dot(matrices: &[&Tensor]) -> Tensor {
    let _here = enter();
    checked(matrices, || {
        let n = matrices.len();
        if n < 2 {
            let rule = format!("there are {n} matrices");
            return Err(Error::new(Code::Argument, "multi_dot", rule, "at least two"));
        }
        for (i, t) in matrices.iter().enumerate() {
            let end = i == 0 || i == n - 1;
            if t.rank() != 2 && !(end && t.rank() == 1) {
                let rule = format!("operand {i} has rank {}", t.rank());
                return Err(Error::new(
                    Code::Rank,
                    "multi_dot",
                    rule,
                    "matrices; the first and the last may be vectors",
                ));
            }
        }
        let shapes: Vec<Shape> = matrices.iter().map(|t| t.shape()).collect();
        let rows = |i: usize| if i == 0 && shapes[0].rank() == 1 { Dim::from(1) } else { shapes[i][0].clone() };
        let inner = |i: usize| shapes[i][shapes[i].rank() - 1].clone();
        if let Some(i) = (1..n).find(|&i| inner(i - 1) != shapes[i][0]) {
            let rule = format!("operand {} has {} columns, operand {i} has {} rows", i - 1, inner(i - 1), rows(i));
            return Err(Error::new(Code::Shape, "multi_dot", rule, "both are equal"));
        }
        let last = if shapes[n - 1].rank() == 1 { Dim::from(1) } else { inner(n - 1) };
        let extents: Vec<Dim> = (0..n).map(rows).chain([last]).collect();
        if n > MOST_PARTED {
            let rest = matrices[1..].iter();
            return Ok(rest.fold(matrices[0].clone(), |product, t| product.multiplied("multi_dot", t)));
        }
        let splits = best_splits(&extents);
        fn product(matrices: &[&Tensor], splits: &[Vec<usize>], from: usize, to: usize) -> Tensor {
            if from == to {
                return matrices[from].clone();
            }
            let middle = splits[from][to];
            let left = product(matrices, splits, from, middle);
            left.multiplied("multi_dot", &product(matrices, splits, middle + 1, to))
        }
        Ok(product(matrices, &splits, 0, n - 1))
    })
}

/// For more matrices than these, finding the best order would take longer than it saves: they are multiplied in turn.
const MOST_PARTED: usize = 128;

/// Where to part the product of the matrices from `i` to `j`, whose extents are those, for the fewest multiplications.
/// Symbolic extents count as 64.
fn best_splits(extents: &[Dim]) -> Vec<Vec<usize>> {
    let size: Vec<f64> = extents.iter().map(|d| d.eval(&|_| Some(64)).unwrap_or(64) as f64).collect();
    let n = extents.len() - 1;
    let (mut cost, mut split) = (vec![vec![0.0; n]; n], vec![vec![0; n]; n]);
    for length in 1..n {
        for i in 0..n - length {
            let j = i + length;
            let all = (i..j).map(|k| (cost[i][k] + cost[k + 1][j] + size[i] * size[k + 1] * size[j + 1], k));
            let (least, at) = all.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there is a place to part them");
            (cost[i][j], split[i][j]) = (least, at);
        }
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Cormen, Leiserson, Rivest and Stein: ((A1 (A2 A3)) ((A4 A5) A6)).
    #[test]
    fn chains_are_parted_best() {
        let extents: Vec<Dim> = [30, 35, 15, 5, 10, 20, 25].map(Dim::from).into();
        let split = best_splits(&extents);
        assert_eq!((split[0][5], split[0][2], split[3][5]), (2, 0, 4));
    }
}
