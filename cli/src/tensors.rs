//! Named tensors in files.

use crate::said;
use std::collections::BTreeMap;
use std::path::Path;
use tracewright::io::{npz, safetensors};
use tracewright::{Tensor, Tree};

/// What a file of tensors is, by its name.
#[derive(Clone, Copy, PartialEq)]
pub enum Format {
    SafeTensors,
    Npz,
}

/// The format of a file's ending, if it is that of tensors.
pub fn format(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    match () {
        _ if name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") => Some(Format::SafeTensors),
        _ if name.ends_with(".npz") => Some(Format::Npz),
        _ => None,
    }
}

fn known(path: &Path) -> Result<Format, String> {
    format(path).ok_or_else(|| format!("error: {}: tensors are in .safetensors or .npz files", path.display()))
}

/// Reads named tensors.
pub fn load(path: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let loaded = match known(path)? {
        Format::SafeTensors => safetensors::load(path),
        Format::Npz => npz::load(path),
    };
    loaded.map_err(said)
}

/// Writes named tensors.
pub fn save<T: Tree>(path: &Path, tensors: &T) -> Result<(), String> {
    let saved = match known(path)? {
        Format::SafeTensors => safetensors::save(path, tensors),
        Format::Npz => npz::save(path, tensors),
    };
    saved.map_err(said)
}

/// An error, before anything is computed, if a file has no ending for tensors.
pub fn check_format(path: &Path) -> Result<(), String> {
    known(path).map(drop)
}
