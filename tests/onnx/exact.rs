//! What ops do where it is easily done otherwise: signs, ends, zeros, integers beyond 2^53, extents of 1.

use crate::file::*;
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

#[test]
fn functions_that_double_without_end_are_refused() {
    let mut functions = Vec::new();
    for i in 0..24 {
        let next = format!("f{}", i + 1);
        let call = |from: &str, to: &str| node(&next, &[from], &[to], &[]).text(7, "own");
        let nodes = if i == 23 { vec![node("Neg", &["x"], &["y"], &[])] } else { vec![call("x", "m"), call("m", "y")] };
        let import = |domain: &str, version: i64| Message::default().text(1, domain).int(2, version);
        functions.push(
            Message::default()
                .text(1, &format!("f{i}"))
                .text(4, "x")
                .text(5, "y")
                .all(7, nodes)
                .message(9, import("", 21))
                .message(9, import("own", 1))
                .text(10, "own"),
        );
    }
    let g = graph(
        &[node("f0", &["x"], &["y"], &[]).text(7, "own")],
        &[port("x", FLOAT, &[Is(1)])],
        &[port("y", FLOAT, &[Open])],
        &[],
    );
    let own = Message::default().text(1, "own").int(2, 1);
    let bytes = Message(file(g)).message(8, own).all(25, functions).0;
    let e = onnx::parse(&bytes).err().expect("it is refused").to_string();
    assert!(e.contains("the model has more than 262144 nodes"), "{e}");
}
