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

use super::{View, ViewPiece};
use crate::Dim;
use smallvec::smallvec;

/// The view that reads its one operand at `index`, always.
fn moved(index: impl IntoIterator<Item = Dim>) -> View {
    let index = index.into_iter().collect();
    let piece = ViewPiece { operand: 0, index, non_negative: smallvec![], divisible: smallvec![] };
    View { pieces: smallvec![piece], fill: None }
}
