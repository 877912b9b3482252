//! The code of one element as a straight line, for who looks for a pattern in it.

use super::{Kind, MaskId, NodeId, Puller};
use ir::graph::Definition;
use ir::kernel::{Access, Expr, KernelBuilder, Memory, Stmt, Var};
use ir::{Dim, Value};
use smallvec::SmallVec;
use std::collections::HashMap;

/// What computes one element.
pub(in crate::lower) struct Line {
    /// The element.
    pub result: Var,
    /// What is read: of which parameter, and which element.
    pub loads: HashMap<Var, (Value, Dim)>,
    /// In order, loads too.
    pub code: Vec<(Var, Expr)>,
}

impl Puller<'_> {
    /// The code of a node, unless there are conditions, gathers, reductions, or numbers that depend on the place in it.
    pub fn line(&self, root: NodeId) -> Option<Line> {
        let mut k = KernelBuilder::new("");
        let one = k.index(1);
        let task = k.begin_nest(one, one);
        let mut loads = HashMap::new();
        let mut vars: HashMap<NodeId, Var> = HashMap::new();
        for id in self.order(&[root]) {
            let node = &self.nodes[id.at()];
            let op = || match self.graph.value(node.value).def {
                Definition::Result(op, _) => Some(&self.graph.op(op).primitive),
                Definition::Param(..) => None,
            };
            let var = match &node.kind {
                Kind::Load(Memory::Param(_), linear) if node.mask == MaskId(0) => {
                    let memory = k.param(self.graph.ty(node.value).dtype, Access::In);
                    let var = k.load(memory, task);
                    loads.insert(var, (node.value, linear.clone()));
                    var
                }
                Kind::Apply => {
                    let operands: SmallVec<[Var; 3]> = node.children.iter().map(|c| vars[c]).collect();
                    op()?.scalar(&mut k, &operands)
                }
                Kind::Generate(_) => k.constant(op()?.splat()?),
                Kind::Pieces(pieces, fill) => match (&pieces[..], fill) {
                    ([], Some(number)) => k.constant(*number),
                    ([(MaskId(0), child)], _) => vars[child],
                    _ => return None,
                },
                _ => return None,
            };
            vars.insert(id, var);
        }
        k.end_nest();
        let kernel = k.finish();
        let code = kernel.nests.into_iter().flat_map(|nest| nest.body.0);
        let code = code.map(|s| if let Stmt::Let { var, expr } = s { Some((var, expr)) } else { None });
        Some(Line { result: vars[&root], loads, code: code.collect::<Option<_>>()? })
    }
}
