//! Recorded contractions.

use crate::case::Case;
use crate::functions::Function;
use crate::json::Json;
use tracewright::{Summed, Tensor, einsum, multi_dot};

fn references(x: &[Tensor]) -> Vec<&Tensor> {
    x.iter().collect()
}

fn binary(f: fn(&Tensor, &Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0], &x[1])))
}

/// The function of `contracted.jsonl` with that name.
pub fn function(case: &Case) -> Option<Function> {
    let ints = |key: &str| -> Vec<isize> { case.attrs.get(key).ints().iter().map(|&n| n as isize).collect() };
    let float = |key: &str| match case.attrs.get(key) {
        Json::Float(x) => *x,
        other => panic!("{}: {key} is {other:?}", case.name),
    };
    let scaled = |f: fn(&Tensor, &Tensor, &Tensor, f64, f64) -> Tensor| -> Option<Function> {
        let (beta, alpha) = (float("beta"), float("alpha"));
        Some(Box::new(move |x| f(&x[0], &x[1], &x[2], beta, alpha)))
    };
    match case.op.as_str() {
        "einsum" => {
            let equation = case.attrs.get("equation").text().to_string();
            Some(Box::new(move |x| einsum(&equation, &references(x))))
        }
        "tensordot" => {
            let axes = match case.attrs.find("axes") {
                Some(n) => Summed::Last(n.int() as usize),
                None => Summed::Pairs(ints("left"), ints("right")),
            };
            Some(Box::new(move |x| x[0].tensordot(&x[1], axes.clone())))
        }
        "dot" => binary(Tensor::dot),
        "outer" => binary(Tensor::outer),
        "inner" => binary(Tensor::inner),
        "kron" => binary(Tensor::kron),
        "mv" => binary(Tensor::mv),
        "mm" => binary(Tensor::mm),
        "bmm" => binary(Tensor::bmm),
        "addmm" => scaled(|x, a, b, beta, alpha| x.addmm(a, b, beta, alpha)),
        "addmv" => scaled(|x, a, b, beta, alpha| x.addmv(a, b, beta, alpha)),
        "addr" => scaled(|x, a, b, beta, alpha| x.addr(a, b, beta, alpha)),
        "baddbmm" => scaled(|x, a, b, beta, alpha| x.baddbmm(a, b, beta, alpha)),
        "addbmm" => scaled(|x, a, b, beta, alpha| x.addbmm(a, b, beta, alpha)),
        "multi_dot" => Some(Box::new(|x| multi_dot(&references(x)))),
        "matrix_power" => {
            let n = case.attrs.get("n").int() as usize;
            Some(Box::new(move |x| x[0].matrix_power(n)))
        }
        _ => None,
    }
}
