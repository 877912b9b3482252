//! Branches and loops with random bodies, which end.

use super::Draw;
use ir::ops::binary::{Add, Compare};
use ir::ops::control::{Scan, Switch, While};
use ir::ops::create::Full;
use ir::{DType, Dim, Graph, Location, Origin, Primitive, Scalar, Shape, Type, Value};

/// How deep regions nest.
const DEPTH: usize = 2;

impl Draw {
    /// Tries to append an op of that name.
    pub(super) fn control(&mut self, name: &str) -> Option<Value> {
        if self.depth == DEPTH {
            return None;
        }
        match name {
            "switch" => self.switch(),
            "while_loop" => self.while_loop(),
            "scan" => self.loop_over(),
            _ => None,
        }
    }

    /// A few values from outside.
    fn some(&mut self, most: usize) -> Vec<Value> {
        let n = self.r.below(most + 1);
        (0..n).map(|_| self.operand(|_| true)).collect()
    }

    fn types(&self, values: &[Value]) -> Vec<Type> {
        values.iter().map(|&v| self.ty(v)).collect()
    }

    /// A graph of those inputs with random ops, which yields those types and then up to `more` others.
    fn body(&mut self, inputs: &[Type], yields: &[Type], more: usize) -> Graph {
        let mut graph = Graph::new("body");
        graph.symbols = self.graph.symbols.clone();
        let outside = std::mem::replace(&mut self.graph, graph);
        let params: Vec<Value> = inputs.iter().map(|ty| self.graph.add_input(ty.clone())).collect();
        let values = std::mem::replace(&mut self.values, params);
        let reduced = std::mem::take(&mut self.reduced);
        self.depth += 1;
        let ops = 1 + self.r.below(5);
        for _ in 0..ops {
            match self.r.percent(10) {
                true => self.pattern(),
                false => {
                    let name = self.name();
                    self.op(name)
                }
            };
        }
        let mut outputs: Vec<Value> = yields.iter().map(|ty| self.of_type(ty)).collect();
        for _ in 0..self.r.below(more + 1) {
            if let Some(v) = self.known(|_| true) {
                outputs.push(v);
            }
        }
        self.graph.set_outputs(outputs);
        self.depth -= 1;
        self.values = values;
        self.reduced = reduced;
        std::mem::replace(&mut self.graph, outside)
    }

    /// Appends an op with regions, and knows all of its results.
    fn with_regions(&mut self, primitive: impl Into<Primitive>, operands: &[Value], bodies: &[Graph]) -> Option<Value> {
        let regions: Vec<_> = bodies.iter().map(|body| self.graph.region_from(body)).collect();
        let primitive = primitive.into();
        let types = self.graph.infer(&primitive, operands, &regions).ok()?;
        if types.is_empty() || !types.iter().all(|t| self.fits(&t.shape)) {
            return None;
        }
        self.line += 1;
        let location = Location { file: "model.rs".into(), line: self.line, column: 1 };
        let origin = self.graph.origins.intern(Origin { location, scope: "".into(), gradient: false });
        let root = self.graph.root();
        let op = self.graph.append(root, primitive, operands, &regions, &[origin]).expect("it was inferred");
        let results = self.graph.op(op).results.to_vec();
        self.values.extend(&results);
        results.first().copied()
    }

    fn switch(&mut self) -> Option<Value> {
        let scalar = |dtype| Type::new(dtype, Shape::scalar());
        let choice = if self.r.percent(50) { DType::Bool } else { DType::I64 };
        let choice = self.of_type(&scalar(choice));
        let given = self.some(3);
        let types = self.types(&given);
        let first = self.body(&types, &[], 3);
        if first.outputs().is_empty() {
            return None;
        }
        let yields = first.output_types();
        let branches = if self.ty(choice).dtype == DType::Bool { 2 } else { 1 + self.r.below(3) };
        let mut bodies = vec![first];
        while bodies.len() < branches {
            let next = self.body(&types, &yields, 0);
            bodies.push(next);
        }
        self.with_regions(Switch {}, &[&[choice], &given[..]].concat(), &bodies)
    }

    /// A loop that counts to a small number.
    fn while_loop(&mut self) -> Option<Value> {
        let number = Type::new(DType::I64, Shape::scalar());
        let start = Scalar::I64(self.r.below(3) as i64);
        let start = self.emit(Full { value: start, shape: Shape::scalar() }, &[])?;
        let (constants, carried) = (self.some(2), self.some(2));
        let operands = [&constants[..], &[start], &carried].concat();
        let types = self.types(&operands);
        let at = constants.len();
        let limit = self.r.below(5) as i64;
        let mut condition = self.empty(&types);
        self.counting(&mut condition, at, |g, root, counter, origin| {
            let full = Full { value: Scalar::I64(limit), shape: Shape::scalar() };
            let end = g.append(root, full.into(), &[], &[], &[origin]).expect("legal");
            let end = g.op(end).results[0];
            let below = Compare { direction: ir::kernel::CompareOp::Lt };
            let op = g.append(root, below.into(), &[counter, end], &[], &[origin]).expect("legal");
            vec![g.op(op).results[0]]
        });
        let yields = self.types(&carried);
        let others = self.body(&types, &yields, 0);
        let mut body = self.empty(&types);
        self.counting(&mut body, at, |g, root, counter, origin| {
            let inputs = g.inputs().to_vec();
            let rest = g.inline(root, &others, &inputs);
            let one = Full { value: Scalar::I64(1), shape: Shape::scalar() };
            let one = g.append(root, one.into(), &[], &[], &[origin]).expect("legal");
            let one = g.op(one).results[0];
            let op = g.append(root, Add {}.into(), &[counter, one], &[], &[origin]).expect("legal");
            [vec![g.op(op).results[0]], rest].concat()
        });
        debug_assert_eq!(body.output_types()[0], number);
        self.with_regions(While { constants: at }, &operands, &[condition, body])
    }

    fn empty(&self, types: &[Type]) -> Graph {
        let mut graph = Graph::new("body");
        graph.symbols = self.graph.symbols.clone();
        types.iter().for_each(|ty| {
            graph.add_input(ty.clone());
        });
        graph
    }

    /// Gives a body its outputs, made with the help of one of its inputs.
    fn counting(
        &mut self,
        graph: &mut Graph,
        counter: usize,
        make: impl FnOnce(&mut Graph, ir::Region, Value, ir::origin::OriginId) -> Vec<Value>,
    ) {
        self.line += 1;
        let location = Location { file: "model.rs".into(), line: self.line, column: 1 };
        let origin = graph.origins.intern(Origin { location, scope: "".into(), gradient: false });
        let (root, counter) = (graph.root(), graph.inputs()[counter]);
        let outputs = make(graph, root, counter, origin);
        graph.set_outputs(outputs);
    }

    fn loop_over(&mut self) -> Option<Value> {
        let (constants, carried) = (self.some(2), self.some(2));
        let mut length = if self.symbolic && self.r.percent(25) {
            Dim::symbol(crate::case::BATCH)
        } else {
            Dim::from(self.r.below(5))
        };
        let mut scanned: Vec<Value> = Vec::new();
        if self.r.percent(80)
            && let Some(x) = self.known(|t| t.rank() > 0)
            && self.most(&self.ty(x).shape[0]) <= 40
        {
            length = self.ty(x).shape[0].clone();
            scanned.push(x);
            if self.r.percent(40) {
                let ty = Type::new(self.dtype(), Shape::from([length.clone()]));
                let other = self.of_type(&ty);
                scanned.push(other);
            }
        }
        let (number, same) = (Type::new(DType::I64, Shape::scalar()), [&constants[..], &carried].concat());
        let element = |ty: Type| Type::new(ty.dtype, Shape::from(&ty.shape[1..]));
        let elements = self.types(&scanned).into_iter().map(element);
        let inputs: Vec<Type> = std::iter::once(number).chain(self.types(&same)).chain(elements).collect();
        let yields = self.types(&carried);
        let body = self.body(&inputs, &yields, 2);
        let op = Scan { length, constants: constants.len(), carried: carried.len(), reverse: self.r.percent(40) };
        self.with_regions(op, &[same, scanned].concat(), &[body])
    }

    fn most(&self, d: &Dim) -> i64 {
        self.batches.iter().map(|&b| crate::case::extent(d, b)).max().expect("one batch at least")
    }
}
