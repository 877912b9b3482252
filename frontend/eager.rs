//! Eager calls: each public op runs as a cached executable.
//!
//! The key is the op, its attributes, the operands' dtypes, the views they are read through, and all extents up to renaming:
//! numbers other than 0 and 1 are symbols, equal ones the same symbol, so that new shapes do not compile anew. Pointwise
//! ops over one shape see one axis only.

use crate::cache::Bounded;
use crate::dispatch::{Call, Extents, Sized, here};
use crate::error::{Error, Result};
use crate::modes::Modes;
use crate::scope;
use crate::tensor::{Held, Repr, Tensor};
use crate::trace;
use crate::view::View;
use ir::graph::SymbolDecl;
use ir::{DType, Dim, Graph, Shape, Symbol, Type};
use runtime::events::{self, Event};
use runtime::{Array, ExecError, Executable, Input};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// What an executable was made for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: &'static str,
    modes: Modes,
    extents: Extents,
    operands: u8,
    /// For each operand its rank, dtype and the codes of its array's extents; then attributes, views and sizes, each with
    /// as many numbers as the ones before it say.
    code: SmallVec<[i64; 16]>,
}

impl Key {
    /// Types of the operands' arrays.
    fn types(&self) -> impl Iterator<Item = Type> {
        let mut rest = &self.code[..];
        (0..self.operands).map(move |_| {
            let dtype = DType::ALL[rest[1] as usize];
            let (dims, after) = rest[2..].split_at(rest[0] as usize);
            rest = after;
            Type::new(dtype, dims.iter().map(|&n| decoded(n)).collect::<Shape>())
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let types: Vec<String> = self.types().map(|ty| ty.to_string()).collect();
        write!(f, "{}({})", self.name, types.join(", "))
    }
}

#[derive(Clone)]
enum Entry {
    Ready(Arc<Executable>),
    /// The op cannot be recorded with symbols in its shapes.
    NeedsExact,
}

static CACHE: LazyLock<Bounded<Key, Entry>> = LazyLock::new(|| Bounded::new("eager ops", 4096));

/// Numbers from which an executable is compiled for long extents: reductions then run on several threads.
const LONG: usize = 1 << 16;

/// Codes of numbers: 0 and 1 stand for themselves, the first other number met is -1, the next -2, and so on.
struct Codes {
    extents: Extents,
    met: SmallVec<[usize; 8]>,
    /// As many of them as are extents of arrays.
    bound: usize,
}

impl Codes {
    fn code(&mut self, n: usize) -> i64 {
        if self.extents == Extents::Exact || n < 2 {
            return n as i64;
        }
        let at = self.met.iter().position(|&m| m == n).unwrap_or_else(|| {
            self.met.push(n);
            self.met.len() - 1
        });
        -1 - at as i64
    }

    /// The same as a dimension.
    fn dim(&mut self, n: &Dim) -> Dim {
        match n.as_usize() {
            Some(n) => decoded(self.code(n)),
            None => n.clone(),
        }
    }
}

fn decoded(code: i64) -> Dim {
    if code < 0 { Dim::symbol(symbol(code).name()) } else { Dim::from(code) }
}

fn symbol(n: i64) -> Symbol {
    Symbol::new(&format!("N{}", -1 - n))
}

/// Runs an op on arrays and views of arrays.
pub(crate) fn run(call: &Call<'_>, operands: &[&Tensor], sizes: &[Dim], body: &Sized<'_>) -> Tensor {
    let attempt = || {
        let sizes: Option<SmallVec<[usize; 4]>> = sizes.iter().map(Dim::as_usize).collect();
        let sizes = sizes.ok_or_else(|| failed(ExecError::Bug(format!("{} has no number as a size", call.name))))?;
        let operands: SmallVec<[Source; 4]> = operands.iter().map(|t| Source::of(t)).collect::<Result<_>>()?;
        let viewed = operands.iter().any(|o| o.view.is_some());
        let extents = if call.extents == Extents::Flat && viewed { Extents::Symbolic } else { call.extents };
        Eager { call, operands, sizes, body, modes: crate::modes::current()? }.run(extents)
    };
    match attempt() {
        Ok(array) => Tensor::array(array),
        Err(e) => Tensor::error(e),
    }
}

/// Where an operand's elements come from.
struct Source<'a> {
    array: Cow<'a, Array>,
    view: Option<&'a View>,
}

impl<'a> Source<'a> {
    fn of(t: &'a Tensor) -> Result<Source<'a>> {
        match &t.0 {
            Repr::View(v) => {
                let (array, done) = v.source();
                Ok(Source { array: Cow::Owned(array), view: (!done).then_some(v) })
            }
            _ => match t.held() {
                Held::Array(array) => Ok(Source { array: Cow::Borrowed(array), view: None }),
                Held::Error(e) => Err(e),
                Held::Traced(_) => unreachable!("traced values were refused before"),
            },
        }
    }
}

/// A call with what it is of.
struct Eager<'a> {
    call: &'a Call<'a>,
    operands: SmallVec<[Source<'a>; 4]>,
    sizes: SmallVec<[usize; 4]>,
    body: &'a Sized<'a>,
    modes: Modes,
}

impl Eager<'_> {
    fn run(&self, extents: Extents) -> Result<Array> {
        let (key, mut codes) = self.key(extents);
        match CACHE.get(&key) {
            Some(Entry::Ready(e)) => return self.execute(&codes, &e),
            Some(Entry::NeedsExact) => return self.run(Extents::Exact),
            None => {}
        }
        match self.compile(&key, &mut codes) {
            Ok(e) => {
                CACHE.insert(key, Entry::Ready(e.clone()));
                self.execute(&codes, &e)
            }
            Err(e) if extents == Extents::Exact => Err(e),
            Err(symbolic) => {
                let reason = symbolic.observed().headline();
                let array = self.run(Extents::Exact)?;
                let name = self.call.name;
                events::record(Event::Specialised, format_args!("eager {name} runs for exact extents: {reason}"));
                CACHE.insert(key, Entry::NeedsExact);
                Ok(array)
            }
        }
    }

    fn key(&self, extents: Extents) -> (Key, Codes) {
        let mut codes = Codes { extents, met: SmallVec::new(), bound: 0 };
        let mut code: SmallVec<[i64; 16]> = SmallVec::new();
        for o in &self.operands {
            let (dims, flat) = (o.array.dims(), extents == Extents::Flat);
            let rank = if flat { dims.len().min(1) } else { dims.len() };
            code.extend_from_slice(&[rank as i64, o.array.dtype() as i64]);
            match flat {
                true if rank > 0 => code.push(-1),
                true => {}
                false => dims.iter().for_each(|&n| code.push(codes.code(n))),
            }
        }
        codes.bound = codes.met.len();
        code.push(self.call.attributes.len() as i64);
        code.extend_from_slice(self.call.attributes);
        for (i, o) in self.operands.iter().enumerate() {
            if let Some(v) = o.view {
                code.push(i as i64);
                v.encode(&mut code, &mut |n| codes.code(n));
            }
        }
        code.push(i64::MIN);
        if extents == Extents::Symbolic {
            // More than 64 numbers would be a strange op; those beyond count as short.
            let long = codes.met.iter().take(64).enumerate().filter(|(_, n)| **n >= LONG);
            code.push(long.fold(0, |all, (at, _)| all | 1 << at));
        }
        self.sizes.iter().for_each(|&n| code.push(codes.code(n)));
        let operands = self.operands.len() as u8;
        (Key { name: self.call.name, modes: self.modes.clone(), extents, operands, code }, codes)
    }

    fn compile(&self, key: &Key, codes: &mut Codes) -> Result<Arc<Executable>> {
        let graph = self.record(key, codes)?;
        events::record(Event::Compile, format_args!("eager {}", self.call.name));
        Ok(Arc::new(Executable::compile(&graph, &[]).map_err(failed)?))
    }

    /// The op as a graph over arrays of the key's types, and one more of which only the extents count: they are the numbers
    /// that are no extents of the others, such as where a slice begins.
    fn record(&self, key: &Key, codes: &mut Codes) -> Result<Graph> {
        let call = self.call;
        let guard = trace::open("eager", call.name);
        let declare = |n, min| trace::declare(SymbolDecl { symbol: symbol(n), min, max: i64::MAX }, None);
        match key.extents {
            Extents::Flat => declare(-1, 0),
            _ => codes.met.iter().enumerate().for_each(|(at, &n)| {
                declare(-1 - at as i64, if n >= LONG && at < 64 { LONG as i64 } else { 2 });
            }),
        }
        let mut inputs: SmallVec<[Tensor; 4]> = SmallVec::new();
        key.types().for_each(|ty| inputs.push(trace::input(ty, here())));
        if codes.bound < codes.met.len() {
            let numbers = (codes.bound..codes.met.len()).map(|at| decoded(-1 - at as i64));
            trace::input(Type::new(DType::Bool, numbers.chain([Dim::from(0)]).collect::<Shape>()), here());
        }
        for (input, operand) in inputs.iter_mut().zip(&self.operands) {
            if let Some(v) = operand.view {
                *input = v.record(input, &mut |d| codes.dim(d));
            }
        }
        let sizes: SmallVec<[Dim; 4]> = self.sizes.iter().map(|&n| decoded(codes.code(n))).collect();
        let _scope = call.scoped.then(|| scope::enter(call.name));
        let result = (self.body)(&inputs, &sizes);
        if let Some(e) = result.error_ref() {
            return Err(e.clone());
        }
        let value = trace::lift(&result)?;
        let mut trace = guard.finish();
        debug_assert!(trace.captures.is_empty(), "{} captures tensors that are not its operands", call.name);
        trace.graph.set_outputs(vec![value]);
        Ok(trace.graph)
    }

    fn execute(&self, codes: &Codes, executable: &Executable) -> Result<Array> {
        let mut shape: Option<&[usize]> = None;
        let mut inputs: SmallVec<[Input; 4]> = SmallVec::new();
        for Source { array: a, .. } in &self.operands {
            inputs.push(Input::Shared(match codes.extents {
                Extents::Flat if !a.dims().is_empty() => {
                    shape = Some(a.dims());
                    if a.dims().len() == 1 {
                        a.clone().into_owned()
                    } else {
                        a.reshaped(&[a.numel()]).map_err(failed)?
                    }
                }
                _ => a.clone().into_owned(),
            }));
        }
        if let numbers @ [_, ..] = &codes.met[codes.bound..] {
            let dims: SmallVec<[usize; 8]> = numbers.iter().copied().chain([0]).collect();
            inputs.push(Input::Shared(Array::uninit(DType::Bool, &dims).map_err(failed)?));
        }
        let mut outputs = executable.call(&mut inputs).map_err(failed)?;
        let output = outputs.pop().ok_or_else(|| failed(ExecError::Bug("an op without a result".into())))?;
        match shape {
            Some(dims) if dims.len() != 1 => output.reshaped(dims).map_err(failed),
            _ => Ok(output),
        }
    }
}

/// The error of a run, at the user's line: the op's own is that of its first use.
fn failed(e: ExecError) -> Error {
    Error::exec(e).at(here()).in_scope(&scope::current())
}
