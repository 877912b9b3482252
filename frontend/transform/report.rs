//! What a gradient cannot say in its result: parameters that do not reach the loss, and where their paths end.

use super::append;
use super::grad::check;
use super::traced::{self, Failure};
use crate::dispatch::{enter, here};
use crate::error::Result;
use crate::tensor::Tensor;
use crate::tree::Tree;
use ir::{DType, Graph, Value};
use passes::autodiff::{self, Reach};
use std::fmt;

pub use ir::ops::Barrier;

/// An op that ends paths from parameters to the loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its name.
    pub op: String,
    /// What kind of end it is.
    pub barrier: Barrier,
    /// The same in words; the op's own where it has some.
    pub reason: String,
    /// The line that recorded it, as `file:line:column`.
    pub location: String,
    /// Its scope; empty at top level.
    pub scope: String,
    /// The parameters whose paths end there. They may have others.
    pub parameters: Vec<String>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.op, self.location)?;
        if !self.scope.is_empty() {
            write!(f, " in {}", self.scope)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why a parameter has no gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not a float.
    NotFloat(DType),
    /// The function does not use it.
    Unused,
    /// It is used, but not for the loss.
    NotInLoss,
    /// Every path from it to the loss ends on the way, at these.
    Cut(Vec<Cut>),
}

/// A parameter without a gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// Its path in the tree; empty if the tree is a tensor.
    pub path: String,
    /// Why.
    pub why: Why,
}

fn in_words(path: &str) -> &str {
    if path.is_empty() { "(the argument)" } else { path }
}

/// The most cuts that words list.
const LISTED: usize = 4;

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", in_words(&self.path))?;
        match &self.why {
            Why::NotFloat(dtype) => write!(f, "is {dtype}, and only floats have gradients"),
            Why::Unused => f.write_str("does not reach the loss: the function does not use it"),
            Why::NotInLoss => f.write_str("does not reach the loss: nothing that is computed from it is part of that"),
            Why::Cut(cuts) if cuts.is_empty() => {
                f.write_str("does not reach the loss: every derivative on the way is 0")
            }
            Why::Cut(cuts) => {
                f.write_str("does not reach the loss: its paths end at ")?;
                for (i, cut) in cuts.iter().take(LISTED).enumerate() {
                    write!(f, "{}{cut}", if i > 0 { "; " } else { "" })?;
                }
                match cuts.len().saturating_sub(LISTED) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

/// What a gradient cannot say in its result. As text a line for each part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The parameters without a gradient, which are zeros in the result. Calls of `grad` count those that are floats as
    /// events, each with its reason.
    pub unreached: Vec<Unreached>,
    /// Every op that ends a path from a parameter to the loss, also where others go on, in order. Many are as they should
    /// be: the comparison of a condition, the positions by which elements are sorted.
    pub cuts: Vec<Cut>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unreached.iter().try_for_each(|u| writeln!(f, "{u}"))?;
        let names = |c: &Cut| c.parameters.iter().map(|path| in_words(path)).collect::<Vec<_>>().join(", ");
        self.cuts.iter().try_for_each(|c| writeln!(f, "{} end at {c}", names(c)))
    }
}

const REPORT: &str = "grad::report";

/// Which parameters have no gradient and why, and every op at which a path from a parameter to the loss ends. Runs nothing
/// but the trace.
///
/// ```
/// use tracewright::{Tensor, grad};
/// let loss = |(a, b, c): &(Tensor, Tensor, Tensor)| (a * b.floor()).sum(..);
/// let [a, b, c] = [1.0f32, 2.5, 3.0].map(Tensor::from);
/// let report = grad::report(loss, &(a, b, c))?;
/// assert!(report.unreached[0].to_string().starts_with("1 does not reach the loss: its paths end at floor at "));
/// assert_eq!(report.unreached[1].to_string(), "2 does not reach the loss: the function does not use it");
/// assert_eq!(report.cuts[0].parameters, ["1"]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn report<M: Tree>(f: impl Fn(&M) -> Tensor, model: &M) -> Result<Report> {
    let _here = enter();
    let mut function = traced::trace(REPORT, &f, model).map_err(Failure::error)?;
    check(REPORT, &function)?;
    let loss = function.results[0];
    let wrt: Vec<Value> = function.graph.inputs()[..function.distinct].to_vec();
    let origins = [append::origin(&mut function.graph, here())];
    let found = append::possible_gradients(REPORT, &mut function.graph, loss, &wrt, &origins)?;
    let floats: Vec<(Value, String)> = function
        .leaves
        .iter()
        .filter(|leaf| leaf.tensor.dtype().is_float())
        .map(|leaf| (wrt[leaf.input], leaf.path.clone()))
        .collect();
    let paths = Paths::new(&function.graph, loss, &floats, &found.cuts);
    let mut unreached = Vec::new();
    for leaf in &function.leaves {
        let dtype = leaf.tensor.dtype();
        if !dtype.is_float() {
            unreached.push(Unreached { path: leaf.path.clone(), why: Why::NotFloat(dtype) });
        } else if found.values[leaf.input].is_none() {
            unreached.extend(paths.of(&leaf.path));
        }
    }
    Ok(Report { unreached, cuts: paths.cuts })
}

/// Why the loss gives those inputs, with their paths, no gradient.
pub(super) fn unreached(
    graph: &Graph,
    loss: Value,
    inputs: &[(Value, String)],
    ruleless: &[autodiff::Cut],
) -> Vec<Unreached> {
    if inputs.is_empty() {
        return Vec::new();
    }
    let paths = Paths::new(graph, loss, inputs, ruleless);
    inputs.iter().filter_map(|(_, path)| paths.of(path)).collect()
}

/// The ends of paths, with names.
struct Paths<'a> {
    inputs: &'a [(Value, String)],
    reach: Reach,
    cuts: Vec<Cut>,
}

impl<'a> Paths<'a> {
    fn new(graph: &Graph, loss: Value, inputs: &'a [(Value, String)], ruleless: &[autodiff::Cut]) -> Paths<'a> {
        let values: Vec<Value> = inputs.iter().map(|(v, _)| *v).collect();
        let reach = autodiff::reach(graph, &[loss], &values, ruleless);
        let named = |(number, cut): (usize, &autodiff::Cut)| {
            let ended = inputs.iter().zip(&reach.values).filter(|(_, r)| r.cuts.contains(&number));
            let origin = cut.origins.first();
            Cut {
                op: cut.op.to_string(),
                barrier: cut.barrier,
                reason: cut.reason.to_string(),
                location: origin.map(|o| o.location.to_string()).unwrap_or_default(),
                scope: origin.map(|o| o.scope.to_string()).unwrap_or_default(),
                parameters: ended.map(|((_, path), _)| path.clone()).collect(),
            }
        };
        let cuts = reach.cuts.iter().enumerate().map(named).collect();
        Paths { inputs, reach, cuts }
    }

    /// Why the input of that path has no gradient.
    fn of(&self, path: &str) -> Option<Unreached> {
        let at = self.inputs.iter().position(|(_, p)| p == path)?;
        let reached = &self.reach.values[at];
        let why = match reached {
            r if !r.read => Why::Unused,
            r if !r.arrives => Why::NotInLoss,
            r => Why::Cut(r.cuts.iter().map(|&i| self.cuts[i].clone()).collect()),
        };
        Some(Unreached { path: path.to_string(), why })
    }
}
