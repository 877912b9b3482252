//! How large index expressions become.

use ir::kernel::*;
use std::collections::HashMap;

/// What loop variables run past their ends by, at most.
const MARGIN: i64 = 1 << 16;

/// The least and the largest value.
type Range = (i64, i64);

/// True if [`Bits32`](super::IndexWidth::Bits32) is enough for a launch: no index expression, and no part of one, leaves 32
/// bits. Spaces that loops go over may be larger than every tensor. Expressions of loaded values are places in tensors.
pub fn is_narrow(kernel: &Kernel, extents: &[i64]) -> bool {
    let mut ends: HashMap<Iter, Index> = HashMap::new();
    for nest in &kernel.nests {
        ends.insert(nest.task, nest.grid);
        loops(&nest.body.0, &mut ends);
    }
    let mut known: Vec<Option<Option<Range>>> = vec![None; kernel.indices.nodes().len()];
    (0..known.len()).all(|i| {
        let range = range(kernel, extents, &ends, Index(i as u32), &mut known);
        range.is_none_or(|(low, high)| low > i64::from(i32::MIN) + MARGIN && high < i64::from(i32::MAX) - MARGIN)
    })
}

fn loops(block: &[Stmt], ends: &mut HashMap<Iter, Index>) {
    for stmt in block {
        if let Stmt::Loop(l) = stmt {
            ends.insert(l.iter, l.extent);
            loops(&l.body.0, ends);
        }
    }
}

/// The values of an expression, if they do not depend on data. What does not fit is as far away as can be.
fn range(
    kernel: &Kernel,
    extents: &[i64],
    ends: &HashMap<Iter, Index>,
    i: Index,
    known: &mut [Option<Option<Range>>],
) -> Option<Range> {
    use IndexNode::*;
    if let Some(range) = known[i.0 as usize] {
        return range;
    }
    let mut go = |i| range(kernel, extents, ends, i, known);
    let both = |a: Option<Range>, b: Option<Range>| Some((a?, b?));
    let corners = |(a, b): (Range, Range), f: fn(i64, i64) -> i64| {
        let all = [f(a.0, b.0), f(a.0, b.1), f(a.1, b.0), f(a.1, b.1)];
        (all.into_iter().min().unwrap_or(0), all.into_iter().max().unwrap_or(0))
    };
    let value = match kernel.indices.node(i) {
        Const(n) => Some((n, n)),
        Extent(e) => extents.get(e.at()).map(|&n| (n, n)),
        // An extent may hold the variables of loops around, but not its own.
        Iter(it) => ends.get(&it).and_then(|&end| go(end)).map(|(_, high)| (0, high.saturating_sub(1).max(0))),
        Var(_) => None,
        Add(a, b) => both(go(a), go(b)).map(|r| corners(r, i64::saturating_add)),
        Mul(a, b) => both(go(a), go(b)).map(|r| corners(r, i64::saturating_mul)),
        Min(a, b) => both(go(a), go(b)).map(|r| corners(r, i64::min)),
        Max(a, b) => both(go(a), go(b)).map(|r| corners(r, i64::max)),
        FloorDiv(a, b) => both(go(a), go(b)).map(|(a, b)| corners((a, (b.0.max(1), b.1.max(1))), i64::div_euclid)),
        Mod(a, b) => both(go(a), go(b)).map(|(a, b)| {
            let high = b.1.max(1) - 1;
            (0, if a.0 >= 0 { high.min(a.1) } else { high })
        }),
    };
    known[i.0 as usize] = Some(value);
    value
}

#[cfg(test)]
mod tests {
    use super::is_narrow;
    use ir::kernel::text::parse;

    #[test]
    fn the_space_counts_and_not_only_the_tensors() {
        let kernel = parse(
            "kernel @outer(%x: in f32, %y: in f32, %o: out f32; N) {
               nest %t in 0..1 work N {
                 for %i in 0..N*N lanes {
                   %a: f32 = load %x[%i / N]
                   %b: f32 = load %y[%i mod N]
                   %c: f32 = mul %a, %b
                   yield sum %c -> %s: f32
                 }
                 store %o[0], %s
               }
             }",
        )
        .unwrap();
        assert!(is_narrow(&kernel, &[40_000]));
        assert!(!is_narrow(&kernel, &[50_000]));
        assert!(!is_narrow(&kernel, &[i64::MAX]));
    }
}
