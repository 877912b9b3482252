//! Masks, bins and flat positions.

use super::arg::Arg;
use super::broadcast::common_shape;
use super::prim;
use crate::dispatch::{Call, Extents, checked, enter, run};
use crate::error::{Code, Error, Result};
use crate::promote::Number;
use crate::tensor::Tensor;
use ir::{DType, Dim, Scalar, Shape};
use smallvec::SmallVec;

fn mask_is_bool(name: &'static str, mask: &Tensor) -> Result<(), Error> {
    if mask.dtype() == DType::Bool {
        return Ok(());
    }
    let rule = format!("the mask has dtype {}", mask.dtype());
    Err(Error::new(Code::DType, name, rule, "a bool; compare, or convert with to_dtype"))
}

impl Tensor {
    /// One value where the mask is true, in the dtype of the tensor. Both broadcast.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([1i64, 2, 3]);
    /// assert_eq!(x.masked_fill(&x.gt(1), 0).to_vec::<i64>()?, [1, 0, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<Number>) -> Tensor {
        checked(&[self, mask], || {
            let (value, dtype) = (value.into(), self.dtype());
            mask_is_bool("masked_fill", mask)?;
            value.fits("masked_fill", dtype)?;
            common_shape("masked_fill", [&self.shape(), &mask.shape()].into_iter())?;
            let value = match (value, dtype.is_float()) {
                // What the dtype makes of it, which a condition does not do with numbers of another kind.
                (Number::Float(_) | Number::Bool(_), false) => Arg::Tensor(Tensor::full(Shape::scalar(), value, dtype)),
                _ => Arg::Number(value),
            };
            Ok(mask.where_(value, self).to_dtype(dtype))
        })
    }

    /// The elements where the mask is true, as a vector; both broadcast. As their number decides the shape, this cannot be
    /// traced.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.masked_select(&Tensor::from([true, false])).to_vec::<i64>()?, [1, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Tensor {
        checked(&[self, mask], || {
            mask_is_bool("masked_select", mask)?;
            let shape = common_shape("masked_select", [&self.shape(), &mask.shape()].into_iter())?;
            let flat = |t: &Tensor| t.broadcast_to(shape.clone()).flatten(0, -1);
            Ok(flat(self).i(flat(mask)))
        })
    }

    /// The elements of `source`, in their order, at the places where the mask, which broadcasts, is true. Needs as many of
    /// them as there are such places; fewer are an error of the call.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([0i64, 0, 0, 0]);
    /// let mask = Tensor::from([false, true, false, true]);
    /// assert_eq!(x.masked_scatter(&mask, &Tensor::from([5i64, 6, 7])).to_vec::<i64>()?, [0, 5, 0, 6]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_scatter(&self, mask: &Tensor, source: &Tensor) -> Tensor {
        checked(&[self, mask, source], || {
            mask_is_bool("masked_scatter", mask)?;
            let shape = self.shape();
            if common_shape("masked_scatter", [&shape, &mask.shape()].into_iter())? != shape {
                let rule = format!("the mask has shape {}", mask.shape());
                return Err(Error::new(Code::Shape, "masked_scatter", rule, format!("one that broadcasts to {shape}")));
            }
            if source.dtype() != self.dtype() {
                let rule = format!("the source has dtype {}", source.dtype());
                return Err(Error::new(Code::DType, "masked_scatter", rule, format!("{}", self.dtype())));
            }
            if source.numel().is(0) {
                let rule = "the source is empty";
                return Err(Error::new(Code::Empty, "masked_scatter", rule, "as many elements as places"));
            }
            let call = Call::composed("masked_scatter", &[], Extents::Symbolic);
            Ok(run(call, &[self, mask, source], &|t| {
                let shape = t[0].ty().shape;
                let flat = |t: &Tensor| prim::reshape(t, &Shape::from([t.ty().shape.numel()]));
                let mask = flat(&prim::broadcast(&t[1], &shape));
                let place = prim::cast(&mask, DType::I64).cumsum(0) - 1;
                // Where the mask is false any place will do.
                let place = mask.where_(place, 0);
                let picked = flat(&t[2]).take(&place, 0);
                prim::reshape(&mask.where_(picked, flat(&t[0])), &shape)
            }))
        })
    }

    /// A copy whose parts at `indices` along an axis are one value.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.index_fill(1, &Tensor::from([0i64]), 9).to_vec::<i64>()?, [9, 2, 9, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn index_fill(&self, axis: isize, indices: &Tensor, value: impl Into<Number>) -> Tensor {
        checked(&[self, indices], || {
            let axis = super::axes::resolve(axis, self.rank(), "index_fill")?;
            let (shape, dtype) = (self.shape(), self.dtype());
            let parts: Shape =
                shape[..axis].iter().chain(indices.shape().iter()).chain(&shape[axis + 1..]).cloned().collect();
            let value = Tensor::full(Shape::scalar(), value, dtype);
            Ok(self.index_copy(axis as isize, indices, &value.broadcast_to(parts)))
        })
    }

    /// The elements at places counted in row-major order, in the shape of `places`: what PyTorch calls `take`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.take_flat(&Tensor::from([3i64, 0])).to_vec::<i64>()?, [4, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn take_flat(&self, places: &Tensor) -> Tensor {
        checked(&[self, places], || Ok(self.flatten(0, -1).take(places, 0)))
    }

    /// A copy with `values` at places counted in row-major order, or with them added there: what PyTorch calls `put`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// let y = x.put_flat(&Tensor::from([3i64]), &Tensor::from([9i64]), false);
    /// assert_eq!(y.to_vec::<i64>()?, [1, 2, 3, 9]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn put_flat(&self, places: &Tensor, values: &Tensor, accumulate: bool) -> Tensor {
        checked(&[self, places, values], || {
            Ok(self.flatten(0, -1).index_put(places, values, accumulate).reshape(self.shape()))
        })
    }

    /// The places, counted in row-major order of a shape, as an index along each axis of it.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let axes = Tensor::from([5i64, 0]).unravel_index([2, 3]);
    /// assert_eq!((axes[0].to_vec::<i64>()?, axes[1].to_vec::<i64>()?), (vec![1, 0], vec![2, 0]));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn unravel_index(&self, shape: impl Into<Shape>) -> Vec<Tensor> {
        let _here = enter();
        let shape = shape.into();
        let one = |axis: usize| {
            checked(&[self], || {
                if !self.dtype().is_int() {
                    let rule = format!("the places have dtype {}", self.dtype());
                    return Err(Error::new(Code::DType, "unravel_index", rule, "integers"));
                }
                let size = |d: &Dim| {
                    d.as_usize().filter(|n| *n > 0).ok_or_else(|| {
                        let rule = format!("an extent is {d}");
                        Error::new(Code::Shape, "unravel_index", rule, "extents that are numbers above 0")
                    })
                };
                let inner = shape[axis + 1..].iter().map(size).product::<Result<usize, Error>>()?;
                Ok(self.floor_divide(inner as i64).remainder(size(&shape[axis])? as i64))
            })
        };
        (0..shape.rank()).map(one).collect()
    }

    /// The positions of what is not 0, one row per element and one column per axis, of which the first `size` count; rows
    /// that are missing have `fill` everywhere. Unlike [`Tensor::nonzero`] it can be traced.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([0i64, 7, 8]);
    /// assert_eq!(x.nonzero_static(3, -1).to_vec::<i64>()?, [1, 2, -1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nonzero_static(&self, size: usize, fill: i64) -> Tensor {
        checked(&[self], || {
            let attributes = [size as i64, fill];
            Ok(run(Call::composed("nonzero_static", &attributes, Extents::Symbolic), &[self], &|t| {
                let shape = t[0].ty().shape;
                let n = shape.numel();
                let mask = prim::reshape(&prim::cast(&t[0], DType::Bool), &Shape::from([n.clone()]));
                // The one that is the k-th goes to place k; all others fall away.
                let place = prim::cast(&mask, DType::I64).cumsum(0) - 1;
                let place = mask.where_(place, -1);
                let columns: Vec<Tensor> = (0..shape.rank())
                    .map(|axis| {
                        let index = prim::reshape(&prim::iota(&shape, axis), &Shape::from([n.clone()]));
                        let none = prim::full(Scalar::I64(fill), &Shape::from([size]));
                        let set = ir::ops::index::Scatter {
                            axis: 0,
                            batch: 0,
                            mode: ir::ops::index::IndexMode::Fill,
                            combine: ir::ops::index::Update::Set,
                        };
                        let column = crate::trace::record(set, &[&none, &place, &index]);
                        prim::reshape(&column, &Shape::from([size, 1]))
                    })
                    .collect();
                if columns.is_empty() {
                    return prim::full(Scalar::I64(fill), &Shape::from([size, 0]));
                }
                prim::concat(&columns, 1)
            }))
        })
    }

    /// Whether each element is one of `values`; NaN is not.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([1i64, 2, 3]).isin(&Tensor::from([3i64, 1]));
    /// assert_eq!(x.to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn isin(&self, values: &Tensor) -> Tensor {
        checked(&[self, values], || {
            let values = values.flatten(0, -1);
            if values.dim(0).is(0) {
                return Ok(self.zeros_like().to_dtype(DType::Bool));
            }
            let sorted = values.sort(0, false).0;
            let last = values.dim(0).as_usize();
            let place = sorted.searchsorted(self, false);
            let place = match last {
                Some(n) => place.minimum(n as i64 - 1),
                None => place.minimum(values.ones_like().to_dtype(DType::I64).sum(..) - 1),
            };
            Ok(sorted.take(&place, 0).eq(self))
        })
    }

    /// For each element the number of the range between sorted boundaries in which it lies:
    /// [`Tensor::searchsorted`] with its tensors exchanged.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([0.5f32, 2.0]).bucketize(&Tensor::from([1.0f32, 2.0]), false);
    /// assert_eq!(y.to_vec::<i64>()?, [0, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn bucketize(&self, boundaries: &Tensor, right: bool) -> Tensor {
        let _here = enter();
        boundaries.searchsorted(self, right)
    }

    /// The elements at `offset + sum(index[i] * strides[i])` in row-major order, as a tensor of those extents.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(5, DType::I64);
    /// assert_eq!(x.as_strided(&[2, 3], &[1, 1], 1).to_vec::<i64>()?, [1, 2, 3, 2, 3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn as_strided(&self, sizes: &[usize], strides: &[usize], offset: usize) -> Tensor {
        checked(&[self], || {
            let fail = |rule: String, legal: &str| Err(Error::new(Code::Argument, "as_strided", rule, legal));
            if sizes.len() != strides.len() {
                return fail(format!("{} extents and {} strides", sizes.len(), strides.len()), "a stride per extent");
            }
            let far = (sizes.iter().zip(strides))
                .fold(offset, |n, (&size, &stride)| n.saturating_add(size.saturating_sub(1).saturating_mul(stride)));
            let (numel, empty) = (self.numel(), sizes.contains(&0));
            if !empty && (&numel - &Dim::from(far) - 1).known().is_some_and(|rest| rest < 0) {
                return fail(format!("place {far} of {numel} elements"), "places within the elements");
            }
            let shape = Shape::from(sizes);
            if empty {
                return Ok(Tensor::zeros(shape, self.dtype()));
            }
            let mut attributes: SmallVec<[i64; 8]> = sizes.iter().chain(strides).map(|&n| n as i64).collect();
            attributes.push(offset as i64);
            Ok(run(Call::composed("as_strided", &attributes, Extents::Symbolic), &[self], &|t| {
                let places = (0..sizes.len()).fold(prim::full(Scalar::I64(offset as i64), &shape), |sum, axis| {
                    sum + prim::iota(&shape, axis) * strides[axis] as i64
                });
                prim::reshape(&t[0], &Shape::from([t[0].ty().shape.numel()])).take(&places, 0)
            }))
        })
    }
}
