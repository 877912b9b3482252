//! Arguments that no distribution has.

use tracewright::{DType, Key, Tensor, random};

fn refused(x: Tensor, says: &str) {
    let e = x.err().unwrap_or_else(|| panic!("no error where `{says}` was expected")).to_string();
    assert!(e.contains(says), "{e}\nlacks `{says}`");
    assert!(e.contains("errors.rs"), "{e}");
}

#[test]
fn numbers_that_no_distribution_has() {
    let k = &Key::new(0);
    let f = DType::F32;
    refused(random::uniform(k, [2], f, 1.0, 0.0), "the range is 1 to 0");
    refused(random::uniform(k, [2], f, 0.0, f64::INFINITY), "the range is 0 to inf");
    refused(random::uniform(k, [2], f, f64::NAN, 1.0), "the range is NaN to 1");
    refused(random::uniform(k, [2], f, -3e38, 3e38), "the range is -3");
    refused(random::uniform(k, [2], f, 0.0, 1e39), "the range is 0 to 1");
    refused(random::uniform(k, [2], DType::F16, 0.0, 1e5), "the range is 0 to 1");
    refused(random::normal(k, [2], f, 0.0, -1.0), "the scale is -1");
    refused(random::truncated_normal(k, [2], f, 2.0, 2.0), "the bounds are 2 and 2");
    refused(random::bernoulli(k, [2], 1.5), "the probability is 1.5");
    refused(random::geometric(k, [2], f, 0.0), "the probability is 0");
    refused(random::exponential(k, [2], f, 0.0), "the rate is 0");
    refused(random::poisson(k, [2], f, -1.0), "the rate is -1");
    refused(random::gamma(k, [2], f, 0.0, 1.0), "the concentration is 0");
    refused(random::beta(k, [2], f, 1.0, -2.0), "the second parameter is -2");
    refused(random::dropout(k, &Tensor::ones([2], f), 1.1), "the probability is 1.1");
    refused(random::dropout(k, &Tensor::ones([2], f), f64::NAN), "the probability is NaN");
}

#[test]
fn dtypes_that_no_distribution_has() {
    let k = &Key::new(0);
    refused(random::uniform(k, [2], DType::I32, 0.0, 1.0), "the dtype is i32");
    refused(random::normal(k, [2], DType::Bool, 0.0, 1.0), "the dtype is bool");
    refused(random::gamma(k, [2], DType::U8, 1.0, 1.0), "the dtype is u8");
    refused(random::bits(k, [2], DType::F32), "the dtype is f32");
    refused(random::integers(k, [2], DType::F32, 0, 2), "the dtype is f32");
    refused(random::poisson(k, [2], DType::Bool, 1.0), "the dtype is bool");
    refused(random::integers(k, [2], DType::I32, Tensor::from(0.5f32), 2), "a bound is f32");
    refused(random::integers(k, [2], DType::I32, 0.5, 2), "a bound is");
    refused(random::dropout(k, &Tensor::ones([2], DType::I64), 0.5), "the dtype is i64");
}

#[test]
fn ranges_and_shapes() {
    let k = &Key::new(0);
    refused(random::integers(k, [2], DType::I32, 3, 3), "there is no integer from 3 to below 3");
    refused(random::integers(k, [2], DType::U8, -1, 3), "the bound -1 does not fit u8");
    refused(random::integers(k, [2], DType::U8, 0, 257), "the bound 257 does not fit u8");
    refused(
        random::normal(k, [2], DType::F32, Tensor::from([0.0f32; 3]), 1.0),
        "a parameter of shape [3] does not broadcast to [2]",
    );
    refused(random::normal(k, [1usize << 45], DType::F32, 0.0, 1.0), "");
    refused(random::categorical(k, &Tensor::ones([2, 3], DType::F32), 2), "axis 2");
    refused(random::choice(k, &Tensor::ones([3], DType::F32), 0, 4, false, None), "4 parts of 3 are asked for");
    refused(random::choice(k, &Tensor::ones([3], DType::F32), 1, 2, true, None), "axis 1");
    refused(random::multinomial(k, &Tensor::ones([2, 3], DType::F32), 4, false), "4 positions of 3 are asked for");
}

#[test]
fn keys() {
    let wrong = Key::from_tensor(&Tensor::from([1u32, 2]));
    refused(random::uniform(&wrong, [2], DType::F32, 0.0, 1.0), "a key is not u32[2]");
    let k = Key::new(0);
    refused(k.fold_in(-1).tensor().clone(), "the number -1 cannot be folded in");
    refused(k.fold_in(0.5).tensor().clone(), "the number 0.5 cannot be folded in");
    refused(k.fold_in(Tensor::from([1i64])).tensor().clone(), "i64[1] cannot be folded in");
}
