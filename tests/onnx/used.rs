//! What is done with models: called, traced, differentiated, with open extents, shapes that are inputs, and parts that
//! cannot be traced.

use crate::file::*;
use std::collections::BTreeMap;
use tracewright::events::{self, Event, Record};
use tracewright::io::onnx::{self, Model, Value};
use tracewright::{DType, Tensor, grad, jit};

fn model(nodes: &[Message], inputs: &[Message], outputs: &[Message], initialisers: &[Message]) -> Model {
    onnx::parse(&file(graph(nodes, inputs, outputs, initialisers))).unwrap()
}

fn count(records: &[Record], event: Event) -> usize {
    records.iter().filter(|r| r.event == event).count()
}

fn vec(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

/// y = relu(x w + b), with open batch.
fn layer() -> Model {
    model(
        &[
            node("MatMul", &["x", "w"], &["a"], &[]),
            node("Add", &["a", "b"], &["c"], &[]),
            node("Relu", &["c"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Named("batch size"), Is(2)])],
        &[port("y", FLOAT, &[Named("batch size"), Is(1)])],
        &[floats("w", &[2, 1], &[2.0, 3.0]), floats("b", &[1], &[1.0])],
    )
}

#[test]
fn one_compiled_function_serves_open_extents() {
    let m = layer();
    let ((), seen) = events::capture(|| {
        for n in [3usize, 5, 8] {
            let y = m.call(&[("x", Tensor::ones([n, 2], DType::F32))]).unwrap();
            assert_eq!(vec(&y["y"]), vec![6.0; n]);
        }
    });
    assert_eq!((count(&seen, Event::Trace), count(&seen, Event::Retrace)), (1, 0), "{seen:#?}");
    // No symbol stands for an empty axis.
    assert!(vec(&m.call(&[("x", Tensor::ones([0, 2], DType::F32))]).unwrap()["y"]).is_empty());
}

#[test]
fn the_file_says_what_it_takes_and_gives() {
    let m = layer();
    assert_eq!(m.inputs()[0].to_string(), "x: f32[batch size, 2]");
    assert_eq!(m.outputs()[0].to_string(), "y: f32[batch size, 1]");
    assert_eq!((m.name(), m.opset()), ("tested", 21));
    assert_eq!(m.ops(), BTreeMap::from([("Add", 1), ("MatMul", 1), ("Relu", 1)]));
    assert_eq!(m.parameters().keys().collect::<Vec<_>>(), ["b", "w"]);
}

#[test]
fn nodes_are_named_in_what_was_traced() {
    let m = layer();
    let lowered = m.lower(&[("x", Tensor::ones([4, 2], DType::F32))]).unwrap();
    let text = lowered.ir();
    assert!(text.contains("the_matmul") && text.contains(file!()), "{text}");
}

#[test]
fn it_is_a_function_inside_of_others() {
    let m = std::sync::Arc::new(layer());
    let inner = m.clone();
    let f = jit(move |x: Tensor| inner.call(&[("x", x * 2.0)]).unwrap()["y"].sum(..));
    assert_eq!(f.call(Tensor::ones([3, 2], DType::F32)).unwrap().item::<f32>().unwrap(), 33.0);
    // Its parameters can be others, and what it yields has gradients by them.
    let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    let loss = |p: &BTreeMap<String, Tensor>| m.apply(p, &[("x", x.clone())]).unwrap()["y"].sum(..);
    let g = grad(loss)(&m.parameters());
    assert_eq!((vec(&g["w"]), vec(&g["b"])), (vec![4.0, 6.0], vec![2.0]));
    let other = BTreeMap::from([("b".to_string(), Tensor::from([100.0f32]))]);
    assert_eq!(vec(&m.apply(&other, &[("x", x.clone())]).unwrap()["y"]), [108.0, 118.0]);
    let wrong = BTreeMap::from([("b".to_string(), Tensor::from([1.0f32, 2.0]))]);
    let e = m.apply(&wrong, &[("x", x)]).unwrap_err().to_string();
    assert!(e.contains("`b` has type f32[2]") && e.contains("f32[1], as in the file"), "{e}");
}

#[test]
fn inputs_that_are_shapes_are_known_by_value() {
    let m = model(
        &[node("Reshape", &["x", "to"], &["r"], &[]), node("Neg", &["r"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(6)]), port("to", INT64, &[Is(2)])],
        &[port("y", FLOAT, &[Open, Open])],
        &[],
    );
    let call = |to: [i64; 2]| m.call(&[("x", Tensor::ones([6], DType::F32)), ("to", Tensor::from(to))]).unwrap();
    let (shape, seen) = events::capture(|| call([2, 3])["y"].shape().to_string());
    assert_eq!(shape, "[2, 3]");
    let reasons: Vec<&str> = seen.iter().filter(|r| r.event == Event::Specialised).map(|r| r.reason.as_str()).collect();
    assert!(matches!(reasons[..], [r] if r.contains("`to` became i64[2] [2, 3]")), "{reasons:?}");
    assert_eq!(call([3, 2])["y"].shape().to_string(), "[3, 2]");
    let (_, seen) = events::capture(|| call([2, 3]));
    let new = [Event::Specialised, Event::Trace, Event::Retrace].map(|e| count(&seen, e));
    assert_eq!(new, [0; 3], "{seen:#?}");
}

/// x in the shape of a number of rows and the rest.
fn rows(count: Message) -> Model {
    model(
        &[
            node("Cast", &["count"], &["whole"], &[int("to", INT64)]),
            node("Unsqueeze", &["whole", "zero"], &["list"], &[]),
            node("Concat", &["list", "rest"], &["to"], &[int("axis", 0)]),
            node("Reshape", &["x", "to"], &["r"], &[]),
            node("Neg", &["r"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Named("n")]), count],
        &[port("y", FLOAT, &[Open, Open])],
        &[ints("zero", &[1], &[0]), ints("rest", &[1], &[-1])],
    )
}

fn specialised(seen: &[events::Record]) -> Vec<&str> {
    seen.iter().filter(|r| r.event == Event::Specialised).map(|r| r.reason.as_str()).collect()
}

/// A size that is computed of an input is known by the value of that input, in one graph.
#[test]
fn inputs_that_sizes_are_computed_of_are_known_by_value() {
    let m = rows(port("count", INT64, &[]));
    let given = |n: i64| [("x", Tensor::ones([6], DType::F32)), ("count", Tensor::from(n))];
    let (shape, seen) = events::capture(|| m.call(&given(2)).unwrap()["y"].shape().to_string());
    assert_eq!(shape, "[2, 3]");
    let [count_is, n_is] = specialised(&seen)[..] else { panic!("{seen:#?}") };
    assert!(count_is.contains("`count` became i64[] [2]") && count_is.contains(file!()), "{count_is}");
    assert!(n_is.contains("n became 6") && n_is.contains(file!()), "{n_is}");
    assert_eq!(m.call(&given(3)).unwrap()["y"].shape().to_string(), "[3, 2]");
    let segment = m.export(&given(2)).unwrap();
    assert_eq!(segment.fixed, [("count".to_string(), "i64[] [2]".to_string())]);
    // Of an input whose shape alone counts, the value is not part of it.
    let m = model(
        &[
            node("Shape", &["like"], &["n"], &[]),
            node("Concat", &["count", "n"], &["to"], &[int("axis", 0)]),
            node("Expand", &["x", "to"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Is(1)]), port("like", INT64, &[Is(2)]), port("count", INT64, &[Is(1)])],
        &[port("y", FLOAT, &[Open, Open])],
        &[],
    );
    let given =
        |like: [i64; 2]| [("x", Tensor::from([5.0f32])), ("like", Tensor::from(like)), ("count", Tensor::from([3i64]))];
    let segment = m.export(&given([7, 8])).unwrap();
    assert_eq!(segment.fixed, [("count".to_string(), "i64[1] [3]".to_string())]);
    assert_eq!(m.call(&given([7, 8])).unwrap()["y"].shape().to_string(), "[3, 2]");
    let (_, seen) = events::capture(|| m.call(&given([9, 9])).unwrap());
    assert_eq!(specialised(&seen), [""; 0]);
}

/// Of floats, reductions, conditions and large inputs, many mean one size: the next graph is for the size.
#[test]
fn inputs_of_which_many_mean_one_size_are_not() {
    let m = rows(port("count", FLOAT, &[]));
    let x = Tensor::ones([6], DType::F32);
    let count = Tensor::from(2.0f32).requires_grad();
    let call = |count: &Tensor| m.call(&[("x", x.clone()), ("count", count.clone())]).unwrap()["y"].shape().to_string();
    assert_eq!(call(&count), "[2, 3]");
    let (shape, seen) = events::capture(|| call(&Tensor::from(2.5f32)));
    assert_eq!((shape.as_str(), specialised(&seen)), ("[2, 3]", vec![]));
    let lengths = model(
        &[
            node("ReduceMax", &["lengths"], &["most"], &[int("keepdims", 0)]),
            node("Range", &["zero", "most", "one"], &["y"], &[]),
        ],
        &[port("lengths", INT64, &[Is(2)])],
        &[port("y", INT64, &[Open])],
        &[ints("zero", &[], &[0]), ints("one", &[], &[1])],
    );
    let call = |of: [i64; 2]| lengths.call(&[("lengths", Tensor::from(of))]).unwrap()["y"].to_vec::<i64>().unwrap();
    assert_eq!(call([3, 1]), [0, 1, 2]);
    let (found, seen) = events::capture(|| call([2, 3]));
    assert_eq!((found, specialised(&seen)), (vec![0, 1, 2], vec![]));
    let e = lengths.export(&[("lengths", Tensor::from([3i64, 1]))]).err().unwrap().to_string();
    assert!(e.contains("the node `the_range` (Range) reads the value of `most`"), "{e}");
    // A value that an op reads itself may be on the tape.
    let range = model(
        &[node("Range", &["zero", "to", "one"], &["y"], &[])],
        &[port("to", FLOAT, &[])],
        &[port("y", FLOAT, &[Open])],
        &[floats("zero", &[], &[0.0]), floats("one", &[], &[1.0])],
    );
    let y = range.call(&[("to", Tensor::from(2.5f32).requires_grad())]).unwrap()["y"].clone();
    assert_eq!(vec(&y), [0.0, 1.0, 2.0]);
    // One graph for a condition, whatever it is computed of.
    let both = [
        body("then_branch", branch("Neg", &["x"])),
        body("else_branch", {
            let both = Message::default().text(1, "axis").int(3, 0).int(20, 2);
            graph(&[node("Concat", &["x", "x"], &["z"], &[both])], &[], &[port("z", FLOAT, &[Open])], &[])
        }),
    ];
    let m = model(
        &[node("Greater", &["n", "zero"], &["c"], &[]), node("If", &["c"], &["y"], &both)],
        &[port("x", FLOAT, &[Is(1)]), port("n", INT64, &[])],
        &[port("y", FLOAT, &[Open])],
        &[ints("zero", &[], &[0])],
    );
    let call = |n: i64| vec(&m.call(&[("x", Tensor::from([1.0f32])), ("n", Tensor::from(n))]).unwrap()["y"]);
    assert_eq!((call(1), call(-1)), (vec![-1.0], vec![1.0, 1.0]));
    let (found, seen) = events::capture(|| call(2));
    assert_eq!((found, specialised(&seen)), (vec![-1.0], vec![]));
}

#[test]
fn what_cannot_be_traced_runs_between() {
    // The places of what is not 0, and these elements doubled.
    let m = model(
        &[
            node("Add", &["x", "x"], &["d"], &[]),
            node("NonZero", &["x"], &["at"], &[]),
            node("Squeeze", &["at", "zero"], &["flat"], &[]),
            node("Gather", &["d", "flat"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Named("n")])],
        &[port("y", FLOAT, &[Open])],
        &[ints("zero", &[1], &[0])],
    );
    for (x, expected) in [(vec![0.0f32, 2.0, 0.0, 3.0], vec![4.0f32, 6.0]), (vec![1.0], vec![2.0]), (vec![0.0], vec![])]
    {
        assert_eq!(vec(&m.call(&[("x", Tensor::from(x))]).unwrap()["y"]), expected);
    }
    let e = m.lower(&[("x", Tensor::from([1.0f32]))]).err().unwrap().to_string();
    assert!(e.contains("the node `the_nonzero` (NonZero) makes a shape that depends on values"), "{e}");
    let inside = jit(move |x: Tensor| m.call(&[("x", x)]).unwrap()["y"].clone());
    let e = inside.call(Tensor::from([1.0f32])).unwrap_err().to_string();
    assert!(e.contains("not known while the function is traced by jit") && e.contains("the_nonzero"), "{e}");
}

/// A graph of one node, that yields `z`.
fn branch(op: &str, inputs: &[&str]) -> Message {
    graph(&[node(op, inputs, &["z"], &[])], &[], &[port("z", FLOAT, &[Open])], &[])
}

#[test]
fn branches_are_chosen_when_it_runs() {
    let with = |yes: Message, no: Message| {
        let branches = [body("then_branch", yes), body("else_branch", no)];
        model(
            &[
                node("ReduceSum", &["x"], &["s"], &[int("keepdims", 0)]),
                node("Greater", &["s", "none"], &["c"], &[]),
                node("If", &["c"], &["y"], &branches),
            ],
            &[port("x", FLOAT, &[Is(2)])],
            &[port("y", FLOAT, &[Open])],
            &[floats("none", &[], &[0.0])],
        )
    };
    let call = |m: &Model, x: [f32; 2]| vec(&m.call(&[("x", Tensor::from(x))]).unwrap()["y"]);
    // Of one type: a branch of the compiled function.
    let m = with(branch("Neg", &["x"]), branch("Identity", &["x"]));
    let (_, seen) = events::capture(|| {
        assert_eq!((call(&m, [1.0, 2.0]), call(&m, [-1.0, 0.5])), (vec![-1.0, -2.0], vec![-1.0, 0.5]));
    });
    assert_eq!(count(&seen, Event::Specialised), 0, "{seen:#?}");
    // Of two shapes: chosen by the value.
    let m = with(branch("Neg", &["x"]), {
        let both = Message::default().text(1, "axis").int(3, 0).int(20, 2);
        graph(&[node("Concat", &["x", "x"], &["z"], &[both])], &[], &[port("z", FLOAT, &[Open])], &[])
    });
    assert_eq!((call(&m, [-1.0, 0.5]), call(&m, [1.0, 0.5])), (vec![-1.0, 0.5, -1.0, 0.5], vec![-1.0, -0.5]));
}

#[test]
fn loops_end_when_values_say_so() {
    // Doubles as long as it is below the limit, and counts: both are carried.
    let inner = graph(
        &[node("Add", &["v", "v"], &["w"], &[]), node("Less", &["w", "limit"], &["go"], &[])],
        &[port("i", INT64, &[]), port("before", BOOL, &[]), port("v", FLOAT, &[])],
        &[port("go", BOOL, &[]), port("w", FLOAT, &[])],
        &[],
    );
    let m = model(
        &[node("Loop", &["", "start", "x"], &["y"], &[body("body", inner)])],
        &[port("x", FLOAT, &[]), port("limit", FLOAT, &[]), port("start", BOOL, &[])],
        &[port("y", FLOAT, &[])],
        &[],
    );
    let call = |x: f32, limit: f32| {
        let inputs = [("x", Tensor::from(x)), ("limit", Tensor::from(limit)), ("start", Tensor::from(true))];
        m.call(&inputs).unwrap()["y"].item::<f32>().unwrap()
    };
    assert_eq!((call(1.0, 100.0), call(3.0, 7.0), call(3.0, 5.0)), (128.0, 12.0, 6.0));
}

#[test]
fn lists_go_in_and_out() {
    let sequence = {
        let tensor = Message::default().int(1, FLOAT).message(2, Message::default().message(1, Message::default()));
        let element = Message::default().message(1, Message::default().message(1, tensor));
        Message::default().text(1, "xs").message(2, Message::default().message(4, element))
    };
    let m = model(
        &[node("SequenceLength", &["xs"], &["n"], &[]), node("ConcatFromSequence", &["xs"], &["y"], &[int("axis", 0)])],
        &[sequence],
        &[port("y", FLOAT, &[Open]), port("n", INT64, &[])],
        &[],
    );
    let xs = Value::Sequence(vec![Tensor::from([1.0f32, 2.0]).into(), Tensor::from([3.0f32]).into()]);
    let out = m.run(&[("xs", xs)]).unwrap();
    assert_eq!(vec(out[0].tensor().unwrap()), [1.0, 2.0, 3.0]);
    assert_eq!(out[1].tensor().unwrap().item::<i64>().unwrap(), 2);
    let e = m.run(&[("xs", Tensor::from([1.0f32]).into())]).err().unwrap().to_string();
    assert!(e.contains("the input `xs` is no sequence"), "{e}");
}
