//! What an exported function is made of, and whether compiled code computes what the interpreter does.

use super::Exported;
use super::specialize::{bindings, specialize};
use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use ir::ops::Primitive;
use ir::{DType, Dim, Graph, Literal, Lowering, Type, Value};
use runtime::{Executable, bounds, options};
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

/// What a function computes, for some extents of its symbols.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Ops by name, those in regions too.
    pub ops: BTreeMap<&'static str, usize>,
    /// Floating-point and integer operations of a call, a multiplication with its addition as two. What is in loops and
    /// branches counts once.
    pub operations: f64,
    /// Elements of state and constants.
    pub parameters: usize,
    /// Bytes of state and constants.
    pub parameter_bytes: usize,
    /// Bytes of arguments.
    pub argument_bytes: f64,
    /// Bytes of outputs.
    pub output_bytes: f64,
}

/// How an output, or the result of an op, compares with the interpreter's.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The op, or the output's name.
    pub name: String,
    /// Where the op was recorded; empty for outputs.
    pub place: String,
    /// Its type.
    pub ty: String,
    /// The largest difference of two elements that are both finite.
    pub largest: f64,
    /// The first element that is outside of what rounding explains.
    pub wrong: Option<String>,
    /// Why it was not compared, such as a loop that is too long for the interpreter.
    pub skipped: Option<String>,
}

impl Exported {
    /// What it computes; symbols that are not given are 1, or the nearest that their bounds allow.
    ///
    /// ```
    /// use tracewright::{DType, Tensor, io::Exported, jit};
    /// let f = jit(|a: Tensor, b: Tensor| a.matmul(&b));
    /// let cost = f.export(Tensor::ones([4, 8], DType::F32), Tensor::ones([8, 2], DType::F32))?.cost(&Default::default());
    /// assert_eq!((cost.operations, cost.ops["dot_general"]), (4.0 * 8.0 * 2.0 * 2.0, 1));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    pub fn cost(&self, extents: &BTreeMap<String, i64>) -> Cost {
        let graph = &self.graph;
        let value = |symbol: &ir::Symbol| {
            let declared = graph.symbols.iter().find(|s| s.symbol == *symbol);
            let (min, max) = declared.map_or((1, i64::MAX), |s| (s.min, s.max.max(s.min)));
            Some(extents.get(symbol.name()).copied().unwrap_or(1.clamp(min, max)))
        };
        let extent = |d: &Dim| d.eval(&value).map_or(f64::NAN, |n| n as f64);
        let numel = |ty: &Type| ty.shape.iter().map(extent).product::<f64>();
        let mut cost = Cost { parameters: self.parameter_count(), ..Cost::default() };
        for &op in graph.reachable_regions().iter().flat_map(|&r| &graph.region(r).ops) {
            let data = graph.op(op);
            *cost.ops.entry(data.primitive.name()).or_default() += 1;
            let of = |v: Option<&Value>| v.map_or(0.0, |&v| numel(graph.ty(v)));
            let results = of(data.results.first());
            cost.operations += match data.primitive.lowering() {
                Lowering::Pointwise | Lowering::Cumulative => results,
                Lowering::Reduce(_) | Lowering::Scatter(_) => of(data.operands.first()),
                Lowering::Contract => match &data.primitive {
                    Primitive::DotGeneral(dot) => {
                        let shape = &graph.ty(data.operands[0]).shape;
                        2.0 * results * dot.lhs_contract.iter().map(|&axis| extent(&shape[axis])).product::<f64>()
                    }
                    _ => results,
                },
                _ => 0.0,
            };
        }
        let bytes = |ty: &Type| numel(ty) * ty.dtype.size() as f64;
        cost.argument_bytes = self.arguments().iter().map(|(_, ty)| bytes(ty)).sum();
        cost.output_bytes = self.outputs().iter().map(|(_, ty)| bytes(ty)).sum();
        let values = self.inputs.iter().filter(|i| i.role != super::Role::Argument).filter_map(|i| i.value.as_ref());
        cost.parameter_bytes = values.filter_map(|t| Some(t.read("cost").ok()?.byte_len())).sum();
        cost
    }

    /// Compares compiled code with the interpreter: first the outputs of the whole, then each op of the outermost region, given
    /// the operands that it had in compiled code, so that the op that is wrong is the one that is named. How far elements may
    /// be from each other is derived from what rounding there is before them; ops of the user's, of which that is not known,
    /// may be 1e-10 of the value away in f64, 1e-5 in f32, 1e-2 in 16 bits.
    ///
    /// # Errors
    /// The graph is not compiled, so that there is nothing to compare, or its run fails.
    #[track_caller]
    pub fn compare<T: Borrow<Tensor>>(&self, arguments: &[T]) -> Result<[Vec<Compared>; 2]> {
        let _here = enter();
        let arguments: Vec<Tensor> = arguments.iter().map(|t| t.borrow().clone()).collect();
        self.compare_outputs_and_ops(&arguments).map_err(Error::observed)
    }

    fn compare_outputs_and_ops(&self, arguments: &[Tensor]) -> Result<[Vec<Compared>; 2]> {
        let tensors = self.checked(arguments)?;
        let literal = |t: &Tensor| t.read("compare")?.to_literal().map_err(Error::exec);
        let inputs: Vec<Literal> = tensors.iter().map(literal).collect::<Result<_>>()?;
        let strict16 = options::read(|o| o.strict16).unwrap_or(false);
        let compiled = |graph: &Graph| -> Result<Vec<Literal>> {
            let executable = Executable::compile(graph, &[]).map_err(Error::exec)?;
            if !executable.is_compiled() {
                let rule = "the graph is interpreted, and would be compared with itself";
                let legal = "the option `jit`, and a graph that compiles: an event `fallback` says why one does not";
                return Err(Error::new(Code::Argument, "compare", rule, legal).at(here()));
            }
            let arrays = tensors.iter().map(|t| Ok(runtime::Input::Shared(t.read("compare")?.clone())));
            let outputs = executable.call(&mut arrays.collect::<Result<Vec<_>>>()?).map_err(Error::exec)?;
            outputs.iter().map(|a| a.to_literal().map_err(Error::exec)).collect()
        };
        let whole = compiled(&self.graph)?;
        let expected = bounds::analyse(&self.graph, &inputs, strict16);
        let outputs = whole.iter().enumerate().map(|(i, got)| {
            let named = self.outputs.iter().find(|o| o.source == crate::jit::Source::Output(i));
            let name = named.map_or_else(|| format!("new state {i}"), |o| o.name.clone());
            match &expected {
                Ok(expected) => compared(name, String::new(), &expected[i], got, false),
                Err(e) => skipped(name, String::new(), got, e),
            }
        });
        let outputs = outputs.collect();

        let types: Vec<Type> = inputs.iter().map(Literal::ty).collect();
        let graph = specialize(&self.graph, &bindings(&self.graph.input_types(), &types).0)?;
        let mut open = graph.clone();
        let ops = &graph.region(graph.root()).ops;
        let results: Vec<Value> = ops.iter().flat_map(|&op| graph.op(op).results.iter().copied()).collect();
        open.set_outputs(results.clone());
        let mut values: HashMap<Value, Literal> = results.into_iter().zip(compiled(&open)?).collect();
        values.extend(graph.inputs().iter().copied().zip(inputs));
        let mut all = Vec::new();
        for &op in ops {
            let data = graph.op(op);
            let mut alone = Graph::new(data.primitive.name());
            let mut operands: HashMap<Value, Value> = HashMap::new();
            let mut given = Vec::new();
            for &v in &data.operands {
                operands.entry(v).or_insert_with(|| {
                    given.push(values[&v].clone());
                    alone.add_input(values[&v].ty())
                });
            }
            let copy = alone.inline_op(&graph, op, &|v| operands[&v], &mut HashMap::new());
            let root = alone.root();
            alone.region_mut(root).ops.push(copy);
            alone.set_outputs(alone.op(copy).results.to_vec());
            let expected = bounds::analyse(&alone, &given, strict16);
            let place = data.origins.first().map_or(String::new(), |&o| graph.origins.get(o).to_string());
            let unknown = data.primitive.lowering() == Lowering::Opaque;
            for (i, v) in data.results.iter().enumerate() {
                let name = data.primitive.name().to_string();
                all.push(match &expected {
                    Ok(expected) => compared(name, place.clone(), &expected[i], &values[v], unknown),
                    Err(e) => skipped(name, place.clone(), &values[v], e),
                });
            }
        }
        Ok([outputs, all])
    }
}

/// With `unknown`, elements of which no bound is known may be as far apart as [`Exported::compare`] says.
fn compared(name: String, place: String, expected: &bounds::Bounded, got: &Literal, unknown: bool) -> Compared {
    let want = &expected.value;
    let tolerance = match want.dtype() {
        DType::F64 => 1e-10,
        DType::F32 => 1e-5,
        dtype if dtype.is_float() => 1e-2,
        _ => 0.0,
    };
    let far = |i: &usize| {
        let (a, b) = (want.get(*i).as_f64(), got.get(*i).as_f64());
        expected.bounds[*i].is_infinite()
            && !(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs())
    };
    let outside = || (0..got.numel()).find(far).filter(|_| unknown);
    let wrong = expected.difference(got).or_else(outside).map(|at| match want.ty() == got.ty() {
        true => format!("element {at}: interpreted {}, compiled {}", want.get(at), got.get(at)),
        false => format!("interpreted {}, compiled {}", want.ty(), got.ty()),
    });
    let differences = want.iter().zip(got.iter()).map(|(a, b)| (a.as_f64() - b.as_f64()).abs());
    let largest = differences.filter(|d| d.is_finite()).fold(0.0, f64::max);
    Compared { name, place, ty: want.ty().to_string(), largest, wrong, skipped: None }
}

fn skipped(name: String, place: String, got: &Literal, why: &runtime::ExecError) -> Compared {
    Compared { name, place, ty: got.ty().to_string(), largest: 0.0, wrong: None, skipped: Some(why.to_string()) }
}
