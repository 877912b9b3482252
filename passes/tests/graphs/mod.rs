//! Building, printing and evaluating graphs in tests of passes.
#![allow(dead_code)]

use ir::graph::Values;
use ir::ops::{Emit, EvalContext};
use ir::{Dim, EvalError, Graph, Literal, Location, Origin, Primitive, Region, Scalar, Type, Value};
use passes::{CheckLevel, Pass, PassObserver, PassRun, Settings};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt::Write;

/// Records a graph; every op comes from a line of its own.
pub struct Builder {
    pub graph: Graph,
    line: u32,
}

impl Builder {
    pub fn input(&mut self, ty: Type) -> Value {
        self.graph.add_input(ty)
    }
    /// Appends an op with a region that `body` fills, given the region's parameters.
    pub fn fused(
        &mut self,
        primitive: impl Into<Primitive>,
        operands: &[Value],
        body: impl FnOnce(&mut RegionBuilder<'_>, &[Value]) -> Vec<Value>,
    ) -> Values {
        let region = self.graph.add_region();
        let types: Vec<Type> = operands.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let params: Vec<Value> = types.into_iter().map(|ty| self.graph.add_param(region, ty)).collect();
        let mut inner = RegionBuilder { outer: self, region };
        let yields = body(&mut inner, &params);
        self.graph.region_mut(region).yields = yields;
        let root = self.graph.root();
        let op = append(self, root, primitive.into(), operands, &[region]);
        self.graph.op(op).results.clone()
    }
}

pub struct RegionBuilder<'a> {
    outer: &'a mut Builder,
    region: Region,
}

fn append(b: &mut Builder, region: Region, primitive: Primitive, operands: &[Value], regions: &[Region]) -> ir::Op {
    b.line += 1;
    let location = Location { file: "model.rs".into(), line: b.line, column: 1 };
    let origin = b.graph.origins.intern(Origin { location, scope: "".into(), gradient: false });
    b.graph.append(region, primitive, operands, regions, &[origin]).unwrap_or_else(|e| panic!("{e}"))
}

impl Emit for Builder {
    fn emit(&mut self, primitive: Primitive, operands: &[Value]) -> Value {
        let root = self.graph.root();
        let op = append(self, root, primitive, operands, &[]);
        self.graph.op(op).results[0]
    }
    fn ty(&self, v: Value) -> &Type {
        self.graph.ty(v)
    }
}
impl Emit for RegionBuilder<'_> {
    fn emit(&mut self, primitive: Primitive, operands: &[Value]) -> Value {
        let op = append(self.outer, self.region, primitive, operands, &[]);
        self.outer.graph.op(op).results[0]
    }
    fn ty(&self, v: Value) -> &Type {
        self.outer.graph.ty(v)
    }
}

/// A graph whose outputs are what `f` yields.
pub fn graph(f: impl FnOnce(&mut Builder) -> Vec<Value>) -> Graph {
    let mut b = Builder { graph: Graph::new("test"), line: 0 };
    let outputs = f(&mut b);
    b.graph.set_outputs(outputs);
    b.graph
}

/// Inputs, ops with their source lines, outputs.
pub fn show(graph: &Graph) -> String {
    let mut graph = graph.clone();
    graph.compact();
    let mut out = String::new();
    show_region(&graph, graph.root(), "", &mut out);
    out
}

fn show_region(graph: &Graph, r: Region, indent: &str, out: &mut String) {
    let names = |vs: &[Value]| vs.iter().map(|v| format!("%{}", v.0)).collect::<Vec<_>>().join(", ");
    let typed = |vs: &[Value]| vs.iter().map(|&v| format!("%{}: {}", v.0, graph.ty(v))).collect::<Vec<_>>().join(", ");
    let data = graph.region(r);
    writeln!(out, "{indent}({})", typed(&data.params)).unwrap();
    for &op in &data.ops {
        let d = graph.op(op);
        let lines: Vec<String> = d.origins.iter().map(|&o| graph.origins.get(o).location.line.to_string()).collect();
        let attributes: String = d.primitive.attributes().iter().map(|(n, a)| format!(" {n}={a:?}")).collect();
        let (results, operands) = (typed(&d.results), names(&d.operands));
        writeln!(out, "{indent}{results} = {}({operands}){attributes} @{}", d.primitive.name(), lines.join("+"))
            .unwrap();
        for &inner in &d.regions {
            show_region(graph, inner, &format!("{indent}    "), out);
        }
    }
    writeln!(out, "{indent}-> {}", names(&data.yields)).unwrap();
}

/// Runs a graph with static shapes through the reference evaluations.
pub fn eval(graph: &Graph, inputs: &[Literal]) -> Vec<Literal> {
    eval_region(graph, graph.root(), inputs)
}

fn eval_region(graph: &Graph, r: Region, arguments: &[Literal]) -> Vec<Literal> {
    let data = graph.region(r);
    let mut values: HashMap<Value, Literal> = data.params.iter().copied().zip(arguments.iter().cloned()).collect();
    for &op in &data.ops {
        let d = graph.op(op);
        let operands: Vec<&Literal> = d.operands.iter().map(|v| &values[v]).collect();
        let extents: Vec<SmallVec<[usize; 4]>> =
            d.results.iter().map(|&v| graph.ty(v).shape.known().expect("a static shape")).collect();
        let mut region = |i: usize, arguments: &[Literal]| Ok(eval_region(graph, d.regions[i], arguments));
        let mut cx = EvalContext {
            dim: &|d: &Dim| d.known().ok_or_else(|| EvalError::BadDim(d.to_string())),
            results: &extents,
            region: &mut region,
        };
        let results = d.primitive.eval(&operands, &mut cx).unwrap_or_else(|e| panic!("{}: {e}", d.primitive.name()));
        values.extend(d.results.iter().copied().zip(results));
    }
    data.yields.iter().map(|v| values[v].clone()).collect()
}

/// Distinct small numbers for every input.
pub fn sample_inputs(graph: &Graph) -> Vec<Literal> {
    let literal = |(seed, ty): (usize, Type)| {
        let dims = ty.shape.known().expect("a static shape");
        Literal::from_fn(&dims, ty.dtype, |i| {
            let x = ((i * 37 + seed * 11) % 101) as f64 / 16.0 - 3.0;
            if ty.dtype.is_float() { Scalar::of(ty.dtype, x) } else { Scalar::of(ty.dtype, x.abs()) }
        })
    };
    graph.input_types().into_iter().enumerate().map(literal).collect()
}

/// Runs passes with every check on.
pub fn apply(passes: Vec<Box<dyn Pass>>, graph: &Graph) -> Graph {
    let settings = Settings { check: CheckLevel::Passes, ..Settings::default() };
    passes::driver::run(graph.clone(), &passes, &settings, None).unwrap_or_else(|e| panic!("{e}")).graph
}

/// Runs one pass with every check on; the result must compute the same bits on sample inputs, and the pass must find
/// nothing to do in its own result.
pub fn check(pass: impl Pass + Clone + 'static, graph: &Graph) -> String {
    let after = apply(vec![Box::new(pass.clone())], graph);
    let again = apply(vec![Box::new(pass)], &after);
    assert_eq!(again, after, "a second run changed\n{}to\n{}", show(&after), show(&again));
    let inputs = sample_inputs(graph);
    assert_eq!(eval(graph, &inputs), eval(&after, &inputs), "{}became\n{}", show(graph), show(&after));
    show(&after)
}

/// Keeps what an observer saw.
#[derive(Default)]
pub struct Recorder {
    pub runs: Vec<PassRun>,
    pub fail_after: Option<&'static str>,
}
impl PassObserver for Recorder {
    fn after_pass(&mut self, run: &PassRun, _: &Graph) -> Result<(), String> {
        self.runs.push(run.clone());
        if self.fail_after == Some(run.name) { Err("changed output 0 from 1 to 2".into()) } else { Ok(()) }
    }
}
