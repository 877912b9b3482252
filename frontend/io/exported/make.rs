//! Exported functions out of traces.

use super::{Exported, Input, Output, Role};
use crate::device;
use crate::error::{Code, Error, Result};
use crate::jit::{Feed, Source, Wiring};
use crate::tensor::Tensor;
use crate::tree::{Tree, leaves};
use ir::Graph;
use std::collections::HashMap;

/// What a function was traced with.
pub(crate) struct Traced {
    /// The leaves of the arguments with their paths, and their values if these are examples.
    pub leaves: Vec<(String, Option<Tensor>)>,
    /// The paths of cells, by their ids.
    pub cells: HashMap<u64, String>,
    /// The number of leaves of the state, of a function that updates one.
    pub state: Option<usize>,
}

/// Where the leaves of a state are, of a step, and what it makes of them.
const STATE: [&str; 2] = ["arguments.0", "result.0"];

impl Exported {
    /// Of a function that was traced with those arguments.
    pub(crate) fn of<R: Tree>(graph: Graph, wiring: &Wiring<R>, traced: Traced) -> Result<Exported> {
        let results = leaves(&|v| wiring.template.visit(v), "result");
        let mut results: Vec<(String, Source)> =
            results.into_iter().map(|(path, _)| path).zip(wiring.results.iter().copied()).collect();
        let mut next: Vec<Source> = Vec::new();
        if let Some(state) = traced.state {
            let is_state = |(path, _): &&(String, Source)| super::below(path, STATE[1]).is_some();
            let count = results.iter().filter(is_state).count();
            let new = results.drain(..count).collect::<Vec<_>>();
            let paths = new.iter().map(|(path, _)| &path[STATE[1].len()..]);
            if !paths.eq(traced.leaves[..state].iter().map(|(path, _)| &path[STATE[0].len()..])) {
                let legal = "a step that returns a state of the structure that it is given";
                return Err(Error::new(Code::Argument, "export_mut", "the new state has other leaves", legal));
            }
            next = new.into_iter().map(|(_, source)| source).collect();
        }
        let mut inputs: Vec<Input> = Vec::new();
        for (i, ((path, tensor), &(number, first))) in traced.leaves.iter().zip(&wiring.leaf_input).enumerate() {
            let name = match next.get(i) {
                Some(_) => format!("state{}", &path[STATE[0].len()..]),
                None => path.clone(),
            };
            // A leaf that stays as it is needs no update.
            let update = next.get(i).map(|&source| Some(source).filter(|s| *s != Source::Input(number)));
            if first {
                let role = update.map_or(Role::Argument, Role::State);
                let value = match tensor {
                    // A view is an example as it is; without elements it costs no memory.
                    Some(t) if role == Role::Argument => Some(t.plain().clone().ok()?),
                    Some(t) => Some(Tensor::array(t.read("export")?.clone())),
                    None => None,
                };
                inputs.push(Input { name, also: Vec::new(), role, value });
                continue;
            }
            let input = &mut inputs[number];
            match (input.role, update) {
                (Role::State(kept), Some(other)) if kept != other => {
                    let rule = format!("`{}` and `{name}` are one tensor and become two", input.name);
                    return Err(Error::new(Code::Argument, "export_mut", rule, "a state whose tied leaves stay tied"));
                }
                // An argument that is also in the state is given by it.
                _ => input.also.push(name),
            }
        }
        let captures = wiring.feeds.iter().filter_map(|f| if let Feed::Capture(t) = f { Some(t) } else { None });
        let place = device::of_tensors(traced.leaves.iter().filter_map(|(_, t)| t.as_ref()).chain(captures));
        for (i, feed) in wiring.feeds.iter().enumerate() {
            inputs.push(match feed {
                Feed::Capture(t) => {
                    let value = Some(Tensor::array(t.read("export")?.clone()));
                    Input { name: format!("captured.{i}"), also: Vec::new(), role: Role::Constant, value }
                }
                Feed::Cell(number) => {
                    let touched = &wiring.cells[*number];
                    let stored = touched.cell.stored();
                    let there = place.map_or_else(|| stored.clone(), |place| stored.to_device(place));
                    let value = Some(Tensor::array(there.read("export")?.clone()));
                    let path = traced.cells.get(&touched.cell.id()).cloned();
                    let path = path.map(|p| match super::below(&p, STATE[0]) {
                        Some(rest) if traced.state.is_some() => format!("state{rest}"),
                        _ => p.clone(),
                    });
                    let name = path.unwrap_or_else(|| format!("cells.{number}"));
                    Input { name, also: Vec::new(), role: Role::State(touched.write), value }
                }
            });
        }
        let name = |path: String| match super::below(&path, "result.1") {
            Some(rest) if traced.state.is_some() => format!("result{rest}"),
            _ => path,
        };
        let outputs = results.into_iter().map(|(path, source)| Output { name: name(path), source }).collect();
        let mut exported = Exported::new(graph, inputs, outputs);
        exported.lift_large();
        match exported.names_problem() {
            Some(problem) => Err(Error::new(Code::Argument, "export", problem, "keys of maps that make other paths")),
            None => Ok(exported),
        }
    }
}
