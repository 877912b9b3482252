//! An op or a graph with its gradient, in two parts: what runs forward, and what runs backward on what was kept.

use super::node::{Edge, Kind, Node};
use crate::device::{self, Device, made_here};
use crate::dispatch::here;
use crate::error::{Code, Error, Result};
use crate::strict;
use crate::tensor::{Held, Tensor};
use crate::transform::append;
use ir::{Dim, Graph, Scalar, Symbol, Value};
use passes::autodiff::{Again, Residual, active, append_vjp, partition};
use runtime::events::{self, Event};
use runtime::{Array, ExecError, Executable, Input, Outputs};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub(crate) type Inputs = SmallVec<[Input; 4]>;

/// What a node keeps for its gradient.
#[derive(Clone, Default)]
pub(crate) struct Saved {
    /// One for each residual of the plan, then the numbers of views if there are any, or all inputs and results if
    /// derivatives of derivatives need them.
    arrays: SmallVec<[Array; 3]>,
    /// Operands that are read through a view, with their number: their array is that of the base.
    viewed: SmallVec<[(usize, Tensor); 0]>,
}

impl Saved {
    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }
}

/// A graph that is compiled when it first runs.
struct Part {
    graph: Graph,
    /// Where it runs: a plan is kept under a key that names a device, and its gradient may be asked for elsewhere.
    device: Option<Device>,
    executable: OnceLock<Executable>,
}

impl Part {
    fn new(graph: Graph) -> Part {
        Part { graph, device: runtime::device::current().ok(), executable: OnceLock::new() }
    }

    fn executable(&self) -> Result<&Executable> {
        if let Some(executable) = self.executable.get() {
            return Ok(executable);
        }
        events::record(Event::Compile, format_args!("{} on the tape", self.graph.name));
        let made = device::on(self.device, || Executable::compile(&self.graph, &[])).map_err(Error::exec)?;
        Ok(self.executable.get_or_init(|| made))
    }

    fn call(&self, inputs: &mut [Input]) -> Result<Outputs> {
        self.executable()?.call(inputs).map_err(Error::exec)
    }
}

/// A graph with the gradients of its outputs by some inputs.
pub(crate) struct Plan {
    forward: Part,
    /// As many outputs of the forward part are the graph's own.
    outputs: usize,
    /// Which of those carry a gradient.
    active: SmallVec<[bool; 1]>,
    residuals: SmallVec<[Residual; 4]>,
    /// From residuals and a cotangent for each active output to the gradients.
    backward: Part,
    /// The same without views, to be differentiated itself.
    plain: Option<Graph>,
    /// The backward part takes the numbers of views last: they are the last input of the forward part.
    numbers: bool,
    /// The input that each gradient is by.
    by: SmallVec<[usize; 2]>,
    /// Why there is no backward, although there are gradients.
    refused: Option<Error>,
    /// The graph, with its gradients, where residuals are neither inputs nor outputs.
    whole: Option<Whole>,
    /// Plans for the backward part, by what of it is tracked.
    again: Mutex<Vec<(Vec<bool>, Arc<Plan>)>>,
}

/// What can be cut once more, for residuals that are inputs and outputs.
struct Whole {
    graph: Graph,
    known: Vec<Value>,
    outputs: Vec<Value>,
    gradients: Vec<Value>,
    cut: OnceLock<(Graph, Vec<Residual>)>,
}

/// Makes a graph read its inputs through views; for each input the operand that it stands for. Yields whether it got
/// another input, for the numbers of the views.
pub(crate) type WithViews<'a> = &'a mut dyn FnMut(&Graph, &[Option<usize>]) -> Result<(Graph, bool)>;

impl Plan {
    /// A plan for the gradients of all float outputs by some inputs, given by number.
    pub fn new(source: &Graph, wanted: &[usize], again: Again, with_views: Option<WithViews<'_>>) -> Result<Plan> {
        let made = catch_unwind(AssertUnwindSafe(|| Plan::make(source, wanted, again, with_views)));
        made.map_err(|payload| strict::bug(payload, "backward"))?
    }

    fn make(source: &Graph, wanted: &[usize], again: Again, with_views: Option<WithViews<'_>>) -> Result<Plan> {
        let mut graph = source.clone();
        let (known, outputs) = (graph.inputs().to_vec(), graph.outputs().to_vec());
        let wrt: Vec<Value> = wanted.iter().map(|&i| known[i]).collect();
        let depends = active(&graph, graph.root(), wrt.iter().copied());
        let mut seeds: Vec<(Value, Value)> = Vec::new();
        let mut reached: SmallVec<[bool; 1]> = outputs.iter().map(|v| depends[v.at()]).collect();
        for &v in outputs.iter().filter(|v| depends[v.at()]) {
            let ty = graph.ty(v).clone();
            seeds.push((v, graph.add_input(ty)));
        }
        let found = append_vjp(&mut graph, &seeds, &wrt);
        append::record_cuts(&found.cuts);
        let refused = append::refusal("backward", &found.cuts);
        let pairs = wanted.iter().zip(found.values).filter_map(|(&i, g)| Some((i, g?)));
        let (mut by, gradients): (SmallVec<[usize; 2]>, Vec<Value>) = pairs.unzip();
        if refused.is_some() {
            by = wanted.into();
        }
        if by.is_empty() {
            reached.iter_mut().for_each(|r| *r = false);
        }
        let cut = partition(&graph, &known, &outputs, &gradients, again);
        let extra = |r: &Residual| matches!(r, Residual::Output(i) if *i >= outputs.len());
        // A residual without elements is nothing that could be differentiated.
        let extras = cut.residuals.iter().any(|r| extra(r) && again != Again::All);
        let count = outputs.len();
        let whole = extras.then(|| Whole { graph, known, outputs, gradients, cut: OnceLock::new() });
        let residual_operand = |r: &Residual| match *r {
            Residual::Input(i) => Some(i),
            Residual::Output(_) => None,
        };
        let (forward, (backward, numbers), plain) = match with_views {
            Some(with_views) => {
                let inputs: Vec<Option<usize>> = (0..cut.forward.inputs().len()).map(Some).collect();
                let mut late: Vec<Option<usize>> = cut.residuals.iter().map(residual_operand).collect();
                late.resize(cut.backward.inputs().len(), None);
                let backward = with_views(&cut.backward, &late)?;
                (with_views(&cut.forward, &inputs)?.0, backward, Some(cut.backward))
            }
            None => (cut.forward, (cut.backward, false), None),
        };
        Ok(Plan {
            forward: Part::new(forward),
            outputs: count,
            active: reached,
            residuals: cut.residuals.into_iter().collect(),
            backward: Part::new(backward),
            plain,
            numbers,
            by,
            refused,
            whole,
            again: Mutex::default(),
        })
    }

    /// Compiles the forward part, for a plan that is to be kept.
    pub fn prepared(self) -> Result<Arc<Plan>> {
        self.forward.executable()?;
        Ok(Arc::new(self))
    }

    /// True unless no result carries a gradient.
    pub fn records(&self) -> bool {
        !self.by.is_empty()
    }

    /// Runs the forward part on the arrays of operands. Yields the results as arrays, and what to keep; `viewed` says
    /// which operand is read through a view.
    pub fn forward(&self, inputs: &mut Inputs, viewed: &dyn Fn(usize) -> Option<Tensor>) -> Result<(Outputs, Saved)> {
        let mut outputs = self.forward.call(inputs)?;
        let saved = if self.records() { self.saved(inputs, Some(&outputs), viewed) } else { Saved::default() };
        outputs.truncate(self.outputs);
        Ok((outputs, saved))
    }

    /// What a node keeps of inputs and outputs.
    pub fn saved(&self, inputs: &Inputs, outputs: Option<&Outputs>, viewed: &dyn Fn(usize) -> Option<Tensor>) -> Saved {
        let mut saved = Saved::default();
        let input = |i: usize| inputs[i].array().expect("inputs are shared").clone();
        for r in &self.residuals {
            saved.arrays.push(match *r {
                Residual::Input(i) => {
                    saved.viewed.extend(viewed(i).map(|t| (i, t)));
                    input(i)
                }
                Residual::Output(i) => outputs.expect("a view keeps no results")[i].clone(),
            });
        }
        if self.numbers {
            saved.arrays.extend(inputs.len().checked_sub(1).map(input));
        }
        if let (Some(_), Some(outputs)) = (&self.whole, outputs) {
            saved.arrays.extend((0..inputs.len()).map(input));
            saved.arrays.extend(outputs[..self.outputs].iter().cloned());
        }
        saved
    }

    /// The results as tensors of a node.
    pub fn tensors(
        self: &Arc<Plan>,
        name: &'static str,
        edge: &dyn Fn(usize) -> Option<Edge>,
        results: SmallVec<[Tensor; 1]>,
        saved: Saved,
        flat: Option<SmallVec<[usize; 4]>>,
    ) -> SmallVec<[Tensor; 1]> {
        if !self.records() {
            return results;
        }
        let edges = self.by.iter().map(|&i| edge(i)).collect();
        let node = Node::new(Kind::Op(self.clone(), flat), name, here(), edges, saved);
        let tensors = results.into_iter().enumerate();
        tensors.map(|(slot, t)| if self.active[slot] { node.result(slot, t) } else { t }).collect()
    }

    fn possible(&self) -> Result<()> {
        self.refused.as_ref().map_or(Ok(()), |e| Err(e.clone()))
    }

    /// The gradients, given the cotangents of the results that a gradient flows into.
    pub fn backward(
        &self,
        saved: &Saved,
        cotangents: &[Option<Tensor>],
        flat: Option<&[usize]>,
    ) -> Result<SmallVec<[Tensor; 2]>> {
        self.possible()?;
        let mut inputs: Inputs = saved.arrays[..self.residuals.len()].iter().cloned().map(Input::Shared).collect();
        for t in self.cotangents(saved, cotangents)? {
            inputs.push(Input::Shared(flattened(&t, flat)?));
        }
        if self.numbers {
            inputs.push(Input::Shared(saved.arrays[self.residuals.len()].clone()));
        }
        let gradients = self.backward.call(&mut inputs)?;
        gradients.into_iter().map(|a| restored(a, flat)).collect()
    }

    /// One for each active result; zeros where no gradient flows in.
    fn cotangents(&self, saved: &Saved, given: &[Option<Tensor>]) -> Result<SmallVec<[Tensor; 1]>> {
        let first = self.residuals.len();
        let slots = (0..self.outputs).filter(|&slot| self.active[slot]);
        let cotangent = |(number, slot): (usize, usize)| match given.get(slot).cloned().flatten() {
            Some(t) => Ok(t),
            None => {
                let graph = &self.backward.graph;
                let ty = graph.ty(graph.inputs()[first + number]);
                let dims = self.extents(saved, given, ty.shape.iter())?;
                let zeros = Array::filled(&dims, Scalar::zero(ty.dtype)).map_err(Error::exec)?;
                made_here(zeros).map(Tensor::array)
            }
        };
        slots.enumerate().map(cotangent).collect()
    }

    /// Numbers for dimensions of the backward part, from what is known of its inputs.
    fn extents<'a>(
        &self,
        saved: &Saved,
        given: &[Option<Tensor>],
        dims: impl Iterator<Item = &'a Dim>,
    ) -> Result<SmallVec<[usize; 4]>> {
        let graph = &self.backward.graph;
        let mut values: HashMap<Symbol, i64> = HashMap::new();
        let mut bind = |v: Value, dims: &[usize]| {
            for (d, &n) in graph.ty(v).shape.iter().zip(dims) {
                values.extend(d.symbols().into_iter().filter(|s| *d == Dim::symbol(s.name())).map(|s| (s, n as i64)));
            }
        };
        let late = graph.inputs();
        saved.arrays.iter().zip(&late[..self.residuals.len()]).for_each(|(a, &v)| bind(v, a.dims()));
        let slots = (0..self.outputs).filter(|&slot| self.active[slot]);
        for (slot, &v) in slots.zip(&late[self.residuals.len()..]) {
            if let Some(Held::Array(a)) = given.get(slot).and_then(Option::as_ref).map(Tensor::held) {
                bind(v, a.dims());
            }
        }
        let value = |s: &Symbol| values.get(s).copied();
        let number = |d: &Dim| d.eval(&value).and_then(|n| usize::try_from(n).ok());
        let unknown = || Error::exec(ExecError::Bug("a result of unknown extents".into()));
        dims.map(|d| number(d).ok_or_else(unknown)).collect()
    }

    /// As [`Plan::backward`], on the tape itself: the gradients can be differentiated by what the node's operands and the
    /// cotangents were made of.
    pub fn backward_tracked(
        &self,
        node: &Arc<Node>,
        saved: &Saved,
        cotangents: &[Option<Tensor>],
        flat: Option<&[usize]>,
    ) -> Result<SmallVec<[Tensor; 2]>> {
        self.possible()?;
        let (graph, residuals, all): (&Graph, &[Residual], _) = match &self.whole {
            None => (self.plain.as_ref().unwrap_or(&self.backward.graph), &self.residuals, None),
            Some(whole) => {
                let cut = whole.cut.get_or_init(|| {
                    let Whole { graph, known, outputs, gradients, .. } = whole;
                    let cut = partition(graph, known, outputs, gradients, Again::All);
                    (cut.backward, cut.residuals)
                });
                (&cut.0, &cut.1, Some(&saved.arrays[self.residuals.len()..]))
            }
        };
        let mut arguments: SmallVec<[Tensor; 4]> = SmallVec::new();
        for (number, r) in residuals.iter().enumerate() {
            let array = match (all, *r) {
                (None, _) => Some(&saved.arrays[number]),
                (Some(all), Residual::Input(i)) => all.get(i),
                (Some(all), Residual::Output(i)) => all.get(all.len() - self.outputs + i),
            };
            let Some(array) = array.cloned() else {
                let rule = "it has symbolic extents that the second derivative could not learn";
                let legal = "call it without dynamic axes";
                return Err(Error::new(Code::Gradient, node.name, rule, legal).at(node.line));
            };
            let edge = match *r {
                Residual::Input(i) => self.by.iter().position(|&j| j == i).and_then(|k| node.edges[k].clone()),
                Residual::Output(slot) => {
                    (slot < self.outputs && self.active[slot]).then(|| Edge { node: node.clone(), slot })
                }
            };
            let value = match *r {
                Residual::Input(i) => saved.viewed.iter().find(|(j, _)| *j == i).map(|(_, t)| t.clone()),
                Residual::Output(_) => None,
            };
            let value = value.map_or_else(|| restored(array, flat), Ok)?;
            arguments.push(match edge {
                Some(edge) => edge.node.result(edge.slot, value),
                None => value,
            });
        }
        arguments.extend(self.cotangents(saved, cotangents)?);
        let wanted: Vec<bool> = arguments.iter().map(|t| t.tracked().is_some()).collect();
        let plan = self.again(graph, wanted)?;
        plan.run(node.name, &arguments, flat)
    }

    fn again(&self, graph: &Graph, wanted: Vec<bool>) -> Result<Arc<Plan>> {
        let find = |all: &[(Vec<bool>, Arc<Plan>)]| all.iter().find(|(w, _)| *w == wanted).map(|(_, p)| p.clone());
        let known = find(&self.again.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(plan) = known {
            return Ok(plan);
        }
        let by: Vec<usize> = (0..wanted.len()).filter(|&i| wanted[i]).collect();
        let plan = Arc::new(Plan::new(graph, &by, Again::All, None)?);
        self.again.lock().unwrap_or_else(PoisonError::into_inner).push((wanted, plan.clone()));
        Ok(plan)
    }

    /// Runs it on tensors.
    pub fn run(
        self: &Arc<Plan>,
        name: &'static str,
        arguments: &[Tensor],
        flat: Option<&[usize]>,
    ) -> Result<SmallVec<[Tensor; 2]>> {
        let mut inputs: Inputs = SmallVec::new();
        for t in arguments {
            inputs.push(Input::Shared(flattened(t, flat)?));
        }
        let (outputs, saved) = self.forward(&mut inputs, &|_| None)?;
        let results = outputs.into_iter().map(|a| restored(a, flat)).collect::<Result<_>>()?;
        let dims = flat.map(SmallVec::from_slice);
        Ok(self.tensors(name, &|i| Edge::of(&arguments[i]), results, saved, dims).into_iter().collect())
    }
}

/// The array of a tensor, along one axis where that is how the op runs.
fn flattened(t: &Tensor, flat: Option<&[usize]>) -> Result<Array> {
    let array = match t.held() {
        Held::Array(a) => a,
        Held::Error(e) => return Err(e),
        Held::Traced(v) => return Err(crate::trace::ended("backward", v)),
    };
    match flat {
        Some(_) if array.dims().len() > 1 => array.reshaped(&[array.numel()]).map_err(Error::exec),
        _ => Ok(array.clone()),
    }
}

fn restored(array: Array, flat: Option<&[usize]>) -> Result<Tensor> {
    match flat {
        Some(dims) if array.dims().len() == 1 && dims.len() != 1 => array.reshaped(dims).map_err(Error::exec),
        _ => Ok(array),
    }
    .map(Tensor::array)
}
