//! Eager calls: each public op runs as a graph of its own.

use crate::dispatch::{Call, here};
use crate::error::Error;
use crate::execute;
use crate::scope;
use crate::tensor::{Repr, Tensor};
use crate::trace;
use ir::Graph;
use runtime::Array;

pub(crate) fn run(call: &Call<'_>, operands: &[&Tensor], body: &dyn Fn(&[Tensor]) -> Tensor) -> Tensor {
    let graph = match record(call, operands, body) {
        Ok(graph) => graph,
        Err(e) => return Tensor(Repr::Error(e)),
    };
    let inputs: Vec<Array> = operands.iter().map(|t| array(t).clone()).collect();
    match execute::run(&graph, &inputs) {
        Ok(mut outputs) => Tensor::array(outputs.remove(0)),
        Err(e) => Tensor::error(Error::exec(e).at(here()).in_scope(&scope::current())),
    }
}

fn array(t: &Tensor) -> &Array {
    match &t.0 {
        Repr::Array(a) => a,
        _ => unreachable!("run has refused traced values and errors"),
    }
}

/// The op as a graph over its operands' types.
fn record(call: &Call<'_>, operands: &[&Tensor], body: &dyn Fn(&[Tensor]) -> Tensor) -> Result<Graph, Error> {
    let guard = trace::open("eager", call.name);
    let inputs: Vec<Tensor> = operands.iter().map(|t| trace::input(t.ty(), here())).collect();
    let _scope = call.scoped.then(|| scope::enter(call.name));
    let result = body(&inputs);
    if let Some(e) = result.error_ref() {
        return Err(e.clone());
    }
    let value = trace::lift(&result)?;
    let mut trace = guard.finish();
    debug_assert!(trace.captures.is_empty(), "{} captures tensors that are not its operands", call.name);
    trace.graph.set_outputs(vec![value]);
    Ok(trace.graph)
}
