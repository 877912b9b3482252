//! Machine code on disk, shared by all processes of a user.
//!
//! What is loaded into a GPU must be what this user has compiled: a folder or file that somebody else owns, or may write, is not
//! used. A file is written under another name and then renamed, so readers find all of it or nothing; its checksum tells
//! what a crash has cut. Whatever is wrong with a file, it is removed and its kernel compiled again.

use super::{Key, lock};
use crate::events::{self, Event};
use codegen::cuda::nvrtc::Cubin;
use sha2::{Digest, Sha256};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

const MAGIC: &[u8; 8] = b"twcubin\x01";
/// Magic, checksum of the rest, key, length of the log, length of the code.
const HEADER: usize = 8 + 32 + 32 + 8 + 8;
/// What unfinished files begin with.
const UNFINISHED: &str = ".new-";
/// An unfinished file of that age has nobody who finishes it.
const ABANDONED: Duration = Duration::from_secs(3600);

/// An opened folder.
pub(super) struct Folder {
    path: PathBuf,
    /// Bytes that it may hold.
    limit: u64,
    user: u32,
    /// Bytes written since the folder was last looked through; `None` if it never was.
    written: Mutex<Option<u64>>,
    /// Set when writing has failed: it is not tried again.
    closed: AtomicBool,
}

impl Folder {
    /// Makes the folder if there is none. The error says why it is not used.
    pub(super) fn open(path: PathBuf, limit: u64) -> Result<Folder, String> {
        // SAFETY: it has no arguments and always succeeds.
        let user = unsafe { libc::geteuid() };
        Folder::of_user(path, limit, user)
    }

    pub(super) fn of_user(path: PathBuf, limit: u64, user: u32) -> Result<Folder, String> {
        let reason = |what: &dyn std::fmt::Display| format!("folder {}: {what}", path.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|e| reason(&e))?;
        let metadata = fs::metadata(&path).map_err(|e| reason(&e))?;
        if !metadata.is_dir() {
            return Err(reason(&"not a folder"));
        }
        trusted(&metadata, user).map_err(|e| reason(&e))?;
        Ok(Folder { path, limit, user, written: Mutex::new(None), closed: AtomicBool::new(false) })
    }

    fn file(&self, key: &Key) -> PathBuf {
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.path.join(name + ".cubin")
    }

    /// The machine code of a key, if it is there.
    pub(super) fn read(&self, key: &Key) -> Option<Cubin> {
        let path = self.file(key);
        match self.read_file(&path, key) {
            Ok(cubin) => Some(cubin),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                events::record(Event::CacheRefused, format_args!("{}: {error}; it is compiled again", path.display()));
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    fn read_file(&self, path: &Path, key: &Key) -> io::Result<Cubin> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let broken = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_string());
        if !metadata.is_file() {
            return Err(broken("not a file"));
        }
        trusted(&metadata, self.user).map_err(|e| broken(&e))?;
        if metadata.len() > self.limit {
            return Err(broken("too long"));
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        Read::by_ref(&mut file).take(metadata.len()).read_to_end(&mut bytes)?;
        let cubin = decode(&bytes, key).map_err(broken)?;
        // The least recently used go first.
        let _ = file.set_modified(SystemTime::now());
        Ok(cubin)
    }

    /// Keeps machine code. That it cannot be kept is an event, once.
    pub(super) fn write(&self, key: &Key, cubin: &Cubin) {
        let bytes = encode(key, cubin);
        if self.closed.load(Relaxed) || bytes.len() as u64 > self.limit / 8 {
            return;
        }
        if let Err(error) = self.write_file(key, &bytes)
            && !self.closed.swap(true, Relaxed)
        {
            let path = self.path.display();
            events::record(Event::CacheRefused, format_args!("folder {path}: {error}; nothing more is written to it"));
        }
        self.shrink(bytes.len() as u64);
    }

    fn write_file(&self, key: &Key, bytes: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{UNFINISHED}{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let unfinished = self.path.join(name);
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished) {
            // An earlier process of that number has left it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&unfinished)?;
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?
            }
            file => file?,
        };
        let done = file.write_all(bytes).and_then(|()| fs::rename(&unfinished, self.file(key)));
        if done.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        done
    }

    /// Removes the files that were not used for the longest time when there are too many bytes. Other processes write too, so
    /// the folder is looked through each time that a part of the limit has been written.
    fn shrink(&self, more: u64) {
        let mut written = lock(&self.written);
        let sum = written.map_or(self.limit, |sum| sum + more);
        if sum < self.limit / 16 {
            *written = Some(sum);
            return;
        }
        *written = Some(0);
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let (mut files, mut total) = (Vec::new(), 0);
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(metadata) = entry.metadata() else { continue };
            let time = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if name.starts_with(UNFINISHED) {
                if time.elapsed().is_ok_and(|age| age > ABANDONED) {
                    let _ = fs::remove_file(entry.path());
                }
            } else if name.ends_with(".cubin") {
                total += metadata.len();
                files.push((time, entry.path(), metadata.len()));
            }
        }
        if total <= self.limit - self.limit / 16 {
            return;
        }
        files.sort_unstable();
        let (mut gone, mut left) = (0, total);
        for (_, path, len) in files {
            if left <= self.limit / 4 * 3 {
                break;
            }
            if fs::remove_file(path).is_ok() {
                gone += 1;
                left -= len;
            }
        }
        let (path, limit) = (self.path.display(), self.limit >> 20);
        events::record(Event::Eviction, format_args!("machine code of {gone} kernels: {path} keeps {limit} MiB"));
    }
}

/// The error says who else could have written it.
fn trusted(metadata: &Metadata, user: u32) -> Result<(), String> {
    if metadata.uid() != user {
        return Err(format!("owned by user {}, not by user {user}", metadata.uid()));
    }
    match metadata.mode() & 0o7777 {
        mode if mode & 0o022 == 0 => Ok(()),
        mode => Err(format!("others may write it (mode {mode:o})")),
    }
}

fn encode(key: &Key, cubin: &Cubin) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + cubin.log.len() + cubin.bytes.len());
    bytes.extend(MAGIC);
    bytes.extend([0; 32]);
    bytes.extend(key);
    bytes.extend((cubin.log.len() as u64).to_le_bytes());
    bytes.extend((cubin.bytes.len() as u64).to_le_bytes());
    bytes.extend(cubin.log.as_bytes());
    bytes.extend(&cubin.bytes);
    let sum = Sha256::digest(&bytes[40..]);
    bytes[8..40].copy_from_slice(&sum);
    bytes
}

/// What is in a file; the error says what is wrong with it.
fn decode(bytes: &[u8], key: &Key) -> Result<Cubin, &'static str> {
    if bytes.len() < HEADER {
        return Err("cut short");
    }
    let (header, rest) = bytes.split_at(HEADER);
    if &header[..8] != MAGIC {
        return Err("of another format");
    }
    let len = |at: usize| header[at..at + 8].iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    let (log, code) = (len(72), len(80));
    if log.checked_add(code) != Some(rest.len() as u64) {
        return Err("not as long as it says");
    }
    if header[8..40] != Sha256::digest(&bytes[40..])[..] {
        return Err("the checksum is another");
    }
    if header[40..72] != key[..] {
        return Err("of another kernel");
    }
    let (log, code) = rest.split_at(log as usize);
    let log = String::from_utf8(log.to_vec()).map_err(|_| "a log that is no text")?;
    Ok(Cubin { bytes: code.to_vec(), log })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::Scratch;
