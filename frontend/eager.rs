//! Eager calls: each public op runs as a cached executable.
//!
//! The key is the op, its attributes, and the operands' dtypes and extents up to renaming: extents other than 0 and 1
//! are symbols, equal ones the same symbol, so that new shapes do not compile anew. Pointwise ops over one shape see
//! one axis only.

use crate::cache::Bounded;
use crate::dispatch::{Call, Extents, here};
use crate::error::{Error, Result};
use crate::modes::Modes;
use crate::scope;
use crate::tensor::{Repr, Tensor};
use crate::trace;
use ir::graph::SymbolDecl;
use ir::{DType, Dim, Graph, Shape, Symbol, Type};
use runtime::events::{self, Event};
use runtime::{Array, ExecError, Executable, Input};
use smallvec::SmallVec;
use std::sync::{Arc, LazyLock};

/// What an executable was made for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: &'static str,
    attributes: SmallVec<[i64; 8]>,
    extents: u8,
    modes: Modes,
    operands: SmallVec<[(DType, SmallVec<[i64; 4]>); 3]>,
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

/// Runs an op on arrays.
pub(crate) fn run(call: &Call<'_>, operands: &[&Tensor], body: &dyn Fn(&[Tensor]) -> Tensor) -> Tensor {
    match attempt(call, operands, body) {
        Ok(array) => Tensor::array(array),
        Err(e) => Tensor::error(e),
    }
}

fn attempt(call: &Call<'_>, operands: &[&Tensor], body: &dyn Fn(&[Tensor]) -> Tensor) -> Result<Array> {
    let modes = crate::modes::current()?;
    let key = Key::of(call, operands, call.extents, modes.clone());
    match CACHE.get(&key) {
        Some(Entry::Ready(e)) => return execute(call.extents, &e, operands),
        Some(Entry::NeedsExact) => return exact(call, operands, modes, body),
        None => {}
    }
    match compile(call, &key, body) {
        Ok(e) => {
            CACHE.insert(key, Entry::Ready(e.clone()));
            execute(call.extents, &e, operands)
        }
        Err(e) if call.extents == Extents::Exact => Err(e),
        Err(symbolic) => {
            let reason = symbolic.observed().headline();
            let array = exact(call, operands, modes, body)?;
            events::record(Event::Specialised, format_args!("eager {} runs for exact extents: {reason}", call.name));
            CACHE.insert(key, Entry::NeedsExact);
            Ok(array)
        }
    }
}

/// Runs the op with its extents as numbers.
fn exact(call: &Call<'_>, operands: &[&Tensor], modes: Modes, body: &dyn Fn(&[Tensor]) -> Tensor) -> Result<Array> {
    let key = Key::of(call, operands, Extents::Exact, modes);
    if let Some(Entry::Ready(e)) = CACHE.get(&key) {
        return execute(Extents::Exact, &e, operands);
    }
    let e = compile(call, &key, body)?;
    CACHE.insert(key, Entry::Ready(e.clone()));
    execute(Extents::Exact, &e, operands)
}

fn array(t: &Tensor) -> &Array {
    match &t.0 {
        Repr::Array(a) => a,
        _ => unreachable!("traced values and errors were refused before"),
    }
}

impl Key {
    fn of(call: &Call<'_>, operands: &[&Tensor], extents: Extents, modes: Modes) -> Key {
        // Symbols are negative: -1 for the first extent met, -2 for the next, and so on.
        let mut met: SmallVec<[usize; 8]> = SmallVec::new();
        let operands = operands
            .iter()
            .map(|t| {
                let a = array(t);
                let dims: SmallVec<[i64; 4]> = match extents {
                    Extents::Flat if a.dims().is_empty() => SmallVec::new(),
                    Extents::Flat => SmallVec::from_slice(&[-1]),
                    Extents::Exact => a.dims().iter().map(|&n| n as i64).collect(),
                    Extents::Symbolic => a
                        .dims()
                        .iter()
                        .map(|&n| match met.iter().position(|&m| m == n) {
                            _ if n < 2 => n as i64,
                            Some(i) => -1 - i as i64,
                            None => {
                                met.push(n);
                                -(met.len() as i64)
                            }
                        })
                        .collect(),
                };
                (a.dtype(), dims)
            })
            .collect();
        let attributes = SmallVec::from_slice(call.attributes);
        Key { name: call.name, attributes, extents: extents as u8, modes, operands }
    }

    /// Types of the operands.
    fn types(&self) -> impl Iterator<Item = Type> {
        let dim = |&n: &i64| if n < 0 { Dim::symbol(symbol(n).name()) } else { Dim::from(n) };
        self.operands.iter().map(move |(dtype, dims)| Type::new(*dtype, dims.iter().map(dim).collect::<Shape>()))
    }
}

fn symbol(n: i64) -> Symbol {
    Symbol::new(&format!("N{}", -1 - n))
}

fn compile(call: &Call<'_>, key: &Key, body: &dyn Fn(&[Tensor]) -> Tensor) -> Result<Arc<Executable>> {
    let graph = record(call, key, body)?;
    events::record(Event::Compile, format_args!("eager {}", call.name));
    Ok(Arc::new(Executable::compile(&graph, &[]).map_err(failed)?))
}

/// The op as a graph over operands of the key's types.
fn record(call: &Call<'_>, key: &Key, body: &dyn Fn(&[Tensor]) -> Tensor) -> Result<Graph> {
    let guard = trace::open("eager", call.name);
    let least = if key.extents == Extents::Flat as u8 { 0 } else { 2 };
    let symbols = key.operands.iter().flat_map(|(_, dims)| dims).copied().min().unwrap_or(0);
    for n in symbols..0 {
        trace::declare(SymbolDecl { symbol: symbol(n), min: least, max: i64::MAX }, None);
    }
    let inputs: Vec<Tensor> = key.types().map(|ty| trace::input(ty, here())).collect();
    let _scope = call.scoped.then(|| scope::enter(call.name));
    let result = body(&inputs);
    if let Some(e) = result.error_ref() {
        return Err(e.clone());
    }
    let value = trace::lift(&result)?;
    let mut trace = guard.finish();
    debug_assert!(trace.captures.is_empty(), "{} captures tensors that are not its operands", call.name);
    trace.graph.set_outputs(vec![value]);
    Ok(trace.graph)
}

fn execute(extents: Extents, executable: &Executable, operands: &[&Tensor]) -> Result<Array> {
    let mut shape: Option<&[usize]> = None;
    let mut inputs: SmallVec<[Input; 4]> = SmallVec::new();
    for t in operands {
        let a = array(t);
        inputs.push(Input::Shared(match extents {
            Extents::Flat if !a.dims().is_empty() => {
                shape = Some(a.dims());
                if a.dims().len() == 1 { a.clone() } else { a.reshaped(&[a.numel()]).map_err(failed)? }
            }
            _ => a.clone(),
        }));
    }
    let mut outputs = executable.call(&mut inputs).map_err(failed)?;
    let output = outputs.pop().ok_or_else(|| failed(ExecError::Bug("an op without a result".into())))?;
    match shape {
        Some(dims) if dims.len() != 1 => output.reshaped(dims).map_err(failed),
        _ => Ok(output),
    }
}

/// The error of a run, at the user's line: the op's own is that of its first use.
fn failed(e: ExecError) -> Error {
    Error::exec(e).at(here()).in_scope(&scope::current())
}
