//! Derivatives by the ops' rules and by finite differences.

use super::{emitter, evaluate};
use ir::graph::Values;
use ir::ops::VjpContext;
use ir::{DType, EmitExt, Graph, Literal, NotDifferentiable, Scalar, Value};

/// Appends the gradients of `output`, weighted by the cotangent, by the values `wrt`; `None` where it is zero.
pub fn append_gradients(
    graph: &mut Graph,
    output: Value,
    cotangent: Value,
    wrt: &[Value],
) -> Result<Vec<Option<Value>>, NotDifferentiable> {
    let ops = graph.region(graph.root()).ops.clone();
    let mut cotangents: Vec<Option<Value>> = vec![None; graph.value_count()];
    cotangents[output.at()] = Some(cotangent);
    let mut b = emitter(graph);
    for &op in ops.iter().rev() {
        let data = b.graph.op(op).clone();
        let incoming: Values = data.results.clone();
        let incoming: Vec<Option<Value>> = incoming.iter().map(|r| cotangents[r.at()]).collect();
        let wanted: Vec<bool> = data.operands.iter().map(|&v| b.graph.ty(v).dtype.is_float()).collect();
        if incoming.iter().all(Option::is_none) || !wanted.contains(&true) {
            continue;
        }
        let cx =
            VjpContext { operands: &data.operands, results: &data.results, cotangents: &incoming, wanted: &wanted };
        let gradients = data.primitive.vjp(&mut b, &cx)?;
        assert_eq!(gradients.len(), data.operands.len(), "gradients of {:?}", data.primitive);
        for ((&operand, gradient), wanted) in data.operands.iter().zip(gradients).zip(wanted) {
            let Some(g) = gradient else { continue };
            assert!(wanted, "{:?} gives a gradient that is not wanted", data.primitive);
            assert_eq!(b.graph.ty(g), b.graph.ty(operand), "gradient of {:?}", data.primitive);
            let sum = match cotangents[operand.at()] {
                Some(old) => b.add(old, g),
                None => g,
            };
            cotangents[operand.at()] = Some(sum);
        }
    }
    Ok(wrt.iter().map(|v| cotangents[v.at()]).collect())
}

/// A function with its gradient: outputs of the graph are the function's value, then the gradient by each input that
/// has one. The last input is the cotangent.
pub struct Differentiated {
    /// The graph.
    pub graph: Graph,
    /// Which inputs have a gradient, in the order of the outputs.
    pub by: Vec<usize>,
}

/// Differentiates a graph by its float inputs; of several outputs the last counts.
pub fn differentiate(mut graph: Graph) -> Result<Differentiated, NotDifferentiable> {
    let output = *graph.outputs().last().expect("an output");
    let inputs = graph.inputs().to_vec();
    let cotangent = graph.add_input(graph.ty(output).clone());
    let gradients = append_gradients(&mut graph, output, cotangent, &inputs)?;
    let by: Vec<usize> = (0..inputs.len()).filter(|&i| gradients[i].is_some()).collect();
    graph.set_outputs(std::iter::once(output).chain(gradients.into_iter().flatten()).collect());
    Ok(Differentiated { graph, by })
}

/// What a comparison with finite differences saw.
#[derive(Default, Debug)]
pub struct Compared {
    /// Elements that were compared.
    pub checked: usize,
    /// Elements where there is no derivative to compare with.
    pub skipped: usize,
    /// Disagreements.
    pub wrong: Vec<String>,
}

/// Compares the gradient of the last output of `graph` by all its f64 inputs, through the ops' rules, with central
/// differences. Points where the function is not smooth or not finite are skipped: there the two one-sided quotients
/// do not approach each other.
pub fn compare_with_differences(graph: &Graph, inputs: &[Literal]) -> Result<Compared, NotDifferentiable> {
    Ok(compare(graph, &differentiate(graph.clone())?, inputs))
}

/// As [`compare_with_differences`], for gradients that are there already.
pub fn compare(graph: &Graph, differentiated: &Differentiated, inputs: &[Literal]) -> Compared {
    let f = |inputs: &[Literal]| evaluate(graph, inputs).ok()?.pop();
    let mut compared = Compared::default();
    let Some(base) = f(inputs) else { return compared };
    let all_finite = base.iter().all(|y| y.as_f64().is_finite());
    let cotangent = super::weights(base.dims(), base.dtype(), 3);
    let weights = Literal::from_fn(base.dims(), DType::F64, |i| {
        Scalar::F64(if base.get(i).as_f64().is_finite() { cotangent.get(i).as_f64() } else { 0.0 })
    });
    let arguments: Vec<Literal> = inputs.iter().cloned().chain([weights.clone()]).collect();
    let outputs = evaluate(&differentiated.graph, &arguments).expect("what evaluates has gradients that do");

    for i in 0..inputs.len() {
        if inputs[i].dtype() != DType::F64 {
            continue;
        }
        let gradient = differentiated.by.iter().position(|&j| j == i).map(|at| &outputs[at + 1]);
        for at in 0..inputs[i].numel() {
            let x = inputs[i].get(at).as_f64();
            // Differences of outputs, not of their sums: those would drown small changes. The first is NaN where a
            // weighted output stops being finite.
            let difference = |from: &Literal, to: &Literal| -> (f64, f64) {
                let mut sums = (0.0, 0.0);
                for (w, (a, b)) in weights.iter().zip(from.iter().zip(to.iter())) {
                    let (w, a, b) = (w.as_f64(), a.as_f64(), b.as_f64());
                    if w != 0.0 && a.to_bits() != b.to_bits() {
                        sums.0 += w * (b - a);
                        sums.1 += w.abs() * (a.abs() + b.abs());
                    }
                }
                sums
            };
            let moved = |by: f64| {
                let mut inputs = inputs.to_vec();
                let changed = inputs[i].clone();
                inputs[i] = Literal::from_fn(changed.dims(), DType::F64, |j| {
                    if j == at { Scalar::F64(x + by) } else { changed.get(j) }
                });
                f(&inputs)
            };
            let quotients = |h: f64| {
                let (low, high) = (moved(-h)?, moved(h)?);
                let (left, right) = (difference(&low, &base), difference(&base, &high));
                let central = difference(&low, &high);
                // The distance of the points is not exactly 2 h.
                let width = (x + h) - (x - h);
                Some(((right.0 / h - left.0 / h).abs(), central.0 / width, 4.0 * f64::EPSILON * central.1 / width))
            };
            let h = if x == 0.0 { 1e-5 } else { 2e-5 * x.abs() };
            let (Some((wide, numeric, noise)), Some((narrow, closer, _))) = (quotients(h), quotients(h / 8.0)) else {
                compared.skipped += 1;
                continue;
            };
            let scale = numeric.abs().max(closer.abs());
            let slack = 1e-6 * scale + 100.0 * noise + 1e-9;
            // At a kink the one-sided quotients stay apart; at a jump they grow.
            let smooth = (narrow < 0.3 * wide || wide <= slack) && (numeric - closer).abs() <= 1e-3 * scale + slack;
            if !numeric.is_finite() || !closer.is_finite() || !smooth {
                compared.skipped += 1;
                continue;
            }
            let analytic = gradient.map_or(0.0, |g| g.get(at).as_f64());
            if analytic.is_nan() && !all_finite {
                compared.skipped += 1;
                continue;
            }
            compared.checked += 1;
            // The error of a central difference falls with the square of the step.
            let truncated = 1.5 * (numeric - closer).abs();
            let tolerance = 1e-5 * scale + truncated + noise + 1e-7;
            if (analytic - numeric).abs() > tolerance || analytic.is_nan() {
                compared
                    .wrong
                    .push(format!("by operand {i} at element {at} = {x}: rule {analytic}, differences {numeric}"));
            }
        }
    }
    compared
}

/// Inputs at which differences mean something: huge, tiny and non-finite elements replaced by others.
pub fn tamed(x: &Literal) -> Literal {
    if x.dtype() != DType::F64 {
        return x.clone();
    }
    Literal::from_fn(x.dims(), DType::F64, |i| {
        let v = x.get(i).as_f64();
        let fine = v == 0.0 || (0.01..100.0).contains(&v.abs());
        Scalar::F64(if fine { v } else { 0.3 + (i % 7) as f64 * 0.21 })
    })
}
