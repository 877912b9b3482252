//! Compiled functions, gradients, their nesting, layers and optimisers.

use std::collections::BTreeMap;
use tracewright::events::{Counters, Event};
use tracewright::{DType, Generator, Tensor, Tree, concat, grad, jit, nn, optim, value_and_grad};

fn f32s(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}
fn scalar(x: f32) -> Tensor {
    Tensor::from(x)
}

#[derive(nn::Module)]
struct Mlp {
    hidden: nn::Linear,
    out: nn::Linear,
}

impl Mlp {
    fn new(g: &Generator) -> Mlp {
        Mlp { hidden: nn::Linear::new(4, 8, g), out: nn::Linear::new(8, 3, g) }
    }
    fn forward(&self, x: &Tensor) -> Tensor {
        self.out.forward(&self.hidden.forward(x).gelu())
    }
}

#[test]
fn a_function_gives_the_same_eager_and_compiled() {
    let f = |x: Tensor, y: Tensor| (x.softmax(-1) * y.sum(0) + 1.0).log();
    let x = Generator::new(0).normal([3, 4], 0.0, 1.0);
    let y = Generator::new(1).uniform([2, 4], 0.0, 1.0);
    let compiled = jit(f).call(&x, &y).unwrap();
    for (a, b) in f32s(&compiled).iter().zip(f32s(&f(x.clone(), y.clone()))) {
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn a_training_step_is_one_function() {
    let g = Generator::new(5);
    let model = Mlp::new(&g);
    let opt = optim::AdamW::new(&model, 0.02);
    let mut state = (model, opt);
    let step = jit(|(model, opt): (Mlp, optim::AdamW), (x, y): (Tensor, Tensor)| {
        let (loss, grads) = value_and_grad(|m: &Mlp| nn::cross_entropy(&m.forward(&x), &y))(&model);
        let (grads, norm) = optim::clip_grad_norm(grads, 1.0);
        let (model, opt) = opt.update(model, grads);
        ((model, opt), (loss, norm))
    });
    let x = g.normal([16, 4], 0.0, 1.0);
    let y = x.slice(1, 0..3).argmax(1);
    let first = step.call_mut(&mut state, (x.clone(), y.clone())).unwrap().0.item::<f32>().unwrap();
    let mut last = first;
    for _ in 0..60 {
        last = step.call_mut(&mut state, (x.clone(), y.clone())).unwrap().0.item::<f32>().unwrap();
    }
    assert!(last < 0.5 * first, "{first} -> {last}");
    assert_eq!(step.stats().traces, 1);
    assert_eq!(state.1.step.item::<i64>().unwrap(), 61);
}

#[test]
fn optimisers_follow_their_formulas() {
    let p = Tensor::from([1.0f64, -2.0]);
    let g = Tensor::from([0.5f64, 0.25]);
    let sgd = optim::Sgd::new(0.1).momentum(&p, 0.9, false);
    let (p1, sgd) = sgd.update(p.clone(), g.clone());
    let (p2, _) = sgd.update(p1, g.clone());
    let expect: Vec<f64> = [(1.0, 0.5), (-2.0, 0.25)].iter().map(|(p, g)| p - 0.1 * g - 0.1 * (0.9 * g + g)).collect();
    for (a, b) in p2.to_vec::<f64>().unwrap().iter().zip(expect) {
        assert!((a - b).abs() < 1e-12);
    }
    let adam = optim::AdamW::new(&p, 0.01);
    let (p1, _) = adam.update(p.clone(), g.clone());
    for (a, (p, g)) in p1.to_vec::<f64>().unwrap().iter().zip([(1.0, 0.5), (-2.0, 0.25)]) {
        let (m, v): (f64, f64) = (0.1 * g, 0.001 * g * g);
        let expect = p * (1.0 - 0.01 * 0.01) - 0.01 / (1.0 - 0.9) * m / (v.sqrt() / (0.001f64).sqrt() + 1e-8);
        assert!((a - expect).abs() < 1e-9, "{a} {expect}");
    }
    let ones = (Tensor::ones([9], DType::F32), Tensor::ones([16], DType::F32));
    let (clipped, norm) = optim::clip_grad_norm(ones, 1.0);
    assert!((norm.item::<f32>().unwrap() - 5.0).abs() < 1e-6);
    assert!((clipped.0.square().sum(..).item::<f32>().unwrap() - 0.36).abs() < 1e-5);
}

#[test]
fn gradients_of_known_functions() {
    let at = |f: fn(&Tensor) -> Tensor, x: f32| grad(f)(&scalar(x)).item::<f32>().unwrap();
    assert_eq!(at(|x| x * x * x, 2.0), 12.0);
    assert!((at(|x| x.exp(), 1.0) - std::f32::consts::E).abs() < 1e-6);
    assert_eq!(at(|x| x.relu(), 0.0), 0.0);
    let (value, gradient) = value_and_grad(|x: &Tensor| (x * x).sum(..))(&Tensor::from([1.0f32, 3.0]));
    assert_eq!(value.item::<f32>().unwrap(), 10.0);
    assert_eq!(f32s(&gradient), [2.0, 6.0]);
}

#[test]
fn gradients_over_trees() {
    let tree: BTreeMap<String, Vec<Tensor>> =
        [("a".to_string(), vec![scalar(2.0), scalar(3.0)]), ("b".to_string(), vec![])].into();
    let g = grad(|t: &BTreeMap<String, Vec<Tensor>>| &t["a"][0] * &t["a"][1] * 5.0)(&tree);
    assert_eq!(g["a"][0].item::<f32>().unwrap(), 15.0);
    assert_eq!(g["a"][1].item::<f32>().unwrap(), 10.0);
    assert!(g["b"].is_empty());
}

#[test]
fn gradients_of_integer_leaves_are_zeros() {
    let g = grad(|(x, n): &(Tensor, Tensor)| x * n.to_dtype(DType::F32))(&(scalar(2.0), Tensor::from(3i64)));
    assert_eq!(g.0.item::<f32>().unwrap(), 3.0);
    assert_eq!(g.1.item::<i64>().unwrap(), 0);
}

#[test]
fn second_derivatives() {
    let f = |x: &Tensor| x.sin();
    let second = grad(move |x: &Tensor| grad(f)(x))(&scalar(0.5)).item::<f32>().unwrap();
    assert!((second + 0.5f32.sin()).abs() < 1e-6);
}

/// d/dx of (x * d/dy (x * y * y)) is d/dx of 2 x² y = 4 x y.
#[test]
fn gradient_of_a_gradient_over_a_captured_outer_variable() {
    let y = scalar(3.0);
    let outer = grad(|x: &Tensor| {
        let inner = grad(|y: &Tensor| x * y * y)(&y);
        x * inner
    });
    assert_eq!(outer(&scalar(2.0)).item::<f32>().unwrap(), 24.0);
}

#[test]
fn jit_in_grad_in_jit() {
    let square = jit(|x: Tensor| &x * &x);
    let f = jit(move |x: Tensor| grad(|x: &Tensor| square.call(x).unwrap() * x)(&x));
    assert_eq!(f.call(scalar(2.0)).unwrap().item::<f32>().unwrap(), 12.0);
    assert_eq!(f.call(scalar(3.0)).unwrap().item::<f32>().unwrap(), 27.0);
    assert_eq!(f.stats().traces, 1);
}

#[test]
fn tied_leaves_are_one_input_with_summed_gradients_and_stay_tied() {
    #[derive(Tree)]
    struct Tied {
        encode: Tensor,
        decode: Tensor,
    }
    let w = Tensor::from([1.0f32, 2.0]);
    let tied = Tied { encode: w.clone(), decode: w };
    let loss = |m: &Tied| (&m.encode * &m.encode + &m.decode * 3.0).sum(..);
    let g = grad(loss)(&tied);
    assert_eq!(f32s(&g.encode), [5.0, 7.0]);
    assert_eq!(f32s(&g.decode), [5.0, 7.0]);
    let step = jit(move |m: Tied, opt: optim::Sgd| {
        let g = grad(loss)(&m);
        opt.update(m, g)
    });
    assert_eq!(step.lower(&tied, optim::Sgd::new(0.1)).unwrap().graph().inputs().len(), 3);
    let (new, opt) = step.call(&tied, optim::Sgd::new(0.1)).unwrap();
    assert_eq!(f32s(&new.encode), f32s(&new.decode));
    // Still one tensor: the same entry serves it.
    step.call(new, opt).unwrap();
    assert_eq!(step.stats().traces, 1);
    let apart = Tied { encode: Tensor::from([1.0f32, 2.0]), decode: Tensor::from([1.0f32, 2.0]) };
    assert_eq!(f32s(&step.call(apart, optim::Sgd::new(0.1)).unwrap().0.decode), [0.7, 1.7]);
    assert_eq!(step.stats().traces, 2);
}

/// The first leaf over the memory may be a view of another shape.
#[test]
fn tied_leaves_behind_a_view_of_another_shape() {
    type Three = (Tensor, Tensor, Tensor);
    let w = Tensor::ones([4], DType::F32);
    let m = w.reshape([2, 2]);
    assert_eq!(w.data_ptr(), m.data_ptr());
    let step = jit(|m: Three| grad(|(_, b, c): &Three| (b * c).sum(..))(&m));
    let (_, b, c) = step.call((w, m.clone(), m)).unwrap();
    assert_eq!((f32s(&b), f32s(&c)), (vec![2.0; 4], vec![2.0; 4]));
    assert_eq!(b.data_ptr(), c.data_ptr());
}

/// They are updated each by its own gradient, eager as compiled.
#[test]
fn optimisers_take_views_of_one_memory_for_two_parameters() {
    let w = Tensor::ones([4], DType::F32);
    let model = (w.clone(), w.reshape([2, 2]));
    let gradient = Tensor::ones([4], DType::F32);
    let gradients = (&gradient * 0.5, gradient.reshape([2, 2]));
    let sgd = optim::Sgd::new(0.1).momentum(&model, 0.9, false);
    let (eager, _) = sgd.clone().update(model.clone(), gradients.clone());
    assert_eq!((f32s(&eager.0), f32s(&eager.1)), (vec![0.95; 4], vec![0.9; 4]));
    assert_eq!(eager.1.shape(), [2, 2].into());
    let step = jit(|m: (Tensor, Tensor), o: optim::Sgd, g: (Tensor, Tensor)| o.update(m, g));
    let (compiled, _) = step.call(&model, &sgd, &gradients).unwrap();
    assert_eq!((f32s(&compiled.0), f32s(&compiled.1)), (f32s(&eager.0), f32s(&eager.1)));
    let (adam, _) = optim::AdamW::new(&model, 0.1).update(model.clone(), gradients);
    assert_eq!((adam.0.shape(), adam.1.shape()), ([4].into(), [2, 2].into()));
    let (_, norm) = optim::clip_grad_norm((gradient.clone(), gradient.reshape([2, 2])), 1.0);
    assert_eq!(norm.item::<f32>().unwrap(), 8f32.sqrt());
    let (_, norm) = optim::clip_grad_norm((gradient.clone(), gradient), 1.0);
    assert_eq!(norm.item::<f32>().unwrap(), 2.0);
}

#[test]
fn parameters_that_do_not_reach_the_loss_are_reported() {
    let model = (scalar(1.0), Mlp::new(&Generator::new(0)));
    let loss = |m: &(Tensor, Mlp)| &m.0 * 2.0;
    let report = grad::report(loss, &model).unwrap();
    let unreached: Vec<&str> = report.unreached.iter().map(|u| u.path.as_str()).collect();
    assert_eq!(unreached, ["1.hidden.weight", "1.hidden.bias", "1.out.weight", "1.out.bias"]);
    let (g, counts) = Counters::of(|| grad(loss)(&model));
    assert_eq!(f32s(g.1.out.bias.as_ref().unwrap()), [0.0; 3]);
    assert_eq!(counts[Event::Unreached], 4);
    let cut = grad::report(|x: &Tensor| x.floor().sum(..) + x.sum(..), &scalar(1.5)).unwrap();
    assert!(cut.unreached.is_empty());
}

#[test]
fn layers_compute_what_they_say() {
    let g = Generator::new(2);
    let l = nn::Linear::new(3, 2, &g);
    let x = g.normal([5, 3], 0.0, 1.0);
    let by_hand = x.matmul(&l.weight.t()) + l.bias.as_ref().unwrap();
    assert!((l.forward(&x) - by_hand).abs().max(..).item::<f32>().unwrap() < 1e-6);
    let n = nn::LayerNorm::new(3).forward(&(&x * 10.0 + 3.0));
    assert!(f32s(&n.mean(-1)).iter().all(|m| m.abs() < 1e-5));
    assert!(f32s(&n.var(-1, 0)).iter().all(|v| (v - 1.0).abs() < 1e-4));
    let e = nn::Embedding::new(10, 4, &g);
    assert_eq!(e.forward(&Tensor::from([[1i64, 2, 3]])).shape(), [1, 3, 4].into());
    let logits = g.normal([6, 4], 0.0, 1.0);
    let targets = Tensor::from([0i64, 1, 2, 3, 0, 1]);
    let a = nn::cross_entropy(&logits, &targets).item::<f32>().unwrap();
    let b = nn::nll_loss(&logits.log_softmax(-1), &targets).item::<f32>().unwrap();
    let c = -(logits.log_softmax(-1) * targets.one_hot(4, DType::F32)).sum(-1).mean(..).item::<f32>().unwrap();
    assert!((a - b).abs() < 1e-6 && (a - c).abs() < 1e-6);
    assert_eq!(nn::mse_loss(&scalar(1.0), &scalar(3.0)).item::<f32>().unwrap(), 4.0);
}

#[test]
fn trees_of_all_kinds_go_in_and_out() {
    #[derive(Tree, Clone, Debug, PartialEq)]
    enum Kind {
        Plain,
        Scaled(f32),
    }
    #[derive(Tree)]
    struct Unit;
    #[derive(Tree)]
    struct Generic<T> {
        inner: T,
        kind: Kind,
        #[tree(fixed)]
        tag: std::num::NonZeroU8,
    }
    type In = (Generic<Vec<Tensor>>, Option<Tensor>, [Tensor; 2], Unit, String, bool);
    let f = jit(|(g, o, [a, b], _unit, name, flag): In| {
        let factor = match &g.kind {
            Kind::Plain => 1.0,
            Kind::Scaled(s) => *s,
        };
        let sum = concat(&g.inner, 0).sum(0) * factor + &a - &b;
        let sum = if flag { sum } else { -sum };
        let o = o.map(|o| o + 1.0);
        (Generic { inner: sum, kind: g.kind, tag: g.tag }, o, name)
    });
    let input = |kind: Kind, o: Option<Tensor>, flag: bool| -> In {
        let inner = vec![Tensor::ones([2], DType::F32), Tensor::ones([3], DType::F32)];
        let tag = std::num::NonZeroU8::new(7).unwrap();
        (Generic { inner, kind, tag }, o, [scalar(10.0), scalar(4.0)], Unit, "n".into(), flag)
    };
    let (g, o, name) = f.call(input(Kind::Scaled(2.0), None, true)).unwrap();
    assert_eq!((g.inner.item::<f32>().unwrap(), g.kind, g.tag.get()), (16.0, Kind::Scaled(2.0), 7));
    assert!(o.is_none() && name == "n");
    let (g, o, _) = f.call(input(Kind::Plain, Some(scalar(1.0)), false)).unwrap();
    assert_eq!((g.inner.item::<f32>().unwrap(), o.unwrap().item::<f32>().unwrap()), (-11.0, 2.0));
    assert_eq!(f.stats().traces, 2);
}

/// What ARCHITECTURE says of eager gradients: numbers of the host are part of the key, captured tensors are not.
#[test]
fn an_eager_loss_compiles_for_each_host_number_and_once_for_captured_tensors() {
    let x = Tensor::from([1.0f32, 2.0]);
    let compiled = |f: &dyn Fn(f32) -> Tensor| {
        f(0.5);
        Counters::of(|| (1..4).for_each(|i| assert_eq!(f(i as f32).to_vec::<f32>().unwrap(), [i as f32; 2]))).1
    };
    let numbers = compiled(&|w| grad(|x: &Tensor| (x * w).sum(..))(&x));
    let tensors = compiled(&|w| {
        let w = Tensor::from(w);
        grad(|x: &Tensor| (x * &w).sum(..))(&x)
    });
    assert_eq!((numbers[Event::CacheMiss] > 0, tensors[Event::CacheMiss]), (true, 0), "{numbers}; {tensors}");
}
