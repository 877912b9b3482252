//! The interpreter: runs any graph op by op from the reference evaluations. It is the oracle, and what runs when
//! compilation is off or an op has no kernel.

use crate::array::byte_length;
use crate::buffer::check_room;
use crate::error::{ExecError, Wanted};
use crate::signature::Signature;
use ir::graph::{RegionType, SymbolDecl};
use ir::ops::EvalContext;
use ir::program::ShapeCheck;
use ir::{Dim, EvalError, Graph, Literal, Op, Region, Symbol, Type, Value};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Values of a graph's symbols in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings(HashMap<Symbol, i64>);

impl Bindings {
    /// The values that the extents of a call's inputs give the symbols of the declared types.
    pub fn of(inputs: &[Type], symbols: &[SymbolDecl], given: &[Literal]) -> Result<Bindings, ExecError> {
        let signature = Signature::of(inputs, symbols);
        let values = signature.bind(given.len(), |i| Some((given[i].dtype(), given[i].dims())))?;
        Ok(Bindings::known(signature.named(&values)))
    }

    /// Values that are known already.
    pub(crate) fn known(values: impl IntoIterator<Item = (Symbol, i64)>) -> Bindings {
        Bindings(values.into_iter().collect())
    }

    /// The value of a symbol.
    pub fn get(&self, symbol: &Symbol) -> Option<i64> {
        self.0.get(symbol).copied()
    }

    /// The value of a dimension.
    pub fn dim(&self, d: &Dim) -> Result<i64, EvalError> {
        d.eval(&|s| self.get(s)).ok_or_else(|| EvalError::BadDim(d.to_string()))
    }

    /// What an op asks of the values.
    pub(crate) fn check(&self, check: &ShapeCheck) -> Result<(), ExecError> {
        let op = check.primitive.name();
        // With the symbols' values, as the interpreter sees them.
        let filled = |ty: &Type| self.extents(ty).map_or(ty.clone(), |dims| Type::new(ty.dtype, dims.as_slice()));
        let operands: SmallVec<[Type; 4]> = check.operands.iter().map(filled).collect();
        let operands: SmallVec<[&Type; 4]> = operands.iter().collect();
        let fail = |error: EvalError| {
            let error = error.of_op(&*check.primitive, &operands);
            ExecError::Op { op: op.into(), origins: check.origins.clone(), error }
        };
        check.primitive.check(&operands, &|d| self.dim(d)).map_err(fail)?;
        for ty in &check.results {
            byte_length(ty.dtype, &self.extents(ty).map_err(fail)?).map_err(|e| {
                let (op, origins) = (op.to_string(), check.origins.clone());
                e.wanting(|| Wanted { ty: filled(ty), bytes: None, op, origins })
            })?;
        }
        Ok(())
    }

    /// The extents of a shape.
    pub fn extents(&self, ty: &Type) -> Result<SmallVec<[usize; 4]>, EvalError> {
        let extent = |d| usize::try_from(self.dim(d)?).map_err(|_| EvalError::BadDim(d.to_string()));
        ty.shape.iter().map(extent).collect()
    }
}

/// Runs a graph on host data.
pub fn interpret(graph: &Graph, inputs: &[Literal]) -> Result<Vec<Literal>, ExecError> {
    interpret_observed(graph, inputs, &mut |_, _| {})
}

/// Runs a graph on host data of the declared types under given values of its symbols.
pub(crate) fn interpret_bound(
    graph: &Graph,
    bindings: &Bindings,
    inputs: &[Literal],
) -> Result<Vec<Literal>, ExecError> {
    Interpreter::new(graph, bindings, &mut |_| {}, u64::MAX).region(graph.root(), inputs)
}

/// A result of an op that just ran.
pub(crate) struct Ran<'a> {
    pub op: Op,
    pub operands: &'a [Literal],
    pub value: Value,
    pub result: &'a Literal,
    /// The ops that it runs in, outermost first, and how often the region that it is in has run for each before.
    pub within: &'a [(Op, u64)],
}

/// Runs a graph and shows every result of every op, also in regions, to `observer`, in order.
pub(crate) fn interpret_watched(
    graph: &Graph,
    inputs: &[Literal],
    observer: &mut dyn FnMut(&Ran<'_>),
) -> Result<Vec<Literal>, ExecError> {
    let bindings = Bindings::of(&graph.input_types(), &graph.symbols, inputs)?;
    Interpreter::new(graph, &bindings, observer, u64::MAX).region(graph.root(), inputs)
}

/// Runs a graph and shows every value of the root region to `observer`, in order.
pub fn interpret_observed(
    graph: &Graph,
    inputs: &[Literal],
    observer: &mut dyn FnMut(Value, &Literal),
) -> Result<Vec<Literal>, ExecError> {
    interpret_limited(graph, inputs, u64::MAX, observer)
}

/// As [`interpret_observed`], but gives up when branches and iterations of loops have run more than `runs` times in all.
pub(crate) fn interpret_limited(
    graph: &Graph,
    inputs: &[Literal],
    runs: u64,
    observer: &mut dyn FnMut(Value, &Literal),
) -> Result<Vec<Literal>, ExecError> {
    let bindings = Bindings::of(&graph.input_types(), &graph.symbols, inputs)?;
    let mut outermost = |ran: &Ran<'_>| {
        if ran.within.is_empty() {
            observer(ran.value, ran.result);
        }
    };
    Interpreter::new(graph, &bindings, &mut outermost, runs).region(graph.root(), inputs)
}

/// Runs one op; gives up when branches and iterations of loops in it have run more than `runs` times in all.
pub(crate) fn interpret_op(
    graph: &Graph,
    bindings: &Bindings,
    op: Op,
    operands: &[Literal],
    runs: u64,
) -> Result<SmallVec<[Literal; 1]>, ExecError> {
    Interpreter::new(graph, bindings, &mut |_| {}, runs).op(op, operands)
}

struct Interpreter<'a> {
    graph: &'a Graph,
    bindings: &'a Bindings,
    observer: &'a mut dyn FnMut(&Ran<'_>),
    /// As in [`Ran`].
    within: Vec<(Op, u64)>,
    /// Bytes of the values that are kept.
    held: usize,
    /// How often nested regions may run yet.
    runs: u64,
}

fn bytes(literal: &Literal) -> usize {
    literal.numel() * literal.dtype().size()
}

impl<'a> Interpreter<'a> {
    fn new(
        graph: &'a Graph,
        bindings: &'a Bindings,
        observer: &'a mut dyn FnMut(&Ran<'_>),
        runs: u64,
    ) -> Interpreter<'a> {
        Interpreter { graph, bindings, observer, within: Vec::new(), held: 0, runs }
    }

    fn region(&mut self, region: Region, arguments: &[Literal]) -> Result<Vec<Literal>, ExecError> {
        let graph = self.graph;
        let data = graph.region(region);
        let before = self.held;
        let mut last_use: HashMap<Value, usize> = HashMap::new();
        for (i, &op) in data.ops.iter().enumerate() {
            last_use.extend(graph.op(op).operands.iter().map(|&v| (v, i)));
        }
        last_use.extend(data.yields.iter().map(|&v| (v, usize::MAX)));
        let mut values: HashMap<Value, Literal> = data.params.iter().copied().zip(arguments.iter().cloned()).collect();
        for (i, &op) in data.ops.iter().enumerate() {
            let data = graph.op(op);
            let operands: SmallVec<[Literal; 4]> = data.operands.iter().map(|v| values[v].clone()).collect();
            let results = self.op(op, &operands)?;
            for (&v, literal) in data.results.iter().zip(results) {
                let within = &self.within;
                (self.observer)(&Ran { op, operands: &operands, value: v, result: &literal, within });
                self.held += bytes(&literal);
                values.insert(v, literal);
            }
            for v in &data.operands {
                if last_use[v] == i
                    && let Some(gone) = values.remove(v)
                {
                    self.held = self.held.saturating_sub(bytes(&gone));
                }
            }
        }
        self.held = before;
        Ok(data.yields.iter().map(|v| values[v].clone()).collect())
    }

    fn op(&mut self, op: Op, operands: &[Literal]) -> Result<SmallVec<[Literal; 1]>, ExecError> {
        let graph = self.graph;
        let data = graph.op(op);
        let types: SmallVec<[Type; 4]> = operands.iter().map(Literal::ty).collect();
        let types: SmallVec<[&Type; 4]> = types.iter().collect();
        let fail = |error: EvalError| ExecError::op(graph, op, error.of_op(&*data.primitive, &types));
        let bindings = self.bindings;
        data.primitive.check(&types, &|d| bindings.dim(d)).map_err(fail)?;
        let results: SmallVec<[SmallVec<[usize; 4]>; 1]> =
            data.results.iter().map(|&v| self.bindings.extents(graph.ty(v))).collect::<Result<_, _>>().map_err(fail)?;
        for (&v, extents) in data.results.iter().zip(&results) {
            let dtype = graph.ty(v).dtype;
            let bytes = byte_length(dtype, extents);
            let room = bytes.clone().and_then(|n| check_room(n.saturating_add(self.held)).map_err(ExecError::memory));
            room.map_err(|e| {
                let origins = data.origins.iter().map(|&o| graph.origins.get(o).clone()).collect();
                let ty = Type::new(dtype, extents.as_slice());
                e.wanting(|| Wanted { ty, bytes: bytes.ok(), op: data.primitive.name().into(), origins })
            })?;
        }
        // An error inside a nested region already names its op; it passes through as it is.
        let mut nested: Option<ExecError> = None;
        let regions: Vec<RegionType> = data.regions.iter().map(|&r| graph.region_type(r)).collect();
        let mut ran: SmallVec<[u64; 2]> = SmallVec::from_elem(0, data.regions.len());
        let outcome = {
            let mut region = |i: usize, arguments: &[Literal]| {
                let left = self.runs.checked_sub(1);
                self.runs = left.ok_or_else(|| EvalError::Other("it runs for too long to be interpreted".into()))?;
                self.within.push((op, ran[i]));
                ran[i] += 1;
                let yields = self.region(data.regions[i], arguments);
                self.within.pop();
                yields.map_err(|e| {
                    nested = Some(e);
                    EvalError::Other(String::new())
                })
            };
            let mut cx =
                EvalContext { dim: &|d| bindings.dim(d), results: &results, regions: &regions, region: &mut region };
            data.primitive.eval(&operands.iter().collect::<SmallVec<[&Literal; 4]>>(), &mut cx)
        };
        outcome.map_err(|e| nested.take().unwrap_or_else(|| fail(e)))
    }
}
