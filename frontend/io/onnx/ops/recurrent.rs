//! Recurrent networks: RNN, GRU, LSTM, as scans over time.

use super::Op;
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::io::onnx::value::Operand;
use crate::tensor::Tensor;
use crate::{DType, Dim, Shape, concat, scan};

pub(super) const OPS: &[Op] = &[
    Op::new("RNN", &[1, 7, 14, 22], |c| network(c, 1, &rnn)),
    Op::new("GRU", &[1, 3, 7, 14, 22], |c| network(c, 3, &gru)),
    Op::new("LSTM", &[1, 7, 14, 22], |c| network(c, 4, &lstm)),
];

/// What one direction computes with.
struct Weights {
    /// [gates * hidden, inputs] and [gates * hidden, hidden].
    w: Tensor,
    r: Tensor,
    /// Biases of both, [gates * hidden].
    wb: Tensor,
    rb: Tensor,
    /// Of an LSTM, [3 * hidden].
    peepholes: Option<Tensor>,
    hidden: usize,
    activations: Vec<Activation>,
    clip: Option<f64>,
    linear_before_reset: bool,
    input_forget: bool,
}

/// Inputs and state to the next state.
type Cell = dyn Fn(&Weights, &Tensor, &Tensor, &Tensor) -> (Tensor, Tensor);

#[derive(Clone)]
struct Activation {
    name: String,
    alpha: Option<f64>,
    beta: Option<f64>,
}

impl Activation {
    fn apply(&self, x: &Tensor) -> Tensor {
        let alpha = |default: f64| self.alpha.unwrap_or(default);
        let beta = |default: f64| self.beta.unwrap_or(default);
        match self.name.as_str() {
            "tanh" => x.tanh(),
            "relu" => x.relu(),
            "affine" => x * alpha(1.0) + beta(0.0),
            "leakyrelu" => x.leaky_relu(alpha(0.01)),
            "thresholdedrelu" => x.gt(alpha(1.0)).where_(x, 0.0),
            "scaledtanh" => (x * beta(1.0)).tanh() * alpha(1.0),
            "hardsigmoid" => (x * alpha(0.2) + beta(0.5)).clamp(0.0, 1.0),
            "elu" => x.elu(alpha(1.0)),
            "softsign" => x.softsign(),
            "softplus" => x.softplus(),
            _ => x.sigmoid(),
        }
    }

    const KNOWN: [&str; 11] = [
        "sigmoid",
        "tanh",
        "relu",
        "affine",
        "leakyrelu",
        "thresholdedrelu",
        "scaledtanh",
        "hardsigmoid",
        "elu",
        "softsign",
        "softplus",
    ];
}

impl Weights {
    fn activate(&self, i: usize, x: &Tensor) -> Tensor {
        let x = match self.clip {
            Some(clip) => x.clamp(-clip, clip),
            None => x.clone(),
        };
        self.activations[i].apply(&x)
    }

    /// The part of a gate, of a tensor whose last axis has all of them.
    fn gate(&self, all: &Tensor, i: usize) -> Tensor {
        let h = self.hidden as isize;
        all.slice(-1, i as isize * h..(i as isize + 1) * h)
    }
}

fn rnn(w: &Weights, x: &Tensor, h: &Tensor, c: &Tensor) -> (Tensor, Tensor) {
    let sum = x + h.matmul(&w.r.t()) + &w.rb;
    (w.activate(0, &sum), c.clone())
}

/// Gates in the order update, reset, hidden.
fn gru(w: &Weights, x: &Tensor, h: &Tensor, c: &Tensor) -> (Tensor, Tensor) {
    let n = w.hidden as isize;
    let part = |t: &Tensor, i: isize| t.slice(0, i * n..(i + 1) * n);
    let from = |h: &Tensor, i: isize| h.matmul(&part(&w.r, i).t()) + part(&w.rb, i);
    let update = w.activate(0, &(w.gate(x, 0) + from(h, 0)));
    let reset = w.activate(0, &(w.gate(x, 1) + from(h, 1)));
    let inner = if w.linear_before_reset { &reset * from(h, 2) } else { from(&(&reset * h), 2) };
    let new = w.activate(1, &(w.gate(x, 2) + inner));
    ((1.0 - &update) * new + &update * h, c.clone())
}

/// Gates in the order input, output, forget, cell.
fn lstm(w: &Weights, x: &Tensor, h: &Tensor, c: &Tensor) -> (Tensor, Tensor) {
    let all = x + h.matmul(&w.r.t()) + &w.rb;
    let n = w.hidden as isize;
    let look = |i: isize, c: &Tensor| w.peepholes.as_ref().map(|p| p.slice(0, i * n..(i + 1) * n) * c);
    let plus = |x: Tensor, look: Option<Tensor>| match look {
        Some(look) => x + look,
        None => x,
    };
    let input = w.activate(0, &plus(w.gate(&all, 0), look(0, c)));
    let forget = if w.input_forget { 1.0 - &input } else { w.activate(0, &plus(w.gate(&all, 2), look(2, c))) };
    let cell = &forget * c + &input * w.activate(1, &w.gate(&all, 3));
    let output = w.activate(0, &plus(w.gate(&all, 1), look(1, &cell)));
    (output * w.activations[2].apply(&cell), cell)
}

fn network(c: &Call, gates: usize, cell: &Cell) -> Out {
    let lstm = gates == 4;
    let batch_first = c.flag("layout", false);
    let x = c.tensor(0)?;
    let x = if batch_first { x.transpose(0, 1) } else { x };
    let (w, r, b) = (c.tensor(1)?, c.tensor(2)?, c.maybe(3)?);
    let (shape, dtype) = (x.try_shape()?, x.dtype());
    let weights = r.try_shape()?;
    if shape.rank() != 3 || weights.rank() != 3 {
        return Err(c.fail("inputs or weights have another rank", "rank 3"));
    }
    let (directions, hidden) = (crate::extent(&weights[0]), crate::extent(&weights[2]));
    let said = c.int("hidden_size", hidden as i64);
    if said != hidden as i64 {
        return Err(c.fail(format!("`hidden_size` is {said} beside weights of {hidden}"), "that of the weights"));
    }
    let (time, batch) = (&shape[0], &shape[1]);
    let direction = c.text("direction", "forward").to_lowercase();
    let reversed: Vec<bool> = match direction.as_str() {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return Err(c.fail(format!("the direction is `{other}`"), "forward, reverse or bidirectional")),
    };
    if reversed.len() != directions {
        return Err(c.fail(format!("there are weights for {directions} directions"), "one for each"));
    }
    let activations = activations(c, gates, directions)?;
    let zeros = || Tensor::zeros(Shape::from_iter([batch.clone(), Dim::from(hidden)]), dtype);
    let state = |i: usize, d: usize| -> Result<Tensor, Stop> {
        let Some(t) = c.maybe(i)? else { return Ok(zeros()) };
        let t = if batch_first { t.transpose(0, 1) } else { t };
        Ok(t.select(0, d as isize))
    };
    let lengths = c.maybe(4)?.map(|l| l.to_dtype(DType::I64));
    let (mut outputs, mut last_h, mut last_c) = (Vec::new(), Vec::new(), Vec::new());
    for (d, &reversed) in reversed.iter().enumerate() {
        let at = d as isize;
        let gated = (gates * hidden) as isize;
        let bias = b.as_ref().map(|b| b.select(0, at));
        let half = |from: isize| match &bias {
            Some(b) => b.slice(0, from..from + gated),
            None => Tensor::zeros([gates * hidden], dtype),
        };
        let own = Weights {
            w: w.select(0, at),
            r: r.select(0, at),
            wb: half(0),
            rb: half(gated),
            peepholes: if lstm { c.maybe(7)?.map(|p| p.select(0, at)) } else { None },
            hidden,
            activations: activations[d].clone(),
            clip: (c.attribute("clip").is_some()).then(|| c.float("clip", 0.0)),
            linear_before_reset: c.flag("linear_before_reset", false),
            input_forget: c.flag("input_forget", false),
        };
        // The part of the inputs is one product over all of time.
        let projected = x.matmul(&own.w.t()) + &own.wb;
        let places = Tensor::iota(Shape::from_iter([time.clone()]), 0, DType::I64);
        let turn = |t: &Tensor| if reversed { t.flip(&[0]) } else { t.clone() };
        let (xs, places) = (turn(&projected), turn(&places));
        let step = |(h, c): &(Tensor, Tensor), (x, place): &(Tensor, Tensor)| {
            let (mut next_h, mut next_c) = cell(&own, x, h, c);
            let mut y = next_h.clone();
            if let Some(lengths) = &lengths {
                let alive = place.lt(lengths).unsqueeze(-1);
                (next_h, next_c) = (alive.where_(next_h, h), alive.where_(next_c, c));
                y = alive.where_(y, 0.0);
            }
            ((next_h, next_c), y)
        };
        let start = (state(5, d)?, if lstm { state(6, d)? } else { zeros() });
        let ((h, cell_state), ys) = scan(step, &start, &(xs, places));
        outputs.push(turn(&ys).unsqueeze(1));
        last_h.push(h.unsqueeze(0));
        last_c.push(cell_state.unsqueeze(0));
    }
    let (mut y, mut h, mut cell_state) = (concat(&outputs, 1), concat(&last_h, 0), concat(&last_c, 0));
    if batch_first {
        y = y.permute(&[2, 0, 1, 3]);
        h = h.transpose(0, 1);
        cell_state = cell_state.transpose(0, 1);
    }
    let mut results: Vec<Operand> = vec![y.into(), h.into()];
    if lstm {
        results.push(cell_state.into());
    }
    Ok(results)
}

/// Activations of each direction.
fn activations(c: &Call, gates: usize, directions: usize) -> Result<Vec<Vec<Activation>>, Stop> {
    let default: &[&str] = match gates {
        1 => &["tanh"],
        3 => &["sigmoid", "tanh"],
        _ => &["sigmoid", "tanh", "tanh"],
    };
    let mut names: Vec<String> = c.texts("activations").iter().map(|n| n.to_lowercase()).collect();
    if names.is_empty() {
        names = default.iter().cycle().take(default.len() * directions).map(|n| n.to_string()).collect();
    }
    if names.len() != default.len() * directions {
        return Err(c.fail(format!("there are {} activations", names.len()), format!("{}", default.len() * directions)));
    }
    if let Some(name) = names.iter().find(|n| !Activation::KNOWN.contains(&n.as_str())) {
        return Err(c.fail(format!("the activation is `{name}`"), Activation::KNOWN.join(", ")));
    }
    // Alphas and betas are those of the activations that have any, in order.
    let mut alphas = c.floats("activation_alpha").unwrap_or_default().into_iter();
    let mut betas = c.floats("activation_beta").unwrap_or_default().into_iter();
    let all: Vec<Activation> = names
        .into_iter()
        .map(|name| {
            let takes = |of: &[&str]| of.contains(&name.as_str());
            let alpha = takes(&["affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"]);
            let beta = takes(&["affine", "scaledtanh", "hardsigmoid"]);
            let (alpha, beta) = (alpha.then(|| alphas.next()).flatten(), beta.then(|| betas.next()).flatten());
            Activation { name, alpha, beta }
        })
        .collect();
    Ok(all.chunks(default.len()).map(<[Activation]>::to_vec).collect())
}
