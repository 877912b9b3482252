//! Elements of tensors from a file, in the file itself or in others beside it.

use super::proto::{self, DataType};
use super::value::{Value, refuse};
use crate::error::{Code, Result};
use crate::tensor::Tensor;
use crate::{DType, Literal};
use ir::half::{bf16, f16};
use ir::{Data, TypedData};
use runtime::Array;
use runtime::buffer::Map;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The dtype of an element type, if there is one for it.
pub(super) fn dtype(number: i32) -> Result<DType> {
    let known = DataType::try_from(number).unwrap_or(DataType::Undefined);
    Ok(match known {
        DataType::Float => DType::F32,
        DataType::Double => DType::F64,
        DataType::Float16 => DType::F16,
        DataType::Bfloat16 => DType::BF16,
        DataType::Int64 => DType::I64,
        DataType::Int32 => DType::I32,
        DataType::Int16 => DType::I16,
        DataType::Int8 => DType::I8,
        DataType::Uint64 => DType::U64,
        DataType::Uint32 => DType::U32,
        DataType::Uint16 => DType::U16,
        DataType::Uint8 => DType::U8,
        DataType::Bool => DType::Bool,
        other => {
            let name = if other == DataType::Undefined { format!("number {number}") } else { format!("{other:?}") };
            let legal = DType::ALL.map(DType::name).join(", ");
            return Err(refuse(Code::DType, format!("element type {}", name.to_lowercase()), legal));
        }
    })
}

/// The file that a model is in, and where data of other files is looked for.
#[derive(Default)]
pub(super) struct Folder {
    pub path: Option<PathBuf>,
    pub file: Option<Arc<Map>>,
    /// Other files, each mapped once.
    others: RefCell<HashMap<PathBuf, Arc<Map>>>,
}

impl Folder {
    pub fn new(path: Option<PathBuf>, file: Arc<Map>) -> Folder {
        Folder { path, file: Some(file), others: RefCell::default() }
    }

    /// Where bytes of the model are in its file, if they are a part of it.
    fn place(&self, bytes: &[u8]) -> Option<(&Arc<Map>, usize)> {
        let map = self.file.as_ref()?;
        let at = bytes.as_ptr().addr().checked_sub(map.bytes().as_ptr().addr())?;
        (at.checked_add(bytes.len())? <= map.bytes().len()).then_some((map, at))
    }

    /// A part of a file inside the folder, and nowhere else: the file, and where the part begins.
    fn find(&self, tensor: &proto::Tensor, expected: usize) -> Result<(Arc<Map>, usize)> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let name = &tensor.name;
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.trim().parse::<u64>().map(Some).map_err(|_| {
                refuse(Code::File, format!("the external data of `{name}` has {key} `{text}`"), "a number of bytes")
            }),
        };
        let location = entry("location").unwrap_or_default();
        let outside = |what: String| {
            let legal = "external data is in files inside of the model's folder, named by relative paths";
            refuse(Code::File, format!("the external data of `{name}` {what}"), legal)
        };
        let relative = Path::new(location);
        if location.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        {
            return Err(outside(format!("lies in `{location}`")));
        }
        let Some(folder) = &self.path else {
            return Err(outside(format!("lies in `{location}`, and the model comes from no file")));
        };
        let unreadable = |e: std::io::Error| {
            refuse(Code::File, format!("the external data of `{name}` in `{location}` cannot be read: {e}"), "")
        };
        let root = folder.canonicalize().map_err(unreadable)?;
        let path = folder.join(relative).canonicalize().map_err(unreadable)?;
        if !path.starts_with(&root) {
            let copy =
                format!("a copy of the folder with the files that its links name: cp -rL {} COPY", folder.display());
            return Err(outside(format!("lies in `{location}`, a link that leaves the folder")).note(copy));
        }
        // Before it is opened: a pipe would wait for its other end.
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(outside(format!("lies in `{location}`, which is no file")));
        }
        let found = self.others.borrow().get(&path).cloned();
        let map = match found {
            Some(map) => map,
            None => {
                let map = Map::open(&path, 0).map_err(unreadable)?;
                self.others.borrow_mut().insert(path, map.clone());
                map
            }
        };
        let (offset, all) = (number("offset")?.unwrap_or(0), map.bytes().len() as u64);
        let length = number("length")?.unwrap_or(all.saturating_sub(offset));
        if offset.checked_add(length).is_none_or(|end| end > all) {
            let rule = format!(
                "the external data of `{name}` is bytes {offset} to {} of `{location}`, which has {all}",
                offset.saturating_add(length)
            );
            return Err(refuse(Code::File, rule, "a part of the file"));
        }
        if length != expected as u64 {
            return Err(wrong_size(tensor, expected, length));
        }
        Ok((map, offset as usize))
    }
}

fn wrong_size(tensor: &proto::Tensor, expected: usize, found: u64) -> crate::Error {
    let rule = format!("the tensor `{}` has {found} bytes of data, and extents {:?}", tensor.name, tensor.dims);
    refuse(Code::Shape, rule, format!("{expected} bytes, as its extents say"))
}

/// A tensor in memory: a part of its file where that has its elements as they are, else a copy.
pub(super) fn tensor(tensor: &proto::Tensor, folder: &Folder) -> Result<Tensor> {
    let dtype = dtype(tensor.data_type).map_err(|e| e.note(format!("of the tensor `{}`", tensor.name)))?;
    let extent = |&d: &i64| usize::try_from(d).ok();
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(extent).collect();
    let bytes = dims.as_ref().and_then(|dims| {
        let numel = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        numel.checked_mul(dtype.size()).filter(|&n| isize::try_from(n).is_ok())
    });
    let (Some(dims), Some(bytes)) = (dims, bytes) else {
        let rule = format!("the tensor `{}` has extents {:?}", tensor.name, tensor.dims);
        return Err(refuse(Code::Shape, rule, "extents that are not negative, of an array that memory can hold"));
    };
    let exec = |e| crate::Error::exec(e).note(format!("of the tensor `{}`", tensor.name));
    let of_file = |map: &Arc<Map>, at: usize| match dtype {
        // Every byte but 0 is true.
        DType::Bool => known(Literal::new(&dims, truths(&map.bytes()[at..at + bytes]))),
        _ => Array::of_file(map, dtype, &dims, at).map(Tensor::array).map_err(exec),
    };
    if tensor.data_location == 1 {
        let (map, at) = folder.find(tensor, bytes)?;
        return of_file(&map, at);
    }
    match &tensor.raw_data {
        Some(raw) if !raw.is_empty() || bytes == 0 => match folder.place(raw) {
            _ if raw.len() != bytes => Err(wrong_size(tensor, bytes, raw.len() as u64)),
            Some((map, at)) => of_file(map, at),
            None if dtype == DType::Bool => known(Literal::new(&dims, truths(raw))),
            None => Array::from_bytes(dtype, &dims, raw, false).map(Tensor::array).map_err(exec),
        },
        _ => known(Literal::new(&dims, from_fields(tensor, dtype, bytes / dtype.size())?)),
    }
}

fn truths(raw: &[u8]) -> Data {
    bool::wrap(raw.iter().map(|&b| b != 0).collect())
}

/// Elements of the fields for one element type or another; where they are fewer than said, it is an error.
fn from_fields(tensor: &proto::Tensor, dtype: DType, expected: usize) -> Result<Data> {
    fn wrap<S: Copy, T: TypedData>(from: &[S], f: impl Fn(S) -> T) -> Data {
        T::wrap(from.iter().map(|&x| f(x)).collect())
    }
    let narrow = &tensor.int32_data;
    let data = match dtype {
        DType::F32 => wrap(&tensor.float_data, |x| x),
        DType::F64 => wrap(&tensor.double_data, |x| x),
        DType::I64 => wrap(&tensor.int64_data, |x| x),
        DType::U64 => wrap(&tensor.uint64_data, |x| x),
        DType::U32 => wrap(&tensor.uint64_data, |x| x as u32),
        DType::I32 => wrap(narrow, |x| x),
        DType::I16 => wrap(narrow, |x| x as i16),
        DType::I8 => wrap(narrow, |x| x as i8),
        DType::U16 => wrap(narrow, |x| x as u16),
        DType::U8 => wrap(narrow, |x| x as u8),
        DType::Bool => wrap(narrow, |x| x != 0),
        DType::F16 => wrap(narrow, |x| f16::from_bits(x as u16)),
        DType::BF16 => wrap(narrow, |x| bf16::from_bits(x as u16)),
    };
    if data.len() != expected {
        return Err(wrong_size(tensor, expected * dtype.size(), (data.len() * dtype.size()) as u64));
    }
    Ok(data)
}

/// Host data as a tensor outside of any trace.
pub(super) fn known(literal: Literal) -> Result<Tensor> {
    let array = runtime::Array::from_literal(&literal).map_err(crate::Error::exec)?;
    Ok(Tensor::array(array))
}

/// One tensor in a file of its own, as the conformance suite has its inputs and outputs.
///
/// ```
/// use tracewright::io::onnx::read_tensor;
/// // Two dims, element type float, and two elements as they are in memory.
/// let bytes = [0x08, 2, 0x10, 1, 0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];
/// let (name, tensor) = read_tensor(&bytes)?;
/// assert_eq!((name.as_str(), tensor.to_vec::<f32>()?), ("", vec![1.0, 2.0]));
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn read_tensor(bytes: &[u8]) -> Result<(String, Tensor)> {
    let proto: proto::Tensor = decode(bytes)?;
    let value = tensor(&proto, &Folder::default()).map_err(crate::Error::observed)?;
    Ok((proto.name, value))
}

/// A message.
pub(super) fn decode<M: prost::Message + Default>(bytes: impl prost::bytes::Buf) -> Result<M> {
    M::decode(bytes)
        .map_err(|e| refuse(Code::File, format!("the file is not ONNX: {e}"), "a whole ONNX file").observed())
}

/// A list of tensors in a file of its own.
pub fn read_sequence(bytes: &[u8]) -> Result<(String, Value)> {
    let proto: proto::Sequence = decode(bytes)?;
    Ok((proto.name.clone(), sequence(&proto).map_err(crate::Error::observed)?))
}

fn sequence(proto: &proto::Sequence) -> Result<Value> {
    let tensors = proto.tensor_values.iter().map(|t| Ok(Value::Tensor(tensor(t, &Folder::default())?)));
    let lists = proto.sequence_values.iter().map(sequence);
    Ok(Value::Sequence(tensors.chain(lists).collect::<Result<_>>()?))
}

/// A value or none in a file of its own.
pub fn read_optional(bytes: &[u8]) -> Result<(String, Value)> {
    let proto: proto::Optional = decode(bytes)?;
    let value = match (&proto.tensor_value, &proto.sequence_value) {
        (Some(t), _) => Some(Value::Tensor(tensor(t, &Folder::default())?)),
        (None, Some(s)) => Some(sequence(s)?),
        (None, None) => None,
    };
    Ok((proto.name, Value::Optional(value.map(Box::new))))
}
