//! An op of your own, step by step: the attraction between `n` bodies,
//!
//! ```text
//! a[i] = sum over j of  m[j] (x[j] - x[i]) / (|x[j] - x[i]|² + softening²)^(3/2)
//! ```
//!
//! As a composition of tensors this takes memory for all `n²` pairs, forward and backward; as an op it takes none. This is
//! what to write for one:
//!
//! 1. **A struct** with the op's attributes, [`Attraction`], and for it one `impl CustomOp` with
//! 2. **a name** with a dot in it and, from the day that the op means something else, another version. `PURE` says that
//!    it has no effects;
//! 3. **the attributes**, there and back, as text can hold them;
//! 4. **the type rule**. Extents are [`Dim`]s, which may be symbols: compare them, do not ask for numbers;
//! 5. **`eval`**, the values on host data. Write it to be read: everything else is tested against it;
//! 6. **a gradient** in terms of tensors, or, as here, of another op of ours, [`Pull`], with two results. Without a rule for
//!    *that* op, a second derivative is an error that names it;
//! 7. **batching**, for `vmap`. Here the op itself takes any number of axes in front, so the rule only moves axes;
//! 8. **code for the CPU**, over slices, row by row, so that rows run on several threads.
//!
//! Only 1 to 5 must be there. Then [`attraction`] is a function of tensors as any other: eager, in `jit`, in `grad`, in
//! `vmap`. The tests of this crate show how to test an op: its code against `eval`, its gradient against differences.

use std::ops::Range;
use tracewright::custom::{Attr, AttrReader, Batching, Call, CpuBody, CustomOp, Fault, Reverse, call};
use tracewright::{DType, Dim, Literal, Tensor, Type};

/// The attraction on each body, for positions `x` of shape `[.., n, d]` and masses `m` of shape `[.., n]`.
#[track_caller]
pub fn attraction(x: &Tensor, m: &Tensor, softening: f32) -> Tensor {
    let [a] = call(&Attraction { softening }, &[x, m]);
    a
}

/// The op behind [`attraction`].
#[derive(Clone)]
pub struct Attraction {
    /// Keeps the attraction of bodies at one place finite.
    pub softening: f32,
}

impl CustomOp for Attraction {
    const NAME: &'static str = "example.attraction";
    const PURE: bool = true;

    fn attributes(&self) -> Vec<(&'static str, Attr)> {
        vec![("softening", self.softening.into())]
    }
    fn from_attributes(from: &mut AttrReader) -> Result<Attraction, Fault> {
        Ok(Attraction { softening: from.take("softening")? })
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        let [x, m] = operands else { return Err(format!("takes positions and masses, not {operands:?}").into()) };
        bodies(x, m)?;
        Ok(vec![(*x).clone()])
    }

    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let [x, m] = operands else { unreachable!("the type rule asks for two") };
        let (systems, n, d) = extents(x.dims());
        let (positions, masses) = (x.as_slice::<f32>(), m.as_slice::<f32>());
        let mut a = vec![0.0f32; positions.len()];
        for s in 0..systems {
            for i in 0..n {
                for k in 0..d {
                    let sum = (0..n).map(|j| {
                        let r: Vec<f64> = (0..d).map(|k| difference(positions, (s * n + i, s * n + j), d, k)).collect();
                        let square: f64 = r.iter().map(|r| r * r).sum::<f64>() + f64::from(self.softening).powi(2);
                        f64::from(masses[s * n + j]) * r[k] / square.powf(1.5)
                    });
                    a[(s * n + i) * d + k] = sum.sum::<f64>() as f32;
                }
            }
        }
        Ok(vec![Literal::from_vec(x.dims(), a)])
    }

    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        let [x, m] = cx.operands else { return None };
        let [by_x, by_m] = call(&Pull { softening: self.softening }, &[x, m, &cx.cotangents[0]]);
        Some(vec![Some(by_x), Some(by_m)])
    }

    fn batch(&self, cx: &Batching<'_>) -> Option<Vec<Tensor>> {
        Some(vec![attraction(&cx.in_front(0), &cx.in_front(1), self.softening)])
    }

    fn cpu() -> Option<CpuBody<Attraction>> {
        let run = |op: &Attraction, call: &mut Call<'_>| {
            let (x, m, a) = (call.operand::<f32>(0), call.operand::<f32>(1), call.result::<f32>(0));
            let (_, n, d) = extents(call.dims(0));
            for (at, body) in asked_for(call, n).enumerate() {
                let system = body / n * n;
                for j in system..system + n {
                    let (square, weight) = weights(x, (body, j), d, op.softening);
                    for k in 0..d {
                        a[at * d + k] += m[j] * weight / square * (x[j * d + k] - x[body * d + k]);
                    }
                }
            }
            Ok(())
        };
        Some(CpuBody::rows(run, |_, dims| work_per_row(dims[0])))
    }
}

/// The gradient of [`Attraction`] by its operands, as an op of its own: of positions, masses and the gradient by the result.
#[derive(Clone)]
pub struct Pull {
    /// As in [`Attraction`].
    pub softening: f32,
}

impl CustomOp for Pull {
    const NAME: &'static str = "example.attraction_pull";
    const PURE: bool = true;

    fn attributes(&self) -> Vec<(&'static str, Attr)> {
        vec![("softening", self.softening.into())]
    }
    fn from_attributes(from: &mut AttrReader) -> Result<Pull, Fault> {
        Ok(Pull { softening: from.take("softening")? })
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        let [x, m, g] = operands else { return Err(format!("takes three operands, not {operands:?}").into()) };
        bodies(x, m)?;
        if g != x {
            return Err(format!("the gradient is {g}, the positions are {x}").into());
        }
        Ok(vec![(*x).clone(), (*m).clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let [x, m, g] = operands else { unreachable!("the type rule asks for three") };
        let (systems, n, d) = extents(x.dims());
        let (mut by_x, mut by_m) = (vec![0.0; x.numel()], vec![0.0; m.numel()]);
        let slices = [x, m, g].map(|l| l.as_slice::<f32>());
        self.pull(slices, (n, d), 0..systems * n, &mut by_x, &mut by_m);
        Ok(vec![Literal::from_vec(x.dims(), by_x), Literal::from_vec(m.dims(), by_m)])
    }
    fn batch(&self, cx: &Batching<'_>) -> Option<Vec<Tensor>> {
        let [by_x, by_m] = call(self, &[&cx.in_front(0), &cx.in_front(1), &cx.in_front(2)]);
        Some(vec![by_x, by_m])
    }
    fn cpu() -> Option<CpuBody<Pull>> {
        let run = |op: &Pull, call: &mut Call<'_>| {
            let slices = [0, 1, 2].map(|i| call.operand::<f32>(i));
            let (_, n, d) = extents(call.dims(0));
            let (bodies, by_x, by_m) = (asked_for(call, n), call.result::<f32>(0), call.result::<f32>(1));
            op.pull(slices, (n, d), bodies, by_x, by_m);
            Ok(())
        };
        Some(CpuBody::rows(run, |_, dims| 3 * work_per_row(dims[0])))
    }
}

impl Pull {
    /// What the pairs of some bodies add to the gradients of these.
    fn pull(
        &self,
        [x, m, g]: [&[f32]; 3],
        (n, d): (usize, usize),
        bodies: Range<usize>,
        by_x: &mut [f32],
        by_m: &mut [f32],
    ) {
        for (at, body) in bodies.enumerate() {
            let system = body / n * n;
            for j in system..system + n {
                let (square, weight) = weights(x, (body, j), d, self.softening);
                let weight = weight / square;
                let r = |k: usize| x[j * d + k] - x[body * d + k];
                let along = |v: &[f32], b: usize| (0..d).map(|k| v[b * d + k] * r(k)).sum::<f32>();
                let (own, other) = (along(g, body), along(g, j));
                by_m[at] -= weight * other;
                for k in 0..d {
                    let through_own = m[j] * (g[body * d + k] - 3.0 * own / square * r(k));
                    let through_other = m[body] * (g[j * d + k] - 3.0 * other / square * r(k));
                    by_x[at * d + k] += weight * (through_other - through_own);
                }
            }
        }
    }
}

/// Checks positions `[.., n, d]` and masses `[.., n]`.
fn bodies(x: &Type, m: &Type) -> Result<(), Fault> {
    if x.dtype != DType::F32 || m.dtype != DType::F32 {
        return Err(format!("takes f32, not {} and {}", x.dtype, m.dtype).into());
    }
    let all: Vec<&Dim> = x.shape.iter().collect();
    match all.split_last() {
        Some((_, front)) if !front.is_empty() && m.shape.iter().eq(front.iter().copied()) => Ok(()),
        _ => Err(format!("positions {x} and masses {m} are not [.., n, d] and [.., n]").into()),
    }
}

/// Systems, bodies of each, coordinates of each body.
fn extents(dims: &[usize]) -> (usize, usize, usize) {
    let [front @ .., n, d] = dims else { unreachable!("the type rule asks for two axes") };
    (front.iter().product(), *n, *d)
}

/// The bodies, counted over all systems, in the rows that a call asks for: rows are bodies, or whole systems.
fn asked_for(call: &Call<'_>, n: usize) -> Range<usize> {
    let dims = call.dims(0);
    let per_row = if dims.len() == 2 { 1 } else { dims[1..dims.len() - 2].iter().product::<usize>() * n };
    call.rows().start * per_row..call.rows().end * per_row
}

fn work_per_row(dims: &[usize]) -> u64 {
    let (systems, n, d) = extents(dims);
    let pairs = systems * n * n;
    (pairs * (4 * d + 20)) as u64 / (dims[0].max(1) as u64)
}

fn difference(x: &[f32], (i, j): (usize, usize), d: usize, k: usize) -> f64 {
    f64::from(x[j * d + k]) - f64::from(x[i * d + k])
}

/// The softened square of the distance of two bodies, and one over its root.
fn weights(x: &[f32], (i, j): (usize, usize), d: usize, softening: f32) -> (f32, f32) {
    let square = (0..d).map(|k| (x[j * d + k] - x[i * d + k]).powi(2)).sum::<f32>() + softening * softening;
    (square, 1.0 / square.sqrt())
}

/// One step of gradient descent towards masses that explain observed attractions; for `jit`. Yields the new logarithms of
/// the masses, and the loss before the step.
pub fn step(log_masses: Tensor, x: Tensor, observed: Tensor, rate: Tensor) -> (Tensor, Tensor) {
    let loss = |l: &Tensor| (attraction(&x, &l.exp(), 0.1) - &observed).square().mean(..);
    let (value, slope) = tracewright::value_and_grad(loss)(&log_masses);
    (log_masses - rate * slope, value)
}
