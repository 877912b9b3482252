//! Windows that move over images: convolutions, as products of the parts under each place of the window, and pooling.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::tensor::Tensor;
use crate::{Dim, Scalar, Shape, concat, extent, keepdims};

pub(super) const OPS: &[Op] = &[
    Op::new("Conv", &[1, 11, 22], conv),
    Op::new("MaxPool", &[1, 8, 10, 11, 12, 22], |c| {
        if c.wants(1) {
            return Err(c.fail("the places of the largest elements are asked for", "the largest elements alone"));
        }
        let x = c.tensor(0)?;
        let w = Window::of(c, &x, c.list("kernel_shape").unwrap_or_default())?;
        let dtype = x.dtype();
        let least =
            if dtype.is_float() { Scalar::F64(f64::NEG_INFINITY).convert(dtype) } else { Scalar::lowest(dtype) };
        one(w.parts(&x, least).into_iter().reduce(|a, b| a.maximum(b)).expect("a window has a place"))
    }),
    Op::new("AveragePool", &[1, 7, 10, 11, 19, 22], |c| {
        let x = c.tensor(0)?;
        let w = Window::of(c, &x, c.list("kernel_shape").unwrap_or_default())?;
        let sum = |x: &Tensor| w.parts(x, Scalar::zero(x.dtype())).into_iter().reduce(|a, b| a + b).expect("as above");
        // How many elements each window has: those of padding count if asked for, but not those beyond it.
        let mut ones: Vec<Dim> = vec![Dim::from(1); 2];
        ones.extend(w.extents.iter().map(|&n| Dim::from(n)));
        let ones = Tensor::ones(Shape::from_iter(ones), x.dtype());
        let count = match c.flag("count_include_pad", false) {
            false => sum(&ones),
            true => {
                let pads: Vec<(usize, usize)> = [(0, 0); 2].into_iter().chain(w.pads.iter().copied()).collect();
                let whole = Window { pads: vec![(0, 0); w.pads.len()], ..w.clone() };
                let padded = ones.pad(&pads, 1);
                let parts = whole.parts(&padded, Scalar::zero(x.dtype()));
                parts.into_iter().reduce(|a, b| a + b).expect("as above")
            }
        };
        one(sum(&x) / count)
    }),
    Op::new("LpPool", &[1, 2, 11, 18, 22], |c| {
        let x = c.tensor(0)?;
        let w = Window::of(c, &x, c.list("kernel_shape").unwrap_or_default())?;
        let p = exponent(c);
        let powers = w.parts(&x.abs().pow(p), Scalar::zero(x.dtype()));
        one(powers.into_iter().reduce(|a, b| a + b).expect("a window has a place").pow(1.0 / p))
    }),
    Op::new("GlobalAveragePool", &[1, 22], |c| {
        let x = c.tensor(0)?;
        one(x.mean(keepdims(spatial(c, &x)?.as_slice())))
    }),
    Op::new("GlobalMaxPool", &[1, 22], |c| {
        let x = c.tensor(0)?;
        one(x.max(keepdims(spatial(c, &x)?.as_slice())))
    }),
    Op::new("GlobalLpPool", &[1, 2, 22], |c| {
        let x = c.tensor(0)?;
        let p = exponent(c);
        one(x.abs().pow(p).sum(keepdims(spatial(c, &x)?.as_slice())).pow(1.0 / p))
    }),
];

/// The exponent of a norm, which the first versions have as a float.
fn exponent(c: &Call) -> f64 {
    if c.version() < 2 { c.float("p", 2.0) } else { c.int("p", 2) as f64 }
}

/// The axes of an image behind those of examples and channels.
fn spatial(c: &Call, x: &Tensor) -> Result<Vec<isize>, Stop> {
    match x.try_shape()?.rank() {
        rank @ 3.. => Ok((2..rank as isize).collect()),
        rank => Err(c.fail(format!("an image of rank {rank}"), "examples, channels and at least one axis more")),
    }
}

/// Places of a window at most.
const MOST_PLACES: usize = 1 << 12;

/// How a window moves over the axes of an image.
#[derive(Clone)]
struct Window {
    /// Extents of the image, and of what comes out.
    extents: Vec<usize>,
    out: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<(usize, usize)>,
}

impl Window {
    fn of(c: &Call, x: &Tensor, kernel: Vec<i64>) -> Result<Window, Stop> {
        let axes = spatial(c, x)?.len();
        let extents: Vec<usize> = x.try_shape()?[2..].iter().map(extent).collect();
        let sizes = |name: &str, values: Vec<i64>, least: i64| {
            let fits = |n: &i64| (least..=1 << 24).contains(n);
            match values.len() == axes && values.iter().all(fits) {
                true => Ok(values.into_iter().map(|n| n as usize).collect::<Vec<usize>>()),
                false => {
                    Err(c.fail(format!("{name} {values:?} of {axes} axes"), format!("{least} or more for each axis")))
                }
            }
        };
        let list = |name: &str| c.list(name).unwrap_or_else(|| vec![1; axes]);
        let kernel = sizes("a window of", kernel, 1)?;
        let (strides, dilations) = (sizes("strides", list("strides"), 1)?, sizes("dilations", list("dilations"), 1)?);
        if kernel.iter().try_fold(1usize, |n, &k| n.checked_mul(k)).is_none_or(|n| n > MOST_PLACES) {
            return Err(c.fail(format!("a window of {kernel:?}"), format!("at most {MOST_PLACES} places")));
        }
        let span = |i: usize| (kernel[i] - 1) * dilations[i] + 1;
        let same = |i: usize| {
            let out = extents[i].div_ceil(strides[i]);
            ((out.max(1) - 1) * strides[i] + span(i)).saturating_sub(extents[i])
        };
        let pads: Vec<(usize, usize)> = match c.choice("auto_pad", &["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])? {
            "SAME_UPPER" => (0..axes).map(|i| (same(i) / 2, same(i).div_ceil(2))).collect(),
            "SAME_LOWER" => (0..axes).map(|i| (same(i).div_ceil(2), same(i) / 2)).collect(),
            "VALID" => vec![(0, 0); axes],
            _ => {
                let pads = c.list("pads").unwrap_or_else(|| vec![0; 2 * axes]);
                if pads.len() != 2 * axes || !pads.iter().all(|p| (0..=1 << 24).contains(p)) {
                    return Err(c.fail(format!("pads {pads:?}"), "two for each axis, 0 or more"));
                }
                (0..axes).map(|i| (pads[i] as usize, pads[i + axes] as usize)).collect()
            }
        };
        let ceil = c.flag("ceil_mode", false);
        let mut out = Vec::new();
        for i in 0..axes {
            let all = extents[i] + pads[i].0 + pads[i].1;
            let Some(rest) = all.checked_sub(span(i)) else {
                return Err(c.fail(format!("a window of {} over {all} places", span(i)), "a window that fits"));
            };
            let mut n = if ceil { rest.div_ceil(strides[i]) } else { rest / strides[i] } + 1;
            // A window begins inside of the image or its padding on the left.
            if ceil && (n - 1) * strides[i] >= extents[i] + pads[i].0 {
                n -= 1;
            }
            out.push(n);
        }
        Ok(Window { extents, out, kernel, strides, dilations, pads })
    }

    /// The image as each place of the window sees it, with a value where there is nothing.
    fn parts(&self, x: &Tensor, outside: Scalar) -> Vec<Tensor> {
        if x.error_ref().is_some() {
            return vec![x.clone()];
        }
        let axes = self.kernel.len();
        let last = |i: usize| (self.out[i] - 1) * self.strides[i] + (self.kernel[i] - 1) * self.dilations[i] + 1;
        let shape = x.shape();
        let mut ends = vec![(0, 0); 2];
        for i in 0..axes {
            let n = extent(&shape[2 + i]) + self.pads[i].0;
            ends.push((self.pads[i].0, self.pads[i].1.max(last(i).saturating_sub(n))));
        }
        let padded = if ends.iter().all(|e| *e == (0, 0)) { x.clone() } else { x.pad(&ends, super::number(outside)) };
        let count: usize = self.kernel.iter().product();
        let part = |place: usize| {
            let mut rest = place;
            let mut t = padded.clone();
            for i in (0..axes).rev() {
                let from = (rest % self.kernel[i]) * self.dilations[i];
                rest /= self.kernel[i];
                let to = from + (self.out[i] - 1) * self.strides[i] + 1;
                t = t.slice_step(2 + i as isize, from as isize..to as isize, self.strides[i]);
            }
            t
        };
        (0..count).map(part).collect()
    }
}

fn conv(c: &Call) -> Out {
    let y = convolution(c, &c.tensor(0)?, &c.tensor(1)?, &|a, b| a.matmul(b))?;
    match c.maybe(2)? {
        Some(bias) => one(&y + along_channels(&bias, y.try_shape()?.rank())),
        None => one(y),
    }
}

/// One number for each channel of an image of that rank.
pub(super) fn along_channels(t: &Tensor, rank: usize) -> Tensor {
    let n = t.shape().numel();
    t.reshape(Shape::from_iter([n].into_iter().chain((2..rank).map(|_| Dim::from(1)))))
}

/// The parts of an image under each place of the window times weights, by that product.
pub(super) fn convolution(
    c: &Call,
    x: &Tensor,
    weights: &Tensor,
    product: &dyn Fn(&Tensor, &Tensor) -> Tensor,
) -> Result<Tensor, Stop> {
    let (shape, of) = (x.try_shape()?, weights.try_shape()?);
    if of.rank() != shape.rank() || of.rank() < 3 {
        return Err(c.fail("weights of another rank than the image", "outputs, channels, and the axes of the window"));
    }
    let kernel: Vec<i64> = of[2..].iter().map(|d| extent(d) as i64).collect();
    if let Some(said) = c.list("kernel_shape").filter(|said| *said != kernel) {
        return Err(c.fail(format!("`kernel_shape` is {said:?} beside weights of {kernel:?}"), "that of the weights"));
    }
    let w = Window::of(c, x, kernel)?;
    let (outputs, channels) = (extent(&of[0]), extent(&of[1]));
    let Ok(groups) = usize::try_from(c.int("group", 1)) else { return Err(c.fail("groups are negative", "1 or more")) };
    if groups == 0 || !outputs.is_multiple_of(groups) || !shape[1].is((groups * channels) as i64) {
        let rule = format!("{groups} groups of {channels} channels, and {outputs} outputs");
        return Err(c.fail(rule, "channels and outputs in groups"));
    }
    let places: usize = w.kernel.iter().product();
    let area: usize = w.out.iter().product();
    // [batch, groups, channels, 1, area] at each place of the window, one behind the other along axis 3.
    let split = Shape::from_iter([shape[0].clone(), groups.into(), channels.into(), 1.into(), area.into()]);
    let parts: Vec<Tensor> = w.parts(x, Scalar::zero(x.dtype())).iter().map(|t| t.reshape(split.clone())).collect();
    let terms = channels * places;
    let columns =
        concat(&parts, 3).reshape(Shape::from_iter([shape[0].clone(), groups.into(), terms.into(), area.into()]));
    let rows = weights.reshape([groups, outputs / groups, terms]);
    let y = match groups {
        1 => product(&rows.squeeze(0), &columns.squeeze(1)),
        _ => product(&rows, &columns),
    };
    Ok(y.reshape(Shape::from_iter(
        [shape[0].clone(), outputs.into()].into_iter().chain(w.out.iter().map(|&n| Dim::from(n))),
    )))
}
