//! Wrong files and wrong inputs: each has its message, and nothing panics.

use crate::attributes;
use crate::file::*;
use std::fs;
use std::path::PathBuf;
use tracewright::io::onnx::{self, Model, Presence};
use tracewright::{Code, DType, Tensor, options};

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("onnx").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The error of reading a file.
pub fn refused(bytes: &[u8]) -> String {
    match onnx::parse(bytes) {
        Ok(_) => panic!("it was read"),
        Err(e) => e.to_string(),
    }
}

#[track_caller]
pub fn says(message: &str, words: &[&str]) {
    words.iter().for_each(|w| assert!(message.contains(w), "{message:?} does not say {w:?}"));
}

/// y = x + w.
fn sum() -> Message {
    graph(
        &[node("Add", &["x", "w"], &["y"], &[])],
        &[port("x", FLOAT, &[Named("n"), Is(2)])],
        &[port("y", FLOAT, &[Named("n"), Is(2)])],
        &[floats("w", &[2], &[1.0, 2.0])],
    )
}

fn model() -> Model {
    onnx::parse(&file(sum())).unwrap()
}

#[test]
fn inputs_that_do_not_fit() {
    let m = model();
    let call = |inputs: &[(&str, Tensor)]| m.call(inputs).unwrap_err().to_string();
    let x = || Tensor::ones([3, 2], DType::F32);
    says(&call(&[]), &["error[argument]", "the input `x` is missing", "x: f32[n, 2]"]);
    says(&call(&[("x", x()), ("z", x())]), &["no input `z`", "inputs are `x`"]);
    says(&call(&[("X", x())]), &["no input `X`"]);
    says(&call(&[("x", x()), ("x", x())]), &["`x` is given twice"]);
    says(&call(&[("x", x().to_dtype(DType::F64))]), &["error[dtype]", "the input `x` is f64[3, 2]", "f32[n, 2]"]);
    says(&call(&[("x", Tensor::ones([2], DType::F32))]), &["error[rank]", "the input `x` is f32[2]"]);
    says(&call(&[("x", Tensor::ones([3, 4], DType::F32))]), &["error[shape]", "the input `x` is f32[3, 4]"]);
    let two = |t: &Tensor| t.to_vec::<f32>().unwrap();
    assert_eq!(two(&m.call(&[("x", x())]).unwrap()["y"]), [2.0, 3.0, 2.0, 3.0, 2.0, 3.0]);
}

#[test]
fn ops_that_are_not_known_are_listed_at_once() {
    let nodes = [
        node("Frobnicate", &["x"], &["a"], &[]),
        node("Frobnicate", &["a"], &["b"], &[]),
        node("Relu", &["b"], &["c"], &[]),
        node("Quux", &["c"], &["y"], &[]),
    ];
    let g = graph(&nodes, &[port("x", FLOAT, &[Is(1)])], &[port("y", FLOAT, &[Is(1)])], &[]);
    let all = ["Frobnicate-21 (2 nodes, the first is `the_frobnicate`)", "Quux-21 (node `the_quux`)"];
    says(&refused(&file(g)), &all);
    // Whatever else is wrong: a value that nothing gives, a tensor of texts; and also of bodies.
    let wrong = raw("w", 8, &[1], b"a");
    let held = held("value", wrong.clone());
    let body_of = graph(&[node("Quux", &[], &["z"], &[])], &[], &[port("z", FLOAT, &[Is(1)])], &[]);
    let nodes = [
        node("Constant", &[], &["k"], &[held]),
        node("Relu", &["gone"], &["a"], &[]),
        node("If", &["a"], &["b"], &[body("then_branch", body_of.clone()), body("else_branch", body_of)]),
        node("Frobnicate", &["b"], &["c"], &[]),
        node("Frobnicate", &["c"], &["y"], &[]),
    ];
    let g = graph(&nodes, &[port("x", FLOAT, &[Is(1)])], &[port("y", FLOAT, &[Is(1)])], &[wrong]);
    says(&refused(&file(g)), &[all[0], "Quux-21 (2 nodes, the first is `the_quux`)"]);
}

#[test]
fn messages_have_the_names_of_the_model() {
    let product = graph(
        &[node("MatMul", &["x", "w"], &["y"], &[])],
        &[port("x", FLOAT, &[Named("n"), Named("k")])],
        &[port("y", FLOAT, &[Open, Open])],
        &[floats("w", &[2, 1], &[1.0, 2.0])],
    );
    let m = onnx::parse(&file(product)).unwrap();
    let e = m.call(&[("x", Tensor::ones([2, 3], DType::F32))]).unwrap_err().to_string();
    says(&e, &["MatMul(`x`: f32[2, 3], `w`: f32[2, 1])", "in the node `the_matmul` (MatMul)"]);
    assert!(!e.contains("arguments.0"), "{e}");
    // A name of an extent that is two of them.
    let sum = graph(
        &[node("Add", &["a", "b"], &["y"], &[])],
        &[port("a", FLOAT, &[Named("batch size")]), port("b", FLOAT, &[Named("batch size")])],
        &[port("y", FLOAT, &[Open])],
        &[],
    );
    let m = onnx::parse(&file(sum)).unwrap();
    let ones = |n: usize| Tensor::ones([n], DType::F32);
    let e = m.call(&[("a", ones(2)), ("b", ones(3))]).unwrap_err().to_string();
    says(&e, &["error[shape]", "`batch size` is 2 in the input `a` and 3 in `b`"]);
    // Only known when it runs: in compiled code, and in the interpreter.
    let take = graph(
        &[node("Neg", &["x"], &["z"], &[]), node("Gather", &["z", "at"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(3)]), port("at", INT64, &[Is(1)])],
        &[port("y", FLOAT, &[Is(1)])],
        &[],
    );
    let m = onnx::parse(&file(take)).unwrap();
    for jit in [true, false] {
        let options = options::Options { jit, ..(*options::current().unwrap()).clone() };
        let e = options::with_options(options, || m.call(&[("x", ones(3)), ("at", Tensor::from([7i64]))]).unwrap_err());
        says(&e.to_string(), &["error[index]: Gather(`z`, `at`)", "in the node `the_gather` (Gather)"]);
    }
}

/// Weights are parts of their file where they are aligned there; both ways they have their values.
#[test]
fn weights_anywhere_in_a_file() {
    let folder = folder("weights");
    for shift in 0..5 {
        let weights: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let flags = raw("flags", BOOL, &[3], &[0, 2, 1]);
        let g = graph(
            &[
                node("Mul", &["x", "w"], &["a"], &[]),
                node("Cast", &["flags"], &["f"], &[int("to", FLOAT)]),
                node("ReduceSum", &["f"], &["s"], &[int("keepdims", 0)]),
                node("Add", &["a", "s"], &["y"], &[]),
            ],
            &[port("x", FLOAT, &[Is(1)])],
            &[port("y", FLOAT, &[Open])],
            &[floats("w", &[1000], &weights), flags],
        );
        let path = folder.join(format!("{shift}.onnx"));
        // A name of the producer moves what follows.
        let before = Message::default().text(2, &"p".repeat(shift));
        fs::write(&path, Message([before.0, file(g)].concat()).0).unwrap();
        let y = onnx::load(&path).unwrap().call(&[("x", Tensor::from([2.0f32]))]).unwrap();
        let expected: Vec<f32> = weights.iter().map(|w| w * 2.0 + 2.0).collect();
        assert_eq!(y["y"].to_vec::<f32>().unwrap(), expected, "shifted by {shift}");
    }
}

#[test]
fn graphs_that_make_no_sense() {
    let (x, y) = (port("x", FLOAT, &[Is(1)]), port("y", FLOAT, &[Is(1)]));
    let read = |nodes: &[Message], initialisers: &[Message]| {
        refused(&file(graph(nodes, std::slice::from_ref(&x), std::slice::from_ref(&y), initialisers)))
    };
    let circle =
        [node("Add", &["x", "b"], &["a"], &[]), node("Relu", &["a"], &["b"], &[]), node("Relu", &["a"], &["y"], &[])];
    says(&read(&circle, &[]), &["in a circle", "`the_add`", "`the_relu`"]);
    says(
        &read(&[node("Relu", &["gone"], &["y"], &[])], &[]),
        &["the node `the_relu` reads `gone`, which nothing gives"],
    );
    says(&read(&[node("Relu", &["x"], &["z"], &[])], &[]), &["the output `y` is the result of no node"]);
    let twice = [node("Relu", &["x"], &["y"], &[]), node("Abs", &["x"], &["y"], &[])];
    says(&read(&twice, &[]), &["the name `y` is given twice", "Abs"]);
    let one = [node("Relu", &["x"], &["y"], &[])];
    says(&read(&one, &[floats("w", &[2], &[1.0])]), &["`w` has 4 bytes of data", "8 bytes"]);
    says(&read(&one, &[floats("w", &[-1], &[1.0])]), &["`w` has extents [-1]"]);
    says(&read(&one, &[floats("w", &[1 << 62, 1 << 62], &[])]), &["`w` has extents", "memory"]);
    says(&read(&one, &[raw("w", 8, &[1], b"a")]), &["element type string", "of the tensor `w`"]);
    says(&read(&one, &[floats("w", &[1], &[1.0]), floats("w", &[1], &[1.0])]), &["the name `w` is given twice"]);
    let old = Message::default().message(7, sum()).message(8, Message::default().int(2, 99)).0;
    says(&refused(&old), &["opset 99", "opsets 1 to 23"]);
    says(&refused(&[]), &["no graph"]);
    says(&refused(b"not a model"), &["not ONNX"]);
}

#[test]
fn data_in_other_files_stays_in_the_folder() {
    let folder = folder("external");
    let outside = folder.join("outside.bin");
    fs::write(&outside, [0u8; 64]).unwrap();
    let inside = folder.join("model");
    fs::create_dir_all(inside.join("data")).unwrap();
    let data: Vec<u8> = [9.0f32, 1.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(inside.join("data/w.bin"), data).unwrap();
    let read = |entries: &[(&str, &str)]| {
        let g = graph(
            &[node("Add", &["x", "w"], &["y"], &[])],
            &[port("x", FLOAT, &[Is(2)])],
            &[port("y", FLOAT, &[Is(2)])],
            &[external("w", &[2], entries)],
        );
        fs::write(inside.join("m.onnx"), file(g)).unwrap();
        onnx::load(inside.join("m.onnx"))
    };
    let y = read(&[("location", "data/w.bin"), ("offset", "4"), ("length", "8")]).unwrap();
    let y = y.call(&[("x", Tensor::from([1.0f32, 1.0]))]).unwrap();
    assert_eq!(y["y"].to_vec::<f32>().unwrap(), [2.0, 3.0]);
    let refused = |entries: &[(&str, &str)]| match read(entries) {
        Ok(_) => panic!("it was read"),
        Err(e) => e.to_string(),
    };
    let absolute = outside.to_string_lossy().into_owned();
    for location in [absolute.as_str(), "../outside.bin", "data/../../outside.bin", ""] {
        says(
            &refused(&[("location", location)]),
            &["the external data of `w` lies in", "inside of the model's folder"],
        );
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, inside.join("link.bin")).unwrap();
        says(
            &refused(&[("location", "link.bin")]),
            &["a link that leaves the folder", "note: a copy of the folder", "cp -rL "],
        );
    }
    says(&refused(&[("location", "none.bin")]), &["cannot be read"]);
    says(&refused(&[("location", "data/w.bin"), ("offset", "8")]), &["`w` has 4 bytes of data"]);
    says(&refused(&[("location", "data/w.bin"), ("offset", "8"), ("length", "8")]), &["bytes 8 to 16", "which has 12"]);
    says(&refused(&[("location", "data/w.bin"), ("offset", "18446744073709551615")]), &["which has 12"]);
    says(&refused(&[("location", "data/w.bin"), ("offset", "-1")]), &["has offset `-1`"]);
    says(&refused(&[("location", "data")]), &["`data`"]);
    let bytes = fs::read(inside.join("m.onnx")).unwrap();
    says(&self::refused(&bytes), &["the model comes from no file"]);
}

#[test]
fn values_that_make_no_sense_when_it_runs() {
    let take = graph(
        &[node("Gather", &["x", "at"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(3)]), port("at", INT64, &[Is(1)])],
        &[port("y", FLOAT, &[Is(1)])],
        &[],
    );
    let m = onnx::parse(&file(take)).unwrap();
    let call = |at: i64| m.call(&[("x", Tensor::from([5.0f32, 6.0, 7.0])), ("at", Tensor::from([at]))]);
    assert_eq!(call(-1).unwrap()["y"].to_vec::<f32>().unwrap(), [7.0]);
    for at in [3, -4] {
        let e = call(at).and_then(|y| y["y"].to_vec::<f32>()).unwrap_err().to_string();
        says(&e, &["error[index]", "the_gather", &format!("index {at} is out of range for axis 0 of extent 3")]);
    }
    let axes = graph(
        &[node("GatherND", &["x", "at"], &["y"], &[]), node("ScatterND", &["x", "to", "y"], &["z"], &[])],
        &[
            port("x", FLOAT, &[Named("n"), Is(3)]),
            port("at", INT64, &[Is(1), Is(2)]),
            port("to", INT64, &[Is(1), Is(2)]),
        ],
        &[port("z", FLOAT, &[Named("n"), Is(3)])],
        &[],
    );
    let m = onnx::parse(&file(axes)).unwrap();
    let x = Tensor::from([[5.0f32, 6.0, 7.0], [8.0, 9.0, 10.0]]);
    let call = |at: [i64; 2], to: [i64; 2]| {
        m.call(&[("x", x.clone()), ("at", Tensor::from([at])), ("to", Tensor::from([to]))])?["z"].to_vec::<f32>()
    };
    assert_eq!(call([-1, -1], [0, -3]).unwrap(), [10.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
    for (at, expected) in [
        ([0, 3], "index 3 is out of range for axis 1 of extent 3"),
        ([1, -4], "index -4 is out of range for axis 1 of extent 3"),
        ([2, 0], "index 2 is out of range for axis 0 of extent 2"),
        ([-3, 0], "index -3 is out of range for axis 0 of extent 2"),
    ] {
        says(&call(at, [0, 0]).unwrap_err().to_string(), &["error[index]", "the_gathernd", expected]);
        says(&call([0, 0], at).unwrap_err().to_string(), &["error[index]", "the_scatternd", expected]);
    }
    let shaped = graph(
        &[node("Reshape", &["x", "to"], &["y"], &[])],
        &[port("x", FLOAT, &[Is(6)]), port("to", INT64, &[Is(2)])],
        &[port("y", FLOAT, &[Open, Open])],
        &[],
    );
    let m = onnx::parse(&file(shaped)).unwrap();
    let call = |to: [i64; 2]| m.call(&[("x", Tensor::ones([6], DType::F32)), ("to", Tensor::from(to))]);
    assert_eq!(call([2, -1]).unwrap()["y"].shape().to_string(), "[2, 3]");
    for to in [[4, -1], [0, 5], [-1, -1], [-7, 1], [i64::MAX, i64::MAX], [i64::MIN, 2], [1 << 40, 1 << 40]] {
        let e = call(to).unwrap_err().to_string();
        says(&e, &["the node `the_reshape` (Reshape)"]);
    }
    let filled = graph(
        &[node("ConstantOfShape", &["to"], &["y"], &[])],
        &[port("to", INT64, &[Is(2)])],
        &[port("y", FLOAT, &[Open, Open])],
        &[],
    );
    let m = onnx::parse(&file(filled)).unwrap();
    for to in [[1i64 << 40, 1 << 40], [i64::MAX, 1], [-1, 1]] {
        let e = m.call(&[("to", Tensor::from(to))]).and_then(|y| y["y"].to_vec::<f32>()).unwrap_err();
        says(&e.to_string(), &["error["]);
    }
}

/// Lists that are as long as there are axes, and numbers of a quantised convolution.
#[test]
fn operands_that_do_not_fit_each_other() {
    let refused = |op: &str, inputs: &[&str], result: i64, initialisers: &[Message]| {
        let g = graph(
            &[node(op, inputs, &["y"], &[])],
            &[port("x", 2, &[Is(1), Is(1), Is(2)])],
            &[port("y", result, &[Open, Open, Open])],
            initialisers,
        );
        let m = onnx::parse(&file(g)).unwrap();
        m.call(&[("x", Tensor::ones([1, 1, 2], DType::U8))]).unwrap_err().to_string()
    };
    let two = ints("two", &[2], &[1, 1]);
    says(
        &refused("Tile", &["x", "two"], 2, std::slice::from_ref(&two)),
        &["the_tile", "2 numbers of repetitions for a tensor of rank 3"],
    );
    says(&refused("CenterCropPad", &["x", "two"], 2, &[two]), &["the_centercroppad", "2 extents for 3 axes"]);
    let of_bytes = |name: &str, dims: &[i64], n: usize| raw(name, 2, dims, &vec![1; n]);
    let all = |change: Message, at: usize| {
        let mut all = vec![
            floats("sx", &[], &[1.0]),
            of_bytes("zx", &[], 1),
            of_bytes("w", &[2, 1, 1], 2),
            floats("sw", &[], &[1.0]),
            of_bytes("zw", &[], 1),
            floats("sy", &[], &[1.0]),
            of_bytes("zy", &[], 1),
            raw("b", 6, &[2], &[0; 8]),
        ];
        all[at] = change;
        all
    };
    let inputs = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"];
    for (change, at, message) in [
        (floats("sx", &[2], &[1.0; 2]), 0, "operand 1 is f32[2]"),
        (raw("zx", 3, &[], &[1]), 1, "operand 2 is i8[]"),
        (of_bytes("zw", &[2, 1], 2), 4, "operand 5 is u8[2, 1]"),
        (floats("zy", &[], &[1.0]), 6, "operand 7 is f32[]"),
        (raw("b", 6, &[1], &[0; 4]), 7, "operand 8 is i32[1]"),
    ] {
        says(&refused("QLinearConv", &inputs, 2, &all(change, at)), &["the_qlinearconv", message]);
    }
}

/// What is wrong is the file's fault, not ours.
fn refused_or_right(outcome: tracewright::Result<()>) {
    let wrong = |e: &tracewright::Error| matches!(e.code(), Code::Panic | Code::Bug);
    assert!(!outcome.as_ref().is_err_and(wrong), "{}", outcome.unwrap_err());
}

/// Every op is given no operands, too few, too many, and such as it does not expect; in every version, with odd attributes and
/// with all that it has.
#[test]
fn ops_of_odd_operands() {
    let options = options::Options { jit: false, ..(*options::current().unwrap()).clone() };
    let operands: [(&str, Tensor); 7] = [
        ("f", Tensor::ones([2, 3], DType::F32)),
        ("i", Tensor::from([1i64, -1])),
        ("e", Tensor::zeros([0], DType::I64)),
        ("n", Tensor::from(i64::MIN)),
        ("m", Tensor::from(i64::MAX)),
        ("b", Tensor::from(true)),
        ("c", Tensor::ones([1, 2, 3, 4], DType::F32)),
    ];
    let given = [
        port("f", FLOAT, &[Is(2), Is(3)]),
        port("i", INT64, &[Is(2)]),
        port("e", INT64, &[Is(0)]),
        port("n", INT64, &[]),
        port("m", INT64, &[]),
        port("b", BOOL, &[]),
        port("c", FLOAT, &[Is(1), Is(2), Is(3), Is(4)]),
    ];
    let lists: [&[&str]; 20] = [
        &[],
        &["f"],
        &["e"],
        &["n"],
        &["c"],
        &["f", "i"],
        &["f", "f"],
        &["n", "n"],
        &["i", "f"],
        &["f", "m"],
        &["f", "f", "f"],
        &["c", "c", "c"],
        &["i", "i", "i"],
        &["n", "n", "n", "n", "n"],
        &["m", "m", "m", "m", "m"],
        &["e", "e", "e"],
        &["n", "n", "n"],
        &["f", "n", "n", "n", "n"],
        &["c", "c", "c", "c", "c"],
        &["b", "b", "f", "f", "f", "i", "i"],
    ];
    let (mut wrong, mut ran) = (Vec::new(), 0);
    let mut attempt = |op: &str, opset: i64, list: &[&str], attributes: &[Message]| {
        // As many results as the op must have.
        for results in [&["y"][..], &["y", "z"], &["y", "z", "u"]] {
            let g = graph(&[node(op, list, results, attributes)], &given, &[port("y", FLOAT, &[Open])], &[]);
            let Ok(model) = onnx::parse(&file_of(opset, g)) else { continue };
            ran += 1;
            let outcome = model.call(&operands);
            let code = outcome.as_ref().err().map(tracewright::Error::code);
            if matches!(code, Some(Code::Panic | Code::Bug)) {
                wrong.push(format!("{op}-{opset} of {list:?}: {}", outcome.unwrap_err()));
            }
            break;
        }
    };
    options::with_options(options, || {
        for (op, opset, signature) in attributes::versions() {
            let all = signature.attributes.iter();
            let required: Vec<Message> = all
                .clone()
                .filter(|a| a.presence == Presence::Required || a.name == "axis")
                .map(|a| if a.name == "axis" { int("axis", i64::MIN) } else { attributes::value(a) })
                .collect();
            let one_of = all.clone().position(|a| a.presence == Presence::OneOf && a.name != "sparse_value");
            let whole = all.enumerate().filter(|(i, a)| a.presence != Presence::OneOf || Some(*i) == one_of);
            let whole: Vec<Message> = whole.map(|(_, a)| attributes::value(a)).collect();
            for list in lists {
                attempt(op.name, opset, list, &required);
                attempt(op.name, opset, list, &whole);
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 5000, "only {ran} of them were read");
}

/// Every file that is cut off or has another byte somewhere is read or refused, and runs or does not.
#[test]
fn files_with_other_bytes() {
    let inner = graph(&[node("Neg", &["x"], &["z"], &[])], &[], &[port("z", FLOAT, &[Is(2)])], &[]);
    let nodes = [
        node("Shape", &["x"], &["s"], &[]),
        node("Gather", &["s", "first"], &["n"], &[int("axis", 0)]),
        node("Concat", &["n", "two"], &["to"], &[int("axis", 0)]),
        node("Reshape", &["x", "to"], &["r"], &[]),
        node("If", &["c"], &["b"], &[body("then_branch", inner.clone()), body("else_branch", inner)]),
        node("Add", &["r", "w"], &["y"], &[]),
        node("NonZero", &["b"], &["at"], &[]),
    ];
    let g = graph(
        &nodes,
        &[port("x", FLOAT, &[Named("n"), Is(2)]), port("c", BOOL, &[])],
        &[port("y", FLOAT, &[Open, Open]), port("at", INT64, &[Open, Open])],
        &[ints("first", &[1], &[0]), ints("two", &[1], &[2]), floats("w", &[2], &[1.0, 2.0])],
    );
    let bytes = file(g);
    let inputs = [("x", Tensor::ones([3, 2], DType::F32)), ("c", Tensor::from(true))];
    assert_eq!(onnx::parse(&bytes).unwrap().call(&inputs).unwrap()["at"].shape().to_string(), "[2, 6]");
    let attempt = |bytes: &[u8]| {
        let outcome = onnx::parse(bytes).and_then(|model| model.call(&inputs));
        refused_or_right(outcome.and_then(|outputs| outputs.values().try_for_each(|t| t.to_literal().map(drop))));
        let _ = onnx::survey(bytes);
    };
    (0..bytes.len()).for_each(|n| attempt(&bytes[..n]));
    for at in 0..bytes.len() {
        for change in [1u8, 0x80, 0x55] {
            let mut other = bytes.clone();
            other[at] ^= change;
            attempt(&other);
        }
    }
}

#[test]
fn bodies_nest_only_so_deep() {
    let mut inner = graph(&[node("Neg", &["x"], &["z"], &[])], &[], &[port("z", FLOAT, &[Is(2)])], &[]);
    for _ in 0..10_000 {
        let yes = body("then_branch", inner);
        inner = graph(&[node("If", &["c"], &["z"], &[yes])], &[], &[port("z", FLOAT, &[Is(2)])], &[]);
    }
    says(&refused(&file(inner)), &["not ONNX", "recursion"]);
}

#[test]
fn a_split_into_more_parts_than_results() {
    let node = node("Split", &["x"], &["y"], &[int("axis", 0), int("num_outputs", 1 << 40)]);
    let g = graph(&[node], &[port("x", FLOAT, &[Is(2)])], &[port("y", FLOAT, &[Open])], &[]);
    let e = onnx::parse(&file(g)).unwrap().call(&[("x", Tensor::ones([2], DType::F32))]).unwrap_err().to_string();
    says(&e, &["num_outputs is 1099511627776", "1, as many as the node has"]);
}

/// Operands of every rank for ops that take tensors of few.
#[test]
fn ranks_that_attention_does_not_have() {
    let of = |op: &str, ranks: &[usize], attributes: &[Message]| {
        let names: Vec<String> = (0..ranks.len()).map(|i| format!("x{i}")).collect();
        let ports: Vec<Message> = names.iter().zip(ranks).map(|(n, &r)| port(n, FLOAT, &vec![Is(2); r])).collect();
        let reads: Vec<&str> = names.iter().map(String::as_str).collect();
        let g = graph(&[node(op, &reads, &["y"], attributes)], &ports, &[port("y", FLOAT, &[])], &[]);
        let m = onnx::parse(&Message(file(g)).message(8, Message::default().int(2, 23)).0).unwrap();
        let tensors = ranks.iter().map(|&r| Tensor::ones(vec![2usize; r].as_slice(), DType::F32));
        let given: Vec<(&str, Tensor)> = reads.iter().copied().zip(tensors).collect();
        m.call(&given).map(|_| ()).map_err(|e| e.to_string())
    };
    let heads = [int("q_num_heads", 1), int("kv_num_heads", 1)];
    let is_refused = |outcome: Result<(), String>, what: &dyn std::fmt::Debug| {
        let e = outcome.expect_err(&format!("{what:?}"));
        assert!(e.contains("of ranks") || e.contains("rank "), "{what:?}: {e}");
    };
    for q in 0..=5 {
        for k in 0..=5 {
            let outcome = of("Attention", &[q, k, k], &heads);
            match (q, k) {
                (3, 3) | (4, 4) => assert_eq!(outcome, Ok(())),
                ranks => is_refused(outcome, &ranks),
            }
        }
        let outcome = of("RotaryEmbedding", &[q, 3, 3], &[int("num_heads", 1)]);
        if !(3..=4).contains(&q) {
            is_refused(outcome, &q);
        }
        is_refused(of("RotaryEmbedding", &[3, q.min(2), 3], &[int("num_heads", 1)]), &q);
    }
}

#[test]
fn graphs_with_many_inputs() {
    let names: Vec<String> = (0..100_000).map(|i| format!("x{i}")).collect();
    let ports: Vec<Message> = names.iter().map(|n| port(n, FLOAT, &[Open])).collect();
    let g = graph(&[node("Neg", &["x0"], &["y"], &[])], &ports, &[port("y", FLOAT, &[Open])], &[]);
    let m = onnx::parse(&file(g)).unwrap();
    let e = m.call(&[("x", Tensor::ones([1], DType::F32))]).unwrap_err().to_string();
    says(&e, &["no input `x`", "… 99936 more"]);
    assert!(e.len() < 10_000);
    let e = m.call(&[]).unwrap_err().to_string();
    says(&e, &["the input `x0` is missing", "… 99936 more"]);
}
