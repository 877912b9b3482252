//! Batching of ops with regions.

use super::{Batcher, Tracked, Unbatchable};
use ir::{Op, Region};
use smallvec::SmallVec;

/// Batches an op with regions, of whose operands at least one is batched.
pub(super) fn batch(
    b: &mut Batcher<'_>,
    op: Op,
    _into: Region,
    _operands: &[Tracked],
) -> Result<SmallVec<[Tracked; 1]>, Unbatchable> {
    Err(b.refused(op, "vmap of it is not there yet"))
}
