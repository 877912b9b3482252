//! Draws: by keys of the examples, and from a generator.

use super::shown;
use std::collections::BTreeSet;
use tracewright::{DType, Generator, Key, Tensor, jit, nn, random, vmap};

/// True if no two of the examples, the rows, are equal.
fn distinct(t: &Tensor) -> bool {
    let rows = t.shape()[0].as_usize().unwrap();
    let row = |i| t.select(0, i as isize).to_dtype(DType::F64).to_vec::<f64>().unwrap();
    let bits = |i| row(i).into_iter().map(f64::to_bits).collect::<Vec<_>>();
    (0..rows).map(bits).collect::<BTreeSet<_>>().len() == rows
}

type Draw = fn(&Key) -> Tensor;

const DRAWS: [(&str, Draw); 10] = [
    ("uniform", |k| random::uniform(k, [5], DType::F32, 0.0, 1.0)),
    ("uniform wide", |k| random::uniform(k, [5], DType::F64, 0.0, 1.0)),
    ("normal", |k| random::normal(k, [2, 3], DType::F64, 1.0, 2.0)),
    ("integers", |k| random::integers(k, [6], DType::I64, 0, 1000)),
    ("bernoulli", |k| random::bernoulli(k, [64], 0.5)),
    ("gamma", |k| random::gamma(k, [3], DType::F64, 0.7, 1.0)),
    ("poisson", |k| random::poisson(k, [12], DType::F64, 40.0)),
    ("permutation", |k| random::permutation(k, 16)),
    ("categorical", |k| random::categorical(k, &Tensor::zeros([24, 3], DType::F64), 1)),
    ("split", |k| k.split_tensor(3)),
];

#[test]
fn keys_of_the_examples() {
    let keys = Key::new(3).split_tensor(4);
    for (name, draw) in DRAWS {
        let all = vmap(|k: &Tensor| draw(&Key::from_tensor(k)))(&keys);
        assert!(distinct(&all), "{name}");
        for i in 0..4 {
            let one = draw(&Key::from_tensor(&keys.select(0, i)));
            assert_eq!(shown(&all.select(0, i)), shown(&one), "{name}");
        }
    }
}

#[test]
fn keys_are_leaves() {
    let key = Key::new(9);
    let keys: Key = vmap(|i: &Tensor| key.fold_in(i))(&Tensor::arange(3, DType::I64));
    let (all, next) = vmap(|k: &Key| {
        let [a, b] = k.split();
        (random::normal(&a, [4], DType::F32, 0.0, 1.0), b)
    })(&keys);
    for i in 0..3 {
        let [a, b] = key.fold_in(i as i64).split();
        assert_eq!(shown(&all.select(0, i)), shown(&random::normal(&a, [4], DType::F32, 0.0, 1.0)));
        assert_eq!(next.tensor().to_vec::<u64>().unwrap()[i as usize], b.tensor().item::<u64>().unwrap());
    }
}

#[test]
fn a_generator_gives_each_example_its_own() {
    let x = Tensor::zeros([4, 3], DType::F32);
    let f = |g: &Generator, x: &Tensor| (x + g.normal([3], 0.0, 1.0), g.uniform([2], 0.0, 1.0));
    let g = Generator::new(1);
    let (a, b) = vmap(|x: &Tensor| f(&g, x))(&x);
    assert!(distinct(&a) && distinct(&b));
    // Two draws were counted, whatever the number of examples.
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [1, 2]);
    let (c, _) = vmap(|x: &Tensor| f(&g, x))(&x);
    assert_ne!(shown(&a), shown(&c));

    // Compiled, the numbers are the same.
    let h = Generator::new(1);
    let inner = h.clone();
    let compiled = jit(move |x: Tensor| vmap(|x: &Tensor| f(&inner, x))(&x));
    let (d, e) = compiled.call(&x).unwrap();
    assert_eq!((shown(&d), shown(&e)), (shown(&a), shown(&b)));
    assert_eq!(h.state().to_vec::<u64>().unwrap(), [1, 2]);

    // Those of an example do not depend on how many there are.
    let again = Generator::new(1);
    let (few, _) = vmap(|x: &Tensor| f(&again, x))(&x.narrow(0, 0, 2));
    assert_eq!(shown(&few), shown(&a.narrow(0, 0, 2)));
}

#[test]
fn nested_examples_have_their_own() {
    let x = Tensor::zeros([3, 4], DType::F32);
    let g = Generator::new(5);
    let all = vmap(vmap(|x: &Tensor| x + g.normal([2], 0.0, 1.0)))(&x);
    assert_eq!(all.shape().to_string(), "[3, 4, 2]");
    assert!(distinct(&all.reshape([12, 2])));
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [5, 1]);
    // The numbers of the outer examples are those without the inner ones.
    let [key] = [Generator::new(5).key()];
    let one = random::normal(&key.fold_in(2).fold_in(3), [2], DType::F32, 0.0, 1.0);
    assert_eq!(shown(&all.select(0, 2).select(0, 3)), shown(&one));
    // A draw of the outer function is common to the inner examples.
    let h = Generator::new(5);
    let common = vmap(|x: &Tensor| {
        let noise = h.normal([2], 0.0, 1.0);
        vmap(move |x: &Tensor| x + &noise)(x)
    })(&x);
    assert_eq!(shown(&common.select(1, 0)), shown(&common.select(1, 3)));
    assert!(distinct(&common.select(1, 0)));
}

#[test]
fn in_gradients_and_dropout() {
    let x = Tensor::ones([3, 64], DType::F32);
    let masks = vmap(|x: &Tensor| tracewright::grad(|x: &Tensor| nn::dropout(x, 0.5, true).sum(..))(x))(&x);
    assert!(distinct(&masks));
    assert!(masks.to_vec::<f32>().unwrap().iter().all(|&m| m == 0.0 || m == 2.0));
}
