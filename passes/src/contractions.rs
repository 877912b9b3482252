//! Products in the form that the kernel library takes.

use crate::lower::contract::is_strided;
use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::ops::contract::DotGeneral;
use ir::ops::{ContractAxes, GraphEmitter};
use ir::{Axes, Emit, EmitExt, Graph, Lowering, Op, Region, Shape, Value};
use std::collections::HashMap;

/// Brings operands of products whose batch, free or summed axes cannot be walked with one stride into an order in which
/// they can: batch, free, summed on the left, batch, summed, free on the right. Where another order of the summed pairs
/// saves a transpose, it is taken.
#[derive(Clone, Copy, Debug)]
pub struct StrideContractions;

impl Pass for StrideContractions {
    fn name(&self) -> &'static str {
        "contractions"
    }
    fn about(&self) -> &'static str {
        "needs transposes absorbed by canonicalize, which must not run again; every product lowers to strided matrices"
    }
    fn required(&self) -> bool {
        true
    }
    fn is_exact(&self) -> bool {
        false
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        let mut changed = false;
        for region in graph.reachable_regions() {
            let mut transposed = HashMap::new();
            changed |= graph.rewrite(region, |graph, op| {
                if graph.op(op).primitive.lowering() != Lowering::Contract || is_strided(graph, op) {
                    return Rewrite::Keep;
                }
                Rewrite::Replace([strided(graph, region, op, &mut transposed)].into_iter().collect())
            });
        }
        Ok(changed)
    }
    fn guarantee(&self, graph: &Graph) -> Result<(), String> {
        for region in graph.reachable_regions() {
            let bad = |&&op: &&Op| graph.op(op).primitive.lowering() == Lowering::Contract && !is_strided(graph, op);
            if let Some(&op) = graph.region(region).ops.iter().find(bad) {
                let operands = graph.op(op).operands.iter().map(|&v| graph.ty(v).to_string()).collect::<Vec<_>>();
                return Err(format!("a product of {} has no strides", operands.join(" and ")));
            }
        }
        Ok(())
    }
}

/// Transposed operands of a region, to be shared by products.
type Transposed = HashMap<(Value, Axes), Value>;

fn strided(graph: &mut Graph, region: Region, op: Op, transposed: &mut Transposed) -> Value {
    let data = graph.op(op).clone();
    let axes = data.primitive.contract_axes().expect("a contraction has axes");
    let shapes = [0, 1].map(|side| graph.ty(data.operands[side]).shape.clone());
    let [mut lhs, mut rhs] = best_order(&shapes, axes);
    let mut operands = [data.operands[0], data.operands[1]];
    let mut b = GraphEmitter { graph, region, origins: data.origins };
    for (i, side) in [&mut lhs, &mut rhs].into_iter().enumerate() {
        if !side.is_walkable(&shapes[i]) {
            let order = side.normalize(i == 0);
            let key = (operands[i], order);
            operands[i] = match transposed.get(&key) {
                Some(&v) => v,
                None => {
                    let v = b.transpose(key.0, &key.1);
                    transposed.insert(key, v);
                    v
                }
            };
        }
    }
    let op = DotGeneral {
        lhs_batch: lhs.batch,
        rhs_batch: rhs.batch,
        lhs_contract: lhs.contract,
        rhs_contract: rhs.contract,
    };
    b.emit(op.into(), &operands)
}

/// The axes of one operand.
#[derive(Clone)]
struct Side {
    batch: Axes,
    free: Axes,
    contract: Axes,
}

impl Side {
    fn is_walkable(&self, shape: &Shape) -> bool {
        let strides = shape.strides();
        [&self.batch, &self.free, &self.contract].into_iter().all(|axes| {
            let mut long = axes.iter().filter(|&&a| !shape[a].is(1));
            let Some(mut outer) = long.next() else { return true };
            long.all(|inner| {
                let adjacent = strides[*outer] == &shape[*inner] * &strides[*inner];
                outer = inner;
                adjacent
            })
        })
    }

    /// Renumbers the axes for a transposed operand; yields the transpose.
    fn normalize(&mut self, left: bool) -> Axes {
        let (second, third) =
            if left { (&mut self.free, &mut self.contract) } else { (&mut self.contract, &mut self.free) };
        let mut order = Axes::new();
        for group in [&mut self.batch, second, third] {
            let start = order.len();
            order.extend(group.iter().copied());
            *group = (start..order.len()).collect();
        }
        order
    }
}

/// Both sides with the summed pairs in the order that needs the fewest transposes; the given order wins ties.
fn best_order(shapes: &[Shape; 2], axes: ContractAxes) -> [Side; 2] {
    let [l, r] = &axes.contract;
    let pairs: Vec<(usize, usize)> = l.iter().copied().zip(r.iter().copied()).collect();
    let (mut by_left, mut by_right) = (pairs.clone(), pairs.clone());
    by_left.sort_by_key(|p| p.0);
    by_right.sort_by_key(|p| p.1);
    let sides = |pairs: Vec<(usize, usize)>| {
        let contract: [Axes; 2] = [pairs.iter().map(|p| p.0).collect(), pairs.iter().map(|p| p.1).collect()];
        let mut side = 0;
        contract.map(|contract| {
            let batch = axes.batch[side].clone();
            let rank = shapes[side].rank();
            side += 1;
            let free = (0..rank).filter(|a| !batch.contains(a) && !contract.contains(a)).collect();
            Side { batch, free, contract }
        })
    };
    let transposes = |s: &[Side; 2]| s.iter().zip(shapes).filter(|(side, shape)| !side.is_walkable(shape)).count();
    [pairs, by_left, by_right].map(sides).into_iter().min_by_key(transposes).expect("three orders")
}
