//! Conveniences over reshape, transpose and flip.

use super::axes::{resolve, resolve_all};
use crate::dispatch::{checked, enter};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use ir::{Axes, Dim, Shape};

impl Tensor {
    /// With axis `from[i]` moved to place `to[i]`; all others keep their order. NumPy's `moveaxis`.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3, 4], DType::F32);
    /// assert_eq!(x.movedim(&[0], &[-1]).shape().to_string(), "[3, 4, 2]");
    /// ```
    #[track_caller]
    pub fn movedim(&self, from: &[isize], to: &[isize]) -> Tensor {
        checked(&[self], || {
            let rank = self.rank();
            let (from, to) = (resolve_all(from, rank, "movedim")?, resolve_all(to, rank, "movedim")?);
            if from.len() != to.len() {
                let rule = format!("{} axes are to move to {} places", from.len(), to.len());
                return Err(Error::new(Code::Argument, "movedim", rule, "one place per axis"));
            }
            let mut rest = (0..rank).filter(|a| !from.contains(a));
            let order = (0..rank).map(|place| match to.iter().position(|&t| t == place) {
                Some(i) => from[i],
                None => rest.next().expect("as many places as axes"),
            });
            Ok(self.permute(&order.map(|a| a as isize).collect::<Vec<_>>()))
        })
    }

    /// With one axis made several, of those extents; one of them may be -1, to be worked out.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::zeros([2, 12], DType::F32);
    /// assert_eq!(x.unflatten(1, [3, -1]).shape().to_string(), "[2, 3, 4]");
    /// ```
    #[track_caller]
    pub fn unflatten(&self, axis: isize, sizes: impl Into<Shape>) -> Tensor {
        checked(&[self], || {
            let (shape, mut sizes) = (self.shape(), sizes.into());
            let axis = resolve(axis, shape.rank(), "unflatten")?;
            let rest = sizes.iter().filter(|d| !d.is(-1)).fold(Dim::from(1), |n, d| n * d);
            match sizes.iter().position(|d| d.is(-1)) {
                Some(i) if !rest.is(0) => {
                    if let Some(d) = shape[axis].exact_div(&rest) {
                        sizes[i] = d;
                    }
                }
                _ => {}
            }
            if sizes.numel() != shape[axis] {
                let rule = format!("axis {axis} of extent {} cannot take shape {sizes}", shape[axis]);
                return Err(Error::new(Code::Shape, "unflatten", rule, "extents whose product is that of the axis"));
            }
            let new: Shape = shape[..axis].iter().chain(sizes.iter()).chain(&shape[axis + 1..]).cloned().collect();
            Ok(self.reshape(new))
        })
    }

    /// Without any axis of extent 1.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([1, 2, 1], DType::F32).squeeze_all().shape().to_string(), "[2]");
    /// ```
    #[track_caller]
    pub fn squeeze_all(&self) -> Tensor {
        checked(&[self], || {
            let shape = self.shape();
            Ok(self.reshape(shape.iter().filter(|d| !d.is(1)).cloned().collect::<Shape>()))
        })
    }

    /// Broadcast to the shape of another tensor ([`Tensor::broadcast_to`]).
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::from([1i64, 2]).expand_as(&Tensor::zeros([2, 2], DType::F32));
    /// assert_eq!(x.to_vec::<i64>()?, [1, 2, 1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn expand_as(&self, other: &Tensor) -> Tensor {
        checked(&[self, other], || Ok(self.broadcast_to(other.shape())))
    }

    /// The same elements under the shape of another tensor ([`Tensor::reshape`]); PyTorch's `view_as` too.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(4, DType::I64).reshape_as(&Tensor::zeros([2, 2], DType::F32));
    /// assert_eq!(x.shape().to_string(), "[2, 2]");
    /// ```
    #[track_caller]
    pub fn reshape_as(&self, other: &Tensor) -> Tensor {
        checked(&[self, other], || Ok(self.reshape(other.shape())))
    }

    /// A scalar with one axis; others as they are.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from(2.0f32).atleast_1d().shape().to_string(), "[1]");
    /// ```
    #[track_caller]
    pub fn atleast_1d(&self) -> Tensor {
        checked(&[self], || Ok(if self.rank() == 0 { self.unsqueeze(0) } else { self.clone() }))
    }

    /// With axes of extent 1 in front, to be a matrix at least.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32, 3.0]).atleast_2d().shape().to_string(), "[1, 2]");
    /// ```
    #[track_caller]
    pub fn atleast_2d(&self) -> Tensor {
        checked(&[self], || Ok(if self.rank() < 2 { self.atleast_1d().unsqueeze(0) } else { self.clone() }))
    }

    /// With axes of extent 1 in front and behind, as NumPy has it, to have three at least.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32, 3.0]).atleast_3d().shape().to_string(), "[1, 2, 1]");
    /// ```
    #[track_caller]
    pub fn atleast_3d(&self) -> Tensor {
        checked(&[self], || Ok(if self.rank() < 3 { self.atleast_2d().unsqueeze(2) } else { self.clone() }))
    }

    /// Turned by `times` quarters in the plane of two axes, from `a` towards `b`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.rot90(1, 0, 1).to_vec::<i64>()?, [2, 4, 1, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn rot90(&self, times: isize, a: isize, b: isize) -> Tensor {
        checked(&[self], || {
            let plane: Axes = resolve_all(&[a, b], self.rank(), "rot90")?;
            let (a, b) = (plane[0] as isize, plane[1] as isize);
            Ok(match times.rem_euclid(4) {
                0 => self.clone(),
                1 => self.flip(&[b]).transpose(a, b),
                2 => self.flip(&[a, b]),
                _ => self.flip(&[a]).transpose(a, b),
            })
        })
    }

    /// In reverse order along the first axis.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 2], [3, 4]]).flipud().to_vec::<i64>()?, [3, 4, 1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn flipud(&self) -> Tensor {
        let _here = enter();
        self.flip(&[0])
    }

    /// In reverse order along the second axis.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 2], [3, 4]]).fliplr().to_vec::<i64>()?, [2, 1, 4, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn fliplr(&self) -> Tensor {
        let _here = enter();
        self.flip(&[1])
    }
}
