//! Constant folding through the reference evaluation.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::ops::EvalContext;
use ir::ops::create::{Constant, Full};
use ir::{Dim, EvalError, Graph, Literal, Lowering, Op, Primitive, Ranges, Region, Scalar, Shape, Type, Value};
use smallvec::SmallVec;

/// Evaluates ops whose operands are known, within the budget of [`PassOptions`](crate::PassOptions). What is the same
/// everywhere becomes or stays a `full`; `full` and `iota` never become dense data, and views of dense data only where
/// they do not make more of it. An op whose evaluation reports an error stays.
#[derive(Clone, Copy, Debug)]
pub struct FoldConstants;

impl Pass for FoldConstants {
    fn name(&self) -> &'static str {
        "fold"
    }
    fn about(&self) -> &'static str {
        "needs canonical views of constants; ops on constants are constants, within the budget"
    }
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError> {
        let mut changed = false;
        for region in graph.reachable_regions() {
            changed |= graph.rewrite(region, |graph, op| match fold(graph, op, cx) {
                Some(constant) => Rewrite::Replace([append(graph, region, op, constant)].into_iter().collect()),
                None => Rewrite::Keep,
            });
        }
        Ok(changed)
    }
}

fn append(graph: &mut Graph, region: Region, op: Op, constant: Primitive) -> Value {
    let origins = graph.op(op).origins.clone();
    let new = graph.append(region, constant, &[], &[], &origins).expect("constants have no operands to mistype");
    graph.op(new).results[0]
}

/// What is known of an operand.
enum Known {
    Splat(Scalar),
    Dense(Literal),
}

fn known(graph: &Graph, v: Value) -> Option<Known> {
    let primitive = &graph.op(graph.defining_op(v)?.0).primitive;
    primitive.splat().map(Known::Splat).or_else(|| primitive.literal().cloned().map(Known::Dense))
}

/// The constant that an op computes.
fn fold(graph: &Graph, op: Op, cx: &mut PassContext) -> Option<Primitive> {
    let data = graph.op(op);
    let &[result] = data.results.as_slice() else { return None };
    let shape = &graph.ty(result).shape;
    // What a user's code costs nobody knows.
    let opaque = data.primitive.lowering() == Lowering::Opaque;
    if !data.regions.is_empty() || !data.primitive.traits().pure || opaque {
        return None;
    }
    if data.operands.is_empty() {
        let value = data.primitive.splat()?;
        let full = Full { value, shape: shape.clone() }.into();
        return (data.primitive != full).then_some(full);
    }
    let operands: SmallVec<[Known; 2]> = data.operands.iter().map(|&v| known(graph, v)).collect::<Option<_>>()?;
    let lowering = data.primitive.lowering();
    let dense: Option<usize> =
        operands.iter().map(|k| if let Known::Dense(l) = k { Some(l.numel()) } else { None }).max().flatten();
    if dense.is_none() && lowering == Lowering::Pointwise {
        // Elements are computed alone, so one of them stands for all, whatever the shape.
        let scalars = operands.iter().map(|k| match k {
            Known::Splat(s) => Literal::scalar(*s),
            Known::Dense(_) => unreachable!("no operand is dense"),
        });
        let value = evaluate(&data.primitive, &scalars.collect::<Vec<_>>(), &[])?.get(0);
        return Some(Full { value, shape: shape.clone() }.into());
    }
    if let (Lowering::View, [Known::Splat(value)]) = (lowering, operands.as_slice())
        && only_moves(graph, op)
    {
        return Some(Full { value: *value, shape: shape.clone() }.into());
    }
    let dims = shape.known()?;
    let numel: usize = dims.iter().product();
    match (dense, lowering) {
        (None, Lowering::View) => return None,
        (Some(n), Lowering::View) if numel > n => return None,
        _ => {}
    }
    let dtype = graph.ty(result).dtype;
    let work = work(graph, op, numel)?;
    if work > cx.fold_work_left || numel.checked_mul(dtype.size())? > cx.options.fold_bytes {
        let place = data.origins.first().map(|&o| graph.origins.get(o).to_string()).unwrap_or_default();
        cx.note(format!(
            "{} of constants at {place} is not folded: {work} operations, {numel} elements",
            data.primitive.name()
        ));
        return None;
    }
    cx.fold_work_left -= work;
    let operands: Vec<Literal> = operands
        .into_iter()
        .zip(&data.operands)
        .map(|(k, &v)| match k {
            Known::Dense(l) => Some(l),
            Known::Splat(s) => Some(Literal::filled(&graph.ty(v).shape.known()?, s)),
        })
        .collect::<Option<_>>()?;
    let literal = evaluate(&data.primitive, &operands, &dims)?;
    if numel == 0 {
        return Some(Full { value: Scalar::zero(dtype), shape: shape.clone() }.into());
    }
    match literal.splat() {
        Some(value) => Some(Full { value, shape: Shape::from(literal.dims()) }.into()),
        None => dense.map(|_| Constant { value: literal }.into()),
    }
}

/// True for a view that adds no elements of its own, as padding does.
fn only_moves(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    let result = graph.ty(data.results[0]);
    let operands: SmallVec<[&Type; 1]> = data.operands.iter().map(|&v| graph.ty(v)).collect();
    let first = vec![Dim::from(0); result.rank()];
    let empty = operands.iter().any(|t| t.shape.iter().any(|d| d.is(0)));
    !empty && data.primitive.view(&operands, result, &first, &Ranges::default()).fill.is_none()
}

/// Scalar operations of an op, about; `None` if they do not fit a number.
fn work(graph: &Graph, op: Op, numel: usize) -> Option<usize> {
    let data = graph.op(op);
    let lhs = graph.ty(data.operands[0]);
    if let Some(axes) = data.primitive.contract_axes() {
        let depth = axes.contract[0].iter().try_fold(1usize, |n, &a| n.checked_mul(lhs.shape[a].as_usize()?))?;
        return numel.checked_mul(depth.max(1));
    }
    data.operands.iter().try_fold(numel, |sum, &v| sum.checked_add(graph.ty(v).shape.numel().as_usize()?))
}

fn evaluate(op: &Primitive, operands: &[Literal], dims: &[usize]) -> Option<Literal> {
    let mut no_region = |_: usize, _: &[Literal]| Err(EvalError::Other("constant folding runs no regions".into()));
    let mut cx = EvalContext {
        dim: &|d| d.known().ok_or_else(|| EvalError::BadDim(d.to_string())),
        results: &[dims.into()],
        regions: &[],
        region: &mut no_region,
    };
    let operands: SmallVec<[&Literal; 4]> = operands.iter().collect();
    op.eval(&operands, &mut cx).ok()?.into_iter().next()
}
