//! NumPy's `.npz`: a zip of named arrays, each as in [`npy`], stored or compressed.

use super::file::{self, elements, little_endian, refused};
use super::fit::{Fit, Fitted, places};
use super::npy::{self, Header, LEGAL};
use crate::device::made_here;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tree::Tree;
use runtime::Array;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::read::ZipFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Reads all arrays, by name.
///
/// ```
/// use tracewright::{Tensor, io::npz};
/// let path = std::env::temp_dir().join("tracewright-doc.npz");
/// npz::save(&path, &(Tensor::from([1i64, 2]), Tensor::from(0.5f64)))?;
/// assert_eq!(npz::load(&path)?["1"].item::<f64>()?, 0.5);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn load(path: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>> {
    read(path.as_ref()).map_err(Error::observed)
}

/// Reads arrays into a tree by their paths, as [`Fit`] says.
pub fn load_into<T: Tree>(tree: &mut T, path: impl AsRef<Path>, fit: Fit) -> Result<Fitted> {
    let what = format!("arrays of {}", path.as_ref().display());
    fit.named("npz::load_into", &what, tree, &load(path)?).map_err(Error::observed)
}

/// Writes the leaves and cells of a tree, such as a model or a map of tensors, under their paths; not compressed.
pub fn save<T: Tree>(path: impl AsRef<Path>, tree: &T) -> Result<()> {
    write(path.as_ref(), tree, CompressionMethod::Stored).map_err(Error::observed)
}

/// As [`save`], compressed: smaller, and many times slower.
pub fn save_compressed<T: Tree>(path: impl AsRef<Path>, tree: &T) -> Result<()> {
    write(path.as_ref(), tree, CompressionMethod::Deflated).map_err(Error::observed)
}

/// Deflate makes nothing smaller than by this factor.
const MOST_EXPANSION: u64 = 1032;

fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bad = |rule: String| refused("npz::load", path, rule, LEGAL);
    let map = file::open("npz::load", path)?;
    let mut archive = ZipArchive::new(Cursor::new(map.bytes())).map_err(|e| bad(format!("it is no .npz: {e}")))?;
    let mut tensors = BTreeMap::new();
    let mut packed = 0u64;
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|e| bad(e.to_string()))?;
        if entry.is_dir() {
            continue;
        }
        // Several may claim the same bytes of the file, and so become more than it can hold.
        packed = packed.saturating_add(entry.compressed_size());
        if packed > map.bytes().len() as u64 {
            return Err(bad("its entries overlap".into()));
        }
        let name = entry.name().map_err(|e| bad(e.to_string()))?.into_owned();
        let array = array(&mut entry).map_err(|rule| bad(format!("`{name}`: {rule}")))?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_string();
        tensors.insert(name, Tensor::array(made_here(array)?));
    }
    Ok(tensors)
}

fn array<R: Read>(entry: &mut ZipFile<'_, R>) -> Result<Array, String> {
    let (size, packed) = (entry.size(), entry.compressed_size());
    if size > packed.saturating_mul(MOST_EXPANSION) {
        return Err(format!("{packed} bytes cannot become {size}"));
    }
    let size = usize::try_from(size).map_err(|_| "it is larger than the address space")?;
    let mut bytes = Vec::new();
    let mut read = |bytes: &mut Vec<u8>, up_to: usize| {
        let more = up_to.saturating_sub(bytes.len());
        bytes.try_reserve_exact(more).map_err(|_| format!("no memory for {size} bytes"))?;
        entry.take(more as u64).read_to_end(bytes).map_err(|e| e.to_string())
    };
    // The header says how much there is, before memory is taken for it.
    read(&mut bytes, size.min(npy::LONGEST))?;
    let (header, at) = Header::read(&bytes)?;
    header.check(size - at.min(size))?;
    read(&mut bytes, size)?;
    // At its end the sum of an entry is compared.
    if read(&mut bytes, size + 1)? > 0 {
        return Err(format!("it has more than {size} bytes"));
    }
    header.array(&bytes[at..])
}

fn write<T: Tree>(path: &Path, tree: &T, method: CompressionMethod) -> Result<()> {
    let arrays = places(tree).into_iter().map(|(name, place)| Ok((name, elements("npz::save", &place.tensor())?)));
    let arrays: Vec<(String, Array)> = arrays.collect::<Result<_>>()?;
    file::write("npz::save", path, |out| {
        let mut zip = ZipWriter::new(out);
        for (name, array) in &arrays {
            // Beyond 4 GiB, with what stands in front, an entry has another form.
            let large = array.byte_len() > u32::MAX as usize - (1 << 20);
            let options = SimpleFileOptions::default().compression_method(method).large_file(large);
            zip.start_file(format!("{name}.npy"), options)?;
            std::io::Write::write_all(&mut zip, &npy::header(array))?;
            std::io::Write::write_all(&mut zip, &little_endian(array))?;
        }
        zip.finish()?;
        Ok(())
    })
}
