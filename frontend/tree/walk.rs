//! What a walk over a tree shows.

use crate::cell::Buffer;
use crate::tensor::Tensor;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Receives the parts of a tree.
pub trait Visit {
    /// A tensor.
    fn leaf(&mut self, tensor: &Tensor);
    /// Fixed data, or what shapes the tree: a length, a variant.
    fn fixed(&mut self, value: Fixed<'_>);
    /// A cell, which is fixed data unless this says otherwise.
    fn cell(&mut self, cell: &Buffer) {
        self.fixed(Fixed::Cell(cell.id()));
    }
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

/// Fixed data of any type, compared with `==`.
pub trait Data: Any + Send + Sync {
    /// True if the other is of the same type and equal.
    fn same(&self, other: &dyn Data) -> bool;
    /// A copy to keep.
    fn keep(&self) -> Arc<dyn Data>;
}

impl<T: Eq + Clone + Send + Sync + 'static> Data for T {
    fn same(&self, other: &dyn Data) -> bool {
        (other as &dyn Any).downcast_ref::<T>() == Some(self)
    }
    fn keep(&self) -> Arc<dyn Data> {
        Arc::new(self.clone())
    }
}

impl PartialEq for dyn Data {
    fn eq(&self, other: &dyn Data) -> bool {
        self.same(other)
    }
}
impl Eq for dyn Data {}
impl fmt::Debug for dyn Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data")
    }
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
    /// Data marked `#[tree(fixed)]`.
    Data(&'a (dyn Data + 'static)),
    /// The identity of a cell.
    Cell(u64),
}

impl fmt::Display for Fixed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fixed::Bool(x) => write!(f, "{x}"),
            Fixed::Int(x) => write!(f, "{x}"),
            Fixed::Float(x) => write!(f, "{:?}", f64::from_bits(*x)),
            Fixed::Text(x) => write!(f, "{x:?}"),
            Fixed::Variant(x) => f.write_str(x),
            Fixed::Length(1) => f.write_str("1 entry"),
            Fixed::Length(x) => write!(f, "{x} entries"),
            Fixed::Data(_) => f.write_str("other fixed data"),
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

/// A tensor of a tree that has a name: a leaf, or what a cell holds.
#[derive(Clone)]
pub(crate) enum Named {
    Leaf(Tensor),
    Cell(Buffer),
}

impl Named {
    /// The tensor.
    pub fn tensor(&self) -> Tensor {
        match self {
            Named::Leaf(t) => t.clone(),
            Named::Cell(cell) => cell.get(),
        }
    }
}

/// The leaves and cells of a walk with their paths below `root`; each cell once, at its first place.
pub(crate) fn named(walk: &dyn Fn(&mut dyn Visit), root: &str) -> Vec<(String, Named)> {
    struct Collect(Paths, Vec<(String, Named)>, Vec<u64>);
    impl Visit for Collect {
        fn leaf(&mut self, t: &Tensor) {
            self.1.push((self.0.text().to_string(), Named::Leaf(t.clone())));
        }
        fn fixed(&mut self, _: Fixed<'_>) {}
        fn cell(&mut self, cell: &Buffer) {
            if !self.2.contains(&cell.id()) {
                self.2.push(cell.id());
                self.1.push((self.0.text().to_string(), Named::Cell(cell.clone())));
            }
        }
        fn enter(&mut self, step: Step<'_>) {
            self.0.enter(step);
        }
        fn exit(&mut self) {
            self.0.exit();
        }
    }
    let mut c = Collect(Paths::at(root), Vec::new(), Vec::new());
    walk(&mut c);
    c.1
}
