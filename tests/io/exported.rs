//! Saved graphs: functions that run without the source that made them.

use crate::{assert_of_file, assert_same, folder};
use std::collections::BTreeMap;
use std::path::Path;
use tracewright::io::Exported;
use tracewright::options::{self, Options};
use tracewright::{Code, DType, Generator, Recording, Tensor, Tree, control, grad, jit, nn, optim};

#[derive(Tree)]
struct Mlp {
    hidden: nn::Linear,
    out: nn::Linear,
}

impl Mlp {
    fn new(g: &Generator) -> Mlp {
        Mlp { hidden: nn::Linear::new(6, 8, g), out: nn::Linear::new(8, 3, g) }
    }
    fn forward(&self, x: &Tensor) -> Tensor {
        self.out.forward(&self.hidden.forward(x).gelu())
    }
}

fn saved(exported: &Exported, folder: &Path) -> Exported {
    let path = folder.join("f.tw");
    exported.save(&path).unwrap();
    let loaded = Exported::load_checked(&path).unwrap();
    assert_eq!(loaded.ir(), exported.ir(), "ops and origins come back");
    assert_eq!(loaded.arguments(), exported.arguments());
    assert_eq!(loaded.outputs(), exported.outputs());
    loaded
}

fn names(list: Vec<(&str, tracewright::Type)>) -> Vec<String> {
    list.into_iter().map(|(name, ty)| format!("{name}: {ty}")).collect()
}

#[test]
fn a_forward_serves_every_batch_and_has_derivatives() {
    let folder = folder();
    let g = Generator::new(0);
    let model = Mlp::new(&g);
    let forward = jit(|m: Mlp, x: Tensor| m.forward(&x)).dynamic("arguments.1", 0, "B", 1..=64);
    let exported = forward.export(&model, g.normal([2, 6], 0.0, 1.0)).unwrap().bind("arguments.0").unwrap();
    let exported = exported.rename("arguments.0", "model").unwrap().rename("arguments.1", "image").unwrap();
    let exported = exported.rename("result", "logits").unwrap().with_metadata("made by", "a test");
    let loaded = saved(&exported, folder.path());
    assert_eq!(names(loaded.arguments()), ["image: f32[B, 6]"]);
    assert_eq!(names(loaded.outputs()), ["logits: f32[B, 3]"]);
    assert_eq!(
        loaded.state().keys().collect::<Vec<_>>(),
        ["model.hidden.bias", "model.hidden.weight", "model.out.bias", "model.out.weight"]
    );
    assert_eq!(loaded.parameter_count(), model.parameter_count());
    assert_eq!(loaded.metadata()["made by"], "a test");
    assert_of_file(&loaded.state()["model.hidden.weight"], true);
    for batch in [1, 2, 7] {
        let x = g.normal([batch, 6], 0.0, 1.0);
        let out = loaded.call_named(&BTreeMap::from([("image".into(), x.clone())])).unwrap();
        assert_same(&out["logits"], &forward.call(&model, &x).unwrap(), "logits");
    }
    // By the tape, by grad, and in another compiled function.
    let x = g.normal([4, 6], 0.0, 1.0);
    let wanted = grad(|x: &Tensor| model.forward(x).square().sum(..))(&x);
    let tracked = x.requires_grad();
    loaded.call(&[&tracked]).unwrap()[0].square().sum(..).backward().unwrap();
    let close = |a: &Tensor, b: &Tensor| assert!((a - b).abs().max(..).item::<f32>().unwrap() < 1e-5, "{a} {b}");
    close(&tracked.grad().unwrap(), &wanted);
    let call = |x: &Tensor| loaded.call(&[x]).unwrap()[0].square().sum(..);
    close(&grad(call)(&x), &wanted);
    let loaded = std::sync::Arc::new(loaded);
    let inner = loaded.clone();
    let compiled = jit(move |x: Tensor| grad(|x: &Tensor| inner.call(&[x]).unwrap()[0].square().sum(..))(&x));
    close(&compiled.call(&x).unwrap(), &wanted);
    // And as a graph of its own.
    let pulled = saved(&loaded.vjp(&["logits"], &["image", "model"]).unwrap(), folder.path());
    assert_eq!(names(pulled.arguments()), ["image: f32[B, 6]", "cot_logits: f32[B, 3]"]);
    let y = model.forward(&x);
    let out = pulled.call(&[x.clone(), &y * 2.0]).unwrap();
    assert_eq!(names(pulled.outputs())[..2], ["logits: f32[B, 3]", "grad_image: f32[B, 6]"]);
    assert_same(&out[0], &y, "logits");
    close(&out[1], &wanted);
    let bias = grad(|m: &Mlp| m.forward(&x).square().sum(..))(&model).out.bias.unwrap();
    close(&out[pulled.outputs().iter().position(|o| o.0 == "grad_model.out.bias").unwrap()], &bias);
}

#[test]
fn a_name_that_files_have_for_something_else() {
    let folder = folder();
    let f = jit(|w: Tensor, x: Tensor| w * x).export(Tensor::from([2.0f32]), Tensor::from([1.0f32])).unwrap();
    let named = f.bind("arguments.0").unwrap().rename("arguments.0", "__metadata__").unwrap();
    let e = named.save(folder.path().join("m.tw")).unwrap_err().to_string();
    assert!(e.contains("m.tw") && e.contains("no tensor can be called `__metadata__`"), "{e}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_training_step_with_optimiser_cell_and_random_numbers() {
    let folder = folder();
    let g = Generator::new(3);
    let count = nn::Buffer::new(Tensor::from(0i64));
    let counter = count.clone();
    let make = || {
        let model = Mlp::new(&Generator::new(1));
        let optimizer = optim::AdamW::new(&model, 1e-2);
        (model, optimizer, Generator::new(7))
    };
    let step = jit(move |(model, optimizer, noise): (Mlp, optim::AdamW, Generator), (x, y): (Tensor, Tensor)| {
        counter.set(counter.get() + 1i64).unwrap();
        let x = &x + noise.normal([4, 6], 0.0, 0.1);
        let loss = |m: &Mlp| nn::cross_entropy(&m.forward(&x), &y);
        let (loss, gradients) = grad::value_and_grad(loss)(&model);
        let (model, optimizer) = optimizer.update(model, gradients);
        ((model, optimizer, noise), (loss, counter.get()))
    });
    let batch = (g.normal([4, 6], 0.0, 1.0), Tensor::from([0i64, 1, 2, 0]));
    let mut state = make();
    let exported = step.export_mut(&state, &batch).unwrap();
    assert_eq!(count.get().item::<i64>().unwrap(), 0, "exporting runs nothing");
    let mut loaded = saved(&exported, folder.path());
    assert_eq!(names(loaded.arguments()), ["arguments.1.0: f32[4, 6]", "arguments.1.1: i64[4]"]);
    assert_eq!(names(loaded.outputs()), ["result.0: f32[]", "result.1: i64[]"]);
    let arguments = [batch.0.clone(), batch.1.clone()];
    let before = loaded.call(&arguments).unwrap();
    let mut losses = Vec::new();
    for i in 0..5 {
        let out = loaded.call_mut(&arguments).unwrap();
        let (loss, calls) = step.call_mut(&mut state, &batch).unwrap();
        assert_same(&out[0], &loss, "loss");
        assert_same(&out[1], &calls, "count");
        if i == 0 {
            assert_same(&out[0], &before[0], "a call without update");
        }
        losses.push(loss.item::<f32>().unwrap());
    }
    assert!(losses[4] < losses[0]);
    assert_same(&loaded.state()["state.0.hidden.weight"], &state.0.hidden.weight, "weight");
    assert!(
        loaded.state().contains_key("state.2") && loaded.state().contains_key("cells.0"),
        "{:?}",
        loaded.state().keys()
    );
    // Saved in the middle, it goes on where it was; another state may be put in.
    let mut resumed = saved(&loaded, folder.path());
    let (loss, _) = step.call_mut(&mut state, &batch).unwrap();
    assert_same(&resumed.call_mut(&arguments).unwrap()[0], &loss, "loss after a break");
    let first = exported.state();
    resumed.set_state(&first).unwrap();
    assert_same(&resumed.call_mut(&arguments).unwrap()[0], &before[0], "from the beginning");
    let e =
        resumed.set_state(&BTreeMap::from([("x".into(), batch.0.clone()), ("cells.0".into(), batch.0)])).unwrap_err();
    assert_eq!(
        e.to_string(),
        "error[argument]: set_state: 2 values do not fit the state\n  legal: names and types as in state()\n  note: type: \
         cells.0 is f32[4, 6], wanted i64[]\n  note: unexpected: x"
    );
}

#[test]
fn a_failed_call_leaves_the_state() {
    let table = Tensor::from([1.0f32, 2.0]);
    let step = jit(|s: Tensor, i: Tensor| {
        let out = s.index_select(0, &i);
        (&s + 1.0, out)
    });
    let mut exported = step.export_mut(&table, Tensor::from([0i64])).unwrap();
    assert_eq!(exported.call_mut(&[Tensor::from([5i64])]).unwrap_err().code(), Code::Index);
    assert_eq!(exported.call_mut(&[Tensor::from([1i64])]).unwrap()[0].to_vec::<f32>().unwrap(), [2.0]);
    assert_eq!(exported.state()["state"].to_vec::<f32>().unwrap(), [2.0, 3.0]);
    assert_eq!(table.to_vec::<f32>().unwrap(), [1.0, 2.0]);
}

#[test]
fn captured_tied_frozen_and_large_constants() {
    let folder = folder();
    let captured = Tensor::from([10.0f32, 20.0]);
    let large: Vec<f32> = (0..2000).map(|i| i as f32).collect();
    let f = jit(move |pair: (Tensor, Tensor), x: Tensor| {
        let table = Tensor::from(large.as_slice());
        (&pair.0 * &x + &pair.1 + &captured, table.sum(..) + x.sum(..), x)
    });
    let tied = Tensor::from([1.0f32, 2.0]);
    let exported = f.export((tied.clone(), tied.clone()), Tensor::from([5.0f32, 7.0])).unwrap();
    assert_eq!(names(exported.arguments()), ["arguments.0.0: f32[2]", "arguments.1: f32[2]"]);
    assert_eq!(exported.constants().keys().collect::<Vec<_>>(), ["captured.0", "constant.0"]);
    let bound = saved(&exported.bind("arguments.0.0").unwrap(), folder.path());
    assert_eq!(bound.state().len(), 1);
    let before = bound.graph().inputs().len();
    let frozen = bound.freeze("arguments.0").unwrap().freeze("captured").unwrap();
    assert_eq!(frozen.graph().inputs().len(), before - 2, "small ones are part of the graph");
    assert!(frozen.state().is_empty());
    let frozen = saved(&frozen, folder.path());
    let x = Tensor::from([1.0f32, 1.0]);
    let out = frozen.call(&[&x]).unwrap();
    assert_eq!(out[0].to_vec::<f32>().unwrap(), [12.0, 24.0]);
    assert_eq!(out[1].item::<f32>().unwrap(), 1999.0 * 1000.0 + 2.0);
    assert_same(&out[2], &x, "an input that is a result");
}

#[test]
fn control_flow_and_graphs_from_text() {
    let folder = folder();
    let f = jit(|x: Tensor| control::fori(0..3, |i, x: &Tensor| x * 2.0 + i.to_dtype(DType::F32), &x));
    let x = Tensor::from([1.0f32, -1.0]);
    let loaded = saved(&f.export(&x).unwrap(), folder.path());
    assert_same(&loaded.call(&[&x]).unwrap()[0], &f.call(&x).unwrap(), "loop");
    let text = "graph @twice(%0: f32[B]) -> (f32[B], f32[B]) where B in 1..=9 {
        %1: f32[B] = add %0, %0
        return %1, %0
    }";
    let twice = Exported::of_recording(Recording::parse("twice.ir", text).unwrap());
    let out = saved(&twice, folder.path()).call(&[&x]).unwrap();
    assert_eq!(out[0].to_vec::<f32>().unwrap(), [2.0, -2.0]);
    let inside = jit(move |x: Tensor| twice.call(&[x]).unwrap()[0].sum(..));
    assert_eq!(inside.call(&x).unwrap().item::<f32>().unwrap(), 0.0);
}

#[test]
fn messages_of_calls() {
    let f = jit(|x: Tensor, y: Tensor| (&x + &y, x.sum(..))).dynamic("arguments.0", 0, "B", 1..=8);
    let f = f.dynamic("arguments.1", 0, "B", 1..=8);
    let (x, y) = (Tensor::zeros([2, 3], DType::F32), Tensor::ones([2, 3], DType::F32));
    let f = f.export(&x, &y).unwrap().rename("arguments.0", "x").unwrap().rename("arguments.1", "y").unwrap();
    let text = |e: tracewright::Error| {
        let text = e.to_string();
        text.lines().filter(|l| !l.starts_with("  at ")).collect::<Vec<_>>().join("\n")
    };
    let named = |list: &[(&str, &Tensor)]| list.iter().map(|(n, t)| (n.to_string(), (*t).clone())).collect();
    assert_eq!(
        text(f.call_named(&named(&[("x", &x), ("z", &y)])).unwrap_err()),
        "error[argument]: call: of the arguments 1 are missing and 1 unexpected\n  legal: arguments x, y\n  note: missing: \
         y: f32[B, 3]\n  note: unexpected: z: f32[2, 3]; did you mean `y`?"
    );
    assert_eq!(
        text(f.call(&[&x]).unwrap_err()),
        "error[argument]: call: it takes 2 arguments, 1 are given\n  legal: arguments x, y"
    );
    assert_eq!(
        text(f.call(&[x.to_dtype(DType::F64), Tensor::from(1.0f32)]).unwrap_err()),
        "error[argument]: call: 2 inputs have other types\n  legal: one extent for each symbol, all else as wanted\n  note: \
         x is f64[2, 3], wanted f32[B, 3]\n  note: y is f32[], wanted f32[B, 3]"
    );
    assert_eq!(
        text(f.call(&[x.clone(), Tensor::zeros([4, 3], DType::F32)]).unwrap_err()),
        "error[argument]: call: y is f32[4, 3], wanted f32[B, 3]\n  legal: one extent for each symbol, all else as wanted"
    );
    let nine = Tensor::zeros([9, 3], DType::F32);
    assert!(f.call(&[nine.clone(), nine]).unwrap_err().to_string().contains("9"));
    assert_eq!(
        text(f.rename("x", "y").err().unwrap()),
        "error[argument]: rename: two are called `y`\n  legal: names that differ"
    );
    let f = jit(|x: Tensor| x).export(&x).unwrap();
    assert_eq!(
        text(f.bind("arguments.3").err().unwrap()),
        "error[argument]: bind: no input is `arguments.3` or below it\n  legal: one of arguments.0"
    );
    let grows = jit(|s: Vec<Tensor>, x: Tensor| (s.iter().cloned().chain([x.clone()]).collect::<Vec<_>>(), x));
    let e = grows.export_mut(vec![x.clone()], &y).err().unwrap();
    assert_eq!(e.rule(), "the new state has other leaves");
}

#[test]
fn options_count_after_the_first_call() {
    let f = jit(|x: Tensor| x.log());
    let x = Tensor::from([-1.0f32]);
    let exported = f.export(&x).unwrap();
    assert!(exported.call(&[&x]).unwrap()[0].item::<f32>().unwrap().is_nan());
    let options = Options { nan: true, ..(*options::current().unwrap()).clone() };
    let e = options::with_options(options, || exported.call(&[&x]).unwrap_err()).to_string();
    assert!(e.contains("log"), "{e}");
    assert!(exported.call(&[&x]).is_ok());
}

/// What was called last, with its arguments, a state too, as inputs.
#[test]
fn a_function_is_saved_as_it_was_called() {
    let folder = folder();
    let path = folder.path().join("step.tw");
    let captured = Tensor::from([10.0f32, 20.0]);
    let step = jit(move |w: Tensor, x: Tensor| {
        let loss = (&w * &x + &captured).sum(..);
        (&w - &x * 0.5, loss)
    });
    let e = step.save(&path).unwrap_err();
    assert!(e.to_string().contains("save: the function has not been called") && !path.exists(), "{e}");
    let mut w = Tensor::from([1.0f32, 2.0]);
    step.call_mut(&mut w, Tensor::from([2.0f32, 2.0])).unwrap();
    step.save(&path).unwrap();
    let loaded = Exported::load(&path).unwrap();
    let names: Vec<&str> = loaded.arguments().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["arguments.0", "arguments.1"]);
    let found = loaded.call(&[Tensor::from([3.0f32, 4.0]), Tensor::from([1.0f32, 2.0])]).unwrap();
    assert_eq!(found[0].to_vec::<f32>().unwrap(), [2.5, 3.0]);
    assert_eq!(found[1].item::<f32>().unwrap(), 41.0);
}

/// What is traced for its type is not computed: it may be larger than all memory.
#[test]
fn examples_that_are_views_have_no_memory() {
    let f = jit(|x: Tensor, y: Tensor| (&x + 1.0).sum(..) * y.sum(..));
    let huge = Tensor::zeros([1, 1], DType::F32).broadcast_to([1usize << 45, 2]);
    let exported = f.export(&huge, Tensor::zeros([1], DType::F32).broadcast_to([2])).unwrap();
    assert_eq!(exported.arguments()[0].1.to_string(), "f32[35184372088832, 2]");
    assert!(
        f.lower(&huge, &huge).unwrap().ir().contains("graph @f(%0: f32[35184372088832, 2]) "),
        "one tensor is one input"
    );
    assert_eq!(f.lower(&huge, huge.t()).unwrap().graph().inputs().len(), 2);
    // As state its values are asked for.
    let small = Tensor::ones([1], DType::F32).broadcast_to([3]);
    let bound = f.export(&small, small.reshape([3, 1])).unwrap().bind("arguments.0").unwrap();
    assert_eq!(bound.state()["arguments.0"].to_vec::<f32>().unwrap(), [1.0; 3]);
}
