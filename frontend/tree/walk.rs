//! What a walk over a tree shows.

use crate::tensor::Tensor;

/// Receives the parts of a tree.
pub trait Visit {
    /// A tensor.
    fn leaf(&mut self, tensor: &Tensor);
    /// Fixed data, or what shapes the tree: a length, a variant.
    fn fixed(&mut self, value: Fixed<'_>);
    /// Goes into a part.
    fn enter(&mut self, _step: Step<'_>) {}
    /// Leaves that part.
    fn exit(&mut self) {}
}

/// Which part of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// A field.
    Field(&'static str),
    /// A position.
    Index(usize),
    /// A key of a map.
    Key(&'a str),
}

/// Fixed data. Floats compare by bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fixed<'a> {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// The bits of an f64.
    Float(u64),
    /// Text.
    Text(&'a str),
    /// The name of an enum's variant.
    Variant(&'static str),
    /// The length of a list or map.
    Length(usize),
    /// A hash of data marked `#[tree(fixed)]`.
    Hash(u64),
    /// The identity of a cell.
    Cell(u64),
}

impl Fixed<'_> {
    /// Of any data that hashes.
    pub fn hash_of<T: std::hash::Hash>(value: &T) -> Fixed<'static> {
        use std::hash::{DefaultHasher, Hasher};
        let mut h = DefaultHasher::new();
        value.hash(&mut h);
        Fixed::Hash(h.finish())
    }
}

impl std::fmt::Display for Fixed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fixed::Bool(x) => write!(f, "{x}"),
            Fixed::Int(x) => write!(f, "{x}"),
            Fixed::Float(x) => write!(f, "{:?}", f64::from_bits(*x)),
            Fixed::Text(x) => write!(f, "{x:?}"),
            Fixed::Variant(x) => f.write_str(x),
            Fixed::Length(1) => f.write_str("1 entry"),
            Fixed::Length(x) => write!(f, "{x} entries"),
            Fixed::Hash(_) => f.write_str("other fixed data"),
            Fixed::Cell(x) => write!(f, "cell {x}"),
        }
    }
}

/// Keeps the path of a walk as text.
#[derive(Default)]
pub(crate) struct Paths {
    path: String,
    lengths: Vec<usize>,
}

impl Paths {
    pub fn at(root: &str) -> Paths {
        Paths { path: root.into(), lengths: Vec::new() }
    }
    pub fn enter(&mut self, step: Step<'_>) {
        use std::fmt::Write;
        self.lengths.push(self.path.len());
        if !self.path.is_empty() {
            self.path.push('.');
        }
        match step {
            Step::Field(name) => self.path.push_str(name),
            Step::Index(i) => write!(self.path, "{i}").expect("writing to a string"),
            Step::Key(k) => self.path.push_str(k),
        }
    }
    pub fn exit(&mut self) {
        let length = self.lengths.pop().unwrap_or(0);
        self.path.truncate(length);
    }
    pub fn text(&self) -> &str {
        &self.path
    }
}

/// The leaves of a walk with their paths below `root`.
pub(crate) fn leaves(walk: &dyn Fn(&mut dyn Visit), root: &str) -> Vec<(String, Tensor)> {
    struct Collect(Paths, Vec<(String, Tensor)>);
    impl Visit for Collect {
        fn leaf(&mut self, t: &Tensor) {
            self.1.push((self.0.text().to_string(), t.clone()));
        }
        fn fixed(&mut self, _: Fixed<'_>) {}
        fn enter(&mut self, step: Step<'_>) {
            self.0.enter(step);
        }
        fn exit(&mut self) {
            self.0.exit();
        }
    }
    let mut c = Collect(Paths::at(root), Vec::new());
    walk(&mut c);
    c.1
}
