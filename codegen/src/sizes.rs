//! What a launch needs to know of a kernel, as functions of its extents.

use ir::kernel::{Index, IndexNode, Kernel};
use smallvec::SmallVec;

/// The index expressions of a kernel's launch shape, and nothing else of it.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// Operands are positions in this list.
    nodes: Vec<IndexNode>,
    grids: Vec<usize>,
    works: Vec<usize>,
    scratch: Vec<(usize, i64)>,
}

impl Sizes {
    pub(crate) fn new(kernel: &Kernel) -> Sizes {
        let mut known = vec![None; kernel.indices.nodes().len()];
        let mut nodes = Vec::new();
        let mut take = |i| copy(kernel, i, &mut nodes, &mut known);
        let grids = kernel.nests.iter().map(|n| take(n.grid)).collect();
        let works = kernel.nests.iter().map(|n| take(n.work)).collect();
        let scratch = kernel.scratch.iter().map(|s| (take(s.len), s.dtype.size() as i64)).collect();
        Sizes { nodes, grids, works, scratch }
    }

    fn values(&self, extents: &[i64]) -> SmallVec<[Option<i64>; 32]> {
        use IndexNode::*;
        let mut values: SmallVec<[Option<i64>; 32]> = SmallVec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let get = |i: Index| values[i.0 as usize];
            let both = |a, b| Some((get(a)?, get(b)?));
            let value = match *node {
                Const(n) => Some(n),
                Extent(e) => extents.get(e.at()).copied(),
                Iter(_) | Var(_) => None,
                Add(a, b) => both(a, b).and_then(|(a, b)| a.checked_add(b)),
                Mul(a, b) => both(a, b).and_then(|(a, b)| a.checked_mul(b)),
                FloorDiv(a, b) => both(a, b).and_then(|(a, b)| (b > 0).then(|| a.div_euclid(b))),
                Mod(a, b) => both(a, b).and_then(|(a, b)| (b > 0).then(|| a.rem_euclid(b))),
                Min(a, b) => both(a, b).map(|(a, b)| a.min(b)),
                Max(a, b) => both(a, b).map(|(a, b)| a.max(b)),
            };
            values.push(value);
        }
        values
    }

    /// Tasks of each nest.
    pub(crate) fn grids(&self, extents: &[i64]) -> Option<SmallVec<[i64; 8]>> {
        let values = self.values(extents);
        self.grids.iter().map(|&g| values[g].map(|n| n.max(0))).collect()
    }

    /// Work of one task of each nest.
    pub(crate) fn works(&self, extents: &[i64]) -> Option<SmallVec<[i64; 8]>> {
        let values = self.values(extents);
        self.works.iter().map(|&w| values[w].map(|n| n.max(0))).collect()
    }

    /// Bytes of scratch of one running task, each row rounded up to 64.
    pub(crate) fn scratch_bytes(&self, extents: &[i64]) -> Option<usize> {
        let values = self.values(extents);
        let mut total = 0i64;
        for &(len, size) in &self.scratch {
            let bytes = values[len]?.max(0).checked_mul(size)?.checked_add(63)? & !63;
            total = total.checked_add(bytes)?;
        }
        usize::try_from(total).ok()
    }
}

fn copy(kernel: &Kernel, i: Index, nodes: &mut Vec<IndexNode>, known: &mut [Option<usize>]) -> usize {
    use IndexNode::*;
    if let Some(at) = known[i.0 as usize] {
        return at;
    }
    let mut go = |i, nodes: &mut Vec<IndexNode>| Index(copy(kernel, i, nodes, known) as u32);
    let node = match kernel.indices.node(i) {
        leaf @ (Const(_) | Extent(_) | Iter(_) | Var(_)) => leaf,
        Add(a, b) => Add(go(a, nodes), go(b, nodes)),
        Mul(a, b) => Mul(go(a, nodes), go(b, nodes)),
        FloorDiv(a, b) => FloorDiv(go(a, nodes), go(b, nodes)),
        Mod(a, b) => Mod(go(a, nodes), go(b, nodes)),
        Min(a, b) => Min(go(a, nodes), go(b, nodes)),
        Max(a, b) => Max(go(a, nodes), go(b, nodes)),
    };
    nodes.push(node);
    known[i.0 as usize] = Some(nodes.len() - 1);
    nodes.len() - 1
}
