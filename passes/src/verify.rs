//! What every graph between passes must satisfy.

use ir::graph::Definition;
use ir::{Graph, Region};

/// Checks that each region defines values before their use, that result types are those of the type rules, that
/// tables agree with each other, and that every op has an origin.
pub(crate) fn verify(graph: &Graph) -> Result<(), String> {
    let mut home = vec![None; graph.value_count()];
    region(graph, graph.root(), &mut home)
}

fn region(graph: &Graph, r: Region, home: &mut [Option<Region>]) -> Result<(), String> {
    let data = graph.region(r);
    for (i, &p) in data.params.iter().enumerate() {
        if graph.value(p).def != Definition::Param(r, i as u32) {
            return Err(format!("parameter {i} of region {} is defined as {:?}", r.0, graph.value(p).def));
        }
        home[p.at()] = Some(r);
    }
    for &op in &data.ops {
        let d = graph.op(op);
        let name = d.primitive.name();
        if let Some(i) = d.operands.iter().position(|v| home[v.at()] != Some(r)) {
            return Err(format!("operand {i} of `{name}` (op {}) is not defined before it in its region", op.0));
        }
        if d.origins.is_empty() {
            return Err(format!("`{name}` (op {}) has lost its origin", op.0));
        }
        for &inner in &d.regions {
            region(graph, inner, home)?;
        }
        let types = graph.infer(&d.primitive, &d.operands, &d.regions).map_err(|e| e.to_string())?;
        if !types.iter().eq(d.results.iter().map(|&v| graph.ty(v))) {
            return Err(format!("`{name}` (op {}) has results of other types than {types:?}", op.0));
        }
        for (i, &v) in d.results.iter().enumerate() {
            if graph.value(v).def != Definition::Result(op, i as u32) {
                return Err(format!("result {i} of `{name}` (op {}) is defined as {:?}", op.0, graph.value(v).def));
            }
            if home[v.at()].replace(r).is_some() {
                return Err(format!("`{name}` (op {}) stands in two places", op.0));
            }
        }
    }
    match data.yields.iter().position(|v| home[v.at()] != Some(r)) {
        Some(i) => Err(format!("yield {i} of region {} is not defined in it", r.0)),
        None => Ok(()),
    }
}
