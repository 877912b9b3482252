//! Which function a recorded special function is.

use crate::case::Case;
use crate::functions::Function;
use tracewright::{Tensor, nn};

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
        _ => return None,
    })
}
