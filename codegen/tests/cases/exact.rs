//! Random kernels of which every target must make the same bits.

use crate::random_kernel::kernel;
use ir::DType;
use ir::kernel::*;

/// Replaces what is only right within some ulp, and checks that are met in another order than the interpreter's:
/// where a serial loop in a lanes loop looks at indices, vectors do so for all iterations at once.
fn make_exact(block: &mut Block, vars: &[DType], lanes: bool, serial: bool) {
    block.0.retain(|s| !(lanes && serial && matches!(s, Stmt::Check { .. })));
    for stmt in &mut block.0 {
        match stmt {
            Stmt::Let { expr: Expr::Unary(op, _), .. } if op.ulps() > 0 => *op = UnaryOp::Neg,
            Stmt::Let { expr: Expr::Binary(op, a, _), .. } if op.ulps() > 0 && vars[a.at()].is_float() => {
                *op = BinaryOp::Max
            }
            Stmt::Loop(l) => match l.kind {
                LoopKind::Lanes => make_exact(&mut l.body, vars, true, false),
                LoopKind::Serial => make_exact(&mut l.body, vars, lanes, true),
            },
            _ => {}
        }
    }
}

/// A random kernel.
pub fn exact(bytes: Vec<u8>) -> Kernel {
    let mut kernel = kernel(bytes);
    let vars = kernel.vars.clone();
    kernel.nests.iter_mut().for_each(|n| make_exact(&mut n.body, &vars, false, false));
    kernel
}
