//! The names that `scripts/opinfo_coverage.toml` gives for PyTorch's functions exist.

use crate::compositions;
use crate::root;
use std::collections::BTreeSet;
use std::fs;

#[test]
fn every_name_given_for_a_function_of_pytorch_exists() {
    let sources = compositions::sources();
    let functions = sources.iter().flat_map(|s| s.items.iter().map(|item| item.path.clone()));
    let operators = sources.iter().flat_map(|s| s.operators.iter().map(|name| format!("ops::{name}")));
    let reads = compositions::source("tensor.rs").items.into_iter().map(|item| item.path);
    let known: BTreeSet<String> = functions.chain(operators).chain(reads).collect();
    let text = fs::read_to_string(root().join("scripts/opinfo_coverage.toml")).unwrap();
    let (mut section, mut checked, mut missing) = ("", 0, Vec::new());
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let (theirs, ours) = line.split_once(" = ").unwrap_or_else(|| panic!("`{line}`"));
        if !["equivalent", "composed"].contains(&section) {
            continue;
        }
        for name in ours.trim_matches('"').split(", ") {
            checked += 1;
            if !known.contains(name) {
                missing.push(format!("{theirs}: {name}"));
            }
        }
    }
    assert!(checked > 300, "{checked}");
    assert!(missing.is_empty(), "{missing:#?}");
}
