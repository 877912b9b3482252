//! Functions of the frontend and their gradients, eager and compiled.

use crate::arranged;
use crate::case::{Case, Tolerance, difference, read};
use crate::contracted;
use crate::elementary;
use crate::json::Json;
use crate::losses;
use crate::ordered;
use crate::reduced;
use crate::special;
use ir::Literal;
use tracewright::{Tensor, concat, grad, jit, keepdims, nn, stack, vmap};

pub type Function = Box<dyn Fn(&[Tensor]) -> Tensor + Send + Sync>;

/// Recorded functions that the frontend does not have; an entry that it does have fails the test.
const ABSENT: [&str; 1] = ["scaled_dot_product_attention"];

fn cases() -> Vec<Case> {
    ["functions", "elementary", "arranged", "contracted", "reduced", "losses", "special"]
        .map(|file| read(&format!("{file}.jsonl")))
        .into_iter()
        .flatten()
        .collect()
}

fn unary(f: fn(&Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0])))
}

fn binary(f: fn(&Tensor, &Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0], &x[1])))
}

fn axes(json: &Json) -> Vec<isize> {
    json.ints().into_iter().map(|a| a as isize).collect()
}

fn reduction(case: &Case, f: fn(&Tensor, tracewright::Reduction) -> Tensor) -> Option<Function> {
    let axes = axes(case.attrs.get("dim"));
    let keep = *case.attrs.get("keepdim") == Json::Bool(true);
    let axes = move || if keep { keepdims(axes.as_slice()) } else { axes.as_slice().into() };
    Some(Box::new(move |x| f(&x[0], axes())))
}

/// The reductions of losses other than the mean are not offered.
fn mean_loss(case: &Case, f: fn(&Tensor, &Tensor) -> Tensor) -> Option<Function> {
    let plain = case.attrs.find("label_smoothing").is_none();
    (plain && case.attrs.get("reduction").text() == "mean").then(|| binary(f)).flatten()
}

fn function(case: &Case) -> Option<Function> {
    let int = |key: &str| case.attrs.get(key).int() as isize;
    let size = |key: &str| case.attrs.get(key).int() as usize;
    let float = |key: &str| match case.attrs.get(key) {
        Json::Float(x) => *x,
        other => panic!("{}: {key} is {other:?}", case.name),
    };
    match case.op.as_str() {
        "neg" => unary(|x| -x),
        "abs" => unary(Tensor::abs),
        "exp" => unary(Tensor::exp),
        "log" => unary(Tensor::log),
        "log1p" => unary(Tensor::log1p),
        "sqrt" => unary(Tensor::sqrt),
        "rsqrt" => unary(Tensor::rsqrt),
        "reciprocal" => unary(Tensor::recip),
        "sin" => unary(Tensor::sin),
        "cos" => unary(Tensor::cos),
        "tanh" => unary(Tensor::tanh),
        "sigmoid" => unary(Tensor::sigmoid),
        "erf" => unary(Tensor::erf),
        "square" => unary(Tensor::square),
        "relu" => unary(Tensor::relu),
        "silu" => unary(Tensor::silu),
        "softplus" if case.attrs.find("beta").is_none() => unary(Tensor::softplus),
        "isnan" => unary(Tensor::is_nan),
        "gelu" if case.attrs.get("approximate").text() == "tanh" => unary(Tensor::gelu_tanh),
        "gelu" => unary(Tensor::gelu),
        "add" => binary(|x, y| x + y),
        "sub" => binary(|x, y| x - y),
        "mul" => binary(|x, y| x * y),
        "div" => binary(|x, y| x / y),
        "maximum" => binary(|x, y| x.maximum(y)),
        "minimum" => binary(|x, y| x.minimum(y)),
        "pow" => binary(|x, y| x.pow(y)),
        "matmul" => binary(Tensor::matmul),
        "embedding" => binary(|i, w| w.take(i, 0)),
        "where" => Some(Box::new(|x| x[0].where_(&x[1], &x[2]))),
        "clamp" => {
            let (low, high) = (float("min"), float("max"));
            Some(Box::new(move |x| x[0].clamp(low, high)))
        }
        "softmax" | "log_softmax" => {
            let (dim, log) = (int("dim"), case.op == "log_softmax");
            Some(Box::new(move |x| if log { x[0].log_softmax(dim) } else { x[0].softmax(dim) }))
        }
        "sum" => reduction(case, |x, axes| x.sum(axes)),
        "mean" => reduction(case, |x, axes| x.mean(axes)),
        "amax" => reduction(case, |x, axes| x.max(axes)),
        "prod" => reduction(case, |x, axes| x.prod(axes)),
        "var" if int("correction") == 0 => reduction(case, |x, axes| x.var(axes, 0)),
        "var" => reduction(case, |x, axes| x.var(axes, 1)),
        "std" => reduction(case, |x, axes| x.std(axes, 1)),
        "layer_norm" if case.inputs.len() == 1 => None,
        "layer_norm" => {
            let eps = float("eps");
            Some(Box::new(move |x| nn::LayerNorm { weight: x[1].clone(), bias: x[2].clone(), eps }.forward(&x[0])))
        }
        "linear" => Some(Box::new(|x| nn::linear(&x[0], &x[1], x.get(2)))),
        "cross_entropy" => mean_loss(case, nn::cross_entropy),
        "nll_loss" => mean_loss(case, nn::nll_loss),
        "mse_loss" => mean_loss(case, nn::mse_loss),
        "l1_loss" => mean_loss(case, nn::l1_loss),
        "binary_cross_entropy_with_logits" => mean_loss(case, nn::binary_cross_entropy_with_logits),
        "mlp_gelu_cross_entropy" => Some(Box::new(|x| {
            let hidden = nn::linear(&x[0], &x[1], Some(&x[2])).gelu_tanh();
            nn::cross_entropy(&nn::linear(&hidden, &x[3], Some(&x[4])), &x[5])
        })),
        "transpose" => {
            let (a, b) = (int("dim0"), int("dim1"));
            Some(Box::new(move |x| x[0].transpose(a, b)))
        }
        "permute" | "flip" => {
            let (dims, flip) = (axes(case.attrs.get("dims")), case.op == "flip");
            Some(Box::new(move |x| if flip { x[0].flip(&dims) } else { x[0].permute(&dims) }))
        }
        "reshape" | "expand" => {
            let shape: Vec<usize> = case.attrs.get("shape").ints().iter().map(|&d| d as usize).collect();
            let expand = case.op == "expand";
            Some(Box::new(
                move |x| {
                    if expand { x[0].broadcast_to(shape.as_slice()) } else { x[0].reshape(shape.as_slice()) }
                },
            ))
        }
        "flatten" => {
            let (start, end) = (int("start_dim"), int("end_dim"));
            Some(Box::new(move |x| x[0].flatten(start, end)))
        }
        "narrow" => {
            let (dim, start, length) = (int("dim"), size("start"), size("length"));
            Some(Box::new(move |x| x[0].narrow(dim, start, length)))
        }
        "cat" | "stack" => {
            let (dim, cat) = (int("dim"), case.op == "cat");
            Some(Box::new(move |x| if cat { concat(x, dim) } else { stack(x, dim) }))
        }
        "take_along_dim" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].take_along(&x[1], dim)))
        }
        "index_select" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].index_select(dim, &x[1])))
        }
        _ => [
            elementary::function,
            reduced::function,
            ordered::function,
            arranged::function,
            contracted::function,
            losses::function,
            special::function,
        ]
        .iter()
        .find_map(|f| f(case)),
    }
}

/// The float inputs, which gradients are by; the others are captured.
fn split(case: &Case) -> (Vec<Tensor>, Vec<Option<Tensor>>) {
    let tensors = || case.inputs.iter().map(|x| Tensor::from_literal(x.clone()));
    let float = |x: &Tensor| x.dtype().is_float();
    (tensors().filter(float).collect(), tensors().map(|x| (!float(&x)).then_some(x)).collect())
}

fn joined(floats: &[Tensor], others: &[Option<Tensor>]) -> Vec<Tensor> {
    let mut floats = floats.iter();
    others.iter().map(|x| x.clone().unwrap_or_else(|| floats.next().expect("one per gap").clone())).collect()
}

/// The result, and the gradients by the float inputs of its product with the recorded cotangent.
pub fn run(case: &Case, function: Function, compiled: bool) -> tracewright::Result<(Literal, Vec<Literal>)> {
    let (floats, others) = split(case);
    let cotangent = case.cotangents.first().map(|c| Tensor::from_literal(c.clone()));
    let whole = move |floats: Vec<Tensor>| {
        let value = function(&joined(&floats, &others));
        let gradients = cotangent.as_ref().map_or(vec![], |cotangent| {
            let weighed = |x: &Vec<Tensor>| (function(&joined(x, &others)) * cotangent).sum(..);
            grad(weighed)(&floats)
        });
        (value, gradients)
    };
    let (value, gradients) = if compiled { jit(whole).call(floats)? } else { whole(floats) };
    let gradients: tracewright::Result<_> = gradients.iter().map(Tensor::to_literal).collect();
    Ok((value.to_literal()?, gradients?))
}

/// As [`run`], as one of several examples, that differ in their floats or in all inputs.
pub fn run_batched(case: &Case, function: Function, integers: bool) -> tracewright::Result<(Literal, Vec<Literal>)> {
    let (floats, others) = split(case);
    let cotangent = case.cotangents.first().map(|c| Tensor::from_literal(c.clone()));
    let whole = move |(floats, others, _): &(Vec<Tensor>, Vec<Option<Tensor>>, Tensor)| {
        let value = function(&joined(floats, others));
        let gradients = cotangent.as_ref().map_or(vec![], |cotangent| {
            let weighed = |x: &Vec<Tensor>| (function(&joined(x, others)) * cotangent).sum(..);
            grad(weighed)(floats)
        });
        (value, gradients)
    };
    // Examples along the last axis, and each result has them there.
    let turned = |x: &Tensor| x.flip(&(0..x.shape().rank() as isize).collect::<Vec<_>>());
    let examples = |x: &Tensor| stack(&[turned(x), x.clone(), turned(x)], -1);
    let floats: Vec<Tensor> = floats.iter().map(examples).collect();
    let others: Vec<_> = others.into_iter().map(|x| x.map(|x| if integers { examples(&x) } else { x })).collect();
    let axes = move || (-1, integers.then_some(-1), 0);
    // There are three examples also where nothing is taken.
    let three = Tensor::from([0.0f32; 3]);
    let batched = move |x, y| vmap::with(axes(), -1, &whole)(&(x, y, three.clone()));
    let batched = jit(move |x: Vec<Tensor>, y: Vec<Option<Tensor>>| batched(x, y));
    let (value, gradients) = batched.call(floats, others)?;
    let own = |t: &Tensor| t.select(-1, 1).to_literal();
    let gradients: tracewright::Result<_> = gradients.iter().map(own).collect();
    Ok((own(&value)?, gradients?))
}

/// Against the recorded values; what can cancel is as large as the operands' product, or the cotangent times the result.
pub fn compare(case: &Case, got: &(Literal, Vec<Literal>)) -> Option<String> {
    let largest = |x: &Literal| x.iter().map(|v| v.as_f64().abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let length = case.inputs.iter().map(Literal::numel).max().unwrap_or(0);
    let products: f64 = if case.op == "matmul" { case.inputs.iter().map(largest).product() } else { 0.0 };
    let tolerance = |scale: f64| Tolerance { class: case.class, ulps: 4, length, scale: scale.max(products) };
    if let Some(what) = difference(&case.outputs[0], &got.0, &tolerance(largest(&case.outputs[0]))) {
        return Some(what);
    }
    let flowing = case.cotangents.iter().zip(&case.outputs).map(|(c, y)| largest(c) * largest(y)).fold(0.0, f64::max);
    let wanted = case.gradients.iter().enumerate().filter_map(|(i, g)| Some((i, g.as_ref()?)));
    for ((i, want), got) in wanted.zip(&got.1) {
        if let Some(what) = difference(want, got, &tolerance(largest(want).max(flowing))) {
            return Some(format!("gradient {i}: {what}"));
        }
    }
    None
}

fn check(run: impl Fn(&Case, Function) -> tracewright::Result<(Literal, Vec<Literal>)>) {
    let cases = cases();
    let (mut wrong, mut run_cases) = (Vec::new(), 0);
    for case in &cases {
        let function = function(case);
        assert!(!(function.is_some() && ABSENT.contains(&case.op.as_str())), "{} is there", case.op);
        let Some(function) = function else { continue };
        run_cases += 1;
        match run(case, function) {
            Ok(got) => wrong.extend(compare(case, &got).map(|what| format!("{}: {what}", case.name))),
            Err(e) => wrong.push(format!("{}: {e}", case.name)),
        }
    }
    println!("{run_cases} of {} recorded calls are offered", cases.len());
    assert!(run_cases >= 420, "only {run_cases} cases ran");
    assert!(wrong.is_empty(), "{} of {run_cases} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn eager_functions_agree() {
    check(|case, f| run(case, f, false));
}

#[test]
fn compiled_functions_agree() {
    check(|case, f| run(case, f, true));
}

#[test]
fn batched_functions_agree() {
    check(|case, f| run_batched(case, f, false));
    check(|case, f| run_batched(case, f, true));
}

#[test]
fn every_function_is_offered_or_listed() {
    for case in cases() {
        let variant = ["reduction", "label_smoothing", "keepdim", "normalized_shape"]
            .iter()
            .any(|k| case.attrs.find(k).is_some());
        let known = function(&case).is_some() || ABSENT.contains(&case.op.as_str()) || variant;
        assert!(known, "{}: nothing is known about `{}`", case.name, case.op);
    }
}
