//! A graph for the extents of a call, to be recorded into a trace.

use crate::error::{Code, Error, Result};
use ir::graph::{Region, Value};
use ir::{Dim, Graph, Symbol, Type};
use std::collections::HashMap;

/// What the symbols of these types are, of inputs that have those; everything that does not fit, by the position of the input.
pub(super) fn bindings(declared: &[Type], given: &[Type]) -> (HashMap<Symbol, Dim>, Vec<usize>) {
    let mut symbols: HashMap<Symbol, Dim> = HashMap::new();
    let mut wrong = Vec::new();
    let mut compound = Vec::new();
    for (i, (d, g)) in declared.iter().zip(given).enumerate() {
        if d.dtype != g.dtype || d.rank() != g.rank() {
            wrong.push(i);
            continue;
        }
        for (dim, extent) in d.shape.iter().zip(g.shape.iter()) {
            let symbol = dim.symbols().into_iter().next().filter(|s| *dim == Dim::symbol(s.name()));
            let fits = match (symbol, dim.is_static()) {
                (Some(symbol), _) => *symbols.entry(symbol).or_insert_with(|| extent.clone()) == *extent,
                (None, true) => dim == extent,
                (None, false) => {
                    compound.push((i, dim, extent));
                    true
                }
            };
            if !fits {
                wrong.push(i);
                break;
            }
        }
    }
    for (i, dim, extent) in compound {
        if dim.substitute(&|s| symbols.get(s).cloned()) != *extent && !wrong.contains(&i) {
            wrong.push(i);
        }
    }
    (symbols, wrong)
}

/// The graph with symbols replaced.
pub(super) fn specialize(graph: &Graph, symbols: &HashMap<Symbol, Dim>) -> Result<Graph> {
    if graph.symbols.is_empty() && symbols.is_empty() {
        return Ok(graph.clone());
    }
    let mut new = Graph::new(&graph.name);
    let root = new.root();
    copy(graph, graph.root(), &mut new, root, symbols)?;
    Ok(new)
}

fn copy(from: &Graph, r: Region, to: &mut Graph, into: Region, symbols: &HashMap<Symbol, Dim>) -> Result<()> {
    let bound = |s: &Symbol| symbols.get(s).cloned();
    let mut values: HashMap<Value, Value> = HashMap::new();
    for &p in &from.region(r).params {
        let ty = from.ty(p);
        let shape: Vec<Dim> = ty.shape.iter().map(|d| d.substitute(&bound)).collect();
        let ty = Type::new(ty.dtype, shape.as_slice());
        values.insert(p, to.add_param(into, ty));
    }
    for &op in &from.region(r).ops {
        let data = from.op(op);
        let mut regions = Vec::new();
        for &inner in &data.regions {
            let region = to.add_region();
            copy(from, inner, to, region, symbols)?;
            regions.push(region);
        }
        let origins: Vec<_> = data.origins.iter().map(|&o| to.origins.intern(from.origins.get(o).clone())).collect();
        let operands: Vec<Value> = data.operands.iter().map(|v| values[v]).collect();
        let primitive = data.primitive.with_symbols(&bound);
        let made = to.append(into, primitive, &operands, &regions, &origins).map_err(|violation| {
            let e = Error::violation(violation);
            let e = if e.code() == Code::Bug { e } else { e.note("with the extents of this call") };
            data.origins.first().map_or(e.clone(), |&o| e.at_origin(from.origins.get(o)))
        })?;
        let results = to.op(made).results.clone();
        values.extend(data.results.iter().copied().zip(results));
    }
    to.region_mut(into).yields = from.region(r).yields.iter().map(|v| values[v]).collect();
    Ok(())
}
