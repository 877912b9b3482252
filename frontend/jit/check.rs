//! The check mode: whether two traces of the same arguments are the same function.
//!
//! Compared is all that a call uses of a trace: the graph, which tensors it captured, which cells it read and wrote,
//! where each result comes from, and the fixed data in the results.

use super::key::Signature;
use super::record::{Feed, Source, Wiring};
use crate::error::{Code, Error};
use crate::tree::{Owned, Skeleton, Tree};
use ir::{Graph, Op, Primitive};

/// The error for two traces of arguments with that signature that differ, if they do.
pub(super) fn differing<R: Tree>(
    signature: &Signature,
    a: (&Graph, &Wiring<R>),
    b: (&Graph, &Wiring<R>),
) -> Option<Error> {
    let count = |g: &Graph| g.region(g.root()).ops.len();
    let mut notes = ops(a.0, b.0);
    if notes.is_empty() && count(a.0) == count(b.0) {
        notes = ends(signature, a, b);
    }
    let rule = match notes.is_empty() {
        true if a.0 == b.0 => return None,
        true if count(a.0) != count(b.0) => {
            format!("two traces of the same arguments have {} and {} ops", count(a.0), count(b.0))
        }
        _ => "two traces of the same arguments differ".into(),
    };
    let legal = "pass what changes as an argument tensor, or keep it in an nn::Buffer";
    Some(notes.into_iter().take(8).fold(Error::new(Code::HostConstant, "jit", rule, legal), Error::note))
}

/// How the inputs and ops of two graphs differ.
fn ops(a: &Graph, b: &Graph) -> Vec<String> {
    let mut notes = Vec::new();
    for (x, y) in a.input_types().iter().zip(&b.input_types()).filter(|(x, y)| x != y) {
        notes.push(format!("a captured tensor {x} became {y}"));
    }
    for (&p, &q) in a.region(a.root()).ops.iter().zip(&b.region(b.root()).ops) {
        let (left, right) = (a.op(p), b.op(q));
        if left.primitive != right.primitive {
            notes.push(format!("{} became {} at {}", show(&left.primitive), show(&right.primitive), place(a, p)));
        } else if left.operands != right.operands {
            notes.push(format!("{} has other operands at {}", left.primitive.name(), place(a, p)));
        } else {
            continue;
        }
        if left.primitive.name() != right.primitive.name() {
            break;
        }
    }
    notes
}

/// An op with its attributes, as IR text has them.
fn show(p: &Primitive) -> String {
    let attributes: Vec<String> = p.attributes().iter().map(|(name, a)| format!("{name} = {a:?}")).collect();
    format!("{} {{{}}}", p.name(), attributes.join(", "))
}

fn place(g: &Graph, op: Op) -> String {
    g.op(op).origins.first().map(|&o| g.origins.get(o).to_string()).unwrap_or_else(|| "an unknown line".into())
}

/// How two traces of the same ops differ in what goes in and comes out.
fn ends<R: Tree>(signature: &Signature, first: (&Graph, &Wiring<R>), second: (&Graph, &Wiring<R>)) -> Vec<String> {
    let ((graph, a), (_, b)) = (first, second);
    let made = |trace: (&Graph, &Wiring<R>), source: &Source| Made::of(trace.0, *source);
    let name = |trace, source: &Source| source_name(signature, trace, *source);
    let mut notes = Vec::new();
    let inputs = &graph.inputs()[graph.inputs().len() - a.feeds.len()..];
    for ((left, right), &input) in a.feeds.iter().zip(&b.feeds).zip(inputs) {
        match (left, right) {
            (Feed::Capture(x), Feed::Capture(y)) if x.data_ptr() == y.data_ptr() => {}
            (Feed::Capture(x), Feed::Capture(_)) => {
                let user = graph.region(graph.root()).ops.iter().find(|&&op| graph.op(op).operands.contains(&input));
                let user = user.map(|&op| format!("; it is used at {}", place(graph, op))).unwrap_or_default();
                notes.push(format!("the captured tensor {} is another one{user}", x.ty()));
            }
            (Feed::Cell(i), Feed::Cell(j)) if i == j => {}
            _ => notes.push("a tensor is captured in one of them, where the other reads a cell".into()),
        }
    }
    let ids = |w: &Wiring<R>| w.cells.iter().map(|c| c.cell.id()).collect::<Vec<_>>();
    if ids(a) != ids(b) {
        notes.push("another cell is read or written".into());
        return notes;
    }
    for (left, right) in a.cells.iter().zip(&b.cells) {
        let (left, right) = (left.write.as_ref(), right.write.as_ref());
        if left.map(|s| made(first, s)) != right.map(|s| made(second, s)) {
            let name = |trace, write: Option<&Source>| write.map_or("nothing".into(), |s| name(trace, s));
            notes.push(format!("a cell was given {} and is given {}", name(first, left), name(second, right)));
        }
    }
    let (left, right) = (Skeleton::of("result", &a.template), Skeleton::of("result", &b.template));
    let mut sources = a.results.iter().zip(&b.results);
    for ((path, x), (_, y)) in left.0.iter().zip(&right.0) {
        let (was, is) = match (x, y) {
            (None, None) => match sources.next() {
                Some((x, y)) if made(first, x) != made(second, y) => (name(first, x), name(second, y)),
                _ => continue,
            },
            _ if x == y => continue,
            _ => {
                let name = |part: &Option<Owned>| part.as_ref().map_or("a tensor".into(), Owned::to_string);
                (name(x), name(y))
            }
        };
        notes.push(match was == is {
            true => format!("{path} is {is} than before"),
            false => format!("{path} was {was} and is {is}"),
        });
        if x != y {
            // What follows is no longer the same part.
            return notes;
        }
    }
    if left.0.len() != right.0.len() {
        notes.push(format!("the result had {} parts and has {}", left.0.len(), right.0.len()));
    }
    notes
}

/// What makes a result, in a form that means the same in two graphs of the same ops.
#[derive(PartialEq, Eq)]
enum Made {
    Input(usize),
    /// The result of that number of the op of that number.
    Result(usize, usize),
}

impl Made {
    fn of(graph: &Graph, source: Source) -> Made {
        let value = match source {
            Source::Input(i) => return Made::Input(i),
            Source::Output(i) => graph.outputs()[i],
        };
        match graph.defining_op(value) {
            Some((op, result)) => {
                let ops = &graph.region(graph.root()).ops;
                Made::Result(ops.iter().position(|&o| o == op).unwrap_or(ops.len()), result)
            }
            None => Made::Input(graph.inputs().iter().position(|&v| v == value).unwrap_or(usize::MAX)),
        }
    }
}

/// A result, in words.
fn source_name<R>(signature: &Signature, (graph, wiring): (&Graph, &Wiring<R>), source: Source) -> String {
    let i = match Made::of(graph, source) {
        Made::Input(i) => i,
        Made::Result(at, _) => {
            let op = graph.region(graph.root()).ops[at];
            return format!("the {} of {}", graph.op(op).primitive.name(), place(graph, op));
        }
    };
    let leaf = wiring.leaf_input.iter().position(|&(input, _)| input == i);
    match leaf.and_then(|leaf| signature.leaf_paths().nth(leaf)) {
        Some(path) => path.into(),
        None => "a tensor that is not computed from arguments".into(),
    }
}
