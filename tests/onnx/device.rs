//! Models on a GPU: the emulator's, where there is a compiler for it.

use crate::file::*;
use tracewright::io::onnx;
use tracewright::options::{self, Options};
use tracewright::{DType, Device, Tensor};

/// The device of the emulator, or `None`, with a line that says so.
fn device() -> Option<Device> {
    // Its machine code is not that of a GPU, and it keeps that itself.
    let mut options = Options::default();
    options.set("CACHE", "off").expect("a setting");
    options::set_default(options);
    emulator::ready().then(|| Device::cuda(0).expect("the emulator has a device"))
}

#[test]
fn weights_go_to_a_device_and_calls_run_there() {
    let Some(there) = device() else { return };
    // Weights beyond and below what becomes a constant, integers that are followed, and a cut.
    let wide: Vec<f32> = (0..600).map(|i| i as f32 / 100.0).collect();
    let places: Vec<i64> = (0..300).map(|i| 299 - i).collect();
    let g = graph(
        &[
            node("MatMul", &["x", "w"], &["a"], &[]),
            node("Add", &["a", "one"], &["b"], &[]),
            node("Gather", &["b", "places"], &["c"], &[int("axis", 1)]),
            node("Shape", &["c"], &["s"], &[]),
            node("Reshape", &["c", "s"], &["d"], &[]),
            node("Reshape", &["d", "flat"], &["e"], &[]),
            node("NonZero", &["e"], &["at"], &[]),
            node("Squeeze", &["at", "zero"], &["f"], &[]),
            node("Gather", &["e", "f"], &["y"], &[]),
        ],
        &[port("x", FLOAT, &[Named("n"), Is(2)])],
        &[port("y", FLOAT, &[Open]), port("d", FLOAT, &[Open, Open])],
        &[
            floats("w", &[2, 300], &wide),
            floats("one", &[1], &[-1.0]),
            ints("places", &[300], &places),
            ints("flat", &[1], &[-1]),
            ints("zero", &[1], &[0]),
        ],
    );
    let load = || onnx::parse(&file(g.clone())).unwrap();
    let x = Tensor::ones([2, 2], DType::F32);
    let expected = load().call(&[("x", x.clone())]).unwrap();
    let moved = load().to_device(there).unwrap();
    assert_eq!(moved.parameters()["w"].device(), there);
    let x_there = x.to_device(there);
    let made_there = there.scope(load);
    assert_eq!(made_there.parameters()["w"].device(), there);
    for model in [&moved, &made_there] {
        let y = model.call(&[("x", x_there.clone())]).unwrap();
        for name in ["y", "d"] {
            assert_eq!(y[name].device(), there, "{name}");
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
            let (a, b): (Vec<f32>, Vec<f32>) = (y[name].to_vec().unwrap(), expected[name].to_vec().unwrap());
            assert!(a.len() == b.len() && a.iter().zip(&b).all(close), "{name}");
        }
    }
    // Graphs of it have all of their state there, small weights too.
    for segment in moved.segments(&[("x", x_there.clone())]).unwrap() {
        assert!(segment.graph.state().values().all(|t| t.device() == there));
        segment.graph.call_named(&segment.arguments).unwrap();
    }
    // What is given stays where it is, as everywhere.
    let e = moved.call(&[("x", x.clone())]).unwrap_err().to_string();
    assert!(
        e.contains("the input `x` is on cpu, and the weights of the model are on cuda:0") && e.contains("to_device"),
        "{e}"
    );
    let e = load().call(&[("x", x_there)]).unwrap_err().to_string();
    assert!(e.contains("the input `x` is on cuda:0, and the weights of the model are on cpu"), "{e}");
    let back = moved.to_device(Device::Cpu).unwrap();
    assert_eq!(back.call(&[("x", x)]).unwrap()["y"].to_vec::<f32>().unwrap(), expected["y"].to_vec::<f32>().unwrap());
}
