//! The dense host tensors that eager values hold.

use ir::{DType, Element, Literal, TypedData};

/// A dense tensor in host memory. Cloning shares the elements.
#[derive(Clone)]
pub struct Array(Literal);

impl Array {
    /// From a literal.
    pub fn from_literal(literal: Literal) -> Array {
        Array(literal)
    }
    /// As a literal.
    pub fn to_literal(&self) -> Literal {
        self.0.clone()
    }
    /// Element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype()
    }
    /// Extents.
    pub fn dims(&self) -> &[usize] {
        self.0.dims()
    }
    /// The elements, which must be of this type.
    pub fn as_slice<T: Element + TypedData>(&self) -> &[T] {
        self.0.as_slice()
    }
    /// A number that two arrays share exactly if they share their elements.
    pub fn identity(&self) -> usize {
        std::ptr::from_ref(self.0.data()) as usize
    }
    /// The same elements under other extents of the same product.
    pub fn reshaped(&self, dims: &[usize]) -> Array {
        Array(self.0.reshaped(dims))
    }
}
