//! Ops that only some values of the symbol allow: whoever runs the graph refuses the same calls, in the same words.

use crate::case::Case;
use crate::random::Random;
use ir::ops::reduce::ArgMax;
use ir::ops::view::Slice;
use ir::{Dim, Primitive, Value};
use runtime::Executable;
use runtime::interpreter::interpret;

/// Adds such an op to a case; the number of calls that it made illegal, `None` if nothing in the case is symbolic.
pub fn check(case: &Case, seed: u64) -> Option<Result<usize, String>> {
    let mut r = Random::new(seed ^ 0xB0B0);
    let mut graph = case.graph.clone();
    let root = graph.region(graph.root()).clone();
    let results = root.ops.iter().flat_map(|&op| &graph.op(op).results);
    let symbolic = |v: Value| {
        let shape = graph.ty(v).shape.clone();
        shape.iter().enumerate().filter(|(_, d)| !d.is_static()).map(|(i, _)| (v, i)).collect::<Vec<_>>()
    };
    let axes: Vec<(Value, usize)> = root.params.iter().chain(results).flat_map(|&v| symbolic(v)).collect();
    if axes.is_empty() {
        return None;
    }
    let (v, axis) = r.of(&axes);
    let op: Primitive = if r.percent(25) {
        ArgMax { axes: [axis].into_iter().collect() }.into()
    } else {
        let mut limits = graph.ty(v).shape.clone();
        let mut starts = limits.iter().map(|_| Dim::from(0)).collect::<ir::Shape>();
        let (extent, width) = (limits[axis].clone(), r.below(3) as i64);
        let from_end = r.percent(30);
        let start = Dim::from(r.below(7) as i64);
        starts[axis] = if from_end { extent - start - width } else { start };
        limits[axis] = &starts[axis] + width;
        let strides = limits.iter().map(|_| 1).collect();
        Slice { starts, limits, strides }.into()
    };
    let origins = graph.op(*root.ops.first()?).origins.clone();
    // What no call allows, the type rule refuses.
    let op = graph.append(graph.root(), op, &[v], &[], &origins).ok()?;
    let added = graph.op(op).results[0];
    graph.set_outputs([root.yields.as_slice(), &[added]].concat());
    let executable = match Executable::compile(&graph, &[]) {
        Ok(executable) => executable,
        Err(e) => return Some(Err(format!("{graph}\n{e}"))),
    };
    let mut refused = 0;
    for (arguments, batch) in case.arguments.iter().zip(&case.batches) {
        if interpret(&case.graph, arguments).is_err() {
            continue;
        }
        let mut inputs = case.shared(arguments).expect("small");
        let got = executable.call(&mut inputs).map(|outputs| outputs.last().expect("one was added").dims().to_vec());
        match (interpret(&graph, arguments), got) {
            (Ok(want), Ok(got)) if want.last().expect("one was added").dims() == got => {}
            (Err(want), Err(got)) if want.to_string() == got.to_string() => refused += 1,
            (want, got) => {
                let want = want.map(|w| w.last().map(|l| l.dims().to_vec()));
                return Some(Err(format!("with B = {batch}: interpreted {want:?}, compiled {got:?}\n{graph}")));
            }
        }
    }
    Some(Ok(refused))
}
