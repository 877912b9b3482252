//! The sections on functions: what the frontend's sources declare public, with the first paragraph of its documentation.
//!
//! Sources are read line by line and are taken to be formatted. A name counts if the crate, or one of its public modules,
//! exports it.

use crate::primitives::plain;
use crate::root;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

pub const INTRODUCTION: &str = "\
Methods of `Tensor`, free functions, layers, losses, optimisers and random numbers, by the file that has them. Transforms and \
control flow are on [a page of their own](transforms.md). Each is recorded under a scope of its name, runs eager or \
compiled, and has the gradients and fusion of the primitives that it is made of.
";

/// A public function or type.
pub struct Item {
    /// `Tensor::sum`, `nn::linear`, `concat`.
    pub path: String,
    /// As in the source.
    signature: String,
    doc: String,
}

/// What one file declares.
pub struct Source {
    title: String,
    pub items: Vec<Item>,
    /// Traits of the standard library that it implements for tensors.
    pub operators: Vec<String>,
}

/// Title and text of each file.
pub fn sections() -> Vec<(String, String)> {
    let section = |source: Source| {
        let mut text: String = source.items.iter().map(|i| format!("- `{}`: {}\n", i.signature, i.doc)).collect();
        if !source.operators.is_empty() {
            let names: Vec<String> = source.operators.iter().map(|name| format!("`{name}`")).collect();
            text += &format!("- Implements {} of `std::ops` for tensors.\n", names.join(", "));
        }
        (source.title, text)
    };
    let named = |s: &Source| !s.items.is_empty() || !s.operators.is_empty();
    sources().into_iter().filter(named).map(section).collect()
}

/// The files of the frontend that declare functions of tensors.
pub fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for place in ["ops", "create.rs", "random", "nn", "optim", "signal.rs"] {
        collect(&root().join("frontend").join(place), &mut files);
    }
    files.sort();
    files.iter().map(|path| read_file(path)).collect()
}

/// One file of the frontend.
pub fn source(path: &str) -> Source {
    read_file(&root().join("frontend").join(path))
}

fn read_file(path: &Path) -> Source {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let folder = path.strip_prefix(root().join("frontend")).unwrap();
    let module = ["nn", "optim", "random"].into_iter().find(|m| folder.starts_with(m));
    let text = read(path);
    let exporter = module.map_or("frontend/lib.rs".into(), |m| format!("frontend/{m}/mod.rs"));
    let mut exported = exported(&read(&root().join(exporter)));
    let mut prefix = module.map_or(String::new(), |m| format!("{m}::"));
    // A public module that is one file exports what it declares.
    let file = folder.file_stem().and_then(|f| f.to_str()).expect("the name of a file");
    let library = read(&root().join("frontend/lib.rs"));
    if library.contains(&format!("pub mod {file};")) && folder.components().count() == 1 {
        prefix = format!("{file}::");
        exported
            .extend(text.lines().filter_map(|l| l.strip_prefix("pub fn ")?.split(['(', '<']).next()).map(String::from));
    }
    Reader { exported, prefix, macros: HashMap::new() }.read(&text)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.extension().is_some_and(|e| e == "rs") && path.exists() {
        files.push(path.to_path_buf());
    }
}

/// The names in `pub use` statements.
fn exported(text: &str) -> BTreeSet<String> {
    let statements = text.split("pub use ").skip(1).filter_map(|s| s.split(';').next());
    let words = statements.flat_map(|s| s.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|w| !w.is_empty()).map(String::from).collect()
}

/// What a macro makes of an entry.
#[derive(Clone)]
enum Macro {
    /// A method of `Tensor`; the signature has `$method` for the name.
    Method(String),
    /// A free function; the signature has `$name` for the name.
    Function(String),
    /// A type with methods; their text has `$name` for its name.
    Type(String),
    /// An implementation of a trait.
    Operator,
}

struct Reader {
    exported: BTreeSet<String>,
    prefix: String,
    macros: HashMap<String, Macro>,
}

impl Reader {
    fn read(&mut self, text: &str) -> Source {
        let title = text.lines().take_while(|l| l.starts_with("//!")).map(|l| l[3..].trim());
        let title: Vec<&str> = title.take_while(|l| !l.is_empty()).collect();
        let title = title.join(" ") + " ";
        let ends = [". ", ": ", "; "].iter().filter_map(|end| title.find(end)).min();
        let title = title[..ends.unwrap_or(title.len())].trim();
        let mut source = Source { title: plain(title), items: Vec::new(), operators: Vec::new() };
        let lines: Vec<&str> = text.lines().collect();
        let (mut doc, mut owner, mut of_macro) = (Vec::new(), String::new(), None);
        let mut i = 0;
        while i < lines.len() {
            let (line, words) = (lines[i], lines[i].trim());
            if let Some(name) = line.strip_prefix("macro_rules! ") {
                let end = i + lines[i..].iter().position(|l| *l == "}").expect("the end of a macro");
                self.declare(name.trim_end_matches(" {"), &lines[i..end].join("\n"));
                i = end;
            } else if let Some(rest) = words.strip_prefix("///") {
                doc.push(rest.trim());
                i += 1;
                continue;
            } else if words.starts_with("#[") {
                i += 1;
                continue;
            } else if line == "}" {
                (owner, of_macro) = (String::new(), None);
            } else if let Some(of) = line.strip_prefix("impl ") {
                owner = of.split([' ', '<']).next().unwrap_or_default().to_string();
                if of.contains(" for ") || !self.exported.contains(&owner) {
                    owner.clear();
                }
            } else if let Some(name) = line.strip_suffix("! {") {
                of_macro = self.macros.get(name).cloned();
            } else if let Some(of) = of_macro.clone() {
                let entry = line.strip_prefix("    ").filter(|l| l.starts_with(char::is_alphabetic));
                let name =
                    entry.map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
                match (&of, name) {
                    (Macro::Operator, Some(name)) => source.operators.push(name.into()),
                    (Macro::Method(signature), Some(name)) if !doc.is_empty() => {
                        let signature = signature.replace("$method", name);
                        source.items.push(self.item("Tensor", name, &signature, &doc));
                    }
                    (Macro::Function(signature), Some(name)) if !doc.is_empty() => {
                        let signature = signature.replace("$name", name);
                        source.items.push(self.item("", name, &signature, &doc));
                    }
                    (Macro::Type(methods), Some(name)) if !doc.is_empty() => {
                        source.items.push(self.item("", name, name, &doc));
                        let methods = self.read(&methods.replace("$name", name));
                        source.items.extend(methods.items);
                    }
                    _ => {}
                }
            } else if let Some(rest) = words.strip_prefix("pub fn ") {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                let method = line.starts_with("    ") && !owner.is_empty();
                if method || (!line.starts_with(' ') && self.exported.contains(name)) {
                    let end = i + lines[i..].iter().position(|l| l.ends_with('{')).expect("the body of a function");
                    let signature = signature(&lines[i..=end].join(" "));
                    source.items.push(self.item(if method { &owner } else { "" }, name, &signature, &doc));
                }
            } else if let Some(rest) = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum ")) {
                let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                if self.exported.contains(name) {
                    source.items.push(self.item("", name, name, &doc));
                }
            }
            doc.clear();
            i += 1;
        }
        source
    }

    fn declare(&mut self, name: &str, body: &str) {
        let method = body.lines().map(str::trim).find(|l| l.starts_with("pub fn $method("));
        let free = body.lines().map(str::trim).find(|l| l.starts_with("pub fn $name("));
        if let Some(line) = method.filter(|_| body.contains("impl Tensor")) {
            self.macros.insert(name.into(), Macro::Method(signature(line)));
        } else if let Some(line) = free {
            self.macros.insert(name.into(), Macro::Function(signature(line)));
        } else if let Some((_, methods)) = body.split_once("\n        impl $name {") {
            let methods: Vec<&str> = methods.lines().map(|l| l.strip_prefix("        ").unwrap_or(l)).collect();
            self.macros.insert(name.into(), Macro::Type(format!("impl $name {{{}", methods.join("\n"))));
        } else if body.contains("> $trait") || body.contains("impl $trait") {
            self.macros.insert(name.into(), Macro::Operator);
        }
    }

    fn item(&self, owner: &str, name: &str, signature: &str, doc: &[&str]) -> Item {
        assert!(!doc.is_empty(), "`{name}` has no documentation");
        let owner = if owner.is_empty() { self.prefix.clone() } else { format!("{}{owner}::", self.prefix) };
        let paragraph: Vec<&str> = doc.iter().copied().take_while(|l| !l.is_empty()).collect();
        let path = format!("{owner}{name}");
        Item { signature: format!("{owner}{signature}"), path, doc: plain(&paragraph.join(" ")) }
    }
}

/// Name, parameters and result on one line.
fn signature(declaration: &str) -> String {
    let words: Vec<&str> = declaration.split_whitespace().collect();
    let text = words.join(" ").replace("( ", "(").replace(", )", ")");
    text.trim_start_matches("pub fn ").replace("(mut self", "(self").trim_end_matches('{').trim_end().to_string()
}

#[test]
fn sources_are_read_as_they_are_written() {
    let text = "//! Things, see [`a::b`]: many.\n\
        /// A type.\n/// More of it.\n///\n/// Not this.\n#[derive(Clone)]\npub struct Shown;\n\
        /// Hidden.\npub struct Hidden;\n\
        macro_rules! methods {\n    () => {\n        impl Tensor { $(\n            pub fn $method(&self) -> Tensor {\n    }\n}\n\
        methods! {\n    /// Made, see [`Tensor::abs`].\n    made: Float => x;\n}\n\
        impl Shown {\n    /// A method.\n    #[track_caller]\n    pub fn long<T>(\n        &self,\n        x: T,\n    ) -> Tensor {\n    }\n}\n\
        impl Hidden {\n    /// No.\n    pub fn no() {\n    }\n}\n\
        impl Add for Shown {\n}\n\
        /// A function.\npub fn free(x: &Tensor) -> Tensor {\n}\n\
        /// Internal.\npub fn inner() {\n}\n";
    let exported = exported("pub use a::{Shown, free};\npub use b::c;\nuse d::Hidden;");
    let source = Reader { exported, prefix: "nn::".into(), macros: HashMap::new() }.read(text);
    assert_eq!(source.title, "Things, see `a::b`");
    let items: Vec<(&str, &str, &str)> =
        source.items.iter().map(|i| (i.path.as_str(), i.signature.as_str(), i.doc.as_str())).collect();
    assert_eq!(
        items,
        [
            ("nn::Shown", "nn::Shown", "A type. More of it."),
            ("nn::Tensor::made", "nn::Tensor::made(&self) -> Tensor", "Made, see `Tensor::abs`."),
            ("nn::Shown::long", "nn::Shown::long<T>(&self, x: T) -> Tensor", "A method."),
            ("nn::free", "nn::free(x: &Tensor) -> Tensor", "A function."),
        ]
    );
}
