//! What ops do where it is easily done otherwise: signs, ends, zeros, integers beyond 2^53, extents of 1.

use crate::file::*;
use tracewright::events::{self, Event};
use tracewright::io::onnx::{self, Model};
use tracewright::{DType, Tensor};

fn model(nodes: &[Message], inputs: &[Message], outputs: &[Message], initialisers: &[Message]) -> Model {
    onnx::parse(&file(graph(nodes, inputs, outputs, initialisers))).unwrap()
}

/// The integers that nodes make of initialisers alone, and of the shape of an input of shape [2, 3].
fn followed(nodes: &[Message], initialisers: &[Message]) -> Vec<i64> {
    let shape = node("Shape", &["x"], &["s"], &[]);
    let nodes: Vec<Message> = [shape].iter().chain(nodes).cloned().collect();
    let m = model(&nodes, &[port("x", FLOAT, &[Named("n"), Is(3)])], &[port("y", INT64, &[Open])], initialisers);
    m.call(&[("x", Tensor::ones([2, 3], DType::F32))]).unwrap()["y"].to_vec().unwrap()
}

#[test]
fn remainders_have_the_sign_of_the_divisor_or_with_fmod_of_the_dividend() {
    let given = [ints("a", &[4], &[5, -5, 5, -5]), ints("b", &[4], &[3, 3, -3, -3])];
    let rest = |attributes: &[Message]| followed(&[node("Mod", &["a", "b"], &["y"], attributes)], &given);
    assert_eq!(rest(&[]), [2, 1, -1, -2]);
    assert_eq!(rest(&[int("fmod", 1)]), [2, -2, 2, -2]);
}

#[test]
fn quotients_of_what_may_be_negative_are_cut_off() {
    let given = [ints("five", &[1], &[5]), ints("two", &[1], &[2]), ints("first", &[1], &[0])];
    let nodes = [
        node("Gather", &["s", "first"], &["n"], &[int("axis", 0)]),
        node("Sub", &["n", "five"], &["d"], &[]),
        node("Div", &["d", "two"], &["y"], &[]),
    ];
    assert_eq!(followed(&nodes, &given), [-1]);
}

#[test]
fn casts_of_integers_wrap() {
    let nodes = [node("Cast", &["a"], &["i"], &[int("to", 6)]), node("Cast", &["i"], &["y"], &[int("to", 7)])];
    assert_eq!(followed(&nodes, &[ints("a", &[1], &[(1 << 33) + 5])]), [5]);
}

#[test]
fn slices_to_the_front_begin_inside() {
    let given = [
        ints("a", &[3], &[4, 5, 6]),
        ints("from", &[1], &[-5]),
        ints("to", &[1], &[-9]),
        ints("axis", &[1], &[0]),
        ints("step", &[1], &[-1]),
    ];
    let slice = |of: &str| node("Slice", &[of, "from", "to", "axis", "step"], &["y"], &[]);
    assert_eq!(followed(&[slice("a")], &given), [4]);
    let m = model(&[slice("x")], &[port("x", FLOAT, &[Is(3)])], &[port("y", FLOAT, &[Open])], &given[1..]);
    let y = m.call(&[("x", Tensor::from([4.0f32, 5.0, 6.0]))]).unwrap();
    assert_eq!(y["y"].to_vec::<f32>().unwrap(), [4.0]);
}

#[test]
fn an_open_axis_of_one_element_is_squeezed() {
    let m = model(
        &[node("Squeeze", &["x"], &["y"], &[])],
        &[port("x", FLOAT, &[Named("n"), Is(1), Is(3)])],
        &[port("y", FLOAT, &[Open])],
        &[],
    );
    let shape = |n: usize| m.call(&[("x", Tensor::ones([n, 1, 3], DType::F32))]).unwrap()["y"].shape().to_string();
    assert_eq!((shape(2).as_str(), shape(1).as_str()), ("[2, 3]", "[3]"));
}

#[test]
fn sums_of_those_before_lose_nothing() {
    let m = model(
        &[
            node("CumSum", &["x", "axis"], &["y"], &[int("exclusive", 1)]),
            node("CumSum", &["x", "axis"], &["z"], &[int("exclusive", 1), int("reverse", 1)]),
        ],
        &[port("x", FLOAT, &[Is(4)])],
        &[port("y", FLOAT, &[Open]), port("z", FLOAT, &[Open])],
        &[ints("axis", &[], &[0])],
    );
    let of = |x: [f32; 4]| m.call(&[("x", Tensor::from(x))]).unwrap();
    assert_eq!(of([1.0, 1e20, 1.0, 1.0])["y"].to_vec::<f32>().unwrap(), [0.0, 1.0, 1e20, 1e20]);
    assert_eq!(
        of([1.0, 2.0, f32::INFINITY, 1.0])["z"].to_vec::<f32>().unwrap(),
        [f32::INFINITY, f32::INFINITY, 1.0, 0.0]
    );
}

#[test]
fn unique_elements_are_compared_as_what_they_are() {
    let unique = |dtype| {
        model(&[node("Unique", &["x"], &["y"], &[])], &[port("x", dtype, &[Open])], &[port("y", dtype, &[Open])], &[])
    };
    let large = 1i64 << 53;
    let y = unique(INT64).call(&[("x", Tensor::from([large + 1, large, large + 1]))]).unwrap();
    assert_eq!(y["y"].to_vec::<i64>().unwrap(), [large, large + 1]);
    let y = unique(FLOAT).call(&[("x", Tensor::from([0.0f32, -0.0, 1.0]))]).unwrap();
    assert_eq!(y["y"].to_vec::<f32>().unwrap(), [0.0, 1.0]);
}

#[test]
fn what_a_loop_carries_may_grow() {
    let grow = graph(
        &[node("Identity", &["go"], &["on"], &[]), node("Concat", &["all", "all"], &["more"], &[int("axis", 0)])],
        &[port("i", INT64, &[]), port("go", BOOL, &[]), port("all", FLOAT, &[Open])],
        &[port("on", BOOL, &[]), port("more", FLOAT, &[Open])],
        &[],
    );
    let looped = node("Loop", &["times", "", "x"], &["y"], &[body("body", grow)]);
    // A number of iterations that the file says, and one that the call says.
    let fixed = model(
        std::slice::from_ref(&looped),
        &[port("x", FLOAT, &[Is(1)])],
        &[port("y", FLOAT, &[Open])],
        &[ints("times", &[], &[3])],
    );
    let x = Tensor::from([2.0f32]);
    assert_eq!(fixed.call(&[("x", x.clone())]).unwrap()["y"].to_vec::<f32>().unwrap(), [2.0; 8]);
    let open =
        model(&[looped], &[port("x", FLOAT, &[Is(1)]), port("times", INT64, &[])], &[port("y", FLOAT, &[Open])], &[]);
    for n in [2i64, 0, 3] {
        let y = open.call(&[("x", x.clone()), ("times", Tensor::from(n))]).unwrap();
        assert_eq!(y["y"].to_vec::<f32>().unwrap(), vec![2.0; 1 << n]);
    }
}

/// Each yields how many there were: as long as a computed condition holds, so that they are recorded one by one.
#[test]
fn loops_inside_of_loops_are_bounded_together() {
    let counted = |inner: Option<Message>| {
        let go = node("Less", &["i", "last"], &["on"], &[]);
        let nodes: Vec<Message> = inner.into_iter().chain([go, node("Identity", &["i"], &["n"], &[])]).collect();
        let ports = [port("i", INT64, &[]), port("go", BOOL, &[])];
        graph(&nodes, &ports, &[port("on", BOOL, &[]), port("n", INT64, &[])], &[])
    };
    let repeat = |name: &str, of: Message| node("Loop", &["", "true"], &[name], &[body("body", of)]);
    let nested = |last: i64| {
        let both = counted(Some(repeat("numbers", counted(None))));
        let always = raw("true", BOOL, &[], &[1]);
        let given = [ints("last", &[], &[last]), always];
        let m = model(&[repeat("y", both)], &[], &[port("y", INT64, &[Open])], &given);
        m.call(&[]).map(|y| y["y"].to_vec::<i64>().unwrap())
    };
    assert_eq!(nested(2).unwrap(), [0, 1, 2]);
    let e = nested(300).unwrap_err().to_string();
    assert!(e.contains("the_loop") && e.contains("go on for more than 65536 in all"), "{e}");
}

/// A model that calls the first of these functions of one input and one output.
fn functions(bodies: &[Vec<Message>]) -> Vec<u8> {
    let import = |domain: &str, version: i64| Message::default().text(1, domain).int(2, version);
    let all = bodies.iter().enumerate().map(|(i, nodes)| {
        Message::default()
            .text(1, &format!("f{i}"))
            .text(4, "x")
            .text(5, "y")
            .all(7, nodes.iter().cloned())
            .message(9, import("", 21))
            .message(9, import("own", 1))
            .text(10, "own")
    });
    let g = graph(&[calls(0, "x", "y")], &[port("x", FLOAT, &[Is(1)])], &[port("y", FLOAT, &[Open])], &[]);
    Message(file(g)).message(8, import("own", 1)).all(25, all).0
}

fn calls(i: usize, from: &str, to: &str) -> Message {
    node(&format!("f{i}"), &[from], &[to], &[]).text(7, "own")
}

#[test]
fn functions_that_double_without_end_are_refused() {
    let twice = |i: usize| vec![calls(i + 1, "x", "m"), calls(i + 1, "m", "y")];
    let bodies: Vec<_> = (0..23).map(twice).chain([vec![node("Neg", &["x"], &["y"], &[])]]).collect();
    let e = onnx::parse(&functions(&bodies)).err().expect("it is refused").to_string();
    assert!(e.contains("the model has more than 262144 nodes, inputs and outputs"), "{e}");
}

#[test]
fn functions_that_call_each_other_in_a_long_row_are_refused() {
    let next = |i: usize| vec![calls(i + 1, "x", "y")];
    let bodies: Vec<_> = (0..20_000).map(next).chain([vec![node("Unheard", &["x"], &["y"], &[])]]).collect();
    let e = onnx::parse(&functions(&bodies)).err().expect("it is refused").to_string();
    assert!(e.contains("Unheard"), "{e}");
    let known: Vec<_> = (0..20_000).map(next).chain([vec![node("Neg", &["x"], &["y"], &[])]]).collect();
    let e = onnx::parse(&functions(&known)).err().expect("it is refused").to_string();
    assert!(e.contains("more than 32 functions call each other"), "{e}");
}

/// Of an open extent, what an op takes from the end.
#[test]
fn open_extents_may_become_negative_numbers() {
    let m = model(
        &[
            node("Shape", &["x"], &["n"], &[]),
            node("Neg", &["n"], &["back"], &[]),
            node("Slice", &["x", "back", "end", "zero"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Named("n")])],
        &[port("y", FLOAT, &[Open])],
        &[ints("zero", &[1], &[0]), ints("end", &[1], &[2])],
    );
    let given = [("x", Tensor::from([5.0f32, 6.0, 7.0]))];
    let (y, seen) = events::capture(|| m.call(&given).unwrap()["y"].to_vec::<f32>().unwrap());
    assert_eq!(y, [5.0, 6.0]);
    let became = |r: &&events::Record| r.event == Event::Specialised;
    let reasons: Vec<&str> = seen.iter().filter(became).map(|r| r.reason.as_str()).collect();
    assert!(reasons.iter().any(|r| r.contains("-n became -3")), "{reasons:?}");
    assert!(m.export(&given).unwrap().end.is_none());
}

/// The domain of ONNX itself has two names.
#[test]
fn functions_of_either_name_of_a_domain_are_found() {
    let twice = Message::default().text(1, "Twice").text(4, "x").text(5, "y").text(10, "ai.onnx");
    let twice =
        twice.message(7, node("Add", &["x", "x"], &["y"], &[])).message(9, Message::default().text(1, "").int(2, 21));
    let (x, y) = ([port("x", FLOAT, &[Is(1)])], [port("y", FLOAT, &[Open])]);
    for domain in ["", "ai.onnx"] {
        let g = graph(&[node("Twice", &["x"], &["y"], &[]).text(7, domain)], &x, &y, &[]);
        let m = onnx::parse(&Message(file(g)).message(25, twice.clone()).0).unwrap();
        assert_eq!(m.call(&[("x", Tensor::from([4.0f32]))]).unwrap()["y"].to_vec::<f32>().unwrap(), [8.0]);
    }
}

/// Of initialisers alone, what is computed while a model is traced.
#[test]
fn what_is_known_is_computed_before() {
    let initialisers = [ints("a", &[4], &[3, 9, 9, 1]), ints("axis", &[], &[0]), floats("f", &[3], &[1.0, 2.0, 4.0])];
    let one = |op: &str, inputs: &[&str], attributes: &[Message], dtype| {
        let nodes = [node(op, inputs, &["k"], attributes), node("Add", &["k", "x"], &["y"], &[])];
        model(&nodes, &[port("x", dtype, &[])], &[port("y", dtype, &[Open])], &initialisers)
    };
    let whole = |m: Model| m.call(&[("x", Tensor::from(0i64))]).unwrap()["y"].to_vec::<i64>().unwrap();
    assert_eq!(whole(one("CumSum", &["a", "axis"], &[int("exclusive", 1)], INT64)), [0, 3, 12, 21]);
    assert_eq!(whole(one("ArgMax", &["a"], &[int("select_last_index", 1)], INT64)), [2]);
    assert_eq!(whole(one("ReduceMean", &["a"], &[], INT64)), [5]);
    let y = one("CumSum", &["f", "axis"], &[int("exclusive", 1)], FLOAT).call(&[("x", Tensor::from(0.0f32))]).unwrap();
    assert_eq!(y["y"].to_vec::<f32>().unwrap(), [0.0, 1.0, 3.0]);
}

/// How many ops the graph has.
fn ops(m: &Model, inputs: &[(&str, Tensor)]) -> usize {
    m.export(inputs).unwrap().graph.cost(&Default::default()).ops.values().sum()
}

#[test]
fn windows_do_not_make_more_ops_when_there_are_more() {
    let lrn = |size: i64| {
        model(
            &[node("LRN", &["x"], &["y"], &[int("size", size)])],
            &[port("x", FLOAT, &[Is(1), Is(4), Is(1), Is(1)])],
            &[port("y", FLOAT, &[Is(1), Is(4), Is(1), Is(1)])],
            &[],
        )
    };
    let x = Tensor::from([1.0f32, 2.0, 3.0, 4.0]).reshape([1, 4, 1, 1]);
    let given = [("x", x)];
    assert_eq!(ops(&lrn(3), &given), ops(&lrn(301), &given));
    // alpha is 1e-4, beta 0.75, bias 1.
    let y = lrn(3).call(&given).unwrap()["y"].to_vec::<f32>().unwrap();
    let by = |x: f64, squares: f64| (x / (1.0 + 1e-4 / 3.0 * squares).powf(0.75)) as f32;
    let expected = [by(1.0, 5.0), by(2.0, 14.0), by(3.0, 29.0), by(4.0, 25.0)];
    assert!(y.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{y:?} {expected:?}");

    let stft = |n: i64| {
        model(
            &[node("STFT", &["x", "step", "window"], &["y"], &[])],
            &[port("x", FLOAT, &[Is(1), Is(n)])],
            &[port("y", FLOAT, &[Open, Open, Open, Open])],
            &[ints("step", &[], &[2]), floats("window", &[4], &[1.0, 2.0, 3.0, 4.0])],
        )
    };
    let x = |n: usize| [("x", Tensor::ones([1, n], DType::F32))];
    assert_eq!(ops(&stft(8), &x(8)), ops(&stft(4000), &x(4000)));
    let y = stft(8).call(&x(8)).unwrap()["y"].clone();
    assert_eq!(y.shape().to_string(), "[1, 3, 3, 2]");
    let y = y.to_vec::<f32>().unwrap();
    // Of 1, 2, 3, 4: the sum, -2 + 2i, -2; the same for every frame.
    let expected = [10.0, 0.0, -2.0, 2.0, -2.0, 0.0].repeat(3);
    assert!(y.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{y:?}");
}

/// The first form of `Scan` has an axis of examples.
#[test]
fn examples_do_not_make_more_ops_when_there_are_more() {
    let sums = |n: i64| {
        let inner = graph(
            &[node("Add", &["sum", "element"], &["next"], &[]), node("Identity", &["next"], &["out"], &[])],
            &[port("sum", FLOAT, &[]), port("element", FLOAT, &[])],
            &[port("next", FLOAT, &[]), port("out", FLOAT, &[])],
            &[],
        );
        let attributes = [body("body", inner), int("num_scan_inputs", 1)];
        let bytes = file(graph(
            &[node("Scan", &["", "start", "x"], &["last", "all"], &attributes)],
            &[port("start", FLOAT, &[Is(n)]), port("x", FLOAT, &[Is(n), Is(3)])],
            &[port("last", FLOAT, &[Is(n)]), port("all", FLOAT, &[Is(n), Is(3)])],
            &[],
        ));
        onnx::parse(&Message(bytes).message(8, Message::default().int(2, 8)).0).unwrap()
    };
    let given = |n: usize| [("start", Tensor::zeros([n], DType::F32)), ("x", Tensor::ones([n, 3], DType::F32))];
    assert_eq!(ops(&sums(2), &given(2)), ops(&sums(50), &given(50)));
    let given = [("start", Tensor::from([10.0f32, 20.0])), ("x", Tensor::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]))];
    let y = sums(2).call(&given).unwrap();
    assert_eq!(y["last"].to_vec::<f32>().unwrap(), [16.0, 35.0]);
    assert_eq!(y["all"].to_vec::<f32>().unwrap(), [11.0, 13.0, 16.0, 24.0, 29.0, 35.0]);
}

#[test]
fn means_of_integers_are_cut_off_and_exact() {
    const INT32: i64 = 6;
    let mean = |dtype, n| {
        let axes = ints("axes", &[1], &[0]);
        let reduce = node("ReduceMean", &["x", "axes"], &["y"], &[int("keepdims", 0)]);
        model(&[reduce], &[port("x", dtype, &[Is(n)])], &[port("y", dtype, &[])], &[axes])
    };
    let of = |x: [i64; 3]| mean(INT64, 3).call(&[("x", Tensor::from(x))]).unwrap()["y"].item::<i64>().unwrap();
    assert_eq!((of([-1, -2, -2]), of([1, 2, 2])), (-1, 1));
    // More than f32 tells apart, and a sum beyond 32 bits.
    assert_eq!(of([(1 << 40) + 1; 3]), (1 << 40) + 1);
    let y = mean(INT32, 2).call(&[("x", Tensor::from([i32::MAX, i32::MAX - 2]))]).unwrap()["y"].clone();
    assert_eq!((y.dtype(), y.item::<i32>().unwrap()), (DType::I32, i32::MAX - 1));
}

#[test]
fn what_attention_masks_does_not_count_under_a_cap() {
    let masked = |mode: i64, mask: &[bool]| {
        let mask_of = mask.len() as i64;
        let attributes = [float("softcap", 2.0), float("scale", 1.0), int("qk_matmul_output_mode", mode)];
        let all = |n| [Is(1), Is(1), Is(n), Is(1)];
        let bytes = file(graph(
            &[node("Attention", &["q", "k", "v", "mask"], &["y", "", "", "s"], &attributes)],
            &[
                port("q", FLOAT, &all(1)),
                port("k", FLOAT, &all(3)),
                port("v", FLOAT, &all(3)),
                port("mask", BOOL, &[Is(1), Is(mask_of)]),
            ],
            &[port("y", FLOAT, &all(1)), port("s", FLOAT, &all(3))],
            &[],
        ));
        // Opset 23, the last import counts.
        let m = onnx::parse(&Message(bytes).message(8, Message::default().int(2, 23)).0).unwrap();
        let column = |x: [f32; 3]| Tensor::from(x).reshape([1, 1, 3, 1]);
        let mask = Tensor::from(mask).unsqueeze(0);
        let q = Tensor::from([1.0f32]).reshape([1, 1, 1, 1]);
        let given = [("q", q), ("k", column([1.0, 4.0, 9.0])), ("v", column([1.0, 2.0, 1000.0])), ("mask", mask)];
        let y = m.call(&given).unwrap();
        (y["y"].item::<f32>().unwrap(), y["s"].to_vec::<f32>().unwrap())
    };
    let with = |mode: i64, mask_of: usize| masked(mode, &[true, true, false][..mask_of]);
    let cap = |x: f64| 2.0 * (x / 2.0).tanh();
    let (a, b) = (cap(1.0).exp(), cap(4.0).exp());
    let expected = ((a + 2.0 * b) / (a + b)) as f32;
    // A mask that is shorter than the keys masks the rest.
    for mask_of in [3, 2] {
        let (y, scores) = with(1, mask_of);
        assert!((y - expected).abs() < 1e-5, "{y} {expected}");
        assert!((scores[2] as f64 - cap(9.0)).abs() < 1e-5, "capped, not masked: {scores:?}");
        assert_eq!(with(2, mask_of).1[2], f32::NEG_INFINITY);
        assert_eq!((with(0, mask_of).1[2], with(3, mask_of).1[2]), (9.0, 0.0));
    }
    // Where every key is masked, nothing is attended to; one truth value is that of all keys.
    assert_eq!(masked(3, &[false; 3]), (0.0, vec![0.0; 3]));
    assert_eq!(masked(3, &[false]), (0.0, vec![0.0; 3]));
    assert!((masked(1, &[true]).0 - masked(1, &[true; 3]).0).abs() < 1e-6);
}

#[test]
fn reductions_of_no_axes_do_to_each_element_what_they_do() {
    let all = |op: &str, x: f32| {
        let nodes = [node(op, &["x"], &["y"], &[int("noop_with_empty_axes", 1)])];
        let m = model(&nodes, &[port("x", FLOAT, &[Is(2)])], &[port("y", FLOAT, &[Open])], &[]);
        m.call(&[("x", Tensor::from([x, x]))]).unwrap()["y"].to_vec::<f32>().unwrap()
    };
    for (op, x, expected) in [
        ("ReduceSum", -2.0, -2.0),
        ("ReduceMean", -2.0, -2.0),
        ("ReduceMax", -2.0, -2.0),
        ("ReduceProd", -2.0, -2.0),
        ("ReduceSumSquare", -2.0, 4.0),
        ("ReduceL1", -2.0, 2.0),
        ("ReduceL2", -2.0, 2.0),
        ("ReduceLogSum", 2.0, 2.0f32.ln()),
        ("ReduceLogSumExp", 2.0, 2.0),
    ] {
        let y = all(op, x);
        assert!(y.len() == 2 && y.iter().all(|y| (y - expected).abs() < 1e-6), "{op}: {y:?}");
    }
}

/// Half of a spectrum back to real numbers, of even and odd length, cut and filled.
#[test]
fn half_a_spectrum_is_that_of_real_numbers() {
    let signal = |n: usize| (0..n).map(|i| (i as f32 * 1.3).sin() + 0.5 * i as f32).collect::<Vec<f32>>();
    for n in [8usize, 7, 1] {
        let forward = node("DFT", &["x", "", "axis"], &["f"], &[int("onesided", 1)]);
        let back = node("DFT", &["f", "n", "axis"], &["y"], &[int("onesided", 1), int("inverse", 1)]);
        let given = [ints("axis", &[], &[1]), ints("n", &[], &[n as i64])];
        let ports = [port("x", FLOAT, &[Is(1), Is(n as i64), Is(1)])];
        let m = model(&[forward, back], &ports, &[port("y", FLOAT, &[Open, Open, Open])], &given);
        let x = Tensor::from(signal(n).as_slice()).reshape([1, n as i64, 1]);
        let y = m.call(&[("x", x)]).unwrap().remove("y").unwrap();
        assert_eq!(y.shape().known().unwrap().as_slice(), [1, n, 1]);
        let off = y.to_vec::<f32>().unwrap().iter().zip(signal(n)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "{n}: {off}");
    }
}

/// Names of extents that are given by us are not those of the file.
#[test]
fn extents_that_have_names_of_ours() {
    let nodes = [node("Shape", &["a"], &["y"], &[]), node("Shape", &["b"], &["z"], &[])];
    for (a, b) in [([Named("d1")], [Named("batch size")]), ([Named("d0")], [Open])] {
        let ports = [port("a", FLOAT, &a), port("b", FLOAT, &b)];
        let m = model(&nodes, &ports, &[port("y", INT64, &[Open]), port("z", INT64, &[Open])], &[]);
        let all = m.call(&[("a", Tensor::ones([3], DType::F32)), ("b", Tensor::ones([4], DType::F32))]).unwrap();
        let [y, z] = ["y", "z"].map(|name| all[name].to_vec::<i64>().unwrap());
        assert_eq!((y, z), (vec![3], vec![4]));
    }
}
