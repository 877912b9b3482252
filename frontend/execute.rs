//! Running graphs that are not cached by their caller.

use crate::array::Array;
use ir::Graph;
use runtime::ExecError;

/// Runs a graph once.
pub(crate) fn run(graph: Graph, inputs: Vec<Array>) -> Result<Vec<Array>, ExecError> {
    let inputs: Vec<_> = inputs.iter().map(Array::to_literal).collect();
    Ok(runtime::interpret(&graph, &inputs)?.into_iter().map(Array::from_literal).collect())
}
