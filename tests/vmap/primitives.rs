//! The batching rule of every primitive against a loop over examples, through batched graphs: interpreted and compiled,
//! for every choice of batched operands and every axis.

use crate::target::{Target, array, target};
use ir::ops::Sample;
use ir::{Dim, Graph, Literal, Primitive};
use passes::batch::{Batched, batch};
use runtime::bounds::analyse;
use runtime::interpreter::interpret;
use runtime::{Executable, Input};
use std::collections::BTreeSet;

/// Other legal operands: the elements in another order.
fn turned(x: &Literal, by: usize) -> Literal {
    Literal::from_fn(x.dims(), x.dtype(), |i| x.get((i + by) % x.numel()))
}

fn stacked(examples: &[Literal], axis: usize) -> Literal {
    let n = examples.len();
    let inner: usize = examples[0].dims()[axis..].iter().product();
    let mut dims = examples[0].dims().to_vec();
    dims.insert(axis, n);
    Literal::from_fn(&dims, examples[0].dtype(), |i| examples[i / inner % n].get(i / (inner * n) * inner + i % inner))
}

fn example(x: &Literal, axis: usize, k: usize) -> Literal {
    let inner: usize = x.dims()[axis + 1..].iter().product();
    let n = x.dims()[axis];
    let mut dims = x.dims().to_vec();
    dims.remove(axis);
    Literal::from_fn(&dims, x.dtype(), |i| x.get((i / inner * n + k) * inner + i % inner))
}

fn same(a: &Literal, b: &Literal) -> bool {
    let nan = |x: &Literal, i: usize| x.dtype().is_float() && x.get(i).as_f64().is_nan();
    a.ty() == b.ty() && (0..a.numel()).all(|i| a.get(i) == b.get(i) || (nan(a, i) && nan(b, i)))
}

const EXAMPLES: usize = 3;

/// One choice of operands and axes; false if an example has no value.
fn agrees(s: &Sample, graph: &Graph, axes: &[Option<usize>], compiled: bool) -> bool {
    let calls: Vec<Vec<Literal>> = (0..EXAMPLES)
        .map(|k| {
            let own = |(x, axis): (&Literal, &Option<usize>)| axis.map_or_else(|| x.clone(), |_| turned(x, k));
            s.operands.iter().zip(axes).map(own).collect()
        })
        .collect();
    let Ok(want) = calls.iter().map(|c| interpret(graph, c)).collect::<Result<Vec<_>, _>>() else { return false };
    let Batched { graph: batched, outputs, .. } = batch(graph, axes, &Dim::from(EXAMPLES as i64)).unwrap();
    let arguments: Vec<Literal> = (0..axes.len())
        .map(|i| match axes[i] {
            Some(axis) => stacked(&calls.iter().map(|c| c[i].clone()).collect::<Vec<_>>(), axis),
            None => s.operands[i].clone(),
        })
        .collect();
    let got = interpret(&batched, &arguments).unwrap_or_else(|e| panic!("{:?} at {axes:?}: {e}", s.primitive));
    for (o, (got, axis)) in got.iter().zip(&outputs).enumerate() {
        let axis = axis.expect("a result of something batched is batched");
        for (k, want) in want.iter().enumerate() {
            let got = example(got, axis, k);
            assert!(same(&got, &want[o]), "{:?} at {axes:?}, example {k}: {got:?}, not {:?}", s.primitive, want[o]);
        }
    }
    if compiled {
        let bounds = analyse(&batched, &arguments, false).unwrap();
        let executable = Executable::compile(&batched, &[]).unwrap();
        let mut inputs: Vec<Input> = arguments.iter().map(|x| Input::Shared(array(x))).collect();
        for (bound, got) in bounds.iter().zip(executable.call(&mut inputs).unwrap()) {
            let got = got.to_literal().unwrap();
            assert_eq!(bound.difference(&got), None, "{:?} at {axes:?}: {got:?}, not {:?}", s.primitive, bound.value);
        }
    }
    true
}

#[test]
fn every_rule_against_a_loop() {
    let (mut seen, mut compiled, mut interpreted) = (BTreeSet::new(), 0, 0);
    // The emulator's compiler takes long. A number that no family of samples has a multiple of: all get their turn.
    let every = if target() == Target::Emulator { 23 } else { 2 };
    for (number, s) in Primitive::all_samples().into_iter().enumerate() {
        let graph = s.graph();
        // Of many operands of one kind, as those of `concatenate`, the first few.
        let n = s.operands.len().min(4);
        let ranks: Vec<usize> = s.operands.iter().map(Literal::rank).collect();
        let positions = ranks.iter().max().map_or(0, |r| r + 1);
        for set in 1..1usize << n {
            for at in 0..positions {
                let axis = |i: usize| (i < n && set >> i & 1 == 1).then(|| (at + i) % (ranks[i] + 1));
                let axes: Vec<Option<usize>> = (0..ranks.len()).map(axis).collect();
                let compile = (number + set) % positions == at && (number + set).is_multiple_of(every);
                if agrees(&s, &graph, &axes, compile) {
                    seen.insert(s.primitive.name());
                    interpreted += 1;
                    compiled += compile as usize;
                }
            }
        }
    }
    println!("{interpreted} choices, {compiled} of them compiled");
    let with_operands = Primitive::all_samples().into_iter().filter(|s| !s.operands.is_empty());
    let missing: BTreeSet<&str> = with_operands.map(|s| s.primitive.name()).filter(|n| !seen.contains(n)).collect();
    assert!(missing.is_empty() && seen.len() > 80, "{missing:?}");
}
