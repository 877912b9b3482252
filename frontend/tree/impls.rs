//! Trees of the standard library.

use super::{Fixed, Step, Tree, Visit};
use crate::cell::Buffer;
use crate::tensor::Tensor;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::sync::Arc;

impl Tree for Tensor {
    fn visit(&self, v: &mut dyn Visit) {
        v.leaf(self);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        f(self);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        f(self)
    }
    fn of_type(leaf: &mut dyn FnMut() -> Tensor) -> Option<Self> {
        Some(leaf())
    }
}

/// A cell is no leaf: which cell it is, is fixed, and its value goes in and out by itself.
impl Tree for Buffer {
    fn visit(&self, v: &mut dyn Visit) {
        v.cell(self);
    }
    fn visit_mut(&mut self, _: &mut dyn FnMut(&mut Tensor)) {}
    fn map(&self, _: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        self.clone()
    }
}

macro_rules! fixed {
    ($($t:ty: $x:ident => $fixed:expr;)*) => { $(
        impl Tree for $t {
            fn visit(&self, v: &mut dyn Visit) {
                let $x = self;
                v.fixed($fixed);
            }
            fn visit_mut(&mut self, _: &mut dyn FnMut(&mut Tensor)) {}
            fn map(&self, _: &mut dyn FnMut(&Tensor) -> Tensor) -> Self { self.clone() }
        }
    )* };
}
fixed! {
    bool: x => Fixed::Bool(*x);
    u8: x => Fixed::Int(*x as i128);
    u16: x => Fixed::Int(*x as i128);
    u32: x => Fixed::Int(*x as i128);
    u64: x => Fixed::Int(*x as i128);
    usize: x => Fixed::Int(*x as i128);
    i8: x => Fixed::Int(*x as i128);
    i16: x => Fixed::Int(*x as i128);
    i32: x => Fixed::Int(*x as i128);
    i64: x => Fixed::Int(*x as i128);
    isize: x => Fixed::Int(*x as i128);
    f32: x => Fixed::Float((*x as f64).to_bits());
    f64: x => Fixed::Float(x.to_bits());
    char: x => Fixed::Int(*x as i128);
    String: x => Fixed::Text(x);
    &'static str: x => Fixed::Text(x);
    Arc<str>: x => Fixed::Text(x);
    ir::DType: x => Fixed::Variant(x.name());
    crate::Device: x => Fixed::Data(x);
}

impl<T: Send + Sync + 'static> Tree for PhantomData<T> {
    fn visit(&self, _: &mut dyn Visit) {}
    fn visit_mut(&mut self, _: &mut dyn FnMut(&mut Tensor)) {}
    fn map(&self, _: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        PhantomData
    }
    fn of_type(_: &mut dyn FnMut() -> Tensor) -> Option<Self> {
        Some(PhantomData)
    }
}

fn each<'a, T: Tree>(items: impl Iterator<Item = &'a T>, v: &mut dyn Visit) {
    for (i, t) in items.enumerate() {
        v.enter(Step::Index(i));
        t.visit(v);
        v.exit();
    }
}

impl<T: Tree> Tree for Vec<T> {
    fn visit(&self, v: &mut dyn Visit) {
        v.fixed(Fixed::Length(self.len()));
        each(self.iter(), v);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        self.iter_mut().for_each(|t| t.visit_mut(f));
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        self.iter().map(|t| t.map(f)).collect()
    }
}

impl<T: Tree, const N: usize> Tree for [T; N] {
    fn visit(&self, v: &mut dyn Visit) {
        each(self.iter(), v);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        self.iter_mut().for_each(|t| t.visit_mut(f));
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        std::array::from_fn(|i| self[i].map(f))
    }
    fn of_type(leaf: &mut dyn FnMut() -> Tensor) -> Option<Self> {
        let items: Vec<T> = (0..N).map(|_| T::of_type(leaf)).collect::<Option<_>>()?;
        items.try_into().ok()
    }
}

impl<T: Tree> Tree for Box<T> {
    fn visit(&self, v: &mut dyn Visit) {
        (**self).visit(v);
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        (**self).visit_mut(f);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        Box::new((**self).map(f))
    }
    fn of_type(leaf: &mut dyn FnMut() -> Tensor) -> Option<Self> {
        T::of_type(leaf).map(Box::new)
    }
}

impl<T: Tree> Tree for Option<T> {
    fn visit(&self, v: &mut dyn Visit) {
        v.fixed(Fixed::Variant(if self.is_some() { "Some" } else { "None" }));
        if let Some(t) = self {
            t.visit(v);
        }
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        if let Some(t) = self {
            t.visit_mut(f);
        }
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        self.as_ref().map(|t| t.map(f))
    }
}

fn entry<T: Tree>(key: &str, value: &T, v: &mut dyn Visit) {
    v.fixed(Fixed::Text(key));
    v.enter(Step::Key(key));
    value.visit(v);
    v.exit();
}

impl<K, T> Tree for BTreeMap<K, T>
where
    K: Ord + Clone + AsRef<str> + Send + Sync + 'static,
    T: Tree,
{
    fn visit(&self, v: &mut dyn Visit) {
        v.fixed(Fixed::Length(self.len()));
        self.iter().for_each(|(k, t)| entry(k.as_ref(), t, v));
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        self.values_mut().for_each(|t| t.visit_mut(f));
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        self.iter().map(|(k, t)| (k.clone(), t.map(f))).collect()
    }
}

impl<K, T, S> Tree for HashMap<K, T, S>
where
    K: Ord + Hash + Clone + AsRef<str> + Send + Sync + 'static,
    T: Tree,
    S: BuildHasher + Default + Send + Sync + 'static,
{
    fn visit(&self, v: &mut dyn Visit) {
        v.fixed(Fixed::Length(self.len()));
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(k, _)| *k);
        entries.into_iter().for_each(|(k, t)| entry(k.as_ref(), t, v));
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        let mut entries: Vec<_> = self.iter_mut().collect();
        entries.sort_by(|a, b| a.0.cmp(b.0));
        entries.into_iter().for_each(|(_, t)| t.visit_mut(f));
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(k, _)| *k);
        entries.into_iter().map(|(k, t)| (k.clone(), t.map(f))).collect()
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),*))*) => { $(
        impl<$($t: Tree),*> Tree for ($($t,)*) {
            fn visit(&self, _v: &mut dyn Visit) {
                $(_v.enter(Step::Index($i)); self.$i.visit(_v); _v.exit();)*
            }
            fn visit_mut(&mut self, _f: &mut dyn FnMut(&mut Tensor)) {
                $(self.$i.visit_mut(_f);)*
            }
            #[allow(clippy::unused_unit, reason = "the empty tuple is one of these")]
            fn map(&self, _f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
                ($(self.$i.map(_f),)*)
            }
            fn of_type(_leaf: &mut dyn FnMut() -> Tensor) -> Option<Self> {
                Some(($($t::of_type(_leaf)?,)*))
            }
        }
    )* };
}
tuples! {
    ()
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}
