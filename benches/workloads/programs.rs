//! The compiled functions that are timed: how their inputs are made, how they are called, and how they are looked at.

use std::cell::RefCell;
use std::rc::Rc;
use tracewright::jit::Lowered;
use tracewright::{DType, Generator, Result, Shape, Tensor, Tree, concat, grad, jit, nn, optim, stack};
use tracewright::{hvp, jacrev, scan, value_and_grad, vmap};

/// Names of workloads.
pub const NAMES: &[&str] = &[
    "tiny_call_overhead",
    "deep_chain_1000",
    "deep_chain_10000",
    "digits_step",
    "mlp_train_step",
    "gelu_chain_64K",
    "softmax_4096x1024",
    "layernorm_8192x768",
    "stencil_1024",
    "stack_8x1M",
    "concat_64",
    "concat_1000",
    "concat_3000",
    "mlp_gradient",
    "mlp_hvp",
    "per_example_gradients",
    "jacobian_64",
    "rnn_scan_200",
];

/// Names of workloads that are too long for the table of a processor: 2^26 elements, for the bandwidth of a GPU's memory.
#[allow(dead_code, reason = "tests take some of the names")]
pub const LARGE: &[&str] = &["add_64M", "gelu_chain_64M", "softmax_64Kx1024", "layernorm_64Kx1024", "sum_64M"];

/// Where inputs come from.
pub struct Inputs {
    /// Standard normal numbers; without it inputs are zeros.
    pub generator: Option<Generator>,
    /// How many sets of inputs of so many bytes the calls take in turn.
    pub sets: fn(usize) -> usize,
}

impl Inputs {
    fn normal(&self, shape: impl Into<Shape>, deviation: f64) -> Tensor {
        match &self.generator {
            Some(g) => g.normal(shape, 0.0, deviation),
            None => Tensor::zeros(shape, DType::F32),
        }
    }

    /// Random inputs with random classes out of ten.
    pub fn batch(&self, rows: usize, columns: usize) -> (Tensor, Tensor) {
        let y = match &self.generator {
            Some(g) => g.integers([rows], 0, 10),
            None => Tensor::zeros([rows], DType::I64),
        };
        (self.normal([rows, columns], 1.0), y)
    }

    pub fn mlp(&self, sizes: &[usize]) -> Mlp {
        let g = self.generator.clone().unwrap_or_else(|| Generator::new(0));
        Mlp { layers: sizes.windows(2).map(|w| nn::Linear::new(w[0], w[1], &g)).collect() }
    }

    /// As many sets of inputs as calls of so many bytes of inputs should take in turn.
    fn sets<A>(&self, bytes: usize, make: impl Fn() -> A) -> Vec<A> {
        (0..(self.sets)(bytes).max(1)).map(|_| make()).collect()
    }
}

/// A function with its inputs.
pub struct Work {
    /// One call.
    pub call: Box<dyn FnMut() -> Result<()>>,
    /// What the calls run.
    pub lower: Box<dyn Fn() -> Result<Lowered>>,
    /// Calls that one timing averages over.
    pub calls: usize,
}

/// A function without state, called with its sets of inputs in turn.
macro_rules! work {
    ($calls:expr, $sets:expr, $f:expr, |$($argument:ident),+|) => {{
        let f = Rc::new($f);
        let sets = Rc::new($sets);
        let (lowered, of) = (f.clone(), sets.clone());
        let mut turn = 0;
        Work {
            call: Box::new(move || {
                let ($($argument,)+) = &sets[turn];
                turn = (turn + 1) % sets.len();
                f.call($($argument),+).map(drop)
            }),
            lower: Box::new(move || {
                let ($($argument,)+) = &of[0];
                lowered.lower($($argument),+)
            }),
            calls: $calls,
        }
    }};
}

/// A step that changes a state.
macro_rules! step {
    ($state:expr, $batch:expr, $f:expr) => {{
        let f = Rc::new($f);
        let (state, batch) = (Rc::new(RefCell::new($state)), Rc::new($batch));
        let (lowered, of, with) = (f.clone(), state.clone(), batch.clone());
        Work {
            call: Box::new(move || f.call_mut(&mut *state.borrow_mut(), &*batch).map(drop)),
            lower: Box::new(move || lowered.lower_mut(&*of.borrow(), &*with)),
            calls: 1,
        }
    }};
}

#[derive(Tree, Clone)]
pub struct Mlp {
    layers: Vec<nn::Linear>,
}

impl Mlp {
    pub fn forward(&self, x: &Tensor, activation: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(x.clone(), |x, (i, layer)| {
            let x = layer.forward(&x);
            if i < last { activation(&x) } else { x }
        })
    }
}

/// Of a recurrent layer: for its input, for its state, and a bias.
type Weights = (Tensor, Tensor, Tensor);

fn tanh_loss(m: &Mlp, x: &Tensor, y: &Tensor) -> Tensor {
    nn::cross_entropy(&m.forward(x, Tensor::tanh), y)
}

/// The workload of that name, if there is one.
pub fn make(name: &str, inputs: &Inputs) -> Option<Work> {
    let vector = |calls, n: usize, f: fn(Tensor) -> Tensor| work!(calls, inputs.sets(4 * n, || (inputs.normal([n], 1.0),)), jit(f), |x|);
    let rows = |n: usize, m: usize, f: fn(Tensor) -> Tensor| work!(1, inputs.sets(4 * n * m, || (inputs.normal([n, m], 1.0),)), jit(f), |x|);
    let layer_norm = |n: usize, m: usize| {
        let sets = inputs.sets(4 * n * m, || (nn::LayerNorm::new(m), inputs.normal([n, m], 1.0)));
        work!(1, sets, jit(|layer: nn::LayerNorm, x: Tensor| layer.forward(&x)), |layer, x|)
    };
    let gelu_chain: fn(Tensor) -> Tensor = |x| (x * 1.3 + 0.2).gelu_tanh() * 0.7;
    Some(match name {
        "tiny_call_overhead" => vector(10_000, 4, |x| x * 2.0 + 1.0),
        "deep_chain_100" => deep_chain(100, inputs),
        "deep_chain_1000" => deep_chain(1000, inputs),
        "deep_chain_10000" => deep_chain(10_000, inputs),
        "digits_step" => digits(inputs),
        "mlp_train_step" => mlp(inputs),
        "concat_64" => concatenation(64, inputs),
        "concat_1000" => concatenation(1000, inputs),
        "concat_3000" => concatenation(3000, inputs),
        "gelu_chain_64K" => vector(20, 1 << 16, gelu_chain),
        "gelu_chain_64M" => vector(1, 1 << 26, gelu_chain),
        "add_64M" => vector(1, 1 << 26, |x| x + 1.0),
        "sum_64M" => vector(1, 1 << 26, |x| x.sum(..)),
        "softmax_4096x1024" => rows(4096, 1024, |x| x.softmax(-1)),
        "softmax_64Kx1024" => rows(1 << 16, 1024, |x| x.softmax(-1)),
        "layernorm_8192x768" => layer_norm(8192, 768),
        "layernorm_64Kx1024" => layer_norm(1 << 16, 1024),
        "stencil_1024" => rows(1024, 1024, |x| {
            let padded = x.pad(&[(1, 1), (1, 1)], 0.0);
            let shifted = |i: usize| padded.narrow(0, i / 3, 1024).narrow(1, i % 3, 1024) * (1.0 + i as f64);
            (1..9).fold(shifted(0), |sum, i| sum + shifted(i))
        }),
        "stack_8x1M" => {
            let columns = || ((0..8).map(|_| inputs.normal([1 << 20], 1.0)).collect::<Vec<Tensor>>(),);
            work!(1, inputs.sets(32 << 20, columns), jit(|xs: Vec<Tensor>| stack(&xs, -1)), |xs|)
        }
        _ => return derivative(name, inputs),
    })
}

fn deep_chain(length: usize, inputs: &Inputs) -> Work {
    let f = jit(move |x: Tensor| (0..length).fold(x, |x, i| if i % 2 == 0 { x * 0.999 } else { x + 0.001 }));
    work!(20, vec![(inputs.normal([1024], 1.0),)], f, |x|)
}

/// Pieces of different lengths, so that no two of them share code.
fn concatenation(count: usize, inputs: &Inputs) -> Work {
    let xs: Vec<Tensor> = (0..count).map(|i| inputs.normal([1 + i % 61], 1.0)).collect();
    work!(20, vec![(xs,)], jit(|xs: Vec<Tensor>| concat(&xs, 0).tanh()), |xs|)
}

/// The step of `examples/digits.rs`.
fn digits(inputs: &Inputs) -> Work {
    let model = inputs.mlp(&[64, 64, 10]);
    let optimizer = optim::AdamW::new(&model, 3e-3);
    let step = jit(|(model, optimizer): (Mlp, optim::AdamW), (x, y): (Tensor, Tensor)| {
        let loss = |m: &Mlp| nn::cross_entropy(&m.forward(&x, Tensor::gelu), &y);
        let (loss, gradients) = grad::value_and_grad(loss)(&model);
        let (gradients, _norm) = optim::clip_grad_norm(gradients, 1.0);
        (optimizer.update(model, gradients), loss)
    });
    step!((model, optimizer), inputs.batch(64, 64), step)
}

fn mlp(inputs: &Inputs) -> Work {
    let model = inputs.mlp(&[784, 512, 512, 10]);
    let optimizer = optim::Adam::new(&model, 1e-3);
    let step = jit(|(model, optimizer): (Mlp, optim::Adam), (x, y): (Tensor, Tensor)| {
        let loss = |m: &Mlp| nn::cross_entropy(&m.forward(&x, Tensor::relu), &y);
        let (loss, gradients) = grad::value_and_grad(loss)(&model);
        (optimizer.update(model, gradients), loss)
    });
    step!((model, optimizer), inputs.batch(128, 784), step)
}

/// Transforms of functions, compiled.
fn derivative(name: &str, inputs: &Inputs) -> Option<Work> {
    Some(match name {
        "mlp_gradient" => {
            let (model, (x, y)) = (inputs.mlp(&[784, 512, 512, 10]), inputs.batch(128, 784));
            let f = jit(|m: Mlp, x: Tensor, y: Tensor| grad(|m: &Mlp| tanh_loss(m, &x, &y))(&m));
            work!(1, vec![(model, x, y)], f, |model, x, y|)
        }
        "mlp_hvp" => {
            let (model, (x, y)) = (inputs.mlp(&[64, 128, 128, 10]), inputs.batch(64, 64));
            let v = inputs.mlp(&[64, 128, 128, 10]);
            let f = jit(|m: Mlp, v: Mlp, x: Tensor, y: Tensor| hvp(|m: &Mlp| tanh_loss(m, &x, &y), &m, &v));
            work!(20, vec![(model, v, x, y)], f, |model, v, x, y|)
        }
        "per_example_gradients" => {
            let (model, (x, y)) = (inputs.mlp(&[64, 64, 10]), inputs.batch(64, 64));
            let f = jit(|m: Mlp, x: Tensor, y: Tensor| {
                let one =
                    |(x, y): &(Tensor, Tensor)| grad(|m: &Mlp| tanh_loss(m, &x.unsqueeze(0), &y.unsqueeze(0)))(&m);
                vmap(one)(&(x, y))
            });
            work!(20, vec![(model, x, y)], f, |model, x, y|)
        }
        "jacobian_64" => {
            let (a, b) = (inputs.normal([128, 64], 0.1), inputs.normal([64, 128], 0.1));
            let f =
                jit(|a: Tensor, b: Tensor, x: Tensor| jacrev(|x: &Tensor| b.matmul(&a.matmul(x).tanh()).tanh())(&x));
            work!(100, vec![(a, b, inputs.normal([64], 1.0))], f, |a, b, x|)
        }
        "rnn_scan_200" => {
            let (xs, h) = (inputs.normal([200, 16, 64], 1.0), inputs.normal([16, 128], 0.1));
            let weights = (inputs.normal([64, 128], 0.1), inputs.normal([128, 128], 0.08), inputs.normal([128], 0.1));
            let f = jit(|p: Weights, h: Tensor, xs: Tensor| {
                let loss = |(wx, wh, b): &Weights| {
                    let step = |h: &Tensor, x: &Tensor| {
                        let h = (x.matmul(wx) + h.matmul(wh) + b).tanh();
                        (h.clone(), h)
                    };
                    let (_, all) = scan(step, &h, &xs);
                    (&all * &all).mean(..)
                };
                value_and_grad(loss)(&p)
            });
            work!(1, vec![(weights, h, xs)], f, |weights, h, xs|)
        }
        _ => return None,
    })
}
