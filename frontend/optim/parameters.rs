//! Walking over a model with its gradients.

use crate::tensor::Tensor;
use crate::tree::Tree;
use std::collections::HashMap;

/// One zero tensor per leaf; leaves that are one tensor share it.
pub(super) fn zeros<M: Tree>(model: &M) -> Vec<Tensor> {
    let mut known: HashMap<(u64, usize), Tensor> = HashMap::new();
    let leaves = model.leaves();
    let zero = |(_, t): &(String, Tensor)| match t.identity() {
        Some(id) => known.entry(id).or_insert_with(|| t.zeros_like()).clone(),
        None => t.clone(),
    };
    leaves.iter().map(zero).collect()
}

/// The model with every float leaf replaced by what `f` makes of it, from its number, the leaf and its gradient. Leaves
/// that are one tensor are visited once, and stay one.
pub(super) fn update<M: Tree>(model: &M, gradients: &M, mut f: impl FnMut(&[usize], &Tensor, &Tensor) -> Tensor) -> M {
    let leaves = model.leaves();
    let gradients = gradients.leaves();
    let mut places: HashMap<(u64, usize), Vec<usize>> = HashMap::new();
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
        let updated = f(at, t, &gradients[i].1);
        at.iter().for_each(|&j| new[j] = updated.clone());
    }
    let mut new = new.into_iter();
    model.map(&mut |_| new.next().expect("one per leaf"))
}
