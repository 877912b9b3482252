//! Builds the libraries and keeps them, by what they were made from; so are the kernels that they compile.
//!
//! A folder of the user holds a folder for each kind of both; `kernels` in the former names one of the latter.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

const GXX: &str = "g++";

/// The first names that cudarc tries.
pub const DRIVER: &str = "libcuda.so";
pub const COMPILER: &str = "libnvrtc.so";
pub const PRODUCTS: &str = "libcublasLt.so";

/// Where compiled kernels are, see nvrtc.cpp; each takes 16 KiB or so. Where there are more, those that were used last stay.
const KERNELS: &str = "kernels";
const MOST_KERNELS: usize = 10_000;
/// Folders of each kind that stay.
const MOST_FOLDERS: usize = 8;

macro_rules! sources {
    ($($name:literal),*) => { [$(($name, include_str!($name))),*] };
}

const SOURCES: [(&str, &str); 17] = sources![
    "block.h",
    "shim.h",
    "threads.h",
    "threads.cpp",
    "cuda.h",
    "controls.h",
    "driver.h",
    "driver.cpp",
    "device.cpp",
    "memory.cpp",
    "stream.cpp",
    "capture.cpp",
    "module.cpp",
    "image.h",
    "nvrtc.cpp",
    "cublaslt.cpp",
    "libraries.rs"
];

/// What kernels depend on.
const OF_KERNELS: [&str; 4] = ["block.h", "shim.h", "image.h", "nvrtc.cpp"];

const LIBRARIES: [(&str, &[&str]); 3] = [
    (DRIVER, &["driver.cpp", "device.cpp", "memory.cpp", "stream.cpp", "capture.cpp", "module.cpp", "threads.cpp"]),
    (COMPILER, &["nvrtc.cpp"]),
    (PRODUCTS, &["cublaslt.cpp"]),
];

/// Where the libraries are; builds them where they are not yet. Processes may come at the same time.
pub fn folder() -> Result<PathBuf, String> {
    let output = Command::new(GXX).arg("--version").output().map_err(|e| format!("{GXX} does not start: {e}"))?;
    let name = |kind: &str, needs: &dyn Fn(&str) -> bool| {
        let mut hasher = DefaultHasher::new();
        SOURCES.iter().filter(|(name, _)| needs(name)).for_each(|source| source.hash(&mut hasher));
        output.stdout.hash(&mut hasher);
        format!("{kind}-{:016x}", hasher.finish())
    };
    // SAFETY: it has no preconditions.
    let user = unsafe { libc::geteuid() };
    let all = std::env::temp_dir().join(format!("tracewright-emulator-{user}"));
    own(&all, user)?;
    let folder = all.join(name("libraries", &|_| true));
    let kernels = all.join(name(KERNELS, &|name| OF_KERNELS.contains(&name)));
    own(&kernels, user)?;
    if !folder.exists() {
        build(&folder, &kernels)?;
    }
    used(&folder);
    used(&kernels);
    keep(&kernels, "", MOST_KERNELS, MOST_KERNELS / 2);
    for kind in ["libraries-", "kernels-"] {
        keep(&all, kind, MOST_FOLDERS, MOST_FOLDERS);
    }
    Ok(folder)
}

/// Makes a folder that nobody else may read or write to.
fn own(folder: &Path, user: u32) -> Result<(), String> {
    let failed = |e: io::Error| format!("{}: {e}", folder.display());
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let metadata = fs::symlink_metadata(folder).map_err(failed)?;
    match metadata.is_dir() && metadata.uid() == user {
        true => Ok(()),
        false => Err(format!("{} is no folder of this user", folder.display())),
    }
}

/// Notes that something is in use. Where that cannot be noted it may go sooner.
fn used(folder: &Path) {
    let _ = fs::File::open(folder).and_then(|f| f.set_modified(SystemTime::now()));
}

/// Where there are more than `most` entries of such names, leaves the `few` that were used last. Other processes may do the
/// same, and whoever misses one makes it anew.
fn keep(folder: &Path, start: &str, most: usize, few: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let entries = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(start));
    let mut entries: Vec<(SystemTime, PathBuf)> =
        entries.filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
    if entries.len() <= most {
        return;
    }
    entries.sort();
    for (_, path) in &entries[..entries.len() - few] {
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

fn build(folder: &Path, kernels: &Path) -> Result<(), String> {
    let own = folder.with_extension(std::process::id().to_string());
    let failed = |e: std::io::Error| format!("{}: {e}", own.display());
    let _ = fs::remove_dir_all(&own);
    fs::DirBuilder::new().mode(0o700).create(&own).map_err(failed)?;
    for (name, text) in SOURCES {
        fs::write(own.join(name), text).map_err(failed)?;
    }
    symlink(kernels, own.join(KERNELS)).map_err(failed)?;
    let mut compilers = Vec::new();
    for (library, sources) in LIBRARIES {
        let flags = ["-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-shared", "-Wl,--no-undefined"];
        let mut command = Command::new(GXX);
        command.current_dir(&own).args(flags).arg(format!("-Wl,-soname,{library}")).args(sources).args(["-o", library]);
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
        compilers.push((library, child.map_err(failed)?));
    }
    for (library, child) in compilers {
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            return Err(format!("{GXX} makes no {library}:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    // Another process may have been faster.
    if fs::rename(&own, folder).is_err() {
        fs::remove_dir_all(&own).map_err(failed)?;
    }
    Ok(())
}
