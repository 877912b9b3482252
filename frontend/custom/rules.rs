//! Derivatives and batching of a user's op: rules over tensors, traced, and put into the graph that asks for them.

use super::{CustomOp, attempt};
use crate::dispatch::{here, leave};
use crate::error::{Code, Error, Result};
use crate::ops::prim;
use crate::tensor::{Held, Tensor};
use crate::{control, strict, trace};
use ir::graph::{SymbolDecl, Values};
use ir::ops::{PerOperand, PerResult, VjpContext, create};
use ir::{Dim, Emit, Graph, NotDifferentiable, Scalar, Type, Value};
use passes::autodiff::append_vjp;
use runtime::events::{self, Event};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a reverse-mode rule is given.
pub struct Reverse<'a> {
    /// Operands of the op.
    pub operands: &'a [Tensor],
    /// Its results.
    pub results: &'a [Tensor],
    /// Gradients of the loss by the results; zeros where `reached` says that none flows in.
    pub cotangents: &'a [Tensor],
    /// Which results the loss depends on.
    pub reached: &'a [bool],
    /// Which operands' gradients are used. Others may be `None`.
    pub wanted: &'a [bool],
}

/// What a forward-mode rule is given.
pub struct Forward<'a> {
    /// Operands of the op.
    pub operands: &'a [Tensor],
    /// Its results.
    pub results: &'a [Tensor],
    /// Tangents of the operands; zeros where `moving` says that there is none.
    pub tangents: &'a [Tensor],
    /// Which operands have tangents.
    pub moving: &'a [bool],
}

/// What a batching rule is given.
pub struct Batching<'a> {
    /// Operands of the op; some have an extra axis.
    pub operands: &'a [Tensor],
    /// Which axis of each operand is the extra one, if it has one.
    pub axes: &'a [Option<usize>],
    /// How many examples there are.
    pub size: &'a Dim,
}

impl Batching<'_> {
    /// An operand with its extra axis in front; one without is repeated.
    pub fn in_front(&self, operand: usize) -> Tensor {
        let x = &self.operands[operand];
        match self.axes[operand] {
            Some(axis) => {
                let mut order: Vec<usize> = (0..x.rank()).filter(|&a| a != axis).collect();
                order.insert(0, axis);
                prim::transpose(x, &order)
            }
            None => {
                let mut shape = x.ty().shape;
                shape.insert(0, self.size.clone());
                prim::broadcast(x, &shape)
            }
        }
    }
}

const NO_RULE: NotDifferentiable = NotDifferentiable("the op has no rule for its derivative");

/// Traces a rule over tensors of the given types. Yields the graph of what it returned, with what it captured as literals.
struct Traced {
    graph: Graph,
    /// What it captured, after the inputs.
    captured: Vec<ir::Literal>,
}

/// The tensors that a rule returned, or `None` if there is no rule.
type Returned = Option<Vec<Option<Tensor>>>;

/// Runs a rule and checks what comes out: for each of `expected` a tensor of that type, or none. The first `operands` inputs
/// are the op's.
fn traced<T: CustomOp>(
    hook: &str,
    inputs: &[Type],
    operands: usize,
    expected: &[Type],
    rule: &dyn Fn(&[Tensor]) -> Returned,
) -> Result<Option<(Traced, Vec<bool>)>> {
    let at = here();
    let fail = |code: Code, what: String| {
        let types = inputs[..operands].iter().map(Type::to_string);
        Err(Error::new(code, T::NAME, what, "").with_operands(types).at(at))
    };
    let guard = trace::open("custom op", T::NAME);
    let mut declared: Vec<ir::Symbol> = Vec::new();
    for symbol in inputs.iter().flat_map(|ty| ty.shape.iter()).flat_map(Dim::symbols) {
        if !declared.contains(&symbol) {
            trace::declare(SymbolDecl { symbol: symbol.clone(), min: 0, max: i64::MAX }, None);
            declared.push(symbol);
        }
    }
    let tensors: Vec<Tensor> = inputs.iter().map(|ty| trace::input(ty.clone(), at)).collect();
    let outcome = {
        let _line = leave();
        catch_unwind(AssertUnwindSafe(|| rule(&tensors)))
    };
    let returned = match outcome {
        Ok(Some(returned)) => returned,
        Ok(None) => return Ok(None),
        Err(payload) => {
            let e = strict::caught(payload, T::NAME);
            if e.code() != Code::Panic {
                return Err(e.note(format!("in {hook} of {}, for {at}", T::NAME)));
            }
            let what = e.observed().rule().replacen("the function panicked", &format!("{hook} panicked"), 1);
            return fail(Code::Gradient, what);
        }
    };
    if returned.len() != expected.len() {
        return fail(Code::Gradient, format!("{hook} gave {} tensors, {} are needed", returned.len(), expected.len()));
    }
    let mut outputs = Vec::new();
    for (i, (t, ty)) in returned.iter().zip(expected).enumerate() {
        let Some(t) = t else { continue };
        let given = t.try_type()?;
        if given != *ty {
            let code = if given.dtype == ty.dtype { Code::Shape } else { Code::DType };
            return fail(code, format!("{hook} gave {given} as number {i}, which has to be {ty}"));
        }
        outputs.push(trace::lift(t)?);
    }
    let done = guard.finish();
    if !done.cells.is_empty() {
        return fail(Code::Gradient, format!("{hook} reads state, such as a generator or a buffer"));
    }
    let mut captured = Vec::new();
    for (t, _) in &done.captures {
        match t.held() {
            Held::Array(a) => captured.push(a.to_literal().map_err(Error::exec)?),
            Held::Traced(v) => {
                return fail(
                    Code::Gradient,
                    format!("{hook} uses a traced value from {}, which is no operand", v.made),
                );
            }
            Held::Error(e) => return Err(e),
        }
    }
    let mut graph = done.graph;
    graph.set_outputs(outputs);
    Ok(Some((Traced { graph, captured }, returned.iter().map(Option::is_some).collect())))
}

impl Traced {
    /// Puts the graph where a rule emits; one value for each tensor that is there.
    fn emit(&self, b: &mut dyn Emit, inputs: &[Value]) -> Vec<Value> {
        let constants = self.captured.iter().map(|l| b.emit(create::Constant { value: l.clone() }.into(), &[]));
        let captured: Vec<Value> = constants.collect();
        let arguments: Vec<Value> = inputs.iter().copied().chain(captured).collect();
        b.inline(&self.graph, &arguments)
    }
}

/// Values where `present` says so.
fn spread(values: Vec<Value>, present: &[bool]) -> impl Iterator<Item = Option<Value>> {
    let mut values = values.into_iter();
    present.iter().map(move |&there| if there { values.next() } else { None })
}

fn types(b: &dyn Emit, values: &[Value]) -> Vec<Type> {
    values.iter().map(|&v| b.ty(v).clone()).collect()
}

/// The tensors of a list that has some of them, and zeros for the others.
fn with_zeros(types: &[Type], there: &[bool], given: &[Tensor]) -> Vec<Tensor> {
    let mut given = given.iter();
    let zeros = |ty: &Type| prim::full(Scalar::zero(ty.dtype), &ty.shape);
    let one =
        |(ty, &there): (&Type, &bool)| if there { given.next().cloned() } else { None }.unwrap_or_else(|| zeros(ty));
    types.iter().zip(there).map(one).collect()
}

/// What a failing rule does: the transform that asked for it catches the panic, and gives the error.
fn raised<R>(outcome: Result<R>) -> R {
    outcome.unwrap_or_else(|e| strict::raise(e))
}

pub(super) fn vjp<T: CustomOp>(
    op: &T,
    b: &mut dyn Emit,
    cx: &VjpContext<'_>,
) -> std::result::Result<PerOperand, NotDifferentiable> {
    let (n, m) = (cx.operands.len(), cx.results.len());
    let (operands, results) = (types(b, cx.operands), types(b, cx.results));
    let reached: Vec<bool> = cx.cotangents.iter().map(Option::is_some).collect();
    let flowing: Vec<Value> = cx.cotangents.iter().flatten().copied().collect();
    let inputs: Vec<Value> = [cx.operands, cx.results, &flowing].concat();
    let rule = |t: &[Tensor]| {
        let cotangents = with_zeros(&results, &reached, &t[n + m..]);
        let reverse = Reverse {
            operands: &t[..n],
            results: &t[n..n + m],
            cotangents: &cotangents,
            reached: &reached,
            wanted: cx.wanted,
        };
        op.vjp(&reverse)
    };
    let given = types(b, &inputs);
    let (graph, present) = raised(traced::<T>("vjp", &given, n, &operands, &rule)).ok_or(NO_RULE)?;
    Ok(spread(graph.emit(b, &inputs), &present).collect())
}

pub(super) fn jvp<T: CustomOp>(
    op: &T,
    b: &mut dyn Emit,
    operands: &[Value],
    results: &[Value],
    tangents: &[Option<Value>],
) -> std::result::Result<PerResult, NotDifferentiable> {
    let (n, m) = (operands.len(), results.len());
    let (given, made) = (types(b, operands), types(b, results));
    let moving: Vec<bool> = tangents.iter().map(Option::is_some).collect();
    let flowing: Vec<Value> = tangents.iter().flatten().copied().collect();
    let inputs: Vec<Value> = [operands, results, &flowing].concat();
    let rule = |t: &[Tensor]| {
        let tangents = with_zeros(&given, &moving, &t[n + m..]);
        op.jvp(&Forward { operands: &t[..n], results: &t[n..n + m], tangents: &tangents, moving: &moving })
    };
    if let Some((graph, present)) = raised(traced::<T>("jvp", &types(b, &inputs), n, &made, &rule)) {
        return Ok(spread(graph.emit(b, &inputs), &present).collect());
    }
    transposed(op, b, operands, results, tangents)
}

/// Tangents by the reverse rule alone: that is linear in the cotangents, and its own gradient by them is what is wanted.
fn transposed<T: CustomOp>(
    op: &T,
    b: &mut dyn Emit,
    operands: &[Value],
    results: &[Value],
    tangents: &[Option<Value>],
) -> std::result::Result<PerResult, NotDifferentiable> {
    let (n, m) = (operands.len(), results.len());
    let (given, made) = (types(b, operands), types(b, results));
    let reached: Vec<bool> = made.iter().map(|ty| ty.dtype.is_float()).collect();
    let wanted: Vec<bool> = tangents.iter().map(Option::is_some).collect();
    let rule = |t: &[Tensor]| {
        let cotangents = with_zeros(&made, &reached, &t[n + m..]);
        op.vjp(&Reverse {
            operands: &t[..n],
            results: &t[n..n + m],
            cotangents: &cotangents,
            reached: &reached,
            wanted: &wanted,
        })
    };
    let floats = made.iter().filter(|ty| ty.dtype.is_float()).cloned();
    let inputs: Vec<Type> = given.iter().chain(&made).cloned().chain(floats).collect();
    let (mut rule, present) = raised(traced::<T>("vjp", &inputs, n, &given, &rule)).ok_or(NO_RULE)?;
    // Cotangents stand before what is captured.
    let first = n + m;
    let count = reached.iter().filter(|&&r| r).count();
    let cotangents: Vec<Value> = rule.graph.inputs()[first..first + count].to_vec();
    let gradients: Vec<Option<Value>> = spread(rule.graph.outputs().to_vec(), &present).collect();
    let mut seeds = Vec::new();
    let mut moving = Vec::new();
    for ((gradient, tangent), ty) in gradients.iter().zip(tangents).zip(&given) {
        if let (Some(gradient), Some(tangent)) = (gradient, tangent) {
            seeds.push((*gradient, rule.graph.add_input(ty.clone())));
            moving.push(*tangent);
        }
    }
    let found = append_vjp(&mut rule.graph, &seeds, &cotangents);
    if !found.cuts.is_empty() {
        return Err(NotDifferentiable("the op has no forward rule, and its reverse rule cannot be differentiated"));
    }
    let known: Vec<bool> = found.values.iter().map(Option::is_some).collect();
    rule.graph.set_outputs(found.values.into_iter().flatten().collect());
    // The outcome does not depend on the cotangents.
    let zeros: Vec<Value> = cotangents
        .iter()
        .map(|&v| {
            let ty = rule.graph.ty(v);
            b.emit(create::Full { value: Scalar::zero(ty.dtype), shape: ty.shape.clone() }.into(), &[])
        })
        .collect();
    let constants = rule.captured.iter().map(|l| b.emit(create::Constant { value: l.clone() }.into(), &[]));
    let constants: Vec<Value> = constants.collect();
    let arguments = [operands, results, &zeros, &constants, &moving].concat();
    let values = b.inline(&rule.graph, &arguments);
    let mut floats = spread(values, &known);
    Ok(reached.iter().map(|&float| if float { floats.next().flatten() } else { None }).collect())
}

pub(super) fn batch<T: CustomOp>(
    op: &T,
    b: &mut dyn Emit,
    operands: &[Value],
    axes: &[Option<usize>],
    size: &Dim,
) -> Values {
    let given = types(b, operands);
    let example = |(ty, axis): (&Type, &Option<usize>)| {
        let mut ty = ty.clone();
        axis.iter().for_each(|&a| drop(ty.shape.remove(a)));
        ty
    };
    let examples: Vec<Type> = given.iter().zip(axes).map(example).collect();
    let examples: Vec<&Type> = examples.iter().collect();
    // It has been inferred before, when the example was traced.
    let mut expected = op.infer(&examples).unwrap_or_default();
    expected.iter_mut().for_each(|ty| ty.shape.insert(0, size.clone()));
    let rule = |t: &[Tensor]| {
        let own = op.batch(&Batching { operands: t, axes, size });
        own.map(|all| all.into_iter().map(Some).collect())
    };
    let made = match raised(traced::<T>("batch", &given, given.len(), &expected, &rule)) {
        Some(made) => made,
        None => {
            events::record(
                Event::BatchedByLoop,
                format_args!("{} has no rule for batching, and runs for each of {size} examples", T::NAME),
            );
            let rule = |t: &[Tensor]| {
                let cx = Batching { operands: t, axes, size };
                Some(one_by_one(op, t, &cx, expected.len()).into_iter().map(Some).collect())
            };
            raised(traced::<T>("batch", &given, given.len(), &expected, &rule)).expect("the loop is a rule")
        }
    };
    made.0.emit(b, operands).into_iter().collect()
}

/// The op for one example after the other: a loop.
fn one_by_one<T: CustomOp>(op: &T, operands: &[Tensor], cx: &Batching<'_>, results: usize) -> Vec<Tensor> {
    let batched: Vec<usize> = (0..operands.len()).filter(|&i| cx.axes[i].is_some()).collect();
    let examples: Vec<Tensor> = batched.iter().map(|&i| cx.in_front(i)).collect();
    let one = |example: &Vec<Tensor>| {
        let mut all = operands.to_vec();
        batched.iter().zip(example).for_each(|(&i, x)| all[i] = x.clone());
        attempt(op, &all.iter().collect::<Vec<_>>()).unwrap_or_else(|e| vec![Tensor::error(e); results])
    };
    control::map(one, &examples)
}
