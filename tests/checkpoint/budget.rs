//! A transformer under a budget of memory.

use crate::{close, target};
use checkpoint::Policy;
use tracewright::events::{self, Event};
use tracewright::{DType, Device, Generator, Tensor, Tree, checkpoint, grad, jit, nn, scan, value_and_grad, vmap};

const LAYERS: usize = 12;
const WIDTH: usize = 32;
const HEADS: usize = 4;
const WORDS: usize = 50;

#[derive(Tree, Clone)]
struct Block {
    norms: [nn::LayerNorm; 2],
    project: nn::Linear,
    merge: nn::Linear,
    widen: nn::Linear,
    narrow: nn::Linear,
}

#[derive(Tree, Clone)]
struct Transformer {
    embedding: nn::Embedding,
    blocks: Vec<Block>,
    norm: nn::LayerNorm,
    head: nn::Linear,
}

impl Block {
    fn new(g: &Generator) -> Block {
        Block {
            norms: [nn::LayerNorm::new(WIDTH), nn::LayerNorm::new(WIDTH)],
            project: nn::Linear::new(WIDTH, 3 * WIDTH, g),
            merge: nn::Linear::new(WIDTH, WIDTH, g),
            widen: nn::Linear::new(WIDTH, 4 * WIDTH, g),
            narrow: nn::Linear::new(4 * WIDTH, WIDTH, g),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let [batch, length] = [x.shape()[0].clone(), x.shape()[1].clone()];
        let heads = self.project.forward(&self.norms[0].forward(x));
        let heads = heads.reshape([batch.clone(), length.clone(), 3.into(), HEADS.into(), (WIDTH / HEADS).into()]);
        let heads = heads.permute(&[2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| heads.select(0, i));
        let scores = q.matmul(&k.transpose(-1, -2)) / ((WIDTH / HEADS) as f64).sqrt();
        let later = Tensor::ones([length.clone(), length.clone()], DType::Bool).triu(1);
        let weights = scores.masked_fill(&later, f64::NEG_INFINITY).softmax(-1);
        let mixed = weights.matmul(&v).permute(&[0, 2, 1, 3]).reshape([batch, length, WIDTH.into()]);
        let x = x + self.merge.forward(&mixed);
        &x + self.narrow.forward(&self.widen.forward(&self.norms[1].forward(&x)).gelu())
    }
}

impl Transformer {
    fn new(g: &Generator) -> Transformer {
        Transformer {
            embedding: nn::Embedding::new(WORDS, WIDTH, g),
            blocks: (0..LAYERS).map(|_| Block::new(g)).collect(),
            norm: nn::LayerNorm::new(WIDTH),
            head: nn::Linear::new(WIDTH, WORDS, g),
        }
    }

    fn loss(&self, tokens: &Tensor, policy: Option<&Policy>) -> Tensor {
        let x = self.blocks.iter().fold(self.embedding.forward(tokens), |x, block| match policy {
            None => block.forward(&x),
            Some(policy) => {
                let layer = |(block, x): &(Block, Tensor)| block.forward(x);
                checkpoint::with(policy.clone(), layer)(&(block.clone(), x))
            }
        });
        let logits = self.head.forward(&self.norm.forward(&x));
        nn::cross_entropy(&logits.reshape([-1, WORDS as i64]), &tokens.reshape([-1]))
    }
}

/// What the step keeps.
#[derive(Clone)]
enum Mode {
    Plain,
    Each(Policy),
    Within(u64),
}

type Step = jit::Jit<((Transformer, Tensor),), (Tensor, Transformer)>;

fn step(mode: Mode) -> Step {
    jit(move |(model, tokens): (Transformer, Tensor)| match mode.clone() {
        Mode::Plain => value_and_grad(|m: &Transformer| m.loss(&tokens, None))(&model),
        Mode::Each(policy) => value_and_grad(|m: &Transformer| m.loss(&tokens, Some(&policy)))(&model),
        Mode::Within(bytes) => {
            value_and_grad(checkpoint::within(bytes, |m: &Transformer| m.loss(&tokens, None)))(&model)
        }
    })
}

fn arguments() -> (Transformer, Tensor) {
    (Transformer::new(&Generator::new(1)), Generator::new(2).integers([4, 64], 0, WORDS as i64))
}

/// Where the plain step keeps less, as its products add their bias themselves; what else is kept takes as much as elsewhere.
fn on_a_gpu() -> bool {
    target::options().device != Device::Cpu
}

/// The smallest budget, in percent of what the plain step takes.
fn smallest() -> u64 {
    if on_a_gpu() { 30 } else { 25 }
}

/// The planned peak of temporaries.
fn peak(mode: Mode) -> u64 {
    let lowered = step(mode).lower(arguments()).unwrap();
    lowered.executable().program().unwrap().footprint().arena.known().unwrap()
}

#[test]
fn a_checkpoint_for_each_layer_takes_a_fraction_of_the_memory() {
    // The interpreter plans no memory.
    if !target::compiles() {
        return;
    }
    let [plain, everything, products, nothing] =
        [Mode::Plain, Mode::Each(Policy::Everything), Mode::Each(Policy::Products), Mode::Each(Policy::Nothing)]
            .map(peak);
    println!("planned: {plain}; everything {everything}, products {products}, nothing {nothing}");
    let [of_products, of_nothing] = if on_a_gpu() { [69, 28] } else { [60, 24] };
    assert!(everything <= plain && products * 100 < plain * of_products && nothing * 100 < plain * of_nothing);
}

#[test]
fn what_is_kept_fits_the_budget() {
    // The interpreter plans no memory.
    if !target::compiles() {
        return;
    }
    let plain = peak(Mode::Plain);
    let mut kept = vec![(0, 0)];
    for percent in [101, 90, 60, 40, smallest()] {
        let budget = plain * percent / 100;
        let (planned, events) = events::capture(|| peak(Mode::Within(budget)));
        let event = events.iter().find(|e| e.event == Event::Checkpoint).expect("it is an event");
        println!("{percent} %: {}", event.reason);
        assert!(planned <= budget, "{planned} of {budget}: {}", event.reason);
        // What fits is not thrown away.
        assert!(planned * 100 >= budget * 93, "{planned} of {budget}: {}", event.reason);
        let mut words = event.reason.split_whitespace().filter_map(|word| word.parse::<usize>().ok());
        let [_, nothing, products] = [(); 3].map(|()| words.next().unwrap());
        kept.push((nothing, products));
    }
    // Products are the last to go.
    assert_eq!(kept[1], (0, 0));
    assert!(kept[2].0 == 0 && kept[2].1 > 0 && kept.windows(2).all(|w| w[0].0 <= w[1].0), "{kept:?}");
}

#[test]
fn gradients_are_those_of_the_plain_function() {
    // The interpreter plans no memory.
    if !target::compiles() {
        return;
    }
    let plain = peak(Mode::Plain);
    let (value, slopes) = step(Mode::Plain).call(arguments()).unwrap();
    for percent in [70, smallest()] {
        let (again, others) = step(Mode::Within(plain * percent / 100)).call(arguments()).unwrap();
        let pairs = slopes.leaves().into_iter().zip(others.leaves());
        for ((path, a), (_, b)) in pairs.chain([((String::new(), value.clone()), (String::new(), again))]) {
            let size = a.abs().max(..).item::<f32>().unwrap();
            let off = (&a - &b).abs().max(..).item::<f32>().unwrap();
            assert!(off <= 1e-5 * size.max(1e-3), "{path}: {off} of {size}");
        }
    }
}

/// A chain of which every link is kept.
fn deep(x: &Tensor) -> Tensor {
    let w = Tensor::eye(32, DType::F64) * 1.25;
    (0..16).fold(x.clone(), |x, _| x.matmul(&w).sin())
}

/// A budget that it does not fit with everything kept.
const TIGHT: u64 = 12_000;

#[test]
fn it_stands_where_other_functions_do() {
    let x = Tensor::from((0..64).map(|i| f64::from(i) / 50.0).collect::<Vec<_>>()).reshape([2, 32]);
    let tight = || checkpoint::within(TIGHT, |x: &Tensor| deep(x).sum(..));
    let row = x.select(0, 1);
    let want = grad(|x: &Tensor| deep(x).sum(..))(&row);
    let (got, events) = events::capture(|| grad(tight())(&row));
    close(&want, &got);
    assert!(events.iter().any(|e| e.event == Event::Checkpoint && !e.reason.contains(" 0 keep nothing")), "{events:?}");
    // Under vmap, in the body of a loop, differentiated twice, on the tape, and with nothing to differentiate.
    close(&vmap(grad(|x: &Tensor| deep(x).sum(..)))(&x), &vmap(grad(tight()))(&x));
    let twice = |f: &dyn Fn(&Tensor) -> Tensor| grad(|x: &Tensor| (grad(f)(x) * x).sum(..))(&row);
    close(&twice(&|x| deep(x).sum(..)), &twice(&tight()));
    let over = |f: &dyn Fn(&Tensor) -> Tensor| {
        grad(|x: &Tensor| scan(|h: &Tensor, x: &Tensor| (f(x) * h, ()), &Tensor::from(1.0f64), x).0)(&(&x / 10.0))
    };
    close(&over(&|x| deep(x).sum(..)), &over(&tight()));
    let leaf = row.requires_grad();
    tight()(&leaf).backward().unwrap();
    close(&want, &leaf.grad().unwrap());
    close(&deep(&row).sum(..), &tight()(&row));
    assert_eq!(checkpoint::within(0, |n: &Tensor| n + 1)(&Tensor::from(3i64)).item::<i64>().unwrap(), 4);
}

#[test]
fn what_it_captures_and_writes_stays_so() {
    let (g, count) = (Generator::new(9), nn::Buffer::new(Tensor::from(0.0f64)));
    let (drawn, counted, scale) = (g.clone(), count.clone(), Tensor::from(2.0f64));
    let noisy = move |x: &Tensor| {
        counted.set(counted.get() + 1.0).unwrap();
        let noise = drawn.uniform([32], 0.0, 1.0).to_dtype(DType::F64);
        (deep(&(x * noise)) * &scale).sum(..)
    };
    let x = Tensor::linspace(0.0, 1.0, 32).to_dtype(DType::F64);
    let f = jit(move |x: Tensor| value_and_grad(checkpoint::within(TIGHT, &noisy))(&x));
    let (value, slope) = f.call(&x).unwrap();
    assert_eq!(count.get().item::<f64>().unwrap(), 1.0);
    let noise = Generator::new(9).uniform([32], 0.0, 1.0).to_dtype(DType::F64);
    let want = value_and_grad(|x: &Tensor| (deep(&(x * &noise)) * 2.0).sum(..))(&x);
    close(&want.0, &value);
    close(&want.1, &slope);
}

#[test]
fn budgets_that_cannot_be_kept_are_errors() {
    let f = |x: &Tensor| deep(x).sum(..);
    let x = Tensor::ones([3, 32], DType::F64);
    let e = grad(checkpoint::within(100, f))(&x).err().unwrap().to_string();
    for part in ["checkpoint::within: a budget of 100 bytes", "budget.rs", "at least ", "if everything is kept"] {
        assert!(e.contains(part), "{e}");
    }
    // What the message names does fit.
    let least: u64 = e.split("at least ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    close(&grad(f)(&x), &grad(checkpoint::within(least, f))(&x));
    let symbolic = jit(move |x: Tensor| grad(checkpoint::within(100, f))(&x)).dynamic("arguments.0", 0, "B", 2..=64);
    let e = symbolic.call(&x).err().unwrap().to_string();
    assert!(e.contains("B") && e.contains("extents that are numbers"), "{e}");
    let e = grad(checkpoint::within(100, |x: &Tensor| x.matmul(x)))(&Tensor::zeros([2, 3], DType::F32)).err().unwrap();
    assert!(e.to_string().contains("matmul"), "{e}");
}
