//! Views: ops whose elements are the operand's, elsewhere.

mod broadcast;
mod concatenate;
mod pad;
mod reshape;
mod reverse;
mod slice;
mod transpose;

pub use broadcast::BroadcastInDim;
pub use concatenate::Concatenate;
pub use pad::Pad;
pub use reshape::Reshape;
pub use reverse::Reverse;
pub use slice::Slice;
pub use transpose::Transpose;

use super::{Primitive, Rewriter, View, ViewPiece};
use crate::graph::Value;
use crate::{Dim, Shape, Type};
use smallvec::{SmallVec, smallvec};

/// What these ops are.
pub(super) const FAMILY: &str = "Views: elements of the operand, elsewhere";

/// The largest stride and interior padding, well inside the range in which extents are computed.
const LARGEST_STEP: usize = u32::MAX as usize;

/// The view that reads its one operand at `index`, always.
fn moved(index: impl IntoIterator<Item = Dim>) -> View {
    let index = index.into_iter().collect();
    let piece = ViewPiece { operand: 0, index, non_negative: smallvec![], divisible: smallvec![] };
    View { pieces: smallvec![piece], fill: None }
}

/// Emits an op if its result has exactly that type. A rewrite of symbolic bounds may yield an equal extent that is
/// written differently, and is then not made.
fn emit_same(b: &mut dyn Rewriter, op: impl Into<Primitive>, operands: &[Value], result: &Type) -> Option<Value> {
    let op = op.into();
    let same = {
        let types: SmallVec<[&Type; 2]> = operands.iter().map(|&v| b.ty(v)).collect();
        op.infer(&types, &[]).is_ok_and(|types| types[0] == *result)
    };
    same.then(|| b.emit(op, operands))
}

/// 0 for each axis.
fn zeros(rank: usize) -> Shape {
    (0..rank).map(|_| 0).collect()
}
