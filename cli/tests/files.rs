//! The program on files: what goes in and out by name, and what is said of files that are wrong.

mod program;

use std::collections::BTreeMap;
use std::path::PathBuf;
use tracewright::io::{Exported, npz, safetensors};
use tracewright::{DType, Generator, Tensor, grad, jit, nn};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program there; its code, and what it prints to stdout and stderr, without the folder's name.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let ended = program::run(self.0.path(), arguments, &[], "");
        (ended.code, ended.out, ended.err)
    }

    #[track_caller]
    fn does(&self, arguments: &str) -> String {
        let (code, out, err) = self.run(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!((code, err.as_str()), (0, ""), "{arguments}");
        out
    }

    #[track_caller]
    fn fails(&self, arguments: &str) -> String {
        let (code, out, err) = self.run(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!((code, out.as_str()), (1, ""), "{arguments}: {err}");
        err
    }
}

/// `model.tw` takes `x` of bf16 and a batch of any size, and `n`; it has weights.
fn model(folder: &Folder) -> (nn::Linear, Exported) {
    let layer = nn::Linear::new(3, 2, &Generator::new(0));
    let f = jit(|l: nn::Linear, x: Tensor, n: Tensor| {
        let y = l.forward(&x.to_dtype(DType::F32)).tanh();
        (y.to_dtype(DType::BF16), y.sum(..) * n.to_dtype(DType::F32), &n + 1i64)
    });
    let f = f.dynamic("arguments.1", 0, "B", 1..=8);
    let exported = f.export(&layer, Tensor::zeros([2, 3], DType::BF16), Tensor::from(3i64)).unwrap();
    let names = [
        ("arguments.0", "layer"),
        ("arguments.1", "x"),
        ("arguments.2", "n"),
        ("result.0", "y"),
        ("result.1", "sum"),
        ("result.2", "next"),
    ];
    let exported =
        names.iter().fold(exported.bind("arguments.0").unwrap(), |e, (old, new)| e.rename(old, new).unwrap());
    exported.save(folder.at("model.tw")).unwrap();
    (layer, exported)
}

fn inputs(batch: usize) -> BTreeMap<String, Tensor> {
    let x = Generator::new(1).normal([batch, 3], 0.0, 1.0).to_dtype(DType::BF16);
    BTreeMap::from([("x".to_string(), x), ("n".to_string(), Tensor::from(4i64))])
}

fn floats(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).to_vec().unwrap()
}

#[test]
fn tensors_go_in_and_out_by_name() {
    let folder = Folder::new();
    let (_, exported) = model(&folder);
    npz::save(folder.at("in.npz"), &inputs(5)).unwrap();
    safetensors::save(folder.at("in.safetensors"), &inputs(5)).unwrap();
    let wanted = exported.call_named(&inputs(5)).unwrap();
    for (from, to) in [("in.npz", "out.safetensors"), ("in.safetensors", "out.npz")] {
        for mode in ["compiled", "interpreted"] {
            let line = format!("run model.tw --inputs {from} --outputs {to} --mode {mode} --threads 1 --device cpu");
            assert_eq!(folder.does(&line), "");
            let path = folder.at(to);
            let got = if to.ends_with("npz") { npz::load(path) } else { safetensors::load(path) }.unwrap();
            assert_eq!(got.keys().collect::<Vec<_>>(), ["next", "sum", "y"]);
            for (name, t) in &got {
                assert_eq!(t.try_type().unwrap(), wanted[name].try_type().unwrap());
                let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-2;
                assert!(floats(t).iter().zip(&floats(&wanted[name])).all(close), "{name}: {t}");
            }
            assert_eq!(got["y"].dtype(), DType::BF16);
        }
    }
    assert_eq!(folder.does("run model.tw --dim B=1 --seed 3").lines().count(), 3);
    let about: serde_json::Value = serde_json::from_str(&folder.does("run model.tw --json")).unwrap();
    assert_eq!((&about["outputs"][0]["name"], &about["outputs"][0]["type"]), (&"y".into(), &"bf16[2, 2]".into()));
}

#[test]
fn gradients_by_every_float_input() {
    let folder = Folder::new();
    let (layer, _) = model(&folder);
    let mut given = inputs(4);
    given.insert("cot_sum".into(), Tensor::from(2.0f32));
    safetensors::save(folder.at("in.safetensors"), &given).unwrap();
    folder.does("grad model.tw --inputs in.safetensors --outputs out.npz");
    assert_eq!(npz::load(folder.at("out.npz")).unwrap().keys().collect::<Vec<_>>(), ["grad_x"]);
    assert_eq!(folder.does("grad model.tw --inputs in.safetensors --outputs out.npz --parameters"), "");
    let got = npz::load(folder.at("out.npz")).unwrap();
    assert_eq!(got.keys().collect::<Vec<_>>(), ["grad_layer.bias", "grad_layer.weight", "grad_x"]);
    let x = given["x"].to_dtype(DType::F32);
    let by_weight = grad(|l: &nn::Linear| l.forward(&x).tanh().sum(..) * 8.0)(&layer);
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4;
    assert!(floats(&got["grad_layer.weight"]).iter().zip(&floats(&by_weight.weight)).all(close));
    assert_eq!(got["grad_x"].dtype(), DType::BF16);

    safetensors::save(folder.at("in.safetensors"), &inputs(4)).unwrap();
    assert_eq!(
        folder.fails("grad model.tw --inputs in.safetensors --outputs out.npz"),
        "error: in.safetensors: no cotangent; one of cot_y, cot_sum, cot_next\n"
    );
    given.insert("cot_next".into(), Tensor::from(1i64));
    safetensors::save(folder.at("in.safetensors"), &given).unwrap();
    assert_eq!(
        folder.fails("grad model.tw --inputs in.safetensors --outputs out.npz"),
        "error[gradient]: vjp: output `next` is i64[]\n  legal: an output of floats: y, sum\n"
    );
}

#[test]
fn a_training_step_goes_on_from_file_to_file() {
    let folder = Folder::new();
    let step = jit(|w: Tensor, x: Tensor| {
        let (loss, g) = grad::value_and_grad(|w: &Tensor| (w * &x).square().sum(..))(&w);
        (w - g * 0.1, loss)
    });
    let (w, x) = (Tensor::from([1.0f32, 2.0]), Tensor::from([1.0f32, 1.0]));
    let exported = step.export_mut(&w, &x).unwrap().rename("arguments.1", "x").unwrap();
    exported.rename("result", "loss").unwrap().save(folder.at("0.tw")).unwrap();
    npz::save(folder.at("x.npz"), &BTreeMap::from([("x".to_string(), x)])).unwrap();
    let losses: Vec<String> = (0..3)
        .map(|i| folder.does(&format!("run {i}.tw --inputs x.npz --save {}.tw", i + 1)).trim().to_string())
        .collect();
    assert_eq!(losses[0], "5.0");
    let values: Vec<f64> = losses.iter().map(|l| l.parse().unwrap()).collect();
    assert!(values[1] < values[0] && values[2] < values[1], "{losses:?}");
    assert_eq!(folder.does("run 0.tw --inputs x.npz").trim(), "5.0", "the first file is as it was");
}

#[test]
fn converting_and_freezing() {
    let folder = Folder::new();
    model(&folder);
    let text = "graph @g(%0: f32[B]) -> (f32[B]) where B in 1..=9 {\n  %1: f32[B] = exp %0\n  return %1\n}\n";
    std::fs::write(folder.at("g.ir"), text).unwrap();
    folder.does("convert g.ir g.tw");
    folder.does("convert g.tw again.ir");
    assert_eq!(std::fs::read_to_string(folder.at("again.ir")).unwrap(), text);
    assert_eq!(folder.does("run g.tw --dim B=3"), folder.does("run g.ir --dim B=3"));
    folder.does("convert model.tw weights.safetensors");
    folder.does("convert weights.safetensors weights.npz");
    assert_eq!(npz::load(folder.at("weights.npz")).unwrap().len(), 2);
    folder.does("convert model.tw frozen.tw --freeze");
    assert_eq!(folder.does("run frozen.tw"), folder.does("run model.tw"));
    assert!(Exported::load(folder.at("frozen.tw")).unwrap().state().is_empty());
    folder.does("convert frozen.tw frozen.ir");
    assert_eq!(
        folder.fails("convert model.tw model.ir"),
        "error: model.tw: text holds no tensors, and the model has layer.bias, layer.weight; convert to .tw\n"
    );
}

#[test]
fn looking_measuring_and_comparing() {
    let folder = Folder::new();
    model(&folder);
    let text = folder.does("inspect model.tw");
    for part in [
        "inputs\n  x: bf16[B, 3]\n  n: i64[]\n",
        "outputs\n  y: bf16[B, 2]\n  sum: f32[]\n  next: i64[]\n",
        "state\n  layer.bias: f32[2]\n  layer.weight: f32[2, 3]\n",
        "symbol B in 1..=8\n",
        "parameters: 8, 32 bytes\n",
        " for B = 2\n",
        "\nkernels: ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = folder.does("compare model.tw --dim B=3");
    assert!(
        text.contains("y: bf16[3, 2], largest difference ") && text.ends_with("are as interpreted, up to rounding\n")
    );
    let all: serde_json::Value = serde_json::from_str(&folder.does("compare model.tw --json")).unwrap();
    assert_eq!((&all["same"], all["outputs"].as_array().unwrap().len()), (&true.into(), 3));
    assert!(all["ops"][0]["at"].as_str().unwrap().contains(file!().rsplit('/').next().unwrap()));
    let times: serde_json::Value = serde_json::from_str(&folder.does("bench model.tw --calls 3 --json")).unwrap();
    assert!(times["median"].as_f64().unwrap() > 0.0);
    assert_eq!(folder.does("bench model.tw --calls 2").lines().count(), 3);
}

#[test]
fn inputs_that_do_not_fit() {
    let folder = Folder::new();
    model(&folder);
    let run = |inputs: BTreeMap<String, Tensor>| {
        npz::save(folder.at("in.npz"), &inputs).unwrap();
        folder.fails("run model.tw --inputs in.npz")
    };
    let with = |name: &str, t: Tensor| {
        let mut all = inputs(2);
        all.insert(name.into(), t);
        all
    };
    let mut misnamed = inputs(2);
    let x = misnamed.remove("x").unwrap();
    misnamed.insert("X".into(), x);
    assert_eq!(
        run(misnamed),
        "error[argument]: call: of the arguments 1 are missing and 1 unexpected\n  legal: arguments x, n\n  note: missing: x: \
         bf16[B, 3]\n  note: unexpected: X: bf16[2, 3]; did you mean `x`?\n"
    );
    assert_eq!(
        run(with("more", Tensor::from(1.0f32))),
        "error[argument]: call: of the arguments 0 are missing and 1 unexpected\n  legal: arguments x, n\n  note: unexpected: \
         more: f32[]\n"
    );
    let other = "  legal: one extent for each symbol, all else as wanted\n";
    assert_eq!(
        run(with("x", Tensor::zeros([2, 3], DType::F64))),
        format!("error[argument]: call: x is f64[2, 3], wanted bf16[B, 3]\n{other}")
    );
    assert_eq!(
        run(with("x", Tensor::zeros([3], DType::BF16))),
        format!("error[argument]: call: x is bf16[3], wanted bf16[B, 3]\n{other}")
    );
    assert_eq!(
        run(with("x", Tensor::zeros([2, 4], DType::BF16))),
        format!("error[argument]: call: x is bf16[2, 4], wanted bf16[B, 3]\n{other}")
    );
    assert_eq!(
        run(with("x", Tensor::zeros([9, 3], DType::BF16))),
        "error[argument]: call: B is 9, outside its bounds 1..=8\n"
    );
}

#[test]
fn files_that_are_wrong() {
    let folder = Folder::new();
    model(&folder);
    npz::save(folder.at("in.npz"), &inputs(2)).unwrap();
    let cut = |from: &str, to: &str, length: usize| {
        let bytes = std::fs::read(folder.at(from)).unwrap();
        std::fs::write(folder.at(to), &bytes[..bytes.len().min(length)]).unwrap();
        bytes.len()
    };
    let none = "No such file or directory (os error 2)";
    assert_eq!(folder.fails("run none.tw"), format!("error[file]: load: none.tw: {none}\n"));
    assert_eq!(folder.fails("run none.ir"), format!("error: none.ir: {none}\n"));
    assert_eq!(folder.fails("run model.tw --inputs none.npz"), format!("error[file]: npz::load: none.npz: {none}\n"));
    let length = cut("model.tw", "cut.tw", 300);
    let saved = "  legal: a file that Exported::save wrote\n";
    for command in ["run", "inspect", "ir", "bench", "compare"] {
        assert_eq!(
            folder.fails(&format!("{command} cut.tw")),
            format!("error[file]: load: cut.tw: it is cut short: 300 of {length} bytes\n{saved}")
        );
    }
    cut("in.npz", "cut.npz", 100);
    let text = folder.fails("run model.tw --inputs cut.npz");
    assert!(text.starts_with("error[file]: npz::load: cut.npz: it is no .npz: "), "{text}");
    std::fs::write(folder.at("x.bin"), [8, 255, 254]).unwrap();
    assert_eq!(folder.fails("ir x.bin"), "error: x.bin: neither a saved graph nor text\n");
    std::fs::write(folder.at("x.onnx"), [8, 255, 254]).unwrap();
    assert!(folder.fails("ir x.onnx").contains("in `x.onnx`"));
    assert!(folder.fails("run model.tw --outputs no/out.npz").starts_with("error[file]: npz::save: no/out.npz: "));
    assert!(
        folder
            .fails("ir model.tw --after nothing")
            .starts_with("error: model.tw: no pass `nothing` changed the graph; ")
    );
}

/// Models of ONNX that `data/make.py` wrote.
#[test]
fn models_of_onnx() {
    let folder = Folder::new();
    let data = |name: &str| format!("{}/tests/data/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    let layer = data("layer");
    let x = Tensor::from([[1.0f32, 2.0, -1.0], [0.5, 0.0, 0.25]]);
    let named = |list: &[(&str, Tensor)]| -> BTreeMap<String, Tensor> {
        list.iter().map(|(name, t)| (name.to_string(), t.clone())).collect()
    };
    npz::save(folder.at("in.npz"), &named(&[("x", x.clone())])).unwrap();
    folder.does(&format!("run {layer} --inputs in.npz --outputs out.npz"));
    let weight = Tensor::from([[-0.5f32, -0.25], [0.0, 0.25], [0.5, 0.75]]);
    let y = (x.matmul(&weight) + Tensor::from([0.25f32, -0.25])).tanh();
    let close = |a: &Tensor, b: &Tensor| floats(a).iter().zip(&floats(b)).all(|(a, b)| (a - b).abs() < 1e-6);
    let out = npz::load(folder.at("out.npz")).unwrap();
    assert!(close(&out["y.out"], &y) && close(&out["sum"], &y.sum(..)));

    npz::save(folder.at("cot.npz"), &named(&[("x", x.clone()), ("cot_sum", Tensor::from(1.0f32))])).unwrap();
    folder.does(&format!("grad {layer} --inputs cot.npz --outputs gradients.npz --parameters"));
    let gradients = npz::load(folder.at("gradients.npz")).unwrap();
    assert_eq!(gradients.keys().collect::<Vec<_>>(), ["grad_bias", "grad_weight", "grad_x"]);
    let slope = -y.square() + 1.0;
    assert!(close(&gradients["grad_bias"], &slope.sum(0)) && close(&gradients["grad_x"], &slope.matmul(&weight.t())));

    folder.does(&format!("convert {layer} layer.tw"));
    let saved = Exported::load(folder.at("layer.tw")).unwrap();
    assert_eq!(saved.arguments()[0].1.to_string(), "f32[batch, 3]");
    assert_eq!((saved.state().len(), saved.metadata()["made by"].as_str()), (2, "a test"));
    folder.does("run layer.tw --inputs in.npz --outputs again.npz");
    assert!(close(&npz::load(folder.at("again.npz")).unwrap()["y.out"], &y));
    let text = folder.does(&format!("inspect {layer}"));
    for part in
        ["  x: f32[batch, 3]\n", "nodes of opset 17: 3: 1 Gemm, 1 ReduceSum, 1 Tanh\n", "parameters: 8, 32 bytes\n"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(folder.does(&format!("ir {layer}")).contains("tanh"));
    assert!(folder.does(&format!("compare {layer} --inputs in.npz")).ends_with("as interpreted, up to rounding\n"));
    folder.does(&format!("bench {layer} --calls 2"));

    // Graphs with code between them run, and are no one graph.
    let places = data("places");
    npz::save(folder.at("in.npz"), &named(&[("x", Tensor::from([0.0f32, 1.0, 0.0, 2.0]))])).unwrap();
    assert_eq!(folder.does(&format!("run {places} --inputs in.npz")), "[[1 3]]\n");
    let text = folder.does(&format!("inspect {places}"));
    assert!(text.starts_with("inputs\n  x: f32[4]\noutputs\n  places: ") && text.contains(": 1 NonZero\n"), "{text}");
    let text = folder.fails(&format!("convert {places} places.tw"));
    assert!(text.contains("NonZero"), "{text}");
    let text = folder.fails(&format!("run {layer} --inputs in.npz"));
    assert!(text.contains("the input `x` is f32[4]"), "{text}");
}
