//! Reshape, transpose, broadcast, flip: methods that only rearrange.

use super::axes::{resolve, resolve_all};
use super::prim;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::error::{Code, Error};
use crate::tape;
use crate::tensor::{Held, Repr, Tensor};
use crate::trace::active;
use crate::view::{Step, view};
use ir::{Axes, Dim, Shape};

/// Fills in an extent of -1.
fn inferred(old: &Shape, asked: &Shape) -> Result<Shape, Error> {
    let fail = |rule: String, legal: &str| Err(Error::new(Code::Shape, "reshape", rule, legal));
    let unknown: Vec<usize> = (0..asked.rank()).filter(|&i| asked[i].is(-1)).collect();
    if let Some(d) = asked.iter().find(|d| d.known().is_some_and(|n| n < -1)) {
        return fail(format!("extent {d} in {asked}"), "extents are not negative; one may be -1, to be worked out");
    }
    if let Some(rule) = asked.too_complex() {
        return fail(rule, "");
    }
    let numel = old.numel();
    match unknown.as_slice() {
        [] if asked.numel() == numel => Ok(asked.clone()),
        [] => fail(
            format!("{numel} elements cannot take shape {asked}, which has {}", asked.numel()),
            "the number of elements stays",
        ),
        [i] => {
            let rest = asked.without(&[*i]).numel();
            match numel.exact_div(&rest) {
                Some(d) if !rest.is(0) => Ok(asked.with_axis(*i, d)),
                _ => fail(format!("{numel} elements cannot be divided among {asked}"), "the number of elements stays"),
            }
        }
        _ => fail(format!("{} extents of -1 in {asked}", unknown.len()), "one extent may be -1"),
    }
}

impl Tensor {
    /// The same elements in row-major order under another shape; one extent may be -1, to be worked out.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(6, DType::I64).reshape([2, -1]);
    /// assert_eq!(x.shape().to_string(), "[2, 3]");
    /// ```
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        match inferred(&self.shape(), &shape.into()) {
            Ok(shape) => self.reshaped("reshape", shape),
            Err(e) => refuse(e, &[self]),
        }
    }

    /// A reshape to a shape that is known to fit.
    #[track_caller]
    fn reshaped(&self, name: &'static str, shape: Shape) -> Tensor {
        if !active()
            && let Some(dims) = shape.known()
        {
            if tape::records(self) {
                return tape::reshaped(name, self, self.plain().reshaped(name, shape));
            }
            let long = |s: &Shape| s.iter().filter(|d| !d.is(1)).cloned().collect::<Shape>();
            if let Repr::View(_) = &self.plain().0
                && long(&self.shape()) == long(&shape)
            {
                return view(name, self, [Step::Reshape(shape)]);
            }
            if let Held::Array(a) = self.held() {
                return match a.reshaped(&dims) {
                    Ok(a) => Tensor::array(a),
                    Err(e) => refuse(Error::exec(e), &[self]),
                };
            }
        }
        run(Call::plain(name, &[], Extents::Exact), &[self], &|t| prim::reshape(&t[0], &shape))
    }

    /// All axes made one, from `start` to `end` inclusive.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 3, 4], DType::F32).flatten(1, -1).try_shape()?.to_string(), "[2, 12]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn flatten(&self, start: isize, end: isize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let rank = self.rank();
        if rank == 0 {
            return self.reshaped("flatten", [1].into());
        }
        let (a, b) = match (resolve(start, rank, "flatten"), resolve(end, rank, "flatten")) {
            (Ok(a), Ok(b)) if a <= b => (a, b),
            (Ok(a), Ok(b)) => {
                let rule = format!("axis {a} comes after axis {b}");
                return refuse(Error::new(Code::Axis, "flatten", rule, "start is not after end"), &[self]);
            }
            (Err(e), _) | (_, Err(e)) => return refuse(e, &[self]),
        };
        let shape = self.shape();
        let merged = shape[a..=b].iter().fold(Dim::from(1), |n, d| n * d);
        let new: Shape = shape[..a].iter().cloned().chain([merged]).chain(shape[b + 1..].iter().cloned()).collect();
        self.reshaped("flatten", new)
    }

    /// Without an axis of extent 1.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 1], DType::F32).squeeze(-1).try_shape()?.to_string(), "[2]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn squeeze(&self, axis: isize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let at = match resolve(axis, self.rank(), "squeeze") {
            Ok(a) => a,
            Err(e) => return refuse(e, &[self]),
        };
        let shape = self.shape();
        if !shape[at].is(1) {
            let rule = format!("axis {at} has extent {}", shape[at]);
            return refuse(Error::new(Code::Shape, "squeeze", rule, "an axis of extent 1"), &[self]);
        }
        self.reshaped("squeeze", shape.without(&[at]))
    }

    /// With a new axis of extent 1 that becomes axis `axis`.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2], DType::F32).unsqueeze(0).try_shape()?.to_string(), "[1, 2]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        match resolve(axis, self.rank() + 1, "unsqueeze") {
            Ok(at) => {
                let mut shape = self.shape();
                shape.insert(at, Dim::from(1));
                self.reshaped("unsqueeze", shape)
            }
            Err(e) => refuse(e, &[self]),
        }
    }

    /// Axis `i` of the result is axis `axes[i]` of this tensor.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 3, 4], DType::F32).permute(&[2, 0, 1]).try_shape()?.to_string(), "[4, 2, 3]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn permute(&self, axes: &[isize]) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let rank = self.rank();
        let permutation = match resolve_all(axes, rank, "permute") {
            Ok(p) if p.len() == rank => p,
            Ok(p) => {
                let rule = format!("{} axes are named for a tensor of rank {rank}", p.len());
                return refuse(Error::new(Code::Rank, "permute", rule, "name every axis once"), &[self]);
            }
            Err(e) => return refuse(e, &[self]),
        };
        self.permuted("permute", permutation)
    }

    #[track_caller]
    fn permuted(&self, name: &'static str, permutation: Axes) -> Tensor {
        view(name, self, [Step::Permute(permutation)])
    }

    /// With two axes exchanged.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 3, 4], DType::F32).transpose(0, 2).try_shape()?.to_string(), "[4, 3, 2]");
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let rank = self.rank();
        match (resolve(a, rank, "transpose"), resolve(b, rank, "transpose")) {
            (Ok(a), Ok(b)) => {
                let mut permutation: Axes = (0..rank).collect();
                permutation.swap(a, b);
                self.permuted("transpose", permutation)
            }
            (Err(e), _) | (_, Err(e)) => refuse(e, &[self]),
        }
    }

    /// With the last two axes exchanged.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 2], [3, 4]]).t().to_vec::<i64>()?, [1, 3, 2, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn t(&self) -> Tensor {
        let _here = enter();
        if self.error_ref().is_none() && self.rank() < 2 {
            let rule = format!("the tensor has rank {}", self.rank());
            return refuse(Error::new(Code::Rank, "t", rule, "at least two axes"), &[self]);
        }
        self.transpose(-2, -1)
    }

    /// Repeated along axes of extent 1, and along new axes in front, as NumPy does.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2]).broadcast_to([2, 2]).to_vec::<i64>()?, [1, 2, 1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let (old, shape) = (self.shape(), shape.into());
        let offset = shape.rank().checked_sub(old.rank());
        let fits = offset.is_some_and(|o| old.iter().zip(&shape[o..]).all(|(d, s)| d.is(1) || d == s));
        if !fits {
            let rule = format!("shape {old} does not broadcast to {shape}");
            let legal = "aligned at the last axis, extents are equal or 1 in the tensor";
            return refuse(Error::new(Code::Shape, "broadcast_to", rule, legal), &[self]);
        }
        view("broadcast_to", self, [Step::Broadcast(shape)])
    }

    /// In reverse order along axes.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2, 3]).flip(&[0]).to_vec::<i64>()?, [3, 2, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn flip(&self, axes: &[isize]) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        match resolve_all(axes, self.rank(), "flip") {
            Ok(axes) => view("flip", self, [Step::Flip(axes)]),
            Err(e) => refuse(e, &[self]),
        }
    }
}
