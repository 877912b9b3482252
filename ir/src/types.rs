//! Shapes and tensor types.

use crate::dim::Atom;
use crate::{DType, Dim};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A list of axis numbers.
pub type Axes = SmallVec<[usize; 4]>;

/// Most axes of a shape.
pub const MAX_RANK: usize = 64;
/// Most terms and factors of an extent that is read, and most terms of the product of a shape's extents.
pub const MAX_TERMS: usize = 256;

/// The extents of a tensor, outermost first; empty for a scalar.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Shape(pub SmallVec<[Dim; 4]>);

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Product of the extents.
    pub fn numel(&self) -> Dim {
        self.0.iter().fold(Dim::from(1), |p, d| p * d)
    }

    /// Why such a shape is refused: too many axes, or a product of so many sums that it cannot be multiplied out.
    pub fn too_complex(&self) -> Option<String> {
        if self.rank() > MAX_RANK {
            return Some(format!("a shape of {} axes; at most {MAX_RANK} are legal", self.rank()));
        }
        let terms = self.most_terms();
        (terms > MAX_TERMS).then(|| format!("a shape whose size has {terms} terms; at most {MAX_TERMS} are legal"))
    }

    /// How many terms the product of the extents can have, or of any of them.
    fn most_terms(&self) -> usize {
        // Products of numbers are numbers.
        let symbolic: SmallVec<[_; 4]> = self.0.iter().filter(|d| !d.is_static()).map(Dim::terms).collect();
        let pairs = symbolic.iter().fold(1usize, |n, terms| n.saturating_mul(terms.len()));
        if pairs <= MAX_TERMS {
            return pairs;
        }
        // Nor more than there are monomials of its degrees.
        let mut degrees: BTreeMap<Atom, usize> = BTreeMap::new();
        for terms in &symbolic {
            let mut most: BTreeMap<&Atom, usize> = BTreeMap::new();
            for run in terms.iter().flat_map(|t| t.atoms.chunk_by(|a, b| a == b)) {
                let degree = most.entry(&run[0]).or_default();
                *degree = run.len().max(*degree);
            }
            most.into_iter().for_each(|(atom, degree)| *degrees.entry(atom.clone()).or_default() += degree);
        }
        degrees.values().fold(1usize, |n, d| n.saturating_mul(d + 1)).min(pairs)
    }

    /// The extents as numbers, or `None` if one is symbolic.
    pub fn known(&self) -> Option<SmallVec<[usize; 4]>> {
        self.0.iter().map(Dim::as_usize).collect()
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> SmallVec<[Dim; 4]> {
        let mut strides: SmallVec<[Dim; 4]> = SmallVec::from_elem(Dim::from(1), self.rank());
        for i in (1..self.rank()).rev() {
            strides[i - 1] = &strides[i] * &self.0[i];
        }
        strides
    }

    /// The shape with one axis replaced.
    pub fn with_axis(&self, axis: usize, extent: Dim) -> Shape {
        let mut shape = self.clone();
        shape.0[axis] = extent;
        shape
    }

    /// The shape without those axes.
    pub fn without(&self, axes: &[usize]) -> Shape {
        let kept = self.0.iter().enumerate().filter(|(i, _)| !axes.contains(i));
        Shape(kept.map(|(_, d)| d.clone()).collect())
    }
}

impl Deref for Shape {
    type Target = SmallVec<[Dim; 4]>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
impl DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<D: Into<Dim>> FromIterator<D> for Shape {
    fn from_iter<I: IntoIterator<Item = D>>(dims: I) -> Shape {
        Shape(dims.into_iter().map(Into::into).collect())
    }
}
impl<D: Into<Dim>, const N: usize> From<[D; N]> for Shape {
    fn from(dims: [D; N]) -> Shape {
        dims.into_iter().collect()
    }
}
impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Shape {
        dims.iter().copied().collect()
    }
}
impl From<&[Dim]> for Shape {
    fn from(dims: &[Dim]) -> Shape {
        Shape(dims.iter().cloned().collect())
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        shape.clone()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The type of a tensor value: element type and shape.
///
/// ```
/// use ir::{DType, Dim, Type};
/// let t = Type::new(DType::F32, [Dim::symbol("B"), Dim::from(784)]);
/// assert_eq!(t.to_string(), "f32[B, 784]");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Type {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
}

impl Type {
    /// False if the extents that are numbers alone make more bytes than any memory has.
    pub fn is_addressable(&self) -> bool {
        let known = self.shape.iter().filter_map(Dim::known).filter(|&n| n > 0);
        let bytes = known.map(|n| n as u64).try_fold(self.dtype.size() as u64, u64::checked_mul);
        bytes.is_some_and(|n| n < i64::MAX as u64)
    }

    /// The type of those elements and extents.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Type {
        let shape = shape.into();
        Type { dtype, shape }
    }

    /// A scalar type.
    pub fn scalar(dtype: DType) -> Type {
        Type::new(dtype, Shape::scalar())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The same shape with other elements.
    pub fn with_dtype(&self, dtype: DType) -> Type {
        Type::new(dtype, &self.shape)
    }

    /// Bytes of a dense tensor of this type.
    pub fn bytes(&self) -> Dim {
        self.shape.numel() * self.dtype.size()
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
