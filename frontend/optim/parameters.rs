//! Walking over a model with its gradients.

use crate::dispatch::here;
use crate::error::{Code, Error, Result};
use crate::scope;
use crate::tensor::{Identity, Tensor};
use crate::tree::Tree;
use std::collections::HashMap;

/// One zero tensor per leaf; leaves that are one tensor share it.
pub(super) fn zeros<M: Tree>(model: &M) -> Vec<Tensor> {
    let mut known: HashMap<Identity, Tensor> = HashMap::new();
    let leaves = model.leaves();
    let zero = |(_, t): &(String, Tensor)| match t.identity() {
        Some(id) => known.entry(id).or_insert_with(|| t.zeros_like()).clone(),
        None => t.clone(),
    };
    leaves.iter().map(zero).collect()
}

/// Checks that gradients, and the moments of an optimiser that has any, are of the model's number and types of leaves.
pub(super) fn check<M: Tree>(op: &'static str, model: &M, gradients: &M, moments: Option<&[Tensor]>) -> Result<()> {
    let leaves = model.leaves();
    let gradients: Vec<Tensor> = gradients.leaves().into_iter().map(|(_, t)| t).collect();
    let refuse = |rule: String, legal: &str| {
        Err(Error::new(Code::Argument, op, rule, legal).at(here()).in_scope(&scope::current()))
    };
    let legal = ["gradients of this model", "the model that the optimiser was made for"];
    for ((what, others), legal) in
        [("gradients", Some(&gradients[..])), ("the optimiser", moments)].into_iter().zip(legal)
    {
        let Some(others) = others else { continue };
        if others.len() != leaves.len() {
            let rule = format!("the model has {} leaves, {what} {}", leaves.len(), others.len());
            return refuse(rule, legal);
        }
        for ((path, p), other) in leaves.iter().zip(others) {
            // An error is passed on as it is.
            let (None, None) = (p.error_ref(), other.error_ref()) else { continue };
            let (ty, found) = (p.ty(), other.ty());
            if ty.dtype.is_float() && ty != found {
                let leaf = if path.is_empty() { "the model" } else { path };
                return refuse(format!("{leaf} is {ty}, for {what} {found}"), legal);
            }
        }
    }
    Ok(())
}

/// The model with every float leaf replaced by what `f` makes of it, from its number, the leaf and its gradient, or by
/// the error that its gradient is. Leaves that are one tensor are visited once, and stay one. The gradients were
/// [checked](check).
pub(super) fn update<M: Tree>(model: &M, gradients: &M, mut f: impl FnMut(&[usize], &Tensor, &Tensor) -> Tensor) -> M {
    let leaves = model.leaves();
    let gradients = gradients.leaves();
    let mut places: HashMap<Identity, Vec<usize>> = HashMap::new();
    for (i, (_, t)) in leaves.iter().enumerate() {
        if let Some(id) = t.identity() {
            places.entry(id).or_default().push(i);
        }
    }
    let mut new: Vec<Tensor> = leaves.iter().map(|(_, t)| t.clone()).collect();
    for (i, (_, t)) in leaves.iter().enumerate() {
        let Some(at) = t.identity().and_then(|id| places.get(&id)) else { continue };
        if at[0] != i || !t.dtype().is_float() {
            continue;
        }
        let gradient = &gradients[i].1;
        let updated = if gradient.error_ref().is_some() { gradient.clone() } else { f(at, t, gradient) };
        at.iter().for_each(|&j| new[j] = updated.clone());
    }
    let mut new = new.into_iter();
    model.map(&mut |_| new.next().expect("one per leaf"))
}
