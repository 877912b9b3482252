//! What a tree is besides its leaves.

use super::{Data, Fixed, Paths, Step, Tree, Visit};
use crate::tensor::Tensor;
use std::fmt;
use std::sync::Arc;

/// Fixed data, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owned {
    Text(String),
    Data(Arc<dyn Data>),
    Other(Fixed<'static>),
}

impl Owned {
    pub fn of(f: Fixed<'_>) -> Owned {
        match f {
            Fixed::Text(t) => Owned::Text(t.into()),
            Fixed::Bool(x) => Owned::Other(Fixed::Bool(x)),
            Fixed::Int(x) => Owned::Other(Fixed::Int(x)),
            Fixed::Float(x) => Owned::Other(Fixed::Float(x)),
            Fixed::Variant(x) => Owned::Other(Fixed::Variant(x)),
            Fixed::Length(x) => Owned::Other(Fixed::Length(x)),
            Fixed::Data(x) => Owned::Data(x.keep()),
            Fixed::Cell(x) => Owned::Other(Fixed::Cell(x)),
        }
    }
    pub fn is(&self, f: Fixed<'_>) -> bool {
        match (self, f) {
            (Owned::Text(a), Fixed::Text(b)) => a == b,
            (Owned::Data(a), Fixed::Data(b)) => **a == *b,
            (Owned::Other(a), b) => *a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owned::Text(t) => write!(f, "{t:?}"),
            Owned::Data(x) => Fixed::Data(&**x).fmt(f),
            Owned::Other(x) => x.fmt(f),
        }
    }
}

/// The parts of a tree with their paths: its fixed data, and `None` for each leaf.
pub(crate) struct Skeleton(pub Vec<(String, Option<Owned>)>, Paths);

impl Skeleton {
    /// Paths begin with `root`.
    pub fn of<R: Tree>(root: &str, tree: &R) -> Skeleton {
        let mut s = Skeleton(Vec::new(), Paths::at(root));
        tree.visit(&mut s);
        s
    }

    /// The first part in which another differs: its path, and what it is in each.
    pub fn difference(&self, other: &Skeleton) -> Option<(String, [String; 2])> {
        let show = |part: Option<&(String, Option<Owned>)>| match part {
            None => "missing".into(),
            Some((_, None)) => "a tensor".into(),
            Some((_, Some(fixed))) => fixed.to_string(),
        };
        let at = |i: usize| (self.0.get(i), other.0.get(i));
        let i = (0..self.0.len().max(other.0.len())).find(|&i| at(i).0 != at(i).1)?;
        let (a, b) = at(i);
        let path = a.or(b).map(|(path, _)| path.clone()).unwrap_or_default();
        // A part with another path is another part.
        let b = b.filter(|(other, _)| *other == path);
        Some((path, [show(a), show(b)]))
    }
}

impl Visit for Skeleton {
    fn leaf(&mut self, _: &Tensor) {
        self.0.push((self.1.text().into(), None));
    }
    fn fixed(&mut self, value: Fixed<'_>) {
        self.0.push((self.1.text().into(), Some(Owned::of(value))));
    }
    fn enter(&mut self, step: Step<'_>) {
        self.1.enter(step);
    }
    fn exit(&mut self) {
        self.1.exit();
    }
}
