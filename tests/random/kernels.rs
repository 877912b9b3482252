//! What draws compile to.

use tracewright::events::{Counters, Event};
use tracewright::{DType, Generator, Key, Tensor, grad, jit, random};

fn kernels(text: &str) -> usize {
    text.lines().filter(|l| l.starts_with("kernel @")).count()
}

#[test]
fn a_draw_is_one_kernel_with_what_uses_it() {
    let f = jit(|k: Key, x: Tensor| {
        random::dropout(&k, &x.relu(), 0.5) + random::normal(&k, x.shape(), DType::F32, 0.0, 1.0)
    });
    let lowered = f.lower(Key::new(1), Tensor::ones([64, 100], DType::F32)).unwrap();
    let all: String = lowered.stages().iter().filter(|s| s.name.ends_with(".kir")).map(|s| s.text.as_str()).collect();
    assert_eq!(kernels(&all), 1, "{all}");
    // The key of a generator's draw is a kernel, and so is its state.
    let g = Generator::new(1);
    let f = jit(move |x: Tensor| &x * g.uniform(x.shape(), 0.0, 1.0));
    let lowered = f.lower(Tensor::ones([64, 100], DType::F32)).unwrap();
    let all: String = lowered.stages().iter().filter(|s| s.name.ends_with(".kir")).map(|s| s.text.as_str()).collect();
    assert!(kernels(&all) <= 3, "{all}");
}

#[test]
fn the_gradient_of_dropout_makes_its_mask_again() {
    let f = jit(|k: Key, x: Tensor| grad(move |x: &Tensor| random::dropout(&k, &x.exp(), 0.5).sum(..))(&x));
    let lowered = f.lower(Key::new(1), Tensor::ones([1000], DType::F32)).unwrap();
    let all: String = lowered.stages().iter().filter(|s| s.name.ends_with(".kir")).map(|s| s.text.as_str()).collect();
    assert_eq!((kernels(&all), all.matches("philox").count()), (1, 1), "{all}");
}

#[test]
fn new_shapes_of_eager_draws_compile_nothing() {
    let draw = |n: usize, m: usize| random::uniform(&Key::new(1), [n, m], DType::BF16, -7.0, 3.5).err();
    draw(5, 9);
    // Where two extents are equal it is another executable.
    let counts = Counters::of(|| (2..20).for_each(|n| assert!(draw(n, n + 7).is_none()))).1;
    assert_eq!(counts[Event::Compile], 0);
}
