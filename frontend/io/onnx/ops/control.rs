//! Control flow: branches and loops with bodies. What is known decides while tracing; all else becomes control flow of the
//! compiled function.

use super::Op;
use crate::io::onnx::evaluate::{Call, ITERATIONS, Out, Stop};
use crate::io::onnx::graph::Graph;
use crate::io::onnx::value::{Operand, integer};
use crate::tensor::Tensor;
use crate::{DType, Dim, Scalar, Shape, cond, scan, stack, while_loop};
use runtime::events::{self, Event};
use std::cell::RefCell;
use std::sync::Arc;

pub(super) const OPS: &[Op] = &[
    Op::new("If", &[1, 11, 13, 16, 19, 21, 23], branch),
    Op::new("Loop", &[1, 11, 13, 16, 19, 21, 23], repeat),
    Op::new("Scan", &[8, 9, 11, 16, 19, 21, 23], scanned),
];

/// Runs a body on values for its inputs.
fn run(c: &Call, body: &Graph, inputs: Vec<Operand>, eager: bool) -> Out {
    if inputs.len() != body.inputs.len() {
        return Err(c.fail(format!("the body takes {} inputs, not {}", body.inputs.len(), inputs.len()), ""));
    }
    let mut frame = c.frame.body(body, eager);
    frame.values.extend(body.inputs.iter().map(|p| p.name.clone()).zip(inputs));
    frame.finish()
}

/// Runs a body whose results are all tensors. What stops it inside of a region is told apart later.
fn tensors(c: &Call, body: &Graph, inputs: Vec<Tensor>, stopped: &RefCell<Option<Stop>>) -> Vec<Tensor> {
    let count = body.outputs.len();
    let results = run(c, body, inputs.into_iter().map(Operand::Tensor).collect(), false).and_then(|results| {
        let all: Option<Vec<Tensor>> = results.iter().map(Operand::tensor).collect();
        all.ok_or_else(|| Stop::Apart)
    });
    results.unwrap_or_else(|stop| {
        let e = match &stop {
            Stop::Error(e) => e.clone(),
            _ => crate::io::onnx::value::refuse(crate::Code::Read, "a value is needed", "").observed(),
        };
        stopped.borrow_mut().get_or_insert(stop);
        vec![Tensor::error(e); count.max(1)]
    })
}

/// The results of a region, or what stopped it.
fn unless_stopped(stopped: RefCell<Option<Stop>>, results: Vec<Tensor>) -> Out {
    match stopped.into_inner() {
        Some(stop) => Err(stop),
        None => Ok(results.into_iter().map(Operand::Tensor).collect()),
    }
}

fn branch(c: &Call) -> Out {
    let (yes, no) = (c.body("then_branch")?.clone(), c.body("else_branch")?.clone());
    match c.scalar(0) {
        Ok(condition) => run(c, if integer(condition) != 0 { &yes } else { &no }, Vec::new(), c.eager),
        Err(Stop::Value(_)) => {
            let condition = c.tensor(0)?.reshape(Shape::scalar());
            let stopped = RefCell::new(None);
            let results: Vec<Tensor> =
                cond(&condition, || tensors(c, &yes, Vec::new(), &stopped), || tensors(c, &no, Vec::new(), &stopped));
            // Branches of other types, or with values that must be known, are chosen by the condition's value.
            match (stopped.take(), results.iter().find_map(|t| t.error_ref())) {
                (None, None) => Ok(results.into_iter().map(Operand::Tensor).collect()),
                (_, e) => {
                    e.iter().for_each(|e| drop((*e).clone().observed()));
                    Err(Stop::Value(0))
                }
            }
        }
        Err(stop) => Err(stop),
    }
}

fn repeat(c: &Call) -> Out {
    let body = c.body("body")?.clone();
    let Some(carried) = c.inputs.len().checked_sub(2) else {
        return Err(c.fail("there is no number of iterations and no condition", "two operands, which may be left out"));
    };
    if body.inputs.len() != carried + 2 || body.outputs.len() < carried + 1 {
        return Err(c.fail("the body does not take and yield what is carried", "matching inputs and outputs"));
    }
    // What is carried may grow, which no loop of a compiled function does.
    let mut why = None;
    if !c.eager {
        match looped(c, &body, carried) {
            Err(Stop::Apart | Stop::Value(_)) => {}
            Err(Stop::Error(e)) => why = Some(e),
            Ok(results) => match results.iter().find_map(Operand::error) {
                None => return Ok(results),
                Some(e) => why = Some(e.observed()),
            },
        }
    }
    // One iteration after the other, as far as their number is known.
    let most = if c.has(0) { Some(integer(c.scalar(0)?)) } else { None };
    let mut going = if c.has(1) { integer(c.scalar(1)?) != 0 } else { true };
    let mut carry: Vec<Operand> = c.inputs[2..].to_vec();
    let mut stacks: Vec<Vec<Tensor>> = vec![Vec::new(); body.outputs.len() - carried - 1];
    let mut number = 0i64;
    while going && most.is_none_or(|most| number < most) {
        if !c.frame.iterate() {
            let rule = format!("loops that run one iteration after the other go on for more than {ITERATIONS} in all");
            return Err(c.fail(rule, "fewer, or a body that can be traced"));
        }
        let count = crate::io::onnx::value::Ints { dtype: DType::I64, shape: Vec::new(), dims: vec![number.into()] };
        let truth = crate::io::onnx::value::Ints { dtype: DType::Bool, shape: Vec::new(), dims: vec![1.into()] };
        let mut inputs = vec![Operand::Ints(count), Operand::Ints(truth)];
        inputs.append(&mut carry);
        let mut results = run(c, &body, inputs, c.eager)?;
        let condition = results.remove(0);
        going = match condition.literal() {
            Some(l) => match l? {
                l if l.numel() == 1 => integer(l.get(0)) != 0,
                l => return Err(c.fail(format!("the condition has {} elements", l.numel()), "one")),
            },
            None => return Err(Stop::Apart),
        };
        for (list, value) in stacks.iter_mut().zip(results.split_off(carried)) {
            list.push(value.tensor().ok_or(Stop::Apart)?);
        }
        carry = results;
        number += 1;
    }
    if let Some(why) = why {
        let why = why.to_string();
        let why = why.lines().next().unwrap_or_default();
        events::record(Event::Unrolled, format_args!("{number} iterations of the node `{}`: {why}", c.node.name));
    }
    let stacks = stacks.into_iter().enumerate().map(|(i, parts)| match parts.is_empty() {
        false => Operand::Tensor(stack(&parts, 0)),
        true => Operand::Tensor(empty_stack(&body, carried + 1 + i)),
    });
    Ok(carry.into_iter().chain(stacks).collect())
}

/// The stack of no parts of an output of a body.
fn empty_stack(body: &Graph, output: usize) -> Tensor {
    use crate::io::onnx::graph::Kind;
    match &body.outputs[output].kind {
        Kind::Tensor(dtype, dims) => {
            let dims = dims.iter().flatten().map(|d| d.as_ref().and_then(Dim::as_usize).unwrap_or(0));
            let shape: Vec<usize> = [0].into_iter().chain(dims).collect();
            Tensor::zeros(shape.as_slice(), *dtype)
        }
        _ => Tensor::zeros([0], DType::F32),
    }
}

/// As a loop of the compiled function: over a number of iterations that is known, or as long as a condition holds.
fn looped(c: &Call, body: &Arc<Graph>, carried: usize) -> Out {
    let start: Option<Vec<Tensor>> = c.inputs[2..].iter().map(Operand::tensor).collect();
    let Some(start) = start else { return Err(Stop::Apart) };
    let stacked = body.outputs.len() - carried - 1;
    let most = if c.has(0) { Some(c.scalar(0)) } else { None };
    let first = if c.has(1) { Some(c.scalar(1)) } else { None };
    let always = matches!(&first, None | Some(Ok(Scalar::Bool(true)))) && keeps_going(body);
    let stopped = RefCell::new(None);
    if let (Some(Ok(most)), true) = (&most, always) {
        let length = integer(*most).max(0);
        let truth = Tensor::from(true);
        let step = |number: &Tensor, carry: &Vec<Tensor>| -> (Vec<Tensor>, Vec<Tensor>) {
            let mut inputs = vec![number.clone(), truth.clone()];
            inputs.extend(carry.iter().cloned());
            let mut results = tensors(c, body, inputs, &stopped);
            if results.len() < 1 + carried + stacked {
                results.resize(1 + carried + stacked, results[0].clone());
            }
            let mut carry = results.split_off(1);
            let ys = carry.split_off(carried);
            (carry, ys)
        };
        let numbers = Tensor::iota([length as usize], 0, DType::I64);
        let (carry, ys) = scan(|carry: &Vec<Tensor>, n: &Tensor| step(n, carry), &start, &numbers);
        return unless_stopped(stopped, carry.into_iter().chain(ys).collect());
    }
    if stacked > 0 {
        // How long the stacks get is not known.
        return Err(Stop::Apart);
    }
    let condition = match c.has(1) {
        true => c.tensor(1)?.reshape(Shape::scalar()).to_dtype(DType::Bool),
        false => Tensor::from(true),
    };
    let limit = match c.has(0) {
        true => Some(c.tensor(0)?.reshape(Shape::scalar()).to_dtype(DType::I64)),
        false => None,
    };
    let begin = ((Tensor::from(0i64), condition), start);
    let going = |((number, condition), _): &((Tensor, Tensor), Vec<Tensor>)| match &limit {
        Some(limit) => condition.logical_and(number.lt(limit)),
        None => condition.clone(),
    };
    let next = |((number, condition), carry): &((Tensor, Tensor), Vec<Tensor>)| {
        let mut inputs = vec![number.clone(), condition.clone()];
        inputs.extend(carry.iter().cloned());
        let mut results = tensors(c, body, inputs, &stopped);
        results.resize(1 + carried, results[0].clone());
        let condition = results.remove(0).reshape(Shape::scalar());
        ((number + 1, condition), results)
    };
    let (_, carry) = while_loop(going, next, &begin);
    unless_stopped(stopped, carry)
}

/// True if the body yields the condition that it is given, or one that is always true.
fn keeps_going(body: &Graph) -> bool {
    let mut name = &body.outputs[0].name;
    for _ in 0..body.nodes.len() + 1 {
        if body.inputs.get(1).is_some_and(|p| p.name == *name) {
            return true;
        }
        if let Some(t) = body.constants.get(name) {
            return matches!(t.to_scalar(), Ok(Scalar::Bool(true)));
        }
        let maker = body.nodes.iter().find(|n| n.outputs.iter().flatten().any(|o| o == name));
        match maker {
            Some(n) if n.op.name == "Identity" => match n.inputs.first() {
                Some(Some(from)) => name = from,
                _ => return false,
            },
            Some(n) if n.op.name == "Constant" => {
                use crate::io::onnx::graph::Attribute;
                return n
                    .attributes
                    .values()
                    .any(|a| matches!(a, Attribute::Tensor(t) if matches!(t.to_scalar(), Ok(Scalar::Bool(true)))));
            }
            _ => return false,
        }
    }
    false
}

/// A scan over the elements along axes of its inputs. Version 8 has a first axis of examples, and lengths of them.
fn scanned(c: &Call) -> Out {
    let body = c.body("body")?.clone();
    let taken = c.int("num_scan_inputs", 0);
    let old = c.version() < 9;
    let inputs = c.inputs.get(old as usize..).unwrap_or_default();
    let carried = usize::try_from(taken).ok().filter(|&n| n > 0).and_then(|n| inputs.len().checked_sub(n));
    let Some(carried) = carried else {
        return Err(c.fail(format!("{taken} of {} inputs are scanned", inputs.len()), "1 to as many as there are"));
    };
    if old && c.has(0) {
        return Err(c.fail("there are lengths of examples", "examples of one length"));
    }
    let of: Option<Vec<Tensor>> = inputs.iter().map(Operand::tensor).collect();
    let mut all = of.ok_or_else(|| c.fail("an input is no tensor", "tensors"))?;
    if old {
        // The loop over time goes on within one over examples.
        let directions = c.list("directions").unwrap_or_default();
        let stopped = RefCell::new(None);
        let example = |none: &Vec<Tensor>, x: &Vec<Tensor>| -> (Vec<Tensor>, Vec<Tensor>) {
            let results = match scan_of(c, &body, x.clone(), carried, (&[], &directions), (&[], &[])) {
                Ok(results) => results.iter().filter_map(Operand::tensor).collect(),
                Err(stop) => {
                    stopped.borrow_mut().get_or_insert(stop);
                    Vec::new()
                }
            };
            (none.clone(), results)
        };
        let (_, joined) = scan(example, &Vec::new(), &all);
        return match stopped.into_inner() {
            Some(stop) => Err(stop),
            None => Ok(joined.into_iter().map(Operand::Tensor).collect()),
        };
    }
    let list = |name: &str| c.list(name).unwrap_or_default();
    let (axes, directions) = (list("scan_input_axes"), list("scan_input_directions"));
    let (out_axes, out_directions) = (list("scan_output_axes"), list("scan_output_directions"));
    let all = std::mem::take(&mut all);
    scan_of(c, &body, all, carried, (&axes, &directions), (&out_axes, &out_directions))
}

fn scan_of(
    c: &Call,
    body: &Arc<Graph>,
    all: Vec<Tensor>,
    carried: usize,
    (axes, directions): (&[i64], &[i64]),
    (out_axes, out_directions): (&[i64], &[i64]),
) -> Out {
    let at = |list: &[i64], i: usize| list.get(i).copied().unwrap_or(0);
    let start = all[..carried].to_vec();
    let mut xs = Vec::new();
    for (i, t) in all[carried..].iter().enumerate() {
        let axis = c.axis(at(axes, i), t.try_shape()?.rank())? as isize;
        let front = t.movedim(&[axis], &[0]);
        xs.push(if at(directions, i) == 1 { front.flip(&[0]) } else { front });
    }
    let stopped = RefCell::new(None);
    let count = body.outputs.len();
    let step = |carry: &Vec<Tensor>, x: &Vec<Tensor>| -> (Vec<Tensor>, Vec<Tensor>) {
        let mut results = tensors(c, body, carry.iter().chain(x).cloned().collect(), &stopped);
        results.resize(count, results[0].clone());
        let ys = results.split_off(carried.min(results.len()));
        (results, ys)
    };
    let (carry, ys) = scan(step, &start, &xs);
    if let Some(stop) = stopped.into_inner() {
        return Err(stop);
    }
    let mut results: Vec<Operand> = carry.into_iter().map(Operand::Tensor).collect();
    for (i, y) in ys.into_iter().enumerate() {
        let y = if at(out_directions, i) == 1 { y.flip(&[0]) } else { y };
        let axis = c.axis(at(out_axes, i), y.try_shape()?.rank())? as isize;
        results.push(Operand::Tensor(y.movedim(&[0], &[axis])));
    }
    Ok(results)
}
