//! Dense tensors in the runtime's memory.

use crate::buffer::{Buffer, Map};
use crate::cuda::{self, Gpu};
use crate::device::Device;
use crate::error::ExecError;
use ir::{DType, Element, Literal, Scalar, Type, for_each_dtype};
use smallvec::SmallVec;
use std::sync::Arc;

/// A dense row-major tensor. Cloning shares the elements.
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
    memory: Memory,
}

#[derive(Clone, Debug)]
enum Memory {
    Host(Buffer),
    Cuda(cuda::Memory),
}

impl Array {
    /// A tensor of the host over a buffer, whose length must be right.
    pub fn new(dtype: DType, dims: SmallVec<[usize; 4]>, buffer: Buffer) -> Result<Array, ExecError> {
        let bytes = byte_length(dtype, &dims)?;
        if bytes != buffer.len() {
            return Err(ExecError::Bug(format!("{} bytes for {dtype}{dims:?}", buffer.len())));
        }
        if !buffer.ptr().addr().is_multiple_of(dtype.size()) {
            return Err(ExecError::Bug(format!("elements of {dtype} are not aligned")));
        }
        Ok(Array { dtype, dims, memory: Memory::Host(buffer) })
    }

    /// A tensor over a part of a file, in row-major order and little-endian. It is copied if elements are not aligned
    /// there, if there are none, and if they are truth values: other bytes than 0 and 1, which the file may get later, are none.
    pub fn of_file(map: &Arc<Map>, dtype: DType, dims: &[usize], at: usize) -> Result<Array, ExecError> {
        let bytes = byte_length(dtype, dims)?;
        let outside = || ExecError::Argument(format!("{dtype}{dims:?} from byte {at} on is more than the file has"));
        let end = at.checked_add(bytes).ok_or_else(outside)?;
        let part = map.bytes().get(at..end).ok_or_else(outside)?;
        let aligned = part.as_ptr().addr().is_multiple_of(dtype.size());
        if bytes > 0 && aligned && dtype != DType::Bool && cfg!(target_endian = "little") {
            let buffer = Buffer::of_file(map, at..end).ok_or_else(outside)?;
            return Array::new(dtype, SmallVec::from_slice(dims), buffer);
        }
        Array::from_bytes(dtype, dims, part, false)
    }

    /// A tensor from the bytes of its elements in row-major order, the most significant one of each first or last.
    pub fn from_bytes(dtype: DType, dims: &[usize], bytes: &[u8], big_endian: bool) -> Result<Array, ExecError> {
        let needed = byte_length(dtype, dims)?;
        if needed != bytes.len() {
            return Err(ExecError::Argument(format!(
                "{dtype}{dims:?} takes {needed} bytes, there are {}",
                bytes.len()
            )));
        }
        let mut buffer = Buffer::try_alloc(needed).map_err(ExecError::memory)?;
        let to = buffer.get_mut().ok_or_else(|| ExecError::Bug("a new buffer is shared".into()))?;
        to.copy_from_slice(bytes);
        if big_endian != cfg!(target_endian = "big") {
            to.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
        }
        if dtype == DType::Bool {
            buffer.view::<bool>().map_err(|e| ExecError::Argument(e.to_string()))?;
        }
        Array::new(dtype, SmallVec::from_slice(dims), buffer)
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
        Ok(Array { dtype, dims: SmallVec::from_slice(dims), memory: Memory::Host(buffer) })
    }

    /// A tensor with unspecified elements on a device.
    pub fn uninit_on(device: Device, dtype: DType, dims: &[usize]) -> Result<Array, ExecError> {
        let Device::Cuda(number) = device else { return Array::uninit(dtype, dims) };
        let memory = cuda::Memory::uninit(Gpu::get(number)?, byte_length(dtype, dims)?)?;
        Ok(Array { dtype, dims: SmallVec::from_slice(dims), memory: Memory::Cuda(memory) })
    }

    /// A copy on a device; the same tensor if it is there already.
    pub fn to_device(&self, device: Device) -> Result<Array, ExecError> {
        let host = match (device, &self.memory) {
            (Device::Cpu, Memory::Host(_)) => return Ok(self.clone()),
            (Device::Cuda(_), Memory::Cuda(m)) if m.device() == device => return Ok(self.clone()),
            (_, Memory::Host(buffer)) => buffer.clone(),
            (_, Memory::Cuda(memory)) => {
                let mut buffer = Buffer::try_alloc(memory.len()).map_err(ExecError::memory)?;
                if let Some(bytes) = buffer.get_mut() {
                    memory.download(bytes)?;
                }
                buffer
            }
        };
        let memory = match device {
            Device::Cpu => Memory::Host(host),
            Device::Cuda(number) => Memory::Cuda(cuda::Memory::upload(Gpu::get(number)?, host.bytes())?),
        };
        Ok(Array { dtype: self.dtype, dims: self.dims.clone(), memory })
    }

    /// Where it is.
    #[inline]
    pub fn device(&self) -> Device {
        match &self.memory {
            Memory::Host(_) => Device::Cpu,
            Memory::Cuda(m) => m.device(),
        }
    }

    /// A copy of host data.
    pub fn from_literal(literal: &Literal) -> Result<Array, ExecError> {
        let buffer = Buffer::from_literal(literal).map_err(ExecError::memory)?;
        Array::new(literal.dtype(), SmallVec::from_slice(literal.dims()), buffer)
    }

    /// A copy as host data.
    pub fn to_literal(&self) -> Result<Literal, ExecError> {
        let host = self.to_device(Device::Cpu)?;
        let buffer = host.buffer().ok_or_else(|| ExecError::Bug("a tensor of the host is elsewhere".into()))?;
        buffer.to_literal(self.dtype, &self.dims).map_err(|e| ExecError::Bug(e.to_string()))
    }

    /// The elements, if they are of this type and in the host's memory.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        if T::DTYPE == self.dtype { self.buffer()?.view().ok() } else { None }
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
    /// The memory, if it is the host's.
    #[inline]
    pub fn buffer(&self) -> Option<&Buffer> {
        match &self.memory {
            Memory::Host(buffer) => Some(buffer),
            Memory::Cuda(_) => None,
        }
    }
    /// The address of the first element, on its device.
    #[inline]
    pub fn address(&self) -> *mut u8 {
        match &self.memory {
            Memory::Host(buffer) => buffer.ptr(),
            Memory::Cuda(m) => m.address(),
        }
    }
    /// Bytes of all elements.
    #[inline]
    pub fn byte_len(&self) -> usize {
        match &self.memory {
            Memory::Host(buffer) => buffer.len(),
            Memory::Cuda(m) => m.len(),
        }
    }
    /// True if no other tensor shares the memory.
    pub fn is_unique(&self) -> bool {
        match &self.memory {
            Memory::Host(buffer) => buffer.is_unique(),
            Memory::Cuda(m) => m.is_unique(),
        }
    }
    /// True if both are over the same memory.
    pub fn shares_with(&self, other: &Array) -> bool {
        self.device() == other.device() && self.address() == other.address()
    }
    /// The same memory under other extents of the same product.
    pub fn reshaped(&self, dims: &[usize]) -> Result<Array, ExecError> {
        let bytes = byte_length(self.dtype, dims)?;
        if bytes != self.byte_len() {
            return Err(ExecError::Bug(format!("{} bytes for {}{dims:?}", self.byte_len(), self.dtype)));
        }
        Ok(Array { dtype: self.dtype, dims: SmallVec::from_slice(dims), memory: self.memory.clone() })
    }
}

/// Bytes of a dense tensor.
pub fn byte_length(dtype: DType, dims: &[usize]) -> Result<usize, ExecError> {
    dims.iter()
        .try_fold(dtype.size(), |n, &d| n.checked_mul(d))
        .filter(|&n| n <= isize::MAX as usize)
        .ok_or_else(|| ExecError::memory(format_args!("{dtype}{dims:?} is larger than the address space")))
}
