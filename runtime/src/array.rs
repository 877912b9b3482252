//! Dense tensors in the runtime's memory.

use crate::buffer::Buffer;
use crate::error::ExecError;
use ir::{DType, Element, Literal, Scalar, Type, for_each_dtype};
use smallvec::SmallVec;

/// A dense row-major tensor in host memory. Cloning shares the elements.
///
/// ```
/// use runtime::Array;
/// let a = Array::from_slice(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0]).unwrap();
/// assert_eq!(a.as_slice::<f32>(), Some(&[1.0, 2.0, 3.0, 4.0][..]));
/// ```
#[derive(Clone, Debug)]
pub struct Array {
    dtype: DType,
    dims: SmallVec<[usize; 4]>,
    buffer: Buffer,
}

impl Array {
    /// A tensor over a buffer, whose length must be right.
    pub fn new(dtype: DType, dims: SmallVec<[usize; 4]>, buffer: Buffer) -> Result<Array, ExecError> {
        let bytes = byte_length(dtype, &dims)?;
        if bytes != buffer.len() {
            return Err(ExecError::Bug(format!("{} bytes for {dtype}{dims:?}", buffer.len())));
        }
        Ok(Array { dtype, dims, buffer })
    }

    /// A tensor from elements in row-major order.
    pub fn from_slice<T: Element>(dims: &[usize], data: &[T]) -> Result<Array, ExecError> {
        let buffer = Buffer::from_slice(data).map_err(ExecError::memory)?;
        Array::new(T::DTYPE, SmallVec::from_slice(dims), buffer)
    }

    /// A tensor of one repeated value.
    pub fn filled(dims: &[usize], value: Scalar) -> Result<Array, ExecError> {
        let dtype = value.dtype();
        let bytes = byte_length(dtype, dims)?;
        let len = bytes / dtype.size();
        macro_rules! fill { ($(($v:ident, $t:ty)),*) => { match value { $(Scalar::$v(x) => Buffer::from_fn(len, |_| x)),* } } }
        let buffer = if value == Scalar::zero(dtype) { Buffer::zeroed(bytes) } else { for_each_dtype!(fill) };
        Array::new(dtype, SmallVec::from_slice(dims), buffer.map_err(ExecError::memory)?)
    }

    /// A tensor whose elements are those numbers, by row-major position, converted to the dtype.
    pub fn from_fn(dims: &[usize], dtype: DType, element: impl Fn(usize) -> Scalar) -> Result<Array, ExecError> {
        let len = byte_length(dtype, dims)? / dtype.size();
        macro_rules! fill {
            ($(($v:ident, $t:ty)),*) => {
                match dtype {
                    $(DType::$v => Buffer::from_fn(len, |i| match element(i).convert(dtype) {
                        Scalar::$v(x) => x,
                        other => unreachable!("{other:?} was converted to {dtype}"),
                    })),*
                }
            };
        }
        let buffer = for_each_dtype!(fill).map_err(ExecError::memory)?;
        Array::new(dtype, SmallVec::from_slice(dims), buffer)
    }

    /// A tensor with unspecified elements.
    pub fn uninit(dtype: DType, dims: &[usize]) -> Result<Array, ExecError> {
        let bytes = byte_length(dtype, dims)?;
        let buffer = Buffer::try_alloc(bytes).map_err(ExecError::memory)?;
        Ok(Array { dtype, dims: SmallVec::from_slice(dims), buffer })
    }

    /// A copy of host data.
    pub fn from_literal(literal: &Literal) -> Result<Array, ExecError> {
        let buffer = Buffer::from_literal(literal).map_err(ExecError::memory)?;
        Array::new(literal.dtype(), SmallVec::from_slice(literal.dims()), buffer)
    }

    /// A copy as host data.
    pub fn to_literal(&self) -> Result<Literal, ExecError> {
        self.buffer.to_literal(self.dtype, &self.dims).map_err(|e| ExecError::Bug(e.to_string()))
    }

    /// The elements, if they are of this type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        if T::DTYPE == self.dtype { self.buffer.view().ok() } else { None }
    }

    /// Element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// Extents.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
    /// Number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.dims.iter().product()
    }
    /// The tensor type.
    pub fn ty(&self) -> Type {
        Type::new(self.dtype, self.dims())
    }
    /// The memory.
    #[inline]
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }
    /// True if no other tensor shares the memory.
    pub fn is_unique(&self) -> bool {
        self.buffer.is_unique()
    }
    /// True if both are over the same memory.
    pub fn shares_with(&self, other: &Array) -> bool {
        self.buffer.same(&other.buffer)
    }
    /// The same memory under other extents of the same product.
    pub fn reshaped(&self, dims: &[usize]) -> Result<Array, ExecError> {
        Array::new(self.dtype, SmallVec::from_slice(dims), self.buffer.clone())
    }
}

/// Bytes of a dense tensor.
pub fn byte_length(dtype: DType, dims: &[usize]) -> Result<usize, ExecError> {
    dims.iter()
        .try_fold(dtype.size(), |n, &d| n.checked_mul(d))
        .filter(|&n| n <= isize::MAX as usize)
        .ok_or_else(|| ExecError::memory(format_args!("{dtype}{dims:?} is larger than the address space")))
}
