//! What a value depends on, in whatever way: through branches and loops only as far as what they yield does.

use ir::graph::OpData;
use ir::ops::Control;
use ir::{Graph, Region, Value};

/// Which values of the root region depend on some of them: a table by value.
pub(super) fn dependent(graph: &Graph, from: &[Value]) -> Vec<bool> {
    let mut table = vec![false; graph.value_count()];
    from.iter().for_each(|v| table[v.at()] = true);
    follow(graph, graph.root(), &mut table);
    table
}

fn follow(graph: &Graph, region: Region, table: &mut Vec<bool>) {
    for &op in &graph.region(region).ops {
        let data = graph.op(op);
        if !data.operands.iter().any(|v| table[v.at()]) {
            continue;
        }
        match data.primitive.control() {
            Some(control) if !chooses(data, &control, table) => follow_regions(graph, data, &control, table),
            _ => data.results.iter().for_each(|r| table[r.at()] = true),
        }
    }
}

/// True if it depends on them which branch runs.
fn chooses(data: &OpData, control: &Control, table: &[bool]) -> bool {
    *control == Control::Switch && table[data.operands[0].at()]
}

/// Into the regions of an op, round and round where values are carried.
fn follow_regions(graph: &Graph, data: &OpData, control: &Control, table: &mut Vec<bool>) {
    // Of a function with a derivative of its own the function itself.
    let regions = if control.is_custom() { &data.regions[..1] } else { &data.regions[..] };
    let parameter = |operand: usize| if control.is_custom() { Some(operand) } else { control.parameter(operand) };
    loop {
        let mut changed = false;
        for (number, &region) in regions.iter().enumerate() {
            let inner = graph.region(region);
            for (i, v) in data.operands.iter().enumerate() {
                if let (true, Some(at)) = (table[v.at()], parameter(i)) {
                    table[inner.params[at].at()] = true;
                }
            }
            for (k, result) in data.results.iter().enumerate() {
                if let (true, Some(at)) = (table[result.at()], control.carries(k).and_then(parameter)) {
                    table[inner.params[at].at()] = true;
                }
            }
            follow(graph, region, table);
            let one_by_one = control.is_custom() || control.yields_results(number);
            for (k, result) in data.results.iter().enumerate() {
                // How often a loop runs is part of what it yields.
                let from = if one_by_one { k } else { 0 };
                changed |= table[inner.yields[from].at()] && !std::mem::replace(&mut table[result.at()], true);
            }
        }
        if !changed {
            return;
        }
    }
}
