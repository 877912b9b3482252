//! Moving axes, rotations, pixel shuffles: rearrangements made of reshape, transpose and flip.

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

    /// Of images `[.., channels * r * r, height, width]` the channels spread over the plane: `[.., channels, height * r,
    /// width * r]`.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(4, DType::I64).reshape([4, 1, 1]).pixel_shuffle(2);
    /// assert_eq!((x.shape().to_string(), x.to_vec::<i64>()?), ("[1, 2, 2]".into(), vec![0, 1, 2, 3]));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn pixel_shuffle(&self, r: usize) -> Tensor {
        checked(&[self], || {
            let (c, [channels, height, width]) = image("pixel_shuffle", self)?;
            let Some(fewer) = channels.exact_div(&(Dim::from(r) * r)).filter(|_| r > 0) else {
                let rule = format!("{channels} channels cannot be divided by {r} * {r}");
                return Err(Error::new(Code::Shape, "pixel_shuffle", rule, "a multiple of that many channels"));
            };
            let parts = [fewer.clone(), r.into(), r.into(), height.clone(), width.clone()];
            let order = [0, 3, 1, 4, 2].map(|a| c + a);
            Ok(self.rearranged(c, &parts, &order, &[fewer, height * r, width * r]))
        })
    }

    /// The opposite of [`Tensor::pixel_shuffle`].
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(4, DType::I64).reshape([1, 2, 2]);
    /// assert_eq!(x.pixel_unshuffle(2).shape().to_string(), "[4, 1, 1]");
    /// ```
    #[track_caller]
    pub fn pixel_unshuffle(&self, r: usize) -> Tensor {
        checked(&[self], || {
            let (c, [channels, height, width]) = image("pixel_unshuffle", self)?;
            let by = Dim::from(r);
            let (Some(rows), Some(columns), true) = (height.exact_div(&by), width.exact_div(&by), r > 0) else {
                let rule = format!("height {height} and width {width} cannot be divided by {r}");
                return Err(Error::new(Code::Shape, "pixel_unshuffle", rule, "multiples of it"));
            };
            let parts = [channels.clone(), rows.clone(), by.clone(), columns.clone(), by];
            let order = [0, 2, 4, 1, 3].map(|a| c + a);
            Ok(self.rearranged(c, &parts, &order, &[channels * r * r, rows, columns]))
        })
    }

    /// Of images `[.., channels, height, width]` the channels of each of several groups in turn.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(4, DType::I64).reshape([4, 1, 1]);
    /// assert_eq!(x.channel_shuffle(2).to_vec::<i64>()?, [0, 2, 1, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn channel_shuffle(&self, groups: usize) -> Tensor {
        checked(&[self], || {
            let (c, [channels, height, width]) = image("channel_shuffle", self)?;
            let Some(each) = channels.exact_div(&Dim::from(groups)).filter(|_| groups > 0) else {
                let rule = format!("{channels} channels cannot be divided into {groups} groups");
                return Err(Error::new(Code::Shape, "channel_shuffle", rule, "groups of one size"));
            };
            let parts = [groups.into(), each, height.clone(), width.clone()];
            let order = [1, 0, 2, 3].map(|a| c + a);
            Ok(self.rearranged(c, &parts, &order, &[channels, height, width]))
        })
    }

    /// With the axes from `at` on under other extents, in another order, and then under others again.
    #[track_caller]
    fn rearranged(&self, at: usize, parts: &[Dim], order: &[usize], new: &[Dim]) -> Tensor {
        let leading = &self.shape()[..at];
        let under = |dims: &[Dim]| leading.iter().chain(dims).cloned().collect::<Shape>();
        let order: Vec<isize> = (0..at).chain(order.iter().copied()).map(|a| a as isize).collect();
        self.reshape(under(parts)).permute(&order).reshape(under(new))
    }
}

/// Where the last three axes begin, and their extents.
fn image(name: &'static str, x: &Tensor) -> Result<(usize, [Dim; 3]), Error> {
    let shape = x.shape();
    match shape.rank().checked_sub(3) {
        Some(c) => Ok((c, [shape[c].clone(), shape[c + 1].clone(), shape[c + 2].clone()])),
        None => {
            let rule = format!("the tensor has rank {}", shape.rank());
            Err(Error::new(Code::Rank, name, rule, "[.., channels, height, width]"))
        }
    }
}
