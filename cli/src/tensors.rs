//! Named tensors in files.

use crate::terminal::said;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracewright::io::{npz, safetensors};
use tracewright::{Tensor, Tree};

#[derive(Clone, Copy)]
enum Format {
    SafeTensors,
    /// Shards of safetensors, which are read and not written.
    Index,
    Npz,
}

/// The format of a file, by its ending.
fn format(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    match () {
        _ if name.ends_with(".safetensors.index.json") => Some(Format::Index),
        _ if name.ends_with(".safetensors") => Some(Format::SafeTensors),
        _ if name.ends_with(".npz") => Some(Format::Npz),
        _ => None,
    }
}

/// A file that tensors can be read from.
pub fn readable(path: PathBuf) -> Result<PathBuf, String> {
    let legal = "tensors are read from .safetensors, .safetensors.index.json and .npz files";
    if format(&path).is_some() { Ok(path) } else { Err(legal.into()) }
}

/// A file that tensors can be written to.
pub fn writable(path: PathBuf) -> Result<PathBuf, String> {
    match format(&path) {
        Some(Format::SafeTensors | Format::Npz) => Ok(path),
        _ => Err("tensors are written to .safetensors and .npz files".into()),
    }
}

/// Reads named tensors.
pub fn load(path: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    match format(path) {
        Some(Format::Npz) => npz::load(path),
        _ => safetensors::load(path),
    }
    .map_err(said)
}

/// Writes named tensors.
pub fn save<T: Tree>(path: &Path, tensors: &T) -> Result<(), String> {
    match format(path) {
        Some(Format::Npz) => npz::save(path, tensors),
        _ => safetensors::save(path, tensors),
    }
    .map_err(said)
}
