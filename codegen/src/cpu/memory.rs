//! Executable memory.
//!
//! Code is written to an anonymous file, never to a mapping, and the file is then mapped readable and executable. No
//! page is ever writable and executable, nor becomes executable after it was writable, so this also works in a process
//! that denies that.

use std::io;
use std::ptr::NonNull;

/// Machine code in memory; unmapped on drop.
#[derive(Debug)]
pub(super) struct CodeMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is read-only (and executable) for its whole life, and belongs to this value alone.
unsafe impl Send for CodeMemory {}
// SAFETY: as above: nothing writes to it.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Maps a copy of `code`.
    #[cfg(target_os = "linux")]
    pub(super) fn new(code: &[u8]) -> io::Result<CodeMemory> {
        use std::fs::File;
        use std::io::Write;
        use std::os::fd::{AsRawFd, FromRawFd};
        let len = code.len().max(1);
        // SAFETY: the name is a NUL-terminated string; the call has no other requirement.
        let fd = unsafe { libc::memfd_create(c"tracewright-code".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and nothing else owns it.
        let mut file = unsafe { File::from_raw_fd(fd) };
        file.write_all(if code.is_empty() { &[0xc3] } else { code })?;
        // SAFETY: a fresh private mapping at an address of the kernel's choosing replaces nothing.
        let start = unsafe {
            let protection = libc::PROT_READ | libc::PROT_EXEC;
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        Self::mapped(start, len)
    }

    /// Maps a copy of `code`.
    #[cfg(all(unix, not(target_os = "linux")))]
    pub(super) fn new(code: &[u8]) -> io::Result<CodeMemory> {
        let len = code.len().max(1);
        // SAFETY: a fresh private mapping at an address of the kernel's choosing replaces nothing.
        let start = unsafe {
            let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
            libc::mmap(std::ptr::null_mut(), len, protection, kind, -1, 0)
        };
        let memory = Self::mapped(start, len)?;
        // SAFETY: the mapping is `len` bytes long, writable and not yet shared.
        let done = unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), memory.start.as_ptr(), code.len());
            libc::mprotect(start, len, libc::PROT_READ | libc::PROT_EXEC)
        };
        if done == 0 { Ok(memory) } else { Err(io::Error::last_os_error()) }
    }

    /// There is no executable memory on this platform.
    #[cfg(not(unix))]
    pub(super) fn new(_code: &[u8]) -> io::Result<CodeMemory> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    #[cfg(unix)]
    fn mapped(start: *mut libc::c_void, len: usize) -> io::Result<CodeMemory> {
        match NonNull::new(start.cast::<u8>()) {
            Some(address) if start != libc::MAP_FAILED => Ok(CodeMemory { start: address, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The address of the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> *const u8 {
        assert!(offset < self.len, "offset {offset} in {} bytes of code", self.len);
        // SAFETY: the offset is inside the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        #[cfg(unix)]
        // SAFETY: the mapping is ours; kernels keep this value alive for as long as their code can be called.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}
