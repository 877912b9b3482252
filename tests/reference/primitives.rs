//! Primitives, each as a graph of one op, in the interpreter and compiled.

use crate::case::{Case, Class, Tolerance, difference, read, tensor};
use crate::json::Json;
use crate::target::{array, compiles};
use ir::ops::{Attr, AttrReader, GraphEmitter};
use ir::{DType, Dim, Emit, Graph, Literal, Location, Origin, Primitive, Value};
use runtime::{Executable, Input, interpreter};
use smallvec::SmallVec;
use std::collections::BTreeSet;

fn attribute(json: &Json) -> Attr {
    match json {
        Json::Int(n) => Attr::Int(*n),
        Json::List(_) => Attr::Dims(json.ints().into_iter().map(Dim::from).collect()),
        Json::Text(word) => word.parse::<DType>().map_or_else(|_| Attr::Word(word.clone()), Attr::DType),
        Json::Object(_) => Attr::Scalar(tensor(json).get(0)),
        other => panic!("an attribute cannot be {other:?}"),
    }
}

fn primitive(case: &Case) -> Primitive {
    let Json::Object(attrs) = &case.attrs else { panic!("{}: attrs is no object", case.name) };
    let mut reader = AttrReader(attrs.iter().map(|(name, value)| (name.clone(), attribute(value))).collect());
    let primitive = Primitive::from_text(&case.op, &mut reader).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    assert!(reader.0.is_empty(), "{}: attributes that the op does not have: {:?}", case.name, reader.0);
    primitive
}

fn graph(case: &Case) -> Graph {
    let mut graph = Graph::new("reference");
    let operands: Vec<Value> = case.inputs.iter().map(|x| graph.add_input(x.ty())).collect();
    let origin = graph.origins.intern(Origin { location: Location::caller(), scope: "".into(), gradient: false });
    let region = graph.root();
    let mut emitter = GraphEmitter { graph: &mut graph, region, origins: SmallVec::from_iter([origin]) };
    let result = emitter.emit(primitive(case), &operands);
    graph.set_outputs(vec![result]);
    graph
}

/// The stated bounds.
fn tolerance(case: &Case) -> Tolerance {
    let largest = |x: &Literal| x.iter().map(|v| v.as_f64().abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let scale = match case.op.as_str() {
        "dot_general" => case.inputs.iter().map(largest).product(),
        "reduce_prod" => 0.0,
        _ => case.inputs.iter().map(largest).fold(0.0, f64::max),
    };
    let elements: usize = case.inputs.iter().map(Literal::numel).sum();
    let double = case.inputs.first().is_some_and(|x| x.dtype() == DType::F64);
    let ulps = match case.op.as_str() {
        // Sums of larger terms, in f64 itself.
        "lgamma" | "digamma" if double => 256,
        // To 1e-9 and, for large shapes, to 1e-6.
        "log_gamma_slope" if case.inputs[0].get(0).as_f64() < 1e5 => 1 << 22,
        "log_gamma_slope" => 1 << 32,
        op if double && ir::kernel::ulps(op) > 0 => 4,
        op => ir::kernel::ulps(op).into(),
    };
    Tolerance { class: case.class, ulps, length: elements, scale }
}

fn cases() -> Vec<Case> {
    [read("pointwise.jsonl"), read("integers.jsonl"), read("shaped.jsonl"), read("random.jsonl")]
        .into_iter()
        .flatten()
        .collect()
}

fn check(run: impl Fn(&Case) -> Result<Vec<Literal>, String>) {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        match run(case) {
            Err(e) => wrong.push(format!("{}: {e}", case.name)),
            Ok(got) => {
                assert_eq!(got.len(), case.outputs.len(), "{}", case.name);
                let found =
                    case.outputs.iter().zip(&got).find_map(|(want, got)| difference(want, got, &tolerance(case)));
                wrong.extend(found.map(|what| format!("{}: {what}", case.name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_interpreter_agrees() {
    check(|case| interpreter::interpret(&graph(case), &case.inputs).map_err(|e| e.to_string()));
}

#[test]
fn compiled_code_agrees() {
    check(|case| {
        let executable = Executable::compile(&graph(case), &[]).map_err(|e| e.to_string())?;
        if executable.is_compiled() != compiles() {
            return Err(format!("fell back: {:?}", executable.artifacts().fallback));
        }
        let mut inputs: Vec<Input> = case.inputs.iter().map(|x| Input::Shared(array(x))).collect();
        let outputs = executable.call(&mut inputs).map_err(|e| e.to_string())?;
        outputs.iter().map(|y| y.to_literal().map_err(|e| e.to_string())).collect()
    });
}

#[test]
fn every_primitive_has_cases() {
    // `constant` and `dim_value` hold their value, `captured`, `fence` and `named` are their operand.
    let plain = ["captured", "constant", "dim_value", "fence", "named"];
    let not_recorded = |name: &str| plain.contains(&name) || Primitive::has_regions(name);
    let recorded: BTreeSet<String> = cases().into_iter().map(|case| case.op).collect();
    for name in Primitive::NAMES {
        assert!(recorded.contains(*name) != not_recorded(name), "{name}");
    }
    assert!(cases().iter().any(|case| case.class == Class::Reduction));
}
