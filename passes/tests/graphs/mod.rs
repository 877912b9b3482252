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
    fn inline(&mut self, graph: &Graph, arguments: &[Value]) -> Vec<Value> {
        let root = self.graph.root();
        self.graph.inline(root, graph, arguments)
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
    fn inline(&mut self, graph: &Graph, arguments: &[Value]) -> Vec<Value> {
        self.outer.graph.inline(self.region, graph, arguments)
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
pub fn try_eval(graph: &Graph, inputs: &[Literal]) -> Result<Vec<Literal>, EvalError> {
    eval_region(graph, graph.root(), inputs)
}

pub fn eval(graph: &Graph, inputs: &[Literal]) -> Vec<Literal> {
    try_eval(graph, inputs).unwrap_or_else(|e| panic!("{e}"))
}

fn eval_region(graph: &Graph, r: Region, arguments: &[Literal]) -> Result<Vec<Literal>, EvalError> {
    let data = graph.region(r);
    let mut values: HashMap<Value, Literal> = data.params.iter().copied().zip(arguments.iter().cloned()).collect();
    for &op in &data.ops {
        let d = graph.op(op);
        let operands: Vec<&Literal> = d.operands.iter().map(|v| &values[v]).collect();
        let extents: Vec<SmallVec<[usize; 4]>> =
            d.results.iter().map(|&v| graph.ty(v).shape.known().expect("a static shape")).collect();
        let mut region = |i: usize, arguments: &[Literal]| eval_region(graph, d.regions[i], arguments);
        let regions: Vec<_> = d.regions.iter().map(|&r| graph.region_type(r)).collect();
        let mut cx = EvalContext {
            dim: &|d: &Dim| d.known().ok_or_else(|| EvalError::BadDim(d.to_string())),
            results: &extents,
            regions: &regions,
            region: &mut region,
        };
        let results = d.primitive.eval(&operands, &mut cx)?;
        values.extend(d.results.iter().copied().zip(results));
    }
    Ok(data.yields.iter().map(|v| values[v].clone()).collect())
}

/// Bits are equal, or both are NaN.
pub fn same(a: &Literal, b: &Literal) -> bool {
    let nan = |s: Scalar| s.dtype().is_float() && s.as_f64().is_nan();
    a.ty() == b.ty() && a.iter().zip(b.iter()).all(|(x, y)| x == y || (nan(x) && nan(y)))
}

/// Floats differ by at most `tolerance`, relative to the larger or to 1; everything else is equal.
pub fn close(a: &Literal, b: &Literal, tolerance: f64) -> bool {
    let near = |x: Scalar, y: Scalar| {
        let (x, y) = (x.as_f64(), y.as_f64());
        x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * x.abs().max(y.abs()).max(1.0)
    };
    a.ty() == b.ty() && a.iter().zip(b.iter()).all(|(x, y)| if x.dtype().is_float() { near(x, y) } else { x == y })
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
    let (want, got) = (eval(graph, &inputs), eval(&after, &inputs));
    assert!(want.iter().zip(&got).all(|(a, b)| same(a, b)), "{}became\n{}{want:?}\n{got:?}", show(graph), show(&after));
    show(&after)
}

/// Evaluates the graph after every pass and compares with the graph before the first: by bits after exact passes, and
/// by a tolerance of the dtype from the first other one that changed something.
pub struct Compare {
    inputs: Vec<Literal>,
    expected: Result<Vec<Literal>, EvalError>,
    exact: bool,
    pub inexact_tolerance: fn(ir::DType) -> f64,
}
impl Compare {
    pub fn new(graph: &Graph, inputs: Vec<Literal>) -> Compare {
        let expected = try_eval(graph, &inputs);
        let inexact_tolerance = |dtype: ir::DType| if dtype.is_half() { 2e-2 } else { 1e-5 };
        Compare { inputs, expected, exact: true, inexact_tolerance }
    }
}
impl PassObserver for Compare {
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String> {
        if !run.changed {
            return Ok(());
        }
        self.exact &= run.exact;
        let got = try_eval(graph, &self.inputs);
        let agree = match (&self.expected, &got) {
            (Ok(want), Ok(got)) => want
                .iter()
                .zip(got)
                .all(|(a, b)| if self.exact { same(a, b) } else { close(a, b, (self.inexact_tolerance)(a.dtype())) }),
            // An unused fallible op may be dropped.
            (Err(_), _) => true,
            (Ok(_), Err(_)) => false,
        };
        if agree { Ok(()) } else { Err(format!("changed\n{:?}\nto\n{got:?}\n{}", self.expected, show(graph))) }
    }
}

/// Runs the whole pipeline with a comparison after every pass.
pub fn optimize_and_compare(graph: &Graph, inputs: Vec<Literal>) -> Graph {
    let settings = Settings { check: CheckLevel::Compare, ..Settings::default() };
    let mut compare = Compare::new(graph, inputs);
    let outcome = passes::optimize(graph.clone(), &settings, Some(&mut compare));
    outcome.unwrap_or_else(|e| panic!("{}{e}", show(graph))).graph
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
