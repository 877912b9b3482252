//! Makes a failing case smaller while it fails in the same stage.

use crate::case::Case;
use crate::stages::{Failure, check};
use ir::{Dim, Graph, Literal, Value};
use runtime::interpreter::interpret_observed;
use std::collections::{HashMap, HashSet};

/// Attempts at most.
const BUDGET: usize = 400;

/// The smallest case found, and its failure.
pub fn shrink(case: &Case, failure: &Failure) -> (Case, Failure) {
    let mut s = Shrinker { best: case.clone(), failure: failure.clone(), left: BUDGET };
    loop {
        let before = size(&s.best);
        s.settings();
        s.outputs();
        s.ops();
        if size(&s.best) == before || s.left == 0 {
            return (s.best, s.failure);
        }
    }
}

fn size(case: &Case) -> (usize, usize, usize, usize) {
    let g = &case.graph;
    (g.region(g.root()).ops.len(), g.outputs().len(), g.inputs().len(), case.arguments.len() + case.donations.len())
}

struct Shrinker {
    best: Case,
    failure: Failure,
    left: usize,
}

impl Shrinker {
    fn attempt(&mut self, case: Case) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        match check(&case) {
            Err(f) if f.stage == self.failure.stage => {
                (self.best, self.failure) = (case, f);
                true
            }
            _ => false,
        }
    }

    fn settings(&mut self) {
        if !self.best.donations.is_empty() {
            self.attempt(Case { donations: Vec::new(), ..self.best.clone() });
        }
        for n in (0..self.best.arguments.len()).rev() {
            if self.best.arguments.len() > 1 {
                let mut fewer = self.best.clone();
                fewer.arguments.remove(n);
                fewer.batches.remove(n);
                self.attempt(fewer);
            }
        }
        if !self.best.passes.is_empty() {
            self.attempt(Case { passes: String::new(), ..self.best.clone() });
        }
        if self.best.order != 0 {
            self.attempt(Case { order: 0, ..self.best.clone() });
        }
    }

    fn outputs(&mut self) {
        for keep in 0..self.best.graph.outputs().len() {
            if self.best.graph.outputs().len() > 1 {
                let one = [keep].into_iter().collect();
                let case = rebuild(&self.best, &one, &HashMap::new());
                if self.attempt(case) {
                    return;
                }
            }
        }
        for drop in (0..self.best.graph.outputs().len()).rev() {
            let n = self.best.graph.outputs().len();
            if n > 1 && drop < n {
                let rest = (0..n).filter(|&o| o != drop).collect();
                let case = rebuild(&self.best, &rest, &HashMap::new());
                self.attempt(case);
            }
        }
    }

    /// Replaces what ops compute: by inputs with the same elements, or by operands of the same type.
    fn ops(&mut self) {
        let mut at = 0;
        while self.left > 0 {
            let graph = &self.best.graph;
            let Some(&op) = graph.region(graph.root()).ops.get(at) else { return };
            let data = graph.op(op);
            let v = data.results[0];
            if data.results.len() > 1 {
                at += 1;
                continue;
            }
            let all = (0..graph.outputs().len()).collect();
            let mut instead: Vec<Instead> = Vec::new();
            let same_type = |o: &Value| graph.ty(*o) == graph.ty(v);
            instead.extend(data.operands.iter().copied().filter(same_type).map(Instead::Value));
            instead.extend(literals(&self.best, v).map(Instead::Input));
            let cases: Vec<Case> =
                instead.into_iter().map(|i| rebuild(&self.best, &all, &HashMap::from([(v, i)]))).collect();
            if !cases.into_iter().any(|c| self.attempt(c)) {
                at += 1;
            }
        }
    }
}

enum Instead {
    Value(Value),
    Input(Vec<Literal>),
}

/// What a value is for each set of arguments, unless the interpreter fails.
fn literals(case: &Case, v: Value) -> Option<Vec<Literal>> {
    let mut all = Vec::new();
    for arguments in &case.arguments {
        let mut found = None;
        let _ = interpret_observed(&case.graph, arguments, &mut |w, l| {
            if w == v {
                found = Some(l.clone());
            }
        });
        all.push(found?);
    }
    Some(all)
}

/// The graph of some outputs, with values replaced, without what nothing needs then.
fn rebuild(case: &Case, outputs: &HashSet<usize>, instead: &HashMap<Value, Instead>) -> Case {
    let old = &case.graph;
    let root = old.root();
    let kept: Vec<(usize, Value)> =
        old.outputs().iter().copied().enumerate().filter(|(o, _)| outputs.contains(o)).collect();
    let mut live: HashSet<Value> = HashSet::new();
    let mut stack: Vec<Value> = kept.iter().map(|k| k.1).collect();
    while let Some(v) = stack.pop() {
        if !live.insert(v) {
            continue;
        }
        match (instead.get(&v), old.defining_op(v)) {
            (Some(Instead::Value(w)), _) => stack.push(*w),
            (None, Some((op, _))) => stack.extend(&old.op(op).operands),
            _ => {}
        }
    }
    let mut graph = Graph::new("fuzz");
    graph.symbols = old.symbols.clone();
    let mut arguments: Vec<Vec<Literal>> = vec![Vec::new(); case.arguments.len()];
    let mut map: HashMap<Value, Value> = HashMap::new();
    let mut inputs: HashMap<usize, usize> = HashMap::new();
    let binds = |v: &Value| old.ty(*v).shape.iter().any(|d| *d == Dim::symbol(crate::case::BATCH));
    let bound = old.inputs().iter().find(|v| live.contains(v) && binds(v)).or(old.inputs().iter().find(|v| binds(v)));
    for (i, v) in old.inputs().iter().enumerate() {
        if live.contains(v) || bound == Some(v) {
            inputs.insert(i, graph.inputs().len());
            map.insert(*v, graph.add_input(old.ty(*v).clone()));
            arguments.iter_mut().zip(&case.arguments).for_each(|(new, old)| new.push(old[i].clone()));
        }
    }
    let mut origins = HashMap::new();
    for &op in &old.region(root).ops {
        let data = old.op(op);
        let v = data.results[0];
        if !data.results.iter().any(|v| live.contains(v)) {
            continue;
        }
        let new = match instead.get(&v) {
            Some(Instead::Value(w)) => map[w],
            Some(Instead::Input(literals)) => {
                arguments.iter_mut().zip(literals).for_each(|(new, l)| new.push(l.clone()));
                graph.add_input(old.ty(v).clone())
            }
            None => {
                let op = graph.inline_op(old, op, &|v| map[&v], &mut origins);
                let root = graph.root();
                graph.region_mut(root).ops.push(op);
                map.extend(data.results.iter().copied().zip(graph.op(op).results.clone()));
                continue;
            }
        };
        map.insert(v, new);
    }
    graph.set_outputs(kept.iter().map(|k| map[&k.1]).collect());
    let moved = |&(i, o): &(usize, usize)| Some((*inputs.get(&i)?, kept.iter().position(|k| k.0 == o)?));
    let donations = case.donations.iter().filter_map(moved).collect();
    Case { graph, arguments, donations, ..case.clone() }
}
