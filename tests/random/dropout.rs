//! Dropout.

use tracewright::{DType, Generator, Key, Tensor, Tree, grad, jit, nn, random, value_and_grad};

fn numbers(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

#[test]
fn what_stays_is_scaled() {
    let x = Tensor::full([100, 100], 2.0, DType::F32);
    for p in [0.1, 0.5, 0.9] {
        let y = numbers(&random::dropout(&Key::new(1), &x, p));
        let kept = y.iter().filter(|&&y| y != 0.0).count() as f64;
        assert!((kept / 1e4 - (1.0 - p)).abs() < 0.02, "{p}: {kept}");
        assert!(y.iter().all(|&y| y == 0.0 || (y as f64 - 2.0 / (1.0 - p)).abs() < 1e-5));
    }
    assert_eq!(numbers(&random::dropout(&Key::new(1), &x, 0.0)), numbers(&x));
    assert_eq!(numbers(&random::dropout(&Key::new(1), &x, 1.0)), numbers(&x.zeros_like()));
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        let y = random::dropout(&Key::new(1), &x.to_dtype(dtype), 0.5);
        assert_eq!(y.dtype(), dtype);
        assert_eq!(numbers(&y.to_dtype(DType::F32)), numbers(&random::dropout(&Key::new(1), &x, 0.5)));
    }
}

#[test]
fn the_gradient_has_the_same_mask() {
    let x = Tensor::full([50], 3.0, DType::F32);
    let forward = numbers(&random::dropout(&Key::new(2), &x, 0.4));
    let gradient = numbers(&grad(|x: &Tensor| random::dropout(&Key::new(2), x, 0.4).sum(..))(&x));
    assert_eq!(gradient, forward.iter().map(|y| y / 3.0).collect::<Vec<_>>());
    for drop in [random::feature_dropout, random::alpha_dropout, random::feature_alpha_dropout] {
        let x = Tensor::full([4, 8, 3], 3.0, DType::F32);
        let y = numbers(&drop(&Key::new(2), &x, 0.4));
        let gradient = numbers(&grad(move |x: &Tensor| drop(&Key::new(2), x, 0.4).sum(..))(&x));
        let kept = gradient.iter().filter(|&&g| g != 0.0).count();
        assert!((30..90).contains(&kept), "{kept}");
        let lowest = y.iter().copied().fold(f32::INFINITY, f32::min);
        assert!(y.iter().zip(&gradient).all(|(y, g)| (*y == lowest) == (*g == 0.0)));
    }
}

#[derive(Tree, Clone)]
struct Net {
    first: nn::Linear,
    drop: nn::Dropout,
    last: nn::Linear,
}

impl Net {
    fn loss(&self, x: &Tensor) -> Tensor {
        self.last.forward(&self.drop.forward(&self.first.forward(x).relu())).square().mean(..)
    }
}

#[test]
fn a_compiled_step_drops_what_the_eager_one_does() {
    let g = Generator::new(3);
    let net = |noise: &Generator| {
        let g = Generator::new(4);
        Net {
            first: nn::Linear::new(8, 64, &g),
            drop: nn::Dropout::new(0.5).with_generator(noise),
            last: nn::Linear::new(64, 2, &g),
        }
    };
    let x = g.normal([16, 8], 0.0, 1.0);
    let step = jit(|net: Net, x: Tensor| value_and_grad(move |net: &Net| net.loss(&x))(&net));
    let (noise, same) = (Generator::new(9), Generator::new(9));
    let (compiled, eager) = (net(&noise), net(&same));
    let mut losses = Vec::new();
    for _ in 0..3 {
        let (loss, gradient) = step.call(compiled.clone(), x.clone()).unwrap();
        let x = x.clone();
        let (want, wanted) = value_and_grad(move |net: &Net| net.loss(&x))(&eager);
        let close = |a: &Tensor, b: &Tensor| (a - b).abs().max(..).item::<f32>().unwrap() < 1e-5;
        assert!(close(&loss, &want) && close(&gradient.first.weight, &wanted.first.weight));
        losses.push(loss.item::<f32>().unwrap());
    }
    assert!(losses[0] != losses[1] && losses[1] != losses[2]);
    assert_eq!(noise.state().to_vec::<u64>().unwrap(), same.state().to_vec::<u64>().unwrap());
    // Out of training nothing is drawn.
    let mut quiet = compiled;
    quiet.drop.training = false;
    let before = noise.state().to_vec::<u64>().unwrap();
    let (a, b) = (step.call(quiet.clone(), x.clone()).unwrap().0, step.call(quiet, x).unwrap().0);
    assert_eq!(a.item::<f32>().unwrap(), b.item::<f32>().unwrap());
    assert_eq!(noise.state().to_vec::<u64>().unwrap(), before);
}

#[test]
fn slopes_and_choices_that_are_drawn() {
    let x = Tensor::full([2000], -1.0, DType::F32);
    let y = random::rrelu(&Key::new(1), &x, 0.1, 0.3);
    assert!(numbers(&y).iter().all(|y| (-0.3..=-0.1).contains(y)));
    assert!((y.mean(..).item::<f32>().unwrap() + 0.2).abs() < 0.01);
    let gradient = grad(|x: &Tensor| random::rrelu(&Key::new(1), x, 0.1, 0.3).sum(..))(&x);
    assert_eq!(numbers(&gradient), numbers(&-&y));

    let logits = Tensor::from([0.0f32, 1.0, 2.0]).broadcast_to([4000, 3]);
    let draw = |hard| move |x: &Tensor| random::gumbel_softmax(&Key::new(2), x, 0.7, hard, -1);
    let (soft, hard) = (draw(false)(&logits), draw(true)(&logits));
    assert_eq!(soft.argmax(-1).to_vec::<i64>().unwrap(), hard.argmax(-1).to_vec::<i64>().unwrap());
    assert!(numbers(&hard).iter().all(|&x| x == 0.0 || (x - 1.0).abs() < 1e-6));
    let share = numbers(&hard.mean(0));
    let want = numbers(&Tensor::from([0.0f32, 1.0, 2.0]).softmax(0));
    assert!(share.iter().zip(&want).all(|(a, b)| (a - b).abs() < 0.03), "{share:?} {want:?}");
    let weights = Tensor::from([1.0f32, 3.0, -2.0]);
    let slope = |hard: bool| {
        let weights = weights.clone();
        numbers(&grad(move |x: &Tensor| (draw(hard)(x) * &weights).sum(..))(&logits))
    };
    assert!(slope(true).iter().zip(slope(false)).all(|(a, b)| (a - b).abs() < 1e-6));
}
