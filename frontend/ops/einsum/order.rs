//! In which order to contract: the one with the fewest multiplications. Up to [`EXACT`] operands by dynamic programming
//! over all subsets (as in Pfeifer, Haegeman and Verstraete, "Faster identification of optimal contraction sequences for
//! tensor networks", 2014, without its pruning), above that greedily.

/// For that many operands the best order is found.
pub(super) const EXACT: usize = 8;

/// For more operands than these even that takes too long, and they are multiplied in turn.
const GREEDY: usize = 64;

/// A set of labels, by number.
pub(super) type Set = u128;

/// Pairs to be multiplied one after the other. Operands are numbered from 0, and each result has the next number.
///
/// `operands` are the labels of each operand, `sizes` the extents of the labels. What neither the output nor another
/// operand has is summed away with each product.
pub(super) fn order(operands: &[Set], output: Set, sizes: &[f64]) -> Vec<(usize, usize)> {
    let volume = |set: Set| (0..sizes.len()).filter(|i| set >> i & 1 == 1).map(|i| sizes[i]).product::<f64>();
    match operands.len() {
        0 | 1 => Vec::new(),
        n if n <= EXACT => exact(operands, output, &volume),
        n if n > GREEDY => (1..n).map(|i| (if i == 1 { 0 } else { n + i - 2 }, i)).collect(),
        _ => greedy(operands, output, &volume),
    }
}

fn exact(operands: &[Set], output: Set, volume: &dyn Fn(Set) -> f64) -> Vec<(usize, usize)> {
    let n = operands.len();
    let all = (1usize << n) - 1;
    let union = |group: usize| (0..n).filter(|i| group >> i & 1 == 1).fold(0, |set, i| set | operands[i]);
    // Of each group of operands: the labels of its product, the cost of it, and one half of the best last step.
    let kept: Vec<Set> = (0..=all).map(|group| union(group) & (output | union(all & !group))).collect();
    let mut best: Vec<(f64, usize)> = vec![(0.0, 0); all + 1];
    for group in 1..=all {
        if group.is_power_of_two() {
            continue;
        }
        let mut found = (f64::INFINITY, f64::INFINITY, 0);
        // Halves that hold the first operand of the group, so that no pair is looked at twice.
        let first = group & group.wrapping_neg();
        let mut half = (group - 1) & group;
        while half > 0 {
            if half & first != 0 {
                let other = group & !half;
                let product = volume(kept[half] | kept[other]);
                let cost = best[half].0 + best[other].0 + product;
                let memory = volume(kept[half]) + volume(kept[other]);
                if (cost, memory) < (found.0, found.1) || found.2 == 0 {
                    found = (cost, memory, half);
                }
            }
            half = (half - 1) & group;
        }
        best[group] = (found.0, found.2);
    }
    let mut steps = Vec::new();
    fn emit(group: usize, n: usize, best: &[(f64, usize)], steps: &mut Vec<(usize, usize)>) -> usize {
        if group.is_power_of_two() {
            return group.trailing_zeros() as usize;
        }
        let half = best[group].1;
        let a = emit(half, n, best, steps);
        let b = emit(group & !half, n, best, steps);
        steps.push((a, b));
        n + steps.len() - 1
    }
    emit(all, n, &best, &mut steps);
    steps
}

/// Always the cheapest product next, of those the one that leaves least behind.
fn greedy(operands: &[Set], output: Set, volume: &dyn Fn(Set) -> f64) -> Vec<(usize, usize)> {
    let mut left: Vec<(usize, Set)> = operands.iter().copied().enumerate().collect();
    let mut steps = Vec::new();
    while left.len() > 1 {
        let mut found = (true, f64::INFINITY, f64::INFINITY, 0, 1, 0);
        for i in 0..left.len() {
            for j in i + 1..left.len() {
                let (a, b) = (left[i].1, left[j].1);
                let others = left.iter().enumerate().filter(|(k, _)| *k != i && *k != j);
                let kept = (a | b) & others.fold(output, |set, (_, o)| set | o.1);
                // Products of what has no label in common come last.
                let apart = a & b == 0 && a != 0 && b != 0;
                let gain = volume(kept) - volume(a) - volume(b);
                let step = (apart, volume(a | b), gain, i, j, kept);
                if (step.0, step.1, step.2) < (found.0, found.1, found.2) {
                    found = step;
                }
            }
        }
        let (.., i, j, kept) = found;
        steps.push((left[i].0, left[j].0));
        left.remove(j);
        left[i] = (operands.len() + steps.len() - 1, kept);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplications of an order.
    fn cost(operands: &[Set], output: Set, sizes: &[f64], steps: &[(usize, usize)]) -> f64 {
        let mut sets: Vec<Option<Set>> = operands.iter().map(|&s| Some(s)).collect();
        let mut total = 0.0;
        for &(a, b) in steps {
            let (a, b) = (sets[a].take().unwrap(), sets[b].take().unwrap());
            let volume: f64 = (0..sizes.len()).filter(|i| (a | b) >> i & 1 == 1).map(|i| sizes[i]).product();
            total += volume;
            let rest = sets.iter().flatten().fold(output, |set, s| set | s);
            sets.push(Some((a | b) & rest));
        }
        assert_eq!(sets.iter().flatten().count(), 1, "every operand is used once");
        total
    }

    /// A chain of matrices of those extents.
    fn chain(extents: &[f64]) -> (Vec<Set>, Set) {
        let n = extents.len() - 1;
        ((0..n).map(|i| 0b11 << i).collect(), 1 | 1 << n)
    }

    #[test]
    fn chains_of_matrices_are_multiplied_in_the_best_order() {
        let sizes = [10.0, 100.0, 5.0, 50.0];
        let (operands, output) = chain(&sizes);
        let steps = order(&operands, output, &sizes);
        assert_eq!(cost(&operands, output, &sizes, &steps), 10.0 * 100.0 * 5.0 + 10.0 * 5.0 * 50.0);
        // The example of Cormen, Leiserson, Rivest and Stein.
        let sizes = [30.0, 35.0, 15.0, 5.0, 10.0, 20.0, 25.0];
        let (operands, output) = chain(&sizes);
        assert_eq!(cost(&operands, output, &sizes, &order(&operands, output, &sizes)), 15125.0);
    }

    #[test]
    fn no_order_of_four_is_better() {
        let sizes = [2.0, 7.0, 3.0, 11.0, 5.0];
        let operands = [0b00111, 0b01100, 0b11001, 0b10010];
        let found = cost(&operands, 0b1, &sizes, &order(&operands, 0b1, &sizes));
        let mut least = f64::INFINITY;
        for a in 0..4 {
            for b in (0..4).filter(|b| *b != a) {
                let rest: Vec<usize> = (0..4).filter(|k| *k != a && *k != b).collect();
                let (c, d) = (rest[0], rest[1]);
                for steps in [[(a, b), (4, c), (5, d)], [(a, b), (4, d), (5, c)], [(a, b), (c, d), (4, 5)]] {
                    least = least.min(cost(&operands, 0b1, &sizes, &steps));
                }
            }
        }
        assert_eq!(found, least);
    }

    #[test]
    fn many_operands_are_multiplied_greedily() {
        let sizes: Vec<f64> = (0..13).map(|i| [64.0, 2.0, 32.0][i % 3]).collect();
        let (operands, output) = chain(&sizes);
        let steps = order(&operands, output, &sizes);
        let in_turn: Vec<(usize, usize)> = (1..12).map(|i| (if i == 1 { 0 } else { 10 + i }, i)).collect();
        let (found, in_turn) = (cost(&operands, output, &sizes, &steps), cost(&operands, output, &sizes, &in_turn));
        assert!(found < in_turn / 4.0, "{found} instead of {in_turn}");
        // What has nothing in common, and scalars.
        assert_eq!(order(&[0; 20], 0, &[]).len(), 19);
        cost(&[1; 100], 1, &[2.0], &order(&[1; 100], 1, &[2.0]));
        let apart: Vec<Set> = (0..12).map(|i| 1 << i).collect();
        cost(&apart, 0xfff, &[2.0; 12], &order(&apart, 0xfff, &[2.0; 12]));
    }
}
