//! Traced functions as regions of one op.

use crate::dispatch::here;
use crate::error::{Error, Result};
use crate::tensor::{Identity, Tensor};
use crate::transform::traced::{self, Behind, Function};
use crate::tree::Tree;
use crate::{cell, scope, trace};
use ir::ops::GraphEmitter;
use ir::{EmitExt, Graph, Origin, Primitive, Region, Scalar, Type, Value};
use std::collections::HashMap;
use std::panic::Location;

/// What the regions of an op take from outside: each tensor and cell once, whichever of them use it.
#[derive(Default)]
pub(crate) struct Outside {
    known: HashMap<Key, usize>,
    all: Vec<Behind>,
    /// For each whether it is a cell that a region writes, with the line.
    pub written: Vec<Option<&'static Location<'static>>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Tensor(Identity),
    Cell(u64),
}

/// A traced function.
pub(crate) struct Body {
    /// The results, then what the written cells become.
    graph: Graph,
    /// As many results there are.
    results: usize,
    /// What stands behind each of the inputs that are no leaves, by number.
    outside: Vec<usize>,
    /// The cells that it writes, by number.
    writes: Vec<usize>,
}

impl Outside {
    /// A function whose outside is a part of this.
    pub fn take<R: Tree>(&mut self, function: Function<R>) -> (Body, R) {
        let Function { mut graph, results, writes, written, written_at, behind, template, .. } = function;
        let outside = behind.into_iter().map(|b| self.number(b)).collect();
        let writes_of = written.iter().map(|cell| self.known[&Key::Cell(cell.id())]).collect::<Vec<_>>();
        writes_of.iter().zip(written_at).for_each(|(&i, line)| self.written[i] = Some(line));
        graph.set_outputs(results.iter().chain(&writes).copied().collect());
        (Body { graph, results: results.len(), outside, writes: writes_of }, template)
    }

    fn number(&mut self, behind: Behind) -> usize {
        let key = match &behind {
            Behind::Capture(t) => Key::Tensor(t.identity().expect("captured tensors are no errors")),
            Behind::Cell(cell, _) => Key::Cell(cell.id()),
        };
        *self.known.entry(key).or_insert_with(|| {
            self.all.push(behind);
            self.written.push(None);
            self.all.len() - 1
        })
    }

    /// The numbers of those that no region writes, and of those that one does.
    pub fn parts(&self) -> [Vec<usize>; 2] {
        let (read, written): (Vec<usize>, Vec<usize>) = (0..self.all.len()).partition(|&i| self.written[i].is_none());
        [read, written]
    }

    /// The types of all of them.
    pub fn all_types(&self) -> impl Iterator<Item = Type> + '_ {
        self.all.iter().map(Behind::ty)
    }

    /// The types of those with these numbers.
    pub fn types<'a>(&'a self, numbers: &'a [usize]) -> impl Iterator<Item = Type> + 'a {
        numbers.iter().map(|&i| self.all[i].ty())
    }
}

/// An op with regions that is being made.
pub(crate) struct Builder {
    graph: Graph,
    regions: Vec<Region>,
}

/// A region that still yields nothing.
pub(crate) struct Inside {
    region: Region,
    /// Its parameters.
    pub parameters: Vec<Value>,
    /// What the function returned.
    pub results: Vec<Value>,
    /// What each cell that it wrote becomes, by number.
    pub writes: HashMap<usize, Value>,
}

impl Builder {
    pub fn new(kind: &'static str) -> Builder {
        Builder { graph: Graph::new(kind), regions: Vec::new() }
    }

    /// Adds a region with these parameters, of which `leaves` and `outside` say by number which are the function's leaves
    /// and which stand for what is outside.
    pub fn region(
        &mut self,
        types: &[Type],
        body: &Body,
        leaves: &[usize],
        outside: &dyn Fn(usize) -> usize,
    ) -> Inside {
        let region = self.graph.add_region();
        let parameters: Vec<Value> = types.iter().map(|ty| self.graph.add_param(region, ty.clone())).collect();
        let places = leaves.iter().copied().chain(body.outside.iter().map(|&i| outside(i)));
        let arguments: Vec<Value> = places.map(|place| parameters[place]).collect();
        let mut results = self.graph.inline(region, &body.graph, &arguments);
        let writes = body.writes.iter().copied().zip(results.split_off(body.results)).collect();
        self.regions.push(region);
        Inside { region, parameters, results, writes }
    }

    /// The sum of values of a region.
    pub fn sum(&mut self, inside: &Inside, values: Vec<Value>) -> Value {
        let mut values = values.into_iter();
        let first = values.next().expect("at least one");
        let mut e = self.emitter(inside);
        values.fold(first, |sum, v| e.add(sum, v))
    }

    /// Zeros in a region.
    pub fn zeros(&mut self, inside: &Inside, ty: &Type) -> Value {
        self.emitter(inside).full(Scalar::zero(ty.dtype), &ty.shape)
    }

    fn emitter(&mut self, inside: &Inside) -> GraphEmitter<'_> {
        let scope = scope::current().to_string().into();
        let origin = self.graph.origins.intern(Origin { location: here().into(), scope, gradient: false });
        GraphEmitter { graph: &mut self.graph, region: inside.region, origins: [origin].into_iter().collect() }
    }

    /// Says what a region yields.
    pub fn yields(&mut self, inside: &Inside, values: Vec<Value>) {
        self.graph.region_mut(inside.region).yields = values;
    }

    /// Runs the op. `place` makes the list of operands of what is outside; the results from `first` on are what the
    /// written cells become, and are written. The others come back.
    pub fn run(
        mut self,
        primitive: impl Into<Primitive>,
        outside: &Outside,
        place: &dyn Fn(&[Tensor]) -> Vec<Tensor>,
        first: usize,
    ) -> Result<Vec<Tensor>> {
        let [_, written] = outside.parts();
        let _exclusive = (!trace::active() && !written.is_empty()).then(cell::exclusive);
        let beside = place(&Behind::values(&outside.all, &[]));
        let arguments = place(&Behind::values(&outside.all, &beside));
        if let Some(e) = arguments.iter().find_map(Tensor::error_ref) {
            return Err(e.clone());
        }
        let operands: Vec<Value> = arguments.iter().map(|t| self.graph.add_input(t.ty())).collect();
        let scope = scope::current().to_string().into();
        let origin = self.graph.origins.intern(Origin { location: here().into(), scope, gradient: false });
        let root = self.graph.root();
        let op = self.graph.append(root, primitive.into(), &operands, &self.regions, &[origin]);
        let op = op.map_err(|v| super::located(Error::violation(v)))?;
        self.graph.set_outputs(self.graph.op(op).results.to_vec());
        let mut results = traced::apply(&self.graph, &arguments)?;
        for (i, value) in written.iter().zip(results.drain(first..first + written.len())) {
            if let Behind::Cell(cell, _) = &outside.all[*i] {
                traced::write(cell, &value, outside.written[*i].unwrap_or(here()));
            }
        }
        Ok(results)
    }
}
