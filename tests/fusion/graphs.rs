//! Programs as traced, as files: what `runtime/tests/machine_code` compiles for GPUs. `UPDATE_GRAPHS=1 cargo test --test
//! fusion` writes them anew.

use tracewright::jit::Lowered;

#[allow(dead_code)]
#[path = "../../benches/workloads/programs.rs"]
mod programs;

/// Fails if the file of that name does not hold the program.
#[track_caller]
pub fn agree(name: &str, lowered: &Lowered) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/runtime/tests/machine_code/graphs");
    let path = format!("{folder}/{name}.ir");
    let text = lowered.graph().to_string();
    if std::env::var_os("UPDATE_GRAPHS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{path} is old: UPDATE_GRAPHS=1 cargo test --test fusion");
}

#[test]
fn workloads_are_files() {
    let inputs = programs::Inputs { generator: None, sets: |_| 1 };
    // Chains and pieces of other lengths have kernels of the same kind.
    let short = ["deep_chain_1000", "deep_chain_10000", "concat_1000", "concat_3000"];
    let names = programs::NAMES.iter().chain(programs::LARGE).filter(|name| !short.contains(name));
    for name in names.chain([&"deep_chain_100"]) {
        agree(name, &(programs::make(name, &inputs).unwrap().lower)().unwrap());
    }
}
