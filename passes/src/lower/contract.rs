//! Generalised products to strided matrix products.

use super::LowerError;
use ir::ops::ContractAxes;
use ir::program::{BufferId, Epilogue, Product};
use ir::{Axes, Dim, Graph, Op, Shape};

/// The axes of an operand: batch, left over, summed.
pub(crate) struct Groups {
    pub batch: Axes,
    pub free: Axes,
    pub contract: Axes,
}

/// Splits the axes of operand `side` (0 left, 1 right).
pub(crate) fn groups(axes: &ContractAxes, rank: usize, side: usize) -> Groups {
    let (batch, contract) = (axes.batch[side].clone(), axes.contract[side].clone());
    let free = (0..rank).filter(|a| !batch.contains(a) && !contract.contains(a)).collect();
    Groups { batch, free, contract }
}

/// Extent and stride of several axes walked as one, if their memory allows it.
pub(crate) fn collapse(shape: &Shape, axes: &[usize]) -> Option<(Dim, Dim)> {
    let strides = shape.strides();
    let mut all: Option<(Dim, Dim)> = None;
    for &a in axes.iter().rev() {
        if shape[a].is(1) {
            continue;
        }
        all = Some(match all {
            None => (shape[a].clone(), strides[a].clone()),
            Some((extent, stride)) if strides[a] == &extent * &stride => (&shape[a] * extent, stride),
            Some(_) => return None,
        });
    }
    Some(all.unwrap_or((Dim::from(1), Dim::from(1))))
}

/// True if each group of axes of both operands can be walked with one stride.
pub fn is_strided(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    let Some(axes) = data.primitive.contract_axes() else { return false };
    (0..2).all(|side| {
        let shape = &graph.ty(data.operands[side]).shape;
        let g = groups(&axes, shape.rank(), side);
        [&g.batch, &g.free, &g.contract].into_iter().all(|axes| collapse(shape, axes).is_some())
    })
}

/// The matrix product of a `dot_general` over buffers.
pub(super) fn lower_product(
    graph: &Graph,
    op: Op,
    lhs: BufferId,
    rhs: BufferId,
    out: BufferId,
) -> Result<Product, LowerError> {
    let data = graph.op(op);
    let axes = data.primitive.contract_axes().ok_or_else(|| LowerError::Bug("a product without axes".into()))?;
    let stride = |side: usize| {
        let shape = &graph.ty(data.operands[side]).shape;
        let g = groups(&axes, shape.rank(), side);
        let group = |axes: &[usize]| {
            collapse(shape, axes).ok_or_else(|| LowerError::Bug(format!("axes {axes:?} of {shape} have no one stride")))
        };
        Ok::<_, LowerError>((group(&g.batch)?, group(&g.free)?, group(&g.contract)?))
    };
    let ((batch, lb), (m, lm), (k, lk)) = stride(0)?;
    let ((_, rb), (n, rn), (_, rk)) = stride(1)?;
    let out_strides = [&m * &n, n.clone(), Dim::from(1)];
    Ok(Product {
        dtype: graph.ty(data.results[0]).dtype,
        extents: [batch, m, n, k],
        lhs: (lhs, [lb, lm, lk]),
        rhs: (rhs, [rb, rk, rn]),
        out: (out, out_strides),
        epilogue: Epilogue::default(),
    })
}
