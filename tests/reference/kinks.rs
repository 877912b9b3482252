//! Gradients at kinks, ties, jumps and poles, against PyTorch's; and the page that lists them, `docs/gradients.md`.

use crate::case::{Case, read};
use crate::functions::{self, Function};
use ir::{Literal, Scalar};
use std::fs;
use std::path::Path;
use tracewright::options::with_options;
use tracewright::{Tensor, nn};

fn unary(f: fn(&Tensor) -> Tensor) -> Function {
    Box::new(move |x| f(&x[0]))
}

fn binary(f: fn(&Tensor, &Tensor) -> Tensor) -> Function {
    Box::new(move |x| f(&x[0], &x[1]))
}

/// 1 to `n`, along one axis.
fn counting(n: usize) -> Tensor {
    Tensor::arange(n, tracewright::DType::F64) + 1.0
}

fn constant(numbers: &[f64]) -> Tensor {
    Tensor::from(numbers.to_vec())
}

/// The function of `kinks.jsonl` with that name.
fn function(name: &str) -> Function {
    match name {
        "maximum" | "maximum_nan" => binary(|x, y| x.maximum(y)),
        "minimum" => binary(|x, y| x.minimum(y)),
        "fmax" => binary(|x, y| x.fmax(y)),
        "amax" => unary(|x| x.max(0)),
        "amin" => unary(|x| x.min(0)),
        "sort" => unary(|x| x.sort(0, false).0 * counting(5)),
        "sort_descending" => unary(|x| x.sort(0, true).0 * counting(5)),
        "topk" => unary(|x| x.topk(2, 0, true).0),
        "median" => unary(|x| x.median(0).0),
        "kthvalue" => unary(|x| x.kthvalue(2, 0).0),
        "quantile" => unary(|x| x.quantile(0.5, 0)),
        "cummax" => unary(|x| x.cummax(0).0),
        "cummin" => unary(|x| x.cummin(0).0),
        "logsumexp" => unary(|x| x.logsumexp(1)),
        "abs" => unary(Tensor::abs),
        "relu" => unary(Tensor::relu),
        "relu6" => unary(Tensor::relu6),
        "leaky_relu" => unary(|x| x.leaky_relu(0.1)),
        "prelu" => binary(Tensor::prelu),
        "elu" => unary(|x| x.elu(2.0)),
        "celu" => unary(|x| x.celu(2.0)),
        "selu" => unary(Tensor::selu),
        "threshold" => unary(|x| x.threshold(1.0, 5.0)),
        "hardtanh" => unary(|x| x.hardtanh(-1.0, 1.0)),
        "hardsigmoid" => unary(Tensor::hardsigmoid),
        "hardswish" => unary(Tensor::hardswish),
        "softshrink" => unary(|x| x.softshrink(0.5)),
        "hardshrink" => unary(|x| x.hardshrink(0.5)),
        "clamp" => unary(|x| x.clamp(-1.0, 1.0)),
        "clamp_tensors" => Box::new(|x| x[0].clamp(&x[1], &x[2])),
        "softplus" => unary(Tensor::softplus),
        "log_sigmoid" => unary(Tensor::log_sigmoid),
        "sigmoid" => unary(Tensor::sigmoid),
        "silu" => unary(Tensor::silu),
        "gelu" => unary(Tensor::gelu),
        "softmax" => unary(|x| x.softmax(0).slice(0, 0..2)),
        "log_softmax" => unary(|x| x.log_softmax(0).slice(0, 0..2)),
        "sqrt" => unary(Tensor::sqrt),
        "rsqrt" => unary(Tensor::rsqrt),
        "log" => unary(Tensor::log),
        "log1p" => unary(Tensor::log1p),
        "recip" => unary(Tensor::recip),
        "div" => binary(|x, y| x / y),
        "pow_base" => unary(|x| x.pow(constant(&[0.0, 0.5, 1.0, 2.0, 3.0]))),
        "pow_exponent" => unary(|x| constant(&[0.0, 0.0, 0.0, 2.0]).pow(x)),
        "asin" => unary(Tensor::asin),
        "acos" => unary(Tensor::acos),
        "acosh" => unary(Tensor::acosh),
        "atanh" => unary(Tensor::atanh),
        "xlogy" => binary(|x, y| x.xlogy(y)),
        "where_nan" => unary(|x| x.gt(0.0).where_(x.sqrt(), 0.0)),
        "where_twice" => unary(|x| x.gt(0.0).where_(x.gt(0.0).where_(x, 1.0).sqrt(), 0.0)),
        "nan_to_num" => unary(|x| x.nan_to_num(0.0, None, None)),
        "sign" => unary(Tensor::sign),
        "floor" => unary(Tensor::floor),
        "round" => unary(Tensor::round),
        "trunc" => unary(Tensor::trunc),
        "frac" => unary(Tensor::frac),
        "remainder" => binary(|x, y| x.remainder(y)),
        "fmod" => binary(|x, y| x.fmod(y)),
        "prod" | "prod_zeros" => unary(|x| x.prod(0)),
        "cumprod" => unary(|x| x.cumprod(0)),
        "norm_1.0" => unary(|x| x.norm(1.0, 0)),
        "norm_2.0" => unary(|x| x.norm(2.0, 0)),
        "norm_3.0" => unary(|x| x.norm(3.0, 0)),
        "norm_inf" | "norm_ties" => unary(|x| x.norm(f64::INFINITY, 0)),
        "norm_half" => unary(|x| x.norm(0.5, 0)),
        "std" => unary(|x| x.std(0, 1)),
        "normalize" => unary(|x| x.normalize(2.0, 0, 1e-12)),
        "hypot" => binary(|x, y| x.hypot(y)),
        "atan2" => binary(|x, y| x.atan2(y)),
        "cdist" => binary(|x, y| x.cdist(y, 2.0)),
        "l1_loss" => binary(|x, y| nn::l1_loss(x, y) * 2.0),
        "smooth_l1_loss" => binary(|x, y| nn::smooth_l1_loss(x, y, 0.5) * 3.0),
        "huber_loss" => binary(|x, y| nn::huber_loss(x, y, 0.5) * 3.0),
        "logaddexp" => binary(|x, y| x.logaddexp(y)),
        "sinc" => unary(Tensor::sinc),
        other => panic!("no function for {other}"),
    }
}

/// Where we do not follow PyTorch: the gradients that we have instead, and why.
const OTHERWISE: [(&str, &[&[f64]], &str); 7] = [
    ("maximum_nan", &[&[0.0, 0.0], &[0.0, 0.0]], "JAX; PyTorch has 1 for both"),
    ("topk", &[&[1.0, 1.0, 0.0, 0.0]], "JAX: the first; PyTorch leaves it open"),
    ("hardsigmoid", &[&[0.0, 1.0 / 6.0, 0.0]], "PyTorch, but for the last bits of its 1/6"),
    ("clamp", &[&[0.0, 0.5, 1.0, 0.5, 0.0]], "JAX, and PyTorch for bounds that are tensors; else that has 0"),
    (
        "xlogy",
        &[&[0.0, std::f64::consts::LN_2, f64::NEG_INFINITY], &[0.0, 0.0, f64::INFINITY]],
        "the limit; PyTorch and JAX have NaN at 0",
    ),
    ("hypot", &[&[0.0], &[0.0]], "as norms; PyTorch has NaN, JAX 0.5"),
    ("atan2", &[&[f64::NAN], &[f64::NAN]], "JAX; PyTorch has 0"),
];

fn cases() -> Vec<Case> {
    let mut cases = read("kinks.jsonl");
    for (op, gradients, _) in OTHERWISE {
        let case = cases.iter_mut().find(|c| c.op == op).unwrap_or_else(|| panic!("no case of {op}"));
        let ours: Vec<Option<Literal>> =
            gradients.iter().map(|g| Some(Literal::from_vec(&[g.len()], g.to_vec()))).collect();
        assert_ne!(case.gradients, ours, "{op} is as in PyTorch");
        case.gradients = ours;
    }
    cases
}

fn check(run: impl Fn(&Case, Function) -> tracewright::Result<(Literal, Vec<Literal>)>) {
    let mut wrong = Vec::new();
    for case in cases() {
        match run(&case, function(&case.op)) {
            Ok(got) => wrong.extend(functions::compare(&case, &got).map(|what| format!("{}: {what}", case.op))),
            Err(e) => wrong.push(format!("{}: {e}", case.op)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn eager_gradients_at_kinks() {
    check(|case, f| functions::run(case, f, false));
}

#[test]
fn compiled_and_interpreted_gradients_at_kinks() {
    check(|case, f| functions::run(case, f, true));
    let mut options = (*tracewright::options::current().unwrap()).clone();
    options.set("JIT", "off").unwrap();
    check(|case, f| with_options(options.clone(), || functions::run(case, f, true)));
}

#[test]
fn batched_gradients_at_kinks() {
    check(|case, f| functions::run_batched(case, f, true));
}

const PAGE: &str = "\
# Gradients where functions have none

What `grad` gives at kinks, ties, jumps and poles. Tests hold every line against PyTorch, eager, compiled, interpreted and
batched (`tests/reference/kinks.rs`, which writes this page: `UPDATE_DOCS=1 cargo test --test reference`). The gradient is that
of the sum of the results. Conditions of selections, positions and rounding pass no gradient on; `grad::report` lists where
that ends the path of a parameter.

An operand that selection does not take still has its gradient multiplied by 0: `where(x > 0, sqrt(x), 0)` has the gradient NaN
at 0, as in PyTorch and JAX. Make what is inside safe too: `where(x > 0, sqrt(where(x > 0, x, 1)), 0)`.

| function | at | operands | gradient | as |
|---|---|---|---|---|
";

fn list(l: &Literal) -> String {
    let number = |s: Scalar| match s.as_f64() {
        0.0 => "0".to_string(),
        x if x.is_infinite() => if x > 0.0 { "∞" } else { "-∞" }.to_string(),
        x if x.is_nan() || (1e-3..1e6).contains(&x.abs()) => format!("{}", (x * 1e6).round() / 1e6),
        x => format!("{:e}", format!("{x:.5e}").parse::<f64>().expect("a number")),
    };
    let row = |r: &[Scalar]| format!("[{}]", r.iter().map(|&s| number(s)).collect::<Vec<_>>().join(", "));
    let all: Vec<Scalar> = l.iter().collect();
    match l.dims() {
        [_, n] => format!("[{}]", all.chunks(*n).map(row).collect::<Vec<_>>().join(", ")),
        _ => row(&all),
    }
}

#[test]
fn the_page_of_gradients_is_up_to_date() {
    let mut page = PAGE.to_string();
    for case in cases() {
        let [of, at] = ["of", "at"].map(|key| case.attrs.get(key).text().to_string());
        let operands: Vec<String> = case.inputs.iter().map(list).collect();
        let gradients: Vec<String> = case.gradients.iter().flatten().map(list).collect();
        let source = OTHERWISE.iter().find(|o| o.0 == case.op).map_or("PyTorch", |o| o.2);
        page += &format!("| {of} | {at} | {} | {} | {source} |\n", operands.join("; "), gradients.join("; "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gradients.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/gradients.md is not up to date: UPDATE_DOCS=1"
    );
}
