//! Files as memory.

use super::Buffer;
use super::cache::Header;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

/// The bytes of a file, mapped into memory: pages are read when they are first touched, and shared between processes.
///
/// Who replaces the file by renaming another over it leaves the map as it is. Who writes into the file changes what is
/// seen here, and who makes it shorter ends the process that reads on.
#[derive(Debug)]
pub struct Map {
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(memmap2::Mmap),
    /// Of what cannot be mapped, such as a pipe.
    Read(Vec<u8>),
}

impl Map {
    /// Maps a file; what cannot be mapped is read, up to a number of bytes.
    pub fn open(path: &Path, most: usize) -> Result<Arc<Map>> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(Error::new(ErrorKind::IsADirectory, "it is a directory"));
        }
        let bytes = if about.is_file() && about.len() > 0 {
            // SAFETY: nothing is written through the map. That the file does not change meanwhile is asked of users,
            // as everywhere that files are mapped; sizes are those of the map, not those that the file claims.
            Bytes::Mapped(unsafe { memmap2::Mmap::map(&file)? })
        } else {
            let mut bytes = Vec::new();
            file.take(most as u64 + 1).read_to_end(&mut bytes)?;
            if bytes.len() > most {
                return Err(Error::new(ErrorKind::FileTooLarge, format!("more than {most} bytes")));
            }
            Bytes::Read(bytes)
        };
        Ok(Arc::new(Map { bytes }))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Read(bytes) => bytes,
        }
    }
}

/// A header for a part of a file, which it keeps mapped.
#[repr(C)]
struct Part {
    header: Header,
    _map: Arc<Map>,
}

impl Buffer {
    /// A part of a file, without a copy; `None` if the file is shorter. The memory is never written.
    pub fn of_file(map: &Arc<Map>, range: Range<usize>) -> Option<Buffer> {
        let bytes = map.bytes().get(range)?;
        let header = Header::of_file(NonNull::from(bytes).cast(), bytes.len());
        let part = NonNull::from(Box::leak(Box::new(Part { header, _map: map.clone() })));
        Some(Buffer { block: part.cast() })
    }
}

/// Frees the header of a part of a file, and with the last one the map.
///
/// # Safety
/// `header` was made by [`Buffer::of_file`], and nothing else refers to it any more.
pub(super) unsafe fn close(header: NonNull<Header>) {
    // SAFETY: made there by leaking a box of a `Part`, whose first field is the header.
    drop(unsafe { Box::from_raw(header.cast::<Part>().as_ptr()) });
}
