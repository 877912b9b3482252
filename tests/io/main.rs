//! Files of tensors and graphs.
//!
//! `data/` holds files that others wrote (`data/make.py`). Whatever a file holds, reading it ends with a result or with an
//! error that names the file: each format is read from every prefix of good files and after random changes.

mod custom;
mod exported;
mod hostile;
mod npz;
mod safetensors;

use std::path::PathBuf;
use tracewright::{DType, Device, Tensor};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/io/data").join(name)
}

/// A folder of a test's own.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Every dtype, with numbers that only it has where there are such.
fn every_dtype() -> Vec<(String, Tensor)> {
    let numbers = |dtype: DType| match dtype {
        DType::Bool => Tensor::from([[true, false, true], [false, false, true]]),
        d if d.is_float() => Tensor::from([[0.5f64, -1.5, 2.0], [f64::INFINITY, -0.0, 1e-3]]).to_dtype(d),
        d if d.is_signed() => Tensor::from([[0i64, -1, 2], [100, -128, 127]]).to_dtype(d),
        d => Tensor::from([[0u64, 1, 2], [100, 128, 255]]).to_dtype(d),
    };
    DType::ALL.into_iter().map(|d| (d.name().to_string(), numbers(d))).collect()
}

fn ty(t: &Tensor) -> tracewright::Type {
    t.try_type().unwrap()
}

/// Its elements are those of a file, or not; a GPU has a copy of them anyway.
fn assert_of_file(t: &Tensor, wanted: bool) {
    if let Some(buffer) = t.to_array().unwrap().buffer() {
        assert_eq!(buffer.is_of_file(), wanted);
    }
}

/// Equal types and bits.
fn assert_same(a: &Tensor, b: &Tensor, what: &str) {
    assert_eq!(ty(a), ty(b), "{what}");
    let bytes = |t: &Tensor| t.to_device(Device::Cpu).to_array().unwrap().buffer().unwrap().bytes().to_vec();
    assert_eq!(bytes(a), bytes(b), "{what}");
}

/// What tensors should read as, from files that `data/make.py` wrote.
fn assert_counts(t: &Tensor, dtype: DType, what: &str) {
    assert_eq!(ty(t), tracewright::Type::new(dtype, [2, 3]), "{what}");
    assert_eq!(t.to_dtype(DType::F64).to_vec::<f64>().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{what}");
}

/// The dtype as PyTorch and NumPy call it.
fn foreign_name(dtype: DType) -> String {
    match dtype {
        DType::BF16 => "bfloat16".into(),
        d if d.is_float() => d.name().replace('f', "float"),
        d if d.is_signed() => d.name().replace('i', "int"),
        d if d.is_unsigned() => d.name().replace('u', "uint"),
        d => d.name().into(),
    }
}
