//! Compositions of many ops, and small networks, against PyTorch: values and gradients, eager, compiled, interpreted and
//! batched.

use crate::case::{Case, read};
use crate::functions::{self, Function};
use ir::Literal;
use std::f64::consts::LN_2;
use tracewright::options::with_options;
use tracewright::{DType, Interpolation, PadMode, Tensor, concat, einsum, keepdims, nn, stack};

const INFINITY: f64 = f64::INFINITY;

fn unary(f: fn(&Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0])))
}

fn binary(f: fn(&Tensor, &Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0], &x[1])))
}

fn of(f: fn(&[Tensor]) -> Tensor) -> Option<Function> {
    Some(Box::new(f))
}

fn times(n: usize, x: Tensor, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    (0..n).fold(x, |x, _| f(&x))
}

fn numbers(all: &[f64]) -> Tensor {
    Tensor::from(all.to_vec())
}

fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    nn::LayerNorm { weight: weight.clone(), bias: bias.clone(), eps: 1e-5 }.forward(x)
}

fn tanh_products(x: &Tensor) -> Tensor {
    x.sin() * x.mish() + x.cos().square()
}

fn chains(name: &str) -> Option<Function> {
    match name {
        "gelu_tanh_chain" => unary(|x| x.gelu().tanh().exp()),
        "silu_of_affine" => of(|x| (&x[0] * &x[1] + &x[2]).silu()),
        "logistic_map" => binary(|x, r| times(5, x.clone(), |y| r * y * (1.0 - y))),
        "newton_root" => unary(|a| times(4, a.ones_like(), |y| 0.5 * (y + a / y))),
        "softplus_log_ratio" => binary(|x, y| (x.softplus() / y.softplus()).log()),
        "mish_and_trig" => unary(tanh_products),
        "bounded_angle" => binary(|y, x| y.tanh().atan2(x.exp())),
        "stable_sigmoid_products" => unary(|x| (x.log_sigmoid() + (-x).log_sigmoid()).exp()),
        "rational" => unary(|x| (x.pow(3.0) - 2.0 * x + 1.0) / (x.square() + 1.0)),
        "swiglu" => of(|x| x[0].matmul(&x[1]).silu() * x[0].matmul(&x[2])),
        "geglu" => unary(|x| {
            let parts = x.chunk(2, -1).unwrap();
            parts[0].gelu_tanh() * &parts[1]
        }),
        "polynomial_horner" => binary(|x, c| (0..5).fold(x.zeros_like(), |y, i| y * x + c.select(0, i))),
        _ => None,
    }
}

fn rows(name: &str) -> Option<Function> {
    match name {
        "softmax_temperature" => binary(|x, t| (x / t).softmax(-1)),
        "entropy_of_softmax" => unary(|x| -(x.softmax(-1) * x.log_softmax(-1)).sum(-1)),
        "layer_norm_gelu" => of(|x| layer_norm(&x[0], &x[1], &x[2]).gelu()),
        "rms_norm_residual" => binary(|x, w| x + nn::rms_norm(x, w, 1e-6)),
        "batch_statistics_norm" => unary(|x| (x - x.mean(0)) / (x.var(0, 0) + 1e-5).sqrt()),
        "group_norm_silu" => of(|x| nn::group_norm(&x[0], 2, Some(&x[1]), Some(&x[2]), 1e-5).silu()),
        "logsumexp_of_products" => binary(|x, y| x.matmul(y).logsumexp(-1)),
        "weight_standardised" => binary(|x, w| x.matmul(&((w - w.mean(0)) / (w.std(0, 1) + 1e-6)))),
        "power_mean" => binary(|x, p| x.pow(p).mean(-1).pow(p.recip())),
        "weighted_variance" => binary(|x, w| {
            let w = w.softmax(0);
            ((x - (x * &w).sum(..)).square() * w).sum(..)
        }),
        "standardised_moments" => unary(|x| {
            let z = (x - x.mean(keepdims(-1))) / x.std(keepdims(-1), 1);
            stack(&[z.pow(3.0).mean(-1), z.pow(4.0).mean(-1)], 0)
        }),
        "cosine_matrix" => unary(|x| {
            let x = x.normalize(2.0, -1, 1e-12);
            x.matmul(&x.t())
        }),
        _ => None,
    }
}

/// The cross entropy of each row.
fn entropies(x: &Tensor, y: &Tensor) -> Tensor {
    -x.log_softmax(-1).take_along(&y.unsqueeze(-1), -1).squeeze(-1)
}

fn norm(x: Tensor) -> Tensor {
    x.norm(2.0, -1)
}

fn losses(name: &str) -> Option<Function> {
    match name {
        "masked_cross_entropy" => of(|x| (entropies(&x[0], &x[1]) * &x[2]).sum(..) / x[2].sum(..)),
        "label_smoothing" => binary(|x, y| nn::cross_entropy(x, y) * 0.9 - x.log_softmax(-1).mean(..) * 0.1),
        "focal" => binary(|x, y| {
            let p = x.softmax(-1).take_along(&y.unsqueeze(-1), -1).squeeze(-1);
            ((1.0 - p).square() * entropies(x, y)).mean(..)
        }),
        "distillation" => binary(|s, t| {
            let (s, t) = (s / 2.0, t / 2.0);
            (t.softmax(-1) * (t.log_softmax(-1) - s.log_softmax(-1))).sum(..) / 3.0 * 4.0
        }),
        "contrastive" => binary(|x, y| {
            let [x, y] = [x, y].map(|x| x.normalize(2.0, -1, 1e-12));
            nn::cross_entropy(&(x.matmul(&y.t()) / 0.1), &Tensor::arange(4, DType::I64))
        }),
        "triplet" => of(|x| (norm(&x[0] - &x[1]) - norm(&x[0] - &x[2]) + 0.5).relu().mean(..)),
        "dice" => binary(|x, y| {
            let x = x.sigmoid();
            1.0 - 2.0 * (&x * y).sum(..) / (x + y).sum(..)
        }),
        "gaussian_kl" => binary(|m, s| (0.5 * (m.square() + s.exp() - s - 1.0)).sum(-1)),
        "huber_regression" => of(|x| nn::huber_loss(&(x[0].matmul(&x[1]) + &x[2]), &x[3], 0.5)),
        "quantile_loss" => binary(|x, y| (0.3 * (y - x)).maximum(-0.7 * (y - x)).mean(..)),
        "log_cosh" => binary(|x, y| ((2.0 * (x - y)).softplus() - (x - y) - LN_2).mean(..)),
        "ridge" => of(|x| {
            let w = &x[0];
            (x[1].matmul(w) - &x[2]).square().mean(..) + 0.1 * w.square().sum(..) + 0.01 * w.abs().sum(..)
        }),
        _ => None,
    }
}

fn contractions(name: &str) -> Option<Function> {
    match name {
        "attention" => of(|x| (x[0].matmul(&x[1].transpose(-1, -2)) / 2.0).softmax(-1).matmul(&x[2])),
        "causal_attention" => of(|x| {
            let scores = x[0].matmul(&x[1].t()).masked_fill(&x[3].logical_not(), -INFINITY);
            scores.softmax(-1).matmul(&x[2])
        }),
        "einsum_chain" => of(|x| einsum("ij,jkl,lm->ikm", &[&x[0], &x[1], &x[2]])),
        "bilinear_form" => of(|x| einsum("bi,ij,bj->b", &[&x[0], &x[1], &x[2]])),
        "outer_then_trace" => binary(|x, y| x.outer(y).tanh().trace()),
        "matrix_power_series" => unary(|a| {
            let square = a.matmul(a);
            Tensor::eye(3, DType::F64) + a + &square / 2.0 + square.matmul(a) / 6.0
        }),
        "low_rank_adapter" => of(|x| x[0].matmul(&x[1]) + 2.0 * x[0].matmul(&x[2]).matmul(&x[3])),
        "batched_quadratic" => binary(|x, a| einsum("bi,bij,bj->b", &[x, &a.matmul(&a.transpose(1, 2)), x])),
        _ => None,
    }
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F64)
}

fn indices(name: &str) -> Option<Function> {
    match name {
        "gather_products" => binary(|x, i| x.take(i, 0).prod(-1)),
        "embedding_mean" => binary(|w, i| w.take(i, 0).mean(0).tanh()),
        "scatter_softmax" => binary(|x, i| x.exp() / zeros(&[4]).index_add(0, i, &x.exp()).take(i, 0)),
        "segment_norms" => binary(|x, i| zeros(&[4, 2]).index_add(0, i, &x.square()).sqrt()),
        "take_along_weighted" => binary(|x, w| (x.take_along(&x.argsort(1, false), 1) * w).sum(-1)),
        "cumsum_of_softmax" => unary(|x| x.softmax(-1).cumsum(-1).log()),
        "cumprod_survival" => unary(|x| (1.0 - x.sigmoid()).cumprod(-1) * x.sigmoid()),
        "logcumsumexp_difference" => unary(|x| x.logcumsumexp(-1) - x.flip(&[-1]).logcumsumexp(-1).flip(&[-1])),
        "sorted_differences" => unary(|x| x.sort(-1, false).0.diff(1, -1).square()),
        "topk_mean" => unary(|x| x.topk(3, -1, true).0.mean(-1).exp()),
        "median_deviation" => unary(|x| (x - x.median(keepdims(-1)).0).abs().mean(-1)),
        "quantile_range" => unary(|x| x.quantile(0.8, -1) - x.quantile_with(0.3, -1, Interpolation::Linear)),
        _ => None,
    }
}

fn windows(x: &Tensor, mode: PadMode, reach: usize) -> Tensor {
    x.pad(&[(0, 0), (reach, reach)], mode).unfold(-1, 2 * reach + 1, 1)
}

fn shapes(name: &str) -> Option<Function> {
    match name {
        "distance_matrix" => unary(|x| x.cdist(&x.slice(0, 0..2), 2.0).sin()),
        "pairwise_gaussian" => binary(|x, y| (-(x.unsqueeze(1) - y.unsqueeze(0)).square().sum(-1)).exp()),
        "windowed_products" => binary(|x, w| x.unfold(-1, 3, 2).matmul(w)),
        "depthwise_by_shifts" => binary(|x, w| {
            let shifted = |k: isize| w.select(0, k) * x.slice(1, k..k + 5);
            shifted(0) + shifted(1) + shifted(2)
        }),
        "padded_average" => unary(|x| windows(x, PadMode::Circular, 1).mean(-1)),
        "reflected_blur" => {
            unary(|x| windows(x, PadMode::Reflect, 2).matmul(&numbers(&[1.0, 4.0, 6.0, 4.0, 1.0])) / 16.0)
        }
        "roll_and_correlate" => binary(|x, y| stack(&[0, 1, 2].map(|k| (x * y.roll(&[k], -1)).sum(-1)), -1)),
        "rotary" => unary(|x| {
            let angles = Tensor::arange(3, DType::F64).unsqueeze(1) * numbers(&[1.0, 0.5]);
            let (a, b) = (x.slice(1, 0..2), x.slice(1, 2..4));
            concat(&[&a * angles.cos() - &b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)
        }),
        "triangle_logdet" => unary(|a| {
            let diagonal = || a.diagonal(0, 0, 1).exp() + 0.1;
            let lower = a.tril(-1) + Tensor::eye(4, DType::F64) * diagonal();
            lower.diagonal(0, 0, 1).log().sum(..) + a.tril(0).norm(2.0, ..)
        }),
        "concat_of_views" => {
            binary(|x, y| concat(&[x.t(), y.flip(&[0]), x.slice(1, 0..1).broadcast_to([3, 3])], 0).norm(2.0, 0))
        }
        "where_branches" => unary(|x| x.gt(0.0).where_(x.log1p(), -(-x).expm1())),
        "clamped_log_odds" => unary(|x| {
            let p = x.sigmoid().clamp(0.05, 0.95);
            p.log() - (1.0 - p).log()
        }),
        _ => None,
    }
}

fn attention_block(x: &[Tensor]) -> Tensor {
    let [x, g, h, wqkv, wo, w1, w2] = x else { panic!("{} arguments", x.len()) };
    let heads = layer_norm(x, g, h).matmul(wqkv).reshape([2, 3, 3, 2, 2]).permute(&[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|i| heads.select(0, i));
    let later = Tensor::ones([3, 3], DType::Bool).triu(1);
    let scores = (q.matmul(&k.transpose(-1, -2)) / 2f64.sqrt()).masked_fill(&later, -INFINITY);
    let a = scores.softmax(-1).matmul(&v).transpose(1, 2).reshape([2, 3, 4]);
    let x = x + a.matmul(wo);
    &x + layer_norm(&x, g, h).matmul(w1).gelu_tanh().matmul(w2)
}

fn experts(x: &[Tensor]) -> Tensor {
    let [x, gate, w1, w2, y] = x else { panic!("{} arguments", x.len()) };
    let scores = x.matmul(gate);
    let (best, which) = scores.topk(2, -1, true);
    let weights = scores.zeros_like().scatter(1, &which, &best.softmax(-1));
    let hidden = einsum("ni,eid->ned", &[x, w1]).relu();
    let outputs = einsum("ned,edk->nek", &[&hidden, w2]);
    let balance = (weights.mean(0) * scores.softmax(-1).mean(0)).sum(..) * 3.0;
    nn::mse_loss(&einsum("ne,nek->nk", &[&weights, &outputs]), y) + 0.1 * balance
}

fn networks(name: &str) -> Option<Function> {
    match name {
        "net_mlp" => of(|x| {
            let hidden = nn::linear(&x[0], &x[1], Some(&x[2])).gelu();
            let hidden = nn::linear(&hidden, &x[3], Some(&x[4])).relu();
            nn::cross_entropy(&nn::linear(&hidden, &x[5], Some(&x[6])), &x[7])
        }),
        "net_residual_mlp" => of(|x| {
            let block = |z: &Tensor, act: fn(&Tensor) -> Tensor| {
                z + nn::linear(&act(&nn::linear(&layer_norm(z, &x[1], &x[2]), &x[3], None)), &x[4], None)
            };
            let z = times(2, x[0].clone(), |z| block(z, Tensor::silu));
            block(&z, Tensor::gelu).square().mean(..)
        }),
        "net_attention_block" => of(attention_block),
        "net_rnn" => of(|x| {
            let [tokens, e, wx, wh, b, wo] = x else { panic!("{} arguments", x.len()) };
            let (mut h, mut loss) = (zeros(&[2, 4]), zeros(&[]));
            for t in 0..3 {
                h = (e.take(&tokens.select(1, t), 0).matmul(wx) + h.matmul(wh) + b).tanh();
                loss += nn::cross_entropy(&h.matmul(wo), &tokens.select(1, t + 1));
            }
            loss / 3.0
        }),
        "net_mixture_of_experts" => of(experts),
        "net_autoencoder" => of(|x| {
            let code = nn::linear(&x[0], &x[1], Some(&x[2])).tanh();
            let logits = nn::linear(&code, &x[3], Some(&x[4]));
            nn::binary_cross_entropy_with_logits(&logits, &x[0]) + 0.1 * code.abs().mean(..)
        }),
        _ => None,
    }
}

fn function(name: &str) -> Function {
    let groups = [chains, rows, losses, contractions, indices, shapes, networks];
    groups.iter().find_map(|g| g(name)).unwrap_or_else(|| panic!("no function for {name}"))
}

fn check(run: impl Fn(&Case, Function) -> tracewright::Result<(Literal, Vec<Literal>)>) {
    let cases = read("composites.jsonl");
    assert!(cases.len() >= 66 && cases.iter().filter(|c| c.op.starts_with("net_")).count() == 6);
    let mut wrong = Vec::new();
    for case in cases {
        match run(&case, function(&case.op)) {
            Ok(got) => wrong.extend(functions::compare(&case, &got).map(|what| format!("{}: {what}", case.op))),
            Err(e) => wrong.push(format!("{}: {e}", case.op)),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn eager_gradients_of_compositions() {
    check(|case, f| functions::run(case, f, false));
}

#[test]
fn compiled_gradients_of_compositions() {
    check(|case, f| functions::run(case, f, true));
}

#[test]
fn interpreted_gradients_of_compositions() {
    let mut options = (*tracewright::options::current().unwrap()).clone();
    options.set("JIT", "off").unwrap();
    check(|case, f| with_options(options.clone(), || functions::run(case, f, true)));
}

#[test]
fn batched_gradients_of_compositions() {
    check(|case, f| functions::run_batched(case, f, false));
    check(|case, f| functions::run_batched(case, f, true));
}
