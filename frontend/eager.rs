//! Eager calls: each public op runs as a cached executable.
//!
//! The key is the op, its attributes, the operands' dtypes, the views they are read through, and all extents up to renaming:
//! numbers other than 0 and 1 are symbols, equal ones the same symbol, so that new shapes do not compile anew. Pointwise
//! ops over one shape see one axis only.

use crate::cache::Bounded;
use crate::device;
use crate::dispatch::{Call, Extents, Sized, here};
use crate::error::{Error, Result};
use crate::modes::Modes;
use crate::scope;
use crate::tape::{self, Edge, Inputs, Plan};
use crate::tensor::{Held, Repr, Tensor};
use crate::trace;
use crate::view::{Step, Steps, View};
use ir::graph::SymbolDecl;
use ir::{DType, Dim, Graph, Shape, Symbol, Type, Value};
use passes::autodiff::Again;
use runtime::events::{self, Event};
use runtime::{Array, ExecError, Executable, Input, Outputs};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// What an executable was made for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: &'static str,
    modes: Modes,
    extents: Extents,
    operands: usize,
    /// Operands whose gradient is wanted, a bit for each; empty if none is.
    wanted: SmallVec<[u64; 1]>,
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
    /// With its gradient, for operands on the tape.
    Planned(Arc<Plan>),
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
        let sources: SmallVec<[Source; 4]> = operands.iter().map(|t| Source::of(t.plain())).collect::<Result<_>>()?;
        let viewed = sources.iter().any(|o| o.view.is_some());
        let extents = if call.extents == Extents::Flat && viewed { Extents::Symbolic } else { call.extents };
        let wanted = tape::wanted(operands);
        Eager { call, tensors: operands, operands: sources, sizes, body, wanted, modes: crate::modes::current()? }
            .run(extents)
    };
    device::among(operands.iter().copied(), || attempt().unwrap_or_else(Tensor::error))
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
    tensors: &'a [&'a Tensor],
    operands: SmallVec<[Source<'a>; 4]>,
    sizes: SmallVec<[usize; 4]>,
    body: &'a Sized<'a>,
    wanted: SmallVec<[u64; 1]>,
    modes: Modes,
}

impl Eager<'_> {
    fn run(&self, extents: Extents) -> Result<Tensor> {
        let (key, mut codes) = self.key(extents);
        let entry = match CACHE.get(&key) {
            Some(Entry::NeedsExact) => return self.run(Extents::Exact),
            Some(entry) => entry,
            None => match self.compile(&key, &mut codes) {
                Ok(entry) => {
                    CACHE.insert(key, entry.clone());
                    entry
                }
                Err(e) if extents == Extents::Exact => return Err(e),
                Err(symbolic) => {
                    let reason = symbolic.observed().headline();
                    let result = self.run(Extents::Exact)?;
                    let name = self.call.name;
                    events::record(Event::Specialised, format_args!("eager {name} runs for exact extents: {reason}"));
                    CACHE.insert(key, Entry::NeedsExact);
                    return Ok(result);
                }
            },
        };
        let (mut inputs, shape) = self.inputs(&codes)?;
        match entry {
            Entry::Ready(executable) => {
                let outputs = executable.call(&mut inputs).map_err(failed)?;
                restored(outputs, shape)
            }
            Entry::Planned(plan) => self.record_on_tape(&plan, inputs, shape),
            Entry::NeedsExact => unreachable!("it was looked at before"),
        }
    }

    fn record_on_tape(&self, plan: &Arc<Plan>, mut inputs: Inputs, shape: Option<&[usize]>) -> Result<Tensor> {
        let viewed = |i: usize| {
            let is_view = self.operands.get(i).is_some_and(|o| o.view.is_some());
            is_view.then(|| self.tensors[i].plain().clone())
        };
        // The op's own line is that of its first use.
        let here = |e: Error| e.without_lines().at(here()).in_scope(&scope::current());
        let (outputs, saved) = plan.forward(&mut inputs, &viewed).map_err(here)?;
        let results = [restored(outputs, shape)?].into_iter().collect();
        let edge = |i: usize| Edge::of(self.tensors[i]);
        Ok(plan.tensors(self.call.name, &edge, results, saved, shape.map(SmallVec::from_slice)).remove(0))
    }

    fn key(&self, extents: Extents) -> (Key, Codes) {
        let mut codes = Codes { extents, met: SmallVec::new(), bound: 0 };
        let mut code: SmallVec<[i64; 16]> = SmallVec::new();
        for o in &self.operands {
            codes.begin(o.array.dtype(), o.array.dims(), &mut code);
        }
        // For a gradient all numbers are arguments: the extents of what is not kept too.
        codes.bound = if self.wanted.is_empty() { codes.met.len() } else { 0 };
        code.push(self.call.attributes.len() as i64);
        code.extend_from_slice(self.call.attributes);
        for (i, o) in self.operands.iter().enumerate() {
            if let Some(v) = o.view {
                code.push(i as i64);
                v.encode(&mut code, &mut |n| codes.code(n));
            }
        }
        code.push(i64::MIN);
        codes.end(&mut code);
        self.sizes.iter().for_each(|&n| code.push(codes.code(n)));
        let (operands, wanted) = (self.operands.len(), self.wanted.clone());
        (Key { name: self.call.name, modes: self.modes.clone(), extents, operands, wanted, code }, codes)
    }

    fn compile(&self, key: &Key, codes: &mut Codes) -> Result<Entry> {
        if self.wanted.is_empty() {
            let graph = self.record(key, codes, true)?;
            events::record(Event::Compile, format_args!("eager {}", self.call.name));
            return Ok(Entry::Ready(Arc::new(Executable::compile(&graph, &[]).map_err(failed)?)));
        }
        let graph = self.record(key, codes, false)?;
        let by: Vec<usize> = (0..self.operands.len())
            .filter(|&i| key.wanted.get(i / 64).is_some_and(|w| w >> (i % 64) & 1 == 1))
            .collect();
        if self.operands.iter().all(|o| o.view.is_none()) {
            return Ok(Entry::Planned(Plan::new(&graph, &by, Again::All, None)?.prepared()?));
        }
        let with_views = &mut |graph: &Graph, stands: &[Option<usize>]| self.read_views(key, codes, graph, stands);
        Ok(Entry::Planned(Plan::new(&graph, &by, Again::All, Some(with_views))?.prepared()?))
    }

    /// The op as a graph over arrays of the key's types, or without `views` over what is read through them; and one more of
    /// which only the extents count: they are the numbers that are no extents of the others, such as where a slice begins.
    fn record(&self, key: &Key, codes: &mut Codes, views: bool) -> Result<Graph> {
        let call = self.call;
        let guard = codes.open(call.name, key.extents);
        let mut inputs: SmallVec<[Tensor; 4]> = SmallVec::new();
        for (ty, operand) in key.types().zip(&self.operands) {
            inputs.push(match operand.view {
                Some(v) if views => v.record(&trace::input(ty, here()), &mut |d| codes.dim(d)),
                Some(v) => {
                    trace::input(Type::new(v.dtype, v.shape.iter().map(|d| codes.dim(d)).collect::<Shape>()), here())
                }
                None => trace::input(ty, here()),
            });
        }
        codes.numbers();
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

    /// A graph whose inputs stand for operands, reading those through their views; and whether it got the numbers as
    /// another input for that.
    fn read_views(
        &self,
        key: &Key,
        codes: &mut Codes,
        graph: &Graph,
        stands: &[Option<usize>],
    ) -> Result<(Graph, bool)> {
        let guard = codes.open(&graph.name, key.extents);
        let types: SmallVec<[Type; 4]> = key.types().collect();
        let mut inputs = Vec::new();
        let mut viewed = false;
        for (&v, operand) in graph.inputs().iter().zip(stands) {
            let view = operand.and_then(|i| Some((types.get(i)?, self.operands.get(i)?.view?)));
            viewed |= view.is_some();
            inputs.push(match view {
                Some((ty, view)) => view.record(&trace::input(ty.clone(), here()), &mut |d| codes.dim(d)),
                None => trace::input(graph.ty(v).clone(), here()),
            });
            if let Some(e) = inputs.last().and_then(Tensor::error_ref) {
                return Err(e.clone());
            }
            if inputs.last().is_some_and(|t| t.ty() != *graph.ty(v)) {
                return Err(failed(ExecError::Bug("a view has other extents in its gradient".into())));
            }
        }
        let has_numbers = stands.contains(&Some(types.len()));
        let adds = viewed && !has_numbers && codes.numbers();
        let outputs = trace::inline(graph, &inputs)?;
        let outputs: Vec<Value> = outputs.iter().map(trace::lift).collect::<Result<_>>()?;
        let mut trace = guard.finish();
        trace.graph.set_outputs(outputs);
        keep_bound(&mut trace.graph);
        Ok((trace.graph, adds))
    }

    /// The arrays of the operands and of the numbers; along one axis, in the extents of the operands, where those do not
    /// matter.
    fn inputs(&self, codes: &Codes) -> Result<(Inputs, Option<&[usize]>)> {
        let mut shape: Option<&[usize]> = None;
        let mut inputs: Inputs = SmallVec::new();
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
        inputs.extend(codes.array()?.map(Input::Shared));
        Ok((inputs, shape))
    }
}

impl Codes {
    /// The code of an operand.
    fn begin(&mut self, dtype: DType, dims: &[usize], code: &mut SmallVec<[i64; 16]>) {
        let flat = self.extents == Extents::Flat;
        let rank = if flat { dims.len().min(1) } else { dims.len() };
        code.extend_from_slice(&[rank as i64, dtype as i64]);
        match flat {
            true if rank > 0 => code.push(-1),
            true => {}
            false => dims.iter().for_each(|&n| code.push(self.code(n))),
        }
    }

    /// Which of the numbers so far are long.
    fn end(&self, code: &mut SmallVec<[i64; 16]>) {
        if self.extents == Extents::Symbolic {
            // More than 64 numbers would be a strange op; those beyond count as short.
            let long = self.met.iter().take(64).enumerate().filter(|(_, n)| **n >= LONG);
            code.push(long.fold(0, |all, (at, _)| all | 1 << at));
        }
    }

    /// Opens a trace that knows the symbols.
    fn open(&self, name: &str, extents: Extents) -> trace::Guard {
        let guard = trace::open("eager", name);
        let declare = |n, min| trace::declare(SymbolDecl { symbol: symbol(n), min, max: i64::MAX }, None);
        match extents {
            Extents::Flat => declare(-1, 0),
            _ => self.met.iter().enumerate().for_each(|(at, &n)| {
                declare(-1 - at as i64, if n >= LONG && at < 64 { LONG as i64 } else { 2 });
            }),
        }
        guard
    }

    /// Adds the input of the numbers, if there are any.
    fn numbers(&self) -> bool {
        if self.bound < self.met.len() {
            let numbers = (self.bound..self.met.len()).map(|at| decoded(-1 - at as i64));
            trace::input(Type::new(DType::Bool, numbers.chain([Dim::from(0)]).collect::<Shape>()), here());
        }
        self.bound < self.met.len()
    }

    /// What is given for that input.
    fn array(&self) -> Result<Option<Array>> {
        let numbers @ [_, ..] = &self.met[self.bound..] else { return Ok(None) };
        let dims: SmallVec<[usize; 8]> = numbers.iter().copied().chain([0]).collect();
        Array::uninit(DType::Bool, &dims).map(Some).map_err(failed)
    }
}

/// The gradient of steps from a tensor to a view of it, and what stands for its inputs; the tensor itself is not read.
pub(crate) fn view_plan(name: &'static str, x: &Tensor, steps: SmallVec<[Step; 2]>) -> Result<(Arc<Plan>, Inputs)> {
    let (dtype, dims) = (x.dtype(), x.shape().known().unwrap_or_default());
    let steps = Steps(steps);
    let attempt = |extents: Extents| -> Result<(Arc<Plan>, Inputs)> {
        let mut codes = Codes { extents, met: SmallVec::new(), bound: 0 };
        let mut code: SmallVec<[i64; 16]> = SmallVec::new();
        codes.begin(dtype, &dims, &mut code);
        steps.encode(&mut code, &mut |n| codes.code(n));
        codes.end(&mut code);
        let wanted = [1].into_iter().collect();
        let key = Key { name: "view", modes: crate::modes::current()?, extents, operands: 1, wanted, code };
        let plan = match CACHE.get(&key) {
            Some(Entry::Planned(plan)) => plan,
            Some(_) => return Err(failed(ExecError::Bug("a view needs exact extents".into()))),
            None => {
                let guard = codes.open(name, extents);
                let input = trace::input(key.types().next().expect("there is one"), here());
                codes.numbers();
                let result = steps.record(&input, &mut |d| codes.dim(d));
                let value = trace::lift(&result)?;
                let mut trace = guard.finish();
                trace.graph.set_outputs(vec![value]);
                let plan = Arc::new(Plan::new(&trace.graph, &[0], Again::All, None)?);
                CACHE.insert(key, Entry::Planned(plan.clone()));
                plan
            }
        };
        let nothing = Array::uninit(DType::Bool, &[0]).map_err(failed)?;
        Ok((plan, [nothing].into_iter().chain(codes.array()?).map(Input::Shared).collect()))
    };
    match attempt(Extents::Symbolic) {
        Err(symbolic) => {
            drop(symbolic.observed());
            attempt(Extents::Exact)
        }
        found => found,
    }
}

/// Drops declarations of symbols that no input binds.
fn keep_bound(graph: &mut Graph) {
    let inputs = graph.inputs().to_vec();
    let mut symbols = std::mem::take(&mut graph.symbols);
    symbols.retain(|d| inputs.iter().any(|&v| graph.ty(v).shape.contains(&Dim::symbol(d.symbol.name()))));
    graph.symbols = symbols;
}

/// The result, in the extents of the operands where it ran along one axis.
fn restored(mut outputs: Outputs, shape: Option<&[usize]>) -> Result<Tensor> {
    let output = outputs.pop().ok_or_else(|| failed(ExecError::Bug("an op without a result".into())))?;
    match shape {
        Some(dims) if dims.len() != 1 => output.reshaped(dims).map_err(failed),
        _ => Ok(output),
    }
    .map(Tensor::array)
}

/// The error of a run, at the user's line: the op's own is that of its first use.
fn failed(e: ExecError) -> Error {
    Error::exec(e).without_lines().at(here()).in_scope(&scope::current())
}
