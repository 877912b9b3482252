//! Saved graphs (`.tw`): the file of an exported function. `docs/saved_graphs.md` describes the layout.
//!
//! Reading one trusts nothing in it: every offset, length and number is checked against what there is before it is used,
//! the graph is read by the parser of graphs, which checks every op by its rule, and then verified.

use super::{Exported, Input, Output, Role};
use crate::device::made_here;
use crate::error::{Error, Result};
use crate::io::file::{self, elements, little_endian, refused};
use crate::io::safetensors;
use crate::jit::Source;
use crate::recording::Recording;
use crate::tensor::Tensor;
use ::safetensors::SafeTensors;
use crc32fast::Hasher;
use ir::{Graph, Op, Origin, Region};
use runtime::Array;
use runtime::buffer::Map;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Every file begins with it. The first byte is no text, and the line ends show a transfer that changed them.
const MAGIC: [u8; 8] = *b"\x89TW\r\n\x1a\n\0";
/// The version of the layout that is written, and the last one that is read.
const VERSION: u32 = 1;
/// Bytes before the first section.
const HEADER: usize = 128;
/// Sections begin at multiples of it.
const ALIGN: usize = 64;

const SECTIONS: [&str; 4] = ["manifest", "graph", "origins", "tensors"];
const MANIFEST: usize = 0;
const GRAPH: usize = 1;
const ORIGINS: usize = 2;
const TENSORS: usize = 3;

const LEGAL: &str = "a file that Exported::save wrote";

/// Names and roles, as JSON.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// What wrote the file.
    producer: String,
    inputs: Vec<Entry>,
    outputs: Vec<Named>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    role: Kind,
    /// What a call makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Place>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Argument,
    State,
    Constant,
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
    from: Place,
}

/// An input or output of the graph, by number.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Input(usize),
    Output(usize),
}

impl From<Source> for Place {
    fn from(source: Source) -> Place {
        match source {
            Source::Input(i) => Place::Input(i),
            Source::Output(i) => Place::Output(i),
        }
    }
}

/// The origins of a graph, and which of them each op has, in the order of the text.
#[derive(Serialize, Deserialize)]
struct Origins {
    table: Vec<Origin>,
    ops: Vec<Vec<u32>>,
}

impl Exported {
    /// Writes it, with the values of its state and constants. The file takes the place of one of that name once it is whole.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write(path.as_ref()).map_err(Error::observed)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let bad = |rule: &dyn std::fmt::Display| refused("save", path, rule, "");
        let mut arrays = Vec::new();
        for input in self.inputs.iter().filter(|input| input.role != Role::Argument) {
            let Some(value) = &input.value else {
                return Err(bad(&format!("`{}` has no value", input.name)));
            };
            arrays.push((input.name.clone(), elements("save", value)?));
        }
        let manifest = serde_json::to_vec_pretty(&self.manifest()).map_err(|e| bad(&e))?;
        let mut graph = self.graph.clone();
        graph.compact();
        let origins = postcard::to_allocvec(&origins_of(&graph)).map_err(|e| bad(&e))?;
        let tensors = safetensors::header("save", path, &arrays, &BTreeMap::new(), ALIGN)?;
        let small = [manifest, graph.to_string().into_bytes(), origins];

        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.resize(HEADER, 0);
        let mut at = HEADER;
        let mut hash = Hasher::new();
        hash.update(&tensors);
        safetensors::sorted(&arrays).iter().for_each(|(_, array)| hash.update(&little_endian(array)));
        let data: usize = arrays.iter().map(|(_, array)| array.byte_len()).sum();
        let sections = small.iter().map(|bytes| (bytes.len(), crc32fast::hash(bytes)));
        for (i, (length, crc)) in sections.chain([(tensors.len() + data, hash.finalize())]).enumerate() {
            let entry = &mut header[24 + 24 * i..][..24];
            entry[..8].copy_from_slice(&(at as u64).to_le_bytes());
            entry[8..16].copy_from_slice(&(length as u64).to_le_bytes());
            entry[16..20].copy_from_slice(&crc.to_le_bytes());
            at = if i == TENSORS { at + length } else { (at + length).next_multiple_of(ALIGN) };
        }
        header[16..24].copy_from_slice(&(at as u64).to_le_bytes());
        let crc = crc32fast::hash(&header[16..]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        file::write("save", path, |out| {
            out.write_all(&header)?;
            for bytes in &small {
                out.write_all(bytes)?;
                out.write_all(&[0; ALIGN][..bytes.len().next_multiple_of(ALIGN) - bytes.len()])?;
            }
            out.write_all(&tensors)?;
            safetensors::sorted(&arrays).into_iter().try_for_each(|(_, array)| out.write_all(&little_endian(array)))
        })
    }

    fn manifest(&self) -> Manifest {
        let entry = |input: &Input| {
            let (role, next) = match input.role {
                Role::Argument => (Kind::Argument, None),
                Role::State(next) => (Kind::State, next.map(Place::from)),
                Role::Constant => (Kind::Constant, None),
            };
            Entry { name: input.name.clone(), also: input.also.clone(), role, next }
        };
        Manifest {
            producer: concat!("tracewright ", env!("CARGO_PKG_VERSION")).into(),
            inputs: self.inputs.iter().map(entry).collect(),
            outputs: self.outputs.iter().map(|o| Named { name: o.name.clone(), from: o.source.into() }).collect(),
            metadata: self.metadata.clone(),
        }
    }

    /// Reads one that was saved. Its tensors are mapped, and not looked at before they are used: [`Exported::load_checked`]
    /// does that. Replace such a file by renaming another over it, as [`Exported::save`] does: who makes it shorter ends the
    /// processes that use it.
    pub fn load(path: impl AsRef<Path>) -> Result<Exported> {
        read(path.as_ref(), false).map_err(Error::observed)
    }

    /// As [`Exported::load`], and compares all tensors with their checksum.
    pub fn load_checked(path: impl AsRef<Path>) -> Result<Exported> {
        read(path.as_ref(), true).map_err(Error::observed)
    }
}

/// The number in those bytes of the header.
fn number(header: &[u8], at: usize) -> usize {
    let bytes: [u8; 8] = std::array::from_fn(|i| header[at + i]);
    usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

fn checksum(header: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}

fn read(path: &Path, all: bool) -> Result<Exported> {
    let bad = |rule: String| refused("load", path, rule, LEGAL);
    let map = file::open("load", path)?;
    let sections = sections(map.bytes(), all).map_err(bad)?;
    // Copies: text that another process changes meanwhile may be none any more.
    let bytes = |section: usize| map.bytes()[sections[section].clone()].to_vec();
    let manifest: Manifest =
        serde_json::from_slice(&bytes(MANIFEST)).map_err(|e| bad(format!("its manifest is wrong: {e}")))?;
    let text = String::from_utf8(bytes(GRAPH)).map_err(|_| bad("its graph is no text".into()))?;
    let mut graph = Recording::parse(&path.display().to_string(), &text)?.into_graph();
    let origins = bytes(ORIGINS);
    if !origins.is_empty() {
        put_origins(&mut graph, &origins).map_err(bad)?;
    }
    let mut values = tensors(&map, &sections[TENSORS], path)?;
    let mut inputs = Vec::with_capacity(manifest.inputs.len());
    for entry in manifest.inputs {
        let role = match entry.role {
            Kind::Argument => Role::Argument,
            Kind::State => Role::State(entry.next.map(source)),
            Kind::Constant => Role::Constant,
        };
        let value = if role == Role::Argument { None } else { values.remove(&entry.name) };
        inputs.push(Input { name: entry.name, also: entry.also, role, value });
    }
    let outputs = manifest.outputs.into_iter().map(|o| Output { name: o.name, source: source(o.from) }).collect();
    let mut loaded = Exported::new(graph, inputs, outputs);
    loaded.metadata = manifest.metadata;
    match loaded.problem().or_else(|| values.keys().next().map(|name| format!("no input is called `{name}`"))) {
        Some(problem) => Err(bad(problem)),
        None => Ok(loaded),
    }
}

fn source(place: Place) -> Source {
    match place {
        Place::Input(i) => Source::Input(i),
        Place::Output(i) => Source::Output(i),
    }
}

/// Where the sections are; everything but the tensors is compared with its checksum, and those too if `all` is.
fn sections(bytes: &[u8], all: bool) -> std::result::Result<Vec<Range<usize>>, String> {
    if !bytes.starts_with(&MAGIC) {
        let why = if bytes.starts_with(b"\x89TW") { "; a transfer as text has changed it" } else { "" };
        return Err(format!("it is no saved graph{why}"));
    }
    let Some(header) = bytes.get(..HEADER) else {
        return Err(format!("it is cut short: {} bytes of the {HEADER} of its header", bytes.len()));
    };
    let version = checksum(header, 8);
    if version > VERSION {
        return Err(format!("it has version {version} of the format, this program reads up to {VERSION}: it is newer"));
    }
    if version == 0 || crc32fast::hash(&header[16..]) != checksum(header, 12) {
        return Err("its header is damaged".into());
    }
    let length = number(header, 16);
    if bytes.len() < length {
        return Err(format!("it is cut short: {} of {length} bytes", bytes.len()));
    }
    if bytes.len() > length {
        return Err(format!("it goes on after its end: {} bytes, not {length}", bytes.len()));
    }
    let mut sections = Vec::new();
    let mut end = HEADER;
    for (i, name) in SECTIONS.iter().enumerate() {
        let (at, size) = (number(header, 24 + 24 * i), number(header, 32 + 24 * i));
        let range = at..at.saturating_add(size);
        let Some(part) = bytes.get(range.clone()).filter(|_| at >= end && at.is_multiple_of(ALIGN)) else {
            return Err(format!("its {name} section, {size} bytes from {at} on, is not inside of it"));
        };
        if (i != TENSORS || all) && crc32fast::hash(part) != checksum(header, 40 + 24 * i) {
            return Err(format!("its {name} section is damaged"));
        }
        end = range.end;
        sections.push(range);
    }
    Ok(sections)
}

fn tensors(map: &Arc<Map>, section: &Range<usize>, path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bad = |rule: String| refused("load", path, rule, LEGAL);
    let (header, infos) = SafeTensors::read_metadata(&map.bytes()[section.clone()])
        .map_err(|e| bad(format!("its tensors are wrong: {e}")))?;
    let mut tensors = BTreeMap::new();
    for (name, info) in infos.tensors() {
        let dtype = safetensors::dtype(info.dtype)
            .ok_or_else(|| bad(format!("tensor `{name}` has elements of type {:?}", info.dtype)))?;
        let at = section.start + 8 + header + info.data_offsets.0;
        let array = Array::of_file(map, dtype, &info.shape, at);
        let array = array.map_err(|e| Error::exec(e).note(format!("tensor `{name}` of {}", path.display())))?;
        tensors.insert(name, Tensor::array(made_here(array)?));
    }
    Ok(tensors)
}

impl Exported {
    /// What in the parts of a file does not fit together.
    fn problem(&self) -> Option<String> {
        let (inputs, outputs) = (self.graph.inputs().len(), self.graph.outputs().len());
        if self.inputs.len() != inputs {
            return Some(format!("its graph has {inputs} inputs, its manifest {}", self.inputs.len()));
        }
        let exists = |s: Source| match s {
            Source::Input(i) => i < inputs,
            Source::Output(i) => i < outputs,
        };
        for o in &self.outputs {
            if !exists(o.source) {
                return Some(format!("its output `{}` is {:?}, which its graph does not have", o.name, o.source));
            }
        }
        for (i, input) in self.inputs.iter().enumerate() {
            if let Role::State(Some(next)) = input.role {
                if !exists(next) {
                    return Some(format!("its state `{}` becomes {next:?}, which its graph does not have", input.name));
                }
                if self.source_type(next) != self.input_type(i) {
                    let (was, is) = (self.input_type(i), self.source_type(next));
                    return Some(format!("its state `{}` is {was} and becomes {is}", input.name));
                }
            }
            if input.role == Role::Argument {
                continue;
            }
            let wanted = self.input_type(i);
            let Some(value) = &input.value else {
                return Some(format!("it has no tensor `{}`", input.name));
            };
            let fits = |ty: &ir::Type| {
                super::specialize::bindings(std::slice::from_ref(wanted), std::slice::from_ref(ty)).1.is_empty()
            };
            match value.try_type() {
                Ok(ty) if fits(&ty) => {}
                Ok(ty) => return Some(format!("its tensor `{}` is {ty}, its graph wants {wanted}", input.name)),
                Err(e) => return Some(e.to_string()),
            }
        }
        self.names_problem()
    }
}

/// The ops of a graph in the order of its text: an op before those of its regions.
fn ops_in_order(graph: &Graph) -> Vec<Op> {
    fn walk(graph: &Graph, region: Region, all: &mut Vec<Op>) {
        for &op in &graph.region(region).ops {
            all.push(op);
            graph.op(op).regions.iter().for_each(|&inner| walk(graph, inner, all));
        }
    }
    let mut all = Vec::new();
    walk(graph, graph.root(), &mut all);
    all
}

fn origins_of(graph: &Graph) -> Origins {
    let mut numbers = BTreeMap::new();
    let mut table = Vec::new();
    let mut ops = Vec::new();
    for op in ops_in_order(graph) {
        let of_op = graph.op(op).origins.iter().map(|&id| {
            *numbers.entry(id).or_insert_with(|| {
                table.push(graph.origins.get(id).clone());
                table.len() as u32 - 1
            })
        });
        ops.push(of_op.collect());
    }
    Origins { table, ops }
}

fn put_origins(graph: &mut Graph, bytes: &[u8]) -> std::result::Result<(), String> {
    let wrong = |what: &str| format!("its origins are wrong: {what}");
    let (origins, rest): (Origins, _) = postcard::take_from_bytes(bytes).map_err(|e| wrong(&e.to_string()))?;
    let ops = ops_in_order(graph);
    if !rest.is_empty() || origins.ops.len() != ops.len() {
        return Err(wrong(&format!("there are {} ops, not {}", ops.len(), origins.ops.len())));
    }
    graph.origins = Vec::new().into();
    let ids: Vec<_> = origins.table.into_iter().map(|origin| graph.origins.intern(origin)).collect();
    for (op, numbers) in ops.into_iter().zip(origins.ops) {
        let of_op: Option<_> = numbers.iter().map(|&n| ids.get(n as usize).copied()).collect();
        graph.op_mut(op).origins = of_op.ok_or_else(|| wrong("a number is too large"))?;
        if graph.op(op).origins.is_empty() {
            return Err(wrong("an op has none"));
        }
    }
    Ok(())
}
