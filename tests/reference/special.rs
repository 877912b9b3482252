//! Which function a recorded special function is.

use crate::case::Case;
use crate::functions::Function;
use crate::json::Json;
use tracewright::{DType, Tensor, nn, signal};

fn unary(f: fn(&Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0])))
}

fn binary(f: fn(&Tensor, &Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0], &x[1])))
}

/// The function of `special.jsonl` with that name.
pub fn function(case: &Case) -> Option<Function> {
    let size = |key: &str| case.attrs.get(key).int() as usize;
    Some(match case.op.as_str() {
        "i0" => return unary(Tensor::i0),
        "i0e" => return unary(Tensor::i0e),
        "i1" => return unary(Tensor::i1),
        "i1e" => return unary(Tensor::i1e),
        "spherical_bessel_j0" => return unary(Tensor::spherical_bessel_j0),
        "frexp" => return unary(|x| x.frexp().0),
        "frexp_exponent" => return unary(|x| x.frexp().1),
        "k0" => return unary(Tensor::k0),
        "k0e" => return unary(Tensor::k0e),
        "k1" => return unary(Tensor::k1),
        "k1e" => return unary(Tensor::k1e),
        "erfcx" => return unary(Tensor::erfcx),
        "log_ndtr" => return unary(Tensor::log_ndtr),
        "zeta" => return binary(|x, y| x.zeta(y)),
        "polygamma" => {
            let n = size("n");
            Box::new(move |x| x[0].polygamma(n))
        }
        "float_power" => return binary(|x, y| x.float_power(y)),
        "bilinear" => Box::new(|x| nn::bilinear(&x[0], &x[1], &x[2], Some(&x[3]))),
        "mvlgamma" => {
            let p = size("p");
            Box::new(move |x| x[0].mvlgamma(p))
        }
        "chebyshev_t" | "chebyshev_u" | "chebyshev_v" | "chebyshev_w" | "hermite_h" | "hermite_he" | "laguerre_l"
        | "legendre_p" => {
            let f: fn(&Tensor, usize) -> Tensor = match case.op.as_str() {
                "chebyshev_t" => Tensor::chebyshev_t,
                "chebyshev_u" => Tensor::chebyshev_u,
                "chebyshev_v" => Tensor::chebyshev_v,
                "chebyshev_w" => Tensor::chebyshev_w,
                "hermite_h" => Tensor::hermite_h,
                "hermite_he" => Tensor::hermite_he,
                "laguerre_l" => Tensor::laguerre_l,
                _ => Tensor::legendre_p,
            };
            let n = size("n");
            Box::new(move |x| f(&x[0], n))
        }
        name => return window(name, case),
    })
}

/// A window, which has no input that counts.
fn window(name: &str, case: &Case) -> Option<Function> {
    let size = |key: &str| case.attrs.get(key).int() as usize;
    let f: fn(usize, f64, bool) -> Tensor = match name {
        "hann" => |n, _, periodic| signal::hann(n, periodic, DType::F64),
        "hamming" => |n, _, periodic| signal::hamming(n, periodic, DType::F64),
        "blackman" => |n, _, periodic| signal::blackman(n, periodic, DType::F64),
        "nuttall" => |n, _, periodic| signal::nuttall(n, periodic, DType::F64),
        "bartlett" => |n, _, periodic| signal::bartlett(n, periodic, DType::F64),
        "cosine" => |n, _, periodic| signal::cosine(n, periodic, DType::F64),
        "general_hamming" => |n, alpha, periodic| signal::general_hamming(n, alpha, periodic, DType::F64),
        "exponential" => |n, tau, periodic| signal::exponential(n, tau, periodic, DType::F64),
        "gaussian" => |n, std, periodic| signal::gaussian(n, std, periodic, DType::F64),
        "kaiser" => |n, beta, periodic| signal::kaiser(n, beta, periodic, DType::F64),
        _ => return None,
    };
    let parameter = match case.attrs.find("parameter") {
        Some(Json::Float(x)) => *x,
        _ => 0.0,
    };
    let (n, periodic) = (size("n"), size("periodic") == 1);
    Some(Box::new(move |_| f(n, parameter, periodic)))
}
