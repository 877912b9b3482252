//! Tracing a function for one signature.

use super::key::Signature;
use super::{Arguments, Function};
use crate::cell::CellId;
use crate::device::{self, Device};
use crate::dispatch::{here, leave};
use crate::error::{Code, Error, Result};
use crate::strict;
use crate::tensor::{Held, Tensor};
use crate::trace;
use crate::tree::{Tree, leaves};
use ir::{Graph, Symbol, Value};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Where an input of the graph comes from, after those of the leaves.
pub(crate) enum Feed {
    /// A tensor that the function captured.
    Capture(Tensor),
    /// The value of the cell of that number.
    Cell(usize),
}

/// Where a result comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// An output of the graph.
    Output(usize),
    /// An input of the graph, unchanged.
    Input(usize),
}

/// A cell that the function touches.
pub(crate) struct TouchedCell {
    pub cell: Arc<dyn CellId>,
    /// What it becomes, if it is written.
    pub write: Option<Source>,
}

/// What joins a traced graph to trees of tensors and to cells.
pub(crate) struct Wiring<R> {
    /// For each leaf, the input it is, and whether it is the first of the leaves that are this input. Inputs that are
    /// leaves come first.
    pub leaf_input: Vec<(usize, bool)>,
    /// Where the other inputs come from.
    pub feeds: Vec<Feed>,
    /// The result, for all but its leaves.
    pub template: R,
    /// Where each leaf of the result comes from.
    pub results: Vec<Source>,
    pub cells: Vec<TouchedCell>,
}

/// A traced function.
pub(crate) struct Recorded<R> {
    pub graph: Graph,
    pub wiring: Wiring<R>,
}

impl<R> Wiring<R> {
    /// Where the function runs: on the GPU of what it captures, unless its arguments are on another one.
    ///
    /// # Errors
    /// A tensor that it captures is elsewhere.
    pub fn place(&self) -> Result<Device> {
        let captures = self.feeds.iter().filter_map(|f| if let Feed::Capture(t) = f { Some(t) } else { None });
        let mut place = crate::modes::current()?.device();
        if place == Device::Cpu {
            place = device::of_tensors(captures.clone()).unwrap_or(place);
        }
        for t in captures {
            if let Some(other) = device::fixed_place(t).filter(|&other| other != place) {
                let rule = format!("a captured tensor, {}, is on {other}, and the function runs on {place}", t.ty());
                return Err(Error::new(Code::Argument, "jit", rule, "capture what `to_device` has moved there"));
            }
        }
        Ok(place)
    }
}

impl<R> Recorded<R> {
    pub fn parts(&self) -> (&Graph, &Wiring<R>) {
        (&self.graph, &self.wiring)
    }

    /// Inputs that are among the first `leaves` leaves, each with the output that may take over its memory: the result
    /// that stands where the leaf stood, if nothing else needs the old value and they have one type.
    pub fn donations(&self, leaves: usize) -> Vec<(usize, usize)> {
        let w = &self.wiring;
        let types = (self.graph.input_types(), self.graph.output_types());
        let mut donations: Vec<(usize, usize)> = Vec::new();
        for (source, &(input, _)) in w.results.iter().zip(&w.leaf_input).take(leaves) {
            let Source::Output(out) = *source else { continue };
            let mut kept = w.results.iter().chain(w.cells.iter().filter_map(|c| c.write.as_ref()));
            let kept = kept.any(|s| *s == Source::Input(input));
            let paired = donations.iter().any(|(i, o)| *i == input || *o == out);
            if !kept && !paired && types.0[input] == types.1[out] {
                donations.push((input, out));
            }
        }
        donations
    }
}

/// Runs the function once on traced values.
pub(crate) fn record<A: 'static, R: Tree>(
    f: &dyn Function<A, Output = R>,
    name: &str,
    arguments: &dyn Arguments<A>,
    signature: &Signature,
    symbols: &[(Symbol, i64)],
) -> Result<Recorded<R>> {
    let guard = trace::open("jit", name);
    for decl in &signature.symbols {
        if let Some((_, value)) = symbols.iter().find(|(s, _)| *s == decl.symbol) {
            trace::declare(decl.clone(), Some(*value));
        }
    }
    // Leaves over the same memory are one input, unless they see it under different types.
    let mut inputs: Vec<Tensor> = Vec::new();
    let mut leaf_input: Vec<(usize, bool)> = Vec::new();
    let types = signature.leaves();
    for (i, leaf) in types.iter().enumerate() {
        let tied = if leaf.1 == i { None } else { (leaf.1..i).find(|&j| types[j] == *leaf) };
        if let Some(j) = tied {
            leaf_input.push((leaf_input[j].0, false));
            continue;
        }
        leaf_input.push((inputs.len(), true));
        inputs.push(trace::input(leaf.0.clone(), here()));
    }
    let mut numbers = leaf_input.iter();
    let traced = arguments.map(&mut |_| inputs[numbers.next().expect("one number per leaf").0].clone());
    let outcome = {
        let _line = leave();
        catch_unwind(AssertUnwindSafe(|| f.run(traced)))
    };
    let template = outcome.map_err(|payload| strict::caught(payload, "jit"))?;
    let mut values: Vec<Value> = Vec::new();
    for (path, t) in leaves(&|v| template.visit(v), "result") {
        values.push(lift(&t).map_err(|e| located(e, &path))?);
    }
    // Outputs are lifted while the trace is open; a cell's last value may be any tensor.
    let mut writes: Vec<Option<Value>> = Vec::new();
    for written in trace::cell_writes() {
        writes.push(written.map(|t| lift(&t)).transpose()?);
    }
    let done = guard.finish();
    let mut graph = done.graph;
    let input_number: HashMap<Value, usize> = graph.inputs().iter().enumerate().map(|(i, &v)| (v, i)).collect();
    let mut outputs: Vec<Value> = Vec::new();
    let mut source = |v: Value| match input_number.get(&v) {
        Some(&i) => Source::Input(i),
        None => Source::Output(outputs.iter().position(|&o| o == v).unwrap_or_else(|| {
            outputs.push(v);
            outputs.len() - 1
        })),
    };
    let results = values.into_iter().map(&mut source).collect();
    let cells: Vec<TouchedCell> = done
        .cells
        .iter()
        .zip(writes)
        .map(|(c, write)| TouchedCell { cell: c.cell.clone(), write: write.map(&mut source) })
        .collect();
    let mut feeds = Vec::new();
    for &v in &graph.inputs()[inputs.len()..] {
        feeds.push(match done.cells.iter().position(|c| c.input == v) {
            Some(i) => Feed::Cell(i),
            None => {
                let (tensor, _) = done.captures.iter().find(|(_, w)| *w == v).expect("other inputs are captures");
                match tensor.held() {
                    Held::Array(_) => Feed::Capture(tensor.clone()),
                    _ => return Err(Error::new(Code::Bug, "jit", "a capture is not an array", "please report it")),
                }
            }
        });
    }
    graph.set_outputs(outputs);
    Ok(Recorded { graph, wiring: Wiring { leaf_input, feeds, template, results, cells } })
}

fn lift(t: &Tensor) -> Result<Value> {
    match t.error_ref() {
        Some(e) => Err(e.clone()),
        None => trace::lift(t),
    }
}

fn located(e: Error, path: &str) -> Error {
    if e.code() == Code::Trace && e.location().is_none() { e.note(format!("in {path}")) } else { e }
}
