//! Reads every source file and manifest of the workspace and fails on a dependency that the map of rooms forbids.
//!
//! The rules are the tables below. `check` is a function of (path, text) pairs, so planted violations test it. Sources are
//! read as tokens: comments and string contents do not count, macros are not expanded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A crate: where it lies, the name sources use for it, and the rooms it may name.
struct Room {
    dir: &'static str,
    name: &'static str,
    sees: &'static [&'static str],
    root: &'static str,
    unsafe_allowed: bool,
}

/// The room that tests of every room may name, and nothing else may.
const EMULATOR: &str = "emulator";

const ROOMS: [Room; 8] = [
    Room { dir: "ir/", name: "ir", sees: &[], root: "ir/src/lib.rs", unsafe_allowed: false },
    Room { dir: "passes/", name: "passes", sees: &["ir"], root: "passes/src/lib.rs", unsafe_allowed: false },
    Room { dir: "codegen/", name: "codegen", sees: &["ir"], root: "codegen/src/lib.rs", unsafe_allowed: true },
    Room {
        dir: "runtime/",
        name: "runtime",
        sees: &["ir", "passes", "codegen"],
        root: "runtime/src/lib.rs",
        unsafe_allowed: true,
    },
    Room {
        dir: "runtime/emulator/",
        name: EMULATOR,
        sees: &[],
        root: "runtime/emulator/src/lib.rs",
        unsafe_allowed: true,
    },
    Room {
        dir: "frontend/derive/",
        name: "tracewright_derive",
        sees: &[],
        root: "frontend/derive/src/lib.rs",
        unsafe_allowed: false,
    },
    Room {
        dir: "frontend/",
        name: "tracewright",
        sees: &["ir", "passes", "runtime", "tracewright_derive"],
        root: "frontend/lib.rs",
        unsafe_allowed: false,
    },
    Room { dir: "cli/", name: "cli", sees: &["tracewright"], root: "cli/src/main.rs", unsafe_allowed: false },
];

/// External crates that only some places may name: prefix of the crate name, source paths, manifests.
const FENCED: [(&str, &[&str], &[&str]); 2] = [
    ("cranelift", &["codegen/src/cpu/", "codegen/src/cpu.rs", "codegen/tests/", "codegen/benches/"], &["codegen/"]),
    (
        "cudarc",
        &[
            "codegen/src/cuda/",
            "codegen/src/cuda.rs",
            "runtime/src/cuda/",
            "runtime/src/cuda.rs",
            "runtime/emulator/examples/",
            "runtime/emulator/tests/",
        ],
        &["codegen/", "runtime/", "runtime/emulator/"],
    ),
];

/// The only library sources that may read the environment: options, and what tells of tests that cannot run.
const READS_ENVIRONMENT: &[&str] = &["runtime/src/options/", "runtime/src/options.rs", "runtime/emulator/src/skip.rs"];

/// The only library sources that may write to stdout or stderr.
const PRINTS: &[&str] = &[
    "runtime/emulator/src/skip.rs",
    "runtime/src/options/",
    "runtime/src/options.rs",
    "runtime/src/events/",
    "runtime/src/events.rs",
    "runtime/src/log/",
    "runtime/src/log.rs",
];

/// What passes may match by name, and where: all else they ask an op's hooks, traits and lowering kind.
const OPS_IN_PASSES: &[(&str, &str)] = &[("passes/src/fuse/", "Reshape")];

const MAX_LINES: usize = 600;
const VAGUE_NAMES: [&str; 5] = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"];

/// Everything wrong with these files, as `path:line: what`, in the order of the files.
fn check(files: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for &(path, text) in files {
        let mut report = |line: usize, what: String| found.push(format!("{path}:{line}: {what}"));
        if path.ends_with(".rs") {
            check_source(path, text, &mut report);
        } else if path.ends_with("Cargo.toml") {
            check_manifest(path, text, &mut report);
        }
    }
    for room in &ROOMS {
        if !files.iter().any(|(path, _)| *path == room.root) {
            found.push(format!("{}:1: the root of the crate `{}` is missing", room.root, room.name));
        }
    }
    found
}

fn room_of(path: &str) -> Option<&'static Room> {
    ROOMS.iter().filter(|room| path.starts_with(room.dir)).max_by_key(|room| room.dir.len())
}

/// True for code that ships in a library: not the command line, tests, benches, examples, build scripts.
fn is_library(path: &str) -> bool {
    let room = room_of(path).filter(|room| room.name != "cli");
    let inner = room.map(|room| &path[room.dir.len()..]);
    inner.is_some_and(|p| !["tests/", "benches/", "examples/", "build.rs"].iter().any(|dir| p.starts_with(dir)))
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
}

fn check_source(path: &str, text: &str, report: &mut impl FnMut(usize, String)) {
    let lines = text.lines().count();
    if lines > MAX_LINES {
        report(lines, format!("{lines} lines; a file holds one subject in at most {MAX_LINES}: split it"));
    }
    let file_name = path.rsplit('/').next().unwrap_or(path);
    if VAGUE_NAMES.contains(&file_name) {
        report(1, format!("`{file_name}` says nothing about what is in it: name the file after its subject"));
    }

    let tokens = tokenize(text);
    let room = room_of(path);
    let is = |i: usize, word: &str| tokens.get(i).is_some_and(|t| t.text == word);

    // The derive macro names `tracewright` in the code that it emits; its manifest must not.
    for (name, line) in path_roots(&tokens) {
        if let Some(other) = ROOMS.iter().find(|other| other.name == name)
            && let Some(room) = room
            && other.name != room.name
            && !room.sees.contains(&other.name)
            && !(room.name == "tracewright_derive" && name == "tracewright")
            && (name != EMULATOR || is_library(path))
        {
            report(line, format!("`{}` must not name `{}`; it sees {:?} only", room.name, other.name, room.sees));
        }
        if path.starts_with("examples/") && ROOMS.iter().any(|r| r.name == name && r.name != "tracewright") {
            report(line, format!("an example is user code: it names `tracewright`, not `{name}`"));
        }
        for (prefix, places, _) in FENCED {
            if name.starts_with(prefix) && !places.iter().any(|place| path.starts_with(place)) {
                report(line, format!("only {places:?} may name `{prefix}`, not `{name}` here"));
            }
        }
    }

    let unsafe_allowed = room.is_some_and(|room| room.unsafe_allowed);
    for (i, token) in tokens.iter().enumerate() {
        if token.text == "unsafe" && !unsafe_allowed {
            report(token.line, "`unsafe` is for codegen and runtime only".to_string());
        }
        if !is_library(path) || token.in_test {
            continue;
        }
        let reads = ["var", "vars", "var_os", "vars_os", "set_var", "remove_var"].iter().any(|f| is(i + 2, f));
        if token.text == "env" && is(i + 1, "::") && reads && !READS_ENVIRONMENT.iter().any(|p| path.starts_with(p)) {
            report(token.line, "only runtime/src/options reads the environment".to_string());
        }
        let op = tokens.get(i + 2).map_or("", |t| t.text);
        if path.starts_with("passes/")
            && token.text == "Primitive"
            && is(i + 1, "::")
            && op.starts_with(char::is_uppercase)
            && op.contains(char::is_lowercase)
            && !OPS_IN_PASSES.iter().any(|(place, name)| path.starts_with(place) && op == *name)
        {
            report(token.line, format!("passes look at traits, hooks and the lowering kind, not for `{op}`"));
        }
        let prints = ["println", "print", "eprintln", "eprint", "dbg"].contains(&token.text) && is(i + 1, "!");
        let streams = token.text == "io" && is(i + 1, "::") && (is(i + 2, "stdout") || is(i + 2, "stderr"));
        if (prints || streams) && !PRINTS.iter().any(|p| path.starts_with(p)) {
            report(token.line, format!("a library prints nothing: `{}` belongs behind the log", token.text));
        }
    }

    if let Some(room) = room
        && path == room.root
        && !room.unsafe_allowed
    {
        let words: Vec<&str> = tokens.iter().map(|t| t.text).collect();
        if !words.windows(8).any(|w| w == ["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"]) {
            report(1, format!("the crate `{}` must say `#![forbid(unsafe_code)]`", room.name));
        }
    }
}

/// The dependencies of a manifest: dev and build dependencies obey the same map, and `[workspace.dependencies]` obeys none.
fn check_manifest(path: &str, text: &str, report: &mut impl FnMut(usize, String)) {
    let dir = path.strip_suffix("Cargo.toml").unwrap_or(path);
    let public = dir.is_empty();
    let room = ROOMS.iter().find(|room| if public { room.name == "tracewright" } else { room.dir == dir });
    let (mut in_dependencies, mut for_tests) = (false, false);
    let mut header_key = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']').trim_start_matches('[');
            let mut parts = header.split('.').skip_while(|part| !part.ends_with("dependencies"));
            let kind = parts.next();
            for_tests = kind == Some("dev-dependencies");
            in_dependencies = kind.is_some() && !header.starts_with("workspace.");
            header_key = if in_dependencies { parts.next() } else { None };
        }
        let key = match header_key {
            Some(key) if line.starts_with('[') => key,
            None if in_dependencies && !line.starts_with(['#', '[']) && line.contains('=') => {
                line.split(['=', '.']).next().unwrap_or("").trim()
            }
            _ => continue,
        };
        let package = line.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1)).unwrap_or(key);
        let name = package.trim_matches('"').replace('-', "_");
        let name = match name.strip_prefix("tracewright_") {
            Some(short) if short != "derive" => short,
            _ => name.as_str(),
        };
        // A crate's tests may name the crate itself.
        if let (Some(room), Some(other)) = (room, ROOMS.iter().find(|other| other.name == name))
            && other.name != room.name
            && !room.sees.contains(&other.name)
            && !(for_tests && name == EMULATOR)
        {
            report(number + 1, format!("`{}` must not depend on `{}`", room.name, other.name));
        }
        for (prefix, _, places) in FENCED {
            if name.starts_with(prefix) && !places.contains(&dir) {
                report(number + 1, format!("only {places:?} may depend on `{prefix}`"));
            }
        }
        if name == "cudarc" && !line.contains("optional") && !(for_tests && dir == "runtime/emulator/") {
            report(number + 1, "cudarc must be optional, behind the feature `cuda`".to_string());
        }
    }
}

struct Token<'a> {
    text: &'a str,
    line: usize,
    /// Inside an item marked `#[cfg(test)]` or `#[test]`.
    in_test: bool,
}

/// Identifiers, `::` and single characters; no comments, no literals.
fn tokenize(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < bytes.len() {
        let start = i;
        let c = bytes[i];
        if c.is_ascii_whitespace() {
            i += 1;
        } else if c == b'/' && at(i + 1) == b'/' {
            while i < bytes.len() && bytes[i] != b'\n' {
                i += 1;
            }
        } else if c == b'/' && at(i + 1) == b'*' {
            let mut depth = 0;
            while i < bytes.len() {
                match (at(i), at(i + 1)) {
                    (b'/', b'*') => (depth, i) = (depth + 1, i + 2),
                    (b'*', b'/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if let Some(end) = raw_string_end(bytes, i) {
            i = end;
        } else if c == b'"' {
            i += 1;
            while i < bytes.len() && bytes[i] != b'"' {
                i += if bytes[i] == b'\\' { 2 } else { 1 };
            }
            i += 1;
        } else if c == b'\'' {
            let width = text[i + 1..].chars().next().map_or(1, char::len_utf8);
            if at(i + 1) == b'\\' {
                i += 3;
                while i < bytes.len() && bytes[i] != b'\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 1 + width) == b'\'' {
                i += width + 2;
            } else {
                i += 1;
            }
        } else if c == b'_' || c.is_ascii_alphanumeric() || !c.is_ascii() {
            while i < bytes.len() && (at(i) == b'_' || at(i).is_ascii_alphanumeric() || !at(i).is_ascii()) {
                i += 1;
            }
            tokens.push(Token { text: &text[start..i], line, in_test: false });
        } else {
            i += if c == b':' && at(i + 1) == b':' { 2 } else { 1 };
            tokens.push(Token { text: &text[start..i], line, in_test: false });
        }
        i = i.min(bytes.len());
        line += bytes[start..i].iter().filter(|b| **b == b'\n').count();
    }
    mark_tests(&mut tokens);
    tokens
}

/// Where the raw string that starts at `i` ends, if one does (`r"…"`, `r#"…"#`, `br"…"`, `cr"…"`).
fn raw_string_end(bytes: &[u8], i: usize) -> Option<usize> {
    if i > 0 && (bytes[i - 1] == b'_' || bytes[i - 1].is_ascii_alphanumeric()) {
        return None;
    }
    let prefix = if bytes[i..].starts_with(b"br") || bytes[i..].starts_with(b"cr") { 2 } else { 1 };
    if bytes[i] != b'r' && prefix == 1 {
        return None;
    }
    let hashes = bytes[i + prefix..].iter().take_while(|b| **b == b'#').count();
    let open = i + prefix + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let rest = &bytes[open + 1..];
    Some(rest.windows(close.len()).position(|w| w == close).map_or(bytes.len(), |p| open + 1 + p + close.len()))
}

/// Marks the item after each `#[cfg(test)]` and `#[test]`, up to its closing brace or semicolon.
fn mark_tests(tokens: &mut [Token<'_>]) {
    let mut i = 0;
    while i < tokens.len() {
        let starts = |words: &[&str]| {
            tokens[i..].len() >= words.len() && tokens[i..].iter().zip(words).all(|(token, word)| token.text == *word)
        };
        if !starts(&["#", "[", "cfg", "(", "test", ")", "]"]) && !starts(&["#", "[", "test", "]"]) {
            i += 1;
            continue;
        }
        let mut depth = 0;
        while i < tokens.len() {
            tokens[i].in_test = true;
            match tokens[i].text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            i += 1;
            if depth == 0 && matches!(tokens[i - 1].text, "}" | ";") {
                break;
            }
        }
    }
}

/// The first segment of every path that could name a crate, with its line. A module declared in the same file hides a crate.
fn path_roots<'a>(tokens: &[Token<'a>]) -> Vec<(&'a str, usize)> {
    let is_name = |t: &str| t.starts_with(|c: char| c == '_' || c.is_alphabetic());
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text);
    let declared: Vec<&str> =
        (0..tokens.len()).filter(|&i| text(i) == "mod" && is_name(text(i + 1))).map(|i| text(i + 1)).collect();
    let mut roots = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if text(i) == "use" && (is_name(text(i + 1)) || matches!(text(i + 1), "::" | "{")) {
            // In a use tree, a root is the first name after `use`, or after `{` or `,` of an outermost group.
            let (mut depth, mut inside_path, mut j) = (0, None, i + 1);
            while j < tokens.len() && text(j) != ";" {
                match text(j) {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    name if is_name(name) && inside_path.is_none() => {
                        roots.push((name, tokens[j].line));
                        inside_path = Some(depth);
                    }
                    _ => {}
                }
                if text(j) == "," && inside_path == Some(depth) {
                    inside_path = None;
                }
                j += 1;
            }
            i = j;
        } else if text(i) == "extern" && text(i + 1) == "crate" {
            roots.push((text(i + 2), tokens[i].line));
            i += 3;
        } else {
            let names_path = is_name(text(i)) && text(i + 1) == "::";
            let continues = i > 0 && text(i - 1) == "::" && i > 1 && (is_name(text(i - 2)) || text(i - 2) == ">");
            if names_path && !continues {
                roots.push((text(i), tokens[i].line));
            }
            i += 1;
        }
    }
    roots.retain(|(name, _)| !declared.contains(name));
    roots
}

fn read_tree(dir: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                read_tree(&path, root, files);
            }
        } else if name.ends_with(".rs") || name == "Cargo.toml" {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            files.insert(relative, fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_workspace_keeps_to_its_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    read_tree(root, root, &mut files);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    for room in &ROOMS {
        let manifest = if room.name == "tracewright" { "Cargo.toml".into() } else { format!("{}Cargo.toml", room.dir) };
        assert!(files.iter().any(|(path, _)| *path == manifest), "{manifest} was not read");
    }
    let found = check(&files);
    assert!(found.is_empty(), "{} broken rules:\n{}", found.len(), found.join("\n"));
}

/// What `check` says about one file, with the complaints about absent crate roots left out.
fn found(path: &str, text: &str) -> Vec<String> {
    check(&[(path, text)]).into_iter().filter(|what| !what.ends_with("is missing")).collect()
}

#[track_caller]
fn caught(path: &str, text: &str, line: usize, part: &str) {
    let found = found(path, text);
    let start = format!("{path}:{line}: ");
    assert!(found.len() == 1 && found[0].starts_with(&start) && found[0].contains(part), "{found:#?}");
}

#[track_caller]
fn clean(path: &str, text: &str) {
    assert_eq!(found(path, text), Vec::<String>::new());
}

#[test]
fn a_forbidden_path_is_caught_in_every_form() {
    caught("passes/src/cse.rs", "use ir::Graph;\nuse codegen::cpu;\n", 2, "`passes` must not name `codegen`");
    caught("codegen/src/cpu/mod.rs", "fn f() {\n    passes::cse::run();\n}", 2, "must not name `passes`");
    caught("ir/src/dim.rs", "use {std::fmt, runtime as r};", 1, "must not name `runtime`");
    caught("ir/src/dim.rs", "use {std::{fmt, io}, passes::{a, b}};", 1, "must not name `passes`");
    caught("ir/src/dim.rs", "use ::tracewright::Tensor;", 1, "must not name `tracewright`");
    caught("ir/src/dim.rs", "fn f(x: ::runtime::Buffer) {}", 1, "must not name `runtime`");
    caught("ir/src/dim.rs", "extern crate runtime;", 1, "must not name `runtime`");
    caught("runtime/src/pool.rs", "pub use tracewright::Tensor;", 1, "must not name `tracewright`");
    caught("frontend/tensor.rs", "use codegen::cpu;", 1, "`tracewright` must not name `codegen`");
    caught("frontend/derive/src/tree.rs", "use ir::Graph;", 1, "`tracewright_derive` must not name `ir`");
    caught("cli/src/run.rs", "use runtime::Options;", 1, "`cli` must not name `runtime`");
    caught("passes/tests/fuse.rs", "use runtime::interpreter;", 1, "`passes` must not name `runtime`");
    caught("examples/digits.rs", "use ir::Graph;", 1, "an example is user code");
    caught("runtime/src/cuda/mod.rs", "emulator::install();", 1, "`runtime` must not name `emulator`");
    caught("runtime/emulator/src/lib.rs", "use runtime::Options;", 1, "`emulator` must not name `runtime`");
    clean("runtime/tests/cuda.rs", "emulator::install();");
    clean("runtime/emulator/tests/cuda/main.rs", "use cudarc::driver;");
}

#[test]
fn an_allowed_path_is_not_caught() {
    clean("passes/src/cse.rs", "use ir::{Graph, kernel::Kernel};\nfn f() -> ir::Graph { crate::codegen::x() }");
    clean("runtime/src/executable.rs", "use codegen::cpu;\nuse ir::Graph;\nuse passes::pipeline;");
    clean("ir/src/dim.rs", "// use runtime::x;\n/* codegen::y /* passes::z */ */ const A: &str = \"use passes::a;\";");
    clean(
        "ir/src/dim.rs",
        "const A: &str = r#\"passes::a \" runtime::b\"#; const Q: char = '\"'; const B: u8 = b'\\'';",
    );
    clean("ir/src/dim.rs", "use crate::{passes::a, runtime};\nmod codegen;\nfn f<'a>(x: &'a T) { codegen::f(x) }");
    clean("ir/src/dim.rs", "fn f(ir: u8, runtime: u8) -> u8 { Self::passes::<u8>(ir, runtime) }");
    clean("frontend/derive/src/tree.rs", "fn f() { quote!(::tracewright::Tree) }");
    clean("tests/fuzz.rs", "use ir::Graph;\nuse passes::pipeline;\nuse runtime::interpreter;");
}

#[test]
fn a_fenced_crate_is_caught_outside_its_place() {
    caught("codegen/src/lib.rs", "pub mod cpu;\nuse cranelift_codegen::ir;", 2, "may name `cranelift`");
    caught("runtime/src/executable.rs", "use cudarc::driver;", 1, "may name `cudarc`");
    clean("codegen/src/cpu/math/exp.rs", "use cranelift_frontend::FunctionBuilder;");
    clean("runtime/src/cuda/launch.rs", "use cudarc::driver;");
}

#[test]
fn a_forbidden_dependency_in_a_manifest_is_caught() {
    caught("passes/Cargo.toml", "[dependencies]\nir.workspace = true\ncodegen.workspace = true\n", 3, "on `codegen`");
    caught("ir/Cargo.toml", "[dev-dependencies]\nrun = { package = \"tracewright-runtime\" }\n", 2, "on `runtime`");
    caught("ir/Cargo.toml", "[dependencies.tracewright]\npath = \"..\"\n", 1, "on `tracewright`");
    caught("ir/Cargo.toml", "[target.'cfg(unix)'.dependencies]\npasses = { path = \"../passes\" }\n", 2, "on `passes`");
    caught("frontend/derive/Cargo.toml", "[dependencies]\ntracewright = { path = \"../..\" }\n", 2, "on `tracewright`");
    caught("cli/Cargo.toml", "[dependencies]\ntracewright-ir = { path = \"../ir\" }\n", 2, "on `ir`");
    caught("Cargo.toml", "[dependencies]\ncodegen.workspace = true\n", 2, "on `codegen`");
    caught("runtime/Cargo.toml", "[dependencies]\ncranelift-jit = \"0.135\"\n", 2, "may depend on `cranelift`");
    caught("runtime/Cargo.toml", "[dependencies]\ncudarc = \"0.19\"\n", 2, "must be optional");
    caught("runtime/emulator/Cargo.toml", "[dependencies]\ncudarc = \"0.19\"\n", 2, "must be optional");
    caught("runtime/Cargo.toml", "[dependencies]\nemulator.workspace = true\n", 2, "on `emulator`");
    clean("runtime/Cargo.toml", "[dev-dependencies]\nemulator.workspace = true\n");
    clean("runtime/emulator/Cargo.toml", "[dev-dependencies]\ncudarc.workspace = true\n");
    clean("runtime/Cargo.toml", "[dependencies]\ncudarc = { version = \"0.19\", optional = true }\n");
    clean(
        "Cargo.toml",
        "[workspace.dependencies]\ncodegen = { path = \"codegen\" }\n[dependencies]\nir.workspace = true\n",
    );
    clean(
        "passes/Cargo.toml",
        "[package]\nname = \"tracewright-passes\"\n[dependencies]\n# codegen = 1\nir.workspace = true",
    );
}

#[test]
fn unsafe_environment_and_printing_are_caught() {
    caught("passes/src/cse.rs", "fn f() {\n    unsafe { g() }\n}", 2, "`unsafe` is for codegen and runtime");
    caught("ir/src/lib.rs", "//! Docs.\npub mod dim;", 1, "#![forbid(unsafe_code)]");
    caught("frontend/jit.rs", "let x = std::env::var(\"X\");", 1, "reads the environment");
    caught("runtime/src/pool.rs", "use std::env;\nfn f() { env::var_os(\"X\"); }", 2, "reads the environment");
    caught("passes/src/driver.rs", "fn f() { eprintln!(\"x\"); }", 1, "prints nothing");
    caught("codegen/src/cpu/mod.rs", "fn f() { std::io::stdout().lock(); }", 1, "prints nothing");
    clean("ir/src/lib.rs", "//! Docs.\n#![forbid(unsafe_code)]\npub mod dim;");
    clean("runtime/src/options.rs", "let x = std::env::var(\"X\");");
    clean("runtime/src/pool.rs", "fn f() { unsafe { g() } let d = std::env::temp_dir(); }");
    clean("passes/src/cse.rs", "#[cfg(test)]\nmod tests {\n    fn f() { println!(\"{}\", x); }\n}\nfn g() {}");
    clean("cli/src/main.rs", "#![forbid(unsafe_code)]\nfn main() { println!(\"x\"); }");
    caught("passes/src/cse.rs", "#[test]\nfn t() { println!(); }\nfn g() { println!(); }", 3, "prints nothing");
}

#[test]
fn a_pass_that_names_an_op_is_caught() {
    caught("passes/src/cse.rs", "fn f(p: &Primitive) {\n    matches!(p, Primitive::Full(_));\n}", 2, "not for `Full`");
    caught("passes/src/lower/mod.rs", "fn f() { ir::Primitive::Reshape(r); }", 1, "not for `Reshape`");
    clean("passes/src/fuse/mod.rs", "fn f() { ir::Primitive::Reshape(r); let p = Primitive::from(Full { value }); }");
    clean(
        "passes/src/cse.rs",
        "fn f() { Primitive::NAMES; }\n#[cfg(test)]\nmod tests { fn f() { Primitive::Full(x); } }",
    );
    clean("passes/tests/cse.rs", "fn f() { Primitive::Full(x); }");
}

/// Paths in code spans, and targets of links, of a page of documentation that lies at the root.
fn paths(page: &str) -> Vec<&str> {
    let text = page.split("```").step_by(2);
    let spans = text.clone().flat_map(|text| text.split('`').skip(1).step_by(2)).filter(|span| {
        let path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        span.chars().all(path) && (span.contains('/') || [".rs", ".toml", ".md"].iter().any(|end| span.ends_with(end)))
    });
    let links = text.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    spans.chain(links.filter(|link| !link.contains("://") && !link.starts_with('#'))).collect()
}

#[test]
fn every_path_in_the_documentation_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let paths = paths(&text);
        assert!(paths.len() >= 5, "{page}: {paths:?}");
        missing.extend(paths.iter().filter(|path| !root.join(path).exists()).map(|path| format!("{page}: {path}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
    let page = "`a/b.rs`, `x`, `f(a/b)`, [`c/`](c/src) [d](https://d.e) ```\n`f/g`\n``` `h.toml`";
    assert_eq!(paths(page), ["a/b.rs", "c/", "h.toml", "c/src"]);
}

#[test]
fn long_and_vague_files_are_caught() {
    caught("ir/src/dim.rs", &"\n".repeat(MAX_LINES + 1), MAX_LINES + 1, &format!("{} lines", MAX_LINES + 1));
    clean("ir/src/dim.rs", &"\n".repeat(MAX_LINES));
    caught("ir/src/utils.rs", "", 1, "says nothing");
    let missing = check(&[("ir/src/dim.rs", "")]);
    assert!(missing.iter().any(|what| what.starts_with("ir/src/lib.rs:1: the root of the crate `ir` is missing")));
}
