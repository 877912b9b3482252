//! Matrix products.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::tensor::Tensor;
use crate::{DType, broadcast_shapes, einsum};

pub(super) const OPS: &[Op] = &[
    Op::new("MatMul", &[1, 9, 13], |c| one(c.tensor(0)?.matmul(&c.tensor(1)?))),
    Op::new("Gemm", &[1, 6, 7, 9, 11, 13], gemm),
    Op::new("Einsum", &[12], |c| {
        let all = c.tensors()?;
        let equation: String = c.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
        one(einsum(&equation, &all.iter().collect::<Vec<_>>()))
    }),
    Op::new("Det", &[11, 22], det),
];

fn gemm(c: &Call) -> Out {
    let turned = |i: usize, flag: &str| -> Result<Tensor, Stop> {
        let t = c.tensor(i)?;
        Ok(if c.flag(flag, false) { t.transpose(-1, -2) } else { t })
    };
    let (a, b) = (turned(0, "transA")?, turned(1, "transB")?);
    let (alpha, beta) = (c.float("alpha", 1.0), c.float("beta", 1.0));
    let dtype = a.try_type()?.dtype;
    if a.try_shape()?.rank() != 2 || b.try_shape()?.rank() != 2 {
        return Err(c.fail("an operand is no matrix", "rank 2"));
    }
    let mut y = a.matmul(&b);
    if alpha != 1.0 {
        y = (y * alpha).to_dtype(dtype);
    }
    if let Some(bias) = c.maybe(2)? {
        let (product, added) = (y.try_shape()?, bias.try_shape()?);
        if broadcast_shapes(&[product.clone(), added.clone()])? != product {
            return Err(c.fail(format!("{added} does not broadcast to {product}"), "a bias of the product's shape"));
        }
        y += if beta == 1.0 { bias } else { (bias * beta).to_dtype(dtype) };
    }
    one(y)
}

/// By elimination with the largest pivot of each column, of matrices of known extents.
fn det(c: &Call) -> Out {
    let x = c.tensor(0)?;
    let ty = x.try_type()?;
    let rank = ty.rank();
    if rank < 2 || ty.shape[rank - 1] != ty.shape[rank - 2] {
        return Err(c.fail("the matrices are not square", "square matrices"));
    }
    let n = crate::extent(&ty.shape[rank - 1]);
    if n > 64 {
        return Err(c.fail(format!("matrices of extent {n}"), "at most 64"));
    }
    let (row, column) = (rank as isize - 2, rank as isize - 1);
    let mut rest = x;
    let mut product: Option<Tensor> = None;
    for left in (1..=n).rev() {
        let first = rest.select(column, 0);
        let at = first.abs().argmax(-1).to_dtype(DType::I64);
        // The row of the pivot goes to the top, the first row to its place.
        let places = Tensor::arange(left, DType::I64);
        let at = at.unsqueeze(-1);
        let order = places.eq(&at).where_(0i64, places.broadcast_to(first.try_shape()?));
        let order = places.eq(0).where_(&at, &order);
        let turned = rest.take_along(&order.unsqueeze(-1).broadcast_to(rest.try_shape()?), row);
        let sign = at.eq(0).where_(1.0, -1.0).to_dtype(ty.dtype).squeeze(-1);
        let pivot = turned.select(row, 0).select(-1, 0);
        let factor = &pivot * sign;
        product = Some(match product {
            Some(p) => p * factor,
            None => factor,
        });
        if left == 1 {
            break;
        }
        let end = left as isize;
        let top = turned.slice(row, 0..1).slice(column, 1..end);
        let below = turned.slice(row, 1..end);
        let safe = pivot.eq(0.0).where_(1.0, &pivot).unsqueeze(-1).unsqueeze(-1);
        let scale = below.slice(column, 0..1) / safe;
        rest = below.slice(column, 1..end) - scale * top;
    }
    match product {
        Some(p) => one(p),
        None => one(Tensor::ones(ty.shape.without(&[rank - 1, rank - 2]), ty.dtype)),
    }
}
