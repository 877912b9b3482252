//! What a compiled entry was made for, and the comparison of a call with it.
//!
//! In steady state a call is compared with the entry it used last, field by field, with no hashing and no allocation.

use crate::dispatch::here;
use crate::error::{Code, Error};
use crate::modes::Modes;
use crate::tensor::{Held, Repr, Tensor};
use crate::trace;
use crate::tree::{Fixed, Owned, Paths, Step, Visit};
use crate::view::View;
use ir::graph::SymbolDecl;
use ir::{DType, Dim, Shape, Symbol, Type};
use runtime::Array;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// An axis that is to stay symbolic.
#[derive(Clone, Debug)]
pub(crate) struct Dynamic {
    /// Path of the leaf, such as `arguments.1.0`.
    pub path: String,
    /// The axis.
    pub axis: usize,
    /// Name and bounds.
    pub symbol: SymbolDecl,
}

impl Dynamic {
    /// Names that text can hold, and one pair of bounds for each.
    fn check(all: &[Dynamic]) -> Result<(), Error> {
        for d in all {
            let name = d.symbol.symbol.name();
            if !Symbol::is_valid(name) {
                let legal = "ASCII letters, digits and `_`, no digit first; not `floordiv` or `mod`";
                let rule = format!("{name:?} is to be the name of a dimension");
                return Err(Error::new(Code::Argument, "call", rule, legal));
            }
            let first = all.iter().find(|o| o.symbol.symbol == d.symbol.symbol).expect("it is one of all");
            if first.symbol != d.symbol {
                let bounds = |d: &Dynamic| format!("{}..={} for {}", d.symbol.min, d.symbol.max, d.path);
                let rule = format!("{name} has the bounds {} and {}", bounds(first), bounds(d));
                return Err(Error::new(Code::Argument, "call", rule, format!("one pair of bounds for {name}")));
            }
        }
        Ok(())
    }
}

/// An extent of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    Known(usize),
    /// The symbol of that number.
    Symbol(usize),
}

/// One part of the arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    /// A tensor; `same` is the number of the first leaf over the same memory, its own number if it is that.
    Leaf {
        dtype: DType,
        extents: SmallVec<[Extent; 4]>,
        same: usize,
    },
    Fixed(Owned),
}

/// What an entry was made for.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub items: Vec<Item>,
    /// The path of each item.
    pub paths: Vec<String>,
    pub symbols: Vec<SymbolDecl>,
    /// True if the first argument is a state that the call may overwrite.
    pub donating: bool,
    /// Leading leaves that are donated.
    pub donated: usize,
    /// The settings in force.
    pub modes: Modes,
    distinct: usize,
}

impl Signature {
    /// The type of a leaf.
    pub fn ty(&self, item: &Item) -> Option<Type> {
        let Item::Leaf { dtype, extents, .. } = item else { return None };
        let shape: Shape = extents
            .iter()
            .map(|e| match e {
                Extent::Known(n) => Dim::from(*n),
                Extent::Symbol(k) => Dim::symbol(self.symbols[*k].symbol.name()),
            })
            .collect();
        Some(Type::new(*dtype, shape))
    }

    /// Types of the leaves, each with the number of the first leaf over the same memory.
    pub fn leaves(&self) -> Vec<(Type, usize)> {
        let leaf = |i: &Item| match i {
            Item::Leaf { same, .. } => Some((self.ty(i)?, *same)),
            Item::Fixed(_) => None,
        };
        self.items.iter().filter_map(leaf).collect()
    }

    /// Paths of the leaves.
    pub fn leaf_paths(&self) -> impl Iterator<Item = &str> {
        let leaves = self.items.iter().zip(&self.paths).filter(|(item, _)| matches!(item, Item::Leaf { .. }));
        leaves.map(|(_, path)| path.as_str())
    }

    /// Number of differences to another, and the first in words.
    pub fn difference(&self, now: &Signature) -> (usize, String) {
        let mut count = self.items.len().abs_diff(now.items.len());
        let mut first = None;
        if self.donating != now.donating {
            count += 1;
            first = Some("state is donated in one of them only".to_string());
        }
        if self.modes != now.modes {
            count += 1;
            first.get_or_insert_with(|| match (self.modes.device(), now.modes.device()) {
                (a, b) if a != b => format!("it ran on {a} and is to run on {b}"),
                _ => "the options are others".into(),
            });
        }
        for (i, (a, b)) in self.items.iter().zip(&now.items).enumerate() {
            if a != b || self.paths[i] != now.paths[i] {
                count += 1;
                first.get_or_insert_with(|| {
                    let path = &now.paths[i];
                    match (self.show(a), now.show(b)) {
                        (x, y) if x != y => format!("{path} was {x} and is {y}"),
                        (x, _) if matches!(a, Item::Fixed(_)) => format!("{path} is {x} than before"),
                        _ => format!("{path} shares its memory with other leaves than before"),
                    }
                });
            }
        }
        (count, first.unwrap_or_else(|| "the arguments have another number of parts".into()))
    }

    fn show(&self, item: &Item) -> String {
        match item {
            Item::Leaf { .. } => self.ty(item).map(|t| t.to_string()).unwrap_or_default(),
            Item::Fixed(f) => f.to_string(),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.items.iter().map(|i| self.show(i)).collect();
        write!(f, "({})", all.join(", "))
    }
}

/// What leaves share if they are one tensor: memory, and the place on the tape if they have one.
fn place(tensor: &Tensor, array: &Array) -> usize {
    match tensor.tracked() {
        Some(t) => address(t),
        None => array.address() as usize,
    }
}

/// A view that no elements have been asked of, with its extents: what is traced for its type is not run. It has no memory that
/// another leaf could share.
fn waiting(tensor: &Tensor) -> Option<(&Arc<View>, SmallVec<[usize; 4]>)> {
    match &tensor.plain().0 {
        Repr::View(view) if view.is_waiting() => Some((view, view.shape.known()?)),
        _ => None,
    }
}

fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared) as usize
}

/// Compares a call with a signature.
pub(crate) struct Matcher<'a> {
    signature: &'a Signature,
    at: usize,
    fits: bool,
    identities: SmallVec<[usize; 16]>,
    values: SmallVec<[usize; 4]>,
}

impl<'a> Matcher<'a> {
    pub fn new(signature: &'a Signature) -> Matcher<'a> {
        let values = SmallVec::from_elem(usize::MAX, signature.symbols.len());
        Matcher { signature, at: 0, fits: true, identities: SmallVec::new(), values }
    }

    fn next(&mut self) -> Option<&'a Item> {
        let item = self.signature.items.get(self.at);
        self.at += 1;
        item
    }

    fn leaf_fits(&mut self, tensor: &Tensor) -> bool {
        let (Some(Item::Leaf { dtype, extents, same }), Held::Array(a)) = (self.next(), tensor.held()) else {
            return false;
        };
        let identity = place(tensor, a);
        let tied = if *same == self.identities.len() { true } else { self.identities[*same] == identity };
        self.identities.push(identity);
        if !tied || a.dtype() != *dtype || a.dims().len() != extents.len() {
            return false;
        }
        a.dims().iter().zip(extents).all(|(&n, e)| match e {
            Extent::Known(m) => n == *m,
            Extent::Symbol(k) => {
                let (value, bounds) = (&mut self.values[*k], &self.signature.symbols[*k]);
                if *value == usize::MAX {
                    *value = n;
                }
                *value == n && (bounds.min..=bounds.max).contains(&(n as i64))
            }
        })
    }

    /// True if everything fitted.
    pub fn finish(mut self) -> bool {
        self.fits && self.at == self.signature.items.len() && self.distinct() == self.signature.distinct
    }

    fn distinct(&mut self) -> usize {
        let ids = &mut self.identities;
        if ids.len() <= 12 {
            return (0..ids.len()).filter(|&i| !ids[..i].contains(&ids[i])).count();
        }
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

impl Visit for Matcher<'_> {
    fn leaf(&mut self, tensor: &Tensor) {
        self.fits = self.fits && self.leaf_fits(tensor);
    }
    fn fixed(&mut self, value: Fixed<'_>) {
        self.fits = self.fits && matches!(self.next(), Some(Item::Fixed(f)) if f.is(value));
    }
}

/// Works out the signature of a call, with everything that can be wrong with its arguments.
pub(crate) struct Describe<'a> {
    dynamic: &'a [Dynamic],
    used: Vec<bool>,
    paths: Paths,
    identities: Vec<usize>,
    values: Vec<Option<(usize, String)>>,
    leaf_paths: Vec<String>,
    signature: Signature,
    error: Option<Error>,
}

impl<'a> Describe<'a> {
    /// `donated` is the number of leaves of a state that the call may overwrite.
    pub fn new(dynamic: &'a [Dynamic], donated: Option<usize>, modes: Modes) -> Describe<'a> {
        let mut symbols: Vec<SymbolDecl> = Vec::new();
        for d in dynamic {
            if !symbols.iter().any(|s| s.symbol == d.symbol.symbol) {
                symbols.push(d.symbol.clone());
            }
        }
        let error = Dynamic::check(dynamic).err();
        Describe {
            used: vec![false; dynamic.len()],
            dynamic,
            paths: Paths::at("arguments"),
            identities: Vec::new(),
            values: vec![None; symbols.len()],
            leaf_paths: Vec::new(),
            signature: Signature {
                items: Vec::new(),
                paths: Vec::new(),
                symbols,
                donating: donated.is_some(),
                donated: donated.unwrap_or(0),
                modes,
                distinct: 0,
            },
            error,
        }
    }

    fn describe(&mut self, tensor: &Tensor) -> Result<Item, Error> {
        let path = self.paths.text().to_string();
        let (dtype, dims, identity) = match waiting(tensor) {
            Some((view, dims)) => (view.dtype, dims, tensor.tracked().map_or(address(view), address)),
            None => match tensor.held() {
                Held::Array(a) => (a.dtype(), SmallVec::from_slice(a.dims()), place(tensor, a)),
                Held::Error(e) => return Err(e),
                Held::Traced(t) => {
                    return Err(trace::ended("call", t).with_operands([format!("{path}: {}", t.ty)]));
                }
            },
        };
        let mut extents: SmallVec<[Extent; 4]> = dims.iter().map(|&n| Extent::Known(n)).collect();
        for (i, d) in self.dynamic.iter().enumerate().filter(|(_, d)| d.path == path) {
            self.used[i] = true;
            let Some(extent) = extents.get_mut(d.axis) else {
                let rule = format!("axis {} of {path} is to be dynamic, but its rank is {}", d.axis, dims.len());
                return Err(Error::new(Code::Axis, "call", rule, "an axis of the tensor"));
            };
            let n = dims[d.axis];
            let symbols = &self.signature.symbols;
            let k = symbols.iter().position(|s| s.symbol == d.symbol.symbol).expect("every symbol is declared");
            let (name, bounds) = (&d.symbol.symbol, &d.symbol);
            if !(bounds.min..=bounds.max).contains(&(n as i64)) {
                let rule = format!("{name} is {n} in axis {} of {path}", d.axis);
                let legal = format!("{name} in {}..={}", bounds.min, bounds.max);
                return Err(Error::new(Code::Shape, "call", rule, legal));
            }
            match &self.values[k] {
                Some((m, other)) if *m != n => {
                    let rule = format!("{name} is {m} in {other} and {n} in {path}");
                    return Err(Error::new(Code::Shape, "call", rule, format!("one value for {name}")));
                }
                _ => self.values[k] = Some((n, path.clone())),
            }
            *extent = Extent::Symbol(k);
        }
        let here = self.identities.len();
        let same = self.identities.iter().position(|&i| i == identity).unwrap_or(here);
        self.identities.push(identity);
        self.signature.distinct += (same == here) as usize;
        self.leaf_paths.push(path);
        Ok(Item::Leaf { dtype, extents, same })
    }

    /// The signature, and the value of each symbol that the arguments bind.
    pub fn finish(self) -> Result<(Signature, Vec<(Symbol, i64)>), Error> {
        self.result().map_err(|e| if e.location().is_some() { e } else { e.at(here()) })
    }

    fn result(self) -> Result<(Signature, Vec<(Symbol, i64)>), Error> {
        if let Some(e) = self.error {
            return Err(e);
        }
        if let Some(i) = self.used.iter().position(|u| !u) {
            let rule = format!("no leaf has the path `{}` that is to be dynamic", self.dynamic[i].path);
            let legal = format!("one of {}", self.leaf_paths.join(", "));
            return Err(Error::new(Code::Argument, "call", rule, legal));
        }
        let mut symbols = Vec::new();
        for (decl, value) in self.signature.symbols.iter().zip(&self.values) {
            if let Some((n, _)) = value {
                symbols.push((decl.symbol.clone(), *n as i64));
            }
        }
        Ok((self.signature, symbols))
    }
}

impl Visit for Describe<'_> {
    fn leaf(&mut self, tensor: &Tensor) {
        match self.describe(tensor) {
            Ok(item) => {
                self.signature.items.push(item);
                self.signature.paths.push(self.paths.text().into());
            }
            Err(e) => {
                self.error.get_or_insert(e);
            }
        }
    }
    fn fixed(&mut self, value: Fixed<'_>) {
        self.signature.items.push(Item::Fixed(Owned::of(value)));
        self.signature.paths.push(self.paths.text().into());
    }
    fn enter(&mut self, step: Step<'_>) {
        self.paths.enter(step);
    }
    fn exit(&mut self) {
        self.paths.exit();
    }
}
