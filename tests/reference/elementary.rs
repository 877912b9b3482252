//! Which method a recorded pointwise function or activation is.

use crate::case::Case;
use crate::json::Json;
use tracewright::Tensor;

type Function = Box<dyn Fn(&[Tensor]) -> Tensor + Send + Sync>;

fn unary(f: fn(&Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0])))
}

fn binary(f: fn(&Tensor, &Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0], &x[1])))
}

/// The function of `elementary.jsonl` with that name.
pub fn function(case: &Case) -> Option<Function> {
    let float = |key: &str| match case.attrs.get(key) {
        Json::Float(x) => *x,
        other => panic!("{}: {key} is {other:?}", case.name),
    };
    let given = |key: &str| case.attrs.find(key).map(|_| float(key));
    match case.op.as_str() {
        "exp2" => unary(Tensor::exp2),
        "expm1" => unary(Tensor::expm1),
        "tan" => unary(Tensor::tan),
        "atan" => unary(Tensor::atan),
        "sinh" => unary(Tensor::sinh),
        "cosh" => unary(Tensor::cosh),
        "asinh" => unary(Tensor::asinh),
        "erfc" => unary(Tensor::erfc),
        "trunc" => unary(Tensor::trunc),
        "frac" => unary(Tensor::frac),
        "sign" => unary(Tensor::sign),
        "floor" => unary(Tensor::floor),
        "ceil" => unary(Tensor::ceil),
        "round" => unary(Tensor::round),
        "sinc" => unary(Tensor::sinc),
        "deg2rad" => unary(Tensor::deg2rad),
        "rad2deg" => unary(Tensor::rad2deg),
        "asin" => unary(Tensor::asin),
        "acos" => unary(Tensor::acos),
        "atanh" => unary(Tensor::atanh),
        "erfinv" => unary(Tensor::erfinv),
        "log2" => unary(Tensor::log2),
        "log10" => unary(Tensor::log10),
        "lgamma" => unary(Tensor::lgamma),
        "digamma" => unary(Tensor::digamma),
        "acosh" => unary(Tensor::acosh),
        "logit" => unary(Tensor::logit),
        "signbit" => unary(Tensor::signbit),
        "relu6" => unary(Tensor::relu6),
        "selu" => unary(Tensor::selu),
        "mish" => unary(Tensor::mish),
        "softsign" => unary(Tensor::softsign),
        "hardsigmoid" => unary(Tensor::hardsigmoid),
        "hardswish" => unary(Tensor::hardswish),
        "tanhshrink" => unary(Tensor::tanhshrink),
        "log_sigmoid" => unary(Tensor::log_sigmoid),
        "logsigmoid" => unary(Tensor::log_sigmoid),
        "isinf" => unary(Tensor::is_inf),
        "isposinf" => unary(Tensor::is_posinf),
        "isneginf" => unary(Tensor::is_neginf),
        "entr" => unary(Tensor::entr),
        "ndtr" => unary(Tensor::ndtr),
        "ldexp" => binary(|x, y| x.ldexp(y)),
        "isclose" => {
            let (relative, absolute) = (float("rtol"), float("atol"));
            Some(Box::new(move |x| x[0].is_close(&x[1], relative, absolute)))
        }
        "addcmul" | "addcdiv" => {
            let (value, product) = (float("value"), case.op == "addcmul");
            Some(Box::new(move |x| match product {
                true => x[0].addcmul(&x[1], &x[2], value),
                false => x[0].addcdiv(&x[1], &x[2], value),
            }))
        }
        "isfinite" => unary(Tensor::is_finite),
        "atan2" => binary(|x, y| x.atan2(y)),
        "hypot" => binary(|x, y| x.hypot(y)),
        "copysign" => binary(|x, y| x.copysign(y)),
        "logaddexp" => binary(|x, y| x.logaddexp(y)),
        "logaddexp2" => binary(|x, y| x.logaddexp2(y)),
        "fmax" => binary(|x, y| x.fmax(y)),
        "fmin" => binary(|x, y| x.fmin(y)),
        "xlogy" => binary(|x, y| x.xlogy(y)),
        "xlog1py" => binary(|x, y| x.xlog1py(y)),
        "fmod" => binary(|x, y| x.fmod(y)),
        "remainder" => binary(|x, y| x.remainder(y)),
        "floor_divide" => binary(|x, y| x.floor_divide(y)),
        "nextafter" => binary(|x, y| x.nextafter(y)),
        "heaviside" => binary(|x, y| x.heaviside(y)),
        "prelu" => binary(|x, y| x.prelu(y)),
        "lerp" => Some(Box::new(|x| x[0].lerp(&x[1], &x[2]))),
        "nan_to_num" => {
            let (nan, above, below) = (given("nan").unwrap_or(0.0), given("posinf"), given("neginf"));
            Some(Box::new(move |x| x[0].nan_to_num(nan, above, below)))
        }
        "elu" | "celu" => {
            let (alpha, celu) = (float("alpha"), case.op == "celu");
            Some(Box::new(move |x| if celu { x[0].celu(alpha) } else { x[0].elu(alpha) }))
        }
        "leaky_relu" => {
            let slope = float("negative_slope");
            Some(Box::new(move |x| x[0].leaky_relu(slope)))
        }
        "hardtanh" => {
            let (low, high) = (float("min_val"), float("max_val"));
            Some(Box::new(move |x| x[0].hardtanh(low, high)))
        }
        "softshrink" | "hardshrink" => {
            let (lambda, soft) = (float("lambd"), case.op == "softshrink");
            Some(Box::new(move |x| if soft { x[0].softshrink(lambda) } else { x[0].hardshrink(lambda) }))
        }
        "threshold" => {
            let (at, value) = (float("threshold"), float("value"));
            Some(Box::new(move |x| x[0].threshold(at, value)))
        }
        "rrelu" => {
            let (low, high) = (float("lower"), float("upper"));
            Some(Box::new(move |x| x[0].rrelu(low, high)))
        }
        "softplus" => {
            let (beta, threshold) = (float("beta"), float("threshold"));
            Some(Box::new(move |x| x[0].softplus_with(beta, threshold)))
        }
        "glu" | "softmin" => {
            let (dim, glu) = (case.attrs.get("dim").int() as isize, case.op == "glu");
            Some(Box::new(move |x| if glu { x[0].glu(dim) } else { x[0].softmin(dim) }))
        }
        _ => None,
    }
}
