//! Functions from mathematics that are composed of others: orthogonal polynomials, and some that have no family.

use super::arg::Arg;
use super::broadcast::{Operands, pointwise};
use super::prim;
use crate::dispatch::{Call, Extents, checked, enter, run};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::Tensor;
use ir::DType;
use std::f64::consts::PI;

/// The next polynomial of a family: `x`, the number `k` of the one before, that one, and the one before that.
type Step = fn(&Tensor, f64, &Tensor, &Tensor) -> Tensor;

/// The polynomial of degree `n` of a family that begins with 1 and `first`.
fn polynomial(x: &Tensor, n: usize, first: fn(&Tensor) -> Tensor, step: Step) -> Tensor {
    let mut before = prim::full_like(x, 1.0);
    if n == 0 {
        return before;
    }
    let mut last = first(x);
    for k in 1..n {
        let next = step(x, k as f64, &last, &before);
        (last, before) = (next, last);
    }
    last
}

macro_rules! polynomials {
    ($($(#[$doc:meta])* $method:ident: $first:expr, $step:expr;)*) => {
        impl Tensor { $(
            $(#[$doc])*
            #[track_caller]
            pub fn $method(&self, n: usize) -> Tensor {
                let name = stringify!($method);
                checked(&[self], || Ok(run(Call::composed(name, &[n as i64], Extents::Symbolic), &[self], &|t| {
                    let dtype = promote::float(t[0].dtype());
                    prim::cast(&polynomial(&prim::cast(&t[0], dtype.accumulator()), n, $first, $step), dtype)
                })))
            }
        )* }
    };
}

const CHEBYSHEV: Step = |x, _, p, before| x * p * 2.0 - before;

polynomials! {
    /// Chebyshev polynomial of the first kind, of degree `n`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).chebyshev_t(3).to_vec::<f32>()?, [26.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    chebyshev_t: |x| x.clone(), CHEBYSHEV;
    /// Chebyshev polynomial of the second kind, of degree `n`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).chebyshev_u(2).to_vec::<f32>()?, [15.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    chebyshev_u: |x| x * 2.0, CHEBYSHEV;
    /// Chebyshev polynomial of the third kind, of degree `n`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).chebyshev_v(2).to_vec::<f32>()?, [11.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    chebyshev_v: |x| x * 2.0 - 1.0, CHEBYSHEV;
    /// Chebyshev polynomial of the fourth kind, of degree `n`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).chebyshev_w(2).to_vec::<f32>()?, [19.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    chebyshev_w: |x| x * 2.0 + 1.0, CHEBYSHEV;
    /// Hermite polynomial of degree `n`, as physicists have it: the leading coefficient is `2^n`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32]).hermite_h(2).to_vec::<f32>()?, [2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    hermite_h: |x| x * 2.0, |x, k, p, before| x * p * 2.0 - before * (2.0 * k);
    /// Hermite polynomial of degree `n`, as statisticians have it: the leading coefficient is 1.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).hermite_he(2).to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    hermite_he: |x| x.clone(), |x, k, p, before| x * p - before * k;
    /// Laguerre polynomial of degree `n`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).laguerre_l(2).to_vec::<f32>()?, [-1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    laguerre_l: |x| 1.0 - x, |x, k, p, before| ((2.0 * k + 1.0 - x) * p - before * k) / (k + 1.0);
    /// Legendre polynomial of degree `n`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).legendre_p(2).to_vec::<f32>()?, [5.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    legendre_p: |x| x.clone(), |x, k, p, before| (x * p * (2.0 * k + 1.0) - before * k) / (k + 1.0);
}

impl Tensor {
    /// Spherical Bessel function of the first kind of order 0: `sin(x) / x`, 1 at 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).spherical_bessel_j0().to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn spherical_bessel_j0(&self) -> Tensor {
        pointwise("spherical_bessel_j0", true, Operands::Float, &[self.into()], &|t| {
            let x = &t[0];
            let is_small = x.abs().lt(0.5);
            // The series at 0, as far as it counts below a half.
            let square = is_small.where_(x, 0.0).square();
            let series = [6.0, 20.0, 42.0, 72.0, 110.0, 156.0, 210.0].into_iter().rev();
            let small = series.fold(prim::full_like(x, 1.0), |sum, c| 1.0 - &square * sum / c);
            let x = is_small.where_(1.0, x);
            is_small.where_(small, x.is_inf().where_(0.0, x.sin() / &x))
        })
    }

    /// Logarithm of the gamma function of `p` dimensions: `log(π) p (p - 1) / 4` and the sum of `lgamma(x - j / 2)` over `j`
    /// below `p`. It is meant for `x` above `(p - 1) / 2`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2.0f32]).mvlgamma(1).to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn mvlgamma(&self, p: usize) -> Tensor {
        checked(&[self], || {
            if p == 0 {
                return Err(Error::new(Code::Argument, "mvlgamma", "there are no dimensions", "one at least"));
            }
            Ok(run(Call::composed("mvlgamma", &[p as i64], Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let x = prim::cast(&t[0], dtype.accumulator());
                let constant = PI.ln() * (p * (p - 1)) as f64 / 4.0;
                let terms = (0..p).map(|j| (&x - j as f64 / 2.0).lgamma());
                prim::cast(&(terms.reduce(|a, b| a + b).expect("a term") + constant), dtype)
            }))
        })
    }

    /// [`Tensor::pow`] in f64, whatever the dtypes are.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2i64, 4]).float_power(-1.0).to_vec::<f64>()?, [0.5, 0.25]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn float_power(&self, exponent: impl Into<Arg>) -> Tensor {
        let _here = enter();
        self.to_dtype(DType::F64).pow(exponent)
    }

    /// A mantissa, whose size is at least a half and below 1, and an exponent (i32), with `x = mantissa * 2^exponent`. Of 0,
    /// infinities and NaN they are the number itself and 0. The exponent counts as a constant in gradients.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let (mantissa, exponent) = Tensor::from([6.0f32, -0.25]).frexp();
    /// assert_eq!(mantissa.to_vec::<f32>()?, [0.75, -0.5]);
    /// assert_eq!(exponent.to_vec::<i32>()?, [3, -1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn frexp(&self) -> (Tensor, Tensor) {
        let call = |part: i64| Call {
            name: "frexp",
            attributes: if part == 0 { &[0] } else { &[1] },
            extents: Extents::Flat,
            scoped: true,
        };
        let part = |part: i64| run(call(part), &[self], &|t| frexp(&t[0], part));
        let _here = enter();
        (part(0), part(1))
    }
}

/// Mantissa, or exponent.
fn frexp(x: &Tensor, part: i64) -> Tensor {
    let dtype = promote::float(x.dtype());
    let wide = prim::cast(x, dtype.accumulator());
    // In f64 every f32 has a full mantissa; the least f64 do not, and are scaled.
    let tiny = 2f64.powi(64);
    let x = prim::cast(&wide, DType::F64);
    let is_tiny = x.abs().lt(f64::MIN_POSITIVE);
    let scaled = is_tiny.where_(&x * tiny, &x).stop_gradient();
    let bits = scaled.bitcast(DType::I64);
    let field = bits.shift_right(52) & 2047;
    let none = x.eq(0.0).logical_or(field.eq(2047));
    let exponent = none.where_(0, field - 1022 - is_tiny.where_(64, 0));
    if part == 1 {
        return prim::cast(&exponent, DType::I32);
    }
    // Two factors, each of which is a number of its own.
    let half = exponent.shift_right(1);
    let power = |e: &Tensor| ((1023 - e) << 52).bitcast(DType::F64);
    prim::cast(&prim::cast(&(&x * power(&half) * power(&(&exponent - &half))), wide.dtype()), dtype)
}
