//! Running graphs that are not cached by their caller.

use ir::Graph;
use runtime::{Array, ExecError, Executable, Input, Outputs};

/// Runs a graph once.
pub(crate) fn run(graph: &Graph, inputs: &[Array]) -> Result<Outputs, ExecError> {
    let mut inputs: Vec<Input> = inputs.iter().cloned().map(Input::Shared).collect();
    Executable::compile(graph, &[])?.call(&mut inputs)
}
