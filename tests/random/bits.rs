//! The bits are the same however they are computed.

use tracewright::options::with_options;
use tracewright::{DType, Key, Tensor, jit, pool, random};

fn draws(key: &Key) -> Vec<Tensor> {
    let shape = [3, 37];
    let [a, b, c, d, e, f] = key.split();
    let low = Tensor::from([-2.0f32, 0.5, 3.0]).reshape([3, 1]);
    vec![
        random::bits(&a, shape, DType::U32),
        random::bits(&b, shape, DType::U64),
        random::bits(&b, shape, DType::I8),
        random::bits(&a, [5000], DType::U32) * 3,
        random::uniform(&c, shape, DType::F32, 0.0, 1.0),
        random::uniform(&c, shape, DType::F64, -1.5, 7.0),
        random::uniform(&c, shape, DType::F16, 0.0, 1.0),
        random::uniform(&c, shape, DType::BF16, &low, 8.0),
        random::uniform(&c, [64, 64], DType::F32, 0.0, 1.0).t() + 1.0,
        random::integers(&d, shape, DType::I64, -5, 1000),
        random::integers(&d, shape, DType::U64, 3u64, u64::MAX),
        random::integers(&d, shape, DType::I32, low.to_dtype(DType::I32), 50),
        random::bernoulli(&e, shape, 0.3),
        random::permutation(&f, 53),
        key.split_tensor(5),
        key.fold_in(9).tensor().clone(),
    ]
}

fn bits(all: &[Tensor]) -> Vec<Vec<u64>> {
    all.iter().map(|t| t.to_literal().unwrap().iter().map(|x| x.bits()).collect()).collect()
}

fn with(name: &str, value: &str, f: impl FnOnce()) {
    let mut options = crate::target::options();
    options.set(name, value).unwrap();
    with_options(options, f);
}

#[test]
fn every_execution_gives_the_same_bits() {
    let key = Key::new(0xDEAD_BEEF_0123_4567);
    let eager = bits(&draws(&key));
    let compiled = || bits(&jit(|k: Key| draws(&k)).call(key.clone()).unwrap());
    for threads in [1, 2, 5] {
        pool::with_threads(threads, || assert_eq!(compiled(), eager, "{threads} threads"));
    }
    with("TRACEWRIGHT_PASSES", "-fuse", || assert_eq!(compiled(), eager, "without fusion"));
    with("TRACEWRIGHT_JIT", "off", || {
        assert_eq!(compiled(), eager, "the interpreter");
        assert_eq!(bits(&draws(&key)), eager, "the interpreter, eager");
    });
    // Interprets after each pass, and the kernels, and compares.
    with("TRACEWRIGHT_CHECK", "3", || assert_eq!(compiled(), eager, "checked"));
}
