//! Backward: gradients along the tape, from results to leaves.

use super::modes::{enable_grad, no_grad};
use super::node::{Edge, Kind, Node};
use super::watch::{Watch, untracked};
use crate::device;
use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::{scope, trace};
use runtime::Array;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};

/// A backward, with what can be chosen about it.
///
/// ```
/// use tracewright::{Tensor, tape::Backward};
/// let x = Tensor::from(3.0f64).requires_grad();
/// let y = &x * &x * &x;
/// // The gradient of a gradient: the first is on the tape itself.
/// let first = Backward::of(&[&y]).create_graph().by(&[&x])?[0].clone().unwrap();
/// let second = Backward::of(&[&first]).by(&[&x])?[0].clone().unwrap();
/// assert_eq!((first.item::<f64>()?, second.item::<f64>()?), (27.0, 18.0));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[must_use = "it runs with `accumulate` or `by`"]
pub struct Backward {
    roots: Vec<Tensor>,
    cotangents: Vec<Tensor>,
    retain: bool,
    create_graph: bool,
}

impl Backward {
    /// Of the sum of these results, which must be scalars unless cotangents are given.
    pub fn of(results: &[&Tensor]) -> Backward {
        let roots = results.iter().map(|&t| t.clone()).collect();
        Backward { roots, cotangents: Vec::new(), retain: false, create_graph: false }
    }

    /// With a cotangent for each result, of its type.
    pub fn with(mut self, cotangents: &[&Tensor]) -> Backward {
        self.cotangents = cotangents.iter().map(|&t| t.clone()).collect();
        self
    }

    /// Keeps what the tape has, so that there can be another backward over it.
    pub fn retain(mut self) -> Backward {
        self.retain = true;
        self
    }

    /// Puts the gradients themselves on the tape, so that they can be differentiated. Keeps what the tape has, as long as there is
    /// the result or a gradient: those that are [accumulated](Backward::accumulate) go with their tensors.
    pub fn create_graph(mut self) -> Backward {
        self.create_graph = true;
        self.retain = true;
        self
    }

    /// Adds the gradients to those that leaves, and tensors that retain theirs, have. After an error they are as before.
    #[track_caller]
    pub fn accumulate(self) -> Result<()> {
        let _here = enter();
        let outcome = self.run(None).and_then(|(kept, _)| {
            let _alone = SUMS.lock().unwrap_or_else(PoisonError::into_inner);
            // All sums before the first change.
            let sums: Vec<_> =
                kept.into_iter().map(|(edge, g)| sum(edge, g, self.create_graph)).collect::<Result<_>>()?;
            for (edge, g) in sums {
                let set = |watch: &mut Box<Watch>| watch.set_gradient(edge.slot, Some(g));
                let before = edge.node.state().watch.as_mut().and_then(set);
                drop(before);
            }
            Ok(())
        });
        outcome.map_err(Error::observed)
    }

    /// The gradient by each of some tensors, `None` where the results do not depend on it. Nothing is accumulated.
    #[track_caller]
    pub fn by(self, inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
        let _here = enter();
        let edges: Result<Vec<Edge>> =
            inputs.iter().map(|t| Edge::of(t).ok_or_else(|| untracked("backward", t))).collect();
        let outcome = edges.and_then(|edges| {
            let (_, found) = self.run(Some(&edges))?;
            Ok(edges.iter().map(|e| found.get(&(e.node.id, e.slot)).cloned()).collect())
        });
        outcome.map_err(Error::observed)
    }

    /// Gradients to be added to what nodes keep, and those by `targets`.
    fn run(&self, targets: Option<&[Edge]>) -> Result<(Vec<(Edge, Tensor)>, Found)> {
        device::among(self.roots.iter(), || self.run_here(targets))
    }

    fn run_here(&self, targets: Option<&[Edge]>) -> Result<(Vec<(Edge, Tensor)>, Found)> {
        trace::refuse_inside("backward", "grad, value_and_grad or vjp of a function; there is no tape in a trace")?;
        let mut pass = Pass {
            pending: FxHashMap::default(),
            heap: BinaryHeap::new(),
            create_graph: self.create_graph,
            retain: self.retain,
        };
        let mut roots: Vec<Arc<Node>> = Vec::new();
        if !self.cotangents.is_empty() && self.cotangents.len() != self.roots.len() {
            let rule = format!("there are {} cotangents for {} results", self.cotangents.len(), self.roots.len());
            return Err(Error::new(Code::Gradient, "backward", rule, "one for each").at(here()));
        }
        for (i, root) in self.roots.iter().enumerate() {
            let Some(t) = root.tracked() else { return Err(untracked("backward", root)) };
            let cotangent = cotangent(root, self.cotangents.get(i))?;
            roots.push(t.node.clone());
            pass.add(&Edge { node: t.node.clone(), slot: t.slot }, cotangent)?;
        }
        match self.create_graph {
            true => enable_grad(|| pass.run(&roots, targets)),
            false => no_grad(|| pass.run(&roots, targets)),
        }
    }
}

/// Held while gradients are added to those that there are. No function of the user runs meanwhile.
static SUMS: Mutex<()> = Mutex::new(());

type Found = FxHashMap<(u64, usize), Tensor>;

/// The gradient that a backward begins with.
fn cotangent(root: &Tensor, given: Option<&Tensor>) -> Result<Tensor> {
    let ty = root.ty();
    let refuse = |rule: String, legal: String| {
        let e = Error::new(Code::Gradient, "backward", rule, legal).with_operands([ty.to_string()]);
        Err(e.at(here()).in_scope(&scope::current()))
    };
    match given {
        Some(t) if t.error_ref().is_some() => Err(t.try_type().expect_err("it is an error value")),
        Some(t) if t.ty() != ty => refuse(format!("the cotangent has type {}", t.ty()), ty.to_string()),
        Some(t) => Ok(t.clone()),
        None if ty.rank() > 0 && !ty.shape.numel().is(1) => {
            refuse("the result is not a scalar".into(), "a scalar, or backward_with a cotangent".into())
        }
        None => {
            let dims = ty.shape.known().unwrap_or_default();
            let one = Array::filled(&dims, ir::Scalar::one(ty.dtype)).map_err(Error::exec)?;
            device::made_here(one).map(Tensor::array)
        }
    }
}

/// What a node keeps with what is added to it.
fn sum(edge: Edge, g: Tensor, create_graph: bool) -> Result<(Edge, Tensor)> {
    let before = edge.node.state().watch.as_ref().and_then(|w| w.gradient(edge.slot));
    let add = || match before {
        Some(before) => before + &g,
        None => g.clone(),
    };
    let sum = if create_graph { enable_grad(add) } else { no_grad(add) };
    Ok((edge, sum.ok()?))
}

/// A node with the gradients of its results so far.
type Waiting = (Arc<Node>, SmallVec<[Option<Tensor>; 1]>);

/// Gradients that wait for their node, by its number.
struct Pass {
    pending: FxHashMap<u64, Waiting>,
    /// Numbers of those nodes. Larger ones come first: nobody adds to them any more.
    heap: BinaryHeap<u64>,
    create_graph: bool,
    retain: bool,
}

impl Pass {
    fn add(&mut self, edge: &Edge, g: Tensor) -> Result<()> {
        let (_, slots) = self.pending.entry(edge.node.id).or_insert_with(|| {
            self.heap.push(edge.node.id);
            (edge.node.clone(), SmallVec::new())
        });
        if slots.len() <= edge.slot {
            slots.resize(edge.slot + 1, None);
        }
        let slot = &mut slots[edge.slot];
        *slot = Some(match slot.take() {
            Some(before) => (before + g).ok()?,
            None => g,
        });
        Ok(())
    }

    fn run(mut self, roots: &[Arc<Node>], targets: Option<&[Edge]>) -> Result<(Vec<(Edge, Tensor)>, Found)> {
        let needed = targets.map(|targets| needed(roots, targets));
        let (mut kept, mut found) = (Vec::new(), Found::default());
        while let Some(id) = self.heap.pop() {
            let (node, mut slots) = self.pending.remove(&id).expect("it is pending as long as its number is");
            self.watched(&node, &mut slots, targets.is_none(), &mut kept)?;
            for target in targets.unwrap_or_default().iter().filter(|t| t.node.id == id) {
                if let Some(Some(g)) = slots.get(target.slot) {
                    found.insert((id, target.slot), g.clone());
                }
            }
            if node.is_leaf() || slots.iter().all(Option::is_none) {
                continue;
            }
            let leads = |edge: &&Edge| needed.as_ref().is_none_or(|n| n.contains(&edge.node.id));
            if !node.edges.iter().flatten().any(|e| leads(&e)) {
                continue;
            }
            // Ops share executables, whose lines are those of their first use; functions know theirs.
            let own = ["jit", "apply", "call"].contains(&node.name);
            let gradients = self.through(&node, &slots).map_err(|e| match e.location() {
                Some(_) if own || e.op() == "backward" => e,
                _ => {
                    let e = if own { e } else { e.without_lines() };
                    e.at(node.line).note("in the gradient of that line")
                }
            })?;
            for (edge, g) in node.edges.iter().zip(gradients) {
                if let Some(edge) = edge.as_ref().filter(leads) {
                    self.add(edge, g)?;
                }
            }
        }
        Ok((kept, found))
    }

    /// Runs the hooks of a node on the gradients of its results, and notes those that it keeps.
    fn watched(
        &self,
        node: &Arc<Node>,
        slots: &mut [Option<Tensor>],
        keep: bool,
        kept: &mut Vec<(Edge, Tensor)>,
    ) -> Result<()> {
        if node.state().watch.is_none() {
            return Ok(());
        }
        for (slot, g) in slots.iter_mut().enumerate() {
            let Some(g) = g else { continue };
            let (hooks, keeps) = match &node.state().watch {
                Some(watch) => (watch.hooks(slot), watch.keeps(slot)),
                None => continue,
            };
            for hook in hooks {
                let Some(new) = hook(g) else { continue };
                let new = new.ok()?;
                if new.ty() != g.ty() {
                    let rule = format!("a hook made {} of {}", new.ty(), g.ty());
                    let e = Error::new(Code::Gradient, "backward", rule, format!("{}", g.ty()));
                    return Err(e.at(node.line).note("on the result of that line"));
                }
                *g = new;
            }
            if keep && keeps {
                let g = if self.create_graph { g.clone() } else { g.detach() };
                kept.push((Edge { node: node.clone(), slot }, g));
            }
        }
        Ok(())
    }

    /// The gradients that go along the edges of a node.
    fn through(&self, node: &Arc<Node>, slots: &[Option<Tensor>]) -> Result<SmallVec<[Tensor; 2]>> {
        match &node.kind {
            Kind::Leaf => Ok(SmallVec::new()),
            Kind::Reshape(shape) => slots.iter().flatten().map(|g| g.reshape(shape.clone()).ok()).collect(),
            Kind::Op(plan, flat) => {
                let saved = node.saved(self.retain)?;
                match self.create_graph {
                    true => plan.backward_tracked(node, &saved, slots, flat.as_deref()),
                    false => plan.backward(&saved, slots, flat.as_deref()),
                }
            }
        }
    }
}

/// Numbers of the nodes from which some targets are reached.
fn needed(roots: &[Arc<Node>], targets: &[Edge]) -> FxHashSet<u64> {
    let mut all: FxHashMap<u64, Arc<Node>> = FxHashMap::default();
    let least = targets.iter().map(|t| t.node.id).min().unwrap_or(0);
    let mut stack: Vec<Arc<Node>> = roots.to_vec();
    while let Some(node) = stack.pop() {
        if node.id < least || all.contains_key(&node.id) {
            continue;
        }
        stack.extend(node.edges.iter().flatten().map(|e| e.node.clone()));
        all.insert(node.id, node);
    }
    let mut order: Vec<u64> = all.keys().copied().collect();
    order.sort_unstable();
    let mut needed: FxHashSet<u64> = targets.iter().map(|t| t.node.id).collect();
    for id in order {
        if all[&id].edges.iter().flatten().any(|e| needed.contains(&e.node.id)) {
            needed.insert(id);
        }
    }
    needed
}
