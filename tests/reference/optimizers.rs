//! Optimisers: several steps, eager and as one compiled step with the state updated in place.

use crate::case::{Case, Tolerance, difference, read};
use crate::json::Json;
use ir::Literal;
use tracewright::optim::{Adam, AdamW, Sgd, clip_grad_norm};
use tracewright::{Result, Tensor, Tree, jit};

type Parameters = Vec<Tensor>;

fn float(case: &Case, key: &str) -> f64 {
    match case.attrs.get(key) {
        Json::Float(x) => *x,
        other => panic!("{}: {key} is {other:?}", case.name),
    }
}

/// Runs all steps; yields the parameters after each.
fn steps<O: Tree + Send + Sync + 'static>(
    case: &Case,
    optimizer: impl Fn(&Parameters) -> O,
    update: fn(O, Parameters, Parameters) -> (Parameters, O),
    compiled: bool,
) -> Result<Vec<Literal>> {
    let count = case.attrs.get("parameters").int() as usize;
    let mut tensors = case.inputs.iter().map(|x| Tensor::from_literal(x.clone()));
    let mut parameters: Parameters = tensors.by_ref().take(count).collect();
    let gradients: Parameters = tensors.collect();
    let mut outputs = Vec::new();
    let mut state = (optimizer(&parameters), parameters.clone());
    let step = jit(move |(optimizer, parameters): (O, Parameters), gradients: Parameters| {
        let (parameters, optimizer) = update(optimizer, parameters, gradients);
        ((optimizer, parameters.clone()), parameters)
    });
    for gradients in gradients.chunks(count) {
        if compiled {
            parameters = step.call_mut(&mut state, gradients.to_vec())?;
        } else {
            let (optimizer, before) = state;
            let (after, optimizer) = update(optimizer, before, gradients.to_vec());
            parameters = after.clone();
            state = (optimizer, after);
        }
        for p in &parameters {
            outputs.push(p.to_literal()?);
        }
    }
    Ok(outputs)
}

/// What the case gives, `None` for a setting that is not offered.
fn run(case: &Case, compiled: bool) -> Option<Result<Vec<Literal>>> {
    let number = |key: &str| float(case, key);
    let betas = || match case.attrs.get("betas").list() {
        [Json::Float(a), Json::Float(b)] => (*a, *b),
        other => panic!("{}: betas are {other:?}", case.name),
    };
    match case.op.as_str() {
        "adamw" => {
            let make = |p: &Parameters| {
                let (a, b) = betas();
                AdamW::new(p, number("lr")).betas(a, b).eps(number("eps")).weight_decay(number("weight_decay"))
            };
            Some(steps(case, make, |o, p, g| o.update(p, g), compiled))
        }
        "adam" => {
            let make = |p: &Parameters| {
                let (a, b) = betas();
                Adam::new(p, number("lr")).betas(a, b).eps(number("eps")).weight_decay(number("weight_decay"))
            };
            Some(steps(case, make, |o, p, g| o.update(p, g), compiled))
        }
        "sgd" if number("dampening") != 0.0 => None,
        "sgd" => {
            let nesterov = *case.attrs.get("nesterov") == Json::Bool(true);
            let make = |p: &Parameters| {
                let sgd = Sgd::new(number("lr")).weight_decay(number("weight_decay"));
                if number("momentum") == 0.0 { sgd } else { sgd.momentum(p, number("momentum"), nesterov) }
            };
            Some(steps(case, make, |o, p, g| o.update(p, g), compiled))
        }
        "clip_grad_norm" => {
            let gradients: Parameters = case.inputs.iter().map(|x| Tensor::from_literal(x.clone())).collect();
            let limit = number("max_norm");
            let clip = move |g: Parameters| clip_grad_norm(g, limit);
            let result = if compiled { jit(clip).call(gradients) } else { Ok(clip(gradients)) };
            Some(result.and_then(|(gradients, norm)| gradients.iter().chain([&norm]).map(Tensor::to_literal).collect()))
        }
        other => panic!("unknown optimiser `{other}`"),
    }
}

fn check(compiled: bool) {
    let (mut wrong, mut run_cases) = (Vec::new(), 0);
    for case in read("optimizers.jsonl") {
        let Some(result) = run(&case, compiled) else { continue };
        run_cases += 1;
        let got = match result {
            Ok(got) => got,
            Err(e) => {
                wrong.push(format!("{}: {e}", case.name));
                continue;
            }
        };
        assert_eq!(got.len(), case.outputs.len(), "{}", case.name);
        for (i, (want, got)) in case.outputs.iter().zip(&got).enumerate() {
            let scale = want.iter().map(|v| v.as_f64().abs()).fold(0.0, f64::max);
            let tolerance = Tolerance { class: case.class, ulps: 0, length: 8, scale };
            wrong.extend(difference(want, got, &tolerance).map(|what| format!("{}: output {i}: {what}", case.name)));
        }
    }
    assert!(run_cases >= 24, "only {run_cases} cases ran");
    assert!(wrong.is_empty(), "{} differences in {run_cases} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn eager_steps_agree() {
    check(false);
}

#[test]
fn compiled_steps_agree() {
    check(true);
}
