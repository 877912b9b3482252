//! Constants that move between the graph, where folding sees them, and the tensors beside it, which are mapped.

use super::{Exported, Input, Output, Role, SMALL};
use crate::jit::Source;
use crate::tensor::Tensor;
use ir::graph::Rewrite;
use ir::ops::{Primitive, create};
use ir::{Graph, Literal, Location, Origin};
use runtime::Array;
use smallvec::smallvec;

impl Exported {
    /// Makes large constants of the graph inputs.
    pub(super) fn lift_large(&mut self) {
        let mut lifted = Vec::new();
        let root = self.graph.root();
        self.graph.rewrite(root, |graph, op| match &graph.op(op).primitive {
            Primitive::Constant(c) if c.value.numel() * c.value.dtype().size() > SMALL => {
                let Ok(array) = Array::from_literal(&c.value) else { return Rewrite::Keep };
                let input = graph.add_input(array.ty());
                lifted.push(array);
                Rewrite::Replace(smallvec![input])
            }
            _ => Rewrite::Keep,
        });
        for (i, array) in lifted.into_iter().enumerate() {
            let (name, value) = (format!("constant.{i}"), Some(Tensor::array(array)));
            self.inputs.push(Input { name, also: Vec::new(), role: Role::Constant, value });
        }
        self.graph.compact();
    }

    /// Makes those inputs, which are constants, part of the graph if they are small.
    pub(super) fn embed_small(&mut self, chosen: &[usize]) {
        let literal = |i: usize, input: &Input| -> Option<Literal> {
            let array = input.value.as_ref().filter(|_| chosen.contains(&i))?.read("freeze").ok()?;
            (array.byte_len() <= SMALL).then(|| array.to_literal().ok())?
        };
        let old = std::mem::replace(&mut self.graph, Graph::new(""));
        let mut graph = Graph::new(&old.name);
        graph.symbols = old.symbols.clone();
        let root = graph.root();
        let location = Location { file: "frozen".into(), line: 1, column: 1 };
        let origin = graph.origins.intern(Origin { location, scope: "".into(), gradient: false });
        let (mut arguments, mut kept) = (Vec::new(), Vec::new());
        for (i, input) in self.inputs.iter().enumerate() {
            let ty = old.ty(old.inputs()[i]);
            let constant = literal(i, input).filter(|l| l.ty() == *ty).and_then(|value| {
                let op = graph.append(root, create::Constant { value }.into(), &[], &[], &[origin]).ok()?;
                graph.op(op).results.first().copied()
            });
            match constant {
                Some(value) => arguments.push(value),
                None => {
                    arguments.push(graph.add_input(ty.clone()));
                    kept.push(i);
                }
            }
        }
        let mut outputs = graph.inline(root, &old, &arguments);
        let mut moved = |source: &mut Source| {
            if let Source::Input(i) = *source {
                *source = match kept.iter().position(|&k| k == i) {
                    Some(new) => Source::Input(new),
                    None => {
                        outputs.push(arguments[i]);
                        Source::Output(outputs.len() - 1)
                    }
                };
            }
        };
        self.outputs.iter_mut().for_each(|Output { source, .. }| moved(source));
        for input in &mut self.inputs {
            if let Role::State(Some(source)) = &mut input.role {
                moved(source);
            }
        }
        graph.set_outputs(outputs);
        self.graph = graph;
        let mut number = 0;
        self.inputs.retain(|_| {
            number += 1;
            kept.contains(&(number - 1))
        });
    }
}
