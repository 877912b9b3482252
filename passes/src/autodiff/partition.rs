//! Cutting a graph that holds a function and its gradients into one that runs first and one that runs later.
//!
//! What the first hands to the second are the residuals. Which values those are is a minimum cut of the data flow: a value
//! costs its bytes, an input of the function next to nothing, since it is there anyway, as is an output; and what is
//! cheap to compute again from other residuals need not be one. So views, generators, constants and cheap pointwise ops
//! are computed on both sides where that saves memory. (Chen, Xu, Zhang, Guestrin, *Training Deep Nets with Sublinear
//! Memory Cost*, 2016, is the idea of computing again; the cut by maximum flow is Ford and Fulkerson's.)

use super::needed;
use crate::cse::EliminateCommonSubexpressions;
use crate::dce::{is_droppable, sweep_dead};
use crate::pass::{Pass, PassContext, PassOptions};
use ir::graph::SymbolDecl;
use ir::kernel::KernelBuilder;
use ir::ops::control::Kept;
use ir::ops::create;
use ir::origin::OriginId;
use ir::{DType, Dim, Graph, Lowering, Op, Scalar, Symbol, Value};
use petgraph::algo::dinics;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The least cost of a pointwise op, in additions, that is worth memory to save.
const DEAR: u64 = 8;
/// What an extent counts as that no number is known for.
const EXTENT: i64 = 64;
/// The capacity of an edge that no cut may take.
const UNCUT: u64 = u64::MAX / 4;
/// What it costs to save what should be computed again, where it cannot be: more than any memory, and so many of them
/// still have a sum.
const DEAREST: u64 = 1 << 41;

/// What the second graph may compute anew of what the first had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again<'a> {
    /// What is cheap, if it makes the residuals smaller. What only the second graph needs is computed there.
    Cheap,
    /// Views, generators and constants only: the first graph computes all that it can. For a second graph that runs many
    /// times.
    Free,
    /// Everything: residuals are inputs and outputs only, which are all that a caller knows.
    All,
    /// Everything but what is kept.
    AllBut(&'a Kept),
}

/// Where a residual is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Residual {
    /// It is the known input of that number, passed on.
    Input(usize),
    /// It is the output of that number of the first graph: one of the outputs asked for, or one after those.
    Output(usize),
}

/// What [`partition`] makes.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Takes the known inputs. Yields the outputs asked for, then the residuals that are neither inputs nor outputs.
    pub forward: Graph,
    /// Takes the residuals, then the other inputs. Yields the gradients.
    pub backward: Graph,
    /// Where each residual is found, in the order in which the second graph takes them.
    pub residuals: Vec<Residual>,
}

/// Cuts a graph in two. `known` are the inputs that are there from the beginning; `outputs` may depend on those alone, and
/// `gradients` on every input. The outputs that the graph has do not count.
///
/// No value is a residual twice, and dead code is dropped on both sides. Extents that the second graph could not learn from
/// its inputs are those of one more residual, without elements.
pub fn partition(
    graph: &Graph,
    known: &[Value],
    outputs: &[Value],
    gradients: &[Value],
    again: Again<'_>,
) -> Partition {
    let mut graph = graph.clone();
    graph.set_outputs(outputs.iter().chain(gradients).copied().collect());
    sweep_dead(&mut graph);
    let mut cx = PassContext::new(PassOptions::default());
    EliminateCommonSubexpressions.run(&mut graph, &mut cx).expect("cse does not fail");
    sweep_dead(&mut graph);
    let all = graph.outputs().to_vec();
    let (outputs, gradients) = all.split_at(outputs.len());
    Cut::new(&graph, known, outputs, gradients, again).partition()
}

struct Cut<'a> {
    graph: &'a Graph,
    known: &'a [Value],
    outputs: &'a [Value],
    gradients: &'a [Value],
    again: Again<'a>,
    ops: &'a [Op],
    /// By value: it is computed from known inputs alone.
    early: Vec<bool>,
    /// By value: the outputs need it.
    forward: Vec<bool>,
    /// By value: the gradients need it.
    backward: Vec<bool>,
    /// Ops with effects: those that run first, and those that run with the gradients.
    effects: [Vec<Op>; 2],
    costs: HashMap<(&'static str, DType), u64>,
}

impl<'a> Cut<'a> {
    fn new(
        graph: &'a Graph,
        known: &'a [Value],
        outputs: &'a [Value],
        gradients: &'a [Value],
        again: Again<'a>,
    ) -> Cut<'a> {
        let ops = &graph.region(graph.root()).ops[..];
        let mut early = vec![false; graph.value_count()];
        known.iter().for_each(|v| early[v.at()] = true);
        for &op in ops {
            let data = graph.op(op);
            if data.operands.iter().all(|v| early[v.at()]) {
                data.results.iter().for_each(|r| early[r.at()] = true);
            }
        }
        let of_effects = ops.iter().copied().filter(|&op| !is_droppable(graph, op));
        let (first, second): (Vec<Op>, Vec<Op>) =
            of_effects.partition(|&op| graph.op(op).operands.iter().all(|v| early[v.at()]));
        // A loop may have effects and no results.
        let touched = |ops: &[Op]| -> Vec<Value> {
            ops.iter().flat_map(|&op| graph.op(op).operands.iter().chain(&graph.op(op).results)).copied().collect()
        };
        let forward = needed(graph, ops, &[outputs, &touched(&first)].concat());
        let backward = needed(graph, ops, &[gradients, &touched(&second)].concat());
        let effects = [first, second];
        debug_assert!(outputs.iter().all(|v| early[v.at()]), "an output depends on inputs that are not known");
        Cut { graph, known, outputs, gradients, again, ops, early, forward, backward, effects, costs: HashMap::new() }
    }

    fn partition(mut self) -> Partition {
        let mut saved = self.saved();
        let graph = self.graph;
        self.bind(&mut saved);
        let mut all = self.outputs.to_vec();
        let mut residuals: Vec<Residual> = Vec::new();
        for v in &saved {
            let input = self.known.iter().position(|w| w == v);
            residuals.push(input.map(Residual::Input).unwrap_or_else(|| {
                Residual::Output(all.iter().position(|w| w == v).unwrap_or_else(|| {
                    all.push(*v);
                    all.len() - 1
                }))
            }));
        }
        let mut forward = Graph::new(&graph.name);
        forward.symbols = graph.symbols.clone();
        let inputs = self.known.iter().map(|&v| (v, forward.add_input(graph.ty(v).clone()))).collect();
        let first = copy(graph, &mut forward, inputs, &all, &self.effects[0], &HashSet::new());
        let mut yields: Vec<Value> = all.iter().map(|v| first[v]).collect();

        let ended: HashSet<Value> = saved.iter().copied().collect();
        let late = graph.inputs().iter().copied().filter(|v| !self.known.contains(v));
        let given: Vec<Value> = saved.iter().copied().chain(late.clone()).collect();
        let mut backward = Graph::new(&format!("{}_backward", graph.name));
        let (unbound, symbols) = self.symbols(&given, &ended);
        backward.symbols = symbols;
        let mut inputs: HashMap<Value, Value> = HashMap::new();
        inputs.extend(saved.iter().map(|&v| (v, backward.add_input(graph.ty(v).clone()))));
        if !unbound.is_empty() {
            let extents = self.extents(&mut forward, &unbound);
            backward.add_input(forward.ty(extents).clone());
            residuals.push(Residual::Output(yields.len()));
            yields.push(extents);
        }
        inputs.extend(late.map(|v| (v, backward.add_input(graph.ty(v).clone()))));
        let second = copy(graph, &mut backward, inputs, self.gradients, &self.effects[1], &ended);
        forward.set_outputs(yields);
        backward.set_outputs(self.gradients.iter().map(|v| second[v]).collect());
        Partition { forward, backward, residuals }
    }

    /// Adds inputs without elements that have extents which the second graph could not learn else.
    fn bind(&self, saved: &mut Vec<Value>) {
        let late = self.graph.inputs().iter().copied().filter(|v| !self.known.contains(v));
        let given: Vec<Value> = saved.iter().copied().chain(late).collect();
        let (unbound, _) = self.symbols(&given, &saved.iter().copied().collect());
        let binds = |v: &Value| {
            let shape = &self.graph.ty(*v).shape;
            shape.iter().any(|d| d.is(0)) && unbound.iter().any(|s| shape.contains(&Dim::symbol(s.name())))
        };
        let found: Vec<Value> = self.known.iter().copied().filter(|v| !saved.contains(v) && binds(v)).collect();
        saved.splice(0..0, found);
    }

    /// Appends a value without elements of those extents.
    fn extents(&self, forward: &mut Graph, symbols: &BTreeSet<Symbol>) -> Value {
        let dims = symbols.iter().map(|s| Dim::symbol(s.name())).chain([Dim::from(0)]);
        let full = create::Full { value: Scalar::Bool(false), shape: dims.collect() };
        let origins: Vec<OriginId> = self.origin().map(|o| forward.origins.intern(o)).into_iter().collect();
        let region = forward.root();
        let op = forward.append(region, full.into(), &[], &[], &origins).expect("a legal shape");
        forward.op(op).results[0]
    }

    /// Any origin, for an op that no line asked for.
    fn origin(&self) -> Option<ir::Origin> {
        let origins = self.ops.iter().flat_map(|&op| &self.graph.op(op).origins);
        origins.map(|&o| self.graph.origins.get(o).clone()).next()
    }

    /// The declared symbols that the second graph speaks of but that no extent of its inputs is, and the declarations of
    /// all of which it speaks.
    fn symbols(&self, inputs: &[Value], ended: &HashSet<Value>) -> (BTreeSet<Symbol>, Vec<SymbolDecl>) {
        let graph = self.graph;
        let mut used: BTreeSet<Symbol> = BTreeSet::new();
        let of = |v: &Value| graph.ty(*v).shape.iter().filter(|d| !d.is_static()).flat_map(Dim::symbols);
        inputs.iter().for_each(|v| used.extend(of(v)));
        let mut ops = live(graph, self.gradients, &self.effects[1], ended);
        while let Some(op) = ops.pop() {
            let data = graph.op(op);
            used.extend(data.primitive.symbols());
            data.results.iter().for_each(|v| used.extend(of(v)));
            data.regions.iter().for_each(|&r| ops.extend(&graph.region(r).ops));
        }
        let declared: Vec<SymbolDecl> = graph.symbols.iter().filter(|d| used.contains(&d.symbol)).cloned().collect();
        let bound = |s: &Symbol| inputs.iter().any(|v| graph.ty(*v).shape.contains(&Dim::symbol(s.name())));
        (declared.iter().map(|d| d.symbol.clone()).filter(|s| !bound(s)).collect(), declared)
    }

    /// The residuals, in order of definition.
    fn saved(&mut self) -> Vec<Value> {
        // What the second graph reads of what the first can have.
        let mut read: BTreeSet<Value> = self.gradients.iter().copied().filter(|v| self.early[v.at()]).collect();
        for &op in self.ops {
            let data = self.graph.op(op);
            let late = data.results.iter().any(|r| self.backward[r.at()] && !self.early[r.at()]);
            if late || self.effects[1].contains(&op) {
                read.extend(data.operands.iter().filter(|v| self.early[v.at()]));
            }
        }
        let mut network: DiGraph<(), u64> = DiGraph::new();
        let (source, sink) = (network.add_node(()), network.add_node(()));
        let fenced = self.fenced();
        let mut nodes: HashMap<Value, [NodeIndex; 2]> = HashMap::new();
        let mut stack: Vec<Value> = read.iter().copied().collect();
        while let Some(v) = stack.pop() {
            if nodes.contains_key(&v) {
                continue;
            }
            let ends = [network.add_node(()), network.add_node(())];
            let price = if fenced.contains(&v) { UNCUT } else { self.price(v) };
            network.add_edge(ends[0], ends[1], price);
            nodes.insert(v, ends);
            match self.graph.defining_op(v) {
                Some((op, _)) if self.is_repeatable(op) => stack.extend(&self.graph.op(op).operands),
                _ => {}
            }
        }
        let mut order: Vec<Value> = nodes.keys().copied().collect();
        order.sort_unstable();
        for v in &order {
            let [enter, leave] = nodes[v];
            match self.graph.defining_op(*v) {
                Some((op, _)) if self.is_repeatable(op) => {
                    for w in &self.graph.op(op).operands {
                        network.add_edge(nodes[w][1], enter, UNCUT);
                    }
                }
                _ => {
                    network.add_edge(source, enter, UNCUT);
                }
            }
            if read.contains(v) {
                network.add_edge(leave, sink, UNCUT);
            }
        }
        let (_, flows) = dinics(&network, source, sink);
        // Of all cuts the last: it computes the least again.
        let mut after = vec![false; network.node_count()];
        let mut stack = vec![sink];
        after[sink.index()] = true;
        while let Some(node) = stack.pop() {
            use petgraph::Direction::{Incoming, Outgoing};
            let open = network.edges_directed(node, Incoming).filter(|e| flows[e.id().index()] < *e.weight());
            let back = network.edges_directed(node, Outgoing).filter(|e| flows[e.id().index()] > 0);
            let before: Vec<NodeIndex> = open.map(|e| e.source()).chain(back.map(|e| e.target())).collect();
            for n in before {
                if !std::mem::replace(&mut after[n.index()], true) {
                    stack.push(n);
                }
            }
        }
        order.retain(|v| !after[nodes[v][0].index()] && after[nodes[v][1].index()]);
        let position: HashMap<Value, usize> =
            self.graph.inputs().iter().copied().enumerate().map(|(i, v)| (v, i)).collect();
        let ops: HashMap<Op, usize> = self.ops.iter().copied().enumerate().map(|(i, op)| (op, i)).collect();
        order.sort_by_key(|v| match self.graph.defining_op(*v) {
            None => (0, position[v], 0),
            Some((op, result)) => (1, ops[&op], result),
        });
        order
    }

    /// What is computed again behind a fence: saved, it would be computed twice by the first graph.
    fn fenced(&mut self) -> HashSet<Value> {
        let mut fenced = HashSet::new();
        let ops = self.ops;
        for &op in ops {
            let data = self.graph.op(op);
            let behind =
                data.primitive.lowering() == Lowering::Fence || data.operands.iter().any(|v| fenced.contains(v));
            if behind && self.is_repeatable(op) {
                fenced.extend(&data.results);
            }
        }
        fenced
    }

    /// What it costs to save a value.
    fn price(&self, v: Value) -> u64 {
        if self.graph.defining_op(v).is_none() || self.outputs.contains(&v) {
            return 1;
        }
        match self.again {
            Again::AllBut(kept)
                if self.graph.defining_op(v).is_some_and(|(op, _)| kept.keeps(&self.graph.op(op).primitive)) => {}
            Again::All | Again::AllBut(_) => return DEAREST,
            Again::Cheap | Again::Free => {}
        }
        let bytes = self.graph.ty(v).bytes().eval(&|_| Some(EXTENT)).unwrap_or(i64::MAX);
        (bytes.clamp(0, 1 << 40) as u64) * 2 + 16
    }

    /// True if the second graph may compute the op.
    fn is_repeatable(&mut self, op: Op) -> bool {
        let data = self.graph.op(op);
        // Whatever has effects, in a region too, has them once.
        if !is_droppable(self.graph, op) {
            return false;
        }
        match self.again {
            Again::All => return true,
            Again::AllBut(kept) => return !kept.keeps(&data.primitive),
            Again::Cheap | Again::Free => {}
        }
        let only_there = self.again == Again::Cheap && !data.results.iter().any(|r| self.forward[r.at()]);
        match data.primitive.lowering() {
            Lowering::View | Lowering::Generate | Lowering::Constant => true,
            _ if only_there => true,
            Lowering::Pointwise if data.primitive.conversion().is_some() => self.again == Again::Cheap,
            Lowering::Pointwise => self.again == Again::Cheap && self.cost(op) < DEAR,
            _ => false,
        }
    }

    /// The cost of one element, in additions.
    fn cost(&mut self, op: Op) -> u64 {
        let data = self.graph.op(op);
        // 16-bit floats are computed as f32.
        let dtype = |v: &Value| match self.graph.ty(*v).dtype {
            half if half.is_half() => DType::F32,
            other => other,
        };
        let first = dtype(data.operands.first().unwrap_or(&data.results[0]));
        *self.costs.entry((data.primitive.name(), first)).or_insert_with(|| {
            let mut probe = KernelBuilder::new("");
            let operands: Vec<_> = data.operands.iter().map(|v| probe.constant(Scalar::zero(dtype(v)))).collect();
            data.primitive.scalar(&mut probe, &operands);
            probe.cost()
        })
    }
}

/// Ops with effects, and those that they and some values need, down to where it ends.
fn live(graph: &Graph, wanted: &[Value], effects: &[Op], ended: &HashSet<Value>) -> Vec<Op> {
    let mut needed: HashSet<Value> = wanted.iter().copied().filter(|v| !ended.contains(v)).collect();
    let mut ops = Vec::new();
    for &op in graph.region(graph.root()).ops.iter().rev() {
        let data = graph.op(op);
        if data.results.iter().any(|r| needed.contains(r)) || effects.contains(&op) {
            needed.extend(data.operands.iter().filter(|v| !ended.contains(v)));
            ops.push(op);
        }
    }
    ops.reverse();
    ops
}

/// Copies ops with effects, and what they and some values need, to another graph; `map` says what stands for its inputs and for where it ends.
fn copy(
    from: &Graph,
    to: &mut Graph,
    mut map: HashMap<Value, Value>,
    wanted: &[Value],
    effects: &[Op],
    ended: &HashSet<Value>,
) -> HashMap<Value, Value> {
    let (root, mut origins) = (to.root(), HashMap::new());
    for op in live(from, wanted, effects, ended) {
        let new = to.inline_op(from, op, &|v| map[&v], &mut origins);
        for (&old, &new) in from.op(op).results.iter().zip(&to.op(new).results) {
            // A result beside the one that is needed may be a residual itself.
            map.entry(old).or_insert(new);
        }
        to.region_mut(root).ops.push(new);
    }
    map
}
