//! Index expressions as text, and how they move along a loop.

use ir::kernel::{Index, IndexNode, Iter, Kernel, Var};
use std::collections::HashSet;

/// An index expression as C++ of the type `idx`. `iter` says how a loop variable is called.
pub(super) fn text(kernel: &Kernel, i: Index, iter: &dyn Fn(Iter) -> String) -> String {
    use IndexNode::*;
    let go = |i| text(kernel, i, iter);
    match kernel.indices.node(i) {
        Const(n) if i32::try_from(n).is_ok() => n.to_string(),
        Const(n) => format!("(idx){n}ll"),
        Extent(e) => format!("e{}", e.0),
        Iter(it) => iter(it),
        Var(v) => format!("(idx)v{}", v.0),
        Add(a, b) => match kernel.indices.node(b) {
            Const(n) if n < 0 && n > -(1 << 31) => format!("({} - {})", go(a), -n),
            _ => format!("({} + {})", go(a), go(b)),
        },
        Mul(a, b) => format!("{} * {}", go(a), go(b)),
        FloorDiv(a, b) if plain(kernel, a, b) => format!("({} / {})", go(a), go(b)),
        FloorDiv(a, b) => format!("tw_div({}, {})", go(a), go(b)),
        Mod(a, b) if plain(kernel, a, b) => format!("({} % {})", go(a), go(b)),
        Mod(a, b) => format!("tw_mod({}, {})", go(a), go(b)),
        Min(a, b) => format!("tw_least({}, {})", go(a), go(b)),
        Max(a, b) => format!("tw_most({}, {})", go(a), go(b)),
    }
}

/// True if truncated division by the divisor, a positive constant, is floored division.
fn plain(kernel: &Kernel, a: Index, b: Index) -> bool {
    kernel.indices.as_const(b).is_some_and(|n| n > 0) && not_negative(kernel, a)
}

/// True if the expression is known not to be negative. Extents are not.
fn not_negative(kernel: &Kernel, i: Index) -> bool {
    use IndexNode::*;
    let go = |i| not_negative(kernel, i);
    match kernel.indices.node(i) {
        Const(n) => n >= 0,
        Extent(_) | Iter(_) | Mod(..) => true,
        Var(_) => false,
        Add(x, y) | Mul(x, y) | Min(x, y) => go(x) && go(y),
        Max(x, y) => go(x) || go(y),
        FloorDiv(x, _) => go(x),
    }
}

/// Elements by which an expression moves with a loop variable, if that is a number. Values of `inside` are made anew by each
/// iteration.
pub(super) fn stride(kernel: &Kernel, i: Index, of: Iter, inside: &HashSet<Var>) -> Option<i64> {
    use IndexNode::*;
    let go = |i| stride(kernel, i, of, inside);
    match kernel.indices.node(i) {
        Const(_) | Extent(_) => Some(0),
        Iter(it) => Some(i64::from(it == of)),
        Var(v) => (!inside.contains(&v)).then_some(0),
        Add(a, b) => go(a)?.checked_add(go(b)?),
        Mul(a, b) => match (go(a)?, go(b)?) {
            (0, 0) => Some(0),
            (s, 0) => kernel.indices.as_const(b).and_then(|n| s.checked_mul(n)),
            (0, s) => kernel.indices.as_const(a).and_then(|n| s.checked_mul(n)),
            _ => None,
        },
        FloorDiv(a, b) | Mod(a, b) | Min(a, b) | Max(a, b) => (go(a)? == 0 && go(b)? == 0).then_some(0),
    }
}

/// A number that divides an expression whatever the variables are, with 0 for a loop variable; 0 if all of it is 0.
pub(super) fn divisor(kernel: &Kernel, i: Index, zero: Iter) -> i64 {
    use IndexNode::*;
    let go = |i| divisor(kernel, i, zero);
    match kernel.indices.node(i) {
        Const(n) => n.checked_abs().unwrap_or(1),
        Iter(it) => i64::from(it != zero),
        Extent(_) | Var(_) => 1,
        Add(a, b) | Min(a, b) | Max(a, b) => greatest(go(a), go(b)),
        Mul(a, b) => match (go(a), go(b)) {
            (x, y) if x == 0 || y == 0 => 0,
            (x, y) => x.checked_mul(y).unwrap_or(1),
        },
        FloorDiv(..) | Mod(..) => 1,
    }
}

/// The greatest common divisor.
fn greatest(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest(b, a % b) }
}
