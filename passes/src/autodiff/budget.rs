//! What a function keeps for its gradient, chosen so that both fit a memory budget.
//!
//! The function is cut into parts where little is alive, and parts are put into calls that keep less, one after the other,
//! until the plan of the function with its gradient fits: the planner itself says what it takes. (Segments between which
//! little is kept: Chen, Xu, Zhang, Guestrin, *Training Deep Nets with Sublinear Memory Cost*, 2016.)

use super::append_vjp;
use super::control::is_float;
use crate::dce::is_droppable;
use crate::dce::sweep_dead;
use crate::hoist::{Growth, hoist};
use crate::{CheckLevel, Settings, lower, optimize};
use ir::ops::Control;
use ir::ops::control::{Call, Save};
use ir::origin::OriginId;
use ir::{Dim, Graph, Lowering, Op, Value};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Range;

/// Bounds on what a part holds, as fractions of what the whole function does.
const FRACTIONS: [u64; 10] = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48];
/// How many ways to cut are planned at most where the best one does not fit with nothing kept.
const WAYS: usize = 5;
/// Iterations of a loop that no number is known for.
const ITERATIONS: u64 = 64;

/// A function that keeps no more than a budget allows.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The function, of which parts stand in calls that say what they keep.
    pub graph: Graph,
    /// The peak of temporaries of function and gradient, in bytes.
    pub peak: u64,
    /// The same with everything kept that the gradient asks for.
    pub everything: u64,
    /// Parts of the function, and those of them that keep less than the gradient asks for.
    pub parts: usize,
    /// Parts that keep their products only.
    pub products: usize,
    /// Parts that keep nothing.
    pub nothing: usize,
}

/// Why there is no plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoPlan {
    /// The size is not known before the function runs.
    Symbolic(String),
    /// Every plan that was tried needs more.
    TooSmall {
        /// The peak of the smallest, in bytes.
        least: u64,
        /// That with everything kept.
        everything: u64,
    },
    /// A pass failed.
    Failed(String),
}

/// Chooses what a function keeps, so that the planned peak of it and its gradient is at most `budget` bytes: as little as
/// it takes is computed again. The gradient is that of the first `results` outputs by all inputs, where these are floats.
/// Arguments, results and gradients are not in the peak: they are there in any case.
///
/// Plans a few dozen programs at most, and one if everything can be kept.
pub fn within(graph: &Graph, results: usize, budget: u64, settings: &Settings) -> Result<Plan, NoPlan> {
    let mut graph = graph.clone();
    sweep_dead(&mut graph);
    let root = graph.root();
    hoist(&mut graph, root, Growth::Any);
    let planner = Planner { results, settings };
    let everything = planner.peak(&graph)?;
    if everything <= budget {
        return Ok(Plan { graph, peak: everything, everything, parts: 1, products: 0, nothing: 0 });
    }
    let costs = Costs::new(&graph, results);
    let mut least = everything;
    for (way, parts) in costs.ways().into_iter().take(WAYS).enumerate() {
        // The backward of the last part comes at once: it has what it needs.
        let nothing: Vec<Save> = (0..parts.len()).map(|i| last_of(&parts, i, Save::Nothing)).collect();
        let mut found = (costs.apart(&parts, &nothing), nothing);
        let mut peak = planner.peak(&found.0)?;
        least = least.min(peak);
        if peak > budget {
            continue;
        }
        if way == 0 {
            let steps = costs.steps(&parts);
            let (mut low, mut high) = (0, steps.len());
            while high - low > 1 {
                let middle = (low + high) / 2;
                let mut saves = vec![Save::Everything; parts.len()];
                steps[..middle].iter().for_each(|&(part, save)| saves[part] = save);
                let graph = costs.apart(&parts, &saves);
                match planner.peak(&graph)? {
                    fits if fits <= budget => (high, peak, found) = (middle, fits, (graph, saves)),
                    _ => low = middle,
                }
            }
        }
        let (graph, saves) = found;
        let count = |save| saves.iter().filter(|&&s| s == save).count();
        let (products, nothing) = (count(Save::Products), count(Save::Nothing));
        return Ok(Plan { graph, peak, everything, parts: parts.len(), products, nothing });
    }
    Err(NoPlan::TooSmall { least, everything })
}

fn last_of(parts: &[Range<usize>], i: usize, save: Save) -> Save {
    if i + 1 == parts.len() { Save::Everything } else { save }
}

/// Asks the planner.
struct Planner<'a> {
    results: usize,
    settings: &'a Settings,
}

impl Planner<'_> {
    fn peak(&self, graph: &Graph) -> Result<u64, NoPlan> {
        let mut graph = graph.clone();
        let with = gradients(&mut graph, self.results);
        graph.set_outputs(graph.outputs().iter().copied().chain(with).collect());
        let settings = Settings { check: CheckLevel::Off, ..self.settings.clone() };
        let outcome = optimize(graph, &settings, None).map_err(|e| NoPlan::Failed(e.to_string()))?;
        let program = lower::lower_for(settings.options.grain, &outcome.graph, &[], &|_| None)
            .map_err(|e| NoPlan::Failed(e.to_string()))?;
        let arena = program.footprint().arena;
        arena.known().ok_or_else(|| NoPlan::Symbolic(arena.to_string()))
    }
}

/// Appends the gradients of the first outputs by the inputs.
fn gradients(graph: &mut Graph, results: usize) -> Vec<Value> {
    let floats = |graph: &Graph, all: &[Value]| all.iter().copied().filter(|&v| is_float(graph, v)).collect::<Vec<_>>();
    let wrt = floats(graph, graph.inputs());
    let outputs: BTreeSet<Value> = floats(graph, &graph.outputs()[..results]).into_iter().collect();
    let seeds: Vec<(Value, Value)> = outputs.into_iter().map(|v| (v, graph.add_input(graph.ty(v).clone()))).collect();
    append_vjp(graph, &seeds, &wrt).values.into_iter().flatten().collect()
}

/// What the ops of a function cost, by position.
struct Costs<'a> {
    graph: &'a Graph,
    /// The ops, but for those without operands, which stand wherever they are used.
    ops: Vec<Op>,
    /// Bytes that the gradient reads of an op's results: those of products, and the others.
    kept: Vec<[u64; 2]>,
    /// Work of an op: that of products, and the rest.
    work: Vec<[u64; 2]>,
    /// Bytes alive between an op and the next one.
    alive: Vec<u64>,
}

impl<'a> Costs<'a> {
    fn new(graph: &'a Graph, results: usize) -> Costs<'a> {
        let ops = graph.region(graph.root()).ops.iter().copied().filter(|&op| !is_free(graph, op)).collect::<Vec<_>>();
        let mut with = graph.clone();
        gradients(&mut with, results);
        let read: HashSet<Value> = with.region(with.root()).ops[graph.region(graph.root()).ops.len()..]
            .iter()
            .flat_map(|&op| with.op(op).operands.to_vec())
            .collect();
        let bytes = |v: Value| graph.ty(v).bytes().known().unwrap_or(0).max(0) as u64;
        let mut costs = Costs { graph, kept: Vec::new(), work: Vec::new(), alive: vec![0; ops.len()], ops };
        let mut last: HashMap<Value, usize> = HashMap::new();
        for (i, &op) in costs.ops.iter().enumerate() {
            graph.op(op).operands.iter().for_each(|&v| _ = last.insert(v, i));
        }
        graph.outputs().iter().for_each(|&v| _ = last.insert(v, costs.ops.len()));
        for (i, &op) in costs.ops.iter().enumerate() {
            let data = graph.op(op);
            let product = usize::from(data.primitive.lowering() != Lowering::Contract);
            let split = |n: u64| if product == 0 { [n, 0] } else { [0, n] };
            costs.kept.push(split(data.results.iter().filter(|r| read.contains(r)).map(|&r| bytes(r)).sum()));
            costs.work.push(split(work(graph, op)));
            for &r in &data.results {
                let end = last.get(&r).copied().unwrap_or(i).min(costs.alive.len());
                costs.alive[i..end].iter_mut().for_each(|sum| *sum += bytes(r));
            }
        }
        costs
    }

    fn sum(of: &[[u64; 2]], part: &Range<usize>) -> [u64; 2] {
        of[part.clone()].iter().fold([0, 0], |sum, n| [sum[0] + n[0], sum[1] + n[1]])
    }

    /// Ways to cut the function, that of the smallest estimated peak first.
    fn ways(&self) -> Vec<Vec<Range<usize>>> {
        let all: u64 = self.kept.iter().flatten().sum();
        let mut ways: Vec<(u64, Vec<Range<usize>>)> = Vec::new();
        for fraction in FRACTIONS {
            let parts = self.cut(all / fraction);
            let between: u64 = parts[1..].iter().map(|part| self.alive[part.start - 1]).sum();
            let held = parts.iter().map(|part| Self::sum(&self.kept, part).iter().sum()).max().unwrap_or(0);
            if parts.len() > 1 && ways.iter().all(|w| w.1 != parts) {
                ways.push((between + held, parts));
            }
        }
        ways.sort_by_key(|way| way.0);
        ways.into_iter().map(|way| way.1).collect()
    }

    /// The cuts at which the least is alive in sum, if no part of more than one op holds more than `most` bytes: a shortest
    /// path over positions, of which those come into question that are near enough.
    fn cut(&self, most: u64) -> Vec<Range<usize>> {
        let n = self.ops.len();
        let mut held = vec![0u64; n + 1];
        (0..n).for_each(|i| held[i + 1] = held[i] + self.kept[i].iter().sum::<u64>());
        // Cost, number of parts, and where the last one begins. Of paths that cost the same, that with the fewest parts.
        let mut best: Vec<(u64, usize, usize)> = vec![(0, 0, 0)];
        let mut near: VecDeque<usize> = VecDeque::from([0]);
        for end in 1..=n {
            while near.len() > 1 && held[end] - held[near[0]] > most {
                near.pop_front();
            }
            let start = near[0];
            let alive = if end < n { self.alive[end - 1] } else { 0 };
            best.push((best[start].0 + alive, best[start].1 + 1, start));
            while near.back().is_some_and(|&i| (best[i].0, best[i].1) >= (best[end].0, best[end].1)) {
                near.pop_back();
            }
            near.push_back(end);
        }
        let (mut parts, mut end) = (Vec::new(), n);
        while end > 0 {
            parts.push(best[end].2..end);
            end = best[end].2;
        }
        parts.reverse();
        parts
    }

    /// Steps towards less memory: a part, and what it keeps from there on. Those that save most for their work come first.
    fn steps(&self, parts: &[Range<usize>]) -> Vec<(usize, Save)> {
        let mut steps: Vec<(f64, usize, Save)> = Vec::new();
        for (i, part) in parts[..parts.len() - 1].iter().enumerate() {
            let ([products, others], [dear, cheap]) = (Self::sum(&self.kept, part), Self::sum(&self.work, part));
            let rate = |bytes: u64, work: u64| bytes as f64 / work.max(1) as f64;
            let (first, second) = (rate(others, cheap), rate(products, dear));
            if first > second {
                steps.push((first, i, Save::Products));
                steps.push((second, i, Save::Nothing));
            } else {
                steps.push((rate(products + others, dear + cheap), i, Save::Nothing));
            }
        }
        steps.sort_by(|a, b| b.0.total_cmp(&a.0));
        steps.into_iter().map(|(_, part, save)| (part, save)).collect()
    }

    /// The function with its parts in calls, but for those that keep everything.
    fn apart(&self, parts: &[Range<usize>], saves: &[Save]) -> Graph {
        let from = self.graph;
        let mut to = Graph::new(&from.name);
        to.symbols = from.symbols.clone();
        let mut copy = Copy { from, map: HashMap::new(), origins: HashMap::new() };
        for &v in from.inputs() {
            let new = to.add_input(from.ty(v).clone());
            copy.map.insert(v, new);
        }
        let root = to.root();
        for &op in from.region(from.root()).ops.iter().filter(|&&op| is_free(from, op)) {
            copy.op(&mut to, root, op);
        }
        let used_after = |end: usize| -> HashSet<Value> {
            let later = self.ops[end..].iter().flat_map(|&op| from.op(op).operands.iter().copied());
            later.chain(from.outputs().iter().copied()).collect()
        };
        for (part, &save) in parts.iter().zip(saves) {
            let ops = &self.ops[part.clone()];
            // What has effects runs once.
            if save == Save::Everything || ops.iter().any(|&op| !is_droppable(from, op)) {
                ops.iter().for_each(|&op| copy.op(&mut to, root, op));
                continue;
            }
            let made: HashSet<Value> = ops.iter().flat_map(|&op| from.op(op).results.iter().copied()).collect();
            let read = ops.iter().flat_map(|&op| &from.op(op).operands).copied().filter(|v| !made.contains(v));
            let (free, taken): (BTreeSet<Value>, BTreeSet<Value>) =
                read.partition(|&v| from.defining_op(v).is_some_and(|(op, _)| is_free(from, op)));
            let later = used_after(part.end);
            let yielded: Vec<Value> = {
                let results = ops.iter().flat_map(|&op| from.op(op).results.iter().copied());
                results.filter(|r| later.contains(r)).collect()
            };
            let region = to.add_region();
            let mut inner = Copy { from, map: HashMap::new(), origins: HashMap::new() };
            for &v in &taken {
                let parameter = to.add_param(region, from.ty(v).clone());
                inner.map.insert(v, parameter);
            }
            let free: BTreeSet<Op> = free.iter().filter_map(|&v| Some(from.defining_op(v)?.0)).collect();
            free.iter().chain(ops).for_each(|&op| inner.op(&mut to, region, op));
            to.region_mut(region).yields = yielded.iter().map(|v| inner.map[v]).collect();
            let operands: Vec<Value> = taken.iter().map(|v| copy.map[v]).collect();
            let origins: Vec<OriginId> =
                from.op(ops[0]).origins.iter().map(|&o| to.origins.intern(from.origins.get(o).clone())).collect();
            let call = Call { save, names: String::new() };
            let call = to.append(root, call.into(), &operands, &[region], &origins).expect("a call of its operands");
            copy.map.extend(yielded.into_iter().zip(to.op(call).results.iter().copied()));
        }
        to.set_outputs(from.outputs().iter().map(|v| copy.map[v]).collect());
        to
    }
}

/// Ops of one graph in another.
struct Copy<'a> {
    from: &'a Graph,
    map: HashMap<Value, Value>,
    origins: HashMap<OriginId, OriginId>,
}

impl Copy<'_> {
    fn op(&mut self, to: &mut Graph, region: ir::Region, op: Op) {
        let new = to.inline_op(self.from, op, &|v| self.map[&v], &mut self.origins);
        self.map.extend(self.from.op(op).results.iter().copied().zip(to.op(new).results.iter().copied()));
        to.region_mut(region).ops.push(new);
    }
}

/// True for constants and for what is made of indices alone.
fn is_free(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    data.operands.is_empty() && matches!(data.primitive.lowering(), Lowering::Constant | Lowering::Generate)
}

/// Scalar operations of an op, about.
fn work(graph: &Graph, op: Op) -> u64 {
    let data = graph.op(op);
    let known = |d: &Dim| d.known().unwrap_or(ITERATIONS as i64).max(0) as u64;
    let inner = |r: &ir::Region| graph.region(*r).ops.iter().map(|&op| work(graph, op)).sum::<u64>();
    let regions: u64 = data.regions.iter().map(inner).sum();
    match data.primitive.control() {
        Some(Control::Scan(scanning)) => return regions.saturating_mul(known(&scanning.length)),
        Some(Control::While { .. }) => return regions.saturating_mul(ITERATIONS),
        Some(_) => return regions,
        None => {}
    }
    let numel = |v: &Value| graph.ty(*v).shape.iter().map(known).fold(1, u64::saturating_mul);
    let results: u64 = data.results.iter().map(numel).sum();
    match data.primitive.contract_axes() {
        Some(axes) => {
            let lhs = &graph.ty(data.operands[0]).shape;
            axes.contract[0].iter().fold(results, |n, &a| n.saturating_mul(known(&lhs[a])))
        }
        None => results + data.operands.iter().map(numel).sum::<u64>(),
    }
}
