//! Nodes that do not fit their ops are refused when a file is read: attributes of other names and types, operands and results
//! in other numbers. And the table that says what fits makes sense.

use crate::bad::{refused, says};
use crate::file::*;
use std::collections::HashSet;
use tracewright::io::onnx::{self, AttributeType, Declared, Presence, Signature, Status, Supported};
use tracewright::{DType, Shape, Tensor};

/// A file of an opset with one node.
fn one(opset: i64, node: Message) -> Vec<u8> {
    let inputs = ["x", "u", "v"].map(|name| port(name, FLOAT, &[Is(2)]));
    file_of(opset, graph(&[node], &inputs, &[port("y", FLOAT, &[Open])], &[]))
}

/// The result of one node for `x` = [1, -3] and `u` = `v` = [2, 4].
fn run(opset: i64, node: Message) -> tracewright::Result<Tensor> {
    let given = [("x", [1.0f32, -3.0]), ("u", [2.0, 4.0]), ("v", [2.0, 4.0])].map(|(name, t)| (name, Tensor::from(t)));
    Ok(onnx::parse(&one(opset, node))?.call(&given)?.remove("y").unwrap())
}

/// Every version of every op that can be imported.
pub fn versions() -> Vec<(Supported, i64, &'static Signature)> {
    let of = |op: &Supported, opset: i64| op.signatures.iter().rfind(|s| s.since <= opset);
    let all = onnx::supported().into_iter().filter(|op| op.status == Status::Supported);
    all.flat_map(|op| op.since.iter().map(move |&n| (op.clone(), n, of(&op, n).expect(op.name))).collect::<Vec<_>>())
        .collect()
}

/// Some value of an attribute, of its type.
pub fn value(declared: &Declared) -> Message {
    let name = declared.name;
    match declared.r#type {
        AttributeType::Int => int(name, 1),
        AttributeType::Float => float(name, 0.5),
        AttributeType::String => string(name, "float"),
        AttributeType::Ints => list(name, &[1, 1]),
        AttributeType::Floats => Message::default().text(1, name).float(7, 0.5).int(20, 6),
        AttributeType::Strings => Message::default().text(1, name).text(9, "Tanh").int(20, 8),
        AttributeType::Tensor => held(name, floats("", &[1], &[0.5])),
        AttributeType::Graph => body(
            name,
            graph(
                &[node("Constant", &[], &["r"], &[held("value", ints("", &[], &[1]))])],
                &[],
                &[port("r", INT64, &[])],
                &[],
            ),
        ),
        AttributeType::SparseTensor => Message::default().text(1, name).message(22, Message::default()).int(20, 11),
        AttributeType::Type => Message::default().text(1, name).message(14, Message::default()).int(20, 13),
        other => panic!("no op has a {other}"),
    }
}

#[test]
fn attributes_of_other_types() {
    let gather = |attribute: Message| refused(&one(21, node("Gather", &["x", "u"], &["y"], &[attribute])));
    let e = gather(float("axis", 0.0));
    says(&e, &["error[file]", "the node `the_gather` (Gather-21): the attribute `axis` is a float", "an int"]);
    says(&gather(list("axis", &[0])), &["the attribute `axis` is a list of ints", "an int"]);
    says(&gather(string("axis", "0")), &["the attribute `axis` is a string", "an int"]);
    says(&gather(held("axis", ints("", &[], &[0]))), &["the attribute `axis` is a tensor", "an int"]);
    says(&gather(body("axis", Message::default())), &["the attribute `axis` is a graph", "an int"]);
    let elu = refused(&one(21, node("Elu", &["x"], &["y"], &[int("alpha", 1)])));
    says(&elu, &["the node `the_elu` (Elu-21): the attribute `alpha` is an int", "a float"]);
    let transpose = refused(&one(21, node("Transpose", &["x"], &["y"], &[int("perm", 0)])));
    says(&transpose, &["the attribute `perm` is an int", "a list of ints"]);
    // A type that changed: names, later numbers.
    let cast = |opset: i64, to: Message| run(opset, node("Cast", &["x"], &["y"], &[to]));
    let e = cast(5, int("to", INT64)).unwrap_err().to_string();
    says(&e, &["(Cast-5): the attribute `to` is an int", "a string"]);
    says(
        &cast(6, string("to", "INT64")).unwrap_err().to_string(),
        &["(Cast-6): the attribute `to` is a string", "an int"],
    );
    assert_eq!(cast(5, string("to", "INT64")).unwrap().dtype(), DType::I64);
    assert_eq!(cast(6, int("to", INT64)).unwrap().dtype(), DType::I64);
    says(&cast(6, int("to", 1 << 40)).unwrap_err().to_string(), &["`to` is 1099511627776", "element type"]);
}

/// The type that a file says beside the value that it has.
#[test]
fn attributes_whose_type_is_not_that_of_their_value() {
    let axis = || Message::default().text(1, "axis");
    let concat = |axis: Message| run(21, node("Concat", &["x", "u"], &["y"], &[axis]));
    let wrong = |axis: Message| concat(axis).unwrap_err().to_string();
    let both = axis().int(3, 0).float(2, 0.0).int(20, 2);
    says(
        &wrong(both),
        &["(Concat-21): the attribute `axis` has values of several types, a float and an int", "an int"],
    );
    says(&wrong(axis().int(3, 0).int(20, 1)), &["the attribute `axis` is a float by its type and an int by its value"]);
    says(&wrong(axis().int(3, 0).int(20, 77)), &["the attribute `axis` is of a type with number 77", "an int"]);
    says(&wrong(axis().int(20, 1)), &["the attribute `axis` is a float", "an int"]);
    says(&wrong(axis()), &["the attribute `axis` has no value", "an int"]);
    says(&wrong(axis().float(2, 0.0)), &["the attribute `axis` is a float", "an int"]);
    let constant = Message::default().text(1, "value").int(20, 4);
    let constant = refused(&one(21, node("Constant", &[], &["y"], &[constant])));
    says(&constant, &["the attribute `value` has no value", "a tensor"]);
    // Without a type, as the first files, and without a zero.
    let joined = [1.0f32, -3.0, 2.0, 4.0];
    for axis in [axis().int(3, 0), axis().int(20, 2), axis().int(3, -1)] {
        assert_eq!(concat(axis).unwrap().to_vec::<f32>().unwrap(), joined);
    }
    let none = node("ReduceSum", &["x"], &["y"], &[Message::default().text(1, "axes"), int("keepdims", 0)]);
    assert_eq!(run(11, none).unwrap().to_vec::<f32>().unwrap(), [1.0, -3.0]);
}

#[test]
fn attributes_that_an_op_does_not_have() {
    let wrong = |opset: i64, n: Message| refused(&one(opset, n));
    let e = wrong(21, node("Abs", &["x"], &["y"], &[float("alpha", 1.0)]));
    says(&e, &["the node `the_abs` (Abs-21): there is no attribute `alpha`", "legal: no attributes"]);
    let e = wrong(22, node("ReduceMax", &["x"], &["y"], &[int("keepdim", 0)]));
    says(&e, &["(ReduceMax-22): there is no attribute `keepdim`", "`keepdims`, `noop_with_empty_axes`"]);
    // What became an operand, or was another name before.
    let e = wrong(13, node("Squeeze", &["x"], &["y"], &[list("axes", &[0])]));
    says(&e, &["(Squeeze-13): there is no attribute `axes`, which opsets 1 to 12 have", "no attributes"]);
    let e = wrong(11, node("Clip", &["x"], &["y"], &[float("min", 0.0)]));
    says(&e, &["there is no attribute `min`, which opsets 1 to 10 have"]);
    let e = wrong(1, node("Pad", &["x"], &["y"], &[list("pads", &[0, 0])]));
    says(&e, &["there is no attribute `pads`, which opsets 2 to 10 have", "`mode`, `paddings`, `value`"]);
    let e = wrong(13, node("Reshape", &["x", "u"], &["y"], &[int("allowzero", 1)]));
    says(&e, &["there is no attribute `allowzero`, which opsets 14 and newer have"]);
    // Marks of tools mean nothing, and fields of old versions are theirs alone.
    let marked = node("Abs", &["x"], &["y"], &[string("__source", "a tool")]);
    assert_eq!(run(21, marked).unwrap().to_vec::<f32>().unwrap(), [1.0, 3.0]);
    let abs = || node("Abs", &["x"], &["y"], &[list("consumed_inputs", &[0])]);
    assert_eq!(run(1, abs()).unwrap().to_vec::<f32>().unwrap(), [1.0, 3.0]);
    says(&wrong(6, abs()), &["there is no attribute `consumed_inputs`, which opsets 1 to 5 have"]);
}

#[test]
fn attributes_given_twice_or_not_at_all() {
    let wrong = |opset: i64, n: Message| refused(&one(opset, n));
    let e = wrong(21, node("Concat", &["x", "u"], &["y"], &[int("axis", 0), int("axis", 0)]));
    says(&e, &["(Concat-21): the attribute `axis` is given twice", "each attribute once"]);
    let e = wrong(21, node("Concat", &["x", "u"], &["y"], &[]));
    says(&e, &["(Concat-21): the attribute `axis` is missing", "an int"]);
    let e = wrong(21, node("If", &["x"], &["y"], &[]));
    says(&e, &["the attribute `else_branch` is missing", "a graph"]);
    // One value of several.
    let e = wrong(21, node("Constant", &[], &["y"], &[]));
    says(&e, &["(Constant-21): no value is given", "one of `sparse_value`, `value`, `value_float`"]);
    let e = wrong(21, node("Constant", &[], &["y"], &[int("value_int", 1), float("value_float", 1.0)]));
    says(&e, &["values are given by `value_float`, `value_int`", "one of "]);
    says(&wrong(9, node("Constant", &[], &["y"], &[])), &["the attribute `value` is missing", "a tensor"]);
    let sparse = Message::default().text(1, "sparse_value").message(22, Message::default()).int(20, 11);
    let e = wrong(21, node("Constant", &[], &["y"], &[sparse]));
    says(&e, &["the attribute `sparse_value` is a sparse tensor", "in the node `the_constant` (Constant)"]);
}

#[test]
fn operands_and_results_in_other_numbers() {
    let wrong =
        |opset: i64, op: &str, reads: &[&str], results: &[&str]| refused(&one(opset, node(op, reads, results, &[])));
    let e = wrong(21, "Relu", &["x", "u"], &["y"]);
    says(&e, &["the node `the_relu` (Relu-21): there are 2 operands", "legal: 1"]);
    says(&wrong(21, "Relu", &[], &["y"]), &["there are no operands", "legal: 1"]);
    says(&wrong(21, "Add", &["x"], &["y"]), &["(Add-21): there is 1 operand", "legal: 2"]);
    says(&wrong(21, "Clip", &["x", "u", "v", "u"], &["y"]), &["there are 4 operands", "legal: 1 to 3"]);
    says(&wrong(10, "Clip", &["x", "u"], &["y"]), &["(Clip-10): there are 2 operands", "legal: 1"]);
    says(&wrong(21, "Max", &[], &["y"]), &["there are no operands", "legal: 1 or more"]);
    says(&wrong(21, "Relu", &["x"], &["y", "z"]), &["there are 2 results", "legal: 1"]);
    says(&wrong(21, "TopK", &["x", "u"], &["y"]), &["(TopK-21): there is 1 result", "legal: 2"]);
    // What is left out must be such as may be.
    says(&wrong(21, "Add", &["", "x"], &["y"]), &["operand 0 is left out", "a name for operand 0"]);
    says(&wrong(21, "TopK", &["x", "u"], &["", "y"]), &["result 0 is left out", "a name for result 0"]);
    let halves = node("Split", &["x"], &["", "y"], &[int("num_outputs", 2)]);
    assert_eq!(run(21, halves).unwrap().to_vec::<f32>().unwrap(), [-3.0]);
    assert_eq!(run(21, node("Clip", &["x", "", "u"], &["y"], &[])).unwrap().to_vec::<f32>().unwrap(), [1.0, -3.0]);
}

#[test]
fn nodes_of_bodies_and_functions() {
    let gather = || node("Gather", &["x", "u"], &["y"], &[float("axis", 0.0)]);
    let inner = graph(&[gather()], &[], &[port("y", FLOAT, &[])], &[]);
    let outer = node("If", &["x"], &["y"], &[body("then_branch", inner.clone()), body("else_branch", inner)]);
    let e = refused(&one(21, outer));
    says(&e, &["the node `the_gather` (Gather-21): the attribute `axis` is a float", "in the node `the_if` (If)"]);
    // A function with an attribute that has a default, `of`, and one that has none, `at`.
    let import = |domain: &str, version: i64| Message::default().text(1, domain).int(2, version);
    let refers = |name: &str, to: &str, kind: i64| Message::default().text(1, name).text(21, to).int(20, kind);
    let called = |reads: &[&str], results: &[&str], attributes: &[Message]| {
        let nodes = [
            node("Elu", &["a"], &["b"], &[refers("alpha", "of", 1)]),
            node("Concat", &["b", "b"], &["c"], &[refers("axis", "at", 2)]),
        ];
        let function = Message::default()
            .text(1, "f")
            .text(4, "a")
            .text(5, "c")
            .text(6, "at")
            .all(7, nodes)
            .message(9, import("", 21))
            .text(10, "own")
            .message(11, float("of", 2.0));
        let call = node("f", reads, results, attributes).text(7, "own");
        let bytes = Message(one(21, call)).message(8, import("own", 1)).message(25, function).0;
        onnx::parse(&bytes).map(drop).map_err(|e| e.to_string())
    };
    let wrong = |reads: &[&str], results: &[&str], all: &[Message]| called(reads, results, all).unwrap_err();
    assert_eq!(called(&["x"], &["y"], &[int("at", 0)]), Ok(()));
    assert_eq!(called(&["x"], &["y"], &[int("at", 0), float("of", 1.0)]), Ok(()));
    let e = wrong(&["x"], &["y"], &[int("at", 0), int("of", 1)]);
    says(&e, &["the node `the_elu` (Elu-21): the attribute `alpha` is an int", "a float", "in the node `the_f` (f)"]);
    says(&wrong(&["x"], &["y"], &[]), &["the node `the_concat` (Concat-21): the attribute `axis` is missing"]);
    let e = wrong(&["x"], &["y"], &[int("at", 0), int("to", 0)]);
    says(&e, &["the node `the_f` (f): there is no attribute `to`", "legal: `at`, `of`"]);
    let e = wrong(&["x"], &["y"], &[int("at", 0), int("at", 0)]);
    says(&e, &["the node `the_f` (f): the attribute `at` is given twice"]);
    let e = wrong(&["x", "u"], &["y"], &[int("at", 0)]);
    says(&e, &["the node `the_f` (f): there are 2 operands", "up to 1, as the function has"]);
    let e = wrong(&["x"], &["y", "z"], &[int("at", 0)]);
    says(&e, &["there are 2 results", "up to 1, as the function has"]);
    let twice = Message::default().text(1, "f").message(9, import("", 21)).text(10, "own");
    let e =
        refused(&Message(one(21, node("Abs", &["x"], &["y"], &[]))).message(25, twice.clone()).message(25, twice).0);
    says(&e, &["the function `f` is given twice", "one function of a name"]);
    // Outside of functions there is nothing to refer to.
    let e = refused(&one(21, node("Elu", &["x"], &["y"], &[refers("alpha", "of", 1)])));
    says(&e, &["(Elu-21): the attribute `alpha` refers to `of` of a function", "references are for attributes"]);
}

/// What else a file says wrong of nodes comes after ops that are not known.
#[test]
fn ops_that_are_not_known_come_first() {
    let nodes = [node("Relu", &["x", "x"], &["a"], &[int("axis", 0)]), node("Quux", &["a"], &["y"], &[])];
    let g = graph(&nodes, &[port("x", FLOAT, &[Is(1)])], &[port("y", FLOAT, &[Is(1)])], &[]);
    says(&refused(&file(g)), &["ops that are not supported: Quux-21"]);
}

/// First versions have some attributes in another way, which counts too.
#[test]
fn attributes_of_first_versions() {
    let image = Tensor::from([3.0f32, 4.0]).reshape([1, 1, 2]);
    let norm = |opset: i64, op: &str, attributes: &[Message]| {
        let ports = [port("x", FLOAT, &[Is(1), Is(1), Is(2)])];
        let g = graph(&[node(op, &["x"], &["y"], attributes)], &ports, &[port("y", FLOAT, &[Open, Open, Open])], &[]);
        let y = onnx::parse(&file_of(opset, g)).unwrap().call(&[("x", image.clone())]).unwrap();
        y["y"].to_vec::<f32>().unwrap()[0]
    };
    let kernel = || list("kernel_shape", &[2]);
    for (op, more) in [("GlobalLpPool", vec![]), ("LpPool", vec![kernel()])] {
        let of = |opset: i64, p: Message| norm(opset, op, &[vec![p], more.clone()].concat());
        assert!((of(1, float("p", 1.0)) - 7.0).abs() < 1e-5, "{op}");
        assert!((of(2, int("p", 1)) - 7.0).abs() < 1e-5, "{op}");
        assert!((of(1, float("p", 2.0)) - 5.0).abs() < 1e-5, "{op}");
    }
    let places = node("BatchNormalization", &["x", "u", "u", "u", "u"], &["y"], &[int("spatial", 0)]);
    says(&run(7, places).unwrap_err().to_string(), &["`spatial` is 0", "legal: 1", "the_batchnormalization"]);
}

/// Texts, sizes and values that no op takes are found when it runs.
#[test]
fn values_of_attributes_that_do_not_fit() {
    let wrong = |n: Message| run(21, n).unwrap_err().to_string();
    let gelu = wrong(node("Gelu", &["x"], &["y"], &[string("approximate", "erf")]));
    says(&gelu, &["the attribute `approximate` is `erf`", "legal: none, tanh", "the_gelu"]);
    let shift = wrong(node("BitShift", &["x", "u"], &["y"], &[string("direction", "left")]));
    says(&shift, &["the attribute `direction` is `left`", "LEFT, RIGHT"]);
    let of = |op: &str, ports: &[(&str, &[i64])], attributes: &[Message]| {
        let dims = |d: &[i64]| d.iter().map(|&n| Is(n)).collect::<Vec<_>>();
        let all: Vec<Message> = ports.iter().map(|(name, d)| port(name, FLOAT, &dims(d))).collect();
        let reads: Vec<&str> = ports.iter().map(|p| p.0).collect();
        let g = graph(&[node(op, &reads, &["y"], attributes)], &all, &[port("y", FLOAT, &[])], &[]);
        let given: Vec<(&str, Tensor)> =
            ports.iter().map(|(n, d)| (*n, Tensor::ones(d.iter().copied().collect::<Shape>(), DType::F32))).collect();
        onnx::parse(&file(g)).unwrap().call(&given).map(drop).map_err(|e| e.to_string())
    };
    let image: (&str, &[i64]) = ("x", &[1, 4, 4, 4]);
    let e = of("DepthToSpace", &[image], &[int("blocksize", 2), string("mode", "DRC")]).unwrap_err();
    says(&e, &["the attribute `mode` is `DRC`", "DCR, CRD"]);
    let pooled = [list("kernel_shape", &[2, 2]), string("auto_pad", "SAME")];
    says(
        &of("MaxPool", &[image], &pooled).unwrap_err(),
        &["`auto_pad` is `SAME`", "NOTSET, SAME_UPPER, SAME_LOWER, VALID"],
    );
    let conv = |kernel: &[i64]| of("Conv", &[image, ("w", &[1, 4, 3, 3])], &[list("kernel_shape", kernel)]);
    assert_eq!(conv(&[3, 3]), Ok(()));
    says(&conv(&[3, 2]).unwrap_err(), &["`kernel_shape` is [3, 2] beside weights of [3, 3]", "that of the weights"]);
    let rnn = |n: i64| of("RNN", &[("x", &[1, 1, 2]), ("w", &[1, 3, 2]), ("r", &[1, 3, 3])], &[int("hidden_size", n)]);
    assert_eq!(rnn(3), Ok(()));
    says(&rnn(2).unwrap_err(), &["`hidden_size` is 2 beside weights of 3", "that of the weights"]);
    let ports = [port("x", FLOAT, &[Is(1), Is(2)]), port("at", INT64, &[Is(1)])];
    let nodes = [node("NegativeLogLikelihoodLoss", &["x", "at"], &["y"], &[string("reduction", "all")])];
    let m = onnx::parse(&file(graph(&nodes, &ports, &[port("y", FLOAT, &[])], &[]))).unwrap();
    let e = m.call(&[("x", Tensor::ones([1, 2], DType::F32)), ("at", Tensor::from([0i64]))]).unwrap_err().to_string();
    says(&e, &["the attribute `reduction` is `all`", "mean, sum, none"]);
    let shape = node("Shape", &["x"], &["s"], &[]);
    let filled = node("ConstantOfShape", &["s"], &["y"], &[held("value", floats("", &[2], &[1.0, 2.0]))]);
    let g = graph(&[shape, filled], &[port("x", FLOAT, &[Is(2)])], &[port("y", FLOAT, &[Open])], &[]);
    let e = onnx::parse(&file(g)).unwrap().call(&[("x", Tensor::ones([2], DType::F32))]).unwrap_err().to_string();
    says(&e, &["the value has shape [2]", "one element", "the_constantofshape"]);
}

#[test]
fn the_table_makes_sense() {
    for op in onnx::supported() {
        let rows = op.signatures;
        if op.status == Status::Missing {
            assert!(rows.is_empty(), "{}", op.name);
            continue;
        }
        assert!(rows.is_sorted_by(|a, b| a.since < b.since), "{}: {rows:?}", op.name);
        assert!(rows[0].since <= op.since[0], "{} has no signature in its first version", op.name);
        let used: HashSet<i64> = op.since.iter().map(|&n| rows.iter().rfind(|s| s.since <= n).unwrap().since).collect();
        for (i, row) in rows.iter().enumerate() {
            assert!(used.contains(&row.since), "{}: no version has the signature of opset {}", op.name, row.since);
            assert!(i == 0 || Signature { since: row.since, ..rows[i - 1] } != *row, "{}: twice {row:?}", op.name);
            let names: Vec<&str> = row.attributes.iter().map(|a| a.name).collect();
            assert!(names.is_sorted_by(|a, b| a < b), "{}: {names:?} are not in order, or not once", op.name);
            let one_of = row.attributes.iter().filter(|a| a.presence == Presence::OneOf).count();
            assert!(one_of != 1, "{}: one of a single attribute must be given", op.name);
            for arity in [row.operands, row.results] {
                assert!(arity.most.is_none_or(|most| arity.least <= most), "{}: {arity:?}", op.name);
                assert!(arity.open <= arity.least, "{}: {arity:?}", op.name);
            }
        }
    }
}

/// Each attribute is taken in its type in every version that has it, and refused in any other.
#[test]
fn every_attribute_of_every_version() {
    for (op, opset, signature) in versions() {
        let reads: Vec<&str> = ["x"].repeat(signature.operands.least);
        let results = ["y", "z", "u1", "u2"];
        let results = &results[..signature.results.least.max(1)];
        for tested in signature.attributes {
            let others =
                signature.attributes.iter().filter(|a| a.presence == Presence::Required && a.name != tested.name);
            let of = |given: Message| {
                let all: Vec<Message> = others.clone().map(self::value).chain([given]).collect();
                onnx::parse(&one(opset, node(op.name, &reads, results, &all))).map(drop).map_err(|e| e.to_string())
            };
            let place = format!("{}-{opset}, {}", op.name, tested.name);
            match of(value(tested)) {
                Ok(()) => {}
                // Which no tensor here is.
                Err(e) => assert!(tested.r#type == AttributeType::SparseTensor, "{place}: {e}"),
            }
            let other = match tested.r#type {
                AttributeType::Int => float(tested.name, 1.0),
                _ => int(tested.name, 1),
            };
            let e = of(other).expect_err(&place);
            assert!(e.contains(&format!("the attribute `{}` is ", tested.name)), "{place}: {e}");
        }
        let mut odd: Vec<Message> =
            signature.attributes.iter().filter(|a| a.presence == Presence::Required).map(value).collect();
        odd.push(int("an_odd_one", 1));
        let e = refused(&one(opset, node(op.name, &reads, results, &odd)));
        assert!(e.contains("there is no attribute `an_odd_one`"), "{}-{opset}: {e}", op.name);
    }
}
