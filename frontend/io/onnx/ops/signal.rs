//! Windows, Fourier transforms, filters of the mel scale.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::io::onnx::value::integer;
use crate::tensor::Tensor;
use crate::{DType, Literal, Scalar, concat, extent, signal};
use std::f64::consts::TAU;

pub(super) const OPS: &[Op] = &[
    Op::new("HannWindow", &[17], |c| window(c, &|n, p| signal::general_cosine(n, &[0.5, 0.5], p, DType::F64))),
    Op::new("HammingWindow", &[17], |c| {
        window(c, &|n, p| signal::general_cosine(n, &[25.0 / 46.0, 21.0 / 46.0], p, DType::F64))
    }),
    Op::new("BlackmanWindow", &[17], |c| {
        window(c, &|n, p| signal::general_cosine(n, &[0.42, 0.5, 0.08], p, DType::F64))
    }),
    Op::new("MelWeightMatrix", &[17], mel),
    Op::new("DFT", &[17, 20], |c| {
        let x = c.tensor(0)?;
        let rank = x.try_shape()?.rank();
        let axis = match c.version() {
            17..20 => c.int("axis", 1),
            _ if c.has(2) => integer(c.scalar(2)?),
            _ => -2,
        };
        let axis = c.axis(axis, rank)?;
        let (inverse, onesided) = (c.flag("inverse", false), c.flag("onesided", false));
        let length = match (c.has(1), extent(&x.try_shape()?[axis]) as i64) {
            (true, _) => integer(c.scalar(1)?),
            (false, n) if inverse && onesided => 2 * (n - 1),
            (false, n) => n,
        };
        let Ok(length) = usize::try_from(length) else { return Err(c.fail("the length is negative", "1 or more")) };
        one(transform(c, &x, axis, length, inverse, onesided)?)
    }),
    Op::new("STFT", &[17], |c| {
        let x = c.tensor(0)?;
        let step = integer(c.scalar(1)?);
        let window = c.maybe(2)?;
        let size = match (&window, c.has(3)) {
            (_, true) => usize::try_from(integer(c.scalar(3)?)).unwrap_or(0),
            (Some(w), _) => w.try_shape()?.first().map_or(0, extent),
            (None, false) => return Err(c.fail("there is no length of frames", "a window or a length")),
        };
        let shape = x.try_shape()?;
        if !(2..=3).contains(&shape.rank()) {
            return Err(
                c.fail(format!("the signal has rank {}", shape.rank()), "[batch, length] or [batch, length, parts]")
            );
        }
        let x = if shape.rank() == 2 { x.unsqueeze(-1) } else { x };
        let n = extent(&shape[1]);
        if step < 1 || size == 0 || size > n {
            return Err(c.fail(format!("frames of {size} by {step} of a signal of {n}"), "frames inside of it"));
        }
        // [batch, frames, parts, size]
        let frames = x.unfold(1, size, step as usize);
        let frames = match &window {
            Some(w) => frames * w,
            None => frames,
        };
        one(transform(c, &frames.transpose(-1, -2), 2, size, false, c.flag("onesided", true))?)
    }),
];

fn window(c: &Call, make: &dyn Fn(usize, bool) -> Tensor) -> Out {
    let dtype = c.dtype("output_datatype")?.unwrap_or(DType::F32);
    match usize::try_from(integer(c.scalar(0)?)) {
        Ok(n) if n <= 1 << 28 => one(make(n, c.flag("periodic", true)).to_dtype(dtype)),
        _ => Err(c.fail("the size is negative or huge", "a number of places")),
    }
}

/// The largest length whose transform is a product with a matrix of that many rows.
const LONGEST: usize = 1 << 13;

/// The discrete Fourier transform along an axis, of numbers or of pairs of numbers along the last axis.
fn transform(c: &Call, x: &Tensor, axis: usize, length: usize, inverse: bool, onesided: bool) -> Result<Tensor, Stop> {
    let shape = x.try_shape()?;
    let last = shape.rank() as isize - 1;
    let parts = extent(&shape[shape.rank() - 1]);
    if axis as isize == last || !(1..=2).contains(&parts) || length == 0 || length > LONGEST {
        let legal = format!("numbers or pairs along the last axis, another axis, lengths up to {LONGEST}");
        return Err(c.fail(format!("axis {axis}, parts of {parts}, length {length}"), legal));
    }
    let n = extent(&shape[axis]);
    let half = length / 2 + 1;
    let (read, count) = match (inverse, onesided) {
        (true, true) => (half, length),
        (false, true) => (length, half),
        (_, false) => (length, length),
    };
    let mut ends = vec![(0, 0); shape.rank()];
    ends[axis].1 = read.saturating_sub(n);
    let x = if read < n { x.slice(axis as isize, 0..read as isize) } else { x.pad(&ends, 0.0) };
    let sign = if inverse { 1.0 } else { -1.0 };
    // Of what is left out of a half, each value is the conjugate of one that is there.
    let times = |i: usize| if inverse && onesided && i > 0 && 2 * i != length { 2.0 } else { 1.0 };
    let matrix = |f: fn(f64) -> f64| {
        let at =
            |i: usize| times(i / count) * f(sign * TAU * ((i / count) * (i % count) % length) as f64 / length as f64);
        let value = |i: usize| Scalar::F64(at(i)).convert(x.dtype());
        Tensor::from_literal(Literal::from_fn(&[read, count], x.dtype(), value))
    };
    let (cosine, sine) = (matrix(f64::cos), matrix(f64::sin));
    // The axis goes last, is multiplied, and goes back.
    let part = |i: isize| x.select(last, i).movedim(&[axis as isize], &[-1]);
    let back = |t: Tensor| t.movedim(&[-1], &[axis as isize]).unsqueeze(-1);
    let re = part(0);
    let (mut y_re, mut y_im) = (re.matmul(&cosine), re.matmul(&sine));
    if parts == 2 {
        let im = part(1);
        y_re -= im.matmul(&sine);
        y_im += im.matmul(&cosine);
    }
    // Half of a spectrum is that of real numbers.
    let y = if inverse && onesided { back(y_re) } else { concat(&[back(y_re), back(y_im)], -1) };
    Ok(if inverse { y / length as f64 } else { y })
}

fn mel(c: &Call) -> Out {
    let dtype = c.dtype("output_datatype")?.unwrap_or(DType::F32);
    let (bins, length, rate) = (c.number(0)? as i64, c.number(1)? as i64, c.number(2)?);
    let (low, high) = (c.number(3)?, c.number(4)?);
    let spectrum = length / 2 + 1;
    if bins < 1 || length < 1 || rate <= 0.0 || bins.saturating_mul(spectrum) > 1 << 26 {
        return Err(c.fail(format!("{bins} bins, length {length}, rate {rate}"), "positive numbers"));
    }
    let (bins, spectrum) = (bins as usize, spectrum as usize);
    let to_mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
    let (low, high) = (to_mel(low), to_mel(high));
    let step = (high - low) / (bins + 2) as f64;
    let edge = |i: usize| {
        let hz = 700.0 * (10f64.powf((low + i as f64 * step) / 2595.0) - 1.0);
        ((length + 1) as f64 * hz / rate).floor()
    };
    let value = |i: usize| {
        let (at, bin) = ((i / bins) as f64, i % bins);
        let (left, centre, right) = (edge(bin), edge(bin + 1), edge(bin + 2));
        // A triangle over the edges; a side without width is its top alone.
        let weight = if at == centre && centre == left {
            1.0
        } else if (left..=centre).contains(&at) {
            (at - left) / (centre - left)
        } else if (centre..right).contains(&at) {
            (right - at) / (right - centre)
        } else {
            0.0
        };
        Scalar::F64(weight).convert(dtype)
    };
    one(Tensor::from_literal(Literal::from_fn(&[spectrum, bins], dtype, value)))
}
