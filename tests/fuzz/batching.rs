//! Batched graphs against a run for each example.

use crate::case::{self, BATCH, Case};
use crate::random::Random;
use ir::{Dim, Literal};
use passes::batch::batch;
use runtime::interpreter::interpret;

/// More examples are not run.
const MOST: i64 = 6;

/// The case for several examples: some of the inputs get an axis of examples somewhere. Its results are the same as those
/// of each example by itself; `None` for a graph without inputs.
pub fn check(case: &Case, seed: u64) -> Option<Result<Case, String>> {
    let mut r = Random::new(seed ^ 0xBA7C);
    let types = case.graph.input_types();
    let mut axes: Vec<Option<usize>> = types.iter().map(|ty| r.percent(60).then(|| r.below(ty.rank() + 1))).collect();
    if axes.iter().all(Option::is_none) {
        let at = (!types.is_empty()).then(|| r.below(types.len()))?;
        axes[at] = Some(r.below(types[at].rank() + 1));
    }
    let symbolic = !case.graph.symbols.is_empty() && case.batches.iter().all(|&b| b <= MOST) && r.percent(50);
    let size = if symbolic { Dim::symbol(BATCH) } else { Dim::from(r.of(&[1, 2, 2, 3])) };
    Some(compare(case, &axes, &size, &mut r))
}

fn compare(case: &Case, axes: &[Option<usize>], size: &Dim, r: &mut Random) -> Result<Case, String> {
    let batched = batch(&case.graph, axes, size).map_err(|e| e.to_string())?;
    let broken = ir::verify::verify(&batched.graph, ir::verify::Stage::Traced);
    broken.map_err(|b| format!("batched at {axes:?}: {}\n{}", b[0], batched.graph))?;
    let mut all = Vec::new();
    for (arguments, &b) in case.arguments.iter().zip(&case.batches) {
        let examples = case::extent(size, b) as usize;
        let calls: Vec<Vec<Literal>> = (0..examples)
            .map(|k| {
                let own = |(l, axis): (&Literal, &Option<usize>)| match axis {
                    Some(_) if k > 0 => shuffled(l, r),
                    _ => l.clone(),
                };
                arguments.iter().zip(axes).map(own).collect()
            })
            .collect();
        let stacked: Vec<Literal> = arguments
            .iter()
            .zip(axes)
            .enumerate()
            .map(|(i, (l, axis))| match axis {
                Some(axis) => stack(&calls.iter().map(|c| &c[i]).collect::<Vec<_>>(), l, *axis),
                None => l.clone(),
            })
            .collect();
        let told = |what: String| {
            Err(format!("{what}\nbatched at {axes:?}, {examples} examples (B = {b})\n{}", batched.graph))
        };
        let each: Result<Vec<Vec<Literal>>, _> = calls.iter().map(|c| interpret(&case.graph, c)).collect();
        match (each, interpret(&batched.graph, &stacked)) {
            (Ok(each), Ok(got)) => {
                for (o, (got, axis)) in got.iter().zip(&batched.outputs).enumerate() {
                    for (k, one) in each.iter().enumerate() {
                        let part = axis.map_or_else(|| got.clone(), |axis| part(got, axis, k));
                        if !same(&part, &one[o]) {
                            return told(format!("output {o} of example {k} is {part:?}, not {:?}", one[o]));
                        }
                    }
                }
            }
            (Err(_), Err(_)) => {}
            // What depends on no example runs for none, too.
            (Ok(each), Err(_)) if each.is_empty() => {}
            (each, got) => return told(format!("{:?} for each, {:?} for all", each.err(), got.err())),
        }
        all.push(stacked);
    }
    Ok(Case { graph: batched.graph, arguments: all, donations: Vec::new(), ..case.clone() })
}

/// Other legal elements: the same ones elsewhere.
fn shuffled(l: &Literal, r: &mut Random) -> Literal {
    let mut order: Vec<usize> = (0..l.numel()).collect();
    r.shuffle(&mut order);
    Literal::from_fn(l.dims(), l.dtype(), |i| l.get(order[i]))
}

/// The examples along a new axis; `like` is one of them.
fn stack(examples: &[&Literal], like: &Literal, axis: usize) -> Literal {
    let inner: usize = like.dims()[axis..].iter().product();
    let mut dims = like.dims().to_vec();
    dims.insert(axis, examples.len());
    Literal::from_fn(&dims, like.dtype(), |i| {
        let (outer, rest) = (i / (inner * examples.len()), i % (inner * examples.len()));
        examples[rest / inner].get(outer * inner + rest % inner)
    })
}

/// One example of those along an axis.
fn part(l: &Literal, axis: usize, k: usize) -> Literal {
    let inner: usize = l.dims()[axis + 1..].iter().product();
    let examples = l.dims()[axis];
    let mut dims = l.dims().to_vec();
    dims.remove(axis);
    Literal::from_fn(&dims, l.dtype(), |i| l.get((i / inner * examples + k) * inner + i % inner))
}

fn same(a: &Literal, b: &Literal) -> bool {
    let nan = |l: &Literal, i: usize| l.dtype().is_float() && l.get(i).as_f64().is_nan();
    a.ty() == b.ty() && (0..a.numel()).all(|i| a.get(i) == b.get(i) || (nan(a, i) && nan(b, i)))
}
