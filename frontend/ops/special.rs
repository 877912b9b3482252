//! Special functions: orthogonal polynomials, and some that have no family; all are compositions.

use super::arg::Arg;
use super::broadcast::{Operands, pointwise};
use super::chebyshev::{ERFCX, series};
use super::prim;
use crate::dispatch::{Call, Extents, checked, enter, run};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::Tensor;
use ir::DType;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

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

/// `exp(x²) erfc(x)`.
fn erfcx(x: &Tensor) -> Tensor {
    let size = x.abs();
    let t = (&size - 3.75) / (&size + 3.75);
    // The quotient of infinities is 1 here.
    let scaled = size.is_inf().where_(0.0, series(&ERFCX, &size.is_inf().where_(1.0, t)) / (1.0 + &size * 2.0));
    let below = x.lt(0.0);
    below.where_(below.where_(x, 0.0).square().exp() * 2.0 - &scaled, scaled)
}

impl Tensor {
    /// `exp(x²) erfc(x)`, which does not vanish.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([0.0f64, 100.0]).erfcx().to_vec::<f64>()?;
    /// assert!((y[0] - 1.0).abs() < 1e-15 && (y[1] - 0.005641613782989433).abs() < 1e-17);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn erfcx(&self) -> Tensor {
        pointwise("erfcx", true, Operands::Float, &[self.into()], &|t| {
            prim::cast(&erfcx(&prim::cast(&t[0], t[0].dtype().accumulator())), t[0].dtype())
        })
    }

    /// The logarithm of [`Tensor::ndtr`], without loss where that vanishes.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([0.0f64, -40.0]).log_ndtr().to_vec::<f64>()?;
    /// assert!((y[0] + 2.0f64.ln()).abs() < 1e-15 && (y[1] + 804.6084420137538).abs() < 1e-12);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn log_ndtr(&self) -> Tensor {
        pointwise("log_ndtr", true, Operands::Float, &[self.into()], &|t| {
            let x = prim::cast(&t[0], t[0].dtype().accumulator());
            let is_low = x.lt(-1.0);
            let (low, high) = (is_low.where_(&x, -1.0), is_low.where_(-1.0, &x));
            let low = (erfcx(&(&low * -FRAC_1_SQRT_2)) * 0.5).log() - low.square() * 0.5;
            let high = ((high * FRAC_1_SQRT_2).erfc() * -0.5).log1p();
            prim::cast(&is_low.where_(low, high), t[0].dtype())
        })
    }

    /// The Hurwitz zeta function: the sum over `k` from 0 on of `(k + q)^-s`, for `s` above 1 and `q` above 0; NaN elsewhere.
    ///
    /// Nine terms are added, the rest by the formula of Euler and Maclaurin.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([2.0f64]).zeta(1.0).to_vec::<f64>()?;
    /// assert!((y[0] - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn zeta(&self, q: impl Into<Arg>) -> Tensor {
        pointwise("zeta", true, Operands::Float, &[self.into(), q.into()], &|t| {
            let dtype = t[0].dtype();
            let [s, q] = [0, 1].map(|i| prim::cast(&t[i], dtype.accumulator()));
            prim::cast(&zeta(&s, &q), dtype)
        })
    }

    /// The `n`-th derivative of [`Tensor::digamma`], for elements above 0; NaN below, where it is not the function itself.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([1.0f64]).polygamma(1).to_vec::<f64>()?;
    /// assert!((y[0] - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `n` is above 170, where the factor `n!` is infinite.
    #[track_caller]
    pub fn polygamma(&self, n: usize) -> Tensor {
        checked(&[self], || {
            if n > 170 {
                return Err(Error::new(Code::Argument, "polygamma", format!("derivative {n}"), "at most 170"));
            }
            if n == 0 {
                return Ok(self.digamma());
            }
            Ok(run(Call::composed("polygamma", &[n as i64], Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let x = prim::cast(&t[0], dtype.accumulator());
                let factorial: f64 = (1..=n).map(|k| k as f64).product();
                let sign = if n.is_multiple_of(2) { -1.0 } else { 1.0 };
                prim::cast(&(zeta(&prim::full_like(&x, (n + 1) as f64), &x) * (sign * factorial)), dtype)
            }))
        })
    }

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
            let x = &prim::cast(&t[0], t[0].dtype().accumulator());
            let is_small = x.abs().lt(0.5);
            // The series at 0, as far as it counts below a half.
            let square = is_small.where_(x, 0.0).square();
            let series = [6.0, 20.0, 42.0, 72.0, 110.0, 156.0, 210.0].into_iter().rev();
            let small = series.fold(prim::full_like(x, 1.0), |sum, c| 1.0 - &square * sum / c);
            let x = is_small.where_(1.0, x);
            prim::cast(&is_small.where_(small, x.is_inf().where_(0.0, x.sin() / &x)), t[0].dtype())
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

/// `B(2j) / (2j)!` for `j` from 1 on, with the numbers of Bernoulli.
const BERNOULLI: [f64; 12] = [
    1.0 / 12.0,
    -1.0 / 720.0,
    1.0 / 30240.0,
    -1.0 / 1209600.0,
    1.0 / 47900160.0,
    -691.0 / 1307674368000.0,
    1.0 / 74724249600.0,
    -3617.0 / 10670622842880000.0,
    43867.0 / 5109094217170944000.0,
    -174611.0 / 802857662698291200000.0,
    77683.0 / 14101100039391805440000.0,
    -236364091.0 / 1693824136731743669452800000.0,
];

/// See [`Tensor::zeta`].
fn zeta(s: &Tensor, q: &Tensor) -> Tensor {
    const TERMS: usize = 9;
    let legal = s.gt(1.0).logical_and(q.gt(0.0));
    let (s, q) = (legal.where_(s, 2.0), legal.where_(q, 1.0));
    let minus = -&s;
    let sum = (0..TERMS).map(|k| (&q + k as f64).pow(&minus)).reduce(|a, b| a + b).expect("there are terms");
    let a = &q + TERMS as f64;
    let last = a.pow(&minus);
    let mut rest = &a * &last / (&s - 1.0) + &last * 0.5;
    // s (s + 1) … (s + 2j - 2) a^(1 - s - 2j)
    let mut factor = &s * &last / &a;
    for (j, b) in BERNOULLI.iter().enumerate() {
        rest += &factor * *b;
        let k = (2 * j + 1) as f64;
        factor = factor * (&s + k) * (&s + k + 1.0) / a.square();
    }
    legal.where_(sum + rest, f64::NAN)
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
