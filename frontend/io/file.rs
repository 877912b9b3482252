//! Opening files, writing them so that nobody sees half of one, and saying what is wrong with them.

use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use runtime::buffer::Map;
use runtime::{Array, Device};
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Cursor, Seek, Write};
use std::path::Path;
use std::sync::Arc;

/// The most that is read of what cannot be mapped, such as a pipe.
const MOST: usize = 1 << 32;

/// That a function cannot do something with a file.
pub(crate) fn refused(op: &'static str, path: &Path, rule: impl std::fmt::Display, legal: &str) -> Error {
    Error::new(Code::File, op, format!("{}: {rule}", path.display()), legal)
}

/// Maps a file.
pub(crate) fn open(op: &'static str, path: &Path) -> Result<Arc<Map>> {
    Map::open(path, MOST).map_err(|e| refused(op, path, e, ""))
}

/// What a file is written to.
pub(crate) trait Sink: Write + Seek {}
impl<T: Write + Seek> Sink for T {}

/// Writes a file beside the one of that name, which it then replaces: who has that one mapped keeps it.
pub(crate) fn write(
    op: &'static str,
    path: &Path,
    contents: impl FnOnce(&mut dyn Sink) -> std::io::Result<()>,
) -> Result<()> {
    let attempt = || {
        // Pipes and terminals cannot be replaced.
        if path.metadata().is_ok_and(|about| !about.is_file() && !about.is_dir()) {
            let mut bytes = Cursor::new(Vec::new());
            contents(&mut bytes)?;
            return File::create(path)?.write_all(bytes.get_ref());
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = temporary(folder)?;
        let mut writer = BufWriter::new(file.as_file_mut());
        contents(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    attempt().map_err(|e: std::io::Error| refused(op, path, e, ""))
}

/// A file with the permissions that new files have.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// The elements of a tensor, on the host.
pub(crate) fn elements(op: &'static str, tensor: &Tensor) -> Result<Array> {
    tensor.read(op)?.to_device(Device::Cpu).map_err(Error::exec)
}

/// The bytes of an array of the host, the least significant one of each element first.
pub(crate) fn little_endian(array: &Array) -> Cow<'_, [u8]> {
    let bytes = array.buffer().map_or(&[][..], |b| b.bytes());
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(array.dtype().size()).for_each(<[u8]>::reverse);
    Cow::Owned(bytes)
}
