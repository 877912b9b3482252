//! Bounds through branches and loops: the regions are analysed on the bounds of what they are given, as often as they
//! run.

use super::{Bounded, Rules, of_results, settle};
use crate::interpreter::interpret_op;
use ir::ops::Control;
use ir::ops::control::{Scanning, chosen};
use ir::{Graph, Literal, Op, Region, Scalar};
use std::collections::HashMap;

/// The bounds of all results of an op, if something is known: not where a difference decides what runs, and not if
/// it runs for too long.
pub(super) fn bounds(
    graph: &Graph,
    op: Op,
    operands: &[&Bounded],
    results: &[Literal],
    rules: &Rules,
) -> Option<Vec<Vec<f64>>> {
    let data = graph.op(op);
    let all = || operands.iter().map(|&o| o.clone());
    let of = |values: Vec<Bounded>| values.into_iter().map(|v| v.bounds).collect();
    match data.primitive.control()? {
        Control::Switch => {
            let choice = operands[0];
            let at = choice.is_exact().then(|| chosen(choice.value.get(0), data.regions.len()))?;
            Some(of(region(graph, data.regions[at], all().skip(1).collect(), rules)?))
        }
        Control::Call(_) | Control::CustomVjp | Control::CustomJvp => {
            Some(of(region(graph, data.regions[0], all().collect(), rules)?))
        }
        Control::While { constants } => {
            let mut values: Vec<Bounded> = all().collect();
            loop {
                let goes_on = region(graph, data.regions[0], values.clone(), rules)?.remove(0);
                if !goes_on.is_exact() {
                    return None;
                }
                if goes_on.value.get(0) == Scalar::Bool(false) {
                    return Some(of(values.split_off(constants)));
                }
                let next = region(graph, data.regions[1], values.clone(), rules)?;
                values.truncate(constants);
                values.extend(next);
            }
        }
        Control::Scan(s) => scanned(graph, data.regions[0], &s, operands, results.len(), rules),
    }
}

fn scanned(
    graph: &Graph,
    body: Region,
    s: &Scanning,
    operands: &[&Bounded],
    results: usize,
    rules: &Rules,
) -> Option<Vec<Vec<f64>>> {
    let length = usize::try_from(rules.bindings.dim(&s.length).ok()?).ok()?;
    let (same, elements) = operands.split_at(s.constants + s.carried);
    let (constants, initial) = same.split_at(s.constants);
    let mut carried: Vec<Bounded> = initial.iter().map(|&c| c.clone()).collect();
    let mut stacked: Vec<Vec<Vec<f64>>> = vec![Vec::with_capacity(length); results - s.carried];
    for step in 0..length {
        let at = if s.reverse { length - 1 - step } else { step };
        let element = |x: &&Bounded| {
            let n = x.bounds.len() / length;
            Bounded { value: x.value.element(at), bounds: x.bounds[at * n..(at + 1) * n].to_vec() }
        };
        let number = Bounded::exact(Literal::scalar(Scalar::I64(at as i64)));
        let given = std::iter::once(number).chain(constants.iter().map(|&c| c.clone())).chain(carried);
        let mut yielded = region(graph, body, given.chain(elements.iter().map(element)).collect(), rules)?;
        let rest = yielded.split_off(s.carried);
        carried = yielded;
        stacked.iter_mut().zip(rest).for_each(|(all, one)| all.push(one.bounds));
    }
    let stacked = stacked.into_iter().map(|mut all| {
        if s.reverse {
            all.reverse();
        }
        all.concat()
    });
    Some(carried.into_iter().map(|c| c.bounds).chain(stacked).collect())
}

/// What a region yields for bounded values.
fn region(graph: &Graph, region: Region, given: Vec<Bounded>, rules: &Rules) -> Option<Vec<Bounded>> {
    rules.runs.set(rules.runs.get().checked_sub(1)?);
    let data = graph.region(region);
    let mut values: HashMap<_, Bounded> = data.params.iter().copied().zip(given).collect();
    for &op in &data.ops {
        let data = graph.op(op);
        let operands: Vec<&Bounded> = data.operands.iter().map(|v| &values[v]).collect();
        let literals: Vec<Literal> = operands.iter().map(|o| o.value.clone()).collect();
        let results = interpret_op(graph, &rules.bindings, op, &literals, rules.runs.get()).ok()?;
        let mut bounds = of_results(graph, op, &operands, &results, rules);
        for ((&v, value), bounds) in data.results.iter().zip(results).zip(&mut bounds) {
            settle(&value, bounds);
            values.insert(v, Bounded { value, bounds: std::mem::take(bounds) });
        }
    }
    Some(data.yields.iter().map(|v| values[v].clone()).collect())
}
