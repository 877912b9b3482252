//! NumPy's `.npy`: one array in a file. Versions 1 to 3 of the format, either byte order, rows or columns first.
//!
//! The format names no bfloat16. The package ml_dtypes writes such arrays as two bytes of unknown meaning (`V2`), and so
//! does this module, which reads them as bf16. Arrays of objects are Python pickles, which can run any code: they are refused.

use super::file::{self, elements, little_endian, refused};
use crate::device::made_here;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use ir::DType;
use runtime::Array;
use std::path::Path;

/// Reads an array; it is mapped if its rows come first. Who makes a mapped file shorter ends the processes that use it.
///
/// ```
/// use tracewright::{Tensor, io::npy};
/// let path = std::env::temp_dir().join("tracewright-doc.npy");
/// npy::save(&path, &Tensor::from([[1.0f32, 2.0]]))?;
/// assert_eq!(npy::load(&path)?.to_vec::<f32>()?, [1.0, 2.0]);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn load(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let read = || {
        let map = file::open("npy::load", path)?;
        let bad = |rule: String| refused("npy::load", path, rule, LEGAL);
        let (header, at) = Header::read(map.bytes()).map_err(bad)?;
        let bytes = &map.bytes()[at..];
        let array = match header.plain() {
            true if header.byte_length().is_some_and(|n| n == bytes.len()) => {
                Array::of_file(&map, header.dtype, &header.dims, at).map_err(|e| Error::exec(e).note(note(path)))?
            }
            _ => header.array(bytes).map_err(bad)?,
        };
        made_here(array).map(Tensor::array)
    };
    read().map_err(Error::observed)
}

/// Writes an array.
pub fn save(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let write = || {
        let array = elements("npy::save", tensor)?;
        file::write("npy::save", path.as_ref(), |out| {
            out.write_all(&header(&array))?;
            out.write_all(&little_endian(&array))
        })
    };
    write().map_err(Error::observed)
}

fn note(path: &Path) -> String {
    format!("the array of {}", path.display())
}

pub(super) const LEGAL: &str = "an array of bools, integers or floats as numpy.save writes it";

/// No header of an array is longer; there may be more of structs, which have no dtype here.
const LONGEST_HEADER: usize = 1 << 16;
/// With what stands before its text.
pub(super) const LONGEST: usize = LONGEST_HEADER + 12;
/// NumPy's most.
const MOST_AXES: usize = 64;

/// What stands in front of the elements.
#[derive(Debug)]
pub(super) struct Header {
    pub dtype: DType,
    pub dims: Vec<usize>,
    big_endian: bool,
    columns_first: bool,
}

impl Header {
    /// Reads it, and says where the elements begin.
    pub fn read(bytes: &[u8]) -> Result<(Header, usize), String> {
        if !bytes.starts_with(b"\x93NUMPY") {
            return Err("it is no .npy".into());
        }
        let short = || "it ends in its header".to_string();
        let version = *bytes.get(6).ok_or_else(short)?;
        let (from, length) = match version {
            1 => {
                let length = bytes.get(8..10).ok_or_else(short)?;
                (10, u16::from_le_bytes([length[0], length[1]]) as usize)
            }
            2 | 3 => {
                let length = bytes.get(8..12).ok_or_else(short)?;
                (12, u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize)
            }
            _ => return Err(format!("version {version} of .npy is not known; 1 to 3 are")),
        };
        if length > LONGEST_HEADER {
            return Err(format!("a header of {length} bytes; an array takes at most {LONGEST_HEADER}"));
        }
        let text = bytes.get(from..from + length).ok_or_else(short)?;
        let text = std::str::from_utf8(text).map_err(|_| "its header is no text")?;
        Ok((Dict { rest: text }.header()?, from + length))
    }

    /// True if the elements are as in memory.
    fn plain(&self) -> bool {
        let rows = !self.columns_first || self.dims.len() < 2;
        rows && (self.dtype.size() == 1 || self.big_endian == cfg!(target_endian = "big"))
    }

    /// Bytes of the elements, if they can be counted.
    pub fn byte_length(&self) -> Option<usize> {
        self.dims.iter().try_fold(self.dtype.size(), |n, &d| n.checked_mul(d)).filter(|&n| n <= isize::MAX as usize)
    }

    /// An error if the elements take another number of bytes.
    pub fn check(&self, bytes: usize) -> Result<(), String> {
        if self.byte_length() == Some(bytes) {
            return Ok(());
        }
        let needed = self.byte_length().map_or("more bytes than can be counted".into(), |n| format!("{n} bytes"));
        let ty = ir::Type::new(self.dtype, self.dims.as_slice());
        Err(format!("{ty} takes {needed}, there are {bytes}"))
    }

    /// The array with those elements.
    pub fn array(&self, bytes: &[u8]) -> Result<Array, String> {
        self.check(bytes.len())?;
        let make = |bytes: &[u8]| {
            Array::from_bytes(self.dtype, &self.dims, bytes, self.big_endian && self.dtype.size() > 1)
                .map_err(|e| e.to_string())
        };
        match self.columns_first && self.dims.len() > 1 && !bytes.is_empty() {
            true => make(&rows_first(bytes, &self.dims, self.dtype.size())),
            false => make(bytes),
        }
    }
}

/// Puts elements in row-major order.
fn rows_first(bytes: &[u8], dims: &[usize], size: usize) -> Vec<u8> {
    // How far apart neighbours along each axis are, and how far the whole axis goes.
    let mut strides = Vec::with_capacity(dims.len());
    let mut stride = size;
    for &d in dims {
        strides.push(stride);
        stride *= d;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let (mut index, mut at) = (vec![0; dims.len()], 0);
    while out.len() < bytes.len() {
        out.extend_from_slice(&bytes[at..at + size]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            at -= strides[axis] * dims[axis];
            index[axis] = 0;
        }
    }
    out
}

/// A header for an array of the host, as NumPy writes it: data begin at a multiple of 64.
pub(super) fn header(array: &Array) -> Vec<u8> {
    let kind = match array.dtype() {
        DType::Bool => "|b",
        DType::I8 => "|i",
        DType::U8 => "|u",
        DType::BF16 => "<V",
        dtype if dtype.is_float() => "<f",
        dtype if dtype.is_signed() => "<i",
        _ => "<u",
    };
    let dims: Vec<String> = array.dims().iter().map(|d| d.to_string()).collect();
    let comma = if dims.len() == 1 { "," } else { "" };
    let size = array.dtype().size();
    let mut text =
        format!("{{'descr': '{kind}{size}', 'fortran_order': False, 'shape': ({}{comma}), }}", dims.join(", "));
    let length = (text.len() + 11).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', length - 1 - text.len()));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes
}

/// Reads the dictionary of a header, a literal of Python's.
struct Dict<'a> {
    rest: &'a str,
}

impl<'a> Dict<'a> {
    fn header(mut self) -> Result<Header, String> {
        let (mut descr, mut order, mut dims) = (None, None, None);
        self.expect("{")?;
        while !self.eat("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" => descr = Some(self.descr()?),
                "fortran_order" if self.eat("True") => order = Some(true),
                "fortran_order" if self.eat("False") => order = Some(false),
                "shape" => dims = Some(self.tuple()?),
                _ => return Err(format!("its header has an unknown `{key}`")),
            }
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        if !self.rest.trim().is_empty() {
            return Err("its header goes on after its end".into());
        }
        let missing = |what: &str| format!("its header has no `{what}`");
        let (dtype, big_endian) = descr.ok_or_else(|| missing("descr"))?;
        let columns_first = order.ok_or_else(|| missing("fortran_order"))?;
        Ok(Header { dtype, dims: dims.ok_or_else(|| missing("shape"))?, big_endian, columns_first })
    }

    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(format!("its header lacks a `{token}`")) }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.eat("'") { '\'' } else { self.expect("\"").map(|()| '"')? };
        let (text, rest) = self.rest.split_once(quote).ok_or("its header has a text without an end")?;
        self.rest = rest;
        Ok(text)
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect("(")?;
        let mut dims = Vec::new();
        while !self.eat(")") {
            let length = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (number, rest) = self.rest.split_at(length);
            dims.push(number.parse().map_err(|_| "its shape is no tuple of numbers")?);
            // Python 2 wrote long integers so.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if dims.len() > MOST_AXES {
                return Err(format!("it has more than {MOST_AXES} axes"));
            }
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(dims)
    }

    /// The dtype, and whether elements have their most significant byte first.
    fn descr(&mut self) -> Result<(DType, bool), String> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with(['[', '(']) {
            return Err("its elements are structs".into());
        }
        let text = self.string()?;
        let (order, kind) = match text.strip_prefix(['<', '>', '|', '=']) {
            Some(kind) => (text.as_bytes()[0], kind),
            None => (b'=', text),
        };
        let dtype = match kind {
            "f8" => DType::F64,
            "f4" => DType::F32,
            "f2" => DType::F16,
            "V2" => DType::BF16,
            "i8" => DType::I64,
            "i4" => DType::I32,
            "i2" => DType::I16,
            "i1" => DType::I8,
            "u8" => DType::U64,
            "u4" => DType::U32,
            "u2" => DType::U16,
            "u1" => DType::U8,
            "b1" => DType::Bool,
            "O" | "O8" | "O4" => return Err("its elements are Python objects (a pickle), which are not read".into()),
            _ => return Err(format!("its elements are of NumPy's type `{text}`, which is no dtype here")),
        };
        Ok((dtype, order == b'>' || (order == b'=' && cfg!(target_endian = "big"))))
    }
}
