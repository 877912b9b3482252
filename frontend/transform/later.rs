//! Functions in two parts: one that runs at once, and one that runs later, on what the first kept and more.

use super::traced::{self, Function, apply, named, with_leaves};
use crate::dispatch::{enter_at, here};
use crate::error::{Code, Error, Result};
use crate::scope;
use crate::tensor::Tensor;
use crate::tree::Tree;
use ir::{Graph, Type};
use passes::autodiff::{Partition, Residual};
use std::panic::Location;

/// The second part of a function, with what the first kept for it.
pub(super) struct Later {
    graph: Graph,
    kept: Vec<Tensor>,
    takes: Takes,
}

/// What a second part is given: the floats of a tree.
pub(super) struct Takes {
    /// The transform.
    pub kind: &'static str,
    /// What the tree is, in words.
    pub what: &'static str,
    /// Path and type of each leaf of a tree that it is like.
    pub like: Vec<(String, Type)>,
}

impl Later {
    /// Runs the first part of a function that was cut in two. Yields the leaves of its value, and the second part.
    pub fn new<R: Tree>(function: &Function<R>, cut: Partition, takes: Takes) -> Result<(Vec<Tensor>, Later)> {
        let (arguments, mut all) = function.run_at(&cut.forward, function.results.len(), &function.sources(), &[])?;
        let kept = |r: &Residual| match *r {
            Residual::Input(i) => arguments[i].clone(),
            Residual::Output(i) => all[i].clone(),
        };
        let kept = cut.residuals.iter().map(kept).collect();
        all.truncate(function.results.len());
        Ok((all, Later { graph: cut.backward, kept, takes }))
    }

    fn call<T: Tree>(&self, tree: &T) -> Result<Vec<Tensor>> {
        let given = self.takes.floats(tree)?;
        let arguments: Vec<Tensor> = self.kept.iter().cloned().chain(given).collect();
        apply(&self.graph, &arguments)
    }
}

/// The second part as a function of trees to trees like `shape`, for the line that asked for it; the error on every leaf
/// where there is none.
pub(super) fn function<I: Tree, O: Tree>(
    later: Result<Later>,
    shape: O,
    made: &'static Location<'static>,
) -> impl Fn(&I) -> O + Send + Sync + 'static {
    move |tree| {
        let _here = enter_at(made);
        match later.as_ref().map_err(Clone::clone).and_then(|later| later.call(tree)) {
            Ok(leaves) => with_leaves(&shape, leaves),
            Err(e) => traced::errors(&shape, &e),
        }
    }
}

impl Takes {
    /// The float leaves of a tree, each of which must have the type of the one that it is like.
    pub fn floats<T: Tree>(&self, tree: &T) -> Result<Vec<Tensor>> {
        let &Takes { kind, what, ref like } = self;
        let refuse = |rule: String, legal: String| {
            Err(Error::new(Code::Gradient, kind, rule, legal).at(here()).in_scope(&scope::current()))
        };
        let leaves = tree.leaves();
        if leaves.len() != like.len() {
            let rule = format!("the {what} has {} leaves", leaves.len());
            return refuse(rule, format!("one for each of the {} leaves that it belongs to", like.len()));
        }
        let mut found = Vec::new();
        for ((_, t), (path, ty)) in leaves.into_iter().zip(like).filter(|(_, (_, ty))| ty.dtype.is_float()) {
            if let Some(e) = t.error_ref() {
                return Err(e.clone());
            }
            if t.ty() != *ty {
                return refuse(format!("the {what} has type {}", named(path, &t.ty())), named(path, ty));
            }
            found.push(t);
        }
        Ok(found)
    }
}
