//! Models as graphs: of one segment or several, for values or for any.

use crate::file::*;
use std::collections::BTreeMap;
use tracewright::events::{self, Event};
use tracewright::io::onnx::{self, Model};
use tracewright::{DType, Tensor};

fn model(nodes: &[Message], inputs: &[Message], outputs: &[Message], initialisers: &[Message]) -> Model {
    onnx::parse(&file(graph(nodes, inputs, outputs, initialisers))).unwrap()
}

/// y = w times those elements of x that are not 0.
fn picked() -> Model {
    model(
        &[
            node("Mul", &["x", "w"], &["d"], &[]),
            node("NonZero", &["x"], &["at"], &[]),
            node("Squeeze", &["at", "zero"], &["flat"], &[]),
            node("Gather", &["d", "flat"], &["g"], &[]),
            node("Add", &["g", "w"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Named("n")])],
        &[port("y", FLOAT, &[Open])],
        &[ints("zero", &[1], &[0]), floats("w", &[1], &[2.0])],
    )
}

fn reshaped() -> Model {
    model(
        &[node("Reshape", &["x", "to"], &["r"], &[]), node("Mul", &["r", "w"], &["y"], &[])],
        &[port("x", FLOAT, &[Named("n")]), port("to", INT64, &[Is(2)])],
        &[port("y", FLOAT, &[Open, Open])],
        &[floats("w", &[1], &[3.0])],
    )
}

fn vec(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

#[test]
fn each_segment_is_a_graph_with_names_of_the_model() {
    let x = Tensor::from([0.0f32, 2.0, 3.0]);
    let segments = picked().segments(&[("x", x.clone())]).unwrap();
    assert_eq!(segments.len(), 2);
    assert_eq!(
        segments[0].end.as_deref(),
        Some("the node `the_nonzero` (NonZero) makes a shape that depends on values")
    );
    assert!(segments[1].end.is_none());
    let mut values: BTreeMap<String, Tensor> = BTreeMap::from([("x".to_string(), x)]);
    for s in &segments {
        assert_eq!(s.graph.state().keys().collect::<Vec<_>>(), ["w"], "the weight is state of each segment");
        values.extend(s.graph.call_named(&s.arguments).unwrap());
    }
    assert_eq!(vec(&values["d"]), [0.0, 4.0, 6.0]);
    assert_eq!(vec(&values["y"]), [6.0, 8.0]);
    let names: Vec<&String> = segments[1].arguments.keys().collect();
    assert_eq!(names, ["at", "d"]);
    // What comes first is known without a run.
    let first = picked().first_segment(&[("x", Tensor::zeros([5], DType::F32))]).unwrap();
    assert!(first.end.is_some());
    let e = picked().export(&[("x", Tensor::zeros([5], DType::F32))]).err().unwrap().to_string();
    assert!(e.contains("the node `the_nonzero` (NonZero) makes a shape") && e.contains("several graphs"), "{e}");
}

#[test]
fn values_of_inputs_that_are_shapes_are_part_of_a_graph() {
    let given = [("x", Tensor::ones([6], DType::F32)), ("to", Tensor::from([2i64, 3]))];
    let s = reshaped().export(&given).unwrap();
    assert!(s.end.is_none());
    assert_eq!(s.fixed, [("to".to_string(), "i64[2] [2, 3]".to_string())]);
    assert_eq!(s.graph.arguments().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["x"]);
    assert_eq!(s.graph.call_named(&s.arguments).unwrap()["y"].shape().to_string(), "[2, 3]");
    let gradient = s.graph.vjp(&["y"], &["x", "w"]).unwrap();
    let given =
        BTreeMap::from([("x".to_string(), given[0].1.clone()), ("cot_y".into(), Tensor::ones([2, 3], DType::F32))]);
    let found = gradient.call_named(&given).unwrap();
    assert_eq!((vec(&found["grad_x"]), vec(&found["grad_w"])), (vec![3.0; 6], vec![6.0]));
    // What goes wrong says for which values.
    let e = reshaped().export(&[("x", Tensor::ones([6], DType::F32)), ("to", Tensor::from([4i64, 4]))]);
    let e = e.err().unwrap().to_string();
    assert!(e.contains("where `to` is i64[2] [4, 4]") && e.contains("`the_reshape` (Reshape)"), "{e}");
}

#[test]
fn open_extents_stay_open_in_a_graph() {
    let m = model(
        &[node("Mul", &["x", "w"], &["y"], &[])],
        &[port("x", FLOAT, &[Named("n"), Is(1)])],
        &[port("y", FLOAT, &[Named("n"), Is(1)])],
        &[floats("w", &[1], &[3.0])],
    );
    let x = |n: usize| [("x", Tensor::ones([n, 1], DType::F32))];
    assert_eq!(m.export(&x(5)).unwrap().graph.arguments()[0].1.to_string(), "f32[n, 1]");
    assert_eq!(m.segments(&x(5)).unwrap()[0].graph.arguments()[0].1.to_string(), "f32[5, 1]");
}

#[test]
fn outputs_that_are_known_are_outputs_of_the_graph() {
    let m = model(
        &[node("Shape", &["x"], &["s"], &[]), node("Neg", &["w"], &["v"], &[])],
        &[port("x", FLOAT, &[Is(3)])],
        &[port("s", INT64, &[Is(1)]), port("v", FLOAT, &[Is(1)]), port("w", FLOAT, &[Is(1)])],
        &[floats("w", &[1], &[2.0])],
    );
    let s = m.export(&[("x", Tensor::ones([3], DType::F32))]).unwrap();
    let names: Vec<&str> = s.graph.outputs().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["s", "v", "w"]);
    let y = s.graph.call_named(&s.arguments).unwrap();
    assert_eq!((y["s"].to_vec::<i64>().unwrap(), vec(&y["v"]), vec(&y["w"])), (vec![3], vec![-2.0], vec![2.0]));
}

/// Weights that are integers are constants of the graph, under their names.
#[test]
fn integer_weights_keep_their_names() {
    let data: Vec<i64> = (0..600).collect();
    let m = model(
        &[node("Gather", &["table", "x"], &["y"], &[])],
        &[port("x", INT64, &[Is(2)])],
        &[port("y", INT64, &[Is(2)])],
        &[ints("table", &[600], &data)],
    );
    let s = m.export(&[("x", Tensor::from([3i64, 5]))]).unwrap();
    let constants = s.graph.constants();
    assert_eq!(constants.keys().collect::<Vec<_>>(), ["table"]);
    assert_eq!(constants["table"].to_vec::<i64>().unwrap(), data);
}

/// Weights that are sizes are part of the graph, which is one; others are its state.
#[test]
fn weights_that_are_sizes_do_not_cut() {
    let m = model(
        &[node("Range", &["from", "to", "step"], &["r"], &[]), node("Mul", &["r", "step"], &["y"], &[])],
        &[port("to", FLOAT, &[])],
        &[port("y", FLOAT, &[Open])],
        &[floats("from", &[], &[1.0]), floats("step", &[], &[2.0])],
    );
    let s = m.export(&[("to", Tensor::from(6.0f32))]).unwrap();
    assert_eq!(s.fixed, [("to".to_string(), "f32[] [6.0]".to_string())]);
    assert!(s.graph.state().is_empty());
    assert_eq!(vec(&s.graph.call_named(&s.arguments).unwrap()["y"]), [2.0, 6.0, 10.0]);
    let other = BTreeMap::from([("step".to_string(), Tensor::from(3.0f32))]);
    for (parameters, wanted) in [(&other, vec![3.0, 12.0]), (&BTreeMap::new(), vec![2.0, 6.0, 10.0])] {
        assert_eq!(vec(&m.apply(parameters, &[("to", Tensor::from(6.0f32))]).unwrap()["y"]), wanted);
    }
}

/// What an event shows of a value is bounded, and says so.
#[test]
fn long_values_are_cut_off_in_events() {
    let parts: Vec<String> = (0..80).map(|i| format!("y{i}")).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let m = model(
        &[node("Split", &["x", "sizes"], &parts, &[])],
        &[port("x", FLOAT, &[Is(80)]), port("sizes", INT64, &[Is(80)])],
        &[port("y79", FLOAT, &[Open])],
        &[],
    );
    let given = [("x", Tensor::ones([80], DType::F32)), ("sizes", Tensor::ones([80], DType::I64))];
    let (_, seen) = events::capture(|| m.call(&given).unwrap());
    let found: Vec<&str> = seen.iter().filter(|r| r.event == Event::Specialised).map(|r| r.reason.as_str()).collect();
    let [reason] = found[..] else { panic!("{found:?}") };
    assert!(reason.contains("`sizes` became i64[80] [1, 1, ") && reason.contains(", … 16 more]"), "{reason}");
    assert_eq!(reason.matches("1, ").count(), 64, "{reason}");
}
