//! Common subexpression elimination.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::{Rewrite, Values};
use ir::{Graph, Op, Primitive};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Origins that a merged op keeps at most: enough for a message, and merging stays linear.
const MAX_ORIGINS: usize = 8;
/// Elements of a constant that enter its hash; equality looks at all.
const HASHED_ELEMENTS: usize = 64;

/// Merges ops with equal primitives, attributes and operands; the first stays, and carries the origins of all (at most
/// eight). Operands of commutative ops count in any order. Ops with regions are left alone.
#[derive(Clone, Copy, Debug)]
pub struct EliminateCommonSubexpressions;

impl Pass for EliminateCommonSubexpressions {
    fn name(&self) -> &'static str {
        "cse"
    }
    fn about(&self) -> &'static str {
        "needs nothing; no two pure ops of a region compute the same"
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        let mut changed = false;
        for region in graph.reachable_regions() {
            let mut seen: HashMap<u64, SmallVec<[Op; 1]>> = HashMap::new();
            changed |= graph.rewrite(region, |graph, op| {
                let data = graph.op(op);
                if !data.primitive.traits().pure || !data.regions.is_empty() {
                    return Rewrite::Keep;
                }
                let key = key_operands(&data.primitive, &data.operands);
                let bucket = seen.entry(hash(&data.primitive, &key)).or_default();
                let same = bucket.iter().copied().find(|&first| {
                    let first = graph.op(first);
                    first.primitive == data.primitive && key_operands(&first.primitive, &first.operands) == key
                });
                let Some(first) = same else {
                    bucket.push(op);
                    return Rewrite::Keep;
                };
                let origins = data.origins.clone();
                let first = graph.op_mut(first);
                for o in origins {
                    if first.origins.len() < MAX_ORIGINS && !first.origins.contains(&o) {
                        first.origins.push(o);
                    }
                }
                Rewrite::Replace(first.results.clone())
            });
        }
        Ok(changed)
    }
}

/// The operands, in one order for all ways to write a commutative op.
fn key_operands(primitive: &Primitive, operands: &Values) -> Values {
    let mut key = operands.clone();
    if primitive.traits().commutative {
        key[..2].sort_unstable();
    }
    key
}

fn hash(primitive: &Primitive, operands: &Values) -> u64 {
    let mut h = DefaultHasher::new();
    match primitive.literal() {
        Some(literal) => {
            (literal.dims(), literal.dtype()).hash(&mut h);
            literal.iter().take(HASHED_ELEMENTS).for_each(|s| s.hash(&mut h));
        }
        None => primitive.hash(&mut h),
    }
    operands.hash(&mut h);
    h.finish()
}
