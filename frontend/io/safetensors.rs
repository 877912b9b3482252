//! [safetensors](https://huggingface.co/docs/safetensors): named tensors in one file or in several shards.
//!
//! Files are mapped: a tensor is a view of its file, read when it is first used, as far as its elements are aligned there.
//! Replace such a file by renaming another over it, as [`save`] does: who makes it shorter ends the processes that use it.

use super::file::{self, elements, little_endian, refused};
use super::fit::{Fit, Fitted, places};
use crate::device::made_here;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tree::{Named, Tree};
use ::safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use ::serde::{Deserialize, Serialize};
use ir::{DType, Type};
use runtime::Array;
use runtime::buffer::Map;
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Reads all tensors of a file, of the shards that an index (`….safetensors.index.json`) names, or of a folder that has
/// `model.safetensors` or its index.
///
/// ```
/// use tracewright::{Tensor, io::safetensors};
/// let path = std::env::temp_dir().join("tracewright-doc-load.safetensors");
/// safetensors::save(&path, &[Tensor::from([1.0f32, 2.0])])?;
/// assert_eq!(safetensors::load(&path)?["0"].to_vec::<f32>()?, [1.0, 2.0]);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn load(path: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>> {
    Checkpoint::open(path)?.tensors()
}

/// Reads tensors into a tree by their paths; see [`Fit`] for other than strict.
///
/// ```
/// use tracewright::{io::safetensors, nn, Generator};
/// let path = std::env::temp_dir().join("tracewright-doc-load-into.safetensors");
/// safetensors::save(&path, &nn::Linear::new(4, 2, &Generator::new(0)))?;
/// let mut layer = nn::Linear::new(4, 2, &Generator::new(1));
/// safetensors::load_into(&mut layer, &path)?;
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn load_into<T: Tree>(tree: &mut T, path: impl AsRef<Path>) -> Result<()> {
    Checkpoint::open(path)?.load_into(tree, Fit::new()).map(drop)
}

/// Writes the leaves and cells of a tree, such as a model or a map of tensors, under their paths; a tensor alone is called `tensor`.
pub fn save<T: Tree>(path: impl AsRef<Path>, tree: &T) -> Result<()> {
    Save::new().write(path, tree)
}

/// Tensors of a file, or of the shards of an index, that are read one by one.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    map: Arc<Map>,
    info: TensorInfo,
    /// Where the data of the file begin.
    data: usize,
}

/// The index of shards.
#[derive(Serialize, Deserialize)]
struct Index {
    #[serde(default)]
    metadata: BTreeMap<String, serde_json::Value>,
    weight_map: BTreeMap<String, String>,
}

const INDEX: &str = ".safetensors.index.json";

impl Checkpoint {
    /// Opens it, as [`load`] does, and reads no elements.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Checkpoint::read(path.as_ref()).map_err(Error::observed)
    }

    fn read(path: &Path) -> Result<Checkpoint> {
        let inside = |name: &str| Some(path.join(name)).filter(|p| p.is_file());
        let path = match path.is_dir() {
            false => path.to_path_buf(),
            true => match inside("model.safetensors").or_else(|| inside("model.safetensors.index.json")) {
                Some(path) => path,
                None => {
                    let legal = "model.safetensors or model.safetensors.index.json in it";
                    return Err(refused("safetensors::open", path, "the folder has no safetensors", legal));
                }
            },
        };
        let mut checkpoint = Checkpoint { path: path.clone(), entries: BTreeMap::new(), metadata: BTreeMap::new() };
        if path.extension().is_some_and(|e| e == "json") {
            checkpoint.read_index(&path)?;
        } else {
            checkpoint.read_shard(&path, &|_| true)?;
        }
        Ok(checkpoint)
    }

    fn read_index(&mut self, path: &Path) -> Result<()> {
        let bad = |rule: String| refused("safetensors::open", path, rule, "an index of safetensors");
        // A copy: text that another process changes meanwhile may be none any more.
        let text = file::open("safetensors::open", path)?.bytes().to_vec();
        let index: Index = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, shard) in &index.weight_map {
            shards.entry(shard).or_default().push(name);
        }
        for (shard, names) in shards {
            let mut parts = Path::new(shard).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                let legal = "files beside the index";
                return Err(refused("safetensors::open", path, format!("it names the file `{shard}`"), legal));
            }
            self.read_shard(&path.with_file_name(shard), &|name| names.binary_search(&name).is_ok())?;
            let missing: Vec<&str> = names.into_iter().filter(|name| !self.entries.contains_key(*name)).collect();
            if !missing.is_empty() {
                return Err(bad(format!("`{shard}` does not have {}", missing.join(", "))));
            }
        }
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(s) => s,
            other => other.to_string(),
        };
        self.metadata.extend(index.metadata.into_iter().map(|(key, value)| (key, text(value))));
        Ok(())
    }

    fn read_shard(&mut self, path: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let map = file::open("safetensors::open", path)?;
        let legal = "a whole file of safetensors";
        let (header, metadata): (usize, Metadata) = SafeTensors::read_metadata(map.bytes())
            .map_err(|e| refused("safetensors::open", path, format!("no safetensors: {e}"), legal))?;
        for (name, info) in metadata.tensors() {
            if wanted(&name) {
                self.entries.insert(name, Entry { map: map.clone(), info: info.clone(), data: header + 8 });
            }
        }
        self.metadata.extend(metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        Ok(())
    }

    /// Names of the tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What the file, or its index, says besides.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The type of a tensor; an error if there is none of that name, or if its elements have no dtype here.
    pub fn ty(&self, name: &str) -> Result<Type> {
        self.entry(name).map(|(dtype, e)| Type::new(dtype, e.info.shape.as_slice())).map_err(Error::observed)
    }

    fn entry(&self, name: &str) -> Result<(DType, &Entry)> {
        let Some(entry) = self.entries.get(name) else {
            return Err(refused("safetensors::tensor", &self.path, format!("there is no tensor `{name}`"), ""));
        };
        match dtype(entry.info.dtype) {
            Some(dtype) => Ok((dtype, entry)),
            None => {
                let rule = format!("tensor `{name}` has elements of type {:?}", entry.info.dtype);
                Err(refused("safetensors::tensor", &self.path, rule, &legal_dtypes()))
            }
        }
    }

    /// A tensor, on the device on which tensors are made.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        self.tensor_of(name).map_err(Error::observed)
    }

    fn tensor_of(&self, name: &str) -> Result<Tensor> {
        let (dtype, entry) = self.entry(name)?;
        let array = Array::of_file(&entry.map, dtype, &entry.info.shape, entry.data + entry.info.data_offsets.0);
        let array = array.map_err(|e| Error::exec(e).note(format!("tensor `{name}` of {}", self.path.display())))?;
        made_here(array).map(Tensor::array)
    }

    /// All tensors.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.entries.keys().map(|name| Ok((name.clone(), self.tensor(name)?))).collect()
    }

    /// Puts them into a tree.
    pub fn load_into<T: Tree>(&self, tree: &mut T, fit: Fit) -> Result<Fitted> {
        let what = format!("tensors of {}", self.path.display());
        fit.named("safetensors::load_into", &what, tree, &self.tensors()?).map_err(Error::observed)
    }
}

/// How tensors are written.
///
/// ```
/// use tracewright::{io::safetensors::{self, Save}, DType, Tensor};
/// let folder = tempfile::tempdir().unwrap();
/// let model = [Tensor::ones([256], DType::F32), Tensor::ones([256], DType::F32)];
/// Save::new().metadata("format", "pt").shards(1024).write(folder.path().join("model.safetensors"), &model)?;
/// assert!(folder.path().join("model-00001-of-00002.safetensors").exists());
/// assert_eq!(safetensors::load(folder.path())?.len(), 2);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Save {
    metadata: BTreeMap<String, String>,
    shards: Option<u64>,
}

impl Save {
    /// One file, without metadata.
    pub fn new() -> Save {
        Save::default()
    }

    /// Adds an entry of metadata; Python's transformers wants `format` to be `pt`.
    pub fn metadata(mut self, key: &str, value: &str) -> Save {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Writes several files and an index where one would hold more than so many bytes of tensors: `model.safetensors` then
    /// becomes `model-00001-of-00003.safetensors` and so on, and `model.safetensors.index.json`.
    pub fn shards(mut self, bytes: u64) -> Save {
        self.shards = Some(bytes);
        self
    }

    /// Writes the leaves and cells of a tree. Each file takes the place of one of that name only once it is whole.
    pub fn write<T: Tree>(&self, path: impl AsRef<Path>, tree: &T) -> Result<()> {
        self.write_named(path.as_ref(), &places(tree)).map_err(Error::observed)
    }

    fn write_named(&self, path: &Path, tensors: &[(String, Named)]) -> Result<()> {
        let mut arrays = Vec::new();
        for (name, tensor) in tensors {
            check_name("safetensors::save", path, name)?;
            arrays.push((name.clone(), elements("safetensors::save", &tensor.tensor())?));
        }
        let total: u64 = arrays.iter().map(|(_, a)| a.byte_len() as u64).sum();
        let Some(most) = self.shards.filter(|&most| total > most) else {
            return self.write_file(path, &arrays);
        };
        let mut shards: Vec<Vec<(String, Array)>> = vec![Vec::new()];
        let mut size = 0;
        for (name, array) in arrays {
            let bytes = array.byte_len() as u64;
            if size + bytes > most && shards.last().is_some_and(|s| !s.is_empty()) {
                shards.push(Vec::new());
                size = 0;
            }
            size += bytes;
            shards.last_mut().expect("there is one").push((name, array));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut index = Index { metadata: BTreeMap::new(), weight_map: BTreeMap::new() };
        index.metadata.insert("total_size".into(), total.into());
        for (i, shard) in shards.iter().enumerate() {
            let name = format!("{stem}-{:05}-of-{:05}.safetensors", i + 1, shards.len());
            self.write_file(&path.with_file_name(&name), shard)?;
            index.weight_map.extend(shard.iter().map(|(tensor, _)| (tensor.clone(), name.clone())));
        }
        file::write("safetensors::save", &path.with_file_name(format!("{stem}{INDEX}")), |out| {
            serde_json::to_writer_pretty(out, &index).map_err(Into::into)
        })
    }

    fn write_file(&self, path: &Path, arrays: &[(String, Array)]) -> Result<()> {
        let header = header("safetensors::save", path, arrays, &self.metadata, 8)?;
        file::write("safetensors::save", path, |out| {
            out.write_all(&header)?;
            sorted(arrays).into_iter().try_for_each(|(_, array)| out.write_all(&little_endian(array)))
        })
    }
}

/// An error for the one name that a file has for something else.
fn check_name(op: &'static str, path: &Path, name: &str) -> Result<()> {
    match name {
        "__metadata__" => Err(refused(op, path, "no tensor can be called `__metadata__`", "")),
        _ => Ok(()),
    }
}

/// The order of the tensors in a file: the larger elements first, so that all are aligned, then by name.
pub(super) fn sorted(arrays: &[(String, Array)]) -> Vec<&(String, Array)> {
    let mut sorted: Vec<_> = arrays.iter().collect();
    sorted.sort_by_key(|(name, array)| (std::cmp::Reverse(array.dtype().size()), name.clone()));
    sorted
}

/// What a file begins with; as long as a multiple of `align` says.
pub(super) fn header(
    op: &'static str,
    path: &Path,
    arrays: &[(String, Array)],
    metadata: &BTreeMap<String, String>,
    align: usize,
) -> Result<Vec<u8>> {
    let mut at = 0;
    let mut infos = Vec::new();
    for (name, array) in sorted(arrays) {
        check_name(op, path, name)?;
        let data_offsets = (at, at + array.byte_len());
        at = data_offsets.1;
        infos.push((
            name.clone(),
            TensorInfo { dtype: foreign(array.dtype()), shape: array.dims().to_vec(), data_offsets },
        ));
    }
    let metadata = (!metadata.is_empty()).then(|| metadata.clone().into_iter().collect::<HashMap<_, _>>());
    let bad = |e: &dyn std::fmt::Display| refused(op, path, e, "");
    let metadata = Metadata::new(metadata, infos).map_err(|e| bad(&e))?;
    let mut text = serde_json::to_vec(&metadata).map_err(|e| bad(&e))?;
    text.resize((text.len() + 8).next_multiple_of(align) - 8, b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    Ok(bytes)
}

macro_rules! dtypes {
    ($($ours:ident = $theirs:ident,)*) => {
        /// The dtype here.
        pub(super) fn dtype(theirs: Dtype) -> Option<DType> {
            match theirs {
                $(Dtype::$theirs => Some(DType::$ours),)*
                _ => None,
            }
        }

        fn foreign(ours: DType) -> Dtype {
            match ours {
                $(DType::$ours => Dtype::$theirs,)*
            }
        }
    };
}
dtypes! {
    F64 = F64,
    F32 = F32,
    F16 = F16,
    BF16 = BF16,
    I64 = I64,
    I32 = I32,
    I16 = I16,
    I8 = I8,
    U64 = U64,
    U32 = U32,
    U16 = U16,
    U8 = U8,
    Bool = BOOL,
}

fn legal_dtypes() -> String {
    let names: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
    format!("one of {}", names.join(", "))
}
