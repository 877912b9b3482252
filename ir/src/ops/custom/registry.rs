//! Which user's op a name stands for, in this process.

use super::{Custom, Implementation};
use crate::ops::{Attr, AttrReader};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes an implementation of its attributes.
pub type Read = fn(&mut AttrReader) -> Result<Arc<dyn Implementation>, String>;

#[derive(Clone, Copy)]
struct Entry {
    /// The Rust type that implements the op, with its name.
    identity: (TypeId, &'static str),
    read: Read,
}

static REGISTRY: Mutex<BTreeMap<(&'static str, u32), Entry>> = Mutex::new(BTreeMap::new());

/// A user's op by its name and version, with how to make one of its attributes. Once for each op; again does nothing.
pub fn register(name: &'static str, version: u32, identity: (TypeId, &'static str), read: Read) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!(
            "`{name}` is no name of a custom op: words of letters, digits and `_` with dots between them, at least one dot"
        ));
    }
    let mut all = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = *all.entry((name, version)).or_insert(Entry { identity, read });
    match entry.identity.0 == identity.0 {
        true => Ok(()),
        false => Err(format!(
            "`{name}` version {version} is {} already, and cannot be {} as well",
            entry.identity.1, identity.1
        )),
    }
}

/// True for words with dots between them: primitives have names without dots.
pub fn is_name(name: &str) -> bool {
    let word = |w: &str| {
        w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.contains('.') && name.split('.').all(word)
}

/// Why there is no op of that name and version, if there is none.
pub fn missing(name: &str, version: u32) -> Option<String> {
    let all = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    if all.keys().any(|&(n, v)| n == name && v == version) {
        return None;
    }
    let versions: Vec<String> = all.keys().filter(|(n, _)| *n == name).map(|(_, v)| v.to_string()).collect();
    Some(match versions.as_slice() {
        [] => format!("`{name}` version {version}"),
        known => format!("`{name}` version {version} (known is version {})", known.join(", ")),
    })
}

/// Reads an op from its name and attributes, the version among them.
pub(crate) fn read(name: &str, attributes: &mut AttrReader) -> Result<Custom, String> {
    let version: u32 = attributes.take(super::VERSION)?;
    let entry = {
        let all = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|((n, v), _)| *n == name && *v == version).map(|(_, e)| *e)
    };
    let Some(entry) = entry else {
        return Err(format!(
            "custom ops are missing: {}; register them before the graph is read",
            missing(name, version).unwrap_or_default()
        ));
    };
    let made =
        super::guarded("reading its attributes", || (entry.read)(attributes)).map_err(|e| format!("`{name}`: {e}"))?;
    Custom::new(made)
}

/// Reads an op from attributes by name; all must be used.
pub(super) fn from_attributes(name: &str, version: u32, attributes: Vec<(String, Attr)>) -> Result<Custom, String> {
    let mut reader = AttrReader(attributes);
    reader.0.push((super::VERSION.into(), Attr::Int(version.into())));
    let op = read(name, &mut reader)?;
    match reader.0.first() {
        None => Ok(op),
        Some((unknown, _)) => Err(format!("`{name}` has no attribute `{unknown}`")),
    }
}
