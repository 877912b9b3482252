//! Every kernel that ops and programs have on a GPU, compiled by NVIDIA's compiler for two generations.
//!
//! Programs are files in `graphs/`, which `tests/fusion/graphs.rs` keeps as they are traced.
#![cfg(unix)]

// Shared with the tests of code generation, which use all of it.
#[path = "../../../codegen/tests/cuda/compiler.rs"]
mod compiler;
#[allow(dead_code)]
#[path = "../../../codegen/tests/cases/data.rs"]
mod data;
#[allow(dead_code)]
#[path = "../../../codegen/tests/cuda/target.rs"]
mod target;

use codegen::cuda::{IndexWidth, Source};
use compiler::{Nvrtc, Unit};
use ir::kernel::Kernel;
use ir::{Graph, Primitive};
use passes::{Grain, PassOptions, Settings};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// Kernels that may keep registers in memory: by name, how many bytes, and why. It may only become shorter.
const SPILLS: &[(&str, u32, &str)] = &[
    ("concat_64/concatenate, 64-bit indices", 144, "64 operands, each with the condition of its piece"),
    ("stencil_1024/mul_add", 8, "nine loads of 16 bytes under way at once, each with the condition of its padding"),
];

/// The kernels of a graph on a GPU.
fn kernels(graph: Graph) -> Vec<Kernel> {
    let options = PassOptions { grain: Grain::GPU, ..PassOptions::default() };
    let outcome = passes::optimize(graph, &Settings { options, ..Settings::default() }, None).unwrap();
    passes::lower::lower_for(Grain::GPU, &outcome.graph, &[], &|_| None).unwrap().kernels
}

/// Functions, each once.
#[derive(Default)]
struct All {
    unit: Unit,
    seen: HashSet<String>,
}

impl All {
    /// Adds the kernels of a graph, and says how many it has. Those that are there already are left out, and those that differ
    /// from one that is there in numbers alone where `shapes` of them do not matter.
    fn add(&mut self, name: &str, graph: Graph, width: IndexWidth, shapes: bool) -> usize {
        let kernels = kernels(graph);
        for kernel in &kernels {
            let entry = format!("kernel{}", self.seen.len());
            let source = Source::new(kernel, &entry, width).unwrap();
            let body = source.text().replacen(&entry, "", 1);
            let numberless = || body.split(|c: char| c.is_ascii_digit()).filter(|p| !p.is_empty()).collect();
            if self.seen.insert(if shapes { body.clone() } else { numberless() }) {
                let wide = if width == IndexWidth::Bits64 { ", 64-bit indices" } else { "" };
                self.unit.add(&format!("{name}/{}{wide}", kernel.name), source);
            }
        }
        kernels.len()
    }

    /// Compiles them, and holds spills against the list.
    fn check(&self, nvrtc: &Nvrtc) {
        let (mut wrong, mut least) = (Vec::new(), BTreeMap::<&str, u32>::new());
        for architecture in ["sm_80", "sm_90"] {
            for spill in nvrtc.spills(&self.unit, architecture) {
                let allowed = SPILLS.iter().find(|(name, ..)| *name == spill.name);
                match allowed {
                    Some(&(name, bytes, _)) if spill.bytes <= bytes => {
                        let most = least.entry(name).or_default();
                        *most = spill.bytes.max(*most);
                    }
                    _ => wrong.push(format!("{} keeps {} bytes in memory ({architecture})", spill.name, spill.bytes)),
                }
            }
        }
        let ours = SPILLS.iter().filter(|(name, ..)| self.unit.has(name));
        let less = ours.filter(|(name, bytes, _)| least.get(name) != Some(bytes));
        wrong.extend(less.map(|(name, ..)| format!("{name} spills less than the list says, so the list can shrink")));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        println!("{} kernels compiled for two generations", self.seen.len());
    }
}

#[test]
fn every_op_on_its_samples() {
    let Some(nvrtc) = Nvrtc::load() else { return };
    let (mut all, mut seen) = (All::default(), BTreeSet::new());
    for sample in Primitive::all_samples() {
        let name = sample.primitive.name();
        if all.add(name, sample.graph(), IndexWidth::Bits32, false) > 0 {
            seen.insert(name);
        }
    }
    assert!(seen.len() > 70, "{} ops have kernels: {seen:?}", seen.len());
    all.check(&nvrtc);
}

#[test]
fn every_program() {
    let Some(nvrtc) = Nvrtc::load() else { return };
    let mut all = All::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine_code/graphs");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 29, "{} programs", files.len());
    for path in &files {
        let name = path.file_stem().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(path).unwrap();
        let graph = ir::text::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        for width in [IndexWidth::Bits32, IndexWidth::Bits64] {
            assert!(all.add(&name, graph.clone(), width, true) > 0, "{name} has no kernels");
        }
    }
    all.check(&nvrtc);
}
